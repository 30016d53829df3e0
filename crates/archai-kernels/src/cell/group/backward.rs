//! The backward pass of the edges that leave one state.
//!
//! First the sums over the batch, then the second halves of separable convolutions, then everything that reads the
//! state itself: each needs the sums of the one before.

use super::super::incoming::{Incoming, NodeSamples};
use super::super::{CellWant, Factors, factor};
use super::{Branch, BranchKind, Group, GroupSave, SecondHalf};
use crate::buffer::{Samples, SamplesMut, overwritten};
use crate::conv::{SeparableGrad, scratch};
use crate::exec::{Exec, Turn, sum_runs};
use crate::micro::norm::{Combine, MaskedSums, Term};
use crate::micro::pad::{PadCopy, PadMap, Padded, ReluMask};
use crate::micro::place::{ChannelSlice, Place};
use crate::micro::pointwise::Ahead;
use crate::micro::pool::{PoolBackward, scratch_len};
use crate::norm::{Moments, NormGrad, NormParams, scaled};

/// Gradients that all groups add to.
pub(in crate::cell) struct BackwardSums {
    pub mixing: Vec<f32>,
    pub params: Vec<f32>,
    /// For each edge of which the node's gradient is complete: `Σ g`, then `Σ g·z` for the results that need it.
    pub edges: Vec<Vec<f64>>,
}

/// Where the gradient of a state is written.
pub(in crate::cell) struct Target<'a> {
    pub to: SamplesMut<'a>,
    pub start: Start<'a>,
}

/// What the gradient of a state is added to.
#[derive(Clone, Copy)]
pub(in crate::cell) enum Start<'a> {
    Nothing,
    /// What the target holds.
    There,
    /// What another tensor holds.
    At(NodeSamples<'a>),
}

/// The backward pass of one group.
pub(in crate::cell) struct GroupBackward<'a> {
    pub exec: &'a Exec,
    pub n: usize,
    pub group: &'a Group,
    pub save: &'a GroupSave,
    pub factors: &'a Factors,
    pub affine: &'a [Option<NormParams>],
    pub moments: &'a [Moments],
    pub x: Samples<'a>,
    /// Complete gradients of the nodes that the group feeds, by node.
    pub grads: &'a [NodeSamples<'a>],
    pub mixing: &'a [f32],
    pub params: &'a [f32],
    pub want: CellWant,
}

/// What the sums over the batch give for one branch.
struct BranchGrad<'a> {
    pub branch: &'a Branch,
    pub node: usize,
    pub values: Samples<'a>,
    /// The gradient of the values before the last norm; without a norm, the weighted gradient of the node.
    pub coefficients: NormGrad,
}

/// A gradient through the norm of a first half: what the mask of its ReLU let through, and its coefficients.
struct FirstHalfGrad {
    pub masked: Vec<f32>,
    pub coefficients: NormGrad,
}

/// The gradient of a norm's scale and shift.
struct LearntGrad {
    params: NormParams,
    scale: Vec<f64>,
    shift: Vec<f64>,
}

impl GroupBackward<'_> {
    /// Writes (or adds to) the gradient of the state, whose incoming edges are `of_target`, and the group's part of
    /// `sums`. The sums of its own edges are there already.
    pub fn run(
        &self,
        turn: &mut Turn,
        target: Option<Target<'_>>,
        of_target: Option<&Incoming<'_>>,
        sums: &mut BackwardSums,
    ) {
        let (branches, last_norms) = self.reduce(sums);
        if target.is_none() && !self.want.params {
            return;
        }
        let (firsts, first_norms) = self.second_halves(turn, &branches, sums);
        self.read_state(turn.next(), &branches, &firsts, target, of_target, sums);
        if self.want.params {
            for norm in last_norms.iter().chain(&first_norms) {
                norm.params
                    .write_grad(&norm.shift, &norm.scale, &mut sums.params);
            }
        }
    }

    /// Scale and shift of a norm, where it has them.
    fn affine(&self, norm: usize) -> Option<(&[f32], &[f32])> {
        self.affine[norm].map(|a| a.get(self.params))
    }

    /// The gradient of a branch's result before its last norm, for sample `i`.
    fn dz(&self, b: &BranchGrad<'_>, i: usize, dz: &mut [f32]) {
        let (g, z) = (self.grads[b.node].get(i), b.values.get(i));
        let f = factor(self.factors, b.branch.edge, i);
        b.coefficients
            .apply_scaled(self.exec, f, g, z, self.group.output, dz);
    }

    /// What the sums over the batch give: gradients of the mixing weights, coefficients of the norms.
    fn reduce(&self, sums: &mut BackwardSums) -> (Vec<BranchGrad<'_>>, Vec<LearntGrad>) {
        let Self { n, group, .. } = *self;
        let (c, pixels) = (group.output.padded_channels(), group.output.pixels());
        let (mut out, mut learnt) = (Vec::new(), Vec::new());
        for edge in &group.edges {
            let mut totals = sums.edges[edge.index].chunks_exact(c);
            let mut next = || totals.next().expect("as many sums as results");
            let sg = next();
            for (branch, values) in group.results(self.save, self.x, |e| e.index == edge.index) {
                let w = self.mixing[branch.weight];
                let dot = match branch.needs_dot(self.want) {
                    true => next(),
                    false => &[],
                };
                let coefficients = match branch.kind.last_norm() {
                    Some(norm) => {
                        let moments = &self.moments[norm];
                        let gzhat = moments.dot_normalised(sg, dot);
                        let affine = self.affine(norm);
                        let gamma = |i: usize| affine.map_or(1.0, |(g, _)| f64::from(g[i]));
                        let beta = |i: usize| affine.map_or(0.0, |(_, b)| f64::from(b[i]));
                        let one = |i: usize| gamma(i) * gzhat[i] + beta(i) * sg[i];
                        sums.mixing[branch.weight] = (0..c).map(one).sum::<f64>() as f32;
                        if let Some(params) = self.affine[norm] {
                            let weighted = |v: &[f64]| v.iter().map(|v| f64::from(w) * v).collect();
                            learnt.push(LearntGrad {
                                params,
                                scale: weighted(&gzhat),
                                shift: weighted(sg),
                            });
                        }
                        let scale = |i: usize| f64::from(w) * gamma(i);
                        moments.gradient(sg, &gzhat, n * pixels, scale, false)
                    }
                    None => {
                        sums.mixing[branch.weight] = dot.iter().sum::<f64>() as f32;
                        NormGrad {
                            of_g: vec![w; c],
                            constant: vec![0.0; c],
                            of_z: vec![0.0; c],
                        }
                    }
                };
                out.push(BranchGrad {
                    branch,
                    node: edge.node,
                    values,
                    coefficients,
                });
            }
        }
        (out, learnt)
    }

    /// The second halves of separable convolutions, down to the norm of the first ones. By branch.
    fn second_halves(
        &self,
        turn: &mut Turn,
        branches: &[BranchGrad<'_>],
        sums: &mut BackwardSums,
    ) -> (Vec<Option<FirstHalfGrad>>, Vec<LearntGrad>) {
        let Self { exec, n, group, .. } = *self;
        let (map, len) = (group.output, group.output.sample_len());
        let (blocks, pixels, c) = (map.blocks(), map.pixels(), map.padded_channels());
        let list: Vec<&Branch> = branches.iter().map(|b| b.branch).collect();
        let halves = group.second_halves(
            &list,
            |norm| &self.moments[norm],
            |norm| self.affine(norm),
            |slot| Samples::whole(&self.save.first[slot], len),
        );
        if halves.is_empty() {
            return (branches.iter().map(|_| None).collect(), Vec::new());
        }
        let (at, count) = group.second;
        let params = &self.params[at..at + count];
        let transposed: Vec<Vec<f32>> = halves.iter().map(|h| h.core.transposed(params)).collect();
        // SAFETY: for every sample `MaskedSums` writes every element of the tensor of each half.
        let mut masked: Vec<Vec<f32>> = halves
            .iter()
            .map(|_| unsafe { overwritten::<f32>(n * len) })
            .collect();
        let out: Vec<SamplesMut<'_>> = masked
            .iter_mut()
            .map(|m| SamplesMut::whole(m, len))
            .collect();
        let side = halves[0].core.side();
        let make = || {
            let pads = [(); 2].map(|()| side.scratch(blocks));
            (pads, [(); 3].map(|()| scratch(len)))
        };
        let zeros = || {
            let grad = vec![0.0; if self.want.params { count } else { 0 }];
            (vec![0.0; halves.len() * 2 * c], grad)
        };
        let (direction, elements) = (turn.next(), n * len * halves.len());
        let runs = direction.map_samples(n, elements, out, make, zeros, |i, out, scratch, sums| {
            let ([padded, padded_g], [mid, dz, dr]) = scratch;
            let (sums, grad) = sums;
            for (k, (half, masked)) in halves.iter().zip(out).enumerate() {
                half.pad(exec, i, padded);
                self.dz(&branches[half.slot], i, dz);
                let (next, of) = match halves.get(k + 1) {
                    Some(next) => (next, i),
                    None => (&halves[0], i + 1),
                };
                let next_branch = &branches[next.slot];
                let args = SeparableGrad {
                    padded,
                    params,
                    transposed: &transposed[k],
                    dz,
                    padded_g,
                    mid,
                    ahead: Ahead::new([
                        next.first.get_or_empty(of),
                        next_branch.values.get_or_empty(of),
                        self.grads[next_branch.node].get_or_empty(of),
                    ]),
                };
                let grad = self.want.params.then_some(&mut grad[..]);
                half.core.backward(exec, args, Some(&mut *dr), false, grad);
                exec.run(MaskedSums {
                    z: half.first.get(i),
                    scale: &half.scale,
                    shift: &half.shift,
                    g: dr,
                    blocks,
                    pixels,
                    dst: masked,
                    sums: &mut sums[k * 2 * c..][..2 * c],
                });
            }
        });
        let (norm_sums, grads): (Vec<_>, Vec<_>) = runs.into_iter().unzip();
        let norm_sums = sum_runs(norm_sums);
        if self.want.params {
            sums.params[at..at + count].copy_from_slice(&sum_runs(grads));
        }
        let norm_sums = norm_sums.chunks_exact(2 * c);
        let halves = halves.iter().zip(masked).zip(norm_sums);
        self.first_halves(
            branches,
            halves.map(|((h, masked), sums)| (h, masked, sums)),
        )
    }

    /// The gradients of the first halves, by branch, and of their norms: from the second halves, what the masks of
    /// their ReLUs let through, and its sums over the batch.
    fn first_halves<'s>(
        &self,
        branches: &[BranchGrad<'_>],
        halves: impl Iterator<Item = (&'s SecondHalf<'s>, Vec<f32>, &'s [f64])>,
    ) -> (Vec<Option<FirstHalfGrad>>, Vec<LearntGrad>) {
        let c = self.group.output.padded_channels();
        let count = self.n * self.group.output.pixels();
        let mut learnt = Vec::new();
        let mut firsts: Vec<Option<FirstHalfGrad>> = branches.iter().map(|_| None).collect();
        for (half, masked, sums) in halves {
            let norm = branches[half.slot]
                .branch
                .kind
                .first_norm()
                .expect("a separable convolution has two norms");
            let moments = &self.moments[norm];
            let (g, gz) = sums.split_at(c);
            let gzhat = moments.dot_normalised(g, gz);
            let gamma = self.affine(norm).map(|(g, _)| g);
            let scale = |i: usize| gamma.map_or(1.0, |g| f64::from(g[i]));
            let coefficients = moments.gradient(g, &gzhat, count, scale, false);
            if let Some(params) = self.affine[norm] {
                learnt.push(LearntGrad {
                    params,
                    scale: gzhat,
                    shift: g.to_vec(),
                });
            }
            firsts[half.slot] = Some(FirstHalfGrad {
                masked,
                coefficients,
            });
        }
        (firsts, learnt)
    }

    /// Everything that reads the state itself: pools, identities, first halves, factorised reduces.
    fn read_state(
        &self,
        direction: Exec,
        branches: &[BranchGrad<'_>],
        firsts: &[Option<FirstHalfGrad>],
        target: Option<Target<'_>>,
        of_target: Option<&Incoming<'_>>,
        sums: &mut BackwardSums,
    ) {
        let Self { exec, n, group, .. } = *self;
        let (at, count) = group.first;
        let grad_wanted = self.want.params && count > 0;
        let state = StateBackward::new(self, branches, firsts);
        let elements = n * group.input.sample_len() * branches.len().max(1);
        let zeros = || {
            let dots = vec![0.0; of_target.map_or(0, Incoming::len)];
            (vec![0.0; if grad_wanted { count } else { 0 }], dots)
        };
        let (to, start) = target.map(|t| (t.to, t.start)).unzip();
        let make = || state.scratch();
        let runs = direction.map_samples(n, elements, to, make, zeros, |i, dx, scratch, sums| {
            let (mut dx, (grad, dots)) = (dx, sums);
            let started = match (&mut dx, start) {
                (Some(dx), Some(start)) => state.without_convolutions(i, start, dx, scratch),
                _ => false,
            };
            let grad = grad_wanted.then_some(&mut grad[..]);
            let in_dr = state.convolutions(i, dx.is_some(), grad, scratch);
            let Some(dx) = dx else { return };
            let (x, g) = (self.x.get(i), &scratch.dr[..]);
            match (in_dr, started) {
                (true, add) => exec.run(ReluMask { x, g, dx, add }),
                (false, true) => {}
                (false, false) => dx.fill(0.0),
            }
            if let Some(incoming) = of_target {
                incoming.add(exec, self.factors, i, ChannelSlice::from(&*dx), dots);
            }
        });
        let (grads, dots): (Vec<_>, Vec<_>) = runs.into_iter().unzip();
        if let Some(incoming) = of_target {
            incoming.share(&sum_runs(dots), &mut sums.edges);
        }
        if grad_wanted {
            let mut grad = sum_runs(grads);
            for branch in group.branches() {
                if let BranchKind::Reduce { core, .. } = &branch.kind {
                    core.clear_padding(&mut grad);
                }
            }
            sums.params[at..at + count].copy_from_slice(&grad);
        }
    }
}

/// The part of a group's backward pass that reads the state, for one sample at a time.
struct StateBackward<'a> {
    pass: &'a GroupBackward<'a>,
    branches: &'a [BranchGrad<'a>],
    firsts: &'a [Option<FirstHalfGrad>],
    /// What the masks between the halves let through, by branch.
    masked: Vec<Option<Samples<'a>>>,
    params: &'a [f32],
    /// Weights with exchanged channels, by branch.
    transposed: Vec<[Vec<f32>; 2]>,
    pools: Vec<SharedPool<'a>>,
    identities: Vec<&'a BranchGrad<'a>>,
    /// The branches with separable convolutions.
    separable: Vec<usize>,
    any_reduce: bool,
    zeros: Vec<f32>,
    ones: Vec<f32>,
}

/// Scratch of a run over the state.
struct StateScratch {
    padded: Vec<f32>,
    padded_g: Vec<f32>,
    mid: Vec<f32>,
    dz: Vec<f32>,
    even: Vec<f32>,
    odd: Vec<f32>,
    /// The gradient behind the ReLU, before its mask.
    dr: Vec<f32>,
    pool: Vec<f32>,
}

impl<'a> StateBackward<'a> {
    fn new(
        pass: &'a GroupBackward<'a>,
        branches: &'a [BranchGrad<'a>],
        firsts: &'a [Option<FirstHalfGrad>],
    ) -> Self {
        let (map, (at, count)) = (pass.group.output, pass.group.first);
        let (len, c) = (map.sample_len(), map.padded_channels());
        let params = &pass.params[at..at + count];
        let transposed = |b: &BranchGrad<'_>| match &b.branch.kind {
            BranchKind::Reduce { core, .. } => core.transposed(params),
            kind => {
                let core = kind.separable();
                let weights = core.map_or_else(Vec::new, |core| core.transposed(params));
                [weights, Vec::new()]
            }
        };
        let masked = |first: &'a Option<FirstHalfGrad>| {
            let first = first.as_ref()?;
            Some(Samples::whole(&first.masked, len))
        };
        StateBackward {
            pass,
            branches,
            firsts,
            masked: firsts.iter().map(masked).collect(),
            params,
            transposed: branches.iter().map(transposed).collect(),
            pools: [true, false]
                .into_iter()
                .filter_map(|max| SharedPool::new(max, branches, c))
                .collect(),
            identities: branches
                .iter()
                .filter(|b| matches!(b.branch.kind, BranchKind::Identity))
                .collect(),
            separable: (0..branches.len())
                .filter(|&slot| branches[slot].branch.kind.separable().is_some())
                .collect(),
            any_reduce: pass.group.any(|k| matches!(k, BranchKind::Reduce { .. })),
            zeros: vec![0.0; c],
            ones: vec![1.0; c],
        }
    }

    fn scratch(&self) -> StateScratch {
        let Group {
            input,
            output,
            pool,
            ..
        } = self.pass.group;
        let len = output.sample_len();
        let pad = |side: Padded| match self.separable.is_empty() {
            true => Vec::new(),
            false => side.scratch(output.blocks()),
        };
        let half = || scratch(if self.any_reduce { len } else { 0 });
        StateScratch {
            padded: pad(Padded::new(input.height, input.width)),
            padded_g: pad(Padded::new(output.height, output.width)),
            mid: scratch(len),
            dz: scratch(len),
            even: half(),
            odd: half(),
            dr: scratch(input.sample_len()),
            pool: scratch(scratch_len(*pool)),
        }
    }

    /// Writes what the gradient of the state starts with, and the gradient through identities and pools, to `dx`.
    /// Returns whether `dx` holds anything then.
    fn without_convolutions(
        &self,
        i: usize,
        start: Start<'_>,
        dx: &mut [f32],
        scratch: &mut StateScratch,
    ) -> bool {
        let GroupBackward { exec, group, .. } = *self.pass;
        let (blocks, pixels) = (group.output.blocks(), group.output.pixels());
        let len = group.output.sample_len();
        let (there, first) = match start {
            Start::Nothing => (false, None),
            Start::There => (true, None),
            Start::At(samples) => (false, Some(Term::new(samples.get(i), &self.ones))),
        };
        let mut started = there;
        let scales: Vec<_> = self
            .identities
            .iter()
            .map(|b| {
                let f = factor(self.pass.factors, b.branch.edge, i);
                scaled(&b.coefficients.of_g, f)
            })
            .collect();
        let others = self
            .identities
            .iter()
            .zip(&scales)
            .map(|(b, scale)| Term::new(self.pass.grads[b.node].get(i), scale));
        let terms: Vec<Term<'_>> = first.into_iter().chain(others).collect();
        if !terms.is_empty() {
            exec.run(Combine {
                terms: &terms,
                base: &self.zeros,
                blocks,
                pixels,
                dst: dx,
                to: Place::Blocks,
                add: there,
            });
            started = true;
        } else if !there && !self.pools.is_empty() {
            dx.fill(0.0);
            started = true;
        }
        for pool in &self.pools {
            pool.gradient(self.pass, i, &mut scratch.dz);
            let (window, g, scratch) = (group.pool, &scratch.dz[..], &mut scratch.pool[..]);
            if pool.max {
                let at = &self.pass.save.at[i * len..(i + 1) * len];
                exec.run(PoolBackward::<true> {
                    window,
                    blocks,
                    g,
                    at,
                    dx,
                    scratch,
                });
            } else {
                exec.run(PoolBackward::<false> {
                    window,
                    blocks,
                    g,
                    at: &[],
                    dx,
                    scratch,
                });
            }
        }
        started
    }

    /// The gradient through the (first) convolutions of all branches: that of their input is added up in `scratch.dr`
    /// if the state's is wanted, that of their parameters in `grad`. Returns whether there are convolutions.
    fn convolutions(
        &self,
        i: usize,
        state_wanted: bool,
        mut grad: Option<&mut [f32]>,
        scratch: &mut StateScratch,
    ) -> bool {
        let GroupBackward { exec, group, .. } = *self.pass;
        let (map, len, x) = (group.output, group.output.sample_len(), self.pass.x.get(i));
        let StateScratch {
            padded,
            padded_g,
            mid,
            dz,
            even,
            odd,
            dr,
            ..
        } = scratch;
        if !self.separable.is_empty() {
            exec.run(PadCopy {
                src: x,
                blocks: map.blocks(),
                to: Padded::new(group.input.height, group.input.width),
                dst: padded,
                map: PadMap::Relu,
            });
        }
        // The first one replaces what the scratch holds.
        let mut in_dr = false;
        let mut gathered = false;
        for (slot, b) in self.branches.iter().enumerate() {
            let grad = grad.as_deref_mut();
            match (&b.branch.kind, &self.firsts[slot], &self.masked[slot]) {
                (BranchKind::Identity | BranchKind::Pool { .. }, ..) => continue,
                (BranchKind::Sep { .. }, Some(first), Some(masked)) => {
                    let z = &self.pass.save.first[slot][i * len..(i + 1) * len];
                    first.coefficients.apply(exec, masked.get(i), z, map, dz);
                }
                _ => self.pass.dz(b, i, dz),
            }
            let dr = state_wanted.then_some(&mut dr[..]);
            if let BranchKind::Reduce { core, .. } = &b.branch.kind {
                if let Some(grad) = grad {
                    if !gathered {
                        core.gather(exec, x, true, even, odd);
                        gathered = true;
                    }
                    core.weight_grad(exec, even, odd, dz, grad);
                }
                if let Some(dr) = dr {
                    if !in_dr {
                        dr.fill(0.0);
                    }
                    core.data_grad(exec, &self.transposed[slot], dz, mid, dr);
                }
            } else if let Some(core) = b.branch.kind.separable() {
                let args = SeparableGrad {
                    padded,
                    params: self.params,
                    transposed: &self.transposed[slot][0],
                    dz,
                    padded_g,
                    mid,
                    ahead: self.ahead(slot, i),
                };
                core.backward(exec, args, dr, in_dr, grad);
            }
            in_dr = true;
        }
        in_dr
    }

    /// What the separable convolution after that of branch `slot` reads, for fetching it ahead.
    fn ahead(&self, slot: usize, i: usize) -> Ahead<'a> {
        match self.separable.iter().find(|&&s| s > slot) {
            Some(&next) => self.read_by(next, i, &[]),
            None => {
                let x = self.pass.x.get_or_empty(i + 1);
                self.read_by(self.separable[0], i + 1, x)
            }
        }
    }

    fn read_by(&self, slot: usize, i: usize, x: &'a [f32]) -> Ahead<'a> {
        let len = self.pass.group.output.sample_len();
        Ahead::new(match &self.masked[slot] {
            Some(masked) => {
                let z = Samples::whole(&self.pass.save.first[slot], len);
                [masked.get_or_empty(i), z.get_or_empty(i), x]
            }
            None => {
                let b = &self.branches[slot];
                let g = self.pass.grads[b.node].get_or_empty(i);
                [g, b.values.get_or_empty(i), x]
            }
        })
    }
}

/// The gradient of a pool that several edges read, each perhaps through its norm.
struct SharedPool<'a> {
    pub max: bool,
    pub values: Samples<'a>,
    /// Node, place among the cell's edges, and coefficient of its gradient, per edge.
    pub edges: Vec<(usize, usize, &'a [f32])>,
    pub constant: Vec<f32>,
    pub of_z: Vec<f32>,
}

impl<'a> SharedPool<'a> {
    fn new(which: bool, branches: &'a [BranchGrad<'a>], c: usize) -> Option<Self> {
        let users = branches
            .iter()
            .filter(|b| matches!(b.branch.kind, BranchKind::Pool { max, .. } if max == which));
        let mut pool: Option<SharedPool<'a>> = None;
        for b in users {
            let pool = pool.get_or_insert_with(|| SharedPool {
                max: which,
                values: b.values,
                edges: Vec::new(),
                constant: vec![0.0; c],
                of_z: vec![0.0; c],
            });
            pool.edges
                .push((b.node, b.branch.edge, &b.coefficients.of_g));
            pool.constant
                .iter_mut()
                .zip(&b.coefficients.constant)
                .for_each(|(a, b)| *a += b);
            pool.of_z
                .iter_mut()
                .zip(&b.coefficients.of_z)
                .for_each(|(a, b)| *a += b);
        }
        pool
    }

    /// The gradient of the pool's result for sample `i`.
    fn gradient(&self, pass: &GroupBackward<'_>, i: usize, dz: &mut [f32]) {
        let map = pass.group.output;
        let scales: Vec<_> = self
            .edges
            .iter()
            .map(|(_, edge, of_g)| scaled(of_g, factor(pass.factors, *edge, i)))
            .collect();
        let mut terms: Vec<Term<'_>> = self
            .edges
            .iter()
            .zip(&scales)
            .map(|((node, ..), scale)| Term::new(pass.grads[*node].get(i), scale))
            .collect();
        if self.of_z.iter().any(|&k| k != 0.0) {
            terms.push(Term::new(self.values.get(i), &self.of_z));
        }
        let (base, blocks, pixels) = (&self.constant, map.blocks(), map.pixels());
        pass.exec.run(Combine {
            terms: &terms,
            base,
            blocks,
            pixels,
            dst: dz,
            to: Place::Blocks,
            add: false,
        });
    }
}
