//! The file of pam_oath's users (oath-toolkit, `users.oath`): `TYPE USER PIN KEY [POSITION [LAST-CODE [TIME]]]` a line, parted
//! by blanks and tabs.
//!
//! liboath gives up at the first line that it does not understand; here the others are read all the same.

use data_encoding::HEXLOWER_PERMISSIVE;
use qrtotp_core::calendar;
use qrtotp_core::otp::{Algorithm, Code, Secret, Shape, code};
use qrtotp_core::words::WallTime;
use zeroize::Zeroizing;

use super::token::{Place, Token, Used, foreign_byte, key};

/// Largest file that is read, in bytes.
pub const MOST: usize = 4 * 1024 * 1024;
/// How far from the time of its use a code is looked for, in steps: liboath's windows are shorter.
const MOST_STEPS: i64 = 200;
/// Half a day in milliseconds: farther from a change of the clocks, a zone's offset is what it was.
const HALF_A_DAY: u64 = calendar::DAY / 2;

/// One line of the file.
#[derive(Debug)]
pub struct Record {
    /// Which line, counted from 1.
    pub line: usize,
    /// Whose, as it says; none where the line ends before.
    pub user: Option<String>,
    /// The device, or why there is none.
    pub token: Result<Token, String>,
    /// What stands in the place of a PIN.
    pub pin: Pin,
}

/// What pam_oath asks for in front of the code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pin {
    /// Nothing (`-`).
    None,
    /// What another module checks (`+`).
    Elsewhere,
    /// A PIN, in plain text in the file.
    Own,
}

/// Reads the bytes of a file. `offset` gives the seconds east of UTC at a time, as the machine's zone has it: liboath writes
/// local times.
pub fn parse(bytes: &[u8], offset: &dyn Fn(WallTime) -> Option<i32>) -> Vec<Record> {
    let lines = bytes.split(|byte| *byte == b'\n');
    (1..).zip(lines).filter_map(|(line, text)| record(line, text, offset)).collect()
}

/// `None` for comments and blank lines.
fn record(line: usize, text: &[u8], offset: &dyn Fn(WallTime) -> Option<i32>) -> Option<Record> {
    let first = text.trim_ascii().first()?;
    if *first == b'#' {
        return None;
    }
    let mut record = Record { line, user: None, token: Err(String::new()), pin: Pin::None };
    record.token = match foreign_byte(text) {
        // Names may have letters beyond ASCII; what is not UTF-8, and NUL bytes, belong nowhere.
        Some(place) if std::str::from_utf8(text).is_err() || text.contains(&0) => {
            Err(Place { line, ..place }.wrong("a byte that no such file has"))
        }
        _ => token(&mut record, std::str::from_utf8(text).unwrap_or(""), offset),
    };
    Some(record)
}

/// The words of a line, each with the byte at which it begins.
struct Words<'a> {
    line: usize,
    text: &'a str,
    at: usize,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<(&'a str, Place)> {
        let rest = self.text.get(self.at..)?;
        let begin = self.at.saturating_add(rest.find(|c: char| !is_blank(c))?);
        let word = self.text.get(begin..)?;
        let word = word.get(..word.find(is_blank).unwrap_or(word.len()))?;
        self.at = begin.saturating_add(word.len());
        Some((word, Place { line: self.line, column: begin.saturating_add(1) }))
    }

    /// The next word, which must be there.
    fn need(&mut self, what: &str) -> Result<(&'a str, Place), String> {
        let end = Place { line: self.line, column: self.text.trim_end().len().saturating_add(1) };
        self.next().ok_or_else(|| end.wrong(&format!("{what} is missing")))
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r')
}

fn token(record: &mut Record, text: &str, offset: &dyn Fn(WallTime) -> Option<i32>) -> Result<Token, String> {
    let mut words = Words { line: record.line, text, at: 0 };
    let (kind, place) = words.need("the type")?;
    let shape = shape(kind);
    let (user, _) = words.need("the user")?;
    record.user = Some(user.to_owned());
    let (pin, _) = words.need("the PIN, or -,")?;
    record.pin = match pin {
        "-" => Pin::None,
        "+" => Pin::Elsewhere,
        _ => Pin::Own,
    };
    let shape = match shape {
        Kind::Time(shape) => shape,
        Kind::Counter => return Err("counter-based (HOTP): its codes cannot be used here".to_owned()),
        Kind::Unknown => return Err(place.wrong("a type that is not known (HOTP/T30, HOTP/T60/8 and the like are)")),
    };
    let (hex, place) = words.need("the key")?;
    let bytes = HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).map(Zeroizing::new);
    let secret = key(&bytes.map_err(|_| place.wrong("the key is not hexadecimal"))?)?;
    let used = used(&mut words, &secret, shape, offset)?;
    Ok(Token { secret, shape, used })
}

enum Kind {
    Time(Shape),
    Counter,
    Unknown,
}

/// `HOTP`, `HOTP/E/7`, `HOTP/T30`, `HOTP/T60/8`
fn shape(kind: &str) -> Kind {
    let mut parts = kind.split('/');
    let (name, step, digits, rest) = (parts.next(), parts.next(), parts.next(), parts.next());
    let digits = match digits {
        None | Some("6") => 6,
        Some("7") => 7,
        Some("8") => 8,
        Some(_) => return Kind::Unknown,
    };
    match (name, step, rest) {
        (Some("HOTP"), None | Some("E"), None) => Kind::Counter,
        (Some("HOTP"), Some(step @ ("T30" | "T60")), None) => {
            let period = if step == "T30" { 30 } else { 60 };
            Shape::new(Algorithm::Sha1, digits, period).map_or(Kind::Unknown, Kind::Time)
        }
        _ => Kind::Unknown,
    }
}

/// The last code that was used: the step that it is of, by the time at which it was used and how far from it liboath found
/// it, if the key really gives that code there.
fn used(
    words: &mut Words<'_>,
    secret: &Secret,
    shape: Shape,
    offset: &dyn Fn(WallTime) -> Option<i32>,
) -> Result<Used, String> {
    let Some((position, place)) = words.next() else { return Ok(Used::None) };
    let position: i64 = position.parse().map_err(|_| place.wrong("the moving factor is not a number"))?;
    let Some((last, place)) = words.next() else { return Ok(Used::NotKnown) };
    let last = Code::parse(last.as_bytes()).ok_or_else(|| place.wrong("the last code is not one of 6 to 8 digits"))?;
    let Some((time, place)) = words.next() else { return Ok(Used::NotKnown) };
    let local = local_time(time)
        .ok_or_else(|| place.wrong("the time of the last code is none (it looks like 2027-03-31T18:00:00L)"))?;
    let Some(generator) = code::Generator::new(secret, shape) else { return Ok(Used::NotKnown) };
    let devices = [(generator, shape)];
    // Some versions write a position in the past without its sign; and the clock was read twice, so a step may have ended in
    // between.
    let reach = position.saturating_abs().min(MOST_STEPS).saturating_add(1);
    let times = moments(local, offset);
    let search = |time| code::search(&last, &devices, time, reach.saturating_neg(), reach);
    let found = times.filter_map(search).map(|seen| seen.step).max();
    code::burn_stack();
    Ok(found.map_or(Used::NotKnown, Used::Upto))
}

/// `2027-03-31T18:00:00L` in milliseconds, as if the zone were UTC.
fn local_time(text: &str) -> Option<u64> {
    let text = text.strip_suffix('L').filter(|text| text.len() == "2027-03-31T18:00:00".len())?;
    Some(format!("{text}Z").parse::<WallTime>().ok()?.0)
}

/// When it was that time here: twice at most, where the clocks were put back.
fn moments(local: u64, offset: &dyn Fn(WallTime) -> Option<i32>) -> impl Iterator<Item = WallTime> {
    let around = [local.saturating_sub(HALF_A_DAY), local.saturating_add(HALF_A_DAY)];
    let offsets = around.map(|time| offset(WallTime(time)));
    offsets.into_iter().flatten().map(move |seconds| {
        WallTime(local.saturating_add_signed(i64::from(seconds).saturating_mul(1000).saturating_neg()))
    })
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "tests may reckon plainly: an overflow there fails the test")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use qrtotp_core::words::Step;

    /// The key of RFC 6238.
    const KEY: &str = "3132333435363738393031323334353637383930";

    fn read(text: &str) -> Vec<Record> {
        parse(text.as_bytes(), &|_| Some(0))
    }

    fn one(text: &str) -> Record {
        let mut records = read(text);
        assert_eq!(records.len(), 1, "{text}");
        records.remove(0)
    }

    #[test]
    fn every_type_is_read_as_liboath_reads_it() {
        let time = [
            ("HOTP/T30", 6, 30),
            ("HOTP/T30/6", 6, 30),
            ("HOTP/T30/7", 7, 30),
            ("HOTP/T30/8", 8, 30),
            ("HOTP/T60", 6, 60),
            ("HOTP/T60/6", 6, 60),
            ("HOTP/T60/7", 7, 60),
            ("HOTP/T60/8", 8, 60),
        ];
        for (kind, digits, period) in time {
            let record = one(&format!("{kind}\talice\t-\t{KEY}\n"));
            let token = record.token.unwrap();
            assert_eq!(
                (token.shape.digits(), token.shape.period(), token.used),
                (digits, period, Used::None),
                "{kind}"
            );
            assert_eq!((record.user.as_deref(), token.secret.bits()), (Some("alice"), 160));
        }
        for kind in ["HOTP", "HOTP/E", "HOTP/E/6", "HOTP/E/7", "HOTP/E/8"] {
            assert!(one(&format!("{kind} alice - {KEY} 7")).token.unwrap_err().contains("counter-based"), "{kind}");
        }
        for kind in ["hotp/T30", "TOTP", "HOTP/T45", "HOTP/T30/9", "HOTP/T30/6/1", "HOTP/X", "HOTP/T30/"] {
            let why = one(&format!(" {kind} alice - {KEY}")).token.unwrap_err();
            assert!(why.starts_with("line 1, column 2: a type"), "{kind}: {why}");
        }
    }

    #[test]
    fn malformed_lines_are_named_by_line_and_column_and_hide_nobody() {
        let text = format!(
            "# users\n\n  \t\nHOTP/T30\nHOTP/T30 alice\nHOTP/T30 alice -\nHOTP/T30 alice - xyz\nHOTP/T30 alice - 313\n\
             HOTP/T30 alice - {KEY} x\nHOTP/T30 alice - {KEY} 0 12 2027-03-31T18:00:00L\n\
             HOTP/T30 alice - {KEY} 0 123456 yesterday\nHOTP/T30 b\0b - {KEY}\nHOTP/T30\tbob\t+\t{}\r\n",
            KEY.to_uppercase()
        );
        let records = read(&text);
        let why = |line: usize| {
            let record = records.iter().find(|record| record.line == line).unwrap();
            record.token.as_ref().err().cloned().unwrap_or_default()
        };
        let beginnings = [
            (4, "line 4, column 9: the user is missing"),
            (5, "line 5, column 15: the PIN, or -, is missing"),
            (6, "line 6, column 17: the key is missing"),
            (7, "line 7, column 18: the key is not hexadecimal"),
            (8, "line 8, column 18: the key is not hexadecimal"),
            (9, "line 9, column 59: the moving factor is not a number"),
            (10, "line 10, column 61: the last code is not"),
            (11, "line 11, column 68: the time of the last code is none"),
            (12, "line 12, column 11: a byte that no such file has"),
            (13, ""),
        ];
        for (line, beginning) in beginnings {
            assert!(why(line).starts_with(beginning), "{}", why(line));
        }
        assert_eq!(records.len(), 10);
        assert!(records[9].token.is_ok());
        assert_eq!((records[9].pin, records[3].pin), (Pin::Elsewhere, Pin::None));
        assert!(records.iter().all(|record| record.token.as_ref().err().is_none_or(|why| !why.contains("3132"))));
    }

    /// RFC 6238, appendix B: at 1111111109 the code is 07081804, of step 37037036.
    #[test]
    fn the_last_code_gives_the_step_that_it_is_of() {
        let used = |rest: &str, east: i32| {
            let records = parse(format!("HOTP/T30/8 alice 1234 {KEY} {rest}").as_bytes(), &|_| Some(east));
            assert_eq!(records[0].pin, Pin::Own);
            records[0].token.as_ref().unwrap().used
        };
        let step = Used::Upto(Step(37_037_036));
        assert_eq!(used("0 07081804 2005-03-18T01:58:29L", 0), step);
        assert_eq!(used("0\t07081804\t2005-03-18T03:58:29L", 7200), step, "two hours east");
        assert_eq!(used("1 07081804 2005-03-18T01:58:02L", 0), step, "the phone was ahead");
        assert_eq!(used("-2 07081804 2005-03-18T01:59:29L", 0), step, "the phone was behind");
        assert_eq!(used("2 07081804 2005-03-18T01:59:29L", 0), step, "the same, without the sign");
        assert_eq!(used("1 07081804 2005-03-18T01:58:29L", 0), step, "the step ended between two looks at the clock");
        assert_eq!(used("0 07081804 2005-03-18T01:58:29L", 3600), Used::NotKnown, "another zone's time");
        assert_eq!(used("0 07081805 2005-03-18T01:58:29L", 0), Used::NotKnown, "no code of this key");
        assert_eq!((used("0", 0), used("0 07081804", 0)), (Used::NotKnown, Used::NotKnown));
    }

    #[test]
    fn an_hour_that_came_twice_is_both() {
        let change = WallTime(1_111_111_109_000);
        let offset = |time: WallTime| Some(if time < change { 7200 } else { 3600 });
        let local = change.0 + 7_200_000;
        let all: Vec<_> = moments(local, &offset).collect();
        assert_eq!(all, [change, WallTime(change.0 + 3_600_000)]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes, &|_| None);
        }

        #[test]
        fn any_line_is_read_and_no_key_or_pin_is_quoted(
            kind in "HOTP(/[ET0-9]{1,3}){0,2}", pin in "[a-z]{6,9}", key in "[0-9a-fx]{8,50}", rest in "[ -~]{0,40}",
        ) {
            for record in read(&format!("{kind} alice {pin} {key} {rest}")) {
                if let Err(why) = record.token {
                    prop_assert!(!why.contains(&pin) && !why.contains(&key), "{}", why);
                }
            }
        }

        /// Whatever code was used last, at whatever time of day, in whatever zone: it is none any more.
        #[test]
        fn the_code_that_was_used_last_is_spent(
            seconds in 1_000_000_000_u64..3_000_000_000, position in -20_i64..20, east in -14_i32..=14,
        ) {
            let secret = Secret::from_bytes_or_weak(b"12345678901234567890").unwrap();
            let shape = Shape::default();
            let step = shape.step_at(WallTime(seconds * 1000)).offset(position);
            let last = code::Generator::new(&secret, shape).unwrap().code(step).to_text();
            let local = WallTime((seconds * 1000).saturating_add_signed(i64::from(east) * 3_600_000)).to_string();
            let line = format!("HOTP/T30 alice - {KEY} {position} {} {}L", *last, &local[..19]);
            let records = parse(line.as_bytes(), &|_| Some(east * 3600));
            match records[0].token.as_ref().unwrap().used {
                Used::Upto(found) => prop_assert!(found >= step),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
