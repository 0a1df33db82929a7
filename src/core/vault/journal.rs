//! The journal of one user: appended to by every login, read back, folded. Nothing waits for another login.
//!
//! A login holds a shared lock while it appends and reads back; only compaction takes the exclusive one, only if it gets
//! it at once, and only in processes that no user can freeze. So a frozen `su` keeps others from compacting, never
//! from logging in.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, Stat, fdatasync, flock};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::record::{self, HEADER, RECORD};
use crate::budget::{Act, Entry, Limits, Ruling, State};
use crate::files::{self, Folder, Privacy, Trouble, describe};
use crate::words::{AttemptId, EnrollmentId, Now, WallTime};

/// Name of the file in a user's folder.
pub const NAME: &str = "journal";
/// Space set aside at a time, in bytes.
pub const RESERVE: u64 = 64 * 1024;
/// Records after which compaction is due.
const LONG: usize = 256;
/// Records of decoys that survive a compaction.
const DECOY_KEEPS: usize = 128;
/// Largest journal that is read: what some months without compaction leave.
const MOST: usize = 8 * 1024 * 1024;
/// How long a login waits for a compaction, which only root's own processes do.
const PATIENCE: Duration = Duration::from_secs(1);

/// The open journal of one user, under its shared lock.
pub struct Journal<'a> {
    folder: &'a Folder,
    fd: OwnedFd,
    path: PathBuf,
    enrollment: EnrollmentId,
}

/// What was read back.
pub struct History {
    start: State,
    entries: Vec<Entry>,
    records: usize,
}

impl<'a> Journal<'a> {
    /// Opens the journal that stands in the folder now.
    ///
    /// # Errors
    /// [`Trouble`] where it is missing, unsafe, or under compaction for longer than a second.
    pub fn open(folder: &'a Folder, enrollment: EnrollmentId) -> Result<Self, Trouble> {
        let path = folder.path.join(NAME);
        let deadline = Instant::now().checked_add(PATIENCE);
        loop {
            let opened = folder.file(NAME, OFlags::RDWR | OFlags::APPEND, Privacy::Secret)?;
            let Some((fd, _)) = opened else { return Err(Trouble::new(&path, "is missing; enroll the user again")) };
            if hold(folder, &fd, &path)? {
                return Ok(Self { folder, fd, path, enrollment });
            }
            if deadline.is_none_or(|deadline| Instant::now() >= deadline) {
                return Err(Trouble::new(&path, "is locked by another process for more than a second"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The bytes of a journal that begins with this state.
    pub fn fresh(enrollment: EnrollmentId, state: &State, entries: &[Entry]) -> Vec<u8> {
        let mut bytes = record::encode_header(state, enrollment).to_vec();
        let records = entries.iter().filter_map(|entry| record::encode(entry, enrollment));
        records.for_each(|record| bytes.extend_from_slice(&record));
        bytes
    }

    /// Appends one record and makes it durable. Only then may anything depend on it.
    ///
    /// # Errors
    /// [`Trouble`] where the record is not surely on disk; the attempt must be denied.
    pub fn append(&self, entry: &Entry) -> Result<(), Trouble> {
        let fail = |errno| Trouble::new(&self.path, format_args!("cannot append: {}", describe(errno)));
        let bytes = record::encode(entry, self.enrollment).ok_or_else(|| fail(Errno::INVAL))?;
        let stat = rustix::fs::fstat(&self.fd).map_err(fail)?;
        self.refuse_limited(&stat)?;
        self.reserve_more(&stat);
        let written = loop {
            match rustix::io::write(&self.fd, &bytes) {
                Err(Errno::INTR) => {}
                other => break other.map_err(fail)?,
            }
        };
        if written != RECORD {
            return Err(Trouble::new(&self.path, "cannot append: the disk took a part of the record only"));
        }
        fdatasync(&self.fd).map_err(fail)
    }

    /// Whoever calls su may limit the size of files so that each of his attempts is cut off; cut-off records in a row
    /// would look like damage and keep the user out. What a write beyond the limit also brings is SIGXFSZ.
    fn refuse_limited(&self, stat: &Stat) -> Result<(), Trouble> {
        let needed = u64::try_from(stat.st_size).unwrap_or(0).saturating_add(RESERVE);
        match getrlimit(Resource::Fsize).current {
            Some(limit) if limit < needed => Err(Trouble::new(
                &self.path,
                "cannot append: this process may not write files of that size (ulimit -f)",
            )),
            _ => Ok(()),
        }
    }

    /// Sets the next piece of space aside before the present one is used up. Where the disk has none left, the appends
    /// go on in what there is.
    fn reserve_more(&self, stat: &Stat) {
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let set_aside = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
        if size.saturating_add(RESERVE / 8) > set_aside {
            let _ = files::reserve(&self.fd, size.saturating_add(RESERVE));
        }
    }

    /// Reads everything back.
    ///
    /// # Errors
    /// [`Trouble`] where it is damaged, or belongs to another enrollment.
    pub fn read(&self) -> Result<History, Trouble> {
        let bytes = files::read_all(&self.fd, &self.path, MOST)?;
        parse(&bytes, self.enrollment).map_err(|what| Trouble::new(&self.path, what))
    }

    /// Replaces a long journal by a short one that adds up to the same. Does nothing if a login is under way.
    ///
    /// To be called only where no user can freeze or kill the process: its real user id is root's.
    ///
    /// # Errors
    /// [`Trouble`] where the new journal cannot be written; the old one stays.
    pub fn compact(self, limits: &Limits, is_decoy: bool) -> Result<bool, Trouble> {
        if !lock(&self.fd, FlockOperation::NonBlockingLockExclusive, &self.path)? {
            return Ok(false);
        }
        if !is_current(self.folder, &self.fd, &self.path)? {
            return Ok(false);
        }
        let history = self.read()?;
        let bytes = if is_decoy {
            let old = history.entries.len().saturating_sub(DECOY_KEEPS);
            Self::fresh(self.enrollment, &State::default(), history.entries.split_at(old).1)
        } else {
            Self::fresh(self.enrollment, &history.fold(limits).0, &[])
        };
        self.folder.replace(NAME, &bytes, RESERVE)?;
        Ok(true)
    }
}

impl History {
    /// Adds everything up; gives the state and the rulings on all records.
    pub fn fold(&self, limits: &Limits) -> (State, Vec<Ruling>) {
        let mut state = self.start.clone();
        let rulings = self.entries.iter().map(|entry| state.apply(entry, limits)).collect();
        (state, rulings)
    }

    /// Adds up the records of one tag as far as the one of that id; gives the state and the ruling on it.
    pub fn rule_on(&self, id: AttemptId, tag: [u8; 8], limits: &Limits) -> Option<(State, Ruling)> {
        let mut state = self.start.clone();
        for entry in self.entries.iter().filter(|entry| entry.tag == tag) {
            let ruling = state.apply(entry, limits);
            if entry.id == id {
                return Some((state, ruling));
            }
        }
        None
    }

    /// Whether compaction is due.
    pub fn is_long(&self) -> bool {
        self.records > LONG
    }

    /// How many records the file has.
    pub fn records(&self) -> usize {
        self.records
    }
}

/// Tries a lock without waiting; false where another process holds it.
fn lock(fd: &OwnedFd, how: FlockOperation, path: &std::path::Path) -> Result<bool, Trouble> {
    match flock(fd, how) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(false),
        Err(errno) => Err(Trouble::new(path, format_args!("cannot be locked: {}", describe(errno)))),
    }
}

/// Locks an open journal for a login; false where a compaction holds it, or put another in its place before the lock.
fn hold(folder: &Folder, fd: &OwnedFd, path: &std::path::Path) -> Result<bool, Trouble> {
    Ok(lock(fd, FlockOperation::NonBlockingLockShared, path)? && is_current(folder, fd, path)?)
}

/// Whether the open file is the one that stands under the name now.
fn is_current(folder: &Folder, fd: &OwnedFd, path: &std::path::Path) -> Result<bool, Trouble> {
    let ours = rustix::fs::fstat(fd).map_err(|errno| Trouble::new(path, describe(errno)))?;
    Ok(folder.stat(NAME)?.is_some_and(|stat| same_file(&stat, &ours)))
}

fn same_file(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

/// Reads header and records. A record that was cut off (a short write, a crash) is a gap shorter than a record, or
/// zeros; it counts as an attempt. Any other gap is damage.
fn parse(bytes: &[u8], enrollment: EnrollmentId) -> Result<History, String> {
    let (header, mut rest) = bytes.split_first_chunk::<HEADER>().ok_or("is cut off within its header")?;
    let start =
        record::decode_header(header, enrollment).ok_or("has a damaged header, or belongs to another enrollment")?;
    let mut entries = Vec::with_capacity(rest.len() / RECORD);
    while !rest.is_empty() {
        let next = rest.split_first_chunk::<RECORD>();
        match next.and_then(|(bytes, tail)| Some((record::decode(bytes, enrollment)?, tail))) {
            Some((entry, tail)) => {
                entries.push(entry);
                rest = tail;
            }
            None => {
                let gap = gap_before_next_record(rest, enrollment);
                let (lost, tail) = rest.split_at(gap);
                if gap >= RECORD && lost.iter().any(|byte| *byte != 0) {
                    let at = bytes.len().saturating_sub(rest.len());
                    return Err(format!("is damaged at byte {at}"));
                }
                entries.extend(std::iter::repeat_n(TORN, gap.div_ceil(RECORD)));
                rest = tail;
            }
        }
    }
    let records = entries.len();
    Ok(History { start, entries, records })
}

const TORN: Entry = Entry {
    id: AttemptId([0; 8]),
    now: Now { wall: WallTime(0), boot: 0, boot_id: [0; 8] },
    source: [0; 17],
    service: [0; 16],
    tag: [0; 8],
    act: Act::Torn,
};

fn gap_before_next_record(bytes: &[u8], enrollment: EnrollmentId) -> usize {
    let is_record =
        |window: &[u8]| window.first_chunk().is_some_and(|bytes| record::decode(bytes, enrollment).is_some());
    bytes.windows(RECORD).position(is_record).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests;
