use super::*;
use proptest::prelude::*;

const HOUR: u64 = 3600 * 1000;
const DAY: u64 = 24 * HOUR;
const STEP_UP: Limits = Limits { mode: Mode::StepUp, disable_after: None };
const LOCK: Limits = Limits { mode: Mode::Lock { attempts: 3, seconds: 60 }, disable_after: None };
const NO_TIME: Now = Now { wall: WallTime(0), boot: 0, boot_id: [0; 8] };
const HOME: u8 = 1;
const AWAY: u8 = 2;

fn hit(device: u8, step: u64) -> Hit {
    Hit { device: DeviceId([device; 4]), step: Step(step) }
}

fn entry(act: Act, source: u8, now: Now) -> Entry {
    Entry { id: AttemptId([0; 8]), now, source: [source; 17], service: [0; 16], tag: [0; 8], silent: false, act }
}

/// A machine whose clock the test moves, and the journal of one user on it.
struct Story {
    state: State,
    limits: Limits,
    now: Now,
}

impl Story {
    fn new(limits: Limits) -> Self {
        let now = Now { wall: WallTime(1_700_000_000_000), boot: 0, boot_id: [1; 8] };
        Self { state: State::default(), limits, now }
    }

    fn wait(&mut self, milliseconds: u64) {
        self.now.boot += milliseconds;
        self.now.wall.0 += milliseconds;
    }

    fn reboot(&mut self, uptime: u64) {
        self.now.boot = uptime;
        self.now.boot_id[0] += 1;
    }

    fn act(&mut self, source: u8, act: Act) -> Ruling {
        self.state.apply(&entry(act, source, self.now), &self.limits)
    }

    fn wrong(&mut self, source: u8) -> Ruling {
        self.act(source, Act::Attempt { hit: None })
    }

    fn right(&mut self, source: u8, step: u64) -> Ruling {
        self.act(source, Act::Attempt { hit: Some(hit(1, step)) })
    }

    fn is_accepted(&mut self, source: u8, step: u64) -> bool {
        matches!(self.right(source, step), Ruling::Accepted(_))
    }

    fn second(&mut self, step: u64, follows: bool) -> Ruling {
        self.act(AWAY, Act::Second { hit: Some(hit(1, step)), follows })
    }

    fn recover(&mut self, letter: u8) -> Ruling {
        self.act(AWAY, Act::Recovery { spent: Some(Selector([letter; 4])) })
    }

    /// Answers that are judged by a single code until one is not.
    fn judged(&mut self, source: u8) -> usize {
        (0..100).take_while(|_| !matches!(self.wrong(source), Ruling::SecondNeeded(_))).count()
    }

    /// Wrong answers of any source until the lock.
    fn until_locked(&mut self) -> usize {
        (0..100).take_while(|_| self.wrong(AWAY) != Ruling::Locked).count()
    }
}

#[test]
fn five_answers_are_judged_and_then_one_every_six_hours() {
    let mut story = Story::new(STEP_UP);
    assert_eq!(story.judged(AWAY), 5);
    story.wait(6 * HOUR - 1);
    assert_eq!(story.judged(AWAY), 0);
    story.wait(1);
    assert_eq!(story.judged(AWAY), 1);
    story.wait(365 * DAY);
    assert_eq!(story.judged(AWAY), 5);
}

#[test]
fn a_known_source_has_five_answers_of_its_own_and_one_more_every_two_hours() {
    let mut story = Story::new(STEP_UP);
    assert!(story.is_accepted(HOME, 10));
    assert_eq!(story.judged(AWAY), 5);
    assert_eq!(story.judged(HOME), 5);
    story.wait(2 * HOUR);
    assert_eq!((story.judged(AWAY), story.judged(HOME)), (0, 1));
}

#[test]
fn a_source_that_becomes_known_starts_with_what_unknown_ones_have_left() {
    let mut story = Story::new(STEP_UP);
    for _ in 0..3 {
        assert_eq!(story.wrong(AWAY), Ruling::Wrong);
    }
    assert!(story.is_accepted(HOME, 10));
    assert_eq!((story.judged(HOME), story.judged(AWAY)), (2, 2));
}

#[test]
fn a_source_is_forgotten_after_thirty_days_or_when_four_others_are_known() {
    let mut story = Story::new(STEP_UP);
    assert!(story.is_accepted(HOME, 10));
    assert_eq!(story.judged(AWAY), 5);
    story.now.wall.0 += 30 * DAY;
    assert_eq!(story.state.left(&[HOME; 17], story.now.wall, &STEP_UP), 5);
    story.now.wall.0 += 1;
    assert_eq!(story.state.left(&[HOME; 17], story.now.wall, &STEP_UP), 0);
    assert!(matches!(story.wrong(HOME), Ruling::SecondNeeded(None)));

    let mut story = Story::new(STEP_UP);
    (0..5).for_each(|n| assert!(story.is_accepted(HOME + n, 10 + u64::from(n))));
    assert_eq!(story.state.known.len(), KNOWN);
    assert!(!story.state.known.iter().any(|known| known.source == [HOME; 17]));
}

#[test]
fn a_success_gives_its_own_answer_back_and_no_other() {
    let mut story = Story::new(STEP_UP);
    (0..50).for_each(|n| assert!(story.is_accepted(AWAY, n)));
    (0..4).for_each(|_| assert_eq!(story.wrong(AWAY), Ruling::Wrong));
    assert!(story.is_accepted(AWAY, 50));
    assert_eq!(story.judged(AWAY), 1);
}

#[test]
fn a_reboot_brings_back_no_more_than_the_new_boot_has_lasted() {
    let mut story = Story::new(STEP_UP);
    story.wait(100 * DAY);
    assert_eq!(story.judged(AWAY), 5);
    for _ in 0..20 {
        story.reboot(0);
        assert_eq!(story.judged(AWAY), 0);
    }
    story.reboot(12 * HOUR);
    assert_eq!(story.judged(AWAY), 2);
}

#[test]
fn beyond_the_budget_right_and_wrong_codes_are_asked_for_a_second_one() {
    let mut story = Story::new(STEP_UP);
    assert_eq!(story.judged(AWAY), 5);
    assert_eq!(story.wrong(AWAY), Ruling::SecondNeeded(None));
    assert_eq!(story.right(AWAY, 10), Ruling::SecondNeeded(Some(hit(1, 10))));
    assert_eq!(story.right(AWAY, 10), Ruling::SecondNeeded(None), "a step that was shown before");
}

#[test]
fn a_second_code_is_accepted_only_if_it_follows_and_is_fresh() {
    let mut story = Story::new(STEP_UP);
    story.judged(AWAY);
    assert_eq!(story.right(AWAY, 10), Ruling::SecondNeeded(Some(hit(1, 10))));
    assert_eq!(story.second(11, false), Ruling::Wrong);
    assert_eq!(story.act(AWAY, Act::Second { hit: None, follows: true }), Ruling::Wrong);
    assert!(matches!(story.second(11, true), Ruling::Accepted(_)));
    assert_eq!(story.second(11, true), Ruling::Wrong);
    assert_eq!(story.judged(AWAY), 0, "two codes bring no answer back");
}

#[test]
fn a_confirmed_code_cannot_log_in_and_the_next_can() {
    let mut story = Story::new(STEP_UP);
    assert_eq!(story.act(HOME, Act::Claim(hit(1, 10))), Ruling::Noted);
    assert_eq!(story.right(HOME, 10), Ruling::Replayed(Step(10)));
    assert_eq!(story.right(HOME, 9), Ruling::Replayed(Step(10)));
    assert!(story.is_accepted(HOME, 11));
}

#[test]
fn a_claim_never_lowers_a_step_and_an_administrator_may() {
    let mut story = Story::new(STEP_UP);
    story.act(HOME, Act::Claim(hit(1, 10)));
    story.act(HOME, Act::Claim(hit(1, 3)));
    assert_eq!(story.state.floor(DeviceId([1; 4])), Some(Step(10)));
    story.act(HOME, Act::Lower(hit(1, 3)));
    assert_eq!(story.state.floor(DeviceId([1; 4])), Some(Step(3)));
}

#[test]
fn steps_of_one_device_are_none_of_anothers() {
    let mut story = Story::new(STEP_UP);
    assert!(story.is_accepted(HOME, 10));
    assert!(matches!(story.act(HOME, Act::Attempt { hit: Some(hit(2, 9)) }), Ruling::Accepted(_)));
}

#[test]
fn recovery_codes_stand_outside_the_budget_and_are_good_once() {
    let mut story = Story::new(STEP_UP);
    (0..50).for_each(|_| assert_eq!(story.act(AWAY, Act::Recovery { spent: None }), Ruling::Wrong));
    assert_eq!(story.judged(AWAY), 5);
    assert!(matches!(story.recover(b'A'), Ruling::Accepted(_)));
    assert_eq!(story.recover(b'A'), Ruling::Spent);
    assert!(matches!(story.recover(b'B'), Ruling::Accepted(_)));
    assert_eq!(story.judged(AWAY), 0, "a recovery code brings no answer back");
}

#[test]
fn a_lock_comes_after_so_many_failures_and_lasts_so_many_seconds_of_uptime() {
    let mut story = Story::new(LOCK);
    assert_eq!(story.until_locked(), 3);
    assert_eq!(story.right(AWAY, 10), Ruling::Locked);
    story.now.wall.0 += 10 * DAY;
    assert_eq!(story.right(AWAY, 11), Ruling::Locked, "the wall clock ends no lock");
    story.wait(59_999);
    assert_eq!(story.wrong(AWAY), Ruling::Locked);
    story.wait(1);
    assert_eq!(story.until_locked(), 3, "after the lock the count begins anew");
    story.reboot(59_999);
    assert_eq!(story.wrong(AWAY), Ruling::Locked);
    story.wait(1);
    assert!(story.is_accepted(AWAY, 12));
}

#[test]
fn a_success_resets_the_count_towards_a_lock() {
    let mut story = Story::new(LOCK);
    for step in 0..5 {
        assert_eq!((story.wrong(AWAY), story.wrong(AWAY)), (Ruling::Wrong, Ruling::Wrong));
        assert!(story.is_accepted(AWAY, step));
    }
}

#[test]
fn a_lock_never_asks_for_a_second_code_and_a_code_typed_under_it_is_spent() {
    let mut story = Story::new(LOCK);
    story.until_locked();
    assert_eq!(story.right(AWAY, 10), Ruling::Locked);
    story.wait(60_000);
    assert_eq!(story.right(AWAY, 10), Ruling::Replayed(Step(10)));
}

#[test]
fn failures_in_a_row_disable_codes_until_an_administrator_unlocks_or_a_recovery_code_is_used() {
    let limits = Limits { disable_after: Some(7), ..STEP_UP };
    let fail = |story: &mut Story| {
        for _ in 0..7 {
            story.wait(6 * HOUR);
            assert_eq!(story.wrong(AWAY), Ruling::Wrong);
        }
        story.wait(365 * DAY);
        assert_eq!(story.right(AWAY, 10), Ruling::Disabled);
        assert_eq!(story.second(11, true), Ruling::Disabled);
    };
    let mut story = Story::new(limits);
    fail(&mut story);
    assert_eq!(story.act(AWAY, Act::Unlock), Ruling::Noted);
    assert!(story.is_accepted(AWAY, 12));
    let mut story = Story::new(limits);
    fail(&mut story);
    assert!(matches!(story.recover(b'A'), Ruling::Accepted(_)));
    assert!(story.is_accepted(AWAY, 12));
}

#[test]
fn an_unlock_fills_the_budget_and_ends_a_lock_and_forgets_no_step() {
    let mut story = Story::new(STEP_UP);
    assert!(story.is_accepted(HOME, 10));
    assert_eq!((story.judged(AWAY), story.judged(HOME)), (5, 5));
    story.act(AWAY, Act::Unlock);
    assert_eq!((story.judged(AWAY), story.judged(HOME)), (5, 5));
    story.act(AWAY, Act::Unlock);
    assert_eq!(story.right(HOME, 10), Ruling::Replayed(Step(10)));
    let mut story = Story::new(LOCK);
    story.until_locked();
    story.act(AWAY, Act::Unlock);
    assert_eq!(story.until_locked(), 3);
}

#[test]
fn two_codes_are_asked_until_the_time_given_wherever_one_comes_from_or_until_an_unlock() {
    let mut story = Story::new(STEP_UP);
    assert!(story.is_accepted(1, 10));
    let until = WallTime(story.now.wall.0 + HOUR);
    assert_eq!(story.act(0, Act::StepUp { until }), Ruling::Noted);
    // A shorter time given later does not end it early.
    assert_eq!(story.act(0, Act::StepUp { until: WallTime(1) }), Ruling::Noted);
    assert_eq!(story.right(1, 11), Ruling::SecondNeeded(Some(hit(1, 11))));
    assert!(matches!(story.second(12, true), Ruling::Accepted(_)));
    assert_eq!(story.right(1, 13), Ruling::SecondNeeded(Some(hit(1, 13))), "not once only");
    assert!(matches!(story.recover(b'A'), Ruling::Accepted(_)), "a recovery code needs no second");
    story.wait(HOUR);
    assert!(story.is_accepted(1, 20), "it ends by itself");
    let until = WallTime(story.now.wall.0 + HOUR);
    story.act(0, Act::StepUp { until });
    story.act(0, Act::Unlock);
    assert!(story.is_accepted(1, 21), "an administrator ends it");
}

#[test]
fn a_torn_record_costs_an_answer_of_unknown_sources_and_tells_no_time() {
    let torn = entry(Act::Torn, 0, NO_TIME);
    let mut story = Story::new(STEP_UP);
    assert_eq!(story.wrong(AWAY), Ruling::Wrong);
    let last = story.now.wall;
    (0..2).for_each(|_| assert_eq!(story.state.apply(&torn, &STEP_UP), Ruling::Wrong));
    assert_eq!(story.judged(AWAY), 2);
    let Ruling::Accepted(failures) = story.recover(b'A') else { panic!("refused") };
    assert_eq!((failures.count, failures.last, failures.sources), (5, last, vec![([AWAY; 17], 3)]));
}

#[test]
fn a_login_is_told_what_failed_before_it_and_no_more() {
    let mut story = Story::new(STEP_UP);
    (10..16).for_each(|source| assert!(matches!(story.wrong(source), Ruling::Wrong | Ruling::SecondNeeded(_))));
    let last = story.now.wall;
    story.wait(7 * HOUR);
    let Ruling::Accepted(failures) = story.right(HOME, 10) else { panic!("refused") };
    assert_eq!((failures.count, failures.last, failures.sources.len()), (5, last, BLAMED));
    let Ruling::Accepted(failures) = story.right(HOME, 11) else { panic!("refused") };
    assert_eq!(failures, Failures::default());
    assert_eq!(story.state.last_login.unwrap().source, [HOME; 17]);
}

/// What happens before a record: time passes, or the machine starts again; the wall clock goes anywhere.
#[derive(Clone, Debug)]
struct Scene {
    boots: bool,
    milliseconds: u64,
    wall: u64,
    source: u8,
    act: Act,
}

fn any_hit() -> impl Strategy<Value = Option<Hit>> {
    proptest::option::of((1_u8..3, 0_u64..12).prop_map(|(device, step)| hit(device, step)))
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => Just(Act::Attempt { hit: None }),
        6 => any_hit().prop_map(|hit| Act::Attempt { hit }),
        2 => (any_hit(), any::<bool>()).prop_map(|(hit, follows)| Act::Second { hit, follows }),
        1 => proptest::option::of(b'A'..b'E').prop_map(|letter| Act::Recovery { spent: letter.map(|l| Selector([l; 4])) }),
        1 => any_hit().prop_map(|hit| hit.map_or(Act::Torn, Act::Claim)),
    ]
}

fn any_scenes() -> impl Strategy<Value = Vec<Scene>> {
    let milliseconds = prop_oneof![3 => 0..HOUR / 10, 2 => 0..3 * HOUR, 1 => 0..12 * HOUR];
    let scene = (proptest::bool::weighted(0.05), milliseconds, 0..40 * DAY, 0_u8..7, any_act())
        .prop_map(|(boots, milliseconds, wall, source, act)| Scene { boots, milliseconds, wall, source, act });
    proptest::collection::vec(scene, 0..80)
}

fn any_limits() -> impl Strategy<Value = Limits> {
    let lock = (1_u32..5, 1_u32..20_000).prop_map(|(attempts, seconds)| Mode::Lock { attempts, seconds });
    let mode = prop_oneof![Just(Mode::StepUp), lock];
    (mode, proptest::option::of(1_u32..20)).prop_map(|(mode, disable_after)| Limits { mode, disable_after })
}

/// The records of a story, each with the uptime that it really has.
fn play(scenes: &[Scene]) -> Vec<(u64, Entry)> {
    let (mut now, mut uptime) = (Now { wall: WallTime(0), boot: 0, boot_id: [1; 8] }, 0);
    let record = |scene: &Scene| {
        if scene.boots {
            now = Now { boot: 0, boot_id: [now.boot_id[0].wrapping_add(1).max(1); 8], ..now };
        }
        now.boot += scene.milliseconds;
        uptime += scene.milliseconds;
        now.wall = WallTime(scene.wall);
        (uptime, entry(scene.act, scene.source, if scene.act == Act::Torn { NO_TIME } else { now }))
    };
    scenes.iter().map(record).collect()
}

/// No span of the times holds more of them than a full bucket and what came back since.
fn keeps_to_budget(times: &[u64], refill: u64) -> bool {
    let spans = (0..times.len()).flat_map(|from| (from..times.len()).map(move |to| (from, to)));
    spans
        .map(|(from, to)| ((to - from) as u64 + 1, times[to] - times[from]))
        .all(|(n, span)| n <= CAPACITY + span / refill)
}

proptest! {
    /// Answers that were judged by a single code and not accepted, which is what guessing is.
    #[test]
    fn no_span_of_uptime_has_more_judged_guesses_than_the_budget(scenes in any_scenes()) {
        let mut state = State::default();
        let mut unknown = Vec::new();
        let mut known: Vec<(SourceKey, Vec<u64>)> = Vec::new();
        for (uptime, entry) in play(&scenes) {
            let was_known = state.known_source(&entry.source, entry.now.wall).is_some();
            let ruling = state.apply(&entry, &STEP_UP);
            match (entry.act, ruling) {
                (Act::Attempt { .. }, Ruling::Wrong | Ruling::Replayed(_)) if was_known => {
                    known.iter_mut().find(|(source, _)| *source == entry.source).unwrap().1.push(uptime);
                }
                (Act::Attempt { .. }, Ruling::Wrong | Ruling::Replayed(_)) => unknown.push(uptime),
                (_, Ruling::Accepted(_)) if !was_known => {
                    known.retain(|(source, _)| *source != entry.source);
                    known.push((entry.source, Vec::new()));
                }
                _ => {}
            }
            prop_assert!(state.known.len() <= KNOWN);
        }
        prop_assert!(keeps_to_budget(&unknown, UNKNOWN_REFILL), "unknown: {unknown:?}");
        for (_, times) in known {
            prop_assert!(keeps_to_budget(&times, KNOWN_REFILL), "known: {times:?}");
        }
    }

    #[test]
    fn nothing_but_uptime_and_an_answers_own_success_fills_a_bucket(scenes in any_scenes(), limits in any_limits()) {
        let mut state = State::default();
        let mut before = 0;
        for (uptime, entry) in play(&scenes) {
            let old = state.clone();
            state.apply(&entry, &limits);
            let gained = if entry.act == Act::Torn { 0 } else { uptime - before };
            before += gained;
            prop_assert!(state.unknown.level <= old.unknown.level + gained);
            for known in &state.known {
                let was = old.known.iter().find(|was| was.source == known.source);
                let fresh = u64::from(Bucket::unknown(old.unknown.level + gained).attempts()) * KNOWN_REFILL;
                prop_assert!(known.bucket.level <= was.map_or(0, |was| was.bucket.level + gained).max(fresh));
            }
        }
    }

    #[test]
    fn a_step_is_accepted_once_and_above_every_step_before_and_a_recovery_code_once(
        scenes in any_scenes(),
        limits in any_limits(),
    ) {
        let mut state = State::default();
        let (mut steps, mut spent) = (Vec::<Hit>::new(), Vec::new());
        for (_, entry) in play(&scenes) {
            if !matches!(state.apply(&entry, &limits), Ruling::Accepted(_)) {
                continue;
            }
            match entry.act {
                Act::Attempt { hit: Some(hit) } | Act::Second { hit: Some(hit), follows: true } => {
                    prop_assert!(steps.iter().all(|old| old.device != hit.device || old.step < hit.step));
                    steps.push(hit);
                }
                Act::Recovery { spent: Some(selector) } => {
                    prop_assert!(!spent.contains(&selector));
                    spent.push(selector);
                }
                other => prop_assert!(false, "accepted {other:?}"),
            }
        }
    }

    #[test]
    fn a_single_code_beyond_the_budget_is_never_judged_whatever_it_is(scenes in any_scenes(), guess in any_hit()) {
        let mut state = State::default();
        for (_, entry) in play(&scenes) {
            let mut probe = state.clone();
            probe.pass_time(&entry.now);
            let is_empty = probe.left(&entry.source, entry.now.wall, &STEP_UP) == 0;
            let ruling = probe.apply(&Entry { act: Act::Attempt { hit: guess }, ..entry }, &STEP_UP);
            prop_assert_eq!(matches!(ruling, Ruling::SecondNeeded(_)), is_empty, "{:?}", ruling);
            state.apply(&entry, &STEP_UP);
        }
    }

    #[test]
    fn a_lock_holds_exactly_from_the_last_attempt_it_allows_for_its_seconds_of_uptime(
        scenes in any_scenes(),
        attempts in 1_u32..5,
        seconds in 1_u32..20_000,
    ) {
        let limits = Limits { mode: Mode::Lock { attempts, seconds }, disable_after: None };
        let mut state = State::default();
        let (mut failed, mut until) = (0, 0);
        let whole: Vec<_> = scenes.into_iter().filter(|scene| scene.act != Act::Torn).collect();
        for (uptime, entry) in play(&whole) {
            let ruling = state.apply(&entry, &limits);
            let is_code = matches!(entry.act, Act::Attempt { .. } | Act::Second { .. });
            prop_assert_eq!(ruling == Ruling::Locked, is_code && uptime < until);
            match ruling {
                Ruling::Accepted(_) => (failed, until) = (0, 0),
                Ruling::Wrong | Ruling::Replayed(_) if is_code => failed += 1,
                _ => {}
            }
            if failed == attempts {
                (failed, until) = (0, uptime + u64::from(seconds) * 1000);
            }
        }
    }
}

#[test]
fn records_that_arrive_out_of_order_bring_no_answer_back() {
    let mut story = Story::new(STEP_UP);
    story.wait(DAY);
    story.judged(AWAY);
    for _ in 0..10 {
        let late = Now { boot: story.now.boot - 5 * HOUR, ..story.now };
        for now in [late, story.now] {
            let ruling = story.state.apply(&entry(Act::Attempt { hit: None }, AWAY, now), &STEP_UP);
            assert_eq!(ruling, Ruling::SecondNeeded(None));
        }
    }
}
