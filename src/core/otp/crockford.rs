//! Crockford's base32: no I, L, O, U; a typed I or L counts as 1, an O as 0. What people copy from paper is written in it.

use std::sync::OnceLock;

use data_encoding::{Encoding, Specification};
use zeroize::Zeroizing;

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// The character that a typed one stands for; `None` for one that cannot stand for any.
pub fn canonical(byte: u8) -> Option<u8> {
    let upper = match byte.to_ascii_uppercase() {
        b'I' | b'L' => b'1',
        b'O' => b'0',
        other => other,
    };
    ALPHABET.contains(&upper).then_some(upper)
}

/// Reads `N` characters in any case.
pub fn parse<const N: usize>(plain: &[u8]) -> Option<Zeroizing<[u8; N]>> {
    let mut text = Zeroizing::new([0; N]);
    (plain.len() == N).then_some(())?;
    for (to, from) in text.iter_mut().zip(plain) {
        *to = canonical(*from)?;
    }
    Some(text)
}

/// Writes bytes, five bits a character; `None` cannot happen, the alphabet is a constant.
pub fn encode(bytes: &[u8]) -> Option<Zeroizing<String>> {
    static ENCODING: OnceLock<Option<Encoding>> = OnceLock::new();
    let make = || {
        let mut specification = Specification::new();
        specification.symbols.extend(ALPHABET.iter().map(|byte| char::from(*byte)));
        specification.encoding().ok()
    };
    let encoding = ENCODING.get_or_init(make).as_ref()?;
    let mut text = Zeroizing::new(String::with_capacity(encoding.encode_len(bytes.len())));
    encoding.encode_append(bytes, &mut text);
    Some(text)
}

/// In groups of four with dashes between them, as people write it down.
pub fn in_groups(characters: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(characters.len().saturating_mul(2)));
    for (at, byte) in characters.iter().enumerate() {
        if at > 0 && at.is_multiple_of(4) {
            text.push('-');
        }
        text.push(char::from(*byte));
    }
    text
}
