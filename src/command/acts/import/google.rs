//! The file of google-authenticator (`.google_authenticator`): a key in the first line, then options, which begin with a quote
//! and a blank, and scratch codes.
//!
//! Read as its module (libpam-google-authenticator) reads it, which is more lenient than we are with keys; what it does
//! not use for codes of the time is not taken over.

use qrtotp_core::otp::{Algorithm, Shape};
use qrtotp_core::words::Step;
use zeroize::Zeroizing;

use super::token::{Place, Token, Used, foreign_byte, key};

/// Largest file that is read, in bytes; the module reads no larger one.
pub const MOST: usize = 64 * 1024;
/// Digits of a scratch code.
const SCRATCH: usize = 8;

/// What such a file says.
#[derive(Debug)]
pub struct Old {
    /// The device, or why there is none.
    pub token: Result<Token, String>,
    /// How many scratch codes there are.
    pub scratch_codes: usize,
    /// The options that say how codes are judged, as they stand there: here the policy says that.
    pub options: Vec<String>,
    /// By how many steps its clock was found to be off (positive: the device is ahead).
    pub skew: i64,
    /// The lines that are neither option nor scratch code.
    pub strange: Vec<usize>,
}

/// Reads the bytes of a file.
pub fn parse(bytes: &[u8]) -> Old {
    let mut old = Old {
        token: Err("the file is empty".to_owned()),
        scratch_codes: 0,
        options: Vec::new(),
        skew: 0,
        strange: Vec::new(),
    };
    if let Some(place) = foreign_byte(bytes) {
        old.token = Err(place.wrong("a byte that no such file has"));
        return old;
    }
    let mut lines = bytes.split(|byte| *byte == b'\n').map(|line| std::str::from_utf8(line).unwrap_or("").trim_end());
    let Some(first) = lines.next().filter(|line| !line.is_empty()) else { return old };
    let mut said = Said::default();
    for (number, line) in (2..).zip(lines) {
        match line.strip_prefix("\" ") {
            Some(option) => said.option(option, number, &mut old),
            None if line.is_empty() => {}
            None if line.len() == SCRATCH && line.bytes().all(|byte| byte.is_ascii_digit()) => {
                old.scratch_codes = old.scratch_codes.saturating_add(1);
            }
            None => old.strange.push(number),
        }
    }
    old.token = said.token(first);
    old
}

/// The options that decide about the device. As in the module, the first of a name counts.
#[derive(Default)]
struct Said {
    is_time_based: bool,
    is_counter_based: bool,
    is_disabled: bool,
    /// The text, and its line.
    step_size: Option<(String, usize)>,
    /// The steps; `None` where one cannot be read.
    used: Option<Option<Vec<u64>>>,
}

impl Said {
    fn option(&mut self, option: &str, line: usize, old: &mut Old) {
        let (name, value) = option.split_once(' ').unwrap_or((option, ""));
        match name {
            "TOTP_AUTH" => self.is_time_based = true,
            "HOTP_COUNTER" => self.is_counter_based = true,
            "OTP_DISABLED" => self.is_disabled = true,
            "STEP_SIZE" => self.step_size = self.step_size.take().or_else(|| Some((value.trim().to_owned(), line))),
            "DISALLOW_REUSE" => {
                let steps: Option<Vec<u64>> = value.split_ascii_whitespace().map(|step| step.parse().ok()).collect();
                // Of two such lines both count: a code more that is spent does no harm.
                self.used = Some(match self.used.take() {
                    None => steps,
                    Some(before) => before.zip(steps).map(|(before, steps)| [before, steps].concat()),
                });
            }
            "TIME_SKEW" => old.skew = value.trim().parse().unwrap_or(0),
            // The times of logins and of tries stand behind these; nobody has to see them.
            "RATE_LIMIT" => {
                let numbers: Vec<_> = value.split_ascii_whitespace().take(2).collect();
                old.options.push(format!("RATE_LIMIT {}", numbers.join(" ")));
            }
            "WINDOW_SIZE" => old.options.push(format!("WINDOW_SIZE {}", value.trim())),
            // What it keeps of a skew that it is learning, and of the last logins from somewhere.
            "RESETTING_TIME_SKEW" => {}
            _ if name.starts_with("LAST") => {}
            _ => old.strange.push(line),
        }
    }

    fn token(self, first: &str) -> Result<Token, String> {
        if self.is_counter_based {
            return Err("counter-based (HOTP_COUNTER): its codes cannot be used here".to_owned());
        }
        if self.is_disabled {
            return Err("it is switched off (OTP_DISABLED)".to_owned());
        }
        if !self.is_time_based {
            return Err("it is not in use: the line \" TOTP_AUTH is missing".to_owned());
        }
        let secret = key(&decode(first)?)?;
        let shape = match &self.step_size {
            None => Shape::default(),
            Some((text, line)) => {
                let wrong = |what: &str| Place { line: *line, column: 1 }.wrong(&format!("STEP_SIZE: {what}"));
                let seconds = text.parse().map_err(|_| wrong("is not a number"))?;
                Shape::new(Algorithm::Sha1, 6, seconds).map_err(|what| wrong(&what))?
            }
        };
        let used = match self.used {
            // The file keeps those that its window still held.
            Some(Some(steps)) => steps.into_iter().max().map_or(Used::None, |step| Used::Upto(Step(step))),
            Some(None) | None => Used::NotKnown,
        };
        Ok(Token { secret, shape, used })
    }
}

/// Base32 as the module reads it: in any case, blanks and dashes between, 0 for O, 1 for L, 8 for B, and bits behind
/// the last whole byte dropped.
fn decode(text: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let (mut held, mut bits) = (Zeroizing::new(0_u32), 0_u32);
    for (at, character) in text.bytes().enumerate() {
        let value = match character.to_ascii_uppercase() {
            b' ' | b'\t' | b'-' => continue,
            b'0' => b'O'.wrapping_sub(b'A'),
            b'1' => b'L'.wrapping_sub(b'A'),
            b'8' => b'B'.wrapping_sub(b'A'),
            letter @ b'A'..=b'Z' => letter.wrapping_sub(b'A'),
            digit @ b'2'..=b'7' => digit.wrapping_sub(b'2').wrapping_add(26),
            _ => {
                let place = Place { line: 1, column: at.saturating_add(1) };
                return Err(place.wrong("a character that no key has (A to Z and 2 to 7)"));
            }
        };
        *held = (*held << 5 | u32::from(value)) & 0xfff;
        bits = bits.saturating_add(5);
        if bits >= 8 {
            bits = bits.saturating_sub(8);
            bytes.push(u8::try_from(*held >> bits & 0xff).unwrap_or(0));
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use qrtotp_core::otp::Secret;

    const KEY: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    fn read(text: &str) -> Old {
        parse(text.as_bytes())
    }

    fn why(text: &str) -> String {
        read(text).token.unwrap_err()
    }

    #[test]
    fn a_file_as_the_program_writes_it_is_read_whole() {
        let text = format!(
            "{KEY}\n\" RATE_LIMIT 3 30 1700000000\n\" WINDOW_SIZE 17\n\" DISALLOW_REUSE 56666669 56666667\n\
             \" TOTP_AUTH\n\" TIME_SKEW -2\n\" LAST0 10.0.0.1 1700000000\n11112222\n33334444\n"
        );
        let old = read(&text);
        let token = old.token.unwrap();
        assert!(token.secret.is_same(&Secret::from_base32(KEY).unwrap()));
        assert_eq!((token.shape, token.used), (Shape::default(), Used::Upto(Step(56_666_669))));
        assert_eq!((old.scratch_codes, old.skew, old.strange), (2, -2, vec![]));
        assert_eq!(old.options, ["RATE_LIMIT 3 30", "WINDOW_SIZE 17"]);
    }

    #[test]
    fn keys_of_26_and_of_16_characters_have_128_and_80_bits() {
        let bits = |key: &str| read(&format!("{key}\n\" TOTP_AUTH\n")).token.unwrap().secret.bits();
        assert_eq!((bits("GEZDGNBVGY3TQOJQGEZDGNBVGY"), bits("GEZDGNBVGY3TQOJQ")), (128, 80));
        assert_eq!(bits("gezd-gnbv gy3t-qojq"), 80);
        assert!(why("GEZDGNBVGY3TQ\n\" TOTP_AUTH\n").contains("64 bits"));
    }

    /// The module drops them, and so does the app.
    #[test]
    fn bits_behind_the_last_whole_byte_and_misread_letters_make_the_same_key() {
        let key = |text: &str| read(&format!("{text}\n\" TOTP_AUTH\n")).token.unwrap().secret;
        let expected = key("GEZDGNBVGY3TQOJQGEZDGNBVGY");
        for same in ["GEZDGNBVGY3TQOJQGEZDGNBVG3", "GEZDGN8VGY3TQ0JQGEZDGNBVGY", "gezdgnbvgy3tqojqgezdgnbvgz"] {
            assert!(key(same).is_same(&expected), "{same}");
        }
        assert!(!key("GEZDGNBVGY3TQOJQGEZDGNBVMY").is_same(&expected));
    }

    #[test]
    fn what_cannot_be_used_here_is_refused_with_its_reason() {
        assert!(why(&format!("{KEY}\n\" HOTP_COUNTER 1\n")).contains("counter-based"));
        assert!(why(&format!("{KEY}\n\" TOTP_AUTH\n\" HOTP_COUNTER 1\n")).contains("counter-based"));
        assert!(why(&format!("{KEY}\n")).contains("TOTP_AUTH"));
        assert!(why(&format!("{KEY}\n\" TOTP_AUTH\n\" OTP_DISABLED\n")).contains("switched off"));
        assert!(why(&format!("{KEY}\n\" STEP_SIZE 5\n\" TOTP_AUTH\n")).starts_with("line 2, column 1: STEP_SIZE"));
        assert!(why(&format!("{KEY}\n\" STEP_SIZE x\n\" TOTP_AUTH\n")).contains("not a number"));
        assert_eq!(why("GEZDGNBV!Y3TQOJQ\n\" TOTP_AUTH\n").split(':').next(), Some("line 1, column 9"));
        assert_eq!(why(&format!("{KEY}\n\" TOTP\0_AUTH\n")), "line 2, column 7: a byte that no such file has");
        assert_eq!((why("").as_str(), why("\n\n").as_str()), ("the file is empty", "the file is empty"));
    }

    #[test]
    fn which_codes_were_used_is_known_only_where_the_file_keeps_it() {
        let used = |options: &str| read(&format!("{KEY}\n\" TOTP_AUTH\n{options}")).token.unwrap().used;
        assert_eq!(used(""), Used::NotKnown);
        assert_eq!(used("\" DISALLOW_REUSE\n"), Used::None);
        assert_eq!(used("\" DISALLOW_REUSE 5 x\n"), Used::NotKnown);
        assert_eq!(used("\" DISALLOW_REUSE 5\n\" DISALLOW_REUSE 9\n"), Used::Upto(Step(9)));
    }

    #[test]
    fn other_lines_are_named_and_hide_nothing() {
        let old = read(&format!("{KEY}\r\n\" TOTP_AUTH\r\n\" NEW_OPTION 1\r\n123456\r\n12345678\r\n"));
        assert!(old.token.is_ok());
        assert_eq!((old.strange, old.scratch_codes), (vec![3, 4], 1));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn any_lines_are_read_and_no_key_is_quoted(key in "[A-Z2-7]{0,40}", rest in "[ -~\n]{0,200}") {
            let text = format!("{key}\n\" {rest}\n\" TOTP_AUTH\n");
            if let Err(why) = read(&text).token {
                prop_assert!(key.len() < 8 || !why.contains(&key));
            }
        }

        /// What the strict reader takes, the lenient one takes for the same.
        #[test]
        fn a_key_of_whole_bytes_is_read_as_it_was_written(bytes in proptest::collection::vec(any::<u8>(), 10..128)) {
            let secret = Secret::from_bytes_or_weak(&bytes).unwrap();
            let token = read(&format!("{}\n\" TOTP_AUTH\n", *secret.to_base32())).token.unwrap();
            prop_assert!(token.secret.is_same(&secret));
        }
    }
}
