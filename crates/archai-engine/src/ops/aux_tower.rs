//! The auxiliary classifier of evaluation networks.

use archai_kernels::{Pool, PoolKind};
use archai_spec::desc::{AuxTowerDesc, Shape};
use burn::tensor::ops::AvgPoolOptions;
use burn::tensor::{Tensor, module};

use super::conv::{Layer, Stretch};
use super::fused_conv::ForSize;
use crate::error::EngineError;
use crate::features::Features;
use crate::fused::{self, kernels};
use crate::op::{ConvShape, Linear, OpBuilder, Pass};

/// ReLU, 5×5 average pool without padding, pointwise to 128, norm, ReLU, 2×2 convolution to 768, norm (where the
/// description has it), ReLU, linear.
#[derive(Debug)]
pub struct AuxTower {
    stride: usize,
    pool: ForSize<Pool>,
    /// Pointwise with norm; ReLU and 2×2 convolution with or without norm; ReLU.
    layers: Vec<Stretch>,
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
        let conv2 = ConvShape {
            kernel: [2, 2],
            ..ConvShape::new(128, 768, 1)
        };
        let mut layers = vec![
            Layer::Conv(ConvShape::new(desc.ch_in, 128, 1)),
            Layer::Norm(128),
            Layer::Relu,
            Layer::Conv(conv2),
        ];
        layers.extend(desc.second_norm.then_some(Layer::Norm(768)));
        layers.push(Layer::Relu);
        let layers = Stretch::declare_all(&layers, b);
        let linear = b.linear(768 * (h - 1) * (w - 1), desc.n_classes);
        Ok(AuxTower {
            stride: desc.stride,
            pool: ForSize::default(),
            layers,
            linear,
        })
    }

    /// Logits `[N, classes]`.
    pub fn forward(&self, pass: &mut Pass<'_>, input: &Features) -> Tensor<2> {
        let x = self.pooled(pass, &input.relu());
        let x = self.layers.iter().fold(x, |x, s| s.forward(pass, x));
        self.linear.forward(pass, x.nchw().flatten(1, 3))
    }

    fn pooled(&self, pass: &Pass<'_>, x: &Features) -> Features {
        let kernel = |map| Pool::new(map, PoolKind::Average, 5, self.stride, 0, false);
        if let Some(exec) = pass.exec()
            && let Some(op) = self.pool.get(x.map(), kernel)
        {
            let map = op.output();
            let given = None;
            let (y, _) = fused::call(kernels::Pooling { exec, op, given }, vec![x.input(exec)]);
            return Features::from_blocked(y, map);
        }
        let options = AvgPoolOptions::new([5, 5]).with_stride([self.stride; 2]);
        Features::from_nchw(module::avg_pool2d(x.nchw(), options))
    }
}
