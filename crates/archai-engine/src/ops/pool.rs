//! Ops without convolutions: zeros, the identity, pools.

use archai_kernels::{Exec, PoolKind};
use archai_spec::desc::OpDesc;
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions};
use burn::tensor::{Tensor, module};

use super::fused_conv::ForSize;
use crate::compute::Compute;
use crate::features::{Derived, Features};
use crate::fused::{self, kernels};
use crate::op::{Norm, Op, OpBuilder, Pass};

/// `none`: zeros, subsampled by the stride.
#[derive(Debug)]
pub(super) struct Zero(pub OpDesc);

impl Op for Zero {
    fn forward(
        &self,
        pass: &mut Pass<'_>,
        inputs: &[Features],
        _arch: Option<&Tensor<1>>,
    ) -> Features {
        let [n, c, h, w] = inputs[0].shape();
        let s = self.0.stride;
        Features::from_nchw(Tensor::zeros(
            [n, c, h.div_ceil(s), w.div_ceil(s)],
            pass.compute().options(),
        ))
    }
    fn desc(&self) -> &OpDesc {
        &self.0
    }
    fn is_zero(&self) -> bool {
        true
    }
}

/// `identity` and `skip_connect` with stride 1. Drop-path leaves it alone: a path must remain.
#[derive(Debug)]
pub(super) struct Identity(pub OpDesc);

impl Op for Identity {
    fn forward(
        &self,
        _pass: &mut Pass<'_>,
        inputs: &[Features],
        _arch: Option<&Tensor<1>>,
    ) -> Features {
        inputs[0].clone()
    }
    fn desc(&self) -> &OpDesc {
        &self.0
    }
    fn can_drop_path(&self) -> bool {
        false
    }
}

/// 3×3 pools, padded by one; padding is −∞ for the maximum and does not count in the average. With the parameter `norm`
/// a norm follows, as inside the mixed op of DARTS.
#[derive(Debug)]
pub(super) struct Pool {
    desc: OpDesc,
    what: Derived,
    norm: Option<Norm>,
    kernel: ForSize<archai_kernels::Pool>,
}

impl Pool {
    pub fn max(desc: &OpDesc, b: &mut OpBuilder<'_>) -> Self {
        Pool::new(
            desc,
            Derived::MaxPool {
                stride: desc.stride,
            },
            b,
        )
    }
    pub fn average(desc: &OpDesc, b: &mut OpBuilder<'_>) -> Self {
        Pool::new(
            desc,
            Derived::AvgPool {
                stride: desc.stride,
            },
            b,
        )
    }
    fn new(desc: &OpDesc, what: Derived, b: &mut OpBuilder<'_>) -> Self {
        Pool {
            desc: desc.clone(),
            what,
            norm: desc.flag("norm").then(|| b.norm(desc.ch_out)),
            kernel: ForSize::default(),
        }
    }

    fn bare(&self, x: &Features, compute: &Compute) -> Features {
        Features::from_nchw(match self.what {
            Derived::MaxPool { stride } => {
                let options = MaxPoolOptions::new([3, 3]);
                let options = options.with_stride([stride; 2]).with_padding([1, 1]);
                module::max_pool2d(x.nchw(), options)
            }
            _ => average_3x3(x.nchw(), self.desc.stride, compute),
        })
    }

    /// Pool and norm in one kernel; `None` where there is none: for norms with scale and shift, and for gradients through
    /// a norm in evaluation mode.
    fn fused(&self, pass: &mut Pass<'_>, x: &Features) -> Option<Features> {
        let exec = pass.exec()?;
        let norm = self.norm.as_ref();
        if norm.is_some_and(|n| n.affine.is_some() || !pass.is_training() && x.is_tracked()) {
            return None;
        }
        let kind = match self.what {
            Derived::MaxPool { .. } => PoolKind::Max,
            _ => PoolKind::Average,
        };
        let op = self.kernel.get(x.map(), |map| {
            archai_kernels::Pool::new(map, kind, 3, self.desc.stride, 1, norm.is_some())
        })?;
        let given = match (pass.is_training(), x.is_tracked()) {
            (false, false) => Some(norm.map(|n| (*pass.running(n)).clone())),
            _ => None,
        };
        let map = op.output();
        let pooled = |x: &Features| {
            let (y, stats) = fused::call(kernels::Pooling { exec, op, given }, vec![x.input(exec)]);
            (Features::from_blocked(y, map), stats)
        };
        let Some(norm) = norm else {
            return Some(x.derive(self.what, |x| pooled(x).0));
        };
        let (y, stats) = pooled(x);
        if let [stats] = stats.as_slice() {
            pass.record(norm, stats, y.shape()[0] * map.pixels());
        }
        Some(y)
    }
}

impl Op for Pool {
    fn forward(
        &self,
        pass: &mut Pass<'_>,
        inputs: &[Features],
        _arch: Option<&Tensor<1>>,
    ) -> Features {
        if let Some(y) = self.fused(pass, &inputs[0]) {
            return y;
        }
        let pooled = inputs[0].derive(self.what, |x| self.bare(x, pass.compute()));
        match &self.norm {
            Some(norm) => Features::from_nchw(pass.batch_norm(norm, pooled.nchw())),
            None => pooled,
        }
    }
    fn desc(&self) -> &OpDesc {
        &self.desc
    }
}

/// 3×3 average, padded by one; padding does not count. As a convolution with ones, divided by the number of real pixels:
/// several times as fast as the framework's pool, forward and backward.
fn average_3x3(x: Tensor<4>, stride: usize, compute: &Compute) -> Tensor<4> {
    let [_, c, h, w] = x.dims();
    let ones = |shape: [usize; 4]| Tensor::<4>::ones(shape, compute.options());
    let options = |groups| ConvOptions::new([stride, stride], [1, 1], [1, 1], groups);
    let count = module::conv2d(ones([1, 1, h, w]), ones([1, 1, 3, 3]), None, options(1));
    module::conv2d(x, ones([c, 1, 3, 3]), None, options(c)) * count.recip()
}

/// Mean over height and width: `[N, C, 1, 1]`.
#[derive(Debug)]
pub(super) struct GlobalMean(pub OpDesc);

impl Op for GlobalMean {
    fn forward(
        &self,
        pass: &mut Pass<'_>,
        inputs: &[Features],
        _arch: Option<&Tensor<1>>,
    ) -> Features {
        if let Some(exec) = pass.exec() {
            return global_mean(exec, &inputs[0]);
        }
        let [n, c, h, w] = inputs[0].shape();
        let mean = inputs[0].nchw().reshape([n, c, h * w]).mean_dim(2);
        Features::from_nchw(mean.reshape([n, c, 1, 1]))
    }
    fn desc(&self) -> &OpDesc {
        &self.0
    }
    fn can_drop_path(&self) -> bool {
        false
    }
}

fn global_mean(exec: Exec, x: &Features) -> Features {
    let map = x.map();
    let mean = fused::call(kernels::GlobalMean { exec, map }, vec![x.input(exec)]).0;
    Features::from_nchw(mean)
}

/// Non-overlapping 7×7 average pool without padding.
#[derive(Debug)]
pub(super) struct Average7(pub OpDesc);

impl Op for Average7 {
    fn forward(
        &self,
        pass: &mut Pass<'_>,
        inputs: &[Features],
        _arch: Option<&Tensor<1>>,
    ) -> Features {
        // On maps of 7×7, which is what it is for, it is the mean of all pixels.
        if let ([_, _, 7, 7], Some(exec)) = (inputs[0].shape(), pass.exec()) {
            return global_mean(exec, &inputs[0]);
        }
        Features::from_nchw(module::avg_pool2d(
            inputs[0].nchw(),
            AvgPoolOptions::new([7, 7]),
        ))
    }
    fn desc(&self) -> &OpDesc {
        &self.0
    }
    fn can_drop_path(&self) -> bool {
        false
    }
}
