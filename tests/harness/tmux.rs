//! A screen with rows and columns: what a person in front of a terminal program sees.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::DEADLINE;
use crate::sandbox::{SCRATCH, Sandbox};

/// A tmux of its own with one window.
pub struct Tmux<'a> {
    sandbox: &'a Sandbox,
    socket: String,
}

impl<'a> Tmux<'a> {
    /// Runs a shell command in a window of a size, in a locale.
    pub fn start(sandbox: &'a Sandbox, rows: u16, columns: u16, locale: &str, shell_command: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let socket = format!("{SCRATCH}/tmux.{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let tmux = Self { sandbox, socket };
        let (rows, columns) = (rows.to_string(), columns.to_string());
        let mut command = tmux.command(&["-f", "/dev/null", "new-session", "-d", "-x", &columns, "-y", &rows]);
        command.env("LANG", locale).env("LC_ALL", locale);
        command.arg(format!("{shell_command}; exec sleep 600"));
        run(&mut command);
        run(&mut tmux.command(&["set-option", "-g", "status", "off"]));
        run(&mut tmux.command(&["resize-window", "-x", &columns, "-y", &rows]));
        tmux
    }

    /// What the screen shows, row by row.
    pub fn screen(&self) -> Vec<String> {
        let text = run(&mut self.command(&["capture-pane", "-p"]));
        text.lines().map(str::to_owned).collect()
    }

    /// What the screen shows and what scrolled off it.
    pub fn history(&self) -> Vec<String> {
        let text = run(&mut self.command(&["capture-pane", "-p", "-S", "-"]));
        text.lines().map(str::to_owned).collect()
    }

    /// Types a line and Return.
    pub fn type_line(&self, line: &str) {
        run(&mut self.command(&["send-keys", "-l", "--", line]));
        run(&mut self.command(&["send-keys", "Enter"]));
    }

    /// Waits until the screen shows a text; returns the rows. tmux tells nobody when its screen changes, so it is asked again.
    ///
    /// # Panics
    /// Where it does not in time.
    pub fn wait_for(&self, text: &str) -> Vec<String> {
        let end = Instant::now() + DEADLINE;
        // tmux leaves out blanks at the end of a row.
        let text = text.trim_end();
        loop {
            let rows = self.screen();
            if rows.iter().any(|row| row.contains(text)) {
                return rows;
            }
            assert!(Instant::now() < end, "waited in vain for {text:?} on a screen that shows:\n{}", rows.join("\n"));
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.sandbox.command("/usr/bin/tmux");
        command.args(["-u", "-S", &self.socket]).args(arguments);
        command
    }
}

impl Drop for Tmux<'_> {
    fn drop(&mut self) {
        let _ = self.command(&["kill-server"]).output();
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("tmux");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
