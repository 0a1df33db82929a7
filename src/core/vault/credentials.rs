//! `credentials.toml`: who is enrolled, with which devices and recovery codes. Rarely written, always by replacement.
//!
//! It is written by hand and not by a serializer, and read without copies, so that every buffer that held a key is wiped.

use std::fmt::Write as _;
use std::ops::Range;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use crate::otp::recovery::{RecoveryHash, Selector};
use crate::otp::{Algorithm, Secret, Shape};
use crate::words::{DeviceId, EnrollmentId, Label, Uid, UserName, WallTime};

/// Name of the file in a user's folder.
pub const NAME: &str = "credentials.toml";
/// Largest file that is read, in bytes.
pub const MOST: usize = 64 * 1024;
/// Devices a user may have.
pub const MAX_DEVICES: usize = 4;

/// Everything about one user that is rarely written.
#[derive(Debug)]
pub struct Credentials {
    /// Which enrollment; the journal carries the same.
    pub enrollment: EnrollmentId,
    /// The canonical name at the time of enrollment.
    pub user: UserName,
    /// The user id at the time of enrollment.
    pub uid: Uid,
    /// When.
    pub created: WallTime,
    /// Set when the enrollment was revoked; the keys are gone then.
    pub revoked: Option<Revocation>,
    /// The devices, in the order they were added.
    pub devices: Vec<Device>,
    /// What is kept of the recovery codes.
    pub recovery: Vec<Recovery>,
}

/// Why there are no keys any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Revocation {
    /// When.
    pub time: WallTime,
    /// What the administrator gave as the reason.
    pub reason: String,
}

/// One device.
#[derive(Debug)]
pub struct Device {
    /// Its id.
    pub id: DeviceId,
    /// What its owner calls it.
    pub label: Label,
    /// Algorithm, digits, period.
    pub shape: Shape,
    /// Its key.
    pub secret: Secret,
    /// When it was added.
    pub added: WallTime,
    /// Whether its codes are accepted.
    pub enabled: bool,
}

/// What is kept of one recovery code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovery {
    /// Which one.
    pub selector: Selector,
    /// Its hash.
    pub hash: RecoveryHash,
}

impl Credentials {
    /// The devices whose codes are accepted.
    pub fn enabled(&self) -> impl Iterator<Item = &Device> {
        self.devices.iter().filter(|device| device.enabled)
    }

    /// Reads the file's text.
    ///
    /// # Errors
    /// Line, column and what is wrong; the text itself, which holds keys, is never quoted.
    pub fn parse(text: &str) -> Result<Self, String> {
        read_credentials(text)
    }

    /// The file's text.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(16 * 1024));
        // Writing to a String cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "format = 1")?;
        writeln!(out, "enrollment = \"{}\"", self.enrollment)?;
        writeln!(out, "user = {}", quoted(self.user.as_str()))?;
        writeln!(out, "uid = {}", self.uid.0)?;
        writeln!(out, "created = {}", self.created.0)?;
        writeln!(out, "recovery = [")?;
        for recovery in &self.recovery {
            writeln!(out, "  \"{} {}\",", recovery.selector, recovery.hash)?;
        }
        writeln!(out, "]")?;
        if let Some(revoked) = &self.revoked {
            writeln!(out, "\n[revoked]\ntime = {}\nreason = {}", revoked.time.0, quoted(&revoked.reason))?;
        }
        for device in &self.devices {
            writeln!(out, "\n[[device]]\nid = \"{}\"\nlabel = {}", device.id, quoted(device.label.as_str()))?;
            let shape = device.shape;
            let (algorithm, digits, period) = (shape.algorithm.name(), shape.digits(), shape.period());
            writeln!(out, "algorithm = \"{algorithm}\"\ndigits = {digits}\nperiod = {period}")?;
            writeln!(out, "added = {}\nenabled = {}", device.added.0, device.enabled)?;
            writeln!(out, "secret = \"{}\"", *device.secret.to_base32())?;
        }
        Ok(())
    }
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
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
struct Section<'a> {
    file: &'a str,
    table: &'a DeTable<'a>,
}

impl<'a> Section<'a> {
    /// Refuses keys that are not known: a later version may have written them for a reason.
    fn new(file: &'a str, table: &'a DeTable<'a>, known: &[&str]) -> Result<Self, String> {
        match table.keys().find(|key| !known.contains(&key.get_ref().as_ref())) {
            Some(key) => Err(at(file, key.span(), format_args!("unknown key \"{}\"", key.get_ref()))),
            None => Ok(Self { file, table }),
        }
    }

    fn value(&self, key: &str) -> Result<&'a Spanned<DeValue<'a>>, String> {
        self.table.get(key).ok_or_else(|| format!("{key} is missing"))
    }

    /// A value made by a function that gives `None` where it is not what it should be.
    fn read<T>(&self, key: &str, make: impl FnOnce(&'a DeValue<'a>) -> Option<T>) -> Result<T, String> {
        let value = self.value(key)?;
        make(value.get_ref()).ok_or_else(|| at(self.file, value.span(), format_args!("{key} is not what it should be")))
    }

    fn text<T>(&self, key: &str, parse: impl FnOnce(&'a str) -> Option<T>) -> Result<T, String> {
        self.read(key, |value| value.as_str().and_then(parse))
    }

    fn number<T: FromStr>(&self, key: &str) -> Result<T, String> {
        self.read(key, |value| value.as_integer().filter(|number| number.radix() == 10)?.as_str().parse().ok())
    }

    /// What an array holds, each item made by `make`; nothing where the array is missing.
    fn list<T>(
        &self,
        key: &str,
        make: impl Fn(&'a Spanned<DeValue<'a>>) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        if !self.table.contains_key(key) {
            return Ok(Vec::new());
        }
        self.read(key, DeValue::as_array)?.iter().map(make).collect()
    }
}

fn at(file: &str, span: Range<usize>, what: impl std::fmt::Display) -> String {
    let (line, column) = crate::policy::place(file, span.start);
    format!("line {line}, column {column}: {what}")
}

fn read_credentials(text: &str) -> Result<Credentials, String> {
    let document = DeTable::parse(text).map_err(|error| at(text, error.span().unwrap_or(0..0), error.message()))?;
    let known = ["format", "enrollment", "user", "uid", "created", "revoked", "device", "recovery"];
    let file = Section::new(text, document.get_ref(), &known)?;
    let format: u32 = file.number("format")?;
    if format != 1 {
        return Err(format!("format {format} is not known; this version reads format 1"));
    }
    let credentials = Credentials {
        enrollment: file.text("enrollment", EnrollmentId::parse)?,
        user: file.text("user", |text| UserName::parse(text.as_bytes()))?,
        uid: Uid(file.number("uid")?),
        created: WallTime(file.number("created")?),
        revoked: if file.table.contains_key("revoked") { Some(read_revoked(&file)?) } else { None },
        devices: file.list("device", |item| read_device(text, item))?,
        recovery: file.list("recovery", |item| read_recovery(text, item))?,
    };
    match (credentials.devices.len(), &credentials.revoked) {
        (0, None) => Err("no device".to_owned()),
        (0..=MAX_DEVICES, _) => Ok(credentials),
        _ => Err(format!("more than {MAX_DEVICES} devices")),
    }
}

const DEVICE_KEYS: [&str; 8] = ["id", "label", "algorithm", "digits", "period", "added", "enabled", "secret"];

fn read_revoked(file: &Section<'_>) -> Result<Revocation, String> {
    let section = Section::new(file.file, file.read("revoked", DeValue::as_table)?, &["time", "reason"])?;
    let reason = section.text("reason", |text| Some(text.to_owned()))?;
    Ok(Revocation { time: WallTime(section.number("time")?), reason })
}

fn read_device(file: &str, item: &Spanned<DeValue<'_>>) -> Result<Device, String> {
    let table = item.get_ref().as_table().ok_or_else(|| at(file, item.span(), "device is not a table"))?;
    let section = Section::new(file, table, &DEVICE_KEYS)?;
    let algorithm = section.text("algorithm", Algorithm::parse)?;
    let shape = Shape::new(algorithm, section.number("digits")?, section.number("period")?)?;
    // Decoded straight from the file's buffer, which is wiped, without an owned copy in between.
    let secret = section.value("secret")?;
    let wrong = |what: &dyn std::fmt::Display| at(section.file, secret.span(), what);
    let text = secret.get_ref().as_str().ok_or_else(|| wrong(&"secret is not a text"))?;
    Ok(Device {
        id: section.text("id", DeviceId::parse)?,
        label: section.text("label", Label::parse)?,
        shape,
        secret: Secret::from_base32(text).map_err(|bad| wrong(&bad))?,
        added: WallTime(section.number("added")?),
        enabled: section.read("enabled", DeValue::as_bool)?,
    })
}

/// `SELECTOR HASH`
fn read_recovery(file: &str, item: &Spanned<DeValue<'_>>) -> Result<Recovery, String> {
    let parts = item.get_ref().as_str().and_then(|text| text.split_once(' '));
    let parsed = parts.and_then(|(selector, hash)| {
        Some(Recovery { selector: Selector::parse(selector)?, hash: RecoveryHash::parse(hash)? })
    });
    parsed.ok_or_else(|| at(file, item.span(), "recovery holds something that is not a selector and a hash"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Credentials {
        let device = |id: u8, label: &str| Device {
            id: DeviceId([id; 4]),
            label: Label::parse(label).unwrap(),
            shape: Shape::new(Algorithm::Sha256, 8, 60).unwrap(),
            secret: Secret::from_base32("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").unwrap(),
            added: WallTime(1_700_000_000_000),
            enabled: id == 1,
        };
        Credentials {
            enrollment: EnrollmentId([7; 8]),
            user: UserName::parse(b"alice").unwrap(),
            uid: Uid(1000),
            created: WallTime(1_700_000_000_000),
            revoked: None,
            devices: vec![device(1, "phone \"red\" \\ \u{e9}"), device(2, "tablet")],
            recovery: vec![Recovery { selector: Selector::parse("ABCD").unwrap(), hash: RecoveryHash::decoy() }],
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let text = sample().to_text();
        let again = Credentials::parse(&text).unwrap();
        assert_eq!(*again.to_text(), *text);
        assert_eq!(again.enabled().count(), 1);
    }

    #[test]
    fn a_tombstone_reads_back_without_devices() {
        let reason = "lost \u{7} phone".to_owned();
        let tombstone = Credentials {
            revoked: Some(Revocation { time: WallTime(5), reason }),
            devices: Vec::new(),
            recovery: Vec::new(),
            ..sample()
        };
        assert_eq!(Credentials::parse(&tombstone.to_text()).unwrap().revoked, tombstone.revoked);
    }

    #[test]
    fn mistakes_are_named_by_line_and_column_and_never_quote_the_file() {
        let text = sample().to_text().replace("secret = \"GEZDGNBV", "secret = \"GEZD1NBV");
        let error = Credentials::parse(&text).unwrap_err();
        assert!(error.starts_with("line 18, column 10: character 5 of the key"), "{error}");
        let error = Credentials::parse(&sample().to_text().replace("digits = 8", "digits = 9")).unwrap_err();
        assert!(error.contains("digits must be 6, 7 or 8"), "{error}");
        assert!(Credentials::parse("format = 1").is_err());
        assert!(Credentials::parse(&sample().to_text().replace("format = 1", "format = 2")).is_err());
        assert!(Credentials::parse(&sample().to_text().replace("recovery =", "recovry =")).is_err());
    }

    /// A file that is cut off anywhere is an error or says less; it never says something else.
    #[test]
    fn a_file_cut_off_anywhere_never_gains_a_device() {
        let text = sample().to_text();
        for length in 0..text.len() {
            if let Some(Ok(credentials)) = text.get(..length).map(Credentials::parse) {
                assert!(credentials.devices.len() <= 2 && credentials.revoked.is_none());
            }
        }
    }
}
