//! A change of a service's files, as it is shown, kept, made, and taken back.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use qrtotp_core::policy::DEFAULT_FILE;
use qrtotp_hosts::stack::edit::{self, Factor};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use similar::TextDiff;

use crate::ending::{Code, Ending};

/// The example whose line is put in.
const EXAMPLE: &str = include_str!("../../../../pam.d-examples/sudo");
/// What a file is called until it is in place, and what the one is called that was there before.
const ARRIVING: &str = ".qrtotp-new";
const LEAVING: &str = ".qrtotp-back";
/// The folder beside the policy in which changes that are not confirmed, and what was there before, are kept.
const FOLDER: &str = "switch";
/// The end of the name of a change that is not confirmed, of one that was, and of one that was taken back.
const PENDING: &str = ".pending";
const CONFIRMED: &str = ".confirmed";
const TAKEN_BACK: &str = ".taken-back";

/// The line of the module; it names the policy where that is not the usual one.
pub fn line(config: &Path) -> String {
    let line = edit::line_of(EXAMPLE).unwrap_or("auth       required   pam_qrtotp.so");
    if config == Path::new(DEFAULT_FILE) { line.to_owned() } else { format!("{line} config={}", config.display()) }
}

/// What usually comes before the code in a service.
pub fn usual_factor(service: &str) -> Factor {
    if service == "sshd" { Factor::Key } else { Factor::Password }
}

/// One file, before and after. `None`: it is not there.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Which.
    pub path: PathBuf,
    /// What it says before.
    pub before: Option<String>,
    /// What it says after.
    pub after: Option<String>,
}

impl Change {
    /// The difference, as diff(1) writes it.
    pub fn diff(&self) -> String {
        let name = |side: &Option<String>| {
            if side.is_some() { self.path.display().to_string() } else { "/dev/null".to_owned() }
        };
        let (before, after) = (self.before.as_deref().unwrap_or(""), self.after.as_deref().unwrap_or(""));
        let diff = TextDiff::from_lines(before, after);
        diff.unified_diff().context_radius(3).header(&name(&self.before), &name(&self.after)).to_string()
    }

    fn now(&self) -> Option<String> {
        fs::read_to_string(&self.path).ok()
    }

    /// Whether the file says what it is to say after.
    pub fn is_made(&self) -> bool {
        self.now() == self.after
    }

    /// Makes it, if the file still says what it said. The way back is prepared first: one rename, which needs no space.
    fn make(&self) -> Result<(), Ending> {
        if self.now() != self.before {
            let what = format!("{}: was changed in the meantime; nothing was done to it", self.path.display());
            return Err(Ending::new(Code::Conflict, what));
        }
        if let Some(before) = &self.before {
            write_beside(&self.path, LEAVING, before)?;
        }
        put(&self.path, self.after.as_deref()).inspect_err(|_| self.settle())
    }

    /// Takes it back. Where somebody has changed the file since, only what was put in goes.
    fn take_back(&self) -> Result<(), Ending> {
        let now = self.now();
        if now == self.before {
            self.settle();
            return Ok(());
        }
        if now == self.after {
            self.put_before()?;
        } else {
            let now = now.unwrap_or_default();
            // Where somebody has torn the marks apart, the lines go that this command writes.
            let text = edit::without_module(&now).unwrap_or_else(|_| edit::without_lines(&now));
            if let Some(text) = text {
                put(&self.path, Some(&text))?;
            }
        }
        self.settle();
        Ok(())
    }

    /// The old file by a rename, where it still lies beside the new one.
    fn put_before(&self) -> Result<(), Ending> {
        let back = beside(&self.path, LEAVING);
        let is_there = self.before.is_some() && fs::read_to_string(&back).ok() == self.before;
        if is_there && fs::rename(&back, &self.path).is_ok() {
            // It is in place, durable or not.
            let _ = sync_folder(&self.path);
            return Ok(());
        }
        put(&self.path, self.before.as_deref())
    }

    /// The way back is not needed any more.
    fn settle(&self) {
        let _ = fs::remove_file(beside(&self.path, LEAVING));
    }
}

/// A name in the same folder that no program takes for a service or for settings.
fn beside(path: &Path, end: &str) -> PathBuf {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    path.with_file_name(format!(".{name}{end}"))
}

/// Puts a text in the place of a file by one rename, with the owner, the mode and the label that it had; or removes it.
fn put(path: &Path, text: Option<&str>) -> Result<(), Ending> {
    let fail = |error: std::io::Error| Ending::new(Code::Untrusted, format!("{}: {error}", path.display()));
    let Some(text) = text else {
        fs::remove_file(path).map_err(fail)?;
        return sync_folder(path).map_err(fail);
    };
    let fresh = write_beside(path, ARRIVING, text)?;
    let done = fs::rename(&fresh, path).and_then(|()| sync_folder(path));
    done.inspect_err(|_| drop(fs::remove_file(&fresh))).map_err(fail)
}

/// Writes a text into a file beside another one, with the owner, the mode and the label that this has; durable.
fn write_beside(path: &Path, end: &str, text: &str) -> Result<PathBuf, Ending> {
    let fresh = beside(path, end);
    let fail = |error: std::io::Error| Ending::new(Code::Untrusted, format!("{}: {error}", fresh.display()));
    let _ = fs::remove_file(&fresh);
    let old = fs::metadata(path).ok();
    let mode = old.as_ref().map_or(0o644, |old| old.mode() & 0o7777);
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        if let Some(old) = &old {
            chown(&fresh, Some(old.uid()), Some(old.gid()))?;
        }
        keep_label(path, &fresh);
        file.sync_all()
    };
    write().inspect_err(|_| drop(fs::remove_file(&fresh))).map_err(fail)?;
    Ok(fresh)
}

/// The label of SELinux, where there is one.
fn keep_label(old: &Path, new: &Path) {
    let mut label = [0_u8; 512];
    if let Ok(length) = rustix::fs::getxattr(old, "security.selinux", &mut label)
        && let Some(label) = label.get(..length)
    {
        let _ = rustix::fs::setxattr(new, "security.selinux", label, rustix::fs::XattrFlags::empty());
    }
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// All that a switch changes, and how it is confirmed.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The PAM service.
    pub service: String,
    /// Its files, in the order in which they are changed.
    pub changes: Vec<Change>,
    /// Who has to log in, and that user's id.
    pub user: String,
    /// The id.
    pub uid: u32,
    /// Everybody's last login before: user id, and milliseconds since 1970.
    pub seen: Vec<(u32, u64)>,
    /// When it began: milliseconds since 1970.
    pub began: u64,
    /// The same since boot, and which boot that is.
    pub began_boot: u64,
    /// Which boot.
    pub boot_id: [u8; 8],
    /// Milliseconds in which somebody has to log in.
    pub confirm: u64,
}

/// Where changes are kept that are not confirmed yet.
pub struct Pending {
    folder: PathBuf,
}

impl Pending {
    /// Beside a policy file.
    pub fn beside(config: &Path) -> Self {
        let parent = config.parent().unwrap_or(Path::new("/etc/qrtotp"));
        Self { folder: parent.join(FOLDER) }
    }

    fn path(&self, service: &str) -> PathBuf {
        self.folder.join(format!("{service}{PENDING}"))
    }

    fn make_folder(&self) -> Result<(), Ending> {
        let fail = |error| Ending::new(Code::Untrusted, format!("{}: {error}", self.folder.display()));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(fail)
    }

    /// Keeps what a file said; gives where.
    pub fn back_up(&self, service: &str, time: &str, change: &Change) -> Result<Option<PathBuf>, Ending> {
        let Some(before) = &change.before else { return Ok(None) };
        self.make_folder()?;
        let name =
            change.path.file_name().map_or_else(|| service.to_owned(), |name| name.to_string_lossy().into_owned());
        let kept = fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let is_same = |path: &PathBuf| {
            let own = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            own.starts_with(&format!("{name}.before.")) && fs::read_to_string(path).is_ok_and(|text| text == *before)
        };
        if let Some(path) = kept.into_iter().find(is_same) {
            return Ok(Some(path));
        }
        let path = self.folder.join(format!("{name}.before.{time}"));
        put(&path, Some(before))?;
        Ok(Some(path))
    }

    /// Notes a change before it is made, so that whoever dies in between leaves word.
    pub fn note(&self, plan: &Plan) -> Result<(), Ending> {
        self.make_folder()?;
        self.ended(&plan.service);
        let path = self.path(&plan.service);
        let fail = |error: serde_json::Error| Ending::new(Code::Untrusted, format!("{}: {error}", path.display()));
        put(&path, Some(&serde_json::to_string_pretty(plan).map_err(fail)?))
    }

    /// The change of a service that is not confirmed.
    pub fn read(&self, service: &str) -> Result<Option<Plan>, Ending> {
        let path = self.path(service);
        match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).map(Some).map_err(|error| {
                Ending::new(Code::Untrusted, format!("{}: {error}; look at it, and remove it", path.display()))
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Ending::new(Code::Untrusted, format!("{}: {error}", path.display()))),
        }
    }

    /// The services whose changes are not confirmed.
    pub fn services(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let mut services: Vec<_> = names.filter_map(|name| name.strip_suffix(PENDING).map(str::to_owned)).collect();
        services.sort();
        services
    }

    /// Watches over a change: `None` where somebody else does.
    pub fn hold(&self, service: &str) -> Option<OwnedFd> {
        let file = File::open(self.path(service)).ok()?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
        Some(file.into())
    }

    /// Whether somebody watches over it.
    pub fn is_held(&self, service: &str) -> bool {
        self.path(service).exists() && self.hold(service).is_none()
    }

    /// Nobody is to be told how it ended.
    pub fn forget(&self, service: &str) -> Result<(), Ending> {
        let path = self.path(service);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Ending::new(Code::Untrusted, format!("{}: {error}", path.display())))
            }
            _ => Ok(()),
        }
    }

    /// It has ended: confirmed, or taken back. A rename, which needs no space, tells whoever waits for it.
    pub fn end(&self, service: &str, is_confirmed: bool) -> Result<(), Ending> {
        let (path, end) = (self.path(service), if is_confirmed { CONFIRMED } else { TAKEN_BACK });
        let fail = |error| Ending::new(Code::Untrusted, format!("{}: {error}", path.display()));
        fs::rename(&path, self.folder.join(format!("{service}{end}"))).map_err(fail)
    }

    /// How the last one ended, told once; `None` where nobody has said.
    pub fn ended(&self, service: &str) -> Option<bool> {
        let was = |end: &str| fs::remove_file(self.folder.join(format!("{service}{end}"))).is_ok();
        let (confirmed, taken_back) = (was(CONFIRMED), was(TAKEN_BACK));
        (confirmed || taken_back).then_some(confirmed && !taken_back)
    }
}

impl Plan {
    /// Makes the changes; takes back those that were made where one fails.
    pub fn make(&self) -> Result<(), Ending> {
        for (number, change) in self.changes.iter().enumerate() {
            if let Err(ending) = change.make() {
                let made = self.changes.get(..number).unwrap_or_default();
                made.iter().rev().for_each(|change| drop(change.take_back()));
                return Err(ending);
            }
        }
        Ok(())
    }

    /// Takes all of it back, the last one first; goes on where one fails.
    pub fn take_back(&self) -> Result<(), Ending> {
        let results: Vec<_> = self.changes.iter().rev().map(Change::take_back).collect();
        results.into_iter().collect()
    }

    /// It stays: the ways back go.
    pub fn settle(&self) {
        self.changes.iter().for_each(Change::settle);
    }

    /// Whether all is as it is to be after.
    pub fn is_made(&self) -> bool {
        self.changes.iter().all(Change::is_made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(folder: &Path, before: Option<&str>, after: Option<&str>) -> Change {
        let path = folder.join("sudo");
        if let Some(before) = before {
            fs::write(&path, before).unwrap();
        }
        Change { path, before: before.map(str::to_owned), after: after.map(str::to_owned) }
    }

    #[test]
    fn a_change_is_made_and_taken_back_with_owner_and_mode() {
        let folder = tempfile::tempdir().unwrap();
        let change = change(folder.path(), Some("a\n"), Some("b\n"));
        fs::set_permissions(&change.path, fs::Permissions::from_mode(0o640)).unwrap();
        change.make().unwrap();
        assert!(change.is_made());
        assert_eq!(fs::metadata(&change.path).unwrap().mode() & 0o777, 0o640);
        change.take_back().unwrap();
        assert_eq!(change.now().as_deref(), Some("a\n"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_was_not_there_goes_again() {
        let folder = tempfile::tempdir().unwrap();
        let change = change(folder.path(), None, Some("b\n"));
        change.make().unwrap();
        change.take_back().unwrap();
        assert!(!change.path.exists());
        change.take_back().unwrap();
    }

    #[test]
    fn what_somebody_else_has_written_since_is_not_lost() {
        let folder = tempfile::tempdir().unwrap();
        let block = "# qrtotp begin: x\n#qrtotp# old\nauth required pam_qrtotp.so\n# qrtotp end\n";
        let change = change(folder.path(), Some("old\n"), Some(block));
        fs::write(&change.path, "newer\n").unwrap();
        assert!(change.make().is_err());
        fs::write(&change.path, format!("newer\n{block}")).unwrap();
        change.take_back().unwrap();
        assert_eq!(change.now().as_deref(), Some("newer\nold\n"));
    }

    #[test]
    fn a_plan_that_fails_half_way_leaves_nothing_changed() {
        let folder = tempfile::tempdir().unwrap();
        let first = change(folder.path(), Some("a\n"), Some("b\n"));
        let second = Change { path: folder.path().join("missing"), before: Some("c".to_owned()), after: None };
        let plan = Plan {
            service: "sudo".to_owned(),
            changes: vec![first.clone(), second],
            user: "alice".to_owned(),
            uid: 2001,
            seen: Vec::new(),
            began: 0,
            began_boot: 0,
            boot_id: [0; 8],
            confirm: 1,
        };
        assert!(plan.make().is_err());
        assert_eq!(first.now().as_deref(), Some("a\n"));
    }

    #[test]
    fn a_pending_change_is_read_back_held_by_one_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let pending = Pending::beside(&folder.path().join("config.toml"));
        let plan = Plan {
            service: "sudo".to_owned(),
            changes: Vec::new(),
            user: "alice".to_owned(),
            uid: 2001,
            seen: Vec::new(),
            began: 1,
            began_boot: 2,
            boot_id: [3; 8],
            confirm: 4,
        };
        pending.note(&plan).unwrap();
        assert_eq!((pending.read("sudo").unwrap(), pending.services()), (Some(plan), vec!["sudo".to_owned()]));
        let held = pending.hold("sudo");
        assert!(held.is_some() && pending.is_held("sudo") && pending.hold("sudo").is_none());
        drop(held);
        assert!(!pending.is_held("sudo"));
        pending.forget("sudo").unwrap();
        assert_eq!(pending.read("sudo").unwrap(), None);
    }

    #[test]
    fn the_line_is_that_of_the_examples() {
        assert_eq!(line(Path::new(DEFAULT_FILE)), "auth       required   pam_qrtotp.so");
        assert!(line(Path::new("/etc/x.toml")).ends_with("pam_qrtotp.so config=/etc/x.toml"));
    }
}
