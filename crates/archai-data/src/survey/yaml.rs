//! A survey as the file of a data set, for people to read and change, and for `--datasets`.

use std::fmt::Write;

use archai_spec::settings::{self, ForSize};
use serde_json::Value;

use super::{Chosen, Survey};
use crate::format::some_of;

/// Before the digest of what follows it in a file.
const MARK: &str = "# unchanged: ";

/// The file of a data set: its section with a reason for each choice, and the settings of networks that follow from the size
/// of its images. The first line holds a digest of the rest, by which [`is_as_written`] tells that nobody changed it.
pub fn describe(survey: &Survey, chosen: &Chosen) -> String {
    let mut text = format!(
        "#\n# {} training and {} test images of {} classes: {}.\n# Found by `archai data inspect`; \
         `archai run --datasets` takes this file, and whatever you change in it.\n\ndataset:\n",
        survey.train,
        survey.test,
        survey.classes.len(),
        survey.layout
    );
    let reasons = reasons(survey, chosen);
    for (key, value) in lines(survey, &chosen.section) {
        let line = format!("  {key}: {value}");
        let reason = reasons.iter().find(|(of, _)| *of == key);
        let _ = match reason {
            Some((_, reason)) => writeln!(text, "{line:<34}# {reason}"),
            None => writeln!(text, "{line}"),
        };
    }
    let network = ForSize::of(chosen.section.size);
    if let Some(section) = network.yaml() {
        let [height, width] = chosen.section.size;
        let [first, last] = network.maps(chosen.section.size);
        let _ = write!(
            text,
            "\n# For images of {height}x{width} pixels: maps of {}x{} before the first cell, {}x{} after the last one.\n{section}",
            first[0], first[1], last[0], last[1]
        );
    }
    format!("{MARK}{}\n{text}", digest(&text))
}

fn digest(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex()[..16].to_owned()
}

/// Whether a file is as [`describe`] made it, whatever it says.
pub fn is_as_written(text: &str) -> bool {
    let parts = text
        .strip_prefix(MARK)
        .and_then(|rest| rest.split_once('\n'));
    parts.is_some_and(|(found, rest)| found == digest(rest))
}

/// The keys that are said, with their values.
fn lines(survey: &Survey, section: &settings::Dataset) -> Vec<(String, String)> {
    let section = settings::Dataset {
        // A dollar sign in a path is none of a variable.
        path: section.path.replace('$', "$$"),
        ..section.clone()
    };
    let Ok(Value::Object(keys)) = serde_json::to_value(&section) else {
        return Vec::new();
    };
    let numbers = |values: &[f32]| {
        let values: Vec<String> = values.iter().map(|value| format!("{value:.4}")).collect();
        format!("[{}]", values.join(", "))
    };
    let lines = keys.into_iter().filter_map(|(key, value)| {
        let value = match (key.as_str(), value) {
            (_, Value::Null) => return None,
            ("max_batches", _) => return None,
            ("mean", _) => numbers(&survey.mean),
            ("std", _) => numbers(&survey.std),
            (_, Value::Array(values)) => {
                let values: Vec<String> = values.iter().map(Value::to_string).collect();
                format!("[{}]", values.join(", "))
            }
            // Text in the quotes of JSON is the same text in YAML.
            (_, value) => match value.as_str() {
                Some(text) if is_plain(text) => text.to_owned(),
                _ => value.to_string(),
            },
        };
        Some((key, value))
    });
    lines.collect()
}

/// Whether a text needs no quotes: a word that is no number and nothing that YAML has a meaning for.
fn is_plain(text: &str) -> bool {
    let first = text
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '/');
    let word = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "_-/.".contains(c));
    let meaning = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    first && word && !meaning.contains(&text.to_lowercase().as_str())
}

fn reasons(survey: &Survey, chosen: &Chosen) -> Vec<(&'static str, String)> {
    let names: Vec<String> = survey
        .classes
        .iter()
        .map(|class| class.name.clone())
        .collect();
    let looked_at = survey.pictures.looked_at;
    let statistics = match looked_at < survey.train {
        true => format!("of {looked_at} training images at this size, pixels from 0 to 1"),
        false => "of the training images at this size, pixels from 0 to 1".to_owned(),
    };
    vec![
        (
            "test_ratio",
            "share of each class that only the test sees; `split_seed` chooses another".to_owned(),
        ),
        ("n_classes", some_of(&names)),
        (
            "channels",
            match chosen.section.channels {
                1 if survey.pictures.grey == survey.pictures.read() => "all pictures are grey",
                1 => "all are made grey; 3: colour",
                _ => "3: colour; 1 makes all grey",
            }
            .to_owned(),
        ),
        ("size", format!("height and width: {}", chosen.why)),
        (
            "resize",
            "scaled until they cover the size, the middle is taken; `squish` or `pad` take all"
                .to_owned(),
        ),
        ("orientation", "turned as the camera noted it".to_owned()),
        (
            "background",
            "below transparent pixels: red, green, blue".to_owned(),
        ),
        ("mean", statistics),
        (
            "crop_padding",
            "training images are moved by up to so many pixels".to_owned(),
        ),
        (
            "flip",
            "training images are mirrored; false where left and right matter".to_owned(),
        ),
    ]
}
