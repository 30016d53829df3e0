//! Pointwise convolutions on one sample.

use crate::exec::Exec;
use crate::layout::FeatureMap;
use crate::micro::pad::{ReluCopy, ReluMask};
use crate::micro::pointwise::{Ahead, Plane, Pointwise, PointwiseGrad};
use crate::simd::LANES;
use std::ops::Range;

/// A pointwise convolution on one sample, a run of pixels at a time, so that the copy behind the ReLU and the gradient
/// before its mask stay in cache however many channels there are.
#[derive(Clone, Debug)]
pub(super) struct PointwiseRuns {
    pub input: FeatureMap,
    pub output: FeatureMap,
}

/// Pixels of a run.
const RUN: usize = 512;

impl PointwiseRuns {
    /// Elements of scratch for one run.
    pub fn run_len(&self) -> usize {
        self.input.blocks() * self.input.pixels().min(RUN) * LANES
    }

    /// Where the pixels of a run that begins at pixel `start` are in a whole sample.
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

    /// Writes the gradient of the input to `dx` and adds that of the weights to `grad`. If there is a ReLU, the two
    /// parts of `scratch` hold a run each: its input behind the ReLU, and the gradient before the mask.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a buffer or a size of its own"
    )]
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
