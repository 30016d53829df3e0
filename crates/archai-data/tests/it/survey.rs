//! What a survey finds of data as people have them, what it chooses, and what it writes.

use std::fs;
use std::path::Path;
use std::time::Duration;

use archai_data::sheet::{self, Augmentation};
use archai_data::survey::{self, Opened, Survey, Wanted};
use archai_data::{Cache, DataError, Split, formats, open, transforms};
use archai_spec::config::{ConfigLoader, Files, Schema};
use archai_spec::settings::{Dataset, Orientation, Resize};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use tempfile::TempDir;

use crate::fixtures::*;

const CLASSES: [&str; 4] = ["circle", "cross", "square", "stripes"];

/// A picture of a class: a shape in one colour on another.
fn picture(class: usize, n: u32, [width, height]: [u32; 2]) -> RgbImage {
    let shade = |k: u32| Rgb([0, 1, 2].map(|c: u32| ((n * 37 + k * 83 + c * 61) % 200 + 28) as u8));
    let (ground, shape) = (shade(0), shade(1));
    let [w, h] = [width as f32, height as f32];
    RgbImage::from_fn(width, height, |x, y| {
        let (dx, dy) = ((x as f32 - w / 2.0) / w, (y as f32 - h / 2.0) / h);
        let inside = match class {
            0 => dx * dx + dy * dy < 0.09,
            1 => dx.abs() < 0.08 || dy.abs() < 0.08,
            2 => dx.abs() < 0.28 && dy.abs() < 0.28,
            _ => (x * 8 / width).is_multiple_of(2),
        };
        if inside { shape } else { ground }
    })
}

fn bytes(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A JPEG whose camera was held upright: the tag says that it shows turned by 90 degrees.
fn turned(image: RgbImage) -> Vec<u8> {
    let jpeg = bytes(image, ImageFormat::Jpeg);
    let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0".to_vec();
    // Tag 0x0112, a short, one of them, value 6; no further directory.
    exif.extend([0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0]);
    let length = (exif.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &exif, &jpeg[2..]].concat()
}

/// 300 pictures of four classes: PNG and JPEG, grey, coloured and with transparency, of 40 to 500 pixels, one of sixteen bits,
/// one turned by its camera.
pub fn mixed(folder: &Path) {
    for n in 0..300 {
        let class = n as usize % 4;
        let size = [40 + n * 67 % 461, 40 + n * 113 % 461];
        let image = picture(class, n, size);
        let (name, bytes) = match n {
            8 => ("turned.jpg".to_owned(), turned(image)),
            9 => {
                let deep = DynamicImage::from(image).into_rgb16();
                ("deep.png".to_owned(), bytes(deep, ImageFormat::Png))
            }
            _ if n % 5 == 0 => {
                let grey = DynamicImage::from(image).into_luma8();
                (format!("{n}.png"), bytes(grey, ImageFormat::Png))
            }
            _ if n % 7 == 0 => {
                let mut clear = DynamicImage::from(image).into_rgba8();
                clear.pixels_mut().for_each(|pixel| pixel.0[3] = 128);
                (format!("{n}.png"), bytes(clear, ImageFormat::Png))
            }
            _ => (format!("{n}.jpg"), bytes(image, ImageFormat::Jpeg)),
        };
        write(folder.join(CLASSES[class]).join(name), bytes);
    }
}

fn wanted(most: usize) -> Wanted {
    Wanted {
        size: None,
        channels: None,
        most,
    }
}

/// The survey of what lies at a path, and the section that was chosen.
fn surveyed(path: &Path, most: usize) -> Result<(Survey, survey::Chosen), DataError> {
    remembered(path, most, &Cache::none())
}

/// The same, with what was found before.
fn remembered(
    path: &Path,
    most: usize,
    cache: &Cache,
) -> Result<(Survey, survey::Chosen), DataError> {
    let formats = formats::builtin();
    let found = survey::find(&formats, path, None, cache)?;
    let inventory = survey::take_inventory(&formats, &found.section, cache)?;
    let mut chosen = survey::choose(&found.section, &inventory.pictures, wanted(most));
    let statistics = survey::statistics(&formats, &chosen.section, cache)?;
    let survey = Survey::of(&chosen.section, inventory, statistics, found.layout);
    chosen.section.mean.clone_from(&survey.mean);
    chosen.section.std.clone_from(&survey.std);
    Ok((survey, chosen))
}

#[test]
fn a_folder_of_mixed_pictures_is_enough() {
    let folder = TempDir::new().unwrap();
    let place = folder.path().join("my shapes");
    mixed(&place);
    let (survey, chosen) = surveyed(&place, 64).unwrap();
    assert_eq!((survey.train, survey.test), (240, 60));
    let counts: Vec<(&str, usize, usize)> = survey
        .classes
        .iter()
        .map(|class| (class.name.as_str(), class.train, class.test))
        .collect();
    assert_eq!(counts, CLASSES.map(|name| (name, 60, 15)));
    let found = &survey.pictures;
    assert_eq!(found.looked_at, 240);
    assert_eq!(found.kinds.values().sum::<usize>(), 240);
    assert!(found.grey >= 40 && found.transparent >= 20, "{found:?}");
    assert_eq!(found.damaged, 0);
    // One of each is there, for learning or for the test.
    assert!(found.turned <= 1 && found.sixteen_bit <= 1);
    let sides = found.sides.unwrap();
    assert!((40..80).contains(&sides.height.min) && (420..=500).contains(&sides.height.max));
    assert_eq!(chosen.section.size, [64, 64]);
    assert_eq!(chosen.section.resize, Resize::Crop);
    assert_eq!(chosen.section.background, Some([255; 3]));
    let is_turned = chosen.section.orientation == Orientation::Exif;
    assert_eq!(is_turned, found.turned == 1);
    assert_eq!((survey.name.as_str(), survey.imbalance), ("my_shapes", 1.0));
    let text = survey.text(Some(&chosen));
    for part in [
        "my_shapes: 300 images of 4 classes",
        "20 % of each are set apart",
        "240 to learn from, 60 for the test",
        "circle 75, cross 75",
        "with transparency",
        "64x64 pixels (the median of the shorter sides is",
        "stem_conv3x3_s2",
    ] {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }

    // What is written is read back as what was chosen, and one sees whether it was changed.
    let yaml = survey::describe(&survey, &chosen);
    assert!(survey::is_as_written(&yaml));
    assert!(!survey::is_as_written(
        &yaml.replace("flip: true", "flip: false")
    ));
    let file = folder.path().join("shapes.yaml");
    fs::write(&file, &yaml).unwrap();
    let read: Dataset = ConfigLoader::new(&Files)
        .files("archai:algos/common.yaml")
        .dataset(file.to_str().unwrap())
        .load(&Schema::settings())
        .unwrap_or_else(|e| panic!("{e}\n{yaml}"))
        .settings()
        .unwrap()
        .dataset;
    assert_eq!(read, chosen.section, "{yaml}");
    for (split, n) in [(Split::Train, 240), (Split::Test, 60)] {
        assert_eq!(open(&formats::builtin(), &read, split).unwrap().len(), n);
    }
    // The same, found again.
    let (again, _) = surveyed(&place, 64).unwrap();
    assert_eq!(again, survey);

    let opened = Opened::new(&formats::builtin(), &chosen.section).unwrap();
    let transforms = transforms::builtin();
    let augmentation = Augmentation {
        transforms: &transforms,
        cutout: 16,
    };
    let classes = sheet::classes(&opened, augmentation).unwrap();
    let draws = sheet::draws(&opened, augmentation, 4, 8).unwrap();
    for (name, sheet) in [("classes", classes), ("draws", draws)] {
        let png = sheet::png(&sheet).unwrap();
        assert_eq!(image::load_from_memory(&png).unwrap().into_rgb8(), sheet);
        if let Ok(folder) = std::env::var("ARCHAI_SHEETS") {
            fs::write(Path::new(&folder).join(format!("{name}.png")), png).unwrap();
        }
    }
    // Small pictures are scaled down, and each has its name.
    let data = &*opened.train;
    assert!(data.item_name(0).is_some_and(|name| name.contains('/')));
    for side in [16, 4000] {
        let small = sheet::thumbnail(data, 0, side).unwrap();
        let read = image::load_from_memory(&small.bytes).unwrap();
        assert_eq!((read.width(), read.height()), (small.width, small.height));
        assert!(small.width.max(small.height) <= side);
        assert_eq!(small.width.max(small.height) == side, side == 16);
    }
}

#[test]
fn parts_have_many_names() {
    let check = |names: &[&str], train: usize, test: usize, says: &str| {
        let folder = TempDir::new().unwrap();
        for (n, name) in names.iter().enumerate() {
            for class in ["a", "b"] {
                for i in 0..5 {
                    let shade = (n * 40 + i) as u8;
                    let path = folder
                        .path()
                        .join(name)
                        .join(class)
                        .join(format!("{i}.png"));
                    write(path, png(flat_grey(20, 20, shade)));
                }
            }
        }
        let (survey, chosen) = surveyed(folder.path(), 64).unwrap();
        assert_eq!((survey.train, survey.test), (train, test), "{names:?}");
        assert_eq!(
            (chosen.section.channels, chosen.section.size),
            (1, [20, 20])
        );
        assert!(survey.layout.contains(says), "{}", survey.layout);
    };
    check(&["train", "test"], 10, 10, "below test/ for the test");
    check(&["train", "val"], 10, 10, "below val/ for the test");
    check(&["Training", "Testing"], 10, 10, "below Training/");
    check(&["train"], 8, 2, "20 % of each");
    check(&["train", "val", "test"], 10, 10, "below test/");
}

/// Puts other bytes into a file without that its size or its time tells.
fn spoil(path: &Path) {
    let old = fs::metadata(path).unwrap();
    fs::write(path, vec![b'x'; old.len() as usize]).unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(old.modified().unwrap()).unwrap();
}

/// Says that a file was written an hour ago.
fn age(path: &Path) {
    let time = fs::metadata(path).unwrap().modified().unwrap() - Duration::from_secs(3600);
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(time).unwrap();
}

#[test]
fn a_second_look_reads_no_picture() {
    let folder = TempDir::new().unwrap();
    let cache = Cache::at(folder.path().join("cache"));
    let picture = |i: u8| png(flat_grey(40, 30, 10 * i));
    let mut table = "path,class\n".to_owned();
    let mut files = Vec::new();
    for (part, n) in [("train", 6), ("test", 2)] {
        for i in 0..n {
            let name = format!("{part}/{}/{i}.png", ["a", "b"][i as usize % 2]);
            table += &format!("../folders/{name},{}\n", ["a", "b"][i as usize % 2]);
            files.push(folder.path().join("folders").join(&name));
            write(files.last().unwrap(), picture(i));
            age(files.last().unwrap());
        }
    }
    let csv = folder.path().join("tables/all.csv");
    write(&csv, table);
    age(&csv);
    let places = [folder.path().join("folders"), csv];
    let look = |cache: &Cache| places.each_ref().map(|place| remembered(place, 64, cache));
    let first = look(&cache).map(Result::unwrap);
    assert_eq!(first, look(&Cache::none()).map(Result::unwrap));
    assert_eq!((first[0].0.train, first[1].0.train), (6, 6));

    // What lies in the files now is no picture: who still finds the same has read none.
    files.iter().for_each(|file| spoil(file));
    for found in look(&Cache::none()) {
        assert!(found.is_err(), "{found:?}");
    }
    assert_eq!(first, look(&cache).map(Result::unwrap));

    // A changed picture, one more and one less are noticed, in each part.
    let mend = || {
        for (i, file) in files.iter().enumerate() {
            write(file, picture(i as u8 % 6));
            age(file);
        }
    };
    let check = |what: &str| {
        let found = look(&cache).map(Result::unwrap);
        assert_eq!(found, look(&Cache::none()).map(Result::unwrap), "{what}");
        found
    };
    mend();
    write(&files[0], png(flat_grey(50, 30, 250)));
    let changed = check("a training picture");
    assert_ne!(changed[0].0.mean, first[0].0.mean);
    assert_ne!(changed[0].0.pictures.sides, first[0].0.pictures.sides);
    mend();
    let more = folder.path().join("folders/test/a/more.png");
    write(&more, picture(3));
    assert_eq!(check("one more test picture")[0].0.test, 3);
    fs::remove_file(more).unwrap();
    assert_eq!(check("one less")[0].0.test, 2);
    // Another size is another question.
    let wide = remembered(&places[0], 16, &cache).unwrap();
    assert_eq!(wide, surveyed(&places[0], 16).unwrap());
}

#[test]
fn validation_data_beside_test_data_may_be_learnt_from() {
    let folder = TempDir::new().unwrap();
    for (part, n) in [("train", 4), ("val", 3), ("test", 2)] {
        for class in ["a", "b"] {
            for i in 0..n {
                let path = folder.path().join(format!("{part}/{class}/{i}.png"));
                write(path, png(flat_grey(20, 20, i)));
            }
        }
    }
    let formats = formats::builtin();
    let found = survey::find(&formats, folder.path(), None, &Cache::none()).unwrap();
    let note = &found.notes[0];
    let says = "val/ is not used";
    assert!(
        note.contains(says) && note.contains("{train,val}"),
        "{note}"
    );
    let mut set = found.section;
    let len = |set: &Dataset| open(&formats, set, Split::Train).map(|data| data.len());
    assert_eq!(len(&set).unwrap(), 8);
    set.train = Some("{train,val}".to_owned());
    assert_eq!(len(&set).unwrap(), 14);
    set.train = Some("{train,dev}".to_owned());
    check_error(len(&set), &["looked for dev/"]);
    set.train = Some("{train".to_owned());
    check_error(len(&set), &["dataset.train", "not closed"]);
}

#[test]
fn what_is_no_data_set_is_told() {
    let folder = TempDir::new().unwrap();
    let place = folder.path();
    let check = |parts: &[&str]| check_error(surveyed(place, 64), parts);
    check(&["no folder in it", "two folders of pictures"]);
    write(place.join("a/1.png"), png(flat_grey(9, 9, 1)));
    check(&["one folder in it (a)"]);
    fs::create_dir(place.join("b")).unwrap();
    check(&["the folders a, b", "two folders of pictures"]);
    write(place.join("b/1.png"), png(flat_grey(9, 9, 2)));
    fs::create_dir(place.join("c")).unwrap();
    check(&["c'", "expected pictures, as in the other folders"]);
    fs::remove_dir(place.join("c")).unwrap();
    surveyed(place, 64).unwrap();
    check_error(surveyed(&place.join("nothing"), 64), &["nothing"]);
    check_error(
        surveyed(&place.join("a/1.png"), 64),
        &["1.png", "its name", ".parquet"],
    );
}

#[test]
fn unequal_classes_and_damage_are_told() {
    let folder = TempDir::new().unwrap();
    for i in 0..40 {
        write(
            folder.path().join(format!("cat/{i}.png")),
            png(flat_grey(64, 48, i)),
        );
    }
    for i in 0..10 {
        write(
            folder.path().join(format!("dog/{i}.png")),
            png(flat_grey(64, 48, i)),
        );
    }
    write(
        folder.path().join("dog/broken.png"),
        &png(flat_grey(64, 48, 1))[..60],
    );
    let (survey, chosen) = surveyed(folder.path(), 64).unwrap();
    assert_eq!(chosen.section.size, [64, 48], "all have this size");
    let notes = survey.notes.join("\n");
    assert!(
        notes.contains("classes are unequal: 31 training images of cat"),
        "{notes}"
    );
    assert!(
        notes.contains("cannot be read") == (survey.pictures.damaged > 0),
        "{notes}"
    );
    assert!(survey.imbalance > 3.0);
}

#[test]
fn test_data_are_set_apart() {
    let folder = TempDir::new().unwrap();
    for class in ["a", "b"] {
        for i in 0..10 {
            let path = folder.path().join(format!("train/{class}/{i}.png"));
            write(path, png(flat_grey(4, 4, i)));
        }
    }
    let mut set = settings("image_folder", folder.path(), 2, 1, [4, 4]);
    let formats = formats::builtin();
    let pixels = |set: &Dataset, split| {
        let data = open(&formats, set, split).unwrap();
        let of = |i| (data.label(i), data.image(i).unwrap().pixels[0]);
        (0..data.len()).map(of).collect::<Vec<(u32, u8)>>()
    };
    let all = pixels(&set, Split::Train);
    check_error(
        open(&formats, &set, Split::Test).map(drop),
        &["was not found"],
    );
    set.test_ratio = 0.3;
    let (train, test) = (pixels(&set, Split::Train), pixels(&set, Split::Test));
    assert_eq!((train.len(), test.len()), (14, 6));
    for class in [0, 1] {
        assert_eq!(test.iter().filter(|(label, _)| *label == class).count(), 3);
    }
    let mut both = [&train[..], &test[..]].concat();
    both.sort_unstable();
    let mut sorted = all.clone();
    sorted.sort_unstable();
    assert_eq!(both, sorted, "each image is in one of the parts");
    assert_eq!(pixels(&set, Split::Test), test, "the same each time");
    let look = |set: &Dataset| {
        archai_data::inspect(&formats, set, Split::Test)
            .unwrap()
            .digest
    };
    let digest = look(&set);
    assert_eq!(look(&set), digest);
    set.split_seed = 1;
    assert_ne!(pixels(&set, Split::Test), test);
    assert_ne!(look(&set), digest);

    // Nothing is passed over in silence.
    set.test = Some("other".to_owned());
    check_error(
        open(&formats, &set, Split::Train).map(drop),
        &["test_ratio", "take one"],
    );
    set.test = None;
    write(folder.path().join("test/a/0.png"), png(flat_grey(4, 4, 0)));
    check_error(
        open(&formats, &set, Split::Train).map(drop),
        &["dataset.test_ratio", "has test data", "test/a/0.png"],
    );
    let embedded = Dataset {
        test_ratio: 0.2,
        ..Dataset::shipped("fashion_mnist_mini").unwrap()
    };
    check_error(
        open(&formats, &embedded, Split::Test).map(drop),
        &["`embedded` brings its own"],
    );
    set.test_ratio = 0.0;
    check_error(
        open(&formats, &set, Split::Train).map(drop),
        &["split_seed", "nothing is divided"],
    );
}
