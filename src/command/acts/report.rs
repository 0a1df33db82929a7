//! `qrtotp report`

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use qrtotp_core::calendar::DAY;
use qrtotp_core::policy::rules::Until;
use qrtotp_core::policy::{Rule, Settings};
use qrtotp_core::vault::Vault;
use qrtotp_core::words::WallTime;
use qrtotp_trail::report::{Account, Device, RuleEnd, Snapshot, Tally, Ticket, User, page};
use qrtotp_trail::{Filter, Line, filter, geo::Geo};
use serde_json::json;

use super::status::{Condition, Report, everybody};
use super::{policy, ticket};
use crate::arguments::report::ReportOptions;
use crate::desk::{Desk, quoted};
use crate::ending::{Code, Ending};
use crate::reading;

/// How far back events tell whether a device is used.
const USED: u64 = 90 * DAY;

/// Writes the page.
pub fn run(desk: &Desk, options: &ReportOptions) -> Result<(), Ending> {
    let now = desk.now()?.wall;
    let wrong = |what| Ending::new(Code::Usage, format!("--since {}: {what}", quoted(&options.since)));
    let since = filter::time(&options.since, now).map_err(wrong)?;
    if since >= now {
        return Err(wrong("lies in the future".to_owned()));
    }
    refuse_present(&options.html, options.force)?;
    let settings = Settings::load(&desk.config).map_err(|what| Ending::new(Code::Untrusted, what))?;
    let geo = Geo::open(settings.geo_database.as_deref())?;
    let country = |line: &Line| geo.of(line);
    let mut tally = Tally::new(since, now, if geo.is_there() { Some(&country) } else { None });
    let from = since.min(WallTime(now.0.saturating_sub(USED)));
    reading::each(desk, &Filter { since: Some(from), ..Filter::default() }, |line| {
        tally.take(&line);
        Ok(())
    })?;
    let text = page(&tally, &snapshot(desk, now)?);
    write(&options.html, text.as_bytes(), options.force)?;
    let value =
        json!({ "file": options.html, "since": since.to_string(), "until": now.to_string(), "events": tally.events });
    desk.screen.answer(&value, &format!("{} written", options.html.display()))
}

fn snapshot(desk: &Desk, now: WallTime) -> Result<Snapshot, Ending> {
    let vault = desk.vault()?;
    let all = everybody(desk, &vault)?;
    let is_in_force = |report: &&Report| {
        !matches!(report.condition, Condition::Revoked | Condition::Stale | Condition::Damaged | Condition::NotEnrolled)
    };
    let users: Vec<_> = all.iter().filter(is_in_force).filter_map(user).collect();
    let named = policy::accounts(&vault)?.into_iter().filter(|(_, has_shell)| *has_shell);
    let accounts = named.map(|(name, _)| Account { is_enrolled: users.iter().any(|user| user.name == name), name });
    let trouble = |report: &Report| Some(format!("{}: {}", report.account.name, report.trouble.as_ref()?));
    let mut rules: Vec<_> =
        desk.policy.rules.iter().enumerate().flat_map(|(at, rule)| rule_ends(at.saturating_add(1), rule)).collect();
    rules.sort_by_key(|rule| rule.end);
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut state = Snapshot { host, accounts: accounts.collect(), rules, ..Snapshot::default() };
    state.troubles = all.iter().filter_map(trouble).collect();
    state.users = users;
    add_tickets(&vault, now, &mut state)?;
    Ok(state)
}

fn user(report: &Report) -> Option<User> {
    let credentials = report.credentials.as_ref()?;
    let device = |device: &qrtotp_core::vault::Device| Device {
        id: device.id.to_string(),
        label: device.label.to_string(),
        added: device.added,
    };
    Some(User {
        name: report.account.name.to_string(),
        uid: report.account.uid.0,
        created: credentials.created,
        recovery_left: report.recovery_left(),
        devices: credentials.enabled().map(device).collect(),
    })
}

fn add_tickets(vault: &Vault, now: WallTime, state: &mut Snapshot) -> Result<(), Ending> {
    for uid in vault.ticket_uids()? {
        let Some(tickets) = vault.tickets(uid)? else { continue };
        let credentials = ticket::credentials_of(vault, uid);
        for id in tickets.ids()? {
            let read = tickets.read(id);
            match read.and_then(|read| Ok((ticket::State::of(&read, &tickets, credentials.as_ref(), now)?, read))) {
                Ok((ticket::State::Open, read)) => state.tickets.push(Ticket {
                    user: read.user.to_string(),
                    label: read.label.to_string(),
                    expires: read.expires,
                }),
                Ok(_) => {}
                Err(trouble) => state.troubles.push(trouble.to_string()),
            }
        }
    }
    state.tickets.sort_by_key(|ticket| ticket.expires);
    Ok(())
}

/// When a rule ends, and the time that it gives; nothing where the zone is not known here.
fn rule_ends(number: usize, rule: &Rule) -> Vec<RuleEnd> {
    let end = |what, until: Option<Until>| {
        let end = match until? {
            Until::Moment(end) => end,
            Until::Local(end) => {
                let east = i64::from(rule.times.zone.offset_at(WallTime(end))?);
                WallTime(end.saturating_add_signed(east.saturating_mul(-1000)))
            }
        };
        Some(RuleEnd { number, line: rule.line, what, end })
    };
    let ends = [end("until", rule.times.until), end("enroll_by", rule.grace.and_then(|grace| grace.until))];
    ends.into_iter().flatten().collect()
}

/// What is there stays, unless it may be replaced; a link is never followed.
fn refuse_present(file: &Path, force: bool) -> Result<(), Ending> {
    let conflict = |what| Err(Ending::new(Code::Conflict, format!("{}: {what}", file.display())));
    match fs::symlink_metadata(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Ending::new(Code::No, format!("{}: cannot be written: {error}", file.display()))),
        Ok(found) if !found.is_file() => conflict("is no plain file; name another"),
        Ok(_) if !force => conflict("is there already; name another file, or replace it with --force"),
        Ok(_) => Ok(()),
    }
}

/// Writes a new file of root's alone beside the place, and then puts it there.
fn write(file: &Path, content: &[u8], force: bool) -> Result<(), Ending> {
    let fail = |error: std::io::Error| Ending::new(Code::No, format!("{}: cannot be written: {error}", file.display()));
    let mut fresh = file.as_os_str().to_owned();
    fresh.push(format!(".{}.new", std::process::id()));
    let mut open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh).map_err(fail)?;
    let place = || if force { fs::rename(&fresh, file) } else { fs::hard_link(&fresh, file) };
    let done = open.write_all(content).and_then(|()| open.sync_all()).and_then(|()| place());
    if done.is_err() || !force {
        fs::remove_file(&fresh).map_err(fail)?;
    }
    done.map_err(fail)
}
