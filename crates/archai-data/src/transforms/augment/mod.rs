//! Augmentation policies (`loader.aug`), which act on the bytes of training images before all other transforms.

mod op;
mod policy;
mod raster;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use archai_spec::registry::Named;
use archai_spec::settings::Aug;

use crate::error::DataError;
use crate::rng::Rng;
use crate::transform::{Pixels, Scope, Step, Transform};

use policy::Policy;
pub(super) use policy::below;
pub(super) use raster::Raster;

/// Where random numbers come from: a generator, or in tests a list.
pub(crate) trait Chance {
    /// A number in [0, 1).
    fn unit(&mut self) -> f64;

    /// A number of the gamma distribution of this shape.
    fn gamma(&mut self, shape: f64) -> f64;
}

impl Chance for Rng {
    fn unit(&mut self) -> f64 {
        self.uniform_f64()
    }

    fn gamma(&mut self, shape: f64) -> f64 {
        Rng::gamma(self, shape)
    }
}

/// Changes training images as a policy says.
pub(super) struct Augment;

impl Named for Augment {
    fn name(&self) -> &str {
        "aug"
    }

    fn about(&self) -> &str {
        "training images go through the policy that loader.aug names (AutoAugment, RandAugment, …)"
    }
}

impl Transform for Augment {
    fn prepare(&self, scope: &Scope<'_>) -> Result<Option<Step>, DataError> {
        let Some(aug) = scope.aug.filter(|_| scope.training) else {
            return Ok(None);
        };
        let policy =
            Policy::new(aug).map_err(|problem| DataError::setting("loader.aug", problem))?;
        Ok(Some(Arc::new(move |pixels, key| {
            let [_, height, width] = pixels.shape();
            let plan = policy.plan([height, width], &mut key.with("aug").rng());
            in_bytes(pixels, |picture| plan.apply(picture, &mut Vec::new()));
        })))
    }

    fn asked_for(&self, scope: &Scope<'_>) -> Option<String> {
        Some(match scope.aug.filter(|_| scope.training)? {
            Aug::List(list) => format!("loader.aug is a list of {}", list.len()),
            aug => format!("loader.aug is {}", serde_json::json!(aug)),
        })
    }

    fn takes_bytes(&self) -> bool {
        true
    }
}

/// Changes an image that is still one of bytes. What a transform of a user's own has made of it is rounded to the nearest.
pub(super) fn in_bytes(pixels: &mut Pixels<'_>, change: impl FnOnce(&mut Raster)) {
    let [channels, height, width] = pixels.shape();
    let values = pixels.values_mut();
    let mut picture = Raster {
        bytes: values.iter().map(|value| value.round() as u8).collect(),
        channels,
        height,
        width,
    };
    change(&mut picture);
    for (value, byte) in values.iter_mut().zip(picture.bytes) {
        *value = f32::from(byte);
    }
}
