//! Cutout's geometry against reference masks: 0 where the square is, 1 elsewhere.

use std::fs;
use std::path::PathBuf;

use archai_data::cutout_square;
use safetensors::SafeTensors;

/// The folder of reference vectors: the crate's own, or the one that `ARCHAI_GOLDEN` names.
fn folder() -> PathBuf {
    match std::env::var_os("ARCHAI_GOLDEN") {
        Some(folder) => folder.into(),
        None => concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden").into(),
    }
}

#[test]
fn golden_cutout() {
    let rules: serde_json::Value =
        serde_json::from_slice(&fs::read(folder().join("rules.json")).unwrap()).unwrap();
    let bytes = fs::read(folder().join("rules.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let cases = rules["cutout"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let number = |value: &serde_json::Value| value.as_u64().unwrap() as usize;
        let (height, width, length) = (
            number(&case["height"]),
            number(&case["width"]),
            number(&case["length"]),
        );
        let name = case["name"].as_str().unwrap();
        let mask = tensors.tensor(&format!("cutout/{name}.mask")).unwrap();
        let centres = case["centres_yx"].as_array().unwrap();
        assert_eq!(mask.shape(), [centres.len(), height, width]);
        for (centre, mask) in centres.iter().zip(mask.data().chunks_exact(height * width)) {
            let square = cutout_square(
                number(&centre[0]),
                number(&centre[1]),
                length,
                height,
                width,
            );
            let ours: Vec<u8> = (0..height * width)
                .map(|i| {
                    !(square.rows.contains(&(i / width)) && square.columns.contains(&(i % width)))
                        as u8
                })
                .collect();
            assert_eq!(ours, mask, "{name} at {centre}");
        }
    }
}
