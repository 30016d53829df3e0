//! The sums over a node's gradient that the gradients of its edges need, formed as soon as that gradient is complete.

use super::CellWant;
use super::group::{Group, GroupSave};
use super::{Factors, factor};
use crate::buffer::Samples;
use crate::exec::Exec;
use crate::layout::FeatureMap;
use crate::micro::norm::Dots;
use crate::micro::place::{ChannelSlice, Place};

/// A node's values or gradient.
#[derive(Clone, Copy)]
pub(super) struct NodeSamples<'a> {
    samples: Samples<'a>,
    at: Place,
}

impl<'a> NodeSamples<'a> {
    pub fn new(samples: Samples<'a>, at: Place) -> Self {
        NodeSamples { samples, at }
    }

    /// As [`Samples::get_or_empty`].
    pub fn get_or_empty(&self, i: usize) -> &'a [f32] {
        self.samples.get_or_empty(i)
    }

    pub fn get(&self, i: usize) -> ChannelSlice<'a> {
        ChannelSlice {
            values: self.samples.get(i),
            at: self.at,
        }
    }
}

/// The edges that lead to a node: their place among the cell's edges, and those of their results whose product with the
/// gradient is needed.
pub(super) struct Incoming<'a> {
    map: FeatureMap,
    edges: Vec<(usize, Vec<Samples<'a>>)>,
}

impl<'a> Incoming<'a> {
    pub fn new(
        node: usize,
        map: FeatureMap,
        groups: &'a [Group],
        saves: &'a [GroupSave],
        states: &[Samples<'a>],
        want: CellWant,
    ) -> Self {
        let mut edges = Vec::new();
        for ((group, save), x) in groups.iter().zip(saves).zip(states) {
            for edge in group.edges.iter().filter(|e| e.node == node) {
                let results = group.results(save, *x, |e| e.index == edge.index);
                let needed = results.into_iter().filter(|(b, _)| b.needs_dot(want));
                edges.push((edge.index, needed.map(|(_, values)| values).collect()));
            }
        }
        Incoming { map, edges }
    }

    /// The number of sums.
    pub fn len(&self) -> usize {
        let slots: usize = self.edges.iter().map(|(_, zs)| zs.len() + 1).sum();
        slots * self.map.padded_channels()
    }

    /// Adds the sums of sample `i`, whose gradient is `g`: for each edge `Σ g`, then `Σ g·z` for each result, all times
    /// the edge's factor.
    pub fn add(
        &self,
        exec: &Exec,
        factors: &Factors,
        i: usize,
        g: ChannelSlice<'_>,
        sums: &mut [f64],
    ) {
        let mut rest = sums;
        for (edge, results) in &self.edges {
            let (part, behind) =
                rest.split_at_mut((results.len() + 1) * self.map.padded_channels());
            rest = behind;
            let f = factor(factors, *edge, i);
            if results.is_empty() || f == 0.0 {
                continue;
            }
            let zs: Vec<&[f32]> = results.iter().map(|z| z.get(i)).collect();
            let dots = |sums: &mut [f64]| {
                exec.run(Dots {
                    g,
                    zs: &zs,
                    blocks: self.map.blocks(),
                    pixels: self.map.pixels(),
                    sums,
                });
            };
            if f == 1.0 {
                dots(part);
                continue;
            }
            let mut own = vec![0.0; part.len()];
            dots(&mut own);
            for (sum, own) in part.iter_mut().zip(own) {
                *sum += f64::from(f) * own;
            }
        }
    }

    /// Gives each edge its sums over the batch.
    pub fn share(&self, mut totals: &[f64], edges: &mut [Vec<f64>]) {
        for (edge, results) in &self.edges {
            let (own, behind) = totals.split_at((results.len() + 1) * self.map.padded_channels());
            edges[*edge] = own.to_vec();
            totals = behind;
        }
    }
}

/// The sums for nodes whose gradients are complete.
pub(super) fn sum(
    exec: Exec,
    n: usize,
    nodes: &[(&Incoming<'_>, NodeSamples<'_>)],
    factors: &Factors,
    edges: &mut [Vec<f64>],
) {
    let len: usize = nodes.iter().map(|(incoming, _)| incoming.len()).sum();
    let elements: usize = nodes
        .iter()
        .map(|(incoming, _)| incoming.len() * incoming.map.pixels())
        .sum();
    let totals = exec.sum_samples(n, n * elements, (), len, |i, (), sums| {
        let mut rest = sums;
        for (incoming, grads) in nodes {
            let (own, behind) = rest.split_at_mut(incoming.len());
            incoming.add(&exec, factors, i, grads.get(i), own);
            rest = behind;
        }
    });
    let mut rest = &totals[..];
    for (incoming, _) in nodes {
        let (own, behind) = rest.split_at(incoming.len());
        incoming.share(own, edges);
        rest = behind;
    }
}
