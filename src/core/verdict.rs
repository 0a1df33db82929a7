//! Every cause there is for an answer, and the one table from a cause to the PAM code and to the reason in the log.

/// What a host is told. The door turns it into the C constant of the same name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PamAnswer {
    /// PAM_SUCCESS
    Success,
    /// PAM_IGNORE, which policy alone may produce.
    Ignore,
    /// PAM_AUTH_ERR
    AuthErr,
    /// PAM_MAXTRIES
    MaxTries,
    /// PAM_CONV_ERR
    ConvErr,
    /// PAM_AUTHINFO_UNAVAIL
    AuthinfoUnavail,
    /// PAM_SERVICE_ERR
    ServiceErr,
    /// PAM_ABORT
    Abort,
}

/// Why a login was answered as it was.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Cause {
    /// A right code, used for the first time, recorded.
    Code,
    /// Two consecutive right codes of one device, recorded.
    TwoCodes,
    /// A recovery code, used for the first time, recorded.
    Recovery,
    /// The user enrolled at this login: the new device's code was right.
    Enrolled,
    /// A code was given at this place before, within the time that a rule gives.
    Remembered,
    /// The user has no enrollment yet, and a rule gives time.
    Grace,
    /// A rule allows without a code.
    Exempt,
    /// A rule leaves the decision to the other modules.
    Skipped,
    /// A rule denies.
    Denied,
    /// A rule accepts recovery codes only, and this was none.
    RecoveryOnly,
    /// What was typed cannot be a code or a recovery code.
    Malformed,
    /// The account password was typed (or sent by sshd's password method) in place of a code.
    Password,
    /// A code that no device shows now.
    Wrong,
    /// A right code that was used before, or is older than one that was.
    Replayed,
    /// A code of a step that has not begun here: this host's clock is behind, or the phone's is ahead.
    Early,
    /// A code of a step that is over: it was typed too late, or this host's clock is ahead.
    Late,
    /// The second of two codes was not the one that follows the first.
    SecondCode,
    /// The clock of this host went back behind a code that was accepted.
    ClockBackwards,
    /// A recovery code that was never given out.
    RecoveryWrong,
    /// A recovery code that was spent before.
    RecoveryUsed,
    /// Lock mode: too many failed attempts.
    Locked,
    /// More failed attempts in a row than `disable_after` allows.
    Disabled,
    /// No device is enabled.
    NoDevice,
    /// More attempts from this source than the flood limit allows.
    Flooded,
    /// An enrollment ticket that is not, or no longer, good for this user here.
    TicketRefused,
    /// The wizard was given up, or too many wrong codes were typed in it; nothing was stored.
    GivenUp,
    /// Another login or command enrolled or changed the user in the meantime; nothing was stored.
    Overtaken,
    /// The user has no enrollment.
    NotEnrolled,
    /// No such user.
    UnknownUser,
    /// The enrollment was revoked.
    Revoked,
    /// The enrollment belongs to another name or user id than the name service gives now.
    Stale,
    /// The conversation failed.
    NoConversation,
    /// State is missing, unsafe, damaged, or could not be written.
    State,
    /// The policy cannot be read or is wrong.
    Policy,
    /// The name service failed.
    Lookup,
    /// The kernel gave no time or no random numbers.
    Kernel,
    /// The module was given an argument that it does not know.
    Argument,
    /// The module panicked; the panic was caught at the door.
    Panic,
}

impl Cause {
    /// Every cause, for tables and tests.
    pub const ALL: [Self; 38] = [
        Self::Code,
        Self::TwoCodes,
        Self::Recovery,
        Self::Enrolled,
        Self::Remembered,
        Self::Grace,
        Self::Exempt,
        Self::Skipped,
        Self::Denied,
        Self::RecoveryOnly,
        Self::Malformed,
        Self::Password,
        Self::Wrong,
        Self::Replayed,
        Self::Early,
        Self::Late,
        Self::SecondCode,
        Self::ClockBackwards,
        Self::RecoveryWrong,
        Self::RecoveryUsed,
        Self::Locked,
        Self::Disabled,
        Self::NoDevice,
        Self::Flooded,
        Self::TicketRefused,
        Self::GivenUp,
        Self::Overtaken,
        Self::NotEnrolled,
        Self::UnknownUser,
        Self::Revoked,
        Self::Stale,
        Self::NoConversation,
        Self::State,
        Self::Policy,
        Self::Lookup,
        Self::Kernel,
        Self::Argument,
        Self::Panic,
    ];

    /// The table: what the host is told, and the word in the log.
    pub fn row(self) -> (PamAnswer, &'static str) {
        match self {
            Self::Code => (PamAnswer::Success, "code"),
            Self::TwoCodes => (PamAnswer::Success, "two_codes"),
            Self::Recovery => (PamAnswer::Success, "recovery"),
            Self::Enrolled => (PamAnswer::Success, "enrolled"),
            Self::Remembered => (PamAnswer::Success, "remembered"),
            Self::Grace => (PamAnswer::Success, "grace"),
            Self::Exempt => (PamAnswer::Success, "exempt"),
            Self::Skipped => (PamAnswer::Ignore, "skipped"),
            Self::Denied => (PamAnswer::AuthErr, "denied"),
            Self::RecoveryOnly => (PamAnswer::AuthErr, "recovery_only"),
            Self::Malformed => (PamAnswer::AuthErr, "malformed"),
            Self::Password => (PamAnswer::AuthErr, "password_as_code"),
            Self::Wrong => (PamAnswer::AuthErr, "wrong"),
            Self::Replayed => (PamAnswer::AuthErr, "replayed"),
            Self::Early => (PamAnswer::AuthErr, "early"),
            Self::Late => (PamAnswer::AuthErr, "late"),
            Self::SecondCode => (PamAnswer::AuthErr, "second_code"),
            Self::ClockBackwards => (PamAnswer::AuthErr, "clock_backwards"),
            Self::RecoveryWrong => (PamAnswer::AuthErr, "recovery_wrong"),
            Self::RecoveryUsed => (PamAnswer::AuthErr, "recovery_used"),
            Self::Locked => (PamAnswer::MaxTries, "locked"),
            Self::Disabled => (PamAnswer::AuthErr, "disabled"),
            Self::NoDevice => (PamAnswer::AuthErr, "no_device"),
            Self::Flooded => (PamAnswer::AuthErr, "flooded"),
            Self::TicketRefused => (PamAnswer::AuthErr, "ticket_refused"),
            Self::GivenUp => (PamAnswer::AuthErr, "given_up"),
            Self::Overtaken => (PamAnswer::AuthErr, "overtaken"),
            Self::NotEnrolled => (PamAnswer::AuthErr, "not_enrolled"),
            Self::UnknownUser => (PamAnswer::AuthErr, "unknown_user"),
            Self::Revoked => (PamAnswer::AuthErr, "revoked"),
            Self::Stale => (PamAnswer::AuthErr, "stale"),
            Self::NoConversation => (PamAnswer::ConvErr, "no_conversation"),
            Self::State => (PamAnswer::AuthinfoUnavail, "state"),
            Self::Policy => (PamAnswer::AuthinfoUnavail, "policy"),
            Self::Lookup => (PamAnswer::AuthinfoUnavail, "lookup"),
            Self::Kernel => (PamAnswer::AuthinfoUnavail, "kernel"),
            Self::Argument => (PamAnswer::ServiceErr, "argument"),
            Self::Panic => (PamAnswer::Abort, "panic"),
        }
    }

    /// What the host is told.
    pub fn answer(self) -> PamAnswer {
        self.row().0
    }

    /// The word in the log.
    pub fn reason(self) -> &'static str {
        self.row().1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn only_an_accepted_factor_or_what_a_rule_gives_is_success_and_only_a_rule_is_ignored() {
        let factors = [Cause::Code, Cause::TwoCodes, Cause::Recovery, Cause::Enrolled];
        let rules = [Cause::Remembered, Cause::Grace, Cause::Exempt];
        let accepted = [factors.as_slice(), &rules].concat();
        for cause in Cause::ALL {
            assert_eq!(cause.answer() == PamAnswer::Success, accepted.contains(&cause), "{cause:?}");
            assert_eq!(cause.answer() == PamAnswer::Ignore, cause == Cause::Skipped, "{cause:?}");
        }
    }

    #[test]
    fn every_cause_stands_once_in_the_list_and_has_its_own_reason() {
        let causes: BTreeSet<_> = Cause::ALL.into_iter().collect();
        let reasons: BTreeSet<_> = Cause::ALL.into_iter().map(Cause::reason).collect();
        assert_eq!((causes.len(), reasons.len()), (Cause::ALL.len(), Cause::ALL.len()));
    }
}
