//! Enrollments and their states -> bytes and back. The form is in docs/FORMAT.md: lines a person can read, and in each
//! enrollment the `credentials.toml` and the beginning of the journal that the other machine will have.

use std::fmt;

use data_encoding::{BASE64, HEXLOWER};
use qrtotp_core::budget::State;
use qrtotp_core::events::Printable;
use qrtotp_core::vault::credentials::MOST as MOST_CREDENTIALS;
use qrtotp_core::vault::{Credentials, Journal};
use qrtotp_core::words::WallTime;
use zeroize::Zeroizing;

/// What the first line begins with.
const NAME: &str = "qrtotp-handover";
/// The version of the form.
const VERSION: u32 = 1;
/// Enrollments in one file.
pub const MOST_USERS: usize = 10_000;
/// Largest content, in bytes.
pub const MOST: usize = 64 * 1024 * 1024;
/// Content is filled up with blanks to a whole number of pieces, and then by one more. The library encrypts in pieces of this
/// size and does not wipe the buffer it gathers them in: so the last piece it gathered holds nothing.
pub const PIECE: usize = 64 * 1024;
/// Bytes of a journal that has no records yet.
const BEGIN: usize = 1024;

/// Names one handover.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HandoverId(pub [u8; 8]);

impl HandoverId {
    /// Reads the lower-case hexadecimal form back.
    pub fn parse(text: &str) -> Option<Self> {
        HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok().map(Self)
    }
}

impl fmt::Display for HandoverId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

/// One enrollment: the keys, or a tombstone, and everything that was used.
#[derive(Debug)]
pub struct Moved {
    /// The credentials as they stood on the old machine.
    pub credentials: Credentials,
    /// What its journal added up to.
    pub state: State,
}

/// Everything in a file.
#[derive(Debug)]
pub struct Content {
    /// Which handover.
    pub id: HandoverId,
    /// The old machine's name.
    pub host: String,
    /// When.
    pub made: WallTime,
    /// Who did it.
    pub by: String,
    /// Whether the enrollments stayed in force on the old machine: a backup.
    pub kept: bool,
    /// The enrollments.
    pub users: Vec<Moved>,
}

impl Content {
    /// The bytes, filled up with blanks.
    ///
    /// # Errors
    /// A sentence, where there is more than a file may hold.
    pub fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>, String> {
        let parts: Vec<_> = self.users.iter().map(part).collect();
        let head = self.head();
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let length = length.saturating_add(head.len()).saturating_add(END.len());
        let filled = length.div_ceil(PIECE).saturating_add(1).saturating_mul(PIECE);
        if filled > MOST || self.users.len() > MOST_USERS {
            return Err(format!(
                "more than {MOST_USERS} users or {MOST} bytes; hand over in several files, with --user"
            ));
        }
        // Its capacity is never exceeded: what grows leaves copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(filled));
        bytes.extend_from_slice(head.as_bytes());
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        bytes.extend_from_slice(END.as_bytes());
        bytes.resize(filled, b' ');
        Ok(bytes)
    }

    fn head(&self) -> String {
        let Self { id, made, kept, .. } = self;
        let [host, by] = [&self.host, &self.by].map(|text| Printable::new(text.as_bytes()));
        let (host, by, count, kept) = (host.as_str(), by.as_str(), self.users.len(), if *kept { "yes" } else { "no" });
        let made = made.0;
        format!("{NAME} {VERSION}\nid {id}\nhost {host}\nmade {made}\nby {by}\nkept {kept}\nusers {count}\n")
    }

    /// Reads the bytes.
    ///
    /// # Errors
    /// A sentence; the content itself, which holds keys, is never quoted.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut rest = Rest(bytes);
        check_version(&mut rest)?;
        let id = rest.field("id", HandoverId::parse)?;
        let host = rest.field("host", printable)?;
        let made = WallTime(rest.field("made", |text| text.parse().ok())?);
        let by = rest.field("by", printable)?;
        let kept = rest.field("kept", |text| ["no", "yes"].iter().position(|word| *word == text))? == 1;
        let count = rest.field("users", |text| text.parse().ok().filter(|count| *count <= MOST_USERS))?;
        let mut users: Vec<Moved> = Vec::new();
        for number in 1..=count {
            let moved = read_part(&mut rest).map_err(|what| format!("enrollment {number} of {count}: {what}"))?;
            if users.iter().any(|other| other.credentials.user == moved.credentials.user) {
                return Err(format!("{} is there twice", moved.credentials.user));
            }
            users.push(moved);
        }
        let is_over = rest.take(END.len()) == Some(END.as_bytes()) && rest.0.iter().all(|byte| *byte == b' ');
        if is_over {
            Ok(Self { id, host, made, by, kept, users })
        } else {
            Err("it does not end where it should".to_owned())
        }
    }
}

const END: &str = "end\n";

/// `user LENGTH LENGTH`, the credentials, and what the journal begins with.
fn part(moved: &Moved) -> Zeroizing<Vec<u8>> {
    let text = moved.credentials.to_text();
    let begin = BASE64.encode(&Journal::begin(moved.credentials.enrollment, moved.state.clone()));
    let head = format!("user {} {}\n", text.len(), begin.len());
    let parts = [head.as_bytes(), text.as_bytes(), begin.as_bytes(), b"\n"];
    let mut bytes = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

fn read_part(rest: &mut Rest<'_>) -> Result<Moved, String> {
    let lengths = |text: &str| {
        let (text, begin) = text.split_once(' ')?;
        Some((text.parse().ok().filter(|length| *length <= MOST_CREDENTIALS)?, begin.parse().ok()?))
    };
    let (text, begin): (usize, usize) = rest.field("user", lengths)?;
    let text = rest.take(text).and_then(|bytes| std::str::from_utf8(bytes).ok()).ok_or("it is cut off")?;
    let credentials = Credentials::parse(text).map_err(|what| format!("its credentials, {what}"))?;
    let begin = rest.take(begin).filter(|begin| begin.len() == BASE64.encode_len(BEGIN)).ok_or("it is cut off")?;
    let begin = BASE64.decode(begin).map_err(|_| "its state is no base64")?;
    let state =
        Journal::begun(&begin, credentials.enrollment).ok_or("its state is damaged, or of another enrollment")?;
    if rest.take(1) != Some(b"\n") {
        return Err("it does not end where it should".to_owned());
    }
    Ok(Moved { credentials, state })
}

fn check_version(rest: &mut Rest<'_>) -> Result<(), String> {
    let foreign = "it is no handover of qrtotp";
    let first = rest.line().ok_or(foreign)?;
    let version = first.strip_prefix(NAME).and_then(|rest| rest.strip_prefix(' ')).ok_or(foreign)?;
    match version.parse() {
        Ok(VERSION) => Ok(()),
        Ok(other) => {
            Err(format!("it is of form {other}; this version reads form {VERSION}: restore it with a newer one"))
        }
        Err(_) => Err(foreign.to_owned()),
    }
}

/// A text that was cleaned when it was written, and is not taken as it is.
fn printable(text: &str) -> Option<String> {
    let is_clean = text.len() <= Printable::MAX && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    is_clean.then(|| text.to_owned())
}

/// What is left to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// Longest line, in bytes.
    const LONGEST: usize = 1024;

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }

    /// The next line, without its end.
    fn line(&mut self) -> Option<&'a str> {
        let end = self.0.iter().take(Self::LONGEST).position(|byte| *byte == b'\n')?;
        let line = self.take(end)?;
        self.take(1)?;
        std::str::from_utf8(line).ok()
    }

    /// The value of the next line, which must be of that name.
    fn field<T>(&mut self, name: &str, read: impl FnOnce(&str) -> Option<T>) -> Result<T, String> {
        let value = self.line().and_then(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(read).ok_or_else(|| format!("the line \"{name}\" is missing or wrong"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use qrtotp_core::budget::Hit;
    use qrtotp_core::otp::{Secret, Shape};
    use qrtotp_core::vault::{Device, Revocation};
    use qrtotp_core::words::{DeviceId, EnrollmentId, Label, Step, Uid, UserName};

    pub(super) const KEY: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    pub(super) fn moved(number: u32, devices: u8, step: u64) -> Moved {
        let device = |id: u8| Device {
            id: DeviceId([id; 4]),
            label: Label::parse(&format!("end\nuser {id}")).or_else(|| Label::parse("phone")).unwrap(),
            shape: Shape::default(),
            secret: Secret::from_base32(KEY).unwrap(),
            added: WallTime(7),
            enabled: true,
            ticket: None,
            replaced: None,
        };
        let revoked = (devices == 0).then(|| Revocation { time: WallTime(9), reason: "end\nleft \"us\"".to_owned() });
        let credentials = Credentials {
            enrollment: EnrollmentId([u8::try_from(number).unwrap(); 8]),
            user: UserName::parse(format!("user{number}").as_bytes()).unwrap(),
            uid: Uid(number),
            created: WallTime(5),
            revoked,
            devices: (0..devices).map(device).collect(),
            recovery: Vec::new(),
        };
        let mut state = State::default();
        state.refuse_up_to((0..devices).map(|id| Hit { device: DeviceId([id; 4]), step: Step(step) }));
        Moved { credentials, state }
    }

    fn content(users: Vec<Moved>) -> Content {
        let (host, by) = ("old.example.org".to_owned(), "ro\not".to_owned());
        Content { id: HandoverId([1; 8]), host, made: WallTime(11), by, kept: true, users }
    }

    fn said(content: &Content) -> String {
        let users = content.users.iter().map(|moved| format!("{:?} {:?}", *moved.credentials.to_text(), moved.state));
        format!("{:?} {} {:?} {} {}", content.id, content.host, content.made, content.kept, users.collect::<String>())
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(users in proptest::collection::vec((0_u8..5, any::<u64>()), 0..9)) {
            let users = (0..).zip(users).map(|(number, (devices, step))| moved(number, devices, step)).collect();
            let content = content(users);
            let bytes = content.to_bytes().unwrap();
            prop_assert_eq!(bytes.len() % PIECE, 0);
            prop_assert!(bytes[bytes.len() - PIECE..].iter().all(|byte| *byte == b' '));
            let again = Content::parse(&bytes).unwrap();
            prop_assert_eq!(said(&again), said(&content));
            prop_assert_eq!(again.by, "ro\\x0aot");
        }

        /// What is cut off, changed or added is an error or says the same; it is never half of what was written.
        #[test]
        fn what_is_damaged_is_named_and_never_half_believed(at in 0_usize..3000, byte in any::<u8>(), cut in any::<bool>()) {
            let whole = content(vec![moved(1, 1, 3), moved(2, 0, 4)]);
            let mut bytes = whole.to_bytes().unwrap();
            if cut { bytes.truncate(at) } else { bytes[at] = byte }
            if let Ok(content) = Content::parse(&bytes) {
                prop_assert_eq!(content.users.len(), 2);
                for (read, written) in content.users.iter().zip(&whole.users) {
                    prop_assert_eq!(&read.state, &written.state);
                }
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = Content::parse(&bytes);
            let _ = Content::parse(&[b"qrtotp-handover 1\n", bytes.as_slice()].concat());
        }
    }

    #[test]
    fn what_is_not_ours_or_newer_is_told_apart() {
        let said = |text: &str| Content::parse(text.as_bytes()).unwrap_err();
        assert!(said("hello\n").contains("no handover of qrtotp"));
        assert!(said("").contains("no handover of qrtotp"));
        assert!(said("qrtotp-handover 2\nid\n").contains("form 2; this version reads form 1"));
        assert!(said("qrtotp-handover 1\nid 00\n").contains("\"id\""));
        let twice = content(vec![moved(1, 1, 1), moved(1, 1, 1)]).to_bytes().unwrap();
        assert!(Content::parse(&twice).unwrap_err().contains("user1 is there twice"));
    }

    #[test]
    fn no_error_quotes_a_key() {
        let text = content(vec![moved(1, 1, 1)]).to_bytes().unwrap();
        let broken = String::from_utf8(text.to_vec()).unwrap().replace(KEY, &KEY.replace('Q', "1"));
        let error = Content::parse(broken.as_bytes()).unwrap_err();
        assert!(error.starts_with("enrollment 1 of 1: its credentials, line ") && !error.contains("GEZD"), "{error}");
    }
}
