//! The auxiliary classifier of evaluation networks.

use archai_spec::desc::{AuxTowerDesc, Shape};
use burn::tensor::ops::AvgPoolOptions;
use burn::tensor::{Tensor, activation::relu, module};

use crate::error::EngineError;
use crate::features::Features;
use crate::op::{Conv, ConvShape, Linear, Norm, OpBuilder, Pass};

/// ReLU, 5×5 average pool without padding, pointwise to 128, norm, ReLU, 2×2 convolution to 768, norm (where the
/// description has it), ReLU, linear.
#[derive(Debug)]
pub struct AuxTower {
    stride: usize,
    convs: [Conv; 2],
    norms: (Norm, Option<Norm>),
    linear: Linear,
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
        let after = |size: usize| {
            size.checked_sub(5)
                .map(|s| s / desc.stride.max(1) + 1)
                .filter(|&s| s >= 2)
        };
        let (Some(h), Some(w)) = (after(input.height), after(input.width)) else {
            return Err(EngineError::structure(format!(
                "an auxiliary tower of stride {} needs larger maps than {}×{}: a 5×5 pool and a 2×2 convolution follow \
                 each other; use a smaller stride or no tower (aux_weight 0)",
                desc.stride, input.height, input.width
            )));
        };
        let conv1 = b.conv(ConvShape::new(desc.ch_in, 128, 1));
        let norm1 = b.norm(128);
        let conv2 = b.conv(ConvShape {
            kernel: [2, 2],
            ..ConvShape::new(128, 768, 1)
        });
        let norm2 = desc.second_norm.then(|| b.norm(768));
        let linear = b.linear(768 * (h - 1) * (w - 1), desc.n_classes);
        Ok(AuxTower {
            stride: desc.stride,
            convs: [conv1, conv2],
            norms: (norm1, norm2),
            linear,
        })
    }

    /// Logits `[N, classes]`.
    pub fn forward(&self, pass: &mut Pass<'_>, input: &Features) -> Tensor<2> {
        let pool = AvgPoolOptions::new([5, 5]).with_stride([self.stride; 2]);
        let mut x = module::avg_pool2d(input.relu_nchw(), pool);
        x = self.convs[0].forward(pass, x);
        x = relu(pass.batch_norm(&self.norms.0, x));
        x = self.convs[1].forward(pass, x);
        if let Some(norm) = &self.norms.1 {
            x = pass.batch_norm(norm, x);
        }
        self.linear.forward(pass, relu(x).flatten(1, 3))
    }
}
