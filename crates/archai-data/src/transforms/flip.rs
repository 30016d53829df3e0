//! Mirror images.

use std::sync::Arc;

use archai_spec::registry::Named;

use super::draw::Draws;
use crate::error::DataError;
use crate::transform::{Scope, Step, Transform};

/// Mirrors a training image left to right with probability 1/2.
pub(super) struct Flip;

impl Named for Flip {
    fn name(&self) -> &str {
        "flip"
    }

    fn about(&self) -> &str {
        "training images are mirrored left to right with probability 1/2, if dataset.flip says so"
    }
}

impl Transform for Flip {
    fn prepare(&self, scope: &Scope<'_>) -> Result<Option<Step>, DataError> {
        if !scope.training || !scope.dataset.flip {
            return Ok(None);
        }
        let draws = Draws::new(scope);
        Ok(Some(Arc::new(move |pixels, key| {
            if draws.draw(key).mirrored {
                let [_, _, width] = pixels.shape();
                let rows = pixels.values_mut().chunks_exact_mut(width);
                rows.for_each(<[f32]>::reverse);
            }
        })))
    }

    fn asked_for(&self, scope: &Scope<'_>) -> Option<String> {
        (scope.training && scope.dataset.flip).then(|| "dataset.flip is true".to_owned())
    }
}
