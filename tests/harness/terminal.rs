//! A program on a pseudo-terminal of its own, waited for and answered like a person would.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::{DEADLINE, in_background, sys};

/// A terminal with a program on it.
pub struct Terminal {
    child: Child,
    keyboard: File,
    screen: Arc<Screen>,
    seen: usize,
}

#[derive(Default)]
struct Screen {
    output: Mutex<Output>,
    grown: Condvar,
}

#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    ended: bool,
}

impl Terminal {
    /// Starts the command on a terminal of 80 columns and 24 rows.
    pub fn start(command: &mut Command) -> Self {
        Self::sized(command, 24, 80)
    }

    /// Starts the command on a terminal of a size.
    ///
    /// # Panics
    /// Where there is no terminal to be had, or the program does not start.
    pub fn sized(command: &mut Command, rows: u16, columns: u16) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let side: OwnedFd = rustix::fs::open(name, flags, Mode::empty()).unwrap();
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&side, size).unwrap();
        command
            .env("TERM", "xterm")
            .stdin(side.try_clone().unwrap())
            .stdout(side.try_clone().unwrap())
            .stderr(Stdio::from(side));
        sys::on_own_terminal(command);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        // The command keeps its copies of the program's side until it is told otherwise.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let keyboard = File::from(keyboard);
        let screen = Arc::new(Screen::default());
        let (source, filled) = (keyboard.try_clone().unwrap(), Arc::clone(&screen));
        in_background(move || filled.fill_from(source));
        Self { child, keyboard, screen, seen: 0 }
    }

    /// Waits for a text to appear after what was waited for before; returns everything up to its end.
    ///
    /// # Panics
    /// Where it does not come in time.
    pub fn wait_for(&mut self, text: &str) -> String {
        self.wait_for_any(&[text]).1
    }

    /// Waits for the first of several texts; says which.
    ///
    /// # Panics
    /// Where none comes in time.
    pub fn wait_for_any(&mut self, texts: &[&str]) -> (usize, String) {
        let end = Instant::now() + DEADLINE;
        let mut output = self.screen.output();
        loop {
            let fresh = &output.bytes[self.seen..];
            let found = texts
                .iter()
                .enumerate()
                .filter_map(|(index, text)| Some((position(fresh, text.as_bytes())? + text.len(), index)));
            if let Some((length, index)) = found.min() {
                let until = String::from_utf8_lossy(&fresh[..length]).into_owned();
                self.seen += length;
                return (index, until);
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(
                !output.ended && !left.is_zero(),
                "waited in vain for {texts:?} on a terminal{} that shows:\n{}",
                if output.ended { ", now closed," } else { "" },
                String::from_utf8_lossy(&output.bytes)
            );
            output = self.screen.grown.wait_timeout(output, left).unwrap().0;
        }
    }

    /// Types a line and Return.
    pub fn type_line(&mut self, line: &str) {
        self.type_keys(&format!("{line}\r"));
    }

    /// Types keys.
    ///
    /// # Panics
    /// Where the terminal is gone.
    pub fn type_keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Everything the terminal showed so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.screen.output().bytes).into_owned()
    }

    /// The process on it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the program to end; returns how, and everything the terminal showed.
    ///
    /// # Panics
    /// Where it does not end in time.
    pub fn end(mut self) -> (ExitStatus, String) {
        let end = Instant::now() + DEADLINE;
        let mut output = self.screen.output();
        while !output.ended {
            let left = end.saturating_duration_since(Instant::now());
            let shown = String::from_utf8_lossy(&output.bytes);
            assert!(!left.is_zero(), "the program goes on; its terminal shows:\n{shown}");
            output = self.screen.grown.wait_timeout(output, left).unwrap().0;
        }
        drop(output);
        let status = self.child.wait().unwrap();
        (status, self.text())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the terminal showed:\n{}", self.text());
        }
    }
}

impl Screen {
    /// What is there; also after a test has failed while it looked at it.
    fn output(&self) -> MutexGuard<'_, Output> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fill_from(&self, mut source: File) {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = source.read(&mut buffer) {
            self.output().bytes.extend(&buffer[..length]);
            self.grown.notify_all();
        }
        self.output().ended = true;
        self.grown.notify_all();
    }
}

fn position(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
