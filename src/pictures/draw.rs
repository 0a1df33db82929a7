//! A text -> one description of a picture -> pixels, SVG. Both are drawn from the same description, so that what was proven of one
//! holds for the other.

use std::fmt::Write as _;
use std::io::Cursor;

use data_encoding::BASE64;
use image::buffer::ConvertBuffer;
use image::imageops::{FilterType, overlay, resize};
use image::{ImageFormat, Rgb, RgbImage, RgbaImage};
use qrcode::{Color, EcLevel, QrCode};
use zeroize::{Zeroize, Zeroizing};

use crate::brand::Brand;

/// Quiet zone around the modules (ISO/IEC 18004), in modules.
pub const QUIET: u32 = 4;
/// A logo takes at most this part of the side.
const LOGO_PART: u32 = 5;
/// Pixels of a module in a file.
pub const SCALE: u32 = 10;
/// Pixels of the side of a logo in a file of shapes.
const LOGO_PIXELS: u32 = 256;

/// A picture: its modules, its colours and its logo. Wiped on drop: whoever has it has the key.
pub struct Picture {
    side: u32,
    dark: Vec<bool>,
    brand: Brand,
}

impl Drop for Picture {
    fn drop(&mut self) {
        self.dark.zeroize();
    }
}

impl Picture {
    /// Lays a text out: with a logo at level H, which bears that a third is missing; else at level Q, for paper.
    ///
    /// # Errors
    /// A sentence where the text is too long, or the colours are no good.
    pub fn of(text: &str, brand: &Brand) -> Result<Self, String> {
        if let Some(wrong) = brand.wrong() {
            return Err(wrong);
        }
        let level = if brand.logo.is_some() { EcLevel::H } else { EcLevel::Q };
        let code = QrCode::with_error_correction_level(text, level).map_err(|error| format!("no picture: {error}"))?;
        let mut colors = code.to_colors();
        let dark = colors.iter().map(|color| *color == Color::Dark).collect();
        colors.fill(Color::Light);
        let side = u32::try_from(code.width()).map_err(|error| error.to_string())?;
        Ok(Self { side, dark, brand: brand.clone() })
    }

    /// Modules of a side, with the quiet zone.
    pub fn width(&self) -> u32 {
        self.side.saturating_add(QUIET.saturating_mul(2))
    }

    /// The square of modules that the logo covers, from the corner of the quiet zone: where it begins, and its side. The side of
    /// a picture is odd, so this one is too, to stand in the middle.
    pub fn logo_square(&self) -> Option<(u32, u32)> {
        self.brand.logo.as_ref()?;
        let most = self.side / LOGO_PART;
        let side = if most.is_multiple_of(2) { most.saturating_sub(1) } else { most };
        Some((self.width().saturating_sub(side) / 2, side))
    }

    fn is_dark(&self, row: u32, column: u32) -> bool {
        if let Some((start, side)) = self.logo_square() {
            let within = |at: u32| at.checked_sub(start).is_some_and(|at| at < side);
            if within(row) && within(column) {
                return false;
            }
        }
        let module = |at: u32| at.checked_sub(QUIET).filter(|at| *at < self.side);
        let place = module(row).zip(module(column));
        let index =
            place.and_then(|(row, column)| usize::try_from(row.saturating_mul(self.side).saturating_add(column)).ok());
        index.and_then(|index| self.dark.get(index)).copied().unwrap_or(false)
    }

    /// Pixels, so many a module.
    pub fn pixels(&self, scale: u32) -> RgbImage {
        let scale = scale.max(1);
        let side = self.width().saturating_mul(scale);
        let (dark, light) = (Rgb(self.brand.dark.0), Rgb(self.brand.light.0));
        let module = |at: u32| at.checked_div(scale).unwrap_or(0);
        let mut picture =
            RgbImage::from_fn(side, side, |x, y| if self.is_dark(module(y), module(x)) { dark } else { light });
        if let (Some(logo), Some((start, side))) = (&self.brand.logo, self.logo_square()) {
            let logo = fitted(logo, side.saturating_mul(scale));
            let start = i64::from(start.saturating_mul(scale));
            let mut ground: RgbaImage = picture.convert();
            overlay(&mut ground, &logo, start, start);
            picture.iter_mut().for_each(Zeroize::zeroize);
            picture = ground.convert();
            ground.iter_mut().for_each(Zeroize::zeroize);
        }
        picture
    }

    /// The bytes of a PNG file.
    ///
    /// # Errors
    /// A sentence.
    pub fn png(&self) -> Result<Zeroizing<Vec<u8>>, String> {
        let mut pixels = self.pixels(SCALE);
        // Room for all at once: what grows leaves copies.
        let mut bytes = Zeroizing::new(Vec::with_capacity(pixels.len().saturating_add(4096)));
        let written = pixels.write_to(&mut Cursor::new(&mut *bytes), ImageFormat::Png);
        pixels.iter_mut().for_each(Zeroize::zeroize);
        written.map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    /// The text of an SVG file, or of a part of a page.
    ///
    /// # Errors
    /// A sentence.
    pub fn svg(&self) -> Result<Zeroizing<String>, String> {
        let width = self.width();
        // A run takes less than this for each of its modules and the one beside it.
        let room = self.dark.len().saturating_mul(12);
        let mut path = Zeroizing::new(String::with_capacity(room));
        for row in 0..width {
            let mut column = 0;
            while column < width {
                let start = column;
                while column < width && self.is_dark(row, column) {
                    column = column.saturating_add(1);
                }
                let run = column.saturating_sub(start);
                if run > 0 {
                    // Writing to a String cannot fail.
                    let _ = write!(path, "M{start} {row}h{run}v1h-{run}z");
                }
                column = column.max(start.saturating_add(1));
            }
        }
        let (dark, light) = (self.brand.dark.in_css(), self.brand.light.in_css());
        let logo = self.logo_element()?;
        Ok(Zeroizing::new(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {width}\" role=\"img\" aria-label=\"QR code with the key\" \
             shape-rendering=\"crispEdges\"><rect width=\"{width}\" height=\"{width}\" fill=\"{light}\"/>\
             <path fill=\"{dark}\" d=\"{}\"/>{logo}</svg>\n",
            *path
        )))
    }

    fn logo_element(&self) -> Result<String, String> {
        let (Some(logo), Some((start, side))) = (&self.brand.logo, self.logo_square()) else {
            return Ok(String::new());
        };
        let mut bytes = Vec::new();
        let written = fitted(logo, LOGO_PIXELS).write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png);
        written.map_err(|error| error.to_string())?;
        Ok(format!(
            "<image x=\"{start}\" y=\"{start}\" width=\"{side}\" height=\"{side}\" href=\"data:image/png;base64,{}\"/>",
            BASE64.encode(&bytes)
        ))
    }
}

/// A logo in the middle of a square, with a rim of a tenth, as large as it fits.
fn fitted(logo: &RgbaImage, side: u32) -> RgbaImage {
    let room = side.saturating_sub(side / 5).max(1);
    let (width, height) = logo.dimensions();
    let longest = width.max(height).max(1);
    let scaled = |length: u32| {
        let scaled = u64::from(length).saturating_mul(room.into()).checked_div(longest.into()).unwrap_or(1);
        u32::try_from(scaled).unwrap_or(1).max(1)
    };
    let small = resize(logo, scaled(width), scaled(height), FilterType::Triangle);
    let mut square = RgbaImage::new(side, side);
    let middle = |length: u32| i64::from(side.saturating_sub(length) / 2);
    overlay(&mut square, &small, middle(small.width()), middle(small.height()));
    square
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::brand::Colour;

    const URI: &str = "otpauth://totp/Example:alice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Example";

    fn with_logo(colour: [u8; 4]) -> Brand {
        Brand { logo: Some(RgbaImage::from_pixel(64, 48, image::Rgba(colour))), ..Brand::plain() }
    }

    #[test]
    fn a_logo_takes_at_most_a_fifth_of_the_side_and_stands_in_the_middle() {
        for text in ["x", URI, &URI.repeat(3)] {
            let picture = Picture::of(text, &with_logo([255, 0, 0, 255])).unwrap();
            let (start, side) = picture.logo_square().unwrap();
            assert!(side * 5 <= picture.side && side % 2 == 1, "{side} of {}", picture.side);
            assert_eq!(start * 2 + side, picture.width());
        }
    }

    #[test]
    fn pixels_have_the_brands_colours_a_quiet_zone_and_the_logo() {
        let (dark, light) = (Colour([10, 20, 90]), Colour([250, 250, 240]));
        let brand = Brand { dark, light, ..with_logo([200, 0, 0, 255]) };
        let picture = Picture::of(URI, &brand).unwrap();
        let pixels = picture.pixels(4);
        let quiet = QUIET * 4;
        assert!((0..quiet).all(|at| pixels.get_pixel(at, at).0 == light.0));
        assert_eq!(pixels.get_pixel(quiet, quiet).0, dark.0);
        let middle = picture.width() * 2;
        assert_eq!(pixels.get_pixel(middle, middle).0, [200, 0, 0]);
    }

    #[test]
    fn shapes_and_pixels_are_the_same_picture() {
        let picture = Picture::of(URI, &Brand::plain()).unwrap();
        let svg = picture.svg().unwrap();
        let data = svg.split(" d=\"").nth(1).unwrap().split('"').next().unwrap();
        let mut drawn = vec![false; (picture.width() * picture.width()) as usize];
        for run in data.split('M').skip(1) {
            let numbers: Vec<u32> =
                run.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect();
            let [column, row, length, ..] = numbers[..] else { panic!("{run}") };
            (column..column + length).for_each(|column| drawn[(row * picture.width() + column) as usize] = true);
        }
        let pixels = picture.pixels(1);
        let dark: Vec<bool> = pixels.pixels().map(|pixel| pixel.0 == [0; 3]).collect();
        assert_eq!(drawn, dark);
        assert!(!svg.contains("secret") && !svg.contains("GEZD"));
    }
}
