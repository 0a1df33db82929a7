//! `qrtotp enable` and `disable`, with the real sudo and sshd.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use qrtotp_tests::product::{EVENTS, Enrolled, Ran, example};
use qrtotp_tests::sandbox::Sandbox;
use qrtotp_tests::ssh::{Client, Sshd};
use qrtotp_tests::terminal::Terminal;
use qrtotp_tests::users::PASSWORD;

/// Where a change lies until it is confirmed.
const PENDING: &str = "/etc/qrtotp/switch/sudo.pending";

/// Debian's own sudo.
const SUDO: &str = "#%PAM-1.0\n\n# Limits\nsession    required   pam_limits.so\n\n@include common-auth\n@include common-account\n\
                    @include common-session-noninteractive\n";

/// `qrtotp` as alice runs it by sudo.
fn qrtotp(sandbox: &Sandbox, arguments: &[&str]) -> Command {
    let mut command = sandbox.command("/usr/local/sbin/qrtotp");
    command.args(arguments).env("SUDO_USER", "alice");
    command
}

fn ran(sandbox: &Sandbox, arguments: &[&str]) -> Ran {
    let output = qrtotp(sandbox, arguments).output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A machine on which alice is enrolled and sudo is as Debian has it.
fn machine() -> (Sandbox, Enrolled) {
    let sandbox = Sandbox::new();
    sandbox.service("sudo", SUDO);
    let alice = sandbox.enroll("alice");
    (sandbox, alice)
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < end, "{what} does not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Logs in by sudo; whether that worked.
fn sudo(sandbox: &Sandbox, code: Option<&str>) -> bool {
    let mut command = sandbox.command_as(2001, "/usr/bin/sudo");
    command.args(["-k", "id"]);
    let mut terminal = Terminal::start(&mut command);
    terminal.wait_for("password for alice: ");
    terminal.type_line(PASSWORD);
    if let Some(code) = code {
        terminal.wait_for("One-time code: ");
        terminal.type_line(code);
    }
    let (index, _) = terminal.wait_for_any(&["uid=0", "ry again", "One-time code"]);
    if index == 0 {
        terminal.end();
    }
    index == 0
}

#[test]
fn sudo_is_switched_on_by_a_login_that_confirms_it_and_off_again() {
    let (sandbox, alice) = machine();
    let child = qrtotp(&sandbox, &["enable", "sudo", "--yes", "--json"]).spawn().unwrap();
    until("the change", || fs::read_to_string("/etc/pam.d/sudo").unwrap().contains("pam_qrtotp"));
    assert!(sudo(&sandbox, Some(&alice.phone.code())));
    let output = child.wait_with_output().unwrap();
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &told["state"]), (Some(0), &"confirmed".into()), "{output:?}");
    assert!(!fs::exists(PENDING).unwrap());
    let backup = told["backup"].as_str().unwrap();
    assert_eq!(fs::read_to_string(backup).unwrap(), SUDO);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains("+auth       required   pam_qrtotp.so")
            && stderr.contains("a right code gets in; a used one, a wrong one and a wrong password do not"),
        "{stderr}"
    );

    let again = ran(&sandbox, &["enable", "sudo", "--yes"]);
    assert_eq!((again.code, again.stdout.as_str()), (0, "sudo asks for a code already; nothing was changed\n"));

    let off = ran(&sandbox, &["disable", "sudo", "--yes"]);
    assert_eq!(off.code, 0, "{off:?}");
    assert_eq!(fs::read_to_string("/etc/pam.d/sudo").unwrap(), SUDO);
    assert!(sudo(&sandbox, None));
    let twice = ran(&sandbox, &["disable", "sudo", "--yes"]);
    assert_eq!((twice.code, twice.stdout.as_str()), (0, "sudo asks for no code; nothing was changed\n"));

    // The login of before does not confirm the next change.
    let child = qrtotp(&sandbox, &["enable", "sudo", "--yes"]).spawn().unwrap();
    until("the change", || fs::read_to_string("/etc/pam.d/sudo").unwrap().contains("pam_qrtotp"));
    let_time_pass();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(1));
    let kinds: Vec<_> =
        sandbox.events().iter().map(|event| format!("{} {}", event["event"], event["reason"])).collect();
    for kind in ["\"switch_on\" \"waiting\"", "\"switch_on\" \"confirmed\"", "\"switch_off\" \"by_command\""] {
        assert!(kinds.iter().any(|own| own == kind), "{kind} in {kinds:?}");
    }
}

/// The time counts since boot: half an hour of it passes by writing another beginning into the change.
fn let_time_pass() {
    let text = fs::read_to_string(PENDING).unwrap();
    let mut plan: serde_json::Value = serde_json::from_str(&text).unwrap();
    plan["confirm"] = 0.into();
    fs::write(PENDING, plan.to_string()).unwrap();
}

#[test]
fn what_nobody_confirms_is_taken_back_even_if_the_command_is_killed_and_the_terminal_gone() {
    let (sandbox, alice) = machine();
    let mut terminal = Terminal::start(&mut qrtotp(&sandbox, &["enable", "sudo"]));
    terminal.wait_for("Switch sudo on? [y/N] ");
    terminal.type_line("y");
    terminal.wait_for("Within 120 seconds, as alice");
    // The terminal goes, and SIGHUP with it; what is left of the command is killed.
    let pid = terminal.id().to_string();
    drop(terminal);
    let _ = Command::new("kill").args(["-KILL", &pid]).stderr(Stdio::null()).status();
    assert!(!sudo(&sandbox, Some(&alice.phone.wrong_code())), "a wrong code confirms nothing");
    assert!(fs::read_to_string("/etc/pam.d/sudo").unwrap().contains("pam_qrtotp"));
    let_time_pass();
    until("the old file", || fs::read_to_string("/etc/pam.d/sudo").unwrap() == SUDO);
    until("the end of the guard", || !fs::exists(PENDING).unwrap());
    assert!(sudo(&sandbox, None));
    until("its event", || fs::read_to_string(EVENTS).unwrap().contains("not_confirmed"));
}

#[test]
fn the_command_says_so_where_it_was_taken_back_and_takes_the_place_of_a_guard_that_was_killed() {
    let (sandbox, _alice) = machine();
    let child = qrtotp(&sandbox, &["enable", "sudo", "--yes"]).spawn().unwrap();
    until("the change", || fs::read_to_string("/etc/pam.d/sudo").unwrap().contains("pam_qrtotp"));
    let own = i32::try_from(child.id()).unwrap();
    let is_guard = |pid: &i32| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.windows(5).any(|word| word == b"guard"))
    };
    let guards: Vec<_> = sandbox.processes().into_iter().filter(|pid| *pid != own).filter(is_guard).collect();
    assert_eq!(guards.len(), 1, "one guard");
    assert!(Command::new("kill").args(["-KILL", &guards[0].to_string()]).status().unwrap().success());
    let_time_pass();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("was not confirmed and is as it was before"));
    assert_eq!(fs::read_to_string("/etc/pam.d/sudo").unwrap(), SUDO);
}

#[test]
fn a_boot_takes_back_what_was_left() {
    let (sandbox, _alice) = machine();
    let mut child = qrtotp(&sandbox, &["enable", "sudo", "--yes"]).spawn().unwrap();
    until("the change", || fs::read_to_string("/etc/pam.d/sudo").unwrap().contains("pam_qrtotp"));
    child.kill().unwrap();
    child.wait().unwrap();
    for pid in sandbox.processes() {
        let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status();
    }
    until("the end of all of them", || sandbox.processes().is_empty());
    let pending = ran(&sandbox, &["enable", "sudo", "--yes"]);
    assert!(pending.code == 6 && pending.stderr.contains("qrtotp disable sudo"), "{pending:?}");
    let booted = ran(&sandbox, &["guard"]);
    assert_eq!(booted.code, 0, "{booted:?}");
    assert_eq!(fs::read_to_string("/etc/pam.d/sudo").unwrap(), SUDO);
}

#[test]
fn nothing_is_switched_on_that_would_lock_out_or_let_in() {
    let (sandbox, _alice) = machine();
    let refused = |arguments: &[&str], what: &str| {
        let ran = ran(&sandbox, arguments);
        assert!(ran.code != 0 && (ran.stderr.contains(what) || ran.stdout.contains(what)), "{what}: {ran:?}");
        assert!(!fs::read_to_string("/etc/pam.d/sudo").unwrap().contains("pam_qrtotp"), "{what}");
    };
    let bob = qrtotp(&sandbox, &["enable", "sudo", "--yes"]).env("SUDO_USER", "bob").output().unwrap();
    assert_eq!(bob.status.code(), Some(3), "{bob:?}");
    assert!(String::from_utf8_lossy(&bob.stderr).contains("qrtotp enroll bob"));
    refused(&["enable", "sudo"], "add --yes");
    refused(&["enable", "sudo", "--confirm", "5s", "--yes"], "30s to 1h");
    refused(&["enable", "sshd", "--yes"], "--factor key");
    refused(&["enable", "sudo", "--factor", "key", "--yes"], "is for sshd");
    refused(&["enable", "../sudo", "--yes"], "name of a file");
    refused(&["enable", "nothing", "--yes"], "no service nothing");
    sandbox.service("sudo", "auth sufficient pam_unix.so\nauth required pam_deny.so\n");
    refused(&["enable", "sudo", "--yes"], "pam-bypass");
    sandbox.service(
        "sudo",
        &SUDO.replace("@include common-account", "auth required pam_deny.so\n@include common-account"),
    );
    refused(&["enable", "sudo", "--yes"], "pam-nobody");
    // What no reading of the file shows: a module that is broken here.
    sandbox.service("sudo", SUDO);
    fs::write("/etc/qrtotp/config.toml", "[totp]\npast = 99\n").unwrap();
    refused(&["enable", "sudo", "--yes"], "past");
}

#[test]
fn a_stack_that_the_trial_finds_bad_is_not_switched_on() {
    let (sandbox, _alice) = machine();
    let folder = qrtotp_tests::product::security_folder();
    // A module of that name which says yes to everybody.
    fs::copy(format!("{folder}/pam_permit.so"), format!("{folder}/pam_qrtotp.so")).unwrap();
    let tried = ran(&sandbox, &["enable", "sudo", "--yes", "--unconfirmed"]);
    assert_eq!(tried.code, 1, "{tried:?}");
    assert!(tried.stderr.contains("in the trial, somebody gets in without being asked for a code"), "{tried:?}");
    assert_eq!(fs::read_to_string("/etc/pam.d/sudo").unwrap(), SUDO);
}

#[test]
fn a_trial_leaves_nothing_behind() {
    let (sandbox, _alice) = machine();
    let listing = || {
        sandbox
            .output_of("/usr/bin/find", &["/etc", "/var/lib/qrtotp", "/run", "-newer", "/etc/pam.d/sudo", "-type", "f"])
    };
    let (before, events) = (listing(), fs::read_to_string(EVENTS).unwrap());
    let lines = sandbox.syslog().of_module().len();
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let shown = ran(&sandbox, &["enable", "sudo", "--dry-run"]);
    assert_eq!(shown.code, 0, "{shown:?}");
    let script = serde_json::json!({ "service": "sudo", "file": "/etc/pam.d/sudo", "config": "/etc/qrtotp/config.toml",
        "asks_password": true, "folders": [], "text": SUDO.replace("@include common-account", "auth required pam_qrtotp.so\n@include common-account") });
    let tried = sandbox.qrtotp_told(&format!("{script}\n"), &["try-login"]);
    assert_eq!(tried.stdout, "\"good\"\n", "{tried:?}");
    assert_eq!(listing(), before);
    assert_eq!(fs::read_to_string(EVENTS).unwrap(), events);
    assert_eq!(sandbox.syslog().of_module().len(), lines);
    assert_eq!(fs::read_to_string("/proc/thread-self/mountinfo").unwrap(), mounts);
}

#[test]
fn sshd_is_switched_on_with_its_own_settings_and_read_by_the_running_one() {
    let (sandbox, alice) = machine();
    let stock = example("sshd-password-and-code")
        .lines()
        .filter(|line| !line.contains("pam_qrtotp"))
        .fold(String::new(), |text, line| text + line + "\n");
    sandbox.service("sshd", &stock);
    let _ = fs::remove_dir_all("/etc/ssh/sshd_config.d");
    fs::create_dir_all("/etc/ssh/sshd_config.d").unwrap();
    let sshd = Sshd::start(&sandbox, "PidFile /run/sshd.pid");
    let used = sshd.config_file();
    // The running sshd's file is the machine's.
    let text = format!("Include /etc/ssh/sshd_config.d/*.conf\n{}", fs::read_to_string(&used).unwrap());
    fs::write("/etc/ssh/sshd_config", &text).unwrap();
    fs::write(&used, &text).unwrap();
    let by_key = || Client::new(&sandbox, "alice").with_key().option("NumberOfPasswordPrompts=1");
    assert!(by_key().run::<&str>(&[], "id -un").success, "a key is enough before");

    let plain = ran(&sandbox, &["enable", "sshd", "--factor", "key", "--yes"]);
    assert!(plain.code == 1 && plain.stderr.contains("add --sshd-config"), "{plain:?}");
    let child = qrtotp(&sandbox, &["enable", "sshd", "--factor", "key", "--sshd-config", "--yes"]).spawn().unwrap();
    until("the settings", || fs::exists("/etc/ssh/sshd_config.d/00-qrtotp.conf").unwrap());
    // The running sshd needs a moment to read them.
    let code = alice.phone.code();
    until("a question", || {
        let session = by_key().run(&[&code], "id -un");
        session.success && !session.prompts().is_empty()
    });
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");

    let off = ran(&sandbox, &["disable", "sshd", "--yes"]);
    assert_eq!(off.code, 0, "{off:?}");
    assert_eq!(fs::read_to_string("/etc/pam.d/sshd").unwrap(), stock);
    assert!(!fs::exists("/etc/ssh/sshd_config.d/00-qrtotp.conf").unwrap());
    until("a key alone", || by_key().run::<&str>(&[], "id -un").success);
}

/// Makes /etc/pam.d a file system of its own that one can fill.
fn small_disk(sandbox: &Sandbox) {
    sandbox.output_of(
        "/bin/sh",
        &[
            "-c",
            "cp -a /etc/pam.d /mnt/pam.d && mount -t tmpfs -o size=256k t /etc/pam.d && cp -a /mnt/pam.d/. /etc/pam.d/",
        ],
    );
}

fn fill() {
    assert!(fs::write("/etc/pam.d/filler", vec![0; 1 << 20]).is_err(), "the disk is full");
}

#[test]
fn a_full_disk_keeps_nothing_from_being_taken_back() {
    let (sandbox, _alice) = machine();
    small_disk(&sandbox);
    let child = qrtotp(&sandbox, &["enable", "sudo", "--yes"]).spawn().unwrap();
    until("the change", || fs::read_to_string("/etc/pam.d/sudo").unwrap().contains("pam_qrtotp"));
    fill();
    let_time_pass();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(1));
    assert_eq!(fs::read_to_string("/etc/pam.d/sudo").unwrap(), SUDO);
}

#[test]
fn a_guard_goes_on_until_it_could_take_an_edited_file_back() {
    let (sandbox, _alice) = machine();
    small_disk(&sandbox);
    let mut child = qrtotp(&sandbox, &["enable", "sudo", "--yes"]).spawn().unwrap();
    until("the change", || fs::read_to_string("/etc/pam.d/sudo").unwrap().contains("pam_qrtotp"));
    child.kill().unwrap();
    child.wait().unwrap();
    let edited =
        fs::read_to_string("/etc/pam.d/sudo").unwrap().replace("# Limits", "# My limits").replace("# qrtotp end\n", "");
    fs::write("/etc/pam.d/sudo", edited).unwrap();
    fill();
    let_time_pass();
    let off = ran(&sandbox, &["disable", "sudo", "--yes"]);
    assert!(off.code != 0, "the mark is torn, and the disk full: {off:?}");
    assert!(fs::exists(PENDING).unwrap(), "what could not be done is not forgotten");
    fs::remove_file("/etc/pam.d/filler").unwrap();
    until("the way back", || !fs::read_to_string("/etc/pam.d/sudo").unwrap().contains("pam_qrtotp"));
    assert_eq!(fs::read_to_string("/etc/pam.d/sudo").unwrap(), SUDO.replace("# Limits", "# My limits"));
    until("the end of the guard", || !fs::exists(PENDING).unwrap());
}

#[test]
fn whoever_disables_it_confirms_nothing() {
    let (sandbox, _alice) = machine();
    let child = qrtotp(&sandbox, &["enable", "sudo", "--yes"]).spawn().unwrap();
    until("the change", || fs::read_to_string("/etc/pam.d/sudo").unwrap().contains("pam_qrtotp"));
    assert_eq!(ran(&sandbox, &["disable", "sudo", "--yes"]).code, 0);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("somebody else has ended this change"));
}

#[test]
fn a_login_that_was_there_before_confirms_nothing_whatever_its_time() {
    let (sandbox, alice) = machine();
    sandbox.service(
        "sudo",
        &SUDO.replace("@include common-account", "auth required pam_qrtotp.so\n@include common-account"),
    );
    // The clock was an hour ahead at it.
    let hour = alice.phone.code_at(qrtotp_tests::phone::seconds_now() + 3600);
    let script = qrtotp_tests::script::Script::login("alice").at("sudo").wall_moved(3600).answering([PASSWORD, &hour]);
    assert_eq!(sandbox.run(script).code(), 0);
    sandbox.service("sudo", SUDO);
    let child = qrtotp(&sandbox, &["enable", "sudo", "--yes"]).spawn().unwrap();
    until("the change", || fs::read_to_string("/etc/pam.d/sudo").unwrap().contains("pam_qrtotp"));
    let_time_pass();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(1));
}

#[test]
fn su_is_switched_on_by_a_code_that_its_own_caller_gives() {
    let (sandbox, _alice) = machine();
    sandbox.service("su", "auth       sufficient pam_rootok.so\n\n@include common-auth\n@include common-account\n@include common-session\n");
    let (root, bob) = (sandbox.enroll("root"), sandbox.enroll("bob"));
    let child = qrtotp(&sandbox, &["enable", "su", "--yes"]).spawn().unwrap();
    until("the change", || fs::read_to_string("/etc/pam.d/su").unwrap().contains("pam_qrtotp"));
    let su = |uid: u32, target: &str, code: &str| {
        let mut command = sandbox.command_as(uid, "/bin/su");
        command.args([target, "-c", "id"]);
        let mut terminal = Terminal::start(&mut command);
        terminal.wait_for("Password: ");
        terminal.type_line(PASSWORD);
        terminal.wait_for("One-time code: ");
        terminal.type_line(code);
        terminal.wait_for("uid=");
        terminal.end();
    };
    su(2002, "bob", &bob.phone.code());
    std::thread::sleep(Duration::from_millis(600));
    assert!(fs::exists("/etc/qrtotp/switch/su.pending").unwrap(), "bob's code is not alice's login");
    su(2001, "root", &root.phone.code());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn what_was_noted_and_not_done_is_dropped_by_disable() {
    let (sandbox, _alice) = machine();
    let child = qrtotp(&sandbox, &["enable", "sudo", "--yes"]).spawn().unwrap();
    until("the change", || fs::exists(PENDING).unwrap());
    let noted = fs::read(PENDING).unwrap();
    until("the change", || fs::read_to_string("/etc/pam.d/sudo").unwrap().contains("pam_qrtotp"));
    let_time_pass();
    child.wait_with_output().unwrap();
    fs::write(PENDING, noted).unwrap();
    assert_eq!(ran(&sandbox, &["enable", "sudo", "--yes", "--unconfirmed"]).code, 6);
    assert_eq!(ran(&sandbox, &["disable", "sudo"]).code, 0);
    assert!(!fs::exists(PENDING).unwrap());
}

#[test]
fn a_file_that_is_no_text_is_not_touched() {
    let (sandbox, _alice) = machine();
    let latin = [SUDO.as_bytes(), b"# gr\xfc\xdfe\n"].concat();
    fs::write("/etc/pam.d/sudo", &latin).unwrap();
    let refused = ran(&sandbox, &["enable", "sudo", "--yes"]);
    assert!(
        refused.code == 4 && refused.stderr.contains("/etc/pam.d/sudo:9: has bytes that are not UTF-8"),
        "{refused:?}"
    );
    assert_eq!(fs::read("/etc/pam.d/sudo").unwrap(), latin);
}

#[test]
fn what_asks_already_is_switched_on_only_if_it_asks_in_truth() {
    let (sandbox, _alice) = machine();
    let refused = |stack: &str, arguments: &[&str], what: &str| {
        sandbox.service("sudo", stack);
        let ran = ran(&sandbox, arguments);
        assert!(ran.code != 0 && (ran.stdout.contains(what) || ran.stderr.contains(what)), "{what}: {ran:?}");
        assert_eq!(fs::read_to_string("/etc/pam.d/sudo").unwrap(), stack);
    };
    let jumped = "auth [success=2 default=ignore] pam_unix.so\nauth requisite pam_deny.so\nauth required pam_qrtotp.so\nauth required pam_permit.so\n";
    refused(jumped, &["enable", "sudo", "--yes"], "pam-bypass");
    sandbox.policy("[[rule]]\nusers = [\"alice\"]\nservices = [\"sudo\"]\naction = \"allow\"\nuntil = 2999-01-01\n");
    refused(SUDO, &["enable", "sudo", "--yes"], "your login cannot confirm it");
    sandbox.policy("");
    fs::write("/var/lib/qrtotp/2001/journal", "damaged").unwrap();
    refused(SUDO, &["enable", "sudo", "--yes"], "qrtotp doctor says how to mend it");
    let shown = ran(&sandbox, &["enable", "sudo", "--dry-run"]);
    assert!(shown.stdout.contains("+auth       required   pam_qrtotp.so"), "{shown:?}");
}

#[test]
fn doctor_tells_of_a_change_that_waits() {
    let (sandbox, _alice) = machine();
    let child = qrtotp(&sandbox, &["enable", "sudo", "--yes"]).spawn().unwrap();
    until("the change", || fs::read_to_string("/etc/pam.d/sudo").unwrap().contains("pam_qrtotp"));
    let told = ran(&sandbox, &["doctor"]).stdout;
    assert!(told.contains("seconds more for a login of alice"), "{told}");
    let again = ran(&sandbox, &["enable", "sudo", "--yes"]);
    assert!(again.code == 6 && again.stderr.contains("seconds more"), "{again:?}");
    let_time_pass();
    child.wait_with_output().unwrap();
}

#[test]
fn login_and_sudo_i_are_switched_on_by_their_own_logins() {
    let (sandbox, alice) = machine();
    // Debian's own files, as far as the sandbox has their modules.
    let without = |example_of: &str| {
        let lines = example(example_of).lines().filter(|line| !line.contains("pam_qrtotp.so"));
        lines.fold(String::new(), |text, line| text + line + "\n")
    };
    sandbox.service("login", &without("login"));
    sandbox.service("sudo-i", SUDO);
    let code = alice.phone.code();
    let child = qrtotp(&sandbox, &["enable", "login", "--yes"]).spawn().unwrap();
    until("the change", || fs::read_to_string("/etc/pam.d/login").unwrap().contains("# qrtotp begin"));
    let mut console = Terminal::start(&mut sandbox.command("/usr/bin/login"));
    for (question, typed) in
        [("login: ", "alice"), ("Password: ", PASSWORD), ("One-time code: ", code.as_str()), ("$ ", "exit")]
    {
        console.wait_for(question);
        console.type_line(typed);
    }
    console.end();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));

    let child = qrtotp(&sandbox, &["enable", "sudo-i", "--yes"]).spawn().unwrap();
    until("the change", || fs::read_to_string("/etc/pam.d/sudo-i").unwrap().contains("# qrtotp begin"));
    let mut command = sandbox.command_as(2001, "/usr/bin/sudo");
    command.args(["-k", "-i", "id"]);
    let mut terminal = Terminal::start(&mut command);
    for (question, typed) in [("password for alice: ", PASSWORD), ("One-time code: ", alice.recovery_codes[0].as_str())]
    {
        terminal.wait_for(question);
        terminal.type_line(typed);
    }
    terminal.wait_for("uid=0");
    terminal.end();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
    assert_eq!(ran(&sandbox, &["disable", "login", "--yes"]).code, 0);
    assert_eq!(fs::read_to_string("/etc/pam.d/login").unwrap(), without("login"));
}
