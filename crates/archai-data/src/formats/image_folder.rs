//! One folder of pictures per class, the layout of torchvision's `ImageFolder` and of ImageNet: classes are
//! numbered in the order of their names. Images are read when they are needed.
//!
//! No picture is passed over in silence. Every file in the folder of a class is one, whatever its name says; what is not is
//! an error that names it, or is left out and counted (`dataset.on_damaged`). Only hidden files (`.DS_Store`) and what Windows
//! leaves in folders (`Thumbs.db`, `desktop.ini`) are not looked at, nor are files beside the folders of classes unless they
//! are pictures, which is an error. Where `dataset.train` or `dataset.test` fits several folders, all are read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archai_spec::registry::Named;
use archai_spec::settings::{self, OnDamaged};

use super::pictures::{Digest, Judged, Pictures, ends};
use crate::dataset::{Dataset, Split};
use crate::error::DataError;
use crate::files;
use crate::format::{DataFormat, some_of};

/// Deepest folder below a class; deeper ones are loops of links.
const MAX_DEPTH: usize = 16;

/// Names, lengths, labels and bytes of all files.
const DIGEST: Digest = Digest::Encoded("archai image folder 1\n");

/// Files that systems leave in folders of pictures, in small letters.
const LITTER: [&str; 3] = ["thumbs.db", "ehthumbs.db", "desktop.ini"];

/// The format `image_folder`.
#[derive(Default)]
pub(super) struct ImageFolder {
    judged: Judged,
}

impl Named for ImageFolder {
    fn name(&self) -> &str {
        "image_folder"
    }

    fn about(&self) -> &str {
        "one folder of pictures (PNG, JPEG, WebP, BMP, GIF, TIFF) per class, below train/ and test/ (or val/)"
    }
}

impl DataFormat for ImageFolder {
    fn open(
        &self,
        dataset: &settings::Dataset,
        split: Split,
    ) -> Result<Arc<dyn Dataset>, DataError> {
        let folder = list(dataset, split)?;
        let places: Vec<(PathBuf, u32)> = match dataset.on_damaged {
            OnDamaged::Stop => return Ok(Arc::new(folder)),
            OnDamaged::Skip => first_of_classes(&folder),
        };
        let folder = folder.cleaned(&self.judged)?;
        let mut remains = vec![false; dataset.n_classes];
        for item in &folder.items {
            remains[item.label as usize] = true;
        }
        match places.iter().find(|(_, label)| !remains[*label as usize]) {
            None => Ok(Arc::new(folder)),
            Some((path, label)) => {
                let class = &folder.class_names()[*label as usize];
                let folder = path.ancestors().find(|folder| folder.ends_with(class));
                Err(no_image(folder.unwrap_or(path), "none that can be read"))
            }
        }
    }

    fn files(&self, dataset: &settings::Dataset, split: Split) -> Result<Vec<PathBuf>, DataError> {
        let folder = list(dataset, split)?;
        let paths = (0..folder.len()).map(|index| folder.path(index).to_owned());
        Ok(paths.collect())
    }

    fn keys(&self) -> &[&str] {
        &["on_damaged"]
    }
}

/// The first picture of each class that has one.
fn first_of_classes(folder: &Pictures) -> Vec<(PathBuf, u32)> {
    let mut first: Vec<(PathBuf, u32)> = Vec::new();
    for (index, item) in folder.items.iter().enumerate() {
        if first.last().is_none_or(|(_, label)| *label != item.label) {
            first.push((folder.path(index).to_owned(), item.label));
        }
    }
    first
}

/// The pictures of a part, whose names are known and whose files are not read yet.
fn list(dataset: &settings::Dataset, split: Split) -> Result<Pictures, DataError> {
    let roots = find(dataset, split)?;
    let own = classes(&roots, split)?;
    // The training data says which class has which number: a class that the test data lacks must not shift the rest.
    let counted = match split {
        Split::Train => None,
        Split::Test => match find(dataset, Split::Train) {
            Ok(train) => Some((classes(&train, Split::Train)?, train)),
            Err(DataError::Absent { .. }) => None,
            Err(error) => return Err(error),
        },
    };
    let (known, place, counted) = match &counted {
        Some((known, train)) => (known, train, Split::Train),
        None => (&own, &roots, split),
    };
    if known.len() != dataset.n_classes {
        return Err(DataError::setting(
            "dataset.n_classes",
            format!(
                "is {}, but the {} data in {} has {} class folders: {}; correct dataset.n_classes, or move away what is \
                 no class",
                dataset.n_classes,
                counted.as_str(),
                quoted(place),
                known.len(),
                some_of(known)
            ),
        ));
    }
    let mut pictures = Pictures::new(dataset, known.clone(), DIGEST);
    for class in &own {
        let Some(label) = known.iter().position(|name| name == class) else {
            let root = roots.iter().find(|root| root.join(class).is_dir());
            return Err(DataError::Malformed {
                path: root.unwrap_or(&roots[0]).clone(),
                at: "its folders".into(),
                expected: "only folders of classes that the training data has too".into(),
                found: class.clone(),
                mend: "move it away, or add its images to the training data".into(),
            });
        };
        for folder in roots.iter().map(|root| root.join(class)) {
            let mut found = Vec::new();
            if folder.is_dir() {
                walk(&folder, 0, &mut found)?;
                if found.is_empty() {
                    return Err(no_image(&folder, "none"));
                }
            }
            found.sort();
            for (folder, name) in found {
                pictures.push_file(folder.join(name), label as u32);
            }
        }
    }
    Ok(pictures)
}

fn no_image(folder: &Path, found: &str) -> DataError {
    DataError::Malformed {
        path: folder.to_owned(),
        at: "its files".into(),
        expected: "pictures (PNG, JPEG, WebP, BMP, GIF, TIFF)".into(),
        found: found.into(),
        mend: "put images of the class there, or move the folder away".into(),
    }
}

fn quoted(places: &[PathBuf]) -> String {
    let places = places.iter().map(|place| format!("'{}'", place.display()));
    places.collect::<Vec<_>>().join(" and ")
}

/// The folders of a split: all that the user's pattern fits (of alternatives in braces each must fit one), or the one that has a
/// usual name.
fn find(dataset: &settings::Dataset, split: Split) -> Result<Vec<PathBuf>, DataError> {
    let usual: &[&str] = match split {
        Split::Train => &["train"],
        Split::Test => &["test", "val"],
    };
    let patterns = split
        .pattern(dataset)
        .map_or(usual.to_vec(), |pattern| vec![pattern]);
    for pattern in &patterns {
        let problem = |problem| DataError::setting(split.key(), problem);
        let alternatives = files::alternatives(pattern).map_err(problem)?;
        let mut all = Vec::new();
        for one in &alternatives {
            let mut found = files::find(Path::new(&dataset.path), one)?;
            found.retain(|path| path.is_dir());
            if found.is_empty() && alternatives.len() > 1 {
                let looked_for = format!("{one}/ with one folder of images per class");
                return Err(files::absent(dataset, split, looked_for));
            }
            all.extend(found);
        }
        if !all.is_empty() {
            return Ok(all);
        }
    }
    let looked_for = format!(
        "{}/ with one folder of images per class",
        patterns.join("/ or ")
    );
    let mut error = files::absent(dataset, split, looked_for);
    // Where the training data are, the test data are meant to be.
    let is_right = split == Split::Test && find(dataset, Split::Train).is_ok();
    if !is_right
        && let DataError::Absent { ways_out, .. } = &mut error
        && let Some(hint) = hint(Path::new(&dataset.path), &patterns)?
    {
        *ways_out = format!("{hint}, or {ways_out}");
    }
    Err(error)
}

/// What the folder may be that was named in place of the one above the parts: a part, a class, the one above, or one without parts.
fn hint(place: &Path, patterns: &[&str]) -> Result<Option<String>, DataError> {
    let has_part = |folder: &Path| -> Result<bool, DataError> {
        for pattern in patterns {
            let found = files::find(folder, pattern)?;
            if found.iter().any(|path| path.is_dir()) {
                return Ok(true);
            }
        }
        Ok(false)
    };
    let part = patterns.join("/ or ");
    // A class lies two levels below the folder that is meant.
    for above in place.ancestors().skip(1).take(2) {
        if above != Path::new("") && has_part(above)? {
            let above = above.display();
            return Ok(Some(format!(
                "'{above}' has {part}/: set dataset.path to '{above}' if that is meant"
            )));
        }
    }
    if !place.is_dir() {
        return Ok(None);
    }
    let mut folders = files::list(place)?;
    folders.retain(|name| !name.starts_with('.') && place.join(name).is_dir());
    for name in &folders {
        let below = place.join(name);
        if has_part(&below)? {
            let below = below.display();
            return Ok(Some(format!(
                "'{below}' has {part}/: set dataset.path to '{below}' if that is meant"
            )));
        }
    }
    Ok((!folders.is_empty()).then(|| {
        format!(
            "there are the folders {}: if they are the classes, put them below {part}/",
            some_of(&folders)
        )
    }))
}

/// The names of the folders below `roots`, sorted; hidden ones are left out.
fn classes(roots: &[PathBuf], split: Split) -> Result<Vec<String>, DataError> {
    let (mut classes, mut others) = (BTreeSet::new(), Vec::new());
    for root in roots {
        for name in files::list(root)? {
            let path = root.join(&name);
            if name.starts_with('.') {
                continue;
            }
            if path.is_dir() {
                classes.insert(name);
            } else if !is_litter(&name) {
                others.push((root, name));
            }
        }
    }
    if classes.is_empty() {
        let names: Vec<String> = others.into_iter().map(|(_, name)| name).collect();
        return Err(DataError::Malformed {
            path: roots[0].clone(),
            at: "its folders".into(),
            expected: format!(
                "one folder of images per class of the {} data",
                split.as_str()
            ),
            found: match names.len() {
                0 => "nothing".to_owned(),
                n => format!("no folder, but {n} files ({})", some_of(&names)),
            },
            mend: "make a folder for each class and put its images there".into(),
        });
    }
    for (root, name) in others {
        let path = root.join(&name);
        if image::guess_format(&ends(&path, 0)?).is_ok() {
            return Err(DataError::Malformed {
                path,
                at: "its place".into(),
                expected: "images in the folders of their classes only".into(),
                found: "one beside them".into(),
                mend: "put it into the folder of its class, or move it elsewhere".into(),
            });
        }
    }
    Ok(classes.into_iter().collect())
}

/// Whether a file is there for the system, not for its user.
pub(crate) fn is_litter(name: &str) -> bool {
    name.starts_with('.') || LITTER.contains(&name.to_ascii_lowercase().as_str())
}

/// All files below `folder`, as (folder, name): each of them is a picture or an error.
fn walk(folder: &Path, depth: usize, found: &mut Vec<(PathBuf, String)>) -> Result<(), DataError> {
    if depth > MAX_DEPTH {
        let expected = format!("folders at most {MAX_DEPTH} deep");
        return Err(DataError::malformed(
            folder,
            "its depth",
            expected,
            "a deeper one, or a loop of links",
        ));
    }
    for name in files::list(folder)? {
        let path = folder.join(&name);
        if is_litter(&name) {
            continue;
        }
        match path.is_dir() {
            true => walk(&path, depth + 1, found)?,
            false => found.push((folder.to_owned(), name)),
        }
    }
    Ok(())
}
