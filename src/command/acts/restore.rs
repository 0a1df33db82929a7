//! `qrtotp restore`: takes enrollments over from a file of `handover`. The file is read whole and checked before anything changes;
//! then each user is put in place at once, or stays as he was.

mod plan;
mod register;

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::path::Path;

use qrtotp_core::budget::{Hit, State};
use qrtotp_core::events::{Kind, Printable};
use qrtotp_core::files::{self, Folder, Privacy, Trouble};
use qrtotp_core::vault::{Credentials, Device, Vault};
use qrtotp_core::words::{Account, Now, UserName};
use qrtotp_handover::seal::{self, Sealed};
use qrtotp_handover::{Content, Mark, Moved, Stage};
use rustix::fs::OFlags;
use serde_json::{Value, json};

use self::plan::{Here, Refusal, Step};
use self::register::Register;
use super::handover::{close, labels, open_again, recovery_left};
use crate::arguments::moving::RestoreOptions;
use crate::desk::{Desk, quoted};
use crate::ending::{Code, Ending};
use crate::passphrase;
use crate::screen::clean;

/// How old a file may be whose restore is the move itself, in milliseconds: in ten minutes nobody used codes elsewhere meanwhile.
const FRESH_MS: u64 = 10 * 60 * 1000;

/// Takes them over, or shows what would be done.
pub fn run(desk: &Desk, options: &RestoreOptions) -> Result<(), Ending> {
    let content = open(desk, options)?;
    let now = desk.now()?;
    if now.boot_id == [0; 8] {
        let what = "the kernel does not tell which boot this is (/proc); without that, attempts that were used would come back";
        return Err(Ending::new(Code::Untrusted, what));
    }
    let vault = desk.vault()?;
    let _exclusive = vault.exclusive()?;
    let renames = renames(options)?;
    let register = RefCell::new(Register::open(&vault)?);
    let restore = Restore { desk, vault: &vault, options, content: &content, now, register };
    let users = restore.chosen(&renames)?;
    let rows: Vec<_> = users.iter().map(|(moved, name)| restore.row(moved, name)).collect::<Result<_, _>>()?;
    restore.answer(&rows)?;
    match rows.iter().find_map(|row| row.result.as_ref().err()) {
        None => Ok(()),
        Some(refusal) => Err(Ending::silent(refusal.code())),
    }
}

/// Reads the file.
fn open(desk: &Desk, options: &RestoreOptions) -> Result<Content, Ending> {
    let path = &options.file;
    let wrong = |what: String| Ending::new(Code::Untrusted, format!("{}: {what}; nothing was changed", path.display()));
    let missing = || Ending::new(Code::Usage, format!("{}: is not there", path.display()));
    let why = "; who may write to it could enroll himself as anybody: copy it to where only root can write";
    let opened = open_guarded(path).map_err(|trouble| Ending::from(trouble).with(why))?;
    let fd = opened.ok_or_else(missing)?;
    let sealed = Sealed::parse(&files::read_all(&fd, path, seal::MOST)?).map_err(wrong)?;
    let plain = match &options.identity {
        Some(identity) => sealed.open_by_identities(&passphrase::identities(identity)?),
        None if sealed.wants_passphrase().map_err(wrong)? => {
            sealed.open_by_passphrase(&passphrase::known(desk, options.passphrase_file.as_deref())?)
        }
        None => return Err(wrong("is for a recipient; name the file with its identity by --identity".to_owned())),
    };
    Content::parse(&plain.map_err(wrong)?).map_err(|what| wrong(format!("cannot be used: {what}")))
}

/// Opens a file that nobody but root can have put there: it, its folder, and every folder above.
fn open_guarded(path: &Path) -> Result<Option<OwnedFd>, Trouble> {
    let fail = |error: std::io::Error| Trouble::new(path, error);
    let path = std::path::absolute(path).map_err(fail)?;
    let name = path.file_name().and_then(|name| name.to_str());
    let (Some(parent), Some(name)) = (path.parent(), name) else {
        return Err(Trouble::new(&path, "must be the name of a file"));
    };
    // As it is without links: each folder on the real way counts.
    let parent = match parent.canonicalize() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        parent => parent.map_err(fail)?,
    };
    parent.ancestors().skip(1).try_for_each(check_above)?;
    let Some(folder) = Folder::open(&parent, Privacy::ReadableByAll)? else { return Ok(None) };
    Ok(folder.file(name, OFlags::RDONLY, Privacy::ReadableByAll)?.map(|(fd, _)| fd))
}

/// A folder above: root's, and nobody else can move away what is root's in it. With the sticky bit, as /tmp has it, he cannot.
fn check_above(folder: &Path) -> Result<(), Trouble> {
    let stat = files::stat_path(folder)?.ok_or_else(|| Trouble::new(folder, "vanished"))?;
    let (is_open, is_sticky) = (stat.st_mode & 0o022 != 0, stat.st_mode & 0o1000 != 0);
    if stat.st_uid != 0 {
        return Err(Trouble::new(folder, format_args!("belongs to user id {}, not to root", stat.st_uid)));
    }
    if is_open && !is_sticky {
        return Err(Trouble::new(folder, format_args!("has mode {:03o}, open to others", stat.st_mode & 0o777)));
    }
    Ok(())
}

/// `--rename old=new`
fn renames(options: &RestoreOptions) -> Result<Vec<(UserName, UserName)>, Ending> {
    let parse = |text: &String| {
        let name = |name: &str| UserName::parse(name.as_bytes());
        let parts = text.split_once('=').and_then(|(old, new)| name(old).zip(name(new)));
        parts.ok_or_else(|| Ending::new(Code::Usage, format!("--rename takes OLD=NEW, not {}", quoted(text))))
    };
    options.renames.iter().map(parse).collect()
}

/// One run of the command.
struct Restore<'a> {
    desk: &'a Desk,
    vault: &'a Vault,
    options: &'a RestoreOptions,
    content: &'a Content,
    now: Now,
    register: RefCell<Register>,
}

/// What became of one enrollment, or would.
struct Row<'a> {
    moved: &'a Moved,
    name: UserName,
    account: Option<Account>,
    result: Result<Step, Refusal>,
    remarks: Vec<String>,
}

impl<'a> Restore<'a> {
    /// The enrollments that are wanted, each with the name that the user has here.
    fn chosen(&self, renames: &[(UserName, UserName)]) -> Result<Vec<(&'a Moved, UserName)>, Ending> {
        let no_such = |name: &str| Ending::new(Code::NoUser, format!("the file holds nothing of {}", quoted(name)));
        let in_file = |name: &UserName| self.content.users.iter().any(|moved| moved.credentials.user == *name);
        if let Some((old, _)) = renames.iter().find(|(old, _)| !in_file(old)) {
            return Err(no_such(old.as_str()));
        }
        let named = self.content.users.iter().map(|moved| {
            let renamed = renames.iter().find(|(old, _)| *old == moved.credentials.user).map(|(_, new)| new);
            (moved, renamed.unwrap_or(&moved.credentials.user).clone())
        });
        let named: Vec<_> = named.collect();
        for (at, (_, name)) in named.iter().enumerate() {
            if named.iter().skip(at.saturating_add(1)).any(|(_, other)| other == name) {
                let what = format!("two enrollments would be {name}'s; see --rename and --user");
                return Err(Ending::new(Code::Usage, what));
            }
        }
        let is_named = |user: &String| named.iter().any(|(_, name)| name.as_str() == user);
        if let Some(unknown) = self.options.users.iter().find(|user| !is_named(user)) {
            return Err(no_such(unknown));
        }
        let wanted = |name: &UserName| self.options.users.iter().any(|user| user == name.as_str());
        Ok(named.into_iter().filter(|(_, name)| self.options.users.is_empty() || wanted(name)).collect())
    }

    /// Decides, and does it unless it is only to be shown.
    fn row(&self, moved: &'a Moved, name: &UserName) -> Result<Row<'a>, Ending> {
        let account = self.desk.find(name.as_str())?;
        let mut row = Row {
            moved,
            name: name.clone(),
            account: account.clone(),
            result: Err(Refusal::NoUser),
            remarks: Vec::new(),
        };
        let Some(account) = account else { return Ok(row) };
        let here = Here::look(self.vault, &account, moved);
        let was_here = self.register.borrow().knows(self.content.id, moved.credentials.enrollment);
        row.result = plan::decide(moved, &here, was_here, self.content.id, self.options.replace);
        row.remarks = here.remarks(moved, row.result.as_ref().ok());
        if row.result.is_ok() && self.is_behind() && recovery_left(moved) > 0 {
            let what = "recovery codes that were used since the file was made are not known; make new ones";
            row.remarks.push(format!("{what}: qrtotp recovery {name}"));
        }
        let step = match &row.result {
            Ok(step) if !self.options.dry_run => *step,
            _ => return Ok(row),
        };
        match self.put_in_place_once(moved, &account, &here, step) {
            Ok(()) => self.record(moved, &account, step),
            Err(ending) => row.result = Err(Refusal::Failed(ending.to_string())),
        }
        Ok(row)
    }

    /// Whether codes may have been used since the file was made: somewhere else, or here, where that is not known any more.
    fn is_behind(&self) -> bool {
        let age = self.now.wall.0.checked_sub(self.content.made.0);
        self.content.kept || age.is_none_or(|age| age > FRESH_MS)
    }

    /// Notes first that the file was used, so that nothing that stops the command makes it good twice.
    fn put_in_place_once(&self, moved: &Moved, account: &Account, here: &Here, step: Step) -> Result<(), Ending> {
        let (id, enrollment) = (self.content.id, moved.credentials.enrollment);
        let was_here = self.register.borrow().knows(id, enrollment);
        self.register.borrow_mut().note(id, enrollment)?;
        self.put_in_place(moved, account, here, step).map_err(|ending| {
            let taken_back = if was_here { Ok(()) } else { self.register.borrow_mut().take_back(id, enrollment) };
            match taken_back {
                Ok(()) => ending,
                Err(stays) => ending.with(&format!("; {stays}; try again with --replace")),
            }
        })
    }

    /// What is in force here of the same enrollment is closed first, so that nothing is used any more while it is read.
    fn put_in_place(&self, moved: &Moved, account: &Account, here: &Here, step: Step) -> Result<(), Ending> {
        if !here.is_in_force() || !here.is_of(moved) {
            return self.install(moved, account, here, step);
        }
        let file = self.options.file.to_string_lossy().into_owned();
        close(self.desk, self.vault, account, &Mark { id: self.content.id, stage: Stage::Arriving, file })?;
        self.install(moved, account, here, step).map_err(|ending| {
            let Err(stays) = open_again(self.desk, self.vault, account, None) else { return ending };
            let user = &account.name;
            ending.with(&format!("; {user} stays closed ({stays}): qrtotp handover --abort --user {user}"))
        })
    }

    /// One rename puts everything in place.
    fn install(&self, moved: &Moved, account: &Account, here: &Here, step: Step) -> Result<(), Ending> {
        let credentials = arrived(&moved.credentials, account)?;
        let state = self.state(moved, account, here)?;
        self.vault.install_moved(&credentials, state, step != Step::Fresh)?;
        self.desk.forget_places(account.uid);
        // Whoever is enrolled has no use for what is left of it.
        let _ = self.vault.forget_grace(account.uid);
        Ok(())
    }

    /// What was used there, and what was used here of the same enrollment. All codes up to now are refused: whether the file was
    /// restored elsewhere, or here before, and a code used there, nobody knows.
    fn state(&self, moved: &Moved, account: &Account, here: &Here) -> Result<State, Ending> {
        let mut state = moved.state.clone().arrived(&self.now, moved.credentials.uid, account.uid);
        let Credentials { devices, recovery, .. } = &moved.credentials;
        if here.is_of(moved) {
            let mut known = plan::known_here(self.vault, account, &self.desk.policy.limits)?;
            known.pass_time(&self.now);
            let devices: Vec<_> = devices.iter().map(|device| device.id).collect();
            let recovery: Vec<_> = recovery.iter().map(|kept| kept.selector).collect();
            state = state.stricter(&known, &devices, &recovery);
        }
        let future = i64::from(self.desk.policy.window.future);
        let newest = |device: &Device| device.shape.step_at(self.now.wall).offset(future);
        state.refuse_up_to(devices.iter().map(|device| Hit { device: device.id, step: newest(device) }));
        Ok(state)
    }

    /// One event for each authenticator that is bound here now.
    fn record(&self, moved: &Moved, account: &Account, step: Step) {
        let content = self.content;
        let from = format!("from {}, made {}, handover {}", content.host, content.made, content.id);
        let event = |kind: Kind, reason: &str| {
            let mut event = self.desk.event(kind, account, reason);
            event.enrollment = Some(moved.credentials.enrollment);
            event.detail = Some(Printable::new(from.as_bytes()));
            event
        };
        if let Some(revoked) = &moved.credentials.revoked {
            return self.desk.record(&event(Kind::Revoke, &revoked.reason));
        }
        // The first one ends what was bound before.
        let mut reason = if step == Step::Fresh { "restored" } else { "replaced" };
        for device in &moved.credentials.devices {
            let mut event = event(Kind::Restore, reason);
            event.device = Some((device.id, device.label.clone()));
            self.desk.record(&event);
            reason = "restored";
        }
        if !moved.credentials.recovery.is_empty() {
            self.desk.record(&event(Kind::Restore, "restored"));
        }
    }

    fn answer(&self, rows: &[Row<'_>]) -> Result<(), Ending> {
        let (content, dry_run) = (self.content, self.options.dry_run);
        let users: Vec<_> = rows.iter().map(|row| row.to_json(dry_run)).collect();
        let value = json!({
            "handover": content.id.to_string(),
            "host": content.host,
            "made": content.made.to_string(),
            "by": content.by,
            "kept": content.kept,
            "dry_run": dry_run,
            "users": users,
        });
        let cells = rows.iter().map(|row| row.cells(content, dry_run)).collect();
        let table = self.desk.screen.table(&["USER", "UID", "DEVICES", "RECOVERY", "FROM", "MADE", "WHAT"], cells);
        for row in rows {
            row.remarks.iter().for_each(|remark| self.desk.screen.remark(&format!("qrtotp: {}: {remark}", row.name)));
        }
        if content.kept && rows.iter().any(|row| row.result.is_ok()) {
            let what = "may still be in force there: codes could be used on both machines";
            self.desk.screen.remark(&format!("qrtotp: this is a backup; the enrollments on {} {what}", content.host));
        }
        self.desk.screen.answer(&value, &table)?;
        if !dry_run && rows.iter().all(|row| row.result.is_ok()) {
            let path = clean(&self.options.file.to_string_lossy());
            self.desk.screen.remark(&format!("qrtotp: {path} still holds the keys; destroy it once logins work"));
        }
        Ok(())
    }
}

/// The credentials as they stand here: under the name and the user id that the user has on this machine. Keys cannot be cloned;
/// written and read they can.
fn arrived(moved: &Credentials, account: &Account) -> Result<Credentials, Ending> {
    let copy = Credentials::parse(&moved.to_text()).map_err(|what| Ending::new(Code::Untrusted, what))?;
    Ok(Credentials { user: account.name.clone(), uid: account.uid, ..copy })
}

impl Row<'_> {
    fn what(&self, dry_run: bool) -> String {
        match &self.result {
            Ok(step) => step.in_words(self.moved.credentials.revoked.is_some(), dry_run),
            Err(refusal) => format!("refused: {}", clean(&refusal.to_string())),
        }
    }

    fn cells(&self, content: &Content, dry_run: bool) -> Vec<String> {
        let credentials = &self.moved.credentials;
        vec![
            self.name.to_string(),
            self.account.as_ref().map_or_else(|| "-".to_owned(), |account| account.uid.0.to_string()),
            labels(credentials).join(", "),
            recovery_left(self.moved).to_string(),
            content.host.clone(),
            content.made.to_string().get(..16).unwrap_or_default().replace('T', " "),
            self.what(dry_run),
        ]
    }

    fn to_json(&self, dry_run: bool) -> Value {
        let credentials = &self.moved.credentials;
        json!({
            "user": self.name,
            "was_named": credentials.user,
            "uid": self.account.as_ref().map(|account| account.uid),
            "enrollment": credentials.enrollment,
            "devices": labels(credentials),
            "recovery_left": recovery_left(self.moved),
            "revoked": credentials.revoked.is_some(),
            "done": self.result.is_ok() && !dry_run,
            "refused": self.result.as_ref().err().map(Refusal::word),
            "what": self.what(dry_run),
            "remarks": self.remarks,
        })
    }
}
