//! A convolution with what surrounds it, as one kernel: \[ReLU,\] depthwise and pointwise, or dense, or a factorised reduce,
//! \[norm\].

use std::sync::{Arc, Mutex, PoisonError};

use archai_kernels::{ConvKind, ConvNorm, FeatureMap, NormKind, Unsupported};

use crate::features::Features;
use crate::fused::{self, kernels};
use crate::op::{Conv, ConvShape, Norm, OpBuilder, Packed, Pass};

/// A kernel for the size of maps that was seen last: networks see one size only, so this is built once.
#[derive(Debug)]
pub(super) struct ForSize<K>(Mutex<Option<(FeatureMap, Arc<K>)>>);

impl<K> Default for ForSize<K> {
    fn default() -> Self {
        ForSize(Mutex::default())
    }
}

impl<K> ForSize<K> {
    /// The kernel for maps of this size; `None` if there is none.
    pub fn get(
        &self,
        map: FeatureMap,
        make: impl FnOnce(FeatureMap) -> Result<K, Unsupported>,
    ) -> Option<Arc<K>> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, kernel)) = last.as_ref().filter(|(m, _)| *m == map) {
            return Some(kernel.clone());
        }
        let kernel = Arc::new(make(map).ok()?);
        *last = Some((map, kernel.clone()));
        Some(kernel)
    }
}

/// The kernel's side of a stretch of layers.
#[derive(Debug)]
pub(super) struct FusedConv {
    relu: bool,
    kind: ConvKind,
    norm_kind: NormKind,
    c_out: usize,
    param: Packed,
    norm: Option<Norm>,
    kernel: ForSize<ConvNorm>,
}

/// Maps on which every kernel exists that exists at all: only the layout of parameters is asked of it.
const ANY_SIZE: usize = 16;

impl FusedConv {
    /// Declares the parameters of these convolutions (and a norm over their output) for the kernel `kind`. The handles
    /// read the same parameters one by one. `None` if the model is not built for kernels or there is none for this.
    pub fn declare(
        b: &mut OpBuilder<'_>,
        relu: bool,
        kind: ConvKind,
        convs: &[ConvShape],
        c_out: usize,
        with_norm: bool,
    ) -> Option<(FusedConv, Vec<Conv>, Option<Norm>)> {
        if !b.fused() {
            return None;
        }
        let norm_kind = match (with_norm, b.affine()) {
            (false, _) => NormKind::None,
            (true, false) => NormKind::Plain,
            (true, true) => NormKind::Affine,
        };
        let map = FeatureMap::new(convs[0].c_in, ANY_SIZE, ANY_SIZE);
        let like = ConvNorm::new(map, c_out, kind, relu, norm_kind).ok()?;
        let (param, handles, norm) = b.packed(like.params(), convs, with_norm.then_some(c_out));
        let fused = FusedConv {
            relu,
            kind,
            norm_kind,
            c_out,
            param,
            norm: norm.clone(),
            kernel: ForSize::default(),
        };
        Some((fused, handles, norm))
    }

    /// The output; `None` where layers must be taken one by one: for gradients in evaluation mode, and for sizes without
    /// a kernel.
    pub fn forward(&self, pass: &mut Pass<'_>, x: &Features) -> Option<Features> {
        let exec = pass.exec()?;
        let op = self.kernel.get(x.map(), |map| {
            ConvNorm::new(map, self.c_out, self.kind, self.relu, self.norm_kind)
        })?;
        let params = pass.packed(&self.param);
        let given = match pass.is_training() {
            true => None,
            false if x.is_tracked() || params.is_tracked() => return None,
            false => Some(self.norm.as_ref().map(|n| (*pass.running(n)).clone())),
        };
        let map = op.output();
        let inputs = vec![x.input(exec), params.into_dispatch()];
        let (y, stats) = fused::call(kernels::Conv { exec, op, given }, inputs);
        let y = Features::from_blocked(y, map);
        if let (Some(norm), [stats]) = (&self.norm, stats.as_slice()) {
            pass.record(norm, stats, y.shape()[0] * map.pixels());
        }
        Some(y)
    }
}
