//! The step of the architecture parameters by an optimizer and a schedule of their own.

use archai_spec::settings;

use crate::{
    arch::{ArchGrads, ArchParams},
    checkpoint::Snapshot,
    error::EngineError,
    model::Model,
    optim::Optimizer,
    schedule::Schedule,
};

/// The name under which the memory of [`Step::move_arch`](super::Step::move_arch) is saved with its hook's.
pub(super) const OPTIMIZER: &str = "optimizer";

/// `alpha_optimizer` and `alpha_lr_schedule` of a trainer's settings at work. Hooks need none of their own: see
/// [`Step::move_arch`](super::Step::move_arch).
#[derive(Clone, Debug)]
pub struct ArchStep {
    optimizer: Optimizer<ArchParams>,
    schedule: Schedule,
}

impl ArchStep {
    /// From settings. Without a schedule the rate stays.
    ///
    /// # Errors
    /// There is no `alpha_optimizer`, or its keys contradict each other.
    pub fn new(trainer: &settings::Trainer) -> Result<Self, EngineError> {
        let of_darts = "type: adam, lr: 3e-4, decay: 1e-3, betas: [0.5, 0.999] in DARTS";
        ArchStep::of("the algorithm", of_darts, trainer)
    }

    /// Checks before anything is trained that there is what [`ArchStep::new`] needs. `who` needs it and was published with
    /// `advice`: for the message.
    ///
    /// # Errors
    /// As [`ArchStep::new`].
    pub fn check(who: &str, advice: &str, trainer: &settings::Trainer) -> Result<(), EngineError> {
        ArchStep::of(who, advice, trainer).map(drop)
    }

    fn of(who: &str, advice: &str, trainer: &settings::Trainer) -> Result<Self, EngineError> {
        let alpha = trainer.alpha_optimizer.as_ref().ok_or_else(|| {
            EngineError::setting(
                "nas.search.trainer.alpha_optimizer",
                format!(
                    "{who} moves the architecture by an optimizer of its own, but there is none; set it ({advice})"
                ),
            )
        })?;
        let constant = settings::LrSchedule::constant();
        let schedule = trainer.alpha_lr_schedule.as_ref().unwrap_or(&constant);
        Ok(ArchStep {
            optimizer: Optimizer::new(alpha)?,
            schedule: Schedule::new(schedule, alpha.lr, trainer.epochs)?,
        })
    }

    /// Where the parameters are after one step in this epoch.
    pub fn step(&mut self, arch: &ArchParams, grads: &ArchGrads, epoch: usize) -> ArchParams {
        self.optimizer.step(arch, grads, self.schedule.lr(epoch))
    }

    /// Puts what the optimizer remembers into a hook's state.
    pub(super) fn save(&self, state: &mut Snapshot) {
        state.put_tensors(OPTIMIZER, self.optimizer.state());
    }

    /// Takes back what [`ArchStep::save`] gave.
    pub(super) fn load(&mut self, state: &Snapshot, model: &Model) -> Result<(), EngineError> {
        self.optimizer
            .set_state(&state.tensors(OPTIMIZER), model.arch(), model.compute())
    }
}
