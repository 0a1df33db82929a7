//! Address -> country, from a file in the MMDB format. Nothing is looked up in the network, and what the file does not say is
//! not guessed.

use std::net::IpAddr;
use std::path::Path;

use maxminddb::{Reader, path};
use qrtotp_core::files::{Trouble, read_public};
use qrtotp_core::words::Source;

use crate::filter::source;
use crate::line::Line;

/// Largest database that is read, in bytes: those of all networks of the world are smaller.
const MOST: usize = 256 * 1024 * 1024;

/// A database of countries; without one no country is known.
#[derive(Default)]
pub struct Geo {
    reader: Option<Reader<Vec<u8>>>,
}

impl Geo {
    /// Reads a database; `None` is none.
    ///
    /// # Errors
    /// [`Trouble`] where it is missing, others may write it, or it is no database.
    pub fn open(file: Option<&Path>) -> Result<Self, Trouble> {
        let Some(file) = file else { return Ok(Self::default()) };
        let fail = |what: String| Trouble::new(file, format_args!("{what}; see [geo] database"));
        let bytes = read_public(file, MOST)?.ok_or_else(|| fail("is missing".to_owned()))?;
        let reader = Reader::from_source(bytes.to_vec());
        Ok(Self { reader: Some(reader.map_err(|error| fail(format!("is no MMDB database: {error}")))?) })
    }

    /// Whether there is a database.
    pub fn is_there(&self) -> bool {
        self.reader.is_some()
    }

    /// The two letters of the country of an address (ISO 3166-1), as the database has it.
    pub fn country(&self, address: IpAddr) -> Option<String> {
        let reader = self.reader.as_ref()?;
        let found = reader.lookup(address).ok()?;
        let code: Option<String> = found.decode_path(&path!["country", "iso_code"]).ok()?;
        code.filter(|code| code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase()))
    }

    /// The country that an event came from.
    pub fn of(&self, line: &Line) -> Option<String> {
        match source(line)? {
            Source::Address(address) => self.country(address),
            Source::Local(_) | Source::Name(_) => None,
        }
    }
}

#[cfg(test)]
#[path = "../../tests/harness/mmdb.rs"]
mod mmdb;

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn database(bytes: &[u8]) -> Result<Geo, Trouble> {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("countries.mmdb");
        std::fs::write(&file, bytes).unwrap();
        Geo::open(Some(&file))
    }

    fn small() -> Vec<u8> {
        mmdb::countries(&[
            ("192.0.2.0", 24, "DE"),
            ("198.51.100.0", 25, "FR"),
            ("2001:db8::", 32, "AT"),
            ("203.0.113.0", 24, "x1"),
        ])
    }

    #[test]
    fn an_address_is_in_the_country_that_the_database_says_or_in_none() {
        let geo = database(&small()).unwrap();
        let cases = [
            ("192.0.2.7", Some("DE")),
            ("198.51.100.127", Some("FR")),
            ("198.51.100.128", None),
            ("2001:db8::1", Some("AT")),
            ("2001:db9::1", None),
            ("10.0.0.1", None),
            ("203.0.113.1", None),
        ];
        for (address, country) in cases {
            assert_eq!(geo.country(address.parse().unwrap()).as_deref(), country, "{address}");
        }
        assert_eq!(Geo::open(None).unwrap().country("192.0.2.7".parse().unwrap()), None);
        let line = |source: &str| Line { source: source.to_owned(), ..Line::default() };
        assert_eq!(geo.of(&line("192.0.2.7")).as_deref(), Some("DE"));
        assert!(geo.of(&line("local:0")).is_none() && geo.of(&line("a host name")).is_none());
    }

    #[test]
    fn what_is_no_database_is_refused_and_a_damaged_one_says_nothing_wrong() {
        assert!(database(b"").is_err() && database(b"GIF89a").is_err());
        assert!(Geo::open(Some(Path::new("/nonexistent/x.mmdb"))).is_err());
        let whole = small();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x55;
            // Any answer will do; there must be one.
            let _ = database(&bytes).map(|geo| geo.country("192.0.2.7".parse().unwrap()));
            let _ = database(&whole[..at]).map(|geo| geo.country("2001:db8::1".parse().unwrap()));
        }
    }
}
