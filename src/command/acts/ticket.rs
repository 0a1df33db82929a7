//! `qrtotp ticket`

use std::io::Read as _;
use std::path::Path;

use qrtotp_core::files::Trouble;
use qrtotp_core::vault::tickets::TRIES;
use qrtotp_core::vault::{Credentials, Ticket, Tickets, Vault};
use qrtotp_core::words::{Account, Label, TicketId, Uid, UserName, WallTime};
use serde_json::{Value, json};

use super::device::parse_label;
use super::issue::{self, Order, Terms};
use crate::arguments::{TicketAct, TicketOptions};
use crate::desk::{Desk, quoted};
use crate::ending::{Code, Ending};
use crate::screen::counted;

/// What a table of tickets begins with.
const HEAD: &str = "user,ticket,expires,label";

/// Makes, lists or ends tickets.
pub fn run(desk: &Desk, act: &TicketAct) -> Result<(), Ending> {
    match act {
        TicketAct::New(options) => new(desk, options),
        TicketAct::List => list(desk),
        TicketAct::Revoke { which } => revoke(desk, which),
    }
}

/// In what state a ticket is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It can be redeemed.
    Open,
    /// Its time is over.
    Expired,
    /// It was tried in vain too often.
    Dead,
    /// A device was enrolled with it.
    Spent,
}

impl State {
    /// Looks at a ticket, at its tries, and at the devices of its user.
    ///
    /// # Errors
    /// [`Trouble`] where the kernel cannot say.
    pub fn of(
        ticket: &Ticket,
        tickets: &Tickets,
        credentials: Option<&Credentials>,
        now: WallTime,
    ) -> Result<Self, Trouble> {
        Ok(match () {
            () if credentials.is_some_and(|credentials| names_ticket(credentials, ticket.id)) => Self::Spent,
            () if !tickets.is_alive(ticket.id)? => Self::Dead,
            () if now >= ticket.expires => Self::Expired,
            () => Self::Open,
        })
    }

    /// The word in JSON, and in the event of one that is over.
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Expired => "expired",
            Self::Dead => "dead",
            Self::Spent => "spent",
        }
    }
}

fn names_ticket(credentials: &Credentials, id: TicketId) -> bool {
    credentials.devices.iter().any(|device| device.ticket == Some(id))
}

/// The credentials of a user id, where they can be read.
pub fn credentials_of(vault: &Vault, uid: Uid) -> Option<Credentials> {
    vault.room(uid).ok()??.credentials().ok().map(|(credentials, _)| credentials)
}

fn new(desk: &Desk, options: &TicketOptions) -> Result<(), Ending> {
    let terms = Terms::new(desk, &options.ttl, options.service.as_deref())?;
    let label = parse_label(&options.label)?;
    let vault = desk.vault()?;
    let Some(user) = &options.user else {
        let list = options.bulk.as_deref().unwrap_or(Path::new("-"));
        return bulk(desk, &vault, list, &terms, &label);
    };
    let _exclusive = vault.exclusive()?;
    let order = Order::of_user(desk, &vault, &desk.account(user)?, label)?;
    one(desk, &vault, &order, &terms)
}

/// Makes one ticket and shows it.
pub fn one(desk: &Desk, vault: &Vault, order: &Order, terms: &Terms) -> Result<(), Ending> {
    desk.screen.check_writable()?;
    let issued = issue::issue(desk, vault, std::slice::from_ref(order), terms)?;
    issue::warn(desk, &issued, terms);
    issued.iter().try_for_each(|issued| desk.screen.answer(&issued.to_json(), &issued.to_text(desk, terms)))
}

/// Makes many tickets and shows them as a table for other programs.
pub fn many(desk: &Desk, vault: &Vault, orders: &[Order], terms: &Terms, head: &str) -> Result<(), Ending> {
    if desk.screen.is_json() {
        desk.screen.check_writable()?;
    } else {
        desk.screen.say(head)?;
    }
    let issued = issue::issue(desk, vault, orders, terms)?;
    issue::tell_ended(desk, &issued);
    issue::warn(desk, &issued, terms);
    let lines: Vec<_> = issued.iter().map(issue::Issued::to_csv).collect();
    desk.screen.answer(&issued.iter().map(issue::Issued::to_json).collect(), &lines.join("\n"))
}

fn bulk(desk: &Desk, vault: &Vault, list: &Path, terms: &Terms, label: &Label) -> Result<(), Ending> {
    let text = read(list)?;
    let _exclusive = vault.exclusive()?;
    let mut wrong: Vec<(String, Ending)> = Vec::new();
    let mut orders: Vec<(usize, Order)> = Vec::new();
    for (number, entry) in entries(&text) {
        match order(desk, vault, entry, label, &orders) {
            Ok(order) => orders.push((number, order)),
            Err(ending) => wrong.push((format!("line {number}"), ending)),
        }
    }
    if !wrong.is_empty() {
        return Err(Ending::of_list(&format!("{}: no ticket was made:", list.display()), wrong));
    }
    let orders: Vec<_> = orders.into_iter().map(|(_, order)| order).collect();
    many(desk, vault, &orders, terms, HEAD)
}

fn read(list: &Path) -> Result<String, Ending> {
    let mut text = String::new();
    let done = match list.to_str() {
        Some("-") => std::io::stdin().lock().read_to_string(&mut text).map(drop),
        _ => std::fs::read_to_string(list).map(|read| text = read),
    };
    done.map_err(|error| Ending::new(Code::Usage, format!("{}: {error}", list.display())))?;
    Ok(text)
}

/// One line: a user, and a label where one is given.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Entry {
    user: String,
    label: Option<String>,
}

/// The lines that say something, with their numbers.
fn entries(text: &str) -> impl Iterator<Item = (usize, Entry)> {
    let lines = text.lines().zip(1..).map(|(line, number)| (number, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).map(|(number, line)| {
        let (user, label) = line.split_once(',').map_or((line, None), |(user, label)| (user, Some(label)));
        (number, Entry { user: unquoted(user), label: label.map(unquoted) })
    })
}

/// A field as it is meant: CSV has quotes around what holds a comma or quotes.
fn unquoted(field: &str) -> String {
    let field = field.trim();
    let inner = field.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.map_or_else(|| field.to_owned(), |inner| inner.replace("\"\"", "\""))
}

fn order(desk: &Desk, vault: &Vault, entry: Entry, label: &Label, before: &[(usize, Order)]) -> Result<Order, Ending> {
    let account = desk.account(&entry.user)?;
    if let Some((number, _)) = before.iter().find(|(_, order)| order.account.uid == account.uid) {
        let what = format!("{} stands in line {number} already", quoted(account.name.as_str()));
        return Err(Ending::new(Code::Usage, what));
    }
    let label = entry.label.map_or_else(|| Ok(label.clone()), |label| parse_label(&label))?;
    Order::of_user(desk, vault, &account, label)
}

/// What a list shows of one ticket.
enum Shown {
    Good(Ticket, State, usize, Option<Label>),
    Damaged(Uid, TicketId, String),
}

fn list(desk: &Desk) -> Result<(), Ending> {
    let (vault, now) = (desk.vault()?, desk.now()?.wall);
    let mut all = Vec::new();
    for uid in vault.ticket_uids()? {
        let Some(tickets) = vault.tickets(uid)? else { continue };
        let credentials = credentials_of(&vault, uid);
        for id in tickets.ids()? {
            all.push(look(&tickets, uid, id, credentials.as_ref(), now));
        }
    }
    all.sort_by_key(Shown::order);
    let head = ["USER", "ID", "LABEL", "FOR", "SERVICE", "MADE", "EXPIRES", "TRIES LEFT", "STATE"];
    let text = desk.screen.table(&head, all.iter().map(|shown| shown.cells(&vault)).collect());
    let values: Vec<_> = all.iter().map(|shown| shown.to_json(&vault)).collect();
    desk.screen.answer(&json!({ "tickets": values }), &text)
}

fn look(tickets: &Tickets, uid: Uid, id: TicketId, credentials: Option<&Credentials>, now: WallTime) -> Shown {
    let read = tickets.read(id).and_then(|ticket| {
        let state = State::of(&ticket, tickets, credentials, now)?;
        let tries = tickets.wrong_tries(id)?.map_or(0, |tries| TRIES.saturating_sub(tries));
        Ok((ticket, state, tries))
    });
    match read {
        Ok((ticket, state, tries)) => {
            let devices = credentials.iter().flat_map(|credentials| &credentials.devices);
            let device = ticket.replaces.map(|replaces| replaces.device);
            let old = devices.into_iter().find(|known| Some(known.id) == device).map(|known| known.label.clone());
            Shown::Good(ticket, state, tries, old)
        }
        Err(trouble) => Shown::Damaged(uid, id, trouble.to_string()),
    }
}

/// The name behind a user id: the enrolled one's, or the number.
fn name_of(vault: &Vault, uid: Uid) -> UserName {
    credentials_of(vault, uid).map_or_else(|| UserName::of_uid(uid), |credentials| credentials.user)
}

impl Shown {
    /// By user, the oldest first; damaged ones before the others.
    fn order(&self) -> (Uid, WallTime, TicketId) {
        match self {
            Self::Good(ticket, ..) => (ticket.uid, ticket.made, ticket.id),
            Self::Damaged(uid, id, _) => (*uid, WallTime::default(), *id),
        }
    }

    fn cells(&self, vault: &Vault) -> Vec<String> {
        let dash = || "-".to_owned();
        match self {
            Self::Good(ticket, state, tries, old) => {
                let device = ticket.replaces.map(|replaces| replaces.device.to_string());
                let old = old.as_ref().map(ToString::to_string).or(device);
                vec![
                    ticket.user.to_string(),
                    ticket.id.to_string(),
                    ticket.label.to_string(),
                    old.map_or_else(|| "new device".to_owned(), |old| format!("replaces {old}")),
                    ticket.service.clone().unwrap_or_else(dash),
                    ticket.made.to_string(),
                    ticket.expires.to_string(),
                    tries.to_string(),
                    state.word().to_owned(),
                ]
            }
            Self::Damaged(uid, id, trouble) => {
                let mut cells = vec![name_of(vault, *uid).to_string(), id.to_string()];
                cells.extend((0..6).map(|_| dash()));
                cells.push(format!("damaged: {trouble}"));
                cells
            }
        }
    }

    fn to_json(&self, vault: &Vault) -> Value {
        match self {
            Self::Good(ticket, state, tries, old) => json!({
                "user": ticket.user,
                "uid": ticket.uid,
                "id": ticket.id,
                "label": ticket.label,
                "replaces": ticket.replaces.map(|replaces| json!({
                    "device": replaces.device,
                    "label": old,
                    "overlap_seconds": replaces.overlap / 1000,
                })),
                "service": ticket.service,
                "made": ticket.made.to_string(),
                "expires": ticket.expires.to_string(),
                "by": ticket.by,
                "tries_left": tries,
                "state": state.word(),
            }),
            Self::Damaged(uid, id, trouble) => json!({
                "user": name_of(vault, *uid),
                "uid": uid,
                "id": id,
                "state": "damaged",
                "trouble": trouble,
            }),
        }
    }
}

/// Ends one ticket, or all of a user.
fn revoke(desk: &Desk, which: &str) -> Result<(), Ending> {
    let vault = desk.vault()?;
    let _exclusive = vault.exclusive()?;
    let (account, ids) = named(desk, &vault, which)?;
    issue::end(desk, &vault, &account, &ids, "revoked")?;
    if let Some(credentials) = credentials_of(&vault, account.uid) {
        refuse_redeemed(&account, &credentials, &ids)?;
    }
    let value = json!({ "user": account.name, "uid": account.uid, "revoked": ids });
    desk.screen.answer(&value, &format!("{} of {} ended", counted(ids.len(), "ticket"), account.name))
}

/// Whose tickets an id or a name means, and which.
fn named(desk: &Desk, vault: &Vault, which: &str) -> Result<(Account, Vec<TicketId>), Ending> {
    if let Some(id) = TicketId::parse(which)
        && let Some(account) = holder(desk, vault, id)?
    {
        return Ok((account, vec![id]));
    }
    let account = desk.owner(vault, which).map_err(|ending| match TicketId::parse(which) {
        Some(id) => Ending::new(Code::No, format!("there is no ticket {id}; see: qrtotp ticket list")),
        None => ending,
    })?;
    let ids = vault.tickets(account.uid)?.map_or(Ok(Vec::new()), |tickets| tickets.ids())?;
    if ids.is_empty() {
        return Err(Ending::new(Code::No, format!("{} has no tickets", account.name)));
    }
    Ok((account, ids))
}

fn holder(desk: &Desk, vault: &Vault, id: TicketId) -> Result<Option<Account>, Ending> {
    for uid in vault.ticket_uids()? {
        let Some(tickets) = vault.tickets(uid)? else { continue };
        if tickets.ids()?.contains(&id) {
            let known = desk.find_uid(uid)?;
            return Ok(Some(known.unwrap_or_else(|| Account { name: name_of(vault, uid), uid })));
        }
    }
    Ok(None)
}

/// A ticket that was redeemed before it was ended has done what it was for.
fn refuse_redeemed(account: &Account, credentials: &Credentials, ids: &[TicketId]) -> Result<(), Ending> {
    let of_ticket = |ticket: Option<TicketId>| ticket.is_some_and(|ticket| ids.contains(&ticket));
    let Some(device) = credentials.devices.iter().find(|device| of_ticket(device.ticket)) else { return Ok(()) };
    let (user, label) = (&account.name, quoted(device.label.as_str()));
    let undo = format!("qrtotp device remove {user} {}, or qrtotp revoke {user} --reason ...", device.id);
    Err(Ending::new(
        Code::Conflict,
        format!("the ticket was redeemed before, for device {label}; undo that with: {undo}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(user: &str, label: Option<&str>) -> Entry {
        Entry { user: user.to_owned(), label: label.map(str::to_owned) }
    }

    #[test]
    fn a_list_of_users_has_comments_blank_lines_and_labels() {
        let text = "# staff\nalice\n\n  bob , tablet\r\ncarol,\"red \"\"one\"\", big\"\n";
        let read: Vec<_> = entries(text).collect();
        let labelled = entry("carol", Some("red \"one\", big"));
        assert_eq!(read, [(2, entry("alice", None)), (4, entry("bob", Some("tablet"))), (5, labelled)]);
    }

    #[test]
    fn only_quotes_around_a_whole_field_are_taken_off() {
        let fields = [("\"a\"", "a"), ("\"", "\""), ("a\"", "a\""), ("\"\"", ""), (" b ", "b")];
        fields.into_iter().for_each(|(field, meant)| assert_eq!(unquoted(field), meant));
    }
}
