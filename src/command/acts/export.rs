//! `qrtotp export`

use std::io::{self, Write, stdout};

use qrtotp_core::events::AUTHENTICATORS_NAME;
use qrtotp_core::words::WallTime;
use qrtotp_trail::export::{AUTHENTICATOR_COLUMNS, EVENT_COLUMNS, Event, Register, harmless};
use qrtotp_trail::{Filter, Trail, filter};

use crate::arguments::questions::{ExportOptions, Format};
use crate::desk::{Desk, quoted};
use crate::ending::{Code, Ending};
use crate::reading::{self, Damages};
use crate::screen::csv_line;

/// Writes events, or authenticators, to standard output.
pub fn run(desk: &Desk, options: &ExportOptions) -> Result<(), Ending> {
    let format = if desk.screen.is_json() { Format::Json } else { options.format };
    let mut sheet = Sheet { out: io::BufWriter::new(stdout().lock()), format, is_empty: true };
    if options.authenticators {
        authenticators(desk, &mut sheet)?
    } else {
        events(desk, options, &mut sheet)?
    }
    sheet.end()
}

fn events(desk: &Desk, options: &ExportOptions, sheet: &mut Sheet) -> Result<(), Ending> {
    let now = desk.now()?.wall;
    let time = |name: &str, text: &Option<String>| -> Result<Option<WallTime>, Ending> {
        let wrong = |text: &str, what: &str| Ending::new(Code::Usage, format!("--{name} {}: {what}", quoted(text)));
        text.as_ref().map(|text| filter::time(text, now).map_err(|what| wrong(text, &what))).transpose()
    };
    let asked = Filter { since: time("from", &options.from)?, until: time("to", &options.to)?, ..Filter::default() };
    sheet.begin(&EVENT_COLUMNS)?;
    reading::each(desk, &asked, |line| {
        let event = Event::of(&line);
        sheet.row(&event.fields(), &event)
    })
}

/// From the file that is never rotated. What it cannot say because it is damaged is told beside the answer.
fn authenticators(desk: &Desk, sheet: &mut Sheet) -> Result<(), Ending> {
    let trail = Trail::find(&desk.policy.events_file.with_file_name(AUTHENTICATORS_NAME))?;
    let (mut register, mut damages) = (Register::default(), Damages::default());
    for line in trail.lines() {
        match line {
            Ok(line) => register.add(&line),
            Err(damage) => damages.add(damage),
        }
    }
    sheet.begin(&AUTHENTICATOR_COLUMNS)?;
    for one in register.all() {
        let fields = one.fields();
        sheet.row(&fields.each_ref().map(String::as_str), one)?;
    }
    damages.tell(desk);
    Ok(())
}

/// A table in one of the formats, row by row.
struct Sheet {
    out: io::BufWriter<io::StdoutLock<'static>>,
    format: Format,
    is_empty: bool,
}

impl Sheet {
    fn begin(&mut self, columns: &[&str]) -> Result<(), Ending> {
        let written = match self.format {
            Format::Csv => writeln!(self.out, "{}", csv_line(columns)),
            Format::Json => write!(self.out, "["),
        };
        Ok(written?)
    }

    fn row(&mut self, fields: &[&str], row: &impl serde::Serialize) -> Result<(), Ending> {
        match self.format {
            Format::Csv => {
                let fields: Vec<_> = fields.iter().map(|field| harmless(field)).collect();
                writeln!(self.out, "{}", csv_line(&fields.iter().map(String::as_str).collect::<Vec<_>>()))?;
            }
            Format::Json => {
                let comma = if self.is_empty { "" } else { "," };
                write!(self.out, "{comma}\n{}", serde_json::to_string(row).unwrap_or_default())?;
            }
        }
        self.is_empty = false;
        Ok(())
    }

    fn end(&mut self) -> Result<(), Ending> {
        if self.format == Format::Json {
            writeln!(self.out, "\n]")?;
        }
        Ok(self.out.flush()?)
    }
}
