//! The people of the sandbox, and the files that know them.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

/// The password of everybody, root included.
pub const PASSWORD: &str = "open sesame";

/// Its SHA-512 crypt hash, with few rounds so that checking it takes no time.
const HASH: &str =
    "$6$rounds=1000$qrtotptest$yrqqn4tKcQJXvHunOW5eXf1kqv9lyYlj40cjyWyo/5PH8lLqEbesOYQk6NtqR0vb4WcdIhGB1cyN0x5NnBo35.";

/// Who is there at the start: name and user id (the group has the same).
pub const PEOPLE: [(&str, u32); 6] =
    [("alice", 2001), ("bob", 2002), ("carol", 2003), ("dave", 2004), ("mallory", 2005), ("nobody-enrolled", 2006)];

/// Writes passwd, shadow, group, nsswitch.conf and sudoers: the machine's own system accounts, and [`PEOPLE`].
pub fn write_all() {
    let system = |path: &str, keep: fn(&str) -> bool| -> String {
        fs::read_to_string(path)
            .unwrap()
            .lines()
            .filter(|line| keep(line))
            .fold(String::new(), |text, line| text + line + "\n")
    };
    let is_system = |line: &str| {
        let id = line.split(':').nth(2).and_then(|id| id.parse::<u32>().ok());
        !line.starts_with("root:") && id.is_some_and(|id| id < 1000 || id == 65_534)
    };
    let passwd = system("/etc/passwd", is_system);
    let group = system("/etc/group", is_system);
    fs::write("/etc/passwd", format!("root:x:0:0:root:/home/root:/bin/sh\n{passwd}")).unwrap();
    fs::write("/etc/group", format!("root:x:0:\n{group}")).unwrap();
    let shadow = passwd.lines().fold(format!("root:{HASH}:19000:0:99999:7:::\n"), |mut text, line| {
        let name = line.split(':').next().unwrap();
        writeln!(text, "{name}:*:19000:0:99999:7:::").unwrap();
        text
    });
    fs::write("/etc/shadow", shadow).unwrap();
    fs::set_permissions("/etc/shadow", fs::Permissions::from_mode(0o640)).unwrap();
    fs::write("/etc/gshadow", "").unwrap();
    make_home("root", 0);
    for (name, uid) in PEOPLE {
        add(name, uid);
    }
    fs::write("/etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files\n").unwrap();
    let _ = fs::remove_file("/etc/sudoers");
    fs::write(
        "/etc/sudoers",
        "Defaults env_reset, lecture=never\nroot ALL=(ALL:ALL) ALL\nalice ALL=(ALL:ALL) ALL\nbob ALL=(ALL:ALL) ALL\n",
    )
    .unwrap();
    fs::set_permissions("/etc/sudoers", fs::Permissions::from_mode(0o440)).unwrap();
}

/// Adds a person with the password of everybody, a group and a home.
///
/// # Panics
/// Where the files cannot be written.
pub fn add(name: &str, uid: u32) {
    append("/etc/passwd", &format!("{name}:x:{uid}:{uid}:{name}:/home/{name}:/bin/sh\n"));
    append("/etc/group", &format!("{name}:x:{uid}:\n"));
    append("/etc/shadow", &format!("{name}:{HASH}:19000:0:99999:7:::\n"));
    make_home(name, uid);
}

/// Takes a person off the list of accounts; the home stays.
///
/// # Panics
/// Where the files cannot be written.
pub fn remove(name: &str) {
    for path in ["/etc/passwd", "/etc/group", "/etc/shadow"] {
        let text = fs::read_to_string(path).unwrap();
        let prefix = format!("{name}:");
        let kept =
            text.lines().filter(|line| !line.starts_with(&prefix)).fold(String::new(), |text, line| text + line + "\n");
        fs::write(path, kept).unwrap();
    }
}

fn append(path: &str, line: &str) {
    let text = fs::read_to_string(path).unwrap();
    fs::write(path, text + line).unwrap();
}

fn make_home(name: &str, uid: u32) {
    let home = format!("/home/{name}");
    fs::create_dir_all(&home).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    chown(&home, Some(uid), Some(uid)).unwrap();
}
