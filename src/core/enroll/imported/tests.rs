use super::*;
use crate::otp::Shape;
use crate::testkit::{ALICE, Home, PHONE_KEY, TABLET_KEY, name};
use crate::vault::Revocation;
use crate::words::{Account, Source, Uid};

const BOB: Uid = Uid(1001);
const WEAK_KEY: &str = "GEZDGNBVGY3TQOJQ";

fn draft(home: &Home<'_>, key: &str) -> Draft {
    let secret = Secret::from_base32_or_weak(key).unwrap();
    Draft::with(secret, Shape::default(), Label::parse("phone").unwrap(), &home.fakes).unwrap()
}

/// Plans devices with their spent steps for a user, and stores them.
fn import(
    home: &Home<'_>,
    user: &str,
    uid: Uid,
    replace: bool,
    devices: &[(&str, Option<u64>)],
) -> Result<(), NotStored> {
    let account = Account { name: name(user), uid };
    let now = home.fakes.now.get().unwrap();
    let occasion = Occasion { account: &account, now, source: Source::Local(Uid(0)), random: &home.fakes };
    let limits = home.policy.limits;
    let mut import = Import::begin(&home.vault(), &occasion, &limits, replace)?;
    for (key, spent) in devices {
        import.add(&occasion, draft(home, key), spent.map(Step), 4)?;
    }
    import.store(&home.vault(), &occasion, &limits).map(drop)
}

/// Labels, and the highest step of each.
fn devices(home: &Home<'_>, uid: Uid) -> Vec<(String, Option<u64>)> {
    let room = home.vault().room(uid).unwrap().unwrap();
    let (credentials, _) = room.credentials().unwrap();
    let (state, _) = room.journal(&credentials).unwrap().read().unwrap().fold(&home.policy.limits);
    let row = |device: &Device| (device.label.to_string(), state.floor(device.id).map(|step| step.0));
    credentials.devices.iter().map(row).collect()
}

#[test]
fn several_devices_are_one_enrollment_and_bring_what_is_spent() {
    let home = Home::new();
    import(&home, "bob", BOB, false, &[(PHONE_KEY, Some(77)), (TABLET_KEY, None), (WEAK_KEY, Some(5))]).unwrap();
    let expected = [("phone", Some(77)), ("phone 2", None), ("phone 3", Some(5))];
    assert_eq!(devices(&home, BOB), expected.map(|(label, step)| (label.to_owned(), step)));
}

#[test]
fn beside_others_a_device_is_added_and_the_rest_stays() {
    let home = Home::new();
    let before = devices(&home, ALICE);
    import(&home, "alice", ALICE, false, &[(WEAK_KEY, Some(9))]).unwrap();
    let after = devices(&home, ALICE);
    assert_eq!((after.get(..2), after.get(2)), (before.get(..2), Some(&("phone".to_owned(), Some(9)))));
    let full = import(&home, "alice", ALICE, false, &[(WEAK_KEY, None), (WEAK_KEY, None)]);
    assert!(matches!(full, Err(NotStored::TooMany)));
    assert_eq!(devices(&home, ALICE), after, "all or nothing");
}

/// Else whoever replaces an enrollment by an import of the same key makes its used codes good again.
#[test]
fn a_replaced_device_of_the_same_key_keeps_what_was_spent_here() {
    let home = Home::new();
    import(&home, "bob", BOB, false, &[(PHONE_KEY, Some(77)), (TABLET_KEY, Some(99))]).unwrap();
    import(&home, "bob", BOB, true, &[(TABLET_KEY, Some(11)), (WEAK_KEY, None)]).unwrap();
    let expected = [("phone", Some(99)), ("phone 2", None)];
    assert_eq!(devices(&home, BOB), expected.map(|(label, step)| (label.to_owned(), step)));
}

#[test]
fn what_goes_and_cannot_be_read_may_have_seen_any_code_up_to_now() {
    let home = Home::new();
    let room = home.vault().path().join(ALICE.0.to_string());
    std::fs::write(room.join("journal"), "damaged").unwrap();
    assert!(import(&home, "alice", ALICE, false, &[(WEAK_KEY, None)]).is_err());
    import(&home, "alice", ALICE, true, &[(WEAK_KEY, None)]).unwrap();
    let now = Shape::default().step_at(home.fakes.now.get().unwrap().wall);
    assert_eq!(devices(&home, ALICE), [("phone".to_owned(), Some(now.0))]);
}

#[test]
fn a_revoked_user_and_another_one_of_the_same_id_need_a_replacement() {
    let home = Home::new();
    assert!(matches!(import(&home, "eve", ALICE, false, &[(WEAK_KEY, None)]), Err(NotStored::NeedsReplace(_))));
    let (mut credentials, _) = home.vault().room(ALICE).unwrap().unwrap().credentials().unwrap();
    credentials.revoked = Some(Revocation { time: home.fakes.now.get().unwrap().wall, reason: "lost".to_owned() });
    home.vault().install(&credentials, &[], true).unwrap();
    assert!(matches!(import(&home, "alice", ALICE, false, &[(WEAK_KEY, None)]), Err(NotStored::NeedsReplace(_))));
    import(&home, "alice", ALICE, true, &[(WEAK_KEY, None)]).unwrap();
}

#[test]
fn a_change_in_the_meantime_is_not_overwritten() {
    let home = Home::new();
    let account = Account { name: name("alice"), uid: ALICE };
    let now = home.fakes.now.get().unwrap();
    let occasion = Occasion { account: &account, now, source: Source::Local(Uid(0)), random: &home.fakes };
    let mut planned = Import::begin(&home.vault(), &occasion, &home.policy.limits, false).unwrap();
    planned.add(&occasion, draft(&home, WEAK_KEY), None, 4).unwrap();
    import(&home, "alice", ALICE, false, &[(WEAK_KEY, None)]).unwrap();
    assert!(planned.store(&home.vault(), &occasion, &home.policy.limits).is_err());
    assert_eq!(devices(&home, ALICE).len(), 3);
}

#[test]
fn what_is_used_between_the_plan_and_the_replacement_stays_used() {
    let home = Home::new();
    let account = Account { name: name("alice"), uid: ALICE };
    let now = home.fakes.now.get().unwrap();
    let occasion = Occasion { account: &account, now, source: Source::Local(Uid(0)), random: &home.fakes };
    let mut planned = Import::begin(&home.vault(), &occasion, &home.policy.limits, true).unwrap();
    planned.add(&occasion, draft(&home, PHONE_KEY), None, 4).unwrap();
    let room = home.vault().room(ALICE).unwrap().unwrap();
    let (credentials, _) = room.credentials().unwrap();
    let phone = Secret::from_base32(PHONE_KEY).unwrap();
    let device = credentials.devices.iter().find(|device| device.secret.is_same(&phone)).unwrap().id;
    let claim = note(now, occasion.source, Act::Claim(Hit { device, step: Step(1234) }), &home.fakes).unwrap();
    room.journal(&credentials).unwrap().append(&claim).unwrap();
    planned.store(&home.vault(), &occasion, &home.policy.limits).unwrap();
    assert_eq!(devices(&home, ALICE), [("phone".to_owned(), Some(1234))]);
}
