//! The pictures that are meant by names of files and folders.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use archai_data::{DataError, picture};

/// The pictures below files and folders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pictures {
    /// Their files: those that were named in the order in which they were, those of a folder sorted by name.
    pub files: Vec<PathBuf>,
    /// How many files in folders are no pictures, by their names and their first bytes.
    pub others: usize,
}

/// Deepest folder below one that was named; deeper ones are loops of links.
const MAX_DEPTH: usize = 32;

/// How names of pictures end, those that cannot be read included: who puts them there wants to know that.
const ENDINGS: [&str; 15] = [
    "png", "jpg", "jpeg", "jpe", "jfif", "gif", "bmp", "webp", "tif", "tiff", "avif", "heic",
    "ppm", "pgm", "jp2",
];

impl Pictures {
    /// Finds pictures. A file that is named is one, whatever it is; in a folder and those below it, files are pictures whose
    /// names end as those of pictures do or whose first bytes are those of a picture that can be read, and hidden files are not
    /// looked at.
    ///
    /// # Errors
    /// What is not there, a folder that cannot be listed or that holds no picture.
    pub fn find<P: AsRef<Path>>(named: &[P]) -> Result<Pictures, DataError> {
        let mut found = Pictures::default();
        for path in named.iter().map(AsRef::as_ref) {
            let kind = fs::metadata(path).map_err(DataError::io("read", path))?;
            if !kind.is_dir() {
                found.files.push(path.to_owned());
                continue;
            }
            let before = (found.files.len(), found.others);
            found.walk(path, 0)?;
            if found.files.len() == before.0 {
                let others = match found.others - before.1 {
                    0 => "no file".to_owned(),
                    n => format!("{n} other files"),
                };
                return Err(DataError::Malformed {
                    path: path.to_owned(),
                    at: "its files".into(),
                    expected: "pictures, there or in folders below".into(),
                    found: others,
                    mend: "name the folder that holds the pictures".into(),
                });
            }
        }
        Ok(found)
    }

    fn walk(&mut self, folder: &Path, depth: usize) -> Result<(), DataError> {
        if depth > MAX_DEPTH {
            return Err(DataError::Malformed {
                path: folder.to_owned(),
                at: "its depth".into(),
                expected: format!("folders at most {MAX_DEPTH} deep"),
                found: "a deeper one, or a loop of links".into(),
                mend: "take the loop away, or name the folder that holds the pictures".into(),
            });
        }
        let mut paths = BTreeSet::new();
        for entry in fs::read_dir(folder).map_err(DataError::io("list", folder))? {
            let entry = entry.map_err(DataError::io("list", folder))?;
            if !entry.file_name().to_string_lossy().starts_with('.') {
                paths.insert(entry.path());
            }
        }
        for path in paths {
            if path.is_dir() {
                self.walk(&path, depth + 1)?;
            } else if is_picture(&path) {
                self.files.push(path);
            } else {
                self.others += 1;
            }
        }
        Ok(())
    }
}

fn is_picture(path: &Path) -> bool {
    let ending = path
        .extension()
        .map(|e| e.to_string_lossy().to_ascii_lowercase());
    if ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str())) {
        return true;
    }
    let mut beginning = [0; 16];
    let read = File::open(path).and_then(|mut file| file.read(&mut beginning));
    read.is_ok_and(|n| picture::is_picture(&beginning[..n]))
}
