//! Convolutions of all kinds with an optional ReLU before and a batch norm behind, in one op.
//!
//! Per sample, in cache: ReLU into a padded copy, depthwise, pointwise, the sums for the norm's statistics; a second
//! pass normalises. The backward pass recomputes the depthwise result instead of keeping it.

mod dense;
mod linear;
mod pointwise;
mod reduce;
mod separable;

use crate::buffer::{Samples, SamplesMut, overwritten};
use crate::exec::{Exec, sum_runs};
use crate::layout::{FeatureMap, Unsupported};
use crate::micro::norm::{ChannelSums, Combine, ScaleShift, Term};
use crate::micro::place::Place;
use crate::micro::pointwise::Ahead;
use crate::norm::{ChannelStats, Moments, NormGrad, NormKind, NormParams, batch_dots, scale_shift};
use crate::pack::Packing;
use linear::{Linear, LinearGrad};
pub(crate) use reduce::Reduce;
pub(crate) use separable::{Separable, SeparableGrad};

/// The linear part of a [`ConvNorm`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConvKind {
    /// Depthwise k×k ("same" padding) and pointwise: half of a separable convolution, or a dilated one.
    Separable {
        /// 3, 5 or 7.
        kernel: usize,
        /// 1, or 2 with kernel 3 or 5.
        dilation: usize,
        /// 1 or 2.
        stride: usize,
    },
    /// 1×1, stride 1.
    Pointwise,
    /// Dense, each pair being (rows, columns).
    Dense {
        /// Sides of the window, at most 7.
        kernel: (usize, usize),
        /// Strides, at most 4.
        stride: (usize, usize),
        /// Zero padding on each side, at most 4.
        padding: (usize, usize),
    },
    /// Two 1×1 convolutions of stride 2 to half of the channels each, the second on the map without its first row and
    /// column. Where a side is odd it sees zeros after the last one, so that both give half of the pixels, rounded up.
    FactorizedReduce,
}

impl ConvKind {
    /// A dense k×k convolution with "same" padding.
    pub fn dense(k: usize, stride: usize) -> Self {
        ConvKind::Dense {
            kernel: (k, k),
            stride: (stride, stride),
            padding: (k / 2, k / 2),
        }
    }
}

/// Which gradients a backward pass computes; the others cost nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvWant {
    /// With respect to the input.
    pub input: bool,
    /// With respect to the parameters.
    pub params: bool,
}

impl ConvWant {
    /// Both.
    pub const ALL: ConvWant = ConvWant {
        input: true,
        params: true,
    };
}

/// The gradients that were wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConvGrads {
    /// With respect to the input, blocked.
    pub input: Option<Vec<f32>>,
    /// With respect to the parameters, packed.
    pub params: Option<Vec<f32>>,
}

/// \[ReLU,\] convolution, \[batch norm\] as one op.
///
/// | here | PyTorch |
/// |---|---|
/// | `Separable` | `[ReLU], Conv2d(C, C, k, groups=C, bias=False), Conv2d(C, C', 1, bias=False), [BatchNorm2d]` |
/// | `Pointwise`, `Dense` | `[ReLU], Conv2d(C, C', k, bias=False), [BatchNorm2d]` |
/// | `FactorizedReduce` | `[ReLU], cat(Conv2d(C, C'//2, 1, 2)(x), Conv2d(C, C'-C'//2, 1, 2)(x[:, :, 1:, 1:])), [BatchNorm2d]`, an odd side padded by one zero at its end before it loses its first |
///
/// ```
/// use archai_kernels::{ConvKind, ConvNorm, Exec, FeatureMap, NormKind, ConvWant};
/// let exec = Exec::new();
/// let kind = ConvKind::Separable { kernel: 3, dilation: 1, stride: 2 };
/// let op = ConvNorm::new(FeatureMap::new(8, 6, 6), 8, kind, true, NormKind::Plain)?;
/// let x = vec![1.0; op.input().sample_len()];
/// let params = op.params().pack(|tensor| vec![0.5; tensor.len()]);
/// let (y, save) = op.forward(&exec, &x, &params);
/// assert_eq!(y.len(), op.output().sample_len());
/// let grads = op.backward(&exec, &x, &params, &y, &save, &y, ConvWant::ALL);
/// assert_eq!(grads.params.map(|g| g.len()), Some(params.len()));
/// # Ok::<(), archai_kernels::Unsupported>(())
/// ```
#[derive(Clone, Debug)]
pub struct ConvNorm {
    input: FeatureMap,
    output: FeatureMap,
    linear: Linear,
    relu: bool,
    norm: NormKind,
    affine: Option<NormParams>,
    layout: Packing,
}

/// What a backward pass needs besides input, parameters and output.
#[derive(Clone, Debug)]
pub struct ConvSave {
    moments: Option<Moments>,
    /// The result before an affine norm; a plain norm's own output serves as well.
    z: Option<Vec<f32>>,
}

impl ConvSave {
    /// The batch's statistics, if the op has a norm.
    pub fn stats(&self) -> Option<ChannelStats> {
        self.moments.as_ref().map(Moments::stats)
    }
}

impl ConvNorm {
    /// An op from maps like `input` to `channels` channels; `relu`: with a ReLU before.
    ///
    /// # Errors
    /// For windows, strides or sizes for which there is no kernel.
    pub fn new(
        input: FeatureMap,
        channels: usize,
        kind: ConvKind,
        relu: bool,
        norm: NormKind,
    ) -> Result<Self, Unsupported> {
        if input.channels == 0 || input.pixels() == 0 || channels == 0 {
            return Err(Unsupported(format!(
                "a convolution from {input} to {channels} channels: every size must be positive"
            )));
        }
        let mut layout = Packing::default();
        let linear = Linear::new(input, channels, kind, &mut layout)?;
        let affine =
            (norm == NormKind::Affine).then(|| NormParams::push(&mut layout, "bn1", channels));
        Ok(ConvNorm {
            input,
            output: linear.output(),
            linear,
            relu,
            norm,
            affine,
            layout,
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

    /// The parameters: `conv1.weight`, (`conv2.weight`,) (`bn1.weight`, `bn1.bias`).
    pub fn params(&self) -> &Packing {
        &self.layout
    }

    /// Training: output, and what the backward pass needs.
    pub fn forward(&self, exec: &Exec, x: &[f32], params: &[f32]) -> (Vec<f32>, ConvSave) {
        self.layout.check(params);
        let (map, n) = (self.output, self.input.samples(x.len()));
        let (len, c) = (map.sample_len(), map.padded_channels());
        let xs = Samples::whole(x, self.input.sample_len());
        // SAFETY: `linear.forward` writes every element of each sample, before the sums read it.
        let mut z = unsafe { overwritten::<f32>(n * len) };
        let zs = SamplesMut::whole(&mut z, len);
        let elements = n * len.max(self.input.sample_len());
        let make = || self.linear.scratch(self.relu, false);
        let zeros = || vec![0.0; 2 * c];
        let runs = exec.map_samples(n, elements, zs, make, zeros, |i, z, scratch, sums| {
            let ahead = Ahead::new([xs.get_or_empty(i + 1), &[], &[]]);
            self.linear
                .forward(exec, self.relu, xs.get(i), params, scratch, z, ahead);
            if self.norm != NormKind::None {
                exec.run(ChannelSums {
                    z,
                    blocks: map.blocks(),
                    pixels: map.pixels(),
                    sums,
                });
            }
        });
        if self.norm == NormKind::None {
            let (moments, kept) = (None, None);
            return (z, ConvSave { moments, z: kept });
        }
        let sums = sum_runs(runs);
        let moments = Moments::from_sums(&sums, map.channels, n * map.pixels());
        let (scale, shift) = moments.fold(self.affine.map(|a| a.get(params)));
        if self.norm == NormKind::Plain {
            let (back, zs) = (exec.turned(), SamplesMut::whole(&mut z, len));
            scale_shift(&back, map, zs, n, &scale, &shift);
            let (moments, kept) = (Some(moments), None);
            return (z, ConvSave { moments, z: kept });
        }
        // SAFETY: `Combine` without `add` writes every element of each sample.
        let mut y = unsafe { overwritten::<f32>(n * len) };
        let (zs, ys) = (Samples::whole(&z, len), SamplesMut::whole(&mut y, len));
        exec.turned().for_samples(n, n * len, ys, |i, dst| {
            let terms = [Term::new(zs.get(i), &scale)];
            let (blocks, pixels) = (map.blocks(), map.pixels());
            exec.run(Combine {
                terms: &terms,
                base: &shift,
                blocks,
                pixels,
                dst,
                to: Place::Blocks,
                add: false,
            });
        });
        let (moments, z) = (Some(moments), Some(z));
        (y, ConvSave { moments, z })
    }

    /// Evaluation: normalises with given statistics, in the same pass.
    ///
    /// # Panics
    /// If the op has a norm and no statistics are given, or the reverse.
    pub fn infer(
        &self,
        exec: &Exec,
        x: &[f32],
        params: &[f32],
        stats: Option<&ChannelStats>,
    ) -> Vec<f32> {
        self.layout.check(params);
        assert!(
            stats.is_some() == (self.norm != NormKind::None),
            "statistics must be given if the op has a norm, and only then"
        );
        let (map, n) = (self.output, self.input.samples(x.len()));
        let fold =
            stats.map(|s| Moments::given(s, map.channels).fold(self.affine.map(|a| a.get(params))));
        let xs = Samples::whole(x, self.input.sample_len());
        // SAFETY: `linear.forward` writes every element of each sample, before `ScaleShift` reads it.
        let mut y = unsafe { overwritten::<f32>(n * map.sample_len()) };
        let ys = SamplesMut::whole(&mut y, map.sample_len());
        let elements = n * map.sample_len().max(self.input.sample_len());
        let make = || self.linear.scratch(self.relu, false);
        exec.map_samples(
            n,
            elements,
            ys,
            make,
            || (),
            |i, y, scratch, ()| {
                let ahead = Ahead::new([xs.get_or_empty(i + 1), &[], &[]]);
                self.linear
                    .forward(exec, self.relu, xs.get(i), params, scratch, y, ahead);
                if let Some((scale, shift)) = &fold {
                    exec.run(ScaleShift {
                        data: y,
                        scale,
                        shift,
                        blocks: map.blocks(),
                        pixels: map.pixels(),
                    });
                }
            },
        );
        y
    }

    /// Whether [`ConvNorm::backward`] reads the output: a plain norm keeps its own output instead of what it
    /// normalised.
    pub fn reads_output(&self) -> bool {
        self.norm == NormKind::Plain
    }

    /// Gradients of a training pass. `y` is what [`ConvNorm::forward`] returned with `save` (it may be empty unless
    /// [`ConvNorm::reads_output`]), `g` the gradient of `y`.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a buffer or a size of its own"
    )]
    pub fn backward(
        &self,
        exec: &Exec,
        x: &[f32],
        params: &[f32],
        y: &[f32],
        save: &ConvSave,
        g: &[f32],
        want: ConvWant,
    ) -> ConvGrads {
        self.layout.check(params);
        let (map, n) = (self.output, self.input.samples(x.len()));
        if self.reads_output() {
            map.check("output", y, n);
        }
        map.check("gradient", g, n);
        let (xs, gs) = (
            Samples::whole(x, self.input.sample_len()),
            Samples::whole(g, map.sample_len()),
        );
        let zs = Samples::whole(save.z.as_deref().unwrap_or(y), map.sample_len());
        let norm = self.norm_backward(exec, params, save, zs, gs, n);
        // SAFETY: the pass gives every sample of it to `linear.backward`, which writes every element.
        let mut dx = want.input.then(|| unsafe { overwritten::<f32>(x.len()) });
        let dxs = dx
            .as_mut()
            .map(|dx| SamplesMut::whole(dx, self.input.sample_len()));
        let transposed = &self.linear.transposed(params);
        let make = || {
            let dz = scratch(norm.as_ref().map_or(0, |_| map.sample_len()));
            (self.linear.scratch(self.relu, true), dz)
        };
        let grad = || vec![0.0; if want.params { self.layout.len() } else { 0 }];
        let elements = n * map.sample_len().max(self.input.sample_len());
        let back = exec.turned();
        let runs = back.map_samples(n, elements, dxs, make, grad, |i, dx, scratch, grad| {
            let (scratch, dz) = scratch;
            let (g, next_g) = (gs.get(i), gs.get_or_empty(i + 1));
            let (dz, next_z): (&[f32], &[f32]) = match &norm {
                Some(norm) => {
                    norm.coefficients.apply(exec, g, zs.get(i), map, dz);
                    (dz, zs.get_or_empty(i + 1))
                }
                None => (g, &[]),
            };
            let args = LinearGrad {
                x: xs.get(i),
                params,
                transposed,
                dz,
                ahead: Ahead::new([next_g, next_z, &[]]),
            };
            let grad = want.params.then_some(&mut grad[..]);
            self.linear
                .backward(exec, self.relu, args, scratch, dx, grad);
        });
        let params = want.params.then(|| {
            let mut grad = sum_runs(runs);
            self.linear.clear_padding(&mut grad);
            if let (Some(affine), Some(norm)) = (self.affine, &norm) {
                affine.write_grad(&norm.g, &norm.gzhat, &mut grad);
            }
            grad
        });
        ConvGrads { input: dx, params }
    }

    /// What the sums over the batch give for the norm, if there is one. `zs` are the values that it normalised, or, if
    /// these were not kept, the normalised ones; `gs` is the gradient of the output.
    fn norm_backward(
        &self,
        exec: &Exec,
        params: &[f32],
        save: &ConvSave,
        zs: Samples<'_>,
        gs: Samples<'_>,
        n: usize,
    ) -> Option<NormBackward> {
        let (map, normalised) = (self.output, save.z.is_none());
        let moments = save.moments.as_ref()?;
        let sums = batch_dots(exec, map, gs, &[zs], n);
        let (g, gz) = sums.split_at(map.padded_channels());
        let gzhat = match normalised {
            true => gz.to_vec(),
            false => moments.dot_normalised(g, gz),
        };
        let gamma = self.affine.map(|a| a.get(params).0);
        let scale = |i: usize| gamma.map_or(1.0, |g| f64::from(g[i]));
        Some(NormBackward {
            coefficients: moments.gradient(g, &gzhat, n * map.pixels(), scale, normalised),
            g: g.to_vec(),
            gzhat,
        })
    }
}

/// Sums over a batch and what follows from them for the gradient of a norm, per channel.
struct NormBackward {
    /// `Σ g`.
    g: Vec<f64>,
    /// `Σ g·ẑ`.
    gzhat: Vec<f64>,
    coefficients: NormGrad,
}

/// Scratch for one sample: a kernel must be given it as its destination before another one is given it to read.
pub(crate) fn scratch(len: usize) -> Vec<f32> {
    // SAFETY: in every pass of this crate a kernel that takes it as its destination, and writes every element of it, comes
    // before those that read it, for each sample anew.
    unsafe { overwritten::<f32>(len) }
}
