//! Descriptions as YAML files: read with precise errors, written in a stable, documented form.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::check::version_message;
use super::{DescError, DescErrorKind, DescErrors, FORMAT_VERSION, ModelDesc, OpCatalog};
use crate::names::{did_you_mean, similar};

/// First lines of a file whose cells have two inputs.
const HEAD: &str = "\
# archai model description. Cells come in order; within a cell, states 0 and 1 are its inputs (the cell before the
# previous one and the previous one, each through its stem), and state 2+k is node k, the sum of its edges.
";

/// First lines of all other files.
const HEAD_OF_ANY: &str = "\
# archai model description. Cells come in order; within a cell of n stems, states 0 to n-1 are its inputs (the last n outputs
# before it, each through its stem), and state n+k is node k, the sum of its edges.
";

/// The one field that says whether the rest can be read, and the sections that a configuration has.
#[derive(Deserialize)]
struct Head {
    version: Option<u32>,
    dataset: Option<IgnoredAny>,
    nas: Option<IgnoredAny>,
    common: Option<IgnoredAny>,
}

/// Checks the version of a description alone.
fn check_head(text: &str, name: &str) -> Result<(), DescErrors> {
    let head: Head = serde_saphyr::from_str(text).map_err(|e| syntax_error(name, &e))?;
    let problem = match head.version {
        Some(FORMAT_VERSION) => return Ok(()),
        Some(version) => version_message(version),
        None => no_version(&head),
    };
    let error = DescError::new(DescErrorKind::Version, problem);
    Err(error.at(name).into())
}

/// What is said of a file without a version.
fn no_version(head: &Head) -> String {
    let sections = [
        ("dataset", head.dataset.is_some()),
        ("nas", head.nas.is_some()),
        ("common", head.common.is_some()),
    ];
    let section = sections.iter().find(|(_, is_there)| *is_there);
    match section {
        Some((section, _)) => format!(
            "this is a configuration, for it has a section `{section}`, and no model description; it goes behind {}",
            match *section {
                "dataset" => "`archai run --datasets`",
                _ => "`archai run --config`",
            }
        ),
        None => format!(
            "the field `version` is missing; a model description starts with `version: {FORMAT_VERSION}` (a description of \
             Archai is read by `archai desc import`)"
        ),
    }
}

/// Turns an error of the YAML reader into ours: `file:line:col: what`, with the nearest known fields.
pub(super) fn syntax_error(name: &str, error: &serde_saphyr::Error) -> DescError {
    let place = match error.location() {
        Some(at) => format!("{name}:{}:{}", at.line(), at.column()),
        None => name.to_string(),
    };
    let text = error.without_snippet().to_string();
    let mut message = text
        .lines()
        .next()
        .unwrap_or("not readable as YAML")
        .to_string();
    // The reader names the place at the end, where ours stands in front, and its own switches, which users do not have.
    for tail in [" at line ", ", set DuplicateKeyPolicy"] {
        if let Some(cut) = message.find(tail) {
            message.truncate(cut);
        }
    }
    if matches!(
        message.as_str(),
        "invalid u64" | "invalid u32" | "invalid usize"
    ) {
        message = "expected a whole number, not negative".into();
    }
    if message.contains("budget breached") {
        message = format!(
            "the file is too large or too deep, or its aliases unfold into too much ({message})"
        );
    }
    if message.contains("untagged enum ParamValue") {
        message = "expected true or false, a number, a text or a list of whole numbers".into();
    }
    if let Some((what, known)) = message.split_once(", expected one of ") {
        let unknown = what.split('`').nth(1).unwrap_or_default();
        let near = similar(unknown, known.split(", ").map(|k| k.trim_matches('`')));
        if let Some(question) = did_you_mean(&near) {
            message = format!("{what}; {question} (expected one of {known})");
        }
    }
    DescError::new(DescErrorKind::Syntax, message).at(place)
}

/// Columns within which a list or map is written on one line.
const LINE: usize = 110;

/// Writes a value as YAML: on one line where it fits, else one entry per line.
fn write_value(out: &mut String, value: &Value, indent: usize) {
    let pad = "  ".repeat(indent);
    match value {
        Value::Object(map) => {
            for (i, (key, value)) in map.iter().enumerate() {
                out.push_str(if i > 0 { &pad } else { "" });
                out.push_str(&scalar(key));
                out.push(':');
                write_entry(out, value, indent, false);
            }
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i > 0 { &pad } else { "" });
                out.push('-');
                write_entry(out, item, indent, true);
            }
        }
        other => {
            out.push_str(&flow(other));
            out.push('\n');
        }
    }
}

/// What stands after `key:` or `-`. The top level is always one entry per line.
fn write_entry(out: &mut String, value: &Value, indent: usize, in_list: bool) {
    let line = flow(value);
    let column = out.len() - out.rfind('\n').map_or(0, |at| at + 1);
    let empty = matches!(value, Value::Object(m) if m.is_empty())
        || matches!(value, Value::Array(a) if a.is_empty());
    if !(value.is_object() || value.is_array())
        || empty
        || column + 1 + line.chars().count() <= LINE
    {
        out.push(' ');
        out.push_str(&line);
        out.push('\n');
    } else if in_list {
        out.push(' ');
        write_value(out, value, indent + 1);
    } else {
        // Lists stand at the column of their key, maps two further.
        let deeper = indent + usize::from(value.is_object());
        out.push('\n');
        out.push_str(&"  ".repeat(deeper));
        write_value(out, value, deeper);
    }
}

fn flow(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let entries: Vec<String> = map
                .iter()
                .map(|(k, v)| format!("{}: {}", scalar(k), flow(v)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Array(items) => format!(
            "[{}]",
            items.iter().map(flow).collect::<Vec<_>>().join(", ")
        ),
        Value::String(text) => scalar(text),
        other => other.to_string(),
    }
}

/// A text, in quotes unless it is plainly a word.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    let reserved = [
        "null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf",
    ];
    if plain && !reserved.contains(&text.to_ascii_lowercase().as_str()) {
        text.to_string()
    } else {
        Value::from(text).to_string()
    }
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.values().any(has_null),
        Value::Array(items) => items.iter().any(has_null),
        _ => false,
    }
}

impl ModelDesc {
    /// Reads a description and checks it. `name` is the file's name in messages.
    ///
    /// # Errors
    /// Not YAML, unknown fields, wrong types (with `name:line:col` and the nearest names), a layout of a newer program, and
    /// everything that [`ModelDesc::check`] finds, all at once.
    pub fn from_yaml(text: &str, name: &str, catalog: &OpCatalog) -> Result<ModelDesc, DescErrors> {
        let desc: ModelDesc = match serde_saphyr::from_str(text) {
            Ok(desc) => desc,
            // A newer layout may have other fields: then its version is what is wrong.
            Err(error) => {
                check_head(text, name)?;
                return Err(syntax_error(name, &error).into());
            }
        };
        desc.check(catalog).map_err(|errors| errors.in_file(name))?;
        Ok(desc)
    }

    /// Writes the description; [`ModelDesc::from_yaml`] reads the same back.
    ///
    /// # Errors
    /// A number or text that YAML cannot hold.
    pub fn to_yaml(&self) -> Result<String, DescError> {
        let error = |text: String| {
            DescError::new(
                DescErrorKind::Param,
                format!("cannot be written as YAML: {text}"),
            )
        };
        let value = serde_json::to_value(self).map_err(|e| error(e.to_string()))?;
        // Absent fields are left out, so a null can only be a parameter that is no finite number.
        if has_null(&value) {
            return Err(error("a parameter of an op is NaN or infinite".into()));
        }
        let two_inputs = self.cells.iter().all(|cell| cell.stems.len() == 2);
        let mut out = if two_inputs { HEAD } else { HEAD_OF_ANY }.to_string();
        write_value(&mut out, &value, 0);
        Ok(out)
    }
}
