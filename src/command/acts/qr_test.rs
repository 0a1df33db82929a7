//! `qrtotp qr-test`

use qrtotp_core::qr::{Ink, Picture, Size, Style};
use serde_json::json;

use crate::desk::Desk;
use crate::ending::{Code, Ending};

/// No key and no address: an app that reads it can do nothing with it. As long as the URI of an enrollment is.
const TEXT: &str = "qrtotp test: if your phone shows this text, it reads pictures of this form. No key, no link.";
/// Columns of a terminal of unknown size.
const UNKNOWN: Size = Size { columns: 80, lines: 24 };

/// A form, what it is called, and the options of `enroll` that draw it.
const FORMS: [(&str, &str, Style, Ink); 4] = [
    ("half blocks for a dark terminal", "--qr utf8", Style::HalfBlocks, Ink::Light),
    ("half blocks for a light terminal", "--qr utf8 --invert", Style::HalfBlocks, Ink::Dark),
    ("ASCII for a dark terminal", "--qr ascii", Style::Ascii, Ink::Light),
    ("ASCII for a light terminal", "--qr ascii --invert", Style::Ascii, Ink::Dark),
];

/// Shows every form, one after the other where somebody sits at the terminal.
pub fn run(desk: &Desk) -> Result<(), Ending> {
    let picture = Picture::of(TEXT).map_err(|what| Ending::new(Code::No, what))?;
    let room = desk.screen.size().unwrap_or(UNKNOWN);
    let waits = desk.screen.is_typed_at() && desk.screen.size().is_some();
    for (number, (name, options, style, ink)) in FORMS.iter().enumerate() {
        let drawing = picture.draw(*style, *ink, Size { lines: room.lines.saturating_sub(2), ..room });
        let form = number.saturating_add(1);
        drawing.lines.iter().try_for_each(|line| desk.screen.say(line))?;
        desk.screen.say(&format!("{form} of {}: {name}: qrtotp enroll USER {options}", FORMS.len()))?;
        if drawing.size.columns > room.columns || drawing.size.lines.saturating_add(2) > room.lines {
            let Size { columns, lines } = drawing.size;
            desk.screen.say(&format!(
                "It needs {columns} columns and {lines} lines; this terminal has {} and {}.",
                room.columns, room.lines
            ))?;
        }
        let is_last = form == FORMS.len();
        if waits
            && !is_last
            && desk
                .screen
                .ask("Does your phone show a text that begins \"qrtotp test\"? Enter shows the next form, q ends: ")?
                .is_none_or(|answer| answer.trim() == "q")
        {
            break;
        }
    }
    let forms = FORMS.iter().map(|(name, options, ..)| json!({ "form": name, "options": options }));
    desk.screen.answer(&json!({ "text": TEXT, "forms": forms.collect::<Vec<_>>() }), "")
}
