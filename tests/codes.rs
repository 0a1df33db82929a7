//! Which codes are accepted, how they may be typed, and what the person is told.

use qrtotp_tests::product::Parameters;
use qrtotp_tests::sandbox::Sandbox;
use qrtotp_tests::script::{ECHO_OFF, ECHO_ON, SILENT, Script, code};

#[test]
fn blanks_and_dashes_between_digits_do_not_matter() {
    let sandbox = Sandbox::new();
    let typed: [(&str, fn(&str, &str) -> String); 4] = [
        ("alice", |a, b| format!("{a} {b}")),
        ("bob", |a, b| format!("{a}-{b}")),
        ("carol", |a, b| format!(" {a}{b} ")),
        ("dave", |a, b| format!(" {} - {b}", a.replace("", " "))),
    ];
    for (user, typed) in typed {
        let code = sandbox.enroll(user).phone.code();
        let typed = typed(&code[..3], &code[3..]);
        assert_eq!(sandbox.answer(user, &typed), code::SUCCESS, "{typed:?}");
    }
}

#[test]
fn recovery_codes_are_read_in_any_case_with_and_without_dashes() {
    let sandbox = Sandbox::new();
    let codes = sandbox.enroll("alice").recovery_codes;
    let typed = [
        codes[0].clone(),
        codes[1].to_lowercase(),
        codes[2].replace('-', ""),
        codes[3].replace('-', " ").to_lowercase(),
    ];
    for typed in typed {
        assert_eq!(sandbox.answer("alice", &typed), code::SUCCESS, "{typed}");
    }
}

#[test]
fn codes_of_every_algorithm_length_and_period_agree_with_oathtool() {
    let sandbox = Sandbox::new();
    let users = ["alice", "bob", "carol", "dave", "mallory"];
    let parameters = [
        Parameters { algorithm: "sha256", ..Parameters::default() },
        Parameters { algorithm: "sha512", digits: 8, ..Parameters::default() },
        Parameters { digits: 7, ..Parameters::default() },
        Parameters { period: 15, ..Parameters::default() },
        Parameters { algorithm: "sha256", digits: 8, period: 120 },
    ];
    for (user, parameters) in users.into_iter().zip(parameters) {
        let phone = sandbox.enroll_device(user, "phone", parameters).phone;
        phone.settle(2);
        let [before, now] = [phone.code_in(-1), phone.code()];
        assert_eq!(now.len(), parameters.digits as usize);
        assert_eq!(sandbox.answer(user, &phone.code_in(1)), code::AUTH_ERR, "the next step: {parameters:?}");
        assert_eq!(sandbox.answer(user, &phone.code_in(-2)), code::AUTH_ERR, "two steps ago: {parameters:?}");
        assert_eq!(sandbox.answer(user, &before), code::SUCCESS, "the step before: {parameters:?}");
        assert_eq!(sandbox.answer(user, &now), code::SUCCESS, "this step: {parameters:?}");
        assert_eq!(sandbox.reasons().split_off(sandbox.reasons().len() - 4), ["early", "late", "code", "code"]);
    }
}

#[test]
fn a_code_of_another_length_than_the_devices_is_wrong() {
    let sandbox = Sandbox::new();
    let eight = Parameters { digits: 8, ..Parameters::default() };
    let phone = sandbox.enroll_device("alice", "phone", eight).phone;
    let code = phone.code();
    for part in [&code[2..], &code[..6], &format!("0{code}"), &format!("{code}0")] {
        assert_eq!(sandbox.answer("alice", part), code::AUTH_ERR, "{part}");
    }
    assert_eq!(sandbox.answer("alice", &code), code::SUCCESS);
}

#[test]
fn each_of_four_devices_has_its_own_codes_and_a_disabled_one_has_none() {
    let sandbox = Sandbox::new();
    let labels = ["phone", "tablet", "key", "paper"];
    let devices = labels.map(|label| sandbox.enroll_device("alice", label, Parameters::default()));
    assert_eq!(sandbox.qrtotp(&["device", "disable", "alice", "tablet"]).code, 0);
    for (label, device) in labels.into_iter().zip(&devices) {
        let expected = if label == "tablet" { code::AUTH_ERR } else { code::SUCCESS };
        assert_eq!(sandbox.answer("alice", &device.phone.code()), expected, "{label}");
    }
    assert_eq!(sandbox.logins()[0]["label"], "phone");
    assert_eq!(sandbox.logins()[0]["device"], devices[0].device.id);
}

#[test]
fn the_prompt_says_what_the_policy_says() {
    let sandbox = Sandbox::new();
    sandbox.enroll("alice");
    let prompt = || sandbox.run(Script::login("alice").answering(["000000x"])).last().messages[0].clone();
    let usual = prompt();
    assert_eq!((usual.style, usual.text.as_str()), (ECHO_OFF, "One-time code: "));
    sandbox.policy("[prompt]\ntext = \"Einmalcode für Anna: \"\necho = true\n");
    let other = prompt();
    assert_eq!((other.style, other.text.as_str()), (ECHO_ON, "Einmalcode für Anna: "));
}

#[test]
fn after_a_success_the_person_hears_of_failed_attempts_and_where_they_came_from() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    for rhost in ["192.0.2.7", "192.0.2.7", "2001:db8::1"] {
        sandbox.run(Script::login("alice").from(rhost).answering([alice.phone.wrong_code()]));
    }
    let report = sandbox.run(Script::login("alice").answering([alice.phone.code_in(-1)]));
    assert_eq!(report.code(), code::SUCCESS);
    let told = report.last().told().join("\n");
    for part in ["3 failed attempts", "192.0.2.7", "2001:db8::"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let next = sandbox.run(Script::login("alice").answering([alice.phone.code()]));
    assert_eq!((next.code(), next.last().told().len()), (code::SUCCESS, 0), "told once");
}

#[test]
fn after_a_recovery_code_the_person_hears_how_many_are_left() {
    let sandbox = Sandbox::new();
    let codes = sandbox.enroll("alice").recovery_codes;
    for (spent, recovery) in codes.iter().enumerate() {
        let report = sandbox.run(Script::login("alice").answering([recovery.as_str()]));
        let told = report.last().told().join("\n");
        let left = codes.len() - spent - 1;
        let expected = if left == 0 { "last recovery code".to_owned() } else { left.to_string() };
        assert!(told.contains(&expected), "{told}");
    }
}

#[test]
fn a_silent_host_gets_the_prompt_and_nothing_else() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    sandbox.answer("alice", &alice.phone.wrong_code());
    let silent = |answer: &str| sandbox.run(Script::login("alice").answering_with(SILENT, [answer]));
    for answer in [&alice.phone.code(), &alice.recovery_codes[0]] {
        let report = silent(answer);
        assert_eq!((report.code(), report.last().messages.len()), (code::SUCCESS, 1), "{report:?}");
    }
}

#[test]
fn after_five_failures_two_consecutive_codes_of_one_device_are_asked_and_accepted() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    for _ in 0..5 {
        assert_eq!(sandbox.answer("alice", &alice.phone.wrong_code()), code::AUTH_ERR);
    }
    alice.phone.settle(3);
    let both = [alice.phone.code_in(-1), alice.phone.code()];
    let report = sandbox.run(Script::login("alice").answering(both));
    assert_eq!(report.code(), code::SUCCESS);
    assert_eq!(report.last().prompts(), ["One-time code: ", "Next code, after it has changed: "]);
    assert_eq!(sandbox.last_reason(), "two_codes");
}

#[test]
fn after_a_step_up_one_code_is_not_enough_until_an_administrator_unlocks() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let stepped = sandbox.qrtotp(&["step-up", "alice", "--for", "2h", "--reason", "stolen laptop"]);
    assert!(stepped.code == 0 && stepped.stdout.contains("qrtotp unlock alice"), "{stepped:?}");
    assert_eq!(sandbox.status("alice")["state"], "stepped_up");
    let event = sandbox.events().pop().unwrap();
    assert_eq!((event["event"].as_str(), event["reason"].as_str()), (Some("step_up"), Some("stolen laptop")));
    alice.phone.settle(3);
    let both = [alice.phone.code_in(-1), alice.phone.code()];
    let report = sandbox.run(Script::login("alice").answering(both));
    assert_eq!(report.code(), code::SUCCESS);
    assert_eq!(report.last().prompts().len(), 2);
    assert_eq!(sandbox.last_reason(), "two_codes");
    let explained = sandbox.qrtotp(&["policy", "explain", "alice", "--service", "sshd"]);
    assert!(explained.stdout.contains("two codes"), "{explained:?}");
    assert_eq!(sandbox.qrtotp(&["unlock", "alice"]).code, 0);
    assert_eq!(sandbox.status("alice")["state"], "enrolled");
    assert_eq!(sandbox.answer("alice", &alice.phone.code_in(1)), code::AUTH_ERR, "of a step that has not begun");
    for wrong in ["--for=0s", "--for=91d", "--for=soon"] {
        assert_eq!(sandbox.qrtotp(&["step-up", "alice", wrong, "--reason", "x"]).code, 2, "{wrong}");
    }
}

#[test]
fn two_codes_that_do_not_follow_each_other_on_one_device_are_refused() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let tablet = sandbox.enroll_device("alice", "tablet", Parameters::default());
    for _ in 0..5 {
        sandbox.answer("alice", &alice.phone.wrong_code());
    }
    alice.phone.settle(5);
    let wrong = alice.phone.wrong_code();
    let pairs = [
        [alice.phone.code_in(-1), tablet.phone.code()],
        [wrong, alice.phone.code()],
        [tablet.phone.code(), alice.phone.wrong_code()],
    ];
    for pair in pairs {
        assert_eq!(sandbox.run(Script::login("alice").answering(pair)).code(), code::AUTH_ERR);
        assert_eq!(sandbox.last_reason(), "second_code");
    }
}

#[test]
fn a_recovery_code_is_accepted_when_the_budget_is_spent() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    for _ in 0..8 {
        let answers = [alice.phone.wrong_code(), alice.phone.wrong_code()];
        sandbox.run(Script::login("alice").answering(answers));
    }
    assert_eq!(sandbox.answer("alice", &alice.recovery_codes[0]), code::SUCCESS);
}

#[test]
fn a_source_the_owner_logged_in_from_keeps_its_own_attempts() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let from = |rhost: &str, answer: String| Script::login("alice").from(rhost).answering([answer]);
    assert_eq!(sandbox.run(from("192.0.2.1", alice.phone.code_in(-1))).code(), code::SUCCESS);
    for stranger in 0..20 {
        sandbox.run(from(&format!("198.51.100.{stranger}"), alice.phone.wrong_code()));
    }
    let owner = sandbox.run(from("192.0.2.1", alice.phone.code()));
    assert_eq!((owner.code(), owner.last().prompts().len()), (code::SUCCESS, 1));
}

#[test]
fn two_instances_in_one_stack_want_two_different_codes() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    sandbox.service("twice", "auth required pam_qrtotp.so\nauth required pam_qrtotp.so\n");
    let twice = |answers: [&str; 2]| sandbox.run(Script::login("alice").at("twice").answering(answers)).code();
    let code = alice.phone.code();
    assert_eq!(twice([&code, &code]), code::AUTH_ERR);
    assert_eq!(twice([&alice.recovery_codes[0], &alice.recovery_codes[1]]), code::SUCCESS);
    assert_eq!(sandbox.reasons(), ["code", "replayed", "recovery", "recovery"]);
}

#[test]
fn a_flood_from_one_source_is_refused_unseen_and_other_sources_are_not() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    sandbox.policy("[flood]\nper_minute = 3\n");
    let from =
        |rhost: &str, user: &str, answer: &str| sandbox.run(Script::login(user).from(rhost).answering([answer])).code();
    for _ in 0..8 {
        from("192.0.2.7", "bob", "123456");
    }
    assert_eq!(sandbox.last_reason(), "flooded");
    assert_eq!(from("192.0.2.7", "alice", &alice.phone.code()), code::AUTH_ERR);
    assert_eq!(from("192.0.2.8", "alice", &alice.phone.code()), code::SUCCESS);
}
