//! The story of one login, told top down.
//!
//! ```text
//! who is it, and from where?        identify
//! what does policy ask for?         consult      nothing, and the story ends here
//! was a code given here before?     remembered   within the time of the rule, and the story ends here
//! somebody new?                     welcome      where a rule says so: enrolls, or gets in for a while without
//! ask for a code                    ask          the same question for everybody
//! can the answer be one?            read         what cannot be one costs nothing
//! too many answers from there?      heed_flood
//! a ticket?                         redeem       the wizard; who is enrolled gives his code too
//! whose keys?                       subject      a decoy's where there are none, so that the work is the same
//! compute, compare, record, fold    judge        nothing observable depends on the match before the record is durable
//! budget empty? ask for the next    decide
//! answer, event, notice             login
//! ```
//!
//! What enrolls (`welcome`, `redeem`) is told in `enrolling`, what is remembered in `remembering`.

mod enrolling;
mod readings;
mod remembering;

use readings::{Reading, both, weigh};
use subtle::ConstantTimeEq;

use crate::budget::{Entry, Failures, Hit, Ruling, State};
use crate::events::{Event, Factor, Kind, Printable, Scene};
use crate::evidence::Evidence;
use crate::files::{self, Trouble};
use crate::flood;
use crate::otp::{TicketCode, Typed, typed};
use crate::policy::{Action, Decision, Explanation, Facts, Policy, Window, Zone};
use crate::ports::{Answer, Clock, Conversation, Directory, Events, Prompt, Random};
use crate::remember::Session;
use crate::subject::{self, Subject};
use crate::vault::{History, Journal, Vault, Version};
use crate::verdict::{Cause, PamAnswer};
use crate::words::{Account, AttemptId, Now, Source, Uid, UserName, WallTime};

/// How sshd's stand-in begins: what it passes on in place of an answer for users that may not log in.
const SSHD_JUNK: &[u8] = b"\x08\n\r\x7f";

/// The services of su: plain, and as a login shell.
const SU: [&str; 2] = ["su", "su-l"];

/// What the host told us of this call.
pub struct Request {
    /// Which program asks, and from where.
    pub scene: Scene,
    /// PAM_USER as the host gave it.
    pub user: Vec<u8>,
    /// PAM_RHOST as the host gave it.
    pub rhost: Option<Vec<u8>>,
    /// The password that an earlier module of the stack asked for (PAM_AUTHTOK).
    pub password: Option<Answer>,
    /// Whether pam_unix, asked earlier in the stack, says that the password was wrong.
    pub password_failed: bool,
    /// PAM_SILENT: say nothing beyond the prompts.
    pub silent: bool,
    /// The name of this host.
    pub host: String,
    /// Gives the login session of the caller, as the kernel has it; called only where a rule needs it.
    pub session: fn() -> Option<Session>,
    /// What sshd says of the methods that came before (SSH_AUTH_INFO_0 in the PAM environment).
    pub auth_info: Option<Vec<u8>>,
}

/// Everything a login touches beside its files.
pub struct World<'a> {
    /// Users.
    pub directory: &'a dyn Directory,
    /// Clocks.
    pub clock: &'a dyn Clock,
    /// Random numbers.
    pub random: &'a dyn Random,
    /// Where events go.
    pub events: &'a dyn Events,
}

/// Decides one login: asks, judges, records, writes the event, and gives the cause of the answer.
pub fn login(request: &Request, policy: &Policy, talk: &mut dyn Conversation, world: &World<'_>) -> Cause {
    let mut login = Login::new(request, policy, world);
    let cause = login.decide(talk).unwrap_or_else(|refused| refused);
    login.close(cause);
    if matches!(cause, Cause::Code | Cause::TwoCodes) {
        login.remember();
    }
    if login.decision.with_password && cause.answer() != PamAnswer::Success {
        talk.slow_down();
    }
    if cause.answer() == PamAnswer::Success && !login.is_silent() {
        login.notices().iter().for_each(|line| talk.tell(line));
    }
    cause
}

/// One login under way.
struct Login<'a> {
    request: &'a Request,
    policy: &'a Policy,
    world: &'a World<'a>,
    account: Option<Account>,
    decision: Decision,
    /// Whether all that was typed so far is sshd's stand-in; `None` before the first answer.
    is_junk: Option<bool>,
    started: u64,
    event: Event,
    failures: Failures,
    recovery_left: Option<usize>,
    /// Whether the answer judged last was what a device shows, used before or not.
    first_was_right: bool,
    /// Which version of the credentials the code was judged by.
    judged_by: Option<Version>,
    /// Whether the enrollment has no recovery codes yet.
    lacks_recovery: bool,
    /// What somebody is told who got in without enrollment, or enrolled.
    notice: Option<String>,
}

/// An answer, what it can be, and when it came.
struct Heard {
    answer: Answer,
    said: Said,
    now: Now,
}

impl Heard {
    fn readings(&self) -> &[Reading] {
        match &self.said {
            Said::Proof(readings) => readings,
            Said::Ticket(_) => &[],
        }
    }
}

enum Said {
    /// A code or a recovery code, in several readings where a password stands before it.
    Proof(Vec<Reading>),
    /// An enrollment ticket.
    Ticket(TicketCode),
}

/// What an answer comes to.
enum Judged {
    Final(Cause),
    /// The budget is empty: the next code is asked. Holds what the first one hit, if it was fresh.
    Second(Option<Hit>),
}

impl<'a> Login<'a> {
    fn new(request: &'a Request, policy: &'a Policy, world: &'a World<'a>) -> Self {
        let source = Source::parse(request.rhost.as_deref(), Uid(request.scene.real_uid));
        let mut event = Event::new(Kind::Login, request.scene.clone(), source, Cause::Panic);
        // Until there is a record, whose id is required to be random; an event without one is better than none.
        let _ = world.random.fill(&mut event.id.0);
        Self {
            request,
            policy,
            world,
            account: None,
            decision: Decision::LAST,
            is_junk: None,
            started: world.clock.ticks(),
            event,
            failures: Failures::default(),
            recovery_left: None,
            first_was_right: false,
            judged_by: None,
            lacks_recovery: false,
            notice: None,
        }
    }

    fn decide(&mut self, talk: &mut dyn Conversation) -> Result<Cause, Cause> {
        self.identify()?;
        self.consult();
        if self.decision.action != Action::Skip {
            self.check_trail()?;
        }
        if self.decision.action.is_open() && !self.is_revoked()? {
            match self.decision.action {
                Action::Skip => return Ok(Cause::Skipped),
                // Nobody who does not exist is let in by this module.
                _ if self.account.is_some() => return Ok(Cause::Exempt),
                _ => {}
            }
        }
        if self.is_remembered() {
            return Ok(Cause::Remembered);
        }
        if self.is_newcomer()?
            && let Some(cause) = self.welcome(talk)?
        {
            return Ok(cause);
        }
        let first = self.ask(talk, &self.question())?;
        self.heed_flood(&first)?;
        let cause = match &first.said {
            Said::Ticket(ticket) => self.redeem(ticket, first.now, talk)?,
            Said::Proof(_) => self.authenticate(&first, talk)?,
        };
        if self.lacks_recovery && matches!(cause, Cause::Code | Cause::TwoCodes) && self.shows_pictures() {
            self.hand_over(talk)?;
        }
        Ok(cause)
    }

    /// One code, or two where the budget or a rule wants two. A password that came with it goes on once it is right.
    fn authenticate(&mut self, first: &Heard, talk: &mut dyn Conversation) -> Result<Cause, Cause> {
        let (judged, password) = self.judge(first, None)?;
        let cause = match judged {
            Judged::Final(cause) => cause,
            Judged::Second(hit) => {
                let second = self.ask_plain(talk, &self.policy.prompts.second)?;
                // A code that was right and used before looks like none to the second one.
                let was_used = hit.is_none() && self.first_was_right;
                match self.judge(&second, Some(hit))?.0 {
                    Judged::Final(Cause::Code) => Cause::TwoCodes,
                    Judged::Final(Cause::Wrong) if was_used => Cause::Replayed,
                    Judged::Final(Cause::Wrong | Cause::Early | Cause::Late) | Judged::Second(_) => Cause::SecondCode,
                    Judged::Final(cause) => cause,
                }
            }
        };
        if cause.answer() == PamAnswer::Success && self.decision.with_password {
            let password = first.answer.bytes().get(..password).unwrap_or_default();
            talk.hand_on(password).map_err(|_| Cause::NoConversation)?;
        }
        Ok(cause)
    }

    /// Who it is, as the name service says now. An unknown user is asked all the same.
    fn identify(&mut self) -> Result<(), Cause> {
        let name = UserName::parse(&self.request.user);
        let found = match name.as_ref() {
            Some(name) => self.world.directory.find(name).map_err(|_| Cause::Lookup)?,
            None => None,
        };
        self.account = if self.asks_invoker() {
            self.event.target = found.map(|account| account.name);
            let invoker = Uid(self.request.scene.real_uid);
            self.world.directory.find_uid(invoker).map_err(|_| Cause::Lookup)?
        } else {
            found
        };
        self.event.user = self.account.as_ref().map(|account| account.name.clone());
        self.event.uid = self.account.as_ref().map(|account| account.uid);
        Ok(())
    }

    /// Whether su is to ask its caller. Who that is the kernel says; PAM_RUSER is only what su says.
    fn asks_invoker(&self) -> bool {
        let is_su = SU.contains(&self.request.scene.service.as_str());
        self.policy.su_asks_invoker && is_su && self.request.scene.real_uid != 0
    }

    /// What policy asks for. The event says which rule that was, and what could not be known.
    fn consult(&mut self) {
        let explanation = self.explain();
        let unknown: Vec<_> =
            explanation.unknown().map(|(rule, what)| format!("rule {}: {what}", rule.saturating_add(1))).collect();
        self.event.detail = (!unknown.is_empty()).then(|| Printable::new(unknown.join("; ").as_bytes()));
        self.event.rule = explanation.decision.rule.map(|rule| rule.saturating_add(1));
        self.decision = explanation.decision;
    }

    fn explain(&self) -> Explanation {
        let now = self.world.clock.now();
        let time = now.and_then(|now| self.policy.trusted(now.wall));
        let groups = || self.account.as_ref().map_or(Ok(Vec::new()), |account| self.world.directory.groups(account));
        self.policy.decide(&Facts {
            user: self.account.as_ref().map(|account| &account.name),
            groups: &groups,
            has_group: &|name| self.world.directory.has_group(name),
            past: self.policy.window.past,
            service: self.request.scene.service.as_str(),
            source: self.event.source,
            time,
            offset: &Zone::offset_at,
        })
    }

    /// A revocation outlasts what rules leave open. Where there is no state folder nobody was revoked; state that is there
    /// and cannot be read, which whoever calls su can bring about, refuses.
    fn is_revoked(&mut self) -> Result<bool, Cause> {
        let Some(account) = &self.account else { return Ok(false) };
        if matches!(files::stat_path(&self.policy.state_dir), Ok(None)) {
            return Ok(false);
        }
        let found = Vault::open(&self.policy.state_dir).and_then(|vault| subject::read(&vault, account.uid));
        let found = found.map_err(|trouble| self.broken(&trouble))?;
        Ok(found.is_some_and(|(_, credentials, _)| credentials.revoked.is_some()))
    }

    /// Whether nothing is told: the host wants none, or the password is not known to be right yet.
    fn is_silent(&self) -> bool {
        self.request.silent || self.decision.with_password
    }

    /// The question of the rule: the same for everybody, enrolled or not.
    fn question(&self) -> String {
        let prompts = &self.policy.prompts;
        match self.decision.action {
            _ if self.decision.with_password => prompts.both.clone(),
            Action::Enroll if self.takes_tickets() => prompts.enroll.clone(),
            Action::RecoveryOnly => "Recovery code: ".to_owned(),
            _ => prompts.text.clone(),
        }
    }

    /// Asks the question of the rule.
    fn ask(&mut self, talk: &mut dyn Conversation, text: &str) -> Result<Heard, Cause> {
        let (answer, now) = self.listen(talk, text, self.policy.prompts.echo && !self.decision.with_password)?;
        let said = self.read(&answer)?;
        Ok(Heard { answer, said, now })
    }

    /// Asks for a code and nothing else.
    fn ask_plain(&mut self, talk: &mut dyn Conversation, text: &str) -> Result<Heard, Cause> {
        let (answer, now) = self.listen(talk, text, self.policy.prompts.echo)?;
        let said = Said::Proof(vec![(self.read_code(&answer)?, 0)]);
        Ok(Heard { answer, said, now })
    }

    fn listen(&mut self, talk: &mut dyn Conversation, text: &str, echo: bool) -> Result<(Answer, Now), Cause> {
        let answer = talk.ask(Prompt { text, echo }).map_err(|_| Cause::NoConversation)?;
        self.started = self.world.clock.ticks();
        let now = self.world.clock.now().ok_or(Cause::Kernel)?;
        self.event.time = now.wall;
        self.check_policy()?;
        self.check_trail()?;
        Ok((answer, now))
    }

    /// What would leave no line to be seen is not judged, and lets nobody in.
    fn check_trail(&mut self) -> Result<(), Cause> {
        self.world.events.check_room().map_err(|trouble| self.broken(&trouble))
    }

    /// A prompt may have waited for hours: the policy must be the same, and so must what it says at this time.
    fn check_policy(&mut self) -> Result<(), Cause> {
        let is_same = self.policy.rules.is_empty() || self.explain().decision == self.decision;
        if is_same && self.policy.is_current() {
            return Ok(());
        }
        self.event.detail = Some(Printable::new(b"what the policy asks changed during the login; try again"));
        Err(Cause::Policy)
    }

    fn read(&mut self, answer: &Answer) -> Result<Said, Cause> {
        if self.decision.with_password && !self.is_stand_in(answer) {
            let readings = both(answer.bytes());
            return if readings.is_empty() { Err(Cause::Malformed) } else { Ok(Said::Proof(readings)) };
        }
        match typed::ticket(answer.bytes()).filter(|_| self.takes_tickets() && !self.is_password(answer)) {
            Some(ticket) => Ok(Said::Ticket(ticket)),
            None => Ok(Said::Proof(vec![(self.read_code(answer)?, 0)])),
        }
    }

    /// What cannot be a code or a recovery code costs nothing. sshd's stand-in is judged like a wrong code of an unknown
    /// user, so that it takes as long.
    fn read_code(&mut self, answer: &Answer) -> Result<Typed, Cause> {
        if self.is_stand_in(answer) {
            return Typed::parse(b"000000").ok_or(Cause::Malformed);
        }
        if self.is_password(answer) {
            return Err(Cause::Password);
        }
        Typed::parse(answer.bytes()).ok_or(Cause::Malformed)
    }

    /// sshd sends its stand-in at every prompt or at none: after another answer it is no stand-in.
    fn is_stand_in(&mut self, answer: &Answer) -> bool {
        let is_sshd = self.request.scene.service.as_str() == "sshd";
        let is_junk = is_sshd && answer.bytes().starts_with(SSHD_JUNK) && self.is_junk.unwrap_or(true);
        self.is_junk = Some(is_junk);
        is_junk
    }

    fn is_password(&self, answer: &Answer) -> bool {
        let is_answer = |password: &Answer| bool::from(password.bytes().ct_eq(answer.bytes()));
        self.request.password.as_ref().is_some_and(is_answer)
    }

    fn heed_flood(&self, heard: &Heard) -> Result<(), Cause> {
        let (dir, limit) = (&self.policy.runtime_dir, self.policy.flood_per_minute);
        let is_too_many = flood::is_too_many(dir, &self.event.source, heard.now.boot, limit);
        if is_too_many { Err(Cause::Flooded) } else { Ok(()) }
    }

    /// Judges one answer by the keys as they are now. `first` is set for the second of two codes: what the first one hit.
    /// Gives also how many bytes of the answer stand before the code.
    fn judge(&mut self, heard: &Heard, first: Option<Option<Hit>>) -> Result<(Judged, usize), Cause> {
        let vault = &Vault::open(&self.policy.state_dir).map_err(|trouble| self.broken(&trouble))?;
        let window = Window { past: self.decision.past.unwrap_or(self.policy.window.past), ..self.policy.window };
        let subject = self.subject(vault, heard.now)?;
        let (seen, password) = weigh(heard.readings(), &subject.credentials, window, heard.now);
        let evidence = if self.decision.action == Action::RecoveryOnly { seen.without_codes() } else { seen };
        let entry = self.entry(heard, &subject, &evidence, first)?;
        let journal = subject.room.journal(&subject.credentials).map_err(|trouble| self.broken(&trouble))?;
        let history =
            journal.append(&entry).and_then(|end| journal.read_to(end)).map_err(|trouble| self.broken(&trouble))?;
        let (state, ruling) = self.rule(&history, &entry)?;
        let refusal = subject.refusal.map_or("none", Cause::reason);
        self.world.events.debug(&format!("found {}, ruled {}, refusal {refusal}", evidence.word(), ruling.word()));
        self.note(&subject, &evidence, &entry, &state);
        self.first_was_right = evidence.is_right() && !subject.is_decoy();
        self.refuse_if_changed(vault, &subject)?;
        self.checkpoint(&journal, &history, &entry, &state, subject.is_decoy());
        let judged = match (ruling, subject.refusal) {
            (Ruling::Accepted(failures), None) => {
                self.failures = failures;
                self.judged_by = subject.version();
                Judged::Final(if entry.act.is_recovery() { Cause::Recovery } else { Cause::Code })
            }
            (Ruling::SecondNeeded(hit), None) => Judged::Second(hit),
            (Ruling::SecondNeeded(_), Some(_)) => Judged::Second(None),
            (Ruling::Locked, _) => Judged::Final(Cause::Locked),
            (_, Some(refusal)) => Judged::Final(refusal),
            (_, None) if self.decision.action == Action::RecoveryOnly && !entry.act.is_recovery() => {
                Judged::Final(Cause::RecoveryOnly)
            }
            (ruling, None) => {
                let is_behind = is_clock_behind(&subject, &state, window, heard.now);
                Judged::Final(refused(&ruling, &evidence, &subject, window, is_behind))
            }
        };
        Ok((judged, password))
    }

    fn subject(&mut self, vault: &Vault, now: Now) -> Result<Subject, Cause> {
        let account = self.account.as_ref().filter(|_| self.is_junk != Some(true));
        let found = match self.decision.action {
            Action::Deny => Subject::decoy(vault, &self.request.user, Cause::Denied),
            _ => Subject::of(vault, account, &self.request.user),
        };
        let mut subject = found.map_err(|nobody| {
            self.broken(&nobody.trouble);
            nobody.cause
        })?;
        if subject.credentials.has_replaced() {
            self.end_replaced(&mut subject, now)?;
        }
        Ok(subject)
    }

    /// A device that another one was enrolled in place of is good until that one was used once, which the journal tells.
    fn end_replaced(&mut self, subject: &mut Subject, now: Now) -> Result<(), Cause> {
        let history = subject.room.journal(&subject.credentials).and_then(|journal| journal.read());
        let (state, _) = history.map_err(|trouble| self.broken(&trouble))?.fold(&self.policy.limits);
        subject.credentials.end_replaced(&state, now.wall);
        Ok(())
    }

    fn entry(
        &self,
        heard: &Heard,
        subject: &Subject,
        evidence: &Evidence,
        first: Option<Option<Hit>>,
    ) -> Result<Entry, Cause> {
        let mut id = [0; 8];
        self.world.random.fill(&mut id).map_err(|_| Cause::Kernel)?;
        let mut service = [0; 16];
        service.iter_mut().zip(self.request.scene.service.as_str().bytes()).for_each(|(to, from)| *to = from);
        let act = evidence.act(first);
        let act = if self.decision.two_codes { act.first_of_two() } else { act };
        let (id, now, source) = (AttemptId(id), heard.now, self.event.source.key());
        Ok(Entry { id, now, source, service, tag: subject.tag, silent: self.is_silent(), act })
    }

    fn rule(&mut self, history: &History, entry: &Entry) -> Result<(State, Ruling), Cause> {
        let ruled = history.rule_on(entry.id, entry.tag, &self.policy.limits);
        ruled.ok_or_else(|| self.broken(&Trouble::new(&self.policy.state_dir, "the record just written is not there")))
    }

    /// Keeps for the event and the notices what is known now.
    fn note(&mut self, subject: &Subject, evidence: &Evidence, entry: &Entry, state: &State) {
        self.event.id = entry.id;
        self.event.factor = Some(if entry.act.is_recovery() { Factor::Recovery } else { Factor::Totp });
        if subject.is_decoy() {
            return;
        }
        let credentials = &subject.credentials;
        let device = |hit: Hit| credentials.devices.iter().find(|device| device.id == hit.device);
        self.event.device = evidence.hit().and_then(device).map(|device| (device.id, device.label.clone()));
        self.event.offset = evidence.offset();
        self.event.enrollment = Some(credentials.enrollment);
        self.event.budget_left = Some(state.left(&entry.source, entry.now.wall, &self.policy.limits));
        let left = credentials.recovery.iter().filter(|kept| !state.spent.contains(&kept.selector)).count();
        self.recovery_left = entry.act.is_recovery().then_some(left);
        self.lacks_recovery = credentials.recovery.is_empty();
    }

    /// A revocation, or any other change of the credentials, counts at once.
    fn refuse_if_changed(&mut self, vault: &Vault, subject: &Subject) -> Result<(), Cause> {
        match subject.is_current(vault) {
            Ok(true) => Ok(()),
            Ok(false) => {
                Err(self.broken(&Trouble::new(vault.path(), "the credentials changed during the login; try again")))
            }
            Err(trouble) => Err(self.broken(&trouble)),
        }
    }

    /// Shortens the way of the next reader. The journal is as good without it.
    fn checkpoint(&self, journal: &Journal, history: &History, entry: &Entry, state: &State, is_decoy: bool) {
        if let Err(trouble) = journal.checkpoint(history, entry.id, state.clone(), is_decoy) {
            self.world.events.debug(&format!("no checkpoint: {trouble}"));
        }
    }

    /// Keeps what is wrong for the event.
    fn broken(&mut self, trouble: &Trouble) -> Cause {
        self.event.detail = Some(Printable::new(trouble.to_string().as_bytes()));
        Cause::State
    }

    /// Writes the event. What sshd passed on for users that may not log in is none.
    fn close(&mut self, cause: Cause) {
        if self.is_junk == Some(true) {
            return;
        }
        if self.event.time == WallTime::default() {
            self.event.time = self.world.clock.now().map(|now| now.wall).unwrap_or_default();
        }
        self.event.outcome = cause.answer().into();
        self.event.reason = Printable::new(cause.reason().as_bytes());
        self.event.duration_us = self.world.clock.ticks().saturating_sub(self.started);
        self.world.events.record(&self.event);
    }

    /// What the person is told after a success.
    fn notices(&self) -> Vec<String> {
        let failed = (self.failures.count > 0).then(|| failed_notice(&self.failures));
        let spent = self.recovery_left.map(|left| match left {
            0 => "That was the last recovery code. Ask for new ones.".to_owned(),
            1 => "That recovery code is spent; 1 is left. Ask for new ones.".to_owned(),
            left => format!("That recovery code is spent; {left} are left."),
        });
        failed.into_iter().chain(spent).chain(self.notice.clone()).collect()
    }
}

fn failed_notice(failures: &Failures) -> String {
    let named = failures.sources.iter().filter_map(|(key, count)| {
        let source = Source::from_key(key)?;
        Some(format!("{count} from {source}"))
    });
    let list = named.collect::<Vec<_>>().join(", ");
    let (count, last) = (failures.count, failures.last);
    let attempts = if count == 1 { "1 failed attempt".to_owned() } else { format!("{count} failed attempts") };
    // A record that was cut off tells neither when nor from where.
    let details = if list.is_empty() { String::new() } else { format!(": {list}; the last one at {last}") };
    format!("{attempts} with a wrong code since the last login{details}.")
}

/// Whether a code was accepted that this host's clock has not come to yet: it went back. Until it is right again the
/// phone, which did not, shows codes that look wrong here.
fn is_clock_behind(subject: &Subject, state: &State, window: Window, now: Now) -> bool {
    let mut enabled = subject.credentials.enabled();
    enabled.any(|device| {
        let newest = device.shape.step_at(now.wall).offset(i64::from(window.future));
        state.floor(device.id).is_some_and(|floor| floor > newest)
    })
}

/// Why an answer of an enrolled user was refused.
fn refused(ruling: &Ruling, evidence: &Evidence, subject: &Subject, window: Window, is_behind: bool) -> Cause {
    match (ruling, evidence) {
        (Ruling::Disabled, _) => Cause::Disabled,
        (Ruling::Spent, _) => Cause::RecoveryUsed,
        (_, Evidence::NoRecovery | Evidence::Recovery(_)) => Cause::RecoveryWrong,
        (_, _) if is_behind => Cause::ClockBackwards,
        (Ruling::Replayed(_), _) => Cause::Replayed,
        (_, _) if subject.credentials.enabled().next().is_none() => Cause::NoDevice,
        (_, Evidence::Near(offset)) if *offset > i64::from(window.future) => Cause::Early,
        (_, Evidence::Near(_)) => Cause::Late,
        (_, _) => Cause::Wrong,
    }
}

#[cfg(test)]
mod tests;
