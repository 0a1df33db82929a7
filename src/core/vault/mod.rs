//! The only room that touches state files.
//!
//! ```text
//! DIR/                        0700 root
//!   .format                   "qrtotp 1"; without it the state counts as not mounted
//!   .decoy/NN/                what attempts for users without enrollment are recorded in
//!   .tickets/UID/             open enrollment tickets of a user
//!   .grace/UID-NAMEHASH       one byte a login without enrollment that a rule let in
//!   UID/credentials.toml      0600, written by replacement
//!   UID/journal               0600, appended to
//! ```
//!
//! Logins are judged without any lock. Who changes credentials holds the lock of the user's folder for that moment; logins
//! do that too, when somebody enrolls. Whoever calls su may freeze his login while it holds the lock, and then keeps others
//! from changing his own user only: revoking and starting afresh put another folder in the place of the locked one, and
//! whatever the frozen login writes goes to the one that is no longer there.

pub mod credentials;
pub mod journal;
mod record;
mod section;
pub mod tickets;

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{self, AtFlags, FlockOperation, OFlags, RenameFlags};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

pub use credentials::{Credentials, Device, MAX_DEVICES, Recovery, Replaced, Revocation};
pub use journal::{History, Journal};
pub use tickets::{Replacement, Ticket, Tickets};

pub use crate::files::Version;

use crate::budget::Entry;
use crate::files::{self, Folder, PRIVATE_FOLDER, Privacy, Trouble, describe};
use crate::words::{Account, AttemptId, Uid};

/// What `.format` says.
const FORMAT: &str = "qrtotp 1\n";
const FORMAT_NAME: &str = ".format";
const DECOYS: &str = ".decoy";
const TICKETS: &str = ".tickets";
const GRACE: &str = ".grace";
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

/// The folder of one user whose credentials nobody else changes as long as this value lives.
pub struct LockedRoom {
    room: Room,
    lock: OwnedFd,
}

/// What came of trying to lock the folder of a user.
pub enum Locking {
    /// It is locked.
    Locked(LockedRoom),
    /// Somebody else holds the lock, or the folder was replaced just now; says so.
    Busy(Trouble),
    /// There is none.
    Missing,
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
        install(&self.folder, &credentials.uid.0.to_string(), credentials, entries, replace)
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
        let done =
            build_room(parent, name, credentials, entries).and_then(|()| may()).and_then(|()| match fs::renameat_with(
                &parent.fd,
                name,
                &self.folder.fd,
                &place,
                RenameFlags::NOREPLACE,
            ) {
                Ok(()) => Ok(true),
                Err(Errno::EXIST) => Ok(false),
                Err(errno) => Err(fail(errno)),
            });
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

    /// Locks the folder of a user. `Ok(None)` where there is none.
    ///
    /// # Errors
    /// [`Trouble`] where it cannot be used, somebody else holds the lock, or the folder was replaced just now.
    pub fn lock(&self, uid: Uid) -> Result<Option<LockedRoom>, Trouble> {
        match self.try_lock(uid)? {
            Locking::Locked(room) => Ok(Some(room)),
            Locking::Missing => Ok(None),
            Locking::Busy(trouble) => Err(trouble),
        }
    }

    /// The same, for whoever tries again while somebody else is at work.
    ///
    /// # Errors
    /// [`Trouble`] where the folder cannot be used.
    pub fn try_lock(&self, uid: Uid) -> Result<Locking, Trouble> {
        let Some(room) = self.room(uid)? else { return Ok(Locking::Missing) };
        let fail = |what: &dyn std::fmt::Display| Trouble::new(&room.folder.path, what);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = fs::openat(&room.folder.fd, ".", flags, fs::Mode::empty()).and_then(files::above_stdio);
        let lock = opened.map_err(|errno| fail(&describe(errno)))?;
        match fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let busy = fail(&"is being changed by another login or command; try again when it is done");
                return Ok(Locking::Busy(busy));
            }
            Err(errno) => return Err(fail(&describe(errno))),
        }
        let locked = LockedRoom { room, lock };
        Ok(match locked.check_in_place(self) {
            Ok(()) => Locking::Locked(locked),
            Err(trouble) => Locking::Busy(trouble),
        })
    }

    /// How many logins without enrollment were let in.
    ///
    /// # Errors
    /// [`Trouble`] where the kernel cannot say.
    pub fn grace_used(&self, account: &Account) -> Result<u64, Trouble> {
        let Some(folder) = self.folder.folder(GRACE)? else { return Ok(0) };
        let stat = folder.stat(&grace_name(account))?;
        Ok(stat.map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or(u64::MAX)))
    }

    /// The user ids of whom such logins were counted, in order.
    ///
    /// # Errors
    /// [`Trouble`] where they cannot be listed.
    pub fn grace_uids(&self) -> Result<Vec<Uid>, Trouble> {
        let Some(folder) = self.folder.folder(GRACE)? else { return Ok(Vec::new()) };
        let uid = |name: &String| name.split('-').next()?.parse().ok().map(Uid);
        let mut uids: Vec<_> = folder.names()?.iter().filter_map(uid).collect();
        uids.sort_unstable();
        uids.dedup();
        Ok(uids)
    }

    /// Counts one more of them; gives how many there are then.
    ///
    /// # Errors
    /// [`Trouble`] where it is not surely on disk.
    pub fn count_grace(&self, account: &Account) -> Result<u64, Trouble> {
        make_folder(&self.folder.path.join(GRACE))?;
        let missing = || Trouble::new(&self.folder.path.join(GRACE), "vanished");
        self.folder.folder(GRACE)?.ok_or_else(missing)?.append_byte(&grace_name(account), b'.')
    }

    /// Forgets how many there were, under any name of that user id.
    ///
    /// # Errors
    /// [`Trouble`] where the number stays.
    pub fn forget_grace(&self, uid: Uid) -> Result<(), Trouble> {
        let Some(folder) = self.folder.folder(GRACE)? else { return Ok(()) };
        let own = format!("{}-", uid.0);
        folder.names()?.iter().filter(|name| name.starts_with(&own)).try_for_each(|name| folder.remove(name))
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

impl LockedRoom {
    /// Whether the folder still is the one of the user: it may have been replaced for a revocation.
    ///
    /// # Errors
    /// [`Trouble`] where it is not.
    pub fn check_in_place(&self, vault: &Vault) -> Result<(), Trouble> {
        let path = &self.room.folder.path;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let own = fs::fstat(&self.lock).map_err(|errno| Trouble::new(path, describe(errno)))?;
        let now = vault.folder.stat(&name)?;
        let is_same = |now: fs::Stat| (now.st_dev, now.st_ino) == (own.st_dev, own.st_ino);
        if now.is_some_and(is_same) {
            Ok(())
        } else {
            Err(Trouble::new(path, "was replaced in the meantime; try again"))
        }
    }

    /// Writes the credentials anew, at once, if `may` says so when they stand ready.
    ///
    /// # Errors
    /// [`Trouble`], and what `may` says; the old ones are untouched then.
    pub fn replace_credentials_if(
        &self,
        credentials: &Credentials,
        may: impl FnOnce() -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        self.room.folder.replace_if(credentials::NAME, credentials.to_text().as_bytes(), 0, may)
    }

    /// Starts afresh in this folder: a journal with these records, then the credentials. In between the user is refused,
    /// because the journal is not that of the old credentials.
    ///
    /// # Errors
    /// [`Trouble`], and what `may` says; the user is refused then, as before.
    pub fn start_afresh_if(
        &self,
        credentials: &Credentials,
        entries: &[Entry],
        may: impl Fn() -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        may()?;
        let journal = Journal::fresh(credentials.enrollment, entries);
        self.room.folder.replace(journal::NAME, &journal, journal::RESERVE)?;
        self.replace_credentials_if(credentials, may)
    }
}

impl std::ops::Deref for LockedRoom {
    type Target = Room;

    fn deref(&self) -> &Room {
        &self.room
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
            install(&home, &decoy_name(number), credentials, &[], false)?;
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

/// By user id and name: whoever gets the id next starts anew.
fn grace_name(account: &Account) -> String {
    let digest = Sha256::digest(account.name.as_str());
    let hash = digest.iter().fold(0_u64, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    format!("{}-{hash:016x}", account.uid.0)
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
    entries: &[Entry],
    replace: bool,
) -> Result<(), Trouble> {
    let fresh = arriving(name);
    remove_room(parent, &fresh)?;
    let done = build_room(parent, &fresh, credentials, entries).and_then(|()| {
        let flags = if replace { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
        rename(parent, &fresh, name, flags)
    });
    // After a failure this is the half-made room, after an exchange the old one. What stays of it is for `Vault::sweep`:
    // the new room is in place, and must not be reported as missing.
    let _ = remove_room(parent, &fresh);
    done.and_then(|()| parent.sync())
}

fn build_room(parent: &Folder, name: &str, credentials: &Credentials, entries: &[Entry]) -> Result<(), Trouble> {
    let path = parent.path.join(name);
    let fail = |errno| Trouble::new(&path, format_args!("cannot be made: {}", describe(errno)));
    fs::mkdirat(&parent.fd, name, PRIVATE_FOLDER).map_err(fail)?;
    let room = parent.folder(name)?.ok_or_else(|| Trouble::new(&path, "vanished"))?;
    let journal = Journal::fresh(credentials.enrollment, entries);
    room.write_new(journal::NAME, &journal, journal::RESERVE)?;
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
