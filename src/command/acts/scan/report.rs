//! What a scan answers: a table or JSON, and what to do.

use std::path::{Component, Path};

use qrtotp_core::events::Printable;
use qrtotp_core::words::{Uid, UserName};
use serde_json::{Value, json};

use super::Remarks;
use super::finding::{Finding, Gathered, OfFile};
use super::walk::printable;
use crate::acts::keys::{Keys, Owned};
use crate::desk::Desk;
use crate::ending::Ending;
use crate::screen::counted;

/// Remarks that a person reads; JSON has all.
const SHOWN: usize = 20;

/// Answers, and says what to do.
pub fn report(desk: &Desk, keys: &Keys, gathered: &Gathered<'_>) -> Result<(), Ending> {
    let (mut rows, mut values) = (Vec::new(), Vec::new());
    for (file, finding) in in_order(gathered) {
        let owner = name_of(desk, file.uid);
        let user = user_of(desk, file, finding);
        rows.push(row(file, finding, owner.as_ref(), user.as_ref()));
        values.push(value(file, finding, owner.as_ref(), user.as_ref()));
    }
    let text = desk.screen.table(&["KEY", "USER", "WHAT", "OWNER", "MODE", "WHERE"], rows);
    desk.screen.answer(&whole(keys, gathered, values), &text)?;
    advise(desk, keys, gathered);
    Ok(())
}

/// What is alive first, and then by path and line.
fn in_order<'g, 'a>(gathered: &'g Gathered<'a>) -> Vec<(&'g OfFile<'a>, &'g Finding<'a>)> {
    let all = gathered.files().iter().flat_map(|file| file.findings.iter().map(move |finding| (file, finding)));
    let mut all: Vec<_> = all.collect();
    let rank = |finding: &Finding<'_>| (!finding.is_alive(), finding.owned.is_none());
    all.sort_by(|(file, one), (other_file, other)| {
        (rank(one), &file.path, one.line).cmp(&(rank(other), &other_file.path, other.line))
    });
    all
}

/// The user that something belongs to, and by what that is known.
type Belongs = (UserName, &'static str);

fn user_of(desk: &Desk, file: &OfFile<'_>, finding: &Finding<'_>) -> Option<Belongs> {
    let named = |name: &str| desk.find(name).ok().flatten().map(|account| account.name);
    let by_key = finding.owned.map(|owned| (owned.user.clone(), "key"));
    let by_account = || {
        let account = finding.account.as_deref()?;
        let short = account.split('@').next().unwrap_or(account);
        named(account).or_else(|| named(short)).map(|user| (user, "account"))
    };
    let by_home = || home(&file.path).and_then(named).map(|user| (user, "home"));
    let by_owner = || name_of(desk, file.uid).map(|user| (user, "owner"));
    by_key.or_else(by_account).or_else(by_home).or_else(by_owner)
}

/// `alice` of `/home/alice/...`
fn home(path: &Path) -> Option<&str> {
    let mut parts = path.components().skip_while(|part| *part != Component::Normal("home".as_ref())).skip(1);
    // The last one is the file.
    let Some(Component::Normal(name)) = parts.next() else { return None };
    parts.next().and_then(|_| name.to_str())
}

fn name_of(desk: &Desk, uid: u32) -> Option<UserName> {
    desk.find_uid(Uid(uid)).ok().flatten().map(|account| account.name)
}

fn life(finding: &Finding<'_>) -> &'static str {
    match finding.owned {
        Some(owned) if owned.is_alive => "alive",
        Some(_) => "disabled",
        None if finding.bits == 0 => "not_known",
        None => "not_in_use_here",
    }
}

fn place(file: &OfFile<'_>, finding: &Finding<'_>) -> String {
    let line = finding.line.map(|line| format!(":{line}")).unwrap_or_default();
    let times = if finding.times > 1 { format!(" ({} times)", finding.times) } else { String::new() };
    let more = if file.has_more { " (and more keys)" } else { "" };
    format!("{}{line}{times}{more}", printable(&file.path))
}

fn row(file: &OfFile<'_>, finding: &Finding<'_>, owner: Option<&UserName>, user: Option<&Belongs>) -> Vec<String> {
    let key = match finding.owned {
        Some(owned) => owned.in_words(),
        None => life(finding).replace('_', " "),
    };
    let names = [&finding.issuer, &finding.account]
        .into_iter()
        .flatten()
        .map(|name| Printable::new(name.as_bytes()).as_str().to_owned());
    let names: Vec<_> = names.collect();
    let picture = if finding.line.is_none() { ", picture" } else { "" };
    let names = if names.is_empty() { String::new() } else { format!(" ({})", names.join(": ")) };
    vec![
        key,
        user.map_or_else(|| "?".to_owned(), |(user, _)| user.to_string()),
        format!("{}{picture}{names}", finding.kind),
        owner.map_or_else(|| file.uid.to_string(), ToString::to_string),
        format!("{:04o}{}", file.mode, if is_open(file) { " others can read" } else { "" }),
        place(file, finding),
    ]
}

fn is_open(file: &OfFile<'_>) -> bool {
    file.mode & 0o044 != 0
}

fn value(file: &OfFile<'_>, finding: &Finding<'_>, owner: Option<&UserName>, user: Option<&Belongs>) -> Value {
    json!({
        "path": printable(&file.path),
        "line": finding.line,
        "kind": finding.kind,
        "picture": finding.line.is_none(),
        "times": finding.times,
        "issuer": finding.issuer,
        "account": finding.account,
        "secret_bits": finding.bits,
        "key": life(finding),
        "device": finding.owned.map(Owned::as_json),
        "user": user.map(|(user, _)| user),
        "user_by": user.map(|(_, by)| by),
        "owner": owner,
        "owner_uid": file.uid,
        "mode": format!("{:04o}", file.mode),
        "others_can_read": is_open(file),
        "more_in_file": file.has_more,
    })
}

fn whole(keys: &Keys, gathered: &Gathered<'_>, findings: Vec<Value>) -> Value {
    let remarks = |remarks: &Remarks| -> Vec<Value> {
        remarks.iter().map(|(path, why)| json!({ "path": printable(path), "why": why })).collect()
    };
    json!({
        "findings": findings,
        "alive": gathered.alive(),
        "files": gathered.looked_at,
        "bytes": gathered.bytes,
        "not_listed": gathered.not_listed,
        "not_looked_at": remarks(&gathered.not_looked_at),
        "more_not_looked_at": gathered.more_not_looked_at,
        "passed_over": remarks(&gathered.passed_over),
        "unreadable_state": keys.troubles,
    })
}

fn advise(desk: &Desk, keys: &Keys, gathered: &Gathered<'_>) {
    let say = |text: String| desk.screen.remark(&text);
    let (files, findings) = (usize::try_from(gathered.looked_at).unwrap_or(usize::MAX), gathered.findings());
    say(format!(
        "{} looked at, {} found, {} alive",
        counted(files, "file"),
        counted(findings.len(), "key"),
        gathered.alive()
    ));
    show("not looked at", &gathered.not_looked_at, gathered.more_not_looked_at, &say);
    show("passed over", &gathered.passed_over, 0, &say);
    if gathered.not_listed > 0 {
        say(format!(
            "{} with keys that are not enrolled here are not listed",
            counted(gathered.not_listed, "more file")
        ));
    }
    keys.troubles.iter().for_each(|trouble| say(format!("whose keys these are is not known: {trouble}")));
    let mut advice: Vec<_> = findings.iter().filter(|f| f.is_alive()).filter_map(|f| f.owned).map(rotate).collect();
    advice.sort();
    advice.dedup();
    if !advice.is_empty() {
        say("Whoever read these files can log in with what is alive. Give its owners other keys:".to_owned());
        advice.into_iter().for_each(|line| say(format!("  {line}")));
    }
    if !findings.is_empty() {
        say("Then remove the files, or take the keys out of them. Nothing was changed.".to_owned());
    }
}

fn show(what: &str, remarks: &Remarks, more: usize, say: &dyn Fn(String)) {
    for (path, why) in remarks.iter().take(SHOWN) {
        say(format!("{what}: {}: {why}", printable(path)));
    }
    let more = more.saturating_add(remarks.len().saturating_sub(SHOWN));
    if more > 0 {
        say(format!("{what}: {more} more; --json names them"));
    }
}

/// The command that gives somebody another key. A label that a shell would read otherwise is named by its id.
fn rotate(owned: &Owned) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | '+');
    let label = owned.label.as_str();
    let device = if label.chars().all(is_word) { label.to_owned() } else { owned.device.to_string() };
    format!("qrtotp rotate {} {device}", owned.user)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_is_told_by_its_path() {
        for (path, expected) in [
            ("/home/alice/x", Some("alice")),
            ("/mnt/backup/home/bob/a/b", Some("bob")),
            ("/home/file", None),
            ("/srv/x", None),
        ] {
            assert_eq!(home(Path::new(path)), expected, "{path}");
        }
    }
}
