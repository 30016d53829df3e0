//! Data sets of every format, as the libraries of Python wrote and read them (`scripts/data_sets.py`).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use archai_data::{Split, formats, inspect, open};
use archai_spec::settings;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sets")
}

fn cases() -> Map<String, Value> {
    serde_json::from_slice(&fs::read(folder().join("cases.json")).unwrap()).unwrap()
}

fn section(case: &Value) -> settings::Dataset {
    let mut section: settings::Dataset = serde_json::from_value(case["section"].clone()).unwrap();
    section.path = folder().join(&section.path).to_str().unwrap().to_owned();
    section
}

#[test]
fn every_format_gives_the_labels_and_pixels_that_others_read() {
    for (name, case) in cases() {
        let section = section(&case);
        for (split, key) in [(Split::Train, "train"), (Split::Test, "test")] {
            let data = open(&formats::builtin(), &section, split)
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            let expected = &case["expected"][key];
            let labels: Vec<u32> = (0..data.len()).map(|index| data.label(index)).collect();
            assert_eq!(Value::from(labels), expected["labels"], "{name} {key}");
            assert_eq!(
                Value::from(data.class_names().to_vec()),
                expected["classes"],
                "{name} {key}"
            );
            let mut hasher = Sha256::new();
            for index in 0..data.len() {
                hasher.update(&data.image(index).unwrap().pixels);
            }
            let digest: String = hasher
                .finalize()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            assert_eq!(expected["sha256"], Value::from(digest), "{name} {key}");
            let contents = inspect(&formats::builtin(), &section, split).unwrap();
            assert_eq!(contents.images, data.len(), "{name} {key}");
        }
    }
}

#[test]
fn no_format_is_without_a_case() {
    let cases = cases();
    let tested: BTreeSet<&str> = cases
        .values()
        .map(|case| case["section"]["format"].as_str().unwrap())
        .collect();
    for format in formats::builtin().names() {
        // What travels inside the program is no file of the user's.
        assert!(format == "embedded" || tested.contains(format), "{format}");
    }
}

#[test]
fn a_key_that_a_format_does_not_read_is_an_error() {
    for (name, case) in cases() {
        let mut with_skip = section(&case);
        with_skip.on_damaged = settings::OnDamaged::Skip;
        let mut with_columns = section(&case);
        with_columns.columns.get_or_insert_default();
        for (key, section) in [("on_damaged", with_skip), ("columns", with_columns)] {
            let format = formats::builtin();
            let reads = format.get(&section.format).unwrap().keys().contains(&key);
            match open(&format, &section, Split::Train) {
                Ok(_) => assert!(reads, "{name} ignores {key}"),
                Err(error) => {
                    assert!(!reads, "{name}: {error}");
                    let error = error.to_string();
                    assert!(
                        error.contains(key) && error.contains(&section.format),
                        "{error}"
                    );
                }
            }
        }
    }
}
