//! Text -> values, checked against the one definition of keys. Every mistake is found, each with its place.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::alerts::{self, Alert};
use super::keys::{Key, Kind, OF_COMMANDS, OF_LOGINS, Value};
use super::rules::{self, Rule};

/// One mistake in a policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mistake {
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// What is wrong, and the nearest known word.
    pub what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.what)
    }
}

/// Line and column, in characters and counted from 1, of a byte of a text.
pub fn place(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.matches('\n').count().saturating_add(1);
    let column = before.chars().rev().take_while(|c| *c != '\n').count().saturating_add(1);
    (line, column)
}

/// What a text is read with: every mistake is noted, with its place.
pub struct Notes<'a> {
    text: &'a str,
    mistakes: Vec<Mistake>,
}

impl Notes<'_> {
    /// Notes a mistake.
    pub fn note(&mut self, span: Range<usize>, what: String) {
        let (line, column) = place(self.text, span.start);
        // In its place at once: sorting would be 5 KB of the module.
        let at = self.mistakes.partition_point(|other| (other.line, other.column) <= (line, column));
        self.mistakes.insert(at, Mistake { line, column, what });
    }

    /// The line of a byte.
    pub fn line(&self, byte: usize) -> usize {
        place(self.text, byte).0
    }
}

/// Whose part of the file is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// What a login goes by. A mistake in the other part keeps nobody out.
    Logins,
    /// What commands alone go by.
    Commands,
}

impl Part {
    fn keys(self) -> &'static [&'static Key] {
        match self {
            Self::Logins => &OF_LOGINS,
            Self::Commands => &OF_COMMANDS,
        }
    }

    /// The list of tables that belongs to it.
    fn list(self) -> &'static str {
        match self {
            Self::Logins => RULE,
            Self::Commands => ALERT,
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Logins => Self::Commands,
            Self::Commands => Self::Logins,
        }
    }

    fn names(self) -> impl Iterator<Item = &'static str> {
        self.keys().iter().map(|key| key.section).chain([self.list()])
    }
}

/// Every key with its value, the file's or the default; and the rules, in their order.
pub struct Values {
    given: Vec<(&'static Key, Value)>,
    /// `[[rule]]`.
    pub rules: Vec<Rule>,
    /// `[[alert]]`.
    pub alerts: Vec<Alert>,
}

impl Values {
    /// Reads a part of a file's text.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn read(text: &str, part: Part) -> Result<Self, Vec<Mistake>> {
        let mut notes = Notes { text, mistakes: Vec::new() };
        let mut values = Self { given: Vec::new(), rules: Vec::new(), alerts: Vec::new() };
        if text.starts_with('\u{feff}') {
            notes.note(0..0, "the file begins with a byte order mark; save it without".to_owned());
        }
        match DeTable::parse(text) {
            Ok(document) => values.sections(document.get_ref(), part, &mut notes),
            Err(error) => notes.note(error.span().unwrap_or(0..0), error.message().to_owned()),
        }
        if notes.mistakes.is_empty() { Ok(values) } else { Err(notes.mistakes) }
    }

    /// The text of a key that takes text.
    pub fn text(&self, key: &Key) -> String {
        match self.value(key) {
            Value::Text(text) => text,
            _ => String::new(),
        }
    }

    /// The number of a key that takes a number, which its range keeps small.
    pub fn number(&self, key: &Key) -> u32 {
        match self.value(key) {
            Value::Number(number) => u32::try_from(number).unwrap_or(0),
            _ => 0,
        }
    }

    /// The switch of a key that takes one.
    pub fn switch(&self, key: &Key) -> bool {
        self.value(key) == Value::Switch(true)
    }

    /// The items of a key that takes a list.
    pub fn list(&self, key: &Key) -> Vec<String> {
        match self.value(key) {
            Value::List(items) => items,
            _ => Vec::new(),
        }
    }

    #[inline(never)]
    fn value(&self, key: &Key) -> Value {
        let given = self.given.iter().find(|(given, _)| (given.section, given.name) == (key.section, key.name));
        given.map_or_else(|| key.default.value(), |(_, value)| value.clone())
    }

    fn sections(&mut self, document: &DeTable<'_>, part: Part, notes: &mut Notes<'_>) {
        for (name, content) in document {
            let known = part.keys().iter().find(|key| key.section == name.get_ref().as_ref()).map(|key| key.section);
            match (known, content.get_ref()) {
                (None, DeValue::Array(items)) if name.get_ref() == part.list() => self.tables(items, part, notes),
                (None, _) if name.get_ref() == part.list() => notes.note(name.span(), written_as(part)),
                (None, _) if part.other().names().any(|other| name.get_ref() == other) => {}
                (Some(section), DeValue::Table(table)) => self.section(section, table, part, notes),
                (Some(section), _) => notes.note(name.span(), format!("\"{section}\" is a section: write [{section}]")),
                (None, value) => {
                    let what = if value.is_table() { "section" } else { "key outside any section" };
                    let near = nearest(name.get_ref(), part.names().chain(part.other().names()));
                    notes.note(name.span(), format!("unknown {what} \"{}\"{near}", name.get_ref()));
                }
            }
        }
    }

    fn tables(&mut self, items: &DeArray<'_>, part: Part, notes: &mut Notes<'_>) {
        for item in items.iter() {
            match (item.get_ref().as_table(), part) {
                (Some(table), Part::Logins) => self.rules.extend(rules::read(table, item.span(), notes)),
                (Some(table), Part::Commands) => self.alert(table, item.span(), notes),
                (None, _) => notes.note(item.span(), written_as(part)),
            }
        }
    }

    fn alert<'a>(&mut self, table: &'a DeTable<'a>, span: Range<usize>, notes: &mut Notes<'_>) {
        let Some(alert) = alerts::read(table, span.clone(), notes) else { return };
        if self.alerts.iter().any(|other| other.name == alert.name) {
            notes.note(span, format!("another alert is called \"{}\"", alert.name));
        }
        self.alerts.push(alert);
    }

    fn section(&mut self, section: &'static str, table: &DeTable<'_>, part: Part, notes: &mut Notes<'_>) {
        for (name, value) in table {
            let of_section = || part.keys().iter().filter(|key| key.section == section);
            match of_section().find(|key| key.name == name.get_ref().as_ref()) {
                Some(key) => match check(key, value) {
                    Ok(value) => self.given.push((key, value)),
                    Err(what) => notes.note(value.span(), format!("{section}.{} {what}", key.name)),
                },
                None => {
                    let near = nearest(name.get_ref(), of_section().map(|key| key.name));
                    notes.note(name.span(), format!("unknown key \"{}\" in [{section}]{near}", name.get_ref()));
                }
            }
        }
    }
}

/// The name of the rules.
const RULE: &str = "rule";
/// The name of the alerts.
const ALERT: &str = "alert";

fn written_as(part: Part) -> String {
    format!("{0}s are written as [[{0}]]", part.list())
}

/// Checks a value against what its key takes.
fn check(key: &Key, value: &Spanned<DeValue<'_>>) -> Result<Value, String> {
    let value = value.get_ref();
    match key.kind {
        Kind::Path => match value.as_str() {
            Some("") if key.default.value() == Value::Text(String::new()) => Ok(Value::Text(String::new())),
            Some(text) if Path::new(text).is_absolute() && !text.contains('\0') => Ok(Value::Text(text.to_owned())),
            Some(_) => Err("must be an absolute path, beginning with /".to_owned()),
            None => Err(wrong_type("a path in quotes", value)),
        },
        Kind::Text(most) => match value.as_str() {
            Some(text) => line(text, most, key.default.value() == Value::Text(String::new())),
            None => Err(wrong_type("a text in quotes", value)),
        },
        Kind::Switch => value.as_bool().map(Value::Switch).ok_or_else(|| wrong_type("true or false", value)),
        Kind::Number(least, most) => {
            let range = format!("a whole number from {least} to {most}");
            let Some(integer) = value.as_integer() else { return Err(wrong_type(&range, value)) };
            let digits = integer.as_str().replace('_', "");
            let number = i64::from_str_radix(&digits, integer.radix()).ok();
            let in_range = number.filter(|number| (least..=most).contains(number));
            in_range.map(Value::Number).ok_or_else(|| format!("must be {range}, not {}", integer.as_str()))
        }
        Kind::Word(words) => match value.as_str() {
            Some(text) if words.contains(&text) => Ok(Value::Text(text.to_owned())),
            Some(text) => {
                let list = words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ");
                Err(format!("must be {list}, not \"{text}\"{}", nearest(text, words.iter().copied())))
            }
            None => Err(wrong_type("a word in quotes", value)),
        },
        Kind::Colour => {
            let is_colour = |text: &str| {
                text.len() == 7
                    && text.strip_prefix('#').is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()))
            };
            let text = value.as_str().filter(|text| is_colour(text));
            text.map(|text| Value::Text(text.to_owned())).ok_or_else(|| "must be a colour like \"#1a2b3c\"".to_owned())
        }
        Kind::Services => {
            let name = |item: &Spanned<DeValue<'_>>| {
                item.get_ref().as_str().filter(|name| rules::is_service(name)).map(str::to_owned)
            };
            let items = value.as_array().and_then(|items| items.iter().map(name).collect());
            items.map(Value::List).ok_or_else(|| "must be a list of PAM services like [\"sshd\"]".to_owned())
        }
    }
}

fn line(text: &str, most: usize, may_be_empty: bool) -> Result<Value, String> {
    if text.is_empty() && !may_be_empty {
        return Err("must not be empty".to_owned());
    }
    if text.chars().count() > most || text.chars().any(char::is_control) {
        return Err(format!("must be one line of at most {most} characters"));
    }
    Ok(Value::Text(text.to_owned()))
}

fn wrong_type(wanted: &str, found: &DeValue<'_>) -> String {
    format!("must be {wanted}, not a value of type {}", found.type_str())
}

/// `; did you mean "word"?`, or nothing where no known word is near.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let distance = |candidate: &str| strsim::levenshtein(&word.to_ascii_lowercase(), candidate);
    let best = known.map(|candidate| (distance(candidate), candidate)).min();
    match best {
        Some((distance, candidate)) if distance <= 2 || distance.saturating_mul(3) <= candidate.len() => {
            format!("; did you mean \"{candidate}\"?")
        }
        _ => String::new(),
    }
}
