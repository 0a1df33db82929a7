//! The file of a handover: space first, its name last. After a handover it is the only place of the keys, so nobody but root may
//! remove it.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use qrtotp_core::files::{self, Folder, PRIVATE_FILE, Privacy};
use rustix::fs::{OFlags, RenameFlags, fstatfs, openat, renameat, renameat_with};
use rustix::io::Errno;

use crate::ending::{Code, Ending};

/// What statfs(2) says of file systems that are gone after a reboot: tmpfs, ramfs.
const VOLATILE: [u64; 2] = [0x0102_1994, 0x8584_58f6];
/// How much longer letters are than the bytes they stand for, in halves, and what the head may take.
const MARGIN: usize = 16 * 1024;

/// A file that is to be written.
pub struct Target {
    folder: Folder,
    path: PathBuf,
    name: String,
    /// Open once it was reserved.
    file: Option<File>,
}

impl Target {
    /// Looks at the place of a file, which must be free.
    pub fn new(path: &Path) -> Result<Self, Ending> {
        let path = std::path::absolute(path)?;
        let usage = |what: &str| Ending::new(Code::Usage, format!("{}: {what}", path.display()));
        let name =
            path.file_name().and_then(|name| name.to_str()).ok_or_else(|| usage("must be the name of a file"))?;
        let parent = path.parent().unwrap_or(Path::new("/"));
        // A folder may be closed to others or not; that others cannot write to it is what counts.
        let folder = Folder::open(parent, Privacy::ReadableByAll)
            .map_err(|trouble| Ending::from(trouble).with("; the file must lie where only root can remove it"))?
            .ok_or_else(|| Ending::new(Code::Usage, format!("{}: there is no such folder", parent.display())))?;
        let target = Self { folder, name: name.to_owned(), path: path.clone(), file: None };
        target.check_free()?;
        Ok(target)
    }

    /// Its path, from the root on.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is gone after a reboot.
    pub fn is_volatile(&self) -> bool {
        let kind = fstatfs(&self.folder.fd).ok().and_then(|stat| u64::try_from(stat.f_type).ok());
        kind.is_some_and(|kind| VOLATILE.contains(&kind))
    }

    fn check_free(&self) -> Result<(), Ending> {
        if self.folder.stat(&self.name)?.is_some() {
            return Err(Ending::new(
                Code::Conflict,
                format!("{}: is there already; name another file", self.path.display()),
            ));
        }
        Ok(())
    }

    /// Makes the file beside its place, and fills it as far as the content will.
    pub fn reserve(mut self, content: usize) -> Result<Self, Ending> {
        let size = content.saturating_add(content / 2).saturating_add(MARGIN);
        files::refuse_limited(&self.path, size as u64)?;
        self.folder.remove(&self.arriving())?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd =
            openat(&self.folder.fd, self.arriving(), flags, PRIVATE_FILE).map_err(|errno| self.fail(errno.into()))?;
        let mut file = File::from(fd);
        let filled = file.write_all(&vec![0; size]).and_then(|()| file.sync_all());
        self.file = Some(file);
        filled.map_err(|error| self.discard(self.fail(error)))?;
        Ok(self)
    }

    /// Writes the content, reads it back, and gives it its name. Nothing stands under the name before that.
    pub fn write(&self, content: &[u8]) -> Result<(), Ending> {
        let fail = |error| self.fail(error);
        let mut file = self.file.as_ref().ok_or_else(|| self.fail(Errno::BADF.into()))?;
        file.rewind().and_then(|()| file.write_all(content)).map_err(fail)?;
        file.set_len(content.len() as u64).and_then(|()| file.sync_all()).map_err(fail)?;
        self.check_content(content)?;
        self.put_in_place().map_err(|errno| self.fail(errno.into()))?;
        // A name that may be gone after a crash is none: the keys must not go for it.
        self.folder.sync().map_err(|trouble| match self.folder.remove(&self.name) {
            Ok(()) => Ending::from(trouble),
            Err(stays) => Ending::from(trouble).with(&format!("\n{stays}; it holds the keys: destroy it")),
        })
    }

    fn check_content(&self, content: &[u8]) -> Result<(), Ending> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd =
            openat(&self.folder.fd, self.arriving(), flags, PRIVATE_FILE).map_err(|errno| self.fail(errno.into()))?;
        let mut read = Vec::with_capacity(content.len());
        File::from(fd).read_to_end(&mut read).map_err(|error| self.fail(error))?;
        if read == content {
            return Ok(());
        }
        Err(Ending::new(Code::Untrusted, format!("{}: does not hold what was written to it", self.path.display())))
    }

    /// Over nothing. Some file systems on sticks do not know that; only root can be in the way there.
    fn put_in_place(&self) -> Result<(), Errno> {
        let folder = &self.folder.fd;
        match renameat_with(folder, self.arriving(), folder, &self.name, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS) if self.check_free().is_ok() => {
                renameat(folder, self.arriving(), folder, &self.name)
            }
            Err(Errno::INVAL | Errno::NOSYS) => Err(Errno::EXIST),
            result => result,
        }
    }

    /// Removes what was written so far: the handover came to nothing.
    pub fn discard(&self, ending: Ending) -> Ending {
        match self.folder.remove(&self.arriving()) {
            Ok(()) => ending,
            Err(trouble) => ending.with(&format!("\n{trouble}")),
        }
    }

    fn arriving(&self) -> String {
        files::arriving(&self.name)
    }

    fn fail(&self, error: std::io::Error) -> Ending {
        Ending::new(Code::No, format!("{}: cannot be written: {error}; nothing was handed over", self.path.display()))
    }
}
