use super::*;
use crate::testkit::{PHONE, RECOVERY, credentials};
use crate::words::{DeviceId, Step, WallTime};

const NOW: Now = Now { wall: WallTime(1_700_000_010_000), boot: 0, boot_id: [1; 8] };
const WINDOW: Window = Window { past: 1, future: 0 };

fn hit(device: DeviceId, step: u64) -> Option<Hit> {
    Some(Hit { device, step: Step(step) })
}

#[test]
fn a_recovery_code_is_one_by_selector_and_by_hash() {
    let weigh = |text: &str| Evidence::of(&Typed::parse(text.as_bytes()).unwrap(), &credentials(), WINDOW, NOW);
    assert_eq!(weigh(RECOVERY[0]), Evidence::Recovery(Selector(*b"AAAA")));
    assert_eq!(weigh(&RECOVERY[0].replace("4444", "4445")), Evidence::NoRecovery);
    assert_eq!(weigh(&RECOVERY[0].replace("AAAA", "EEEE")), Evidence::NoRecovery);
}

#[test]
fn the_second_code_follows_only_the_next_step_of_the_same_device() {
    let other = DeviceId(*b"tabl");
    let table = [
        (hit(PHONE, 10), hit(PHONE, 11), true),
        (hit(PHONE, 10), hit(PHONE, 10), false),
        (hit(PHONE, 10), hit(PHONE, 12), false),
        (hit(PHONE, 10), hit(PHONE, 9), false),
        (hit(PHONE, 10), hit(other, 11), false),
        (hit(PHONE, 10), None, false),
        (None, hit(PHONE, 11), false),
        (None, None, false),
    ];
    for (first, second, expected) in table {
        assert_eq!(follows(first, second), expected, "{first:?} {second:?}");
    }
}

#[test]
fn what_is_recorded_is_what_was_found() {
    let found = Evidence::Code { hit: hit(PHONE, 11).unwrap(), offset: 0 };
    assert_eq!(found.act(None), Act::Attempt { hit: hit(PHONE, 11) });
    assert_eq!(found.act(Some(hit(PHONE, 10))), Act::Second { hit: hit(PHONE, 11), follows: true });
    assert_eq!(found.act(Some(None)), Act::Second { hit: hit(PHONE, 11), follows: false });
    for nothing in [Evidence::Near(1), Evidence::NoCode] {
        assert_eq!(nothing.act(None), Act::Attempt { hit: None });
        assert_eq!(nothing.act(Some(hit(PHONE, 10))), Act::Second { hit: None, follows: false });
    }
    let selector = Selector(*b"AAAA");
    for first in [None, Some(None), Some(hit(PHONE, 10))] {
        assert_eq!(Evidence::Recovery(selector).act(first), Act::Recovery { spent: Some(selector) });
        assert_eq!(Evidence::NoRecovery.act(first), Act::Recovery { spent: None });
    }
}
