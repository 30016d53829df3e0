//! The optimisers that come along, by name, each with the usual settings of its paper.

mod bananas;
mod evolution;
mod guided;
mod halving;
mod local;
mod nsga2;
mod pareto;
mod random;

use std::sync::Arc;

use archai_spec::registry::{Named, Registry};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::optimiser::Optimiser;

pub use bananas::Bananas;
pub use evolution::RegularisedEvolution;
pub use guided::{Guided, answer};
pub use halving::Halving;
pub use local::LocalSearch;
pub use nsga2::Nsga2;
pub use pareto::EvolutionPareto;
pub use random::RandomSearch;

/// A kind of optimiser that settings can choose by its name.
pub trait OptimiserKind: Named + Send + Sync {
    /// The optimiser with these settings; what is left out is as usual.
    ///
    /// # Errors
    /// A setting that it does not have, or a value that does not fit.
    fn make(&self, settings: &Map<String, Value>) -> Result<Arc<dyn Optimiser>, String>;

    /// All settings and their usual values.
    fn defaults(&self) -> Value;
}

/// An optimiser whose settings are its fields.
struct Kind<T> {
    name: &'static str,
    about: &'static str,
    usual: fn() -> T,
}

impl<T> Named for Kind<T> {
    fn name(&self) -> &str {
        self.name
    }

    fn about(&self) -> &str {
        self.about
    }
}

impl<T> OptimiserKind for Kind<T>
where
    T: Optimiser + Serialize + DeserializeOwned + 'static,
{
    fn make(&self, settings: &Map<String, Value>) -> Result<Arc<dyn Optimiser>, String> {
        let mut all = match self.defaults() {
            Value::Object(all) => all,
            _ => Map::new(),
        };
        for (key, value) in settings {
            if !all.contains_key(key) {
                let known = all.keys().map(String::as_str);
                let what = format!("setting of the optimiser `{}`", self.name);
                return Err(archai_spec::names::unknown(&what, key, known).to_string());
            }
            all.insert(key.clone(), value.clone());
        }
        let optimiser: T = serde_json::from_value(Value::Object(all))
            .map_err(|e| format!("the settings of the optimiser `{}`: {e}", self.name))?;
        Ok(Arc::new(optimiser))
    }

    fn defaults(&self) -> Value {
        serde_json::to_value((self.usual)()).unwrap_or_default()
    }
}

/// All optimisers that come along.
///
/// ```
/// let all = archai_search::optimisers::all();
/// assert_eq!(all.get("guided")?.name(), "guided");
/// # use archai_spec::registry::Named;
/// # Ok::<(), archai_spec::names::UnknownName>(())
/// ```
pub fn all() -> Registry<dyn OptimiserKind> {
    Registry::new("optimiser")
        .with(kind::<Guided>(
            "guided",
            "random trees learn which networks are good, and each proposal believes a few of them (the usual one)",
        ))
        .with(kind::<RandomSearch>("random", "every network is as likely as the next"))
        .with(kind::<LocalSearch>(
            "local",
            "from a random network to better neighbours, then from another one",
        ))
        .with(kind::<RegularisedEvolution>(
            "regularised_evolution",
            "mutations of the best of a few of the youngest networks",
        ))
        .with(kind::<Nsga2>(
            "nsga2",
            "crossover and mutation of the fronts' least crowded networks",
        ))
        .with(kind::<EvolutionPareto>(
            "evolution_pareto",
            "mutations and crossovers of the front, and random networks",
        ))
        .with(kind::<Bananas>(
            "bananas",
            "mutations of the front, ranked by what random trees predict of every objective",
        ))
        .with(kind::<Halving>(
            "halving",
            "many short trainings, the better part of which is trained on, rung by rung",
        ))
}

/// An optimiser whose settings are its fields, usually as `T::default()` says.
pub fn kind<T>(name: &'static str, about: &'static str) -> Arc<dyn OptimiserKind>
where
    T: Optimiser + Default + Serialize + DeserializeOwned + 'static,
{
    let usual = T::default;
    Arc::new(Kind { name, about, usual })
}
