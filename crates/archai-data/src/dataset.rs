//! What a data set is to the rest of the program: images with labels, from wherever.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use archai_spec::settings;
use serde::{Deserialize, Serialize};

use crate::error::DataError;

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

    /// The key of the setting that names its files.
    pub fn key(self) -> &'static str {
        match self {
            Split::Train => "dataset.train",
            Split::Test => "dataset.test",
        }
    }

    /// The user's file or folder for this part (`dataset.train` or `dataset.test`), if the section names one.
    pub fn pattern(self, dataset: &settings::Dataset) -> Option<&str> {
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

/// A picture in a list of those that a data set has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Its name in the data set.
    pub name: String,
    /// Its class.
    pub label: u32,
    /// The beginning of the digest of its bytes.
    pub digest: String,
}

/// A picture as it lies on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The file that it is, or that it lies in.
    pub path: PathBuf,
    /// Where it lies in this file, for messages.
    pub at: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Images with labels. Implement it to train on images of your own; implement [`DataFormat`](crate::DataFormat) as well
/// if configurations shall name them.
///
/// Images may be of any size, and of one or three channels: the [`Pipeline`](crate::Pipeline) brings them to what the network sees.
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

    /// The file of an image as it is encoded, for who wants to know what the image was before it was fitted; none where there
    /// is no such file. By default there is none.
    fn encoded(&self, index: usize) -> Option<Result<Encoded, DataError>> {
        let _ = index;
        None
    }

    /// The file that an image is, where it is one of its own. By default it is none.
    fn file(&self, index: usize) -> Option<&Path> {
        let _ = index;
        None
    }

    /// The name of an image in its data set, such as its file below `dataset.path`; none where images have no names. It must be
    /// cheap. By default there is none.
    ///
    /// # Panics
    /// May panic unless `index < len()`.
    fn item_name(&self, index: usize) -> Option<String> {
        let _ = index;
        None
    }

    /// The same digest, and the pictures that it is made of, where each has a name; the first call of both reads them. By
    /// default none has.
    ///
    /// # Errors
    /// As [`Dataset::digest`].
    fn digest_listed(&self) -> Result<(String, Option<Vec<Listed>>), DataError> {
        Ok((self.digest()?, None))
    }

    /// Whether there is no image.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The names of its classes in the order of their labels; none if the data do not tell them.
    fn class_names(&self) -> &[String] {
        &[]
    }

    /// What was left out because it cannot be read (`dataset.on_damaged: skip`): the place of each picture.
    fn left_out(&self) -> &[String] {
        &[]
    }

    /// Looks at everything once, and gives a BLAKE3 digest in hexadecimal of what distinguishes this data from other data,
    /// wherever it lies: by default, of the labels and pixels of all images. A data set whose images are not in memory gives
    /// one that costs less.
    ///
    /// # Errors
    /// As [`Dataset::image`], for whatever can be seen to be damaged.
    fn digest(&self) -> Result<String, DataError> {
        let mut hasher = PixelHasher::new();
        for index in 0..self.len() {
            hasher.add(&self.image(index)?, self.label(index));
        }
        Ok(hasher.finish())
    }
}

/// The digest of the labels and pixels of all images, which [`Dataset::digest`] gives by default.
pub(crate) struct PixelHasher(blake3::Hasher);

impl PixelHasher {
    pub(crate) fn new() -> PixelHasher {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"archai images 1\n");
        PixelHasher(hasher)
    }

    pub(crate) fn add(&mut self, image: &Image<'_>, label: u32) {
        for number in [image.channels, image.height, image.width] {
            self.0.update(&(number as u64).to_le_bytes());
        }
        self.0.update(&label.to_le_bytes());
        self.0.update(&image.pixels);
    }

    pub(crate) fn finish(self) -> String {
        self.0.finalize().to_hex().to_string()
    }
}

/// Longest side of an image, in pixels.
pub(crate) const MAX_SIDE: usize = settings::Dataset::MAX_SIDE;

/// Checks what the schema cannot: that the values fit one another. A section that comes from a configuration was checked
/// before; one that a program made was not.
pub(crate) fn check(dataset: &settings::Dataset) -> Result<(), DataError> {
    match dataset.check().into_iter().next() {
        None => Ok(()),
        Some((key, problem)) => Err(DataError::setting(format!("dataset.{key}"), problem)),
    }
}

/// A data set in memory.
#[derive(Clone, PartialEq, Eq)]
pub struct InMemory {
    pub(crate) name: String,
    pub(crate) n_classes: usize,
    pub(crate) channels: usize,
    pub(crate) sizes: Sizes,
    pub(crate) pixels: Vec<u8>,
    pub(crate) labels: Vec<u32>,
    pub(crate) class_names: Vec<String>,
    pub(crate) left_out: Vec<String>,
}

/// The heights and widths of images that lie one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sizes {
    /// All images have this one.
    Same([usize; 2]),
    /// Each has its own, and begins at this byte.
    Each(Vec<(usize, [usize; 2])>),
}

// Without the pixels, which nobody wants to read.
impl std::fmt::Debug for InMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let InMemory {
            name,
            n_classes,
            channels,
            sizes,
            pixels: _,
            labels,
            class_names,
            left_out,
        } = self;
        f.debug_struct("InMemory")
            .field("name", name)
            .field("n_classes", n_classes)
            .field("channels", channels)
            .field(
                "size",
                match sizes {
                    Sizes::Same(size) => size,
                    Sizes::Each(_) => &"of its own for each image",
                },
            )
            .field("len", &labels.len())
            .field("class_names", class_names)
            .field("left_out", left_out)
            .finish_non_exhaustive()
    }
}

impl InMemory {
    /// No images yet.
    pub(crate) fn empty(name: &str, n_classes: usize, channels: usize, sizes: Sizes) -> InMemory {
        InMemory {
            name: name.to_owned(),
            n_classes,
            channels,
            sizes,
            pixels: Vec::new(),
            labels: Vec::new(),
            class_names: Vec::new(),
            left_out: Vec::new(),
        }
    }

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
        let [channels, height, width] = shape;
        Ok(InMemory {
            name,
            n_classes,
            channels,
            sizes: Sizes::Same([height, width]),
            pixels,
            labels,
            class_names: Vec::new(),
            left_out: Vec::new(),
        })
    }

    /// The same with the names of its classes, in the order of their labels.
    ///
    /// # Errors
    /// [`DataError::Setting`] unless there is one name for each class.
    pub fn with_class_names(self, names: Vec<String>) -> Result<InMemory, DataError> {
        if names.len() != self.n_classes {
            let problem = format!("{} classes have {} names", self.n_classes, names.len());
            return Err(DataError::setting(self.name, problem));
        }
        Ok(InMemory {
            class_names: names,
            ..self
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
        let channels = self.channels;
        let (start, [height, width]) = match &self.sizes {
            Sizes::Same([height, width]) => (index * channels * height * width, [*height, *width]),
            Sizes::Each(each) => each[index],
        };
        let end = start + channels * height * width;
        Ok(Image {
            pixels: Cow::Borrowed(&self.pixels[start..end]),
            channels,
            height,
            width,
        })
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn left_out(&self) -> &[String] {
        &self.left_out
    }
}
