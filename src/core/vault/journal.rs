//! The journal of one user: appended to by every login, read back from its latest checkpoint on, folded.
//!
//! Nothing here locks, waits, renames or cuts off, so a login that is frozen or killed at any instruction stops nobody:
//! - `O_APPEND` puts the records of simultaneous logins in one order, and everything before a login's own record is whole by
//!   the time that login reads back, which it does as far as its own record.
//! - Whoever finds that many records have come since the latest checkpoint appends one: the state after his own record,
//!   and the byte where that record ends, its *base*. A late one, of a process that was frozen before it wrote, is true too
//!   and has the lower base; readers take the highest.
//! - Bytes below the base of the latest checkpoint are dead. Only `qrtotp gc` gives them back to the disk. They read as
//!   zeros then, which are never taken for records: who finds some where records should be refuses.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{FallocateFlags, OFlags, Stat, fallocate, fdatasync, fstat, tell};
use rustix::io::{Errno, pread, retry_on_intr, write};

use super::record::{self, CHECKPOINT, CHECKPOINT_MAGIC, Checkpoint, RECORD, RECORD_MAGIC};
use crate::budget::{Act, Entry, Limits, Ruling, State};
use crate::files::{self, Folder, Privacy, Trouble, describe};
use crate::words::{AttemptId, EnrollmentId, Now, WallTime};

/// Name of the file in a user's folder.
pub const NAME: &str = "journal";
/// Space set aside beyond the end, in bytes, anew each time the end has come half as far.
pub const RESERVE: u64 = 64 * 1024;
/// Records since the latest checkpoint after which the next one is due.
const LONG: usize = 128;
/// Records of decoys that are remembered.
const DECOY_KEEPS: usize = 128;
/// Bytes read from the end at first: the latest checkpoint and what came since are nearly always within.
const TAIL: u64 = 40 * 1024;
/// How often dead bytes may be given back under a reader.
const READINGS: usize = 3;

/// The open journal of one user.
pub struct Journal {
    fd: OwnedFd,
    path: PathBuf,
    enrollment: EnrollmentId,
}

/// What was read back: a state, and the records after it with the byte where each begins.
#[derive(PartialEq, Eq, Debug)]
pub struct History {
    start: Checkpoint,
    entries: Vec<(u64, Entry)>,
}

impl Journal {
    /// Opens the journal that stands in the folder now.
    ///
    /// # Errors
    /// [`Trouble`] where it is missing or unsafe.
    pub fn open(folder: &Folder, enrollment: EnrollmentId) -> Result<Self, Trouble> {
        let path = folder.path.join(NAME);
        let Some((fd, _)) = folder.file(NAME, OFlags::RDWR | OFlags::APPEND, Privacy::Secret)? else {
            return Err(Trouble::new(&path, "is missing; enroll the user again"));
        };
        Ok(Self { fd, path, enrollment })
    }

    /// The bytes of a journal that begins with these records.
    pub fn fresh(enrollment: EnrollmentId, entries: &[Entry]) -> Vec<u8> {
        let first = Checkpoint { base: 0, state: State::default() };
        let mut bytes = record::encode_checkpoint(&first, enrollment).to_vec();
        let records = entries.iter().filter_map(|entry| record::encode(entry, enrollment));
        records.for_each(|record| bytes.extend_from_slice(&record));
        bytes
    }

    /// The bytes of a journal that begins where another one ended: what a machine hands over to the next. They are read back by
    /// [`Journal::begun`].
    pub fn begin(enrollment: EnrollmentId, state: State) -> Vec<u8> {
        record::encode_checkpoint(&Checkpoint { base: 0, state }, enrollment).to_vec()
    }

    /// What a journal begins with that has no records yet; `None` where the bytes are anything else, damaged, or of another
    /// enrollment.
    pub fn begun(bytes: &[u8], enrollment: EnrollmentId) -> Option<State> {
        let checkpoint = record::decode_checkpoint(bytes.try_into().ok()?, enrollment)?;
        (checkpoint.base == 0).then_some(checkpoint.state)
    }

    /// Appends one record and makes it durable. Only then may anything depend on it. Returns the byte where it ends.
    ///
    /// # Errors
    /// [`Trouble`] where the record is not surely on disk; the attempt must be denied.
    pub fn append(&self, entry: &Entry) -> Result<u64, Trouble> {
        let bytes = record::encode(entry, self.enrollment);
        self.append_bytes(&bytes.ok_or_else(|| self.trouble("append", Errno::INVAL))?, RESERVE)
    }

    /// Appends a checkpoint if many records have come since the latest one. `state` is what everything up to the record
    /// of that id adds up to; for a decoy, whose records belong to many names, the oldest ones are forgotten instead.
    ///
    /// # Errors
    /// [`Trouble`] where it cannot be written; the journal is as good without it.
    pub fn checkpoint(&self, history: &History, id: AttemptId, state: State, is_decoy: bool) -> Result<(), Trouble> {
        let due = if is_decoy { LONG.saturating_add(DECOY_KEEPS) } else { LONG };
        let own = history.entries.iter().position(|(_, entry)| entry.id == id);
        let Some(own) = own.filter(|own| *own >= due) else { return Ok(()) };
        let next = own.saturating_add(1);
        let checkpoint = if is_decoy {
            let kept = history.entries.get(next.saturating_sub(DECOY_KEEPS));
            Checkpoint { base: kept.map_or(history.start.base, |(at, _)| *at), state: State::default() }
        } else {
            let at = history.entries.get(own).map_or(history.start.base, |(at, _)| *at);
            Checkpoint { base: at.saturating_add(RECORD as u64), state }
        };
        let bytes = record::encode_checkpoint(&checkpoint, self.enrollment);
        // Whoever was let write his record is let write its checkpoint: its limit was well above both.
        self.append_bytes(&bytes, bytes.len() as u64).map(drop)
    }

    /// Gives the bytes below the latest checkpoint back to the disk. Returns how many there are.
    ///
    /// # Errors
    /// [`Trouble`] where the journal is damaged, or the disk refuses.
    pub fn release(&self) -> Result<u64, Trouble> {
        let base = self.read()?.start.base;
        if base == 0 {
            return Ok(0);
        }
        match fallocate(&self.fd, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, base) {
            Ok(()) => Ok(base),
            Err(Errno::OPNOTSUPP) => Ok(0),
            Err(errno) => Err(self.trouble("give space back", errno)),
        }
    }

    /// Reads what came since the latest checkpoint.
    ///
    /// # Errors
    /// [`Trouble`] where it is damaged, or belongs to another enrollment.
    pub fn read(&self) -> Result<History, Trouble> {
        let mut result = self.read_to(size(&self.look()?));
        for _ in 1..READINGS {
            if result.is_ok() {
                break;
            }
            result = self.read_to(size(&self.look()?));
        }
        result
    }

    /// The same as far as the end of an own record. What others append after it, checkpoints too, does not count for it;
    /// what stands before it is whole, because the kernel appends one after the other.
    ///
    /// # Errors
    /// As [`Journal::read`]; also where that much has come and gone since that the bytes were given back to the disk.
    pub fn read_to(&self, end: u64) -> Result<History, Trouble> {
        let mut length = TAIL;
        loop {
            let from = end.saturating_sub(length);
            let bytes = self.bytes_from(from, end)?;
            if let Some(start) = latest_checkpoint(&bytes, from, self.enrollment) {
                return parse(&bytes, from, start, self.enrollment).map_err(|what| {
                    let mend = "restore it, or start afresh: qrtotp enroll --replace";
                    Trouble::new(&self.path, format_args!("{what}; {mend}"))
                });
            }
            if from == 0 {
                let what = "holds no checkpoint: it is damaged, or belongs to another enrollment";
                return Err(Trouble::new(&self.path, what));
            }
            length = length.saturating_mul(4);
        }
    }

    fn bytes_from(&self, from: u64, to: u64) -> Result<Vec<u8>, Trouble> {
        let mut bytes = vec![0; usize::try_from(to.saturating_sub(from)).unwrap_or(0)];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let at = from.saturating_add(filled as u64);
            match retry_on_intr(|| pread(&self.fd, &mut *rest, at)).map_err(|errno| self.trouble("read", errno))? {
                0 => break,
                count => filled = filled.saturating_add(count),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    fn append_bytes(&self, bytes: &[u8], margin: u64) -> Result<u64, Trouble> {
        let stat = self.look()?;
        files::refuse_limited(&self.path, size(&stat).saturating_add(margin))?;
        self.reserve_more(&stat, bytes.len());
        let written = retry_on_intr(|| write(&self.fd, bytes)).map_err(|errno| self.trouble("append", errno))?;
        if written != bytes.len() {
            return Err(Trouble::new(&self.path, "cannot append: the disk took a part of it only"));
        }
        // With O_APPEND, write(2) leaves the file's position at the end of what it wrote.
        let end = tell(&self.fd).map_err(|errno| self.trouble("append", errno))?;
        fdatasync(&self.fd).map_err(|errno| self.trouble("append", errno))?;
        Ok(end)
    }

    /// Sets the next piece of space aside when the end has come half a piece further, so that half a piece at least is
    /// always there. Where the disk has none left, the appends go on in what there is.
    fn reserve_more(&self, stat: &Stat, appended: usize) {
        const HALF: u64 = RESERVE / 2;
        let end = size(stat);
        if end / HALF != end.saturating_add(appended as u64) / HALF {
            let _ = files::reserve(&self.fd, end, RESERVE);
        }
    }

    fn look(&self) -> Result<Stat, Trouble> {
        fstat(&self.fd).map_err(|errno| self.trouble("look at", errno))
    }

    fn trouble(&self, doing: &str, errno: Errno) -> Trouble {
        Trouble::new(&self.path, format_args!("cannot {doing}: {}", describe(errno)))
    }
}

impl History {
    /// Adds everything up; gives the state and the rulings on all records since the latest checkpoint.
    pub fn fold(&self, limits: &Limits) -> (State, Vec<Ruling>) {
        let mut state = self.start.state.clone();
        let rulings = self.entries.iter().map(|(_, entry)| state.apply(entry, limits)).collect();
        (state, rulings)
    }

    /// Adds up the records of one tag as far as the one of that id; gives the state and the ruling on it.
    pub fn rule_on(&self, id: AttemptId, tag: [u8; 8], limits: &Limits) -> Option<(State, Ruling)> {
        let mut state = self.start.state.clone();
        for (_, entry) in self.entries.iter().filter(|(_, entry)| entry.tag == tag) {
            let ruling = state.apply(entry, limits);
            if entry.id == id {
                return Some((state, ruling));
            }
        }
        None
    }

    /// How many records have come since the latest checkpoint.
    pub fn records(&self) -> usize {
        self.entries.len()
    }
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// The checkpoint of the highest base whose records are all within the bytes; `from` is the byte of the file where they begin.
fn latest_checkpoint(bytes: &[u8], from: u64, enrollment: EnrollmentId) -> Option<Checkpoint> {
    let at = |offset: usize| record::decode_checkpoint(bytes.get(offset..)?.first_chunk()?, enrollment);
    // Every offset, because after a record that was cut off nothing lies where it should.
    let begins = bytes.iter().enumerate().filter(|(_, byte)| **byte == CHECKPOINT_MAGIC[0]).map(|(offset, _)| offset);
    begins.filter_map(at).filter(|checkpoint| checkpoint.base >= from).max_by_key(|checkpoint| checkpoint.base)
}

/// Reads the records from the base of a checkpoint on. A record or a checkpoint that was cut off (a short write, a crash) begins
/// as one and is shorter; a record counts as an attempt then. Everything else is damage.
fn parse(bytes: &[u8], from: u64, start: Checkpoint, enrollment: EnrollmentId) -> Result<History, String> {
    let skipped = usize::try_from(start.base.saturating_sub(from)).unwrap_or(usize::MAX);
    let mut rest = bytes.get(skipped..).ok_or("is cut off before the end of what its checkpoint holds")?;
    let mut entries = Vec::with_capacity(rest.len() / RECORD);
    while !rest.is_empty() {
        let at = from.saturating_add(bytes.len().saturating_sub(rest.len()) as u64);
        let (entry, length) = next(rest, enrollment).ok_or_else(|| format!("is damaged at byte {at}"))?;
        entries.extend(entry.map(|entry| (at, entry)));
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(History { start, entries })
}

/// What stands at the beginning of the bytes, and how long it is; `None` for damage.
fn next(bytes: &[u8], enrollment: EnrollmentId) -> Option<(Option<Entry>, usize)> {
    if let Some(entry) = bytes.first_chunk().and_then(|record| record::decode(record, enrollment)) {
        return Some((Some(entry), RECORD));
    }
    if bytes.first_chunk().and_then(|checkpoint| record::decode_checkpoint(checkpoint, enrollment)).is_some() {
        return Some((None, CHECKPOINT));
    }
    let length = until_next(bytes, enrollment);
    let begins = |magic: &[u8]| bytes.iter().zip(magic).take(length).all(|(byte, magic)| byte == magic);
    if length < RECORD && begins(&RECORD_MAGIC) {
        return Some((Some(TORN), length));
    }
    (length < CHECKPOINT && begins(&CHECKPOINT_MAGIC)).then_some((None, length))
}

/// Bytes until something whole, or something else that was cut off, begins.
fn until_next(bytes: &[u8], enrollment: EnrollmentId) -> usize {
    let starts = |rest: &[u8]| {
        let is_record = rest.first_chunk().is_some_and(|record| record::decode(record, enrollment).is_some());
        let is_checkpoint = || rest.first_chunk().is_some_and(|c| record::decode_checkpoint(c, enrollment).is_some());
        is_record || is_checkpoint() || rest.starts_with(&RECORD_MAGIC) || rest.starts_with(&CHECKPOINT_MAGIC)
    };
    (1..bytes.len()).find(|at| bytes.get(*at..).is_some_and(starts)).unwrap_or(bytes.len())
}

const TORN: Entry = Entry {
    id: AttemptId([0; 8]),
    now: Now { wall: WallTime(0), boot: 0, boot_id: [0; 8] },
    source: [0; 17],
    service: [0; 16],
    tag: [0; 8],
    silent: true,
    act: Act::Torn,
};

#[cfg(test)]
mod tests;
