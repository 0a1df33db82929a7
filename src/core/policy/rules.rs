//! `[[rule]]`: who needs a code, where and when. This file has what a rule is and how it is read; `decide` has what it does.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::reader::{Notes, nearest};
use super::zone::Zone;
use crate::calendar::{self, DAY, duration};
use crate::words::{Source, UserName, WallTime};

/// What a rule does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Action {
    /// PAM_SUCCESS without a code; the event says so.
    Allow,
    /// PAM_IGNORE: as if the module were not there.
    Skip,
    /// A code; who has no enrollment may enroll now.
    Enroll,
    /// A code.
    Require,
    /// A recovery code; codes of devices are refused.
    RecoveryOnly,
    /// The question is asked, and every answer refused.
    Deny,
}

impl Action {
    /// All of them, from the most open to the strictest.
    pub const ALL: [Self; 6] = [Self::Allow, Self::Skip, Self::Enroll, Self::Require, Self::RecoveryOnly, Self::Deny];

    /// The word in the policy.
    pub fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Skip => "skip",
            Self::Enroll => "enroll",
            Self::Require => "require",
            Self::RecoveryOnly => "recovery-only",
            Self::Deny => "deny",
        }
    }

    /// Whether everybody gets by without a code.
    pub fn is_open(self) -> bool {
        self <= Self::Skip
    }

    /// Whether a code is asked that may be right.
    pub fn asks_code(self) -> bool {
        matches!(self, Self::Enroll | Self::Require)
    }
}

/// Where a login may come from, as a rule names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A program on this machine.
    Local,
    /// Addresses. A mapped IPv4 network is an IPv4 network.
    Network(IpNet),
}

impl Origin {
    /// Reads an address, a network, or `local`.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "local" {
            return Some(Self::Local);
        }
        let single = || text.parse::<IpAddr>().ok().map(IpNet::from);
        text.parse::<IpNet>().ok().or_else(single).map(|network| Self::Network(canonical(network)))
    }

    /// Whether a source is of it; `None` where that cannot be known: a host name may be anybody's.
    pub fn holds(&self, source: &Source) -> Option<bool> {
        match (self, source) {
            (Self::Local, source) => Some(matches!(source, Source::Local(_))),
            (Self::Network(network), Source::Address(address)) => Some(network.contains(address)),
            (Self::Network(_), Source::Local(_)) => Some(false),
            (Self::Network(_), Source::Name(_)) => None,
        }
    }
}

/// `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let mapped = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    mapped.and_then(|(address, length)| Ipv4Net::new(address, length).ok()).map_or(network, IpNet::V4)
}

/// The end of a rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// A moment.
    Moment(WallTime),
    /// The end of a day, or a time of it, in the rule's zone: milliseconds since 1970 as if the zone were UTC.
    Local(u64),
}

/// When a rule holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Times {
    /// Minutes of the day, from the first up to but not including the second; the second may be the smaller one: over midnight.
    pub hours: Option<(u16, u16)>,
    /// Days of the week, Monday first. With hours over midnight: the day on which they begin.
    pub days: Option<[bool; 7]>,
    /// When it ends by itself.
    pub until: Option<Until>,
    /// What hours, days and dates are in.
    pub zone: Zone,
}

/// How long those who have no enrollment get in without a code: both ends count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grace<End> {
    /// `enroll_by`: when it ends.
    pub until: Option<End>,
    /// `grace_logins`: how many logins there are.
    pub logins: Option<u32>,
}

/// One rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// The line of the policy in which it begins.
    pub line: usize,
    /// Users, by name.
    pub users: Option<Vec<String>>,
    /// Groups, by name.
    pub groups: Option<Vec<String>>,
    /// PAM services.
    pub services: Option<Vec<String>>,
    /// Where from.
    pub from: Option<Vec<Origin>>,
    /// When.
    pub times: Times,
    /// What it does.
    pub action: Action,
    /// Whether two consecutive codes are asked.
    pub two_codes: bool,
    /// `[totp] past` for this rule.
    pub past: Option<u32>,
    /// `enroll_by` and `grace_logins`.
    pub grace: Option<Grace<Until>>,
    /// Milliseconds in which the same person at the same place is not asked again.
    pub remember: Option<u64>,
    /// Whether one prompt takes the password and the code.
    pub with_password: bool,
}

impl Rule {
    /// Whether it holds for everybody, everywhere, always.
    pub fn is_unconditional(&self) -> bool {
        let lists = [&self.users, &self.groups, &self.services].iter().all(|list| list.is_none());
        lists && self.from.is_none() && self.times == Times { zone: self.times.zone.clone(), ..Times::default() }
    }
}

/// A key of a rule, and what it means, for the administrator.
pub struct RuleKey {
    /// The name before the `=`.
    pub name: &'static str,
    /// What it takes, by example.
    pub example: &'static str,
    /// What it means.
    pub help: &'static str,
}

/// Every key of a rule.
pub const KEYS: [RuleKey; 15] = [
    RuleKey { name: "users", example: "[\"backup\", \"ansible\"]", help: "Users, by name." },
    RuleKey { name: "groups", example: "[\"wheel\"]", help: "Groups: the user is in one of them." },
    RuleKey { name: "services", example: "[\"sshd\"]", help: "PAM services, as the files in /etc/pam.d are called." },
    RuleKey {
        name: "from",
        example: "[\"10.0.0.0/8\", \"2001:db8::/32\", \"local\"]",
        help: "Addresses and networks; \"local\" is sudo, su and login. A host name never counts as an address.",
    },
    RuleKey { name: "hours", example: "\"08:00-18:00\"", help: "Time of day; may go over midnight." },
    RuleKey { name: "days", example: "[\"mon-fri\"]", help: "Days of the week." },
    RuleKey {
        name: "zone",
        example: "\"Europe/Berlin\"",
        help: "Of hours, days and dates: a name, \"+02:00\", \"UTC\", or \"local\", which is the default.",
    },
    RuleKey {
        name: "until",
        example: "2027-03-31",
        help: "The rule ends by itself at the end of that day, or at that time.",
    },
    RuleKey {
        name: "action",
        example: "\"require\"",
        help: "\"require\" a code, \"enroll\" (require; the unenrolled may enroll), \"skip\" (PAM_IGNORE), \"allow\" (PAM_SUCCESS), \"recovery-only\", \"deny\".",
    },
    RuleKey { name: "codes", example: "2", help: "2 asks for two consecutive codes." },
    RuleKey { name: "past", example: "0", help: "[totp] past for this rule." },
    RuleKey {
        name: "enroll_by",
        example: "2027-01-31",
        help: "Until the end of that day the unenrolled get in, with a notice that counts down.",
    },
    RuleKey {
        name: "grace_logins",
        example: "5",
        help: "So many times the unenrolled get in, with a notice that counts down.",
    },
    RuleKey {
        name: "remember",
        example: "\"8h\"",
        help: "Not asked again for so long: in the same session (sudo, su), with the same key from the same address (sshd).",
    },
    RuleKey {
        name: "input",
        example: "\"password+code\"",
        help: "With \"require\": one prompt takes both; the password goes on to the next module.",
    },
];

/// Reads one rule; every mistake goes to the notes.
pub fn read<'a>(table: &'a DeTable<'a>, span: std::ops::Range<usize>, notes: &mut Notes<'_>) -> Option<Rule> {
    for name in table.keys().filter(|name| KEYS.iter().all(|key| key.name != name.get_ref().as_ref())) {
        let near = nearest(name.get_ref(), KEYS.iter().map(|key| key.name));
        notes.note(name.span(), format!("unknown key \"{}\" in [[rule]]{near}", name.get_ref()));
    }
    let line = notes.line(span.start);
    let mut keys = Keys { table, notes };
    let rule = Rule {
        line,
        users: keys.names("users", |name| UserName::parse(name.as_bytes()).is_some()),
        groups: keys.names("groups", |name| UserName::parse(name.as_bytes()).is_some()),
        services: keys.names("services", is_service),
        from: keys.list("from", "an address, a network, or \"local\"", Origin::parse),
        times: Times {
            hours: keys.one("hours", "hours like \"08:00-18:00\"", hours),
            days: keys.list("days", "a day like \"mon\", or days like \"mon-fri\"", days).map(|lists| week(&lists)),
            until: keys.value("until", "a date like 2027-03-31, or a time like 2027-03-31T18:00:00Z", until),
            zone: keys
                .one("zone", "a time zone like \"Europe/Berlin\", \"+02:00\", \"UTC\" or \"local\"", Zone::parse)
                .unwrap_or_default(),
        },
        action: keys.action(span)?,
        two_codes: keys.value("codes", "1 or 2", |value| small(value).filter(|n| (1..=2).contains(n))) == Some(2),
        past: keys.value("past", "a whole number from 0 to 10", |value| small(value).filter(|n| *n <= 10)),
        grace: keys.grace(),
        remember: keys.one("remember", "a time from \"1m\" to \"30d\", like \"8h\"", remembered),
        with_password: keys.one("input", "\"code\" or \"password+code\"", input) == Some(true),
    };
    if !rule.action.asks_code() {
        let names = ["codes", "past", "enroll_by", "grace_logins", "remember"];
        names.iter().for_each(|name| keys.refuse(name, "goes with action = \"require\" or \"enroll\" only"));
    }
    if rule.action != Action::Require {
        keys.refuse("input", "goes with action = \"require\" only");
    }
    if rule.with_password {
        let names = ["enroll_by", "grace_logins", "remember"];
        let why = "does not go with input = \"password+code\": there the password is not known to be right yet";
        names.iter().for_each(|name| keys.refuse(name, why));
    }
    Some(rule)
}

/// Whether a name can be that of a file in /etc/pam.d.
pub fn is_service(name: &str) -> bool {
    !name.is_empty() && !name.contains('/')
}

fn remembered(text: &str) -> Option<u64> {
    const MINUTE: u64 = 60_000;
    duration(text).filter(|time| (MINUTE..=DAY.saturating_mul(30)).contains(time))
}

fn input(text: &str) -> Option<bool> {
    match text {
        "code" => Some(false),
        "password+code" => Some(true),
        _ => None,
    }
}

/// The keys of one rule, or of one alert.
pub(super) struct Keys<'a, 'n, 't> {
    pub(super) table: &'a DeTable<'a>,
    pub(super) notes: &'n mut Notes<'t>,
}

impl<'a> Keys<'a, '_, '_> {
    pub(super) fn get(&self, name: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table.get(name)
    }

    pub(super) fn value<T>(
        &mut self,
        name: &str,
        wanted: &str,
        parse: impl Fn(&DeValue<'_>) -> Option<T>,
    ) -> Option<T> {
        let value = self.get(name)?;
        let parsed = parse(value.get_ref());
        if parsed.is_none() {
            self.must(value, name, "be", wanted);
        }
        parsed
    }

    /// One function for every type that is read: a copy for each would be 3 KB of the module.
    #[cold]
    #[inline(never)]
    pub(super) fn must(&mut self, value: &Spanned<DeValue<'_>>, name: &str, verb: &str, wanted: &str) {
        self.notes.note(value.span(), format!("{name} must {verb} {wanted}"));
    }

    pub(super) fn one<T>(&mut self, name: &str, wanted: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.value(name, wanted, |value| value.as_str().and_then(&parse))
    }

    /// A list, each item of which must parse. A single text counts as a list of one.
    pub(super) fn list<T>(&mut self, name: &str, wanted: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
        let value = self.get(name)?;
        let single = std::slice::from_ref(value);
        let items = match value.get_ref() {
            DeValue::Array(items) => items.iter().as_slice(),
            _ => single,
        };
        let mut list = Vec::new();
        for item in items {
            match item.get_ref().as_str().and_then(&parse) {
                Some(item) => list.push(item),
                None => self.must(item, name, "hold", wanted),
            }
        }
        Some(list)
    }

    fn grace(&mut self) -> Option<Grace<Until>> {
        let date = "a date like 2027-03-31, or a time like 2027-03-31T18:00:00Z";
        let logins = |value: &DeValue<'_>| small(value).filter(|n| (1..=1000).contains(n));
        let grace = Grace {
            until: self.value("enroll_by", date, until),
            logins: self.value("grace_logins", "a whole number from 1 to 1000", logins),
        };
        (grace.until.is_some() || grace.logins.is_some()).then_some(grace)
    }

    pub(super) fn names(&mut self, name: &str, is_name: impl Fn(&str) -> bool) -> Option<Vec<String>> {
        self.list(name, "names in quotes", |text| is_name(text).then(|| text.to_owned()))
    }

    fn action(&mut self, rule: std::ops::Range<usize>) -> Option<Action> {
        let words = || Action::ALL.iter().map(|action| action.word());
        let list = words().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
        let Some(value) = self.get("action") else {
            self.notes.note(rule, format!("the rule has no action; it takes one of {list}"));
            return None;
        };
        let text = value.get_ref().as_str().unwrap_or("");
        let (span, near) = (value.span(), nearest(text, words()));
        let action = Action::ALL.into_iter().find(|action| action.word() == text);
        if action.is_none() {
            self.notes.note(span, format!("action must be one of {list}{near}"));
        }
        action
    }

    pub(super) fn refuse(&mut self, name: &str, why: &str) {
        if let Some(span) = self.get(name).map(Spanned::span) {
            self.notes.note(span, format!("{name} {why}"));
        }
    }
}

fn small(value: &DeValue<'_>) -> Option<u32> {
    let integer = value.as_integer()?;
    u32::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// `08:00-18:00`, in minutes of the day; the end may be 24:00.
fn hours(text: &str) -> Option<(u16, u16)> {
    let (from, to) = text.split_once('-')?;
    let (from, to) = (minute(from)?, minute(to)?);
    (from != to && from < 24 * 60).then_some((from, to))
}

fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.trim().split_once(':')?;
    let digits = |part: &str| (part.len() == 2).then(|| part.parse::<u16>().ok()).flatten();
    let (hour, minute) = (digits(hour)?, digits(minute)?);
    let whole = hour.checked_mul(60)?.checked_add(minute)?;
    (minute < 60 && whole <= 24 * 60).then_some(whole)
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// `mon`, or `mon-fri`, which may go over Sunday.
fn days(text: &str) -> Option<[bool; 7]> {
    let number = |text: &str| DAYS.iter().position(|day| *day == text.trim().to_ascii_lowercase());
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(text)?, number(text)?),
    };
    let within = |day: usize| if first <= last { (first..=last).contains(&day) } else { day >= first || day <= last };
    Some(std::array::from_fn(within))
}

fn week(lists: &[[bool; 7]]) -> [bool; 7] {
    std::array::from_fn(|day| lists.iter().any(|list| list.get(day) == Some(&true)))
}

/// A date means the end of that day. Without an offset it is a time of the rule's zone.
fn until(value: &DeValue<'_>) -> Option<Until> {
    let end = value.as_datetime()?;
    match end.offset {
        Some(_) => calendar::moment(end).map(Until::Moment),
        None => calendar::local_end(end).map(Until::Local),
    }
}
