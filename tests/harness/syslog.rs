//! The other end of /dev/log.

use std::fs;
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;

use crate::in_background;
use crate::lines::Lines;

/// Listens at /dev/log of the sandbox; lines keep their `<priority>`.
pub struct Syslog {
    socket: UnixDatagram,
    lines: Lines,
}

impl Syslog {
    /// Starts to listen.
    ///
    /// # Panics
    /// Where the socket cannot be made.
    pub fn listen() -> Self {
        let socket = UnixDatagram::bind("/dev/log").expect("a socket at /dev/log");
        fs::set_permissions("/dev/log", fs::Permissions::from_mode(0o666)).unwrap();
        let lines = Lines::default();
        let (receiver, filled) = (socket.try_clone().unwrap(), lines.clone());
        in_background(move || {
            let mut buffer = vec![0; 1 << 18];
            while let Ok(length @ 1..) = receiver.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]);
                filled.push(text.trim_end_matches(['\0', '\n']).to_owned());
            }
        });
        Self { socket, lines }
    }

    /// Everything that arrived.
    pub fn lines(&self) -> &Lines {
        &self.lines
    }

    /// What the module logged, priority and header and all.
    pub fn of_module(&self) -> Vec<String> {
        self.lines.holding("pam_qrtotp(")
    }
}

impl Drop for Syslog {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}
