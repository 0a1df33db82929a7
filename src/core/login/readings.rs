//! An answer that holds a password and a code in one line: where the one ends and the other begins.

use crate::evidence::Evidence;
use crate::otp::recovery::RecoveryCode;
use crate::otp::{Code, Typed};
use crate::policy::Window;
use crate::vault::Credentials;
use crate::words::Now;

/// A code or a recovery code, and the number of bytes before it, which are the password.
pub type Reading = (Typed, usize);

/// The readings of a password with a code, or a recovery code as it was given out, at its end.
pub fn both(answer: &[u8]) -> Vec<Reading> {
    const RECOVERY: usize = RecoveryCode::LENGTH + 4;
    let ending = |length: usize| {
        let (password, end) = answer.split_at_checked(answer.len().checked_sub(length)?)?;
        let typed = Typed::parse(end).filter(|_| !password.is_empty())?;
        Some((typed, password.len()))
    };
    let recovery = ending(RECOVERY).filter(|(typed, _)| matches!(typed, Typed::Recovery(_)));
    let code = |digits: usize| ending(digits).filter(|(typed, _)| typed.digits() == Some(digits));
    (6..=Code::MAX).filter_map(code).chain(recovery).collect()
}

/// Weighs all readings, and takes the first that is right, else the first, which is a code where there is one: that is
/// charged. How many readings there are only the answer decides.
pub fn weigh(readings: &[Reading], credentials: &Credentials, window: Window, now: Now) -> (Evidence, usize) {
    let weighed = readings.iter().map(|(typed, before)| (Evidence::of(typed, credentials, window, now), *before));
    let weighed: Vec<_> = weighed.collect();
    let right = weighed.iter().find(|(evidence, _)| evidence.is_right());
    right.or(weighed.first()).copied().unwrap_or((Evidence::NoCode, 0))
}

#[cfg(test)]
mod tests;
