//! What a data set is like, found out before anything is trained on it: classes and their sizes, the pictures' sides,
//! channels and files, the mean and the deviation of their pixels; and the settings that follow from these.
//!
//! [`find`] says how the files at a path are laid out, [`take_inventory`] what lies in them, [`choose`] makes a section of a configuration
//! of both, [`statistics`] measures the pixels that a network will see, [`Survey::of`] puts all together, and [`describe`] writes it
//! as the file that `--datasets` takes.
//!
//! Everything that costs is limited: of large data sets a keyed sample of pictures is decoded, the same one each time. And it is
//! done once: what was found in files is kept in a [`Cache`] and believed while the files are the same.

mod choice;
mod find;
mod pictures;
mod text;
mod yaml;

use archai_spec::settings::{self, ForSize};
use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::dataset::{Dataset, Split};
use crate::error::DataError;
use crate::format::{Formats, files_of, open};
use crate::rng::Key;

pub use choice::{Chosen, RESOLUTIONS, Wanted, choose};
pub use find::{Found, find, name_of};
pub use pictures::{Pictures, Side, Sides};
pub use yaml::{describe, is_as_written};

/// Most pictures that a survey decodes. The mean of so many is known to about 0.01 of pixels between 0 and 1, their median
/// side to a few pixels.
pub const SAMPLE: usize = 1000;

/// What a data set is like.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Survey {
    /// Its name.
    pub name: String,
    /// The format that reads it.
    pub format: String,
    /// Where it lies.
    pub path: String,
    /// How its files are laid out, in a sentence.
    pub layout: String,
    /// Number of training images.
    pub train: usize,
    /// Number of test images.
    pub test: usize,
    /// The classes in the order of their labels.
    pub classes: Vec<Class>,
    /// How many times more training images the largest class has than the smallest one that has any.
    pub imbalance: f64,
    /// What its pictures are like.
    pub pictures: Pictures,
    /// Height and width at which mean and deviation were taken.
    pub size: [usize; 2],
    /// The mean of each channel, of pixels in [0, 1].
    pub mean: Vec<f32>,
    /// The standard deviation of each channel, of pixels in [0, 1].
    pub std: Vec<f32>,
    /// What whoever trains on it should know.
    pub notes: Vec<String>,
}

/// A class of a data set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Class {
    /// Its name, or its number.
    pub name: String,
    /// Number of its training images.
    pub train: usize,
    /// Number of its test images.
    pub test: usize,
}

/// What was found in the files of a data set, before anything is chosen for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inventory {
    /// The classes in the order of their labels.
    pub classes: Vec<Class>,
    /// Whether there are test data.
    pub has_test: bool,
    /// What the training pictures are like.
    pub pictures: Pictures,
}

/// Looks at the files of a data set, unless the cache knows them.
///
/// # Errors
/// As [`open`]; [`DataError::Io`] if a picture cannot be read. Damaged pictures are counted.
pub fn take_inventory(
    formats: &Formats,
    section: &settings::Dataset,
    cache: &Cache,
) -> Result<Inventory, DataError> {
    let files = files_of_both(formats, section, cache)?;
    cache.known(&["inventory"], section, &files, || {
        let opened = Opened::new(formats, section)?;
        Ok(Inventory {
            classes: opened.classes(),
            has_test: opened.test.is_some(),
            pictures: Pictures::of(&opened)?,
        })
    })
}

/// The mean and the deviation of each channel of the training images, of pixels in [0, 1].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    /// The mean of each channel.
    pub mean: Vec<f32>,
    /// The standard deviation of each channel.
    pub std: Vec<f32>,
}

/// Measures the pixels of a data set's training images, as the network sees them but for normalisation, unless the cache knows
/// them. Damaged pictures do not count.
///
/// # Errors
/// As [`open`]; none of the pictures can be read.
pub fn statistics(
    formats: &Formats,
    section: &settings::Dataset,
    cache: &Cache,
) -> Result<Statistics, DataError> {
    let files = files_of_both(formats, section, cache)?;
    cache.known(&["statistics"], section, &files, || {
        pictures::statistics(&Opened::new(formats, section)?)
    })
}

/// All files on which what is found of a data set depends; none where nothing is kept of it.
fn files_of_both(
    formats: &Formats,
    section: &settings::Dataset,
    cache: &Cache,
) -> Result<Vec<std::path::PathBuf>, DataError> {
    if cache.is_none() {
        return Ok(Vec::new());
    }
    match files_of(formats, section, Split::Test) {
        Err(DataError::Absent { .. }) => files_of(formats, section, Split::Train),
        files => files,
    }
}

/// A data set that was opened to be looked at.
pub struct Opened {
    /// Its section.
    pub section: settings::Dataset,
    /// Its training data.
    pub train: std::sync::Arc<dyn Dataset>,
    /// Its test data, if it has any.
    pub test: Option<std::sync::Arc<dyn Dataset>>,
}

impl Opened {
    /// Opens both parts of a data set. Test data need not be there.
    ///
    /// # Errors
    /// As [`open`].
    pub fn new(formats: &Formats, section: &settings::Dataset) -> Result<Opened, DataError> {
        let test = match open(formats, section, Split::Test) {
            Ok(test) => Some(test),
            Err(DataError::Absent { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(Opened {
            section: section.clone(),
            train: open(formats, section, Split::Train)?,
            test,
        })
    }

    /// The training images that are looked at, in ascending order: all of them, or [`SAMPLE`] that a key chooses.
    pub fn sample(&self) -> Vec<usize> {
        let mut all: Vec<usize> = (0..self.train.len()).collect();
        if all.len() > SAMPLE {
            Key::new(0).with("survey").rng().shuffle(&mut all);
            all.truncate(SAMPLE);
            all.sort_unstable();
        }
        all
    }

    /// The classes, and how many images each of them has.
    pub fn classes(&self) -> Vec<Class> {
        let mut classes: Vec<Class> = (0..self.section.n_classes)
            .map(|class| Class {
                name: self
                    .train
                    .class_names()
                    .get(class)
                    .cloned()
                    .unwrap_or_else(|| class.to_string()),
                train: 0,
                test: 0,
            })
            .collect();
        for index in 0..self.train.len() {
            classes[self.train.label(index) as usize].train += 1;
        }
        if let Some(test) = &self.test {
            for index in 0..test.len() {
                classes[test.label(index) as usize].test += 1;
            }
        }
        classes
    }
}

impl Survey {
    /// Puts together what was found of a data set.
    pub fn of(
        section: &settings::Dataset,
        inventory: Inventory,
        statistics: Statistics,
        layout: impl Into<String>,
    ) -> Survey {
        let count = |f: fn(&Class) -> usize| inventory.classes.iter().map(f).sum();
        Survey {
            name: section.name.clone(),
            format: section.format.clone(),
            path: section.path.clone(),
            layout: layout.into(),
            train: count(|class| class.train),
            test: count(|class| class.test),
            imbalance: imbalance(&inventory.classes),
            notes: notes(section, &inventory),
            classes: inventory.classes,
            pictures: inventory.pictures,
            size: section.size,
            mean: statistics.mean,
            std: statistics.std,
        }
    }

    /// The settings of networks that follow from the size of the images.
    pub fn network(&self) -> ForSize {
        ForSize::of(self.size)
    }
}

fn imbalance(classes: &[Class]) -> f64 {
    let counts = || classes.iter().map(|class| class.train).filter(|n| *n > 0);
    match (counts().max(), counts().min()) {
        (Some(most), Some(least)) => most as f64 / least as f64,
        _ => 1.0,
    }
}

/// From this on classes are so unequal that an accuracy says little of the small ones.
const UNEQUAL: f64 = 3.0;

fn notes(section: &settings::Dataset, inventory: &Inventory) -> Vec<String> {
    let mut notes = Vec::new();
    let classes = &inventory.classes;
    let train: usize = classes.iter().map(|class| class.train).sum();
    let ratio = imbalance(classes);
    let with = || classes.iter().filter(|class| class.train > 0);
    let (most, least) = (
        with().max_by_key(|c| c.train),
        with().min_by_key(|c| c.train),
    );
    if let (Some(most), Some(least)) = (most, least)
        && ratio >= UNEQUAL
    {
        notes.push(format!(
            "classes are unequal: {} training images of {}, {} of {}; a network that always answers `{}` would be right in {:.0} \
             % of them",
            most.train,
            most.name,
            least.train,
            least.name,
            most.name,
            100.0 * most.train as f64 / train.max(1) as f64
        ));
    }
    let empty = |f: fn(&Class) -> usize| {
        let names = classes.iter().filter(|class| f(class) == 0);
        names.map(|class| class.name.clone()).collect::<Vec<_>>()
    };
    for (part, names) in [
        ("training", empty(|class| class.train)),
        ("test", empty(|class| class.test)),
    ] {
        if !names.is_empty() && (part == "training" || inventory.has_test) {
            notes.push(format!(
                "no {part} image of {}",
                crate::format::some_of(&names)
            ));
        }
    }
    if !inventory.has_test {
        notes.push(
            "there are no test data, so that nothing tells how good a network is; dataset.test_ratio sets a share of the images \
             apart"
                .to_string(),
        );
    }
    notes.extend(inventory.pictures.notes(section));
    notes
}
