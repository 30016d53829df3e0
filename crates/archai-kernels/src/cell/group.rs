//! The edges that leave one state: what they consist of, and their forward pass.

use super::CellWant;
use crate::buffer::{Samples, SamplesMut, overwritten};
use crate::conv::{Reduce, Separable, scratch};
use crate::exec::{Exec, Turn, sum_runs};
use crate::layout::FeatureMap;
use crate::micro::norm::ChannelSums;
use crate::micro::pad::{PadCopy, PadMap, Padded};
use crate::micro::pointwise::Ahead;
use crate::micro::pool::{PoolForward, PoolWindow};
use crate::norm::{Moments, NormParams};

/// All edges that leave one state.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub input: FeatureMap,
    pub output: FeatureMap,
    pub pool: PoolWindow,
    pub edges: Vec<GroupEdge>,
    /// First parameter of the first halves (and of all that has one half only), and how many there are.
    pub first: (usize, usize),
    /// The same for the second halves.
    pub second: (usize, usize),
}

#[derive(Clone, Debug)]
pub(super) struct GroupEdge {
    /// Its place among the edges of the cell.
    pub index: usize,
    pub node: usize,
    pub branches: Vec<Branch>,
}

/// A primitive that does something.
#[derive(Clone, Debug)]
pub(super) struct Branch {
    /// Its place among the mixing weights.
    pub weight: usize,
    /// The edge's place among the edges of the cell.
    pub edge: usize,
    pub kind: Kind,
}

/// Norms are given by their place in [`CellPlan::norms`].
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Identity,
    Pool {
        max: bool,
        norm: Option<usize>,
    },
    Reduce {
        core: Reduce,
        norm: usize,
    },
    Dil {
        core: Separable,
        norm: usize,
    },
    Sep {
        first: Separable,
        norm: usize,
        second: Separable,
        norm2: usize,
    },
}

impl Branch {
    /// Whether a backward pass needs the product of the node's gradient with the result.
    pub fn needs_dot(&self, want: CellWant) -> bool {
        want.mixing || self.kind.last_norm().is_some()
    }
}

impl Kind {
    /// The norm of the result that goes into the node.
    pub fn last_norm(&self) -> Option<usize> {
        match self {
            Kind::Identity => None,
            Kind::Pool { norm, .. } => *norm,
            Kind::Reduce { norm, .. } | Kind::Dil { norm, .. } => Some(*norm),
            Kind::Sep { norm2, .. } => Some(*norm2),
        }
    }

    /// The norm of the first (or only) convolution.
    pub fn first_norm(&self) -> Option<usize> {
        match self {
            Kind::Identity | Kind::Pool { .. } => None,
            Kind::Reduce { norm, .. } | Kind::Dil { norm, .. } | Kind::Sep { norm, .. } => {
                Some(*norm)
            }
        }
    }

    pub fn separable(&self) -> Option<&Separable> {
        match self {
            Kind::Dil { core, .. } => Some(core),
            Kind::Sep { first, .. } => Some(first),
            _ => None,
        }
    }
}

/// Results of a state's edges before their norms.
#[derive(Clone, Debug)]
pub(super) struct GroupSave {
    pub max: Vec<f32>,
    pub at: Vec<u8>,
    pub avg: Vec<f32>,
    /// Per branch, edge after edge: first (or only) and second convolution; empty for what has none.
    pub first: Vec<Vec<f32>>,
    pub second: Vec<Vec<f32>>,
}

impl Group {
    pub fn branches(&self) -> impl Iterator<Item = &Branch> {
        self.edges.iter().flat_map(|e| &e.branches)
    }

    pub fn any(&self, test: impl Fn(&Kind) -> bool) -> bool {
        self.branches().any(|b| test(&b.kind))
    }

    pub fn has_pool(&self, which: bool) -> bool {
        self.any(|k| matches!(k, Kind::Pool { max, .. } if *max == which))
    }

    /// The results of the branches on some edges, before their last norms.
    pub fn results<'a>(
        &'a self,
        save: &'a GroupSave,
        x: Samples<'a>,
        on: impl Fn(&GroupEdge) -> bool,
    ) -> Vec<(&'a Branch, Samples<'a>)> {
        let len = self.output.sample_len();
        let mut all = Vec::new();
        let mut index = 0;
        for edge in &self.edges {
            for branch in &edge.branches {
                if on(edge) {
                    let values = match branch.kind {
                        Kind::Identity => x,
                        Kind::Pool { max: true, .. } => Samples::whole(&save.max, len),
                        Kind::Pool { max: false, .. } => Samples::whole(&save.avg, len),
                        Kind::Reduce { .. } | Kind::Dil { .. } => {
                            Samples::whole(&save.first[index], len)
                        }
                        Kind::Sep { .. } => Samples::whole(&save.second[index], len),
                    };
                    all.push((branch, values));
                }
                index += 1;
            }
        }
        all
    }

    /// All results of a state's edges, and the statistics of their norms, unless these are given. `norms` are the
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
        let exec = &turn.next();
        let (map, len, c) = (
            self.output,
            self.output.sample_len(),
            self.output.padded_channels(),
        );
        let (blocks, pixels) = (map.blocks(), map.pixels());
        let branches: Vec<&Branch> = self.branches().collect();
        // SAFETY: every sample of what is not empty is written below.
        let buffer = |used: bool| unsafe { overwritten::<f32>(if used { n * len } else { 0 }) };
        let has_max = self.has_pool(true);
        let mut save = GroupSave {
            max: buffer(has_max),
            // SAFETY: as above.
            at: unsafe { overwritten::<u8>(if has_max { n * len } else { 0 }) },
            avg: buffer(self.has_pool(false)),
            first: branches
                .iter()
                .map(|b| buffer(b.kind.first_norm().is_some()))
                .collect(),
            second: branches
                .iter()
                .map(|b| buffer(matches!(b.kind, Kind::Sep { .. })))
                .collect(),
        };
        let (max, at, avg) = (
            SamplesMut::whole(&mut save.max, len),
            SamplesMut::whole(&mut save.at, len),
            SamplesMut::whole(&mut save.avg, len),
        );
        let firsts = views(&mut save.first, len);
        let params1 = &params[self.first.0..][..self.first.1];
        let work = n * self.input.sample_len() * branches.len().max(1);
        let any_sep = self.branches().any(|b| b.kind.separable().is_some());
        let any_reduce = self.any(|k| matches!(k, Kind::Reduce { .. }));
        let side = Padded::new(self.input.height, self.input.width);

        // Everything that reads the state itself.
        let make = || {
            let padded = if any_sep {
                side.scratch(self.input.blocks())
            } else {
                Vec::new()
            };
            let mid = scratch(if any_sep { len } else { 0 });
            let half = || scratch(if any_reduce { len } else { 0 });
            (padded, mid, half(), half())
        };
        let sums = sum_runs(exec.runs_with(n, work, make, |range, scratch| {
            let (padded, mid, even, odd) = scratch;
            let mut sums = vec![0.0; (2 + branches.len()) * 2 * c];
            for i in range {
                // The next sample, while the first product of this one is computed.
                let mut ahead = Ahead::new([x.get_or_empty(i + 1), &[], &[]]);
                let x = x.get(i);
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
                let window = self.pool;
                if max.count() > 0 {
                    // SAFETY: each sample is visited once.
                    let (y, at) = unsafe { (max.get(i), at.get(i)) };
                    exec.run(PoolForward::<true> {
                        window,
                        blocks,
                        x,
                        y,
                        at,
                    });
                    sum(0, y);
                }
                if avg.count() > 0 {
                    // SAFETY: each sample is visited once.
                    let y = unsafe { avg.get(i) };
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
                        dst: padded,
                        map: PadMap::Relu,
                    });
                }
                let mut gathered = false;
                for (slot, (branch, z)) in branches.iter().zip(&firsts).enumerate() {
                    if branch.kind.first_norm().is_none() {
                        continue;
                    }
                    // SAFETY: each sample is visited once.
                    let z = unsafe { z.get(i) };
                    if let Kind::Reduce { core, .. } = &branch.kind {
                        if !gathered {
                            core.gather(exec, x, true, even, odd);
                            gathered = true;
                        }
                        core.forward(exec, even, odd, params1, z);
                    } else if let Some(core) = branch.kind.separable() {
                        let ahead = std::mem::take(&mut ahead);
                        core.forward(exec, padded, params1, mid, z, ahead);
                    }
                    sum(2 + slot, z);
                }
            }
            sums
        }));
        if !given {
            let of = |slot: usize| {
                Some(Moments::from_sums(
                    &sums[slot * 2 * c..][..2 * c],
                    map.channels,
                    n * pixels,
                ))
            };
            for (slot, branch) in branches.iter().enumerate() {
                if let Kind::Pool {
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

        // The second halves of separable convolutions.
        let seconds = views(&mut save.second, len);
        let affine = |norm: usize| affine[norm].map(|a| a.get(params));
        let halves: Vec<SecondHalf<'_>> = self.second_halves(&branches, moments, affine, |slot| {
            // SAFETY: the first halves are complete and no longer written.
            unsafe { firsts[slot].read() }
        });
        if halves.is_empty() {
            return save;
        }
        let params2 = &params[self.second.0..][..self.second.1];
        let side = halves[0].core.side();
        let make = || (side.scratch(blocks), scratch(len));
        let elements = n * len * halves.len();
        let exec = &turn.next();
        let sums = sum_runs(exec.runs_with(n, elements, make, |range, (padded, mid)| {
            let mut sums = vec![0.0; halves.len() * 2 * c];
            for i in range {
                for (k, (half, sums)) in halves.iter().zip(sums.chunks_exact_mut(2 * c)).enumerate()
                {
                    let next = match halves.get(k + 1) {
                        Some(next) => next.first.get(i),
                        None => halves[0].first.get_or_empty(i + 1),
                    };
                    half.pad(exec, i, padded);
                    // SAFETY: each sample is visited once.
                    let z = unsafe { seconds[half.slot].get(i) };
                    let ahead = Ahead::new([next, &[], &[]]);
                    half.core.forward(exec, padded, params2, mid, z, ahead);
                    if !given {
                        exec.run(ChannelSums {
                            z,
                            blocks,
                            pixels,
                            sums,
                        });
                    }
                }
            }
            sums
        }));
        if !given {
            let norms: Vec<usize> = halves.iter().map(|h| h.norm2).collect();
            drop(halves);
            for (norm, sums) in norms.into_iter().zip(sums.chunks_exact(2 * c)) {
                moments[norm] = Some(Moments::from_sums(sums, map.channels, n * pixels));
            }
        }
        save
    }

    /// The second halves of separable convolutions; `affine` gives the scale and shift of a norm.
    pub fn second_halves<'a, 'b>(
        &'a self,
        branches: &[&'a Branch],
        moments: &[Option<Moments>],
        affine: impl Fn(usize) -> Option<(&'b [f32], &'b [f32])>,
        first: impl Fn(usize) -> Samples<'a>,
    ) -> Vec<SecondHalf<'a>> {
        let half = |(slot, branch): (usize, &&'a Branch)| match &branch.kind {
            Kind::Sep {
                norm,
                second,
                norm2,
                ..
            } => {
                let (scale, shift) = moment(moments, *norm).fold(affine(*norm));
                Some(SecondHalf {
                    slot,
                    core: second,
                    scale,
                    shift,
                    first: first(slot),
                    norm2: *norm2,
                })
            }
            _ => None,
        };
        branches.iter().enumerate().filter_map(half).collect()
    }
}

pub(super) fn views(tensors: &mut [Vec<f32>], len: usize) -> Vec<SamplesMut<'_>> {
    tensors
        .iter_mut()
        .map(|t| SamplesMut::whole(t, len))
        .collect()
}

/// The second half of a separable convolution, with the norm of the first folded into its ReLU.
pub(super) struct SecondHalf<'a> {
    /// Branch of the group.
    pub slot: usize,
    pub core: &'a Separable,
    pub scale: Vec<f32>,
    pub shift: Vec<f32>,
    pub first: Samples<'a>,
    pub norm2: usize,
}

impl SecondHalf<'_> {
    /// Norm and ReLU of sample `i` into padded scratch.
    pub fn pad(&self, exec: &Exec, i: usize, padded: &mut [f32]) {
        exec.run(PadCopy {
            src: self.first.get(i),
            blocks: self.core.input.blocks(),
            to: self.core.side(),
            dst: padded,
            map: PadMap::NormRelu {
                scale: &self.scale,
                shift: &self.shift,
            },
        });
    }
}

pub(super) fn moment(moments: &[Option<Moments>], norm: usize) -> &Moments {
    moments[norm]
        .as_ref()
        .expect("a state's statistics are known before a node reads it")
}
