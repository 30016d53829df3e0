//! The binary version of CIFAR-10 and CIFAR-100 (Krizhevsky, 2009): records of one or two label bytes and 3072 bytes of
//! pixels, as a folder of files or as the archive that its authors publish.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archai_spec::registry::Named;
use archai_spec::settings;

use crate::bounded::gunzip;
use crate::dataset::{Dataset, Image, Split};
use crate::error::DataError;
use crate::files;
use crate::format::DataFormat;
use crate::gather::Gather;

/// The formats `cifar10_binary` and `cifar100_binary`.
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
        let mut gather = Gather::new(dataset);
        if path.is_file() {
            let names = variant.names(dataset, split);
            let (files, class_names) = from_archive(dataset, split, &names, variant.class_names)?;
            gather.name_classes(class_names);
            for (name, bytes) in files {
                let length = bytes.len() as u64;
                records(&name, length, &mut &*bytes, variant, &mut gather)?;
            }
        } else {
            let files = self.files(dataset, split)?;
            if let Some(folder) = files.first().and_then(|file| file.parent()) {
                let names = folder.join(variant.class_names);
                if names.is_file() {
                    let names = fs::read(&names).map_err(DataError::io("read", &names))?;
                    gather.name_classes(lines(&names));
                }
            }
            for file in files {
                let reader = File::open(&file).map_err(DataError::io("open", &file))?;
                let length = reader
                    .metadata()
                    .map_err(DataError::io("read", &file))?
                    .len();
                let mut reader = BufReader::with_capacity(1 << 16, reader);
                records(&file, length, &mut reader, variant, &mut gather)?;
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
}

/// What differs between the two.
struct Variant {
    name: &'static str,
    about: &'static str,
    /// The folder inside the archive.
    folder: &'static str,
    train: &'static [&'static str],
    test: &'static [&'static str],
    /// The file beside them that names the classes, one in a line.
    class_names: &'static str,
    /// Label bytes of a record; the last one is the label.
    label_bytes: usize,
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
    label_bytes: 1,
};

static CIFAR100: Variant = Variant {
    name: "cifar100_binary",
    about: "CIFAR-100's binary version: records of 2 + 3072 bytes, of which the fine label is used",
    folder: "cifar-100-binary",
    train: &["train.bin"],
    test: &["test.bin"],
    class_names: "fine_label_names.txt",
    label_bytes: 2,
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

/// The same files out of the authors' archive (`.tar.gz`), in the order of their names, and the names of the classes.
fn from_archive(
    dataset: &settings::Dataset,
    split: Split,
    names: &[&str],
    class_names: &str,
) -> Result<(Vec<Member>, Vec<String>), DataError> {
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
                classes = lines(&bytes);
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
    variant: &Variant,
    gather: &mut Gather,
) -> Result<(), DataError> {
    let record = variant.label_bytes + PIXELS;
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
        let (labels, pixels) = bytes.split_at(variant.label_bytes);
        let image = Image {
            pixels: pixels.into(),
            channels: 3,
            height: 32,
            width: 32,
        };
        let label_at = index * record as u64 + variant.label_bytes as u64 - 1;
        gather.push(path, image, labels[variant.label_bytes - 1].into(), || {
            format!("byte {label_at} (record {index})")
        })?;
    }
    Ok(())
}
