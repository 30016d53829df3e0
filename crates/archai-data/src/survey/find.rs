//! How the files at a path are laid out: which section of a configuration reads them.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use archai_spec::settings::{self, Columns, Resize};

use super::RESOLUTIONS;
use crate::cache::Cache;
use crate::dataset::Split;
use crate::error::DataError;
use crate::files;
use crate::format::{Formats, files_of, open, some_of};
use crate::formats::UNKNOWN_CLASSES;
use crate::picture;

/// Share of the images that tests where there are no test data.
const TEST_RATIO: f64 = 0.2;

/// Names of the folders of parts, in small letters; the first one that is there counts.
const TRAIN: [&str; 2] = ["train", "training"];
const TEST: [&str; 2] = ["test", "testing"];
const VALID: [&str; 4] = ["val", "valid", "validation", "dev"];

/// The format of one folder of pictures for each class.
const FOLDERS: &str = "image_folder";

/// How the files at a path are laid out.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// A section that reads them. Size, channels and statistics are no one's choice yet.
    pub section: settings::Dataset,
    /// In a sentence.
    pub layout: String,
    /// What is not used of what lies there.
    pub notes: Vec<String>,
}

/// Finds out how the files at `path` are laid out: a folder with `train` and `test` (or `val`) folders of class folders, one
/// folder of class folders, a file of one of the formats or a folder of such files. `columns` are the names that a format
/// looks up, where they are not the usual ones.
///
/// # Errors
/// [`DataError::Io`] if nothing is there; [`DataError::Malformed`] if it is nothing that is read, with what is expected.
pub fn find(
    formats: &Formats,
    path: &Path,
    columns: Option<&Columns>,
    cache: &Cache,
) -> Result<Found, DataError> {
    let info = std::fs::metadata(path).map_err(DataError::io("read", path))?;
    match info.is_dir() {
        true => folder(formats, path, columns, cache),
        false => file(formats, path, columns, cache),
    }
}

/// A section for files of a format, with the defaults of all keys that a section may leave out.
fn section(
    path: &Path,
    name: &str,
    format: &str,
    columns: Option<&Columns>,
) -> Result<settings::Dataset, DataError> {
    let keys = serde_json::json!({
        "name": name,
        "format": format,
        "path": path.to_string_lossy(),
        "n_classes": UNKNOWN_CLASSES,
        "channels": 3,
        "size": [RESOLUTIONS[0], RESOLUTIONS[0]],
        // Readers then keep pictures as they are, whatever their size.
        "resize": "crop",
        "crop_ratio": 0.5,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.25, 0.25],
    });
    let section: settings::Dataset = serde_json::from_value(keys)
        .map_err(|error| DataError::setting("dataset", error.to_string()))?;
    Ok(settings::Dataset {
        columns: columns.cloned(),
        ..section
    })
}

/// The name of the data at a path, for run directories: that of the file or folder, in letters that every system takes.
pub fn name_of(path: &Path) -> String {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let fits = |c: char| c.is_alphanumeric() || c == '-';
    let name: String = name
        .chars()
        .map(|c| if fits(c) { c } else { '_' })
        .collect();
    match name.trim_matches('_') {
        "" => "pictures".to_owned(),
        name => name.to_owned(),
    }
}

/// The folders in a folder, by their names; hidden ones are left out.
fn folders(path: &Path) -> Result<Vec<String>, DataError> {
    let mut names = files::list(path)?;
    names.retain(|name| !name.starts_with('.') && path.join(name).is_dir());
    Ok(names)
}

/// Whether the first file in a folder, or in the folders in it, is a picture.
fn holds_pictures(path: &Path, depth: usize) -> Result<bool, DataError> {
    for name in files::list(path)? {
        let below = path.join(&name);
        if name.starts_with('.') || crate::formats::is_litter(&name) {
            continue;
        }
        if !below.is_dir() {
            return is_picture(&below);
        }
        if depth > 0 && holds_pictures(&below, depth - 1)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_picture(path: &Path) -> Result<bool, DataError> {
    let mut beginning = Vec::new();
    File::open(path)
        .and_then(|file| file.take(64).read_to_end(&mut beginning))
        .map_err(DataError::io("read", path))?;
    Ok(picture::is_picture(&beginning))
}

fn folder(
    formats: &Formats,
    path: &Path,
    columns: Option<&Columns>,
    cache: &Cache,
) -> Result<Found, DataError> {
    let names = folders(path)?;
    let part = |usual: &[&str]| {
        let named = |usual: &&str| names.iter().find(|name| name.to_lowercase() == **usual);
        usual.iter().find_map(named)
    };
    if let Some(train) = part(&TRAIN)
        && !folders(&path.join(train))?.is_empty()
    {
        return in_parts(path, train, part(&TEST), part(&VALID));
    }
    let mut classes = Vec::new();
    for name in &names {
        if holds_pictures(&path.join(name), 2)? {
            classes.push(name.clone());
        }
    }
    if classes.len() >= 2 {
        let others: Vec<&String> = names
            .iter()
            .filter(|name| !classes.contains(name))
            .collect();
        if let Some(other) = others.first() {
            return Err(DataError::Malformed {
                path: path.join(other),
                at: "its files".into(),
                expected: "pictures, as in the other folders, which are the classes".into(),
                found: "none".into(),
                mend: "put pictures there, or move the folder away".into(),
            });
        }
        let n = classes.len();
        return Ok(Found {
            section: settings::Dataset {
                train: Some(".".to_owned()),
                test_ratio: TEST_RATIO,
                n_classes: n,
                ..section(path, &name_of(path), FOLDERS, None)?
            },
            layout: format!(
                "{n} folders of pictures, one for each class; {:.0} % of each are set apart as test data",
                100.0 * TEST_RATIO
            ),
            notes: Vec::new(),
        });
    }
    of_some_format(formats, path, columns, cache)?.ok_or_else(|| nothing(path, &names))
}

fn in_parts(
    path: &Path,
    train: &str,
    test: Option<&String>,
    valid: Option<&String>,
) -> Result<Found, DataError> {
    let n_classes = folders(&path.join(train))?.len();
    let mut section = settings::Dataset {
        train: (train != TRAIN[0]).then(|| train.to_owned()),
        n_classes,
        ..section(path, &name_of(path), FOLDERS, None)?
    };
    let (mut layout, mut notes) = (
        format!("one folder of pictures for each class, below {train}/"),
        Vec::new(),
    );
    match test.or(valid) {
        None => {
            section.test_ratio = TEST_RATIO;
            layout.push_str(&format!(
                "; {:.0} % of each are set apart as test data",
                100.0 * TEST_RATIO
            ));
        }
        Some(name) => {
            section.test = (![TEST[0], VALID[0]].contains(&name.as_str())).then(|| name.clone());
            layout.push_str(&format!(" for training and below {name}/ for the test"));
        }
    }
    if let (Some(_), Some(valid)) = (test, valid) {
        notes.push(format!(
            "{valid}/ is not used: whatever is chosen by validation is chosen on a share of the training data (loader.val_ratio), so \
             that a search may learn from that share as well, and {}/ is kept for the end; --dataset.train '\"{{{train},{valid}}}\"' \
             adds {valid}/ to what is learnt from",
            test.map_or(TEST[0], String::as_str)
        ));
    }
    Ok(Found {
        section,
        layout,
        notes,
    })
}

/// The format that finds its files in a folder.
fn of_some_format(
    formats: &Formats,
    path: &Path,
    columns: Option<&Columns>,
    cache: &Cache,
) -> Result<Option<Found>, DataError> {
    let mut found: Vec<settings::Dataset> = Vec::new();
    for format in formats
        .iter()
        .filter(|format| format.needs_path() && format.name() != FOLDERS)
    {
        let section = section(path, &name_of(path), format.name(), columns)?;
        let files = format.files(&section, Split::Train);
        let is_there = |files: &Vec<PathBuf>| {
            // A format that does not look for its files would be found everywhere.
            files.iter().all(|file| file.is_file()) && !files.is_empty()
        };
        if files.as_ref().is_ok_and(is_there) {
            found.push(section);
        }
    }
    match found.len() {
        0 => Ok(None),
        1 => Ok(Some(counted(formats, found.swap_remove(0), cache)?)),
        _ => {
            let names: Vec<String> = found.into_iter().map(|section| section.format).collect();
            Err(DataError::Malformed {
                path: path.to_owned(),
                at: "its files".into(),
                expected: "data of one format".into(),
                found: format!("those of {}", names.join(" and ")),
                mend: "move some of them elsewhere, or say which format is meant in a file for --datasets".into(),
            })
        }
    }
}

/// The formats of single files, by their endings.
const ENDINGS: [(&str, &str); 6] = [
    ("parquet", "parquet"),
    ("csv", "csv"),
    ("tsv", "csv"),
    ("npz", "npz"),
    ("tar", "webdataset"),
    ("mat", "mat"),
];

fn file(
    formats: &Formats,
    path: &Path,
    columns: Option<&Columns>,
    cache: &Cache,
) -> Result<Found, DataError> {
    let ending = path
        .extension()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    let known = ENDINGS.iter().find(|(known, _)| *known == ending);
    let format = known.filter(|(_, format)| formats.get(format).is_ok());
    let (Some((_, format)), Some(folder), Some(name)) = (format, path.parent(), path.file_name())
    else {
        let endings = ENDINGS
            .iter()
            .filter(|(_, format)| formats.get(format).is_ok());
        let endings: Vec<String> = endings.map(|(ending, _)| format!(".{ending}")).collect();
        return Err(DataError::Malformed {
            path: path.to_owned(),
            at: "its name".into(),
            expected: format!("a folder, or a file whose name ends in {}", endings.join(", ")),
            found: format!(".{ending}"),
            mend: "name the folder of the pictures, or describe the data in a YAML file for --datasets".into(),
        });
    };
    let name = name.to_string_lossy().into_owned();
    let section = settings::Dataset {
        train: Some(name.clone()),
        ..section(folder, &name_of(path), format, columns)?
    };
    let mut found = counted(formats, section, cache)?;
    found.layout = format!("{}, in the file {name}", found.layout);
    Ok(found)
}

/// Counts the classes of data whose files do not tell, and sets test data apart where there are none.
fn counted(
    formats: &Formats,
    section: settings::Dataset,
    cache: &Cache,
) -> Result<Found, DataError> {
    // Whatever the size, the labels are the same.
    let small = settings::Dataset {
        size: [1, 1],
        resize: Resize::Fit,
        crop_ratio: 1.0,
        ..section.clone()
    };
    let files = match cache.is_none() {
        true => Vec::new(),
        false => files_of(formats, &small, Split::Train)?,
    };
    let n_classes = cache.known(&["classes"], &small, &files, || {
        let data = open(formats, &small, Split::Train)?;
        let labels = (0..data.len()).map(|index| data.label(index) as usize);
        let most = labels.max().map_or(0, |most| most + 1);
        Ok(most.max(data.class_names().len()))
    })?;
    let mut section = settings::Dataset {
        n_classes,
        ..section
    };
    let mut layout = format!("the format {}", section.format);
    let test = match formats.get(&section.format) {
        Ok(format) if section.train.is_none() => format.files(&section, Split::Test).is_ok(),
        _ => false,
    };
    if !test {
        section.test_ratio = TEST_RATIO;
        layout.push_str(&format!(
            "; {:.0} % of each class are set apart as test data",
            100.0 * TEST_RATIO
        ));
    }
    Ok(Found {
        section,
        layout,
        notes: Vec::new(),
    })
}

/// Nothing that is read.
fn nothing(path: &Path, folders: &[String]) -> DataError {
    let found = match folders {
        [] => "no folder in it".to_owned(),
        [one] => format!("one folder in it ({one})"),
        _ => format!("the folders {}", some_of(folders)),
    };
    DataError::Malformed {
        path: path.to_owned(),
        at: "its folders".into(),
        expected: "train/ and test/ with a folder of pictures for each class, or at least two folders of pictures, one for each \
                   class, or files of a format of `archai formats`"
            .into(),
        found,
        mend: "put the pictures of each class into a folder named after it".into(),
    }
}
