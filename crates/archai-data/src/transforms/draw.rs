//! The random choices of the built-in transforms.

use crate::rng::Key;
use crate::transform::Scope;

/// The random choices for one image. All are drawn always, in this order and from one generator, whichever transforms use
/// them, so that one setting does not move another's.
pub(super) struct Draw {
    /// By how much the crop is moved down and to the right.
    pub shift: [isize; 2],
    /// Whether the image is mirrored.
    pub mirrored: bool,
    /// Row and column around which cutout erases.
    pub centre: [usize; 2],
}

/// What the draws depend on.
#[derive(Clone, Copy)]
pub(super) struct Draws {
    padding: u32,
    size: [usize; 2],
}

impl Draws {
    pub(super) fn new(scope: &Scope<'_>) -> Draws {
        Draws {
            padding: scope.dataset.crop_padding as u32,
            size: scope.dataset.size,
        }
    }

    pub(super) fn draw(self, key: Key) -> Draw {
        let Draws { padding, size } = self;
        let mut rng = key.rng();
        let mut shift = || rng.uniform_u32_below(2 * padding + 1) as isize - padding as isize;
        let shift = [shift(), shift()];
        let mirrored = rng.uniform_u32_below(2) == 1;
        let centre = size.map(|side| rng.uniform_u32_below(side as u32) as usize);
        Draw {
            shift,
            mirrored,
            centre,
        }
    }
}
