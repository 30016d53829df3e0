use std::collections::BTreeSet;

use archai_data::rng::Key;
use archai_data::{Augment, Image, Transform, embedded};
use archai_spec::settings::{Dataset, DatasetFormat::Idx};

use crate::fixtures::{check_error, settings};

/// The pixels 1, 2, 3, … of a grey image, and settings under which they stay what they are.
fn numbered(height: usize, width: usize) -> (Dataset, Vec<u8>) {
    let mut set = settings(Idx, "", 2, 1, [height, width]);
    set.std = vec![1.0 / 255.0];
    (set, (1..=(height * width) as u8).collect())
}

fn apply(set: &Dataset, augment: Augment, pixels: &[u8], key: Key) -> Vec<u8> {
    let transform = Transform::new(set, augment).unwrap();
    let [channels, height, width] = transform.shape();
    let mut out = vec![f32::NAN; pixels.len()];
    transform
        .apply(
            &Image {
                pixels: pixels.into(),
                channels,
                height,
                width,
            },
            key,
            &mut out,
        )
        .unwrap();
    out.iter().map(|value| value.round() as u8).collect()
}

fn many(set: &Dataset, augment: &Augment, pixels: &[u8]) -> BTreeSet<Vec<u8>> {
    (0..2000u64)
        .map(|i| apply(set, augment.clone(), pixels, Key::new(1).with(i)))
        .collect()
}

#[test]
fn normalisation() {
    let mut set = settings(Idx, "", 2, 3, [1, 2]);
    (set.mean, set.std) = (vec![0.5, 0.25, 0.0], vec![0.5, 0.25, 1.0]);
    let image = Image {
        pixels: vec![0, 255, 0, 255, 0, 51].into(),
        channels: 3,
        height: 1,
        width: 2,
    };
    let mut out = [0.0; 6];
    Transform::test(&set)
        .unwrap()
        .apply(&image, Key::new(0), &mut out)
        .unwrap();
    assert_eq!(out, [-1.0, 1.0, -1.0, 3.0, 0.0, 0.2]);
}

#[test]
fn nothing_random_without_augmentation() {
    let (set, pixels) = numbered(3, 4);
    assert_eq!(
        many(&set, &Augment::default(), &pixels),
        BTreeSet::from([pixels])
    );
}

#[test]
fn flips() {
    let (set, pixels) = numbered(2, 3);
    let augment = Augment {
        flip: true,
        ..Augment::default()
    };
    assert_eq!(
        many(&set, &augment, &pixels),
        BTreeSet::from([pixels, vec![3, 2, 1, 6, 5, 4]])
    );
    let n = (0..2000u64)
        .filter(|i| {
            apply(
                &set,
                augment.clone(),
                &[1, 2, 3, 4, 5, 6],
                Key::new(1).with(*i),
            )[0] == 3
        })
        .count();
    assert!((900..1100).contains(&n), "{n} of 2000 were mirrored");
}

#[test]
fn crops() {
    // Every shift by up to 1 in both directions comes, and nothing else.
    let (set, pixels) = numbered(2, 2);
    let mut expect = BTreeSet::new();
    for dy in -1..=1i32 {
        for dx in -1..=1i32 {
            let at = |y: i32, x: i32| {
                if (0..2).contains(&y) && (0..2).contains(&x) {
                    pixels[(2 * y + x) as usize]
                } else {
                    0
                }
            };
            expect.insert(vec![
                at(dy, dx),
                at(dy, dx + 1),
                at(dy + 1, dx),
                at(dy + 1, dx + 1),
            ]);
        }
    }
    assert_eq!(
        many(
            &set,
            &Augment {
                crop_padding: 1,
                ..Augment::default()
            },
            &pixels
        ),
        expect
    );
    // What comes in from outside is black, as in the image before normalisation.
    let mut set = set;
    (set.mean, set.std) = (vec![0.2], vec![0.1]);
    let transform = Transform::new(
        &set,
        Augment {
            crop_padding: 9,
            ..Augment::default()
        },
    )
    .unwrap();
    let image = Image {
        pixels: pixels.as_slice().into(),
        channels: 1,
        height: 2,
        width: 2,
    };
    let mut out = [0.0; 4];
    transform.apply(&image, Key::new(4), &mut out).unwrap();
    assert_eq!(out, [(0.0 - 0.2) / 0.1; 4]);
}

#[test]
fn cutout_comes_after_normalisation() {
    let mut set = settings(Idx, "", 2, 3, [6, 6]);
    set.mean = vec![0.5; 3];
    let transform = Transform::train(&set, 4).unwrap();
    let image = Image {
        pixels: vec![255; 108].into(),
        channels: 3,
        height: 6,
        width: 6,
    };
    let mut sizes = BTreeSet::new();
    for i in 0..300u64 {
        let mut out = [9.0; 108];
        transform
            .apply(&image, Key::new(3).with(i), &mut out)
            .unwrap();
        assert!(out.iter().all(|&value| value == 0.0 || value == 0.5));
        assert_eq!(out[..36], out[36..72]);
        assert_eq!(out[..36], out[72..]);
        sizes.insert(out[..36].iter().filter(|&&value| value == 0.0).count());
    }
    // Clipped at the borders: sides of 2, 3 and 4.
    assert_eq!(sizes, BTreeSet::from([4, 6, 8, 9, 12, 16]));
}

#[test]
fn one_setting_does_not_move_another() {
    let (set, pixels) = numbered(8, 8);
    for i in 0..50u64 {
        let key = Key::new(6).with(i);
        let crop = Augment {
            crop_padding: 2,
            ..Augment::default()
        };
        let cropped = apply(&set, crop.clone(), &pixels, key);
        let both = apply(&set, Augment { flip: true, ..crop }, &pixels, key);
        let mirrored: Vec<u8> = cropped
            .chunks(8)
            .flat_map(|row| row.iter().rev().copied())
            .collect();
        assert!(both == cropped || both == mirrored);
    }
}

#[test]
fn wrong_shapes_are_errors() {
    let set = embedded::settings("fashion_mnist_mini").unwrap();
    let image = Image {
        pixels: vec![0; 784].into(),
        channels: 1,
        height: 28,
        width: 28,
    };
    let transform = Transform::test(&set).unwrap();
    check_error(
        transform.apply(&image, Key::new(0), &mut [0.0; 1024]),
        &["[1, 28, 28]", "[1, 32, 32]"],
    );
    check_error(
        Transform::train(
            &Dataset {
                crop_padding: 1 << 20,
                ..set
            },
            0,
        ),
        &["dataset.crop_padding"],
    );
}
