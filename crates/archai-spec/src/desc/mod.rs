//! Model descriptions: plain, versioned data that a search starts from and ends in. A description holds no weights, no
//! paths and no configuration; it can be generated, written by hand, checked, scaled, drawn, counted and compiled.

mod architecture;
mod builder;
mod catalog;
mod check;
mod cost;
pub mod draw;
mod error;
mod foreign;
mod genotype;
mod genotype_text;
mod import;
mod literal;
pub mod nasbench101;
pub mod nasbench201;
mod op;
mod table;
mod yaml;
pub mod zoo;

pub use architecture::{CellGroup, Difference};
pub use builder::{
    Built, CellPlan, DartsModelDescBuilder, DefaultModelDescBuilder, ModelDescBuilder, ModelPlan,
    StemsDesc, adapted, build, check_primitives, evaluated,
};
pub use catalog::{Arity, MAX_CHANNELS, OpCatalog, OpInfo, ParamInfo, ParamType};
pub use check::{CellShapes, MAX_CELL_INPUTS, MAX_SIZE, ModelShapes};
pub use cost::{CellCost, Cost, ModelCost};
pub use draw::{draw_dot, draw_svg};
pub use error::{DescError, DescErrorKind, DescErrors};
pub use foreign::{Foreign, Form};
pub use genotype::{Genotype, GenotypeEdge, from_genotype};
pub use genotype_text::Which;
pub use import::import_archai;
pub use op::{ChildDesc, Finalized, OpDesc, ParamValue};
pub use table::{ModelTable, PartRow};

pub use crate::ops::PRIMITIVES;

use serde::{Deserialize, Serialize};

/// Version of the YAML layout that this program writes. Newer files are refused.
pub const FORMAT_VERSION: u32 = 1;

/// A network: stems, cells, pool and classifier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelDesc {
    /// Version of the layout, [`FORMAT_VERSION`].
    pub version: u32,
    /// What goes in: the image.
    pub input: Shape,
    /// What comes out.
    pub n_classes: usize,
    /// Norms have learnt scales and shifts unless an op says otherwise. Searches have none, evaluations do.
    pub affine: bool,
    /// Edges that a node keeps when it is finalised.
    pub max_final_edges: usize,
    /// From the image to the first cell.
    pub stems: Vec<StemDesc>,
    /// Which stem gives which input of the first cell, one entry per input, so that it says how many outputs back a cell can
    /// read: at most [`MAX_CELL_INPUTS`]. `[0, 0]` is one shared stem for cells of two inputs, `[0, 1]` are two stems, `[0]`
    /// is a chain.
    pub stem_outputs: Vec<usize>,
    /// Cells, in order. A cell of n stems reads the last n outputs before it, those of cells i−n to i−1 (or of the stems).
    pub cells: Vec<CellDesc>,
    /// From the last cell to the classifier.
    pub pool: OpDesc,
    /// The classifier.
    pub logits: OpDesc,
}

/// A feature map without its batch dimension. `scale` says by how much height and width were divided since the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Channels.
    pub channels: usize,
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// Height and width of the image are this many times larger (rounded up where an odd size was halved).
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub scale: usize,
}

fn one() -> usize {
    1
}
fn is_one(n: &usize) -> bool {
    *n == 1
}

/// A stem: what makes the first states from the image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StemDesc {
    /// What it reads: `image`, or an earlier stem.
    pub input: StemInput,
    /// The op.
    pub op: OpDesc,
    /// What comes out.
    pub out: Shape,
}

/// What a stem reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StemInput {
    /// The image.
    Image,
    /// The output of an earlier stem.
    Stem(usize),
}

/// Kind of a cell. Cells of one kind share their architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CellType {
    /// Keeps height and width.
    Regular,
    /// Halves height and width.
    Reduction,
}

/// A cell: a small graph. With n stems, the states 0 to n−1 are the last n outputs before the cell, the previous cell's last,
/// each through its stem, and state n+k is node k. The cells of DARTS have two.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellDesc {
    /// Kind.
    pub cell_type: CellType,
    /// Index of the cell whose architecture parameters this cell uses; its own index where it owns them.
    pub alphas_from: usize,
    /// What brings each input to the cell's channels and size: one per input.
    pub stems: Vec<OpDesc>,
    /// Nodes, in order.
    pub nodes: Vec<NodeDesc>,
    /// Joins the states of `concat` into the output.
    pub post_op: OpDesc,
    /// States that go into the output, for example `[2, 3, 4, 5]`.
    pub concat: Vec<usize>,
    /// What comes out.
    pub out: Shape,
    /// Auxiliary classifier on the output, used in training only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aux_tower: Option<AuxTowerDesc>,
}

/// A node: the sum of its edges.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeDesc {
    /// Edges. A node without edges repeats the last state before it.
    pub edges: Vec<EdgeDesc>,
}

/// An edge: an op on one state (or on several, for ops that take several).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EdgeDesc {
    /// States that the op reads.
    pub inputs: Vec<usize>,
    /// The op.
    pub op: OpDesc,
}

/// An auxiliary classifier: ReLU, average pool of `window`×`window` pixels with `stride`, 1×1 convolution to 128, norm, ReLU,
/// 2×2 convolution to 768, norm (if `second_norm`), ReLU, mean of what pixels there are, linear. The papers' towers end in
/// one pixel and have no mean. [`AuxTowerDesc::on`] fits one to the size of the maps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuxTowerDesc {
    /// Channels of the cell that it reads.
    pub ch_in: usize,
    /// Classes.
    pub n_classes: usize,
    /// Stride of the pool.
    pub stride: usize,
    /// Height and width of the pool's windows: 5, except on maps that are too small for it.
    #[serde(default = "usual_window", skip_serializing_if = "is_usual_window")]
    pub window: usize,
    /// Whether the second convolution is followed by a norm.
    pub second_norm: bool,
}

/// The papers' window of a tower's pool.
const USUAL_WINDOW: usize = 5;

fn usual_window() -> usize {
    USUAL_WINDOW
}
fn is_usual_window(n: &usize) -> bool {
    *n == USUAL_WINDOW
}

impl AuxTowerDesc {
    /// The tower on maps of shape `input`: 5×5 windows at `stride`, as the papers have it, wherever they leave at least
    /// 2×2 cells, and on smaller maps the largest stride, then the largest windows, that leave 2×2.
    ///
    /// ```
    /// use archai_spec::desc::{AuxTowerDesc, Shape};
    /// let pool = |side| {
    ///     let tower = AuxTowerDesc::on(Shape::new(16, side, side), 10, 3, true)?;
    ///     Ok::<_, archai_spec::desc::DescError>((tower.window, tower.stride))
    /// };
    /// assert_eq!(pool(8)?, (5, 3), "CIFAR: images of 32 pixels");
    /// assert_eq!(pool(7)?, (5, 2), "images of 28 pixels, and ImageNet");
    /// assert_eq!(pool(4)?, (3, 1));
    /// # Ok::<(), archai_spec::desc::DescError>(())
    /// ```
    ///
    /// # Errors
    /// Maps that are one pixel high or wide.
    pub fn on(
        input: Shape,
        n_classes: usize,
        stride: usize,
        second_norm: bool,
    ) -> Result<Self, DescError> {
        let side = input.height.min(input.width);
        let (window, stride) = if side >= USUAL_WINDOW.saturating_add(stride) {
            (USUAL_WINDOW, stride)
        } else if side >= 2 {
            let window = USUAL_WINDOW.min(side - 1);
            (window, side - window)
        } else {
            return Err(DescError::new(
                DescErrorKind::Shape,
                format!(
                    "an auxiliary tower needs maps of at least 2×2 pixels, but the cell gives {input}; take larger images or \
                     fewer reductions, or set `aux_weight` to 0 for no tower"
                ),
            ));
        };
        Ok(AuxTowerDesc {
            ch_in: input.channels,
            n_classes,
            stride,
            window,
            second_norm,
        })
    }
}

impl NodeDesc {
    /// A node with these edges.
    pub fn new(edges: impl IntoIterator<Item = EdgeDesc>) -> Self {
        NodeDesc {
            edges: edges.into_iter().collect(),
        }
    }
}

impl EdgeDesc {
    /// An edge from one state.
    pub fn new(from: usize, op: OpDesc) -> Self {
        EdgeDesc {
            inputs: vec![from],
            op,
        }
    }
}

/// A vector of architecture parameters: the mixed edge that owns it, and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ArchKey {
    /// Index of the cell that owns the parameters; later cells of its kind use them too.
    pub cell: usize,
    /// Node within the cell.
    pub node: usize,
    /// Edge within the node.
    pub edge: usize,
    /// One parameter per child of the mixed op.
    pub n_alphas: usize,
}

impl ModelDesc {
    /// Whether any edge is still a choice: the description is a supernet and not finalised.
    pub fn has_alphas(&self) -> bool {
        self.cells
            .iter()
            .flat_map(|c| &c.nodes)
            .flat_map(|n| &n.edges)
            .any(|e| e.op.is_mixed())
    }
    /// Every owned vector of architecture parameters, by cell, node and edge.
    pub fn arch_keys(&self) -> Vec<ArchKey> {
        let mut keys = Vec::new();
        for (cell, desc) in self
            .cells
            .iter()
            .enumerate()
            .filter(|(i, c)| c.alphas_from == *i)
        {
            for (node, desc) in desc.nodes.iter().enumerate() {
                for (edge, desc) in desc
                    .edges
                    .iter()
                    .enumerate()
                    .filter(|(_, e)| e.op.is_mixed())
                {
                    keys.push(ArchKey {
                        cell,
                        node,
                        edge,
                        n_alphas: desc.op.children.len(),
                    });
                }
            }
        }
        keys
    }
    /// The same network without its auxiliary towers, which exist in training only.
    #[must_use]
    pub fn without_towers(&self) -> ModelDesc {
        let mut desc = self.clone();
        desc.cells.iter_mut().for_each(|cell| cell.aux_tower = None);
        desc
    }
    /// The first cell of a kind. Others may differ: [`ModelDesc::common_cell`] is the one that stands for all of them.
    pub fn first_cell(&self, cell_type: CellType) -> Option<&CellDesc> {
        self.cells.iter().find(|c| c.cell_type == cell_type)
    }
}

impl std::fmt::Display for CellType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            CellType::Regular => "regular",
            CellType::Reduction => "reduction",
        })
    }
}
