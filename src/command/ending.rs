//! How a command ends: an exit code, and a line on standard error that says what happened and what to do.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use qrtotp_core::enroll::NotStored;
use qrtotp_core::files::Trouble;
use qrtotp_core::ports::NoRandom;

/// Exit codes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Code {
    /// Refused, wrong code, given up.
    No = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The user has no enrollment.
    NotEnrolled = 3,
    /// State or policy cannot be trusted.
    Untrusted = 4,
    /// There is no such user.
    NoUser = 5,
    /// What is there is in the way.
    Conflict = 6,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::No, Self::Usage, Self::NotEnrolled, Self::Untrusted, Self::NoUser, Self::Conflict];

    /// What it means, for help and manual.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::No => "no (refused, wrong code, given up)",
            Self::Usage => "usage",
            Self::NotEnrolled => "not enrolled",
            Self::Untrusted => "state or policy cannot be trusted",
            Self::NoUser => "no such user",
            Self::Conflict => "in conflict with what is there",
        }
    }
}

/// All of them in a line, for the help.
pub fn exit_codes() -> String {
    let codes = Code::ALL.map(|code| format!(", {} {}", code as u8, code.meaning()));
    format!("Exit codes: 0 done{}", codes.concat())
}

/// A command that ends without having done what it was told.
#[derive(Debug)]
pub struct Ending {
    code: Code,
    message: String,
}

impl Ending {
    /// Ends with a code and a message: what happened, and what to do.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// Ends with a code and nothing to say: the answer stands on standard output.
    pub fn silent(code: Code) -> Self {
        Self::new(code, "")
    }

    /// Nobody of that name is enrolled.
    pub fn not_enrolled(user: &str) -> Self {
        Self::new(Code::NotEnrolled, format!("{user} is not enrolled; run: qrtotp enroll {user}"))
    }

    /// A login holds the user's folder and does not let go of it.
    pub fn held_by_login(user: &str) -> Self {
        let what = format!(
            "a login of {user} is changing the enrollment right now; if that does not end: qrtotp revoke {user} --reason ..."
        );
        Self::new(Code::Conflict, what)
    }

    /// Ends with everything that is wrong with a list, each item with its place. The first one gives the exit code.
    pub fn of_list(what: &str, wrong: Vec<(String, Self)>) -> Self {
        let code = wrong.first().map_or(Code::No, |(_, ending)| ending.code);
        let lines = wrong.iter().map(|(place, ending)| format!("\n  {place}: {}", ending.message));
        Self::new(code, format!("{what}{}", lines.collect::<String>()))
    }

    /// The same, with what happened beside it.
    pub fn with(self, more: &str) -> Self {
        Self { message: format!("{}{more}", self.message), ..self }
    }

    /// Writes the message and gives the exit code.
    pub fn report(self) -> ExitCode {
        if !self.message.is_empty() {
            to_stderr(&format!("qrtotp: {}", self.message));
        }
        ExitCode::from(self.code as u8)
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Trouble> for Ending {
    fn from(trouble: Trouble) -> Self {
        Self::new(Code::Untrusted, trouble.to_string())
    }
}

impl From<NoRandom> for Ending {
    fn from(_: NoRandom) -> Self {
        Self::new(Code::Untrusted, "the kernel gives no random numbers; try again later")
    }
}

impl From<NotStored> for Ending {
    fn from(reason: NotStored) -> Self {
        match reason {
            NotStored::Trouble(trouble) => trouble.into(),
            NotStored::NoRandom => NoRandom.into(),
            NotStored::NeedsReplace(why) => Self::new(Code::Conflict, format!("{why}; start afresh with --replace")),
            NotStored::LabelTaken => Self::new(
                Code::Conflict,
                "a device of that label is enrolled; give another --label to add one, or --replace to start afresh",
            ),
            NotStored::TooMany => Self::new(
                Code::Conflict,
                "there are as many devices as [enroll] max_devices allows; remove one with: qrtotp device remove",
            ),
            NotStored::Taken => Self::new(
                Code::Conflict,
                "the user enrolled at a login in the meantime; nothing was stored; see: qrtotp status",
            ),
        }
    }
}

impl From<std::io::Error> for Ending {
    fn from(error: std::io::Error) -> Self {
        // Whoever reads the output wants no more of it: `| head`.
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::silent(Code::No);
        }
        Self::new(Code::No, format!("input or output failed: {error}"))
    }
}

/// Help and version go to standard output and are no error; everything else is one of usage.
pub fn of_usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        let text = error.render().to_string();
        to_stderr(&format!("qrtotp: {}", text.strip_prefix("error: ").unwrap_or(&text).trim_end()));
        return ExitCode::from(Code::Usage as u8);
    }
    // Nobody to tell if standard output is gone.
    let _ = error.print();
    ExitCode::SUCCESS
}

fn to_stderr(text: &str) {
    // Nobody to tell if standard error is gone.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
