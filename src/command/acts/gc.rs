//! `qrtotp gc`

use qrtotp_core::events::Kind;
use qrtotp_core::vault::{DECOY_COUNT, Room, Vault};
use qrtotp_core::words::{Account, Uid};
use serde_json::json;

use crate::desk::Desk;
use crate::ending::Ending;

/// Removes state of accounts that no longer exist, gives dead parts of journals back to the disk, sweeps up after
/// interrupted commands.
pub fn run(desk: &Desk, yes: bool) -> Result<(), Ending> {
    let vault = desk.vault()?;
    let _exclusive = vault.exclusive()?;
    vault.sweep()?;
    let (mut gone, mut released) = (Vec::new(), 0_u64);
    for uid in vault.uids()? {
        match gone_owner(desk, &vault, uid)? {
            Some(account) => gone.push(account),
            None => released = released.saturating_add(release(&vault, uid)),
        }
    }
    for number in 0..DECOY_COUNT {
        released = released.saturating_add(vault.decoy(number).map_or(0, release_room));
    }
    if yes {
        for account in &gone {
            vault.remove(account.uid)?;
            desk.record(&desk.event(Kind::Collect, account, "account_gone"));
        }
    }
    let names: Vec<_> = gone.iter().map(|account| json!({ "user": account.name, "uid": account.uid })).collect();
    let word = if yes { "removed" } else { "would be removed with --yes" };
    let mut lines: Vec<_> = gone.iter().map(|gone| format!("{} (user id {}) {word}", gone.name, gone.uid.0)).collect();
    if gone.is_empty() {
        lines.push("state belongs to existing accounts only".to_owned());
    }
    desk.screen.answer(&json!({ "gone": names, "removed": yes, "dead_bytes": released }), &lines.join("\n"))
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
