//! One folder of PNG or JPEG files per class, the layout of torchvision's `ImageFolder` and of ImageNet: classes are
//! numbered in the order of their names. Images are read when they are needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archai_spec::registry::Named;
use archai_spec::settings;

use crate::dataset::{Dataset, Image, Split};
use crate::error::DataError;
use crate::format::DataFormat;
use crate::{files, picture};

/// Largest image file that is read.
const MAX_FILE: u64 = 256 << 20;

/// Deepest folder below a class; deeper ones are loops of links.
const MAX_DEPTH: usize = 16;

/// The format `image_folder`.
pub(super) struct ImageFolder;

impl Named for ImageFolder {
    fn name(&self) -> &str {
        "image_folder"
    }

    fn about(&self) -> &str {
        "one folder of PNG or JPEG files per class, below train/ and test/ (or val/)"
    }
}

impl DataFormat for ImageFolder {
    fn open(
        &self,
        dataset: &settings::Dataset,
        split: Split,
    ) -> Result<Arc<dyn Dataset>, DataError> {
        Ok(Arc::new(Folder::open(dataset, split)?))
    }

    fn files(&self, dataset: &settings::Dataset, split: Split) -> Result<Vec<PathBuf>, DataError> {
        let folder = Folder::open(dataset, split)?;
        Ok(folder.images.into_iter().map(|(path, _)| path).collect())
    }
}

/// A folder of images, whose names are known and whose files are not read yet.
#[derive(Clone, Debug)]
struct Folder {
    name: String,
    n_classes: usize,
    images: Vec<(PathBuf, u32)>,
    channels: usize,
    size: [usize; 2],
}

impl Folder {
    fn open(dataset: &settings::Dataset, split: Split) -> Result<Folder, DataError> {
        let root = find(dataset, split)?;
        let classes = folders(&root)?;
        // The training data says which class has which number: a class that the test data lacks must not shift the rest.
        let known = match split {
            Split::Train => classes.clone(),
            Split::Test => {
                find(dataset, Split::Train).map_or(Ok(classes.clone()), |train| folders(&train))?
            }
        };
        if known.len() != dataset.n_classes {
            return Err(DataError::setting(
                "dataset.n_classes",
                format!(
                    "is {}, but '{}' has {} class folders",
                    dataset.n_classes,
                    root.display(),
                    known.len()
                ),
            ));
        }
        let mut images = Vec::new();
        for class in classes {
            let Some(label) = known.iter().position(|name| *name == class) else {
                let expected = "only folders of classes that the training data has too";
                return Err(DataError::malformed(&root, "its folders", expected, class));
            };
            let folder = root.join(&class);
            let mut found = Vec::new();
            walk(&folder, 0, &mut found)?;
            if found.is_empty() {
                return Err(DataError::malformed(
                    &folder,
                    "its files",
                    "PNG or JPEG images",
                    "none",
                ));
            }
            found.sort();
            images.extend(
                found
                    .into_iter()
                    .map(|(folder, name)| (folder.join(name), label as u32)),
            );
        }
        let (name, channels, size) = (dataset.name.clone(), dataset.channels, dataset.size);
        Ok(Folder {
            name,
            n_classes: known.len(),
            images,
            channels,
            size,
        })
    }
}

impl Dataset for Folder {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> usize {
        self.images.len()
    }

    fn n_classes(&self) -> usize {
        self.n_classes
    }

    fn label(&self, index: usize) -> u32 {
        self.images[index].1
    }

    fn image(&self, index: usize) -> Result<Image<'_>, DataError> {
        let path = &self.images[index].0;
        let length = fs::metadata(path)
            .map_err(DataError::io("read", path))?
            .len();
        if length > MAX_FILE {
            let expected = format!("at most {} MiB", MAX_FILE >> 20);
            return Err(DataError::malformed(
                path,
                "its length",
                expected,
                format!("{length} bytes"),
            ));
        }
        let bytes = fs::read(path).map_err(DataError::io("read", path))?;
        let at = || "byte 0".to_owned();
        let image = picture::decode(path, &at, &bytes)?;
        picture::fit(path, &at, image, self.channels, self.size)
    }
}

/// The folder of a split.
fn find(dataset: &settings::Dataset, split: Split) -> Result<PathBuf, DataError> {
    let usual: &[&str] = match split {
        Split::Train => &["train"],
        Split::Test => &["test", "val"],
    };
    let patterns = split
        .pattern(dataset)
        .map_or(usual.to_vec(), |pattern| vec![pattern]);
    for pattern in &patterns {
        if let Some(found) = files::find(Path::new(&dataset.path), pattern)?
            .into_iter()
            .find(|path| path.is_dir())
        {
            return Ok(found);
        }
    }
    Err(files::absent(
        dataset,
        split,
        format!(
            "{}/ with one folder of images per class",
            patterns.join("/ or ")
        ),
    ))
}

/// The names of the folders below `root`, sorted; hidden ones are left out.
fn folders(root: &Path) -> Result<Vec<String>, DataError> {
    let names = files::list(root)?;
    Ok(names
        .into_iter()
        .filter(|name| !name.starts_with('.') && root.join(name).is_dir())
        .collect())
}

/// All images below `folder`, as (folder, name). Files that are no pictures at all (lists, licences, hidden files) are
/// passed over; pictures in formats that cannot be read are an error, for they would be missing.
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
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            walk(&path, depth + 1, found)?;
            continue;
        }
        let extension = Path::new(&name)
            .extension()
            .and_then(|e| e.to_str())
            .unwrap_or_default()
            .to_ascii_lowercase();
        match extension.as_str() {
            "png" | "jpg" | "jpeg" => found.push((folder.to_owned(), name)),
            "bmp" | "gif" | "tif" | "tiff" | "webp" | "ppm" | "pgm" | "avif" => {
                return Err(DataError::Malformed {
                    path,
                    at: "its name".into(),
                    expected: "a PNG or JPEG image".into(),
                    found: format!(".{extension}"),
                    mend: "convert it, or move it out of the folder".into(),
                });
            }
            _ => {}
        }
    }
    Ok(())
}
