//! Readers against damaged files: an error or, where the damage cannot be seen, data; never a panic, never a wait.

use std::path::Path;

use archai_data::rng::Key;
use tempfile::TempDir;

use crate::fixtures::*;

/// Opens and reads a data set of one file that is `bytes`, cut at every length, and with bytes changed at random.
fn torture(
    format: &str,
    name: &str,
    bytes: &[u8],
    others: &[(&str, &[u8])],
    lengths: impl Iterator<Item = usize>,
) {
    let folder = TempDir::new().unwrap();
    others
        .iter()
        .for_each(|(name, bytes)| write(folder.path().join(name), bytes));
    let file = folder.path().join(name);
    let path = if name.ends_with(".tar.gz") {
        file.clone()
    } else {
        folder.path().to_owned()
    };
    let mut set = settings(format, path, 3, 3, [4, 4]);
    if format.starts_with("cifar10") {
        let batch = if format == "cifar10_python" {
            "data_batch_1"
        } else {
            "data_batch_1.bin"
        };
        set.train = Some(batch.into());
    }
    let read = |bytes: &[u8]| {
        write(&file, bytes);
        let data = train(&set)?;
        (0..data.len()).try_for_each(|i| data.image(i).map(drop))
    };
    read(bytes).unwrap();
    for length in lengths {
        assert!(
            read(&bytes[..length]).is_err(),
            "{name} cut to {length} of {} bytes was read",
            bytes.len()
        );
    }
    let mut rng = Key::new(7).with(name).rng();

    for _ in 0..300 {
        let mut changed = bytes.to_vec();
        for _ in 0..1 + rng.uniform_u32_below(3) {
            let at = rng.uniform_u32_below(bytes.len() as u32) as usize;
            changed[at] = rng.next_u32() as u8;
        }
        // Whether a changed byte can be noticed depends on where it is.
        let _ = read(&changed);
    }
}

#[test]
fn idx_files() {
    let images = idx(&[4, 3, 3], &[7; 36]);
    let labels = idx(&[4], &[0, 1, 2, 0]);
    let (images_name, labels_name) = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte");
    torture(
        "idx",
        images_name,
        &images,
        &[(labels_name, &labels)],
        0..images.len(),
    );
    torture(
        "idx",
        labels_name,
        &labels,
        &[(images_name, &images)],
        0..labels.len(),
    );
    let (images_gz, labels_gz) = (gzip(&images), gzip(&labels));
    torture(
        "idx",
        images_name,
        &images_gz,
        &[(labels_name, &labels_gz)],
        0..images_gz.len(),
    );
    torture(
        "idx",
        labels_name,
        &labels_gz,
        &[(images_name, &images_gz)],
        0..labels_gz.len(),
    );
}

#[test]
fn cifar_files() {
    let record = cifar_record(&[2], [1, 2, 3]);
    torture(
        "cifar10_binary",
        "data_batch_1.bin",
        &record,
        &[],
        0..record.len(),
    );
    let archive = tar_gz(&[("cifar-10-batches-bin/data_batch_1.bin", &record)]);
    // The last bytes are padding and the checksum of the compression, which is not needed once the member is there.
    torture(
        "cifar10_binary",
        "c.tar.gz",
        &archive,
        &[],
        0..archive.len() / 2,
    );
}

#[test]
fn parquet_files() {
    let rows: Vec<_> = (0..4u8)
        .map(|i| (Some(png(flat_grey(2, 2, i))), i64::from(i % 3)))
        .collect();
    for (layout, compression) in [(Layout::Struct, snappy()), (Layout::Plain, zstd())] {
        let table = parquet_table(layout, &rows, compression);
        torture("parquet", "train.parquet", &table, &[], 0..table.len());
    }
}

/// A file of the data sets that other libraries wrote.
fn of_set(name: &str) -> Vec<u8> {
    let sets = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sets");
    std::fs::read(sets.join(name)).unwrap()
}

#[test]
fn files_of_arrays() {
    for (format, name, file) in [
        ("npz", "npz_keras/all.npz", "all.npz"),
        ("npz", "npz_medical/all.npz", "all.npz"),
        ("mat", "mat/train_32x32.mat", "train.mat"),
        ("mat", "mat_compressed/train_32x32.mat", "train.mat"),
    ] {
        let bytes = of_set(name);
        torture(format, file, &bytes, &[], 0..bytes.len());
    }
    let labels = of_set("npy/y_train.npy");
    let images = of_set("npy/x_train.npy");
    torture(
        "npz",
        "x_train.npy",
        &images,
        &[("y_train.npy", &labels)],
        0..images.len(),
    );
    torture(
        "npz",
        "y_train.npy",
        &labels,
        &[("x_train.npy", &images)],
        0..labels.len(),
    );
}

#[test]
fn pickled_batches() {
    for kind in ["2", "3_2", "3_3", "3_4"] {
        let batch = of_set(&format!(
            "cifar10_python{kind}/cifar-10-batches-py/data_batch_1"
        ));
        // Pixels are most of it, and where a batch is cut off among them does not matter.
        let lengths =
            (0..batch.len()).filter(|length| length % 7 == 0 || batch.len() - length < 200);
        torture("cifar10_python", "data_batch_1", &batch, &[], lengths);
    }
}

#[test]
fn archives_and_tables_of_paths() {
    let shard = of_set("tar_cls/train-0.tar");
    // Behind the two blocks that end it an archive may be padded.
    torture(
        "webdataset",
        "train.tar",
        &shard,
        &[],
        (0..shard.len() - 1024).step_by(13),
    );
    let picture = png(flat_grey(2, 2, 1));
    let others: [(&str, &[u8]); 2] = [("a.png", &picture), ("b.png", &picture)];
    torture(
        "csv",
        "train.csv",
        b"path,label\na.png,1\n\"b.png\",0\n",
        &others,
        0..11,
    );
}

/// A pickle may name any function, and a file of arrays may hold anything: what they are is said, and nothing is run.
#[test]
fn p20_what_a_format_could_hold_and_must_not() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut set = settings("cifar10_python", folder.path(), 3, 3, [4, 4]);
    set.train = Some("batch".into());
    for (batch, part) in [
        (
            &b"\x80\x02cos\nsystem\n(U\x04true\x85R."[..],
            "names `os.system`",
        ),
        (
            b"\x80\x04\x8c\x05posix\x8c\x06system\x93.",
            "names `posix.system`",
        ),
        (
            b"\x80\x02}(U\x04datai__builtin__\nint\nu.",
            "instruction 0x69",
        ),
        (b"\x80\x05}.", "protocol 5"),
        (b"\x80\x02}q\x00.x", "something stands behind its end"),
        (b"\x80\x02}.", "the keys "),
        (b"\x80\x02h\x07.", "repeats a value"),
        (b"\x80\x02T\xff\xff\xff\x7f.", "ends in the middle"),
        (b"\x80\x02cnumpy\ndtype\n(U\x02f8tR)R.", "calls a function"),
    ] {
        write(at("batch"), batch);
        check_error(train(&set), &["batch'", "its pickle", part]);
    }

    let npy = |header: &str, data: &[u8]| {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        [&bytes, header.as_bytes(), data].concat()
    };
    let array = |kind: &str, shape: &str| {
        format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}")
    };
    let set = settings("npz", folder.path(), 3, 1, [4, 4]);
    write(at("y_train.npy"), npy(&array("|u1", "2,"), &[0, 1]));
    for (x, parts) in [
        (
            npy(&array("<f4", "2, 1, 1"), &[0; 8]),
            &["`x_train`", "fractions (`<f4`)", "astype('uint8')"][..],
        ),
        (
            npy(&array("|O", "2, 1, 1"), b"\x80\x04."),
            &["objects of Python"],
        ),
        (
            npy(&array("|u1", "3, 1, 1"), &[0; 3]),
            &["2 pictures, one for each label"],
        ),
        (
            npy(&array("|u1", "2, 784"), &[0; 1568]),
            &["rows of pixels do not say"],
        ),
        (
            npy(&array("|u1", "2, 3, 5, 3"), &[0; 90]),
            &["channels come first or last"],
        ),
        (
            npy(&array("|u1", "2, 16000, 16000"), &[0; 9]),
            &["255999991 too few"],
        ),
        (
            npy(&array("|u1", "2, 4294967296, 4294967296"), &[]),
            &["fits into memory"],
        ),
        (
            npy(&array("|u1", "2, 1, 1"), &[0; 3]),
            &["no more bytes than its shape says"],
        ),
        (
            npy(&"[".repeat(60_000), &[]),
            &["the header of array `x_train`"],
        ),
    ] {
        write(at("x_train.npy"), x);
        check_error(train(&set), parts);
    }
    write(at("x_train.npy"), npy(&array("|u1", "2, 1, 1"), &[0; 2]));
    for (y, parts) in [
        (
            npy(&array("<f8", "2,"), &[0; 16]),
            &["labels as whole numbers", "fractions"][..],
        ),
        (
            npy(&array("|u1", "2, 3"), &[0; 6]),
            &["the shape [2, 3]", "argmax"],
        ),
        (
            npy(&array("<i8", "2305843009213693953,"), &[0; 16]),
            &["`y_train`"],
        ),
        (
            npy(&array("|u1", "2,"), &[0, 9]),
            &["picture 1 of `x_train`", "a label in 0..3"],
        ),
    ] {
        write(at("y_train.npy"), y);
        check_error(train(&set), parts);
    }
    for name in ["x_train.npy", "y_train.npy"] {
        std::fs::remove_file(at(name)).unwrap();
    }
    let mut bomb = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let packed = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated);
    for (name, header, length) in [
        ("x_train", array("|u1", "2, 8192, 4096"), 64 << 20),
        ("y_train", array("|u1", "2,"), 2),
    ] {
        bomb.start_file(format!("{name}.npy"), packed).unwrap();
        std::io::Write::write_all(&mut bomb, &npy(&header, &vec![0; length])).unwrap();
    }
    write(at("all.npz"), bomb.finish().unwrap().into_inner());
    check_error(
        train(&set),
        &["all.npz", "`x_train`", "decompress to more than 16 MiB"],
    );

    let set = settings("mat", folder.path(), 3, 3, [4, 4]);
    for (file, part) in [
        (
            [&b"MATLAB 7.3 MAT-file"[..], &[b' '; 200]].concat(),
            "version 7.3, which is HDF5",
        ),
        (vec![0; 200], "version 4"),
        (vec![0; 20], "version 4"),
    ] {
        write(at("train.mat"), file);
        check_error(train(&set), &["train.mat'", part, "savemat"]);
    }
    // Cells in the place of pixels.
    let mut cells = of_set("mat/train_32x32.mat");
    let flags = cells
        .windows(16)
        .position(|part| part == [6, 0, 0, 0, 8, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0])
        .unwrap();
    cells[flags + 8] = 1;
    write(at("train.mat"), cells);
    check_error(train(&set), &["train.mat'", "`X`", "the class cell"]);
}

/// Pages that the parquet library would unpack without a limit are measured before.
#[test]
fn p20_pages_that_become_more_than_they_claim() {
    use parquet::basic::{BrotliLevel, Compression, GzipLevel};
    let folder = TempDir::new().unwrap();
    let set = settings("parquet", folder.path(), 3, 1, [4, 4]);
    let gzip = Compression::GZIP(GzipLevel::try_new(9).unwrap());
    let brotli = Compression::BROTLI(BrotliLevel::try_new(9).unwrap());
    for compression in [gzip, brotli] {
        let length = 40_000;
        let mut table = parquet_table(Layout::Plain, &[(Some(vec![0; length]), 0)], compression);
        // The header of the page says how long it will be, as a number of three bytes, doubled: it is made to say less.
        let claim = |n: u64| {
            let n = 2 * n;
            [
                n as u8 & 0x7f | 0x80,
                (n >> 7) as u8 & 0x7f | 0x80,
                (n >> 14) as u8,
            ]
        };
        let before = claim(length as u64 + 4);
        let at = table.windows(3).position(|part| part == before).unwrap();
        table[at..at + 3].copy_from_slice(&claim(20_000));
        write(folder.path().join("train.parquet"), &table);
        check_error(
            train(&set),
            &[
                "row group 0",
                "becomes more than the 20000 bytes that it claims",
            ],
        );
    }
}

#[test]
fn pictures() {
    let other = png(flat_grey(2, 2, 1));
    let others: [(&str, &[u8]); 2] = [("train/b/x.png", &other), ("train/c/x.png", &other)];
    let picture = png(flat_rgb(5, 5, [1, 2, 3]));
    // A PNG may lack its last chunk, which holds nothing.
    torture(
        "image_folder",
        "train/a/x.png",
        &picture,
        &others,
        0..picture.len() - 16,
    );
    let picture = jpeg(flat_rgb(5, 5, [1, 2, 3]));
    torture(
        "image_folder",
        "train/a/x.jpg",
        &picture,
        &others,
        0..picture.len(),
    );
}

#[test]
fn a_picture_that_claims_to_be_huge() {
    let folder = TempDir::new().unwrap();
    let mut picture = png(flat_grey(2, 2, 1));
    // The header's width; its checksum is corrected, so that only the limit stands in the way.
    picture[16..20].copy_from_slice(&200_000u32.to_be_bytes());
    let mut crc = flate2::Crc::new();
    crc.update(&picture[12..29]);
    picture[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    for class in ["a", "b", "c"] {
        write(folder.path().join(format!("train/{class}/x.png")), &picture);
    }
    let data = train(&settings("image_folder", folder.path(), 3, 1, [4, 4])).unwrap();
    check_error(data.image(0), &["x.png", "cannot be decoded", "limit"]);
}

/// What is refused, with the words that say why: nothing is unpacked in vain.
#[test]
fn p20_bombs_and_lies_are_named() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let zeros = |start: &[u8]| gzip(&[start, &vec![0; 42 << 20]].concat());

    let labels = idx(&[4], &[0, 1, 2, 0]);
    write(at("train-labels-idx1-ubyte"), &labels);
    let set = settings("idx", folder.path(), 3, 1, [4, 4]);
    for (images, parts) in [
        (
            zeros(&idx(&[4, 16_384, 16_384], b"")),
            &["train-images", "decompress to more than"][..],
        ),
        (idx(&[4, 3, 3], &[7; 35]), &["its length", "[4, 3, 3]"]),
        (idx(&[4, 99_999, 1], b""), &["its length"]),
        (
            gzip(&idx(&[4, 99_999, 1], b"")),
            &["images of 1 to 16384 pixels", "99999 x 1"],
        ),
    ] {
        write(at("train-images-idx3-ubyte"), images);
        check_error(train(&set), parts);
    }
    let many = 5_000_000u32;
    write(at("train-labels-idx1-ubyte"), gzip(&idx(&[many], b"")));
    write(
        at("train-images-idx3-ubyte"),
        gzip(&idx(&[many, 1, 1], b"")),
    );
    check_error(train(&set), &["at most 10000 images", "5000000"]);

    let mut header = tar::Header::new_gnu();
    header.set_path("data_batch_1.bin").unwrap();
    header.set_size(42 << 20);
    header.set_cksum();
    write(at("bomb.tar.gz"), zeros(header.as_bytes()));
    let mut set = settings("cifar10_binary", at("bomb.tar.gz"), 10, 3, [32, 32]);
    check_error(train(&set), &["bomb.tar.gz", "decompress to more than"]);
    // Members are read into memory alone: names that lead elsewhere lead nowhere.
    let record = cifar_record(&[2], [1, 2, 3]);
    write(
        at("slip.tar.gz"),
        tar_gz(&[
            ("../../data_batch_1.bin", &record),
            ("/data_batch_2.bin", &record),
        ]),
    );
    set.path = at("slip.tar.gz").to_str().unwrap().into();
    set.train = Some("data_batch_*.bin".into());
    assert_eq!(train(&set).unwrap().len(), 2);
    assert!(!Path::new("/data_batch_2.bin").exists() && !at("../../data_batch_1.bin").exists());

    let set = settings("parquet", folder.path(), 3, 3, [4, 4]);
    let table = |rows: &[(Option<Vec<u8>>, i64)]| parquet_table(Layout::Plain, rows, zstd());
    write(at("train.parquet"), table(&[(Some(vec![0; 60 << 20]), 0)]));
    check_error(
        train(&set),
        &[
            "train.parquet",
            "row group 0",
            "claims to hold 1 values in 629145",
        ],
    );
    let footer = b"\x15\x02\x19\x1c\x48\x01m\x15\xfe\xff\xff\xff\x0f\0\x16\0\x19\x0c\0";
    let length = (footer.len() as u32).to_le_bytes();
    write(
        at("train.parquet"),
        [b"PAR1", &footer[..], &length, b"PAR1"].concat(),
    );
    check_error(
        train(&set),
        &[
            "its footer",
            "a schema of 1 parts of which one claims 2147483647 children",
        ],
    );
}
