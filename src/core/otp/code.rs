//! One-time codes: HOTP (RFC 4226) over the time steps of TOTP (RFC 6238), and the search of a window in constant time.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::{Zeroize, Zeroizing};

use super::Secret;
use crate::words::{Step, WallTime};

/// The hash under the MAC.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Algorithm {
    /// HMAC-SHA-1: the only one that every app knows.
    #[default]
    Sha1,
    /// HMAC-SHA-256.
    Sha256,
    /// HMAC-SHA-512.
    Sha512,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sha1, Self::Sha256, Self::Sha512];

    /// The name in an otpauth URI.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
        }
    }

    /// Reads a name in any case, with or without the dash of `SHA-256`.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = text.replace('-', "").to_ascii_uppercase();
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == plain)
    }
}

/// What a device computes with: algorithm, digits and period.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// The hash under the MAC.
    pub algorithm: Algorithm,
    digits: u8,
    period: u8,
}

/// The shape that every authenticator app knows: SHA-1, 6 digits, 30 seconds.
impl Default for Shape {
    fn default() -> Self {
        Self { algorithm: Algorithm::Sha1, digits: 6, period: 30 }
    }
}

impl Shape {
    /// 6 to 8 digits and 15 to 120 seconds.
    ///
    /// # Errors
    /// A sentence that says which number is out of range.
    pub fn new(algorithm: Algorithm, digits: i64, period: i64) -> Result<Self, String> {
        let digits = u8::try_from(digits).ok().filter(|d| (6..=8).contains(d));
        let period = u8::try_from(period).ok().filter(|p| (15..=120).contains(p));
        match (digits, period) {
            (Some(digits), Some(period)) => Ok(Self { algorithm, digits, period }),
            (None, _) => Err("digits must be 6, 7 or 8".to_owned()),
            (_, None) => Err("period must be 15 to 120 seconds".to_owned()),
        }
    }

    /// Digits of a code, 6 to 8.
    pub fn digits(self) -> u8 {
        self.digits
    }

    /// Seconds of a step, 15 to 120.
    pub fn period(self) -> u8 {
        self.period
    }

    /// The step that a time lies in.
    pub fn step_at(self, time: WallTime) -> Step {
        Step(time.seconds().checked_div(u64::from(self.period)).unwrap_or(0))
    }
}

/// The characters of one code, 6 to 8 ASCII digits: wiped on drop, compared in constant time, never printed by Debug.
pub struct Code {
    padded: [u8; Code::MAX],
    digits: u8,
}

impl Code {
    /// Digits of the longest code.
    pub const MAX: usize = 8;

    /// Takes 6 to 8 ASCII digits.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let fits = (6..=Self::MAX).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
        let mut padded = [0; Self::MAX];
        padded.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
        fits.then_some(())?;
        Some(Self { padded, digits: u8::try_from(text.len()).ok()? })
    }

    /// How many digits.
    pub fn digits(&self) -> u8 {
        self.digits
    }

    /// The code as text, for the command and for tests; the caller wipes it.
    pub fn to_text(&self) -> Zeroizing<String> {
        let shown = self.padded.iter().take(usize::from(self.digits));
        Zeroizing::new(shown.map(|digit| char::from(*digit)).collect())
    }
}

impl ConstantTimeEq for Code {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.padded.ct_eq(&other.padded)
    }
}

impl Drop for Code {
    fn drop(&mut self) {
        self.padded.zeroize();
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code([redacted])")
    }
}

/// A key prepared for many steps.
enum Keyed {
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
    Sha512(Hmac<Sha512>),
}

/// Computes the codes of one device.
pub struct Generator {
    keyed: Keyed,
    shape: Shape,
}

impl Generator {
    /// Prepares the key. `None` cannot happen: HMAC takes keys of every length.
    pub fn new(secret: &Secret, shape: Shape) -> Option<Self> {
        let key = secret.bytes();
        let keyed = match shape.algorithm {
            Algorithm::Sha1 => Keyed::Sha1(Hmac::new_from_slice(key).ok()?),
            Algorithm::Sha256 => Keyed::Sha256(Hmac::new_from_slice(key).ok()?),
            Algorithm::Sha512 => Keyed::Sha512(Hmac::new_from_slice(key).ok()?),
        };
        Some(Self { keyed, shape })
    }

    /// The code of one step (RFC 4226, section 5.3).
    pub fn code(&self, step: Step) -> Code {
        let message = step.0.to_be_bytes();
        let truncated = match &self.keyed {
            Keyed::Sha1(mac) => truncate(&mut mac.clone().chain_update(message).finalize().into_bytes()),
            Keyed::Sha256(mac) => truncate(&mut mac.clone().chain_update(message).finalize().into_bytes()),
            Keyed::Sha512(mac) => truncate(&mut mac.clone().chain_update(message).finalize().into_bytes()),
        };
        decimal(truncated, self.shape.digits)
    }
}

/// Dynamic truncation (RFC 4226, section 5.3): 31 bits from the place that the last half-byte names. Wipes the MAC.
fn truncate(mac: &mut [u8]) -> u32 {
    let start = usize::from(mac.last().copied().unwrap_or(0) & 0x0f);
    let bits = mac.iter().skip(start).take(4).fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte));
    mac.zeroize();
    bits & 0x7fff_ffff
}

fn decimal(mut number: u32, digits: u8) -> Code {
    let mut padded = [0; Code::MAX];
    for place in padded.iter_mut().take(usize::from(digits)).rev() {
        *place = u8::try_from(number % 10).unwrap_or(0).saturating_add(b'0');
        number /= 10;
    }
    Code { padded, digits }
}

/// What a search found. Steps are whole; `device` is the position in the list that was searched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sighting {
    /// Which device shows the code.
    pub device: usize,
    /// The step in which it does.
    pub step: Step,
    /// How far that step lies from the one that the clock says (positive: ahead).
    pub offset: i64,
}

/// Searches the steps `from..=to` around `now` of every device for the typed code.
///
/// Every code of every device is computed and compared in constant time, whatever was found before. Of several equal
/// codes the last one in the order of the search is reported.
pub fn search(typed: &Code, devices: &[(Generator, Shape)], now: WallTime, from: i64, to: i64) -> Option<Sighting> {
    let mut found = Choice::from(0);
    let (mut device, mut offset) = (0_u64, 0_i64);
    for (at, (generator, shape)) in (0_u64..).zip(devices) {
        let current = shape.step_at(now);
        for by in from..=to {
            let equal = generator.code(current.offset(by)).ct_eq(typed);
            found |= equal;
            device.conditional_assign(&at, equal);
            offset.conditional_assign(&by, equal);
        }
    }
    let device = usize::try_from(device).ok()?;
    let step = devices.get(device)?.1.step_at(now).offset(offset);
    bool::from(found).then_some(Sighting { device, step, offset })
}

/// Overwrites the part of the stack that the MAC code used: it leaves key bytes there.
#[inline(never)]
pub fn burn_stack() {
    // Words, because wiping goes element by element.
    let mut waste = [0_u64; 2 * 1024];
    waste.zeroize();
    std::hint::black_box(&waste);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generator(key: &[u8], shape: Shape) -> Generator {
        Generator::new(&Secret::from_base32(&data_encoding::BASE32.encode(key)).unwrap(), shape).unwrap()
    }

    /// RFC 4226, appendix D.
    #[test]
    fn the_ten_codes_of_rfc_4226_come_out() {
        let device = generator(b"12345678901234567890", Shape::default());
        let expected =
            ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"];
        for (step, code) in (0..).zip(expected) {
            assert_eq!(*device.code(Step(step)).to_text(), code);
        }
    }

    /// RFC 6238, appendix B, with the keys of its reference code (erratum 2866).
    #[test]
    fn the_eighteen_codes_of_rfc_6238_come_out() {
        let keys: [&[u8]; 3] = [
            b"12345678901234567890",
            b"12345678901234567890123456789012",
            b"1234567890123456789012345678901234567890123456789012345678901234",
        ];
        let rows = [
            (59, ["94287082", "46119246", "90693936"]),
            (1_111_111_109, ["07081804", "68084774", "25091201"]),
            (1_111_111_111, ["14050471", "67062674", "99943326"]),
            (1_234_567_890, ["89005924", "91819424", "93441116"]),
            (2_000_000_000, ["69279037", "90698825", "38618901"]),
            (20_000_000_000, ["65353130", "77737706", "47863826"]),
        ];
        for (seconds, codes) in rows {
            for ((algorithm, key), code) in Algorithm::ALL.into_iter().zip(keys).zip(codes) {
                let shape = Shape::new(algorithm, 8, 30).unwrap();
                let step = shape.step_at(WallTime(seconds * 1000));
                assert_eq!(*generator(key, shape).code(step).to_text(), code, "{algorithm:?} at {seconds}");
            }
        }
    }

    #[test]
    fn shapes_out_of_range_are_refused() {
        assert!(Shape::new(Algorithm::Sha1, 5, 30).is_err());
        assert!(Shape::new(Algorithm::Sha1, 9, 30).is_err());
        assert!(Shape::new(Algorithm::Sha1, 6, 14).is_err());
        assert!(Shape::new(Algorithm::Sha1, 6, 121).is_err());
        assert!(Shape::new(Algorithm::Sha1, -6, -30).is_err());
    }

    #[test]
    fn a_search_finds_the_device_and_the_step_and_nothing_outside_the_window() {
        let long = Shape::new(Algorithm::Sha256, 8, 60).unwrap();
        let keys: [&[u8]; 2] = [b"12345678901234567890", b"09876543210987654321"];
        let devices = [(generator(keys[0], Shape::default()), Shape::default()), (generator(keys[1], long), long)];
        let now = WallTime(1_700_000_000_000);
        for (device, (generator, shape)) in devices.iter().enumerate() {
            for offset in -3..=3 {
                let step = shape.step_at(now).offset(offset);
                let hit = search(&generator.code(step), &devices, now, -1, 0);
                let expected = (-1..=0).contains(&offset).then_some(Sighting { device, step, offset });
                assert_eq!(hit, expected, "device {device}, offset {offset}");
            }
        }
    }

    #[test]
    fn a_code_of_other_length_never_matches_a_prefix() {
        let eight = Shape::new(Algorithm::Sha1, 8, 30).unwrap();
        let devices = [(generator(b"12345678901234567890", eight), eight)];
        let now = WallTime(59_000);
        let text = devices[0].0.code(eight.step_at(now)).to_text();
        assert!(search(&Code::parse(text.as_bytes()).unwrap(), &devices, now, 0, 0).is_some());
        assert!(search(&Code::parse(&text.as_bytes()[..6]).unwrap(), &devices, now, 0, 0).is_none());
        assert!(search(&Code::parse(&text.as_bytes()[2..]).unwrap(), &devices, now, 0, 0).is_none());
    }
}
