//! Descriptions as YAML files: read with precise errors, written in a stable, documented form.

use serde::Deserialize;

use super::check::version_message;
use super::error::nearest;
use super::{DescError, DescErrorKind, DescErrors, FORMAT_VERSION, ModelDesc, OpCatalog};

/// First line of every written file.
const HEAD: &str = "# archai model description: cells in order; state 0 and 1 of a cell are its inputs, state 2+k is node k.\n";

/// The one field that says whether the rest can be read.
#[derive(Deserialize)]
struct Head {
    version: Option<u32>,
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
    // The reader names the place itself at the end; ours stands in front.
    if let Some(cut) = message.find(" at line ") {
        message.truncate(cut);
    }
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    if let (true, Some((unknown, known))) = (message.contains("unknown"), quoted.split_first()) {
        let near = nearest(unknown, known.iter().copied());
        if !near.is_empty() {
            message = format!("{message}; did you mean {}?", near.join(" or "));
        }
    }
    DescError::new(DescErrorKind::Syntax, message).at(place)
}

impl ModelDesc {
    /// Reads a description and checks it. `name` is the file's name in messages.
    ///
    /// # Errors
    /// Not YAML, unknown fields, wrong types (with `name:line:col` and the nearest names), a layout of a newer program, and
    /// everything that [`ModelDesc::check`] finds, all at once.
    pub fn from_yaml(text: &str, name: &str, catalog: &OpCatalog) -> Result<ModelDesc, DescErrors> {
        let syntax = |e: serde_saphyr::Error| DescErrors::from(syntax_error(name, &e));
        // A newer layout may have other fields, so its version is read first and alone.
        let head: Head = serde_saphyr::from_str(text).map_err(syntax)?;
        let Some(version) = head.version else {
            return Err(DescError::new(
                DescErrorKind::Version,
                format!(
                    "the field `version` is missing; a model description starts with `version: {FORMAT_VERSION}` \
                     (a description of Archai is read by `archai desc import`)"
                ),
            )
            .at(name)
            .into());
        };
        if version != FORMAT_VERSION {
            return Err(
                DescError::new(DescErrorKind::Version, version_message(version))
                    .at(name)
                    .into(),
            );
        }
        let desc: ModelDesc = serde_saphyr::from_str(text).map_err(syntax)?;
        desc.check(catalog)
            .map_err(|errors| DescErrors(errors.0.into_iter().map(|e| e.at(name)).collect()))?;
        Ok(desc)
    }

    /// Writes the description; [`ModelDesc::from_yaml`] reads the same back.
    ///
    /// # Errors
    /// A number or text that YAML cannot hold.
    pub fn to_yaml(&self) -> Result<String, DescError> {
        let body = serde_saphyr::to_string(self).map_err(|e| {
            DescError::new(
                DescErrorKind::Syntax,
                format!("cannot be written as YAML: {e}"),
            )
        })?;
        Ok(format!("{HEAD}{body}"))
    }
}
