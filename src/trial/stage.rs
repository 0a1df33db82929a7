//! The namespace of a trial: what is on the machine, with an account, a stack, a policy and state that exist here only.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, unshare};
use nix::unistd::setresuid;
use qrtotp_core::enroll::{self, Draft, Occasion};
use qrtotp_core::otp::{Secret, Shape};
use qrtotp_core::policy::Policy;
use qrtotp_core::ports::{Clock, Random};
use qrtotp_core::vault::{self, Vault};
use qrtotp_core::words::{Account, Label, Source, Uid, UserName};
use qrtotp_system::{SystemClock, SystemRandom};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};
use serde::{Deserialize, Serialize};
use sha_crypt::{PasswordHasher, ShaCrypt};

/// The account that logs in.
pub const USER: &str = "qrtotp-trial";
/// User ids that it may have: the first that nobody has.
const UIDS: std::ops::Range<u32> = 59_000..59_900;

/// What is tried.
#[derive(Serialize, Deserialize, Debug)]
pub struct Script {
    /// The PAM service.
    pub service: String,
    /// Its file, as it would be.
    pub text: String,
    /// The file that is covered by it.
    pub file: PathBuf,
    /// The policy file.
    pub config: PathBuf,
    /// Whether the stack asks for a password before the code.
    pub asks_password: bool,
    /// Folders in which modules keep count of failures, beside the usual one.
    pub folders: Vec<PathBuf>,
}

/// What the trial needs to log in with.
pub struct Stage {
    /// The password of [`USER`].
    pub password: String,
    /// The key of its device.
    pub secret: Secret,
    /// The question for a code.
    pub question: String,
}

/// Makes the namespace, which goes with this process.
///
/// # Errors
/// A sentence, where it cannot be made.
pub fn build(script: &Script, policy: &Policy) -> Result<Stage, String> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(|errno| format!("no mount namespace can be had: {errno}"))?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(told("make mounts private"))?;
    let scratch = policy.runtime_dir.as_path();
    cover_folder(scratch)?;
    cover_folder(&policy.state_dir)?;
    if let Some(folder) = policy.events_file.parent() {
        cover_folder(folder)?;
    }
    // What keeps count of failures, and what would answer for accounts that it has not heard of.
    for folder in &script.folders {
        // As the module would make it.
        let _ = fs::create_dir(folder);
    }
    let usual = PathBuf::from("/run/nscd");
    for folder in script.folders.iter().chain([&usual]).filter(|folder| folder.is_dir()) {
        cover_folder(folder)?;
    }
    if let Ok(socket) = fs::canonicalize("/dev/log") {
        cover_file(scratch, &socket, b"", 0o600)?;
    }
    let password = random_word()?;
    let uid = free_uid()?;
    add_account(scratch, uid, &password)?;
    cover_file(scratch, &script.file, script.text.as_bytes(), 0o644)?;
    if script.config.exists() {
        cover_file(scratch, &script.config, policy_text(policy).as_bytes(), 0o644)?;
    }
    let secret = enroll_account(policy, uid)?;
    // As whoever calls su or sudo: root's rights, and not root's own id, which pam_rootok lets by.
    let root = nix::unistd::Uid::from_raw(0);
    setresuid(nix::unistd::Uid::from_raw(uid), root, root).map_err(told("become the account of the trial"))?;
    Ok(Stage { password, secret, question: policy.prompts.text.clone() })
}

fn told<E: std::fmt::Display>(doing: impl Into<String>) -> impl FnOnce(E) -> String {
    let doing = doing.into();
    move |error| format!("cannot {doing}: {error}")
}

fn cover_folder(folder: &Path) -> Result<(), String> {
    if !folder.is_dir() {
        return Err(format!("{} is missing; run: qrtotp init", folder.display()));
    }
    let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
    mount("tmpfs", folder, "tmpfs", flags, c"mode=0700,size=16m").map_err(told(format!("cover {}", folder.display())))
}

/// Puts a file of the scratch folder over one that is there.
fn cover_file(scratch: &Path, over: &Path, content: &[u8], mode: u32) -> Result<(), String> {
    let name = over.to_string_lossy().replace('/', "_");
    let path = scratch.join(name);
    let doing = || format!("write {}", path.display());
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
    let mut file = file.map_err(told(doing()))?;
    file.write_all(content).map_err(told(doing()))?;
    // Whatever the umask is.
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(told(doing()))?;
    mount_bind(&path, over).map_err(told(format!("cover {}", over.display())))
}

/// Twenty letters of base32.
fn random_word() -> Result<String, String> {
    let mut bytes = [0; 20];
    SystemRandom.fill(&mut bytes).map_err(|_| "the kernel gives no random numbers".to_owned())?;
    let text = data_encoding::BASE32_NOPAD.encode(&bytes);
    Ok(text.chars().take(20).collect())
}

fn free_uid() -> Result<u32, String> {
    let passwd = fs::read_to_string("/etc/passwd").map_err(told("read /etc/passwd"))?;
    let taken: Vec<u32> = passwd.lines().filter_map(|line| line.split(':').nth(2)?.parse().ok()).collect();
    let mut free = UIDS.filter(|uid| !taken.contains(uid));
    free.next().ok_or_else(|| "no user id is free for the trial".to_owned())
}

fn add_account(scratch: &Path, uid: u32, password: &str) -> Result<(), String> {
    let salt = random_word()?;
    let hash =
        ShaCrypt::default().hash_password_with_salt(password.as_bytes(), salt.get(..12).unwrap_or("x").as_bytes());
    let hash = hash.map_err(told("hash a password"))?;
    let with = |path: &str, line: String| -> Result<(), String> {
        let mut text = fs::read_to_string(path).map_err(told(format!("read {path}")))?;
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&line);
        cover_file(scratch, Path::new(path), text.as_bytes(), if path == "/etc/shadow" { 0o600 } else { 0o644 })
    };
    with("/etc/passwd", format!("{USER}:x:{uid}:65534:qrtotp trial:/:/bin/sh\n"))?;
    with("/etc/shadow", format!("{USER}:{}:19000:0:99999:7:::\n", hash.as_str()))
}

/// The places and prompts of the real policy, and no rules: everybody is asked for a code.
fn policy_text(policy: &Policy) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let path = |path: &Path| text(&path.to_string_lossy());
    format!(
        "[state]\ndir = {}\n[events]\nfile = {}\n[runtime]\ndir = {}\n[prompt]\ntext = {}\n",
        path(&policy.state_dir),
        path(&policy.events_file),
        path(&policy.runtime_dir),
        text(&policy.prompts.text),
    )
}

fn enroll_account(policy: &Policy, uid: u32) -> Result<Secret, String> {
    let nothing = || "the kernel gives neither time nor random numbers".to_owned();
    let now = SystemClock.now().ok_or_else(nothing)?;
    let name = UserName::parse(USER.as_bytes()).ok_or_else(nothing)?;
    let account = Account { name, uid: Uid(uid) };
    let decoys = (0..vault::DECOY_COUNT).filter_map(|_| enroll::decoy(now, &SystemRandom).ok().flatten());
    vault::initialise(&policy.state_dir, &decoys.collect::<Vec<_>>()).map_err(told("make state for the trial"))?;
    let state = Vault::open(&policy.state_dir).map_err(told("open state for the trial"))?;
    let secret = Secret::generate(&SystemRandom).map_err(|_| nothing())?;
    let copy = Secret::from_base32(&secret.to_base32()).map_err(|_| nothing())?;
    let label = Label::parse("trial").ok_or_else(nothing)?;
    let draft = Draft::with(copy, Shape::default(), label, &SystemRandom).map_err(|_| nothing())?;
    let occasion = Occasion { account: &account, now, source: Source::Local(Uid(0)), random: &SystemRandom };
    let stored = enroll::store_fresh(&state, &occasion, draft, None, Vec::new(), false);
    stored.map_err(|_| "state for the trial cannot be made".to_owned())?;
    Ok(secret)
}
