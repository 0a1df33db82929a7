//! Where people are not asked again: sessions of sudo, keys of ssh, and what ends it.

use std::io::Write as _;
use std::process::Stdio;

use qrtotp_tests::product::example;
use qrtotp_tests::sandbox::Sandbox;
use qrtotp_tests::ssh::{Client, Sshd};
use qrtotp_tests::terminal::Terminal;
use qrtotp_tests::users::PASSWORD;

const REMEMBER: &str = "[totp]\nfuture = 2\npast = 2\n[[rule]]\naction = \"require\"\nremember = \"8h\"\n";

/// A shell of alice's on a terminal, a login session of its own.
fn shell(sandbox: &Sandbox) -> Terminal {
    let mut terminal = Terminal::start(sandbox.command_as(2001, "/bin/sh").env("PS1", "prompt> "));
    terminal.wait_for("prompt> ");
    terminal
}

/// Runs sudo there; gives whether a code was asked.
fn sudo(terminal: &mut Terminal, code: &str) -> bool {
    terminal.type_line("sudo -k id -un");
    terminal.wait_for("password for alice: ");
    terminal.type_line(PASSWORD);
    let (asked, _) = terminal.wait_for_any(&["root", "One-time code: "]);
    if asked == 1 {
        terminal.type_line(code);
        terminal.wait_for("root");
    }
    terminal.wait_for("prompt> ");
    asked == 1
}

#[test]
fn sudo_asks_once_in_a_session_and_in_each_terminal_anew() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    sandbox.policy(REMEMBER);
    sandbox.service("sudo", example("sudo"));
    let (mut one, mut other) = (shell(&sandbox), shell(&sandbox));
    assert!(sudo(&mut one, &alice.phone.code_in(-2)));
    assert!(!sudo(&mut one, ""));
    assert!(sudo(&mut other, &alice.phone.code_in(-1)), "another terminal is another session");
    assert!(!sudo(&mut other, ""));
    let listed = sandbox.qrtotp(&["remember", "list", "--json"]).json();
    assert_eq!(listed["remembered"].as_array().map(Vec::len), Some(2), "{listed}");
    assert_eq!(sandbox.reasons(), ["code", "remembered", "code", "remembered"]);
    for end in [&["remember", "forget", "alice"][..], &["unlock", "alice"]] {
        assert_eq!(sandbox.qrtotp(end).code, 0);
        assert!(sudo(&mut one, &alice.phone.code_in(if end[0] == "unlock" { 2 } else { 1 })), "{end:?} ends it");
        assert!(!sudo(&mut one, ""));
    }
}

#[test]
fn without_a_terminal_there_is_no_session_to_remember() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    sandbox.policy(REMEMBER);
    sandbox.service("sudo", example("sudo"));
    // Twice in one session, which has no terminal.
    let mut command = sandbox.command_as(2001, "/usr/bin/setsid");
    command.args(["-w", "sh", "-c", "sudo -S -k id -un; sudo -S -k id -un"]).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let answers = [-2, -1].map(|steps| format!("{PASSWORD}\n{}\n", alice.phone.code_in(steps))).concat();
    child.stdin.take().unwrap().write_all(answers.as_bytes()).unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"root\nroot\n");
    assert_eq!(sandbox.reasons(), ["code", "code"]);
}

#[test]
fn a_device_that_changes_and_a_revocation_end_it() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    sandbox.policy(REMEMBER);
    sandbox.service("sudo", example("sudo"));
    let mut terminal = shell(&sandbox);
    assert!(sudo(&mut terminal, &alice.phone.code_in(-2)));
    assert!(!sudo(&mut terminal, ""));
    assert_eq!(sandbox.qrtotp(&["device", "rename", "alice", "phone", "old phone"]).code, 0);
    assert!(sudo(&mut terminal, &alice.phone.code_in(-1)));
    assert_eq!(sandbox.qrtotp(&["revoke", "alice", "--reason", "left"]).code, 0);
    terminal.type_line("sudo -k id -un");
    terminal.wait_for("password for alice: ");
    terminal.type_line(PASSWORD);
    terminal.wait_for("One-time code: ");
}

#[test]
fn ssh_asks_once_for_a_key_at_an_address_and_never_for_an_address_alone() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    sandbox.policy(REMEMBER);
    let by_key = Sshd::of_example(&sandbox, "sshd-key-and-code", "");
    let client = || Client::new(&sandbox, "alice").with_key().option("NumberOfPasswordPrompts=1");
    assert!(client().run(&[alice.phone.code_in(-2)], "id").success);
    let again = client().run::<&str>(&[], "id");
    assert!(again.success && again.prompts().is_empty(), "{again:?}");
    let elsewhere = client().from("127.0.0.9").run(&["000000"], "id");
    assert!(!elsewhere.success && elsewhere.prompts().len() == 1, "{elsewhere:?}");
    drop(by_key);
    let _by_password = Sshd::of_example(&sandbox, "sshd-password-and-code", "");
    let client = || Client::new(&sandbox, "alice").option("NumberOfPasswordPrompts=1");
    for steps in [-1, 0] {
        let session = client().run(&[PASSWORD, &alice.phone.code_in(steps)], "id");
        assert!(session.success && session.prompts().len() == 2, "{session:?}");
    }
}

#[test]
fn su_asks_once_in_a_session() {
    let sandbox = Sandbox::new();
    let bob = sandbox.enroll("bob");
    sandbox.policy(REMEMBER);
    sandbox.service("su", example("su"));
    let mut terminal = shell(&sandbox);
    for code in [Some(bob.phone.code_in(-1)), None] {
        terminal.type_line("su bob -c 'id -un'");
        terminal.wait_for("Password: ");
        terminal.type_line(PASSWORD);
        if let Some(code) = code {
            terminal.wait_for("One-time code: ");
            terminal.type_line(&code);
        }
        terminal.wait_for("bob\r\n");
        terminal.wait_for("prompt> ");
    }
    assert_eq!(sandbox.reasons(), ["code", "remembered"]);
}
