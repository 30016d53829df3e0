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
    if format == "cifar10_binary" {
        set.train = Some("data_batch_1.bin".into());
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
