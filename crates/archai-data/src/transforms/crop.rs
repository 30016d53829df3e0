//! Random crops.

use std::sync::Arc;

use archai_spec::registry::Named;

use super::draw::Draws;
use crate::dataset::MAX_SIDE;
use crate::error::DataError;
use crate::transform::{Scope, Step, Transform};

/// Pads a training image with black on all sides and crops the original size back at random.
pub(super) struct Crop;

impl Named for Crop {
    fn name(&self) -> &str {
        "crop"
    }

    fn about(&self) -> &str {
        "training images are padded by dataset.crop_padding pixels and cropped back at random"
    }
}

impl Transform for Crop {
    fn prepare(&self, scope: &Scope<'_>) -> Result<Option<Step>, DataError> {
        let padding = scope.dataset.crop_padding;
        if padding > MAX_SIDE {
            let problem = format!("is {padding}, expected at most {MAX_SIDE}");
            return Err(DataError::setting("dataset.crop_padding", problem));
        }
        if !scope.training || padding == 0 {
            return Ok(None);
        }
        let draws = Draws::new(scope);
        Ok(Some(Arc::new(move |pixels, key| {
            let shift = draws.draw(key).shift;
            let [_, _, width] = pixels.shape();
            pixels
                .planes_mut()
                .for_each(|plane| moved(plane, width, shift));
        })))
    }

    fn asked_for(&self, scope: &Scope<'_>) -> Option<String> {
        let padding = scope.dataset.crop_padding;
        (scope.training && padding > 0).then(|| format!("dataset.crop_padding is {padding}"))
    }
}

/// Each pixel becomes the one `dy` below and `dx` to the right of it; what comes in from outside is black.
fn moved(plane: &mut [f32], width: usize, [dy, dx]: [isize; 2]) {
    let height = plane.len() / width;
    // The columns that do not come from outside.
    let side = width as isize;
    let first = (-dx).clamp(0, side) as usize;
    let last = (side - dx).clamp(0, side) as usize;
    let mut row = |y: usize| {
        let start = y * width;
        match y.checked_add_signed(dy).filter(|from| *from < height) {
            Some(from) if first < last => {
                let from = (from * width + first).wrapping_add_signed(dx);
                plane.copy_within(from..from + (last - first), start + first);
                plane[start..start + first].fill(0.0);
                plane[start + last..start + width].fill(0.0);
            }
            _ => plane[start..start + width].fill(0.0),
        }
    };
    // A row is read before it is overwritten.
    match dy >= 0 {
        true => (0..height).for_each(&mut row),
        false => (0..height).rev().for_each(&mut row),
    }
}
