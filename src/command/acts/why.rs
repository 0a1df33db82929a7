//! `qrtotp why`

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use qrtotp_core::vault::Vault;
use qrtotp_core::words::Account;
use qrtotp_trail::why::{Context, explain, is_refusal, is_same_day};
use qrtotp_trail::{Filter, Line};
use serde_json::json;

use crate::desk::{Desk, quoted};
use crate::ending::{Code, Ending};
use crate::reading;
use crate::screen::clean;

/// Failures of others that are kept to tell a wrong clock by.
const OTHERS: usize = 256;

/// What the trail holds of one user.
#[derive(Default)]
struct Story {
    /// The last failures, each with the login before it at which the same device was accepted.
    failures: VecDeque<(Line, Option<Line>)>,
    accepted: Option<Line>,
    /// The last login that each device was accepted at.
    by_device: BTreeMap<String, Line>,
    /// Codes of others that came too early or too late.
    others: VecDeque<Line>,
    is_known: bool,
}

/// Explains the last failures of a user.
pub fn run(desk: &Desk, user: &str, last: usize) -> Result<(), Ending> {
    let vault = desk.vault()?;
    let account = desk.owner(&vault, user).ok();
    let story = read(desk, user, last)?;
    if account.is_none() && !story.is_known {
        let what = format!("there is no user {}, and the events know none", quoted(user));
        return Err(Ending::new(Code::NoUser, what));
    }
    let periods = account.as_ref().map(|account| periods(&vault, account)).unwrap_or_default();
    let told = story.failures.iter().map(|(line, accepted)| {
        let context = Context {
            period: line.device.as_ref().and_then(|device| periods.get(device)).copied().unwrap_or(30),
            accepted: accepted.clone(),
            others_early: count_others(&story, line, "early"),
            others_late: count_others(&story, line, "late"),
        };
        (line, explain(line, &context))
    });
    let told: Vec<_> = told.collect();
    let mut lines = Vec::new();
    for (line, answer) in &told {
        lines.push(clean(&format!("{}  {} from {}: {}", line.time, line.service, line.origin(), answer.what)));
        lines.push(clean(&format!("    {}", answer.advice)));
    }
    if told.is_empty() {
        lines.push(format!("no login of {user} was refused, as far as the events files reach back"));
    }
    if let Some(accepted) = &story.accepted {
        lines.push(clean(&format!(
            "last accepted: {}, {} from {} ({})",
            accepted.time,
            accepted.service,
            accepted.origin(),
            accepted.reason
        )));
    }
    if account.is_some() {
        lines.push(format!("the state now: qrtotp status {user}"));
    }
    let failures = told.iter().map(|(line, answer)| {
        json!({
            "time": line.time, "id": line.id, "service": line.service, "source": line.source,
            "reason": line.reason, "what": answer.what, "advice": answer.advice,
        })
    });
    let value = json!({
        "user": user,
        "failures": failures.collect::<Vec<_>>(),
        "last_accepted": story.accepted.as_ref().map(|line| json!({
            "time": line.time, "service": line.service, "source": line.source, "reason": line.reason,
        })),
    });
    desk.screen.answer(&value, &lines.join("\n"))
}

fn read(desk: &Desk, user: &str, last: usize) -> Result<Story, Ending> {
    let mut story = Story::default();
    reading::each(desk, &Filter::default(), |line| {
        if line.user.as_deref() != Some(user) {
            if matches!(line.reason.as_str(), "early" | "late") {
                push(&mut story.others, line, OTHERS);
            }
            return Ok(());
        }
        story.is_known = true;
        if is_refusal(&line) {
            let accepted = line.device.as_ref().and_then(|device| story.by_device.get(device)).cloned();
            push(&mut story.failures, (line, accepted), last.max(1));
        } else if line.is_login() && line.result == "success" && line.factor.is_some() {
            if let Some(device) = &line.device {
                story.by_device.insert(device.clone(), line.clone());
            }
            story.accepted = Some(line);
        }
        Ok(())
    })?;
    Ok(story)
}

fn push<T>(list: &mut VecDeque<T>, item: T, most: usize) {
    if list.len() >= most {
        list.pop_front();
    }
    list.push_back(item);
}

fn count_others(story: &Story, line: &Line, reason: &str) -> usize {
    let Some(time) = line.moment() else { return 0 };
    let is_it = |other: &&Line| other.reason == reason && is_same_day(other, time);
    let users: BTreeSet<_> = story.others.iter().filter(is_it).filter_map(|other| other.user.as_deref()).collect();
    users.len()
}

/// Seconds that the codes of each device last, by its id. What cannot be read is not known.
fn periods(vault: &Vault, account: &Account) -> BTreeMap<String, u64> {
    let Ok(Some(room)) = vault.room(account.uid) else { return BTreeMap::new() };
    let Ok((credentials, _)) = room.credentials() else { return BTreeMap::new() };
    credentials.devices.iter().map(|device| (device.id.to_string(), u64::from(device.shape.period()))).collect()
}
