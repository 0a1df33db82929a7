//! What is wrong, how badly, and what mends it.

use serde::Serialize;

/// How bad something is.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Somebody is locked out, or gets in without a code: nothing is switched on before it is mended.
    Error,
    /// It works, and not as one would think, or not for long.
    Warning,
    /// Good to know.
    Notice,
}

impl Severity {
    /// All of them, the worst first.
    pub const ALL: [Self; 3] = [Self::Error, Self::Warning, Self::Notice];

    /// The word on the screen.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
        }
    }
}

/// One thing that was found.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was looked at, in a word that stays the same: `pam-bypass`.
    pub check: &'static str,
    /// Where: a file with its line, a setting, a user.
    pub place: String,
    /// What is wrong.
    pub what: String,
    /// What to do, a command if there is one; empty where nothing must be done.
    pub mend: String,
}

impl Finding {
    /// Something that must be mended.
    pub fn error(check: &'static str, place: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(Severity::Error, check, place, what)
    }

    /// Something that should be.
    pub fn warning(check: &'static str, place: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(Severity::Warning, check, place, what)
    }

    /// Something to know.
    pub fn notice(check: &'static str, place: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(Severity::Notice, check, place, what)
    }

    fn new(severity: Severity, check: &'static str, place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { severity, check, place: place.into(), what: what.into(), mend: String::new() }
    }

    /// The same with what mends it.
    #[must_use]
    pub fn mend(mut self, mend: impl Into<String>) -> Self {
        self.mend = mend.into();
        self
    }
}
