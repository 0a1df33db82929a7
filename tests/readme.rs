//! The README and the manual page, run: what they tell people to type, put, and expect.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;

use qrtotp_core::policy::alerts::{self, Counted};
use qrtotp_core::policy::keys::{Default, OF_COMMANDS, OF_LOGINS};
use qrtotp_core::policy::rules::{Action, KEYS};
use qrtotp_tests::paper;
use qrtotp_tests::product::{POLICY, Parameters, STATE, example};
use qrtotp_tests::sandbox::Sandbox;
use qrtotp_tests::script::{Script, code};
use qrtotp_tests::ssh::config_of;
use qrtotp_tests::users;

const README: &str = include_str!("../README.md");

/// Every manual page, as the command writes it, by name.
fn manuals() -> Vec<(String, String)> {
    let sandbox = Sandbox::new();
    let made = sandbox.qrtotp(&["generate", "/tmp/made"]);
    assert_eq!(made.code, 0, "{made:?}");
    let files = fs::read_dir("/tmp/made/man").unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.display().to_string(), fs::read_to_string(path).unwrap())).collect()
}

/// What is typed where a passphrase is asked.
const PASSPHRASE: &str = "correct horse battery";

/// The fenced blocks of a language.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    README.split(fence.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// A manual page below its head, without what roff makes of letters.
fn plain(page: &str) -> String {
    let (_, text) = page.split_once("DESCRIPTION").unwrap();
    let plain = [("\\-", "-"), ("\\(aq", "'"), ("\\(dq", "\""), ("\\&", "")].into_iter();
    plain.fold(text.to_owned(), |text, (roff, plain)| text.replace(roff, plain))
}

/// The policies that a manual page shows: examples with a section or a rule.
fn policies_of(page: &str) -> Vec<String> {
    let text = plain(page);
    let examples = text.split(".EX\n").skip(1).map(|rest| rest.split(".EE").next().unwrap().to_owned());
    examples.filter(|example| example.starts_with('[')).collect()
}

/// Every `qrtotp ...` that stands in backquotes or on a line of its own, without remarks and without where its output goes.
fn commands(text: &str) -> Vec<String> {
    let inline = text.split('`').filter(|piece| piece.starts_with("qrtotp ") && !piece.contains('\n'));
    let lines = text.lines().map(|line| line.strip_prefix(".B ").unwrap_or(line));
    let lines = lines.filter(|line| line.starts_with("qrtotp "));
    let end = |text: &str| text.split(" #").next().unwrap().split(" > ").next().unwrap().trim().to_owned();
    inline.chain(lines).map(end).collect()
}

/// Words as a shell would part them, as far as the README goes: quotes hold blanks together.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for character in command.chars() {
        match character {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            other => words.last_mut().unwrap().push(other),
        }
    }
    words.into_iter().filter(|word| !word.is_empty()).skip(1).collect()
}

/// A picture that an app shows for bob.
const EXPORT: &str = "/tmp/export.png";

/// Files of other modules, and the export of an app, each with a device of bob.
fn lay_out_what_bob_had() {
    let uri = "otpauth-migration://offline?data=CjQKFDEyMzQ1Njc4OTAxMjM0NTY3ODkwEgxib2JAdGVzdGhvc3QaCHRlc3Rob3N0IAEoATACEAEYASAAKAU%3D";
    paper::write(&paper::code(uri, 4), EXPORT);
    fs::write("/etc/users.oath", format!("HOTP/T30/6 bob - {}\n", "1f2e".repeat(10))).unwrap();
    let file = "GEZDGNBVGY3TQOJQGEZDGNBVGY\n\" DISALLOW_REUSE\n\" TOTP_AUTH\n11112222\n";
    fs::write("/home/bob/.google_authenticator", file).unwrap();
    for path in ["/etc/users.oath", "/home/bob/.google_authenticator"] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// Runs a command as somebody would who has read so far: alice is enrolled, and what is named is there.
fn try_out(command: &str) {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let mut words = words(command);
    if words.first().is_some_and(|word| word == "enroll")
        && !words.iter().any(|word| word == "--unverified" || word == "--replace")
    {
        // Asked for on a terminal; here only that it goes on as far as the question.
        words.extend(["--label".to_owned(), "another".to_owned()].into_iter().filter(|_| !command.contains("--label")));
        let ran = sandbox.qrtotp(&words.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(ran.code == 1 && ran.stderr.contains("no code was given"), "{command}: {ran:?}");
        return;
    }
    if let Some(word) = words.iter_mut().find(|word| *word == "sent.png") {
        *word = format!("/tmp/{word}");
        paper::write(&paper::code(&alice.uri, 3), word);
    }
    if command.contains("--replace") {
        words.push("--unverified".to_owned());
    }
    if command.contains("alice --unverified") {
        words.extend(["--label".to_owned(), "script".to_owned()]);
    }
    if ["remove", "disable"].iter().any(|act| command.contains(&format!("{act} alice phone"))) {
        sandbox.enroll_device("alice", "tablet", Parameters::default());
    }
    prepare_services(&sandbox);
    if ["enable", "disable"].iter().any(|act| command.starts_with(&format!("qrtotp {act} s"))) {
        // Who calls it must be able to give a code; the change itself has tests of its own.
        sandbox.enroll("root");
        words.push("--dry-run".to_owned());
    }
    if command.starts_with("qrtotp repair") {
        fs::write(format!("{STATE}/2001/journal"), "damaged").unwrap();
    }
    if command.starts_with("qrtotp ticket revoke") {
        sandbox.ticket("alice", &[]);
    }
    if command.starts_with("qrtotp restore") {
        sandbox.qrtotp_told(PASSPHRASE, &["handover", "/mnt/move.age", "--all"]);
    }
    if command.contains(" --abort") {
        // As if it had been interrupted.
        let path = format!("{STATE}/2001/credentials.toml");
        let mark = "[revoked]\ntime = 5\nreason = \"handover 0102030405060708 is under way, with /mnt/move.age\"\n\n[[device]]";
        fs::write(&path, fs::read_to_string(&path).unwrap().replacen("[[device]]", mark, 1)).unwrap();
    }
    for (name, text) in [("people.csv", "alice,tablet\nbob\n"), ("next.toml", "[[rule]]\naction = \"require\"\n")] {
        if let Some(word) = words.iter_mut().find(|word| *word == name) {
            *word = format!("/tmp/{name}");
            fs::write(&*word, text).unwrap();
        }
    }
    if command.starts_with("qrtotp import") {
        lay_out_what_bob_had();
        words.iter_mut().filter(|word| *word == "export.png").for_each(|word| *word = EXPORT.to_owned());
    }
    let moves = ["handover", "restore"].iter().any(|word| words[0] == *word);
    let told = if moves { PASSPHRASE.to_owned() } else { alice.phone.code() };
    let ran = sandbox.qrtotp_told(&told, &words.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(ran.code, 0, "{command}: {ran:?}");
}

/// The services as Debian has them, in place of those that the tests have without a first factor.
fn prepare_services(sandbox: &Sandbox) {
    for service in ["code", "probe"] {
        fs::remove_file(format!("/etc/pam.d/{service}")).unwrap();
    }
    for service in ["sudo", "sudo-i", "su", "login", "sshd"] {
        sandbox.service(service, "@include common-auth\n@include common-account\n");
    }
    let key = "/tmp/host_key";
    sandbox.output_of("/usr/bin/ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", key]);
    let _ = fs::remove_dir_all("/etc/ssh/sshd_config.d");
    fs::create_dir_all("/etc/ssh/sshd_config.d").unwrap();
    let config = format!("Include /etc/ssh/sshd_config.d/*.conf\nHostKey {key}\nUsePAM yes\n");
    fs::write("/etc/ssh/sshd_config", config).unwrap();
}

#[test]
fn every_command_does_what_it_says() {
    let commands = commands(README);
    assert!(commands.len() > 40, "{commands:?}");
    commands.iter().for_each(|command| try_out(command));
}

#[test]
fn every_command_of_the_manuals_does_what_it_says() {
    let known = commands(README);
    let mut commands: Vec<_> = manuals().iter().flat_map(|(_, page)| commands(&plain(page))).collect();
    commands.sort_unstable();
    commands.dedup();
    commands.retain(|command| !known.contains(command));
    assert!(commands.len() > 5, "{commands:?}");
    commands.iter().for_each(|command| try_out(command));
}

/// Adds the groups, users and services that a policy names.
fn add_names(policy: &str) {
    let names = |list: &'static str| {
        let lines = policy.lines().filter(move |line| line.starts_with(list));
        lines.flat_map(|line| line.split('#').next().unwrap().split('"').skip(1).step_by(2))
    };
    let groups = names("groups").enumerate().map(|(number, name)| format!("{name}:x:{}:\n", 4000 + number));
    let text = fs::read_to_string("/etc/group").unwrap();
    fs::write("/etc/group", text + &groups.collect::<String>()).unwrap();
    let known = fs::read_to_string("/etc/passwd").unwrap();
    for (number, name) in (5000..).zip(names("users").filter(|name| !known.contains(&format!("{name}:")))) {
        users::add(name, number);
    }
    names("services").for_each(|name| fs::write(format!("/etc/pam.d/{name}"), "").unwrap());
}

/// Checks a policy as if its days were still to come; gives what the command says.
fn check(sandbox: &Sandbox, policy: &str) -> String {
    sandbox.policy(&policy.replace("= 2027-", "= 2097-"));
    add_names(policy);
    let checked = sandbox.qrtotp(&["policy", "check"]);
    assert_eq!(checked.code, 0, "{checked:?}\n{}", fs::read_to_string(POLICY).unwrap());
    checked.stdout
}

#[test]
fn the_policies_of_the_manuals_can_be_used() {
    let policies: Vec<_> = manuals().iter().flat_map(|(_, page)| policies_of(page)).collect();
    let sandbox = Sandbox::new();
    assert_eq!(policies.len(), 8, "{policies:?}");
    for policy in policies {
        let said = check(&sandbox, &policy);
        // The page says itself that the command warns of it.
        assert_eq!(said.contains("warning"), policy.contains("first-factor"), "{said}\n{policy}");
    }
}

#[test]
fn the_policy_it_shows_can_be_used_and_its_table_names_every_section_with_its_defaults() {
    let sandbox = Sandbox::new();
    for block in blocks("toml") {
        let said = check(&sandbox, block);
        assert!(!said.contains("warning"), "{said}\n{block}");
    }
    for key in OF_LOGINS.into_iter().chain(OF_COMMANDS) {
        let names = [format!("] {}`", key.name), format!("`{}`", key.name)];
        let row = README.lines().find(|line| {
            line.starts_with(&format!("| `[{}]", key.section)) && names.iter().any(|name| line.contains(name))
        });
        let row = row.unwrap_or_else(|| panic!("no row names [{}] {}", key.section, key.name));
        let default = match key.default {
            Default::Text("") if key.section == "enroll" => "the host's name".to_owned(),
            Default::Text("") => "none".to_owned(),
            Default::Text(text) => text.trim().to_owned(),
            Default::Switch(on) => on.to_string(),
            Default::Number(number) => number.to_string(),
            Default::List(items) => items.join(", "),
        };
        let elsewhere = ["second", "attempts", "seconds"].contains(&key.name);
        assert!(elsewhere || row.contains(&default), "{}: {default} is not in {row}", key.name);
    }
}

#[test]
fn every_key_and_action_of_a_rule_is_named() {
    let chapter = README.split("## Who, where, when").nth(1).unwrap().split("\n## ").next().unwrap();
    for key in KEYS {
        assert!(chapter.contains(&format!("`{}`", key.name)), "no word about {}", key.name);
    }
    for action in Action::ALL {
        assert!(chapter.contains(&format!("\n| `{}` |", action.word())), "no row for {}", action.word());
    }
}

#[test]
fn every_key_of_an_alert_and_everything_it_counts_is_named() {
    let chapter = README.split("## Be warned").nth(1).unwrap().split("\n## ").next().unwrap();
    for name in alerts::KEYS.iter().map(|key| key.name).chain(Counted::ALL.map(Counted::word)) {
        assert!(chapter.contains(&format!("`{name}`")), "no word about {name}");
    }
}

/// The words that stay the same whenever it is run: no times and numbers, but addresses.
fn lasting(text: &str) -> Vec<&str> {
    let words = text.split_whitespace().map(|word| word.trim_matches(['(', ')', ',', ':']));
    words.filter(|word| !word.starts_with(|c: char| c.is_ascii_digit()) || word.parse::<IpAddr>().is_ok()).collect()
}

#[test]
fn log_and_why_print_what_it_shows() {
    let shown = blocks("console").into_iter().find(|block| block.starts_with("# qrtotp log")).unwrap();
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    alice.phone.settle(3);
    sandbox.service("sshd", &fs::read_to_string("/etc/pam.d/code").unwrap());
    for source in ["203.0.113.9", "192.0.2.7"] {
        sandbox.run(Script::login("alice").at("sshd").from(source).answering([alice.phone.code()]));
    }
    let mut said = String::new();
    for command in shown.lines().filter_map(|line| line.strip_prefix("# ")) {
        let ran = sandbox.qrtotp(&words(command).iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(ran.code, 0, "{command}: {ran:?}");
        said.push_str(&format!("# {command}\n{}\n", ran.stdout.trim_end()));
    }
    assert_eq!(lasting(&said), lasting(shown), "{said}");
}

#[test]
fn the_lines_for_sshd_are_those_of_the_example() {
    let block = blocks("").into_iter().find(|block| block.starts_with("UsePAM")).unwrap();
    assert_eq!(block.trim(), config_of(example("sshd-key-and-code")).trim());
}

#[test]
fn a_phone_that_is_lost_is_replaced_as_it_says() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    assert_eq!(sandbox.answer("alice", &alice.recovery_codes[0]), code::SUCCESS);
    let again = sandbox.qrtotp(&["enroll", "alice", "--replace", "--unverified", "--json"]);
    assert_eq!(again.code, 0, "{again:?}");
    assert_ne!(sandbox.answer("alice", &alice.recovery_codes[1]), code::SUCCESS, "the old codes are void");
    assert_ne!(sandbox.answer("alice", &alice.phone.code()), code::SUCCESS, "the old phone is void");
    let fresh = again.json()["recovery_codes"][0].as_str().unwrap().to_owned();
    assert_eq!(sandbox.answer("alice", &fresh), code::SUCCESS);
}

#[test]
fn state_that_was_lost_refuses_until_it_is_made_and_filled_again() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    fs::remove_dir_all(STATE).unwrap();
    assert_eq!(sandbox.answer("alice", &alice.phone.code()), code::AUTHINFO_UNAVAIL);
    assert_eq!(sandbox.qrtotp(&["init"]).code, 0);
    assert_eq!(sandbox.answer("alice", &alice.phone.code()), code::AUTH_ERR);
    let alice = sandbox.enroll("alice");
    assert_eq!(sandbox.answer("alice", &alice.phone.code()), code::SUCCESS);
}
