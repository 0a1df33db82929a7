//! What is tested: the built module and command, where they lie, and what the command is asked to do.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::{env, fs, thread};

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::phone::Phone;
use crate::sandbox::Sandbox;

/// The policy.
pub const POLICY: &str = "/etc/qrtotp/config.toml";
/// The state.
pub const STATE: &str = "/var/lib/qrtotp";
/// The events, one JSON line each.
pub const EVENTS: &str = "/var/log/qrtotp/events.jsonl";

/// The programs, read before a sandbox covers the folders they lie in.
pub struct Parts {
    module: Vec<u8>,
    programs: [(&'static str, Vec<u8>); 3],
}

/// Where `cargo build --release` left the module and the command; `QRTOTP_TARGET` names another folder.
pub fn target_folder() -> PathBuf {
    env::var_os("QRTOTP_TARGET")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release"), PathBuf::from)
}

/// The built module.
pub fn module_file() -> PathBuf {
    target_folder().join("libpam_qrtotp.so")
}

/// Reads the built files, once.
///
/// # Panics
/// Where they are not built.
pub fn parts() -> &'static Parts {
    static PARTS: OnceLock<Parts> = OnceLock::new();
    PARTS.get_or_init(|| {
        let test = env::current_exe().unwrap();
        // Tests lie in deps/, the benchmark beside pamhost.
        let beside = test.ancestors().skip(1).take(2).find(|folder| folder.join("pamhost").exists());
        let beside = beside.unwrap_or(Path::new("/")).to_owned();
        let built = |path: &Path| {
            fs::read(path).unwrap_or_else(|error| {
                panic!("{}: {error}; run `cargo build --release --workspace` first", path.display())
            })
        };
        Parts {
            module: built(&module_file()),
            programs: [
                ("qrtotp", built(&target_folder().join("qrtotp"))),
                ("pamhost", built(&beside.join("pamhost"))),
                ("askpass", built(&beside.join("askpass"))),
            ],
        }
    })
}

impl Parts {
    /// Module and command, by the names that cargo gave them.
    pub fn product(&self) -> [(&'static str, &[u8]); 2] {
        let (name, command) = &self.programs[0];
        [("libpam_qrtotp.so", &self.module), (name, command)]
    }
}

/// Puts them where an installation would: the module beside the distribution's, the command into the path.
pub(crate) fn install(parts: &Parts) {
    let module = format!("{}/pam_qrtotp.so", security_folder());
    fs::write(&module, &parts.module).unwrap();
    fs::set_permissions(&module, fs::Permissions::from_mode(0o644)).unwrap();
    for (name, program) in &parts.programs {
        let path = format!("/usr/local/sbin/{name}");
        write_by_another(&path, program);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// Writes a program through a process of its own. A descriptor of ours would be inherited by whatever another test's thread
/// starts at that moment, and as long as that has not called exec, the program is busy (ETXTBSY).
fn write_by_another(path: &str, program: &[u8]) {
    let mut cat = Command::new("/bin/sh");
    let mut cat = cat.args(["-c", "cat > \"$0\"", path]).stdin(Stdio::piped()).spawn().unwrap();
    cat.stdin.take().unwrap().write_all(program).unwrap();
    assert!(cat.wait().unwrap().success(), "{path}");
}

/// The folder libpam loads modules from.
///
/// # Panics
/// Where pam_unix.so is in none of the usual ones.
pub fn security_folder() -> &'static str {
    static FOLDER: OnceLock<String> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let mut folders = vec!["/usr/lib64/security".to_owned(), "/usr/lib/security".to_owned()];
        folders.insert(0, format!("/usr/lib/{}-linux-gnu/security", env::consts::ARCH));
        folders.insert(1, format!("/lib/{}-linux-gnu/security", env::consts::ARCH));
        let found = folders.into_iter().find(|folder| Path::new(folder).join("pam_unix.so").exists());
        found.expect("pam_unix.so in a folder of PAM modules")
    })
}

/// A file of `pam.d-examples`, as it stands.
///
/// # Panics
/// Where there is none of that name.
pub fn example(name: &str) -> &'static str {
    match name {
        "sshd-key-and-code" => include_str!("../../pam.d-examples/sshd-key-and-code"),
        "sshd-password-and-code" => include_str!("../../pam.d-examples/sshd-password-and-code"),
        "sshd-password-with-code" => include_str!("../../pam.d-examples/sshd-password-with-code"),
        "su-password-with-code" => include_str!("../../pam.d-examples/su-password-with-code"),
        "sudo-fingerprint-or-code" => include_str!("../../pam.d-examples/sudo-fingerprint-or-code"),
        "sudo-fido2-or-code" => include_str!("../../pam.d-examples/sudo-fido2-or-code"),
        "sudo" => include_str!("../../pam.d-examples/sudo"),
        "su" => include_str!("../../pam.d-examples/su"),
        "login" => include_str!("../../pam.d-examples/login"),
        other => panic!("no example {other}"),
    }
}

/// What a run of the command gave.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; -1 for a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// Standard output as JSON.
    ///
    /// # Panics
    /// Where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// One enrolled device, as `enroll --json` told it.
#[derive(Clone, Debug, Deserialize)]
pub struct Device {
    /// Its id.
    pub id: String,
    /// Its label.
    pub label: String,
}

/// One enrollment, as `enroll --json` told it.
#[derive(Clone, Debug, Deserialize)]
pub struct Enrolled {
    /// The user.
    pub user: String,
    /// The user's id.
    pub uid: u32,
    /// The enrollment's id.
    pub enrollment: String,
    /// The device.
    pub device: Device,
    /// The otpauth URI.
    pub uri: String,
    /// The key in base32.
    pub key: String,
    /// The recovery codes; none where a device was added.
    #[serde(deserialize_with = "null_is_none")]
    pub recovery_codes: Vec<String>,
    /// The device itself.
    #[serde(skip, default)]
    pub phone: Phone,
}

fn null_is_none<'de, D: Deserializer<'de>>(given: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(given)?.unwrap_or_default())
}

/// What a device computes its codes by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parameters {
    /// `sha1`, `sha256` or `sha512`.
    pub algorithm: &'static str,
    /// 6 to 8.
    pub digits: u32,
    /// Seconds.
    pub period: u64,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { algorithm: "sha1", digits: 6, period: 30 }
    }
}

impl Sandbox {
    /// Runs the command with nothing on its standard input.
    pub fn qrtotp(&self, arguments: &[&str]) -> Ran {
        self.qrtotp_told("", arguments)
    }

    /// Runs the command with a text on its standard input.
    ///
    /// # Panics
    /// Where it cannot be started.
    pub fn qrtotp_told(&self, input: &str, arguments: &[&str]) -> Ran {
        let mut command = self.command("/usr/local/sbin/qrtotp");
        let mut child = command.args(arguments).stdin(Stdio::piped()).spawn().unwrap();
        let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_owned());
        let writer = thread::spawn(move || {
            let _ = stdin.write_all(input.as_bytes());
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Enrolls a user with a fresh key and the default parameters.
    pub fn enroll(&self, user: &str) -> Enrolled {
        self.enroll_device(user, "phone", Parameters::default())
    }

    /// Enrolls a user, or adds a device to one, with a fresh key.
    ///
    /// # Panics
    /// Where the command refuses.
    pub fn enroll_device(&self, user: &str, label: &str, with: Parameters) -> Enrolled {
        let key = BASE32_NOPAD.encode(&random::<20>());
        let (digits, period) = (with.digits.to_string(), with.period.to_string());
        let ran = self.qrtotp_told(
            &key,
            &[
                "enroll",
                user,
                "--stdin",
                "--unverified",
                "--json",
                "--label",
                label,
                "--algorithm",
                with.algorithm,
                "--digits",
                &digits,
                "--period",
                &period,
            ],
        );
        assert_eq!(ran.code, 0, "enrolling {user}: {}", ran.stderr);
        let mut enrolled: Enrolled =
            serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error} in {}", ran.stdout));
        assert_eq!(enrolled.key.replace([' ', '='], "").to_uppercase(), key);
        enrolled.phone = Phone::new(&key, with);
        enrolled
    }

    /// Replaces the policy.
    ///
    /// # Panics
    /// Where it cannot be written.
    pub fn policy(&self, text: &str) {
        fs::create_dir_all("/etc/qrtotp").unwrap();
        fs::write(POLICY, text).unwrap();
        fs::set_permissions(POLICY, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Makes an enrollment ticket; gives what is typed.
    ///
    /// # Panics
    /// Where the command refuses.
    pub fn ticket(&self, user: &str, options: &[&str]) -> String {
        let ran = self.qrtotp(&[&["ticket", "new", user, "--json"], options].concat());
        assert_eq!(ran.code, 0, "a ticket for {user}: {}", ran.stderr);
        ran.json()["ticket"].as_str().expect("a ticket").to_owned()
    }

    /// `status USER --json`.
    pub fn status(&self, user: &str) -> Value {
        self.qrtotp(&["status", user, "--json"]).json()
    }

    /// All events so far.
    ///
    /// # Panics
    /// Where a line is no JSON.
    pub fn events(&self) -> Vec<Value> {
        let text = fs::read_to_string(EVENTS).unwrap_or_default();
        text.lines()
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}")))
            .collect()
    }

    /// The events of logins so far.
    pub fn logins(&self) -> Vec<Value> {
        let mut events = self.events();
        events.retain(|event| event["event"] == "login");
        events
    }

    /// The reasons of the logins so far.
    pub fn reasons(&self) -> Vec<String> {
        let text = |event: &Value| event["reason"].as_str().unwrap_or("").to_owned();
        self.logins().iter().map(text).collect()
    }

    /// The reason of the last login.
    ///
    /// # Panics
    /// Where there was none.
    pub fn last_reason(&self) -> String {
        self.reasons().pop().expect("an event of a login")
    }
}

impl Sandbox {
    /// The reason in the module's last line in syslog, for where the events file has none.
    ///
    /// # Panics
    /// Where there is no such line.
    pub fn last_reason_in_syslog(&self) -> String {
        let line = self.syslog().of_module().pop().expect("a line of the module");
        let rest = line.split(" reason=").nth(1).expect("a reason");
        rest.split(' ').next().unwrap_or("").to_owned()
    }
}

/// Random bytes of the kernel.
///
/// # Panics
/// Where there are none.
pub fn random<const N: usize>() -> [u8; N] {
    use std::io::Read as _;
    let mut bytes = [0; N];
    fs::File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    bytes
}
