//! Who runs this process, and on which host.

use qrtotp_core::files::above_stdio;
use qrtotp_core::remember::Session;
use qrtotp_core::words::Uid;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{read, retry_on_intr};
use rustix::process::{geteuid, getuid};
use rustix::system::uname;

/// The user ids of this process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caller {
    /// Who started it.
    pub real: Uid,
    /// With whose rights it runs.
    pub effective: Uid,
}

/// The user ids of this process now.
pub fn caller() -> Caller {
    Caller { real: Uid(getuid().as_raw()), effective: Uid(geteuid().as_raw()) }
}

/// The login session of this process, as the kernel has it. `None` where it has no terminal, or its leader is gone: such a
/// session cannot be told from others.
pub fn session() -> Option<Session> {
    let own = Stat::read("self")?;
    let leader = Stat::read(&own.session.to_string())?;
    (own.terminal != 0).then_some(Session { id: own.session, started: leader.started, terminal: own.terminal })
}

/// What proc_pid_stat(5) says of a process.
struct Stat {
    session: u32,
    terminal: u32,
    started: u64,
}

impl Stat {
    fn read(process: &str) -> Option<Self> {
        let mut text = [0; 1024];
        let path = format!("/proc/{process}/stat");
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::NONBLOCK;
        let file = open(path, flags, Mode::empty()).and_then(above_stdio).ok()?;
        let length = retry_on_intr(|| read(&file, &mut text)).ok()?;
        Self::parse(text.get(..length)?)
    }

    /// The name of the program, in brackets, may hold anything; the last bracket is its end.
    fn parse(text: &[u8]) -> Option<Self> {
        let end = text.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(text.get(end.checked_add(1)?..)?).ok()?;
        let fields: Vec<_> = rest.split_ascii_whitespace().collect();
        // Counted from "state", which is field 3 of the manual: session is 6, tty_nr 7, starttime 22.
        Some(Self {
            session: fields.get(3)?.parse().ok()?,
            terminal: fields.get(4)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }
}

/// The name of this host, as the kernel has it.
pub fn host_name() -> String {
    uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn the_fields_are_counted_from_behind_the_name_whatever_that_is() {
        let line = b"4242 (evil) 1 2 3) S 1 4242 77 34816 4242 4194304 1 0 0 0 0 0 0 0 20 0 1 0 5555 1 1\n";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.session, stat.terminal, stat.started), (77, 34_816, 5555));
    }

    #[test]
    fn what_is_no_such_line_is_nothing() {
        for line in [b"".as_slice(), b"1 (x", b"1 (x) S 1 1", b"1 (x) S 1 1 -1 0 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"] {
            assert!(Stat::parse(line).is_none());
        }
    }

    /// The program starts a session, so it is the leader of its own: the number in front of its name.
    #[test]
    fn the_leader_of_a_session_is_in_a_session_of_its_own_number() {
        let line = Command::new("setsid").args(["--wait", "cat", "/proc/self/stat"]).output().unwrap().stdout;
        let number = String::from_utf8(line.clone()).unwrap().split(' ').next().unwrap().parse();
        assert_eq!(Stat::parse(&line).map(|stat| stat.session), number.ok());
        assert!(Stat::read("self").is_some());
    }

    /// In a container the leader may be a process that is not seen from within; the kernel then gives 0.
    #[test]
    fn a_leader_that_is_not_seen_is_no_process() {
        assert!(Stat::read("0").is_none());
    }
}
