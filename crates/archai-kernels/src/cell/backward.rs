//! The backward pass of the edges that leave one state.
//!
//! First the sums over the batch, then the second halves of separable convolutions, then everything that reads the state
//! itself: each needs the sums of the one before.

use super::group::{Branch, Group, GroupSave, Kind, views};
use super::incoming::{Incoming, NodeSamples};
use super::{CellWant, Factors, factor};
use crate::buffer::{Samples, SamplesMut, overwritten};
use crate::conv::{SeparableGrad, scratch};
use crate::exec::{Exec, Turn, sum_runs};
use crate::micro::norm::{Combine, MaskedSums, Term};
use crate::micro::pad::{PadCopy, PadMap, Padded, ReluMask};
use crate::micro::place::{Part, Place};
use crate::micro::pointwise::Ahead;
use crate::micro::pool::{PoolBackward, scratch_len};
use crate::norm::{Moments, NormGrad, NormParams, scaled};

/// Gradients that all groups add to.
pub(super) struct BackwardSums {
    pub mixing: Vec<f32>,
    pub params: Vec<f32>,
    /// For each edge of which the node's gradient is complete: `Σ g`, then `Σ g·z` for the results that need it.
    pub edges: Vec<Vec<f64>>,
}

/// Where the gradient of a state goes.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub to: SamplesMut<'a>,
    pub start: Start<'a>,
}

/// What is added to.
#[derive(Clone, Copy)]
pub(super) enum Start<'a> {
    Nothing,
    /// What stands in the target.
    There,
    /// What stands elsewhere.
    At(NodeSamples<'a>),
}

/// The backward pass of one group.
pub(super) struct GroupBackward<'a> {
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
pub(super) struct BranchGrad<'a> {
    pub branch: &'a Branch,
    pub node: usize,
    pub values: Samples<'a>,
    /// The gradient of the values before the last norm; without a norm, the weighted gradient of the node.
    pub coefficients: NormGrad,
}

/// A gradient through the norm of a first half: what the mask of its ReLU let through, and its coefficients.
pub(super) struct FirstHalfGrad {
    pub masked: Vec<f32>,
    pub coefficients: NormGrad,
}

/// The gradient of a norm's scale and shift.
pub(super) struct LearntGrad {
    params: NormParams,
    scale: Vec<f64>,
    shift: Vec<f64>,
}

impl GroupBackward<'_> {
    /// Writes (or adds to) the gradient of the state, of which `of_target` are the incoming edges, and the group's part of
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
        self.rest(turn.next(), &branches, &firsts, target, of_target, sums);
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
        let (map, len, c) = (
            group.output,
            group.output.sample_len(),
            group.output.padded_channels(),
        );
        let (blocks, pixels) = (map.blocks(), map.pixels());
        let list: Vec<&Branch> = branches.iter().map(|b| b.branch).collect();
        let moments: Vec<Option<Moments>> = self.moments.iter().cloned().map(Some).collect();
        let halves = group.second_halves(
            &list,
            &moments,
            |norm| self.affine(norm),
            |slot| Samples::whole(&self.save.first[slot], len),
        );
        let mut learnt = Vec::new();
        let mut firsts: Vec<Option<FirstHalfGrad>> = branches.iter().map(|_| None).collect();
        if halves.is_empty() {
            return (firsts, learnt);
        }
        let (at, count) = group.second;
        let params = &self.params[at..at + count];
        let transposed: Vec<Vec<f32>> = halves.iter().map(|h| h.core.transposed(params)).collect();
        // SAFETY: every sample is written below.
        let mut masked: Vec<Vec<f32>> = halves
            .iter()
            .map(|_| unsafe { overwritten::<f32>(n * len) })
            .collect();
        let masked_views = views(&mut masked, len);
        let side = halves[0].core.side();
        let make = || {
            let pads = [(); 2].map(|()| side.scratch(blocks));
            (pads, [(); 3].map(|()| scratch(len)))
        };
        let runs = turn
            .next()
            .runs_with(n, n * len * halves.len(), make, |range, scratch| {
                let ([padded, padded_g], [mid, dz, dr]) = scratch;
                let mut sums = vec![0.0; halves.len() * 2 * c];
                let mut grad = vec![0.0; if self.want.params { count } else { 0 }];
                for i in range {
                    for (k, half) in halves.iter().enumerate() {
                        let b = &branches[half.slot];
                        let z = half.first.get(i);
                        half.pad(exec, i, padded);
                        self.dz(b, i, dz);
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
                        half.core.backward(
                            exec,
                            args,
                            Some(&mut *dr),
                            false,
                            self.want.params.then_some(&mut grad),
                        );
                        exec.run(MaskedSums {
                            z,
                            scale: &half.scale,
                            shift: &half.shift,
                            g: dr,
                            blocks,
                            pixels,
                            // SAFETY: each sample is visited once.
                            dst: unsafe { masked_views[k].get(i) },
                            sums: &mut sums[k * 2 * c..][..2 * c],
                        });
                    }
                }
                (sums, grad)
            });
        let (norm_sums, grads): (Vec<_>, Vec<_>) = runs.into_iter().unzip();
        let norm_sums = sum_runs(norm_sums);
        if self.want.params {
            sums.params[at..at + count].copy_from_slice(&sum_runs(grads));
        }
        let slots: Vec<usize> = halves.iter().map(|h| h.slot).collect();
        for ((slot, masked), sums) in slots
            .into_iter()
            .zip(masked)
            .zip(norm_sums.chunks_exact(2 * c))
        {
            let norm = branches[slot]
                .branch
                .kind
                .first_norm()
                .expect("a separable convolution has two norms");
            let moments = &self.moments[norm];
            let gzhat = moments.dot_normalised(&sums[..c], &sums[c..]);
            let gamma = self.affine(norm).map(|(g, _)| g);
            let scale = |i: usize| gamma.map_or(1.0, |g| f64::from(g[i]));
            let coefficients = moments.gradient(&sums[..c], &gzhat, n * pixels, scale, false);
            if let Some(params) = self.affine[norm] {
                learnt.push(LearntGrad {
                    params,
                    scale: gzhat,
                    shift: sums[..c].to_vec(),
                });
            }
            firsts[slot] = Some(FirstHalfGrad {
                masked,
                coefficients,
            });
        }
        (firsts, learnt)
    }

    /// Everything that reads the state itself: pools, identities, first halves, factorised reduces.
    fn rest(
        &self,
        direction: Exec,
        branches: &[BranchGrad<'_>],
        firsts: &[Option<FirstHalfGrad>],
        target: Option<Target<'_>>,
        of_target: Option<&Incoming<'_>>,
        sums: &mut BackwardSums,
    ) {
        let Self { exec, n, group, .. } = *self;
        let (input, map, len, c) = (
            group.input,
            group.output,
            group.output.sample_len(),
            group.output.padded_channels(),
        );
        let (blocks, pixels) = (map.blocks(), map.pixels());
        let (at, count) = group.first;
        let params = &self.params[at..at + count];
        let transposed: Vec<[Vec<f32>; 2]> = branches
            .iter()
            .map(|b| match &b.branch.kind {
                Kind::Reduce { core, .. } => core.transposed(params),
                kind => [
                    kind.separable()
                        .map_or_else(Vec::new, |core| core.transposed(params)),
                    Vec::new(),
                ],
            })
            .collect();
        let pools: Vec<SharedPool<'_>> = [true, false]
            .into_iter()
            .filter_map(|max| SharedPool::new(max, branches, c))
            .collect();
        let identities: Vec<&BranchGrad<'_>> = branches
            .iter()
            .filter(|b| matches!(b.branch.kind, Kind::Identity))
            .collect();
        let any_sep = group.branches().any(|b| b.kind.separable().is_some());
        let any_reduce = group.any(|k| matches!(k, Kind::Reduce { .. }));
        let (zeros, ones) = (vec![0.0; c], vec![1.0; c]);
        let there = matches!(&target, Some(t) if matches!(t.start, Start::There));
        let grad_wanted = self.want.params && count > 0;
        let firsts_views: Vec<Option<Samples<'_>>> = firsts
            .iter()
            .map(|f| f.as_ref().map(|f| Samples::whole(&f.masked, len)))
            .collect();
        let elements = n * input.sample_len() * branches.len().max(1);
        let make = || {
            let pads = |side: Padded| match any_sep {
                true => side.scratch(blocks),
                false => Vec::new(),
            };
            let half = || scratch(if any_reduce { len } else { 0 });
            (
                pads(Padded::new(input.height, input.width)),
                pads(Padded::new(map.height, map.width)),
                [scratch(len), scratch(len), half(), half()],
                scratch(input.sample_len()),
                scratch(scratch_len(group.pool)),
            )
        };
        // What the gradients of the separable convolutions read besides the state, for fetching it ahead.
        let separable: Vec<usize> = (0..branches.len())
            .filter(|&slot| branches[slot].branch.kind.separable().is_some())
            .collect();
        let read_by = |slot: usize, i: usize, x| match &firsts_views[slot] {
            Some(masked) => {
                let z = Samples::whole(&self.save.first[slot], len);
                [masked.get_or_empty(i), z.get_or_empty(i), x]
            }
            None => {
                let b = &branches[slot];
                let g = self.grads[b.node].get_or_empty(i);
                [g, b.values.get_or_empty(i), x]
            }
        };
        let runs = direction.runs_with(n, elements, make, |range, scratch| {
            let (padded, padded_g, [mid, dz, even, odd], dr, pool_scratch) = scratch;
            let mut grad = vec![0.0; if grad_wanted { count } else { 0 }];
            let mut dots = vec![0.0; of_target.map_or(0, Incoming::len)];
            let side = Padded::new(input.height, input.width);
            for i in range {
                let x = self.x.get(i);
                // SAFETY: each sample is visited once.
                let mut dx = target.as_ref().map(|t| unsafe { t.to.get(i) });
                let mut started = there;
                if let (Some(dx), Some(target)) = (&mut dx, &target) {
                    let start = match target.start {
                        Start::At(samples) => Some(Term::new(samples.get(i), &ones)),
                        Start::Nothing | Start::There => None,
                    };
                    let scales: Vec<_> = identities
                        .iter()
                        .map(|b| {
                            let f = factor(self.factors, b.branch.edge, i);
                            scaled(&b.coefficients.of_g, f)
                        })
                        .collect();
                    let others = identities
                        .iter()
                        .zip(&scales)
                        .map(|(b, scale)| Term::new(self.grads[b.node].get(i), scale));
                    let terms: Vec<Term<'_>> = start.into_iter().chain(others).collect();
                    if !terms.is_empty() {
                        exec.run(Combine {
                            terms: &terms,
                            base: &zeros,
                            blocks,
                            pixels,
                            dst: dx,
                            to: Place::Blocks,
                            add: there,
                        });
                        started = true;
                    } else if !there && !pools.is_empty() {
                        dx.fill(0.0);
                        started = true;
                    }
                    for pool in &pools {
                        pool.gradient(self, i, dz);
                        let (window, g, scratch) = (group.pool, &dz[..], &mut pool_scratch[..]);
                        if pool.max {
                            let at = &self.save.at[i * len..(i + 1) * len];
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
                // The first one replaces what the scratch holds.
                let mut in_dr = false;
                let mut gathered = false;
                for (slot, b) in branches.iter().enumerate() {
                    let wanted = grad_wanted.then_some(&mut grad[..]);
                    match (&b.branch.kind, &firsts[slot], &firsts_views[slot]) {
                        (Kind::Identity | Kind::Pool { .. }, ..) => continue,
                        (Kind::Sep { .. }, Some(first), Some(masked)) => {
                            let z = &self.save.first[slot][i * len..(i + 1) * len];
                            first.coefficients.apply(exec, masked.get(i), z, map, dz);
                        }
                        _ => self.dz(b, i, dz),
                    }
                    let dr = dx.is_some().then_some(&mut dr[..]);
                    if let Kind::Reduce { core, .. } = &b.branch.kind {
                        if let Some(grad) = wanted {
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
                            core.data_grad(exec, &transposed[slot], dz, mid, dr);
                        }
                    } else if let Some(core) = b.branch.kind.separable() {
                        let ahead = Ahead::new(match separable.iter().find(|&&s| s > slot) {
                            Some(&next) => read_by(next, i, &[]),
                            None => read_by(separable[0], i + 1, self.x.get_or_empty(i + 1)),
                        });
                        let args = SeparableGrad {
                            padded,
                            params,
                            transposed: &transposed[slot][0],
                            dz,
                            padded_g,
                            mid,
                            ahead,
                        };
                        core.backward(exec, args, dr, in_dr, wanted);
                    }
                    in_dr = true;
                }
                let Some(dx) = dx else { continue };
                match (in_dr, started) {
                    (true, add) => exec.run(ReluMask { x, g: dr, dx, add }),
                    (false, true) => {}
                    (false, false) => dx.fill(0.0),
                }
                if let Some(incoming) = of_target {
                    incoming.add(exec, self.factors, i, Part::from(&*dx), &mut dots);
                }
            }
            (grad, dots)
        });
        let (grads, dots): (Vec<_>, Vec<_>) = runs.into_iter().unzip();
        if let Some(incoming) = of_target {
            incoming.share(&sum_runs(dots), &mut sums.edges);
        }
        if grad_wanted {
            let mut grad = sum_runs(grads);
            for branch in group.branches() {
                if let Kind::Reduce { core, .. } = &branch.kind {
                    core.clear_padding(&mut grad);
                }
            }
            sums.params[at..at + count].copy_from_slice(&grad);
        }
    }
}

/// The gradient of a pool that several edges read, each perhaps through its norm.
pub(super) struct SharedPool<'a> {
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
            .filter(|b| matches!(b.branch.kind, Kind::Pool { max, .. } if max == which));
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
