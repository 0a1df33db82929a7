//! The README, run: what it tells people to type, put, and expect.

use std::fs;

use qrtotp_core::policy::keys::{ALL, Default};
use qrtotp_tests::product::{POLICY, Parameters, STATE, example};
use qrtotp_tests::sandbox::Sandbox;
use qrtotp_tests::script::code;
use qrtotp_tests::ssh::config_of;

const README: &str = include_str!("../README.md");

/// The fenced blocks of a language.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    README.split(fence.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// Every `qrtotp ...` that stands in backquotes or in a block of its own, without remarks; `...` takes the place of an argument.
fn commands() -> Vec<String> {
    let inline = README.split('`').filter(|piece| piece.starts_with("qrtotp ") && !piece.contains('\n'));
    let lines = README.lines().filter(|line| line.starts_with("qrtotp "));
    inline.chain(lines).map(|text| text.split(" #").next().unwrap().trim().to_owned()).collect()
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

#[test]
fn every_command_does_what_it_says() {
    let commands = commands();
    assert!(commands.len() > 20, "{commands:?}");
    for command in commands {
        let sandbox = Sandbox::new();
        let alice = sandbox.enroll("alice");
        let mut words = words(&command);
        if words.first().is_some_and(|word| word == "enroll")
            && !words.iter().any(|word| word == "--unverified" || word == "--replace")
        {
            // Asked for on a terminal; here only that it goes on as far as the question.
            words.extend(
                ["--label".to_owned(), "another".to_owned()].into_iter().filter(|_| !command.contains("--label")),
            );
            let ran = sandbox.qrtotp(&words.iter().map(String::as_str).collect::<Vec<_>>());
            assert!(ran.code == 1 && ran.stderr.contains("no code was given"), "{command}: {ran:?}");
            continue;
        }
        if command.contains("--replace") {
            words.push("--unverified".to_owned());
        }
        if command.contains("alice --unverified") {
            words.extend(["--label".to_owned(), "script".to_owned()]);
        }
        if command.contains("remove alice phone") {
            sandbox.enroll_device("alice", "tablet", Parameters::default());
        }
        let ran = sandbox.qrtotp_told(&alice.phone.code(), &words.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(ran.code, 0, "{command}: {ran:?}");
    }
}

#[test]
fn the_policy_it_shows_can_be_used_and_its_table_names_every_section_with_its_defaults() {
    let sandbox = Sandbox::new();
    for block in blocks("toml") {
        sandbox.policy(block);
        let checked = sandbox.qrtotp(&["policy", "check"]);
        assert!(
            checked.code == 0 && !checked.stdout.contains("warning"),
            "{checked:?}\n{}",
            fs::read_to_string(POLICY).unwrap()
        );
    }
    for key in ALL {
        let row =
            README.lines().find(|line| line.starts_with(&format!("| `[{}]", key.section)) && line.contains(key.name));
        let row = row.unwrap_or_else(|| panic!("no row names [{}] {}", key.section, key.name));
        let default = match key.default {
            Default::Text("") => "the host's name".to_owned(),
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
