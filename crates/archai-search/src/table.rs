//! A table as an evaluator: what networks reach is looked up instead of measured, so that a search takes seconds.
//!
//! Never let a search see a column of test accuracies: those are for the report.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use archai_spec::names::unknown;

use crate::evaluator::{EvalError, Evaluator, Job, Reports, Verdict};
use crate::quantity::{CostClass, Quantity, Values};
use crate::space::{Member, SearchSpace};

/// A quantity of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct TableQuantity {
    /// What it is.
    pub quantity: Quantity,
    /// In which column it stands, after how many epochs; a single column of a quantity that is not trained has any number.
    pub columns: Vec<(u32, String)>,
    /// Numbers that mean that nothing is known.
    pub missing: Vec<f64>,
}

impl TableQuantity {
    /// A quantity in one column, in which -1 and -100000000 mean that nothing is known, as in the tables of NAS-Bench-201.
    pub fn new(quantity: Quantity, column: impl Into<String>) -> Self {
        TableQuantity {
            quantity,
            columns: vec![(u32::MAX, column.into())],
            missing: vec![-1.0, -1e8],
        }
    }

    /// A quantity with a column for each of several lengths of training.
    pub fn by_epochs<S: Into<String>>(
        quantity: Quantity,
        columns: impl IntoIterator<Item = (u32, S)>,
    ) -> Self {
        let columns = columns
            .into_iter()
            .map(|(epochs, column)| (epochs, column.into()));
        let mut columns: Vec<(u32, String)> = columns.collect();
        columns.sort();
        TableQuantity {
            columns,
            ..TableQuantity::new(quantity, "")
        }
    }
}

/// A table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The file cannot be read.
    #[error("cannot read the table `{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is no such table.
    #[error("the table `{}`, line {line}: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong, and what was expected.
        problem: String,
    },
}

/// The names of a table's columns.
///
/// # Errors
/// The file cannot be read, or its first line is none of a table.
pub fn header(path: &Path) -> Result<Vec<String>, TableError> {
    let mut csv = csv::ReaderBuilder::new().from_reader(text_of(path)?);
    let header = csv.headers().map_err(|e| TableError::Malformed {
        path: path.to_path_buf(),
        line: 1,
        problem: e.to_string(),
    })?;
    Ok(header.iter().map(str::to_string).collect())
}

/// The text of a table, plain or compressed by gzip.
fn text_of(path: &Path) -> Result<impl Read, TableError> {
    let io = |source| TableError::Io {
        path: path.to_path_buf(),
        source,
    };
    let mut file = BufReader::new(File::open(path).map_err(io)?);
    let mut magic = [0; 2];
    let mut n = 0;
    while n < magic.len() {
        match file.read(&mut magic[n..]).map_err(io)? {
            0 => break,
            more => n += more,
        }
    }
    let start = std::io::Cursor::new(magic).take(n as u64);
    let bytes: Box<dyn Read> = match magic {
        [0x1f, 0x8b] => Box::new(flate2::read::MultiGzDecoder::new(start.chain(file))),
        _ => Box::new(start.chain(file)),
    };
    // A line without end would grow in memory before anything could look at it.
    Ok(bytes.take(MAX_BYTES))
}

/// Most bytes of a table's text.
const MAX_BYTES: u64 = 1 << 30;

/// A table that was read.
#[derive(Clone, Debug)]
pub struct Table {
    path: PathBuf,
    quantities: Vec<Quantity>,
    columns: Vec<TableQuantity>,
    rows: HashMap<String, Vec<Option<f64>>>,
}

impl Table {
    /// Reads a table: comma-separated text with a header line, plain or compressed by gzip. The column `key` holds the ids of
    /// members, whole or without the name of the space: `nb201-220223` or `220223`.
    ///
    /// # Errors
    /// It cannot be read, a column is missing, a field is no number, a key stands there twice.
    pub fn open(path: &Path, key: &str, columns: Vec<TableQuantity>) -> Result<Self, TableError> {
        Self::read(path, text_of(path)?, key, columns)
    }

    fn read(
        path: &Path,
        bytes: impl Read,
        key: &str,
        columns: Vec<TableQuantity>,
    ) -> Result<Self, TableError> {
        let malformed = |line: u64, problem: String| TableError::Malformed {
            path: path.to_path_buf(),
            line,
            problem,
        };
        let failed = |e: csv::Error| {
            let line = e.position().map_or(1, csv::Position::line);
            malformed(line, e.to_string())
        };
        let mut csv = csv::ReaderBuilder::new().from_reader(bytes);
        let header = csv.headers().map_err(failed)?.clone();
        let find = |name: &str| {
            let found = header.iter().position(|column| column == name);
            found.ok_or_else(|| malformed(1, unknown("column", name, header.iter()).to_string()))
        };
        let key_at = find(key)?;
        let names = columns.iter().flat_map(|quantity| &quantity.columns);
        let places: Vec<usize> = names
            .map(|(_, name)| find(name))
            .collect::<Result<_, _>>()?;
        let missing: Vec<&[f64]> = columns
            .iter()
            .flat_map(|quantity| quantity.columns.iter().map(|_| quantity.missing.as_slice()))
            .collect();
        let mut rows = HashMap::new();
        for record in csv.records() {
            let record = record.map_err(failed)?;
            let line = record.position().map_or(0, csv::Position::line);
            let mut row = Vec::with_capacity(places.len());
            for (place, missing) in places.iter().zip(&missing) {
                let field = record.get(*place).unwrap_or_default().trim();
                let value = match field {
                    "" => None,
                    text => Some(text.parse::<f64>().map_err(|_| {
                        let column = header.get(*place).unwrap_or_default();
                        malformed(
                            line,
                            format!("`{text}` in the column `{column}` is no number"),
                        )
                    })?),
                };
                row.push(value.filter(|v| v.is_finite() && !missing.contains(v)));
            }
            let id = record.get(key_at).unwrap_or_default().to_string();
            if rows.insert(id.clone(), row).is_some() {
                return Err(malformed(line, format!("`{id}` stands there twice")));
            }
        }
        Ok(Table {
            path: path.to_path_buf(),
            quantities: columns
                .iter()
                .map(|quantity| quantity.quantity.clone())
                .collect(),
            columns,
            rows,
        })
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn row(&self, id: &str) -> Option<&[Option<f64>]> {
        let bare = id.split_once('-').map_or(id, |(_, rest)| rest);
        let row = self.rows.get(id).or_else(|| self.rows.get(bare));
        row.map(Vec::as_slice)
    }

    /// What the table says of a member by its id: every quantity of which it says something, after so many epochs.
    pub fn get(&self, id: &str, epochs: u32) -> Option<Values> {
        let row = self.row(id)?;
        let mut values = Values::new();
        let mut at = 0;
        for quantity in &self.columns {
            let fields = &row[at..at + quantity.columns.len()];
            at += quantity.columns.len();
            let usable = quantity.columns.iter().zip(fields);
            // The longest training that is not longer than asked for; a single column always.
            let single = quantity.columns.len() == 1;
            let found = usable
                .rev()
                .find(|((after, _), _)| single || *after <= epochs);
            if let Some((_, Some(value))) = found {
                values.insert(quantity.quantity.name.clone(), *value);
            }
        }
        Some(values)
    }

    fn of_class(&self, mut values: Values, is_static: bool) -> Values {
        for quantity in &self.quantities {
            if (quantity.class == CostClass::Static) != is_static {
                values.remove(&quantity.name);
            }
        }
        values
    }
}

impl Evaluator for Table {
    fn quantities(&self) -> &[Quantity] {
        &self.quantities
    }

    fn evaluate(&self, job: &Job<'_>, reports: &mut dyn Reports) -> Result<Values, EvalError> {
        let get = |epochs: u32| {
            let values = self.get(job.id, epochs).ok_or_else(|| {
                EvalError::network(format!(
                    "the table `{}` has no row for {}",
                    self.path.display(),
                    job.id
                ))
            })?;
            Ok(self.of_class(values, false))
        };
        let between = |epochs: &u32| job.epochs.0 < *epochs && *epochs < job.epochs.1;
        let columns = self.columns.iter().flat_map(|quantity| &quantity.columns);
        let mut stages: Vec<u32> = columns.map(|(epochs, _)| *epochs).filter(between).collect();
        stages.sort_unstable();
        stages.dedup();
        for epochs in stages {
            let values = get(epochs)?;
            if reports.report(epochs, &values) != Verdict::Go {
                return Ok(values);
            }
        }
        get(job.epochs.1)
    }

    fn statics(&self, space: &dyn SearchSpace, member: &Member) -> Result<Values, EvalError> {
        if self
            .quantities
            .iter()
            .all(|quantity| quantity.class != CostClass::Static)
        {
            return Ok(Values::new());
        }
        let values = self.get(&space.id(member), u32::MAX).unwrap_or_default();
        Ok(self.of_class(values, true))
    }
}
