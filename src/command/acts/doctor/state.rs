//! State, events and runtime folder: whether they can be used, and what lies in them that should not.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use qrtotp_core::vault::{Credentials, Vault};
use qrtotp_handover::Mark;
use qrtotp_hosts::finding::Finding;

use crate::acts::print;
use crate::acts::status::{self, Condition, Report};
use crate::desk::Desk;
use crate::screen::counted;

/// Free space below which it is told, and below which nobody is far from being refused, in bytes.
const LITTLE: u64 = 64 * 1024 * 1024;
const NEXT_TO_NOTHING: u64 = 4 * 1024 * 1024;
/// Free inodes below which it is told.
const INODES: u64 = 1000;
/// A journal's space on the disk beyond which it is told, in bytes.
const LONG: u64 = 4 * 1024 * 1024;
/// Records after the latest checkpoint beyond which something is wrong; one is written every 128.
const RECORDS: usize = 1024;
/// File systems that a boot empties.
const VOLATILE: [&str; 2] = ["tmpfs", "ramfs"];

/// Looks at all of it; the state folder where it can be used.
pub fn look(desk: &Desk, found: &mut Vec<Finding>) -> Option<Vault> {
    events(desk, found);
    let state = desk.policy.state_dir.as_path();
    found.extend(disk(state));
    found.extend(file_system(state));
    if !desk.policy.runtime_dir.is_dir() {
        let what = "is missing: floods are not counted, and nobody is remembered";
        let finding = Finding::warning("runtime", desk.policy.runtime_dir.display().to_string(), what);
        found.push(finding.mend("systemd-tmpfiles --create, or qrtotp init"));
    }
    let vault = match desk.vault() {
        Ok(vault) => vault,
        Err(ending) => {
            let text = ending.to_string();
            let mend =
                said_mend(&text).unwrap_or("mend what it says; a state folder that was lost: qrtotp init").to_owned();
            found.push(Finding::error("state", state.display().to_string(), text).mend(mend));
            return None;
        }
    };
    match status::everybody(desk, &vault) {
        Ok(reports) => reports.iter().for_each(|report| user(&vault, report, found)),
        Err(ending) => found.push(Finding::error("state", state.display().to_string(), ending.to_string())),
    }
    pictures(&vault, found);
    Some(vault)
}

fn events(desk: &Desk, found: &mut Vec<Finding>) {
    let file = desk.policy.events_file.as_path();
    let place = file.display().to_string();
    let Some(folder) = file.parent() else { return };
    let trust = |path: &Path, found: &mut Vec<Finding>| {
        let Ok(metadata) = fs::symlink_metadata(path) else { return false };
        if metadata.uid() != 0 || metadata.mode() & 0o022 != 0 {
            let what = "can be changed by others than root: what it says proves nothing";
            let path = path.display();
            found.push(
                Finding::error("events", path.to_string(), what).mend(format!("chown root: {path}; chmod go-w {path}")),
            );
        } else if metadata.mode() & 0o007 != 0 {
            let what = "can be read by everybody: it tells who logs in, when, and from where";
            let path = path.display();
            found.push(Finding::warning("events", path.to_string(), what).mend(format!("chmod o-rwx {path}")));
        }
        true
    };
    if !trust(folder, found) {
        let what = "is missing: events are in syslog only, and qrtotp log, why, stats and watch see none";
        found.push(Finding::warning("events", folder.display().to_string(), what).mend("qrtotp init"));
        return;
    }
    if !trust(file, found) {
        found.push(Finding::notice("events", place, "has no event yet"));
    }
}

fn disk(state: &Path) -> Vec<Finding> {
    let Ok(stat) = rustix::fs::statvfs(state) else { return Vec::new() };
    let place = state.display().to_string();
    let mut found = Vec::new();
    let free = stat.f_bfree.saturating_mul(stat.f_frsize);
    let mend = "make room; each user has 64 KiB set aside, and is refused when that is used up";
    if free < NEXT_TO_NOTHING {
        found.push(Finding::error("disk", &place, format!("has {} KiB free", free / 1024)).mend(mend));
    } else if free < LITTLE {
        found.push(Finding::warning("disk", &place, format!("has {} MiB free", free / 1024 / 1024)).mend(mend));
    }
    // File systems that make inodes as they need them say 0 of 0.
    if stat.f_files > 0 && stat.f_ffree < INODES {
        let what = format!("has {} inodes free", stat.f_ffree);
        found.push(Finding::warning("disk", &place, what).mend("remove small files; df -i"));
    }
    if stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
        let what = "is mounted read-only: every login that needs a code is refused";
        found.push(Finding::error("disk", &place, what).mend("mount it writable"));
    }
    found
}

/// What kind of file system the state lies on; a network's is refused where the folder is opened.
fn file_system(state: &Path) -> Option<Finding> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let state = state.canonicalize().ok()?;
    let entry = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let point = left.split(' ').nth(4)?.replace("\\040", " ");
        let kind = right.split(' ').next()?.to_owned();
        state.starts_with(&point).then_some((point, kind))
    };
    // Of several mounts over one another the last one counts.
    let mut best: Option<(String, String)> = None;
    for own in mounts.lines().filter_map(entry) {
        if best.as_ref().is_none_or(|known| own.0.len() >= known.0.len()) {
            best = Some(own);
        }
    }
    let (point, kind) = best?;
    VOLATILE.contains(&kind.as_str()).then(|| {
        let what = format!("is on {kind} ({point}): a boot empties it, and nobody is enrolled then");
        let finding = Finding::warning("file-system", state.display().to_string(), what);
        finding.mend("put it on a disk: [state] dir")
    })
}

fn user(vault: &Vault, report: &Report, found: &mut Vec<Finding>) {
    let name = &report.account.name;
    let place = format!("user {name}");
    match report.condition {
        Condition::Damaged => {
            let trouble = report.trouble.clone().unwrap_or_default();
            let mend = match said_mend(&trouble) {
                Some(command) => command.to_owned(),
                None if has_credentials(vault, report) => format!("qrtotp repair {name}"),
                None => format!("restore it from a backup, or start afresh: qrtotp enroll {name} --replace"),
            };
            found.push(Finding::error("damaged", place, trouble).mend(mend));
        }
        Condition::Stale => {
            let what = "is enrolled under a name or user id that is another account's now, or nobody's";
            found.push(Finding::warning("stale", place, what).mend("qrtotp gc, or qrtotp enroll USER --replace"));
        }
        Condition::Disabled => {
            let what = "had too many wrong codes in a row, and none is accepted any more";
            found.push(Finding::warning("disabled", place, what).mend(format!("qrtotp unlock {name}")));
        }
        Condition::Enrolled | Condition::Locked | Condition::SteppedUp if report.recovery_left() == 0 => {
            let has_had = report.credentials.as_ref().is_some_and(|credentials| !credentials.recovery.is_empty());
            let what = if has_had { "has used up all recovery codes" } else { "has no recovery codes yet" };
            let what = format!("{what}: a lost phone keeps its owner out until an administrator helps");
            let finding = Finding::notice("recovery", place, what);
            found.push(
                finding.mend(format!("qrtotp recovery {name}; without any, the next login that can show them does")),
            );
        }
        _ => {}
    }
    if let Some(mark) = report.credentials.as_ref().and_then(Mark::of_interrupted) {
        let what = format!("a handover was interrupted ({mark}): the keys are here, and every login is refused");
        let mend = "run the same handover again, or: qrtotp handover --abort --all";
        found.push(Finding::error("handover", format!("user {name}"), what).mend(mend));
    }
    for device in report.credentials.iter().flat_map(Credentials::weak) {
        let what = format!("has a key of less than 128 bits in the device {}", device.label.as_str());
        let finding = Finding::warning("weak-key", format!("user {name}"), what);
        found.push(finding.mend(format!("qrtotp rotate {name} {}", device.id)));
    }
    journal(vault, report, found);
}

/// The command that a trouble names by itself: `... run: chmod go-rwx FILE`.
fn said_mend(trouble: &str) -> Option<&str> {
    trouble.split_once("run: ").map(|(_, command)| command)
}

/// Whether the keys can be read, so that it is the journal that is damaged.
fn has_credentials(vault: &Vault, report: &Report) -> bool {
    vault.room(report.account.uid).ok().flatten().is_some_and(|room| room.credentials().is_ok())
}

fn journal(vault: &Vault, report: &Report, found: &mut Vec<Finding>) {
    let name = &report.account.name;
    let path = vault.path().join(report.account.uid.0.to_string()).join("journal");
    let Ok(metadata) = fs::metadata(&path) else { return };
    let used = metadata.blocks().saturating_mul(512);
    if used > LONG {
        let what = format!("takes {} MiB on the disk, most of it dead", used / 1024 / 1024);
        found.push(Finding::notice("journal", path.display().to_string(), what).mend("qrtotp gc"));
    }
    if report.records > RECORDS {
        let what = format!("has {} records after its latest checkpoint, and logins read them all", report.records);
        let mend = format!("the next login of {name} writes one; if not: qrtotp repair {name}");
        found.push(Finding::warning("journal", path.display().to_string(), what).mend(mend));
    }
}

fn pictures(vault: &Vault, found: &mut Vec<Finding>) {
    match print::left(vault) {
        Ok(left) => {
            for picture in left {
                let path = picture.path.display().to_string();
                let what = "still holds a key that is good, as a picture";
                found.push(Finding::warning("picture", &path, what).mend(format!("shred -u {path}")));
            }
        }
        Err(ending) => found.push(Finding::warning("picture", counted(0, "picture"), ending.to_string())),
    }
}
