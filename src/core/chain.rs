//! What holds the lines of the events file together: each says what the file held when it was written.
//!
//! The sum after a line is the SHA-256 of the sum before it and the line with its newline. A line says how much of the file
//! its writer saw, in bytes, and the sum of that. So nobody waits for anybody: lines of logins at the same time may say the
//! same, and the next one speaks for all of them. A new file goes on with the sum of the one before.

use std::fmt;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// The sum of everything up to a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sum(pub [u8; 32]);

impl Sum {
    /// Of nothing: a file that continues no other begins with it.
    pub const START: Self = Self([0; 32]);

    /// The sum after one more line, which ends in a newline.
    pub fn with(self, line: &[u8]) -> Self {
        Self(Sha256::new().chain_update(self.0).chain_update(line).finalize().into())
    }

    /// Reads the 64 lower-case hexadecimal digits.
    pub fn parse(text: &[u8]) -> Option<Self> {
        HEXLOWER.decode(text).ok()?.try_into().ok().map(Self)
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// What a line says of the file in front of it, written as `AT:SUM`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// How many bytes of the file its writer saw.
    pub at: u64,
    /// Their sum.
    pub sum: Sum,
    /// In the first lines of a file: how many bytes of the file before it are in the sum.
    pub after: Option<u64>,
}

/// How the last field of a line begins.
const FIELD: &[u8] = b",\"chain\":\"";
/// How it ends.
const END: &[u8] = b"\"}\n";
/// How the number in front of it begins, where there is one.
const AFTER: &[u8] = b",\"after\":";

impl Link {
    /// A file that continues no other.
    pub const START: Self = Self { at: 0, sum: Sum::START, after: None };

    /// The fields of a line that ends in `}` and a newline without them.
    pub fn append_to(self, line: &mut String) {
        let body = line.strip_suffix("}\n").map_or(line.len(), str::len);
        line.truncate(body);
        if let Some(after) = self.after {
            line.push_str(&format!(",\"after\":{after}"));
        }
        line.push_str(&format!(",\"chain\":\"{}:{}\"}}\n", self.at, self.sum));
    }

    /// The link of a line with its newline. Texts in a line cannot look like it: quotes in them are escaped.
    pub fn of(line: &[u8]) -> Option<Self> {
        let (rest, sum) = line.strip_suffix(END)?.split_last_chunk::<64>()?;
        let (rest, at) = ending_in_number(rest.strip_suffix(b":")?)?;
        let rest = rest.strip_suffix(FIELD)?;
        let after = ending_in_number(rest).filter(|(rest, _)| rest.ends_with(AFTER)).map(|(_, after)| after);
        Some(Self { at, sum: Sum::parse(sum)?, after })
    }

    /// Reads `AT:SUM`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::of(format!("{{\"x\":0,\"chain\":\"{text}\"}}\n").as_bytes())
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.at, self.sum)
    }
}

/// A text that ends in digits: what stands before them, and their number.
fn ending_in_number(text: &[u8]) -> Option<(&[u8], u64)> {
    let start = text.iter().rposition(|byte| !byte.is_ascii_digit())?.checked_add(1)?;
    let (rest, digits) = text.split_at_checked(start)?;
    Some((rest, std::str::from_utf8(digits).ok()?.parse().ok()?))
}

/// Links a new line to the end of a file, by a piece of it that begins at byte `from` and goes to its end. `None` where the
/// piece does not reach back far enough; the whole file always does.
pub fn link_to_end(piece: &[u8], from: u64) -> Option<Link> {
    let end = piece.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at.saturating_add(1));
    let whole = piece.get(..end)?;
    let place = |at: u64| usize::try_from(at.checked_sub(from)?).ok().filter(|place| *place <= end);
    let mut base = None;
    for (number, line) in lines(whole).enumerate() {
        base = match Link::of(line) {
            // Where the piece begins in the middle of a line, the rest of it still has the link.
            Some(link) if link.at > 0 && place(link.at).is_some() => {
                base.filter(|base: &Link| base.at >= link.at).or(Some(link))
            }
            // The first line of a file says what the file begins with; others that also saw nothing may say something else.
            Some(link) if link.at == 0 && number == 0 && from == 0 => Some(link),
            _ => base,
        };
    }
    let base = base.or((from == 0).then_some(Link::START))?;
    let sum = lines(whole.get(place(base.at)?..)?).fold(base.sum, Sum::with);
    Some(Link { at: from.checked_add(u64::try_from(end).ok()?)?, sum, after: None })
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split_inclusive(|byte| *byte == b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, link: Link) -> String {
        let mut line = format!("{{\"text\":\"{text}\"}}\n");
        link.append_to(&mut line);
        line
    }

    /// A file whose lines were written one after the other.
    fn file(count: usize) -> String {
        (0..count).fold(String::new(), |file, number| {
            let link = link_to_end(file.as_bytes(), 0).unwrap();
            let next = line(&"x".repeat(number % 7), link);
            file + &next
        })
    }

    #[test]
    fn a_link_is_read_back_with_and_without_the_file_before() {
        for link in [
            Link { at: 0, sum: Sum([7; 32]), after: Some(4711) },
            Link { at: u64::MAX, sum: Sum([0xab; 32]), after: None },
            Link::START,
        ] {
            assert_eq!(Link::of(line("a", link).as_bytes()), Some(link));
            assert_eq!(Link::parse(&link.to_string()), Some(Link { after: None, ..link }));
        }
    }

    #[test]
    fn what_is_no_link_is_none() {
        let long = format!("{{\"a\":1,\"chain\":\"{}1:{}\"}}\n", "9".repeat(30), "a".repeat(64));
        let short = format!("{{\"a\":1,\"chain\":\"1:{}\"}}\n", "a".repeat(63));
        let sign = format!("{{\"a\":1,\"chain\":\"+1:{}\"}}\n", "a".repeat(64));
        let open = format!("{{\"a\":1,\"chain\":\"1:{}\"", "a".repeat(64));
        for text in ["", "\n", "{}\n", "}\n", "\"}\n", ",\"chain\":\"\"}\n", &long, &short, &sign, &open] {
            assert_eq!(Link::of(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_short_piece_of_the_end_gives_the_same_link_as_the_whole_file() {
        let file = file(40);
        let whole = link_to_end(file.as_bytes(), 0).unwrap();
        assert_eq!(
            (whole.at, whole.sum),
            (file.len() as u64, file.split_inclusive('\n').fold(Sum::START, |sum, line| sum.with(line.as_bytes())))
        );
        let pieces = || (0..file.len()).map(|from| link_to_end(&file.as_bytes()[from..], from as u64));
        assert!(pieces().flatten().count() > file.len() - 300, "two lines are enough");
        assert!(pieces().flatten().all(|link| link == whole));
    }

    #[test]
    fn a_line_that_is_not_whole_is_not_seen() {
        let file = file(5);
        let whole = link_to_end(file.as_bytes(), 0);
        assert_eq!(link_to_end(format!("{file}{{\"te").as_bytes(), 0), whole);
    }

    #[test]
    fn lines_of_the_same_time_say_the_same_and_the_next_speaks_for_both() {
        let mut file = file(5);
        let link = link_to_end(file.as_bytes(), 0).unwrap();
        file.push_str(&line("one", link));
        file.push_str(&line("two", link));
        let next = link_to_end(file.as_bytes(), 0).unwrap();
        let sum = file.split_inclusive('\n').fold(Sum::START, |sum, line| sum.with(line.as_bytes()));
        assert_eq!(next, Link { at: file.len() as u64, sum, after: None });
    }

    #[test]
    fn a_file_goes_on_from_what_its_first_line_says() {
        let start = Link { at: 0, sum: Sum([9; 32]), after: Some(1000) };
        let late = Link { at: 0, sum: Sum([8; 32]), after: Some(900) };
        let (first, second) = (line("first", start), line("second", late));
        let next = link_to_end(format!("{first}{second}").as_bytes(), 0).unwrap();
        assert_eq!(next.sum, start.sum.with(first.as_bytes()).with(second.as_bytes()));
    }
}
