//! Folders of pictures as users have them: nothing in them is left out in silence.

use std::fs;
use std::io::Write;
use std::path::Path;

use archai_data::{Contents, DataError, Dataset, Split, formats, inspect};
use archai_spec::settings::{self, OnDamaged};
use flate2::{Compression, Crc, write::ZlibEncoder};
use image::{DynamicImage, ImageBuffer};
use tempfile::TempDir;

use crate::fixtures::*;

fn look(set: &settings::Dataset, split: Split) -> Result<Contents, DataError> {
    inspect(&formats::builtin(), set, split)
}

/// A folder with a picture of each of two classes in both parts, and its settings.
fn two_classes() -> (TempDir, settings::Dataset) {
    let folder = TempDir::new().unwrap();
    for name in [
        "train/a/0.png",
        "train/b/0.png",
        "test/a/0.png",
        "test/b/0.png",
    ] {
        write(folder.path().join(name), png(flat_grey(2, 2, 7)));
    }
    let set = settings("image_folder", folder.path(), 2, 1, [2, 2]);
    (folder, set)
}

/// The first pixel of each image.
fn pixels(data: &dyn Dataset) -> Vec<u8> {
    (0..data.len())
        .map(|index| data.image(index).unwrap().pixels[0])
        .collect()
}

#[test]
fn a_part_without_class_folders_is_an_error() {
    let (folder, set) = two_classes();
    look(&set, Split::Test).unwrap();
    let place = folder.path().join("test");
    fs::remove_dir_all(&place).unwrap();
    for i in 0..8 {
        write(place.join(format!("{i}.png")), png(flat_grey(2, 2, i)));
    }
    let parts = [
        "test'",
        "one folder of images per class of the test data",
        "no folder, but 8 files (0.png, 1.png, 2.png, 3.png, 4.png, …)",
    ];
    check_error(look(&set, Split::Test), &parts);
    check_error(test(&set), &parts);

    fs::remove_dir_all(&place).unwrap();
    fs::create_dir(&place).unwrap();
    check_error(
        test(&set),
        &["test'", "found nothing", "make a folder for each class"],
    );
    // A folder that only names classes holds no data either.
    fs::create_dir(place.join("a")).unwrap();
    check_error(test(&set), &["a'", "pictures (PNG", "none"]);
}

#[test]
fn a_folder_that_is_one_level_off_is_told_from_one_that_is_not_there() {
    let (folder, set) = two_classes();
    let place = |path: &Path| settings::Dataset {
        path: path.to_str().unwrap().to_owned(),
        ..set.clone()
    };
    let top = format!("set dataset.path to '{}'", folder.path().display());
    let mut cases = Vec::new();
    for below in ["train", "test", "train/a", "test/b"] {
        cases.push((folder.path().join(below), top.clone()));
    }
    let outer = TempDir::new().unwrap();
    let inner = outer.path().join("set");
    fs::create_dir_all(inner.join("train/a")).unwrap();
    let nowhere = outer.path().join("no/such/folder");
    cases.push((
        outer.path().to_path_buf(),
        format!("set dataset.path to '{}'", inner.display()),
    ));
    for (path, expect) in cases {
        check_error(
            look(&place(&path), Split::Train),
            &["was not found", &expect, "--dataset.path DIR"],
        );
    }
    let text = look(&place(&nowhere), Split::Train)
        .unwrap_err()
        .to_string();
    assert!(!text.contains("if that is meant"), "{text}");

    let classes = TempDir::new().unwrap();
    for class in ["cat", "dog", ".hidden"] {
        fs::create_dir(classes.path().join(class)).unwrap();
    }
    check_error(
        look(&place(classes.path()), Split::Train),
        &["there are the folders cat, dog: if they are the classes, put them below train/, or set"],
    );
    // The training data are there, so the folder is the right one.
    fs::remove_dir_all(folder.path().join("test")).unwrap();
    let text = look(&set, Split::Test).unwrap_err().to_string();
    assert!(
        text.contains("was not found") && !text.contains("if "),
        "{text}"
    );
}

#[test]
fn pictures_are_known_by_what_they_hold() {
    let (folder, set) = two_classes();
    for (name, bytes) in [
        ("1.jfif", jpeg(flat_grey(8, 8, 50))),
        ("2.jpe", jpeg(flat_grey(8, 8, 60))),
        ("3", png(flat_grey(2, 2, 70))),
        ("4.jpg", png(flat_grey(2, 2, 80))),
        ("5.png", jpeg(flat_grey(8, 8, 90))),
        ("deep/6.PNG", png(flat_grey(2, 2, 100))),
    ] {
        write(folder.path().join("train/a").join(name), bytes);
    }
    assert_eq!(look(&set, Split::Train).unwrap().per_class, [7, 1]);
    let found = pixels(&*train(&set).unwrap());
    let expect = [7, 50, 60, 70, 80, 90, 100, 7];
    assert!(
        found.iter().zip(expect).all(|(a, b)| a.abs_diff(b) <= 1),
        "{found:?}"
    );
}

#[test]
fn what_is_no_picture_is_named() {
    let check = |name: &str, bytes: &[u8], parts: &[&str]| {
        let (folder, set) = two_classes();
        write(folder.path().join(name), bytes);
        check_error(look(&set, Split::Train), parts);
    };
    check(
        "train/a/notes.txt",
        b"hello",
        &["notes.txt", "PNG, JPEG, WebP", "move it elsewhere"],
    );
    check("train/a/x.jpg", b"", &["x.jpg", "found nothing"]);
    check(
        "train/b/y.png",
        b"P6 2 2 255\n............",
        &["y.png", "a Pnm image", "convert it"],
    );
    check(
        "train/b/z.webp",
        b"RIFF\x0c\0\0\0WEBPVP8 ",
        &["z.webp", "cannot be decoded", "get it again"],
    );
    let beside = png(flat_grey(2, 2, 1));
    check(
        "train/x.png",
        &beside,
        &["train/x.png", "in the folders of their classes only"],
    );
}

#[test]
fn the_extra_class_is_named_with_its_part() {
    let (folder, set) = two_classes();
    write(folder.path().join("train/__MACOSX/x.txt"), b"x");
    for split in [Split::Train, Split::Test] {
        check_error(
            look(&set, split),
            &[
                "dataset.n_classes: is 2, but the training data in",
                "train' has 3 class folders: __MACOSX, a, b;",
            ],
        );
    }
    fs::rename(
        folder.path().join("train/__MACOSX"),
        folder.path().join("test/c"),
    )
    .unwrap();
    check_error(
        look(&set, Split::Test),
        &["test'", "the training data has too, found c"],
    );
    look(&set, Split::Train).unwrap();
}

#[test]
fn a_pattern_takes_all_folders_that_it_fits() {
    let (folder, mut set) = two_classes();
    for (name, value) in [
        ("part1/b/1", 1),
        ("part2/a/2", 2),
        ("part2/b/0", 3),
        ("part1/a/4", 4),
    ] {
        write(folder.path().join(name), png(flat_grey(2, 2, value)));
    }
    write(folder.path().join("part_list.txt"), b"1 2");
    set.train = Some("part*".into());
    let data = train(&set).unwrap();
    // Class by class, and folder by folder in each.
    assert_eq!(pixels(&*data), [4, 2, 1, 3]);
    assert_eq!(
        (0..4).map(|i| data.label(i)).collect::<Vec<_>>(),
        [0, 0, 1, 1]
    );
}

#[test]
fn damage_is_found_before_the_training() {
    let (folder, set) = two_classes();
    let picture = image::RgbImage::from_fn(24, 24, |x, y| image::Rgb([x as u8, y as u8, 9]));
    let whole = [png(picture.clone()), jpeg(picture)];
    let file = folder.path().join("test/b/x");
    for whole in whole {
        write(&file, &whole);
        assert_eq!(look(&set, Split::Test).unwrap().per_class, [1, 2]);
        for length in [20, whole.len() / 2, whole.len() - 20] {
            write(&file, &whole[..length]);
            check_error(look(&set, Split::Test), &["test/b/x'", "PNG, JPEG, WebP"]);
        }
    }
    let mut changed = png(flat_rgb(30, 30, [1, 2, 3]));
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    write(&file, changed);
    check_error(
        look(&set, Split::Test),
        &["test/b/x'", "cut off or changed"],
    );
}

/// JPEG files of other encoders' kinds: progressive, with restart markers, thinned colours, tables of their own, four colours.
const KINDS: [&[u8]; 4] = [
    include_bytes!("../jpeg/sequential.jpg"),
    include_bytes!("../jpeg/progressive.jpg"),
    include_bytes!("../jpeg/grey.jpg"),
    include_bytes!("../jpeg/four_colours.jpg"),
];

#[test]
fn jpeg_files_with_damage_in_the_middle_are_named() {
    const PIECE: usize = 100;
    let (folder, set) = two_classes();
    let file = folder.path().join("train/a/x.jpg");
    for (kind, whole) in KINDS.into_iter().enumerate() {
        write(&file, whole);
        look(&set, Split::Train).unwrap();
        train(&set).unwrap().image(1).unwrap();
        let scan = whole.windows(2).position(|two| two == [0xff, 0xda]);
        let first = scan.unwrap() + 20;
        for part in 0..4 {
            let start = first + part * (whole.len() - first - PIECE) / 4;
            let (before, behind) = (&whole[..start], &whole[start + PIECE..]);
            // Lost, and overwritten with zeros.
            for damaged in [
                [before, behind].concat(),
                [before, &[0; PIECE], behind].concat(),
            ] {
                write(&file, damaged);
                let result = look(&set, Split::Train);
                assert!(result.is_err(), "kind {kind}, part {part}");
                check_error(result, &["train/a/x.jpg'", "PNG, JPEG, WebP"]);
            }
        }
    }
}

#[test]
fn sound_jpeg_files_of_all_sizes_are_taken_for_sound() {
    let (folder, set) = two_classes();
    let noise = |x: u32, y: u32| ((x * 37 + y * 101) * (x + 3) % 251) as u8;
    for side in 1..40 {
        let (width, height) = (side, 41 - side);
        let grey = image::GrayImage::from_fn(width, height, |x, y| image::Luma([noise(x, y)]));
        let rgb = image::RgbImage::from_fn(width, height, |x, y| {
            image::Rgb([noise(x, y), noise(y, x), noise(x + y, 5)])
        });
        write(
            folder.path().join(format!("train/a/{side}.jpg")),
            jpeg(grey),
        );
        write(folder.path().join(format!("train/b/{side}.jpg")), jpeg(rgb));
    }
    assert_eq!(look(&set, Split::Train).unwrap().per_class, [40, 40]);
}

#[test]
fn what_is_damaged_can_be_left_out_by_name() {
    let (folder, mut set) = two_classes();
    let at = |name: &str| folder.path().join(name);
    let whole = jpeg(image::RgbImage::from_fn(40, 40, |x, y| {
        image::Rgb([(7 * x) as u8, (11 * y) as u8, (x * y) as u8])
    }));
    write(at("train/a/1.jpg"), &whole);
    write(at("train/a/2.jpg"), &whole[..whole.len() - 30]);
    write(at("train/b/3.txt"), b"no picture");
    check_error(
        look(&set, Split::Train),
        &["train/a/2.jpg'", "on_damaged", "`skip`"],
    );
    set.on_damaged = OnDamaged::Skip;
    let found = look(&set, Split::Train).unwrap();
    assert_eq!(
        (found.images, &*found.per_class, found.left_out),
        (3, &[2, 1][..], 2)
    );
    let data = train(&set).unwrap();
    assert_eq!(data.left_out(), ["train/a/2.jpg", "train/b/3.txt"]);
    assert_eq!(pixels(&*data).len(), 3);
    // Nothing is left of a class.
    fs::remove_file(at("train/b/0.png")).unwrap();
    check_error(train(&set), &["train/b'", "none that can be read"]);
}

#[test]
fn damaged_rows_of_a_table_can_be_left_out_by_name() {
    let folder = TempDir::new().unwrap();
    let mut set = settings("parquet", folder.path(), 2, 1, [2, 2]);
    let good = |value: u8, label: i64| (Some(png(flat_grey(2, 2, value))), label);
    let damaged = (Some(b"no picture".to_vec()), 1);
    let rows = [good(1, 0), damaged, good(2, 1), good(3, 0)];
    let table = parquet_table(Layout::Struct, &rows, snappy());
    write(folder.path().join("data/train-0.parquet"), table);
    check_error(train(&set), &["train-0.parquet'", "at row 1", "on_damaged"]);
    set.on_damaged = OnDamaged::Skip;
    let data = train(&set).unwrap();
    assert_eq!(pixels(&*data), [1, 2, 3]);
    assert_eq!((data.label(1), data.label(2)), (1, 0));
    assert_eq!(data.left_out(), ["data/train-0.parquet row 1"]);
}

/// A PNG file of `side` × `side` pixels that all are the second colour of its palette.
fn with_palette(side: u32, colour: [u8; 3]) -> Vec<u8> {
    let chunk = |kind: &[u8; 4], data: &[u8]| {
        let mut sum = Crc::new();
        sum.update(kind);
        sum.update(data);
        let length = (data.len() as u32).to_be_bytes();
        [&length[..], kind, data, &sum.sum().to_be_bytes()].concat()
    };
    let mut pixels = ZlibEncoder::new(Vec::new(), Compression::fast());
    for _ in 0..side {
        let line = [&[0][..], &vec![1; side as usize]].concat();
        pixels.write_all(&line).unwrap();
    }
    let side = side.to_be_bytes();
    [
        b"\x89PNG\r\n\x1a\n".to_vec(),
        chunk(b"IHDR", &[&side[..], &side, &[8, 3, 0, 0, 0]].concat()),
        chunk(b"PLTE", &[&[0; 3][..], &colour].concat()),
        chunk(b"IDAT", &pixels.finish().unwrap()),
        chunk(b"IEND", &[]),
    ]
    .concat()
}

#[test]
fn pictures_of_all_kinds_and_sizes_stand_in_one_folder() {
    let folder = TempDir::new().unwrap();
    let wide = |value: u8| u16::from(value) * 257;
    let colour = image::Rgb([10u8, 20, 30]);
    let as_png = |image: DynamicImage| png(image);
    let all = [
        (png(flat_grey(40, 40, 20)), [20; 3]),
        (png(flat_rgb(300, 500, colour.0)), colour.0),
        (jpeg(flat_grey(64, 41, 20)), [20; 3]),
        (jpeg(flat_rgb(480, 100, [90; 3])), [90; 3]),
        (
            as_png(ImageBuffer::from_pixel(50, 70, image::Rgba([10u8, 20, 30, 5])).into()),
            colour.0,
        ),
        (
            as_png(ImageBuffer::from_pixel(44, 44, image::LumaA([20u8, 0])).into()),
            [20; 3],
        ),
        (
            as_png(ImageBuffer::from_pixel(90, 45, image::Luma([wide(20)])).into()),
            [20; 3],
        ),
        (
            as_png(ImageBuffer::from_pixel(45, 90, image::Rgb(colour.0.map(wide))).into()),
            colour.0,
        ),
        (
            as_png(ImageBuffer::from_pixel(60, 60, image::Rgba([10, 20, 30, 99].map(wide))).into()),
            colour.0,
        ),
        (with_palette(100, colour.0), colour.0),
    ];
    for (i, (bytes, _)) in all.iter().enumerate() {
        write(folder.path().join(format!("train/x/{i}.png")), bytes);
    }
    let set = settings("image_folder", folder.path(), 1, 3, [40, 40]);
    assert_eq!(look(&set, Split::Train).unwrap().images, all.len());
    let data = train(&set).unwrap();
    for (i, (_, expect)) in all.iter().enumerate() {
        let image = data.image(i).unwrap();
        assert_eq!((image.channels, image.height, image.width), (3, 40, 40));
        for (plane, value) in image.pixels.chunks_exact(40 * 40).zip(expect) {
            assert!(plane.iter().all(|pixel| pixel.abs_diff(*value) <= 1), "{i}");
        }
    }
    let grey = settings("image_folder", folder.path(), 1, 1, [40, 40]);
    let found = pixels(&*train(&grey).unwrap());
    let expect = [20, 20, 20, 90, 20, 20, 20, 20, 20, 20];
    assert!(
        found.iter().zip(expect).all(|(a, b)| a.abs_diff(b) <= 1),
        "{found:?}"
    );
}

#[test]
fn tables_whose_compression_is_not_read_are_not_called_damaged() {
    let folder = TempDir::new().unwrap();
    let rows = [(Some(png(flat_grey(2, 2, 1))), 0)];
    let none = parquet::basic::Compression::UNCOMPRESSED;
    let mut table = parquet_table(Layout::Plain, &rows, none);
    // The footer says of the column `image` how it is compressed: 0, which becomes 3, lzo (numbers are doubled there).
    let before = b"\x19\x18\x05image\x15";
    let at = table.windows(before.len()).position(|part| part == before);
    let at = at.unwrap() + before.len();
    assert_eq!(table[at], 0);
    table[at] = 6;
    write(folder.path().join("train.parquet"), table);
    let set = settings("parquet", folder.path(), 2, 1, [2, 2]);
    let error = train(&set).err().unwrap().to_string();
    assert!(
        error.contains("found lzo; the file may well be sound"),
        "{error}"
    );
    assert!(!error.contains("damage"), "{error}");
}

#[test]
fn tables_in_two_usual_places_are_not_chosen_from() {
    let folder = TempDir::new().unwrap();
    let rows = [(Some(png(flat_grey(2, 2, 1))), 1)];
    for name in [
        "train.parquet",
        "data/train-0.parquet",
        "data/train-1.parquet",
    ] {
        let table = parquet_table(Layout::Plain, &rows, snappy());
        write(folder.path().join(name), table);
    }
    let mut set = settings("parquet", folder.path(), 2, 1, [2, 2]);
    let parts = [
        "dataset.train: in '",
        "there is train*.parquet and data/train*.parquet; say which",
    ];
    check_error(train(&set), &parts);
    set.train = Some("data/*".into());
    assert_eq!(train(&set).unwrap().len(), 2);
}

#[test]
fn tables_may_call_their_labels_by_several_names() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("train.parquet");
    let set = settings("parquet", folder.path(), 2, 1, [2, 2]);
    let rows = [(Some(png(flat_grey(2, 2, 1))), 1)];
    for name in ["label", "labels", "fine_label"] {
        write(&file, table_with_labels(name, &rows, None));
        assert_eq!(train(&set).unwrap().label(0), 1, "{name}");
    }
    write(&file, table_with_labels("target", &rows, None));
    check_error(
        train(&set),
        &[
            "a column of labels: label or fine_label or labels",
            "found image, target",
        ],
    );
}

#[test]
fn classes_have_the_names_that_the_data_tell() {
    let (folder, set) = two_classes();
    assert_eq!(train(&set).unwrap().class_names(), ["a", "b"]);
    fs::remove_dir_all(folder.path().join("test/a")).unwrap();
    assert_eq!(test(&set).unwrap().class_names(), ["a", "b"]);
    assert_eq!(look(&set, Split::Test).unwrap().class_names, ["a", "b"]);

    let set = settings("parquet", folder.path(), 2, 1, [2, 2]);
    let rows = [(Some(png(flat_grey(2, 2, 1))), 1)];
    let names = |notes: Option<&str>| {
        let table = table_with_labels("labels", &rows, notes);
        write(folder.path().join("train.parquet"), table);
        train(&set).unwrap().class_names().to_vec()
    };
    let notes = |names: &str| {
        format!(
            r#"{{"info": {{"features": {{"labels": {{"names": {names}, "_type": "ClassLabel"}}}}}}}}"#
        )
    };
    assert_eq!(names(Some(&notes(r#"["cat", "dog"]"#))), ["cat", "dog"]);
    let none: [&str; 0] = [];
    assert_eq!(names(Some(&notes("3"))), none);
    assert_eq!(names(Some("no JSON")), none);
    assert_eq!(names(None), none);

    let cifar = |root: &Path| {
        let mut set = settings("cifar10_binary", root, 2, 3, [32, 32]);
        set.train = Some("data_batch_1.bin".into());
        train(&set).unwrap().class_names().to_vec()
    };
    let record = cifar_record(&[1], [1, 2, 3]);
    write(folder.path().join("c/data_batch_1.bin"), &record);
    assert_eq!(cifar(&folder.path().join("c")), none);
    write(
        folder.path().join("c/batches.meta.txt"),
        b"airplane\nbird\n\n",
    );
    assert_eq!(cifar(&folder.path().join("c")), ["airplane", "bird"]);
    let members: [(&str, &[u8]); 2] = [
        ("x/data_batch_1.bin", &record),
        ("x/batches.meta.txt", b"ship\ntruck\n"),
    ];
    write(folder.path().join("c.tar.gz"), tar_gz(&members));
    assert_eq!(cifar(&folder.path().join("c.tar.gz")), ["ship", "truck"]);
}
