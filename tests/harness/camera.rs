//! An independent camera: a picture of the terminal's cells, read by zbarimg and by rqrr.

use std::fs;

use crate::sandbox::{SCRATCH, Sandbox};

/// Pixels of one cell: as in most fonts, twice as high as wide.
const WIDE: usize = 8;
const HIGH: usize = 16;

/// A grey picture of a dark terminal with light ink.
pub struct Picture {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Picture {
    /// Photographs rows of text.
    pub fn of_rows<S: AsRef<str>>(rows: &[S]) -> Self {
        let columns = rows.iter().map(|row| row.as_ref().chars().count()).max().unwrap_or(0);
        let mut picture = Self {
            width: (columns + 4) * WIDE,
            height: (rows.len() + 2) * HIGH,
            pixels: vec![0; (columns + 4) * WIDE * (rows.len() + 2) * HIGH],
        };
        for (line, row) in rows.iter().enumerate() {
            for (column, cell) in row.as_ref().chars().enumerate() {
                picture.draw(cell, (column + 2) * WIDE, (line + 1) * HIGH);
            }
        }
        picture
    }

    /// The same on a light terminal with dark ink.
    pub fn on_light(mut self) -> Self {
        self.pixels.iter_mut().for_each(|pixel| *pixel = 255 - *pixel);
        self
    }

    fn draw(&mut self, cell: char, left: usize, top: usize) {
        let half = HIGH / 2;
        let (from, to, inset) = match cell {
            ' ' | '\u{a0}' => return,
            '█' | '#' => (0, HIGH, 0),
            '▀' => (0, half, 0),
            '▄' => (half, HIGH, 0),
            // Any other letter: some ink in the middle of the cell.
            _ => (HIGH / 4, 3 * HIGH / 4, WIDE / 4),
        };
        for y in top + from..top + to {
            for x in left + inset..left + WIDE - inset {
                self.pixels[y * self.width + x] = 255;
            }
        }
    }

    /// What rqrr reads in it.
    pub fn by_rqrr(&self) -> Vec<String> {
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(self.width, self.height, |x, y| {
            self.pixels[y * self.width + x]
        });
        let grids = image.detect_grids();
        grids.iter().filter_map(|grid| Some(grid.decode().ok()?.1)).collect()
    }

    /// What zbarimg reads in it.
    ///
    /// # Panics
    /// Where zbarimg is missing.
    pub fn by_zbarimg(&self, sandbox: &Sandbox) -> Vec<String> {
        let path = format!("{SCRATCH}/picture.pgm");
        let mut file = format!("P5 {} {} 255\n", self.width, self.height).into_bytes();
        file.extend(&self.pixels);
        fs::write(&path, file).unwrap();
        let mut command = sandbox.command("/usr/bin/zbarimg");
        command.args(["--quiet", "--raw", "-Sdisable", "-Sqrcode.enable", &path]);
        let output = command.output().expect("zbarimg");
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }

    /// What both cameras read, which must be the same one text.
    ///
    /// # Panics
    /// Where one of them reads nothing, or another text.
    pub fn read(&self, sandbox: &Sandbox) -> String {
        let (one, other) = (self.by_rqrr(), self.by_zbarimg(sandbox));
        assert_eq!(one.len(), 1, "rqrr reads one picture: {one:?}");
        assert_eq!(one, other, "rqrr and zbarimg read the same");
        one.into_iter().next().unwrap()
    }
}
