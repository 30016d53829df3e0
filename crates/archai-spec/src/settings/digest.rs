//! The digest of what changes results: two runs of the same program with equal digests compute the same.

use super::Settings;
use serde_json::Value;

/// Keys of the settings that change where things are written, how they are named or how fast they come, but no result.
fn is_neutral(key: &str) -> bool {
    const NEUTRAL: [&str; 10] = [
        "checkpoint",
        "logdir",
        "log_prefix",
        "log_level",
        "yaml_log",
        "logger_freq",
        "title",
        "path",
        "train_workers",
        "test_workers",
    ];
    NEUTRAL.contains(&key) || key.ends_with("_filename")
}

impl Settings {
    /// BLAKE3 digest, in hexadecimal, of all that changes results: not of paths, names in logs, logging or the number of
    /// loading threads. `sections` are the algorithms' own sections by path, which count whole.
    pub fn digest(&self, sections: &[(&str, &Value)]) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"archai settings 1\n");
        feed(&serde_json::json!(self), "", true, &mut hasher);
        for (path, section) in sections {
            feed(section, path, false, &mut hasher);
        }
        hasher.finalize().to_hex().to_string()
    }
}

/// One line per value, keys in alphabetical order, so that the order in files does not matter.
fn feed(value: &Value, path: &str, skip_neutral: bool, hasher: &mut blake3::Hasher) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            for key in keys
                .into_iter()
                .filter(|key| !(skip_neutral && is_neutral(key)))
            {
                feed(&map[key], &format!("{path}/{key}"), skip_neutral, hasher);
            }
        }
        leaf => {
            hasher.update(format!("{path} = {leaf}\n").as_bytes());
        }
    }
}
