//! What an algorithm says of itself before it runs: networks such as its search may find, and what it trains.

use archai_data::rng::Key;
use archai_spec::desc::{ModelDesc, OpCatalog, OpDesc, Shape};
use archai_spec::finalize::{EdgeWeights, Supernet};
use archai_spec::settings::{self, Settings};
use archai_spec::spaces::Space;

use crate::error::EngineError;

/// How many random networks stand for all that a search may find.
const SAMPLES: usize = 6;

/// What an algorithm is asked about before it runs.
#[derive(Clone, Copy)]
pub struct Ahead<'a> {
    /// All settings.
    pub settings: &'a Settings,
    /// The space that is searched.
    pub space: &'a dyn Space,
    /// What op names mean, the algorithm's own ones included.
    pub catalog: &'a OpCatalog,
}

impl Ahead<'_> {
    /// The supernet as the search trains it.
    ///
    /// # Errors
    /// As [`build`](archai_spec::desc::build).
    pub fn supernet(&self) -> Result<ModelDesc, EngineError> {
        let shape = &self.settings.nas.search.model_desc;
        Ok(self.space.supernet(shape, self.catalog)?.desc)
    }
}

/// A training that a search does, so far as it is known before.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedTraining {
    /// What is trained: `supernet`, `random architectures`.
    pub what: String,
    /// How many such trainings.
    pub times: usize,
    /// The network, or the largest of them.
    pub desc: ModelDesc,
    /// Its data and its settings.
    pub training: settings::Training,
    /// Whether the hooks of [`trainer_hooks`](crate::experiment::ExperimentRunner::trainer_hooks) join in.
    pub has_hooks: bool,
}

/// All trainings of a search, so far as they are known before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlannedTrainings {
    /// Those that are known.
    pub known: Vec<PlannedTraining>,
    /// A sentence on those that are not, if there are any.
    pub beyond: Option<String>,
}

/// Networks of a space, finalised, at the search's size: the lightest and the heaviest that the rule of DARTS can give, and
/// some random ones. Empty where there is no supernet (whoever needs one is told before), and where the space says of none
/// that it is its own; the network itself where nothing is to be chosen.
pub fn samples(ahead: &Ahead<'_>) -> Vec<ModelDesc> {
    // An algorithm with a searcher of its own may have a builder that only scales.
    let Ok(desc) = ahead.supernet() else {
        return Vec::new();
    };
    if !desc.has_alphas() {
        return vec![desc];
    }
    let supernet = Supernet::new(&desc, ahead.catalog);
    let extremes = [false, true].map(|heavy| {
        let mut weights = EdgeWeights::new();
        for key in desc.arch_keys() {
            let op = &desc.cells[key.cell].nodes[key.node].edges[key.edge].op;
            let weight = |child: &OpDesc| {
                let cost = parameters(child, ahead.catalog) as f64;
                if heavy { cost } else { 1.0 / (1.0 + cost) }
            };
            let all = op.children.iter().map(|child| weight(&child.op)).collect();
            weights.insert((key.cell, key.node, key.edge), all);
        }
        supernet.finalize(&weights)
    });
    let key = Key::new(ahead.settings.common.seed).with("preview");
    let drawn = (0..SAMPLES).map(|i| ahead.space.draw(supernet, &key.with(i)));
    let candidates = extremes.into_iter().chain(drawn).flatten();
    candidates
        .filter(|found| ahead.space.contains(supernet, found).is_ok())
        .collect()
}

/// For each candidate of the supernet a network in which it stands wherever it can: together they hold every op that a found
/// network may have, which [`samples`] need not. None where there is no supernet of mixed edges.
pub fn of_each_op(ahead: &Ahead<'_>) -> Vec<ModelDesc> {
    let Ok(desc) = ahead.supernet() else {
        return Vec::new();
    };
    let supernet = Supernet::new(&desc, ahead.catalog);
    let edge =
        |(cell, node, edge): (usize, usize, usize)| &desc.cells[cell].nodes[node].edges[edge].op;
    let keys = desc.arch_keys();
    let keys: Vec<_> = keys
        .iter()
        .map(|key| (key.cell, key.node, key.edge))
        .collect();
    let most = keys.iter().map(|key| edge(*key).children.len()).max();
    let of_candidate = |candidate: usize| {
        let weights = keys.iter().map(|&key| {
            let n = edge(key).children.len();
            let one = |i| if i == candidate % n { 1.0 } else { 0.0 };
            (key, (0..n).map(one).collect())
        });
        supernet.finalize(&weights.collect()).ok()
    };
    (0..most.unwrap_or(0)).filter_map(of_candidate).collect()
}

/// The weights of an op on small images.
fn parameters(op: &OpDesc, catalog: &OpCatalog) -> u64 {
    let input = Shape::new(op.ch_in, 8, 8);
    (catalog.cost(op, &[input], false)).map_or(0, |cost| cost.params)
}

/// The supernet's training: what [`OneShotSearcher`](crate::searcher::OneShotSearcher) does.
///
/// # Errors
/// As [`Ahead::supernet`].
pub fn of_supernet(ahead: &Ahead<'_>) -> Result<PlannedTrainings, EngineError> {
    let search = &ahead.settings.nas.search;
    let supernet = PlannedTraining {
        what: "supernet".to_string(),
        times: 1,
        desc: ahead.supernet()?,
        training: settings::Training {
            loader: search.loader.clone(),
            trainer: search.trainer.clone(),
        },
        has_hooks: true,
    };
    Ok(PlannedTrainings {
        known: vec![supernet],
        beyond: None,
    })
}
