//! Pictures of codes, as people are sent them and leave them lying around.

use std::path::Path;

use image::{GrayImage, Luma};
use qrcode::{Color, EcLevel, QrCode};

/// Modules of white around a code.
const QUIET: u32 = 4;

/// A code on white, so many pixels a module.
///
/// # Panics
/// Where the text is too long for a code.
pub fn code(text: &str, scale: u32) -> GrayImage {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).unwrap();
    let (side, colors) = (u32::try_from(code.width()).unwrap(), code.to_colors());
    let size = (side + 2 * QUIET) * scale;
    GrayImage::from_fn(size, size, |x, y| {
        let module = |at: u32| (at / scale).checked_sub(QUIET).filter(|at| *at < side);
        let dark = module(y).zip(module(x)).map(|(y, x)| colors[usize::try_from(y * side + x).unwrap()] == Color::Dark);
        Luma([if dark == Some(true) { 0 } else { 255 }])
    })
}

/// Writes a picture in the format that its name tells, `.jpg` or `.png`.
///
/// # Panics
/// Where it cannot be written.
pub fn write(picture: &GrayImage, path: impl AsRef<Path>) {
    picture.save(path).unwrap();
}
