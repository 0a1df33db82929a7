//! What `qrtotp doctor` takes a PAM stack for, beside what the real libpam makes of it.

use std::fs;

use qrtotp_hosts::stack::{ANSWERS, Files, Stack, Step, walk};
use qrtotp_tests::product::security_folder;
use qrtotp_tests::sandbox::Sandbox;
use qrtotp_tests::script::Script;

/// The files of the sandbox.
struct Here;

impl Files for Here {
    fn read(&self, name: &str) -> Option<String> {
        let path = if name.starts_with('/') { name.to_owned() } else { format!("/etc/pam.d/{name}") };
        fs::read_to_string(path).ok()
    }

    fn is_usual(&self, _: &str) -> bool {
        true
    }

    fn has_module(&self, name: &str) -> bool {
        fs::exists(format!("{}/{name}", security_folder())).unwrap()
    }
}

/// Numbers that look random and are the same in each run (a linear congruential generator).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

const COMMON: [&str; 9] = [
    "success",
    "success",
    "success",
    "auth_err",
    "ignore",
    "user_unknown",
    "new_authtok_reqd",
    "perm_denied",
    "maxtries",
];

fn control(numbers: &mut Numbers) -> String {
    if numbers.below(2) == 0 {
        let odd = numbers.one(&["REQUIRED", "requird"]);
        let usual = numbers.one(&["required", "requisite", "sufficient", "optional"]);
        return if numbers.below(20) == 0 { odd } else { usual }.to_owned();
    }
    let mut pairs = Vec::new();
    for _ in 0..numbers.below(4) {
        let answer = if numbers.below(6) == 0 { "default" } else { numbers.one(&COMMON) };
        let action = numbers.one(&["ok", "done", "bad", "die", "ignore", "reset", "1", "2", "3"]);
        pairs.push(format!("{answer}{}={action}", numbers.one(&["", " "])));
    }
    if numbers.below(3) > 0 {
        pairs.push(format!("default={}", numbers.one(&["ok", "done", "bad", "die", "ignore", "reset", "1", "2"])));
    }
    format!("[{}]", pairs.join(" "))
}

/// A file of some lines, which may bring in those of deeper ones.
fn file(numbers: &mut Numbers, depth: usize) -> String {
    let mut text = String::new();
    for _ in 0..=numbers.below(6) {
        let line = match numbers.below(24) {
            0 if depth < 2 => format!("auth substack deeper{}\n", depth + 1),
            1 if depth < 2 => format!("auth include deeper{}\n", depth + 1),
            2 if depth < 2 => format!("@include deeper{}\n", depth + 1),
            3 => "account required pam_deny.so\n".to_owned(),
            4 => "-auth optional pam_missing.so\n".to_owned(),
            5 => numbers.one(&["# a comment\n\n", "auth required\n", "atuh optional pam_permit.so\n"]).to_owned(),
            _ => {
                let answer = if numbers.below(8) == 0 { numbers.one(&ANSWERS[..28]) } else { numbers.one(&COMMON) };
                let gap = numbers.one(&[" ", "\t", " \\\n   "]);
                format!("auth {}{gap}pam_debug.so auth={answer} # {answer}\n", control(numbers))
            }
        };
        text.push_str(&line);
    }
    text
}

/// The one answer a line gives: that of pam_debug, and of what is broken or missing.
fn answers(step: &Step) -> &'static [&'static str] {
    let told = step.arguments.iter().find_map(|argument| argument.strip_prefix("auth="));
    let number = match step.module() {
        "" => ANSWERS.iter().position(|known| *known == "perm_denied"),
        "pam_missing.so" => ANSWERS.iter().position(|known| *known == "module_unknown"),
        "pam_deny.so" => ANSWERS.iter().position(|known| *known == "auth_err"),
        _ => ANSWERS.iter().position(|known| Some(*known) == told),
    };
    number.map_or(&[], |number| &ANSWERS[number..=number])
}

#[test]
fn the_walk_through_a_stack_ends_where_libpam_ends() {
    let sandbox = Sandbox::bare();
    let rounds = std::env::var("QRTOTP_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(300);
    let mut numbers = Numbers(20_261_124);
    let mut granted = 0;
    for round in 0..rounds {
        sandbox.service("deeper2", &file(&mut numbers, 2));
        sandbox.service("deeper1", &file(&mut numbers, 1));
        let text = file(&mut numbers, 0);
        sandbox.service("tried", &text);
        let is_granted = sandbox.run(Script::login("alice").at("tried").answering(["x"])).code() == 0;
        let stack = Stack::read("tried", &Here);
        let ends: Vec<bool> = match &stack {
            Ok(stack) => walk::ways_by(&stack.steps, &answers).iter().map(|way| way.is_success).collect(),
            Err(_) => vec![false],
        };
        let deeper = [1, 2].map(|depth| fs::read_to_string(format!("/etc/pam.d/deeper{depth}")).unwrap());
        assert_eq!(ends, [is_granted], "round {round}:\n{text}\n-- deeper1\n{}\n-- deeper2\n{}", deeper[0], deeper[1]);
        granted += i32::from(is_granted);
    }
    assert!(granted > rounds / 20 && granted < rounds * 19 / 20, "{granted} of {rounds} tell little");
}
