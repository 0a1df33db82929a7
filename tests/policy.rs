//! Rules: what a login comes to by them, and that the command says the same.

use std::fs;

use qrtotp_tests::product::{POLICY, random};
use qrtotp_tests::sandbox::Sandbox;
use qrtotp_tests::script::{Report, Script, code};
use qrtotp_tests::ssh::{Client, Sshd};
use qrtotp_tests::terminal::Terminal;
use qrtotp_tests::users::PASSWORD;
use qrtotp_tests::{count, product::example};

fn at(sandbox: &Sandbox, service: &str, answers: &[&str]) -> Report {
    sandbox.run(Script::login("alice").at(service).from("192.0.2.7").answering(answers.iter().copied()))
}

#[test]
fn a_rule_that_skips_leaves_the_decision_to_the_other_modules() {
    let sandbox = Sandbox::new();
    sandbox.policy("[[rule]]\nfrom = [\"192.0.2.0/24\"]\naction = \"skip\"\n");
    let beside_another = at(&sandbox, "probe", &[]);
    assert_eq!((beside_another.code(), beside_another.last().prompts().len()), (code::SUCCESS, 0));
    let alone = at(&sandbox, "code", &[]);
    assert_ne!(alone.code(), code::SUCCESS, "where nobody else decides, nobody is let in");
    assert_eq!(sandbox.reasons(), ["skipped", "skipped"]);
}

#[test]
fn a_rule_that_allows_is_success_and_stands_in_the_log_as_an_exemption() {
    let sandbox = Sandbox::new();
    sandbox.policy("[[rule]]\nfrom = [\"192.0.2.0/24\"]\naction = \"allow\"\nuntil = 2099-12-31\n");
    let report = at(&sandbox, "code", &[]);
    assert_eq!((report.code(), report.last().prompts().len()), (code::SUCCESS, 0));
    let event = sandbox.logins().pop().unwrap();
    assert_eq!((&event["reason"], &event["rule"], &event["result"]), (&"exempt".into(), &1.into(), &"success".into()));
}

#[test]
fn networks_hold_for_both_families_and_for_mapped_addresses_and_never_for_a_name() {
    let sandbox = Sandbox::new();
    let networks = "\"2001:db8::/32\", \"::ffff:198.51.100.0/120\", \"192.0.2.0/24\"";
    sandbox.policy(&format!("[[rule]]\nfrom = [{networks}]\naction = \"allow\"\nuntil = 2099-12-31\n"));
    let cases = [
        ("2001:db8:1::7", true),
        ("2001:db9::7", false),
        ("198.51.100.9", true),
        ("::ffff:192.0.2.7", true),
        ("192.0.3.7", false),
        ("host.example", false),
    ];
    for (from, is_open) in cases {
        let report = sandbox.run(Script::login("alice").at("code").from(from).answering(["000000"]));
        assert_eq!(report.code() == code::SUCCESS, is_open, "{from}");
        let explained = sandbox.qrtotp(&["policy", "explain", "alice", "--service", "code", "--from", from, "--json"]);
        assert_eq!(explained.json()["login"] == "no code", is_open, "{from}");
    }
}

#[test]
fn sshd_asks_for_a_code_only_where_the_rules_say_so() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    sandbox
        .policy("[[rule]]\nservices = [\"sshd\"]\nfrom = [\"127.0.0.8/29\"]\naction = \"allow\"\nuntil = 2099-12-31\n");
    let _sshd = Sshd::of_example(&sandbox, "sshd-key-and-code", "");
    let client = || Client::new(&sandbox, "alice").with_key().option("NumberOfPasswordPrompts=1");
    let near = client().from("127.0.0.9").run::<&str>(&[], "id -un");
    assert!(near.success && near.prompts().is_empty(), "{near:?}");
    let far = client().run(&[&alice.phone.code()], "id -un");
    assert!(far.success && far.prompts().len() == 1, "{far:?}");
    let keyless = Client::new(&sandbox, "alice").from("127.0.0.9").run::<&str>(&[], "id -un");
    assert!(!keyless.success, "{keyless:?}");
}

#[test]
fn sudo_asks_for_the_password_alone_where_a_rule_skips() {
    let sandbox = Sandbox::new();
    sandbox.policy("[[rule]]\ngroups = [\"alice\"]\nservices = [\"sudo\"]\naction = \"skip\"\n");
    sandbox.service("sudo", example("sudo"));
    let mut terminal = Terminal::start(sandbox.command_as(2001, "/usr/bin/sudo").args(["-k", "id", "-un"]));
    terminal.wait_for("password for alice: ");
    terminal.type_line(PASSWORD);
    assert!(terminal.end().0.success());
    assert_eq!(sandbox.last_reason(), "skipped");
}

#[test]
fn a_policy_with_a_mistake_in_a_rule_denies_and_the_command_names_every_mistake() {
    let sandbox = Sandbox::new();
    sandbox.policy("[[rule]]\nuser = [\"alice\"]\naction = \"alow\"\n");
    assert_eq!(at(&sandbox, "probe", &[]).code(), code::AUTHINFO_UNAVAIL);
    let checked = sandbox.qrtotp(&["policy", "check", "--json"]);
    assert_eq!((checked.code, checked.json()["mistakes"].as_array().unwrap().len()), (4, 2));
    let text = sandbox.qrtotp(&["policy", "check"]).stdout;
    assert!(text.contains(":2:1: unknown key \"user\" in [[rule]]; did you mean \"users\"?"), "{text}");
    assert!(text.contains(":3:10: action must be one of"), "{text}");
    fs::write("/tmp/other.toml", "[[rule]]\naction = \"allow\"\n").unwrap();
    let other = sandbox.qrtotp(&["policy", "check", "/tmp/other.toml"]);
    assert!(other.code == 0 && other.stdout.contains("give it an end with until"), "{other:?}");
}

#[test]
fn simulate_shows_who_would_be_locked_out() {
    let sandbox = Sandbox::new();
    sandbox.enroll("alice");
    sandbox.policy("[[rule]]\nusers = [\"bob\"]\naction = \"skip\"\n[[rule]]\nusers = [\"dave\"]\naction = \"deny\"\n");
    let value = sandbox.qrtotp(&["policy", "simulate", "--service", "sshd", "--json"]).json();
    let login = |name: &str| {
        let users = value["users"].as_array().unwrap();
        let user = users.iter().find(|user| user["user"] == name).unwrap();
        (user["login"].as_str().unwrap().to_owned(), user["why"].as_str().unwrap_or("").to_owned())
    };
    assert_eq!(login("alice"), ("code".to_owned(), String::new()));
    assert_eq!(login("bob"), ("no code".to_owned(), String::new()));
    assert_eq!(login("carol"), ("locked out".to_owned(), "not enrolled".to_owned()));
    assert_eq!(login("dave"), ("locked out".to_owned(), "denied by the rule".to_owned()));
    assert!(sandbox.qrtotp(&["policy", "simulate", "--service", "sshd"]).stdout.contains("would be locked out"));
    sandbox.policy("[[rule]]\naction = \"skip\"\nuntil = 2097-01-01\n");
    let out_at = |time: &[&str]| {
        let asked = [&["policy", "simulate", "--service", "sshd", "--json"], time].concat();
        sandbox.qrtotp(&asked).json()["locked_out"].as_u64().unwrap()
    };
    assert_eq!(out_at(&[]), 0);
    assert!(out_at(&["--at", "2098-01-01T00:00:00Z"]) > 0, "the day has passed");
}

#[test]
fn check_names_what_is_not_on_this_machine_and_a_file_that_logins_refuse() {
    let sandbox = Sandbox::new();
    sandbox.policy(
        "[[rule]]\nusers = [\"alize\", \"alice\"]\nservices = [\"ssh\", \"code\"]\ngroups = [\"oncal\", \"alice\"]\n\
         hours = \"08:00-18:00\"\nzone = \"Europe/Berln\"\naction = \"deny\"\n",
    );
    let warned = sandbox.qrtotp(&["policy", "check"]);
    for part in ["no group oncal", "no user alize", "no service ssh in", "zone of this rule is not known"] {
        assert!(warned.code == 0 && warned.stdout.contains(part), "{part}: {warned:?}");
    }
    assert_eq!(warned.stdout.matches("warning: ").count(), 4, "{warned:?}");
    fs::set_permissions(POLICY, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let refused = sandbox.qrtotp(&["policy", "check"]);
    assert!(refused.code == 4 && refused.stderr.contains("chmod go-w"), "{refused:?}");
}

fn pick<'a>(list: &[&'a str]) -> &'a str {
    list[usize::from(random::<1>()[0]) % list.len()]
}

/// A rule of conditions and an action drawn by lot.
fn any_rule() -> String {
    let user =
        pick(&["", "users = [\"alice\"]\n", "users = [\"bob\"]\n", "groups = [\"alice\"]\n", "groups = [\"bob\"]\n"]);
    let service = pick(&["", "services = [\"probe\"]\n", "services = [\"sshd\"]\n"]);
    let from = pick(&["", "from = [\"192.0.2.0/24\"]\n", "from = [\"local\"]\n"]);
    let time = pick(&[
        "",
        "days = [\"mon-thu\"]\n",
        "hours = \"06:00-18:00\"\n",
        "until = 2020-01-01\n",
        "until = 2099-01-01\n",
    ]);
    let action = pick(&[
        "skip\"",
        "allow\"",
        "require\"",
        "require\"\ncodes = 2",
        "recovery-only\"",
        "deny\"",
        "enroll\"",
        "enroll\"\ngrace_logins = 1000",
        "require\"\nenroll_by = 2099-01-01\nremember = \"8h\"",
        "enroll\"\nenroll_by = 2020-01-01",
    ]);
    format!("[[rule]]\n{user}{service}{from}{time}action = \"{action}\n")
}

#[test]
fn explain_and_a_real_login_agree() {
    let sandbox = Sandbox::new();
    sandbox.enroll("alice");
    for round in 0..count("QRTOTP_POLICIES", 40) {
        if round % 40 == 39 {
            assert_eq!(sandbox.qrtotp(&["unlock", "alice"]).code, 0);
        }
        let rules: String = (0..1 + random::<1>()[0] % 5).map(|_| any_rule()).collect();
        let services = pick(&["[\"sshd\"]", "[\"probe\"]"]);
        // In lock mode the number of questions does not depend on what was wrong before.
        sandbox.policy(&format!(
            "[limits]\nmode = \"lock\"\nattempts = 100\n[flood]\nper_minute = 0\n[enroll]\nservices = {services}\n{rules}"
        ));
        // Who is enrolled, and who is not.
        let user = pick(&["alice", "bob"]);
        let asked = ["policy", "explain", user, "--service", "probe", "--from", "192.0.2.7", "--json"];
        let explained = sandbox.qrtotp(&asked).json();
        let (prompts, success) = match explained["login"].as_str().unwrap() {
            "no code" => (0, true),
            // A ticket is asked for where one is taken, and Enter goes on without.
            "grace" if explained["action"] == "enroll" && services.contains("probe") => (1, true),
            "grace" => (0, true),
            "two codes" => (2, false),
            "code" | "recovery code" | "enroll" => (1, false),
            // Whoever has no device is asked a second time too, by a rule that wants two codes.
            "locked out" if explained["two_codes"] == true && explained["action"] != "deny" => (2, false),
            "locked out" => (1, false),
            other => panic!("{other}"),
        };
        let answers = if success { ["", ""] } else { ["000000", "000000"] };
        let script = Script::login(user).at("probe").from("192.0.2.7").answering(answers[..prompts].iter().copied());
        let report = sandbox.run(script);
        let seen = (report.last().prompts().len(), report.code() == code::SUCCESS);
        assert_eq!(seen, (prompts, success), "round {round}: {explained}\n{}", fs::read_to_string(POLICY).unwrap());
        assert_eq!(sandbox.logins().pop().unwrap()["rule"], explained["rule"], "round {round}");
    }
}
