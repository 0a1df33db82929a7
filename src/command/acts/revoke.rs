//! `qrtotp revoke`

use qrtotp_core::enroll::blank;
use qrtotp_core::events::Kind;
use qrtotp_core::vault::Revocation;
use serde_json::json;

use crate::desk::Desk;
use crate::ending::{Code, Ending};

/// Longest reason, in characters.
const LONGEST: usize = 200;

/// Puts a tombstone in the place of the keys. It counts at once, for logins too that wait for their code right now.
pub fn run(desk: &Desk, user: &str, reason: &str) -> Result<(), Ending> {
    let reason = reason.trim();
    if reason.is_empty() || reason.chars().count() > LONGEST {
        return Err(Ending::new(Code::Usage, format!("--reason must have 1 to {LONGEST} characters")));
    }
    let vault = desk.vault()?;
    let _exclusive = vault.exclusive()?;
    let account = desk.owner(&vault, user)?;
    let time = desk.now()?.wall;
    let revoked = Some(Revocation { time, reason: reason.to_owned() });
    let room = vault.room(account.uid).and_then(|room| match room {
        Some(room) => room.credentials().map(|(credentials, _)| Some((room, credentials))),
        None => Ok(None),
    });
    let enrollment = match room {
        Ok(None) => return Err(Ending::not_enrolled(user)),
        Ok(Some((_, credentials))) if credentials.revoked.is_some() => {
            let first = credentials.revoked.map(|first| format!("at {}: {}", first.time, first.reason));
            let what = format!("{user} was revoked before, {}", first.unwrap_or_default());
            return Err(Ending::new(Code::Conflict, what));
        }
        Ok(Some((room, mut credentials))) => {
            credentials.revoked = revoked;
            credentials.devices.clear();
            credentials.recovery.clear();
            if let Err(trouble) = room.replace_credentials(&credentials) {
                // A full disk must not keep a stolen phone in: removing takes no space.
                room.forget()?;
                let what = format!(
                    "{trouble}; the keys of {user} were removed instead, and every login is refused as damaged; make room, and revoke again"
                );
                return Err(Ending::new(Code::Untrusted, what));
            }
            credentials.enrollment
        }
        // What cannot be read is replaced whole: revoking must work on damaged state too.
        Err(_) => {
            let mut tombstone = blank(&account, time, desk.random())?;
            tombstone.revoked = revoked;
            vault.install(&tombstone, &[], true)?;
            tombstone.enrollment
        }
    };
    let mut event = desk.event(Kind::Revoke, &account, reason);
    event.enrollment = Some(enrollment);
    desk.record(&event);
    let text = format!("{user} is revoked and refused from now on; end that with: qrtotp enroll {user} --replace");
    desk.screen.answer(&json!({ "user": account.name, "uid": account.uid, "revoked": time.to_string() }), &text)
}
