//! `qrtotp log`

use std::collections::VecDeque;
use std::io::{self, BufReader, ErrorKind, IsTerminal, Write, stdout};
use std::time::Duration;

use qrtotp_core::chain::Link;
use qrtotp_core::words::WallTime;
use qrtotp_trail::chain::{self, Finding, Report, What};
use qrtotp_trail::{Bell, Filter, Follower, Line, Position, Trail, filter};
use serde_json::{Value, json};

use crate::arguments::questions::{FilterOptions, LogOptions};
use crate::desk::{Desk, quoted};
use crate::ending::{Code, Ending};
use crate::reading::{self, Damages};
use crate::screen::{clean, counted, is_colour_wanted};

/// Events that --follow shows of what was before.
const LAST: usize = 10;
/// How long --follow waits for the bell before it looks by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// Shows events, or checks their chain.
pub fn run(desk: &Desk, options: &LogOptions) -> Result<(), Ending> {
    if options.verify {
        return verify(desk, options.head.as_deref());
    }
    let filter = read_filter(&options.filter, desk.now()?.wall)?;
    let mut page = Page::new(desk);
    if options.follow {
        return follow(desk, &filter, &mut page);
    }
    reading::each_shown(desk, &filter, |line| page.show(&line))?;
    page.flush()
}

/// Reads the conditions.
pub fn read_filter(options: &FilterOptions, now: WallTime) -> Result<Filter, Ending> {
    let each = |name: &str, texts: &[String], read: fn(&str) -> Result<String, String>| {
        texts.iter().map(|text| read(text).map_err(|what| wrong(name, text, &what))).collect::<Result<Vec<_>, _>>()
    };
    let time = |name: &str, text: &Option<String>| {
        text.as_ref().map(|text| filter::time(text, now).map_err(|what| wrong(name, text, &what))).transpose()
    };
    let origins = options.from.iter().map(|text| filter::origin(text).map_err(|what| wrong("from", text, &what)));
    Ok(Filter {
        since: time("since", &options.since)?,
        until: time("until", &options.until)?,
        users: options.user.clone(),
        services: options.service.clone(),
        origins: origins.collect::<Result<_, _>>()?,
        events: each("event", &options.event, filter::event)?,
        results: each("result", &options.result, filter::result)?,
    })
}

fn wrong(name: &str, text: &str, what: &str) -> Ending {
    Ending::new(Code::Usage, format!("--{name} {}: {what}", quoted(text)))
}

fn follow(desk: &Desk, filter: &Filter, page: &mut Page<'_>) -> Result<(), Ending> {
    let file = &desk.policy.events_file;
    let bell = Bell::new(file);
    let bell =
        bell.map_err(|error| Ending::new(Code::No, format!("{}: cannot be followed: {error}", file.display())))?;
    let mut follower = Follower::new(file, Position::default());
    let mut last = VecDeque::new();
    // Those since a time are shown as they are read; else the last few of those that were there.
    let keeps = filter.since.is_none();
    show_news(desk, filter, page, &mut follower, &mut |line| {
        if !keeps {
            return Some(line);
        }
        if last.len() >= LAST {
            last.pop_front();
        }
        last.push_back(line);
        None
    })?;
    last.iter().try_for_each(|line| page.show(line))?;
    loop {
        page.flush()?;
        bell.wait(PATIENCE)?;
        show_news(desk, filter, page, &mut follower, &mut Some)?;
    }
}

/// Shows what is new and asked for, as far as `choose` gives it back.
fn show_news(
    desk: &Desk,
    filter: &Filter,
    page: &mut Page<'_>,
    follower: &mut Follower,
    choose: &mut dyn FnMut(Line) -> Option<Line>,
) -> Result<(), Ending> {
    let (mut damages, mut shown) = (Damages::default(), Ok(()));
    follower.catch_up(&mut |line| match line {
        Ok(line) if filter.holds(&line) && shown.is_ok() => {
            if let Some(line) = choose(line) {
                shown = page.show(&line);
            }
        }
        Ok(_) => {}
        Err(damage) => damages.add(damage),
    })?;
    damages.tell(desk);
    shown
}

/// Events on standard output, a line each.
struct Page<'a> {
    desk: &'a Desk,
    out: io::BufWriter<io::StdoutLock<'static>>,
    is_terminal: bool,
    is_coloured: bool,
}

impl<'a> Page<'a> {
    fn new(desk: &'a Desk) -> Self {
        let is_terminal = stdout().is_terminal();
        let is_coloured = is_terminal && is_colour_wanted();
        Self { desk, out: io::BufWriter::new(stdout().lock()), is_terminal, is_coloured }
    }

    fn show(&mut self, line: &Line) -> Result<(), Ending> {
        if self.desk.screen.is_json() {
            return Ok(writeln!(self.out, "{}", serde_json::to_string(line).unwrap_or_default())?);
        }
        let [time, result, service, user, source, what] = columns(line);
        let written = if self.is_terminal {
            let (on, off) = if self.is_coloured { (colour(&line.result), "\x1b[0m") } else { ("", "") };
            writeln!(self.out, "{time}  {on}{result:<7}{off}  {service:<6}  {user:<8}  {source:<12}  {what}")
        } else {
            writeln!(self.out, "{time}\t{result}\t{service}\t{user}\t{source}\t{what}")
        };
        Ok(written?)
    }

    fn flush(&mut self) -> Result<(), Ending> {
        match self.out.flush() {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Ending::silent(Code::No)),
            other => Ok(other?),
        }
    }
}

fn colour(result: &str) -> &'static str {
    match result {
        "success" => "\x1b[32m",
        "failure" => "\x1b[31m",
        "error" => "\x1b[1;31m",
        _ => "\x1b[33m",
    }
}

/// Time, result, service, user, source, and what happened.
fn columns(line: &Line) -> [String; 6] {
    let time = line.time.get(..19).map_or(line.time.clone(), |time| format!("{}Z", time.replace('T', " ")));
    let user = match (&line.user, &line.target) {
        (Some(user), Some(target)) => format!("{user} as {target}"),
        (Some(user), None) => user.clone(),
        (None, _) => "-".to_owned(),
    };
    let texts = [time, line.result.clone(), line.service.clone(), user, line.origin(), what(line)];
    texts.map(|text| clean(&text))
}

/// The reason, and what is known beside it.
fn what(line: &Line) -> String {
    let mut text = if line.is_login() { line.reason.clone() } else { format!("{} ({})", line.event, line.reason) };
    let device = line.label.as_ref().map(|label| format!("device {label}"));
    let offset = line.offset.filter(|offset| *offset != 0).map(|offset| format!("{offset:+} steps"));
    let ticket = line.ticket.as_ref().map(|ticket| format!("ticket {ticket}"));
    let budget =
        line.budget_left.filter(|_| line.result != "success").map(|left| format!("{} left", counted_tries(left)));
    let rule = line.rule.map(|rule| format!("rule {rule}"));
    let by = line.ruser.as_ref().filter(|_| line.service == "qrtotp").map(|by| format!("by {by}"));
    let facts = [device, offset, ticket, budget, rule, by, line.detail.clone()];
    for fact in facts.into_iter().flatten() {
        text.push_str(", ");
        text.push_str(&fact);
    }
    text
}

fn counted_tries(left: u32) -> String {
    if left == 1 { "1 try".to_owned() } else { format!("{left} tries") }
}

fn verify(desk: &Desk, head: Option<&str>) -> Result<(), Ending> {
    let wrong = |text: &str| {
        let what =
            format!("--head {} is no head; it looks like 12345:0f3a..., as printed by log --verify", quoted(text));
        Ending::new(Code::Usage, what)
    };
    let wanted = head.map(|text| Link::parse(text).ok_or_else(|| wrong(text))).transpose()?;
    let trail = Trail::find(&desk.policy.events_file)?;
    let open = |file: &qrtotp_trail::files::EventsFile| {
        let reader = file.open().map_err(|trouble| io::Error::other(trouble.to_string()))?;
        Ok((file.path().display().to_string(), BufReader::new(reader)))
    };
    let report = chain::verify(trail.files().iter().map(open), wanted);
    let report = report.map_err(|error| Ending::new(Code::Untrusted, error.to_string()))?;
    let is_cut_off = wanted.is_some() && report.held.is_none();
    desk.screen.answer(&as_json(&report, wanted), &as_text(&report, wanted).join("\n"))?;
    if report.findings.is_empty() && !is_cut_off { Ok(()) } else { Err(Ending::silent(Code::Untrusted)) }
}

fn as_text(report: &Report, wanted: Option<Link>) -> Vec<String> {
    let mut lines: Vec<_> = report.findings.iter().map(in_words).collect();
    lines.push(format!(
        "{} in {} checked, {} found",
        counted(usize::try_from(report.lines).unwrap_or(usize::MAX), "line"),
        counted(report.files, "file"),
        counted(report.findings.len(), "fault")
    ));
    if report.unlinked > 0 {
        lines.push(format!("{} without a link of their own; the next line speaks for them", report.unlinked));
    }
    if report.continues {
        lines.push("the oldest file goes on from one that is not here any more".to_owned());
    }
    if let (Some(wanted), held) = (wanted, &report.held) {
        lines.push(match held {
            Some((file, line)) => format!("the head {} is where it was: {file}, line {line}", short(wanted)),
            None => format!(
                "the head {} is not here any more: the end was cut off or written anew since, or its file was removed",
                short(wanted)
            ),
        });
    }
    if let Some(head) = report.head {
        lines.push(format!("head {head}"));
        lines.push(
            "Keep the head on another machine: only with --head HEAD a cut at the end can be seen later.".to_owned(),
        );
    }
    lines
}

fn short(link: Link) -> String {
    let text = link.to_string();
    text.get(..text.len().min(20)).map_or(text.clone(), |text| format!("{text}..."))
}

fn in_words(finding: &Finding) -> String {
    let (first, last) = finding.lines;
    let lines = if first == last { format!("line {first}") } else { format!("lines {first} to {last}") };
    let what = match finding.what {
        What::Altered => "altered: not what was written".to_owned(),
        What::Missing(bytes) => format!("missing: {bytes} bytes are gone at or behind it"),
        What::Added(bytes) => format!("added: {bytes} bytes that were not written by a login or a command"),
        What::Reordered => "reordered: written in another order".to_owned(),
        What::Torn => {
            "does not go on from the file before: its end, or a file in between, is missing or altered".to_owned()
        }
        What::Begins => {
            "a chain begins here although there are lines before it; nothing speaks for the last of those".to_owned()
        }
    };
    format!("{}: {lines}: {what}", finding.file)
}

fn as_json(report: &Report, wanted: Option<Link>) -> Value {
    let findings = report.findings.iter().map(|finding| {
        let (what, bytes) = match finding.what {
            What::Altered => ("altered", None),
            What::Missing(bytes) => ("missing", Some(bytes)),
            What::Added(bytes) => ("added", Some(bytes)),
            What::Reordered => ("reordered", None),
            What::Torn => ("torn", None),
            What::Begins => ("begins", None),
        };
        json!({ "file": finding.file, "first": finding.lines.0, "last": finding.lines.1, "what": what, "bytes": bytes })
    });
    json!({
        "files": report.files,
        "lines": report.lines,
        "unlinked": report.unlinked,
        "uncovered": report.uncovered,
        "continues": report.continues,
        "findings": findings.collect::<Vec<_>>(),
        "head": report.head.map(|head| head.to_string()),
        "held": wanted.map(|_| report.held.as_ref().map(|(file, line)| json!({ "file": file, "line": line }))),
    })
}
