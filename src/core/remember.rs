//! Where somebody gave a code and is not asked again for a while.
//!
//! A memory is a file in the runtime folder, which only root reads and a boot empties. It holds for one user, one service
//! and one place:
//! - on this machine, the login session: the kernel's session id, when its leader started, and its terminal;
//! - over ssh, the address together with the key that was the first factor; never an address alone.
//!
//! It is bound to the boot, and to the version of the credentials that the code was judged by, so that every change of them
//! ends it. Time is time since boot.

use std::path::Path;

use data_encoding::HEXLOWER;
use rustix::fs::OFlags;
use sha2::{Digest, Sha256};

use crate::events::Printable;
use crate::files::{self, Folder, Privacy, Trouble, Version};
use crate::words::{Now, Source, Uid, UserName};

const PREFIX: &str = "remember-";
/// Largest file that is read, in bytes.
const MOST: usize = 4096;

/// A login session, as the kernel tells it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Session {
    /// The session id: the process id of its leader.
    pub id: u32,
    /// When the leader started, in clock ticks since boot: ids are used again.
    pub started: u64,
    /// The device number of the controlling terminal, which is never zero.
    pub terminal: u32,
}

/// A user, a service and a place, as one number that tells nothing else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    uid: Uid,
    digest: [u8; 32],
    source: Source,
    service: Printable,
}

impl Place {
    /// The place of a login; `None` where it cannot be told from others. `target` is whom su changes to where it asks its
    /// caller, `auth_info` sshd's SSH_AUTH_INFO_0.
    pub fn of(
        uid: Uid,
        target: Option<&UserName>,
        service: &Printable,
        source: Source,
        session: Option<Session>,
        auth_info: Option<&[u8]>,
    ) -> Option<Self> {
        let target = target.map_or("", UserName::as_str);
        let mut hash = Sha256::new().chain_update(uid.0.to_be_bytes());
        hash.update((target.len() as u64).to_be_bytes());
        hash.update(target);
        hash.update((service.as_str().len() as u64).to_be_bytes());
        hash.update(service.as_str());
        match (source, session, auth_info) {
            (Source::Local(caller), Some(Session { id, started, terminal }), _) => {
                hash.update([1]);
                hash.update(caller.0.to_be_bytes());
                hash.update(id.to_be_bytes());
                hash.update(started.to_be_bytes());
                hash.update(terminal.to_be_bytes());
            }
            (Source::Address(address), _, Some(info)) => {
                let keys: Vec<_> =
                    info.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"publickey ")).collect();
                (!keys.is_empty()).then_some(())?;
                hash.update([2]);
                hash.update(address.to_string());
                keys.iter().for_each(|key| hash.update(Sha256::digest(key)));
            }
            _ => return None,
        }
        Some(Self { uid, digest: hash.finalize().into(), source, service: service.clone() })
    }

    fn name(&self) -> String {
        format!("{}{}", prefix(self.uid), HEXLOWER.encode(&self.digest))
    }
}

fn prefix(uid: Uid) -> String {
    format!("{PREFIX}{}-", uid.0)
}

/// One memory, for the administrator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Memory {
    /// Whose.
    pub uid: Uid,
    /// In which service, and from where.
    pub service: String,
    /// From where.
    pub source: String,
    /// Milliseconds since it began.
    pub age: u64,
    /// Milliseconds until it ends.
    pub left: u64,
}

/// What a file says: `1 BOOT SINCE SPAN CODES VERSION SOURCE SERVICE`.
struct Content {
    boot_id: String,
    since: u64,
    span: u64,
    two_codes: bool,
    version: String,
    source: String,
    service: String,
}

impl Content {
    fn to_line(&self) -> String {
        let Self { boot_id, since, span, two_codes, version, source, service } = self;
        let codes = if *two_codes { 2 } else { 1 };
        format!("1 {boot_id} {since} {span} {codes} {version} {source} {service}\n")
    }

    fn parse(line: &str) -> Option<Self> {
        let mut parts = line.strip_suffix('\n')?.split(' ').map(str::to_owned);
        (parts.next()? == "1").then_some(())?;
        let content = Self {
            boot_id: parts.next()?,
            since: parts.next()?.parse().ok()?,
            span: parts.next()?.parse().ok()?,
            two_codes: parts.next()? == "2",
            version: parts.next()?,
            source: parts.next()?,
            service: parts.next()?,
        };
        parts.next().is_none().then_some(content)
    }

    /// Milliseconds that are left of a span; `None` where it is over, of another boot, or of no known one.
    fn left(&self, now: &Now, span: u64) -> Option<u64> {
        let is_this_boot = now.boot_id != [0; 8] && self.boot_id == HEXLOWER.encode(&now.boot_id);
        let age = now.boot.checked_sub(self.since).filter(|_| is_this_boot)?;
        span.min(self.span).checked_sub(age).filter(|left| *left > 0)
    }
}

fn version_text(version: Version) -> String {
    version.numbers().map(|number| number.to_string()).join(",")
}

/// Within how many milliseconds, and whether two codes are wanted.
pub type Terms = (u64, bool);

/// Whether a code, or two of them, were given at this place within that time, and the credentials are those that they were
/// judged by. What cannot be read is no memory.
pub fn holds(dir: &Path, place: &Place, version: Version, now: &Now, (span, two_codes): Terms) -> bool {
    let Some(content) = folder(dir).ok().flatten().and_then(|folder| read(&folder, &place.name())) else {
        return false;
    };
    let is_enough = content.two_codes >= two_codes;
    is_enough && content.version == version_text(version) && content.left(now, span).is_some()
}

/// Remembers that a code was given. Memories of the same user that are over go.
///
/// # Errors
/// [`Trouble`] where it cannot be written: the next login asks again.
pub fn store(dir: &Path, place: &Place, version: Version, now: &Now, (span, two_codes): Terms) -> Result<(), Trouble> {
    let missing = || Trouble::new(dir, "is missing; run: qrtotp init");
    let folder = folder(dir)?.ok_or_else(missing)?;
    for name in names(&folder, Some(place.uid))? {
        if read(&folder, &name).is_none_or(|content| content.left(now, content.span).is_none()) {
            folder.remove(&name)?;
        }
    }
    let content = Content {
        boot_id: HEXLOWER.encode(&now.boot_id),
        since: now.boot,
        span,
        two_codes,
        version: version_text(version),
        source: Printable::new(place.source.to_string().as_bytes()).as_field(),
        service: place.service.as_field(),
    };
    folder.replace(&place.name(), content.to_line().as_bytes(), 0)
}

/// What is remembered, of everybody.
///
/// # Errors
/// [`Trouble`] where the folder cannot be read.
pub fn all(dir: &Path, now: &Now) -> Result<Vec<Memory>, Trouble> {
    let Some(folder) = folder(dir)? else { return Ok(Vec::new()) };
    let memory = |name: &String| {
        let uid = name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok().map(Uid)?;
        let content = read(&folder, name)?;
        let left = content.left(now, content.span)?;
        let age = now.boot.saturating_sub(content.since);
        Some(Memory { uid, service: content.service, source: content.source, age, left })
    };
    let mut memories: Vec<_> = names(&folder, None)?.iter().filter_map(memory).collect();
    memories.sort_by_key(|memory| (memory.uid, memory.age));
    Ok(memories)
}

/// Forgets a user's places, or everybody's; gives how many files that were.
///
/// # Errors
/// [`Trouble`] where one stays.
pub fn forget(dir: &Path, uid: Option<Uid>) -> Result<usize, Trouble> {
    let Some(folder) = folder(dir)? else { return Ok(0) };
    let names = names(&folder, uid)?;
    names.iter().try_for_each(|name| folder.remove(name))?;
    Ok(names.len())
}

fn folder(dir: &Path) -> Result<Option<Folder>, Trouble> {
    Folder::open(dir, Privacy::Secret)
}

fn names(folder: &Folder, uid: Option<Uid>) -> Result<Vec<String>, Trouble> {
    let prefix = uid.map_or_else(|| PREFIX.to_owned(), prefix);
    Ok(folder.names()?.into_iter().filter(|name| name.starts_with(&prefix)).collect())
}

fn read(folder: &Folder, name: &str) -> Option<Content> {
    let (fd, _) = folder.file(name, OFlags::RDONLY, Privacy::Secret).ok()??;
    let bytes = files::read_all(&fd, &folder.path.join(name), MOST).ok()?;
    Content::parse(std::str::from_utf8(&bytes).ok()?)
}

#[cfg(test)]
mod tests;
