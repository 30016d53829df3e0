//! The head of the pipeline: images of any size come in, images of the data set's size come out.
//!
//! What is done is planned first, as numbers alone: which part of the image is looked at, and which part of the result it
//! fills. Then each channel is scaled by itself. All filters count every pixel that is covered, as Pillow's do.

use std::error::Error;
use std::path::Path;

use archai_spec::settings::{self, Interpolation, RandomResizedCrop, Resize};
use fast_image_resize::images::{CroppedImage, CroppedImageMut, Image as Canvas, ImageRef};
use fast_image_resize::{
    CropBox, FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer, SrcCropping,
};

use crate::dataset::Image;
use crate::error::DataError;
use crate::picture::{self, recolour};
use crate::rng::Key;

/// What is kept from image to image, so that nothing is allocated for each.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    resizer: Resizer,
    rows: Vec<u8>,
    pixels: Vec<u8>,
}

/// How the images of a data set get its channels and its size.
#[derive(Clone, Debug)]
pub(crate) struct Geometry {
    channels: usize,
    size: [usize; 2],
    resize: Resize,
    crop_ratio: f64,
    filter: FilterType,
    background: [u8; 3],
    /// Of training images.
    random: Option<RandomResizedCrop>,
}

/// A rectangle of whole pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Area {
    pub top: usize,
    pub left: usize,
    pub height: usize,
    pub width: usize,
}

impl Area {
    fn whole([height, width]: [usize; 2]) -> Area {
        Area {
            top: 0,
            left: 0,
            height,
            width,
        }
    }
}

/// How one image is brought to size.
struct Plan {
    /// The part of the image that is seen; nothing outside of it counts.
    seen: Area,
    /// The part of it that becomes the result, in its pixels and their fractions; all of it if there is none.
    window: Option<CropBox>,
    /// The part of the result that it fills.
    filled: Area,
}

impl Geometry {
    /// Of the images that a data set's networks learn from, or of those that they are measured on.
    pub(crate) fn new(dataset: &settings::Dataset, training: bool) -> Geometry {
        Geometry {
            channels: dataset.channels,
            size: dataset.size,
            resize: dataset.resize,
            crop_ratio: dataset.crop_ratio,
            filter: match dataset.interpolation {
                Interpolation::Bilinear => FilterType::Bilinear,
                Interpolation::Bicubic => FilterType::CatmullRom,
            },
            background: dataset.background.unwrap_or_default(),
            random: dataset.random_resized_crop.filter(|_| training),
        }
    }

    /// Channels, height and width of what comes out.
    pub(crate) fn shape(&self) -> [usize; 3] {
        let [height, width] = self.size;
        [self.channels, height, width]
    }

    /// The bytes of an image with [`Geometry::shape`]. `path` and `at` say where it comes from, for messages.
    ///
    /// # Errors
    /// As [`picture::check_sound`].
    pub(crate) fn apply<'a>(
        &self,
        path: &Path,
        at: &dyn Fn() -> String,
        image: &'a Image<'_>,
        key: Key,
        scratch: &'a mut Scratch,
    ) -> Result<&'a [u8], DataError> {
        let is_ready = [image.channels, image.height, image.width] == self.shape();
        picture::check_sound(path, at, image)?;
        if is_ready && self.random.is_none() && self.crop_ratio == 1.0 {
            return Ok(&image.pixels);
        }
        let borrowed = Image {
            pixels: (&*image.pixels).into(),
            ..*image
        };
        let Some(plan) = self.plan([image.height, image.width], key) else {
            let fitted = picture::fit(path, at, borrowed, self.channels, self.size)?;
            scratch.pixels.clear();
            scratch.pixels.extend_from_slice(&fitted.pixels);
            return Ok(&scratch.pixels);
        };
        let image = recolour(borrowed, self.channels);
        self.scale(&image, &plan, scratch).map_err(|problem| {
            DataError::malformed(path, at(), "an image that can be scaled", problem)
        })?;
        Ok(&scratch.pixels)
    }

    /// What is done with an image of a size; none if it is fitted.
    fn plan(&self, size: [usize; 2], key: Key) -> Option<Plan> {
        let (seen, filled) = (Area::whole(size), Area::whole(self.size));
        let mut plan = Plan {
            seen,
            window: None,
            filled,
        };
        if let Some(random) = self.random {
            let mut rng = key.with("random_resized_crop").rng();
            plan.seen = random_area(size, random, &mut || rng.uniform_f64());
            return Some(plan);
        }
        match self.resize {
            Resize::Fit => return None,
            Resize::Squish => {}
            Resize::Crop => plan.window = Some(middle(size, self.size, self.crop_ratio)),
            Resize::Pad => plan.filled = inside(size, self.size),
        }
        Some(plan)
    }

    fn scale(&self, image: &Image<'_>, plan: &Plan, scratch: &mut Scratch) -> Result<(), String> {
        let [height, width] = self.size;
        let area = height * width;
        let Scratch {
            resizer,
            rows,
            pixels,
        } = scratch;
        let below = recolour(
            Image {
                pixels: self.background[..].into(),
                channels: 3,
                height: 1,
                width: 1,
            },
            self.channels,
        );
        pixels.clear();
        for colour in below.pixels.iter() {
            pixels.resize(pixels.len() + area, *colour);
        }
        let from_size = [image.height, image.width];
        let planes = image.pixels.chunks_exact(image.height * image.width);
        for (from, to) in planes.zip(pixels.chunks_exact_mut(area)) {
            let (from, to) = ((from, from_size), (to, self.size));
            scale_plane(resizer, rows, self.filter, from, to, plan).map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}

/// Scales a plane and its height and width to another one: each row first and then each column, as Pillow does it, since the
/// rounding in between shows.
fn scale_plane(
    resizer: &mut Resizer,
    rows: &mut Vec<u8>,
    filter: FilterType,
    (from, from_size): (&[u8], [usize; 2]),
    (to, to_size): (&mut [u8], [usize; 2]),
    plan: &Plan,
) -> Result<(), Box<dyn Error>> {
    // Sides are at most MAX_SIDE long.
    let [height, width] = from_size.map(|side| side as u32);
    let from = ImageRef::new(width, height, from, PixelType::U8)?;
    let [top, left, height, width] = corners(plan.seen);
    let from = CroppedImage::new(&from, left, top, width, height)?;
    let whole = CropBox {
        left: 0.0,
        top: 0.0,
        width: width.into(),
        height: height.into(),
    };
    let window = plan.window.unwrap_or(whole);
    let options = |cropped: CropBox| ResizeOptions {
        algorithm: ResizeAlg::Convolution(filter),
        cropping: SrcCropping::Crop(cropped),
        mul_div_alpha: false,
    };

    let [place_top, place_left, place_height, place_width] = corners(plan.filled);
    rows.resize(height as usize * place_width as usize, 0);
    let mut between = Canvas::from_slice_u8(place_width, height, rows, PixelType::U8)?;
    let across = CropBox {
        left: window.left,
        width: window.width,
        ..whole
    };
    resizer.resize(&from, &mut between, &options(across))?;

    let [height, width] = to_size.map(|side| side as u32);
    let mut to = Canvas::from_slice_u8(width, height, to, PixelType::U8)?;
    let mut to = CroppedImageMut::new(&mut to, place_left, place_top, place_width, place_height)?;
    let along = CropBox {
        left: 0.0,
        width: place_width.into(),
        ..window
    };
    resizer.resize(&between, &mut to, &options(along))?;
    Ok(())
}

fn corners(area: Area) -> [u32; 4] {
    [area.top, area.left, area.height, area.width].map(|side| side as u32)
}

/// The middle that remains of an image once it is scaled, with its proportions, until it covers the size over `ratio`: in
/// pixels of the image. Rounded as timm and torchvision do it with `crop_pct`, `Resize` and `CenterCrop`.
fn middle(from: [usize; 2], to: [usize; 2], ratio: f64) -> CropBox {
    let [height, width] = from;
    let [least_height, least_width] = to.map(|side| (side as f64 / ratio) as usize);
    // The side that has to be scaled most decides, and the other one is rounded down.
    let (scaled_height, scaled_width) = match height * least_width <= width * least_height {
        true => (least_height, least_height * width / height),
        false => (least_width * height / width, least_width),
    };
    let along = |from: usize, scaled: usize, to: usize| {
        let scale = from as f64 / scaled as f64;
        let start = ((scaled - to) as f64 / 2.0).round_ties_even() * scale;
        (start, (to as f64 * scale).min(from as f64 - start))
    };
    let (top, height) = along(height, scaled_height, to[0]);
    let (left, width) = along(width, scaled_width, to[1]);
    CropBox {
        left,
        top,
        width,
        height,
    }
}

/// Where an image lies that is scaled, with its proportions, until it touches two borders of the size from within. Rounded as
/// `ImageOps.pad` of Pillow does it.
fn inside(from: [usize; 2], to: [usize; 2]) -> Area {
    let [height, width] = from;
    let scaled = |side: usize, other: usize, by: usize| {
        ((side as f64 / other as f64 * by as f64).round_ties_even() as usize).max(1)
    };
    let (inner_height, inner_width) = match width * to[0] > height * to[1] {
        true => (scaled(height, width, to[1]).min(to[0]), to[1]),
        false => (to[0], scaled(width, height, to[0]).min(to[1])),
    };
    let start = |to: usize, inner: usize| ((to - inner) as f64 * 0.5).round_ties_even() as usize;
    Area {
        top: start(to[0], inner_height),
        left: start(to[1], inner_width),
        height: inner_height,
        width: inner_width,
    }
}

/// A part of an image as torchvision's `RandomResizedCrop.get_params` chooses it: ten attempts to find one of a random area and
/// random proportions that lies within the image, then the largest one in its middle whose proportions are allowed. `draw` gives
/// numbers in [0, 1).
fn random_area(
    [height, width]: [usize; 2],
    random: RandomResizedCrop,
    draw: &mut dyn FnMut() -> f64,
) -> Area {
    const ATTEMPTS: usize = 10;
    let RandomResizedCrop { scale, ratio } = random;
    let area = (height * width) as f64;
    let logarithms = ratio.map(f64::ln);
    let mut between = |[least, most]: [f64; 2]| least + (most - least) * draw();
    for _ in 0..ATTEMPTS {
        let target = area * between(scale);
        let proportion = between(logarithms).exp();
        let wide = (target * proportion).sqrt().round_ties_even() as usize;
        let high = (target / proportion).sqrt().round_ties_even() as usize;
        if (1..=width).contains(&wide) && (1..=height).contains(&high) {
            let mut below = |n: usize| (between([0.0, n as f64]) as usize).min(n - 1);
            return Area {
                top: below(height - high + 1),
                left: below(width - wide + 1),
                height: high,
                width: wide,
            };
        }
    }
    let found = width as f64 / height as f64;
    let rounded = |side: f64, most: usize| (side.round_ties_even() as usize).clamp(1, most);
    let (high, wide) = if found < ratio[0] {
        (rounded(width as f64 / ratio[0], height), width)
    } else if found > ratio[1] {
        (height, rounded(height as f64 * ratio[1], width))
    } else {
        (height, width)
    };
    Area {
        top: (height - high) / 2,
        left: (width - wide) / 2,
        height: high,
        width: wide,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn middles() {
        // What torchvision's Resize and CenterCrop take, in pixels of the scaled image.
        let check = |from: [usize; 2], to, ratio, scaled: [usize; 2], [top, left]: [usize; 2]| {
            let found = middle(from, to, ratio);
            let back = |value: f64, from: usize, scaled: usize| value * scaled as f64 / from as f64;
            let found = [
                back(found.top, from[0], scaled[0]),
                back(found.left, from[1], scaled[1]),
                back(found.height, from[0], scaled[0]),
                back(found.width, from[1], scaled[1]),
            ];
            let expect = [top, left, to[0], to[1]];
            for (found, expect) in found.into_iter().zip(expect) {
                assert!(
                    (found - expect as f64).abs() < 1e-9,
                    "{found:?}, {expect:?}"
                );
            }
        };
        check([375, 500], [224, 224], 0.875, [256, 341], [16, 58]);
        check([500, 375], [224, 224], 0.875, [341, 256], [58, 16]);
        check([375, 500], [224, 224], 1.0, [224, 298], [0, 37]);
        check([20, 20], [32, 32], 1.0, [32, 32], [0, 0]);
        // Half pixels go to the even one.
        check([2, 5], [2, 2], 1.0, [2, 5], [0, 2]);
        check([2, 7], [2, 2], 1.0, [2, 7], [0, 2]);
        // The side that is scaled most is not always the shorter one.
        check([100, 100], [20, 40], 1.0, [40, 40], [10, 0]);
        check(
            [1, 16_384],
            [224, 224],
            1.0,
            [224, 3_670_016],
            [0, 1_834_896],
        );
    }

    #[test]
    fn insides() {
        let check = |from, to, [top, left, height, width]: [usize; 4]| {
            let expect = Area {
                top,
                left,
                height,
                width,
            };
            assert_eq!(inside(from, to), expect);
        };
        check([375, 500], [224, 224], [28, 0, 168, 224]);
        check([500, 375], [224, 224], [0, 28, 224, 168]);
        check([10, 10], [32, 32], [0, 0, 32, 32]);
        check([10, 10], [32, 48], [0, 8, 32, 32]);
        // Half pixels go to the even one, and nothing vanishes.
        check([5, 7], [7, 7], [1, 0, 5, 7]);
        check([4, 7], [7, 7], [2, 0, 4, 7]);
        check([1, 16_384], [32, 32], [16, 0, 1, 32]);
    }

    /// The parts that a list of draws gives; all of them are used.
    fn with_draws(size: [usize; 2], random: RandomResizedCrop, draws: &[f64]) -> [usize; 4] {
        let mut draws = draws.iter();
        let found = random_area(size, random, &mut || *draws.next().unwrap());
        assert_eq!(draws.next(), None);
        [found.top, found.left, found.height, found.width]
    }

    #[test]
    fn random_parts() {
        let usual = RandomResizedCrop::default();
        // A share of 0.54, and proportion 1 in the middle of the logarithmic scale: a square of 109.
        assert_eq!(
            with_draws([110, 200], usual, &[0.5, 0.5, 0.0, 0.5]),
            [0, 46, 109, 109]
        );
        // What is too large is drawn again, and the last place is one, too.
        let half = with_draws([64, 64], usual, &[1.0, 0.0, 0.25, 0.5, 0.999, 0.0]);
        assert_eq!(half, [28, 0, 36, 36]);
        // Ten attempts, then the largest part with proportions that are allowed.
        let never = [0.9, 0.5].repeat(10);
        assert_eq!(with_draws([10, 1000], usual, &never), [0, 493, 10, 13]);
        assert_eq!(with_draws([1000, 10], usual, &never), [493, 0, 13, 10]);
        let all = RandomResizedCrop {
            scale: [1.0, 1.0],
            ratio: [0.5, 0.6],
        };
        assert_eq!(with_draws([100, 60], all, &never), [0, 0, 100, 60]);
    }
}
