//! The table of what came over, what did not, and why.

use qrtotp_core::words::{DeviceId, Label};
use serde_json::{Value, json};

use super::token::Token;
use crate::desk::Desk;
use crate::ending::{Code, Ending};
use crate::screen::{clean, counted};

/// What became of one thing that was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// A device: it is here now, or would be.
    CameOver,
    /// A device that was here before, with this very key.
    Here,
    /// A device that is not here, and why.
    Refused,
    /// What stands beside a device and never comes over.
    NotTaken,
}

impl Outcome {
    /// The word in JSON.
    fn word(self) -> &'static str {
        match self {
            Self::CameOver => "came_over",
            Self::Here => "here_before",
            Self::Refused => "refused",
            Self::NotTaken => "not_taken_over",
        }
    }

    fn in_words(self, is_dry: bool) -> &'static str {
        match self {
            Self::CameOver if is_dry => "would come over",
            Self::CameOver => "came over",
            Self::Here => "is here already",
            Self::Refused => "REFUSED",
            Self::NotTaken => "not taken over",
        }
    }
}

/// One line of the table.
#[derive(Debug)]
pub struct Row {
    /// Whose, as far as it is known.
    pub user: Option<String>,
    /// The file, or the picture.
    pub from: String,
    /// The line in it.
    pub line: Option<usize>,
    /// What it is.
    pub what: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Why, and what to do.
    pub why: String,
    /// The device that it is here.
    pub device: Option<(DeviceId, Label)>,
    /// What is known of its key.
    pub facts: Option<Facts>,
}

/// What may be said of a key.
#[derive(Clone, Debug)]
pub struct Facts {
    bits: usize,
    is_weak: bool,
    algorithm: &'static str,
    digits: u8,
    period: u8,
}

impl Facts {
    /// Of a device.
    pub fn of(token: &Token) -> Self {
        let shape = token.shape;
        Self {
            bits: token.secret.bits(),
            is_weak: token.secret.is_weak(),
            algorithm: shape.algorithm.name(),
            digits: shape.digits(),
            period: shape.period(),
        }
    }

    /// Whether it has fewer than 128 bits.
    pub fn is_weak(&self) -> bool {
        self.is_weak
    }

    /// `key of 160 bits, SHA1/6/30`
    pub fn in_words(&self) -> String {
        format!("key of {} bits, {}/{}/{}", self.bits, self.algorithm, self.digits, self.period)
    }
}

impl Row {
    fn place(&self) -> String {
        let line = self.line.map(|line| format!(":{line}")).unwrap_or_default();
        format!("{}{line}", clean(&self.from))
    }

    fn cells(&self, is_dry: bool) -> Vec<String> {
        let result = self.outcome.in_words(is_dry);
        let result = if self.why.is_empty() { result.to_owned() } else { format!("{result}: {}", self.why) };
        let user = self.user.as_deref().map_or_else(|| "-".to_owned(), clean);
        vec![user, clean(&self.what), clean(&result), self.place()]
    }

    fn as_json(&self) -> Value {
        let facts = self.facts.as_ref();
        json!({
            "user": self.user,
            "from": self.from,
            "line": self.line,
            "what": self.what,
            "outcome": self.outcome.word(),
            "why": Some(&self.why).filter(|why| !why.is_empty()),
            "device": self.device.as_ref().map(|(id, label)| json!({ "id": id, "label": label })),
            "secret_bits": facts.map(|facts| facts.bits),
            "weak": facts.map(|facts| facts.is_weak),
            "algorithm": facts.map(|facts| facts.algorithm),
            "digits": facts.map(|facts| facts.digits),
            "period": facts.map(|facts| facts.period),
        })
    }
}

/// Shows the table, and what to do next. Ends with [`Code::No`] where a device did not come over.
pub fn answer(desk: &Desk, source: &str, is_dry: bool, rows: &[Row], next: &[String]) -> Result<(), Ending> {
    let count = |outcome: Outcome| rows.iter().filter(|row| row.outcome == outcome).count();
    let (came, here, refused) = (count(Outcome::CameOver), count(Outcome::Here), count(Outcome::Refused));
    let value = json!({
        "source": source,
        "dry_run": is_dry,
        "rows": rows.iter().map(Row::as_json).collect::<Vec<_>>(),
        "came_over": came,
        "here_before": here,
        "refused": refused,
    });
    let cells = rows.iter().map(|row| row.cells(is_dry)).collect();
    let text =
        if rows.is_empty() { String::new() } else { desk.screen.table(&["USER", "WHAT", "RESULT", "FROM"], cells) };
    desk.screen.answer(&value, &text)?;
    if !desk.screen.is_json() {
        desk.screen.remark(&summary(is_dry, came, here, refused));
        next.iter().for_each(|line| desk.screen.remark(line));
    }
    if refused > 0 { Err(Ending::silent(Code::No)) } else { Ok(()) }
}

fn summary(is_dry: bool, came: usize, here: usize, refused: usize) -> String {
    let came = counted(came, "device");
    let mut parts = vec![if is_dry { format!("{came} would come over") } else { format!("{came} came over") }];
    if here > 0 {
        parts.push(format!("{here} here already"));
    }
    if refused > 0 {
        parts.push(format!("{refused} refused"));
    }
    let written = if is_dry { " Nothing was written." } else { "" };
    format!("{}.{written}", parts.join(", "))
}
