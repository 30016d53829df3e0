//! A pool with the norm behind it, as one kernel.

use archai_kernels::{Pool, PoolKind};
use archai_spec::ops::{Layer, LayerList, PoolShape};

use super::fused_conv::{ForSize, leads_on};
use super::layered::pool_of;
use crate::features::{Derived, Features};
use crate::fused::{self, kernels};
use crate::op::{Norm, Pass};

/// The kernel's side of a pool and the norm behind it, if any.
#[derive(Debug)]
pub(super) struct FusedPool {
    kind: PoolKind,
    window: PoolShape,
    /// Under which name a bare pool is shared by all that read the same state.
    shared: Derived,
    norm: Option<Norm>,
    kernel: ForSize<Pool>,
}

impl FusedPool {
    /// The pool at step `at` of a list, if there is one, and channels and kind of the norm that belongs to it.
    pub fn find(list: &LayerList, at: usize) -> Option<(Self, Option<(usize, bool)>)> {
        let (kind, window, shared) = pool_of(&list.steps[at].layer)?;
        let norm = match list.steps.get(at + 1).map(|s| &s.layer) {
            Some(Layer::Norm { channels, affine }) if leads_on(list, at) => {
                Some((*channels, *affine))
            }
            _ => None,
        };
        let pool = FusedPool {
            kind,
            window,
            shared,
            norm: None,
            kernel: ForSize::default(),
        };
        Some((pool, norm))
    }

    /// The same with the norm's handle.
    pub fn with_norm(self, norm: Option<Norm>) -> Self {
        FusedPool { norm, ..self }
    }

    /// The output; `None` where layers must be executed one by one: for norms with scale and shift, for gradients through
    /// a norm in evaluation mode, and for sizes without a kernel.
    pub fn forward(&self, pass: &mut Pass<'_>, x: &Features) -> Option<Features> {
        let exec = pass.exec()?;
        let norm = self.norm.as_ref();
        let uses_batch = norm.map_or(pass.is_training(), |n| pass.uses_batch(n));
        if norm.is_some_and(|n| n.affine.is_some() || !uses_batch && x.is_tracked()) {
            return None;
        }
        let PoolShape {
            kernel,
            stride,
            padding,
        } = self.window;
        let op = self.kernel.get(x.map(), |map| {
            Pool::new(map, self.kind, kernel, stride, padding, norm.is_some())
        })?;
        // In evaluation without gradients the notes of the backward pass are not kept.
        let given = match (uses_batch, x.is_tracked()) {
            (false, false) => Some(norm.map(|n| (*pass.running(n)).clone())),
            _ => None,
        };
        let map = op.output();
        let pooled = |x: &Features| {
            let (y, stats) = fused::call(kernels::Pooling { exec, op, given }, vec![x.input(exec)]);
            (Features::from_blocked(y, map), stats)
        };
        let Some(norm) = norm else {
            return Some(x.derive(self.shared, |x| pooled(x).0));
        };
        let (y, stats) = pooled(x);
        if let [stats] = stats.as_slice() {
            pass.record(norm, stats, y.shape()[0] * map.pixels());
        }
        Some(y)
    }
}
