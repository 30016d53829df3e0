//! The step of the architecture parameters by an optimizer and a schedule of their own: what the algorithms that move them
//! by a gradient share.

use archai_engine::{
    ArchParams, EngineError, arch::ArchGrads, optim::Optimizer, schedule::Schedule,
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
        let constant = settings::LrSchedule {
            kind: settings::ScheduleKind::Constant,
            min_lr: None,
            milestones: None,
            decay_period: None,
            gamma: None,
            warmup: None,
        };
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
}
