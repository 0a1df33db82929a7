//! The README's chapter "I am locked out", tried step by step as it is written. Each test takes the commands of its part from
//! the README, runs all of them in their order, and looks at what they come to.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use qrtotp_tests::phone::{Phone, seconds_now};
use qrtotp_tests::product::{Enrolled, Ran, STATE};
use qrtotp_tests::sandbox::Sandbox;
use qrtotp_tests::script::{Script, code};
use qrtotp_tests::ssh::{Client, Sshd};
use qrtotp_tests::terminal::Terminal;

const README: &str = include_str!("../README.md");

/// The commands of one part, in their order; all of them must be taken.
struct Part {
    title: &'static str,
    commands: Vec<String>,
    taken: Cell<usize>,
}

impl Part {
    fn of(title: &'static str) -> Self {
        let chapter = README.split("\n## I am locked out\n").nth(1).unwrap().split("\n## ").next().unwrap();
        let part = chapter.split(&format!("\n### {title}\n")).nth(1).unwrap_or_else(|| panic!("no part {title}"));
        let part = part.split("\n### ").next().unwrap();
        let commands = part.split('`').filter(|piece| piece.starts_with("qrtotp ")).map(str::to_owned).collect();
        Self { title, commands, taken: Cell::new(0) }
    }

    /// The words of the next command, which must be this one.
    fn next(&self, expected: &str) -> Vec<String> {
        let number = self.taken.replace(self.taken.get() + 1);
        assert_eq!(self.commands.get(number).map(String::as_str), Some(expected), "{}", self.title);
        let (plain, quoted) = expected.split_once(" \"").unwrap_or((expected, ""));
        let words = plain.split(' ').skip(1).map(str::to_owned);
        words.chain((!quoted.is_empty()).then(|| quoted.trim_end_matches('"').to_owned())).collect()
    }

    /// Runs it.
    fn run(&self, sandbox: &Sandbox, expected: &str) -> Ran {
        let words = self.next(expected);
        sandbox.qrtotp(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Runs it; it must succeed.
    fn done(&self, sandbox: &Sandbox, expected: &str) -> Ran {
        let ran = self.run(sandbox, expected);
        assert_eq!(ran.code, 0, "{expected}: {ran:?}");
        ran
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(
                self.taken.get(),
                self.commands.len(),
                "steps of \"{}\" that were not tried: {:?}",
                self.title,
                self.commands
            );
        }
    }
}

fn machine() -> (Sandbox, Enrolled) {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    (sandbox, alice)
}

/// Enrolls on a terminal, through ssh with a key: types these, scans the picture, confirms it. Gives the phone.
fn enroll_by_ssh(sandbox: &Sandbox, typed: &[&str]) -> Phone {
    let mut terminal = Terminal::start(&mut Client::new(sandbox, "alice").with_key().command("id -un"));
    for (number, text) in typed.iter().enumerate() {
        terminal.wait_for_any(if number == 0 { &["enrollment ticket: "] } else { &["code: ", "enrollment ticket: "] });
        terminal.type_line(text);
    }
    let page = terminal.wait_for("give up): ");
    let group =
        |word: &&str| word.len() == 4 && word.bytes().all(|c| c.is_ascii_uppercase() || (b'2'..=b'7').contains(&c));
    let words: Vec<&str> = page.split_whitespace().filter(group).collect();
    let phone = Phone::new(&words[words.len() - 8..].concat(), Default::default());
    phone.settle(10);
    terminal.type_line(&phone.code());
    let (index, page) = terminal.wait_for_any(&["Type one of them back", "alice\r"]);
    if index == 0 {
        let is_code = |word: &&str| word.len() == 24 && word.split('-').all(|group| group.len() == 4);
        terminal.type_line(page.split_whitespace().find(is_code).unwrap());
        terminal.wait_for("alice\r");
    }
    terminal.end();
    phone
}

/// Logs in at the tests' own service; what libpam says.
fn later(sandbox: &Sandbox, phone: &Phone, seconds: i64) -> i32 {
    let code = phone.code_at(seconds_now().saturating_add_signed(seconds));
    sandbox.run(Script::login("alice").wall_moved(seconds).answering([code])).code()
}

#[test]
fn the_phone_is_lost() {
    let part = Part::of("The phone is lost");
    let (sandbox, alice) = machine();
    let _sshd = Sshd::of_example(&sandbox, "sshd-key-and-code", "");
    assert_eq!(sandbox.answer("alice", &alice.recovery_codes[0]), 0, "a recovery code at the same prompt");
    assert_eq!(sandbox.answer("alice", &alice.recovery_codes[0]), code::AUTH_ERR, "each works once");
    sandbox.policy("[[rule]]\naction = \"enroll\"\n");
    let made = part.done(&sandbox, "qrtotp rotate alice phone --overlap 0");
    let ticket = made.stdout.split_whitespace().find(|word| word.matches('-').count() == 2 && word.len() == 14);
    let ticket = ticket.unwrap_or_else(|| panic!("no ticket in {}", made.stdout));
    let new = enroll_by_ssh(&sandbox, &[ticket, &alice.recovery_codes[1]]);
    assert_eq!(later(&sandbox, &new, 3600), 0);
    assert_ne!(later(&sandbox, &alice.phone, 7200), 0, "the old phone ends");
    // With the administrator at hand; the tests cannot scan at his side.
    let mut words = part.next("qrtotp enroll alice --replace");
    words.push("--unverified".to_owned());
    assert_eq!(sandbox.qrtotp(&words.iter().map(String::as_str).collect::<Vec<_>>()).code, 0);
    assert_ne!(later(&sandbox, &new, 3700), 0);
}

#[test]
fn the_recovery_codes_are_gone_too() {
    let part = Part::of("The recovery codes are gone too");
    let (sandbox, alice) = machine();
    let _sshd = Sshd::of_example(&sandbox, "sshd-key-and-code", "");
    sandbox.policy("[[rule]]\naction = \"enroll\"\n");
    part.done(&sandbox, "qrtotp revoke alice --reason \"phone lost\"");
    assert_ne!(sandbox.answer("alice", &alice.phone.code()), 0, "whoever has the phone gets nowhere");
    let made = part.done(&sandbox, "qrtotp ticket new alice");
    let ticket = made.stdout.split_whitespace().find(|word| word.matches('-').count() == 2 && word.len() == 14);
    let new = enroll_by_ssh(&sandbox, &[ticket.unwrap()]);
    assert_eq!(later(&sandbox, &new, 3600), 0);
    let page = part.done(&sandbox, "qrtotp recovery alice").stdout;
    let recovery = page.split_whitespace().find(|word| word.len() == 24 && word.matches('-').count() == 4).unwrap();
    assert_eq!(sandbox.answer("alice", recovery), 0);
}

#[test]
fn it_asks_for_a_next_code() {
    let part = Part::of("It asks for a \"next code\"");
    let (sandbox, alice) = machine();
    for _ in 0..6 {
        sandbox.answer("alice", &alice.phone.wrong_code());
    }
    sandbox.policy("[totp]\nfuture = 1\n");
    let two = |first: String, second: String| sandbox.run(Script::login("alice").answering([first, second]));
    let report = two(alice.phone.code(), alice.phone.code_in(1));
    assert!(report.code() == 0 && report.last().prompts().len() == 2, "{report:?}");
    for _ in 0..6 {
        sandbox.answer("alice", &alice.phone.wrong_code());
    }
    part.done(&sandbox, "qrtotp unlock alice");
    assert_eq!(later(&sandbox, &alice.phone, 600), 0, "one code again");
}

#[test]
fn every_code_is_wrong_because_of_the_clock() {
    let part = Part::of("Every code is wrong: the clock");
    let (sandbox, alice) = machine();
    alice.phone.settle(10);
    // This host is a minute behind the phone.
    let ahead = alice.phone.code_at(seconds_now() + 60);
    assert_ne!(sandbox.answer("alice", &ahead), 0);
    let why = part.done(&sandbox, "qrtotp why alice");
    assert!(why.stdout.contains("early") && why.stdout.contains("clock"), "{}", why.stdout);
    let doctor = part.run(&sandbox, "qrtotp doctor");
    assert!(doctor.stdout.contains("(clock)"), "{}", doctor.stdout);
    // It was a day ahead once.
    assert_eq!(later(&sandbox, &alice.phone, 86_400), 0);
    assert_ne!(sandbox.answer("alice", &alice.phone.code()), 0);
    assert_eq!(sandbox.last_reason(), "clock_backwards");
    part.done(&sandbox, "qrtotp unlock alice");
    assert_eq!(later(&sandbox, &alice.phone, 60), 0);
}

#[test]
fn the_disk_is_full() {
    let part = Part::of("The disk is full");
    let sandbox = Sandbox::bare();
    fs::create_dir(STATE).unwrap();
    sandbox.output_of("/bin/mount", &["-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", STATE]);
    sandbox.qrtotp(&["init"]);
    let alice = sandbox.enroll("alice");
    let filler = format!("{STATE}/.filler");
    assert!(fs::write(&filler, vec![0; 8 << 20]).is_err(), "the disk is full");
    assert_eq!(sandbox.answer("alice", &alice.phone.code()), 0, "who is enrolled still gets in");
    for number in 0..100 {
        assert_ne!(sandbox.answer("alice", &alice.phone.wrong_code()), 0, "{number}");
        assert_eq!(
            sandbox.last_reason(),
            if number < 5 { "wrong" } else { "no_conversation" },
            "{number}: judged, and asked for a second one; not refused for the disk"
        );
    }
    let refused = sandbox.qrtotp(&["enroll", "bob", "--unverified"]);
    assert!(refused.code != 0 && refused.stderr.contains("space"), "{refused:?}");
    let doctor = part.run(&sandbox, "qrtotp doctor");
    assert!(
        doctor.code == 1 && doctor.stdout.contains("KiB free") && doctor.stdout.contains(STATE),
        "{}",
        doctor.stdout
    );
    part.done(&sandbox, "qrtotp gc");
    fs::remove_file(&filler).unwrap();
    assert_eq!(sandbox.qrtotp(&["enroll", "bob", "--unverified"]).code, 0);
}

#[test]
fn state_or_policy_cannot_be_read() {
    let part = Part::of("State or policy cannot be read");
    let (sandbox, alice) = machine();
    let keys = format!("{STATE}/2001/credentials.toml");
    let good = fs::read(&keys).unwrap();
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o644)).unwrap();
    assert_ne!(sandbox.answer("alice", &alice.phone.code()), 0);
    assert_eq!(sandbox.last_reason(), "state");
    let doctor = part.run(&sandbox, "qrtotp doctor");
    assert!(doctor.stdout.contains(&keys), "{}", doctor.stdout);
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o600)).unwrap();

    sandbox.policy("[totp]\npasst = 1\n");
    assert_ne!(sandbox.answer("alice", &alice.phone.code()), 0);
    assert_eq!(sandbox.last_reason_in_syslog(), "policy");
    let mistake = part.run(&sandbox, "qrtotp policy check");
    assert!(mistake.code == 4 && mistake.stdout.contains("config.toml:2:1"), "{mistake:?}");
    sandbox.policy("[totp]\npast = 1\n");
    assert_eq!(sandbox.qrtotp(&["policy", "check"]).code, 0);

    fs::write(format!("{STATE}/2001/journal"), "damaged").unwrap();
    assert_ne!(sandbox.answer("alice", &alice.phone.code()), 0);
    part.done(&sandbox, "qrtotp repair alice");
    sandbox.policy("[totp]\nfuture = 2\n");
    let two = [alice.phone.code_in(1), alice.phone.code_in(2)];
    assert_eq!(sandbox.run(Script::login("alice").answering(two)).code(), 0, "her device is the same");

    fs::write(&keys, "damaged").unwrap();
    assert_ne!(sandbox.answer("alice", &alice.phone.code()), 0);
    fs::write(&keys, good).unwrap();
    assert_eq!(sandbox.status("alice")["state"], "stepped_up", "from a backup");
    fs::write(&keys, "damaged").unwrap();
    let mut words = part.next("qrtotp enroll alice --replace");
    words.push("--unverified".to_owned());
    assert_eq!(sandbox.qrtotp(&words.iter().map(String::as_str).collect::<Vec<_>>()).code, 0);

    let kept = sandbox.qrtotp_told("a passphrase of ours", &["handover", "/mnt/move.age", "--all", "--keep"]);
    assert_eq!(kept.code, 0, "{kept:?}");
    fs::remove_dir_all(STATE).unwrap();
    assert_ne!(sandbox.answer("alice", &alice.phone.code()), 0, "it lets nobody in");
    part.done(&sandbox, "qrtotp init");
    let words = part.next("qrtotp restore /mnt/move.age");
    let restored = sandbox.qrtotp_told("a passphrase of ours", &words.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(restored.code, 0, "{restored:?}");
    assert_eq!(sandbox.status("alice")["state"], "enrolled");
}

#[test]
fn nobody_gets_in_at_all() {
    let part = Part::of("Nobody gets in at all");
    let (sandbox, _alice) = machine();
    let stock = "@include common-auth\n@include common-account\n";
    sandbox.service("sudo", stock);
    let on = sandbox
        .command("/usr/local/sbin/qrtotp")
        .args(["enable", "sudo", "--yes", "--unconfirmed"])
        .env("SUDO_USER", "alice")
        .output();
    assert!(on.unwrap().status.success());
    fs::remove_dir_all(STATE).unwrap();
    let mut words = part.next("qrtotp disable sudo");
    words.push("--yes".to_owned());
    let off = sandbox.qrtotp(&words.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(off.code, 0, "{off:?}");
    assert_eq!(fs::read_to_string("/etc/pam.d/sudo").unwrap(), stock);
    // Without the command.
    sandbox.service("code", "#auth required pam_qrtotp.so\nauth required pam_permit.so\n");
    assert_eq!(sandbox.answer("alice", ""), 0);
}
