//! Somebody leaves: everything of him ends by one command, whatever state he is in, and one line says what that was.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use qrtotp_tests::product::{EVENTS, Ran, STATE};
use qrtotp_tests::sandbox::Sandbox;
use qrtotp_tests::script::{Script, code};
use qrtotp_tests::users;
use rustix::mount::{MountFlags, mount};
use serde_json::Value;

/// Runs the command, which must succeed and print one line.
fn offboard(sandbox: &Sandbox, user: &str) -> String {
    let ran = sandbox.qrtotp(&["offboard", user, "--reason", "left us"]);
    assert_eq!((ran.code, ran.stderr.as_str(), ran.stdout.lines().count()), (0, "", 1), "{ran:?}");
    ran.stdout.trim_end().to_owned()
}

/// The events of one kind, from a file of them.
fn events(path: &str, kind: &str) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    let all = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|event| event["event"] == kind).collect()
}

#[test]
fn everything_of_a_user_ends_and_one_line_says_what_that_was() {
    let sandbox = Sandbox::new();
    sandbox.policy("[[rule]]\naction = \"require\"\nremember = \"8h\"\n");
    let alice = sandbox.enroll("alice");
    sandbox.enroll_device("alice", "tablet", Default::default());
    assert_eq!(sandbox.answer("alice", &alice.recovery_codes[0]), code::SUCCESS);
    // A picture of a key that lies around, as enroll --png notes it.
    let drawn = sandbox.qrtotp(&["enroll", "alice", "--label", "third", "--unverified", "--png", "/mnt/third.png"]);
    assert_eq!(drawn.code, 0, "{drawn:?}");
    let mut login = Script::login("alice").at("sshd").from("192.0.2.7").answering([alice.phone.code()]);
    login.environment = vec!["SSH_AUTH_INFO_0=publickey ssh-ed25519 AAAA".to_owned()];
    sandbox.service("sshd", &fs::read_to_string("/etc/pam.d/code").unwrap());
    assert_eq!(sandbox.run(login.clone()).code(), code::SUCCESS);
    let ticket = sandbox.ticket("alice", &[]);
    let mut shell = sandbox.command_as(2001, "/bin/sleep").arg("600").spawn().unwrap();
    let ran = sandbox.qrtotp(&["offboard", "alice", "--reason", "left\nus; see \u{1b}[1mHR-7", "--json"]);
    shell.kill().unwrap();
    shell.wait().unwrap();
    assert_eq!(ran.code, 0, "{ran:?}");
    let said = ran.json();
    let counts = ["recovery_codes", "tickets", "remembered", "processes"].map(|name| said[name].as_u64().unwrap());
    assert_eq!(counts, [9, 1, 1, 1], "{said}");
    assert_eq!(said["devices"], serde_json::json!(["phone", "tablet", "third"]));
    assert_eq!((said["was"].as_str(), said["host"].as_str()), (Some("enrolled"), Some("testhost")), "{said}");
    assert_eq!(said["pictures"][0], "/mnt/third.png");
    for answer in [alice.phone.code_in(1), alice.recovery_codes[1].clone(), ticket] {
        assert_ne!(sandbox.run(Script::login("alice").at("sshd").from("192.0.2.7").answering([answer])).code(), 0);
    }
    assert_ne!(sandbox.run(login).code(), code::SUCCESS, "the place is not remembered");
    // Again, as a line: what was done before.
    let line = offboard(&sandbox, "alice");
    assert!(line.starts_with("offboarded alice (uid 2001) on testhost at 20"), "{line}");
    for part in ["nothing was left to end; reason: left us; revoked before, at 20", "HR-7", "/mnt/third.png"] {
        assert!(line.contains(part), "{part:?} in {line}");
    }
    assert!(!line.contains('\u{1b}') && !line.contains("still running"), "{line}");
}

#[test]
fn the_log_has_an_event_of_its_own_beside_that_of_the_revocation() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let line = offboard(&sandbox, "alice");
    assert!(line.contains(" by root: 1 device, 10 recovery codes; reason: left us"), "{line}");
    let kept = format!("{}/authenticators.jsonl", EVENTS.rsplit_once('/').unwrap().0);
    for path in [EVENTS, &kept] {
        let [revoked, left] = ["revoke", "offboard"].map(|kind| events(path, kind).pop().unwrap());
        assert_eq!((left["reason"].as_str(), left["uid"].as_u64()), (Some("left us"), Some(2001)), "{left}");
        assert_eq!(left["detail"], "1 device, 10 recovery codes", "{left}");
        assert_eq!(revoked["enrollment"], alice.enrollment, "{revoked}");
    }
    let register = sandbox.qrtotp(&["export", "--authenticators", "--json"]).json();
    assert!(register.as_array().unwrap().iter().all(|one| one["status"] == "revoked"), "{register}");
    let log = sandbox.qrtotp(&["log", "--event", "offboard", "--json"]);
    assert_eq!(log.stdout.lines().count(), 1, "{log:?}");
    sandbox.answer("alice", &alice.phone.code());
    let why = sandbox.qrtotp(&["why", "alice", "--json"]).json();
    assert_eq!(why["failures"][0]["reason"], "revoked", "{why}");
}

#[test]
fn who_is_not_enrolled_cannot_enroll_any_more_and_has_no_grace() {
    let sandbox = Sandbox::new();
    sandbox.policy("[[rule]]\naction = \"enroll\"\nenroll_by = 2099-12-31\ngrace_logins = 5\n");
    let login = || sandbox.run(Script::login("bob").at("probe").answering(["", ""])).code();
    assert_eq!(login(), code::SUCCESS, "{:?}", sandbox.events());
    let ticket = sandbox.ticket("bob", &[]);
    let line = offboard(&sandbox, "bob");
    assert!(line.contains(": 1 ticket, 1 login without enrollment counted; reason: left us"), "{line}");
    assert_ne!(login(), code::SUCCESS);
    assert_ne!(sandbox.run(Script::login("bob").at("probe").answering([ticket])).code(), code::SUCCESS);
    assert_eq!(sandbox.status("bob")["state"], "revoked");
    let line = offboard(&sandbox, "carol");
    assert!(line.contains(": was not enrolled; reason"), "{line}");
}

#[test]
fn an_account_that_is_gone_is_found_by_its_state_and_by_its_tickets_alone() {
    let sandbox = Sandbox::new();
    sandbox.enroll("alice");
    sandbox.ticket("bob", &[]);
    users::remove("alice");
    users::remove("bob");
    // The next one gets bob's number, and a ticket.
    users::add("eve", 2002);
    sandbox.ticket("eve", &[]);
    let line = offboard(&sandbox, "alice");
    assert!(line.contains("alice (uid 2001)") && line.contains(": 1 device, 10 recovery codes;"), "{line}");
    let line = offboard(&sandbox, "bob");
    assert!(line.contains("bob (uid 2002)") && line.contains(": 1 ticket;"), "{line}");
    let listed = sandbox.qrtotp(&["ticket", "list", "--json"]).json();
    let left: Vec<_> = listed["tickets"].as_array().unwrap().iter().map(|ticket| &ticket["user"]).collect();
    assert_eq!(left, ["eve"], "she keeps hers");
    assert!(!fs::exists(format!("{STATE}/2002")).unwrap(), "no account, no tombstone");
    let again = sandbox.qrtotp(&["offboard", "bob", "--reason", "left us"]);
    assert_eq!((again.code, again.stdout.lines().count()), (5, 1), "{again:?}");
    assert!(again.stdout.starts_with("nothing to offboard on testhost at 20"), "{again:?}");
}

#[test]
fn who_came_back_under_another_number_is_ended_under_both() {
    let sandbox = Sandbox::new();
    sandbox.enroll("alice");
    users::remove("alice");
    users::add("alice", 3001);
    sandbox.enroll("alice");
    let ran = sandbox.qrtotp(&["offboard", "alice", "--reason", "left us"]);
    assert_eq!((ran.code, ran.stdout.lines().count()), (0, 2), "{ran:?}");
    for (line, uid) in ran.stdout.lines().zip([3001, 2001]) {
        assert!(
            line.contains(&format!("alice (uid {uid})")) && line.contains(": 1 device, 10 recovery codes"),
            "{line}"
        );
        let kept = fs::read_to_string(format!("{STATE}/{uid}/credentials.toml")).unwrap();
        assert!(kept.contains("[revoked]") && !kept.contains("secret"), "{kept}");
    }
}

#[test]
fn damaged_state_is_replaced_whole_and_of_a_gone_account_named() {
    let sandbox = Sandbox::new();
    for user in ["alice", "bob"] {
        sandbox.enroll(user);
    }
    for uid in [2001, 2002] {
        fs::write(format!("{STATE}/{uid}/credentials.toml"), "format = 7\n").unwrap();
    }
    let line = offboard(&sandbox, "alice");
    assert!(line.contains(": state that could not be read; reason"), "{line}");
    assert_eq!(sandbox.status("alice")["state"], "revoked");
    users::remove("bob");
    let ran = sandbox.qrtotp(&["offboard", "bob", "--reason", "left us"]);
    assert_eq!(ran.code, 5, "{ran:?}");
    assert!(ran.stdout.contains("state of user id 2002 cannot be read, and may be his"), "{ran:?}");
}

/// Copies the state onto a file system of its own and fills that up.
fn fill_up() {
    let copy = |from: &str, to: &str| {
        let status = std::process::Command::new("/bin/cp").args(["-a", from, to]).status().unwrap();
        assert!(status.success());
    };
    copy(STATE, "/mnt/copy");
    mount("tmpfs", STATE, "tmpfs", MountFlags::NODEV, c"mode=0700,size=2m").unwrap();
    copy("/mnt/copy/.", STATE);
    fs::set_permissions(STATE, fs::Permissions::from_mode(0o700)).unwrap();
    let filler = std::process::Command::new("/bin/dd")
        .args(["if=/dev/zero", &format!("of={STATE}/.new-filler"), "bs=4k"])
        .output()
        .unwrap();
    assert!(!filler.status.success(), "the file system is not full");
}

#[test]
fn on_a_full_disk_the_keys_go_all_the_same_and_what_is_left_to_do_is_told() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    fill_up();
    let Ran { code: ended, stdout, stderr } = sandbox.qrtotp(&["offboard", "alice", "--reason", "left us"]);
    assert_eq!(ended, 4, "{stdout}{stderr}");
    assert!(stdout.starts_with("offboarded in part alice (uid 2001)"), "{stdout}");
    assert!(stderr.contains("the enrollment of alice: ") && stderr.contains("make room"), "{stderr}");
    assert_ne!(sandbox.answer("alice", &alice.phone.code()), code::SUCCESS);
    let keys = sandbox.output_of("/bin/sh", &["-c", &format!("grep -rl secret {STATE}/2001 || true")]);
    assert_eq!(keys, "");
    fs::remove_file(format!("{STATE}/.new-filler")).unwrap();
    let line = offboard(&sandbox, "alice");
    assert!(line.contains("state that could not be read"), "{line}");
    assert_eq!(sandbox.status("alice")["state"], "revoked");
}
