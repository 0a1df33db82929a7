//! `qrtotp offboard`: somebody leaves. Everything of him is ended, and one line says what that was.

use std::path::PathBuf;

use qrtotp_core::events::{Kind, Printable};
use qrtotp_core::remember;
use qrtotp_core::vault::{Revocation, Vault};
use qrtotp_core::words::{Account, WallTime};
use serde_json::{Value, json};

use super::revoke::{self, Ended};
use super::status::{self, Condition};
use super::{issue, print};
use crate::desk::{Desk, quoted};
use crate::ending::{Code, Ending};
use crate::screen::{clean, counted};

/// Ends everything of a user. What one step cannot do does not keep the others from being done.
pub fn run(desk: &Desk, user: &str, reason: &str) -> Result<(), Ending> {
    let reason = revoke::checked(reason)?;
    let vault = desk.vault()?;
    let _exclusive = vault.exclusive()?;
    let told = Told { host: qrtotp_system::host_name(), by: desk.caller(), time: desk.now()?.wall, reason };
    let accounts = accounts(desk, &vault, user)?;
    if accounts.is_empty() {
        return told.nobody(desk, &vault, user);
    }
    let mut ends = Vec::new();
    for account in &accounts {
        ends.push(End::of(desk, &vault, account, &told)?);
    }
    let lines: Vec<_> = ends.iter().map(|end| end.line(&told)).collect();
    let mut values: Vec<_> = ends.iter().map(|end| end.to_json(&told)).collect();
    // One account is the rule; others are those that had the name before.
    let value = if values.len() == 1 { values.pop().unwrap_or_default() } else { json!(values) };
    desk.screen.answer(&value, &lines.join("\n"))?;
    let failed: Vec<_> = ends.into_iter().flat_map(|end| end.failed).collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(Ending::of_list("not everything could be ended; run it again when that is mended:", failed))
}

/// Whose state is to be ended: the account of that name, and whoever else was enrolled or invited under it. A folder that
/// cannot be read names nobody.
fn accounts(desk: &Desk, vault: &Vault, user: &str) -> Result<Vec<Account>, Ending> {
    let mut found: Vec<Account> = desk.find(user)?.into_iter().collect();
    let mut add = |name: &str, account: &dyn Fn() -> Account| {
        if name == user && found.iter().all(|known| known.uid != account().uid) {
            found.push(account());
        }
    };
    for uid in vault.uids()? {
        let read = vault.room(uid).ok().flatten().and_then(|room| room.credentials().ok());
        if let Some((credentials, _)) = read {
            add(credentials.user.as_str(), &|| Account { name: credentials.user.clone(), uid });
        }
    }
    for uid in vault.ticket_uids()? {
        let Some(tickets) = vault.tickets(uid)? else { continue };
        for ticket in tickets.ids()?.into_iter().filter_map(|id| tickets.read(id).ok()) {
            add(ticket.user.as_str(), &|| Account { name: ticket.user.clone(), uid });
        }
    }
    Ok(found)
}

/// What is the same for everything that one run of the command ends.
struct Told<'a> {
    host: String,
    by: String,
    time: WallTime,
    reason: &'a str,
}

/// What was ended of one account, and what is left.
struct End {
    account: Account,
    was: Condition,
    before: Option<Revocation>,
    devices: Vec<String>,
    recovery: usize,
    tickets: usize,
    places: usize,
    grace: u64,
    pictures: Vec<PathBuf>,
    processes: usize,
    failed: Vec<(String, Ending)>,
}

impl End {
    /// Ends everything. Tickets first, so that what one has just opened is seen by the next step.
    fn of(desk: &Desk, vault: &Vault, account: &Account, told: &Told<'_>) -> Result<Self, Ending> {
        let report = status::examine(desk, vault, account)?;
        let labels = report.credentials.iter().flat_map(|credentials| &credentials.devices);
        let devices = labels.map(|device| device.label.to_string()).collect();
        let mut end = Self {
            account: account.clone(),
            was: report.condition,
            before: None,
            devices,
            recovery: report.recovery_left(),
            tickets: 0,
            places: 0,
            grace: vault.grace_used(account).unwrap_or(0),
            pictures: Vec::new(),
            processes: 0,
            failed: Vec::new(),
        };
        // The user id may be somebody else's by now, whose tickets and places stay.
        let is_own = desk.find_uid(account.uid)?.is_none_or(|now| now.name == account.name);
        end.tickets = end.end_tickets(desk, vault, told, is_own).unwrap_or_else(|ending| end.fail("tickets", ending));
        end.end_enrollment(desk, vault, told);
        if is_own {
            let forgotten = remember::forget(&desk.policy.runtime_dir, Some(account.uid)).map_err(Ending::from);
            end.places = forgotten.unwrap_or_else(|ending| end.fail("remembered places", ending));
            vault.forget_grace(account.uid).unwrap_or_else(|trouble| end.fail("grace", trouble.into()));
            end.processes = processes_of(account);
        }
        let left = print::left(vault).unwrap_or_else(|ending| end.fail("pictures", ending));
        end.pictures = left.into_iter().filter(|left| left.uid == account.uid).map(|left| left.path).collect();
        end.record(desk, told);
        Ok(end)
    }

    fn fail<T: Default>(&mut self, what: &str, ending: Ending) -> T {
        self.failed.push((format!("{} of {}", what, self.account.name), ending));
        T::default()
    }

    fn end_tickets(&self, desk: &Desk, vault: &Vault, told: &Told<'_>, is_own: bool) -> Result<usize, Ending> {
        if is_own {
            return issue::end_all(desk, vault, &self.account, told.reason);
        }
        let Some(tickets) = vault.tickets(self.account.uid)? else { return Ok(0) };
        let mut ids = tickets.ids()?;
        ids.retain(|id| tickets.read(*id).is_ok_and(|ticket| ticket.user == self.account.name));
        issue::end(desk, vault, &self.account, &ids, told.reason)?;
        Ok(ids.len())
    }

    /// Puts a tombstone in the place of what is there. Where nothing is and there is no account either, nobody can enroll.
    fn end_enrollment(&mut self, desk: &Desk, vault: &Vault, told: &Told<'_>) {
        let has_account = desk.find(self.account.name.as_str()).is_ok_and(|now| now.as_ref() == Some(&self.account));
        if self.was == Condition::NotEnrolled && !has_account {
            return;
        }
        let revoked = Revocation { time: told.time, reason: told.reason.to_owned() };
        match revoke::end(desk, vault, &self.account, revoked) {
            Ok(Ended::Now(enrollment)) => revoke::record(desk, &self.account, told.reason, enrollment),
            Ok(Ended::Before(first)) => self.before = Some(first),
            Err(ending) => self.fail("the enrollment", ending),
        }
    }

    fn record(&self, desk: &Desk, told: &Told<'_>) {
        let mut event = desk.event(Kind::Offboard, &self.account, told.reason);
        event.detail = Some(Printable::new(self.ended().as_bytes()));
        desk.record(&event);
    }

    /// `2 devices, 9 recovery codes, 1 ticket, 1 remembered place`
    fn ended(&self) -> String {
        let some = |count: usize, what: &str| (count > 0).then(|| counted(count, what));
        let counts = [
            (self.was == Condition::Damaged).then(|| "state that could not be read".to_owned()),
            some(self.devices.len(), "device"),
            some(self.recovery, "recovery code"),
            some(self.tickets, "ticket"),
            some(self.places, "remembered place"),
            some(usize::try_from(self.grace).unwrap_or(usize::MAX), "login without enrollment counted"),
        ];
        let counts: Vec<_> = counts.into_iter().flatten().collect();
        match (counts.is_empty(), self.was) {
            (false, _) => counts.join(", "),
            (true, Condition::NotEnrolled) => "was not enrolled".to_owned(),
            (true, _) => "nothing was left to end".to_owned(),
        }
    }

    /// `offboarded alice (uid 1001) on HOST at TIME by WHO: 2 devices; reason: left; still there: ...`
    fn line(&self, told: &Told<'_>) -> String {
        let Account { name, uid } = &self.account;
        let Told { host, by, time, reason } = told;
        let word = if self.failed.is_empty() { "offboarded" } else { "offboarded in part" };
        let ended = self.ended();
        let mut line = format!(
            "{word} {name} (uid {}) on {host} at {time} by {}: {ended}; reason: {}",
            uid.0,
            clean(by),
            clean(reason)
        );
        if let Some(first) = &self.before {
            line.push_str(&format!("; revoked before, at {}: {}", first.time, clean(&first.reason)));
        }
        for path in &self.pictures {
            line.push_str(&format!("; still there: picture of a key {}", clean(&path.to_string_lossy())));
        }
        if self.processes > 0 {
            let running =
                if self.processes == 1 { "1 process".to_owned() } else { format!("{} processes", self.processes) };
            line.push_str(&format!("; still running: {running} (end them: loginctl terminate-user {name})"));
        }
        line
    }

    fn to_json(&self, told: &Told<'_>) -> Value {
        let before = self.before.as_ref();
        json!({
            "user": self.account.name,
            "uid": self.account.uid,
            "host": told.host,
            "time": told.time.to_string(),
            "by": told.by,
            "reason": told.reason,
            "was": self.was.word(),
            "revoked_before": before.map(|first| json!({ "time": first.time.to_string(), "reason": first.reason })),
            "devices": self.devices,
            "recovery_codes": self.recovery,
            "tickets": self.tickets,
            "remembered": self.places,
            "grace_logins": self.grace,
            "pictures": self.pictures,
            "processes": self.processes,
            "failed": self.failed.iter().map(|(what, ending)| format!("{what}: {ending}")).collect::<Vec<_>>(),
        })
    }
}

impl Told<'_> {
    /// One line on every host, also where there is nothing to do; the exit code tells a name that nobody has.
    fn nobody(&self, desk: &Desk, vault: &Vault, user: &str) -> Result<(), Ending> {
        let is_unread =
            |uid: &_| !matches!(vault.room(*uid).map(|room| room.map(|room| room.credentials())), Ok(Some(Ok(_))));
        let unread: Vec<_> = vault.uids()?.into_iter().filter(is_unread).collect();
        let mut line =
            format!("nothing to offboard on {} at {}: there is no user {}", self.host, self.time, quoted(user));
        line.push_str(", and nobody of that name is enrolled");
        for uid in &unread {
            line.push_str(&format!("; state of user id {} cannot be read, and may be his", uid.0));
        }
        let value = json!({
            "user": user,
            "uid": null,
            "host": self.host,
            "time": self.time.to_string(),
            "by": self.by,
            "reason": self.reason,
            "was": "no_such_user",
            "unreadable": unread,
        });
        desk.screen.answer(&value, &line)?;
        Err(Ending::silent(Code::NoUser))
    }
}

/// How many processes run as somebody, by real or effective user id: a code that ends keeps nobody out who is in.
fn processes_of(account: &Account) -> usize {
    let Ok(entries) = std::fs::read_dir("/proc") else { return 0 };
    let is_his = |name: &str| {
        let status = std::fs::read_to_string(format!("/proc/{name}/status")).unwrap_or_default();
        let ids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap_or_default();
        ids.split_whitespace().any(|id| id.parse() == Ok(account.uid.0))
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()) && is_his(name)).count()
}
