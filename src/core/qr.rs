//! A text -> a picture of modules -> lines of terminal characters. Pure.

use qrcode::{Color, EcLevel, QrCode};
use zeroize::{Zeroize, Zeroizing};

/// Quiet zone that the standard asks for, in modules (ISO/IEC 18004).
const QUIET: usize = 4;
/// Quiet zone that phones still read, where the terminal has no room for more.
const NARROW_QUIET: usize = 2;

/// How modules become characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// Two rows of modules in a line of half blocks: needs UTF-8.
    HalfBlocks,
    /// Two characters a module, blanks and `#`: works everywhere, four times as large.
    Ascii,
}

/// Which modules the terminal's ink draws.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ink {
    /// Light ink on a dark terminal: the light modules.
    Light,
    /// Dark ink on a light terminal: the dark modules.
    Dark,
}

/// Columns and lines of a terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size {
    /// Characters in a line.
    pub columns: usize,
    /// Lines.
    pub lines: usize,
}

/// A square of modules, wiped on drop: whoever has it has the key.
pub struct Picture {
    side: usize,
    dark: Vec<bool>,
}

impl Drop for Picture {
    fn drop(&mut self) {
        self.dark.zeroize();
    }
}

/// A drawn picture, line by line.
pub struct Drawing {
    /// The lines, wiped on drop.
    pub lines: Zeroizing<Vec<String>>,
    /// How much room it takes.
    pub size: Size,
}

impl Picture {
    /// Makes the smallest picture of a text; level L, because a screen is neither torn nor stained.
    ///
    /// # Errors
    /// A sentence where the text is too long for any picture.
    pub fn of(text: &str) -> Result<Self, String> {
        let code =
            QrCode::with_error_correction_level(text, EcLevel::L).map_err(|error| format!("no picture: {error}"))?;
        let mut colors = code.to_colors();
        let dark = colors.iter().map(|color| *color == Color::Dark).collect();
        colors.fill(Color::Light);
        Ok(Self { side: code.width(), dark })
    }

    /// Draws with the full quiet zone where `room` has space for it, else with a narrow one.
    pub fn draw(&self, style: Style, ink: Ink, room: Size) -> Drawing {
        let full = self.size(style, QUIET);
        let fits = full.columns <= room.columns && full.lines <= room.lines;
        let quiet = if fits { QUIET } else { NARROW_QUIET };
        let lines = match style {
            Style::HalfBlocks => self.half_blocks(ink, quiet),
            Style::Ascii => self.ascii(ink, quiet),
        };
        Drawing { lines: Zeroizing::new(lines), size: self.size(style, quiet) }
    }

    fn size(&self, style: Style, quiet: usize) -> Size {
        let side = self.side.saturating_add(quiet.saturating_mul(2));
        match style {
            Style::HalfBlocks => Size { columns: side, lines: side.div_ceil(2) },
            Style::Ascii => Size { columns: side.saturating_mul(2), lines: side },
        }
    }

    /// Whether ink draws the module at a place, counted from the corner of the quiet zone. Below the last row, where
    /// half a line is left over, there is quiet zone.
    fn is_inked(&self, ink: Ink, quiet: usize, row: usize, column: usize) -> bool {
        let module = |at: usize| at.checked_sub(quiet).filter(|at| *at < self.side);
        let place = module(row).zip(module(column));
        let index = place.map(|(row, column)| row.saturating_mul(self.side).saturating_add(column));
        let dark = index.and_then(|index| self.dark.get(index)).copied().unwrap_or(false);
        dark == (ink == Ink::Dark)
    }

    fn half_blocks(&self, ink: Ink, quiet: usize) -> Vec<String> {
        let size = self.size(Style::HalfBlocks, quiet);
        let cell = |line: usize, column: usize| {
            let top = line.saturating_mul(2);
            match (self.is_inked(ink, quiet, top, column), self.is_inked(ink, quiet, top.saturating_add(1), column)) {
                (true, true) => '\u{2588}',
                (true, false) => '\u{2580}',
                (false, true) => '\u{2584}',
                (false, false) => ' ',
            }
        };
        (0..size.lines).map(|line| (0..size.columns).map(|column| cell(line, column)).collect()).collect()
    }

    fn ascii(&self, ink: Ink, quiet: usize) -> Vec<String> {
        let size = self.size(Style::Ascii, quiet);
        let cell = |line: usize, column: usize| if self.is_inked(ink, quiet, line, column) { "##" } else { "  " };
        (0..size.lines).map(|line| (0..size.columns / 2).map(|column| cell(line, column)).collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URI: &str = "otpauth://totp/h1:alice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=h1";
    const ROOM: Size = Size { columns: 80, lines: 24 };

    /// Reads the characters back with a reader that is not ours: four pixels a module, ink light or dark.
    fn read_back(drawing: &Drawing, style: Style, ink: Ink) -> String {
        const PIXELS: usize = 4;
        let inked = |x: usize, y: usize| {
            let (column, row) = (x / PIXELS, y / PIXELS);
            let (line, column, lower) = match style {
                Style::HalfBlocks => (row / 2, column, row % 2 == 1),
                Style::Ascii => (row, column * 2, false),
            };
            match drawing.lines[line].chars().nth(column).unwrap() {
                '\u{2588}' | '#' => true,
                '\u{2580}' => !lower,
                '\u{2584}' => lower,
                _ => false,
            }
        };
        let (width, height) = match style {
            Style::HalfBlocks => (drawing.size.columns, drawing.size.lines * 2),
            Style::Ascii => (drawing.size.columns / 2, drawing.size.lines),
        };
        let shade = |x, y| if inked(x, y) == (ink == Ink::Light) { 255 } else { 0 };
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(width * PIXELS, height * PIXELS, shade);
        let grids = image.detect_grids();
        grids.first().expect("a picture").decode().expect("readable").1
    }

    #[test]
    fn every_style_and_ink_reads_back() {
        let picture = Picture::of(URI).unwrap();
        for style in [Style::HalfBlocks, Style::Ascii] {
            for ink in [Ink::Light, Ink::Dark] {
                for room in [ROOM, Size { columns: 10, lines: 10 }] {
                    let drawing = picture.draw(style, ink, room);
                    assert_eq!(read_back(&drawing, style, ink), URI, "{style:?} {ink:?}");
                }
            }
        }
    }

    #[test]
    fn a_default_picture_fits_80x24_with_its_whole_quiet_zone() {
        let drawing = Picture::of(URI).unwrap().draw(Style::HalfBlocks, Ink::Light, ROOM);
        assert_eq!(drawing.size, Size { columns: 41, lines: 21 });
        assert_eq!(drawing.lines.len(), 21);
        assert!(drawing.lines.iter().all(|line| line.chars().count() == 41));
    }

    #[test]
    fn a_low_terminal_gets_the_narrow_quiet_zone() {
        let drawing = Picture::of(URI).unwrap().draw(Style::HalfBlocks, Ink::Light, Size { columns: 80, lines: 20 });
        assert_eq!(drawing.size, Size { columns: 37, lines: 19 });
    }

    #[test]
    fn a_text_that_no_picture_holds_is_refused() {
        assert!(Picture::of(&"x".repeat(3000)).is_err());
    }
}
