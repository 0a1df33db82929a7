//! The only room that touches state files.
//!
//! ```text
//! DIR/                        0700 root
//!   .format                   "qrtotp 1"; without it the state counts as not mounted
//!   .decoy/NN/                what attempts for users without enrollment are recorded in
//!   .tickets/UID/             open enrollment tickets of a user
//!   .grace/UID-NAMEHASH       one byte a login without enrollment that a rule let in
//!   .pictures/HASH            which files hold a key that was printed
//!   .watch/                   what the watcher knows
//!   UID/credentials.toml      0600, written by replacement
//!   UID/journal               0600, appended to
//! ```
//!
//! Logins are judged without any lock. Who changes credentials holds the lock of the user's folder for that moment; logins
//! do that too, when somebody enrolls. Whoever calls su may freeze his login while it holds the lock, and then keeps others
//! from changing his own user only: revoking and starting afresh put another folder in the place of the locked one, and
//! whatever the frozen login writes goes to the one that is no longer there.

pub mod credentials;
mod grace;
pub mod journal;
mod locked;
mod pictures;
mod record;
mod section;
pub mod tickets;

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{self, AtFlags, FlockOperation, OFlags, RenameFlags};
use rustix::io::Errno;

pub use credentials::{Credentials, Device, MAX_DEVICES, Recovery, Replaced, Revocation};
pub use journal::{History, Journal};
pub use locked::{LockedRoom, Locking};
pub use pictures::PictureFile;
pub use tickets::{Replacement, Ticket, Tickets};

pub use crate::files::Version;

use crate::budget::{Entry, State};
use crate::files::{self, Folder, PRIVATE_FOLDER, Privacy, Trouble, describe};
use crate::words::{AttemptId, Uid};

/// What `.format` says.
const FORMAT: &str = "qrtotp 1\n";
const FORMAT_NAME: &str = ".format";
const DECOYS: &str = ".decoy";
const TICKETS: &str = ".tickets";
const ARRIVING: &str = ".new-";
const LEAVING: &str = ".old-";
/// How many decoys there are.
pub const DECOY_COUNT: u8 = 16;

/// The state folder of this machine.
pub struct Vault {
    folder: Folder,
}

/// The folder of one user.
pub struct Room {
    folder: Folder,
}

/// Where the folder of a first enrollment is built before it is put in place.
pub struct Staging<'a> {
    folder: &'a Folder,
    name: String,
}

impl Vault {
    /// Opens the state folder.
    ///
    /// # Errors
    /// [`Trouble`] where it is missing, unsafe, on a network file system, or of another format: never "nobody is enrolled".
    pub fn open(path: &Path) -> Result<Self, Trouble> {
        let missing = || Trouble::new(path, "is missing: not mounted, or not made yet; run: qrtotp init");
        let folder = Folder::open(path, Privacy::Secret)?.ok_or_else(missing)?;
        refuse_network(&folder)?;
        let marker = folder.file(FORMAT_NAME, OFlags::RDONLY, Privacy::Secret)?;
        let path = folder.path.join(FORMAT_NAME);
        let Some((marker, _)) = marker else {
            return Err(Trouble::new(&path, "is missing: state not mounted, or not made yet; run: qrtotp init"));
        };
        let text = files::read_all(&marker, &path, 64)?;
        if text.as_slice() != FORMAT.as_bytes() {
            return Err(Trouble::new(&path, "names another format; this version reads \"qrtotp 1\""));
        }
        Ok(Self { folder })
    }

    /// The path of the state folder.
    pub fn path(&self) -> &Path {
        &self.folder.path
    }

    /// The folder of a user. `Ok(None)`, which means "not enrolled", where there is none.
    ///
    /// # Errors
    /// [`Trouble`] where there is something that cannot be used.
    pub fn room(&self, uid: Uid) -> Result<Option<Room>, Trouble> {
        Ok(self.folder.folder(&uid.0.to_string())?.map(|folder| Room { folder }))
    }

    /// One of the decoys.
    ///
    /// # Errors
    /// [`Trouble`] where it cannot be used.
    pub fn decoy(&self, number: u8) -> Result<Option<Room>, Trouble> {
        let Some(decoys) = self.folder.folder(DECOYS)? else { return Ok(None) };
        Ok(decoys.folder(&decoy_name(number))?.map(|folder| Room { folder }))
    }

    /// Whether a user's credentials are still those of that version.
    ///
    /// # Errors
    /// [`Trouble`] where the kernel cannot say.
    pub fn is_current(&self, uid: Uid, version: Version) -> Result<bool, Trouble> {
        let place = format!("{}/{}", uid.0, credentials::NAME);
        Ok(self.folder.stat(&place)?.is_some_and(|stat| Version::of(&stat) == version))
    }

    /// The user ids that have a folder, in order.
    ///
    /// # Errors
    /// [`Trouble`] where the folder cannot be listed.
    pub fn uids(&self) -> Result<Vec<Uid>, Trouble> {
        uids_in(&self.folder)
    }

    /// Makes a user's folder appear at once with everything in it, in place of whatever is there.
    ///
    /// # Errors
    /// [`Trouble`]; what was there before is untouched then.
    pub fn install(&self, credentials: &Credentials, entries: &[Entry], replace: bool) -> Result<(), Trouble> {
        let journal = Journal::fresh(credentials.enrollment, entries);
        install(&self.folder, &credentials.uid.0.to_string(), credentials, &journal, replace)
    }

    /// The same with a journal that goes on from what another machine knew of the enrollment.
    ///
    /// # Errors
    /// [`Trouble`]; what was there before is untouched then.
    pub fn install_moved(&self, credentials: &Credentials, state: State, replace: bool) -> Result<(), Trouble> {
        let journal = Journal::begin(credentials.enrollment, state);
        install(&self.folder, &credentials.uid.0.to_string(), credentials, &journal, replace)
    }

    /// Makes the folder of a first enrollment appear at once, if `may` says so once it stands ready in its staging place:
    /// whoever removes it there prevents the rest. False where somebody else was faster.
    ///
    /// # Errors
    /// [`Trouble`], and what `may` says; nothing has changed then.
    pub fn install_first(
        &self,
        staging: &Staging<'_>,
        credentials: &Credentials,
        entries: &[Entry],
        may: impl FnOnce() -> Result<(), Trouble>,
    ) -> Result<bool, Trouble> {
        let (parent, name, place) = (staging.folder, staging.name.as_str(), credentials.uid.0.to_string());
        let fail =
            |errno| Trouble::new(&self.folder.path.join(&place), format_args!("cannot be made: {}", describe(errno)));
        let journal = Journal::fresh(credentials.enrollment, entries);
        let done =
            build_room(parent, name, credentials, &journal).and_then(|()| may()).and_then(
                |()| match fs::renameat_with(&parent.fd, name, &self.folder.fd, &place, RenameFlags::NOREPLACE) {
                    Ok(()) => Ok(true),
                    Err(Errno::EXIST) => Ok(false),
                    Err(errno) => Err(fail(errno)),
                },
            );
        if !matches!(done, Ok(true)) {
            // What stays of it is for `Vault::sweep`, or goes with the ticket.
            let _ = remove_room(parent, name);
        }
        let is_installed = done?;
        // It is in place, and must not be reported as missing, durable or not.
        let _ = self.folder.sync();
        Ok(is_installed)
    }

    /// A staging place in the state folder itself, for whoever enrolls without a ticket.
    pub fn staging(&self, uid: Uid, attempt: AttemptId) -> Staging<'_> {
        Staging { folder: &self.folder, name: arriving(&format!("{}-{attempt}", uid.0)) }
    }

    /// Removes a user's folder.
    ///
    /// # Errors
    /// [`Trouble`] where something of it stays.
    pub fn remove(&self, uid: Uid) -> Result<(), Trouble> {
        let name = uid.0.to_string();
        let gone = leaving(&name);
        remove_room(&self.folder, &gone)?;
        rename(&self.folder, &name, &gone, RenameFlags::NOREPLACE)?;
        remove_room(&self.folder, &gone)?;
        self.folder.sync()
    }

    /// Removes what an interrupted command left over.
    ///
    /// # Errors
    /// [`Trouble`] where something of it stays.
    pub fn sweep(&self) -> Result<(), Trouble> {
        let left_over = |name: &String| name.starts_with(ARRIVING) || name.starts_with(LEAVING);
        self.folder.names()?.iter().filter(|name| left_over(name)).try_for_each(|name| remove_room(&self.folder, name))
    }

    /// Keeps other commands from changing state until the value is dropped. Logins take no notice of it.
    ///
    /// # Errors
    /// [`Trouble`] where another command is at work.
    pub fn exclusive(&self) -> Result<Exclusive, Trouble> {
        let fail = |errno| Trouble::new(&self.folder.path, format_args!("cannot be locked: {}", describe(errno)));
        let fd =
            fs::openat(&self.folder.fd, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, fs::Mode::empty());
        let fd = fd.map_err(fail)?;
        match fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Exclusive { _lock: fd }),
            Err(Errno::WOULDBLOCK) => Err(Trouble::new(
                &self.folder.path,
                "is being changed by another qrtotp command; try again when it is done",
            )),
            Err(errno) => Err(fail(errno)),
        }
    }
}

/// Held while a command changes state.
pub struct Exclusive {
    _lock: OwnedFd,
}

impl Room {
    /// Reads the credentials and which version they are.
    ///
    /// # Errors
    /// [`Trouble`] where they are missing, unsafe or damaged.
    pub fn credentials(&self) -> Result<(Credentials, Version), Trouble> {
        let path = self.folder.path.join(credentials::NAME);
        let opened = self.folder.file(credentials::NAME, OFlags::RDONLY, Privacy::Secret)?;
        let Some((fd, stat)) = opened else {
            return Err(Trouble::new(&path, "is missing: the user's state is damaged; enroll again with --replace"));
        };
        let bytes = files::read_all(&fd, &path, credentials::MOST)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| Trouble::new(&path, "is not UTF-8"))?;
        let parsed = Credentials::parse(text).map_err(|what| {
            Trouble::new(&path, format_args!("{what}; restore it, or start afresh: qrtotp enroll --replace"))
        })?;
        Ok((parsed, Version::of(&stat)))
    }

    /// Opens the journal of an enrollment.
    ///
    /// # Errors
    /// [`Trouble`], see [`Journal::open`].
    pub fn journal(&self, credentials: &Credentials) -> Result<Journal, Trouble> {
        Journal::open(&self.folder, credentials.enrollment)
    }

    /// Removes the credentials, where a tombstone cannot be written because the disk is full: the user is refused as
    /// damaged from then on.
    ///
    /// # Errors
    /// [`Trouble`] where they stay.
    pub fn forget(&self) -> Result<(), Trouble> {
        self.folder.remove(credentials::NAME)?;
        self.folder.sync()
    }
}

/// Makes the state folder, its marker, and the decoys, where they are missing. Returns whether anything was made.
///
/// # Errors
/// [`Trouble`] where something is in the way.
pub fn initialise(path: &Path, decoys: &[Credentials]) -> Result<bool, Trouble> {
    let mut made = make_folder(path)?;
    let missing = || Trouble::new(path, "vanished");
    let folder = Folder::open(path, Privacy::Secret)?.ok_or_else(missing)?;
    refuse_network(&folder)?;
    if folder.stat(DECOYS)?.is_none() {
        make_folder(&path.join(DECOYS))?;
        made = true;
    }
    let home = folder.folder(DECOYS)?.ok_or_else(missing)?;
    for (number, credentials) in (0..DECOY_COUNT).zip(decoys) {
        if home.stat(&decoy_name(number))?.is_none() {
            let journal = Journal::fresh(credentials.enrollment, &[]);
            install(&home, &decoy_name(number), credentials, &journal, false)?;
            made = true;
        }
    }
    if folder.stat(FORMAT_NAME)?.is_none() {
        folder.replace(FORMAT_NAME, FORMAT.as_bytes(), 0)?;
        made = true;
    }
    Ok(made)
}

fn make_folder(path: &Path) -> Result<bool, Trouble> {
    match fs::mkdirat(fs::CWD, path, PRIVATE_FOLDER) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => Err(Trouble::new(path, format_args!("cannot be made: {}", describe(errno)))),
    }
}

fn uids_in(folder: &Folder) -> Result<Vec<Uid>, Trouble> {
    let uid = |name: &String| name.parse().ok().filter(|uid: &u32| uid.to_string() == *name).map(Uid);
    let mut uids: Vec<_> = folder.names()?.iter().filter_map(uid).collect();
    uids.sort();
    Ok(uids)
}

fn decoy_name(number: u8) -> String {
    format!("{number:02x}")
}

/// Appending by several machines is not atomic on network file systems, and their locks do not tell of each other.
fn refuse_network(folder: &Folder) -> Result<(), Trouble> {
    const NETWORK: [(u64, &str); 9] = [
        (0x6969, "NFS"),
        (0x517b, "SMB"),
        (0xff53_4d42, "CIFS"),
        (0xfe53_4d42, "SMB2"),
        (0x5346_414f, "AFS"),
        (0x7375_7245, "Coda"),
        (0x0102_1997, "9P"),
        (0x00c3_6400, "Ceph"),
        (0x0116_1970, "GFS2"),
    ];
    let stat = fs::fstatfs(&folder.fd).map_err(|errno| Trouble::new(&folder.path, describe(errno)))?;
    let found = u64::try_from(stat.f_type).unwrap_or(0);
    match NETWORK.iter().find(|(magic, _)| *magic == found) {
        Some((_, name)) => Err(Trouble::new(
            &folder.path,
            format_args!("is on a network file system ({name}); move it to a local disk"),
        )),
        None => Ok(()),
    }
}

fn arriving(name: &str) -> String {
    format!("{ARRIVING}{name}")
}

fn leaving(name: &str) -> String {
    format!("{LEAVING}{name}")
}

/// Builds a room beside its place and moves it there with one rename.
fn install(
    parent: &Folder,
    name: &str,
    credentials: &Credentials,
    journal: &[u8],
    replace: bool,
) -> Result<(), Trouble> {
    let fresh = arriving(name);
    remove_room(parent, &fresh)?;
    let done = build_room(parent, &fresh, credentials, journal).and_then(|()| {
        let flags = if replace { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
        rename(parent, &fresh, name, flags)
    });
    // After a failure this is the half-made room, after an exchange the old one. What stays of it is for `Vault::sweep`:
    // the new room is in place, and must not be reported as missing.
    let _ = remove_room(parent, &fresh);
    done.and_then(|()| parent.sync())
}

fn build_room(parent: &Folder, name: &str, credentials: &Credentials, journal: &[u8]) -> Result<(), Trouble> {
    let path = parent.path.join(name);
    let fail = |errno| Trouble::new(&path, format_args!("cannot be made: {}", describe(errno)));
    fs::mkdirat(&parent.fd, name, PRIVATE_FOLDER).map_err(fail)?;
    let room = parent.folder(name)?.ok_or_else(|| Trouble::new(&path, "vanished"))?;
    room.write_new(journal::NAME, journal, journal::RESERVE)?;
    room.write_new(credentials::NAME, credentials.to_text().as_bytes(), 0)?;
    room.sync()
}

fn rename(parent: &Folder, from: &str, to: &str, flags: RenameFlags) -> Result<(), Trouble> {
    match fs::renameat_with(&parent.fd, from, &parent.fd, to, flags) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => Err(Trouble::new(&parent.path.join(to), "was made by another command in the meantime")),
        Err(errno) => {
            Err(Trouble::new(&parent.path.join(to), format_args!("cannot be put in place: {}", describe(errno))))
        }
    }
}

fn remove_room(parent: &Folder, name: &str) -> Result<(), Trouble> {
    let Some(room) = parent.folder(name)? else { return Ok(()) };
    for file in [credentials::NAME, journal::NAME] {
        room.remove(file)?;
        room.remove(&files::arriving(file))?;
    }
    let fail = |errno| Trouble::new(&parent.path.join(name), format_args!("cannot be removed: {}", describe(errno)));
    fs::unlinkat(&parent.fd, name, AtFlags::REMOVEDIR).map_err(fail)
}

#[cfg(test)]
mod tests;
