//! Layers with parameters, as ops hold them: handles and sizes, no numbers.

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

/// Sizes of a 2-D convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvShape {
    /// Input channels.
    pub c_in: usize,
    /// Output channels.
    pub c_out: usize,
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Steps in height and width.
    pub stride: [usize; 2],
    /// Zeros on both sides in height and width.
    pub padding: [usize; 2],
    /// Distance of the kernel's taps.
    pub dilation: usize,
    /// Groups of channels that do not see each other.
    pub groups: usize,
    /// Whether it has a bias.
    pub bias: bool,
}

impl ConvShape {
    /// A square convolution of odd size `k` that keeps height and width.
    pub fn new(c_in: usize, c_out: usize, k: usize) -> Self {
        ConvShape {
            c_in,
            c_out,
            kernel: [k, k],
            stride: [1, 1],
            padding: [k / 2, k / 2],
            dilation: 1,
            groups: 1,
            bias: false,
        }
    }
    /// One filter per channel.
    pub fn depthwise(c: usize, k: usize) -> Self {
        ConvShape {
            groups: c,
            ..ConvShape::new(c, c, k)
        }
    }
    /// The same with a stride.
    pub fn with_stride(self, stride: usize) -> Self {
        ConvShape {
            stride: [stride, stride],
            ..self
        }
    }
    /// The same with dilation; padding grows so that the size is kept.
    pub fn with_dilation(self, dilation: usize) -> Self {
        let padding = self.kernel.map(|k| dilation * (k / 2));
        ConvShape {
            dilation,
            padding,
            ..self
        }
    }
    /// The same without zeros around.
    pub fn without_padding(self) -> Self {
        ConvShape {
            padding: [0, 0],
            ..self
        }
    }
    /// Whether each output pixel sees one input pixel alone.
    fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.padding == [0, 0] && self.groups == 1
    }
    /// The same with or without bias.
    pub fn with_bias(self, bias: bool) -> Self {
        ConvShape { bias, ..self }
    }
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
        let s = &self.shape;
        if s.is_pointwise() {
            return self.pointwise(pass, x);
        }
        let bias = s.bias.then(|| pass.param(self.param, self.piece + 1));
        let options = ConvOptions::new(s.stride, s.padding, [s.dilation; 2], s.groups);
        module::conv2d(x, pass.param(self.param, self.piece), bias, options)
    }

    /// A pointwise convolution as a matrix product per sample: the framework's gradient of the weight as a convolution
    /// takes about ten times as long.
    fn pointwise(&self, pass: &Pass<'_>, x: Tensor<4>) -> Tensor<4> {
        let s = &self.shape;
        let x = match s.stride {
            [1, 1] => x,
            [v, h] => x.slice(s![.., .., ..;v, ..;h]),
        };
        let [n, _, h, w] = x.dims();
        let weight: Tensor<4> = pass.param(self.param, self.piece);
        let weight = weight.reshape([1, s.c_out, s.c_in]);
        let y = weight
            .matmul(x.reshape([n, s.c_in, h * w]))
            .reshape([n, s.c_out, h, w]);
        match s.bias {
            true => {
                y + pass
                    .param::<1>(self.param, self.piece + 1)
                    .reshape([1, s.c_out, 1, 1])
            }
            false => y,
        }
    }

    /// Its sizes.
    pub fn shape(&self) -> &ConvShape {
        &self.shape
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
}

impl Linear {
    /// x·Wᵀ + b for `x` `[N, features]`.
    pub fn forward(&self, pass: &Pass<'_>, x: Tensor<2>) -> Tensor<2> {
        let bias: Tensor<1> = pass.param(self.param, 1);
        x.matmul(pass.param::<2>(self.param, 0).transpose()) + bias.unsqueeze()
    }
}
