//! A service's file with the line of the module in it, and without.
//!
//! What is put in stands between two marks, so that it can be taken out again, whatever was changed around it. What it
//! takes the place of stays between them, as comments.

use super::walk::Sort;
use super::{Files, MODULE, Stack};

const BEGIN: &str = "# qrtotp begin";
const END: &str = "# qrtotp end";
/// Before a line that is kept.
const KEPT: &str = "#qrtotp# ";

/// What comes before the code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Factor {
    /// The password, which the stack asks: the line stands after it.
    Password,
    /// A key, which sshd looks at: the line stands in the place of the password.
    Key,
}

/// Puts the line into the text of a service's file. `line` is what stands in the shipped example.
///
/// # Errors
/// A sentence, where there is no good place.
pub fn with_module(service: &str, files: &dyn Files, factor: Factor, line: &str) -> Result<String, String> {
    let text = files.read(service).ok_or_else(|| format!("there is no file /etc/pam.d/{service}"))?;
    let stack = Stack::read(service, files).map_err(|refused| format!("{}: {}", refused.place, refused.what))?;
    if let Some(step) = stack.ours().next() {
        return Err(format!("{} asks for a code already", step.place));
    }
    if stack.is_other {
        return Err(format!("/etc/pam.d/{service} has no lines of type auth"));
    }
    let is_password = |step: &&super::Step| Sort::of(step) == Sort::Password;
    let tops: Vec<usize> = stack.steps.iter().filter(is_password).map(|step| step.top).collect();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    match factor {
        Factor::Password => {
            let last = *tops.iter().max().ok_or_else(|| {
                format!("no line of /etc/pam.d/{service} asks for a password, so there is no first factor to follow")
            })?;
            Ok(put(service, &lines, &[], end_of(&lines, last), line))
        }
        Factor::Key => {
            let mut taken = tops.clone();
            taken.sort_unstable();
            taken.dedup();
            if let Some(other) = taken.iter().find(|top| brings_more(&lines, **top, files)) {
                return Err(format!(
                    "/etc/pam.d/{service}:{other} brings lines of other types than auth too; have those included apart first"
                ));
            }
            let at = taken.first().copied().unwrap_or_else(|| first_auth(&stack));
            Ok(put(service, &lines, &taken, at.saturating_sub(1), line))
        }
    }
}

/// Takes out what [`with_module`] has put in. `None` where there are no marks.
///
/// # Errors
/// A sentence, where a mark has lost its other one.
pub fn without_module(text: &str) -> Result<Option<String>, String> {
    let mut kept = String::new();
    let mut begun = None;
    let mut is_found = false;
    for (number, line) in (1_usize..).zip(text.split_inclusive('\n')) {
        let bare = line.trim_end();
        match begun {
            None if bare.starts_with(BEGIN) => (begun, is_found) = (Some(number), true),
            None => kept.push_str(line),
            Some(_) if bare == END => begun = None,
            Some(_) => kept.push_str(line.strip_prefix(KEPT).unwrap_or_default()),
        }
    }
    match begun {
        Some(number) => Err(format!("line {number} begins what qrtotp has put in, and \"{END}\" is missing after it")),
        None => Ok(is_found.then_some(kept)),
    }
}

/// Takes out the marks and the lines of the module, and has the kept ones back, wherever they stand: for a file whose marks
/// somebody has torn apart. `None` where there are none.
pub fn without_lines(text: &str) -> Option<String> {
    let mut kept = String::new();
    for line in text.split_inclusive('\n') {
        let bare = line.trim();
        let is_ours = !bare.starts_with('#') && bare.contains(MODULE);
        if let Some(old) = line.strip_prefix(KEPT) {
            kept.push_str(old);
        } else if !is_ours && !bare.starts_with(BEGIN) && bare != END {
            kept.push_str(line);
        }
    }
    (kept != text).then_some(kept)
}

/// Whether the file has lines that ask for the code outside the marks; the first one's number.
pub fn by_hand(service: &str, files: &dyn Files) -> Option<String> {
    let stack = Stack::read(service, files).ok()?;
    stack.ours().next().map(|step| step.place.to_string())
}

/// The text with the block before line `at` (from 0), and those lines (from 1) kept in it as comments.
fn put(service: &str, lines: &[&str], taken: &[usize], at: usize, line: &str) -> String {
    let mut text = String::new();
    let mut push = |line: &str| {
        text.push_str(line);
        if !line.ends_with('\n') {
            text.push('\n');
        }
    };
    let numbered = || (1_usize..).zip(lines.iter());
    numbered().take(at).filter(|(number, _)| !taken.contains(number)).for_each(|(_, line)| push(line));
    push(&format!("{BEGIN}: `qrtotp disable {service}` takes this out again"));
    numbered().filter(|(number, _)| taken.contains(number)).for_each(|(_, old)| push(&format!("{KEPT}{old}")));
    push(line);
    push(END);
    numbered().skip(at).filter(|(number, _)| !taken.contains(number)).for_each(|(_, line)| push(line));
    text
}

/// How many lines there are up to the end of an entry, which may be continued.
fn end_of(lines: &[&str], first: usize) -> usize {
    let mut end = first;
    while end > 0 && lines.get(end.saturating_sub(1)).is_some_and(|line| line.trim_end().ends_with('\\')) {
        end = end.saturating_add(1);
    }
    end.min(lines.len())
}

fn first_auth(stack: &Stack) -> usize {
    stack.steps.iter().map(|step| step.top).min().unwrap_or(1)
}

/// Whether a line brings in more than lines of type auth: an `@include` of a file with others.
fn brings_more(lines: &[&str], number: usize, files: &dyn Files) -> bool {
    let line = lines.get(number.saturating_sub(1)).copied().unwrap_or_default();
    if line.trim_end().ends_with('\\') {
        return true;
    }
    let mut words = line.split_whitespace();
    if words.next() != Some("@include") {
        return false;
    }
    let text = words.next().and_then(|name| files.read(name)).unwrap_or_default();
    let kinds = text.lines().filter_map(|line| line.split_whitespace().next());
    kinds
        .map(|kind| kind.trim_start_matches('-'))
        .any(|kind| matches!(kind, "account" | "password" | "session" | "@include"))
}

/// The line of the module in the text of a shipped example.
pub fn line_of(example: &str) -> Option<&str> {
    example.lines().find(|line| !line.starts_with('#') && line.contains(MODULE))
}
