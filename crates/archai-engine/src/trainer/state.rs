//! The state of a training between two steps, and how it becomes plain data and back.

use std::collections::BTreeMap;

use super::ArchStep;
use crate::{
    checkpoint::Snapshot,
    error::EngineError,
    metrics::{EpochMetrics, Metrics},
    model::Model,
    optim::{Optimizer, Vector},
    params::ParamVec,
};

/// The model that did best on validation data.
#[derive(Clone, Debug)]
pub struct BestModel {
    /// Epoch after which it was measured.
    pub epoch: usize,
    /// Its top-1 validation accuracy.
    pub top1: f64,
    /// The model.
    pub model: Model,
}

/// The state of a training between two steps, apart from the model's own numbers.
#[derive(Clone, Debug)]
pub struct FitState {
    /// The present epoch.
    pub epoch: usize,
    /// Steps of the present epoch that are done.
    pub step: usize,
    /// The weights' optimiser.
    pub optimizer: Optimizer<ParamVec>,
    /// Validation batches that hooks have taken.
    pub valid_taken: u64,
    /// Finished epochs.
    pub metrics: Metrics,
    /// The present epoch so far.
    pub current: EpochMetrics,
    /// Steps in a row that were skipped up to here.
    pub skipped_in_row: usize,
    /// The best model on validation data, if there are validation data. Never chosen by test data.
    pub best: Option<BestModel>,
    /// Why a hook ended the training before its last epoch, if one did.
    pub finished_early: Option<String>,
    /// The optimizers of the architecture parameters, by the hook that moves them with [`Step::move_arch`]. They are saved
    /// with the hooks' memory.
    ///
    /// [`Step::move_arch`]: super::Step::move_arch
    pub arch_steps: BTreeMap<usize, ArchStep>,
}

impl FitState {
    /// The state and the model's numbers as plain data.
    pub(super) fn snapshot(&self, model: &Model) -> Result<Snapshot, EngineError> {
        let FitState {
            epoch,
            step,
            optimizer,
            valid_taken,
            metrics,
            current,
            skipped_in_row,
            best,
            finished_early,
            arch_steps: _,
        } = self;
        let mut snapshot = Snapshot::default();
        snapshot.set("epoch", epoch)?;
        snapshot.set("step", step)?;
        snapshot.set("valid_taken", valid_taken)?;
        snapshot.set("metrics", metrics)?;
        snapshot.set("current", current)?;
        snapshot.set("skipped_in_row", skipped_in_row)?;
        snapshot.set("finished_early", finished_early)?;
        snapshot.set("best", &best.as_ref().map(|b| (b.epoch, b.top1)))?;
        snapshot.put_tensors("optimizer", optimizer.state());
        snapshot.put_tensors("model", model.named_state());
        snapshot.put_tensors("arch", model.arch().named());
        if let Some(best) = best {
            snapshot.put_tensors("best_model", best.model.named_state());
            snapshot.put_tensors("best_arch", best.model.arch().named());
        }
        Ok(snapshot)
    }

    /// Restores what [`FitState::snapshot`] gave.
    pub(super) fn restore(
        &mut self,
        snapshot: &Snapshot,
        model: &mut Model,
    ) -> Result<(), EngineError> {
        fn numbers(
            model: &mut Model,
            snapshot: &Snapshot,
            [state, arch]: [&str; 2],
        ) -> Result<(), EngineError> {
            model.set_named_state(&snapshot.tensors(state))?;
            let arch = model
                .arch()
                .with_named(&snapshot.tensors(arch), model.compute())?;
            model.set_arch(arch);
            Ok(())
        }
        numbers(model, snapshot, ["model", "arch"])?;
        self.epoch = snapshot.get("epoch")?;
        self.step = snapshot.get("step")?;
        self.valid_taken = snapshot.get("valid_taken")?;
        self.metrics = snapshot.get("metrics")?;
        self.current = snapshot.get("current")?;
        self.skipped_in_row = snapshot.get("skipped_in_row")?;
        self.finished_early = snapshot.get("finished_early")?;
        self.optimizer.set_state(
            &snapshot.tensors("optimizer"),
            model.weights(),
            model.compute(),
        )?;
        self.best = match snapshot.get::<Option<(usize, f64)>>("best")? {
            None => None,
            Some((epoch, top1)) => {
                let mut best = model.clone();
                numbers(&mut best, snapshot, ["best_model", "best_arch"])?;
                Some(BestModel {
                    epoch,
                    top1,
                    model: best,
                })
            }
        };
        Ok(())
    }
}
