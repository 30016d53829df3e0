//! The transforms that come with the program, one file each. A new one is a file here and a line in [`builtin`]; a
//! program's own ones are added to what [`builtin`] gives.

mod augment;
mod color_jitter;
mod crop;
mod cutout;
mod draw;
mod flip;
mod normalise;
mod random_affine;
mod random_erasing;

use std::sync::Arc;

use crate::transform::Transforms;

pub use cutout::{Square, cutout_square};

/// All transforms that come with the program.
pub fn builtin() -> Transforms {
    Transforms::new("transform")
        .with(Arc::new(augment::Augment))
        .with(Arc::new(random_affine::RandomAffine))
        .with(Arc::new(crop::Crop))
        .with(Arc::new(flip::Flip))
        .with(Arc::new(color_jitter::ColorJitter))
        .with(Arc::new(normalise::Normalise))
        .with(Arc::new(cutout::Cutout))
        .with(Arc::new(random_erasing::RandomErasing))
}
