//! The part of a login's story that enrolls: who is new, what a ticket opens, and what is handed over.
//!
//! Nothing is stored before a code of the new device was right. A hang-up, a kill or a full disk before that leaves
//! everything as it was, the ticket too.

use super::{Heard, Login, Said};
use crate::calendar::in_words;
use crate::enroll::{self, Draft, NotStored, Occasion, Permit, RecoverySet, Stored};
use crate::events::{Event, Factor, Kind, Printable};
use crate::files::Trouble;
use crate::otp::recovery::Selector;
use crate::otp::{Shape, TicketCode, typed};
use crate::policy::{Action, FirstLogin, Grace};
use crate::ports::{Conversation, Prompt};
use crate::remember;
use crate::subject;
use crate::vault::{Ticket, Tickets, Vault};
use crate::verdict::{Cause, PamAnswer};
use crate::wizard::{Stopped, Wizard};
use crate::words::{Account, DeviceId, EnrollmentId, Label, Now, WallTime};

/// Tickets that somebody may type who gets in without one too.
const TRIES: u32 = 3;

/// What is told where a picture cannot be shown.
const ELSEWHERE: &str =
    "No device is enrolled, and none can be here:\nlog in where questions can be asked, as ssh does at a terminal.";

/// Time that somebody without enrollment still has.
struct GraceLeft {
    until: Option<WallTime>,
    /// Logins left, this one included.
    logins: Option<u64>,
}

/// What is there of a user.
enum Standing {
    Nothing,
    RevokedAt(WallTime),
    Enrolled,
    Stale,
}

impl Login<'_> {
    /// Whether a picture may be shown here, as far as is known before it is tried.
    pub(super) fn shows_pictures(&self) -> bool {
        let services = &self.policy.enrolling.services;
        let is_service = services.iter().any(|service| service == self.request.scene.service.as_str());
        is_service && !self.request.silent && !self.decision.with_password
    }

    /// Whether a ticket may be typed here.
    pub(super) fn takes_tickets(&self) -> bool {
        let is_on = self.policy.enrolling.first_login != FirstLogin::Off;
        is_on && self.decision.action.asks_code() && self.shows_pictures()
    }

    /// Whether it is somebody without enrollment, where the rule makes a difference of it.
    pub(super) fn is_newcomer(&mut self) -> Result<bool, Cause> {
        let Some(account) = &self.account else { return Ok(false) };
        if self.decision.action != Action::Enroll && self.decision.grace.is_none() {
            return Ok(false);
        }
        let room = Vault::open(&self.policy.state_dir).and_then(|vault| vault.room(account.uid));
        room.map(|room| room.is_none()).map_err(|trouble| self.broken(&trouble))
    }

    /// Somebody without enrollment, where a rule lets the first factor enroll or gives time. `None` where he is asked like
    /// everybody else.
    pub(super) fn welcome(&mut self, talk: &mut dyn Conversation) -> Result<Option<Cause>, Cause> {
        let grace = self.grace_left()?;
        let enrolls = self.decision.action == Action::Enroll && self.shows_pictures();
        match (self.policy.enrolling.first_login, grace) {
            (FirstLogin::FirstFactor, grace) if enrolls && self.has_first_factor() => {
                match (self.enroll(Permit::FirstFactor(self.policy), &default_label()?, talk), grace) {
                    (Ok(_), _) => Ok(Some(Cause::Enrolled)),
                    (Err(Cause::GivenUp | Cause::NoConversation), Some(grace)) => self.let_in(&grace, talk),
                    (Err(cause), _) => Err(cause),
                }
            }
            (FirstLogin::Ticket, Some(grace)) if enrolls => self.ask_ticket(&grace, talk),
            (_, Some(grace)) => self.let_in(&grace, talk),
            (_, None) if self.decision.action == Action::Enroll && !enrolls => self.ask_in_vain(talk).map(Some),
            (_, None) => Ok(None),
        }
    }

    /// Where no picture can be shown, who is new is told so in the question itself: services that are silent show nothing
    /// else. Any answer is judged like everybody's.
    fn ask_in_vain(&mut self, talk: &mut dyn Conversation) -> Result<Cause, Cause> {
        let text = format!("{ELSEWHERE}\n{}", self.question());
        let heard = self.ask(talk, &text)?;
        self.heed_flood(&heard)?;
        self.authenticate(&heard, talk)
    }

    /// Whether a factor that came before is known of: a key or a password that sshd tells of, or a password that an
    /// earlier module asked for. That it was right is for the stack to see to; where pam_unix says that it was not, the stack
    /// went on all the same, and nobody enrolls by it. Where su asks its caller for a code, the password before it was
    /// another one's.
    fn has_first_factor(&self) -> bool {
        let told = self.request.auth_info.as_ref().is_some_and(|info| !info.is_empty());
        (told || self.request.password.is_some()) && !self.request.password_failed && !self.asks_invoker()
    }

    /// What is left of the time that the rule gives.
    fn grace_left(&mut self) -> Result<Option<GraceLeft>, Cause> {
        let Some((Grace { until, logins }, account)) = self.decision.grace.zip(self.account.as_ref()) else {
            return Ok(None);
        };
        let used = Vault::open(&self.policy.state_dir).and_then(|vault| vault.grace_used(account));
        let used = used.map_err(|trouble| self.broken(&trouble))?;
        let logins = logins.map(|most| u64::from(most).saturating_sub(used));
        Ok((logins != Some(0)).then_some(GraceLeft { until, logins }))
    }

    /// Lets somebody in without a code, and counts that where it is limited. He may have sat at a question for days: the time
    /// must not be over, and he must still be new.
    fn let_in(&mut self, grace: &GraceLeft, talk: &mut dyn Conversation) -> Result<Option<Cause>, Cause> {
        self.check_policy()?;
        let mut left = None;
        if let Some((account, most)) = self.account.as_ref().zip(self.decision.grace.and_then(|grace| grace.logins)) {
            let counted = Vault::open(&self.policy.state_dir).and_then(|vault| vault.count_grace(account));
            let used = counted.map_err(|trouble| self.broken(&trouble))?;
            if used > u64::from(most) {
                return Err(Cause::NotEnrolled);
            }
            left = Some(u64::from(most).saturating_sub(used));
        }
        let notice = self.notice(&GraceLeft { until: grace.until, logins: left });
        if self.request.silent {
            // What is only told is not shown there, and nobody shall use his logins up without knowing.
            let _ = talk.ask(Prompt { text: &format!("{notice}\nEnter: "), echo: true });
        }
        // Last of all, because the question waited too.
        self.check_policy()?;
        if !self.is_newcomer()? {
            return Err(Cause::Overtaken);
        }
        self.event.detail = Some(Printable::new(notice.replace('\n', " ").as_bytes()));
        self.notice = Some(notice);
        Ok(Some(Cause::Grace))
    }

    /// `You have no one-time code yet. You get in without one 3 more times, until 2027-01-31 23:00 UTC (37 days left).`
    fn notice(&self, grace: &GraceLeft) -> String {
        let now = self.world.clock.now().map(|now| now.wall).unwrap_or_default();
        let until = grace.until.map(|until| {
            let (left, time) = (in_words(until.0.saturating_sub(now.0)), until.to_string().replace('T', " "));
            format!(" until {} UTC ({left} left)", time.get(..16).unwrap_or_default())
        });
        let rest = match (grace.logins, until) {
            (Some(0), _) => "This was the last login without one".to_owned(),
            (None, until) => format!("You get in without one{}", until.unwrap_or_default()),
            (Some(logins), until) => {
                let times = if logins == 1 { "time" } else { "times" };
                let until = until.map_or_else(String::new, |until| format!(",{until}"));
                format!("You get in without one {logins} more {times}{until}")
            }
        };
        format!("You have no one-time code yet.\n{rest}.")
    }

    /// A ticket, or nothing, from somebody who gets in without one too.
    fn ask_ticket(&mut self, grace: &GraceLeft, talk: &mut dyn Conversation) -> Result<Option<Cause>, Cause> {
        let mut remark = self.notice(grace);
        for _ in 0..TRIES {
            let text = format!("\n{remark}\nEnrollment ticket, from your administrator (Enter: later): ");
            // A host that cannot ask lets him in all the same.
            let (answer, now) = match self.listen(talk, &text, true) {
                Err(Cause::NoConversation) => break,
                heard => heard?,
            };
            if self.is_stand_in(&answer) {
                return Ok(None);
            }
            if answer.bytes().trim_ascii().is_empty() || self.is_password(&answer) {
                break;
            }
            let Some(typed) = typed::ticket(answer.bytes()) else {
                remark = "That is no ticket: it has three groups of four letters and digits.".to_owned();
                continue;
            };
            let heard = Heard { answer, said: Said::Ticket(typed), now };
            self.heed_flood(&heard)?;
            let Said::Ticket(typed) = &heard.said else { break };
            match self.redeem(typed, now, talk) {
                Err(Cause::TicketRefused) => remark = "That ticket is not good for you here.".to_owned(),
                Err(Cause::GivenUp | Cause::NoConversation) => break,
                done => return done.map(Some),
            }
        }
        self.let_in(grace, talk)
    }

    /// A ticket was typed. Who has no enrollment, or a revoked one that the ticket came after, enrolls with it; who has one
    /// gives a code of it too, and then enrolls one more device.
    pub(super) fn redeem(&mut self, typed: &TicketCode, now: Now, talk: &mut dyn Conversation) -> Result<Cause, Cause> {
        let vault = Vault::open(&self.policy.state_dir).map_err(|trouble| self.broken(&trouble))?;
        let (tickets, ticket) = self.find_ticket(&vault, typed, now)?;
        let account = self.account.clone().ok_or(Cause::UnknownUser)?;
        self.event.ticket = Some(ticket.id);
        self.record(Kind::TicketOpen, "opened", None);
        let permit = Permit::Ticket(&tickets, &ticket);
        let may_start = self.decision.action == Action::Enroll;
        match standing(&vault, &account).map_err(|trouble| self.broken(&trouble))? {
            Standing::Nothing if may_start => self.enroll(permit, &ticket.label, talk).map(|_| Cause::Enrolled),
            Standing::Nothing => Err(Cause::NotEnrolled),
            Standing::RevokedAt(time) if may_start && time < ticket.made => {
                self.enroll(permit, &ticket.label, talk).map(|_| Cause::Enrolled)
            }
            Standing::RevokedAt(_) => Err(Cause::Revoked),
            Standing::Stale => Err(Cause::Stale),
            Standing::Enrolled => {
                let text = "That ticket is good. Now a code of a device that you have, or a recovery code: ";
                let heard = self.ask_plain(talk, text)?;
                self.heed_flood(&heard)?;
                let cause = self.authenticate(&heard, talk)?;
                if cause.answer() == PamAnswer::Success {
                    self.add_device(permit, &ticket.label, talk)?;
                }
                Ok(cause)
            }
        }
    }

    /// One more device for somebody who has proved who he is: that stays so if he gives up now.
    fn add_device(&mut self, permit: Permit<'_>, label: &Label, talk: &mut dyn Conversation) -> Result<(), Cause> {
        // A device that was enrolled in place of the one that logged in may have ended that at once.
        let own = match self.enroll(permit, label, talk) {
            Ok((Stored::InPlace, new)) => Some(new),
            Ok(_) => self.own_device(),
            Err(cause) => {
                talk.tell(&format!("No device was added ({}).", cause.reason()));
                self.own_device()
            }
        };
        self.check_still(own)
    }

    /// The device that logged in; none where that was a recovery code.
    fn own_device(&self) -> Option<DeviceId> {
        self.event.device.as_ref().map(|(id, _)| *id)
    }

    /// A page may have been on the screen for days: the policy, the enrollment and the device that logged in must be what
    /// they were.
    fn check_still(&mut self, own: Option<DeviceId>) -> Result<(), Cause> {
        self.check_policy()?;
        let Some(account) = self.account.as_ref() else { return Err(Cause::UnknownUser) };
        let found = Vault::open(&self.policy.state_dir).and_then(|vault| subject::read(&vault, account.uid));
        let found = found.map_err(|trouble| self.broken(&trouble))?;
        let Some((_, credentials, _)) = found else { return Err(Cause::Overtaken) };
        if credentials.revoked.is_some() {
            return Err(Cause::Revoked);
        }
        let is_same = self.event.enrollment == Some(credentials.enrollment);
        let has_device = own.is_none_or(|id| credentials.enabled().any(|device| device.id == id));
        if is_same && has_device { Ok(()) } else { Err(Cause::Overtaken) }
    }

    /// The good ticket that was typed. Everybody's answer costs as many hashes, and is counted on all tickets that it could
    /// be before it is compared with them.
    fn find_ticket(&mut self, vault: &Vault, typed: &TicketCode, now: Now) -> Result<(Tickets, Ticket), Cause> {
        let account = self.account.as_ref().filter(|_| self.is_junk != Some(true));
        let service = self.request.scene.service.as_str();
        let found = account.map_or(Ok(None), |account| vault.tickets(account.uid)).and_then(|tickets| {
            let Some((tickets, account)) = tickets.zip(account) else { return Ok(None) };
            let mut good = tickets.all()?;
            good.retain(|ticket| ticket.is_good(&account.name, service, now.wall));
            let mut alive = Vec::with_capacity(good.len());
            for ticket in good {
                if tickets.begin_try(ticket.id)? {
                    alive.push(ticket);
                }
            }
            Ok(Some((tickets, alive)))
        });
        let found = found.map_err(|trouble| self.broken(&trouble))?;
        let good = found.as_ref().map_or(&[][..], |(_, good)| good.as_slice());
        let (ticket, open) = (Tickets::find(good, typed).cloned(), good.len());
        let Some(((tickets, good), ticket)) = found.zip(ticket) else {
            let what = format!("{open} tickets of the user were open in this service, and none was typed");
            self.event.detail = Some(Printable::new(what.as_bytes()));
            return Err(Cause::TicketRefused);
        };
        let taken_back = good.iter().try_for_each(|ticket| tickets.take_back_try(ticket.id));
        taken_back.map_err(|trouble| self.broken(&trouble))?;
        Ok((tickets, ticket))
    }

    /// The wizard: picture, code, stored; and for a first enrollment the recovery codes.
    fn enroll(
        &mut self,
        permit: Permit<'_>,
        label: &Label,
        talk: &mut dyn Conversation,
    ) -> Result<(Stored, DeviceId), Cause> {
        let account = self.account.clone().ok_or(Cause::UnknownUser)?;
        let random = self.world.random;
        let draft = Draft::new(Shape::default(), label.clone(), random).map_err(|_| Cause::Kernel)?;
        let (id, device) = (draft.id, (draft.id, draft.label.clone()));
        let step = self.wizard(&account).confirm(&draft, talk).map_err(|stopped| {
            if stopped == Stopped::NoConversation {
                talk.tell(ELSEWHERE);
            }
            stopped_cause(stopped)
        })?;
        self.started = self.world.clock.ticks();
        self.check_policy()?;
        let now = self.world.clock.now().ok_or(Cause::Kernel)?;
        let vault = Vault::open(&self.policy.state_dir).map_err(|trouble| self.broken(&trouble))?;
        let occasion = Occasion { account: &account, now, source: self.event.source, random };
        let most = self.policy.enrolling.max_devices;
        let stored = enroll::store_at_login(&vault, &occasion, draft, step, permit, most);
        let (enrollment, stored) = stored.map_err(|reason| {
            let cause = self.not_stored(reason);
            // Asked, because sshd drops what is only told before a refusal. Who cannot be asked has been refused all the same.
            let what = match cause {
                Cause::Overtaken => "somebody was faster, or no more devices are allowed",
                _ => "the log of this host says why",
            };
            let text = format!("\nNothing was stored ({}): {what}. Enter: ", cause.reason());
            let _ = talk.ask(Prompt { text: &text, echo: true });
            cause
        })?;
        self.event.time = now.wall;
        self.enrolled(&vault, &account, permit, enrollment, stored, device);
        if stored == Stored::First {
            self.hand_over(talk)?;
        }
        Ok((stored, id))
    }

    /// Writes it down, and tidies up: the ticket is spent, and nobody needs grace any more.
    fn enrolled(
        &mut self,
        vault: &Vault,
        account: &Account,
        permit: Permit<'_>,
        enrollment: EnrollmentId,
        stored: Stored,
        device: (DeviceId, Label),
    ) {
        self.event.enrollment = Some(enrollment);
        if stored == Stored::First {
            (self.event.factor, self.event.device) = (Some(Factor::Totp), Some(device.clone()));
            self.notice = Some("You are enrolled. From now on a code is asked.".to_owned());
        }
        let reason = match stored {
            Stored::First => "enrolled",
            Stored::Added => "device_added",
            Stored::InPlace => "device_replaced",
        };
        self.record(Kind::Enroll, reason, Some(device));
        let tidied = match permit {
            Permit::Ticket(tickets, ticket) => tickets.remove(ticket.id),
            Permit::FirstFactor(_) => Ok(()),
        };
        self.tidied(tidied.and_then(|()| vault.forget_grace(account.uid)).and_then(|()| self.forget_places(account)));
    }

    /// What is remembered holds for the credentials as they were.
    fn forget_places(&self, account: &Account) -> Result<(), Trouble> {
        remember::forget(&self.policy.runtime_dir, Some(account.uid)).map(drop)
    }

    /// Recovery codes for somebody who has none: they count once one was typed back. Whatever comes of it, he has logged in.
    pub(super) fn hand_over(&mut self, talk: &mut dyn Conversation) -> Result<(), Cause> {
        let done = self.hand_over_set(talk);
        self.started = self.world.clock.ticks();
        match done {
            Ok(true) => self.record(Kind::RecoverySet, "handed_over", None),
            Ok(false) => {}
            Err(reason) => {
                self.not_stored(reason);
                talk.tell("The recovery codes could not be stored and do not count; the next login shows others.");
            }
        }
        self.check_still(self.own_device())
    }

    fn hand_over_set(&self, talk: &mut dyn Conversation) -> Result<bool, NotStored> {
        let Some((account, enrollment)) = self.account.as_ref().zip(self.event.enrollment) else { return Ok(false) };
        let set = RecoverySet::new(self.world.random, &self.spent_recovery(account)?)?;
        if self.wizard(account).hand_over(&set, talk).is_err() {
            return Ok(false);
        }
        let vault = Vault::open(&self.policy.state_dir)?;
        enroll::store_recovery(&vault, account, enrollment, set.kept)?;
        self.tidied(self.forget_places(account));
        Ok(true)
    }

    /// What is left over does no harm; the log says what it is.
    fn tidied(&self, done: Result<(), Trouble>) {
        if let Err(trouble) = done {
            self.world.events.debug(&format!("left over: {trouble}"));
        }
    }

    fn spent_recovery(&self, account: &Account) -> Result<Vec<Selector>, NotStored> {
        let vault = Vault::open(&self.policy.state_dir)?;
        let Some((room, credentials, _)) = subject::read(&vault, account.uid)? else { return Err(NotStored::Taken) };
        let (state, _) = room.journal(&credentials)?.read()?.fold(&self.policy.limits);
        Ok(state.spent)
    }

    fn wizard<'w>(&'w self, account: &'w Account) -> Wizard<'w> {
        Wizard {
            enrolling: &self.policy.enrolling,
            window: self.policy.window,
            clock: self.world.clock,
            user: &account.name,
            host: &self.request.host,
            is_sshd: self.request.scene.service.as_str() == "sshd",
        }
    }

    /// The cause of the answer where nothing was stored. What is wrong is kept for the event.
    fn not_stored(&mut self, reason: NotStored) -> Cause {
        let (cause, what) = match reason {
            NotStored::Trouble(trouble) => return self.broken(&trouble),
            NotStored::NoRandom => (Cause::Kernel, "no random numbers"),
            NotStored::NeedsReplace(what) => (Cause::Overtaken, what),
            NotStored::LabelTaken => (Cause::Overtaken, "a device of that label is enrolled"),
            NotStored::TooMany => (Cause::Overtaken, "as many devices are enrolled as policy allows"),
            NotStored::Taken => (Cause::Overtaken, "another login was faster"),
        };
        self.event.detail = Some(Printable::new(what.as_bytes()));
        cause
    }

    /// An event beside that of the login.
    fn record(&self, kind: Kind, reason: &str, device: Option<(DeviceId, Label)>) {
        let mut event = Event::done(kind, self.request.scene.clone(), self.event.source, reason);
        // An event without an id is better than none.
        let _ = self.world.random.fill(&mut event.id.0);
        event.time = self.world.clock.now().map(|now| now.wall).unwrap_or_default();
        event.user = self.event.user.clone();
        event.uid = self.event.uid;
        event.enrollment = self.event.enrollment;
        event.ticket = self.event.ticket;
        event.device = device;
        self.world.events.record(&event);
    }
}

/// What a device is called where no ticket says.
fn default_label() -> Result<Label, Cause> {
    Label::parse("phone").ok_or(Cause::Kernel)
}

fn stopped_cause(stopped: Stopped) -> Cause {
    match stopped {
        Stopped::GivenUp => Cause::GivenUp,
        Stopped::NoConversation => Cause::NoConversation,
        Stopped::NoTime => Cause::Kernel,
    }
}

fn standing(vault: &Vault, account: &Account) -> Result<Standing, Trouble> {
    let Some((_, credentials, _)) = subject::read(vault, account.uid)? else { return Ok(Standing::Nothing) };
    let is_own = credentials.user == account.name && credentials.uid == account.uid;
    Ok(match credentials.revoked {
        Some(revoked) => Standing::RevokedAt(revoked.time),
        None if is_own => Standing::Enrolled,
        None => Standing::Stale,
    })
}

#[cfg(test)]
mod tests;
