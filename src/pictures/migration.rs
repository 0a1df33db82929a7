//! What Google Authenticator moves accounts to another phone with: base64 of a message of protocol buffers, which holds one
//! message an account.

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL_NOPAD};
use qrtotp_core::otp::Secret;
use zeroize::Zeroizing;

use crate::holds::Key;

/// Accounts that are read of one export; an app puts ten into a picture.
const MOST: usize = 100;

/// Numbers of the fields.
const ACCOUNT: u64 = 1;
const PICTURES: u64 = 3;
const PICTURE: u64 = 4;
const BATCH: u64 = 5;
const SECRET: u64 = 1;
const NAME: u64 = 2;
const ISSUER: u64 = 3;
const ALGORITHM: u64 = 4;
const DIGITS: u64 = 5;
const KIND: u64 = 6;
const COUNTER: u64 = 7;

/// What one picture of an export holds.
#[derive(Debug)]
pub struct Export {
    /// The accounts.
    pub keys: Vec<Key>,
    /// Which picture it is, counted from 1.
    pub picture: u64,
    /// How many pictures the export has.
    pub pictures: u64,
    /// Tells the pictures of one export from those of another.
    pub batch: u64,
}

/// What the parameter `data` holds. `None` where it is damaged.
pub fn export(data: &str) -> Option<Export> {
    // A `+` may have become a blank on the way.
    let data = Zeroizing::new(data.replace(' ', "+"));
    let unpadded = data.trim_end_matches('=').as_bytes();
    let decoded = BASE64.decode(data.as_bytes());
    let decoded = decoded.or_else(|_| BASE64_NOPAD.decode(unpadded)).or_else(|_| BASE64URL_NOPAD.decode(unpadded));
    let message = Zeroizing::new(decoded.ok()?);
    let mut export = Export { keys: Vec::new(), picture: 1, pictures: 1, batch: 0 };
    for field in Fields(&message) {
        match field? {
            (ACCOUNT, Value::Bytes(account)) if export.keys.len() < MOST => export.keys.push(key(account)?),
            (PICTURES, Value::Number(number)) => export.pictures = number.max(1),
            (PICTURE, Value::Number(number)) => export.picture = number.saturating_add(1),
            (BATCH, Value::Number(number)) => export.batch = number,
            _ => {}
        }
    }
    (!export.keys.is_empty()).then_some(export)
}

fn key(message: &[u8]) -> Option<Key> {
    let mut key = Key { kind: "totp".to_owned(), ..Key::default() };
    for field in Fields(message) {
        match field? {
            (SECRET, Value::Bytes(bytes)) => {
                key.bits = bytes.len().saturating_mul(8);
                key.secret = Secret::from_bytes_or_weak(bytes).ok();
            }
            (NAME, Value::Bytes(name)) => key.account = text(name),
            (ISSUER, Value::Bytes(issuer)) => key.issuer = text(issuer),
            (ALGORITHM, Value::Number(number)) => key.algorithm = algorithm(number),
            (DIGITS, Value::Number(number)) => key.digits = digits(number),
            (KIND, Value::Number(1)) => key.kind = "hotp".to_owned(),
            (KIND, Value::Number(number)) if number > 2 => key.kind = unknown(number),
            (COUNTER, Value::Number(number)) => key.counter = Some(number.to_string()),
            _ => {}
        }
    }
    Some(key)
}

fn text(bytes: &[u8]) -> Option<String> {
    Some(String::from_utf8_lossy(bytes).into_owned()).filter(|text| !text.is_empty())
}

/// `None` where it says what everybody takes for granted.
fn algorithm(number: u64) -> Option<String> {
    match number {
        0 | 1 => None,
        2 => Some("SHA256".to_owned()),
        3 => Some("SHA512".to_owned()),
        4 => Some("MD5".to_owned()),
        other => Some(unknown(other)),
    }
}

/// The same.
fn digits(number: u64) -> Option<String> {
    match number {
        0 | 1 => None,
        2 => Some("8".to_owned()),
        other => Some(unknown(other)),
    }
}

/// What is not known must not be taken for what is usual.
fn unknown(number: u64) -> String {
    format!("unknown ({number})")
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message; `None` once, where it is damaged.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let tag = self.number()?;
        let value = match tag & 7 {
            0 => Value::Number(self.number()?),
            1 => Value::Bytes(self.bytes(8)?),
            2 => {
                let length = self.number()?;
                Value::Bytes(self.bytes(usize::try_from(length).ok()?)?)
            }
            5 => Value::Bytes(self.bytes(4)?),
            _ => return None,
        };
        Some((tag >> 3, value))
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Two accounts, written field by field.
    fn sample() -> Vec<u8> {
        let alice =
            [b"\x0a\x14".as_slice(), b"12345678901234567890", b"\x12\x05alice\x1a\x02h1\x20\x01\x28\x01\x30\x02"]
                .concat();
        let bob = [b"\x0a\x0a".as_slice(), b"1234567890", b"\x12\x03bob\x20\x02\x28\x02\x30\x01\x38\x07"].concat();
        let mut message = Vec::new();
        for account in [alice, bob] {
            message.extend([0x0a, u8::try_from(account.len()).unwrap()]);
            message.extend(account);
        }
        message.extend(b"\x10\x01\x18\x03\x20\x01\x28\x4d");
        message
    }

    #[test]
    fn every_account_of_an_export_is_told() {
        for data in
            [BASE64.encode(&sample()), BASE64.encode(&sample()).replace('+', " "), BASE64URL_NOPAD.encode(&sample())]
        {
            let export = export(&data).unwrap();
            assert_eq!((export.picture, export.pictures, export.batch), (2, 3, 77));
            let keys = export.keys;
            let names: Vec<_> =
                keys.iter().map(|key| (key.kind.as_str(), key.account.as_deref().unwrap(), key.bits)).collect();
            assert_eq!(names, [("totp", "alice", 160), ("hotp", "bob", 80)]);
            let expected = Secret::from_base32("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").unwrap();
            assert!(keys[0].secret.as_ref().unwrap().is_same(&expected));
            assert_eq!((keys[0].issuer.as_deref(), keys[1].algorithm.as_deref()), (Some("h1"), Some("SHA256")));
            assert_eq!((keys[1].digits.as_deref(), keys[1].counter.as_deref()), (Some("8"), Some("7")));
        }
    }

    #[test]
    fn what_is_not_known_is_not_taken_for_the_usual() {
        let account = b"\x0a\x0212\x20\x09\x28\x05\x30\x04";
        let message = [b"\x0a\x0a".as_slice(), account].concat();
        let export = export(&BASE64.encode(&message)).unwrap();
        let key = &export.keys[0];
        assert_eq!((key.kind.as_str(), key.algorithm.as_deref()), ("unknown (4)", Some("unknown (9)")));
        assert_eq!((key.digits.as_deref(), export.picture, export.pictures), (Some("unknown (5)"), 1, 1));
    }

    #[test]
    fn what_is_damaged_is_no_export() {
        let whole = sample();
        for damaged in [&b""[..], b"\xff", b"\x0a\x7f", whole.get(..9).unwrap(), b"\x0b"] {
            assert!(export(&BASE64.encode(damaged)).is_none(), "{damaged:?}");
        }
        assert!(export("no base64!").is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = export(&BASE64.encode(&bytes));
        }
    }
}
