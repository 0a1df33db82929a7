//! `qrtotp gc`

use qrtotp_core::events::Kind;
use qrtotp_core::vault::{DECOY_COUNT, Room, Vault};
use qrtotp_core::words::{Account, TicketId, Uid, UserName};
use serde_json::json;

use super::print;
use super::ticket::{State, credentials_of};
use crate::desk::{Desk, quoted};
use crate::ending::{Code, Ending};
use crate::screen::counted;

/// Removes state of accounts that no longer exist and tickets that are over, gives dead parts of journals back to the disk,
/// sweeps up after interrupted commands. With a name: removes the state of that one account, if it no longer exists.
pub fn run(desk: &Desk, yes: bool, user: Option<&str>) -> Result<(), Ending> {
    let vault = desk.vault()?;
    let _exclusive = vault.exclusive()?;
    let only = user.map(|name| UserName::parse(name.as_bytes()).ok_or_else(|| no_name(name))).transpose()?;
    let swept = if only.is_none() { sweep(desk, &vault)? } else { Swept::default() };
    let found = Found::of(desk, &vault, only.as_ref())?;
    if yes {
        found.remove(desk, &vault)?;
    }
    let value = json!({
        "gone": found.gone.iter().map(|gone| json!({ "user": gone.name, "uid": gone.uid })).collect::<Vec<_>>(),
        "left_over": found.left_over.iter().map(LeftOver::to_json).collect::<Vec<_>>(),
        "removed": yes,
        "tickets_over": swept.tickets,
        "dead_bytes": swept.bytes,
    });
    let word = if yes { "removed" } else { "would be removed with --yes" };
    let mut lines = found.lines(word);
    let tickets = counted(swept.tickets, "ticket");
    lines.extend((swept.tickets > 0).then(|| format!("{tickets} removed that could not be redeemed any more")));
    if found.gone.is_empty() && found.left_over.is_empty() {
        lines.push(match &only {
            None => "state belongs to existing accounts only".to_owned(),
            Some(name) => format!("there is no state of {name} that belongs to no account"),
        });
    }
    desk.screen.answer(&value, &lines.join("\n"))
}

fn no_name(text: &str) -> Ending {
    Ending::new(Code::NoUser, format!("{} cannot be the name of a user", quoted(text)))
}

/// What was tidied up that belonged to nobody.
#[derive(Default)]
struct Swept {
    tickets: usize,
    bytes: u64,
}

fn sweep(desk: &Desk, vault: &Vault) -> Result<Swept, Ending> {
    vault.sweep()?;
    let mut bytes = 0_u64;
    // Of accounts that are gone too: who only asks what would be removed loses nothing by it.
    for uid in vault.uids()? {
        bytes = bytes.saturating_add(release(vault, uid));
    }
    for number in 0..DECOY_COUNT {
        bytes = bytes.saturating_add(vault.decoy(number).map_or(0, release_room));
    }
    let tickets = end_tickets_that_are_over(desk, vault)?;
    print::forget_gone(vault)?;
    Ok(Swept { tickets, bytes })
}

/// State of accounts that no longer exist.
struct Found {
    gone: Vec<Account>,
    left_over: Vec<LeftOver>,
}

impl Found {
    /// Of all of them, or of the one of that name.
    fn of(desk: &Desk, vault: &Vault, only: Option<&UserName>) -> Result<Self, Ending> {
        let mut gone = Vec::new();
        for uid in vault.uids()? {
            let owner = gone_owner(desk, vault, uid)?;
            gone.extend(owner.filter(|account| only.is_none_or(|name| account.name == *name)));
        }
        Ok(Self { gone, left_over: left_over(desk, vault, only)? })
    }

    fn remove(&self, desk: &Desk, vault: &Vault) -> Result<(), Ending> {
        for account in &self.gone {
            vault.remove(account.uid)?;
            desk.record(&desk.event(Kind::Collect, account, "account_gone"));
        }
        self.left_over.iter().try_for_each(|left| left.remove(desk, vault))
    }

    fn lines(&self, word: &str) -> Vec<String> {
        let gone = self.gone.iter().map(|gone| format!("{} (user id {}) {word}", gone.name, gone.uid.0));
        gone.chain(self.left_over.iter().map(|left| format!("{} {word}", left.what()))).collect()
    }
}

/// Removes tickets that are expired, dead or spent; gives how many. The first two leave an event: a spent one has that of its
/// enrollment. One that cannot be read is left for a person to look at.
pub fn end_tickets_that_are_over(desk: &Desk, vault: &Vault) -> Result<usize, Ending> {
    let now = desk.now()?.wall;
    let mut removed = 0_usize;
    for uid in vault.ticket_uids()? {
        let Some(tickets) = vault.tickets(uid)? else { continue };
        let credentials = credentials_of(vault, uid);
        for id in tickets.ids()? {
            let Ok(ticket) = tickets.read(id) else { continue };
            let state = State::of(&ticket, &tickets, credentials.as_ref(), now)?;
            if state == State::Open {
                continue;
            }
            tickets.remove(id)?;
            removed = removed.saturating_add(1);
            if state != State::Spent {
                let mut event = desk.event(Kind::TicketExpire, &Account { name: ticket.user, uid }, state.word());
                event.ticket = Some(id);
                desk.record(&event);
            }
        }
    }
    Ok(removed)
}

/// What is kept of a user id beside an enrollment, though no account has it any more.
struct LeftOver {
    uid: Uid,
    tickets: Vec<TicketId>,
    has_grace: bool,
}

/// Of every user id that no account has; with a name, what was kept under that one.
fn left_over(desk: &Desk, vault: &Vault, only: Option<&UserName>) -> Result<Vec<LeftOver>, Ending> {
    let counted = vault.grace_uids()?;
    let mut uids: Vec<_> = vault.ticket_uids()?.into_iter().chain(counted.iter().copied()).collect();
    uids.sort();
    uids.dedup();
    let mut found = Vec::new();
    for uid in uids {
        if desk.find_uid(uid)?.is_some() {
            continue;
        }
        let tickets = tickets_of(vault, uid, only)?;
        let has_grace = match only {
            None => counted.contains(&uid),
            Some(name) => vault.grace_used(&Account { name: name.clone(), uid })? > 0,
        };
        if has_grace || !tickets.is_empty() {
            found.push(LeftOver { uid, tickets, has_grace });
        }
    }
    Ok(found)
}

/// The tickets of a user id; with a name, those that can be read and bear it.
fn tickets_of(vault: &Vault, uid: Uid, only: Option<&UserName>) -> Result<Vec<TicketId>, Ending> {
    let Some(tickets) = vault.tickets(uid)? else { return Ok(Vec::new()) };
    let mut ids = tickets.ids()?;
    if let Some(name) = only {
        ids.retain(|id| tickets.read(*id).is_ok_and(|ticket| ticket.user == *name));
    }
    Ok(ids)
}

impl LeftOver {
    fn remove(&self, desk: &Desk, vault: &Vault) -> Result<(), Ending> {
        self.tickets.iter().try_for_each(|id| vault.revoke_ticket(self.uid, *id))?;
        vault.forget_grace(self.uid)?;
        let account = Account { name: UserName::of_uid(self.uid), uid: self.uid };
        desk.record(&desk.event(Kind::Collect, &account, "account_gone"));
        Ok(())
    }

    fn what(&self) -> String {
        let grace = if self.has_grace { " and the count of logins without enrollment" } else { "" };
        format!("{}{grace} of user id {}", counted(self.tickets.len(), "ticket"), self.uid.0)
    }

    fn to_json(&self) -> serde_json::Value {
        json!({ "uid": self.uid, "tickets": self.tickets, "grace": self.has_grace })
    }
}

/// The account that state was kept of and that no longer is. What cannot be read is left for a person to look at.
fn gone_owner(desk: &Desk, vault: &Vault, uid: Uid) -> Result<Option<Account>, Ending> {
    let Ok(Some(room)) = vault.room(uid) else { return Ok(None) };
    let Ok((credentials, _)) = room.credentials() else { return Ok(None) };
    let now = desk.find(credentials.user.as_str())?;
    let is_gone = now.is_none_or(|account| account.uid != uid || account.name != credentials.user);
    Ok(is_gone.then_some(Account { name: credentials.user, uid }))
}

/// Bytes of a journal that are dead; they take no space on the disk any more. A journal that cannot be read is left for a
/// person to look at.
fn release(vault: &Vault, uid: Uid) -> u64 {
    vault.room(uid).map_or(0, release_room)
}

fn release_room(room: Option<Room>) -> u64 {
    let Some(room) = room else { return 0 };
    let Ok((credentials, _)) = room.credentials() else { return 0 };
    room.journal(&credentials).and_then(|journal| journal.release()).unwrap_or(0)
}
