//! Mixed images, balanced passes and weights of classes.

use std::sync::Arc;

use archai_data::rng::Key;
use archai_data::{Batch, InMemory, Loader, Mixed, Pipeline, transforms};
use archai_spec::settings::Mix;

use crate::fixtures;

const SHAPE: [usize; 3] = [1, 8, 8];

/// `n` images of one grey each, which is their number; image `i` is of class `label(i)`.
fn greys(n: usize, n_classes: usize, label: impl Fn(usize) -> u32) -> Loader {
    let pixels = (0..n).flat_map(|i| [i as u8; 64]).collect();
    let labels = (0..n).map(label).collect();
    let data = InMemory::new("greys", n_classes, SHAPE, pixels, labels).unwrap();
    let mut set = fixtures::settings("idx", "", n_classes, 1, [8, 8]);
    // A pixel comes out as its number.
    (set.mean, set.std) = (vec![0.0], vec![1.0 / 255.0]);
    let pipeline = Pipeline::test(&set, &transforms::builtin()).unwrap();
    Loader::new(Arc::new(data), pipeline, 10)
}

fn mix(mixup: f64, cutmix: f64) -> Option<Mix> {
    Some(Mix {
        mixup,
        cutmix,
        prob: 1.0,
        switch_prob: 0.5,
    })
}

/// The batches of a pass without and with mixing.
fn both(n: usize, settings: Option<Mix>) -> Vec<(Batch, Batch)> {
    let plain = greys(n, 256, |i| i as u32).shuffled(Key::new(7));
    let mixed = plain.clone().mixed(settings).with_workers(2);
    let pairs = plain.epoch(1).zip(mixed.epoch(1));
    pairs.map(|(a, b)| (a.unwrap(), b.unwrap())).collect()
}

/// The share of an image's own class before mixing.
fn own_share(plain: &Batch, mixed: &Batch, image: usize) -> f64 {
    let mut classes = mixed.classes(image);
    let own = classes.find(|(class, _)| *class == plain.labels[image]);
    own.expect("its own class is one of the two").1
}

#[test]
fn mixup_averages_pixels_and_classes_with_one_share() {
    let mut shares = Vec::new();
    for (plain, mixed) in both(100, mix(0.4, 0.0)) {
        let n = plain.labels.len();
        let share = own_share(&plain, &mixed, 0);
        for image in 0..n {
            let partner = n - 1 - image;
            assert!((own_share(&plain, &mixed, image) - share).abs() < 1e-12);
            let expected = share * f64::from(plain.images[image * 64])
                + (1.0 - share) * f64::from(plain.images[partner * 64]);
            for pixel in &mixed.images[image * 64..][..64] {
                assert!(
                    (f64::from(*pixel) - expected).abs() < 1e-3,
                    "{pixel} {expected}"
                );
            }
            let Mixed { others, shares } = mixed.mixed.as_ref().unwrap();
            assert!(shares[image] >= 0.5);
            let mut two = [mixed.labels[image], others[image]];
            let mut expected = [plain.labels[image], plain.labels[partner]];
            two.sort_unstable();
            expected.sort_unstable();
            assert_eq!(two, expected);
        }
        shares.push(share);
    }
    assert!(shares.iter().any(|s| *s < 0.5) && shares.iter().any(|s| *s > 0.5));
}

#[test]
fn cutmix_counts_the_pixels_of_its_rectangle() {
    let mut areas = Vec::new();
    for (plain, mixed) in both(200, mix(0.0, 1.0)) {
        let n = plain.labels.len();
        for image in 0..n {
            let own = plain.images[image * 64];
            let other = plain.images[(n - 1 - image) * 64];
            let pixels = &mixed.images[image * 64..][..64];
            assert!(pixels.iter().all(|p| [own, other].contains(p)));
            let count = pixels.iter().filter(|p| **p == own).count();
            let share = own_share(&plain, &mixed, image);
            assert!((count as f64 / 64.0 - share).abs() < 1e-12);
            // What comes from the other image is a rectangle.
            let is_other = |i: usize| pixels[i] == other;
            let rows: Vec<usize> = (0..8)
                .filter(|r| (0..8).any(|c| is_other(r * 8 + c)))
                .collect();
            let columns: Vec<usize> = (0..8)
                .filter(|c| (0..8).any(|r| is_other(r * 8 + c)))
                .collect();
            assert_eq!(rows.len() * columns.len(), 64 - count);
            areas.push(64 - count);
        }
    }
    areas.sort_unstable();
    areas.dedup();
    assert!(areas.len() > 3, "{areas:?}");
}

#[test]
fn a_share_of_the_batches_is_mixed_each_in_its_own_way() {
    let settings = Mix {
        prob: 0.5,
        ..mix(0.4, 1.0).unwrap()
    };
    let found = both(250, Some(settings));
    let is_mixed = |(_, mixed): &&(Batch, Batch)| mixed.mixed.is_some();
    let n_mixed = found.iter().filter(is_mixed).count();
    assert!((5..20).contains(&n_mixed), "{n_mixed} of 25");
    // Those that are not are the same as without.
    for (plain, mixed) in found.iter().filter(|pair| !is_mixed(pair)) {
        assert_eq!(plain, mixed);
    }
    // Both kinds occur: averages have greys that no image has.
    let is_average = |mixed: &Batch| mixed.images.iter().any(|p| (p - p.round()).abs() > 1e-3);
    let averages = found.iter().filter(|(_, mixed)| is_average(mixed)).count();
    assert!(
        averages > 0 && averages < n_mixed,
        "{averages} of {n_mixed}"
    );
    // The middle image of an odd number has no partner but itself; one image has none at all.
    let (plain, mixed) = &both(5, mix(1.0, 0.0))[0];
    assert_eq!(plain.images[2 * 64..3 * 64], mixed.images[2 * 64..3 * 64]);
    let (plain, mixed) = &both(1, mix(1.0, 0.0))[0];
    assert_eq!(plain, mixed);
}

#[test]
fn a_balanced_pass_shows_all_classes_equally_often() {
    // 900 images of class 0, 90 of class 1, 10 of class 3; class 2 has none.
    let label = |i: usize| match i {
        0..900 => 0,
        900..990 => 1,
        _ => 3,
    };
    let loader = greys(1000, 4, label).balanced(Key::new(3));
    let labels = |epoch| -> Vec<i64> {
        let batches = loader.clone().with_workers(3).epoch(epoch);
        batches.flat_map(|batch| batch.unwrap().labels).collect()
    };
    let first = labels(0);
    assert_eq!(first.len(), 1000);
    for class in [0, 1, 3] {
        let count = first.iter().filter(|l| **l == class).count();
        assert!((280..390).contains(&count), "class {class}: {count}");
    }
    assert_ne!(first, labels(1));
    assert_eq!(first, labels(0));
}
