//! `qrtotp remember`

use qrtotp_core::calendar::in_words;
use qrtotp_core::events::Kind;
use qrtotp_core::remember::{self, Memory};
use qrtotp_core::words::{Account, UserName, WallTime};
use serde_json::{Value, json};

use crate::arguments::RememberAct;
use crate::desk::Desk;
use crate::ending::Ending;
use crate::screen::counted;

/// Lists or forgets the places where people are not asked again.
pub fn run(desk: &Desk, act: &RememberAct) -> Result<(), Ending> {
    match act {
        RememberAct::List => list(desk),
        RememberAct::Forget { user: Some(user), .. } => forget(desk, Some(user)),
        RememberAct::Forget { user: None, .. } => forget(desk, None),
    }
}

fn list(desk: &Desk) -> Result<(), Ending> {
    let now = desk.now()?;
    let mut rows = Vec::new();
    let mut values: Vec<Value> = Vec::new();
    for memory in remember::all(&desk.policy.runtime_dir, &now)? {
        let user = desk.find_uid(memory.uid)?.map_or_else(|| UserName::of_uid(memory.uid), |account| account.name);
        let since = WallTime(now.wall.0.saturating_sub(memory.age));
        rows.push(cells(&user, &memory, since));
        values.push(json!({
            "user": user,
            "uid": memory.uid,
            "service": memory.service,
            "from": memory.source,
            "since": since.to_string(),
            "ends_in_seconds": memory.left / 1000,
        }));
    }
    let text = desk.screen.table(&["USER", "SERVICE", "FROM", "SINCE", "ENDS IN"], rows);
    desk.screen.answer(&json!({ "remembered": values }), &text)
}

fn cells(user: &UserName, memory: &Memory, since: WallTime) -> Vec<String> {
    let Memory { service, source, left, .. } = memory;
    vec![user.to_string(), service.clone(), source.clone(), since.to_string(), in_words(*left)]
}

fn forget(desk: &Desk, user: Option<&str>) -> Result<(), Ending> {
    let account = user.map(|user| desk.owner(&desk.vault()?, user)).transpose()?;
    let count = remember::forget(&desk.policy.runtime_dir, account.as_ref().map(|account| account.uid))?;
    record(desk, account.as_ref(), count);
    let whose = account.as_ref().map_or_else(|| "everybody".to_owned(), |account| account.name.to_string());
    let value = json!({ "user": account.as_ref().map(|account| &account.name), "forgotten": count });
    desk.screen.answer(&value, &format!("{} of {whose} forgotten", counted(count, "place")))
}

fn record(desk: &Desk, account: Option<&Account>, count: usize) {
    let reason = format!("forgot_{count}");
    let event = match account {
        Some(account) => desk.event(Kind::Forget, account, &reason),
        None => desk.event_of_all(Kind::Forget, &reason),
    };
    desk.record(&event);
}
