//! `qrtotp enable` and `qrtotp disable`: a service's files changed so that nobody locks himself out by it.
//!
//! In this order: what would be wrong (the doctor, on the stack as it would be), the difference, a login by a copy of the
//! stack, word of the change on disk, somebody who watches over it, and only then the change. It stays if a fresh login
//! with a code through that service is seen in time.

mod guard;
pub mod plan;
mod rehearsal;
mod sshd;

use std::path::{Path, PathBuf};

use qrtotp_core::calendar::duration;
use qrtotp_core::events::Kind;
use qrtotp_core::words::Uid;
use qrtotp_hosts::finding::{Finding, Severity};
use qrtotp_hosts::stack::edit::{self, Factor};
use qrtotp_hosts::stack::judge;
use qrtotp_trial::Script;
use serde_json::{Value, json};

use self::guard::End;
pub use self::guard::seconds_left;
use self::plan::{Change, Pending, Plan};
pub use self::rehearsal::try_login;
use super::status::{self, Condition};
use super::{doctor, policy};
use crate::arguments::switching::{DisableOptions, EnableOptions, FactorChoice, GuardOptions};
use crate::desk::Desk;
use crate::ending::{Code, Ending};
use crate::machine::Machine;

/// Shortest and longest time to confirm, in milliseconds.
const CONFIRM: std::ops::RangeInclusive<u64> = 30_000..=3_600_000;
/// Where service files lie that an administrator changes.
const SERVICES: &str = "/etc/pam.d";

/// Watches over a change, see [`mod@guard`]. It opens no policy: what is wrong with that must not keep it from its work.
pub fn guard(config: &Path, options: &GuardOptions) -> Result<(), Ending> {
    guard::run(config, options.service.as_deref())
}

/// Switches a service on.
pub fn enable(desk: &Desk, options: &EnableOptions) -> Result<(), Ending> {
    let service = options.service.as_str();
    let confirm = confirm_time(options)?;
    let factor = factor(options)?;
    let file = service_file(service)?;
    let pending = Pending::beside(&desk.config);
    if !options.dry_run {
        refuse_pending(&pending, service)?;
    }
    let (changes, proposed) = changes_on(desk, options, factor, &file)?;
    let diagnosis = doctor::examine(&desk.config, Some(service), &proposed);
    if changes.is_empty() {
        if judge::is_bad(&diagnosis.findings) {
            return refuse_bad(desk, service, &diagnosis.findings, &changes);
        }
        let text = format!("{service} asks for a code already; nothing was changed");
        return desk.screen.answer(&answer(service, "already", &changes, None), &text);
    }
    let user = caller(desk)?;
    if !options.unconfirmed && !options.dry_run {
        refuse_who_cannot_confirm(desk, &user, service)?;
    }
    refuse_bad(desk, service, &diagnosis.findings, &changes)?;
    if options.dry_run {
        let text = format!("{service} would be changed like that; nothing was changed");
        return desk.screen.answer(&answer(service, "dry_run", &changes, None), &text);
    }
    if !agree(desk, options.yes, &format!("Switch {service} on?"))? {
        return Err(Ending::new(Code::No, "nothing was changed"));
    }
    if let Some(change) = changes.iter().find(|change| change.path == file) {
        let asks_password = factor == Factor::Password;
        let text = change.after.clone().unwrap_or_default();
        let config = desk.config.clone();
        let script = Script {
            service: service.to_owned(),
            text,
            file,
            config,
            asks_password,
            folders: rehearsal::faillock_folders(service, &proposed),
        };
        rehearsal::heed_trial(desk, &script, options.unconfirmed)?;
    }
    switch_on(desk, &pending, options, factor, user, confirm, changes)
}

/// Switches a service off: what `enable` has put in is taken out.
pub fn disable(desk: &Desk, options: &DisableOptions) -> Result<(), Ending> {
    let service = options.service.as_str();
    let changes = changes_off(service, service_file(service)?)?;
    let pending = Pending::beside(&desk.config);
    if changes.is_empty() {
        if pending.is_held(service) {
            let what = format!("a change of {service} is being made at this moment; try again");
            return Err(Ending::new(Code::Conflict, what));
        }
        if !options.dry_run {
            // What a command that was killed has noted, and not done.
            pending.forget(service)?;
        }
        let text = format!("{service} asks for no code; nothing was changed");
        return desk.screen.answer(&answer(service, "already", &changes, None), &text);
    }
    show(desk, &[], &changes)?;
    if options.dry_run {
        let text = format!("{service} would be changed like that; nothing was changed");
        return desk.screen.answer(&answer(service, "dry_run", &changes, None), &text);
    }
    if !agree(desk, options.yes, &format!("Switch {service} off?"))? {
        return Err(Ending::new(Code::No, "nothing was changed"));
    }
    let backup = back_up(desk, &pending, service, &changes)?;
    let plan = plan(desk, service, changes, caller(desk)?, 0)?;
    // What a guard still watches over is forgotten last: it would take the same back.
    plan.make()?;
    plan.settle();
    pending.forget(service)?;
    if sshd::is_changed(&plan) {
        sshd::check(None).and_then(|()| sshd::reload()).map_err(|what| Ending::new(Code::Untrusted, what))?;
    }
    guard::record(&desk.config, Kind::SwitchOff, &plan, "by_command", "");
    let text = format!("{service} asks for no code any more");
    desk.screen.answer(&answer(service, "off", &plan.changes, backup.as_deref()), &text)
}

/// The files without what `enable` has put in; nothing where that is nowhere.
fn changes_off(service: &str, file: PathBuf) -> Result<Vec<Change>, Ending> {
    let machine = Machine::new();
    let before = text_of(&file)?;
    let wrong = |why: String| Ending::new(Code::Conflict, format!("{}: {why}", file.display()));
    let mut changes = Vec::new();
    match edit::without_module(&before).map_err(wrong)? {
        Some(after) => {
            if judge::is_open(service, &Machine::with(service, &after)) {
                let what = format!(
                    "without the code, {service} would ask for nothing at all; change {} by hand",
                    file.display()
                );
                return Err(Ending::new(Code::No, what));
            }
            changes.push(Change { path: file, before: Some(before), after: Some(after) });
        }
        None => {
            if let Some(place) = edit::by_hand(service, &machine) {
                let what = format!("{place} was not written by qrtotp enable; take that line out by hand");
                return Err(Ending::new(Code::Conflict, what));
            }
        }
    }
    if service == "sshd" {
        changes.extend(sshd::removal());
    }
    Ok(changes)
}

fn confirm_time(options: &EnableOptions) -> Result<u64, Ending> {
    let wrong = || Ending::new(Code::Usage, "--confirm takes a time from 30s to 1h, like 120s or 5m");
    duration(&options.confirm).filter(|time| CONFIRM.contains(time)).ok_or_else(wrong)
}

fn factor(options: &EnableOptions) -> Result<Factor, Ending> {
    let service = options.service.as_str();
    if options.sshd_config && service != "sshd" {
        return Err(Ending::new(Code::Usage, "--sshd-config is for the service sshd"));
    }
    match (options.factor, service) {
        (Some(FactorChoice::Key), "sshd") => Ok(Factor::Key),
        (Some(FactorChoice::Key), _) => {
            Err(Ending::new(Code::Usage, "--factor key is for sshd, which looks at keys; others ask for the password"))
        }
        (None, "sshd") => Err(Ending::new(
            Code::Usage,
            "say what comes before the code: --factor key (keys, and no password any more) or --factor password",
        )),
        (Some(FactorChoice::Password) | None, _) => Ok(Factor::Password),
    }
}

/// The file of a service, which must be a file of its own.
fn service_file(service: &str) -> Result<PathBuf, Ending> {
    let is_odd = |c: char| c == '/' || c.is_control() || c.is_uppercase();
    let is_name = !service.is_empty() && !service.starts_with('.') && !service.contains(is_odd);
    let file = Path::new(SERVICES).join(service);
    match std::fs::symlink_metadata(&file) {
        _ if !is_name => Err(Ending::new(Code::Usage, "the service is the name of a file in /etc/pam.d")),
        Ok(metadata) if metadata.is_file() => Ok(file),
        Ok(metadata) if metadata.is_symlink() => {
            let what =
                format!("{} is a link, so another program manages it (authselect?); change it there", file.display());
            Err(Ending::new(Code::Conflict, what))
        }
        Ok(_) => Err(Ending::new(Code::Conflict, format!("{}: is no file", file.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Ending::new(Code::Usage, format!("there is no service {service}: {} is not there", file.display())))
        }
        Err(error) => Err(Ending::new(Code::Untrusted, format!("{}: {error}", file.display()))),
    }
}

/// What the file of a service says. It is changed as text, so it must be text.
fn text_of(file: &Path) -> Result<String, Ending> {
    let bytes =
        std::fs::read(file).map_err(|error| Ending::new(Code::Untrusted, format!("{}: {error}", file.display())))?;
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(good).filter(|byte| **byte == b'\n').count().saturating_add(1);
        let what = format!("{}:{line}: has bytes that are not UTF-8; mend them first (iconv)", file.display());
        Ending::new(Code::Untrusted, what)
    })
}

fn refuse_pending(pending: &Pending, service: &str) -> Result<(), Ending> {
    match pending.read(service)? {
        None => Ok(()),
        Some(plan) if pending.is_held(service) => {
            let left = seconds_left(&plan);
            let what = format!(
                "a change of {service} waits for a login of {}, {left} seconds more; wait, or: qrtotp disable {service}",
                plan.user
            );
            Err(Ending::new(Code::Conflict, what))
        }
        Some(_) => {
            let what =
                format!("a change of {service} was left unconfirmed; take it back first: qrtotp disable {service}");
            Err(Ending::new(Code::Conflict, what))
        }
    }
}

/// The files as they would be: the service's, and sshd's; and the machine as it would be then.
fn changes_on(
    desk: &Desk,
    options: &EnableOptions,
    factor: Factor,
    file: &Path,
) -> Result<(Vec<Change>, Machine), Ending> {
    let service = options.service.as_str();
    let mut machine = Machine::new();
    let mut changes = Vec::new();
    if !judge::asks(service, &machine) {
        let no = |why| Ending::new(Code::No, format!("{service} cannot be switched on: {why}"));
        let before = Some(text_of(file)?);
        let after = edit::with_module(service, &machine, factor, &plan::line(&desk.config)).map_err(no)?;
        machine = Machine::with(service, &after);
        changes.push(Change { path: file.to_owned(), before, after: Some(after) });
    } else if factor == Factor::Key && judge::asks_password(service, &machine) {
        let what = format!(
            "{service} asks for a code already, and for a password too, by lines that qrtotp enable has not written: take the \
             line of pam_qrtotp.so out by hand, or use --factor password"
        );
        return Err(Ending::new(Code::Conflict, what));
    }
    if service == "sshd" {
        let no = |why| Ending::new(Code::No, format!("sshd's settings: {why}"));
        if let Some(change) = sshd::change(factor).map_err(no)? {
            if !options.sshd_config && !options.dry_run {
                let needed = change.after.as_deref().unwrap_or_default().trim_end();
                let what = format!(
                    "sshd is not set for that; add --sshd-config, or write {}:\n{needed}",
                    change.path.display()
                );
                return Err(Ending::new(Code::No, what));
            }
            machine = machine.with_sshd(factor);
            changes.push(change);
        }
    }
    Ok((changes, machine))
}

/// Who has logged in and runs this: by the kernel's login id, by sudo, or by the user id.
fn caller(desk: &Desk) -> Result<String, Ending> {
    let by_kernel = std::fs::read_to_string("/proc/self/loginuid").ok().and_then(|text| text.trim().parse().ok());
    if let Some(uid) = by_kernel.filter(|uid| *uid != u32::MAX)
        && let Some(account) = desk.find_uid(Uid(uid))?
    {
        return Ok(account.name.as_str().to_owned());
    }
    let by_sudo = std::env::var("SUDO_USER").ok().filter(|name| !name.is_empty());
    Ok(by_sudo.unwrap_or_else(|| "root".to_owned()))
}

/// Shows what the doctor says of it, and goes no further where something must be mended first.
fn refuse_bad(desk: &Desk, service: &str, findings: &[Finding], changes: &[Change]) -> Result<(), Ending> {
    show(desk, findings, changes)?;
    if judge::is_bad(findings) {
        let what = format!("nothing was changed: mend the errors first; see: qrtotp doctor --service {service}");
        return Err(Ending::new(Code::No, what));
    }
    Ok(())
}

fn refuse_who_cannot_confirm(desk: &Desk, user: &str, service: &str) -> Result<(), Ending> {
    let account = desk.account(user)?;
    let vault = desk.vault()?;
    if policy::is_let_by(desk, &vault, user, service)? {
        let what = format!(
            "a rule of the policy asks you, {user}, for no code in {service}, so your login cannot confirm it: put a rule before it \
             that requires one of you, or, since the rule lets in, use --unconfirmed; see: qrtotp policy explain {user} --service {service}"
        );
        return Err(Ending::new(Code::No, what));
    }
    match status::condition_of(desk, &vault, &account)? {
        Condition::Enrolled | Condition::SteppedUp => Ok(()),
        condition => {
            let mend = match condition {
                Condition::Damaged => "qrtotp doctor says how to mend it".to_owned(),
                Condition::Locked | Condition::Disabled => format!("qrtotp unlock {user}"),
                Condition::Revoked | Condition::Stale => format!("qrtotp enroll {user} --replace"),
                _ => format!("qrtotp enroll {user}"),
            };
            let what = format!(
                "you are {user}, and your enrollment is: {}. Whoever switches a code on must be able to give one: {mend}",
                condition.word().replace('_', " ")
            );
            Err(Ending::new(Code::NotEnrolled, what))
        }
    }
}

/// What the doctor says, and the difference; beside the answer where that is JSON.
fn show(desk: &Desk, findings: &[Finding], changes: &[Change]) -> Result<(), Ending> {
    let is_told = |finding: &&Finding| finding.severity != Severity::Notice;
    let told = findings.iter().filter(is_told).map(|finding| doctor::text(finding, &desk.screen));
    let text: Vec<_> = told.chain(changes.iter().map(|change| change.diff().trim_end().to_owned())).collect();
    if desk.screen.is_json() {
        desk.screen.remark(&text.join("\n"));
        return Ok(());
    }
    desk.screen.say(&text.join("\n"))
}

fn agree(desk: &Desk, yes: bool, question: &str) -> Result<bool, Ending> {
    if yes {
        return Ok(true);
    }
    if !desk.screen.is_typed_at() {
        return Err(Ending::new(Code::Usage, "nobody can be asked here; add --yes"));
    }
    let answer = desk.screen.ask(&format!("{question} [y/N] "))?;
    Ok(answer.is_some_and(|answer| matches!(answer.trim(), "y" | "Y" | "yes")))
}

fn plan(desk: &Desk, service: &str, changes: Vec<Change>, user: String, confirm: u64) -> Result<Plan, Ending> {
    let now = desk.now()?;
    Ok(Plan {
        service: service.to_owned(),
        changes,
        uid: desk.find(&user)?.map_or(0, |account| account.uid.0),
        user,
        seen: guard::last_logins(desk),
        began: now.wall.0,
        began_boot: now.boot,
        boot_id: now.boot_id,
        confirm,
    })
}

fn back_up(desk: &Desk, pending: &Pending, service: &str, changes: &[Change]) -> Result<Option<PathBuf>, Ending> {
    let time = desk.now()?.wall.to_string();
    let mut first = None;
    for change in changes {
        let path = pending.back_up(service, &time, change)?;
        first = first.or(path);
    }
    Ok(first)
}

fn switch_on(
    desk: &Desk,
    pending: &Pending,
    options: &EnableOptions,
    factor: Factor,
    user: String,
    confirm: u64,
    changes: Vec<Change>,
) -> Result<(), Ending> {
    let service = options.service.as_str();
    let backup = back_up(desk, pending, service, &changes)?;
    let plan = plan(desk, service, changes, user, confirm)?;
    pending.note(&plan)?;
    if !options.unconfirmed
        && let Err(ending) = guard::start(&desk.config, pending, service)
    {
        pending.forget(service)?;
        return Err(ending);
    }
    if let Err(ending) = make(&plan, factor) {
        pending.forget(service)?;
        return Err(ending);
    }
    if options.unconfirmed {
        pending.forget(service)?;
        guard::record(&desk.config, Kind::SwitchOn, &plan, "unconfirmed", "");
        let text = format!("{service} asks for a code from now on");
        return desk.screen.answer(&answer(service, "unconfirmed", &plan.changes, backup.as_deref()), &text);
    }
    guard::record(&desk.config, Kind::SwitchOn, &plan, "waiting", &format!("for {}", plan.user));
    desk.screen.remark(&invitation(&plan));
    wait(desk, pending, &plan, backup.as_deref())
}

/// Makes the change, and has sshd read its part of it; nothing stays changed where that fails.
fn make(plan: &Plan, factor: Factor) -> Result<(), Ending> {
    plan.make()?;
    if !sshd::is_changed(plan) {
        return Ok(());
    }
    let done = sshd::check(Some(factor)).and_then(|()| sshd::reload());
    done.map_err(|what| {
        let back = plan.take_back();
        let _ = sshd::reload();
        let ending = Ending::new(Code::No, format!("nothing stays changed: {what}"));
        back.map_or_else(
            |failed| ending.with(&format!("; and {failed}")),
            |()| Ending::new(Code::No, format!("nothing stays changed: {what}")),
        )
    })
}

fn invitation(plan: &Plan) -> String {
    let (service, user) = (&plan.service, &plan.user);
    let how = match service.as_str() {
        "sshd" => format!("ssh {user}@{}", qrtotp_system::host_name()),
        "sudo" => "sudo -k; sudo true".to_owned(),
        "sudo-i" => "sudo -k; sudo -i".to_owned(),
        "su" | "su-l" => "su -".to_owned(),
        _ => format!("log in through {service}"),
    };
    format!(
        "{service} asks for a code now. Within {} seconds, as {user}, in another window:\n\n    {how}\n\n\
         Without a login with a code it is taken back, whatever becomes of this command.",
        plan.confirm / 1000
    )
}

/// Waits for how it ends. Where the guard was killed, this takes its place.
fn wait(desk: &Desk, pending: &Pending, plan: &Plan, backup: Option<&Path>) -> Result<(), Ending> {
    let service = plan.service.as_str();
    let end = loop {
        if pending.read(service)?.is_none() {
            break match pending.ended(service) {
                Some(true) => End::Confirmed,
                Some(false) => End::TakenBack,
                None => End::Gone,
            };
        }
        if !pending.is_held(service) {
            match guard::watch(&desk.config, pending, service)? {
                End::Gone => {}
                end => {
                    pending.ended(service);
                    break end;
                }
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    };
    match end {
        End::Confirmed => {
            let kept = backup.map(|path| format!("; what was there before: {}", path.display())).unwrap_or_default();
            let text = format!("confirmed by a code of {}: {service} asks for one from now on{kept}", plan.user);
            desk.screen.answer(&answer(service, "confirmed", &plan.changes, backup), &text)
        }
        End::Gone => {
            let what =
                format!("somebody else has ended this change of {service}; see: qrtotp doctor --service {service}");
            Err(Ending::new(Code::No, what))
        }
        End::TakenBack => {
            desk.screen.answer(&answer(service, "taken_back", &plan.changes, backup), "")?;
            let what = format!("{service} was not confirmed and is as it was before; see: qrtotp why {}", plan.user);
            Err(Ending::new(Code::No, what))
        }
    }
}

fn answer(service: &str, state: &str, changes: &[Change], backup: Option<&Path>) -> Value {
    let files: Vec<_> = changes.iter().map(|change| json!({ "path": change.path, "diff": change.diff() })).collect();
    json!({ "service": service, "state": state, "changes": files, "backup": backup })
}
