//! A line of the events file -> its fields. docs/FORMAT.md has what they mean.

use qrtotp_core::words::WallTime;
use serde::{Deserialize, Serialize};

/// The source of who came from a host name.
const HOST_NAME: &str = "a host name";

/// One event, as it stands in the file. Kinds, results and reasons are texts: a line of a newer version is read too.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Line {
    /// RFC 3339, UTC.
    pub time: String,
    /// Of this event.
    pub id: String,
    /// Which machine.
    pub host: String,
    /// `login`, `enroll`, ...
    pub event: String,
    /// PAM service, or `qrtotp` for the command.
    pub service: String,
    /// Absent where no such user exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// As `user`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Whom su changes to, where it asks its caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Address; `local:UID`; or `a host name`.
    pub source: String,
    /// What the host program said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rhost: Option<String>,
    /// What the host program said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tty: Option<String>,
    /// What the host program said; for the command who called it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ruser: Option<String>,
    /// Which rule decided, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<u64>,
    /// `success`, `failure`, `error`, `skipped`.
    pub result: String,
    /// Why.
    pub reason: String,
    /// `totp`, `recovery`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<String>,
    /// The device that showed the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// What its owner calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Steps between code and host clock; positive: the code is ahead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    /// Enrollment id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enrollment: Option<String>,
    /// Ticket id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// Attempts left for this source before two codes are asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_left: Option<u32>,
    /// Microseconds from the answer to the verdict.
    pub duration_us: u64,
    /// What is wrong, for an administrator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Line {
    /// Reads one line, with its newline or without. `None` where it is no JSON object with a time and an event.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let line: Self = serde_json::from_slice(bytes).ok()?;
        (line.moment().is_some() && !line.event.is_empty()).then_some(line)
    }

    /// When it happened.
    pub fn moment(&self) -> Option<WallTime> {
        self.time.parse().ok()
    }

    /// Where from, for people: the source; of a host name, which anybody may choose for his address, what it said.
    pub fn origin(&self) -> String {
        match &self.rhost {
            Some(name) if self.source == HOST_NAME => format!("{HOST_NAME} ({name})"),
            _ => self.source.clone(),
        }
    }

    /// Whether it is a login.
    pub fn is_login(&self) -> bool {
        self.event == "login"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qrtotp_core::events::{Event, Kind, Printable, Scene};
    use qrtotp_core::verdict::Cause;
    use qrtotp_core::words::{Source, Uid};

    #[test]
    fn a_host_name_is_told_as_it_was_said() {
        let source = Source::parse(Some(b"evil.example"), Uid(0));
        let scene = Scene { rhost: Printable::new(b"evil.example"), ..Scene::default() };
        let event = Event { time: WallTime(5000), ..Event::new(Kind::Login, scene, source, Cause::Wrong) };
        let line = Line::parse(event.json_line("h1", None).as_bytes()).unwrap();
        assert_eq!(line.origin(), "a host name (evil.example)");
    }

    #[test]
    fn what_an_event_writes_is_read_back_and_other_lines_are_none() {
        let source = Source::parse(Some(b"192.0.2.7"), Uid(0));
        let event = Event { time: WallTime(5000), ..Event::new(Kind::Login, Scene::default(), source, Cause::Wrong) };
        let line = Line::parse(event.json_line("h1", None).as_bytes()).unwrap();
        assert_eq!((line.reason.as_str(), line.source.as_str()), ("wrong", "192.0.2.7"));
        assert_eq!((line.moment(), line.is_login(), line.host.as_str()), (Some(WallTime(5000)), true, "h1"));
        for other in ["", "{", "[]", "{}", "null", "{\"time\":\"x\",\"event\":\"login\"}"] {
            assert!(Line::parse(other.as_bytes()).is_none(), "{other}");
        }
        assert!(Line::parse(b"{\"time\":\"2026-11-24T09:30:00.000Z\",\"event\":\"new_kind\",\"new\":[1]}").is_some());
    }
}
