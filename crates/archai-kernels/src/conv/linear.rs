//! The linear parts that take more than one kernel, on one sample: depthwise and pointwise, dense windows, the factorised
//! reduce.

use crate::exec::Exec;
use crate::layout::{FeatureMap, Unsupported};
use crate::micro::conv::{Conv, ConvGrad, Grid, Tap};
use crate::micro::depthwise::{DataGrad, Window};
use crate::micro::pad::{
    EverySecond, Gather, PAD, PadCopy, PadMap, Padded, ReluCopy, ReluMask, Scatter,
};
use crate::micro::pointwise::{Ahead, Plane, Pointwise, PointwiseGrad};
use crate::pack::{ParamLayout, PieceKind, transpose_dense};
use crate::simd::LANES;
use std::ops::Range;

#[allow(clippy::too_many_arguments)]
pub(super) fn flat_pointwise(
    exec: &Exec,
    weights: &[f32],
    ci: usize,
    co_blocks: usize,
    src: &[f32],
    dst: &mut [f32],
    pixels: usize,
    add: bool,
    ahead: Ahead<'_>,
) {
    let plane = Plane::flat(pixels);
    exec.run(Pointwise {
        weights,
        ci,
        co_blocks,
        src,
        from: plane,
        dst,
        to: plane,
        rows: 1,
        cols: pixels,
        add,
        ahead,
    });
}

/// A pointwise convolution on one sample, a run of pixels at a time, so that the copy behind the ReLU and the gradient
/// before its mask stay in cache however many channels there are.
#[derive(Clone, Debug)]
pub(super) struct PointwiseCore {
    pub input: FeatureMap,
    pub output: FeatureMap,
}

/// Pixels of a run.
const RUN: usize = 512;

impl PointwiseCore {
    /// Elements of scratch for one run.
    pub fn run_len(&self) -> usize {
        self.input.blocks() * self.input.pixels().min(RUN) * LANES
    }

    /// Where a run's pixels stand in a whole sample of so many pixels.
    fn plane(&self, start: usize) -> Plane {
        Plane {
            origin: start,
            ..Plane::flat(self.input.pixels())
        }
    }

    fn runs(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let pixels = self.input.pixels();
        (0..pixels)
            .step_by(RUN)
            .map(move |start| start..(start + RUN).min(pixels))
    }

    /// The elements of a run in block `b` of a whole sample, and in scratch.
    fn places(&self, run: &Range<usize>, b: usize) -> (Range<usize>, Range<usize>) {
        let (start, len) = (b * self.input.pixels() + run.start, run.len());
        (
            start * LANES..(start + len) * LANES,
            b * len * LANES..(b + 1) * len * LANES,
        )
    }

    fn relu(&self, exec: &Exec, x: &[f32], run: &Range<usize>, scratch: &mut [f32]) {
        for b in 0..self.input.blocks() {
            let (whole, part) = self.places(run, b);
            exec.run(ReluCopy {
                src: &x[whole],
                dst: &mut scratch[part],
            });
        }
    }

    #[expect(clippy::too_many_arguments, reason = "each is something of its own")]
    pub fn forward(
        &self,
        exec: &Exec,
        relu: bool,
        x: &[f32],
        weights: &[f32],
        scratch: &mut [f32],
        z: &mut [f32],
        ahead: Ahead<'_>,
    ) {
        let count = self.runs().count();
        for (i, run) in self.runs().enumerate() {
            let (src, from) = match relu {
                true => {
                    self.relu(exec, x, &run, scratch);
                    (&scratch[..], Plane::flat(run.len()))
                }
                false => (x, self.plane(run.start)),
            };
            exec.run(Pointwise {
                weights,
                ci: self.input.channels,
                co_blocks: self.output.blocks(),
                src,
                from,
                dst: z,
                to: self.plane(run.start),
                rows: 1,
                cols: run.len(),
                add: false,
                ahead: ahead.part(i, count),
            });
        }
    }

    /// The gradient of the input goes to `dx`, that of the weights is added to `grad`. `scratch` and `masked` hold a run
    /// each, if there is a ReLU.
    #[allow(clippy::too_many_arguments)]
    pub fn backward(
        &self,
        exec: &Exec,
        relu: bool,
        x: &[f32],
        transposed: &[f32],
        dz: &[f32],
        scratch: (&mut [f32], &mut [f32]),
        mut dx: Option<&mut [f32]>,
        mut grad: Option<&mut [f32]>,
        ahead: Ahead<'_>,
    ) {
        let count = self.runs().count();
        let (behind, before) = scratch;
        let (blocks, pixels) = (self.input.blocks(), self.input.pixels());
        for (i, run) in self.runs().enumerate() {
            if let Some(grad) = &mut grad {
                let (x, x_block) = match relu {
                    true => {
                        self.relu(exec, x, &run, behind);
                        (&behind[..], run.len())
                    }
                    false => (&x[run.start * LANES..], pixels),
                };
                exec.run(PointwiseGrad {
                    g: &dz[run.start * LANES..],
                    g_block: pixels,
                    co_blocks: self.output.blocks(),
                    x,
                    x_block,
                    ci: self.input.channels,
                    pixels: run.len(),
                    dw: grad,
                });
            }
            let Some(dx) = &mut dx else { continue };
            let (dst, to) = match relu {
                true => (&mut before[..], Plane::flat(run.len())),
                false => (&mut dx[..], self.plane(run.start)),
            };
            exec.run(Pointwise {
                weights: transposed,
                ci: self.output.channels,
                co_blocks: blocks,
                src: dz,
                from: self.plane(run.start),
                dst,
                to,
                rows: 1,
                cols: run.len(),
                add: false,
                ahead: ahead.part(i, count),
            });
            if !relu {
                continue;
            }
            for b in 0..blocks {
                let (whole, part) = self.places(&run, b);
                exec.run(ReluMask {
                    x: &x[whole.clone()],
                    g: &before[part],
                    dx: &mut dx[whole],
                    add: false,
                });
            }
        }
    }
}

/// Depthwise and pointwise, on one sample whose input stands padded (and after its ReLU) in scratch.
#[derive(Clone, Debug)]
pub(crate) struct Separable {
    pub input: FeatureMap,
    pub output: FeatureMap,
    window: Window,
    depthwise: usize,
    pointwise: usize,
}

/// Arguments of [`Separable::backward`].
pub(crate) struct SeparableGrad<'a> {
    pub padded: &'a [f32],
    pub params: &'a [f32],
    pub transposed: &'a [f32],
    pub dz: &'a [f32],
    pub padded_g: &'a mut [f32],
    pub mid: &'a mut [f32],
    pub ahead: Ahead<'a>,
}

impl Separable {
    /// Appends its weights to `layout` as `{prefix}conv{number}.weight` and the number after it.
    pub fn new(
        input: FeatureMap,
        channels: usize,
        window: Window,
        layout: &mut ParamLayout,
        prefix: &str,
        number: usize,
    ) -> Result<Self, Unsupported> {
        let Window {
            k,
            dilation,
            stride,
        } = window;
        if !window.is_supported() {
            return Err(Unsupported(format!(
                "a depthwise {k}×{k} kernel with dilation {dilation} and stride {stride}: there are kernels for 3, 5, 7 \
                 with dilation 1 and 3, 5 with dilation 2, at strides 1 and 2"
            )));
        }
        let c = input.channels;
        let depthwise = layout.push(
            format!("{prefix}conv{number}.weight"),
            vec![c, 1, k, k],
            PieceKind::Depthwise,
        );
        let name = format!("{prefix}conv{}.weight", number + 1);
        let pointwise = layout.push(name, vec![channels, c, 1, 1], PieceKind::Dense { skip: 0 });
        let output = FeatureMap::new(channels, window.out(input.height), window.out(input.width));
        Ok(Separable {
            input,
            output,
            window,
            depthwise,
            pointwise,
        })
    }

    pub fn side(&self) -> Padded {
        Padded::new(self.input.height, self.input.width)
    }

    pub fn out_side(&self) -> Padded {
        Padded::new(self.output.height, self.output.width)
    }

    /// `mid` = depthwise, `z` = pointwise.
    pub fn forward(
        &self,
        exec: &Exec,
        padded: &[f32],
        params: &[f32],
        mid: &mut [f32],
        z: &mut [f32],
        ahead: Ahead<'_>,
    ) {
        self.window.forward(
            exec,
            padded,
            self.side(),
            &params[self.depthwise..],
            self.input.blocks(),
            mid,
        );
        let (weights, pixels) = (&params[self.pointwise..], self.output.pixels());
        flat_pointwise(
            exec,
            weights,
            self.input.channels,
            self.output.blocks(),
            mid,
            z,
            pixels,
            false,
            ahead,
        );
    }

    /// The pointwise weights with exchanged channels.
    pub fn transposed(&self, params: &[f32]) -> Vec<f32> {
        transpose_dense(
            &params[self.pointwise..],
            self.output.channels,
            self.input.channels,
            1,
        )
    }

    /// The gradient of the padded input goes (or is added) to `dr`, those of the weights are added to `grad`.
    pub fn backward(
        &self,
        exec: &Exec,
        s: SeparableGrad<'_>,
        dr: Option<&mut [f32]>,
        add: bool,
        grad: Option<&mut [f32]>,
    ) {
        let (out, blocks, side) = (self.output, self.input.blocks(), self.out_side());
        let taps = &s.params[self.depthwise..];
        let mut grad = grad;
        if let Some(grad) = &mut grad {
            self.window
                .forward(exec, s.padded, self.side(), taps, blocks, s.mid);
            exec.run(PointwiseGrad {
                g: s.dz,
                g_block: out.pixels(),
                co_blocks: out.blocks(),
                x: s.mid,
                x_block: out.pixels(),
                ci: self.input.channels,
                pixels: out.pixels(),
                dw: &mut grad[self.pointwise..],
            });
        }
        exec.run(Pointwise {
            weights: s.transposed,
            ci: out.channels,
            co_blocks: blocks,
            src: s.dz,
            from: Plane {
                origin: 0,
                row: out.width,
                block: out.pixels(),
            },
            dst: s.padded_g,
            to: Plane {
                origin: side.origin(),
                row: side.row(),
                block: side.block(),
            },
            rows: out.height,
            cols: out.width,
            add: false,
            ahead: s.ahead,
        });
        if let Some(grad) = grad {
            self.window.weight_grad(
                exec,
                s.padded,
                self.side(),
                s.padded_g,
                side,
                blocks,
                &mut grad[self.depthwise..],
            );
        }
        if let Some(dst) = dr {
            let to = DataGrad {
                height: self.input.height,
                width: self.input.width,
                dst,
                add,
            };
            self.window
                .data_grad(exec, s.padded_g, side, taps, blocks, to);
        }
    }
}

/// A dense convolution on one sample.
#[derive(Clone, Debug)]
pub(super) struct Dense {
    pub input: FeatureMap,
    pub output: FeatureMap,
    pub kernel: (usize, usize),
    pub stride: (usize, usize),
    pub padding: (usize, usize),
    pub taps: Vec<Tap>,
}

impl Dense {
    pub fn new(
        input: FeatureMap,
        channels: usize,
        kernel: (usize, usize),
        stride: (usize, usize),
        padding: (usize, usize),
        layout: &mut ParamLayout,
    ) -> Result<Self, Unsupported> {
        let fits = |k: usize, s: usize, p: usize, n: usize| {
            (1..=7).contains(&k)
                && (1..=4).contains(&s)
                && p < k
                && p <= PAD
                && k - 1 - p <= PAD
                && n + 2 * p >= k
        };
        if !fits(kernel.0, stride.0, padding.0, input.height)
            || !fits(kernel.1, stride.1, padding.1, input.width)
        {
            return Err(Unsupported(format!(
                "a {}×{} convolution with stride {stride:?} and padding {padding:?} on {input}: windows are at most 7 \
                 wide and fit the padded map, strides at most 4, padding is smaller than the window, and at most \
                 {PAD} rows or columns of it exceed the padding",
                kernel.0, kernel.1
            )));
        }
        let out = |k: usize, s: usize, p: usize, n: usize| (n + 2 * p - k) / s + 1;
        let output = FeatureMap::new(
            channels,
            out(kernel.0, stride.0, padding.0, input.height),
            out(kernel.1, stride.1, padding.1, input.width),
        );
        layout.push(
            "conv1.weight".into(),
            vec![channels, input.channels, kernel.0, kernel.1],
            PieceKind::Dense { skip: 0 },
        );
        let row = Padded::new(input.height, input.width).row();
        let tap = |t: usize| Tap {
            offset: (PAD - padding.0 + t / kernel.1) * row + PAD - padding.1 + t % kernel.1,
            index: t,
        };
        Ok(Dense {
            input,
            output,
            kernel,
            stride,
            padding,
            taps: (0..kernel.0 * kernel.1).map(tap).collect(),
        })
    }

    pub fn side(&self) -> Padded {
        Padded::new(self.input.height, self.input.width)
    }

    pub fn out_side(&self) -> Padded {
        Padded::new(self.output.height, self.output.width)
    }

    pub fn forward(&self, exec: &Exec, padded: &[f32], params: &[f32], z: &mut [f32]) {
        let (out, taps) = (self.output, self.taps.len());
        exec.run(Conv {
            src: padded,
            side: self.side(),
            stride: self.stride,
            taps: &self.taps,
            taps_in_weights: taps,
            weights: &params[..out.padded_channels() * self.input.channels * taps],
            ci: self.input.channels,
            co_blocks: out.blocks(),
            rows: out.height,
            cols: out.width,
            dst: z,
            to: Grid {
                origin: 0,
                row: out.width,
                col: 1,
                block: out.pixels(),
            },
        });
    }

    pub fn weight_grad(&self, exec: &Exec, padded: &[f32], dz: &[f32], grad: &mut [f32]) {
        exec.run(ConvGrad {
            g: dz,
            co_blocks: self.output.blocks(),
            rows: self.output.height,
            cols: self.output.width,
            src: padded,
            side: self.side(),
            stride: self.stride,
            taps: &self.taps,
            ci: self.input.channels,
            dw: grad,
        });
    }

    /// Input pixel `i` meets tap `k` of output `(i + padding − k) / stride` where that is whole: one pass per residue.
    pub fn data_grad(
        &self,
        exec: &Exec,
        transposed: &[f32],
        dz: &[f32],
        padded_g: &mut [f32],
        dr: &mut [f32],
    ) {
        let side = self.out_side();
        let map = PadMap::Plain;
        exec.run(PadCopy {
            src: dz,
            blocks: self.output.blocks(),
            to: side,
            dst: padded_g,
            map,
        });
        // Output offsets, counted from the padded edge, of the taps that reach residue `r`.
        let reach = |r: usize, k: usize, s: usize, p: usize| -> Vec<(usize, usize)> {
            let place = |t: usize| r + p + s * PAD - t;
            (0..k)
                .filter(|&t| place(t).is_multiple_of(s))
                .map(|t| (t, place(t) / s))
                .collect()
        };
        let (h, w) = (self.input.height, self.input.width);
        for ry in 0..self.stride.0 {
            let down = reach(ry, self.kernel.0, self.stride.0, self.padding.0);
            for rx in 0..self.stride.1 {
                let across = reach(rx, self.kernel.1, self.stride.1, self.padding.1);
                let tap = |&(ky, oy): &(usize, usize), &(kx, ox): &(usize, usize)| Tap {
                    offset: oy * side.row() + ox,
                    index: ky * self.kernel.1 + kx,
                };
                let taps: Vec<Tap> = down
                    .iter()
                    .flat_map(|d| across.iter().map(move |a| tap(d, a)))
                    .collect();
                exec.run(Conv {
                    src: padded_g,
                    side,
                    stride: (1, 1),
                    taps: &taps,
                    taps_in_weights: self.taps.len(),
                    weights: transposed,
                    ci: self.output.channels,
                    co_blocks: self.input.blocks(),
                    rows: (h + self.stride.0 - 1 - ry) / self.stride.0,
                    cols: (w + self.stride.1 - 1 - rx) / self.stride.1,
                    dst: dr,
                    to: Grid {
                        origin: ry * w + rx,
                        row: self.stride.0 * w,
                        col: self.stride.1,
                        block: self.input.pixels(),
                    },
                });
            }
        }
    }
}

/// A factorised reduce on one sample, from the two gathered quarters of its input.
#[derive(Clone, Debug)]
pub(crate) struct Reduce {
    pub input: FeatureMap,
    pub output: FeatureMap,
    first: usize,
    second: usize,
}

impl Reduce {
    pub fn new(
        input: FeatureMap,
        channels: usize,
        layout: &mut ParamLayout,
        prefix: &str,
    ) -> Result<Self, Unsupported> {
        if !input.height.is_multiple_of(2) || !input.width.is_multiple_of(2) || channels < 2 {
            return Err(Unsupported(format!(
                "a factorised reduce of {input} to {channels} channels: rows and columns must be even (its two halves \
                 see different numbers of pixels otherwise) and there must be two channels at least"
            )));
        }
        let half = channels / 2;
        let (c, kind) = (input.channels, |skip| PieceKind::Dense { skip });
        let first = layout.push(
            format!("{prefix}conv1.weight"),
            vec![half, c, 1, 1],
            kind(0),
        );
        let second = layout.push(
            format!("{prefix}conv2.weight"),
            vec![channels - half, c, 1, 1],
            kind(half % LANES),
        );
        let output = FeatureMap::new(channels, input.height / 2, input.width / 2);
        Ok(Reduce {
            input,
            output,
            first,
            second,
        })
    }

    /// Channels of the first half.
    fn half(&self) -> usize {
        self.output.channels / 2
    }

    /// Lanes of the block that both halves share (0: none is shared).
    fn shared(&self) -> usize {
        self.half() % LANES
    }

    /// Lanes of the second half's blocks, empty ones included.
    fn second_lanes(&self) -> usize {
        self.shared() + self.output.channels - self.half()
    }

    /// Elements from the output's beginning to the second half's first block.
    fn second_start(&self) -> usize {
        self.half() / LANES * self.output.pixels() * LANES
    }

    pub fn half_len(&self) -> usize {
        self.input.blocks() * self.output.pixels() * LANES
    }

    fn at(&self, shift: usize) -> EverySecond {
        EverySecond {
            blocks: self.input.blocks(),
            height: self.input.height,
            width: self.input.width,
            shift,
        }
    }

    pub fn gather(&self, exec: &Exec, x: &[f32], relu: bool, even: &mut [f32], odd: &mut [f32]) {
        exec.run(Gather {
            at: self.at(0),
            src: x,
            relu,
            dst: even,
        });
        exec.run(Gather {
            at: self.at(1),
            src: x,
            relu,
            dst: odd,
        });
    }

    pub fn forward(&self, exec: &Exec, even: &[f32], odd: &[f32], params: &[f32], z: &mut [f32]) {
        let (ci, pixels) = (self.input.channels, self.output.pixels());
        flat_pointwise(
            exec,
            &params[self.first..],
            ci,
            self.half().div_ceil(LANES),
            even,
            z,
            pixels,
            false,
            Ahead::default(),
        );
        let (mut weights, mut z) = (&params[self.second..], &mut z[self.second_start()..]);
        let mut blocks = self.second_lanes().div_ceil(LANES);
        if self.shared() > 0 {
            flat_pointwise(exec, weights, ci, 1, odd, z, pixels, true, Ahead::default());
            (weights, z) = (&weights[ci * LANES..], &mut z[pixels * LANES..]);
            blocks -= 1;
        }
        if blocks > 0 {
            flat_pointwise(
                exec,
                weights,
                ci,
                blocks,
                odd,
                z,
                pixels,
                false,
                Ahead::default(),
            );
        }
    }

    pub fn transposed(&self, params: &[f32]) -> [Vec<f32>; 2] {
        let ci = self.input.channels;
        [
            transpose_dense(&params[self.first..], self.half(), ci, 1),
            transpose_dense(&params[self.second..], self.second_lanes(), ci, 1),
        ]
    }

    pub fn weight_grad(
        &self,
        exec: &Exec,
        even: &[f32],
        odd: &[f32],
        dz: &[f32],
        grad: &mut [f32],
    ) {
        let (ci, pixels) = (self.input.channels, self.output.pixels());
        let co_blocks = self.half().div_ceil(LANES);
        exec.run(PointwiseGrad {
            g: dz,
            g_block: pixels,
            co_blocks,
            x: even,
            x_block: pixels,
            ci,
            pixels,
            dw: &mut grad[self.first..],
        });
        let (g, co_blocks) = (
            &dz[self.second_start()..],
            self.second_lanes().div_ceil(LANES),
        );
        exec.run(PointwiseGrad {
            g,
            g_block: pixels,
            co_blocks,
            x: odd,
            x_block: pixels,
            ci,
            pixels,
            dw: &mut grad[self.second..],
        });
    }

    /// Adds to `dr`.
    pub fn data_grad(
        &self,
        exec: &Exec,
        transposed: &[Vec<f32>; 2],
        dz: &[f32],
        half: &mut [f32],
        dr: &mut [f32],
    ) {
        let (blocks, pixels) = (self.input.blocks(), self.output.pixels());
        flat_pointwise(
            exec,
            &transposed[0],
            self.half(),
            blocks,
            dz,
            half,
            pixels,
            false,
            Ahead::default(),
        );
        exec.run(Scatter {
            at: self.at(0),
            g: half,
            dst: dr,
        });
        let dz = &dz[self.second_start()..];
        flat_pointwise(
            exec,
            &transposed[1],
            self.second_lanes(),
            blocks,
            dz,
            half,
            pixels,
            false,
            Ahead::default(),
        );
        exec.run(Scatter {
            at: self.at(1),
            g: half,
            dst: dr,
        });
    }

    /// Where both halves share a block, each weight gradient has picked up the other half's channels: these entries are
    /// padding and must be zero.
    pub fn clear_padding(&self, grad: &mut [f32]) {
        let (ci, shared) = (self.input.channels, self.shared());
        if shared > 0 {
            let last = self.first + self.half() / LANES * ci * LANES;
            for i in 0..ci {
                grad[last + i * LANES + shared..last + (i + 1) * LANES].fill(0.0);
                grad[self.second + i * LANES..][..shared].fill(0.0);
            }
        }
    }
}
