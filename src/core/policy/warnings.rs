//! What is no mistake in a policy and still not meant.

use super::Mistake;
use super::rules::{Action, Rule, Until};
use crate::words::WallTime;

/// Looks the rules over; `now` tells which have ended.
pub fn warnings(rules: &[Rule], now: WallTime) -> Vec<Mistake> {
    let mut found = Vec::new();
    for (number, rule) in rules.iter().enumerate() {
        let earlier = rules.get(..number).unwrap_or_default();
        let reasons = [never_reached(rule, earlier), empty_list(rule), ended(rule, now), forever_open(rule)];
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
    let conditions = |rule: &Rule| Rule {
        line: 0,
        action: Action::Require,
        two_codes: false,
        past: None,
        grace: None,
        remember: None,
        with_password: false,
        ..rule.clone()
    };
    conditions(one) == conditions(other)
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
    // A day of grace for the zone: a local end is taken as UTC here.
    let end = match rule.times.until? {
        Until::Moment(end) => end.0,
        Until::Local(end) => end.saturating_add(crate::calendar::DAY),
    };
    (now.0 >= end).then(|| "this rule has ended: until is over".to_owned())
}

fn forever_open(rule: &Rule) -> Option<String> {
    let is_it = rule.action == Action::Allow && rule.times.until.is_none();
    is_it.then(|| "this rule lets people in without a code for good; give it an end with until".to_owned())
}
