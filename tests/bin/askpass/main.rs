//! SSH_ASKPASS: keeps each question, with the time it came and the time it was answered, and answers with the next of a row
//! of files.
//!
//! `ASKPASS_FOLDER` holds `answer.0`, `answer.1`, ...; it gets `prompt.0`, ... and `times.0`, ... Without an answer left it
//! fails, which ssh takes for a cancelled dialogue.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

fn main() -> ExitCode {
    let asked = nanoseconds();
    let folder = PathBuf::from(std::env::var_os("ASKPASS_FOLDER").expect("ASKPASS_FOLDER"));
    let prompt = std::env::args_os().nth(1).unwrap_or_default();
    let number =
        (0..).find(|number| claim(&folder.join(format!("prompt.{number}")), prompt.as_encoded_bytes())).unwrap_or(0);
    let hold = folder.join("hold");
    if hold.exists() {
        // A FIFO: its other end is opened when the answer may go.
        let _ = fs::read(hold);
    }
    let Ok(mut answer) = fs::read(folder.join(format!("answer.{number}"))) else {
        return ExitCode::FAILURE;
    };
    answer.push(b'\n');
    let times = format!("{asked} {}", nanoseconds());
    fs::write(folder.join(format!("times.{number}")), times).expect("a place for the times");
    std::io::stdout().write_all(&answer).expect("a reader");
    ExitCode::SUCCESS
}

fn claim(path: &PathBuf, prompt: &[u8]) -> bool {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    file.is_ok_and(|mut file| file.write_all(prompt).is_ok())
}

fn nanoseconds() -> u128 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("a clock after 1970").as_nanos()
}
