//! The bytes of a file -> what enrollments left in it. Reads as a stream, so that a file may have any length; holds no more
//! than one block of it, and wipes that.
//!
//! | what | how it is known |
//! |---|---|
//! | otpauth URI | `otpauth://` with a secret; also percent-encoded, in HTML, and in JSON |
//! | export of an app | `otpauth-migration://` |
//! | google-authenticator's file | the first line is base32, the second begins with a quote and a blank; or by its name |
//! | users of pam_oath | lines of `HOTP`, user, PIN and a key in hexadecimal |
//! | a key as text | base32, also in groups of four; only if the key is one that is known |

use std::io;
use std::ops::Range;

use data_encoding::HEXLOWER_PERMISSIVE;
use memchr::{memchr, memchr_iter, memchr2_iter, memmem};
use percent_encoding::percent_decode_str;
use qrtotp_core::otp::Secret;
use zeroize::Zeroizing;

use crate::holds::{self, Holds, Key};

/// What was left.
#[derive(Debug)]
pub struct Leftover {
    /// Of which kind.
    pub kind: Kind,
    /// In which line, counted from 1.
    pub line: u64,
    /// The key, and what is said of it.
    pub key: Key,
}

/// Kinds of what is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// An otpauth URI.
    Uri,
    /// What an app moves accounts to another phone with.
    Export,
    /// The file of google-authenticator.
    Authenticator,
    /// A line of a users file of pam_oath.
    OathUsers,
    /// A key that is known, as text.
    KeyText,
}

/// What is looked for beside what every file is searched for.
pub struct Search<'a> {
    /// Whether a key is one that is known.
    pub is_known: &'a dyn Fn(&Secret) -> bool,
    /// How many characters the known ones have in base32, each number once.
    pub lengths: &'a [usize],
    /// Whether the file's name says that it is one of google-authenticator.
    pub is_named_authenticator: bool,
}

/// Bytes that are looked at together.
const BLOCK: usize = 256 * 1024;
/// The longest thing that is found: an export of ten accounts fits.
const LONGEST: usize = 4096;
/// How all URIs begin that are looked for.
const SCHEMES: [&[u8]; 2] = [b"otpauth", b"OTPAUTH"];
/// The longest line of a users file that is read.
const LONGEST_LINE: usize = 700;
/// Fewer bits are a placeholder of some documentation.
const FEWEST_BITS: usize = 40;
/// Characters of a key in google-authenticator's file.
const AUTHENTICATOR: Range<usize> = 16..206;
/// Characters of a group, as people copy keys.
const GROUP: usize = 4;

/// What files are read into, one after the other; it is wiped when the last one is done.
pub fn buffer() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(vec![0; BLOCK])
}

impl Search<'_> {
    /// Reads to the end, and tells what is found in the order of places.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn run(
        &self,
        buffer: &mut [u8],
        mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
        found: &mut dyn FnMut(Leftover),
    ) -> io::Result<()> {
        let (mut filled, mut from, mut lines, mut is_first) = (0_usize, 0_usize, 1_u64, true);
        loop {
            let is_end = fill(buffer, &mut filled, &mut read)?;
            let bytes = buffer.get(..filled).unwrap_or(&[]);
            // What begins further back is looked at when the rest of it is there.
            let until = if is_end { filled } else { filled.saturating_sub(LONGEST) };
            let window = Window { bytes, begins: from..until, lines };
            if is_first {
                self.authenticator(&window, found);
                is_first = false;
            }
            self.look_at(&window, found);
            if is_end {
                return Ok(());
            }
            // One byte in front stays: it tells whether a word begins.
            let gone = until.saturating_sub(1);
            lines = lines.saturating_add(window.lines_between(0, gone));
            buffer.copy_within(gone..filled, 0);
            (filled, from) = (filled.saturating_sub(gone), 1);
        }
    }

    fn look_at(&self, window: &Window<'_>, found: &mut dyn FnMut(Leftover)) {
        let mut all = Vec::new();
        uris(window, &mut all);
        oath_users(window, &mut all);
        self.key_texts(window, &mut all);
        all.sort_by_key(|(at, ..)| *at);
        let (mut line, mut counted) = (window.lines, 0);
        for (at, kind, key) in all {
            line = line.saturating_add(window.lines_between(counted, at));
            counted = at;
            found(Leftover { kind, line, key });
        }
    }

    /// The file that google-authenticator writes: the key, options that begin with a quote, and codes.
    fn authenticator(&self, window: &Window<'_>, found: &mut dyn FnMut(Leftover)) {
        let mut lines = window.bytes.split(|byte| *byte == b'\n');
        let first = lines.next().unwrap_or(&[]).trim_ascii();
        let has_options = lines.next().is_some_and(|second| second.starts_with(b"\" "));
        let is_key = AUTHENTICATOR.contains(&first.len()) && first.iter().all(|byte| is_base32(*byte));
        if is_key && (has_options || self.is_named_authenticator) {
            let text = std::str::from_utf8(first).unwrap_or("");
            let (bits, secret) = holds::secret_of(text);
            found(Leftover { kind: Kind::Authenticator, line: 1, key: Key { bits, secret, ..Key::default() } });
        }
    }

    fn key_texts(&self, window: &Window<'_>, all: &mut Vec<Place>) {
        let mut add = |range: Range<usize>| {
            let at = range.start;
            let secret = self.known(window.bytes.get(range));
            all.extend(secret.map(|secret| {
                (at, Kind::KeyText, Key { bits: secret.bits(), secret: Some(secret), ..Key::default() })
            }));
        };
        let Some(shortest) = self.lengths.iter().min() else { return };
        window.words(*shortest, &mut |word| {
            if self.lengths.contains(&word.len()) {
                add(word);
            }
        });
        window
            .groups(&mut |at| self.lengths.iter().filter_map(|length| window.grouped(at, *length)).for_each(&mut add));
    }

    fn known(&self, text: Option<&[u8]>) -> Option<Secret> {
        let secret = Secret::from_base32_or_weak(std::str::from_utf8(text?).ok()?).ok()?;
        (self.is_known)(&secret).then_some(secret)
    }
}

type Place = (usize, Kind, Key);

fn fill(
    buffer: &mut [u8],
    filled: &mut usize,
    read: &mut impl FnMut(&mut [u8]) -> io::Result<usize>,
) -> io::Result<bool> {
    while let Some(room) = buffer.get_mut(*filled..).filter(|room| !room.is_empty()) {
        match read(room) {
            Ok(0) => return Ok(true),
            Ok(count) => *filled = filled.saturating_add(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Bytes of a file, and which of them may begin something that was not looked at yet.
struct Window<'a> {
    bytes: &'a [u8],
    begins: Range<usize>,
    /// The line in which the bytes begin.
    lines: u64,
}

impl Window<'_> {
    fn lines_between(&self, from: usize, to: usize) -> u64 {
        let between = self.bytes.get(from..to).unwrap_or(&[]);
        u64::try_from(memchr_iter(b'\n', between).count()).unwrap_or(u64::MAX)
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    fn is_base32(&self, at: usize) -> bool {
        self.byte(at).is_some_and(is_base32)
    }

    fn end_of_word(&self, at: usize) -> usize {
        let rest = self.bytes.get(at..).unwrap_or(&[]);
        rest.iter().position(|byte| !is_base32(*byte)).map_or(self.bytes.len(), |length| at.saturating_add(length))
    }

    fn start_of_word(&self, at: usize) -> usize {
        let before = self.bytes.get(..at).unwrap_or(&[]);
        before.iter().rposition(|byte| !is_base32(*byte)).map_or(0, |before| before.saturating_add(1))
    }

    /// Words of base32 that have so many characters at least: whatever is that long covers one of the places that are
    /// looked at, as far apart.
    fn words(&self, shortest: usize, visit: &mut dyn FnMut(Range<usize>)) {
        let step = shortest.max(1);
        let mut at = self.begins.start.saturating_add(step.saturating_sub(1));
        while at < self.begins.end.saturating_add(step) && at < self.bytes.len() {
            if self.is_base32(at) {
                let word = self.start_of_word(at)..self.end_of_word(at);
                at = word.end;
                if self.begins.contains(&word.start) && word.len() >= shortest {
                    visit(word);
                }
            }
            at = at.saturating_add(step);
        }
    }

    /// Where groups of four may begin that a key is copied in: three equal separators follow as far apart.
    fn groups(&self, visit: &mut dyn FnMut(usize)) {
        let bytes = self.bytes.get(self.begins.start..).unwrap_or(&[]);
        for at in memchr2_iter(b' ', b'-', bytes).map(|at| at.saturating_add(self.begins.start)) {
            let Some(start) = at.checked_sub(GROUP) else { continue };
            if start >= self.begins.end {
                return;
            }
            let next = |groups: usize| self.byte(at.saturating_add(groups.saturating_mul(GROUP.saturating_add(1))));
            let is_row = next(1) == self.byte(at) && next(2) == self.byte(at);
            if is_row && self.begins.contains(&start) && self.start_of_word(at) == start {
                visit(start);
            }
        }
    }

    /// So many characters that stand in groups of four, all parted by a blank or all by a dash.
    fn grouped(&self, start: usize, length: usize) -> Option<Range<usize>> {
        let separator = self.byte(start.saturating_add(GROUP))?;
        let (mut at, mut left) = (start, length);
        loop {
            let group = left.min(GROUP);
            let end = at.saturating_add(group);
            if self.end_of_word(at) != end {
                return None;
            }
            left = left.saturating_sub(group);
            if left == 0 {
                return Some(start..end);
            }
            if self.byte(end) != Some(separator) {
                return None;
            }
            at = end.saturating_add(1);
        }
    }

    /// Where a text occurs among the places that may begin something.
    fn places<'w>(&'w self, text: &'w [u8]) -> impl Iterator<Item = usize> + 'w {
        let start = self.begins.start;
        let end = self.begins.end.saturating_add(text.len()).min(self.bytes.len());
        let within = self.bytes.get(start..end).unwrap_or(&[]);
        let places = memmem::find_iter(within, text).map(move |at| at.saturating_add(start));
        places.filter(|at| *at < self.begins.end)
    }
}

fn is_base32(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || (b'2'..=b'7').contains(&byte)
}

fn uris(window: &Window<'_>, all: &mut Vec<Place>) {
    for scheme in SCHEMES {
        for at in window.places(scheme) {
            let rest = window.bytes.get(at..).unwrap_or(&[]);
            let Some(uri) = uri(rest.get(..LONGEST).unwrap_or(rest)) else { continue };
            match holds::what(&uri) {
                Holds::Key(key) if key.bits >= FEWEST_BITS => all.push((at, Kind::Uri, *key)),
                Holds::Export(keys) => all.extend(keys.into_iter().map(|key| (at, Kind::Export, key))),
                Holds::UnreadableExport if has_data(&uri) => all.push((at, Kind::Export, Key::default())),
                _ => {}
            }
        }
    }
}

/// Whether an export that cannot be read is one, and not a text about them.
fn has_data(uri: &str) -> bool {
    uri.split_once("data=").is_some_and(|(_, data)| data.trim().len() >= FEWEST_BITS / 4)
}

/// The URI at the beginning of some bytes, as an app would be given it.
fn uri(bytes: &[u8]) -> Option<Zeroizing<String>> {
    let mut plain = Zeroizing::new(String::from_utf8_lossy(raw_uri(bytes)).into_owned());
    for (escaped, character) in [("&amp;", "&"), ("\\u0026", "&"), ("\\u003d", "="), ("\\", "")] {
        if plain.contains(escaped) {
            plain = Zeroizing::new(plain.replace(escaped, character));
        }
    }
    let name_end = plain.find([':', '%'])?;
    let (_, rest) = plain.split_at_checked(name_end)?;
    if !rest.starts_with("://") && !rest.get(..9)?.eq_ignore_ascii_case("%3a%2f%2f") {
        return None;
    }
    if rest.starts_with("://") && rest.contains('?') {
        return Some(plain);
    }
    // Inside of another link: the whole of it is one encoded parameter there.
    let parameter = plain.split('&').next().unwrap_or(&plain);
    Some(Zeroizing::new(percent_decode_str(parameter).decode_utf8_lossy().into_owned()))
}

/// Up to what ends a URI in any text; a blank does so behind the question mark only, because names have blanks. The next
/// one ends it too, so that many in a row are each looked at once.
fn raw_uri(bytes: &[u8]) -> &[u8] {
    let next = |text: &[u8]| memmem::find(bytes.get(text.len()..)?, text).map(|at| at.saturating_add(text.len()));
    let end = SCHEMES.iter().filter_map(|scheme| next(scheme)).min();
    let bytes = end.and_then(|end| bytes.get(..end)).unwrap_or(bytes);
    let ends = |byte: &u8| matches!(byte, 0..=0x1f | 0x7f | b'"' | b'<' | b'>' | b'`');
    let line = bytes.iter().position(ends).and_then(|end| bytes.get(..end)).unwrap_or(bytes);
    let query = memchr(b'?', line).unwrap_or(0);
    let rest = line.get(query..).unwrap_or(&[]);
    let end =
        rest.iter().position(|byte| matches!(byte, b' ' | b'\'')).map_or(line.len(), |end| query.saturating_add(end));
    line.get(..end).unwrap_or(line)
}

fn oath_users(window: &Window<'_>, all: &mut Vec<Place>) {
    for at in window.places(b"HOTP") {
        let before = at.checked_sub(1).and_then(|before| window.byte(before));
        if before.is_some_and(|byte| !matches!(byte, b'\n' | b' ' | b'\t')) {
            continue;
        }
        let rest = window.bytes.get(at..).unwrap_or(&[]);
        let rest = rest.get(..LONGEST_LINE).unwrap_or(rest);
        let line = memchr(b'\n', rest).and_then(|end| rest.get(..end)).unwrap_or(rest);
        if let Some(key) = oath_user(line) {
            all.push((at, Kind::OathUsers, key));
        }
    }
}

/// `HOTP/T30/6 user pin key ...`
fn oath_user(line: &[u8]) -> Option<Key> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace();
    let (kind, user, _, hex) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let mut parts = kind.split('/').skip(1);
    let (period, digits) = match parts.next() {
        None => (None, None),
        Some("E") => (None, parts.next()),
        Some(step) => (Some(step.strip_prefix('T')?), parts.next()),
    };
    if period.is_some_and(|period| period.parse::<u32>().is_err()) || !(16..=256).contains(&hex.len()) {
        return None;
    }
    let bytes = Zeroizing::new(HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok()?);
    Some(Key {
        kind: if period.is_some() { "totp" } else { "hotp" }.to_owned(),
        account: Some(user.to_owned()),
        digits: digits.map(str::to_owned),
        period: period.map(str::to_owned),
        bits: bytes.len().saturating_mul(8),
        secret: Secret::from_bytes_or_weak(&bytes).ok(),
        ..Key::default()
    })
}

#[cfg(test)]
mod tests;
