//! The harness itself: what it promises the other tests.

use std::fs;

use qrtotp_tests::browser::{Window, look};
use qrtotp_tests::sandbox::{HOST, SCRATCH, Sandbox};
use qrtotp_tests::script::{Script, Step, code};
use qrtotp_tests::terminal::Terminal;
use qrtotp_tests::users::PASSWORD;

#[test]
fn a_sandbox_has_its_own_machine_and_leaves_the_real_one_as_it_was() {
    let outside = |path| fs::read_to_string(path).unwrap_or_default();
    let before = ["/etc/passwd", "/etc/hosts", "/proc/sys/kernel/hostname"].map(outside);
    {
        let sandbox = Sandbox::bare();
        assert_eq!(sandbox.output_of("hostname", &[]).trim(), HOST);
        assert_eq!(sandbox.output_of("id", &["-u", "alice"]).trim(), "2001");
        assert!(fs::exists("/etc/pam.d/probe").unwrap());
        assert_eq!(fs::read_dir("/var/log").unwrap().count(), 3);
    }
    assert_eq!(before, ["/etc/passwd", "/etc/hosts", "/proc/sys/kernel/hostname"].map(outside));
    assert!(!fs::exists("/etc/pam.d/probe").unwrap());
}

#[test]
fn what_runs_in_a_sandbox_ends_with_it() {
    let pid = {
        let sandbox = Sandbox::bare();
        let script = "setsid sleep 1000 >/dev/null 2>&1 & echo $!";
        let pid = sandbox.output_of("sh", &["-c", script]);
        assert_eq!(sandbox.processes().len(), 1);
        pid
    };
    let status = fs::read_to_string(format!("/proc/{}/status", pid.trim()));
    let gone = status.is_err() || status.unwrap().contains("(zombie)");
    assert!(gone, "the process still runs");
}

#[test]
fn the_clocks_of_a_script_can_be_moved_and_those_of_the_machine_stay() {
    let sandbox = Sandbox::bare();
    sandbox.service("clock", "auth required pam_exec.so stdout /usr/bin/date +%s\n");
    // `shift` asks the clock again through libc and fails where it did not move.
    let report = sandbox.run(Script::login("alice").at("clock").wall_moved(3600).boot_moved(-60).wall_moved(0));
    assert_eq!(report.codes(), [0, 0, 0]);
}

#[test]
fn libpam_answers_a_script_as_its_modules_do() {
    let sandbox = Sandbox::bare();
    sandbox.service("password", "auth required pam_unix.so nodelay\n");
    let login = |answer: &str| Script::login("alice").at("password").answering([answer]);
    let right = sandbox.run(login(PASSWORD).then(Step::SetCred(2)));
    assert_eq!(right.codes(), [code::SUCCESS, code::SUCCESS]);
    assert_eq!(right.results[0].prompts(), ["Password: "]);
    assert_eq!(sandbox.run(login("wrong")).code(), code::AUTH_ERR);
    let line = sandbox.syslog().lines().wait_for("pam_unix(password:auth): authentication failure");
    assert!(line.contains("user=alice"), "{line}");
}

#[test]
fn many_scripts_are_held_and_let_go_at_once() {
    let sandbox = Sandbox::bare();
    sandbox.service("password", "auth required pam_unix.so nodelay\n");
    let held = qrtotp_tests::pamhost::held(PASSWORD);
    let scripts = (0..20).map(|_| Script::login("alice").at("password").answering([held.clone()]));
    let reports = sandbox.at_once(scripts);
    assert!(reports.iter().all(|report| report.code() == code::SUCCESS));
}

#[test]
fn a_program_on_a_terminal_is_answered_when_it_asks() {
    let sandbox = Sandbox::bare();
    let mut terminal = Terminal::start(
        sandbox.command("/bin/sh").args(["-c", "stty size; printf 'name: '; read name; echo hello $name"]),
    );
    terminal.wait_for("24 80");
    terminal.wait_for("name: ");
    terminal.type_line("you");
    let (status, shown) = terminal.end();
    assert!(status.success() && shown.contains("hello you"), "{shown}");
}

#[test]
fn a_browser_tells_of_a_page_that_complains_or_is_too_wide() {
    let _sandbox = Sandbox::new();
    let page = "<!doctype html><p style=\"width:700px\">wide</p><script>console.error('a complaint')</script>";
    let view = look(page, SCRATCH, "complains", Window { width: 400, height: 300, dark: false });
    assert!(view.console.iter().any(|line| line.contains("a complaint")), "{:?}", view.console);
    assert!(view.width() >= 700, "{}", view.width());
}
