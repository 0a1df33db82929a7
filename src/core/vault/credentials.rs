//! `credentials.toml`: who is enrolled, with which devices and recovery codes. Rarely written, always by replacement.

use std::fmt::Write as _;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::section::{Section, at, quoted};
use crate::budget::State;
use crate::otp::recovery::Selector;
use crate::otp::{Algorithm, SaltedHash, Secret, Shape};
use crate::words::{DeviceId, EnrollmentId, Label, Step, TicketId, Uid, UserName, WallTime};

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
    /// The ticket that it was enrolled with.
    pub ticket: Option<TicketId>,
    /// Set when another device was enrolled in its place.
    pub replaced: Option<Replaced>,
}

/// How long a device is good beside the one that was enrolled in its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replaced {
    /// The new device.
    pub by: DeviceId,
    /// Until then at most.
    pub until: WallTime,
    /// The step that confirmed the new device: a code of a later one ends the old device.
    pub step: Step,
}

/// What is kept of one recovery code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recovery {
    /// Which one.
    pub selector: Selector,
    /// Its hash.
    pub hash: SaltedHash,
}

impl Credentials {
    /// The devices whose codes are accepted.
    pub fn enabled(&self) -> impl Iterator<Item = &Device> {
        self.devices.iter().filter(|device| device.enabled)
    }

    /// The devices, enabled or not, whose key has fewer than 128 bits: taken over from elsewhere, to be rotated.
    pub fn weak(&self) -> impl Iterator<Item = &Device> {
        self.devices.iter().filter(|device| device.secret.is_weak())
    }

    /// Whether a device was enrolled in place of another one that may still be good.
    pub fn has_replaced(&self) -> bool {
        self.enabled().any(|device| device.replaced.is_some())
    }

    /// Disables the devices whose time is over: the one in their place was used once, or the day has come. A clock that
    /// stands before the day on which the new one was added went back, and is not believed.
    pub fn end_replaced(&mut self, state: &State, now: WallTime) {
        let all: Vec<_> = self.devices.iter().map(|device| (device.id, device.added, device.replaced)).collect();
        for device in &mut self.devices {
            let Some(replaced) = device.replaced else { continue };
            let is_new_used = is_used(&all, replaced, state, MAX_DEVICES);
            let since = all.iter().find(|(id, ..)| *id == replaced.by).map(|(_, added, _)| *added);
            let is_in_time = now < replaced.until && since.is_none_or(|since| since <= now);
            device.enabled &= is_in_time && !is_new_used;
        }
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
            if let Some(ticket) = device.ticket {
                writeln!(out, "ticket = \"{ticket}\"")?;
            }
            if let Some(Replaced { by, until, step }) = device.replaced {
                writeln!(out, "replaced_by = \"{by}\"\nreplaced_until = {}\nreplaced_step = {}", until.0, step.0)?;
            }
            writeln!(out, "secret = \"{}\"", *device.secret.to_base32())?;
        }
        Ok(())
    }
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
        revoked: if file.has("revoked") { Some(read_revoked(&file)?) } else { None },
        devices: file.list("device", |item| read_device(text, item))?,
        recovery: file.list("recovery", |item| read_recovery(text, item))?,
    };
    match (credentials.devices.len(), &credentials.revoked) {
        (0, None) => Err("no device".to_owned()),
        (0..=MAX_DEVICES, _) => Ok(credentials),
        _ => Err(format!("more than {MAX_DEVICES} devices")),
    }
}

/// Whether the device that took another one's place was used since, or the one that took its own.
fn is_used(
    all: &[(DeviceId, WallTime, Option<Replaced>)],
    replaced: Replaced,
    state: &State,
    steps_left: usize,
) -> bool {
    let next = all.iter().find(|(id, ..)| *id == replaced.by).and_then(|(_, _, next)| *next);
    let is_next_used = || match (next, steps_left.checked_sub(1)) {
        (Some(next), Some(steps_left)) => is_used(all, next, state, steps_left),
        _ => false,
    };
    state.floor(replaced.by).is_some_and(|floor| floor > replaced.step) || is_next_used()
}

const DEVICE_KEYS: [&str; 12] = [
    "id",
    "label",
    "algorithm",
    "digits",
    "period",
    "added",
    "enabled",
    "secret",
    "ticket",
    "replaced_by",
    "replaced_until",
    "replaced_step",
];

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
        // One that is too short for `enroll` was accepted when it was taken over from elsewhere.
        secret: Secret::from_base32_or_weak(text).map_err(|bad| wrong(&bad))?,
        added: WallTime(section.number("added")?),
        enabled: section.read("enabled", DeValue::as_bool)?,
        ticket: if section.has("ticket") { Some(section.text("ticket", TicketId::parse)?) } else { None },
        replaced: if section.has("replaced_by") { Some(read_replaced(&section)?) } else { None },
    })
}

fn read_replaced(section: &Section<'_>) -> Result<Replaced, String> {
    Ok(Replaced {
        by: section.text("replaced_by", DeviceId::parse)?,
        until: WallTime(section.number("replaced_until")?),
        step: Step(section.number("replaced_step")?),
    })
}

/// `SELECTOR HASH`
fn read_recovery(file: &str, item: &Spanned<DeValue<'_>>) -> Result<Recovery, String> {
    let parts = item.get_ref().as_str().and_then(|text| text.split_once(' '));
    let parsed = parts.and_then(|(selector, hash)| {
        Some(Recovery { selector: Selector::parse(selector)?, hash: SaltedHash::parse(hash)? })
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
            ticket: (id == 1).then_some(TicketId([9; 8])),
            replaced: (id == 2).then_some(Replaced { by: DeviceId([1; 4]), until: WallTime(7), step: Step(3) }),
        };
        Credentials {
            enrollment: EnrollmentId([7; 8]),
            user: UserName::parse(b"alice").unwrap(),
            uid: Uid(1000),
            created: WallTime(1_700_000_000_000),
            revoked: None,
            devices: vec![device(1, "phone \"red\" \\ \u{e9}"), device(2, "tablet")],
            recovery: vec![Recovery { selector: Selector::parse("ABCD").unwrap(), hash: SaltedHash::decoy() }],
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
    fn a_weak_device_reads_back_and_is_told_of_and_one_that_is_no_key_does_not() {
        let key = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        assert_eq!(sample().weak().count(), 0);
        let weak = sample().to_text().replacen(key, "GEZDGNBVGY3TQOJQ", 1);
        let labels: Vec<_> =
            Credentials::parse(&weak).unwrap().weak().map(|device| device.label.as_str().to_owned()).collect();
        assert_eq!(labels, ["phone \"red\" \\ \u{e9}"]);
        let shorter = sample().to_text().replacen(key, "GEZDGNBVGY3TQ", 1);
        assert!(Credentials::parse(&shorter).unwrap_err().contains("64 bits"));
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
        assert!(error.starts_with("line 19, column 10: character 5 of the key"), "{error}");
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
