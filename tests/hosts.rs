//! The real sshd, sudo, su and login, with the files of `pam.d-examples` as they stand.

use std::process::ExitStatus;

use qrtotp_tests::product::{Enrolled, example};
use qrtotp_tests::sandbox::Sandbox;
use qrtotp_tests::ssh::{Client, Session, Sshd};
use qrtotp_tests::terminal::Terminal;
use qrtotp_tests::users::PASSWORD;

/// Logs alice in with her key and these answers.
fn by_key(sandbox: &Sandbox, answers: &[&str]) -> Session {
    Client::new(sandbox, "alice").with_key().option("NumberOfPasswordPrompts=1").run(answers, "id -un")
}

#[test]
fn sshd_lets_a_key_and_a_right_code_in_and_nothing_less() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let _sshd = Sshd::of_example(&sandbox, "sshd-key-and-code", "");

    let wrong = by_key(&sandbox, &[&alice.phone.wrong_code()]);
    assert!(!wrong.success, "{wrong:?}");
    assert_eq!(sandbox.last_reason(), "wrong");

    let code = alice.phone.code();
    let right = by_key(&sandbox, &[&code]);
    assert!(right.success, "{right:?}");
    assert_eq!(right.stdout, "alice\n");
    assert_eq!(right.prompts(), ["(alice@127.0.0.1) One-time code: "]);

    let used = by_key(&sandbox, &[&code]);
    assert!(!used.success, "{used:?}");
    assert_eq!(sandbox.last_reason(), "replayed");

    let recovery = by_key(&sandbox, &[&alice.recovery_codes[0]]);
    assert!(recovery.success, "{recovery:?}");
    let spent = by_key(&sandbox, &[&alice.recovery_codes[0]]);
    assert!(!spent.success, "{spent:?}");
    assert_eq!(sandbox.last_reason(), "recovery_used");

    let keyless = Client::new(&sandbox, "alice").run(&[&alice.recovery_codes[1]], "id -un");
    assert!(!keyless.success && keyless.prompts().is_empty(), "{keyless:?}");
}

#[test]
fn sshd_lets_a_password_and_a_right_code_in_and_nothing_less() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let _sshd = Sshd::of_example(&sandbox, "sshd-password-and-code", "");
    let client = Client::new(&sandbox, "alice").option("NumberOfPasswordPrompts=1");

    let code = alice.phone.code();
    let wrong_password = client.run(&["guess", &code], "id -un");
    assert!(!wrong_password.success, "{wrong_password:?}");
    assert_eq!(sandbox.logins().len(), 0, "the code was not even asked");

    let wrong_code = client.run(&[PASSWORD, &alice.phone.wrong_code()], "id -un");
    assert!(!wrong_code.success, "{wrong_code:?}");

    let right = client.run(&[PASSWORD, &code], "id -un");
    assert!(right.success, "{right:?}");
    assert_eq!(right.prompts(), ["(alice@127.0.0.1) Password: ", "(alice@127.0.0.1) One-time code: "]);

    let used = client.run(&[PASSWORD, &code], "id -un");
    assert!(!used.success, "{used:?}");
    assert_eq!(sandbox.reasons(), ["wrong", "code", "replayed"]);
}

#[test]
fn a_person_at_a_terminal_of_sshd_reads_what_happened_since_the_last_login() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let _sshd = Sshd::of_example(&sandbox, "sshd-key-and-code", "");
    by_key(&sandbox, &[&alice.phone.wrong_code()]);
    let client = Client::new(&sandbox, "alice").with_key().option("RequestTTY=force");
    let mut terminal = Terminal::start(&mut client.command(""));
    terminal.wait_for("One-time code: ");
    terminal.type_line(&alice.recovery_codes[0]);
    terminal.wait_for("1 failed attempt");
    terminal.wait_for("9 are left");
    terminal.type_line("exit");
    assert!(terminal.end().0.success());
}

/// Answers the password and then these at the prompts of a program on a terminal; returns how it ended and what it showed.
fn on_terminal(mut terminal: Terminal, password_prompt: &str, code: &str) -> (ExitStatus, String) {
    terminal.wait_for(password_prompt);
    terminal.type_line(PASSWORD);
    terminal.wait_for("One-time code: ");
    terminal.type_line(code);
    let (index, _) = terminal.wait_for_any(&["uid=", "ry again", "uthentication failure"]);
    if index == 1 {
        // sudo asks again; what is typed before it does is lost.
        terminal.wait_for(password_prompt);
        terminal.type_keys("\u{3}");
    }
    terminal.end()
}

fn sudo(sandbox: &Sandbox, code: &str) -> (ExitStatus, String) {
    let mut command = sandbox.command_as(2001, "/usr/bin/sudo");
    command.args(["-k", "id"]);
    on_terminal(Terminal::start(&mut command), "password for alice: ", code)
}

#[test]
fn sudo_asks_its_caller_for_the_password_and_a_code() {
    let sandbox = Sandbox::new();
    sandbox.service("sudo", example("sudo"));
    let alice = sandbox.enroll("alice");

    let (_, wrong) = sudo(&sandbox, &alice.phone.wrong_code());
    assert!(!wrong.contains("uid=0"), "{wrong}");
    let code = alice.phone.code();
    let (status, right) = sudo(&sandbox, &code);
    assert!(status.success() && right.contains("uid=0(root)"), "{right}");
    let (_, used) = sudo(&sandbox, &code);
    assert!(!used.contains("uid=0"), "{used}");
    let (status, recovery) = sudo(&sandbox, &alice.recovery_codes[0]);
    assert!(status.success() && recovery.contains("uid=0(root)"), "{recovery}");
    assert_eq!(sandbox.reasons(), ["wrong", "code", "replayed", "recovery"]);
    let event = sandbox.logins().pop().unwrap();
    assert_eq!(event["user"], "alice");
    assert_eq!(event["service"], "sudo");
}

fn su(sandbox: &Sandbox, code: &str) -> (ExitStatus, String) {
    let mut command = sandbox.command_as(2001, "/usr/bin/su");
    command.args(["bob", "-c", "id"]);
    on_terminal(Terminal::start(&mut command), "Password: ", code)
}

#[test]
fn su_asks_for_the_password_and_the_code_of_the_user_to_become() {
    let sandbox = Sandbox::new();
    sandbox.service("su", example("su"));
    let [alice, bob] = ["alice", "bob"].map(|name| sandbox.enroll(name));

    let (status, not_his) = su(&sandbox, &alice.phone.code());
    assert!(!status.success(), "{not_his}");
    let code = bob.phone.code();
    let (status, right) = su(&sandbox, &code);
    assert!(status.success() && right.contains("uid=2002(bob)"), "{right}");
    let (status, used) = su(&sandbox, &code);
    assert!(!status.success(), "{used}");
    assert_eq!(sandbox.reasons(), ["wrong", "code", "replayed"]);
    let event = sandbox.logins().pop().unwrap();
    assert_eq!((&event["user"], &event["ruser"]), (&"bob".into(), &"alice".into()));
    assert_eq!(event["source"], "local:2001");
}

#[test]
fn su_asks_for_the_code_of_its_caller_where_policy_says_so() {
    let sandbox = Sandbox::new();
    sandbox.service("su", example("su"));
    sandbox.policy("[identity]\nsu = \"invoker\"\n");
    let [alice, bob] = ["alice", "bob"].map(|name| sandbox.enroll(name));

    let (status, bobs) = su(&sandbox, &bob.phone.code());
    assert!(!status.success(), "{bobs}");
    let (status, hers) = su(&sandbox, &alice.phone.code());
    assert!(status.success() && hers.contains("uid=2002(bob)"), "{hers}");
    let event = sandbox.logins().pop().unwrap();
    assert_eq!((&event["user"], &event["target"]), (&"alice".into(), &"bob".into()));
}

#[test]
fn su_of_root_asks_nothing() {
    let sandbox = Sandbox::new();
    sandbox.service("su", example("su"));
    let mut command = sandbox.command("/usr/bin/su");
    let (status, shown) = Terminal::start(command.args(["bob", "-c", "id"])).end();
    assert!(status.success() && shown.contains("uid=2002(bob)"), "{shown}");
    assert_eq!(sandbox.logins().len(), 0);
}

fn login(sandbox: &Sandbox, code: &str) -> String {
    let mut terminal = Terminal::start(&mut sandbox.command("/usr/bin/login"));
    terminal.wait_for("login: ");
    terminal.type_line("alice");
    terminal.wait_for("Password: ");
    terminal.type_line(PASSWORD);
    terminal.wait_for("One-time code: ");
    terminal.type_line(code);
    let (index, _) = terminal.wait_for_any(&["$ ", "ogin incorrect"]);
    if index > 0 {
        return terminal.text();
    }
    terminal.type_line("id; exit");
    terminal.end().1
}

#[test]
fn login_on_the_console_asks_for_the_password_and_a_code() {
    let sandbox = Sandbox::new();
    sandbox.service("login", example("login"));
    let alice: Enrolled = sandbox.enroll("alice");
    let code = alice.phone.code();
    let right = login(&sandbox, &code);
    assert!(right.contains("uid=2001(alice)"), "{right}");
    let used = login(&sandbox, &code);
    assert!(used.contains("ogin incorrect"), "{used}");
    let wrong = login(&sandbox, &alice.phone.wrong_code());
    assert!(wrong.contains("ogin incorrect"), "{wrong}");
    assert_eq!(sandbox.reasons(), ["code", "replayed", "wrong"]);
}
