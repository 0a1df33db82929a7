//! `qrtotp repair`: a damaged journal is made anew, so that nobody has to enroll again and nothing counts that might have
//! been used.
//!
//! What the journal told is lost: which codes were used, and how many attempts were left. So every code up to now counts as
//! used, the budget as empty, which asks for two codes until it has refilled, and recovery codes, of which nobody knows
//! which were spent, end.

use qrtotp_core::budget::{Act, CAPACITY, Hit};
use qrtotp_core::enroll::note;
use qrtotp_core::events::Kind;
use serde_json::json;

use crate::desk::Desk;
use crate::ending::{Code, Ending};
use crate::screen::counted;

/// Makes the journal of a user anew.
pub fn run(desk: &Desk, user: &str) -> Result<(), Ending> {
    let vault = desk.vault()?;
    let _exclusive = vault.exclusive()?;
    let account = desk.owner(&vault, user)?;
    let (room, mut credentials) = desk.enrolled(&vault, &account)?;
    if room.journal(&credentials).and_then(|journal| journal.read()).is_ok() {
        return Err(Ending::new(Code::Conflict, format!("the journal of {user} is not damaged; nothing was changed")));
    }
    let now = desk.now()?;
    let source = desk.source();
    let mut entries = Vec::new();
    for device in &credentials.devices {
        let ahead = i64::from(desk.policy.window.future);
        let step = device.shape.step_at(now.wall).offset(ahead);
        entries.push(note(now, source, Act::Claim(Hit { device: device.id, step }), desk.random())?);
    }
    for _ in 0..CAPACITY {
        entries.push(note(now, source, Act::Attempt { hit: None }, desk.random())?);
    }
    let ended = credentials.recovery.len();
    credentials.recovery.clear();
    vault.install(&credentials, &entries, true)?;
    desk.forget_places(account.uid);
    let mut event = desk.event(Kind::Unlock, &account, "journal_repaired");
    event.enrollment = Some(credentials.enrollment);
    desk.record(&event);
    let text = format!(
        "the journal of {user} is new: every code up to now counts as used, two codes are asked for a while \
         (qrtotp unlock {user} ends that), and {} ended (qrtotp recovery {user})",
        counted(ended, "recovery code")
    );
    desk.screen.answer(&json!({ "user": account.name, "uid": account.uid, "recovery_codes_ended": ended }), &text)
}
