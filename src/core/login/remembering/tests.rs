use crate::events::Printable;
use crate::login::Request;
use crate::policy::Policy as PolicyFile;
use crate::remember::Session;
use crate::testkit::{ALICE, Home, RECOVERY, SESSION, says};
use crate::vault::{Credentials, Revocation};
use crate::verdict::Cause::{self, *};
use crate::words::{Uid, WallTime};

fn revoke(credentials: &mut Credentials) {
    credentials.revoked = Some(Revocation { time: WallTime(0), reason: "lost phone".to_owned() });
    credentials.devices.clear();
    credentials.recovery.clear();
}

/// What sudo says of alice, in the session of the tests.
fn sudo(home: &Home<'_>) -> Request {
    let mut request = home.request("alice");
    request.rhost = None;
    request.scene.service = Printable::new(b"sudo");
    request.scene.real_uid = ALICE.0;
    request
}

/// One login that is asked nothing if the answers are empty.
fn cause(home: &Home<'_>, request: &Request, answers: &[&str]) -> Cause {
    home.answer(request, answers.iter().map(|text| says(*text)).collect()).cause
}

const REMEMBER: &str = "[[rule]]\naction = \"require\"\nremember = \"8h\"\n";

fn remembering_home() -> Home<'static> {
    let home = Home::with_policy(REMEMBER);
    std::fs::create_dir(&home.policy.runtime_dir).unwrap();
    std::fs::set_permissions(&home.policy.runtime_dir, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    home
}

#[test]
fn a_code_is_asked_once_in_a_session_within_the_time_of_the_rule() {
    let home = remembering_home();
    let code = home.code();
    assert_eq!(cause(&home, &sudo(&home), &[&code]), Code);
    assert_eq!(cause(&home, &sudo(&home), &[]), Remembered);
    let other = Request { session: || Some(Session { id: 78, ..SESSION }), ..sudo(&home) };
    assert_eq!(cause(&home, &other, &["000000"]), Wrong);
    let nowhere = Request { session: || None, ..sudo(&home) };
    assert_eq!(cause(&home, &nowhere, &["000000"]), Wrong);
    home.wait(8 * 3600 - 1);
    assert_eq!(cause(&home, &sudo(&home), &[]), Remembered);
    home.wait(1);
    assert_eq!(cause(&home, &sudo(&home), &["000000"]), Wrong);
}

#[test]
fn only_a_right_code_is_remembered() {
    let home = remembering_home();
    for answer in ["000000", "hunter2", RECOVERY[0]] {
        cause(&home, &sudo(&home), &[answer]);
        assert_eq!(cause(&home, &sudo(&home), &["000000"]), Wrong, "{answer}");
    }
}

#[test]
fn a_key_is_remembered_with_its_address_and_an_address_alone_never() {
    let home = remembering_home();
    let with = |info: &[u8]| Request { auth_info: Some(info.to_vec()), ..home.request("alice") };
    let key = b"publickey ssh-ed25519 AAAA\n";
    let code = home.code();
    assert_eq!(cause(&home, &with(key), &[&code]), Code);
    assert_eq!(cause(&home, &with(key), &[]), Remembered);
    assert_eq!(cause(&home, &home.request("alice"), &["000000"]), Wrong);
    assert_eq!(cause(&home, &with(b"publickey ssh-ed25519 BBBB\n"), &["000000"]), Wrong);
    let mut elsewhere = with(key);
    elsewhere.rhost = Some(b"192.0.2.8".to_vec());
    assert_eq!(cause(&home, &elsewhere, &["000000"]), Wrong);
    home.wait(30);
    let code = home.code();
    assert_eq!(cause(&home, &home.request("alice"), &[&code]), Code);
    assert_eq!(cause(&home, &home.request("alice"), &["000000"]), Wrong, "no key, no memory");
}

#[test]
fn a_change_of_the_credentials_or_their_end_ends_what_is_remembered() {
    let changes: [fn(&mut Credentials); 2] = [|credentials| credentials.devices.truncate(1), revoke];
    for change in changes {
        let home = remembering_home();
        let code = home.code();
        assert_eq!(cause(&home, &sudo(&home), &[&code]), Code);
        home.change(change);
        assert_ne!(cause(&home, &sudo(&home), &["000000"]), Remembered);
    }
    let home = remembering_home();
    let code = home.code();
    assert_eq!(cause(&home, &sudo(&home), &[&code]), Code);
    home.fakes.users.borrow_mut().as_mut().unwrap()[0].uid = Uid(4000);
    assert_ne!(cause(&home, &sudo(&home), &["000000"]), Remembered);
}

#[test]
fn one_code_that_is_remembered_is_not_two_and_not_for_another_target() {
    let home = remembering_home();
    let code = home.code();
    assert_eq!(cause(&home, &sudo(&home), &[&code]), Code);
    let mut home = home;
    home.policy.rules =
        PolicyFile::parse("[[rule]]\naction = \"require\"\ncodes = 2\nremember = \"8h\"\n").unwrap().rules;
    assert_eq!(cause(&home, &sudo(&home), &["000000", "000000"]), SecondCode);
}
