//! `qrtotp recovery`

use qrtotp_core::enroll::RecoverySet;
use qrtotp_core::events::Kind;
use serde_json::{Value, json};

use crate::desk::Desk;
use crate::ending::Ending;

/// Says how many codes are left, or makes a fresh set.
pub fn run(desk: &Desk, user: &str, count: bool) -> Result<(), Ending> {
    if count { say_count(desk, user) } else { renew(desk, user) }
}

fn say_count(desk: &Desk, user: &str) -> Result<(), Ending> {
    let vault = desk.vault()?;
    let account = desk.owner(&vault, user)?;
    let (room, credentials) = desk.enrolled(&vault, &account)?;
    let (state, _) = room.journal(&credentials)?.read()?.fold(&desk.policy.limits);
    let left = credentials.recovery.iter().filter(|kept| !state.spent.contains(&kept.selector)).count();
    let value = json!({ "user": account.name, "uid": account.uid, "recovery_left": left });
    desk.screen.answer(&value, &format!("{left} recovery codes are left"))
}

fn renew(desk: &Desk, user: &str) -> Result<(), Ending> {
    let vault = desk.vault()?;
    let _exclusive = vault.exclusive()?;
    let account = desk.account(user)?;
    let (room, mut credentials) = desk.enrolled_to_change(&vault, &account)?;
    let (state, _) = room.journal(&credentials)?.read()?.fold(&desk.policy.limits);
    let set = RecoverySet::new(desk.random(), &state.spent)?;
    // Shown before the old ones end: where they cannot be shown, the old ones stay.
    if desk.screen.is_json() {
        desk.screen.check_writable()?;
    } else {
        show(desk, &set)?;
    }
    credentials.recovery = set.kept.clone();
    desk.replace(&vault, &room, &credentials)?;
    let mut event = desk.event(Kind::RecoverySet, &account, "renewed");
    event.enrollment = Some(credentials.enrollment);
    desk.record(&event);
    let value = json!({ "user": account.name, "uid": account.uid, "recovery_codes": as_json(&set) });
    if desk.screen.is_json() {
        return desk.screen.answer(&value, "");
    }
    desk.screen.say("The codes given out before are void.")
}

/// Shows the codes of a set, two a line.
pub fn show(desk: &Desk, set: &RecoverySet) -> Result<(), Ending> {
    desk.screen
        .say("\nRecovery codes. Each works once, in place of a code, if the device is lost. Keep them on paper.\n")?;
    for pair in set.codes.chunks(2) {
        let texts: Vec<_> = pair.iter().map(|code| code.to_text()).collect();
        let line = zeroize::Zeroizing::new(texts.iter().map(|text| text.as_str()).collect::<Vec<_>>().join("    "));
        desk.screen.say(&format!("    {}", *line))?;
    }
    desk.screen.say("")
}

/// The codes as JSON.
pub fn as_json(set: &RecoverySet) -> Value {
    set.codes.iter().map(|code| Value::from(code.to_text().as_str())).collect()
}
