//! `[[alert]]`: what `qrtotp watch` counts, and what it does then. No login goes by it.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::reader::{Notes, nearest};
use super::rules::{Keys, RuleKey, is_service};
use crate::calendar::{DAY, duration};
use crate::words::UserName;

/// What is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counted {
    /// Logins that were refused.
    Failures,
    /// Logins that were accepted.
    Logins,
    /// Right codes that were used before.
    Replays,
    /// Answers beyond the guessing budget: two codes were asked in vain, or a lock began or held.
    Exhausted,
    /// Answers beyond the flood limit.
    Flooded,
    /// Tickets that were typed in vain.
    RefusedTickets,
    /// Recovery codes that were accepted.
    RecoveryCodes,
    /// Logins from a source, and a network, that is new for the user.
    NewSources,
    /// Logins from a country that is new for the user.
    NewCountries,
    /// Logins in an hour in which the user never logs in.
    UnusualHours,
    /// Different sources of accepted logins.
    Sources,
    /// Different countries of accepted logins.
    Countries,
    /// Different users of refused logins.
    Users,
}

impl Counted {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Failures,
        Self::Logins,
        Self::Replays,
        Self::Exhausted,
        Self::Flooded,
        Self::RefusedTickets,
        Self::RecoveryCodes,
        Self::NewSources,
        Self::NewCountries,
        Self::UnusualHours,
        Self::Sources,
        Self::Countries,
        Self::Users,
    ];

    /// The word in the policy.
    pub fn word(self) -> &'static str {
        match self {
            Self::Failures => "failures",
            Self::Logins => "logins",
            Self::Replays => "replays",
            Self::Exhausted => "exhausted",
            Self::Flooded => "flooded",
            Self::RefusedTickets => "refused_tickets",
            Self::RecoveryCodes => "recovery_codes",
            Self::NewSources => "new_sources",
            Self::NewCountries => "new_countries",
            Self::UnusualHours => "unusual_hours",
            Self::Sources => "sources",
            Self::Countries => "countries",
            Self::Users => "users",
        }
    }
}

/// Whose events are counted together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Per {
    /// Of a user.
    User,
    /// From a source.
    Source,
    /// Through a PAM service.
    Service,
    /// On a machine.
    Host,
}

impl Per {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::User, Self::Source, Self::Service, Self::Host];

    /// The word in the policy.
    pub fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Source => "source",
            Self::Service => "service",
            Self::Host => "host",
        }
    }
}

/// `failures >= 10 in 10m per source`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct When {
    /// What.
    pub counted: Counted,
    /// How many, at least.
    pub least: u32,
    /// In how many milliseconds.
    pub within: u64,
    /// Together for each of these.
    pub per: Per,
}

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deed {
    /// An event, in syslog and the events file.
    Log,
    /// A program runs, which gets the alert as JSON.
    Exec,
    /// The user's logins ask for two codes for a while.
    StepUp,
    /// The user's devices are disabled.
    Disable,
}

impl Deed {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Log, Self::Exec, Self::StepUp, Self::Disable];

    /// The word in the policy.
    pub fn word(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Exec => "exec",
            Self::StepUp => "step-up",
            Self::Disable => "disable",
        }
    }
}

/// One alert.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Alert {
    /// The line of the policy in which it begins.
    pub line: usize,
    /// What it is called.
    pub name: String,
    /// When it is raised.
    pub when: When,
    /// Only events of these users.
    pub users: Option<Vec<String>>,
    /// Only events of users in these groups.
    pub groups: Option<Vec<String>>,
    /// Only events of these PAM services.
    pub services: Option<Vec<String>>,
    /// What is done.
    pub deeds: Vec<Deed>,
    /// The program and its arguments.
    pub exec: Vec<String>,
    /// How long two codes are asked, in milliseconds.
    pub step_up: u64,
    /// How long the same alert is not raised again for the same user, source, service or host, in milliseconds.
    pub quiet: u64,
}

/// Every key of an alert.
pub const KEYS: [RuleKey; 9] = [
    RuleKey { name: "name", example: "\"guessing\"", help: "What it is called, once." },
    RuleKey {
        name: "when",
        example: "\"failures >= 10 in 10m per source\"",
        help: "failures, logins, replays, exhausted, flooded, refused_tickets, recovery_codes, new_sources, new_countries, unusual_hours; different sources, countries, users. Per user, source, service or host.",
    },
    RuleKey { name: "users", example: "[\"alice\"]", help: "Only events of these users." },
    RuleKey { name: "groups", example: "[\"wheel\"]", help: "Only events of users in one of these groups." },
    RuleKey { name: "services", example: "[\"sshd\"]", help: "Only events of these PAM services." },
    RuleKey {
        name: "do",
        example: "[\"log\", \"exec\"]",
        help: "\"log\" an event, \"exec\" a program; where it is per user: \"step-up\" (two codes for a while), \"disable\" (all devices).",
    },
    RuleKey {
        name: "exec",
        example: "[\"/usr/local/sbin/page\"]",
        help: "The program, root's, and its arguments. It gets JSON on standard input, and 30 seconds.",
    },
    RuleKey { name: "step_up", example: "\"24h\"", help: "How long two codes are asked." },
    RuleKey {
        name: "quiet",
        example: "\"1h\"",
        help: "How long it is not raised again for the same one. Default: the time in when.",
    },
];

/// Longest times, in milliseconds, and most events of a `when`.
const LONGEST: u64 = 30 * DAY;
const MOST: u32 = 10_000;
/// How long two codes are asked where nothing is said.
const STEP_UP: u64 = DAY;

/// Reads one alert; every mistake goes to the notes.
pub fn read<'a>(table: &'a DeTable<'a>, span: std::ops::Range<usize>, notes: &mut Notes<'_>) -> Option<Alert> {
    for name in table.keys().filter(|name| KEYS.iter().all(|key| key.name != name.get_ref().as_ref())) {
        let near = nearest(name.get_ref(), KEYS.iter().map(|key| key.name));
        notes.note(name.span(), format!("unknown key \"{}\" in [[alert]]{near}", name.get_ref()));
    }
    let line = notes.line(span.start);
    let mut keys = Keys { table, notes };
    let is_time = |text: &str| duration(text).filter(|time| *time <= LONGEST);
    let (name, when, deeds) = (
        keys.one("name", "a word of letters, digits, - and _", |text| is_name(text).then(|| text.to_owned())),
        condition(&mut keys),
        keys.list("do", "\"log\", \"exec\", \"step-up\" or \"disable\"", deed),
    );
    let users = keys.names("users", |name| UserName::parse(name.as_bytes()).is_some());
    let groups = keys.names("groups", |name| UserName::parse(name.as_bytes()).is_some());
    let services = keys.names("services", is_service);
    let exec = keys.list("exec", "texts: a program by its absolute path, and arguments", argument);
    let step_up = keys.one("step_up", "a time up to \"30d\", like \"24h\"", is_time);
    let quiet = keys.one("quiet", "a time up to \"30d\", like \"1h\"", is_time);
    for (key, is_missing) in [("name", name.is_none()), ("when", when.is_none()), ("do", deeds.is_none())] {
        if is_missing && keys.get(key).is_none() {
            keys.notes.note(span.clone(), format!("the alert has no {key}"));
        }
    }
    let (name, when, deeds) = (name?, when?, deeds?);
    check_exec(&mut keys, &deeds, exec.as_deref(), &span);
    if when.per != Per::User && deeds.iter().any(|deed| matches!(deed, Deed::StepUp | Deed::Disable)) {
        keys.refuse("do", "has step-up and disable only where when counts per user");
    }
    let (step_up, quiet) = (step_up.unwrap_or(STEP_UP), quiet.unwrap_or(when.within));
    Some(Alert { line, name, when, users, groups, services, deeds, exec: exec.unwrap_or_default(), step_up, quiet })
}

fn check_exec(keys: &mut Keys<'_, '_, '_>, deeds: &[Deed], exec: Option<&[String]>, span: &std::ops::Range<usize>) {
    let is_path = exec.and_then(|exec| exec.first()).is_some_and(|program| program.starts_with('/'));
    match (deeds.contains(&Deed::Exec), exec) {
        (true, None) => keys.notes.note(span.clone(), "do has exec, and no exec says which program".to_owned()),
        (false, Some(_)) => keys.refuse("exec", "does nothing without do = [\"exec\"]"),
        (true, Some(_)) if !is_path => keys.refuse("exec", "must begin with the absolute path of a program"),
        _ => {}
    }
}

/// The place in a policy's text is that of the wrong word.
fn condition(keys: &mut Keys<'_, '_, '_>) -> Option<When> {
    let value: &Spanned<DeValue<'_>> = keys.get("when")?;
    let Some(text) = value.get_ref().as_str() else {
        keys.must(value, "when", "be", "a text like \"failures >= 10 in 10m per source\"");
        return None;
    };
    match parse(text) {
        Ok(when) => Some(when),
        Err((at, what)) => {
            // Behind the quote.
            let start = value.span().start.saturating_add(1).saturating_add(at);
            keys.notes.note(start..value.span().end, format!("when {what}"));
            None
        }
    }
}

/// Reads `failures >= 10 in 10m per source`.
///
/// # Errors
/// The byte of the text that is wrong, and what.
fn parse(text: &str) -> Result<When, (usize, String)> {
    let mut words =
        text.split_whitespace().map(|word| ((word.as_ptr() as usize).saturating_sub(text.as_ptr() as usize), word));
    let end = text.len();
    let mut next = |wanted: &str| words.next().ok_or_else(|| (end, format!("ends where {wanted} is missing")));
    let (at, word) = next("what is counted")?;
    let counted = known(at, word, &Counted::ALL, Counted::word)?;
    expect(next(">=")?, ">=")?;
    let (at, word) = next("a number")?;
    let least = word.parse().ok().filter(|number| (1..=MOST).contains(number));
    let least = least.ok_or_else(|| (at, format!("needs a number from 1 to {MOST}, not \"{word}\"")))?;
    expect(next("\"in\"")?, "in")?;
    let (at, word) = next("a time")?;
    let within = duration(word).filter(|time| *time <= LONGEST);
    let within = within.ok_or_else(|| (at, format!("needs a time up to 30d, like 10m, not \"{word}\"")))?;
    expect(next("\"per\"")?, "per")?;
    let (at, word) = next("user, source, service or host")?;
    let per = known(at, word, &Per::ALL, Per::word)?;
    match words.next() {
        Some((at, word)) => Err((at, format!("ends with \"{word}\", which is too much"))),
        None => Ok(When { counted, least, within, per }),
    }
}

fn expect((at, word): (usize, &str), wanted: &str) -> Result<(), (usize, String)> {
    if word == wanted { Ok(()) } else { Err((at, format!("needs \"{wanted}\" here, not \"{word}\""))) }
}

fn known<T: Copy>(at: usize, word: &str, all: &[T], name: fn(T) -> &'static str) -> Result<T, (usize, String)> {
    let found = all.iter().copied().find(|item| name(*item) == word);
    found.ok_or_else(|| {
        let list = all.iter().map(|item| name(*item)).collect::<Vec<_>>().join(", ");
        (at, format!("knows {list}, not \"{word}\"{}", nearest(word, all.iter().map(|item| name(*item)))))
    })
}

fn deed(text: &str) -> Option<Deed> {
    Deed::ALL.into_iter().find(|deed| deed.word() == text)
}

fn argument(text: &str) -> Option<String> {
    (!text.contains('\0')).then(|| text.to_owned())
}

fn is_name(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !text.is_empty() && text.len() <= 64 && text.bytes().all(is_letter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Mistake, Policy, Settings};

    const GOOD: &str = "[[alert]]\nname = \"guessing\"\nwhen = \"failures >= 10 in 10m per user\"\ndo = [\"log\", \"exec\", \"step-up\"]\n\
                        exec = [\"/usr/local/sbin/page\", \"--now\"]\nstep_up = \"2h\"\ngroups = [\"wheel\"]\n";

    #[test]
    fn an_alert_is_read_with_its_defaults() {
        let alerts = Settings::parse(GOOD).unwrap().alerts;
        let [alert] = alerts.as_slice() else { panic!("{alerts:?}") };
        let when = When { counted: Counted::Failures, least: 10, within: 600_000, per: Per::User };
        assert_eq!((alert.when, alert.name.as_str(), alert.line), (when, "guessing", 1));
        assert_eq!((alert.step_up, alert.quiet, alert.exec.len()), (7_200_000, 600_000, 2));
        assert_eq!(alert.deeds, [Deed::Log, Deed::Exec, Deed::StepUp]);
        assert!(
            Policy::parse(GOOD).is_ok() && Policy::parse("[[alert]]\nwhen = 1\n").is_ok(),
            "a login passes over it"
        );
    }

    #[test]
    fn every_mistake_is_named_at_the_word_that_is_wrong() {
        let cases = [
            ("when = \"failurs >= 10 in 10m per user\"", 3, 9, "did you mean \"failures\"?"),
            ("when = \"failures > 10 in 10m per user\"", 3, 18, "needs \">=\" here"),
            ("when = \"failures >= 0 in 10m per user\"", 3, 21, "needs a number from 1"),
            ("when = \"failures >= 10 in 10 per user\"", 3, 27, "needs a time"),
            ("when = \"failures >= 10 in 10m\"", 3, 30, "ends where \"per\" is missing"),
            ("when = \"failures >= 10 in 10m per usr\"", 3, 35, "did you mean \"user\"?"),
            ("when = \"failures >= 10 in 10m per user now\"", 3, 40, "too much"),
            ("when = \"failures >= 1 in 1h per source\"\ndo = [\"disable\"]", 4, 6, "only where when counts per user"),
            ("when = \"failures >= 1 in 1h per user\"\ndo = [\"exec\"]", 1, 1, "no exec says which"),
            ("when = \"failures >= 1 in 1h per user\"\ndo = [\"exec\"]\nexec = \"page\"", 5, 8, "absolute path"),
            ("when = \"failures >= 1 in 1h per user\"\nexec = \"/bin/true\"", 4, 8, "does nothing without"),
            ("wen = 1", 3, 1, "did you mean \"when\"?"),
        ];
        for (text, line, column, what) in cases {
            let end = if text.contains("do =") { "" } else { "\ndo = [\"log\"]" };
            let text = format!("[[alert]]\nname = \"a\"\n{text}{end}\n");
            let mistakes = Settings::parse(&text).unwrap_err();
            let is_it =
                |mistake: &Mistake| (mistake.line, mistake.column) == (line, column) && mistake.what.contains(what);
            assert!(mistakes.iter().any(is_it), "{text}: {mistakes:?}");
        }
        let missing = Settings::parse("[[alert]]\n").unwrap_err();
        assert_eq!(missing.len(), 3, "{missing:?}");
    }

    #[test]
    fn the_example_of_every_key_is_good() {
        let text: String = KEYS.iter().map(|key| format!("{} = {}\n", key.name, key.example)).collect();
        let alerts = Settings::parse(&format!("[[alert]]\n{text}")).unwrap().alerts;
        assert_eq!(alerts.len(), 1);
    }
}
