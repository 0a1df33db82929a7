//! Pictures come from strangers, and what reads them is large: it runs in a process of its own, as nobody, with bounded time
//! and memory. What kills that process is a picture that cannot be read.

use std::fs::File;
use std::io::{Read, Write, stdin, stdout};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode, Stdio};

use qrtotp_pictures::read::{self, MOST_BYTES};
use qrtotp_system::caller;
use rustix::process::{Resource, Rlimit, setrlimit};
use zeroize::Zeroizing;

/// User and group of the process, where root starts it: nobody.
const NOBODY: u32 = 65_534;
/// Seconds it may reckon.
const SECONDS: u64 = 8;
/// Bytes of memory it may have.
const MEMORY: u64 = 1 << 30;
/// Bytes that it may answer: more than all texts of a picture.
const LONGEST_ANSWER: usize = 256 * 1024;
/// Ends a text in the answer; none holds it that an app could read.
const END: u8 = 0;

/// The texts of a picture's codes.
///
/// # Errors
/// A sentence that says why it cannot be looked at.
pub fn texts(picture: &File) -> Result<Vec<Zeroizing<String>>, String> {
    let failed = |error: std::io::Error| format!("cannot be looked at: {error}");
    let size = picture.metadata().map_err(failed)?.len();
    if size > MOST_BYTES {
        return Err(format!("is larger than {} MiB", MOST_BYTES >> 20));
    }
    let mut command = Command::new("/proc/self/exe");
    command.arg("read-picture").env_clear().current_dir("/");
    command.stdin(picture.try_clone().map_err(failed)?).stdout(Stdio::piped()).stderr(Stdio::null());
    if caller().effective.0 == 0 {
        command.uid(NOBODY).gid(NOBODY);
    }
    let mut child = command.spawn().map_err(failed)?;
    let mut answer = Zeroizing::new(Vec::with_capacity(LONGEST_ANSWER));
    let most = u64::try_from(LONGEST_ANSWER).unwrap_or(0);
    let read = child.stdout.take().map(|pipe| pipe.take(most).read_to_end(&mut answer));
    let status = child.wait().map_err(failed)?;
    read.transpose().map_err(failed)?;
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(parted(&answer)),
        (Some(1), _) => Err(String::from_utf8_lossy(&answer).into_owned()),
        (_, Some(_)) => Err(format!("takes more than {SECONDS} seconds or {} MiB to read", MEMORY >> 20)),
        _ => Err("cannot be read".to_owned()),
    }
}

fn parted(answer: &[u8]) -> Vec<Zeroizing<String>> {
    let texts = answer.split(|byte| *byte == END).filter(|text| !text.is_empty());
    texts.map(|text| Zeroizing::new(String::from_utf8_lossy(text).into_owned())).collect()
}

/// The process itself: a picture on standard input, its texts on standard output, or why there are none.
pub fn run() -> ExitCode {
    match answer() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            // Nobody to tell if standard output is gone.
            let _ = stdout().write_all(reason.as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn answer() -> Result<(), String> {
    for (what, most) in [(Resource::Cpu, SECONDS), (Resource::As, MEMORY), (Resource::Core, 0), (Resource::Fsize, 0)] {
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        setrlimit(what, limit).map_err(|errno| format!("cannot be limited: {errno}"))?;
    }
    let mut bytes = Zeroizing::new(Vec::new());
    let failed = |error: std::io::Error| format!("cannot be read: {error}");
    stdin().lock().take(MOST_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    let mut out = stdout().lock();
    for text in read::of_file(&bytes)? {
        out.write_all(text.as_bytes()).and_then(|()| out.write_all(&[END])).map_err(failed)?;
    }
    out.flush().map_err(failed)
}
