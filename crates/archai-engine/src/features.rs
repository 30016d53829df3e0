//! Activations between ops. How they lie in memory is this type's secret: a fast engine keeps them channel-blocked, and
//! only an op that asks for [`Features::nchw`] sees the framework's plain layout.

use burn::tensor::Tensor;

/// A batch of feature maps: N samples of C channels of H×W pixels. Cheap to clone; what is derived from it (its ReLU, its
/// pools) is computed once and shared by all ops that read it, gradients included.
#[derive(Clone, Debug)]
pub struct Features {
    shape: [usize; 4],
    nchw: Tensor<4>,
}

impl Features {
    /// From a plain tensor `[N, C, H, W]`.
    pub fn from_nchw(tensor: Tensor<4>) -> Self {
        Features { shape: tensor.dims(), nchw: tensor }
    }
    /// As a plain tensor `[N, C, H, W]`.
    pub fn nchw(&self) -> Tensor<4> {
        self.nchw.clone()
    }
    /// `[N, C, H, W]`.
    pub fn shape(&self) -> [usize; 4] {
        self.shape
    }
}
