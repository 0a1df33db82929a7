//! `qrtotp unlock`

use qrtotp_core::budget::{Act, Hit};
use qrtotp_core::enroll::note;
use qrtotp_core::events::Kind;
use serde_json::json;

use crate::desk::Desk;
use crate::ending::Ending;

/// Refills the budget, lifts a lock, an automatic disabling and a step-up, and lowers steps beyond the window: those of a time
/// when this host's clock was ahead.
pub fn run(desk: &Desk, user: &str) -> Result<(), Ending> {
    let vault = desk.vault()?;
    let _exclusive = vault.exclusive()?;
    let account = desk.owner(&vault, user)?;
    let (room, credentials) = desk.enrolled(&vault, &account)?;
    let now = desk.now()?;
    let journal = room.journal(&credentials)?;
    let (state, _) = journal.read()?.fold(&desk.policy.limits);
    journal.append(&note(now, desk.source(), Act::Unlock, desk.random())?)?;
    let mut lowered = Vec::new();
    for device in &credentials.devices {
        let current = device.shape.step_at(now.wall).offset(i64::from(desk.policy.window.future));
        if state.floor(device.id).is_some_and(|floor| floor > current) {
            let hit = Hit { device: device.id, step: current };
            journal.append(&note(now, desk.source(), Act::Lower(hit), desk.random())?)?;
            lowered.push(device.label.as_str());
        }
    }
    desk.forget_places(account.uid);
    desk.record(&desk.event(Kind::Unlock, &account, "unlocked"));
    let mut text = format!("{user} is unlocked");
    if !lowered.is_empty() {
        text.push_str(&format!("; codes from now on are accepted again of: {}", lowered.join(", ")));
    }
    desk.screen.answer(&json!({ "user": account.name, "uid": account.uid, "lowered": lowered }), &text)
}
