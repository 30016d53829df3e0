//! What the proposals of a search depend on, beside its space: kept in the first line of its journal.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::quantity::{Limit, Quantity};

/// Whether proposals depend on which worker is quicker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// A worker that is free gets a proposal that knows all that has arrived. The same journal gives the same proposals, but
    /// timing decides what the journal is.
    #[default]
    Arrival,
    /// Job k knows the results of the jobs before k − lag, and waits for them where needed: the same trials with any number
    /// of workers, however fast each is and however often all of them are stopped. More than `lag` + 1 workers are no use.
    Strict {
        /// How many jobs may be under way beside the one that is proposed.
        lag: usize,
    },
}

/// Which optimiser proposes, and its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimiserChoice {
    /// Its name: `guided`, `random`, …
    pub name: String,
    /// What is not as usual.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub settings: Map<String, Value>,
}

impl Default for OptimiserChoice {
    fn default() -> Self {
        OptimiserChoice {
            name: "guided".into(),
            settings: Map::new(),
        }
    }
}

/// What the proposals of a search depend on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// All that is known of a network, as the evaluators and the space say. Filled in when a search begins.
    #[serde(default)]
    pub quantities: Vec<Quantity>,
    /// The quantities to make as good as possible, by name.
    pub objectives: Vec<String>,
    /// Hard limits.
    #[serde(default)]
    pub limits: Vec<Limit>,
    /// The seed of all that is random.
    #[serde(default)]
    pub seed: u64,
    /// Whether proposals depend on which worker is quicker.
    #[serde(default)]
    pub order: Order,
    /// Which optimiser proposes.
    #[serde(default)]
    pub optimiser: OptimiserChoice,
    /// After how many epochs a training is looked at; the last one is the whole training. Empty where there are no epochs.
    #[serde(default)]
    pub rungs: Vec<u32>,
    /// Static quantities of which larger values promise better networks: half of the first trials are good ones by these.
    /// Empty for the parameters and multiply-adds.
    #[serde(default)]
    pub prior: Vec<String>,
    /// How often what fails by the machine's fault is tried again.
    #[serde(default = "usual_retries")]
    pub retries: u32,
}

fn usual_retries() -> u32 {
    1
}

impl Settings {
    /// The usual settings for these objectives.
    pub fn new<S: Into<String>>(objectives: impl IntoIterator<Item = S>) -> Self {
        Settings {
            objectives: objectives.into_iter().map(Into::into).collect(),
            retries: usual_retries(),
            ..Settings::default()
        }
    }

    /// With limits.
    #[must_use]
    pub fn limits(mut self, limits: impl IntoIterator<Item = Limit>) -> Self {
        self.limits = limits.into_iter().collect();
        self
    }

    /// With a seed.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// With an order.
    #[must_use]
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// With another optimiser, as it usually works.
    #[must_use]
    pub fn optimiser(mut self, name: impl Into<String>) -> Self {
        self.optimiser = OptimiserChoice {
            name: name.into(),
            settings: Map::new(),
        };
        self
    }

    /// With rungs.
    #[must_use]
    pub fn rungs(mut self, rungs: impl IntoIterator<Item = u32>) -> Self {
        self.rungs = rungs.into_iter().collect();
        self
    }
}
