//! Enrollment tickets of one user: `.tickets/UID/`.
//!
//! ```text
//! ID.toml        what the ticket is for, and the hash of what is typed
//! ID.tries       one byte a try, and one more that takes it back
//! ID.room-.../   the folder of a first enrollment, on its way to its place
//! ```
//!
//! A ticket is spent when a device that names it stands in the user's credentials: that, and the enrollment, happen at once.
//! Removing the files afterwards is tidying up.

use std::fmt::Write as _;

use rustix::fs::{FileType, OFlags};
use toml::de::{DeTable, DeValue};

use super::section::{Section, at, quoted};
use super::{Staging, TICKETS, Vault, make_folder, remove_room, uids_in};
use crate::files::{self, Folder, Privacy, Trouble};
use crate::otp::{SaltedHash, TicketCode};
use crate::words::{AttemptId, DeviceId, Label, TicketId, Uid, UserName, WallTime};

/// Wrong tries after which a ticket is dead.
pub const TRIES: usize = 5;
/// Open tickets a user may have: each costs a hash a try.
pub const MAX_TICKETS: usize = 4;
/// Largest file that is read, in bytes.
const MOST: usize = 4096;
/// Bytes set aside for tries, so that they are counted on a full disk.
const RESERVE: u64 = 4096;
/// Most bytes of tries that are read: beyond that a ticket is dead.
const MOST_TRIES: usize = 64 * 1024;
/// A try that began, and one that was right or not judged.
const BEGUN: u8 = b'.';
const TAKEN_BACK: u8 = b'+';
const END: &str = ".toml";

/// One ticket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ticket {
    /// Its id, which is no secret.
    pub id: TicketId,
    /// Who may enroll with it.
    pub user: UserName,
    /// The same by user id.
    pub uid: Uid,
    /// When it was made.
    pub made: WallTime,
    /// When it ends.
    pub expires: WallTime,
    /// Who made it.
    pub by: String,
    /// What the device is to be called.
    pub label: Label,
    /// The only PAM service in which it is taken; `None`: any that enrolls.
    pub service: Option<String>,
    /// Which device the new one takes the place of.
    pub replaces: Option<Replacement>,
    /// What is kept of what is typed.
    pub hash: SaltedHash,
}

/// A device that another one is to take the place of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replacement {
    /// Which.
    pub device: DeviceId,
    /// How long both are good, in milliseconds, unless the new one is used before.
    pub overlap: u64,
}

impl Ticket {
    /// Whether its time has come and is not over. A clock that stands before the day on which it was made went back.
    pub fn is_in_time(&self, now: WallTime) -> bool {
        self.made <= now && now < self.expires
    }

    /// Whether it is for this account, taken in this service, and in time.
    pub fn is_good(&self, user: &UserName, service: &str, now: WallTime) -> bool {
        let is_here = self.service.as_deref().is_none_or(|only| only == service);
        self.user == *user && is_here && self.is_in_time(now)
    }

    fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "format = 1\nuser = {}\nuid = {}", quoted(self.user.as_str()), self.uid.0)?;
        writeln!(out, "made = {}\nexpires = {}", self.made.0, self.expires.0)?;
        writeln!(out, "by = {}\nlabel = {}", quoted(&self.by), quoted(self.label.as_str()))?;
        if let Some(service) = &self.service {
            writeln!(out, "service = {}", quoted(service))?;
        }
        if let Some(Replacement { device, overlap }) = self.replaces {
            writeln!(out, "replaces = \"{device}\"\noverlap = {overlap}")?;
        }
        writeln!(out, "hash = \"{}\"", self.hash)
    }

    fn parse(id: TicketId, text: &str) -> Result<Self, String> {
        const KNOWN: [&str; 11] =
            ["format", "user", "uid", "made", "expires", "by", "label", "service", "replaces", "overlap", "hash"];
        let document = DeTable::parse(text).map_err(|error| at(text, error.span().unwrap_or(0..0), error.message()))?;
        let file = Section::new(text, document.get_ref(), &KNOWN)?;
        let format: u32 = file.number("format")?;
        if format != 1 {
            return Err(format!("format {format} is not known; this version reads format 1"));
        }
        let owned = |value: &DeValue<'_>| value.as_str().map(str::to_owned);
        let replaces = if file.has("replaces") {
            Some(Replacement { device: file.text("replaces", DeviceId::parse)?, overlap: file.number("overlap")? })
        } else {
            None
        };
        Ok(Self {
            id,
            user: file.text("user", |text| UserName::parse(text.as_bytes()))?,
            uid: Uid(file.number("uid")?),
            made: WallTime(file.number("made")?),
            expires: WallTime(file.number("expires")?),
            by: file.read("by", owned)?,
            label: file.text("label", Label::parse)?,
            service: if file.has("service") { Some(file.read("service", owned)?) } else { None },
            replaces,
            hash: file.text("hash", SaltedHash::parse)?,
        })
    }
}

/// The tickets of one user.
pub struct Tickets {
    folder: Folder,
}

impl Vault {
    /// The tickets of a user; `Ok(None)` where there never was one.
    ///
    /// # Errors
    /// [`Trouble`] where they cannot be used.
    pub fn tickets(&self, uid: Uid) -> Result<Option<Tickets>, Trouble> {
        let Some(all) = self.folder.folder(TICKETS)? else { return Ok(None) };
        Ok(all.folder(&uid.0.to_string())?.map(|folder| Tickets { folder }))
    }

    /// The user ids that have tickets, in order.
    ///
    /// # Errors
    /// [`Trouble`] where they cannot be listed.
    pub fn ticket_uids(&self) -> Result<Vec<Uid>, Trouble> {
        let Some(all) = self.folder.folder(TICKETS)? else { return Ok(Vec::new()) };
        uids_in(&all)
    }

    /// Stores a ticket. The caller holds [`Vault::exclusive`].
    ///
    /// # Errors
    /// [`Trouble`]; it is not good then.
    pub fn store_ticket(&self, ticket: &Ticket) -> Result<(), Trouble> {
        let all = self.folder.path.join(TICKETS);
        make_folder(&all)?;
        make_folder(&all.join(ticket.uid.0.to_string()))?;
        let tickets = self.tickets(ticket.uid)?.ok_or_else(|| Trouble::new(&all, "vanished"))?;
        tickets.folder.write_new(&tries_name(ticket.id), b"", RESERVE)?;
        tickets.folder.replace(&file_name(ticket.id), ticket.to_text().as_bytes(), 0)
    }

    /// Ends a ticket at once, also for a login that is about to enroll with it: what that has ready is removed.
    ///
    /// # Errors
    /// [`Trouble`] where something of it stays.
    pub fn revoke_ticket(&self, uid: Uid, id: TicketId) -> Result<(), Trouble> {
        let Some(tickets) = self.tickets(uid)? else { return Ok(()) };
        tickets.remove(id)?;
        if self.lock(uid).is_err()
            && let Some(room) = self.room(uid)?
        {
            room.folder.remove(&files::arriving(super::credentials::NAME))?;
        }
        Ok(())
    }
}

impl Tickets {
    /// All of them, good or not, the oldest first.
    ///
    /// # Errors
    /// [`Trouble`] where one cannot be read.
    pub fn all(&self) -> Result<Vec<Ticket>, Trouble> {
        let mut tickets: Vec<Ticket> = Vec::new();
        for id in self.ids()? {
            let ticket = self.read(id)?;
            // In its place at once: there are few, and sorting would be 5 KB of the module.
            let at = tickets.partition_point(|other| (other.made, other.id) < (ticket.made, ticket.id));
            tickets.insert(at, ticket);
        }
        Ok(tickets)
    }

    /// The ids of all of them, readable or not.
    ///
    /// # Errors
    /// [`Trouble`] where they cannot be listed.
    pub fn ids(&self) -> Result<Vec<TicketId>, Trouble> {
        Ok(self.folder.names()?.iter().filter_map(|name| TicketId::parse(name.strip_suffix(END)?)).collect())
    }

    /// One of them, good or not.
    ///
    /// # Errors
    /// [`Trouble`] where it is not there or cannot be read.
    pub fn read(&self, id: TicketId) -> Result<Ticket, Trouble> {
        let (name, path) = (file_name(id), self.folder.path.join(file_name(id)));
        let gone = || Trouble::new(&path, "was removed in the meantime");
        let (fd, _) = self.folder.file(&name, OFlags::RDONLY, Privacy::Secret)?.ok_or_else(gone)?;
        let bytes = files::read_all(&fd, &path, MOST)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| Trouble::new(&path, "is not UTF-8"))?;
        Ticket::parse(id, text)
            .map_err(|what| Trouble::new(&path, format_args!("{what}; end it with: qrtotp ticket revoke {id}")))
    }

    /// Whether wrong tries are left. Where they cannot be counted, there are none.
    ///
    /// # Errors
    /// [`Trouble`] where the kernel cannot say.
    pub fn is_alive(&self, id: TicketId) -> Result<bool, Trouble> {
        Ok(self.wrong_tries(id)?.is_some_and(|tries| tries < TRIES))
    }

    /// How often it was tried in vain; `None` where that is not known.
    ///
    /// # Errors
    /// [`Trouble`] where the kernel cannot say.
    pub fn wrong_tries(&self, id: TicketId) -> Result<Option<usize>, Trouble> {
        let name = tries_name(id);
        let Some((fd, _)) = self.folder.file(&name, OFlags::RDONLY, Privacy::Secret)? else { return Ok(None) };
        let bytes = files::read_all(&fd, &self.folder.path.join(&name), MOST_TRIES)?;
        let of = |kind: u8| bytes.iter().filter(|byte| **byte == kind).count();
        Ok(Some(of(BEGUN).saturating_sub(of(TAKEN_BACK))))
    }

    /// Counts a try before it is judged, as a wrong one. False where there are too many: it must not be judged then, and is
    /// taken back.
    ///
    /// # Errors
    /// [`Trouble`] where it is not surely on disk: what is typed must not be judged.
    pub fn begin_try(&self, id: TicketId) -> Result<bool, Trouble> {
        if !self.is_alive(id)? {
            return Ok(false);
        }
        self.folder.append_byte(&tries_name(id), BEGUN)?;
        let may_be_judged = self.wrong_tries(id)?.is_some_and(|tries| tries <= TRIES);
        if !may_be_judged {
            self.take_back_try(id)?;
        }
        Ok(may_be_judged)
    }

    /// Takes a try back that was a right one, or was not judged.
    ///
    /// # Errors
    /// [`Trouble`] where that is not surely on disk.
    pub fn take_back_try(&self, id: TicketId) -> Result<(), Trouble> {
        self.folder.append_byte(&tries_name(id), TAKEN_BACK).map(drop)
    }

    /// Which of these a typed one is. As many hashes are computed as there may be tickets, however many there are.
    pub fn find<'a>(tickets: &'a [Ticket], typed: &TicketCode) -> Option<&'a Ticket> {
        let missing = MAX_TICKETS.saturating_sub(tickets.len());
        (0..missing).for_each(|_| _ = typed.is_of(&SaltedHash::decoy()));
        let newer = |found, ticket: &'a Ticket| if typed.is_of(&ticket.hash) { Some(ticket) } else { found };
        tickets.iter().fold(None, newer)
    }

    /// Whether it still is good: not revoked, not over, not tried too often.
    ///
    /// # Errors
    /// [`Trouble`] where it is not, or the kernel cannot say.
    pub fn check_good(&self, ticket: &Ticket, now: WallTime) -> Result<(), Trouble> {
        let is_there = self.folder.stat(&file_name(ticket.id))?.is_some();
        if is_there && ticket.is_in_time(now) && self.is_alive(ticket.id)? {
            return Ok(());
        }
        let what = "was revoked, redeemed or tried too often, or its time ran out, in the meantime";
        Err(Trouble::new(&self.folder.path.join(file_name(ticket.id)), what))
    }

    /// Where a first enrollment with this ticket is built: it goes when the ticket goes.
    pub fn staging(&self, id: TicketId, attempt: AttemptId) -> Staging<'_> {
        Staging { folder: &self.folder, name: format!("{id}.room-{attempt}") }
    }

    /// Removes a ticket and everything that belongs to it.
    ///
    /// # Errors
    /// [`Trouble`] where something of it stays.
    pub fn remove(&self, id: TicketId) -> Result<(), Trouble> {
        self.folder.remove(&file_name(id))?;
        let own = format!("{id}.");
        for name in self.folder.names()?.iter().filter(|name| name.starts_with(&own)) {
            match self.folder.stat(name)? {
                Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                    remove_room(&self.folder, name)?;
                }
                _ => self.folder.remove(name)?,
            }
        }
        self.folder.sync()
    }
}

fn file_name(id: TicketId) -> String {
    format!("{id}{END}")
}

fn tries_name(id: TicketId) -> String {
    format!("{id}.tries")
}

#[cfg(test)]
mod tests;
