//! `qrtotp stats`

use qrtotp_core::policy::Settings;
use qrtotp_core::words::WallTime;
use qrtotp_trail::funnel::{Funnel, Stage, Ticket};
use qrtotp_trail::tally::{By, Count, Tally};
use qrtotp_trail::{Filter, Geo};
use serde_json::json;

use super::log::read_filter;
use crate::arguments::questions::{FilterOptions, Side};
use crate::desk::Desk;
use crate::ending::{Code, Ending};
use crate::reading;
use crate::screen::{clean, counted, is_utf8};

/// Characters of the longest bar.
const WIDTH: u64 = 24;
/// Rows of a chart; `--json` has all of them.
const ROWS: usize = 40;

/// Numbers of logins by one of their sides, or how far tickets have come.
pub fn run(desk: &Desk, side: Side, options: &FilterOptions) -> Result<(), Ending> {
    let now = desk.now()?.wall;
    let filter = read_filter(options, now)?;
    let by = match side {
        Side::Ticket => return tickets(desk, &filter, now),
        Side::User => By::User,
        Side::Service => By::Service,
        Side::Source => By::Source,
        Side::Country => By::Country,
        Side::Device => By::Device,
        Side::Hour => By::Hour,
        Side::Day => By::Day,
        Side::Reason => By::Reason,
        Side::Host => By::Host,
    };
    let geo = geo(desk)?;
    if by == By::Country && !geo.is_there() {
        let what = "no country is known without a database of them: see [geo] database in the policy";
        return Err(Ending::new(Code::Untrusted, what));
    }
    let mut tally = Tally::new(by);
    reading::each(desk, &filter, |line| {
        tally.add(&line, &geo);
        Ok(())
    })?;
    show(desk, by, &tally)
}

/// The database of countries that the policy names, or none.
pub fn geo(desk: &Desk) -> Result<Geo, Ending> {
    let settings = Settings::load(&desk.config).map_err(|what| Ending::new(Code::Untrusted, what))?;
    Ok(Geo::open(settings.geo_database.as_deref())?)
}

fn show(desk: &Desk, by: By, tally: &Tally) -> Result<(), Ending> {
    let rows = tally.rows();
    let as_json = |count: &Count| json!({ "success": count.success, "failure": count.failure, "error": count.error, "skipped": count.skipped });
    let values = rows.iter().map(|(value, count)| json!({ "value": value, "logins": as_json(count) }));
    let value = json!({
        "rows": values.collect::<Vec<_>>(),
        "without": as_json(&tally.without),
        "beyond": as_json(&tally.beyond),
        "total": as_json(&tally.total),
    });
    let longest = rows.iter().map(|(_, count)| count.all()).max().unwrap_or(0);
    let bar = Bars::new(desk, longest);
    let mut table: Vec<Vec<String>> =
        rows.iter().take(ROWS).map(|(value, count)| cells(&clean(value), count, Some(&bar))).collect();
    let without = (by != By::Hour && tally.without.all() > 0).then_some(("not known", &tally.without));
    let beyond = (tally.beyond.all() > 0).then_some(("others", &tally.beyond));
    let more = [without, beyond, Some(("all", &tally.total))].into_iter().flatten();
    table.extend(more.map(|(name, count)| cells(name, count, None)));
    let mut text = desk.screen.table(&[head(by), "LOGINS", "ACCEPTED", "REFUSED", "RATE", ""], table);
    if rows.len() > ROWS {
        text.push_str(&format!("\n{} more rows; all of them with --json", rows.len().saturating_sub(ROWS)));
    }
    desk.screen.answer(&value, &text)
}

fn head(by: By) -> &'static str {
    match by {
        By::User => "USER",
        By::Service => "SERVICE",
        By::Source => "SOURCE",
        By::Country => "COUNTRY",
        By::Device => "DEVICE",
        By::Hour => "HOUR (UTC)",
        By::Day => "DAY (UTC)",
        By::Reason => "REASON",
        By::Host => "HOST",
    }
}

fn cells(name: &str, count: &Count, bar: Option<&Bars>) -> Vec<String> {
    let rate = match count.success.saturating_mul(100).checked_div(count.all()) {
        Some(percent) => format!("{percent} %"),
        None => "-".to_owned(),
    };
    let bar = bar.map(|bar| bar.draw(count.all())).unwrap_or_default();
    vec![name.to_owned(), count.all().to_string(), count.success.to_string(), count.refused().to_string(), rate, bar]
}

/// Bars of one chart; none where no person looks.
struct Bars {
    longest: u64,
    letter: Option<&'static str>,
}

impl Bars {
    fn new(desk: &Desk, longest: u64) -> Self {
        let letter = desk.screen.size().map(|_| if is_utf8() { "\u{2588}" } else { "#" });
        Self { longest, letter }
    }

    /// At least one character for what is more than nothing.
    fn draw(&self, number: u64) -> String {
        let Some(letter) = self.letter else { return String::new() };
        let length = number.saturating_mul(WIDTH).div_ceil(self.longest.max(1));
        letter.repeat(usize::try_from(length).unwrap_or(0))
    }
}

fn tickets(desk: &Desk, filter: &Filter, now: WallTime) -> Result<(), Ending> {
    let mut funnel = Funnel::default();
    reading::each(desk, filter, |line| {
        funnel.add(&line);
        Ok(())
    })?;
    let stages = [
        ("invited", Stage::Invited),
        ("opened", Stage::Opened),
        ("enrolled", Stage::Enrolled),
        ("through", Stage::Through),
    ];
    let reached = stages.map(|(word, stage)| (word, funnel.reached(stage)));
    let value = json!({
        "tickets": funnel.tickets().map(|ticket| as_json(ticket, now)).collect::<Vec<_>>(),
        "reached": reached.iter().map(|(word, count)| ((*word).to_owned(), json!(count))).collect::<serde_json::Map<_, _>>(),
        "refused": funnel.refused,
    });
    let rows = funnel.tickets().map(|ticket| {
        let by = ticket.by.clone().unwrap_or_else(|| "-".to_owned());
        let made = ticket.made.as_deref().and_then(|made| made.get(..16)).unwrap_or("-").replace('T', " ");
        let from = ticket.opened_from.clone().unwrap_or_else(|| "-".to_owned());
        [&ticket.user, &ticket.id, &made, &by, &from, ticket.standing(now)].map(clean).to_vec()
    });
    let mut text = desk.screen.table(&["USER", "TICKET", "MADE (UTC)", "BY", "OPENED FROM", "STANDS"], rows.collect());
    let bar = Bars::new(desk, reached.iter().map(|(_, count)| *count as u64).max().unwrap_or(0));
    text.push('\n');
    for (word, count) in reached {
        text.push_str(&format!("\n{word:<10} {count:>6}  {}", bar.draw(count as u64)));
    }
    if !funnel.refused.is_empty() {
        let users = counted(funnel.refused.len(), "user");
        let times = funnel.refused.values().fold(0_u32, |sum, count| sum.saturating_add(*count));
        text.push_str(&format!(
            "\n\nrefused tickets were typed {times} times, for {users}: qrtotp log --result ticket_refused"
        ));
    }
    desk.screen.answer(&value, text.trim_start())
}

fn as_json(ticket: &Ticket, now: WallTime) -> serde_json::Value {
    json!({
        "id": ticket.id, "user": ticket.user, "made": ticket.made, "by": ticket.by,
        "expires": ticket.expires.map(|expires| expires.to_string()),
        "opened": ticket.opened, "opened_from": ticket.opened_from, "given_up": ticket.given_up,
        "enrolled": ticket.enrolled, "stands": ticket.standing(now),
    })
}
