//! Parquet tables of images as Hugging Face lays them out: a column `img` or `image` (a structure of `bytes` and
//! `path`, or plain binary) with picture files, and a column of labels, `label` or `labels`: whole numbers, or the names of
//! classes. Names of numbered classes are read from the notes that the library of Hugging Face leaves in a table.
//!
//! Pictures that are small once they are fitted are kept so, in memory. Others are kept as they are encoded, and beyond some
//! size in a file without a name, for the pages of a table can only be unpacked one after the other.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archai_spec::registry::Named;
use archai_spec::settings::{self, OnDamaged};

use super::columns;
use super::labels::{Labels, numbered};
use super::parquet_table::{Found, Table};
use super::pictures::{Digest, Holder, Judged, Pictures, Unpacked};
use crate::dataset::{Dataset, Split};
use crate::error::DataError;
use crate::format::DataFormat;
use crate::gather::{Gather, check_label};
use crate::picture::Decoder;
use crate::{files, picture};

/// The bytes of fitted pictures up to which they are kept so.
const MAX_PIXELS: u64 = 1 << 30;

/// The format `parquet`.
pub(super) struct Parquet {
    judged: Judged,
    /// Most pixels and channels that are fitted once for all, in memory.
    max_pixels: u64,
    /// What encoded pictures may take in memory; more of them lie in a file.
    in_memory: usize,
}

impl Default for Parquet {
    fn default() -> Self {
        Parquet {
            judged: Judged::default(),
            max_pixels: MAX_PIXELS,
            in_memory: 256 << 20,
        }
    }
}

impl Named for Parquet {
    fn name(&self) -> &str {
        "parquet"
    }

    fn about(&self) -> &str {
        "Parquet tables with a column img or image (bytes of picture files) and label, as Hugging Face lays them out"
    }
}

impl DataFormat for Parquet {
    fn open(
        &self,
        dataset: &settings::Dataset,
        split: Split,
    ) -> Result<Arc<dyn Dataset>, DataError> {
        let paths = self.files(dataset, split)?;
        let mut tables = tables(&paths, dataset)?;
        let labels = labels(self, dataset, split, &mut tables)?;
        let rows = tables
            .iter()
            .map(|table| table.rows)
            .fold(0, u64::saturating_add);
        let shape = [dataset.channels, dataset.size[0], dataset.size[1]];
        let pixels = shape
            .iter()
            .fold(rows, |product, side| product.saturating_mul(*side as u64));
        // Pictures that keep their own size may be of any.
        match pixels <= self.max_pixels && !Decoder::new(dataset).keeps_size() {
            true => Ok(Arc::new(fitted(dataset, tables, labels)?)),
            false => {
                // Fitted pictures have the digest that they would have in memory.
                let digest = match Decoder::new(dataset).keeps_size() {
                    true => Digest::Encoded("archai pictures 1\n"),
                    false => Digest::Pixels,
                };
                let unpacked = Unpacked::new(Path::new(&dataset.path), self.in_memory);
                let list = encoded(dataset, tables, labels, digest, unpacked)?;
                Ok(Arc::new(list.cleaned(&self.judged)?))
            }
        }
    }

    fn files(&self, dataset: &settings::Dataset, split: Split) -> Result<Vec<PathBuf>, DataError> {
        columns::refuse_test_names(dataset)?;
        let usual: &[&[&str]] = match split {
            Split::Train => &[&["train*.parquet", "data/train*.parquet", "train/*.parquet"]],
            Split::Test => &[
                &["test*.parquet", "data/test*.parquet", "test/*.parquet"],
                &["val*.parquet", "data/val*.parquet", "val/*.parquet"],
            ],
        };
        files::of_part(dataset, split, usual)
    }

    fn keys(&self) -> &[&str] {
        &["columns", "on_damaged"]
    }
}

fn tables<'a>(
    paths: &'a [PathBuf],
    dataset: &settings::Dataset,
) -> Result<Vec<Table<'a>>, DataError> {
    paths
        .iter()
        .map(|path| Table::open(path, dataset))
        .collect()
}

/// The labels of all rows, and the names of the classes.
struct Numbered {
    labels: Vec<i64>,
    class_names: Vec<String>,
}

fn labels(
    format: &Parquet,
    dataset: &settings::Dataset,
    split: Split,
    tables: &mut [Table<'_>],
) -> Result<Numbered, DataError> {
    let mut found = None;
    for table in tables.iter_mut() {
        table.labels(&mut found)?;
    }
    let texts = match found {
        None => Labels::default(),
        Some(Found::Texts(texts)) => texts,
        Some(Found::Numbers(labels)) => {
            let mut names = tables.iter().map(|table| &table.class_names);
            let names = names.find(|names| names.len() == dataset.n_classes);
            return Ok(Numbered {
                labels,
                class_names: names.cloned().unwrap_or_default(),
            });
        }
    };
    let train = || {
        let paths = format.files(dataset, Split::Train)?;
        let mut found = None;
        for path in &paths {
            Table::open(path, dataset)?.labels(&mut found)?;
        }
        match found {
            Some(Found::Texts(texts)) => Ok(texts),
            None | Some(Found::Numbers(_)) => {
                let expected = "labels of one kind in training and test data";
                let place = Path::new(&dataset.path);
                Err(DataError::malformed(
                    place,
                    "its labels",
                    expected,
                    "texts in the test data alone",
                ))
            }
        }
    };
    let place = |row: usize| {
        let mut first = 0;
        for table in tables.iter() {
            if ((row - first) as u64) < table.rows {
                return (table.path.to_owned(), format!("row {}", row - first));
            }
            first += table.rows as usize;
        }
        (PathBuf::from(&dataset.path), format!("row {row}"))
    };
    let (numbers, class_names) = numbered(dataset, split, &texts, train, &place)?;
    Ok(Numbered {
        labels: numbers.into_iter().map(i64::from).collect(),
        class_names,
    })
}

/// All pictures, fitted, in memory.
fn fitted(
    dataset: &settings::Dataset,
    tables: Vec<Table<'_>>,
    numbered: Numbered,
) -> Result<crate::InMemory, DataError> {
    let mut gather = Gather::new(dataset);
    let decoder = Decoder::new(dataset);
    gather.name_classes(numbered.class_names);
    let mut labels = numbered.labels.into_iter();
    for mut table in tables {
        let path = table.path;
        table.images(&mut |row, bytes| {
            let at = || format!("row {row}");
            let label = labels.next().unwrap_or(-1);
            let image =
                picture::check(path, &at, bytes).and_then(|()| decoder.decode(path, &at, bytes));
            match image {
                Ok(image) => gather.push(path, image, label, at),
                Err(_) if dataset.on_damaged == OnDamaged::Skip => {
                    let name = path.strip_prefix(&dataset.path).unwrap_or(path);
                    gather.leave_out(format!("{} {}", name.display(), at()));
                    Ok(())
                }
                Err(error) => Err(error),
            }
        })?;
    }
    gather.finish(Path::new(&dataset.path))
}

/// All pictures as they are encoded.
fn encoded(
    dataset: &settings::Dataset,
    tables: Vec<Table<'_>>,
    numbered: Numbered,
    digest: Digest,
    mut unpacked: Unpacked,
) -> Result<Pictures, DataError> {
    let mut rows: Vec<(usize, Range<u64>, u64)> = Vec::new();
    let mut paths = Vec::new();
    for mut table in tables {
        let (path, number) = (table.path, paths.len());
        table.images(&mut |row, bytes| {
            rows.push((number, unpacked.push(path, bytes)?, row));
            Ok(())
        })?;
        paths.push(path.to_owned());
    }
    let mut list = Pictures::new(dataset, numbered.class_names, digest);
    let unpacked = Arc::new(unpacked);
    for path in &paths {
        list.hold(Holder::unpacked(path.clone(), Arc::clone(&unpacked)));
    }
    for ((table, bytes, row), label) in rows.into_iter().zip(numbered.labels) {
        let at = || format!("row {row}");
        let label = check_label(&paths[table], label, dataset.n_classes, &at)?;
        list.push_part(table, bytes, at(), label)?;
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use archai_spec::settings::Resize;

    use super::*;

    /// Whole data sets, fitted in memory, encoded in memory and encoded in a file.
    #[test]
    fn pictures_are_the_same_wherever_they_are_kept() {
        let sets = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sets"));
        let cases = std::fs::read(sets.join("cases.json")).unwrap();
        let cases: serde_json::Value = serde_json::from_slice(&cases).unwrap();
        let mut n = 0;
        for (name, case) in cases.as_object().unwrap() {
            let mut set: settings::Dataset =
                serde_json::from_value(case["section"].clone()).unwrap();
            if set.format != "parquet" {
                continue;
            }
            n += 1;
            // The file without a name lies beside the tables.
            let folder = tempfile::tempdir().unwrap();
            for file in std::fs::read_dir(sets.join(&set.path)).unwrap() {
                let file = file.unwrap();
                std::fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
            }
            set.path = folder.path().to_string_lossy().into_owned();
            for (resize, max_pixels) in [(Resize::Fit, 0), (Resize::Crop, MAX_PIXELS)] {
                let set = settings::Dataset {
                    resize,
                    ..set.clone()
                };
                for split in [Split::Train, Split::Test] {
                    let usual = Parquet::default().open(&set, split).unwrap();
                    for in_memory in [0, 100, 256 << 20] {
                        let format = Parquet {
                            max_pixels,
                            in_memory,
                            ..Parquet::default()
                        };
                        let other = format.open(&set, split).unwrap();
                        let what = format!("{name} {split:?} {resize:?} {in_memory}");
                        assert_eq!(other.len(), usual.len(), "{what}");
                        assert_eq!(other.class_names(), usual.class_names(), "{what}");
                        assert_eq!(other.digest().unwrap(), usual.digest().unwrap(), "{what}");
                        // Backwards, so that places are looked for.
                        for index in (0..usual.len()).rev() {
                            assert_eq!(other.label(index), usual.label(index), "{what}");
                            let [other, usual] = [&other, &usual].map(|data| data.image(index));
                            assert_eq!(other.unwrap(), usual.unwrap(), "{what}");
                        }
                    }
                }
            }
        }
        assert!(n > 10, "{n} data sets");
    }

    #[test]
    fn many_pictures_lie_in_a_file() {
        let sets = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sets/parquet_none");
        let set: settings::Dataset = serde_json::from_value(serde_json::json!({
            "name": "parquet", "format": "parquet", "path": sets, "n_classes": 3, "channels": 3, "size": [4, 5],
            "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0],
        }))
        .unwrap();
        let format = Parquet::default();
        for (in_memory, is_in_file) in [(0, true), (100, true), (format.in_memory, false)] {
            let folder = tempfile::tempdir().unwrap();
            let paths = format.files(&set, Split::Train).unwrap();
            let mut unpacked = Unpacked::new(folder.path(), in_memory);
            for mut table in tables(&paths, &set).unwrap() {
                let path = table.path;
                table
                    .images(&mut |_, bytes| unpacked.push(path, bytes).map(drop))
                    .unwrap();
            }
            assert_eq!(unpacked.is_in_file(), is_in_file, "{in_memory}");
        }
    }
}
