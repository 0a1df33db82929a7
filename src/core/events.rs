//! One event, one syslog line, one JSON line. An event cannot hold a secret, a code or a typed answer.

use serde::Serialize;

use crate::chain::Link;
use crate::verdict::{Cause, PamAnswer};
use crate::words::{AttemptId, DeviceId, EnrollmentId, Label, Source, TicketId, Uid, UserName, WallTime};

/// The file beside the events file that keeps what became of every authenticator.
pub const AUTHENTICATORS_NAME: &str = "authenticators.jsonl";

/// What a host said of itself and of the caller, cleaned for the log: bytes 0x20 to 0x7e, at most 256 of them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Printable(String);

impl Printable {
    /// Longest text kept, in bytes after escaping.
    pub const MAX: usize = 256;

    /// Escapes everything outside 0x20..=0x7e, the double quote and the backslash as `\xNN`, and cuts what is too long.
    pub fn new(raw: &[u8]) -> Self {
        let mut text = String::with_capacity(raw.len().min(Self::MAX));
        for byte in raw {
            let piece = match byte {
                b'"' | b'\\' => format!("\\x{byte:02x}"),
                0x20..=0x7e => char::from(*byte).to_string(),
                _ => format!("\\x{byte:02x}"),
            };
            if text.len().saturating_add(piece.len()) > Self::MAX {
                break;
            }
            text.push_str(&piece);
        }
        Self(text)
    }

    /// The cleaned text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same without blanks, for the fields of a syslog line, which other tools split at blanks.
    pub fn as_field(&self) -> String {
        self.0.replace(' ', "\\x20")
    }
}

/// What happened: a login, or an act of the command.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Somebody answered, or could not be asked, at a prompt.
    Login,
    /// A user was enrolled, or a device was added.
    Enroll,
    /// The recovery codes were made anew.
    RecoverySet,
    /// The budget, a lock, or an automatic disabling was lifted.
    Unlock,
    /// A device got another label.
    DeviceRename,
    /// A device was disabled.
    DeviceDisable,
    /// A device was enabled.
    DeviceEnable,
    /// A device was removed.
    DeviceRemove,
    /// The enrollment was revoked.
    Revoke,
    /// State of an account that no longer exists was removed.
    Collect,
    /// An enrollment ticket was made.
    TicketNew,
    /// An enrollment ticket was typed that is good.
    TicketOpen,
    /// An enrollment ticket was revoked.
    TicketRevoke,
    /// An enrollment ticket was found to be over: by its time, or by too many wrong tries.
    TicketExpire,
    /// Places where somebody was not asked again were forgotten.
    Forget,
    /// Two codes are asked of a user for a while.
    StepUp,
    /// Somebody left: everything of him was ended at once.
    Offboard,
    /// An enrollment was written into a file for another machine.
    Handover,
    /// A device, or recovery codes, came from another machine.
    Restore,
    /// A login came from a source, and a network, that is new for its user.
    NewSource,
    /// A login came from a country that is new for its user.
    NewCountry,
    /// A login came in an hour in which its user never logs in.
    UnusualHour,
    /// An alert of the policy was raised, or what it was to do failed.
    Alert,
    /// A PAM service was made to ask for a code.
    SwitchOn,
    /// A PAM service was made to ask for none any more.
    SwitchOff,
}

impl Kind {
    /// The word in the log.
    pub fn word(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Enroll => "enroll",
            Self::RecoverySet => "recovery_set",
            Self::Unlock => "unlock",
            Self::DeviceRename => "device_rename",
            Self::DeviceDisable => "device_disable",
            Self::DeviceEnable => "device_enable",
            Self::DeviceRemove => "device_remove",
            Self::Revoke => "revoke",
            Self::Collect => "collect",
            Self::TicketNew => "ticket_new",
            Self::TicketOpen => "ticket_open",
            Self::TicketRevoke => "ticket_revoke",
            Self::TicketExpire => "ticket_expire",
            Self::Forget => "forget",
            Self::StepUp => "step_up",
            Self::Offboard => "offboard",
            Self::Handover => "handover",
            Self::Restore => "restore",
            Self::NewSource => "new_source",
            Self::NewCountry => "new_country",
            Self::UnusualHour => "unusual_hour",
            Self::Alert => "alert",
            Self::SwitchOn => "switch_on",
            Self::SwitchOff => "switch_off",
        }
    }

    /// Whether it binds an authenticator to an account, changes one, or ends one: such events are kept for good.
    pub fn is_of_authenticators(self) -> bool {
        match self {
            Self::Enroll | Self::RecoverySet | Self::Revoke | Self::Collect => true,
            Self::Offboard | Self::Handover | Self::Restore => true,
            Self::DeviceRename | Self::DeviceDisable | Self::DeviceEnable | Self::DeviceRemove => true,
            Self::Login | Self::Unlock | Self::StepUp | Self::Forget => false,
            Self::TicketNew | Self::TicketOpen | Self::TicketRevoke | Self::TicketExpire => false,
            Self::NewSource | Self::NewCountry | Self::UnusualHour | Self::Alert => false,
            Self::SwitchOn | Self::SwitchOff => false,
        }
    }

    /// Every kind, for tables and tests.
    pub const ALL: [Self; 25] = [
        Self::Login,
        Self::Enroll,
        Self::RecoverySet,
        Self::Unlock,
        Self::DeviceRename,
        Self::DeviceDisable,
        Self::DeviceEnable,
        Self::DeviceRemove,
        Self::Revoke,
        Self::Collect,
        Self::TicketNew,
        Self::TicketOpen,
        Self::TicketRevoke,
        Self::TicketExpire,
        Self::Forget,
        Self::StepUp,
        Self::Offboard,
        Self::Handover,
        Self::Restore,
        Self::NewSource,
        Self::NewCountry,
        Self::UnusualHour,
        Self::Alert,
        Self::SwitchOn,
        Self::SwitchOff,
    ];
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Accepted, or done.
    Success,
    /// Refused.
    Failure,
    /// The system could not decide, and refused.
    Error,
    /// Policy asked for nothing.
    Skipped,
}

impl From<PamAnswer> for Outcome {
    fn from(answer: PamAnswer) -> Self {
        match answer {
            PamAnswer::Success => Self::Success,
            PamAnswer::Ignore => Self::Skipped,
            PamAnswer::AuthErr | PamAnswer::MaxTries => Self::Failure,
            PamAnswer::ConvErr | PamAnswer::AuthinfoUnavail | PamAnswer::ServiceErr | PamAnswer::Abort => Self::Error,
        }
    }
}

/// What was presented.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Factor {
    /// A one-time code.
    Totp,
    /// A recovery code.
    Recovery,
}

/// Which program asked, and for whom; the same for every event of one call.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Scene {
    /// PAM service (`sshd`, `sudo`), or `qrtotp` for the command.
    pub service: Printable,
    /// PAM_TTY.
    pub tty: Printable,
    /// PAM_RUSER; for the command, who called it.
    pub ruser: Printable,
    /// PAM_RHOST as it was given.
    pub rhost: Printable,
    /// Real user id of the process.
    pub real_uid: u32,
    /// Effective user id of the process.
    pub effective_uid: u32,
}

/// One event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// What happened.
    pub kind: Kind,
    /// When; zero where the clock could not be read.
    pub time: WallTime,
    /// Its id, which the journal record of an attempt carries too.
    pub id: AttemptId,
    /// Which program asked.
    pub scene: Scene,
    /// The user; absent where no such user exists, because people type passwords at login prompts.
    pub user: Option<UserName>,
    /// The user's id.
    pub uid: Option<Uid>,
    /// Whom su changes to, where its caller is asked.
    pub target: Option<UserName>,
    /// Where from.
    pub source: Source,
    /// Which rule of the policy decided, counted from 1; absent for the implicit last one.
    pub rule: Option<usize>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why: a word of the table in `verdict`, or what an administrator gave.
    pub reason: Printable,
    /// What was presented.
    pub factor: Option<Factor>,
    /// Which device.
    pub device: Option<(DeviceId, Label)>,
    /// Steps between the code and this host's clock (positive: the code is ahead).
    pub offset: Option<i64>,
    /// Which enrollment.
    pub enrollment: Option<EnrollmentId>,
    /// Which enrollment ticket; the id says nothing of what is typed.
    pub ticket: Option<TicketId>,
    /// Attempts left before two codes are asked.
    pub budget_left: Option<u32>,
    /// Microseconds from the answer to the verdict.
    pub duration_us: u64,
    /// What was wrong, for an administrator: a path and an error, a line and a column. Never a secret.
    pub detail: Option<Printable>,
}

impl Event {
    /// An event with nothing known but what happened, where, and why.
    pub fn new(kind: Kind, scene: Scene, source: Source, cause: Cause) -> Self {
        Self {
            kind,
            time: WallTime::default(),
            id: AttemptId::default(),
            scene,
            user: None,
            uid: None,
            target: None,
            source,
            rule: None,
            outcome: cause.answer().into(),
            reason: Printable::new(cause.reason().as_bytes()),
            factor: None,
            device: None,
            offset: None,
            enrollment: None,
            ticket: None,
            budget_left: None,
            duration_us: 0,
            detail: None,
        }
    }

    /// An act of an administrator that was done.
    pub fn done(kind: Kind, scene: Scene, source: Source, reason: &str) -> Self {
        let reason = Printable::new(reason.as_bytes());
        Self { outcome: Outcome::Success, reason, ..Self::new(kind, scene, source, Cause::Code) }
    }

    /// The syslog message without priority and tag, in the classic form of PAM modules.
    pub fn syslog_line(&self) -> String {
        let said = match (self.kind, self.outcome) {
            (Kind::Login, Outcome::Success) => "authentication success",
            (Kind::Login, Outcome::Failure) => "authentication failure",
            (Kind::Login, Outcome::Skipped) => "authentication skipped",
            (Kind::Login, Outcome::Error) => "authentication error",
            (_, Outcome::Success) => "done",
            (_, _) => "not done",
        };
        let scene = &self.scene;
        let user = self.user.as_ref().map_or_else(String::new, |name| field(name.as_str()));
        let mut line = format!(
            "pam_qrtotp({}:{}): {said}; logname= uid={} euid={} tty={} ruser={} rhost={} user={user} reason={}",
            scene.service.as_field(),
            if self.kind == Kind::Login { "auth" } else { "admin" },
            scene.real_uid,
            scene.effective_uid,
            scene.tty.as_field(),
            scene.ruser.as_field(),
            scene.rhost.as_field(),
            self.reason.as_field(),
        );
        self.facts().iter().for_each(|(name, value)| push_field(&mut line, name, value));
        push_field(&mut line, "id", &self.id.to_string());
        if let Some(detail) = &self.detail {
            line.push_str(" detail=\"");
            line.push_str(detail.as_str());
            line.push('"');
        }
        line
    }

    /// What is known beyond the classic form, in order.
    fn facts(&self) -> Vec<(&'static str, String)> {
        let (id, label) = self.device.as_ref().map(|(id, label)| (id.to_string(), field(label.as_str()))).unzip();
        let facts = [
            ("event", (self.kind != Kind::Login).then(|| self.kind.word().to_owned())),
            ("device", id),
            ("label", label),
            ("offset", self.offset.map(|offset| offset.to_string())),
            ("target", self.target.as_ref().map(|target| field(target.as_str()))),
            ("rule", self.rule.map(|rule| rule.to_string())),
            ("ticket", self.ticket.map(|ticket| ticket.to_string())),
            ("budget", self.budget_left.map(|left| left.to_string())),
        ];
        facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// The JSON line, with its newline. Absent facts are left out.
    pub fn json_line(&self, host: &str, link: Option<Link>) -> String {
        let line = Line {
            time: self.time.to_string(),
            id: self.id,
            host,
            event: self.kind,
            service: &self.scene.service,
            user: self.user.as_ref(),
            uid: self.uid,
            target: self.target.as_ref(),
            source: self.source.to_string(),
            rhost: some(&self.scene.rhost),
            tty: some(&self.scene.tty),
            ruser: some(&self.scene.ruser),
            rule: self.rule,
            result: self.outcome,
            reason: &self.reason,
            factor: self.factor,
            device: self.device.as_ref().map(|(id, _)| *id),
            label: self.device.as_ref().map(|(_, label)| label),
            offset: self.offset,
            enrollment: self.enrollment,
            ticket: self.ticket,
            budget_left: self.budget_left,
            duration_us: self.duration_us,
            detail: self.detail.as_ref(),
        };
        let mut text = serde_json::to_string(&line).unwrap_or_default();
        text.push('\n');
        if let Some(link) = link {
            link.append_to(&mut text);
        }
        text
    }
}

fn some(text: &Printable) -> Option<&Printable> {
    (!text.0.is_empty()).then_some(text)
}

fn field(text: &str) -> String {
    Printable::new(text.as_bytes()).as_field()
}

fn push_field(line: &mut String, name: &str, value: &str) {
    line.push(' ');
    line.push_str(name);
    line.push('=');
    line.push_str(value);
}

/// The JSON form, documented in docs/FORMAT.md.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    id: AttemptId,
    host: &'a str,
    event: Kind,
    service: &'a Printable,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a UserName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<Uid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a UserName>,
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    rhost: Option<&'a Printable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tty: Option<&'a Printable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ruser: Option<&'a Printable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<usize>,
    result: Outcome,
    reason: &'a Printable,
    #[serde(skip_serializing_if = "Option::is_none")]
    factor: Option<Factor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<DeviceId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a Label>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enrollment: Option<EnrollmentId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<TicketId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget_left: Option<u32>,
    duration_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a Printable>,
}

#[cfg(test)]
mod tests;
