//! Reads the events for a command: with a bar where it takes longer than a moment, and with a word about what cannot be read.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use qrtotp_trail::{Damage, Filter, Line, Trail};

use crate::desk::Desk;
use crate::ending::Ending;
use crate::screen::counted;

/// How long nothing is shown.
const MOMENT: Duration = Duration::from_millis(500);
/// Lines between two looks at the clock.
const LINES: usize = 4096;
/// Damaged places that are named.
const NAMED: usize = 3;

/// Gives every event that a filter lets pass, the oldest first.
pub fn each(desk: &Desk, filter: &Filter, mut act: impl FnMut(Line) -> Result<(), Ending>) -> Result<(), Ending> {
    let mut trail = Trail::find(&desk.policy.events_file)?;
    if let Some(since) = filter.since {
        trail = trail.since(since);
    }
    let bar = Bar::new(trail.size());
    let mut lines = trail.lines();
    let mut damages = Damages::default();
    let mut count = 0_usize;
    while let Some(line) = lines.next() {
        count = count.wrapping_add(1);
        if count.is_multiple_of(LINES) {
            bar.show(lines.read());
        }
        match line {
            Ok(line) if filter.holds(&line) => bar.aside(|| act(line))?,
            Ok(_) => {}
            Err(damage) => damages.add(damage),
        }
    }
    bar.0.finish_and_clear();
    damages.tell(desk);
    Ok(())
}

/// What could not be read.
#[derive(Default)]
pub struct Damages {
    count: usize,
    first: Vec<Damage>,
}

impl Damages {
    /// Takes one in.
    pub fn add(&mut self, damage: Damage) {
        self.count = self.count.saturating_add(1);
        if self.first.len() < NAMED {
            self.first.push(damage);
        }
    }

    /// Tells the person, beside the answer.
    pub fn tell(&self, desk: &Desk) {
        self.first.iter().for_each(|damage| desk.screen.remark(&format!("qrtotp: {damage}")));
        let more = self.count.saturating_sub(self.first.len());
        if more > 0 {
            desk.screen.remark(&format!("qrtotp: and {} like that", counted(more, "other place")));
        }
    }
}

/// A bar on a terminal; elsewhere nothing.
struct Bar(ProgressBar, Instant);

impl Bar {
    fn new(bytes: u64) -> Self {
        let target = if stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let style = ProgressStyle::with_template("reading events {bar:30} {percent}% {eta} left");
        let bar = ProgressBar::with_draw_target(Some(bytes), target);
        Self(style.map_or(bar.clone(), |style| bar.with_style(style.progress_chars("=> "))), Instant::now())
    }

    fn show(&self, bytes: u64) {
        if self.1.elapsed() >= MOMENT {
            self.0.set_position(bytes);
        }
    }

    /// Out of the way while something else is written.
    fn aside<T>(&self, act: impl FnOnce() -> T) -> T {
        if self.0.is_hidden() { act() } else { self.0.suspend(act) }
    }
}
