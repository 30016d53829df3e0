//! What a configuration reads: where its relative paths lead, and what its data sets are called.
//!
//! A relative path starts where it was written: in a file at the folder of that file, as included files do, in the request at
//! the caller's folder. So a data set that moves with its description is found from everywhere, and a folder that happens to
//! have the same name where a command is given is never taken for it. The tree holds absolute paths then, and so does
//! `config_used.yaml`, which lies elsewhere.

use std::path::{Path, PathBuf};

use archai_engine::Components;
use archai_spec::config::{ConfigError, ConfigErrors, ConfigTree, Origin};

use crate::error::LabError;
use crate::initial::INIT_WEIGHTS;

/// The key of the description that an evaluation starts from.
const GIVEN_DESC: &str = "nas.eval.final_desc_filename";

/// End of the keys that say where data lie.
const DATA: &str = "dataset.path";

/// Keys and texts of the relative paths that name what a run reads. `path` of a format without files is a name.
pub(crate) fn relative(tree: &ConfigTree, components: &Components) -> Vec<(String, String)> {
    let needs_path = |key: &str| {
        let format = key.strip_suffix("path").map(|set| format!("{set}format"));
        let format = format.and_then(|key| tree.value(&key)?.as_str());
        let format = format.and_then(|name| components.formats.get(name).ok());
        format.is_some_and(|format| format.needs_path())
    };
    let is_read =
        |key: &str| [GIVEN_DESC, INIT_WEIGHTS].contains(&key) || (is_data(key) && needs_path(key));
    let mut paths = tree.paths();
    paths.retain(|(key, text)| is_relative(text) && is_read(key));
    paths
}

fn is_data(key: &str) -> bool {
    let above = key.strip_suffix(DATA);
    above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
}

/// A path that begins with a variable or the home folder is taken to be absolute.
fn is_relative(text: &str) -> bool {
    let starts_elsewhere = text == "~" || text.starts_with("~/") || text.starts_with('$');
    !text.is_empty() && !starts_elsewhere && Path::new(text).is_relative()
}

/// The tree with absolute paths of what is read, seen from `folder`, the caller's. Without a folder, paths in files start at the
/// files' folders as far as these are known.
pub(crate) fn located(tree: ConfigTree, components: &Components, folder: &Path) -> ConfigTree {
    let mut located = tree.clone();
    for (key, text) in relative(&tree, components) {
        let Some(start) = tree.origin(&key).and_then(|origin| start(origin, folder)) else {
            continue;
        };
        located = located.with_text(&key, &joined(&start, &text), None);
    }
    located
}

/// Where relative paths of this origin start.
fn start(origin: &Origin, folder: &Path) -> Option<PathBuf> {
    match origin {
        origin if origin.is_shipped() => None,
        Origin::File { file, .. } => Some(folder.join(Path::new(&**file).parent()?)),
        Origin::Flag(_) => Some(folder.to_path_buf()),
        Origin::Program(_) => None,
    }
}

/// A path of a setting behind a folder, in which a dollar sign is none of a variable.
fn joined(start: &Path, text: &str) -> String {
    let start: PathBuf = start.components().collect();
    let start = start.to_string_lossy().replace('$', "$$");
    let path: PathBuf = Path::new(&start).join(text).components().collect();
    path.to_string_lossy().into_owned()
}

/// Refuses a relative path in a file that leads nowhere from there, but somewhere from the caller's folder: whoever wrote it
/// meant the latter.
///
/// # Errors
/// Says both places, and what to write.
pub(crate) fn check_starts(
    tree: &ConfigTree,
    keys: &[&str],
    folder: &Path,
) -> Result<(), LabError> {
    for &key in keys {
        let (Some(origin), Some(text)) = (tree.origin(key), tree.written(key)) else {
            continue;
        };
        let Some(start) = start(origin, folder).filter(|_| matches!(origin, Origin::File { .. }))
        else {
            continue;
        };
        let (meant, other) = (start.join(text), folder.join(text));
        if !is_relative(text) || text.contains('$') || meant.exists() || !other.exists() {
            continue;
        }
        let [meant, other] = [meant, other].map(|path| path.components().collect::<PathBuf>());
        return Err(LabError::from(ConfigErrors(vec![ConfigError {
            origin: Some(origin.clone()),
            key: key.to_string(),
            message: format!(
                "{}: a relative path in a file starts at the folder of that file, so `{text}` means `{}`, which is not there; \
                 there is `{}`: if that is meant, write it instead",
                key.strip_prefix("nas.search.loader.")
                    .or_else(|| key.strip_prefix("nas.eval.loader."))
                    .unwrap_or(key),
                meant.display(),
                other.display()
            ),
        }])));
    }
    Ok(())
}

/// The tree in which a data set has a name of its own whose format was chosen without naming it: that of the file that chose it or,
/// if it was chosen on its own, that of its folder. The default's name would be one of other data.
pub(crate) fn named(tree: ConfigTree) -> ConfigTree {
    let mut named = tree.clone();
    let paths = tree.paths();
    let sets = paths.iter().filter(|(key, _)| is_data(key));
    for (key, path) in sets {
        let section = key.strip_suffix("path").unwrap_or_default();
        let (name_key, format_key) = (format!("{section}name"), format!("{section}format"));
        let is_chosen = |key: &str| tree.origin(key).is_some_and(|at| !is_of_program(at));
        if is_chosen(&name_key) || !is_chosen(&format_key) {
            continue;
        }
        let (name, why) = match tree.origin(&format_key) {
            Some(Origin::File { file, .. }) => (
                Path::new(&**file).file_stem(),
                format!("the name of {file}, which describes the data"),
            ),
            _ => (
                Path::new(path).file_name(),
                "the name of the folder of the data".to_string(),
            ),
        };
        if let Some(name) = name
            .map(|name| name.to_string_lossy())
            .filter(|n| !n.is_empty())
        {
            named = named.with_text(&name_key, &name, Some(Origin::Program(why.into())));
        }
    }
    named
}

/// Whether a value is the program's and not the user's choice.
fn is_of_program(origin: &Origin) -> bool {
    origin.is_shipped() || matches!(origin, Origin::Program(_))
}
