//! The words every room speaks: small types made by parsing, so that no meaning travels as a bare `u64` or `&str`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use data_encoding::HEXLOWER;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::calendar::{DAY, date_of};

/// A name that may be looked up as a user: 1 to 256 bytes of UTF-8 without control characters, `/`, or a dot alone.
///
/// It is never used as a path; state lives under the numeric [`Uid`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(transparent)]
pub struct UserName(String);

impl UserName {
    /// Longest name that is looked up, in bytes.
    pub const MAX: usize = 256;

    /// Parses what PAM_USER or an argument holds; `None` where no account can have that name.
    pub fn parse(raw: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(raw).ok()?;
        let fits = !text.is_empty() && text.len() <= Self::MAX && text != "." && text != "..";
        let clean = !text.chars().any(|c| c.is_control() || c == '/');
        (fits && clean).then(|| Self(text.to_owned()))
    }

    /// Stands in for the name of a folder whose credentials cannot be read.
    pub fn of_uid(uid: Uid) -> Self {
        Self(uid.0.to_string())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A numeric user id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(transparent)]
pub struct Uid(pub u32);

/// An account as the name service knows it now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// The canonical name, which may differ in case from the one asked for.
    pub name: UserName,
    /// Its user id.
    pub uid: Uid,
}

/// A time step of RFC 6238: whole periods since the Unix epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(transparent)]
pub struct Step(pub u64);

impl Step {
    /// The step this many steps away, as far as the numbers go.
    pub fn offset(self, by: i64) -> Self {
        Self(self.0.saturating_add_signed(by))
    }

    /// How many steps `self` lies after `other` (negative: before).
    pub fn since(self, other: Self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX).saturating_sub(i64::try_from(other.0).unwrap_or(i64::MAX))
    }
}

/// Wall clock time: milliseconds since the Unix epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct WallTime(pub u64);

impl WallTime {
    /// Whole seconds since the Unix epoch.
    pub fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// How far two times lie apart, in milliseconds, whichever is earlier.
    pub fn distance(self, other: Self) -> u64 {
        self.0.abs_diff(other.0)
    }
}

impl std::str::FromStr for WallTime {
    type Err = ();

    /// Reads `2026-11-24T09:30:00Z`, with or without a fraction of the second, and with any offset.
    fn from_str(text: &str) -> Result<Self, ()> {
        let moment: toml_datetime::Datetime = text.parse().map_err(|_| ())?;
        crate::calendar::moment(&moment).ok_or(())
    }
}

impl fmt::Display for WallTime {
    /// RFC 3339 in UTC with milliseconds, as `2026-11-24T09:30:00.000Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = i64::try_from(self.0 / DAY).unwrap_or(i64::MAX);
        let (year, month, day) = date_of(days);
        let ms = self.0 % DAY;
        let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1000)
    }
}

/// One reading of the clocks, taken once an answer and passed down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// What the time is; an administrator, or a bad battery, may move it.
    pub wall: WallTime,
    /// Milliseconds since this boot, sleep included; nobody can move it.
    pub boot: u64,
    /// Which boot; zero where it cannot be learned (a chroot without /proc).
    pub boot_id: [u8; 8],
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// Reads the lower-case hexadecimal form back.
            pub fn parse(text: &str) -> Option<Self> {
                HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER.encode(&self.0))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

id!(
    /// Names one enrollment of one user; a journal belongs to exactly one.
    EnrollmentId,
    8
);
id!(
    /// Names one device within an enrollment.
    DeviceId,
    4
);
id!(
    /// Names one enrollment ticket; it says nothing of what is typed.
    TicketId,
    8
);
id!(
    /// Names one attempt: the same in the journal, the event and the syslog line.
    AttemptId,
    8
);

/// What a person calls a device: 1 to 32 printable characters.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(transparent)]
pub struct Label(String);

impl Label {
    /// Longest label, in characters.
    pub const MAX: usize = 32;

    /// Parses a label; `None` if it is empty, too long, or holds a control character.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let fits = !text.is_empty() && text.chars().count() <= Self::MAX && text.chars().all(is_plain);
        fits.then(|| Self(text.to_owned()))
    }

    /// The label as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a character shows as itself: no control, and nothing that turns, hides or breaks the text around it.
pub fn is_plain(character: char) -> bool {
    let is_format = matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    !character.is_control() && !is_format
}

/// Where a login comes from, as the guessing budget tells sources apart.
///
/// An IPv6 address counts by its /64, which is what one subscriber owns; a mapped IPv4 address counts as IPv4.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// A program on this machine (sudo, su, login), by the real user id that called it.
    Local(Uid),
    /// A network address.
    Address(IpAddr),
    /// A host name, which anyone may choose for his own address: only its hash, for counting.
    Name([u8; 16]),
}

impl Source {
    /// Reads PAM_RHOST; empty or absent means a local caller.
    pub fn parse(rhost: Option<&[u8]>, caller: Uid) -> Self {
        let Some(raw) = rhost.filter(|raw| !raw.is_empty()) else {
            return Self::Local(caller);
        };
        let text = std::str::from_utf8(raw).unwrap_or("");
        let unscoped = text.split('%').next().unwrap_or(text);
        match unscoped.parse::<IpAddr>() {
            Ok(address) => Self::Address(address.to_canonical()),
            Err(_) => Self::Name(name_hash(raw)),
        }
    }

    /// Seventeen bytes that are equal exactly for sources that share a budget.
    pub fn key(&self) -> [u8; 17] {
        let (kind, value) = match self {
            Self::Local(uid) => (1, u128::from(uid.0).to_be_bytes()),
            Self::Address(IpAddr::V4(v4)) => (2, v4.to_ipv6_mapped().octets()),
            Self::Address(IpAddr::V6(v6)) => (3, network_of(*v6)),
            Self::Name(hash) => (4, *hash),
        };
        let mut key = [0; 17];
        let (first, rest) = key.split_at_mut(1);
        first.fill(kind);
        rest.copy_from_slice(&value);
        key
    }

    /// Reads [`Source::key`] back; the host part of an IPv6 address is gone.
    pub fn from_key(key: &[u8; 17]) -> Option<Self> {
        let (kind, value) = key.split_first()?;
        let value: [u8; 16] = value.try_into().ok()?;
        match kind {
            1 => u32::try_from(u128::from_be_bytes(value)).ok().map(|uid| Self::Local(Uid(uid))),
            2 => Ipv6Addr::from(value).to_ipv4_mapped().map(|v4| Self::Address(IpAddr::V4(v4))),
            3 => Some(Self::Address(IpAddr::V6(Ipv6Addr::from(value)))),
            4 => Some(Self::Name(value)),
            _ => None,
        }
    }
}

fn network_of(address: Ipv6Addr) -> [u8; 16] {
    let host_bits = u128::from(u64::MAX);
    (address.to_bits() & !host_bits).to_be_bytes()
}

fn name_hash(raw: &[u8]) -> [u8; 16] {
    let digest = Sha256::digest(raw);
    let mut hash = [0; 16];
    hash.iter_mut().zip(digest.iter()).for_each(|(to, from)| *to = *from);
    hash
}

impl fmt::Display for Source {
    /// `local:1000`, `192.0.2.7`, `2001:db8::/64` style for keys read back, or `name`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(uid) => write!(f, "local:{}", uid.0),
            Self::Address(address) => write!(f, "{address}"),
            Self::Name(_) => f.write_str("a host name"),
        }
    }
}

#[cfg(test)]
mod tests;
