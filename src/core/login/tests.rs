use super::*;
use crate::budget::{Act, CAPACITY};
use crate::events::Outcome;
use crate::ports::LookupFailed;
use crate::testkit::{
    ALICE, DECOY_KEY, Home, PHONE, PHONE_KEY, Person, RECOVERY, SSHD_JUNK, STRANGER, Says, Seen, TABLET_KEY,
    credentials, name, says,
};
use crate::vault::{Credentials, Revocation};
use crate::verdict::Cause::{self, *};
use crate::words::{DeviceId, EnrollmentId, WallTime};
use proptest::prelude::*;

/// Users that differ in what they are, and of whom nobody outside may learn it.
const STRANGERS: [&str; 5] = ["bob", "mallory", "../../etc/shadow", "stale", "revoked"];
const WRONG_CODE: &str = "000000";

fn revoke(credentials: &mut Credentials) {
    credentials.revoked = Some(Revocation { time: WallTime(0), reason: "lost phone".to_owned() });
    credentials.devices.clear();
    credentials.recovery.clear();
}

/// A machine that also has a stale enrollment and a revoked one.
fn home_of_many(policy: &str) -> Home<'static> {
    let home = Home::with_policy(policy);
    for (uid, user, known_as) in [(2001, "stale", "formerly"), (2002, "revoked", "revoked")] {
        let mut other = credentials();
        (other.user, other.uid, other.enrollment) = (name(known_as), Uid(uid), EnrollmentId([uid as u8; 8]));
        if user == "revoked" {
            revoke(&mut other);
        }
        home.vault().install(&other, &[], false).unwrap();
        home.fakes.users.borrow_mut().as_mut().unwrap().push(Account { name: name(user), uid: Uid(uid) });
    }
    home
}

fn event(seen: &Seen) -> &Event {
    seen.event.as_ref().expect("an event")
}

#[test]
fn a_code_of_this_step_or_the_one_before_is_accepted() {
    for offset in [0, -1] {
        for key in [PHONE_KEY, TABLET_KEY] {
            let home = Home::new();
            let seen = home.login("alice", &[&home.code_of(key, offset)]);
            assert_eq!((seen.cause, event(&seen).offset), (Code, Some(offset)));
        }
    }
}

#[test]
fn a_wider_window_accepts_more_and_its_neighbours_are_early_or_late() {
    let expected = [(-5, Wrong), (-4, Late), (-3, Late), (-2, Code), (1, Code), (2, Early), (3, Early), (4, Wrong)];
    for (offset, cause) in expected {
        let home = Home::with_policy("[totp]\npast = 2\nfuture = 1");
        assert_eq!(home.cause("alice", &home.code_of(PHONE_KEY, offset)), cause, "{offset}");
    }
}

#[test]
fn codes_outside_the_window_are_early_or_late_or_wrong() {
    for (offset, cause) in [(-4, Wrong), (-3, Late), (-2, Late), (1, Early), (2, Early), (3, Wrong)] {
        let home = Home::new();
        let seen = home.login("alice", &[&home.code_of(PHONE_KEY, offset)]);
        assert_eq!(seen.cause, cause, "{offset}");
        assert_eq!(event(&seen).offset, (cause != Wrong).then_some(offset));
    }
}

#[test]
fn a_code_is_accepted_once_and_no_older_one_after_it() {
    let home = Home::new();
    let (now, before) = (home.code(), home.code_of(PHONE_KEY, -1));
    assert_eq!(home.cause("alice", &now), Code);
    for again in [now.clone(), format!(" {now}"), format!("{now} "), format!("{}-{}", &now[..3], &now[3..])] {
        assert_eq!(home.cause("alice", &again), Replayed, "{again:?}");
    }
    assert_eq!(home.cause("alice", &before), Replayed);
}

#[test]
fn what_cannot_be_a_code_costs_nothing() {
    let home = home_of_many("");
    let before = home.all_journals();
    let code = home.code();
    let wide: String = code.chars().map(|c| char::from_u32(c as u32 - 0x30 + 0xff10).unwrap()).collect();
    let forms = ["", "12345", "123456789", "hunter2", "correct horse battery staple", "123456\r", "1.23456", &wide];
    let more = [format!("+{code}"), format!("0{code}0{code}"), format!("{code}\0"), "9".repeat(1_000_000)];
    for form in forms.into_iter().map(str::to_owned).chain(more) {
        for user in ["alice"].iter().chain(&STRANGERS) {
            let seen = home.answer(&home.request(user), vec![says(form.as_bytes())]);
            assert_eq!(seen.cause, Malformed, "{user}: {:?}", &form[..form.len().min(40)]);
            assert_eq!(event(&seen).outcome, Outcome::Failure);
        }
    }
    let binary = home.answer(&home.request("alice"), vec![says([0xff, 0xfe, 0x00, 0x80])]);
    assert_eq!(binary.cause, Malformed);
    assert_eq!(home.all_journals(), before);
}

#[test]
fn the_account_password_in_place_of_a_code_costs_nothing_even_if_it_looks_like_one() {
    for password in ["hunter2", "123456", "12345678", "AAAA1111222233334444"] {
        let home = Home::new();
        let before = home.all_journals();
        let request = Request { password: Some(Answer::new(password.into())), ..home.request("alice") };
        assert_eq!(home.answer(&request, vec![says(password)]).cause, Password);
        assert_eq!(home.all_journals(), before);
        assert_eq!(home.answer(&request, vec![says(home.code())]).cause, Code);
    }
}

#[test]
fn what_sshd_passes_on_for_users_that_may_not_log_in_is_neither_charged_nor_logged() {
    let home = home_of_many("");
    let before = home.journal();
    for user in ["alice"].iter().chain(&STRANGERS) {
        for round in 0..CAPACITY + 3 {
            let answers = if round < CAPACITY { 1 } else { 2 };
            let junk = (0..answers).map(|_| says(SSHD_JUNK)).collect();
            let seen = home.answer(&home.request(user), junk);
            assert_eq!(seen.cause.answer(), PamAnswer::AuthErr, "{user}");
            assert_eq!(seen.event, None, "{user}");
        }
    }
    assert_eq!(home.journal(), before);
}

/// Whoever holds the other end of the connection can send anything: it must not keep his attempts out of the log.
#[test]
fn sshds_stand_in_after_another_answer_is_an_answer_and_is_logged() {
    let home = Home::new();
    home.spend_budget("alice");
    let seen = home.answer(&home.request("alice"), vec![says(home.code()), says(SSHD_JUNK)]);
    assert_eq!((seen.cause, event(&seen).user.as_ref().unwrap().as_str()), (Malformed, "alice"));
    home.wait(60);
    let seen = home.answer(&home.request("alice"), vec![says(SSHD_JUNK)]);
    assert_eq!((seen.cause.answer(), seen.event), (PamAnswer::AuthErr, None));
}

#[test]
fn a_code_after_sshds_stand_in_is_never_enough() {
    let home = Home::new();
    for _ in 0..CAPACITY {
        home.answer(&home.request("alice"), vec![says(SSHD_JUNK)]);
    }
    let seen = home.answer(&home.request("alice"), vec![says(SSHD_JUNK), says(home.code())]);
    assert_ne!(seen.cause.answer(), PamAnswer::Success);
}

#[test]
fn beyond_the_budget_two_consecutive_codes_of_one_device_log_in_and_nothing_less() {
    let table: [(&str, &str, i64, &str, i64, Cause); 9] = [
        ("two codes", PHONE_KEY, -1, PHONE_KEY, 0, TwoCodes),
        ("the other device", TABLET_KEY, -1, TABLET_KEY, 0, TwoCodes),
        ("the same twice", PHONE_KEY, 0, PHONE_KEY, 0, SecondCode),
        ("backwards", PHONE_KEY, 0, PHONE_KEY, -1, SecondCode),
        ("of two devices", PHONE_KEY, -1, TABLET_KEY, 0, SecondCode),
        ("the second too early", PHONE_KEY, 0, PHONE_KEY, 1, SecondCode),
        ("the first too late", PHONE_KEY, -2, PHONE_KEY, -1, SecondCode),
        ("the first wrong", PHONE_KEY, 7, PHONE_KEY, 0, SecondCode),
        ("the second wrong", PHONE_KEY, -1, PHONE_KEY, 7, SecondCode),
    ];
    for (what, first, at, second, then, cause) in table {
        let home = Home::new();
        home.spend_budget("alice");
        let seen = home.login("alice", &[&home.code_of(first, at), &home.code_of(second, then)]);
        assert_eq!(seen.cause, cause, "{what}");
        let prompts = &home.policy.prompts;
        assert_eq!(seen.asked, [(prompts.text.clone(), false), (prompts.second.clone(), false)], "{what}");
    }
}

#[test]
fn two_codes_that_were_accepted_are_spent() {
    let home = Home::new();
    home.spend_budget("alice");
    let (first, second) = (home.code_of(PHONE_KEY, -1), home.code());
    assert_eq!(home.login("alice", &[&first, &second]).cause, TwoCodes);
    assert_eq!(home.login("alice", &[&first, &second]).cause, Replayed);
    assert_eq!(home.login("alice", &[&second, &second]).cause, Replayed);
    home.wait(30);
    assert_eq!(home.login("alice", &[&second, &home.code()]).cause, Replayed);
    home.wait(30);
    assert_eq!(home.login("alice", &[&home.code_of(PHONE_KEY, -1), &home.code()]).cause, TwoCodes);
}

#[test]
fn the_second_code_may_take_its_time_and_no_longer_than_the_window() {
    for (waited, cause) in [(30, TwoCodes), (60, TwoCodes), (90, SecondCode)] {
        let home = Home::new();
        home.spend_budget("alice");
        let (first, second) = (home.code(), home.code_of(PHONE_KEY, 1));
        let slow: Says<'_> = Box::new(|| {
            home.wait(waited);
            Some(second.into_bytes())
        });
        assert_eq!(home.answer(&home.request("alice"), vec![says(first), slow]).cause, cause, "{waited}");
    }
}

#[test]
fn a_recovery_code_logs_in_once_at_either_prompt() {
    let home = Home::new();
    assert_eq!(home.cause("alice", RECOVERY[0]), Recovery);
    assert_eq!(home.cause("alice", RECOVERY[0]), RecoveryUsed);
    assert_eq!(home.cause("alice", "aaaa-iiil-2222-3333-4444"), RecoveryUsed, "the same in another form");
    home.spend_budget("alice");
    assert_eq!(home.login("alice", &[WRONG_CODE, RECOVERY[1]]).cause, Recovery);
    assert_eq!(home.login("alice", &[WRONG_CODE, RECOVERY[1]]).cause, RecoveryUsed);
    assert_eq!(home.cause("alice", RECOVERY[2]), Recovery, "at the first prompt the budget does not matter");
}

#[test]
fn a_recovery_code_that_is_none_is_wrong_and_costs_no_guess() {
    let home = Home::new();
    let wrong = format!("{}0", &RECOVERY[0][..19]);
    let seen = home.login("alice", &[&wrong]);
    assert_eq!(
        (seen.cause, event(&seen).budget_left, event(&seen).factor),
        (RecoveryWrong, Some(5), Some(Factor::Recovery))
    );
    assert_eq!(home.cause("alice", STRANGER), RecoveryWrong);
    assert_eq!(home.cause("mallory", STRANGER), UnknownUser);
    assert_eq!(home.cause("alice", RECOVERY[0]), Recovery);
}

#[test]
fn a_clock_that_went_back_refuses_codes_and_says_so_and_recovery_codes_work() {
    let home = Home::new();
    let (then, later) = (home.code(), home.code_of(PHONE_KEY, 4));
    assert_eq!(home.cause("alice", &then), Code);
    home.move_clock(-3600);
    assert_eq!(home.cause("alice", &home.code()), ClockBackwards, "the code that this host expects");
    assert_eq!(home.cause("alice", &then), ClockBackwards, "the one that was used");
    assert_eq!(home.cause("alice", &later), ClockBackwards, "the one that the phone shows");
    assert_eq!(home.cause("alice", RECOVERY[0]), Recovery);
    assert_eq!(home.cause("alice", RECOVERY[0]), RecoveryUsed);
    home.move_clock(3600 + 120);
    assert_eq!(home.cause("alice", &home.code()), Code);
}

#[test]
fn a_moved_clock_brings_no_guess_back() {
    let home = Home::new();
    home.spend_budget("alice");
    for by in [86_400, -86_400, 40 * 86_400] {
        home.move_clock(by);
        assert_eq!(home.login("alice", &[WRONG_CODE, WRONG_CODE]).cause, SecondCode);
    }
}

#[test]
fn nobody_learns_from_prompts_and_answers_who_is_enrolled() {
    for policy in ["", "[limits]\nmode = \"lock\"\nattempts = 3\nseconds = 60"] {
        let home = home_of_many(policy);
        for round in 0..10 {
            let two = policy.is_empty() && round >= CAPACITY;
            let answers: &[&str] = if two { &[WRONG_CODE, WRONG_CODE] } else { &[WRONG_CODE] };
            let alice = home.login("alice", answers);
            for user in STRANGERS {
                let seen = home.login(user, answers);
                assert_eq!(seen.asked, alice.asked, "{user}, round {round}");
                assert_eq!(seen.cause.answer(), alice.cause.answer(), "{user}, round {round}");
                assert_eq!(seen.told, alice.told);
            }
        }
    }
}

#[test]
fn users_without_keys_are_refused_with_their_own_reason_whatever_they_type() {
    for (user, cause) in [("bob", NotEnrolled), ("mallory", UnknownUser), ("stale", Stale), ("revoked", Revoked)] {
        let home = home_of_many("");
        assert_eq!(home.cause(user, &home.code()), cause);
        assert_eq!(home.cause(user, RECOVERY[0]), cause);
        assert_eq!(home.cause(user, WRONG_CODE), cause);
    }
}

#[test]
fn the_right_code_of_a_decoy_or_of_revoked_keys_lets_nobody_in() {
    let home = home_of_many("");
    for user in STRANGERS {
        home.spend_budget(user);
        let two = [home.code_of(DECOY_KEY, -1), home.code_of(DECOY_KEY, 0)];
        assert_eq!(home.login(user, &[&two[0], &two[1]]).cause.answer(), PamAnswer::AuthErr, "{user}");
    }
    let home = home_of_many("");
    for user in STRANGERS {
        assert_eq!(home.cause(user, &home.code_of(DECOY_KEY, 0)).answer(), PamAnswer::AuthErr, "{user}");
    }
    let revoked = Revocation { time: WallTime(0), reason: String::new() };
    home.change(|credentials| credentials.revoked = Some(revoked));
    assert_eq!(home.cause("alice", &home.code()), Revoked);
    assert_eq!(home.cause("alice", RECOVERY[0]), Revoked);
}

#[test]
fn users_without_keys_do_not_spend_each_others_budget() {
    let home = Home::new();
    let names = (0..50).map(|n| format!("nobody{n}"));
    for user in names {
        for _ in 0..CAPACITY {
            assert_eq!(home.login(&user, &[WRONG_CODE]).asked.len(), 1, "{user}");
        }
    }
}

#[test]
fn a_name_in_another_case_is_the_same_user_with_the_same_budget() {
    let home = Home::new();
    home.spend_budget("alice");
    assert_eq!(home.login("ALICE", &[WRONG_CODE, WRONG_CODE]).cause, SecondCode);
}

#[test]
fn a_uid_under_another_name_and_a_name_with_another_uid_inherit_nothing() {
    for account in [Account { name: name("eve"), uid: ALICE }, Account { name: name("alice"), uid: Uid(1001) }] {
        let home = Home::new();
        *home.fakes.users.borrow_mut() = Ok(vec![account.clone()]);
        let expected = if account.uid == ALICE { Stale } else { NotEnrolled };
        assert_eq!(home.cause(account.name.as_str(), &home.code()), expected);
    }
}

#[test]
fn a_name_service_that_fails_is_an_error_before_anybody_is_asked() {
    let home = Home::new();
    *home.fakes.users.borrow_mut() = Err(LookupFailed);
    let seen = home.login("alice", &[]);
    assert_eq!((seen.cause, seen.asked.len(), event(&seen).outcome), (Lookup, 0, Outcome::Error));
}

#[test]
fn a_failed_conversation_charges_nothing_at_the_first_prompt_and_never_succeeds_at_the_second() {
    let home = Home::new();
    let before = home.all_journals();
    let silence = || -> Says<'_> { Box::new(|| None) };
    let seen = home.answer(&home.request("alice"), vec![silence()]);
    assert_eq!((seen.cause, seen.cause.answer()), (NoConversation, PamAnswer::ConvErr));
    assert_eq!(event(&seen).outcome, Outcome::Error);
    assert_eq!(home.all_journals(), before);
    home.spend_budget("alice");
    let seen = home.answer(&home.request("alice"), vec![says(home.code()), silence()]);
    assert_eq!(seen.cause, NoConversation);
    assert_eq!(event(&seen).reason.as_str(), "no_conversation");
}

#[test]
fn without_a_clock_or_random_numbers_nobody_gets_in() {
    let home = Home::new();
    let (code, before) = (home.code(), home.all_journals());
    home.fakes.random_fails.set(true);
    assert_eq!(home.cause("alice", &code), Kernel);
    home.fakes.random_fails.set(false);
    let now = home.fakes.now.replace(None);
    assert_eq!(home.cause("alice", &code), Kernel);
    assert_eq!(home.all_journals(), before);
    home.fakes.now.set(now);
    assert_eq!(home.cause("alice", &code), Code);
}

#[test]
fn state_that_cannot_be_used_is_an_error_that_names_the_file_and_never_not_enrolled() {
    type Damage = fn(&Home<'_>);
    let table: [(&str, Damage); 8] = [
        ("state/.format", |home| std::fs::remove_file(home.state(".format")).unwrap()),
        ("state", |home| std::fs::rename(&home.policy.state_dir, home.path().join("elsewhere")).unwrap()),
        ("state/1000/credentials.toml", |home| std::fs::remove_file(home.state("1000/credentials.toml")).unwrap()),
        ("state/1000/credentials.toml", |home| {
            std::fs::write(home.state("1000/credentials.toml"), "format = 2").unwrap()
        }),
        ("state/1000/journal", |home| std::fs::remove_file(home.state("1000/journal")).unwrap()),
        ("state/1000/journal", |home| std::fs::write(home.state("1000/journal"), "").unwrap()),
        ("state/1000", |home| {
            std::fs::rename(home.state("1000"), home.state("1001"))
                .and_then(|()| std::fs::write(home.state("1000"), ""))
                .unwrap()
        }),
        ("state/1000/journal", |home| {
            let mut bytes = home.journal();
            bytes[700] ^= 1;
            std::fs::write(home.state("1000/journal"), bytes).unwrap();
        }),
    ];
    for (place, damage) in table {
        let home = Home::new();
        damage(&home);
        let seen = home.login("alice", &[&home.code()]);
        assert_eq!((seen.cause, seen.cause.answer()), (State, PamAnswer::AuthinfoUnavail), "{place}");
        let detail = event(&seen).detail.clone().unwrap();
        assert!(detail.as_str().contains(&format!("/{place}: ")), "{place}: {}", detail.as_str());
    }
}

#[test]
fn journals_of_two_users_swapped_are_an_error_for_both() {
    let home = Home::new();
    let mut bobs = credentials();
    (bobs.user, bobs.uid, bobs.enrollment) = (name("bob"), Uid(1001), EnrollmentId([2; 8]));
    home.vault().install(&bobs, &[], false).unwrap();
    let (alices, bobs) = (home.journal(), std::fs::read(home.state("1001/journal")).unwrap());
    std::fs::write(home.state("1000/journal"), bobs).unwrap();
    std::fs::write(home.state("1001/journal"), alices).unwrap();
    assert_eq!((home.cause("alice", &home.code()), home.cause("bob", &home.code())), (State, State));
}

#[test]
fn a_journal_cut_or_damaged_anywhere_never_lets_a_wrong_code_in() {
    let home = Home::with_policy("[flood]\nper_minute = 0");
    (0..2).for_each(|_| assert_eq!(home.cause("alice", WRONG_CODE), Wrong));
    let whole = home.journal();
    for length in (0..whole.len()).step_by(7) {
        std::fs::write(home.state("1000/journal"), &whole[..length]).unwrap();
        let cause = home.cause("alice", WRONG_CODE);
        assert_eq!(cause, if length < 1024 { State } else { Wrong }, "{length}");
    }
    for bit in (0..whole.len() * 8).step_by(61) {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(home.state("1000/journal"), bytes).unwrap();
        assert_eq!(home.cause("alice", &home.code()), State, "{bit}");
    }
}

#[test]
fn a_lock_refuses_right_codes_with_its_own_answer_and_ends() {
    let home = Home::with_policy("[limits]\nmode = \"lock\"\nattempts = 3\nseconds = 60");
    (0..3).for_each(|_| assert_eq!(home.cause("alice", WRONG_CODE), Wrong));
    let seen = home.login("alice", &[&home.code()]);
    assert_eq!((seen.cause, seen.cause.answer()), (Locked, PamAnswer::MaxTries));
    home.wait(90);
    assert_eq!(home.cause("alice", &home.code()), Code);
}

#[test]
fn after_too_many_failures_in_a_row_codes_are_refused_and_recovery_codes_are_not() {
    let home = Home::with_policy("[limits]\ndisable_after = 4");
    (0..4).for_each(|_| assert_eq!(home.cause("alice", WRONG_CODE), Wrong));
    assert_eq!(home.cause("alice", &home.code()), Disabled);
    assert_eq!(home.cause("alice", RECOVERY[0]), Recovery);
    home.wait(30);
    assert_eq!(home.cause("alice", &home.code()), Code);
}

#[test]
fn without_an_enabled_device_codes_are_refused_and_recovery_codes_are_not() {
    let home = Home::new();
    home.change(|credentials| credentials.devices.iter_mut().for_each(|device| device.enabled = false));
    assert_eq!(home.cause("alice", &home.code()), NoDevice);
    assert_eq!(home.cause("alice", RECOVERY[0]), Recovery);
}

#[test]
fn a_disabled_device_is_as_good_as_none() {
    let home = Home::new();
    home.change(|credentials| credentials.devices[0].enabled = false);
    assert_eq!(home.cause("alice", &home.code_of(PHONE_KEY, 0)), Wrong);
    assert_eq!(home.cause("alice", &home.code_of(TABLET_KEY, 0)), Code);
}

#[test]
fn too_many_answers_from_one_source_are_refused_unseen() {
    let home = Home::with_policy("[flood]\nper_minute = 3");
    (0..3).for_each(|_| assert_eq!(home.cause("mallory", WRONG_CODE), UnknownUser));
    let before = home.all_journals();
    assert_eq!(home.cause("alice", &home.code()), Flooded);
    assert_eq!(home.all_journals(), before);
    let elsewhere = Request { rhost: Some(b"192.0.2.8".to_vec()), ..home.request("alice") };
    assert_eq!(home.answer(&elsewhere, vec![says(home.code())]).cause, Code);
}

/// Runs something while the person has the prompt before his eyes, then types.
fn meanwhile<'a>(act: impl FnOnce() + 'a, text: String) -> Says<'a> {
    Box::new(move || {
        act();
        Some(text.into_bytes())
    })
}

#[test]
fn what_changes_while_the_prompt_is_open_counts() {
    type Change = fn(&Home<'_>);
    let table: [(Change, Cause); 4] = [
        (|home| home.change(revoke), Revoked),
        (|home| home.vault().remove(ALICE).unwrap(), NotEnrolled),
        (|home| home.change(|credentials| credentials.devices[0].enabled = false), Wrong),
        (
            |home| {
                let mut fresh = credentials();
                fresh.enrollment = EnrollmentId([3; 8]);
                fresh.devices.remove(0);
                home.vault().install(&fresh, &[], true).unwrap();
            },
            Wrong,
        ),
    ];
    for (change, cause) in table {
        let home = Home::new();
        let code = home.code();
        let seen = home.answer(&home.request("alice"), vec![meanwhile(|| change(&home), code)]);
        assert_eq!(seen.cause, cause);
    }
    let home = Home::new();
    home.vault().remove(ALICE).unwrap();
    let install = || home.vault().install(&credentials(), &[], false).unwrap();
    let seen = home.answer(&home.request("alice"), vec![meanwhile(install, home.code())]);
    assert_eq!(seen.cause, Code, "who enrolls while the prompt is open may use what he enrolled");
}

#[test]
fn what_changes_between_the_two_codes_counts() {
    let home = Home::new();
    home.spend_budget("alice");
    let second = meanwhile(|| home.change(revoke), home.code());
    let seen = home.answer(&home.request("alice"), vec![says(home.code_of(PHONE_KEY, -1)), second]);
    assert_eq!(seen.cause, Revoked);
}

#[test]
fn what_changes_between_reading_the_keys_and_the_verdict_refuses_a_right_code() {
    type Change = fn(&Vault);
    fn rewrite(vault: &Vault, change: impl FnOnce(&mut Credentials)) {
        let room = vault.lock(ALICE).unwrap().unwrap();
        let (mut credentials, _) = room.credentials().unwrap();
        change(&mut credentials);
        room.replace_credentials_if(&credentials, || Ok(())).unwrap();
    }
    let table: [Change; 4] = [
        |vault| rewrite(vault, revoke),
        |vault| rewrite(vault, |_| {}),
        |vault| vault.remove(ALICE).unwrap(),
        |vault| vault.install(&credentials(), &[], true).unwrap(),
    ];
    for (number, change) in table.into_iter().enumerate() {
        let home = Home::new();
        let vault = home.vault();
        *home.fakes.between.borrow_mut() = Some(Box::new(move || change(&vault)));
        let seen = home.login("alice", &[&home.code()]);
        assert!(home.fakes.between.borrow().is_none(), "the hook did not run");
        assert_eq!(seen.cause, State, "change {number}");
        assert!(event(&seen).detail.is_some());
    }
}

#[test]
fn a_success_tells_what_failed_before_it_and_silence_is_kept_where_asked_for() {
    for silent in [false, true] {
        let home = Home::new();
        home.cause("alice", WRONG_CODE);
        home.wait(60);
        home.cause("alice", WRONG_CODE);
        let request = Request { silent, ..home.request("alice") };
        let told = home.answer(&request, vec![says(home.code())]).told;
        let notice = "2 failed attempts with a wrong code since the last login: 2 from 192.0.2.7; \
                      the last one at 2023-11-14T22:14:30.000Z.";
        assert_eq!(told, if silent { vec![] } else { vec![notice.to_owned()] });
        home.wait(60);
        assert!(home.answer(&request, vec![says(home.code())]).told.is_empty());
    }
}

#[test]
fn a_failure_tells_nothing() {
    let home = Home::new();
    (0..CAPACITY).for_each(|_| assert!(home.login("alice", &[WRONG_CODE]).told.is_empty()));
    assert!(home.login("alice", &[WRONG_CODE, WRONG_CODE]).told.is_empty());
    home.cause("alice", RECOVERY[0]);
    assert_eq!(home.login("alice", &[RECOVERY[0]]).told, Vec::<String>::new());
}

#[test]
fn a_recovery_code_tells_how_many_are_left() {
    let home = Home::new();
    let told = RECOVERY.map(|code| home.login("alice", &[code]).told.concat());
    assert_eq!(
        told,
        [
            "That recovery code is spent; 2 are left.",
            "That recovery code is spent; 1 is left. Ask for new ones.",
            "That was the last recovery code. Ask for new ones."
        ]
    );
}

#[test]
fn an_attempt_without_time_or_source_is_told_as_a_number() {
    let failures = Failures { count: 1, ..Failures::default() };
    assert_eq!(failed_notice(&failures), "1 failed attempt with a wrong code since the last login.");
}

#[test]
fn the_event_of_a_success_says_who_where_how_and_with_what() {
    let home = Home::new();
    let seen = home.login("ALICE", &[&home.code_of(TABLET_KEY, -1)]);
    let event = event(&seen);
    assert_eq!(event.user.as_ref().map(UserName::as_str), Some("alice"), "the canonical name");
    assert_eq!((event.uid, event.outcome, event.reason.as_str()), (Some(ALICE), Outcome::Success, "code"));
    assert_eq!(event.source.to_string(), "192.0.2.7");
    assert_eq!((event.factor, event.offset, event.budget_left), (Some(Factor::Totp), Some(-1), Some(5)));
    assert_eq!(event.device.as_ref().map(|(id, _)| *id), Some(DeviceId(*b"tabl")));
    assert_eq!((event.enrollment, event.detail.as_ref()), (Some(credentials().enrollment), None));
    assert_eq!((event.time, event.scene.service.as_str()), (WallTime(1_700_000_010_000), "sshd"));
    assert!(event.duration_us > 0);
    let last = home.journal();
    let id = &last[last.len() - 128 + 16..][..8];
    assert_eq!(event.id.0, id, "the id of the record in the journal");
}

#[test]
fn the_event_of_a_failure_says_what_is_left_and_the_one_of_a_stranger_names_nobody() {
    let home = home_of_many("");
    for left in [4, 3, 2, 1, 0] {
        let seen = home.login("alice", &[WRONG_CODE]);
        assert_eq!((event(&seen).budget_left, event(&seen).reason.as_str()), (Some(left), "wrong"));
    }
    for (user, uid) in [("mallory", None), ("../../etc/shadow", None), ("bob", Some(Uid(1001)))] {
        let seen = home.login(user, &[WRONG_CODE]);
        let event = event(&seen);
        assert_eq!((event.uid, event.budget_left, event.enrollment, event.device.as_ref()), (uid, None, None, None));
        assert_eq!(event.user.is_some(), uid.is_some());
    }
}

#[test]
fn every_login_leaves_a_checkpoint_where_one_is_due() {
    let record = |n: u64| Entry {
        id: AttemptId(n.to_le_bytes()),
        now: Now { wall: WallTime(0), boot: 0, boot_id: [1; 8] },
        source: [1; 17],
        service: [0; 16],
        tag: [0; 8],
        silent: false,
        act: Act::Recovery { spent: None },
    };
    let long: Vec<_> = (0..128).map(record).collect();
    for (records, added) in [(127, 128), (128, 128 + 1024)] {
        let home = Home::new();
        home.write_journal(&long[..records]);
        let before = home.journal().len();
        let code = home.code();
        assert_eq!(home.cause("alice", &code), Code);
        assert_eq!(home.journal().len(), before + added, "{records}");
        assert_eq!(home.cause("alice", &code), Replayed);
    }
}

#[test]
fn what_failed_is_told_by_the_next_login_that_can_speak() {
    let home = Home::new();
    assert_eq!(home.cause("alice", WRONG_CODE), Wrong);
    let silent = Request { silent: true, ..home.request("alice") };
    let quiet = home.answer(&silent, vec![says(home.code_of(PHONE_KEY, -1))]);
    assert_eq!((quiet.cause, quiet.told.len()), (Code, 0));
    let loud = home.login("alice", &[home.code().as_str()]);
    assert_eq!((loud.cause, loud.told.len()), (Code, 1));
}

#[test]
fn every_request_asks_with_the_words_and_the_echo_of_the_policy() {
    let home = Home::with_policy("[prompt]\ntext = \"Code? \"\nsecond = \"And the next? \"\necho = true");
    home.spend_budget("alice");
    let seen = home.login("alice", &[WRONG_CODE, WRONG_CODE]);
    assert_eq!(seen.asked, [("Code? ".to_owned(), true), ("And the next? ".to_owned(), true)]);
}

/// A text typed at a prompt, of letters and signs that nothing in an event line has in such a row.
fn any_answer() -> impl Strategy<Value = String> {
    prop_oneof![
        "[g-z]{2}[G-Z!$%&]{6,20}",
        "[0-9]{6}",
        "[0-9]{3} [0-9]{3}",
        "(AAAA|BBBB)[0-9A-HJKMNP-TV-Z]{16}",
        Just(PHONE_KEY.to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn no_event_line_holds_a_key_or_what_was_typed(
        typed in proptest::collection::vec(any_answer(), 2),
        user in prop_oneof![Just("alice"), Just("bob"), Just("mallory")],
        is_right: bool,
        is_spent: bool,
        password in any_answer(),
    ) {
        let home = Home::new();
        if is_spent {
            home.spend_budget(user);
        }
        let first = if is_right { home.code_of(PHONE_KEY, -1) } else { typed[0].clone() };
        let second = if is_right { home.code() } else { typed[1].clone() };
        let request = Request { password: Some(Answer::new(password.clone().into())), ..home.request(user) };
        let world = World { directory: &home.fakes, clock: &home.fakes, random: &home.fakes, events: &home.fakes };
        let mut person = Person { answers: [says(&first), says(&second)].into(), ..Person::default() };
        login(&request, &home.policy, &mut person, &world);
        let event = home.fakes.log.borrow_mut().pop().unwrap();
        for line in [event.syslog_line(), event.json_line("host", None), format!("{event:?}")] {
            for secret in [&first, &second, &password, &PHONE_KEY.to_owned(), &TABLET_KEY.to_owned()] {
                prop_assert!(!line.contains(secret.as_str()), "{secret:?} in {line}");
            }
        }
    }
}

#[test]
fn the_device_of_a_replayed_code_is_named() {
    let home = Home::new();
    let code = home.code();
    home.cause("alice", &code);
    let seen = home.login("alice", &[&code]);
    assert_eq!(event(&seen).device.as_ref().map(|(id, _)| *id), Some(PHONE));
}

const OPEN: &str = "[[rule]]\nusers = [\"alice\", \"bob\", \"revoked\"]\naction = ";

#[test]
fn a_rule_that_skips_is_ignored_and_one_that_allows_is_success_and_nobody_is_asked() {
    for (action, cause) in [("skip", Skipped), ("allow", Exempt)] {
        let home = home_of_many(&format!("{OPEN}\"{action}\""));
        for user in ["alice", "bob"] {
            let seen = home.login(user, &[]);
            assert_eq!((seen.cause, seen.asked.len(), event(&seen).rule), (cause, 0, Some(1)), "{user}");
        }
        assert_eq!(home.cause("mallory", WRONG_CODE), UnknownUser);
    }
}

#[test]
fn a_rule_that_allows_everybody_allows_nobody_who_does_not_exist() {
    let home = Home::with_policy("[[rule]]\naction = \"allow\"");
    for user in ["mallory", "../../etc/shadow", ""] {
        assert_eq!(home.cause(user, WRONG_CODE), UnknownUser, "{user:?}");
    }
    assert_eq!(home.login("bob", &[]).cause, Exempt);
}

#[test]
fn a_revocation_outlasts_rules_that_leave_open() {
    for action in ["skip", "allow"] {
        let home = home_of_many(&format!("{OPEN}\"{action}\""));
        assert_eq!(home.cause("revoked", WRONG_CODE), Revoked, "{action}");
    }
}

#[test]
fn a_rule_that_denies_asks_as_always_and_refuses_the_right_code_without_spending_it() {
    let home = Home::with_policy("[[rule]]\nservices = [\"sshd\"]\naction = \"deny\"");
    let (code, before) = (home.code(), home.journal());
    let seen = home.login("alice", &[code.as_str()]);
    assert_eq!((seen.cause, seen.asked), (Denied, Home::new().login("alice", &[WRONG_CODE]).asked));
    assert_eq!(home.journal(), before);
    let mut elsewhere = home.request("alice");
    elsewhere.scene.service = Printable::new(b"sudo");
    assert_eq!(home.answer(&elsewhere, vec![says(code)]).cause, Code);
}

#[test]
fn a_rule_for_recovery_codes_only_refuses_the_right_code_without_spending_it() {
    let home = Home::with_policy("[[rule]]\nservices = [\"sshd\"]\naction = \"recovery-only\"");
    let code = home.code();
    assert_eq!(home.cause("alice", &code), RecoveryOnly);
    assert_eq!(home.cause("alice", RECOVERY[0]), Recovery);
    let mut elsewhere = home.request("alice");
    elsewhere.scene.service = Printable::new(b"sudo");
    assert_eq!(home.answer(&elsewhere, vec![says(code)]).cause, Code);
}

#[test]
fn a_rule_for_two_codes_asks_for_both_and_takes_nothing_less() {
    let home = || Home::with_policy("[[rule]]\naction = \"require\"\ncodes = 2");
    let (first, second) = (home().code_of(PHONE_KEY, -1), home().code());
    assert_eq!(home().login("alice", &[&first, &second]).cause, TwoCodes);
    for wrong in [[&first, &first], [&second, &first], [&second, &second], [&WRONG_CODE.to_owned(), &second]] {
        let home = home();
        assert_ne!(home.login("alice", &[wrong[0], wrong[1]]).cause.answer(), PamAnswer::Success, "{wrong:?}");
    }
    let spent = home();
    for _ in 0..20 {
        assert_eq!(spent.login("alice", &[WRONG_CODE, WRONG_CODE]).cause, SecondCode);
    }
    assert_eq!(event(&spent.login("alice", &[WRONG_CODE, WRONG_CODE])).budget_left, Some(5), "nothing is charged");
}

#[test]
fn a_rule_may_narrow_the_window() {
    let home = Home::with_policy("[[rule]]\naction = \"require\"\npast = 0");
    assert_eq!(home.cause("alice", &home.code_of(PHONE_KEY, -1)), Late);
    assert_eq!(home.cause("alice", &home.code()), Code);
}

#[test]
fn what_a_rule_cannot_know_stands_in_the_event() {
    let home = Home::with_policy("[[rule]]\nfrom = [\"192.0.2.0/24\"]\naction = \"allow\"");
    assert_eq!(home.login("alice", &[]).cause, Exempt);
    let mut request = home.request("alice");
    request.rhost = Some(b"trusted.example".to_vec());
    let seen = home.answer(&request, vec![says(home.code())]);
    let detail = event(&seen).detail.as_ref().map(|detail| detail.as_str().to_owned());
    assert_eq!(
        (seen.cause, detail.as_deref()),
        (Code, Some("rule 1: from: the source is a host name, not an address"))
    );
}

#[test]
fn a_clock_behind_the_policy_opens_nothing() {
    let mut home = Home::with_policy("[[rule]]\nuntil = 2099-01-01\naction = \"allow\"");
    assert_eq!(home.login("alice", &[]).cause, Exempt);
    home.policy.written = Some(WallTime(1_700_000_010_001));
    assert_eq!(home.cause("alice", &home.code()), Code);
}

#[test]
fn a_name_service_that_fails_for_groups_opens_nothing() {
    let home = Home::with_policy("[[rule]]\ngroups = [\"staff\"]\naction = \"allow\"");
    assert_eq!(home.login("alice", &[]).cause, Exempt);
    home.fakes.groups_fail.set(true);
    assert_eq!(home.cause("alice", &home.code()), Code);
}

#[test]
fn su_asks_its_caller_by_the_real_user_id_where_policy_says_so() {
    let home = Home::with_policy("[identity]\nsu = \"invoker\"");
    let request = |service: &[u8], real_uid: u32, ruser: &[u8]| {
        let mut request = Request { rhost: None, ..home.request("bob") };
        request.scene.service = Printable::new(service);
        (request.scene.real_uid, request.scene.ruser) = (real_uid, Printable::new(ruser));
        request
    };
    let forged = home.answer(&request(b"su", 1001, b"alice"), vec![says(home.code())]);
    assert_eq!(forged.cause, NotEnrolled, "bob calls, whatever PAM_RUSER says");
    let elsewhere = home.answer(&request(b"sudo", 1000, b"alice"), vec![says(home.code())]);
    assert_eq!(elsewhere.cause, NotEnrolled, "sudo names its caller as the user");
    let nobody = home.answer(&request(b"su", 4242, b"alice"), vec![says(home.code())]);
    assert_eq!(nobody.cause, UnknownUser);
    let seen = home.answer(&request(b"su-l", 1000, b""), vec![says(home.code())]);
    assert_eq!((seen.cause, event(&seen).uid, event(&seen).target.as_ref()), (Code, Some(ALICE), Some(&name("bob"))));
    let by_root = home.answer(&request(b"su", 0, b"root"), vec![says(home.code())]);
    assert_eq!(by_root.cause, NotEnrolled, "root has no caller");
    let other_way = Home::new().answer(&request(b"su", 1000, b"alice"), vec![says(home.code())]);
    assert_eq!(other_way.cause, NotEnrolled, "by default the target is asked");
}

#[test]
fn a_policy_that_changes_while_the_prompt_waits_is_not_judged_by() {
    let mut home = Home::new();
    let file = home.load_policy("");
    let (code, before) = (home.code(), home.journal());
    let meanwhile = || {
        std::fs::write(&file, "[totp]\npast = 0").unwrap();
        Some(code.clone().into_bytes())
    };
    let seen = home.answer(&home.request("alice"), vec![Box::new(meanwhile)]);
    assert_eq!((seen.cause, home.journal()), (Policy, before));
    home.load_policy("[totp]\npast = 0");
    assert_eq!(home.cause("alice", &code), Code);
}

#[test]
fn nobody_outside_learns_from_one_line_who_is_enrolled() {
    let home = home_of_many("[[rule]]\naction = \"require\"\ninput = \"password+code\"\n");
    for user in ["alice"].iter().chain(&STRANGERS) {
        let seen = home.login(user, &["hunter2000000"]);
        assert_eq!((seen.asked.len(), seen.handed_on.len(), seen.told.len()), (1, 0, 0), "{user}");
    }
    let junk = home.answer(&home.request("alice"), vec![says(SSHD_JUNK)]);
    assert_eq!((junk.cause, junk.event.is_none()), (UnknownUser, true));
}

#[test]
fn a_rule_that_changed_its_mind_at_a_prompt_refuses() {
    let home = Home::with_policy(
        "[[rule]]\nuntil = 2023-11-14T22:14:00Z\naction = \"require\"\n[[rule]]\naction = \"deny\"\n",
    );
    assert_eq!(home.cause("alice", &home.code()), Code);
    let late: Says<'_> = Box::new(|| {
        home.wait(60);
        Some(home.code().into_bytes())
    });
    assert_eq!(home.answer(&home.request("alice"), vec![late]).cause, Policy);
}

#[test]
fn state_that_cannot_be_read_is_not_unrevoked() {
    for action in ["allow", "skip"] {
        let home = Home::with_policy(&format!("[[rule]]\naction = \"{action}\"\n"));
        std::fs::write(home.state("1000/credentials.toml"), "damaged").unwrap();
        assert_eq!(home.answer(&home.request("alice"), vec![]).cause, State);
        std::fs::remove_file(home.state(".format")).unwrap();
        assert_eq!(home.answer(&home.request("alice"), vec![]).cause, State);
        std::fs::remove_dir_all(&home.policy.state_dir).unwrap();
        let open = if action == "allow" { Exempt } else { Skipped };
        assert_eq!(
            home.answer(&home.request("alice"), vec![]).cause,
            open,
            "nobody was revoked where there is no state"
        );
    }
}

#[test]
fn a_first_code_that_was_used_before_is_named_so() {
    let home = Home::with_policy("[totp]\nfuture = 1\n[[rule]]\naction = \"require\"\ncodes = 2\n");
    let (first, second) = (home.code(), home.code_of(PHONE_KEY, 1));
    assert_eq!(home.login("alice", &[&first, "000000"]).cause, SecondCode);
    assert_eq!(home.login("alice", &[&first, &second]).cause, Replayed);
}

#[test]
fn what_would_leave_no_line_is_not_judged_and_lets_nobody_in_whenever_the_room_went() {
    let exempt = "[[rule]]\nusers = [\"alice\"]\naction = \"allow\"\n";
    for policy in ["", exempt] {
        let home = Home::with_policy(policy);
        home.fakes.no_room.set(true);
        assert_eq!(home.answer(&home.request("alice"), Vec::new()).cause, State, "{policy}");
    }
    let skip = Home::with_policy("[[rule]]\naction = \"skip\"\n");
    skip.fakes.no_room.set(true);
    assert_eq!(skip.answer(&skip.request("alice"), Vec::new()).cause, Skipped, "as if the module were not there");
    let home = Home::new();
    let code = home.code();
    let waiting: Says<'_> = Box::new(|| {
        home.fakes.no_room.set(true);
        Some(code.clone().into_bytes())
    });
    assert_eq!(home.answer(&home.request("alice"), vec![waiting]).cause, State, "while the prompt waited");
    home.fakes.no_room.set(false);
    assert_eq!(home.cause("alice", &code), Code, "nothing was spent");
}
