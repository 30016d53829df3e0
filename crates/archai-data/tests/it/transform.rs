use std::collections::BTreeSet;
use std::sync::Arc;

use archai_data::rng::Key;
use archai_data::{
    DataError, Image, Pipeline, Scope, Step, Transform, Transforms, cutout_square, transforms,
};
use archai_spec::registry::Named;
use archai_spec::settings::Dataset;

use crate::fixtures::{check_error, mini, settings};

/// The pixels 1, 2, 3, … of a grey image, and settings under which they stay what they are.
fn numbered(height: usize, width: usize) -> (Dataset, Vec<u8>) {
    let mut set = settings("idx", "", 2, 1, [height, width]);
    set.std = vec![1.0 / 255.0];
    (set, (1..=(height * width) as u8).collect())
}

fn train(set: &Dataset, cutout: usize) -> Pipeline {
    Pipeline::train(set, cutout, &transforms::builtin()).unwrap()
}

fn test(set: &Dataset) -> Pipeline {
    Pipeline::test(set, &transforms::builtin()).unwrap()
}

fn numbers(pipeline: &Pipeline, pixels: &[u8], key: Key) -> Vec<f32> {
    let [channels, height, width] = pipeline.shape();
    let mut out = vec![f32::NAN; pixels.len()];
    let image = Image {
        pixels: pixels.into(),
        channels,
        height,
        width,
    };
    pipeline.apply(&image, key, &mut out).unwrap();
    out
}

fn apply(set: &Dataset, pixels: &[u8], key: Key) -> Vec<u8> {
    let out = numbers(&train(set, 0), pixels, key);
    out.iter().map(|value| value.round() as u8).collect()
}

fn many(set: &Dataset, pixels: &[u8]) -> BTreeSet<Vec<u8>> {
    (0..2000u64)
        .map(|i| apply(set, pixels, Key::new(1).with(i)))
        .collect()
}

#[test]
fn normalisation() {
    let mut set = settings("idx", "", 2, 3, [1, 2]);
    (set.mean, set.std) = (vec![0.5, 0.25, 0.0], vec![0.5, 0.25, 1.0]);
    let image = Image {
        pixels: vec![0, 255, 0, 255, 0, 51].into(),
        channels: 3,
        height: 1,
        width: 2,
    };
    let mut out = [0.0; 6];
    test(&set).apply(&image, Key::new(0), &mut out).unwrap();
    assert_eq!(out, [-1.0, 1.0, -1.0, 3.0, 0.0, 0.2]);
}

#[test]
fn nothing_random_without_augmentation() {
    let (set, pixels) = numbered(3, 4);
    assert_eq!(many(&set, &pixels), BTreeSet::from([pixels]));
}

#[test]
fn flips() {
    let (mut set, pixels) = numbered(2, 3);
    set.flip = true;
    assert_eq!(
        many(&set, &pixels),
        BTreeSet::from([pixels, vec![3, 2, 1, 6, 5, 4]])
    );
    let n = (0..2000u64)
        .filter(|i| apply(&set, &[1, 2, 3, 4, 5, 6], Key::new(1).with(*i))[0] == 3)
        .count();
    assert!((900..1100).contains(&n), "{n} of 2000 were mirrored");
}

#[test]
fn crops() {
    // Every shift by up to 1 in both directions comes, and nothing else.
    let (mut set, pixels) = numbered(2, 2);
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
    set.crop_padding = 1;
    assert_eq!(many(&set, &pixels), expect);
    // What comes in from outside is black, as in the image before normalisation.
    (set.mean, set.std, set.crop_padding) = (vec![0.2], vec![0.1], 9);
    let out = numbers(&train(&set, 0), &pixels, Key::new(4));
    assert_eq!(out, [(0.0 - 0.2) / 0.1; 4]);
}

#[test]
fn cutout_comes_after_normalisation() {
    let mut set = settings("idx", "", 2, 3, [6, 6]);
    set.mean = vec![0.5; 3];
    let pipeline = train(&set, 4);
    let mut sizes = BTreeSet::new();
    for i in 0..300u64 {
        let out = numbers(&pipeline, &[255; 108], Key::new(3).with(i));
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
    let (mut set, pixels) = numbered(8, 8);
    set.crop_padding = 2;
    let mut both_on = set.clone();
    both_on.flip = true;
    for i in 0..50u64 {
        let key = Key::new(6).with(i);
        let cropped = apply(&set, &pixels, key);
        let both = apply(&both_on, &pixels, key);
        let mirrored: Vec<u8> = cropped
            .chunks(8)
            .flat_map(|row| row.iter().rev().copied())
            .collect();
        assert!(both == cropped || both == mirrored);
    }
}

#[test]
fn images_that_are_not_what_they_claim_are_errors() {
    let set = mini();
    let image = Image {
        pixels: vec![0; 784].into(),
        channels: 1,
        height: 28,
        width: 29,
    };
    check_error(
        test(&set).apply(&image, Key::new(0), &mut [0.0; 1024]),
        &[
            "'image': at its shape",
            "784 bytes for 1 channels of 28 x 29 pixels",
        ],
    );
    check_error(
        Pipeline::train(
            &Dataset {
                crop_padding: 1 << 20,
                ..set
            },
            0,
            &transforms::builtin(),
        ),
        &["dataset.crop_padding"],
    );
}

/// Pad, crop, mirror, normalise and cutout in one loop over tables, as they were first written: no bit may differ.
fn in_one_loop(set: &Dataset, cutout: usize, pixels: &[u8], key: Key) -> Vec<f32> {
    let [height, width] = set.size;
    let mut rng = key.rng();
    let padding = set.crop_padding as u32;
    let mut shift = || rng.uniform_u32_below(2 * padding + 1) as isize - padding as isize;
    let (dy, dx) = (shift(), shift());
    let mirrored = rng.uniform_u32_below(2) == 1 && set.flip;
    let cy = rng.uniform_u32_below(height as u32) as usize;
    let cx = rng.uniform_u32_below(width as u32) as usize;
    let hole = cutout_square(cy, cx, cutout, height, width);
    let mut all = Vec::new();
    for (c, plane) in pixels.chunks_exact(height * width).enumerate() {
        let table: [f32; 256] =
            std::array::from_fn(|byte| (byte as f32 / 255.0 - set.mean[c]) / set.std[c]);
        for y in 0..height {
            for x in 0..width {
                let column = if mirrored { width - 1 - x } else { x };
                let from = y.checked_add_signed(dy).filter(|y| *y < height);
                let from = from.zip(column.checked_add_signed(dx).filter(|x| *x < width));
                let value = table[from.map_or(0, |(y, x)| usize::from(plane[y * width + x]))];
                let erased = hole.rows.contains(&y) && hole.columns.contains(&x);
                all.push(if erased { 0.0 } else { value });
            }
        }
    }
    all
}

#[test]
fn the_chain_computes_what_one_loop_did() {
    let mut rng = Key::new(8).with("pixels").rng();
    for (channels, size, padding, flip, cutout) in [
        (3, [32, 32], 4, true, 16),
        (1, [32, 32], 4, true, 0),
        (3, [5, 9], 2, false, 3),
        (1, [9, 5], 7, true, 4),
        (1, [1, 1], 1, true, 2),
        (3, [4, 3], 0, true, 2),
        (1, [3, 4], 0, false, 0),
    ] {
        let mut set = settings("idx", "", 2, channels, size);
        set.mean = (0..channels).map(|_| rng.uniform_f64() as f32).collect();
        set.std = (0..channels)
            .map(|_| 0.1 + 0.9 * rng.uniform_f64() as f32)
            .collect();
        (set.crop_padding, set.flip) = (padding, flip);
        let n = channels * size[0] * size[1];
        let pixels: Vec<u8> = (0..n).map(|_| rng.next_u32() as u8).collect();
        let pipeline = train(&set, cutout);
        // Named one by one, the usual transforms are the usual chain.
        let mut named = set.clone();
        named.transforms = Some(set.transforms().into_iter().map(str::to_owned).collect());
        let named = train(&named, cutout);
        for i in 0..200u64 {
            let key = Key::new(9).with(i);
            let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
            let expect = bits(in_one_loop(&set, cutout, &pixels, key));
            assert_eq!(bits(numbers(&pipeline, &pixels, key)), expect, "{size:?}");
            assert_eq!(bits(numbers(&named, &pixels, key)), expect, "{size:?}");
        }
    }
}

/// Adds a number to all pixels, in training and tests.
struct Brighter(f32);

impl Named for Brighter {
    fn name(&self) -> &str {
        "brighter"
    }
    fn about(&self) -> &str {
        "all pixels become brighter"
    }
}

impl Transform for Brighter {
    fn prepare(&self, _: &Scope<'_>) -> Result<Option<Step>, DataError> {
        let more = self.0;
        Ok(Some(Arc::new(move |pixels, _| {
            pixels.values_mut().iter_mut().for_each(|v| *v += more);
        })))
    }
}

fn named(set: &Dataset, names: &[&str]) -> Dataset {
    let transforms = Some(names.iter().map(|&name| name.to_owned()).collect());
    Dataset {
        transforms,
        ..set.clone()
    }
}

#[test]
fn a_transform_of_ones_own_stands_where_it_is_named() {
    let own = transforms::builtin().with(Arc::new(Brighter(51.0)));
    let plain = settings("idx", "", 2, 1, [1, 2]);
    let set = Dataset {
        std: vec![0.5],
        ..plain.clone()
    };
    let check = |set: &Dataset, names: &[&str], expect: [f32; 2]| {
        let set = named(set, names);
        for pipeline in [
            Pipeline::train(&set, 0, &own).unwrap(),
            Pipeline::test(&set, &own).unwrap(),
        ] {
            assert_eq!(numbers(&pipeline, &[0, 51], Key::new(1)), expect);
        }
    };
    check(&set, &["brighter", "normalise"], [0.4, 0.8]);
    check(&set, &["normalise", "brighter"], [51.0, 51.4]);
    check(&plain, &["brighter"], [51.0, 102.0]);
    check(&plain, &[], [0.0, 51.0]);
    // Without a list it is there, and does nothing.
    let plain = Pipeline::train(&set, 0, &own).unwrap();
    assert_eq!(numbers(&plain, &[0, 51], Key::new(1)), [0.0, 0.4]);
}

#[test]
fn no_setting_of_a_transform_is_ignored() {
    let all = transforms::builtin();
    let train = |set: &Dataset, names: &[&str], cutout: usize, all: &Transforms| {
        Pipeline::train(&named(set, names), cutout, all)
    };
    let mut set = settings("idx", "", 2, 1, [2, 2]);
    check_error(
        train(&set, &["normalize"], 0, &all),
        &[
            "dataset.transforms",
            "there is no transform `normalize`; did you mean `normalise`? known are aug, random_affine, crop, flip, \
             color_jitter, normalise, cutout, random_erasing",
        ],
    );
    train(&set, &["normalise"], 0, &all).unwrap();
    check_error(
        train(&set, &["normalise"], 2, &all),
        &["does not list `cutout`, but loader.cutout is 2; list it, or switch that setting off"],
    );
    set.flip = true;
    check_error(
        train(&set, &["normalise"], 0, &all),
        &["does not list `flip`, but dataset.flip is true"],
    );
    (set.flip, set.crop_padding) = (false, 1);
    check_error(
        train(&set, &["normalise"], 0, &all),
        &["does not list `crop`, but dataset.crop_padding is 1"],
    );
    set.crop_padding = 0;
    train(&set, &[], 0, &all).unwrap();
    for (mean, std, parts) in [
        (0.5, 1.0, "dataset.mean is [0.5] and dataset.std is [1.0]"),
        (0.0, 0.5, "dataset.mean is [0.0] and dataset.std is [0.5]"),
    ] {
        (set.mean, set.std) = (vec![mean], vec![std]);
        check_error(
            train(&set, &["flip"], 0, &all),
            &["dataset.transforms", "does not list `normalise`", parts],
        );
        check_error(
            Pipeline::test(&named(&set, &["flip"]), &all),
            &["dataset.transforms", "does not list `normalise`", parts],
        );
        train(&set, &["flip", "normalise"], 0, &all).unwrap();
    }
}

#[test]
fn a_transform_is_named_once() {
    let set = settings("idx", "", 2, 1, [2, 2]);
    let all = transforms::builtin();
    check_error(
        Pipeline::train(&named(&set, &["normalise", "flip", "normalise"]), 0, &all),
        &["dataset.transforms", "lists `normalise` twice"],
    );
}
