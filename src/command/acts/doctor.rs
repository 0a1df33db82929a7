//! `qrtotp doctor`: reads the real machine and says, by severity, what is wrong and what mends it.

mod machine;
mod services;
mod state;

use std::path::Path;

use qrtotp_core::policy::Policy;
use qrtotp_hosts::finding::{Finding, Severity};
use qrtotp_hosts::stack::judge::is_bad;
use serde::Serialize;
use serde_json::json;

use super::policy;
use super::switch::plan::Pending;
use super::switch::seconds_left;
use crate::arguments::Arguments;
use crate::arguments::switching::DoctorOptions;
use crate::desk::Desk;
use crate::ending::{Code, Ending};
use crate::machine::Machine;
use crate::screen::{Screen, clean, counted};

/// How a service stands.
#[derive(Serialize, Debug)]
pub struct Service {
    /// Its name.
    pub service: String,
    /// Whether it asks for a code now.
    pub on: bool,
    /// How many people can log in on this machine.
    pub people: usize,
    /// Whom of them it keeps out now, or would, each with the reason.
    pub locked_out: Vec<(String, &'static str)>,
}

/// Everything that was found.
#[derive(Default)]
pub struct Diagnosis {
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// The services that were looked at.
    pub services: Vec<Service>,
}

/// Looks at everything.
pub fn run(arguments: &Arguments, options: &DoctorOptions) -> Result<(), Ending> {
    let screen = Screen::new(arguments.json);
    let diagnosis = examine(&arguments.config, options.service.as_deref(), &Machine::new());
    let count = |severity| diagnosis.findings.iter().filter(|finding| finding.severity == severity).count();
    let counts = Severity::ALL.map(count);
    let [errors, warnings, notices] = counts;
    let mut lines: Vec<String> = diagnosis.findings.iter().map(|finding| text(finding, &screen)).collect();
    lines.extend(diagnosis.services.iter().map(Service::text));
    let numbers = [counted(errors, "error"), counted(warnings, "warning"), counted(notices, "notice")];
    lines.push(numbers.join(", "));
    let value = json!({
        "findings": diagnosis.findings,
        "services": diagnosis.services.iter().map(Service::to_json).collect::<Vec<_>>(),
        "errors": errors,
        "warnings": warnings,
        "notices": notices,
    });
    screen.answer(&value, &lines.join("\n"))?;
    if is_bad(&diagnosis.findings) { Err(Ending::silent(Code::No)) } else { Ok(()) }
}

/// What is wrong, the worst first. With a service: as if the module stood in it.
pub fn examine(config: &Path, service: Option<&str>, machine: &Machine) -> Diagnosis {
    let mut diagnosis = Diagnosis::default();
    let found = &mut diagnosis.findings;
    let desk = look_at_policy(config, found);
    machine::look(desk.as_ref(), found);
    let vault = desk.as_ref().and_then(|desk| state::look(desk, found));
    diagnosis.findings.extend(left_unconfirmed(config));
    services::look(desk.as_ref(), vault.as_ref(), service, machine, &mut diagnosis);
    fold(&mut diagnosis.findings);
    diagnosis.findings.sort_by_key(|finding| finding.severity);
    diagnosis
}

/// Services that include one another say the same: once is enough, with the places together.
fn fold(findings: &mut Vec<Finding>) {
    let mut folded: Vec<Finding> = Vec::new();
    for finding in findings.drain(..) {
        let is_same = |own: &&mut Finding| {
            let (one, other) = (&**own, &finding);
            let is_of_services = one.place.starts_with("service ") && other.place.starts_with("service ");
            (one.severity, one.check, &one.what) == (other.severity, other.check, &other.what)
                && (one.place == other.place || is_of_services)
        };
        match folded.iter_mut().find(is_same) {
            Some(own) if own.place != finding.place => {
                own.place.push_str(&format!(", {}", finding.place.trim_start_matches("service ")));
            }
            Some(_) => {}
            None => folded.push(finding),
        }
    }
    *findings = folded;
}

/// The policy, and what is wrong with it.
fn look_at_policy(config: &Path, found: &mut Vec<Finding>) -> Option<Desk> {
    let place = |line: usize| format!("{}:{line}", config.display());
    let mend = "mend it, then: qrtotp policy check";
    if config.exists() {
        match policy::examine(config, true) {
            Ok(checked) => {
                let mistake = |m: &qrtotp_core::policy::Mistake| {
                    Finding::error("policy", place(m.line), m.what.clone()).mend(mend)
                };
                found.extend(checked.mistakes.iter().map(mistake));
                let warning = |m: &qrtotp_core::policy::Mistake| {
                    Finding::warning("policy-meaning", place(m.line), m.what.clone()).mend("qrtotp policy check")
                };
                found.extend(checked.warned.iter().map(warning));
            }
            Err(ending) => {
                found.push(Finding::error("policy", config.display().to_string(), ending.to_string()).mend(mend));
            }
        }
    } else {
        let what = "is missing: every key has its default, which asks everybody for a code";
        found.push(Finding::notice("policy", config.display().to_string(), what).mend("qrtotp init"));
    }
    // A mistake in what commands alone read keeps no login out, and no doctor either.
    Policy::load(config).ok()?;
    Desk::open(config, false).ok()
}

/// Changes that `enable` has made and nobody has confirmed: those that wait, and those that nobody watches over any more.
fn left_unconfirmed(config: &Path) -> Vec<Finding> {
    let pending = Pending::beside(config);
    let told = |service: String| {
        let place = format!("service {service}");
        let plan = pending.read(&service).ok().flatten();
        match plan.filter(|_| pending.is_held(&service)) {
            Some(plan) => {
                let left = seconds_left(&plan);
                let what = format!(
                    "was switched on, and waits {left} seconds more for a login of {}; then it is taken back",
                    plan.user
                );
                Finding::notice("unconfirmed", place, what)
            }
            None => {
                let what = "was switched on, not confirmed, and nobody watches over that any more";
                Finding::warning("unconfirmed", place, what)
                    .mend(format!("qrtotp disable {service}, then qrtotp enable {service}"))
            }
        }
    };
    pending.services().into_iter().map(told).collect()
}

/// A finding as it stands on the screen, in lines as long as that is wide.
pub fn text(finding: &Finding, screen: &Screen) -> String {
    const INDENT: &str = "         ";
    let Finding { severity, check, place, what, mend } = finding;
    let width = screen.size().map_or(usize::MAX, |size| size.columns);
    let part = |first: &str, text: &str| {
        let options = textwrap::Options::new(width).break_words(false);
        let more = " ".repeat(first.len());
        textwrap::fill(&clean(text), options.initial_indent(first).subsequent_indent(&more))
    };
    let mut text = format!("{:<8} {} ({check})\n{}", severity.word(), clean(place), part(INDENT, what));
    if !mend.is_empty() {
        text.push_str(&format!("\n{}", part(&format!("{INDENT}mend: "), mend)));
    }
    text
}

impl Service {
    fn text(&self) -> String {
        let Self { service, on, people, locked_out } = self;
        let service = clean(service);
        let state = if *on { "asks for a code" } else { "asks for no code yet" };
        match (locked_out.len(), on) {
            (0, true) => format!("service  {service} {state}; nobody is locked out"),
            (0, false) => format!("service  {service} {state}; nobody would be locked out"),
            (count, true) => format!("service  {service} {state}; of {people} who can log in {count} cannot"),
            (count, false) => format!("service  {service} {state}; of {people} who can log in {count} could not"),
        }
    }

    fn to_json(&self) -> serde_json::Value {
        let out = self.locked_out.iter().map(|(user, why)| json!({ "user": user, "why": why }));
        json!({
            "service": self.service,
            "on": self.on,
            "people": self.people,
            "locked_out": out.collect::<Vec<_>>(),
        })
    }
}
