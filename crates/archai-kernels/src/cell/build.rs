//! Building a cell: its parameters and norms, and the groups of edges that leave one state.

use super::group::{Branch, BranchKind, Group, GroupEdge};
use super::{CellEdge, CellNorm, FusedCell, Primitive};
use crate::conv::{Reduce, Separable};
use crate::layout::{FeatureMap, Unsupported};
use crate::micro::depthwise::Window;
use crate::micro::pool::PoolWindow;
use crate::norm::NormParams;
use crate::pack::Packing;

impl FusedCell {
    /// A cell with inputs like `input` (both already brought to one size and number of channels). In a reduction cell
    /// the edges from the inputs have stride 2. Norms have neither scale nor shift.
    ///
    /// # Errors
    /// If an edge refers to a state that does not come before its node, or a primitive has no kernel for the geometry.
    pub fn new(
        input: FeatureMap,
        nodes: usize,
        reduction: bool,
        edges: Vec<CellEdge>,
    ) -> Result<Self, Unsupported> {
        Self::build(input, nodes, reduction, false, edges)
    }

    /// As [`FusedCell::new`], with learnt scales and shifts in the norms behind convolutions.
    ///
    /// # Errors
    /// As [`FusedCell::new`].
    pub fn with_affine_norms(
        input: FeatureMap,
        nodes: usize,
        reduction: bool,
        edges: Vec<CellEdge>,
    ) -> Result<Self, Unsupported> {
        Self::build(input, nodes, reduction, true, edges)
    }

    fn build(
        input: FeatureMap,
        nodes: usize,
        reduction: bool,
        affine: bool,
        edges: Vec<CellEdge>,
    ) -> Result<Self, Unsupported> {
        if nodes == 0 || input.channels == 0 || input.pixels() == 0 {
            return Err(Unsupported(format!(
                "a cell of {nodes} nodes on {input}: every size must be positive"
            )));
        }
        let stride = if reduction { 2 } else { 1 };
        let node = FeatureMap::new(
            input.channels,
            (input.height - 1) / stride + 1,
            (input.width - 1) / stride + 1,
        );
        if let Some(e) = edges
            .iter()
            .find(|e| e.node >= nodes || e.from >= e.node + 2)
        {
            return Err(Unsupported(format!(
                "an edge from state {} to node {}: the cell has {nodes} nodes, and node i can read the states 0 to \
                 i + 1",
                e.from, e.node
            )));
        }
        let mut cell = FusedCell {
            input,
            node,
            nodes,
            mixing_len: edges.iter().map(|e| e.primitives.len()).sum(),
            edges,
            layout: Packing::default(),
            norms: Vec::new(),
            affine: Vec::new(),
            groups: Vec::new(),
        };
        for from in 0..nodes + 1 {
            let group = cell.group(from, if from < 2 { stride } else { 1 }, affine)?;
            cell.groups.push(group);
        }
        let names = cell.layout.tensors().iter().map(|p| &p.name);
        let mut names: Vec<&String> = names.chain(cell.norms.iter().map(|n| &n.name)).collect();
        names.sort();
        if let Some(twice) = names.windows(2).find(|w| w[0] == w[1]) {
            return Err(Unsupported(format!(
                "two tensors of the cell are named {}: an edge can hold a primitive with weights or norms only once",
                twice[0]
            )));
        }
        Ok(cell)
    }

    fn group(&mut self, from: usize, stride: usize, affine: bool) -> Result<Group, Unsupported> {
        let (input, output) = (if from < 2 { self.input } else { self.node }, self.node);
        let mut builder = GroupBuilder {
            input,
            output,
            stride,
            affine,
            norms: &mut self.norms,
            packings: [Packing::default(), Packing::default()],
            learnt: Vec::new(),
        };
        let mut edges = Vec::new();
        let mut weight = 0;
        for (index, edge) in self.edges.iter().enumerate() {
            let row = weight;
            weight += edge.primitives.len();
            if edge.from != from {
                continue;
            }
            let mut branches = Vec::new();
            for (i, primitive) in edge.primitives.iter().enumerate() {
                let prefix = format!("node{}.edge{}.{}.", edge.node, edge.from, primitive.name());
                if let Some(kind) = builder.branch(*primitive, &prefix)? {
                    branches.push(Branch {
                        weight: row + i,
                        edge: index,
                        kind,
                    });
                }
            }
            edges.push(GroupEdge {
                index,
                node: edge.node,
                branches,
            });
        }
        let GroupBuilder {
            packings, learnt, ..
        } = builder;
        let [first, second] = packings.map(|packing| {
            let len = packing.len();
            (self.layout.append(packing), len)
        });
        self.affine.resize(self.norms.len(), None);
        for learnt in learnt {
            let (start, _) = match learnt.half {
                Half::First => first,
                Half::Second => second,
            };
            self.affine[learnt.norm] = Some(learnt.params.after(start));
        }
        let pool = PoolWindow {
            k: 3,
            stride,
            pad: 1,
            height: input.height,
            width: input.width,
        };
        Ok(Group {
            input,
            output,
            pool,
            edges,
            first,
            second,
        })
    }
}

/// A group while it is built.
struct GroupBuilder<'a> {
    input: FeatureMap,
    output: FeatureMap,
    stride: usize,
    /// Whether the norms behind convolutions learn scales and shifts.
    affine: bool,
    /// Of the whole cell.
    norms: &'a mut Vec<CellNorm>,
    /// The parameters of the first and of the second halves.
    packings: [Packing; 2],
    learnt: Vec<LearntNorm>,
}

/// The first (or only) or the second half of a separable convolution.
#[derive(Clone, Copy)]
enum Half {
    First,
    Second,
}

/// A norm with scale and shift.
struct LearntNorm {
    norm: usize,
    half: Half,
    /// Where these are among the parameters of the halves.
    params: NormParams,
}

impl GroupBuilder<'_> {
    /// What a primitive consists of; nothing for [`Primitive::None`]. Its parameters are named after `prefix`.
    fn branch(
        &mut self,
        primitive: Primitive,
        prefix: &str,
    ) -> Result<Option<BranchKind>, Unsupported> {
        let (channels, stride) = (self.output.channels, self.stride);
        Ok(Some(match primitive {
            Primitive::None => return Ok(None),
            Primitive::MaxPool { norm } => BranchKind::Pool {
                max: true,
                norm: norm.then(|| self.norm(prefix, 1)),
            },
            Primitive::AvgPool { norm } => BranchKind::Pool {
                max: false,
                norm: norm.then(|| self.norm(prefix, 1)),
            },
            Primitive::Skip if stride == 1 => BranchKind::Identity,
            Primitive::Skip => BranchKind::Reduce {
                core: Reduce::new(self.input, channels, &mut self.packings[0], prefix)?,
                norm: self.learnt_norm(Half::First, prefix, 1),
            },
            Primitive::Dil { kernel } => BranchKind::Dil {
                core: self.separable(Half::First, kernel, 2, prefix)?,
                norm: self.learnt_norm(Half::First, prefix, 1),
            },
            Primitive::Sep { kernel } => BranchKind::Sep {
                first: self.separable(Half::First, kernel, 1, prefix)?,
                norm: self.learnt_norm(Half::First, prefix, 1),
                second: self.separable(Half::Second, kernel, 1, prefix)?,
                norm2: self.learnt_norm(Half::Second, prefix, 2),
            },
        }))
    }

    fn separable(
        &mut self,
        half: Half,
        k: usize,
        dilation: usize,
        prefix: &str,
    ) -> Result<Separable, Unsupported> {
        let (input, stride, number) = match half {
            Half::First => (self.input, self.stride, 1),
            Half::Second => (self.output, 1, 3),
        };
        let window = Window {
            k,
            dilation,
            stride,
        };
        let (channels, packing) = (self.output.channels, &mut self.packings[half as usize]);
        Separable::new(input, channels, window, packing, prefix, number)
    }

    /// A norm without scale and shift.
    fn norm(&mut self, prefix: &str, number: usize) -> usize {
        self.norms.push(CellNorm {
            name: format!("{prefix}bn{number}"),
            channels: self.output.channels,
            pixels: self.output.pixels(),
        });
        self.norms.len() - 1
    }

    /// A norm behind a convolution.
    fn learnt_norm(&mut self, half: Half, prefix: &str, number: usize) -> usize {
        let norm = self.norm(prefix, number);
        if self.affine {
            let (name, channels) = (format!("{prefix}bn{number}"), self.output.channels);
            let params = NormParams::push(&mut self.packings[half as usize], &name, channels);
            self.learnt.push(LearntNorm { norm, half, params });
        }
        norm
    }
}
