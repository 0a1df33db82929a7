//! Recovery codes: a selector of 20 bits, which says which one it is, and 80 random bits, which are kept as a salted hash.
//!
//! The alphabet is Crockford's base32: no I, L, O, U; a typed I or L counts as 1, an O as 0. NIST SP 800-63B, section
//! 5.1.2.2, asks for a salted password hash below 112 bits; the selector means that a try costs one hash, not ten.

use std::fmt;
use std::sync::OnceLock;

use data_encoding::{Encoding, HEXLOWER, Specification};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::ports::{NoRandom, Random};

/// How many codes a set has.
pub const SET: usize = 10;
/// PBKDF2 rounds of new hashes: a few milliseconds. The bits are random, so more would only help a flood.
const ROUNDS: u32 = 10_000;
/// Most rounds that a stored hash may ask for.
const MAX_ROUNDS: u32 = 100_000;

/// One recovery code as it is typed or shown: wiped on drop, never printed by Debug.
pub struct RecoveryCode(Zeroizing<[u8; RecoveryCode::LENGTH]>);

/// The first four characters of a code. They tell the codes of a set apart and are no secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Selector(pub [u8; 4]);

impl RecoveryCode {
    /// Characters without dashes: 4 of selector, 16 of secret.
    pub const LENGTH: usize = 20;

    /// Takes 20 characters of the alphabet, in any case.
    pub fn parse(plain: &[u8]) -> Option<Self> {
        let mut text = Zeroizing::new([0; Self::LENGTH]);
        (plain.len() == Self::LENGTH).then_some(())?;
        for (to, from) in text.iter_mut().zip(plain) {
            *to = canonical(*from)?;
        }
        Some(Self(text))
    }

    /// Which code of a set this is.
    pub fn selector(&self) -> Selector {
        let mut selector = [0; 4];
        selector.iter_mut().zip(self.0.iter()).for_each(|(to, from)| *to = *from);
        Selector(selector)
    }

    /// The code as people write it down: `XXXX-XXXX-XXXX-XXXX-XXXX`.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(Self::LENGTH.saturating_add(4)));
        for (at, byte) in self.0.iter().enumerate() {
            if at > 0 && at.is_multiple_of(4) {
                text.push('-');
            }
            text.push(char::from(*byte));
        }
        text
    }

    fn secret(&self) -> &[u8] {
        self.0.split_at(4).1
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode([redacted])")
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{}", char::from(*byte)))
    }
}

impl Selector {
    /// Reads four characters of the alphabet.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 4] = text.as_bytes().try_into().ok()?;
        bytes.iter().all(|byte| canonical(*byte) == Some(*byte)).then_some(Self(bytes))
    }
}

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

fn canonical(byte: u8) -> Option<u8> {
    let upper = match byte.to_ascii_uppercase() {
        b'I' | b'L' => b'1',
        b'O' => b'0',
        other => other,
    };
    ALPHABET.contains(&upper).then_some(upper)
}

/// Crockford's base32, upper case.
fn crockford() -> Option<&'static Encoding> {
    static ENCODING: OnceLock<Option<Encoding>> = OnceLock::new();
    let make = || {
        let mut specification = Specification::new();
        specification.symbols.extend(ALPHABET.iter().map(|byte| char::from(*byte)));
        specification.encoding().ok()
    };
    ENCODING.get_or_init(make).as_ref()
}

/// Makes a fresh set of [`SET`] codes with different selectors, none of which is among the taken ones: a spent selector
/// would make a fresh code look spent.
///
/// # Errors
/// [`NoRandom`] where the kernel gives no random numbers.
pub fn generate_set(random: &dyn Random, taken: &[Selector]) -> Result<Vec<RecoveryCode>, NoRandom> {
    let mut set: Vec<RecoveryCode> = Vec::with_capacity(SET);
    while set.len() < SET {
        let code = generate(random)?;
        let is_free = |taken: Selector| taken != code.selector();
        if taken.iter().copied().all(is_free) && set.iter().map(RecoveryCode::selector).all(is_free) {
            set.push(code);
        }
    }
    Ok(set)
}

fn generate(random: &dyn Random) -> Result<RecoveryCode, NoRandom> {
    let mut bytes = Zeroizing::new([0_u8; 13]);
    random.fill(&mut *bytes)?;
    let mut text = Zeroizing::new(String::with_capacity(RecoveryCode::LENGTH.saturating_add(1)));
    crockford().ok_or(NoRandom)?.encode_append(&*bytes, &mut text);
    RecoveryCode::parse(text.as_bytes().split_at(RecoveryCode::LENGTH).0).ok_or(NoRandom)
}

/// What is kept of one code: `pbkdf2-sha256$ROUNDS$SALT$HASH`, salt and hash in lower-case hexadecimal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecoveryHash {
    rounds: u32,
    salt: [u8; 16],
    hash: [u8; 32],
}

impl RecoveryHash {
    /// Hashes a code with a fresh salt.
    ///
    /// # Errors
    /// [`NoRandom`] where the kernel gives no random numbers.
    pub fn new(code: &RecoveryCode, random: &dyn Random) -> Result<Self, NoRandom> {
        let mut salt = [0; 16];
        random.fill(&mut salt)?;
        Ok(Self { rounds: ROUNDS, salt, hash: *derive(code, &salt, ROUNDS) })
    }

    /// A hash that no code has, for the work of a try that names no code.
    pub fn decoy() -> Self {
        Self { rounds: ROUNDS, salt: [0; 16], hash: [0; 32] }
    }

    /// Whether this is the code: one hash, compared in constant time.
    pub fn matches(&self, code: &RecoveryCode) -> bool {
        derive(code, &self.salt, self.rounds).ct_eq(&self.hash).into()
    }

    /// Reads the stored form.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('$');
        (parts.next()? == "pbkdf2-sha256").then_some(())?;
        let rounds = parts.next()?.parse().ok().filter(|rounds| (1..=MAX_ROUNDS).contains(rounds))?;
        let salt = HEXLOWER.decode(parts.next()?.as_bytes()).ok()?.try_into().ok()?;
        let hash = HEXLOWER.decode(parts.next()?.as_bytes()).ok()?.try_into().ok()?;
        parts.next().is_none().then_some(Self { rounds, salt, hash })
    }
}

impl fmt::Display for RecoveryHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pbkdf2-sha256${}${}${}", self.rounds, HEXLOWER.encode(&self.salt), HEXLOWER.encode(&self.hash))
    }
}

fn derive(code: &RecoveryCode, salt: &[u8; 16], rounds: u32) -> Zeroizing<[u8; 32]> {
    let mut hash = Zeroizing::new([0; 32]);
    pbkdf2::pbkdf2_hmac::<Sha256>(code.secret(), salt, rounds, &mut *hash);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Bytes that never repeat soon.
    struct Counting(Cell<u64>);

    impl Random for Counting {
        fn fill(&self, buffer: &mut [u8]) -> Result<(), NoRandom> {
            for byte in buffer {
                self.0.set(self.0.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
                *byte = self.0.get().to_be_bytes()[0];
            }
            Ok(())
        }
    }

    #[test]
    fn a_set_has_ten_codes_with_ten_selectors_in_five_groups() {
        let set = generate_set(&Counting(Cell::new(7)), &[]).unwrap();
        assert_eq!(set.len(), SET);
        for code in &set {
            let text = code.to_text();
            assert!(text.split('-').count() == 5 && text.split('-').all(|group| group.len() == 4), "{text:?}");
        }
    }

    #[test]
    fn a_set_takes_no_selector_that_is_taken() {
        let selectors = |taken: &[Selector]| {
            let set = generate_set(&Counting(Cell::new(7)), taken).unwrap();
            set.iter().map(RecoveryCode::selector).collect::<Vec<_>>()
        };
        let first = selectors(&[]);
        assert!(selectors(&first[3..6]).iter().all(|selector| !first[3..6].contains(selector)));
    }

    #[test]
    fn a_hash_knows_its_code_in_any_case_and_with_look_alikes_and_no_other() {
        let random = Counting(Cell::new(3));
        let code = RecoveryCode::parse(b"A0B1C2D3E4F5G6H7J8K9").unwrap();
        let hash = RecoveryHash::new(&code, &random).unwrap();
        assert!(hash.matches(&RecoveryCode::parse(b"aobic2d3e4f5g6h7j8k9").unwrap()));
        assert!(hash.matches(&RecoveryCode::parse(b"AOBLC2D3E4F5G6H7J8K9").unwrap()));
        assert!(!hash.matches(&RecoveryCode::parse(b"A0B1C2D3E4F5G6H7J8KA").unwrap()));
        assert!(!RecoveryHash::decoy().matches(&code));
    }

    #[test]
    fn the_stored_form_reads_back_and_nothing_else_does() {
        let code = RecoveryCode::parse(b"A0B1C2D3E4F5G6H7J8K9").unwrap();
        let text = RecoveryHash::new(&code, &Counting(Cell::new(3))).unwrap().to_string();
        assert!(RecoveryHash::parse(&text).unwrap().matches(&code));
        for bad in [
            "",
            "pbkdf2-sha256$0$00$00",
            &text[1..],
            &text[..text.len() - 1],
            &format!("{text}$"),
            &text.replace("$10000$", "$4000000000$"),
        ] {
            assert_eq!(RecoveryHash::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn characters_outside_the_alphabet_are_refused() {
        assert!(RecoveryCode::parse(b"U0B1C2D3E4F5G6H7J8K9").is_none());
        assert!(RecoveryCode::parse(b"A0B1C2D3E4F5G6H7J8K").is_none());
        assert!(Selector::parse("ABCI").is_none() && Selector::parse("ABC1").is_some());
    }
}
