//! CIFAR-10 and CIFAR-100 (Krizhevsky, 2009), as a folder of files or as the archives that their author publishes: the binary
//! version, records of one or two label bytes and 3072 bytes of pixels, and the Python version, pickled dictionaries.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archai_spec::registry::Named;
use archai_spec::settings;

use super::columns;
use super::pickle::Pickle;
use crate::bounded::gunzip;
use crate::dataset::{Dataset, Image, Split};
use crate::error::DataError;
use crate::files;
use crate::format::DataFormat;
use crate::gather::Gather;

/// The formats `cifar10_binary`, `cifar100_binary`, `cifar10_python` and `cifar100_python`.
pub(super) struct Cifar(&'static Variant);

impl Cifar {
    /// Records of 1 + 3072 bytes.
    pub(super) fn cifar10() -> Self {
        Cifar(&CIFAR10)
    }

    /// Records of 2 + 3072 bytes; the fine label is used.
    pub(super) fn cifar100() -> Self {
        Cifar(&CIFAR100)
    }

    /// Pickled dictionaries of `data` and `labels`.
    pub(super) fn cifar10_python() -> Self {
        Cifar(&CIFAR10_PYTHON)
    }

    /// Pickled dictionaries of `data`, `fine_labels` and `coarse_labels`.
    pub(super) fn cifar100_python() -> Self {
        Cifar(&CIFAR100_PYTHON)
    }
}

impl Named for Cifar {
    fn name(&self) -> &str {
        self.0.name
    }

    fn about(&self) -> &str {
        self.0.about
    }
}

impl DataFormat for Cifar {
    fn open(
        &self,
        dataset: &settings::Dataset,
        split: Split,
    ) -> Result<Arc<dyn Dataset>, DataError> {
        let (Cifar(variant), path) = (self, Path::new(&dataset.path));
        columns::refuse_test_names(dataset)?;
        let label = variant.label(dataset)?;
        let mut gather = Gather::new(dataset);
        if path.is_file() {
            let names = variant.names(dataset, split);
            let (files, class_names) = from_archive(dataset, split, &names, variant.class_names)?;
            gather.name_classes(variant.class_names(&class_names, label));
            for (name, bytes) in files {
                let length = bytes.len() as u64;
                match variant.labels {
                    Labels::Bytes(n) => records(&name, length, &mut &*bytes, n, &mut gather)?,
                    Labels::Key { .. } => batch(&name, &bytes, label, &mut gather)?,
                }
            }
        } else {
            let files = self.files(dataset, split)?;
            if let Some(folder) = files.first().and_then(|file| file.parent()) {
                let names = folder.join(variant.class_names);
                if names.is_file() {
                    gather.name_classes(variant.class_names(&whole(&names)?, label));
                }
            }
            for file in files {
                match variant.labels {
                    Labels::Bytes(n) => {
                        let reader = File::open(&file).map_err(DataError::io("open", &file))?;
                        let length = reader
                            .metadata()
                            .map_err(DataError::io("read", &file))?
                            .len();
                        let mut reader = BufReader::with_capacity(1 << 16, reader);
                        records(&file, length, &mut reader, n, &mut gather)?;
                    }
                    Labels::Key { .. } => batch(&file, &whole(&file)?, label, &mut gather)?,
                }
            }
        }
        Ok(Arc::new(gather.finish(path)?))
    }

    fn files(&self, dataset: &settings::Dataset, split: Split) -> Result<Vec<PathBuf>, DataError> {
        let path = Path::new(&dataset.path);
        if path.is_file() {
            return Ok(vec![path.to_owned()]);
        }
        from_folder(dataset, split, self.0)
    }

    fn keys(&self) -> &[&str] {
        match self.0.labels {
            Labels::Bytes(_) => &[],
            Labels::Key { .. } => &["columns"],
        }
    }
}

/// What differs between them.
struct Variant {
    name: &'static str,
    about: &'static str,
    /// The folder inside the archive.
    folder: &'static str,
    train: &'static [&'static str],
    test: &'static [&'static str],
    /// The file beside them that names the classes.
    class_names: &'static str,
    labels: Labels,
}

/// Where labels stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Labels {
    /// So many bytes in front of the pixels, of which the last one is the label.
    Bytes(usize),
    /// Under a key of the dictionary. The names of classes stand under `label_names`, `fine_label_names`, …
    Key {
        labels: &'static str,
        /// Keys that `dataset.columns.label` may name instead.
        others: &'static [&'static str],
    },
}

static CIFAR10: Variant = Variant {
    name: "cifar10_binary",
    about: "CIFAR-10's binary version: records of 1 + 3072 bytes",
    folder: "cifar-10-batches-bin",
    train: &[
        "data_batch_1.bin",
        "data_batch_2.bin",
        "data_batch_3.bin",
        "data_batch_4.bin",
        "data_batch_5.bin",
    ],
    test: &["test_batch.bin"],
    class_names: "batches.meta.txt",
    labels: Labels::Bytes(1),
};

static CIFAR100: Variant = Variant {
    name: "cifar100_binary",
    about: "CIFAR-100's binary version: records of 2 + 3072 bytes, of which the fine label is used",
    folder: "cifar-100-binary",
    train: &["train.bin"],
    test: &["test.bin"],
    class_names: "fine_label_names.txt",
    labels: Labels::Bytes(2),
};

static CIFAR10_PYTHON: Variant = Variant {
    name: "cifar10_python",
    about: "CIFAR-10's Python version: pickled batches, of which no program is run",
    folder: "cifar-10-batches-py",
    train: &[
        "data_batch_1",
        "data_batch_2",
        "data_batch_3",
        "data_batch_4",
        "data_batch_5",
    ],
    test: &["test_batch"],
    class_names: "batches.meta",
    labels: Labels::Key {
        labels: "labels",
        others: &[],
    },
};

static CIFAR100_PYTHON: Variant = Variant {
    name: "cifar100_python",
    about: "CIFAR-100's Python version: pickled batches, of which the fine labels are used unless dataset.columns names others",
    folder: "cifar-100-python",
    train: &["train"],
    test: &["test"],
    class_names: "meta",
    labels: Labels::Key {
        labels: "fine_labels",
        others: &["coarse_labels"],
    },
};

/// Most bytes of a member that are read out of an archive: several times the largest.
const MAX_MEMBER: u64 = 1 << 30;

const PIXELS: usize = 3 * 32 * 32;

impl Variant {
    /// The file names of a split, or the user's pattern for them.
    fn names<'a>(&self, dataset: &'a settings::Dataset, split: Split) -> Vec<&'a str> {
        match (split.pattern(dataset), split) {
            (Some(pattern), _) => vec![pattern],
            (None, Split::Train) => self.train.to_vec(),
            (None, Split::Test) => self.test.to_vec(),
        }
    }

    /// The key of the labels; empty where they have none.
    fn label<'a>(&self, dataset: &'a settings::Dataset) -> Result<&'a str, DataError> {
        let Labels::Key { labels, others } = self.labels else {
            return Ok("");
        };
        let Some(columns) = &dataset.columns else {
            return Ok(labels);
        };
        if columns.image.is_some() {
            let problem = "is set, but the pictures of CIFAR's batches are always called `data`; leave it out";
            return Err(DataError::setting("dataset.columns.image", problem));
        }
        match columns.label.as_deref() {
            None => Ok(labels),
            Some(label) if label == labels || others.contains(&label) => Ok(label),
            Some(label) => Err(DataError::setting(
                "dataset.columns.label",
                format!(
                    "is `{label}`, expected {}",
                    [&[labels], others].concat().join(" or ")
                ),
            )),
        }
    }

    /// The names of the classes in the file that has them; none if they are not there.
    fn class_names(&self, bytes: &[u8], label: &str) -> Vec<String> {
        match self.labels {
            Labels::Bytes(_) => lines(bytes),
            Labels::Key { .. } => {
                let key = format!("{}_names", label.trim_end_matches('s'));
                let names = Pickle::read(bytes)
                    .ok()
                    .and_then(|pickle| pickle.texts(&key));
                names.unwrap_or_default()
            }
        }
    }
}

/// The files in the data set's folder, or in the folder in which the archive keeps them.
fn from_folder(
    dataset: &settings::Dataset,
    split: Split,
    variant: &Variant,
) -> Result<Vec<PathBuf>, DataError> {
    let path = Path::new(&dataset.path);
    let inner = path.join(variant.folder);
    let root = if inner.is_dir() { &inner } else { path };
    let mut all = Vec::new();
    for name in variant.names(dataset, split) {
        let found = files::find(root, name)?;
        if found.is_empty() {
            return Err(files::absent(
                dataset,
                split,
                format!("{name} (or {}/{name})", variant.folder),
            ));
        }
        all.extend(found);
    }
    Ok(all)
}

/// The names of classes in a file, one in a line.
fn lines(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let names = text.lines().map(str::trim).filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

/// A file's name and what it holds.
type Member = (PathBuf, Vec<u8>);

/// The same files out of the authors' archive (`.tar.gz`), in the order of their names, and that of the names of the classes.
fn from_archive(
    dataset: &settings::Dataset,
    split: Split,
    names: &[&str],
    class_names: &str,
) -> Result<(Vec<Member>, Vec<u8>), DataError> {
    let path = Path::new(&dataset.path);
    let file = File::open(path).map_err(DataError::io("open", path))?;
    let length = file.metadata().map_err(DataError::io("read", path))?.len();
    let mut archive = tar::Archive::new(gunzip(BufReader::new(file), length));
    let damaged = |error: std::io::Error| {
        DataError::malformed(path, "its entries", "a .tar.gz archive", error.to_string())
    };
    let (mut found, mut classes) = (Vec::new(), Vec::new());
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let member = entry.path().map_err(damaged)?.into_owned();
        let name = member
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let is_wanted = names.iter().any(|wanted| files::matches(wanted, name));
        let names_classes = name == class_names;
        if entry.header().entry_type().is_file() && (is_wanted || names_classes) {
            if entry.size() > MAX_MEMBER {
                let expected = format!("members of at most {} MiB", MAX_MEMBER >> 20);
                return Err(DataError::malformed(
                    path,
                    name,
                    expected,
                    format!("{} bytes", entry.size()),
                ));
            }
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(damaged)?;
            if names_classes {
                classes = bytes.clone();
            }
            if is_wanted {
                found.push((path.join(member), bytes));
            }
        }
    }
    found.sort();
    for wanted in names {
        let is_wanted = |file: &Path| {
            file.file_name()
                .is_some_and(|name| files::matches(wanted, &name.to_string_lossy()))
        };
        if !found.iter().any(|(file, _)| is_wanted(file)) {
            return Err(files::absent(
                dataset,
                split,
                format!("the archive's member {wanted}"),
            ));
        }
    }
    Ok((found, classes))
}

fn records(
    path: &Path,
    length: u64,
    reader: &mut dyn Read,
    label_bytes: usize,
    gather: &mut Gather,
) -> Result<(), DataError> {
    let record = label_bytes + PIXELS;
    if length == 0 || !length.is_multiple_of(record as u64) {
        return Err(DataError::malformed(
            path,
            "its length",
            format!("a multiple of {record} bytes, the size of a record"),
            format!("{length} bytes"),
        ));
    }
    gather.expect(path, length / record as u64)?;
    let mut bytes = vec![0; record];
    for index in 0..length / record as u64 {
        reader
            .read_exact(&mut bytes)
            .map_err(DataError::io("read", path))?;
        let (labels, pixels) = bytes.split_at(label_bytes);
        let image = Image {
            pixels: pixels.into(),
            channels: 3,
            height: 32,
            width: 32,
        };
        let label_at = index * record as u64 + label_bytes as u64 - 1;
        gather.push(path, image, labels[label_bytes - 1].into(), || {
            format!("byte {label_at} (record {index})")
        })?;
    }
    Ok(())
}

/// A file that is read as a whole.
fn whole(path: &Path) -> Result<Vec<u8>, DataError> {
    let length = fs::metadata(path)
        .map_err(DataError::io("read", path))?
        .len();
    if length > MAX_MEMBER {
        let expected = format!("at most {} MiB", MAX_MEMBER >> 20);
        return Err(DataError::malformed(
            path,
            "its length",
            expected,
            format!("{length} bytes"),
        ));
    }
    fs::read(path).map_err(DataError::io("read", path))
}

/// Adds the pictures of a pickled batch.
fn batch(path: &Path, bytes: &[u8], label: &str, gather: &mut Gather) -> Result<(), DataError> {
    let expected = "a batch of CIFAR's Python version: `data`, an array of unsigned bytes with 3072 in each row, and as many \
                    labels";
    let wrong = |found: String| DataError::malformed(path, "its pickle", expected, found);
    let pickle = Pickle::read(bytes).map_err(wrong)?;
    let there = || format!("the keys {}", pickle.keys().join(", "));
    let data = pickle.array("data").ok_or_else(|| wrong(there()))?;
    let labels = pickle
        .numbers(label)
        .ok_or_else(|| wrong(format!("no list `{label}` of numbers among {}", there())))?;
    let n = labels.len() as u64;
    let is_sound = data.shape == [n, PIXELS as u64] && data.bytes.len() as u64 == n * PIXELS as u64;
    if !is_sound {
        return Err(wrong(format!(
            "an array of shape {:?} in {} bytes and {n} labels",
            data.shape,
            data.bytes.len()
        )));
    }
    gather.expect(path, n)?;
    for (index, (pixels, label)) in data.bytes.chunks_exact(PIXELS).zip(labels).enumerate() {
        let image = Image {
            pixels: pixels.into(),
            channels: 3,
            height: 32,
            width: 32,
        };
        gather.push(path, image, label, || format!("row {index}"))?;
    }
    Ok(())
}
