//! What a record of another module says of a device: the same for all sources.

use qrtotp_core::otp::secret::BadSecret;
use qrtotp_core::otp::{Secret, Shape};
use qrtotp_core::words::Step;

/// A device as it was in use elsewhere.
#[derive(Debug)]
pub struct Token {
    /// Its key, which may be weak.
    pub secret: Secret,
    /// Algorithm, digits, period.
    pub shape: Shape,
    /// Which of its codes were used there.
    pub used: Used,
}

/// Which codes were used elsewhere, so that they are none here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Used {
    /// None that could still be typed.
    None,
    /// Those up to this step.
    Upto(Step),
    /// It is not known: none is good up to the moment of the import.
    NotKnown,
}

/// Where something stands in a text, counted from 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The byte within the line.
    pub column: usize,
}

impl Place {
    /// What is wrong there. The text itself is never quoted: it holds keys.
    pub fn wrong(self, what: &str) -> String {
        format!("line {}, column {}: {what}", self.line, self.column)
    }
}

/// A key by its bytes.
///
/// # Errors
/// A sentence that says why it is none that could be enrolled.
pub fn key(bytes: &[u8]) -> Result<Secret, String> {
    Secret::from_bytes_or_weak(bytes).map_err(|bad| match bad {
        BadSecret::Short(bits) => {
            let least = Secret::WEAKEST.saturating_mul(8);
            format!("the key has {bits} bits; below {least} it is never taken over")
        }
        other => other.to_string(),
    })
}

/// The first byte that no text file has, a NUL for example: such a file is damaged, or another one.
pub fn foreign_byte(bytes: &[u8]) -> Option<Place> {
    let is_foreign = |byte: &u8| !matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n');
    let at = bytes.iter().position(is_foreign)?;
    let before = bytes.get(..at)?;
    let line = before.iter().filter(|byte| **byte == b'\n').count().saturating_add(1);
    let begin = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end.saturating_add(1));
    Some(Place { line, column: at.saturating_sub(begin).saturating_add(1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_byte_is_named_by_line_and_column() {
        assert_eq!(foreign_byte(b"ABC\r\n\" X\t1\n"), None);
        assert_eq!(foreign_byte(b"ABC\n\" \0X"), Some(Place { line: 2, column: 3 }));
        assert_eq!(foreign_byte(b"\xff"), Some(Place { line: 1, column: 1 }));
        assert_eq!(foreign_byte(b""), None);
    }

    #[test]
    fn a_key_is_refused_with_its_bits() {
        assert_eq!(key(&[1; 10]).unwrap().bits(), 80);
        assert_eq!(key(&[1; 9]).unwrap_err(), "the key has 72 bits; below 80 it is never taken over");
        assert!(key(&[1; 129]).unwrap_err().contains("1024"));
    }
}
