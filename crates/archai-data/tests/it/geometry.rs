//! Pictures that are scaled, cropped, padded, turned and laid over a background, beside Pillow (`scripts/geometry.py`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use archai_data::picture::Decoder;
use archai_data::rng::Key;
use archai_data::{
    Dataset as _, Gather, Image, Loader, Pipeline, Split, formats, open, picture, transforms,
};
use archai_spec::settings::{Dataset, Interpolation, Orientation, RandomResizedCrop, Resize};
use serde_json::Value;

use crate::fixtures::{check_error, settings};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/geometry")
}

fn json(name: &str) -> Value {
    serde_json::from_slice(&fs::read(folder().join(name)).unwrap()).unwrap()
}

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    let byte = |i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn pair(value: &Value) -> [usize; 2] {
    [0, 1].map(|i| value[i].as_u64().unwrap() as usize)
}

/// The computed picture of the script.
fn computed(height: usize, width: usize) -> Image<'static> {
    let channel = |c: usize, x: usize, y: usize| match c {
        0 => 37 * x + 11 * y * y,
        1 => (255 * x / width + 255 * y / height) / 2,
        _ => x * y * 91 + 7 * y,
    };
    let mut pixels = Vec::new();
    for c in 0..3 {
        for y in 0..height {
            pixels.extend((0..width).map(|x| (channel(c, x, y) % 256) as u8));
        }
    }
    Image {
        pixels: pixels.into(),
        channels: 3,
        height,
        width,
    }
}

/// A section under which pixels stay what they are, but for their number.
fn plain(channels: usize, size: [usize; 2]) -> Dataset {
    Dataset {
        std: vec![1.0 / 255.0; channels],
        ..settings("image_folder", "", 2, channels, size)
    }
}

fn test(set: &Dataset, image: &Image<'_>) -> Vec<u8> {
    run(
        &Pipeline::test(set, &transforms::builtin()).unwrap(),
        image,
        Key::new(0),
    )
}

fn run(pipeline: &Pipeline, image: &Image<'_>, key: Key) -> Vec<u8> {
    let mut out = vec![f32::NAN; pipeline.shape().iter().product()];
    pipeline.apply(image, key, &mut out).unwrap();
    out.into_iter().map(|value| value.round() as u8).collect()
}

fn largest_difference(a: &[u8], b: &[u8]) -> u8 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

#[test]
fn scaled_as_by_pillow() {
    let mut seen = BTreeSet::new();
    let (mut differing, mut all) = (0, 0);
    for case in json("scaled.json").as_array().unwrap() {
        let [height, width] = pair(&case["from"]);
        let image = computed(height, width);
        let mut set = plain(3, pair(&case["size"]));
        set.resize = serde_json::from_value(case["resize"].clone()).unwrap();
        set.interpolation = serde_json::from_value(case["interpolation"].clone()).unwrap();
        set.background = serde_json::from_value(case["background"].clone()).unwrap();
        set.crop_ratio = case["crop_ratio"].as_f64().unwrap();
        let (found, expect) = (test(&set, &image), bytes(&case["pixels"]));
        let off = largest_difference(&found, &expect);
        differing += found.iter().zip(&expect).filter(|(a, b)| a != b).count();
        all += found.len();
        assert!(off <= 1, "{} off by {off}: {set:?}", case["resize"]);
        seen.insert((
            case["resize"].to_string(),
            case["interpolation"].to_string(),
        ));
    }
    assert_eq!(seen.len(), 6);
    // Pillow's weights have 22 bits, the ones here 15.
    assert!(40 * differing < all, "{differing} of {all} pixels differ");
}

#[test]
fn turned_as_by_pillow() {
    let mut set = plain(3, [1, 1]);
    set.resize = Resize::Squish;
    let all: BTreeMap<String, Value> = serde_json::from_value(json("turned.json")).unwrap();
    assert_eq!(all.len(), 14);
    let mut ignored = 0;
    for (name, case) in all {
        let path = folder().join(&name);
        let shape = [0, 1, 2].map(|i| case["shape"][i].as_u64().unwrap() as usize);
        set.channels = shape[0];
        set.orientation = Orientation::Exif;
        let found = Decoder::new(&set).read(&path).unwrap();
        assert_eq!([found.channels, found.height, found.width], shape, "{name}");
        let off = largest_difference(&found.pixels, &bytes(&case["pixels"]));
        assert!(
            u64::from(off) <= case["off"].as_u64().unwrap(),
            "{name} off by {off}"
        );
        // What nobody asked for does not happen.
        set.orientation = Orientation::Ignore;
        let as_it_lies = Decoder::new(&set).read(&path).unwrap();
        assert_eq!(as_it_lies, picture::read(&path).unwrap());
        ignored += usize::from(as_it_lies != found);
    }
    assert_eq!(ignored, 11, "all but 1.png, none.png and wrong.png");
}

#[test]
fn laid_over_a_colour_as_by_pillow() {
    let mut set = plain(3, [1, 1]);
    set.resize = Resize::Squish;
    let all: BTreeMap<String, Value> = serde_json::from_value(json("laid_over.json")).unwrap();
    assert_eq!(all.len(), 4);
    for (name, cases) in all {
        let path = folder().join(&name);
        set.background = None;
        let dropped = Decoder::new(&set).read(&path).unwrap();
        for case in cases.as_array().unwrap() {
            set.background = serde_json::from_value(case["background"].clone()).unwrap();
            let found = Decoder::new(&set).read(&path).unwrap();
            assert_eq!(
                [found.channels, found.height, found.width],
                [3, 5, 7],
                "{name}"
            );
            assert_eq!(*found.pixels, bytes(&case["pixels"]), "{name} {case}");
            assert_ne!(found, dropped, "{name}");
        }
    }
    // A picture without transparency has nothing below it.
    let path = folder().join("1.png");
    assert_eq!(
        Decoder::new(&set).read(&path).unwrap(),
        picture::read(&path).unwrap()
    );
}

#[test]
fn images_of_any_size_and_colour_come_out_with_the_data_sets() {
    for resize in [Resize::Fit, Resize::Squish, Resize::Crop, Resize::Pad] {
        for (channels, size) in [(1, [9, 5]), (3, [16, 16])] {
            let mut set = plain(channels, size);
            set.resize = resize;
            let pipeline = Pipeline::test(&set, &transforms::builtin()).unwrap();
            for [height, width] in [[1, 1], [9, 5], [5, 9], [1, 300], [300, 1], [40, 60]] {
                let image = computed(height, width);
                let grey = Image {
                    pixels: image.pixels[..height * width].into(),
                    channels: 1,
                    ..image
                };
                for image in [&image, &grey] {
                    let out = run(&pipeline, image, Key::new(0));
                    assert_eq!(out.len(), channels * size[0] * size[1]);
                    if resize == Resize::Fit {
                        let path = Path::new("a");
                        let fitted =
                            picture::fit(path, &|| "1".into(), image.clone(), channels, size);
                        assert_eq!(out, *fitted.unwrap().pixels);
                    }
                }
            }
        }
    }
}

#[test]
fn parts_of_training_images_are_chosen_by_the_key_alone() {
    let mut set = plain(3, [8, 8]);
    set.random_resized_crop = Some(RandomResizedCrop {
        scale: [0.2, 0.5],
        ..RandomResizedCrop::default()
    });
    let pipeline = Pipeline::train(&set, 0, &transforms::builtin()).unwrap();
    let image = computed(40, 60);
    let all: BTreeSet<Vec<u8>> = (0..200u64)
        .map(|i| run(&pipeline, &image, Key::new(i)))
        .collect();
    assert!(all.len() > 190, "{}", all.len());
    assert_eq!(
        run(&pipeline, &image, Key::new(3)),
        run(&pipeline, &image, Key::new(3))
    );
    // A flat image stays flat, wherever the part lies: nothing comes in from outside.
    let flat = Image {
        pixels: vec![200; 3 * 40 * 60].into(),
        ..image.clone()
    };
    for i in 0..50u64 {
        assert_eq!(run(&pipeline, &flat, Key::new(i)), vec![200; 3 * 64]);
    }
    // An image that has the size already is no exception, and tests see all of it.
    let small = computed(8, 8);
    assert_ne!(run(&pipeline, &small, Key::new(1)), *small.pixels);
    assert_eq!(test(&set, &small), *small.pixels);
    set.resize = Resize::Squish;
    let mut whole = set.clone();
    whole.random_resized_crop = None;
    assert_eq!(test(&set, &image), test(&whole, &image));
}

/// What each of a loader's images is, with so many threads.
fn batches(loader: Loader, workers: usize) -> Vec<Vec<f32>> {
    let loader = loader.shuffled(Key::new(5)).with_workers(workers);
    (0..2)
        .flat_map(|epoch| {
            loader
                .epoch(epoch)
                .map(|batch| batch.unwrap().images)
                .collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn a_folder_of_mixed_pictures_streams_the_same_with_any_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    for (i, (class, height, width)) in [
        ("a", 40, 60),
        ("a", 9, 5),
        ("a", 33, 33),
        ("b", 16, 16),
        ("b", 7, 90),
    ]
    .into_iter()
    .enumerate()
    {
        let folder = dir.path().join("train").join(class);
        fs::create_dir_all(&folder).unwrap();
        let image = computed(height, width);
        let pixel =
            |x, y| [0, 1, 2].map(|c| image.pixels[(c * height + y as usize) * width + x as usize]);
        let file =
            image::RgbImage::from_fn(width as u32, height as u32, |x, y| image::Rgb(pixel(x, y)));
        file.save(folder.join(format!("{i}.png"))).unwrap();
    }
    let mut set = plain(3, [16, 16]);
    set.path = dir.path().display().to_string();
    set.resize = Resize::Crop;
    set.interpolation = Interpolation::Bicubic;
    set.crop_ratio = 0.875;
    set.random_resized_crop = Some(RandomResizedCrop::default());
    let data = open(&formats::builtin(), &set, Split::Train).unwrap();
    let image = data.image(0).unwrap();
    assert_eq!((image.channels, image.height, image.width), (3, 40, 60));
    assert_eq!(image, computed(40, 60));
    let pipeline = Pipeline::train(&set, 0, &transforms::builtin()).unwrap();
    let loader = Loader::new(data.clone(), pipeline, 2);
    let alone = batches(loader.clone(), 0);
    assert_eq!(alone.len(), 6);
    for workers in [1, 3, 8] {
        assert_eq!(batches(loader.clone(), workers), alone);
    }
    // Fitted images come out of the reader with the size, so that they take no more memory than that.
    let fitted = plain(3, [16, 16]);
    let data = open(
        &formats::builtin(),
        &Dataset {
            path: set.path.clone(),
            ..fitted
        },
        Split::Train,
    )
    .unwrap();
    let image = data.image(0).unwrap();
    assert_eq!([image.height, image.width], [16, 16]);
}

#[test]
fn what_is_gathered_gives_the_same_images_as_what_streams() {
    let sizes = [[40, 60], [9, 5], [16, 16], [3, 200]];
    for random in [None, Some(RandomResizedCrop::default())] {
        for (resize, ratio) in [
            (Resize::Fit, 1.0),
            (Resize::Squish, 1.0),
            (Resize::Crop, 1.0),
            (Resize::Crop, 0.5),
            (Resize::Pad, 1.0),
        ] {
            let mut set = plain(3, [16, 16]);
            (set.resize, set.crop_ratio, set.random_resized_crop) = (resize, ratio, random);
            let mut gather = Gather::new(&set);
            gather.expect(Path::new("a"), 4).unwrap();
            for [height, width] in sizes {
                gather
                    .push(Path::new("a"), computed(height, width), 1, || "1".into())
                    .unwrap();
            }
            let data = gather.finish(Path::new("a")).unwrap();
            for training in [false, true] {
                let pipeline = match training {
                    true => Pipeline::train(&set, 0, &transforms::builtin()).unwrap(),
                    false => Pipeline::test(&set, &transforms::builtin()).unwrap(),
                };
                for (i, [height, width]) in sizes.into_iter().enumerate() {
                    let kept = data.image(i).unwrap();
                    let whole = computed(height, width);
                    let key = Key::new(7).with(i);
                    assert_eq!(
                        run(&pipeline, &kept, key),
                        run(&pipeline, &whole, key),
                        "{set:?}"
                    );
                    let is_small = kept.pixels.len() <= 3 * 16 * 16;
                    assert!(is_small || random.is_some() || ratio != 1.0, "{set:?}");
                }
            }
        }
    }
}

#[test]
fn settings_that_contradict_each_other() {
    let base = plain(3, [16, 16]);
    let check = |set: Dataset, parts: &[&str]| {
        check_error(Pipeline::test(&set, &transforms::builtin()), parts);
    };
    let random = |scale, ratio| Some(RandomResizedCrop { scale, ratio });
    check(
        Dataset {
            crop_ratio: 0.875,
            ..base.clone()
        },
        &["dataset.crop_ratio", "`resize` is not `crop`"],
    );
    for crop_ratio in [0.0, 1.5, f64::NAN] {
        let set = Dataset {
            crop_ratio,
            resize: Resize::Crop,
            ..base.clone()
        };
        check(set, &["dataset.crop_ratio", "above 0 and at most 1"]);
    }
    let bicubic = Dataset {
        interpolation: Interpolation::Bicubic,
        ..base.clone()
    };
    check(bicubic.clone(), &["dataset.interpolation", "`resize: fit`"]);
    let with_random = Dataset {
        random_resized_crop: random([0.1, 1.0], [1.0, 1.0]),
        ..bicubic
    };
    Pipeline::test(&with_random, &transforms::builtin()).unwrap();
    check(
        Dataset {
            crop_padding: 4,
            ..with_random
        },
        &["dataset.random_resized_crop", "crop_padding to 0"],
    );
    for (scale, ratio, part) in [
        ([0.5, 0.1], [1.0, 1.0], "scale is [0.5, 0.1]"),
        ([0.0, 1.0], [1.0, 1.0], "scale is [0.0, 1.0]"),
        ([0.5, 1.5], [1.0, 1.0], "scale is [0.5, 1.5]"),
        ([0.5, 1.0], [0.0, 1.0], "ratio is [0.0, 1.0]"),
        ([0.5, 1.0], [2.0, 1.0], "ratio is [2.0, 1.0]"),
    ] {
        let set = Dataset {
            random_resized_crop: random(scale, ratio),
            ..base.clone()
        };
        check(set, &["dataset.random_resized_crop", part]);
    }
}
