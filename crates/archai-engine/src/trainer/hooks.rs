//! How an algorithm joins in a training: [`TrainerHooks`], and the training as a hook sees it between epochs.

use archai_data::Loaders;
use archai_spec::settings;

use super::{Outcome, Step};
use crate::{
    checkpoint::Snapshot,
    error::EngineError,
    metrics::Metrics,
    model::Model,
    run::{Log, Run},
};

/// What an algorithm does around the steps of a training. All methods do nothing by default; several hooks run in the
/// order of their list.
///
/// A training that is taken up in the middle calls `pre_fit` again, gives the hook back what it kept
/// ([`TrainerHooks::restore`]), and calls `pre_epoch` again for the epoch that it goes on with. **A hook that remembers
/// anything between steps (an optimiser's moments, a counter, a mean) must give it in [`TrainerHooks::state`] and take it
/// back in [`TrainerHooks::restore`]**; otherwise a training that was interrupted ends in other numbers, and nobody notices.
/// [`check_algorithm`](crate::testing::check_algorithm) does notice. Random draws need no memory: take them from
/// [`Step::draw`], whose keys hold epoch and step. A hook that is a plain value can keep all of itself:
///
/// ```
/// use archai_engine::checkpoint::Snapshot;
/// use archai_engine::trainer::{Outcome, Step, TrainerHooks};
/// use archai_engine::{EngineError, Model};
///
/// /// Ends a training whose loss stays far above its mean.
/// #[derive(Default)]
/// struct Patience { mean: f64, bad: usize }
///
/// impl TrainerHooks for Patience {
///     fn state(&self) -> Result<Snapshot, EngineError> {
///         let mut state = Snapshot::default();
///         state.set("all", &(self.mean, self.bad))?;
///         Ok(state)
///     }
///     fn restore(&mut self, state: &Snapshot, _: &Model) -> Result<(), EngineError> {
///         (self.mean, self.bad) = state.get("all")?;
///         Ok(())
///     }
///     fn post_step(&mut self, step: &mut Step<'_>, outcome: &Outcome) -> Result<(), EngineError> {
///         self.bad = if outcome.loss > 2.0 * self.mean { self.bad + 1 } else { 0 };
///         self.mean = 0.9 * self.mean + 0.1 * outcome.loss;
///         if self.bad > 20 { Err(step.non_finite("the mean of the loss")) } else { Ok(()) }
///     }
/// }
/// ```
pub trait TrainerHooks {
    /// What the hook remembers between steps; empty for hooks that remember nothing.
    fn state(&self) -> Result<Snapshot, EngineError> {
        Ok(Snapshot::default())
    }
    /// Takes back what [`TrainerHooks::state`] gave. State that nothing takes back is an error.
    fn restore(&mut self, state: &Snapshot, model: &Model) -> Result<(), EngineError> {
        let _ = model;
        match state.is_empty() {
            true => Ok(()),
            false => Err(EngineError::Config(
                "the checkpoint holds state of an algorithm's hook that this program does not take back".into(),
            )),
        }
    }

    /// Before the first epoch.
    fn pre_fit(&mut self, fit: &mut Fit<'_>) -> Result<(), EngineError> {
        let _ = fit;
        Ok(())
    }
    /// After the last epoch and the test.
    fn post_fit(&mut self, fit: &mut Fit<'_>) -> Result<(), EngineError> {
        let _ = fit;
        Ok(())
    }
    /// Before each epoch.
    fn pre_epoch(&mut self, fit: &mut Fit<'_>) -> Result<(), EngineError> {
        let _ = fit;
        Ok(())
    }
    /// After each epoch and its validation.
    fn post_epoch(&mut self, fit: &mut Fit<'_>) -> Result<(), EngineError> {
        let _ = fit;
        Ok(())
    }
    /// Whether the pass of the weights' step shall also give the gradient of the architecture parameters: for algorithms
    /// that train both on the same batch. It then stands in [`Outcome::arch_grads`].
    fn wants_arch_grads(&self) -> bool {
        false
    }
    /// Before each step of the weights: where DARTS moves the architecture.
    fn pre_step(&mut self, step: &mut Step<'_>) -> Result<(), EngineError> {
        let _ = step;
        Ok(())
    }
    /// After each step of the weights.
    fn post_step(&mut self, step: &mut Step<'_>, outcome: &Outcome) -> Result<(), EngineError> {
        let _ = (step, outcome);
        Ok(())
    }
}

/// The training as a hook sees it between epochs.
pub struct Fit<'a> {
    /// The model.
    pub model: &'a mut Model,
    /// The data.
    pub loaders: &'a Loaders,
    /// The training's settings.
    pub settings: &'a settings::Trainer,
    /// Epochs done before the present one.
    pub epoch: usize,
    /// What was measured so far.
    pub metrics: &'a Metrics,
    /// The log at `…/epochs/<epoch>` (before the first and after the last epoch: of the training).
    pub log: Log<'a>,
    /// What the run gives: clock, stop flag, seed.
    pub run: Run<'a>,
    pub(super) finish: &'a mut Option<String>,
}

impl Fit<'_> {
    /// Ends the training after this epoch, with its test and all else that follows. `reason` is logged as a warning.
    pub fn finish_early(&mut self, reason: impl Into<String>) {
        *self.finish = Some(reason.into());
    }
}
