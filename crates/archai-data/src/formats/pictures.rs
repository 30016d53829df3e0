//! A list of encoded pictures: where each of them lies and its label. What a picture shows is read when it is needed, so a
//! list takes memory for names alone, whatever the number and the size of its pictures. Folders, tables of paths, archives
//! and parquet tables are such lists; their readers say where pictures lie, and everything else is here.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use archai_spec::settings::{self, OnDamaged};
use tempfile::SpooledTempFile;

use crate::dataset::{Dataset, Encoded, Image, Listed, PixelHasher};
use crate::error::DataError;
use crate::picture::Decoder;
use crate::{in_order, picture};

/// The bytes of a list up to which all of them count in its digest and are checked. Of larger ones the beginning and the end
/// of each picture are, which takes seconds instead of an hour.
const READ_WHOLE: u64 = 4 << 30;

/// As much of each end of a picture.
const END: u64 = 16 << 10;

/// Largest picture within a file that holds several.
const MAX_PART: u64 = 256 << 20;

/// A list of encoded pictures, which are decoded when they are needed.
pub(super) struct Pictures {
    section: settings::Dataset,
    classes: Vec<String>,
    holders: Vec<Holder>,
    pub(super) items: Vec<Item>,
    left_out: Vec<String>,
    digest: Digest,
}

/// A picture of the list.
#[derive(Clone, Debug)]
pub(super) struct Item {
    place: Place,
    pub(super) label: u32,
}

/// Where a picture lies.
#[derive(Clone, Debug)]
enum Place {
    /// In a file of its own.
    File(PathBuf),
    /// In a holder, by its number: which of its bytes they are, and what the holder calls them.
    Part {
        holder: usize,
        start: u64,
        length: u64,
        name: Box<str>,
    },
}

/// What holds many pictures.
pub(super) struct Holder {
    /// The file that the pictures come from.
    path: PathBuf,
    /// Where its pictures were unpacked to, unless they lie in the file as they are.
    unpacked: Option<Arc<Unpacked>>,
}

/// Which bytes a digest is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Digest {
    /// Names, labels and encoded bytes, after this line, which tells one kind of list from another.
    Encoded(&'static str),
    /// Labels and pixels, as of images in memory.
    Pixels,
}

/// Whether a picture could be read, by its place, while the length and the time of its file stay: a search may open its data
/// many times.
pub(super) type Judged = Mutex<HashMap<(PathBuf, u64), (u64, Option<Duration>, bool)>>;

/// A picture's place, and the length and the time of its file.
type Stamp = ((PathBuf, u64), u64, Option<Duration>);

impl Pictures {
    /// No pictures yet. Names of classes in the order of their labels, or none.
    pub(super) fn new(section: &settings::Dataset, classes: Vec<String>, digest: Digest) -> Self {
        Pictures {
            section: section.clone(),
            classes,
            holders: Vec::new(),
            items: Vec::new(),
            left_out: Vec::new(),
            digest,
        }
    }

    /// Adds a picture that is a file.
    pub(super) fn push_file(&mut self, path: PathBuf, label: u32) {
        let place = Place::File(path);
        self.items.push(Item { place, label });
    }

    /// Adds what holds pictures, and gives its number.
    pub(super) fn hold(&mut self, holder: Holder) -> usize {
        self.holders.push(holder);
        self.holders.len() - 1
    }

    /// Adds a picture that is a part of a holder.
    ///
    /// # Errors
    /// [`DataError::Malformed`] if it is larger than any picture.
    pub(super) fn push_part(
        &mut self,
        holder: usize,
        bytes: std::ops::Range<u64>,
        name: impl Into<Box<str>>,
        label: u32,
    ) -> Result<(), DataError> {
        let (start, length) = (bytes.start, bytes.end.saturating_sub(bytes.start));
        let place = Place::Part {
            holder,
            start,
            length,
            name: name.into(),
        };
        self.items.push(Item { place, label });
        if length > MAX_PART {
            let index = self.items.len() - 1;
            let expected = format!("pictures of at most {} MiB", MAX_PART >> 20);
            let found = format!("{length} bytes");
            return Err(DataError::malformed(
                self.path(index),
                self.at(index),
                expected,
                found,
            ));
        }
        Ok(())
    }

    /// What `dataset.on_damaged` says about pictures that cannot be read: nothing is done about them here, or they are left
    /// out, for which all are read once.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub(super) fn cleaned(self, judged: &Judged) -> Result<Pictures, DataError> {
        match self.section.on_damaged {
            OnDamaged::Stop => Ok(self),
            OnDamaged::Skip => self.without_damaged(judged),
        }
    }

    fn without_damaged(mut self, judged: &Judged) -> Result<Pictures, DataError> {
        let judged = || judged.lock().unwrap_or_else(PoisonError::into_inner);
        let is_good = in_order::map(self.items.len(), |index| {
            let known = self.stamp(index)?;
            if let Some((place, length, time)) = &known
                && let Some(&(old_length, old_time, is_good)) = judged().get(place)
                && (old_length, old_time) == (*length, *time)
                && time.is_some()
            {
                return Ok(is_good);
            }
            let is_good = match self.decodes(index) {
                Ok(()) => true,
                Err(DataError::Malformed { .. }) => false,
                // A disk that fails does not fail in the same way twice.
                Err(error) => return Err(error),
            };
            if let Some((place, length, time)) = known {
                judged().insert(place, (length, time, is_good));
            }
            Ok(is_good)
        })?;
        let bad = (0..is_good.len()).filter(|&index| !is_good[index]);
        self.left_out = bad.map(|index| self.display(index)).collect();
        let mut is_good = is_good.into_iter();
        self.items.retain(|_| is_good.next().unwrap_or_default());
        Ok(self)
    }

    /// What tells a picture's file from a changed one, where the picture lies in a file of the user's.
    fn stamp(&self, index: usize) -> Result<Option<Stamp>, DataError> {
        let (path, start) = match &self.items[index].place {
            Place::File(path) => (path, 0),
            Place::Part { holder, start, .. } => match &self.holders[*holder] {
                Holder {
                    path,
                    unpacked: None,
                } => (path, *start),
                _ => return Ok(None),
            },
        };
        let found = fs::metadata(path).map_err(DataError::io("read", path))?;
        let time = (found.modified().ok()).and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Ok(Some(((path.clone(), start), found.len(), time)))
    }

    fn decodes(&self, index: usize) -> Result<(), DataError> {
        let bytes = self.bytes(index)?;
        let (path, at) = (self.path(index), || self.at(index));
        picture::check(path, &at, &bytes)?;
        picture::decode(path, &at, &bytes).map(drop)
    }

    /// The file that a picture comes from.
    pub(super) fn path(&self, index: usize) -> &Path {
        match &self.items[index].place {
            Place::File(path) => path,
            Place::Part { holder, .. } => &self.holders[*holder].path,
        }
    }

    /// Where in its file a picture lies, for messages.
    fn at(&self, index: usize) -> String {
        match &self.items[index].place {
            Place::File(_) => "byte 0".to_owned(),
            Place::Part { name, .. } => name.to_string(),
        }
    }

    /// The name of a picture in the data set.
    fn display(&self, index: usize) -> String {
        let path = self.path(index);
        let path = path.strip_prefix(&self.section.path).unwrap_or(path);
        let path = path.to_string_lossy().replace('\\', "/");
        match &self.items[index].place {
            Place::File(_) => path,
            Place::Part { name, .. } => format!("{path} {name}"),
        }
    }

    fn length(&self, index: usize) -> Result<u64, DataError> {
        match &self.items[index].place {
            Place::File(path) => {
                let found = fs::metadata(path).map_err(DataError::io("read", path))?;
                Ok(found.len())
            }
            Place::Part { length, .. } => Ok(*length),
        }
    }

    /// A picture as it is encoded.
    fn bytes(&self, index: usize) -> Result<Vec<u8>, DataError> {
        match &self.items[index].place {
            Place::File(path) => picture::bytes(path),
            Place::Part {
                holder,
                start,
                length,
                ..
            } => {
                let mut bytes = Vec::new();
                self.holders[*holder].read(*start, *length, &mut bytes)?;
                Ok(bytes)
            }
        }
    }

    /// The beginning of a picture of `length` bytes and its end, or all of it if it is short.
    fn ends(&self, index: usize, length: u64) -> Result<Vec<u8>, DataError> {
        match &self.items[index].place {
            Place::File(path) => ends(path, length),
            Place::Part { holder, start, .. } => {
                let mut bytes = Vec::new();
                let holder = &self.holders[*holder];
                holder.read(*start, length.min(END), &mut bytes)?;
                let rest = length.saturating_sub(END).max(END);
                if rest < length {
                    holder.read(start + rest, length - rest, &mut bytes)?;
                }
                Ok(bytes)
            }
        }
    }

    fn digest_of_pixels(&self) -> Result<String, DataError> {
        let mut hasher = PixelHasher::new();
        for index in 0..self.items.len() {
            hasher.add(&self.image(index)?, self.items[index].label);
        }
        Ok(hasher.finish())
    }

    fn digest_of_bytes(&self, kind: &str) -> Result<(String, Vec<Listed>), DataError> {
        let n = self.items.len();
        let lengths = in_order::map(n, |index| self.length(index))?;
        let is_read_whole = lengths.iter().fold(0, |sum, n| n.saturating_add(sum)) <= READ_WHOLE;
        let digests = in_order::map(n, |index| {
            let (path, at) = (self.path(index), || self.at(index));
            if is_read_whole {
                let bytes = self.bytes(index)?;
                picture::check(path, &at, &bytes)?;
                return Ok(blake3::hash(&bytes));
            }
            let ends = self.ends(index, lengths[index])?;
            picture::check_kind(path, &at, &ends)?;
            Ok(blake3::hash(&ends))
        })?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(kind.as_bytes());
        let mut listed = Vec::with_capacity(n);
        for (index, (length, digest)) in lengths.iter().zip(&digests).enumerate() {
            let (label, name) = (self.items[index].label, self.display(index));
            hasher.update(format!("{label} {length} {}\n", digest.to_hex()).as_bytes());
            hasher.update(format!("{} {name}\n", name.len()).as_bytes());
            listed.push(Listed {
                name,
                label,
                digest: digest.to_hex()[..16].to_owned(),
            });
        }
        Ok((hasher.finalize().to_hex().to_string(), listed))
    }
}

impl Dataset for Pictures {
    fn name(&self) -> &str {
        &self.section.name
    }

    fn len(&self) -> usize {
        self.items.len()
    }

    fn n_classes(&self) -> usize {
        self.section.n_classes
    }

    fn label(&self, index: usize) -> u32 {
        self.items[index].label
    }

    fn image(&self, index: usize) -> Result<Image<'_>, DataError> {
        let bytes = self.bytes(index)?;
        let (path, at) = (self.path(index), || self.at(index));
        Decoder::new(&self.section).decode(path, &at, &bytes)
    }

    fn encoded(&self, index: usize) -> Option<Result<Encoded, DataError>> {
        Some(self.bytes(index).map(|bytes| Encoded {
            path: self.path(index).to_owned(),
            at: self.at(index),
            bytes,
        }))
    }

    fn file(&self, index: usize) -> Option<&Path> {
        match &self.items[index].place {
            Place::File(path) => Some(path),
            Place::Part { .. } => None,
        }
    }

    fn item_name(&self, index: usize) -> Option<String> {
        Some(self.display(index))
    }

    fn class_names(&self) -> &[String] {
        &self.classes
    }

    fn left_out(&self) -> &[String] {
        &self.left_out
    }

    fn digest_listed(&self) -> Result<(String, Option<Vec<Listed>>), DataError> {
        match self.digest {
            Digest::Encoded(kind) => {
                let (digest, listed) = self.digest_of_bytes(kind)?;
                Ok((digest, Some(listed)))
            }
            Digest::Pixels => Ok((self.digest_of_pixels()?, None)),
        }
    }

    fn digest(&self) -> Result<String, DataError> {
        match self.digest {
            Digest::Encoded(kind) => self.digest_of_bytes(kind).map(|(digest, _)| digest),
            Digest::Pixels => self.digest_of_pixels(),
        }
    }
}

impl Holder {
    /// A file in which pictures lie as they are. It is opened anew for each of them, so that several threads may read.
    pub(super) fn file(path: PathBuf) -> Holder {
        Holder {
            path,
            unpacked: None,
        }
    }

    /// Pictures that were unpacked from a file.
    pub(super) fn unpacked(path: PathBuf, unpacked: Arc<Unpacked>) -> Holder {
        Holder {
            path,
            unpacked: Some(unpacked),
        }
    }

    fn read(&self, start: u64, length: u64, bytes: &mut Vec<u8>) -> Result<(), DataError> {
        let io = |action| DataError::io(action, &self.path);
        let before = bytes.len() as u64;
        let mut read = |from: &mut dyn Read| from.take(length).read_to_end(bytes);
        match &self.unpacked {
            None => {
                let mut file = File::open(&self.path).map_err(io("open"))?;
                file.seek(SeekFrom::Start(start))
                    .and_then(|_| read(&mut file))
                    .map_err(io("read"))?;
            }
            Some(unpacked) => {
                let mut file = unpacked.lock();
                file.seek(SeekFrom::Start(start))
                    .and_then(|_| read(&mut *file))
                    .map_err(io("read what was unpacked from"))?;
            }
        }
        let read = bytes.len() as u64 - before;
        if read < length {
            return Err(DataError::malformed(
                &self.path,
                format!("byte {}", start + read),
                format!("{} more bytes of a picture", length - read),
                "the end of the file",
            ));
        }
        Ok(())
    }
}

/// Pictures that were unpacked: in memory, or, if they are many, in a file without a name, which goes with the value.
pub(super) struct Unpacked {
    file: Mutex<SpooledTempFile>,
    length: u64,
}

impl Unpacked {
    /// Nothing yet. A file that is needed lies in `folder`, where the data are, for the system's folder of temporary files may
    /// be in memory itself; where nothing can be written, in the latter.
    /// What takes more than `in_memory` bytes lies in the file.
    pub(super) fn new(folder: &Path, in_memory: usize) -> Unpacked {
        let file = match tempfile::tempfile_in(folder) {
            Ok(_) => SpooledTempFile::new_in(in_memory, folder),
            Err(_) => SpooledTempFile::new(in_memory),
        };
        Unpacked {
            file: Mutex::new(file),
            length: 0,
        }
    }

    /// Adds a picture that came from the file at `path`, and says where it lies.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn push(
        &mut self,
        path: &Path,
        bytes: &[u8],
    ) -> Result<std::ops::Range<u64>, DataError> {
        let start = self.length;
        let mut file = self.lock();
        file.seek(SeekFrom::Start(start))
            .and_then(|_| file.write_all(bytes))
            .map_err(DataError::io("write the pictures unpacked from", path))?;
        drop(file);
        self.length += bytes.len() as u64;
        Ok(start..self.length)
    }

    /// Whether they lie in a file.
    #[cfg(test)]
    pub(super) fn is_in_file(&self) -> bool {
        self.lock().is_rolled()
    }

    fn lock(&self) -> MutexGuard<'_, SpooledTempFile> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The beginning of a file of `length` bytes and its end, or all of it if it is short; nothing of what is no file.
pub(super) fn ends(path: &Path, length: u64) -> Result<Vec<u8>, DataError> {
    let found = fs::metadata(path).map_err(DataError::io("read", path))?;
    if !found.is_file() {
        return Ok(Vec::new());
    }
    let mut file = File::open(path).map_err(DataError::io("open", path))?;
    let mut bytes = Vec::new();
    let mut read = |file: &mut File| file.take(END).read_to_end(&mut bytes);
    let rest = length.saturating_sub(END).max(END);
    read(&mut file)
        .and_then(|_| file.seek(SeekFrom::Start(rest)))
        .and_then(|_| read(&mut file))
        .map_err(DataError::io("read", path))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unpacked_comes_back_from_memory_and_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = Path::new("a.parquet");
        for (in_memory, is_file) in [(100_000, false), (1000, true)] {
            let mut unpacked = Unpacked::new(folder.path(), in_memory);
            let pictures: Vec<Vec<u8>> =
                (0..100_u8).map(|n| vec![n; 50 + usize::from(n)]).collect();
            let places: Vec<_> = pictures
                .iter()
                .map(|bytes| unpacked.push(path, bytes).unwrap())
                .collect();
            assert_eq!(unpacked.is_in_file(), is_file);
            // The file has no name.
            assert_eq!(folder.path().read_dir().unwrap().count(), 0);
            let holder = Holder::unpacked(path.to_owned(), Arc::new(unpacked));
            for (picture, place) in pictures.iter().zip(&places).rev() {
                let mut bytes = Vec::new();
                holder
                    .read(place.start, place.end - place.start, &mut bytes)
                    .unwrap();
                assert_eq!(bytes, *picture);
            }
            let error = holder
                .read(places[99].start, 1000, &mut Vec::new())
                .unwrap_err();
            assert!(
                error.to_string().contains("more bytes of a picture"),
                "{error}"
            );
        }
    }
}
