//! Pictures of a data set on one sheet: samples of each class before and after what a training does to them, and the many
//! ways in which a training sees one picture.

use std::io::Cursor;

use archai_spec::settings;
pub use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{self, FilterType};
use image::{ImageFormat, Rgb};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

use crate::dataset::{Dataset, Image};
use crate::error::DataError;
use crate::picture;
use crate::rng::Key;
use crate::survey::Opened;
use crate::transform::{Pipeline, Transforms};

/// Side of a picture on the sheet, and the space between two.
const CELL: u32 = 96;
const GAP: u32 = 8;
/// Space around everything, and between the two halves.
const MARGIN: u32 = 28;
/// Width of the names of classes.
const NAMES: u32 = 168;
/// Height of what stands above the pictures.
const HEAD: u32 = 84;

const PAPER: Rgb<u8> = Rgb([255, 255, 255]);
const FRAME: Rgb<u8> = Rgb([240, 241, 243]);
const INK: Rgb<u8> = Rgb([31, 41, 55]);
const PALE: Rgb<u8> = Rgb([107, 114, 128]);

/// Most classes on a sheet; of more, as many from the beginning.
const ROWS: usize = 24;

/// The samples of a class that a sheet shows.
const SAMPLES: usize = 4;

/// What a training does to images: the transforms, and the side of the square that cutout takes away.
#[derive(Clone, Copy)]
pub struct Augmentation<'a> {
    /// All transforms that may be named.
    pub transforms: &'a Transforms,
    /// `loader.cutout`.
    pub cutout: usize,
}

/// A sheet with samples of each class: as they are in their files, and as a training sees them. The same pictures each time.
///
/// # Errors
/// Pictures that cannot be read, settings that do not fit.
pub fn classes(opened: &Opened, augmentation: Augmentation<'_>) -> Result<RgbImage, DataError> {
    let pipeline = pipeline(opened, augmentation)?;
    let classes = opened.classes();
    let mut rows = Vec::new();
    for (label, class) in classes.iter().enumerate().take(ROWS) {
        let mut own: Vec<usize> = (0..opened.train.len())
            .filter(|&index| opened.train.label(index) as usize == label)
            .collect();
        key().with("class").with(label).rng().shuffle(&mut own);
        own.truncate(SAMPLES);
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for index in own {
            before.push(original(&*opened.train, index)?);
            after.push(pipeline.draw(&*opened.train, index, 0)?);
        }
        rows.push(Row {
            name: class.name.clone(),
            note: match class.train {
                1 => "1 picture".to_owned(),
                n => format!("{n} pictures"),
            },
            halves: [before, after],
        });
    }
    let more = match classes.len() > ROWS {
        true => format!(", the first {ROWS} of {} classes", classes.len()),
        false => format!(", {} classes", classes.len()),
    };
    Ok(Sheet {
        title: opened.section.name.clone(),
        about: format!("{} training images{more}", opened.train.len()),
        heads: [
            "in their files".to_owned(),
            format!("in a training: {}", pipeline.about()),
        ],
        columns: [SAMPLES, SAMPLES],
        rows,
    }
    .paint())
}

/// A sheet with `pictures` pictures, each as it is and in `draws` of the ways in which a training sees it.
///
/// # Errors
/// Pictures that cannot be read, settings that do not fit.
pub fn draws(
    opened: &Opened,
    augmentation: Augmentation<'_>,
    pictures: usize,
    draws: usize,
) -> Result<RgbImage, DataError> {
    let pipeline = pipeline(opened, augmentation)?;
    let names = opened.classes();
    let mut all: Vec<usize> = (0..opened.train.len()).collect();
    key().with("draws").rng().shuffle(&mut all);
    let mut rows = Vec::new();
    for &index in all.iter().take(pictures) {
        let name = names.get(opened.train.label(index) as usize);
        let after: Result<Vec<RgbImage>, DataError> = (0..draws)
            .map(|draw| pipeline.draw(&*opened.train, index, draw))
            .collect();
        rows.push(Row {
            name: name.map_or_else(String::new, |class| class.name.clone()),
            note: format!("image {index}"),
            halves: [vec![original(&*opened.train, index)?], after?],
        });
    }
    Ok(Sheet {
        title: opened.section.name.clone(),
        about: "what a training sees of one picture".to_owned(),
        heads: ["file".to_owned(), pipeline.about()],
        columns: [1, draws],
        rows,
    }
    .paint())
}

/// A sheet as the bytes of a PNG file.
///
/// # Errors
/// Memory that does not suffice.
pub fn png(sheet: &RgbImage) -> Result<Vec<u8>, DataError> {
    let mut bytes = Cursor::new(Vec::new());
    let written = sheet.write_to(&mut bytes, ImageFormat::Png);
    written.map_err(not_drawn("sheet"))?;
    Ok(bytes.into_inner())
}

/// A small picture as the bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thumbnail {
    /// What kind of file it is: `image/png` or `image/jpeg`.
    pub kind: &'static str,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its width in pixels.
    pub width: u32,
    /// Its height in pixels.
    pub height: u32,
}

/// A picture of a data set before anything is done to it, scaled down so that no side is longer than `side`: as PNG where it is
/// small already and takes few bytes so, for then each pixel stays what it is, else as JPEG.
///
/// # Errors
/// A picture that cannot be read.
pub fn thumbnail(data: &dyn Dataset, index: usize, side: u32) -> Result<Thumbnail, DataError> {
    /// Of 100; small pictures of photographs look well with it.
    const QUALITY: u8 = 82;
    const FEW_BYTES: usize = 4096;
    let picture = original(data, index)?;
    let (width, height) = picture.dimensions();
    let longest = width.max(height);
    let small = match longest <= side {
        true => {
            let bytes = png(&picture)?;
            if bytes.len() <= FEW_BYTES {
                return Ok(Thumbnail {
                    kind: "image/png",
                    bytes,
                    width,
                    height,
                });
            }
            picture
        }
        false => {
            let scaled = |of: u32| {
                let scaled = u64::from(of) * u64::from(side) / u64::from(longest);
                scaled.clamp(1, side.max(1).into()) as u32
            };
            imageops::thumbnail(&picture, scaled(width), scaled(height))
        }
    };
    let mut bytes = Vec::new();
    let written = JpegEncoder::new_with_quality(&mut bytes, QUALITY).encode_image(&small);
    written.map_err(not_drawn("thumbnail"))?;
    Ok(Thumbnail {
        kind: "image/jpeg",
        bytes,
        width: small.width(),
        height: small.height(),
    })
}

/// The error of a picture that could not be encoded.
fn not_drawn(what: &'static str) -> impl Fn(image::ImageError) -> DataError {
    move |error| DataError::io("draw", std::path::Path::new(what))(std::io::Error::other(error))
}

fn key() -> Key {
    Key::new(0).with("sheet")
}

/// What a training does, undone as far as its numbers are concerned.
struct Seen<'a> {
    pipeline: Pipeline,
    section: &'a settings::Dataset,
    cutout: usize,
}

fn pipeline<'a>(opened: &'a Opened, augmentation: Augmentation<'_>) -> Result<Seen<'a>, DataError> {
    let Augmentation { transforms, cutout } = augmentation;
    Ok(Seen {
        pipeline: Pipeline::train(&opened.section, cutout, transforms)?,
        section: &opened.section,
        cutout,
    })
}

impl Seen<'_> {
    fn about(&self) -> String {
        let [_, height, width] = self.pipeline.shape();
        let names = self.section.transforms();
        let names = names.into_iter().filter(|name| match *name {
            "crop" => self.section.crop_padding > 0,
            "flip" => self.section.flip,
            "cutout" => self.cutout > 0,
            _ => true,
        });
        let names: Vec<&str> = names.collect();
        format!("{height}x{width}, {}", names.join(", "))
    }

    /// An image as a training sees it, in the colours that it had before it was normalised.
    fn draw(&self, data: &dyn Dataset, index: usize, draw: usize) -> Result<RgbImage, DataError> {
        let [channels, height, width] = self.pipeline.shape();
        let mut values = vec![0.0; channels * height * width];
        let image = data.image(index)?;
        let key = key().with("augment").with(index).with(draw);
        self.pipeline.apply(&image, key, &mut values)?;
        let plane = height * width;
        let colour = |channel: usize, pixel: usize| {
            let channel = channel.min(channels - 1);
            let value = values[channel * plane + pixel];
            let value = value * self.section.std[channel] + self.section.mean[channel];
            (value.clamp(0.0, 1.0) * 255.0).round() as u8
        };
        Ok(RgbImage::from_fn(width as u32, height as u32, |x, y| {
            let pixel = y as usize * width + x as usize;
            Rgb([0, 1, 2].map(|channel| colour(channel, pixel)))
        }))
    }
}

/// A picture before anything is done to it: of its file where there is one, else as the reader gives it.
fn original(data: &dyn Dataset, index: usize) -> Result<RgbImage, DataError> {
    let image = match data.encoded(index) {
        Some(encoded) => {
            let encoded = encoded?;
            picture::decode(&encoded.path, &|| encoded.at.clone(), &encoded.bytes)?
        }
        None => data.image(index)?,
    };
    Ok(in_colour(&image))
}

fn in_colour(image: &Image<'_>) -> RgbImage {
    let plane = image.height * image.width;
    RgbImage::from_fn(image.width as u32, image.height as u32, |x, y| {
        let pixel = y as usize * image.width + x as usize;
        Rgb([0, 1, 2]
            .map(|channel: usize| image.pixels[channel.min(image.channels - 1) * plane + pixel]))
    })
}

/// A sheet in the making.
struct Sheet {
    title: String,
    about: String,
    /// What stands above the two halves, and how many pictures they have side by side.
    heads: [String; 2],
    columns: [usize; 2],
    rows: Vec<Row>,
}

struct Row {
    name: String,
    note: String,
    halves: [Vec<RgbImage>; 2],
}

impl Sheet {
    fn paint(&self) -> RgbImage {
        let half = |half: usize| self.columns[half] as u32 * (CELL + GAP) - GAP;
        let left = MARGIN + NAMES;
        let right = left + half(0) + MARGIN;
        let width = right + half(1) + MARGIN;
        let height = HEAD + self.rows.len() as u32 * (CELL + GAP) - GAP.min(HEAD) + MARGIN;
        let mut sheet = RgbImage::from_pixel(width, height, PAPER);
        let title = Font::TITLE.write(&mut sheet, [MARGIN, 18], width - MARGIN, &self.title, INK);
        Font::TEXT.write(
            &mut sheet,
            [title + 12, 22],
            width - MARGIN,
            &self.about,
            PALE,
        );
        for (i, start) in [left, right].into_iter().enumerate() {
            let room = start + half(i);
            Font::TEXT.write(&mut sheet, [start, HEAD - 26], room, &self.heads[i], PALE);
        }
        for (i, row) in self.rows.iter().enumerate() {
            let top = HEAD + i as u32 * (CELL + GAP);
            let middle = top + CELL / 2 - 20;
            let room = left - GAP;
            Font::BOLD.write(&mut sheet, [MARGIN, middle], room, &row.name, INK);
            Font::TEXT.write(&mut sheet, [MARGIN, middle + 20], room, &row.note, PALE);
            for (start, pictures) in [left, right].into_iter().zip(&row.halves) {
                for (column, picture) in pictures.iter().enumerate() {
                    let at = [start + column as u32 * (CELL + GAP), top];
                    place(&mut sheet, at, picture);
                }
            }
        }
        sheet
    }
}

/// Lays a picture into the middle of its cell, as large as it fits; small ones in whole multiples, so that pixels are seen.
fn place(sheet: &mut RgbImage, [x, y]: [u32; 2], picture: &RgbImage) {
    for dy in 0..CELL {
        for dx in 0..CELL {
            sheet.put_pixel(x + dx, y + dy, FRAME);
        }
    }
    let (width, height) = picture.dimensions();
    let longest = width.max(height).max(1);
    let side = |side: u32, to: u32| (side * to).div_ceil(longest).clamp(1, CELL);
    let to = match CELL / longest {
        0 | 1 if longest != CELL => CELL,
        times => longest * times.max(1),
    };
    let filter = match longest <= CELL / 2 {
        true => FilterType::Nearest,
        false => FilterType::CatmullRom,
    };
    let scaled = imageops::resize(picture, side(width, to), side(height, to), filter);
    let (width, height) = scaled.dimensions();
    let (left, top) = (x + (CELL - width) / 2, y + (CELL - height) / 2);
    imageops::replace(sheet, &scaled, left.into(), top.into());
}

/// How text is written.
struct Font {
    weight: FontWeight,
    height: RasterHeight,
}

impl Font {
    const TITLE: Font = Font {
        weight: FontWeight::Bold,
        height: RasterHeight::Size20,
    };
    const BOLD: Font = Font {
        weight: FontWeight::Bold,
        height: RasterHeight::Size16,
    };
    const TEXT: Font = Font {
        weight: FontWeight::Regular,
        height: RasterHeight::Size16,
    };

    /// Writes a text from a point to the right, as far as `end`; what does not fit is left out, which dots say. Gives where it
    /// ends.
    fn write(
        &self,
        sheet: &mut RgbImage,
        [x, y]: [u32; 2],
        end: u32,
        text: &str,
        colour: Rgb<u8>,
    ) -> u32 {
        let step = get_raster_width(self.weight, self.height) as u32;
        let room = (end.saturating_sub(x) / step) as usize;
        let mut letters: Vec<char> = text.chars().collect();
        if letters.len() > room {
            letters.truncate(room.saturating_sub(2));
            letters.extend("..".chars().take(room));
        }
        let mut x = x;
        for letter in letters {
            let known = get_raster(letter, self.weight, self.height);
            // Letters that the font lacks.
            let raster = known.or_else(|| get_raster('?', self.weight, self.height));
            let lines = raster.iter().flat_map(|raster| raster.rows());
            for (dy, line) in lines.enumerate() {
                for (dx, &strength) in line.iter().enumerate() {
                    let (px, py) = (x + dx as u32, y + dy as u32);
                    if strength > 0 && px < sheet.width() && py < sheet.height() {
                        let below = sheet.get_pixel_mut(px, py);
                        *below = mixed(*below, colour, strength);
                    }
                }
            }
            x += step;
        }
        x
    }
}

fn mixed(below: Rgb<u8>, above: Rgb<u8>, strength: u8) -> Rgb<u8> {
    let strength = u32::from(strength);
    let mix = |i: usize| {
        let sum = u32::from(below.0[i]) * (255 - strength) + u32::from(above.0[i]) * strength;
        ((sum + 127) / 255) as u8
    };
    Rgb([mix(0), mix(1), mix(2)])
}
