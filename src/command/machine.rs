//! This machine, as the doctor and the switch look at it: service files of PAM, modules, and the programs that tell of
//! sshd, sudo and the clock.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use qrtotp_hosts::sshd::Settings;
use qrtotp_hosts::stack::edit::Factor;
use qrtotp_hosts::stack::{Files, MODULE, judge};

/// Where service files lie; libpam takes the first.
const SERVICE_FOLDERS: [&str; 2] = ["/etc/pam.d", "/usr/lib/pam.d"];
/// Where programs lie that administrators run.
const PROGRAM_FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// Largest service file, in bytes.
const MOST: u64 = 256 * 1024;
/// How long a program may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long its output may take after its end: somebody else may hold the pipe.
const LEFT: Duration = Duration::from_secs(1);
/// Most that it may print, in bytes.
const LOUDEST: u64 = 4 * 1024 * 1024;
/// Between two looks whether it has ended.
const PAUSE: Duration = Duration::from_millis(5);

/// The service files as they are, and those that are looked at as if they were so already.
#[derive(Default)]
pub struct Machine {
    proposed: BTreeMap<String, String>,
    sshd: Option<Factor>,
}

impl Machine {
    /// The machine as it is.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with another text for a service.
    pub fn with(service: &str, text: &str) -> Self {
        Self { proposed: [(service.to_owned(), text.to_owned())].into(), sshd: None }
    }

    /// The same with sshd set for a code after this factor.
    pub fn with_sshd(self, factor: Factor) -> Self {
        Self { sshd: Some(factor), ..self }
    }

    /// What sshd is set to: for everybody, or for a user who comes from an address. What a `Match` sets stays.
    ///
    /// # Errors
    /// A sentence, where there is no sshd, or its files are wrong.
    pub fn sshd(&self, who: Option<(&str, &str)>) -> Result<Settings, String> {
        let own = sshd(who)?;
        match self.sshd {
            None => Ok(own),
            Some(factor) => Ok(own.with_needed(factor, &sshd(None)?)),
        }
    }

    /// The services that ask for a code, by their files.
    pub fn services(&self) -> Vec<String> {
        let names = SERVICE_FOLDERS.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
        let names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<_> = names.chain(self.proposed.keys().cloned()).collect();
        names.sort();
        names.dedup();
        // What other files bring in is no service of its own.
        // libpam looks for names in small letters.
        let is_service = |name: &String| {
            !name.starts_with("common-")
                && !name.contains('.')
                && !name.ends_with('~')
                && !name.contains(char::is_uppercase)
        };
        names.into_iter().filter(is_service).filter(|name| judge::asks(name, self)).collect()
    }
}

impl Files for Machine {
    fn read(&self, name: &str) -> Option<String> {
        if let Some(text) = self.proposed.get(name.strip_prefix("/etc/pam.d/").unwrap_or(name)) {
            return Some(text.clone());
        }
        match name.strip_prefix('/') {
            Some(_) => read_text(Path::new(name)),
            None => SERVICE_FOLDERS.iter().find_map(|folder| read_text(&Path::new(folder).join(name))),
        }
    }

    fn is_usual(&self, path: &str) -> bool {
        let folder = Path::new(path).parent().and_then(|folder| folder.canonicalize().ok());
        folder.is_some_and(|folder| module_folders().contains(&folder))
    }

    fn has_module(&self, name: &str) -> bool {
        if name.starts_with('/') {
            return Path::new(name).is_file();
        }
        module_folders().iter().any(|folder| folder.join(name).is_file())
    }
}

/// A file of some size at most, whatever bytes it has.
fn read_text(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    // Nothing else than a file: a pipe would have us wait.
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = fs::OpenOptions::new().read(true).custom_flags(nonblocking).open(path).ok()?;
    file.metadata().ok().filter(fs::Metadata::is_file)?;
    file.take(MOST).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The folders that libpam of this machine may load modules from: those that have pam_unix.so.
pub fn module_folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for library in ["/usr/lib", "/usr/lib64", "/lib", "/lib64"] {
        folders.push(Path::new(library).join("security"));
        let inside = fs::read_dir(library).into_iter().flatten().flatten();
        let named = inside.map(|entry| entry.path()).filter(|path| path.to_string_lossy().contains("-linux-"));
        folders.extend(named.map(|path| path.join("security")));
    }
    let mut real: Vec<_> = folders.into_iter().filter(|folder| folder.join("pam_unix.so").is_file()).collect();
    real = real.iter().filter_map(|folder| folder.canonicalize().ok()).collect();
    real.sort();
    real.dedup();
    real
}

/// The files of the module that libpam may load.
pub fn modules() -> Vec<PathBuf> {
    module_folders().into_iter().map(|folder| folder.join(MODULE)).filter(|path| path.is_file()).collect()
}

/// Where a program is, if it is there.
pub fn program(name: &str) -> Option<PathBuf> {
    PROGRAM_FOLDERS.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
}

/// What a program prints; its complaint where it fails, prints without end, or takes too long. What it leaves running is not
/// waited for.
pub fn output(program: &Path, arguments: &[&str]) -> Result<String, String> {
    let name = program.display();
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", PROGRAM_FOLDERS.join(":"))
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.map_err(|error| format!("{name} cannot be started: {error}"))?;
    let (out, complaint) = (read_aside(child.stdout.take()), read_aside(child.stderr.take()));
    let begun = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if begun.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
            Ok(None) | Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("{name} does not end"));
            }
        }
    };
    if status.success() {
        let text = out.recv_timeout(LEFT).map_err(|_| format!("{name} has ended, and its output has not"))?;
        return Ok(String::from_utf8_lossy(&text).into_owned());
    }
    let complaint = complaint.recv_timeout(LEFT).unwrap_or_default();
    let complaint = String::from_utf8_lossy(&complaint);
    let last = complaint.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it says no more").trim();
    Err(format!("{name}: {status}: {last}"))
}

/// Reads a pipe to its end in a thread of its own, or as much as anybody wants; then it is closed.
fn read_aside(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(pipe) = pipe {
            let _ = pipe.take(LOUDEST).read_to_end(&mut text);
        }
        let _ = sender.send(text);
    });
    receiver
}

/// Nobody, for settings that hold for everybody (RFC 5737 has the address).
const NOBODY: (&str, &str) = ("no-such-user-qrtotp", "192.0.2.1");

/// What `sshd -T` says.
///
/// # Errors
/// A sentence, where there is no sshd, or its files are wrong.
pub fn sshd(who: Option<(&str, &str)>) -> Result<Settings, String> {
    let sshd = program("sshd").ok_or("there is no sshd here")?;
    // All of it is said, or sshd refuses where a `Match` asks for what is not.
    let (user, address) = who.unwrap_or(NOBODY);
    let of = format!("user={user},host={address},addr={address},laddr=192.0.2.2,lport=22,rdomain=none");
    output(&sshd, &["-T", "-C", &of]).map(|text| Settings::parse(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Result<String, String> {
        output(Path::new("/bin/sh"), &["-c", script])
    }

    #[test]
    fn what_a_program_prints_is_read_and_its_last_complaint_told() {
        assert_eq!(shell("echo a; echo b").as_deref(), Ok("a\nb\n"));
        let complaint = shell("echo first >&2; echo last >&2; exit 3").unwrap_err();
        assert!(complaint.contains("exit status: 3") && complaint.ends_with(": last"), "{complaint}");
        assert!(output(Path::new("/nowhere"), &[]).unwrap_err().contains("cannot be started"));
    }

    #[test]
    fn a_program_that_prints_without_end_or_leaves_another_behind_does_not_hold_us() {
        assert!(shell("exec yes").is_err());
        let begun = Instant::now();
        assert!(shell("sleep 60 & exit 0").unwrap_err().contains("its output has not"));
        assert!(begun.elapsed() < PATIENCE);
    }
}
