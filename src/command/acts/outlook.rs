//! What a login comes to by the rules and by what is there of the user: for `qrtotp policy` and for who makes tickets.

use qrtotp_core::calendar::DAY;
use qrtotp_core::policy::rules::Origin;
use qrtotp_core::policy::{Action, Decision, Explanation, Facts, FirstLogin, Zone};
use qrtotp_core::ports::Directory;
use qrtotp_core::vault::Vault;
use qrtotp_core::words::{Account, Source, WallTime};
use qrtotp_system::{Users, caller};

use super::status::Condition;
use crate::desk::Desk;
use crate::ending::Ending;

/// Services that only programs on this machine call.
const LOCAL: [&str; 5] = ["login", "su", "su-l", "sudo", "sudo-i"];
/// An address that stands for all that no rule names (RFC 5737).
const ANYWHERE: &[u8] = b"192.0.2.1";

/// Of which login is asked.
pub struct Question {
    /// The PAM service.
    pub service: String,
    /// Where from.
    pub source: Source,
    /// When; `None` where the clock cannot be trusted.
    pub time: Option<WallTime>,
}

impl Question {
    /// Where a login through a service comes from, if no rule names the place.
    pub fn elsewhere(service: &str) -> Source {
        let caller = caller().real;
        if LOCAL.contains(&service) { Source::Local(caller) } else { Source::parse(Some(ANYWHERE), caller) }
    }

    /// Asks the rules.
    pub fn put(&self, desk: &Desk, account: Option<&Account>) -> Explanation {
        let groups = || account.map_or(Ok(Vec::new()), |account| Users.groups(account));
        desk.policy.decide(&Facts {
            user: account.map(|account| &account.name),
            groups: &groups,
            has_group: &|name| Users.has_group(name),
            past: desk.policy.window.past,
            service: &self.service,
            source: self.source,
            time: self.time,
            offset: &Zone::offset_at,
        })
    }
}

/// What a login will come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outlook {
    /// Nothing is asked.
    Open,
    /// A code.
    Code,
    /// Two consecutive codes.
    TwoCodes,
    /// A recovery code.
    RecoveryCode,
    /// The user enrolls, by this.
    Enroll(FirstLogin),
    /// The user gets in without enrollment, for a while.
    Grace {
        /// Logins left; `None`: any number.
        left: Option<u64>,
        /// Until when.
        until: Option<WallTime>,
    },
    /// Every answer is refused; says why.
    LockedOut(&'static str),
}

impl Outlook {
    /// Every word, from the most open to the strictest.
    pub const WORDS: [&str; 7] = ["no code", "code", "two codes", "recovery code", "enroll", "grace", "locked out"];

    /// What a decision means for somebody in this condition.
    pub fn of(
        desk: &Desk,
        vault: &Vault,
        account: &Account,
        decision: Decision,
        condition: Condition,
        service: &str,
    ) -> Result<Self, Ending> {
        Ok(match (decision.action, condition) {
            (action, Condition::Revoked) => {
                let starts_afresh = action == Action::Enroll && has_ticket(desk, vault, account, service)?;
                if starts_afresh { Self::Enroll(FirstLogin::Ticket) } else { Self::LockedOut("revoked") }
            }
            (Action::Allow | Action::Skip, _) => Self::Open,
            (Action::Deny, _) => Self::LockedOut("denied by the rule"),
            (_, Condition::NotEnrolled) => {
                let used = if decision.grace.is_some() { vault.grace_used(account)? } else { 0 };
                let is_shown = desk.policy.enrolling.services.iter().any(|known| known == service);
                let newcomer = Self::of_newcomer(decision, used, is_shown, desk.policy.enrolling.first_login);
                match newcomer {
                    Self::Enroll(FirstLogin::Ticket) if !has_ticket(desk, vault, account, service)? => {
                        Self::LockedOut("not enrolled, and no ticket is open")
                    }
                    other => other,
                }
            }
            (_, Condition::Stale) => Self::LockedOut("enrolled under another name or user id"),
            (_, Condition::Damaged) => Self::LockedOut("state is damaged"),
            (Action::RecoveryOnly, _) | (_, Condition::Disabled | Condition::Locked) => Self::RecoveryCode,
            (Action::Require | Action::Enroll, condition)
                if decision.two_codes || condition == Condition::SteppedUp =>
            {
                Self::TwoCodes
            }
            (Action::Require | Action::Enroll, _) => Self::Code,
        })
    }

    /// Somebody without enrollment, who got in so often without; `is_shown` where the service may show a picture.
    fn of_newcomer(decision: Decision, used: u64, is_shown: bool, first_login: FirstLogin) -> Self {
        if let Some(grace) = decision.grace {
            let left = grace.logins.map(|most| u64::from(most).saturating_sub(used));
            if left != Some(0) {
                return Self::Grace { left, until: grace.until };
            }
        }
        match (decision.action, first_login) {
            (Action::Enroll, FirstLogin::Off) => Self::LockedOut("not enrolled, and enroll.first_login is off"),
            (Action::Enroll, by) if is_shown => Self::Enroll(by),
            (Action::Enroll, _) => Self::LockedOut("not enrolled, and this service shows no picture"),
            _ => Self::LockedOut("not enrolled"),
        }
    }

    /// What it is in a word or two.
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "no code",
            Self::Code => "code",
            Self::TwoCodes => "two codes",
            Self::RecoveryCode => "recovery code",
            Self::Enroll(_) => "enroll",
            Self::Grace { .. } => "grace",
            Self::LockedOut(_) => "locked out",
        }
    }

    /// Why somebody is locked out.
    pub fn why(self) -> Option<&'static str> {
        match self {
            Self::LockedOut(why) => Some(why),
            _ => None,
        }
    }

    /// What the word leaves out; nothing for most.
    pub fn remark(self, decision: Decision) -> String {
        match self {
            Self::Code | Self::TwoCodes => {
                let password = decision.with_password.then(|| "in one line with the password".to_owned());
                let remembered = decision.remember.map(|span| format!("or remembered for {}", span_text(span)));
                password.into_iter().chain(remembered).collect::<Vec<_>>().join(", ")
            }
            Self::Enroll(FirstLogin::FirstFactor) => "by the password or key that came before, or a ticket".to_owned(),
            Self::Enroll(_) => "by ticket".to_owned(),
            Self::Grace { left, until } => {
                let logins = left.map(|left| format!("{left} login{} left", if left == 1 { "" } else { "s" }));
                let end = until.map(|until| format!("until {until}"));
                logins.into_iter().chain(end).collect::<Vec<_>>().join(", ")
            }
            Self::LockedOut(why) => why.to_owned(),
            Self::Open | Self::RecoveryCode => String::new(),
        }
    }
}

/// Whether a ticket is open that somebody can type in a service, and that was made after a revocation.
fn has_ticket(desk: &Desk, vault: &Vault, account: &Account, service: &str) -> Result<bool, Ending> {
    let enrolling = &desk.policy.enrolling;
    let is_taken = enrolling.first_login != FirstLogin::Off && enrolling.services.iter().any(|known| known == service);
    let Some(tickets) = vault.tickets(account.uid)?.filter(|_| is_taken) else { return Ok(false) };
    let revoked = vault.room(account.uid)?.map(|room| room.credentials()).transpose()?;
    let revoked = revoked.and_then(|(credentials, _)| credentials.revoked).map(|revoked| revoked.time);
    let now = desk.now()?.wall;
    for ticket in tickets.all()? {
        let is_later = revoked.is_none_or(|time| time < ticket.made);
        if is_later && ticket.is_good(&account.name, service, now) && tickets.is_alive(ticket.id)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// `8h`, as the policy has it.
pub fn span_text(milliseconds: u64) -> String {
    let units = [("d", DAY), ("h", 3_600_000), ("m", 60_000)];
    let whole = units.into_iter().find(|(_, unit)| milliseconds.is_multiple_of(*unit));
    let (unit, size) = whole.unwrap_or(("s", 1000));
    format!("{}{unit}", milliseconds.checked_div(size).unwrap_or(0))
}

/// The services among these in which somebody can type a ticket, by the rules as they are now. Who has no enrollment needs a
/// rule that enrolls; who has one needs any that asks for a code.
pub fn takes_ticket(
    desk: &Desk,
    account: &Account,
    is_enrolled: bool,
    services: &[String],
) -> Result<Vec<String>, Ending> {
    let time = desk.policy.trusted(desk.now()?.wall);
    let is_taken = |service: &&String| {
        sources(desk, account, service).into_iter().any(|source| {
            let question = Question { service: (*service).clone(), source, time };
            let Decision { action, with_password, .. } = question.put(desk, Some(account)).decision;
            action == Action::Enroll || (is_enrolled && action.asks_code() && !with_password)
        })
    };
    Ok(services.iter().filter(is_taken).cloned().collect())
}

/// Where a login through a service may come from, as far as rules make a difference of it.
fn sources(desk: &Desk, account: &Account, service: &str) -> Vec<Source> {
    let local = Source::Local(account.uid);
    if LOCAL.contains(&service) {
        return vec![local];
    }
    let origins = desk.policy.rules.iter().flat_map(|rule| rule.from.iter().flatten());
    let named = origins.filter_map(|origin| match origin {
        Origin::Network(network) => Some(Source::Address(network.addr().to_canonical())),
        Origin::Local => None,
    });
    let elsewhere = (service != "sshd").then_some(local);
    named.chain([Source::parse(Some(ANYWHERE), account.uid)]).chain(elsewhere).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use qrtotp_core::policy::Grace;

    const DECISION: Decision = Decision { action: Action::Enroll, ..Decision::LAST };

    fn newcomer(decision: Decision, used: u64) -> Outlook {
        Outlook::of_newcomer(decision, used, true, FirstLogin::Ticket)
    }

    #[test]
    fn a_newcomer_enrolls_only_where_a_picture_can_be_shown_and_it_is_on() {
        assert_eq!(newcomer(DECISION, 0), Outlook::Enroll(FirstLogin::Ticket));
        let hidden = Outlook::of_newcomer(DECISION, 0, false, FirstLogin::Ticket);
        assert_eq!(hidden.why(), Some("not enrolled, and this service shows no picture"));
        let off = Outlook::of_newcomer(DECISION, 0, true, FirstLogin::Off);
        assert_eq!(off.why(), Some("not enrolled, and enroll.first_login is off"));
        assert_eq!(newcomer(Decision::LAST, 0).why(), Some("not enrolled"));
    }

    #[test]
    fn grace_counts_down_and_leaves_what_the_rule_says() {
        let until = Some(WallTime(1_800_000_000_000));
        let decision = Decision { grace: Some(Grace { until, logins: Some(3) }), ..DECISION };
        assert_eq!(newcomer(decision, 2), Outlook::Grace { left: Some(1), until });
        assert_eq!(newcomer(decision, 2).remark(decision), "1 login left, until 2027-01-15T08:00:00.000Z");
        assert_eq!(newcomer(decision, 3), Outlook::Enroll(FirstLogin::Ticket));
        let endless = Decision { grace: Some(Grace { until, logins: None }), ..DECISION };
        assert_eq!(newcomer(endless, 1000), Outlook::Grace { left: None, until });
    }

    #[test]
    fn a_code_says_how_it_is_typed_and_how_long_it_lasts() {
        let decision = Decision { remember: Some(28_800_000), with_password: true, ..Decision::LAST };
        assert_eq!(Outlook::Code.remark(decision), "in one line with the password, or remembered for 8h");
        assert_eq!(Outlook::Code.remark(Decision::LAST), "");
    }

    #[test]
    fn spans_read_as_the_policy_has_them() {
        let spans = [(DAY, "1d"), (28_800_000, "8h"), (5_400_000, "90m"), (90_000, "90s")];
        spans.into_iter().for_each(|(span, text)| assert_eq!(span_text(span), text));
    }

    #[test]
    fn every_outlook_is_counted() {
        let all = [Outlook::Open, Outlook::Code, Outlook::TwoCodes, Outlook::RecoveryCode, Outlook::LockedOut("")];
        let new = [Outlook::Enroll(FirstLogin::Ticket), Outlook::Grace { left: None, until: None }];
        assert!(all.into_iter().chain(new).all(|outlook| Outlook::WORDS.contains(&outlook.word())));
    }
}
