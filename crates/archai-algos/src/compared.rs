//! Trainings whose networks are compared by their accuracy on validation data, so that they must measure it.

use archai_engine::{
    EngineError, ParamVec,
    metrics::{Metrics, Top1},
    optim::Optimizer,
    schedule::Schedule,
};
use archai_spec::settings::Training;

/// Checks before anything is trained that trainings with the settings at `key` end with a measurement on validation data.
/// `who` compares them: for the message.
///
/// # Errors
/// No validation data, no epoch, or no measurement; a schedule or an optimizer that cannot be.
pub(crate) fn check(who: &str, key: &str, training: &Training) -> Result<(), EngineError> {
    let trainer = &training.trainer;
    let measures = training.loader.val_ratio > 0.0 && trainer.epochs > 0;
    if !(measures && trainer.validation.freq > 0) {
        return Err(unmeasured(who, key));
    }
    let schedule = Schedule::new(&trainer.lr_schedule, trainer.optimizer.lr, trainer.epochs);
    let place = |e: EngineError| EngineError::setting(key, format!("below `trainer`: {e}"));
    schedule.map(drop).map_err(place)?;
    let optimizer = Optimizer::<ParamVec>::new(&trainer.optimizer);
    optimizer.map(drop).map_err(place)
}

/// What such a training measured.
///
/// # Errors
/// Nothing, because there were too few data for example.
pub(crate) fn measured(who: &str, key: &str, metrics: &Metrics) -> Result<Top1, EngineError> {
    metrics.last_top1().ok_or_else(|| unmeasured(who, key))
}

fn unmeasured(who: &str, key: &str) -> EngineError {
    EngineError::setting(
        key,
        format!(
            "{who} compares networks on validation data, but none are measured; below this key set loader.val_ratio above \
             0, trainer.epochs and trainer.validation.freq to at least 1"
        ),
    )
}
