//! A table of what single layers take, in a file: made on one machine, used anywhere.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use archai_engine::files::write_atomically;
use archai_search::{Bound, Limit};
use archai_spec::graph::Graph;
use archai_spec::names::unknown;
use serde::{Deserialize, Serialize};

use super::fit::{Fit, FitError};
use super::layers::{Kind, signatures};

/// What the first line of a table says.
const FORMAT: &str = "archai-latency-table";
/// The version that this program writes and reads.
const VERSION: u32 = 1;
/// Largest file of a table: a thousand layers take a hundred kilobytes.
const MAX_FILE: u64 = 16 << 20;

/// On what was measured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// The processor's name; empty where the system does not say.
    pub cpu: String,
    /// Threads that a network ran in.
    pub threads: usize,
    /// How the system chooses the processor's clock; empty where it does not say.
    pub governor: String,
}

/// What a layer takes alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimedLayer {
    /// The layer with its sizes: `conv 3×3 16→32 padding 1 on 16×32×32`.
    pub layer: String,
    /// Its kind.
    pub kind: Kind,
    /// Milliseconds for a batch.
    pub ms: f64,
}

/// A table of layers, what whole networks were fitted to, and what that is wrong by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatencyTable {
    /// `archai-latency-table`.
    pub format: String,
    /// Of this format.
    pub version: u32,
    /// The space whose layers these are.
    pub space: String,
    /// What computed the networks: `own`.
    pub runtime: String,
    /// Images at a time.
    pub batch: usize,
    /// On what.
    pub machine: Machine,
    /// What the reference network took, in milliseconds.
    pub reference_ms: f64,
    /// From layers to networks.
    pub fit: Fit,
    /// What predictions are wrong by.
    pub error: FitError,
    /// The layers.
    pub layers: Vec<TimedLayer>,
}

/// A table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The file cannot be read or written.
    #[error("the latency table `{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is no table, or not one for what it shall be used for.
    #[error("the latency table `{}`: {problem}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Why, what was expected, and how to mend it.
        problem: String,
    },
}

impl LatencyTable {
    /// A table of this version.
    pub(super) fn new(space: &str, batch: usize, machine: Machine) -> Self {
        LatencyTable {
            format: FORMAT.into(),
            version: VERSION,
            space: space.into(),
            runtime: "own".into(),
            batch,
            machine,
            reference_ms: 0.0,
            fit: Fit {
                base_ms: 0.0,
                factors: BTreeMap::new(),
            },
            error: FitError {
                networks: 0,
                spearman: 0.0,
                mean_relative: 0.0,
                quantile_95: 0.0,
            },
            layers: Vec::new(),
        }
    }

    /// Reads a table.
    ///
    /// # Errors
    /// The file cannot be read, or is no such table.
    pub fn read(path: &Path) -> Result<Self, TableError> {
        let io = |source| TableError::Io {
            path: path.to_path_buf(),
            source,
        };
        let size = std::fs::metadata(path).map_err(io)?.len();
        if size > MAX_FILE {
            let problem = format!("it has {size} bytes, and a table has less than {MAX_FILE}");
            return Err(TableError::Foreign {
                path: path.to_path_buf(),
                problem,
            });
        }
        Self::parse(path, &std::fs::read_to_string(path).map_err(io)?)
    }

    /// Reads a table from its text; `path` names it in errors.
    ///
    /// # Errors
    /// It is no such table.
    pub fn parse(path: &Path, text: &str) -> Result<Self, TableError> {
        /// What tells tables from other files.
        #[derive(Deserialize)]
        struct Head {
            #[serde(default)]
            format: String,
            #[serde(default)]
            version: u32,
        }
        let foreign = |problem: String| TableError::Foreign {
            path: path.to_path_buf(),
            problem,
        };
        let head: Head = serde_saphyr::from_str(text)
            .map_err(|e| foreign(format!("it is no table of latencies: {e}")))?;
        if head.format != FORMAT {
            return Err(foreign(format!(
                "its `format` is `{}`, expected `{FORMAT}`; `archai latency profile` writes such a file",
                head.format
            )));
        }
        if head.version != VERSION {
            return Err(foreign(format!(
                "it is of version {}, and this program reads version {VERSION}; make it again with `archai latency profile`",
                head.version
            )));
        }
        let table: LatencyTable =
            serde_saphyr::from_str(text).map_err(|e| foreign(e.to_string()))?;
        let numbers = table
            .layers
            .iter()
            .map(|l| l.ms)
            .chain(table.fit.factors.values().copied());
        let mut numbers = numbers.chain([table.fit.base_ms, table.error.quantile_95]);
        if let Some(wrong) = numbers.find(|v| !(v.is_finite() && *v >= 0.0)) {
            return Err(foreign(format!(
                "{wrong} is no time, factor or error; expected a number that is not negative"
            )));
        }
        let mut names: Vec<&str> = table.layers.iter().map(|l| l.layer.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(foreign(format!(
                "the layer `{}` stands there twice",
                twice[0]
            )));
        }
        Ok(table)
    }

    /// The table as text.
    ///
    /// # Errors
    /// None but for numbers that YAML cannot hold.
    pub fn to_text(&self) -> Result<String, String> {
        let head = "# What layers take alone, and how networks follow from that. `archai latency profile` made this file.\n";
        Ok(head.to_string() + &serde_saphyr::to_string(self).map_err(|e| e.to_string())?)
    }

    /// Writes the table.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), TableError> {
        let io = |source| TableError::Io {
            path: path.to_path_buf(),
            source,
        };
        let text = self.to_text().map_err(|e| io(std::io::Error::other(e)))?;
        write_atomically(path, |out| out.write_all(text.as_bytes()))
            .map_err(|e| io(std::io::Error::other(e)))
    }

    /// What a network takes by this table, in milliseconds.
    ///
    /// # Errors
    /// A layer that the table lacks, by name.
    pub fn predict(&self, graph: &Graph) -> Result<f64, String> {
        Ok(self.fit.predict(&self.alone(graph)?))
    }

    /// The sum of the times of a network's layers by kind.
    pub(super) fn alone(&self, graph: &Graph) -> Result<BTreeMap<Kind, f64>, String> {
        let mut alone = BTreeMap::new();
        for (text, (signature, n)) in signatures(graph) {
            let at = self
                .layers
                .binary_search_by(|layer| layer.layer.as_str().cmp(&text));
            let known = match at {
                Ok(at) => Some(&self.layers[at]),
                // A file that somebody has sorted otherwise.
                Err(_) => self.layers.iter().find(|layer| layer.layer == text),
            };
            let Some(known) = known else {
                let names = self.layers.iter().map(|layer| layer.layer.as_str());
                let nearest = unknown("layer", &text, names).nearest;
                let like = nearest.map_or_else(String::new, |n| {
                    format!(" (the nearest that it has is `{n}`)")
                });
                return Err(format!(
                    "the layer `{text}` is not in the latency table, which was made for the space `{}`{like}; make a table for \
                     the space at hand with `archai latency profile`",
                    self.space
                ));
            };
            *alone.entry(signature.kind).or_insert(0.0) += n as f64 * known.ms;
        }
        Ok(alone)
    }

    /// The largest prediction with which a network keeps a limit in 95 of 100 cases: the limit divided by 1 and the stated error.
    pub fn tightened(&self, ms: f64) -> f64 {
        ms / (1.0 + self.error.quantile_95)
    }

    /// A limit on the quantity of this name, tightened by the stated error; any other limit as it is.
    pub fn tighten(&self, limit: &Limit, quantity: &str) -> Limit {
        match limit.bound {
            Bound::AtMost(ms) if limit.quantity == quantity => Limit {
                bound: Bound::AtMost(self.tightened(ms)),
                ..limit.clone()
            },
            _ => limit.clone(),
        }
    }
}
