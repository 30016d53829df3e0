//! From bytes to numbers around zero.

use std::sync::Arc;

use archai_spec::registry::Named;
use archai_spec::settings;

use crate::error::DataError;
use crate::transform::{Scope, Step, Transform};

/// Scales pixels to [0, 1], subtracts the channel's mean and divides by its standard deviation.
pub(super) struct Normalise;

impl Named for Normalise {
    fn name(&self) -> &str {
        "normalise"
    }

    fn about(&self) -> &str {
        "pixels are scaled to [0, 1], minus dataset.mean, over dataset.std"
    }
}

impl Transform for Normalise {
    fn prepare(&self, scope: &Scope<'_>) -> Result<Option<Step>, DataError> {
        let dataset = scope.dataset;
        let channels: Vec<(f32, f32)> = (dataset.mean.iter().copied())
            .zip(dataset.std.iter().copied())
            .collect();
        Ok(Some(Arc::new(move |pixels, _| {
            for (plane, &(mean, std)) in pixels.planes_mut().zip(&channels) {
                for value in plane {
                    *value = (*value / 255.0 - mean) / std;
                }
            }
        })))
    }

    /// No section can leave these settings out; means of 0 and deviations of 1 ask for nothing.
    fn asked_for(&self, scope: &Scope<'_>) -> Option<String> {
        let settings::Dataset { mean, std, .. } = scope.dataset;
        let is_asked = mean.iter().any(|mean| *mean != 0.0) || std.iter().any(|std| *std != 1.0);
        is_asked.then(|| {
            format!("dataset.mean is {mean:?} and dataset.std is {std:?} (0 and 1 switch them off)")
        })
    }
}
