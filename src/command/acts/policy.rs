//! `qrtotp policy`

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::str::FromStr;

use qrtotp_core::files::{self, Privacy};
use qrtotp_core::policy::alerts::Alert;
use qrtotp_core::policy::keys;
use qrtotp_core::policy::rules::Until;
use qrtotp_core::policy::{Action, Decision, FirstLogin, Holds, Mistake, Policy, Rule, Settings, Zone, warnings};
use qrtotp_core::ports::{Clock, Directory};
use qrtotp_core::vault::Vault;
use qrtotp_core::words::{Account, Source, Uid, UserName, WallTime};
use qrtotp_system::{SystemClock, Users, caller};
use serde_json::{Value, json};

use super::outlook::{Outlook, Question, span_text};
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
        PolicyAct::Check { file } => {
            let file = file.as_deref().unwrap_or(&desk.config);
            check(file, file == desk.config, &desk.screen)
        }
        PolicyAct::Default => print_default(&desk.screen),
        PolicyAct::Explain { user, service, from, at } => {
            explain(desk, user, &question(desk, service, from.as_deref(), at.as_deref())?)
        }
        PolicyAct::Simulate { service, from, at } => {
            simulate(desk, &question(desk, service, from.as_deref(), at.as_deref())?)
        }
    }
}

/// Prints the policy that `qrtotp init` writes.
pub fn print_default(screen: &Screen) -> Result<(), Ending> {
    let text = keys::default_file();
    screen.answer(&json!({ "policy": text }), text.trim_end())
}

/// Users that this machine does not know.
fn missing_users(policy: &Policy) -> Vec<Mistake> {
    let is_missing = |name: &&String| {
        let name = UserName::parse(name.as_bytes());
        name.is_none_or(|name| matches!(Users.find(&name), Ok(None)))
    };
    named(policy, |rule| rule.users.as_ref(), is_missing, |name| format!("there is no user {name} here"))
}

/// Services that PAM has no file for.
fn missing_services(policy: &Policy) -> Vec<Mistake> {
    let is_missing = |name: &&String| !Path::new("/etc/pam.d").join(name).exists();
    named(policy, |rule| rule.services.as_ref(), is_missing, |name| format!("there is no service {name} in /etc/pam.d"))
}

/// A warning for each name in a list of a rule of which something is true.
fn named(
    policy: &Policy,
    list: impl Fn(&Rule) -> Option<&Vec<String>>,
    is_it: impl Fn(&&String) -> bool,
    what: impl Fn(&String) -> String,
) -> Vec<Mistake> {
    let of_rule = |rule: &Rule| {
        let names = list(rule).into_iter().flatten().filter(&is_it);
        names.map(|name| Mistake { line: rule.line, column: 1, what: what(name) }).collect::<Vec<_>>()
    };
    policy.rules.iter().flat_map(of_rule).collect()
}

/// Zones that this machine does not know, of rules that need one.
fn missing_zones(policy: &Policy, now: WallTime) -> Vec<Mistake> {
    let is_local = |end: Option<Until>| matches!(end, Some(Until::Local(_)));
    let needs_one = |rule: &Rule| {
        let times = &rule.times;
        let has_local_end = is_local(times.until) || is_local(rule.grace.and_then(|grace| grace.until));
        times.hours.is_some() || times.days.is_some() || has_local_end
    };
    let is_missing = |rule: &&Rule| needs_one(rule) && Zone::offset_at(&rule.times.zone, now).is_none();
    let what =
        "the zone of this rule is not known here: it is not known when the rule holds, so the stricter way counts";
    let note = |rule: &Rule| Mistake { line: rule.line, column: 1, what: what.to_owned() };
    policy.rules.iter().filter(is_missing).map(note).collect()
}

/// Groups that this machine does not know. A rule that names one is decided both ways for whoever is in none of its groups.
fn missing_groups(policy: &Policy) -> Vec<Mistake> {
    let is_missing = |name: &&String| Users.has_group(name) != Ok(true);
    named(
        policy,
        |rule| rule.groups.as_ref(),
        is_missing,
        |name| {
            format!(
                "there is no group {name} here: it is not known who is in it, so the stricter way counts for everybody"
            )
        },
    )
}

/// What alerts name that this machine does not have: they would never be raised, or do nothing.
fn missing_for_alerts(alerts: &[Alert]) -> Vec<Mistake> {
    let mut found = Vec::new();
    for alert in alerts {
        let groups = alert.groups.iter().flatten().filter(|name| Users.has_group(name) != Ok(true));
        let groups = groups.map(|name| format!("alert \"{}\": there is no group {name} here", alert.name));
        let program = alert.exec.first().filter(|program| !Path::new(program).is_file());
        let program = program.map(|program| format!("alert \"{}\": there is no program {program} here", alert.name));
        found.extend(groups.chain(program).map(|what| Mistake { line: alert.line, column: 1, what }));
    }
    found
}

/// What is wrong with a policy file.
pub struct Checked {
    /// What keeps it from being used.
    pub mistakes: Vec<Mistake>,
    /// What is probably not meant.
    pub warned: Vec<Mistake>,
    /// How many rules it has.
    rules: usize,
}

/// Looks a policy file over.
///
/// The file that logins read must be as they want it, too: root's, and written by nobody else.
pub fn examine(file: &Path, is_live: bool) -> Result<Checked, Ending> {
    if is_live {
        files::open_path(file, Privacy::ReadableByAll)?;
    }
    let fail = |error: std::io::Error| Ending::new(Code::Untrusted, format!("{}: {error}", file.display()));
    if std::fs::metadata(file).map_err(fail)?.len() > MOST {
        return Err(Ending::new(Code::Untrusted, format!("{}: is larger than {MOST} bytes", file.display())));
    }
    let text = std::fs::read_to_string(file).map_err(fail)?;
    let now = SystemClock.now().map(|now| now.wall).unwrap_or_default();
    let (alerts, beside) = match Settings::parse(&text) {
        Ok(settings) => (settings.alerts, Vec::new()),
        Err(mistakes) => (Vec::new(), mistakes),
    };
    Ok(match Policy::parse(&text) {
        Ok(policy) if beside.is_empty() => {
            let here = [missing_groups(&policy), missing_users(&policy), missing_services(&policy)].concat();
            let found =
                [warnings(&policy, now), here, missing_zones(&policy, now), missing_for_alerts(&alerts)].concat();
            Checked { mistakes: Vec::new(), warned: in_order(found), rules: policy.rules.len() }
        }
        Ok(_) => Checked { mistakes: beside, warned: Vec::new(), rules: 0 },
        // What is wrong with the file as a whole stands in both.
        Err(mistakes) => {
            let more = beside.into_iter().filter(|mistake| !mistakes.contains(mistake)).collect();
            Checked { mistakes: in_order([mistakes, more].concat()), warned: Vec::new(), rules: 0 }
        }
    })
}

/// Names every mistake of a file, with its place, and what is probably not meant.
pub fn check(file: &Path, is_live: bool, screen: &Screen) -> Result<(), Ending> {
    let Checked { mistakes, warned, rules } = examine(file, is_live)?;
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

fn in_order(mut mistakes: Vec<Mistake>) -> Vec<Mistake> {
    mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
    mistakes
}

fn question(desk: &Desk, service: &str, from: Option<&str>, at: Option<&str>) -> Result<Question, Ending> {
    let time = match at {
        Some(text) => Some(moment(text)?),
        None => desk.policy.trusted(desk.now()?.wall),
    };
    let source = Source::parse(from.map(str::as_bytes), caller().real);
    Ok(Question { service: service.to_owned(), source, time })
}

fn moment(text: &str) -> Result<WallTime, Ending> {
    let wrong = || Ending::new(Code::Usage, "--at must be a time like 2027-03-31T18:00:00Z");
    WallTime::from_str(text).map_err(|()| wrong())
}

fn explain(desk: &Desk, user: &str, question: &Question) -> Result<(), Ending> {
    let account = desk.find(user)?;
    let explanation = question.put(desk, account.as_ref());
    let decided = explanation.decision;
    let (condition, outlook) = match &account {
        Some(account) => foresee(desk, &desk.vault()?, account, decided, question)?,
        None if decided.action == Action::Skip => (Condition::NotEnrolled, Outlook::Open),
        None => (Condition::NotEnrolled, Outlook::LockedOut("there is no such user")),
    };
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
    lines.push(format!("-> {}", sentence(outlook, decided)));
    let mut value = json!({
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
        "remember": decided.remember.map(span_text),
        "input": if decided.with_password { "password+code" } else { "code" },
    });
    add_newcomer(&mut value, outlook);
    desk.screen.answer(&value, &lines.join("\n"))
}

/// In what condition the enrollment is, and what a login comes to by that.
fn foresee(
    desk: &Desk,
    vault: &Vault,
    account: &Account,
    decision: Decision,
    question: &Question,
) -> Result<(Condition, Outlook), Ending> {
    let condition = status::condition_of(desk, vault, account)?;
    Ok((condition, Outlook::of(desk, vault, account, decision, condition, &question.service)?))
}

/// `locked out (denied by the rule)`, `enroll (by ticket)`, `code, or remembered for 8h`
fn sentence(outlook: Outlook, decision: Decision) -> String {
    let (word, remark) = (outlook.word(), outlook.remark(decision));
    match outlook {
        _ if remark.is_empty() => word.to_owned(),
        Outlook::Code | Outlook::TwoCodes => format!("{word}, {remark}"),
        _ => format!("{word} ({remark})"),
    }
}

/// What is special where somebody has no enrollment and is let in all the same.
fn add_newcomer(value: &mut Value, outlook: Outlook) {
    let Some(fields) = value.as_object_mut() else { return };
    match outlook {
        Outlook::Enroll(by) => {
            let word = if by == FirstLogin::FirstFactor { "first-factor" } else { "ticket" };
            fields.insert("enrolls_by".to_owned(), json!(word));
        }
        Outlook::Grace { left, until } => {
            let until = until.map(|until| until.to_string());
            fields.insert("grace".to_owned(), json!({ "logins_left": left, "until": until }));
        }
        _ => {}
    }
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
    let rows = rows(desk, &desk.vault()?, question)?;
    let out = rows.iter().filter(|row| row.can_log_in && row.outlook.why().is_some()).count();
    let table = desk.screen.table(&["USER", "UID", "LOGIN", "RULE", ""], rows.iter().map(Row::cells).collect());
    let counts: Vec<_> = counts(&rows).collect();
    let summary = counts.iter().map(|(word, count)| format!("{count} {word}")).collect::<Vec<_>>().join(", ");
    let text = format!(
        "{table}\n{summary}\n{out} of {} who can log in would be locked out",
        rows.iter().filter(|row| row.can_log_in).count()
    );
    let users: Vec<_> = rows.iter().map(Row::to_json).collect();
    let value = json!({ "service": question.service, "source": question.source.to_string(), "users": users, "locked_out": out,
        "counts": counts.into_iter().map(|(word, count)| (word.to_owned(), json!(count))).collect::<serde_json::Map<_, _>>() });
    desk.screen.answer(&value, &text)
}

fn rows(desk: &Desk, vault: &Vault, question: &Question) -> Result<Vec<Row>, Ending> {
    let mut rows = Vec::new();
    let known = local_accounts();
    for (name, can_log_in) in accounts(vault)? {
        let account = match known.get(&name) {
            Some(account) => Some(account.clone()),
            None => desk.find(&name)?,
        };
        let Some(account) = account else { continue };
        let decision = question.put(desk, Some(&account)).decision;
        let (_, outlook) = foresee(desk, vault, &account, decision, question)?;
        rows.push(Row { account, can_log_in, decision, outlook });
    }
    Ok(rows)
}

/// Who can log in, and whom of them the module would keep out of a service, each with the reason.
pub struct Outsiders {
    /// How many can log in.
    pub people: usize,
    /// Who would be kept out, and why.
    pub out: Vec<(String, &'static str)>,
}

/// Whom the module keeps out of a service now, from an address that no rule names.
pub fn outsiders(desk: &Desk, vault: &Vault, service: &str) -> Result<Outsiders, Ending> {
    let time = desk.policy.trusted(desk.now()?.wall);
    let question = Question { service: service.to_owned(), source: Question::elsewhere(service), time };
    let rows: Vec<_> = rows(desk, vault, &question)?.into_iter().filter(|row| row.can_log_in).collect();
    let out = rows.iter().filter_map(|row| Some((row.account.name.to_string(), row.outlook.why()?))).collect();
    Ok(Outsiders { people: rows.len(), out })
}

/// Whether a rule lets a user by in a service without a code.
pub fn is_let_by(desk: &Desk, vault: &Vault, user: &str, service: &str) -> Result<bool, Ending> {
    let Some(account) = desk.find(user)? else { return Ok(false) };
    let time = desk.policy.trusted(desk.now()?.wall);
    let question = Question { service: service.to_owned(), source: Question::elsewhere(service), time };
    let decision = question.put(desk, Some(&account)).decision;
    Ok(foresee(desk, vault, &account, decision, &question)?.1 == Outlook::Open)
}

/// How many of those who can log in come to what; what nobody comes to is left out.
fn counts(rows: &[Row]) -> impl Iterator<Item = (&'static str, usize)> {
    let people: Vec<_> = rows.iter().filter(|row| row.can_log_in).map(|row| row.outlook.word()).collect();
    let count = move |word: &'static str| (word, people.iter().filter(|own| **own == word).count());
    Outlook::WORDS.into_iter().map(count).filter(|(_, count)| *count > 0)
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
        let remark = match self.can_log_in {
            false => "has no shell".to_owned(),
            true => self.outlook.remark(self.decision),
        };
        let Account { name, uid } = &self.account;
        vec![name.to_string(), uid.0.to_string(), self.outlook.word().to_owned(), rule, remark]
    }

    fn to_json(&self) -> Value {
        let mut value = json!({
            "user": self.account.name,
            "uid": self.account.uid,
            "login": self.outlook.word(),
            "rule": self.rule(),
            "why": self.outlook.why(),
            "shell": self.can_log_in,
            "remember": self.decision.remember.map(span_text),
        });
        add_newcomer(&mut value, self.outlook);
        value
    }
}

/// The accounts of /etc/passwd, where the name service looks there first: asking it for each would read the file as often as
/// there are lines in it.
fn local_accounts() -> BTreeMap<String, Account> {
    let sources = std::fs::read_to_string("/etc/nsswitch.conf").unwrap_or_default();
    let first = sources.lines().find_map(|line| line.trim().strip_prefix("passwd:")?.split_whitespace().next());
    if first != Some("files") {
        return BTreeMap::new();
    }
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let account = |line: &str| {
        let mut fields = line.split(':');
        let name = UserName::parse(fields.next()?.as_bytes())?;
        let uid = fields.nth(1)?.parse().ok()?;
        Some((name.as_str().to_owned(), Account { name, uid: Uid(uid) }))
    };
    let mut all = BTreeMap::new();
    for (name, account) in passwd.lines().filter_map(account) {
        // The first line of a name counts.
        all.entry(name).or_insert(account);
    }
    all
}

/// Whether the last field of a line of /etc/passwd is a program to log in to.
pub fn is_shell(program: &str) -> bool {
    !["nologin", "false", "sync"].iter().any(|end| program.ends_with(end))
}

/// The names in /etc/passwd, and those of everybody enrolled; whether they have a shell to log in to.
pub fn accounts(vault: &Vault) -> Result<Vec<(String, bool)>, Ending> {
    let passwd = std::fs::read_to_string("/etc/passwd")?;
    let entry = |line: &str| {
        let mut fields = line.split(':');
        let (name, shell) = (fields.next()?.to_owned(), fields.nth(5)?);
        let can_log_in = is_shell(shell);
        (!name.is_empty()).then_some((name, can_log_in))
    };
    let mut accounts: Vec<_> = passwd.lines().filter_map(entry).collect();
    let known: BTreeSet<String> = accounts.iter().map(|(name, _)| name.clone()).collect();
    for uid in vault.uids()? {
        let name = enrolled_name(vault, uid).filter(|name| !known.contains(name.as_str()));
        accounts.extend(name.map(|name| (name.to_string(), true)));
    }
    Ok(accounts)
}

fn enrolled_name(vault: &Vault, uid: Uid) -> Option<UserName> {
    let (credentials, _) = vault.room(uid).ok()??.credentials().ok()?;
    Some(credentials.user)
}
