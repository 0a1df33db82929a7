//! The events files: the one that is written, and those that were rotated away, compressed or not.
//!
//! Everything is read as a stream, so that memory does not depend on how much there is.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use qrtotp_core::files::{Folder, Privacy, Trouble};
use qrtotp_core::words::WallTime;
use rustix::fs::OFlags;

use crate::line::Line;

/// Longest line that is read, in bytes; what is longer is damage.
const LONGEST: usize = 64 * 1024;

/// How a file is packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Packing {
    None,
    Gzip,
    Xz,
    Zstandard,
}

impl Packing {
    /// The name without its ending, and what that says.
    fn of(name: &str) -> (&str, Self) {
        let endings = [(".gz", Self::Gzip), (".xz", Self::Xz), (".zst", Self::Zstandard)];
        let found = endings.into_iter().find_map(|(end, packing)| Some((name.strip_suffix(end)?, packing)));
        found.unwrap_or((name, Self::None))
    }
}

/// Where a file stands among the others, the oldest first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Age {
    /// `events.jsonl-20261124`
    Dated(String),
    /// `events.jsonl.3`: the higher the number, the older.
    Numbered(std::cmp::Reverse<u64>),
    /// `events.jsonl`
    Current,
}

impl Age {
    /// `None` for what is no events file.
    fn of(rest: &str) -> Option<Self> {
        let is_date = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        match rest {
            "" => Some(Self::Current),
            _ if rest.starts_with('.') => {
                let number = rest.get(1..).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
                Some(Self::Numbered(std::cmp::Reverse(number.parse().ok()?)))
            }
            _ => rest.strip_prefix('-').filter(|text| is_date(text)).map(|date| Self::Dated(date.to_owned())),
        }
    }
}

/// One events file.
#[derive(Clone, Debug)]
pub struct EventsFile {
    folder: PathBuf,
    name: String,
    packing: Packing,
    age: Age,
    /// When it was written last.
    pub modified: WallTime,
    /// Bytes on the disk.
    pub size: u64,
}

impl EventsFile {
    /// Its path.
    pub fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    /// Whether it is the one that events are written to.
    pub fn is_current(&self) -> bool {
        self.age == Age::Current
    }

    /// Whether it is compressed: nothing is written to it any more.
    pub fn is_packed(&self) -> bool {
        self.packing != Packing::None
    }

    /// Opens it for reading, unpacked.
    ///
    /// # Errors
    /// [`Trouble`] where it is gone, or is not root's alone to write.
    pub fn open(&self) -> Result<Box<dyn BufRead>, Trouble> {
        self.open_counting(&Rc::default())
    }

    /// The same from a byte of its unpacked content on; gives also where that is: a file may be shorter.
    ///
    /// # Errors
    /// As [`EventsFile::open`], and where it cannot be read.
    pub fn open_at(&self, from: u64) -> Result<(Box<dyn BufRead>, u64), Trouble> {
        let fail = |error: io::Error| Trouble::new(&self.path(), format_args!("cannot be read: {error}"));
        if self.packing == Packing::None {
            let (mut file, size) = self.open_file()?;
            let from = from.min(size);
            file.seek(SeekFrom::Start(from)).map_err(fail)?;
            return Ok((Box::new(BufReader::with_capacity(LONGEST, file)), from));
        }
        let mut reader = self.open()?;
        let skipped = io::copy(&mut Read::take(&mut reader, from), &mut io::sink()).map_err(fail)?;
        Ok((reader, skipped))
    }

    /// The file as it lies there, and its size.
    fn open_file(&self) -> Result<(File, u64), Trouble> {
        let fail = |what: &str| Trouble::new(&self.path(), what);
        let folder = Folder::open(&self.folder, Privacy::ReadableByAll)?.ok_or_else(|| fail("is missing"))?;
        let opened = folder.file(&self.name, OFlags::RDONLY, Privacy::ReadableByAll)?;
        let (file, stat) = opened.ok_or_else(|| fail("is missing; it was rotated away just now, try again"))?;
        Ok((File::from(file), u64::try_from(stat.st_size).unwrap_or(0)))
    }

    fn open_counting(&self, count: &Rc<Cell<u64>>) -> Result<Box<dyn BufRead>, Trouble> {
        let fail = |what: &str| Trouble::new(&self.path(), what);
        let (file, _) = self.open_file()?;
        let counted = Counted { file, count: Rc::clone(count) };
        let file = BufReader::with_capacity(LONGEST, counted);
        Ok(match self.packing {
            Packing::None => Box::new(file),
            Packing::Gzip => unpacked(flate2::bufread::MultiGzDecoder::new(file)),
            Packing::Xz => unpacked(lzma_rust2::XzReader::new(file, true)),
            Packing::Zstandard => {
                unpacked(ruzstd::decoding::StreamingDecoder::new(file).map_err(|_| fail("is not packed by zstd"))?)
            }
        })
    }
}

/// Counts what is read from the disk.
struct Counted {
    file: File,
    count: Rc<Cell<u64>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.count.set(self.count.get().saturating_add(u64::try_from(length).unwrap_or(0)));
        Ok(length)
    }
}

fn unpacked(reader: impl Read + 'static) -> Box<dyn BufRead> {
    Box::new(BufReader::with_capacity(LONGEST, reader))
}

/// All events files, the oldest first.
#[derive(Clone, Debug, Default)]
pub struct Trail {
    files: Vec<EventsFile>,
}

impl Trail {
    /// Looks which files there are: `events.jsonl`, and what rotation makes of it (`.1`, `.2.gz`, `-20261124.xz`, ...).
    ///
    /// # Errors
    /// [`Trouble`] where the folder is not root's alone to write, or cannot be listed.
    pub fn find(events_file: &Path) -> Result<Self, Trouble> {
        let fail = |what: &str| Trouble::new(events_file, what);
        let parent = events_file.parent().ok_or_else(|| fail("is in no folder"))?;
        let name = events_file.file_name().and_then(|name| name.to_str()).ok_or_else(|| fail("has no usable name"))?;
        let Some(folder) = Folder::open(parent, Privacy::ReadableByAll)? else { return Ok(Self::default()) };
        let mut files = Vec::new();
        for other in folder.names()? {
            let (plain, packing) = Packing::of(&other);
            let Some(age) = plain.strip_prefix(name).and_then(Age::of) else { continue };
            let Some(stat) = folder.stat(&other)? else { continue };
            let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
            files.push(EventsFile {
                folder: parent.to_owned(),
                name: other,
                packing,
                age,
                modified: WallTime(seconds.saturating_mul(1000)),
                size: u64::try_from(stat.st_size).unwrap_or(0),
            });
        }
        files.sort_by(|one, other| one.age.cmp(&other.age));
        Ok(Self { files })
    }

    /// The files, the oldest first.
    pub fn files(&self) -> &[EventsFile] {
        &self.files
    }

    /// Without the files that were written last before a time: nothing in them is younger.
    pub fn since(mut self, time: WallTime) -> Self {
        // A file is touched in the second of its last line, which may have been the same one.
        let second = time.0.saturating_sub(1000);
        self.files.retain(|file| file.is_current() || file.modified.0 >= second);
        self
    }

    /// Bytes of all files on the disk.
    pub fn size(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.size))
    }

    /// Every line of every file, in order.
    pub fn lines(&self) -> Lines<'_> {
        Lines { files: self.files.iter(), open: None, buffer: Vec::new(), read: Rc::default() }
    }
}

/// What cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// Where.
    pub file: PathBuf,
    /// The line, counted from 1; `None` where it is the file as a whole.
    pub line: Option<u64>,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}: line {line}: {}", self.file.display(), self.what),
            None => write!(f, "{}", self.what),
        }
    }
}

/// The lines of a trail.
pub struct Lines<'a> {
    files: std::slice::Iter<'a, EventsFile>,
    open: Option<Open>,
    buffer: Vec<u8>,
    read: Rc<Cell<u64>>,
}

struct Open {
    path: PathBuf,
    reader: Box<dyn BufRead>,
    number: u64,
}

impl Lines<'_> {
    /// Bytes read from the disk so far.
    pub fn read(&self) -> u64 {
        self.read.get()
    }
}

impl Iterator for Lines<'_> {
    type Item = Result<Line, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.open.is_none() {
                let file = self.files.next()?;
                match file.open_counting(&self.read) {
                    Ok(reader) => self.open = Some(Open { path: file.path(), reader, number: 0 }),
                    Err(trouble) => {
                        return Some(Err(Damage { file: file.path(), line: None, what: trouble.to_string() }));
                    }
                }
            }
            let open = self.open.as_mut()?;
            open.number = open.number.saturating_add(1);
            let damage =
                |what: &str| Damage { file: open.path.clone(), line: Some(open.number), what: what.to_owned() };
            match read_line(&mut open.reader, &mut self.buffer) {
                Ok(0) => self.open = None,
                Ok(_) => {
                    if self.buffer.as_slice() != b"\n" {
                        return Some(
                            Line::parse(&self.buffer).ok_or_else(|| damage("is no event; see: qrtotp log --verify")),
                        );
                    }
                }
                Err(error) => {
                    let damage = damage(&format!("cannot be read on: {error}"));
                    self.open = None;
                    return Some(Err(damage));
                }
            }
        }
    }
}

/// Reads a line with its newline; gives its length in bytes, which is zero at the end. Of one that is too long only the
/// beginning is kept.
///
/// # Errors
/// Where the file cannot be read.
pub fn read_line(reader: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<u64> {
    line.clear();
    let mut length = 0_u64;
    loop {
        let piece = match reader.fill_buf() {
            Ok(piece) => piece,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let end = piece.iter().position(|byte| *byte == b'\n').map(|at| at.saturating_add(1));
        let taken = end.unwrap_or(piece.len());
        let room = LONGEST.saturating_sub(line.len()).min(taken);
        line.extend_from_slice(piece.get(..room).unwrap_or_default());
        reader.consume(taken);
        length = length.saturating_add(u64::try_from(taken).unwrap_or(u64::MAX));
        if end.is_some() || taken == 0 {
            return Ok(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};
    use tempfile::TempDir;

    fn event(number: u64) -> String {
        format!("{{\"time\":\"2026-11-24T09:30:00.000Z\",\"event\":\"login\",\"duration_us\":{number}}}\n")
    }

    /// Writes a file through a program that packs, or none.
    fn write(folder: &TempDir, name: &str, packer: Option<&str>, text: &str) {
        let file = File::create(folder.path().join(name)).unwrap();
        let mut child = Command::new(packer.unwrap_or("cat")).stdin(Stdio::piped()).stdout(file).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    fn numbers(trail: &Trail) -> Vec<u64> {
        trail.lines().filter_map(Result::ok).map(|line| line.duration_us).collect()
    }

    #[test]
    fn rotated_and_packed_files_are_read_from_the_oldest_on() {
        let folder = TempDir::new().unwrap();
        write(&folder, "events.jsonl", None, &event(6));
        write(&folder, "events.jsonl.1", None, &event(5));
        write(&folder, "events.jsonl.2.gz", Some("gzip"), &event(4));
        write(&folder, "events.jsonl.10.xz", Some("xz"), &event(3));
        write(&folder, "events.jsonl-20260102.zst", Some("zstd"), &event(2));
        write(&folder, "events.jsonl-20260101", None, &event(1));
        for other in
            ["events.jsonl.bak", "events.jsonl.1.tmp", "events.json", "other", "events.jsonl-", "events.jsonl."]
        {
            write(&folder, other, None, &event(99));
        }
        let trail = Trail::find(&folder.path().join("events.jsonl")).unwrap();
        assert_eq!(numbers(&trail), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn where_there_is_nothing_nothing_is_read() {
        let folder = TempDir::new().unwrap();
        for path in ["events.jsonl", "absent/events.jsonl"] {
            assert!(numbers(&Trail::find(&folder.path().join(path)).unwrap()).is_empty());
        }
    }

    #[test]
    fn damage_is_named_with_its_line_and_what_follows_is_read() {
        let folder = TempDir::new().unwrap();
        let long = format!("{{\"x\":\"{}\"}}\n", "x".repeat(3 * LONGEST));
        write(&folder, "events.jsonl", None, &format!("{}half a li\n\n{long}{}", event(1), event(2)));
        write(&folder, "events.jsonl.1.gz", None, "not packed");
        let trail = Trail::find(&folder.path().join("events.jsonl")).unwrap();
        assert_eq!(numbers(&trail), [1, 2]);
        let damages: Vec<_> = trail.lines().filter_map(Result::err).collect();
        assert_eq!(damages.iter().map(|damage| damage.line).collect::<Vec<_>>(), [Some(1), Some(2), Some(4)]);
        assert!(damages[0].to_string().contains("events.jsonl.1.gz: line 1: cannot be read on"), "{}", damages[0]);
    }

    #[test]
    fn a_file_that_others_may_write_is_named_and_not_read() {
        use std::os::unix::fs::PermissionsExt;
        let folder = TempDir::new().unwrap();
        write(&folder, "events.jsonl", None, &event(1));
        write(&folder, "events.jsonl.1", None, &event(2));
        let path = folder.path().join("events.jsonl.1");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        let trail = Trail::find(&folder.path().join("events.jsonl")).unwrap();
        assert_eq!(numbers(&trail), [1]);
        assert_eq!(trail.lines().filter(Result::is_err).count(), 1);
    }

    #[test]
    fn files_of_before_the_time_asked_for_are_left_out() {
        let folder = TempDir::new().unwrap();
        write(&folder, "events.jsonl", None, &event(2));
        write(&folder, "events.jsonl.1", None, &event(1));
        let old = folder.path().join("events.jsonl.1");
        assert!(Command::new("touch").args(["-d", "2020-01-01"]).arg(&old).status().unwrap().success());
        let find = || Trail::find(&folder.path().join("events.jsonl")).unwrap();
        assert_eq!(numbers(&find().since(WallTime(0))), [1, 2]);
        assert_eq!(numbers(&find().since("2021-01-01T00:00:00Z".parse().unwrap())), [2]);
    }
}
