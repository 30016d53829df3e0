//! Finding a data set's files, and saying what is missing: for readers.

use std::fs;
use std::path::{Path, PathBuf};

use archai_spec::settings::Dataset;

use crate::dataset::Split;
use crate::download;
use crate::error::DataError;

/// What lies below `root` and fits `pattern` (names separated by `/`, `*` matches any characters), sorted by name.
///
/// # Errors
/// A folder that cannot be listed, or names in it that are not UTF-8.
pub fn find(root: &Path, pattern: &str) -> Result<Vec<PathBuf>, DataError> {
    let mut found = vec![root.to_owned()];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        let mut below = Vec::new();
        for folder in found {
            if part.contains('*') {
                if folder.is_dir() {
                    let names = list(&folder)?;
                    below.extend(
                        names
                            .iter()
                            .filter(|name| matches(part, name))
                            .map(|name| folder.join(name)),
                    );
                }
            } else if folder.join(part).exists() {
                below.push(folder.join(part));
            }
        }
        found = below;
    }
    Ok(found)
}

/// The names in a folder, sorted.
///
/// # Errors
/// The folder cannot be listed, or holds names that are not UTF-8: no configuration could name them.
pub fn list(folder: &Path) -> Result<Vec<String>, DataError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(DataError::io("list", folder))? {
        let entry = entry.map_err(DataError::io("list", folder))?;
        let name = entry.file_name().into_string().map_err(|name| {
            let found = format!("{name:?}");
            DataError::malformed(folder, "its entries", "file names in UTF-8", found)
        })?;
        names.push(name);
    }
    names.sort_unstable();
    Ok(names)
}

/// Whether `name` is `pattern`, in which `*` stands for any characters.
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// The error for data that is not there, with the ways out.
pub fn absent(dataset: &Dataset, split: Split, looked_for: impl Into<String>) -> DataError {
    // The archive of a known data set is no way out for files of another format.
    let known = download::by_name(&dataset.name).filter(|known| known.format == dataset.format);
    let get = match known {
        Some(known) => format!("run `archai data get {}` to download it, or ", known.name),
        None => String::new(),
    };
    DataError::Absent {
        name: dataset.name.clone(),
        split: split.as_str(),
        looked_for: looked_for.into(),
        place: PathBuf::from(&dataset.path),
        ways_out: format!(
            "{get}set dataset.path to where it lies (--dataset.path DIR on the command line), or the environment variable \
             default_dataroot to the folder of all data sets"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, expect) in [
            ("a.bin", "a.bin", true),
            ("a.bin", "a.bin2", false),
            ("a.bin", "xa.bin", false),
            ("*", "", true),
            ("*", "anything", true),
            ("a*", "a", true),
            ("a*b", "ab", true),
            ("a*b", "a", false),
            ("aa*aa", "aaa", false),
            ("*.parquet", "x.parquet", true),
            ("train-*-of-*.parquet", "train-00-of-01.parquet", true),
            ("train-*-of-*.parquet", "train-00.parquet", false),
            ("*ab*ab*", "xabab", true),
            ("*ab*ab*", "xab", false),
        ] {
            assert_eq!(matches(pattern, name), expect, "{pattern} {name}");
        }
    }
}
