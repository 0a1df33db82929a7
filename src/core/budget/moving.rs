//! The state of an enrollment that moves to another machine. No login comes here.

use super::{Bucket, FLOORS, Hit, KNOWN, Known, SPENT, SourceKey, State};
use crate::otp::recovery::Selector;
use crate::words::{DeviceId, Now, Source, Uid};

impl State {
    /// Takes a state that another machine handed over into this one: its clocks go on from now, so that neither the way here nor
    /// this machine's uptime refills anything, and the user's own id is the one that he has here. Who else came in locally
    /// there is somebody else here, and is forgotten.
    #[must_use]
    pub fn arrived(mut self, now: &Now, from: Uid, to: Uid) -> Self {
        (self.boot_id, self.boot) = (now.boot_id, now.boot);
        let (old, new) = (Source::Local(from).key(), Source::Local(to).key());
        let is_other = |source: &SourceKey| matches!(Source::from_key(source), Some(Source::Local(uid)) if uid != from);
        self.known.retain(|known| !is_other(&known.source));
        let last = self.last_login.iter_mut().map(|last| &mut last.source);
        let failed = self.failures.sources.iter_mut().map(|(source, _)| source);
        let sources = self.known.iter_mut().map(|known| &mut known.source).chain(last).chain(failed);
        sources.filter(|source| **source == old).for_each(|source| *source = new);
        self
    }

    /// Whatever is stricter of two states of one enrollment: the higher steps, the recovery codes that are spent in either, the
    /// attempts that are left in both. Of more than can be kept, what belongs to these devices and recovery codes stays.
    #[must_use]
    pub fn stricter(mut self, other: &Self, devices: &[DeviceId], recovery: &[Selector]) -> Self {
        other.floors.iter().for_each(|floor| self.claim_unbounded(*floor));
        keep(&mut self.floors, FLOORS, |floor| devices.contains(&floor.device));
        let more: Vec<_> = other.spent.iter().filter(|selector| !self.spent.contains(selector)).copied().collect();
        self.spent.extend(more);
        keep(&mut self.spent, SPENT, |selector| recovery.contains(selector));
        self.unknown = least(self.unknown, other.unknown);
        other.known.iter().for_each(|known| self.know(known));
        if self.known.len() > KNOWN {
            self.known.sort_by_key(|known| known.last);
            keep(&mut self.known, KNOWN, |_| true);
        }
        self.failed_in_a_row = self.failed_in_a_row.max(other.failed_in_a_row);
        self.strikes = self.strikes.max(other.strikes);
        self.locked_at = self.locked_at.max(other.locked_at.map(|since| {
            let held_for = other.uptime.saturating_sub(since);
            self.uptime.saturating_sub(held_for)
        }));
        self.stepped_up = self.stepped_up.max(other.stepped_up);
        if other.failures.count > self.failures.count {
            self.failures = other.failures.clone();
        }
        if other.last_login.map(|last| last.time) > self.last_login.map(|last| last.time) {
            self.last_login = other.last_login;
        }
        self
    }

    /// Refuses the codes of these devices up to these steps.
    pub fn refuse_up_to(&mut self, steps: impl Iterator<Item = Hit>) {
        steps.for_each(|hit| self.claim(hit));
    }

    fn claim_unbounded(&mut self, hit: Hit) {
        match self.floors.iter_mut().find(|floor| floor.device == hit.device) {
            Some(floor) => floor.step = floor.step.max(hit.step),
            None => self.floors.push(hit),
        }
    }

    fn know(&mut self, other: &Known) {
        match self.known.iter_mut().find(|known| known.source == other.source) {
            Some(known) => {
                known.bucket = least(known.bucket, other.bucket);
                known.last = known.last.max(other.last);
            }
            None => self.known.push(*other),
        }
    }
}

fn least(one: Bucket, other: Bucket) -> Bucket {
    if one.level() <= other.level() { one } else { other }
}

/// Cuts a list at its beginning, after what must stay was moved to its end.
fn keep<T: Copy>(list: &mut Vec<T>, most: usize, must_stay: impl Fn(&T) -> bool) {
    if list.len() > most {
        list.sort_by_key(|item| must_stay(item));
        list.drain(..list.len().saturating_sub(most));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::{Act, Entry, Limits, Mode};
    use crate::words::{AttemptId, Step, WallTime};
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { mode: Mode::StepUp, disable_after: None };
    const NOW: Now = Now { wall: WallTime(1_700_000_000_000), boot: 90 * 24 * 3600 * 1000, boot_id: [9; 8] };

    fn hit_of(device: u8, step: u64) -> Hit {
        Hit { device: DeviceId([device; 4]), step: Step(step) }
    }

    fn plain() -> Entry {
        let now = Now { wall: WallTime(5), boot: 5, boot_id: [1; 8] };
        let (source, act) = ([3; 17], Act::Attempt { hit: None });
        Entry { id: AttemptId([1; 8]), now, source, service: [0; 16], tag: [0; 8], silent: false, act }
    }

    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let hit = || proptest::option::of((0_u8..8, 0_u64..50).prop_map(|(device, step)| hit_of(device, step)));
        let spent = proptest::option::of((b'A'..b'U').prop_map(|letter| Selector([letter; 4])));
        let act = prop_oneof![
            6 => hit().prop_map(|hit| Act::Attempt { hit }),
            2 => hit().prop_map(|hit| Act::Second { hit, follows: true }),
            2 => spent.prop_map(|spent| Act::Recovery { spent }),
            1 => (0_u64..99).prop_map(|until| Act::StepUp { until: WallTime(until) }),
            1 => Just(Act::Torn),
        ];
        let entry = (act, 0_u64..100_000_000, 0_u64..100_000_000, 1_u8..9).prop_map(|(act, wall, boot, source)| {
            Entry { now: Now { wall: WallTime(wall), boot, boot_id: [1; 8] }, source: [source; 17], act, ..plain() }
        });
        proptest::collection::vec(entry, 0..60)
    }

    fn state(entries: &[Entry]) -> State {
        let mut state = State::default();
        entries.iter().for_each(|entry| _ = state.apply(entry, &LIMITS));
        state
    }

    proptest! {
        #[test]
        fn what_is_merged_is_never_more_open_than_either(
            one in entries(),
            other in entries(),
        ) {
            let (one, other) = (state(&one), state(&other));
            let merged = one.clone().stricter(&other, &[], &[]);
            for each in [&one, &other] {
                for floor in &each.floors {
                    prop_assert!(merged.floor(floor.device).is_some_and(|step| step >= floor.step));
                }
                prop_assert!(each.spent.iter().all(|selector| merged.spent.contains(selector)));
                prop_assert!(merged.unknown.level() <= each.unknown.level());
                prop_assert!(merged.failed_in_a_row >= each.failed_in_a_row);
                prop_assert!(merged.stepped_up >= each.stepped_up);
                prop_assert!(each.locked_at.is_none() || merged.locked_at.is_some());
                for known in &each.known {
                    let kept = merged.known.iter().find(|kept| kept.source == known.source);
                    prop_assert!(kept.is_none_or(|kept| kept.bucket.level() <= known.bucket.level()));
                }
            }
            prop_assert!(merged.known.len() <= KNOWN && merged.floors.len() <= FLOORS && merged.spent.len() <= SPENT);
            prop_assert_eq!(one.clone().stricter(&one, &[], &[]), one);
        }

        #[test]
        fn the_way_to_another_machine_refills_nothing(entries in entries()) {
            let before = state(&entries);
            let mut after = before.clone().arrived(&NOW, Uid(1), Uid(2));
            after.pass_time(&NOW);
            prop_assert_eq!(after.unknown, before.unknown);
            prop_assert_eq!((after.uptime, &after.floors, &after.spent), (before.uptime, &before.floors, &before.spent));
        }
    }

    #[test]
    fn of_more_than_can_be_kept_what_is_in_use_stays() {
        let mut old = State::default();
        old.refuse_up_to((0..8).map(|number| hit_of(number, 5)));
        let mut new = State::default();
        new.refuse_up_to((8..12).map(|number| hit_of(number, 7)));
        let devices = [DeviceId([0; 4]), DeviceId([9; 4])];
        let merged = old.stricter(&new, &devices, &[]);
        assert_eq!((merged.floor(devices[0]), merged.floor(devices[1])), (Some(Step(5)), Some(Step(7))));
        assert_eq!(merged.floors.len(), FLOORS);
    }

    #[test]
    fn somebody_else_who_came_in_locally_is_not_known_on_the_other_machine() {
        let local = |uid: u32| Source::Local(Uid(uid)).key();
        let login =
            |uid: u32, step| Entry { source: local(uid), act: Act::Attempt { hit: Some(hit_of(1, step)) }, ..plain() };
        let state = state(&[login(7, 1), login(1000, 2)]).arrived(&NOW, Uid(1000), Uid(2000));
        let known: Vec<_> = state.known.iter().map(|known| known.source).collect();
        assert_eq!(known, [local(2000)]);
        assert_eq!(state.last_login.unwrap().source, local(2000));
    }

    #[test]
    fn a_lock_holds_on_as_long_as_it_would_have() {
        let limits = Limits { mode: Mode::Lock { attempts: 1, seconds: 60 }, disable_after: None };
        let mut state = State::default();
        state.apply(&plain(), &limits);
        let mut moved = state.arrived(&NOW, Uid(1), Uid(1));
        assert!(moved.is_locked(&limits));
        moved.pass_time(&Now { boot: NOW.boot + 59_000, ..NOW });
        assert!(moved.is_locked(&limits));
        moved.pass_time(&Now { boot: NOW.boot + 61_000, ..NOW });
        assert!(!moved.is_locked(&limits));
    }
}
