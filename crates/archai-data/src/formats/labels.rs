//! Labels as people write them: numbers from 0, or the names of classes. Which of the two they are the training data say, so
//! that a test part that lacks a class does not shift the rest.

use std::collections::HashMap;
use std::path::Path;

use archai_spec::settings;

use crate::dataset::Split;
use crate::error::DataError;
use crate::format::some_of;

/// The number of classes of a section that is opened to find it out: more than any data set has.
pub(crate) const UNKNOWN_CLASSES: usize = 1 << 20;

/// Most different labels; a data set with a class for each picture is a mistake.
const MAX_CLASSES: usize = 1 << 20;

/// The labels of pictures as they are written, in the order of the pictures.
#[derive(Default)]
pub(super) struct Labels {
    known: HashMap<Box<str>, u32>,
    texts: Vec<Box<str>>,
    of: Vec<u32>,
}

/// What the labels of training data are.
pub(super) enum Classes {
    /// Numbers from 0.
    Numbers,
    /// The names of classes, sorted, which are numbered so.
    Names(Vec<String>),
}

impl Labels {
    /// Adds the label of the next picture, without the spaces around it. `path` and `at` say where it stands.
    ///
    /// # Errors
    /// [`DataError::Malformed`] if it is empty, or one of far too many.
    pub(super) fn push(
        &mut self,
        path: &Path,
        text: &str,
        at: &dyn Fn() -> String,
    ) -> Result<(), DataError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(DataError::malformed(path, at(), "a label", "nothing"));
        }
        let number = match self.known.get(text) {
            Some(&number) => number,
            None if self.texts.len() >= MAX_CLASSES => {
                let expected = format!("at most {MAX_CLASSES} different labels");
                return Err(DataError::malformed(path, at(), expected, "another one"));
            }
            None => {
                let number = self.texts.len() as u32;
                self.known.insert(text.into(), number);
                self.texts.push(text.into());
                number
            }
        };
        self.of.push(number);
        Ok(())
    }

    /// What the labels are: numbers if all of them are whole numbers, else names.
    ///
    /// # Errors
    /// [`DataError::Setting`] if there are not as many names as the section has classes.
    fn classes(
        &self,
        dataset: &settings::Dataset,
        split: Split,
        place: &Path,
    ) -> Result<Classes, DataError> {
        if self.texts.iter().all(|text| text.parse::<i64>().is_ok()) {
            return Ok(Classes::Numbers);
        }
        let mut names: Vec<String> = self.texts.iter().map(|text| text.to_string()).collect();
        names.sort_unstable();
        if ![names.len(), UNKNOWN_CLASSES].contains(&dataset.n_classes) {
            return Err(DataError::setting(
                "dataset.n_classes",
                format!(
                    "is {}, but the {} data in '{}' have {} classes: {}",
                    dataset.n_classes,
                    split.as_str(),
                    place.display(),
                    names.len(),
                    some_of(&names)
                ),
            ));
        }
        Ok(Classes::Names(names))
    }

    /// The labels as numbers. `place` is what they come from, and `at` says where in it a picture is.
    ///
    /// # Errors
    /// [`DataError::Malformed`] for the first label that names no class.
    fn numbers(
        &self,
        dataset: &settings::Dataset,
        classes: &Classes,
        at: &dyn Fn(usize) -> (std::path::PathBuf, String),
    ) -> Result<Vec<u32>, DataError> {
        let number = |text: &str| match classes {
            Classes::Numbers => {
                let number = text.parse::<u32>().ok();
                number.filter(|&number| (number as usize) < dataset.n_classes)
            }
            Classes::Names(names) => {
                let found = names.binary_search_by(|name| name.as_str().cmp(text));
                found.ok().map(|number| number as u32)
            }
        };
        let numbers: Vec<Option<u32>> = self.texts.iter().map(|text| number(text)).collect();
        let of = |(index, &text): (usize, &u32)| {
            numbers[text as usize].ok_or_else(|| {
                let (path, at) = at(index);
                DataError::Malformed {
                    path,
                    at,
                    expected: match classes {
                        Classes::Numbers => format!("a label in 0..{}", dataset.n_classes),
                        Classes::Names(names) => {
                            format!("a class of the training data: {}", some_of(names))
                        }
                    },
                    found: self.texts[text as usize].to_string(),
                    mend: "correct the label or dataset.n_classes, or leave the picture out".into(),
                }
            })
        };
        self.of.iter().enumerate().map(of).collect()
    }
}

/// The labels of a part as numbers, and the names of the classes, if they have names. `train` reads the labels of the
/// training data, which decide; where there are none, the test data decide themselves.
///
/// # Errors
/// As reading the training data; [`DataError::Setting`] if there are not as many classes as the section says;
/// [`DataError::Malformed`] for the first label that names no class.
pub(super) fn numbered(
    dataset: &settings::Dataset,
    split: Split,
    labels: &Labels,
    train: impl FnOnce() -> Result<Labels, DataError>,
    at: &dyn Fn(usize) -> (std::path::PathBuf, String),
) -> Result<(Vec<u32>, Vec<String>), DataError> {
    let place = Path::new(&dataset.path);
    let classes = match split {
        Split::Train => labels.classes(dataset, split, place)?,
        Split::Test => match train() {
            Ok(train) => train.classes(dataset, Split::Train, place)?,
            Err(DataError::Absent { .. }) => labels.classes(dataset, split, place)?,
            Err(error) => return Err(error),
        },
    };
    let numbers = labels.numbers(dataset, &classes, at)?;
    Ok(match classes {
        Classes::Numbers => (numbers, Vec::new()),
        Classes::Names(names) => (numbers, names),
    })
}
