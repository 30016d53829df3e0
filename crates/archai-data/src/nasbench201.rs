//! The table of NAS-Bench-201: what every cell of the space reaches when it is trained. For reports only: no search may see
//! a test accuracy.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use archai_spec::desc::nasbench201::{Cell201, N_CELLS};

use crate::bounded::gunzip;
use crate::error::DataError;

/// Most bytes of a table's text; the whole one has 7.4 million.
const MAX_BYTES: u64 = 64 << 20;

/// The data sets of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Benchmark201 {
    /// CIFAR-10.
    Cifar10,
    /// CIFAR-100.
    Cifar100,
    /// ImageNet at 16×16 pixels, 120 classes.
    ImageNet16,
}

impl Benchmark201 {
    /// All of them.
    pub const ALL: [Benchmark201; 3] = [
        Benchmark201::Cifar10,
        Benchmark201::Cifar100,
        Benchmark201::ImageNet16,
    ];
    /// The one that a data set of this name is.
    pub fn of_dataset(name: &str) -> Option<Benchmark201> {
        match name {
            "cifar10" => Some(Benchmark201::Cifar10),
            "cifar100" => Some(Benchmark201::Cifar100),
            "imagenet16" | "imagenet16-120" | "imagenet16_120" => Some(Benchmark201::ImageNet16),
            _ => None,
        }
    }
    fn column(self) -> &'static str {
        match self {
            Benchmark201::Cifar10 => "c10_test_200ep",
            Benchmark201::Cifar100 => "c100_test_200ep",
            Benchmark201::ImageNet16 => "in16_test_200ep",
        }
    }
}

/// What the table says of a cell on a data set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// Test accuracy in percent after 200 epochs, mean over the benchmark's runs.
    pub test_accuracy: f64,
    /// 1 for the best cell; one more than the number of cells that are strictly better.
    pub rank: usize,
    /// Mean test accuracy in percent of all cells that are the same network ([`Cell201::unique_string`]).
    pub network_accuracy: f64,
    /// The rank among distinct networks by that mean.
    pub network_rank: usize,
}

/// What the table says of a cell.
#[derive(Clone, Debug, PartialEq)]
pub struct Row201 {
    /// The column `index`, which numbers the cells as NATS-Bench does.
    pub index: usize,
    /// By data set, in the order of [`Benchmark201::ALL`].
    pub standings: [Standing; 3],
}

impl Row201 {
    /// The standing on one data set.
    pub fn on(&self, benchmark: Benchmark201) -> Standing {
        self.standings[benchmark as usize]
    }
}

/// The table, whole or in part.
#[derive(Clone, Debug)]
pub struct NasBench201Table {
    rows: HashMap<Cell201, Row201>,
    networks: usize,
}

impl NasBench201Table {
    /// Reads a table: comma-separated text with a header line, plain or compressed by gzip. Needed are the columns `index`,
    /// `edges` (six digits, see [`Cell201`]) and the test accuracies `c10_test_200ep`, `c100_test_200ep` and
    /// `in16_test_200ep`; `arch_str` is compared where it is there; others are not read.
    ///
    /// # Errors
    /// [`DataError::Io`], or [`DataError::Malformed`] with the line: a missing column, a wrong number of fields, a cell
    /// that is none or stands there twice, an accuracy that is not between 0 and 100, a text that is too long.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let file = File::open(path).map_err(DataError::io("read", path))?;
        let length = file.metadata().map_err(DataError::io("read", path))?.len();
        let mut file = BufReader::new(file);
        let mut magic = [0; 2];
        let n = read_up_to(&mut file, &mut magic).map_err(DataError::io("read", path))?;
        let start = std::io::Cursor::new(magic).take(n as u64);
        let bytes: Box<dyn Read> = match magic {
            [0x1f, 0x8b] => Box::new(gunzip(start.chain(file), length)),
            _ => Box::new(start.chain(file)),
        };
        // A line without end would grow in memory before anything could look at it.
        read(path, Box::new(bytes.take(MAX_BYTES + 1)))
    }

    /// The row of a cell, if the table has one.
    pub fn get(&self, cell: &Cell201) -> Option<&Row201> {
        self.rows.get(cell)
    }
    /// Number of cells: 15,625 in the whole table. Ranks count among these.
    pub fn len(&self) -> usize {
        self.rows.len()
    }
    /// Whether there is no cell.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
    /// Number of distinct networks among them: 6,466 in the whole table.
    pub fn n_networks(&self) -> usize {
        self.networks
    }
}

fn read_up_to(from: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut n = 0;
    while n < buffer.len() {
        match from.read(&mut buffer[n..])? {
            0 => break,
            more => n += more,
        }
    }
    Ok(n)
}

fn malformed(path: &Path, at: String, expected: &str, found: impl Into<String>) -> DataError {
    DataError::Malformed {
        path: path.to_owned(),
        at,
        expected: expected.into(),
        found: found.into(),
        mend: "the file is damaged or another table: get it again".into(),
    }
}

/// At most a hundred characters of what a file holds, for messages.
fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(100).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("`{short}`")
}

/// A line as it is read: cell, index, accuracies.
type Line = (Cell201, usize, [f64; 3]);

fn read(path: &Path, bytes: impl Read) -> Result<NasBench201Table, DataError> {
    let mut csv = csv::ReaderBuilder::new().from_reader(bytes.take(MAX_BYTES + 1));
    let failed = |e: csv::Error| {
        let line = e.position().map_or(1, csv::Position::line);
        match e.into_kind() {
            csv::ErrorKind::Io(source) => DataError::io("read", path)(source),
            csv::ErrorKind::UnequalLengths {
                expected_len, len, ..
            } => malformed(
                path,
                format!("line {line}"),
                &format!("{expected_len} fields as in the header"),
                format!("{len}"),
            ),
            kind => malformed(
                path,
                format!("line {line}"),
                "comma-separated text in UTF-8",
                format!("{kind:?}"),
            ),
        }
    };
    let header = csv.headers().map_err(failed)?.clone();
    let column = |name: &str| {
        header.iter().position(|h| h == name).ok_or_else(|| {
            malformed(
                path,
                "line 1".into(),
                &format!("a header with the column `{name}`"),
                format!(
                    "the columns {}",
                    shown(&header.iter().collect::<Vec<_>>().join(","))
                ),
            )
        })
    };
    let (index_at, edges_at) = (column("index")?, column("edges")?);
    let text_at = header.iter().position(|h| h == "arch_str");
    let mut accuracy_at = [0; 3];
    for (at, benchmark) in accuracy_at.iter_mut().zip(Benchmark201::ALL) {
        *at = column(benchmark.column())?;
    }
    let mut lines: Vec<Line> = Vec::new();
    let mut seen: HashMap<Cell201, u64> = HashMap::new();
    let mut record = csv::StringRecord::new();
    while csv.read_record(&mut record).map_err(failed)? {
        let line = record.position().map_or(0, csv::Position::line);
        if csv.position().byte() > MAX_BYTES || lines.len() == N_CELLS {
            return Err(malformed(
                path,
                format!("line {line}"),
                &format!("at most {N_CELLS} rows and {MAX_BYTES} bytes"),
                "more",
            ));
        }
        let wrong = |what: &str, expected: &str, found: &str| {
            Err(malformed(
                path,
                format!("line {line}, column `{what}`"),
                expected,
                shown(found),
            ))
        };
        let edges = &record[edges_at];
        let Ok(cell) = edges.parse::<Cell201>() else {
            return wrong("edges", "six digits 0 to 4", edges);
        };
        if let Some(text) = text_at.map(|at| &record[at])
            && *text != cell.to_string()
        {
            return wrong("arch_str", &format!("`{cell}`, which `edges` says"), text);
        }
        let Ok(index) = record[index_at].parse() else {
            return wrong("index", "a whole number", &record[index_at]);
        };
        let mut accuracies = [0.0; 3];
        for ((accuracy, at), benchmark) in accuracies
            .iter_mut()
            .zip(accuracy_at)
            .zip(Benchmark201::ALL)
        {
            *accuracy = match record[at].parse::<f64>() {
                Ok(a) if (0.0..=100.0).contains(&a) => a,
                _ => return wrong(benchmark.column(), "a percentage", &record[at]),
            };
        }
        if let Some(first) = seen.insert(cell, line) {
            let found = format!("{} again, after line {first}", cell.digits());
            return wrong("edges", "each cell once", &found);
        }
        lines.push((cell, index, accuracies));
    }
    if lines.is_empty() {
        return Err(malformed(
            path,
            "line 2".into(),
            "at least one cell",
            "none",
        ));
    }
    Ok(ranked(lines))
}

fn ranked(lines: Vec<Line>) -> NasBench201Table {
    let names: Vec<String> = lines
        .iter()
        .map(|(cell, ..)| cell.unique_string())
        .collect();
    let mut networks: HashMap<&str, ([f64; 3], f64)> = HashMap::new();
    for (name, (.., accuracies)) in names.iter().zip(&lines) {
        let (sums, n) = networks.entry(name).or_default();
        sums.iter_mut().zip(accuracies).for_each(|(s, a)| *s += a);
        *n += 1.0;
    }
    let mean = |name: &str, d: usize| {
        let (sums, n) = networks[name];
        sums[d] / n
    };
    // Best first: the rank of an accuracy is one more than the number of larger ones before it.
    let sorted = |mut all: Vec<f64>| {
        all.sort_by(|a, b| b.total_cmp(a));
        all
    };
    let cells: [Vec<f64>; 3] =
        std::array::from_fn(|d| sorted(lines.iter().map(|(.., a)| a[d]).collect()));
    let groups: [Vec<f64>; 3] =
        std::array::from_fn(|d| sorted(networks.keys().map(|name| mean(name, d)).collect()));
    let rank = |all: &[f64], accuracy: f64| all.partition_point(|&a| a > accuracy) + 1;
    let rows = lines
        .iter()
        .zip(&names)
        .map(|((cell, index, accuracies), name)| {
            let standings = std::array::from_fn(|d| {
                let network_accuracy = mean(name, d);
                Standing {
                    test_accuracy: accuracies[d],
                    rank: rank(&cells[d], accuracies[d]),
                    network_accuracy,
                    network_rank: rank(&groups[d], network_accuracy),
                }
            });
            let index = *index;
            (*cell, Row201 { index, standings })
        })
        .collect();
    NasBench201Table {
        rows,
        networks: networks.len(),
    }
}
