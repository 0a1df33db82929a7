//! sshd's own settings: a file of its own beside the others, checked before sshd reads it.

use std::fs;
use std::path::{Path, PathBuf};

use qrtotp_hosts::sshd::{DROP_IN, Settings, drop_in, missing};
use qrtotp_hosts::stack::edit::Factor;
use rustix::process::{Pid, Signal, kill_process};

use super::plan::{Change, Plan};
use crate::machine;

/// The change that has sshd ask, if it does not yet.
///
/// # Errors
/// A sentence, where sshd's settings cannot be read.
pub fn change(factor: Factor) -> Result<Option<Change>, String> {
    let settings = machine::sshd(None)?;
    if missing(&settings, factor).is_empty() {
        return Ok(None);
    }
    let path = PathBuf::from(DROP_IN);
    if !path.parent().is_some_and(Path::is_dir) {
        return Err(format!("there is no folder for {DROP_IN}; write the settings into /etc/ssh/sshd_config by hand"));
    }
    let before = fs::read_to_string(&path).ok();
    Ok(Some(Change { path, before, after: Some(drop_in(factor)) }))
}

/// The change that removes what [`change`] has written.
pub fn removal() -> Option<Change> {
    let before = fs::read_to_string(DROP_IN).ok()?;
    let is_ours = [Factor::Key, Factor::Password].into_iter().any(|factor| before == drop_in(factor));
    is_ours.then(|| Change { path: PathBuf::from(DROP_IN), before: Some(before), after: None })
}

/// Whether a plan has changed sshd's settings.
pub fn is_changed(plan: &Plan) -> bool {
    plan.changes.iter().any(|change| change.path == Path::new(DROP_IN))
}

/// Whether sshd takes its files as they are now, and they come to what is needed.
///
/// # Errors
/// A sentence.
pub fn check(factor: Option<Factor>) -> Result<(), String> {
    let sshd = machine::program("sshd").ok_or("there is no sshd here")?;
    machine::output(&sshd, &["-t"])?;
    let Some(factor) = factor else { return Ok(()) };
    let settings = machine::sshd(None)?;
    let wrong = missing(&settings, factor);
    if wrong.is_empty() {
        return Ok(());
    }
    let told: Vec<_> = wrong.iter().map(|(name, now, needed)| format!("{name} is {now}, not {needed}")).collect();
    Err(format!(
        "another line of sshd's files wins: {}; /etc/ssh/sshd_config must say first: Include /etc/ssh/sshd_config.d/*.conf",
        told.join(", ")
    ))
}

/// Has the running sshd read its files again. Where none runs, there is nothing to do.
///
/// # Errors
/// A sentence.
pub fn reload() -> Result<(), String> {
    if Path::new("/run/systemd/system").is_dir()
        && let Some(systemctl) = machine::program("systemctl")
    {
        let units = ["ssh.service", "sshd.service"];
        let reloaded = units.into_iter().any(|unit| machine::output(&systemctl, &["reload", unit]).is_ok());
        // A socket starts a fresh sshd for each connection, which reads its files by itself.
        let by_socket = || machine::output(&systemctl, &["is-active", "--quiet", "ssh.socket"]).is_ok();
        return if reloaded || by_socket() {
            Ok(())
        } else {
            Err("sshd was not reloaded; run: systemctl reload ssh".to_owned())
        };
    }
    let settings = machine::sshd(None).unwrap_or_else(|_| Settings::parse(""));
    let file = match settings.get("pidfile") {
        "" | "none" => "/run/sshd.pid",
        file => file,
    };
    let Ok(text) = fs::read_to_string(file) else { return Ok(()) };
    let pid = text.trim().parse().ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| format!("{file} holds no process id; have sshd read its files again"))?;
    match kill_process(pid, Signal::HUP) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(errno) => Err(format!("sshd cannot be told to read its files again: {errno}")),
    }
}
