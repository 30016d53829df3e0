//! Pictures of all formats, as Pillow wrote and read them (`scripts/pictures.py`).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use archai_data::{Image, picture};
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pictures")
}

fn at() -> String {
    "byte 0".into()
}

/// Shape, planes, and how far a pixel may be off.
struct Expected {
    shape: [usize; 3],
    pixels: Vec<u8>,
    off: u8,
}

fn expected() -> BTreeMap<String, Expected> {
    let text = fs::read(folder().join("pixels.json")).unwrap();
    let all: BTreeMap<String, Value> = serde_json::from_slice(&text).unwrap();
    let number = |value: &Value| value.as_u64().unwrap() as usize;
    let read = |entry: &Value| {
        let hex = entry["pixels"].as_str().unwrap();
        let byte = |i: usize| u8::from_str_radix(&hex[i..i + 2], 16).unwrap();
        Expected {
            shape: [0, 1, 2].map(|i| number(&entry["shape"][i])),
            pixels: (0..hex.len()).step_by(2).map(byte).collect(),
            off: number(&entry["off"]) as u8,
        }
    };
    all.iter()
        .map(|(name, entry)| (name.clone(), read(entry)))
        .collect()
}

fn decode(name: &str, bytes: &[u8]) -> Result<Image<'static>, String> {
    let path = Path::new(name);
    let image = picture::decode(path, &at, bytes).map_err(|e| e.to_string());
    let checked = picture::check(path, &at, bytes).map_err(|e| e.to_string());
    if let Err(error) = &image {
        assert!(error.contains(name), "{error}");
    } else {
        assert_eq!(checked, Ok(()), "{name}");
    }
    image
}

#[test]
fn every_format_gives_the_pixels_that_others_read() {
    let all = expected();
    assert_eq!(all.len(), fs::read_dir(folder()).unwrap().count() - 1);
    for (name, expected) in all {
        let bytes = fs::read(folder().join(&name)).unwrap();
        let image = decode(&name, &bytes).unwrap();
        assert_eq!([image.height, image.width], expected.shape[1..], "{name}");
        // Grey levels in a palette come out as three equal planes.
        assert!(image.channels >= expected.shape[0], "{name}");
        let pixels = expected.pixels.repeat(image.channels / expected.shape[0]);
        assert_eq!(image.pixels.len(), pixels.len(), "{name}");
        let off = image
            .pixels
            .iter()
            .zip(&pixels)
            .map(|(a, b)| a.abs_diff(*b))
            .max();
        assert!(off <= Some(expected.off), "{name} is off by {off:?}");
    }
}

#[test]
fn a_file_that_was_cut_off_is_an_error_or_lacks_nothing() {
    for name in expected().keys() {
        let bytes = fs::read(folder().join(name)).unwrap();
        let whole = decode(name, &bytes).unwrap();
        for length in 0..bytes.len() {
            // What is missing may be what nobody reads: a second picture, a comment, the mark of the end.
            if let Ok(part) = decode(name, &bytes[..length]) {
                assert_eq!(
                    part,
                    whole,
                    "{name}, cut off after {length} of {} bytes",
                    bytes.len()
                );
            }
        }
    }
}

#[test]
fn a_small_file_cannot_claim_a_large_picture() {
    let bmp = fs::read(folder().join("rgb.bmp")).unwrap();
    let mut claims = bmp.clone();
    claims[18..22].copy_from_slice(&16_000_i32.to_le_bytes());
    claims[22..26].copy_from_slice(&16_000_i32.to_le_bytes());
    let gif = fs::read(folder().join("palette.gif")).unwrap();
    let mut wide = gif.clone();
    wide[6..10].copy_from_slice(&[0xff; 4]);
    for (name, bytes) in [("x.bmp", claims), ("x.gif", wide)] {
        let error = decode(name, &bytes).unwrap_err();
        assert!(error.contains("cannot be decoded"), "{error}");
    }
}

#[test]
fn what_the_decoder_does_not_know_is_said() {
    // A TIFF file whose interpretation of pixels is changed from grey to a palette that is not there.
    let bytes = fs::read(folder().join("grey.tiff")).unwrap();
    let grey = [
        &262_u16.to_le_bytes()[..],
        &3_u16.to_le_bytes(),
        &1_u32.to_le_bytes(),
        &[1, 0],
    ]
    .concat();
    let place = bytes
        .windows(grey.len())
        .position(|part| part == grey)
        .unwrap();
    let mut palette = bytes.clone();
    palette[place + 8] = 3;
    let error = decode("x.tiff", &palette).unwrap_err();
    assert!(
        error.contains("does not support") && error.contains("RGBPalette"),
        "{error}"
    );
}

#[test]
fn fractions_are_no_pixels() {
    // Little-endian TIFF of one grey pixel in 32 bits, as a scanner of science writes it.
    let mut bytes = b"II*\0\x08\0\0\0".to_vec();
    let entries: [(u16, u16, u32); 9] = [
        (256, 4, 1),
        (257, 4, 1),
        (258, 3, 32),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 8 + 2 + 9 * 12 + 4),
        (277, 3, 1),
        (279, 4, 4),
        (339, 3, 3),
    ];
    bytes.extend((entries.len() as u16).to_le_bytes());
    for (tag, kind, value) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend(0.5_f32.to_le_bytes());
    let error = decode("x.tiff", &bytes).unwrap_err();
    assert!(
        error.contains("fractions") || error.contains("cannot be decoded"),
        "{error}"
    );
}
