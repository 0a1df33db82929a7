//! Journal records -> what is used, what is left, who is known. A pure fold: no clock, no files.
//!
//! The guessing budget of one user:
//! - unknown sources share [`CAPACITY`] attempts, one comes back every 6 hours;
//! - each of up to [`KNOWN`] known sources (a success within 30 days) has as many, one comes back every 2 hours;
//! - time is time since boot, as the records tell it, so that moving the clock refills nothing;
//! - a success gives its own attempt back and nothing else.
//!
//! An attempt beyond the budget is not judged by a single code: two consecutive codes of one device are asked
//! ([`Mode::StepUp`]), which neither a guesser can produce nor a guesser can take from the owner.

mod moving;

use crate::otp::recovery::Selector;
use crate::words::{AttemptId, DeviceId, Now, Step, WallTime};

/// Attempts in a full bucket.
pub const CAPACITY: u64 = 5;
/// Known sources kept a user.
pub const KNOWN: usize = 4;
/// Milliseconds in which an unknown source's attempt comes back.
const UNKNOWN_REFILL: u64 = 6 * 3600 * 1000;
/// Milliseconds in which a known source's attempt comes back.
const KNOWN_REFILL: u64 = 2 * 3600 * 1000;
/// Milliseconds of wall time that a source stays known after a success.
const KNOWN_FOR: u64 = 30 * 24 * 3600 * 1000;
/// Devices whose highest step is remembered: the enabled ones and some that were removed.
pub const FLOORS: usize = 8;
/// Spent recovery codes remembered: the current set and two before it.
pub const SPENT: usize = 32;
/// Sources of failed attempts named after a login.
pub const BLAMED: usize = 4;

/// A source as the budget compares it: see [`crate::words::Source::key`].
pub type SourceKey = [u8; 17];

/// What happens when the budget is empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Two consecutive codes of one device are asked.
    StepUp,
    /// After so many failed attempts nothing is judged for so many seconds since boot.
    Lock {
        /// Failed attempts in a row.
        attempts: u32,
        /// Seconds that the lock lasts.
        seconds: u32,
    },
}

/// The numbers of `[limits]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// What happens when the budget is empty.
    pub mode: Mode,
    /// Failed attempts in a row after which codes are refused until an administrator unlocks; `None`: never.
    pub disable_after: Option<u32>,
}

/// A step that a device was shown to be in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hit {
    /// Which device.
    pub device: DeviceId,
    /// Which step.
    pub step: Step,
}

/// What one record says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// A code was typed; `hit` where a device shows it in the window.
    Attempt {
        /// Which device and step.
        hit: Option<Hit>,
    },
    /// The first of two codes that a rule asks for was typed.
    First {
        /// Which device and step.
        hit: Option<Hit>,
    },
    /// The second of two codes was typed.
    Second {
        /// Which device and step.
        hit: Option<Hit>,
        /// The first code was fresh, of the same device, and of the step before.
        follows: bool,
    },
    /// A recovery code was typed; its selector where it was right.
    Recovery {
        /// Which code.
        spent: Option<Selector>,
    },
    /// An enrollment was confirmed by this step's code, which therefore cannot log in.
    Claim(Hit),
    /// An administrator unlocked.
    Unlock,
    /// An administrator lowered the highest step of a device to this one, after the clock had run ahead.
    Lower(Hit),
    /// An administrator, or an alert, wants two codes until this time.
    StepUp {
        /// When it ends.
        until: WallTime,
    },
    /// A record that was cut off in the middle: somebody tried, and got no answer.
    Torn,
}

impl Act {
    /// The same where a rule asks for two codes.
    pub fn first_of_two(self) -> Self {
        match self {
            Self::Attempt { hit } => Self::First { hit },
            other => other,
        }
    }

    /// Whether a recovery code was typed.
    pub fn is_recovery(&self) -> bool {
        matches!(self, Self::Recovery { .. })
    }
}

/// One record of the journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its id.
    pub id: AttemptId,
    /// When.
    pub now: Now,
    /// Where from.
    pub source: SourceKey,
    /// The first bytes of the service's name, padded with zeros.
    pub service: [u8; 16],
    /// Zero for a real user. Decoys share a journal and are told apart by it.
    pub tag: [u8; 8],
    /// Whether the host could show no notice (PAM_SILENT), so that what failed before stays to be told.
    pub silent: bool,
    /// What it says.
    pub act: Act,
}

/// What the fold says of one record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ruling {
    /// Right, fresh, and within the budget. Holds what is to be told of failures before.
    Accepted(Failures),
    /// The budget is empty, or a rule wants it: two codes are asked. Holds the first code's hit if it was fresh.
    SecondNeeded(Option<Hit>),
    /// No device shows the code, the second code does not follow, or the recovery code is none.
    Wrong,
    /// The step is not above every step claimed before; holds the highest of that device.
    Replayed(Step),
    /// The recovery code was spent before.
    Spent,
    /// Locked: not judged.
    Locked,
    /// Disabled: not judged.
    Disabled,
    /// The record is no attempt.
    Noted,
}

impl Ruling {
    /// What it is in a word, for the debug log.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Accepted(_) => "accepted",
            Self::SecondNeeded(_) => "a second code is needed",
            Self::Wrong => "wrong",
            Self::Replayed(_) => "replayed",
            Self::Spent => "spent",
            Self::Locked => "locked",
            Self::Disabled => "disabled",
            Self::Noted => "noted",
        }
    }
}

/// Attempts that can be used up and come back with time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bucket {
    /// Attempts left, in milliseconds of refill.
    level: u64,
    refill: u64,
}

impl Bucket {
    fn full(refill: u64) -> Self {
        Self { level: CAPACITY.saturating_mul(refill), refill }
    }

    /// A bucket of unknown sources, as a checkpoint keeps it.
    pub(crate) fn unknown(level: u64) -> Self {
        Self { level, refill: UNKNOWN_REFILL }.clamped()
    }

    /// A bucket of a known source, as a checkpoint keeps it.
    pub(crate) fn known(level: u64) -> Self {
        Self { level, refill: KNOWN_REFILL }.clamped()
    }

    fn clamped(self) -> Self {
        Self { level: self.level.min(Self::full(self.refill).level), ..self }
    }

    fn gain(&mut self, milliseconds: u64) {
        self.level = self.level.saturating_add(milliseconds);
        *self = self.clamped();
    }

    fn take(&mut self) -> bool {
        let left = self.level.checked_sub(self.refill);
        self.level = left.unwrap_or(self.level);
        left.is_some()
    }

    fn give_back(&mut self) {
        self.gain(self.refill);
    }

    /// Milliseconds of refill in it, as a checkpoint keeps them.
    pub(crate) fn level(&self) -> u64 {
        self.level
    }

    /// Whole attempts left.
    pub fn attempts(&self) -> u32 {
        u32::try_from(self.level.checked_div(self.refill).unwrap_or(0)).unwrap_or(u32::MAX)
    }
}

/// A source that this user logged in from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Known {
    /// Which.
    pub source: SourceKey,
    /// Its attempts.
    pub bucket: Bucket,
    /// The last success from it.
    pub last: WallTime,
}

/// Failed attempts since the last login.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Failures {
    /// How many.
    pub count: u32,
    /// The last one.
    pub last: WallTime,
    /// The sources of the first few, with their numbers.
    pub sources: Vec<(SourceKey, u32)>,
}

impl Failures {
    fn add(&mut self, entry: &Entry) {
        self.count = self.count.saturating_add(1);
        if entry.act == Act::Torn {
            // It tells neither when nor from where.
            return;
        }
        self.last = entry.now.wall;
        if let Some((_, count)) = self.sources.iter_mut().find(|(source, _)| *source == entry.source) {
            *count = count.saturating_add(1);
        } else if self.sources.len() < BLAMED {
            self.sources.push((entry.source, 1));
        }
    }
}

/// The last login.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LastLogin {
    /// When.
    pub time: WallTime,
    /// Where from.
    pub source: SourceKey,
    /// The first bytes of the service's name, padded with zeros.
    pub service: [u8; 16],
}

/// Everything that the records of a journal add up to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// Which boot the last record was of, and how many milliseconds after it.
    pub(crate) boot_id: [u8; 8],
    pub(crate) boot: u64,
    /// Milliseconds of uptime that the records tell of.
    pub(crate) uptime: u64,
    /// The attempts that unknown sources share.
    pub unknown: Bucket,
    /// Known sources, the one with the latest success last.
    pub known: Vec<Known>,
    /// The highest step of each device, the one raised latest last.
    pub floors: Vec<Hit>,
    /// Spent recovery codes, the latest last.
    pub spent: Vec<Selector>,
    /// Failed attempts since the last login that could tell of them.
    pub failures: Failures,
    /// Judged attempts that failed since the last login.
    pub failed_in_a_row: u32,
    /// Failed attempts that count towards a lock.
    pub(crate) strikes: u32,
    /// The uptime at which the lock began; `None`: not locked.
    pub(crate) locked_at: Option<u64>,
    /// The last login.
    pub last_login: Option<LastLogin>,
    /// Until when two codes are asked; an unlock ends it.
    pub(crate) stepped_up: Option<WallTime>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            boot_id: [0; 8],
            boot: 0,
            uptime: 0,
            unknown: Bucket::full(UNKNOWN_REFILL),
            known: Vec::new(),
            floors: Vec::new(),
            spent: Vec::new(),
            failures: Failures::default(),
            failed_in_a_row: 0,
            strikes: 0,
            locked_at: None,
            last_login: None,
            stepped_up: None,
        }
    }
}

impl State {
    /// Takes in the next record and rules on it.
    pub fn apply(&mut self, entry: &Entry, limits: &Limits) -> Ruling {
        self.pass_time(&entry.now);
        match entry.act {
            Act::Attempt { hit } if self.stepped_up_until(entry.now.wall).is_some() => self.first(entry, hit, limits),
            Act::Attempt { hit } => self.attempt(entry, hit, limits),
            Act::First { hit } => self.first(entry, hit, limits),
            Act::Second { hit, follows } => self.second(entry, hit.filter(|_| follows), limits),
            Act::Recovery { spent } => self.recovery(entry, spent),
            Act::Claim(hit) => {
                self.claim(hit);
                Ruling::Noted
            }
            Act::Unlock => {
                self.unlock();
                Ruling::Noted
            }
            Act::Lower(hit) => {
                self.floors.retain(|floor| floor.device != hit.device);
                self.claim(hit);
                Ruling::Noted
            }
            Act::StepUp { until } => {
                self.stepped_up = self.stepped_up.max(Some(until));
                Ruling::Noted
            }
            Act::Torn => {
                self.unknown.take();
                self.fail(entry, limits);
                Ruling::Wrong
            }
        }
    }

    /// Lets the time pass that lies between the last record and this reading of the clocks.
    pub fn pass_time(&mut self, now: &Now) {
        let elapsed = if now.boot_id == [0; 8] {
            0
        } else if now.boot_id == self.boot_id {
            now.boot.saturating_sub(self.boot)
        } else {
            now.boot
        };
        if now.boot_id != [0; 8] {
            self.boot = if now.boot_id == self.boot_id { self.boot.max(now.boot) } else { now.boot };
            self.boot_id = now.boot_id;
        }
        self.uptime = self.uptime.saturating_add(elapsed);
        self.unknown.gain(elapsed);
        self.known.iter_mut().for_each(|known| known.bucket.gain(elapsed));
    }

    /// Attempts left for a source before two codes are asked, or, in lock mode, for everybody before the lock.
    pub fn left(&self, source: &SourceKey, wall: WallTime, limits: &Limits) -> u32 {
        match limits.mode {
            Mode::StepUp => self.known_source(source, wall).map_or(self.unknown, |known| known.bucket).attempts(),
            Mode::Lock { .. } if self.is_locked(limits) => 0,
            Mode::Lock { attempts, .. } if self.locked_at.is_some() => attempts,
            Mode::Lock { attempts, .. } => attempts.saturating_sub(self.strikes),
        }
    }

    /// Whether the lock of [`Mode::Lock`] holds.
    pub fn is_locked(&self, limits: &Limits) -> bool {
        let Mode::Lock { seconds, .. } = limits.mode else { return false };
        let until = |since: u64| since.saturating_add(u64::from(seconds).saturating_mul(1000));
        self.locked_at.is_some_and(|since| self.uptime < until(since))
    }

    /// Whether too many attempts in a row have failed.
    pub fn is_disabled(&self, limits: &Limits) -> bool {
        limits.disable_after.is_some_and(|most| self.failed_in_a_row >= most)
    }

    /// Until when two codes are asked of everybody, if that is not over.
    pub fn stepped_up_until(&self, wall: WallTime) -> Option<WallTime> {
        self.stepped_up.filter(|until| wall < *until)
    }

    /// The highest step of a device.
    pub fn floor(&self, device: DeviceId) -> Option<Step> {
        self.floors.iter().find(|floor| floor.device == device).map(|floor| floor.step)
    }

    fn attempt(&mut self, entry: &Entry, hit: Option<Hit>, limits: &Limits) -> Ruling {
        let highest = hit.and_then(|hit| self.floor(hit.device));
        let fresh = hit.filter(|hit| highest.is_none_or(|floor| hit.step > floor));
        if let Some(hit) = fresh {
            self.claim(hit);
        }
        if let Some(refusal) = self.refusal(entry, limits) {
            return refusal;
        }
        if limits.mode == Mode::StepUp && !self.take(entry) {
            return Ruling::SecondNeeded(fresh);
        }
        match (fresh, highest) {
            (Some(_), _) => {
                if limits.mode == Mode::StepUp {
                    self.give_back(entry);
                }
                self.accept(entry)
            }
            (None, Some(floor)) => self.refuse(entry, limits, Ruling::Replayed(floor)),
            (None, None) => self.refuse(entry, limits, Ruling::Wrong),
        }
    }

    /// Not judged alone, and so not charged.
    fn first(&mut self, entry: &Entry, hit: Option<Hit>, limits: &Limits) -> Ruling {
        let fresh = hit.filter(|hit| self.floor(hit.device).is_none_or(|floor| hit.step > floor));
        if let Some(hit) = fresh {
            self.claim(hit);
        }
        self.refusal(entry, limits).unwrap_or(Ruling::SecondNeeded(fresh))
    }

    fn second(&mut self, entry: &Entry, hit: Option<Hit>, limits: &Limits) -> Ruling {
        let fresh = hit.filter(|hit| self.floor(hit.device).is_none_or(|floor| hit.step > floor));
        if let Some(hit) = fresh {
            self.claim(hit);
        }
        match (self.refusal(entry, limits), fresh) {
            (Some(refusal), _) => refusal,
            (None, Some(_)) => self.accept(entry),
            (None, None) => self.refuse(entry, limits, Ruling::Wrong),
        }
    }

    /// Recovery codes stand outside the budget: nobody guesses 80 bits.
    fn recovery(&mut self, entry: &Entry, spent: Option<Selector>) -> Ruling {
        let Some(selector) = spent else {
            self.count_failure(entry);
            return Ruling::Wrong;
        };
        if self.spent.contains(&selector) {
            self.count_failure(entry);
            return Ruling::Spent;
        }
        push_bounded(&mut self.spent, selector, SPENT);
        self.accept(entry)
    }

    fn refusal(&mut self, entry: &Entry, limits: &Limits) -> Option<Ruling> {
        if self.is_disabled(limits) {
            self.failures.add(entry);
            return Some(Ruling::Disabled);
        }
        if self.is_locked(limits) {
            self.failures.add(entry);
            return Some(Ruling::Locked);
        }
        if self.locked_at.is_some() {
            (self.locked_at, self.strikes) = (None, 0);
        }
        None
    }

    fn refuse(&mut self, entry: &Entry, limits: &Limits, ruling: Ruling) -> Ruling {
        self.fail(entry, limits);
        ruling
    }

    fn count_failure(&mut self, entry: &Entry) {
        self.failures.add(entry);
        self.failed_in_a_row = self.failed_in_a_row.saturating_add(1);
    }

    fn fail(&mut self, entry: &Entry, limits: &Limits) {
        self.count_failure(entry);
        self.strikes = self.strikes.saturating_add(1);
        if let Mode::Lock { attempts, .. } = limits.mode
            && self.strikes >= attempts
            && self.locked_at.is_none()
        {
            self.locked_at = Some(self.uptime);
        }
    }

    fn accept(&mut self, entry: &Entry) -> Ruling {
        let failures = if entry.silent { Failures::default() } else { std::mem::take(&mut self.failures) };
        (self.failed_in_a_row, self.strikes, self.locked_at) = (0, 0, None);
        self.last_login = Some(LastLogin { time: entry.now.wall, source: entry.source, service: entry.service });
        self.remember_source(entry);
        Ruling::Accepted(failures)
    }

    fn claim(&mut self, hit: Hit) {
        let step = self.floor(hit.device).map_or(hit.step, |floor| floor.max(hit.step));
        self.floors.retain(|floor| floor.device != hit.device);
        push_bounded(&mut self.floors, Hit { step, ..hit }, FLOORS);
    }

    fn unlock(&mut self) {
        self.unknown = Bucket::full(UNKNOWN_REFILL);
        self.known.iter_mut().for_each(|known| known.bucket = Bucket::full(KNOWN_REFILL));
        (self.failed_in_a_row, self.strikes, self.locked_at, self.stepped_up) = (0, 0, None, None);
    }

    fn known_source(&self, source: &SourceKey, wall: WallTime) -> Option<&Known> {
        self.known.iter().find(|known| known.source == *source && known.last.distance(wall) <= KNOWN_FOR)
    }

    fn bucket_mut(&mut self, entry: &Entry) -> &mut Bucket {
        let is_it =
            |known: &&mut Known| known.source == entry.source && known.last.distance(entry.now.wall) <= KNOWN_FOR;
        match self.known.iter_mut().find(is_it) {
            Some(known) => &mut known.bucket,
            None => &mut self.unknown,
        }
    }

    fn take(&mut self, entry: &Entry) -> bool {
        self.bucket_mut(entry).take()
    }

    fn give_back(&mut self, entry: &Entry) {
        self.bucket_mut(entry).give_back();
    }

    /// A source that becomes known starts with what unknown sources have left: a success refills nothing.
    fn remember_source(&mut self, entry: &Entry) {
        let bucket = match self.known_source(&entry.source, entry.now.wall) {
            Some(known) => known.bucket,
            None => {
                let attempts = u64::from(self.unknown.attempts());
                Bucket::known(attempts.saturating_mul(KNOWN_REFILL))
            }
        };
        self.known.retain(|known| known.source != entry.source);
        push_bounded(&mut self.known, Known { source: entry.source, bucket, last: entry.now.wall }, KNOWN);
    }
}

fn push_bounded<T>(list: &mut Vec<T>, item: T, most: usize) {
    if list.len() >= most {
        let surplus = list.len().saturating_sub(most).saturating_add(1);
        list.drain(..surplus.min(list.len()));
    }
    list.push(item);
}

#[cfg(test)]
mod tests;
