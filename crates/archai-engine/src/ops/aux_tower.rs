//! The auxiliary classifier of evaluation networks.

use archai_spec::desc::{AuxTowerDesc, Shape};
use burn::tensor::Tensor;

use super::layered::Layered;
use crate::error::EngineError;
use crate::features::Features;
use crate::op::{OpBuilder, Pass};

/// ReLU, average pool without padding, pointwise to 128, norm, ReLU, 2×2 convolution to 768, norm (where the description
/// has it), ReLU, mean of the pixels if there are several, linear.
#[derive(Debug)]
pub struct AuxTower {
    layers: Layered,
}

impl AuxTower {
    /// Builds the tower on feature maps of shape `input`.
    ///
    /// # Errors
    /// [`EngineError::Desc`] if the maps are too small for it.
    pub fn new(
        desc: &AuxTowerDesc,
        input: Shape,
        b: &mut OpBuilder<'_>,
    ) -> Result<Self, EngineError> {
        let list = desc.lower(input, b.affine()).map_err(|e| {
            EngineError::structure(format!(
                "an auxiliary tower with a {0}×{0} pool of stride {1} needs larger maps than {2}×{3} ({e}): the pool and a \
                 2×2 convolution follow each other; use a smaller window and stride, or no tower (aux_weight 0)",
                desc.window, desc.stride, input.height, input.width
            ))
        })?;
        Ok(AuxTower {
            layers: Layered::declare(list, b)?,
        })
    }

    /// Logits `[N, classes]`.
    pub fn forward(&self, pass: &mut Pass<'_>, input: &Features) -> Tensor<2> {
        let logits = self.layers.forward(pass, std::slice::from_ref(input));
        let [n, classes, _, _] = logits.shape();
        logits.nchw().reshape([n, classes])
    }
}
