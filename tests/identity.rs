//! Who it is and what the policy says: broken policies, names that are none, users that changed.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use qrtotp_tests::product::{POLICY, STATE};
use qrtotp_tests::sandbox::Sandbox;
use qrtotp_tests::script::{Script, code};
use qrtotp_tests::users;

#[test]
fn every_broken_policy_denies_and_the_log_says_where_it_is_broken() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let broken: [(&[u8], &str); 9] = [
        (b"[totp\npast = 1\n", "line 1"),
        (b"[totp]\npsat = 1\n", "line 2, column 1"),
        (b"[totp]\npast = \"one\"\n", "line 2, column 8"),
        (b"[totp]\npast = -1\n", "line 2, column 8"),
        (b"[totp]\npast = 99999999999999999999\n", "line 2"),
        (b"[totp]\npast = 1\0\n", "line 2"),
        (b"\xef\xbb\xbf[totp]\npast = 1\n", "line 1"),
        (b"[totp]\npast = 1 # \xff\n", "line 2"),
        (b"[limits]\nmode = \"off\"\n", "line 2, column 8"),
    ];
    for (policy, place) in broken {
        fs::write(POLICY, policy).unwrap();
        let shown = String::from_utf8_lossy(policy);
        assert_eq!(sandbox.answer("alice", &alice.phone.code()), code::AUTHINFO_UNAVAIL, "{shown}");
        let line = sandbox.syslog().of_module().pop().unwrap();
        assert!(line.contains(place) && line.contains(POLICY), "{shown}: {line}");
    }
    fs::write(POLICY, "[totp]\npsat = 1\n").unwrap();
    sandbox.answer("alice", "123456");
    let line = sandbox.syslog().of_module().pop().unwrap();
    assert!(line.contains("past"), "the nearest known key is named: {line}");
}

#[test]
fn a_policy_that_others_can_change_denies() {
    let harm: [(&str, fn()); 7] = [
        ("writable by all", || fs::set_permissions(POLICY, fs::Permissions::from_mode(0o666)).unwrap()),
        ("writable by its group", || fs::set_permissions(POLICY, fs::Permissions::from_mode(0o664)).unwrap()),
        ("of another owner", || chown(POLICY, Some(2001), None).unwrap()),
        ("a link", || {
            fs::rename(POLICY, "/etc/qrtotp/real.toml").unwrap();
            symlink("/etc/qrtotp/real.toml", POLICY).unwrap();
        }),
        ("a dangling link", || {
            fs::remove_file(POLICY).unwrap();
            symlink("/nonexistent", POLICY).unwrap();
        }),
        ("a folder", || {
            fs::remove_file(POLICY).unwrap();
            fs::create_dir(POLICY).unwrap();
        }),
        ("a FIFO", || {
            fs::remove_file(POLICY).unwrap();
            assert!(std::process::Command::new("/usr/bin/mkfifo").arg(POLICY).status().unwrap().success());
        }),
    ];
    for (what, harm) in harm {
        let sandbox = Sandbox::new();
        let alice = sandbox.enroll("alice");
        sandbox.policy("");
        harm();
        assert_eq!(sandbox.answer("alice", &alice.phone.code()), code::AUTHINFO_UNAVAIL, "{what}");
        assert_eq!(sandbox.last_reason_in_syslog(), "policy", "{what}");
    }
}

/// Every path below the state folder.
fn state() -> BTreeSet<String> {
    fn below(folder: &str, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path().to_string_lossy().into_owned();
            if entry.file_type().unwrap().is_dir() {
                below(&path, found);
            }
            found.insert(path);
        }
    }
    let mut found = BTreeSet::new();
    below(STATE, &mut found);
    found
}

#[test]
fn names_that_are_no_users_are_denied_and_become_no_path() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let root = sandbox.enroll("root");
    let (long, longer) = ("a".repeat(300), "b".repeat(70_000));
    let names: [&[u8]; 18] = [
        b"",
        b".",
        b"..",
        b"../../etc/shadow",
        b"a/b",
        b"/etc/shadow",
        long.as_bytes(),
        longer.as_bytes(),
        b"alice\n",
        b"ali\x1b[31mce",
        b"root ",
        b" root",
        b"ROOT",
        b"0",
        b"2001",
        b"-l",
        b"\xff\xfe",
        b"%n%s%s%s",
    ];
    let before = state();
    for name in names {
        for answer in [alice.phone.code(), root.phone.code()] {
            let shown = String::from_utf8_lossy(&name[..name.len().min(40)]);
            // pam_permit would call the empty name "nobody".
            let service = if name.is_empty() { "code" } else { "probe" };
            let code = sandbox.run(Script::login_bytes(name).at(service).answering([answer])).code();
            assert!([code::AUTH_ERR, code::CONV_ERR].contains(&code), "{shown}: {code}");
        }
    }
    assert_eq!(state(), before);
    for line in sandbox.syslog().lines().holding(":auth)") {
        assert!(line.contains(" user= "), "a name of nobody is printed: {line}");
    }
    assert_eq!(sandbox.answer("alice", &alice.phone.code()), code::SUCCESS, "alice's code was not spent");
}

#[test]
fn a_user_whose_name_is_a_number_is_that_user_and_not_the_one_with_that_id() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    users::add("2001", 3001);
    let number = sandbox.enroll("2001");
    assert_eq!(number.uid, 3001);
    assert_eq!(sandbox.answer("2001", &alice.phone.code()), code::AUTH_ERR);
    assert_eq!(sandbox.answer("2001", &number.phone.code()), code::SUCCESS);
    assert_eq!(sandbox.answer("alice", &alice.phone.code()), code::SUCCESS);
}

#[test]
fn whatever_a_host_says_of_the_caller_an_event_is_one_printable_line() {
    let sandbox = Sandbox::new();
    sandbox.enroll("alice");
    let nasty: [&[u8]; 6] = [
        b"192.0.2.7\n<86>sshd: forged",
        b"\x1b]0;owned\x07",
        &[b'x'; 65_536],
        b"%s%n%x",
        b"\xff\xfe\x80",
        b"a user=root reason=code \"quoted\" \\",
    ];
    for value in nasty {
        let mut script = Script::login("alice").from(value).answering(["123456", "123456"]);
        script.tty = Some(value.to_vec());
        script.ruser = Some(value.to_vec());
        let (lines, events) = (sandbox.syslog().of_module().len(), sandbox.events().len());
        let code = sandbox.run(script).code();
        // libpam's own audit refuses some of these, and then the login, with PAM_SYSTEM_ERR.
        assert!([code::AUTH_ERR, code::SYSTEM_ERR].contains(&code), "{code}");
        let new = sandbox.syslog().of_module().split_off(lines);
        assert_eq!(new.len(), 1, "{new:?}");
        assert!(new[0].bytes().all(|byte| (0x20..=0x7e).contains(&byte)), "{new:?}");
        assert_eq!(new[0].matches(" reason=").count(), 1, "{new:?}");
        assert_eq!(sandbox.events().len(), events + 1);
    }
}

#[test]
fn a_user_id_that_another_name_has_now_inherits_nothing() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    users::remove("alice");
    users::add("eve", 2001);
    for answer in [&alice.phone.code(), &alice.recovery_codes[0]] {
        assert_eq!(sandbox.answer("eve", answer), code::AUTH_ERR);
        assert_eq!(sandbox.last_reason(), "stale");
    }
    assert_eq!(sandbox.answer("alice", &alice.phone.code()), code::AUTH_ERR);
}

#[test]
fn a_name_with_another_user_id_now_inherits_nothing() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    users::remove("alice");
    users::add("alice", 2999);
    for answer in [&alice.phone.code(), &alice.recovery_codes[0]] {
        assert_eq!(sandbox.answer("alice", answer), code::AUTH_ERR);
    }
}

#[test]
fn a_name_service_that_fails_grants_nothing() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    fs::write("/etc/nsswitch.conf", "passwd: nosuchservice\ngroup: nosuchservice\n").unwrap();
    for user in ["alice", "nobody-enrolled"] {
        let report = sandbox.run(Script::login(user).at("probe").answering([alice.phone.code()]));
        assert!([code::AUTH_ERR, code::AUTHINFO_UNAVAIL].contains(&report.code()), "{user}: {}", report.code());
    }
}
