//! A machine of its own for one test: the thread that makes it, and every program that thread starts, see private mounts,
//! a private network and a private host name. What is written there lives in memory and goes with the last process inside.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{Pid, Signal, kill_process};

use crate::syslog::Syslog;
use crate::{DEADLINE, in_background, product, sys, users};

/// The host's name inside.
pub const HOST: &str = "testhost";

/// Where programs are looked for inside.
pub const PATH: &str = "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Scratch memory of the sandbox: overlays lie in it, and tests may put files there.
pub const SCRATCH: &str = "/mnt";

/// The private machine; dropping it kills whatever still runs inside and takes the thread back out.
pub struct Sandbox {
    syslog: Option<Syslog>,
    outside: Vec<File>,
    inside: (u64, u64),
}

impl Sandbox {
    /// A machine with the module, the command and `qrtotp init` done: default policy, empty state, [`users::PEOPLE`].
    ///
    /// # Panics
    /// Where it cannot be made; it takes root.
    pub fn new() -> Self {
        let sandbox = Self::bare();
        let made = sandbox.qrtotp(&["init"]);
        assert_eq!(made.code, 0, "qrtotp init: {}", made.stderr);
        sandbox
    }

    /// The same without `qrtotp init`: no state, no policy.
    ///
    /// # Panics
    /// Where it cannot be made; it takes root.
    pub fn bare() -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests make private mount namespaces: run them as root, by tests/run.sh"
        );
        let parts = product::parts();
        // Its first use starts the thread that starts the others: outside.
        in_background(|| ());
        let outside =
            ["mnt", "net", "uts"].map(|kind| File::open(format!("/proc/thread-self/ns/{kind}")).unwrap()).into();
        sys::unshare().expect("namespaces of our own");
        let mut sandbox = Self { syslog: None, outside, inside: namespace("/proc/thread-self/ns/mnt").unwrap() };
        build();
        product::install(parts);
        sandbox.syslog = Some(Syslog::listen());
        sandbox
    }

    /// What arrived at /dev/log.
    pub fn syslog(&self) -> &Syslog {
        self.syslog.as_ref().unwrap()
    }

    /// A program that will run inside, with a clean environment, no input, and its output caught.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", "/home/root")
            .env("LANG", "C.UTF-8")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        sys::die_with_us(&mut command);
        command
    }

    /// The same as another user, who is in no group but his own.
    pub fn command_as(&self, uid: u32, program: &str) -> Command {
        let mut command = self.command(program);
        sys::as_user(&mut command, uid);
        command
    }

    /// Runs a program of the machine to its end and returns what it printed.
    ///
    /// # Panics
    /// Where it cannot be started or fails.
    pub fn output_of(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program).args(arguments).output();
        let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Writes a service file of /etc/pam.d.
    pub fn service(&self, name: &str, text: &str) {
        fs::write(format!("/etc/pam.d/{name}"), text).unwrap();
    }

    /// Which processes run inside.
    pub fn processes(&self) -> Vec<i32> {
        let own = i32::try_from(std::process::id()).unwrap();
        let numbers = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let name = entry.ok()?.file_name();
            name.to_str()?.parse::<i32>().ok()
        });
        numbers
            .filter(|pid| *pid != own)
            .filter(|pid| namespace(&format!("/proc/{pid}/ns/mnt")) == Some(self.inside))
            .collect()
    }

    fn kill_all(&self) {
        let end = Instant::now() + DEADLINE;
        loop {
            let running = self.processes();
            if running.is_empty() || Instant::now() > end {
                return;
            }
            for pid in running.into_iter().filter_map(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
            std::thread::yield_now();
        }
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.explain();
        }
        self.kill_all();
        drop(self.syslog.take());
        for namespace in &self.outside {
            if let Err(error) = sys::enter(namespace) {
                eprintln!("the thread stays in the sandbox: {error}");
            }
        }
    }
}

impl Sandbox {
    /// Shows, where a test failed, what the module said.
    fn explain(&self) {
        let lines = self.syslog.as_ref().map(|log| log.arrived().all());
        let lines = lines.unwrap_or_default();
        let from = lines.len().saturating_sub(20);
        eprintln!("the last lines of /dev/log:\n{}", lines[from..].join("\n"));
        let events = fs::read_to_string(product::EVENTS).unwrap_or_default();
        let events: Vec<&str> = events.lines().collect();
        let from = events.len().saturating_sub(10);
        eprintln!("the last events:\n{}", events[from..].join("\n"));
    }
}

/// Device and inode of a namespace file; none where the process is gone.
fn namespace(path: &str) -> Option<(u64, u64)> {
    let stat = fs::metadata(path).ok()?;
    Some((stat.dev(), stat.ino()))
}

fn build() {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
    tmpfs(SCRATCH, 0o755);
    overlay("/etc");
    overlay(product::security_folder());
    for (path, mode) in
        [("/home", 0o755), ("/run", 0o755), ("/tmp", 0o1777), ("/usr/local/sbin", 0o755), ("/var", 0o755)]
    {
        tmpfs(path, mode);
    }
    folders_of_var_and_run();
    devices();
    sys::loopback_up().unwrap();
    sys::set_host_name(HOST).unwrap();
    fs::write("/etc/hosts", format!("127.0.0.1 localhost {HOST}\n::1 localhost\n")).unwrap();
    fs::write("/etc/hostname", format!("{HOST}\n")).unwrap();
    for leftover in ["/etc/qrtotp", "/etc/pam.d"] {
        let _ = fs::remove_dir_all(leftover);
    }
    users::write_all();
    fs::create_dir("/etc/pam.d").unwrap();
    for (name, text) in DEBIAN_SERVICES {
        fs::write(format!("/etc/pam.d/{name}"), text).unwrap();
    }
}

fn tmpfs(path: &str, mode: u32) {
    let mode = std::ffi::CString::new(format!("mode={mode:o}")).unwrap();
    mount("tmpfs", path, "tmpfs", MountFlags::NODEV, &*mode)
        .unwrap_or_else(|error| panic!("tmpfs over {path}: {error}"));
}

/// The folder as it is, with changes kept in memory.
fn overlay(path: &str) {
    let name = path.replace('/', "_");
    let upper = format!("{SCRATCH}/overlay/{name}/upper");
    let work = format!("{SCRATCH}/overlay/{name}/work");
    for folder in [&upper, &work] {
        fs::create_dir_all(folder).unwrap();
    }
    let options = format!("lowerdir={path},upperdir={upper},workdir={work}");
    let options = std::ffi::CString::new(options).unwrap();
    mount("overlay", path, "overlay", MountFlags::empty(), &*options)
        .unwrap_or_else(|error| panic!("overlay over {path}: {error}"));
}

fn folders_of_var_and_run() {
    for (path, mode) in [
        ("/run/lock", 0o1777),
        ("/run/sshd", 0o755),
        ("/var/cache", 0o755),
        ("/var/lib", 0o755),
        ("/var/log", 0o755),
        ("/var/mail", 0o755),
        ("/var/spool", 0o755),
        ("/var/tmp", 0o1777),
    ] {
        fs::create_dir(path).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
    symlink("/run", "/var/run").unwrap();
    symlink("/run/lock", "/var/lock").unwrap();
    for path in ["/run/utmp", "/var/log/wtmp", "/var/log/btmp", "/var/log/lastlog"] {
        fs::write(path, "").unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    }
}

/// A /dev with what programs need, and pseudo-terminals of its own.
fn devices() {
    mount("tmpfs", "/dev", "tmpfs", MountFlags::NOSUID, c"mode=755").unwrap();
    for (name, major, minor) in
        [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)]
    {
        let path = format!("/dev/{name}");
        let mode = Mode::from_raw_mode(0o666);
        mknodat(CWD, &path, FileType::CharacterDevice, mode, makedev(major, minor)).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    }
    for (name, target) in [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        symlink(target, Path::new("/dev").join(name)).unwrap();
    }
    fs::create_dir("/dev/pts").unwrap();
    fs::create_dir("/dev/shm").unwrap();
    fs::set_permissions("/dev/shm", Permissions::from_mode(0o1777)).unwrap();
    mount(
        "devpts",
        "/dev/pts",
        "devpts",
        MountFlags::NOSUID | MountFlags::NOEXEC,
        c"newinstance,ptmxmode=0666,mode=0620,gid=5",
    )
    .unwrap();
}

/// What `pam-auth-update` writes on Debian 12, without pam_systemd and pam_cap, which talk to the machine outside; and
/// services of the tests' own: `code` asks for a code and nothing else, `probe` shows every PAM_IGNORE as success.
const DEBIAN_SERVICES: [(&str, &str); 8] = [
    (
        "common-auth",
        "auth [success=1 default=ignore] pam_unix.so nullok\nauth requisite pam_deny.so\nauth required pam_permit.so\n",
    ),
    (
        "common-account",
        "account [success=1 new_authtok_reqd=done default=ignore] pam_unix.so\naccount requisite pam_deny.so\n\
         account required pam_permit.so\n",
    ),
    (
        "common-password",
        "password [success=1 default=ignore] pam_unix.so obscure yescrypt\npassword requisite pam_deny.so\n\
         password required pam_permit.so\n",
    ),
    (
        "common-session",
        "session [default=1] pam_permit.so\nsession requisite pam_deny.so\nsession required pam_permit.so\n\
         session required pam_unix.so\n",
    ),
    (
        "common-session-noninteractive",
        "session [default=1] pam_permit.so\nsession requisite pam_deny.so\nsession required pam_permit.so\n\
         session required pam_unix.so\n",
    ),
    (
        "other",
        "auth required pam_deny.so\naccount required pam_deny.so\npassword required pam_deny.so\nsession required pam_deny.so\n",
    ),
    ("code", "auth required pam_qrtotp.so\naccount required pam_permit.so\nsession required pam_permit.so\n"),
    (
        "probe",
        "auth required pam_permit.so\nauth required pam_qrtotp.so\naccount required pam_permit.so\n\
         session required pam_permit.so\n",
    ),
];
