use super::record::tests::{ENROLLMENT, entry as any_entry};
use super::*;
use crate::budget::{Hit, Mode};
use crate::testkit::private_folder;
use crate::words::{DeviceId, Step};
use proptest::prelude::*;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const LIMITS: Limits = Limits { mode: Mode::StepUp, disable_after: None };
const NOW: Now = Now { wall: WallTime(1_700_000_000_000), boot: 1000, boot_id: [1; 8] };
const WRONG: Act = Act::Attempt { hit: None };

fn entry(id: u64, act: Act) -> Entry {
    let id = AttemptId(id.to_le_bytes());
    Entry { id, now: NOW, source: [1; 17], service: [0; 16], tag: [0; 8], act }
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
        folder.replace(NAME, &Journal::fresh(ENROLLMENT, &State::default(), entries), RESERVE).unwrap();
        Self { dir, folder }
    }

    fn open(&self) -> Journal<'_> {
        Journal::open(&self.folder, ENROLLMENT).unwrap()
    }

    fn append(&self, entry: &Entry) -> Ruling {
        let journal = self.open();
        journal.append(entry).unwrap();
        journal.read().unwrap().rule_on(entry.id, entry.tag, &LIMITS).unwrap().1
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

fn acts(bytes: &[u8]) -> Result<Vec<Act>, String> {
    parse(bytes, ENROLLMENT).map(|history| history.entries.iter().map(|entry| entry.act).collect())
}

fn three() -> Vec<u8> {
    Journal::fresh(ENROLLMENT, &State::default(), &[right(1, 10), entry(2, WRONG), right(3, 11)])
}

#[test]
fn what_is_appended_is_read_back_in_order() {
    let desk = Desk::new(&[]);
    let entries = [right(1, 10), entry(2, WRONG), right(3, 10)];
    assert!(matches!(desk.append(&entries[0]), Ruling::Accepted(_)));
    assert_eq!(desk.append(&entries[1]), Ruling::Wrong);
    assert_eq!(desk.append(&entries[2]), Ruling::Replayed(Step(10)));
    assert_eq!(desk.open().read().unwrap().entries, entries);
}

#[test]
fn appending_keeps_within_what_was_set_aside_and_sets_more_aside_in_time() {
    use std::os::unix::fs::MetadataExt;
    let desk = Desk::new(&[]);
    let set_aside = || desk.path().metadata().unwrap().blocks() * 512;
    assert!(set_aside() >= RESERVE);
    let records = (RESERVE as usize - HEADER) / RECORD;
    let most: Vec<_> = (0..records as u64).map(|id| entry(id, WRONG)).collect();
    let desk = Desk::new(&most);
    let full = desk.path().metadata().unwrap();
    assert_eq!(full.len(), RESERVE);
    for id in 0..20 {
        desk.append(&entry(10_000 + id, WRONG));
        let now = desk.path().metadata().unwrap();
        assert!(now.blocks() * 512 >= full.len() + RESERVE, "space is set aside beyond the end");
    }
    assert_eq!(desk.open().read().unwrap().records(), records + 20);
}

#[test]
fn a_record_cut_off_anywhere_counts_as_one_attempt_and_never_as_damage() {
    let whole = three();
    for kept in 1..RECORD {
        let cut = [&whole[..HEADER + RECORD + kept], &whole[HEADER + 2 * RECORD..]].concat();
        let first = parse(&whole, ENROLLMENT).unwrap().entries[0].act;
        let last = parse(&whole, ENROLLMENT).unwrap().entries[2].act;
        assert_eq!(acts(&cut), Ok(vec![first, Act::Torn, last]), "{kept} bytes in the middle");
        assert_eq!(acts(&whole[..HEADER + RECORD + kept]), Ok(vec![first, Act::Torn]), "{kept} bytes at the end");
    }
}

#[test]
fn zeros_that_a_crash_left_count_as_attempts() {
    let whole = three();
    for zeros in 1..3 * RECORD {
        let gap = [&whole[..HEADER], &vec![0; zeros], &whole[HEADER..]].concat();
        let acts = acts(&gap).unwrap();
        assert_eq!(acts.iter().filter(|act| **act == Act::Torn).count(), zeros.div_ceil(RECORD));
        assert_eq!(acts.len(), zeros.div_ceil(RECORD) + 3);
    }
}

#[test]
fn one_flipped_bit_anywhere_is_damage() {
    let mut bytes = three();
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(parse(&bytes, ENROLLMENT).is_err(), "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn a_journal_cut_to_any_length_says_less_and_nothing_else() {
    let whole = three();
    let full = acts(&whole).unwrap();
    for length in 0..whole.len() {
        match acts(&whole[..length]) {
            Err(_) => assert!(length < HEADER, "{length}"),
            Ok(acts) => {
                let records = (length - HEADER) / RECORD;
                let mut expected = full[..records].to_vec();
                expected.extend((!(length - HEADER).is_multiple_of(RECORD)).then_some(Act::Torn));
                assert_eq!(acts, expected, "{length}");
            }
        }
    }
}

#[test]
fn the_journal_of_another_enrollment_is_refused_and_so_is_a_record_of_one() {
    let other = EnrollmentId([9; 8]);
    let desk = Desk::new(&[]);
    desk.overwrite(&Journal::fresh(other, &State::default(), &[]));
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
fn a_journal_that_is_missing_or_too_large_is_trouble() {
    let desk = Desk::new(&[]);
    std::fs::OpenOptions::new().write(true).open(desk.path()).unwrap().set_len(MOST as u64 + 1).unwrap();
    assert!(desk.open().read().is_err_and(|trouble| trouble.what.contains("larger")));
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
fn compaction_under_many_appenders_loses_no_record() {
    const APPENDERS: u64 = 6;
    const EACH: u64 = 40;
    let desk = Desk::new(&[]);
    let (compacted, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    if desk.open().compact(&LIMITS, false).unwrap() {
                        compacted.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let appenders: Vec<_> = (0..APPENDERS)
            .map(|thread| {
                let desk = &desk;
                scope.spawn(move || {
                    for n in 0..EACH {
                        // A recovery code that is none adds one to the failures, which nothing here resets.
                        let entry = entry(thread * EACH + n, Act::Recovery { spent: None });
                        assert_eq!(desk.append(&entry), Ruling::Wrong);
                    }
                })
            })
            .collect();
        let ended: Vec<_> = appenders.into_iter().map(|appender| appender.join()).collect();
        done.store(true, Ordering::Relaxed);
        ended.into_iter().for_each(|end| end.unwrap());
    });
    let (state, _) = desk.open().read().unwrap().fold(&LIMITS);
    assert_eq!(u64::from(state.failures.count), APPENDERS * EACH);
    assert!(compacted.into_inner() > 0, "nothing was compacted, so nothing was tested");
    let left: Vec<_> = desk.dir.path().read_dir().unwrap().map(|item| item.unwrap().file_name()).collect();
    assert_eq!(left, [NAME]);
}

#[test]
fn a_journal_that_was_replaced_between_opening_and_locking_it_is_let_go() {
    let desk = Desk::new(&[]);
    let open = || desk.folder.file(NAME, OFlags::RDWR | OFlags::APPEND, Privacy::Secret).unwrap().unwrap().0;
    let (old, path) = (open(), desk.path());
    assert!(desk.open().compact(&LIMITS, false).unwrap());
    assert!(!hold(&desk.folder, &old, &path).unwrap());
    assert!(hold(&desk.folder, &open(), &path).unwrap());
}

#[test]
fn compaction_beside_a_login_under_way_does_nothing() {
    let desk = Desk::new(&[right(1, 10)]);
    let before = desk.bytes();
    let login = desk.open();
    assert!(!desk.open().compact(&LIMITS, false).unwrap());
    assert_eq!(desk.bytes(), before);
    drop(login);
    assert!(desk.open().compact(&LIMITS, false).unwrap());
    assert_eq!(desk.bytes().len(), HEADER);
    assert_eq!(desk.append(&right(2, 10)), Ruling::Replayed(Step(10)));
}

#[test]
fn compaction_of_a_journal_that_was_replaced_meanwhile_does_nothing() {
    let desk = Desk::new(&[right(1, 10)]);
    let late = desk.open();
    desk.overwrite(&three());
    assert!(!late.compact(&LIMITS, false).unwrap());
    assert_eq!(desk.bytes(), three());
}

#[test]
fn a_damaged_journal_is_not_compacted() {
    let desk = Desk::new(&[]);
    let mut bytes = three();
    bytes[HEADER + 40] ^= 1;
    desk.overwrite(&bytes);
    assert!(desk.open().compact(&LIMITS, false).is_err());
    assert_eq!(desk.bytes(), bytes);
}

#[test]
fn decoys_keep_their_latest_records() {
    let entries: Vec<_> = (0..DECOY_KEEPS as u64 + 50).map(|id| entry(id, WRONG)).collect();
    let desk = Desk::new(&entries);
    assert!(desk.open().compact(&LIMITS, true).unwrap());
    assert_eq!(desk.open().read().unwrap().entries, entries[50..]);
}

#[test]
fn a_frozen_login_keeps_nobody_waiting() {
    let desk = Desk::new(&[]);
    let _frozen = desk.open();
    let started = Instant::now();
    assert_eq!(desk.append(&entry(1, WRONG)), Ruling::Wrong);
    assert!(started.elapsed() < PATIENCE / 2);
}

#[test]
fn a_compaction_is_waited_for_and_one_that_never_ends_is_trouble_after_a_second() {
    let hold = |desk: &Desk| {
        let file = std::fs::File::open(desk.path()).unwrap();
        flock(&file, FlockOperation::LockExclusive).unwrap();
        file
    };
    let desk = Desk::new(&[]);
    let held = hold(&desk);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(50));
            drop(held);
        });
        assert_eq!(desk.append(&entry(1, WRONG)), Ruling::Wrong);
    });
    let _held = hold(&desk);
    let started = Instant::now();
    assert!(Journal::open(&desk.folder, ENROLLMENT).is_err());
    assert!((PATIENCE..2 * PATIENCE).contains(&started.elapsed()));
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
        for limit in (0..2000).step_by(50).map(|more| HEADER as u64 + more) {
            let limit = rustix::process::Rlimit { current: Some(limit), maximum: None };
            rustix::process::setrlimit(Resource::Fsize, limit).unwrap();
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
    file.write_at(&record[..70], (HEADER + RECORD) as u64).unwrap();
    assert_eq!(journal.read().unwrap().entries.last().unwrap().act, Act::Torn);
    file.write_at(&record[70..], (HEADER + RECORD + 70) as u64).unwrap();
    assert_eq!(journal.read().unwrap().entries.last().unwrap().act, WRONG);
}

fn any_limits() -> impl Strategy<Value = Limits> {
    let lock = (1_u32..5, 1_u32..5000).prop_map(|(attempts, seconds)| Mode::Lock { attempts, seconds });
    let mode = prop_oneof![Just(Mode::StepUp), lock];
    (mode, proptest::option::of(1_u32..9)).prop_map(|(mode, disable_after)| Limits { mode, disable_after })
}

proptest! {
    #[test]
    fn a_compacted_journal_adds_up_to_the_same_and_rules_the_same(
        entries in proptest::collection::vec(any_entry(), 0..60),
        at in 0_usize..60,
        limits in any_limits(),
    ) {
        let (before, after) = entries.split_at(at.min(entries.len()));
        let fold = |bytes: &[u8]| parse(bytes, ENROLLMENT).unwrap().fold(&limits);
        let (whole, rulings) = fold(&Journal::fresh(ENROLLMENT, &State::default(), &entries));
        let (halfway, _) = fold(&Journal::fresh(ENROLLMENT, &State::default(), before));
        let (compacted, later) = fold(&Journal::fresh(ENROLLMENT, &halfway, after));
        prop_assert_eq!(compacted, whole);
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
        let read = |entries: &[Entry]| parse(&Journal::fresh(ENROLLMENT, &State::default(), entries), ENROLLMENT).unwrap();
        let last = all.last().unwrap();
        let ruled = |history: History| history.rule_on(last.id, last.tag, &limits).unwrap();
        prop_assert_eq!(ruled(read(&all)), ruled(read(&alone(last.tag))));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), zeros in 0_usize..400) {
        let _ = parse(&bytes, ENROLLMENT);
        let _ = parse(&[three(), vec![0; zeros], bytes].concat(), ENROLLMENT);
    }
}
