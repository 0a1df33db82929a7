//! The services that ask for a code: their PAM stacks, sshd's and sudo's own settings, and who is locked out.

use std::fs;
use std::path::Path;

use qrtotp_core::policy::{Action, DEFAULT_FILE};
use qrtotp_core::vault::Vault;
use qrtotp_hosts::finding::Finding;
use qrtotp_hosts::sshd::{self, Settings};
use qrtotp_hosts::stack::judge::{self, First};
use qrtotp_hosts::stack::{Files, edit};
use qrtotp_hosts::{stack, sudo};

use super::{Diagnosis, Service};
use crate::acts::policy;
use crate::acts::switch::plan;
use crate::desk::Desk;
use crate::machine::{self, Machine};

/// Services that come in pairs: who asks in the one and not in the other leaves a way open.
const PAIRS: [(&str, &str); 3] = [("sudo", "sudo-i"), ("su", "su-l"), ("login", "remote")];
/// An address that stands for all others (RFC 5737).
const ANYWHERE: &str = "192.0.2.1";
/// Users that sshd's settings are asked for one by one.
const ASKED: usize = 200;
/// Files of sshd that are read.
const MOST_FILES: usize = 100;
/// Locked-out users that are named.
const NAMED: usize = 10;

/// Looks at one service as if the module stood in it, or at all that have it.
pub fn look(
    desk: Option<&Desk>,
    vault: Option<&Vault>,
    service: Option<&str>,
    machine: &Machine,
    diagnosis: &mut Diagnosis,
) {
    let on = machine.services();
    match service {
        Some(service) if !on.iter().any(|known| known == service) => {
            one_that_is_off(desk, vault, service, machine, diagnosis);
        }
        Some(service) => one(desk, vault, service, true, machine, diagnosis),
        None => {
            if on.is_empty() {
                let finding = Finding::notice("pam-off", "/etc/pam.d", "no service asks for a code yet");
                diagnosis.findings.push(finding.mend("qrtotp enable sudo"));
            }
            on.iter().for_each(|service| one(desk, vault, service, true, machine, diagnosis));
            diagnosis.findings.extend(pairs(&on, machine));
        }
    }
}

/// As `qrtotp enable` would write it.
fn one_that_is_off(
    desk: Option<&Desk>,
    vault: Option<&Vault>,
    service: &str,
    machine: &Machine,
    diagnosis: &mut Diagnosis,
) {
    let factor = plan::usual_factor(service);
    match edit::with_module(service, machine, factor, &plan::line(Path::new(DEFAULT_FILE))) {
        Ok(text) => one(desk, vault, service, false, &Machine::with(service, &text), diagnosis),
        Err(why) => {
            let finding = Finding::error("pam-file", format!("/etc/pam.d/{service}"), why);
            diagnosis
                .findings
                .push(finding.mend("see the examples in /usr/share/doc/qrtotp/examples, or pam.d-examples"));
        }
    }
}

fn one(
    desk: Option<&Desk>,
    vault: Option<&Vault>,
    service: &str,
    on: bool,
    machine: &Machine,
    diagnosis: &mut Diagnosis,
) {
    let first = if service == "sshd" { look_at_sshd(desk, vault, on, machine, diagnosis) } else { First::Stack };
    let first = if on || first == First::Host { first } else { assumed_first(service) };
    if service == "sshd" && first == First::Host {
        diagnosis.findings.extend(without_keys(machine));
    }
    diagnosis.findings.extend(judge::judge(service, machine, first));
    if service.starts_with("sudo") {
        diagnosis.findings.extend(look_at_sudo());
    }
    diagnosis.findings.extend(wrong_config(service, machine));
    if let (Some(desk), Some(vault)) = (desk, vault) {
        match policy::outsiders(desk, vault, service) {
            Ok(outsiders) => {
                // `enable` asks of a stack that is not in place yet.
                let on = judge::asks(service, &Machine::new());
                let report =
                    Service { service: service.to_owned(), on, people: outsiders.people, locked_out: outsiders.out };
                diagnosis.findings.extend(locked_out(&report));
                diagnosis.services.push(report);
            }
            Err(ending) => {
                diagnosis.findings.push(Finding::error("users", service, ending.to_string()));
            }
        }
    }
}

/// Where sshd is not set yet, its settings are told by `enable`; the stack is judged as they will be.
fn assumed_first(service: &str) -> First {
    match plan::usual_factor(service) {
        edit::Factor::Key => First::Host,
        edit::Factor::Password => First::Stack,
    }
}

fn locked_out(report: &Service) -> Option<Finding> {
    let Service { service, on, people, locked_out } = report;
    if locked_out.is_empty() {
        return None;
    }
    let named = locked_out.iter().take(NAMED).map(|(user, why)| format!("{user} ({why})"));
    let more = locked_out.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let would = if *on { "are" } else { "would be" };
    let what = format!(
        "{} of {people} who can log in {would} locked out: {}{more}",
        locked_out.len(),
        named.collect::<Vec<_>>().join(", ")
    );
    let place = format!("service {service}");
    let is_all = locked_out.len() == *people;
    let finding =
        if is_all { Finding::error("locked-out", place, what) } else { Finding::warning("locked-out", place, what) };
    let mend = format!("qrtotp enroll USER, tickets, or rules; see all: qrtotp policy simulate --service {service}");
    Some(finding.mend(mend))
}

/// Who has a shell and no key that sshd would take.
fn without_keys(machine: &Machine) -> Option<Finding> {
    let settings = machine.sshd(None).ok()?;
    if !matches!(settings.get("authorizedkeyscommand"), "" | "none") {
        return None;
    }
    let files = match settings.get("authorizedkeysfile") {
        "" => ".ssh/authorized_keys .ssh/authorized_keys2",
        files => files,
    };
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let lacks = |line: &str| {
        let fields: Vec<_> = line.split(':').collect();
        let [name, _, _, _, _, home, shell] = fields.as_slice() else { return None };
        let has = |file: &str| {
            let file = file.replace("%h", home).replace("%u", name);
            fs::metadata(Path::new(home).join(file)).is_ok_and(|metadata| metadata.len() > 0)
        };
        (policy::is_shell(shell) && !files.split_whitespace().any(has)).then(|| (*name).to_owned())
    };
    let names: Vec<_> = passwd.lines().filter_map(lacks).collect();
    let named = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    let what = format!("{} with a shell have no key there, and would be asked for no password: {named}", names.len());
    let finding = Finding::warning("sshd-keys", format!("sshd: AuthorizedKeysFile {files}"), what);
    (!names.is_empty()).then(|| finding.mend("give them keys, or use --factor password"))
}

/// The other half of a pair.
fn pairs(on: &[String], machine: &Machine) -> Vec<Finding> {
    let is_on = |service: &str| on.iter().any(|known| known == service);
    let open = PAIRS.into_iter().filter(|(one, other)| is_on(one) && !is_on(other) && machine.read(other).is_some());
    let told = |(one, other): (&str, &str)| {
        let what = format!("{one} asks for a code and {other} does not, so that way stays open");
        Finding::warning("pam-pair", format!("/etc/pam.d/{other}"), what).mend(format!("qrtotp enable {other}"))
    };
    open.map(told).collect()
}

/// A policy file that the module's line names and that is not there, or not the one this command reads.
fn wrong_config(service: &str, machine: &Machine) -> Vec<Finding> {
    let Ok(stack) = stack::Stack::read(service, machine) else { return Vec::new() };
    let mut found = Vec::new();
    for step in stack.ours() {
        let place = step.place.to_string();
        for argument in &step.arguments {
            match argument.split_once('=') {
                Some(("config", path)) if fs::metadata(path).is_err() => {
                    let what = format!("names the policy {path}, which is not there: the defaults count");
                    found.push(Finding::warning("pam-config", &place, what));
                }
                Some(("config", _)) => {}
                _ if argument == "debug" => {
                    found.push(Finding::notice("pam-debug", &place, "debug is on: the log tells more than it must"));
                }
                _ => {
                    let what = format!("the module knows no argument \"{argument}\" and refuses everybody");
                    found.push(Finding::error("pam-argument", &place, what).mend("take it out"));
                }
            }
        }
    }
    found
}

/// sshd for everybody, and for each user for whom it is set differently.
fn look_at_sshd(
    desk: Option<&Desk>,
    vault: Option<&Vault>,
    on: bool,
    machine: &Machine,
    diagnosis: &mut Diagnosis,
) -> First {
    let is_in_one_line = desk.is_some_and(|desk| desk.policy.rules.iter().any(|rule| rule.with_password));
    let settings = match machine.sshd(None) {
        Ok(settings) => settings,
        Err(why) => {
            let what = format!("its settings cannot be read: {why}");
            // A folder that its unit makes, or none at all, is no mistake in them.
            let is_broken = machine::program("sshd").is_some() && !why.contains("privilege separation directory");
            let finding = if is_broken {
                Finding::error("sshd-unread", "sshd", what)
            } else {
                Finding::warning("sshd-unread", "sshd", what)
            };
            diagnosis.findings.push(finding.mend("mend what it says, until this says nothing: sshd -t"));
            return First::Stack;
        }
    };
    if !on {
        // What sshd needs is written or told by `enable`, after which it is looked at again.
        let missing = sshd::missing(&settings, plan::usual_factor("sshd"));
        if !missing.is_empty() {
            let told: Vec<_> =
                missing.iter().map(|(name, now, needed)| format!("{name} {needed} (now {now})")).collect();
            let what = format!("is not set yet for a code: {}", told.join(", "));
            let finding = Finding::notice("sshd-settings", "sshd", what);
            diagnosis.findings.push(finding.mend("qrtotp enable sshd --factor key --sshd-config"));
        }
        return settings.first();
    }
    let general = sshd::judge(&settings, is_in_one_line, "");
    diagnosis.findings.extend(general.iter().cloned());
    diagnosis.findings.extend(matched(desk, vault, machine, &settings, &general, is_in_one_line));
    if let Some(desk) = desk {
        diagnosis.findings.extend(grace_time(desk, &settings));
    }
    settings.first()
}

/// What sshd's `Match` lines change, for each user whom they may mean, from the networks that they name.
fn matched(
    desk: Option<&Desk>,
    vault: Option<&Vault>,
    machine: &Machine,
    settings: &Settings,
    general: &[Finding],
    is_in_one_line: bool,
) -> Vec<Finding> {
    let matches = match_lines();
    if matches.is_empty() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut from = vec![ANYWHERE.to_owned()];
    for (place, conditions) in &matches {
        let others: Vec<_> =
            conditions.iter().filter(|(name, _)| !matches!(name.as_str(), "user" | "group" | "all")).collect();
        from.extend(others.iter().filter(|(name, _)| name == "address").flat_map(|(_, value)| sshd::addresses(value)));
        if !others.is_empty() {
            let told: Vec<_> = others.iter().map(|(name, value)| format!("{name} {value}")).collect();
            let what = format!(
                "a Match by {} may set sshd differently there; try it: sshd -T -C user=NAME,addr=ADDRESS,...",
                told.join(", ")
            );
            found.push(Finding::notice("sshd-match", place.as_str(), what));
        }
    }
    from.dedup();
    let names = vault.and_then(|vault| policy::accounts(vault).ok()).unwrap_or_default();
    let people: Vec<_> = names.into_iter().filter(|(_, can_log_in)| *can_log_in).map(|(name, _)| name).collect();
    let all = people.len().saturating_mul(from.len());
    let cases = from.iter().flat_map(|address| people.iter().map(move |user| (user, address)));
    if all > ASKED {
        let what = format!("{all} users and addresses may be meant by a Match, and {ASKED} were looked at");
        found.push(
            Finding::warning("sshd-match", "sshd", what).mend("try others: sshd -T -C user=NAME,addr=ADDRESS,..."),
        );
    }
    let mut known: Vec<_> = general.iter().map(|finding| (finding.check, finding.what.clone())).collect();
    for (user, address) in cases.take(ASKED) {
        let Ok(own) = machine.sshd(Some((user, address))) else { continue };
        if own == *settings {
            continue;
        }
        let whose = if address == ANYWHERE { user.clone() } else { format!("{user} from {address}") };
        // One whom a rule lets in without a code may come by a key alone.
        let is_let_by =
            desk.zip(vault).is_some_and(|(desk, vault)| policy::is_let_by(desk, vault, user, "sshd").unwrap_or(false));
        for finding in sshd::judge(&own, is_in_one_line, &whose) {
            let key = (finding.check, format!("{user}: {}", finding.what));
            if known.contains(&(finding.check, finding.what.clone())) || known.contains(&key) {
                continue;
            }
            known.push(key);
            found.push(if is_let_by { Finding::notice(finding.check, finding.place, finding.what) } else { finding });
        }
    }
    found
}

/// Every `Match` of sshd's files, and of those that they bring in: where it stands, and its conditions.
fn match_lines() -> Vec<(String, Vec<(String, String)>)> {
    let mut open = vec!["/etc/ssh/sshd_config".to_owned()];
    let mut seen: Vec<String> = Vec::new();
    let mut found = Vec::new();
    while let Some(file) = open.pop() {
        if seen.contains(&file) || seen.len() > MOST_FILES {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap_or_default();
        for (number, line) in sshd::lines(&text) {
            match line {
                sshd::Line::Match(conditions) => found.push((format!("{file}:{number}"), conditions)),
                sshd::Line::Include(names) => open.extend(names.iter().flat_map(|name| matching(name))),
            }
        }
        seen.push(file);
    }
    found
}

/// The files that a pattern of `Include` names; its last part may hold wildcards.
fn matching(name: &str) -> Vec<String> {
    let path = if name.starts_with('/') { name.to_owned() } else { format!("/etc/ssh/{name}") };
    let Some((folder, last)) = path.rsplit_once('/') else { return Vec::new() };
    let Some((head, tail)) = last.split_once('*') else { return vec![path] };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.starts_with(head) && name.ends_with(tail)).map(|name| format!("{folder}/{name}")).collect()
}

/// What who enrolls is told of sshd's LoginGraceTime must be so.
fn grace_time(desk: &Desk, settings: &Settings) -> Option<Finding> {
    let told = u64::from(desk.policy.enrolling.login_grace_time?);
    let real = sshd::grace_time(settings)?;
    let enrolls = desk.policy.rules.iter().any(|rule| rule.action == Action::Enroll);
    (enrolls && told != real).then(|| {
        let what = format!("is {real} seconds, and who enrolls is told {told}: enroll.login_grace_time");
        Finding::warning("sshd-grace", "sshd: LoginGraceTime", what)
            .mend("have both say the same, 600 while people enroll")
    })
}

fn look_at_sudo() -> Vec<Finding> {
    let Some(program) = machine::program("cvtsudoers") else { return Vec::new() };
    match machine::output(&program, &["-f", "json", "/etc/sudoers"]).and_then(|json| sudo::judge(&json)) {
        Ok(found) => found,
        Err(why) => {
            let finding = Finding::warning("sudo-unread", "sudoers", format!("cannot be read: {why}"));
            vec![finding.mend("visudo -c")]
        }
    }
}
