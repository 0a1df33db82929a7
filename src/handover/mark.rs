//! What the tombstone of an enrollment that moves says, so that only its own file lifts it.

use std::fmt;

use qrtotp_core::vault::Credentials;

use crate::content::HandoverId;

/// How far an enrollment has come on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Logins are refused while the file is written. The keys still are here.
    UnderWay,
    /// The file is complete, and the keys are gone here.
    Moved,
    /// Logins are refused while the file takes the place of what is here. The keys still are here.
    Arriving,
}

impl Stage {
    const ALL: [Self; 3] = [Self::UnderWay, Self::Moved, Self::Arriving];

    fn words(self) -> &'static str {
        match self {
            Self::UnderWay => "is under way, with",
            Self::Moved => "took it to another machine, with",
            Self::Arriving => "is being restored, from",
        }
    }
}

/// The reason in a tombstone: which handover, and how far it has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    /// Which handover.
    pub id: HandoverId,
    /// How far.
    pub stage: Stage,
    /// The file, as far as it can be written as text.
    pub file: String,
}

impl Mark {
    /// Reads the reason of a revocation; `None` where somebody revoked for another one.
    pub fn parse(reason: &str) -> Option<Self> {
        let (id, rest) = reason.strip_prefix("handover ")?.split_once(' ')?;
        let id = HandoverId::parse(id)?;
        Stage::ALL.into_iter().find_map(|stage| {
            let file = rest.strip_prefix(stage.words())?.strip_prefix(' ')?;
            Some(Self { id, stage, file: file.to_owned() })
        })
    }

    /// The mark in an enrollment's tombstone.
    pub fn of(credentials: &Credentials) -> Option<Self> {
        Self::parse(&credentials.revoked.as_ref()?.reason)
    }

    /// The mark of an enrollment that a command was interrupted with: refused, though its keys are here.
    pub fn of_interrupted(credentials: &Credentials) -> Option<Self> {
        Self::of(credentials).filter(|mark| mark.stage != Stage::Moved && !credentials.devices.is_empty())
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "handover {} {} {}", self.id, self.stage.words(), self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back_and_nothing_else_is_one() {
        for stage in Stage::ALL {
            let mark = Mark { id: HandoverId([7; 8]), stage, file: "/mnt/a b.age".to_owned() };
            assert_eq!(Mark::parse(&mark.to_string()), Some(mark));
        }
        for reason in ["left", "handover", "handover 07 is under way, with x", "handover 0707070707070707 was lost"] {
            assert_eq!(Mark::parse(reason), None, "{reason}");
        }
    }
}
