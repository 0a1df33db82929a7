//! Events, one after the other -> what is unusual, and which alerts are raised. Pure: what is to be done stands in the state, which
//! is stored before anything is done, so that a restart neither loses an alert nor raises it twice.

use std::collections::{BTreeMap, VecDeque};

use data_encoding::HEXLOWER;
use qrtotp_core::events::Kind;
use qrtotp_core::policy::alerts::{Alert, Counted, Deed, Per};
use qrtotp_core::words::WallTime;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::baseline::{Baselines, Unusual};
use crate::follow::Position;
use crate::line::Line;

/// Users, sources and so on that an alert counts at the same time; the one that was silent longest goes.
const KEYS: usize = 10_000;

/// Everything that outlives a restart.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct State {
    /// How far the events were read.
    pub position: Position,
    baselines: Baselines,
    windows: BTreeMap<String, BTreeMap<String, Window>>,
    /// What is still to be done.
    pub pending: Vec<Pending>,
}

/// What one alert has counted for one user, source, service or host.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
struct Window {
    /// When, and what: values are told apart where different ones are counted.
    hits: VecDeque<(u64, String)>,
    /// Until when it is not raised again.
    quiet_until: u64,
}

/// Something to do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pending {
    /// Sixteen hexadecimal digits that follow from the alert and the event that raised it: the same after a restart.
    pub id: String,
    /// Why.
    pub what: Raised,
    /// What is left to do.
    pub deeds: Vec<Task>,
    /// How often that was tried in vain.
    pub tries: u32,
    /// When the event was that raised it, in milliseconds since 1970.
    pub time: u64,
    /// Its id.
    pub event: String,
    /// Whose event.
    pub user: Option<String>,
    /// From where.
    pub source: String,
    /// From which country, if that is known.
    pub country: Option<String>,
    /// Through which PAM service.
    pub service: String,
    /// On which machine.
    pub host: String,
}

/// Why something is to be done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Raised {
    /// A new source.
    NewSource,
    /// A new country.
    NewCountry,
    /// An unusual hour, UTC.
    UnusualHour(u8),
    /// An alert.
    Alert {
        /// Its name.
        name: String,
        /// `user`, `source`, `service` or `host`.
        per: String,
        /// Which one.
        key: String,
        /// How many were counted.
        count: usize,
    },
}

/// One thing to do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Write an event.
    Record,
    /// Run a program with arguments.
    Run(Vec<String>),
    /// Ask two codes until then, in milliseconds since 1970.
    StepUp(u64),
    /// Disable every device.
    Disable,
}

impl Raised {
    /// The kind of the event that tells of it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NewSource => Kind::NewSource,
            Self::NewCountry => Kind::NewCountry,
            Self::UnusualHour(_) => Kind::UnusualHour,
            Self::Alert { .. } => Kind::Alert,
        }
    }
}

impl State {
    /// Learns what is usual from an event of before, and raises nothing.
    pub fn learn(&mut self, line: &Line, country: Option<&str>) {
        self.baselines.take(line, country);
    }

    /// Takes in a new event. `is_member` says whether a user is in one of these groups.
    pub fn take(
        &mut self,
        line: &Line,
        country: Option<&str>,
        alerts: &[Alert],
        is_member: &dyn Fn(&str, &[String]) -> bool,
    ) {
        let Some(time) = line.moment().filter(|_| line.is_login()) else { return };
        let unusual = self.baselines.take(line, country);
        for one in &unusual {
            let what = match one {
                Unusual::Source => Raised::NewSource,
                Unusual::Country(_) => Raised::NewCountry,
                Unusual::Hour(hour) => Raised::UnusualHour(*hour),
            };
            let name = what.kind().word();
            self.pending.push(Pending::new(name, "", what, vec![Task::Record], line, time, country));
        }
        for alert in alerts.iter().filter(|alert| concerns(alert, line, is_member)) {
            let (Some(key), Some(value)) = (key(alert.when.per, line), value(alert, line, country, &unusual)) else {
                continue;
            };
            let windows = self.windows.entry(alert.name.clone()).or_default();
            make_room(windows, &key);
            if let Some(count) = windows.entry(key.clone()).or_default().hit(alert, time, value) {
                let per = alert.when.per.word().to_owned();
                let what = Raised::Alert { name: alert.name.clone(), per, key: key.clone(), count };
                let tasks = alert.deeds.iter().map(|deed| task(alert, *deed, time)).collect();
                self.pending.push(Pending::new(&alert.name, &key, what, tasks, line, time, country));
            }
        }
    }

    /// Forgets what alerts have counted that are no longer in the policy.
    pub fn keep_only(&mut self, alerts: &[Alert]) {
        self.windows.retain(|name, _| alerts.iter().any(|alert| alert.name == *name));
    }
}

fn task(alert: &Alert, deed: Deed, time: WallTime) -> Task {
    match deed {
        Deed::Log => Task::Record,
        Deed::Exec => Task::Run(alert.exec.clone()),
        Deed::StepUp => Task::StepUp(time.0.saturating_add(alert.step_up)),
        Deed::Disable => Task::Disable,
    }
}

impl Pending {
    fn new(
        name: &str,
        key: &str,
        what: Raised,
        deeds: Vec<Task>,
        line: &Line,
        time: WallTime,
        country: Option<&str>,
    ) -> Self {
        let mut hash = Sha256::new();
        for part in [name, key, &line.host, &line.id, &line.time] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let id = hash.finalize().iter().take(8).copied().collect::<Vec<_>>();
        Self {
            id: HEXLOWER.encode(&id),
            what,
            deeds,
            tries: 0,
            time: time.0,
            event: line.id.clone(),
            user: line.user.clone(),
            source: line.source.clone(),
            country: country.map(str::to_owned),
            service: line.service.clone(),
            host: line.host.clone(),
        }
    }
}

impl Window {
    /// Counts one; gives how many there are if the alert is raised by it.
    fn hit(&mut self, alert: &Alert, time: WallTime, value: String) -> Option<usize> {
        let least = usize::try_from(alert.when.least).unwrap_or(usize::MAX);
        if !value.is_empty() {
            self.hits.retain(|(_, other)| *other != value);
        }
        self.hits.push_back((time.0, value));
        let newest = self.hits.iter().map(|(time, _)| *time).max().unwrap_or(time.0);
        let since = newest.saturating_sub(alert.when.within);
        self.hits.retain(|(time, _)| *time >= since);
        while self.hits.len() > least {
            self.hits.pop_front();
        }
        let count = self.hits.len();
        // What is quiet for longer than it may be was so before the clock went back.
        let is_quiet = time.0 < self.quiet_until && self.quiet_until <= time.0.saturating_add(alert.quiet);
        if count < least || is_quiet {
            return None;
        }
        self.hits.clear();
        self.quiet_until = time.0.saturating_add(alert.quiet);
        Some(count)
    }

    fn latest(&self) -> u64 {
        self.hits.iter().map(|(time, _)| *time).max().unwrap_or(self.quiet_until)
    }
}

fn make_room(windows: &mut BTreeMap<String, Window>, key: &str) {
    if windows.len() >= KEYS && !windows.contains_key(key) {
        let oldest = windows.iter().min_by_key(|(_, window)| window.latest()).map(|(key, _)| key.clone());
        oldest.map(|oldest| windows.remove(&oldest));
    }
}

fn concerns(alert: &Alert, line: &Line, is_member: &dyn Fn(&str, &[String]) -> bool) -> bool {
    let user = line.user.as_deref();
    let is_user = |users: &Vec<String>| user.is_some_and(|user| users.iter().any(|wanted| wanted == user));
    alert.users.as_ref().is_none_or(is_user)
        && alert.services.as_ref().is_none_or(|services| services.contains(&line.service))
        && alert.groups.as_ref().is_none_or(|groups| user.is_some_and(|user| is_member(user, groups)))
}

fn key(per: Per, line: &Line) -> Option<String> {
    match per {
        Per::User => line.user.clone(),
        Per::Source => Some(line.source.clone()),
        Per::Service => Some(line.service.clone()),
        Per::Host => Some(line.host.clone()),
    }
}

/// What an alert counts of an event: nothing, one (an empty text), or a value of which different ones are counted.
fn value(alert: &Alert, line: &Line, country: Option<&str>, unusual: &[Unusual]) -> Option<String> {
    let reason = line.reason.as_str();
    let is_refused = matches!(line.result.as_str(), "failure" | "error");
    let is_accepted = line.result == "success";
    let one = |holds: bool| holds.then(String::new);
    match alert.when.counted {
        Counted::Failures => one(is_refused),
        Counted::Logins => one(is_accepted),
        Counted::Replays => one(reason == "replayed"),
        Counted::Exhausted => {
            let is_empty = line.result == "failure" && line.budget_left == Some(0);
            one(is_empty || matches!(reason, "second_code" | "locked" | "disabled"))
        }
        Counted::Flooded => one(reason == "flooded"),
        Counted::RefusedTickets => one(reason == "ticket_refused"),
        Counted::RecoveryCodes => one(reason == "recovery"),
        Counted::NewSources => one(unusual.contains(&Unusual::Source)),
        Counted::NewCountries => one(unusual.iter().any(|one| matches!(one, Unusual::Country(_)))),
        Counted::UnusualHours => one(unusual.iter().any(|one| matches!(one, Unusual::Hour(_)))),
        Counted::Sources => is_accepted.then(|| line.source.clone()),
        Counted::Countries => country.filter(|_| is_accepted).map(str::to_owned),
        Counted::Users => line.user.clone().filter(|_| is_refused),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use qrtotp_core::policy::Settings;

    fn alerts(text: &str) -> Vec<Alert> {
        Settings::parse(text).unwrap().alerts
    }

    fn alert(when: &str, more: &str) -> Vec<Alert> {
        alerts(&format!("[[alert]]\nname = \"a\"\nwhen = \"{when}\"\n{more}\ndo = [\"log\"]\n"))
    }

    fn login(second: u64, user: &str, source: &str, result: &str, reason: &str) -> Line {
        Line {
            time: WallTime(1_795_000_000_000 + second * 1000).to_string(),
            id: format!("{second:016x}"),
            host: "h1".to_owned(),
            event: "login".to_owned(),
            service: "sshd".to_owned(),
            user: Some(user.to_owned()),
            source: source.to_owned(),
            result: result.to_owned(),
            reason: reason.to_owned(),
            ..Line::default()
        }
    }

    fn wrong(second: u64, user: &str, source: &str) -> Line {
        login(second, user, source, "failure", "wrong")
    }

    /// Which keys were raised, in order.
    fn raised(lines: &[Line], alerts: &[Alert]) -> Vec<String> {
        let mut state = State::default();
        lines.iter().for_each(|line| state.take(line, country(line), alerts, &|user, _| user == "alice"));
        let key = |pending: &Pending| match &pending.what {
            Raised::Alert { key, .. } => Some(key.clone()),
            _ => None,
        };
        state.pending.iter().filter_map(key).collect()
    }

    fn country(line: &Line) -> Option<&'static str> {
        match line.source.as_str() {
            "192.0.2.7" => Some("DE"),
            "198.51.100.1" => Some("FR"),
            _ => None,
        }
    }

    #[test]
    fn so_many_in_a_time_raise_an_alert_once_until_it_may_be_raised_again() {
        let alerts = alert("failures >= 3 in 60s per source", "");
        let seconds =
            |seconds: &[u64]| seconds.iter().map(|second| wrong(*second, "x", "192.0.2.7")).collect::<Vec<_>>();
        assert_eq!(raised(&seconds(&[0, 10]), &alerts).len(), 0);
        assert_eq!(raised(&seconds(&[0, 10, 61]), &alerts).len(), 0, "the first one is too old");
        assert_eq!(raised(&seconds(&[0, 10, 60]), &alerts), ["192.0.2.7"]);
        assert_eq!(raised(&seconds(&[0, 1, 2, 3, 4, 5, 6, 7, 8]), &alerts).len(), 1, "quiet");
        assert_eq!(raised(&seconds(&[0, 1, 2, 50, 55, 62]), &alerts).len(), 2, "the time is over");
        let others = [wrong(0, "x", "192.0.2.7"), wrong(1, "x", "192.0.2.8"), wrong(2, "x", "192.0.2.9")];
        assert_eq!(raised(&others, &alerts).len(), 0, "of different sources");
    }

    #[test]
    fn one_user_from_two_countries_in_an_hour_raises_an_alert() {
        let alerts = alert("countries >= 2 in 1h per user", "");
        let from = |second: u64, source: &str| login(second, "alice", source, "success", "code");
        assert_eq!(raised(&[from(0, "192.0.2.7"), from(9, "192.0.2.7"), from(18, "203.0.113.1")], &alerts).len(), 0);
        assert_eq!(raised(&[from(0, "192.0.2.7"), from(3599, "198.51.100.1")], &alerts), ["alice"]);
        assert_eq!(raised(&[from(0, "192.0.2.7"), from(3601, "198.51.100.1")], &alerts).len(), 0);
        let refused = login(5, "alice", "198.51.100.1", "failure", "wrong");
        assert_eq!(raised(&[from(0, "192.0.2.7"), refused], &alerts).len(), 0, "who is refused is nowhere");
    }

    #[test]
    fn a_new_source_of_a_privileged_group_raises_an_alert() {
        let alerts = alert("new_sources >= 1 in 1h per user", "groups = [\"wheel\"]");
        let story = |user: &str| {
            let usual = (0..5).map(|second| login(second, user, "192.0.2.7", "success", "code"));
            usual.chain([login(9, user, "203.0.113.1", "success", "code")]).collect::<Vec<_>>()
        };
        assert_eq!(raised(&story("alice"), &alerts), ["alice"]);
        assert_eq!(raised(&story("bob"), &alerts).len(), 0, "not in the group");
    }

    #[test]
    fn many_users_from_one_source_and_an_empty_budget_are_counted() {
        let users = alert("users >= 3 in 1h per source", "");
        let spray: Vec<_> =
            ["a", "b", "b", "c"].iter().enumerate().map(|(n, user)| wrong(n as u64, user, "x")).collect();
        assert_eq!(raised(&spray, &users).len(), 1);
        assert_eq!(raised(&spray[..3], &users).len(), 0);
        let exhausted = alert("exhausted >= 1 in 1h per user", "services = [\"sshd\"]");
        let empty = Line { budget_left: Some(0), ..wrong(0, "alice", "x") };
        assert_eq!(raised(std::slice::from_ref(&empty), &exhausted), ["alice"]);
        assert_eq!(raised(&[Line { service: "su".to_owned(), ..empty }], &exhausted).len(), 0);
    }

    fn any_lines() -> impl Strategy<Value = Vec<Line>> {
        let one = (0_u64..30, 0_u8..3, 0_u8..2, any::<bool>());
        proptest::collection::vec(one, 1..60).prop_map(|steps| {
            let mut second = 0;
            let line = |(number, (wait, user, source, good)): (usize, (u64, u8, u8, bool))| {
                second += wait;
                let (result, reason) = if good { ("success", "code") } else { ("failure", "wrong") };
                let line = login(second, &format!("u{user}"), &format!("192.0.{source}.1"), result, reason);
                Line { id: format!("{number:016x}"), ..line }
            };
            steps.into_iter().enumerate().map(line).collect()
        })
    }

    proptest! {
        #[test]
        fn a_restart_at_any_place_raises_the_same_alerts_with_the_same_ids(lines in any_lines(), cut in any::<prop::sample::Index>()) {
            let alerts = [
                alert("failures >= 2 in 60s per user", ""),
                alerts("[[alert]]\nname = \"b\"\nwhen = \"users >= 2 in 60s per source\"\ndo = [\"log\"]\nquiet = \"5s\"\n"),
            ].concat();
            let mut whole = State::default();
            lines.iter().for_each(|line| whole.take(line, None, &alerts, &|_, _| false));
            let mut state = State::default();
            let cut = cut.index(lines.len());
            for (number, line) in lines.iter().enumerate() {
                if number == cut {
                    state = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
                }
                state.take(line, None, &alerts, &|_, _| false);
            }
            let mut ids: Vec<_> = whole.pending.iter().map(|pending| &pending.id).collect();
            prop_assert_eq!(&state.pending, &whole.pending);
            ids.sort();
            ids.dedup();
            prop_assert_eq!(ids.len(), whole.pending.len());
        }
    }
}
