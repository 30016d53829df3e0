//! Augmentation as a loader's section asks for it.

use std::collections::BTreeSet;

use archai_data::rng::Key;
use archai_data::{DataError, Image, Loaders, Pipeline, Split, formats, open, transforms};
use archai_spec::settings::{
    Aug, AugMix, AugName, AugOp, AugStep, AugWith, ClassWeights, ColorJitter, Dataset, Loader,
    RandAugment, RandomAffine, RandomErasing, Sampler,
};

use crate::fixtures::{check_error, mini, settings};

fn section(dataset: Dataset) -> Loader {
    Loader {
        dataset,
        cutout: 0,
        aug: None,
        random_erasing: None,
        load_train: true,
        load_test: true,
        train_batch: 16,
        test_batch: 16,
        train_workers: 0,
        test_workers: 0,
        val_ratio: 0.0,
        val_augment: false,
        mix: None,
        sampler: Sampler::Shuffled,
        class_weights: ClassWeights::Equal,
    }
}

fn pipeline(section: &Loader) -> Result<Pipeline, DataError> {
    Pipeline::of_loader(section, &transforms::builtin())
}

/// The numbers of the first training image, in this pass.
fn numbers(pipeline: &Pipeline, image: &Image<'_>, pass: u64) -> Vec<f32> {
    let mut out = vec![f32::NAN; pipeline.shape().iter().product()];
    pipeline
        .apply(image, Key::new(3).with(pass), &mut out)
        .unwrap();
    out
}

#[test]
fn each_setting_changes_training_images_and_nothing_else() {
    let plain = section(Dataset {
        crop_padding: 0,
        flip: false,
        ..mini()
    });
    let data = open(&formats::builtin(), &plain.dataset, Split::Train).unwrap();
    let image = data.image(7).unwrap();
    let before = numbers(&pipeline(&plain).unwrap(), &image, 0);
    let by = |change: &dyn Fn(&mut Loader)| {
        let mut section = plain.clone();
        change(&mut section);
        section
    };
    let all: [(&str, Loader); 6] = [
        (
            "aug",
            by(&|s| s.aug = Some(Aug::Named(AugName::Trivialaugment))),
        ),
        ("arsaug", by(&|s| s.aug = Some(Aug::Named(AugName::Arsaug)))),
        (
            "augmix",
            by(&|s| s.aug = Some(Aug::With(AugWith::Augmix(AugMix::default())))),
        ),
        (
            "random_erasing",
            by(&|s| s.random_erasing = Some(RandomErasing::default())),
        ),
        (
            "color_jitter",
            by(&|s| {
                s.dataset.color_jitter = Some(ColorJitter {
                    contrast: 0.5,
                    ..ColorJitter::default()
                });
            }),
        ),
        (
            "random_affine",
            by(&|s| {
                s.dataset.random_affine = Some(RandomAffine {
                    degrees: 20.0,
                    ..RandomAffine::default()
                });
            }),
        ),
    ];
    for (name, section) in all {
        let augmented = pipeline(&section).unwrap();
        let passes: Vec<_> = (0..40)
            .map(|pass| numbers(&augmented, &image, pass))
            .collect();
        let bits = |values: &Vec<f32>| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        let different: BTreeSet<_> = passes.iter().map(bits).collect();
        assert!(different.len() >= 8, "{name}: {}", different.len());
        // The same pass is the same, whenever it is asked for.
        assert_eq!(numbers(&augmented, &image, 5), passes[5], "{name}");
        let test = Pipeline::test(&section.dataset, &transforms::builtin()).unwrap();
        assert_eq!(numbers(&test, &image, 1), before, "{name}");
        // Any number of threads gives the same batches.
        let batches = |workers| {
            let section = Loader {
                train_workers: workers,
                ..section.clone()
            };
            let (formats, transforms) = (formats::builtin(), transforms::builtin());
            let loaders = Loaders::new(&section, &formats, &transforms, 2, "search").unwrap();
            let batches = loaders.train.epoch(1).take(6);
            batches
                .map(|batch| batch.unwrap().images)
                .collect::<Vec<_>>()
        };
        let alone = batches(0);
        assert!(
            [1, 3].into_iter().all(|workers| batches(workers) == alone),
            "{name}"
        );
    }
}

#[test]
fn one_setting_does_not_move_anothers_draws() {
    let mut section = section(Dataset {
        crop_padding: 4,
        flip: true,
        ..mini()
    });
    let data = open(&formats::builtin(), &section.dataset, Split::Train).unwrap();
    let image = data.image(7).unwrap();
    let plain = pipeline(&section).unwrap();
    // Erasing comes last: what it leaves is as it was without it.
    section.random_erasing = Some(RandomErasing {
        p: 1.0,
        ..RandomErasing::default()
    });
    let erased = pipeline(&section).unwrap();
    for pass in 0..20 {
        let (before, after) = (
            numbers(&plain, &image, pass),
            numbers(&erased, &image, pass),
        );
        let left = before
            .iter()
            .zip(&after)
            .filter(|(_, after)| **after != 0.0);
        assert!(left.into_iter().all(|(before, after)| before == after));
        let n = after.iter().filter(|v| **v == 0.0).count();
        assert!((10..=400).contains(&n), "{n} of 1024");
    }
}

#[test]
fn no_augmentation_is_ignored_or_out_of_place() {
    let mut base = section(settings("idx", "", 2, 3, [8, 8]));
    base.dataset.transforms = Some(vec!["normalise".into()]);
    let listed = |names: &[&str], section: &Loader| {
        let mut section = section.clone();
        section.dataset.transforms = Some(names.iter().map(|name| (*name).to_owned()).collect());
        pipeline(&section)
    };
    let mut aug = base.clone();
    aug.aug = Some(Aug::With(AugWith::Randaugment(RandAugment::default())));
    check_error(
        pipeline(&aug),
        &["does not list `aug`, but loader.aug is {\"randaugment\":{\"n\":2,\"m\":9,\"bins\":31}}"],
    );
    check_error(
        listed(&["normalise", "aug"], &aug),
        &[
            "dataset.transforms",
            "lists `aug` behind `normalise`",
            "list it first",
        ],
    );
    listed(&["flip", "aug", "normalise"], &aug).unwrap();
    let mut erasing = base.clone();
    erasing.random_erasing = Some(RandomErasing::default());
    check_error(pipeline(&erasing), &["does not list `random_erasing`"]);
    erasing.random_erasing = Some(RandomErasing {
        p: 2.0,
        ..RandomErasing::default()
    });
    check_error(pipeline(&erasing), &["loader.random_erasing", "p is 2"]);
    let mut jitter = base.clone();
    jitter.dataset.color_jitter = Some(ColorJitter {
        hue: 0.1,
        ..ColorJitter::default()
    });
    check_error(pipeline(&jitter), &["does not list `color_jitter`"]);
    jitter.dataset.color_jitter = Some(ColorJitter {
        hue: 0.7,
        ..ColorJitter::default()
    });
    check_error(pipeline(&jitter), &["dataset.color_jitter", "0.7"]);
    let mut affine = base.clone();
    affine.dataset.random_affine = Some(RandomAffine {
        scale: [1.1, 0.9],
        ..RandomAffine::default()
    });
    check_error(pipeline(&affine), &["dataset.random_affine", "[1.1, 0.9]"]);
    let mut own = base;
    own.aug = Some(Aug::List(vec![vec![AugStep(AugOp::Rotate, 0.5, 1.5)]]));
    check_error(pipeline(&own), &["loader.aug", "step [Rotate, 0.5, 1.5]"]);
}
