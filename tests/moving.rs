//! Enrollments move to another machine: what was used on the old one is used on the new one, the old one refuses, and whatever
//! stops it on the way loses nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use qrtotp_tests::pamhost::{Gate, held};
use qrtotp_tests::phone::{Phone, seconds_now};
use qrtotp_tests::product::{EVENTS, Enrolled, Ran, STATE};
use qrtotp_tests::sandbox::Sandbox;
use qrtotp_tests::script::{Script, code};
use qrtotp_tests::terminal::Terminal;
use qrtotp_tests::{count, users};
use rustix::mount::{MountFlags, mount};
use serde_json::{Value, json};

const FILE: &str = "/mnt/move.age";
const PASSPHRASE: &str = "correct horse battery";

/// The keys of an administrator, made by age-keygen: its file, and its recipient.
struct Admin {
    identity: String,
    recipient: String,
}

impl Admin {
    fn new() -> Self {
        let made = Command::new("/usr/bin/age-keygen").output().unwrap();
        let identity = String::from_utf8(made.stdout).unwrap();
        let recipient = identity.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap().to_owned();
        Self { identity, recipient }
    }

    /// Writes the identity where only root reads it.
    fn identity_file(&self) -> &'static str {
        private("/mnt/identity", self.identity.as_bytes());
        "/mnt/identity"
    }
}

/// A file that only root may read or write.
fn private(path: &str, content: &[u8]) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn done(sandbox: &Sandbox, arguments: &[&str]) -> Ran {
    let ran = sandbox.qrtotp(arguments);
    assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
    ran
}

/// Runs the command, which must fail so.
fn fails(sandbox: &Sandbox, arguments: &[&str], code: i32, says: &[&str]) -> Ran {
    let ran = sandbox.qrtotp(arguments);
    assert_eq!(ran.code, code, "{arguments:?}: {ran:?}");
    says.iter().for_each(|part| assert!(format!("{}{}", ran.stdout, ran.stderr).contains(part), "{part:?}: {ran:?}"));
    ran
}

/// Hands over; gives the file.
fn hand_over(sandbox: &Sandbox, admin: &Admin, options: &[&str]) -> Vec<u8> {
    done(sandbox, &[&["handover", FILE, "--recipient", &admin.recipient], options].concat());
    assert_eq!(fs::metadata(FILE).unwrap().permissions().mode() & 0o777, 0o600);
    fs::read(FILE).unwrap()
}

/// Puts a file on a machine and restores from it.
fn restore(sandbox: &Sandbox, admin: &Admin, file: &[u8], options: &[&str]) -> Ran {
    private(FILE, file);
    sandbox.qrtotp(&[&["restore", FILE, "--identity", admin.identity_file()], options].concat())
}

fn restored(sandbox: &Sandbox, admin: &Admin, file: &[u8], options: &[&str]) -> Value {
    let ran = restore(sandbox, admin, file, &[options, &["--json"]].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.json()
}

/// The reasons for which a restore refused, by user.
fn refusals(ran: &Ran) -> Vec<(String, String)> {
    let said = ran.json();
    let text = |row: &Value, field: &str| row[field].as_str().unwrap_or("").to_owned();
    said["users"].as_array().unwrap().iter().map(|row| (text(row, "user"), text(row, "refused"))).collect()
}

/// A login some steps from now, with the code of then.
fn login_in(sandbox: &Sandbox, user: &str, phone: &Phone, steps: i64) -> i32 {
    let seconds = 30 * steps;
    let code = phone.code_at(seconds_now().saturating_add_signed(seconds));
    sandbox.run(Script::login(user).wall_moved(seconds).answering([code])).code()
}

/// Credentials and journals, with their names.
fn state() -> Vec<(String, Vec<u8>)> {
    let folders = fs::read_dir(STATE).unwrap().map(|entry| entry.unwrap());
    let numbered = folders.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok());
    let files = numbered.flat_map(|folder| fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()));
    let mut files: Vec<_> = files.map(|path| (path.to_string_lossy().into_owned(), fs::read(&path).unwrap())).collect();
    files.sort();
    files
}

#[test]
fn a_code_that_was_used_on_the_old_machine_is_refused_on_the_new_one_and_the_next_is_good() {
    let admin = Admin::new();
    let old = Sandbox::new();
    let alice = old.enroll("alice");
    alice.phone.settle(15);
    let used = alice.phone.code();
    assert_eq!(old.answer("alice", &alice.recovery_codes[0]), code::SUCCESS);
    assert_eq!(old.answer("alice", &used), code::SUCCESS);
    let file = hand_over(&old, &admin, &["--user", "alice"]);
    assert_eq!(login_in(&old, "alice", &alice.phone, 1), code::AUTH_ERR);
    assert_eq!(old.last_reason(), "revoked");
    assert_eq!(old.answer("alice", &alice.recovery_codes[1]), code::AUTH_ERR);
    drop(old);
    let new = Sandbox::new();
    // Another number than there.
    users::remove("alice");
    users::add("alice", 4001);
    let said = restored(&new, &admin, &file, &[]);
    assert_eq!((&said["users"][0]["uid"], &said["users"][0]["recovery_left"]), (&json!(4001), &json!(9)), "{said}");
    assert_eq!(new.answer("alice", &used), code::AUTH_ERR);
    assert_eq!(new.last_reason(), "replayed");
    assert_eq!(new.answer("alice", &alice.recovery_codes[0]), code::AUTH_ERR);
    assert_eq!(new.last_reason(), "recovery_used");
    assert_eq!(login_in(&new, "alice", &alice.phone, 1), code::SUCCESS);
    assert_eq!(new.answer("alice", &alice.recovery_codes[1]), code::SUCCESS);
    assert_eq!(new.status("alice")["recovery_left"], 8);
}

#[test]
fn the_budget_the_sources_and_a_step_up_come_along() {
    let admin = Admin::new();
    let old = Sandbox::new();
    let [alice, bob] = ["alice", "bob"].map(|user| old.enroll(user));
    let from = |user: &Enrolled, source: &str, code: String| Script::login(&user.user).from(source).answering([code]);
    assert_eq!(old.run(from(&alice, "192.0.2.7", alice.phone.code())).code(), code::SUCCESS);
    for _ in 0..5 {
        old.run(from(&alice, "203.0.113.1", alice.phone.wrong_code()));
    }
    done(&old, &["step-up", "bob", "--reason", "odd"]);
    let before = old.status("alice");
    let file = hand_over(&old, &admin, &["--all"]);
    drop(old);
    let new = Sandbox::new();
    restored(&new, &admin, &file, &[]);
    let after = new.status("alice");
    for field in ["budget", "failed_attempts", "last_login", "devices", "enrollment"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    let wrong = [alice.phone.wrong_code(), alice.phone.wrong_code()];
    let report = new.run(Script::login("alice").from("203.0.113.2").answering(wrong));
    assert_eq!((report.code(), report.last().prompts().len()), (code::AUTH_ERR, 2), "two codes are asked");
    assert_eq!(new.status("alice")["budget"]["unknown_left"], 0, "this machine's uptime refills nothing");
    assert_eq!(new.status("bob")["state"], "stepped_up");
    let report = new.run(Script::login("bob").answering([bob.phone.code()]));
    assert_eq!(report.last().prompts().len(), 2, "two codes are asked: {report:?}");
}

#[test]
fn the_old_machine_says_where_everything_went_and_lets_nobody_enroll_anew_by_an_old_ticket() {
    let admin = Admin::new();
    let sandbox = Sandbox::new();
    sandbox.policy("[[rule]]\naction = \"enroll\"\n");
    let alice = sandbox.enroll("alice");
    let ticket = sandbox.ticket("alice", &[]);
    hand_over(&sandbox, &admin, &["--user", "alice"]);
    let said = sandbox.status("alice");
    let reason = said["revoked"]["reason"].as_str().unwrap();
    assert!(reason.contains("took it to another machine, with /mnt/move.age"), "{reason}");
    let kept = fs::read_to_string(format!("{STATE}/2001/credentials.toml")).unwrap();
    assert!(!kept.contains("secret") && !kept.contains("pbkdf2"), "{kept}");
    for answer in [ticket, alice.recovery_codes[0].clone()] {
        assert_ne!(sandbox.answer("alice", &answer), code::SUCCESS);
    }
    fails(&sandbox, &["enroll", "alice", "--unverified"], 6, &["revoked"]);
    fails(
        &sandbox,
        &["handover", "/mnt/again.age", "--user", "alice", "--recipient", &admin.recipient],
        6,
        &["alice is on another machine: handover"],
    );
    fails(
        &sandbox,
        &["handover", "/mnt/again.age", "--all", "--recipient", &admin.recipient],
        3,
        &["nobody is enrolled"],
    );
    let event = sandbox.events().into_iter().find(|event| event["event"] == "handover").unwrap();
    assert_eq!(
        (event["reason"].as_str(), event["enrollment"].as_str()),
        (Some("handed_over"), Some(&*alice.enrollment))
    );
    assert!(event["detail"].as_str().unwrap().ends_with("with /mnt/move.age"), "{event}");
    let register = sandbox.qrtotp(&["export", "--authenticators", "--json"]).json();
    assert_eq!(register[0]["status"], "handed_over", "{register}");
}

#[test]
fn who_was_revoked_stays_so_and_who_is_not_here_or_enrolled_here_is_refused() {
    let admin = Admin::new();
    let old = Sandbox::new();
    let [_, _, carol] = ["alice", "bob", "carol"].map(|user| old.enroll(user));
    users::add("elsewhere", 3005);
    old.enroll("elsewhere");
    done(&old, &["revoke", "bob", "--reason", "left"]);
    let file = hand_over(&old, &admin, &["--all"]);
    drop(old);
    let new = Sandbox::new();
    let here = new.enroll("alice");
    let before = state();
    let shown = restore(&new, &admin, &file, &["--dry-run", "--json"]);
    assert_eq!((shown.code, state()), (6, before), "{shown:?}");
    let ran = restore(&new, &admin, &file, &["--json"]);
    let expected = [("alice", "enrolled"), ("bob", ""), ("carol", ""), ("elsewhere", "no_such_user")];
    let expected = expected.map(|(user, word)| (user.to_owned(), word.to_owned()));
    assert_eq!((ran.code, refusals(&ran)), (6, expected.to_vec()), "{ran:?}");
    assert_eq!(new.answer("alice", &here.phone.code()), code::SUCCESS, "she keeps what she has here");
    assert_eq!(new.status("bob")["revoked"]["reason"], "left");
    assert_eq!(login_in(&new, "carol", &carol.phone, 1), code::SUCCESS);
    // By order, and under another name.
    let said = restored(&new, &admin, &file, &["--replace", "--user", "alice"]);
    assert_eq!(said["users"].as_array().unwrap().len(), 1);
    assert_ne!(login_in(&new, "alice", &here.phone, 1), code::SUCCESS);
    let said = restored(&new, &admin, &file, &["--rename", "elsewhere=dave", "--user", "dave"]);
    assert_eq!((&said["users"][0]["was_named"], &said["users"][0]["uid"]), (&json!("elsewhere"), &json!(2004)));
    fails(&new, &["restore", FILE, "--identity", "/mnt/identity", "--rename", "dave"], 2, &["OLD=NEW"]);
    fails(&new, &["restore", FILE, "--identity", "/mnt/identity", "--user", "eve"], 5, &["holds nothing of \"eve\""]);
}

#[test]
fn the_events_of_the_new_machine_bind_every_authenticator() {
    let admin = Admin::new();
    let old = Sandbox::new();
    let alice = old.enroll("alice");
    old.enroll_device("alice", "tablet", Default::default());
    let file = hand_over(&old, &admin, &["--user", "alice"]);
    drop(old);
    let new = Sandbox::new();
    restored(&new, &admin, &file, &[]);
    let events = new.events();
    let labels: Vec<_> = events.iter().map(|event| (&event["event"], &event["label"], &event["reason"])).collect();
    let restore = json!("restore");
    let restored = json!("restored");
    let expected = [json!("phone"), json!("tablet"), Value::Null];
    assert_eq!(labels, expected.iter().map(|label| (&restore, label, &restored)).collect::<Vec<_>>());
    assert!(events[0]["detail"].as_str().unwrap().starts_with("from testhost, made 20"), "{}", events[0]);
    assert_eq!(events[0]["enrollment"], alice.enrollment);
    let register = new.qrtotp(&["export", "--authenticators", "--json"]).json();
    let one = |at: usize| (register[at]["status"].as_str(), register[at]["confirmation"].as_str());
    assert_eq!([one(0), one(1), one(2)], [(Some("bound"), Some("restored")); 3], "{register}");
}

#[test]
fn restoring_twice_changes_nothing_and_an_old_file_brings_no_used_code_back() {
    let admin = Admin::new();
    let old = Sandbox::new();
    let alice = old.enroll("alice");
    let file = hand_over(&old, &admin, &["--user", "alice"]);
    drop(old);
    let new = Sandbox::new();
    restored(&new, &admin, &file, &[]);
    alice.phone.settle(15);
    assert_eq!(login_in(&new, "alice", &alice.phone, 1), code::SUCCESS);
    assert_eq!(new.answer("alice", &alice.recovery_codes[3]), code::SUCCESS);
    let before = state();
    let again = restore(&new, &admin, &file, &["--json"]);
    assert_eq!((again.code, refusals(&again)[0].1.as_str()), (6, "already_here"), "{again:?}");
    assert_eq!(state(), before);
    let said = restored(&new, &admin, &file, &["--replace"]);
    assert!(said["users"][0]["remarks"][0].as_str().unwrap().contains("stays used"), "{said}");
    assert_eq!(login_in(&new, "alice", &alice.phone, 1), code::AUTH_ERR);
    assert_eq!(new.last_reason(), "replayed");
    assert_eq!(new.answer("alice", &alice.recovery_codes[3]), code::AUTH_ERR);
    assert_eq!(new.last_reason(), "recovery_used");
    assert_eq!(login_in(&new, "alice", &alice.phone, 2), code::SUCCESS);
    // A tombstone of another reason is lifted by order only.
    done(&new, &["revoke", "alice", "--reason", "stolen"]);
    let refused = restore(&new, &admin, &file, &["--json"]);
    assert_eq!((refused.code, refusals(&refused)[0].1.as_str()), (6, "revoked"), "{refused:?}");
    restored(&new, &admin, &file, &["--replace"]);
    assert_eq!(new.answer("alice", &alice.recovery_codes[3]), code::AUTH_ERR);
    assert_eq!(new.last_reason(), "recovery_used", "also over a tombstone of the same enrollment");
    assert_eq!(new.answer("alice", &alice.recovery_codes[4]), code::SUCCESS);
}

/// The file is good for one machine, and there for one time: also when the account, and its state with it, went in between.
#[test]
fn a_file_that_was_restored_makes_no_code_good_again_on_a_third_machine_or_after_the_account_went() {
    let admin = Admin::new();
    let old = Sandbox::new();
    let alice = old.enroll("alice");
    let file = hand_over(&old, &admin, &["--user", "alice"]);
    drop(old);
    let new = Sandbox::new();
    alice.phone.settle(15);
    let now = alice.phone.code();
    restored(&new, &admin, &file, &[]);
    assert_eq!(new.answer("alice", &now), code::AUTH_ERR, "it may have been used elsewhere");
    assert_eq!(new.last_reason(), "replayed");
    assert_eq!(login_in(&new, "alice", &alice.phone, 1), code::SUCCESS);
    assert_eq!(new.answer("alice", &alice.recovery_codes[0]), code::SUCCESS);
    users::remove("alice");
    done(&new, &["gc", "--yes"]);
    users::add("alice", 2001);
    assert_eq!(state(), []);
    let renamed = ["--rename", "alice=bob", "--json"];
    for options in [&["--json"][..], &["--json", "--dry-run"], &renamed] {
        let ran = restore(&new, &admin, &file, options);
        assert_eq!((ran.code, refusals(&ran)[0].1.as_str(), state()), (6, "restored_before", vec![]), "{ran:?}");
    }
    assert_eq!(new.answer("alice", &alice.recovery_codes[0]), code::AUTH_ERR);
    restored(&new, &admin, &file, &["--replace"]);
    assert_eq!(new.status("alice")["state"], "enrolled", "by order");
    // What cannot be read is not taken for nothing.
    private(&format!("{STATE}/.handovers"), b"?");
    fails(&new, &["restore", FILE, "--identity", "/mnt/identity", "--replace"], 4, &[".handovers: is damaged"]);
}

#[test]
fn what_could_not_be_put_in_place_may_be_tried_again() {
    let admin = Admin::new();
    let old = Sandbox::new();
    old.enroll("alice");
    let file = hand_over(&old, &admin, &["--user", "alice"]);
    drop(old);
    let new = Sandbox::new();
    fs::write(format!("{STATE}/.new-2001"), "in the way").unwrap();
    let ran = restore(&new, &admin, &file, &["--json"]);
    assert_eq!((ran.code, refusals(&ran)[0].1.as_str()), (4, "failed"), "{ran:?}");
    fs::remove_file(format!("{STATE}/.new-2001")).unwrap();
    restored(&new, &admin, &file, &[]);
}

#[test]
fn who_restores_an_old_file_is_told_to_make_new_recovery_codes() {
    let admin = Admin::new();
    let sandbox = Sandbox::new();
    sandbox.enroll("alice");
    let told =
        "recovery codes that were used since the file was made are not known; make new ones: qrtotp recovery alice";
    let content = |minutes: u64| {
        hand_over(&sandbox, &admin, &["--user", "alice"]);
        let plain = sandbox.output_of("/usr/bin/age", &["-d", "-i", admin.identity_file(), FILE]);
        fs::remove_file(FILE).unwrap();
        let made = plain.lines().find_map(|line| line.strip_prefix("made ")).unwrap();
        let earlier = made.parse::<u64>().unwrap() - minutes * 60_000;
        let aged = plain.replace(&format!("made {made}"), &format!("made {earlier}"));
        encrypted(&sandbox, &admin.recipient, aged.as_bytes(), &[])
    };
    for (minutes, is_told) in [(0, false), (9, false), (11, true)] {
        let ran = restore(&sandbox, &admin, &content(minutes), &[]);
        assert_eq!((ran.code, ran.stderr.contains(told)), (0, is_told), "{minutes} minutes: {ran:?}");
        fs::remove_file(FILE).unwrap();
    }
    done(&sandbox, &["handover", FILE, "--all", "--keep", "--recipient", &admin.recipient]);
    let file = fs::read(FILE).unwrap();
    let said = restored(&sandbox, &admin, &file, &["--replace"]);
    assert!(said["users"][0]["remarks"].as_array().unwrap().contains(&json!(told)), "a backup: {said}");
}

#[test]
fn a_file_where_others_can_put_one_is_not_believed() {
    let admin = Admin::new();
    let old = Sandbox::new();
    old.enroll("alice");
    let file = hand_over(&old, &admin, &["--user", "alice"]);
    drop(old);
    let new = Sandbox::new();
    let identity = admin.identity_file();
    for folder in ["/home/mallory/own", "/home/mallory/roots", "/mnt/open", "/mnt/open/closed", "/mnt/good"] {
        fs::create_dir_all(folder).unwrap();
    }
    std::os::unix::fs::chown("/home/mallory/own", Some(2005), Some(2005)).unwrap();
    fs::set_permissions("/mnt/open", fs::Permissions::from_mode(0o777)).unwrap();
    std::os::unix::fs::symlink("/home/mallory/roots", "/mnt/link").unwrap();
    for folder in ["/tmp", "/home/mallory/own", "/home/mallory/roots", "/mnt/open", "/mnt/open/closed", "/mnt/link"] {
        let path = format!("{folder}/f.age");
        private(&path, &file);
        let ran = fails(&new, &["restore", &path, "--identity", identity], 4, &["could enroll himself as anybody"]);
        assert!(ran.stdout.is_empty() && state().is_empty(), "{folder}: {ran:?}");
    }
    // What is root's in a sticky folder stays where it is.
    fs::create_dir("/tmp/roots").unwrap();
    std::os::unix::fs::symlink("/mnt/good", "/mnt/way").unwrap();
    for path in ["/tmp/roots/f.age", "/mnt/way/f.age"] {
        private(path, &file);
        done(&new, &["restore", path, "--identity", identity, "--dry-run"]);
    }
    fails(&new, &["restore", "/mnt/none/f.age", "--identity", identity], 2, &["is not there"]);
}

#[test]
fn its_own_file_undoes_a_handover_on_the_old_machine() {
    let admin = Admin::new();
    let sandbox = Sandbox::new();
    let [alice, _] = ["alice", "bob"].map(|user| sandbox.enroll(user));
    sandbox.qrtotp(&["handover", "/mnt/other.age", "--user", "bob", "--recipient", &admin.recipient]);
    alice.phone.settle(15);
    let used = alice.phone.code();
    assert_eq!(sandbox.answer("alice", &used), code::SUCCESS);
    let file = hand_over(&sandbox, &admin, &["--user", "alice"]);
    assert_eq!(sandbox.answer("alice", &used), code::AUTH_ERR);
    let said = restored(&sandbox, &admin, &file, &[]);
    assert!(said["users"][0]["what"].as_str().unwrap().contains("as before the handover"), "{said}");
    assert_eq!(sandbox.answer("alice", &used), code::AUTH_ERR);
    assert_eq!(sandbox.last_reason(), "replayed");
    assert_eq!(login_in(&sandbox, "alice", &alice.phone, 1), code::SUCCESS);
    assert_eq!(sandbox.status("bob")["state"], "revoked");
}

#[test]
fn a_backup_leaves_everybody_in_force_and_its_restore_refuses_the_codes_up_to_now() {
    let admin = Admin::new();
    let old = Sandbox::new();
    let alice = old.enroll("alice");
    let ran = done(&old, &["handover", FILE, "--all", "--keep", "--recipient", &admin.recipient]);
    assert!(ran.stdout.contains("stay in force here"), "{ran:?}");
    let file = fs::read(FILE).unwrap();
    alice.phone.settle(15);
    let used = alice.phone.code();
    assert_eq!(old.answer("alice", &used), code::SUCCESS, "after the backup, so the file knows nothing of it");
    let register = old.qrtotp(&["export", "--authenticators", "--json"]).json();
    assert_eq!(register[0]["status"], "bound", "{register}");
    drop(old);
    let new = Sandbox::new();
    let ran = restore(&new, &admin, &file, &[]);
    assert!(ran.code == 0 && ran.stderr.contains("this is a backup"), "{ran:?}");
    assert_eq!(new.answer("alice", &used), code::AUTH_ERR);
    assert_eq!(new.last_reason(), "replayed");
    assert_eq!(login_in(&new, "alice", &alice.phone, 1), code::SUCCESS);
}

#[test]
fn a_file_that_cannot_be_used_changes_nothing() {
    let (admin, stranger) = (Admin::new(), Admin::new());
    let old = Sandbox::new();
    old.enroll("alice");
    let file = hand_over(&old, &admin, &["--user", "alice"]);
    drop(old);
    let new = Sandbox::new();
    let refused = |admin: &Admin, file: &[u8], says: &str| {
        let ran = restore(&new, admin, file, &[]);
        assert!(ran.code == 4 && ran.stderr.contains(says) && ran.stdout.is_empty(), "{says}: {ran:?}");
        assert_eq!(state(), []);
    };
    refused(&stranger, &file, "is for other recipients");
    for length in [0, 10, 150, file.len() / 2, file.len() - 1] {
        refused(&admin, &file[..length], "nothing was changed");
    }
    let mut flipped = file.clone();
    flipped[file.len() / 2] ^= 1;
    refused(&admin, &flipped, "is damaged or cut off");
    refused(&admin, b"hello", "no file of the age format");
    let ours = |content: &str| encrypted(&new, &admin.recipient, content.as_bytes(), &[]);
    refused(&admin, &ours("hello\n"), "no handover of qrtotp");
    refused(&admin, &ours("qrtotp-handover 2\nid 0\n"), "form 2; this version reads form 1");
    refused(&admin, &ours("qrtotp-handover 1\nid 0102030405060708\n"), "\"host\" is missing");
    fs::write("/mnt/identity.txt", "AGE-SECRET-KEY-1NONSENSE\n").unwrap();
    fs::set_permissions("/mnt/identity.txt", fs::Permissions::from_mode(0o600)).unwrap();
    let ran = fails(&new, &["restore", FILE, "--identity", "/mnt/identity.txt"], 4, &["no identity of age"]);
    assert!(!ran.stderr.contains("NONSENSE"), "{ran:?}");
    // Whoever may write to the file could put himself into it.
    private(FILE, &file);
    std::os::unix::fs::chown(FILE, Some(2001), Some(2001)).unwrap();
    fails(&new, &["restore", FILE, "--identity", admin.identity_file()], 4, &["could enroll himself as anybody"]);
}

/// Encrypts by Debian's age.
fn encrypted(sandbox: &Sandbox, recipient: &str, content: &[u8], options: &[&str]) -> Vec<u8> {
    fs::write("/mnt/plain", content).unwrap();
    let output = sandbox.command("/usr/bin/age").args(options).args(["-r", recipient, "/mnt/plain"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

#[test]
fn the_age_program_opens_our_file_and_we_open_its() {
    let admin = Admin::new();
    let old = Sandbox::new();
    let alice = old.enroll("alice");
    let file = hand_over(&old, &admin, &["--user", "alice", "--armor"]);
    assert!(file.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----\n"));
    let content = old.output_of("/usr/bin/age", &["-d", "-i", admin.identity_file(), FILE]);
    let head: Vec<_> = content.lines().map(|line| line.split(' ').next().unwrap()).take(7).collect();
    assert_eq!(head, ["qrtotp-handover", "id", "host", "made", "by", "kept", "users"], "{content}");
    assert!(content.contains("\nformat = 1\nenrollment = ") && content.contains("\nend\n  "), "{content}");
    let again = encrypted(&old, &admin.recipient, content.as_bytes(), &[]);
    let letters = encrypted(&old, &admin.recipient, content.as_bytes(), &["-a"]);
    drop(old);
    for file in [again, letters] {
        let new = Sandbox::new();
        restored(&new, &admin, &file, &[]);
        assert_eq!(login_in(&new, "alice", &alice.phone, 1), code::SUCCESS);
    }
}

/// Types a passphrase on a terminal, each time that it is asked for; gives what the terminal showed.
fn typed(command: &mut Command, answers: &[(&str, &str)]) -> (i32, String) {
    let mut terminal = Terminal::start(command);
    for (question, answer) in answers {
        terminal.wait_for(question);
        terminal.type_keys(answer);
    }
    let (status, shown) = terminal.end();
    (status.code().unwrap_or(-1), shown)
}

#[test]
fn a_passphrase_is_typed_unseen_and_twice_and_the_age_program_knows_it() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let run = |arguments: &[&str], answers: &[(&str, &str)]| {
        typed(sandbox.command("/usr/local/sbin/qrtotp").args(arguments), answers)
    };
    let (first, again) = ("Passphrase (Enter: one is made): ", "The same once more: ");
    let command = ["handover", FILE, "--user", "alice"];
    let (status, shown) = run(&command, &[(first, "correct horse battery\r"), (again, "correct horse battory\r")]);
    assert!(status == 1 && shown.contains("not the same"), "{shown}");
    let (status, shown) = run(&command, &[(first, "short\r")]);
    assert!(status == 2 && shown.contains("12 characters"), "{shown}");
    let (status, shown) = run(&command, &[(first, "correct\u{3}")]);
    assert!(status == 1 && shown.contains("given up"), "{shown}");
    assert!(!fs::exists(FILE).unwrap());
    // Mistyped, taken back, and typed again.
    let mended = "wrong\u{15}correct horse bax\u{7f}tteri\u{7f}y\r";
    let (status, shown) = run(&command, &[(first, mended), (again, "correct horse battery\r")]);
    assert!(status == 0 && !shown.contains("battery") && !shown.contains("horse"), "{shown}");
    let mut age = sandbox.command("/usr/bin/age");
    let (status, shown) = typed(age.args(["-d", FILE]), &[("Enter passphrase: ", "correct horse battery\r")]);
    assert!(status == 0 && shown.contains("qrtotp-handover 1"), "{shown}");
    let question = "Passphrase of the file: ";
    let (status, shown) = run(&["restore", FILE], &[(question, "correct horse staple\r")]);
    assert!(status == 4 && shown.contains("not opened by this passphrase"), "{shown}");
    let (status, shown) = run(&["restore", FILE], &[(question, "correct horse battery\r")]);
    assert!(status == 0 && shown.contains("restored,"), "{shown}");
    assert_eq!(login_in(&sandbox, "alice", &alice.phone, 1), code::SUCCESS);
    // One that is made is shown, once.
    let command = ["handover", "/mnt/made.age", "--user", "alice"];
    let (status, shown) = run(&command, &[(first, "\r")]);
    let made = shown.lines().find_map(|line| line.strip_prefix("The passphrase is: ")).unwrap_or_default().trim();
    assert!(status == 0 && made.len() == 29, "{shown}");
    private("/mnt/passphrase", format!("{made}\n").as_bytes());
    done(&sandbox, &["restore", "/mnt/made.age", "--passphrase-file", "/mnt/passphrase"]);
}

#[test]
fn a_passphrase_is_read_from_standard_input_or_from_a_file_of_roots() {
    let sandbox = Sandbox::new();
    sandbox.enroll("alice");
    let handover = ["handover", FILE, "--user", "alice"];
    let short = sandbox.qrtotp_told("short\n", &handover);
    assert!(short.code == 2 && short.stderr.contains("12 characters"), "{short:?}");
    assert_eq!(sandbox.qrtotp(&handover).code, 2);
    let ran = sandbox.qrtotp_told(&format!("{PASSPHRASE}\nmore\n"), &handover);
    assert_eq!(ran.code, 0, "{ran:?}");
    fs::write("/mnt/passphrase", PASSPHRASE).unwrap();
    fs::set_permissions("/mnt/passphrase", fs::Permissions::from_mode(0o644)).unwrap();
    let restore = ["restore", FILE, "--passphrase-file", "/mnt/passphrase"];
    fails(&sandbox, &restore, 4, &["/mnt/passphrase"]);
    private("/mnt/passphrase", PASSPHRASE.as_bytes());
    done(&sandbox, &restore);
}

#[test]
fn the_place_of_the_file_is_looked_at_before_anything_is_done() {
    let admin = Admin::new();
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let before = state();
    let handover = |file: &str, code: i32, says: &str| {
        fails(&sandbox, &["handover", file, "--user", "alice", "--recipient", &admin.recipient], code, &[says]);
    };
    fs::write("/mnt/there", "").unwrap();
    handover("/mnt/there", 6, "is there already");
    handover("/tmp/move.age", 4, "only root can remove it");
    handover("/home/alice/move.age", 4, "only root can remove it");
    handover("/mnt/none/move.age", 2, "no such folder");
    fails(&sandbox, &["handover", FILE, "--user", "alice", "--recipient", "age1x"], 2, &["no recipient of age"]);
    fails(&sandbox, &["handover", FILE, "--recipient", &admin.recipient], 2, &["--all"]);
    fails(&sandbox, &["handover", FILE, "--user", "eve", "--recipient", &admin.recipient], 5, &["eve"]);
    fails(&sandbox, &["handover", FILE, "--user", "bob", "--recipient", &admin.recipient], 3, &["not enrolled"]);
    assert_eq!(state(), before);
    assert_eq!(sandbox.answer("alice", &alice.phone.code()), code::SUCCESS);
}

/// A small file system that is full.
fn full(path: &str) {
    fs::create_dir_all(path).unwrap();
    mount("tmpfs", path, "tmpfs", MountFlags::NODEV, c"mode=0700,size=256k").unwrap();
    let filled = fs::write(format!("{path}/filler"), vec![1; 1 << 20]);
    assert!(filled.is_err(), "the disk is full");
}

#[test]
fn a_full_disk_or_a_limit_hands_nothing_over() {
    let admin = Admin::new();
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let before = state();
    full("/mnt/full");
    let command = ["handover", "/mnt/full/move.age", "--user", "alice", "--recipient", &admin.recipient];
    fails(&sandbox, &command, 1, &["cannot be written", "nothing was handed over"]);
    assert_eq!(fs::read_dir("/mnt/full").unwrap().count(), 1, "nothing but the filler");
    let limited = format!("ulimit -f 64; exec qrtotp handover {FILE} --user alice --recipient {}", admin.recipient);
    let output = sandbox.command("/bin/sh").args(["-c", &limited]).output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    assert!(!fs::exists(FILE).unwrap() && state() == before);
    // The state's own disk: nobody can be closed, so everybody stays as he is.
    let copy =
        |from: &str, to: &str| assert!(Command::new("/bin/cp").args(["-a", from, to]).status().unwrap().success());
    copy(STATE, "/mnt/copy");
    mount("tmpfs", STATE, "tmpfs", MountFlags::NODEV, c"mode=0700,size=2m").unwrap();
    copy("/mnt/copy/.", STATE);
    fs::set_permissions(STATE, fs::Permissions::from_mode(0o700)).unwrap();
    let _ = fs::write(format!("{STATE}/.new-filler"), vec![1; 4 << 20]);
    fails(
        &sandbox,
        &["handover", FILE, "--user", "alice", "--recipient", &admin.recipient],
        4,
        &["credentials.toml.new"],
    );
    assert!(!fs::exists(FILE).unwrap() && !fs::exists(format!("{FILE}.new")).unwrap());
    assert_eq!(sandbox.answer("alice", &alice.phone.code()), code::SUCCESS);
}

#[test]
fn a_login_that_holds_one_folder_keeps_all_of_them_here() {
    let admin = Admin::new();
    let sandbox = Sandbox::new();
    let [alice, bob] = ["alice", "bob"].map(|user| sandbox.enroll(user));
    let folder = format!("{STATE}/2002");
    let script = format!("exec 9<{folder}; flock -x 9; echo held; read line");
    let mut holder = sandbox.command("/bin/sh").args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap();
    let mut said = [0; 5];
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut said).unwrap();
    let command = ["handover", FILE, "--all", "--recipient", &admin.recipient];
    fails(&sandbox, &command, 6, &["a login of bob is changing the enrollment"]);
    assert!(!fs::exists(FILE).unwrap());
    for user in [&alice, &bob] {
        assert_eq!(sandbox.answer(&user.user, &user.phone.code()), code::SUCCESS);
    }
    drop(holder.stdin.take());
    holder.wait().unwrap();
    done(&sandbox, &command);
}

#[test]
fn a_login_that_waits_at_its_prompt_during_a_handover_is_refused() {
    let admin = Admin::new();
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let gate = Gate::closed();
    let mut waiting = sandbox.start(Script::login("alice").answering([held(alice.phone.code())]), Some(&gate));
    waiting.wait_until_held();
    hand_over(&sandbox, &admin, &["--user", "alice"]);
    gate.open();
    assert_eq!(waiting.finish().report.unwrap().code(), code::AUTH_ERR);
}

/// Logins and a handover at once: whoever was let in here finds his code used there.
#[test]
fn no_code_counts_on_both_machines_whoever_is_faster() {
    let admin = Admin::new();
    let sandbox = Sandbox::new();
    sandbox.policy("[flood]\nper_minute = 0\n");
    let (mut let_in, mut kept_out) = (0, 0);
    sandbox.enroll("alice");
    let whole = takes(&sandbox, &admin);
    for round in 0..count("QRTOTP_ROUNDS", 24) {
        let (user, there) = (format!("user{round}"), format!("there{round}"));
        let number = u32::try_from(round).unwrap();
        users::add(&user, 3000 + number);
        users::add(&there, 6000 + number);
        let person = sandbox.enroll(&user);
        person.phone.settle(10);
        let (code, recovery) = (person.phone.code(), person.recovery_codes[0].clone());
        let gate = Gate::closed();
        let start = |answer: &str| sandbox.start(Script::login(&user).answering([held(answer)]), Some(&gate));
        let mut logins = [start(&code), start(&recovery)];
        logins.iter_mut().for_each(|login| login.wait_until_held());
        let file = format!("/mnt/{user}.age");
        let mut command = sandbox.command("/usr/local/sbin/qrtotp");
        command.args(["handover", &file, "--user", &user, "--recipient", &admin.recipient]);
        // Before it in one round, and later from round to round: somewhere in between lies the moment.
        let gate = if round % 12 == 0 {
            gate.open();
            None
        } else {
            Some(gate)
        };
        let handover = command.spawn().unwrap();
        thread::sleep(whole * (number % 12) / 12);
        drop(gate);
        let here = logins.map(|login| login.finish().report.unwrap().code() == code::SUCCESS);
        let output = handover.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let identity = admin.identity_file();
        done(&sandbox, &["restore", &file, "--identity", identity, "--rename", &format!("{user}={there}")]);
        for (was_let_in, answer) in here.into_iter().zip([&code, &recovery]) {
            if was_let_in {
                assert_ne!(sandbox.answer(&there, answer), code::SUCCESS, "round {round}: {answer} counts twice");
                let_in += 1;
            } else {
                kept_out += 1;
            }
        }
    }
    eprintln!("{let_in} were let in, {kept_out} kept out");
    assert!(let_in > 0 && kept_out > 0, "the moment was never met: {let_in} let in, {kept_out} kept out");
}

/// How long a handover of everybody takes here.
fn takes(sandbox: &Sandbox, admin: &Admin) -> Duration {
    let since = Instant::now();
    let file = hand_over(sandbox, admin, &["--all"]);
    let taken = since.elapsed();
    restored(sandbox, admin, &file, &[]);
    fs::remove_file(FILE).unwrap();
    taken
}

/// Killed at any moment: the keys are here, or the file is whole. What was closed opens again by order.
#[test]
fn a_handover_that_is_killed_loses_nothing() {
    let admin = Admin::new();
    let sandbox = Sandbox::new();
    let [alice, bob] = ["alice", "bob"].map(|user| sandbox.enroll(user));
    let (mut interrupted, mut complete, mut untouched) = (0, 0, 0);
    let (rounds, whole) = (u32::try_from(count("QRTOTP_KILLS", 60)).unwrap(), takes(&sandbox, &admin));
    for round in 0..rounds {
        let mut command = sandbox.command("/usr/local/sbin/qrtotp");
        command.args(["handover", FILE, "--all", "--recipient", &admin.recipient]);
        let mut handover = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(whole * round / rounds);
        handover.kill().unwrap();
        handover.wait().unwrap();
        let is_written = fs::exists(FILE).unwrap();
        let holds_key = |uid: u32| {
            let text = fs::read_to_string(format!("{STATE}/{uid}/credentials.toml")).unwrap();
            (text.contains("secret = "), text.contains("[revoked]"))
        };
        let here = [2001, 2002].map(holds_key);
        if is_written {
            // The file is whole, and everybody in it is refused here.
            assert!(here.iter().all(|(_, is_refused)| *is_refused), "round {round}: {here:?}");
            let ran = restore(&sandbox, &admin, &fs::read(FILE).unwrap(), &["--json"]);
            assert_eq!(ran.code, 0, "round {round}: {here:?}: {ran:?}");
            complete += 1;
        } else {
            assert!(here.iter().all(|(has_key, _)| *has_key), "round {round}: {here:?}");
            if here.iter().any(|(_, is_refused)| *is_refused) {
                interrupted += 1;
                if round % 2 == 0 {
                    done(&sandbox, &["handover", "--abort", "--all"]);
                } else {
                    let file = hand_over(&sandbox, &admin, &["--all"]);
                    restored(&sandbox, &admin, &file, &[]);
                }
            } else {
                untouched += 1;
            }
        }
        let _ = fs::remove_file(FILE);
        for user in [&alice, &bob] {
            assert_eq!(sandbox.status(&user.user)["state"], "enrolled", "round {round}");
        }
    }
    eprintln!("{untouched} untouched, {interrupted} interrupted, {complete} complete");
    assert!(interrupted > 0, "no kill met it: {untouched} untouched, {complete} complete");
    for user in [&alice, &bob] {
        assert_eq!(login_in(&sandbox, &user.user, &user.phone, 2), code::SUCCESS);
    }
}

#[test]
fn what_was_interrupted_is_opened_again_by_order_unless_its_file_was_written() {
    let admin = Admin::new();
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    fails(&sandbox, &["handover", "--abort", "--all"], 3, &["no handover was interrupted"]);
    let credentials = format!("{STATE}/2001/credentials.toml");
    let before = fs::read_to_string(&credentials).unwrap();
    let mark = "\n[revoked]\ntime = 5\nreason = \"handover 0102030405060708 is under way, with /mnt/move.age\"\n";
    let (head, devices) = before.split_once("\n[[device]]").unwrap();
    private(&credentials, format!("{head}{mark}\n[[device]]{devices}").as_bytes());
    assert_eq!(sandbox.answer("alice", &alice.phone.code_in(1)), code::AUTH_ERR);
    assert_eq!(sandbox.last_reason(), "revoked");
    fails(
        &sandbox,
        &["handover", FILE, "--user", "alice", "--keep", "--recipient", &admin.recipient],
        6,
        &["interrupted"],
    );
    fails(&sandbox, &["unlock", "alice"], 6, &["a handover of alice was interrupted"]);
    private(FILE, b"");
    fails(&sandbox, &["handover", "--abort", "--user", "alice"], 6, &["destroy it first"]);
    fs::remove_file(FILE).unwrap();
    let ran = done(&sandbox, &["handover", "--abort", "--user", "alice"]);
    assert!(ran.stdout.contains("alice in force again"), "{ran:?}");
    assert_eq!(login_in(&sandbox, "alice", &alice.phone, 2), code::SUCCESS);
    // Who leaves in the middle of it leaves no keys behind.
    private(&credentials, format!("{head}{mark}\n[[device]]{devices}").as_bytes());
    let line = done(&sandbox, &["offboard", "alice", "--reason", "left"]).stdout;
    assert!(line.contains(": 1 device, 10 recovery codes;") && !line.contains("revoked before"), "{line}");
    assert!(!fs::read_to_string(&credentials).unwrap().contains("secret"));
    assert!(fs::read_to_string(EVENTS).unwrap().contains("\"reason\":\"aborted\""));
}
