//! Making tickets: what `qrtotp ticket new` and `qrtotp rotate` share. Everything is checked before anything is stored, and
//! of several tickets all are stored or none.

use qrtotp_core::calendar::{DAY, duration, in_words};
use qrtotp_core::events::{Kind, Printable};
use qrtotp_core::otp::TicketCode;
use qrtotp_core::policy::FirstLogin;
use qrtotp_core::vault::tickets::MAX_TICKETS;
use qrtotp_core::vault::{Credentials, MAX_DEVICES, Replacement, Ticket, Vault};
use qrtotp_core::words::{Account, Label, TicketId, WallTime};
use serde_json::{Value, json};

use super::outlook::{span_text, takes_ticket};
use super::ticket::State;
use crate::desk::{Desk, quoted};
use crate::ending::{Code, Ending};
use crate::screen::{csv_line, in_a_list};

/// Longest time of a ticket, and longest overlap of two devices.
const LONGEST: u64 = 90 * DAY;
/// Shortest time of a ticket.
const SHORTEST: u64 = 60_000;

/// What all tickets of one command have in common.
pub struct Terms {
    ttl: u64,
    service: Option<String>,
}

impl Terms {
    /// Checks what the command line says against the policy.
    pub fn new(desk: &Desk, ttl: &str, service: Option<&str>) -> Result<Self, Ending> {
        let enrolling = &desk.policy.enrolling;
        if enrolling.first_login == FirstLogin::Off {
            let what = "tickets are not taken: [enroll] first_login is \"off\"; set it to \"ticket\" in";
            return Err(Ending::new(Code::Conflict, format!("{what} {}", desk.config.display())));
        }
        let wrong = || Ending::new(Code::Usage, "--ttl must be a time from 1m to 90d, like 10m, 8h or 7d");
        let ttl = duration(ttl).filter(|ttl| (SHORTEST..=LONGEST).contains(ttl)).ok_or_else(wrong)?;
        if let Some(service) = service.filter(|service| enrolling.services.iter().all(|known| known != service)) {
            let list = in_a_list(&enrolling.services);
            let what =
                format!("--service {}: people enroll through {list} only, by [enroll] services", quoted(service));
            return Err(Ending::new(Code::Usage, what));
        }
        Ok(Self { ttl, service: service.map(str::to_owned) })
    }

    /// The services in which these tickets are taken, if rules let them.
    fn services(&self, desk: &Desk) -> Vec<String> {
        self.service.clone().map_or_else(|| desk.policy.enrolling.services.clone(), |only| vec![only])
    }
}

/// `--overlap`: how long an old device stays good beside the new one; `0` for not at all.
pub fn parse_overlap(text: &str) -> Result<u64, Ending> {
    if text == "0" {
        return Ok(0);
    }
    let wrong = || Ending::new(Code::Usage, "--overlap must be 0, or a time of at most 90d, like 8h or 7d");
    duration(text).filter(|overlap| *overlap <= LONGEST).ok_or_else(wrong)
}

/// What a ticket does for its user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// A first enrollment.
    First,
    /// An enrollment after a revocation.
    Afresh,
    /// One more device.
    Another,
    /// A device in place of this one.
    InPlaceOf(Label),
}

impl Purpose {
    /// The word in JSON and in the log.
    fn word(&self) -> &'static str {
        match self {
            Self::First => "first_enrollment",
            Self::Afresh => "start_afresh",
            Self::Another => "another_device",
            Self::InPlaceOf(_) => "replacement",
        }
    }

    fn is_of_enrolled(&self) -> bool {
        matches!(self, Self::Another | Self::InPlaceOf(_))
    }
}

/// A ticket that can be made.
pub struct Order {
    /// For whom.
    pub account: Account,
    purpose: Purpose,
    label: Label,
    replaces: Option<Replacement>,
    /// Tickets that are good for nothing any more.
    useless: Vec<TicketId>,
    /// An open ticket for the same old device, which this one takes the place of.
    outdated: Vec<TicketId>,
}

impl Order {
    /// A ticket for whatever comes next: a first enrollment, one after a revocation, or one more device.
    pub fn of_user(desk: &Desk, vault: &Vault, account: &Account, label: Label) -> Result<Self, Ending> {
        let credentials = vault.room(account.uid)?.map(|room| room.credentials()).transpose()?;
        let credentials = credentials.map(|(credentials, _)| credentials);
        let purpose = match &credentials {
            None => Purpose::First,
            Some(credentials) => purpose(desk, credentials, account)?,
        };
        let order = Self::bare(account, purpose, label, None);
        order.beside(desk, vault, credentials.as_ref(), 0)
    }

    /// A ticket for a device in place of another one; `more` are ordered for the same user already.
    pub fn of_device(
        desk: &Desk,
        vault: &Vault,
        account: &Account,
        credentials: &Credentials,
        (old, label): (Replacement, &Label),
        more: usize,
    ) -> Result<Self, Ending> {
        let order = Self::bare(account, Purpose::InPlaceOf(label.clone()), label.clone(), Some(old));
        order.beside(desk, vault, Some(credentials), more)
    }

    fn bare(account: &Account, purpose: Purpose, label: Label, replaces: Option<Replacement>) -> Self {
        Self { account: account.clone(), purpose, label, replaces, useless: Vec::new(), outdated: Vec::new() }
    }

    /// Looks at the tickets that are there: which go, and whether there is room for one more.
    fn beside(
        mut self,
        desk: &Desk,
        vault: &Vault,
        credentials: Option<&Credentials>,
        more: usize,
    ) -> Result<Self, Ending> {
        let Some(tickets) = vault.tickets(self.account.uid)? else { return Ok(self) };
        let (now, mut open) = (desk.now()?.wall, more);
        for ticket in tickets.all()? {
            let is_same = self.replaces.is_some_and(|new| ticket.replaces.is_some_and(|old| old.device == new.device));
            match State::of(&ticket, &tickets, credentials, now)? {
                State::Open if is_same => self.outdated.push(ticket.id),
                State::Open => open = open.saturating_add(1),
                State::Expired | State::Dead | State::Spent => self.useless.push(ticket.id),
            }
        }
        if open < MAX_TICKETS {
            return Ok(self);
        }
        let user = &self.account.name;
        let end = "see qrtotp ticket list, and end one with: qrtotp ticket revoke ID";
        Err(Ending::new(Code::Conflict, format!("{user} has {MAX_TICKETS} open tickets, which is the most; {end}")))
    }

    fn make(&self, desk: &Desk, terms: &Terms) -> Result<(Ticket, TicketCode), Ending> {
        let (code, made, mut id) = (TicketCode::generate(desk.random())?, desk.now()?.wall, TicketId::default());
        desk.random().fill(&mut id.0)?;
        let ticket = Ticket {
            id,
            user: self.account.name.clone(),
            uid: self.account.uid,
            made,
            expires: WallTime(made.0.saturating_add(terms.ttl)),
            by: desk.caller(),
            label: self.label.clone(),
            service: terms.service.clone(),
            replaces: self.replaces,
            hash: code.hash(desk.random())?,
        };
        Ok((ticket, code))
    }

    /// Removes what goes, and stores the ticket.
    fn store(&self, desk: &Desk, vault: &Vault, ticket: &Ticket) -> Result<(), Ending> {
        if let Some(tickets) = vault.tickets(ticket.uid)? {
            self.useless.iter().try_for_each(|id| tickets.remove(*id))?;
        }
        end(desk, vault, &self.account, &self.outdated, "replaced")?;
        Ok(vault.store_ticket(ticket)?)
    }
}

fn purpose(desk: &Desk, credentials: &Credentials, account: &Account) -> Result<Purpose, Ending> {
    let user = &account.name;
    if credentials.user != account.name || credentials.uid != account.uid {
        let what = format!("the enrollment there belongs to another account of the name or user id of {user}");
        return Err(Ending::new(Code::Conflict, format!("{what}; see qrtotp gc, or: qrtotp enroll {user} --replace")));
    }
    if credentials.revoked.is_some() {
        return Ok(Purpose::Afresh);
    }
    let most = desk.policy.enrolling.max_devices.min(MAX_DEVICES);
    if credentials.devices.len() >= most {
        let what = format!("{user} has {most} devices, which is the most");
        let or = format!("remove one with qrtotp device remove, or replace one with: qrtotp rotate {user}");
        return Err(Ending::new(Code::Conflict, format!("{what}; {or}")));
    }
    Ok(Purpose::Another)
}

/// A ticket that is stored, and what is typed.
pub struct Issued {
    ticket: Ticket,
    code: TicketCode,
    purpose: Purpose,
    usable_in: Vec<String>,
    has_ended_another: bool,
}

/// Makes and stores what was ordered. The caller holds [`Vault::exclusive`].
///
/// # Errors
/// [`Ending`]; none of the tickets is good then.
pub fn issue(desk: &Desk, vault: &Vault, orders: &[Order], terms: &Terms) -> Result<Vec<Issued>, Ending> {
    let services = terms.services(desk);
    let mut issued: Vec<Issued> = Vec::new();
    for order in orders {
        let stored =
            takes_ticket(desk, &order.account, order.purpose.is_of_enrolled(), &services).and_then(|usable_in| {
                let (ticket, code) = order.make(desk, terms)?;
                order.store(desk, vault, &ticket)?;
                let has_ended_another = !order.outdated.is_empty();
                Ok(Issued { ticket, code, purpose: order.purpose.clone(), usable_in, has_ended_another })
            });
        match stored {
            Ok(stored) => issued.push(stored),
            Err(ending) => {
                // What stays of them ends by itself, and nobody was told what to type.
                issued.iter().map(|issued| &issued.ticket).for_each(|ticket| {
                    let _ = vault.revoke_ticket(ticket.uid, ticket.id);
                });
                return Err(ending);
            }
        }
    }
    issued.iter().zip(orders).for_each(|(issued, order)| issued.record(desk, &order.account));
    Ok(issued)
}

impl Issued {
    fn record(&self, desk: &Desk, account: &Account) {
        let mut event = desk.event(Kind::TicketNew, account, self.purpose.word());
        event.ticket = Some(self.ticket.id);
        event.detail = Some(Printable::new(format!("good until {}", self.ticket.expires).as_bytes()));
        desk.record(&event);
    }

    /// Everything that is known of it.
    pub fn to_json(&self) -> Value {
        let Ticket { id, user, uid, made, expires, label, service, replaces, .. } = &self.ticket;
        let old = match &self.purpose {
            Purpose::InPlaceOf(label) => Some(label),
            _ => None,
        };
        json!({
            "user": user,
            "uid": uid,
            "ticket": self.code.to_text().as_str(),
            "id": id,
            "label": label,
            "for": self.purpose.word(),
            "replaces": replaces.map(|replaces| json!({
                "device": replaces.device,
                "label": old,
                "overlap_seconds": replaces.overlap / 1000,
            })),
            "service": service,
            "made": made.to_string(),
            "expires": expires.to_string(),
            "usable_in": self.usable_in,
        })
    }

    /// A line for a table of tickets to hand out; the device that goes stands last, where one does.
    pub fn to_csv(&self) -> String {
        let (text, expires) = (self.code.to_text(), self.ticket.expires.to_string());
        let mut fields = vec![self.ticket.user.as_str(), text.as_str(), &expires, self.ticket.label.as_str()];
        if let Purpose::InPlaceOf(label) = &self.purpose {
            fields.push(label.as_str());
        }
        csv_line(&fields)
    }

    /// What a person reads who makes one ticket.
    pub fn to_text(&self, desk: &Desk, terms: &Terms) -> String {
        let Ticket { id, user, expires, .. } = &self.ticket;
        let services = if self.usable_in.is_empty() { terms.services(desk) } else { self.usable_in.clone() };
        let mut lines = vec![
            format!("{user}: {}", *self.code.to_text()),
            format!("  for     {}", self.what()),
            format!("  until   {expires} ({}), once", in_words(terms.ttl)),
            format!("  use     at the next login through {}, {user} types it at the prompt", in_a_list(&services)),
            format!("  id      {id}; end it before with: qrtotp ticket revoke {id}"),
        ];
        if self.has_ended_another {
            lines.push("The ticket for this device that was open before is ended.".to_owned());
        }
        lines.join("\n")
    }

    fn what(&self) -> String {
        let label = quoted(self.ticket.label.as_str());
        match (&self.purpose, self.ticket.replaces) {
            (Purpose::First, _) => format!("a first enrollment, with a device called {label}"),
            (Purpose::Afresh, _) => format!("starting afresh after the revocation, with a device called {label}"),
            (Purpose::InPlaceOf(old), Some(Replacement { overlap: 1.., .. })) => {
                let overlap = self.ticket.replaces.map_or(0, |replaces| replaces.overlap);
                let (old, span) = (quoted(old.as_str()), span_text(overlap));
                format!(
                    "a device in place of {old}, which stays good for {span} beside it, or until the new one is used"
                )
            }
            (Purpose::InPlaceOf(old), _) => {
                format!("a device in place of {}, which ends at once", quoted(old.as_str()))
            }
            (Purpose::Another, _) => format!("one more device, called {label}"),
        }
    }
}

/// Tells of tickets that can be typed nowhere, as the rules are now.
pub fn warn(desk: &Desk, issued: &[Issued], terms: &Terms) {
    let services: Vec<_> = terms.services(desk).iter().map(|service| quoted(service)).collect();
    let services = services.join(", ");
    for is_enrolled in [false, true] {
        let is_one = |issued: &&Issued| issued.usable_in.is_empty() && issued.purpose.is_of_enrolled() == is_enrolled;
        let mut users: Vec<_> =
            issued.iter().filter(is_one).map(|issued| quoted(issued.ticket.user.as_str())).collect();
        users.dedup();
        if !users.is_empty() {
            let what = if is_enrolled { asked_nowhere } else { enrolled_nowhere };
            desk.screen.remark(&format!("warning: {}", what(desk, &users.join(", "), &services)));
        }
    }
}

fn asked_nowhere(_: &Desk, users: &str, services: &str) -> String {
    format!("through {services} no rule asks for a code alone, so that a ticket can be typed nowhere: {users}")
}

fn enrolled_nowhere(desk: &Desk, users: &str, services: &str) -> String {
    let place = format!("add to {}, above the rule that decides now", desk.config.display());
    let rule = format!("[[rule]]\nusers = [{users}]\nservices = [{services}]\naction = \"enroll\"\n");
    format!("no rule lets these enroll through {services} as yet: {users}; {place}:\n\n{rule}")
}

/// Names those whose open ticket for the same device was ended, beside a table that has no room for it.
pub fn tell_ended(desk: &Desk, issued: &[Issued]) {
    for issued in issued.iter().filter(|issued| issued.has_ended_another) {
        let (user, label) = (&issued.ticket.user, quoted(issued.ticket.label.as_str()));
        desk.screen.remark(&format!("the ticket of {user} for {label} that was open before is ended"));
    }
}

/// Ends all tickets of a user, readable or not; gives how many there were.
pub fn end_all(desk: &Desk, vault: &Vault, account: &Account, reason: &str) -> Result<usize, Ending> {
    let Some(tickets) = vault.tickets(account.uid)? else { return Ok(0) };
    let ids = tickets.ids()?;
    end(desk, vault, account, &ids, reason)?;
    Ok(ids.len())
}

/// Ends tickets at once, and writes an event for each.
pub fn end(desk: &Desk, vault: &Vault, account: &Account, ids: &[TicketId], reason: &str) -> Result<(), Ending> {
    for id in ids {
        vault.revoke_ticket(account.uid, *id)?;
        let mut event = desk.event(Kind::TicketRevoke, account, reason);
        event.ticket = Some(*id);
        desk.record(&event);
    }
    Ok(())
}
