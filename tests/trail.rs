//! The trail answers questions: what happened, why, and whether the files are what was written.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use qrtotp_tests::mmdb::countries;
use qrtotp_tests::product::EVENTS;
use qrtotp_tests::sandbox::{SCRATCH, Sandbox};
use qrtotp_tests::script::{Script, code};
use qrtotp_tests::terminal::Terminal;
use serde_json::Value;

/// Rotates with the shipped configuration, whether it is time or not.
fn rotate(sandbox: &Sandbox) {
    let config = format!("{SCRATCH}/logrotate.conf");
    fs::write(&config, include_str!("../packaging/logrotate.d/qrtotp")).unwrap();
    let state = format!("{SCRATCH}/logrotate.state");
    let done = sandbox.command("/usr/sbin/logrotate").args(["--force", "--state", &state, &config]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

fn verified(sandbox: &Sandbox, more: &[&str]) -> (i32, Value) {
    let ran = sandbox.qrtotp(&[&["log", "--verify", "--json"], more].concat());
    (ran.code, ran.json())
}

fn whats(report: &Value) -> Vec<&str> {
    report["findings"].as_array().unwrap().iter().map(|finding| finding["what"].as_str().unwrap()).collect()
}

#[test]
fn the_log_shows_every_attempt_in_a_line_and_filters_it() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let bob = sandbox.enroll("bob");
    sandbox.run(Script::login("alice").from("192.0.2.7").answering([alice.phone.wrong_code()]));
    sandbox.run(Script::login("bob").answering([bob.phone.code()]));
    let all = sandbox.qrtotp(&["log"]);
    let rows: Vec<Vec<&str>> = all.stdout.lines().map(|line| line.split('\t').collect()).collect();
    assert!(all.code == 0 && rows.len() == 4 && rows.iter().all(|row| row.len() == 6), "{all:?}");
    assert_eq!(rows[2][1..5], ["failure", "code", "alice", "192.0.2.7"]);
    assert!(rows[2][5].starts_with("wrong") && rows[2][5].contains("4 tries left"), "{}", rows[2][5]);
    assert!(rows[0][5].starts_with("enroll (enrolled_unverified)"), "{}", rows[0][5]);
    let counts: [(&[&str], usize); 9] = [
        (&["--user", "alice"], 2),
        (&["--user", "alice,bob", "--event", "login"], 2),
        (&["--from", "192.0.2.0/24"], 1),
        (&["--from", "local", "--event", "login"], 1),
        (&["--result", "success", "--service", "code"], 1),
        (&["--result", "wrong"], 1),
        (&["--since", "1h"], 4),
        (&["--until", "1h"], 0),
        (&["--since", "2026-01-01", "--until", "2026-01-02T00:00:00Z"], 0),
    ];
    for (filter, count) in counts {
        let ran = sandbox.qrtotp(&[&["log"], filter].concat());
        assert_eq!((ran.code, ran.stdout.lines().count()), (0, count), "{filter:?} {ran:?}");
    }
    let json = sandbox.qrtotp(&["log", "--json", "--user", "bob", "--event", "login"]);
    let event: Value = serde_json::from_str(json.stdout.trim()).unwrap();
    assert_eq!(event, sandbox_event(&sandbox, "bob"));
}

/// The event of a user's login as it stands in the file, without what holds the lines together.
fn sandbox_event(sandbox: &Sandbox, user: &str) -> Value {
    let mut event = sandbox.logins().into_iter().find(|event| event["user"] == user).unwrap();
    let fields = event.as_object_mut().unwrap();
    fields.remove("chain").unwrap();
    fields.remove("after");
    event
}

#[test]
fn what_is_wrong_with_a_filter_is_said() {
    let sandbox = Sandbox::new();
    let cases = [
        ("--event=logn", "did you mean \"login\"?"),
        ("--result=replaid", "did you mean \"replayed\"?"),
        ("--from=example.org", "must be an address"),
        ("--since=yesterday", "must be a date like"),
        ("--head=x", "--verify"),
    ];
    for (option, what) in cases {
        let ran = sandbox.qrtotp(&["log", option]);
        assert!(ran.code == 2 && ran.stderr.contains(what), "{option} {ran:?}");
    }
    assert_eq!(sandbox.qrtotp(&["log", "--verify", "--head", "12:34"]).code, 2);
}

#[test]
fn what_others_wrote_cannot_steer_the_terminal() {
    let sandbox = Sandbox::new();
    let line = r#"{"time":"2026-11-24T09:30:00.000Z","event":"login","result":"failure","service":"s\u001b[31m","user":"a\u202eb","source":"x","reason":"\u0007"}"#;
    fs::create_dir_all(Path::new(EVENTS).parent().unwrap()).unwrap();
    fs::write(EVENTS, format!("{line}\nno event\n")).unwrap();
    let ran = sandbox.qrtotp(&["log"]);
    assert!(!ran.stdout.chars().any(|c| c.is_control() && c != '\n' && c != '\t' || c == '\u{202e}'), "{ran:?}");
    assert!(ran.stdout.contains("\\u{1b}[31m") && ran.stderr.contains("line 2: is no event"), "{ran:?}");
}

#[test]
fn rotation_by_the_shipped_file_loses_no_event_and_breaks_no_chain() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    for round in 0..3 {
        for _ in 0..3 {
            sandbox.run(Script::login("alice").answering([alice.phone.wrong_code()]));
        }
        let (code, report) = verified(&sandbox, &[]);
        assert_eq!((code, whats(&report)), (0, Vec::new()), "{round} {report}");
        rotate(&sandbox);
    }
    assert!(Path::new(&format!("{EVENTS}.2.gz")).exists() && Path::new(&format!("{EVENTS}.3.gz")).exists());
    sandbox.run(Script::login("alice").answering([alice.phone.wrong_code()]));
    assert_eq!(sandbox.qrtotp(&["log", "--event", "login"]).stdout.lines().count(), 10);
    let (code, report) = verified(&sandbox, &[]);
    assert_eq!((code, report["files"].as_u64(), report["continues"].as_bool()), (0, Some(4), Some(false)), "{report}");
    fs::remove_file(format!("{EVENTS}.3.gz")).unwrap();
    let (code, report) = verified(&sandbox, &[]);
    assert_eq!((code, report["continues"].as_bool()), (0, Some(true)), "the oldest may go: {report}");
    fs::remove_file(format!("{EVENTS}.2.gz")).unwrap();
    fs::rename(format!("{EVENTS}.1"), format!("{EVENTS}.2")).unwrap();
    fs::copy(EVENTS, format!("{EVENTS}.1")).unwrap();
    assert_eq!(verified(&sandbox, &[]).0, 4, "a file between two others was exchanged");
}

#[test]
fn an_altered_a_missing_and_a_moved_line_are_named_and_a_cut_is_seen_by_the_head() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    for _ in 0..6 {
        sandbox.run(Script::login("alice").answering([alice.phone.wrong_code()]));
    }
    let (code, report) = verified(&sandbox, &[]);
    assert_eq!((code, report["lines"].as_u64()), (0, Some(7)), "{report}");
    let head = report["head"].as_str().unwrap().to_owned();
    let text = fs::read_to_string(EVENTS).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let altered = text.replacen("\"reason\":\"wrong\"", "\"reason\":\"right\"", 1);
    let missing = [&lines[..3], &lines[4..]].concat().concat();
    let moved = [&lines[..2], &[lines[3], lines[2]], &lines[4..]].concat().concat();
    for (text, what, line) in [(altered, "altered", 2), (missing, "missing", 3), (moved, "reordered", 2)] {
        fs::write(EVENTS, text).unwrap();
        let (code, report) = verified(&sandbox, &[]);
        assert_eq!(
            (code, whats(&report), report["findings"][0]["first"].as_u64()),
            (4, vec![what], Some(line)),
            "{report}"
        );
        assert!(sandbox.qrtotp(&["log", "--verify"]).stdout.contains(what));
    }
    fs::write(EVENTS, &text).unwrap();
    sandbox.run(Script::login("alice").answering([alice.phone.wrong_code()]));
    assert_eq!(verified(&sandbox, &["--head", &head]).0, 0, "what comes after a head does not matter");
    fs::write(EVENTS, lines[..6].concat()).unwrap();
    assert_eq!(verified(&sandbox, &[]).0, 0, "the premise: the chain alone does not show a cut at the end");
    let (code, report) = verified(&sandbox, &["--head", &head]);
    assert!(code == 4 && report["held"].is_null(), "{report}");
}

#[test]
fn forty_logins_at_once_are_one_chain() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let wrong = alice.phone.wrong_code();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..5).for_each(|_| drop(sandbox.run(Script::login("alice").answering([wrong.clone()])))));
        }
    });
    let (code, report) = verified(&sandbox, &[]);
    assert_eq!((code, whats(&report), sandbox.logins().len()), (0, Vec::new(), 40), "{report}");
}

#[test]
fn why_names_the_reason_and_what_to_do() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let none = sandbox.qrtotp(&["why", "alice"]);
    assert!(none.code == 0 && none.stdout.contains("no login of alice was refused"), "{none:?}");
    alice.phone.settle(3);
    let right = alice.phone.code();
    assert_eq!(
        sandbox.run(Script::login("alice").from("203.0.113.9").answering([right.clone()])).code(),
        code::SUCCESS
    );
    // Another factor from where the replay comes: it is not what was used before.
    sandbox.run(Script::login("alice").from("192.0.2.7").answering([alice.recovery_codes[0].clone()]));
    sandbox.run(Script::login("alice").from("192.0.2.7").answering([right]));
    sandbox.run(Script::login("alice").answering([alice.phone.code_in(1)]));
    let why = sandbox.qrtotp(&["why", "alice"]);
    assert!(why.stdout.contains("from 203.0.113.9") && why.stdout.contains("qrtotp revoke alice"), "{why:?}");
    assert!(why.stdout.contains("of the next step") && why.stdout.contains("clock is behind by "), "{why:?}");
    let one = sandbox.qrtotp(&["why", "alice", "--last", "1", "--json"]).json();
    assert_eq!((one["failures"].as_array().unwrap().len(), one["failures"][0]["reason"].as_str()), (1, Some("early")));
    assert_eq!(sandbox.qrtotp(&["why", "nobody-of-that-name"]).code, 5);
}

#[test]
fn follow_shows_what_comes_also_after_a_rotation() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let wrong = || drop(sandbox.run(Script::login("alice").from("192.0.2.7").answering([alice.phone.wrong_code()])));
    let mut command = sandbox.command("/usr/local/sbin/qrtotp");
    let mut terminal = Terminal::sized(command.args(["log", "--follow", "--event", "login,enroll"]), 24, 80);
    terminal.wait_for("enroll (enrolled_unverified)");
    wrong();
    terminal.wait_for("4 tries left");
    wrong();
    rotate(&sandbox);
    terminal.wait_for("3 tries left");
    wrong();
    terminal.wait_for("2 tries left");
    terminal.type_keys("\u{3}");
}

#[test]
fn stats_count_logins_by_every_side_and_draw_bars_on_a_terminal() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let bob = sandbox.enroll("bob");
    sandbox.run(Script::login("alice").from("192.0.2.7").answering([alice.phone.wrong_code()]));
    sandbox.run(Script::login("alice").from("198.51.100.1").answering([alice.phone.code()]));
    sandbox.run(Script::login("bob").from("192.0.2.7").answering([bob.phone.code()]));
    let rows = |by: &str| {
        let json = sandbox.qrtotp(&["stats", "--by", by, "--json"]).json();
        let row = |row: &Value| format!("{} {}/{}", row["value"], row["logins"]["success"], row["logins"]["failure"]);
        json["rows"].as_array().unwrap().iter().map(row).collect::<Vec<_>>()
    };
    assert_eq!(rows("user"), ["\"alice\" 1/1", "\"bob\" 1/0"]);
    assert_eq!(rows("source"), ["\"192.0.2.7\" 1/1", "\"198.51.100.1\" 1/0"]);
    assert_eq!(rows("service"), ["\"code\" 2/1"]);
    assert_eq!((rows("hour").len(), rows("reason").len(), rows("device").len(), rows("day").len()), (24, 2, 2, 1));
    assert_eq!(sandbox.qrtotp(&["stats", "--by", "country"]).code, 4, "without a database");
    let text = sandbox.qrtotp(&["stats"]).stdout;
    assert!(text.contains("alice\t2\t1\t1\t50 %") && text.contains("all\t3\t2\t1"), "{text}");
    let mut command = sandbox.command("/usr/local/sbin/qrtotp");
    let mut terminal = Terminal::sized(command.args(["stats", "--by", "user"]).env("LC_ALL", "C.UTF-8"), 24, 80);
    terminal.wait_for("all");
    assert!(terminal.text().contains(&"\u{2588}".repeat(24)), "{}", terminal.text());
}

#[test]
fn countries_come_from_the_database_that_the_policy_names_and_from_nowhere_else() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let file = "/etc/qrtotp/countries.mmdb";
    fs::write(file, countries(&[("192.0.2.0", 24, "DE"), ("2001:db8::", 32, "AT")])).unwrap();
    sandbox.policy(&format!("[geo]\ndatabase = \"{file}\"\n"));
    for source in ["192.0.2.7", "2001:db8::1", "198.51.100.1"] {
        sandbox.run(Script::login("alice").from(source).answering([alice.phone.wrong_code()]));
    }
    let json = sandbox.qrtotp(&["stats", "--by", "country", "--json"]).json();
    let rows: Vec<_> = json["rows"].as_array().unwrap().iter().map(|row| row["value"].as_str().unwrap()).collect();
    assert_eq!((rows, json["without"]["failure"].as_u64()), (vec!["AT", "DE"], Some(1)), "{json}");
    fs::write(file, b"no database").unwrap();
    let ran = sandbox.qrtotp(&["stats", "--by", "country"]);
    assert!(ran.code == 4 && ran.stderr.contains("countries.mmdb"), "{ran:?}");
    assert_eq!(sandbox.answer("alice", &alice.phone.code()), code::SUCCESS, "a login does not read it");
}

#[test]
fn the_funnel_tells_who_was_invited_and_where_each_one_stands() {
    let sandbox = Sandbox::new();
    sandbox.ticket("alice", &["--ttl", "1h"]);
    sandbox.ticket("bob", &["--ttl", "1h"]);
    sandbox.qrtotp(&["ticket", "revoke", "bob"]);
    let json = sandbox.qrtotp(&["stats", "--by", "ticket", "--json"]).json();
    let stands = |user: &str| {
        let ticket = json["tickets"].as_array().unwrap().iter().find(|ticket| ticket["user"] == user).unwrap().clone();
        assert!(ticket["expires"].is_string() && ticket["made"].is_string(), "{ticket}");
        ticket["stands"].as_str().unwrap().to_owned()
    };
    assert_eq!((stands("alice").as_str(), stands("bob").as_str()), ("waiting: not opened yet", "revoked"));
    assert_eq!((json["reached"]["invited"].as_u64(), json["reached"]["opened"].as_u64()), (Some(2), Some(0)));
    assert!(sandbox.qrtotp(&["stats", "--by", "ticket"]).stdout.contains("invited"));
}

#[test]
fn a_ticket_that_is_over_leaves_an_event_when_it_is_found() {
    let sandbox = Sandbox::new();
    let made = sandbox.qrtotp(&["ticket", "new", "alice", "--ttl", "1m", "--json"]).json();
    let file = format!("/var/lib/qrtotp/.tickets/2001/{}.toml", made["id"].as_str().unwrap());
    let text = fs::read_to_string(&file).unwrap();
    let past: String = text
        .lines()
        .map(|line| if line.starts_with("expires") { "expires = 1\n".to_owned() } else { format!("{line}\n") })
        .collect();
    fs::write(&file, past).unwrap();
    assert_eq!(sandbox.qrtotp(&["gc"]).code, 0);
    let event = sandbox.events().pop().unwrap();
    assert_eq!(
        (event["event"].as_str(), event["reason"].as_str()),
        (Some("ticket_expire"), Some("expired")),
        "{event}"
    );
    assert_eq!((event["ticket"].clone(), event["user"].as_str()), (made["id"].clone(), Some("alice")));
}

#[test]
fn an_export_has_the_fields_that_auditors_name_and_every_authenticator_there_was() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    sandbox.run(Script::login("alice").from("192.0.2.7").answering([alice.phone.wrong_code()]));
    sandbox.qrtotp(&["device", "rename", "alice", "phone", "red, phone"]);
    let csv = sandbox.qrtotp(&["export", "--from", "1h"]).stdout;
    let lines: Vec<&str> = csv.lines().collect();
    let head = "user_identification,type_of_event,date_and_time,success_or_failure_indication,origination_of_event,affected_resource,reason,performed_by,event_id";
    assert_eq!((lines[0], lines.len()), (head, 4), "{csv}");
    assert!(lines[2].starts_with("alice,login,2") && lines[2].contains(",failure,192.0.2.7,"), "{}", lines[2]);
    let json = sandbox.qrtotp(&["export", "--format", "json"]).json();
    assert_eq!(json.as_array().unwrap().len(), 3);
    assert_eq!(sandbox.qrtotp(&["export", "--to", "1h"]).stdout.lines().count(), 1);
    sandbox.qrtotp(&["revoke", "alice", "--reason", "left"]);
    // Whatever rotation threw away, what is bound and what was is still told.
    fs::remove_file(EVENTS).unwrap();
    let kept = sandbox.qrtotp(&["export", "--authenticators", "--json"]).json();
    let phone = &kept[0];
    assert_eq!(
        (phone["authenticator_type"].as_str(), phone["status"].as_str()),
        (Some("otp_device"), Some("revoked")),
        "{kept}"
    );
    assert_eq!(
        (phone["authenticator_label"].as_str(), phone["history"].as_array().unwrap().len()),
        (Some("red, phone"), 3)
    );
    let csv = sandbox.qrtotp(&["export", "--authenticators"]).stdout;
    assert!(csv.lines().nth(1).unwrap().contains("\"red, phone\""), "{csv}");
}

#[test]
fn a_caller_of_su_whose_limits_leave_no_room_for_a_line_is_not_judged() {
    let sandbox = Sandbox::new();
    sandbox
        .service("su", "auth required pam_qrtotp.so\naccount required pam_permit.so\nsession required pam_permit.so\n");
    let bob = sandbox.enroll("bob");
    // Larger than the limit, which the journal keeps within.
    let others = sandbox.events()[0].to_string().replace("enroll", "other");
    let mut file = fs::OpenOptions::new().append(true).open(EVENTS).unwrap();
    file.write_all(format!("{others}\n").repeat(1500).as_bytes()).unwrap();
    assert!(file.metadata().unwrap().len() > 400_000);
    let su = |limit: &str, answer: &str| {
        let mut su = sandbox.command_as(2005, "/bin/bash");
        su.args(["-c", &format!("{limit} exec su bob -c true")]);
        let mut child = su.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        writeln!(child.stdin.take().unwrap(), "{answer}").unwrap();
        child.wait().unwrap().code()
    };
    let right = bob.phone.code();
    assert_ne!(su("ulimit -f 300;", &bob.phone.wrong_code()), Some(0));
    assert_ne!(su("ulimit -f 300;", &right), Some(0));
    assert_eq!(sandbox.last_reason_in_syslog(), "state");
    assert_eq!(sandbox.status("bob")["budget"]["unknown_left"], 5, "nothing was judged");
    assert_eq!(su("ulimit -f 3000;", &right), Some(0), "and nothing was spent");
    assert_eq!(sandbox.reasons(), ["code"]);
}

#[test]
fn on_a_terminal_the_log_is_its_lines_and_no_bar() {
    let sandbox = Sandbox::new();
    sandbox.enroll("alice");
    sandbox.enroll("bob");
    let mut command = sandbox.command("/usr/local/sbin/qrtotp");
    let terminal = Terminal::sized(command.args(["log", "--event", "enroll"]), 24, 80);
    let (status, text) = terminal.end();
    assert!(status.success() && text.lines().count() == 2 && !text.contains("reading events"), "{text:?}");
}

/// Writes many events, packed; gives how many bytes they are.
fn fill(path: &str, count: usize) {
    let file = fs::File::create(path).unwrap();
    let mut packer = Command::new("gzip").arg("-1").stdin(Stdio::piped()).stdout(file).spawn().unwrap();
    let mut input = std::io::BufWriter::new(packer.stdin.take().unwrap());
    for number in 0..count {
        let (minute, second, user) = (number / 60 % 60, number % 60, number % 500);
        writeln!(
            input,
            r#"{{"time":"2026-11-24T09:{minute:02}:{second:02}.000Z","id":"{number:016x}","host":"h1","event":"login","service":"sshd","user":"user{user}","uid":{user},"source":"192.0.2.{}","rhost":"192.0.2.1","tty":"ssh","result":"failure","reason":"wrong","factor":"totp","enrollment":"0123456789abcdef","budget_left":3,"duration_us":900}}"#,
            number % 250
        )
        .unwrap();
    }
    drop(input);
    assert!(packer.wait().unwrap().success());
}

/// A million by hand: `QRTOTP_EVENTS=1000000`.
#[test]
fn however_many_events_there_are_they_fit_into_little_memory() {
    let count = std::env::var("QRTOTP_EVENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(60_000);
    let sandbox = Sandbox::new();
    sandbox.enroll("alice");
    fill(&format!("{EVENTS}.2.gz"), count);
    let start = std::time::Instant::now();
    let script = "ulimit -v 65536; qrtotp log --event login | wc -l; qrtotp log --event login --user user7 | wc -l";
    let counts = sandbox.output_of("/bin/bash", &["-c", script]);
    println!("{count} events, read twice in {:?}", start.elapsed());
    assert_eq!(counts.split_whitespace().collect::<Vec<_>>(), [count.to_string(), (count / 500).to_string()]);
}
