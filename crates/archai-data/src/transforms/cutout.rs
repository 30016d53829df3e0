//! Cutout (DeVries and Taylor, 2017).

use std::sync::Arc;

use archai_spec::registry::Named;

use super::draw::Draws;
use crate::error::DataError;
use crate::transform::{Scope, Step, Transform};

/// Sets a square of a training image to zero. It comes after normalisation, so that zero is the mean.
pub(super) struct Cutout;

impl Named for Cutout {
    fn name(&self) -> &str {
        "cutout"
    }

    fn about(&self) -> &str {
        "a square of side loader.cutout of each training image is set to zero"
    }
}

impl Transform for Cutout {
    fn prepare(&self, scope: &Scope<'_>) -> Result<Option<Step>, DataError> {
        let length = scope.cutout;
        if !scope.training || length == 0 {
            return Ok(None);
        }
        let draws = Draws::new(scope);
        Ok(Some(Arc::new(move |pixels, key| {
            let [cy, cx] = draws.draw(key).centre;
            let [_, height, width] = pixels.shape();
            let hole = cutout_square(cy, cx, length, height, width);
            for plane in pixels.planes_mut() {
                for y in hole.rows.clone() {
                    plane[y * width..][hole.columns.clone()].fill(0.0);
                }
            }
        })))
    }

    fn asked_for(&self, scope: &Scope<'_>) -> Option<String> {
        (scope.training && scope.cutout > 0).then(|| format!("loader.cutout is {}", scope.cutout))
    }
}

/// Rows and columns of a square.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Square {
    /// Rows that it covers.
    pub rows: std::ops::Range<usize>,
    /// Columns that it covers.
    pub columns: std::ops::Range<usize>,
}

/// What cutout of side `length` around (`cy`, `cx`) sets to zero in an image of `height`×`width`: rows
/// max(cy − ⌊length/2⌋, 0) to min(cy + ⌊length/2⌋, height), the end not included, columns likewise. An odd side gives
/// the next smaller even square, as in the original code.
pub fn cutout_square(cy: usize, cx: usize, length: usize, height: usize, width: usize) -> Square {
    let half = length / 2;
    let range = |centre: usize, side: usize| {
        centre.saturating_sub(half)..centre.saturating_add(half).min(side)
    };
    Square {
        rows: range(cy, height),
        columns: range(cx, width),
    }
}
