//! Reads data sets and prints what it finds, for a comparison with what other libraries read (`interop/data_check.py`):
//!
//! ```text
//! cargo run --release -p archai-data --example read_sets -- FOLDER
//! ```
//!
//! `FOLDER/cases.json` names them: for each a section of a configuration, whose path starts at the folder. For each part the
//! labels are printed, the names of the classes, and the SHA-256 of all pixels, plane after plane, in JSON.

use std::error::Error;
use std::fs;
use std::path::Path;

use archai_data::{Split, formats, open};
use archai_spec::settings;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args()
        .nth(1)
        .ok_or("expected a folder with cases.json")?;
    let folder = Path::new(&folder);
    let cases: Map<String, Value> = serde_json::from_slice(&fs::read(folder.join("cases.json"))?)?;
    let mut all = Map::new();
    for (name, case) in cases {
        let found = read(folder, &case["section"]).map_err(|error| format!("{name}: {error}"))?;
        all.insert(name, found);
    }
    println!("{}", serde_json::to_string_pretty(&all)?);
    Ok(())
}

/// What both parts of a data set hold.
fn read(folder: &Path, section: &Value) -> Result<Value, Box<dyn Error>> {
    let mut section: settings::Dataset = serde_json::from_value(section.clone())?;
    let path = folder.join(&section.path);
    section.path = path.to_str().ok_or("a path that is not UTF-8")?.to_owned();
    let mut parts = Map::new();
    for (key, split) in [("train", Split::Train), ("test", Split::Test)] {
        let data = open(&formats::builtin(), &section, split)?;
        let mut hasher = Sha256::new();
        for index in 0..data.len() {
            hasher.update(&data.image(index)?.pixels);
        }
        let digest: String = hasher
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let labels: Vec<u32> = (0..data.len()).map(|index| data.label(index)).collect();
        let part = json!({"labels": labels, "classes": data.class_names(), "sha256": digest});
        parts.insert(key.to_owned(), part);
    }
    Ok(Value::Object(parts))
}
