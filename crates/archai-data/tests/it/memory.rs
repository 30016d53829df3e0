//! What data sets of many pictures take in memory: names and places, and never the pictures. Each is looked at in a process of
//! its own, whose peak is its own.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Command;

use archai_data::{Loader, rng::Key};
use archai_data::{Pipeline, Split, formats, inspect, open, transforms};
use archai_spec::settings;
use tempfile::TempDir;

use crate::PEAK;
use crate::fixtures::*;

/// Runs a test of this file alone, with a folder that holds data.
fn alone(test: &str, folder: &Path) {
    let program = std::env::current_exe().unwrap();
    let run = Command::new(program)
        .args([
            "--exact",
            "--ignored",
            "--nocapture",
            &format!("memory::{test}"),
        ])
        .current_dir(folder)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(
        run.status.success() && said.contains("1 passed"),
        "{said}\n{}",
        String::from_utf8_lossy(&run.stderr)
    );
}

/// Looks at all of a data set, reads some of it through a loader, and compares the peak with the bound.
fn check(set: &settings::Dataset, n: usize, most: usize) {
    let found = inspect(&formats::builtin(), set, Split::Train).unwrap();
    assert_eq!(found.images, n);
    let data = open(&formats::builtin(), set, Split::Train).unwrap();
    let pipeline = Pipeline::test(set, &transforms::builtin()).unwrap();
    let loader = Loader::new(data, pipeline, 64)
        .shuffled(Key::new(1).with("memory"))
        .with_workers(2);
    for batch in loader.epoch(0).take(20) {
        batch.unwrap();
    }
    let peak = PEAK.peak_usage();
    assert!(
        peak < most,
        "{} MiB at most, of {} MiB",
        peak >> 20,
        most >> 20
    );
}

/// A tar file of pictures without a library in between, which would take seconds.
fn shard(path: &Path, pictures: std::ops::Range<usize>) {
    let mut file = BufWriter::new(File::create(path).unwrap());
    let picture = png(flat_grey(2, 2, 1));
    let mut add = |name: String, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_path(name).unwrap();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        file.write_all(header.as_bytes()).unwrap();
        file.write_all(bytes).unwrap();
        file.write_all(&vec![0; bytes.len().next_multiple_of(512) - bytes.len()])
            .unwrap();
    };
    for index in pictures {
        add(format!("{index:06}.png"), &picture);
        add(
            format!("{index:06}.cls"),
            (index % 10).to_string().as_bytes(),
        );
    }
    file.write_all(&[0; 1024]).unwrap();
    file.into_inner().unwrap().sync_data().ok();
}

#[test]
fn a_hundred_thousand_pictures_in_shards() {
    let folder = TempDir::new().unwrap();
    for number in 0..10 {
        shard(
            &folder.path().join(format!("train-{number}.tar")),
            number * 10_000..(number + 1) * 10_000,
        );
    }
    alone("shards", folder.path());
}

/// 200 MB of archives.
#[test]
#[ignore = "run by another test, with data"]
fn shards() {
    check(
        &settings("webdataset", ".", 10, 1, [2, 2]),
        100_000,
        64 << 20,
    );
}

#[test]
fn a_folder_of_pictures() {
    let folder = TempDir::new().unwrap();
    let mut rng = Key::new(3).with("noise").rng();
    let noise = image::GrayImage::from_fn(200, 200, |_, _| image::Luma([rng.next_u32() as u8]));
    let picture = png(noise);
    for index in 0..5000 {
        write(
            folder
                .path()
                .join(format!("train/{}/{index:05}.png", index % 10)),
            &picture,
        );
    }
    alone("folder", folder.path());
}

/// 200 MB of pictures.
#[test]
#[ignore = "run by another test, with data"]
fn folder() {
    check(
        &settings("image_folder", ".", 10, 1, [32, 32]),
        5000,
        24 << 20,
    );
}
