//! The other end of /dev/log.

use std::fs;
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::in_background;
use crate::lines::Lines;

/// How a datagram of the harness's own begins.
const MARK: &str = "<mark>";

/// Listens at /dev/log of the sandbox; lines keep their `<priority>`.
pub struct Syslog {
    socket: UnixDatagram,
    lines: Lines,
    marks: Lines,
}

impl Syslog {
    /// Starts to listen.
    ///
    /// # Panics
    /// Where the socket cannot be made.
    pub fn listen() -> Self {
        let socket = UnixDatagram::bind("/dev/log").expect("a socket at /dev/log");
        fs::set_permissions("/dev/log", fs::Permissions::from_mode(0o666)).unwrap();
        let (lines, marks) = (Lines::default(), Lines::default());
        let (receiver, filled, marked) = (socket.try_clone().unwrap(), lines.clone(), marks.clone());
        in_background(move || {
            let mut buffer = vec![0; 1 << 18];
            while let Ok(length @ 1..) = receiver.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]);
                let text = text.trim_end_matches(['\0', '\n']).to_owned();
                let list = if text.starts_with(MARK) { &marked } else { &filled };
                list.push(text);
            }
        });
        Self { socket, lines, marks }
    }

    /// Everything that arrived, and what was on its way when this was called.
    ///
    /// # Panics
    /// Where the listener is dead.
    pub fn lines(&self) -> &Lines {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let mark = format!("{MARK}{}.", NUMBER.fetch_add(1, Ordering::Relaxed));
        // Where a test took /dev/log away, nothing is on its way.
        if UnixDatagram::unbound().unwrap().send_to(mark.as_bytes(), "/dev/log").is_ok() {
            self.marks.wait_for(&mark);
        }
        &self.lines
    }

    /// Everything that arrived, without waiting for more.
    pub fn arrived(&self) -> &Lines {
        &self.lines
    }

    /// What the module logged, priority and header and all.
    pub fn of_module(&self) -> Vec<String> {
        self.lines().holding("pam_qrtotp(")
    }
}

impl Drop for Syslog {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}
