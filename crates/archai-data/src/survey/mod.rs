//! What a data set is like, found out before anything is trained on it: classes and their sizes, the pictures' sides,
//! channels and files, the mean and the deviation of their pixels; and the settings that follow from these.
//!
//! [`find`] says how the files at a path are laid out, [`Survey::of`] looks at a data set, [`choose`] makes a section of a
//! configuration of both, and [`write`] writes it as the file that `--datasets` takes.
//!
//! Everything that costs is limited: of large data sets a keyed sample of pictures is decoded, the same one each time.

mod choice;
mod find;
mod pictures;
mod text;
mod yaml;

use archai_spec::settings::{self, ForSize};
use serde::Serialize;

use crate::dataset::{Dataset, Split};
use crate::error::DataError;
use crate::format::{Formats, open};
use crate::rng::Key;

pub use choice::{Chosen, RESOLUTIONS, Wanted, choose};
pub use find::{Found, find};
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Class {
    /// Its name, or its number.
    pub name: String,
    /// Number of its training images.
    pub train: usize,
    /// Number of its test images.
    pub test: usize,
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
    /// Looks at a data set. `pictures` are what was found of its pictures before ([`Pictures::of`]).
    ///
    /// # Errors
    /// As [`open`]; a picture that cannot be read, unless damaged ones are left out.
    pub fn of(
        opened: &Opened,
        pictures: Pictures,
        layout: impl Into<String>,
    ) -> Result<Survey, DataError> {
        let section = &opened.section;
        let classes = opened.classes();
        let (mean, std) = pictures::statistics(opened)?;
        let count = |f: fn(&Class) -> usize| classes.iter().map(f).sum();
        Ok(Survey {
            name: section.name.clone(),
            format: section.format.clone(),
            path: section.path.clone(),
            layout: layout.into(),
            train: count(|class| class.train),
            test: count(|class| class.test),
            imbalance: imbalance(&classes),
            notes: notes(opened, &classes, &pictures),
            classes,
            pictures,
            size: section.size,
            mean,
            std,
        })
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

fn notes(opened: &Opened, classes: &[Class], pictures: &Pictures) -> Vec<String> {
    let mut notes = Vec::new();
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
            100.0 * most.train as f64 / opened.train.len().max(1) as f64
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
        if !names.is_empty() && (part == "training" || opened.test.is_some()) {
            notes.push(format!(
                "no {part} image of {}",
                crate::format::some_of(&names)
            ));
        }
    }
    if opened.test.is_none() {
        notes.push(
            "there are no test data, so that nothing tells how good a network is; dataset.test_ratio sets a share of the images \
             apart"
                .to_string(),
        );
    }
    notes.extend(pictures.notes(&opened.section));
    notes
}
