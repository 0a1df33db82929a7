//! What a typed answer turns out to be against the keys: computed for everybody alike, compared in constant time.

use crate::budget::{Act, Hit};
use crate::otp::recovery::{RecoveryCode, Selector};
use crate::otp::{Code, SaltedHash, Typed, code};
use crate::policy::Window;
use crate::vault::Credentials;
use crate::words::Now;

/// How far beyond the window a code is recognised, to tell a clock that is off from a wrong code. Never accepted.
const NEAR: i64 = 2;

/// What a typed answer turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Evidence {
    /// A code that a device shows in the window.
    Code {
        /// Which device and step.
        hit: Hit,
        /// How far the step lies from this host's.
        offset: i64,
    },
    /// A code that a device shows near the window: steps from this host's.
    Near(i64),
    /// A code that no device shows.
    NoCode,
    /// A recovery code that was given out.
    Recovery(Selector),
    /// A recovery code that was not.
    NoRecovery,
}

impl Evidence {
    /// Weighs an answer.
    pub fn of(typed: &Typed, credentials: &Credentials, window: Window, now: Now) -> Self {
        match typed {
            Typed::Code(typed) => Self::of_code(typed, credentials, window, now),
            Typed::Recovery(typed) => Self::of_recovery(typed, credentials),
        }
    }

    fn of_code(typed: &Code, credentials: &Credentials, window: Window, now: Now) -> Self {
        let (past, future) = (i64::from(window.past).saturating_neg(), i64::from(window.future));
        let prepare =
            |device: &crate::vault::Device| Some((code::Generator::new(&device.secret, device.shape)?, device.shape));
        let enabled: Vec<_> = credentials.enabled().collect();
        let devices: Vec<_> = enabled.iter().filter_map(|device| prepare(device)).collect();
        let inside = code::search(typed, &devices, now.wall, past, future);
        let near = code::search(typed, &devices, now.wall, past.saturating_sub(NEAR), future.saturating_add(NEAR));
        drop(devices);
        code::burn_stack();
        let hit = inside.and_then(|seen| {
            let hit = Hit { device: enabled.get(seen.device)?.id, step: seen.step };
            Some(Self::Code { hit, offset: seen.offset })
        });
        hit.or(near.map(|seen| Self::Near(seen.offset))).unwrap_or(Self::NoCode)
    }

    /// One hash a try, whether the selector names a code or not.
    fn of_recovery(typed: &RecoveryCode, credentials: &Credentials) -> Self {
        let selector = typed.selector();
        let kept = credentials.recovery.iter().find(|kept| kept.selector == selector);
        let decoy = SaltedHash::decoy();
        let is_right = typed.is_of(kept.map_or(&decoy, |kept| &kept.hash));
        code::burn_stack();
        if is_right { Self::Recovery(selector) } else { Self::NoRecovery }
    }

    /// What it is in a word, for the debug log.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Code { .. } => "a code of the window",
            Self::Near(_) => "a code near the window",
            Self::NoCode => "no code of this user",
            Self::Recovery(_) => "a recovery code",
            Self::NoRecovery => "no recovery code of this user",
        }
    }

    /// Whether it is what a device shows in the window, or a recovery code that was given out.
    pub fn is_right(&self) -> bool {
        matches!(self, Self::Code { .. } | Self::Recovery(_))
    }

    /// Which device and step.
    pub fn hit(&self) -> Option<Hit> {
        match self {
            Self::Code { hit, .. } => Some(*hit),
            _ => None,
        }
    }

    /// How far the code lies from this host's step.
    pub fn offset(&self) -> Option<i64> {
        match self {
            Self::Code { offset, .. } | Self::Near(offset) => Some(*offset),
            _ => None,
        }
    }

    /// The same where codes of devices do not count.
    pub fn without_codes(self) -> Self {
        match self {
            Self::Recovery(_) | Self::NoRecovery => self,
            Self::Code { .. } | Self::Near(_) | Self::NoCode => Self::NoCode,
        }
    }

    /// What the journal is to say. `first` is set for the second of two codes, to what the first one hit.
    pub fn act(&self, first: Option<Option<Hit>>) -> Act {
        match (self, first) {
            (Self::Recovery(selector), _) => Act::Recovery { spent: Some(*selector) },
            (Self::NoRecovery, _) => Act::Recovery { spent: None },
            (_, None) => Act::Attempt { hit: self.hit() },
            (_, Some(first)) => Act::Second { hit: self.hit(), follows: follows(first, self.hit()) },
        }
    }
}

fn follows(first: Option<Hit>, second: Option<Hit>) -> bool {
    let next = first.map(|first| Hit { step: first.step.offset(1), ..first });
    next.is_some() && next == second
}

#[cfg(test)]
mod tests;
