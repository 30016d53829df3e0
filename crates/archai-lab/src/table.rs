//! The table of NAS-Bench-201: what a cell truly reaches.

use std::collections::BTreeMap;
use std::path::Path;

use archai_data::nasbench201::{Benchmark201, NasBench201Table, Standing};
use archai_engine::files::FileError;
use archai_spec::desc::{ModelDesc, OpCatalog, nasbench201::Cell201};

use archai_spec::finalize::Supernet;
use archai_spec::numbers::thousands;
use archai_spec::rng::Key;
use archai_spec::settings::ModelDescSettings;
use archai_spec::spaces::Space;

use crate::error::LabError;

/// How the names of a table's figures begin.
pub(crate) const FIGURES: &str = "nb201_";

/// Name for people, and name of the figures in `result.json`.
const NAMES: [(Benchmark201, &str, &str); 3] = [
    (Benchmark201::Cifar10, "CIFAR-10", "cifar10"),
    (Benchmark201::Cifar100, "CIFAR-100", "cifar100"),
    (Benchmark201::ImageNet16, "ImageNet16-120", "imagenet16"),
];

/// A table that was read.
#[derive(Debug)]
pub struct Table(NasBench201Table);

/// What a table says of a cell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableEntry {
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
    pub fn open(path: &Path) -> Result<Self, LabError> {
        if !path.exists() {
            return Err(LabError::request(format!(
                "there is no table `{}`; check the path",
                path.display()
            )));
        }
        Ok(Table(NasBench201Table::open(path)?))
    }

    /// Whether tables of this kind know the cells of a space: whether what is drawn there is one of NAS-Bench-201.
    pub(crate) fn knows(
        space: &dyn Space,
        settings: &ModelDescSettings,
        catalog: &OpCatalog,
    ) -> bool {
        let Ok(built) = space.supernet(settings, catalog) else {
            return false;
        };
        let drawn = space.draw(Supernet::new(&built.desc, catalog), &Key::new(0));
        drawn.is_ok_and(|desc| Cell201::from_desc(&desc).is_ok())
    }

    /// What it says of the cell in a found description. A description that is no cell of the space gets an entry that says
    /// so: a search that has come so far shall not end in an error.
    ///
    /// # Errors
    /// The file cannot be read, or is no description.
    pub fn of_file(&self, path: &Path, catalog: &OpCatalog) -> Result<TableEntry, LabError> {
        match Cell201::from_desc(&read_desc(path, catalog)?) {
            Ok(cell) => Ok(self.of_cell(&cell)),
            Err(e) => Ok(TableEntry {
                lines: vec![format!(
                    "the table says nothing: what was found is no cell of NAS-Bench-201: {e}"
                )],
                figures: BTreeMap::new(),
            }),
        }
    }

    /// What it says of a cell.
    pub fn of_cell(&self, cell: &Cell201) -> TableEntry {
        let mut lines = vec![format!("NAS-Bench-201 cell {} = {cell}", cell.digits())];
        let mut figures = BTreeMap::new();
        let Some(row) = self.0.get(cell) else {
            lines.push("the table has no row for it".to_string());
            return TableEntry { lines, figures };
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
            figures.insert(format!("{FIGURES}{key}_top1"), test_accuracy / 100.0);
            figures.insert(format!("{FIGURES}{key}_rank"), rank as f64);
        }
        TableEntry { lines, figures }
    }
}

fn read_desc(path: &Path, catalog: &OpCatalog) -> Result<ModelDesc, LabError> {
    let text = std::fs::read_to_string(path).map_err(|e| FileError::new("read", path, e))?;
    Ok(ModelDesc::from_yaml(
        &text,
        &path.display().to_string(),
        catalog,
    )?)
}
