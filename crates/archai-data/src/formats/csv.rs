//! Tables of paths and labels (CSV): one line for each picture. A path that does not begin at the root starts at the folder
//! of its table. Labels are numbers from 0 or the names of classes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use archai_spec::registry::Named;
use archai_spec::settings;

use super::columns;
use super::labels::{Labels, numbered};
use super::pictures::{Digest, Judged, Pictures};
use crate::dataset::{Dataset, Split};
use crate::error::DataError;
use crate::files;
use crate::format::DataFormat;

/// The usual names of the column of paths, in small letters.
const IMAGES: [&str; 10] = [
    "image",
    "path",
    "file",
    "filename",
    "file_name",
    "filepath",
    "image_path",
    "img",
    "img_path",
    "picture",
];

/// The usual names of the column of labels.
const LABELS: [&str; 7] = [
    "label",
    "class",
    "target",
    "category",
    "labels",
    "classname",
    "class_name",
];

/// Largest table that is read: some ten million lines.
const MAX_FILE: u64 = 1 << 30;

/// The format `csv`.
#[derive(Default)]
pub(super) struct Csv {
    judged: Judged,
}

impl Named for Csv {
    fn name(&self) -> &str {
        "csv"
    }

    fn about(&self) -> &str {
        "tables of paths of pictures and labels (CSV, TSV), with a line of column names: train*.csv and test*.csv (or val*.csv)"
    }
}

impl DataFormat for Csv {
    fn open(
        &self,
        dataset: &settings::Dataset,
        split: Split,
    ) -> Result<Arc<dyn Dataset>, DataError> {
        let list = read(dataset, split)?;
        let train = || read(dataset, Split::Train).map(|train| train.labels);
        let at = |index: usize| list.place(index);
        let (numbers, classes) = numbered(dataset, split, &list.labels, train, &at)?;
        let mut pictures = Pictures::new(dataset, classes, Digest::Encoded("archai pictures 1\n"));
        for (path, label) in list.paths.into_iter().zip(numbers) {
            pictures.push_file(path, label);
        }
        Ok(Arc::new(pictures.cleaned(&self.judged)?))
    }

    fn files(&self, dataset: &settings::Dataset, split: Split) -> Result<Vec<PathBuf>, DataError> {
        let List { tables, paths, .. } = read(dataset, split)?;
        Ok(tables
            .into_iter()
            .map(|(table, _)| table)
            .chain(paths)
            .collect())
    }

    fn keys(&self) -> &[&str] {
        &["columns", "on_damaged"]
    }
}

/// The tables of a part. Where `dataset.path` is itself a table, it is that of the training data, and the others lie beside it.
fn tables(dataset: &settings::Dataset, split: Split) -> Result<Vec<PathBuf>, DataError> {
    let path = Path::new(&dataset.path);
    let usual: &[&[&str]] = match split {
        Split::Train => &[&["train*.csv", "train*.tsv"]],
        Split::Test => &[&["test*.csv", "test*.tsv"], &["val*.csv", "val*.tsv"]],
    };
    if !path.is_file() {
        return files::of_part(dataset, split, usual);
    }
    if split == Split::Train && dataset.train.is_none() {
        return Ok(vec![path.to_owned()]);
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let beside = settings::Dataset {
        path: match folder.as_os_str().is_empty() {
            true => ".".into(),
            false => folder.to_string_lossy().into_owned(),
        },
        ..dataset.clone()
    };
    files::of_part(&beside, split, usual)
}

/// What the tables of a part say.
#[derive(Default)]
struct List {
    paths: Vec<PathBuf>,
    labels: Labels,
    /// The tables, and how many pictures there are up to the end of each.
    tables: Vec<(PathBuf, usize)>,
}

impl List {
    /// The table that a picture stands in, and where in it.
    fn place(&self, index: usize) -> (PathBuf, String) {
        let table = self.tables.iter().position(|(_, end)| index < *end);
        let first = match table {
            Some(table) if table > 0 => self.tables[table - 1].1,
            _ => 0,
        };
        let path = table.map(|table| self.tables[table].0.clone());
        (path.unwrap_or_default(), format!("row {}", index - first))
    }
}

fn read(dataset: &settings::Dataset, split: Split) -> Result<List, DataError> {
    columns::refuse_test_names(dataset)?;
    let mut list = List::default();
    for path in tables(dataset, split)? {
        table(dataset, &path, &mut list)?;
        let end = list.paths.len();
        list.tables.push((path, end));
    }
    Ok(list)
}

fn table(dataset: &settings::Dataset, path: &Path, list: &mut List) -> Result<(), DataError> {
    let length = fs::metadata(path)
        .map_err(DataError::io("read", path))?
        .len();
    if length > MAX_FILE {
        let expected = format!("a table of at most {} MiB", MAX_FILE >> 20);
        let found = format!("{length} bytes");
        return Err(DataError::malformed(path, "its length", expected, found));
    }
    let is_tabbed = path.extension().is_some_and(|ending| ending == "tsv");
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(if is_tabbed { b'\t' } else { b',' })
        .trim(csv::Trim::All)
        .from_path(path)
        .map_err(|error| unreadable(path, error))?;
    let header = reader.headers().map_err(|error| unreadable(path, error))?;
    // Excel marks the beginning of a table in UTF-8.
    let names: Vec<String> = header
        .iter()
        .map(|name| name.trim_start_matches('\u{feff}').to_owned())
        .collect();
    let named = dataset.columns.as_ref();
    let image = columns::find(
        path,
        &names,
        "images",
        named.and_then(|columns| columns.image.as_deref()),
        &IMAGES,
    )?;
    let label = columns::find(
        path,
        &names,
        "labels",
        named.and_then(|columns| columns.label.as_deref()),
        &LABELS,
    )?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut record = csv::StringRecord::new();
    let mut row = 0;
    while reader
        .read_record(&mut record)
        .map_err(|error| unreadable(path, error))?
    {
        let at = || format!("row {row}");
        let cell = |column: usize| record.get(column).unwrap_or_default();
        if cell(image).is_empty() {
            return Err(DataError::malformed(
                path,
                at(),
                "the path of a picture",
                "nothing",
            ));
        }
        list.labels.push(path, cell(label), &at)?;
        list.paths.push(folder.join(cell(image)));
        row += 1;
    }
    Ok(())
}

fn unreadable(path: &Path, error: csv::Error) -> DataError {
    let said = error.to_string();
    match error.into_kind() {
        csv::ErrorKind::Io(source) => DataError::io("read", path)(source),
        _ => DataError::malformed(
            path,
            "its lines",
            "a table in UTF-8 whose lines all have as many cells as the first",
            said,
        ),
    }
}
