//! `.pictures/HASH`: which files hold a key that was printed, until they are gone.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use rustix::fs::OFlags;
use sha2::{Digest, Sha256};

use super::{Vault, make_folder};
use crate::files::{self, Folder, Privacy, Trouble};
use crate::words::{Uid, WallTime};

const PICTURES: &str = ".pictures";
/// Largest record that is read, in bytes.
const MOST: usize = 8192;

/// A file that holds a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PictureFile {
    /// Whose key.
    pub uid: Uid,
    /// When it was written.
    pub written: WallTime,
    /// Where.
    pub path: PathBuf,
}

impl Vault {
    /// Notes a file before it is written.
    ///
    /// # Errors
    /// [`Trouble`] where it cannot be noted.
    pub fn note_picture(&self, picture: &PictureFile) -> Result<(), Trouble> {
        make_folder(&self.folder.path.join(PICTURES))?;
        let missing = || Trouble::new(&self.folder.path.join(PICTURES), "vanished");
        let folder = self.folder.folder(PICTURES)?.ok_or_else(missing)?;
        let mut text = format!("{} {}\n", picture.uid.0, picture.written.0).into_bytes();
        text.extend_from_slice(picture.path.as_os_str().as_bytes());
        folder.replace(&name_of(&picture.path), &text, 0)
    }

    /// The files that were noted, whether they still are there or not.
    ///
    /// # Errors
    /// [`Trouble`] where they cannot be listed, or a record is damaged.
    pub fn pictures(&self) -> Result<Vec<PictureFile>, Trouble> {
        let Some(folder) = self.folder.folder(PICTURES)? else { return Ok(Vec::new()) };
        let mut pictures: Vec<_> = folder.names()?.iter().map(|name| read(&folder, name)).collect::<Result<_, _>>()?;
        pictures.sort_by_key(|picture| picture.written);
        Ok(pictures)
    }

    /// Forgets a file.
    ///
    /// # Errors
    /// [`Trouble`] where the record stays.
    pub fn forget_picture(&self, path: &Path) -> Result<(), Trouble> {
        let Some(folder) = self.folder.folder(PICTURES)? else { return Ok(()) };
        folder.remove(&name_of(path))
    }
}

fn read(folder: &Folder, name: &str) -> Result<PictureFile, Trouble> {
    let path = folder.path.join(name);
    let damaged = || Trouble::new(&path, "is damaged; remove it, and look for the picture it named");
    let (fd, _) = folder.file(name, OFlags::RDONLY, Privacy::Secret)?.ok_or_else(damaged)?;
    let bytes = files::read_all(&fd, &path, MOST)?;
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(damaged)?;
    let (head, rest) = bytes.split_at_checked(end).ok_or_else(damaged)?;
    let head = std::str::from_utf8(head).ok().and_then(|head| head.split_once(' ')).ok_or_else(damaged)?;
    let (uid, written) = head.0.parse().ok().zip(head.1.parse().ok()).ok_or_else(damaged)?;
    let path = PathBuf::from(OsStr::from_bytes(rest.get(1..).unwrap_or_default()));
    Ok(PictureFile { uid: Uid(uid), written: WallTime(written), path })
}

fn name_of(path: &Path) -> String {
    let digest = Sha256::digest(path.as_os_str().as_bytes());
    HEXLOWER.encode(&digest.iter().take(8).copied().collect::<Vec<_>>())
}
