//! Answers a source and minute: keeps one source from wearing out the disk and the log. No protection against guessing,
//! which is the budget's work, so what cannot be counted is let through.
//!
//! A counter is a file in the runtime folder, named by source and minute, that grows by one byte an answer: appending is
//! atomic, nobody waits, and a killed process leaves nothing half done.

use std::path::Path;

use data_encoding::HEXLOWER;
use rustix::fs::{self, AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::files::{Folder, PRIVATE_FILE, PRIVATE_FOLDER, Privacy, above_stdio};
use crate::words::Source;

/// Counts one answer of a source; true where it is one too many. `boot` is milliseconds since boot.
///
/// The count slides: what is left of the minute before is added in proportion.
pub fn is_too_many(dir: &Path, source: &Source, boot: u64, per_minute: Option<u32>) -> bool {
    let Some(limit) = per_minute else { return false };
    let Some(folder) = open(dir) else { return false };
    let minute = boot / 60_000;
    let Some(now) = count_one(&folder, &counter(source, minute)) else { return false };
    if now == 1 {
        sweep(&folder, minute);
    }
    let before = minute.checked_sub(1).and_then(|minute| size(&folder, &counter(source, minute))).unwrap_or(0);
    let rest = 60_000_u64.saturating_sub(boot % 60_000);
    let sliding = before.saturating_mul(rest).div_ceil(60_000);
    sliding.saturating_add(now) > u64::from(limit)
}

fn open(dir: &Path) -> Option<Folder> {
    match Folder::open(dir, Privacy::Secret) {
        Ok(Some(folder)) => Some(folder),
        Ok(None) => {
            // Another login may be faster; what counts is whether it is there then.
            let _ = fs::mkdirat(CWD, dir, PRIVATE_FOLDER);
            Folder::open(dir, Privacy::Secret).ok()?
        }
        Err(_) => None,
    }
}

fn counter(source: &Source, minute: u64) -> String {
    format!("flood-{minute}-{}", HEXLOWER.encode(&source.key()))
}

fn count_one(folder: &Folder, name: &str) -> Option<u64> {
    let flags =
        OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = above_stdio(fs::openat(&folder.fd, name, flags, PRIVATE_FILE).ok()?).ok()?;
    while rustix::io::write(&fd, b".") == Err(Errno::INTR) {}
    u64::try_from(fs::fstat(&fd).ok()?.st_size).ok()
}

fn size(folder: &Folder, name: &str) -> Option<u64> {
    folder.stat(name).ok().flatten().and_then(|stat| u64::try_from(stat.st_size).ok())
}

/// Removes counters of minutes that are over. Whoever is first in a minute removes them all: if each source looked through
/// them, a crowd of sources would keep everybody busy, and if each looked at a few, theirs would fill the folder.
fn sweep(folder: &Folder, minute: u64) {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if fs::openat(&folder.fd, format!("flood-{minute}-swept"), flags, PRIVATE_FILE).is_err() {
        return;
    }
    let Ok(listing) = fs::openat(&folder.fd, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    else {
        return;
    };
    let Ok(items) = above_stdio(listing).and_then(fs::Dir::new) else { return };
    for item in items.flatten() {
        let Ok(name) = item.file_name().to_str() else { continue };
        let of = name
            .strip_prefix("flood-")
            .and_then(|rest| rest.split('-').next())
            .and_then(|part| part.parse::<u64>().ok());
        // Never a later one: a process that was frozen would remove what counts now.
        if of.is_some_and(|of| of.saturating_add(1) < minute) {
            let _ = fs::unlinkat(&folder.fd, name, AtFlags::empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Uid;

    fn count(dir: &Path, uid: u32, boot: u64) -> bool {
        is_too_many(dir, &Source::Local(Uid(uid)), boot, Some(3))
    }

    #[test]
    fn the_fourth_answer_of_a_minute_is_too_many_and_other_sources_are_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("run");
        assert_eq!([1, 2, 3, 4].map(|second| count(&dir, 1, second * 1000)), [false, false, false, true]);
        assert!(!count(&dir, 2, 5000));
    }

    #[test]
    fn the_minute_before_counts_in_proportion_and_the_one_before_that_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("run");
        (0..3).for_each(|_| assert!(!count(&dir, 1, 59_000)));
        assert!(count(&dir, 1, 60_001));
        assert!(!count(&dir, 1, 118_000));
        assert!(!count(&dir, 1, 200_000));
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 2, "the counter and the mark of the sweep");
    }

    #[test]
    fn the_counters_of_a_crowd_are_gone_two_minutes_later() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("run");
        for minute in 0..4 {
            (0..500).for_each(|source| assert!(!count(&dir, source, minute * 60_000)));
            assert!(std::fs::read_dir(&dir).unwrap().count() <= 2 * 501);
        }
        count(&dir, 1, 9 * 60_000);
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 2);
    }

    #[test]
    fn what_else_is_in_the_folder_stays() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("run");
        count(&dir, 1, 0);
        for name in ["tickets", "flood", "flood-", "flood-x-1", "flood-99999999999999999999-1"] {
            std::fs::write(dir.join(name), "").unwrap();
        }
        count(&dir, 1, 9 * 60_000);
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 5 + 2);
    }

    #[test]
    fn many_at_once_are_counted_one_by_one_from_the_first_on() {
        for _ in 0..30 {
            let dir = tempfile::tempdir().unwrap();
            let dir = dir.path().join("run");
            let start = std::sync::Barrier::new(8);
            let let_through = std::thread::scope(|scope| {
                let answer = || {
                    start.wait();
                    u32::from(!count(&dir, 1, 0))
                };
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(answer)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u32>()
            });
            // Whoever counts while others do may see theirs too: fewer are let through, never more.
            assert!(let_through <= 3, "{let_through}");
        }
    }

    #[test]
    fn a_counter_that_is_a_link_or_a_pipe_is_not_followed_and_nobody_waits() {
        let dir = tempfile::tempdir().unwrap();
        let (target, dir) = (dir.path().join("target"), dir.path().join("run"));
        count(&dir, 1, 0);
        std::fs::write(&target, "").unwrap();
        let path = |uid| dir.join(counter(&Source::Local(Uid(uid)), 0));
        std::os::unix::fs::symlink(&target, path(2)).unwrap();
        fs::mknodat(CWD, path(3), fs::FileType::Fifo, PRIVATE_FILE, 0).unwrap();
        assert!(!(0..9).any(|_| count(&dir, 2, 0) || count(&dir, 3, 0)));
        assert_eq!(std::fs::read(&target).unwrap(), b"");
    }

    #[test]
    fn what_cannot_be_counted_is_let_through() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(!(0..9).any(|_| count(&file, 1, 0)));
        assert!(!(0..9).any(|_| is_too_many(dir.path(), &Source::Local(Uid(1)), 0, None)));
    }
}
