//! Where events go: one datagram to syslog, one line to the events file.
//!
//! Nothing here can fail in a way that a login would notice.

mod file;
mod syslog;

use std::path::{Path, PathBuf};

use qrtotp_core::events::{AUTHENTICATORS_NAME, Event, Outcome, Printable};
use qrtotp_core::files::Trouble;
use qrtotp_core::ports::Events;

use crate::process::host_name;
use syslog::Severity;

/// The log of one call.
#[derive(Clone, Debug)]
pub struct Log {
    service: String,
    socket: PathBuf,
    file: Option<PathBuf>,
    debug: bool,
}

impl Log {
    /// A log to syslog alone, without debug lines, under the name of the PAM service (the command: `qrtotp`).
    pub fn new(service: &Printable) -> Self {
        Self { service: syslog::tag(service.as_str()), socket: syslog::SOCKET.into(), file: None, debug: false }
    }

    /// The same, and one JSON line an event to this file; what becomes of authenticators also to the one beside it that is
    /// never rotated. The path must be absolute; otherwise nothing is written.
    pub fn with_file(self, path: &Path) -> Self {
        Self { file: Some(path.to_owned()), ..self }
    }

    /// The same, with debug lines or without.
    pub fn with_debug(self, debug: bool) -> Self {
        Self { debug, ..self }
    }

    fn send(&self, severity: Severity, message: &str) {
        // Lost where nobody listens: a log that cannot be written changes no answer.
        let _ = syslog::send(&self.socket, &syslog::datagram(severity, &self.service, message));
    }
}

impl Events for Log {
    fn check_room(&self) -> Result<(), Trouble> {
        self.file.as_deref().map_or(Ok(()), file::check_room)
    }

    /// Syslog comes first: a caller of `su` may limit what the process can write to files.
    fn record(&self, event: &Event) {
        self.send(severity(event.outcome), &event.syslog_line());
        let Some(path) = &self.file else { return };
        let kept = event.kind.is_of_authenticators().then(|| path.with_file_name(AUTHENTICATORS_NAME));
        for path in kept.iter().chain([path]) {
            // As above.
            let _ = file::append(path, |link| event.json_line(&host_name(), link));
        }
    }

    fn debug(&self, text: &str) {
        if self.debug {
            self.send(Severity::Debug, &format!("pam_qrtotp({}:auth): {text}", self.service));
        }
    }
}

fn severity(outcome: Outcome) -> Severity {
    match outcome {
        Outcome::Success | Outcome::Skipped => Severity::Info,
        Outcome::Failure => Severity::Notice,
        Outcome::Error => Severity::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qrtotp_core::events::{Kind, Scene};
    use qrtotp_core::verdict::Cause;
    use qrtotp_core::words::{Source, Uid, UserName};
    use std::os::unix::net::UnixDatagram;
    use std::time::{Duration, Instant};
    use tempfile::TempDir;

    /// A log in a folder of its own, and the socket that hears it.
    fn log_in(folder: &TempDir) -> (Log, UnixDatagram) {
        let socket = folder.path().join("log");
        let receiver = UnixDatagram::bind(&socket).unwrap();
        receiver.set_nonblocking(true).unwrap();
        let log = Log { socket, ..Log::new(&Printable::new(b"sshd")) };
        (log.with_file(&folder.path().join("events.jsonl")), receiver)
    }

    fn event(cause: Cause) -> Event {
        let scene = Scene { service: Printable::new(b"sshd"), ..Scene::default() };
        let user = UserName::parse("Ren\u{e9}e".as_bytes());
        Event { user, ..Event::new(Kind::Login, scene, Source::Local(Uid(0)), cause) }
    }

    fn heard(receiver: &UnixDatagram) -> Option<String> {
        let mut buffer = vec![0; 65536];
        let length = receiver.recv(&mut buffer).ok()?;
        Some(String::from_utf8(buffer[..length].to_vec()).unwrap())
    }

    #[test]
    fn an_event_is_one_datagram_without_timestamp_and_with_process_id() {
        let folder = TempDir::new().unwrap();
        let (log, receiver) = log_in(&folder);
        log.record(&event(Cause::Code));
        let datagram = heard(&receiver).unwrap();
        let start = format!("<86>sshd[{}]: pam_qrtotp(sshd:auth): authentication success; ", std::process::id());
        assert!(datagram.starts_with(&start), "{datagram}");
        assert!(datagram.bytes().all(|byte| (0x20..=0x7e).contains(&byte)), "{datagram}");
        assert_eq!(heard(&receiver), None, "one only");
    }

    #[test]
    fn a_refusal_is_a_notice_and_a_fault_is_an_error() {
        let folder = TempDir::new().unwrap();
        let (log, receiver) = log_in(&folder);
        for (cause, priority) in [(Cause::Wrong, "<85>"), (Cause::Policy, "<83>"), (Cause::Recovery, "<86>")] {
            log.record(&event(cause));
            assert!(heard(&receiver).unwrap().starts_with(priority), "{cause:?}");
        }
        assert_eq!(severity(Outcome::Skipped), Severity::Info);
    }

    #[test]
    fn debug_lines_go_out_only_if_asked_for_and_on_one_line() {
        let folder = TempDir::new().unwrap();
        let (log, receiver) = log_in(&folder);
        log.debug("quiet");
        assert_eq!(heard(&receiver), None);
        log.with_debug(true).debug("two\nlines\u{1b}[31m");
        let text = heard(&receiver).unwrap();
        assert!(text.starts_with("<87>sshd["), "{text}");
        assert!(text.ends_with("]: pam_qrtotp(sshd:auth): two\\x0alines\\x1b[31m"), "{text}");
    }

    #[test]
    fn an_event_is_one_json_line_that_names_the_host() {
        let folder = TempDir::new().unwrap();
        let (log, _receiver) = log_in(&folder);
        log.record(&event(Cause::Wrong));
        log.record(&event(Cause::Code));
        let text = std::fs::read_to_string(folder.path().join("events.jsonl")).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["reason"], "wrong");
        assert_eq!(lines[1]["user"], "Ren\u{e9}e");
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(lines[0]["host"], host.trim_end());
    }

    #[test]
    fn what_becomes_of_authenticators_is_kept_in_a_file_of_its_own_too() {
        let folder = TempDir::new().unwrap();
        let (log, _receiver) = log_in(&folder);
        log.record(&event(Cause::Wrong));
        log.record(&Event { kind: Kind::Enroll, ..event(Cause::Code) });
        let lines = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap().lines().count();
        assert_eq!((lines("events.jsonl"), lines("authenticators.jsonl")), (2, 1));
    }

    #[test]
    fn without_syslog_and_without_a_file_nothing_happens() {
        let folder = TempDir::new().unwrap();
        let socket = folder.path().join("absent");
        let log = Log { socket, ..Log::new(&Printable::default()) };
        log.with_file(&folder.path().join("absent/events.jsonl")).record(&event(Cause::Code));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_syslog_that_has_stopped_reading_delays_a_login_by_less_than_a_second() {
        let folder = TempDir::new().unwrap();
        let (log, _receiver) = log_in(&folder);
        let full = (0..5000).find(|_| {
            let start = Instant::now();
            log.send(Severity::Info, "filling");
            start.elapsed() > Duration::from_millis(100)
        });
        assert!(full.is_some(), "the premise: the queue fills up");
        let start = Instant::now();
        log.record(&event(Cause::Code));
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    }

    #[test]
    fn the_events_file_does_not_stay_open() {
        let folder = TempDir::new().unwrap();
        let (log, _receiver) = log_in(&folder);
        log.record(&event(Cause::Code));
        let open = std::fs::read_dir("/proc/self/fd").unwrap();
        let mut targets = open.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
        assert_eq!(targets.find(|target| target.starts_with(folder.path())), None);
    }
}
