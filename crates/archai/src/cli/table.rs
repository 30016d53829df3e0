//! The table of NAS-Bench-201: what a cell truly reaches. `archai run --table` looks up what was found, `archai table` any cell.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use archai_data::nasbench201::{Benchmark201, NasBench201Table, Standing};
use archai_engine::OpRegistry;
use archai_engine::files::FileError;
use archai_spec::desc::{ModelDesc, nasbench201::Cell201};
use archai_spec::numbers::thousands;

use super::args::TableArgs;
use super::error::CliError;

/// Name for people, and name of the figures in `result.json`.
const NAMES: [(Benchmark201, &str, &str); 3] = [
    (Benchmark201::Cifar10, "CIFAR-10", "cifar10"),
    (Benchmark201::Cifar100, "CIFAR-100", "cifar100"),
    (Benchmark201::ImageNet16, "ImageNet16-120", "imagenet16"),
];

/// A table that was read.
pub struct Table(NasBench201Table);

/// What a table says of a cell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Looked {
    /// For people, line by line.
    pub lines: Vec<String>,
    /// For `result.json`: accuracies as fractions, and ranks.
    pub figures: BTreeMap<String, f64>,
}

impl Table {
    /// Reads a table.
    ///
    /// # Errors
    /// There is no such file, or it is no such table.
    pub fn open(path: &Path) -> Result<Self, CliError> {
        NasBench201Table::open(path)
            .map(Table)
            .map_err(CliError::caused)
    }

    /// What it says of the cell in a found description. A description that is no cell of the space is said to be none: a
    /// search that has come so far shall not end in an error.
    ///
    /// # Errors
    /// The file cannot be read, or is no description.
    pub fn of_file(&self, path: &Path) -> Result<Looked, CliError> {
        match Cell201::from_desc(&read_desc(path)?) {
            Ok(cell) => Ok(self.of_cell(&cell)),
            Err(e) => Ok(Looked {
                lines: vec![format!(
                    "the table says nothing: what was found is no cell of NAS-Bench-201: {e}"
                )],
                figures: BTreeMap::new(),
            }),
        }
    }

    /// What it says of a cell.
    pub fn of_cell(&self, cell: &Cell201) -> Looked {
        let mut lines = vec![format!("NAS-Bench-201 cell {} = {cell}", cell.digits())];
        let mut figures = BTreeMap::new();
        let Some(row) = self.0.get(cell) else {
            lines.push("the table has no row for it".to_string());
            return Looked { lines, figures };
        };
        for (benchmark, name, key) in NAMES {
            let Standing {
                test_accuracy,
                rank,
                network_accuracy: _,
                network_rank,
            } = row.on(benchmark);
            lines.push(format!(
                "true test accuracy on {name}: {test_accuracy:.2} %, rank {} of {} cells, {} of {} distinct networks",
                thousands(rank as u64),
                thousands(self.0.len() as u64),
                thousands(network_rank as u64),
                thousands(self.0.n_networks() as u64),
            ));
            figures.insert(format!("nb201_{key}_top1"), test_accuracy / 100.0);
            figures.insert(format!("nb201_{key}_rank"), rank as f64);
        }
        Looked { lines, figures }
    }
}

fn read_desc(path: &Path) -> Result<ModelDesc, CliError> {
    let text = std::fs::read_to_string(path).map_err(|e| FileError::new("read", path, e))?;
    let registry = OpRegistry::builtin();
    ModelDesc::from_yaml(&text, &path.display().to_string(), registry.catalog())
        .map_err(CliError::caused)
}

/// `archai table`.
///
/// # Errors
/// A table or a description that cannot be read, a cell that is none.
pub fn run(args: &TableArgs) -> Result<(), CliError> {
    let path = Path::new(&args.cell);
    let cell = if path.is_file() {
        Cell201::from_desc(&read_desc(path)?).map_err(CliError::caused)?
    } else {
        args.cell.parse().map_err(|e| {
            CliError::usage(format!(
                "{e}; or the path of a found description, but there is no file of this name"
            ))
        })?
    };
    let looked = Table::open(&args.table)?.of_cell(&cell);
    let mut out = std::io::stdout().lock();
    for line in looked.lines {
        writeln!(out, "{line}")?;
    }
    Ok(())
}
