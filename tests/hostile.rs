//! Callers who own the process they were let into: su killed and frozen at any instant, descriptors closed, no /proc.

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use qrtotp_tests::product::random;
use qrtotp_tests::sandbox::{SCRATCH, Sandbox};
use qrtotp_tests::script::{Descriptor, Script, code};
use qrtotp_tests::ssh::{Client, Sshd};
use qrtotp_tests::terminal::Terminal;
use qrtotp_tests::users::PASSWORD;
use qrtotp_tests::{count, users};
use rustix::process::{Pid, Signal, kill_process};

/// su with the code alone, which mallory calls.
fn su_by_code(sandbox: &Sandbox) {
    sandbox
        .service("su", "auth required pam_qrtotp.so\naccount required pam_permit.so\nsession required pam_permit.so\n");
}

/// Starts su as mallory; the answer waits at its standard input.
fn su(sandbox: &Sandbox, user: &str, answer: &str) -> Child {
    let mut command = sandbox.command_as(2005, "/usr/bin/su");
    command.args([user, "-c", "echo inside"]).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{answer}\n").as_bytes()).unwrap();
    child
}

/// A pause of 0 to 12 milliseconds.
fn a_moment() -> Duration {
    Duration::from_micros(u64::from(u16::from_ne_bytes(random())) * 12_000 / 65_536)
}

/// Kills su after a moment; says whether it had let mallory in, and whether it had said no.
fn killed(sandbox: &Sandbox, user: &str, answer: &str) -> (bool, bool) {
    let mut child = su(sandbox, user, answer);
    thread::sleep(a_moment());
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    let said_no = output.status.signal().is_none() && !output.status.success();
    (output.stdout.starts_with(b"inside"), said_no)
}

#[test]
fn a_code_whose_login_is_killed_midway_is_unused_or_spent_and_never_usable_twice() {
    let sandbox = Sandbox::new();
    su_by_code(&sandbox);
    sandbox.policy("[flood]\nper_minute = 0\n");
    let people = count("QRTOTP_KILLS", 200).div_ceil(10);
    let (mut let_in, mut cut_off) = (0, 0);
    for number in 0..people {
        let name = format!("user{number}");
        users::add(&name, 3000 + u32::try_from(number).unwrap());
        let user = sandbox.enroll(&name);
        let answer = user.phone.code();
        let mut inside = 0;
        for _ in 0..10 {
            let (was_in, said_no) = killed(&sandbox, &name, &answer);
            inside += usize::from(was_in);
            cut_off += usize::from(!was_in && !said_no);
        }
        let output = su(&sandbox, &name, &answer).wait_with_output().unwrap();
        inside += usize::from(output.stdout.starts_with(b"inside"));
        assert!(inside <= 1, "{name} came in {inside} times with one code");
        let_in += inside;
        assert_eq!(sandbox.answer(&name, &user.recovery_codes[0]), code::SUCCESS, "the journal of {name} is read");
        assert_eq!(sandbox.qrtotp(&["status", &name]).code, 0);
    }
    assert!(cut_off > 0, "no kill came in time: {let_in} of {people} were let in");
}

#[test]
fn an_attempt_whose_login_is_killed_midway_stays_counted() {
    let sandbox = Sandbox::new();
    su_by_code(&sandbox);
    sandbox.policy("[flood]\nper_minute = 0\n[limits]\nmode = \"lock\"\nattempts = 100\nseconds = 60\n");
    let user = sandbox.enroll("bob");
    let mut refused = 0;
    for _ in 0..count("QRTOTP_KILLS", 200).min(95) {
        let (was_in, said_no) = killed(&sandbox, "bob", &user.phone.wrong_code());
        assert!(!was_in);
        refused += usize::from(said_no);
    }
    let report = sandbox.run(Script::login("bob").answering([user.recovery_codes[0].as_str()]));
    assert_eq!(report.code(), code::SUCCESS);
    let told = report.last().told().join(" ");
    let counted = told.split(' ').next().and_then(|word| word.parse::<usize>().ok()).unwrap_or(0);
    assert!(counted >= refused, "{refused} answers were given, {counted} attempts counted: {told}");
}

/// Logins by su, each stopped at some moment of its own.
struct Frozen(Vec<Child>);

impl Frozen {
    fn logins(sandbox: &Sandbox, user: &str, code: &str) -> Self {
        let freeze = |_| {
            let child = su(sandbox, user, code);
            thread::sleep(a_moment());
            let _ = kill_process(Pid::from_child(&child), Signal::STOP);
            child
        };
        Self((0..20).map(freeze).collect())
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = kill_process(Pid::from_child(child), Signal::CONT);
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn frozen_logins_of_a_user_hold_up_nobody_else() {
    let sandbox = Sandbox::new();
    su_by_code(&sandbox);
    sandbox.policy("[flood]\nper_minute = 0\n");
    let bob = sandbox.enroll("bob");
    sandbox.service("sshd", &fs::read_to_string("/etc/pam.d/code").unwrap());
    let _sshd = Sshd::start(&sandbox, "KbdInteractiveAuthentication yes\nAuthenticationMethods keyboard-interactive\n");
    let _frozen = Frozen::logins(&sandbox, "bob", &bob.phone.wrong_code());
    let begun = Instant::now();
    assert_eq!(sandbox.answer("bob", &bob.recovery_codes[0]), code::SUCCESS);
    let session = Client::new(&sandbox, "bob").run(&[&bob.recovery_codes[1]], "id -un");
    assert!(session.success, "{session:?}");
    assert_eq!(sandbox.qrtotp(&["unlock", "bob"]).code, 0);
    assert_eq!(sandbox.answer("bob", &bob.phone.code()), code::SUCCESS);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn the_command_waits_for_no_frozen_login_either() {
    let sandbox = Sandbox::new();
    su_by_code(&sandbox);
    let bob = sandbox.enroll("bob");
    let _frozen = Frozen::logins(&sandbox, "bob", &bob.phone.wrong_code());
    let begun = Instant::now();
    for arguments in
        [&["status", "bob"] as &[&str], &["list"], &["recovery", "bob"], &["revoke", "bob", "--reason", "x"]]
    {
        let ran = sandbox.qrtotp(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.stderr);
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
}

/// A prompt that stands in no other file.
const PROMPT: &str = "Zauberwort: ";

/// Whether the prompt got into a file, other than the policy.
fn prompt_in_files() -> Vec<String> {
    fn below(folder: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path().to_string_lossy().into_owned();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                below(&path, found);
            } else if kind.is_file() && String::from_utf8_lossy(&fs::read(&path).unwrap()).contains(PROMPT.trim_end()) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    for folder in ["/var", "/run", "/home", "/tmp"] {
        below(folder, &mut found);
    }
    found
}

#[test]
fn with_any_standard_descriptor_closed_a_login_works_and_nothing_is_written_where_it_should_not() {
    let sandbox = Sandbox::new();
    sandbox.policy(&format!("[prompt]\ntext = \"{PROMPT}\"\n[flood]\nper_minute = 0\n"));
    let fifo = format!("{SCRATCH}/fifo");
    sandbox.output_of("mkfifo", &[&fifo]);
    let mut codes = Vec::new();
    let kinds = [Descriptor::Closed, Descriptor::File(fifo.clone()), Descriptor::Socket];
    for kind in kinds {
        for set in 1..8_u32 {
            if codes.is_empty() {
                codes = enroll_again(&sandbox);
            }
            let mut script = Script::login("alice").answering([codes.pop().unwrap()]);
            script.descriptors = (0..3).filter(|fd| set & (1 << fd) != 0).map(|fd| (fd, kind.clone())).collect();
            let report = sandbox.run(script.clone());
            assert_eq!(report.code(), code::SUCCESS, "{:?}", script.descriptors);
            assert_eq!(report.descriptors_before, report.descriptors_after, "{:?}", script.descriptors);
            assert_eq!(prompt_in_files(), Vec::<String>::new(), "{:?}", script.descriptors);
        }
    }
}

/// Ten fresh recovery codes for alice.
fn enroll_again(sandbox: &Sandbox) -> Vec<String> {
    let key = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    let ran = sandbox.qrtotp_told(key, &["enroll", "alice", "--stdin", "--unverified", "--replace", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let codes = ran.json()["recovery_codes"].as_array().unwrap().clone();
    codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect()
}

#[test]
fn in_a_chroot_without_proc_a_code_works_once() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let root = format!("{SCRATCH}/root");
    for folder in ["usr", "etc", "var", "dev", "run", "proc"] {
        fs::create_dir_all(format!("{root}/{folder}")).unwrap();
    }
    for folder in ["usr", "etc", "var", "dev", "run"] {
        sandbox.output_of("mount", &["--rbind", &format!("/{folder}"), &format!("{root}/{folder}")]);
    }
    for link in ["lib", "lib64", "bin", "sbin"] {
        if fs::symlink_metadata(format!("/{link}")).is_ok_and(|data| data.is_symlink()) {
            std::os::unix::fs::symlink(format!("usr/{link}"), format!("{root}/{link}")).unwrap();
        }
    }
    let login = |answer: &str| {
        let mut script = Script::login("alice").answering([answer]);
        script.chroot = Some(root.clone());
        sandbox.run(script).code()
    };
    let right = alice.phone.code();
    assert_eq!(login(&alice.phone.wrong_code()), code::AUTH_ERR);
    assert_eq!(login(&right), code::SUCCESS);
    assert_eq!(login(&right), code::AUTH_ERR);
    assert_eq!(sandbox.answer("alice", &right), code::AUTH_ERR);
}

#[test]
fn an_accepted_login_leaves_descriptors_umask_and_memory_as_they_were() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let script =
        alice.recovery_codes.iter().fold(Script::login("alice"), |script, code| script.answering([code.as_str()]));
    let report = sandbox.run(script);
    assert!(report.codes().iter().all(|code| *code == code::SUCCESS), "{report:?}");
    assert_eq!(report.descriptors_before, report.descriptors_after);
    assert_eq!(report.umask.0, report.umask.1);
}

#[test]
fn a_user_who_calls_is_the_source_of_his_attempts() {
    let sandbox = Sandbox::new();
    let bob = sandbox.enroll("bob");
    sandbox.run(Script::login("bob").called_by(2005).answering([bob.phone.wrong_code()]));
    assert_eq!(sandbox.logins()[0]["source"], "local:2005");
}

#[test]
fn a_revoked_user_stays_out_of_an_open_rule_though_his_process_may_open_few_files() {
    for action in ["allow", "skip"] {
        let sandbox = Sandbox::new();
        sandbox.enroll("bob");
        assert_eq!(sandbox.qrtotp(&["revoke", "bob", "--reason", "left"]).code, 0);
        sandbox.policy(&format!("[[rule]]\naction = \"{action}\"\nuntil = 2099-12-31\n"));
        let stack = "auth required pam_unix.so\nauth required pam_qrtotp.so\n";
        let rest = "account required pam_permit.so\nsession required pam_permit.so\n";
        sandbox.service("su", &format!("{stack}{rest}"));
        for limit in [5, 6] {
            let mut command = sandbox.command_as(2001, "/bin/sh");
            command.args(["-c", &format!("ulimit -n {limit}; exec su bob -c id")]);
            let mut terminal = Terminal::start(&mut command);
            let (asked, _) = terminal.wait_for_any(&["Password: ", "\n"]);
            if asked == 0 {
                terminal.type_line(PASSWORD);
                if terminal.wait_for_any(&["One-time code: ", "su: "]).0 == 0 {
                    terminal.type_line("000000");
                }
            }
            let (status, shown) = terminal.end();
            assert!(!status.success() && !shown.contains("uid=2002"), "{action}, {limit}: {shown}");
        }
    }
}
