//! The forward pass of the edges that leave one state.

use super::{Branch, BranchKind, Group, GroupSave, moment};
use crate::buffer::{Samples, SamplesMut, overwritten};
use crate::conv::scratch;
use crate::exec::{Exec, Turn, sum_runs};
use crate::micro::norm::ChannelSums;
use crate::micro::pad::{PadCopy, PadMap, Padded};
use crate::micro::pointwise::Ahead;
use crate::micro::pool::PoolForward;
use crate::norm::{Moments, NormParams};

/// Scratch of a run over the state.
struct StateScratch {
    padded: Vec<f32>,
    mid: Vec<f32>,
    even: Vec<f32>,
    odd: Vec<f32>,
}

impl Group {
    /// All results of a state's edges, and the statistics of their norms, unless these are `given`. `norms` are the
    /// statistics, and scales and shifts, of the cell's norms.
    pub fn forward(
        &self,
        turn: &mut Turn,
        n: usize,
        x: Samples<'_>,
        params: &[f32],
        norms: (&mut [Option<Moments>], &[Option<NormParams>]),
        given: bool,
    ) -> GroupSave {
        let (moments, affine) = norms;
        let mut save = self.buffers(n);
        self.read_state(&turn.next(), n, x, params, moments, given, &mut save);
        self.read_first_halves(turn, n, params, (moments, affine), given, &mut save);
        save
    }

    /// Tensors for all results.
    fn buffers(&self, n: usize) -> GroupSave {
        let len = n * self.output.sample_len();
        // SAFETY: `read_state` writes every sample of the pools' results and of `first`, `read_first_halves` those of `second`,
        // each where it is not empty, and nothing reads them before.
        let buffer = |used: bool| unsafe { overwritten::<f32>(if used { len } else { 0 }) };
        let has_max = self.has_pool(true);
        GroupSave {
            max: buffer(has_max),
            // SAFETY: `read_state` writes it together with `max`.
            at: unsafe { overwritten::<u8>(if has_max { len } else { 0 }) },
            avg: buffer(self.has_pool(false)),
            first: self
                .branches()
                .map(|b| buffer(b.kind.first_norm().is_some()))
                .collect(),
            second: self
                .branches()
                .map(|b| buffer(matches!(b.kind, BranchKind::Sep { .. })))
                .collect(),
        }
    }

    /// Everything that reads the state itself: pools, first halves, factorised reduces.
    #[expect(clippy::too_many_arguments, reason = "each is something of its own")]
    fn read_state(
        &self,
        exec: &Exec,
        n: usize,
        x: Samples<'_>,
        params: &[f32],
        moments: &mut [Option<Moments>],
        given: bool,
        save: &mut GroupSave,
    ) {
        let (map, len) = (self.output, self.output.sample_len());
        let (blocks, pixels, c) = (map.blocks(), map.pixels(), map.padded_channels());
        let branches: Vec<&Branch> = self.branches().collect();
        let view = |t| SamplesMut::whole(t, len);
        let max = self
            .has_pool(true)
            .then(|| (view(&mut save.max), SamplesMut::whole(&mut save.at, len)));
        let avg = self.has_pool(false).then(|| view(&mut save.avg));
        let out = ((max, avg), SamplesMut::each(&mut save.first, len));
        let params = &params[self.first.0..][..self.first.1];
        let work = n * self.input.sample_len() * branches.len().max(1);
        let any_sep = branches.iter().any(|b| b.kind.separable().is_some());
        let any_reduce = self.any(|k| matches!(k, BranchKind::Reduce { .. }));
        let side = Padded::new(self.input.height, self.input.width);
        let make = || {
            let half = || scratch(if any_reduce { len } else { 0 });
            StateScratch {
                padded: match any_sep {
                    true => side.scratch(self.input.blocks()),
                    false => Vec::new(),
                },
                mid: scratch(if any_sep { len } else { 0 }),
                even: half(),
                odd: half(),
            }
        };
        // Two slots for the pools, then one per branch.
        let zeros = || vec![0.0; (2 + branches.len()) * 2 * c];
        let runs = exec.map_samples(n, work, out, make, zeros, |i, out, scratch, sums| {
            let ((max, avg), firsts) = out;
            // The next sample, while the first product of this one is computed.
            let mut ahead = Ahead::new([x.get_or_empty(i + 1), &[], &[]]);
            let (x, window) = (x.get(i), self.pool);
            let mut sum = |slot: usize, z: &[f32]| {
                if !given {
                    exec.run(ChannelSums {
                        z,
                        blocks,
                        pixels,
                        sums: &mut sums[slot * 2 * c..][..2 * c],
                    });
                }
            };
            if let Some((y, at)) = max {
                exec.run(PoolForward::<true> {
                    window,
                    blocks,
                    x,
                    y,
                    at,
                });
                sum(0, y);
            }
            if let Some(y) = avg {
                exec.run(PoolForward::<false> {
                    window,
                    blocks,
                    x,
                    y,
                    at: &mut [],
                });
                sum(1, y);
            }
            if any_sep {
                exec.run(PadCopy {
                    src: x,
                    blocks,
                    to: side,
                    dst: &mut scratch.padded,
                    map: PadMap::Relu,
                });
            }
            let mut gathered = false;
            for (slot, (branch, z)) in branches.iter().zip(firsts).enumerate() {
                let Some(z) = z else { continue };
                if let BranchKind::Reduce { core, .. } = &branch.kind {
                    let (even, odd) = (&mut scratch.even, &mut scratch.odd);
                    if !gathered {
                        core.gather(exec, x, true, even, odd);
                        gathered = true;
                    }
                    core.forward(exec, even, odd, params, z);
                } else if let Some(core) = branch.kind.separable() {
                    let ahead = std::mem::take(&mut ahead);
                    core.forward(exec, &scratch.padded, params, &mut scratch.mid, z, ahead);
                }
                sum(2 + slot, z);
            }
        });
        let sums = sum_runs(runs);
        if !given {
            self.state_moments(&sums, n * pixels, moments);
        }
    }

    /// The statistics of the norms behind pools and first halves, from the sums over `count` values per channel: two slots
    /// for the pools, then one per branch.
    fn state_moments(&self, sums: &[f64], count: usize, moments: &mut [Option<Moments>]) {
        let (c, channels) = (self.output.padded_channels(), self.output.channels);
        let of = |slot: usize| {
            let sums = &sums[slot * 2 * c..][..2 * c];
            Some(Moments::from_sums(sums, channels, count))
        };
        for (slot, branch) in self.branches().enumerate() {
            if let BranchKind::Pool {
                max,
                norm: Some(norm),
            } = branch.kind
            {
                moments[norm] = of(if max { 0 } else { 1 });
            } else if let Some(norm) = branch.kind.first_norm() {
                moments[norm] = of(2 + slot);
            }
        }
    }

    /// The second halves of separable convolutions.
    fn read_first_halves(
        &self,
        turn: &mut Turn,
        n: usize,
        params: &[f32],
        norms: (&mut [Option<Moments>], &[Option<NormParams>]),
        given: bool,
        save: &mut GroupSave,
    ) {
        let (moments, affine) = norms;
        let (map, len) = (self.output, self.output.sample_len());
        let (blocks, pixels, c) = (map.blocks(), map.pixels(), map.padded_channels());
        let branches: Vec<&Branch> = self.branches().collect();
        let affine = |norm: usize| affine[norm].map(|a| a.get(params));
        let first = |slot: usize| Samples::whole(&save.first[slot], len);
        let known: &[Option<Moments>] = moments;
        let statistics = |norm: usize| moment(known, norm);
        let halves = self.second_halves(&branches, statistics, affine, first);
        if halves.is_empty() {
            return;
        }
        let seconds = SamplesMut::each(&mut save.second, len);
        let params = &params[self.second.0..][..self.second.1];
        let side = halves[0].core.side();
        let make = || (side.scratch(blocks), scratch(len));
        let elements = n * len * halves.len();
        let exec = &turn.next();
        let zeros = || vec![0.0; halves.len() * 2 * c];
        let runs = exec.map_samples(
            n,
            elements,
            seconds,
            make,
            zeros,
            |i, out, scratch, sums| {
                let (mut seconds, (padded, mid)) = (out, scratch);
                for (k, (half, sums)) in halves.iter().zip(sums.chunks_exact_mut(2 * c)).enumerate()
                {
                    let next = match halves.get(k + 1) {
                        Some(next) => next.first.get(i),
                        None => halves[0].first.get_or_empty(i + 1),
                    };
                    half.pad(exec, i, padded);
                    let z = seconds[half.slot].take();
                    let z = z.expect("a second half has a result");
                    let ahead = Ahead::new([next, &[], &[]]);
                    half.core.forward(exec, padded, params, mid, z, ahead);
                    if !given {
                        exec.run(ChannelSums {
                            z,
                            blocks,
                            pixels,
                            sums,
                        });
                    }
                }
            },
        );
        let sums = sum_runs(runs);
        if !given {
            for (half, sums) in halves.iter().zip(sums.chunks_exact(2 * c)) {
                moments[half.norm2] = Some(Moments::from_sums(sums, map.channels, n * pixels));
            }
        }
    }
}
