//! A cell of NAS-Bench-101 (Ying et al.: "NAS-Bench-101: Towards Reproducible Neural Architecture Search", 2019,
//! arXiv:1902.09635): no search, but the evaluation of the cell that the configuration names, or of a random one.
//!
//! A random cell is drawn as the benchmark's own random search draws it ([`Cell101::random`]), keyed by the run's seed. The
//! "search" writes the description, so that an evaluation has the file that it needs.

use archai_data::rng::Key;
use archai_engine::{
    EngineError,
    ahead::{Ahead, PlannedTrainings},
    experiment::{Experiment, ExperimentRunner, Found, Searcher},
};
use archai_spec::desc::{
    ModelDesc, ModelDescBuilder,
    nasbench101::{Cell101, NasBench101Builder},
};
use archai_spec::settings;
use archai_spec::spaces::Space;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Algorithm;
use crate::given;

/// The algorithm `nasbench101` for the list of all: name, paper and default settings.
pub fn algorithm() -> Algorithm {
    Algorithm::new(
        "nasbench101",
        "no search: the NAS-Bench-101 cell that is named, or a random one",
        NasBench101::new,
    )
    .paper(
        "Ying et al.: NAS-Bench-101: Towards Reproducible Neural Architecture Search, 2019, \
         arXiv:1902.09635",
    )
    .yaml(include_str!("nasbench101.yaml"))
    .toy(include_str!("nasbench101_toy.yaml"))
    .space("archai:spaces/nasbench101.yaml")
}

/// The section `nas.search.nasbench101`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NasBench101Settings {
    /// The cell in the benchmark's notation; null draws a random one.
    #[serde(default)]
    pub cell: Option<Graph101>,
}

/// A cell in the benchmark's notation, checked and without superfluous vertices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Notation", into = "Notation")]
pub struct Graph101(Cell101);

/// As it is written.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Notation {
    /// One row per vertex; 1 in row i and column j is an edge from vertex i to vertex j.
    matrix: Vec<Vec<u8>>,
    /// One op per vertex: `input`, then conv1x1-bn-relu, conv3x3-bn-relu or maxpool3x3, then `output`.
    ops: Vec<String>,
}

impl TryFrom<Notation> for Graph101 {
    type Error = String;
    fn try_from(text: Notation) -> Result<Self, String> {
        let cell = Cell101::new(&text.matrix, &text.ops);
        cell.map(Graph101).map_err(|e| e.to_string())
    }
}

impl From<Graph101> for Notation {
    fn from(Graph101(cell): Graph101) -> Notation {
        Notation {
            matrix: cell.matrix(),
            ops: cell.op_names().into_iter().map(str::to_string).collect(),
        }
    }
}

impl JsonSchema for Graph101 {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Graph101".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Notation::json_schema(generator)
    }
}

impl From<Cell101> for Graph101 {
    fn from(cell: Cell101) -> Self {
        Graph101(cell)
    }
}

/// A cell of NAS-Bench-101.
#[derive(Clone, Debug, Default)]
pub struct NasBench101 {
    settings: NasBench101Settings,
}

impl NasBench101 {
    /// From its section of the configuration.
    pub fn new(settings: NasBench101Settings) -> Self {
        NasBench101 { settings }
    }

    fn named(&self) -> Option<Cell101> {
        self.settings.cell.clone().map(|Graph101(cell)| cell)
    }

    /// The cell that is evaluated in a run with this key, and which one that is, in words.
    fn cell(&self, key: &Key) -> Result<(Cell101, &'static str), EngineError> {
        if let Some(cell) = self.named() {
            return Ok((cell, "the named"));
        }
        let mut rng = key.with("nasbench101").rng();
        let drawn = Cell101::random(|n| rng.uniform_u32_below(n));
        let drawn = drawn.map_err(|e| EngineError::Internal(e.to_string()))?;
        Ok((drawn, "a random"))
    }
}

impl ExperimentRunner for NasBench101 {
    fn model_desc_builder(&self) -> Box<dyn ModelDescBuilder> {
        Box::new(NasBench101Builder { cell: self.named() })
    }

    fn searches_in(&self, _: &dyn Space) -> bool {
        false
    }

    fn unread(&self, _: &settings::Search) -> Vec<&'static str> {
        given::OF_SUPERNETS.to_vec()
    }

    fn preview(&self, ahead: &Ahead<'_>) -> Result<Vec<ModelDesc>, EngineError> {
        let (cell, _) = self.cell(&Key::new(ahead.settings.common.seed))?;
        given::preview(ahead, &NasBench101Builder { cell: Some(cell) })
    }

    fn trainings(&self, _: &Ahead<'_>) -> Result<PlannedTrainings, EngineError> {
        Ok(PlannedTrainings::default())
    }

    fn searcher(&self) -> Option<Box<dyn Searcher>> {
        Some(Box::new(self.clone()))
    }
}

impl Searcher for NasBench101 {
    fn search(
        &mut self,
        experiment: &Experiment<'_>,
        _: &dyn ExperimentRunner,
    ) -> Result<Found, EngineError> {
        let (cell, whose) = self.cell(&Key::new(experiment.run.seed))?;
        let note = format!(
            "no search: {whose} cell, matrix {:?}, ops {:?}, fingerprint {}",
            cell.matrix(),
            cell.op_names(),
            cell.fingerprint()
        );
        given::found(experiment, &NasBench101Builder { cell: Some(cell) }, note)
    }
}
