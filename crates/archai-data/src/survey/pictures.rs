//! What pictures are like: their sides, channels and files, and the statistics of their pixels.

use std::collections::BTreeMap;

use archai_spec::settings;
use image::metadata::Orientation;
use serde::{Deserialize, Serialize};

use super::{Opened, Statistics};
use crate::dataset::{Encoded, Image};
use crate::error::DataError;
use crate::in_order;
use crate::picture::{self, Header};
use crate::rng::Key;
use crate::transform::Pipeline;
use crate::transforms;

/// What was found of the training pictures that were looked at, before anything is done to them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pictures {
    /// How many were looked at.
    pub looked_at: usize,
    /// Their heights and widths; none where the format does not keep them.
    pub sides: Option<Sides>,
    /// How many are grey.
    pub grey: usize,
    /// How many have transparent pixels or could have some.
    pub transparent: usize,
    /// How many have sixteen bits in each channel.
    pub sixteen_bit: usize,
    /// How many their camera noted as turned or mirrored.
    pub turned: usize,
    /// How many files there are of each kind.
    pub kinds: BTreeMap<String, usize>,
    /// How many cannot be read.
    pub damaged: usize,
    /// What is wrong with the first of these.
    pub damage: Vec<String>,
}

/// Heights and widths in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sides {
    /// Of heights.
    pub height: Side,
    /// Of widths.
    pub width: Side,
    /// Of the shorter side of each picture.
    pub shorter: Side,
    /// Whether all pictures have one size.
    pub same: bool,
}

/// A side of many pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// The least.
    pub min: usize,
    /// The median, the lower one of two.
    pub median: usize,
    /// The most.
    pub max: usize,
}

impl Side {
    fn of(mut sides: Vec<usize>) -> Option<Side> {
        sides.sort_unstable();
        Some(Side {
            min: *sides.first()?,
            median: *sides.get((sides.len() - 1) / 2)?,
            max: *sides.last()?,
        })
    }
}

/// What a picture's file says of it.
struct Look {
    size: Option<[usize; 2]>,
    is_grey: bool,
    is_transparent: bool,
    is_deep: bool,
    is_turned: bool,
    kind: Option<&'static str>,
}

/// How many damaged pictures are named.
const NAMED: usize = 5;

impl Pictures {
    /// Looks at the sample of a data set's pictures: at the files, where each picture is one, else at what the reader gives.
    ///
    /// # Errors
    /// [`DataError::Io`] if a file cannot be read. Damaged pictures are counted.
    pub fn of(opened: &Opened) -> Result<Pictures, DataError> {
        let sample = opened.sample();
        // Otherwise readers give images of the section's size.
        let is_whole = opened.section.crop_ratio != 1.0;
        let looks = in_order::map(sample.len(), |i| {
            let data = &opened.train;
            let look = match data.encoded(sample[i]) {
                Some(encoded) => encoded.and_then(|encoded| look_at(&encoded)),
                None => data.image(sample[i]).map(|image| Look {
                    size: is_whole.then_some([image.height, image.width]),
                    is_grey: is_grey(&image),
                    is_transparent: false,
                    is_deep: false,
                    is_turned: false,
                    kind: None,
                }),
            };
            match look {
                Ok(look) => Ok(Ok(look)),
                Err(error @ DataError::Malformed { .. }) => Ok(Err(error.to_string())),
                Err(error) => Err(error),
            }
        })?;
        let mut found = Pictures {
            looked_at: sample.len(),
            ..Pictures::default()
        };
        let mut sizes = Vec::with_capacity(looks.len());
        for look in looks {
            match look {
                Ok(look) => {
                    sizes.extend(look.size);
                    found.count(&look);
                }
                Err(damage) => {
                    found.damaged += 1;
                    if found.damage.len() < NAMED {
                        found.damage.push(damage);
                    }
                }
            }
        }
        found.sides = Sides::of(&sizes);
        Ok(found)
    }

    fn count(&mut self, look: &Look) {
        self.grey += usize::from(look.is_grey);
        self.transparent += usize::from(look.is_transparent);
        self.sixteen_bit += usize::from(look.is_deep);
        self.turned += usize::from(look.is_turned);
        if let Some(kind) = look.kind {
            *self.kinds.entry(kind.to_string()).or_default() += 1;
        }
    }

    /// How many were read.
    pub fn read(&self) -> usize {
        self.looked_at - self.damaged
    }

    /// What whoever trains on them should know.
    pub(super) fn notes(&self, section: &settings::Dataset) -> Vec<String> {
        let mut notes = Vec::new();
        let of = format!("of {} pictures that were looked at", self.looked_at);
        if self.damaged > 0 {
            notes.push(format!(
                "{} {of} cannot be read: {}; dataset.on_damaged: skip leaves such pictures out",
                self.damaged,
                self.damage.join("; ")
            ));
        }
        if self.transparent > 0 && section.background.is_none() {
            notes.push(format!(
                "{} {of} have transparency, which is dropped: the network sees the colours below it; dataset.background lays \
                 them over a colour",
                self.transparent
            ));
        }
        if self.turned > 0 && section.orientation == settings::Orientation::Ignore {
            notes.push(format!(
                "{} {of} were turned by their camera, which only a tag in the file says; pixels are taken as they lie, unless \
                 dataset.orientation is exif",
                self.turned
            ));
        }
        if self.sixteen_bit > 0 {
            notes.push(format!(
                "{} {of} have sixteen bits in each channel, of which the network sees eight",
                self.sixteen_bit
            ));
        }
        notes
    }
}

/// Whether an image is grey, also one whose reader repeats its channel.
fn is_grey(image: &Image<'_>) -> bool {
    let plane = image.height * image.width;
    let planes = image.pixels.chunks_exact(plane.max(1));
    planes.clone().zip(planes.skip(1)).all(|(a, b)| a == b)
}

fn look_at(encoded: &Encoded) -> Result<Look, DataError> {
    let Encoded { path, at, bytes } = encoded;
    let at = || at.clone();
    picture::check(path, &at, bytes)?;
    let Header {
        size,
        kind,
        colour,
        orientation,
    } = picture::header(path, &at, bytes)?;
    let is_turned = orientation != Orientation::NoTransforms;
    Ok(Look {
        // As it shows.
        size: Some(match orientation {
            Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH => [size[1], size[0]],
            _ => size,
        }),
        is_grey: !colour.has_color(),
        is_transparent: colour.has_alpha(),
        is_deep: colour.bytes_per_pixel() > colour.channel_count(),
        is_turned,
        kind: Some(kind),
    })
}

/// The mean and the deviation of each channel over the sample of the training images, as the network sees them but for
/// normalisation, of pixels in [0, 1]. Damaged pictures do not count.
pub(super) fn statistics(opened: &Opened) -> Result<Statistics, DataError> {
    let channels = opened.section.channels;
    let plain = settings::Dataset {
        mean: vec![0.0; channels],
        std: vec![1.0; channels],
        transforms: None,
        random_resized_crop: None,
        ..opened.section.clone()
    };
    let pipeline = Pipeline::test(&plain, &transforms::builtin())?;
    let [_, height, width] = pipeline.shape();
    let sample = opened.sample();
    let sums = in_order::map(sample.len(), |i| {
        let image = match opened.train.image(sample[i]) {
            Ok(image) => image,
            Err(DataError::Malformed { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut pixels = vec![0.0; channels * height * width];
        pipeline.apply(&image, Key::new(0), &mut pixels)?;
        let planes = pixels.chunks_exact(height * width).map(|plane| {
            let wide = || plane.iter().map(|value| f64::from(*value));
            (wide().sum(), wide().map(|value| value * value).sum())
        });
        Ok(Some(planes.collect::<Vec<(f64, f64)>>()))
    })?;
    let sums: Vec<_> = sums.into_iter().flatten().collect();
    let n = (sums.len() * height * width) as f64;
    let mut all = vec![(0.0, 0.0); channels];
    for image in &sums {
        for ((sum, squares), (own, own_squares)) in all.iter_mut().zip(image) {
            *sum += own;
            *squares += own_squares;
        }
    }
    if sums.is_empty() {
        return Err(DataError::malformed(
            std::path::Path::new(&opened.section.path),
            "its pictures",
            "one that can be read",
            format!("{} that cannot", sample.len()),
        ));
    }
    let (mean, std) = all
        .into_iter()
        .map(|(sum, squares)| {
            let mean = sum / n;
            let deviation = (squares / n - mean * mean).max(0.0).sqrt();
            // Pixels that are all alike have none, and are divided by one step of a byte.
            (rounded(mean), rounded(deviation.max(1.0 / 255.0)))
        })
        .unzip();
    Ok(Statistics { mean, std })
}

/// To the digits that are known of it.
fn rounded(value: f64) -> f32 {
    ((value * 1e4).round() / 1e4) as f32
}

impl Sides {
    fn of(sizes: &[[usize; 2]]) -> Option<Sides> {
        let side = |f: fn(&[usize; 2]) -> usize| Side::of(sizes.iter().map(f).collect());
        Some(Sides {
            height: side(|[height, _]| *height)?,
            width: side(|[_, width]| *width)?,
            shorter: side(|[height, width]| *height.min(width))?,
            same: sizes.windows(2).all(|pair| pair[0] == pair[1]),
        })
    }
}
