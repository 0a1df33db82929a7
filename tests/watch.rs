//! The watcher: what is unusual, alerts, the programs they run, and what a restart does to them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};

use qrtotp_tests::mmdb::countries;
use qrtotp_tests::product::EVENTS;
use qrtotp_tests::sandbox::{SCRATCH, Sandbox};
use qrtotp_tests::script::{Script, code};
use serde_json::Value;

/// Where programs that alerts run write down that they ran.
const RUNS: &str = "/var/log/runs";

/// A program of root's, whose every folder is root's.
fn hook(sandbox: &Sandbox, name: &str, script: &str) -> String {
    let path = format!("/usr/local/sbin/{name}");
    let mut cat = sandbox
        .command("/bin/sh")
        .args(["-c", &format!("cat > {path}; chmod 755 {path}")])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    write!(cat.stdin.take().unwrap(), "#!/bin/sh\n{script}\n").unwrap();
    assert!(cat.wait().unwrap().success());
    path
}

fn runs() -> Vec<Value> {
    let text = fs::read_to_string(RUNS).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn of_kind(sandbox: &Sandbox, kind: &str) -> Vec<Value> {
    sandbox.events().into_iter().filter(|event| event["event"] == kind).collect()
}

fn once(sandbox: &Sandbox) {
    let ran = sandbox.qrtotp(&["watch", "--once"]);
    assert_eq!(ran.code, 0, "{ran:?}");
}

fn wrong(sandbox: &Sandbox, user: &str, from: &str) {
    sandbox.run(Script::login(user).from(from).answering(["000000"]));
}

/// The line of a login that was accepted, as the module writes it.
fn accepted(user: &str, time: &str, source: &str) -> String {
    format!(
        r#"{{"time":"{time}","id":"{:016x}","host":"h1","event":"login","service":"sshd","user":"{user}","uid":2001,"source":"{source}","result":"success","reason":"code","factor":"totp","duration_us":1}}{}"#,
        time.bytes().fold(source.len() as u64, |sum, byte| sum.wrapping_mul(31) + u64::from(byte)),
        "\n"
    )
}

fn append(text: &str) {
    fs::create_dir_all(Path::new(EVENTS).parent().unwrap()).unwrap();
    let mut file = fs::OpenOptions::new().append(true).create(true).open(EVENTS).unwrap();
    fs::set_permissions(EVENTS, fs::Permissions::from_mode(0o600)).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[test]
fn an_alert_is_logged_once_and_its_program_runs_once_with_the_facts() {
    let sandbox = Sandbox::new();
    sandbox.enroll("alice");
    let program =
        hook(&sandbox, "page", &format!("cat >> {RUNS}; env > {SCRATCH}/environment; pwd >> {SCRATCH}/environment"));
    sandbox.policy(&format!(
        "[[alert]]\nname = \"guessing\"\nwhen = \"failures >= 3 in 10m per source\"\ndo = [\"log\", \"exec\"]\nexec = [\"{program}\"]\n"
    ));
    once(&sandbox);
    for _ in 0..5 {
        wrong(&sandbox, "alice", "192.0.2.7");
    }
    once(&sandbox);
    once(&sandbox);
    let [alert] = of_kind(&sandbox, "alert").try_into().unwrap();
    assert_eq!((alert["reason"].as_str(), alert["source"].as_str()), (Some("guessing"), Some("192.0.2.7")), "{alert}");
    let [run] = runs().try_into().unwrap();
    assert_eq!(
        (run["count"].as_u64(), run["key"].as_str(), run["user"].as_str()),
        (Some(3), Some("192.0.2.7"), Some("alice"))
    );
    assert_eq!(run["id"], alert["id"]);
    let environment = fs::read_to_string(format!("{SCRATCH}/environment")).unwrap();
    assert!(
        environment.lines().all(|line| line.starts_with("PATH=") || line.starts_with("PWD=") || line == "/"),
        "{environment}"
    );
}

#[test]
fn step_up_asks_two_codes_and_disable_ends_devices_and_root_is_spared() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    sandbox.enroll("bob");
    sandbox.enroll("root");
    sandbox.policy(
        "[[alert]]\nname = \"up\"\nwhen = \"failures >= 2 in 10m per user\"\nusers = [\"alice\"]\ndo = [\"step-up\"]\nstep_up = \"2h\"\n\
         [[alert]]\nname = \"off\"\nwhen = \"failures >= 2 in 10m per user\"\nservices = [\"code\"]\ndo = [\"disable\"]\n",
    );
    sandbox.qrtotp(&["device", "list", "alice"]);
    once(&sandbox);
    for user in ["bob", "bob", "root", "root"] {
        wrong(&sandbox, user, "192.0.2.7");
    }
    once(&sandbox);
    assert_eq!(sandbox.status("bob")["devices"][0]["enabled"], false);
    assert_eq!(sandbox.status("root")["devices"][0]["enabled"], true);
    let told = of_kind(&sandbox, "alert").pop().unwrap();
    assert!(told["detail"].as_str().unwrap().contains("root is not disabled"), "{told}");
    let disabled = of_kind(&sandbox, "device_disable").pop().unwrap();
    assert!(disabled["reason"].as_str().unwrap().starts_with("alert off "), "{disabled}");
    assert_eq!(sandbox.status("alice")["state"], "enrolled");
    sandbox.policy(
        "[[alert]]\nname = \"up\"\nwhen = \"failures >= 2 in 10m per user\"\ndo = [\"step-up\"]\nstep_up = \"2h\"\n",
    );
    (0..2).for_each(|_| wrong(&sandbox, "alice", "192.0.2.7"));
    once(&sandbox);
    once(&sandbox);
    assert_eq!(
        (sandbox.status("alice")["state"].as_str(), of_kind(&sandbox, "step_up").len()),
        (Some("stepped_up"), 1)
    );
    alice.phone.settle(3);
    let report = sandbox.run(Script::login("alice").answering([alice.phone.code_in(-1), alice.phone.code()]));
    assert_eq!((report.code(), sandbox.last_reason().as_str()), (code::SUCCESS, "two_codes"));
}

#[test]
fn what_is_unusual_is_told_once_and_what_was_before_the_first_start_is_learned() {
    let sandbox = Sandbox::new();
    let file = "/etc/qrtotp/countries.mmdb";
    fs::write(file, countries(&[("192.0.2.0", 24, "DE"), ("198.51.100.0", 24, "FR")])).unwrap();
    sandbox.policy(&format!("[geo]\ndatabase = \"{file}\"\n"));
    for day in 1..=28 {
        append(&accepted("alice", &format!("2026-10-{day:02}T09:00:00.000Z"), "192.0.2.7"));
    }
    once(&sandbox);
    append(&accepted("alice", "2026-10-29T09:00:00.000Z", "198.51.100.1"));
    append(&accepted("alice", "2026-10-29T03:00:00.000Z", "192.0.2.7"));
    once(&sandbox);
    once(&sandbox);
    for kind in ["new_source", "new_country", "unusual_hour"] {
        let [event] = of_kind(&sandbox, kind).try_into().unwrap_or_else(|other| panic!("{kind}: {other:?}"));
        assert_eq!(event["user"], "alice", "{event}");
    }
    assert!(of_kind(&sandbox, "new_country")[0]["detail"].as_str().unwrap().contains("from FR"));
}

fn watching(sandbox: &Sandbox) -> Child {
    sandbox.command("/usr/local/sbin/qrtotp").arg("watch").stderr(Stdio::null()).spawn().unwrap()
}

/// More by hand: `QRTOTP_KILLS=200`.
#[test]
fn a_watcher_that_is_killed_at_any_moment_loses_no_alert_and_raises_none_twice() {
    let kills = std::env::var("QRTOTP_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(12);
    let sandbox = Sandbox::new();
    let program = hook(&sandbox, "page", &format!("cat >> {RUNS}"));
    sandbox.policy(&format!(
        "[[alert]]\nname = \"seen\"\nwhen = \"logins >= 1 in 1m per user\"\nquiet = \"1s\"\ndo = [\"log\", \"exec\"]\nexec = [\"{program}\"]\n"
    ));
    append("");
    once(&sandbox);
    for number in 0..kills {
        let mut watcher = watching(&sandbox);
        for more in 0..3 {
            let time =
                format!("2026-11-{:02}T{:02}:{:02}:{more}0.000Z", 1 + number / 600, number / 60 % 10, number % 60);
            append(&accepted(&format!("user{more}"), &time, "192.0.2.7"));
        }
        // Anywhere between its start and its rest.
        std::thread::sleep(std::time::Duration::from_millis(7 * (number as u64 % 23)));
        watcher.kill().unwrap();
        watcher.wait().unwrap();
    }
    once(&sandbox);
    let count = |ids: Vec<String>| {
        ids.into_iter().fold(BTreeMap::<String, usize>::new(), |mut all, id| {
            *all.entry(id).or_default() += 1;
            all
        })
    };
    // Programs of killed watchers go on by themselves.
    let wanted = 3 * kills;
    let done = (0..100).any(|_| {
        runs().len() >= wanted || {
            std::thread::sleep(std::time::Duration::from_millis(50));
            false
        }
    });
    let id = |event: &Value| event["id"].as_str().unwrap().to_owned();
    let ran = count(runs().iter().map(id).collect());
    let logged = count(of_kind(&sandbox, "alert").iter().map(id).collect());
    assert!(done && ran.len() == wanted && ran.values().all(|times| *times == 1), "{ran:?}");
    assert!(logged.len() == wanted && logged.values().all(|times| *times == 1), "{logged:?}");
}

#[test]
fn a_watcher_sees_what_comes_also_over_a_rotation_and_is_alone() {
    let sandbox = Sandbox::new();
    sandbox.enroll("alice");
    sandbox.policy("[[alert]]\nname = \"any\"\nwhen = \"failures >= 1 in 1m per source\"\ndo = [\"log\"]\n");
    once(&sandbox);
    let mut watcher = watching(&sandbox);
    wrong(&sandbox, "alice", "192.0.2.1");
    until(|| of_kind(&sandbox, "alert").len() == 1);
    let second = sandbox.qrtotp(&["watch", "--once"]);
    assert!(second.code == 6 && second.stderr.contains("another qrtotp watch"), "{second:?}");
    fs::rename(EVENTS, format!("{EVENTS}.1")).unwrap();
    wrong(&sandbox, "alice", "192.0.2.2");
    until(|| of_kind(&sandbox, "alert").len() == 1);
    watcher.kill().unwrap();
    watcher.wait().unwrap();
}

fn until(holds: impl Fn() -> bool) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !holds() {
        assert!(std::time::Instant::now() < end, "waited in vain");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_program_that_cannot_be_trusted_or_fails_is_told_and_the_watch_goes_on() {
    let sandbox = Sandbox::new();
    sandbox.enroll("alice");
    let failing = hook(&sandbox, "failing", "echo 'no pager \\033[31m' >&2; exit 3");
    let open = hook(&sandbox, "open", "exit 0");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let alert = |name: &str, program: &str| {
        format!(
            "[[alert]]\nname = \"{name}\"\nwhen = \"failures >= 1 in 1m per source\"\ndo = [\"exec\"]\nexec = [\"{program}\"]\n"
        )
    };
    let missing = "/usr/local/sbin/missing";
    sandbox.policy(&[alert("a", &failing), alert("b", &open), alert("c", missing)].concat());
    once(&sandbox);
    wrong(&sandbox, "alice", "192.0.2.1");
    once(&sandbox);
    let told: Vec<_> =
        of_kind(&sandbox, "alert").iter().map(|event| event["detail"].as_str().unwrap().to_owned()).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(
        told.iter()
            .any(|what| what.contains("no pager") && what.contains("exit status: 3") && !what.contains('\u{1b}'))
    );
    assert!(told.iter().any(|what| what.contains("others than root may write")));
    assert!(told.iter().any(|what| what.contains("missing")));
}

#[test]
fn a_wrong_alert_keeps_nobody_out_and_is_named_by_check() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    sandbox.policy("[[alert]]\nname = \"a\"\nwhen = \"failurs >= 1 in 1m per user\"\ndo = [\"log\"]\n");
    let check = sandbox.qrtotp(&["policy", "check"]);
    assert!(
        check.code == 4
            && check.stdout.contains(":3:9: when knows")
            && check.stdout.contains("did you mean \"failures\"?"),
        "{check:?}"
    );
    assert_eq!(sandbox.answer("alice", &alice.phone.code()), code::SUCCESS);
    assert_eq!(sandbox.qrtotp(&["watch", "--once"]).code, 4);
    sandbox.policy(
        "[[alert]]\nname = \"a\"\nwhen = \"failures >= 1 in 1h per user\"\ngroups = [\"nobody-knows\"]\ndo = [\"exec\"]\nexec = [\"/usr/sbin/absent\"]\n",
    );
    let check = sandbox.qrtotp(&["policy", "check"]);
    assert!(
        check.code == 0 && check.stdout.contains(":1:1: warning: alert \"a\": there is no group nobody-knows"),
        "{check:?}"
    );
    assert!(check.stdout.contains("there is no program /usr/sbin/absent here"), "{check:?}");
}
