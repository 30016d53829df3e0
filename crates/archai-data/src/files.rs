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

/// The files of a part of a data set below its `path`: those that `dataset.train` or `dataset.test` names, or those under
/// the format's usual names. Of these the first group counts of which any pattern fits a file; two patterns of it that fit are
/// an error, for one may be a copy of the other, or the other half. In a name of the user's, `{a,b}` stands for each of
/// several texts and `{000..146}` for each of several numbers, all of which must be there.
///
/// # Errors
/// [`DataError::Absent`] if there is none; [`DataError::Setting`] if it is not clear which are meant.
pub fn of_part(
    dataset: &Dataset,
    split: Split,
    usual: &[&[&str]],
) -> Result<Vec<PathBuf>, DataError> {
    let root = Path::new(&dataset.path);
    if let Some(pattern) = split.pattern(dataset) {
        let mut all = Vec::new();
        for pattern in
            alternatives(pattern).map_err(|problem| DataError::setting(split.key(), problem))?
        {
            let found = find(root, &pattern)?;
            if found.is_empty() {
                return Err(absent(dataset, split, pattern));
            }
            all.extend(found);
        }
        return Ok(all);
    }
    for group in usual {
        let mut all: Vec<(&str, Vec<PathBuf>)> = Vec::new();
        for pattern in *group {
            let found = find(root, pattern)?;
            if !found.is_empty() {
                all.push((pattern, found));
            }
        }
        match all.len() {
            0 => {}
            1 => return Ok(all.swap_remove(0).1),
            _ => {
                let found: Vec<&str> = all.iter().map(|(pattern, _)| *pattern).collect();
                let problem = format!(
                    "in '{}' there is {}; say which are meant",
                    dataset.path,
                    found.join(" and ")
                );
                return Err(DataError::setting(split.key(), problem));
            }
        }
    }
    Err(absent(dataset, split, usual.concat().join(" or ")))
}

/// Most names that braces may stand for.
const MAX_ALTERNATIVES: usize = 100_000;

/// The names that a pattern with braces stands for, in their order.
pub(crate) fn alternatives(pattern: &str) -> Result<Vec<String>, String> {
    let mut done = vec![String::new()];
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((inside, behind)) = after.split_once('}') else {
            return Err(format!("'{pattern}' has a brace that is not closed"));
        };
        let texts = match inside.split_once("..") {
            None => inside.split(',').map(str::to_owned).collect(),
            Some((first, last)) => {
                let number = |text: &str| text.parse::<usize>().ok();
                let (Some(from), Some(to)) = (number(first), number(last)) else {
                    return Err(format!(
                        "'{pattern}' has '{{{inside}}}'; expected two numbers, as {{000..146}}"
                    ));
                };
                if to.saturating_sub(from) >= MAX_ALTERNATIVES {
                    return Err(format!(
                        "'{pattern}' stands for more than {MAX_ALTERNATIVES} names"
                    ));
                }
                let digits = first.len();
                let texts = (from..=to).map(|number| format!("{number:0digits$}"));
                texts.collect::<Vec<_>>()
            }
        };
        if done.len().saturating_mul(texts.len()) > MAX_ALTERNATIVES {
            return Err(format!(
                "'{pattern}' stands for more than {MAX_ALTERNATIVES} names"
            ));
        }
        let one = |start: &String| {
            let start = format!("{start}{before}");
            texts
                .iter()
                .map(move |text| format!("{start}{text}"))
                .collect::<Vec<_>>()
        };
        done = done.iter().flat_map(one).collect();
        rest = behind;
    }
    done.iter_mut().for_each(|start| start.push_str(rest));
    Ok(done)
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
    fn braces() {
        for (pattern, expect) in [
            ("a.tar", &["a.tar"][..]),
            ("{a,b}_*.mat", &["a_*.mat", "b_*.mat"]),
            ("s-{08..10}.tar", &["s-08.tar", "s-09.tar", "s-10.tar"]),
            ("{a,b}{1..2}", &["a1", "a2", "b1", "b2"]),
            ("{2..1}", &[]),
        ] {
            assert_eq!(alternatives(pattern).unwrap(), expect, "{pattern}");
        }
        for pattern in ["{a", "{a..b}", "{0..9999999}", "{0..999}{0..999}"] {
            assert!(alternatives(pattern).is_err(), "{pattern}");
        }
    }

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
