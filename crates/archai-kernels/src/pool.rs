//! Max and average pools, optionally with the affine-free norm that follows them in mixed ops.

use crate::buffer::{Samples, SamplesMut, overwritten};
use crate::conv::scratch;
use crate::exec::Exec;
use crate::layout::{FeatureMap, Unsupported};
use crate::micro::norm::{ChannelSums, ScaleShift};
use crate::micro::pool::{PoolBackward, PoolForward, PoolWindow, scratch_len};
use crate::norm::{ChannelStats, Moments, batch_dots, scale_shift};

/// What a pool computes from its window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PoolKind {
    /// The maximum; padding counts as −∞, the gradient goes to the first maximum.
    Max,
    /// The mean of the cells that exist (PyTorch's `count_include_pad=False`).
    Average,
}

/// A pool over square windows: `MaxPool2d(k, stride, padding)` or
/// `AvgPool2d(k, stride, padding, count_include_pad=False)`, and `BatchNorm2d(affine=False)` if asked.
///
/// ```
/// use archai_kernels::{Exec, FeatureMap, Pool, PoolKind};
/// let exec = Exec::new();
/// let pool = Pool::new(FeatureMap::new(8, 4, 4), PoolKind::Max, 3, 2, 1, false)?;
/// let x = vec![1.0; 8 * 16];
/// let (y, save) = pool.forward(&exec, &x);
/// assert_eq!(y, vec![1.0; 8 * 4]);
/// assert_eq!(pool.backward(&exec, &y, &save, &y).iter().sum::<f32>(), 32.0);
/// # Ok::<(), archai_kernels::Unsupported>(())
/// ```
#[derive(Clone, Debug)]
pub struct Pool {
    input: FeatureMap,
    output: FeatureMap,
    kind: PoolKind,
    window: PoolWindow,
    norm: bool,
}

/// What the backward pass needs besides the output.
#[derive(Clone, Debug)]
pub struct PoolSave {
    at: Vec<u8>,
    moments: Option<Moments>,
}

impl PoolSave {
    /// The batch's statistics, if the pool has a norm.
    pub fn stats(&self) -> Option<ChannelStats> {
        self.moments.as_ref().map(Moments::stats)
    }
}

impl Pool {
    /// A pool with a `k`×`k` window.
    ///
    /// # Errors
    /// If the window is wider than 5 or than the padded map, or the padding is not smaller than the window.
    pub fn new(
        input: FeatureMap,
        kind: PoolKind,
        k: usize,
        stride: usize,
        padding: usize,
        norm: bool,
    ) -> Result<Self, Unsupported> {
        let fits = |n: usize| n > 0 && n + 2 * padding >= k;
        if !(1..=5).contains(&k)
            || stride == 0
            || 2 * padding > k
            || !fits(input.height)
            || !fits(input.width)
        {
            return Err(Unsupported(format!(
                "a {k}×{k} pool with stride {stride} and padding {padding} on {input}: windows are at most 5 wide and \
                 fit the padded map, padding is at most half of the window"
            )));
        }
        let window = PoolWindow {
            k,
            stride,
            pad: padding,
            height: input.height,
            width: input.width,
        };
        let (h, w) = window.out();
        Ok(Pool {
            input,
            output: FeatureMap::new(input.channels, h, w),
            kind,
            window,
            norm,
        })
    }

    /// The size of the input.
    pub fn input(&self) -> FeatureMap {
        self.input
    }

    /// The size of the output.
    pub fn output(&self) -> FeatureMap {
        self.output
    }

    /// Training: output, and what the backward pass needs.
    pub fn forward(&self, exec: &Exec, x: &[f32]) -> (Vec<f32>, PoolSave) {
        let (map, n) = (self.output, self.input.samples(x.len()));
        let len = map.sample_len();
        let (mut y, mut at) = self.buffers(n, true);
        let xs = Samples::whole(x, self.input.sample_len());
        let positions = (!at.is_empty()).then(|| SamplesMut::whole(&mut at, len));
        let out = (SamplesMut::whole(&mut y, len), positions);
        let count = 2 * map.padded_channels();
        let sums = exec.sum_samples(n, x.len(), out, count, |i, (y, at), sums| {
            self.sample(exec, xs.get(i), y, at.unwrap_or_default());
            if self.norm {
                exec.run(ChannelSums {
                    z: y,
                    blocks: map.blocks(),
                    pixels: map.pixels(),
                    sums,
                });
            }
        });
        let moments = self
            .norm
            .then(|| Moments::from_sums(&sums, map.channels, n * map.pixels()));
        if let Some(moments) = &moments {
            let (scale, shift) = moments.fold(None);
            let ys = SamplesMut::whole(&mut y, len);
            scale_shift(exec, map, ys, n, &scale, &shift);
        }
        (y, PoolSave { at, moments })
    }

    /// Evaluation: normalises with given statistics.
    ///
    /// # Panics
    /// If the pool has a norm and no statistics are given, or the reverse.
    pub fn infer(&self, exec: &Exec, x: &[f32], stats: Option<&ChannelStats>) -> Vec<f32> {
        assert!(
            stats.is_some() == self.norm,
            "statistics must be given if the pool has a norm, and only then"
        );
        let (map, n) = (self.output, self.input.samples(x.len()));
        let fold = stats.map(|s| Moments::given(s, map.channels).fold(None));
        let (mut y, _) = self.buffers(n, false);
        let (xs, ys) = (
            Samples::whole(x, self.input.sample_len()),
            SamplesMut::whole(&mut y, map.sample_len()),
        );
        exec.for_samples(n, x.len(), ys, |i, y| {
            self.sample(exec, xs.get(i), y, &mut []);
            if let Some((scale, shift)) = &fold {
                exec.run(ScaleShift {
                    data: y,
                    scale,
                    shift,
                    blocks: map.blocks(),
                    pixels: map.pixels(),
                });
            }
        });
        y
    }

    /// The gradient of the input. `y` is what [`Pool::forward`] returned with `save`, `g` the gradient of `y`.
    pub fn backward(&self, exec: &Exec, y: &[f32], save: &PoolSave, g: &[f32]) -> Vec<f32> {
        let (map, n) = (self.output, self.output.samples(y.len()));
        map.check("gradient", g, n);
        let len = map.sample_len();
        let (ys, gs) = (Samples::whole(y, len), Samples::whole(g, len));
        let coefficients = save.moments.as_ref().map(|moments| {
            let sums = batch_dots(exec, map, gs, &[ys], n);
            let (sg, sgy) = sums.split_at(map.padded_channels());
            moments.gradient(sg, sgy, n * map.pixels(), |_| 1.0, true)
        });
        let ats = (self.kind == PoolKind::Max).then(|| Samples::whole(&save.at, len));
        // SAFETY: the pass takes every sample of it and fills it with zeros before gradients are added.
        let mut dx = unsafe { overwritten::<f32>(n * self.input.sample_len()) };
        let dxs = SamplesMut::whole(&mut dx, self.input.sample_len());
        let make = || {
            let dz = scratch(if coefficients.is_some() { len } else { 0 });
            (dz, scratch(scratch_len(self.window)))
        };
        let elements = n * self.input.sample_len();
        exec.map_samples(
            n,
            elements,
            dxs,
            make,
            || (),
            |i, dx, (dz, tmp), ()| {
                let mut g = gs.get(i);
                if let Some(k) = &coefficients {
                    k.apply(exec, g, ys.get(i), map, dz);
                    g = dz;
                }
                dx.fill(0.0);
                let (window, blocks, scratch) = (self.window, map.blocks(), &mut tmp[..]);
                match &ats {
                    Some(at) => exec.run(PoolBackward::<true> {
                        window,
                        blocks,
                        g,
                        at: at.get(i),
                        dx,
                        scratch,
                    }),
                    None => exec.run(PoolBackward::<false> {
                        window,
                        blocks,
                        g,
                        at: &[],
                        dx,
                        scratch,
                    }),
                }
            },
        );
        dx
    }

    fn buffers(&self, n: usize, keep: bool) -> (Vec<f32>, Vec<u8>) {
        let len = n * self.output.sample_len();
        // SAFETY: both callers pass every sample to `sample`, whose kernels write each element of `y` and, where it is not
        // empty, of `at`.
        unsafe {
            (
                overwritten(len),
                overwritten(if keep && self.kind == PoolKind::Max {
                    len
                } else {
                    0
                }),
            )
        }
    }

    fn sample(&self, exec: &Exec, x: &[f32], y: &mut [f32], at: &mut [u8]) {
        let (window, blocks) = (self.window, self.input.blocks());
        match self.kind {
            PoolKind::Max => exec.run(PoolForward::<true> {
                window,
                blocks,
                x,
                y,
                at,
            }),
            PoolKind::Average => exec.run(PoolForward::<false> {
                window,
                blocks,
                x,
                y,
                at,
            }),
        }
    }
}
