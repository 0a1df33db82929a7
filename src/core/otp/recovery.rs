//! Recovery codes: a selector of 20 bits, which says which one it is, and 80 random bits, which are kept as a salted hash.
//!
//! The selector means that a try costs one hash, not ten.

use std::fmt;

use zeroize::Zeroizing;

use super::crockford;
use super::salted::SaltedHash;
use crate::ports::{NoRandom, Random};

/// How many codes a set has.
pub const SET: usize = 10;
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
        crockford::parse(plain).map(Self)
    }

    /// Which code of a set this is.
    pub fn selector(&self) -> Selector {
        let mut selector = [0; 4];
        selector.iter_mut().zip(self.0.iter()).for_each(|(to, from)| *to = *from);
        Selector(selector)
    }

    /// The code as people write it down: `XXXX-XXXX-XXXX-XXXX-XXXX`.
    pub fn to_text(&self) -> Zeroizing<String> {
        crockford::in_groups(&*self.0)
    }

    /// What is kept of the code: a hash of what follows the selector.
    ///
    /// # Errors
    /// [`NoRandom`] where the kernel gives no random numbers.
    pub fn hash(&self, random: &dyn Random) -> Result<SaltedHash, NoRandom> {
        SaltedHash::new(self.secret(), random)
    }

    /// Whether this is the code that the hash was made of.
    pub fn is_of(&self, hash: &SaltedHash) -> bool {
        hash.matches(self.secret())
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
        bytes.iter().all(|byte| crockford::canonical(*byte) == Some(*byte)).then_some(Self(bytes))
    }
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
    let text = crockford::encode(&*bytes).ok_or(NoRandom)?;
    let code = text.as_bytes().get(..RecoveryCode::LENGTH).and_then(RecoveryCode::parse);
    code.ok_or(NoRandom)
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
        let code = |text: &[u8]| RecoveryCode::parse(text).unwrap();
        let hash = code(b"A0B1C2D3E4F5G6H7J8K9").hash(&Counting(Cell::new(3))).unwrap();
        assert!(code(b"aobic2d3e4f5g6h7j8k9").is_of(&hash));
        assert!(code(b"AOBLC2D3E4F5G6H7J8K9").is_of(&hash));
        assert!(!code(b"A0B1C2D3E4F5G6H7J8KA").is_of(&hash));
    }

    #[test]
    fn characters_outside_the_alphabet_are_refused() {
        assert!(RecoveryCode::parse(b"U0B1C2D3E4F5G6H7J8K9").is_none());
        assert!(RecoveryCode::parse(b"A0B1C2D3E4F5G6H7J8K").is_none());
        assert!(Selector::parse("ABCI").is_none() && Selector::parse("ABC1").is_some());
    }
}
