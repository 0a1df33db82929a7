//! `credentials.toml`: who is enrolled, with which devices and recovery codes. Rarely written, always by replacement.
//!
//! It is written by hand and not by a serializer, and read without copies, so that every buffer that held a key is wiped.

use std::fmt::Write as _;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
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
        let file: File = toml::from_str(text).map_err(|error| at_place(text, &error))?;
        file.check()
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
        for recovery in &self.recovery {
            writeln!(out, "\n[[recovery]]\nselector = \"{}\"\nhash = \"{}\"", recovery.selector, recovery.hash)?;
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

fn at_place(text: &str, error: &toml::de::Error) -> String {
    let (line, column) = crate::policy::place(text, error.span().map_or(0, |span| span.start));
    format!("line {line}, column {column}: {}", error.message())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    enrollment: String,
    user: String,
    uid: u32,
    created: u64,
    revoked: Option<FileRevoked>,
    #[serde(default)]
    device: Vec<FileDevice>,
    #[serde(default)]
    recovery: Vec<FileRecovery>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRevoked {
    time: u64,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileDevice {
    id: String,
    label: String,
    algorithm: String,
    digits: i64,
    period: i64,
    added: u64,
    enabled: bool,
    #[serde(deserialize_with = "secret")]
    secret: Secret,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRecovery {
    selector: String,
    hash: String,
}

/// Decodes a key straight from the file's buffer, which is wiped, without an owned copy in between.
fn secret<'de, D: Deserializer<'de>>(input: D) -> Result<Secret, D::Error> {
    let text = <&str>::deserialize(input)?;
    Secret::from_base32(text).map_err(|bad| D::Error::custom(bad.to_string()))
}

impl File {
    fn check(self) -> Result<Credentials, String> {
        if self.format != 1 {
            return Err(format!("format {} is not known; this version reads format 1", self.format));
        }
        if self.device.len() > MAX_DEVICES {
            return Err(format!("more than {MAX_DEVICES} devices"));
        }
        if self.revoked.is_none() && self.device.is_empty() {
            return Err("no device".to_owned());
        }
        Ok(Credentials {
            enrollment: EnrollmentId::parse(&self.enrollment).ok_or("enrollment is not an id")?,
            user: UserName::parse(self.user.as_bytes()).ok_or("user is not a user name")?,
            uid: Uid(self.uid),
            created: WallTime(self.created),
            revoked: self.revoked.map(|file| Revocation { time: WallTime(file.time), reason: file.reason }),
            devices: self.device.into_iter().map(FileDevice::check).collect::<Result<_, _>>()?,
            recovery: self.recovery.iter().map(FileRecovery::check).collect::<Result<_, _>>()?,
        })
    }
}

impl FileDevice {
    fn check(self) -> Result<Device, String> {
        let algorithm = Algorithm::parse(&self.algorithm).ok_or("algorithm is not known")?;
        Ok(Device {
            id: DeviceId::parse(&self.id).ok_or("device id is not an id")?,
            label: Label::parse(&self.label).ok_or("label is not a label")?,
            shape: Shape::new(algorithm, self.digits, self.period)?,
            secret: self.secret,
            added: WallTime(self.added),
            enabled: self.enabled,
        })
    }
}

impl FileRecovery {
    fn check(&self) -> Result<Recovery, String> {
        let selector = Selector::parse(&self.selector).ok_or("selector is not one")?;
        let hash = RecoveryHash::parse(&self.hash).ok_or("recovery hash is not one")?;
        Ok(Recovery { selector, hash })
    }
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
        assert!(error.starts_with("line 15, column 10: character 5 of the key"), "{error}");
        let error = Credentials::parse(&sample().to_text().replace("digits = 8", "digits = 9")).unwrap_err();
        assert!(error.contains("digits must be 6, 7 or 8"), "{error}");
        assert!(Credentials::parse("format = 1").is_err());
        assert!(Credentials::parse(&sample().to_text().replace("format = 1", "format = 2")).is_err());
        assert!(Credentials::parse(&sample().to_text().replace("[[recovery]]", "[[recovry]]")).is_err());
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
