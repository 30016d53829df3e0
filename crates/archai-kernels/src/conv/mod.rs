//! Convolutions of all kinds with what surrounds them: an optional ReLU before and a batch norm behind, in one op.
//!
//! Per sample, in cache: ReLU into a padded copy, depthwise, pointwise, the sums for the norm's statistics; a second pass
//! normalises. The backward pass recomputes the depthwise result instead of keeping it.

mod linear;

use crate::buffer::{Samples, SamplesMut, overwritten};
use crate::exec::{Exec, sum_runs};
use crate::layout::{FeatureMap, Unsupported};
use crate::micro::depthwise::Window;
use crate::micro::norm::{ChannelSums, Combine, ScaleShift, Term};
use crate::micro::pad::{PadCopy, PadMap, ReluMask};
use crate::micro::place::Place;
use crate::micro::pointwise::Ahead;
use crate::norm::{ChannelStats, Moments, NormKind, NormParams, batch_dots, scale_shift};
use crate::pack::{ParamLayout, PieceKind, transpose_dense};
use crate::simd::LANES;
use linear::{Dense, PointwiseCore};
pub(crate) use linear::{Reduce, Separable, SeparableGrad};

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
    /// column. Needs even sides.
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

/// Which gradients a backward pass is asked for; the others cost nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// With respect to the input.
    pub input: bool,
    /// With respect to the parameters.
    pub params: bool,
}

impl Want {
    /// Both.
    pub const ALL: Want = Want {
        input: true,
        params: true,
    };
}

/// The gradients that were asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grads {
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
/// | `FactorizedReduce` | `[ReLU], cat(Conv2d(C, C'//2, 1, 2)(x), Conv2d(C, C'-C'//2, 1, 2)(x[:, :, 1:, 1:])), [BatchNorm2d]` |
///
/// ```
/// use archai_kernels::{ConvKind, ConvNorm, Exec, FeatureMap, NormKind, Want};
/// let exec = Exec::new();
/// let kind = ConvKind::Separable { kernel: 3, dilation: 1, stride: 2 };
/// let op = ConvNorm::new(FeatureMap::new(8, 6, 6), 8, kind, true, NormKind::Plain)?;
/// let x = vec![1.0; op.input().sample_len()];
/// let params = op.params().pack(|piece| vec![0.5; piece.len()]);
/// let (y, save) = op.forward(&exec, &x, &params);
/// assert_eq!(y.len(), op.output().sample_len());
/// let grads = op.backward(&exec, &x, &params, &y, &save, &y, Want::ALL);
/// assert_eq!(grads.params.map(|g| g.len()), Some(params.len()));
/// # Ok::<(), archai_kernels::Unsupported>(())
/// ```
#[derive(Clone, Debug)]
pub struct ConvNorm {
    input: FeatureMap,
    output: FeatureMap,
    core: Core,
    relu: bool,
    norm: NormKind,
    affine: Option<NormParams>,
    layout: ParamLayout,
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
        let mut layout = ParamLayout::default();
        let core = Core::new(input, channels, kind, &mut layout)?;
        let affine =
            (norm == NormKind::Affine).then(|| NormParams::push(&mut layout, "bn1", channels));
        Ok(ConvNorm {
            input,
            output: core.output(),
            core,
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
    pub fn params(&self) -> &ParamLayout {
        &self.layout
    }

    /// Training: output, and what the backward pass needs.
    pub fn forward(&self, exec: &Exec, x: &[f32], params: &[f32]) -> (Vec<f32>, ConvSave) {
        self.layout.check(params);
        let (map, n) = (self.output, self.input.samples(x.len()));
        let (len, c) = (map.sample_len(), map.padded_channels());
        let xs = Samples::whole(x, self.input.sample_len());
        // SAFETY: every sample is written below.
        let mut z = unsafe { overwritten::<f32>(n * len) };
        let zs = SamplesMut::whole(&mut z, len);
        let elements = n * len.max(self.input.sample_len());
        let make = || self.core.scratch(self.relu, false);
        let sums = sum_runs(exec.runs_with(n, elements, make, |range, scratch| {
            let mut sums = vec![0.0; 2 * c];
            for i in range {
                // SAFETY: each sample is visited once.
                let z = unsafe { zs.get(i) };
                let ahead = Ahead::new([xs.get_or_empty(i + 1), &[], &[]]);
                self.core
                    .forward(exec, self.relu, xs.get(i), params, scratch, z, ahead);
                if self.norm != NormKind::None {
                    exec.run(ChannelSums {
                        z,
                        blocks: map.blocks(),
                        pixels: map.pixels(),
                        sums: &mut sums,
                    });
                }
            }
            sums
        }));
        if self.norm == NormKind::None {
            return (
                z,
                ConvSave {
                    moments: None,
                    z: None,
                },
            );
        }
        let moments = Moments::from_sums(&sums, map.channels, n * map.pixels());
        let (scale, shift) = moments.fold(self.affine.map(|a| a.get(params)));
        if self.norm == NormKind::Plain {
            let (back, zs) = (exec.turned(), SamplesMut::whole(&mut z, len));
            scale_shift(&back, map, zs, n, &scale, &shift);
            return (
                z,
                ConvSave {
                    moments: Some(moments),
                    z: None,
                },
            );
        }
        // SAFETY: every sample is written below.
        let mut y = unsafe { overwritten::<f32>(n * len) };
        let (zs, ys) = (Samples::whole(&z, len), SamplesMut::whole(&mut y, len));
        exec.turned().for_samples(n, n * len, |i| {
            let terms = [Term::new(zs.get(i), &scale)];
            // SAFETY: each sample is visited once.
            let dst = unsafe { ys.get(i) };
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
        (
            y,
            ConvSave {
                moments: Some(moments),
                z: Some(z),
            },
        )
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
            "statistics are to be given exactly if the op has a norm"
        );
        let (map, n) = (self.output, self.input.samples(x.len()));
        let fold =
            stats.map(|s| Moments::given(s, map.channels).fold(self.affine.map(|a| a.get(params))));
        let xs = Samples::whole(x, self.input.sample_len());
        // SAFETY: every sample is written below.
        let mut y = unsafe { overwritten::<f32>(n * map.sample_len()) };
        let ys = SamplesMut::whole(&mut y, map.sample_len());
        exec.runs_with(
            n,
            n * map.sample_len().max(self.input.sample_len()),
            || self.core.scratch(self.relu, false),
            |range, scratch| {
                for i in range {
                    // SAFETY: each sample is visited once.
                    let y = unsafe { ys.get(i) };
                    let ahead = Ahead::new([xs.get_or_empty(i + 1), &[], &[]]);
                    self.core
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
                }
            },
        );
        y
    }

    /// Whether [`ConvNorm::backward`] reads the output: only a plain norm's output stands for what it normalised.
    pub fn reads_output(&self) -> bool {
        self.norm == NormKind::Plain
    }

    /// Gradients of a training pass. `y` is what [`ConvNorm::forward`] returned with `save` (it may be empty unless
    /// [`ConvNorm::reads_output`]), `g` the gradient of `y`.
    #[allow(clippy::too_many_arguments)]
    pub fn backward(
        &self,
        exec: &Exec,
        x: &[f32],
        params: &[f32],
        y: &[f32],
        save: &ConvSave,
        g: &[f32],
        want: Want,
    ) -> Grads {
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
        let normalised = save.z.is_none();
        let with_norm = save.moments.is_some();
        let zs_after = |i: usize| {
            if with_norm {
                zs.get_or_empty(i + 1)
            } else {
                &[]
            }
        };
        let mut norm_sums = None;
        let coefficients = save.moments.as_ref().map(|moments| {
            let sums = batch_dots(exec, map, gs, &[zs], n);
            let (sg, sgz) = sums.split_at(map.padded_channels());
            let gzhat = if normalised {
                sgz.to_vec()
            } else {
                moments.dot_normalised(sg, sgz)
            };
            let gamma = self.affine.map(|a| a.get(params).0);
            let scale = |i: usize| gamma.map_or(1.0, |g| f64::from(g[i]));
            let coefficients = moments.gradient(sg, &gzhat, n * map.pixels(), scale, normalised);
            norm_sums = Some((sg.to_vec(), gzhat));
            coefficients
        });
        // SAFETY: if it is wanted, every sample is written below.
        let mut dx = want.input.then(|| unsafe { overwritten::<f32>(x.len()) });
        let dxs = dx
            .as_mut()
            .map(|dx| SamplesMut::whole(dx, self.input.sample_len()));
        let transposed = self.core.transposed(params);
        let make = || {
            // SAFETY: written before it is read, per sample.
            let dz = unsafe {
                overwritten::<f32>(if coefficients.is_some() {
                    map.sample_len()
                } else {
                    0
                })
            };
            (self.core.scratch(self.relu, true), dz)
        };
        let runs = exec.turned().runs_with(
            n,
            n * map.sample_len().max(self.input.sample_len()),
            make,
            |range, (scratch, dz)| {
                let mut grad = vec![0.0; if want.params { self.layout.len() } else { 0 }];
                for i in range {
                    let (x, g) = (xs.get(i), gs.get(i));
                    let dz: &[f32] = match &coefficients {
                        Some(k) => {
                            k.apply(exec, g, zs.get(i), map, dz);
                            dz
                        }
                        None => g,
                    };
                    // SAFETY: each sample is visited once.
                    let dx = dxs.as_ref().map(|dx| unsafe { dx.get(i) });
                    let grad = want.params.then_some(&mut grad[..]);
                    self.core.backward(
                        exec,
                        self.relu,
                        x,
                        params,
                        &transposed,
                        dz,
                        scratch,
                        dx,
                        grad,
                        Ahead::new([gs.get_or_empty(i + 1), zs_after(i), &[]]),
                    );
                }
                grad
            },
        );
        let params = want.params.then(|| {
            let mut grad = sum_runs(runs);
            self.core.clear_padding(&mut grad);
            if let (Some(a), Some((g, gzhat))) = (self.affine, &norm_sums) {
                a.write_grad(g, gzhat, &mut grad);
            }
            grad
        });
        Grads { input: dx, params }
    }
}

/// The linear part, on one sample.
#[derive(Clone, Debug)]
enum Core {
    Separable(Separable),
    Pointwise(PointwiseCore),
    Dense(Dense),
    Reduce(Reduce),
}

/// Scratch of one run; what each part is depends on the kind.
pub(crate) struct Scratch {
    /// Padded input.
    pub padded: Vec<f32>,
    /// Padded gradient at the output's size.
    pub padded_g: Vec<f32>,
    /// Depthwise result, or the two gathered halves, or a run of pixels after the ReLU and before its mask.
    pub mid: Vec<f32>,
    pub mid2: Vec<f32>,
    /// Gradient of the input before the ReLU's mask.
    pub dr: Vec<f32>,
}

/// Scratch that a kernel writes before it reads it.
pub(crate) fn scratch(len: usize) -> Vec<f32> {
    // SAFETY: it is written first, sample by sample, by the kernels that take it as destination.
    unsafe { overwritten::<f32>(len) }
}

impl Core {
    fn new(
        input: FeatureMap,
        channels: usize,
        kind: ConvKind,
        layout: &mut ParamLayout,
    ) -> Result<Self, Unsupported> {
        Ok(match kind {
            ConvKind::Separable {
                kernel,
                dilation,
                stride,
            } => {
                let window = Window {
                    k: kernel,
                    dilation,
                    stride,
                };
                Core::Separable(Separable::new(input, channels, window, layout, "", 1)?)
            }
            ConvKind::Pointwise => {
                layout.push(
                    "conv1.weight".into(),
                    vec![channels, input.channels, 1, 1],
                    PieceKind::Dense { skip: 0 },
                );
                Core::Pointwise(PointwiseCore {
                    input,
                    output: input.with_channels(channels),
                })
            }
            ConvKind::Dense {
                kernel,
                stride,
                padding,
            } => Core::Dense(Dense::new(
                input, channels, kernel, stride, padding, layout,
            )?),
            ConvKind::FactorizedReduce => Core::Reduce(Reduce::new(input, channels, layout, "")?),
        })
    }

    fn output(&self) -> FeatureMap {
        match self {
            Core::Separable(s) => s.output,
            Core::Pointwise(c) => c.output,
            Core::Dense(d) => d.output,
            Core::Reduce(r) => r.output,
        }
    }

    fn scratch(&self, relu: bool, backward: bool) -> Scratch {
        let mut s = Scratch {
            padded: vec![],
            padded_g: vec![],
            mid: vec![],
            mid2: vec![],
            dr: vec![],
        };
        let input = match self {
            Core::Separable(c) => {
                s.padded = c.side().scratch(c.input.blocks());
                s.mid = scratch(c.input.blocks() * c.output.pixels() * LANES);
                if backward {
                    s.padded_g = c.out_side().scratch(c.input.blocks());
                }
                c.input
            }
            Core::Pointwise(c) => {
                s.mid = scratch(if relu { c.run_len() } else { 0 });
                s.mid2 = scratch(if relu && backward { c.run_len() } else { 0 });
                return s;
            }
            Core::Dense(c) => {
                s.padded = c.side().scratch(c.input.blocks());
                if backward {
                    s.padded_g = c.out_side().scratch(c.output.blocks());
                }
                c.input
            }
            Core::Reduce(c) => {
                s.mid = scratch(c.half_len());
                s.mid2 = scratch(c.half_len());
                c.input
            }
        };
        if backward && relu {
            s.dr = scratch(input.sample_len());
        }
        s
    }

    #[expect(clippy::too_many_arguments, reason = "each is something of its own")]
    fn forward(
        &self,
        exec: &Exec,
        relu: bool,
        x: &[f32],
        params: &[f32],
        s: &mut Scratch,
        z: &mut [f32],
        ahead: Ahead<'_>,
    ) {
        let map = || if relu { PadMap::Relu } else { PadMap::Plain };
        match self {
            Core::Separable(c) => {
                exec.run(PadCopy {
                    src: x,
                    blocks: c.input.blocks(),
                    to: c.side(),
                    dst: &mut s.padded,
                    map: map(),
                });
                c.forward(exec, &s.padded, params, &mut s.mid, z, ahead);
            }
            Core::Pointwise(c) => c.forward(exec, relu, x, params, &mut s.mid, z, ahead),
            Core::Dense(c) => {
                exec.run(PadCopy {
                    src: x,
                    blocks: c.input.blocks(),
                    to: c.side(),
                    dst: &mut s.padded,
                    map: map(),
                });
                c.forward(exec, &s.padded, params, z);
            }
            Core::Reduce(c) => {
                c.gather(exec, x, relu, &mut s.mid, &mut s.mid2);
                c.forward(exec, &s.mid, &s.mid2, params, z);
            }
        }
    }

    /// Weights with exchanged channels, for the data gradient.
    fn transposed(&self, params: &[f32]) -> [Vec<f32>; 2] {
        match self {
            Core::Separable(c) => [c.transposed(params), vec![]],
            Core::Pointwise(c) => [
                transpose_dense(params, c.output.channels, c.input.channels, 1),
                vec![],
            ],
            Core::Dense(c) => [
                transpose_dense(
                    params,
                    c.output.channels,
                    c.input.channels,
                    c.kernel.0 * c.kernel.1,
                ),
                vec![],
            ],
            Core::Reduce(c) => c.transposed(params),
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn backward(
        &self,
        exec: &Exec,
        relu: bool,
        x: &[f32],
        params: &[f32],
        transposed: &[Vec<f32>; 2],
        dz: &[f32],
        s: &mut Scratch,
        dx: Option<&mut [f32]>,
        grad: Option<&mut [f32]>,
        ahead: Ahead<'_>,
    ) {
        let map = || if relu { PadMap::Relu } else { PadMap::Plain };
        let Scratch {
            padded,
            padded_g,
            mid,
            mid2,
            dr,
        } = s;
        // Without a ReLU the gradient goes straight to its place.
        let (mut dx, mut dr) = (dx, &mut dr[..]);
        let target: Option<&mut [f32]> = match &mut dx {
            Some(dx) if !relu => Some(dx),
            Some(_) => Some(&mut dr),
            None => None,
        };
        match self {
            Core::Separable(c) => {
                exec.run(PadCopy {
                    src: x,
                    blocks: c.input.blocks(),
                    to: c.side(),
                    dst: padded,
                    map: map(),
                });
                let args = SeparableGrad {
                    padded,
                    params,
                    transposed: &transposed[0],
                    dz,
                    padded_g,
                    mid,
                    ahead,
                };
                c.backward(exec, args, target, false, grad);
            }
            Core::Pointwise(c) => {
                let scratch = (&mut mid[..], &mut mid2[..]);
                return c.backward(exec, relu, x, &transposed[0], dz, scratch, dx, grad, ahead);
            }
            Core::Dense(c) => {
                if let Some(grad) = grad {
                    exec.run(PadCopy {
                        src: x,
                        blocks: c.input.blocks(),
                        to: c.side(),
                        dst: padded,
                        map: map(),
                    });
                    c.weight_grad(exec, padded, dz, grad);
                }
                if let Some(dr) = target {
                    c.data_grad(exec, &transposed[0], dz, padded_g, dr);
                }
            }
            Core::Reduce(c) => {
                if let Some(grad) = grad {
                    c.gather(exec, x, relu, mid, mid2);
                    c.weight_grad(exec, mid, mid2, dz, grad);
                }
                if let Some(dr) = target {
                    dr.fill(0.0);
                    c.data_grad(exec, transposed, dz, mid, dr);
                }
            }
        }
        if relu && let Some(dx) = dx {
            exec.run(ReluMask {
                x,
                g: dr,
                dx,
                add: false,
            });
        }
    }

    fn clear_padding(&self, grad: &mut [f32]) {
        if let Core::Reduce(c) = self {
            c.clear_padding(grad);
        }
    }
}
