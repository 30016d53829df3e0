//! What tells data from other data.

use std::fs;

use archai_data::{Loaders, Split, formats, inspect, transforms};
use archai_spec::settings::{self, OnDamaged};
use tempfile::TempDir;

use crate::fixtures::*;

fn digest(set: &settings::Dataset) -> String {
    inspect(&formats::builtin(), set, Split::Train)
        .unwrap()
        .digest
}

#[test]
fn a_digest_changes_with_the_data_and_with_nothing_else() {
    let folder = TempDir::new().unwrap();
    let files = ["train/a/0.png", "train/a/1.png", "train/b/0.png"];
    for (value, file) in (0..).zip(files) {
        write(folder.path().join(file), png(flat_grey(2, 2, value)));
    }
    let mut set = settings("image_folder", folder.path(), 2, 1, [2, 2]);
    let before = digest(&set);
    assert_eq!(digest(&set), before);
    (set.max_batches, set.flip, set.name) = (1, true, "other".into());
    set.on_damaged = OnDamaged::Skip;
    assert_eq!(digest(&set), before);

    let last = folder.path().join(files[2]);
    write(&last, png(flat_grey(2, 2, 9)));
    let changed = digest(&set);
    write(&last, png(flat_grey(2, 2, 2)));
    assert_eq!(digest(&set), before);
    let moved = folder.path().join("train/b/1.png");
    fs::rename(folder.path().join(files[1]), &moved).unwrap();
    let relabelled = digest(&set);
    fs::remove_file(&moved).unwrap();
    let removed = digest(&set);
    let all = [before, changed, relabelled, removed];
    for (i, one) in all.iter().enumerate() {
        assert!(!all[..i].contains(one), "{i}");
    }
}

#[test]
fn packing_is_no_part_of_what_is_packed() {
    let folder = TempDir::new().unwrap();
    let record = cifar_record(&[1], [1, 2, 3]);
    write(folder.path().join("c/data_batch_1.bin"), &record);
    write(
        folder.path().join("c.tar.gz"),
        tar_gz(&[("x/data_batch_1.bin", &record)]),
    );
    let of = |name: &str| {
        let mut set = settings("cifar10_binary", folder.path().join(name), 2, 3, [32, 32]);
        set.train = Some("data_batch_1.bin".into());
        digest(&set)
    };
    assert_eq!(of("c"), of("c.tar.gz"));
    let before = of("c");
    write(
        folder.path().join("c/data_batch_1.bin"),
        cifar_record(&[0], [1, 2, 3]),
    );
    assert_ne!(of("c"), before);
}

fn section(dataset: settings::Dataset) -> settings::Loader {
    settings::Loader {
        dataset,
        cutout: 0,
        aug: None,
        random_erasing: None,
        load_train: true,
        load_test: true,
        train_batch: 2,
        test_batch: 2,
        train_workers: 0,
        test_workers: 0,
        val_ratio: 0.0,
        val_augment: false,
        mix: None,
        sampler: settings::Sampler::Shuffled,
        class_weights: settings::ClassWeights::Equal,
    }
}

#[test]
fn all_parts_that_are_loaded_are_looked_at() {
    let look = |loader: &settings::Loader| {
        Loaders::inspect(loader, &formats::builtin(), &transforms::builtin())
    };
    let mut loader = section(mini());
    let found = look(&loader).unwrap();
    let (train, test) = (&found[0], &found[1]);
    assert_eq!(
        (train.0, train.1.images, &*train.1.per_class),
        (Split::Train, 2000, &[200; 10][..])
    );
    assert_eq!((test.0, test.1.images), (Split::Test, 500));
    assert_ne!(train.1.digest, test.1.digest);
    loader.load_train = false;
    assert_eq!(look(&loader).unwrap(), found[1..]);

    // What is wrong with the test data is known before the training.
    let folder = TempDir::new().unwrap();
    for (part, value) in [("train", b'x'), ("t10k", 1)] {
        let images = idx(&[1, 2, 2], &[value; 4]);
        write(
            folder.path().join(format!("{part}-images-idx3-ubyte")),
            images,
        );
        write(
            folder.path().join(format!("{part}-labels-idx1-ubyte")),
            idx(&[1], &[0]),
        );
    }
    let loader = section(settings("idx", folder.path(), 2, 1, [2, 2]));
    look(&loader).unwrap();
    write(
        folder.path().join("t10k-labels-idx1-ubyte"),
        idx(&[1], &[2]),
    );
    check_error(look(&loader), &["t10k-labels", "a label in 0..2, found 2"]);
}

#[test]
fn a_training_is_told_what_its_data_lack() {
    let folder = TempDir::new().unwrap();
    for file in [
        "train/a/0.png",
        "train/a/1.png",
        "train/b/0.png",
        "test/a/0.png",
        "test/b/0.png",
    ] {
        write(folder.path().join(file), png(flat_grey(2, 2, 3)));
    }
    for i in 2..9 {
        write(folder.path().join(format!("test/a/{i}.jpg")), b"damaged");
    }
    let look = |set: settings::Dataset| -> Vec<String> {
        let found = Loaders::inspect(&section(set), &formats::builtin(), &transforms::builtin());
        let parts = found.unwrap().into_iter();
        parts.flat_map(|(_, contents)| contents.notes).collect()
    };
    let mut set = settings("image_folder", folder.path(), 2, 1, [2, 2]);
    set.on_damaged = OnDamaged::Skip;
    assert_eq!(
        look(set.clone()),
        [
            "7 of 9 pictures of the test data were left out, because they cannot be read: test/a/2.jpg, test/a/3.jpg, \
          test/a/4.jpg, test/a/5.jpg, test/a/6.jpg, …"
        ]
    );
    let (formats, transforms) = (formats::builtin(), transforms::builtin());
    let loaders = Loaders::new(&section(set), &formats, &transforms, 1, "search").unwrap();
    assert_eq!(loaders.class_names(), ["a", "b"]);
    assert!(look(mini()).is_empty());
    let more = settings::Dataset {
        n_classes: 12,
        ..mini()
    };
    assert_eq!(
        look(more),
        ["2 of 12 classes have no image in the training data: 10, 11; is dataset.n_classes right?"]
    );
}

#[test]
fn a_picture_that_was_mended_is_read_again() {
    let folder = TempDir::new().unwrap();
    for file in ["train/a/0.png", "train/b/0.png"] {
        write(folder.path().join(file), png(flat_grey(2, 2, 3)));
    }
    let file = folder.path().join("train/a/1.png");
    write(&file, b"damaged");
    let mut set = settings("image_folder", folder.path(), 2, 1, [2, 2]);
    set.on_damaged = OnDamaged::Skip;
    // The same formats, which remember what they saw.
    let formats = formats::builtin();
    let images = || inspect(&formats, &set, Split::Train).unwrap().images;
    assert_eq!((images(), images()), (2, 2));
    write(&file, png(flat_grey(2, 2, 4)));
    assert_eq!((images(), images()), (3, 3));
}
