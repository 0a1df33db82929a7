//! What the host is told, cause by cause. The service `probe` puts `pam_permit` above the module, so that an answer of
//! PAM_IGNORE would show as success.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use qrtotp_tests::count;
use qrtotp_tests::product::{POLICY, STATE};
use qrtotp_tests::sandbox::Sandbox;
use qrtotp_tests::script::{Answer, ESTABLISH_CRED, Report, Script, Step, code};

/// One login at the probe.
fn probe(sandbox: &Sandbox, user: &str, answer: impl Into<Answer>) -> Report {
    sandbox.run(Script::login(user).at("probe").answering([answer]))
}

#[test]
fn a_right_code_used_for_the_first_time_is_success() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let report = probe(&sandbox, "alice", alice.phone.code());
    assert_eq!(report.code(), code::SUCCESS);
    assert_eq!(sandbox.reasons(), ["code"]);
}

#[test]
fn a_wrong_a_malformed_and_a_used_code_are_authentication_errors() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let right = alice.phone.code();
    assert_eq!(probe(&sandbox, "alice", alice.phone.wrong_code()).code(), code::AUTH_ERR);
    assert_eq!(probe(&sandbox, "alice", "not a code").code(), code::AUTH_ERR);
    assert_eq!(probe(&sandbox, "alice", right.clone()).code(), code::SUCCESS);
    assert_eq!(probe(&sandbox, "alice", right).code(), code::AUTH_ERR);
    assert_eq!(sandbox.reasons(), ["wrong", "malformed", "code", "replayed"]);
}

#[test]
fn a_recovery_code_is_success_once() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    assert_eq!(alice.recovery_codes.len(), 10);
    for recovery in &alice.recovery_codes {
        assert_eq!(probe(&sandbox, "alice", recovery.clone()).code(), code::SUCCESS);
        assert_eq!(probe(&sandbox, "alice", recovery.clone()).code(), code::AUTH_ERR);
        assert_eq!(sandbox.last_reason(), "recovery_used");
    }
    let invented = "AAAA-BBBB-CCCC-DDDD-EEEE";
    assert_eq!(probe(&sandbox, "alice", invented).code(), code::AUTH_ERR);
    assert_eq!(sandbox.last_reason(), "recovery_wrong");
}

#[test]
fn a_spent_budget_in_lock_mode_is_too_many_tries_until_it_is_unlocked() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    sandbox.policy("[limits]\nmode = \"lock\"\nattempts = 3\nseconds = 1800\n");
    for _ in 0..3 {
        assert_eq!(probe(&sandbox, "alice", alice.phone.wrong_code()).code(), code::AUTH_ERR);
    }
    assert_eq!(probe(&sandbox, "alice", alice.phone.code_in(-1)).code(), code::MAXTRIES);
    assert_eq!(sandbox.last_reason(), "locked");
    assert_eq!(probe(&sandbox, "alice", alice.recovery_codes[0].clone()).code(), code::SUCCESS);
    for _ in 0..3 {
        probe(&sandbox, "alice", alice.phone.wrong_code());
    }
    assert_eq!(probe(&sandbox, "alice", alice.phone.wrong_code()).code(), code::MAXTRIES);
    assert_eq!(sandbox.qrtotp(&["unlock", "alice"]).code, 0);
    assert_eq!(probe(&sandbox, "alice", alice.phone.code()).code(), code::SUCCESS);
}

#[test]
fn a_lock_ends_after_its_time_and_not_when_the_wall_clock_moves() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    sandbox.policy("[limits]\nmode = \"lock\"\nattempts = 1\nseconds = 600\n");
    assert_eq!(probe(&sandbox, "alice", alice.phone.wrong_code()).code(), code::AUTH_ERR);
    let day = 86_400;
    let tomorrow = alice.phone.code_at(qrtotp_tests::phone::seconds_now() + day);
    let script = || Script::login("alice").at("probe");
    let moved = script().wall_moved(i64::try_from(day).unwrap()).answering([tomorrow]);
    assert_eq!(sandbox.run(moved).code(), code::MAXTRIES);
    let later = |answer: String| script().boot_moved(601).answering([answer]);
    assert_eq!(sandbox.run(later(alice.recovery_codes[0].clone())).code(), code::SUCCESS);
}

#[test]
fn codes_are_refused_after_disable_after_failures_and_recovery_codes_are_not() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    sandbox.policy("[limits]\ndisable_after = 4\n");
    for _ in 0..4 {
        assert_eq!(probe(&sandbox, "alice", alice.phone.wrong_code()).code(), code::AUTH_ERR);
    }
    assert_eq!(probe(&sandbox, "alice", alice.phone.code_in(-1)).code(), code::AUTH_ERR);
    assert_eq!(sandbox.last_reason(), "disabled");
    assert_eq!(probe(&sandbox, "alice", alice.recovery_codes[0].clone()).code(), code::SUCCESS);
    assert_eq!(probe(&sandbox, "alice", alice.phone.code()).code(), code::SUCCESS);
}

#[test]
fn who_is_not_enrolled_and_who_does_not_exist_are_asked_and_refused_like_a_wrong_code() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    // Twelve attempts: the budget of five runs out for each of them, and from then on two codes are asked.
    let conversations = |user: &str| {
        let script = || {
            let answers = [alice.phone.wrong_code(), alice.phone.wrong_code()];
            Script::login(user).at("probe").from("192.0.2.7").answering(answers)
        };
        let reports: Vec<Report> = (0..12).map(|_| sandbox.run(script())).collect();
        assert!(reports.iter().all(|report| report.code() == code::AUTH_ERR), "{user}");
        reports.into_iter().map(|mut report| report.results.remove(0).messages).collect::<Vec<_>>()
    };
    let wrong = conversations("alice");
    assert_eq!((wrong[0].len(), wrong[11].len()), (1, 2));
    assert_eq!(conversations("nobody-enrolled"), wrong);
    assert_eq!(conversations("nosuchuser"), wrong);
    let reasons = sandbox.reasons();
    assert_eq!([&reasons[0], &reasons[12], &reasons[24]], ["wrong", "not_enrolled", "unknown_user"]);
}

#[test]
fn wrong_codes_take_as_long_for_everybody() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    sandbox.policy("[flood]\nper_minute = 0\n");
    let tries = count("QRTOTP_TRIES", 150);
    let people = ["alice", "nobody-enrolled", "nosuchuser"];
    let mut times: [Vec<u64>; 3] = Default::default();
    // In turns, so that whatever else the machine does strikes all of them.
    for _ in 0..tries {
        for (user, times) in people.iter().zip(&mut times) {
            let answers = [alice.phone.wrong_code(), alice.phone.wrong_code()];
            times.push(sandbox.run(Script::login(user).answering(answers)).last().micros);
        }
    }
    let medians = times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2]
    });
    let (least, most) = (medians.iter().min().unwrap(), medians.iter().max().unwrap());
    assert!(*most < least + least / 4 + 100, "microseconds for {people:?}: {medians:?}");
}

#[test]
fn state_that_cannot_be_trusted_is_unavailable_and_never_not_enrolled() {
    let spoil: [(&str, fn(&str)); 9] = [
        (".format missing", |_| fs::remove_file(format!("{STATE}/.format")).unwrap()),
        (".format of another version", |_| fs::write(format!("{STATE}/.format"), "qrtotp 999\n").unwrap()),
        ("the folder is missing", |_| fs::remove_dir_all(STATE).unwrap()),
        ("open to all", |_| fs::set_permissions(STATE, fs::Permissions::from_mode(0o777)).unwrap()),
        ("credentials garbled", |user| fs::write(format!("{user}/credentials.toml"), "x = [").unwrap()),
        ("credentials empty", |user| fs::write(format!("{user}/credentials.toml"), "").unwrap()),
        ("credentials missing", |user| fs::remove_file(format!("{user}/credentials.toml")).unwrap()),
        ("credentials not root's", |user| chown(format!("{user}/credentials.toml"), Some(2001), None).unwrap()),
        ("journal a link", |user| {
            fs::rename(format!("{user}/journal"), format!("{user}/elsewhere")).unwrap();
            symlink("elsewhere", format!("{user}/journal")).unwrap();
        }),
    ];
    for (what, spoil) in spoil {
        let sandbox = Sandbox::new();
        let alice = sandbox.enroll("alice");
        spoil(&format!("{STATE}/{}", alice.uid));
        assert_eq!(probe(&sandbox, "alice", alice.phone.code()).code(), code::AUTHINFO_UNAVAIL, "{what}");
        assert_eq!(sandbox.last_reason(), "state", "{what}");
        let event = sandbox.logins().pop().unwrap();
        assert!(event["detail"].is_string(), "{what}: {event}");
    }
}

#[test]
fn a_policy_that_is_wrong_is_unavailable_and_nobody_is_asked() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    sandbox.policy("[totp]\npast = 1\npassed = 2\n");
    let report = probe(&sandbox, "alice", alice.phone.code());
    assert_eq!(report.code(), code::AUTHINFO_UNAVAIL);
    assert_eq!(report.last().messages, []);
    let line = sandbox.syslog().of_module().pop().unwrap();
    assert!(line.contains("reason=policy") && line.contains(POLICY) && line.contains("line 3, column 1"), "{line}");
}

#[test]
fn a_missing_policy_means_the_strict_defaults() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    fs::remove_file(POLICY).unwrap();
    assert_eq!(probe(&sandbox, "alice", alice.phone.wrong_code()).code(), code::AUTH_ERR);
    assert_eq!(probe(&sandbox, "alice", alice.phone.code()).code(), code::SUCCESS);
    assert_eq!(probe(&sandbox, "nobody-enrolled", "123456").code(), code::AUTH_ERR);
}

#[test]
fn a_module_argument_that_is_none_is_a_service_error_and_the_log_names_it() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    for argument in ["nullok", "use_first_pass", "config=relative/path", "Debug"] {
        let service = format!("auth required pam_permit.so\nauth required pam_qrtotp.so {argument}\n");
        sandbox.service("argument", &service);
        let script = Script::login("alice").at("argument").answering([alice.phone.code()]);
        assert_eq!(sandbox.run(script).code(), code::SERVICE_ERR, "{argument}");
        let line = sandbox.syslog().of_module().pop().unwrap();
        assert!(line.contains("reason=argument") && line.contains(argument), "{line}");
    }
}

#[test]
fn the_arguments_config_and_debug_are_known_and_debug_tells_no_secret() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    fs::write("/etc/other.toml", "[prompt]\ntext = \"Elsewhere: \"\n").unwrap();
    sandbox.service("argument", "auth required pam_qrtotp.so config=/etc/other.toml debug\n");
    let right = alice.phone.code();
    let report = sandbox.run(Script::login("alice").at("argument").answering([right.clone()]));
    assert_eq!(report.code(), code::SUCCESS);
    assert_eq!(report.last().prompts(), ["Elsewhere: "]);
    let log = sandbox.syslog().lines().all().join("\n");
    for secret in [&right, &alice.key, &alice.recovery_codes[0]] {
        assert!(!log.contains(secret.as_str()), "{log}");
    }
}

#[test]
fn a_conversation_that_fails_is_a_conversation_error() {
    let sandbox = Sandbox::new();
    sandbox.enroll("alice");
    for user in ["alice", "nobody-enrolled", "nosuchuser"] {
        let script = Script::login(user).at("probe").answering([Answer::Error]);
        assert_eq!(sandbox.run(script).code(), code::CONV_ERR, "{user}");
    }
}

#[test]
fn a_revoked_user_is_refused_like_a_wrong_code_and_is_never_not_enrolled() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    assert_eq!(sandbox.qrtotp(&["revoke", "alice", "--reason", "lost laptop"]).code, 0);
    for answer in [alice.phone.code(), alice.recovery_codes[0].clone()] {
        let report = probe(&sandbox, "alice", answer);
        assert_eq!((report.code(), report.last().prompts().len()), (code::AUTH_ERR, 1));
        assert_eq!(sandbox.last_reason(), "revoked");
    }
}

#[test]
fn setting_credentials_is_success_before_a_login_and_as_often_as_a_host_likes_after_it() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let setcred = || Step::SetCred(ESTABLISH_CRED);
    let script = Script::login("alice").then(setcred()).answering([alice.phone.code()]);
    let report = sandbox.run(script.then(setcred()).then(setcred()).then(setcred()));
    assert_eq!(report.codes(), [code::SUCCESS; 5]);
    // Another process, which knows nothing of the login: what sshd does.
    assert_eq!(sandbox.run(Script::login("alice").then(setcred())).code(), code::SUCCESS);
}
