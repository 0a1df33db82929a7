//! Pixels -> the texts of the QR codes among them.

use image::GrayImage;
use zeroize::Zeroizing;

/// The texts of the QR codes in a picture, in the order in which they are found. What a picture holds may be a key.
pub fn texts(picture: &GrayImage) -> Vec<Zeroizing<String>> {
    let side = |length: u32| usize::try_from(length).unwrap_or(0);
    let shade = |x: usize, y: usize| {
        let at = u32::try_from(x).ok().zip(u32::try_from(y).ok());
        at.and_then(|(x, y)| picture.get_pixel_checked(x, y)).map_or(255, |pixel| pixel.0[0])
    };
    let (width, height) = (side(picture.width()), side(picture.height()));
    let mut prepared = rqrr::PreparedImage::prepare_from_greyscale(width, height, shade);
    let grids = prepared.detect_grids();
    grids.iter().filter_map(|grid| grid.decode().ok()).map(|(_, text)| Zeroizing::new(text)).collect()
}
