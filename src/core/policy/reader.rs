//! Text -> values, checked against the one definition of keys. Every mistake is found, each with its place.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{ALL, Key, Kind, Value};

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

/// Every key with its value: the file's, or the default.
pub struct Values(BTreeMap<(&'static str, &'static str), Value>);

impl Values {
    /// Reads a file's text.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn read(text: &str) -> Result<Self, Vec<Mistake>> {
        let mut reader = Reader { text, mistakes: Vec::new() };
        let defaults = ALL.iter().map(|key| ((key.section, key.name), key.default.value()));
        let mut values: BTreeMap<_, _> = defaults.collect();
        if text.starts_with('\u{feff}') {
            reader.note(0..0, "the file begins with a byte order mark; save it without".to_owned());
        }
        match DeTable::parse(text) {
            Ok(document) => reader.sections(document.get_ref(), &mut values),
            Err(error) => reader.note(error.span().unwrap_or(0..0), error.message().to_owned()),
        }
        reader.mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
        if reader.mistakes.is_empty() { Ok(Self(values)) } else { Err(reader.mistakes) }
    }

    /// The text of a key that takes text.
    pub fn text(&self, key: &Key) -> String {
        match self.0.get(&(key.section, key.name)) {
            Some(Value::Text(text)) => text.clone(),
            _ => String::new(),
        }
    }

    /// The number of a key that takes a number, which its range keeps small.
    pub fn number(&self, key: &Key) -> u32 {
        match self.0.get(&(key.section, key.name)) {
            Some(Value::Number(number)) => u32::try_from(*number).unwrap_or(0),
            _ => 0,
        }
    }

    /// The switch of a key that takes one.
    pub fn switch(&self, key: &Key) -> bool {
        self.0.get(&(key.section, key.name)) == Some(&Value::Switch(true))
    }
}

struct Reader<'a> {
    text: &'a str,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    fn note(&mut self, span: Range<usize>, what: String) {
        let (line, column) = place(self.text, span.start);
        self.mistakes.push(Mistake { line, column, what });
    }

    fn sections(&mut self, document: &DeTable<'_>, values: &mut BTreeMap<(&'static str, &'static str), Value>) {
        for (name, content) in document {
            let known = ALL.iter().find(|key| key.section == name.get_ref().as_ref()).map(|key| key.section);
            match (known, content.get_ref()) {
                (Some(section), DeValue::Table(table)) => self.keys(section, table, values),
                (Some(section), _) => self.note(name.span(), format!("\"{section}\" is a section: write [{section}]")),
                (None, value) => {
                    let what = if value.is_table() { "section" } else { "key outside any section" };
                    let near = nearest(name.get_ref(), ALL.iter().map(|key| key.section));
                    self.note(name.span(), format!("unknown {what} \"{}\"{near}", name.get_ref()));
                }
            }
        }
    }

    fn keys(
        &mut self,
        section: &'static str,
        table: &DeTable<'_>,
        values: &mut BTreeMap<(&'static str, &'static str), Value>,
    ) {
        for (name, value) in table {
            let of_section = || ALL.iter().filter(|key| key.section == section);
            match of_section().find(|key| key.name == name.get_ref().as_ref()) {
                Some(key) => match check(key, value) {
                    Ok(value) => {
                        values.insert((key.section, key.name), value);
                    }
                    Err(what) => self.note(value.span(), format!("{section}.{} {what}", key.name)),
                },
                None => {
                    let near = nearest(name.get_ref(), of_section().map(|key| key.name));
                    self.note(name.span(), format!("unknown key \"{}\" in [{section}]{near}", name.get_ref()));
                }
            }
        }
    }
}

/// Checks a value against what its key takes.
fn check(key: &Key, value: &Spanned<DeValue<'_>>) -> Result<Value, String> {
    let value = value.get_ref();
    match key.kind {
        Kind::Path => match value.as_str() {
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
