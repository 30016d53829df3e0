//! The factorised reduce on one sample.

use crate::exec::Exec;
use crate::layout::{FeatureMap, Unsupported};
use crate::micro::pad::{EverySecond, Gather, Scatter};
use crate::micro::pointwise::{Pointwise, PointwiseGrad};
use crate::pack::{PackedKind, Packing, transpose_dense};
use crate::simd::LANES;

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
        layout: &mut Packing,
        prefix: &str,
    ) -> Result<Self, Unsupported> {
        if channels < 2 {
            return Err(Unsupported(format!(
                "a factorised reduce of {input} to {channels} channel(s): there must be two at least"
            )));
        }
        let half = channels / 2;
        let (c, kind) = (input.channels, |skip| PackedKind::Dense { skip });
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
        let output = FeatureMap::new(channels, input.height.div_ceil(2), input.width.div_ceil(2));
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
        let sizes = [ci, self.half().div_ceil(LANES)];
        exec.run(Pointwise::flat(
            &params[self.first..],
            sizes,
            even,
            z,
            pixels,
        ));
        let (mut weights, mut z) = (&params[self.second..], &mut z[self.second_start()..]);
        let mut blocks = self.second_lanes().div_ceil(LANES);
        if self.shared() > 0 {
            exec.run(Pointwise {
                add: true,
                ..Pointwise::flat(weights, [ci, 1], odd, z, pixels)
            });
            (weights, z) = (&weights[ci * LANES..], &mut z[pixels * LANES..]);
            blocks -= 1;
        }
        if blocks > 0 {
            exec.run(Pointwise::flat(weights, [ci, blocks], odd, z, pixels));
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
        let halves = [
            (0, self.half(), even, self.first),
            (self.second_start(), self.second_lanes(), odd, self.second),
        ];
        for (start, lanes, x, at) in halves {
            exec.run(PointwiseGrad {
                g: &dz[start..],
                g_block: pixels,
                co_blocks: lanes.div_ceil(LANES),
                x,
                x_block: pixels,
                ci,
                pixels,
                dw: &mut grad[at..],
            });
        }
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
        let halves = [(0, self.half()), (self.second_start(), self.second_lanes())];
        for (i, (start, lanes)) in halves.into_iter().enumerate() {
            let weights = &transposed[i];
            exec.run(Pointwise::flat(
                weights,
                [lanes, blocks],
                &dz[start..],
                half,
                pixels,
            ));
            exec.run(Scatter {
                at: self.at(i),
                g: half,
                dst: dr,
            });
        }
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
