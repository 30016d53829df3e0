//! The inputs that are kept: samples and what fuzzing found in `fuzz/corpus`, files made to harm in `fuzz/harm`.

use std::fs;
use std::path::{Path, PathBuf};

use archai_fuzz::TARGETS;

use crate::measure::{alone, read};
use crate::{made_to_harm, samples};

fn kept(folder: &str, target: &str) -> PathBuf {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    fuzz.join(folder).join(target)
}

#[test]
fn p15_p18_p20_kept_inputs() {
    let _alone = alone();
    let mut inputs = 0;
    for target in TARGETS {
        for folder in ["corpus", "harm"].map(|folder| kept(folder, target.name)) {
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

/// A fuzzer starts from whole files, and older programs can be tried on the harmful ones.
#[test]
fn samples_are_kept() {
    let _alone = alone();
    let samples = samples::all().into_iter().map(|sample| ("corpus", sample));
    let harm = made_to_harm::kept().map(|sample| ("harm", sample));
    for (folder, (target, name, _)) in samples.chain(harm) {
        let file = kept(folder, target).join(&name);
        let help = "make it with `cargo run --release -p archai-fuzz --example samples`";
        assert!(file.is_file(), "{} is missing; {help}", file.display());
    }
}
