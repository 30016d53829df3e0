use archai_data::{Batch, DataError, Loader, Loaders, formats, transforms};
use archai_spec::settings;
use tempfile::TempDir;

use crate::fixtures::{self, check_error, idx, settings as plain_settings, write};

fn section(dataset: settings::Dataset) -> settings::Loader {
    settings::Loader {
        dataset,
        cutout: 0,
        aug: None,
        random_erasing: None,
        load_train: true,
        load_test: true,
        train_batch: 32,
        test_batch: 64,
        train_workers: 2,
        test_workers: 1,
        val_ratio: 0.5,
        val_augment: true,
        mix: None,
        sampler: settings::Sampler::Shuffled,
        class_weights: settings::ClassWeights::Equal,
    }
}

fn mini() -> settings::Loader {
    section(fixtures::mini())
}

fn open(settings: &settings::Loader, seed: u64, purpose: &str) -> Result<Loaders, DataError> {
    let (formats, transforms) = (formats::builtin(), transforms::builtin());
    Loaders::new(settings, &formats, &transforms, seed, purpose)
}

fn first(loader: &Loader, epoch: usize) -> Batch {
    loader.epoch(epoch).next().unwrap().unwrap()
}

fn counts(loader: &Loader) -> Vec<usize> {
    let mut counts = vec![0; loader.dataset().n_classes()];
    loader
        .items()
        .iter()
        .for_each(|&item| counts[loader.dataset().label(item) as usize] += 1);
    counts
}

#[test]
fn from_settings() {
    let loaders = open(&mini(), 2, "search").unwrap();
    let (valid, arch, test) = (
        loaders.valid.unwrap(),
        loaders.valid_arch.unwrap(),
        loaders.test.unwrap(),
    );
    assert_eq!(
        (loaders.train.n_images(), valid.n_images(), test.n_images()),
        (1000, 1000, 500)
    );
    assert_eq!(
        (
            loaders.train.n_batches(),
            valid.n_batches(),
            arch.n_batches(),
            test.n_batches()
        ),
        (32, 16, 32, 8)
    );
    assert_eq!(counts(&loaders.train), [100; 10]);
    assert_eq!(counts(&valid), [100; 10]);
    assert_eq!(valid.items(), arch.items());
    assert!(
        !loaders
            .train
            .items()
            .iter()
            .any(|item| valid.items().contains(item))
    );
    assert_eq!(first(&loaders.train, 0).shape, [32, 1, 32, 32]);
    assert_eq!(first(&valid, 0).shape, [64, 1, 32, 32]);

    // Measuring is the same in every epoch; training and moving the architecture are not.
    assert_eq!(first(&valid, 0), first(&valid, 1));
    assert_eq!(first(&test, 0), first(&test, 1));
    assert_ne!(first(&arch, 0), first(&arch, 1));
    assert_ne!(first(&loaders.train, 0), first(&loaders.train, 1));
}

#[test]
fn seeds_and_purposes() {
    let a = open(&mini(), 2, "search").unwrap();
    let same = open(&mini(), 2, "search").unwrap();
    let phase = open(&mini(), 2, "eval").unwrap();
    let seed = open(&mini(), 3, "search").unwrap();
    assert_eq!(first(&a.train, 3), first(&same.train, 3));
    assert_eq!(a.train.items(), phase.train.items());
    assert_ne!(first(&a.train, 3), first(&phase.train, 3));
    assert_ne!(a.train.items(), seed.train.items());
}

#[test]
fn validation_images_that_move_the_architecture() {
    let mut settings = mini();
    // Each image's pixels, whatever the order.
    let sorted = |loader: &Loader| {
        let mut images: Vec<Vec<f32>> = loader
            .epoch(0)
            .flat_map(|batch| {
                batch
                    .unwrap()
                    .images
                    .chunks(1024)
                    .map(<[f32]>::to_vec)
                    .collect::<Vec<_>>()
            })
            .collect();
        images.sort_by(|a, b| a.partial_cmp(b).unwrap());
        images
    };
    let check = |settings: &settings::Loader, expect: bool| {
        let loaders = open(settings, 2, "search").unwrap();
        assert_eq!(
            sorted(&loaders.valid.unwrap()) == sorted(&loaders.valid_arch.unwrap()),
            expect
        );
    };
    check(&settings, false);
    settings.val_augment = false;
    check(&settings, true);
}

#[test]
fn parts_that_are_not_asked_for() {
    let mut settings = mini();
    (settings.load_test, settings.val_ratio) = (false, 0.0);
    let loaders = open(&settings, 2, "eval").unwrap();
    assert_eq!(loaders.train.n_images(), 2000);
    assert!(loaders.valid.is_none() && loaders.valid_arch.is_none() && loaders.test.is_none());
    (settings.load_test, settings.load_train) = (true, false);
    let loaders = open(&settings, 2, "eval").unwrap();
    assert_eq!(
        (loaders.train.n_images(), loaders.test.unwrap().n_images()),
        (0, 500)
    );
}

#[test]
fn limits() {
    let check = |change: &dyn Fn(&mut settings::Loader), expect: [usize; 3]| {
        let mut settings = mini();
        change(&mut settings);
        let loaders = open(&settings, 2, "search").unwrap();
        let valid = loaders.valid.as_ref().map_or(0, Loader::n_images);
        assert_eq!(
            [
                loaders.train.n_images(),
                valid,
                loaders.test.unwrap().n_images()
            ],
            expect
        );
        for loader in [Some(&loaders.train), loaders.valid.as_ref()]
            .into_iter()
            .flatten()
        {
            let counts = counts(loader);
            assert!(
                counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 2,
                "{counts:?}"
            );
            assert!(*counts.iter().min().unwrap() > 0);
        }
    };
    check(&|set| set.dataset.max_batches = 2, [32, 32, 128]);
    check(
        &|set| (set.dataset.max_batches, set.train_batch, set.test_batch) = (3, 7, 9),
        [10, 11, 27],
    );
    // One batch of 8 has no room for ten classes in two parts.
    check(
        &|set| (set.dataset.max_batches, set.train_batch) = (1, 8),
        [10, 10, 64],
    );
    check(
        &|set| (set.dataset.max_batches, set.train_batch, set.val_ratio) = (1, 8, 0.1),
        [81, 10, 64],
    );
    check(&|set| set.dataset.max_batches = 1000, [1000, 1000, 500]);
}

#[test]
fn many_classes_in_toy_mode() {
    let folder = TempDir::new().unwrap();
    let n = 1000u32;
    write(
        folder.path().join("train-images-idx3-ubyte"),
        idx(&[n, 2, 2], &vec![0; 4 * n as usize]),
    );
    let labels: Vec<u8> = (0..n).map(|i| (i % 250) as u8).collect();
    write(
        folder.path().join("train-labels-idx1-ubyte"),
        idx(&[n], &labels),
    );
    let mut settings = section(plain_settings("idx", folder.path(), 250, 1, [2, 2]));
    (settings.load_test, settings.dataset.max_batches) = (false, 2);
    let loaders = open(&settings, 2, "search").unwrap();
    assert_eq!(counts(&loaders.train), [1; 250]);
    assert_eq!(counts(&loaders.valid.unwrap()), [1; 250]);
}

#[test]
fn settings_that_leave_nothing() {
    let check = |change: &dyn Fn(&mut settings::Loader), parts: &[&str]| {
        let mut settings = mini();
        change(&mut settings);
        check_error(open(&settings, 2, "search"), parts);
    };
    check(
        &|set| set.val_ratio = 1.0,
        &["loader.val_ratio", "is 1", "[0, 1)"],
    );
    check(&|set| set.val_ratio = f64::NAN, &["loader.val_ratio"]);
    check(
        &|set| set.val_ratio = 0.9999,
        &["no training image of 2000", "lower it"],
    );
    check(
        &|set| set.val_ratio = 1e-12,
        &["no validation image of 2000", "raise it"],
    );
    check(
        &|set| set.dataset.max_batches = 0,
        &["dataset.max_batches", "0 takes no data", "-1 (all)"],
    );
    check(&|set| set.dataset.mean = vec![], &["dataset.mean"]);
}

#[test]
fn what_cannot_work_is_found_out_before_anything_begins() {
    let check = |settings: &settings::Loader| {
        Loaders::check(settings, &formats::builtin(), &transforms::builtin())
    };
    check(&mini()).unwrap();

    let folder = TempDir::new().unwrap();
    for name in ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"] {
        // They are looked for and not read.
        write(folder.path().join(name), b"x");
    }
    let mut settings = section(plain_settings("idx", folder.path(), 3, 1, [2, 2]));
    check_error(
        check(&settings),
        &["'sample' (test data) was not found", "t10k-images-idx3"],
    );
    settings.load_test = false;
    check(&settings).unwrap();

    let transforms = |names: &[&str], cutout: usize| {
        let mut settings = mini();
        settings.cutout = cutout;
        settings.dataset.transforms = Some(names.iter().map(|&name| name.into()).collect());
        check(&settings)
    };
    transforms(&["crop", "flip", "normalise"], 0).unwrap();
    check_error(
        transforms(&["crop", "flip", "normalise", "blur"], 0),
        &["dataset.transforms", "there is no transform `blur`"],
    );
    check_error(
        transforms(&["crop", "flip", "normalise"], 4),
        &["does not list `cutout`, but loader.cutout is 4"],
    );
}

#[test]
fn weights_of_classes_stand_in_training_batches_alone() {
    let mut settings = mini();
    settings.class_weights = settings::ClassWeights::Balanced;
    let loaders = open(&settings, 1, "search").unwrap();
    let weights = first(&loaders.train, 0).class_weights.unwrap();
    // All classes of this data set have as many images.
    assert_eq!(weights.to_vec(), vec![1.0; 10]);
    let others = [loaders.valid, loaders.valid_arch, loaders.test];
    for loader in others.iter().flatten() {
        assert_eq!(first(loader, 0).class_weights, None);
    }
    settings.mix = Some(settings::Mix {
        mixup: 0.2,
        cutmix: 0.0,
        prob: 1.0,
        switch_prob: 0.5,
    });
    let loaders = open(&settings, 1, "search").unwrap();
    assert!(first(&loaders.train, 0).mixed.is_some());
    let others = [loaders.valid, loaders.valid_arch, loaders.test];
    for loader in others.iter().flatten() {
        assert_eq!(first(loader, 0).mixed, None);
    }
}
