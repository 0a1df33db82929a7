//! What opens a file: a passphrase that is typed unseen, or read from a file or from standard input; the content of a file of
//! identities. Bytes are read one by one, because a buffer of the library would keep them.

use std::io::{Write, stderr, stdin};
use std::path::Path;

use qrtotp_core::files::{self, Privacy};
use qrtotp_core::otp::crockford;
use rustix::io::Errno;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::desk::Desk;
use crate::ending::{Code, Ending};

/// Longest line, in bytes.
const LONGEST: usize = 1024;
/// Largest file of identities, in bytes.
const MOST_IDENTITIES: usize = 64 * 1024;
/// Shortest passphrase of a new file, in characters: whoever has the file may try as many as he likes, a second each.
const SHORTEST: usize = 12;
/// Random bytes in a passphrase that is made here.
const RANDOM: usize = 15;

type Line = Zeroizing<Vec<u8>>;

/// The passphrase of a new file: typed twice, or read.
pub fn chosen(desk: &Desk, file: Option<&Path>) -> Result<Zeroizing<String>, Ending> {
    if file.is_some() || !desk.screen.is_typed_at() {
        return checked(read(file)?);
    }
    let first = typed("Passphrase (Enter: one is made): ")?;
    if first.is_empty() {
        return made(desk);
    }
    let first = checked(first)?;
    if *typed("The same once more: ")? == *first {
        Ok(first)
    } else {
        Err(Ending::new(Code::No, "the two are not the same; nothing was done"))
    }
}

/// The passphrase of a file that is there.
pub fn known(desk: &Desk, file: Option<&Path>) -> Result<Zeroizing<String>, Ending> {
    let is_typed = file.is_none() && desk.screen.is_typed_at();
    if is_typed { typed("Passphrase of the file: ") } else { read(file) }
}

/// The content of a file of identities.
pub fn identities(path: &Path) -> Result<Zeroizing<Vec<u8>>, Ending> {
    let missing = || Ending::new(Code::Usage, format!("{}: is not there", path.display()));
    let (fd, _) = files::open_path(path, Privacy::Secret)?.ok_or_else(missing)?;
    Ok(files::read_all(&fd, path, MOST_IDENTITIES)?)
}

/// A hundred and twenty random bits, as people copy them from paper. Shown on the terminal, and nowhere else.
fn made(desk: &Desk) -> Result<Zeroizing<String>, Ending> {
    let mut bytes = Zeroizing::new([0; RANDOM]);
    desk.random().fill(bytes.as_mut_slice())?;
    let plain = crockford::encode(bytes.as_slice()).unwrap_or_default();
    let text = crockford::in_groups(plain.as_bytes());
    let shown = Zeroizing::new(format!("The passphrase is: {}\nWrite it down; without it the file is lost.\n", *text));
    stderr().lock().write_all(shown.as_bytes())?;
    Ok(text)
}

fn checked(text: Zeroizing<String>) -> Result<Zeroizing<String>, Ending> {
    if text.chars().count() < SHORTEST {
        return Err(Ending::new(Code::Usage, format!("a passphrase must have {SHORTEST} characters at least")));
    }
    Ok(text)
}

/// The first line of a file, or of standard input.
fn read(file: Option<&Path>) -> Result<Zeroizing<String>, Ending> {
    let line = match file {
        None => line_of(&stdin(), None)?.ok_or_else(nothing)?,
        Some(path) => {
            let missing = || Ending::new(Code::Usage, format!("{}: is not there", path.display()));
            let (fd, _) = files::open_path(path, Privacy::Secret)?.ok_or_else(missing)?;
            line_of(&fd, None)?.ok_or_else(nothing)?
        }
    };
    text(&line)
}

fn nothing() -> Ending {
    Ending::new(Code::Usage, "no passphrase was given; it is read from the first line of standard input")
}

fn text(line: &Line) -> Result<Zeroizing<String>, Ending> {
    let wrong = |_| Ending::new(Code::Usage, "the passphrase is not UTF-8");
    let text = std::str::from_utf8(line).map_err(wrong)?;
    Ok(Zeroizing::new(text.strip_suffix('\r').unwrap_or(text).to_owned()))
}

/// Asks on the terminal, which shows nothing of what is typed.
fn typed(question: &str) -> Result<Zeroizing<String>, Ending> {
    let terminal = Unseen::begin()?;
    stderr().lock().write_all(question.as_bytes())?;
    let line = line_of(&stdin(), Some(&terminal.keys));
    drop(terminal);
    stderr().lock().write_all(b"\n")?;
    text(&line?.ok_or_else(|| Ending::new(Code::No, "given up; nothing was done"))?)
}

/// A terminal that shows nothing until this goes. Keys arrive one by one, the one that interrupts too: so the terminal is never
/// left as it is now.
struct Unseen {
    before: Termios,
    keys: Keys,
}

/// The keys of a terminal that do something.
struct Keys {
    erase: u8,
    kill: u8,
    end: u8,
    interrupt: u8,
}

impl Unseen {
    fn begin() -> Result<Self, Ending> {
        let fail = |errno: Errno| Ending::from(std::io::Error::from(errno));
        let before = tcgetattr(stdin()).map_err(fail)?;
        let codes = &before.special_codes;
        let keys = Keys {
            erase: codes[SpecialCodeIndex::VERASE],
            kill: codes[SpecialCodeIndex::VKILL],
            end: codes[SpecialCodeIndex::VEOF],
            interrupt: codes[SpecialCodeIndex::VINTR],
        };
        let mut unseen = before.clone();
        unseen.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        unseen.special_codes[SpecialCodeIndex::VMIN] = 1;
        unseen.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(stdin(), OptionalActions::Flush, &unseen).map_err(fail)?;
        Ok(Self { before, keys })
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        // Nothing to be done where the terminal is gone.
        let _ = tcsetattr(stdin(), OptionalActions::Flush, &self.before);
    }
}

/// A line without its end; `None` where there is none, or it was given up. `keys` of a terminal do what they do elsewhere.
fn line_of(input: &impl std::os::fd::AsFd, keys: Option<&Keys>) -> Result<Option<Line>, Ending> {
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST));
    loop {
        let mut byte = Zeroizing::new([0_u8; 1]);
        let count = match rustix::io::read(input, byte.as_mut_slice()) {
            Err(Errno::INTR) => continue,
            result => result.map_err(std::io::Error::from)?,
        };
        let [key] = *byte;
        match (count, key, keys) {
            (0, _, _) => return Ok((!line.is_empty()).then_some(line)),
            (_, b'\n' | b'\r', Some(_)) | (_, b'\n', None) => return Ok(Some(line)),
            (_, key, Some(keys)) if key == keys.interrupt || (key == keys.end && line.is_empty()) => return Ok(None),
            (_, key, Some(keys)) if key == keys.erase => erase(&mut line),
            (_, key, Some(keys)) if key == keys.kill => line.clear(),
            _ if line.len() == LONGEST => return Err(Ending::new(Code::Usage, "the passphrase is too long")),
            (_, key, _) => line.push(key),
        }
    }
}

/// Takes the last character away, which may have several bytes.
fn erase(line: &mut Line) {
    while line.pop().is_some_and(|byte| (0x80..0xc0).contains(&byte)) {}
}
