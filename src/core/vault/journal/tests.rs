use super::record::tests::{ENROLLMENT, entry as any_entry};
use super::*;
use crate::budget::{Hit, Mode};
use crate::testkit::private_folder;
use crate::words::{DeviceId, Step};
use proptest::prelude::*;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

const LIMITS: Limits = Limits { mode: Mode::StepUp, disable_after: None };
const NOW: Now = Now { wall: WallTime(1_700_000_000_000), boot: 1000, boot_id: [1; 8] };
const WRONG: Act = Act::Attempt { hit: None };

fn entry(id: u64, act: Act) -> Entry {
    let id = AttemptId(id.to_le_bytes());
    Entry { id, now: NOW, source: [1; 17], service: [0; 16], tag: [0; 8], silent: false, act }
}

fn right(id: u64, step: u64) -> Entry {
    entry(id, Act::Attempt { hit: Some(Hit { device: DeviceId([1; 4]), step: Step(step) }) })
}

/// A folder with a fresh journal in it.
struct Desk {
    dir: tempfile::TempDir,
    folder: Folder,
}

impl Desk {
    fn new(entries: &[Entry]) -> Self {
        let dir = private_folder();
        let folder = Folder::open(dir.path(), Privacy::Secret).unwrap().unwrap();
        folder.replace(NAME, &Journal::fresh(ENROLLMENT, entries), RESERVE).unwrap();
        Self { dir, folder }
    }

    fn open(&self) -> Journal {
        Journal::open(&self.folder, ENROLLMENT).unwrap()
    }

    fn append(&self, entry: &Entry) -> Ruling {
        let journal = self.open();
        let end = journal.append(entry).unwrap();
        let history = journal.read_to(end).unwrap();
        let (state, ruling) = history.rule_on(entry.id, entry.tag, &LIMITS).unwrap();
        journal.checkpoint(&history, entry.id, state, entry.tag != [0; 8]).unwrap();
        ruling
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join(NAME)
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(self.path()).unwrap()
    }

    fn overwrite(&self, bytes: &[u8]) {
        self.folder.replace(NAME, bytes, 0).unwrap();
    }
}

/// What a whole file reads as.
fn read(bytes: &[u8]) -> Result<History, String> {
    let start = latest_checkpoint(bytes, 0, ENROLLMENT).ok_or("no checkpoint")?;
    parse(bytes, 0, start, ENROLLMENT)
}

fn entries(history: &History) -> Vec<Entry> {
    history.entries.iter().map(|(_, entry)| *entry).collect()
}

fn acts(bytes: &[u8]) -> Result<Vec<Act>, String> {
    read(bytes).map(|history| entries(&history).iter().map(|entry| entry.act).collect())
}

fn three() -> Vec<u8> {
    Journal::fresh(ENROLLMENT, &[right(1, 10), entry(2, WRONG), right(3, 11)])
}

#[test]
fn what_is_appended_is_read_back_in_order() {
    let desk = Desk::new(&[]);
    let all = [right(1, 10), entry(2, WRONG), right(3, 10)];
    assert!(matches!(desk.append(&all[0]), Ruling::Accepted(_)));
    assert_eq!(desk.append(&all[1]), Ruling::Wrong);
    assert_eq!(desk.append(&all[2]), Ruling::Replayed(Step(10)));
    assert_eq!(entries(&desk.open().read().unwrap()), all);
}

#[test]
fn appending_keeps_within_what_was_set_aside_and_sets_more_aside_in_time() {
    use std::os::unix::fs::MetadataExt;
    let desk = Desk::new(&[]);
    let set_aside = || desk.path().metadata().unwrap().blocks() * 512;
    assert!(set_aside() >= RESERVE);
    for id in 0..2000 {
        desk.append(&entry(id, WRONG));
        let now = desk.path().metadata().unwrap();
        assert!(now.blocks() * 512 >= now.len() + RESERVE / 2, "{id}: space is set aside beyond the end");
    }
}

#[test]
fn a_record_cut_off_anywhere_counts_as_one_attempt_and_never_as_damage() {
    let whole = three();
    for kept in 1..RECORD {
        let cut = [&whole[..CHECKPOINT + RECORD + kept], &whole[CHECKPOINT + 2 * RECORD..]].concat();
        let [first, _, last] = acts(&whole).unwrap()[..] else { panic!() };
        assert_eq!(acts(&cut), Ok(vec![first, Act::Torn, last]), "{kept} bytes in the middle");
        assert_eq!(acts(&whole[..CHECKPOINT + RECORD + kept]), Ok(vec![first, Act::Torn]), "{kept} bytes at the end");
    }
}

#[test]
fn a_checkpoint_cut_off_anywhere_is_passed_over() {
    let whole = three();
    let second = record::encode_checkpoint(&Checkpoint { base: 1152, state: State::default() }, ENROLLMENT);
    for kept in 1..CHECKPOINT {
        let (before, after) = whole.split_at(CHECKPOINT + RECORD);
        let cut = [before, &second[..kept], after].concat();
        assert_eq!(acts(&cut), acts(&whole), "{kept} bytes in the middle");
        assert_eq!(acts(&[&whole, &second[..kept]].concat()), acts(&whole), "{kept} bytes at the end");
    }
}

#[test]
fn any_number_of_records_cut_off_in_a_row_is_no_damage() {
    let whole = three();
    let piece = &whole[CHECKPOINT..CHECKPOINT + 100];
    let torn = [&whole, piece, piece, piece].concat();
    assert_eq!(acts(&torn).unwrap()[3..], [Act::Torn; 3]);
}

/// They are what is left of bytes that were given back to the disk; to take them for attempts would forget what was used.
#[test]
fn zeros_where_records_should_be_are_damage() {
    let whole = three();
    for zeros in 1..3 * RECORD {
        for at in [CHECKPOINT, CHECKPOINT + RECORD, whole.len()] {
            let gap = [&whole[..at], &vec![0; zeros], &whole[at..]].concat();
            assert!(read(&gap).is_err(), "{zeros} at {at}");
        }
    }
}

#[test]
fn one_flipped_bit_anywhere_is_damage() {
    let mut bytes = three();
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&bytes).is_err(), "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn a_journal_cut_to_any_length_says_less_and_nothing_else() {
    let whole = three();
    let full = acts(&whole).unwrap();
    for length in 0..whole.len() {
        match acts(&whole[..length]) {
            Err(_) => assert!(length < CHECKPOINT, "{length}"),
            Ok(acts) => {
                let records = (length - CHECKPOINT) / RECORD;
                let mut expected = full[..records].to_vec();
                expected.extend((!(length - CHECKPOINT).is_multiple_of(RECORD)).then_some(Act::Torn));
                assert_eq!(acts, expected, "{length}");
            }
        }
    }
}

#[test]
fn the_journal_of_another_enrollment_is_refused_and_so_is_a_record_of_one() {
    let other = EnrollmentId([9; 8]);
    let desk = Desk::new(&[]);
    desk.overwrite(&Journal::fresh(other, &[]));
    assert!(desk.open().read().is_err_and(|trouble| trouble.what.contains("another enrollment")));
    let alien = record::encode(&right(1, 10), other).unwrap();
    desk.overwrite(&[three(), alien.to_vec()].concat());
    assert!(desk.open().read().is_err());
}

#[test]
fn an_old_copy_put_back_accepts_no_wrong_code() {
    let desk = Desk::new(&[]);
    let old = desk.bytes();
    assert!(matches!(desk.append(&right(1, 10)), Ruling::Accepted(_)));
    desk.overwrite(&old);
    assert_eq!(desk.append(&entry(2, WRONG)), Ruling::Wrong);
}

#[test]
fn a_journal_that_is_missing_is_trouble_and_so_is_one_without_a_checkpoint() {
    let desk = Desk::new(&[]);
    std::fs::OpenOptions::new().write(true).open(desk.path()).unwrap().set_len(500).unwrap();
    assert!(desk.open().read().is_err_and(|trouble| trouble.what.contains("no checkpoint")));
    std::fs::remove_file(desk.path()).unwrap();
    let missing = Journal::open(&desk.folder, ENROLLMENT).map(drop).unwrap_err();
    assert_eq!((missing.path.as_path(), missing.what.contains("enroll")), (desk.path().as_path(), true));
}

#[test]
fn one_step_typed_everywhere_at_once_is_accepted_once() {
    for round in 0..10 {
        let desk = Desk::new(&[]);
        let barrier = Barrier::new(8);
        let accepted = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (desk, barrier, accepted) = (&desk, &barrier, &accepted);
                scope.spawn(move || {
                    barrier.wait();
                    if let Ruling::Accepted(_) = desk.append(&right(round * 8 + thread, round)) {
                        accepted.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(accepted.into_inner(), 1, "round {round}");
    }
}

#[test]
fn checkpoints_of_many_appenders_lose_no_record_and_come_in_time() {
    const APPENDERS: u64 = 6;
    const EACH: u64 = 200;
    let desk = Desk::new(&[]);
    let longest = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..APPENDERS {
            let (desk, longest) = (&desk, &longest);
            scope.spawn(move || {
                for n in 0..EACH {
                    // A recovery code that is none adds one to the failures, which nothing here resets.
                    let entry = entry(thread * EACH + n, Act::Recovery { spent: None });
                    assert_eq!(desk.append(&entry), Ruling::Wrong);
                    longest.fetch_max(desk.open().read().unwrap().records(), Ordering::Relaxed);
                }
            });
        }
    });
    let (state, _) = desk.open().read().unwrap().fold(&LIMITS);
    assert_eq!(u64::from(state.failures.count), APPENDERS * EACH);
    assert!(longest.into_inner() <= LONG + 3 * APPENDERS as usize);
    assert!(desk.bytes().len() > HEADROOM, "there were checkpoints");
}

/// Bytes of the records above without any checkpoint but the first.
const HEADROOM: usize = CHECKPOINT + 1200 * RECORD;

#[test]
fn a_late_checkpoint_of_a_frozen_process_changes_nothing() {
    let desk = Desk::new(&[]);
    let frozen = desk.open();
    for id in 0..=LONG as u64 {
        frozen.append(&entry(id, WRONG)).unwrap();
    }
    let history = frozen.read().unwrap();
    let id = AttemptId((LONG as u64).to_le_bytes());
    let (state, _) = history.rule_on(id, [0; 8], &LIMITS).unwrap();
    (0..3 * LONG as u64).for_each(|n| drop(desk.append(&right(1000 + n, n))));
    let (before, base) = (desk.open().read().unwrap().fold(&LIMITS).0, desk.open().read().unwrap().start.base);
    frozen.checkpoint(&history, id, state, false).unwrap();
    let after = desk.open().read().unwrap();
    assert_eq!((after.fold(&LIMITS).0, after.start.base), (before, base));
}

#[test]
fn dead_bytes_are_given_back_and_nothing_that_counts_is() {
    use std::os::unix::fs::MetadataExt;
    let desk = Desk::new(&[]);
    (0..2000).for_each(|n| drop(desk.append(&right(n, n))));
    let (before, blocks) = (desk.open().read().unwrap(), desk.path().metadata().unwrap().blocks());
    let base = desk.open().release().unwrap();
    assert_eq!(base, before.start.base);
    assert!(desk.path().metadata().unwrap().blocks() * 512 + base < blocks * 512 + 2 * 4096);
    assert_eq!(desk.open().read().unwrap(), before);
    assert_eq!(desk.append(&right(9999, 1999)), Ruling::Replayed(Step(1999)));
}

/// Whoever calls su may kill it before it writes a checkpoint, as often as he likes.
#[test]
fn a_journal_of_any_length_without_a_new_checkpoint_is_read() {
    let desk = Desk::new(&[right(1, 10)]);
    let journal = desk.open();
    let piece: Vec<u8> = (2..1002).flat_map(|id| record::encode(&entry(id, WRONG), ENROLLMENT).unwrap()).collect();
    let mut file = std::fs::OpenOptions::new().append(true).open(desk.path()).unwrap();
    (0..90).for_each(|_| std::io::Write::write_all(&mut file, &piece).unwrap());
    assert_eq!(journal.read().unwrap().records(), 90_001);
    assert_eq!(desk.append(&right(999_999, 10)), Ruling::SecondNeeded(None), "and the next login leaves a checkpoint");
    assert!(desk.open().read().unwrap().records() < 2);
}

/// A record that was cut off moves what follows; another one may move it back.
#[test]
fn the_latest_checkpoint_counts_however_it_lies() {
    let desk = Desk::new(&[]);
    let write = |bytes: &[u8]| {
        let mut file = std::fs::OpenOptions::new().append(true).open(desk.path()).unwrap();
        std::io::Write::write_all(&mut file, bytes).unwrap();
    };
    (0..200).for_each(|n| drop(desk.append(&right(n, n))));
    let frozen = record::encode_checkpoint(&desk.open().read().unwrap().start, ENROLLMENT);
    let cut = record::encode(&entry(9000, WRONG), ENROLLMENT).unwrap();
    write(&cut[..40]);
    (200..500).for_each(|n| drop(desk.append(&right(n, n))));
    write(&cut[..88]);
    let before = desk.open().read().unwrap();
    desk.open().release().unwrap();
    write(&frozen);
    let after = desk.open().read().unwrap();
    assert_eq!((after.start.base, after.fold(&LIMITS).0), (before.start.base, before.fold(&LIMITS).0));
}

#[test]
fn a_short_journal_has_no_dead_bytes() {
    let desk = Desk::new(&[right(1, 10)]);
    let before = desk.open().read().unwrap();
    assert_eq!(desk.open().release(), Ok(0));
    assert_eq!(desk.open().read().unwrap(), before);
}

/// A login that is frozen after its append reads on when others have appended, checkpoints too.
#[test]
fn an_own_record_is_ruled_on_whatever_came_after_it() {
    let desk = Desk::new(&[]);
    (0..100).for_each(|n| drop(desk.append(&right(n, n))));
    let frozen = desk.open();
    let end = frozen.append(&right(5000, 99)).unwrap();
    (100..1000).for_each(|n| drop(desk.append(&right(n, n))));
    let rule = || {
        Ok::<_, Trouble>(frozen.read_to(end)?.rule_on(AttemptId(5000_u64.to_le_bytes()), [0; 8], &LIMITS).unwrap().1)
    };
    assert_eq!(rule(), Ok(Ruling::Replayed(Step(99))));
    desk.open().release().unwrap();
    assert!(rule().is_err(), "what it needs was given back");
}

/// The reader was frozen before it read, and much had come and gone.
#[test]
fn a_reader_under_whom_bytes_were_given_back_refuses_or_reads_again_and_never_forgets() {
    let desk = Desk::new(&[]);
    (0..200).for_each(|n| drop(desk.append(&right(n, n))));
    let bytes = desk.bytes();
    for dead in (CHECKPOINT..=bytes.len()).step_by(64) {
        let mut read_late = bytes.clone();
        read_late[..dead].fill(0);
        if let Ok(history) = read(&read_late) {
            assert_eq!(history.fold(&LIMITS).0, read(&bytes).unwrap().fold(&LIMITS).0, "{dead}");
        }
    }
}

#[test]
fn decoys_remember_their_latest_records() {
    let desk = Desk::new(&[]);
    let decoy = |id: u64| Entry { tag: [7; 8], ..entry(id, WRONG) };
    let last = 1000;
    (0..=last).for_each(|id| drop(desk.append(&decoy(id))));
    let history = desk.open().read().unwrap();
    let kept = entries(&history);
    assert!((DECOY_KEEPS..=DECOY_KEEPS + LONG).contains(&kept.len()), "{}", kept.len());
    assert_eq!(kept.last(), Some(&decoy(last)));
    assert_eq!(history.start.state, State::default());
}

/// The limit holds for a whole process, so this test runs itself in one of its own.
#[test]
fn a_process_that_may_not_write_large_files_leaves_no_cut_off_record() {
    const NAME_OF_THIS: &str =
        "vault::journal::tests::a_process_that_may_not_write_large_files_leaves_no_cut_off_record";
    const DIR: &str = "QRTOTP_TEST_LIMITED";
    if let Some(dir) = std::env::var_os(DIR) {
        let folder = Folder::open(Path::new(&dir), Privacy::Secret).unwrap().unwrap();
        let journal = Journal::open(&folder, ENROLLMENT).unwrap();
        for limit in (0..2000).step_by(50).map(|more| CHECKPOINT as u64 + more) {
            let limit = rustix::process::Rlimit { current: Some(limit), maximum: None };
            rustix::process::setrlimit(rustix::process::Resource::Fsize, limit).unwrap();
            assert!(journal.append(&entry(1, WRONG)).is_err());
        }
        return;
    }
    let desk = Desk::new(&[]);
    let before = desk.bytes();
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME_OF_THIS])
        .env(DIR, desk.dir.path())
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"));
    assert_eq!(desk.bytes(), before);
}

/// What stands before the record of an attempt decides on it, and nothing that comes after.
#[test]
fn a_ruling_sees_the_records_before_its_own_only() {
    let desk = Desk::new(&[]);
    let (mine, theirs) = (desk.open(), desk.open());
    mine.append(&right(1, 10)).unwrap();
    theirs.append(&right(2, 10)).unwrap();
    let rule = |id: u64| mine.read().unwrap().rule_on(AttemptId(id.to_le_bytes()), [0; 8], &LIMITS).unwrap().1;
    assert!(matches!(rule(1), Ruling::Accepted(_)));
    assert_eq!(rule(2), Ruling::Replayed(Step(10)));
    assert!(mine.read().unwrap().rule_on(AttemptId([9; 8]), [0; 8], &LIMITS).is_none());
}

#[test]
fn a_file_written_to_under_the_reader_is_read_as_far_as_it_went() {
    let desk = Desk::new(&[entry(1, WRONG)]);
    let journal = desk.open();
    let file = std::fs::OpenOptions::new().write(true).open(desk.path()).unwrap();
    let record = record::encode(&entry(2, WRONG), ENROLLMENT).unwrap();
    file.write_at(&record[..70], (CHECKPOINT + RECORD) as u64).unwrap();
    assert_eq!(entries(&journal.read().unwrap()).last().unwrap().act, Act::Torn);
    file.write_at(&record[70..], (CHECKPOINT + RECORD + 70) as u64).unwrap();
    assert_eq!(entries(&journal.read().unwrap()).last().unwrap().act, WRONG);
}

fn any_limits() -> impl Strategy<Value = Limits> {
    let lock = (1_u32..5, 1_u32..5000).prop_map(|(attempts, seconds)| Mode::Lock { attempts, seconds });
    let mode = prop_oneof![Just(Mode::StepUp), lock];
    (mode, proptest::option::of(1_u32..9)).prop_map(|(mode, disable_after)| Limits { mode, disable_after })
}

proptest! {
    #[test]
    fn a_checkpoint_adds_up_to_the_same_and_rules_the_same(
        entries in proptest::collection::vec(any_entry(), 0..60),
        at in 0_usize..60,
        limits in any_limits(),
    ) {
        let before = &entries[..at.min(entries.len())];
        let fold = |bytes: &[u8]| read(bytes).unwrap().fold(&limits);
        let (whole, rulings) = fold(&Journal::fresh(ENROLLMENT, &entries));
        let (state, _) = fold(&Journal::fresh(ENROLLMENT, before));
        let base = (CHECKPOINT + before.len() * RECORD) as u64;
        let checkpoint = record::encode_checkpoint(&Checkpoint { base, state }, ENROLLMENT);
        let file = [Journal::fresh(ENROLLMENT, &entries), checkpoint.to_vec()].concat();
        let (shortened, later) = fold(&file);
        prop_assert_eq!(shortened, whole);
        prop_assert_eq!(later.as_slice(), rulings.get(before.len()..).unwrap());
    }

    #[test]
    fn decoys_do_not_see_each_other(
        entries in proptest::collection::vec((any_entry(), 1_u8..4), 1..60),
        limits in any_limits(),
    ) {
        let id = |n: usize| AttemptId((n as u64).to_le_bytes());
        let tagged = |(n, (entry, tag)): (usize, (Entry, u8))| Entry { id: id(n), tag: [tag; 8], ..entry };
        let all: Vec<_> = entries.into_iter().enumerate().map(tagged).collect();
        let alone = |tag| all.iter().filter(|entry| entry.tag == tag).copied().collect::<Vec<_>>();
        let read = |entries: &[Entry]| read(&Journal::fresh(ENROLLMENT, entries)).unwrap();
        let last = all.last().unwrap();
        let ruled = |history: History| history.rule_on(last.id, last.tag, &limits).unwrap();
        prop_assert_eq!(ruled(read(&all)), ruled(read(&alone(last.tag))));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), zeros in 0_usize..400) {
        let _ = read(&bytes);
        let _ = read(&[three(), vec![0; zeros], bytes].concat());
    }
}
