//! `qrtotp repair`: a damaged journal is made anew, so that nobody has to enroll again and nothing counts that might have
//! been used.
//!
//! What the journal told is lost: which codes were used, and how many attempts were left. So every code up to now counts as
//! used, the attempts as failed, which asks for two codes for a day, and locks or disables where the policy does that after so
//! many; and recovery codes, of which nobody knows which were spent, end. An administrator who knows better unlocks.

use qrtotp_core::budget::{Act, CAPACITY, Failures, Hit, Mode, State};
use qrtotp_core::enroll::note;
use qrtotp_core::events::Kind;
use qrtotp_core::vault::Credentials;
use qrtotp_core::words::{Now, WallTime};
use serde_json::json;

use crate::desk::Desk;
use crate::ending::{Code, Ending};
use crate::screen::counted;

/// How long two codes are asked, in milliseconds: somebody may have wanted that, or an alert.
const STEPPED_UP: u64 = 24 * 3600 * 1000;

/// The strictest that the journal may have told: codes up to now used, attempts used up, as many failures as lock or disable
/// somebody where the policy does that.
fn strictest(desk: &Desk, credentials: &Credentials, now: Now) -> Result<State, Ending> {
    let limits = &desk.policy.limits;
    let source = desk.source();
    let mut state = State::default();
    for device in &credentials.devices {
        let ahead = i64::from(desk.policy.window.future);
        let step = device.shape.step_at(now.wall).offset(ahead);
        state.apply(&note(now, source, Act::Claim(Hit { device: device.id, step }), desk.random())?, limits);
    }
    let attempts = match limits.mode {
        Mode::StepUp => CAPACITY,
        Mode::Lock { attempts, .. } => u64::from(attempts).max(CAPACITY),
    };
    for _ in 0..attempts {
        state.apply(&note(now, source, Act::Attempt { hit: None }, desk.random())?, limits);
    }
    // Nobody tried them, so nobody is told of them.
    state.failures = Failures::default();
    state.failed_in_a_row = state.failed_in_a_row.max(limits.disable_after.unwrap_or(0));
    let until = WallTime(now.wall.0.saturating_add(STEPPED_UP));
    state.apply(&note(now, source, Act::StepUp { until }, desk.random())?, limits);
    Ok(state)
}

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
    let state = strictest(desk, &credentials, now)?;
    let ended = credentials.recovery.len();
    credentials.recovery.clear();
    vault.install_moved(&credentials, state, true)?;
    desk.forget_places(account.uid);
    let mut event = desk.event(Kind::Unlock, &account, "journal_repaired");
    event.enrollment = Some(credentials.enrollment);
    desk.record(&event);
    let text = format!(
        "the journal of {user} is new: every code up to now counts as used and every attempt as failed, so two codes are asked for \
         a day, or it is locked or disabled if the policy does that (qrtotp unlock {user} ends all of it), and {} ended (qrtotp recovery {user})",
        counted(ended, "recovery code")
    );
    desk.screen.answer(&json!({ "user": account.name, "uid": account.uid, "recovery_codes_ended": ended }), &text)
}
