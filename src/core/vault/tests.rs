use super::*;
use crate::testkit::{ALICE, Home, RECOVERY, credentials, name, private_folder};
use crate::verdict::Cause;
use crate::words::EnrollmentId;

fn named(uid: u32, enrollment: u8) -> Credentials {
    Credentials { uid: Uid(uid), user: name("bob"), enrollment: EnrollmentId([enrollment; 8]), ..credentials() }
}

fn names(path: &Path) -> Vec<String> {
    let items = path.read_dir().unwrap();
    let mut names: Vec<_> = items.map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn enrollment(vault: &Vault, uid: u32) -> Option<EnrollmentId> {
    vault.room(Uid(uid)).unwrap().map(|room| room.credentials().unwrap().0.enrollment)
}

#[test]
fn a_folder_without_its_marker_is_not_mounted_and_nobody_in_it_is_not_enrolled() {
    let empty = private_folder();
    assert!(Vault::open(empty.path()).is_err_and(|trouble| trouble.what.contains("not mounted")));
    assert!(Vault::open(&empty.path().join("no")).is_err_and(|trouble| trouble.what.contains("not mounted")));
    let home = Home::new();
    for marker in ["", "qrtotp 2\n", "qrtotp 1", "qrtotp 1\n\n"] {
        std::fs::write(home.state(".format"), marker).unwrap();
        assert!(
            Vault::open(&home.policy.state_dir).is_err_and(|trouble| trouble.what.contains("format")),
            "{marker:?}"
        );
    }
    std::fs::write(home.state(".format"), "x".repeat(100)).unwrap();
    assert!(Vault::open(&home.policy.state_dir).is_err());
}

#[test]
fn only_a_missing_folder_means_not_enrolled() {
    let home = Home::new();
    assert!(home.vault().room(Uid(1001)).unwrap().is_none());
    std::fs::create_dir(home.state("1001")).unwrap();
    std::fs::set_permissions(home.state("1001"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let room = home.vault().room(Uid(1001)).unwrap().unwrap();
    assert!(room.credentials().is_err_and(|trouble| trouble.what.contains("missing")));
    assert!(home.vault().install(&named(1001, 5), &[], false).is_err(), "an empty folder is something too");
    std::fs::write(home.state("1002"), "").unwrap();
    assert!(home.vault().room(Uid(1002)).is_err());
}

#[test]
fn state_is_made_once_and_whole_and_again_where_a_part_is_missing() {
    let home = Home::new();
    let decoys: Vec<_> = (0..DECOY_COUNT).map(|n| named(u32::MAX, n)).collect();
    assert!(!initialise(&home.policy.state_dir, &decoys).unwrap());
    let before = std::fs::read(home.state(".decoy/00/credentials.toml")).unwrap();
    for part in [".decoy/07", ".decoy", ".format"] {
        let path = home.state(part);
        if path.is_dir() {
            std::fs::remove_dir_all(&path).unwrap()
        } else {
            std::fs::remove_file(&path).unwrap()
        };
        assert!(initialise(&home.policy.state_dir, &decoys).unwrap(), "{part}");
        assert!(home.vault().decoy(7).unwrap().is_some());
        assert!(!initialise(&home.policy.state_dir, &decoys).unwrap(), "{part}");
    }
    assert_ne!(std::fs::read(home.state(".decoy/00/credentials.toml")).unwrap(), before, "made anew with .decoy");
    assert_eq!(enrollment(&home.vault(), 1000), Some(credentials().enrollment), "users keep theirs");
}

#[test]
fn a_first_enrollment_never_replaces_one_and_a_replacement_replaces_whole() {
    let home = Home::new();
    let vault = home.vault();
    assert!(vault.install(&named(1000, 5), &[], false).is_err());
    assert_eq!(enrollment(&vault, 1000), Some(credentials().enrollment));
    vault.install(&named(1000, 5), &[], true).unwrap();
    assert_eq!(enrollment(&vault, 1000), Some(EnrollmentId([5; 8])));
    let room = vault.room(ALICE).unwrap().unwrap();
    assert_eq!(room.journal(&named(1000, 5)).unwrap().read().unwrap().records(), 0);
    assert!(vault.install(&named(1001, 5), &[], true).is_err(), "nothing to replace");
    assert_eq!(names(&home.policy.state_dir), [".decoy", ".format", "1000"]);
    assert_eq!(names(&home.state("1000")), ["credentials.toml", "journal"]);
}

#[test]
fn a_replacement_takes_the_place_of_whatever_root_finds_there() {
    let home = Home::new();
    std::fs::rename(home.state("1000"), home.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(home.path().join("elsewhere"), home.state("1000")).unwrap();
    home.vault().install(&named(1000, 5), &[], true).unwrap();
    assert_eq!(enrollment(&home.vault(), 1000), Some(EnrollmentId([5; 8])));
    assert_eq!(
        names(&home.path().join("elsewhere")),
        ["credentials.toml", "journal"],
        "what the link led to is untouched"
    );
}

#[test]
fn what_a_killed_command_left_over_is_in_nobodys_way() {
    let home = Home::new();
    for (left, file) in [(".new-1001", "credentials.toml.new"), (".old-1000", "journal"), (".new-1002", "journal.new")]
    {
        std::fs::create_dir(home.state(left)).unwrap();
        std::fs::set_permissions(home.state(left), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        std::fs::write(home.state(left).join(file), "half").unwrap();
    }
    let vault = home.vault();
    assert_eq!(vault.uids().unwrap(), [ALICE]);
    vault.install(&named(1001, 5), &[], false).unwrap();
    vault.remove(ALICE).unwrap();
    assert_eq!(vault.uids().unwrap(), [Uid(1001)]);
    vault.sweep().unwrap();
    assert_eq!(names(&home.policy.state_dir), [".decoy", ".format", "1001"]);
}

#[test]
fn uids_are_the_names_that_a_login_opens() {
    let home = Home::new();
    for odd in ["+5", "007", "99999999999", "-1", "alice"] {
        std::fs::create_dir(home.state(odd)).unwrap();
    }
    home.vault().install(&named(0, 5), &[], false).unwrap();
    assert_eq!(home.vault().uids().unwrap(), [Uid(0), ALICE]);
}

#[test]
fn a_version_is_current_until_the_credentials_are_written_or_go() {
    let home = Home::new();
    let vault = home.vault();
    let version = || vault.room(ALICE).unwrap().unwrap().credentials().unwrap().1;
    let changes: [&dyn Fn(); 3] =
        [&|| home.change(|_| {}), &|| vault.install(&credentials(), &[], true).unwrap(), &|| {
            vault.remove(ALICE).unwrap()
        }];
    for change in changes {
        let read = version();
        assert!(vault.is_current(ALICE, read).unwrap());
        change();
        assert!(!vault.is_current(ALICE, read).unwrap());
    }
}

#[test]
fn one_command_at_a_time_changes_state() {
    let home = Home::new();
    let first = home.vault().exclusive().unwrap();
    assert!(home.vault().exclusive().is_err_and(|trouble| trouble.what.contains("another qrtotp command")));
    assert_eq!(home.cause("alice", &home.code()), Cause::Code, "logins take no notice");
    drop(first);
    assert!(home.vault().exclusive().is_ok());
}

#[test]
fn everything_made_is_roots_alone() {
    use std::os::unix::fs::MetadataExt;
    let home = Home::new();
    let mut folders = vec![home.policy.state_dir.clone()];
    while let Some(folder) = folders.pop() {
        for item in folder.read_dir().unwrap() {
            let path = item.unwrap().path();
            let meta = path.symlink_metadata().unwrap();
            assert_eq!((meta.mode() & 0o7777, meta.uid()), (if meta.is_dir() { 0o700 } else { 0o600 }, 0), "{path:?}");
            folders.extend(meta.is_dir().then_some(path));
        }
    }
}

/// Logins beside a command that replaces the enrollment again and again: each is judged by one enrollment or refused.
#[test]
fn a_login_beside_a_replacement_is_judged_by_one_enrollment_or_refused() {
    let home = Home::with_policy("[flood]\nper_minute = 0");
    let path = home.policy.state_dir.clone();
    let done = std::sync::atomic::AtomicBool::new(false);
    let causes = std::thread::scope(|scope| {
        let command = scope.spawn(|| {
            let vault = Vault::open(&path).unwrap();
            let mut installed = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) || installed < 20 {
                vault.install(&credentials(), &[], true).unwrap();
                installed += 1;
            }
        });
        let causes: Vec<_> = (0..300).map(|_| home.cause("alice", RECOVERY[0])).collect();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        command.join().unwrap();
        causes
    });
    assert!(
        causes.iter().all(|cause| matches!(cause, Cause::Recovery | Cause::RecoveryUsed | Cause::State)),
        "{causes:?}"
    );
    assert!(causes.contains(&Cause::Recovery));
}
