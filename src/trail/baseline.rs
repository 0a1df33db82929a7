//! What is usual for a user: a fold over accepted logins, which forgets with time.
//!
//! Everything has a weight, which halves in 30 days and goes up by one with a login. What weighs less than a twentieth is forgotten: what was
//! seen once after some 130 days, what is seen daily after a year.

use std::collections::BTreeMap;
use std::net::IpAddr;

use qrtotp_core::calendar::DAY;
use qrtotp_core::words::{Source, WallTime};
use serde::{Deserialize, Serialize};

use crate::filter::source;
use crate::line::Line;

/// Milliseconds in which a weight halves.
const HALF: u64 = 30 * DAY;
/// What weighs less is forgotten.
const LEAST: f64 = 0.05;
/// Users, and values of one kind a user, that are kept; the lightest go.
const USERS: usize = 100_000;
const VALUES: usize = 64;
/// How much has to be known of a user before a source can be new.
const ENOUGH_FOR_SOURCES: f64 = 2.5;
/// And before an hour can be unusual.
const ENOUGH_FOR_HOURS: f64 = 20.0;
/// The part of all logins that an hour and the two beside it must not reach to be unusual.
const RARE: f64 = 0.01;

/// What is not usual about a login.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unusual {
    /// The source is new, and so is its network (/24, /64).
    Source,
    /// The country is new; holds it.
    Country(String),
    /// The user never logs in around this hour (UTC); holds it.
    Hour(u8),
}

/// A weight, and when it was that.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
struct Weight {
    weight: f64,
    at: u64,
}

impl Weight {
    /// A clock that goes back makes nothing heavier.
    fn now(self, time: u64) -> f64 {
        let halves = time.saturating_sub(self.at) as f64 / HALF as f64;
        self.weight * 0.5_f64.powf(halves)
    }

    fn add(&mut self, time: u64) {
        *self = Self { weight: self.now(time) + 1.0, at: self.at.max(time) };
    }
}

/// Values of one kind.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
struct Values(BTreeMap<String, Weight>);

impl Values {
    fn knows(&self, value: &str, time: u64) -> bool {
        self.0.get(value).is_some_and(|weight| weight.now(time) >= LEAST)
    }

    fn is_empty(&self, time: u64) -> bool {
        !self.0.values().any(|weight| weight.now(time) >= LEAST)
    }

    fn add(&mut self, value: String, time: u64) {
        self.0.retain(|_, weight| weight.now(time) >= LEAST);
        if !self.0.contains_key(&value) && self.0.len() >= VALUES {
            let by_weight =
                |one: &&String, other: &&String| self.weight(one, time).total_cmp(&self.weight(other, time));
            if let Some(lightest) = self.0.keys().min_by(by_weight).cloned() {
                self.0.remove(&lightest);
            }
        }
        self.0.entry(value).or_default().add(time);
    }

    fn weight(&self, value: &str, time: u64) -> f64 {
        self.0.get(value).map_or(0.0, |weight| weight.now(time))
    }
}

/// What is usual for one user.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
struct Baseline {
    logins: Weight,
    sources: Values,
    networks: Values,
    services: Values,
    countries: Values,
    hours: Values,
}

/// What is usual for everybody.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Baselines(BTreeMap<String, Baseline>);

impl Baselines {
    /// Says what is not usual about a login, and learns from it, if it was accepted. Other events teach nothing.
    pub fn take(&mut self, line: &Line, country: Option<&str>) -> Vec<Unusual> {
        let (Some(user), Some(time)) = (&line.user, line.moment()) else { return Vec::new() };
        if !line.is_login() || line.result != "success" {
            return Vec::new();
        }
        if !self.0.contains_key(user) && self.0.len() >= USERS {
            let oldest = self.0.iter().min_by_key(|(_, baseline)| baseline.logins.at).map(|(user, _)| user.clone());
            oldest.map(|oldest| self.0.remove(&oldest));
        }
        let baseline = self.0.entry(user.clone()).or_default();
        let unusual = baseline.judge(line, time, country);
        baseline.learn(line, time, country);
        unusual
    }
}

impl Baseline {
    fn judge(&self, line: &Line, time: WallTime, country: Option<&str>) -> Vec<Unusual> {
        let now = time.0;
        let known = self.logins.now(now);
        let mut unusual = Vec::new();
        if let Some(Source::Address(address)) = source(line) {
            let is_known = self.sources.knows(&line.source, now) || self.networks.knows(&network(address), now);
            if known >= ENOUGH_FOR_SOURCES && !is_known {
                unusual.push(Unusual::Source);
            }
        }
        if let Some(country) = country
            && !self.countries.is_empty(now)
            && !self.countries.knows(country, now)
        {
            unusual.push(Unusual::Country(country.to_owned()));
        }
        let hour = hour(time);
        if known >= ENOUGH_FOR_HOURS {
            let around = [hour.saturating_add(23), hour, hour.saturating_add(1)];
            let weight: f64 = around.iter().map(|hour| self.hours.weight(&(hour % 24).to_string(), now)).sum();
            if weight < known * RARE {
                unusual.push(Unusual::Hour(hour));
            }
        }
        unusual
    }

    fn learn(&mut self, line: &Line, time: WallTime, country: Option<&str>) {
        let now = time.0;
        self.logins.add(now);
        self.sources.add(line.source.clone(), now);
        if let Some(Source::Address(address)) = source(line) {
            self.networks.add(network(address), now);
        }
        self.services.add(line.service.clone(), now);
        if let Some(country) = country {
            self.countries.add(country.to_owned(), now);
        }
        self.hours.add(hour(time).to_string(), now);
    }
}

/// The hour of the day, UTC.
fn hour(time: WallTime) -> u8 {
    u8::try_from(time.0 / 3_600_000 % 24).unwrap_or(0)
}

fn network(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_795_000_000_000 / DAY * DAY;

    fn login(day: u64, hour: u64, source: &str) -> Line {
        Line {
            time: WallTime(START + day * DAY + hour * 3_600_000).to_string(),
            event: "login".to_owned(),
            result: "success".to_owned(),
            service: "sshd".to_owned(),
            user: Some("alice".to_owned()),
            source: source.to_owned(),
            ..Line::default()
        }
    }

    fn usual() -> Baselines {
        let mut baselines = Baselines::default();
        for day in 0..30 {
            assert_eq!(baselines.take(&login(day, 9, "192.0.2.7"), Some("DE")), [], "day {day}");
        }
        baselines
    }

    #[test]
    fn what_was_seen_before_is_usual_and_what_was_not_is_told_once() {
        let mut baselines = usual();
        assert_eq!(
            baselines.take(&login(30, 9, "198.51.100.1"), Some("FR")),
            [Unusual::Source, Unusual::Country("FR".to_owned())]
        );
        assert_eq!(baselines.take(&login(30, 9, "198.51.100.1"), Some("FR")), []);
        assert_eq!(baselines.take(&login(30, 9, "198.51.100.99"), Some("DE")), [], "of a network that is known");
        assert_eq!(baselines.take(&login(30, 10, "192.0.2.7"), None), [], "the hour beside a usual one");
        assert_eq!(baselines.take(&login(30, 3, "192.0.2.7"), None), [Unusual::Hour(3)]);
        assert_eq!(baselines.take(&login(30, 9, "local:1000"), None), [], "this machine is no new source");
    }

    #[test]
    fn nothing_is_new_for_somebody_who_is_new() {
        let mut baselines = Baselines::default();
        for source in ["192.0.2.7", "198.51.100.1", "203.0.113.1"] {
            assert_eq!(baselines.take(&login(0, 9, source), None), [], "{source}");
        }
        assert_eq!(baselines.take(&login(0, 9, "2001:db8::1"), None), [Unusual::Source]);
    }

    #[test]
    fn a_refused_login_teaches_nothing() {
        let mut baselines = usual();
        let refused = Line { result: "failure".to_owned(), ..login(30, 9, "198.51.100.1") };
        assert_eq!(baselines.take(&refused, Some("FR")), []);
        assert_eq!(baselines.take(&login(30, 9, "198.51.100.1"), None), [Unusual::Source]);
    }

    #[test]
    fn what_was_not_seen_for_long_is_forgotten() {
        let mut baselines = usual();
        assert_eq!(baselines.take(&login(31, 9, "198.51.100.1"), None), [Unusual::Source]);
        for day in 32..200 {
            assert_eq!(baselines.take(&login(day, 9, "192.0.2.7"), None), [], "day {day}");
        }
        assert_eq!(baselines.take(&login(200, 9, "198.51.100.1"), None), [Unusual::Source]);
        assert_eq!(baselines.take(&login(3, 9, "192.0.2.7"), None), [], "a clock that went back");
    }

    #[test]
    fn what_is_kept_of_a_user_is_bounded() {
        let mut baselines = usual();
        for number in 0..500 {
            baselines.take(&login(30, 9, &format!("10.0.{}.{}", number / 250, number % 250)), None);
        }
        let kept = baselines.0.get("alice").unwrap();
        assert_eq!(kept.sources.0.len(), VALUES);
        assert!(kept.sources.knows("192.0.2.7", START + 30 * DAY), "what weighs most stays");
    }
}
