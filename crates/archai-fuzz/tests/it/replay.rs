//! The inputs that are kept: samples and what fuzzing found in `fuzz/corpus`, hostile files in `fuzz/hostile`.

use std::fs;
use std::path::{Path, PathBuf};

use archai_fuzz::TARGETS;

use crate::measure::{alone, read};
use crate::{hostile, samples};

fn kept(folder: &str, target: &str) -> PathBuf {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    fuzz.join(folder).join(target)
}

#[test]
fn p15_p18_p20_kept_inputs() {
    let _alone = alone();
    let mut inputs = 0;
    for target in TARGETS {
        for folder in ["corpus", "hostile"].map(|folder| kept(folder, target.name)) {
            let mut files: Vec<_> = fs::read_dir(&folder)
                .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
                .map(|entry| entry.unwrap().path())
                .collect();
            files.sort();
            assert!(!files.is_empty(), "{} is empty", folder.display());
            inputs += files.len();
            for file in files {
                read(
                    target.name,
                    &fs::read(&file).unwrap(),
                    &file.display().to_string(),
                );
            }
        }
    }
    assert!(inputs > 100, "{inputs}");
}

/// A fuzzer starts from whole files, and older programs can be tried on the hostile ones.
#[test]
fn samples_are_kept() {
    let _alone = alone();
    let samples = samples::all().into_iter().map(|sample| ("corpus", sample));
    let hostile_files = hostile::kept().map(|sample| ("hostile", sample));
    for (folder, (target, name, _)) in samples.chain(hostile_files) {
        let file = kept(folder, target).join(&name);
        let help = "make it with `cargo run --release -p archai-fuzz --example samples`";
        assert!(file.is_file(), "{} is missing; {help}", file.display());
    }
}

/// A reader that refused everything would pass all other tests here.
#[test]
fn whole_files_are_read() {
    let _alone = alone();
    let samples = samples::all();
    for (target, names) in [
        ("dataset", &["cifar10.yaml"][..]),
        ("description", &["final.yaml", "full.yaml"]),
        ("archai_config", &["darts.yaml"]),
        ("genotype", &["darts_v2"]),
        (
            "foreign",
            &[
                "module.py",
                "fair.py",
                "log",
                "nb201",
                "digits",
                "nb101.json",
                "nb101.py",
            ],
        ),
        ("safetensors", &["plain", "metadata", "wide"]),
        ("model_file", &["brightness"]),
        ("pt", &["written", "kinds", "kinds_old"]),
        ("checkpoint", &["whole"]),
        ("record", &["result.json", "log.jsonl"]),
        ("started", &["run.json"]),
        ("metrics", &["nested.yaml"]),
        ("follower", &["pieces", "whole"]),
        ("idx", &["plain", "mixed"]),
        ("cifar", &["records", "archive.tar.gz"]),
        ("parquet", &["struct_snappy", "plain_zstd"]),
        ("csv", &["names", "numbers"]),
        ("webdataset", &["names.tar"]),
        (
            "npz",
            &["stored.npz", "packed.npz", "images.npy", "labels.npy"],
        ),
        ("mat", &["plain.mat", "packed.mat"]),
        (
            "pickle",
            &["python2", "protocol2", "protocol3", "protocol4"],
        ),
        ("image", &["rgb.png", "rgb.jpg", "grey.png", "grey.jpg"]),
        ("nasbench201", &["table.csv", "table.csv.gz", "bare.csv"]),
    ] {
        for wanted in names {
            let sample = samples
                .iter()
                .find(|(of, name, _)| *of == target && name == wanted);
            let (_, name, bytes) = sample.unwrap_or_else(|| panic!("no sample {target}/{wanted}"));
            assert!(read(target, bytes, name), "{target}/{name} was refused");
        }
    }
}
