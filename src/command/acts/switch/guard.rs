//! Watches over a change until somebody has logged in through it, or its time is over; then it is taken back.
//!
//! It is a process of its own, so that it outlives the command and the terminal it was started from: a unit of systemd
//! where that runs, else a session of its own. It lives off what the command has noted, and whoever finds a change that
//! nobody watches over may take its place; at a boot `qrtotp guard` takes back what is left.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use qrtotp_core::budget::LastLogin;
use qrtotp_core::events::{Kind, Printable};
use qrtotp_core::ports::Clock;
use qrtotp_core::vault::Vault;
use qrtotp_core::words::{Source, Uid, UserName, WallTime};

use qrtotp_system::SystemClock;

use super::plan::{Pending, Plan};
use super::sshd;
use crate::desk::Desk;
use crate::ending::{Code, Ending};
use crate::machine;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);
/// How long the guard may take to begin.
const BEGINNING: Duration = Duration::from_secs(10);

/// How a change ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Somebody has given a code through it.
    Confirmed,
    /// It was taken back.
    TakenBack,
    /// Somebody else has ended it: by `disable`, say.
    Gone,
}

/// Watches over the change of one service, or, after a boot, takes back all that are left.
pub fn run(config: &Path, service: Option<&str>) -> Result<(), Ending> {
    let pending = Pending::beside(config);
    match service {
        Some(service) => {
            // Away from the terminal, whose end would end this process too. Who leads a session already needs none.
            let _ = rustix::process::setsid();
            watch(config, &pending, service).map(drop)
        }
        None => {
            let left = pending.services();
            let results: Vec<_> = left.iter().map(|service| take_back_left(config, &pending, service)).collect();
            results.into_iter().collect()
        }
    }
}

/// A change that a boot, or a kill, has left without anybody watching.
fn take_back_left(config: &Path, pending: &Pending, service: &str) -> Result<(), Ending> {
    let Some(_hold) = pending.hold(service) else { return Ok(()) };
    let Some(plan) = pending.read(service)? else { return Ok(()) };
    if let Some(user) = confirmed_by(config, &plan) {
        return end_confirmed(config, pending, &plan, &user);
    }
    end_taken_back(config, pending, &plan)
}

/// Starts the guard of a noted change, and waits until it watches.
pub fn start(config: &Path, pending: &Pending, service: &str) -> Result<(), Ending> {
    let fail = |what: String| Ending::new(Code::Untrusted, format!("the guard cannot be started: {what}"));
    let program = std::env::current_exe().map_err(|error| fail(error.to_string()))?;
    let arguments = ["--config", &config.to_string_lossy(), "guard", service].map(str::to_owned);
    if !by_systemd(&program, &arguments, service) {
        Command::new(&program)
            .args(&arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            .spawn()
            .map_err(|error| fail(error.to_string()))?;
    }
    let begun = Instant::now();
    while !pending.is_held(service) {
        if begun.elapsed() > BEGINNING {
            return Err(fail("it does not begin to watch".to_owned()));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// A unit of its own outlives the login session, whatever logind does to what is left of that.
fn by_systemd(program: &Path, arguments: &[String], service: &str) -> bool {
    let Some(systemd_run) = machine::program("systemd-run").filter(|_| Path::new("/run/systemd/system").is_dir())
    else {
        return false;
    };
    let unit = format!("--unit=qrtotp-guard-{service}-{}", std::process::id());
    let program = program.to_string_lossy();
    let mut all = vec!["--quiet", "--collect", &unit, "--property=Type=exec", &program];
    all.extend(arguments.iter().map(String::as_str));
    machine::output(&systemd_run, &all).is_ok()
}

/// Watches to the end. Where a change cannot be taken back yet, because a disk is full, say, it goes on trying.
pub fn watch(config: &Path, pending: &Pending, service: &str) -> Result<End, Ending> {
    let Some(_hold) = pending.hold(service) else { return Ok(End::Gone) };
    loop {
        let Some(plan) = pending.read(service)? else { return Ok(End::Gone) };
        if let Some(user) = confirmed_by(config, &plan) {
            end_confirmed(config, pending, &plan, &user)?;
            return Ok(End::Confirmed);
        }
        if is_over(&plan) && end_taken_back(config, pending, &plan).is_ok() {
            return Ok(End::TakenBack);
        }
        std::thread::sleep(PAUSE);
    }
}

/// How long a change still waits.
pub fn seconds_left(plan: &Plan) -> u64 {
    let gone = SystemClock.now().map_or(u64::MAX, |now| now.boot.saturating_sub(plan.began_boot));
    plan.confirm.saturating_sub(gone) / 1000
}

/// By the time since boot: the wall clock may be set meanwhile. Another boot ends it too.
fn is_over(plan: &Plan) -> bool {
    SystemClock
        .now()
        .is_none_or(|now| now.boot_id != plan.boot_id || now.boot.saturating_sub(plan.began_boot) >= plan.confirm)
}

/// Everybody's last login now: user id, and milliseconds since 1970.
pub fn last_logins(desk: &Desk) -> Vec<(u32, u64)> {
    let Ok(vault) = desk.vault() else { return Vec::new() };
    let uids = vault.uids().unwrap_or_default();
    uids.into_iter().filter_map(|uid| Some((uid.0, last_login(desk, &vault, uid)?.1.time.0))).collect()
}

/// The name in somebody's enrollment, and the last login that its journal tells.
fn last_login(desk: &Desk, vault: &Vault, uid: Uid) -> Option<(UserName, LastLogin)> {
    let room = vault.room(uid).ok()??;
    let (credentials, _) = room.credentials().ok()?;
    let history = room.journal(&credentials).ok()?.read().ok()?;
    let last = history.fold(&desk.policy.limits).0.last_login?;
    Some((credentials.user, last))
}

/// Who has given a code through the service since the change began. The state tells it, not the log: only a code that was
/// judged and accepted stands there. A login that was there before does not count, whatever the clock said at it.
fn confirmed_by(config: &Path, plan: &Plan) -> Option<String> {
    if !plan.is_made() {
        return None;
    }
    let desk = Desk::open(config, false).ok()?;
    let vault = desk.vault().ok()?;
    // su asks for the code of whom it changes to, as a rule; then who calls it counts.
    let is_su = plan.service == "su" || plan.service == "su-l";
    let caller = Source::Local(Uid(plan.uid)).key();
    for uid in vault.uids().ok()? {
        let Some((user, last)) = last_login(&desk, &vault, uid) else { continue };
        let is_new = last.time >= WallTime(plan.began) && !plan.seen.contains(&(uid.0, last.time.0));
        let is_his = if is_su { last.source == caller } else { user.as_str() == plan.user };
        if is_new && is_his && is_through(&last, &plan.service) {
            return Some(user.as_str().to_owned());
        }
    }
    None
}

/// A journal keeps the first bytes of a service's name.
fn is_through(last: &LastLogin, service: &str) -> bool {
    let mut padded = [0; 16];
    padded.iter_mut().zip(service.bytes()).for_each(|(to, from)| *to = from);
    last.service == padded
}

fn end_confirmed(config: &Path, pending: &Pending, plan: &Plan, user: &str) -> Result<(), Ending> {
    pending.end(&plan.service, true)?;
    plan.settle();
    record(config, Kind::SwitchOn, plan, "confirmed", &format!("by {user}"));
    Ok(())
}

fn end_taken_back(config: &Path, pending: &Pending, plan: &Plan) -> Result<(), Ending> {
    let done = plan.take_back();
    let reload = if sshd::is_changed(plan) { sshd::reload() } else { Ok(()) };
    // What could not be taken back stays noted, for whoever tries next.
    done?;
    pending.end(&plan.service, false)?;
    record(config, Kind::SwitchOff, plan, "not_confirmed", "taken back");
    reload.map_err(|what| Ending::new(Code::Untrusted, what))
}

/// Writes an event, where the policy tells where events go.
pub fn record(config: &Path, kind: Kind, plan: &Plan, reason: &str, detail: &str) {
    let Ok(desk) = Desk::open(config, false) else { return };
    let mut event = desk.event_of_all(kind, reason);
    event.detail = Some(Printable::new(format!("{} {detail}", plan.service).as_bytes()));
    desk.record(&event);
}
