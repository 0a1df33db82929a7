//! Events and authenticators as auditors ask for them.
//!
//! An event has what PCI DSS v4.0, requirement 10.2.2, lists: user identification, type of event, date and time, success or
//! failure indication, origination of event, and the identity or name of affected data, system component, resource or service.
//! An authenticator has what NIST SP 800-63B asks to keep of each one that is or was bound to an account.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::line::Line;

/// One event.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Event {
    /// PCI DSS: user identification.
    pub user_identification: String,
    /// PCI DSS: type of event.
    pub type_of_event: String,
    /// PCI DSS: date and time; UTC.
    pub date_and_time: String,
    /// PCI DSS: success or failure indication.
    pub success_or_failure_indication: String,
    /// PCI DSS: origination of event.
    pub origination_of_event: String,
    /// PCI DSS: affected data, component, resource or service: host and service, and the authenticator or ticket if it is one.
    pub affected_resource: String,
    /// Why.
    pub reason: String,
    /// Who did it, where that is not the user.
    pub performed_by: String,
    /// The id of the event.
    pub event_id: String,
}

/// The names of the columns, in order.
pub const EVENT_COLUMNS: [&str; 9] = [
    "user_identification",
    "type_of_event",
    "date_and_time",
    "success_or_failure_indication",
    "origination_of_event",
    "affected_resource",
    "reason",
    "performed_by",
    "event_id",
];

impl Event {
    /// Of an event; one without a user of this machine says so with an empty name.
    pub fn of(line: &Line) -> Self {
        let resource = [
            Some(format!("host {}", line.host)),
            Some(format!("service {}", line.service)),
            line.target.as_ref().map(|target| format!("target {target}")),
            line.device.as_ref().map(|device| format!("authenticator {device}")),
            line.ticket.as_ref().map(|ticket| format!("ticket {ticket}")),
        ];
        Self {
            user_identification: line.user.clone().unwrap_or_default(),
            type_of_event: line.event.clone(),
            date_and_time: line.time.clone(),
            success_or_failure_indication: line.result.clone(),
            origination_of_event: line.origin(),
            affected_resource: resource.into_iter().flatten().collect::<Vec<_>>().join("; "),
            reason: line.reason.clone(),
            performed_by: performer(line),
            event_id: line.id.clone(),
        }
    }

    /// The fields in the order of the columns.
    pub fn fields(&self) -> [&str; 9] {
        [
            &self.user_identification,
            &self.type_of_event,
            &self.date_and_time,
            &self.success_or_failure_indication,
            &self.origination_of_event,
            &self.affected_resource,
            &self.reason,
            &self.performed_by,
            &self.event_id,
        ]
    }
}

fn performer(line: &Line) -> String {
    let administrator = || line.ruser.clone().unwrap_or_else(|| "root".to_owned());
    if line.service == "qrtotp" { administrator() } else { line.user.clone().unwrap_or_default() }
}

/// One authenticator that is or was bound to an account.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Authenticator {
    /// Whose.
    pub user_identification: String,
    /// The user id.
    pub uid: Option<u32>,
    /// `otp_device`, or `look_up_secrets` for a set of recovery codes.
    pub authenticator_type: &'static str,
    /// The device's id; of recovery codes none.
    pub authenticator_id: String,
    /// What its owner calls it.
    pub authenticator_label: String,
    /// Which enrollment.
    pub enrollment_id: String,
    /// When it was bound.
    pub date_and_time_bound: String,
    /// By whom.
    pub bound_by: String,
    /// From where.
    pub bound_from: String,
    /// With which enrollment ticket.
    pub bound_with_ticket: String,
    /// `confirmed` by a code, `unverified`, or `restored` from another machine.
    pub confirmation: &'static str,
    /// `bound`, `disabled`, `removed`, `revoked`, `replaced`, `account_gone`, `handed_over`.
    pub status: &'static str,
    /// When that began.
    pub date_and_time_of_status: String,
    /// Everything that became of it, oldest first: time, what, by whom, from where.
    pub history: Vec<String>,
}

/// The names of the columns, in order; the last one holds the whole history.
pub const AUTHENTICATOR_COLUMNS: [&str; 14] = [
    "user_identification",
    "uid",
    "authenticator_type",
    "authenticator_id",
    "authenticator_label",
    "enrollment_id",
    "date_and_time_bound",
    "bound_by",
    "bound_from",
    "bound_with_ticket",
    "confirmation",
    "status",
    "date_and_time_of_status",
    "history",
];

impl Authenticator {
    fn bound(line: &Line, kind: &'static str, id: &str) -> Self {
        let mut bound = Self {
            user_identification: line.user.clone().unwrap_or_default(),
            uid: line.uid,
            authenticator_type: kind,
            authenticator_id: id.to_owned(),
            authenticator_label: line.label.clone().unwrap_or_default(),
            enrollment_id: line.enrollment.clone().unwrap_or_default(),
            date_and_time_bound: line.time.clone(),
            bound_by: performer(line),
            bound_from: line.origin(),
            bound_with_ticket: line.ticket.clone().unwrap_or_default(),
            confirmation: match line.reason.as_str() {
                _ if line.event == "restore" => "restored",
                reason if reason.ends_with("_unverified") => "unverified",
                _ => "confirmed",
            },
            status: "bound",
            date_and_time_of_status: line.time.clone(),
            history: Vec::new(),
        };
        bound.note(line, "bound");
        bound
    }

    fn note(&mut self, line: &Line, what: &str) {
        let detail = line.detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
        self.history.push(format!("{} {what}{detail} by {} from {}", line.time, performer(line), line.origin()));
    }

    fn turn(&mut self, line: &Line, status: &'static str) {
        self.status = status;
        self.date_and_time_of_status = line.time.clone();
        self.note(line, status);
    }

    fn is_over(&self) -> bool {
        !matches!(self.status, "bound" | "disabled")
    }

    /// The fields in the order of the columns.
    pub fn fields(&self) -> [String; 14] {
        [
            self.user_identification.clone(),
            self.uid.map(|uid| uid.to_string()).unwrap_or_default(),
            self.authenticator_type.to_owned(),
            self.authenticator_id.clone(),
            self.authenticator_label.clone(),
            self.enrollment_id.clone(),
            self.date_and_time_bound.clone(),
            self.bound_by.clone(),
            self.bound_from.clone(),
            self.bound_with_ticket.clone(),
            self.confirmation.to_owned(),
            self.status.to_owned(),
            self.date_and_time_of_status.clone(),
            self.history.join("; "),
        ]
    }
}

/// Every authenticator that was ever bound, by a fold over the events.
#[derive(Clone, Debug, Default)]
pub struct Register {
    all: Vec<Authenticator>,
    /// The places in the list of those of one user id that are not over.
    open: BTreeMap<u32, Vec<usize>>,
}

impl Register {
    /// Takes in an event.
    pub fn add(&mut self, line: &Line) {
        let Some(uid) = line.uid else { return };
        match line.event.as_str() {
            "enroll" => {
                if line.reason.starts_with("replaced") {
                    self.end(line, uid, "replaced", |_| true);
                }
                self.bind(line, uid, "otp_device", line.device.as_deref().unwrap_or_default());
            }
            "recovery_set" => {
                self.end(line, uid, "replaced", |old| old.authenticator_type == "look_up_secrets");
                self.bind(line, uid, "look_up_secrets", "");
            }
            "revoke" | "offboard" => self.end(line, uid, "revoked", |_| true),
            "collect" => self.end(line, uid, "account_gone", |_| true),
            "handover" if line.reason == "handed_over" => self.end(line, uid, "handed_over", |_| true),
            "handover" => self.note(line, uid, &line.reason),
            "restore" => {
                if line.reason == "replaced" {
                    self.end(line, uid, "replaced", |_| true);
                }
                let kind = if line.device.is_some() { "otp_device" } else { "look_up_secrets" };
                self.bind(line, uid, kind, line.device.as_deref().unwrap_or_default());
            }
            "device_remove" => self.end(line, uid, "removed", |old| is_device(old, line)),
            "device_disable" => self.change(line, uid, |old| old.turn(line, "disabled")),
            "device_enable" => self.change(line, uid, |old| {
                old.turn(line, "bound");
            }),
            "device_rename" => self.change(line, uid, |old| {
                old.note(line, "renamed");
                let label = line.detail.as_deref().and_then(|detail| detail.strip_prefix("now "));
                old.authenticator_label = label.unwrap_or(&old.authenticator_label).to_owned();
            }),
            _ => {}
        }
    }

    fn bind(&mut self, line: &Line, uid: u32, kind: &'static str, id: &str) {
        self.open.entry(uid).or_default().push(self.all.len());
        self.all.push(Authenticator::bound(line, kind, id));
    }

    /// What became of everything that is bound, and changed nothing.
    fn note(&mut self, line: &Line, uid: u32, what: &str) {
        for place in self.open.get(&uid).into_iter().flatten() {
            if let Some(one) = self.all.get_mut(*place) {
                one.note(line, what);
            }
        }
    }

    fn change(&mut self, line: &Line, uid: u32, act: impl Fn(&mut Authenticator)) {
        for place in self.open.get(&uid).into_iter().flatten() {
            if let Some(one) = self.all.get_mut(*place).filter(|one| is_device(one, line)) {
                act(one);
            }
        }
    }

    fn end(&mut self, line: &Line, uid: u32, status: &'static str, which: impl Fn(&Authenticator) -> bool) {
        let Some(open) = self.open.get_mut(&uid) else { return };
        for place in open.iter() {
            if let Some(one) = self.all.get_mut(*place).filter(|one| which(one)) {
                one.turn(line, status);
            }
        }
        open.retain(|place| self.all.get(*place).is_some_and(|one| !one.is_over()));
    }

    /// All of them, in the order in which they were bound.
    pub fn all(&self) -> &[Authenticator] {
        &self.all
    }
}

fn is_device(one: &Authenticator, line: &Line) -> bool {
    one.authenticator_type == "otp_device" && line.device.as_deref() == Some(one.authenticator_id.as_str())
}

/// A field for a table that may be opened as a spreadsheet: what would be read as a formula there gets a quote in front.
pub fn harmless(field: &str) -> String {
    if field.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{field}") } else { field.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(event: &str, reason: &str, device: Option<&str>) -> Line {
        Line {
            time: format!("2026-11-24T09:30:00.000Z {event}"),
            event: event.to_owned(),
            service: "qrtotp".to_owned(),
            host: "h1".to_owned(),
            user: Some("alice".to_owned()),
            uid: Some(1000),
            source: "local:0".to_owned(),
            ruser: Some("ops".to_owned()),
            result: "success".to_owned(),
            reason: reason.to_owned(),
            device: device.map(str::to_owned),
            label: device.map(|_| "phone".to_owned()),
            enrollment: Some("e1".to_owned()),
            ..Line::default()
        }
    }

    fn register(events: &[Line]) -> Vec<(String, String, usize)> {
        let mut register = Register::default();
        events.iter().for_each(|event| register.add(event));
        let rows = register.all().iter();
        rows.map(|one| (one.authenticator_label.clone(), one.status.to_owned(), one.history.len())).collect()
    }

    fn row(label: &str, status: &str, history: usize) -> (String, String, usize) {
        (label.to_owned(), status.to_owned(), history)
    }

    #[test]
    fn an_authenticator_is_kept_with_everything_that_became_of_it() {
        let mut renamed = event("device_rename", "renamed", Some("d1"));
        renamed.detail = Some("now tablet".to_owned());
        let events = [
            event("enroll", "enrolled", Some("d1")),
            event("recovery_set", "renewed", None),
            event("enroll", "device_added", Some("d2")),
            renamed,
            event("device_disable", "disabled", Some("d1")),
            event("device_enable", "enabled", Some("d1")),
            event("device_remove", "removed", Some("d2")),
            event("recovery_set", "renewed", None),
        ];
        let rows = [row("tablet", "bound", 4), row("", "replaced", 2), row("phone", "removed", 2), row("", "bound", 1)];
        assert_eq!(register(&events), rows);
        let afresh = [events.as_slice(), &[event("enroll", "replaced_unverified", Some("d3"))]].concat();
        assert_eq!(register(&afresh)[0], row("tablet", "replaced", 5));
        let revoked = [events.as_slice(), &[event("revoke", "lost", None)]].concat();
        assert_eq!(register(&revoked)[0], row("tablet", "revoked", 5));
        assert_eq!(register(&revoked)[2], row("phone", "removed", 2), "what was over stays as it was");
    }

    #[test]
    fn what_moves_to_another_machine_ends_here_and_begins_there() {
        let bound = event("enroll", "enrolled", Some("d1"));
        let kept = [bound.clone(), event("handover", "kept", None)];
        assert_eq!(register(&kept), [row("phone", "bound", 2)]);
        let moved = [kept.as_slice(), &[event("handover", "handed_over", None)]].concat();
        assert_eq!(register(&moved), [row("phone", "handed_over", 3)]);
        let back = [event("restore", "replaced", Some("d1")), event("restore", "restored", None)];
        let back = [moved.as_slice(), &back].concat();
        assert_eq!(register(&back), [row("phone", "handed_over", 3), row("phone", "bound", 1), row("", "bound", 1)]);
        let left = [back.as_slice(), &[event("offboard", "left", None)]].concat();
        assert_eq!(register(&left)[1..], [row("phone", "revoked", 2), row("", "revoked", 2)]);
    }

    #[test]
    fn an_event_has_a_field_for_every_column() {
        let line = Line { target: Some("root".to_owned()), ..event("login", "wrong", Some("d1")) };
        let event = Event::of(&line);
        let json = serde_json::to_value(&event).unwrap();
        let values: Vec<_> = EVENT_COLUMNS.iter().map(|name| json[name].as_str().unwrap()).collect();
        assert_eq!(values, event.fields());
        assert_eq!(event.affected_resource, "host h1; service qrtotp; target root; authenticator d1");
        let mut register = Register::default();
        register.add(&self::event("enroll", "enrolled", Some("d1")));
        let json = serde_json::to_value(&register.all()[0]).unwrap();
        assert_eq!(json.as_object().unwrap().len(), AUTHENTICATOR_COLUMNS.len());
        assert!(AUTHENTICATOR_COLUMNS.iter().all(|name| !json[name].is_null()));
    }

    #[test]
    fn no_field_is_a_formula() {
        assert_eq!(["=1+1", "+1", "-1", "@x", "a=1", ""].map(harmless), ["'=1+1", "'+1", "'-1", "'@x", "a=1", ""]);
    }
}
