//! Logins -> numbers by one of their sides.

use std::collections::BTreeMap;

use crate::geo::Geo;
use crate::line::Line;

/// Different values that are kept; what comes beyond them is counted together.
const MOST: usize = 100_000;

/// What logins are told apart by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    /// Who.
    User,
    /// Through which PAM service.
    Service,
    /// From where.
    Source,
    /// From which country, by `[geo] database`.
    Country,
    /// With which device.
    Device,
    /// In which hour of the day, UTC.
    Hour,
    /// On which day, UTC.
    Day,
    /// Why.
    Reason,
    /// On which host.
    Host,
}

impl By {
    /// The value of an event; `None` where it has none.
    pub fn of(self, line: &Line, geo: &Geo) -> Option<String> {
        match self {
            Self::User => line.user.clone(),
            Self::Service => Some(line.service.clone()),
            Self::Source => Some(line.origin()),
            Self::Country => geo.of(line),
            Self::Device => {
                let device = line.device.as_ref()?;
                let (user, label) = (line.user.as_deref().unwrap_or(""), line.label.as_deref().unwrap_or(""));
                Some(format!("{user}: {label} ({device})"))
            }
            Self::Hour => line.time.get(11..13).map(|hour| format!("{hour}:00")),
            Self::Day => line.time.get(..10).map(str::to_owned),
            Self::Reason => Some(line.reason.clone()),
            Self::Host => Some(line.host.clone()),
        }
    }
}

/// How logins ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Count {
    /// Accepted.
    pub success: u64,
    /// Refused.
    pub failure: u64,
    /// Refused because the system could not decide.
    pub error: u64,
    /// Left to other modules.
    pub skipped: u64,
}

impl Count {
    /// Takes in one more.
    pub fn add(&mut self, line: &Line) {
        let place = match line.result.as_str() {
            "success" => &mut self.success,
            "failure" => &mut self.failure,
            "skipped" => &mut self.skipped,
            _ => &mut self.error,
        };
        *place = place.saturating_add(1);
    }

    /// All of them.
    pub fn all(&self) -> u64 {
        self.refused().saturating_add(self.success).saturating_add(self.skipped)
    }

    /// Those that were refused.
    pub fn refused(&self) -> u64 {
        self.failure.saturating_add(self.error)
    }
}

/// Numbers of logins by one side.
#[derive(Clone, Debug)]
pub struct Tally {
    by: By,
    counts: BTreeMap<String, Count>,
    /// Logins that have no such value.
    pub without: Count,
    /// Logins of values beyond the first hundred thousand.
    pub beyond: Count,
    /// All logins.
    pub total: Count,
}

impl Tally {
    /// Nothing yet.
    pub fn new(by: By) -> Self {
        let none = Count::default();
        Self { by, counts: BTreeMap::new(), without: none, beyond: none, total: none }
    }

    /// Takes in an event, if it is a login.
    pub fn add(&mut self, line: &Line, geo: &Geo) {
        if !line.is_login() {
            return;
        }
        self.total.add(line);
        let Some(value) = self.by.of(line, geo) else { return self.without.add(line) };
        if let Some(count) = self.counts.get_mut(&value) {
            count.add(line);
        } else if self.counts.len() < MOST {
            self.counts.entry(value).or_default().add(line);
        } else {
            self.beyond.add(line);
        }
    }

    /// The values with their numbers: hours and days in their order, all of the day's hours; others by number.
    pub fn rows(&self) -> Vec<(String, Count)> {
        let mut rows: Vec<_> = self.counts.iter().map(|(value, count)| (value.clone(), *count)).collect();
        match self.by {
            By::Hour => {
                let hours = (0..24).map(|hour| format!("{hour:02}:00"));
                hours.map(|hour| (hour.clone(), self.counts.get(&hour).copied().unwrap_or_default())).collect()
            }
            By::Day => rows,
            _ => {
                rows.sort_by_key(|(_, count)| std::cmp::Reverse(count.all()));
                rows
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(user: &str, hour: u8, result: &str) -> Line {
        Line {
            time: format!("2026-11-24T{hour:02}:30:00.000Z"),
            event: "login".to_owned(),
            user: Some(user.to_owned()),
            result: result.to_owned(),
            ..Line::default()
        }
    }

    fn tally(by: By, lines: &[Line]) -> Tally {
        let mut tally = Tally::new(by);
        lines.iter().for_each(|line| tally.add(line, &Geo::default()));
        tally
    }

    #[test]
    fn logins_are_counted_by_how_they_ended_the_most_first() {
        let lines = [
            login("alice", 9, "success"),
            login("bob", 9, "failure"),
            login("bob", 10, "error"),
            login("bob", 10, "skipped"),
            Line { event: "enroll".to_owned(), ..login("carol", 9, "success") },
            Line { user: None, ..login("", 9, "failure") },
        ];
        let by_user = tally(By::User, &lines);
        let bob = Count { success: 0, failure: 1, error: 1, skipped: 1 };
        let alice = Count { success: 1, ..Count::default() };
        assert_eq!(by_user.rows(), [("bob".to_owned(), bob), ("alice".to_owned(), alice)]);
        assert_eq!((by_user.total.all(), by_user.without.all(), by_user.total.refused()), (5, 1, 3));
    }

    #[test]
    fn a_day_has_all_its_hours() {
        let rows = tally(By::Hour, &[login("alice", 9, "success")]).rows();
        let busy: Vec<_> = rows.iter().filter(|(_, count)| count.all() > 0).map(|(hour, _)| hour.as_str()).collect();
        assert_eq!((rows.len(), busy), (24, vec!["09:00"]));
    }

    #[test]
    fn without_a_database_no_country_is_told() {
        let tally = tally(By::Country, &[Line { source: "192.0.2.7".to_owned(), ..login("alice", 9, "success") }]);
        assert_eq!((tally.rows().len(), tally.without.all()), (0, 1));
    }
}
