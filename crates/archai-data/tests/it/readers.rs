use std::fs;
use std::path::Path;
use std::sync::Arc;

use archai_data::formats::{self, embedded};
use archai_data::{
    DataError, DataFormat, Dataset, Formats, Gather, Image, InMemory, Split, check_place, open,
};
use archai_spec::registry::Named;
use archai_spec::settings::Dataset as Section;
use tempfile::TempDir;

use crate::fixtures::*;

/// Label and first pixel of each channel, for every image.
fn glance(data: &dyn Dataset) -> Vec<(u32, Vec<u8>)> {
    (0..data.len())
        .map(|i| {
            let image = data.image(i).unwrap();
            let first = image
                .pixels
                .iter()
                .step_by(image.height * image.width)
                .copied()
                .collect();
            (data.label(i), first)
        })
        .collect()
}

#[test]
fn cifar10_folder_and_archive() {
    let folder = TempDir::new().unwrap();
    let mut members = Vec::new();
    for i in 1..=5u8 {
        let bytes = [
            cifar_record(&[i], [i, 10, 20]),
            cifar_record(&[9], [i, 11, 21]),
        ]
        .concat();
        members.push((format!("cifar-10-batches-bin/data_batch_{i}.bin"), bytes));
    }
    members.push((
        "cifar-10-batches-bin/test_batch.bin".into(),
        cifar_record(&[3], [1, 2, 3]),
    ));
    members.push(("cifar-10-batches-bin/readme.html".into(), b"hello".to_vec()));
    members
        .iter()
        .for_each(|(name, bytes)| write(folder.path().join(name), bytes));
    let expect: Vec<_> = (1..=5u8)
        .flat_map(|i| [(i.into(), vec![i, 10, 20]), (9, vec![i, 11, 21])])
        .collect();

    let archive = TempDir::new().unwrap();
    let archive = archive.path().join("a.tar.gz");
    // Members in any order.
    let members: Vec<_> = members
        .iter()
        .rev()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
        .collect();
    write(&archive, tar_gz(&members));

    for path in [
        folder.path().to_owned(),
        folder.path().join("cifar-10-batches-bin"),
        archive,
    ] {
        let set = settings("cifar10_binary", &path, 10, 3, [32, 32]);
        let data = train(&set).unwrap();
        assert_eq!(glance(&*data), expect, "{}", path.display());
        assert_eq!(glance(&*test(&set).unwrap()), [(3, vec![1, 2, 3])]);
    }

    let mut set = settings("cifar10_binary", folder.path(), 10, 1, [32, 32]);
    set.train = Some("*_1.bin".into());
    assert_eq!(
        glance(&*train(&set).unwrap()),
        [(1, vec![10]), (9, vec![11])]
    );

    fs::remove_file(folder.path().join("cifar-10-batches-bin/data_batch_4.bin")).unwrap();
    set.train = None;
    check_error(
        train(&set),
        &[
            "'sample' (training data)",
            "data_batch_4.bin",
            "dataset.path",
            "variable default_dataroot",
        ],
    );
}

#[test]
fn cifar100_takes_the_fine_label() {
    let folder = TempDir::new().unwrap();
    write(
        folder.path().join("train.bin"),
        cifar_record(&[3, 77], [1, 2, 3]),
    );
    let set = settings("cifar100_binary", folder.path(), 100, 3, [32, 32]);
    assert_eq!(glance(&*train(&set).unwrap()), [(77, vec![1, 2, 3])]);
    check_error(test(&set), &["test.bin", "test data"]);
}

#[test]
fn cifar_damage() {
    let folder = TempDir::new().unwrap();
    let set = settings("cifar100_binary", folder.path(), 100, 3, [32, 32]);
    let record = cifar_record(&[3, 7], [0; 3]);
    write(folder.path().join("train.bin"), &record[..3000]);
    check_error(
        train(&set),
        &[
            "train.bin'",
            "multiple of 3074 bytes",
            "found 3000 bytes",
            "get it again",
        ],
    );
    write(folder.path().join("train.bin"), b"");
    check_error(train(&set), &["found 0 bytes"]);
    write(
        folder.path().join("train.bin"),
        [record, cifar_record(&[3, 100], [0; 3])].concat(),
    );
    check_error(
        train(&set),
        &[
            "byte 3075 (record 1)",
            "a label in 0..100",
            "found 100",
            "n_classes",
        ],
    );
    let not_an_archive = folder.path().join("x.tar.gz");
    write(&not_an_archive, b"no archive at all");
    check_error(
        train(&settings(
            "cifar100_binary",
            &not_an_archive,
            100,
            3,
            [32, 32],
        )),
        &["x.tar.gz", ".tar.gz archive"],
    );
}

#[test]
fn idx_plain_and_gzip() {
    let images = idx(&[3, 2, 2], &[1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3]);
    let labels = idx(&[3], &[2, 0, 1]);
    let check = |names: [&str; 2], pattern: Option<&str>, compress: bool| {
        let folder = TempDir::new().unwrap();
        for (name, bytes) in names.iter().zip([&images, &labels]) {
            write(
                folder.path().join(name),
                if compress { gzip(bytes) } else { bytes.clone() },
            );
        }
        let mut set = settings("idx", folder.path(), 3, 1, [2, 2]);
        set.train = pattern.map(str::to_owned);
        assert_eq!(
            glance(&*train(&set).unwrap()),
            [(2, vec![1]), (0, vec![2]), (1, vec![3])]
        );
        // Grey becomes colour, and small images are padded.
        let mut set = settings("idx", folder.path(), 3, 3, [4, 4]);
        set.train = pattern.map(str::to_owned);
        let data = train(&set).unwrap();
        let image = data.image(1).unwrap();
        assert_eq!(
            image.pixels[..16],
            [0, 0, 0, 0, 0, 2, 2, 0, 0, 2, 2, 0, 0, 0, 0, 0]
        );
        assert_eq!(image.pixels.len(), 48);
        assert_eq!(image.pixels[16..32], image.pixels[..16]);
    };
    check(
        ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"],
        None,
        false,
    );
    check(
        ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"],
        None,
        true,
    );
    check(
        ["train-images.idx3-ubyte", "train-labels.idx1-ubyte"],
        None,
        false,
    );
    check(["letters-b", "letters-a"], Some("letters-*"), true);
}

#[test]
fn idx_damage() {
    let check = |images: Vec<u8>, labels: Vec<u8>, parts: &[&str]| {
        for compress in [false, true] {
            let folder = TempDir::new().unwrap();
            let bytes = |bytes: &[u8]| {
                if compress {
                    gzip(bytes)
                } else {
                    bytes.to_vec()
                }
            };
            write(
                folder.path().join("train-images-idx3-ubyte"),
                bytes(&images),
            );
            write(
                folder.path().join("train-labels-idx1-ubyte"),
                bytes(&labels),
            );
            check_error(train(&settings("idx", folder.path(), 3, 1, [2, 2])), parts);
        }
    };
    let (images, labels) = (idx(&[2, 2, 2], &[0; 8]), idx(&[2], &[0, 1]));
    check(
        vec![0, 0, 13, 3],
        labels.clone(),
        &["byte 0", "[00, 00, 08]"],
    );
    check(labels.clone(), labels.clone(), &["3 dimensions", "found 1"]);
    check(
        images.clone(),
        images.clone(),
        &["1 dimension: labels", "found 3"],
    );
    check(images.clone(), idx(&[3], &[0; 3]), &["2 labels", "found 3"]);
    check(
        images.clone(),
        idx(&[2], &[0, 3]),
        &["byte 9 (item 1)", "a label in 0..3", "found 3"],
    );
    // Headers that promise what is not there, and more than there is.
    check(idx(&[2, 2, 2], &[0; 7]), labels.clone(), &["train-images"]);
    check(idx(&[2, 2, 2], &[0; 9]), labels.clone(), &["train-images"]);
    check(
        idx(&[u32::MAX, 16_000, 16_000], &[0; 9]),
        idx(&[u32::MAX], &[]),
        &["train-"],
    );
    check(
        idx(&[u32::MAX, u32::MAX, u32::MAX], &[0; 9]),
        labels.clone(),
        &["train-images"],
    );
    check(
        idx(&[0, 2, 2], &[]),
        idx(&[0], &[]),
        &["at least one image"],
    );
    check(idx(&[2, 0, 2], &[]), labels, &["1 to 16384 pixels"]);

    let folder = TempDir::new().unwrap();
    let mut set = settings("idx", folder.path(), 3, 1, [2, 2]);
    check_error(
        train(&set),
        &["train-images-idx3-ubyte", "train-images-idx3-ubyte.gz"],
    );
    (0..3).for_each(|i| write(folder.path().join(format!("a{i}")), b""));
    set.train = Some("a*".into());
    check_error(
        train(&set),
        &["dataset.train", "'a*' fits 3 files", "expected two"],
    );
}

#[test]
fn parquet_layouts() {
    let rows: Vec<_> = (0..7u8)
        .map(|i| {
            let image = flat_rgb(4, 4, [i, 2 * i, 3 * i]);
            (Some(png(image)), i64::from(i % 3))
        })
        .collect();
    let expect: Vec<_> = (0..7u8)
        .map(|i| ((i % 3).into(), vec![i, 2 * i, 3 * i]))
        .collect();
    for (layout, compression, name) in [
        (Layout::Struct, snappy(), "train-00000-of-00001.parquet"),
        (Layout::Struct, zstd(), "data/train.parquet"),
        (
            Layout::Plain,
            parquet::basic::Compression::UNCOMPRESSED,
            "train/a.parquet",
        ),
    ] {
        let folder = TempDir::new().unwrap();
        write(
            folder.path().join(name),
            parquet_table(layout, &rows, compression),
        );
        let set = settings("parquet", folder.path(), 3, 3, [4, 4]);
        assert_eq!(glance(&*train(&set).unwrap()), expect, "{name}");
        check_error(test(&set), &["test*.parquet", "test data"]);
    }
    // Several files, in the order of their names; JPEG; scaled down.
    let folder = TempDir::new().unwrap();
    for i in [1, 0] {
        let rows = [(Some(jpeg(flat_grey(64, 48, 50 + i))), i64::from(i))];
        write(
            folder.path().join(format!("test-0000{i}-of-00002.parquet")),
            parquet_table(Layout::Struct, &rows, snappy()),
        );
    }
    let data = test(&settings("parquet", folder.path(), 2, 1, [32, 32])).unwrap();
    assert_eq!(
        (0..data.len()).map(|i| data.label(i)).collect::<Vec<_>>(),
        [0, 1]
    );
    assert!(
        data.image(1)
            .unwrap()
            .pixels
            .iter()
            .all(|pixel| pixel.abs_diff(51) <= 1)
    );
}

#[test]
fn parquet_damage() {
    let folder = TempDir::new().unwrap();
    let set = settings("parquet", folder.path(), 3, 3, [4, 4]);
    let good = (Some(png(flat_rgb(4, 4, [1, 2, 3]))), 0);
    let check = |rows: &[(Option<Vec<u8>>, i64)], parts: &[&str]| {
        write(
            folder.path().join("train.parquet"),
            parquet_table(Layout::Struct, rows, snappy()),
        );
        check_error(train(&set), parts);
    };
    check(
        &[good.clone(), (good.0.clone(), 3)],
        &["row 1", "a label in 0..3", "found 3"],
    );
    check(
        &[good.clone(), (good.0.clone(), -1)],
        &["row 1", "found -1"],
    );
    check(
        &[good.clone(), (None, 1)],
        &["rows 0..2", "2 images, none of them null", "found 1"],
    );
    check(
        &[
            good.clone(),
            good.clone(),
            good.clone(),
            (Some(b"P6 2 2 255\n".to_vec()), 1),
        ],
        &["row 3", "PNG, JPEG, WebP", "Pnm"],
    );
    check(&[], &["at least one image"]);

    let file = fs::File::create(folder.path().join("train.parquet")).unwrap();
    let schema = parquet::schema::parser::parse_message_type(
        "message s { required int64 label; required int64 img; }",
    );
    let schema = std::sync::Arc::new(schema.unwrap());
    let writer =
        parquet::file::writer::SerializedFileWriter::new(file, schema, Default::default()).unwrap();
    writer.close().unwrap();
    check_error(
        train(&set),
        &["column img", "expected BYTE_ARRAY", "found INT64"],
    );
}

#[test]
fn image_folders() {
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    write(
        root.join("train/zebra/b.png"),
        png(flat_rgb(2, 2, [1, 2, 3])),
    );
    write(
        root.join("train/zebra/a.JPG"),
        jpeg(flat_rgb(8, 8, [200, 200, 200])),
    );
    write(
        root.join("train/zebra/sub/a.png"),
        png(flat_rgb(2, 2, [4, 5, 6])),
    );
    write(root.join("train/ant/x.png"), png(flat_grey(2, 2, 9)));
    for name in [
        "ant/Thumbs.db",
        "ant/desktop.ini",
        "ant/.DS_Store",
        "list.txt",
    ] {
        write(root.join("train").join(name), b"not looked at");
    }
    write(root.join("train/bee/x.png"), png(flat_grey(2, 2, 8)));
    // The test data lacks class 'ant': the other classes keep their numbers.
    write(root.join("val/bee/x.png"), png(flat_grey(2, 2, 7)));
    write(root.join("val/zebra/x.png"), png(flat_grey(2, 2, 6)));
    let set = settings("image_folder", root, 3, 3, [2, 2]);
    let data = train(&set).unwrap();
    let found = glance(&*data);
    assert_eq!(
        found.iter().map(|(label, _)| *label).collect::<Vec<_>>(),
        [0, 1, 2, 2, 2]
    );
    assert_eq!(found[0].1, [9, 9, 9]);
    assert!(found[2].1.iter().all(|pixel| pixel.abs_diff(200) <= 2));
    assert_eq!(found[3..], [(2, vec![1, 2, 3]), (2, vec![4, 5, 6])]);
    assert_eq!(
        glance(&*test(&set).unwrap()),
        [(1, vec![7; 3]), (2, vec![6; 3])]
    );

    let mut other = settings("image_folder", root, 4, 3, [2, 2]);
    check_error(
        train(&other),
        &["dataset.n_classes", "is 4", "3 class folders"],
    );
    other.train = Some("training".into());
    check_error(
        train(&other),
        &["training/ with one folder of images per class"],
    );
    write(root.join("val/wasp/x.png"), b"");
    check_error(
        test(&set),
        &[
            "val'",
            "classes that the training data has too",
            "found wasp",
        ],
    );
    write(root.join("train/bee/broken.png"), b"not a picture");
    let data = train(&set).unwrap();
    check_error(data.image(1), &["broken.png", "PNG, JPEG, WebP"]);
    check_error(data.digest(), &["broken.png", "PNG, JPEG, WebP"]);
    fs::remove_dir_all(root.join("train/bee")).unwrap();
    fs::create_dir(root.join("train/bee")).unwrap();
    check_error(train(&set), &["bee'", "pictures (PNG", "none"]);
}

#[test]
fn embedded_data() {
    assert_eq!(embedded::names(), ["fashion_mnist_mini"]);
    let mut set = mini();
    let names = test(&set).unwrap().class_names().to_vec();
    assert_eq!(
        (names.len(), &*names[1], &*names[9]),
        (10, "Trouser", "Ankle boot")
    );
    for (data, n) in [(train(&set).unwrap(), 2000), (test(&set).unwrap(), 500)] {
        assert_eq!(data.len(), n);
        let mut counts = [0; 10];
        (0..n).for_each(|i| counts[data.label(i) as usize] += 1);
        assert_eq!(counts, [n / 10; 10]);
        // Its statistics are near those published for the whole set (of 28×28 pixels).
        let sum: u64 = (0..n)
            .flat_map(|i| data.image(i).unwrap().pixels.to_vec())
            .map(u64::from)
            .sum();
        let mean = sum as f64 / 255.0 / (n * 28 * 28) as f64;
        assert!((mean - 0.28604).abs() < 0.01, "{mean}");
    }
    let data = train(&set).unwrap();
    let image = data.image(0).unwrap();
    assert_eq!((image.channels, image.height, image.width), (1, 32, 32));
    assert!(
        image.pixels[..64].iter().all(|&pixel| pixel == 0),
        "two rows of padding"
    );
    // The first training image of Fashion-MNIST is an ankle boot.
    assert_eq!(data.label(0), 9);

    set.path = "fashion_mnist".into();
    check_error(
        train(&set),
        &[
            "dataset.path",
            "'fashion_mnist'",
            "expected fashion_mnist_mini",
        ],
    );
}

#[test]
fn settings_that_contradict_themselves() {
    let good = mini();
    let check = |change: &dyn Fn(&mut archai_spec::settings::Dataset), parts: &[&str]| {
        let mut set = good.clone();
        change(&mut set);
        check_error(train(&set), parts);
    };
    check(
        &|set| set.channels = 2,
        &["dataset.channels", "2 channels", "expected 1 or 3"],
    );
    check(
        &|set| set.channels = 3,
        &["dataset.mean", "one value per channel (3), found 1"],
    );
    check(
        &|set| set.std = vec![0.0],
        &["dataset.std", "must be above 0"],
    );
    check(
        &|set| set.mean = vec![f32::NAN],
        &["dataset.mean", "finite numbers, found NaN"],
    );
    check(&|set| set.size = [0, 32], &["dataset.size", "[0, 32]"]);
    check(
        &|set| set.size = [32, 16_385],
        &["dataset.size", "1 to 16384 pixels, found [32, 16385]"],
    );
    check(&|set| set.n_classes = 0, &["dataset.n_classes", "found 0"]);
    check(&|set| set.n_classes = 9, &["a label in 0..9", "found 9"]);
    check(
        &|set| set.train = Some("x".into()),
        &["dataset.train", "expected null"],
    );
    check(
        &|set| set.format = "idx".into(),
        &["'fashion_mnist_mini' (training data) was not found"],
    );
}

#[test]
fn known_data_sets_say_how_to_get_them() {
    let mut set = settings("cifar10_binary", "/nowhere/at/all", 10, 3, [32, 32]);
    set.name = "cifar10".into();
    check_error(
        train(&set),
        &[
            "'cifar10' (training data)",
            "data_batch_1.bin",
            "'/nowhere/at/all'",
            "archai data get cifar10",
            "--dataset.path DIR",
        ],
    );
    let mut check = |name: &str, format: &str| {
        (set.name, set.format) = (name.into(), format.into());
        let message = train(&set).err().unwrap().to_string();
        assert!(
            !message.contains("archai data get") && message.contains("dataset.path"),
            "{message}"
        );
    };
    check("my_data", "cifar10_binary");
    // What can be downloaded would not be a parquet table.
    check("cifar10", "parquet");
}

#[test]
fn every_format_says_which_files_it_reads() {
    let formats = formats::builtin();
    assert_eq!(
        formats.names().collect::<Vec<_>>(),
        [
            "embedded",
            "cifar10_binary",
            "cifar100_binary",
            "cifar10_python",
            "cifar100_python",
            "idx",
            "parquet",
            "image_folder",
            "csv",
            "webdataset",
            "npz",
            "mat",
            "food101",
            "mit67",
            "fgvc_aircraft",
            "flowers102"
        ]
    );
    let folder = TempDir::new().unwrap();
    let root = folder.path();
    for name in [
        "cifar-100-binary/train.bin",
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte.gz",
        "data/train-0.parquet",
        "data/train-1.parquet",
        "train/cat/b.png",
        "train/cat/a.png",
        "train/dog/c.jpg",
    ] {
        write(root.join(name), b"x");
    }
    let check = |format: &str, pattern: Option<&str>, expect: &[&str]| {
        let mut set = settings(format, root, 2, 1, [2, 2]);
        set.train = pattern.map(str::to_owned);
        let found = formats.get(format).unwrap().files(&set, Split::Train);
        let expect: Vec<_> = expect.iter().map(|name| root.join(name)).collect();
        assert_eq!(found.unwrap(), expect, "{format}");
    };
    check("cifar100_binary", None, &["cifar-100-binary/train.bin"]);
    check(
        "idx",
        None,
        &["train-images-idx3-ubyte", "train-labels-idx1-ubyte.gz"],
    );
    check(
        "idx",
        Some("train-*ubyte*"),
        &["train-images-idx3-ubyte", "train-labels-idx1-ubyte.gz"],
    );
    check(
        "parquet",
        None,
        &["data/train-0.parquet", "data/train-1.parquet"],
    );
    check(
        "parquet",
        Some("data/*-1.parquet"),
        &["data/train-1.parquet"],
    );
    check(
        "image_folder",
        None,
        &["train/cat/a.png", "train/cat/b.png", "train/dog/c.jpg"],
    );
    let embedded = formats.get("embedded").unwrap();
    assert!(embedded.files(&mini(), Split::Test).unwrap().is_empty());
    check_error(
        formats.get("cifar10_binary").unwrap().files(
            &settings("cifar10_binary", root, 10, 3, [32, 32]),
            Split::Test,
        ),
        &["(test data) was not found", "test_batch.bin"],
    );
}

#[test]
fn what_is_missing_is_found_out_without_reading() {
    let formats = formats::builtin();
    let check = |format: &str, path: &Path, split: Split| {
        check_place(&formats, &settings(format, path, 10, 3, [32, 32]), split)
    };
    let folder = TempDir::new().unwrap();
    let nowhere = folder.path().join("x");
    // No reader would take this file.
    write(folder.path().join("test_batch.bin"), b"x");
    check("cifar10_binary", folder.path(), Split::Test).unwrap();
    for place in [folder.path(), &nowhere] {
        check_error(
            check("cifar10_binary", place, Split::Train),
            &["(training data) was not found", "data_batch_1.bin"],
        );
    }
    check_place(&formats, &mini(), Split::Test).unwrap();
    check_error(
        check("embedded", &nowhere, Split::Train),
        &["dataset.path: no data set", "expected fashion_mnist_mini"],
    );
    check_error(
        check("cifar10", folder.path(), Split::Train),
        &["dataset.format: there is no data format `cifar10`; known are embedded, "],
    );
}

#[test]
fn a_jpeg_that_was_cut_off_is_named() {
    let folder = TempDir::new().unwrap();
    let (picture, table) = ("train/a/x.jpg", "train.parquet");
    write(folder.path().join("train/b/x.png"), png(flat_grey(2, 2, 1)));
    let pictures = settings("image_folder", folder.path(), 2, 3, [40, 40]);
    let tables = settings("parquet", folder.path(), 2, 3, [40, 40]);
    let noisy = image::RgbImage::from_fn(40, 40, |x, y| {
        image::Rgb([(7 * x) as u8, (11 * y) as u8, (x * y) as u8])
    });
    let whole = jpeg(noisy);
    let put = |bytes: &[u8]| {
        write(folder.path().join(picture), bytes);
        let rows = [(Some(whole.clone()), 0), (Some(bytes.to_vec()), 1)];
        let rows = parquet_table(Layout::Struct, &rows, snappy());
        write(folder.path().join(table), rows);
    };

    let scan = whole.windows(2).position(|two| two == [0xff, 0xda]);
    let scan = scan.unwrap();
    for length in [
        scan + 30,
        (scan + whole.len()) / 2,
        whole.len() - 30,
        whole.len() - 2,
        whole.len() - 1,
    ] {
        put(&whole[..length]);
        let data = train(&pictures).unwrap();
        check_error(data.image(0), &[picture, "PNG, JPEG, WebP"]);
        check_error(train(&tables), &[table, "at row 1", "PNG, JPEG, WebP"]);
    }
    // The last cut left all rows and took half of the marker behind them.
    let data = train(&pictures).unwrap();
    check_error(data.image(0), &["was cut off", "end-of-image marker"]);

    // Behind its end a file may hold anything.
    let longer = [&whole[..], b"a preview"].concat();
    let pixels = |bytes: &[u8]| {
        put(bytes);
        let (pictures, tables) = (train(&pictures).unwrap(), train(&tables).unwrap());
        let pixels = pictures.image(0).unwrap().pixels.to_vec();
        assert_eq!(*tables.image(1).unwrap().pixels, pixels);
        pixels
    };
    assert_eq!(pixels(&longer), pixels(&whole));
}

/// One plain image for each class, and one more for the test.
struct Plain;

impl archai_spec::registry::Named for Plain {
    fn name(&self) -> &str {
        "plain"
    }
    fn about(&self) -> &str {
        "plain images, one of each class"
    }
}

impl archai_data::DataFormat for Plain {
    fn open(
        &self,
        set: &archai_spec::settings::Dataset,
        split: Split,
    ) -> Result<std::sync::Arc<dyn Dataset>, DataError> {
        let shape = [set.channels, set.size[0], set.size[1]];
        let n = set.n_classes + usize::from(split == Split::Test);
        let pixels = vec![7; n * shape.iter().product::<usize>()];
        let labels = (0..n).map(|i| (i % set.n_classes) as u32).collect();
        Ok(std::sync::Arc::new(InMemory::new(
            &set.name,
            set.n_classes,
            shape,
            pixels,
            labels,
        )?))
    }
    fn needs_path(&self) -> bool {
        false
    }
}

#[test]
fn a_format_of_ones_own_opens_like_any_other() {
    let own = formats::builtin().with(std::sync::Arc::new(Plain));
    let set = settings("plain", "/nowhere", 3, 1, [4, 4]);
    check_place(&own, &set, Split::Test).unwrap();
    assert_eq!(open(&own, &set, Split::Train).unwrap().len(), 3);
    assert_eq!(open(&own, &set, Split::Test).unwrap().len(), 4);
    assert_eq!(
        own.get("plain").unwrap().files(&set, Split::Train).unwrap(),
        Vec::<std::path::PathBuf>::new()
    );
    check_error(
        open(&formats::builtin(), &set, Split::Train),
        &["dataset.format: there is no data format `plain`; known are embedded, cifar10_binary"],
    );
}

/// A format that opens what a function gives.
struct Given<F>(F);

impl<F> Named for Given<F> {
    fn name(&self) -> &str {
        "given"
    }
    fn about(&self) -> &str {
        "whatever the test gives"
    }
}

impl<F> DataFormat for Given<F>
where
    F: Fn(&Section) -> Result<Arc<dyn Dataset>, DataError> + Send + Sync,
{
    fn open(&self, section: &Section, _: Split) -> Result<Arc<dyn Dataset>, DataError> {
        (self.0)(section)
    }
}

fn given<F>(open: F) -> Formats
where
    F: Fn(&Section) -> Result<Arc<dyn Dataset>, DataError> + Send + Sync + 'static,
{
    formats::builtin().with(Arc::new(Given(open)))
}

/// Images of one pixel, whose labels nobody checked.
struct Claims {
    n_classes: usize,
    labels: &'static [u32],
}

impl Dataset for Claims {
    fn name(&self) -> &str {
        "claims"
    }
    fn len(&self) -> usize {
        self.labels.len()
    }
    fn n_classes(&self) -> usize {
        self.n_classes
    }
    fn label(&self, index: usize) -> u32 {
        self.labels[index]
    }
    fn image(&self, _: usize) -> Result<Image<'_>, DataError> {
        Ok(Image {
            pixels: vec![7].into(),
            channels: 1,
            height: 1,
            width: 1,
        })
    }
}

#[test]
fn labels_and_classes_of_any_format_are_checked() {
    let section = settings("given", "/mine", 3, 1, [1, 1]);
    let open = |n_classes: usize, labels: &'static [u32], split: Split| {
        let formats = given(move |_| Ok(Arc::new(Claims { n_classes, labels })));
        open(&formats, &section, split)
    };
    assert_eq!(open(3, &[0, 2, 1], Split::Train).unwrap().len(), 3);
    check_error(
        open(3, &[0, 2, 3], Split::Train),
        &[
            "'/mine': at image 2 of the training data",
            "a label in 0..3, found 3",
            "dataset.n_classes",
        ],
    );
    check_error(
        open(2, &[0, 1, 1], Split::Test),
        &["dataset.n_classes: is 3, but the test data of format `given` has 2 classes"],
    );
}

#[test]
fn images_of_any_format_hold_what_they_claim() {
    let section = settings("given", "/mine", 3, 1, [2, 2]);
    let read = |claims: [usize; 3], n: usize| {
        let formats = given(move |section| {
            let mut gather = Gather::new(section);
            let file = Path::new("/mine/images.bin");
            for (row, ([channels, height, width], n)) in
                [([1, 2, 2], 4), (claims, n)].into_iter().enumerate()
            {
                let image = Image {
                    pixels: vec![9; n].into(),
                    channels,
                    height,
                    width,
                };
                gather.push(file, image, 0, || format!("row {row}"))?;
            }
            Ok(Arc::new(gather.finish(file)?))
        });
        open(&formats, &section, Split::Train)
    };
    assert_eq!(read([3, 1, 5], 15).unwrap().len(), 2);
    for (claims, n) in [
        ([1, 2, 2], 3),
        ([1, 2, 2], 5),
        ([3, 2, 2], 4),
        ([2, 2, 2], 8),
        ([1, 0, 2], 0),
    ] {
        let found = format!("found {n} bytes for {} channels", claims[0]);
        check_error(
            read(claims, n),
            &["'/mine/images.bin': at row 1", "an image of", &found],
        );
    }
}

#[test]
fn a_format_that_does_not_list_its_files_needs_its_place() {
    let formats = given(|_| {
        Ok(Arc::new(Claims {
            n_classes: 3,
            labels: &[0],
        }))
    });
    let folder = TempDir::new().unwrap();
    let check = |path: &Path| {
        let section = settings("given", path, 3, 1, [1, 1]);
        check_place(&formats, &section, Split::Test)
    };
    check(folder.path()).unwrap();
    check_error(
        check(&folder.path().join("gone")),
        &["'sample' (test data) was not found: looked for a file or folder in '"],
    );
}
