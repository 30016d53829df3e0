//! Random brightness, contrast, saturation and hue, as torchvision's `ColorJitter`.

use std::sync::Arc;

use archai_spec::registry::Named;
use archai_spec::settings;

use super::augment::{Chance, Raster, below, in_bytes};
use crate::error::DataError;
use crate::transform::{Scope, Step, Transform};

/// Changes brightness, contrast, saturation and hue of a training image, in random order.
pub(super) struct ColorJitter;

impl Named for ColorJitter {
    fn name(&self) -> &str {
        "color_jitter"
    }

    fn about(&self) -> &str {
        "brightness, contrast, saturation and hue of training images change by dataset.color_jitter"
    }
}

impl Transform for ColorJitter {
    fn prepare(&self, scope: &Scope<'_>) -> Result<Option<Step>, DataError> {
        let jitter = scope.dataset.color_jitter.filter(|_| scope.training);
        Ok(jitter.map(|jitter| -> Step {
            Arc::new(move |pixels, key| {
                let drawn = draw(jitter, &mut key.with("color_jitter").rng());
                in_bytes(pixels, |picture| {
                    drawn.into_iter().for_each(|c| c.apply(picture))
                });
            })
        }))
    }

    fn asked_for(&self, scope: &Scope<'_>) -> Option<String> {
        let jitter = scope.dataset.color_jitter.filter(|_| scope.training);
        jitter.map(|jitter| format!("dataset.color_jitter is {jitter:?}"))
    }

    fn takes_bytes(&self) -> bool {
        true
    }
}

/// One of the four changes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    Brightness(f64),
    Contrast(f64),
    Saturation(f64),
    /// By so many of 255 parts of the circle.
    Hue(u8),
}

impl Change {
    fn apply(self, picture: &mut Raster) {
        match self {
            Change::Brightness(factor) => picture.brightness(factor),
            Change::Contrast(factor) => picture.contrast(factor),
            Change::Saturation(factor) => picture.color(factor),
            Change::Hue(turn) => picture.hue(turn),
        }
    }
}

/// The changes in their order. All is drawn always, so that one setting does not move another's.
fn draw(jitter: settings::ColorJitter, chance: &mut dyn Chance) -> Vec<Change> {
    let mut factor = |by: f64| {
        let least = (1.0 - by).max(0.0);
        least + (1.0 + by - least) * chance.unit()
    };
    let [brightness, contrast, saturation] =
        [jitter.brightness, jitter.contrast, jitter.saturation].map(&mut factor);
    let hue = jitter.hue * (2.0 * chance.unit() - 1.0);
    let mut changes = [
        (jitter.brightness > 0.0, Change::Brightness(brightness)),
        (jitter.contrast > 0.0, Change::Contrast(contrast)),
        (jitter.saturation > 0.0, Change::Saturation(saturation)),
        // Cut off and counted around, as NumPy does it for torchvision.
        (jitter.hue > 0.0, Change::Hue((hue * 255.0) as i32 as u8)),
    ];
    for last in (1..changes.len()).rev() {
        changes.swap(last, below(last + 1, chance));
    }
    let asked = changes.into_iter().filter(|(is_asked, _)| *is_asked);
    asked.map(|(_, change)| change).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::rng::Key;

    #[test]
    fn factors_and_orders() {
        let jitter = settings::ColorJitter {
            brightness: 0.4,
            contrast: 2.0,
            saturation: 0.2,
            hue: 0.1,
        };
        let mut orders = BTreeSet::new();
        let (mut least, mut most) = ([f64::MAX; 4], [f64::MIN; 4]);
        for i in 0..4000u64 {
            let drawn = draw(jitter, &mut Key::new(i).rng());
            let mut order = Vec::new();
            for change in drawn {
                let (place, value) = match change {
                    Change::Brightness(factor) => (0, factor),
                    Change::Contrast(factor) => (1, factor),
                    Change::Saturation(factor) => (2, factor),
                    Change::Hue(turn) => (3, f64::from(turn as i8)),
                };
                order.push(place);
                least[place] = least[place].min(value);
                most[place] = most[place].max(value);
            }
            orders.insert(order);
        }
        assert_eq!(orders.len(), 24, "every order comes");
        let near = |found: [f64; 4], expect: [f64; 4]| {
            found.iter().zip(expect).all(|(a, b)| (a - b).abs() < 0.02)
        };
        assert!(near(least, [0.6, 0.0, 0.8, -25.0]), "{least:?}");
        assert!(near(most, [1.4, 3.0, 1.2, 25.0]), "{most:?}");
        // What nobody asked for is not among them.
        let one = settings::ColorJitter {
            hue: 0.5,
            ..settings::ColorJitter::default()
        };
        assert_eq!(draw(one, &mut Key::new(1).rng()).len(), 1);
    }
}
