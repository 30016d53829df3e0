//! Values given on the command line: `--a.b.c value`, `--a.b.c=value` or `a.b.c=value`.

use super::error::{ConfigError, ConfigErrors};
use super::node::{COPY, Node, Origin, Value};
use super::schema::Schema;
use super::yaml;
use std::sync::Arc;

/// A value for one key, stronger than any file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    path: Vec<String>,
    text: String,
    flag: Arc<str>,
}

impl Override {
    /// A value for a dotted key; `flag` is what errors and origins call it, as the user typed it.
    pub fn new(key: &str, value: &str, flag: &str) -> Self {
        Self {
            path: key.split('.').map(str::to_owned).collect(),
            text: value.to_owned(),
            flag: flag.into(),
        }
    }

    /// Whether it is about a section, by its path, or something in it.
    pub(super) fn is_in(&self, section: &[String]) -> bool {
        self.path.starts_with(section)
    }

    /// The dotted key.
    pub fn key(&self) -> String {
        self.path.join(".")
    }

    /// The value as it was typed.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Reads the overrides of a command line. Later ones win. A value that opens with `[`, `{` or a quote is YAML, for
/// example `[0.5, 0.999]`; every other value is read as what its key wants.
///
/// # Errors
/// For each argument that has none of the three forms.
pub fn parse_overrides(args: &[String]) -> Result<Vec<Override>, ConfigErrors> {
    let mut overrides = Vec::new();
    let mut errors = Vec::new();
    let mut args = args.iter().peekable();
    while let Some(arg) = args.next() {
        let bare = arg.strip_prefix("--").unwrap_or(arg);
        let flagged = bare.len() != arg.len();
        let mut fail = |message: String| {
            errors.push(ConfigError::at(
                &Origin::Flag(arg.as_str().into()),
                "",
                message,
            ));
        };
        match bare.split_once('=') {
            Some((key, value)) if is_key(key) => overrides.push(Override::new(key, value, arg)),
            None if flagged && is_key(bare) => match args.next_if(|next| !next.starts_with("--")) {
                Some(value) => {
                    overrides.push(Override::new(bare, value, &format!("{arg} {value}")))
                }
                None => fail(format!(
                    "a value is missing; write `{arg} VALUE` or `{arg}=VALUE`"
                )),
            },
            _ => fail(
                "not understood; expected `--a.b.c VALUE`, `--a.b.c=VALUE` or `a.b.c=VALUE`"
                    .to_owned(),
            ),
        }
    }
    if errors.is_empty() {
        Ok(overrides)
    } else {
        Err(ConfigErrors(errors))
    }
}

fn is_key(text: &str) -> bool {
    !text.is_empty()
        && text.split('.').all(|part| {
            part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
        })
}

/// Lays an override over the tree *before* copies are resolved, so that what copies the key sees it. A key that is
/// there only by a copy becomes a key of the copying section itself.
pub(super) fn apply(root: &mut Node, given: &Override, schema: &Schema) -> Result<(), ConfigError> {
    let origin = Origin::Flag(given.flag.clone());
    // A copy is named with its section: `--a.b._copy /c`.
    let (copy, named) = match given.path.split_last() {
        Some((last, section)) if last == COPY => (true, section),
        _ => (false, &given.path[..]),
    };
    schema
        .lookup(named)
        .map_err(|message| ConfigError::at(&origin, given.key(), message))?;
    let mut node = yaml::parse_flag(&given.flag, &given.text)?;
    for key in given.path.iter().rev() {
        let mut section = Node::section(origin.clone());
        if let Value::Section(map) = &mut section.value {
            map.insert(key.clone(), node);
        }
        node = section;
    }
    if copy && named.is_empty() {
        return Err(ConfigError::at(
            &origin,
            given.key(),
            "the whole tree cannot be a copy",
        ));
    }
    root.merge(node);
    Ok(())
}
