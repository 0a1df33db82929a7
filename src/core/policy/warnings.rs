//! What is no mistake in a policy and still not meant.

use super::rules::{Action, Rule, Until};
use super::{FirstLogin, Mistake, Policy};
use crate::words::WallTime;

/// Seconds in which somebody who has to find an app first can enroll.
const TIME_TO_ENROLL: u32 = 300;
/// Services in which a code can be remembered: the place stays the same from one call to the next.
const REMEMBERING: [&str; 5] = ["sudo", "sudo-i", "su", "su-l", "sshd"];

/// Looks the policy over; `now` tells what has ended.
pub fn warnings(policy: &Policy, now: WallTime) -> Vec<Mistake> {
    let general = [first_factor(policy), silent_services(policy)];
    let mut found: Vec<_> = general.into_iter().flatten().map(|what| Mistake { line: 1, column: 1, what }).collect();
    for (number, rule) in policy.rules.iter().enumerate() {
        let earlier = policy.rules.get(..number).unwrap_or_default();
        let reasons = [
            never_reached(rule, earlier),
            empty_list(rule),
            ended(rule, now),
            forever_open(rule),
            grace_over(rule, now),
            grace_in_vain(rule),
            enrolls_nobody(rule, policy),
            short_of_time(rule, policy),
            remembers_nothing(rule),
        ];
        let note = |what| Mistake { line: rule.line, column: 1, what };
        found.extend(reasons.into_iter().flatten().map(note));
    }
    found
}

fn never_reached(rule: &Rule, earlier: &[Rule]) -> Option<String> {
    let first = earlier.iter().find(|first| first.is_unconditional() || has_same_conditions(first, rule))?;
    Some(format!("this rule is never reached: the one in line {} holds whenever it would", first.line))
}

fn has_same_conditions(one: &Rule, other: &Rule) -> bool {
    let names = |rule: &Rule| [rule.users.clone(), rule.groups.clone(), rule.services.clone()];
    names(one) == names(other) && one.from == other.from && one.times == other.times
}

fn empty_list(rule: &Rule) -> Option<String> {
    let is_empty = |list: &Option<Vec<String>>| list.as_ref().is_some_and(Vec::is_empty);
    let lists =
        [("users", is_empty(&rule.users)), ("groups", is_empty(&rule.groups)), ("services", is_empty(&rule.services))];
    let from = ("from", rule.from.as_ref().is_some_and(Vec::is_empty));
    let days = ("days", rule.times.days == Some([false; 7]));
    let (name, _) = lists.into_iter().chain([from, days]).find(|(_, is_empty)| *is_empty)?;
    Some(format!("this rule never holds: {name} is empty"))
}

fn ended(rule: &Rule, now: WallTime) -> Option<String> {
    is_over(rule.times.until?, now).then(|| "this rule has ended: until is over".to_owned())
}

fn is_over(end: Until, now: WallTime) -> bool {
    // A day of grace for the zone: a local end is taken as UTC here.
    let end = match end {
        Until::Moment(end) => end.0,
        Until::Local(end) => end.saturating_add(crate::calendar::DAY),
    };
    now.0 >= end
}

fn grace_over(rule: &Rule, now: WallTime) -> Option<String> {
    let end = rule.grace?.until?;
    is_over(end, now).then(|| "enroll_by is over: who is not enrolled by now gets in no more without a code".to_owned())
}

fn grace_in_vain(rule: &Rule) -> Option<String> {
    let is_it = rule.grace.is_some() && rule.action != Action::Enroll;
    let advice = if rule.with_password { "enroll people by hand" } else { "say action = \"enroll\"" };
    is_it.then(|| format!("nobody can enroll at a login in the time that this rule gives; {advice}"))
}

fn enrolls_nobody(rule: &Rule, policy: &Policy) -> Option<String> {
    let enrolling = &policy.enrolling;
    let is_shown = |services: &Vec<String>| services.iter().any(|service| enrolling.services.contains(service));
    let what = match () {
        () if rule.action != Action::Enroll => return None,
        () if enrolling.first_login == FirstLogin::Off => "enroll.first_login is \"off\"",
        () if !rule.services.as_ref().map_or(!enrolling.services.is_empty(), is_shown) => {
            "none of its services is in enroll.services"
        }
        () => return None,
    };
    Some(format!("nobody enrolls by this rule: {what}"))
}

fn short_of_time(rule: &Rule, policy: &Policy) -> Option<String> {
    let enrolling = &policy.enrolling;
    let is_sshd = |services: &[String]| services.iter().any(|service| service == "sshd");
    let is_covered = rule.services.as_deref().is_none_or(is_sshd) && is_sshd(&enrolling.services);
    let is_it = rule.action == Action::Enroll && is_covered && enrolling.first_login != FirstLogin::Off;
    let seconds = enrolling.login_grace_time.filter(|seconds| is_it && *seconds < TIME_TO_ENROLL)?;
    Some(format!(
        "who enrolls through sshd has {seconds} seconds; set LoginGraceTime 600 in sshd_config while people enroll, and \
         enroll.login_grace_time = 600 here"
    ))
}

fn remembers_nothing(rule: &Rule) -> Option<String> {
    rule.remember?;
    let services = rule.services.as_ref()?;
    let is_in_vain = !services.iter().any(|service| REMEMBERING.contains(&service.as_str()));
    is_in_vain.then(|| "remember does nothing in these services: each login there is a new session".to_owned())
}

/// sudo asks modules to be silent, and a picture is no prompt.
fn silent_services(policy: &Policy) -> Option<String> {
    let silent = policy.enrolling.services.iter().find(|service| ["sudo", "sudo-i"].contains(&service.as_str()))?;
    Some(format!(
        "enroll.services names {silent}, which runs modules silently: it shows no picture, and takes no ticket"
    ))
}

fn first_factor(policy: &Policy) -> Option<String> {
    let is_it = policy.enrolling.first_login == FirstLogin::FirstFactor;
    is_it.then(|| {
        "enroll.first_login = \"first-factor\": whoever has the password or key of a user enrolls in his place; the line \
         before this module in /etc/pam.d must be `requisite`"
            .to_owned()
    })
}

fn forever_open(rule: &Rule) -> Option<String> {
    let is_it = rule.action == Action::Allow && rule.times.until.is_none();
    is_it.then(|| "this rule lets people in without a code for good; give it an end with until".to_owned())
}
