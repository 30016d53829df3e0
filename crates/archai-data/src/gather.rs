//! What readers have in common: images one after the other, fitted to the configuration, checked, and kept in memory.

use std::path::Path;

use archai_spec::settings::{self, Resize};

use crate::dataset::{Image, InMemory, Sizes};
use crate::error::DataError;
use crate::geometry::{Geometry, Scratch};
use crate::picture;
use crate::rng::Key;

/// Most bytes of pixels that a data set may take in memory.
const MAX_BYTES: u64 = 16 << 30;

/// Gathers what a reader finds into an [`InMemory`].
///
/// ```
/// # fn read(settings: &archai_spec::settings::Dataset) -> Result<archai_data::InMemory, archai_data::DataError> {
/// use archai_data::{Gather, Image};
/// use std::path::Path;
///
/// let file = Path::new("images.bin");
/// let mut gather = Gather::new(settings);
/// gather.expect(file, 2)?;
/// for (index, (pixel, label)) in [(0, 1), (255, 0)].into_iter().enumerate() {
///     let image = Image { pixels: vec![pixel; 4].into(), channels: 1, height: 2, width: 2 };
///     gather.push(file, image, label, || format!("record {index}"))?;
/// }
/// gather.finish(file)
/// # }
/// ```
///
/// What is kept is as small as it may be. With `dataset.resize: fit` images are fitted. Otherwise a larger one than the data
/// set's size is brought to it, since the pipeline would do the same, and a smaller one waits for the pipeline; with
/// `dataset.random_resized_crop` or `dataset.crop_ratio` all wait, because parts are taken of whole images.
#[derive(Debug)]
pub struct Gather {
    result: InMemory,
    size: [usize; 2],
    /// What brings images to size at once; none where all keep theirs.
    geometry: Option<Geometry>,
    scratch: Scratch,
}

impl Gather {
    /// Nothing yet, for a data set of these classes, channels and size.
    pub fn new(dataset: &settings::Dataset) -> Gather {
        // The middle of a middle would be less than what is asked for.
        let is_whole = dataset.random_resized_crop.is_some() || dataset.crop_ratio != 1.0;
        let is_fitted = dataset.resize == Resize::Fit && !is_whole;
        let sizes = match is_fitted {
            true => Sizes::Same(dataset.size),
            false => Sizes::Each(Vec::new()),
        };
        let result = InMemory::empty(&dataset.name, dataset.n_classes, dataset.channels, sizes);
        Gather {
            result,
            size: dataset.size,
            geometry: (!is_whole).then(|| Geometry::new(dataset, false)),
            scratch: Scratch::default(),
        }
    }

    /// Refuses, before anything is read, `n` images that would not fit into memory at the data set's size.
    ///
    /// # Errors
    /// [`DataError::Malformed`], with the way out: images that are read when they are needed.
    pub fn expect(&self, path: &Path, n: u64) -> Result<(), DataError> {
        let [height, width] = self.size;
        let bytes = match self.result.sizes {
            Sizes::Same(_) => [self.result.channels, height, width]
                .iter()
                .fold(n, |product, side| product.saturating_mul(*side as u64)),
            // Nobody knows how large they are before they are read.
            Sizes::Each(_) => n,
        };
        self.check_room(path, n, bytes)
    }

    fn check_room(&self, path: &Path, n: u64, bytes: u64) -> Result<(), DataError> {
        if bytes <= MAX_BYTES {
            return Ok(());
        }
        let [height, width] = self.size;
        let shape = [self.result.channels, height, width];
        Err(DataError::Malformed {
            path: path.to_owned(),
            at: "its header".into(),
            expected: format!("at most {} GiB of pixels", MAX_BYTES >> 30),
            found: match self.result.sizes {
                Sizes::Same(_) => format!("{n} images of shape {shape:?}"),
                Sizes::Each(_) => format!("{n} images of {bytes} bytes in all"),
            },
            mend: "use format image_folder, which reads images when they are needed".into(),
        })
    }

    /// Adds an image with the data set's channels. `path` is the file that it comes from, and `at` says where in it, for
    /// messages.
    ///
    /// # Errors
    /// [`DataError::Malformed`] if the label is not below the number of classes, if the image does not hold what it claims
    /// (see [`picture::check_sound`]), or if memory does not suffice.
    pub fn push(
        &mut self,
        path: &Path,
        image: Image<'_>,
        label: i64,
        at: impl Fn() -> String,
    ) -> Result<(), DataError> {
        let label = check_label(path, label, self.result.n_classes, &at)?;
        let Gather {
            result,
            size: [height, width],
            geometry,
            scratch,
        } = self;
        let start = result.pixels.len();
        match (&mut result.sizes, geometry) {
            (Sizes::Same(size), _) => {
                let image = picture::fit(path, &at, image, result.channels, *size)?;
                result.pixels.extend_from_slice(&image.pixels);
            }
            (Sizes::Each(each), Some(geometry))
                if image.height.saturating_mul(image.width) > *height * *width =>
            {
                // Nothing of it is random.
                let bytes = geometry.apply(path, &at, &image, Key::new(0), scratch)?;
                result.pixels.extend_from_slice(bytes);
                each.push((start, [*height, *width]));
            }
            (Sizes::Each(each), _) => {
                picture::check_sound(path, &at, &image)?;
                each.push((start, [image.height, image.width]));
                let image = picture::recolour(image, result.channels);
                result.pixels.extend_from_slice(&image.pixels);
            }
        }
        result.labels.push(label);
        let (n, bytes) = (result.labels.len(), result.pixels.len());
        self.check_room(path, n as u64, bytes as u64)
    }

    /// Notes a picture that cannot be read and is left out, as `dataset.on_damaged: skip` asks for: by its place.
    pub fn leave_out(&mut self, place: impl Into<String>) {
        self.result.left_out.push(place.into());
    }

    /// Gives the classes their names, in the order of their labels. Names that are not as many as the classes belong to
    /// something else and are passed over.
    pub fn name_classes(&mut self, names: Vec<String>) {
        if names.len() == self.result.n_classes {
            self.result.class_names = names;
        }
    }

    /// The data set.
    ///
    /// # Errors
    /// [`DataError::Malformed`] if no image was added.
    pub fn finish(self, path: &Path) -> Result<InMemory, DataError> {
        match self.result.labels.is_empty() {
            true => Err(DataError::malformed(
                path,
                "its end",
                match self.result.left_out.len() {
                    0 => "at least one image".to_owned(),
                    n => format!("at least one image besides {n} that cannot be read"),
                },
                "none",
            )),
            false => Ok(self.result),
        }
    }
}

/// The label, if there is a class for it.
pub(crate) fn check_label(
    path: &Path,
    label: i64,
    n_classes: usize,
    at: &dyn Fn() -> String,
) -> Result<u32, DataError> {
    match u32::try_from(label) {
        Ok(label) if (label as usize) < n_classes => Ok(label),
        _ => Err(DataError::Malformed {
            path: path.to_owned(),
            at: at(),
            expected: format!("a label in 0..{n_classes}"),
            found: label.to_string(),
            mend: "correct dataset.n_classes or dataset.format, or get the file again if it is damaged".into(),
        }),
    }
}
