//! `qrtotp revoke`

use qrtotp_core::enroll::blank;
use qrtotp_core::events::Kind;
use qrtotp_core::files::Trouble;
use qrtotp_core::vault::{Credentials, Locking, Revocation, Room, Vault};
use qrtotp_core::words::{Account, EnrollmentId};
use serde_json::json;

use super::issue;
use crate::desk::Desk;
use crate::ending::{Code, Ending};
use crate::screen::counted;

/// Longest reason, in characters.
const LONGEST: usize = 200;

/// Puts a tombstone in the place of the keys, and ends the tickets. It counts at once, for logins too that wait for their
/// code right now.
pub fn run(desk: &Desk, user: &str, reason: &str) -> Result<(), Ending> {
    let reason = checked(reason)?;
    let vault = desk.vault()?;
    let _exclusive = vault.exclusive()?;
    let account = desk.owner(&vault, user)?;
    let time = desk.now()?.wall;
    // First, so that what a ticket has just opened is seen below. Tickets that cannot be ended keep no enrollment alive.
    let ended = issue::end_all(desk, &vault, &account, reason);
    let enrollment = end(desk, &vault, &account, Revocation { time, reason: reason.to_owned() });
    desk.forget_places(account.uid);
    let ended = ended?;
    let enrollment = match enrollment.map_err(|ending| ending.with(&tickets_text(ended)))? {
        Ended::Now(enrollment) => enrollment,
        Ended::Before(first) => {
            let what = format!("{} was revoked before, at {}: {}", account.name, first.time, first.reason);
            return Err(Ending::new(Code::Conflict, what).with(&tickets_text(ended)));
        }
    };
    record(desk, &account, reason, enrollment);
    let end = format!("end that with: qrtotp enroll {user} --replace, or a new ticket");
    let text = format!("{user} is revoked and refused from now on{}; {end}", tickets_text(ended));
    let value = json!({
        "user": account.name,
        "uid": account.uid,
        "revoked": time.to_string(),
        "tickets_ended": ended,
    });
    desk.screen.answer(&value, &text)
}

fn tickets_text(ended: usize) -> String {
    if ended == 0 { String::new() } else { format!("; {} of the user ended", counted(ended, "ticket")) }
}

/// A reason from the command line.
pub fn checked(reason: &str) -> Result<&str, Ending> {
    let reason = reason.trim();
    if reason.is_empty() || reason.chars().count() > LONGEST {
        return Err(Ending::new(Code::Usage, format!("--reason must have 1 to {LONGEST} characters")));
    }
    Ok(reason)
}

/// Writes the event of an enrollment that was ended.
pub fn record(desk: &Desk, account: &Account, reason: &str, enrollment: EnrollmentId) {
    let mut event = desk.event(Kind::Revoke, account, reason);
    event.enrollment = Some(enrollment);
    desk.record(&event);
}

/// When an enrollment was ended.
pub enum Ended {
    /// Just now.
    Now(EnrollmentId),
    /// A tombstone stood there before; nothing was changed.
    Before(Revocation),
}

/// Replaces the credentials of whatever is there.
pub fn end(desk: &Desk, vault: &Vault, account: &Account, revoked: Revocation) -> Result<Ended, Ending> {
    let time = revoked.time;
    let read = vault.room(account.uid).and_then(|room| match room {
        Some(room) => room.credentials().map(|(credentials, _)| Some((room, credentials))),
        None => Ok(None),
    });
    match read {
        // Who has no enrollment may be let in for a while, or enroll: that ends too. A login that enrolls right now and is
        // faster is in the way; the next try meets it.
        Ok(None) => {
            let tombstone = Credentials { revoked: Some(revoked), ..blank(account, time, desk.random())? };
            vault.install(&tombstone, &[], false)?;
            Ok(Ended::Now(tombstone.enrollment))
        }
        // One that still holds keys is that of a handover that was interrupted.
        Ok(Some((_, Credentials { revoked: Some(first), devices, .. }))) if devices.is_empty() => {
            Ok(Ended::Before(first))
        }
        Ok(Some((room, mut credentials))) => {
            credentials.revoked = Some(revoked);
            credentials.devices.clear();
            credentials.recovery.clear();
            bury(vault, account, &room, &credentials)?;
            Ok(Ended::Now(credentials.enrollment))
        }
        // What cannot be read is replaced whole: revoking must work on damaged state too.
        Err(_) => {
            let tombstone = Credentials { revoked: Some(revoked), ..blank(account, time, desk.random())? };
            vault.install(&tombstone, &[], true)?;
            Ok(Ended::Now(tombstone.enrollment))
        }
    }
}

/// Puts the tombstone in place. A full disk must not keep a stolen phone in: removing takes no space.
fn bury(vault: &Vault, account: &Account, room: &Room, tombstone: &Credentials) -> Result<(), Ending> {
    let Err(trouble) = put_in_place(vault, account, tombstone) else { return Ok(()) };
    room.forget()?;
    let user = &account.name;
    let what = format!(
        "{trouble}; the keys of {user} were removed instead, and every login is refused as damaged; make room, and revoke again"
    );
    Err(Ending::new(Code::Untrusted, what))
}

/// In the folder that is there, whose journal stays. Where a login holds that, which its caller may have frozen, a folder
/// of its own takes the place of it.
fn put_in_place(vault: &Vault, account: &Account, tombstone: &Credentials) -> Result<(), Trouble> {
    match vault.try_lock(account.uid)? {
        Locking::Locked(room) => {
            room.replace_credentials_if(tombstone, || Ok(()))?;
            room.check_in_place(vault)
        }
        Locking::Busy(_) | Locking::Missing => vault.install(tombstone, &[], true),
    }
}
