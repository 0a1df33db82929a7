//! Which files are looked at, and how they are opened: users may change their folders meanwhile.

use std::fs::{File, canonicalize};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use qrtotp_core::events::Printable;
use rustix::fs::{self, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use walkdir::{DirEntry, WalkDir};

use crate::ending::{Code, Ending};

/// Kept in no file: what the kernel says, and what programs are told.
const KERNEL: [i64; 12] = [
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x1cd1,      // devpts
    0x6367_7270, // cgroup2
    0x0027_e0eb, // cgroup
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x7363_6673, // securityfs
    0xcafe_4a11, // bpf
    0x6265_6570, // configfs
    0x4249_4e4d, // binfmt_misc
    0x1980_0202, // mqueue
];
/// On other machines, or served by a program that may take its time.
const AFAR: [i64; 10] = [
    0x6969,      // NFS
    0x517b,      // SMB
    0xff53_4d42, // CIFS
    0xfe53_4d42, // SMB2
    0x5346_414f, // AFS
    0x7375_7245, // Coda
    0x0102_1997, // 9P
    0x00c3_6400, // Ceph
    0x0116_1970, // GFS2
    0x6573_5546, // FUSE
];

/// A folder or file that was given.
pub struct Root {
    path: PathBuf,
    fd: OwnedFd,
    device: u64,
}

impl Root {
    /// Opens what was given, over links: the person who gave it is root.
    pub fn open(path: &Path) -> Result<Self, Ending> {
        let fail = |what: String| Ending::new(Code::No, format!("{}: {what}", printable(path)));
        let path = canonicalize(path).map_err(|error| fail(error.to_string()))?;
        let fd = fs::open(&path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
        let fd = fd.map_err(|errno| fail(std::io::Error::from(errno).to_string()))?;
        let stat = fs::fstat(&fd).map_err(|errno| fail(std::io::Error::from(errno).to_string()))?;
        if is_of(&path, &KERNEL) {
            return Err(fail("holds no files, but what the kernel says".to_owned()));
        }
        Ok(Self { path, fd, device: stat.st_dev })
    }

    /// Its path, over no links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether another one is looked through with this one.
    pub fn holds(&self, other: &Self) -> bool {
        other.path.starts_with(&self.path) && other.device == self.device
    }

    /// Opens a file below, part by part and over no link, so that no user makes root read something else. `None` where it
    /// is gone, or is no file any more.
    pub fn file(&self, relative: &Path) -> std::io::Result<Option<(File, Stat)>> {
        match self.open_below(relative) {
            Ok(fd) => {
                let stat = fs::fstat(&fd)?;
                let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
                Ok(is_file.then(|| (File::from(fd), stat)))
            }
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::NXIO) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    fn open_below(&self, relative: &Path) -> Result<OwnedFd, Errno> {
        let mut parts: Vec<_> = relative.components().collect();
        let Some(last) = parts.pop() else { return reading(CWD, self.path.as_os_str()) };
        let mut folder = None;
        for part in parts {
            let Component::Normal(name) = part else { return Err(Errno::NOENT) };
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            folder = Some(fs::openat(folder.as_ref().unwrap_or(&self.fd), name, flags, Mode::empty())?);
        }
        reading(folder.as_ref().unwrap_or(&self.fd), last.as_os_str())
    }
}

/// Opens to read. A FIFO or a device that took the place of a file makes nobody wait; the time of the last access stays.
fn reading(folder: impl std::os::fd::AsFd, name: &std::ffi::OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    match fs::openat(&folder, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => fs::openat(&folder, name, flags, Mode::empty()),
        other => other,
    }
}

/// Where is gone.
pub struct Walk {
    /// Into other local file systems too.
    pub across: bool,
    /// The state folder, whose keys are the ones that are compared with.
    pub state: PathBuf,
}

impl Walk {
    /// Visits every file, by its path below the root and by its whole path, and tells what is passed over and why. Links
    /// are not followed.
    pub fn run(&self, root: &Root, visit: &mut dyn FnMut(&Path, &Path), passed_over: &mut dyn FnMut(&Path, String)) {
        let mut entries = WalkDir::new(&root.path).into_iter();
        while let Some(entry) = entries.next() {
            match entry {
                Ok(entry) if entry.file_type().is_file() => {
                    let relative = entry.path().strip_prefix(&root.path).unwrap_or(entry.path());
                    visit(relative, entry.path());
                }
                Ok(entry) if entry.file_type().is_dir() => {
                    if let Err(why) = self.may_enter(root, &entry) {
                        entries.skip_current_dir();
                        passed_over(entry.path(), why.to_owned());
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    let why = error.io_error().map_or_else(|| error.to_string(), ToString::to_string);
                    passed_over(error.path().unwrap_or(&root.path), why);
                }
            }
        }
    }

    fn may_enter(&self, root: &Root, entry: &DirEntry) -> Result<(), &'static str> {
        if entry.path().starts_with(&self.state) {
            return Err("the state folder: its keys are the ones that others are compared with");
        }
        if entry.depth() == 0 {
            return Ok(());
        }
        let device = entry.metadata().map(|data| data.dev());
        if device.is_ok_and(|device| device == root.device) {
            return Ok(());
        }
        if is_of(entry.path(), &KERNEL) {
            return Err("holds no files, but what the kernel says");
        }
        if is_of(entry.path(), &AFAR) {
            return Err("is served from elsewhere; name it to look through it too");
        }
        if self.across { Ok(()) } else { Err("another file system; look through it too with --across") }
    }
}

fn is_of(path: &Path, kinds: &[i64]) -> bool {
    fs::statfs(path).is_ok_and(|stat| kinds.contains(&stat.f_type))
}

/// A path for a message: what does not show as itself is escaped.
pub fn printable(path: &Path) -> String {
    let bytes = path.as_os_str().as_encoded_bytes();
    match path.to_str().filter(|text| text.chars().all(|c| qrtotp_core::words::is_plain(c) && c != '\\')) {
        Some(text) => text.to_owned(),
        // Cut into pieces, because what is escaped is cut where it is long.
        None => bytes.chunks(Printable::MAX / 4).map(|piece| Printable::new(piece).as_str().to_owned()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_link_in_the_place_of_a_folder_or_a_file_is_not_followed() {
        let home = folder();
        let secret = home.path().join("secret");
        std::fs::create_dir(&secret).unwrap();
        std::fs::write(secret.join("file"), "x").unwrap();
        let given = home.path().join("given");
        std::fs::create_dir(&given).unwrap();
        std::fs::write(given.join("file"), "x").unwrap();
        let root = Root::open(&given).unwrap();
        assert!(root.file(Path::new("file")).unwrap().is_some());
        symlink(&secret, given.join("swapped")).unwrap();
        symlink(secret.join("file"), given.join("link")).unwrap();
        for path in ["swapped/file", "link", "../secret/file", "none", "file/x"] {
            assert!(root.file(Path::new(path)).unwrap().is_none(), "{path}");
        }
    }

    #[test]
    fn what_is_no_file_is_not_opened_for_long() {
        let home = folder();
        let fifo = home.path().join("fifo");
        fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).unwrap();
        let root = Root::open(home.path()).unwrap();
        assert!(root.file(Path::new("fifo")).unwrap().is_none());
    }

    #[test]
    fn what_the_kernel_says_is_no_folder_to_search() {
        assert!(Root::open(Path::new("/proc")).is_err());
        assert!(Root::open(Path::new("/no/such/folder")).is_err());
    }

    #[test]
    fn a_path_shows_nothing_that_a_terminal_acts_on() {
        use std::os::unix::ffi::OsStrExt;
        let shown = |bytes: &[u8]| printable(Path::new(std::ffi::OsStr::from_bytes(bytes)));
        assert_eq!(shown(b"/home/a b/\"x\""), "/home/a b/\"x\"");
        assert_eq!(shown("/home/\u{e9}".as_bytes()), "/home/\u{e9}");
        assert_eq!(shown(b"/x\x1b[2J\n"), "/x\\x1b[2J\\x0a");
        assert_eq!(shown(b"/\xff\\"), "/\\xff\\x5c");
        assert_eq!(shown(&[7; 1000]).len(), 4000);
        assert_eq!(shown("/\u{202e}".as_bytes()), "/\\xe2\\x80\\xae");
    }
}
