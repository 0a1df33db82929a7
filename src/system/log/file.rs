//! The events file.

use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, open};
use rustix::io::{Errno, retry_on_intr, write};
use rustix::process::{Resource, getrlimit};

use qrtotp_core::files::above_stdio;

/// Appends one line with a single write, so that lines of logins at the same time do not mix.
///
/// # Errors
/// Where the file is not one that only root can have made and can write, or the kernel refuses; the line is lost then.
pub fn append(path: &Path, line: &[u8]) -> Result<(), Errno> {
    if !path.is_absolute() {
        return Err(Errno::INVAL);
    }
    // O_NONBLOCK and O_NOCTTY: a FIFO or a terminal in its place must not hold a login or become its terminal.
    let flags = OFlags::WRONLY
        | OFlags::APPEND
        | OFlags::CREATE
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK
        | OFlags::NOCTTY
        | OFlags::CLOEXEC;
    let file = above_stdio(open(path, flags, Mode::RUSR | Mode::WUSR)?)?;
    let status = fstat(&file)?;
    if !belongs_to_root_alone(&status) || !within_limit(&status, line) {
        return Err(Errno::PERM);
    }
    retry_on_intr(|| write(&file, line)).map(drop)
}

/// A regular file of root's with one name, which nobody else may write.
fn belongs_to_root_alone(status: &Stat) -> bool {
    let mode = Mode::from_raw_mode(status.st_mode);
    FileType::from_raw_mode(status.st_mode).is_file()
        && status.st_uid == 0
        && status.st_nlink == 1
        && !mode.intersects(Mode::WGRP | Mode::WOTH)
}

/// A caller of `su` may have set RLIMIT_FSIZE: a write beyond it would kill the program by SIGXFSZ, and its login too.
fn within_limit(status: &Stat, line: &[u8]) -> bool {
    let size = u64::try_from(status.st_size).unwrap_or(u64::MAX);
    let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
    getrlimit(Resource::Fsize).current.is_none_or(|limit| size.saturating_add(length) <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
    use std::process::Command;
    use tempfile::TempDir;

    const LINE: &[u8] = b"{}\n";

    #[test]
    fn the_first_line_makes_the_file_for_root_alone_and_the_next_follows() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("events.jsonl");
        append(&path, LINE).unwrap();
        append(&path, LINE).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"{}\n{}\n");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
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
        assert!(append(&folder.path().join("events.jsonl"), LINE).is_err());
    }
}
