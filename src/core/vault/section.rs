//! TOML files of the state folder: written by hand, read without copies, so that every buffer that held a key is wiped.

use std::fmt::Write as _;
use std::ops::Range;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A TOML basic string.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len().saturating_add(2));
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(control));
            }
            plain => out.push(plain),
        }
    }
    out.push('"');
    out
}

/// One table of the file, with what is needed to name a place in it.
pub struct Section<'a> {
    /// The text.
    pub file: &'a str,
    /// The table.
    pub table: &'a DeTable<'a>,
}

impl<'a> Section<'a> {
    /// Refuses keys that are not known: a later version may have written them for a reason.
    pub fn new(file: &'a str, table: &'a DeTable<'a>, known: &[&str]) -> Result<Self, String> {
        match table.keys().find(|key| !known.contains(&key.get_ref().as_ref())) {
            Some(key) => Err(at(file, key.span(), format_args!("unknown key \"{}\"", key.get_ref()))),
            None => Ok(Self { file, table }),
        }
    }

    /// Whether a key is there.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// A value with its place.
    pub fn value(&self, key: &str) -> Result<&'a Spanned<DeValue<'a>>, String> {
        self.table.get(key).ok_or_else(|| format!("{key} is missing"))
    }

    /// A value made by a function that gives `None` where it is not what it should be.
    pub fn read<T>(&self, key: &str, make: impl FnOnce(&'a DeValue<'a>) -> Option<T>) -> Result<T, String> {
        let value = self.value(key)?;
        make(value.get_ref()).ok_or_else(|| at(self.file, value.span(), format_args!("{key} is not what it should be")))
    }

    /// The same for a text.
    pub fn text<T>(&self, key: &str, parse: impl FnOnce(&'a str) -> Option<T>) -> Result<T, String> {
        self.read(key, |value| value.as_str().and_then(parse))
    }

    /// The same for a number.
    pub fn number<T: FromStr>(&self, key: &str) -> Result<T, String> {
        self.read(key, |value| value.as_integer().filter(|number| number.radix() == 10)?.as_str().parse().ok())
    }

    /// What an array holds, each item made by `make`; nothing where the array is missing.
    pub fn list<T>(
        &self,
        key: &str,
        make: impl Fn(&'a Spanned<DeValue<'a>>) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        if !self.has(key) {
            return Ok(Vec::new());
        }
        self.read(key, DeValue::as_array)?.iter().map(make).collect()
    }
}

/// A mistake with its place. The text itself, which may hold keys, is never quoted.
pub fn at(file: &str, span: Range<usize>, what: impl std::fmt::Display) -> String {
    let (line, column) = crate::policy::place(file, span.start);
    format!("line {line}, column {column}: {what}")
}
