//! All loaders of a training, from one section of the configuration.

use std::sync::Arc;

use archai_spec::settings::{self, ClassWeights, Sampler};

use crate::dataset::{Dataset, Split};
use crate::error::DataError;
use crate::format::{Contents, Formats, check_place, inspect, open};
use crate::loader::Loader;
use crate::rng::Key;
use crate::split;
use crate::transform::{Pipeline, Transforms};

/// The loaders of a training.
#[derive(Clone, Debug)]
pub struct Loaders {
    /// What weights learn from: shuffled and augmented. Empty unless the section loads training data.
    pub train: Loader,
    /// The share set apart for validation, for measuring: in the data set's order, not augmented. None if `val_ratio`
    /// is 0.
    pub valid: Option<Loader>,
    /// The same images for moving the architecture: shuffled, in training batches, and augmented if the section says so.
    pub valid_arch: Option<Loader>,
    /// Test data: in its own order, not augmented. None unless the section loads test data.
    pub test: Option<Loader>,
}

impl Loaders {
    /// Finds out, before anything is begun that needs the data, whether [`Loaders::new`] could work: whether the section's
    /// transforms fit its settings, and whether the files of each part that it loads are there. No file is read.
    ///
    /// # Errors
    /// As [`Loaders::new`], as far as it can be known without reading the files.
    pub fn check(
        settings: &settings::Loader,
        formats: &Formats,
        transforms: &Transforms,
    ) -> Result<(), DataError> {
        pipelines(settings, transforms)?;
        for split in Loaders::parts(settings) {
            check_place(formats, &settings.dataset, split)?;
        }
        Ok(())
    }

    /// The parts of the data set that a section loads.
    pub fn parts(settings: &settings::Loader) -> impl Iterator<Item = Split> {
        let all = [
            (settings.load_train, Split::Train),
            (settings.load_test, Split::Test),
        ];
        all.into_iter()
            .filter_map(|(is_loaded, split)| is_loaded.then_some(split))
    }

    /// What [`Loaders::check`] finds out and more, for all files are read: what each part that the section loads holds, and
    /// whether all of it can be read, as far as can be known without decoding images; see [`inspect`].
    ///
    /// # Errors
    /// As [`Loaders::check`] and [`inspect`].
    pub fn inspect(
        settings: &settings::Loader,
        formats: &Formats,
        transforms: &Transforms,
    ) -> Result<Vec<(Split, Contents)>, DataError> {
        Loaders::check(settings, formats, transforms)?;
        Loaders::parts(settings)
            .map(|split| Ok((split, inspect(formats, &settings.dataset, split)?)))
            .collect()
    }

    /// The names of the classes in the order of their labels; none if the data do not tell them.
    pub fn class_names(&self) -> &[String] {
        let parts = [Some(&self.train), self.test.as_ref()];
        let names = parts.into_iter().flatten();
        names
            .map(|loader| loader.dataset().class_names())
            .find(|names| !names.is_empty())
            .unwrap_or_default()
    }

    /// Opens the data and divides it. `formats` and `transforms` are what the section may name. `seed` decides the split
    /// alone, so that all phases of a run agree on it; `seed` and `purpose` (the phase's name) decide orders and
    /// augmentation.
    ///
    /// `max_batches` limits the training data before the split: to that many training batches, or to as many images as
    /// it takes for one of each class in both parts. The limited set is stratified too.
    ///
    /// # Errors
    /// As [`open`]; [`DataError::Setting`] if `val_ratio` leaves a part without images.
    pub fn new(
        settings: &settings::Loader,
        formats: &Formats,
        transforms: &Transforms,
        seed: u64,
        purpose: &str,
    ) -> Result<Loaders, DataError> {
        let dataset = &settings.dataset;
        let (augmented, plain) = pipelines(settings, transforms)?;
        let key = Key::new(seed).with(purpose);
        let base = Key::new(seed).with("data");
        let test = match settings.load_test {
            true => {
                let data = open(formats, dataset, Split::Test)?;
                let items = limited(
                    &*data,
                    dataset.max_batches,
                    settings.test_batch,
                    |n| n,
                    base.with("test limit"),
                )?;
                let loader =
                    Loader::new(data, plain.clone(), settings.test_batch).with_items(items);
                Some(loader.with_workers(settings.test_workers))
            }
            false => None,
        };
        if !settings.load_train {
            let none = crate::InMemory::new(
                &dataset.name,
                dataset.n_classes,
                augmented.shape(),
                vec![],
                vec![],
            )?;
            let train = Loader::new(Arc::new(none), augmented, settings.train_batch);
            return Ok(Loaders {
                train,
                valid: None,
                valid_arch: None,
                test,
            });
        }

        let data = open(formats, dataset, Split::Train)?;
        let ratio = settings.val_ratio;
        let raise = |n| split::enough_for_both(n, ratio, data.n_classes(), data.len());
        let items = limited(
            &*data,
            dataset.max_batches,
            settings.train_batch,
            raise,
            base.with("train limit"),
        )?;
        let (train, valid) = divide(&*data, items, ratio, base.with("split"))?;

        let (train_workers, valid_workers) = share(settings.train_workers, ratio);
        let loader = |items, transform: &Pipeline, batch| {
            Loader::new(Arc::clone(&data), transform.clone(), batch).with_items(items)
        };
        let valid_arch = (!valid.is_empty()).then(|| {
            let transform = if settings.val_augment {
                &augmented
            } else {
                &plain
            };
            loader(valid.clone(), transform, settings.train_batch)
                .shuffled(key.with("valid"))
                .with_workers(valid_workers)
        });
        let valid = (!valid.is_empty()).then(|| {
            loader(valid, &plain, settings.test_batch).with_workers(settings.test_workers)
        });
        let weights = match settings.class_weights {
            ClassWeights::Equal => None,
            ClassWeights::Balanced => Some(balanced(&*data, &train)),
        };
        let train = loader(train, &augmented, settings.train_batch);
        let train = match settings.sampler {
            Sampler::Shuffled => train.shuffled(key.with("train")),
            Sampler::Balanced => train.balanced(key.with("train")),
        };
        let train = train.mixed(settings.mix).with_workers(train_workers);
        let train = match weights {
            Some(weights) => train.weighted(weights),
            None => train,
        };
        Ok(Loaders {
            train,
            valid,
            valid_arch,
            test,
        })
    }
}

/// What is done to images that are learnt from, and to those that are measured on.
fn pipelines(
    settings: &settings::Loader,
    transforms: &Transforms,
) -> Result<(Pipeline, Pipeline), DataError> {
    let dataset = &settings.dataset;
    Ok((
        Pipeline::of_loader(settings, transforms)?,
        Pipeline::test(dataset, transforms)?,
    ))
}

/// The images that `max_batches` leaves, stratified; all if it is negative.
fn limited(
    data: &dyn Dataset,
    max_batches: i64,
    batch: usize,
    raise: impl Fn(usize) -> usize,
    key: Key,
) -> Result<Vec<usize>, DataError> {
    let Ok(batches) = usize::try_from(max_batches) else {
        return Ok((0..data.len()).collect());
    };
    let n = raise(batches.saturating_mul(batch));
    Ok(split::stratified(&labels(data), n, key).0)
}

/// Training and validation images.
fn divide(
    data: &dyn Dataset,
    items: Vec<usize>,
    ratio: f64,
    key: Key,
) -> Result<(Vec<usize>, Vec<usize>), DataError> {
    if !(0.0..1.0).contains(&ratio) {
        return Err(DataError::setting(
            "loader.val_ratio",
            format!("is {ratio}, expected a number in [0, 1)"),
        ));
    }
    let n_valid = split::n_validation(items.len(), ratio);
    let empty = |part: &str, way: &str| {
        let problem = format!(
            "is {ratio}, which leaves no {part} image of {}; {way} it, or use more data (dataset.max_batches)",
            items.len()
        );
        Err(DataError::setting("loader.val_ratio", problem))
    };
    if n_valid == items.len() {
        return empty("training", "lower");
    }
    if n_valid == 0 && ratio > 0.0 {
        return empty("validation", "raise");
    }
    let of_items: Vec<u32> = items.iter().map(|&item| data.label(item)).collect();
    let (train, valid) = split::stratified(&of_items, items.len() - n_valid, key);
    let pick = |positions: Vec<usize>| {
        positions
            .into_iter()
            .map(|position| items[position])
            .collect()
    };
    Ok((pick(train), pick(valid)))
}

/// n / (K·n_c) for each class c of the `items`; 0 for one that none of them has, so that it cannot matter.
fn balanced(data: &dyn Dataset, items: &[usize]) -> Arc<[f64]> {
    let mut counts = vec![0_usize; data.n_classes()];
    for &item in items {
        counts[data.label(item) as usize] += 1;
    }
    let share = items.len() as f64 / counts.len() as f64;
    let weight = |&count: &usize| match count {
        0 => 0.0,
        count => share / count as f64,
    };
    counts.iter().map(weight).collect()
}

fn labels(data: &dyn Dataset) -> Vec<u32> {
    (0..data.len()).map(|item| data.label(item)).collect()
}

/// Divides the workers between training and validation batches in proportion, but leaves neither without.
fn share(workers: usize, ratio: f64) -> (usize, usize) {
    let least = workers.min(1);
    let train = (((1.0 - ratio) * workers as f64).round() as usize).max(least);
    (train, (workers - train.min(workers)).max(least))
}
