//! Looking up what a format knows by name: columns of tables and arrays, as `dataset.columns` or custom calls them.

use std::path::Path;

use archai_spec::settings;

use crate::error::DataError;

/// The number of the column that holds `what`: the one that the user names, or else the first of the usual names, whatever
/// their case.
///
/// # Errors
/// [`DataError::Malformed`] with the names that there are, and how to name one of them.
pub(super) fn find(
    path: &Path,
    there: &[String],
    what: &'static str,
    named: Option<&str>,
    usual: &[&str],
) -> Result<usize, DataError> {
    let found = match named {
        Some(name) => there.iter().position(|column| column == name),
        None => usual
            .iter()
            .find_map(|name| (there.iter()).position(|column| column.to_lowercase() == *name)),
    };
    found.ok_or_else(|| absent(path, there, what, named, usual))
}

/// The error for a name that is not there.
pub(super) fn absent(
    path: &Path,
    there: &[String],
    what: &'static str,
    named: Option<&str>,
    usual: &[&str],
) -> DataError {
    let key = match what {
        "images" => "image",
        _ => "label",
    };
    DataError::Malformed {
        path: path.to_owned(),
        at: "its columns".into(),
        expected: match named {
            Some(name) => {
                format!("`{name}`, the column of {what} that dataset.columns.{key} names")
            }
            None => format!("a column of {what}: {}", usual.join(" or ")),
        },
        found: match there.len() {
            0 => "none".into(),
            _ => there.join(", "),
        },
        mend: format!("name the column of {what} in dataset.columns.{key}"),
    }
}

/// Refuses names of the test data's own in a format whose parts are different files.
///
/// # Errors
/// [`DataError::Setting`].
pub(super) fn refuse_test_names(dataset: &settings::Dataset) -> Result<(), DataError> {
    let Some(columns) = &dataset.columns else {
        return Ok(());
    };
    for (key, is_set) in [
        ("test_image", columns.test_image.is_some()),
        ("test_label", columns.test_label.is_some()),
    ] {
        if is_set {
            return Err(DataError::setting(
                format!("dataset.columns.{key}"),
                format!(
                    "is set, but in the format `{}` the columns of all parts have the same names; leave it out",
                    dataset.format
                ),
            ));
        }
    }
    Ok(())
}
