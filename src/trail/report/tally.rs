//! Events -> the numbers of a report. Memory is bounded, however many events and names there are.

use std::collections::{BTreeMap, VecDeque};

use qrtotp_core::calendar::DAY;
use qrtotp_core::words::WallTime;

use crate::line::Line;

/// Milliseconds of an hour.
pub const HOUR: u64 = 3_600_000;
/// Longest span that is shown hour by hour.
const SHORT: u64 = 3 * DAY;
/// Most bars of a chart over time.
const BARS: u64 = 120;
/// Different names that are counted one by one: what a guesser invents beyond that is counted together.
const NAMES: usize = 10_000;
/// Incidents that are kept, the latest ones.
const KEPT: usize = 20;
/// How long a name is shown at most, in characters.
const LONGEST: usize = 80;

/// Logins by how they ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Both {
    /// `success`
    pub good: u64,
    /// `failure`, `error`
    pub bad: u64,
}

impl Both {
    fn count(&mut self, is_good: bool) {
        let number = if is_good { &mut self.good } else { &mut self.bad };
        *number = number.saturating_add(1);
    }

    /// All of them.
    pub fn all(self) -> u64 {
        self.good.saturating_add(self.bad)
    }
}

/// Logins by a name.
#[derive(Clone, Debug, Default)]
pub struct Ranking {
    names: BTreeMap<String, Both>,
    /// Those of further names.
    pub beyond: Both,
}

impl Ranking {
    fn count(&mut self, name: &str, is_good: bool) {
        if let Some(both) = self.names.get_mut(name) {
            return both.count(is_good);
        }
        if self.names.len() < NAMES {
            self.names.entry(short(name)).or_default().count(is_good);
        } else {
            self.beyond.count(is_good);
        }
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The names with the most logins, the most first.
    pub fn sorted(&self) -> Vec<(&str, Both)> {
        let mut all: Vec<_> = self.names.iter().map(|(name, both)| (name.as_str(), *both)).collect();
        all.sort_by_key(|(_, both)| std::cmp::Reverse(both.all()));
        all
    }
}

/// A name as long as a page can bear.
fn short(name: &str) -> String {
    match name.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", name.get(..end).unwrap_or_default()),
        None => name.to_owned(),
    }
}

/// A login worth a line of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Incident {
    /// When.
    pub time: WallTime,
    /// Whose name was given; `None`: no such user.
    pub user: Option<String>,
    /// Through which service.
    pub service: String,
    /// Where from.
    pub source: String,
    /// Why it ended so.
    pub reason: String,
}

/// Incidents of a kind: how many, and the latest.
#[derive(Clone, Debug, Default)]
pub struct Incidents {
    /// All of them.
    pub count: u64,
    /// The latest, in the order of time.
    pub latest: VecDeque<Incident>,
}

impl Incidents {
    fn add(&mut self, line: &Line, time: WallTime) {
        self.count = self.count.saturating_add(1);
        if self.latest.len() >= KEPT {
            self.latest.pop_front();
        }
        self.latest.push_back(Incident {
            time,
            user: line.user.as_deref().map(short),
            service: short(&line.service),
            source: short(&line.origin()),
            reason: short(&line.reason),
        });
    }
}

/// Steps between codes and a host's clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offsets {
    /// The least.
    pub least: i64,
    /// The greatest.
    pub most: i64,
    /// Their sum.
    pub sum: i64,
    /// How many.
    pub count: u64,
    /// How many of them were not zero.
    pub off: u64,
}

impl Offsets {
    fn count(&mut self, offset: i64) {
        self.least = self.least.min(offset);
        self.most = self.most.max(offset);
        self.sum = self.sum.saturating_add(offset);
        self.count = self.count.saturating_add(1);
        self.off = self.off.saturating_add(u64::from(offset != 0));
    }

    /// The mean in steps.
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum as f64 / self.count as f64 }
    }
}

/// Tells where an event came from.
pub type Country<'a> = &'a dyn Fn(&Line) -> Option<String>;

/// A device: user id, and its own.
pub type DeviceKey = (u32, String);

/// Everything that is counted.
pub struct Tally<'a> {
    /// From this time on.
    pub since: WallTime,
    /// Before this one.
    pub until: WallTime,
    /// Milliseconds of a bar.
    pub width: u64,
    /// Logins over time, a bar each; the first begins at or before `since`.
    pub bars: Vec<Both>,
    /// Enrollments over time, of the same bars.
    pub enrolled: Vec<u64>,
    /// All logins.
    pub logins: Both,
    /// Logins that a rule skips.
    pub skipped: u64,
    /// All events in the time.
    pub events: u64,
    /// By hour of the day, UTC.
    pub hours: [Both; 24],
    /// By PAM service.
    pub services: Ranking,
    /// By source.
    pub sources: Ranking,
    /// By country; `None` without a database.
    pub countries: Option<Ranking>,
    /// By reason.
    pub reasons: Ranking,
    /// By user, where there is such a user.
    pub users: Ranking,
    /// Codes that were used before.
    pub replays: Incidents,
    /// Budgets that were used up.
    pub exhausted: Incidents,
    /// By host.
    pub offsets: BTreeMap<String, Offsets>,
    /// When each device logged in last, before `since` too.
    pub used: BTreeMap<DeviceKey, WallTime>,
    /// The time of the first event that was read.
    pub first: Option<WallTime>,
    country: Option<Country<'a>>,
}

impl<'a> Tally<'a> {
    /// Nothing yet. `country` is where an event came from; without it nothing is said of countries.
    pub fn new(since: WallTime, until: WallTime, country: Option<Country<'a>>) -> Self {
        let width = width(until.0.saturating_sub(since.0));
        let count = number(until, width).saturating_sub(number(since, width)).saturating_add(1);
        let count = usize::try_from(count).unwrap_or(0);
        Self {
            since,
            until,
            width,
            bars: vec![Both::default(); count],
            enrolled: vec![0; count],
            logins: Both::default(),
            skipped: 0,
            events: 0,
            hours: [Both::default(); 24],
            services: Ranking::default(),
            sources: Ranking::default(),
            countries: country.map(|_| Ranking::default()),
            reasons: Ranking::default(),
            users: Ranking::default(),
            replays: Incidents::default(),
            exhausted: Incidents::default(),
            offsets: BTreeMap::new(),
            used: BTreeMap::new(),
            first: None,
            country,
        }
    }

    /// When a bar begins.
    pub fn begin(&self, bar: usize) -> WallTime {
        let number = number(self.since, self.width).saturating_add(u64::try_from(bar).unwrap_or(0));
        WallTime(number.saturating_mul(self.width))
    }

    /// Takes an event in.
    pub fn take(&mut self, line: &Line) {
        let Some(time) = line.moment() else { return };
        self.first = Some(self.first.map_or(time, |first| first.min(time)));
        self.note_device(line, time);
        if time < self.since || time >= self.until {
            return;
        }
        self.events = self.events.saturating_add(1);
        match line.event.as_str() {
            "login" => self.take_login(line, time),
            "enroll" if line.reason.starts_with("enrolled") || line.reason.starts_with("replaced") => {
                if let Some(count) = self.bar_of(time).and_then(|bar| self.enrolled.get_mut(bar)) {
                    *count = count.saturating_add(1);
                }
            }
            _ => {}
        }
    }

    fn take_login(&mut self, line: &Line, time: WallTime) {
        if line.result == "skipped" {
            self.skipped = self.skipped.saturating_add(1);
            return;
        }
        let is_good = line.result == "success";
        self.logins.count(is_good);
        if let Some(both) = self.bar_of(time).and_then(|bar| self.bars.get_mut(bar)) {
            both.count(is_good);
        }
        let hour = usize::try_from((time.0 / HOUR) % 24).unwrap_or(0);
        if let Some(both) = self.hours.get_mut(hour) {
            both.count(is_good);
        }
        self.services.count(&line.service, is_good);
        self.sources.count(&line.origin(), is_good);
        self.reasons.count(&line.reason, is_good);
        if let Some(user) = &line.user {
            self.users.count(user, is_good);
        }
        if let (Some(countries), Some(country)) = (&mut self.countries, self.country) {
            countries.count(country(line).as_deref().unwrap_or("not known"), is_good);
        }
        self.note_incident(line, time);
        self.note_offset(line);
    }

    fn note_incident(&mut self, line: &Line, time: WallTime) {
        if line.reason == "replayed" {
            self.replays.add(line, time);
        }
        let is_empty = line.budget_left == Some(0) && line.result == "failure";
        if is_empty || ["second_code", "locked", "disabled"].contains(&line.reason.as_str()) {
            self.exhausted.add(line, time);
        }
    }

    fn note_offset(&mut self, line: &Line) {
        let Some(offset) = line.offset.filter(|_| line.result == "success") else { return };
        let host = short(&line.host);
        if self.offsets.len() < NAMES || self.offsets.contains_key(&host) {
            let none = Offsets { least: offset, most: offset, sum: 0, count: 0, off: 0 };
            self.offsets.entry(host).or_insert(none).count(offset);
        }
    }

    /// Only what was right is noted: there are as many as devices were ever bound, whatever a guesser does.
    fn note_device(&mut self, line: &Line, time: WallTime) {
        let (Some(uid), Some(device)) = (line.uid, &line.device) else { return };
        if line.is_login() && line.result == "success" {
            let used = self.used.entry((uid, device.clone())).or_default();
            *used = time.max(*used);
        }
    }

    fn bar_of(&self, time: WallTime) -> Option<usize> {
        usize::try_from(number(time, self.width).checked_sub(number(self.since, self.width))?).ok()
    }
}

/// In which bar of this width a time is, counted from 1970.
fn number(time: WallTime, width: u64) -> u64 {
    time.0.checked_div(width).unwrap_or(0)
}

/// An hour, a day, or as many days as make no more bars than a page bears.
fn width(span: u64) -> u64 {
    if span <= SHORT {
        return HOUR;
    }
    let days = span.div_ceil(DAY);
    days.div_ceil(BARS).saturating_mul(DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-24T00:00:00Z
    const TODAY: u64 = 1_795_478_400_000;

    fn login(time: u64, result: &str, reason: &str) -> Line {
        Line {
            time: WallTime(time).to_string(),
            event: "login".to_owned(),
            result: result.to_owned(),
            reason: reason.to_owned(),
            service: "sshd".to_owned(),
            source: "192.0.2.7".to_owned(),
            host: "h1".to_owned(),
            user: Some("alice".to_owned()),
            uid: Some(2001),
            ..Line::default()
        }
    }

    #[test]
    fn short_spans_have_hours_and_long_ones_days_and_never_too_many() {
        assert_eq!((width(DAY), width(SHORT), width(SHORT + 1)), (HOUR, HOUR, DAY));
        for days in [30, 120, 121, 400, 20_000] {
            let tally = Tally::new(WallTime(TODAY - days * DAY), WallTime(TODAY), None);
            assert!(tally.bars.len() <= 122, "{days} days: {} bars", tally.bars.len());
        }
    }

    #[test]
    fn a_login_is_counted_once_in_each_picture_and_only_in_its_time() {
        let mut tally = Tally::new(WallTime(TODAY - 10 * DAY), WallTime(TODAY + DAY), None);
        tally.take(&login(TODAY + 9 * HOUR, "success", "code"));
        tally.take(&login(TODAY + 9 * HOUR, "failure", "wrong"));
        tally.take(&login(TODAY + 9 * HOUR, "skipped", "skipped"));
        tally.take(&login(TODAY - 11 * DAY, "success", "code"));
        tally.take(&login(TODAY + DAY, "success", "code"));
        let once = Both { good: 1, bad: 1 };
        assert_eq!((tally.logins, tally.skipped, tally.events), (once, 1, 3));
        assert_eq!((tally.bars[10], tally.hours[9]), (once, once));
        assert_eq!(tally.begin(10), WallTime(TODAY));
        assert_eq!(tally.services.sorted(), [("sshd", once)]);
        assert_eq!((tally.reasons.len(), tally.users.len()), (2, 1));
        assert!(tally.countries.is_none());
    }

    #[test]
    fn names_beyond_the_limit_are_counted_together_and_long_ones_are_cut() {
        let mut ranking = Ranking::default();
        (0..NAMES + 5).for_each(|number| ranking.count(&format!("name {number}"), false));
        ranking.count("name 1", true);
        assert_eq!((ranking.len(), ranking.beyond), (NAMES, Both { good: 0, bad: 5 }));
        assert_eq!(ranking.sorted()[0], ("name 1", Both { good: 1, bad: 1 }));
        assert_eq!(short(&"\u{e9}".repeat(100)).chars().count(), LONGEST + 3);
    }

    #[test]
    fn replays_and_used_up_budgets_are_told_from_other_failures() {
        let mut tally = Tally::new(WallTime(TODAY), WallTime(TODAY + DAY), None);
        let mut last = login(TODAY, "failure", "wrong");
        tally.take(&last);
        last.budget_left = Some(0);
        tally.take(&last);
        for reason in ["second_code", "locked", "replayed"] {
            tally.take(&login(TODAY, "failure", reason));
        }
        assert_eq!((tally.exhausted.count, tally.replays.count), (3, 1));
        (0..100).for_each(|_| tally.take(&login(TODAY, "failure", "replayed")));
        assert_eq!((tally.replays.count, tally.replays.latest.len()), (101, KEPT));
    }

    #[test]
    fn the_last_use_of_a_device_is_known_from_before_the_time_too() {
        let mut tally = Tally::new(WallTime(TODAY), WallTime(TODAY + DAY), None);
        let mut line = login(TODAY - 50 * DAY, "success", "code");
        line.device = Some("0a0b0c0d".to_owned());
        tally.take(&line);
        line.result = "failure".to_owned();
        line.time = WallTime(TODAY).to_string();
        tally.take(&line);
        assert_eq!(tally.used.get(&(2001, "0a0b0c0d".to_owned())), Some(&WallTime(TODAY - 50 * DAY)));
    }

    #[test]
    fn offsets_are_kept_by_host() {
        let mut tally = Tally::new(WallTime(TODAY), WallTime(TODAY + DAY), None);
        for offset in [-1, 0, 0, 1, 2, -1] {
            let mut line = login(TODAY, "success", "code");
            line.offset = Some(offset);
            tally.take(&line);
        }
        let seen = tally.offsets.get("h1").unwrap();
        assert_eq!((seen.least, seen.most, seen.count, seen.off), (-1, 2, 6, 4));
        assert!((seen.mean() - 1.0 / 6.0).abs() < 1e-9);
    }
}
