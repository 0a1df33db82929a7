//! (who, service, where from, when) -> what is asked, and why. The login and `qrtotp policy explain` run this same code.
//!
//! The first rule that holds decides; after the last one stands an implicit one that requires a code. What cannot be known
//! never opens: a rule of which it cannot be known whether it holds is decided both ways, and the stricter way counts.

use super::rules::{Action, Grace, Rule, Times, Until};
use super::zone::Zone;
use crate::calendar::DAY;
use crate::ports::LookupFailed;
use crate::words::{Source, UserName, WallTime};

/// What is known of a login before anything is asked.
pub struct Facts<'a> {
    /// The user; `None` where there is no such user, who is in no list and no group.
    pub user: Option<&'a UserName>,
    /// The names of the user's groups; called only where a rule needs them.
    pub groups: &'a dyn Fn() -> Result<Vec<String>, LookupFailed>,
    /// Whether there is a group of a name; called only for groups of a rule that the user is not in.
    pub has_group: &'a dyn Fn(&str) -> Result<bool, LookupFailed>,
    /// The PAM service.
    pub service: &'a str,
    /// Where from.
    pub source: Source,
    /// When; `None` where the clock cannot be trusted.
    pub time: Option<WallTime>,
    /// `[totp] past` of the policy.
    pub past: u32,
    /// Seconds east of UTC of a zone at a time; `None` where that is not known.
    pub offset: &'a dyn Fn(&Zone, WallTime) -> Option<i32>,
}

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision {
    /// What happens.
    pub action: Action,
    /// Whether two consecutive codes are asked.
    pub two_codes: bool,
    /// `[totp] past` for this login, if a rule says so.
    pub past: Option<u32>,
    /// Until when, and how often, those who have no enrollment get in without a code.
    pub grace: Option<Grace<WallTime>>,
    /// Milliseconds in which the same person at the same place is not asked again.
    pub remember: Option<u64>,
    /// Whether one prompt takes the password and the code.
    pub with_password: bool,
    /// Which rule decided, counted from 0; `None`: the implicit last one.
    pub rule: Option<usize>,
}

impl Decision {
    /// The implicit last rule.
    pub const LAST: Self = Self {
        action: Action::Require,
        two_codes: false,
        past: None,
        grace: None,
        remember: None,
        with_password: false,
        rule: None,
    };

    fn of(number: usize, rule: &Rule, grace: Option<Grace<WallTime>>) -> Self {
        let &Rule { action, two_codes, past, remember, with_password, .. } = rule;
        Self { action, two_codes, past, grace, remember, with_password, rule: Some(number) }
    }

    /// The stricter of two, and of what both leave open only what both leave open.
    fn stricter(self, other: Self, past: u32) -> Self {
        let strictness = |decision: &Self| (decision.action, decision.two_codes);
        let chosen = if strictness(&other) > strictness(&self) { other } else { self };
        let sooner = |one: Option<WallTime>, other| one.into_iter().chain(other).min();
        let fewer = |one: Option<u32>, other| one.into_iter().chain(other).min();
        let grace = self.grace.zip(other.grace).map(|(one, other)| Grace {
            until: sooner(one.until, other.until),
            logins: fewer(one.logins, other.logins),
        });
        let remember = self.remember.zip(other.remember).map(|(one, other)| one.min(other));
        let past = Some(self.past.unwrap_or(past).min(other.past.unwrap_or(past)));
        Self { grace, remember, past, ..chosen }
    }
}

/// Whether a rule holds, and if not, why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Holds {
    /// Every condition does.
    Yes,
    /// One does not; says which, and why.
    No(String),
    /// None is known not to, but this is not known.
    Unknown(String),
}

/// How a decision came about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation {
    /// The decision.
    pub decision: Decision,
    /// For each rule looked at, in order, whether it held.
    pub rules: Vec<Holds>,
    /// Why it is not known whether the grace of the rule that decided is over; there is none then.
    pub unknown_grace: Option<&'static str>,
}

impl Explanation {
    /// What was not known, for the event.
    pub fn unknown(&self) -> impl Iterator<Item = (usize, &str)> {
        let conditions = self.rules.iter().enumerate().filter_map(|(number, holds)| match holds {
            Holds::Unknown(what) => Some((number, what.as_str())),
            Holds::Yes | Holds::No(_) => None,
        });
        conditions.chain(self.decision.rule.zip(self.unknown_grace))
    }
}

/// Decides by the rules, in their order.
pub fn decide(rules: &[Rule], facts: &Facts<'_>) -> Explanation {
    let mut looked_at = Vec::new();
    let mut possible: Vec<Decision> = Vec::new();
    for (number, rule) in rules.iter().enumerate() {
        let holds = holds(rule, facts);
        let decided = holds == Holds::Yes;
        let grace = grace_now(rule, facts);
        if !matches!(holds, Holds::No(_)) {
            possible.push(Decision::of(number, rule, grace.unwrap_or(None)));
        }
        looked_at.push(holds);
        if decided {
            return Explanation {
                decision: strictest(&possible, facts.past),
                rules: looked_at,
                unknown_grace: grace.err(),
            };
        }
    }
    possible.push(Decision::LAST);
    Explanation { decision: strictest(&possible, facts.past), rules: looked_at, unknown_grace: None }
}

fn strictest(possible: &[Decision], past: u32) -> Decision {
    possible.iter().copied().reduce(|one, other| one.stricter(other, past)).unwrap_or(Decision::LAST)
}

/// The grace of a rule that is not over yet; an error where that cannot be known.
fn grace_now(rule: &Rule, facts: &Facts<'_>) -> Result<Option<Grace<WallTime>>, &'static str> {
    let Some(grace) = rule.grace else { return Ok(None) };
    let Some(until) = grace.until else { return Ok(Some(Grace { until: None, logins: grace.logins })) };
    let time = facts.time.ok_or("enroll_by: the clock went back")?;
    let until = match until {
        Until::Moment(end) => end,
        Until::Local(end) => {
            let offset = (facts.offset)(&rule.times.zone, WallTime(end));
            let east = i64::from(offset.ok_or("enroll_by: the time zone is not known here")?);
            WallTime(end.saturating_add_signed(east.saturating_mul(-1000)))
        }
    };
    Ok((time < until).then_some(Grace { until: Some(until), logins: grace.logins }))
}

/// A condition that surely does not hold settles the rule, whatever else is unknown.
fn holds(rule: &Rule, facts: &Facts<'_>) -> Holds {
    let conditions: [&dyn Fn() -> Holds; 5] = [
        &|| listed("services", rule.services.as_deref(), &[facts.service]),
        &|| listed("users", rule.users.as_deref(), facts.user.map(UserName::as_str).as_slice()),
        &|| from(rule, facts),
        &|| at_time(&rule.times, facts),
        &|| in_group(rule, facts),
    ];
    let mut whole = Holds::Yes;
    for condition in conditions {
        match condition() {
            Holds::Yes => {}
            Holds::No(why) => return Holds::No(why),
            Holds::Unknown(what) => whole = Holds::Unknown(what),
        }
    }
    whole
}

fn listed(what: &str, list: Option<&[String]>, mine: &[&str]) -> Holds {
    let Some(list) = list else { return Holds::Yes };
    if list.iter().any(|item| mine.contains(&item.as_str())) {
        return Holds::Yes;
    }
    let mine = if mine.is_empty() { "nobody".to_owned() } else { mine.join(", ") };
    Holds::No(format!("{what} does not name {mine}"))
}

fn in_group(rule: &Rule, facts: &Facts<'_>) -> Holds {
    if rule.groups.is_none() {
        return Holds::Yes;
    }
    if facts.user.is_none() {
        return Holds::No("groups: there is no such user".to_owned());
    }
    let Ok(groups) = (facts.groups)() else { return Holds::Unknown("groups: the name service failed".to_owned()) };
    let mine: Vec<_> = groups.iter().map(String::as_str).collect();
    match listed("groups", rule.groups.as_deref(), &mine) {
        Holds::No(why) => unless_missing(rule, facts, why),
        other => other,
    }
}

/// A group that is not there now may be one of a name service that is not there now.
fn unless_missing(rule: &Rule, facts: &Facts<'_>, why: String) -> Holds {
    let is_missing = |name: &&String| (facts.has_group)(name) != Ok(true);
    match rule.groups.iter().flatten().find(is_missing) {
        Some(name) => Holds::Unknown(format!("groups: there is no group {name}")),
        None => Holds::No(why),
    }
}

fn from(rule: &Rule, facts: &Facts<'_>) -> Holds {
    let Some(origins) = &rule.from else { return Holds::Yes };
    let each: Vec<_> = origins.iter().map(|origin| origin.holds(&facts.source)).collect();
    if each.contains(&Some(true)) {
        return Holds::Yes;
    }
    if each.contains(&None) {
        return Holds::Unknown("from: the source is a host name, not an address".to_owned());
    }
    Holds::No(format!("from does not hold {}", facts.source))
}

fn at_time(times: &Times, facts: &Facts<'_>) -> Holds {
    if times.hours.is_none() && times.days.is_none() && times.until.is_none() {
        return Holds::Yes;
    }
    let Some(time) = facts.time else { return Holds::Unknown("the clock went back".to_owned()) };
    if let Some(Until::Moment(end)) = times.until
        && time >= end
    {
        return Holds::No(format!("until {end} is over"));
    }
    let needs_zone = times.hours.is_some() || times.days.is_some() || matches!(times.until, Some(Until::Local(_)));
    if !needs_zone {
        return Holds::Yes;
    }
    match (facts.offset)(&times.zone, time) {
        Some(offset) => at_local(times, time.0.saturating_add_signed(i64::from(offset).saturating_mul(1000))),
        None => Holds::Unknown("the time zone is not known here".to_owned()),
    }
}

/// `local` is milliseconds since 1970 as if the zone were UTC.
fn at_local(times: &Times, local: u64) -> Holds {
    if let Some(Until::Local(end)) = times.until
        && local >= end
    {
        return Holds::No(format!("until {} is over", WallTime(end)));
    }
    let minute = u16::try_from(local % DAY / 60_000).unwrap_or(0);
    let (within, began_yesterday) = match times.hours {
        None => (true, false),
        Some((from, to)) if from < to => ((from..to).contains(&minute), false),
        Some((from, to)) => (minute >= from || minute < to, minute < to),
    };
    if !within {
        return Holds::No("hours do not hold now".to_owned());
    }
    // 1970-01-01 was a Thursday; Monday is day 0.
    let days = (local / DAY).saturating_add(3).saturating_sub(u64::from(began_yesterday));
    let day = usize::try_from(days % 7).unwrap_or(0);
    match times.days {
        Some(week) if week.get(day) != Some(&true) => Holds::No("days do not hold today".to_owned()),
        _ => Holds::Yes,
    }
}

#[cfg(test)]
mod tests;
