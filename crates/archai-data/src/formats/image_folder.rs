//! One folder of pictures per class, the layout of torchvision's `ImageFolder` and of ImageNet: classes are
//! numbered in the order of their names. Images are read when they are needed.
//!
//! No picture is passed over in silence. Every file in the folder of a class is one, whatever its name says; what is not is
//! an error that names it, or is left out and counted (`dataset.on_damaged`). Only hidden files (`.DS_Store`) and what Windows
//! leaves in folders (`Thumbs.db`, `desktop.ini`) are not looked at, nor are files beside the folders of classes unless they
//! are pictures, which is an error. Where `dataset.train` or `dataset.test` fits several folders, all are read.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use archai_spec::registry::Named;
use archai_spec::settings::{self, OnDamaged};

use crate::dataset::{Dataset, Image, Split};
use crate::error::DataError;
use crate::format::{DataFormat, some_of};
use crate::{files, in_order, picture};

/// Deepest folder below a class; deeper ones are loops of links.
const MAX_DEPTH: usize = 16;

/// The bytes of an image folder up to which all of them count in its digest and are checked. Of larger ones the beginning and
/// the end of each file are, which takes seconds instead of an hour.
const READ_WHOLE: u64 = 4 << 30;

/// As much of each end of a file.
const END: usize = 16 << 10;

/// Files that systems leave in folders of pictures, in small letters.
const LITTER: [&str; 3] = ["thumbs.db", "ehthumbs.db", "desktop.ini"];

/// The format `image_folder`.
#[derive(Default)]
pub(super) struct ImageFolder {
    judged: Judged,
}

/// Whether a file could be read, by its name, while its length and its time stay: a search may open its data many times.
type Judged = Mutex<HashMap<PathBuf, (u64, Option<Duration>, bool)>>;

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
        let folder = Folder::list(dataset, split)?;
        Ok(Arc::new(match dataset.on_damaged {
            OnDamaged::Stop => folder,
            OnDamaged::Skip => folder.without_damaged(&self.judged)?,
        }))
    }

    fn files(&self, dataset: &settings::Dataset, split: Split) -> Result<Vec<PathBuf>, DataError> {
        let folder = Folder::list(dataset, split)?;
        Ok(folder.images.into_iter().map(|(path, _)| path).collect())
    }
}

/// A folder of images, whose names are known and whose files are not read yet.
#[derive(Clone, Debug)]
struct Folder {
    name: String,
    /// What the names of files are told from.
    place: PathBuf,
    classes: Vec<String>,
    images: Vec<(PathBuf, u32)>,
    left_out: Vec<String>,
    channels: usize,
    size: [usize; 2],
}

impl Folder {
    fn list(dataset: &settings::Dataset, split: Split) -> Result<Folder, DataError> {
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
        let mut images = Vec::new();
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
                let found = found.into_iter();
                images.extend(found.map(|(folder, name)| (folder.join(name), label as u32)));
            }
        }
        Ok(Folder {
            name: dataset.name.clone(),
            place: PathBuf::from(&dataset.path),
            classes: known.clone(),
            images,
            left_out: Vec::new(),
            channels: dataset.channels,
            size: dataset.size,
        })
    }

    /// Without what cannot be read, which is found by reading all of it.
    fn without_damaged(self, judged: &Judged) -> Result<Folder, DataError> {
        let judged = || judged.lock().unwrap_or_else(PoisonError::into_inner);
        let is_good = in_order::map(self.images.len(), |index| {
            let path = &self.images[index].0;
            let found = fs::metadata(path).map_err(DataError::io("read", path))?;
            let length = found.len();
            let time =
                (found.modified().ok()).and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            if let Some(&(old_length, old_time, is_good)) = judged().get(path)
                && (old_length, old_time) == (length, time)
                && time.is_some()
            {
                return Ok(is_good);
            }
            let at = || "byte 0".to_owned();
            let read = picture::bytes(path).and_then(|bytes| {
                picture::check(path, &at, &bytes)?;
                picture::decode(path, &at, &bytes)
            });
            let is_good = match read {
                Ok(_) => true,
                Err(DataError::Malformed { .. }) => false,
                // A disk that fails does not fail in the same way twice.
                Err(error) => return Err(error),
            };
            judged().insert(path.clone(), (length, time, is_good));
            Ok(is_good)
        })?;
        let (mut images, mut left_out) = (Vec::new(), Vec::new());
        let mut remains = vec![false; self.classes.len()];
        for (image, is_good) in self.images.iter().zip(is_good) {
            match is_good {
                true => {
                    remains[image.1 as usize] = true;
                    images.push(image.clone());
                }
                false => left_out.push(self.relative(&image.0)),
            }
        }
        if let Some((path, label)) = self
            .images
            .iter()
            .find(|(_, label)| !remains[*label as usize])
        {
            let class = &self.classes[*label as usize];
            let folder = path.ancestors().find(|folder| folder.ends_with(class));
            return Err(no_image(folder.unwrap_or(path), "none that can be read"));
        }
        Ok(Folder {
            images,
            left_out,
            ..self
        })
    }

    /// The name of a file in the data set.
    fn relative(&self, path: &Path) -> String {
        let path = path.strip_prefix(&self.place).unwrap_or(path);
        path.to_string_lossy().replace('\\', "/")
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
        self.classes.len()
    }

    fn label(&self, index: usize) -> u32 {
        self.images[index].1
    }

    fn image(&self, index: usize) -> Result<Image<'_>, DataError> {
        let path = &self.images[index].0;
        let at = || "byte 0".to_owned();
        let image = picture::read(path)?;
        picture::fit(path, &at, image, self.channels, self.size)
    }

    fn class_names(&self) -> &[String] {
        &self.classes
    }

    fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// Of the names, lengths, labels and bytes of all files; of folders above [`READ_WHOLE`], of both ends of each file.
    fn digest(&self) -> Result<String, DataError> {
        let n = self.images.len();
        let lengths = in_order::map(n, |index| length(&self.images[index].0))?;
        let is_read_whole = lengths.iter().fold(0, |sum, n| n.saturating_add(sum)) <= READ_WHOLE;
        let digests = in_order::map(n, |index| {
            let path = &self.images[index].0;
            let at = || "byte 0".to_owned();
            if is_read_whole {
                let bytes = picture::bytes(path)?;
                picture::check(path, &at, &bytes)?;
                return Ok(blake3::hash(&bytes));
            }
            let ends = ends(path, lengths[index])?;
            picture::check_kind(path, &at, &ends)?;
            Ok(blake3::hash(&ends))
        })?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"archai image folder 1\n");
        for (((path, label), length), digest) in self.images.iter().zip(&lengths).zip(&digests) {
            let name = self.relative(path);
            hasher.update(format!("{label} {length} {}\n", digest.to_hex()).as_bytes());
            hasher.update(format!("{} {name}\n", name.len()).as_bytes());
        }
        Ok(hasher.finalize().to_hex().to_string())
    }
}

fn length(path: &Path) -> Result<u64, DataError> {
    let found = fs::metadata(path).map_err(DataError::io("read", path))?;
    Ok(found.len())
}

/// The beginning of a file of `length` bytes and its end, or all of it if it is short.
fn ends(path: &Path, length: u64) -> Result<Vec<u8>, DataError> {
    let mut file = File::open(path).map_err(DataError::io("open", path))?;
    let mut bytes = Vec::new();
    let mut read = |file: &mut File| file.take(END as u64).read_to_end(&mut bytes);
    let rest = length.saturating_sub(END as u64).max(END as u64);
    read(&mut file)
        .and_then(|_| file.seek(SeekFrom::Start(rest)))
        .and_then(|_| read(&mut file))
        .map_err(DataError::io("read", path))?;
    Ok(bytes)
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

/// The folders of a split: all that the user's pattern fits, or the one that has a usual name.
fn find(dataset: &settings::Dataset, split: Split) -> Result<Vec<PathBuf>, DataError> {
    let usual: &[&str] = match split {
        Split::Train => &["train"],
        Split::Test => &["test", "val"],
    };
    let patterns = split
        .pattern(dataset)
        .map_or(usual.to_vec(), |pattern| vec![pattern]);
    for pattern in &patterns {
        let mut found = files::find(Path::new(&dataset.path), pattern)?;
        found.retain(|path| path.is_dir());
        if !found.is_empty() {
            return Ok(found);
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
fn is_litter(name: &str) -> bool {
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
