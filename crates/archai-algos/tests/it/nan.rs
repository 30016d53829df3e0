//! Searches and evaluations that meet a number that is not finite.

use archai_engine::{
    EngineError,
    experiment::ExperimentRunner,
    trainer::{Step, TrainerHooks},
};
use archai_spec::desc::{DartsModelDescBuilder, ModelDescBuilder};
use archai_spec::settings;

use crate::search::{search_with, settings_of};
use crate::workbench::Workbench;

/// A supernet whose weights become NaN before the second step.
struct Spoilt;

struct SpoilOnce;

impl TrainerHooks for SpoilOnce {
    fn pre_step(&mut self, step: &mut Step<'_>) -> Result<(), EngineError> {
        if (step.epoch, step.step) == (0, 1) {
            step.model.set_weights(step.model.weights().scale(f64::NAN));
        }
        Ok(())
    }
}

impl ExperimentRunner for Spoilt {
    fn model_desc_builder(&self) -> Box<dyn ModelDescBuilder> {
        Box::new(DartsModelDescBuilder)
    }
    fn trainer_hooks(
        &self,
        _: &settings::Search,
    ) -> Result<Vec<Box<dyn TrainerHooks>>, EngineError> {
        Ok(vec![Box::new(SpoilOnce)])
    }
}

#[test]
fn p10_a_search_stops_or_skips_by_its_settings() {
    let dir = tempfile::tempdir().expect("a directory");
    let found = dir.path().join("final_model_desc.yaml");
    let (settings, _) = settings_of("darts", dir.path(), "");
    let error = search_with(&settings, &Spoilt, dir.path()).0;
    let error = error.expect_err("it stops by default").to_string();
    assert!(
        error.starts_with("loss is not finite in arch_search/arch_train, epoch 1, step 2:"),
        "{error}"
    );
    assert!(!found.exists(), "nothing was found");

    let (settings, _) = settings_of("darts", dir.path(), "nas.search.trainer.on_nan=skip");
    let result = search_with(&settings, &Spoilt, dir.path()).0;
    let result = result.expect("it goes on");
    let warning = result.warnings.last().expect("a warning");
    assert!(
        warning.starts_with("1 of the 4 steps of arch_train were skipped"),
        "{warning}"
    );
    assert!(found.exists());
}

#[test]
fn p10_an_evaluation_that_diverges_leaves_no_model() {
    let dir = tempfile::tempdir().expect("a directory");
    let overrides = "nas.eval.loader.val_ratio=0.5";
    for (policy, said) in [
        ("stop", "eval_train, epoch 1"),
        ("skip", "10 skipped steps"),
    ] {
        let overrides =
            format!("{overrides} nas.eval.trainer.on_nan={policy} nas.eval.trainer.epochs=30");
        let mut bench = Workbench::new("darts", dir.path(), &overrides);
        // A configuration with such a rate is refused.
        bench.settings.nas.eval.trainer.optimizer.lr = 1e39;
        bench.search().expect("a search");
        let error = bench.eval().expect_err("an error").to_string();
        assert!(
            error.contains(said) && error.contains("not finite in eval_arch/"),
            "{error}"
        );
        for name in [
            "model.pt",
            "model.safetensors",
            "model_best.pt",
            "model_best.safetensors",
        ] {
            assert!(!dir.path().join(name).exists(), "{name} was written");
        }
    }
}
