//! What the ways through a stack mean: who gets in without a code, who is locked out, and by which line.

use super::walk::{Code, Sort, Way, ways, ways_where};
use super::{Action, Files, Kind, MODULE, Refused, Stack, Step};
use crate::finding::{Finding, Severity};

/// Conditions whose answers are tried in all combinations.
const MOST_CONDITIONS: usize = 8;

/// Where the first factor comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum First {
    /// A module of the stack.
    Stack,
    /// The host itself, as sshd looks at a key before PAM is asked.
    Host,
}

/// What is wrong with the stack of a service in which a code is to be asked. Nothing is found in a good one.
pub fn judge(service: &str, files: &dyn Files, first: First) -> Vec<Finding> {
    match Stack::read(service, files) {
        Ok(stack) => judge_stack(&stack, files, first),
        Err(refused) => vec![of_refused(service, &refused)],
    }
}

/// What libpam's refusal of a whole file comes to.
pub fn of_refused(service: &str, refused: &Refused) -> Finding {
    let what = format!("{}; libpam refuses every login through {service}", refused.what);
    Finding::error("pam-file", refused.place.to_string(), what).mend("correct the line")
}

/// Whether the code is asked on some way through a service.
pub fn asks(service: &str, files: &dyn Files) -> bool {
    Stack::read(service, files).is_ok_and(|stack| stack.ours().next().is_some())
}

/// Whether a line of a service asks for a password, or for what stands in its place.
pub fn asks_password(service: &str, files: &dyn Files) -> bool {
    let is_password = |stack: Stack| stack.steps.iter().any(|step| Sort::of(step) == Sort::Password);
    Stack::read(service, files).is_ok_and(is_password)
}

fn judge_stack(stack: &Stack, files: &dyn Files, first: First) -> Vec<Finding> {
    let all = ways(stack, &|name| files.has_module(name));
    let judge = Judge { stack, files, ways: &all };
    let mut found = judge.lines(files);
    found.extend(judge.nobody());
    found.extend(judge.unheeded());
    found.extend(judge.passed_by());
    found.extend(judge.twice());
    if first == First::Stack {
        found.extend(judge.no_first_factor());
    }
    found.extend(judge.skipped());
    found
}

struct Judge<'a> {
    stack: &'a Stack,
    files: &'a dyn Files,
    ways: &'a [Way],
}

impl Judge<'_> {
    /// What is wrong with a line whatever comes before it.
    fn lines(&self, files: &dyn Files) -> Vec<Finding> {
        let mut found = Vec::new();
        for step in &self.stack.steps {
            let place = step.place.to_string();
            match &step.kind {
                Kind::Broken(why) => {
                    found.push(Finding::error("pam-line", place, format!("{why}; the line fails")).mend("correct it"));
                }
                Kind::Module(name) if step.is_ours() && !files.has_module(name) => {
                    let what = format!("{name} is not there; nobody gets in");
                    found.push(
                        Finding::error("pam-module", place, what).mend("install the module, or take the line out"),
                    );
                }
                Kind::Module(_) if !step.is_understood => {
                    let what =
                        format!("libpam does not know this control, so {} fails whatever it answers", step.module());
                    found.push(Finding::error("pam-line", place, what).mend("correct it: required, requisite, ..."));
                }
                Kind::Module(name) if !files.has_module(name) && fails_if_missing(step) => {
                    let what = format!("{name} is not there, so the line fails");
                    found.push(Finding::error("pam-missing", place, what).mend("correct the name, or install it"));
                }
                Kind::Module(_) | Kind::Enter => {}
            }
        }
        for step in self.stack.ours() {
            if let Kind::Module(name) = &step.kind
                && name.starts_with('/')
                && !files.is_usual(name)
            {
                let what = format!("names a module in another place than libpam's own: {name}");
                let finding = Finding::warning("pam-place", step.place.to_string(), what);
                found.push(finding.mend("write pam_qrtotp.so alone, if that is the one that is meant"));
            }
        }
        let first = self.stack.ours().next();
        if self.stack.is_other
            && let Some(step) = first
        {
            let what = format!(
                "{} has no lines of its own: those of \"other\" count, and ask for a code in every such service",
                self.stack.service
            );
            found.push(Finding::warning("pam-other", step.place.to_string(), what));
        }
        found
    }

    fn nobody(&self) -> Option<Finding> {
        let is_right = |way: &&Way| way.is_success && way.marks.code == Code::Right;
        if self.ways.iter().any(|way| is_right(&way)) {
            return None;
        }
        let what = format!("no way through the stack ends well after a right code: nobody gets in by {}", MODULE);
        Some(Finding::error("pam-nobody", self.our_place(), what).mend("see which line after it refuses"))
    }

    fn unheeded(&self) -> Option<Finding> {
        let way = self.ways.iter().find(|way| way.is_success && way.marks.code == Code::Wrong)?;
        let what = format!("a wrong code gets in: {}", self.tell(way));
        Some(Finding::error("pam-unheeded", self.our_place(), what).mend("make the line: auth required pam_qrtotp.so"))
    }

    /// Ways in on which nobody asks for the code. One finding a reason.
    fn passed_by(&self) -> Vec<Finding> {
        let by = |sort: Option<Sort>| {
            self.ways.iter().find(|way| {
                let turned = way.marks.turned;
                let reasons = [Sort::Root, Sort::Condition, Sort::Other];
                let own = reasons.into_iter().find(|reason| turned.has(*reason) && counts(way, *reason));
                way.is_success && way.marks.code == Code::NotAsked && own == sort
            })
        };
        let mut found = Vec::new();
        if let Some(way) = by(None) {
            let place = self.turning_place(way);
            let what = format!("whoever comes this way gets in without a code: {}", self.tell(way));
            let mend = "put the line of pam_qrtotp.so where every way comes by: after the first factor, before what ends the \
                        stack; or take the file that ends it as a substack, not as an include";
            found.push(Finding::error("pam-bypass", place, what).mend(mend));
        }
        if let Some(way) = by(Some(Sort::Condition)).filter(|_| found.is_empty()) {
            if !self.is_decided_by_conditions() {
                let what = format!("whoever comes this way gets in without a code: {}", self.tell(way));
                let mend = "whatever the conditions before it say, some line ends the stack before the code: take it out, or put the \
                            line of pam_qrtotp.so before it";
                found.push(Finding::error("pam-bypass", self.turning_place(way), what).mend(mend));
                return found;
            }
            let what = format!("who meets this condition is not asked for a code: {}", self.tell(way));
            let mend = "if that is not meant, move the condition behind the code, or say it by a rule of the policy";
            found.push(Finding::warning("pam-condition", self.turning_place(way), what).mend(mend));
        }
        if let Some(way) = by(Some(Sort::Other)) {
            let what = format!("another factor takes the place of the code: {}", self.tell(way));
            found.push(Finding::notice("pam-other-factor", self.turning_place(way), what));
        }
        if let Some(way) = by(Some(Sort::Root)) {
            let what = "root is not asked for a code".to_owned();
            found.push(Finding::notice("pam-root", self.turning_place(way), what));
        }
        found
    }

    /// Whether there are answers of the conditions with which nobody gets in without a code; else it is not they who let by.
    fn is_decided_by_conditions(&self) -> bool {
        const YES: &[&str] = &["success"];
        const NO: &[&str] = &["auth_err"];
        let conditions: Vec<&Step> =
            self.stack.steps.iter().filter(|step| Sort::of(step) == Sort::Condition).take(MOST_CONDITIONS).collect();
        let all = 1_u32.checked_shl(u32::try_from(conditions.len()).unwrap_or(0)).unwrap_or(1);
        (0..all).any(|answers| {
            let settled = |step: &Step| {
                let number = conditions.iter().position(|own| *own == step)?;
                Some(if answers & (1 << number) == 0 { NO } else { YES })
            };
            let ways = ways_where(self.stack, &|name| self.files.has_module(name), &settled);
            !ways.iter().any(|way| {
                let by_another =
                    [Sort::Root, Sort::Other].into_iter().any(|sort| way.marks.turned.has(sort) && counts(way, sort));
                way.is_success && way.marks.code == Code::NotAsked && !by_another
            })
        })
    }

    fn twice(&self) -> Option<Finding> {
        let is_once = |way: &&Way| way.is_success && way.marks.code == Code::Right && !way.marks.is_asked_again;
        if self.ways.iter().any(|way| is_once(&way)) {
            // Some ways may pass it twice all the same.
            let way = self.ways.iter().find(|way| way.marks.is_asked_again)?;
            let what = format!("on some ways the code is asked twice, and a code is good once: {}", self.tell(way));
            let finding = Finding::warning("pam-twice", self.our_place(), what);
            return Some(finding.mend("take all lines of pam_qrtotp.so out but one"));
        }
        self.ways.iter().find(|way| way.marks.is_asked_again)?;
        let what = "the code is asked twice, and a code is good once: who answers the second question with the same is refused";
        let mend = "take all lines of pam_qrtotp.so out but one";
        Some(Finding::error("pam-twice", self.our_place(), what).mend(mend))
    }

    fn no_first_factor(&self) -> Option<Finding> {
        let is_right = |way: &&Way| way.is_success && way.marks.code == Code::Right;
        let alone = |way: &&Way| {
            let passed = way.marks.passed;
            is_right(way) && ![Sort::Password, Sort::Other, Sort::Unknown].into_iter().any(|sort| passed.has(sort))
        };
        if let Some(way) = self.ways.iter().find(alone) {
            let what = format!("the code alone gets in, without a password: {}", self.tell(way));
            let mend = "have the password asked before it, and end a wrong one there: @include common-auth, or auth requisite pam_unix.so";
            return Some(Finding::error("pam-first-factor", self.our_place(), what).mend(mend));
        }
        let after =
            |way: &&Way| is_right(way) && way.marks.passed.has(Sort::Password) && !way.marks.before.has(Sort::Password);
        let way = self.ways.iter().find(after)?;
        let what = "the password is asked after the code: strangers without it can spend attempts of a user, and where one \
                    line takes both it must be so";
        Some(Finding::notice("pam-order", self.last_place(way), what))
    }

    /// A rule may say `skip`; then another module must have said yes.
    fn skipped(&self) -> Option<Finding> {
        let open = |way: &&Way| {
            let passed = way.marks.passed;
            let is_proven = [Sort::Password, Sort::Other, Sort::Unknown].into_iter().any(|sort| passed.has(sort));
            way.is_success && way.marks.code == Code::Skipped && !is_proven
        };
        let way = self.ways.iter().find(open)?;
        let what = format!("where a rule says skip, nothing at all is asked: {}", self.tell(way));
        let finding = Finding::warning("pam-skip", self.our_place(), what);
        Some(finding.mend("do not use the action skip in this service, or take out what says yes to everybody"))
    }

    fn our_place(&self) -> String {
        self.stack
            .ours()
            .next()
            .map_or_else(|| format!("/etc/pam.d/{}", self.stack.service), |step| step.place.to_string())
    }

    fn step(&self, number: usize) -> Option<&Step> {
        self.stack.steps.get(number)
    }

    /// The line that led past the code: the last one that was asked before the way came by it, or ended.
    fn turning_place(&self, way: &Way) -> String {
        let ours = self.stack.steps.iter().position(Step::is_ours).unwrap_or(usize::MAX);
        let last = way.steps.iter().rfind(|(number, _)| *number < ours).or(way.steps.first());
        let step = last.and_then(|(number, _)| self.step(*number));
        step.map_or_else(|| self.our_place(), |step| step.place.to_string())
    }

    fn last_place(&self, way: &Way) -> String {
        let is_password = |(number, answer): &&(usize, &str)| {
            *answer == "success" && self.step(*number).is_some_and(|step| Sort::of(step) == Sort::Password)
        };
        let step = way.steps.iter().rfind(is_password).and_then(|(number, _)| self.step(*number));
        step.map_or_else(|| self.our_place(), |step| step.place.to_string())
    }

    /// `pam_unix.so (common-auth:17) says success`, what matters of a way.
    fn tell(&self, way: &Way) -> String {
        let telling = |(number, answer): &(usize, &'static str)| {
            let step = self.step(*number)?;
            let is_idle = Sort::of(step) == Sort::Neutral && *answer != "success";
            let is_idle = is_idle || (Sort::of(step) == Sort::Neutral && way.steps.len() > 1);
            let name = if step.module().is_empty() { "a broken line" } else { step.module() };
            (!is_idle).then(|| format!("{name} ({}:{}) says {answer}", step.place.file, step.place.line))
        };
        let told: Vec<_> = way.steps.iter().filter_map(telling).collect();
        if told.is_empty() { "no line refuses".to_owned() } else { told.join(", then ") }
    }
}

/// Whether libpam takes a missing module of this line for a failure of the stack (PAM_MODULE_UNKNOWN).
fn fails_if_missing(step: &Step) -> bool {
    let number = super::ANSWERS.iter().position(|answer| *answer == "module_unknown");
    let action = number.and_then(|number| step.actions.get(number));
    matches!(action, Some(Action::Bad | Action::Die))
}

/// Whether a module that turned a way did so by saying yes: a condition may turn it by either answer.
fn counts(way: &Way, sort: Sort) -> bool {
    sort == Sort::Condition || way.marks.passed.has(sort)
}

/// Whether there is one that must be mended.
pub fn is_bad(found: &[Finding]) -> bool {
    found.iter().any(|finding| finding.severity == Severity::Error)
}

/// Whether somebody gets in through a service without proving anything.
pub fn is_open(service: &str, files: &dyn Files) -> bool {
    let Ok(stack) = Stack::read(service, files) else { return false };
    let proven = [Sort::Password, Sort::Other, Sort::Code, Sort::Root, Sort::Unknown];
    ways(&stack, &|name| files.has_module(name)).iter().any(|way| {
        way.is_success
            && !proven.into_iter().any(|sort| way.marks.passed.has(sort))
            && !way.marks.turned.has(Sort::Condition)
    })
}
