//! The one way to open a file or folder that a login trusts: every check stands here.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use zeroize::Zeroizing;

/// Why state or policy cannot be used: a path and what is wrong with it, for an administrator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trouble {
    /// Which file or folder.
    pub path: PathBuf,
    /// What is wrong, and what to do.
    pub what: String,
}

impl Trouble {
    /// Says what is wrong with a path.
    pub fn new(path: &Path, what: impl fmt::Display) -> Self {
        Self { path: path.to_owned(), what: what.to_string() }
    }

    fn os(path: &Path, doing: &str, errno: Errno) -> Self {
        Self::new(path, format_args!("cannot {doing}: {}", describe(errno)))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.what)
    }
}

/// An error number in words.
pub fn describe(errno: Errno) -> String {
    std::io::Error::from(errno).to_string()
}

/// Who may do what with a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Privacy {
    /// Nobody but root may read or write: secrets.
    Secret,
    /// Nobody but root may write: policy.
    ReadableByAll,
}

impl Privacy {
    fn forbidden(self) -> Mode {
        match self {
            Self::Secret => Mode::RWXG | Mode::RWXO,
            Self::ReadableByAll => Mode::WGRP | Mode::WOTH,
        }
    }
}

/// A folder that passed every check, and its path for messages.
#[derive(Debug)]
pub struct Folder {
    /// The open folder.
    pub fd: OwnedFd,
    /// Its path.
    pub path: PathBuf,
}

impl Folder {
    /// Opens a folder by its path. The path may lead over links that root made; the folder itself must be none.
    ///
    /// # Errors
    /// [`Trouble`]; `Ok(None)` where nothing is there.
    pub fn open(path: &Path, privacy: Privacy) -> Result<Option<Self>, Trouble> {
        let Some(fd) = opened(fs::openat(CWD, path, FOLDER, Mode::empty()), path)? else { return Ok(None) };
        check(&look(&fd, path)?, path, FileType::Directory, privacy)?;
        Ok(Some(Self { fd, path: path.to_owned() }))
    }

    /// Opens a folder inside this one.
    ///
    /// # Errors
    /// [`Trouble`]; `Ok(None)` where nothing is there.
    pub fn folder(&self, name: &str) -> Result<Option<Self>, Trouble> {
        let path = self.path.join(name);
        let Some(fd) = beneath(&self.fd, name, &path, FOLDER)? else { return Ok(None) };
        check(&look(&fd, &path)?, &path, FileType::Directory, Privacy::Secret)?;
        Ok(Some(Self { fd, path }))
    }

    /// Opens a file inside this folder and checks it.
    ///
    /// # Errors
    /// [`Trouble`]; `Ok(None)` where nothing is there.
    pub fn file(&self, name: &str, flags: OFlags, privacy: Privacy) -> Result<Option<(OwnedFd, Stat)>, Trouble> {
        let path = self.path.join(name);
        file(&path, privacy, || beneath(&self.fd, name, &path, flags | FILE))
    }

    /// What stands under a name now, without following links.
    ///
    /// # Errors
    /// [`Trouble`] where the kernel cannot say; `Ok(None)` where nothing is there.
    pub fn stat(&self, name: &str) -> Result<Option<Stat>, Trouble> {
        match fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Trouble::os(&self.path.join(name), "look at", errno)),
        }
    }

    /// Writes a new file and makes it durable, folder entry included; what stood under the name is replaced at once.
    ///
    /// # Errors
    /// [`Trouble`]; nothing is left over then, and the old file is untouched, unless only the last step failed, which makes
    /// the new one durable.
    pub fn replace(&self, name: &str, content: &[u8], reserve: u64) -> Result<(), Trouble> {
        self.replace_if(name, content, reserve, || Ok(()))
    }

    /// The same if `may` says so once the new file stands ready beside the old one, under [`arriving`]: whoever removes it
    /// there prevents the rest.
    ///
    /// # Errors
    /// As [`Folder::replace`], and what `may` says.
    pub fn replace_if(
        &self,
        name: &str,
        content: &[u8],
        reserve: u64,
        may: impl FnOnce() -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let fresh = arriving(name);
        let path = self.path.join(&fresh);
        self.remove(&fresh)?;
        let done = self.write_new(&fresh, content, reserve).and_then(|()| may()).and_then(|()| {
            fs::renameat(&self.fd, &fresh, &self.fd, name).map_err(|errno| Trouble::os(&path, "rename", errno))
        });
        if done.is_err() {
            self.remove(&fresh)?;
        }
        done.and_then(|()| self.sync())
    }

    /// Writes a new file, which must not be there yet, and makes it durable. `reserve` bytes are set aside for it, so
    /// that appending works on a full disk.
    ///
    /// # Errors
    /// [`Trouble`]; what was written so far stays.
    pub fn write_new(&self, name: &str, content: &[u8], reserve: u64) -> Result<(), Trouble> {
        let path = self.path.join(name);
        let fail = |doing: &'static str| move |errno| Trouble::os(&path, doing, errno);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | FILE;
        let fd =
            fs::openat(&self.fd, name, flags, PRIVATE_FILE).and_then(above_stdio).map_err(fail.clone()("create"))?;
        fs::fchmod(&fd, PRIVATE_FILE).map_err(fail.clone()("protect"))?;
        if reserve > 0 {
            self::reserve(&fd, 0, reserve).map_err(fail.clone()("set space aside for"))?;
        }
        let written = rustix::io::write(&fd, content).map_err(fail.clone()("write"))?;
        if written != content.len() {
            return Err(fail("write")(Errno::NOSPC));
        }
        fs::fsync(&fd).map_err(fail("sync"))
    }

    /// Appends one byte to a file, which is made if it is not there, and makes it durable. Gives how many there are then,
    /// the own one last: whoever does so at the same time gets another number.
    ///
    /// # Errors
    /// [`Trouble`] where the byte is not surely on disk.
    pub fn append_byte(&self, name: &str, byte: u8) -> Result<u64, Trouble> {
        let path = self.path.join(name);
        let fail = |errno| Trouble::os(&path, "append", errno);
        let flags = OFlags::WRONLY | OFlags::APPEND;
        let opened = match self.file(name, flags, Privacy::Secret)? {
            None => {
                // Another login may be faster; what counts is whether it is there then.
                let _ = self.write_new(name, b"", 0);
                self.file(name, flags, Privacy::Secret)?
            }
            found => found,
        };
        let (fd, stat) = opened.ok_or_else(|| Trouble::new(&path, "vanished"))?;
        refuse_limited(&path, u64::try_from(stat.st_size).unwrap_or(0).saturating_add(1))?;
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&fd, &[byte])).map_err(fail)?;
        let end = fs::tell(&fd).map_err(fail)?;
        fs::fdatasync(&fd).map_err(fail)?;
        if written == 1 { Ok(end) } else { Err(fail(Errno::NOSPC)) }
    }

    /// The names in this folder.
    ///
    /// # Errors
    /// [`Trouble`] where it cannot be listed.
    pub fn names(&self) -> Result<Vec<String>, Trouble> {
        let fail = |errno| Trouble::new(&self.path, format_args!("cannot be listed: {}", describe(errno)));
        let items = fs::Dir::read_from(&self.fd).map_err(fail)?;
        let name = |item: fs::DirEntry| item.file_name().to_string_lossy().into_owned();
        let names: Vec<_> = items.map(|item| item.map(name).map_err(fail)).collect::<Result<_, _>>()?;
        Ok(names.into_iter().filter(|name| name != "." && name != "..").collect())
    }

    /// Removes a file; it is no error if nothing is there.
    ///
    /// # Errors
    /// [`Trouble`] where it is there and stays.
    pub fn remove(&self, name: &str) -> Result<(), Trouble> {
        match fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(Trouble::os(&self.path.join(name), "remove", errno)),
        }
    }

    /// Makes changes of the folder itself durable.
    ///
    /// # Errors
    /// [`Trouble`] where the disk refuses.
    pub fn sync(&self) -> Result<(), Trouble> {
        fs::fsync(&self.fd).map_err(|errno| Trouble::os(&self.path, "sync", errno))
    }
}

/// How often a file may be replaced between opening it and looking at it.
const REPLACED_AT_MOST: usize = 16;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// A FIFO or a device under the name must not make a login wait, nor become a terminal of the process.
const FILE: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
/// Mode of every file made here.
pub const PRIVATE_FILE: Mode = Mode::RUSR.union(Mode::WUSR);
/// Mode of every folder made here.
pub const PRIVATE_FOLDER: Mode = Mode::RWXU;

/// Tells one version of a file, written by replacement, from the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Version {
    device: u64,
    inode: u64,
    changed: (i64, i64),
}

impl Version {
    /// Numbers that no other version has while the file system lives.
    pub fn numbers(&self) -> [i128; 4] {
        [self.device.into(), self.inode.into(), self.changed.0.into(), self.changed.1.into()]
    }

    /// The version that was looked at.
    pub fn of(stat: &Stat) -> Self {
        let nanoseconds = i64::try_from(stat.st_ctime_nsec).unwrap_or(0);
        Self { device: stat.st_dev, inode: stat.st_ino, changed: (stat.st_ctime, nanoseconds) }
    }
}

/// What stands at a path now, without following a link.
///
/// # Errors
/// [`Trouble`] where the kernel cannot say; `Ok(None)` where nothing is there.
pub fn stat_path(path: &Path) -> Result<Option<Stat>, Trouble> {
    match fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(Trouble::os(path, "look at", errno)),
    }
}

/// Opens the file at a path, whose last part must be no link, and checks it.
///
/// # Errors
/// [`Trouble`]; `Ok(None)` where nothing is there.
pub fn open_path(path: &Path, privacy: Privacy) -> Result<Option<(OwnedFd, Stat)>, Trouble> {
    file(path, privacy, || opened(fs::openat(CWD, path, OFlags::RDONLY | FILE, Mode::empty()), path))
}

/// Opens and checks; once more where the file was replaced between the two.
fn file(
    path: &Path,
    privacy: Privacy,
    open: impl Fn() -> Result<Option<OwnedFd>, Trouble>,
) -> Result<Option<(OwnedFd, Stat)>, Trouble> {
    for _ in 0..REPLACED_AT_MOST {
        let Some(fd) = open()? else { return Ok(None) };
        let stat = look(&fd, path)?;
        if stat.st_nlink > 0 {
            check(&stat, path, FileType::RegularFile, privacy)?;
            return Ok(Some((fd, stat)));
        }
    }
    Err(Trouble::new(path, "is replaced again and again"))
}

/// Reads a file of the system that packages bring, over links and under several names: root's, and written by nobody else.
///
/// # Errors
/// [`Trouble`]; `Ok(None)` where nothing is there.
pub fn read_public(path: &Path, most: usize) -> Result<Option<Zeroizing<Vec<u8>>>, Trouble> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let Some(fd) = opened(fs::openat(CWD, path, flags, Mode::empty()), path)? else { return Ok(None) };
    let mut stat = look(&fd, path)?;
    stat.st_nlink = 1;
    check(&stat, path, FileType::RegularFile, Privacy::ReadableByAll)?;
    read_all(&fd, path, most).map(Some)
}

/// Reads a whole file of at most `most` bytes; the buffer is wiped on drop.
///
/// # Errors
/// [`Trouble`] where it is larger or cannot be read.
pub fn read_all(fd: &OwnedFd, path: &Path, most: usize) -> Result<Zeroizing<Vec<u8>>, Trouble> {
    let size = usize::try_from(look(fd, path)?.st_size).ok().filter(|size| *size <= most);
    let Some(size) = size else {
        return Err(Trouble::new(path, format_args!("is larger than {most} bytes")));
    };
    let mut buffer = Zeroizing::new(vec![0; size]);
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match rustix::io::pread(fd, rest, u64::try_from(filled).unwrap_or(u64::MAX)) {
            Ok(0) => break,
            Ok(count) => filled = filled.saturating_add(count),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Trouble::os(path, "read", errno)),
        }
    }
    buffer.truncate(filled);
    Ok(buffer)
}

/// Sets space aside without moving the end of the file, which appending relies on.
///
/// # Errors
/// The error of fallocate(2); none where the file system does not know it.
pub fn reserve(fd: &OwnedFd, from: u64, bytes: u64) -> Result<(), Errno> {
    match fs::fallocate(fd, fs::FallocateFlags::KEEP_SIZE, from, bytes) {
        Err(Errno::OPNOTSUPP) => Ok(()),
        other => other,
    }
}

/// Whoever calls su may limit the size of files so that what he appends is cut off. What a write beyond the limit also
/// brings is SIGXFSZ, which ends the host.
///
/// # Errors
/// [`Trouble`] where a file of that size cannot be written by this process.
pub fn refuse_limited(path: &Path, needed: u64) -> Result<(), Trouble> {
    match getrlimit(Resource::Fsize).current {
        Some(limit) if limit < needed => {
            Err(Trouble::new(path, "cannot append: this process may not write files of that size (ulimit -f)"))
        }
        _ => Ok(()),
    }
}

/// Under which name a file stands ready before it replaces another one.
pub fn arriving(name: &str) -> String {
    format!("{name}.new")
}

/// Moves a descriptor above 2. Where the caller left 0, 1 or 2 closed, ours would land there, and the host's next line
/// of output would end in our file.
///
/// # Errors
/// The error of fcntl(2).
pub fn above_stdio(fd: OwnedFd) -> Result<OwnedFd, Errno> {
    use std::os::fd::AsRawFd;
    if fd.as_raw_fd() > 2 { Ok(fd) } else { rustix::io::fcntl_dupfd_cloexec(&fd, 3) }
}

fn beneath(folder: &OwnedFd, name: &str, path: &Path, flags: OFlags) -> Result<Option<OwnedFd>, Trouble> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let result = match fs::openat2(folder, name, flags, Mode::empty(), resolve) {
        // Kernels before 5.6, and sandboxes that do not know the call. A name here is always one part of a path, so
        // O_NOFOLLOW, which every caller sets, says the same.
        Err(Errno::NOSYS | Errno::PERM) => fs::openat(folder, name, flags, Mode::empty()),
        other => other,
    };
    opened(result, path)
}

/// What open(2) says: a descriptor above 2, nothing there, or trouble, in words that say what to do.
fn opened(result: Result<OwnedFd, Errno>, path: &Path) -> Result<Option<OwnedFd>, Trouble> {
    match result.and_then(above_stdio) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::LOOP) => Err(Trouble::new(path, "is a symbolic link; put the file or folder itself in its place")),
        Err(Errno::NOTDIR) => Err(Trouble::new(path, "is not a folder, or a symbolic link to one; put a folder there")),
        Err(Errno::ISDIR | Errno::NXIO) => Err(Trouble::new(path, "is not a regular file; remove it")),
        Err(errno) => Err(Trouble::os(path, "open", errno)),
    }
}

fn look(fd: impl AsFd, path: &Path) -> Result<Stat, Trouble> {
    fs::fstat(fd).map_err(|errno| Trouble::os(path, "look at", errno))
}

/// Regular file or folder, root's, closed to others, one name: before the first byte is read.
fn check(stat: &Stat, path: &Path, wanted: FileType, privacy: Privacy) -> Result<(), Trouble> {
    let shown = path.display();
    let surplus = Mode::from_raw_mode(stat.st_mode) & privacy.forbidden();
    if FileType::from_raw_mode(stat.st_mode) != wanted {
        let wanted = if wanted == FileType::Directory { "folder" } else { "regular file" };
        return Err(Trouble::new(path, format_args!("is not a {wanted}; remove it")));
    }
    if stat.st_uid != 0 {
        return Err(Trouble::new(path, format_args!("belongs to user id {}; run: chown root {shown}", stat.st_uid)));
    }
    if !surplus.is_empty() {
        let letters = if privacy == Privacy::Secret { "go-rwx" } else { "go-w" };
        let mode = stat.st_mode & 0o777;
        return Err(Trouble::new(
            path,
            format_args!("has mode {mode:03o}, open to others; run: chmod {letters} {shown}"),
        ));
    }
    if wanted == FileType::RegularFile && stat.st_nlink != 1 {
        let others = "has another name (hard link); remove that, which this finds: find / -xdev -samefile";
        return Err(Trouble::new(path, format_args!("{others} {shown}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
