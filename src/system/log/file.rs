//! The events file.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, open, stat};
use rustix::io::{Errno, pread, retry_on_intr, write};
use rustix::process::{Resource, getrlimit};

use qrtotp_core::chain::{Link, link_to_end};
use qrtotp_core::files::{Folder, Privacy, Trouble, above_stdio, refuse_limited};

/// How much of the end of a file is read at first for a link, and at most, in bytes: a line has about 500.
const NEAR: u64 = 4096;
const FAR: u64 = 2 * 1024 * 1024;

/// Appends one line with a single write, so that lines of logins at the same time do not mix. `line` gives it from its link
/// to what stands in the file; nobody is waited for.
///
/// # Errors
/// Where the file is not one that only root can have made and can write, or the kernel refuses; the line is lost then.
pub fn append(path: &Path, line: impl FnOnce(Option<Link>) -> String) -> Result<(), Errno> {
    if !path.is_absolute() {
        return Err(Errno::INVAL);
    }
    // O_NONBLOCK and O_NOCTTY: a FIFO or a terminal in its place must not hold a login or become its terminal.
    let flags = OFlags::RDWR
        | OFlags::APPEND
        | OFlags::CREATE
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK
        | OFlags::NOCTTY
        | OFlags::CLOEXEC;
    let file = above_stdio(open(path, flags, Mode::RUSR | Mode::WUSR)?)?;
    let status = fstat(&file)?;
    if !belongs_to_root_alone(&status) {
        return Err(Errno::PERM);
    }
    let size = length(&status);
    let (mut link, mut is_whole) =
        if size == 0 { (Some(link_to_file_before(path)), true) } else { link_to(&file, size) };
    if !is_whole {
        // Mostly somebody who is in the middle of writing and done by now.
        (link, is_whole) = link_to(&file, length(&fstat(&file)?));
    }
    let mut text = line(link);
    if !is_whole {
        // A writer was killed in the middle of his line, or still is in it: an empty line does no harm.
        text.insert(0, '\n');
    }
    if !within_limit(&status, text.as_bytes()) {
        return Err(Errno::PERM);
    }
    retry_on_intr(|| write(&file, text.as_bytes())).map(drop)
}

/// The link to the end of a file of this length, and whether that is the end of a line. Where more would have to be read than
/// is reasonable (some thousand logins were frozen between their reading and their writing) a new chain begins.
fn link_to(file: &OwnedFd, size: u64) -> (Option<Link>, bool) {
    let mut reach = NEAR;
    loop {
        let from = size.saturating_sub(reach);
        let Some(piece) = read_from(file, from, size) else { return (None, false) };
        let link = link_to_end(&piece, from);
        if link.is_some() || reach >= FAR {
            let begins = Link { at: size, ..Link::START };
            return (link.or(Some(begins)), piece.ends_with(b"\n"));
        }
        reach = reach.saturating_mul(8);
    }
}

/// A piece of a file, read at once: shorter where the file is.
fn read_from(file: &OwnedFd, from: u64, to: u64) -> Option<Vec<u8>> {
    let mut piece = vec![0; usize::try_from(to.checked_sub(from)?).ok()?];
    let length = retry_on_intr(|| pread(file, &mut piece, from)).ok()?;
    piece.truncate(length);
    Some(piece)
}

/// A new file goes on with the sum of the one that was rotated away last, if that was not compressed yet.
fn link_to_file_before(path: &Path) -> Link {
    let link = file_before(path).and_then(|(file, status)| link_to(&file, length(&status)).0);
    link.map_or(Link::START, |link| Link { at: 0, sum: link.sum, after: Some(link.at) })
}

fn file_before(path: &Path) -> Option<(OwnedFd, Stat)> {
    let name = path.file_name()?.to_str()?;
    let folder = Folder::open(path.parent()?, Privacy::ReadableByAll).ok()??;
    let mut latest = None;
    for other in folder.names().ok()?.iter().filter(|other| is_rotated(other, name)) {
        if let Ok(Some(status)) = folder.stat(other) {
            latest = latest.max(Some((status.st_mtime, status.st_mtime_nsec, other.clone())));
        }
    }
    folder.file(&latest?.2, OFlags::RDONLY, Privacy::ReadableByAll).ok()?
}

/// `events.jsonl.1`, `events.jsonl-20261124`
fn is_rotated(other: &str, name: &str) -> bool {
    let rest = other.strip_prefix(name).unwrap_or_default();
    rest.starts_with(['.', '-']) && rest.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'))
}

fn length(status: &Stat) -> u64 {
    u64::try_from(status.st_size).unwrap_or(u64::MAX)
}

/// A regular file of root's with one name, which nobody else may write.
fn belongs_to_root_alone(status: &Stat) -> bool {
    let mode = Mode::from_raw_mode(status.st_mode);
    FileType::from_raw_mode(status.st_mode).is_file()
        && status.st_uid == 0
        && status.st_nlink == 1
        && !mode.intersects(Mode::WGRP | Mode::WOTH)
}

/// Room for the lines of this login, and of others meanwhile, in bytes.
const ROOM: u64 = 64 * 1024;

/// Looks whether the limit on file sizes leaves room for lines.
///
/// # Errors
/// [`Trouble`] where it does not.
pub fn check_room(path: &Path) -> Result<(), Trouble> {
    // Where there is no file, or none can be looked at, the first line is what counts.
    let size = stat(path).map_or(0, |status| length(&status));
    refuse_limited(path, size.saturating_add(ROOM))
}

/// A caller of `su` may have set RLIMIT_FSIZE: a write beyond it would kill the program by SIGXFSZ, and its login too.
fn within_limit(status: &Stat, line: &[u8]) -> bool {
    let added = u64::try_from(line.len()).unwrap_or(u64::MAX);
    getrlimit(Resource::Fsize).current.is_none_or(|limit| length(status).saturating_add(added) <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use qrtotp_core::chain::Sum;
    use qrtotp_trail::chain::{Report, verify};
    use std::fs;
    use std::io::{BufReader, Write};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
    use std::process::Command;
    use tempfile::TempDir;

    const LINE: &[u8] = b"{}\n";

    fn append(path: &Path, line: &[u8]) -> Result<(), Errno> {
        super::append(path, |_| String::from_utf8(line.to_vec()).unwrap())
    }

    #[test]
    fn the_first_line_makes_the_file_for_root_alone_and_the_next_follows() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("events.jsonl");
        append(&path, LINE).unwrap();
        append(&path, LINE).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"{}\n{}\n");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    }

    fn linked(path: &Path, text: &str) {
        super::append(path, |link| {
            let mut line = format!("{{\"text\":\"{text}\"}}\n");
            link.unwrap().append_to(&mut line);
            line
        })
        .unwrap();
    }

    fn verified(paths: &[&Path]) -> Report {
        let open = |path: &&Path| Ok((path.display().to_string(), BufReader::new(fs::File::open(path)?)));
        verify(paths.iter().map(open), None).unwrap()
    }

    #[test]
    fn lines_of_writers_at_the_same_time_are_one_chain() {
        const LINES: usize = 200;
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("events.jsonl");
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let path = &path;
                scope.spawn(move || (0..LINES).for_each(|_| linked(path, &"x".repeat(writer * 40))));
            }
        });
        let report = verified(&[&path]);
        assert_eq!(
            (report.lines as usize - 8 * LINES, report.unlinked, report.findings.len()),
            (0, 0, 0),
            "{report:?}"
        );
    }

    #[test]
    fn a_new_file_goes_on_from_the_one_that_was_rotated_away_last_however_that_is_called() {
        for name in ["events.jsonl.1", "events.jsonl-20261124"] {
            let folder = TempDir::new().unwrap();
            let (path, old) = (folder.path().join("events.jsonl"), folder.path().join(name));
            for other in ["events.jsonl.gz", "events.jsonl.1.gz", "events.json", "events.jsonl.old", "events.jsonl.99"]
            {
                fs::write(folder.path().join(other), b"older, or no rotated file\n").unwrap();
            }
            (0..3).for_each(|_| linked(&path, "before"));
            fs::rename(&path, &old).unwrap();
            // Rotation keeps the time of the last line; here both could be of one tick of the file system's clock.
            assert!(Command::new("touch").arg("-d").arg("+1 min").arg(&old).status().unwrap().success());
            (0..3).for_each(|_| linked(&path, "after"));
            let report = verified(&[&old, &path]);
            assert_eq!((report.lines, report.findings.len()), (6, 0), "{name} {report:?}");
            assert!(verified(&[&path]).continues, "{name}");
        }
    }

    #[test]
    fn a_line_that_was_cut_off_is_ended_and_the_chain_goes_on() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("events.jsonl");
        linked(&path, "whole");
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"time\":\"2026-").unwrap();
        (0..2).for_each(|_| linked(&path, "next"));
        let report = verified(&[&path]);
        assert_eq!((report.lines, report.unlinked, report.findings.len()), (4, 1, 0), "{report:?}");
    }

    #[test]
    fn a_crowd_that_wrote_late_is_looked_behind_and_behind_one_too_large_a_new_chain_begins() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("events.jsonl");
        for (lines, is_linked) in [(300, true), (6000, false)] {
            fs::write(&path, b"").unwrap();
            linked(&path, "first");
            let late = format!("{{\"late\":\"{}\"}}\n", "x".repeat(1000));
            fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(late.repeat(lines).as_bytes()).unwrap();
            let mut got = None;
            super::append(&path, |link| {
                got = link;
                "{}\n".to_owned()
            })
            .unwrap();
            assert_eq!(got.unwrap().sum != Sum::START, is_linked, "{lines}");
            assert_eq!(got.unwrap().at + 3, fs::metadata(&path).unwrap().len(), "{lines}");
        }
    }

    #[test]
    fn a_file_that_a_group_may_read_is_written() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("events.jsonl");
        fs::write(&path, b"").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        append(&path, LINE).unwrap();
        assert_eq!(fs::read(&path).unwrap(), LINE);
    }

    /// Puts something in the place of the events file; `target` is an innocent file of root's.
    type Trap = fn(path: &Path, target: &Path);

    fn make_fifo(path: &Path) {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    }

    #[test]
    fn nothing_is_written_to_what_is_not_roots_own_file() {
        let traps: [(&str, Trap); 9] = [
            ("symlink", |path, target| symlink(target, path).unwrap()),
            ("dangling symlink", |path, target| symlink(target.with_extension("new"), path).unwrap()),
            ("hard link", |path, target| fs::hard_link(target, path).unwrap()),
            ("FIFO", |path, _| make_fifo(path)),
            ("directory", |path, _| fs::create_dir(path).unwrap()),
            ("socket", |path, _| drop(std::os::unix::net::UnixListener::bind(path).unwrap())),
            ("foreign owner", |path, _| {
                fs::write(path, b"").unwrap();
                chown(path, Some(12345), None).unwrap();
            }),
            ("group may write", |path, _| {
                fs::write(path, b"").unwrap();
                fs::set_permissions(path, fs::Permissions::from_mode(0o620)).unwrap();
            }),
            ("others may write", |path, _| {
                fs::write(path, b"").unwrap();
                fs::set_permissions(path, fs::Permissions::from_mode(0o602)).unwrap();
            }),
        ];
        for (name, trap) in traps {
            let folder = TempDir::new().unwrap();
            let (path, target) = (folder.path().join("events.jsonl"), folder.path().join("target"));
            fs::write(&target, b"innocent").unwrap();
            trap(&path, &target);
            assert!(append(&path, LINE).is_err(), "{name}");
            assert_eq!(fs::read(&target).unwrap(), b"innocent", "{name}");
            assert!(!target.with_extension("new").exists(), "{name}");
            assert!(!path.is_file() || fs::read(&path).unwrap() != LINE, "{name}");
        }
    }

    #[test]
    fn a_device_and_a_path_that_depends_on_the_working_directory_are_refused() {
        for path in ["/dev/null", "events.jsonl", ""] {
            assert!(append(Path::new(path), LINE).is_err(), "{path}");
        }
    }

    #[test]
    fn a_limit_on_file_sizes_loses_the_line_and_not_the_process() {
        let me = std::env::current_exe().unwrap();
        let script =
            "ulimit -f 0; exec \"$0\" --exact log::file::tests::in_a_process_that_may_write_no_files --ignored";
        assert!(Command::new("sh").args(["-c", script]).arg(me).status().unwrap().success());
    }

    /// Runs alone, in a process that a write to a file would kill.
    #[test]
    #[ignore = "started by a_limit_on_file_sizes_loses_the_line_and_not_the_process"]
    fn in_a_process_that_may_write_no_files() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("events.jsonl");
        assert!(append(&path, LINE).is_err());
        assert!(check_room(&path).is_err());
    }

    #[test]
    fn without_a_limit_there_is_room_whatever_is_there() {
        let folder = TempDir::new().unwrap();
        for path in [folder.path().join("absent"), folder.path().to_owned(), "/dev/null".into()] {
            assert!(check_room(&path).is_ok());
        }
    }
}
