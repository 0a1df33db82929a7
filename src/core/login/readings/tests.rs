use crate::budget::CAPACITY;
use crate::otp::code::Generator;
use crate::otp::{Algorithm, Secret, Shape};
use crate::testkit::{Home, PHONE_KEY, TABLET_KEY};
use crate::verdict::Cause::*;

const BOTH: &str = "[[rule]]\naction = \"require\"\ninput = \"password+code\"\n";

#[test]
fn one_line_takes_password_and_code_and_hands_the_password_on_once_the_code_was_right() {
    for password in ["hunter2", "pass word", "12345", "correct horse battery staple", "p\u{e4}ss", "123456"] {
        let home = Home::with_policy(BOTH);
        for (code, expected) in [(home.code(), Code), (home.code(), Replayed), ("000000".to_owned(), Wrong)] {
            let seen = home.login("alice", &[&format!("{password}{code}")]);
            assert_eq!(seen.cause, expected, "{password}");
            let handed_on: &[u8] = if expected == Code { password.as_bytes() } else { b"" };
            assert_eq!(seen.handed_on, handed_on);
            assert_eq!(seen.asked, [("Password and one-time code in one line: ".to_owned(), false)]);
        }
    }
}

#[test]
fn a_code_without_a_password_or_a_password_without_a_code_costs_nothing() {
    let home = Home::with_policy(BOTH);
    let before = home.all_journals();
    for answer in ["", "hunter2", &home.code(), "12345", "AAAA-1111-2222-3333-4444"] {
        let seen = home.login("alice", &[answer]);
        assert_eq!((seen.cause, seen.handed_on.len()), (Malformed, 0), "{answer}");
    }
    assert_eq!(home.all_journals(), before);
}

#[test]
fn digits_that_could_belong_to_either_are_read_as_the_devices_show_them() {
    let home = Home::with_policy(BOTH);
    home.change(|credentials| {
        credentials.devices[1].shape = Shape::new(Algorithm::Sha1, 8, 30).unwrap();
    });
    let eight = |home: &Home<'_>| {
        let secret = Secret::from_base32(TABLET_KEY).unwrap();
        let shape = Shape::new(Algorithm::Sha1, 8, 30).unwrap();
        let step = shape.step_at(home.fakes.now.get().unwrap().wall);
        Generator::new(&secret, shape).unwrap().code(step).to_text().to_string()
    };
    for code in [home.code(), eight(&home)] {
        let seen = home.login("alice", &[&format!("99{code}")]);
        assert_eq!((seen.cause, seen.handed_on.as_slice()), (Code, b"99".as_slice()));
    }
}

#[test]
fn a_recovery_code_may_end_the_line_too_as_it_was_given_out() {
    let home = Home::with_policy(BOTH);
    let seen = home.login("alice", &["hunter2AAAA-1111-2222-3333-4444"]);
    assert_eq!((seen.cause, seen.handed_on.as_slice()), (Recovery, b"hunter2".as_slice()));
    assert_eq!(home.cause("alice", "hunter2AAAA-1111-2222-3333-4444"), RecoveryUsed);
}

#[test]
fn the_second_of_two_codes_is_asked_alone_and_the_password_still_goes_on() {
    let home =
        Home::with_policy("[totp]\nfuture = 1\n[[rule]]\naction = \"require\"\ncodes = 2\ninput = \"password+code\"\n");
    let (first, second) = (home.code(), home.code_of(PHONE_KEY, 1));
    let seen = home.login("alice", &[&format!("hunter2{first}"), &second]);
    assert_eq!((seen.cause, seen.handed_on.as_slice()), (TwoCodes, b"hunter2".as_slice()));
    assert_eq!(seen.asked[1].0, "Next code, after it has changed: ");
}

#[test]
fn a_password_that_ends_like_a_recovery_code_brings_no_guess_for_nothing() {
    let home = Home::with_policy(BOTH);
    let password = "pAAAA-AAAA-AAAA-AA-";
    for _ in 0..CAPACITY {
        assert_eq!(home.login("alice", &[&format!("{password}000000")]).cause, Wrong);
    }
    let seen = home.login("alice", &[&format!("{password}{}", home.code()), "000000"]);
    assert_eq!((seen.cause, seen.asked.len()), (SecondCode, 2), "the budget is empty");
}

#[test]
fn one_line_tells_nothing_and_waits_before_it_refuses() {
    let home = Home::with_policy(BOTH);
    assert!(home.login("alice", &["hunter2000000"]).slowed_down);
    let right = home.login("alice", &[&format!("hunter2{}", home.code())]);
    assert_eq!((right.cause, right.told.len(), right.slowed_down), (Code, 0, false));
    let home = Home::new();
    assert!(!home.login("alice", &["000000"]).slowed_down);
}
