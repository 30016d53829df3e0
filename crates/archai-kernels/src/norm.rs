//! Batch norm (Ioffe and Szegedy, 2015) per channel over samples and pixels, and the coefficients into which other ops
//! fold it.
//!
//! With `ẑ = (z − mean) · rstd`, the output is `γ ẑ + β`. For a gradient `g` of the output, over M values per channel,
//! `dz = γ rstd (g − Σg / M − ẑ Σ(g ẑ) / M)`: a combination of `g`, `z` and a constant per channel, once the two sums
//! are known.

use crate::buffer::{Samples, SamplesMut, overwritten};
use crate::exec::Exec;
use crate::layout::FeatureMap;
use crate::micro::norm::{ChannelSums, Combine, Dots, ScaleShift, Term};
use crate::micro::place::{ChannelSlice, Place};
use crate::pack::{PackedKind, Packing};
use std::borrow::Cow;

/// Added to the variance, as in PyTorch's default.
pub const EPSILON: f64 = 1e-5;

/// Whether an op normalises its result, and with which parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NormKind {
    /// No norm.
    None,
    /// Zero mean and unit variance (search networks).
    Plain,
    /// Followed by a scale and a shift per channel (evaluation networks).
    Affine,
}

/// Mean and variance per channel (padding not counted), from which running statistics are computed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChannelStats {
    /// Mean over samples and pixels.
    pub mean: Vec<f32>,
    /// Biased variance (divided by the number of values).
    pub var: Vec<f32>,
}

/// Statistics as the kernels use them: padded to whole blocks, padding zero.
#[derive(Clone, Debug)]
pub(crate) struct Moments {
    channels: usize,
    pub mean: Vec<f32>,
    var: Vec<f32>,
    pub rstd: Vec<f32>,
}

impl Moments {
    /// From `Σz` and `Σz²` of `count` values per channel.
    pub fn from_sums(sums: &[f64], channels: usize, count: usize) -> Self {
        let (c, m) = (sums.len() / 2, count as f64);
        let mean: Vec<f64> = sums[..c].iter().map(|s| s / m).collect();
        let var: Vec<f64> = (0..c)
            .map(|i| (sums[c + i] / m - mean[i] * mean[i]).max(0.0))
            .collect();
        Self::new(channels, mean, var)
    }

    /// From given statistics.
    pub fn given(stats: &ChannelStats, channels: usize) -> Self {
        assert!(
            stats.mean.len() == channels && stats.var.len() == channels,
            "statistics of {} and {} channels given, the norm has {channels}",
            stats.mean.len(),
            stats.var.len()
        );
        let pad = |v: &[f32]| {
            let mut v: Vec<f64> = v.iter().map(|&v| f64::from(v)).collect();
            v.resize(channels.next_multiple_of(8), 0.0);
            v
        };
        Self::new(channels, pad(&stats.mean), pad(&stats.var))
    }

    fn new(channels: usize, mean: Vec<f64>, var: Vec<f64>) -> Self {
        let rstd = |(i, v): (usize, &f64)| {
            if i < channels {
                (1.0 / (v + EPSILON).sqrt()) as f32
            } else {
                0.0
            }
        };
        Moments {
            channels,
            rstd: var.iter().enumerate().map(rstd).collect(),
            mean: mean.into_iter().map(|v| v as f32).collect(),
            var: var.into_iter().map(|v| v as f32).collect(),
        }
    }

    pub fn stats(&self) -> ChannelStats {
        ChannelStats {
            mean: self.mean[..self.channels].to_vec(),
            var: self.var[..self.channels].to_vec(),
        }
    }

    /// The norm as `z · scale + shift`; `affine` is (γ, β), padded.
    pub fn fold(&self, affine: Option<(&[f32], &[f32])>) -> (Vec<f32>, Vec<f32>) {
        let c = self.mean.len();
        let gamma = |i: usize| affine.map_or(1.0, |(g, _)| g[i]);
        let scale: Vec<f32> = (0..c).map(|i| self.rstd[i] * gamma(i)).collect();
        let shift = (0..c)
            .map(|i| {
                let centred =
                    f64::from(self.mean[i]) * f64::from(self.rstd[i]) * f64::from(gamma(i));
                (affine.map_or(0.0, |(_, b)| f64::from(b[i])) - centred) as f32
            })
            .collect();
        (scale, shift)
    }

    /// `Σ g·ẑ` from `Σ g` and `Σ g·z`, per channel.
    pub fn dot_normalised(&self, g: &[f64], gz: &[f64]) -> Vec<f64> {
        (0..g.len())
            .map(|i| (gz[i] - f64::from(self.mean[i]) * g[i]) * f64::from(self.rstd[i]))
            .collect()
    }

    /// The gradient of `weight · γ · ẑ` as `dz = of_g · g + constant + of_z · z`, given `Σ g` and `Σ g·ẑ` of `count`
    /// values. With `normalised`, `z` is `ẑ` itself, which was kept instead of `z`.
    pub fn gradient(
        &self,
        g: &[f64],
        gzhat: &[f64],
        count: usize,
        scale: impl Fn(usize) -> f64,
        normalised: bool,
    ) -> NormGrad {
        let (c, m) = (g.len(), count as f64);
        let mut out = NormGrad {
            of_g: vec![0.0; c],
            constant: vec![0.0; c],
            of_z: vec![0.0; c],
        };
        for i in 0..c {
            let rstd = f64::from(self.rstd[i]);
            let (mean, unit) = if normalised {
                (0.0, 1.0)
            } else {
                (f64::from(self.mean[i]), rstd)
            };
            let k = scale(i) * rstd;
            out.of_g[i] = k as f32;
            out.of_z[i] = (-k * unit * gzhat[i] / m) as f32;
            out.constant[i] = (-k * (g[i] - mean * unit * gzhat[i]) / m) as f32;
        }
        out
    }
}

/// Coefficients per channel of a norm's gradient.
pub(crate) struct NormGrad {
    pub of_g: Vec<f32>,
    pub constant: Vec<f32>,
    pub of_z: Vec<f32>,
}

impl NormGrad {
    /// Writes the gradient for one sample.
    pub fn apply(&self, exec: &Exec, g: &[f32], z: &[f32], map: FeatureMap, dz: &mut [f32]) {
        self.apply_scaled(exec, 1.0, g.into(), z, map, dz);
    }

    /// As [`NormGrad::apply`], where `factor · g` is the gradient.
    pub fn apply_scaled(
        &self,
        exec: &Exec,
        factor: f32,
        g: ChannelSlice<'_>,
        z: &[f32],
        map: FeatureMap,
        dz: &mut [f32],
    ) {
        exec.run(Combine {
            terms: &[
                Term::new(g, &scaled(&self.of_g, factor)),
                Term::new(z, &self.of_z),
            ],
            base: &self.constant,
            blocks: map.blocks(),
            pixels: map.pixels(),
            dst: dz,
            to: Place::Blocks,
            add: false,
        });
    }
}

/// A vector times a factor, which mostly is one.
pub(crate) fn scaled(v: &[f32], factor: f32) -> Cow<'_, [f32]> {
    match factor {
        1.0 => Cow::Borrowed(v),
        _ => v.iter().map(|v| v * factor).collect(),
    }
}

/// Where the scale and the shift of a norm are in an op's flat parameter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NormParams {
    gamma: usize,
    beta: usize,
    padded: usize,
}

impl NormParams {
    pub fn push(layout: &mut Packing, name: &str, channels: usize) -> Self {
        let gamma = layout.push(
            format!("{name}.weight"),
            vec![channels],
            PackedKind::NormWeight,
        );
        let beta = layout.push(format!("{name}.bias"), vec![channels], PackedKind::NormBias);
        NormParams {
            gamma,
            beta,
            padded: beta - gamma,
        }
    }

    /// The same in a packing to which the norm's own has been appended at `start`.
    pub fn after(self, start: usize) -> Self {
        NormParams {
            gamma: self.gamma + start,
            beta: self.beta + start,
            ..self
        }
    }

    pub fn get<'a>(&self, params: &'a [f32]) -> (&'a [f32], &'a [f32]) {
        (
            &params[self.gamma..][..self.padded],
            &params[self.beta..][..self.padded],
        )
    }

    /// `dγ = Σ g·ẑ`, `dβ = Σ g`.
    pub fn write_grad(&self, g: &[f64], gzhat: &[f64], grad: &mut [f32]) {
        for i in 0..self.padded {
            grad[self.gamma + i] = gzhat[i] as f32;
            grad[self.beta + i] = g[i] as f32;
        }
    }
}

/// `Σ z`, `Σ z²` per channel over a batch.
fn batch_sums(exec: &Exec, map: FeatureMap, z: Samples<'_>, n: usize) -> Vec<f64> {
    let len = 2 * map.padded_channels();
    exec.sum_samples(n, n * map.sample_len(), (), len, |i, (), sums| {
        exec.run(ChannelSums {
            z: z.get(i),
            blocks: map.blocks(),
            pixels: map.pixels(),
            sums,
        });
    })
}

/// `Σ g` and, for each of `zs`, `Σ g·z`, per channel over a batch.
pub(crate) fn batch_dots(
    exec: &Exec,
    map: FeatureMap,
    g: Samples<'_>,
    zs: &[Samples<'_>],
    n: usize,
) -> Vec<f64> {
    let len = (zs.len() + 1) * map.padded_channels();
    exec.sum_samples(n, n * map.sample_len(), (), len, |i, (), sums| {
        let zs: Vec<&[f32]> = zs.iter().map(|z| z.get(i)).collect();
        exec.run(Dots {
            g: g.get(i).into(),
            zs: &zs,
            blocks: map.blocks(),
            pixels: map.pixels(),
            sums,
        });
    })
}

/// Batch norm alone.
///
/// ```
/// use archai_kernels::{BatchNorm, Exec, FeatureMap, from_nchw};
/// let (exec, map) = (Exec::new(), FeatureMap::new(1, 1, 2));
/// let bn = BatchNorm::new(map, false);
/// let x = from_nchw(&exec, map, &[1.0, 3.0]);
/// let (y, save) = bn.forward(&exec, &x, &[]);
/// assert_eq!(save.stats().mean, [2.0]);
/// assert!((y[0] + 1.0).abs() < 1e-4);
/// ```
#[derive(Clone, Debug)]
pub struct BatchNorm {
    map: FeatureMap,
    affine: Option<NormParams>,
    layout: Packing,
}

/// What the gradient of a norm needs besides its input.
#[derive(Clone, Debug)]
pub struct NormSave {
    moments: Moments,
}

impl NormSave {
    /// The batch's statistics.
    pub fn stats(&self) -> ChannelStats {
        self.moments.stats()
    }
}

impl BatchNorm {
    /// A norm over maps of this size; `affine`: with γ and β.
    pub fn new(map: FeatureMap, affine: bool) -> Self {
        let mut layout = Packing::default();
        let affine = affine.then(|| NormParams::push(&mut layout, "bn1", map.channels));
        BatchNorm {
            map,
            affine,
            layout,
        }
    }

    /// γ and β (`bn1.weight`, `bn1.bias`), or nothing.
    pub fn params(&self) -> &Packing {
        &self.layout
    }

    /// Training: normalises with the batch's own statistics.
    pub fn forward(&self, exec: &Exec, x: &[f32], params: &[f32]) -> (Vec<f32>, NormSave) {
        let n = self.map.samples(x.len());
        let sums = batch_sums(exec, self.map, Samples::whole(x, self.map.sample_len()), n);
        let moments = Moments::from_sums(&sums, self.map.channels, n * self.map.pixels());
        (self.apply(exec, x, params, &moments), NormSave { moments })
    }

    /// Evaluation: normalises with given statistics.
    pub fn infer(&self, exec: &Exec, x: &[f32], params: &[f32], stats: &ChannelStats) -> Vec<f32> {
        self.apply(exec, x, params, &Moments::given(stats, self.map.channels))
    }

    fn apply(&self, exec: &Exec, x: &[f32], params: &[f32], moments: &Moments) -> Vec<f32> {
        self.layout.check(params);
        let (map, n) = (self.map, self.map.samples(x.len()));
        let (scale, shift) = moments.fold(self.affine.map(|a| a.get(params)));
        // SAFETY: `Combine` without `add` writes every element of each sample.
        let mut y = unsafe { overwritten::<f32>(x.len()) };
        let (src, dst) = (
            Samples::whole(x, map.sample_len()),
            SamplesMut::whole(&mut y, map.sample_len()),
        );
        exec.for_samples(n, x.len(), dst, |i, dst| {
            let terms = [Term::new(src.get(i), &scale)];
            exec.run(Combine {
                terms: &terms,
                base: &shift,
                blocks: map.blocks(),
                pixels: map.pixels(),
                dst,
                to: Place::Blocks,
                add: false,
            });
        });
        y
    }

    /// Gradients of a training pass with respect to the input and to γ and β (empty if there are none).
    pub fn backward(
        &self,
        exec: &Exec,
        x: &[f32],
        params: &[f32],
        save: &NormSave,
        g: &[f32],
    ) -> (Vec<f32>, Vec<f32>) {
        self.layout.check(params);
        let (map, len) = (self.map, self.map.sample_len());
        let n = map.samples(x.len());
        map.check("gradient", g, n);
        let (xs, gs) = (Samples::whole(x, len), Samples::whole(g, len));
        let sums = batch_dots(exec, map, gs, &[xs], n);
        let (sg, sgz) = sums.split_at(map.padded_channels());
        let gzhat = save.moments.dot_normalised(sg, sgz);
        let gamma = self.affine.map(|a| a.get(params).0);
        let scale = |i: usize| gamma.map_or(1.0, |g| f64::from(g[i]));
        let coefficients = save
            .moments
            .gradient(sg, &gzhat, n * map.pixels(), scale, false);
        // SAFETY: `NormGrad::apply` writes every element of each sample.
        let mut dx = unsafe { overwritten::<f32>(x.len()) };
        let dst = SamplesMut::whole(&mut dx, len);
        exec.for_samples(n, x.len(), dst, |i, dx| {
            coefficients.apply(exec, gs.get(i), xs.get(i), map, dx);
        });
        let mut grad = vec![0.0; self.layout.len()];
        if let Some(a) = self.affine {
            a.write_grad(sg, &gzhat, &mut grad);
        }
        (dx, grad)
    }
}

/// Normalises the samples of `y` in place.
pub(crate) fn scale_shift(
    exec: &Exec,
    map: FeatureMap,
    y: SamplesMut<'_>,
    n: usize,
    scale: &[f32],
    shift: &[f32],
) {
    exec.for_samples(n, n * map.sample_len(), y, |_, data| {
        exec.run(ScaleShift {
            data,
            scale,
            shift,
            blocks: map.blocks(),
            pixels: map.pixels(),
        });
    });
}
