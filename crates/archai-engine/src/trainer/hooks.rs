//! How an algorithm joins in a training: [`TrainerHooks`], and the training as a hook sees it between epochs.

use archai_data::Loaders;
use archai_spec::settings;

use super::{Memory, Outcome, Step};
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
/// A training that is resumed calls `pre_fit` again, restores what the hook remembered, and calls `pre_epoch` again for
/// the epoch in which it goes on. **Whatever a hook remembers between steps (a counter, a mean, an optimizer of its own)
/// must be named in [`TrainerHooks::memory`]**; otherwise a training that was interrupted ends in other numbers, and nobody
/// notices. [`check_algorithm`](crate::testing::check_algorithm) does notice. Two things need no memory:
///
/// - steps of the architecture parameters by [`Step::move_arch`], whose optimizer the trainer remembers;
/// - random draws by [`Step::draw`], whose keys hold epoch and step.
///
/// ```
/// use archai_engine::EngineError;
/// use archai_engine::trainer::{Memory, Outcome, Step, TrainerHooks};
///
/// /// Ends a training whose loss stays far above its mean.
/// #[derive(Default)]
/// struct Patience { mean: f64, bad: usize }
///
/// impl TrainerHooks for Patience {
///     fn memory(&mut self) -> Memory<'_> {
///         Memory::none().with("mean", &mut self.mean).with("bad", &mut self.bad)
///     }
///     fn post_step(&mut self, step: &mut Step<'_>, outcome: &Outcome) -> Result<(), EngineError> {
///         self.bad = if outcome.loss > 2.0 * self.mean { self.bad + 1 } else { 0 };
///         self.mean = 0.9 * self.mean + 0.1 * outcome.loss;
///         if self.bad > 20 { Err(step.non_finite("the mean of the loss")) } else { Ok(()) }
///     }
/// }
/// ```
pub trait TrainerHooks {
    /// The values that the hook remembers between steps; none for hooks that remember nothing.
    fn memory(&mut self) -> Memory<'_> {
        Memory::none()
    }

    /// What the hook remembers as plain data. By default all of [`TrainerHooks::memory`]; to be overridden, together with
    /// [`TrainerHooks::restore`], only by hooks whose memory is no list of values.
    fn state(&mut self) -> Result<Snapshot, EngineError> {
        self.memory().state()
    }

    /// Restores what [`TrainerHooks::state`] gave. State that belongs to no value of the hook is an error.
    fn restore(&mut self, state: &Snapshot, model: &Model) -> Result<(), EngineError> {
        self.memory().restore(state, model)
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
    /// that train both on the same batch. It is then in [`Outcome::arch_grads`].
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
