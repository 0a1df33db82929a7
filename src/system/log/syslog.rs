//! Syslog, by hand.
//!
//! openlog(3) and syslog(3) share one connection, one tag and one facility with the program around us; these belong to it.

use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send as send_to, socket_with,
};
use rustix::process::getpid;

use qrtotp_core::files::above_stdio;

/// Where syslog listens.
pub const SOCKET: &str = "/dev/log";

/// LOG_AUTHPRIV of syslog(3), which most systems write to a file that only root reads.
const FACILITY: u8 = 10;

/// How long a login waits for a log that has stopped reading.
const PATIENCE: Duration = Duration::from_millis(200);

/// How often sending is tried again after a signal.
const TRIES: usize = 3;

/// Longest message, in bytes after escaping: several times what an event can fill, and far below any receiver's limit.
const LONGEST: usize = 4096;

/// Longest tag: 32 in RFC 3164.
const LONGEST_TAG: usize = 32;

/// How much a message matters: the severities of syslog(3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// LOG_ERR
    Error = 3,
    /// LOG_NOTICE
    Notice = 5,
    /// LOG_INFO
    Info = 6,
    /// LOG_DEBUG
    Debug = 7,
}

impl Severity {
    /// The number before the message: facility times eight, plus severity (RFC 3164, 4.1.1).
    fn priority(self) -> u8 {
        (FACILITY << 3) | self as u8
    }
}

/// A program name for the log: letters, digits and `-_./` of the service, or `qrtotp` where it has none.
pub fn tag(service: &str) -> String {
    let clean = |c: char| if c.is_ascii_alphanumeric() || "-_./".contains(c) { c } else { '_' };
    let tag: String = service.chars().take(LONGEST_TAG).map(clean).collect();
    if tag.is_empty() { "qrtotp".to_owned() } else { tag }
}

/// One message as it goes over the socket. It carries no timestamp: receivers put one there.
pub fn datagram(severity: Severity, tag: &str, message: &str) -> String {
    let pid = getpid().as_raw_nonzero();
    format!("<{}>{tag}[{pid}]: {}", severity.priority(), one_line(message))
}

/// Bytes 0x20 to 0x7e as they are, all others as `\xNN`; cut at [`LONGEST`].
fn one_line(message: &str) -> String {
    let mut line = String::with_capacity(message.len().min(LONGEST));
    for byte in message.bytes() {
        if line.len() >= LONGEST {
            break;
        }
        match byte {
            0x20..=0x7e => line.push(char::from(byte)),
            _ => line.push_str(&format!("\\x{byte:02x}")),
        }
    }
    line
}

/// Connects, sends one datagram, and hangs up.
///
/// # Errors
/// Where nobody listens, or does not read within [`PATIENCE`].
pub fn send(socket: &Path, datagram: &str) -> Result<(), Errno> {
    let address = SocketAddrUnix::new(socket)?;
    let connection = above_stdio(socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?)?;
    set_socket_timeout(&connection, Timeout::Send, Some(PATIENCE))?;
    connect(&connection, &address)?;
    for _ in 0..TRIES {
        match send_to(&connection, datagram.as_bytes(), SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            sent => return sent.map(drop),
        }
    }
    Err(Errno::INTR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_are_those_of_authpriv() {
        let severities = [Severity::Error, Severity::Notice, Severity::Info, Severity::Debug];
        assert_eq!(severities.map(Severity::priority), [83, 85, 86, 87]);
    }

    #[test]
    fn a_tag_holds_nothing_that_ends_a_tag() {
        let table = [("sshd", "sshd"), ("", "qrtotp"), ("a b", "a_b"), ("x[1]: y", "x_1___y"), ("caf\u{e9}", "caf_")];
        for (service, expected) in table {
            assert_eq!(tag(service), expected);
        }
        assert_eq!(tag(&"s".repeat(1000)).len(), LONGEST_TAG);
    }

    #[test]
    fn what_is_not_printable_is_escaped_and_what_was_escaped_stays() {
        assert_eq!(one_line("a\nb\r\u{1b}\u{7f}\0\u{e9} %s \\x0a"), "a\\x0ab\\x0d\\x1b\\x7f\\x00\\xc3\\xa9 %s \\x0a");
    }

    #[test]
    fn a_message_of_any_length_becomes_a_bounded_line() {
        assert_eq!(one_line(&"a".repeat(100_000)).len(), LONGEST);
        assert!(one_line(&"\n".repeat(100_000)).len() < LONGEST + 4);
    }
}
