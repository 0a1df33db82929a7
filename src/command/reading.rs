//! Reads the events for a command: with a bar where it takes longer than a moment, and with a word about what cannot be read.

use std::io::{IsTerminal, stderr, stdout};
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

/// Gives every event that a filter lets pass, the oldest first, to somebody who only counts.
pub fn each(desk: &Desk, filter: &Filter, act: impl FnMut(Line) -> Result<(), Ending>) -> Result<(), Ending> {
    read(desk, filter, false, act)
}

/// The same to somebody who writes each to standard output: on a terminal that shows progress enough.
pub fn each_shown(desk: &Desk, filter: &Filter, act: impl FnMut(Line) -> Result<(), Ending>) -> Result<(), Ending> {
    read(desk, filter, stdout().is_terminal(), act)
}

fn read(
    desk: &Desk,
    filter: &Filter,
    is_shown: bool,
    mut act: impl FnMut(Line) -> Result<(), Ending>,
) -> Result<(), Ending> {
    let mut trail = Trail::find(&desk.policy.events_file)?;
    if let Some(since) = filter.since {
        trail = trail.since(since);
    }
    let mut bar = Bar::new(trail.size());
    let mut lines = trail.lines();
    let mut damages = Damages::default();
    let mut count = 0_usize;
    while let Some(line) = lines.next() {
        count = count.wrapping_add(1);
        if count.is_multiple_of(LINES) {
            bar.show(lines.read());
        }
        match line {
            Ok(line) if filter.holds(&line) => {
                if is_shown {
                    bar.end();
                }
                act(line)?;
            }
            Ok(_) => {}
            Err(damage) => damages.add(damage),
        }
    }
    bar.end();
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

/// A bar on a terminal, once it takes longer than a moment; elsewhere nothing.
struct Bar {
    bytes: u64,
    since: Instant,
    drawn: Option<ProgressBar>,
    is_over: bool,
}

impl Bar {
    fn new(bytes: u64) -> Self {
        Self { bytes, since: Instant::now(), drawn: None, is_over: !stderr().is_terminal() }
    }

    fn show(&mut self, bytes: u64) {
        if self.is_over || self.since.elapsed() < MOMENT {
            return;
        }
        self.drawn.get_or_insert_with(|| drawn(self.bytes)).set_position(bytes);
    }

    /// Clears it away; it does not come back.
    fn end(&mut self) {
        if let Some(bar) = self.drawn.take() {
            bar.finish_and_clear();
        }
        self.is_over = true;
    }
}

fn drawn(bytes: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
    match ProgressStyle::with_template("reading events {bar:30} {percent}% {eta} left") {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}
