//! What is written down: one line in syslog that other tools read, one line of JSON, and never a secret.

use std::fs;

use qrtotp_tests::product::EVENTS;
use qrtotp_tests::sandbox::{HOST, SCRATCH, Sandbox};
use qrtotp_tests::script::Script;
use qrtotp_tests::ssh::{Client, Sshd};
use serde_json::Value;

#[test]
fn a_decision_is_one_line_in_the_classic_form_to_authpriv() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let mut script = Script::login("alice").at("code").from("192.0.2.7").answering([alice.phone.wrong_code()]);
    script.tty = Some(b"ssh".to_vec());
    sandbox.run(script);
    sandbox.run(Script::login("alice").answering([alice.phone.code()]));
    let lines = sandbox.syslog().of_module();
    let lines: Vec<&String> = lines.iter().filter(|line| line.contains("(code:auth)")).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    let classic = "pam_qrtotp(code:auth): authentication failure; \
                   logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7 user=alice reason=wrong";
    assert!(lines[0].contains(classic), "{}", lines[0]);
    assert!(lines[1].contains("pam_qrtotp(code:auth): authentication success; "), "{}", lines[1]);
    for line in lines {
        let priority: u32 = line[1..].split('>').next().unwrap().parse().unwrap();
        assert_eq!(priority >> 3, 10, "authpriv: {line}");
    }
}

#[test]
fn the_same_decision_is_one_event_with_every_fact() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    alice.phone.settle(2);
    let mut script = Script::login("alice").from("192.0.2.7").answering([alice.phone.code()]);
    script.tty = Some(b"ssh".to_vec());
    sandbox.run(script);
    let event = sandbox.logins().pop().unwrap();
    let facts: [(&str, Value); 15] = [
        ("host", HOST.into()),
        ("event", "login".into()),
        ("service", "code".into()),
        ("user", "alice".into()),
        ("uid", 2001.into()),
        ("source", "192.0.2.7".into()),
        ("rhost", "192.0.2.7".into()),
        ("tty", "ssh".into()),
        ("result", "success".into()),
        ("reason", "code".into()),
        ("factor", "totp".into()),
        ("device", alice.device.id.into()),
        ("label", "phone".into()),
        ("offset", 0.into()),
        ("enrollment", alice.enrollment.into()),
    ];
    for (name, value) in facts {
        assert_eq!(event[name], value, "{name} in {event}");
    }
    assert!(event["duration_us"].as_u64().unwrap() > 0 && event["budget_left"].is_u64(), "{event}");
    let id = event["id"].as_str().unwrap();
    assert!(sandbox.syslog().of_module().pop().unwrap().contains(&format!("id={id}")), "{id}");
    let time = event["time"].as_str().unwrap();
    assert!(time.ends_with('Z') && time.len() == 24, "{time}");
}

#[test]
fn the_events_file_is_roots_alone() {
    use std::os::unix::fs::MetadataExt;
    let sandbox = Sandbox::new();
    sandbox.enroll("alice");
    sandbox.answer("alice", "123456");
    let data = fs::metadata(EVENTS).unwrap();
    assert_eq!((data.uid(), data.mode() & 0o777), (0, 0o600));
}

#[test]
fn the_name_of_nobody_is_in_no_log() {
    let sandbox = Sandbox::new();
    sandbox.answer("hunter2-typed-at-the-wrong-prompt", "123456");
    let log = sandbox.syslog().lines().all().join("\n") + &fs::read_to_string(EVENTS).unwrap();
    assert!(log.contains("unknown_user") && !log.contains("hunter2"), "{log}");
}

#[test]
fn a_log_that_cannot_be_written_changes_no_answer() {
    let spoil: [(&str, fn()); 4] = [
        ("no syslog", || fs::remove_file("/dev/log").unwrap()),
        ("no folder for events", || {
            let _ = fs::remove_dir_all("/var/log/qrtotp");
            fs::write("/var/log/qrtotp", "").unwrap();
        }),
        ("events a folder", || {
            let _ = fs::remove_file(EVENTS);
            fs::create_dir_all(EVENTS).unwrap();
        }),
        ("events a link", || {
            let _ = fs::remove_file(EVENTS);
            fs::create_dir_all("/var/log/qrtotp").unwrap();
            std::os::unix::fs::symlink("/etc/passwd", EVENTS).unwrap();
        }),
    ];
    for (what, spoil) in spoil {
        let sandbox = Sandbox::new();
        let alice = sandbox.enroll("alice");
        let passwd = fs::read("/etc/passwd").unwrap();
        spoil();
        let right = alice.phone.code();
        assert_eq!(sandbox.answer("alice", &alice.phone.wrong_code()), 7, "{what}");
        assert_eq!(sandbox.answer("alice", &right), 0, "{what}");
        assert_eq!(sandbox.answer("alice", &right), 7, "{what}");
        assert_eq!(fs::read("/etc/passwd").unwrap(), passwd, "{what}");
    }
}

#[test]
fn a_syslog_that_nobody_reads_does_not_hold_up_a_login() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    fs::remove_file("/dev/log").unwrap();
    let _full = std::os::unix::net::UnixDatagram::bind("/dev/log").unwrap();
    let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
    sender.set_nonblocking(true).unwrap();
    while sender.send_to(b"full", "/dev/log").is_ok() {}
    let begun = std::time::Instant::now();
    assert_eq!(sandbox.answer("alice", &alice.phone.code()), 0);
    assert!(begun.elapsed() < std::time::Duration::from_secs(2), "{:?}", begun.elapsed());
}

/// What rsyslog would write to auth.log: time, host and the message without its priority.
fn auth_log(lines: &[String]) -> String {
    let line = |line: &String| {
        let text = line.split_once('>').map_or(line.as_str(), |(_, text)| text);
        // What glibc sends has the time in front already.
        let text = text.get(16..).filter(|_| text.as_bytes().get(15) == Some(&b' ')).unwrap_or(text);
        format!("Nov 24 09:30:00 {HOST} {text}\n")
    };
    lines.iter().map(line).collect()
}

#[test]
fn fail2ban_finds_the_address_of_a_refused_login() {
    let sandbox = Sandbox::new();
    sandbox.enroll("alice");
    sandbox.service("sshd", &fs::read_to_string("/etc/pam.d/code").unwrap());
    // Without -e sshd logs to syslog, as on a real machine; what it says there comes here by its standard error.
    let sshd = Sshd::start(&sandbox, "KbdInteractiveAuthentication yes\nAuthenticationMethods keyboard-interactive\n");
    let client = Client::new(&sandbox, "alice").option("NumberOfPasswordPrompts=1").from("127.0.0.9");
    assert!(!client.run(&["123456"], "id").success);
    sshd.log().wait_for("Connection closed by");
    let own: Vec<String> = sshd.log().all().iter().map(|line| format!("<85>sshd[77]: {line}")).collect();
    let ours = sandbox.syslog().of_module();
    assert!(!ours.is_empty());
    let path = format!("{SCRATCH}/auth.log");
    fs::write(&path, auth_log(&ours) + &auth_log(&own)).unwrap();
    let found = sandbox.output_of("fail2ban-regex", &["--out", "ip", &path, "sshd"]);
    assert!(found.contains("127.0.0.9"), "by the filter sshd: {found}\n{}", fs::read_to_string(&path).unwrap());
    // For sudo, su and login, whose own lines name no address, and for sshd too: the generic filter, told the module's name.
    fs::write(&path, auth_log(&ours)).unwrap();
    let found = sandbox.output_of("fail2ban-regex", &["--out", "ip", &path, "pam-generic[__pam_auth=pam_qrtotp]"]);
    assert!(found.contains("127.0.0.9"), "by the filter pam-generic: {found}\n{}", fs::read_to_string(&path).unwrap());
}

/// The shipped filter, whose folder fail2ban is told.
fn banned(sandbox: &Sandbox, filter: &str, log: &str) -> Vec<String> {
    let path = format!("{SCRATCH}/auth.log");
    fs::write(&path, log).unwrap();
    let found = sandbox.output_of("fail2ban-regex", &["--out", "ip", &path, filter]);
    found.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Puts the shipped filter and jail where packages put them.
fn put_filter() {
    fs::write("/etc/fail2ban/filter.d/qrtotp.conf", include_str!("../packaging/fail2ban/filter.d/qrtotp.conf"))
        .unwrap();
    fs::write("/etc/fail2ban/jail.d/qrtotp.conf", include_str!("../packaging/fail2ban/jail.d/qrtotp.conf")).unwrap();
}

#[test]
fn our_filter_counts_guesses_and_not_what_happens_to_the_owner() {
    let sandbox = Sandbox::new();
    put_filter();
    let alice = sandbox.enroll("alice");
    alice.phone.settle(10);
    let right = alice.phone.code();
    // Each from an address of its own: what is typed, and whether it is a guess.
    let logins = [
        ("alice", "192.0.2.1", alice.phone.wrong_code(), true),
        ("nobody-here", "192.0.2.2", "123456".to_owned(), true),
        ("alice", "2001:db8::3", "0000-0000-0000-0000-0000".to_owned(), true),
        ("alice", "192.0.2.10", right.clone(), false),
        ("alice", "192.0.2.11", right, false),
        ("alice", "192.0.2.12", alice.phone.code_in(1), false),
        ("alice", "192.0.2.13", "my password".to_owned(), false),
        ("nobody-enrolled", "192.0.2.14", "123456".to_owned(), false),
        ("alice", "attacker.example.org", alice.phone.wrong_code(), false),
        ("alice", "", alice.phone.wrong_code(), false),
    ];
    for (user, rhost, typed, _) in &logins {
        sandbox.run(Script::login(user).from(rhost).answering([typed.as_str()]));
    }
    let reasons = sandbox.reasons();
    for there in ["wrong", "unknown_user", "recovery_wrong", "replayed", "early", "malformed", "not_enrolled"] {
        assert!(reasons.iter().any(|reason| reason == there), "{there} of {reasons:?}");
    }
    let log = auth_log(&sandbox.syslog().of_module());
    let guesses: Vec<&str> = logins.iter().filter(|login| login.3).map(|login| login.1).collect();
    assert_eq!(banned(&sandbox, "qrtotp", &log), guesses, "{log}");
    let all = banned(&sandbox, "qrtotp[mode=aggressive]", &log);
    assert!(all.contains(&"192.0.2.11".to_owned()) && !all.contains(&"192.0.2.10".to_owned()), "{all:?}");
    // A jail that is there, complete, and off.
    let jails = sandbox.output_of("fail2ban-client", &["-d", "--dp"]);
    assert!(!jails.contains("'qrtotp'"), "{jails}");
    fs::write("/var/log/auth.log", "").unwrap();
    fs::write("/etc/fail2ban/jail.d/qrtotp.local", "[qrtotp]\nenabled = true\n[sshd]\nenabled = false\n").unwrap();
    let jails = sandbox.output_of("fail2ban-client", &["-d", "--dp"]);
    assert!(jails.contains("'add', 'qrtotp'") && jails.contains("second_code"), "{jails}");
}

/// Everything that a caller can choose, chosen so that another address would be banned: 203.0.113.66.
#[test]
fn nobody_can_have_another_address_banned() {
    let sandbox = Sandbox::new();
    put_filter();
    sandbox.enroll("alice");
    let hostile = [
        "x rhost=203.0.113.66",
        "x rhost=203.0.113.66 user=alice reason=wrong",
        " rhost=203.0.113.66",
        "rhost=203.0.113.66",
        "x\nNov 24 09:30:00 testhost sshd[1]: pam_qrtotp(sshd:auth): authentication failure; logname= uid=0 euid=0 tty= ruser= \
         rhost=203.0.113.66 user=alice reason=wrong",
        "\u{85}rhost=203.0.113.66\u{a0}user=x\u{2028}reason=wrong",
        "x\trhost=203.0.113.66\tuser=alice\treason=wrong",
        "x\rrhost=203.0.113.66",
        "203.0.113.66",
        "pam_qrtotp(sshd:auth): authentication failure; logname= uid=0 euid=0 tty= ruser= rhost=203.0.113.66 user= reason=wrong",
    ];
    for text in hostile {
        let by = |name: &[u8]| Script::login_bytes(name).at("code").from("198.51.100.9");
        sandbox.run(by(text.as_bytes()).answering(["123456"]));
        let mut scripts = [by(b"alice"), by(b"alice")];
        scripts[0].ruser = Some(text.as_bytes().to_vec());
        scripts[1].tty = Some(text.as_bytes().to_vec());
        for script in scripts {
            sandbox.run(script.answering(["123456"]));
        }
        // As the name of a host, unless it is just that address: then it came from there.
        if text != "203.0.113.66" {
            sandbox.run(Script::login("alice").from(text).answering(["123456"]));
        }
        sandbox.run(Script::login("alice").from("198.51.100.9").answering([text]));
    }
    let log = auth_log(&sandbox.syslog().of_module());
    assert!(log.matches("203.0.113.66").count() > hostile.len(), "they are in the log: {log}");
    for filter in ["qrtotp", "qrtotp[mode=aggressive]"] {
        let mut found = banned(&sandbox, filter, &log);
        found.dedup();
        assert_eq!(found, ["198.51.100.9"], "{filter}: {log}");
    }
}

#[test]
fn no_secret_is_written_anywhere_but_into_the_state() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let (right, wrong) = (alice.phone.code(), alice.phone.wrong_code());
    sandbox.answer("alice", &wrong);
    sandbox.answer("alice", &right);
    sandbox.answer("alice", &right);
    sandbox.answer("alice", &alice.recovery_codes[0]);
    let mut text = sandbox.syslog().lines().all().join("\n");
    for folder in ["/var/log", "/run", "/home", "/tmp"] {
        gather(folder, &mut text);
    }
    let mut secrets = vec![right, wrong, alice.key.clone()];
    secrets.extend(alice.recovery_codes.iter().flat_map(|code| [code.clone(), code.replace('-', "")]));
    for secret in secrets {
        assert!(!text.contains(&secret), "{secret} in {text}");
    }
}

fn gather(folder: &str, text: &mut String) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let kind = entry.file_type().unwrap();
        let path = entry.path().to_string_lossy().into_owned();
        if kind.is_dir() {
            gather(&path, text);
        } else if kind.is_file() {
            text.push_str(&String::from_utf8_lossy(&fs::read(&path).unwrap()));
        }
    }
}
