//! Files of keys, some of which users may change meanwhile: opened over no link at the end, looked at, and read into memory
//! that is wiped.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use zeroize::Zeroizing;

/// A file system that is served by a program, which may let root wait for ever.
const FUSE: i64 = 0x6573_5546;

/// A file of keys.
pub struct Keys {
    /// What is in it.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Whether accounts beside its owner can read it.
    pub is_readable_by_others: bool,
}

/// Who may have written a file that is believed.
#[derive(Clone, Copy)]
pub enum Owner {
    /// Root alone.
    Root,
    /// A user, or root.
    UserOrRoot(u32),
    /// A user alone: the home that it lies in is not his, and who else it is shared with is not known.
    User(u32),
}

/// Reads a file that was named. `Ok(None)` where there is none.
///
/// # Errors
/// What is wrong with it, and what to do.
pub fn read(path: &Path, owner: Owner, most: usize) -> Result<Option<Keys>, String> {
    below(CWD, path, owner, most)
}

/// Reads a file in a home. `Ok(None)` where there is no such file, or no such home.
///
/// # Errors
/// What is wrong with it, and what to do.
pub fn read_in_home(home: &Path, name: &str, uid: u32, most: usize) -> Result<Option<Keys>, String> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let folder = match fs::open(home, flags, Mode::empty()) {
        Ok(folder) => folder,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(errno) => return Err(format!("the home cannot be opened: {}", in_words(errno))),
    };
    let stat = fs::fstat(&folder).map_err(in_words)?;
    let owner = if stat.st_uid == uid { Owner::UserOrRoot(uid) } else { Owner::User(uid) };
    below(&folder, Path::new(name), owner, most)
}

fn below(folder: impl AsFd, path: &Path, owner: Owner, most: usize) -> Result<Option<Keys>, String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fd = match fs::openat(folder, path, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(Errno::LOOP) => return Err("is a symbolic link; name the file itself".to_owned()),
        Err(Errno::NXIO | Errno::NODEV) => return Err("is not a regular file".to_owned()),
        Err(errno) => return Err(format!("cannot be opened: {}", in_words(errno))),
    };
    let stat = fs::fstat(&fd).map_err(in_words)?;
    check(&fd, &stat, owner)?;
    let bytes = content(fd, most)?;
    Ok(Some(Keys { bytes, is_readable_by_others: stat.st_mode & 0o044 != 0 }))
}

fn check(fd: &OwnedFd, stat: &Stat, owner: Owner) -> Result<(), String> {
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err("is not a regular file".to_owned());
    }
    let (is_good, wanted) = match owner {
        Owner::Root => (stat.st_uid == 0, "root".to_owned()),
        Owner::UserOrRoot(uid) => (stat.st_uid == 0 || stat.st_uid == uid, format!("user id {uid} or root")),
        Owner::User(uid) => {
            (stat.st_uid == uid, format!("user id {uid}, whose home this folder is but does not belong to"))
        }
    };
    if !is_good {
        return Err(format!("belongs to user id {}, not to {wanted}: not believed", stat.st_uid));
    }
    if stat.st_mode & 0o022 != 0 {
        let mode = stat.st_mode & 0o777;
        return Err(format!("has mode {mode:03o}: others could have written it; look at it, then: chmod go-w"));
    }
    if stat.st_nlink != 1 {
        return Err("has another name (hard link); remove that".to_owned());
    }
    if fs::fstatfs(fd).is_ok_and(|system| system.f_type == FUSE) {
        return Err("is served by a program (FUSE); copy it to a disk".to_owned());
    }
    Ok(())
}

/// At most so many bytes, in memory that is set aside once, so that no copy is left behind.
fn content(fd: OwnedFd, most: usize) -> Result<Zeroizing<Vec<u8>>, String> {
    let room = most.saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    let limit = u64::try_from(room).unwrap_or(u64::MAX);
    File::from(fd).take(limit).read_to_end(&mut bytes).map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() > most {
        return Err(format!("is larger than {} KiB", most / 1024));
    }
    Ok(bytes)
}

fn in_words(errno: Errno) -> String {
    std::io::Error::from(errno).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    const MOST: usize = 100;

    fn why(path: &Path) -> String {
        let own = rustix::process::getuid().as_raw();
        read(path, Owner::UserOrRoot(own), MOST).map(|_| ()).unwrap_err()
    }

    #[test]
    fn only_a_plain_small_file_that_nobody_else_writes_is_read() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        let write = |name: &str, length: usize, mode: u32| {
            std::fs::write(path(name), vec![b'x'; length]).unwrap();
            std::fs::set_permissions(path(name), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let own = rustix::process::getuid().as_raw();
        write("good", MOST, 0o600);
        let keys = read(&path("good"), Owner::UserOrRoot(own), MOST).unwrap().unwrap();
        assert_eq!((keys.bytes.len(), keys.is_readable_by_others), (MOST, false));
        write("shown", 1, 0o644);
        assert!(read(&path("shown"), Owner::UserOrRoot(own), MOST).unwrap().unwrap().is_readable_by_others);
        write("huge", MOST + 1, 0o600);
        assert!(why(&path("huge")).contains("larger"));
        for mode in [0o620, 0o602, 0o666] {
            write("open", 1, mode);
            assert!(why(&path("open")).contains("others could have written it"), "{mode:o}");
        }
        symlink(path("good"), path("link")).unwrap();
        assert!(why(&path("link")).contains("symbolic link"));
        fs::mknodat(CWD, path("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert!(why(&path("fifo")).contains("not a regular file"));
        assert!(why(home.path()).contains("not a regular file"));
        std::fs::hard_link(path("good"), path("other")).unwrap();
        assert!(why(&path("good")).contains("hard link"));
        assert!(read(&path("none"), Owner::Root, MOST).unwrap().is_none());
        assert!(read_in_home(&path("none"), "x", own, MOST).unwrap().is_none());
    }
}
