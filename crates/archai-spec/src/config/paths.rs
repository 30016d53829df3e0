//! Which keys hold paths, and their expansion.

use serde_json::Value;

use super::vars::{ExpandError, Vars, expand};

/// Whether a key holds a path: the settings' keys, and those of algorithms' own sections.
pub(crate) fn is_path(key: &str) -> bool {
    ["path", "logdir", "init_weights"].contains(&key) || key.ends_with("_filename")
}

/// Calls `act` with every path of a section and its key; `key` is the section's own, empty for the whole tree.
pub(crate) fn each_path(value: &mut Value, key: &str, act: &mut dyn FnMut(&str, &mut String)) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let key = match key {
                    "" => name.clone(),
                    above => format!("{above}.{name}"),
                };
                each_path(value, &key, act);
            }
        }
        Value::String(text) if is_path(key.rsplit('.').next().unwrap_or(key)) => act(key, text),
        _ => {}
    }
}

/// Expands `~`, `$VAR` and `${VAR}` in every path of a section. Values that cannot be expanded stay and are added to
/// `problems` with their keys; `key` is the section's own, empty for the whole tree.
pub(crate) fn expand_paths(
    value: &mut Value,
    key: &str,
    vars: &Vars,
    problems: &mut Vec<(String, ExpandError)>,
) {
    each_path(value, key, &mut |key, text| match expand(text, vars) {
        Ok(expanded) => *text = expanded,
        Err(error) => problems.push((key.to_owned(), error)),
    });
}
