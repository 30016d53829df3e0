//! Settings that a user gave and that nothing will read: nothing in a configuration is ignored silently.

use std::collections::HashSet;

use archai_spec::config::{ConfigTree, Origin};
use serde_json::Value;

/// A sentence for each value below the `unread` keys that the command line or one of the files in `config` (separated by
/// semicolons) gives. Values that are copied there from elsewhere do not count: where they come from they are read.
pub(crate) fn warnings(
    tree: &ConfigTree,
    unread: &[String],
    algorithm: &str,
    config: Option<&str>,
) -> Vec<String> {
    let files: Vec<&str> = config.map_or_else(Vec::new, |c| c.split(';').map(str::trim).collect());
    let is_given = |origin: &Origin| match origin {
        Origin::File { file, .. } => files.contains(&file.as_ref()),
        Origin::Flag(_) => true,
        Origin::Program(_) => false,
    };
    let mut keys = Vec::new();
    leaves("", tree.value("").unwrap_or(&Value::Null), &mut keys);
    let given = keys.into_iter().filter_map(|key| {
        let origin = tree.origin(&key).filter(|origin| is_given(origin))?;
        let section = unread.iter().find(|section| is_below(&key, section));
        Some((key, origin, section))
    });
    let given: Vec<_> = given.collect();
    let read: HashSet<&Origin> = (given.iter())
        .filter(|(_, _, section)| section.is_none())
        .map(|(_, origin, _)| *origin)
        .collect();
    let mut warnings = Vec::new();
    for (key, origin, section) in &given {
        if let Some(section) = section.filter(|_| !read.contains(origin)) {
            let what = if section == key {
                "it"
            } else {
                section.as_str()
            };
            warnings.push(format!(
                "{origin}: {key} has no effect, because {algorithm} does not read {what} under these settings"
            ));
        }
    }
    warnings
}

fn is_below(key: &str, section: &str) -> bool {
    let rest = key.strip_prefix(section);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// The dotted keys of all values that are no sections; a list is one value.
fn leaves(path: &str, value: &Value, keys: &mut Vec<String>) {
    match value {
        Value::Object(section) => {
            for (name, value) in section {
                let key = match path {
                    "" => name.clone(),
                    path => format!("{path}.{name}"),
                };
                leaves(&key, value, keys);
            }
        }
        _ => keys.push(path.to_string()),
    }
}
