//! Petridish (Hu, Langford, Caruana, Mukherjee, Horvitz, Dey: "Efficient Forward Architecture Search", 2019): start from
//! small networks and grow the promising ones, node by node.
//!
//! 1. Seeds: small networks of random cells, one for every number of reductions, cells and nodes within limits, are
//!    trained; they are the first points of a pool with a cost (multiply-adds) and an error (on validation data) each.
//! 2. A parent is drawn from the points near the lower convex hull of error over cost ([`eps_hull`],
//!    [`parent_probabilities`]) and [`grown`]: every cell gets one more node whose op weighs all candidates, but gives zero
//!    going forward; going backward it shows what each candidate would help (the paper's stop-forward and
//!    stop-gradient). The parent's weights are inherited, so that the network computes what it computed before. It is
//!    trained with an L1 penalty on the candidates' weights α.
//! 3. The candidates of the largest |α| remain, the network is trained on and joins the pool; again from 2.
//!
//! Trainings are [`Job`]s for [`Workers`]; the local ones are threads. They come in rounds: the parents of a round are
//! drawn when the round before is done, so the result does not depend on the number of workers.

mod evaluater;
mod grow;
mod hull;
mod op;
mod searcher;
mod workers;

use std::sync::Arc;

use archai_data::rng::Key;
use archai_engine::{
    AlphaInit, EngineError, OpRegistry, Raw, Relaxation,
    ahead::{Ahead, PlannedTraining, PlannedTrainings},
    experiment::{Evaluater, ExperimentRunner, Searcher},
};
use archai_spec::desc::{DartsModelDescBuilder, ModelDesc, ModelDescBuilder};
use archai_spec::settings;
use archai_spec::spaces::Space;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::didarts::SingleLevel;
use crate::{Algorithm, compared};

pub use evaluater::GalleryEvaluater;
pub use grow::{grown, inherit, settled};
pub use hull::{CostError, draw_index, eps_hull, lower_hull, parent_probabilities};
pub use op::{PETRIDISH_OP, candidates, petridish_op};
pub use searcher::{PetridishSearcher, Point, Stage};
pub use workers::{Job, JobResult, LocalWorkers, Work, Workers, run_job};

/// What messages call it.
const WHO: &str = "petridish";
/// The settings of the seeds' trainings.
const SEED_TRAIN: &str = "nas.search.petridish.seed_train";
/// The settings of the trainings after a growth.
const POST_TRAIN: &str = "nas.search.post_train";

/// The algorithm `petridish` for the list of all: name, paper and default settings.
pub fn algorithm() -> Algorithm {
    Algorithm::new("petridish", "small networks, of which the promising ones grow", Petridish::new)
    .paper(
        "Hu, Langford, Caruana, Mukherjee, Horvitz, Dey: Efficient Forward Architecture Search, 2019, \
         arXiv:1905.13360",
    )
    .yaml(include_str!("petridish.yaml"))
    .toy(include_str!("petridish_toy.yaml"))
}

/// The section `nas.search.petridish`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PetridishSettings {
    /// Training of the seeds.
    pub seed_train: settings::Training,
    /// The largest seeds; the smallest one is `nas.search.model_desc`.
    pub pareto: SeedLimits,
    /// Points whose error is within this share of the convex hull's may become parents.
    #[schemars(extend("x-unit" = "share"))]
    pub convex_hull_eps: f64,
    /// The search ends when a point has more multiply-adds.
    #[schemars(range(min = 0.0))]
    pub max_madd: f64,
    /// The search ends when the pool has more points.
    #[schemars(range(min = 1))]
    pub max_hull_points: usize,
    /// The search ends after this many jobs, seeds included; null sets no limit.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub max_jobs: Option<usize>,
    /// How many (input, op) pairs a new node keeps.
    #[schemars(range(min = 1))]
    pub ops_per_node: usize,
    /// Parents that are drawn, and grown, in one round.
    #[schemars(range(min = 1))]
    pub parents_per_round: usize,
    /// Jobs that run at once. The result does not depend on it; one training keeps all cores busy already.
    #[schemars(range(min = 1, max = 256))]
    pub workers: usize,
    /// Evaluation: a found network of n cells gets ⌈n·this⌉ cells, at most `nas.eval.model_desc.n_cells`.
    #[schemars(range(min = 0.01))]
    pub cell_count_scale: f64,
}

/// The largest seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SeedLimits {
    /// Most cells.
    #[schemars(range(min = 1))]
    pub max_cells: usize,
    /// Most reduction cells; a network of r of them has at least 2·r + 1 cells.
    pub max_reductions: usize,
    /// Most nodes of a cell.
    #[schemars(range(min = 1))]
    pub max_nodes: usize,
}

/// Petridish: its searcher, its evaluater and its op.
#[derive(Clone, Debug)]
pub struct Petridish {
    settings: PetridishSettings,
}

impl Petridish {
    /// From its section of the configuration.
    pub fn new(settings: PetridishSettings) -> Self {
        Petridish { settings }
    }
}

impl ExperimentRunner for Petridish {
    /// The space that the seeds' cells are drawn from.
    fn model_desc_builder(&self) -> Box<dyn ModelDescBuilder> {
        Box::new(DartsModelDescBuilder)
    }

    /// Its cells grow: they are of no space with a fixed number of nodes.
    fn searches_in(&self, _: &dyn Space) -> bool {
        false
    }

    fn check(&self, search: &settings::Search) -> Result<(), EngineError> {
        compared::check(WHO, SEED_TRAIN, &self.settings.seed_train)?;
        // With a limit of jobs there may be seeds alone, and nothing grows.
        if self.settings.max_jobs.is_none() {
            SingleLevel::new(WHO, &search.trainer)?;
            compared::check(WHO, POST_TRAIN, &search.post_train)?;
        }
        Ok(())
    }

    /// The best network of the gallery is chosen on validation data.
    fn check_eval(&self, eval: &settings::Eval) -> Result<(), EngineError> {
        evaluater::check_measured(eval)
    }

    /// The seeds.
    fn preview(&self, ahead: &Ahead<'_>) -> Result<Vec<ModelDesc>, EngineError> {
        let key = Key::new(ahead.settings.common.seed);
        let shape = &ahead.settings.nas.search.model_desc;
        searcher::seeds(ahead.space, shape, &self.settings, ahead.catalog, &key)
    }

    fn trainings(&self, ahead: &Ahead<'_>) -> Result<PlannedTrainings, EngineError> {
        let mut seeds = self.preview(ahead)?;
        let most = self.settings.max_jobs.unwrap_or(usize::MAX);
        let grows = seeds.len() < most;
        seeds.truncate(most);
        let (times, mut largest) = (seeds.len(), None);
        for desc in seeds {
            let macs = desc.cost(ahead.catalog)?.total(false).macs;
            if largest.as_ref().is_none_or(|(most, _)| macs > *most) {
                largest = Some((macs, desc));
            }
        }
        let known = largest.map(|(_, desc)| PlannedTraining {
            what: "seeds, each at most so large".to_string(),
            times,
            desc,
            training: self.settings.seed_train.clone(),
            has_hooks: false,
        });
        let beyond = grows.then(|| {
            let jobs = match self.settings.max_jobs {
                Some(jobs) => format!("at most {} networks", jobs - times),
                None => "networks".to_string(),
            };
            format!(
                "then {jobs} grow and are trained, until one has more than {} multiply-adds or there are more than {} points",
                self.settings.max_madd, self.settings.max_hull_points
            )
        });
        Ok(PlannedTrainings {
            known: known.into_iter().collect(),
            beyond,
        })
    }

    /// Its cells grow by their weights: there is no supernet to watch and to finalise.
    fn unread(&self, _: &settings::Search) -> Vec<&'static str> {
        vec!["guard", "darts_pt", "finalizer"]
    }

    fn searcher(&self) -> Option<Box<dyn Searcher>> {
        let workers = LocalWorkers {
            threads: self.settings.workers,
        };
        Some(Box::new(PetridishSearcher::new(
            self.settings.clone(),
            Box::new(workers),
        )))
    }

    fn evaluater(&self) -> Option<Box<dyn Evaluater>> {
        Some(Box::new(GalleryEvaluater {
            cell_count_scale: self.settings.cell_count_scale,
        }))
    }

    fn relaxation(&self) -> Arc<dyn Relaxation> {
        Arc::new(Raw)
    }

    fn alpha_init(&self) -> AlphaInit {
        workers::ALPHA_INIT
    }

    fn register_ops(&self, registry: &mut OpRegistry) -> Result<(), EngineError> {
        op::register(registry)
    }
}
