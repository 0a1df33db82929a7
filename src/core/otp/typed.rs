//! What a person types at the prompt: a code, a recovery code, a ticket, or something that can be none and costs nothing.

use zeroize::Zeroizing;

use super::code::Code;
use super::recovery::RecoveryCode;
use super::ticket::TicketCode;

/// What a person typed, parsed.
#[derive(Debug)]
pub enum Typed {
    /// 6 to 8 digits.
    Code(Code),
    /// 20 characters of the recovery alphabet.
    Recovery(RecoveryCode),
}

impl Typed {
    /// Longest answer that is looked at, in bytes.
    pub const MAX: usize = 64;

    /// Reads an answer. Blanks and dashes are for the eye: `123 456` and `123-456` are the code `123456`.
    pub fn parse(answer: &[u8]) -> Option<Self> {
        let plain = plain(answer)?;
        Code::parse(&plain).map(Self::Code).or_else(|| RecoveryCode::parse(&plain).map(Self::Recovery))
    }

    /// How many digits a code has; `None` for a recovery code.
    pub fn digits(&self) -> Option<usize> {
        match self {
            Self::Code(code) => Some(code.digits().into()),
            Self::Recovery(_) => None,
        }
    }
}

/// Reads an answer that is a ticket.
pub fn ticket(answer: &[u8]) -> Option<TicketCode> {
    TicketCode::parse(&plain(answer)?)
}

fn plain(answer: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if answer.len() > Typed::MAX {
        return None;
    }
    let mut plain = Zeroizing::new(Vec::with_capacity(Typed::MAX));
    plain.extend(answer.iter().copied().filter(|byte| !matches!(byte, b' ' | b'-')));
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn code(answer: &[u8]) -> Option<String> {
        match Typed::parse(answer)? {
            Typed::Code(code) => Some(code.to_text().to_string()),
            Typed::Recovery(_) => None,
        }
    }

    #[test]
    fn blanks_and_dashes_are_for_the_eye() {
        for form in ["123456", "123 456", "123-456", " 123456", "12 34 56 "] {
            assert_eq!(code(form.as_bytes()).as_deref(), Some("123456"), "{form:?}");
        }
    }

    #[test]
    fn what_cannot_be_a_code_is_nothing() {
        for form in [
            "",
            "12345",
            "123456789",
            "+123456",
            "123456\r",
            "12345６",
            "0x1234",
            "123456\0",
            "1.23456",
            "\u{8}\n\r\u{7f}INCORRECT",
        ] {
            assert_eq!(code(form.as_bytes()), None, "{form:?}");
        }
        assert!(Typed::parse(&[b' '; 65]).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic_and_only_digits_make_a_code(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let digits = bytes.iter().filter(|b| !matches!(b, b' ' | b'-')).all(u8::is_ascii_digit);
            prop_assert!(code(&bytes).is_none() || digits);
        }
    }
}
