//! Numbers -> the page.

use qrtotp_core::calendar::DAY;
use qrtotp_core::words::WallTime;

use super::html::Html;
use super::snapshot::Snapshot;
use super::style::CSS;
use super::tally::{Both, HOUR, Incidents, Ranking, Tally};

/// Rows of a list; the rest is only counted.
const ROWS: usize = 12;
/// How long a device may be unused, in milliseconds.
const UNUSED: u64 = 90 * DAY;
/// How soon an end is worth a word, in milliseconds.
const SOON: u64 = 30 * DAY;

/// Writes the page.
pub fn page(tally: &Tally<'_>, state: &Snapshot) -> String {
    let mut html = Html::default();
    html.fixed("<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>");
    html.text(&format!("One-time codes on {}", state.host)).fixed("</title><link rel=\"icon\" href=\"data:,\"><style>");
    html.fixed(CSS).fixed("</style></head><body><header>");
    html.leaf("h1", &[], &format!("One-time codes on {}", state.host));
    let span = format!("{} to {} UTC", minute(tally.since), minute(tally.until));
    html.leaf("p", &[("class", "soft")], &span).fixed("</header><main>");
    headline(&mut html, tally, state);
    enrollment(&mut html, tally, state);
    over_time(&mut html, tally);
    ranking(&mut html, "By service", Some(&tally.services));
    ranking(&mut html, "By source", Some(&tally.sources));
    ranking(&mut html, "By country", tally.countries.as_ref());
    ranking(&mut html, "By user", Some(&tally.users));
    ranking(&mut html, "By reason", Some(&tally.reasons));
    hours(&mut html, tally);
    incidents(&mut html, "Replays", "Codes that were used before, or older than one that was.", &tally.replays);
    incidents(
        &mut html,
        "Exhausted budgets",
        "Too many wrong codes: two codes, or a wait, were asked.",
        &tally.exhausted,
    );
    people(&mut html, tally, state);
    ends(&mut html, tally, state);
    offsets(&mut html, tally);
    table(&mut html, "What could not be read", "", &["Trouble"], &rows(&state.troubles, |text| vec![text.clone()]));
    html.fixed("</main><footer>Made by qrtotp from the events file and the state of this host. All times are UTC.</footer></body></html>\n");
    html.finish()
}

fn minute(time: WallTime) -> String {
    time.to_string().get(..16).unwrap_or_default().replace('T', " ")
}

fn day(time: WallTime) -> String {
    time.to_string().get(..10).unwrap_or_default().to_owned()
}

fn rows<T>(items: &[T], row: impl Fn(&T) -> Vec<String>) -> Vec<Vec<String>> {
    items.iter().map(row).collect()
}

fn section(html: &mut Html, title: &str, is_wide: bool, inside: impl FnOnce(&mut Html)) {
    html.element("section", &[("class", if is_wide { "wide" } else { "" })], |html| {
        html.leaf("h2", &[], title);
        inside(html);
    });
}

fn cells(html: &mut Html, head: &[&str], all: &[Vec<String>]) {
    html.element("table", &[], |html| {
        html.element("thead", &[], |html| {
            html.element("tr", &[], |html| {
                head.iter().for_each(|name| {
                    html.leaf("th", &[("scope", "col")], name);
                });
            });
        });
        html.element("tbody", &[], |html| {
            for row in all {
                html.element("tr", &[], |html| {
                    row.iter().for_each(|cell| {
                        html.leaf("td", &[], cell);
                    });
                });
            }
        });
    });
}

fn more(html: &mut Html, all: usize) {
    let rest = all.saturating_sub(ROWS);
    if rest > 0 {
        html.leaf("p", &[("class", "soft")], &format!("and {rest} more"));
    }
}

/// A list of its own; nothing where it is empty and there is no word for that.
fn table(html: &mut Html, title: &str, none: &str, head: &[&str], all: &[Vec<String>]) {
    if all.is_empty() && none.is_empty() {
        return;
    }
    section(html, title, false, |html| {
        if all.is_empty() {
            html.leaf("p", &[("class", "soft")], none);
            return;
        }
        cells(html, head, all.get(..ROWS).unwrap_or(all));
        more(html, all.len());
    });
}

fn headline(html: &mut Html, tally: &Tally<'_>, state: &Snapshot) {
    let enrolled = state.accounts.iter().filter(|account| account.is_enrolled).count();
    let without = state.users.iter().filter(|user| user.recovery_left == 0).count();
    section(html, "At a glance", true, |html| {
        if tally.events == 0 {
            html.leaf("p", &[], "There are no events of this time.");
        }
        html.element("dl", &[], |html| {
            for (what, number) in [
                ("accounts enrolled", format!("{enrolled} of {}", state.accounts.len())),
                ("logins", tally.logins.good.to_string()),
                ("failures", tally.logins.bad.to_string()),
                ("replays", tally.replays.count.to_string()),
                ("exhausted budgets", tally.exhausted.count.to_string()),
                ("without recovery codes", without.to_string()),
            ] {
                html.element("div", &[], |html| {
                    html.leaf("dt", &[], what).leaf("dd", &[], &number);
                });
            }
        });
    });
}

/// Bars side by side, above the line and below it (in the colour of that class), and their numbers.
fn chart(html: &mut Html, title: &str, bars: &[(String, Both)], names: [&str; 2], below: &str) {
    let most = |number: fn(&Both) -> u64| bars.iter().map(|(_, both)| number(both)).max().unwrap_or(0) as f64;
    let (up, down) = (most(|both| both.good), most(|both| both.bad));
    let scale = 100.0 / (up + down).max(1.0);
    let line = up * scale;
    let size = format!("0 0 {} 100", bars.len().saturating_mul(10));
    let attributes = [("class", "chart"), ("role", "img"), ("viewBox", size.as_str()), ("preserveAspectRatio", "none")];
    html.element("svg", &attributes, |html| {
        html.leaf("title", &[], title);
        html.leaf(
            "desc",
            &[],
            &format!("{} above the line, {} below; the numbers are in the table.", names[0], names[1]),
        );
        for (number, (_, both)) in bars.iter().enumerate() {
            let x = number.saturating_mul(10).saturating_add(1);
            let (good, bad) = (both.good as f64 * scale, both.bad as f64 * scale);
            rect(html, "good", x as f64, line - good, 8.0, good);
            rect(html, below, x as f64, line, 8.0, bad);
        }
        rect(html, "rest", 0.0, line.min(99.5), bars.len().saturating_mul(10) as f64, 0.5);
    });
    html.element("div", &[("class", "axis")], |html| {
        [bars.first(), bars.get(bars.len() / 2), bars.last()].into_iter().flatten().for_each(|(name, _)| {
            html.leaf("span", &[], name);
        });
    });
    html.leaf("p", &[("class", "soft")], &format!("{} above the line, {} below.", names[0], names[1]));
    html.element("details", &[], |html| {
        html.leaf("summary", &[], "Numbers");
        let all = bars.iter().filter(|(_, both)| both.all() > 0);
        let all: Vec<_> =
            all.map(|(name, both)| vec![name.clone(), both.good.to_string(), both.bad.to_string()]).collect();
        cells(html, &["Time", names[0], names[1]], &all);
    });
}

fn rect(html: &mut Html, class: &str, x: f64, y: f64, width: f64, height: f64) {
    let [x, y, width, height] = [x, y, width, height].map(|number| format!("{number:.2}"));
    html.leaf("rect", &[("class", class), ("x", &x), ("y", &y), ("width", &width), ("height", &height)], "");
}

fn over_time(html: &mut Html, tally: &Tally<'_>) {
    let bars: Vec<_> = tally.bars.iter().enumerate().map(|(bar, both)| (name_of(tally, bar), *both)).collect();
    section(html, "Logins over time", true, |html| {
        chart(html, "Logins over time", &bars, ["Logins", "failures"], "bad")
    });
}

fn name_of(tally: &Tally<'_>, bar: usize) -> String {
    if tally.width == HOUR { minute(tally.begin(bar)) } else { day(tally.begin(bar)) }
}

fn hours(html: &mut Html, tally: &Tally<'_>) {
    let bars: Vec<_> = tally.hours.iter().enumerate().map(|(hour, both)| (format!("{hour:02}:00"), *both)).collect();
    section(html, "By hour of the day", false, |html| {
        chart(html, "By hour of the day", &bars, ["Logins", "failures"], "bad")
    });
}

fn enrollment(html: &mut Html, tally: &Tally<'_>, state: &Snapshot) {
    let mut before = state.users.iter().filter(|user| user.created < tally.begin(0)).count();
    let mut bars = Vec::new();
    for (bar, new) in tally.enrolled.iter().enumerate() {
        let (begin, end) = (tally.begin(bar), tally.begin(bar.saturating_add(1)));
        let joined = state.users.iter().filter(|user| user.created >= begin && user.created < end).count();
        before = before.saturating_add(joined);
        bars.push((name_of(tally, bar), u64::try_from(before).unwrap_or(0), *new));
    }
    section(html, "Enrollment", true, |html| {
        let both: Vec<_> = bars.iter().map(|(name, all, new)| (name.clone(), Both { good: *all, bad: *new })).collect();
        chart(html, "Enrollment over time", &both, ["Enrolled (of those who are today)", "new enrollments"], "more");
        let missing: Vec<_> = state.accounts.iter().filter(|account| !account.is_enrolled).collect();
        let names: Vec<_> = missing.iter().take(ROWS).map(|account| account.name.as_str()).collect();
        if !missing.is_empty() {
            html.leaf("p", &[], &format!("Not enrolled, with a shell: {}", names.join(", ")));
            more(html, missing.len());
        }
    });
}

fn ranking(html: &mut Html, title: &str, ranking: Option<&Ranking>) {
    section(html, title, false, |html| {
        let Some(ranking) = ranking else {
            html.leaf("p", &[("class", "soft")], "Not known: no database of countries is configured ([geo] database).");
            return;
        };
        let all = ranking.sorted();
        if all.is_empty() {
            html.leaf("p", &[("class", "soft")], "None.");
            return;
        }
        html.element("table", &[], |html| {
            html.fixed("<thead><tr><th scope=\"col\">Name</th><th scope=\"col\" class=\"n\">Logins</th><th scope=\"col\" class=\"n\">Failures</th></tr></thead><tbody>");
            let most = all.first().map_or(1.0, |(_, both)| both.all() as f64);
            all.iter().take(ROWS).for_each(|(name, both)| ranked(html, name, *both, most));
            html.fixed("</tbody>");
        });
        more(html, all.len());
        if ranking.beyond.all() > 0 {
            html.leaf("p", &[("class", "soft")], &format!("{} of still other names", ranking.beyond.all()));
        }
    });
}

fn ranked(html: &mut Html, name: &str, both: Both, most: f64) {
    html.element("tr", &[], |html| {
        html.element("td", &[], |html| {
            html.text(name);
            let bar =
                [("class", "row"), ("viewBox", "0 0 100 1"), ("preserveAspectRatio", "none"), ("aria-hidden", "true")];
            html.element("svg", &bar, |html| {
                let (good, bad) = (both.good as f64 * 100.0 / most, both.bad as f64 * 100.0 / most);
                rect(html, "good", 0.0, 0.0, good, 1.0);
                rect(html, "bad", good, 0.0, bad, 1.0);
            });
        });
        html.leaf("td", &[("class", "n")], &both.good.to_string());
        html.leaf("td", &[("class", "n")], &both.bad.to_string());
    });
}

fn incidents(html: &mut Html, title: &str, what: &str, all: &Incidents) {
    section(html, title, false, |html| {
        html.leaf("p", &[("class", "soft")], what);
        if all.count == 0 {
            html.leaf("p", &[], "None.");
            return;
        }
        let row = |one: &super::tally::Incident| {
            let user = one.user.clone().unwrap_or_else(|| "(no such user)".to_owned());
            vec![minute(one.time), user, format!("{} ({})", one.source, one.service), one.reason.clone()]
        };
        let shown: Vec<_> = all.latest.iter().rev().take(ROWS).map(row).collect();
        cells(html, &["Time", "User", "Source", "Reason"], &shown);
        more(html, usize::try_from(all.count).unwrap_or(usize::MAX));
    });
}

fn people(html: &mut Html, tally: &Tally<'_>, state: &Snapshot) {
    let without: Vec<_> =
        state.users.iter().filter(|user| user.recovery_left == 0).map(|user| vec![user.name.clone()]).collect();
    table(html, "Users without recovery codes", "Everybody who is enrolled has some.", &["User"], &without);
    let limit = WallTime(tally.until.0.saturating_sub(UNUSED));
    let mut unused = Vec::new();
    for user in &state.users {
        for device in user.devices.iter().filter(|device| device.added < limit) {
            let last = tally.used.get(&(user.uid, device.id.clone())).copied();
            if last.is_none_or(|last| last < limit) {
                let last = last.map_or_else(|| "in no event".to_owned(), day);
                unused.push(vec![user.name.clone(), device.label.clone(), last]);
            }
        }
    }
    let begin =
        tally.first.map_or_else(|| "there are no events".to_owned(), |first| format!("events begin {}", day(first)));
    let title = format!("Devices unused for 90 days ({begin})");
    table(html, &title, "None.", &["User", "Device", "Last login"], &unused);
}

fn ends(html: &mut Html, tally: &Tally<'_>, state: &Snapshot) {
    let soon = WallTime(tally.until.0.saturating_add(SOON));
    let rules: Vec<_> = state
        .rules
        .iter()
        .filter(|rule| rule.end < soon)
        .map(|rule| {
            let what = if rule.end < tally.until { "over" } else { "ends" };
            vec![format!("{} (line {})", rule.number, rule.line), format!("{} {what}", rule.what), minute(rule.end)]
        })
        .collect();
    table(html, "Rules that end within 30 days", "None.", &["Rule", "What", "When"], &rules);
    let row =
        |ticket: &super::snapshot::Ticket| vec![ticket.user.clone(), ticket.label.clone(), minute(ticket.expires)];
    table(html, "Open tickets", "None.", &["User", "Device", "Expires"], &rows(&state.tickets, row));
}

fn offsets(html: &mut Html, tally: &Tally<'_>) {
    let all: Vec<_> = tally
        .offsets
        .iter()
        .map(|(host, seen)| {
            vec![
                host.clone(),
                format!("{:+.2}", seen.mean()),
                format!("{:+} to {:+}", seen.least, seen.most),
                format!("{} of {}", seen.off, seen.count),
            ]
        })
        .collect();
    let head = ["Host", "Mean (steps)", "Range", "Not zero"];
    table(html, "Offsets between phones and hosts' clocks", "No login told one.", &head, &all);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::Line;

    #[test]
    fn an_empty_trail_gives_a_page_that_says_so() {
        let text = page(&Tally::new(WallTime(0), WallTime(30 * DAY), None), &Snapshot::default());
        assert!(text.contains("There are no events of this time.") && text.contains("[geo] database"), "{text}");
        assert!(!text.contains("<script"), "{text}");
    }

    #[test]
    fn hostile_names_stay_text() {
        let mut tally = Tally::new(WallTime(0), WallTime(30 * DAY), None);
        let hostile = "\"><script>alert(1)</script>\u{1b}".to_owned();
        tally.take(&Line {
            time: WallTime(DAY).to_string(),
            event: "login".to_owned(),
            result: "failure".to_owned(),
            reason: "replayed".to_owned(),
            service: hostile.clone(),
            source: hostile.clone(),
            user: Some(hostile.clone()),
            ..Line::default()
        });
        let text = page(&tally, &Snapshot { host: hostile.clone(), troubles: vec![hostile], ..Snapshot::default() });
        assert!(!text.contains("<script") && !text.contains('\u{1b}') && text.contains("&lt;script&gt;"), "{text}");
    }
}
