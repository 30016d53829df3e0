//! Test data for data sets that have none of their own: a share of their images, the same of each class, chosen by a seed of
//! its own (`dataset.test_ratio`, `dataset.split_seed`).

use std::path::Path;
use std::sync::Arc;

use archai_spec::settings;

use crate::dataset::{Dataset, Encoded, Image, Listed, Split};
use crate::error::DataError;
use crate::format::DataFormat;
use crate::rng::Key;
use crate::split::{n_validation, stratified};

/// Opens the images of a data set without test data, and keeps those of one part.
///
/// # Errors
/// As [`DataFormat::open`]; the data set has test data of its own, which would be passed over.
pub(crate) fn open(
    format: &dyn DataFormat,
    dataset: &settings::Dataset,
    split: Split,
) -> Result<Arc<dyn Dataset>, DataError> {
    check_alone(format, dataset)?;
    let all = format.open(dataset, Split::Train)?;
    let labels: Vec<u32> = (0..all.len()).map(|index| all.label(index)).collect();
    let n_test = n_validation(labels.len(), dataset.test_ratio);
    let key = Key::new(dataset.split_seed).with("test data");
    let (train, test) = stratified(&labels, labels.len() - n_test, key);
    let (kept, left_out) = match split {
        Split::Train => (train, all.left_out().to_vec()),
        Split::Test => (test, Vec::new()),
    };
    Ok(Arc::new(Part {
        all,
        split,
        kept,
        left_out,
    }))
}

/// Refuses a share of the training data where there are test data already.
fn check_alone(format: &dyn DataFormat, dataset: &settings::Dataset) -> Result<(), DataError> {
    let own = match format.needs_path() {
        false => Some(format!("the format `{}` brings its own", format.name())),
        true => match (
            format.files(dataset, Split::Train)?,
            format.files(dataset, Split::Test),
        ) {
            // A format that does not tell its parts apart has no test data.
            (train, Ok(test)) if train != test => (test.iter().all(|file| file.exists()))
                .then(|| {
                    test.first()
                        .map(|file| format!("there is '{}'", file.display()))
                })
                .flatten(),
            (_, Err(error)) if !matches!(error, DataError::Absent { .. }) => return Err(error),
            _ => None,
        },
    };
    match own {
        None => Ok(()),
        Some(own) => Err(DataError::setting(
            "dataset.test_ratio",
            format!(
                "is {}, but the data set has test data ({own}), which would be passed over; take the key out, or move the test \
                 data away",
                dataset.test_ratio
            ),
        )),
    }
}

/// Some images of a data set.
struct Part {
    all: Arc<dyn Dataset>,
    split: Split,
    /// Their indices, in ascending order.
    kept: Vec<usize>,
    left_out: Vec<String>,
}

impl Dataset for Part {
    fn name(&self) -> &str {
        self.all.name()
    }

    fn len(&self) -> usize {
        self.kept.len()
    }

    fn n_classes(&self) -> usize {
        self.all.n_classes()
    }

    fn label(&self, index: usize) -> u32 {
        self.all.label(self.kept[index])
    }

    fn image(&self, index: usize) -> Result<Image<'_>, DataError> {
        self.all.image(self.kept[index])
    }

    fn encoded(&self, index: usize) -> Option<Result<Encoded, DataError>> {
        self.all.encoded(self.kept[index])
    }

    fn file(&self, index: usize) -> Option<&Path> {
        self.all.file(self.kept[index])
    }

    fn item_name(&self, index: usize) -> Option<String> {
        self.all.item_name(self.kept[index])
    }

    fn class_names(&self) -> &[String] {
        self.all.class_names()
    }

    fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// Of the whole data set and of the choice: the former may cost less than to look at every image.
    fn digest(&self) -> Result<String, DataError> {
        Ok(self.of_all(&self.all.digest()?))
    }

    fn digest_listed(&self) -> Result<(String, Option<Vec<Listed>>), DataError> {
        let (all, listed) = self.all.digest_listed()?;
        let kept = listed.map(|listed| {
            let one = |&index: &usize| listed.get(index).cloned();
            self.kept.iter().filter_map(one).collect()
        });
        Ok((self.of_all(&all), kept))
    }
}

impl Part {
    /// The digest of this part of data that have this one.
    fn of_all(&self, all: &str) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"archai part 1\n");
        hasher.update(all.as_bytes());
        hasher.update(format!("\n{}\n", self.split.as_str()).as_bytes());
        for index in &self.kept {
            hasher.update(&(*index as u64).to_le_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }
}
