//! DARTS in first order whose architecture rests at first: for some epochs the weights are trained alone, so that ops with
//! weights have learnt something by the time they are compared with ops that have none.

use archai::spec::desc::DartsModelDescBuilder;
use archai::spec::values;
use archai::{
    Algorithm, EngineError, ExperimentRunner, ModelDescBuilder, Step, TrainerHooks, settings,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// The algorithm for the list of a lab: its name, one line about it, how it is made, and its settings.
pub fn algorithm() -> Algorithm {
    Algorithm::new(
        "my_algorithm",
        "DARTS in first order whose architecture rests for the first epochs",
        |settings: MySettings| MyAlgorithm { settings },
    )
    .yaml(include_str!("my_algorithm.yaml"))
    .toy(include_str!("my_algorithm_toy.yaml"))
}

/// The section `nas.search.my_algorithm`.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MySettings {
    /// Epochs at the beginning in which the weights are trained alone.
    pub rest_epochs: usize,
}

/// Names the parts of the algorithm. Searcher, finalizers, evaluater and all others are the defaults.
#[derive(Clone, Copy, Debug)]
pub struct MyAlgorithm {
    settings: MySettings,
}

impl ExperimentRunner for MyAlgorithm {
    fn model_desc_builder(&self) -> Box<dyn ModelDescBuilder> {
        Box::new(DartsModelDescBuilder)
    }

    fn trainer_hooks(
        &self,
        search: &settings::Search,
    ) -> Result<Vec<Box<dyn TrainerHooks>>, EngineError> {
        let MySettings { rest_epochs } = self.settings;
        if rest_epochs > 0 && rest_epochs >= search.trainer.epochs {
            return Err(EngineError::setting(
                "nas.search.my_algorithm.rest_epochs",
                format!(
                    "is {rest_epochs}, but the search has {} epochs: the architecture would never move",
                    search.trainer.epochs
                ),
            ));
        }
        Ok(vec![Box::new(Hook { rest_epochs })])
    }
}

/// Before each step of the weights, the architecture takes a step on a validation batch, unless it rests.
#[derive(Clone, Copy, Debug)]
struct Hook {
    rest_epochs: usize,
}

impl TrainerHooks for Hook {
    fn pre_step(&mut self, step: &mut Step<'_>) -> Result<(), EngineError> {
        if step.epoch < self.rest_epochs {
            return Ok(());
        }
        let valid = step.next_valid()?;
        let (loss, grads) = step.model.arch_grads(&valid, &step.objective())?;
        if step.is_logged {
            let path = step.log.path().clone();
            step.log.emit(values!(path, "valid_loss" => loss))?;
        }
        step.move_arch(&grads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use archai::algos::Algorithms;
    use archai::engine::Components;
    use archai::engine::run::NoClock;
    use archai::engine::testing::{Conformance, Subject, check_algorithm};
    use archai::settings::Settings;
    use archai::spec::config::{ConfigLoader, ConfigTree, Shipped, parse_overrides};

    /// Small cells on 8×8 pictures, two epochs, and a rest in the first.
    const SMALL: &str = "dataset.channels=1 dataset.size=[8,8] nas.search.my_algorithm.rest_epochs=1 \
        nas.search.model_desc.n_cells=3 nas.search.model_desc.n_reductions=1 nas.search.model_desc.cell.n_nodes=2 \
        nas.search.model_desc.model_stems.init_node_ch=2 nas.search.model_desc.model_stems.stem_multiplier=1 \
        nas.search.loader.train_batch=8 nas.search.loader.test_batch=32 nas.search.loader.train_workers=0 \
        nas.search.trainer.epochs=2 \
        nas.eval.model_desc.n_cells=3 nas.eval.model_desc.n_reductions=1 nas.eval.model_desc.aux_weight=0 \
        nas.eval.model_desc.model_stems.init_node_ch=2 nas.eval.model_desc.model_stems.stem_multiplier=1 \
        nas.eval.loader.train_batch=16 nas.eval.loader.test_batch=32 nas.eval.loader.train_workers=0 \
        nas.eval.loader.cutout=0 nas.eval.trainer.epochs=1";

    /// The toy settings with these on top.
    fn configuration(overrides: &str) -> ConfigTree {
        let algorithm = algorithm();
        let algorithms: Algorithms = archai::algos::all().with(algorithm.clone().into());
        let files = archai::algos::files(&algorithms, &Shipped);
        let overrides: Vec<String> = overrides.split_whitespace().map(String::from).collect();
        let tree = ConfigLoader::new(&files)
            .files(&algorithm.defaults())
            .dataset("archai:datasets/fashion_mnist_mini.yaml")
            .files("archai:smoke.yaml")
            .files(&algorithm.toy_overlay().unwrap())
            .overrides(parse_overrides(&overrides).unwrap())
            .load(&algorithm.schema());
        tree.unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn it_keeps_the_promises_of_an_algorithm() {
        let dir = tempfile::tempdir().unwrap();
        let tree = configuration(SMALL);
        let make = |_: &Settings| {
            let runner = algorithm().runner(&tree);
            runner.map_err(|e| EngineError::Internal(e.to_string()))
        };
        let checked = check_algorithm(&Conformance {
            small: Subject {
                settings: tree.settings().unwrap(),
                components: Components::builtin(),
                runner: &make,
            },
            // Whether it finds an op that is planted takes a longer search, with settings under which it learns fast.
            planted: None,
            moves_alphas: true,
            bounds_edges: true,
            limit_s: 60.0,
            clock: &NoClock,
            dir: dir.path(),
        });
        if let Err(failures) = checked {
            let failures: Vec<String> = failures.iter().map(ToString::to_string).collect();
            panic!("{}", failures.join("\n"));
        }
    }

    #[test]
    fn a_rest_without_end_is_an_error() {
        let tree = configuration("nas.search.my_algorithm.rest_epochs=1");
        let runner = algorithm().runner(&tree).unwrap();
        let hooks = runner.trainer_hooks(&tree.settings().unwrap().nas.search);
        let error = hooks.err().unwrap().to_string();
        assert!(
            error.contains("nas.search.my_algorithm.rest_epochs") && error.contains("never move"),
            "{error}"
        );
    }
}
