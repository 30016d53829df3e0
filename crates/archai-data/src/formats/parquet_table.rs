//! One parquet table: which of its columns hold the pictures and the labels, and the values of both, batch after batch.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use archai_spec::settings;
use parquet::basic::{Compression, Type};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::labels::Labels;
use super::{columns, parquet_guard};
use crate::error::DataError;

const IMAGES: [&str; 4] = ["img.bytes", "image.bytes", "img", "image"];
const LABELS: [&str; 3] = ["label", "fine_label", "labels"];

/// Rows that are held in memory at a time.
const ROWS: usize = 256;

/// Rows that any table may have, however small its file is.
const ROWS_FLOOR: u64 = 10_000;

/// Fewest bytes that a row of a larger table takes.
const ROW_BYTES: u64 = 16;

/// Takes the number of a row and the bytes of its picture.
pub(super) type Row<'a> = dyn FnMut(u64, &[u8]) -> Result<(), DataError> + 'a;

/// Labels as tables have them.
pub(super) enum Found {
    Numbers(Vec<i64>),
    Texts(Labels),
}

/// A table whose columns are known.
pub(super) struct Table<'a> {
    pub(super) path: &'a Path,
    pub(super) rows: u64,
    /// The names of the classes that the library of Hugging Face left in the table; none if it did not.
    pub(super) class_names: Vec<String>,
    reader: SerializedFileReader<File>,
    pages: File,
    images: usize,
    labels: usize,
}

/// The parquet library panics on some damaged tables instead of reporting them. What was done so far is dropped then, so
/// nothing half-done survives.
fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T, DataError>) -> Result<T, DataError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(DataError::malformed(
            path,
            "its pages",
            "a readable parquet table",
            "damage that stopped the reader",
        ))
    })
}

impl<'a> Table<'a> {
    /// Opens a table.
    ///
    /// # Errors
    /// [`DataError::Malformed`] if it is none, or has no columns of pictures and of labels.
    pub(super) fn open(path: &'a Path, dataset: &settings::Dataset) -> Result<Self, DataError> {
        guarded(path, || Table::read(path, dataset))
    }

    fn read(path: &'a Path, dataset: &settings::Dataset) -> Result<Self, DataError> {
        let mut file = File::open(path).map_err(DataError::io("open", path))?;
        let length = file.metadata().map_err(DataError::io("read", path))?.len();
        parquet_guard::check_footer(&mut file).map_err(|error| {
            DataError::malformed(path, "its footer", "a parquet table", error.to_string())
        })?;
        let pages = file.try_clone().map_err(DataError::io("open", path))?;
        let reader =
            SerializedFileReader::new(file).map_err(|error| damaged(path, "its footer", error))?;
        let meta = reader.metadata().file_metadata();
        let rows = u64::try_from(meta.num_rows()).unwrap_or(u64::MAX);
        // Equal rows take few bits; those of a data set do not.
        let most = ROWS_FLOOR.max(length / ROW_BYTES);
        if rows > most {
            let expected = format!("at most {most} rows in {length} bytes");
            return Err(DataError::malformed(
                path,
                "its footer",
                expected,
                rows.to_string(),
            ));
        }
        let schema = meta.schema_descr();
        let there: Vec<String> = schema
            .columns()
            .iter()
            .map(|column| column.path().string())
            .collect();
        let named = dataset.columns.as_ref();
        // A structure of bytes and path is named as a whole.
        let image = named.and_then(|columns| columns.image.clone()).map(|name| {
            let bytes = format!("{name}.bytes");
            if there.contains(&bytes) { bytes } else { name }
        });
        let label = named.and_then(|columns| columns.label.as_deref());
        let images = columns::find(path, &there, "images", image.as_deref(), &IMAGES)?;
        let labels = columns::find(path, &there, "labels", label, &LABELS)?;
        let of_labels = [Type::INT32, Type::INT64, Type::BOOLEAN, Type::BYTE_ARRAY];
        for (index, types) in [(images, &[Type::BYTE_ARRAY][..]), (labels, &of_labels)] {
            let column = schema.column(index);
            if !types.contains(&column.physical_type()) || column.max_rep_level() != 0 {
                let expected: Vec<String> = types.iter().map(ToString::to_string).collect();
                let found = format!(
                    "{} (repetition level {})",
                    column.physical_type(),
                    column.max_rep_level()
                );
                let at = format!("column {}", there[index]);
                return Err(DataError::malformed(path, at, expected.join(" or "), found));
            }
        }
        let notes = meta.key_value_metadata().into_iter().flatten();
        let notes = notes.filter(|note| note.key == "huggingface");
        let names = notes.filter_map(|note| note.value.as_deref());
        let class_names = names
            .map(|note| class_names(note, &there[labels]))
            .find(|names| !names.is_empty());
        Ok(Table {
            path,
            rows,
            class_names: class_names.unwrap_or_default(),
            reader,
            pages,
            images,
            labels,
        })
    }

    /// Adds the labels of all rows to those of other tables.
    ///
    /// # Errors
    /// [`DataError::Malformed`] if a label is missing, or is a text where the others are numbers.
    pub(super) fn labels(&mut self, found: &mut Option<Found>) -> Result<(), DataError> {
        let path = self.path;
        guarded(path, || {
            let mut row = 0;
            self.groups(self.labels, "labels", &mut |values| {
                let labels = found.get_or_insert_with(|| match values {
                    Values::Numbers(_) => Found::Numbers(Vec::new()),
                    Values::Bytes(_) => Found::Texts(Labels::default()),
                });
                match (labels, values) {
                    (Found::Numbers(all), Values::Numbers(numbers)) => all.extend(numbers),
                    (Found::Texts(all), Values::Bytes(texts)) => {
                        for (index, text) in texts.iter().enumerate() {
                            let at = || format!("row {}", row + index);
                            let text = std::str::from_utf8(text.data()).map_err(|error| {
                                DataError::malformed(
                                    path,
                                    at(),
                                    "a label in UTF-8",
                                    error.to_string(),
                                )
                            })?;
                            all.push(path, text, &at)?;
                        }
                        row += texts.len();
                    }
                    _ => {
                        let expected = "labels of one kind in all tables";
                        let found = "numbers in one and texts in another";
                        return Err(DataError::malformed(path, "its labels", expected, found));
                    }
                }
                Ok(())
            })
        })
    }

    /// Hands the bytes of each picture to `each`, with the number of its row.
    ///
    /// # Errors
    /// [`DataError::Malformed`] if one is missing; those of `each`.
    pub(super) fn images(&mut self, each: &mut Row<'_>) -> Result<(), DataError> {
        let path = self.path;
        guarded(path, || {
            let mut row = 0;
            self.groups(self.images, "images", &mut |values| {
                let Values::Bytes(images) = values else {
                    return Err(DataError::malformed(
                        path,
                        format!("row {row}"),
                        "images as bytes",
                        "another type",
                    ));
                };
                for image in images {
                    each(row, image.data())?;
                    row += 1;
                }
                Ok(())
            })
        })
    }

    /// Hands all values of a column to `each`, some at a time.
    fn groups(
        &mut self,
        column: usize,
        what: &str,
        each: &mut dyn FnMut(Values) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        let path = self.path;
        let mut row = 0;
        for group in 0..self.reader.num_row_groups() {
            let place = format!("row group {group}");
            let chunk = self.reader.metadata().row_group(group).column(column);
            check_compression(path, chunk.compression())?;
            let (start, size) = chunk.byte_range();
            parquet_guard::check_pages(&mut self.pages, start, size, chunk.compression()).map_err(
                |error| {
                    DataError::malformed(path, place.clone(), "a parquet table", error.to_string())
                },
            )?;
            let group = self
                .reader
                .get_row_group(group)
                .map_err(|error| damaged(path, &place, error))?;
            let reader = group.get_column_reader(column);
            let mut reader = reader.map_err(|error| damaged(path, &place, error))?;
            let end = row + u64::try_from(group.metadata().num_rows()).unwrap_or_default();
            while row < end {
                let n = ROWS.min((end - row) as usize);
                let values =
                    Values::read(&mut reader, n).map_err(|error| damaged(path, &place, error))?;
                if values.len() != n {
                    let at = format!("rows {row}..{}", row + n as u64);
                    let found = format!("{} {what}", values.len());
                    let expected = format!("{n} {what}, none of them null");
                    return Err(DataError::malformed(path, at, expected, found));
                }
                each(values)?;
                row += n as u64;
            }
        }
        if row != self.rows {
            let expected = format!("{} rows, as its footer says", self.rows);
            return Err(DataError::malformed(
                path,
                "its row groups",
                expected,
                row.to_string(),
            ));
        }
        Ok(())
    }
}

fn damaged(path: &Path, at: &str, error: ParquetError) -> DataError {
    DataError::malformed(path, at, "a readable parquet table", error.to_string())
}

/// Some values of a column.
enum Values {
    Numbers(Vec<i64>),
    Bytes(Vec<ByteArray>),
}

impl Values {
    /// The values of the next `n` rows; fewer where rows are null or the column ends.
    fn read(reader: &mut ColumnReader, n: usize) -> Result<Values, ParquetError> {
        Ok(match reader {
            ColumnReader::BoolColumnReader(column) => {
                Values::Numbers(values(column, n)?.into_iter().map(i64::from).collect())
            }
            ColumnReader::Int32ColumnReader(column) => {
                Values::Numbers(values(column, n)?.into_iter().map(i64::from).collect())
            }
            ColumnReader::Int64ColumnReader(column) => Values::Numbers(values(column, n)?),
            ColumnReader::ByteArrayColumnReader(column) => Values::Bytes(values(column, n)?),
            _ => return Err(ParquetError::General("a column of another type".into())),
        })
    }

    fn len(&self) -> usize {
        match self {
            Values::Numbers(numbers) => numbers.len(),
            Values::Bytes(bytes) => bytes.len(),
        }
    }
}

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

/// Refuses what is compressed in the one way that nobody writes any more.
fn check_compression(path: &Path, compression: Compression) -> Result<(), DataError> {
    match compression {
        Compression::UNCOMPRESSED
        | Compression::SNAPPY
        | Compression::ZSTD(_)
        | Compression::GZIP(_)
        | Compression::BROTLI(_)
        | Compression::LZ4
        | Compression::LZ4_RAW => Ok(()),
        Compression::LZO => Err(DataError::Malformed {
            path: path.to_owned(),
            at: "its columns".into(),
            expected: "no compression, snappy, zstd, gzip, brotli or lz4".into(),
            found: "lzo".into(),
            mend: "the file may well be sound: write it again with one of these (in Python: \
                   pyarrow.parquet.write_table(table, path, compression='zstd'))"
                .into(),
        }),
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
