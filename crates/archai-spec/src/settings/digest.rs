//! The digest of what changes results: two runs of the same program with equal digests compute the same.

use std::collections::BTreeMap;

use super::Settings;
use crate::config::is_path;
use serde_json::Value;

/// Keys of the settings that change where things are written, how they are named or how fast they come, but no result.
fn is_neutral(key: &str) -> bool {
    const NEUTRAL: [&str; 11] = [
        "checkpoint",
        "export",
        "export_options",
        "log_prefix",
        "log_level",
        "yaml_log",
        "logger_freq",
        "title",
        "track",
        "train_workers",
        "test_workers",
    ];
    NEUTRAL.contains(&key) || is_path(key)
}

impl Settings {
    /// BLAKE3 digest, in hexadecimal, of all that changes results: not of paths, names in logs, logging, trackers, checkpoints or
    /// the number of loading threads. `sections` are the algorithms' own sections by path, which count whole, paths included.
    pub fn digest(&self, sections: &[(&str, &Value)]) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"archai settings 1\n");
        self.each_digested(sections, &mut |path, leaf| {
            hasher.update(format!("{path} = {leaf}\n").as_bytes());
        });
        hasher.finalize().to_hex().to_string()
    }

    /// What [`Settings::digest`] is a digest of: values by their dotted names.
    pub fn digested(&self, sections: &[(&str, &Value)]) -> BTreeMap<String, Value> {
        let mut all = BTreeMap::new();
        self.each_digested(sections, &mut |path, leaf| {
            let name = path.trim_start_matches('/').replace('/', ".");
            all.insert(name, leaf.clone());
        });
        all
    }

    fn each_digested(&self, sections: &[(&str, &Value)], leaf: &mut dyn FnMut(&str, &Value)) {
        feed(&serde_json::json!(self), "", true, leaf);
        for (path, section) in sections {
            feed(section, path, false, leaf);
        }
    }
}

/// Value by value, keys in alphabetical order, so that the order in files does not matter.
fn feed(value: &Value, path: &str, skip_neutral: bool, leaf: &mut dyn FnMut(&str, &Value)) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            for key in keys
                .into_iter()
                .filter(|key| !(skip_neutral && is_neutral(key)))
            {
                feed(&map[key], &format!("{path}/{key}"), skip_neutral, leaf);
            }
        }
        value => leaf(path, value),
    }
}
