//! Layers with parameters, as ops hold them: handles and sizes, no numbers.

use archai_spec::ops::ConvShape;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Tensor, module, s};

use super::norms::NormId;
use super::pass::Pass;
use crate::params::ParamId;

/// The parameters of a fused op: a whole packed parameter, or a run of it where several ops share one.
#[derive(Clone, Debug)]
pub(crate) struct Packed {
    pub id: ParamId,
    pub part: Option<std::ops::Range<usize>>,
}

/// A 2-D convolution: its handle and sizes.
#[derive(Clone, Debug)]
pub struct Conv {
    pub(crate) param: ParamId,
    /// Place of the weight among the parameter's pieces; a bias follows it.
    pub(crate) piece: usize,
    pub(crate) shape: ConvShape,
}

impl Conv {
    /// Cross-correlation of `x` `[N, c_in, H, W]` with the weight.
    pub fn forward(&self, pass: &Pass<'_>, x: Tensor<4>) -> Tensor<4> {
        let bias = self.shape.bias;
        let bias = bias.then(|| pass.param(self.param, self.piece + 1));
        conv2d(x, pass.param(self.param, self.piece), bias, &self.shape)
    }

    /// Its sizes.
    pub fn shape(&self) -> &ConvShape {
        &self.shape
    }
}

/// Cross-correlation of `x` `[N, c_in, H, W]` with a weight of [`ConvShape`]'s shape.
pub(crate) fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    s: &ConvShape,
) -> Tensor<4> {
    if s.is_pointwise() {
        return pointwise(x, weight, bias, s);
    }
    let options = ConvOptions::new(s.stride, s.padding, [s.dilation; 2], s.groups);
    module::conv2d(x, weight, bias, options)
}

/// A pointwise convolution as a matrix product per sample: the framework's gradient of the weight as a convolution
/// takes about ten times as long.
fn pointwise(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, s: &ConvShape) -> Tensor<4> {
    let x = match s.stride {
        [1, 1] => x,
        [v, h] => x.slice(s![.., .., ..;v, ..;h]),
    };
    let [n, _, h, w] = x.dims();
    let weight = weight.reshape([1, s.c_out, s.c_in]);
    let y = weight
        .matmul(x.reshape([n, s.c_in, h * w]))
        .reshape([n, s.c_out, h, w]);
    match bias {
        Some(bias) => y + bias.reshape([1, s.c_out, 1, 1]),
        None => y,
    }
}

/// A batch norm: its handles.
#[derive(Clone, Debug)]
pub struct Norm {
    pub(crate) id: NormId,
    /// The parameter, and the place of the scale among its pieces; the shift follows it.
    pub(crate) affine: Option<(ParamId, usize)>,
}

/// A linear layer: its handle.
#[derive(Clone, Debug)]
pub struct Linear {
    pub(super) param: ParamId,
    pub(super) bias: bool,
}

impl Linear {
    /// x·Wᵀ (+ b) for `x` `[N, features]`.
    pub fn forward(&self, pass: &Pass<'_>, x: Tensor<2>) -> Tensor<2> {
        let y = x.matmul(pass.param::<2>(self.param, 0).transpose());
        match self.bias {
            true => y + pass.param::<1>(self.param, 1).unsqueeze(),
            false => y,
        }
    }
}
