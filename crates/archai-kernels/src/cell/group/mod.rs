//! The edges that leave one state: what they consist of. Their passes are in `forward` and `backward`.

mod backward;
mod forward;

use super::CellWant;
use crate::buffer::Samples;
use crate::conv::{Reduce, Separable};
use crate::exec::Exec;
use crate::layout::FeatureMap;
use crate::micro::pad::{PadCopy, PadMap};
use crate::micro::pool::PoolWindow;
use crate::norm::Moments;
pub(super) use backward::{BackwardSums, GroupBackward, Start, Target};

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
    pub kind: BranchKind,
}

/// What a branch computes. Norms are given by their place in [`FusedCell::norms`](super::FusedCell::norms).
#[derive(Clone, Debug)]
pub(super) enum BranchKind {
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

impl BranchKind {
    /// The norm of the result that is added to the node.
    pub fn last_norm(&self) -> Option<usize> {
        match self {
            BranchKind::Identity => None,
            BranchKind::Pool { norm, .. } => *norm,
            BranchKind::Reduce { norm, .. } | BranchKind::Dil { norm, .. } => Some(*norm),
            BranchKind::Sep { norm2, .. } => Some(*norm2),
        }
    }

    /// The norm of the first (or only) convolution.
    pub fn first_norm(&self) -> Option<usize> {
        match self {
            BranchKind::Identity | BranchKind::Pool { .. } => None,
            BranchKind::Reduce { norm, .. }
            | BranchKind::Dil { norm, .. }
            | BranchKind::Sep { norm, .. } => Some(*norm),
        }
    }

    /// The first (or only) half of a separable convolution.
    pub fn separable(&self) -> Option<&Separable> {
        match self {
            BranchKind::Dil { core, .. } => Some(core),
            BranchKind::Sep { first, .. } => Some(first),
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

    pub fn any(&self, test: impl Fn(&BranchKind) -> bool) -> bool {
        self.branches().any(|b| test(&b.kind))
    }

    pub fn has_pool(&self, which: bool) -> bool {
        self.any(|k| matches!(k, BranchKind::Pool { max, .. } if *max == which))
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
                        BranchKind::Identity => x,
                        BranchKind::Pool { max: true, .. } => Samples::whole(&save.max, len),
                        BranchKind::Pool { max: false, .. } => Samples::whole(&save.avg, len),
                        BranchKind::Reduce { .. } | BranchKind::Dil { .. } => {
                            Samples::whole(&save.first[index], len)
                        }
                        BranchKind::Sep { .. } => Samples::whole(&save.second[index], len),
                    };
                    all.push((branch, values));
                }
                index += 1;
            }
        }
        all
    }

    /// The second halves of separable convolutions; `moments` gives the statistics of a norm, `affine` its scale and shift.
    pub fn second_halves<'a, 'b>(
        &'a self,
        branches: &[&'a Branch],
        moments: impl Fn(usize) -> &'b Moments,
        affine: impl Fn(usize) -> Option<(&'b [f32], &'b [f32])>,
        first: impl Fn(usize) -> Samples<'a>,
    ) -> Vec<SecondHalf<'a>> {
        let half = |(slot, branch): (usize, &&'a Branch)| match &branch.kind {
            BranchKind::Sep {
                norm,
                second,
                norm2,
                ..
            } => {
                let (scale, shift) = moments(*norm).fold(affine(*norm));
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
