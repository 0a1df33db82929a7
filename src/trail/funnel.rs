//! The life of every ticket, from the events: who was invited, who is through, who is stuck, and where.

use std::collections::BTreeMap;

use qrtotp_core::words::WallTime;

use crate::line::Line;

/// Tickets that are kept; the oldest go first.
const MOST: usize = 100_000;

/// How far a ticket has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    /// Made; nobody typed it.
    Invited,
    /// Typed, and good; nothing is enrolled.
    Opened,
    /// A device is enrolled with it.
    Enrolled,
    /// And recovery codes were typed back, where the ticket was for a first enrollment.
    Through,
}

/// How it ended before anything was enrolled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Its time is over.
    Expired,
    /// Five wrong tries.
    Dead,
    /// By an administrator, or with the user's enrollment.
    Revoked,
    /// Another ticket, or an enrollment, took its place.
    Replaced,
}

/// One ticket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ticket {
    /// Its id.
    pub id: String,
    /// For whom.
    pub user: String,
    /// When it was made; absent where the events do not reach back so far.
    pub made: Option<String>,
    /// By whom.
    pub by: Option<String>,
    /// Until when it is good.
    pub expires: Option<WallTime>,
    /// How often it was typed, and was good.
    pub opened: u32,
    /// Where from, the last time.
    pub opened_from: Option<String>,
    /// How often the wizard was given up with it.
    pub given_up: u32,
    /// When a device was enrolled with it.
    pub enrolled: Option<String>,
    /// Whether recovery codes belong to what it is for.
    hands_over: bool,
    /// How far it has come.
    pub stage: Stage,
    /// How it ended without an enrollment.
    pub end: Option<End>,
}

impl Ticket {
    /// Where it stands now, in words.
    pub fn standing(&self, now: WallTime) -> &'static str {
        let is_over = self.expires.is_some_and(|expires| now >= expires);
        match (self.stage, self.end) {
            (Stage::Through, _) => "through",
            (Stage::Enrolled, _) => "enrolled, recovery codes not handed over yet",
            (_, Some(End::Revoked)) => "revoked",
            (_, Some(End::Replaced)) => "replaced",
            (_, Some(End::Dead)) => "dead: five wrong tries",
            (Stage::Opened, Some(End::Expired)) => "expired after it was opened",
            (Stage::Opened, None) if is_over => "expired after it was opened",
            (_, Some(End::Expired)) => "expired, never opened",
            (Stage::Invited, None) if is_over => "expired, never opened",
            (Stage::Opened, None) if self.given_up > 0 => "stuck: given up at the picture",
            (Stage::Opened, None) => "stuck: opened, not confirmed",
            (Stage::Invited, None) => "waiting: not opened yet",
        }
    }
}

/// All tickets.
#[derive(Clone, Debug, Default)]
pub struct Funnel {
    tickets: BTreeMap<String, Ticket>,
    order: Vec<String>,
    /// Logins that typed something that was no good ticket, by user.
    pub refused: BTreeMap<String, u32>,
}

impl Funnel {
    /// Takes in an event.
    pub fn add(&mut self, line: &Line) {
        if line.is_login() && line.reason == "ticket_refused" {
            let user = line.user.clone().unwrap_or_default();
            let count = self.refused.entry(user).or_default();
            *count = count.saturating_add(1);
        }
        let Some(id) = &line.ticket else { return };
        let Some(ticket) = self.ticket(id, line) else { return };
        match line.event.as_str() {
            "ticket_new" => {
                ticket.made = Some(line.time.clone());
                ticket.by = Some(line.ruser.clone().unwrap_or_else(|| "root".to_owned()));
                ticket.hands_over = matches!(line.reason.as_str(), "first_enrollment" | "start_afresh");
                let until = line.detail.as_deref().and_then(|detail| detail.strip_prefix("good until "));
                ticket.expires = until.and_then(|until| until.parse().ok());
            }
            "ticket_open" => {
                ticket.stage = ticket.stage.max(Stage::Opened);
                ticket.opened = ticket.opened.saturating_add(1);
                ticket.opened_from = Some(line.source.clone());
            }
            "enroll" => {
                ticket.stage = if ticket.hands_over { ticket.stage.max(Stage::Enrolled) } else { Stage::Through };
                ticket.enrolled = Some(line.time.clone());
            }
            "recovery_set" => ticket.stage = Stage::Through,
            "ticket_revoke" => ticket.end = Some(if line.reason == "replaced" { End::Replaced } else { End::Revoked }),
            "ticket_expire" => ticket.end = Some(if line.reason == "dead" { End::Dead } else { End::Expired }),
            "login" if line.reason == "given_up" => ticket.given_up = ticket.given_up.saturating_add(1),
            _ => {}
        }
    }

    fn ticket(&mut self, id: &str, line: &Line) -> Option<&mut Ticket> {
        if !self.tickets.contains_key(id) {
            if self.order.len() >= MOST {
                let oldest = self.order.remove(0);
                self.tickets.remove(&oldest);
            }
            self.order.push(id.to_owned());
            let ticket = Ticket {
                id: id.to_owned(),
                user: line.user.clone().unwrap_or_default(),
                made: None,
                by: None,
                expires: None,
                opened: 0,
                opened_from: None,
                given_up: 0,
                enrolled: None,
                hands_over: true,
                stage: Stage::Invited,
                end: None,
            };
            self.tickets.insert(id.to_owned(), ticket);
        }
        self.tickets.get_mut(id)
    }

    /// The tickets, in the order in which they were made.
    pub fn tickets(&self) -> impl Iterator<Item = &Ticket> {
        self.order.iter().filter_map(|id| self.tickets.get(id))
    }

    /// How many have come at least so far.
    pub fn reached(&self, stage: Stage) -> usize {
        self.tickets.values().filter(|ticket| ticket.stage >= stage).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(event: &str, reason: &str, ticket: &str) -> Line {
        Line {
            time: "2026-11-24T09:30:00.000Z".to_owned(),
            event: event.to_owned(),
            reason: reason.to_owned(),
            user: Some("alice".to_owned()),
            ticket: Some(ticket.to_owned()),
            source: "192.0.2.7".to_owned(),
            detail: (event == "ticket_new").then(|| "good until 2026-11-25T09:30:00.000Z".to_owned()),
            ruser: Some("root".to_owned()),
            ..Line::default()
        }
    }

    #[test]
    fn every_end_that_a_ticket_can_come_to_is_told_apart() {
        let (before, after) = ("2026-11-24T10:00:00Z".parse().unwrap(), "2026-11-26T10:00:00Z".parse().unwrap());
        type Case = (&'static [(&'static str, &'static str)], &'static str, &'static str);
        let cases: [Case; 8] = [
            (&[], "waiting: not opened yet", "expired, never opened"),
            (&[("ticket_open", "opened")], "stuck: opened, not confirmed", "expired after it was opened"),
            (
                &[("ticket_open", "opened"), ("login", "given_up")],
                "stuck: given up at the picture",
                "expired after it was opened",
            ),
            (&[("ticket_revoke", "revoked")], "revoked", "revoked"),
            (&[("ticket_revoke", "replaced")], "replaced", "replaced"),
            (&[("ticket_expire", "dead")], "dead: five wrong tries", "dead: five wrong tries"),
            (
                &[("ticket_open", "opened"), ("enroll", "enrolled")],
                "enrolled, recovery codes not handed over yet",
                "enrolled, recovery codes not handed over yet",
            ),
            (
                &[("ticket_open", "opened"), ("enroll", "enrolled"), ("recovery_set", "handed_over")],
                "through",
                "through",
            ),
        ];
        let mut all = Funnel::default();
        for (number, (events, now, later)) in cases.into_iter().enumerate() {
            let id = number.to_string();
            let mut funnel = Funnel::default();
            for funnel in [&mut funnel, &mut all] {
                funnel.add(&event("ticket_new", "first_enrollment", &id));
                events.iter().for_each(|(kind, reason)| funnel.add(&event(kind, reason, &id)));
            }
            let ticket = funnel.tickets().next().unwrap();
            assert_eq!((ticket.standing(before), ticket.standing(after)), (now, later), "{events:?}");
            assert_eq!((ticket.by.as_deref(), ticket.user.as_str()), (Some("root"), "alice"));
        }
        let reached = [Stage::Invited, Stage::Opened, Stage::Enrolled, Stage::Through].map(|stage| all.reached(stage));
        assert_eq!(reached, [8, 4, 2, 1]);
    }

    #[test]
    fn a_refused_ticket_is_counted_for_its_user() {
        let mut funnel = Funnel::default();
        funnel.add(&Line { ticket: None, ..event("login", "ticket_refused", "") });
        assert_eq!((funnel.refused.get("alice"), funnel.tickets().count()), (Some(&1), 0));
    }
}
