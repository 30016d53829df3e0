//! The finalizers that come with the engine, by the names that `nas.search.finalizer` takes.

use std::sync::Arc;

use archai_spec::registry::Registry;

use crate::finalize::{DefaultFinalizers, FinalizerRegistry, NamedFinalizer, RandomFinalizers};
use crate::perturbation::{self, PerturbationFinalizers};

/// The name of the finalizer by perturbation, and of its section below `nas.search`.
pub const DARTS_PT: &str = "darts_pt";

/// Finalizers for every supernet: `default`, `random` and `darts_pt`.
///
/// ```
/// let finalizers = archai_engine::finalizers::builtin();
/// assert_eq!(finalizers.names().collect::<Vec<_>>(), ["default", "random", "darts_pt"]);
/// ```
pub fn builtin() -> FinalizerRegistry {
    Registry::new("finalizer")
        .with(Arc::new(NamedFinalizer::new(
            "default",
            "the op of the largest weight per edge, the strongest edges per node",
            |_| Ok(Box::new(DefaultFinalizers)),
        )))
        .with(Arc::new(NamedFinalizer::new(
            "random",
            "ops and edges at random: what the architecture parameters are compared with",
            |at| {
                let random = RandomFinalizers::new(at.key.with("finalize"));
                Ok(Box::new(random.with_rule(at.rule)))
            },
        )))
        .with(Arc::new(NamedFinalizer::new(
            DARTS_PT,
            "by perturbation: the ops and edges without which the supernet loses most (arXiv:2108.04392)",
            |at| {
                if at.search.loader.val_ratio == 0.0 {
                    return Err(perturbation::without_validation());
                }
                let settings = at.search.darts_pt.clone();
                Ok(Box::new(PerturbationFinalizers::new(settings)))
            },
        )))
}
