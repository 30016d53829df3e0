//! What the algorithms that move the architecture by an optimizer of its own ask of the settings, before anything is trained.

use archai_engine::{EngineError, trainer::ArchStep};
use archai_spec::settings;

/// Checks that there is an `alpha_optimizer` for [`Step::move_arch`] to use. `who` needs it and was published with `advice`:
/// for the message.
///
/// [`Step::move_arch`]: archai_engine::trainer::Step::move_arch
///
/// # Errors
/// There is no `alpha_optimizer`, or its keys contradict each other.
pub(crate) fn check_alpha_optimizer(
    who: &str,
    advice: &str,
    trainer: &settings::Trainer,
) -> Result<(), EngineError> {
    if trainer.alpha_optimizer.is_none() {
        return Err(EngineError::setting(
            "nas.search.trainer.alpha_optimizer",
            format!(
                "{who} moves the architecture by an optimizer of its own, but there is none; set it ({advice})"
            ),
        ));
    }
    ArchStep::new(trainer).map(drop)
}
