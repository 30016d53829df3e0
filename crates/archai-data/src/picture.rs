//! Single images: decoding files as a data set asks for it, and fitting images to the size that the network sees.

mod fit;

use std::fs;
use std::io::Cursor;
use std::path::Path;

use archai_spec::settings::{self, Orientation, Resize};
use image::{
    ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage,
    RgbaImage,
};

use crate::dataset::{Image, MAX_SIDE};
use crate::error::DataError;
use crate::{jpeg, jpeg_scans, png};

pub(crate) use fit::recolour;
pub use fit::{check_sound, fit};

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
    // A table may name a device, of which there would be no end.
    if !found.is_file() {
        let found = "a folder, a device or a pipe";
        return Err(DataError::malformed(path, "its kind", "a file", found));
    }
    if found.len() > MAX_FILE {
        let expected = format!("at most {} MiB", MAX_FILE >> 20);
        let found = format!("{} bytes", found.len());
        return Err(DataError::malformed(path, "its length", expected, found));
    }
    fs::read(path).map_err(DataError::io("read", path))
}

/// Decodes a PNG, JPEG, WebP, BMP, GIF or TIFF file, whatever its name is: of several pictures in one file the first.
/// Channels of sixteen bits are rounded to eight (v to (v + 128) / 257, so that white stays white), palettes are looked up,
/// transparency is dropped. `path` and `at` say where the bytes come from, for messages.
///
/// # Errors
/// [`DataError::Malformed`] if the bytes are not such a file, or one that was cut off, or one that would take far more
/// memory than its length allows for.
pub fn decode(
    path: &Path,
    at: &dyn Fn() -> String,
    bytes: &[u8],
) -> Result<Image<'static>, DataError> {
    decoded(path, at, bytes).map(planes)
}

/// Decodes the pictures of one data set: what every reader of encoded pictures gives its bytes to.
///
/// ```
/// use archai_data::picture::Decoder;
/// use archai_spec::settings::{Dataset, Resize};
/// use std::path::Path;
///
/// let mut dataset = Dataset::shipped("cifar10")?;
/// dataset.resize = Resize::Crop;
/// let decoder = Decoder::new(&dataset);
/// let error = decoder.decode(Path::new("a.png"), &|| "byte 0".into(), b"no picture").unwrap_err();
/// assert!(error.to_string().contains("'a.png': at byte 0: expected a PNG, JPEG"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Decoder {
    orientation: Orientation,
    background: Option<[u8; 3]>,
    channels: usize,
    /// The size that images are fitted to; none where they keep theirs, for the pipeline.
    fitted: Option<[usize; 2]>,
}

impl Decoder {
    /// For the pictures of a data set.
    pub fn new(dataset: &settings::Dataset) -> Decoder {
        // A part of a picture that is chosen at random is chosen from all of it.
        let is_fitted = dataset.resize == Resize::Fit && dataset.random_resized_crop.is_none();
        Decoder {
            orientation: dataset.orientation,
            background: dataset.background,
            channels: dataset.channels,
            fitted: is_fitted.then_some(dataset.size),
        }
    }

    /// Whether images come out with their own size, for the pipeline to change.
    pub(crate) fn keeps_size(&self) -> bool {
        self.fitted.is_none()
    }

    /// Reads a picture file; see [`Decoder::decode`].
    ///
    /// # Errors
    /// [`DataError::Io`] if it cannot be read; as [`decode`].
    pub fn read(&self, path: impl AsRef<Path>) -> Result<Image<'static>, DataError> {
        let path = path.as_ref();
        self.decode(path, &|| "byte 0".to_owned(), &bytes(path)?)
    }

    /// Decodes a picture as [`decode`] does, turns it (`dataset.orientation`), lays it over `dataset.background` and gives it
    /// `dataset.channels`. It keeps its size, which [`Pipeline`](crate::Pipeline) changes, unless it is one that takes no more
    /// than [`fit`].
    ///
    /// # Errors
    /// As [`decode`].
    pub fn decode(
        &self,
        path: &Path,
        at: &dyn Fn() -> String,
        bytes: &[u8],
    ) -> Result<Image<'static>, DataError> {
        let mut image = decoded(path, at, bytes)?;
        if self.orientation == Orientation::Exif {
            let mut decoder = reader(bytes, format(path, at, bytes)?)
                .into_decoder()
                .map_err(|error| undecodable(path, at, &error))?;
            let orientation = decoder
                .orientation()
                .map_err(|error| undecodable(path, at, &error))?;
            image.apply_orientation(orientation);
        }
        let image = planes(match self.background {
            Some(background) => laid_over(image, background),
            None => image,
        });
        match self.fitted {
            Some(size) => fit(path, at, image, self.channels, size),
            None => Ok(recolour(image, self.channels)),
        }
    }
}

fn decoded(path: &Path, at: &dyn Fn() -> String, bytes: &[u8]) -> Result<DynamicImage, DataError> {
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
    Ok(image)
}

/// The image with a colour below its transparent pixels, each value rounded to the nearest. A picture without transparency
/// stays as it is; a grey one stays grey if the colour is.
fn laid_over(image: DynamicImage, background: [u8; 3]) -> DynamicImage {
    if !image.color().has_alpha() {
        return image;
    }
    let is_grey = !image.color().has_color() && background.iter().all(|c| *c == background[0]);
    let rgba: RgbaImage = image.into_rgba8();
    let mut rgb = RgbImage::new(rgba.width(), rgba.height());
    for (to, from) in rgb.pixels_mut().zip(rgba.pixels()) {
        let [colour @ .., alpha] = from.0;
        for ((to, from), below) in to.0.iter_mut().zip(colour).zip(background) {
            *to = blended(below, from, alpha);
        }
    }
    match is_grey {
        // All three channels are equal.
        true => {
            let pixels = rgb.pixels().map(|pixel| pixel.0[0]).collect();
            let (width, height) = rgb.dimensions();
            match image::GrayImage::from_raw(width, height, pixels) {
                Some(grey) => grey.into(),
                None => rgb.into(),
            }
        }
        false => rgb.into(),
    }
}

/// `alpha` of 255 parts of `above`, the rest of `below`, to the nearest.
fn blended(below: u8, above: u8, alpha: u8) -> u8 {
    let alpha = u32::from(alpha);
    let sum = u32::from(below) * (255 - alpha) + u32::from(above) * alpha;
    ((sum + 127) / 255) as u8
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

/// What the first bytes of a picture say of it.
pub(crate) struct Header {
    /// Height and width of the pixels as they lie.
    pub size: [usize; 2],
    /// The kind of file: `PNG`, `JPEG`, ….
    pub kind: &'static str,
    pub colour: ColorType,
    /// How the camera was held.
    pub orientation: image::metadata::Orientation,
}

/// Reads what a picture says of itself, without its pixels.
///
/// # Errors
/// As [`decode`].
pub(crate) fn header(
    path: &Path,
    at: &dyn Fn() -> String,
    bytes: &[u8],
) -> Result<Header, DataError> {
    let format = format(path, at, bytes)?;
    let unfit = |error: ImageError| undecodable(path, at, &error);
    let mut decoder = reader(bytes, format).into_decoder().map_err(unfit)?;
    let (width, height) = decoder.dimensions();
    Ok(Header {
        size: [height as usize, width as usize],
        kind: match format {
            ImageFormat::Png => "PNG",
            ImageFormat::Jpeg => "JPEG",
            ImageFormat::WebP => "WebP",
            ImageFormat::Bmp => "BMP",
            ImageFormat::Gif => "GIF",
            _ => "TIFF",
        },
        colour: decoder.color_type(),
        // A damaged tag is no reason to refuse a picture.
        orientation: decoder
            .orientation()
            .unwrap_or(image::metadata::Orientation::NoTransforms),
    })
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

#[cfg(test)]
mod tests {
    use image::Luma;

    use super::*;

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
