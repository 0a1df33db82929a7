//! Enrollment tickets: 12 characters, 60 random bits, that let one user enroll one device once. They hold no key.

use std::fmt;

use zeroize::Zeroizing;

use super::crockford;
use super::salted::SaltedHash;
use crate::ports::{NoRandom, Random};

/// A ticket as it is typed or shown: wiped on drop, never printed by Debug.
pub struct TicketCode(Zeroizing<[u8; TicketCode::LENGTH]>);

impl TicketCode {
    /// Characters without dashes, five bits each.
    pub const LENGTH: usize = 12;

    /// Makes one.
    ///
    /// # Errors
    /// [`NoRandom`] where the kernel gives no random numbers.
    pub fn generate(random: &dyn Random) -> Result<Self, NoRandom> {
        let mut bytes = Zeroizing::new([0_u8; 8]);
        random.fill(&mut *bytes)?;
        let text = crockford::encode(&*bytes).ok_or(NoRandom)?;
        text.as_bytes().get(..Self::LENGTH).and_then(Self::parse).ok_or(NoRandom)
    }

    /// Takes 12 characters of the alphabet, in any case.
    pub fn parse(plain: &[u8]) -> Option<Self> {
        crockford::parse(plain).map(Self)
    }

    /// The ticket as people write it down: `XXXX-XXXX-XXXX`.
    pub fn to_text(&self) -> Zeroizing<String> {
        crockford::in_groups(&*self.0)
    }

    /// What is kept of it.
    ///
    /// # Errors
    /// [`NoRandom`] where the kernel gives no random numbers.
    pub fn hash(&self, random: &dyn Random) -> Result<SaltedHash, NoRandom> {
        SaltedHash::new(&*self.0, random)
    }

    /// Whether this is the ticket that the hash was made of.
    pub fn is_of(&self, hash: &SaltedHash) -> bool {
        hash.matches(&*self.0)
    }
}

impl fmt::Debug for TicketCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketCode([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Ones;

    impl Random for Ones {
        fn fill(&self, buffer: &mut [u8]) -> Result<(), NoRandom> {
            buffer.fill(0xff);
            Ok(())
        }
    }

    #[test]
    fn a_ticket_is_three_groups_of_four() {
        assert_eq!(*TicketCode::generate(&Ones).unwrap().to_text(), "ZZZZ-ZZZZ-ZZZZ");
    }

    #[test]
    fn a_ticket_is_known_by_its_hash_in_any_case_and_with_look_alikes() {
        let hash = TicketCode::parse(b"10AB0000ZZZZ").unwrap().hash(&Ones).unwrap();
        assert!(TicketCode::parse(b"loabOOOOzzzz").unwrap().is_of(&hash));
        assert!(!TicketCode::parse(b"10AB0000ZZZY").unwrap().is_of(&hash));
    }
}
