//! The transforms that come with the program, one file each. A new one is a file here and a line in [`builtin`]; a
//! program's own ones are added to what [`builtin`] gives.

mod crop;
mod cutout;
mod draw;
mod flip;
mod normalise;

use std::sync::Arc;

use crate::transform::Transforms;

pub use cutout::{Square, cutout_square};

/// All transforms that come with the program.
pub fn builtin() -> Transforms {
    Transforms::new("transform")
        .with(Arc::new(crop::Crop))
        .with(Arc::new(flip::Flip))
        .with(Arc::new(normalise::Normalise))
        .with(Arc::new(cutout::Cutout))
}
