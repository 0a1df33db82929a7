//! Runs scripts in pamhost, one process a script, one at a time or many at once.

use std::fs;
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, pipe};
use std::process::{Child, ChildStdout, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::sandbox::{SCRATCH, Sandbox};
use crate::script::{Answer, Report, Script, Step};

/// A script at work.
pub struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
    script: String,
}

/// What a process left: a report, or the way it ended.
#[derive(Debug)]
pub struct Left {
    /// How it ended.
    pub status: ExitStatus,
    /// The report; none where it did not come so far.
    pub report: Option<Report>,
    /// What it, or anything loaded into it, wrote to standard error.
    pub stderr: String,
}

/// The way to let held scripts go.
pub struct Gate {
    opened_by_drop: PipeWriter,
    waited_at: PipeReader,
}

impl Gate {
    /// A closed gate.
    ///
    /// # Panics
    /// Where no pipe can be had.
    pub fn closed() -> Self {
        let (waited_at, opened_by_drop) = pipe().unwrap();
        Self { opened_by_drop, waited_at }
    }

    /// Lets everybody go who waits at it.
    pub fn open(self) {
        drop(self.opened_by_drop);
    }
}

impl Sandbox {
    /// Runs a script to its end.
    ///
    /// # Panics
    /// Where the process dies before it reports.
    pub fn run(&self, script: Script) -> Report {
        let left = self.start(script, None).finish();
        left.report.unwrap_or_else(|| panic!("pamhost: {}: {}", left.status, left.stderr))
    }

    /// One login with one answer: the code of libpam.
    pub fn answer(&self, user: &str, answer: &str) -> i32 {
        self.run(Script::login(user).answering([answer])).code()
    }

    /// Starts a script; [`Step::Barrier`] and [`Answer::Held`] wait at the gate.
    ///
    /// # Panics
    /// Where pamhost cannot be started.
    pub fn start(&self, script: Script, gate: Option<&Gate>) -> Running {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = format!("{SCRATCH}/script.{number}");
        fs::write(&path, serde_json::to_vec(&script).unwrap()).unwrap();
        let mut command = self.command("/usr/local/sbin/pamhost");
        command.arg(&path);
        if let Some(gate) = gate {
            command.stdin(gate.waited_at.try_clone().unwrap());
        }
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Running { child, output, script: path }
    }

    /// Starts all scripts, waits until each is held, lets all go at once and returns their reports in the same order.
    ///
    /// # Panics
    /// Where a process dies before it reports.
    pub fn at_once(&self, scripts: impl IntoIterator<Item = Script>) -> Vec<Report> {
        let gate = Gate::closed();
        let start = |script| self.start(script, Some(&gate));
        let mut running: Vec<Running> = scripts.into_iter().map(start).collect();
        running.iter_mut().for_each(Running::wait_until_held);
        gate.open();
        let report = |running: Running| {
            let left = running.finish();
            left.report.unwrap_or_else(|| panic!("pamhost: {}: {}", left.status, left.stderr))
        };
        running.into_iter().map(report).collect()
    }
}

impl Running {
    /// Waits until the script is held at its barrier or answer.
    ///
    /// # Panics
    /// Where it ends before.
    pub fn wait_until_held(&mut self) {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "a script that was to wait did not");
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills the process.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// Where the output is no report.
    pub fn finish(mut self) -> Left {
        let mut report = None;
        let mut line = String::new();
        while self.output.read_line(&mut line).unwrap() > 0 {
            if line.starts_with('{') {
                report = Some(serde_json::from_str(&line).unwrap());
            }
            line.clear();
        }
        let mut stderr = String::new();
        if let Some(mut pipe) = self.child.stderr.take() {
            use std::io::Read as _;
            let _ = pipe.read_to_string(&mut stderr);
        }
        let status = self.child.wait().unwrap();
        let _ = fs::remove_file(&self.script);
        Left { status, report, stderr }
    }
}

/// An answer that waits at the gate.
pub fn held(answer: impl Into<Answer>) -> Answer {
    Answer::Held(Box::new(answer.into()))
}

/// A step that waits at the gate.
pub fn barrier() -> Step {
    Step::Barrier
}
