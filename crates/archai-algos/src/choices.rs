//! What every algorithm that trains architecture parameters asks of its model.

use archai_engine::{EngineError, Model};

/// Checks that the model has a choice among ops for `who` to search by.
///
/// # Errors
/// It has none.
pub(crate) fn check(who: &str, model: &Model) -> Result<(), EngineError> {
    match model.arch().is_empty() {
        false => Ok(()),
        true => Err(EngineError::setting(
            "nas.search.model_desc",
            format!("{who} searches among the ops of mixed edges, but the model has none"),
        )),
    }
}
