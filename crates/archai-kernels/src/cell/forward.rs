//! The forward pass of a cell: state after state, what its edges compute, and each node as their weighted sum.

use super::group::{Group, GroupSave, moment};
use super::{CellSave, Factors, FusedCell, factor};
use crate::buffer::{Samples, SamplesMut, SharedSamples, overwritten};
use crate::exec::{Exec, Turn};
use crate::micro::norm::{Combine, Term};
use crate::micro::place::Place;
use crate::norm::{ChannelStats, Moments, scaled};
use crate::plain::place_channels;
use crate::simd::LANES;

impl FusedCell {
    /// Training: the concatenated nodes, and what the backward pass needs. `mixing` are the weights themselves (after
    /// softmax or whatever else), edge after edge.
    pub fn forward(
        &self,
        exec: &Exec,
        inputs: [&[f32]; 2],
        mixing: &[f32],
        params: &[f32],
    ) -> (Vec<f32>, CellSave) {
        self.pass(exec, inputs, mixing, params, None, Vec::new())
    }

    /// As [`FusedCell::forward`], with drop-path: for each edge that has some, the factors by which its result for each
    /// sample is multiplied.
    ///
    /// # Panics
    /// If there are not as many entries as edges, or not as many factors as samples.
    pub fn forward_dropping(
        &self,
        exec: &Exec,
        inputs: [&[f32]; 2],
        mixing: &[f32],
        params: &[f32],
        factors: Vec<Option<Vec<f32>>>,
    ) -> (Vec<f32>, CellSave) {
        let n = self.input.samples(inputs[0].len());
        assert!(
            factors.len() == self.edges.len() && factors.iter().flatten().all(|f| f.len() == n),
            "factors for {} edges given, the cell has {}, and there is one per sample ({n})",
            factors.len(),
            self.edges.len()
        );
        self.pass(exec, inputs, mixing, params, None, factors)
    }

    /// Evaluation: as [`FusedCell::forward`], with given statistics for every norm.
    pub fn infer(
        &self,
        exec: &Exec,
        inputs: [&[f32]; 2],
        mixing: &[f32],
        params: &[f32],
        stats: &[ChannelStats],
    ) -> Vec<f32> {
        assert!(
            stats.len() == self.norms.len(),
            "{} statistics given, the cell has {} norms",
            stats.len(),
            self.norms.len()
        );
        self.pass(exec, inputs, mixing, params, Some(stats), Vec::new())
            .0
    }

    fn pass(
        &self,
        exec: &Exec,
        inputs: [&[f32]; 2],
        mixing: &[f32],
        params: &[f32],
        given: Option<&[ChannelStats]>,
        factors: Factors,
    ) -> (Vec<f32>, CellSave) {
        let n = self.check(inputs, mixing, params);
        let (node, len) = (self.node, self.node.sample_len());
        let (output, whole) = (self.output(), self.output().sample_len());
        // SAFETY: the nodes' channels, and the padding behind them, make up every sample.
        let mut out = unsafe { overwritten::<f32>(n * whole) };
        if output.channels < output.padded_channels() {
            let padding = (output.blocks() - 1) * output.pixels() * LANES;
            out.chunks_exact_mut(whole)
                .for_each(|sample| sample[padding..].fill(0.0));
        }
        let joined = SharedSamples::whole(&mut out, whole);
        let mut separate: Vec<Vec<f32>> = (0..self.nodes)
            .map(|i| match self.in_output(i) {
                Some(_) => Vec::new(),
                // SAFETY: every sample is written by the node's weighted sum.
                None => unsafe { overwritten(n * len) },
            })
            .collect();
        let nodes: Vec<SharedSamples<'_>> = separate
            .iter_mut()
            .enumerate()
            .map(|(i, own)| match self.in_output(i) {
                Some(_) => joined.part(self.start(i), len),
                None => SharedSamples::whole(own, len),
            })
            .collect();
        let mut states: Vec<Samples<'_>> = inputs
            .iter()
            .map(|s| Samples::whole(s, self.input.sample_len()))
            .collect();
        // SAFETY: a node is read only after its weighted sum has been written.
        states.extend(nodes.iter().map(|v| unsafe { v.read() }));
        let mut moments: Vec<Option<Moments>> = match given {
            None => vec![None; self.norms.len()],
            Some(stats) => stats
                .iter()
                .map(|s| Some(Moments::given(s, node.channels)))
                .collect(),
        };
        let mut groups: Vec<GroupSave> = Vec::new();
        let mut turn = Turn::new(exec);
        for (state, x) in states.iter().enumerate() {
            if let Some(node) = state.checked_sub(2) {
                let sources = self.groups.iter().zip(&groups).zip(&states);
                let terms = self.weighted(node, sources, &moments, mixing, params);
                // SAFETY: the sum reads earlier nodes, whose channels are others; and where a node has a tensor of its
                // own, so have all nodes that are read, which therefore are not read in the output.
                let (own, joined) = unsafe {
                    let joined = self.in_output(node).is_none().then(|| joined.write());
                    (nodes[node].write(), joined)
                };
                self.mix(&turn.next(), n, node, &terms, &factors, (own, joined));
            }
            if let Some(group) = self.groups.get(state) {
                let norms = (&mut moments[..], &self.affine[..]);
                groups.push(group.forward(&mut turn, n, *x, params, norms, given.is_some()));
            }
        }
        drop((states, nodes));
        let moments = moments.into_iter().flatten().collect();
        (
            out,
            CellSave {
                groups,
                moments,
                nodes: separate,
                factors,
            },
        )
    }

    /// The summands of a node: the results of all its edges, norms folded in. `sources` are the groups, what they
    /// computed, and the states that they read.
    fn weighted<'a>(
        &self,
        node: usize,
        sources: impl Iterator<Item = ((&'a Group, &'a GroupSave), &'a Samples<'a>)>,
        moments: &[Option<Moments>],
        mixing: &[f32],
        params: &[f32],
    ) -> Vec<Weighted<'a>> {
        let c = self.node.padded_channels();
        let mut terms = Vec::new();
        for ((group, save), x) in sources {
            for (branch, values) in group.results(save, *x, |e| e.node == node) {
                let w = mixing[branch.weight];
                let (mut scale, mut shift) = match branch.kind.last_norm() {
                    None => (vec![1.0; c], vec![0.0; c]),
                    Some(norm) => {
                        let affine = self.affine[norm].map(|a| a.get(params));
                        moment(moments, norm).fold(affine)
                    }
                };
                scale.iter_mut().chain(&mut shift).for_each(|s| *s *= w);
                terms.push(Weighted {
                    values,
                    edge: branch.edge,
                    scale,
                    shift,
                });
            }
        }
        terms
    }

    /// Writes a node, the sum of `terms`, to `out.0`; if that is a tensor of its own, also to its channels of the
    /// cell's output, which is `out.1` then.
    fn mix(
        &self,
        exec: &Exec,
        n: usize,
        node: usize,
        terms: &[Weighted<'_>],
        factors: &Factors,
        out: (SamplesMut<'_>, Option<SamplesMut<'_>>),
    ) {
        let (map, len) = (self.node, self.node.sample_len());
        let to = self.in_output(node).unwrap_or(Place::Blocks);
        let elements = n * len * terms.len().max(1);
        exec.for_samples(n, elements, out, |i, (dst, joined)| {
            let mut base = vec![0.0; map.padded_channels()];
            let mut scales = Vec::with_capacity(terms.len());
            for term in terms {
                let f = factor(factors, term.edge, i);
                base.iter_mut()
                    .zip(&term.shift)
                    .for_each(|(b, s)| *b += f * s);
                // What is dropped is not read.
                if f != 0.0 {
                    scales.push((term.values.get(i), scaled(&term.scale, f)));
                }
            }
            let terms: Vec<Term<'_>> = scales
                .iter()
                .map(|(src, scale)| Term::new(*src, scale))
                .collect();
            exec.run(Combine {
                terms: &terms,
                base: &base,
                blocks: map.blocks(),
                pixels: map.pixels(),
                dst: &mut *dst,
                to,
                add: false,
            });
            if let Some(joined) = joined {
                place_channels(map, dst, node * map.channels, joined);
            }
        });
    }
}

/// A summand of a node: a result, its edge, and its scale and shift per channel.
struct Weighted<'a> {
    values: Samples<'a>,
    edge: usize,
    scale: Vec<f32>,
    shift: Vec<f32>,
}
