//! Time zones of rules: the machine's own, a named one, or a fixed offset.

use std::path::{Path, PathBuf};

use crate::files;
use crate::words::WallTime;

/// Where the machine keeps named zones.
const ZONES: &str = "/usr/share/zoneinfo";
/// What the machine's own zone is.
const OWN: &str = "/etc/localtime";
/// Largest zone file that is read, in bytes.
const MOST: usize = 64 * 1024;

/// A time zone, as a rule names it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Zone {
    /// The machine's own.
    #[default]
    Local,
    /// Seconds east of UTC.
    Fixed(i32),
    /// A name of the tz database.
    Named(String),
}

impl Zone {
    /// Reads `local`, `UTC`, `+02:00`, or a name like `Europe/Berlin`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "local" => Some(Self::Local),
            "UTC" => Some(Self::Fixed(0)),
            _ => offset(text).map(Self::Fixed).or_else(|| name(text).map(Self::Named)),
        }
    }

    /// Seconds east of UTC at a time, by the machine's zone files; `None` where they do not say.
    pub fn offset_at(&self, time: WallTime) -> Option<i32> {
        let file: PathBuf = match self {
            Self::Fixed(seconds) => return Some(*seconds),
            Self::Local => OWN.into(),
            Self::Named(name) => Path::new(ZONES).join(name),
        };
        let bytes = files::read_public(&file, MOST).ok()?;
        // No file means UTC, as for the C library.
        let Some(bytes) = bytes else { return (*self == Self::Local).then_some(0) };
        let zone = tz::TimeZone::from_tz_data(&bytes).ok()?;
        let seconds = i64::try_from(time.seconds()).ok()?;
        zone.find_local_time_type(seconds).ok().map(|kind| kind.ut_offset())
    }
}

/// `+02:00`, `-09:30`: seconds.
fn offset(text: &str) -> Option<i32> {
    let (sign, rest) = text.split_at_checked(1)?;
    let east = match sign {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    let digits = |part: &str| (part.len() == 2).then(|| part.parse::<i32>().ok()).flatten();
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    let seconds = hours.checked_mul(3600)?.checked_add(minutes.checked_mul(60)?)?;
    (hours <= 14 && minutes < 60).then(|| seconds.checked_mul(east)).flatten()
}

/// A name of the tz database: parts of letters, digits, `_`, `-` and `+`, so that it stays below its folder.
fn name(text: &str) -> Option<String> {
    let is_part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_uppercase())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+'))
    };
    (text.len() <= 64 && text.split('/').all(is_part)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_names_and_the_two_words_are_read_and_paths_are_not() {
        assert_eq!(Zone::parse("local"), Some(Zone::Local));
        assert_eq!(Zone::parse("UTC"), Some(Zone::Fixed(0)));
        assert_eq!(Zone::parse("-09:30"), Some(Zone::Fixed(-34_200)));
        assert_eq!(Zone::parse("America/Argentina/Ushuaia"), Some(Zone::Named("America/Argentina/Ushuaia".to_owned())));
        for bad in
            ["", "utc", "+2:00", "+15:00", "+01:60", "../Paris", "Europe/../x", "/etc/localtime", "Europe/", "A b"]
        {
            assert_eq!(Zone::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_zone_that_is_not_there_says_nothing() {
        assert_eq!(Zone::Named("Nowhere".to_owned()).offset_at(WallTime(0)), None);
        assert_eq!(Zone::Fixed(3600).offset_at(WallTime(0)), Some(3600));
    }

    #[test]
    fn a_named_zone_knows_its_summer() {
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        if Path::new("/usr/share/zoneinfo/Europe/Berlin").exists() {
            assert_eq!(berlin.offset_at(WallTime(1_768_478_400_000)), Some(3600));
            assert_eq!(berlin.offset_at(WallTime(1_784_116_800_000)), Some(7200));
        }
    }
}
