//! From the bytes of an image to the numbers that a network sees.

use archai_spec::settings;

use crate::dataset::{self, Image};
use crate::error::DataError;
use crate::rng::Key;

/// What is done to training images at random.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Augment {
    /// Pad with this many black pixels on each side, then crop the original size back at random.
    pub crop_padding: usize,
    /// Mirror left to right with probability 1/2.
    pub flip: bool,
    /// Set a square of this side to zero after normalisation (DeVries and Taylor, 2017); 0 for none.
    pub cutout: usize,
}

/// Normalises images and, for training, augments them.
#[derive(Clone, Debug, PartialEq)]
pub struct Transform {
    shape: [usize; 3],
    /// For each channel, the number that a byte becomes.
    tables: Vec<[f32; 256]>,
    augment: Augment,
}

impl Transform {
    /// Crop and flip as the data set says, cutout of the given side, normalise.
    ///
    /// # Errors
    /// [`DataError::Setting`] if the section contradicts itself.
    pub fn train(dataset: &settings::Dataset, cutout: usize) -> Result<Transform, DataError> {
        let augment = Augment {
            crop_padding: dataset.crop_padding,
            flip: dataset.flip,
            cutout,
        };
        Transform::new(dataset, augment)
    }

    /// Normalise, nothing else.
    ///
    /// # Errors
    /// As [`Transform::train`].
    pub fn test(dataset: &settings::Dataset) -> Result<Transform, DataError> {
        Transform::new(dataset, Augment::default())
    }

    /// Augment, then normalise by the data set's mean and standard deviation.
    ///
    /// # Errors
    /// As [`Transform::train`].
    pub fn new(dataset: &settings::Dataset, augment: Augment) -> Result<Transform, DataError> {
        dataset::check(dataset)?;
        let [height, width] = dataset.size;
        if augment.crop_padding > dataset::MAX_SIDE {
            let problem = format!(
                "is {}, expected at most {}",
                augment.crop_padding,
                dataset::MAX_SIDE
            );
            return Err(DataError::setting("dataset.crop_padding", problem));
        }
        let tables = dataset
            .mean
            .iter()
            .zip(&dataset.std)
            .map(|(mean, std)| std::array::from_fn(|byte| (byte as f32 / 255.0 - mean) / std))
            .collect();
        Ok(Transform {
            shape: [dataset.channels, height, width],
            tables,
            augment,
        })
    }

    /// Channels, height and width of what goes in and comes out.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Writes the transformed image to `out`, channel after channel. All that is random comes from `key`.
    ///
    /// # Errors
    /// [`DataError::Setting`] if the image is not of [`Transform::shape`].
    ///
    /// # Panics
    /// Unless `out` holds one number per pixel and channel.
    pub fn apply(&self, image: &Image<'_>, key: Key, out: &mut [f32]) -> Result<(), DataError> {
        let [channels, height, width] = self.shape;
        let found = [image.channels, image.height, image.width];
        if found != self.shape {
            let problem = format!(
                "an image has shape {found:?}, expected {:?} (channels, height, width)",
                self.shape
            );
            return Err(DataError::setting("dataset.size", problem));
        }
        assert_eq!(
            out.len(),
            channels * height * width,
            "room for one image of shape {:?}",
            self.shape
        );
        let Draw {
            shift: [dy, dx],
            mirrored,
            centre: [cy, cx],
        } = Draw::new(key, &self.augment, height, width);
        let hole = cutout_square(cy, cx, self.augment.cutout, height, width);

        let planes = image
            .pixels
            .chunks_exact(height * width)
            .zip(out.chunks_exact_mut(height * width));
        for ((pixels, out), table) in planes.zip(&self.tables) {
            for (y, line) in out.chunks_exact_mut(width).enumerate() {
                let from = y.checked_add_signed(dy).filter(|y| *y < height);
                for (x, value) in line.iter_mut().enumerate() {
                    let x = if mirrored { width - 1 - x } else { x };
                    let from = from.zip(x.checked_add_signed(dx).filter(|x| *x < width));
                    *value = table[from.map_or(0, |(y, x)| usize::from(pixels[y * width + x]))];
                }
            }
            for y in hole.rows.clone() {
                out[y * width..][hole.columns.clone()].fill(0.0);
            }
        }
        Ok(())
    }
}

/// The random choices for one image. All are drawn always, in this order, so that one setting does not move another's.
struct Draw {
    shift: [isize; 2],
    mirrored: bool,
    centre: [usize; 2],
}

impl Draw {
    fn new(key: Key, augment: &Augment, height: usize, width: usize) -> Draw {
        let mut rng = key.rng();
        let padding = augment.crop_padding as u32;
        let mut shift = || rng.uniform_u32_below(2 * padding + 1) as isize - padding as isize;
        let shift = [shift(), shift()];
        let mirrored = rng.uniform_u32_below(2) == 1 && augment.flip;
        let centre = [height, width].map(|side| rng.uniform_u32_below(side as u32) as usize);
        Draw {
            shift,
            mirrored,
            centre,
        }
    }
}

/// Rows and columns of a square.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Square {
    /// Rows that it covers.
    pub rows: std::ops::Range<usize>,
    /// Columns that it covers.
    pub columns: std::ops::Range<usize>,
}

/// What cutout of side `length` around (`cy`, `cx`) sets to zero in an image of `height`×`width`: rows
/// max(cy − ⌊length/2⌋, 0) to min(cy + ⌊length/2⌋, height), the end not included, columns likewise. An odd side gives
/// the next smaller even square, as in the original code.
pub fn cutout_square(cy: usize, cx: usize, length: usize, height: usize, width: usize) -> Square {
    let half = length / 2;
    let range = |centre: usize, side: usize| {
        centre.saturating_sub(half)..centre.saturating_add(half).min(side)
    };
    Square {
        rows: range(cy, height),
        columns: range(cx, width),
    }
}
