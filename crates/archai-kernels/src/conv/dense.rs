//! Dense convolutions on one sample.

use crate::exec::Exec;
use crate::layout::{FeatureMap, Unsupported};
use crate::micro::conv::{Conv, ConvGrad, Grid, Tap};
use crate::micro::pad::{PAD, PadCopy, PadMap, Padded};
use crate::pack::{PackedKind, Packing};

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
        layout: &mut Packing,
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
            PackedKind::Dense { skip: 0 },
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
