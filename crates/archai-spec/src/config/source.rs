//! Where configuration files come from. Loading asks a [`FileSource`], so that it can be tested on strings and so that
//! the files shipped with the program need no directory.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

/// Prefix of the names of shipped files: `archai:algos/common.yaml`.
pub(super) const SHIPPED: &str = "archai:";

/// Gives the text of a configuration file by its name.
pub trait FileSource {
    /// Reads a file. Names that start with `archai:` are shipped files.
    ///
    /// # Errors
    /// What the file system says, or that there is no such shipped file.
    fn read(&self, name: &str) -> io::Result<String>;

    /// Whether a file that the configuration `top` includes, at any depth, may be read. Sources without folders allow all.
    ///
    /// # Errors
    /// That it may not, and why.
    fn check_include(&self, top: &str, included: &str) -> io::Result<()> {
        let _ = (top, included);
        Ok(())
    }

    /// Names of the files that come with the program, as `archai:…`: the error for a file that cannot be read suggests
    /// one of them.
    fn shipped(&self) -> Vec<String> {
        shipped_files().collect()
    }
}

/// Most bytes of a configuration file; real ones have a few thousand.
const MAX_FILE: u64 = 16 << 20;

/// Shipped files and the file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Files;

impl FileSource for Files {
    fn read(&self, name: &str) -> io::Result<String> {
        if name.starts_with(SHIPPED) {
            Shipped.read(name)
        } else {
            let mut text = String::new();
            let file = std::fs::File::open(name)?;
            file.take(MAX_FILE + 1).read_to_string(&mut text)?;
            if text.len() as u64 > MAX_FILE {
                let message = format!("it has more than {} MiB", MAX_FILE >> 20);
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
            }
            Ok(text)
        }
    }

    /// A configuration from elsewhere must not read other files of whoever runs it. Included files lie below the folder of
    /// the configuration or, if that lies below the working folder, anywhere below the latter; links count as what they
    /// lead to.
    fn check_include(&self, top: &str, included: &str) -> io::Result<()> {
        if included.starts_with(SHIPPED) {
            return Ok(());
        }
        let folder = match Path::new(top).parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let mut root = folder.canonicalize()?;
        let working = Path::new(".").canonicalize()?;
        if root.starts_with(&working) {
            root = working;
        }
        let file = Path::new(included).canonicalize()?;
        if file.starts_with(&root) {
            return Ok(());
        }
        let message = format!(
            "it lies outside of {}; a configuration includes only files below its own folder or below the working folder",
            root.display()
        );
        Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
    }
}

/// Shipped files only.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shipped;

impl FileSource for Shipped {
    fn read(&self, name: &str) -> io::Result<String> {
        let found = name
            .strip_prefix(SHIPPED)
            .and_then(|path| FILES.iter().find(|(known, _)| *known == path));
        found
            .map(|(_, text)| (*text).to_owned())
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no shipped file has this name"))
    }
}

/// Texts under names of their own, on top of another source: how the files of algorithms and spaces join those of this
/// crate.
///
/// ```
/// use archai_spec::config::{AddedFiles, FileSource, Shipped};
///
/// let files = [("archai:algos/mine.yaml".to_string(), "common: {seed: 5}")];
/// let source = AddedFiles::new(files, &Shipped);
/// assert!(source.read("archai:algos/mine.yaml").is_ok());
/// assert!(source.read("archai:algos/common.yaml").is_ok());
/// ```
pub struct AddedFiles<'a> {
    texts: Vec<(String, Cow<'a, str>)>,
    rest: &'a dyn FileSource,
}

impl<'a> AddedFiles<'a> {
    /// `texts` by their names; every other file comes from `rest`.
    pub fn new<T: Into<Cow<'a, str>>>(
        texts: impl IntoIterator<Item = (String, T)>,
        rest: &'a dyn FileSource,
    ) -> Self {
        let texts = texts.into_iter().map(|(name, text)| (name, text.into()));
        AddedFiles {
            texts: texts.collect(),
            rest,
        }
    }

    fn has(&self, name: &str) -> bool {
        self.texts.iter().any(|(known, _)| known == name)
    }
}

impl FileSource for AddedFiles<'_> {
    fn read(&self, name: &str) -> io::Result<String> {
        let mut found = self.texts.iter().filter(|(known, _)| known == name);
        let Some((_, text)) = found.next() else {
            return self.rest.read(name);
        };
        if found.next().is_some() || self.rest.shipped().iter().any(|known| known == name) {
            let message = "two files have this name; rename what the program adds";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
        }
        Ok(text.to_string())
    }

    fn check_include(&self, top: &str, included: &str) -> io::Result<()> {
        // A text that is part of the program has no folder, and what it includes is the program's choice.
        if self.has(top) || self.has(included) {
            return Ok(());
        }
        self.rest.check_include(top, included)
    }

    fn shipped(&self) -> Vec<String> {
        let mut names = self.rest.shipped();
        names.extend(self.texts.iter().map(|(name, _)| name.clone()));
        names
    }
}

/// Texts by name, and the shipped files: for tests.
impl FileSource for BTreeMap<String, String> {
    fn read(&self, name: &str) -> io::Result<String> {
        match self.get(name) {
            Some(text) => Ok(text.clone()),
            None => Shipped.read(name),
        }
    }
}

macro_rules! shipped {
    ($($path:literal),* $(,)?) => {
        /// The shipped files by their path below `confs/`.
        const FILES: &[(&str, &str)] = &[$(($path, include_str!(concat!("../../../../confs/", $path)))),*];
    };
}

shipped![
    "algos/common.yaml",
    "datasets/aircraft.yaml",
    "datasets/cifar10.yaml",
    "datasets/cifar100.yaml",
    "datasets/fashion_mnist.yaml",
    "datasets/fashion_mnist_mini.yaml",
    "datasets/flower102.yaml",
    "datasets/food101.yaml",
    "datasets/imagenet.yaml",
    "datasets/mit67.yaml",
    "datasets/mnist.yaml",
    "datasets/sport8.yaml",
    "datasets/stanfordcars.yaml",
    "datasets/svhn.yaml",
    "spaces/nasbench101.yaml",
    "smoke.yaml",
    "trials.yaml",
    "trials_toy.yaml",
    "toy.yaml",
];

/// Names of the shipped files that belong to no list, as `archai:…`. Those of algorithms and spaces are [`AddedFiles`].
fn shipped_files() -> impl Iterator<Item = String> {
    FILES.iter().map(|(path, _)| format!("{SHIPPED}{path}"))
}

/// Names of the shipped data sets, for example `cifar10`, which is described in `archai:datasets/cifar10.yaml`.
pub fn shipped_datasets() -> impl Iterator<Item = &'static str> {
    FILES
        .iter()
        .filter_map(|(path, _)| path.strip_prefix("datasets/")?.strip_suffix(".yaml"))
}

/// The name of an included file: relative names start at the including file's folder. The result has no `.` and `..`
/// where they can be resolved, so that one file has one name.
pub(super) fn join(including: &str, included: &str) -> String {
    if included.starts_with(SHIPPED) {
        return included.to_owned();
    }
    let (scheme, including) = match including.strip_prefix(SHIPPED) {
        Some(path) => (SHIPPED, path),
        None => ("", including),
    };
    if std::path::Path::new(included).is_absolute() {
        return clean(included);
    }
    let folder = including
        .rfind(['/', std::path::MAIN_SEPARATOR])
        .map_or("", |end| &including[..=end]);
    format!("{scheme}{}", clean(&format!("{folder}{included}")))
}

fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    format!("{}{}", if rooted { "/" } else { "" }, parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn included_names_start_at_the_including_file() {
        let table = [
            ("a.yaml", "b.yaml", "b.yaml"),
            ("x/a.yaml", "b.yaml", "x/b.yaml"),
            ("x/a.yaml", "../b.yaml", "b.yaml"),
            ("x/a.yaml", "./y/../b.yaml", "x/b.yaml"),
            ("../a.yaml", "../b.yaml", "../../b.yaml"),
            ("/x/a.yaml", "../../b.yaml", "/b.yaml"),
            ("x/a.yaml", "/y/b.yaml", "/y/b.yaml"),
            ("archai:algos/a.yaml", "b.yaml", "archai:algos/b.yaml"),
            ("archai:algos/a.yaml", "../toy.yaml", "archai:toy.yaml"),
            ("x/a.yaml", "archai:algos/b.yaml", "archai:algos/b.yaml"),
        ];
        for (including, included, expect) in table {
            assert_eq!(
                join(including, included),
                expect,
                "{included} in {including}"
            );
        }
    }
}
