//! Why a login failed, in plain words, and what to do about it.

use qrtotp_core::verdict::Cause;
use qrtotp_core::words::WallTime;

use crate::line::Line;

/// So many others make it the host's clock: one may have a phone that goes wrong too.
const SEVERAL: usize = 2;
/// Steps that a window has at most, with one before it and one behind.
const WINDOW: u64 = 23;

/// What is known beside the event itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Context {
    /// Seconds that a code of the device lasts.
    pub period: u64,
    /// The last login before at which the same device was accepted.
    pub accepted: Option<Line>,
    /// How many other users typed codes of steps that had not begun, or were over, on the same day.
    pub others_early: usize,
    /// See `others_early`.
    pub others_late: usize,
}

/// What happened, and what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// What happened.
    pub what: String,
    /// What to do.
    pub advice: String,
}

/// Explains a login that was refused. Of a reason that this version does not know, only the word is told.
pub fn explain(line: &Line, context: &Context) -> Answer {
    let user = line.user.as_deref().unwrap_or("the user");
    let cause = Cause::ALL.into_iter().find(|cause| cause.reason() == line.reason);
    let (what, advice) = match cause {
        Some(Cause::Early) => early(line, context),
        Some(Cause::Late) => late(line, context),
        Some(Cause::Replayed) => replayed(line, context, user),
        Some(cause) => (plain(cause, line), remedy(cause, user)),
        None => (format!("refused: {}", line.reason), "see docs/FORMAT.md of the version that wrote it".to_owned()),
    };
    let detail = line.detail.as_ref().map(|detail| format!(" ({detail})")).unwrap_or_default();
    Answer { what: format!("{what}{detail}"), advice }
}

/// What a reason means, and what to do, of whatever login: for the manual.
pub fn of_cause(cause: Cause) -> Answer {
    let line = Line { user: Some("USER".to_owned()), reason: cause.reason().to_owned(), ..Line::default() };
    let told = |what: &str, advice: &str| Answer { what: what.to_owned(), advice: advice.to_owned() };
    match cause {
        // These are told by what else is known of the login.
        Cause::Early => told(
            "a code of a step that has not begun: this host's clock is behind, or the phone's is ahead",
            "set the clocks by the network (timedatectl, chronyc tracking)",
        ),
        Cause::Late => told(
            "a code of a step that is over: it was typed too late, the phone's clock is behind, or this host's is ahead",
            "set the clocks by the network; for slow typists, [totp] past",
        ),
        Cause::Flooded => {
            told("more answers in a minute from one source than [flood] per_minute", &remedy(cause, "USER"))
        }
        _ => explain(&line, &Context::default()),
    }
}

/// How many seconds at least, and at most, a clock must be off for a code to have that offset.
fn apart(line: &Line, context: &Context) -> Option<(u64, u64)> {
    let offset = line.offset?;
    let period = context.period.max(1);
    let within = line.moment()?.seconds().checked_rem(period)?;
    let steps = offset.unsigned_abs().saturating_mul(period);
    let least = match offset {
        1.. => steps.saturating_sub(within),
        _ => steps.saturating_sub(period).saturating_add(within),
    };
    Some((least, least.saturating_add(period)))
}

fn early(line: &Line, context: &Context) -> (String, String) {
    let by = apart(line, context).map_or(String::new(), |(least, most)| format!(" by {least} to {most} s"));
    let what = match line.offset {
        Some(1) | None => "a right code, but of the next step".to_owned(),
        Some(offset) => format!("a right code, but {offset} steps ahead"),
    };
    let advice = if context.others_early >= SEVERAL {
        format!(
            "this host's clock is behind{by}: codes of {} other users came too early that day too; check it: timedatectl, chronyc tracking",
            context.others_early
        )
    } else {
        format!(
            "either this host's clock is behind{by} (timedatectl, chronyc tracking), or the phone's is ahead (its automatic time should be on); hardly anybody else's code came too early that day"
        )
    };
    (what, advice)
}

fn late(line: &Line, context: &Context) -> (String, String) {
    let by = apart(line, context).map_or(String::new(), |(least, most)| format!(" by {least} to {most} s"));
    let what = match line.offset {
        Some(offset) => format!("a right code, but {} steps old", offset.unsigned_abs()),
        None => "a right code, but an old one".to_owned(),
    };
    let advice = if context.others_late >= SEVERAL {
        format!(
            "this host's clock is ahead{by}: codes of {} other users came too late that day too; check it: timedatectl, chronyc tracking",
            context.others_late
        )
    } else {
        format!(
            "typed too late, or the phone's clock is behind{by} (its automatic time should be on); for slow typists: [totp] past"
        )
    };
    (what, advice)
}

fn replayed(line: &Line, context: &Context, user: &str) -> (String, String) {
    let ago = |accepted: &&Line| {
        let (now, then) = line.moment().zip(accepted.moment())?;
        Some(now.0.saturating_sub(then.0) / 1000)
    };
    // What was used longer ago than any window reaches was not this code.
    let reach = context.period.saturating_mul(WINDOW);
    let near = context.accepted.as_ref().filter(|accepted| ago(accepted).is_some_and(|ago| ago <= reach));
    let Some(accepted) = near else {
        let what = "a right code, but it was used before, or is older than one that was".to_owned();
        return (what, "wait for the next code; each is good once".to_owned());
    };
    let ago = ago(&accepted).unwrap_or(0);
    let what = format!(
        "a right code, but it, or a newer one, was used before: {ago} s before, from {} ({})",
        accepted.origin(),
        accepted.service
    );
    let advice = if accepted.origin() == line.origin() {
        "wait for the next code; each is good once".to_owned()
    } else {
        format!("wait for the next code; if that was not {user}: qrtotp revoke {user} --reason ...")
    };
    (what, advice)
}

/// What happened.
fn plain(cause: Cause, line: &Line) -> String {
    let rule = line.rule.map_or("a rule".to_owned(), |rule| format!("rule {rule}"));
    match cause {
        Cause::Denied => format!("{rule} of the policy denies"),
        Cause::RecoveryOnly => format!("{rule} accepts recovery codes only, and this was none"),
        Cause::Malformed => "what was typed cannot be a code".to_owned(),
        Cause::Password => "the account password was typed, or sent by a program, in place of a code".to_owned(),
        Cause::Wrong => match line.budget_left {
            Some(0) => "a wrong code; from now on two codes are asked".to_owned(),
            Some(left) => format!("a wrong code; {left} more before two codes are asked"),
            None => "a wrong code".to_owned(),
        },
        Cause::SecondCode => "two codes were asked, and they did not follow each other".to_owned(),
        Cause::ClockBackwards => "this host's clock stands before a code that was accepted: it went back".to_owned(),
        Cause::RecoveryWrong => "a recovery code that was never given out, or of an older set".to_owned(),
        Cause::RecoveryUsed => "a recovery code that was used before".to_owned(),
        Cause::Locked => "locked after too many wrong codes".to_owned(),
        Cause::Disabled => "codes are refused after too many wrong ones in a row".to_owned(),
        Cause::NoDevice => "no device is enabled".to_owned(),
        Cause::Flooded => format!("too many answers in a minute from {}", line.origin()),
        Cause::TicketRefused => "no ticket that is open for this user in this service".to_owned(),
        Cause::GivenUp => "enrolling was given up, or five wrong codes were typed in it; nothing was stored".to_owned(),
        Cause::Overtaken => "another login or command changed the enrollment meanwhile; nothing was stored".to_owned(),
        Cause::NotEnrolled => "not enrolled".to_owned(),
        Cause::UnknownUser => "no such user".to_owned(),
        Cause::Revoked => "the enrollment was revoked".to_owned(),
        Cause::Stale => "the enrollment belongs to another name or user id than the account has now".to_owned(),
        Cause::NoConversation => "the program that asked got no answer".to_owned(),
        Cause::State => "state could not be read, trusted or written".to_owned(),
        Cause::Policy => "the policy could not be read, is wrong, or changed during the login".to_owned(),
        Cause::Lookup => "the name service failed".to_owned(),
        Cause::Kernel => "the kernel gave no time or no random numbers".to_owned(),
        Cause::Argument => "the module's line in /etc/pam.d has an argument that it does not know".to_owned(),
        Cause::Panic => "a fault of the module".to_owned(),
        Cause::Code => "a right code, used for the first time".to_owned(),
        Cause::TwoCodes => "two consecutive right codes of one device".to_owned(),
        Cause::Recovery => "a recovery code, used for the first time".to_owned(),
        Cause::Enrolled => "enrolled at this login: a code of the new device was right".to_owned(),
        Cause::Remembered => "a code was given at this place before, within remember of the rule".to_owned(),
        Cause::Grace => "not enrolled, and within enroll_by and grace_logins of the rule".to_owned(),
        Cause::Exempt => "a rule allows".to_owned(),
        Cause::Skipped => "a rule skips: the other modules of the stack decide".to_owned(),
        // These have their own words.
        Cause::Early | Cause::Late | Cause::Replayed => cause.reason().to_owned(),
    }
}

/// What to do.
fn remedy(cause: Cause, user: &str) -> String {
    match cause {
        Cause::Denied | Cause::RecoveryOnly => {
            format!("if that should not be: qrtotp policy explain {user} --service SERVICE --from ADDRESS")
        }
        Cause::Malformed => "codes have 6 to 8 digits; recovery codes have letters and digits in groups".to_owned(),
        Cause::Password => {
            "type the code where the code is asked; ssh's method \"password\" sends the password to every question: use keyboard-interactive"
                .to_owned()
        }
        Cause::Wrong => format!(
            "compare the account that the app shows with the device: qrtotp device list {user}; if it goes on: the phone's clock, or somebody guesses"
        ),
        Cause::SecondCode => format!(
            "type one code, wait until the app shows another, type that; an administrator ends it: qrtotp unlock {user}"
        ),
        Cause::ClockBackwards => format!("set the clock right (timedatectl); then, if it was ahead before: qrtotp unlock {user}"),
        Cause::RecoveryWrong | Cause::RecoveryUsed => format!("each recovery code is good once; a new set: qrtotp recovery {user}"),
        Cause::Locked | Cause::Disabled => format!("recovery codes still work; or: qrtotp unlock {user}"),
        Cause::NoDevice => format!("qrtotp device enable {user} DEVICE, or enroll another one: qrtotp enroll {user}"),
        Cause::Flooded => "somebody floods, or a program tries again and again; block the address, or raise [flood] per_minute".to_owned(),
        Cause::TicketRefused => format!("mistyped, expired, spent, dead after five tries, or for another service: qrtotp ticket list; a new one: qrtotp ticket new {user}"),
        Cause::GivenUp => format!("{user} may begin again; the ticket is still good if its time is not over: qrtotp ticket list"),
        Cause::Overtaken => format!("try again; see: qrtotp status {user}"),
        Cause::NotEnrolled => format!("qrtotp enroll {user}, or let {user} do it with: qrtotp ticket new {user}"),
        Cause::UnknownUser => "somebody mistyped a name, or tries names".to_owned(),
        Cause::Revoked => format!("who revoked it, and why: qrtotp status {user}; to start afresh: qrtotp enroll {user} --replace"),
        Cause::Stale => format!("see: qrtotp status {user}; remove what is left of the old account with: qrtotp gc"),
        Cause::NoConversation => "the connection was closed at the question, or the program cannot ask; a key alone does not log in here".to_owned(),
        Cause::State => "look at the path and the error in brackets; a full disk, wrong rights, or damage".to_owned(),
        Cause::Policy => "qrtotp policy check".to_owned(),
        Cause::Lookup => format!("getent passwd {user}; the name service (sssd, LDAP) must answer"),
        Cause::Kernel => "a very early boot, or limits on the process".to_owned(),
        Cause::Argument => "look for pam_qrtotp.so in /etc/pam.d; the arguments are in the manual: man pam_qrtotp".to_owned(),
        Cause::Panic => "please report it, with the line from syslog".to_owned(),
        _ => String::new(),
    }
}

/// Whether a login was refused.
pub fn is_refusal(line: &Line) -> bool {
    line.is_login() && matches!(line.result.as_str(), "failure" | "error")
}

/// Whether a time lies on the same day or at most a day away: clocks do not stay wrong for weeks.
pub fn is_same_day(line: &Line, time: WallTime) -> bool {
    line.moment().is_some_and(|moment| moment.distance(time) <= qrtotp_core::calendar::DAY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use qrtotp_core::verdict::PamAnswer;

    fn line(reason: &str) -> Line {
        Line {
            time: "2026-11-24T09:30:26.000Z".to_owned(),
            event: "login".to_owned(),
            service: "sshd".to_owned(),
            user: Some("alice".to_owned()),
            source: "192.0.2.7".to_owned(),
            result: "failure".to_owned(),
            reason: reason.to_owned(),
            ..Line::default()
        }
    }

    const CONTEXT: Context = Context { period: 30, accepted: None, others_early: 0, others_late: 0 };

    #[test]
    fn every_refusal_there_is_has_words_and_a_remedy() {
        for cause in Cause::ALL {
            if matches!(cause.answer(), PamAnswer::Success | PamAnswer::Ignore) {
                continue;
            }
            let answer = explain(&line(cause.reason()), &CONTEXT);
            assert!(answer.what.contains(' ') && answer.advice.contains(' '), "{cause:?} {answer:?}");
        }
        assert_eq!(explain(&line("of_a_later_version"), &CONTEXT).what, "refused: of_a_later_version");
    }

    #[test]
    fn every_cause_has_words_for_the_manual() {
        for cause in Cause::ALL {
            let answer = of_cause(cause);
            assert!(answer.what.contains(' ') && !answer.what.ends_with('.'), "{cause:?} {answer:?}");
            let is_refusal = !matches!(cause.answer(), PamAnswer::Success | PamAnswer::Ignore);
            assert_eq!(answer.advice.is_empty(), !is_refusal, "{cause:?} {answer:?}");
        }
    }

    #[test]
    fn a_code_of_the_next_step_tells_how_far_the_clock_is_off() {
        let early = Line { offset: Some(1), ..line("early") };
        let answer = explain(&early, &CONTEXT);
        assert!(answer.advice.contains("behind by 4 to 34 s"), "{answer:?}");
        let answer = explain(&early, &Context { others_early: 3, ..CONTEXT });
        assert!(
            answer.advice.starts_with("this host's clock is behind by 4 to 34 s: codes of 3 other users"),
            "{answer:?}"
        );
        let one = explain(&early, &Context { others_early: 1, ..CONTEXT });
        assert!(one.advice.starts_with("either this host's clock"), "{one:?}");
        let late = Line { offset: Some(-2), ..line("late") };
        assert!(explain(&late, &CONTEXT).advice.contains("behind by 56 to 86 s"), "{:?}", explain(&late, &CONTEXT));
    }

    #[test]
    fn a_replay_names_where_the_code_was_used_and_warns_if_that_was_elsewhere() {
        let accepted =
            Line { time: "2026-11-24T09:30:14.000Z".to_owned(), source: "203.0.113.9".to_owned(), ..line("code") };
        let answer = explain(&line("replayed"), &Context { accepted: Some(accepted.clone()), ..CONTEXT });
        assert!(answer.what.contains("12 s before, from 203.0.113.9 (sshd)"), "{answer:?}");
        assert!(answer.advice.contains("qrtotp revoke alice"), "{answer:?}");
        let old = Line { time: "2026-11-24T08:00:00.000Z".to_owned(), ..accepted.clone() };
        assert!(!explain(&line("replayed"), &Context { accepted: Some(old), ..CONTEXT }).what.contains("203.0.113.9"));
        let same = Line { source: "192.0.2.7".to_owned(), ..accepted };
        assert!(!explain(&line("replayed"), &Context { accepted: Some(same), ..CONTEXT }).advice.contains("revoke"));
    }
}
