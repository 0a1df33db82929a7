//! Pixels -> the texts of the QR codes among them.
//!
//! Pictures come from strangers. What is read here is bounded in size and pixels; what it costs in time is bounded by whoever
//! calls, in a process of its own.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::imageops::{self, FilterType};
use image::{DynamicImage, GrayImage, ImageFormat, ImageReader, Limits};
use zeroize::{Zeroize, Zeroizing};

/// Largest picture file that is read, in bytes.
pub const MOST_BYTES: u64 = 32 * 1024 * 1024;
/// Most pixels, 40 million: a sheet of A4 scanned at 600 dots an inch.
const MOST_PIXELS: u64 = 40_000_000;
/// Longest side, in pixels.
const LONGEST_SIDE: u32 = 20_000;
/// What the decoders may allocate.
const MOST_MEMORY: u64 = 256 * 1024 * 1024;
/// Sides to which large pictures are made smaller: noise goes, and codes of other sizes are found.
const SMALLER: [u32; 2] = [1000, 2000];
/// The largest picture that is looked at in its own size.
const OWN_SIZE: u32 = 4000;
/// Pictures smaller than that are made larger too.
const TINY: u32 = 500;
/// No code is smaller than this, in modules.
const LEAST_SIDE: u32 = 21;
/// Texts that are given out of one picture.
const MOST_TEXTS: usize = 64;

/// Whether a file begins like a picture that can be read here: PNG or JPEG, whatever its name is.
pub fn is_picture(head: &[u8]) -> bool {
    format_of(head).is_some()
}

fn format_of(head: &[u8]) -> Option<ImageFormat> {
    let is_jpeg = head.starts_with(b"\xff\xd8\xff");
    if head.starts_with(b"\x89PNG\r\n\x1a\n") { Some(ImageFormat::Png) } else { is_jpeg.then_some(ImageFormat::Jpeg) }
}

/// The texts of the QR codes in a picture file, each once. Rough pictures are tried in several sizes, and light on dark.
///
/// # Errors
/// A sentence that says why it cannot be looked at.
pub fn of_file(bytes: &[u8]) -> Result<Vec<Zeroizing<String>>, String> {
    let Some(mut picture) = decoded(bytes)? else { return Ok(Vec::new()) };
    let (mut found, mut is_hostile) = (Vec::new(), false);
    for mut sized in sizes(&picture) {
        is_hostile |= !add_texts(&mut found, &sized);
        imageops::invert(&mut sized);
        is_hostile |= !add_texts(&mut found, &sized);
        sized.iter_mut().for_each(Zeroize::zeroize);
    }
    picture.iter_mut().for_each(Zeroize::zeroize);
    found.truncate(MOST_TEXTS);
    if found.is_empty() && is_hostile {
        return Err("has something like a code that no reader gets through".to_owned());
    }
    Ok(found)
}

/// Adds what a picture holds, and gives whether the library came through: there are pictures by which its assertions fail.
fn add_texts(found: &mut Vec<Zeroizing<String>>, picture: &GrayImage) -> bool {
    let Ok(more) = catch_unwind(AssertUnwindSafe(|| texts(picture))) else { return false };
    for text in more {
        if !found.contains(&text) {
            found.push(text);
        }
    }
    true
}

/// `None` where it has too few pixels for any code.
fn decoded(bytes: &[u8]) -> Result<Option<GrayImage>, String> {
    let format = format_of(bytes).ok_or("is neither PNG nor JPEG")?;
    let reader = || {
        let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
        let mut limits = Limits::default();
        limits.max_image_width = Some(LONGEST_SIDE);
        limits.max_image_height = Some(LONGEST_SIDE);
        limits.max_alloc = Some(MOST_MEMORY);
        reader.limits(limits);
        reader
    };
    let damaged = |error: image::ImageError| match error {
        image::ImageError::Limits(_) => too_large(),
        _ => "is damaged, or of a kind that cannot be read".to_owned(),
    };
    let (width, height) = reader().into_dimensions().map_err(damaged)?;
    if u64::from(width).saturating_mul(u64::from(height)) > MOST_PIXELS {
        return Err(too_large());
    }
    if width < LEAST_SIDE || height < LEAST_SIDE {
        return Ok(None);
    }
    Ok(Some(on_white(reader().decode().map_err(damaged)?)))
}

fn too_large() -> String {
    format!("is too large: {} million pixels are the most", MOST_PIXELS / 1_000_000)
}

/// Grey; what shines through lies on white paper.
fn on_white(picture: DynamicImage) -> GrayImage {
    if !picture.color().has_alpha() {
        return picture.into_luma8();
    }
    let picture = picture.into_luma_alpha8();
    let mixed = |pixel: &image::LumaA<u8>| {
        let [shade, cover] = pixel.0.map(u32::from);
        let light = 255_u32.saturating_sub(cover).saturating_mul(255);
        let sum = shade.saturating_mul(cover).saturating_add(light);
        image::Luma([u8::try_from(sum / 255).unwrap_or(255)])
    };
    let mut grey = GrayImage::new(picture.width(), picture.height());
    for (to, from) in grey.pixels_mut().zip(picture.pixels()) {
        *to = mixed(from);
    }
    grey
}

/// The sizes in which a picture is tried, one at a time.
fn sizes(picture: &GrayImage) -> impl Iterator<Item = GrayImage> {
    let longest = picture.width().max(picture.height());
    let smaller = SMALLER.into_iter().filter(move |side| *side < longest).map(move |side| {
        let scaled = |length: u32| {
            let scaled = u64::from(length).saturating_mul(u64::from(side)).checked_div(u64::from(longest));
            scaled.and_then(|length| u32::try_from(length).ok()).unwrap_or(1).max(1)
        };
        imageops::thumbnail(picture, scaled(picture.width()), scaled(picture.height()))
    });
    let own = (longest <= OWN_SIZE).then(|| picture.clone());
    let larger = (longest < TINY).then_some(3_u32).into_iter().map(|times| {
        let (width, height) = (picture.width().saturating_mul(times), picture.height().saturating_mul(times));
        imageops::resize(picture, width, height, FilterType::Triangle)
    });
    own.into_iter().chain(larger).chain(smaller)
}

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

#[cfg(test)]
mod tests;
