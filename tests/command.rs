//! The command: what it asks, what it stores and when, and how it ends.

use std::fs;

use qrtotp_tests::phone::{Phone, seconds_now};
use qrtotp_tests::product::{POLICY, Parameters, STATE};
use qrtotp_tests::sandbox::Sandbox;
use qrtotp_tests::script::code;
use qrtotp_tests::terminal::Terminal;
use qrtotp_tests::users;

const QUESTION: &str = "Code from the app: ";
const TYPED_BACK: &str = "Type one of them back: ";

/// An enrollment on a terminal, at the question for a code; and the phone the key was typed into.
fn enrolling(sandbox: &Sandbox, options: &[&str], with: Parameters) -> (Terminal, Phone) {
    let mut command = sandbox.command("/usr/local/sbin/qrtotp");
    let mut terminal = Terminal::sized(command.args(["enroll"]).args(options), 40, 100);
    let shown = terminal.wait_for(QUESTION);
    let is_group = |word: &&str| {
        word.len() == 4 && word.bytes().all(|byte| byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte))
    };
    let key: String = shown.split_whitespace().filter(is_group).collect();
    assert_eq!(key.len(), 32, "{shown}");
    (terminal, Phone::new(&key, with))
}

/// The recovery codes on a terminal that asks for one of them.
fn recovery_codes(terminal: &mut Terminal) -> Vec<String> {
    let shown = terminal.wait_for(TYPED_BACK);
    let is_code = |word: &&str| word.len() == 24 && word.split('-').all(|group| group.len() == 4);
    shown.split_whitespace().filter(is_code).map(str::to_owned).collect()
}

#[test]
fn enrolling_ends_with_recovery_codes_and_the_confirming_code_cannot_log_in() {
    let sandbox = Sandbox::new();
    let (mut terminal, phone) = enrolling(&sandbox, &["alice"], Parameters::default());
    phone.settle(4);
    let confirming = phone.code_in(-1);
    terminal.type_line(&confirming);
    let recovery = recovery_codes(&mut terminal);
    assert_eq!(recovery.len(), 10);
    assert_eq!(sandbox.qrtotp(&["status", "alice"]).code, 3, "nothing is stored before the end");
    terminal.type_line(&recovery[7].to_lowercase());
    terminal.wait_for("alice is enrolled");
    assert!(terminal.end().0.success());
    assert_eq!(sandbox.answer("alice", &confirming), code::AUTH_ERR);
    assert_eq!(sandbox.answer("alice", &phone.code()), code::SUCCESS);
    assert_eq!(sandbox.answer("alice", &recovery[7]), code::SUCCESS);
}

#[test]
fn five_wrong_codes_end_an_enrollment_and_nothing_is_stored() {
    let sandbox = Sandbox::new();
    let (mut terminal, phone) = enrolling(&sandbox, &["alice"], Parameters::default());
    for _ in 0..4 {
        terminal.type_line(&phone.wrong_code());
        terminal.wait_for(QUESTION);
    }
    terminal.type_line(&phone.wrong_code());
    let (status, shown) = terminal.end();
    assert_eq!(status.code(), Some(1), "{shown}");
    assert_eq!(sandbox.qrtotp(&["status", "alice"]).code, 3);
    assert!(!fs::exists(format!("{STATE}/2001")).unwrap());
}

#[test]
fn an_enrollment_given_up_at_any_question_stores_nothing() {
    let sandbox = Sandbox::new();
    let (terminal, _) = enrolling(&sandbox, &["alice"], Parameters::default());
    drop(terminal);
    let (mut terminal, _) = enrolling(&sandbox, &["alice"], Parameters::default());
    terminal.type_keys("\u{4}");
    assert_eq!(terminal.end().0.code(), Some(1));
    let (mut terminal, phone) = enrolling(&sandbox, &["alice"], Parameters::default());
    terminal.type_line(&phone.code());
    terminal.wait_for(TYPED_BACK);
    terminal.type_keys("\u{3}");
    terminal.end();
    let (mut terminal, phone) = enrolling(&sandbox, &["alice"], Parameters::default());
    terminal.type_line(&phone.code());
    for _ in 0..4 {
        terminal.wait_for(TYPED_BACK);
        terminal.type_line("AAAA-BBBB-CCCC-DDDD-EEEE");
    }
    terminal.wait_for(TYPED_BACK);
    terminal.type_line("");
    assert_eq!(terminal.end().0.code(), Some(1));
    assert_eq!(sandbox.qrtotp(&["status", "alice"]).code, 3);
    assert!(!fs::exists(format!("{STATE}/2001")).unwrap());
}

#[test]
fn until_a_replacement_is_complete_the_old_enrollment_works() {
    let sandbox = Sandbox::new();
    let old = sandbox.enroll("alice");
    let conflict = sandbox.qrtotp(&["enroll", "alice", "--unverified"]);
    assert_ne!(conflict.code, 0, "the label is taken: {conflict:?}");
    let (mut terminal, phone) = enrolling(&sandbox, &["alice", "--replace"], Parameters::default());
    terminal.type_line(&phone.code());
    let recovery = recovery_codes(&mut terminal);
    assert_eq!(sandbox.answer("alice", &old.phone.code()), code::SUCCESS);
    terminal.type_line(&recovery[0]);
    assert!(terminal.end().0.success());
    assert_eq!(sandbox.answer("alice", &old.recovery_codes[0]), code::AUTH_ERR);
    assert_eq!(sandbox.answer("alice", &recovery[0]), code::SUCCESS);
}

#[test]
fn an_app_that_ignores_a_setting_and_a_clock_that_is_off_are_recognised() {
    let sandbox = Sandbox::new();
    let options = ["alice", "--algorithm", "sha256", "--digits", "8", "--period", "60"];
    let (mut terminal, phone) = enrolling(&sandbox, &options, Parameters::default());
    terminal.type_line(&phone.code());
    let said = terminal.wait_for(QUESTION);
    for part in ["ignored", "algorithm", "digits", "period"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    drop(terminal);
    let (mut terminal, phone) = enrolling(&sandbox, &["alice"], Parameters::default());
    terminal.type_line(&phone.code_at(seconds_now() + 600));
    let said = terminal.wait_for(QUESTION);
    assert!(said.contains("clock") && said.contains("ahead"), "{said}");
    terminal.type_line(&phone.code_at(seconds_now() - 600));
    let said = terminal.wait_for(QUESTION);
    assert!(said.contains("clock") && said.contains("behind"), "{said}");
}

#[test]
fn a_key_or_a_uri_from_standard_input_is_enrolled_and_short_or_broken_ones_are_refused() {
    let sandbox = Sandbox::new();
    let uri = "otpauth://totp/Example:alice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Example&digits=8&period=60";
    let stdin = ["enroll", "alice", "--stdin", "--unverified", "--json"];
    let ran = sandbox.qrtotp_told(uri, &stdin);
    assert_eq!(ran.code, 0, "{ran:?}");
    let with = Parameters { digits: 8, period: 60, ..Parameters::default() };
    let phone = Phone::new("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", with);
    assert_eq!(sandbox.answer("alice", &phone.code()), code::SUCCESS);
    let bob = ["enroll", "bob", "--stdin", "--unverified"];
    for bad in ["", "GEZDGNBV", "not base32 at all!!", "otpauth://hotp/x?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"] {
        let ran = sandbox.qrtotp_told(bad, &bob);
        assert!([1, 2].contains(&ran.code) && ran.stderr.starts_with("qrtotp: "), "{bad:?}: {ran:?}");
    }
    assert_eq!(sandbox.qrtotp(&["status", "bob"]).code, 3);
    let spaced = sandbox.qrtotp_told("gezd gnbv gy3t qojq gezd gnbv gy3t qojq\n", &bob);
    assert_eq!(spaced.code, 0, "{spaced:?}");
}

#[test]
fn the_exit_code_says_how_it_ended() {
    let sandbox = Sandbox::new();
    sandbox.enroll("alice");
    let table: [(&[&str], i32); 11] = [
        (&["status", "alice"], 0),
        (&["list"], 0),
        (&["status"], 0),
        (&["frobnicate"], 2),
        (&["enroll", "bob", "--digits", "5"], 2),
        (&["enroll", "bob", "--period", "7"], 2),
        (&["enroll", "bob", "--algorithm", "md5"], 2),
        (&["status", "bob"], 3),
        (&["status", "nosuchuser"], 5),
        (&["device", "remove", "alice", "phone"], 6),
        (&["--config", "/nonexistent/config.toml", "status", "alice"], 4),
    ];
    for (arguments, expected) in table {
        let ran = sandbox.qrtotp(arguments);
        assert_eq!(ran.code, expected, "{arguments:?}: {ran:?}");
        if expected > 2 && !ran.stderr.is_empty() {
            assert!(ran.stderr.starts_with("qrtotp: "), "{ran:?}");
        }
    }
    fs::write(POLICY, "[totp]\npsat = 1\n").unwrap();
    let ran = sandbox.qrtotp(&["status", "alice"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.stderr.contains("line 2") && ran.stderr.contains("past"), "{ran:?}");
    sandbox.policy("");
    fs::remove_file(format!("{STATE}/.format")).unwrap();
    assert_eq!(sandbox.qrtotp(&["status", "alice"]).code, 4);
}

#[test]
fn verify_judges_like_a_login_and_spends_the_code() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let right = alice.phone.code();
    assert_eq!(sandbox.qrtotp_told(&alice.phone.wrong_code(), &["verify", "alice"]).code, 1);
    let ran = sandbox.qrtotp_told(&right, &["verify", "alice", "--json"]);
    assert_eq!((ran.code, &ran.json()["accepted"]), (0, &true.into()), "{ran:?}");
    assert_eq!(sandbox.qrtotp_told(&right, &["verify", "alice"]).code, 1);
    assert_eq!(sandbox.answer("alice", &right), code::AUTH_ERR);
    assert_eq!(sandbox.qrtotp_told("123456", &["verify", "bob"]).code, 3);
}

#[test]
fn a_fresh_set_of_recovery_codes_ends_the_old_one() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let ran = sandbox.qrtotp(&["recovery", "alice", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let fresh = ran.json()["recovery_codes"].clone();
    let fresh: Vec<&str> = fresh.as_array().unwrap().iter().map(|code| code.as_str().unwrap()).collect();
    assert_eq!(fresh.len(), 10);
    assert_eq!(sandbox.answer("alice", &alice.recovery_codes[0]), code::AUTH_ERR);
    assert_eq!(sandbox.answer("alice", fresh[0]), code::SUCCESS);
    let count = sandbox.qrtotp(&["recovery", "alice", "--count"]);
    assert!(count.code == 0 && count.stdout.contains('9'), "{count:?}");
    assert_eq!(sandbox.answer("alice", &alice.phone.code()), code::SUCCESS);
}

#[test]
fn a_budget_that_was_spent_is_full_after_unlock() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    for _ in 0..5 {
        sandbox.answer("alice", &alice.phone.wrong_code());
    }
    assert_eq!(sandbox.status("alice")["budget"]["unknown_left"], 0);
    assert_eq!(sandbox.status("alice")["failed_attempts"]["count"], 5);
    assert_eq!(sandbox.qrtotp(&["unlock", "alice"]).code, 0);
    assert_eq!(sandbox.status("alice")["budget"]["unknown_left"], 5);
    assert_eq!(sandbox.answer("alice", &alice.phone.code()), code::SUCCESS);
}

#[test]
fn a_used_code_stays_used_after_unlock_recovery_and_device_changes() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let right = alice.phone.code();
    assert_eq!(sandbox.answer("alice", &right), code::SUCCESS);
    let acts: [&[&str]; 5] = [
        &["unlock", "alice"],
        &["recovery", "alice"],
        &["device", "rename", "alice", "phone", "old phone"],
        &["enroll", "alice", "--label", "tablet", "--unverified"],
        &["device", "disable", "alice", "old phone"],
    ];
    for act in acts {
        assert_eq!(sandbox.qrtotp(act).code, 0, "{act:?}");
        assert_eq!(sandbox.answer("alice", &right), code::AUTH_ERR, "{act:?}");
    }
    assert_eq!(sandbox.qrtotp(&["device", "enable", "alice", "old phone"]).code, 0);
    assert_eq!(sandbox.qrtotp(&["unlock", "alice"]).code, 0);
    assert_eq!(sandbox.answer("alice", &right), code::AUTH_ERR);
}

#[test]
fn devices_are_at_most_four_and_the_last_enabled_one_cannot_go() {
    let sandbox = Sandbox::new();
    for label in ["one", "two", "three", "four"] {
        sandbox.enroll_device("alice", label, Parameters::default());
    }
    assert_ne!(sandbox.qrtotp(&["enroll", "alice", "--label", "five", "--unverified"]).code, 0);
    for label in ["one", "two"] {
        assert_eq!(sandbox.qrtotp(&["device", "remove", "alice", label]).code, 0);
    }
    assert_eq!(sandbox.qrtotp(&["device", "disable", "alice", "three"]).code, 0);
    let last = sandbox.qrtotp(&["device", "remove", "alice", "four"]);
    assert_ne!(last.code, 0, "{last:?}");
    let devices = sandbox.status("alice")["devices"].clone();
    assert_eq!(devices.as_array().unwrap().len(), 2, "{devices}");
}

#[test]
fn a_revocation_holds_until_a_replacement() {
    let sandbox = Sandbox::new();
    sandbox.enroll("alice");
    assert_eq!(sandbox.qrtotp(&["revoke", "alice", "--reason", "left"]).code, 0);
    assert_eq!(sandbox.status("alice")["state"], "revoked");
    assert_ne!(sandbox.qrtotp(&["enroll", "alice", "--label", "new", "--unverified"]).code, 0);
    let key = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    let again = sandbox.qrtotp_told(key, &["enroll", "alice", "--replace", "--stdin", "--unverified"]);
    assert_eq!(again.code, 0, "{again:?}");
    assert_eq!(sandbox.answer("alice", &Phone::new(key, Parameters::default()).code()), code::SUCCESS);
}

#[test]
fn state_of_users_that_no_longer_exist_is_collected_and_no_other() {
    let sandbox = Sandbox::new();
    let [_, bob] = ["alice", "bob"].map(|name| sandbox.enroll(name));
    users::remove("alice");
    let named = sandbox.qrtotp(&["gc"]);
    assert!(named.code == 0 && fs::exists(format!("{STATE}/2001")).unwrap(), "{named:?}");
    let ran = sandbox.qrtotp(&["gc", "--yes"]);
    assert!(ran.code == 0 && !fs::exists(format!("{STATE}/2001")).unwrap(), "{ran:?}");
    assert_eq!(sandbox.answer("bob", &bob.phone.code()), code::SUCCESS);
}

#[test]
fn init_can_be_run_again_and_changes_nothing() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    sandbox.policy("[prompt]\ntext = \"Mine: \"\n");
    assert_eq!(sandbox.qrtotp(&["init"]).code, 0);
    assert_eq!(fs::read_to_string(POLICY).unwrap(), "[prompt]\ntext = \"Mine: \"\n");
    assert_eq!(sandbox.answer("alice", &alice.phone.code()), code::SUCCESS);
}

#[test]
fn a_whole_installation_can_live_in_a_folder() {
    let sandbox = Sandbox::bare();
    let folder = "/home/installation";
    fs::create_dir_all(format!("{folder}/run")).unwrap();
    let config = format!("{folder}/config.toml");
    let policy = format!(
        "[state]\ndir = \"{folder}/state\"\n[events]\nfile = \"{folder}/events.jsonl\"\n[runtime]\ndir = \"{folder}/run\"\n"
    );
    fs::write(&config, policy).unwrap();
    let key = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    assert_eq!(sandbox.qrtotp(&["--config", &config, "init"]).code, 0);
    let ran = sandbox.qrtotp_told(key, &["--config", &config, "enroll", "alice", "--stdin", "--unverified"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    sandbox.service("folder", &format!("auth required pam_qrtotp.so config={config}\n"));
    let code = Phone::new(key, Parameters::default()).code();
    let script = qrtotp_tests::script::Script::login("alice").at("folder").answering([code]);
    assert_eq!(sandbox.run(script).code(), code::SUCCESS);
    assert!(fs::exists(format!("{folder}/events.jsonl")).unwrap());
    assert!(!fs::exists(STATE).unwrap() && !fs::exists("/var/log/qrtotp").unwrap());
}

#[test]
fn nobody_but_root_may_use_it() {
    let sandbox = Sandbox::new();
    sandbox.enroll("alice");
    for arguments in [&["status", "alice"] as &[&str], &["list"], &["recovery", "alice"], &["unlock", "alice"]] {
        let mut command = sandbox.command_as(2005, "/usr/local/sbin/qrtotp");
        let output = command.args(arguments).output().unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{arguments:?}: {output:?}");
    }
}

#[test]
fn a_key_and_its_code_can_be_piped_in_together() {
    let sandbox = Sandbox::new();
    let key = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    let phone = Phone::new(key, Parameters::default());
    phone.settle(4);
    let code = phone.code();
    let ran = sandbox.qrtotp_told(&format!("{key}\n{code}\n"), &["enroll", "alice", "--stdin", "--json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!((&ran.json()["verified"], ran.json()["recovery_codes"].as_array().unwrap().len()), (&true.into(), 10));
    assert_ne!(sandbox.answer("alice", &code), code::SUCCESS, "the confirming code cannot log in");
}

#[test]
fn what_cannot_be_shown_is_not_stored() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    for act in [
        "enroll alice --replace --unverified",
        "enroll alice --replace --unverified --json",
        "recovery alice",
        "recovery alice --json",
    ] {
        let ran = sandbox.command("/bin/sh").args(["-c", &format!("qrtotp {act} > /dev/full")]).status().unwrap();
        assert_eq!(ran.code(), Some(1), "{act}");
    }
    assert_eq!(sandbox.answer("alice", &alice.phone.code()), code::SUCCESS);
    assert_eq!(sandbox.answer("alice", &alice.recovery_codes[0]), code::SUCCESS);
}

#[test]
fn a_picture_that_a_terminal_cannot_show_is_said_to_be_too_large_below_it() {
    let sandbox = Sandbox::new();
    for (rows, columns, is_drawn) in [(24, 80, true), (20, 60, true), (24, 30, false)] {
        let mut command = sandbox.command("/usr/local/sbin/qrtotp");
        let mut terminal = Terminal::sized(command.args(["enroll", "alice", "--qr", "utf8"]), rows, columns);
        let shown = terminal.wait_for(QUESTION);
        let is_told = shown.contains("The picture needs");
        assert_eq!(
            (shown.contains('\u{2588}'), is_told),
            (is_drawn, (rows, columns) != (24, 80)),
            "{rows}x{columns}: {shown}"
        );
    }
}

#[test]
fn a_second_revocation_keeps_the_reason_of_the_first() {
    let sandbox = Sandbox::new();
    sandbox.enroll("alice");
    assert_eq!(sandbox.qrtotp(&["revoke", "alice", "--reason", "left"]).code, 0);
    let again = sandbox.qrtotp(&["revoke", "alice", "--reason", "again"]);
    assert!(again.code == 6 && again.stderr.contains("left"), "{again:?}");
    assert_eq!(sandbox.status("alice")["revoked"]["reason"], "left");
}
