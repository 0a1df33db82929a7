//! `.handovers` in the state folder: what was restored here, so that the same file brings nothing back a second time, even after the
//! user's own state went with his account. One line an enrollment: the handover's id and the enrollment's.

use std::path::Path;

use qrtotp_core::files::{self, Folder, Privacy, Trouble};
use qrtotp_core::vault::Vault;
use qrtotp_core::words::EnrollmentId;
use qrtotp_handover::HandoverId;
use rustix::fs::OFlags;

const NAME: &str = ".handovers";
/// Bytes of a line: two ids of 16 digits, a blank, a newline.
const LINE: usize = 34;
/// Lines that are kept: ten times what one file may hold. Of more, the oldest are forgotten.
const LINES: usize = 100_000;

/// What was restored on this machine. Read once; only who holds the exclusive lock of the state writes it.
pub struct Register {
    folder: Folder,
    text: String,
}

impl Register {
    /// Reads it.
    ///
    /// # Errors
    /// [`Trouble`] where it cannot be read, or holds something else: then nobody knows what was restored.
    pub fn open(vault: &Vault) -> Result<Self, Trouble> {
        let missing = || Trouble::new(vault.path(), "vanished");
        let folder = Folder::open(vault.path(), Privacy::Secret)?.ok_or_else(missing)?;
        let path = folder.path.join(NAME);
        let text = match folder.file(NAME, OFlags::RDONLY, Privacy::Secret)? {
            None => String::new(),
            Some((fd, _)) => parse(&files::read_all(&fd, &path, LINE.saturating_mul(LINES))?, &path)?,
        };
        Ok(Self { folder, text })
    }

    /// Whether this enrollment came out of this handover before.
    pub fn knows(&self, id: HandoverId, enrollment: EnrollmentId) -> bool {
        let wanted = line(id, enrollment);
        self.text.split_inclusive('\n').any(|line| line == wanted)
    }

    /// Notes that it does, before it does.
    ///
    /// # Errors
    /// [`Trouble`] where that is not surely on disk.
    pub fn note(&mut self, id: HandoverId, enrollment: EnrollmentId) -> Result<(), Trouble> {
        if self.knows(id, enrollment) {
            return Ok(());
        }
        let mut text = self.text.clone();
        text.push_str(&line(id, enrollment));
        let surplus = text.len().saturating_sub(LINE.saturating_mul(LINES));
        let text = text.split_off(surplus);
        self.write(text)
    }

    /// Takes the note back: nothing came of it.
    ///
    /// # Errors
    /// [`Trouble`] where it stays; a second try then needs --replace.
    pub fn take_back(&mut self, id: HandoverId, enrollment: EnrollmentId) -> Result<(), Trouble> {
        let gone = line(id, enrollment);
        let text = self.text.split_inclusive('\n').filter(|line| *line != gone).collect();
        self.write(text)
    }

    fn write(&mut self, text: String) -> Result<(), Trouble> {
        self.folder.replace(NAME, text.as_bytes(), 0)?;
        self.text = text;
        Ok(())
    }
}

fn line(id: HandoverId, enrollment: EnrollmentId) -> String {
    format!("{id} {enrollment}\n")
}

fn parse(bytes: &[u8], path: &Path) -> Result<String, Trouble> {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_line = |line: &[u8]| match line.split_at_checked(16) {
        Some((id, [b' ', enrollment @ .., b'\n'])) => {
            line.len() == LINE && id.iter().all(is_digit) && enrollment.iter().all(is_digit)
        }
        _ => false,
    };
    let text = std::str::from_utf8(bytes).ok().filter(|_| bytes.chunks(LINE).all(is_line));
    let damaged =
        "is damaged: what was restored here is not known; look at the events of kind \"restore\", then remove it";
    text.map(str::to_owned).ok_or_else(|| Trouble::new(path, damaged))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_are_read_and_everything_else_is_trouble() {
        let one = line(HandoverId([1; 8]), EnrollmentId([0xab; 8]));
        assert_eq!(one.len(), LINE);
        let read = |text: &str| parse(text.as_bytes(), Path::new("/x")).ok();
        for good in [String::new(), one.clone(), one.repeat(3)] {
            assert_eq!(read(&good).as_deref(), Some(good.as_str()));
        }
        for bad in [&one[1..], &one[..33], "\n", &one.replace('a', "g"), &one.replace(' ', "0"), &format!("{one}x")] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}
