//! Every way through a stack.
//!
//! libpam's rules (libpam/pam_dispatch.c) with every answer that each module may give. Two ways that have come to the same
//! line with the same marks go on alike, so that a stack of thirty lines has some hundred ways to look at and not millions.
//! A property test compares this with libpam itself.

use std::collections::{HashMap, HashSet};

use super::{ANSWERS, Action, Kind, Stack, Step};

/// What sort of module a line asks, as far as it matters whether a code is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Sort {
    /// This one.
    Code,
    /// Asks for a password, or what stands in its place as the first factor.
    Password,
    /// Asks for another second factor: a finger, a key, another code.
    Other,
    /// Lets root by.
    Root,
    /// Looks at who and where somebody is.
    Condition,
    /// Always says yes.
    Permit,
    /// Always says no.
    Deny,
    /// Prepares something, and proves nothing.
    Neutral,
    /// Not known.
    Unknown,
}

impl Sort {
    /// By the module's name and arguments.
    pub fn of(step: &Step) -> Self {
        match step.module().trim_end_matches(".so") {
            "pam_qrtotp" => Self::Code,
            "pam_unix" | "pam_sss" | "pam_krb5" | "pam_ldap" | "pam_ldapd" | "pam_winbind" | "pam_userdb"
            | "pam_pwdb" | "pam_radius_auth" | "pam_tacplus" | "pam_systemd_home" | "pam_pkcs11" | "pam_himmelblau"
            | "pam_aad" | "pam_ssh_agent_auth" | "pam_rssh" | "pam_unix2" | "pam_tcb" | "pam_extrausers"
            | "pam_mysql" | "pam_pgsql" | "pam_slurm" => Self::Password,
            "pam_u2f"
            | "pam_fprintd"
            | "pam_yubico"
            | "pam_google_authenticator"
            | "pam_oath"
            | "pam_duo"
            | "pam_howdy"
            | "pam_fprint"
            | "pam_usb" => Self::Other,
            "pam_rootok" => Self::Root,
            "pam_succeed_if" | "pam_access" | "pam_listfile" | "pam_time" | "pam_wheel" | "pam_localuser"
            | "pam_usertype" | "pam_securetty" => Self::Condition,
            "pam_permit" => Self::Permit,
            "pam_deny" => Self::Deny,
            "pam_env" | "pam_faildelay" | "pam_group" | "pam_cap" | "pam_nologin" | "pam_keyinit" | "pam_selinux"
            | "pam_sepermit" | "pam_faillock" | "pam_tally2" | "pam_motd" | "pam_mail" | "pam_limits"
            | "pam_loginuid" | "pam_systemd" | "pam_gnome_keyring" | "pam_kwallet5" | "pam_kwallet" | "pam_shells"
            | "pam_issue" | "pam_warn" | "pam_echo" | "pam_debug" | "pam_ecryptfs" | "pam_mount" | "pam_umask"
            | "pam_postlogin" | "pam_lastlog" | "pam_ssh" | "pam_preauth" | "pam_reauthorize" => Self::Neutral,
            _ => Self::Unknown,
        }
    }

    /// What it may answer.
    fn answers(self) -> &'static [&'static str] {
        match self {
            Self::Code => {
                &["success", "ignore", "auth_err", "maxtries", "conv_err", "authinfo_unavail", "service_err", "abort"]
            }
            Self::Password => &["success", "auth_err", "user_unknown", "authinfo_unavail", "perm_denied"],
            Self::Other => &["success", "auth_err", "user_unknown", "authinfo_unavail", "ignore"],
            Self::Root => &["success", "auth_err"],
            Self::Condition => &["success", "auth_err", "perm_denied", "user_unknown", "service_err", "ignore"],
            Self::Permit => &["success"],
            Self::Deny => &["auth_err"],
            Self::Neutral => &["success", "ignore", "auth_err", "perm_denied"],
            Self::Unknown => &["success", "ignore", "auth_err", "perm_denied", "user_unknown", "authinfo_unavail"],
        }
    }
}

/// Sorts of modules.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Sorts(u16);

impl Sorts {
    fn add(&mut self, sort: Sort) {
        self.0 |= 1_u16 << (sort as u8);
    }

    /// Whether it is among them.
    pub fn has(self, sort: Sort) -> bool {
        self.0 & (1_u16 << (sort as u8)) != 0
    }
}

/// What became of the code on a way.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum Code {
    /// The module was not asked.
    #[default]
    NotAsked,
    /// It said yes.
    Right,
    /// It left the decision to the others, as a rule may say.
    Skipped,
    /// It said no.
    Wrong,
}

/// What is to be known of a way.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Marks {
    /// Of the code; the worst where it was asked more than once.
    pub code: Code,
    /// Whether the module was asked more than once.
    pub is_asked_again: bool,
    /// Which said yes.
    pub passed: Sorts,
    /// Which said yes before the code was asked.
    pub before: Sorts,
    /// Whose answer turned the way: it ended the stack, or passed lines over.
    pub turned: Sorts,
}

/// A way to its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Way {
    /// Whether the stack says yes.
    pub is_success: bool,
    /// What is to be known of it.
    pub marks: Marks,
    /// The lines that were asked, by number, and what they answered.
    pub steps: Vec<(usize, &'static str)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Impression {
    Undefined,
    Positive,
    Negative,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct State {
    at: usize,
    impression: Impression,
    /// Whether the status is PAM_SUCCESS.
    is_success: bool,
    /// Both, as they were at the entry of each substack; the stack itself first.
    entries: Vec<(Impression, bool)>,
    level: usize,
    marks: Marks,
}

/// Every way that differs in its end or in its marks, one for each.
pub fn ways(stack: &Stack, has_module: &dyn Fn(&str) -> bool) -> Vec<Way> {
    ways_where(stack, has_module, &|_| None)
}

/// The same where some lines give this one answer.
pub fn ways_where(
    stack: &Stack,
    has_module: &dyn Fn(&str) -> bool,
    settled: &dyn Fn(&Step) -> Option<&'static [&'static str]>,
) -> Vec<Way> {
    let answers = |step: &Step| match &step.kind {
        _ if settled(step).is_some() => settled(step).unwrap_or_default(),
        Kind::Broken(_) => &["perm_denied"],
        Kind::Module(name) if !has_module(name) => &["module_unknown"][..],
        // As pam_sss's ignore_unknown_user: then it proves nothing.
        Kind::Module(_) if step.arguments.iter().any(|argument| argument.starts_with("ignore_")) => {
            Sort::Unknown.answers()
        }
        Kind::Module(_) | Kind::Enter => Sort::of(step).answers(),
    };
    ways_by(&stack.steps, &answers)
}

/// The same where each line gives these answers.
pub fn ways_by<'a>(steps: &[Step], answers: &dyn Fn(&Step) -> &'a [&'static str]) -> Vec<Way> {
    let first = State {
        at: 0,
        impression: Impression::Undefined,
        is_success: false,
        entries: vec![(Impression::Undefined, false)],
        level: 0,
        marks: Marks::default(),
    };
    let mut open = vec![(first, Vec::new())];
    let mut seen = HashSet::new();
    let mut ends = HashMap::new();
    while let Some((mut state, path)) = open.pop() {
        let Some(step) = steps.get(state.at) else {
            let is_success = state.is_success && state.impression == Impression::Positive;
            let key = (is_success, state.marks);
            let is_shorter = ends.get(&key).is_none_or(|known: &Vec<_>| known.len() > path.len());
            if is_shorter {
                ends.insert(key, path);
            }
            continue;
        };
        if !seen.insert(state.clone()) {
            continue;
        }
        state.enter(step);
        if step.kind == Kind::Enter {
            state.at = state.at.saturating_add(1);
            open.push((state, path));
            continue;
        }
        // The last one pushed is looked at first.
        for answer in answers(step).iter().rev() {
            let mut next = state.clone();
            next.take(steps, step, answer);
            let mut longer = path.clone();
            longer.push((state.at, *answer));
            open.push((next, longer));
        }
    }
    let mut ways: Vec<_> =
        ends.into_iter().map(|((is_success, marks), steps)| Way { is_success, marks, steps }).collect();
    ways.sort_by(|a, b| a.steps.len().cmp(&b.steps.len()).then_with(|| a.steps.cmp(&b.steps)));
    ways
}

impl State {
    /// Remembers how things stand where a substack begins.
    fn enter(&mut self, step: &Step) {
        if self.level < step.level {
            self.entries.resize(step.level.saturating_add(1), (Impression::Undefined, false));
            if let Some(entry) = self.entries.get_mut(step.level) {
                *entry = (self.impression, self.is_success);
            }
        }
        self.entries.truncate(step.level.saturating_add(1));
        self.level = step.level;
    }

    fn take(&mut self, steps: &[Step], step: &Step, answer: &str) {
        let number = ANSWERS.iter().position(|known| *known == answer);
        let action = number.and_then(|number| step.actions.get(number).copied()).unwrap_or(Action::Bad);
        let is_success = answer == "success";
        self.mark(Sort::of(step), answer, action);
        match action {
            Action::Reset => {
                (self.impression, self.is_success) =
                    self.entries.get(step.level).copied().unwrap_or((Impression::Undefined, false));
            }
            Action::Ok | Action::Done => self.count(is_success),
            Action::Bad | Action::Die => self.fail(),
            Action::Ignore => {}
            Action::Jump(count) => return self.jump(steps, step.level, count),
        }
        let is_end = match action {
            Action::Done => self.impression == Impression::Positive,
            Action::Die => true,
            _ => false,
        };
        self.at = self.at.saturating_add(1);
        if is_end {
            while steps.get(self.at).is_some_and(|next| next.level >= step.level) {
                self.at = self.at.saturating_add(1);
            }
        }
    }

    fn count(&mut self, is_success: bool) {
        let is_open = self.impression == Impression::Undefined;
        if is_open || (self.impression == Impression::Positive && self.is_success) {
            (self.impression, self.is_success) = (Impression::Positive, is_success);
        }
    }

    fn fail(&mut self) {
        (self.impression, self.is_success) = (Impression::Negative, false);
    }

    /// Passes over so many lines of this level; a substack with its lines is one.
    fn jump(&mut self, steps: &[Step], level: usize, count: u32) {
        let is_at = |at: usize, level: usize| steps.get(at).is_some_and(|next| next.level >= level);
        let mut left = count;
        let mut last = self.at;
        while left > 0 && is_at(last.saturating_add(1), level) {
            last = last.saturating_add(1);
            while is_at(last.saturating_add(1), level.saturating_add(1)) {
                last = last.saturating_add(1);
            }
            left = left.saturating_sub(1);
        }
        if left > 0 {
            self.fail();
        }
        // libpam takes the level of the line that jumped for the one before.
        self.at = last.saturating_add(1);
    }

    fn mark(&mut self, sort: Sort, answer: &str, action: Action) {
        let marks = &mut self.marks;
        if sort == Sort::Code {
            let code = match answer {
                "success" => Code::Right,
                "ignore" => Code::Skipped,
                _ => Code::Wrong,
            };
            if marks.code == Code::NotAsked {
                (marks.code, marks.before) = (code, marks.passed);
            } else {
                marks.is_asked_again = true;
                let is_worse = code == Code::Wrong || marks.code == Code::Right;
                marks.code = if is_worse { code } else { marks.code };
            }
        }
        if answer == "success" {
            marks.passed.add(sort);
        }
        if matches!(action, Action::Done | Action::Die | Action::Jump(_) | Action::Reset) {
            marks.turned.add(sort);
        }
    }
}
