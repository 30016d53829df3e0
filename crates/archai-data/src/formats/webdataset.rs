//! Archives of pictures in the layout of WebDataset: tar files ("shards") in which members of the same name up to the first
//! dot belong together, as `0001.jpg` and `0001.cls`. The label stands in the member `.cls`, or in `.json` under the key
//! `label`. Shards are indexed and not loaded: a picture is read from its place in the archive when it is needed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archai_spec::registry::Named;
use archai_spec::settings;
use tar::Archive;

use super::columns;
use super::labels::{Labels, numbered};
use super::pictures::{Digest, Holder, Judged, Pictures};
use crate::dataset::{Dataset, Split};
use crate::error::DataError;
use crate::files;
use crate::format::DataFormat;

/// Endings of the members that are pictures, in small letters.
const IMAGES: [&str; 10] = [
    "jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "jpe", "jfif",
];

/// Largest member that holds a label: a number or a name, or what is said of a picture in JSON.
const MAX_LABEL: u64 = 1 << 20;

/// Largest block that a tar file may be padded to.
const BLOCK: u64 = 512;

/// The format `webdataset`.
#[derive(Default)]
pub(super) struct WebDataset {
    judged: Judged,
}

impl Named for WebDataset {
    fn name(&self) -> &str {
        "webdataset"
    }

    fn about(&self) -> &str {
        "WebDataset's tar files of pictures and labels (NAME.jpg and NAME.cls or NAME.json): train*.tar and test*.tar (or val*.tar)"
    }
}

impl DataFormat for WebDataset {
    fn open(
        &self,
        dataset: &settings::Dataset,
        split: Split,
    ) -> Result<Arc<dyn Dataset>, DataError> {
        let index = Index::read(dataset, split)?;
        let train = || Index::read(dataset, Split::Train).map(|train| train.labels);
        let at = |member: usize| index.place(member);
        let (numbers, classes) = numbered(dataset, split, &index.labels, train, &at)?;
        let mut pictures = Pictures::new(dataset, classes, Digest::Encoded("archai pictures 1\n"));
        for shard in index.shards {
            pictures.hold(Holder::file(shard));
        }
        for (member, label) in index.members.into_iter().zip(numbers) {
            pictures.push_part(member.shard, member.bytes, member.name, label)?;
        }
        Ok(Arc::new(pictures.cleaned(&self.judged)?))
    }

    fn files(&self, dataset: &settings::Dataset, split: Split) -> Result<Vec<PathBuf>, DataError> {
        shards(dataset, split)
    }

    fn keys(&self) -> &[&str] {
        &["columns", "on_damaged"]
    }
}

fn shards(dataset: &settings::Dataset, split: Split) -> Result<Vec<PathBuf>, DataError> {
    let usual: &[&[&str]] = match split {
        Split::Train => &[&["train*.tar", "train/*.tar"]],
        Split::Test => &[&["test*.tar", "test/*.tar"], &["val*.tar", "val/*.tar"]],
    };
    let absent = match files::of_part(dataset, split, usual) {
        Err(absent @ DataError::Absent { .. }) => absent,
        other => return other,
    };
    // Whoever has compressed shards reads that they are the reason.
    for pattern in usual.concat() {
        let found = files::find(Path::new(&dataset.path), &format!("{pattern}.gz"))?;
        if let Some(file) = found.first() {
            return Err(compressed(file));
        }
    }
    Err(absent)
}

fn compressed(path: &Path) -> DataError {
    DataError::Malformed {
        path: path.to_owned(),
        at: "byte 0".into(),
        expected:
            "a tar file that is not compressed, for pictures are read from their places in it"
                .into(),
        found: "a compressed one".into(),
        mend: "unpack it with `gunzip`: pictures are compressed themselves, so it grows by little"
            .into(),
    }
}

/// A picture in a shard.
struct Member {
    shard: usize,
    bytes: std::ops::Range<u64>,
    name: Box<str>,
}

/// Where the pictures of several shards lie, and their labels.
#[derive(Default)]
struct Index {
    shards: Vec<PathBuf>,
    members: Vec<Member>,
    labels: Labels,
}

impl Index {
    fn read(dataset: &settings::Dataset, split: Split) -> Result<Index, DataError> {
        columns::refuse_test_names(dataset)?;
        let wanted = Wanted::of(dataset);
        let mut index = Index::default();
        for path in shards(dataset, split)? {
            index.shards.push(path);
            index.shard(&wanted)?;
        }
        Ok(index)
    }

    /// Where a picture stands, for messages.
    fn place(&self, member: usize) -> (PathBuf, String) {
        match self.members.get(member) {
            None => Default::default(),
            Some(member) => (self.shards[member.shard].clone(), member.name.to_string()),
        }
    }

    /// Adds what the last shard holds.
    fn shard(&mut self, wanted: &Wanted) -> Result<(), DataError> {
        let shard = self.shards.len() - 1;
        let path = self.shards[shard].clone();
        let mut file = File::open(&path).map_err(DataError::io("open", &path))?;
        let length = file.metadata().map_err(DataError::io("read", &path))?.len();
        let mut magic = Vec::new();
        (&mut file)
            .take(2)
            .read_to_end(&mut magic)
            .and_then(|_| file.rewind())
            .map_err(DataError::io("read", &path))?;
        if magic == [0x1f, 0x8b] {
            return Err(compressed(&path));
        }
        let damaged = |error: io::Error| {
            DataError::malformed(&path, "its members", "a tar file", error.to_string())
        };
        let mut archive = Archive::new(&mut file);
        let (mut sample, mut end) = (Sample::default(), 0);
        for entry in archive.entries_with_seek().map_err(damaged)? {
            let mut entry = entry.map_err(damaged)?;
            let name = entry.path().map_err(damaged)?;
            let name = name.to_str().ok_or_else(|| {
                DataError::malformed(&path, "its members", "names in UTF-8", format!("{name:?}"))
            })?;
            let name = name.strip_prefix("./").unwrap_or(name).to_owned();
            let start = entry.raw_file_position();
            let size = entry.size();
            end = match start.checked_add(size.next_multiple_of(BLOCK).max(size)) {
                Some(end) if end <= length => end,
                _ => return Err(cut_off(&path, &name)),
            };
            if entry.header().entry_type().is_dir() {
                continue;
            }
            let (key, ending) = split_name(&name);
            if key != sample.key {
                self.finish(&path, shard, std::mem::take(&mut sample), wanted)?;
                sample.key = key.to_owned();
            }
            if !wanted.is_read(&ending) {
                continue;
            }
            if !entry.header().entry_type().is_file() {
                let expected = "pictures and labels that are files";
                let found = format!("an entry of type {:?}", entry.header().entry_type());
                return Err(DataError::malformed(&path, name, expected, found));
            }
            if wanted.is_image(&ending) {
                sample.images.push((name, start..start + size));
            } else if size > MAX_LABEL {
                let expected = format!("a label of at most {MAX_LABEL} bytes");
                return Err(DataError::malformed(
                    &path,
                    name,
                    expected,
                    format!("{size} bytes"),
                ));
            } else {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).map_err(damaged)?;
                if let Some((before, _)) = sample.labels.insert(ending, (name, bytes)) {
                    return Err(twice(&path, &before));
                }
            }
        }
        self.finish(&path, shard, sample, wanted)?;
        check_end(&path, &mut file, end, length)
    }

    /// Adds the picture of a sample.
    fn finish(
        &mut self,
        path: &Path,
        shard: usize,
        sample: Sample,
        wanted: &Wanted,
    ) -> Result<(), DataError> {
        let Sample {
            key,
            images,
            labels,
        } = sample;
        let missing = |what: &str, found: &str| {
            DataError::Malformed {
            path: path.to_owned(),
            at: key.clone(),
            expected: what.to_owned(),
            found: found.to_owned(),
            mend: "add it, leave the sample out, or name the members in dataset.columns (label: json.KEY is a key of NAME.json)"
                .into(),
        }
        };
        let mut images = images.into_iter();
        let (name, bytes) = match (images.next(), images.next()) {
            (None, _) if labels.is_empty() => return Ok(()),
            (None, _) => return Err(missing("a picture beside its label", "none")),
            (Some(image), None) => image,
            (Some(_), Some((other, _))) => {
                let found = format!("two, of which `{other}` is one");
                return Err(missing("one picture", &found));
            }
        };
        let at = || name.clone();
        match wanted.label(path, &labels)? {
            Some(text) => self.labels.push(path, &text, &at)?,
            None => return Err(missing(&wanted.missing(), "none")),
        }
        let name = name.as_str().into();
        self.members.push(Member { shard, bytes, name });
        Ok(())
    }
}

/// The members of one name.
#[derive(Default)]
struct Sample {
    key: String,
    images: Vec<(String, std::ops::Range<u64>)>,
    /// By their endings: name and bytes.
    labels: BTreeMap<String, (String, Vec<u8>)>,
}

/// Which members are read.
struct Wanted<'a> {
    image: Option<&'a str>,
    label: Label<'a>,
}

enum Label<'a> {
    /// `.cls`, or else the key `label` of `.json`.
    Usual,
    Member(&'a str),
    Key(&'a str),
}

impl<'a> Wanted<'a> {
    fn of(dataset: &'a settings::Dataset) -> Wanted<'a> {
        let columns = dataset.columns.as_ref();
        let label = columns.and_then(|columns| columns.label.as_deref());
        Wanted {
            image: columns.and_then(|columns| columns.image.as_deref()),
            label: match label {
                None => Label::Usual,
                Some(name) => match name.strip_prefix("json.") {
                    Some(key) => Label::Key(key),
                    None => Label::Member(name),
                },
            },
        }
    }

    fn is_image(&self, ending: &str) -> bool {
        match self.image {
            Some(image) => ending == image,
            None => IMAGES.contains(&ending),
        }
    }

    fn is_read(&self, ending: &str) -> bool {
        self.is_image(ending)
            || match self.label {
                Label::Usual => ["cls", "json"].contains(&ending),
                Label::Member(member) => ending == member,
                Label::Key(_) => ending == "json",
            }
    }

    /// The label of a sample as it is written; none if it has none.
    fn label(
        &self,
        path: &Path,
        members: &BTreeMap<String, (String, Vec<u8>)>,
    ) -> Result<Option<String>, DataError> {
        let member = |ending: &str| {
            members
                .get(ending)
                .map(|(name, bytes)| text(path, name, bytes))
        };
        let key = |key: &str| match members.get("json") {
            Some((name, bytes)) => entry(path, name, bytes, key),
            None => Ok(None),
        };
        match self.label {
            Label::Usual => match member("cls") {
                Some(text) => text.map(Some),
                None => key("label"),
            },
            Label::Member(ending) => member(ending).transpose(),
            Label::Key(name) => key(name),
        }
    }

    fn missing(&self) -> String {
        match self.label {
            Label::Usual => "a label: .cls, or .json with the key `label`".into(),
            Label::Member(ending) => format!("a label: .{ending}"),
            Label::Key(key) => format!("a label: .json with the key `{key}`"),
        }
    }
}

/// The name up to the first dot of its last part, and what comes behind it, in small letters.
fn split_name(name: &str) -> (&str, String) {
    let start = name.rfind('/').map_or(0, |slash| slash + 1);
    match name[start..].find('.') {
        Some(dot) => {
            let dot = start + dot;
            (&name[..dot], name[dot + 1..].to_lowercase())
        }
        None => (name, String::new()),
    }
}

fn text(path: &Path, name: &str, bytes: &[u8]) -> Result<String, DataError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => Err(DataError::malformed(
            path,
            name,
            "a text in UTF-8",
            error.to_string(),
        )),
    }
}

/// What stands in a member in JSON under a key: a number or a text.
fn entry(path: &Path, name: &str, bytes: &[u8], key: &str) -> Result<Option<String>, DataError> {
    let value: serde_json::Value = serde_json::from_slice(bytes)
        .map_err(|error| DataError::malformed(path, name, "JSON", error.to_string()))?;
    match value.get(key) {
        None => Ok(None),
        Some(serde_json::Value::String(text)) => Ok(Some(text.clone())),
        Some(serde_json::Value::Number(number)) => Ok(Some(number.to_string())),
        Some(other) => {
            let expected = format!("a number or a text under `{key}`");
            Err(DataError::malformed(
                path,
                name,
                expected,
                other.to_string(),
            ))
        }
    }
}

fn twice(path: &Path, name: &str) -> DataError {
    DataError::malformed(path, name, "each member once", "it twice")
}

fn cut_off(path: &Path, at: &str) -> DataError {
    DataError::malformed(
        path,
        at,
        "the rest of a tar file",
        "the end of the file: it was cut off",
    )
}

/// Behind the last member there are two blocks of zeros, and nothing else: what a reader of archives would pass over in silence
/// is a second archive, or the sign that the file was cut off.
fn check_end(path: &Path, file: &mut File, end: u64, length: u64) -> Result<(), DataError> {
    if length < end + 2 * BLOCK {
        return Err(cut_off(path, &format!("byte {length}")));
    }
    file.seek(SeekFrom::Start(end))
        .map_err(DataError::io("read", path))?;
    let mut chunk = vec![0; 1 << 16];
    let mut at = end;
    loop {
        let n = file.read(&mut chunk).map_err(DataError::io("read", path))?;
        if n == 0 {
            return Ok(());
        }
        if let Some(position) = chunk[..n].iter().position(|byte| *byte != 0) {
            return Err(DataError::malformed(
                path,
                format!("byte {}", at + position as u64),
                "zeros up to the end, behind the mark that ends a tar file",
                "more data; of archives that were joined only the first would be read",
            ));
        }
        at += n as u64;
    }
}
