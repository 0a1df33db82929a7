//! `qrtotp status` and `qrtotp list`

use qrtotp_core::budget::State;
use qrtotp_core::remember;
use qrtotp_core::vault::{Credentials, Device, Vault};
use qrtotp_core::words::{Account, Source, Uid, UserName, WallTime};
use serde_json::{Value, json};

use super::{device, print, ticket};
use crate::desk::Desk;
use crate::ending::{Code, Ending};
use crate::screen::{clean, counted};

/// In what state an enrollment is, in one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    /// A code logs in.
    Enrolled,
    /// Lock mode, for a while.
    Locked,
    /// `disable_after` was reached.
    Disabled,
    /// Two codes are asked for a while.
    SteppedUp,
    /// A tombstone.
    Revoked,
    /// Of another name or user id.
    Stale,
    /// Cannot be read.
    Damaged,
    /// Nothing is there.
    NotEnrolled,
}

impl Condition {
    /// The word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Enrolled => "enrolled",
            Self::Locked => "locked",
            Self::Disabled => "disabled",
            Self::SteppedUp => "stepped_up",
            Self::Revoked => "revoked",
            Self::Stale => "stale",
            Self::Damaged => "damaged",
            Self::NotEnrolled => "not_enrolled",
        }
    }
}

/// Everything that is known of one user.
pub struct Report {
    /// Whose.
    pub account: Account,
    /// In what state.
    pub condition: Condition,
    /// What cannot be read.
    pub trouble: Option<String>,
    /// The enrollment.
    pub credentials: Option<Credentials>,
    state: Option<State>,
    /// Records since the latest checkpoint.
    pub records: usize,
}

/// What is kept of a user beside the enrollment.
struct Beside {
    /// Tickets that can be redeemed.
    tickets: usize,
    /// When the first of them ends.
    first_end: Option<WallTime>,
    /// Places where the user is not asked again.
    places: usize,
    /// Logins without enrollment so far.
    grace_used: u64,
}

impl Beside {
    fn of(desk: &Desk, vault: &Vault, account: &Account) -> Result<Self, Ending> {
        let now = desk.now()?;
        let mut ends = Vec::new();
        if let Some(tickets) = vault.tickets(account.uid)? {
            let credentials = ticket::credentials_of(vault, account.uid);
            for ticket in tickets.all()? {
                let state = ticket::State::of(&ticket, &tickets, credentials.as_ref(), now.wall)?;
                ends.extend((state == ticket::State::Open).then_some(ticket.expires));
            }
        }
        let memories = remember::all(&desk.policy.runtime_dir, &now)?;
        Ok(Self {
            tickets: ends.len(),
            first_end: ends.into_iter().min(),
            places: memories.iter().filter(|memory| memory.uid == account.uid).count(),
            grace_used: vault.grace_used(account)?,
        })
    }

    fn to_lines(&self, condition: Condition) -> Vec<String> {
        let tickets = self.first_end.map(|end| match self.tickets {
            1 => format!("  tickets    1 open, until {end}"),
            more => format!("  tickets    {more} open, the first until {end}"),
        });
        let places = (self.places > 0)
            .then(|| format!("  remembered {}, see: qrtotp remember list", counted(self.places, "place")));
        let is_shown = condition == Condition::NotEnrolled && self.grace_used > 0;
        let grace = is_shown.then(|| format!("  grace      {} logins without enrollment used", self.grace_used));
        [tickets, places, grace].into_iter().flatten().collect()
    }

    fn add_to(&self, value: &mut Value) {
        let Some(fields) = value.as_object_mut() else { return };
        let end = self.first_end.map(|end| end.to_string());
        fields.insert("tickets".to_owned(), json!({ "open": self.tickets, "first_ends": end }));
        fields.insert("remembered".to_owned(), json!(self.places));
        fields.insert("grace_logins_used".to_owned(), json!(self.grace_used));
    }
}

/// Shows a user, or the installation.
pub fn run(desk: &Desk, user: Option<&str>) -> Result<(), Ending> {
    let vault = desk.vault()?;
    let Some(user) = user else { return installation(desk, &vault) };
    let account = desk.owner(&vault, user)?;
    let report = examine(desk, &vault, &account)?;
    let (mut value, mut text) = (report.to_json(desk)?, report.to_text(desk)?);
    match Beside::of(desk, &vault, &account) {
        Ok(beside) => {
            beside.add_to(&mut value);
            beside.to_lines(report.condition).iter().for_each(|line| text.push_str(&format!("\n{line}")));
        }
        // A damaged ticket must not hide the rest.
        Err(ending) => desk.screen.remark(&ending.to_string()),
    }
    desk.screen.answer(&value, &text)?;
    match report.condition {
        Condition::NotEnrolled => Err(Ending::silent(Code::NotEnrolled)),
        Condition::Damaged | Condition::Stale => Err(Ending::silent(Code::Untrusted)),
        _ => Ok(()),
    }
}

/// In what state the enrollment of an account is.
pub fn condition_of(desk: &Desk, vault: &Vault, account: &Account) -> Result<Condition, Ending> {
    Ok(examine(desk, vault, account)?.condition)
}

/// Lists everybody whom state is kept of.
pub fn list(desk: &Desk) -> Result<(), Ending> {
    let vault = desk.vault()?;
    let reports: Vec<_> = everybody(desk, &vault)?;
    let row = |report: &Report| {
        let last = report.state.as_ref().and_then(|state| state.last_login);
        vec![
            report.account.name.to_string(),
            report.account.uid.0.to_string(),
            report.condition.word().to_owned(),
            report.credentials.as_ref().map_or(0, |credentials| credentials.enabled().count()).to_string(),
            report.recovery_left().to_string(),
            last.map_or_else(|| "never".to_owned(), |last| last.time.to_string()),
        ]
    };
    let text = desk
        .screen
        .table(&["USER", "UID", "STATE", "DEVICES", "RECOVERY", "LAST LOGIN"], reports.iter().map(row).collect());
    let users: Vec<_> = reports.iter().map(|report| report.to_json(desk)).collect::<Result<_, _>>()?;
    desk.screen.answer(&json!({ "users": users }), &text)
}

/// Everybody whom state is kept of.
pub fn everybody(desk: &Desk, vault: &Vault) -> Result<Vec<Report>, Ending> {
    vault.uids()?.into_iter().map(|uid| examine(desk, vault, &named(desk, vault, uid))).collect()
}

/// The account that a folder's credentials name; where they cannot be read, the one that has the number now, or the number.
fn named(desk: &Desk, vault: &Vault, uid: Uid) -> Account {
    let read = vault.room(uid).ok().flatten().and_then(|room| room.credentials().ok());
    let name = read.map(|(credentials, _)| credentials.user);
    let now = || desk.find_uid(uid).ok().flatten().map(|account| account.name);
    Account { name: name.or_else(now).unwrap_or_else(|| UserName::of_uid(uid)), uid }
}

fn installation(desk: &Desk, vault: &Vault) -> Result<(), Ending> {
    let reports = everybody(desk, vault)?;
    let count = |condition: Condition| reports.iter().filter(|report| report.condition == condition).count();
    let conditions = [
        Condition::Enrolled,
        Condition::Locked,
        Condition::Disabled,
        Condition::SteppedUp,
        Condition::Revoked,
        Condition::Stale,
        Condition::Damaged,
    ];
    let counts: serde_json::Map<_, _> =
        conditions.iter().map(|condition| (condition.word().to_owned(), json!(count(*condition)))).collect();
    let policy = &desk.policy;
    let mut lines = vec![
        format!("policy   {}", desk.config.display()),
        format!("state    {}", policy.state_dir.display()),
        format!("events   {}", policy.events_file.display()),
        format!("runtime  {}", policy.runtime_dir.display()),
    ];
    let users = conditions.iter().filter(|condition| count(**condition) > 0);
    let users: Vec<_> = users.map(|condition| format!("{} {}", count(*condition), condition.word())).collect();
    let left = print::left(vault)?;
    for picture in &left {
        let of = named(desk, vault, picture.uid).name;
        lines
            .push(format!("picture  {} still holds a key of {of}; destroy it", clean(&picture.path.to_string_lossy())));
    }
    let weak: Vec<_> = reports.iter().flat_map(Report::weak).collect();
    lines.extend(weak.iter().map(|(user, device)| {
        format!(
            "weak     {} of {user} has {} bits; change it: qrtotp rotate {user}",
            device.label,
            device.secret.bits()
        )
    }));
    lines.push(format!("users    {}", if users.is_empty() { "none".to_owned() } else { users.join(", ") }));
    let value = json!({
        "pictures": left.iter().map(|picture| json!({ "uid": picture.uid, "path": picture.path })).collect::<Vec<_>>(),
        "weak": weak.iter().map(|(user, device)| json!({ "user": user, "device": device.id, "label": device.label }))
            .collect::<Vec<_>>(),
        "config": desk.config,
        "state": policy.state_dir,
        "events": policy.events_file,
        "runtime": policy.runtime_dir,
        "users": counts,
    });
    desk.screen.answer(&value, &lines.join("\n"))
}

/// Looks at everything that is kept of an enrollment.
pub fn examine(desk: &Desk, vault: &Vault, account: &Account) -> Result<Report, Ending> {
    let mut report = Report {
        account: account.clone(),
        condition: Condition::NotEnrolled,
        trouble: None,
        credentials: None,
        state: None,
        records: 0,
    };
    let read = vault.room(account.uid).and_then(|room| {
        let Some(room) = room else { return Ok(None) };
        let (credentials, _) = room.credentials()?;
        let history = room.journal(&credentials)?.read()?;
        Ok(Some((credentials, history)))
    });
    match read {
        Ok(None) => {}
        Err(trouble) => {
            report.condition = Condition::Damaged;
            report.trouble = Some(trouble.to_string());
        }
        Ok(Some((mut credentials, history))) => {
            let (mut state, _) = history.fold(&desk.policy.limits);
            let now = desk.now()?;
            credentials.end_replaced(&state, now.wall);
            state.pass_time(&now);
            report.records = history.records();
            report.condition = condition(desk, account, &credentials, &state)?;
            (report.credentials, report.state) = (Some(credentials), Some(state));
        }
    }
    Ok(report)
}

fn condition(desk: &Desk, account: &Account, credentials: &Credentials, state: &State) -> Result<Condition, Ending> {
    let now = desk.find(credentials.user.as_str())?;
    let limits = &desk.policy.limits;
    let stale =
        credentials.uid != account.uid || now.is_none_or(|now| now.name != credentials.user || now.uid != account.uid);
    Ok(match () {
        () if stale => Condition::Stale,
        () if credentials.revoked.is_some() => Condition::Revoked,
        () if state.is_disabled(limits) => Condition::Disabled,
        () if state.is_locked(limits) => Condition::Locked,
        () if state.stepped_up_until(desk.now()?.wall).is_some() => Condition::SteppedUp,
        () => Condition::Enrolled,
    })
}

impl Report {
    /// Recovery codes that can still be used.
    pub fn recovery_left(&self) -> usize {
        let (Some(credentials), Some(state)) = (&self.credentials, &self.state) else { return 0 };
        credentials.recovery.iter().filter(|kept| !state.spent.contains(&kept.selector)).count()
    }

    /// The devices that are good and whose keys are below 128 bits.
    pub fn weak(&self) -> impl Iterator<Item = (&UserName, &Device)> {
        let good = self.credentials.iter().flat_map(Credentials::weak).filter(|device| device.enabled);
        good.map(|device| (&self.account.name, device))
    }

    fn to_json(&self, desk: &Desk) -> Result<Value, Ending> {
        let mut value = json!({
            "user": self.account.name,
            "uid": self.account.uid,
            "state": self.condition.word(),
        });
        let fields = value.as_object_mut();
        let Some(fields) = fields else { return Ok(value) };
        if let Some(trouble) = &self.trouble {
            fields.insert("trouble".to_owned(), json!(trouble));
        }
        if let Some(credentials) = &self.credentials {
            fields.insert("enrollment".to_owned(), json!(credentials.enrollment));
            fields.insert("created".to_owned(), json!(credentials.created.to_string()));
            let devices: Vec<_> = credentials.devices.iter().map(device::as_json).collect();
            fields.insert("devices".to_owned(), json!(devices));
            fields.insert("recovery_left".to_owned(), json!(self.recovery_left()));
            if let Some(revoked) = &credentials.revoked {
                fields.insert(
                    "revoked".to_owned(),
                    json!({ "time": revoked.time.to_string(), "reason": revoked.reason }),
                );
            }
        }
        if let Some(state) = &self.state {
            fields.insert("records".to_owned(), json!(self.records));
            fields.insert("last_login".to_owned(), last_login_json(state));
            fields.insert("failed_attempts".to_owned(), failures_json(state));
            fields.insert("budget".to_owned(), budget_json(state, desk)?);
        }
        Ok(value)
    }

    fn to_text(&self, desk: &Desk) -> Result<String, Ending> {
        let (user, uid) = (&self.account.name, self.account.uid.0);
        let mut lines = vec![format!("{user} (user id {uid}): {}", self.condition.word().replace('_', " "))];
        lines.extend(self.trouble.iter().map(|trouble| format!("  {trouble}")));
        if self.condition == Condition::Stale {
            lines.push(
                "  the name or the user id is another account's now; see qrtotp gc, or enroll with --replace"
                    .to_owned(),
            );
        }
        if let Some(credentials) = &self.credentials {
            if let Some(revoked) = &credentials.revoked {
                lines.push(format!("  revoked    {}: {}", revoked.time, revoked.reason));
            }
            for device in &credentials.devices {
                let is_plain = device.enabled && device.replaced.is_none() && !device.secret.is_weak();
                let state = (!is_plain).then(|| format!(", {}", device::state_text(device, credentials)));
                let off = state.unwrap_or_default();
                lines.push(format!("  device     {} ({}{off}), added {}", device.label, device.id, device.added));
            }
            if credentials.weak().any(|device| device.enabled) {
                lines
                    .push(format!("  weak       a key below 128 bits came over; change it with: qrtotp rotate {user}"));
            }
            lines.push(match credentials.recovery.len() {
                0 => "  recovery   no codes yet; the next login that can show them does".to_owned(),
                all => format!("  recovery   {} of {all} codes left", self.recovery_left()),
            });
        }
        if let Some(state) = &self.state {
            lines.extend(state_lines(state, desk)?);
        }
        Ok(lines.join("\n"))
    }
}

fn state_lines(state: &State, desk: &Desk) -> Result<Vec<String>, Ending> {
    let wall = desk.now()?.wall;
    let last = match &state.last_login {
        Some(last) => format!("{} from {} ({})", last.time, source(&last.source), service(&last.service)),
        None => "never".to_owned(),
    };
    let mut lines = vec![format!("  last login {last}")];
    if state.failures.count > 0 {
        lines.push(format!(
            "  failed     {} attempts not told of yet, the last one {}",
            state.failures.count, state.failures.last
        ));
    }
    if let Some(until) = state.stepped_up_until(wall) {
        lines.push(format!("  two codes  are asked at every login until {until}; qrtotp unlock ends that"));
    }
    lines.push(format!("  budget     {} attempts for unknown sources", state.unknown.attempts()));
    for known in &state.known {
        let (from, left) = (source(&known.source), state.left(&known.source, wall, &desk.policy.limits));
        lines.push(format!("             {left} attempts for {from}, last login from there {}", known.last));
    }
    Ok(lines)
}

fn last_login_json(state: &State) -> Value {
    state.last_login.map_or(Value::Null, |last| {
        json!({ "time": last.time.to_string(), "source": source(&last.source), "service": service(&last.service) })
    })
}

fn failures_json(state: &State) -> Value {
    let sources: Vec<_> =
        state.failures.sources.iter().map(|(key, count)| json!({ "source": source(key), "count": count })).collect();
    json!({ "count": state.failures.count, "sources": sources })
}

fn budget_json(state: &State, desk: &Desk) -> Result<Value, Ending> {
    let wall = desk.now()?.wall;
    let known = state.known.iter().map(|known| {
        json!({
            "source": source(&known.source),
            "left": state.left(&known.source, wall, &desk.policy.limits),
            "last_login": known.last.to_string(),
        })
    });
    let limits = &desk.policy.limits;
    Ok(json!({
        "unknown_left": state.unknown.attempts(),
        "known": known.collect::<Vec<_>>(),
        "locked": state.is_locked(limits),
        "disabled": state.is_disabled(limits),
        "two_codes_until": state.stepped_up_until(wall).map(|until| until.to_string()),
    }))
}

fn source(key: &[u8; 17]) -> String {
    Source::from_key(key).map_or_else(|| "unknown".to_owned(), |source| source.to_string())
}

fn service(padded: &[u8; 16]) -> String {
    let bytes: Vec<u8> = padded.iter().copied().take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
