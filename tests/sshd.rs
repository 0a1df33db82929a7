//! sshd as strangers see it: its password method, users that may not log in, many guesses, connections that end early.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::path::Path;

use qrtotp_tests::count;
use qrtotp_tests::sandbox::Sandbox;
use qrtotp_tests::ssh::{Client, Session, Sshd};
use qrtotp_tests::terminal::Terminal;
use qrtotp_tests::users::PASSWORD;

/// A code and nothing else, by keyboard-interactive, as often as anybody likes.
const CODE_ONLY: &str = "AuthenticationMethods keyboard-interactive:pam\nKbdInteractiveAuthentication yes\n\
                         PasswordAuthentication no\nPermitRootLogin no\nMaxAuthTries 100\nLoginGraceTime 600\n";

fn code_only(sandbox: &Sandbox) -> Sshd {
    sandbox.service("sshd", &fs::read_to_string("/etc/pam.d/code").unwrap());
    Sshd::start(sandbox, CODE_ONLY)
}

/// Files below a folder that hold a text.
fn files_with(text: &str, folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files_with(text, &entry.path(), found);
        } else if kind.is_file() {
            let bytes = fs::read(entry.path()).unwrap_or_default();
            if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                found.push(entry.path().display().to_string());
            }
        }
    }
}

#[test]
fn the_password_method_never_succeeds_and_leaves_the_password_in_no_file() {
    let sandbox = Sandbox::new();
    sandbox.enroll("alice");
    sandbox.service("sshd", qrtotp_tests::product::example("sshd-password-and-code"));
    let config = "PasswordAuthentication yes\nKbdInteractiveAuthentication no\nAuthenticationMethods password\n";
    let sshd = Sshd::start(&sandbox, config);
    for user in ["alice", "nobody-enrolled"] {
        let client = Client::new(&sandbox, user).option("NumberOfPasswordPrompts=3");
        let session = client.run(&[PASSWORD, PASSWORD, PASSWORD], "id -un");
        assert!(!session.success, "{session:?}");
    }
    let reasons = sandbox.reasons();
    assert!(reasons.len() >= 2 && reasons.iter().all(|reason| reason == "password_as_code"), "{reasons:?}");
    let mut found = Vec::new();
    for folder in ["/etc", "/var", "/run", "/home"] {
        files_with(PASSWORD, Path::new(folder), &mut found);
    }
    assert_eq!(found, Vec::<String>::new());
    let logs = sandbox.syslog().lines().all().join("\n") + &sshd.log().all().join("\n");
    assert!(!logs.contains(PASSWORD), "{logs}");
}

/// The prompts of a session without the name of the user in front.
fn asked(session: &Session) -> Vec<String> {
    session.prompts().iter().map(|prompt| prompt.split(") ").last().unwrap().to_owned()).collect()
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

#[test]
fn who_may_not_log_in_sees_the_prompts_of_a_wrong_code_and_waits_as_long() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    sandbox.enroll("root");
    sandbox.policy("[flood]\nper_minute = 0\n");
    let _sshd = code_only(&sandbox);
    let rounds = count("QRTOTP_TRIES", 60).div_ceil(30);
    let people = ["alice", "nobody-enrolled", "nosuchuser", "root"];
    let mut waits: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for _ in 0..rounds {
        let mut prompts = Vec::new();
        for user in people {
            let answers: Vec<String> = (0..30).map(|_| alice.phone.wrong_code()).collect();
            let client = Client::new(&sandbox, user).option("NumberOfPasswordPrompts=50");
            let session = client.run(&answers, "id -un");
            assert!(!session.success, "{user}");
            // ssh shows the prompts of each attempt; beyond the answers there is one more.
            prompts.push(asked(&session));
            waits.entry(user).or_default().extend(session.waits());
        }
        assert!(prompts.iter().all(|seen| *seen == prompts[0]), "{prompts:#?}");
    }
    let medians: BTreeMap<&str, u64> = waits.into_iter().map(|(user, waits)| (user, median(waits))).collect();
    let (least, most) = (medians.values().min().unwrap(), medians.values().max().unwrap());
    assert!(most - least <= 5000, "microseconds: {medians:?}");
}

#[test]
fn many_connections_with_many_guesses_each_have_one_budget() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    sandbox.policy("[flood]\nper_minute = 0\n");
    let _sshd = code_only(&sandbox);
    let connect = |_| {
        let answers: Vec<String> = (0..30).map(|_| alice.phone.wrong_code()).collect();
        let client = Client::new(&sandbox, "alice").option("NumberOfPasswordPrompts=30");
        client.connect(&answers, "id -un")
    };
    let connections: Vec<_> = (0..count("QRTOTP_CONNECTIONS", 12)).map(connect).collect();
    for connection in connections {
        assert!(!connection.finish().success);
    }
    let reasons = sandbox.reasons();
    let judged = reasons.iter().filter(|reason| *reason == "wrong").count();
    assert_eq!(judged, 5, "{reasons:?}");
    let owner = Client::new(&sandbox, "alice").run(&[&alice.recovery_codes[0]], "id -un");
    assert!(owner.success, "{owner:?}");
}

#[test]
fn connections_dropped_at_every_stage_charge_nothing_and_leave_nothing() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    sandbox.policy("[flood]\nper_minute = 0\n");
    let sshd = code_only(&sandbox);
    for number in 0..count("QRTOTP_CONNECTIONS", 12) {
        let mut stream = TcpStream::connect(("127.0.0.1", 22)).unwrap();
        if number % 2 == 0 {
            stream.read_exact(&mut [0; 7]).unwrap();
        }
        drop(stream);
        let mut terminal = Terminal::start(&mut Client::new(&sandbox, "alice").command("id -un"));
        terminal.wait_for("One-time code: ");
        if number % 2 == 0 {
            terminal.type_keys("123");
        }
        drop(terminal);
    }
    // The children of sshd notice one by one that their client is gone.
    let only_sshd = || sandbox.processes().len() == 1;
    let end = std::time::Instant::now() + qrtotp_tests::DEADLINE;
    while !only_sshd() && std::time::Instant::now() < end {
        std::thread::yield_now();
    }
    assert!(only_sshd(), "processes are left over: {:?}", sandbox.processes());
    let reasons = sandbox.reasons();
    assert!(reasons.iter().all(|reason| reason == "no_conversation"), "{reasons:?}");
    let session = Client::new(&sandbox, "alice").run(&[alice.phone.code()], "id -un");
    assert!(session.success, "{session:?}\n{:?}", sshd.log().all());
    assert_eq!(sandbox.logins().pop().unwrap()["budget_left"], 5);
}

#[test]
fn the_log_of_sshd_at_its_most_talkative_holds_no_code_and_no_key() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    sandbox.service("sshd", &fs::read_to_string("/etc/pam.d/code").unwrap());
    for level in ["INFO", "VERBOSE"] {
        let sshd = Sshd::start(&sandbox, &format!("{CODE_ONLY}LogLevel {level}\n"));
        sshd.log().wait_for("Server listening on ::1");
        let code = if level == "INFO" { alice.phone.code_in(-1) } else { alice.phone.code() };
        let session = Client::new(&sandbox, "alice").run(&[&code], "env");
        assert!(session.success, "{session:?}");
        let log = sshd.log().all().join("\n") + &sandbox.syslog().lines().all().join("\n") + &session.stdout;
        for secret in [&code, &alice.key, &alice.recovery_codes[0]] {
            assert!(!log.contains(secret.as_str()), "{log}");
        }
    }
}
