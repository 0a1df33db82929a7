//! The trial before a service is switched on: a login by a copy of its stack, in a process of its own.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use qrtotp_hosts::stack::{Stack, Step};
use qrtotp_trial::{Script, Verdict};
use serde_json::json;

use crate::desk::Desk;
use crate::ending::{Code, Ending};
use crate::machine::Machine;

/// How long a trial may take.
const LONGEST: Duration = Duration::from_secs(60);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Tries a stack in this process, which ends with it; the script is standard input, the verdict standard output.
pub fn try_login(desk: &Desk) -> Result<(), Ending> {
    let text = desk.screen.read_line()?.unwrap_or_default();
    let script: Script = serde_json::from_str(&text)
        .map_err(|error| Ending::new(Code::Usage, format!("standard input is no script of a trial: {error}")))?;
    let verdict = qrtotp_trial::run(&script, &desk.policy);
    desk.screen.say(&json!(verdict).to_string())
}

/// Tries the stack in a process of its own, and refuses a bad one.
pub fn heed_trial(desk: &Desk, script: &Script, must_be_tried: bool) -> Result<(), Ending> {
    let programs = programs_of(script);
    if !programs.is_empty() {
        desk.screen
            .remark(&format!("its stack runs programs, which will run for the trial too: {}", programs.join(", ")));
    }
    desk.screen.remark("trying a login by a copy of it, which takes some seconds ...");
    match try_in_a_process(desk, script) {
        Verdict::Good => {
            let others = if script.asks_password {
                "a used one, a wrong one and a wrong password"
            } else {
                "a used one and a wrong one"
            };
            desk.screen.remark(&format!("a right code gets in; {others} do not"));
            Ok(())
        }
        Verdict::Bad(why) => {
            Err(Ending::new(Code::No, format!("{} was not switched on: in the trial, {why}", script.service)))
        }
        Verdict::Untried(why) if must_be_tried => {
            let what = format!(
                "{} was not switched on: it cannot be tried here ({why}), and nobody would confirm it",
                script.service
            );
            Err(Ending::new(Code::No, what))
        }
        Verdict::Untried(why) => {
            desk.screen.remark(&format!("it cannot be tried here: {why}. Your own login will tell"));
            Ok(())
        }
    }
}

/// Where modules of a stack keep count of failures, which the trial makes.
pub fn faillock_folders(service: &str, machine: &Machine) -> Vec<PathBuf> {
    let settings = std::fs::read_to_string("/etc/security/faillock.conf").unwrap_or_default();
    let set = settings.lines().filter_map(|line| line.trim().strip_prefix("dir")?.trim_start().strip_prefix('='));
    let stack = Stack::read(service, machine);
    let is_counting = |step: &&Step| step.module() == "pam_faillock.so";
    let steps: Vec<_> = stack.iter().flat_map(|stack| stack.steps.iter()).filter(is_counting).collect();
    let said = steps.iter().flat_map(|step| step.arguments.iter()).filter_map(|argument| argument.strip_prefix("dir="));
    let usual = (!steps.is_empty()).then_some("/run/faillock");
    let mut folders: Vec<_> =
        usual.into_iter().chain(set).chain(said).map(|folder| PathBuf::from(folder.trim())).collect();
    folders.sort();
    folders.dedup();
    folders
}

/// What modules of the stack run beside themselves.
fn programs_of(script: &Script) -> Vec<String> {
    let machine = Machine::with(&script.service, &script.text);
    let stack = Stack::read(&script.service, &machine);
    let is_program = |step: &&Step| matches!(step.module(), "pam_exec.so" | "pam_script.so");
    stack.iter().flat_map(|stack| stack.steps.iter()).filter(is_program).map(|step| step.place.to_string()).collect()
}

fn try_in_a_process(desk: &Desk, script: &Script) -> Verdict {
    let attempt = || -> std::io::Result<Verdict> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--config", &desk.config.to_string_lossy(), "try-login"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(serde_json::to_string(script)?.as_bytes())?;
            input.write_all(b"\n")?;
        }
        // A module that asks for a finger, or the network, may wait for long.
        let begun = Instant::now();
        while child.try_wait()?.is_none() {
            if begun.elapsed() > LONGEST {
                child.kill()?;
                child.wait()?;
                return Ok(Verdict::Untried("a module of the stack did not answer in a minute".to_owned()));
            }
            std::thread::sleep(PAUSE);
        }
        let output = child.wait_with_output()?;
        let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Ok(serde_json::from_slice(&output.stdout).unwrap_or(Verdict::Untried(complaint)))
    };
    attempt().unwrap_or_else(|error| Verdict::Untried(error.to_string()))
}
