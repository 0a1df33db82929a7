//! The bytes of a journal: records of 128 bytes, and checkpoints of 1024 bytes, which hold the fold of everything before a
//! place in the file. All numbers are little-endian. docs/FORMAT.md shows every byte.

use crate::budget::{
    Act, BLAMED, Bucket, Entry, FLOORS, Failures, Hit, KNOWN, Known, LastLogin, SPENT, SourceKey, State,
};
use crate::otp::recovery::Selector;
use crate::words::{AttemptId, DeviceId, EnrollmentId, Now, Step, WallTime};

/// Bytes of a record.
pub const RECORD: usize = 128;
/// Bytes of a checkpoint.
pub const CHECKPOINT: usize = 1024;

/// How a record begins.
pub const RECORD_MAGIC: [u8; 4] = *b"QTr1";
/// How a checkpoint begins: with another letter than a record, so that one byte that was written tells which it was to be.
pub const CHECKPOINT_MAGIC: [u8; 8] = *b"Cqrtotp1";
const CHECKSUM: usize = 4;

mod kind {
    pub const ATTEMPT: u8 = 1;
    pub const SECOND: u8 = 2;
    pub const RECOVERY: u8 = 3;
    pub const CLAIM: u8 = 4;
    pub const UNLOCK: u8 = 5;
    pub const LOWER: u8 = 6;
    pub const FIRST: u8 = 7;
    pub const STEP_UP: u8 = 8;
}

mod flag {
    /// A device and a step (or a selector) follow.
    pub const HIT: u8 = 1;
    /// The second code follows the first.
    pub const FOLLOWS: u8 = 2;
    /// The host could show no notice.
    pub const SILENT: u8 = 4;
}

/// The bytes of one record. `None` for [`Act::Torn`], which is never written.
pub fn encode(entry: &Entry, enrollment: EnrollmentId) -> Option<[u8; RECORD]> {
    let (kind, hit, selector, follows) = match entry.act {
        Act::Attempt { hit } => (kind::ATTEMPT, hit, None, false),
        Act::First { hit } => (kind::FIRST, hit, None, false),
        Act::Second { hit, follows } => (kind::SECOND, hit, None, follows),
        Act::Recovery { spent } => (kind::RECOVERY, None, spent, false),
        Act::Claim(hit) => (kind::CLAIM, Some(hit), None, false),
        Act::Unlock => (kind::UNLOCK, None, None, false),
        Act::StepUp { .. } => (kind::STEP_UP, None, None, false),
        Act::Lower(hit) => (kind::LOWER, Some(hit), None, false),
        Act::Torn => return None,
    };
    let has_hit = if hit.is_some() || selector.is_some() { flag::HIT } else { 0 };
    let follows = if follows { flag::FOLLOWS } else { 0 };
    let silent = if entry.silent { flag::SILENT } else { 0 };
    let subject = hit.map(|hit| hit.device.0).or(selector.map(|selector| selector.0)).unwrap_or_default();
    let mut bytes = [0; RECORD];
    let mut out = Writer(&mut bytes);
    out.put(&RECORD_MAGIC);
    out.put(&[kind, has_hit | follows | silent, 0, 0]);
    out.put(&enrollment.0);
    out.put(&entry.id.0);
    out.put(&entry.now.wall.0.to_le_bytes());
    out.put(&entry.now.boot.to_le_bytes());
    out.put(&entry.now.boot_id);
    let step = match entry.act {
        Act::StepUp { until } => until.0,
        _ => hit.map_or(0, |hit| hit.step.0),
    };
    out.put(&step.to_le_bytes());
    out.put(&subject);
    out.put(&entry.source);
    out.put(&entry.service);
    out.put(&entry.tag);
    seal(&mut bytes);
    Some(bytes)
}

/// Reads a record; `None` where the bytes are not a whole, undamaged record of this enrollment.
pub fn decode(bytes: &[u8; RECORD], enrollment: EnrollmentId) -> Option<Entry> {
    bytes.starts_with(&RECORD_MAGIC).then_some(())?;
    let mut input = Reader(sealed(bytes)?);
    input.take::<4>()?;
    let [kind, flags, _, _] = input.take::<4>()?;
    (input.take()? == enrollment.0).then_some(())?;
    let id = AttemptId(input.take()?);
    let now = Now { wall: WallTime(input.number()?), boot: input.number()?, boot_id: input.take()? };
    let step = Step(input.number()?);
    let subject: [u8; 4] = input.take()?;
    let hit = (flags & flag::HIT != 0).then_some(Hit { device: DeviceId(subject), step });
    let act = match kind {
        kind::ATTEMPT => Act::Attempt { hit },
        kind::FIRST => Act::First { hit },
        kind::SECOND => Act::Second { hit, follows: flags & flag::FOLLOWS != 0 },
        kind::RECOVERY => Act::Recovery { spent: hit.map(|_| Selector(subject)) },
        kind::CLAIM => Act::Claim(hit?),
        kind::UNLOCK => Act::Unlock,
        kind::STEP_UP => Act::StepUp { until: WallTime(step.0) },
        kind::LOWER => Act::Lower(hit?),
        _ => return None,
    };
    let (source, service, tag) = (input.take()?, input.take()?, input.take()?);
    Some(Entry { id, now, source, service, tag, silent: flags & flag::SILENT != 0, act })
}

/// A checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// The byte of the file up to which everything is in the state.
    pub base: u64,
    /// What it adds up to.
    pub state: State,
}

/// The bytes of a checkpoint.
pub fn encode_checkpoint(checkpoint: &Checkpoint, enrollment: EnrollmentId) -> [u8; CHECKPOINT] {
    let state = &checkpoint.state;
    let mut bytes = [0; CHECKPOINT];
    let mut out = Writer(&mut bytes);
    out.put(&CHECKPOINT_MAGIC);
    out.put(&enrollment.0);
    out.put(&checkpoint.base.to_le_bytes());
    out.put(&state.boot_id);
    out.put(&state.boot.to_le_bytes());
    out.put(&state.uptime.to_le_bytes());
    out.put(&state.unknown.level().to_le_bytes());
    out.put(&state.failed_in_a_row.to_le_bytes());
    out.put(&state.strikes.to_le_bytes());
    out.put(&[u8::from(state.locked_at.is_some()), u8::from(state.last_login.is_some()), 0, 0]);
    out.put(&state.locked_at.unwrap_or(0).to_le_bytes());
    let last = state.last_login.unwrap_or(LastLogin { time: WallTime(0), source: [0; 17], service: [0; 16] });
    out.put(&last.time.0.to_le_bytes());
    out.put(&last.source);
    out.put(&last.service);
    out.put(&state.failures.count.to_le_bytes());
    out.put(&state.failures.last.0.to_le_bytes());
    put_list(&mut out, BLAMED, &state.failures.sources, |out, (source, count)| {
        out.put(source);
        out.put(&count.to_le_bytes());
    });
    put_list(&mut out, KNOWN, &state.known, |out, known| {
        out.put(&known.source);
        out.put(&known.bucket.level().to_le_bytes());
        out.put(&known.last.0.to_le_bytes());
    });
    put_list(&mut out, FLOORS, &state.floors, |out, floor| {
        out.put(&floor.device.0);
        out.put(&floor.step.0.to_le_bytes());
    });
    put_list(&mut out, SPENT, &state.spent, |out, selector| out.put(&selector.0));
    out.put(&state.stepped_up.map_or(0, |until| until.0).to_le_bytes());
    seal(&mut bytes);
    bytes
}

/// Reads a checkpoint; `None` where it is damaged or belongs to another enrollment.
pub fn decode_checkpoint(bytes: &[u8; CHECKPOINT], enrollment: EnrollmentId) -> Option<Checkpoint> {
    bytes.starts_with(&CHECKPOINT_MAGIC).then_some(())?;
    let mut input = Reader(sealed(bytes)?);
    (input.take()? == CHECKPOINT_MAGIC && input.take()? == enrollment.0).then_some(())?;
    let base = input.number()?;
    let (boot_id, boot, uptime) = (input.take()?, input.number()?, input.number()?);
    let unknown = Bucket::unknown(input.number()?);
    let (failed_in_a_row, strikes) = (input.count()?, input.count()?);
    let [locked, logged_in, _, _] = input.take::<4>()?;
    let locked_at = input.number()?;
    let last = LastLogin { time: WallTime(input.number()?), source: input.take()?, service: input.take()? };
    let (count, failed) = (input.count()?, WallTime(input.number()?));
    let sources = take_list(&mut input, |input| Some((input.take::<17>()? as SourceKey, input.count()?)))?;
    let known = take_list(&mut input, |input| {
        let (source, level) = (input.take()?, input.number()?);
        Some(Known { source, bucket: Bucket::known(level), last: WallTime(input.number()?) })
    })?;
    let floors =
        take_list(&mut input, |input| Some(Hit { device: DeviceId(input.take()?), step: Step(input.number()?) }))?;
    let spent = take_list(&mut input, |input| input.take().map(Selector))?;
    let stepped_up = input.number()?;
    let fits = sources.len() <= BLAMED && known.len() <= KNOWN && floors.len() <= FLOORS && spent.len() <= SPENT;
    let state = State {
        boot_id,
        boot,
        uptime,
        unknown,
        known,
        floors,
        spent,
        failures: Failures { count, last: failed, sources },
        failed_in_a_row,
        strikes,
        locked_at: (locked == 1).then_some(locked_at),
        last_login: (logged_in == 1).then_some(last),
        stepped_up: (stepped_up > 0).then_some(WallTime(stepped_up)),
    };
    fits.then_some(Checkpoint { base, state })
}

/// Writes a length and the items; the folds keep their lists within `most`, so nothing is lost.
fn put_list<T>(out: &mut Writer<'_>, most: usize, items: &[T], put: impl Fn(&mut Writer<'_>, &T)) {
    let count = items.len().min(most);
    out.put(&[u8::try_from(count).unwrap_or(0), 0, 0, 0]);
    items.iter().take(count).for_each(|item| put(out, item));
}

fn take_list<T>(input: &mut Reader<'_>, take: impl Fn(&mut Reader<'_>) -> Option<T>) -> Option<Vec<T>> {
    let [count, _, _, _] = input.take::<4>()?;
    (0..count).map(|_| take(input)).collect()
}

/// Fills a buffer from the front; the sizes are constants, and a test fills every list to the brim.
struct Writer<'a>(&'a mut [u8]);

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let whole = std::mem::take(&mut self.0);
        if let Some((head, rest)) = whole.split_at_mut_checked(bytes.len()) {
            head.copy_from_slice(bytes);
            self.0 = rest;
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn count(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }
}

/// Writes the CRC-32 of everything before the last four bytes into them.
fn seal(bytes: &mut [u8]) {
    let (body, sum) = bytes.split_at_mut(bytes.len().saturating_sub(CHECKSUM));
    sum.copy_from_slice(&crc32fast::hash(body).to_le_bytes());
}

/// The bytes before the checksum, if it is right.
fn sealed(bytes: &[u8]) -> Option<&[u8]> {
    let (body, sum) = bytes.split_last_chunk::<CHECKSUM>()?;
    (crc32fast::hash(body) == u32::from_le_bytes(*sum)).then_some(body)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) const ENROLLMENT: EnrollmentId = EnrollmentId(*b"enrolled");

    fn hit() -> impl Strategy<Value = Hit> {
        (0_u8..3, 0_u64..50).prop_map(|(device, step)| Hit { device: DeviceId([device; 4]), step: Step(step) })
    }

    fn selector() -> impl Strategy<Value = Selector> {
        (b'A'..b'M').prop_map(|letter| Selector([letter; 4]))
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            6 => proptest::option::of(hit()).prop_map(|hit| Act::Attempt { hit }),
            2 => (proptest::option::of(hit()), any::<bool>()).prop_map(|(hit, follows)| Act::Second { hit, follows }),
            1 => proptest::option::of(selector()).prop_map(|spent| Act::Recovery { spent }),
            1 => hit().prop_map(Act::Claim),
            1 => proptest::option::of(hit()).prop_map(|hit| Act::First { hit }),
            1 => Just(Act::Unlock),
            1 => (0_u64..100_000_000).prop_map(|until| Act::StepUp { until: WallTime(until) }),
            1 => hit().prop_map(Act::Lower),
        ]
    }

    pub(crate) fn entry() -> impl Strategy<Value = Entry> {
        (any::<[u8; 8]>(), 0_u64..100_000_000, 0_u64..100_000_000, 0_u8..3, 1_u8..8, any::<bool>(), act()).prop_map(
            |(id, wall, boot, boot_id, source, silent, act)| Entry {
                silent,
                id: AttemptId(id),
                now: Now { wall: WallTime(wall), boot, boot_id: [boot_id; 8] },
                source: [source; 17],
                service: *b"sshd\0\0\0\0\0\0\0\0\0\0\0\0",
                tag: [0; 8],
                act,
            },
        )
    }

    proptest! {
        #[test]
        fn a_record_reads_back_and_only_in_its_own_enrollment(entry in entry()) {
            let bytes = encode(&entry, ENROLLMENT).unwrap();
            prop_assert_eq!(decode(&bytes, ENROLLMENT), Some(entry));
            prop_assert_eq!(decode(&bytes, EnrollmentId([0; 8])), None);
        }

        #[test]
        fn a_record_with_one_flipped_bit_is_no_record(entry in entry(), bit in 0_usize..RECORD * 8) {
            let mut bytes = encode(&entry, ENROLLMENT).unwrap();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(decode(&bytes, ENROLLMENT), None);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), CHECKPOINT)) {
            let mut bytes: [u8; CHECKPOINT] = bytes.try_into().unwrap();
            bytes[..8].copy_from_slice(&CHECKPOINT_MAGIC);
            bytes[8..16].copy_from_slice(&ENROLLMENT.0);
            seal(&mut bytes);
            let _ = decode_checkpoint(&bytes, ENROLLMENT);
        }
    }

    /// Every list as long as it may get: the checkpoint has room for all of it.
    #[test]
    fn a_full_checkpoint_reads_back() {
        let hit = |n: u8| Hit { device: DeviceId([n; 4]), step: Step(u64::MAX) };
        let state = State {
            boot_id: [1; 8],
            boot: 2,
            uptime: 3,
            unknown: Bucket::unknown(5),
            known: (0..4).map(|n| Known { source: [n; 17], bucket: Bucket::known(7), last: WallTime(9) }).collect(),
            floors: (0..8).map(hit).collect(),
            spent: (0..32).map(|n| Selector([n; 4])).collect(),
            failures: Failures { count: 11, last: WallTime(12), sources: (0..4).map(|n| ([n; 17], 3)).collect() },
            failed_in_a_row: 17,
            strikes: 13,
            locked_at: Some(14),
            last_login: Some(LastLogin { time: WallTime(15), source: [2; 17], service: [16; 16] }),
            stepped_up: Some(WallTime(17)),
        };
        let checkpoint = Checkpoint { base: u64::MAX, state };
        let bytes = encode_checkpoint(&checkpoint, ENROLLMENT);
        assert_eq!(decode_checkpoint(&bytes, ENROLLMENT), Some(checkpoint));
        assert_eq!(decode_checkpoint(&bytes, EnrollmentId([0; 8])), None);
    }
}
