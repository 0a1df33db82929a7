//! What becomes of the devices that were found: all of one user are stored at once, or none; what is wrong with one user or
//! one record stops no other.

use std::collections::HashMap;
use std::hash::RandomState;

use qrtotp_core::enroll::{Draft, Import, Occasion};
use qrtotp_core::events::{Kind, Printable};
use qrtotp_core::otp::Secret;
use qrtotp_core::vault::{Credentials, Vault};
use qrtotp_core::words::{Account, DeviceId, EnrollmentId, Label, Now, Step, WallTime};

use super::answer::{Facts, Outcome, Row};
use super::token::{Token, Used};
use crate::acts::keys::Keys;
use crate::acts::{device, issue};
use crate::arguments::import::Manner;
use crate::desk::{Desk, quoted};
use crate::ending::{Code, Ending};
use crate::screen::clean;

/// One device that was found, and what stands beside it.
pub struct Record {
    /// Whose, as the source says; or why it is nobody's, where the token does not tell more.
    pub user: Result<String, String>,
    /// The file, or the picture.
    pub from: String,
    /// The line in it.
    pub line: Option<usize>,
    /// What it is called there.
    pub name: Option<String>,
    /// The device, or why there is none.
    pub token: Result<Token, String>,
    /// What never comes over: what it is, why, and what to do.
    pub beside: Vec<(String, String)>,
    /// What else is to be known of the device.
    pub remarks: Vec<String>,
}

/// Where devices come from.
#[derive(Clone, Copy)]
pub struct Source {
    /// As in the command line.
    pub name: &'static str,
    /// As in the reasons of events.
    pub word: &'static str,
}

/// Takes the devices over, and says what became of each.
pub struct Taking<'a> {
    desk: &'a Desk,
    vault: Vault,
    manner: &'a Manner,
    source: Source,
    /// Whether the user was named by the one who runs the command.
    is_named: bool,
    label: Label,
    now: Now,
    /// The keys that are enrolled here, to find those that two people have.
    keys: Keys,
    /// Who came over with a key, by a number that nobody else knows.
    owners: HashMap<u64, String>,
    hasher: RandomState,
    /// One a record.
    rows: Vec<Row>,
    /// What stands beside each.
    beside: Vec<Vec<Row>>,
}

/// A device whose user is known, and the row that speaks of it.
struct Candidate {
    row: usize,
    token: Token,
    remarks: Vec<String>,
}

/// A device that is planned.
struct Planned {
    row: usize,
    id: DeviceId,
    label: Label,
    from: String,
    why: String,
}

/// Takes over what was found. `is_named` says that it is all of one user, who was named with --user: only so is a revocation
/// lifted, because whoever was revoked may have written the file himself.
///
/// # Errors
/// Where nothing can be taken over at all.
pub fn take(
    desk: &Desk,
    manner: &Manner,
    source: Source,
    is_named: bool,
    records: Vec<Record>,
) -> Result<Vec<Row>, Ending> {
    let vault = desk.vault()?;
    let label = device::parse_label(&manner.label)?;
    let mut taking = Taking {
        desk,
        vault,
        manner,
        source,
        is_named,
        label,
        now: desk.now()?,
        keys: Keys::of(desk)?,
        owners: HashMap::new(),
        hasher: RandomState::new(),
        rows: Vec::new(),
        beside: Vec::new(),
    };
    let mut people: Vec<(Account, Vec<Candidate>)> = Vec::new();
    for record in records {
        let Some((account, candidate)) = taking.sort(record) else { continue };
        match people.iter_mut().find(|(known, _)| known.uid == account.uid && known.name == account.name) {
            Some((_, candidates)) => candidates.push(candidate),
            None => people.push((account, vec![candidate])),
        }
    }
    // Held to the end: nobody else's command changes what was looked at. A dry run takes not even that.
    let exclusive = if manner.dry_run { None } else { Some(taking.vault.exclusive()?) };
    for (account, candidates) in people {
        taking.person(&account, candidates);
    }
    drop(exclusive);
    Ok(taking.all_rows())
}

impl Taking<'_> {
    /// Makes the rows of a record. `None` where it gives no device that could come over.
    fn sort(&mut self, record: Record) -> Option<(Account, Candidate)> {
        let Record { user, from, line, name, token, beside, remarks } = record;
        let account = match &user {
            Ok(name) => self.desk.account(name).map_err(|ending| ending.to_string()),
            Err(why) => Err(why.clone()),
        };
        let user = account.as_ref().map(|account| account.name.to_string()).ok().or(user.ok());
        let token = token.and_then(secret);
        let facts = token.as_ref().ok().map(Facts::of);
        let what = facts.as_ref().map_or_else(|| "key".to_owned(), Facts::in_words);
        let what = name.map_or_else(|| what.clone(), |name| format!("{what} ({name})"));
        let place = self.rows.len();
        let row = Row { user, from, line, what, outcome: Outcome::Refused, why: String::new(), device: None, facts };
        let beside = beside.into_iter().map(|(what, why)| Row {
            user: row.user.clone(),
            from: row.from.clone(),
            line: row.line,
            what,
            outcome: Outcome::NotTaken,
            why,
            device: None,
            facts: None,
        });
        let beside = beside.collect();
        self.rows.push(row);
        self.beside.push(beside);
        match (account, token) {
            (Ok(account), Ok(token)) => Some((account, Candidate { row: place, token, remarks })),
            (_, Err(why)) | (Err(why), _) => {
                self.tell(place, Outcome::Refused, why);
                None
            }
        }
    }

    /// The rows in the order of the records. What stands beside a device that is refused is of no interest.
    fn all_rows(self) -> Vec<Row> {
        let with_beside = self.rows.into_iter().zip(self.beside).flat_map(|(row, beside)| {
            let is_refused = row.outcome == Outcome::Refused;
            std::iter::once(row).chain(beside.into_iter().filter(move |_| !is_refused))
        });
        with_beside.collect()
    }

    fn tell(&mut self, row: usize, outcome: Outcome, why: impl Into<String>) {
        if let Some(row) = self.rows.get_mut(row) {
            (row.outcome, row.why) = (outcome, why.into());
        }
    }

    /// All devices of one person.
    fn person(&mut self, account: &Account, candidates: Vec<Candidate>) {
        let desk = self.desk;
        let occasion = Occasion { account, now: self.now, source: desk.source(), random: desk.random() };
        let begun = self
            .refuse_revoked(account)
            .and_then(|()| Ok(Import::begin(&self.vault, &occasion, &desk.policy.limits, self.manner.replace)?));
        let mut import = match begun {
            Ok(import) => import,
            Err(why) => {
                let why = why.to_string();
                candidates.iter().for_each(|candidate| self.tell(candidate.row, Outcome::Refused, why.clone()));
                return;
            }
        };
        let mut planned = Vec::new();
        for candidate in candidates {
            let row = candidate.row;
            match self.plan(account, &occasion, &mut import, candidate) {
                Ok(device) => planned.push(device),
                Err((outcome, why)) => self.tell(row, outcome, why),
            }
        }
        if planned.is_empty() {
            return;
        }
        let word = match (import.is_replacing(), import.is_beside()) {
            (true, _) => "replaced",
            (false, true) => "device_added",
            (false, false) => "enrolled",
        };
        let stored = if self.manner.dry_run { Ok(None) } else { self.store(&occasion, import).map(Some) };
        match stored {
            Ok(enrollment) => self.done(account, planned, enrollment, word),
            Err(why) => {
                let why = why.to_string();
                planned.iter().for_each(|device| self.tell(device.row, Outcome::Refused, why.clone()));
            }
        }
    }

    /// Nobody who was revoked comes back among many: that is an order for one who is named. State that cannot be read may
    /// be that of somebody who was revoked.
    fn refuse_revoked(&self, account: &Account) -> Result<(), Ending> {
        if self.is_named {
            return Ok(());
        }
        let (user, source) = (&account.name, self.source.name);
        let how = format!("only who is named comes back: qrtotp import {source} ... --user {user} --replace");
        let read = self.vault.room(account.uid).and_then(|room| room.map(|room| room.credentials()).transpose());
        match read {
            Ok(Some((Credentials { revoked: Some(revoked), .. }, _))) => {
                let reason = clean(&revoked.reason);
                Err(Ending::new(Code::Conflict, format!("{user} was revoked ({reason}); {how}")))
            }
            Ok(_) => Ok(()),
            Err(trouble) => Err(Ending::from(trouble).with(&format!("; {how}"))),
        }
    }

    /// Whether a device may come over, and as what.
    fn plan(
        &mut self,
        account: &Account,
        occasion: &Occasion<'_>,
        import: &mut Import,
        Candidate { row, token, mut remarks }: Candidate,
    ) -> Result<Planned, (Outcome, String)> {
        let (user, refused) = (account.name.as_str(), |why: String| (Outcome::Refused, why));
        if let Some(twin) = import.twin(&token.secret) {
            let label = quoted(twin.label.as_str());
            return Err(if twin.enabled {
                let weak = if twin.secret.is_weak() {
                    format!("; {}", weak_remark(twin.secret.bits(), user))
                } else {
                    String::new()
                };
                (Outcome::Here, format!("{label} of {user} has this very key{weak}"))
            } else {
                refused(format!(
                    "{label} of {user} has this key and is disabled; see: qrtotp device enable {user} {label}"
                ))
            });
        }
        if import.is_beside() && !self.manner.add {
            let why = format!("{user} is enrolled, and was left so");
            return Err(refused(format!("{why}; add the device with --add, or start afresh with --replace")));
        }
        let bits = token.secret.bits();
        if token.secret.is_weak() {
            if !self.manner.accept_weak {
                let how = "take it all the same with --accept-weak, or better make a new one";
                let why = format!("{bits} bits are too few to be safe (RFC 4226: 128)");
                return Err(refused(format!("{why}; {how}: qrtotp enroll {user}")));
            }
            remarks.push(weak_remark(bits, user));
        }
        remarks.extend(self.sharer(&token.secret, user).map(|other| {
            format!("{other} HAS THE SAME KEY: either can be the other; change one, with: qrtotp rotate {user}")
        }));
        let spent = match token.used {
            Used::None => None,
            Used::Upto(step) => Some(step),
            Used::NotKnown => Some(token.shape.step_at(self.now.wall)),
        };
        let period = token.shape.period();
        remarks.extend(spent.and_then(|step| spent_remark(step, token.shape.step_at(self.now.wall), period, user)));
        let draft = Draft::with(token.secret, token.shape, self.label.clone(), self.desk.random());
        let draft = draft.map_err(|error| refused(Ending::from(error).to_string()))?;
        let added = import.add(occasion, draft, spent, self.desk.policy.enrolling.max_devices);
        let (id, label) = added.map_err(|why| refused(Ending::from(why).to_string()))?;
        remarks.insert(0, format!("as {}", quoted(label.as_str())));
        let from = self.rows.get(row).map(|row| row.from.clone()).unwrap_or_default();
        Ok(Planned { row, id, label, from, why: remarks.join("; ") })
    }

    /// Somebody else who has the key.
    fn sharer(&mut self, secret: &Secret, user: &str) -> Option<String> {
        let enrolled = self.keys.owner_of(secret).map(|owned| owned.user.to_string());
        let number = secret.hashed_by(&self.hasher);
        let known = enrolled.or_else(|| self.owners.get(&number).cloned());
        self.owners.entry(number).or_insert_with(|| user.to_owned());
        known.filter(|known| known != user)
    }

    fn store(&self, occasion: &Occasion<'_>, import: Import) -> Result<EnrollmentId, Ending> {
        let (desk, account) = (self.desk, occasion.account);
        if self.manner.replace {
            // Who holds one could add a device to what starts afresh.
            issue::end_all(desk, &self.vault, account, "replaced")?;
        } else if import.is_beside() {
            // Waits for a login that changes the same user, and says so where it does not end.
            drop(desk.enrolled_to_change(&self.vault, account)?);
        }
        let enrollment = import.store(&self.vault, occasion, &desk.policy.limits)?;
        desk.forget_places(account.uid);
        Ok(enrollment)
    }

    /// Tells of what is stored, in the rows and in an event a device.
    fn done(&mut self, account: &Account, planned: Vec<Planned>, enrollment: Option<EnrollmentId>, word: &str) {
        for (number, device) in planned.into_iter().enumerate() {
            self.tell(device.row, Outcome::CameOver, device.why);
            let is_weak = self.rows.get(device.row).and_then(|row| row.facts.as_ref()).is_some_and(Facts::is_weak);
            let Some(enrollment) = enrollment else { continue };
            // Only the first one ends what was there.
            let word = if number == 0 { word } else { "device_added" };
            let reason = format!("{word}_import_{}_unverified", self.source.word);
            let mut event = self.desk.event(Kind::Enroll, account, &reason);
            event.device = Some((device.id, device.label.clone()));
            event.enrollment = Some(enrollment);
            let weak = if is_weak { "weak key, " } else { "" };
            event.detail = Some(Printable::new(format!("{weak}from {}", device.from).as_bytes()));
            self.desk.record(&event);
            if let Some(row) = self.rows.get_mut(device.row) {
                row.device = Some((device.id, device.label));
            }
        }
    }
}

/// A device whose key is one: what is zeroed, or one byte again and again, anybody guesses.
fn secret(token: Token) -> Result<Token, String> {
    if token.secret.is_constant() {
        return Err("no secret: every byte of the key is the same; make a new one with qrtotp enroll".to_owned());
    }
    Ok(token)
}

fn weak_remark(bits: usize, user: &str) -> String {
    format!("WEAK, {bits} bits: change it soon, with: qrtotp rotate {user}")
}

/// What a person has to know of codes that are spent: nothing where they are over anyway.
fn spent_remark(spent: Step, current: Step, period: u8, user: &str) -> Option<String> {
    let end = spent.offset(1).0.checked_mul(u64::from(period))?.checked_mul(1000).map(WallTime)?;
    match spent.since(current) {
        i64::MIN..0 => None,
        0..=10 => Some(format!("its codes count from {end} on")),
        _ => {
            let how = format!("if that is wrong: qrtotp unlock {user}");
            Some(format!("its clock was ahead, or the file is damaged: its codes count from {end} on; {how}"))
        }
    }
}
