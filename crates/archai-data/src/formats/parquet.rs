//! Parquet tables of images as Hugging Face lays them out: a column `img` or `image` (a structure of `bytes` and
//! `path`, or plain binary) with picture files, and a column of whole numbers, `label` or `labels`. Names of classes are
//! read from the notes that the library of Hugging Face leaves in a table.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archai_spec::registry::Named;
use archai_spec::settings::{self, OnDamaged};
use parquet::basic::{Compression, Type};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::parquet_guard;
use crate::dataset::{Dataset, Split};
use crate::error::DataError;
use crate::format::DataFormat;
use crate::gather::Gather;
use crate::{files, picture};

const IMAGES: [&str; 4] = ["img.bytes", "image.bytes", "img", "image"];
const LABELS: [&str; 3] = ["label", "fine_label", "labels"];

/// Rows that are held in memory as encoded images at a time.
const ROWS: usize = 256;

/// Rows that any table may have, however small its file is.
const ROWS_FLOOR: u64 = 10_000;

/// Fewest bytes that a row of a larger table takes.
const ROW_BYTES: u64 = 16;

/// The format `parquet`.
pub(super) struct Parquet;

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
        let mut gather = Gather::new(dataset);
        for file in &self.files(dataset, split)? {
            // The parquet library panics on some damaged tables instead of reporting them. What was gathered so far is
            // dropped then, so nothing half-done survives.
            catch_unwind(AssertUnwindSafe(|| table(file, dataset, &mut gather))).unwrap_or_else(
                |_| {
                    Err(DataError::malformed(
                        file,
                        "its pages",
                        "a readable parquet table",
                        "damage that stopped the reader",
                    ))
                },
            )?;
        }
        Ok(Arc::new(gather.finish(Path::new(&dataset.path))?))
    }

    fn files(&self, dataset: &settings::Dataset, split: Split) -> Result<Vec<PathBuf>, DataError> {
        let usual: &[&str] = match split {
            Split::Train => &["train*.parquet", "data/train*.parquet", "train/*.parquet"],
            Split::Test => &["test*.parquet", "data/test*.parquet", "test/*.parquet"],
        };
        let patterns = split
            .pattern(dataset)
            .map_or(usual.to_vec(), |pattern| vec![pattern]);
        let mut all: Vec<(&str, Vec<PathBuf>)> = Vec::new();
        for pattern in patterns.iter().copied() {
            let found = files::find(Path::new(&dataset.path), pattern)?;
            if !found.is_empty() {
                all.push((pattern, found));
            }
        }
        match all.len() {
            0 => Err(files::absent(dataset, split, patterns.join(" or "))),
            1 => Ok(all.swap_remove(0).1),
            // One of them may be a copy of the other, or the other half.
            _ => {
                let found: Vec<&str> = all.iter().map(|(pattern, _)| *pattern).collect();
                let problem = format!(
                    "in '{}' there is {}; say which are meant",
                    dataset.path,
                    found.join(" and ")
                );
                Err(DataError::setting(split.key(), problem))
            }
        }
    }
}

fn table(path: &Path, dataset: &settings::Dataset, gather: &mut Gather) -> Result<(), DataError> {
    let mut file = File::open(path).map_err(DataError::io("open", path))?;
    let length = file.metadata().map_err(DataError::io("read", path))?.len();
    let unsound = |at: &str| {
        let at = at.to_owned();
        move |error: std::io::Error| {
            DataError::malformed(path, at, "a readable parquet table", error.to_string())
        }
    };
    parquet_guard::check_footer(&mut file).map_err(unsound("its footer"))?;
    let mut pages = file.try_clone().map_err(DataError::io("open", path))?;
    let damaged = |at: String| {
        move |error: ParquetError| {
            DataError::malformed(path, at, "a readable parquet table", error.to_string())
        }
    };
    let reader = SerializedFileReader::new(file).map_err(damaged("its footer".into()))?;
    let meta = reader.metadata().file_metadata();
    let rows = u64::try_from(meta.num_rows()).map_err(|_| {
        DataError::malformed(
            path,
            "its footer",
            "a number of rows",
            meta.num_rows().to_string(),
        )
    })?;
    // Equal rows take few bits, but the smallest picture has 67 bytes.
    let most = ROWS_FLOOR.max(length / ROW_BYTES);
    if rows > most {
        let expected = format!("at most {most} pictures in {length} bytes");
        return Err(DataError::malformed(
            path,
            "its footer",
            expected,
            format!("{rows} rows"),
        ));
    }
    gather.expect(path, rows)?;

    let columns = meta.schema_descr().columns();
    let column = |names: &[&str], what: &str| {
        names
            .iter()
            .find_map(|name| {
                columns
                    .iter()
                    .position(|column| column.path().string() == *name)
            })
            .ok_or_else(|| {
                let found = columns
                    .iter()
                    .map(|column| column.path().string())
                    .collect::<Vec<_>>()
                    .join(", ");
                DataError::malformed(
                    path,
                    "its columns",
                    format!("a column of {what}: {}", names.join(" or ")),
                    found,
                )
            })
    };
    let (images, labels) = (column(&IMAGES, "images")?, column(&LABELS, "labels")?);
    for (index, types) in [
        (images, &[Type::BYTE_ARRAY][..]),
        (labels, &[Type::INT32, Type::INT64][..]),
    ] {
        let column = &columns[index];
        if !types.contains(&column.physical_type()) || column.max_rep_level() != 0 {
            let at = format!("column {}", column.path().string());
            let expected = types
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" or ");
            let found = format!(
                "{} (repetition level {})",
                column.physical_type(),
                column.max_rep_level()
            );
            return Err(DataError::malformed(path, at, expected, found));
        }
    }
    let notes = meta.key_value_metadata().into_iter().flatten();
    let notes = notes.filter(|note| note.key == "huggingface");
    for note in notes.filter_map(|note| note.value.as_deref()) {
        gather.name_classes(class_names(note, &columns[labels].path().string()));
    }

    let mut row = 0;
    for group in 0..reader.num_row_groups() {
        let at = || damaged(format!("row group {group}"));
        for column in [images, labels] {
            let column = reader.metadata().row_group(group).column(column);
            check_compression(path, column.compression())?;
            let (start, size) = column.byte_range();
            parquet_guard::check_pages(&mut pages, start, size)
                .map_err(unsound(&format!("row group {group}")))?;
        }
        let group = reader.get_row_group(group).map_err(at())?;
        let ColumnReader::ByteArrayColumnReader(mut image_column) =
            group.get_column_reader(images).map_err(at())?
        else {
            return Err(DataError::malformed(
                path,
                format!("row {row}"),
                "images as bytes",
                "another type",
            ));
        };
        let mut label_column = match group.get_column_reader(labels).map_err(at())? {
            ColumnReader::Int32ColumnReader(column) => Labels::Int32(column),
            ColumnReader::Int64ColumnReader(column) => Labels::Int64(column),
            _ => {
                return Err(DataError::malformed(
                    path,
                    format!("row {row}"),
                    "labels as whole numbers",
                    "another type",
                ));
            }
        };
        let end = row + u64::try_from(group.metadata().num_rows()).unwrap_or_default();
        while row < end {
            let n = ROWS.min((end - row) as usize);
            let images: Vec<ByteArray> = values(&mut image_column, n).map_err(at())?;
            let labels: Vec<i64> = match &mut label_column {
                Labels::Int32(column) => values(column, n)
                    .map_err(at())?
                    .into_iter()
                    .map(i64::from)
                    .collect(),
                Labels::Int64(column) => values(column, n).map_err(at())?,
            };
            if images.len() != n || labels.len() != n {
                let at = format!("rows {row}..{}", row + n as u64);
                let found = format!("{} images and {} labels", images.len(), labels.len());
                return Err(DataError::malformed(
                    path,
                    at,
                    format!("{n} images and {n} labels, none of them null"),
                    found,
                ));
            }
            for (bytes, label) in images.iter().zip(labels) {
                let at = || format!("row {row}");
                let image = picture::check(path, &at, bytes.data())
                    .and_then(|()| picture::decode(path, &at, bytes.data()));
                match image {
                    Ok(image) => gather.push(path, image, label, at)?,
                    Err(_) if dataset.on_damaged == OnDamaged::Skip => {
                        let name = path.strip_prefix(&dataset.path).unwrap_or(path);
                        gather.leave_out(format!("{} {}", name.display(), at()));
                    }
                    Err(error) => return Err(error),
                }
                row += 1;
            }
        }
    }
    Ok(())
}

/// Refuses what is compressed in a way that this program cannot undo. Gzip is among it because the library unpacks such pages
/// without a limit, and a file of some megabytes may hold gigabytes.
fn check_compression(path: &Path, compression: Compression) -> Result<(), DataError> {
    match compression {
        Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::ZSTD(_) => Ok(()),
        Compression::GZIP(_)
        | Compression::LZO
        | Compression::BROTLI(_)
        | Compression::LZ4
        | Compression::LZ4_RAW => {
            let name = compression.to_string();
            Err(DataError::Malformed {
                path: path.to_owned(),
                at: "its columns".into(),
                expected: "no compression, snappy or zstd, which are what this program can read"
                    .into(),
                found: name.split('(').next().unwrap_or_default().to_lowercase(),
                mend: "the file may well be sound: write it again with one of these (in Python: \
                       pyarrow.parquet.write_table(table, path, compression='zstd'))"
                    .into(),
            })
        }
    }
}

/// The names of the classes in the notes of Hugging Face's library, which say what each column is; none if they do not say.
fn class_names(notes: &str, column: &str) -> Vec<String> {
    let notes: serde_json::Value = serde_json::from_str(notes).unwrap_or_default();
    let names = &notes["info"]["features"][column]["names"];
    let names = names.as_array().map(Vec::as_slice).unwrap_or_default();
    let names = names.iter().filter_map(|name| name.as_str());
    names.map(str::to_owned).collect()
}

enum Labels {
    Int32(ColumnReaderImpl<parquet::data_type::Int32Type>),
    Int64(ColumnReaderImpl<parquet::data_type::Int64Type>),
}

/// The values of the next `n` rows; fewer where rows are null or the column ends.
fn values<T: DataType>(
    column: &mut ColumnReaderImpl<T>,
    n: usize,
) -> Result<Vec<T::T>, ParquetError> {
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    let mut records = 0;
    while records < n {
        let (read, _, _) =
            column.read_records(n - records, Some(&mut levels), None, &mut values)?;
        if read == 0 {
            break;
        }
        records += read;
    }
    Ok(values)
}
