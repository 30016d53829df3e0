//! What a data set is to the rest of the program, and how a section of the configuration becomes one.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use archai_spec::settings::{self, DatasetFormat};

use crate::error::DataError;
use crate::{cifar, embedded, idx, image_folder, parquet_images, picture};

/// Which part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// What networks and architectures learn from.
    Train,
    /// What nothing is ever chosen by.
    Test,
}

impl Split {
    /// `training` or `test`, as messages call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Split::Train => "training",
            Split::Test => "test",
        }
    }

    /// The user's file or folder for this part.
    pub(crate) fn pattern(self, dataset: &settings::Dataset) -> Option<&str> {
        match self {
            Split::Train => dataset.train.as_deref(),
            Split::Test => dataset.test.as_deref(),
        }
    }
}

/// An image: one byte per pixel and channel, channel after channel, each row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image<'a> {
    /// `channels · height · width` bytes.
    pub pixels: Cow<'a, [u8]>,
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// Images with labels. Implement it to train on data that no reader here knows.
///
/// Images of one data set all have the same number of channels, height and width if they are to be batched.
pub trait Dataset: Send + Sync {
    /// Its name.
    fn name(&self) -> &str;

    /// Number of images.
    fn len(&self) -> usize;

    /// Number of classes; every label is below it.
    fn n_classes(&self) -> usize;

    /// The class of an image. It must be cheap: splits ask for all of them.
    ///
    /// # Panics
    /// May panic unless `index < len()`.
    fn label(&self, index: usize) -> u32;

    /// An image.
    ///
    /// # Errors
    /// If its file cannot be read or decoded any more.
    ///
    /// # Panics
    /// May panic unless `index < len()`.
    fn image(&self, index: usize) -> Result<Image<'_>, DataError>;

    /// The classes' names, if the files tell.
    fn class_names(&self) -> Option<&[String]> {
        None
    }

    /// Whether there is no image.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Opens the training or test data that a section of the configuration describes.
///
/// Every image comes out with the section's channels and size: grey images are repeated, coloured ones averaged; sides
/// that are too short are padded with zeros on both ends, sides that are too long are scaled down. Everything but image
/// folders is read into memory at once.
///
/// # Errors
/// [`DataError::Absent`] if the files are not there, [`DataError::Malformed`] if they are damaged or a label is not
/// below `n_classes`, [`DataError::Setting`] if the section contradicts itself.
pub fn open(dataset: &settings::Dataset, split: Split) -> Result<Arc<dyn Dataset>, DataError> {
    check(dataset)?;
    Ok(match dataset.format {
        DatasetFormat::Embedded => Arc::new(embedded::read(dataset, split)?),
        DatasetFormat::Cifar10Binary => Arc::new(cifar::read(dataset, split, &cifar::CIFAR10)?),
        DatasetFormat::Cifar100Binary => Arc::new(cifar::read(dataset, split, &cifar::CIFAR100)?),
        DatasetFormat::Idx => Arc::new(idx::read(dataset, split)?),
        DatasetFormat::Parquet => Arc::new(parquet_images::read(dataset, split)?),
        DatasetFormat::ImageFolder => Arc::new(image_folder::ImageFolder::open(dataset, split)?),
    })
}

/// Largest side of an image, in pixels. Larger ones are damaged files or attacks.
pub(crate) const MAX_SIDE: usize = 16_384;

/// Most bytes of pixels that a data set may take in memory.
const MAX_BYTES: u64 = 16 << 30;

/// Checks what the schema cannot: that the values fit one another.
pub(crate) fn check(dataset: &settings::Dataset) -> Result<(), DataError> {
    if ![1, 3].contains(&dataset.channels) {
        let problem = format!("is {}, expected 1 (grey) or 3 (colour)", dataset.channels);
        return Err(DataError::setting("dataset.channels", problem));
    }
    let [height, width] = dataset.size;
    if !(1..=MAX_SIDE).contains(&height) || !(1..=MAX_SIDE).contains(&width) {
        let problem =
            format!("is [{height}, {width}], expected [height, width] in 1..={MAX_SIDE} pixels");
        return Err(DataError::setting("dataset.size", problem));
    }
    for (key, values) in [("mean", &dataset.mean), ("std", &dataset.std)] {
        if values.len() != dataset.channels {
            return Err(DataError::setting(
                format!("dataset.{key}"),
                format!(
                    "has {} values, expected one for each of the {} channels",
                    values.len(),
                    dataset.channels
                ),
            ));
        }
        if let Some(bad) = values
            .iter()
            .find(|v| !v.is_finite() || (key == "std" && **v <= 0.0))
        {
            let expected = if key == "std" {
                "numbers above 0"
            } else {
                "finite numbers"
            };
            return Err(DataError::setting(
                format!("dataset.{key}"),
                format!("holds {bad}, expected {expected}"),
            ));
        }
    }
    if dataset.n_classes == 0 || u32::try_from(dataset.n_classes).is_err() {
        return Err(DataError::setting(
            "dataset.n_classes",
            "expected a number from 1 to 2^32 - 1",
        ));
    }
    Ok(())
}

/// A data set in memory.
#[derive(Clone, PartialEq, Eq)]
pub struct InMemory {
    name: String,
    n_classes: usize,
    class_names: Option<Vec<String>>,
    shape: [usize; 3],
    pixels: Vec<u8>,
    labels: Vec<u32>,
}

// Without the pixels, which nobody wants to read.
impl std::fmt::Debug for InMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let InMemory {
            name,
            n_classes,
            class_names,
            shape,
            pixels: _,
            labels,
        } = self;
        f.debug_struct("InMemory")
            .field("name", name)
            .field("n_classes", n_classes)
            .field("class_names", class_names)
            .field("shape", shape)
            .field("len", &labels.len())
            .finish_non_exhaustive()
    }
}

impl InMemory {
    /// Images of one `shape` (channels, height, width), laid out as in [`Image`], one after the other.
    ///
    /// # Errors
    /// [`DataError::Setting`] unless `pixels` holds exactly one image per label and all labels are below `n_classes`.
    pub fn new(
        name: impl Into<String>,
        n_classes: usize,
        shape: [usize; 3],
        pixels: Vec<u8>,
        labels: Vec<u32>,
    ) -> Result<InMemory, DataError> {
        let name = name.into();
        let expected = shape
            .iter()
            .try_fold(labels.len(), |product, side| product.checked_mul(*side));
        if expected != Some(pixels.len()) {
            let problem = format!(
                "{} labels of images of shape {shape:?} do not go with {} bytes of pixels",
                labels.len(),
                pixels.len()
            );
            return Err(DataError::setting(name, problem));
        }
        if let Some(label) = labels.iter().find(|label| **label as usize >= n_classes) {
            return Err(DataError::setting(
                name,
                format!("label {label} is not below n_classes = {n_classes}"),
            ));
        }
        Ok(InMemory {
            name,
            n_classes,
            class_names: None,
            shape,
            pixels,
            labels,
        })
    }
}

impl Dataset for InMemory {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> usize {
        self.labels.len()
    }

    fn n_classes(&self) -> usize {
        self.n_classes
    }

    fn label(&self, index: usize) -> u32 {
        self.labels[index]
    }

    fn image(&self, index: usize) -> Result<Image<'_>, DataError> {
        let [channels, height, width] = self.shape;
        let size = channels * height * width;
        let pixels = Cow::Borrowed(&self.pixels[index * size..(index + 1) * size]);
        Ok(Image {
            pixels,
            channels,
            height,
            width,
        })
    }

    fn class_names(&self) -> Option<&[String]> {
        self.class_names.as_deref()
    }
}

/// Gathers what a reader finds into an [`InMemory`], fitted to the configuration.
pub(crate) struct Gather {
    result: InMemory,
}

impl Gather {
    pub(crate) fn new(dataset: &settings::Dataset) -> Gather {
        let [height, width] = dataset.size;
        Gather {
            result: InMemory {
                name: dataset.name.clone(),
                n_classes: dataset.n_classes,
                class_names: None,
                shape: [dataset.channels, height, width],
                pixels: Vec::new(),
                labels: Vec::new(),
            },
        }
    }

    /// Refuses, before anything is read, what would not fit into memory.
    pub(crate) fn expect(&self, path: &Path, n: u64) -> Result<(), DataError> {
        let bytes = self
            .result
            .shape
            .iter()
            .fold(n, |product, side| product.saturating_mul(*side as u64));
        if bytes > MAX_BYTES {
            return Err(DataError::Malformed {
                path: path.to_owned(),
                at: "its header".into(),
                expected: format!("at most {} GiB of pixels", MAX_BYTES >> 30),
                found: format!("{n} images of shape {:?}", self.result.shape),
                mend: "use format image_folder, which reads images when they are needed".into(),
            });
        }
        Ok(())
    }

    /// Adds an image. `at` says where it stands, if something is wrong with it.
    pub(crate) fn push(
        &mut self,
        path: &Path,
        image: Image<'_>,
        label: i64,
        at: impl Fn() -> String,
    ) -> Result<(), DataError> {
        let label = check_label(path, label, self.result.n_classes, at)?;
        let [channels, height, width] = self.result.shape;
        let image = picture::fit(image, channels, [height, width]);
        self.result.pixels.extend_from_slice(&image.pixels);
        self.result.labels.push(label);
        self.expect(path, self.result.labels.len() as u64)
    }

    pub(crate) fn finish(
        mut self,
        path: &Path,
        class_names: Option<&[&str]>,
    ) -> Result<InMemory, DataError> {
        if self.result.labels.is_empty() {
            return Err(DataError::malformed(
                path,
                "its end",
                "at least one image",
                "none",
            ));
        }
        // Names that do not go with the user's number of classes would be wrong names.
        let names = class_names.filter(|names| names.len() == self.result.n_classes);
        self.result.class_names =
            names.map(|names| names.iter().map(|&name| name.to_owned()).collect());
        Ok(self.result)
    }
}

fn check_label(
    path: &Path,
    label: i64,
    n_classes: usize,
    at: impl Fn() -> String,
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
