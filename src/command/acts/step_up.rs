//! `qrtotp step-up`

use qrtotp_core::budget::Act;
use qrtotp_core::calendar::{DAY, duration};
use qrtotp_core::enroll::note;
use qrtotp_core::events::{Kind, Printable};
use qrtotp_core::words::{Account, WallTime};
use serde_json::json;

use crate::desk::{Desk, quoted};
use crate::ending::{Code, Ending};

/// Longest time, in milliseconds: what has to last longer is a rule with `codes = 2`.
const LONGEST: u64 = 90 * DAY;

/// Asks two codes of a user for a while.
pub fn run(desk: &Desk, user: &str, time: &str, reason: &str) -> Result<(), Ending> {
    let span = duration(time).filter(|span| (1..=LONGEST).contains(span)).ok_or_else(|| {
        Ending::new(Code::Usage, format!("--for takes a time up to 90d, like 90m, 24h or 7d, not {}", quoted(time)))
    })?;
    let until = WallTime(desk.now()?.wall.0.saturating_add(span));
    let vault = desk.vault()?;
    let account = desk.owner(&vault, user)?;
    impose(desk, &account, until, reason)?;
    let text = format!("{user} is asked for two codes until {until}; end it with: qrtotp unlock {user}");
    desk.screen.answer(&json!({ "user": account.name, "uid": account.uid, "until": until.to_string() }), &text)
}

/// The same until a time; an earlier one that was given before is not made shorter.
pub fn impose(desk: &Desk, account: &Account, until: WallTime, reason: &str) -> Result<(), Ending> {
    let vault = desk.vault()?;
    let _exclusive = vault.exclusive()?;
    let (room, credentials) = desk.enrolled(&vault, account)?;
    let entry = note(desk.now()?, desk.source(), Act::StepUp { until }, desk.random())?;
    room.journal(&credentials)?.append(&entry)?;
    desk.forget_places(account.uid);
    let mut event = desk.event(Kind::StepUp, account, reason);
    event.enrollment = Some(credentials.enrollment);
    event.detail = Some(Printable::new(format!("until {until}").as_bytes()));
    desk.record(&event);
    Ok(())
}
