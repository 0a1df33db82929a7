//! What enrollments leave in folders, and what a picture holds: found, told apart, and never printed.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::time::{Duration, Instant};

use data_encoding::{BASE32_NOPAD, BASE64, HEXLOWER};
use image::{GrayImage, Luma};
use qrtotp_tests::paper;
use qrtotp_tests::product::{Parameters, Ran};
use qrtotp_tests::sandbox::Sandbox;
use qrtotp_tests::terminal::Terminal;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;

/// A key that nobody has.
const STRANGE: &str = "MFRGGZDFMZTWQ2LKNNWG23TPOBYXE43U";

/// Writes a file of somebody, and the folders above it.
fn leave(path: &str, uid: u32, mode: u32, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.rsplit_once('/').unwrap().0).unwrap();
    fs::write(path, content).unwrap();
    give(path, uid, mode);
}

fn give(path: &str, uid: u32, mode: u32) {
    chown(path, Some(uid), Some(uid)).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn scan(sandbox: &Sandbox, options: &[&str]) -> (Ran, Vec<Value>) {
    let ran = sandbox.qrtotp(&[&["scan", "--json"], options].concat());
    let json = ran.json();
    (ran, json["findings"].as_array().unwrap().clone())
}

/// `path:line kind key user`
fn lines(findings: &[Value]) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let line = |f: &Value| {
        let parts: Vec<_> =
            ["path", "line", "kind", "key", "user", "user_by"].iter().map(|name| text(&f[*name])).collect();
        parts.join(" ")
    };
    let mut lines: Vec<_> = findings.iter().map(line).collect();
    lines.sort();
    lines
}

/// What the real google-authenticator writes and prints for a user: the path of its file, its output, and the key.
fn google_authenticator(sandbox: &Sandbox, user: &str, uid: u32) -> (String, String, String) {
    let path = format!("/home/{user}/.google_authenticator");
    let mut command = sandbox.command_as(uid, "/usr/bin/google-authenticator");
    let command = command.env("HOME", format!("/home/{user}")).env("USER", user);
    let options = ["-t", "-d", "-f", "-C", "-r", "3", "-R", "30", "-w", "3", "-Q", "UTF8", "-s", &path];
    let output = command.args(options).output().expect("google-authenticator");
    assert!(output.status.success(), "{output:?}");
    let key = fs::read_to_string(&path).unwrap().lines().next().unwrap().to_owned();
    (path, String::from_utf8_lossy(&output.stdout).into_owned(), key)
}

fn enroll_key(sandbox: &Sandbox, user: &str, key: &str) {
    let ran = sandbox.qrtotp_told(key, &["enroll", user, "--stdin", "--unverified"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

#[test]
fn what_is_left_is_found_with_its_user_and_whether_the_key_is_alive_and_no_key_is_printed() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let carol = sandbox.enroll("carol");
    let (_, printed, bobs_key) = google_authenticator(&sandbox, "bob", 2002);
    assert!(printed.contains("secret%3D") || printed.contains("secret="), "the premise: {printed}");
    leave("/home/bob/setup.log", 2002, 0o644, &printed);
    enroll_key(&sandbox, "bob", &bobs_key);
    let hex = HEXLOWER.encode(&BASE32_NOPAD.decode(carol.key.replace(' ', "").as_bytes()).unwrap());
    let users = format!("# users\nHOTP/T30/6\tcarol\t-\t{hex}\nHOTP dave - {}\n", "00".repeat(20));
    leave("/home/root/users.oath", 0, 0o600, users);
    leave("/home/alice/.bash_history", 2001, 0o600, format!("ls\necho {} | qrtotp enroll alice --stdin\n", alice.key));
    leave("/home/alice/card.html", 2001, 0o640, format!("<p>{}</p>", grouped(&alice.key)));
    leave("/home/root/old.txt", 0, 0o644, format!("otpauth://totp/h1:mallory?secret={STRANGE}&issuer=h1\n"));
    paper::write(&paper::code(&alice.uri, 3), "/home/alice/qr.png");
    paper::write(&paper::code(&alice.uri, 3), "/home/alice/photo.jpg");
    fs::rename("/home/alice/photo.jpg", "/home/alice/notes.txt").unwrap();
    let (ran, findings) = scan(&sandbox, &["/home"]);
    let expected = [
        "/home/alice/.bash_history 2 key alive alice key",
        "/home/alice/card.html 1 key alive alice key",
        "/home/alice/notes.txt null otpauth alive alice key",
        "/home/alice/qr.png null otpauth alive alice key",
        "/home/bob/.google_authenticator 1 google-authenticator alive bob key",
        "/home/root/old.txt 1 otpauth not_in_use_here mallory account",
        "/home/root/users.oath 2 users.oath alive carol key",
        "/home/root/users.oath 3 users.oath not_in_use_here dave account",
    ];
    let mut found = lines(&findings);
    let log: Vec<_> = found.iter().filter(|line| line.contains("setup.log")).cloned().collect();
    assert_eq!(log.len(), 1, "{log:?}");
    assert!(log[0].ends_with("otpauth alive bob key"), "{log:?}");
    found.retain(|line| !line.contains("setup.log"));
    assert_eq!(found, expected);
    assert_eq!(ran.code, 1, "a key is alive");
    let card = findings.iter().find(|f| f["path"] == "/home/alice/card.html").unwrap();
    assert_eq!(
        (&card["mode"], &card["others_can_read"], &card["owner_uid"]),
        (&"0640".into(), &true.into(), &2001.into())
    );
    let ranks: Vec<_> = findings.iter().map(|f| f["key"] != "alive").collect();
    assert!(ranks.is_sorted(), "what is alive comes first: {findings:?}");
    let table = sandbox.qrtotp(&["scan", "/home"]);
    assert!(table.stderr.contains("qrtotp rotate alice phone"), "{}", table.stderr);
    for secret in [&alice.key, &bobs_key, &carol.key, &hex, &STRANGE.to_owned()] {
        let secret = secret.replace(' ', "");
        for text in [&ran.stdout, &ran.stderr, &table.stdout, &table.stderr] {
            assert!(!text.replace(' ', "").to_lowercase().contains(&secret.to_lowercase()), "{text}");
        }
    }
}

fn grouped(key: &str) -> String {
    let key = key.replace(' ', "");
    key.as_bytes().chunks(4).map(|group| str::from_utf8(group).unwrap()).collect::<Vec<_>>().join(" ")
}

#[test]
fn an_export_of_an_app_is_found_account_by_account() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let key = BASE32_NOPAD.decode(alice.key.replace(' ', "").as_bytes()).unwrap();
    let account = [b"\x0a\x14".as_slice(), &key, b"\x12\x07someone\x1a\x02h1\x20\x01\x28\x01\x30\x02"].concat();
    let message = [&[0x0a, u8::try_from(account.len()).unwrap()], account.as_slice(), b"\x10\x01"].concat();
    let data = BASE64.encode(&message).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let uri = format!("otpauth-migration://offline?data={data}");
    paper::write(&paper::code(&uri, 4), "/home/alice/export.png");
    leave("/home/alice/export.txt", 2001, 0o600, format!("\n{uri}\n"));
    let (_, findings) = scan(&sandbox, &["/home/alice"]);
    let expected = [
        "/home/alice/export.png null otpauth-migration alive alice key",
        "/home/alice/export.txt 2 otpauth-migration alive alice key",
    ];
    assert_eq!(lines(&findings), expected);
    let held = sandbox.qrtotp(&["check-picture", "/home/alice/export.png", "--json"]).json();
    assert_eq!(held["codes"][0]["accounts"][0]["account"], "someone", "{held}");
    assert_eq!(held["codes"][0]["accounts"][0]["alive"], true);
}

#[test]
fn a_key_that_was_disabled_or_is_gone_is_told_from_one_that_is_alive() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    sandbox.enroll_device("alice", "tablet", Parameters::default());
    leave("/home/alice/uri", 2001, 0o600, &alice.uri);
    let key = |expected: &str, code: i32| {
        let (ran, findings) = scan(&sandbox, &["/home/alice/uri"]);
        assert_eq!((findings[0]["key"].as_str().unwrap(), ran.code), (expected, code), "{}", ran.stdout);
    };
    key("alive", 1);
    assert_eq!(sandbox.qrtotp(&["device", "disable", "alice", "phone"]).code, 0);
    key("disabled", 0);
    assert_eq!(sandbox.qrtotp(&["device", "remove", "alice", "phone"]).code, 0);
    key("not_in_use_here", 0);
}

#[test]
fn a_scan_changes_nothing_and_says_where_there_is_nothing() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    let before = sandbox.events().len();
    leave("/home/alice/a/b", 2001, 0o600, "nothing of importance\n");
    let (ran, findings) = scan(&sandbox, &["/home/alice", "/home/bob"]);
    assert_eq!((ran.code, findings.len()), (0, 0), "{}", ran.stdout);
    leave("/home/alice/uri", 2001, 0o600, &alice.uri);
    let old = fs::FileTimes::new().set_accessed(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1000));
    fs::File::options().write(true).open("/home/alice/uri").unwrap().set_times(old).unwrap();
    let (_, findings) = scan(&sandbox, &["/home/alice/uri", "/home", "/home/alice"]);
    assert_eq!(findings.len(), 1, "what is named twice is looked at once");
    let data = fs::metadata("/home/alice/uri").unwrap();
    assert_eq!((data.atime(), data.len()), (1000, u64::try_from(alice.uri.len()).unwrap()));
    assert_eq!(sandbox.events().len(), before);
    assert_eq!(sandbox.qrtotp(&["scan", "/no/such/folder"]).code, 1);
    assert_eq!(sandbox.qrtotp(&["scan"]).code, 2);
}

#[test]
fn hostile_folders_neither_stop_a_scan_nor_lead_it_elsewhere() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    leave("/home/root/secret", 0, 0o600, &alice.uri);
    leave("/home/mallory/z-last", 2005, 0o644, &alice.uri);
    let home = "/home/mallory";
    mknodat(CWD, format!("{home}/fifo"), FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
    symlink("/home/root/secret", format!("{home}/link.png")).unwrap();
    symlink("/home/root", format!("{home}/folder")).unwrap();
    symlink("loop", format!("{home}/loop")).unwrap();
    symlink(home, format!("{home}/again")).unwrap();
    fs::File::create(format!("{home}/sparse")).unwrap().set_len(1 << 40).unwrap();
    leave(
        &format!("{home}/\u{1b}[2J\nname"),
        2005,
        0o600,
        format!("otpauth://totp/%1b]0;x%07%1b[2J:%0aroot?secret={STRANGE}"),
    );
    fs::write(format!("{home}/cut.png"), b"\x89PNG\r\n\x1a\n").unwrap();
    fs::write(format!("{home}/cut.jpg"), b"\xff\xd8\xff\xe0").unwrap();
    let flood: String = (0..50_000).map(|at| format!("otpauth://totp/u{at}?secret={STRANGE}\n")).collect();
    leave(&format!("{home}/flood"), 2005, 0o600, flood + &alice.uri + "\n");
    deep(home);
    let began = Instant::now();
    let (ran, findings) = scan(&sandbox, &[home]);
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    let json = ran.json();
    let alive: Vec<_> = findings.iter().filter(|f| f["key"] == "alive").map(|f| f["path"].as_str().unwrap()).collect();
    assert_eq!(alive, ["/home/mallory/flood", "/home/mallory/z-last"], "{}", ran.stdout);
    assert!(findings.len() < 40, "{}", findings.len());
    assert!(json["bytes"].as_u64().unwrap() < 20_000_000, "holes are not read: {}", json["bytes"]);
    let not: Vec<_> = json["not_looked_at"].as_array().unwrap().iter().map(|f| f["path"].as_str().unwrap()).collect();
    assert!(not.contains(&"/home/mallory/cut.png") && not.contains(&"/home/mallory/cut.jpg"), "{not:?}");
    assert!(!json["passed_over"].as_array().unwrap().is_empty(), "too deep, and said so");
    let table = sandbox.qrtotp(&["scan", home]);
    for text in [&table.stdout, &table.stderr, &ran.stderr] {
        assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'), "{text:?}");
    }
    assert!(table.stdout.contains("\\x1b[2J\\x0aname:1"), "{}", table.stdout);
}

/// Folders whose path is longer than any call takes.
fn deep(home: &str) {
    let name = "d".repeat(200);
    let mut folder = fs::File::open(home).unwrap();
    for _ in 0..30 {
        rustix::fs::mkdirat(&folder, &*name, Mode::RWXU).unwrap();
        folder = rustix::fs::openat(&folder, &*name, rustix::fs::OFlags::DIRECTORY, Mode::empty()).unwrap().into();
    }
}

#[test]
fn a_picture_made_to_take_forever_is_given_up_and_named() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    // Thousands of corners that could belong together.
    let corner = |at: u32| at % 9;
    let forever = GrayImage::from_fn(1998, 1998, |x, y| {
        let (x, y) = (corner(x), corner(y));
        let ring = x.abs_diff(3).max(y.abs_diff(3));
        Luma([if x < 7 && y < 7 && ring != 2 { 0 } else { 255 }])
    });
    paper::write(&forever, "/home/mallory/forever.png");
    leave("/home/mallory/z", 2005, 0o600, &alice.uri);
    let began = Instant::now();
    let (ran, findings) = scan(&sandbox, &["/home/mallory"]);
    assert!(began.elapsed() < Duration::from_secs(120), "{:?}", began.elapsed());
    assert_eq!(findings.len(), 1, "what comes after is found: {}", ran.stdout);
    let not = ran.json()["not_looked_at"].clone();
    assert!(not[0]["why"].as_str().unwrap().contains("seconds"), "{not}");
}

#[test]
fn other_file_systems_and_the_state_are_passed_over_and_named() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    fs::create_dir("/home/disk").unwrap();
    sandbox.output_of("/usr/bin/mount", &["-t", "tmpfs", "none", "/home/disk"]);
    leave("/home/disk/uri", 2001, 0o600, &alice.uri);
    let (ran, findings) = scan(&sandbox, &["/home"]);
    assert_eq!(findings.len(), 0);
    assert_eq!(ran.json()["passed_over"][0]["path"], "/home/disk", "{}", ran.stdout);
    assert_eq!(scan(&sandbox, &["/home", "--across"]).1.len(), 1);
    assert_eq!(scan(&sandbox, &["/home/disk"]).1.len(), 1, "named");
    let (ran, findings) = scan(&sandbox, &["/var"]);
    assert_eq!(findings.len(), 0, "the state is no leftover: {}", ran.stdout);
    assert_eq!(sandbox.qrtotp(&["scan", "/proc"]).code, 1);
}

#[test]
fn a_person_at_a_terminal_sees_a_table_and_what_to_do() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    leave("/home/alice/uri", 2001, 0o644, &alice.uri);
    let mut terminal = Terminal::sized(sandbox.command("/usr/local/sbin/qrtotp").args(["scan", "/home"]), 40, 160);
    terminal.wait_for("Nothing was changed.");
    let (status, shown) = terminal.end();
    assert_eq!(status.code(), Some(1), "{shown}");
    for part in [
        "KEY",
        "WHERE",
        "ALIVE: phone of alice",
        "others can read",
        "/home/alice/uri:1",
        "qrtotp rotate alice phone",
        "% of",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let rotated = sandbox.qrtotp(&["rotate", "alice", "phone"]);
    assert_eq!(rotated.code, 0, "what it says works: {}", rotated.stderr);
}

#[test]
fn anybody_is_told_what_a_picture_holds_and_root_whether_the_key_is_alive() {
    let sandbox = Sandbox::new();
    let alice = sandbox.enroll("alice");
    paper::write(&paper::code(&alice.uri, 3), "/home/alice/sent.png");
    give("/home/alice/sent.png", 2001, 0o600);
    let output = sandbox
        .command_as(2001, "/usr/local/sbin/qrtotp")
        .args(["check-picture", "/home/alice/sent.png"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    for part in [
        "issuer     testhost",
        "account    alice",
        "digits     6",
        "period     30 s",
        "160 bits, withheld",
        "not known",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
    let root = sandbox.qrtotp(&["check-picture", "/home/alice/sent.png"]);
    assert!(root.stdout.contains("ALIVE: phone of alice"), "{}", root.stdout);
    let json = sandbox.qrtotp(&["check-picture", "--json", "/home/alice/sent.png"]).json();
    assert_eq!(
        (&json["codes"][0]["alive"], &json["codes"][0]["owner"]["user"]),
        (&true.into(), &"alice".into()),
        "{json}"
    );
    let key = alice.key.replace(' ', "");
    assert!(!told.contains(&key) && !root.stdout.contains(&key) && !json.to_string().contains(&key));
}

#[test]
fn a_picture_that_holds_no_key_is_told_for_what_it_is() {
    let sandbox = Sandbox::new();
    for (text, expected) in [
        ("https://bank.example@evil.example/login", "the host evil.example."),
        ("WIFI:T:WPA;S:net;P:hunter2;;", "wireless network"),
        ("hello \u{1b}[2J", "hello \\x1b[2J"),
        ("otpauth://hotp/x?secret=JBSWY3DPEHPK3PXP&counter=3", "counter-based"),
        (STRANGE, "not shown"),
    ] {
        paper::write(&paper::code(text, 3), "/tmp/picture.png");
        let ran = sandbox.qrtotp(&["check-picture", "/tmp/picture.png"]);
        assert!(ran.code == 0 && ran.stdout.contains(expected), "{text}: {ran:?}");
        assert!(!ran.stdout.contains("hunter2") && !ran.stdout.contains("JBSW") && !ran.stdout.contains(STRANGE));
    }
    fs::write("/tmp/text.png", "no picture").unwrap();
    paper::write(&GrayImage::from_pixel(200, 200, Luma([128])), "/tmp/empty.png");
    for (path, expected) in [
        ("/tmp/text.png", "neither PNG nor JPEG"),
        ("/tmp/empty.png", "no QR code was found; try"),
        ("/tmp", "is not a file"),
        ("/tmp/none.png", "No such file"),
        ("/dev/zero", "is not a file"),
    ] {
        let ran = sandbox.qrtotp(&["check-picture", path]);
        assert!(ran.code == 1 && ran.stderr.contains(expected), "{path}: {ran:?}");
    }
}
