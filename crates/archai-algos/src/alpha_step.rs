//! The step of the architecture parameters by an optimizer and a schedule of their own: what the algorithms that move them
//! by a gradient share.

use archai_engine::{
    ArchParams, EngineError, Model, arch::ArchGrads, checkpoint::Snapshot, optim::Optimizer,
    schedule::Schedule,
};
use archai_spec::settings;

/// `alpha_optimizer` and `alpha_lr_schedule` of a trainer's settings at work.
#[derive(Clone, Debug)]
pub struct AlphaStep {
    optimizer: Optimizer<ArchParams>,
    schedule: Schedule,
}

impl AlphaStep {
    /// Without a schedule the rate stays. `who` needs it and would publish with `advice`: for the message.
    ///
    /// # Errors
    /// There is no `alpha_optimizer`, or its keys contradict each other.
    pub fn new(who: &str, advice: &str, trainer: &settings::Trainer) -> Result<Self, EngineError> {
        let alpha = trainer.alpha_optimizer.as_ref().ok_or_else(|| {
            EngineError::Config(format!(
                "{who} moves the architecture by an optimizer of its own; set nas.search.trainer.alpha_optimizer \
                 ({advice})"
            ))
        })?;
        let constant = settings::LrSchedule::constant();
        let schedule = trainer.alpha_lr_schedule.as_ref().unwrap_or(&constant);
        Ok(AlphaStep {
            optimizer: Optimizer::new(alpha)?,
            schedule: Schedule::new(schedule, alpha.lr, trainer.epochs)?,
        })
    }

    /// Where the parameters are after one step in this epoch.
    pub fn step(&mut self, arch: &ArchParams, grads: &ArchGrads, epoch: usize) -> ArchParams {
        self.optimizer.step(arch, grads, self.schedule.lr(epoch))
    }

    /// What the optimizer remembers, for a hook's state.
    pub fn state(&self) -> Snapshot {
        let mut state = Snapshot::default();
        state.put_tensors("optimizer", self.optimizer.state());
        state
    }

    /// Takes back what [`AlphaStep::state`] gave.
    ///
    /// # Errors
    /// A tensor that is missing, unknown or of another shape.
    pub fn restore(&mut self, state: &Snapshot, model: &Model) -> Result<(), EngineError> {
        let optimizer = state.tensors("optimizer");
        self.optimizer
            .set_state(&optimizer, model.arch(), model.compute())
    }
}
