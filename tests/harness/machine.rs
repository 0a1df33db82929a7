//! The whole machine, with its packages: what dpkg, rpm and others do to it stays in memory. Programs run in it by chroot, below
//! a sandbox, which lends it devices, log, people and network.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use data_encoding::BASE32_NOPAD;
use rustix::mount::{MountFlags, mount, mount_bind_recursive};

use crate::product::{Enrolled, Ran, parts, random, target_folder};
use crate::sandbox::{SCRATCH, Sandbox};
use crate::script::{Report, Script};
use crate::users::PASSWORD;

/// Where its root is.
pub const ROOT: &str = "/mnt/machine";

/// A machine as it stands here, with the people of the sandbox in place of its own.
pub struct Machine {
    sandbox: Sandbox,
}

/// Files that were read before a sandbox covers the folders they lie in: name and content.
pub type Files = Vec<(String, Vec<u8>)>;

impl Machine {
    /// A machine on which nothing of the product is installed.
    ///
    /// # Panics
    /// Where it cannot be made.
    pub fn new() -> Self {
        let sandbox = Sandbox::bare();
        let inside = |path: &str| format!("{ROOT}{path}");
        fs::create_dir(ROOT).unwrap();
        for folder in ["upper", "work"] {
            fs::create_dir_all(format!("{SCRATCH}/whole/{folder}")).unwrap();
        }
        let options = format!("lowerdir=/,upperdir={SCRATCH}/whole/upper,workdir={SCRATCH}/whole/work");
        let options = std::ffi::CString::new(options).unwrap();
        mount("overlay", ROOT, "overlay", MountFlags::empty(), &*options).expect("the whole machine as an overlay");
        for (path, mode) in [("/run", 0o755), ("/tmp", 0o1777), ("/home", 0o755)] {
            let mode = std::ffi::CString::new(format!("mode={mode:o}")).unwrap();
            mount("tmpfs", inside(path), "tmpfs", MountFlags::NODEV, &*mode).unwrap();
        }
        for path in ["/dev", "/proc"] {
            mount_bind_recursive(path, inside(path)).unwrap();
        }
        for name in ["passwd", "shadow", "group", "gshadow", "nsswitch.conf", "hosts", "hostname"] {
            let path = inside(&format!("/etc/{name}"));
            let _ = fs::remove_file(&path);
            fs::copy(format!("/etc/{name}"), &path).unwrap();
        }
        Self { sandbox }
    }

    /// The sandbox below it.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// A path of the machine, as it is seen from outside.
    pub fn path(&self, path: &str) -> String {
        format!("{ROOT}{path}")
    }

    /// Writes a file into it, with the folders above.
    ///
    /// # Panics
    /// Where that cannot be.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Reads a file of it as text.
    ///
    /// # Panics
    /// Where that cannot be.
    pub fn read(&self, path: &str) -> String {
        let path = self.path(path);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Whether there is such a file or folder.
    pub fn has(&self, path: &str) -> bool {
        fs::symlink_metadata(self.path(path)).is_ok()
    }

    /// A program in it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.sandbox.command("/usr/sbin/chroot");
        command.args([ROOT, program]).env("HOME", "/root").env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// Runs a program to its end.
    ///
    /// # Panics
    /// Where it cannot be started.
    pub fn run<S: AsRef<OsStr>>(&self, program: &str, arguments: &[S]) -> Ran {
        of_output(&self.command(program).args(arguments).output().unwrap())
    }

    /// Runs a program that must succeed; gives what it said, on standard output and then on standard error.
    ///
    /// # Panics
    /// Where it fails.
    pub fn done<S: AsRef<OsStr> + std::fmt::Debug>(&self, program: &str, arguments: &[S]) -> String {
        let ran = self.run(program, arguments);
        assert_eq!(ran.code, 0, "{program} {arguments:?}: {ran:#?}");
        ran.stdout + &ran.stderr
    }

    /// Puts files into a folder of it.
    pub fn put(&self, folder: &str, files: &Files) {
        for (name, content) in files {
            self.write(&format!("{folder}/{name}"), content);
        }
    }

    /// Unpacks the sources at a path of it: without what was built, and without the history.
    ///
    /// # Panics
    /// Where tar fails.
    pub fn put_sources(&self, folder: &str) {
        fs::create_dir_all(self.path(folder)).unwrap();
        let mut tar = self.command("/usr/bin/tar");
        let mut tar = tar.args(["-x", "-C", folder]).stdin(Stdio::piped()).spawn().unwrap();
        tar.stdin.take().unwrap().write_all(sources()).unwrap();
        assert!(tar.wait().unwrap().success());
    }

    /// Puts the built module and command into a folder of it.
    ///
    /// # Panics
    /// Where they cannot be written.
    pub fn put_built(&self, folder: &str) {
        for (name, content) in parts().product() {
            self.write(&format!("{folder}/{name}"), content);
            fs::set_permissions(self.path(&format!("{folder}/{name}")), fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    /// The installed command.
    pub fn qrtotp(&self, arguments: &[&str]) -> Ran {
        self.run("/usr/sbin/qrtotp", arguments)
    }

    /// Enrolls somebody with the installed command.
    ///
    /// # Panics
    /// Where it refuses.
    pub fn enroll(&self, user: &str) -> Enrolled {
        let key = BASE32_NOPAD.encode(&random::<20>());
        let mut command = self.command("/usr/sbin/qrtotp");
        command.args(["enroll", user, "--stdin", "--unverified", "--json"]).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(key.as_bytes()).unwrap();
        let ran = of_output(&child.wait_with_output().unwrap());
        assert_eq!(ran.code, 0, "{ran:?}");
        serde_json::from_str(&ran.stdout).unwrap()
    }

    /// A login through libpam, answering these in order.
    pub fn login(&self, user: &str, service: &str, answers: &[&str]) -> Report {
        let mut script = Script::login(user).at(service).answering(answers.iter().copied());
        script.chroot = Some(ROOT.to_owned());
        self.sandbox.run(script)
    }

    /// Whether the password alone lets somebody in.
    pub fn password_is_enough(&self, user: &str, service: &str) -> bool {
        self.login(user, service, &[PASSWORD]).code() == 0
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

fn of_output(output: &Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The folder of the sources.
pub fn source_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The sources as a tar archive, without what was built, and without the history.
fn sources() -> &'static [u8] {
    static SOURCES: OnceLock<Vec<u8>> = OnceLock::new();
    SOURCES.get_or_init(|| {
        let mut tar = Command::new("/usr/bin/tar");
        tar.args(["-c", "--exclude=./target", "--exclude=./.git", "."]).current_dir(source_folder());
        let output = tar.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    })
}

/// Reads what machines need, before the first sandbox covers it. The packages hold what is tested here; `QRTOTP_DEBS` names a folder
/// where somebody has built them of that already.
///
/// # Panics
/// Where they cannot be built.
pub fn debs() -> &'static Files {
    static DEBS: OnceLock<Files> = OnceLock::new();
    DEBS.get_or_init(|| {
        sources();
        parts();
        if let Some(folder) = std::env::var_os("QRTOTP_DEBS") {
            return read_all(Path::new(&folder), ".deb");
        }
        let folder = std::env::temp_dir().join(format!("qrtotp-debs.{}", std::process::id()));
        let mut build = Command::new(source_folder().join("packaging/build-deb.sh"));
        let output = build.arg("--output").arg(&folder).env("QRTOTP_BUILT", target_folder()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "build-deb.sh: {said}");
        let files = read_all(&folder, "");
        fs::remove_dir_all(&folder).unwrap();
        files
    })
}

fn read_all(folder: &Path, end: &str) -> Files {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.unwrap().path()).filter(|path| path.to_string_lossy().ends_with(end));
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    paths.map(|path| (name(&path), fs::read(&path).unwrap())).collect()
}
