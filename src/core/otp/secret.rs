//! The shared key of one device: wiped on drop, redacted in Debug, no Clone, no Display.

use std::fmt;
use std::hash::BuildHasher;

use data_encoding::{BASE32_NOPAD, DecodeError, DecodeKind};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::ports::{NoRandom, Random};

/// The shared key of one device.
pub struct Secret(Zeroizing<Vec<u8>>);

/// Why a text is no key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BadSecret {
    /// A character that base32 does not have; its position, counted from 1 without blanks and dashes.
    Character(usize),
    /// The number of characters cannot be base32.
    Length,
    /// Fewer than 128 bits (RFC 4226, section 4, R6); holds the number of bits.
    Short(usize),
    /// More than 1024 bits; holds the number of bits.
    Long(usize),
}

impl fmt::Display for BadSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Character(at) => write!(f, "character {at} of the key is not base32 (A to Z and 2 to 7)"),
            Self::Length => f.write_str("the key is cut off: its number of characters cannot be base32"),
            Self::Short(bits) => write!(f, "the key has {bits} bits; RFC 4226 asks for 128 at least"),
            Self::Long(bits) => write!(f, "the key has {bits} bits; 1024 is the most"),
        }
    }
}

impl Secret {
    /// Bytes of a key made here: 160 bits, as RFC 4226 recommends.
    pub const MADE: usize = 20;
    /// Bytes below which a key is weak: 128 bits (RFC 4226, section 4, R6).
    const STRONG: usize = 16;
    /// Bytes of the weakest key that is taken over from elsewhere: the 80 bits that google-authenticator once made.
    pub const WEAKEST: usize = 10;
    const MAX: usize = 128;

    /// Makes a key of [`Secret::MADE`] bytes.
    ///
    /// # Errors
    /// [`NoRandom`] where the kernel gives no random numbers.
    pub fn generate(random: &dyn Random) -> Result<Self, NoRandom> {
        let mut bytes = Zeroizing::new(vec![0; Self::MADE]);
        random.fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// Reads base32 in any case, with or without padding, blanks and dashes.
    ///
    /// # Errors
    /// [`BadSecret`], which never quotes the text.
    pub fn from_base32(text: &str) -> Result<Self, BadSecret> {
        let secret = Self::from_base32_or_weak(text)?;
        if secret.is_weak() { Err(BadSecret::Short(secret.bits())) } else { Ok(secret) }
    }

    /// The same, down to [`Secret::WEAKEST`] bytes: what an administrator took over from elsewhere, and said that he
    /// accepts it.
    ///
    /// # Errors
    /// [`BadSecret`], which never quotes the text.
    pub fn from_base32_or_weak(text: &str) -> Result<Self, BadSecret> {
        let mut clean = Zeroizing::new(Vec::with_capacity(text.len()));
        clean.extend(text.bytes().filter(|b| !matches!(b, b' ' | b'-')).map(|b| b.to_ascii_uppercase()));
        while clean.last() == Some(&b'=') {
            clean.pop();
        }
        let room = BASE32_NOPAD.decode_len(clean.len()).map_err(bad)?;
        let mut bytes = Zeroizing::new(vec![0; room]);
        let length = BASE32_NOPAD.decode_mut(&clean, &mut bytes).map_err(|partial| bad(partial.error))?;
        bytes.truncate(length);
        match length {
            0..Self::WEAKEST => Err(BadSecret::Short(length.saturating_mul(8))),
            Self::WEAKEST..=Self::MAX => Ok(Self(bytes)),
            _ => Err(BadSecret::Long(length.saturating_mul(8))),
        }
    }

    /// Takes the bytes of a key that was made elsewhere, [`Secret::WEAKEST`] of them at least.
    ///
    /// # Errors
    /// [`BadSecret`] where there are too few or too many.
    pub fn from_bytes_or_weak(bytes: &[u8]) -> Result<Self, BadSecret> {
        let mut text = Zeroizing::new(String::with_capacity(BASE32_NOPAD.encode_len(bytes.len())));
        BASE32_NOPAD.encode_append(bytes, &mut text);
        Self::from_base32_or_weak(&text)
    }

    /// The key in base32 without padding, as authenticator apps take it.
    pub fn to_base32(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(BASE32_NOPAD.encode_len(self.0.len())));
        BASE32_NOPAD.encode_append(&self.0, &mut text);
        text
    }

    /// The key in groups of four characters, as people copy it.
    pub fn in_groups(&self) -> Zeroizing<String> {
        let text = self.to_base32();
        let mut groups = Zeroizing::new(String::with_capacity(text.len().saturating_mul(2)));
        for (at, character) in text.chars().enumerate() {
            if at > 0 && at.is_multiple_of(4) {
                groups.push(' ');
            }
            groups.push(character);
        }
        groups
    }

    /// How many bits it has.
    pub fn bits(&self) -> usize {
        self.0.len().saturating_mul(8)
    }

    /// Whether it has fewer than the 128 bits that RFC 4226 asks for.
    pub fn is_weak(&self) -> bool {
        self.0.len() < Self::STRONG
    }

    /// Whether every byte is the same: what was zeroed, or filled in by hand, is no secret.
    pub fn is_constant(&self) -> bool {
        self.bytes().windows(2).all(|pair| pair.first() == pair.last())
    }

    /// Whether the other is the same key, in constant time for keys of one length.
    pub fn is_same(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// A number for finding a key among many, by a hasher that nobody else knows; equal ones still have to be compared.
    pub fn hashed_by(&self, hasher: &impl BuildHasher) -> u64 {
        hasher.hash_one(self.bytes())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

fn bad(error: DecodeError) -> BadSecret {
    match error.kind {
        DecodeKind::Symbol => BadSecret::Character(error.position.saturating_add(1)),
        DecodeKind::Length | DecodeKind::Padding | DecodeKind::Trailing => BadSecret::Length,
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base32_is_read_in_any_case_with_blanks_dashes_and_padding() {
        let plain = Secret::from_base32("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").unwrap();
        for form in ["gezd gnbv gy3t qojq gezd gnbv gy3t qojq", "GEZD-GNBV-GY3T-QOJQ-GEZD-GNBV-GY3T-QOJQ===="] {
            assert_eq!(Secret::from_base32(form).unwrap().bytes(), plain.bytes(), "{form}");
        }
        assert_eq!(plain.bytes(), b"12345678901234567890");
        assert_eq!(*plain.to_base32(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert_eq!(*plain.in_groups(), "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ");
    }

    #[test]
    fn what_is_no_key_is_refused_with_its_reason() {
        assert_eq!(Secret::from_base32("GEZDGNBVGY3TQOJQGEZDGNBV").unwrap_err(), BadSecret::Short(120));
        assert_eq!(Secret::from_base32("GEZD1NBVGY3TQOJQGEZDGNBVGY3TQOJQ").unwrap_err(), BadSecret::Character(5));
        assert_eq!(Secret::from_base32("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQG").unwrap_err(), BadSecret::Length);
        assert_eq!(Secret::from_base32("").unwrap_err(), BadSecret::Short(0));
        assert_eq!(Secret::from_base32(&"A".repeat(1024)).unwrap_err(), BadSecret::Long(5120));
    }

    #[test]
    fn a_short_key_is_read_only_where_weak_ones_are_and_says_that_it_is_one() {
        let weak = Secret::from_base32_or_weak("GEZDGNBVGY3TQOJQ").unwrap();
        assert!(weak.is_weak() && weak.bits() == 80);
        assert_eq!(Secret::from_base32("GEZDGNBVGY3TQOJQ").unwrap_err(), BadSecret::Short(80));
        assert_eq!(Secret::from_base32_or_weak("GEZDGNBVGY3TQ").unwrap_err(), BadSecret::Short(64));
        assert!(weak.is_same(&Secret::from_bytes_or_weak(b"1234567890").unwrap()));
        assert!(!Secret::from_bytes_or_weak(&[7; 16]).unwrap().is_weak());
        assert_eq!(Secret::from_bytes_or_weak(&[7; 9]).unwrap_err(), BadSecret::Short(72));
        assert_eq!(Secret::from_bytes_or_weak(&[7; 129]).unwrap_err(), BadSecret::Long(1032));
    }

    #[test]
    fn a_key_of_one_repeated_byte_is_told_apart() {
        let is_constant = |bytes: &[u8]| Secret::from_bytes_or_weak(bytes).unwrap().is_constant();
        assert!(is_constant(&[0; 20]) && is_constant(&[0xff; 10]) && is_constant(b"1111111111111111"));
        assert!(
            !is_constant(b"1111111111111112") && !is_constant(b"2111111111111111") && !is_constant(b"1212121212121212")
        );
    }

    #[test]
    fn the_same_key_is_the_same_and_no_other_is() {
        let key = |text: &str| Secret::from_base32(text).unwrap();
        let one = key("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        let hasher = std::hash::RandomState::new();
        assert!(one.is_same(&key("gezd gnbv gy3t qojq gezd gnbv gy3t qojq")));
        assert_eq!(one.hashed_by(&hasher), key("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").hashed_by(&hasher));
        assert!(!one.is_same(&key("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJA")));
        assert!(!one.is_same(&key("GEZDGNBVGY3TQOJQGEZDGNBVGY")), "the beginning of it");
        assert_eq!((one.bits(), key("GEZDGNBVGY3TQOJQGEZDGNBVGY").bits()), (160, 128));
    }

    #[test]
    fn a_secret_does_not_print() {
        let secret = Secret::from_base32("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret([redacted])");
    }
}
