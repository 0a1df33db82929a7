//! Password and code in one line, through the real sshd and su with the real pam_unix; and other factors beside the code.

use qrtotp_tests::product::{example, security_folder};
use qrtotp_tests::sandbox::Sandbox;
use qrtotp_tests::ssh::{Client, Sshd};
use qrtotp_tests::terminal::Terminal;
use qrtotp_tests::users::PASSWORD;

/// The rule that an example asks for: a comment that begins with `[[rule]]` and ends with an empty one.
fn rule_of(example: &str) -> String {
    let lines = example.lines().map(|line| line.trim_start_matches(['#', ' ']));
    let lines = lines.skip_while(|line| *line != "[[rule]]").take_while(|line| !line.is_empty());
    lines.fold(String::new(), |text, line| text + line + "\n")
}

#[test]
fn sshd_takes_password_and_code_in_one_line_by_both_of_its_methods() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    sandbox.policy(&format!("[totp]\npast = 3\n{}", rule_of(example("sshd-password-with-code"))));
    let _sshd = Sshd::of_example(&sandbox, "sshd-password-with-code", "");
    alice.phone.settle(15);
    for (steps, method) in [(-3, "password"), (-2, "keyboard-interactive")] {
        let client = || {
            let preferred = format!("PreferredAuthentications={method}");
            Client::new(&sandbox, "alice").option("NumberOfPasswordPrompts=1").option(&preferred)
        };
        let code = alice.phone.code_in(steps);
        for wrong in [format!("{PASSWORD}000000"), PASSWORD.to_owned(), code.clone()] {
            assert!(!client().run(&[&wrong], "id -un").success, "{method}: {wrong}");
        }
        let right = client().run(&[format!("{PASSWORD}{code}")], "id -un");
        assert!(right.success && right.stdout == "alice\n" && right.prompts().len() == 1, "{method}: {right:?}");
        let used = client().run(&[format!("{PASSWORD}{code}")], "id -un");
        assert!(!used.success, "{used:?}");
    }
    let guess = Client::new(&sandbox, "alice")
        .option("NumberOfPasswordPrompts=1")
        .run(&[format!("guess{}", alice.phone.code_in(-1))], "id -un");
    assert!(!guess.success, "a right code with a wrong password: {guess:?}");
    let recovery = format!("{PASSWORD}{}", alice.recovery_codes[0]);
    assert!(Client::new(&sandbox, "alice").run(&[recovery], "id -un").success);
    let logs = sandbox.syslog().lines().all().join("\n");
    assert!(!logs.contains(PASSWORD), "{logs}");
}

#[test]
fn su_takes_password_and_code_in_one_line() {
    let sandbox = Sandbox::new();
    let bob = sandbox.enroll("bob");
    sandbox.policy(&rule_of(example("su-password-with-code")));
    sandbox.service("su", example("su-password-with-code"));
    let su = |line: &str| {
        let mut terminal = Terminal::start(sandbox.command_as(2001, "/usr/bin/su").args(["bob", "-c", "id"]));
        terminal.wait_for("Password and one-time code in one line: ");
        terminal.type_line(line);
        terminal.end()
    };
    let code = bob.phone.code();
    assert!(!su(&format!("{PASSWORD}{}", bob.phone.wrong_code())).0.success());
    let (status, shown) = su(&format!("{PASSWORD}{code}"));
    assert!(status.success() && shown.contains("uid=2002(bob)"), "{shown}");
    assert!(!shown.contains(PASSWORD), "it does not show: {shown}");
    assert!(!su(&format!("{PASSWORD}{code}")).0.success());
}

/// The examples with another factor: where that says no, or is not there, the code decides; where it says yes, no code is asked.
#[test]
fn another_factor_takes_the_place_of_the_code_and_its_absence_opens_nothing() {
    for (name, module) in [("sudo-fingerprint-or-code", "pam_fprintd.so"), ("sudo-fido2-or-code", "pam_u2f.so")] {
        let text = example(name);
        assert!(text.contains(module), "{name}");
        let missing = !std::path::Path::new(security_folder()).join(module).exists();
        let stand_ins = [(module, true), ("pam_deny.so", true), ("pam_permit.so", false)];
        for (stand_in, is_asked) in stand_ins.into_iter().filter(|(stand_in, _)| missing || *stand_in != module) {
            let sandbox = Sandbox::new();
            let alice = sandbox.enroll("alice");
            sandbox.service("sudo", &text.replace(module, stand_in));
            let mut terminal = Terminal::start(sandbox.command_as(2001, "/usr/bin/sudo").args(["-k", "id"]));
            terminal.wait_for("password for alice: ");
            terminal.type_line(PASSWORD);
            if is_asked {
                terminal.wait_for("One-time code: ");
                terminal.type_line(&alice.phone.code());
            }
            let (status, shown) = terminal.end();
            assert!(status.success() && shown.contains("uid=0(root)"), "{name}, {stand_in}: {shown}");
            assert_eq!(sandbox.logins().len(), usize::from(is_asked), "{name}, {stand_in}");
        }
    }
}
