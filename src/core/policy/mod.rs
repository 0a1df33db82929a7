//! `config.toml` -> [`Policy`].
//!
//! A missing file means the built-in defaults, which are the strictest: everybody needs a code.

pub mod alerts;
pub mod decide;
pub mod keys;
mod reader;
pub mod rules;
mod settings;
mod warnings;
mod zone;

use std::path::{Path, PathBuf};

pub use decide::{Decision, Explanation, Facts, Holds};
pub use reader::{Mistake, nearest, place};
use reader::{Part, Values};
pub use rules::{Action, Grace, Rule};
pub use settings::{Brand, Settings};
pub use warnings::warnings;
pub use zone::Zone;

use crate::budget::{Limits, Mode};
use crate::files::{self, Privacy, Version};
use crate::otp::otpauth::Name;
use crate::words::WallTime;

/// Where the policy lives if the module or the command is not told otherwise.
pub const DEFAULT_FILE: &str = "/etc/qrtotp/config.toml";
/// Largest policy that is read, in bytes.
const MOST: usize = 256 * 1024;

/// Steps around the current one whose codes are accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// Steps before.
    pub past: u32,
    /// Steps after.
    pub future: u32,
}

/// What people are asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Prompts {
    /// For a code.
    pub text: String,
    /// For the second of two codes.
    pub second: String,
    /// For a code or a ticket.
    pub enroll: String,
    /// For a password and a code.
    pub both: String,
    /// Whether what is typed shows.
    pub echo: bool,
}

/// What it takes to enroll at a login.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FirstLogin {
    /// A ticket.
    Ticket,
    /// The password or key that came before.
    FirstFactor,
    /// Nobody enrolls at a login.
    Off,
}

/// `[enroll]`: how people enroll.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Enrolling {
    /// Who issues the codes; `None`: this host.
    pub issuer: Option<Name>,
    /// What it takes at a login.
    pub first_login: FirstLogin,
    /// PAM services that may show a picture.
    pub services: Vec<String>,
    /// Devices a user may have.
    pub max_devices: usize,
    /// Whether two consecutive codes confirm a device.
    pub two_codes: bool,
    /// Seconds that sshd gives a login, as far as is known.
    pub login_grace_time: Option<u32>,
}

/// The policy of this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Where state lives.
    pub state_dir: PathBuf,
    /// Where events go.
    pub events_file: PathBuf,
    /// Where what may be lost lives.
    pub runtime_dir: PathBuf,
    /// Which codes are accepted.
    pub window: Window,
    /// What people are asked.
    pub prompts: Prompts,
    /// The guessing budget's numbers.
    pub limits: Limits,
    /// Answers a source and minute; `None`: no limit.
    pub flood_per_minute: Option<u32>,
    /// Whether su asks for the code of its caller.
    pub su_asks_invoker: bool,
    /// How people enroll.
    pub enrolling: Enrolling,
    /// Who needs a code, where and when, in order; after the last one everybody does.
    pub rules: Vec<Rule>,
    /// When the policy was last written; the clock cannot be right before that.
    pub written: Option<WallTime>,
    /// Where it was read from, and which version of that file.
    pub origin: Option<Origin>,
}

/// Which version of a policy file was read; of a missing one, none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    file: PathBuf,
    version: Option<Version>,
}

impl Policy {
    /// Reads the policy file; a missing one means the built-in defaults.
    ///
    /// # Errors
    /// A text for the administrator: file, line, column, what is wrong, the nearest known word, and how many more
    /// mistakes there are.
    pub fn load(file: &Path) -> Result<Self, String> {
        let opened = files::open_path(file, Privacy::ReadableByAll).map_err(|trouble| trouble.to_string())?;
        let version = opened.as_ref().map(|(_, stat)| Version::of(stat));
        let origin = Some(Origin { file: file.to_owned(), version });
        let Some((fd, stat)) = opened else {
            let defaults = Self::parse("").map_err(|mistakes| all(file, &mistakes))?;
            return Ok(Self { origin, ..defaults });
        };
        let bytes = files::read_all(&fd, file, MOST).map_err(|trouble| trouble.to_string())?;
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let line = bytes.iter().take(error.valid_up_to()).filter(|byte| **byte == b'\n').count().saturating_add(1);
            format!("{}: line {line}: is not UTF-8", file.display())
        })?;
        let policy = Self::parse(text).map_err(|mistakes| all(file, &mistakes))?;
        let written = u64::try_from(stat.st_mtime).ok().map(|seconds| WallTime(seconds.saturating_mul(1000)));
        Ok(Self { written, origin, ..policy })
    }

    /// Whether the file still is the one that was read: a prompt may have waited for hours.
    pub fn is_current(&self) -> bool {
        self.origin.as_ref().is_none_or(|origin| match files::stat_path(&origin.file) {
            Ok(stat) => stat.as_ref().map(Version::of) == origin.version,
            Err(_) => false,
        })
    }

    /// What is asked of somebody, and why.
    pub fn decide(&self, facts: &Facts<'_>) -> Explanation {
        decide::decide(&self.rules, facts)
    }

    /// The time, if it can be right: a clock that stands before the day on which the policy was written went back.
    pub fn trusted(&self, wall: WallTime) -> Option<WallTime> {
        Some(wall).filter(|wall| self.written.is_none_or(|written| *wall >= written))
    }

    /// Reads a policy's text.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(text: &str) -> Result<Self, Vec<Mistake>> {
        let values = Values::read(text, Part::Logins)?;
        let attempts = values.number(&keys::LIMITS_ATTEMPTS);
        let seconds = values.number(&keys::LIMITS_SECONDS);
        let lock = values.text(&keys::LIMITS_MODE) == "lock";
        Ok(Self {
            state_dir: values.text(&keys::STATE_DIR).into(),
            events_file: values.text(&keys::EVENTS_FILE).into(),
            runtime_dir: values.text(&keys::RUNTIME_DIR).into(),
            window: Window { past: values.number(&keys::TOTP_PAST), future: values.number(&keys::TOTP_FUTURE) },
            prompts: Prompts {
                text: values.text(&keys::PROMPT_TEXT),
                second: values.text(&keys::PROMPT_SECOND),
                enroll: values.text(&keys::PROMPT_ENROLL),
                both: values.text(&keys::PROMPT_BOTH),
                echo: values.switch(&keys::PROMPT_ECHO),
            },
            limits: Limits {
                mode: if lock { Mode::Lock { attempts, seconds } } else { Mode::StepUp },
                disable_after: some(values.number(&keys::LIMITS_DISABLE_AFTER)),
            },
            flood_per_minute: some(values.number(&keys::FLOOD_PER_MINUTE)),
            su_asks_invoker: values.text(&keys::IDENTITY_SU) == "invoker",
            enrolling: Enrolling {
                issuer: issuer(text, &values)?,
                first_login: match values.text(&keys::ENROLL_FIRST_LOGIN).as_str() {
                    "ticket" => FirstLogin::Ticket,
                    "first-factor" => FirstLogin::FirstFactor,
                    _ => FirstLogin::Off,
                },
                services: values.list(&keys::ENROLL_SERVICES),
                max_devices: usize::try_from(values.number(&keys::ENROLL_MAX_DEVICES)).unwrap_or(1),
                two_codes: values.number(&keys::ENROLL_CONFIRM) == 2,
                login_grace_time: some(values.number(&keys::ENROLL_LOGIN_GRACE_TIME)),
            },
            rules: values.rules,
            written: None,
            origin: None,
        })
    }
}

fn some(number: u32) -> Option<u32> {
    (number > 0).then_some(number)
}

fn issuer(text: &str, values: &Values) -> Result<Option<Name>, Vec<Mistake>> {
    let name = values.text(&keys::ENROLL_ISSUER);
    if name.is_empty() {
        return Ok(None);
    }
    Name::issuer(&name).map(Some).map_err(|what| {
        let (line, column) = place(text, text.find(&name).unwrap_or(0));
        vec![Mistake { line, column, what: format!("enroll.issuer {what}") }]
    })
}

fn all(file: &Path, mistakes: &[Mistake]) -> String {
    let first = mistakes.first().map(Mistake::to_string).unwrap_or_default();
    match mistakes.len().saturating_sub(1) {
        0 => format!("{}: {first}", file.display()),
        more => format!("{}: {first} (and {more} more)", file.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mistakes(text: &str) -> Vec<String> {
        Policy::parse(text).unwrap_err().iter().map(Mistake::to_string).collect()
    }

    #[test]
    fn the_empty_file_the_default_file_and_its_defaults_written_out_mean_the_same() {
        let built_in = Policy::parse("").unwrap();
        let file = keys::default_file();
        assert_eq!(Policy::parse(&file).unwrap(), built_in);
        let lines =
            file.lines().map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line));
        let written_out = lines.collect::<Vec<_>>().join("\n");
        assert!(written_out.contains("\npast = 1\n"));
        assert_eq!(Policy::parse(&written_out).unwrap(), built_in);
    }

    #[test]
    fn every_mistake_is_named_with_its_place_and_the_nearest_known_word() {
        let text = "[totp]\npast = -1\nfutur = 0\n\n[limit]\nmode = \"lock\"\n[limits]\nmode = \"stepup\"\nattempts = \"3\"\n[state]\ndir = \"var\"\n";
        assert_eq!(
            mistakes(text),
            [
                "line 2, column 8: totp.past must be a whole number from 0 to 10, not -1",
                "line 3, column 1: unknown key \"futur\" in [totp]; did you mean \"future\"?",
                "line 5, column 2: unknown section \"limit\"; did you mean \"limits\"?",
                "line 8, column 8: limits.mode must be \"step-up\" or \"lock\", not \"stepup\"; did you mean \"step-up\"?",
                "line 9, column 12: limits.attempts must be a whole number from 1 to 100, not a value of type string",
                "line 11, column 7: state.dir must be an absolute path, beginning with /",
            ]
        );
    }

    #[test]
    fn broken_files_are_refused() {
        for text in [
            "[totp\npast = 1",
            "\u{feff}[totp]\npast = 1",
            "[totp]\npast = 1\0",
            "[totp]\npast = 1.0",
            "[totp]\npast = 99999999999999999999",
            "[prompt]\ntext = \"\"",
            "[prompt]\ntext = \"a\\nb\"",
            "past = 1",
            "totp = 1",
            "[[totp]]\npast = 1",
            "[totp]\npast = 1\npast = 1",
            "[enroll]\nissuer = \"a:b\"",
        ] {
            assert!(Policy::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn keys_of_other_sections_are_unknown() {
        assert_eq!(mistakes("[totp]\nmode = \"lock\""), ["line 2, column 1: unknown key \"mode\" in [totp]"]);
    }

    #[test]
    fn modes_and_limits_are_read() {
        let policy =
            Policy::parse("[limits]\nmode = \"lock\"\nattempts = 3\nseconds = 0x10\ndisable_after = 100").unwrap();
        let mode = Mode::Lock { attempts: 3, seconds: 16 };
        assert_eq!(policy.limits, Limits { mode, disable_after: Some(100) });
    }

    #[test]
    fn every_mistake_in_a_rule_is_named_with_its_place() {
        let text = "[[rule]]\nuser = [\"a\"]\nusers = [\"b/c\", 1]\nfrom = [\"10.0.0.0/33\"]\nhours = \"8-18\"\n\
                    days = [\"someday\"]\nzone = \"../x\"\nuntil = \"soon\"\naction = \"skp\"\n[[rule]]\naction = \"deny\"\ncodes = 3\n\
                    past = 1\n[[rule]]\nusers = [\"a\"]\n";
        assert_eq!(
            mistakes(text),
            [
                "line 2, column 1: unknown key \"user\" in [[rule]]; did you mean \"users\"?",
                "line 3, column 10: users must hold names in quotes",
                "line 3, column 17: users must hold names in quotes",
                "line 4, column 9: from must hold an address, a network, or \"local\"",
                "line 5, column 9: hours must be hours like \"08:00-18:00\"",
                "line 6, column 9: days must hold a day like \"mon\", or days like \"mon-fri\"",
                "line 7, column 8: zone must be a time zone like \"Europe/Berlin\", \"+02:00\", \"UTC\" or \"local\"",
                "line 8, column 9: until must be a date like 2027-03-31, or a time like 2027-03-31T18:00:00Z",
                "line 9, column 10: action must be one of \"allow\", \"skip\", \"enroll\", \"require\", \"recovery-only\", \"deny\"; did you mean \"skip\"?",
                "line 12, column 9: codes must be 1 or 2",
                "line 12, column 9: codes goes with action = \"require\" or \"enroll\" only",
                "line 13, column 8: past goes with action = \"require\" or \"enroll\" only",
                "line 14, column 1: the rule has no action; it takes one of \"allow\", \"skip\", \"enroll\", \"require\", \"recovery-only\", \"deny\"",
            ]
        );
        let text = "[[rule]]\naction = \"enroll\"\nenroll_by = \"soon\"\ngrace_logins = 0\nremember = \"8 hours\"\ninput = \"both\"\n\
                    [enroll]\nservices = [\"a/b\"]\nfirst_login = \"tickets\"\nmax_devices = 5\n";
        assert_eq!(
            mistakes(text),
            [
                "line 3, column 13: enroll_by must be a date like 2027-03-31, or a time like 2027-03-31T18:00:00Z",
                "line 4, column 16: grace_logins must be a whole number from 1 to 1000",
                "line 5, column 12: remember must be a time from \"1m\" to \"30d\", like \"8h\"",
                "line 6, column 9: input must be \"code\" or \"password+code\"",
                "line 6, column 9: input goes with action = \"require\" only",
                "line 8, column 12: enroll.services must be a list of PAM services like [\"sshd\"]",
                "line 9, column 15: enroll.first_login must be \"ticket\" or \"first-factor\" or \"off\", not \"tickets\"; did you mean \"ticket\"?",
                "line 10, column 15: enroll.max_devices must be a whole number from 1 to 4, not 5",
            ]
        );
        let text = "[[rule]]\naction = \"require\"\ninput = \"password+code\"\ngrace_logins = 3\nremember = \"8h\"\n";
        let places =
            mistakes(text).iter().map(|what| what.split(" does not go").next().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(places, ["line 4, column 16: grace_logins", "line 5, column 12: remember"]);
        assert_eq!(mistakes("rule = 1"), ["line 1, column 1: rules are written as [[rule]]"]);
        assert_eq!(mistakes("[rul]"), ["line 1, column 2: unknown section \"rul\"; did you mean \"rule\"?"]);
    }

    #[test]
    fn what_is_probably_not_meant_is_warned_of() {
        let text = "[[rule]]\nusers = []\naction = \"deny\"\n[[rule]]\nusers = [\"a\"]\naction = \"allow\"\n[[rule]]\nuntil = 2020-01-01\n\
                    action = \"skip\"\n[[rule]]\nusers = [\"a\"]\naction = \"deny\"\n[[rule]]\naction = \"require\"\n[[rule]]\naction = \"skip\"\n";
        let found = warnings(&Policy::parse(text).unwrap(), WallTime(1_795_435_200_000));
        let lines: Vec<_> =
            found.iter().map(|warning| (warning.line, warning.what.split(':').next().unwrap())).collect();
        assert_eq!(
            lines,
            [
                (1, "this rule never holds"),
                (4, "this rule lets people in without a code for good; give it an end with until"),
                (7, "this rule has ended"),
                (10, "this rule is never reached"),
                (15, "this rule is never reached"),
            ]
        );
    }

    #[test]
    fn what_keeps_people_from_enrolling_is_warned_of() {
        let found = |text: &str| -> Vec<(usize, String)> {
            let warned = warnings(&Policy::parse(text).unwrap(), WallTime(1_795_435_200_000));
            warned.into_iter().map(|warning| (warning.line, warning.what)).collect()
        };
        let enroll = "[[rule]]\naction = \"enroll\"\n";
        let patient = "[enroll]\nlogin_grace_time = 600\n";
        let cases = [
            (format!("{patient}[[rule]]\naction = \"enroll\"\nenroll_by = 2026-01-01"), 3, "enroll_by is over"),
            ("[[rule]]\naction = \"require\"\ngrace_logins = 3".to_owned(), 1, "nobody can enroll at a login"),
            (format!("[enroll]\nfirst_login = \"off\"\n{enroll}"), 3, "nobody enrolls by this rule"),
            ("[enroll]\nfirst_login = \"first-factor\"\n".to_owned(), 1, "enroll.first_login"),
            (enroll.to_owned(), 1, "who enrolls through sshd has 120 seconds; set LoginGraceTime"),
            (
                "[[rule]]\nservices = [\"login\"]\naction = \"require\"\nremember = \"8h\"".to_owned(),
                1,
                "remember does nothing",
            ),
        ];
        for (text, line, what) in cases {
            let found = found(&text);
            let is_it = found.len() == 1 && found.iter().all(|(at, found)| *at == line && found.starts_with(what));
            assert!(is_it, "{text}: {found:?}");
        }
        let fine = [
            format!("{patient}{enroll}enroll_by = 2027-01-01\n"),
            "[[rule]]\nservices = [\"su\"]\naction = \"enroll\"\nremember = \"8h\"".to_owned(),
            format!("[enroll]\nlogin_grace_time = 0\n{enroll}"),
        ];
        for text in fine {
            assert_eq!(found(&text), [], "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "(\\[|\\]|=|\"|#|\n|totp|past|limits|mode|[0-9]|[a-z]|\\PC){0,40}") {
            let _ = Policy::parse(&text);
        }
    }
}
