//! `qrtotp brand check`

use qrtotp_pictures::brand::{Brand, CONTRAST};
use qrtotp_pictures::draw::{Picture, QUIET};
use qrtotp_pictures::proof::looks;
use serde_json::json;

use super::print::brand;
use crate::desk::Desk;
use crate::ending::{Code, Ending};

/// As long as the URIs of most enrollments are, with a key that is none.
const SAMPLE: &str = "otpauth://totp/Example%20Organisation:somebody@example.org?secret=AAAABBBBCCCCDDDDEEEEFFFFGGGGHHHH&issuer=Example%20Organisation";

/// One row of the table.
struct Row {
    what: String,
    measured: String,
    is_good: bool,
}

/// Checks how printed pictures look.
pub fn check(desk: &Desk) -> Result<(), Ending> {
    let rows = rows(&brand(desk)?);
    let is_good = rows.iter().all(|row| row.is_good);
    let word = |is_good: bool| if is_good { "good" } else { "NO" };
    let cells = rows.iter().map(|row| vec![row.what.clone(), row.measured.clone(), word(row.is_good).to_owned()]);
    let text = desk.screen.table(&["WHAT", "MEASURED", ""], cells.collect());
    let checks = rows.iter().map(|row| json!({ "what": row.what, "measured": row.measured, "good": row.is_good }));
    desk.screen.answer(&json!({ "good": is_good, "checks": checks.collect::<Vec<_>>() }), &text)?;
    if is_good { Ok(()) } else { Err(Ending::silent(Code::No)) }
}

fn rows(brand: &Brand) -> Vec<Row> {
    let row = |what: &str, measured: String, is_good: bool| Row { what: what.to_owned(), measured, is_good };
    let contrast = brand.dark.contrast(brand.light);
    let mut rows = vec![
        row(
            "dark on light",
            format!("{} on {}", brand.dark.in_css(), brand.light.in_css()),
            brand.dark.luminance() < brand.light.luminance(),
        ),
        row(
            "contrast, at least 4.5 to 1",
            format!("{:.2} to 1", (contrast * 100.0).floor() / 100.0),
            contrast >= CONTRAST,
        ),
        row("quiet zone", format!("{QUIET} modules"), true),
    ];
    match Picture::of(SAMPLE, brand) {
        Ok(picture) => {
            if let Some((_, side)) = picture.logo_square() {
                let share =
                    f64::from(side) * 100.0 / f64::from(picture.width().saturating_sub(QUIET.saturating_mul(2)));
                rows.push(row("logo, at most 20 % of the side, level H", format!("{share:.0} %"), share <= 20.0));
            }
            for look in looks(&picture, SAMPLE) {
                let blurred = if look.is_blurred { ", slightly blurred" } else { "" };
                let measured = if look.is_read { "as written" } else { "not read" };
                rows.push(row(
                    &format!("read back at {} pixels a module{blurred}", look.scale),
                    measured.to_owned(),
                    look.is_read,
                ));
            }
        }
        Err(what) => rows.push(row("picture", what, false)),
    }
    rows
}
