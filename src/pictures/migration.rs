//! What Google Authenticator moves accounts to another phone with: base64 of a message of protocol buffers, which holds one
//! message an account.

use data_encoding::{BASE32_NOPAD, BASE64, BASE64_NOPAD, BASE64URL_NOPAD};
use qrtotp_core::otp::Secret;
use zeroize::Zeroizing;

use crate::holds::Key;

/// Accounts that are read of one export; an app puts ten into a picture.
const MOST: usize = 100;

/// Numbers of the fields.
const ACCOUNT: u64 = 1;
const SECRET: u64 = 1;
const NAME: u64 = 2;
const ISSUER: u64 = 3;
const ALGORITHM: u64 = 4;
const DIGITS: u64 = 5;
const KIND: u64 = 6;
const COUNTER: u64 = 7;

/// The accounts in the parameter `data`. `None` where it is damaged.
pub fn keys(data: &str) -> Option<Vec<Key>> {
    // A `+` may have become a blank on the way.
    let data = Zeroizing::new(data.replace(' ', "+"));
    let unpadded = data.trim_end_matches('=').as_bytes();
    let decoded = BASE64.decode(data.as_bytes());
    let decoded = decoded.or_else(|_| BASE64_NOPAD.decode(unpadded)).or_else(|_| BASE64URL_NOPAD.decode(unpadded));
    let message = Zeroizing::new(decoded.ok()?);
    let mut keys = Vec::new();
    for field in Fields(&message) {
        if let (ACCOUNT, Value::Bytes(account)) = field? {
            keys.push(key(account)?);
        }
        if keys.len() >= MOST {
            break;
        }
    }
    (!keys.is_empty()).then_some(keys)
}

fn key(message: &[u8]) -> Option<Key> {
    let mut key = Key { kind: "totp".to_owned(), ..Key::default() };
    for field in Fields(message) {
        match field? {
            (SECRET, Value::Bytes(bytes)) => {
                key.bits = bytes.len().saturating_mul(8);
                key.secret = Secret::from_base32(&Zeroizing::new(BASE32_NOPAD.encode(bytes))).ok();
            }
            (NAME, Value::Bytes(name)) => key.account = text(name),
            (ISSUER, Value::Bytes(issuer)) => key.issuer = text(issuer),
            (ALGORITHM, Value::Number(number)) => key.algorithm = algorithm(number).map(str::to_owned),
            (DIGITS, Value::Number(2)) => key.digits = Some("8".to_owned()),
            (KIND, Value::Number(1)) => key.kind = "hotp".to_owned(),
            (COUNTER, Value::Number(number)) => key.counter = Some(number.to_string()),
            _ => {}
        }
    }
    Some(key)
}

fn text(bytes: &[u8]) -> Option<String> {
    Some(String::from_utf8_lossy(bytes).into_owned()).filter(|text| !text.is_empty())
}

fn algorithm(number: u64) -> Option<&'static str> {
    match number {
        2 => Some("SHA256"),
        3 => Some("SHA512"),
        4 => Some("MD5"),
        _ => None,
    }
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
        message.extend(b"\x10\x01\x18\x01\x20\x00");
        message
    }

    #[test]
    fn every_account_of_an_export_is_told() {
        for data in
            [BASE64.encode(&sample()), BASE64.encode(&sample()).replace('+', " "), BASE64URL_NOPAD.encode(&sample())]
        {
            let keys = keys(&data).unwrap();
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
    fn what_is_damaged_is_no_export() {
        let whole = sample();
        for damaged in [&b""[..], b"\xff", b"\x0a\x7f", whole.get(..9).unwrap(), b"\x0b"] {
            assert!(keys(&BASE64.encode(damaged)).is_none(), "{damaged:?}");
        }
        assert!(keys("no base64!").is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = keys(&BASE64.encode(&bytes));
        }
    }
}
