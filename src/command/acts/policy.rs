//! `qrtotp policy`

use std::path::Path;
use std::str::FromStr;

use qrtotp_core::policy::{Action, Decision, Explanation, Facts, Holds, Mistake, Policy, Rule, Zone, warnings};
use qrtotp_core::ports::{Clock, Directory};
use qrtotp_core::vault::Vault;
use qrtotp_core::words::{Account, Source, Uid, UserName, WallTime};
use qrtotp_system::{SystemClock, Users, caller};
use serde_json::{Value, json};

use super::status::{self, Condition};
use crate::arguments::PolicyAct;
use crate::desk::{Desk, quoted};
use crate::ending::{Code, Ending};
use crate::screen::Screen;

/// Largest file that is checked, in bytes.
const MOST: u64 = 256 * 1024;

/// Explains or simulates; checking needs no policy that can be read, see [`check`].
pub fn run(desk: &Desk, act: &PolicyAct) -> Result<(), Ending> {
    match act {
        PolicyAct::Check { file } => check(file.as_deref().unwrap_or(&desk.config), &desk.screen),
        PolicyAct::Explain { user, service, from, at } => {
            let question = Question::new(service, from.as_deref(), at.as_deref(), desk)?;
            explain(desk, user, &question)
        }
        PolicyAct::Simulate { service, from } => simulate(desk, &Question::new(service, from.as_deref(), None, desk)?),
    }
}

/// Names every mistake of a file, with its place, and what is probably not meant.
pub fn check(file: &Path, screen: &Screen) -> Result<(), Ending> {
    let fail = |error: std::io::Error| Ending::new(Code::Untrusted, format!("{}: {error}", file.display()));
    if std::fs::metadata(file).map_err(fail)?.len() > MOST {
        return Err(Ending::new(Code::Untrusted, format!("{}: is larger than {MOST} bytes", file.display())));
    }
    let text = std::fs::read_to_string(file).map_err(fail)?;
    let now = SystemClock.now().map(|now| now.wall).unwrap_or_default();
    let (mistakes, warned, rules) = match Policy::parse(&text) {
        Ok(policy) => (Vec::new(), warnings(&policy.rules, now), policy.rules.len()),
        Err(mistakes) => (mistakes, Vec::new(), 0),
    };
    let lines = |kind: &str, list: &[Mistake]| {
        let line = |m: &Mistake| format!("{}:{}:{}: {kind}{}", file.display(), m.line, m.column, m.what);
        list.iter().map(line).collect::<Vec<_>>()
    };
    let mut text = lines("", &mistakes);
    text.extend(lines("warning: ", &warned));
    if mistakes.is_empty() {
        text.push(format!("{}: can be used; {rules} rules", file.display()));
    }
    let as_json = |list: &[Mistake]| -> Vec<Value> {
        list.iter().map(|m| json!({ "line": m.line, "column": m.column, "what": m.what })).collect()
    };
    screen.answer(
        &json!({ "file": file, "mistakes": as_json(&mistakes), "warnings": as_json(&warned) }),
        &text.join("\n"),
    )?;
    if mistakes.is_empty() { Ok(()) } else { Err(Ending::silent(Code::Untrusted)) }
}

/// Of which login is asked.
struct Question {
    service: String,
    source: Source,
    time: Option<WallTime>,
}

impl Question {
    fn new(service: &str, from: Option<&str>, at: Option<&str>, desk: &Desk) -> Result<Self, Ending> {
        let time = match at {
            Some(text) => Some(moment(text)?),
            None => desk.policy.trusted(desk.now()?.wall),
        };
        let source = Source::parse(from.map(str::as_bytes), caller().real);
        Ok(Self { service: service.to_owned(), source, time })
    }

    fn put(&self, desk: &Desk, account: Option<&Account>) -> Explanation {
        let groups = || account.map_or(Ok(Vec::new()), |account| Users.groups(account));
        desk.policy.decide(&Facts {
            user: account.map(|account| &account.name),
            groups: &groups,
            service: &self.service,
            source: self.source,
            time: self.time,
            offset: &Zone::offset_at,
        })
    }
}

fn moment(text: &str) -> Result<WallTime, Ending> {
    let wrong = || Ending::new(Code::Usage, "--at must be a time like 2027-03-31T18:00:00Z");
    WallTime::from_str(text).map_err(|()| wrong())
}

/// What a login will come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outlook {
    Open,
    Code,
    TwoCodes,
    RecoveryCode,
    LockedOut(&'static str),
}

impl Outlook {
    fn of(decision: Decision, condition: Condition) -> Self {
        match (decision.action, condition) {
            (_, Condition::Revoked) => Self::LockedOut("revoked"),
            (Action::Allow | Action::Skip, _) => Self::Open,
            (Action::Deny, _) => Self::LockedOut("denied by the rule"),
            (_, Condition::NotEnrolled) => Self::LockedOut("not enrolled"),
            (_, Condition::Stale) => Self::LockedOut("enrolled under another name or user id"),
            (_, Condition::Damaged) => Self::LockedOut("state is damaged"),
            (Action::RecoveryOnly, _) | (_, Condition::Disabled | Condition::Locked) => Self::RecoveryCode,
            (Action::Require, _) if decision.two_codes => Self::TwoCodes,
            (Action::Require, _) => Self::Code,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Open => "no code",
            Self::Code => "code",
            Self::TwoCodes => "two codes",
            Self::RecoveryCode => "recovery code",
            Self::LockedOut(_) => "locked out",
        }
    }

    fn why(self) -> Option<&'static str> {
        match self {
            Self::LockedOut(why) => Some(why),
            _ => None,
        }
    }
}

fn explain(desk: &Desk, user: &str, question: &Question) -> Result<(), Ending> {
    let account = desk.find(user)?;
    let explanation = question.put(desk, account.as_ref());
    let condition = match &account {
        Some(account) => status::condition_of(desk, &desk.vault()?, account)?,
        None => Condition::NotEnrolled,
    };
    let outlook = match (&account, explanation.decision.action) {
        (None, action) if action != Action::Skip => Outlook::LockedOut("there is no such user"),
        _ => Outlook::of(explanation.decision, condition),
    };
    let decided = explanation.decision;
    let mut lines = vec![format!("{} at {} from {}", quoted(user), question.service, question.source)];
    if account.is_none() {
        lines.push("  there is no such user".to_owned());
    }
    for (number, (rule, holds)) in desk.policy.rules.iter().zip(&explanation.rules).enumerate() {
        lines.push(format!("  {}", rule_line(number, rule, holds)));
    }
    if decided.rule.is_none() {
        lines.push("  no rule decides: a code is required".to_owned());
    }
    let why = outlook.why().map(|why| format!(" ({why})")).unwrap_or_default();
    lines.push(format!("-> {}{why}", outlook.word()));
    let value = json!({
        "user": user,
        "known": account.is_some(),
        "service": question.service,
        "source": question.source.to_string(),
        "action": decided.action.word(),
        "two_codes": decided.two_codes,
        "rule": decided.rule.map(|rule| rule.saturating_add(1)),
        "state": condition.word(),
        "login": outlook.word(),
        "why": outlook.why(),
        "rules": explanation.rules.iter().map(holds_json).collect::<Vec<_>>(),
    });
    desk.screen.answer(&value, &lines.join("\n"))
}

fn rule_line(number: usize, rule: &Rule, holds: &Holds) -> String {
    let head = format!("rule {} (line {}, {})", number.saturating_add(1), rule.line, rule.action.word());
    match holds {
        Holds::Yes => format!("{head}: holds"),
        Holds::No(why) => format!("{head}: does not hold: {why}"),
        Holds::Unknown(what) => format!("{head}: not known, so the stricter way counts: {what}"),
    }
}

fn holds_json(holds: &Holds) -> Value {
    match holds {
        Holds::Yes => json!({ "holds": true }),
        Holds::No(why) => json!({ "holds": false, "why": why }),
        Holds::Unknown(what) => json!({ "holds": null, "why": what }),
    }
}

/// Every account of this machine: what a login through the service would come to.
fn simulate(desk: &Desk, question: &Question) -> Result<(), Ending> {
    let vault = desk.vault()?;
    let mut rows = Vec::new();
    for (name, can_log_in) in accounts(&vault)? {
        let Some(account) = desk.find(&name)? else { continue };
        let decision = question.put(desk, Some(&account)).decision;
        let outlook = Outlook::of(decision, status::condition_of(desk, &vault, &account)?);
        rows.push(Row { account, can_log_in, decision, outlook });
    }
    let out = rows.iter().filter(|row| row.can_log_in && row.outlook.why().is_some()).count();
    let table = desk.screen.table(&["USER", "UID", "LOGIN", "RULE", ""], rows.iter().map(Row::cells).collect());
    let text = format!(
        "{table}\n{out} of {} who can log in would be locked out",
        rows.iter().filter(|row| row.can_log_in).count()
    );
    let users: Vec<_> = rows.iter().map(Row::to_json).collect();
    let value = json!({ "service": question.service, "source": question.source.to_string(), "users": users, "locked_out": out });
    desk.screen.answer(&value, &text)
}

struct Row {
    account: Account,
    can_log_in: bool,
    decision: Decision,
    outlook: Outlook,
}

impl Row {
    fn rule(&self) -> Option<usize> {
        self.decision.rule.map(|rule| rule.saturating_add(1))
    }

    fn cells(&self) -> Vec<String> {
        let rule = self.rule().map_or_else(|| "-".to_owned(), |rule| rule.to_string());
        let remark = match (self.can_log_in, self.outlook.why()) {
            (false, _) => "has no shell",
            (true, why) => why.unwrap_or(""),
        };
        let Account { name, uid } = &self.account;
        vec![name.to_string(), uid.0.to_string(), self.outlook.word().to_owned(), rule, remark.to_owned()]
    }

    fn to_json(&self) -> Value {
        json!({
            "user": self.account.name,
            "uid": self.account.uid,
            "login": self.outlook.word(),
            "rule": self.rule(),
            "why": self.outlook.why(),
            "shell": self.can_log_in,
        })
    }
}

/// The names in /etc/passwd, and those of everybody enrolled; whether they have a shell to log in to.
fn accounts(vault: &Vault) -> Result<Vec<(String, bool)>, Ending> {
    let passwd = std::fs::read_to_string("/etc/passwd")?;
    let entry = |line: &str| {
        let mut fields = line.split(':');
        let (name, shell) = (fields.next()?.to_owned(), fields.nth(5)?);
        let can_log_in = !["nologin", "false", "sync"].iter().any(|end| shell.ends_with(end));
        (!name.is_empty()).then_some((name, can_log_in))
    };
    let mut accounts: Vec<_> = passwd.lines().filter_map(entry).collect();
    for uid in vault.uids()? {
        let name = enrolled_name(vault, uid).filter(|name| accounts.iter().all(|(known, _)| known != name.as_str()));
        accounts.extend(name.map(|name| (name.to_string(), true)));
    }
    Ok(accounts)
}

fn enrolled_name(vault: &Vault, uid: Uid) -> Option<UserName> {
    let (credentials, _) = vault.room(uid).ok()??.credentials().ok()?;
    Some(credentials.user)
}
