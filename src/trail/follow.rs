//! Follows the events files over rotation: what is new since a place.
//!
//! A file is known by its first line, whose id is random: so it is found again under another name, and compressed. The file before
//! is looked at too, because a login may have opened it before it was rotated away and write into it later.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::HEXLOWER;
use qrtotp_core::files::Trouble;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::io::{Errno, read, retry_on_intr};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::files::{Damage, EventsFile, Trail, read_line};
use crate::line::Line;

/// A place in a file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Place {
    /// The SHA-256 of the file's first line.
    pub file: String,
    /// Bytes from its beginning, unpacked.
    pub offset: u64,
}

/// How far somebody has come.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Position {
    /// In the file that was read last; `None`: nothing was read.
    pub here: Option<Place>,
    /// In the one before it.
    pub before: Option<Place>,
}

/// Follows the files.
pub struct Follower {
    events_file: PathBuf,
    position: Position,
}

impl Follower {
    /// Goes on from a position; from the empty one everything is new.
    pub fn new(events_file: &Path, position: Position) -> Self {
        Self { events_file: events_file.to_owned(), position }
    }

    /// How far it has come.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Passes over everything that is there.
    ///
    /// # Errors
    /// [`Trouble`] where the files cannot be read.
    pub fn skip_to_end(&mut self) -> Result<(), Trouble> {
        self.catch_up(&mut |_| {})
    }

    /// Gives every new line, in order. Whoever stops in the middle of it goes on from the position before.
    ///
    /// # Errors
    /// [`Trouble`] where the files cannot be read; what was given before stays given.
    pub fn catch_up(&mut self, each: &mut dyn FnMut(Result<Line, Damage>)) -> Result<(), Trouble> {
        let trail = Trail::find(&self.events_file)?;
        let known = self.known(&trail)?;
        if let Some(before) = self.position.before.clone()
            && let Some(file) = known.iter().find(|(file, first)| *first == before.file && !file.is_packed())
        {
            let offset = read_on(file.0, before.offset, false, each)?;
            self.position.before = Some(Place { offset, ..before });
        }
        let here = self.position.here.clone();
        let start = here.as_ref().and_then(|here| known.iter().position(|(_, first)| *first == here.file));
        if let (Some(here), None) = (&here, start) {
            let what = format!("what was read up to byte {} is gone; what came after it is lost", here.offset);
            each(Err(Damage { file: self.events_file.clone(), line: None, what }));
        }
        for (file, first) in known.into_iter().skip(start.unwrap_or(0)) {
            let from = here.as_ref().filter(|here| here.file == first).map_or(0, |here| here.offset);
            let offset = read_on(file, from, file.is_current(), each)?;
            if self.position.here.as_ref().is_some_and(|here| here.file != first) {
                self.position.before = self.position.here.take();
            }
            self.position.here = Some(Place { file: first, offset });
        }
        Ok(())
    }

    /// The files from the one that was read last, or all, each with the hash of its first line. Mostly that is one.
    fn known<'a>(&self, trail: &'a Trail) -> Result<Vec<(&'a EventsFile, String)>, Trouble> {
        let mut known = Vec::new();
        for file in trail.files().iter().rev() {
            let Some(first) = first_line(file)? else { continue };
            let oldest = self.position.before.as_ref().or(self.position.here.as_ref());
            let is_oldest = oldest.is_some_and(|oldest| oldest.file == first);
            known.push((file, first));
            if is_oldest {
                break;
            }
        }
        known.reverse();
        Ok(known)
    }
}

/// Rings when something is written in a folder.
pub struct Bell {
    fd: OwnedFd,
}

impl Bell {
    /// A bell for the folder of a file. It is hung up before the file is read, so that nothing is missed.
    ///
    /// # Errors
    /// Where the folder is missing, or the kernel watches no more folders.
    pub fn new(events_file: &Path) -> io::Result<Self> {
        let fd = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        let folder = events_file.parent().unwrap_or(Path::new("/"));
        let what = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
        inotify::add_watch(&fd, folder, what)?;
        Ok(Self { fd })
    }

    /// Waits until it rings, or a time is over.
    ///
    /// # Errors
    /// Where the kernel does not tell.
    pub fn wait(&self, most: Duration) -> io::Result<()> {
        let time =
            Timespec { tv_sec: i64::try_from(most.as_secs()).unwrap_or(i64::MAX), tv_nsec: most.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&self.fd, PollFlags::IN)], Some(&time)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut rung = [0; 4096];
        while retry_on_intr(|| read(&self.fd, &mut rung)).is_ok_and(|length| length > 0) {}
        Ok(())
    }
}

/// The hash of a file's first line; `None` where there is no whole line yet.
fn first_line(file: &EventsFile) -> Result<Option<String>, Trouble> {
    let mut line = Vec::new();
    let length = read_line(&mut file.open()?, &mut line).map_err(|error| unreadable(file, &error))?;
    let is_whole = length > 0 && line.ends_with(b"\n");
    Ok(is_whole.then(|| HEXLOWER.encode(&Sha256::digest(&line))))
}

fn unreadable(file: &EventsFile, error: &io::Error) -> Trouble {
    Trouble::new(&file.path(), format_args!("cannot be read: {error}"))
}

/// Gives the lines from a place on; gives where the next one begins. An unfinished line at the end of the file that is
/// written is left for the next time.
fn read_on(
    file: &EventsFile,
    from: u64,
    is_written: bool,
    each: &mut dyn FnMut(Result<Line, Damage>),
) -> Result<u64, Trouble> {
    let (mut reader, mut offset) = file.open_at(from)?;
    let mut line = Vec::new();
    loop {
        let length = read_line(&mut reader, &mut line).map_err(|error| unreadable(file, &error))?;
        let is_cut_off = length > 0 && u64::try_from(line.len()) == Ok(length) && !line.ends_with(b"\n");
        if length == 0 || is_cut_off && is_written {
            return Ok(offset);
        }
        offset = offset.saturating_add(length);
        if line != b"\n" {
            let what = format!("the line in front of byte {offset} is no event");
            each(Line::parse(&line).ok_or_else(|| Damage { file: file.path(), line: None, what }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File, OpenOptions};
    use std::io::Write;
    use std::process::Command;
    use tempfile::TempDir;

    struct Scene {
        folder: TempDir,
        count: u64,
    }

    impl Scene {
        fn new() -> Self {
            Self { folder: TempDir::new().unwrap(), count: 0 }
        }

        fn path(&self) -> PathBuf {
            self.folder.path().join("events.jsonl")
        }

        fn event(&mut self) -> String {
            self.count += 1;
            format!("{{\"time\":\"2026-11-24T09:30:00.000Z\",\"event\":\"login\",\"duration_us\":{}}}\n", self.count)
        }

        fn write(&mut self) {
            let event = self.event();
            self.append(&event);
        }

        fn append(&self, text: &str) {
            let mut file = OpenOptions::new().append(true).create(true).open(self.path()).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        fn rotate(&self) {
            let at = |number: u32| self.folder.path().join(format!("events.jsonl.{number}"));
            for number in (1..5).rev().filter(|number| at(*number).exists()) {
                fs::rename(at(number), at(number + 1)).unwrap();
            }
            fs::rename(self.path(), at(1)).unwrap();
        }

        /// What is new, and the position as it is stored.
        fn news(&self, position: &mut Position) -> Vec<u64> {
            let stored = serde_json::from_str(&serde_json::to_string(position).unwrap()).unwrap();
            let mut follower = Follower::new(&self.path(), stored);
            let mut numbers = Vec::new();
            follower.catch_up(&mut |line| numbers.push(line.map_or(0, |line| line.duration_us))).unwrap();
            *position = follower.position().clone();
            numbers
        }
    }

    #[test]
    fn every_line_is_given_once_over_rotations_and_packing() {
        let mut scene = Scene::new();
        let mut position = Position::default();
        assert!(scene.news(&mut position).is_empty());
        scene.write();
        scene.write();
        assert_eq!(scene.news(&mut position), [1, 2]);
        assert!(scene.news(&mut position).is_empty());
        scene.write();
        scene.rotate();
        assert_eq!(scene.news(&mut position), [3], "the rest of a file that was rotated away");
        scene.write();
        assert_eq!(scene.news(&mut position), [4]);
        scene.write();
        scene.rotate();
        scene.write();
        scene.rotate();
        scene.write();
        for number in [2, 3] {
            let path = scene.folder.path().join(format!("events.jsonl.{number}"));
            assert!(Command::new("gzip").arg(path).status().unwrap().success());
        }
        assert_eq!(scene.news(&mut position), [5, 6, 7], "the file that was read is packed");
    }

    #[test]
    fn a_line_that_came_late_into_the_file_before_is_given() {
        let mut scene = Scene::new();
        let mut position = Position::default();
        scene.write();
        let mut late = OpenOptions::new().append(true).open(scene.path()).unwrap();
        scene.rotate();
        scene.write();
        assert_eq!(scene.news(&mut position), [1, 2]);
        late.write_all(scene.event().as_bytes()).unwrap();
        scene.write();
        assert_eq!(scene.news(&mut position), [3, 4]);
        assert!(scene.news(&mut position).is_empty());
    }

    #[test]
    fn a_line_that_is_not_whole_waits_and_what_is_gone_is_told() {
        let mut scene = Scene::new();
        let mut position = Position::default();
        scene.write();
        let event = scene.event();
        let (head, tail) = event.split_at(20);
        scene.append(head);
        assert_eq!(scene.news(&mut position), [1]);
        scene.append(tail);
        assert_eq!(scene.news(&mut position), [2]);
        fs::remove_file(scene.path()).unwrap();
        scene.write();
        assert_eq!(scene.news(&mut position), [0, 3], "one line of damage, and what is there");
        File::create(scene.path()).unwrap();
        assert!(scene.news(&mut position).len() <= 1);
        scene.write();
        assert!(scene.news(&mut position).ends_with(&[4]), "cut down to nothing, and written again");
    }

    #[test]
    fn a_bell_rings_for_what_is_written_after_it_was_hung_up() {
        let mut scene = Scene::new();
        let bell = Bell::new(&scene.path()).unwrap();
        scene.write();
        let start = std::time::Instant::now();
        bell.wait(Duration::from_secs(60)).unwrap();
        assert!(start.elapsed() < Duration::from_secs(30));
        bell.wait(Duration::ZERO).unwrap();
    }
}
