//! Random erasing (Zhong et al., 2020), as torchvision's `RandomErasing`.

use std::sync::Arc;

use archai_spec::registry::Named;
use archai_spec::settings;

use super::augment::{Chance, below};
use crate::error::DataError;
use crate::transform::{Scope, Step, Transform};

/// Sets a rectangle of a training image to zero. It comes after normalisation, so that zero is the mean.
pub(super) struct RandomErasing;

impl Named for RandomErasing {
    fn name(&self) -> &str {
        "random_erasing"
    }

    fn about(&self) -> &str {
        "a rectangle of training images is set to zero, as loader.random_erasing says"
    }
}

impl Transform for RandomErasing {
    fn prepare(&self, scope: &Scope<'_>) -> Result<Option<Step>, DataError> {
        let erasing = scope.random_erasing.filter(|_| scope.training);
        Ok(erasing.map(|erasing| -> Step {
            Arc::new(move |pixels, key| {
                let [_, height, width] = pixels.shape();
                let mut rng = key.with("random_erasing").rng();
                if let Some(hole) = hole(erasing, [height, width], &mut rng) {
                    let Hole {
                        top,
                        left,
                        height,
                        width: wide,
                    } = hole;
                    for plane in pixels.planes_mut() {
                        for row in plane.chunks_exact_mut(width).skip(top).take(height) {
                            row[left..left + wide].fill(0.0);
                        }
                    }
                }
            })
        }))
    }

    fn asked_for(&self, scope: &Scope<'_>) -> Option<String> {
        let erasing = scope.random_erasing.filter(|_| scope.training);
        erasing.map(|_| "loader.random_erasing is set".to_owned())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hole {
    top: usize,
    left: usize,
    height: usize,
    width: usize,
}

/// With its probability, a rectangle of a random area and random proportions that is lower and narrower than the image; after
/// ten attempts none.
fn hole(
    erasing: settings::RandomErasing,
    [height, width]: [usize; 2],
    chance: &mut dyn Chance,
) -> Option<Hole> {
    const ATTEMPTS: usize = 10;
    let settings::RandomErasing { p, scale, ratio } = erasing;
    if chance.unit() >= p {
        return None;
    }
    let area = (height * width) as f64;
    let logarithms = ratio.map(f64::ln);
    let between =
        |[least, most]: [f64; 2], chance: &mut dyn Chance| least + (most - least) * chance.unit();
    for _ in 0..ATTEMPTS {
        let target = area * between(scale, chance);
        let proportion = between(logarithms, chance).exp();
        let high = (target * proportion).sqrt().round_ties_even() as usize;
        let wide = (target / proportion).sqrt().round_ties_even() as usize;
        if high < height && wide < width {
            return Some(Hole {
                top: below(height - high + 1, chance),
                left: below(width - wide + 1, chance),
                height: high,
                width: wide,
            });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Key;

    #[test]
    fn holes() {
        let usual = settings::RandomErasing::default();
        let (mut n, mut sum) = (0, 0.0);
        for i in 0..4000u64 {
            let Some(hole) = hole(usual, [40, 60], &mut Key::new(i).rng()) else {
                continue;
            };
            assert!(hole.top + hole.height <= 40 && hole.left + hole.width <= 60);
            n += 1;
            sum += (hole.height * hole.width) as f64 / 2400.0;
        }
        assert!((1880..2120).contains(&n), "half of the images: {n}");
        let mean = sum / f64::from(n);
        assert!(
            (0.14..0.19).contains(&mean),
            "a share of 0.02 to 0.33, and wide ones are drawn again: {mean}"
        );
        let never = settings::RandomErasing { p: 0.0, ..usual };
        assert!((0..100u64).all(|i| hole(never, [40, 60], &mut Key::new(i).rng()).is_none()));
        // What is as large as the image is not erased.
        let all = settings::RandomErasing {
            p: 1.0,
            scale: [1.0; 2],
            ratio: [1.0; 2],
        };
        assert_eq!(hole(all, [40, 40], &mut Key::new(1).rng()), None);
    }
}
