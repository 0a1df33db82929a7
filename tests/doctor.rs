//! `qrtotp doctor`, on machines with something wrong.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use qrtotp_tests::product::{EVENTS, POLICY, STATE, security_folder};
use qrtotp_tests::sandbox::{SCRATCH, Sandbox};
use serde_json::Value;

/// `doctor --json`: the checks that found something, with their severity, and the whole answer.
fn doctor(sandbox: &Sandbox, arguments: &[&str]) -> (Vec<String>, Value) {
    let ran = sandbox.qrtotp(&[&["doctor", "--json"], arguments].concat());
    let answer = ran.json();
    let errors = answer["errors"].as_u64().unwrap();
    assert_eq!(ran.code, i32::from(errors > 0), "{ran:?}");
    let word =
        |finding: &Value| format!("{} {}", finding["severity"].as_str().unwrap(), finding["check"].as_str().unwrap());
    (answer["findings"].as_array().unwrap().iter().map(word).collect(), answer)
}

fn errors(sandbox: &Sandbox, arguments: &[&str]) -> Vec<String> {
    let (found, _) = doctor(sandbox, arguments);
    found.into_iter().filter(|word| word.starts_with("error")).collect()
}

const GOOD: &str = "@include common-auth\nauth required pam_qrtotp.so\n@include common-account\n";

/// A machine on which sudo asks for a code as it should, and everybody who can log in is enrolled.
fn machine() -> Sandbox {
    let sandbox = Sandbox::new();
    let _ = fs::remove_dir_all("/etc/ssh/sshd_config.d");
    sandbox.service("sudo", GOOD);
    // Those of the tests have no first factor.
    for service in ["code", "probe"] {
        fs::remove_file(format!("/etc/pam.d/{service}")).unwrap();
    }
    for (user, can_log_in) in users() {
        if can_log_in {
            sandbox.enroll(&user);
        }
    }
    sandbox
}

fn users() -> Vec<(String, bool)> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let user =
        |line: &str| (line.split(':').next().unwrap().to_owned(), line.ends_with("/bin/sh") || line.ends_with("bash"));
    passwd.lines().map(user).collect()
}

#[test]
fn a_machine_that_is_well_has_no_error() {
    let sandbox = machine();
    let (found, answer) = doctor(&sandbox, &[]);
    let unexpected: Vec<_> = found
        .iter()
        .filter(|word| !matches!(word.as_str(), "notice clock" | "warning file-system" | "notice recovery"))
        .collect();
    assert!(unexpected.is_empty(), "{unexpected:?} in {answer:#}");
    assert_eq!(answer["services"][0]["service"], "sudo");
    assert_eq!(answer["services"][0]["locked_out"], serde_json::json!([]));
    let text = sandbox.qrtotp(&["doctor"]);
    assert!(text.stdout.contains("service  sudo asks for a code; nobody is locked out"), "{}", text.stdout);
    assert!(text.stdout.contains("0 errors"), "{}", text.stdout);
}

#[test]
fn stacks_that_ask_for_no_code_or_let_nobody_in_are_errors_with_file_and_line() {
    let sandbox = machine();
    for (stack, expected) in [
        ("auth sufficient pam_unix.so\nauth required pam_qrtotp.so\n", "error pam-bypass"),
        ("@include common-auth\nauth optional pam_qrtotp.so\n", "error pam-unheeded"),
        ("auth required pam_qrtotp.so\n", "error pam-first-factor"),
        ("@include common-auth\nauth required pam_qrtotp.so\nauth required pam_qrtotp.so\n", "error pam-twice"),
        ("@include common-auth\nauth required pam_qrtotp.so\nauth required pam_deny.so\n", "error pam-nobody"),
        ("@include common-auth\nauth required pam_qrtotp.so nullok\n", "error pam-argument"),
        ("@include nowhere\nauth required pam_qrtotp.so\n", "error pam-line"),
    ] {
        sandbox.service("sudo", stack);
        assert!(errors(&sandbox, &[]).contains(&expected.to_owned()), "{expected}: {:?}", errors(&sandbox, &[]));
    }
    sandbox.service("sudo", "auth sufficient pam_unix.so\nauth required pam_qrtotp.so\n");
    let text = sandbox.qrtotp(&["doctor"]).stdout;
    assert!(text.contains("error    /etc/pam.d/sudo:1 (pam-bypass)") && text.contains("mend: put the line"), "{text}");
}

#[test]
fn a_service_is_looked_at_as_if_the_module_stood_in_it() {
    let sandbox = Sandbox::new();
    sandbox.service("su", "auth sufficient pam_rootok.so\n@include common-auth\n");
    sandbox.enroll("alice");
    let (found, answer) = doctor(&sandbox, &["--service", "su"]);
    assert!(found.contains(&"notice pam-root".to_owned()), "{found:?}");
    assert!(found.contains(&"warning locked-out".to_owned()), "{found:?}");
    let service = &answer["services"][0];
    assert_eq!((&service["service"], &service["on"]), (&"su".into(), &false.into()));
    let out: Vec<_> =
        service["locked_out"].as_array().unwrap().iter().map(|out| out["user"].as_str().unwrap()).collect();
    assert!(out.contains(&"bob") && !out.contains(&"alice"), "{out:?}");
    assert!(sandbox.qrtotp(&["doctor", "--service", "su"]).stdout.contains("could not"));
    assert!(errors(&sandbox, &["--service", "nothing"]).contains(&"error pam-file".to_owned()));
}

#[test]
fn sshd_that_lets_a_key_by_is_an_error_and_its_matches_are_looked_at() {
    let sandbox = machine();
    sandbox.service("sshd", "auth required pam_qrtotp.so\naccount required pam_permit.so\n");
    fs::create_dir_all("/etc/ssh").unwrap();
    let key = format!("{SCRATCH}/host_key");
    sandbox.output_of("/usr/bin/ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &key]);
    let config = |more: &str| fs::write("/etc/ssh/sshd_config", format!("HostKey {key}\nUsePAM yes\n{more}")).unwrap();
    config("");
    let found = errors(&sandbox, &[]);
    assert!(found.contains(&"error sshd-bypass".to_owned()), "{found:?}");
    let good = "PasswordAuthentication no\nKbdInteractiveAuthentication yes\nAuthenticationMethods publickey,keyboard-interactive:pam\n";
    config(good);
    assert_eq!(errors(&sandbox, &[]), Vec::<String>::new());
    config(&format!("{good}Match User bob\n  AuthenticationMethods publickey\n"));
    let (found, answer) = doctor(&sandbox, &[]);
    let bypass = answer["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == "sshd-bypass");
    assert_eq!(
        bypass.map(|finding| &finding["place"]),
        Some(&"sshd for bob: AuthenticationMethods".into()),
        "{found:?}"
    );
    // Whom a rule lets by may come by a key alone.
    sandbox.policy("[[rule]]\nusers = [\"bob\"]\nservices = [\"sshd\"]\naction = \"allow\"\nuntil = 2999-01-01\n");
    assert_eq!(errors(&sandbox, &[]), Vec::<String>::new());
    sandbox.policy("");
    let extra = format!("{SCRATCH}/extra.conf");
    fs::write(&extra, "Match=User bob\n  AuthenticationMethods publickey\n").unwrap();
    for (what, more) in [
        ("another file", format!("Include {extra}\n")),
        ("a network", "Match User bob Address 10.0.0.0/8\n  AuthenticationMethods publickey\n".to_owned()),
        ("a group in a network", "Match Group bob Address 10.0.0.0/8\n  AuthenticationMethods publickey\n".to_owned()),
        ("an equals sign", "Match=User bob\n  AuthenticationMethods publickey\n".to_owned()),
    ] {
        config(&format!("{good}{more}"));
        let found = errors(&sandbox, &[]);
        assert_eq!(found, ["error sshd-bypass"], "{what}");
    }
    config(&format!("{good}Match LocalPort 2222\n  AuthenticationMethods publickey\n"));
    let (found, _) = doctor(&sandbox, &[]);
    assert!(
        found.contains(&"notice sshd-match".to_owned()) && !found.iter().any(|word| word.starts_with("error")),
        "{found:?}"
    );
    config(&format!("{good}NoSuchSetting yes\n"));
    assert!(doctor(&sandbox, &[]).0.contains(&"error sshd-unread".to_owned()));
}

#[test]
fn sudo_that_asks_nothing_is_told() {
    let sandbox = machine();
    let sudoers = "Defaults timestamp_timeout=-1\nroot ALL=(ALL:ALL) ALL\nbob ALL=(ALL) NOPASSWD: ALL\n";
    fs::write("/etc/sudoers", sudoers).unwrap();
    let (found, _) = doctor(&sandbox, &[]);
    assert!(found.contains(&"warning sudo-timestamp".to_owned()), "{found:?}");
    assert!(found.contains(&"notice sudo-unasked".to_owned()), "{found:?}");
    sandbox.service("sudo-i", "@include common-auth\n");
    assert!(doctor(&sandbox, &[]).0.contains(&"warning pam-pair".to_owned()));
}

#[test]
fn policy_state_and_log_that_cannot_be_used_are_errors_and_keep_no_doctor_out() {
    let sandbox = machine();
    let has = |check: &str| {
        let (found, answer) = doctor(&sandbox, &[]);
        assert!(found.contains(&check.to_owned()), "{check} in {answer:#}");
    };
    sandbox.policy("[totp]\npast = 99\n");
    has("error policy");
    sandbox.policy("[[rule]]\nusers = [\"gone\"]\naction = \"allow\"\nuntil = 2001-01-01\n");
    has("warning policy-meaning");
    sandbox.policy("");
    fs::set_permissions(POLICY, fs::Permissions::from_mode(0o666)).unwrap();
    has("error policy");
    fs::set_permissions(POLICY, fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(EVENTS, fs::Permissions::from_mode(0o666)).unwrap();
    has("error events");
    fs::set_permissions(EVENTS, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(format!("{STATE}/.format"), format!("{STATE}/.gone")).unwrap();
    has("error state");
    fs::rename(format!("{STATE}/.gone"), format!("{STATE}/.format")).unwrap();
    fs::remove_dir_all("/run/qrtotp").unwrap();
    has("warning runtime");
    let module = format!("{}/pam_qrtotp.so", security_folder());
    fs::set_permissions(&module, fs::Permissions::from_mode(0o666)).unwrap();
    has("error module");
    fs::copy(format!("{}/pam_permit.so", security_folder()), &module).unwrap();
    has("warning version");
    fs::remove_file(&module).unwrap();
    has("error module");
    has("error pam-module");
}

#[test]
fn a_damaged_journal_is_named_and_repaired_without_letting_a_used_code_in() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let code = alice.phone.code();
    assert_eq!(sandbox.answer("alice", &code), 0);
    fs::write(format!("{STATE}/2001/journal"), vec![7; 4096]).unwrap();
    let (found, answer) = doctor(&sandbox, &[]);
    assert!(found.contains(&"error damaged".to_owned()), "{found:?}");
    let mend = answer["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == "damaged").unwrap();
    assert_eq!(mend["mend"], "qrtotp repair alice");
    let repaired = sandbox.qrtotp(&["repair", "alice"]);
    assert_eq!(repaired.code, 0, "{repaired:?}");
    let two = |first: &str, second: &str| {
        sandbox.run(qrtotp_tests::script::Script::login("alice").answering([first, second])).code()
    };
    sandbox.policy("[totp]\nfuture = 2\n");
    assert_eq!(two(&code, &alice.phone.code_in(1)), 7, "it was used before");
    assert_eq!(sandbox.status("alice")["recovery_left"], 0);
    assert_eq!(two(&alice.phone.code_in(1), &alice.phone.code_in(2)), 0, "two fresh ones get in");
    assert_eq!(sandbox.qrtotp(&["repair", "alice"]).code, 6, "nothing is damaged any more");
    // What the policy does after so many failures may have been done before.
    sandbox.enroll("bob");
    for (policy, state) in [
        ("[limits]\ndisable_after = 40\n", "disabled"),
        ("[limits]\nmode = \"lock\"\nattempts = 12\n", "locked"),
        ("", "stepped_up"),
    ] {
        sandbox.policy(policy);
        fs::write(format!("{STATE}/2002/journal"), "damaged").unwrap();
        assert_eq!(sandbox.qrtotp(&["repair", "bob"]).code, 0);
        assert_eq!(sandbox.status("bob")["state"], state);
    }
}

#[test]
fn stale_users_printed_pictures_and_accounts_out_of_attempts_are_told() {
    let sandbox = machine();
    let png = "/home/root/alice.png";
    let made = sandbox.qrtotp(&["enroll", "alice", "--replace", "--unverified", "--png", png]);
    assert_eq!(made.code, 0, "{made:?}");
    qrtotp_tests::users::remove("carol");
    sandbox.policy("[limits]\ndisable_after = 1\n");
    sandbox.service("code", "auth required pam_qrtotp.so\n");
    sandbox.answer("bob", "000000");
    let (found, answer) = doctor(&sandbox, &[]);
    for check in ["warning stale", "warning picture", "warning disabled"] {
        assert!(found.contains(&check.to_owned()), "{check} in {answer:#}");
    }
    let picture = answer["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == "picture").unwrap();
    assert_eq!(picture["place"], png);
}
