//! The bytes of one file, without what is not there: a hole of any length costs as much as one byte.

use std::fs::File;
use std::io;

use indicatif::ProgressBar;
use rustix::fs::{SeekFrom, Stat, seek};
use rustix::io::{Errno, pread};

/// Bytes that are read of one file.
const MOST: u64 = 16 << 30;
/// Bytes that tell what a file is.
const HEAD: usize = 8;

/// A file that is read once, up to the length that it had in the beginning.
pub struct Content<'a> {
    file: &'a File,
    bar: &'a ProgressBar,
    length: u64,
    at: u64,
    read: u64,
    head: Vec<u8>,
}

impl<'a> Content<'a> {
    /// Begins to read.
    pub fn of(file: &'a File, stat: &Stat, bar: &'a ProgressBar) -> Self {
        let length = u64::try_from(stat.st_size).unwrap_or(0);
        Self { file, bar, length, at: 0, read: 0, head: Vec::with_capacity(HEAD) }
    }

    /// As read(2), with one byte of zero in place of a hole.
    pub fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.length || self.is_cut_off() {
            return Ok(0);
        }
        match seek(self.file, SeekFrom::Data(self.at)) {
            Ok(data) if data > self.at => {
                self.go_to(data.min(self.length));
                return Ok(room.first_mut().map(|byte| *byte = 0).map_or(0, |()| 1));
            }
            // No data up to the end.
            Err(Errno::NXIO) => {
                self.go_to(self.length);
                return Ok(0);
            }
            // File systems that do not know of holes.
            Ok(_) | Err(_) => {}
        }
        let count = pread(self.file, &mut *room, self.at)?;
        if self.at == 0 {
            self.head.extend(room.iter().take(HEAD.min(count)));
        }
        let count_64 = u64::try_from(count).unwrap_or(0);
        self.read = self.read.saturating_add(count_64);
        self.go_to(self.at.saturating_add(count_64));
        Ok(count)
    }

    fn go_to(&mut self, at: u64) {
        self.bar.inc(at.saturating_sub(self.at));
        self.at = at;
    }

    /// How the file begins.
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// How many bytes were read.
    pub fn bytes(&self) -> u64 {
        self.read
    }

    /// Whether there is more than is read of one file.
    pub fn is_cut_off(&self) -> bool {
        self.read >= MOST && self.at < self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    fn all(file: &File) -> (Vec<u8>, u64, Vec<u8>) {
        let bar = ProgressBar::hidden();
        let mut content = Content::of(file, &rustix::fs::fstat(file).unwrap(), &bar);
        let (mut bytes, mut room) = (Vec::new(), [0; 64 * 1024]);
        loop {
            match content.read(&mut room).unwrap() {
                0 => return (bytes, content.bytes(), content.head().to_vec()),
                count => bytes.extend(&room[..count]),
            }
        }
    }

    #[test]
    fn a_hole_of_an_exabyte_costs_nothing() {
        // Not in /tmp, which may be on a file system of small files.
        let file = tempfile::tempfile_in("/dev/shm").unwrap();
        file.write_at(b"begin", 0).unwrap();
        file.set_len(1 << 60).unwrap();
        file.write_at(b"end", 1 << 59).unwrap();
        let (bytes, read, head) = all(&file);
        assert!(read < 1 << 20, "{read}");
        assert_eq!(head, b"begin\0\0\0");
        let text = String::from_utf8_lossy(&bytes).replace('\0', "");
        assert_eq!(text, "beginend");
    }

    #[test]
    fn a_plain_file_is_read_whole() {
        let file = tempfile::tempfile().unwrap();
        let text = "line\n".repeat(50_000);
        file.write_at(text.as_bytes(), 0).unwrap();
        let (bytes, read, head) = all(&file);
        assert!(bytes == text.as_bytes() && read == 250_000);
        assert_eq!(head, b"line\nlin");
    }
}
