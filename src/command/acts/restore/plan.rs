//! What a restore does to one user, by what is there and what is here. Nothing is changed here.

use std::fmt;

use qrtotp_core::budget::{Limits, State};
use qrtotp_core::files::Trouble;
use qrtotp_core::vault::{Credentials, Revocation, Vault};
use qrtotp_core::words::{Account, EnrollmentId};
use qrtotp_handover::{HandoverId, Mark, Moved};

use crate::ending::{Code, Ending};

/// What is here of a user.
pub enum Here {
    /// Nothing.
    Nothing,
    /// An enrollment, or a tombstone.
    Enrollment {
        /// Which.
        id: EnrollmentId,
        /// Set on a tombstone.
        revoked: Option<Revocation>,
        /// What its devices are called.
        devices: Vec<String>,
    },
    /// Something that cannot be read.
    Damaged(Trouble),
}

impl Here {
    /// Looks.
    pub fn look(vault: &Vault, account: &Account, moved: &Moved) -> Self {
        let read = vault.room(account.uid).and_then(|room| match room {
            Some(room) => {
                let (credentials, _) = room.credentials()?;
                // Of the same enrollment, what was used here must be known.
                if credentials.enrollment == moved.credentials.enrollment {
                    room.journal(&credentials)?.read()?;
                }
                Ok(Some(credentials))
            }
            None => Ok(None),
        });
        match read {
            Ok(None) => Self::Nothing,
            Err(trouble) => Self::Damaged(trouble),
            Ok(Some(Credentials { enrollment, revoked, devices, .. })) => Self::Enrollment {
                id: enrollment,
                revoked,
                devices: devices.iter().map(|device| device.label.to_string()).collect(),
            },
        }
    }

    /// Whether codes are accepted here.
    pub fn is_in_force(&self) -> bool {
        matches!(self, Self::Enrollment { revoked: None, .. })
    }

    /// Whether it is the same enrollment as that of the file.
    pub fn is_of(&self, moved: &Moved) -> bool {
        matches!(self, Self::Enrollment { id, .. } if *id == moved.credentials.enrollment)
    }

    /// What the person should know of what is decided.
    pub fn remarks(&self, moved: &Moved, step: Option<&Step>) -> Vec<String> {
        let mut remarks = Vec::new();
        let Some(step) = step else { return remarks };
        if *step != Step::Fresh && self.is_of(moved) {
            remarks.push("it is the same enrollment: what was used here stays used".to_owned());
        }
        if *step == Step::Lift {
            remarks.push("make sure that it was restored nowhere else".to_owned());
        }
        if let (Step::Replace, Self::Enrollment { devices: here, .. }) = (step, self) {
            let there: Vec<_> = moved.credentials.devices.iter().map(|device| device.label.to_string()).collect();
            let lost: Vec<_> = here.iter().filter(|label| !there.contains(label)).cloned().collect();
            if !lost.is_empty() {
                remarks.push(format!("not in the file, and gone by this: {}", lost.join(", ")));
            }
            let back: Vec<_> = there.iter().filter(|label| !here.contains(label)).cloned().collect();
            if !back.is_empty() && self.is_of(moved) {
                remarks.push(format!("not here any more, and back by this: {}", back.join(", ")));
            }
        }
        remarks
    }
}

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Put where nothing is.
    Fresh,
    /// Put in the place of the tombstone that this very handover left.
    Lift,
    /// Put in the place of something else.
    Replace,
}

impl Step {
    /// What was done, or would be.
    pub fn in_words(self, is_tombstone: bool, dry_run: bool) -> String {
        let (what, of) = match (self, is_tombstone) {
            (_, true) => ("revoked here too", ""),
            (Self::Fresh, false) => ("restored", ""),
            (Self::Lift, false) => ("restored", ", as before the handover"),
            (Self::Replace, false) => ("restored", ", in place of what was here"),
        };
        let would = if dry_run { "would be " } else { "" };
        format!("{would}{what}{of}")
    }
}

/// Why nothing is done.
#[derive(Debug)]
pub enum Refusal {
    /// Nobody has the name here.
    NoUser,
    /// This very enrollment is in force here.
    Already,
    /// Another enrollment is.
    Enrolled,
    /// The enrollment came out of this very file before, and what is left of it here is nothing.
    Before,
    /// There is a tombstone that this handover did not leave.
    Revoked(String),
    /// The file holds a tombstone, and there is one here.
    RevokedAlready,
    /// State cannot be read.
    Damaged(String),
    /// It was tried.
    Failed(String),
}

impl Refusal {
    /// The word in JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Self::NoUser => "no_such_user",
            Self::Already => "already_here",
            Self::Enrolled => "enrolled",
            Self::Before => "restored_before",
            Self::Revoked(_) => "revoked",
            Self::RevokedAlready => "revoked_already",
            Self::Damaged(_) => "damaged",
            Self::Failed(_) => "failed",
        }
    }

    /// How the command ends.
    pub fn code(&self) -> Code {
        match self {
            Self::NoUser => Code::NoUser,
            Self::Damaged(_) | Self::Failed(_) => Code::Untrusted,
            Self::Already | Self::Enrolled | Self::Before | Self::Revoked(_) | Self::RevokedAlready => Code::Conflict,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoUser => f.write_str("there is no such user here; make the account, or see --rename"),
            Self::Already => f.write_str("this very enrollment is in force here already"),
            Self::Enrolled => f.write_str("enrolled here otherwise; to end that: --replace"),
            Self::Before => f.write_str(
                "this file was restored here before, and what was used since is not known; to do it again: --replace",
            ),
            Self::Revoked(reason) => write!(f, "revoked here: {reason}; to lift that: --replace"),
            Self::RevokedAlready => f.write_str("revoked there, and here already"),
            Self::Damaged(trouble) => write!(f, "{trouble}; or --replace"),
            Self::Failed(what) => f.write_str(what),
        }
    }
}

/// Decides. `was_here` says that the enrollment came out of this file here before.
pub fn decide(moved: &Moved, here: &Here, was_here: bool, id: HandoverId, replace: bool) -> Result<Step, Refusal> {
    let is_tombstone = moved.credentials.revoked.is_some();
    let refusal = match here {
        // A tombstone lets nobody in, however often it comes.
        Here::Nothing if was_here && !replace && !is_tombstone => return Err(Refusal::Before),
        Here::Nothing => return Ok(Step::Fresh),
        Here::Damaged(trouble) => Refusal::Damaged(trouble.to_string()),
        Here::Enrollment { revoked: Some(_), .. } if is_tombstone => return Err(Refusal::RevokedAlready),
        Here::Enrollment { revoked: Some(revoked), .. } => {
            let is_own = Mark::parse(&revoked.reason).is_some_and(|mark| mark.id == id);
            if is_own && here.is_of(moved) {
                return Ok(Step::Lift);
            }
            Refusal::Revoked(revoked.reason.clone())
        }
        Here::Enrollment { revoked: None, .. } if here.is_of(moved) && !is_tombstone => Refusal::Already,
        Here::Enrollment { revoked: None, .. } => Refusal::Enrolled,
    };
    if replace { Ok(Step::Replace) } else { Err(refusal) }
}

/// What was used of an enrollment that is here.
pub fn known_here(vault: &Vault, account: &Account, limits: &Limits) -> Result<State, Ending> {
    let room = vault.room(account.uid)?.ok_or_else(|| Ending::not_enrolled(account.name.as_str()))?;
    let (credentials, _) = room.credentials()?;
    Ok(room.journal(&credentials)?.read()?.fold(limits).0)
}
