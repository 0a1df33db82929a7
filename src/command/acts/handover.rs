//! `qrtotp handover`: enrollments are written into a file for another machine, and end here.
//!
//! The order, so that whatever stops it loses nothing, and a code that was used here never counts there again:
//! 1. the place of the file is taken, with as much space as it needs;
//! 2. the enrollments are closed: logins are refused from now on, the keys stay;
//! 3. what was used is read, for nobody uses anything any more, and the file is written, read back, and gets its name;
//! 4. the keys go.
//!
//! A failure before the file has its name opens the enrollments again. What is interrupted leaves closed ones, which the next
//! `handover` takes along, and which `--abort` opens again.

mod target;

use qrtotp_core::events::{Kind, Printable};
use qrtotp_core::vault::{Credentials, LockedRoom, Locking, Revocation, Room, Vault};
use qrtotp_core::words::{Account, WallTime};
use qrtotp_handover::content::{HandoverId, Moved};
use qrtotp_handover::seal::Seal;
use qrtotp_handover::{Content, Mark, Stage};
use serde_json::{Value, json};

use self::target::Target;
use super::{issue, print};
use crate::arguments::moving::HandoverOptions;
use crate::desk::Desk;
use crate::ending::{Code, Ending};
use crate::passphrase;
use crate::screen::{clean, counted};

/// Writes the file, or opens again what an interrupted run has closed.
pub fn run(desk: &Desk, options: &HandoverOptions) -> Result<(), Ending> {
    let vault = desk.vault()?;
    let _exclusive = vault.exclusive()?;
    let accounts = accounts(desk, &vault, options)?;
    let Some(file) = &options.file else { return abort(desk, &vault, &accounts) };
    let target = Target::new(file)?;
    let seal = seal(desk, options)?;
    let handover = Handover::new(desk, &vault, options, &target)?;
    let draft = handover.content(&accounts, Closing::Open)?;
    let target = target.reserve(draft.to_bytes().map_err(no)?.len())?;
    drop(draft);
    let closed = match handover.close_all(&accounts) {
        Ok(closed) => closed,
        Err(ending) => return Err(target.discard(ending)),
    };
    let written = handover.content(&accounts, if options.keep { Closing::Open } else { Closing::Closed });
    let written = written.and_then(|content| {
        let bytes = content.to_bytes().map_err(no)?;
        target.write(&seal.close(&bytes, options.armor).map_err(no)?)?;
        Ok(content)
    });
    match written {
        Ok(content) => handover.finish(&content, &closed, &target),
        Err(ending) => Err(target.discard(handover.reopen(&closed, ending))),
    }
}

fn no(what: String) -> Ending {
    Ending::new(Code::No, what)
}

fn seal(desk: &Desk, options: &HandoverOptions) -> Result<Seal, Ending> {
    let wrong = |what: String| Ending::new(Code::Usage, format!("--recipient: {what}"));
    if !options.recipients.is_empty() {
        return Seal::for_recipients(&options.recipients).map_err(wrong);
    }
    let passphrase = passphrase::chosen(desk, options.passphrase_file.as_deref())?;
    Seal::for_passphrase(&passphrase).map_err(no)
}

/// Whose enrollments: those named, or everybody's but what was handed over before.
fn accounts(desk: &Desk, vault: &Vault, options: &HandoverOptions) -> Result<Vec<Account>, Ending> {
    if !options.all {
        let mut accounts: Vec<Account> = Vec::new();
        for user in &options.users {
            let account = desk.owner(vault, user)?;
            if !accounts.contains(&account) {
                accounts.push(account);
            }
        }
        return Ok(accounts);
    }
    let mut accounts = Vec::new();
    for uid in vault.uids()? {
        let Some(room) = vault.room(uid)? else { continue };
        let (credentials, _) = room.credentials()?;
        let is_gone = Mark::of(&credentials).is_some_and(|mark| mark.stage == Stage::Moved);
        let is_wanted = if options.abort { Mark::of_interrupted(&credentials).is_some() } else { !is_gone };
        if is_wanted {
            accounts.push(Account { name: credentials.user, uid });
        }
    }
    let nobody = if options.abort { "no handover was interrupted here" } else { "nobody is enrolled here" };
    if accounts.is_empty() { Err(Ending::new(Code::NotEnrolled, nobody)) } else { Ok(accounts) }
}

/// Whether logins go on while an enrollment is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Closing {
    Open,
    Closed,
}

/// One run of the command.
struct Handover<'a> {
    desk: &'a Desk,
    vault: &'a Vault,
    mark: Mark,
    time: WallTime,
    keep: bool,
}

/// An enrollment that was closed, and what its tombstone was before that.
struct Closed {
    account: Account,
    before: Option<Revocation>,
}

impl<'a> Handover<'a> {
    fn new(desk: &'a Desk, vault: &'a Vault, options: &HandoverOptions, target: &Target) -> Result<Self, Ending> {
        let mut id = [0; 8];
        desk.random().fill(&mut id)?;
        let mark =
            Mark { id: HandoverId(id), stage: Stage::UnderWay, file: target.path().to_string_lossy().into_owned() };
        Ok(Self { desk, vault, mark, time: desk.now()?.wall, keep: options.keep })
    }

    /// Everything that the file will hold, as it is now.
    fn content(&self, accounts: &[Account], closing: Closing) -> Result<Content, Ending> {
        let users = accounts.iter().map(|account| self.read(account, closing)).collect::<Result<_, _>>()?;
        Ok(Content {
            id: self.mark.id,
            host: qrtotp_system::host_name(),
            made: self.time,
            by: self.desk.caller(),
            kept: self.keep,
            users,
        })
    }

    fn read(&self, account: &Account, closing: Closing) -> Result<Moved, Ending> {
        let room = self.vault.room(account.uid)?.ok_or_else(|| Ending::not_enrolled(account.name.as_str()))?;
        let (mut credentials, _) = room.credentials()?;
        refuse_others(&credentials, account)?;
        let journal = room.journal(&credentials)?;
        let (mut state, _) = journal.read()?.fold(&self.desk.policy.limits);
        state.pass_time(&self.desk.now()?);
        match (Mark::of(&credentials), credentials.devices.is_empty()) {
            (Some(mark), true) if mark.stage == Stage::Moved => return Err(moved_before(account, &mark)),
            (Some(_), false) if self.keep => return Err(interrupted(account)),
            // Closed, by this run or by one that was interrupted: there it is in force again.
            (Some(_), false) => credentials.revoked = None,
            (None, false) if closing == Closing::Closed => return Err(opened_between(account)),
            // A tombstone moves as it is.
            (_, _) => {}
        }
        Ok(Moved { credentials, state })
    }

    /// Closes every enrollment that is in force, or none.
    fn close_all(&self, accounts: &[Account]) -> Result<Vec<Closed>, Ending> {
        let mut closed = Vec::new();
        for account in accounts.iter().filter(|_| !self.keep) {
            match close(self.desk, self.vault, account, &self.mark) {
                Ok(Some(before)) => closed.push(Closed { account: account.clone(), before }),
                // A tombstone moves as it is.
                Ok(None) => {}
                Err(ending) => return Err(self.reopen(&closed, ending)),
            }
        }
        Ok(closed)
    }

    /// Opens them again after a failure, which is told with what could not be opened.
    fn reopen(&self, closed: &[Closed], mut ending: Ending) -> Ending {
        for Closed { account, before } in closed {
            if let Err(trouble) = open_again(self.desk, self.vault, account, before.clone()) {
                let user = &account.name;
                ending = ending.with(&format!(
                    "\n{user} stays closed ({trouble}); nothing is lost; mend that, and run: qrtotp handover --abort --user {user}"
                ));
            }
        }
        ending
    }

    /// The file is complete: the keys go. What cannot be removed stays refused.
    fn finish(&self, content: &Content, closed: &[Closed], target: &Target) -> Result<(), Ending> {
        let mut failed = Vec::new();
        let mut tickets = 0_usize;
        for Closed { account, .. } in closed {
            match self.bury(account) {
                Ok(ended) => tickets = tickets.saturating_add(ended),
                Err(ending) => failed.push((format!("the keys of {}", account.name), ending)),
            }
        }
        content.users.iter().for_each(|moved| self.record(moved));
        self.answer(content, tickets, target)?;
        if failed.is_empty() {
            return Ok(());
        }
        let what = "the file is complete, and those it holds are refused here; but not everything went; run qrtotp revoke for:";
        Err(Ending::of_list(what, failed))
    }

    /// Puts the tombstone in place, and ends what could enroll somebody again. Gives how many tickets that were.
    fn bury(&self, account: &Account) -> Result<usize, Ending> {
        let ended = issue::end_all(self.desk, self.vault, account, "handed_over");
        let reason = Mark { stage: Stage::Moved, ..self.mark.clone() }.to_string();
        let (room, mut credentials) = locked(self.vault, account)?;
        credentials.revoked = Some(Revocation { time: self.time, reason });
        credentials.devices.clear();
        credentials.recovery.clear();
        if let Err(trouble) = room.replace_credentials_if(&credentials, || Ok(())) {
            // As for a revocation: removing takes no space.
            room.forget()?;
            return Err(Ending::from(trouble).with("; they were removed all the same, and the state counts as damaged"));
        }
        room.check_in_place(self.vault)?;
        self.desk.forget_places(account.uid);
        ended
    }

    fn record(&self, moved: &Moved) {
        let account = Account { name: moved.credentials.user.clone(), uid: moved.credentials.uid };
        let reason = if self.keep { "kept" } else { "handed_over" };
        let mut event = self.desk.event(Kind::Handover, &account, reason);
        event.enrollment = Some(moved.credentials.enrollment);
        event.detail = Some(Printable::new(format!("handover {}, with {}", self.mark.id, self.mark.file).as_bytes()));
        self.desk.record(&event);
    }

    fn answer(&self, content: &Content, tickets: usize, target: &Target) -> Result<(), Ending> {
        let users: Vec<_> = content.users.iter().map(|moved| self.to_json(moved)).collect();
        let value = json!({
            "file": target.path(),
            "handover": self.mark.id.to_string(),
            "made": self.time.to_string(),
            "kept": self.keep,
            "tickets_ended": tickets,
            "users": users,
        });
        let file = clean(&target.path().to_string_lossy());
        let here = if self.keep {
            "and stay in force here: after a restore, codes could be used on both machines"
        } else {
            "and are refused here from now on"
        };
        let enrollments = counted(content.users.len(), "enrollment");
        let mut lines = vec![format!("{enrollments} written to {file}, {here}")];
        lines.extend(content.users.iter().map(|moved| format!("  {}", line(moved))));
        lines.push(format!("on the other machine: qrtotp restore {file}; then destroy the file"));
        if tickets > 0 {
            lines.push(format!("{} ended; make new ones there", counted(tickets, "ticket")));
        }
        self.tell_of_pictures(content)?;
        if target.is_volatile() {
            self.desk.screen.remark(&format!("qrtotp: {file} is in memory only, and gone after a reboot: move it"));
        }
        self.desk.screen.answer(&value, &lines.join("\n"))
    }

    /// Pictures of keys that lie around here show keys that are good there.
    fn tell_of_pictures(&self, content: &Content) -> Result<(), Ending> {
        let left = print::left(self.vault)?;
        let is_of = |uid| content.users.iter().any(|moved| moved.credentials.uid == uid);
        for picture in left.iter().filter(|picture| is_of(picture.uid)) {
            let path = clean(&picture.path.to_string_lossy());
            self.desk.screen.remark(&format!("qrtotp: {path} holds a key that moves; destroy it"));
        }
        Ok(())
    }

    fn to_json(&self, moved: &Moved) -> Value {
        let credentials = &moved.credentials;
        json!({
            "user": credentials.user,
            "uid": credentials.uid,
            "enrollment": credentials.enrollment,
            "devices": labels(credentials),
            "recovery_left": recovery_left(moved),
            "revoked": credentials.revoked.is_some(),
        })
    }
}

fn line(moved: &Moved) -> String {
    let credentials = &moved.credentials;
    match &credentials.revoked {
        Some(revoked) => format!("{}: revoked, {}", credentials.user, clean(&revoked.reason)),
        None => {
            let codes = counted(recovery_left(moved), "recovery code");
            format!("{}: {}; {codes} left", credentials.user, labels(credentials).join(", "))
        }
    }
}

/// What the devices of an enrollment are called.
pub fn labels(credentials: &Credentials) -> Vec<String> {
    credentials.devices.iter().map(|device| device.label.to_string()).collect()
}

/// Recovery codes that can still be used.
pub fn recovery_left(moved: &Moved) -> usize {
    moved.credentials.recovery.iter().filter(|kept| !moved.state.spent.contains(&kept.selector)).count()
}

fn refuse_others(credentials: &Credentials, account: &Account) -> Result<(), Ending> {
    if credentials.user == account.name && credentials.uid == account.uid {
        return Ok(());
    }
    let what =
        format!("the state of user id {} belongs to {}, not to {}", account.uid.0, credentials.user, account.name);
    Err(Ending::new(Code::Conflict, format!("{what}; see: qrtotp gc")))
}

fn moved_before(account: &Account, mark: &Mark) -> Ending {
    Ending::new(Code::Conflict, format!("{} is on another machine: {}", account.name, clean(&mark.to_string())))
}

fn opened_between(account: &Account) -> Ending {
    Ending::new(Code::Conflict, format!("{} was changed in the meantime; try again", account.name))
}

fn interrupted(account: &Account) -> Ending {
    let user = &account.name;
    let what =
        format!("a handover of {user} was interrupted; finish it without --keep, or run: qrtotp handover --abort");
    Ending::new(Code::Conflict, format!("{what} --user {user}"))
}

/// Closes an enrollment: logins are refused from the moment in which this returns, and what was used by then stands in its
/// journal. The keys stay. Gives what its tombstone was; `None` where there are no keys.
pub fn close(desk: &Desk, vault: &Vault, account: &Account, mark: &Mark) -> Result<Option<Option<Revocation>>, Ending> {
    let (room, mut credentials) = locked(vault, account)?;
    if credentials.devices.is_empty() {
        return Ok(None);
    }
    let before = credentials.revoked.replace(Revocation { time: desk.now()?.wall, reason: mark.to_string() });
    room.replace_credentials_if(&credentials, || Ok(()))?;
    room.check_in_place(vault)?;
    Ok(Some(before))
}

/// Gives an enrollment that was closed the tombstone back that it had before, or none.
pub fn open_again(desk: &Desk, vault: &Vault, account: &Account, revoked: Option<Revocation>) -> Result<(), Ending> {
    let (room, mut credentials) = locked(vault, account)?;
    credentials.revoked = revoked;
    desk.replace(vault, &room, &credentials)
}

/// The folder of somebody, whom a login may hold for a moment.
fn locked(vault: &Vault, account: &Account) -> Result<(LockedRoom, Credentials), Ending> {
    let user = account.name.as_str();
    match Desk::wait_for(|| vault.try_lock(account.uid))? {
        Locking::Locked(room) => {
            let (credentials, _) = Room::credentials(&room)?;
            Ok((room, credentials))
        }
        Locking::Missing => Err(Ending::not_enrolled(user)),
        Locking::Busy(_) => Err(Ending::held_by_login(user)),
    }
}

/// Opens again what was closed. Where the file got its name, the keys may be elsewhere by now.
fn abort(desk: &Desk, vault: &Vault, accounts: &[Account]) -> Result<(), Ending> {
    let mut opened = Vec::new();
    for account in accounts {
        let room = vault.room(account.uid)?.ok_or_else(|| Ending::not_enrolled(account.name.as_str()))?;
        let (credentials, _) = room.credentials()?;
        let Some(mark) = Mark::of_interrupted(&credentials) else {
            return Err(Ending::new(Code::Conflict, format!("no handover of {} was interrupted", account.name)));
        };
        if mark.stage == Stage::UnderWay && std::fs::symlink_metadata(&mark.file).is_ok() {
            let what = "was written, and holds the keys; destroy it first, or finish with: qrtotp handover";
            return Err(Ending::new(Code::Conflict, format!("{} {what}", clean(&mark.file))));
        }
        open_again(desk, vault, account, None)?;
        // What the file would have become; the next one of the name would remove it too.
        let _ = std::fs::remove_file(qrtotp_core::files::arriving(&mark.file));
        let mut event = desk.event(Kind::Handover, account, "aborted");
        event.enrollment = Some(credentials.enrollment);
        event.detail = Some(Printable::new(format!("handover {}", mark.id).as_bytes()));
        desk.record(&event);
        opened.push(account.name.to_string());
    }
    let text = format!("{} in force again", opened.join(", "));
    desk.screen.answer(&json!({ "opened": opened }), &text)
}
