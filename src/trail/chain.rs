//! Checks the chain of the events files: what was altered, is missing, was added, or stands in another order.
//!
//! A line's link speaks for everything that its writer saw. Walking through a file, the sum of what is read is kept at the
//! end of each line; a link that names such an end with another sum, or none, shows that something between it and the last
//! link that held is not what was written. Then the link itself is taken for true, so that what follows is checked again.

use std::collections::VecDeque;
use std::io::{self, BufRead};

use qrtotp_core::chain::{Link, Sum};

/// Ends of lines that are kept to compare links with: a line was written long before that many others.
const KEPT: usize = 65_536;
/// Longest line that is read at once, in bytes; what is longer is summed up in pieces and is no event.
const LONGEST: u64 = 1024 * 1024;

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// As long as before, with another content.
    Altered,
    /// So many bytes are gone.
    Missing(u64),
    /// So many bytes are too many.
    Added(u64),
    /// The lines are the ones that were written, in another order.
    Reordered,
    /// The file does not go on from the end of the one before it: a file between them is gone, or the end of that one is.
    Torn,
    /// A chain begins here although there are lines before: nothing speaks for the last of those.
    Begins,
}

/// Something that is wrong, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// The first and the last line that may be it, counted from 1. What is missing was between, or beside, them.
    pub lines: (u64, u64),
    /// What.
    pub what: What,
}

/// What was found in all the files.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// How many files were read.
    pub files: usize,
    /// How many lines.
    pub lines: u64,
    /// How many of them have no link. Others speak for them.
    pub unlinked: u64,
    /// Lines at the end that no later one speaks for yet.
    pub uncovered: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// Whether the first file says that another one was before it.
    pub continues: bool,
    /// The end of the last file: noted elsewhere, it also speaks for what no line speaks for.
    pub head: Option<Link>,
    /// Where the head that was asked for was found: file and line. `None` where it was not, or none was.
    pub held: Option<(String, u64)>,
}

/// Checks files, the oldest first, and looks for a head that was noted earlier.
///
/// # Errors
/// Where a file cannot be read.
pub fn verify<R: BufRead>(
    files: impl IntoIterator<Item = io::Result<(String, R)>>,
    head: Option<Link>,
) -> io::Result<Report> {
    let mut report = Report::default();
    let mut before: Option<Walk> = None;
    for opened in files {
        let (name, mut reader) = opened?;
        let mut walk = Walk::new(name, head);
        let mut line = Vec::new();
        while read_line(&mut reader, &mut line)? {
            walk.take(&line, before.as_ref(), report.files > 0);
        }
        walk.close();
        report.continues |= report.files == 0 && walk.after.is_some();
        report.files = report.files.saturating_add(1);
        report.lines = report.lines.saturating_add(walk.number);
        report.unlinked = report.unlinked.saturating_add(walk.unlinked);
        report.uncovered = walk.number.saturating_sub(walk.covered);
        report.findings.append(&mut walk.findings);
        report.held = report.held.or(walk.held.take());
        if walk.number > 0 {
            report.head = Some(Link { at: walk.place, sum: walk.sum, after: None });
            before = Some(walk);
        }
    }
    Ok(report)
}

/// A line with its newline; the last one may have none. False at the end.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    io::Read::take(&mut *reader, LONGEST).read_until(b'\n', line).map(|length| length > 0)
}

/// The end of a line.
#[derive(Clone, Copy)]
struct End {
    /// In bytes of the file as it was written.
    at: u64,
    sum: Sum,
    /// How many lines there are up to it.
    lines: u64,
}

/// A walk through one file.
struct Walk {
    name: String,
    wanted: Option<Link>,
    held: Option<(String, u64)>,
    /// Bytes read.
    place: u64,
    /// How much further a place lies in this file than in the one that was written.
    shift: i128,
    sum: Sum,
    number: u64,
    ends: VecDeque<End>,
    /// How many lines the links that held speak for.
    covered: u64,
    unlinked: u64,
    after: Option<u64>,
    open: Option<Damage>,
    findings: Vec<Finding>,
}

/// Links in a row that did not hold.
struct Damage {
    first: u64,
    last: u64,
    shift: i128,
    /// Whether a line speaks of more than stands in front of it.
    looks_ahead: bool,
}

impl Walk {
    fn new(name: String, wanted: Option<Link>) -> Self {
        Self {
            name,
            wanted,
            held: None,
            place: 0,
            shift: 0,
            sum: Sum::START,
            number: 0,
            ends: VecDeque::new(),
            covered: 0,
            unlinked: 0,
            after: None,
            open: None,
            findings: Vec::new(),
        }
    }

    fn take(&mut self, line: &[u8], before: Option<&Self>, follows: bool) {
        let link = Link::of(line);
        if self.number == 0 {
            self.begin(link, before, follows);
        }
        self.number = self.number.saturating_add(1);
        match link {
            Some(link) if link.at == 0 && link.after.is_some() => self.check_before(link, before),
            Some(link) if link.at > 0 && link.sum == Sum::START => self.restart(link),
            Some(link) => self.check(link),
            // An empty line stands behind one that was cut off.
            None => self.unlinked = self.unlinked.saturating_add(u64::from(line != b"\n")),
        }
        self.place = self.place.saturating_add(length(line));
        self.sum = self.sum.with(line);
        self.keep();
    }

    /// The first line says what the sum begins with.
    fn begin(&mut self, link: Option<Link>, before: Option<&Self>, follows: bool) {
        let link = link.filter(|link| link.at == 0);
        self.sum = link.map_or(Sum::START, |link| link.sum);
        self.after = link.and_then(|link| link.after);
        if follows && before.is_some() && self.after.is_none() {
            self.find((1, 1), What::Begins);
        }
        self.keep();
    }

    /// A line that was written into an empty file speaks for the one before. Without that there is nothing to compare with.
    fn check_before(&mut self, link: Link, before: Option<&Self>) {
        let Some(before) = before else { return };
        let held = link.after.is_some_and(|after| before.end_at(after).is_some_and(|end| end.sum == link.sum));
        if !held {
            self.find((self.number, self.number), What::Torn);
        }
    }

    fn end_at(&self, at: u64) -> Option<&End> {
        let index = self.ends.binary_search_by_key(&at, |end| end.at).ok()?;
        self.ends.get(index)
    }

    fn check(&mut self, link: Link) {
        match self.end_at(link.at) {
            Some(end) if end.sum == link.sum => {
                self.covered = self.covered.max(end.lines);
                self.end_damage();
            }
            // Written long ago and frozen since, or with nothing to compare with: others speak for what it speaks for.
            None if self.ends.front().is_some_and(|first| link.at < first.at) => {}
            _ => self.damage(link),
        }
    }

    /// The writer could not look back far enough.
    fn restart(&mut self, link: Link) {
        self.find((self.number, self.number), What::Begins);
        self.go_on_from(link);
    }

    /// Takes a link that does not hold for the truth from here on.
    fn damage(&mut self, link: Link) {
        let written = i128::from(self.place).saturating_sub(self.shift);
        let looks_ahead = i128::from(link.at) > written;
        let last = self.number.saturating_sub(1).max(1);
        let first = self.covered.saturating_add(1).min(last);
        let shift = self.shift;
        let damage = self.open.get_or_insert(Damage { first, last, shift, looks_ahead: false });
        damage.last = last;
        damage.looks_ahead |= looks_ahead;
        self.go_on_from(link);
    }

    fn go_on_from(&mut self, link: Link) {
        let lines = self.number.saturating_sub(1);
        self.shift = i128::from(self.place).saturating_sub(i128::from(link.at));
        self.sum = link.sum;
        self.ends.clear();
        self.ends.push_back(End { at: link.at, sum: link.sum, lines });
        self.covered = lines;
    }

    fn end_damage(&mut self) {
        let Some(damage) = self.open.take() else { return };
        let more = self.shift.saturating_sub(damage.shift);
        let bytes = u64::try_from(more.unsigned_abs()).unwrap_or(u64::MAX);
        let what = match more {
            0 if damage.looks_ahead => What::Reordered,
            0 => What::Altered,
            1.. => What::Added(bytes),
            _ => What::Missing(bytes),
        };
        let lines = (damage.first, damage.last);
        match self.findings.last_mut() {
            Some(last) if is_moved(last, lines, what) => (last.lines.1, last.what) = (lines.1, What::Reordered),
            _ => self.find(lines, what),
        }
    }

    fn close(&mut self) {
        self.end_damage();
    }

    fn find(&mut self, lines: (u64, u64), what: What) {
        self.findings.push(Finding { file: self.name.clone(), lines, what });
    }

    /// Keeps the end of what was read.
    fn keep(&mut self) {
        let at = i128::from(self.place).saturating_sub(self.shift);
        let Ok(at) = u64::try_from(at) else { return };
        if self.ends.len() >= KEPT {
            self.ends.pop_front();
        }
        self.ends.push_back(End { at, sum: self.sum, lines: self.number });
        if self.held.is_none() && self.wanted.is_some_and(|wanted| (wanted.at, wanted.sum) == (at, self.sum)) {
            self.held = Some((self.name.clone(), self.number));
        }
    }
}

/// Whether what is missing in one place and too much in the other, a few lines away, is one line that was moved.
fn is_moved(last: &Finding, lines: (u64, u64), what: What) -> bool {
    let is_same = match (last.what, what) {
        (What::Missing(gone), What::Added(more)) | (What::Added(more), What::Missing(gone)) => gone == more,
        _ => false,
    };
    is_same && lines.0.saturating_sub(last.lines.1) <= 3
}

fn length(line: &[u8]) -> u64 {
    u64::try_from(line.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
