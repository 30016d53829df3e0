//! Published networks and published cells by name.
//!
//! A network is a row of blocks. A block is a cell that reads the previous one alone: its stems are identities, state 1 is
//! its input, nodes are its layers and branches. Images of at most 64 pixels get the small stem of the networks' CIFAR
//! variants, larger ones ImageNet's. The op that ends a residual branch may be dropped by drop-path, which is stochastic
//! depth then; all others stay (`keep`).

use std::borrow::Cow;

use super::check::cell_out;
use super::genotype::GenotypeBuilder;
use super::{
    CellDesc, CellType, DescError, DescErrorKind, DescErrors, EdgeDesc, Genotype, ModelDesc,
    ModelDescBuilder, ModelPlan, NodeDesc, OpDesc, ParamValue, Shape, StemDesc, StemInput,
    StemsDesc,
};
use crate::settings::ModelDescSettings;

/// Largest image that gets a small stem, in pixels.
const SMALL: usize = 64;

/// What a name stands for.
#[derive(Clone, Copy, Debug)]
enum Arch {
    /// He et al. for CIFAR: so many basic blocks in each of three stages of 16, 32 and 64 channels, shortcuts without
    /// parameters (option A).
    ResNetSmall(usize),
    /// He et al. for ImageNet: blocks in each of four stages, bottlenecks or basic.
    ResNet([usize; 4], bool),
    /// Convolutions in each of five stages.
    Vgg([usize; 5]),
    /// Growth rate, layers in each block; bottlenecks and compression by half.
    DenseNet(usize, &'static [usize]),
    MobileNetV2,
    /// Depth and width.
    WideResNet(usize, usize),
    /// Cells in the notation of the original DARTS code.
    Cells(&'static str),
}

struct Entry {
    name: &'static str,
    about: &'static str,
    arch: Arch,
}

const fn entry(name: &'static str, arch: Arch, about: &'static str) -> Entry {
    Entry { name, about, arch }
}

const ZOO: &[Entry] = &[
    entry(
        "resnet20",
        Arch::ResNetSmall(3),
        "ResNet-20 for CIFAR, option A (He et al. 2016a): 0.27 M parameters",
    ),
    entry(
        "resnet32",
        Arch::ResNetSmall(5),
        "ResNet-32 for CIFAR, option A (He et al. 2016a): 0.46 M parameters",
    ),
    entry(
        "resnet44",
        Arch::ResNetSmall(7),
        "ResNet-44 for CIFAR, option A (He et al. 2016a): 0.66 M parameters",
    ),
    entry(
        "resnet56",
        Arch::ResNetSmall(9),
        "ResNet-56 for CIFAR, option A (He et al. 2016a): 0.85 M parameters",
    ),
    entry(
        "resnet110",
        Arch::ResNetSmall(18),
        "ResNet-110 for CIFAR, option A (He et al. 2016a): 1.7 M parameters",
    ),
    entry(
        "resnet18",
        Arch::ResNet([2, 2, 2, 2], false),
        "ResNet-18 (He et al. 2016a): 11.7 M parameters on ImageNet",
    ),
    entry(
        "resnet34",
        Arch::ResNet([3, 4, 6, 3], false),
        "ResNet-34 (He et al. 2016a): 21.8 M parameters on ImageNet",
    ),
    entry(
        "resnet50",
        Arch::ResNet([3, 4, 6, 3], true),
        "ResNet-50, stride in the 3×3 convolution (He et al. 2016a): 25.6 M parameters on ImageNet",
    ),
    entry(
        "vgg11_bn",
        Arch::Vgg([1, 1, 2, 2, 2]),
        "VGG-11 with norms (Simonyan and Zisserman 2015): 132.9 M parameters on ImageNet",
    ),
    entry(
        "vgg13_bn",
        Arch::Vgg([2, 2, 2, 2, 2]),
        "VGG-13 with norms (Simonyan and Zisserman 2015): 133.1 M parameters on ImageNet",
    ),
    entry(
        "vgg16_bn",
        Arch::Vgg([2, 2, 3, 3, 3]),
        "VGG-16 with norms (Simonyan and Zisserman 2015): 138.4 M parameters on ImageNet",
    ),
    entry(
        "vgg19_bn",
        Arch::Vgg([2, 2, 4, 4, 4]),
        "VGG-19 with norms (Simonyan and Zisserman 2015): 143.7 M parameters on ImageNet",
    ),
    entry(
        "densenet_bc_100_12",
        Arch::DenseNet(12, &[16, 16, 16]),
        "DenseNet-BC, 100 layers, growth 12 (Huang et al. 2017): 0.77 M parameters on CIFAR-10",
    ),
    entry(
        "densenet121",
        Arch::DenseNet(32, &[6, 12, 24, 16]),
        "DenseNet-121 (Huang et al. 2017): 8.0 M parameters on ImageNet",
    ),
    entry(
        "mobilenet_v2",
        Arch::MobileNetV2,
        "MobileNetV2 (Sandler et al. 2018): 3.5 M parameters on ImageNet",
    ),
    entry(
        "wide_resnet_16_4",
        Arch::WideResNet(16, 4),
        "WRN-16-4 (Zagoruyko and Komodakis 2016): 2.7 M parameters on CIFAR-10",
    ),
    entry(
        "wide_resnet_40_2",
        Arch::WideResNet(40, 2),
        "WRN-40-2 (Zagoruyko and Komodakis 2016): 2.2 M parameters on CIFAR-10",
    ),
    entry(
        "wide_resnet_28_10",
        Arch::WideResNet(28, 10),
        "WRN-28-10 (Zagoruyko and Komodakis 2016): 36.5 M parameters on CIFAR-10",
    ),
    entry(
        "darts_v1",
        Arch::Cells(
            "Genotype(normal=[('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 0), ('sep_conv_3x3', 1), \
             ('skip_connect', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 2)], normal_concat=range(2, 6), \
             reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 0), ('max_pool_3x3', 0), \
             ('skip_connect', 2), ('skip_connect', 2), ('avg_pool_3x3', 0)], reduce_concat=range(2, 6))",
        ),
        "cells of DARTS, first order (Liu et al. 2019)",
    ),
    entry(
        "darts_v2",
        Arch::Cells(
            "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), \
             ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=range(2, 6), \
             reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), \
             ('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=range(2, 6))",
        ),
        "cells of DARTS, second order (Liu et al. 2019)",
    ),
    entry(
        "pc_darts_cifar",
        Arch::Cells(
            "Genotype(normal=[('sep_conv_3x3', 1), ('skip_connect', 0), ('sep_conv_3x3', 0), ('dil_conv_3x3', 1), \
             ('sep_conv_5x5', 0), ('sep_conv_3x3', 1), ('avg_pool_3x3', 0), ('dil_conv_3x3', 1)], normal_concat=range(2, 6), \
             reduce=[('sep_conv_5x5', 1), ('max_pool_3x3', 0), ('sep_conv_5x5', 1), ('sep_conv_5x5', 2), ('sep_conv_3x3', 0), \
             ('sep_conv_3x3', 3), ('sep_conv_3x3', 1), ('sep_conv_3x3', 2)], reduce_concat=range(2, 6))",
        ),
        "cells of PC-DARTS found on CIFAR-10 (Xu et al. 2020)",
    ),
    entry(
        "nasnet_a",
        Arch::Cells(
            "Genotype(normal=[('sep_conv_5x5', 1), ('sep_conv_3x3', 0), ('sep_conv_5x5', 0), ('sep_conv_3x3', 0), \
             ('avg_pool_3x3', 1), ('skip_connect', 0), ('avg_pool_3x3', 0), ('avg_pool_3x3', 0), ('sep_conv_3x3', 1), \
             ('skip_connect', 1)], normal_concat=range(2, 7), reduce=[('sep_conv_5x5', 1), ('sep_conv_7x7', 0), \
             ('max_pool_3x3', 1), ('sep_conv_7x7', 0), ('avg_pool_3x3', 1), ('sep_conv_5x5', 0), ('skip_connect', 3), \
             ('avg_pool_3x3', 2), ('sep_conv_3x3', 2), ('max_pool_3x3', 1)], reduce_concat=range(4, 7))",
        ),
        "cells of NASNet-A (Zoph et al. 2018) as the DARTS code has them",
    ),
    entry(
        "amoebanet_a",
        Arch::Cells(
            "Genotype(normal=[('avg_pool_3x3', 0), ('max_pool_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_5x5', 2), \
             ('sep_conv_3x3', 0), ('avg_pool_3x3', 3), ('sep_conv_3x3', 1), ('skip_connect', 1), ('skip_connect', 0), \
             ('avg_pool_3x3', 1)], normal_concat=range(4, 7), reduce=[('avg_pool_3x3', 0), ('sep_conv_3x3', 1), \
             ('max_pool_3x3', 0), ('sep_conv_7x7', 2), ('sep_conv_7x7', 0), ('avg_pool_3x3', 1), ('max_pool_3x3', 0), \
             ('max_pool_3x3', 1), ('conv_7x1_1x7', 0), ('sep_conv_3x3', 5)], reduce_concat=[3, 4, 6])",
        ),
        "cells of AmoebaNet-A (Real et al. 2019) as the DARTS code has them",
    ),
];

fn find(name: &str) -> Option<&'static Entry> {
    ZOO.iter().find(|e| e.name == name)
}

/// All names, networks first.
pub fn names() -> impl Iterator<Item = &'static str> {
    ZOO.iter().map(|e| e.name)
}

/// One line on a name.
pub fn about(name: &str) -> Option<&'static str> {
    find(name).map(|e| e.about)
}

/// The cells of a name that stands for cells; none for whole networks.
pub fn genotype(name: &str) -> Option<Genotype> {
    match find(name)?.arch {
        Arch::Cells(text) => text.parse().ok(),
        _ => None,
    }
}

/// The builder of a name. A whole network's takes from the settings the data set alone (image, channels, classes), and as a
/// template its own description alone, for whatever data; the cells' takes the macro structure from the settings like any found cell.
///
/// ```
/// use archai_spec::desc::{OpCatalog, build, zoo};
/// # fn f(settings: &archai_spec::settings::ModelDescSettings) -> Result<(), Box<dyn std::error::Error>> {
/// let builder = zoo::builder("resnet20").ok_or("no such network")?;
/// let built = build(&*builder, settings, None, true, &OpCatalog::builtin())?;
/// # Ok(()) }
/// assert!(zoo::builder("resnet21").is_none());
/// ```
pub fn builder(name: &str) -> Option<Box<dyn ModelDescBuilder>> {
    let entry = find(name)?;
    match genotype(name) {
        Some(genotype) => Some(Box::new(GenotypeBuilder(Cow::Owned(genotype)))),
        None => Some(Box::new(Network(entry))),
    }
}

fn keep(op: OpDesc) -> OpDesc {
    op.with_param("keep", ParamValue::Bool(true))
}
fn same(name: &str, channels: usize) -> OpDesc {
    OpDesc::new(name, channels, channels)
}

/// Blocks so far.
struct Blocks<'a> {
    model: &'a ModelPlan<'a>,
    /// Outputs of the last two.
    inputs: [Shape; 2],
    cells: Vec<CellDesc>,
}

/// A block under construction.
#[derive(Default)]
struct Block {
    nodes: Vec<NodeDesc>,
}

impl Block {
    /// A node that adds up these (state, op); its state.
    fn node(&mut self, edges: impl IntoIterator<Item = (usize, OpDesc)>) -> usize {
        let edges = edges.into_iter().map(|(from, op)| EdgeDesc::new(from, op));
        self.nodes.push(NodeDesc::new(edges));
        self.nodes.len() + 1
    }
    /// A node of one op.
    fn then(&mut self, from: usize, op: OpDesc) -> usize {
        self.node([(from, op)])
    }
}

impl Blocks<'_> {
    fn channels(&self) -> usize {
        self.inputs[1].channels
    }
    fn push(&mut self, block: Block, concat: &[usize], post_op: OpDesc) -> Result<(), DescErrors> {
        let index = self.cells.len();
        let mut cell = CellDesc {
            cell_type: CellType::Regular,
            alphas_from: index,
            stems: self.inputs.map(|s| same("identity", s.channels)).to_vec(),
            nodes: block.nodes,
            post_op,
            concat: concat.to_vec(),
            out: self.inputs[1],
            aux_tower: None,
        };
        cell.out = cell_out(self.model.catalog, index, &cell, &self.inputs)?;
        if cell.out.scale != self.inputs[1].scale {
            cell.cell_type = CellType::Reduction;
        }
        self.inputs = [self.inputs[1], cell.out];
        self.cells.push(cell);
        Ok(())
    }

    /// Twice 3×3, or 1×1, 3×3, 1×1 to four times the width, beside a shortcut; ReLU on the sum.
    fn residual(
        &mut self,
        width: usize,
        stride: usize,
        bottleneck: bool,
        free_shortcut: bool,
    ) -> Result<(), DescErrors> {
        let (from, mut b) = (self.channels(), Block::default());
        let (inner, last, to) = match bottleneck {
            false => {
                let op = OpDesc::new("convbn_3x3", from, width).with_stride(stride);
                (b.then(1, keep(op)), same("nor_conv_3x3", width), width)
            }
            true => {
                let first = b.then(1, keep(OpDesc::new("convbn_1x1", from, width)));
                let op = same("nor_conv_3x3", width).with_stride(stride);
                let last = OpDesc::new("nor_conv_1x1", width, 4 * width);
                (b.then(first, keep(op)), last, 4 * width)
            }
        };
        let shortcut = match (stride, from == to, free_shortcut) {
            (1, true, _) => same("identity", to),
            (_, _, true) => OpDesc::new("fit_channels", from, to).with_stride(stride),
            _ => keep(OpDesc::new("convbn_1x1", from, to).with_stride(stride)),
        };
        let out = b.node([(inner, last), (1, shortcut)]);
        self.push(b, &[out], same("relu", to))
    }

    /// Twice norm, ReLU, 3×3 beside a shortcut; a convolved shortcut shares the first norm.
    fn wide(&mut self, to: usize, stride: usize) -> Result<(), DescErrors> {
        let (from, mut b) = (self.channels(), Block::default());
        let out = if from == to && stride == 1 {
            let inner = b.then(1, keep(same("bnreluconv_3x3", to)));
            b.node([
                (inner, same("bnreluconv_3x3", to)),
                (1, same("identity", to)),
            ])
        } else {
            let op = |name| keep(OpDesc::new(name, from, to).with_stride(stride));
            let active = b.then(1, same("bnrelu", from));
            let inner = b.then(active, op("conv_3x3"));
            b.node([
                (inner, same("bnreluconv_3x3", to)),
                (active, op("conv_1x1")),
            ])
        };
        self.push(b, &[out], same("identity", to))
    }

    /// Pointwise to `ratio` times the channels, depthwise, pointwise; beside the input where shapes agree.
    fn inverted(&mut self, to: usize, stride: usize, ratio: usize) -> Result<(), DescErrors> {
        let (from, mut b) = (self.channels(), Block::default());
        let (wide, mut state) = (ratio * from, 1);
        if ratio != 1 {
            state = b.then(1, keep(OpDesc::new("convbnrelu6_1x1", from, wide)));
        }
        state = b.then(
            state,
            keep(same("dwconvbnrelu6_3x3", wide).with_stride(stride)),
        );
        let last = OpDesc::new("convbn_1x1", wide, to);
        let out = match stride == 1 && from == to {
            true => b.node([(state, last), (1, same("identity", to))]),
            false => b.then(state, keep(last)),
        };
        self.push(b, &[out], same("identity", to))
    }

    /// A dense layer: norm, ReLU, 1×1, norm, ReLU, 3×3; its `growth` channels join its input.
    fn dense(&mut self, growth: usize) -> Result<(), DescErrors> {
        let (from, mut b) = (self.channels(), Block::default());
        let inner = b.then(1, keep(OpDesc::new("bnreluconv_1x1", from, 4 * growth)));
        let new = b.then(
            inner,
            keep(OpDesc::new("bnreluconv_3x3", 4 * growth, growth)),
        );
        self.push(b, &[1, new], same("concat_states", from + growth))
    }

    /// Between dense blocks: norm, ReLU, 1×1 to half of the channels, 2×2 average pool.
    fn transition(&mut self) -> Result<(), DescErrors> {
        let (from, mut b) = (self.channels(), Block::default());
        let half = from / 2;
        let inner = b.then(1, keep(OpDesc::new("bnreluconv_1x1", from, half)));
        let out = b.then(inner, same("avg_pool_2x2", half));
        self.push(b, &[out], same("identity", half))
    }
}

/// A whole network.
struct Network(&'static Entry);

fn is_small(settings: &ModelDescSettings) -> bool {
    settings.dataset.size.iter().all(|&n| n <= SMALL)
}

impl Network {
    /// The op on the image.
    fn stem(&self, image: usize, small: bool) -> OpDesc {
        let (small_op, channels) = match self.0.arch {
            Arch::ResNetSmall(_) => ("stem_conv3x3Relu", 16),
            Arch::ResNet(..) => ("stem_conv3x3Relu", 64),
            Arch::DenseNet(growth, _) => ("conv_3x3", 2 * growth),
            Arch::WideResNet(..) => ("conv_3x3", 16),
            Arch::Vgg(_) => {
                let op = OpDesc::new("convbnrelu_3x3", image, 64);
                return if small { op } else { biased(op) };
            }
            Arch::MobileNetV2 => {
                let stride = if small { 1 } else { 2 };
                return OpDesc::new("convbnrelu6_3x3", image, 32).with_stride(stride);
            }
            // Cells have a builder of their own.
            Arch::Cells(_) => ("stem_conv3x3", 1),
        };
        let name = if small {
            small_op
        } else {
            "stem_conv7x7_s2_pool"
        };
        OpDesc::new(name, image, channels)
    }
}

/// Whether two blocks are the same but for the size of what they give.
fn same_but_size(a: &CellDesc, b: &CellDesc) -> bool {
    let parts = |c: &CellDesc| (c.cell_type, c.stems.clone(), c.concat.clone());
    parts(a) == parts(b) && a.nodes == b.nodes && a.post_op == b.post_op
}

fn biased(op: OpDesc) -> OpDesc {
    op.with_param("bias", ParamValue::Bool(true))
}

impl ModelDescBuilder for Network {
    fn reduction_indices(&self, _settings: &ModelDescSettings) -> Result<Vec<usize>, DescError> {
        Ok(Vec::new())
    }

    fn model_stems(&self, model: &ModelPlan<'_>) -> Result<StemsDesc, DescError> {
        let op = self.stem(model.input.channels, is_small(model.settings));
        model.catalog.check(&op).map_err(|e| e.at("stem"))?;
        let out = model
            .catalog
            .out_shape(&op, &[model.input])
            .map_err(|e| e.at("stem"))?;
        let input = StemInput::Image;
        Ok(StemsDesc {
            stems: vec![StemDesc { input, op, out }],
            outputs: vec![0, 0],
        })
    }

    fn cells(&self, model: &ModelPlan<'_>, inputs: &[Shape]) -> Result<Vec<CellDesc>, DescErrors> {
        self.blocks(model, inputs).map_err(|errors| {
            let is_of_size = |error: &DescError| error.kind == DescErrorKind::Shape;
            match self.least_side(model).filter(|_| errors.0.iter().any(is_of_size)) {
                None => errors,
                Some(side) => {
                    let [height, width] = model.settings.dataset.size;
                    let message = format!(
                        "`{}` takes images of {side}×{side} pixels and more, and these have {height}×{width}; set dataset.size to \
                         at least that, or choose another network ({})",
                        self.0.name,
                        errors.0[0]
                    );
                    DescError::new(DescErrorKind::Shape, message).into()
                }
            }
        })
    }

    fn model_pool(&self, model: &ModelPlan<'_>, out: Shape) -> Result<OpDesc, DescError> {
        Ok(same(
            match self.0.arch {
                Arch::DenseNet(..) | Arch::WideResNet(..) => "bnrelu_pool_avg2d",
                Arch::Vgg(_) if !is_small(model.settings) => "identity",
                _ => "pool_adaptive_avg2d",
            },
            out.channels,
        ))
    }

    fn notes(&self, model: &ModelPlan<'_>, _desc: &ModelDesc) -> Vec<String> {
        let name = self.0.name;
        let mut notes = vec![format!(
            "`{name}` is a whole network: of the settings it takes the data set alone; `n_cells`, `n_reductions`, \
             `max_final_edges`, `model_stems`, `cell`, `model_post_op` and the auxiliary tower's keys are not used"
        )];
        let small = is_small(model.settings);
        match self.0.arch {
            Arch::ResNetSmall(_) | Arch::WideResNet(..) if !small => notes.push(format!(
                "`{name}` is published for images of 32 pixels; larger ones get ImageNet's stem before it"
            )),
            Arch::Vgg(_) if small => notes.push(format!(
                "`{name}` on small images has one linear layer behind the convolutions, which have no bias"
            )),
            Arch::Vgg(_) => notes.push(format!(
                "`{name}` has no dropout between its linear layers; the published parameter count holds for images of 224 pixels"
            )),
            Arch::MobileNetV2 => notes.push(format!("`{name}` has no dropout before its classifier")),
            _ => {}
        }
        notes
    }
}

impl Network {
    /// The least side that both sides of an image need at least, so that the network can be built on it; the longer one stays. None
    /// if no side helps.
    fn least_side(&self, model: &ModelPlan<'_>) -> Option<usize> {
        (1..=SMALL).find(|&least| {
            let mut settings = model.settings.clone();
            settings.dataset.size = settings.dataset.size.map(|side| side.max(least));
            let [height, width] = settings.dataset.size;
            let input = Shape {
                height,
                width,
                ..model.input
            };
            let model = ModelPlan {
                settings: &settings,
                template: None,
                input,
                ..model.clone()
            };
            let stems = self.model_stems(&model);
            stems.is_ok_and(|stems| {
                let out = stems.stems[0].out;
                self.blocks(&model, &[out, out]).is_ok()
            })
        })
    }

    /// The blocks behind the stem.
    fn blocks(&self, model: &ModelPlan<'_>, inputs: &[Shape]) -> Result<Vec<CellDesc>, DescErrors> {
        // Blocks are cells of two inputs, whose stems above are two.
        let &[first, second] = inputs else {
            let message = format!(
                "the blocks of a network have 2 inputs, not {}",
                inputs.len()
            );
            return Err(DescError::new(DescErrorKind::Structure, message).into());
        };
        let inputs = [first, second];
        let small = is_small(model.settings);
        let mut blocks = Blocks {
            model,
            inputs,
            cells: Vec::new(),
        };
        match self.0.arch {
            Arch::ResNetSmall(n) => {
                for stage in 0..3 {
                    for i in 0..n {
                        let stride = if stage > 0 && i == 0 { 2 } else { 1 };
                        blocks.residual(16 << stage, stride, false, true)?;
                    }
                }
            }
            Arch::ResNet(stages, bottleneck) => {
                for (stage, n) in stages.into_iter().enumerate() {
                    for i in 0..n {
                        let stride = if stage > 0 && i == 0 { 2 } else { 1 };
                        blocks.residual(64 << stage, stride, bottleneck, false)?;
                    }
                }
            }
            Arch::WideResNet(depth, width) => {
                for stage in 0..3 {
                    for i in 0..(depth - 4) / 6 {
                        let stride = if stage > 0 && i == 0 { 2 } else { 1 };
                        blocks.wide(width * (16 << stage), stride)?;
                    }
                }
            }
            Arch::DenseNet(growth, layers) => {
                for (i, &n) in layers.iter().enumerate() {
                    for _ in 0..n {
                        blocks.dense(growth)?;
                    }
                    if i + 1 < layers.len() {
                        blocks.transition()?;
                    }
                }
            }
            Arch::MobileNetV2 => {
                // (ratio, channels, blocks, stride of the first), table 2 of the paper.
                for (ratio, to, n, stride) in [
                    (1, 16, 1, 1),
                    (6, 24, 2, if small { 1 } else { 2 }),
                    (6, 32, 3, 2),
                    (6, 64, 4, 2),
                    (6, 96, 3, 1),
                    (6, 160, 3, 2),
                    (6, 320, 1, 1),
                ] {
                    for i in 0..n {
                        blocks.inverted(to, if i == 0 { stride } else { 1 }, ratio)?;
                    }
                }
                let (from, mut b) = (blocks.channels(), Block::default());
                let out = b.then(1, keep(OpDesc::new("convbnrelu6_1x1", from, 1280)));
                blocks.push(b, &[out], same("identity", 1280))?;
            }
            Arch::Vgg(stages) => {
                for (stage, n) in stages.into_iter().enumerate() {
                    let (mut from, mut b) = (blocks.channels(), Block::default());
                    let (to, mut state) = ((64 << stage).min(512), 1);
                    // The stem is the first convolution.
                    for _ in usize::from(stage == 0)..n {
                        let op = keep(OpDesc::new("convbnrelu_3x3", from, to));
                        state = b.then(state, if small { op } else { biased(op) });
                        from = to;
                    }
                    let out = b.then(state, same("max_pool_2x2", to));
                    blocks.push(b, &[out], same("identity", to))?;
                }
                if !small {
                    let (last, mut b) = (blocks.inputs[1], Block::default());
                    let features = last.channels * last.height * last.width;
                    let hidden = b.then(1, OpDesc::new("linear_relu", features, 4096));
                    let out = b.then(hidden, same("linear_relu", 4096));
                    blocks.push(b, &[out], same("identity", 4096))?;
                }
            }
            Arch::Cells(_) => {}
        }
        // The description of the same network for other images or classes is all that can be a template.
        if let Some(template) = model.template
            && !(template.cells.len() == blocks.cells.len()
                && (template.cells.iter().zip(&blocks.cells)).all(|(a, b)| same_but_size(a, b)))
        {
            return Err(DescError::new(
                DescErrorKind::Template,
                format!(
                    "`{}` is a whole network and has no place for the cells of another description, or for edited ones; build \
                     it without, or name the network that the description was made from",
                    self.0.name
                ),
            )
            .into());
        }
        Ok(blocks.cells)
    }
}
