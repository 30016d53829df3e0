//! The data of a run as a part of its identity: two runs are the same only if their images are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use archai_data::{Cache, Contents, Loaders, Split};
use archai_engine::Components;
use archai_spec::settings::{Dataset, Loader, Settings};
use serde::{Deserialize, Serialize};

use crate::error::LabError;
use crate::phase::Phase;

/// What a part of a run's data held when the run began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataPart {
    /// BLAKE3 digest in hexadecimal; see [`archai_data::Dataset::digest`].
    pub digest: String,
    /// Number of images.
    pub images: usize,
    /// How many there were of each class.
    pub per_class: Vec<usize>,
    /// The names of the classes; none if the data did not tell them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub class_names: Vec<String>,
    /// Pictures that were left out because they could not be read.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: usize,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

impl From<&Contents> for DataPart {
    fn from(contents: &Contents) -> Self {
        let Contents {
            digest,
            images,
            per_class,
            class_names,
            left_out,
            notes: _,
        } = contents.clone();
        DataPart {
            digest,
            images,
            per_class,
            class_names,
            left_out,
        }
    }
}

/// The parts of a phase's data by their names: `train`, `test`, and `post_train.…` where training after a search has other
/// data. Empty in what a program wrote that did not look.
pub type Data = BTreeMap<String, DataPart>;

/// What is known of data sets in files, so that each is read once however many phases and algorithms use it.
#[derive(Default)]
pub(crate) struct Seen {
    /// What earlier programs found.
    cache: Cache,
    parts: Mutex<Vec<(Dataset, Split, Contents)>>,
}

impl Seen {
    /// Nothing yet, beside what is kept in `cache`.
    pub fn new(cache: &Cache) -> Seen {
        Seen {
            cache: cache.clone(),
            ..Seen::default()
        }
    }

    /// The data of a phase, all of which is looked at (see [`inspect`]), and what is to be said of it.
    pub fn of_phase(
        &self,
        components: &Components,
        settings: &Settings,
        phase: Phase,
    ) -> Result<(Data, Vec<String>), LabError> {
        let (search, eval) = (&settings.nas.search, &settings.nas.eval);
        let mut data = (Data::new(), Vec::new());
        match phase {
            Phase::Search => {
                self.add("", components, &search.loader, &mut data)?;
                if search.post_train.trainer.epochs > 0 {
                    let loader = &search.post_train.loader;
                    self.add("post_train.", components, loader, &mut data)?;
                }
            }
            Phase::Eval => self.add("", components, &eval.loader, &mut data)?,
        }
        Ok(data)
    }

    fn add(
        &self,
        prefix: &str,
        components: &Components,
        loader: &Loader,
        (data, notes): &mut (Data, Vec<String>),
    ) -> Result<(), LabError> {
        for split in Loaders::parts(loader) {
            let name = match split {
                Split::Train => "train",
                Split::Test => "test",
            };
            let found = self.part(components, &loader.dataset, split)?;
            let part = DataPart::from(&found);
            if data.get(name) != Some(&part) {
                data.insert(format!("{prefix}{name}"), part);
                notes.extend(found.notes);
            }
        }
        Ok(())
    }

    fn part(
        &self,
        components: &Components,
        dataset: &Dataset,
        split: Split,
    ) -> Result<Contents, LabError> {
        // What is done with images later does not change them.
        let files = Dataset {
            max_batches: -1,
            crop_padding: 0,
            flip: false,
            transforms: None,
            ..dataset.clone()
        };
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let known = parts
            .iter()
            .find(|(other, part, _)| (other, *part) == (&files, split));
        if let Some((_, _, known)) = known {
            return Ok(known.clone());
        }
        let found = self.cache.inspect(&components.formats, &files, split)?;
        parts.push((files, split, found.clone()));
        Ok(found)
    }
}

/// Which pictures differ between the data of two runs of a phase, as far as it is known, in sentences.
pub(crate) fn pictures_that_differ(cache: &Cache, then: &Data, now: &Data) -> Vec<String> {
    let both = then
        .iter()
        .filter_map(|(name, then)| Some((name, then, now.get(name)?)));
    both.filter(|(_, then, now)| then.digest != now.digest)
        .filter_map(|(name, then, now)| {
            let difference = cache.difference(&then.digest, &now.digest)?;
            Some(format!("the pictures of the data ({name}): {difference}"))
        })
        .collect()
}

/// What differs between the data of two runs of a phase: the part, and what it held then and now. What one of them does not
/// know does not differ.
pub(crate) fn differences(then: &Data, now: &Data) -> Vec<(String, String, String)> {
    let names: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    let both = names
        .into_iter()
        .filter_map(|name| Some((name, then.get(name)?, now.get(name)?)));
    both.filter(|(_, then, now)| then.digest != now.digest)
        .map(|(name, then, now)| (format!("the data ({name})"), then.told(now), now.told(then)))
        .collect()
}

impl DataPart {
    /// What tells it from another one, in words.
    fn told(&self, other: &DataPart) -> String {
        const SHOWN: usize = 3;
        let name = |class: usize| match self.class_names.get(class) {
            Some(name) => name.clone(),
            None => format!("class {class}"),
        };
        let counts = self.per_class.iter().zip(&other.per_class).enumerate();
        let changed = counts.filter(|(_, (own, others))| own != others);
        let changed = changed.map(|(class, (own, _))| format!("{own} of {}", name(class)));
        let mut changed: Vec<String> = changed.collect();
        if changed.len() > SHOWN {
            changed.truncate(SHOWN);
            changed.push("…".into());
        }
        let counts = match changed.is_empty() {
            true => String::new(),
            false => format!(", {}", changed.join(", ")),
        };
        format!("{} images{counts} (digest {:.8})", self.images, self.digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(digest: &str, per_class: &[usize]) -> DataPart {
        DataPart {
            digest: digest.repeat(16),
            images: per_class.iter().sum(),
            per_class: per_class.to_vec(),
            class_names: vec!["cat".into(), "dog".into()],
            left_out: 0,
        }
    }

    #[test]
    fn what_changed_is_told() {
        let data = |train: DataPart| Data::from([("train".to_owned(), train)]);
        let then = data(part("ab", &[5, 5]));
        let same = differences(&then, &then);
        assert!(same.is_empty(), "{same:?}");
        let unknown = differences(&then, &Data::new());
        assert!(unknown.is_empty(), "{unknown:?}");
        let [(name, before, after)] = &differences(&then, &data(part("cd", &[5, 3])))[..] else {
            panic!("one difference is there")
        };
        assert_eq!(name, "the data (train)");
        assert_eq!(before, "10 images, 5 of dog (digest abababab)");
        assert_eq!(after, "8 images, 3 of dog (digest cdcdcdcd)");
        let other = differences(&then, &data(part("ef", &[5, 5])));
        assert_eq!(other[0].2, "10 images (digest efefefef)");
    }
}
