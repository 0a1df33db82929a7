//! The machine below: module and command, name service, clock, confinement.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use qrtotp_core::ports::Directory;
use qrtotp_core::words::Uid;
use qrtotp_hosts::finding::Finding;
use qrtotp_system::Users;
use qrtotp_trail::Filter;

use crate::desk::Desk;
use crate::machine;
use crate::reading;

/// What stands before the version in the module.
const MARK: &[u8] = b"pam_qrtotp version ";
/// Users whose codes must come at a wrong time before the host's clock is blamed and not a phone's.
const USERS: usize = 2;
/// How far back those are looked for, in milliseconds.
const LATELY: u64 = 24 * 3600 * 1000;
/// How far a clock may be off, in seconds, before it matters: half a step.
const SECONDS: f64 = 15.0;
/// Name services that ask another machine.
const REMOTE: [&str; 6] = ["sss", "ldap", "winbind", "nis", "nisplus", "hesiod"];
/// The programs around the module, as AppArmor names their profiles.
const CONFINED: [&str; 5] = ["sshd", "sudo", "su", "login", "unix_chkpwd"];

/// Looks at all of it.
pub fn look(desk: Option<&Desk>, found: &mut Vec<Finding>) {
    module(found);
    name_service(found);
    found.extend(clock());
    found.extend(desk.and_then(clock_by_codes));
    found.extend(apparmor());
    found.extend(desk.and_then(selinux));
}

fn module(found: &mut Vec<Finding>) {
    let files = machine::modules();
    if files.is_empty() {
        let finding = Finding::error(
            "module",
            machine::module_folders().first().map_or_else(String::new, |f| f.display().to_string()),
            "pam_qrtotp.so is not there",
        );
        found.push(finding.mend("install it: packaging/install.sh, or the package libpam-qrtotp"));
    }
    for file in files {
        let place = file.display().to_string();
        if let Ok(metadata) = fs::metadata(&file)
            && (metadata.uid() != 0 || metadata.mode() & 0o022 != 0)
        {
            let what = "can be changed by others than root, who would be root at the next login";
            found.push(Finding::error("module", &place, what).mend(format!("chown root: {place}; chmod 644 {place}")));
        }
        let own = env!("CARGO_PKG_VERSION");
        match version(&file) {
            Some(version) if version == own => {}
            Some(version) => {
                let what = format!("is version {version}, and this command is {own}");
                found.push(Finding::warning("version", place, what).mend("install both anew"));
            }
            None => {
                let what = "does not say which version it is";
                found.push(Finding::warning("version", place, what).mend("install both anew"));
            }
        }
    }
}

/// The version that the module's own text tells.
fn version(file: &Path) -> Option<String> {
    let bytes = fs::read(file).ok()?;
    let at = bytes.windows(MARK.len()).position(|window| window == MARK)?;
    let after = bytes.get(at.checked_add(MARK.len())?..)?;
    let version: Vec<u8> = after.iter().copied().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').collect();
    String::from_utf8(version).ok()
}

fn name_service(found: &mut Vec<Finding>) {
    match Users.find_uid(Uid(0)) {
        Ok(Some(root)) if root.name.as_str() == "root" => {}
        Ok(Some(root)) => {
            let what = format!("user id 0 is {}, not root", root.name);
            found.push(Finding::notice("name-service", "/etc/passwd", what));
        }
        Ok(None) | Err(_) => {
            let finding =
                Finding::error("name-service", "/etc/nsswitch.conf", "the name service does not know user id 0");
            found.push(finding.mend("getent passwd 0"));
        }
    }
    let text = fs::read_to_string("/etc/nsswitch.conf").unwrap_or_default();
    let sources = text.lines().find_map(|line| line.trim().strip_prefix("passwd:")).unwrap_or_default();
    let remote: Vec<_> = sources.split_whitespace().filter(|source| REMOTE.contains(source)).collect();
    if !remote.is_empty() {
        let what = format!(
            "accounts come from {} too: who is locked out is told only of those in /etc/passwd and of those enrolled, and while \
             it does not answer, logins that need a code are refused",
            remote.join(", ")
        );
        found.push(Finding::notice("name-service", "/etc/nsswitch.conf", what));
    }
}

/// Whether the clock is set by the network, as far as chrony, systemd or ntpd can be asked.
fn clock() -> Option<Finding> {
    let ask = |name: &str, arguments: &[&str]| machine::output(&machine::program(name)?, arguments).ok();
    let wrong = |what: String| Finding::warning("clock", "the clock", what).mend("timedatectl set-ntp true");
    if let Some(text) = ask("chronyc", &["-n", "-c", "tracking"]) {
        let fields: Vec<_> = text.trim().split(',').collect();
        let offset = fields.get(4).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
        if fields.last() == Some(&"Not synchronised") {
            return Some(wrong("is not synchronised, says chrony".to_owned()));
        }
        return (offset.abs() >= SECONDS).then(|| wrong(format!("is off by {offset:.0} seconds, says chrony")));
    }
    if let Some(text) = ask("timedatectl", &["show", "--property=NTPSynchronized", "--value"]) {
        if text.trim() != "yes" {
            return Some(wrong("is not synchronised, says systemd".to_owned()));
        }
        // Only where it is systemd itself that sets the clock.
        let status = ask("timedatectl", &["timesync-status"]).unwrap_or_default();
        let offset = timesync_offset(&status).unwrap_or(0.0);
        return (offset.abs() >= SECONDS).then(|| wrong(format!("is off by {offset:.0} seconds, says systemd")));
    }
    if let Some(text) = ask("ntpq", &["-c", "rv 0 leap,offset"]) {
        let is_off = text.contains("leap=11");
        return is_off.then(|| wrong("is not synchronised, says ntpd".to_owned()));
    }
    let what = "it cannot be found out whether the network sets it: neither chrony nor systemd nor ntpd answers";
    Some(Finding::notice("clock", "the clock", what).mend("see that something sets it, or codes fail within weeks"))
}

/// The line `Offset: -1min 2.5s` of `timedatectl timesync-status`, in seconds.
fn timesync_offset(status: &str) -> Option<f64> {
    let text = status.lines().find_map(|line| line.trim().strip_prefix("Offset:"))?.trim();
    let (sign, text) = text.strip_prefix('-').map_or((1.0, text.trim_start_matches('+')), |rest| (-1.0, rest));
    let units = [("us", 1e-6), ("ms", 1e-3), ("min", 60.0), ("h", 3600.0), ("d", 86_400.0), ("s", 1.0)];
    let part = |word: &str| {
        let (unit, size) = units.into_iter().find(|(unit, _)| word.ends_with(unit))?;
        Some(word.strip_suffix(unit)?.parse::<f64>().ok()? * size)
    };
    let parts: Option<Vec<f64>> = text.split_whitespace().map(part).collect();
    Some(sign * parts?.into_iter().sum::<f64>())
}

/// What the phones say: right codes of several people, at the wrong time in the same direction.
fn clock_by_codes(desk: &Desk) -> Option<Finding> {
    let now = desk.now().ok()?.wall;
    let filter =
        Filter { since: Some(qrtotp_core::words::WallTime(now.0.saturating_sub(LATELY))), ..Filter::default() };
    let mut early: Vec<String> = Vec::new();
    let mut late: Vec<String> = Vec::new();
    let _ = reading::each(desk, &filter, |line| {
        let list = match line.reason.as_str() {
            "early" => &mut early,
            "late" => &mut late,
            _ => return Ok(()),
        };
        let user = line.user.unwrap_or_default();
        if !list.contains(&user) {
            list.push(user);
        }
        Ok(())
    });
    let (users, way) = if early.len() >= late.len() { (early, "behind") } else { (late, "ahead, or people are slow") };
    if users.len() < USERS {
        return None;
    }
    let what =
        format!("the right codes of {} came at the wrong time today: this host's clock is {way}", users.join(", "));
    let finding = Finding::warning("clock", "the clock", what);
    Some(finding.mend("compare it with another clock, and set it by the network; qrtotp why USER tells each"))
}

fn apparmor() -> Vec<Finding> {
    let Ok(profiles) = fs::read_to_string("/sys/kernel/security/apparmor/profiles") else { return Vec::new() };
    let mut found = Vec::new();
    for line in profiles.lines() {
        let Some((name, mode)) = line.rsplit_once(" (") else { continue };
        let program = name.rsplit('/').next().unwrap_or(name);
        if mode.starts_with("enforce") && CONFINED.contains(&program) && !is_allowed(name) {
            let what = "confines a program that loads the module, and does not include abstractions/qrtotp";
            let finding = Finding::warning("apparmor", format!("AppArmor profile {name}"), what);
            found.push(finding.mend("add: include <abstractions/qrtotp>, then: systemctl reload apparmor"));
        }
    }
    found
}

/// Whether the file of a profile brings in the abstraction.
fn is_allowed(profile: &str) -> bool {
    let files = fs::read_dir("/etc/apparmor.d").into_iter().flatten().flatten();
    let texts = files.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    texts.into_iter().any(|text| text.contains(profile) && text.contains("abstractions/qrtotp"))
}

fn selinux(desk: &Desk) -> Option<Finding> {
    let enforcing = fs::read_to_string("/sys/fs/selinux/enforce").ok()?;
    if enforcing.trim() != "1" {
        return None;
    }
    let mut label = [0_u8; 256];
    let length = rustix::fs::getxattr(&desk.policy.state_dir, "security.selinux", &mut label).unwrap_or(0);
    let label = String::from_utf8_lossy(label.get(..length).unwrap_or_default()).into_owned();
    (!label.contains("qrtotp_")).then(|| {
        let what = format!("is labelled {label}: programs that SELinux confines may not use it");
        let place = desk.policy.state_dir.display().to_string();
        let mend = format!("install packaging/selinux, then: restorecon -RF {place}");
        Finding::warning("selinux", place, what).mend(mend)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read_in_every_unit_that_systemd_writes() {
        let offset = |text: &str| timesync_offset(&format!("       Server: 192.0.2.1\n       Offset: {text}\n"));
        for (text, seconds) in
            [("+1.5ms", 0.0015), ("-712us", -0.000_712), ("+2.25s", 2.25), ("-1min 2s", -62.0), ("+1h 3min", 3780.0)]
        {
            let read = offset(text).unwrap();
            assert!((read - seconds).abs() < 1e-9, "{text}: {read}");
        }
        assert_eq!((offset("n/a"), timesync_offset("")), (None, None));
    }
}
