//! Hosts that answer badly, and hosts that call again and again.

use qrtotp_tests::sandbox::Sandbox;
use qrtotp_tests::script::{Answer, ESTABLISH_CRED, Script, Step, code};

/// Attempts left before two codes are asked.
fn left(sandbox: &Sandbox) -> i64 {
    let event = sandbox.logins().into_iter().rev().find_map(|event| event["budget_left"].as_i64());
    event.expect("an event that says what is left")
}

#[test]
fn a_host_without_answers_is_denied_and_charged_nothing() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let bad = [Answer::Error, Answer::Again, Answer::Null, Answer::NullArray];
    for _ in 0..5 {
        for answer in &bad {
            let report = sandbox.run(Script::login("alice").answering([answer.clone()]));
            assert_eq!(report.code(), code::CONV_ERR, "{answer:?}");
        }
        let mut script = Script::login("alice").answering(["123456"]);
        script.no_conversation = true;
        assert_eq!(sandbox.run(script).code(), code::CONV_ERR);
    }
    assert_eq!(sandbox.answer("alice", &alice.phone.code()), code::SUCCESS);
    assert_eq!(left(&sandbox), 5);
}

#[test]
fn answers_that_cannot_be_codes_are_denied_and_charged_nothing() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let bad: [Answer; 8] = [
        "".into(),
        " ".into(),
        "hunter2".into(),
        Answer::Fill(b'1', 1 << 20),
        Answer::Fill(b'A', 512),
        Answer::Bytes(b"\xff\xfe\x80\x01".to_vec()),
        Answer::Bytes(b"\x08\n\r\x7fINCORRECT\x08\n\r\x7f".to_vec()),
        "１２３４５６".into(),
    ];
    for _ in 0..3 {
        for answer in &bad {
            let report = sandbox.run(Script::login("alice").answering([answer.clone()]));
            assert_eq!(report.code(), code::AUTH_ERR);
        }
    }
    assert_eq!(sandbox.answer("alice", &alice.phone.code()), code::SUCCESS);
    assert_eq!(left(&sandbox), 5);
}

#[test]
fn an_answer_is_wiped_from_memory() {
    let sandbox = Sandbox::new();
    sandbox.enroll("alice");
    let script = Script::login("alice").answering([Answer::Marker]).then(Step::FindMarker);
    let report = sandbox.run(script);
    assert_eq!(report.codes(), [code::AUTH_ERR, 0]);
}

#[test]
fn an_answer_is_freed_once() {
    let sandbox = Sandbox::new();
    sandbox.enroll("alice");
    // Freed twice, the C library ends the process; never freed, 200 MB stay.
    let script = (0..200).fold(Script::login("alice"), |script, _| script.answering([Answer::Fill(b'x', 1 << 20)]));
    let report = sandbox.run(script);
    let (before, after) = report.memory_kb;
    assert!(after < before + 40_000, "{before} kB before, {after} kB after");
}

#[test]
fn in_one_handle_wrong_wrong_and_right_are_each_judged() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let [one, other, right] = [alice.phone.wrong_code(), alice.phone.wrong_code(), alice.phone.code()];
    let script = Script::login("alice")
        .answering([one])
        .answering([other])
        .answering([right.clone()])
        .then(Step::SetCred(ESTABLISH_CRED))
        .answering([right]);
    let report = sandbox.run(script);
    assert_eq!(report.codes(), [code::AUTH_ERR, code::AUTH_ERR, code::SUCCESS, code::SUCCESS, code::AUTH_ERR]);
    assert_eq!(report.descriptors_before, report.descriptors_after);
    assert_eq!(report.umask.0, report.umask.1);
}

#[test]
fn a_user_changed_between_calls_is_judged_by_his_own_codes() {
    let sandbox = Sandbox::new();
    let [alice, bob] = ["alice", "bob"].map(|name| sandbox.enroll(name));
    let script = Script::login("alice")
        .answering([alice.phone.code()])
        .then(Step::SetUser(b"bob".to_vec()))
        .answering([alice.phone.code()])
        .answering([bob.phone.code()]);
    assert_eq!(sandbox.run(script).codes(), [code::SUCCESS, 0, code::AUTH_ERR, code::SUCCESS]);
    let users: Vec<_> = sandbox.logins().iter().map(|event| event["user"].clone()).collect();
    assert_eq!(users, ["alice", "bob", "bob"]);
}

#[test]
fn the_address_changed_between_calls_is_the_one_in_the_log() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let script = Script::login("alice")
        .from("192.0.2.1")
        .answering([alice.phone.wrong_code()])
        .then(Step::SetRhost(b"192.0.2.2".to_vec()))
        .answering([alice.phone.wrong_code()]);
    sandbox.run(script);
    let sources: Vec<_> = sandbox.logins().iter().map(|event| event["source"].clone()).collect();
    assert_eq!(sources, ["192.0.2.1", "192.0.2.2"]);
}

#[test]
fn a_host_that_does_not_know_the_user_asks_for_the_name_first() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let mut script = Script::login("").answering(["alice".to_owned(), alice.phone.code()]);
    script.user = None;
    let report = sandbox.run(script);
    assert_eq!(report.code(), code::SUCCESS);
    assert_eq!(report.last().prompts().len(), 2);
}

#[test]
fn the_password_typed_in_place_of_a_code_costs_nothing_and_is_named_in_the_log() {
    let sandbox = Sandbox::new();
    sandbox.enroll("alice");
    sandbox.service("both", "auth required pam_unix.so nodelay\nauth required pam_qrtotp.so\n");
    let password = qrtotp_tests::users::PASSWORD;
    let report = sandbox.run(Script::login("alice").at("both").answering([password, password]));
    assert_eq!(report.code(), code::AUTH_ERR);
    assert_eq!(sandbox.last_reason(), "password_as_code");
}
