//! The programs that alerts run: outside any login, each alert's once, with limits.
//!
//! ```text
//! ID.json     written by the watcher: the program, and what it gets
//! ID.taken    renamed by the process that runs it: whoever renames it first, and nobody after him
//! ```

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use qrtotp_core::files::{Folder, Privacy, read_all, stat_path};
use qrtotp_core::words::{AttemptId, WallTime};
use qrtotp_trail::watch::{Pending, Raised};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, OFlags, memfd_create, renameat};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal, kill_process_group, pidfd_open, setrlimit};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::tell_failure;
use crate::desk::Desk;
use crate::ending::{Code, Ending};
use crate::screen::clean;

/// In the folder of the watcher.
pub const FOLDER: &str = "hooks";
/// Programs at the same time.
const MOST: usize = 4;
/// How long one may run.
const TIME: Duration = Duration::from_secs(30);
/// Seconds of processor time, bytes of memory, bytes of a file, open files.
const LIMITS: [(Resource, u64); 4] = [
    (Resource::Cpu, 30),
    (Resource::As, 1024 * 1024 * 1024),
    (Resource::Fsize, 64 * 1024 * 1024),
    (Resource::Nofile, 256),
];
/// How much of its messages is told, in bytes.
const TOLD: u64 = 200;
/// Largest order that is read, and how long one that was taken is kept.
const LARGEST: usize = 256 * 1024;
const KEPT: u64 = 24 * 3600 * 1000;

/// What a program is run with.
#[derive(Serialize, Deserialize)]
struct Order {
    alert: String,
    command: Vec<String>,
    input: Value,
}

/// The processes that run programs.
#[derive(Default)]
pub struct Hooks {
    running: Vec<Child>,
}

impl Hooks {
    /// Whether one runs.
    pub fn is_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// Starts the program of an alert, unless it was started before a restart. False where too many run.
    pub fn start(
        &mut self,
        desk: &Desk,
        folder: &Folder,
        pending: &Pending,
        command: &[String],
    ) -> Result<bool, Ending> {
        let home = home(folder)?;
        if home.stat(&taken(&pending.id))?.is_some() {
            return Ok(true);
        }
        if self.running.len() >= MOST {
            return Ok(false);
        }
        let order = Order { alert: super::name(pending), command: command.to_vec(), input: input(pending) };
        let text = serde_json::to_vec(&order).map_err(|error| Ending::new(Code::No, error.to_string()))?;
        home.replace(&file(&pending.id), &text, 0)?;
        let mut runner = Command::new("/proc/self/exe");
        runner.args(["--config".as_ref(), desk.config.as_os_str(), "watch".as_ref(), "--run-hook".as_ref()]);
        runner.arg(&pending.id).stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
        self.running.push(runner.spawn()?);
        Ok(true)
    }

    /// Takes leave of those that have ended. Each tells of its own failures.
    pub fn reap(&mut self) {
        self.running.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    }

    /// Waits for all of them: they end by themselves.
    pub fn wait(&mut self) {
        for mut child in self.running.drain(..) {
            // Nobody else waits for it.
            let _ = child.wait();
        }
    }

    /// Removes what was taken long ago and is no longer to be done.
    pub fn sweep(&self, folder: &Folder, pending: &[Pending]) -> Result<(), Ending> {
        let home = home(folder)?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let now = WallTime(u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
        for name in home.names()? {
            let Some(id) = name.strip_suffix(".taken") else { continue };
            let changed = home.stat(&name)?.map_or(0, |stat| u64::try_from(stat.st_ctime).unwrap_or(0));
            let is_old = now.0.saturating_sub(changed.saturating_mul(1000)) > KEPT;
            if is_old && pending.iter().all(|pending| pending.id != id) {
                home.remove(&name)?;
            }
        }
        Ok(())
    }
}

fn home(folder: &Folder) -> Result<Folder, Ending> {
    let missing = || Ending::new(Code::Untrusted, format!("{} is gone", folder.path.join(FOLDER).display()));
    folder.folder(FOLDER)?.ok_or_else(missing)
}

fn file(id: &str) -> String {
    format!("{id}.json")
}

fn taken(id: &str) -> String {
    format!("{id}.taken")
}

/// What the program gets on its standard input.
fn input(pending: &Pending) -> Value {
    let Raised::Alert { name, per, key, count } = &pending.what else { return Value::Null };
    json!({
        "alert": name,
        "id": pending.id,
        "time": WallTime(pending.time).to_string(),
        "count": count,
        "per": per,
        "key": key,
        "event": pending.event,
        "user": pending.user,
        "source": pending.source,
        "country": pending.country,
        "service": pending.service,
        "host": pending.host,
    })
}

/// Runs the program of one order, in a process of its own.
pub fn run(desk: &Desk, folder: &Folder, id: &str) -> Result<(), Ending> {
    let wrong = || Ending::new(Code::Usage, "--run-hook takes the id of an alert");
    AttemptId::parse(id).ok_or_else(wrong)?;
    let home = home(folder)?;
    // Whoever comes second finds nothing to rename.
    let rename = renameat(&home.fd, file(id), &home.fd, taken(id));
    rename.map_err(|errno| Ending::new(Code::Conflict, format!("alert {id}: not to be run: {errno}")))?;
    home.sync()?;
    let path = home.path.join(taken(id));
    let gone = || Ending::new(Code::Untrusted, format!("{} is gone", path.display()));
    let (fd, _) = home.file(&taken(id), OFlags::RDONLY, Privacy::Secret)?.ok_or_else(gone)?;
    let order: Order = serde_json::from_slice(&read_all(&fd, &path, LARGEST)?)
        .map_err(|error| Ending::new(Code::Untrusted, format!("{}: {error}", path.display())))?;
    if let Err(what) = execute(&order) {
        tell_failure(desk, &order.alert, &format!("exec of {id}: {what}"));
        return Err(Ending::new(Code::No, what));
    }
    Ok(())
}

/// A sentence where it did not do its work.
fn execute(order: &Order) -> Result<(), String> {
    let (program, arguments) = order.command.split_first().ok_or("no program")?;
    check_program(program)?;
    for (resource, most) in LIMITS {
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        setrlimit(resource, limit).map_err(|errno| format!("limits cannot be set: {errno}"))?;
    }
    let heard = memfd_create("hook", MemfdFlags::CLOEXEC).map_err(|errno| errno.to_string())?;
    let mut heard = File::from(heard);
    let stderr = heard.try_clone().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(stderr).process_group(0);
    let mut child = command.spawn().map_err(|error| format!("{program}: {error}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // Smaller than a pipe, so nobody waits; at once, so that what programs append does not mix. None need read it.
        let _ = stdin.write_all(format!("{}\n", order.input).as_bytes());
    }
    let status = wait(&mut child)?;
    if status.success() {
        return Ok(());
    }
    let mut said = Vec::new();
    let _ = heard.seek(SeekFrom::Start(0)).and_then(|_| heard.take(TOLD).read_to_end(&mut said));
    Err(format!("{program}: {status}: {}", clean(String::from_utf8_lossy(&said).trim())))
}

/// A program that only root can have made and can change, over links: packages make them.
fn check_program(program: &str) -> Result<(), String> {
    let real = std::fs::canonicalize(program).map_err(|error| format!("{program}: {error}"))?;
    // Who may write in one of its folders may put another one in its place.
    for path in real.ancestors() {
        let stat = stat_path(path).map_err(|trouble| trouble.to_string())?;
        if !stat.is_some_and(|stat| stat.st_uid == 0 && stat.st_mode & 0o022 == 0) {
            return Err(format!("{program}: others than root may write {}", path.display()));
        }
    }
    Ok(())
}

/// Waits for a program, and ends it and what it started when its time is over.
fn wait(child: &mut Child) -> Result<std::process::ExitStatus, String> {
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or("no process id")?;
    let fd = pidfd_open(id, PidfdFlags::empty()).map_err(|errno| errno.to_string())?;
    let end = Instant::now().checked_add(TIME);
    loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return Ok(status);
        }
        let left = end.map(|end| end.saturating_duration_since(Instant::now())).unwrap_or_default();
        if left.is_zero() {
            let _ = kill_process_group(id, Signal::KILL);
            let _ = child.wait();
            return Err(format!("it was ended after {} seconds", TIME.as_secs()));
        }
        let time = Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(0), tv_nsec: left.subsec_nanos().into() };
        // An interruption is another round.
        let _ = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&time));
    }
}
