//! Random turns, moves, scales and shears, as torchvision's `RandomAffine`.

use std::sync::Arc;

use archai_spec::registry::Named;
use archai_spec::settings;

use super::augment::{Chance, in_bytes};
use crate::error::DataError;
use crate::transform::{Scope, Step, Transform};

/// Turns, moves, scales and shears a training image around its middle.
pub(super) struct RandomAffine;

impl Named for RandomAffine {
    fn name(&self) -> &str {
        "random_affine"
    }

    fn about(&self) -> &str {
        "training images are turned, moved, scaled and sheared by dataset.random_affine"
    }
}

impl Transform for RandomAffine {
    fn prepare(&self, scope: &Scope<'_>) -> Result<Option<Step>, DataError> {
        let affine = scope.dataset.random_affine.filter(|_| scope.training);
        Ok(affine.map(|affine| -> Step {
            Arc::new(move |pixels, key| {
                let [_, height, width] = pixels.shape();
                let change = draw(
                    affine,
                    [height, width],
                    &mut key.with("random_affine").rng(),
                );
                let matrix = change.inverse([height, width]);
                in_bytes(pixels, |picture| picture.affine(matrix, &mut Vec::new()));
            })
        }))
    }

    fn asked_for(&self, scope: &Scope<'_>) -> Option<String> {
        let affine = scope.dataset.random_affine.filter(|_| scope.training);
        affine.map(|_| "dataset.random_affine is set".to_owned())
    }

    fn takes_bytes(&self) -> bool {
        true
    }
}

/// What is done: turned by degrees with the clock, moved by pixels, scaled, sheared along x by degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Change {
    degrees: f64,
    moved: [f64; 2],
    scale: f64,
    shear: f64,
}

fn draw(
    affine: settings::RandomAffine,
    [height, width]: [usize; 2],
    chance: &mut dyn Chance,
) -> Change {
    let mut between = |least: f64, most: f64| least + (most - least) * chance.unit();
    let settings::RandomAffine {
        degrees,
        translate: [x, y],
        scale,
        shear,
    } = affine;
    let degrees = between(-degrees, degrees);
    let mut moved = |share: f64, side: usize| {
        let most = share * side as f64;
        between(-most, most).round_ties_even()
    };
    let moved = [moved(x, width), moved(y, height)];
    Change {
        degrees,
        moved,
        scale: between(scale[0], scale[1]),
        shear: between(-shear, shear),
    }
}

impl Change {
    /// From where each pixel comes, as torchvision's `_get_inverse_affine_matrix` has it.
    fn inverse(self, [height, width]: [usize; 2]) -> [f64; 6] {
        let Change {
            degrees,
            moved: [x, y],
            scale,
            shear,
        } = self;
        let (turn, shear) = (degrees.to_radians(), shear.to_radians());
        let a = turn.cos();
        let b = -turn.cos() * shear.tan() - turn.sin();
        let c = turn.sin();
        let d = -turn.sin() * shear.tan() + turn.cos();
        let [a, b, c, d] = [d, -b, -c, a].map(|v| v / scale);
        let (middle_x, middle_y) = (width as f64 * 0.5, height as f64 * 0.5);
        let (back_x, back_y) = (-middle_x - x, -middle_y - y);
        let from_x = 0.0 + (a * back_x + b * back_y) + middle_x;
        let from_y = 0.0 + (c * back_x + d * back_y) + middle_y;
        [a, b, from_x, c, d, from_y]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Key;

    #[test]
    fn matrices() {
        let nothing = Change {
            degrees: 0.0,
            moved: [0.0; 2],
            scale: 1.0,
            shear: 0.0,
        };
        let check = |change: Change, expect: [f64; 6]| {
            let found = change.inverse([20, 30]);
            let is_near = found.iter().zip(expect).all(|(a, b)| (a - b).abs() < 1e-12);
            assert!(is_near, "{change:?}: {found:?}");
        };
        check(nothing, [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        let moved = [3.0, -2.0];
        check(Change { moved, ..nothing }, [1.0, 0.0, -3.0, 0.0, 1.0, 2.0]);
        // Twice as large: from half as far from the middle.
        check(
            Change {
                scale: 2.0,
                ..nothing
            },
            [0.5, 0.0, 7.5, 0.0, 0.5, 5.0],
        );
        check(
            Change {
                degrees: 90.0,
                ..nothing
            },
            [0.0, 1.0, 5.0, -1.0, 0.0, 25.0],
        );
        check(
            Change {
                shear: 45.0,
                ..nothing
            },
            [1.0, 1.0, -10.0, 0.0, 1.0, 0.0],
        );
    }

    #[test]
    fn ranges() {
        let affine = settings::RandomAffine {
            degrees: 15.0,
            translate: [0.1, 0.2],
            scale: [0.9, 1.1],
            shear: 10.0,
        };
        let mut most = [0.0_f64; 5];
        for i in 0..2000u64 {
            let drawn = draw(affine, [20, 30], &mut Key::new(i).rng());
            let [x, y] = drawn.moved;
            let all = [drawn.degrees, x, y, 10.0 * (drawn.scale - 1.0), drawn.shear];
            most = std::array::from_fn(|i| most[i].max(all[i].abs()));
        }
        let expect = [15.0, 3.0, 4.0, 1.0, 10.0];
        for (most, expect) in most.into_iter().zip(expect) {
            assert!(most <= expect && most > 0.98 * expect, "{most} of {expect}");
        }
    }
}
