//! Reads a picture back before anybody prints it.

use image::GrayImage;
use image::imageops::{FilterType, blur, grayscale, resize};

use zeroize::Zeroize;

use crate::draw::Picture;
use crate::read::texts;

/// Pixels of a module at which a picture must be readable: a small one on a screen, a printed card, a poster.
pub const SCALES: [u32; 3] = [5, 8, 12];
/// How much a picture is blurred, in parts of a module: a camera that is not quite sharp.
pub const BLUR: f32 = 0.25;

/// One look at a picture.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Look {
    /// Pixels of a module.
    pub scale: u32,
    /// Whether it was blurred.
    pub is_blurred: bool,
    /// Whether the text was read, and no other.
    pub is_read: bool,
}

/// Looks at a picture in every way that it must bear.
pub fn looks(picture: &Picture, text: &str) -> Vec<Look> {
    let mut looks = Vec::new();
    for scale in SCALES {
        let mut drawn = picture.pixels(scale);
        let sharp = grayscale(&drawn);
        drawn.iter_mut().for_each(Zeroize::zeroize);
        let blurred = blur(&sharp, scale as f32 * BLUR);
        for (mut pixels, is_blurred) in [(sharp, false), (blurred, true)] {
            let mut parted = parted(&pixels);
            let is_read = reads(&pixels, text) || reads(&parted, text);
            [&mut pixels, &mut parted].into_iter().flat_map(|one| one.iter_mut()).for_each(Zeroize::zeroize);
            looks.push(Look { scale, is_blurred, is_read });
        }
    }
    looks
}

fn reads(pixels: &GrayImage, text: &str) -> bool {
    matches!(texts(pixels).as_slice(), [only] if only.as_str() == text)
}

/// Twice as large, then black and white, parted in the middle between the darkest and the lightest, as readers do in even
/// light.
fn parted(pixels: &GrayImage) -> GrayImage {
    let (width, height) = (pixels.width().saturating_mul(2), pixels.height().saturating_mul(2));
    let pixels = resize(pixels, width, height, FilterType::Triangle);
    let shades = || pixels.pixels().map(|pixel| u16::from(pixel.0[0]));
    let (darkest, lightest) = (shades().min().unwrap_or(0), shades().max().unwrap_or(0));
    let middle = darkest.saturating_add(lightest) / 2;
    let mut parted = pixels.clone();
    parted.pixels_mut().for_each(|pixel| pixel.0 = [if u16::from(pixel.0[0]) < middle { 0 } else { 255 }]);
    parted
}

/// Makes sure that a picture can be read.
///
/// # Errors
/// A sentence that says how it could not, and what to change.
pub fn prove(picture: &Picture, text: &str) -> Result<(), String> {
    match looks(picture, text).iter().find(|look| !look.is_read) {
        None => Ok(()),
        Some(look) => Err(format!(
            "the picture could not be read back at {} pixels a module{}; try other colours or another logo: qrtotp brand check",
            look.scale,
            if look.is_blurred { ", slightly blurred" } else { "" }
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::brand::{Brand, Colour};
    use image::RgbaImage;

    const URI: &str = "otpauth://totp/Example%20Organisation:alice@example.org?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Example%20Organisation";

    #[test]
    fn plain_and_branded_pictures_are_read_back_in_every_way() {
        let logo = |colour: [u8; 4]| Some(RgbaImage::from_pixel(90, 60, image::Rgba(colour)));
        let brands = [
            Brand::plain(),
            Brand { logo: logo([220, 30, 30, 255]), ..Brand::plain() },
            Brand {
                logo: logo([0, 0, 0, 255]),
                dark: Colour([0, 51, 102]),
                light: Colour([255, 250, 240]),
                ..Brand::plain()
            },
            Brand { dark: Colour([0x76, 0x76, 0x76]), ..Brand::plain() },
        ];
        for brand in brands {
            let picture = Picture::of(URI, &brand).unwrap();
            assert_eq!(prove(&picture, URI), Ok(()), "{:?} {}", brand.dark, brand.logo.is_some());
        }
    }

    #[test]
    fn other_keys_can_be_printed_too() {
        let logo = Some(RgbaImage::from_pixel(60, 60, image::Rgba([0, 102, 153, 255])));
        for brand in [Brand::plain(), Brand { logo, ..Brand::plain() }] {
            for number in 0..5_u32 {
                let key = (0..32_u32).map(|at| char::from(b'A' + ((number * 7919 + at * at * 31 + at * 7) % 26) as u8));
                let uri = URI.replace("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", &key.collect::<String>());
                let picture = Picture::of(&uri, &brand).unwrap();
                assert_eq!(prove(&picture, &uri), Ok(()), "{uri}");
            }
        }
    }

    #[test]
    fn what_reads_as_something_else_is_refused() {
        let picture = Picture::of(URI, &Brand::plain()).unwrap();
        let other = URI.replace("alice", "mallory");
        assert!(prove(&picture, &other).unwrap_err().contains("at 5 pixels a module"));
    }
}
