//! Tickets, as the command makes, lists and ends them; rotation; and what else changes for those who enroll by themselves.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use qrtotp_tests::phone::Phone;
use qrtotp_tests::product::{EVENTS, Parameters, Ran, STATE};
use qrtotp_tests::sandbox::Sandbox;
use qrtotp_tests::script::code;
use qrtotp_tests::users;
use serde_json::Value;

/// A policy by which everybody may enroll, and has the time for it.
const ENROLL: &str = "[enroll]\nlogin_grace_time = 600\n[[rule]]\naction = \"enroll\"\n";
const KEY: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

/// Runs the command, which must succeed.
fn done(sandbox: &Sandbox, arguments: &[&str]) -> Ran {
    let ran = sandbox.qrtotp(arguments);
    assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
    ran
}

/// Runs the command, which must fail so.
fn fails(sandbox: &Sandbox, arguments: &[&str], code: i32, says: &[&str]) {
    let ran = sandbox.qrtotp(arguments);
    assert_eq!(ran.code, code, "{arguments:?}: {ran:?}");
    says.iter().for_each(|part| assert!(ran.stderr.contains(part), "{part:?}: {ran:?}"));
}

/// A ticket for a user, as JSON tells of it.
fn ticket(sandbox: &Sandbox, user: &str) -> Value {
    done(sandbox, &["ticket", "new", user, "--json"]).json()
}

fn id_of(ticket: &Value) -> &str {
    ticket["id"].as_str().unwrap()
}

/// The states of all tickets, by user.
fn states(sandbox: &Sandbox) -> Vec<(String, String)> {
    let listed = done(sandbox, &["ticket", "list", "--json"]).json();
    let text = |ticket: &Value, field: &str| ticket[field].as_str().unwrap().to_owned();
    let tickets = listed["tickets"].as_array().unwrap().iter();
    tickets.map(|ticket| (text(ticket, "user"), text(ticket, "state"))).collect()
}

fn ticket_file(uid: u32, id: &str) -> String {
    format!("{STATE}/.tickets/{uid}/{id}.toml")
}

/// Changes a file of the state folder.
fn edit(path: &str, change: impl FnOnce(String) -> String) {
    let text = fs::read_to_string(path).unwrap();
    fs::write(path, change(text)).unwrap();
}

/// Lets a ticket's time be over.
fn expire(uid: u32, id: &str) {
    edit(&ticket_file(uid, id), |text| {
        let line = text.lines().find(|line| line.starts_with("expires")).unwrap().to_owned();
        let made = text.lines().find(|line| line.starts_with("made")).unwrap().replace("made", "expires");
        text.replace(&line, &made)
    });
}

/// Lets a device of alice's be one that was enrolled with a ticket.
fn redeem(id: &str) {
    edit(&format!("{STATE}/2001/credentials.toml"), |text| {
        text.replacen("enabled = true\n", &format!("enabled = true\nticket = \"{id}\"\n"), 1)
    });
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![fs::read(path).unwrap()] }).collect()
}

/// A process that holds the lock of a user's folder.
fn hold(sandbox: &Sandbox, uid: u32) -> Child {
    let folder = format!("{STATE}/{uid}");
    let holder = sandbox.command("/usr/bin/flock").args(["-x", &folder, "sleep", "600"]).spawn().unwrap();
    let is_free = || {
        let tried = Command::new("/usr/bin/flock").args(["-n", "-x", &folder, "true"]).status().unwrap();
        tried.success()
    };
    let end = Instant::now() + Duration::from_secs(10);
    while is_free() {
        assert!(Instant::now() < end, "the lock is not taken");
    }
    holder
}

fn release(mut holder: Child) {
    holder.kill().unwrap();
    holder.wait().unwrap();
}

#[test]
fn a_ticket_is_shown_once_listed_and_ended() {
    let sandbox = Sandbox::new();
    sandbox.policy(ENROLL);
    let made = done(&sandbox, &["ticket", "new", "alice", "--ttl", "2h", "--label", "red one", "--service", "login"]);
    let typed = made.stdout.split_whitespace().find(|word| word.len() == 14 && word.split('-').count() == 3);
    assert!(typed.is_some() && made.stderr.is_empty(), "{made:?}");
    for part in ["first enrollment", "\"red one\"", "2 hours", "next login through login", "qrtotp ticket revoke"] {
        assert!(made.stdout.contains(part), "{part}: {made:?}");
    }
    let listed = done(&sandbox, &["ticket", "list", "--json"]).json()["tickets"][0].clone();
    let seen = ["user", "label", "service", "state"].map(|field| listed[field].as_str().unwrap().to_owned());
    assert_eq!(seen, ["alice", "red one", "login", "open"]);
    assert_eq!((&listed["tries_left"], &listed["replaces"]), (&5.into(), &Value::Null));
    let row = done(&sandbox, &["ticket", "list"]).stdout;
    assert!(row.contains("\tred one\tnew device\tlogin\t") && row.trim_end().ends_with("\t5\topen"), "{row}");
    done(&sandbox, &["ticket", "revoke", id_of(&listed)]);
    assert!(states(&sandbox).is_empty());
    fails(&sandbox, &["ticket", "revoke", id_of(&listed)], 1, &["there is no ticket"]);
    fails(&sandbox, &["ticket", "revoke", "alice"], 1, &["has no tickets"]);
    let events: Vec<_> =
        sandbox.events().iter().map(|event| (event["event"].clone(), event["ticket"].clone())).collect();
    assert_eq!(events, [("ticket_new".into(), listed["id"].clone()), ("ticket_revoke".into(), listed["id"].clone())]);
}

#[test]
fn what_is_typed_stands_in_no_file_and_in_no_log() {
    let sandbox = Sandbox::new();
    let text = ticket(&sandbox, "alice")["ticket"].as_str().unwrap().to_owned();
    done(&sandbox, &["ticket", "list"]);
    done(&sandbox, &["ticket", "revoke", "alice"]);
    ticket(&sandbox, "alice");
    let mut places = files(Path::new(STATE));
    places.push(fs::read(EVENTS).unwrap());
    places.extend(sandbox.syslog().lines().all().into_iter().map(String::into_bytes));
    assert!(places.len() > 3);
    for form in [text.clone(), text.replace('-', ""), text.to_lowercase(), text.replace('-', "").to_lowercase()] {
        let is_in = |place: &Vec<u8>| place.windows(form.len()).any(|part| part == form.as_bytes());
        assert!(!places.iter().any(is_in), "{form}");
    }
}

#[test]
fn a_ticket_says_what_it_is_for() {
    let sandbox = Sandbox::new();
    sandbox.policy(ENROLL);
    assert_eq!(ticket(&sandbox, "alice")["for"], "first_enrollment");
    sandbox.enroll("alice");
    assert_eq!(ticket(&sandbox, "alice")["for"], "another_device");
    done(&sandbox, &["revoke", "alice", "--reason", "left"]);
    assert!(states(&sandbox).is_empty(), "a revocation ends tickets");
    assert_eq!(ticket(&sandbox, "alice")["for"], "start_afresh");
    assert!(done(&sandbox, &["ticket", "new", "alice"]).stdout.contains("afresh after the revocation"));
    sandbox.enroll("bob");
    users::remove("bob");
    users::add("robert", 2002);
    fails(&sandbox, &["ticket", "new", "robert"], 6, &["another account", "qrtotp gc"]);
    fails(&sandbox, &["ticket", "new", "nosuchuser"], 5, &["no user"]);
    sandbox.enroll("carol");
    sandbox.policy("[enroll]\nmax_devices = 1\n");
    fails(&sandbox, &["ticket", "new", "carol"], 6, &["1 devices", "qrtotp rotate carol"]);
}

#[test]
fn times_services_and_a_policy_without_enrolling_are_refused_by_name() {
    let sandbox = Sandbox::new();
    for ttl in ["30s", "0m", "91d", "soon", "10"] {
        fails(&sandbox, &["ticket", "new", "alice", "--ttl", ttl], 2, &["--ttl", "1m to 90d"]);
    }
    for ttl in ["1m", "90d"] {
        done(&sandbox, &["ticket", "new", "alice", "--ttl", ttl]);
    }
    fails(&sandbox, &["ticket", "new", "alice", "--service", "sudo"], 2, &["\"sudo\"", "sshd, login, su or su-l"]);
    fails(&sandbox, &["ticket", "new"], 2, &[]);
    fails(&sandbox, &["ticket", "new", "alice", "--bulk", "-"], 2, &["cannot be used with"]);
    sandbox.policy("[enroll]\nfirst_login = \"off\"\n");
    fails(&sandbox, &["ticket", "new", "bob"], 6, &["first_login", "\"off\"", "config.toml"]);
    fails(&sandbox, &["rotate", "bob"], 6, &["first_login"]);
}

#[test]
fn where_no_rule_lets_somebody_enroll_that_is_said_with_the_rule_to_add() {
    let sandbox = Sandbox::new();
    let made = done(&sandbox, &["ticket", "new", "alice", "--json"]);
    assert_eq!(made.json()["usable_in"], Value::Array(Vec::new()));
    for part in ["no rule lets these enroll", "[[rule]]", "users = [\"alice\"]", "action = \"enroll\""] {
        assert!(made.stderr.contains(part), "{part}: {made:?}");
    }
    let services = |user: &str| ticket(&sandbox, user)["usable_in"].to_string();
    sandbox
        .policy("[[rule]]\nservices = [\"sshd\"]\nfrom = [\"10.0.0.0/8\"]\nusers = [\"alice\"]\naction = \"enroll\"\n");
    assert_eq!((services("alice").as_str(), services("bob").as_str()), ("[\"sshd\"]", "[]"));
    sandbox.policy("[[rule]]\nfrom = [\"local\"]\naction = \"enroll\"\n");
    assert_eq!(services("alice"), "[\"login\",\"su\",\"su-l\"]");
    sandbox.enroll("carol");
    sandbox.policy("[[rule]]\nservices = [\"sshd\"]\naction = \"require\"\ninput = \"password+code\"\n[[rule]]\nservices = [\"su\"]\naction = \"skip\"\n");
    assert_eq!(services("carol"), "[\"login\",\"su-l\"]", "who is enrolled types it where a code is asked");
}

#[test]
fn four_tickets_are_open_at_most_and_those_that_are_over_make_room() {
    let sandbox = Sandbox::new();
    sandbox.enroll("alice");
    let made: Vec<_> = (0..4).map(|_| ticket(&sandbox, "alice")).collect();
    fails(&sandbox, &["ticket", "new", "alice"], 6, &["4 open tickets", "qrtotp ticket revoke ID"]);
    let listed = done(&sandbox, &["ticket", "list", "--json"]).json()["tickets"].clone();
    let ids = |tickets: &[Value]| tickets.iter().map(|ticket| id_of(ticket).to_owned()).collect::<Vec<_>>();
    assert_eq!(ids(listed.as_array().unwrap()), ids(&made), "the oldest first");
    expire(2001, id_of(&made[0]));
    fs::write(format!("{STATE}/.tickets/2001/{}.tries", id_of(&made[1])), ".....").unwrap();
    redeem(id_of(&made[2]));
    let mut seen: Vec<_> = states(&sandbox).into_iter().map(|(_, state)| state).collect();
    seen.sort();
    assert_eq!(seen, ["dead", "expired", "open", "spent"]);
    for _ in 0..3 {
        ticket(&sandbox, "alice");
    }
    assert!(states(&sandbox).iter().all(|(_, state)| state == "open") && states(&sandbox).len() == 4);
    fails(&sandbox, &["ticket", "new", "alice"], 6, &["4 open tickets"]);
}

#[test]
fn a_ticket_that_was_redeemed_before_it_was_ended_is_told_of() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let spent = ticket(&sandbox, "alice");
    redeem(id_of(&spent));
    let undo = format!("qrtotp device remove alice {}", alice.device.id);
    fails(&sandbox, &["ticket", "revoke", id_of(&spent)], 6, &["redeemed before", &undo, "qrtotp revoke alice"]);
    assert!(states(&sandbox).is_empty());
}

#[test]
fn a_damaged_ticket_is_named_and_can_be_ended() {
    let sandbox = Sandbox::new();
    let made = ticket(&sandbox, "alice");
    edit(&ticket_file(2001, id_of(&made)), |text| text.replace("made", "maed"));
    let listed = done(&sandbox, &["ticket", "list"]).stdout;
    assert!(listed.contains("damaged: ") && listed.contains("maed") && listed.contains(id_of(&made)), "{listed}");
    fails(&sandbox, &["ticket", "new", "alice"], 4, &["maed", "qrtotp ticket revoke"]);
    assert_eq!(sandbox.qrtotp(&["status", "alice"]).code, 3);
    done(&sandbox, &["ticket", "revoke", "alice"]);
    ticket(&sandbox, "alice");
}

#[test]
fn a_list_of_users_becomes_a_table_of_tickets() {
    let sandbox = Sandbox::new();
    sandbox.policy(ENROLL);
    fs::write("/tmp/users", "# the new ones\nalice\n\n bob , Bob's \"red\", big one\ncarol,\"a,b\"\n").unwrap();
    let made = done(&sandbox, &["ticket", "new", "--bulk", "/tmp/users", "--label", "token"]);
    let lines: Vec<_> = made.stdout.lines().collect();
    assert_eq!((lines.len(), lines[0]), (4, "user,ticket,expires,label"), "{made:?}");
    assert!(lines[1].starts_with("alice,") && lines[1].ends_with("Z,token"), "{made:?}");
    assert!(lines[2].starts_with("bob,") && lines[2].ends_with("Z,\"Bob's \"\"red\"\", big one\""), "{made:?}");
    assert!(lines[3].ends_with(",\"a,b\""), "{made:?}");
    assert!(lines[1..].iter().all(|line| line.split(',').nth(1).unwrap().len() == 14), "{made:?}");
    assert_eq!(states(&sandbox).len(), 3);
    let told = sandbox.qrtotp_told("dave\n", &["ticket", "new", "--bulk", "-", "--json"]);
    let array = told.json();
    assert_eq!((array.as_array().unwrap().len(), &array[0]["user"]), (1, &"dave".into()), "{told:?}");
}

#[test]
fn a_list_with_mistakes_makes_no_ticket_and_names_each() {
    let sandbox = Sandbox::new();
    for _ in 0..4 {
        ticket(&sandbox, "dave");
    }
    let list = "alice\nnosuchuser\nbob,phone\n# x\nalice,other\ncarol,\u{7}\ndave\n";
    let ran = sandbox.qrtotp_told(list, &["ticket", "new", "--bulk", "-"]);
    assert!(ran.code == 5 && ran.stdout.is_empty(), "{ran:?}");
    let wrong = [
        "no ticket was made",
        "line 2: there is no user \"nosuchuser\"",
        "line 5: \"alice\" stands in line 1 already",
        "line 6: a label must",
        "line 7: dave has 4 open tickets",
    ];
    wrong.iter().for_each(|part| assert!(ran.stderr.contains(part), "{part}: {ran:?}"));
    assert_eq!(states(&sandbox).len(), 4);
    fails(&sandbox, &["ticket", "new", "--bulk", "/tmp/nothing"], 2, &["/tmp/nothing"]);
}

#[test]
fn a_rotation_is_a_ticket_for_a_device_in_place_of_another() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let first = done(&sandbox, &["rotate", "alice", "--json"]).json();
    let replaces = &first["replaces"];
    assert_eq!((&replaces["device"], &replaces["overlap_seconds"]), (&alice.device.id.clone().into(), &604_800.into()));
    assert_eq!((&first["for"], &first["label"]), (&"replacement".into(), &"phone".into()));
    let again = done(&sandbox, &["rotate", "alice", "phone", "--overlap", "0", "--ttl", "1h"]);
    assert!(again.stdout.contains("ends at once") && again.stdout.contains("open before is ended"), "{again:?}");
    let listed = done(&sandbox, &["ticket", "list"]).stdout;
    assert!(listed.lines().count() == 1 && listed.contains("\treplaces phone\t"), "{listed}");
    sandbox.enroll_device("alice", "tablet", Parameters::default());
    fails(&sandbox, &["rotate", "alice"], 2, &["\"phone\", \"tablet\""]);
    done(&sandbox, &["rotate", "alice", &alice.device.id]);
    fails(&sandbox, &["rotate", "alice", "laptop"], 1, &["no device \"laptop\"", "\"tablet\""]);
    fails(&sandbox, &["rotate", "alice", "phone", "--overlap", "91d"], 2, &["--overlap"]);
    fails(&sandbox, &["rotate", "bob"], 3, &["not enrolled"]);
    done(&sandbox, &["device", "disable", "alice", "tablet"]);
    done(&sandbox, &["rotate", "alice"]);
}

#[test]
fn a_replaced_device_is_shown_as_such_and_not_rotated_again() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let new = sandbox.enroll_device("alice", "phone 2", Parameters::default());
    let replaced = |until: u64| {
        edit(&format!("{STATE}/2001/credentials.toml"), |text| {
            let start = text
                .lines()
                .filter(|line| !line.starts_with("replaced_"))
                .fold(String::new(), |all, line| all + line + "\n");
            let lines = format!(
                "enabled = true\nreplaced_by = \"{}\"\nreplaced_until = {until}\nreplaced_step = 99999999999\n",
                new.device.id
            );
            start.replacen("enabled = true\n", &lines, 1)
        });
    };
    replaced(4_000_000_000_000);
    let listed = done(&sandbox, &["device", "list", "alice"]).stdout;
    assert!(listed.contains("\treplaced until 2096-10-02T07:06:40.000Z, by phone 2"), "{listed}");
    let status = done(&sandbox, &["status", "alice"]).stdout;
    assert!(status.contains("replaced until 2096-10-02T07:06:40.000Z, by phone 2"), "{status}");
    fails(&sandbox, &["rotate", "alice", "phone"], 6, &["replaced before"]);
    assert_eq!(done(&sandbox, &["rotate", "alice", "--json"]).json()["replaces"]["device"], new.device.id.as_str());
    fails(&sandbox, &["device", "remove", "alice", "phone 2"], 6, &["last enabled device", "device enable"]);
    replaced(1);
    assert!(done(&sandbox, &["device", "list", "alice"]).stdout.contains("\treplaced by phone 2"));
    fails(&sandbox, &["device", "remove", "alice", "phone 2"], 6, &["last enabled device", "device enable"]);
    done(&sandbox, &["device", "enable", "alice", "phone"]);
    assert_eq!(sandbox.answer("alice", &alice.phone.code()), code::SUCCESS);
    done(&sandbox, &["device", "remove", "alice", "phone 2"]);
}

#[test]
fn every_device_of_before_a_day_is_rotated_at_once() {
    let sandbox = Sandbox::new();
    for name in ["alice", "bob", "carol", "dave"] {
        sandbox.enroll(name);
    }
    sandbox.enroll_device("alice", "tab,let", Parameters::default());
    done(&sandbox, &["revoke", "carol", "--reason", "left"]);
    users::remove("dave");
    let none = done(&sandbox, &["rotate", "--enrolled-before", "2026-01-31"]);
    assert_eq!(none.stdout, "user,ticket,expires,label,device\n\n".replace("\n\n", "\n"), "{none:?}");
    done(&sandbox, &["rotate", "bob"]);
    let all = done(&sandbox, &["rotate", "--enrolled-before", "2096-01-31T12:00:00Z", "--overlap", "1d"]);
    let lines: Vec<_> = all.stdout.lines().collect();
    assert_eq!(lines.len(), 4, "{all:?}");
    assert!(lines[1].starts_with("alice,") && lines[1].ends_with(",phone,phone"), "{all:?}");
    assert!(lines[2].starts_with("alice,") && lines[2].ends_with(",\"tab,let\",\"tab,let\""), "{all:?}");
    assert!(lines[3].starts_with("bob,"), "{all:?}");
    assert!(all.stderr.contains("left out: dave") && all.stderr.contains("of bob for \"phone\""), "{all:?}");
    assert_eq!(states(&sandbox).len(), 3);
    fails(&sandbox, &["rotate", "--enrolled-before", "tomorrow"], 2, &["--enrolled-before"]);
    fails(&sandbox, &["rotate", "alice", "--enrolled-before", "2026-01-31"], 2, &["cannot be used with"]);
    done(&sandbox, &["ticket", "revoke", "alice"]);
    for _ in 0..3 {
        ticket(&sandbox, "alice");
    }
    fails(
        &sandbox,
        &["rotate", "--enrolled-before", "2096-01-31"],
        6,
        &["alice, \"tab,let\": alice has 4 open tickets"],
    );
    assert_eq!(states(&sandbox).len(), 4, "nothing was made, for nobody");
}

/// A memory of alice's, as a login leaves it.
fn remember_alice() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().replace('-', "");
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    let since = (seconds * 1000.0) as u64 - 60_000;
    let path = format!("/run/qrtotp/remember-2001-{}", "0".repeat(64));
    fs::write(&path, format!("1 {} {since} 7260000 1 1,2,3 local:2001 sudo\n", &boot[..16])).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

#[test]
fn places_are_listed_and_forgotten() {
    let sandbox = Sandbox::new();
    assert_eq!(done(&sandbox, &["remember", "list", "--json"]).json()["remembered"], Value::Array(Vec::new()));
    assert!(done(&sandbox, &["remember", "list"]).stdout.trim().is_empty());
    assert_eq!(done(&sandbox, &["remember", "forget", "--all", "--json"]).json()["forgotten"], 0);
    fails(&sandbox, &["remember", "forget"], 2, &[]);
    remember_alice();
    let listed = done(&sandbox, &["remember", "list"]).stdout;
    assert!(
        listed.starts_with("alice\tsudo\tlocal:2001\t") && listed.trim_end().ends_with("\t119 minutes"),
        "{listed}"
    );
    assert_eq!(sandbox.status("alice")["remembered"], 1);
    assert_eq!(done(&sandbox, &["remember", "forget", "bob", "--json"]).json()["forgotten"], 0);
    assert!(done(&sandbox, &["remember", "forget", "alice"]).stdout.contains("1 place of alice"));
    assert!(done(&sandbox, &["remember", "list"]).stdout.trim().is_empty());
    let event = sandbox.events().pop().unwrap();
    assert_eq!(
        (&event["event"], &event["reason"], &event["user"]),
        (&"forget".into(), &"forgot_1".into(), &"alice".into())
    );
}

#[test]
fn whatever_changes_an_enrollment_forgets_the_places_of_its_user() {
    let sandbox = Sandbox::new();
    sandbox.enroll("alice");
    sandbox.enroll_device("alice", "tablet", Parameters::default());
    let acts: [&[&str]; 8] = [
        &["unlock", "alice"],
        &["recovery", "alice"],
        &["device", "rename", "alice", "tablet", "slate"],
        &["device", "disable", "alice", "slate"],
        &["device", "enable", "alice", "slate"],
        &["device", "remove", "alice", "slate"],
        &["revoke", "alice", "--reason", "left"],
        &["enroll", "alice", "--replace", "--unverified"],
    ];
    for act in acts {
        let path = remember_alice();
        done(&sandbox, act);
        assert!(!fs::exists(path).unwrap(), "{act:?}");
    }
}

#[test]
fn an_enrollment_that_ends_takes_its_tickets_along() {
    let sandbox = Sandbox::new();
    sandbox.enroll("alice");
    ticket(&sandbox, "alice");
    done(&sandbox, &["enroll", "alice", "--replace", "--unverified"]);
    assert!(states(&sandbox).is_empty());
    let spent = ticket(&sandbox, "alice");
    redeem(id_of(&spent));
    sandbox.enroll_device("alice", "tablet", Parameters::default());
    done(&sandbox, &["device", "remove", "alice", "phone"]);
    assert!(states(&sandbox).is_empty(), "a spent ticket must not become good when its device goes");
    ticket(&sandbox, "alice");
    let revoked = done(&sandbox, &["revoke", "alice", "--reason", "left", "--json"]).json();
    assert_eq!((&revoked["tickets_ended"], states(&sandbox).len()), (&1.into(), 0));
    let ended = sandbox.events().into_iter().filter(|event| event["event"] == "ticket_revoke");
    assert_eq!(ended.map(|event| event["reason"].clone()).collect::<Vec<_>>(), ["replaced", "left"]);
    ticket(&sandbox, "bob");
    let revoked = done(&sandbox, &["revoke", "bob", "--reason", "left", "--json"]).json();
    assert_eq!((&revoked["tickets_ended"], states(&sandbox).len()), (&1.into(), 0));
}

#[test]
fn who_has_no_enrollment_can_be_revoked_too_and_loses_his_grace() {
    let sandbox = Sandbox::new();
    sandbox.policy("[[rule]]\naction = \"require\"\ngrace_logins = 9\n");
    assert_eq!(sandbox.answer("bob", ""), code::SUCCESS);
    done(&sandbox, &["revoke", "bob", "--reason", "left"]);
    assert_eq!(sandbox.answer("bob", "000000"), code::AUTH_ERR);
    assert_eq!((sandbox.last_reason().as_str(), &sandbox.status("bob")["state"]), ("revoked", &"revoked".into()));
    done(&sandbox, &["enroll", "bob", "--replace", "--unverified"]);
    assert_eq!(sandbox.status("bob")["state"], "enrolled");
}

#[test]
fn a_login_that_holds_the_lock_keeps_out_changes_of_its_own_user_and_no_revocation() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let bob = sandbox.enroll("bob");
    sandbox.enroll_device("alice", "tablet", Parameters::default());
    let holder = hold(&sandbox, 2001);
    let acts: [&[&str]; 4] = [
        &["device", "disable", "alice", "tablet"],
        &["device", "rename", "alice", "phone", "x"],
        &["recovery", "alice"],
        &["enroll", "alice", "--label", "x", "--unverified"],
    ];
    for act in acts {
        let began = Instant::now();
        fails(&sandbox, act, 6, &["a login of alice is changing", "qrtotp revoke alice"]);
        assert!(began.elapsed() > Duration::from_secs(2), "{act:?}");
    }
    assert_eq!(sandbox.status("alice")["devices"].as_array().unwrap().len(), 2);
    assert_eq!(sandbox.answer("alice", &alice.recovery_codes[0]), code::SUCCESS);
    done(&sandbox, &["device", "rename", "bob", "phone", "x"]);
    assert_eq!(sandbox.answer("bob", &bob.phone.code()), code::SUCCESS);
    done(&sandbox, &["revoke", "alice", "--reason", "stolen"]);
    assert_ne!(sandbox.answer("alice", &alice.phone.code()), code::SUCCESS);
    assert_eq!(sandbox.status("alice")["state"], "revoked");
    assert_eq!(sandbox.status("alice")["enrollment"], alice.enrollment.as_str());
    done(&sandbox, &["enroll", "alice", "--replace", "--unverified"]);
    release(holder);
}

#[test]
fn a_lock_that_is_let_go_of_in_time_is_waited_for() {
    let sandbox = Sandbox::new();
    sandbox.enroll("alice");
    let mut holder =
        sandbox.command("/usr/bin/flock").args(["-x", &format!("{STATE}/2001"), "sleep", "1"]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    done(&sandbox, &["device", "rename", "alice", "phone", "x"]);
    holder.wait().unwrap();
    done(&sandbox, &["revoke", "alice", "--reason", "left"]);
}

#[test]
fn explain_and_simulate_tell_of_enrolling_grace_and_remembering() {
    let sandbox = Sandbox::new();
    sandbox.enroll("alice");
    sandbox.policy("[[rule]]\naction = \"require\"\ngrace_logins = 3\n");
    for name in ["carol", "carol", "dave", "dave", "dave"] {
        assert_eq!(sandbox.answer(name, ""), code::SUCCESS);
    }
    sandbox.enroll("mallory");
    done(&sandbox, &["revoke", "mallory", "--reason", "left"]);
    let grace = "grace_logins = 3\nenroll_by = 2096-01-31T00:00:00Z\nremember = \"8h\"\n";
    // The machine's own accounts, some of which have a shell, come to the end of the rules.
    let people = "\"alice\", \"carol\", \"dave\", \"mallory\", \"nobody-enrolled\"";
    sandbox.policy(&format!(
        "[[rule]]\nusers = [\"bob\", \"root\"]\naction = \"enroll\"\n[[rule]]\nusers = [{people}]\naction = \"enroll\"\n{grace}"
    ));
    let explain = |user: &str, service: &str| {
        let asked = ["policy", "explain", user, "--service", service, "--from", "192.0.2.7"];
        let text = done(&sandbox, &asked).stdout.lines().last().unwrap().to_owned();
        (text, done(&sandbox, &[&asked[..], &["--json"]].concat()).json())
    };
    let (text, value) = explain("alice", "sshd");
    assert_eq!(
        (text.as_str(), &value["login"], &value["remember"]),
        ("-> code, or remembered for 8h", &"code".into(), &"8h".into())
    );
    assert_eq!(explain("bob", "sshd").0, "-> locked out (not enrolled, and no ticket is open)");
    ticket(&sandbox, "bob");
    let (text, value) = explain("bob", "sshd");
    assert_eq!((text.as_str(), &value["enrolls_by"]), ("-> enroll (by ticket)", &"ticket".into()));
    let (text, value) = explain("bob", "sudo");
    assert_eq!(text, "-> locked out (not enrolled, and this service shows no picture)");
    assert_eq!(value["login"], "locked out");
    let (text, value) = explain("carol", "sudo");
    assert_eq!(text, "-> grace (1 login left, until 2096-01-31T00:00:00.000Z)");
    assert_eq!(value["grace"]["logins_left"], 1);
    assert_eq!(explain("dave", "sshd").0, "-> locked out (not enrolled, and no ticket is open)", "grace is used up");
    assert_eq!(explain("mallory", "sshd").0, "-> locked out (revoked)");
    ticket(&sandbox, "mallory");
    assert_eq!(explain("mallory", "sshd").0, "-> enroll (by ticket)", "a ticket starts afresh");
    let asked = ["policy", "simulate", "--service", "sshd"];
    let shown = done(&sandbox, &asked).stdout;
    assert!(shown.contains("\n1 code, 2 enroll, 2 grace, "), "{shown}");
    let counts = done(&sandbox, &[&asked[..], &["--json"]].concat()).json()["counts"].clone();
    assert_eq!((&counts["code"], &counts["enroll"], &counts["grace"]), (&1.into(), &2.into(), &2.into()), "{counts}");
    assert_eq!(sandbox.status("carol")["grace_logins_used"], 2);
    assert!(sandbox.qrtotp(&["status", "carol"]).stdout.contains("2 logins without enrollment"));
    sandbox.policy("[enroll]\nfirst_login = \"off\"\n[[rule]]\nusers = [\"bob\"]\naction = \"enroll\"\n[[rule]]\naction = \"require\"\ninput = \"password+code\"\n");
    assert!(explain("bob", "sshd").0.contains("first_login is off"));
    let (text, value) = explain("alice", "sshd");
    assert_eq!((text.as_str(), &value["input"]), ("-> code, in one line with the password", &"password+code".into()));
}

#[test]
fn check_warns_of_what_keeps_people_from_enrolling() {
    let sandbox = Sandbox::new();
    sandbox.policy("[[rule]]\naction = \"enroll\"\nenroll_by = 2020-01-31\n");
    let checked = done(&sandbox, &["policy", "check"]).stdout;
    assert!(checked.contains(":1:1: warning: enroll_by is over"), "{checked}");
    assert!(checked.contains("LoginGraceTime"), "{checked}");
    sandbox.policy("[enroll]\nfirst_login = \"first-factor\"\n");
    let checked = done(&sandbox, &["policy", "check"]).stdout;
    assert!(checked.contains(":1:1: warning: enroll.first_login") && checked.contains("requisite"), "{checked}");
}

#[test]
fn status_counts_the_open_tickets_and_says_when_the_first_ends() {
    let sandbox = Sandbox::new();
    let ends = done(&sandbox, &["ticket", "new", "alice", "--json"]).json()["expires"].as_str().unwrap().to_owned();
    done(&sandbox, &["ticket", "new", "alice", "--ttl", "1d"]);
    let over = ticket(&sandbox, "alice");
    expire(2001, id_of(&over));
    let shown = sandbox.qrtotp(&["status", "alice"]);
    assert!(shown.code == 3 && shown.stdout.contains(&format!("2 open, the first until {ends}")), "{shown:?}");
    assert_eq!(sandbox.status("alice")["tickets"]["open"], 2);
}

#[test]
fn what_is_left_over_is_collected() {
    let sandbox = Sandbox::new();
    ticket(&sandbox, "alice");
    let over = ticket(&sandbox, "bob");
    expire(2002, id_of(&over));
    ticket(&sandbox, "carol");
    users::remove("alice");
    let named = done(&sandbox, &["gc"]).stdout;
    assert!(named.contains("1 ticket of user id 2001 would be removed with --yes"), "{named}");
    let open = |user: &str| (user.to_owned(), "open".to_owned());
    assert_eq!(states(&sandbox), [open("alice"), open("carol")], "tickets that are over go at once");
    done(&sandbox, &["gc", "--yes"]);
    assert_eq!(states(&sandbox), [open("carol")]);
    assert!(done(&sandbox, &["gc"]).stdout.contains("existing accounts only"));
}

#[test]
fn of_one_account_nothing_else_is_collected() {
    let sandbox = Sandbox::new();
    sandbox.policy("[[rule]]\naction = \"enroll\"\ngrace_logins = 3\n");
    for user in ["alice", "bob"] {
        assert_eq!(sandbox.answer(user, ""), 0);
        ticket(&sandbox, user);
    }
    let over = ticket(&sandbox, "carol");
    expire(2003, id_of(&over));
    let kept = |uid: u32| {
        let names = fs::read_dir(format!("{STATE}/.grace")).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with(&format!("{uid}-"))).count()
    };
    let still = done(&sandbox, &["gc", "--yes", "--user", "alice"]).stdout;
    assert!(still.contains("no state of alice that belongs to no account") && kept(2001) == 1, "{still}");
    users::remove("alice");
    users::remove("bob");
    let named = done(&sandbox, &["gc", "--user", "alice"]).stdout;
    assert!(named.contains("1 ticket and the count of logins without enrollment of user id 2001 would be"), "{named}");
    assert!(!named.contains("2002") && kept(2001) == 1, "{named}");
    done(&sandbox, &["gc", "--yes", "--user", "alice"]);
    assert_eq!((kept(2001), kept(2002)), (0, 1));
    let left: Vec<_> = states(&sandbox).into_iter().map(|(user, _)| user).collect();
    assert_eq!(left, ["bob", "carol"], "what is over is left to the weekly run");
    assert_eq!(sandbox.qrtotp(&["gc", "--user", "../x"]).code, 5);
}

#[test]
fn the_policy_says_how_many_devices_there_are_and_how_many_codes_confirm_one() {
    let sandbox = Sandbox::new();
    sandbox.policy("[enroll]\nmax_devices = 1\nconfirm = 2\n");
    let phone = Phone::new(KEY, Parameters::default());
    phone.settle(4);
    let (before, now) = (phone.code_in(-1), phone.code());
    let enroll = |typed: &str| sandbox.qrtotp_told(&format!("{KEY}\n{typed}\n"), &["enroll", "alice", "--stdin"]);
    let one = enroll(&before);
    assert!(one.code == 1 && one.stdout.contains("Next code, after it has changed: "), "{one:?}");
    let same = enroll(&format!("{before}\n{before}"));
    assert!(same.code == 1 && same.stdout.contains("That is the same code."), "{same:?}");
    let backwards = enroll(&format!("{now}\n{before}"));
    assert!(backwards.code == 1 && backwards.stdout.contains("does not follow"), "{backwards:?}");
    let both = enroll(&format!("{before}\n{now}"));
    assert_eq!(both.code, 0, "{both:?}");
    assert_eq!(sandbox.answer("alice", &now), code::AUTH_ERR, "the second one is used");
    fails(&sandbox, &["enroll", "alice", "--label", "tablet", "--unverified"], 6, &["max_devices"]);
}

#[test]
fn verify_asks_for_a_code_whatever_the_rules_say() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    sandbox.policy("[[rule]]\naction = \"allow\"\n");
    assert_eq!(sandbox.qrtotp_told(&alice.phone.wrong_code(), &["verify", "alice"]).code, 1);
    assert_eq!(sandbox.qrtotp_told(&alice.phone.code(), &["verify", "alice"]).code, 0);
}
