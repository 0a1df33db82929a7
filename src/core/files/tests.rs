use super::*;
use crate::policy::Policy;
use crate::testkit::{ALICE, Home, private_folder};
use crate::vault::Vault;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, Instant};

/// Opens everything that a login of alice opens.
fn open_all(home: &Home<'_>, policy: &Path) -> Result<(), String> {
    Policy::load(policy)?;
    let text = |trouble: Trouble| trouble.to_string();
    let vault = Vault::open(&home.policy.state_dir).map_err(text)?;
    let room = vault.room(ALICE).map_err(text)?.ok_or("not enrolled")?;
    let (credentials, _) = room.credentials().map_err(text)?;
    room.journal(&credentials).and_then(|journal| journal.read()).map_err(text)?;
    Ok(())
}

/// Spoils what stands at a path; gives the words that the message must hold.
type Spoil = fn(&Path) -> &'static [&'static str];

fn put_aside(path: &Path) -> PathBuf {
    let aside = path.with_extension("aside");
    std::fs::rename(path, &aside).unwrap();
    aside
}

fn make_node(path: &Path, kind: FileType, device: fs::Dev) {
    put_aside(path);
    fs::mknodat(CWD, path, kind, PRIVATE_FILE, device).unwrap();
}

fn set_mode(path: &Path, add: u32) {
    let mode = path.metadata().unwrap().permissions().mode();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode | add)).unwrap();
}

const SPOILS: [(&str, Spoil); 10] = [
    ("a link", |path| {
        let aside = put_aside(path);
        symlink(aside, path).unwrap();
        &["symbolic link"]
    }),
    ("a dangling link", |path| {
        put_aside(path);
        symlink("/nowhere/at/all", path).unwrap();
        &["symbolic link"]
    }),
    ("a second name", |path| {
        let aside = put_aside(path);
        if aside.is_dir() {
            std::fs::write(path, "").unwrap();
            return &["is not a folder"];
        }
        std::fs::hard_link(aside, path).unwrap();
        &["hard link", "find / -xdev -samefile"]
    }),
    ("a FIFO", |path| {
        make_node(path, FileType::Fifo, 0);
        &["is not a "]
    }),
    ("a folder in place of a file, a file in place of a folder", |path| {
        let aside = put_aside(path);
        if aside.is_dir() {
            std::fs::write(path, "").unwrap()
        } else {
            std::fs::create_dir(path).unwrap()
        };
        &["is not a "]
    }),
    ("a device", |path| {
        make_node(path, FileType::CharacterDevice, fs::makedev(1, 3));
        &["is not a "]
    }),
    ("a socket", |path| {
        put_aside(path);
        drop(std::os::unix::net::UnixListener::bind(path).unwrap());
        &["is not a "]
    }),
    ("another owner", |path| {
        std::os::unix::fs::chown(path, Some(65534), None).unwrap();
        &["belongs to user id 65534; run: chown root "]
    }),
    ("writable by a group", |path| {
        set_mode(path, 0o020);
        &["open to others; run: chmod go-"]
    }),
    ("writable by all", |path| {
        set_mode(path, 0o002);
        &["open to others; run: chmod go-"]
    }),
];

/// Everything under a folder: paths, kinds, modes, owners, contents of files.
fn snapshot(dir: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    let mut lines = Vec::new();
    for item in dir.read_dir().unwrap() {
        let path = item.unwrap().path();
        let meta = path.symlink_metadata().unwrap();
        let content = if meta.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
        lines.push(format!("{path:?} {:o} {} {} {content:?}", meta.mode(), meta.uid(), meta.nlink()));
        if meta.is_dir() {
            lines.extend(snapshot(&path));
        }
    }
    lines.sort();
    lines
}

#[test]
fn whatever_stands_in_place_of_a_trusted_file_or_folder_is_refused_at_once_and_named_and_left_alone() {
    for place in ["policy", "state", "state/.format", "state/1000", "state/1000/credentials.toml", "state/1000/journal"]
    {
        for (what, spoil) in SPOILS {
            let home = Home::new();
            let policy = home.path().join("policy");
            std::fs::write(&policy, "[totp]\npast = 1\n").unwrap();
            std::fs::set_permissions(&policy, std::fs::Permissions::from_mode(0o644)).unwrap();
            open_all(&home, &policy).unwrap();
            let path = home.path().join(place);
            let words = spoil(&path);
            let before = snapshot(home.path());
            let started = Instant::now();
            let message = open_all(&home, &policy).expect_err(what);
            assert!(started.elapsed() < Duration::from_secs(1), "{place}: {what}");
            assert!(message.starts_with(&format!("{}: ", path.display())), "{place}: {what}: {message}");
            assert!(words.iter().all(|word| message.contains(word)), "{place}: {what}: {message}");
            if message.contains("run: ") {
                assert!(message.ends_with(&path.display().to_string()), "{message}");
            }
            assert_eq!(snapshot(home.path()), before, "{place}: {what}");
        }
    }
}

#[test]
fn secrets_must_not_be_readable_by_others_and_the_policy_may() {
    let dir = private_folder();
    let path = dir.path().join("file");
    std::fs::write(&path, "").unwrap();
    for (mode, secret, open) in
        [(0o600, true, true), (0o400, true, true), (0o640, false, true), (0o604, false, true), (0o646, false, false)]
    {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(open_path(&path, Privacy::Secret).is_ok(), secret, "{mode:o}");
        assert_eq!(open_path(&path, Privacy::ReadableByAll).is_ok(), open, "{mode:o}");
    }
}

#[test]
fn what_is_not_there_is_no_trouble() {
    let dir = private_folder();
    let folder = Folder::open(dir.path(), Privacy::Secret).unwrap().unwrap();
    assert!(Folder::open(&dir.path().join("no"), Privacy::Secret).unwrap().is_none());
    assert!(open_path(&dir.path().join("no"), Privacy::Secret).unwrap().is_none());
    assert!(folder.folder("no").unwrap().is_none());
    assert!(folder.file("no", OFlags::RDONLY, Privacy::Secret).unwrap().is_none());
    assert!(folder.stat("no").unwrap().is_none());
    folder.remove("no").unwrap();
}

#[test]
fn a_name_leads_nowhere_but_into_its_folder() {
    let dir = private_folder();
    let inner = dir.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    set_mode(&inner, 0);
    std::fs::set_permissions(&inner, std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::write(dir.path().join("outside"), "").unwrap();
    let folder = Folder::open(&inner, Privacy::Secret).unwrap().unwrap();
    for name in ["../outside", "/etc/passwd", "..", "/proc/self/cwd"] {
        assert!(folder.file(name, OFlags::RDONLY, Privacy::Secret).is_err(), "{name}");
        assert!(folder.folder(name).is_err(), "{name}");
    }
}

#[test]
fn a_file_is_replaced_whole_and_privately_and_leaves_nothing_beside_it() {
    let dir = private_folder();
    let folder = Folder::open(dir.path(), Privacy::Secret).unwrap().unwrap();
    std::fs::write(dir.path().join("file.new"), "left over by a command that was killed").unwrap();
    for content in ["one", "two, longer", ""] {
        folder.replace("file", content.as_bytes(), 0).unwrap();
        let (fd, stat) = folder.file("file", OFlags::RDONLY, Privacy::Secret).unwrap().unwrap();
        assert_eq!(read_all(&fd, dir.path(), 64).unwrap().as_slice(), content.as_bytes());
        assert_eq!(stat.st_mode & 0o7777, 0o600);
        assert_eq!(dir.path().read_dir().unwrap().count(), 1);
    }
}

#[test]
fn a_replacement_that_fails_leaves_the_old_file_and_nothing_else() {
    let dir = private_folder();
    let folder = Folder::open(dir.path(), Privacy::Secret).unwrap().unwrap();
    std::fs::create_dir(dir.path().join("file")).unwrap();
    assert!(folder.replace("file", b"content", 0).is_err());
    assert_eq!(dir.path().read_dir().unwrap().count(), 1);
    assert!(dir.path().join("file").is_dir());
}

#[test]
fn a_file_that_must_be_new_is_never_written_through_what_is_there() {
    let dir = private_folder();
    let folder = Folder::open(dir.path(), Privacy::Secret).unwrap().unwrap();
    std::fs::write(dir.path().join("target"), "old").unwrap();
    symlink("target", dir.path().join("link")).unwrap();
    assert!(folder.write_new("target", b"new", 0).is_err());
    assert!(folder.write_new("link", b"new", 0).is_err());
    assert_eq!(std::fs::read(dir.path().join("target")).unwrap(), b"old");
}

#[test]
fn space_is_set_aside_without_moving_the_end() {
    use std::os::unix::fs::MetadataExt;
    let dir = private_folder();
    let folder = Folder::open(dir.path(), Privacy::Secret).unwrap().unwrap();
    folder.write_new("file", b"content", 64 * 1024).unwrap();
    let meta = dir.path().join("file").metadata().unwrap();
    assert_eq!(meta.len(), 7);
    assert!(meta.blocks() * 512 >= 64 * 1024);
}

#[test]
fn a_file_larger_than_allowed_is_not_read() {
    let dir = private_folder();
    let path = dir.path().join("file");
    std::fs::write(&path, "12345").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let (fd, _) = open_path(&path, Privacy::Secret).unwrap().unwrap();
    assert!(read_all(&fd, &path, 4).is_err());
    assert_eq!(read_all(&fd, &path, 5).unwrap().as_slice(), b"12345");
}

/// An editor replaces the policy by renaming; whoever opens it meanwhile gets the old one or the new one.
#[test]
fn a_policy_that_is_being_replaced_is_read_all_the_same() {
    let dir = private_folder();
    let folder = Folder::open(dir.path(), Privacy::Secret).unwrap().unwrap();
    folder.replace("policy", b"[totp]\n", 0).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    let opened = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let opened = (0..20_000)
                .map(|_| open_path(&dir.path().join("policy"), Privacy::Secret).map(|found| found.is_some()));
            let bad = opened.into_iter().find(|opened| *opened != Ok(true));
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            bad
        });
        while !done.load(std::sync::atomic::Ordering::Relaxed) {
            std::fs::write(dir.path().join("next"), "[totp]\n").unwrap();
            std::fs::set_permissions(dir.path().join("next"), std::fs::Permissions::from_mode(0o600)).unwrap();
            std::fs::rename(dir.path().join("next"), dir.path().join("policy")).unwrap();
        }
        reader.join().unwrap()
    });
    assert_eq!(opened, None);
}
