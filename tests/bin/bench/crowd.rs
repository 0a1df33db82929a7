//! Enrolled users, as many as wanted, for all three modules: some of them log in, the others are only there.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use qrtotp_core::otp::code::Generator;
use qrtotp_core::otp::recovery::Selector;
use qrtotp_core::otp::{SaltedHash, Secret, Shape};
use qrtotp_core::vault::{Credentials, Device, Journal, Recovery};
use qrtotp_core::words::{DeviceId, EnrollmentId, Label, Uid, UserName, WallTime};
use qrtotp_tests::product;
use qrtotp_tests::sandbox::Sandbox;

/// Users who log in.
pub const PLAYERS: usize = 272;
/// User id of the first of them.
const FIRST: u32 = 20_000;

/// The users and where their state lies.
pub struct Crowd {
    disk: PathBuf,
    size: usize,
}

impl Crowd {
    /// Writes the state of all of them, for all three modules.
    pub fn gather(disk: &Path, size: usize) -> Self {
        let crowd = Self { disk: disk.to_owned(), size: size.max(PLAYERS) };
        fs::create_dir_all(disk.join("google")).unwrap();
        private_folder(&disk.join("state"));
        private(&disk.join("state/.format"), b"qrtotp 1\n");
        let mut oath = String::new();
        for user in (0..crowd.size).rev() {
            crowd.enroll(user);
            if user < PLAYERS || size >= PLAYERS {
                writeln!(oath, "HOTP/T30/6 {} - {}", crowd.name(user), HEXLOWER.encode(&key(user))).unwrap();
            }
        }
        private(&disk.join("users.oath"), oath.as_bytes());
        rustix::fs::sync();
        crowd
    }

    /// Tells libpam and the name service of them.
    pub fn install(&self, sandbox: &Sandbox) {
        let disk = self.disk.display();
        fs::write(
            product::POLICY,
            format!(
                "[state]\ndir = \"{disk}/state\"\n[events]\nfile = \"{disk}/events.jsonl\"\n[flood]\nper_minute = 100000\n"
            ),
        )
        .unwrap();
        let google = format!("pam_google_authenticator.so user=root secret={disk}/google/${{USER}}");
        let oath = format!("pam_oath.so usersfile={disk}/users.oath window=3");
        for (service, module) in [("qrtotp", "pam_qrtotp.so"), ("google", &google), ("oath", &oath)] {
            sandbox.service(service, &format!("auth required {module}\n"));
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap();
        let mut text = String::new();
        for player in 0..PLAYERS {
            let uid = uid(player);
            writeln!(text, "{}:x:{uid}:{uid}::/:/bin/sh", self.name(player)).unwrap();
        }
        let others = passwd.lines().filter(|line| !line.starts_with("player"));
        others.for_each(|line| writeln!(text, "{line}").unwrap());
        fs::write("/etc/passwd", text).unwrap();
    }

    /// A user's name.
    pub fn name(&self, user: usize) -> String {
        format!("player{user}")
    }

    /// The code that a user's phone shows now.
    pub fn code(&self, user: usize) -> String {
        let shape = Shape::default();
        generator(user).code(shape.step_at(now())).to_text().to_string()
    }

    /// A code that it does not show.
    pub fn wrong_code(&self, user: usize) -> String {
        let shape = Shape::default();
        let step = shape.step_at(now());
        let near: Vec<_> = (-9..=9).map(|by| generator(user).code(step.offset(by)).to_text()).collect();
        ["000000", "111111", "222222"]
            .into_iter()
            .find(|code| near.iter().all(|other| other.as_str() != *code))
            .unwrap()
            .to_owned()
    }

    fn enroll(&self, user: usize) {
        let credentials = credentials(user, &self.name(user));
        let folder = self.disk.join("state").join(uid(user).to_string());
        private_folder(&folder);
        private(&folder.join("credentials.toml"), credentials.to_text().as_bytes());
        let journal = folder.join("journal");
        private(&journal, &Journal::fresh(credentials.enrollment, &[]));
        if user < PLAYERS {
            let file = fs::OpenOptions::new().write(true).open(&journal).unwrap();
            rustix::fs::fallocate(
                &file,
                rustix::fs::FallocateFlags::KEEP_SIZE,
                0,
                qrtotp_core::vault::journal::RESERVE,
            )
            .unwrap();
            let google = self.disk.join("google").join(self.name(user));
            let text =
                format!("{}\n\" DISALLOW_REUSE\n\" WINDOW_SIZE 3\n\" TOTP_AUTH\n", BASE32_NOPAD.encode(&key(user)));
            private(&google, text.as_bytes());
            fs::set_permissions(&google, fs::Permissions::from_mode(0o400)).unwrap();
        }
    }
}

fn uid(user: usize) -> u32 {
    FIRST + u32::try_from(user).unwrap()
}

fn key(user: usize) -> [u8; 20] {
    let mut key = [7; 20];
    key[..8].copy_from_slice(&user.to_be_bytes());
    key
}

fn secret(user: usize) -> Secret {
    Secret::from_base32(&BASE32_NOPAD.encode(&key(user))).unwrap()
}

fn generator(user: usize) -> Generator {
    Generator::new(&secret(user), Shape::default()).unwrap()
}

fn now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    WallTime(u64::try_from(since.as_millis()).unwrap())
}

/// What `qrtotp enroll` would have stored.
fn credentials(user: usize, name: &str) -> Credentials {
    let mut id = [9; 8];
    id[..4].copy_from_slice(&uid(user).to_be_bytes());
    Credentials {
        enrollment: EnrollmentId(id),
        user: UserName::parse(name.as_bytes()).unwrap(),
        uid: Uid(uid(user)),
        created: now(),
        revoked: None,
        devices: vec![Device {
            id: DeviceId([1; 4]),
            label: Label::parse("phone").unwrap(),
            shape: Shape::default(),
            secret: secret(user),
            added: now(),
            enabled: true,
            ticket: None,
            replaced: None,
        }],
        recovery: (b'0'..=b'9').map(|c| Recovery { selector: Selector([c; 4]), hash: SaltedHash::decoy() }).collect(),
    }
}

fn private_folder(path: &Path) {
    fs::create_dir_all(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
}

fn private(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}
