//! Which events somebody asks for.

use std::net::IpAddr;

use qrtotp_core::calendar::duration;
use qrtotp_core::events::Kind;
use qrtotp_core::policy::nearest;
use qrtotp_core::policy::rules::Origin;
use qrtotp_core::words::{Source, Uid, WallTime};

use crate::line::Line;

/// How an event can end.
pub const RESULTS: [&str; 4] = ["success", "failure", "error", "skipped"];

/// Conditions that all have to hold; of a list, one item. An empty list always holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Filter {
    /// From this time on.
    pub since: Option<WallTime>,
    /// Before this time.
    pub until: Option<WallTime>,
    /// Users by name.
    pub users: Vec<String>,
    /// PAM services.
    pub services: Vec<String>,
    /// Where from.
    pub origins: Vec<Origin>,
    /// Kinds of events.
    pub events: Vec<String>,
    /// How it ended, or the reason.
    pub results: Vec<String>,
}

impl Filter {
    /// Whether an event is asked for.
    pub fn holds(&self, line: &Line) -> bool {
        let holds = |wanted: &[String], found: &[&str]| {
            wanted.is_empty() || wanted.iter().any(|wanted| found.contains(&wanted.as_str()))
        };
        let (user, target) = (line.user.as_deref().unwrap_or(""), line.target.as_deref().unwrap_or(""));
        self.is_in_time(line)
            && holds(&self.users, &[user, target])
            && holds(&self.services, &[&line.service])
            && holds(&self.events, &[&line.event])
            && holds(&self.results, &[&line.result, &line.reason])
            && (self.origins.is_empty() || self.origins.iter().any(|origin| is_from(line, origin)))
    }

    fn is_in_time(&self, line: &Line) -> bool {
        if self.since.is_none() && self.until.is_none() {
            return true;
        }
        let Some(time) = line.moment() else { return false };
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time < until)
    }
}

fn is_from(line: &Line, origin: &Origin) -> bool {
    source(line).is_some_and(|source| origin.holds(&source) == Some(true))
}

/// Where an event came from; `None` for a host name, which may be anybody's.
pub fn source(line: &Line) -> Option<Source> {
    if let Some(uid) = line.source.strip_prefix("local:") {
        return uid.parse().ok().map(|uid| Source::Local(Uid(uid)));
    }
    line.source.parse::<IpAddr>().ok().map(|address| Source::Address(address.to_canonical()))
}

/// Reads an address, a network, or `local`.
///
/// # Errors
/// A sentence.
pub fn origin(text: &str) -> Result<Origin, String> {
    Origin::parse(text).ok_or_else(|| "must be an address, a network like 10.0.0.0/8, or local".to_owned())
}

/// Reads the kind of an event.
///
/// # Errors
/// A sentence with the nearest word.
pub fn event(text: &str) -> Result<String, String> {
    one_of(text, Kind::ALL.map(Kind::word).to_vec(), "no kind of event")
}

/// Reads how an event ended: a result, or a reason of the table in docs/FORMAT.md.
///
/// # Errors
/// A sentence with the nearest word.
pub fn result(text: &str) -> Result<String, String> {
    use qrtotp_core::verdict::Cause;
    let known = RESULTS.into_iter().chain(Cause::ALL.map(Cause::reason)).collect();
    one_of(text, known, "neither a result nor a reason")
}

fn one_of(text: &str, known: Vec<&str>, what: &str) -> Result<String, String> {
    if known.contains(&text) {
        return Ok(text.to_owned());
    }
    let near = nearest(text, known.iter().copied());
    let list = if near.is_empty() { format!("; known are {}", known.join(", ")) } else { near };
    Err(format!("{what}{list}"))
}

/// Reads a time: a date (its beginning, in UTC), a time with its zone, or how long ago, like `90m` or `7d`.
///
/// # Errors
/// A sentence.
pub fn time(text: &str, now: WallTime) -> Result<WallTime, String> {
    if let Some(ago) = duration(text) {
        return Ok(WallTime(now.0.saturating_sub(ago)));
    }
    let read = text.parse().or_else(|()| format!("{text}T00:00:00Z").parse());
    read.map_err(|()| {
        "must be a date like 2026-11-24, a time like 2026-11-24T18:00:00Z, or how long ago, like 90m or 7d".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        Line {
            time: "2026-11-24T09:30:00.000Z".to_owned(),
            event: "login".to_owned(),
            service: "sshd".to_owned(),
            user: Some("alice".to_owned()),
            source: "192.0.2.7".to_owned(),
            result: "failure".to_owned(),
            reason: "wrong".to_owned(),
            ..Line::default()
        }
    }

    #[test]
    fn every_condition_must_hold_and_of_a_list_one_item() {
        let now = "2026-11-24T10:00:00Z".parse().unwrap();
        let all = Filter {
            since: time("2026-11-24", now).ok(),
            until: time("10m", now).ok(),
            users: vec!["bob".to_owned(), "alice".to_owned()],
            services: vec!["sshd".to_owned()],
            origins: vec![origin("192.0.2.0/24").unwrap()],
            events: vec![event("login").unwrap()],
            results: vec![result("wrong").unwrap()],
        };
        assert!(all.holds(&line()) && Filter::default().holds(&line()));
        let others: [fn(&mut Line); 7] = [
            |line| line.time = "2026-11-23T23:59:59.999Z".to_owned(),
            |line| line.time = "2026-11-24T09:50:00.000Z".to_owned(),
            |line| line.user = None,
            |line| line.service = "su".to_owned(),
            |line| line.source = "192.0.3.7".to_owned(),
            |line| line.event = "enroll".to_owned(),
            |line| line.reason = "early".to_owned(),
        ];
        for change in others {
            let mut other = line();
            change(&mut other);
            assert!(!all.holds(&other), "{other:?}");
        }
    }

    #[test]
    fn a_local_source_is_local_and_a_host_name_is_from_nowhere() {
        let from = |text: &str, source: &str| {
            let line = Line { source: source.to_owned(), ..line() };
            Filter { origins: vec![origin(text).unwrap()], ..Filter::default() }.holds(&line)
        };
        assert!(from("local", "local:1000") && !from("local", "192.0.2.7") && from("2001:db8::/32", "2001:db8::1"));
        assert!(!from("0.0.0.0/0", "a host name") && !from("local", "a host name"));
    }

    #[test]
    fn what_is_not_known_is_refused_with_the_nearest_word() {
        assert_eq!(event("logn").unwrap_err(), "no kind of event; did you mean \"login\"?");
        assert_eq!(result("fail").unwrap_err().split(';').next(), Some("neither a result nor a reason"));
        assert!(origin("example.org").is_err());
        for wrong in ["", "yesterday", "2026-13-01", "7", "-1d", "2026-11-24T10:00:00"] {
            assert!(time(wrong, WallTime(0)).is_err(), "{wrong}");
        }
        assert_eq!(time("7d", WallTime(5)), Ok(WallTime(0)));
    }
}
