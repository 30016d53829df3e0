//! What was found by reading data, kept in a folder, so that a second start on a large folder need not read it again.
//!
//! An entry holds for exactly the files that it was made from: their names, sizes and times are part of it, and it is not
//! believed if one of these differs. Nor is it if a file was changed less than two seconds before the entry was written, since
//! a later change could have left the same time. Entries are written beside their place and renamed, so that several programs
//! may use one folder, and all of them may be removed at any time. Nothing here is an error: what cannot be kept is read again.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use archai_spec::settings;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::dataset::{Listed, Split};
use crate::error::DataError;
use crate::format::{Contents, Formats, check_place, files_of, inspect_listed};

/// Changes of the layout of entries, or of what they mean.
const VERSION: u32 = 1;

/// How coarse the times of file systems may be.
const COARSE: Duration = Duration::from_secs(2);

/// Most pictures whose names are kept.
const MOST_LISTED: usize = 200_000;

/// A folder for what was found by reading data, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cache {
    folder: Option<PathBuf>,
}

/// An entry: what was found, and the state of the files.
#[derive(Serialize, Deserialize)]
struct Entry<T> {
    version: u32,
    files: String,
    found: T,
}

impl Cache {
    /// Keeps nothing.
    pub fn none() -> Cache {
        Cache::default()
    }

    /// Keeps what was found below this folder, which need not be there yet.
    pub fn at(folder: impl Into<PathBuf>) -> Cache {
        Cache {
            folder: Some(folder.into()),
        }
    }

    /// As [`inspect`](crate::inspect), unless the same files were looked at before.
    ///
    /// # Errors
    /// As [`inspect`](crate::inspect).
    pub fn inspect(
        &self,
        formats: &Formats,
        dataset: &settings::Dataset,
        split: Split,
    ) -> Result<Contents, DataError> {
        check_place(formats, dataset, split)?;
        let files = match self.is_none() {
            true => Vec::new(),
            false => files_of(formats, dataset, split)?,
        };
        self.known(&["contents", split.as_str()], dataset, &files, || {
            let (contents, listed) = inspect_listed(formats, dataset, split)?;
            self.keep_list(&contents.digest, &listed);
            Ok(contents)
        })
    }

    /// Whether nothing is kept, so that nobody need find out on which files something depends.
    pub(crate) fn is_none(&self) -> bool {
        self.folder.is_none()
    }

    /// What `read` finds in data, or what it found before in the same files. `what` and the section tell it from other
    /// findings; `files` are all on which it depends.
    ///
    /// # Errors
    /// Those of `read`.
    pub(crate) fn known<T: Serialize + DeserializeOwned>(
        &self,
        what: &[&str],
        dataset: &settings::Dataset,
        files: &[PathBuf],
        read: impl FnOnce() -> Result<T, DataError>,
    ) -> Result<T, DataError> {
        let Some(before) = state(files).filter(|_| !self.is_none()) else {
            return read();
        };
        let section = serde_json::to_string(dataset).unwrap_or_default();
        let name = digest(&[what, &[&section]].concat());
        if let Some(known) = self.get(&name, &before) {
            return Ok(known);
        }
        let found = read()?;
        // What changed while it was read is not known.
        if state(files).is_some_and(|after| after.digest == before.digest) {
            self.put(&name, &before, &found);
        }
        Ok(found)
    }

    /// Which pictures differ between two states of data, by the digests of their contents; none if one of them was never
    /// looked at here, or had too many pictures.
    pub fn difference(&self, then: &str, now: &str) -> Option<Difference> {
        Some(Difference::of(&self.list(then)?, &self.list(now)?))
    }

    fn place(&self, name: &str) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(format!("{name}.json")))
    }

    fn get<T: DeserializeOwned>(&self, name: &str, files: &State) -> Option<T> {
        let place = self.place(name)?;
        let written = since_1970(&fs::metadata(&place).ok()?)?;
        let entry: Entry<T> = serde_json::from_slice(&fs::read(&place).ok()?).ok()?;
        let is_old = files.newest.checked_add(COARSE)? < written;
        let holds = entry.version == VERSION && entry.files == files.digest && is_old;
        holds.then_some(entry.found)
    }

    fn put<T: Serialize>(&self, name: &str, files: &State, found: &T) {
        let entry = Entry {
            version: VERSION,
            files: files.digest.clone(),
            found,
        };
        // Who cannot keep it reads again.
        let _ = self.write(name, &entry);
    }

    fn write(&self, name: &str, what: &impl Serialize) -> Option<()> {
        let place = self.place(name)?;
        let folder = place.parent()?;
        fs::create_dir_all(folder).ok()?;
        let mut file = tempfile::NamedTempFile::new_in(folder).ok()?;
        file.write_all(&serde_json::to_vec(what).ok()?).ok()?;
        file.persist(&place).ok().map(drop)
    }

    fn keep_list(&self, digest: &str, listed: &Option<Vec<Listed>>) {
        if let Some(listed) = listed.as_ref().filter(|listed| listed.len() <= MOST_LISTED) {
            let _ = self.write(&list_name(digest), listed);
        }
    }

    fn list(&self, digest: &str) -> Option<Vec<Listed>> {
        serde_json::from_slice(&fs::read(self.place(&list_name(digest))?).ok()?).ok()
    }
}

/// A digest that comes from a record is a text like any other.
fn list_name(of: &str) -> String {
    digest(&["list", of])
}

fn digest(texts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for text in texts {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

/// Names, sizes and times of files.
struct State {
    digest: String,
    /// When the last one was changed, since 1970.
    newest: Duration,
}

/// When a file was changed.
fn since_1970(file: &fs::Metadata) -> Option<Duration> {
    file.modified().ok()?.duration_since(UNIX_EPOCH).ok()
}

/// The state of files; none where one of them has no time, or there is none.
fn state(files: &[PathBuf]) -> Option<State> {
    let mut hasher = blake3::Hasher::new();
    let mut newest = Duration::ZERO;
    for file in files {
        let found = fs::metadata(file).ok()?;
        // The time of a folder says nothing of what lies deep in it.
        if !found.is_file() {
            return None;
        }
        let since = since_1970(&found)?;
        newest = newest.max(since);
        let name = file.to_string_lossy();
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
        hasher.update(&found.len().to_le_bytes());
        hasher.update(&since.as_nanos().to_le_bytes());
    }
    (!files.is_empty()).then(|| State {
        digest: hasher.finalize().to_hex().to_string(),
        newest,
    })
}

/// Which pictures of a data set are others than before, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// That were not there.
    pub added: Vec<String>,
    /// That are not there any more.
    pub removed: Vec<String>,
    /// That have the name, but another content or class.
    pub changed: Vec<String>,
}

impl Difference {
    fn of(then: &[Listed], now: &[Listed]) -> Difference {
        let by_name = |listed: &[Listed]| -> std::collections::BTreeMap<String, Listed> {
            listed
                .iter()
                .map(|one| (one.name.clone(), one.clone()))
                .collect()
        };
        let (then, now) = (by_name(then), by_name(now));
        let mut found = Difference::default();
        for (name, one) in &now {
            match then.get(name) {
                None => found.added.push(name.clone()),
                Some(old) if old != one => found.changed.push(name.clone()),
                Some(_) => {}
            }
        }
        found.removed = then
            .into_keys()
            .filter(|name| !now.contains_key(name))
            .collect();
        found
    }
}

/// `3 added (a/1.png, a/2.png, a/3.png), 1 changed (b/7.png)`.
impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Difference {
            added,
            removed,
            changed,
        } = self;
        let told = [("added", added), ("removed", removed), ("changed", changed)];
        let told = told.into_iter().filter(|(_, names)| !names.is_empty());
        let told: Vec<String> = told
            .map(|(what, names)| {
                format!("{} {what} ({})", names.len(), crate::format::some_of(names))
            })
            .collect();
        f.write_str(&told.join(", "))
    }
}
