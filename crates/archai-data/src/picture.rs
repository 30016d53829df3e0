//! Single images: decoding files and fitting images to the size that the network sees.

use std::borrow::Cow;
use std::fs;
use std::io::Cursor;
use std::path::Path;

use image::imageops::{self, FilterType};
use image::{
    ColorType, DynamicImage, ImageBuffer, ImageError, ImageFormat, ImageReader, Limits, Luma,
};

use crate::dataset::{Image, MAX_SIDE};
use crate::error::DataError;
use crate::{jpeg, jpeg_scans, png};

/// What the pixels of a file may take, however small it is.
const PIXELS_FLOOR: u64 = 16 << 20;

/// How many times its size the pixels of a larger file may take. Photographs reach 30; the formats could reach thousands.
const PIXELS_RATIO: u64 = 256;

/// The formats that are read.
const FORMATS: [ImageFormat; 6] = [
    ImageFormat::Png,
    ImageFormat::Jpeg,
    ImageFormat::WebP,
    ImageFormat::Bmp,
    ImageFormat::Gif,
    ImageFormat::Tiff,
];

/// Largest file that is read.
const MAX_FILE: u64 = 256 << 20;

/// Reads a picture file; see [`decode`].
///
/// # Errors
/// [`DataError::Io`] if it cannot be read; as [`decode`].
pub fn read(path: impl AsRef<Path>) -> Result<Image<'static>, DataError> {
    let path = path.as_ref();
    decode(path, &|| "byte 0".to_owned(), &bytes(path)?)
}

/// Whether these first bytes of a file are those of a picture of a kind that [`read`] reads.
pub fn is_picture(beginning: &[u8]) -> bool {
    image::guess_format(beginning).is_ok_and(|format| FORMATS.contains(&format))
}

/// The bytes of a file that may be a picture.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>, DataError> {
    let found = fs::metadata(path).map_err(DataError::io("read", path))?;
    if found.len() > MAX_FILE {
        let expected = format!("at most {} MiB", MAX_FILE >> 20);
        let found = format!("{} bytes", found.len());
        return Err(DataError::malformed(path, "its length", expected, found));
    }
    fs::read(path).map_err(DataError::io("read", path))
}

/// Decodes a PNG, JPEG, WebP, BMP, GIF or TIFF file, whatever its name is: of several pictures in one file the first.
/// Channels of sixteen bits are rounded to eight, palettes are looked up, transparency is dropped. `path` and `at` say where
/// the bytes come from, for messages.
///
/// # Errors
/// [`DataError::Malformed`] if the bytes are not such a file, or one that was cut off, or one that would take far more
/// memory than its length allows for.
pub fn decode(
    path: &Path,
    at: &dyn Fn() -> String,
    bytes: &[u8],
) -> Result<Image<'static>, DataError> {
    let format = format(path, at, bytes)?;
    let image = reader(bytes, format)
        .decode()
        .map_err(|error| undecodable(path, at, &error))?;
    if format == ImageFormat::Jpeg && !jpeg::is_whole(bytes) {
        return Err(cut_off(path, at));
    }
    if matches!(image.color(), ColorType::Rgb32F | ColorType::Rgba32F) {
        let found = "one whose pixels are fractions, of which no scale is known";
        return Err(damaged(path, at, found));
    }
    Ok(planes(image))
}

/// What can be seen of a picture without keeping its pixels: that it is one, that its sides are not too long, that it is
/// whole, that no part of a PNG that matters has changed, and that a JPEG holds as many data as its picture needs. For these
/// two formats it costs less than decoding; files of the others, which are rare in data sets, are decoded.
///
/// # Errors
/// As [`decode`].
pub fn check(path: &Path, at: &dyn Fn() -> String, bytes: &[u8]) -> Result<(), DataError> {
    let format = format(path, at, bytes)?;
    let (width, height) = reader(bytes, format)
        .into_dimensions()
        .map_err(|error| undecodable(path, at, &error))?;
    if width.max(height) as usize > MAX_SIDE || width.min(height) == 0 {
        let expected = format!("an image of 1 to {MAX_SIDE} pixels a side");
        let found = format!("{height} x {width} (height, width)");
        return Err(DataError::malformed(path, at(), expected, found));
    }
    match format {
        ImageFormat::Jpeg if !jpeg::is_whole(bytes) => Err(cut_off(path, at)),
        ImageFormat::Jpeg => match jpeg_scans::damage(bytes) {
            None => Ok(()),
            Some(what) => {
                let found = format!("a JPEG image that is damaged: {what}");
                Err(damaged(path, at, found))
            }
        },
        ImageFormat::Png if png::is_sound(bytes) => Ok(()),
        ImageFormat::Png => Err(damaged(path, at, "a PNG image that was cut off or changed")),
        _ => decode(path, at, bytes).map(drop),
    }
}

/// Checks by its first bytes that a file is a picture.
pub(crate) fn check_kind(
    path: &Path,
    at: &dyn Fn() -> String,
    beginning: &[u8],
) -> Result<(), DataError> {
    format(path, at, beginning).map(drop)
}

/// Which of the formats that are read the bytes are, by their first ones.
fn format(path: &Path, at: &dyn Fn() -> String, bytes: &[u8]) -> Result<ImageFormat, DataError> {
    let found = match image::guess_format(bytes) {
        Ok(format) if FORMATS.contains(&format) => return Ok(format),
        Ok(other) => {
            return Err(DataError::Malformed {
                path: path.to_owned(),
                at: at(),
                expected: EXPECTED.into(),
                found: format!("a {other:?} image"),
                mend: "this program does not read such images: convert it, or move it elsewhere"
                    .into(),
            });
        }
        Err(_) if bytes.is_empty() => "nothing".to_owned(),
        Err(_) => format!("bytes {:02x?}", &bytes[..bytes.len().min(8)]),
    };
    Err(DataError::Malformed {
        path: path.to_owned(),
        at: at(),
        expected: EXPECTED.into(),
        found,
        mend: NO_PICTURE.into(),
    })
}

/// What every picture must be.
const EXPECTED: &str = "a PNG, JPEG, WebP, BMP, GIF or TIFF image";

/// What to do about a file that is no picture.
const NO_PICTURE: &str = "if it is no picture, move it elsewhere; if it is damaged, get it again, or set dataset.on_damaged to \
     `skip` to go on without it";

/// What to do about a picture that is damaged.
const DAMAGED: &str =
    "get it again, or set dataset.on_damaged to `skip` to go on without what is damaged";

fn reader(bytes: &[u8], format: ImageFormat) -> ImageReader<Cursor<&[u8]>> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE as u32);
    limits.max_image_height = Some(MAX_SIDE as u32);
    let most = (bytes.len() as u64).saturating_mul(PIXELS_RATIO);
    limits.max_alloc = Some(most.clamp(PIXELS_FLOOR, 1 << 30));
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    reader
}

fn damaged(path: &Path, at: &dyn Fn() -> String, found: impl Into<String>) -> DataError {
    DataError::Malformed {
        path: path.to_owned(),
        at: at(),
        expected: EXPECTED.into(),
        found: found.into(),
        mend: DAMAGED.into(),
    }
}

fn undecodable(path: &Path, at: &dyn Fn() -> String, error: &ImageError) -> DataError {
    damaged(path, at, format!("one that cannot be decoded ({error})"))
}

fn cut_off(path: &Path, at: &dyn Fn() -> String) -> DataError {
    let found = "a JPEG image that was cut off: its end-of-image marker is missing";
    damaged(path, at, found)
}

fn planes(image: DynamicImage) -> Image<'static> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    if image.color().has_color() {
        let rgb = image.into_rgb8();
        let mut pixels = Vec::with_capacity(3 * height * width);
        for channel in 0..3 {
            pixels.extend(rgb.pixels().map(|pixel| pixel.0[channel]));
        }
        Image {
            pixels: pixels.into(),
            channels: 3,
            height,
            width,
        }
    } else {
        Image {
            pixels: image.into_luma8().into_raw().into(),
            channels: 1,
            height,
            width,
        }
    }
}

/// The image with `channels` (1 or 3) and `size` (height, width, at least 1). Grey is repeated, colours are averaged; sides
/// that are too long are scaled down (triangle filter over all covered pixels), each on its own, sides that are too short are
/// padded with zeros on both ends, the odd pixel at the end. `path` and `at` say where the image comes from, for messages.
///
/// # Errors
/// [`DataError::Malformed`] if the image has no pixels, other than 1 or 3 channels, or not one byte for each pixel and
/// channel.
pub fn fit<'a>(
    path: &Path,
    at: &dyn Fn() -> String,
    image: Image<'a>,
    channels: usize,
    size: [usize; 2],
) -> Result<Image<'a>, DataError> {
    let bytes = [image.height, image.width]
        .into_iter()
        .try_fold(image.channels, usize::checked_mul);
    let is_sound = [1, 3].contains(&image.channels) && !image.pixels.is_empty();
    if !is_sound || bytes != Some(image.pixels.len()) {
        let found = format!(
            "{} bytes for {} channels of {} x {} pixels (height, width)",
            image.pixels.len(),
            image.channels,
            image.height,
            image.width
        );
        let expected = "an image of 1 or 3 channels with one byte for each channel of each pixel";
        return Err(DataError::malformed(path, at(), expected, found));
    }
    Ok(pad(shrink(recolour(image, channels), size), size))
}

fn recolour(image: Image<'_>, channels: usize) -> Image<'_> {
    if image.channels == channels {
        return image;
    }
    let plane = image.height * image.width;
    let grey: Vec<u8> = (0..plane)
        .map(|i| {
            let sum: usize = (0..image.channels)
                .map(|c| usize::from(image.pixels[c * plane + i]))
                .sum();
            ((sum + image.channels / 2) / image.channels) as u8
        })
        .collect();
    Image {
        pixels: grey.repeat(channels).into(),
        channels,
        ..image
    }
}

fn shrink(image: Image<'_>, [height, width]: [usize; 2]) -> Image<'_> {
    let (height, width) = (height.min(image.height), width.min(image.width));
    if (height, width) == (image.height, image.width) {
        return image;
    }
    let mut pixels = Vec::with_capacity(image.channels * height * width);
    for plane in image.pixels.chunks_exact(image.height * image.width) {
        let plane: Option<ImageBuffer<Luma<u8>, &[u8]>> =
            ImageBuffer::from_raw(image.width as u32, image.height as u32, plane);
        if let Some(plane) = plane {
            pixels.extend(
                imageops::resize(&plane, width as u32, height as u32, FilterType::Triangle)
                    .into_raw(),
            );
        }
    }
    Image {
        pixels: pixels.into(),
        channels: image.channels,
        height,
        width,
    }
}

fn pad(image: Image<'_>, [height, width]: [usize; 2]) -> Image<'_> {
    if (height, width) == (image.height, image.width) {
        return image;
    }
    let (top, left) = ((height - image.height) / 2, (width - image.width) / 2);
    let mut pixels = vec![0; image.channels * height * width];
    for (row, line) in image.pixels.chunks_exact(image.width).enumerate() {
        let (channel, row) = (row / image.height, row % image.height);
        let start = (channel * height + top + row) * width + left;
        pixels[start..start + image.width].copy_from_slice(line);
    }
    Image {
        pixels: Cow::Owned(pixels),
        channels: image.channels,
        height,
        width,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(channels: usize, height: usize, width: usize, pixels: &[u8]) -> Image<'_> {
        assert_eq!(pixels.len(), channels * height * width);
        Image {
            pixels: pixels.into(),
            channels,
            height,
            width,
        }
    }

    #[test]
    fn fitting() {
        let check = |from: Image<'_>, channels, size, expect: &[u8]| {
            let fitted = fit(Path::new("a"), &|| "row 1".into(), from, channels, size).unwrap();
            assert_eq!(
                (fitted.channels, [fitted.height, fitted.width]),
                (channels, size)
            );
            assert_eq!(&*fitted.pixels, expect);
        };
        // As it is; grey repeated; colours averaged to the nearest.
        check(image(1, 2, 2, &[1, 2, 3, 4]), 1, [2, 2], &[1, 2, 3, 4]);
        check(image(1, 1, 2, &[1, 2]), 3, [1, 2], &[1, 2, 1, 2, 1, 2]);
        check(
            image(3, 1, 2, &[1, 255, 2, 255, 5, 254]),
            1,
            [1, 2],
            &[3, 255],
        );
        // Padded on all sides, per channel; the odd pixel at the end.
        check(
            image(1, 1, 1, &[9]),
            1,
            [3, 3],
            &[0, 0, 0, 0, 9, 0, 0, 0, 0],
        );
        check(image(1, 1, 1, &[9]), 1, [2, 2], &[9, 0, 0, 0]);
        check(
            image(3, 1, 1, &[7, 8, 9]),
            3,
            [1, 3],
            &[0, 7, 0, 0, 8, 0, 0, 9, 0],
        );
        // Scaled down: a flat image stays flat, in each channel.
        check(
            image(3, 4, 4, &[[5; 16], [6; 16], [7; 16]].concat()),
            3,
            [2, 2],
            &[5, 5, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7],
        );
        // One side too long, the other too short.
        check(image(1, 1, 4, &[8; 4]), 1, [3, 2], &[0, 0, 8, 8, 0, 0]);
    }

    #[test]
    fn images_that_are_not_what_they_claim() {
        let check = |[channels, height, width]: [usize; 3], n: usize| {
            let image = Image {
                pixels: vec![0; n].into(),
                channels,
                height,
                width,
            };
            let at = || "row 7".to_owned();
            let error = fit(Path::new("a.bin"), &at, image, 3, [2, 2]).unwrap_err();
            let expect = format!(
                "'a.bin': at row 7: expected an image of 1 or 3 channels with one byte for each channel of each pixel, \
                 found {n} bytes for {channels} channels of {height} x {width} pixels"
            );
            assert!(error.to_string().starts_with(&expect), "{error}");
        };
        check([1, 2, 2], 3);
        check([3, 2, 2], 13);
        check([0, 2, 2], 0);
        check([1, 0, 2], 0);
        check([2, 2, 2], 8);
        check([1, usize::MAX, 2], 4);
    }

    #[test]
    fn decoding() {
        let path = Path::new("a.png");
        let bytes = |image: DynamicImage, format| {
            let mut bytes = Cursor::new(Vec::new());
            image.write_to(&mut bytes, format).unwrap();
            bytes.into_inner()
        };
        let rgb = image::RgbImage::from_fn(2, 3, |x, y| image::Rgb([x as u8, y as u8, 100]));
        let decoded = decode(
            path,
            &|| "row 1".into(),
            &bytes(rgb.clone().into(), ImageFormat::Png),
        )
        .unwrap();
        assert_eq!((decoded.channels, decoded.height, decoded.width), (3, 3, 2));
        assert_eq!(
            *decoded.pixels,
            [
                0, 1, 0, 1, 0, 1, 0, 0, 1, 1, 2, 2, 100, 100, 100, 100, 100, 100
            ]
        );
        let grey = image::GrayImage::from_raw(2, 1, vec![3, 250]).unwrap();
        let decoded = decode(
            path,
            &|| "row 1".into(),
            &bytes(grey.into(), ImageFormat::Png),
        )
        .unwrap();
        assert_eq!((decoded.channels, &*decoded.pixels), (1, &[3, 250][..]));
        let jpeg = bytes(
            image::GrayImage::from_pixel(8, 8, Luma([90])).into(),
            ImageFormat::Jpeg,
        );
        let decoded = decode(path, &|| "row 1".into(), &jpeg).unwrap();
        assert!(decoded.pixels.iter().all(|&p| p.abs_diff(90) <= 1));

        let png = bytes(rgb.into(), ImageFormat::Png);
        for damaged in [
            &b""[..],
            b"GIF89a",
            b"P6 1 1 255 abc",
            b"hello world",
            &png[..png.len() / 2],
            &jpeg[..20],
            &jpeg[..jpeg.len() - 1],
        ] {
            let error = decode(path, &|| "row 7".into(), damaged)
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(
                    "'a.png': at row 7: expected a PNG, JPEG, WebP, BMP, GIF or TIFF image"
                ),
                "{error}"
            );
        }
    }
}
