//! The inputs that are kept in `fuzz/corpus`: samples, bombs, and what fuzzing found.

use std::fs;
use std::path::Path;

use archai_fuzz::TARGETS;

use crate::measure::{alone, read};

#[test]
fn p15_p18_p20_kept_inputs() {
    let _alone = alone();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let mut inputs = 0;
    for target in TARGETS {
        let folder = corpus.join(target.name);
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
    assert!(inputs > 100, "{inputs}");
}

/// Every sample of the readers' own formats is in the corpus, so that a fuzzer starts from whole files.
#[test]
fn samples_are_kept() {
    let _alone = alone();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (target, name, _) in crate::samples::all()
        .into_iter()
        .chain(crate::made_to_harm::kept())
    {
        let file = corpus.join(target).join(&name);
        let help = "make it with `cargo run --release -p archai-fuzz --example samples`";
        assert!(file.is_file(), "{} is missing; {help}", file.display());
    }
}
