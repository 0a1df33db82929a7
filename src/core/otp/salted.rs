//! What is kept of a code that people carry on paper: a salted hash.
//!
//! NIST SP 800-63B, section 5.1.2.2, asks for a salted password hash below 112 bits.

use std::fmt;

use data_encoding::HEXLOWER;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::ports::{NoRandom, Random};

/// PBKDF2 rounds of new hashes: a few milliseconds. The bits are random, so more would only help a flood.
const ROUNDS: u32 = 10_000;
/// Most rounds that a stored hash may ask for.
const MAX_ROUNDS: u32 = 100_000;

/// `pbkdf2-sha256$ROUNDS$SALT$HASH`, salt and hash in lower-case hexadecimal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SaltedHash {
    rounds: u32,
    salt: [u8; 16],
    hash: [u8; 32],
}

impl SaltedHash {
    /// Hashes a secret with a fresh salt.
    ///
    /// # Errors
    /// [`NoRandom`] where the kernel gives no random numbers.
    pub fn new(secret: &[u8], random: &dyn Random) -> Result<Self, NoRandom> {
        let mut salt = [0; 16];
        random.fill(&mut salt)?;
        Ok(Self { rounds: ROUNDS, salt, hash: *derive(secret, &salt, ROUNDS) })
    }

    /// A hash that nothing has, for the work of a try that has none to be compared with.
    pub fn decoy() -> Self {
        Self { rounds: ROUNDS, salt: [0; 16], hash: [0; 32] }
    }

    /// Whether this is the secret: one hash, compared in constant time.
    pub fn matches(&self, secret: &[u8]) -> bool {
        derive(secret, &self.salt, self.rounds).ct_eq(&self.hash).into()
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

impl fmt::Display for SaltedHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pbkdf2-sha256${}${}${}", self.rounds, HEXLOWER.encode(&self.salt), HEXLOWER.encode(&self.hash))
    }
}

fn derive(secret: &[u8], salt: &[u8; 16], rounds: u32) -> Zeroizing<[u8; 32]> {
    let mut hash = Zeroizing::new([0; 32]);
    pbkdf2::pbkdf2_hmac::<Sha256>(secret, salt, rounds, &mut *hash);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"0123456789ABCDEF";

    /// One round: without optimisation, the usual number takes a second.
    fn hash() -> SaltedHash {
        let salt = [7; 16];
        SaltedHash { rounds: 1, salt, hash: *derive(SECRET, &salt, 1) }
    }

    #[test]
    fn a_hash_knows_its_secret_and_no_other() {
        assert!(hash().matches(SECRET));
        assert!(!hash().matches(b"0123456789ABCDEG") && !hash().matches(b""));
        assert!(!SaltedHash::decoy().matches(SECRET));
    }

    #[test]
    fn the_stored_form_reads_back_and_nothing_else_does() {
        let text = hash().to_string();
        assert_eq!(SaltedHash::parse(&text), Some(hash()));
        let shorter = &text[..text.len() - 1];
        for bad in [
            "",
            "pbkdf2-sha256$0$00$00",
            &text[1..],
            shorter,
            &format!("{text}$"),
            &text.replace("$1$", "$4000000000$"),
        ] {
            assert_eq!(SaltedHash::parse(bad), None, "{bad}");
        }
    }
}
