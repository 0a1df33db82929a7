//! How printed pictures look: colours and a logo, and what makes them readable.

use std::io::Cursor;
use std::path::Path;

use image::{ImageReader, Limits, RgbaImage};
use qrtotp_core::files::read_public;
use qrtotp_core::policy::Brand as Settings;

/// The least contrast of dark and light: what WCAG 2 asks of text (level AA).
pub const CONTRAST: f64 = 4.5;
/// Largest logo: bytes of the file, and pixels of a side.
const MOST: usize = 1024 * 1024;
const SIDE: u32 = 2048;

/// A colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Colour(pub [u8; 3]);

impl Colour {
    /// Black.
    pub const BLACK: Self = Self([0; 3]);
    /// White.
    pub const WHITE: Self = Self([255; 3]);

    /// Reads `#1a2b3c`.
    pub fn parse(text: &str) -> Option<Self> {
        let digits =
            text.strip_prefix('#').filter(|rest| rest.len() == 6 && rest.bytes().all(|b| b.is_ascii_hexdigit()))?;
        let number = u32::from_str_radix(digits, 16).ok()?;
        let [_, red, green, blue] = number.to_be_bytes();
        Some(Self([red, green, blue]))
    }

    /// `#1a2b3c`
    pub fn in_css(self) -> String {
        let [red, green, blue] = self.0;
        format!("#{red:02x}{green:02x}{blue:02x}")
    }

    /// Relative luminance (WCAG 2), 0 to 1.
    pub fn luminance(self) -> f64 {
        let linear = |value: u8| {
            let value = f64::from(value) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        let [red, green, blue] = self.0.map(linear);
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }

    /// The contrast of two colours (WCAG 2), 1 to 21.
    pub fn contrast(self, other: Self) -> f64 {
        let (one, other) = (self.luminance(), other.luminance());
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }
}

/// How pictures look.
#[derive(Clone)]
pub struct Brand {
    /// The name on cards; `None`: the issuer of the codes.
    pub issuer: Option<String>,
    /// The dark modules.
    pub dark: Colour,
    /// The ground.
    pub light: Colour,
    /// What stands in the middle.
    pub logo: Option<RgbaImage>,
}

impl Brand {
    /// Black on white, without a logo.
    pub fn plain() -> Self {
        Self { issuer: None, dark: Colour::BLACK, light: Colour::WHITE, logo: None }
    }

    /// Reads the colours and the logo that the policy names. Whether they can be used is for [`Brand::wrong`] to say.
    ///
    /// # Errors
    /// A sentence.
    pub fn load(settings: &Settings) -> Result<Self, String> {
        let colour = |text: &str| Colour::parse(text).ok_or_else(|| format!("{text:?} is no colour"));
        let logo = settings.logo.as_deref().map(logo).transpose()?;
        let issuer = settings.issuer.clone();
        Ok(Self { issuer, dark: colour(&settings.dark)?, light: colour(&settings.light)?, logo })
    }

    /// What keeps these colours from being used.
    pub fn wrong(&self) -> Option<String> {
        let contrast = self.dark.contrast(self.light);
        if self.dark.luminance() >= self.light.luminance() {
            return Some("brand.dark is not darker than brand.light; many readers know dark on light only".to_owned());
        }
        // Cut off, not rounded: what is too little must not read as enough.
        let shown = (contrast * 100.0).floor() / 100.0;
        (contrast < CONTRAST).then(|| {
            format!(
                "brand.dark and brand.light have a contrast of {shown:.2} to 1; it must be at least {CONTRAST} to 1"
            )
        })
    }
}

/// A PNG file of root's.
fn logo(file: &Path) -> Result<RgbaImage, String> {
    let fail = |what: &str| format!("brand.logo: {}: {what}", file.display());
    let bytes = read_public(file, MOST).map_err(|trouble| format!("brand.logo: {trouble}"))?;
    let bytes = bytes.ok_or_else(|| fail("is missing"))?;
    let mut reader = ImageReader::with_format(Cursor::new(bytes.as_slice()), image::ImageFormat::Png);
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(SIDE), Some(SIDE));
    reader.limits(limits);
    let picture =
        reader.decode().map_err(|error| fail(&format!("is no PNG picture of at most {SIDE} pixels: {error}")))?;
    Ok(picture.to_rgba8())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contrast_is_reckoned_as_wcag_does() {
        let of = |one: &str, other: &str| Colour::parse(one).unwrap().contrast(Colour::parse(other).unwrap());
        assert!((of("#000000", "#ffffff") - 21.0).abs() < 1e-9);
        assert!((of("#777777", "#ffffff") - 4.478).abs() < 1e-3);
        assert!((of("#ffffff", "#767676") - 4.542).abs() < 1e-3);
    }

    #[test]
    fn pale_colours_and_light_on_dark_are_refused() {
        let wrong = |dark: &str, light: &str| {
            let (dark, light) = (Colour::parse(dark).unwrap(), Colour::parse(light).unwrap());
            Brand { dark, light, ..Brand::plain() }.wrong()
        };
        assert_eq!(wrong("#000000", "#ffffff"), None);
        assert!(wrong("#777777", "#ffffff").unwrap().contains("4.47 to 1; it must be"));
        assert!(wrong("#ffffff", "#000000").unwrap().contains("not darker"));
        assert!(
            ["", "#12345", "#1234567", "123456", "#12345g", "#+12345"].iter().all(|text| Colour::parse(text).is_none())
        );
    }
}
