//! `qrtotp(7)`: the way from a machine on which nobody has a code to one on which everybody needs one. Written by hand.

use super::Page;

/// The page.
pub fn page() -> Page {
    let written = include_str!("../../../packaging/man/qrtotp.7");
    let (_, text) = written.split_once('\n').unwrap_or_default();
    Page::of_text("qrtotp", 7, text)
}
