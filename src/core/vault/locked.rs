//! The folder of one user while its credentials are changed. Logins are judged without any lock; see the room above.

use std::os::fd::OwnedFd;

use rustix::fs::{self, FlockOperation, OFlags};
use rustix::io::Errno;

use super::{Credentials, Journal};
use super::{Room, Vault, credentials, journal};
use crate::budget::Entry;
use crate::files::{self, Trouble, describe};
use crate::words::Uid;

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

impl Vault {
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
