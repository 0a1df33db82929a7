//! A host of PAM that does what a script says, through the real libpam, and reports what happened as one line of JSON.
//!
//! `pamhost FILE`. Standard input is the gate that [`Step::Barrier`] and held answers wait at; its end opens it.

mod clock;
mod conversation;
mod pam;

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use qrtotp_tests::script::{Answer, Descriptor, Outcome, Report, Script, Step};

use conversation::Conversation;
use pam::Handle;

/// What the process keeps for itself when its standard descriptors go.
struct Own {
    gate: File,
    report: File,
}

impl Own {
    /// Copies descriptors 0 and 1 out of the way.
    fn take() -> Self {
        let high = |fd| {
            // SAFETY: F_DUPFD_CLOEXEC takes a number and gives a new descriptor, which only the File made of it owns.
            unsafe {
                let copy = libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 200);
                assert!(copy >= 200, "no descriptor to spare");
                File::from_raw_fd(copy)
            }
        };
        Self { gate: high(0), report: high(1) }
    }

    /// Says that all is set, and waits for the gate to open.
    fn wait(&mut self) {
        self.report.write_all(b"ready\n").unwrap();
        let _ = self.gate.read_to_end(&mut Vec::new());
    }
}

fn main() {
    let path = std::env::args().nth(1).expect("a script");
    let script: Script = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let mut own = Own::take();
    let kept: Vec<UnixStream> = script.descriptors.iter().filter_map(replace).collect();
    if let Some(folder) = &script.chroot {
        std::os::unix::fs::chroot(folder).unwrap();
        std::env::set_current_dir("/").unwrap();
    }
    if let Some(uid) = script.real_uid {
        // SAFETY: takes numbers only; the process has one thread.
        assert_eq!(unsafe { libc::setresuid(uid, 0, 0) }, 0, "setresuid");
    }
    let report = perform(script, &mut own);
    let mut line = serde_json::to_vec(&report).unwrap();
    line.push(b'\n');
    own.report.write_all(&line).unwrap();
    drop(kept);
}

/// Makes a standard descriptor into what the script says; returns the other end of a socket.
fn replace((number, with): &(i32, Descriptor)) -> Option<UnixStream> {
    let (new, kept): (Option<OwnedFd>, _) = match with {
        Descriptor::Closed => (None, None),
        Descriptor::File(path) => {
            let file = OpenOptions::new().read(true).append(true).open(path);
            (Some(file.unwrap().into()), None)
        }
        Descriptor::Socket => {
            let (ours, theirs) = UnixStream::pair().unwrap();
            (Some(ours.into()), Some(theirs))
        }
    };
    // SAFETY: 0, 1 and 2 belong to this program, which uses its own copies of them from here on.
    unsafe {
        match new {
            None => libc::close(*number),
            Some(new) if new.as_raw_fd() == *number => new.into_raw_fd(),
            Some(new) => libc::dup2(new.as_raw_fd(), *number),
        }
    };
    kept
}

fn perform(script: Script, own: &mut Own) -> Report {
    let conversation = Conversation::new();
    let mut handle = Handle::start(&script, &conversation);
    let descriptors_before = descriptors();
    let (umask_before, memory_before) = (umask(), memory_kb());
    let mut results = Vec::new();
    for step in script.steps {
        results.push(one(step, &mut handle, &conversation, own));
    }
    let descriptors_after = descriptors();
    Report {
        results,
        end: handle.end(),
        descriptors_before,
        descriptors_after,
        umask: (umask_before, umask()),
        memory_kb: (memory_before, memory_kb()),
    }
}

fn one(step: Step, handle: &mut Handle, conversation: &Conversation, own: &mut Own) -> Outcome {
    let begun = Instant::now();
    let code = match step {
        Step::Authenticate { flags, answers } => {
            conversation.prepare(answers, own);
            handle.authenticate(flags)
        }
        Step::SetCred(flags) => handle.setcred(flags),
        Step::SetUser(name) => handle.set_item(pam::USER, &name),
        Step::SetRhost(name) => handle.set_item(pam::RHOST, &name),
        Step::Clock { wall_ms, boot_ms } => {
            clock::shift(wall_ms, boot_ms);
            0
        }
        Step::Barrier => {
            own.wait();
            0
        }
        Step::FindMarker => i32::try_from(conversation::count_marker()).unwrap(),
    };
    Outcome {
        code,
        micros: u64::try_from(begun.elapsed().as_micros()).unwrap(),
        messages: conversation.take_messages(),
    }
}

/// The open descriptors below the ones this program keeps for itself; empty without /proc.
fn descriptors() -> Vec<i32> {
    let Ok(folder) = fs::read_dir("/proc/self/fd") else {
        return Vec::new();
    };
    let names: Vec<_> = folder.flatten().map(|entry| entry.path()).collect();
    let mut open: Vec<i32> = names
        .into_iter()
        .filter(|path| fs::read_link(path).is_ok())
        .filter_map(|path| path.file_name()?.to_str()?.parse().ok())
        .filter(|fd| *fd < 200)
        .collect();
    open.sort_unstable();
    open
}

fn umask() -> u32 {
    // SAFETY: umask cannot fail and takes no pointers; the second call puts back what the first returned.
    unsafe {
        let mask = libc::umask(0);
        libc::umask(mask);
        mask
    }
}

fn memory_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// What a prompt asks of the process itself, before the answer.
fn settle(answer: Answer, own: &mut Own) -> Answer {
    match answer {
        Answer::Held(inner) => {
            own.wait();
            settle(*inner, own)
        }
        Answer::Die => {
            // SAFETY: kills this process; nothing follows.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
            Answer::Error
        }
        other => other,
    }
}
