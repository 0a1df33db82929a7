//! People come over from google-authenticator, pam_oath and apps with the devices that they have, and log in with them; what
//! was used there is none here, and what cannot be taken over is refused and named.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};

use data_encoding::{BASE32_NOPAD, BASE64, HEXLOWER};
use qrtotp_tests::paper;
use qrtotp_tests::phone::{Phone, seconds_now};
use qrtotp_tests::product::{EVENTS, Parameters, Ran, STATE, random};
use qrtotp_tests::sandbox::Sandbox;
use qrtotp_tests::script::{Script, code};
use qrtotp_tests::ssh::{Client, Sshd};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;

const FILE: &str = ".google_authenticator";
/// A code and nothing else, by keyboard-interactive.
const CODE_ONLY: &str = "AuthenticationMethods keyboard-interactive:pam\nKbdInteractiveAuthentication yes\n\
                         PasswordAuthentication no\n";

/// Has the real program write the file of a user; gives the key.
fn google_authenticator(sandbox: &Sandbox, user: &str, uid: u32, options: &[&str]) -> String {
    let path = format!("/home/{user}/{FILE}");
    let mut command = sandbox.command_as(uid, "/usr/bin/google-authenticator");
    let command = command.env("HOME", format!("/home/{user}")).env("USER", user);
    let output = command.args(["-f", "-C", "-q", "-Q", "NONE"]).args(options).output().expect("google-authenticator");
    assert!(output.status.success(), "{output:?}");
    fs::read_to_string(path).unwrap().lines().next().unwrap().to_owned()
}

fn write(path: &str, uid: u32, mode: u32, content: impl AsRef<[u8]>) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    chown(path, Some(uid), Some(uid)).unwrap();
}

/// A file of google-authenticator in somebody's home.
fn home_file(user: &str, uid: u32, mode: u32, content: impl AsRef<[u8]>) {
    write(&format!("/home/{user}/{FILE}"), uid, mode, content);
}

fn import(sandbox: &Sandbox, options: &[&str]) -> (Ran, Vec<Value>) {
    let ran = sandbox.qrtotp(&[&["import", "--json"], options].concat());
    let rows = ran.json()["rows"].as_array().unwrap().clone();
    (ran, rows)
}

/// `user: what: outcome`, with the reason where it is refused.
fn lines(rows: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let line = |row: &Value| {
        let (user, what, outcome) = (text(&row["user"]), text(&row["what"]), text(&row["outcome"]));
        if outcome == "refused" {
            format!("{user}: {what}: {outcome}: {}", text(&row["why"]))
        } else {
            format!("{user}: {what}: {outcome}")
        }
    };
    rows.iter().map(line).collect()
}

fn why(rows: &[Value], at: usize) -> String {
    rows[at]["why"].as_str().unwrap_or("").to_owned()
}

/// Everything in the state and the events, to see that nothing was written.
fn written(sandbox: &Sandbox) -> String {
    let listing = sandbox.output_of("/usr/bin/find", &[STATE, "/run/qrtotp", "-printf", "%p %i %s %C@\n"]);
    listing + &fs::read_to_string(EVENTS).unwrap_or_default()
}

fn key() -> String {
    BASE32_NOPAD.encode(&random::<20>())
}

/// A file as the program writes it, by hand.
fn google_file(key: &str, options: &str) -> String {
    format!("{key}\n\" TOTP_AUTH\n{options}11112222\n33334444\n")
}

#[test]
fn whoever_used_google_authenticator_logs_in_with_the_same_app_and_no_used_code_is_good_again() {
    let sandbox = Sandbox::new();
    let usual = google_authenticator(&sandbox, "alice", 2001, &["-t", "-d", "-r", "3", "-R", "30", "-w", "3"]);
    let long = google_authenticator(&sandbox, "bob", 2002, &["-t", "-d", "-u", "-w", "17", "-S", "60", "-e", "10"]);
    google_authenticator(&sandbox, "carol", 2003, &["-c", "-u", "-w", "3"]);
    google_authenticator(&sandbox, "dave", 2004, &["-t", "-D", "-u", "-W"]);
    assert_eq!(usual.len(), 26, "the premise: 128 bits");
    let alice = Phone::new(&usual, Parameters::default());
    let bob = Phone::new(&long, Parameters { period: 60, ..Parameters::default() });
    // Used with the real module, a moment ago.
    sandbox.service("old", "auth required pam_google_authenticator.so\naccount required pam_permit.so\n");
    alice.settle(10);
    let used = alice.code_in(-1);
    assert_eq!(sandbox.run(Script::login("alice").at("old").answering([used.as_str()])).code(), code::SUCCESS);
    let file = fs::read_to_string(format!("/home/alice/{FILE}")).unwrap();
    assert!(file.contains("DISALLOW_REUSE 5") || file.contains("DISALLOW_REUSE 6"), "the premise: {file}");
    let (ran, rows) = import(&sandbox, &["google-authenticator", "--homes"]);
    let expected = [
        "alice: key of 128 bits, SHA1/6/30: came_over",
        "alice: 5 scratch codes: not_taken_over",
        "alice: RATE_LIMIT 3 30, WINDOW_SIZE 3: not_taken_over",
        "bob: key of 128 bits, SHA1/6/60: came_over",
        "bob: 10 scratch codes: not_taken_over",
        "bob: WINDOW_SIZE 17: not_taken_over",
        "carol: key: refused: counter-based (HOTP_COUNTER): its codes cannot be used here",
        "dave: key of 128 bits, SHA1/6/30: came_over",
        "dave: 5 scratch codes: not_taken_over",
    ];
    let found: Vec<_> = lines(&rows).into_iter().filter(|line| !line.starts_with("dave: WINDOW")).collect();
    assert_eq!(found, expected);
    assert_eq!((ran.code, ran.json()["came_over"].as_u64(), ran.json()["refused"].as_u64()), (1, Some(3), Some(1)));
    assert!(why(&rows, 1).contains("qrtotp recovery alice"), "{}", why(&rows, 1));
    assert_eq!(sandbox.answer("alice", &used), code::AUTH_ERR);
    assert_eq!(sandbox.last_reason(), "replayed");
    assert_eq!(sandbox.answer("alice", &alice.code()), code::SUCCESS);
    assert_eq!(sandbox.answer("bob", &bob.code()), code::SUCCESS, "never used there");
    let status = sandbox.status("alice");
    assert_eq!((&status["devices"][0]["label"], &status["devices"][0]["weak"]), (&"phone".into(), &false.into()));
    assert_eq!(status["recovery_left"], 0);
    assert!(fs::exists(format!("/home/alice/{FILE}")).unwrap(), "the old file stays");
    let events: Vec<_> = sandbox.events().into_iter().filter(|event| event["event"] == "enroll").collect();
    assert_eq!(events.len(), 3);
    assert_eq!(events[0]["reason"], "enrolled_import_google_authenticator_unverified");
    assert!(events[0]["detail"].as_str().unwrap().contains("/home/alice/.google_authenticator"), "{}", events[0]);
    let told = ran.stdout + &ran.stderr + &fs::read_to_string(EVENTS).unwrap();
    assert!(!told.contains(&usual) && !told.contains(&long), "{told}");
}

/// Who was allowed to use a code twice has no record of those that were used.
#[test]
fn where_used_codes_are_not_known_none_is_good_that_could_have_been_used() {
    let sandbox = Sandbox::new();
    let key = google_authenticator(&sandbox, "dave", 2004, &["-t", "-D", "-u", "-W"]);
    let phone = Phone::new(&key, Parameters::default());
    sandbox.service("old", "auth required pam_google_authenticator.so\naccount required pam_permit.so\n");
    phone.settle(10);
    let used = phone.code();
    assert_eq!(sandbox.run(Script::login("dave").at("old").answering([used.as_str()])).code(), code::SUCCESS);
    let (ran, rows) = import(&sandbox, &["google-authenticator", "--user", "dave"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(why(&rows, 0).contains("its codes count from"), "{}", why(&rows, 0));
    assert_eq!(sandbox.answer("dave", &used), code::AUTH_ERR);
    assert_eq!(sandbox.last_reason(), "replayed");
    sandbox.policy("[totp]\nfuture = 1\n");
    assert_eq!(sandbox.answer("dave", &phone.code_in(1)), code::SUCCESS);
}

#[test]
fn an_old_short_key_comes_over_only_if_it_is_accepted_and_is_called_weak_from_then_on() {
    let sandbox = Sandbox::new();
    let weak = BASE32_NOPAD.encode(&random::<10>());
    home_file("alice", 2001, 0o400, google_file(&weak, "\" DISALLOW_REUSE\n"));
    home_file("bob", 2002, 0o400, google_file(&BASE32_NOPAD.encode(&random::<8>()), ""));
    let (ran, rows) = import(&sandbox, &["google-authenticator", "--homes"]);
    assert_eq!(
        (ran.code, rows[0]["outcome"].as_str(), rows[0]["secret_bits"].as_u64()),
        (1, Some("refused"), Some(80))
    );
    assert!(why(&rows, 0).contains("--accept-weak") && why(&rows, 0).contains("qrtotp enroll alice"));
    assert_eq!(sandbox.status("alice")["state"], "not_enrolled");
    let (ran, rows) = import(&sandbox, &["google-authenticator", "--homes", "--accept-weak"]);
    assert_eq!(ran.code, 1, "bob's stays refused");
    assert!(why(&rows, 2).contains("64 bits; below 80 it is never taken over"), "{rows:?}");
    assert!(why(&rows, 0).contains("WEAK, 80 bits") && why(&rows, 0).contains("qrtotp rotate alice"));
    let phone = Phone::new(&weak, Parameters::default());
    let code = phone.code();
    assert_eq!(sandbox.answer("alice", &code), code::SUCCESS);
    assert_eq!(sandbox.answer("alice", &code), code::AUTH_ERR);
    let status = sandbox.qrtotp(&["status", "alice"]).stdout;
    assert!(status.contains("weak: 80 bits") && status.contains("qrtotp rotate alice"), "{status}");
    assert_eq!(sandbox.status("alice")["devices"][0]["weak"], true);
    assert!(sandbox.qrtotp(&["device", "list", "alice"]).stdout.contains("enabled, weak: 80 bits"));
    assert_eq!(sandbox.qrtotp(&["device", "list", "alice", "--json"]).json()["devices"][0]["secret_bits"], 80);
    assert!(sandbox.qrtotp(&["status"]).stdout.contains("weak     phone of alice has 80 bits"));
    assert_eq!(sandbox.qrtotp(&["status", "--json"]).json()["weak"][0]["user"], "alice");
    let scanned = sandbox.qrtotp(&["scan", "/home/alice", "--json"]).json();
    assert_eq!(scanned["findings"][0]["key"], "alive", "{scanned}");
    let event = sandbox.events().into_iter().find(|event| event["event"] == "enroll").unwrap();
    assert!(event["detail"].as_str().unwrap().starts_with("weak key"), "{event}");
    assert_eq!(sandbox.qrtotp(&["rotate", "alice"]).code, 0, "what it says works");
    assert_eq!(sandbox.qrtotp_told(&weak, &["enroll", "bob", "--stdin", "--unverified"]).code, 2, "by import only");
}

#[test]
fn who_was_revoked_comes_back_only_if_he_is_named() {
    let sandbox = Sandbox::new();
    sandbox.enroll("mallory");
    assert_eq!(sandbox.qrtotp(&["revoke", "mallory", "--reason", "stolen phone"]).code, 0);
    let (key, other) = (key(), key());
    home_file("mallory", 2005, 0o400, google_file(&key, "\" DISALLOW_REUSE\n"));
    let (oath, _) = hex();
    write("/etc/users.oath", 0, 0o600, format!("HOTP/T30 mallory - {oath}\n"));
    let app = export(&[account(&random::<20>(), "mallory@testhost", "", TOTP)], 0, 1);
    let sources: [&[&str]; 3] = [&["google-authenticator", "--homes"], &["oath"], &["migration", &app]];
    for source in sources {
        for manner in [&["--replace"][..], &["--replace", "--dry-run"], &["--add"], &[]] {
            let (ran, rows) = import(&sandbox, &[source, manner].concat());
            assert_eq!((ran.code, rows[0]["outcome"].as_str()), (1, Some("refused")), "{source:?} {manner:?} {ran:?}");
            let told = why(&rows, 0);
            assert!(told.contains("revoked (stolen phone)") && told.contains("--user mallory --replace"), "{told}");
        }
        assert_eq!(sandbox.status("mallory")["state"], "revoked");
    }
    // What cannot be read may be a revocation that found no room on the disk.
    sandbox.enroll("alice");
    home_file("alice", 2001, 0o400, google_file(&other, "\" DISALLOW_REUSE\n"));
    fs::remove_file(format!("{STATE}/2001/credentials.toml")).unwrap();
    let (_, rows) = import(&sandbox, &["google-authenticator", "--homes", "--replace"]);
    assert!(why(&rows, 0).contains("--user alice --replace"), "{rows:?}");
    for user in ["alice", "mallory"] {
        let (ran, _) = import(&sandbox, &["google-authenticator", "--user", user, "--replace"]);
        assert_eq!((ran.code, sandbox.status(user)["state"].as_str()), (0, Some("enrolled")), "{ran:?}");
    }
}

#[test]
fn a_key_of_one_repeated_byte_is_no_secret_and_root_is_taken_by_name_only() {
    let sandbox = Sandbox::new();
    home_file("alice", 2001, 0o400, google_file(&"A".repeat(32), "\" DISALLOW_REUSE\n"));
    write("/etc/users.oath", 0, 0o600, format!("HOTP/T30 bob - {}\nHOTP/T30 root - {}\n", "31".repeat(10), hex().0));
    let app = export(&[account(&[0xff; 20], "carol@testhost", "", TOTP)], 0, 1);
    let sources: [&[&str]; 3] = [&["google-authenticator", "--homes"], &["oath"], &["migration", &app]];
    for (source, user) in sources.into_iter().zip(["alice", "bob", "carol"]) {
        let (ran, rows) = import(&sandbox, &[source, &["--accept-weak"]].concat());
        assert_eq!((ran.code, rows[0]["outcome"].as_str()), (1, Some("refused")), "{source:?} {ran:?}");
        assert!(why(&rows, 0).contains("no secret: every byte of the key is the same"), "{rows:?}");
        assert_eq!(sandbox.status(user)["state"], "not_enrolled");
    }
    let (_, rows) = import(&sandbox, &["oath"]);
    assert!(why(&rows, 1).contains("user id 0 is taken by --user root only"), "{rows:?}");
    assert_eq!(sandbox.status("root")["state"], "not_enrolled");
    assert_eq!(import(&sandbox, &["oath", "--user", "root"]).0.code, 0);
    assert_eq!(sandbox.status("root")["state"], "enrolled");
}

#[test]
fn a_dry_run_shows_the_same_table_and_writes_nothing() {
    let sandbox = Sandbox::new();
    home_file("alice", 2001, 0o400, google_file(&key(), "\" DISALLOW_REUSE\n"));
    home_file("bob", 2002, 0o400, google_file(&key(), "\" HOTP_COUNTER 1\n"));
    sandbox.enroll("carol");
    home_file("carol", 2003, 0o400, google_file(&key(), ""));
    let before = written(&sandbox);
    let (dry, rows) = import(&sandbox, &["google-authenticator", "--homes", "--dry-run"]);
    let text = sandbox.qrtotp(&["import", "google-authenticator", "--homes", "--dry-run"]);
    assert_eq!(written(&sandbox), before);
    assert!(text.stdout.contains("would come over") && text.stderr.contains("Nothing was written."), "{text:?}");
    assert_eq!((dry.json()["dry_run"].as_bool(), rows[0]["device"].is_null()), (Some(true), true));
    let (ran, done) = import(&sandbox, &["google-authenticator", "--homes"]);
    assert_eq!(lines(&done), lines(&rows));
    assert_eq!((ran.code, dry.code, text.code), (1, 1, 1));
}

#[test]
fn who_is_enrolled_is_left_alone_unless_told_otherwise_and_a_second_import_changes_nothing() {
    let sandbox = Sandbox::new();
    let old = sandbox.enroll("alice");
    let key = key();
    let phone = Phone::new(&key, Parameters::default());
    phone.settle(10);
    let step = seconds_now() / 30;
    home_file("alice", 2001, 0o600, google_file(&key, &format!("\" DISALLOW_REUSE {}\n", step - 2)));
    let user = ["google-authenticator", "--user", "alice"];
    let (ran, rows) = import(&sandbox, &user);
    assert_eq!(ran.code, 1);
    assert!(why(&rows, 0).contains("was left so") && why(&rows, 0).contains("--add"), "{}", why(&rows, 0));
    assert_eq!(sandbox.status("alice")["devices"].as_array().unwrap().len(), 1);
    let (ran, rows) = import(&sandbox, &[&user[..], &["--add"]].concat());
    assert_eq!((ran.code, rows[0]["device"]["label"].as_str()), (0, Some("phone 2")), "{ran:?}");
    let last = sandbox.events().pop().unwrap();
    assert_eq!(last["reason"], "device_added_import_google_authenticator_unverified");
    assert_eq!(sandbox.answer("alice", &phone.code()), code::SUCCESS);
    assert_eq!(sandbox.answer("alice", &old.phone.code()), code::SUCCESS, "the old one is as good as before");
    assert_eq!(sandbox.status("alice")["recovery_left"], 10);
    let (ran, rows) = import(&sandbox, &user);
    assert_eq!((ran.code, rows[0]["outcome"].as_str()), (0, Some("here_before")), "{ran:?}");
    let ticket = sandbox.ticket("alice", &[]);
    let (ran, rows) = import(&sandbox, &[&user[..], &["--replace", "--label", "app"]].concat());
    assert_eq!((ran.code, rows[0]["device"]["label"].as_str()), (0, Some("app")), "{ran:?}");
    assert_eq!(sandbox.answer("alice", &old.phone.code_in(-1)), code::AUTH_ERR, "the old one went");
    assert_eq!(sandbox.answer("alice", &phone.code()), code::AUTH_ERR, "used before the replacement");
    assert_eq!(sandbox.last_reason(), "replayed");
    let tickets = sandbox.qrtotp(&["ticket", "list", "--json"]).stdout;
    assert!(tickets.contains("\"tickets\":[]"), "{ticket} {tickets}");
    assert_eq!(sandbox.qrtotp(&["device", "disable", "alice", "app"]).code, 6);
    assert_eq!(sandbox.qrtotp(&["revoke", "alice", "--reason", "gone"]).code, 0);
    let (ran, rows) = import(&sandbox, &[&user[..], &["--add"]].concat());
    assert!(ran.code == 1 && why(&rows, 0).contains("revoked"), "{}", why(&rows, 0));
    assert_eq!(import(&sandbox, &[&user[..], &["--replace"]].concat()).0.code, 0);
}

#[test]
fn hostile_files_in_homes_are_refused_and_named_and_keep_nobody_else_out() {
    let sandbox = Sandbox::new();
    let good = key();
    let text = google_file(&good, "\" DISALLOW_REUSE\n");
    write("/home/root/secret", 0, 0o600, &text);
    symlink("/home/root/secret", format!("/home/alice/{FILE}")).unwrap();
    mknodat(CWD, format!("/home/bob/{FILE}"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    home_file("carol", 2003, 0o666, &text);
    home_file("dave", 2005, 0o600, &text);
    home_file("mallory", 2005, 0o600, vec![b'A'; 65 * 1024]);
    home_file("nobody-enrolled", 2006, 0o600, &text);
    qrtotp_tests::users::add("eve", 2007);
    home_file("eve", 2007, 0o600, format!("{good}\n\" TOTP_AUTH\0\n"));
    qrtotp_tests::users::add("frank", 2008);
    fs::create_dir(format!("/home/frank/{FILE}")).unwrap();
    qrtotp_tests::users::add("grace", 2009);
    fs::hard_link("/home/root/secret", format!("/home/grace/{FILE}")).unwrap();
    // Two accounts that share a home: the file there is root's, and nobody says whose key it is.
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    fs::write("/etc/passwd", passwd + "operator:x:2010:2010::/home/root:/bin/sh\n").unwrap();
    fs::rename("/home/root/secret", "/home/root/other").unwrap();
    fs::remove_file(format!("/home/grace/{FILE}")).unwrap();
    home_file("root", 0, 0o600, google_file(&key(), ""));
    let (ran, rows) = import(&sandbox, &["google-authenticator", "--homes"]);
    let all = lines(&rows);
    let of =
        |user: &str| all.iter().find(|line| line.starts_with(&format!("{user}: key"))).cloned().unwrap_or_default();
    for (user, reason) in [
        ("alice", "symbolic link"),
        ("bob", "not a regular file"),
        ("carol", "has mode 666: others could have written it"),
        ("dave", "belongs to user id 2005, not to user id 2004 or root"),
        ("mallory", "larger than 64 KiB"),
        ("eve", "line 2, column 12: a byte that no such file has"),
        ("frank", "not a regular file"),
        ("operator", "belongs to user id 0, not to user id 2010, whose home"),
    ] {
        assert!(of(user).contains(reason), "{user}: {all:?}");
        assert!(["not_enrolled"].contains(&sandbox.status(user)["state"].as_str().unwrap()), "{user}");
    }
    for user in ["nobody-enrolled", "root"] {
        assert!(of(user).ends_with("came_over"), "{all:?}");
    }
    assert_eq!((ran.code, ran.json()["came_over"].as_u64()), (1, Some(2)));
    assert_eq!(sandbox.answer("nobody-enrolled", &Phone::new(&good, Parameters::default()).code()), code::SUCCESS);
    let hard = fs::hard_link("/home/root/other", format!("/home/grace/{FILE}"));
    let (_, rows) = import(&sandbox, &["google-authenticator", "--user", "grace"]);
    assert!(hard.is_ok() && why(&rows, 0).contains("hard link"), "{rows:?}");
    let ran = sandbox.qrtotp(&["import", "google-authenticator", "/no/such/file", "--user", "alice"]);
    assert!(ran.code == 1 && ran.stderr.contains("no such file"), "{ran:?}");
    assert_eq!(sandbox.qrtotp(&["import", "google-authenticator"]).code, 2);
    assert_eq!(sandbox.qrtotp(&["import", "google-authenticator", "--homes", "--user", "bob"]).code, 2);
    assert_eq!(sandbox.qrtotp(&["import", "google-authenticator", "--user", "nobody-there"]).code, 5);
}

#[test]
fn a_file_elsewhere_that_is_roots_or_the_users_is_taken_for_who_is_named() {
    let sandbox = Sandbox::new();
    let key = key();
    fs::create_dir("/var/lib/otp").unwrap();
    write("/var/lib/otp/alice", 0, 0o644, google_file(&key, "\" DISALLOW_REUSE\n\" TIME_SKEW 4\nwhat is this\n"));
    let (ran, rows) = import(&sandbox, &["google-authenticator", "/var/lib/otp/alice", "--user", "alice"]);
    let expected = [
        "alice: key of 160 bits, SHA1/6/30: came_over",
        "alice: TIME_SKEW 4: not_taken_over",
        "alice: 2 scratch codes: not_taken_over",
        "alice: line 5: not_taken_over",
    ];
    assert_eq!((lines(&rows), ran.code), (expected.map(str::to_owned).to_vec(), 0));
    assert!(why(&rows, 0).contains("others could read the file"), "{}", why(&rows, 0));
    let (_, rows) = import(&sandbox, &["google-authenticator", "/var/lib/otp/alice", "--user", "bob"]);
    assert_eq!(rows[0]["outcome"], "came_over", "root says so, and the file is root's");
    assert!(why(&rows, 0).contains("alice HAS THE SAME KEY"), "{}", why(&rows, 0));
    write("/var/lib/otp/alice", 2001, 0o600, google_file(&key, ""));
    let (_, rows) = import(&sandbox, &["google-authenticator", "/var/lib/otp/alice", "--user", "carol"]);
    assert!(why(&rows, 0).contains("belongs to user id 2001"), "{rows:?}");
}

fn hex() -> (String, Phone) {
    let bytes = random::<20>();
    (HEXLOWER.encode(&bytes), Phone::new(&BASE32_NOPAD.encode(&bytes), Parameters::default()))
}

#[test]
fn every_type_of_line_of_pam_oath_comes_over_or_is_refused_by_line_and_column() {
    let sandbox = Sandbox::new();
    sandbox.policy("[enroll]\nmax_devices = 3\n[totp]\nfuture = 1\n");
    let kinds = [
        ("HOTP/T30", 6, 30),
        ("HOTP/T30/7", 7, 30),
        ("HOTP/T30/8", 8, 30),
        ("HOTP/T60", 6, 60),
        ("HOTP/T60/7", 7, 60),
        ("HOTP/T60/8", 8, 60),
    ];
    let users = ["alice", "alice", "alice", "bob", "bob", "bob"];
    let mut text = "# users of the old module\n\n".to_owned();
    let mut phones = Vec::new();
    for ((kind, digits, period), user) in kinds.into_iter().zip(users) {
        let bytes = random::<20>();
        text += &format!("{kind}\t{user}\t-\t{}\n", HEXLOWER.encode(&bytes));
        let with = Parameters { digits, period, ..Parameters::default() };
        phones.push((user, Phone::new(&BASE32_NOPAD.encode(&bytes), with)));
    }
    let (one, _) = hex();
    text += &format!("HOTP/T30/6 alice - {one}\n");
    text += &format!("HOTP carol - {one} 7\nHOTP/E/8 carol - {one}\nHOTP/T45 carol - {one}\n");
    text += &format!("HOTP/T30 nobody-there - {one}\nHOTP/T30 dave\nHOTP/T30 dave - abc\nHOTP/T30 dave - 00\n");
    text += &format!("HOTP/T30 dave 4711 {one} zero\nHOTP/T30 mallory 4711 {}\n", hex().0);
    let shared = hex().0;
    text += &format!("HOTP/T30 dave + {shared}\nHOTP/T30 nobody-enrolled - {shared}");
    write("/etc/users.oath", 0, 0o600, &text);
    let (ran, rows) = import(&sandbox, &["oath"]);
    let expected = [
        "alice: key of 160 bits, SHA1/6/30: came_over",
        "alice: key of 160 bits, SHA1/7/30: came_over",
        "alice: key of 160 bits, SHA1/8/30: came_over",
        "bob: key of 160 bits, SHA1/6/60: came_over",
        "bob: key of 160 bits, SHA1/7/60: came_over",
        "bob: key of 160 bits, SHA1/8/60: came_over",
        "alice: key of 160 bits, SHA1/6/30: refused: there are as many devices as [enroll] max_devices allows; remove one \
         with: qrtotp device remove",
        "carol: key: refused: counter-based (HOTP): its codes cannot be used here",
        "carol: key: refused: counter-based (HOTP): its codes cannot be used here",
        "carol: key: refused: line 12, column 1: a type that is not known (HOTP/T30, HOTP/T60/8 and the like are)",
        "nobody-there: key of 160 bits, SHA1/6/30: refused: there is no user \"nobody-there\"",
        "dave: key: refused: line 14, column 14: the PIN, or -, is missing",
        "dave: key: refused: line 15, column 17: the key is not hexadecimal",
        "dave: key: refused: the key has 8 bits; below 80 it is never taken over",
        "dave: key: refused: line 17, column 61: the moving factor is not a number",
        "mallory: key of 160 bits, SHA1/6/30: came_over",
        "mallory: PIN: not_taken_over",
        "dave: key of 160 bits, SHA1/6/30: came_over",
        "dave: password before the code (+): not_taken_over",
        "nobody-enrolled: key of 160 bits, SHA1/6/30: came_over",
    ];
    assert_eq!(lines(&rows), expected);
    assert_eq!((ran.code, rows[6]["line"].as_u64(), rows[6]["from"].as_str()), (1, Some(9), Some("/etc/users.oath")));
    assert!(why(&rows, rows.len() - 1).contains("dave HAS THE SAME KEY"), "{rows:?}");
    let labels: Vec<_> = rows.iter().take(3).map(|row| row["device"]["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["phone", "phone 2", "phone 3"]);
    for (user, phone) in &phones {
        phone.settle(3);
        let code = phone.code();
        assert_eq!(sandbox.answer(user, &code), code::SUCCESS, "{user} {code}");
        assert_eq!(sandbox.answer(user, &code), code::AUTH_ERR, "{user} {code}");
    }
    assert!(!(ran.stdout + &ran.stderr).contains("4711"), "no PIN is shown");
    let (ran, rows) = import(&sandbox, &["oath", "/etc/users.oath", "--user", "mallory"]);
    assert_eq!((ran.code, rows[0]["outcome"].as_str()), (0, Some("here_before")));
    write("/etc/users.oath", 2001, 0o600, &text);
    assert!(sandbox.qrtotp(&["import", "oath"]).stderr.contains("belongs to user id 2001, not to root"));
    write("/etc/users.oath", 0, 0o660, &text);
    assert!(sandbox.qrtotp(&["import", "oath"]).stderr.contains("others could have written it"));
    assert_eq!(sandbox.qrtotp(&["import", "oath", "/no/such/file"]).code, 1);
}

#[test]
fn a_code_that_pam_oath_took_is_none_here_whatever_the_zone_of_the_machine() {
    let sandbox = Sandbox::new();
    fs::remove_file("/etc/localtime").unwrap();
    symlink("/usr/share/zoneinfo/Asia/Kolkata", "/etc/localtime").unwrap();
    let (hex, phone) = hex();
    write("/etc/users.oath", 0, 0o600, format!("HOTP/T30/6\talice\t-\t{hex}\n"));
    sandbox.service(
        "old",
        "auth required pam_oath.so usersfile=/etc/users.oath window=5 digits=6\naccount required pam_permit.so\n",
    );
    phone.settle(10);
    let used = phone.code_in(-1);
    assert_eq!(sandbox.run(Script::login("alice").at("old").answering([used.as_str()])).code(), code::SUCCESS);
    let file = fs::read_to_string("/etc/users.oath").unwrap();
    assert!(file.contains(&used) && file.contains("T"), "the premise: {file}");
    let (ran, rows) = import(&sandbox, &["oath"]);
    assert_eq!((ran.code, why(&rows, 0).as_str()), (0, "as \"phone\""), "known, and over: {ran:?}");
    assert_eq!(sandbox.answer("alice", &used), code::AUTH_ERR);
    assert_eq!(sandbox.last_reason(), "replayed");
    assert_eq!(sandbox.answer("alice", &phone.code()), code::SUCCESS);
}

/// One account of an export: key, name, issuer, and what follows.
fn account(key: &[u8], name: &str, issuer: &str, rest: &[u8]) -> Vec<u8> {
    let mut account = Vec::new();
    for (tag, bytes) in [(0x0a, key), (0x12, name.as_bytes()), (0x1a, issuer.as_bytes())] {
        account.extend([tag, u8::try_from(bytes.len()).unwrap()]);
        account.extend(bytes);
    }
    account.extend(rest);
    account
}

const TOTP: &[u8] = b"\x20\x01\x28\x01\x30\x02";

/// An export of accounts, as picture `at` (from 0) of `of`.
fn export(accounts: &[Vec<u8>], at: u8, of: u8) -> String {
    let mut message = Vec::new();
    for account in accounts {
        message.extend([0x0a, u8::try_from(account.len()).unwrap()]);
        message.extend(account);
    }
    message.extend([0x10, 1, 0x18, of, 0x20, at, 0x28, 77]);
    let data = BASE64.encode(&message).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!("otpauth-migration://offline?data={data}")
}

fn at_now_or_next(sandbox: &Sandbox, user: &str, phone: &Phone) {
    sandbox.policy("[totp]\nfuture = 1\n");
    phone.settle(3);
    let code = phone.code_in(1);
    assert_eq!(sandbox.answer(user, &code), code::SUCCESS, "{user}");
    assert_eq!(sandbox.answer(user, &code), code::AUTH_ERR, "{user}");
}

#[test]
fn the_accounts_of_an_app_are_for_whom_they_name_if_they_name_this_host() {
    let sandbox = Sandbox::new();
    let keys = [random::<20>(), random(), random(), random(), random(), random(), random()];
    let accounts = [
        account(&keys[0], "alice@testhost", "testhost", TOTP),
        account(&keys[1], "bob", "testhost", b"\x20\x02\x28\x02\x30\x02"),
        account(&keys[2], "bob", "GitHub", TOTP),
        account(&keys[3], "carol@testhost", "", b"\x20\x01\x28\x01\x30\x01\x38\x07"),
        account(&keys[4], "dave@testhost", "", b"\x20\x04\x28\x01\x30\x02"),
        account(&keys[5], "root@testhost", "", TOTP),
        account(&random::<10>(), "mallory@testhost", "", TOTP),
        account(&keys[6], "nobody-there@testhost", "", TOTP),
    ];
    let before = written(&sandbox);
    let uri = export(&accounts, 0, 1);
    assert_eq!(import(&sandbox, &["migration", &uri, "--dry-run"]).0.code, 1);
    assert_eq!(written(&sandbox), before);
    let ran = sandbox.qrtotp_told(&format!("\n{uri}\n"), &["import", "migration", "-", "--json"]);
    let json = ran.json();
    let rows = json["rows"].as_array().unwrap();
    let all = lines(rows);
    assert_eq!(all[0], "alice: key of 160 bits, SHA1/6/30 (testhost: alice@testhost): came_over");
    assert_eq!(all[1], "bob: key of 160 bits, SHA256/8/30 (testhost: bob): came_over");
    assert!(all[2].starts_with("-: key of 160 bits, SHA1/6/30 (GitHub: bob): refused: it does not name this host"));
    assert!(all[3].contains("refused: counter-based (HOTP)"), "{}", all[3]);
    assert!(all[4].contains("refused: its algorithm cannot be used here"), "{}", all[4]);
    assert!(all[5].contains("user id 0 is taken by --user root only"), "{}", all[5]);
    assert!(all[6].contains("80 bits are too few") && all[6].starts_with("mallory: "), "{}", all[6]);
    assert!(all[7].contains("there is no user \"nobody-there\""), "{}", all[7]);
    assert_eq!((ran.code, rows[0]["from"].as_str(), rows[0]["line"].as_u64()), (1, Some("standard input"), Some(2)));
    at_now_or_next(&sandbox, "alice", &Phone::new(&BASE32_NOPAD.encode(&keys[0]), Parameters::default()));
    let bob = Parameters { algorithm: "sha256", digits: 8, period: 30 };
    at_now_or_next(&sandbox, "bob", &Phone::new(&BASE32_NOPAD.encode(&keys[1]), bob));
    for key in &keys {
        assert!(!(ran.stdout.clone() + &ran.stderr).contains(&BASE32_NOPAD.encode(key)));
    }
    let (ran, rows) = import(&sandbox, &["migration", &uri, "--user", "root", "--account", "root@testhost"]);
    assert_eq!((ran.code, rows.len()), (0, 1), "{ran:?}");
    let ran = sandbox.qrtotp(&["import", "migration", &uri, "--user", "root", "--account", "other"]);
    assert!(ran.code == 1 && ran.stderr.contains("GitHub: bob"), "{ran:?}");
}

#[test]
fn pictures_of_one_export_are_read_together_and_told_apart() {
    let sandbox = Sandbox::new();
    let (one, two) = (random::<20>(), random::<20>());
    let first = export(&[account(&one, "phone", "Some issuer", TOTP)], 0, 3);
    let second = export(&[account(&two, "tablet", "Some issuer", TOTP), account(&one, "phone", "", TOTP)], 1, 3);
    paper::write(&paper::code(&first, 4), "/home/root/1.png");
    paper::write(&paper::code(&second, 4), "/home/root/2.jpg");
    paper::write(&paper::code("https://example.org", 4), "/home/root/link.png");
    fs::write("/home/root/cut.png", b"\x89PNG\r\n\x1a\n").unwrap();
    let pictures = ["/home/root/1.png", "/home/root/2.jpg", "/home/root/link.png", "/home/root/cut.png"];
    let (ran, rows) = import(&sandbox, &[&["migration", "--user", "alice"], &pictures[..]].concat());
    let from: Vec<_> = rows.iter().map(|row| row["from"].as_str().unwrap()).collect();
    assert_eq!(
        from[..3],
        ["/home/root/1.png, picture 1 of 3", "/home/root/2.jpg, picture 2 of 3", "/home/root/2.jpg, picture 2 of 3"]
    );
    let outcomes: Vec<_> = rows.iter().map(|row| row["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["came_over", "came_over", "here_before", "refused", "refused", "not_taken_over"]);
    assert!(why(&rows, 3).contains("no export of an app"), "{rows:?}");
    assert_eq!((rows[5]["what"].as_str(), why(&rows, 5).as_str()), (Some("picture 3 of 3"), "it was not given"));
    assert_eq!(ran.code, 1);
    at_now_or_next(&sandbox, "alice", &Phone::new(&BASE32_NOPAD.encode(&two), Parameters::default()));
    let plain = format!("otpauth://totp/x:bob?secret={}&period=60&digits=8", BASE32_NOPAD.encode(&random::<20>()));
    let (ran, rows) = import(&sandbox, &["migration", &plain, "--user", "bob"]);
    assert_eq!((ran.code, rows[0]["period"].as_u64()), (0, Some(60)), "{ran:?}");
    let (ran, rows) = import(&sandbox, &["migration", "otpauth-migration://offline?data=%%", "--user", "bob"]);
    assert!(ran.code == 1 && why(&rows, 0).contains("damaged"), "{rows:?}");
    assert_eq!(sandbox.qrtotp(&["import", "migration", "/no/such/file", "--user", "bob"]).code, 1);
    assert_eq!(sandbox.qrtotp(&["import", "migration", "--user", "bob"]).code, 2);
    assert_eq!(sandbox.qrtotp(&["import", "migration", &plain, "--user", "nobody-there"]).code, 5);
}

#[test]
fn after_coming_over_a_real_ssh_login_gets_its_recovery_codes() {
    let sandbox = Sandbox::new();
    let key = google_authenticator(&sandbox, "alice", 2001, &["-t", "-d", "-u", "-w", "3"]);
    let text = sandbox.qrtotp(&["import", "google-authenticator", "--homes"]);
    assert_eq!(text.code, 0, "{text:?}");
    assert!(
        text.stdout.contains("alice\tkey of 128 bits, SHA1/6/30\tcame over: as \"phone\"\t/home/alice/"),
        "{text:?}"
    );
    assert!(text.stderr.contains("1 device came over.") && text.stderr.contains("rm /home/alice/"), "{text:?}");
    sandbox.service("sshd", &fs::read_to_string("/etc/pam.d/code").unwrap());
    let _sshd = Sshd::start(&sandbox, CODE_ONLY);
    let phone = Phone::new(&key, Parameters::default());
    phone.settle(10);
    let code = phone.code();
    let first = Client::new(&sandbox, "alice").run(&[code.as_str(), ""], "id -un");
    assert!(first.prompts().iter().any(|prompt| prompt.to_lowercase().contains("recovery")), "{first:?}");
    let again = Client::new(&sandbox, "alice").run(&[code.as_str()], "id -un");
    assert!(!again.success, "{again:?}");
    assert!(sandbox.reasons().contains(&"replayed".to_owned()), "{:?}", sandbox.reasons());
}
