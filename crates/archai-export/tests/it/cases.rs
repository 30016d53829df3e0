//! Networks on which files for other programs are tried: every op of the catalogue, random networks of every space, and the
//! zoo, all small, with numbers such as a trained network has. Used by the tests and by the example `interop_cases`.

use archai_export::NamedTensor;
use archai_export::reference::{Maps, Reference};
use archai_search::space::{SearchSpace, Space, shipped_text};
use archai_spec::desc::nasbench101::{Cell101, NasBench101Builder};
use archai_spec::desc::{
    Arity, CellDesc, CellType, DescError, DescErrorKind, EdgeDesc, FORMAT_VERSION, ModelDesc,
    ModelDescBuilder, NodeDesc, OpCatalog, OpDesc, OpInfo, ParamType, ParamValue, Shape, StemDesc,
    StemInput, build, zoo,
};
use archai_spec::finalize::Supernet;
use archai_spec::graph::Graph;
use archai_spec::ops::{ConvShape, Layer, LayerBuilder, NOISE, ParamKind, PoolShape, Value};
use archai_spec::rng::Key;
use archai_spec::settings::{ModelDescSettings, Settings, StemWiring};
use archai_spec::spaces;

/// A network to try.
pub struct Case {
    /// What it stands for: `op sep_conv_3x3`, `space darts`, `zoo resnet20`.
    pub group: String,
    /// Its name among those of the group.
    pub name: String,
    /// The network.
    pub desc: ModelDesc,
}

fn case(group: &str, name: impl ToString, desc: ModelDesc) -> Case {
    Case {
        group: group.to_string(),
        name: name.to_string(),
        desc,
    }
}

/// Sizes of maps on which ops are tried: even, and odd where the op can.
const SIZES: [[usize; 2]; 3] = [[8, 8], [7, 9], [14, 8]];

/// Layers that no built-in op has, or not with these numbers, as ops of a user.
struct OfLayers(
    &'static str,
    fn(&OpDesc, Value, &mut LayerBuilder<'_>) -> Value,
);

impl OpInfo for OfLayers {
    fn name(&self) -> &str {
        self.0
    }
    fn summary(&self) -> &str {
        "layers on which exporters are tried"
    }
    fn check(&self, op: &OpDesc, _: &OpCatalog) -> Result<(), DescError> {
        match op.ch_in == 6 {
            true => Ok(()),
            false => Err(DescError::new(DescErrorKind::Param, "expected 6 channels")),
        }
    }
    fn lower(
        &self,
        op: &OpDesc,
        inputs: &[Value],
        b: &mut LayerBuilder<'_>,
    ) -> Result<Value, DescError> {
        Ok((self.1)(op, inputs[0], b))
    }
}

/// The built-in ops, and ops of layers that these do not have.
pub fn catalog() -> OpCatalog {
    let ops = [
        OfLayers("padding_counts", |op, x, b| {
            let window = PoolShape::centred(3, op.stride);
            let layer = Layer::AvgPool {
                window,
                count_include_pad: true,
            };
            b.layer(layer, &[x])
        }),
        OfLayers("crop", |_, x, b| {
            b.layer(Layer::Crop { top: 2, left: 1 }, &[x])
        }),
        OfLayers("every_third", |_, x, b| {
            b.layer(Layer::Subsample { stride: 3 }, &[x])
        }),
        OfLayers("odd_conv", |op, x, b| {
            let conv = ConvShape {
                kernel: [3, 2],
                stride: [op.stride, 1],
                padding: [0, 2],
                dilation: 2,
                groups: 3,
                bias: true,
                ..ConvShape::new(6, op.ch_out, 1)
            };
            b.conv(x, conv)
        }),
        OfLayers("not_affine", |_, x, b| {
            let norm = Layer::Norm {
                channels: 6,
                affine: false,
            };
            b.layer(norm, &[x])
        }),
        // A norm behind a concatenation that something else reads, too, and one whose convolution is read twice.
        OfLayers("shared", |op, x, b| {
            let conv = b.conv(x, ConvShape::new(6, 4, 1));
            let both = b.concat(&[x, conv]);
            let norm = b.norm(both, 10);
            let other = b.norm(conv, 4);
            let all = b.concat(&[both, norm, other, x]);
            b.conv(all, ConvShape::new(30, op.ch_out, 1))
        }),
        OfLayers("three_summands", |_, x, b| {
            let (y, z) = (b.relu(x), b.relu6(x));
            b.add(&[x, y, z])
        }),
        // On numbers without height and width, and back to maps.
        OfLayers("flat", |op, x, b| {
            let mean = b.layer(Layer::GlobalMean, &[x]);
            let flat = b.layer(Layer::Flatten, &[mean]);
            let relu = b.relu(flat);
            let both = b.concat(&[flat, relu]);
            let sum = b.add(&[both, both]);
            let some = b.layer(Layer::TakeChannels { channels: 7 }, &[sum]);
            let wide = b.layer(
                Layer::PadChannels {
                    before: 1,
                    after: 2,
                },
                &[some],
            );
            let norm = b.norm(wide, 10);
            let conv = b.conv(norm, ConvShape::new(10, op.ch_out, 1));
            let linear = |bias| Layer::Linear {
                n_in: op.ch_out,
                n_out: op.ch_out,
                bias,
            };
            let (y, z) = (
                b.layer(linear(true), &[conv]),
                b.layer(linear(false), &[conv]),
            );
            let y = b.norm(y, op.ch_out);
            let zero = b.layer(Layer::Zero { stride: op.stride }, &[z]);
            b.add(&[y, z, zero, conv])
        }),
    ];
    let mut catalog = OpCatalog::builtin();
    for op in ops {
        catalog.register(op).unwrap_or_else(|e| panic!("{e}"));
    }
    catalog
}

/// Every op of the catalogue that a found network can have: each stride, with as many channels as before and with another
/// number, on even and odd maps, and with all truth values of its parameters set.
pub fn ops(catalog: &OpCatalog) -> Vec<Case> {
    let mut cases = Vec::new();
    // Of random numbers there is nothing to compare.
    for info in catalog.iter().filter(|info| info.name() != NOISE) {
        let group = format!("op {}", info.name());
        let before = cases.len();
        let flags = info.params().iter().filter(|p| p.ty == ParamType::Bool);
        let flags: Vec<&str> = flags.map(|p| p.name).collect();
        let inputs: &[usize] = match info.arity() {
            Arity::Any => &[0, 1, 2],
            Arity::Fixed(_) => &[0],
        };
        for ([h, w], stride) in SIZES.iter().flat_map(|size| [(size, 1), (size, 2)]) {
            // As many channels as before, more, fewer, joined, all numbers of a map, or those of several states together.
            let channels = [(6, 6), (6, 10), (6, 4), (6, 18), (6 * h * w, 5), (18, 18)];
            let networks = channels.into_iter().filter_map(|(ch_in, ch_out)| {
                let mut op = OpDesc::new(info.name(), ch_in, ch_out).with_stride(stride);
                for flag in flags.iter().filter(|_| ch_in != ch_out) {
                    op = op.with_param(flag, ParamValue::Bool(true));
                }
                if info.has_children() {
                    let names = ["sep_conv_3x3", "max_pool_3x3", "skip_connect"];
                    let children = names.map(|n| OpDesc::new(n, 6, 6).with_stride(stride));
                    op = op.with_children(children);
                }
                let name = format!("{h}x{w}_s{stride}_{ch_in}_{ch_out}");
                Some(case(&group, name, around(&op, inputs, [*h, *w], catalog)?))
            });
            cases.extend(networks.take(2));
        }
        assert!(
            cases.len() > before || is_choice(info.name()),
            "no case of {group}"
        );
    }
    cases
}

/// Ops with parameters of their own: each activation, each gate, a dropout.
pub fn parametric(catalog: &OpCatalog) -> Vec<Case> {
    let text = |op: OpDesc, name, value: &str| op.with_param(name, ParamValue::Text(value.into()));
    let size = [7, 9];
    let features = 6 * size[0] * size[1];
    let mut ops = Vec::new();
    for act in ["hswish", "gelu", "silu"] {
        for (name, ch_in, ch_out) in [
            ("activation", 6, 6),
            ("conv", 6, 10),
            ("dwconv", 6, 6),
            ("dense", features, 5),
        ] {
            ops.push((act, text(OpDesc::new(name, ch_in, ch_out), "act", act)));
        }
    }
    for gate in ["hsigmoid", "sigmoid"] {
        ops.push((
            gate,
            text(OpDesc::new("squeeze_excite", 6, 6), "gate", gate),
        ));
    }
    let dropout = ParamValue::Float(0.3);
    ops.push((
        "dropout",
        OpDesc::new("dense", features, 5).with_param("dropout", dropout),
    ));
    let cases = ops.into_iter().map(|(what, op)| {
        let group = format!("op {} {what}", op.name);
        let desc = around(&op, &[0], size, catalog);
        case(
            &group,
            0,
            desc.unwrap_or_else(|| panic!("no case of {group}")),
        )
    });
    cases.collect()
}

/// Shipped spaces of discrete search whose members other cases do not have.
const SEARCHED: [&str; 4] = ["mlp", "mobile", "ofa_mobilenet_v3", "resnet"];

/// Random members of the shipped spaces of discrete search, on small images and with few classes.
pub fn searched(n: usize) -> Vec<Case> {
    let mut cases = Vec::new();
    for name in SEARCHED {
        let text = shipped_text(name).unwrap_or_else(|e| panic!("{e}"));
        let text = text
            .replace("[32, 32]", "[8, 8]")
            .replace("[224, 224]", "[32, 32]")
            .replace("classes: 1000", "classes: 10");
        let space = Space::parse(name, &text).unwrap_or_else(|e| panic!("{e}"));
        for i in 0..n {
            let member = space.sample(Key::new(i as u64).with(name));
            let desc = member.and_then(|member| space.describe(&member));
            let desc = desc.unwrap_or_else(|e| panic!("{name}: {e}"));
            cases.push(case(&format!("space {name}"), i, desc));
        }
    }
    cases
}

/// A mixed op is a choice and in no found network.
fn is_choice(name: &str) -> bool {
    OpDesc::mixed(&["relu"], 1, 1).name == name
}

/// A network of one cell whose last node is `op`, and a classifier that sees every number which the op gives; none if the op
/// is not for these shapes.
fn around(
    op: &OpDesc,
    inputs: &[usize],
    size: [usize; 2],
    catalog: &OpCatalog,
) -> Option<ModelDesc> {
    let states = Shape::new(6, size[0], size[1]);
    let shapes: Vec<Shape> = inputs.iter().map(|_| states).collect();
    catalog.check(op).ok()?;
    let out = catalog.out_shape(op, &shapes).ok()?;
    if op.is_mixed() {
        return None;
    }
    let same = |name: &str, channels| OpDesc::new(name, channels, channels);
    // The cell's two inputs are alike, but the first node is not.
    let first = NodeDesc::new([EdgeDesc::new(0, same("conv_3x3", 6))]);
    let last = NodeDesc::new([EdgeDesc {
        inputs: inputs.to_vec(),
        op: op.clone(),
    }]);
    let desc = ModelDesc {
        version: FORMAT_VERSION,
        input: Shape::new(3, size[0], size[1]),
        n_classes: 10,
        affine: true,
        max_final_edges: 2,
        stems: vec![StemDesc {
            input: StemInput::Image,
            op: OpDesc::new("stem_conv3x3", 3, 6),
            out: states,
        }],
        stem_outputs: vec![0, 0],
        cells: vec![CellDesc {
            cell_type: CellType::Regular,
            alphas_from: 0,
            stems: vec![same("identity", 6), same("identity", 6)],
            nodes: vec![first, last],
            post_op: same("identity", out.channels),
            concat: vec![3],
            out,
            aux_tower: None,
        }],
        pool: same("identity", out.channels),
        logits: OpDesc::new("linear", out.channels * out.height * out.width, 10),
    };
    desc.check(catalog)
        .unwrap_or_else(|e| panic!("{}: {e}", op.name));
    Some(desc)
}

fn settings(
    n_cells: usize,
    n_reductions: usize,
    n_nodes: usize,
    channels: usize,
) -> ModelDescSettings {
    let shipped = Settings::shipped("cifar10").expect("a shipped data set");
    let mut settings = shipped.nas.search.model_desc;
    settings.n_cells = n_cells;
    settings.n_reductions = n_reductions;
    settings.model_stems.init_node_ch = channels;
    settings.cell.n_nodes = n_nodes;
    settings.dataset.size = [8, 8];
    settings.aux_weight = 0.0;
    settings
}

fn built(
    builder: &dyn ModelDescBuilder,
    settings: &ModelDescSettings,
    template: Option<&ModelDesc>,
    catalog: &OpCatalog,
) -> ModelDesc {
    let built = build(builder, settings, template, true, catalog);
    built.unwrap_or_else(|e| panic!("{e}")).desc
}

/// Random networks of each space, scaled as for an evaluation.
pub fn drawn(n: usize, catalog: &OpCatalog) -> Vec<Case> {
    let mut cases = Vec::new();
    for space in spaces::builtin().iter() {
        let mut s = settings(3, 1, 3, 4);
        if space.name() == spaces::NASBENCH201 {
            s = settings(5, 2, 3, 4);
            s.max_final_edges = 3;
            s.model_post_op = "bnrelu_pool_avg2d".into();
            s.model_stems.stem_multiplier = 1;
            s.model_stems.wiring = StemWiring::Shared;
            s.cell.cell_post_op = "identity".into();
        }
        let supernet = space
            .supernet(&s, catalog)
            .unwrap_or_else(|e| panic!("{e}"))
            .desc;
        for i in 0..n {
            let key = Key::new(i as u64).with(space.name());
            let found = space.draw(Supernet::new(&supernet, catalog), &key);
            let found = found.unwrap_or_else(|e| panic!("{e}"));
            let desc = built(space.builder(), &s, Some(&found), catalog);
            cases.push(case(&format!("space {}", space.name()), i, desc));
        }
    }
    let mut s = settings(5, 1, 5, 10);
    s.model_stems.ops = ["stem_conv3x3Relu".into(), "stem_conv3x3Relu".into()];
    s.model_stems.stem_multiplier = 1;
    s.model_stems.wiring = StemWiring::Shared;
    s.model_post_op = "pool_mean_tensor".into();
    s.cell.cell_post_op = "identity".into();
    for i in 0..n {
        let mut rng = Key::new(i as u64).with("nasbench101").rng();
        let cell = Cell101::random(|n| rng.uniform_u32_below(n)).expect("a cell can be drawn");
        let desc = built(&NasBench101Builder { cell: Some(cell) }, &s, None, catalog);
        cases.push(case("space nasbench101", i, desc));
    }
    cases
}

/// The networks of the zoo on small images; those that are many times larger than others of their kind are left out.
pub fn of_zoo(catalog: &OpCatalog) -> Vec<Case> {
    let left_out = |name: &str| {
        [
            "resnet110",
            "resnet34",
            "vgg13_bn",
            "vgg16_bn",
            "vgg19_bn",
            "wide_resnet_28_10",
            "densenet121",
        ]
        .contains(&name)
    };
    let mut cases = Vec::new();
    for name in zoo::names().filter(|name| !left_out(name)) {
        let mut s = settings(5, 2, 4, 8);
        let side = if ["vgg11_bn", "mobilenet_v2"].contains(&name) {
            32
        } else {
            16
        };
        s.dataset.size = [side, side];
        let builder = zoo::builder(name).expect("a name of the zoo");
        cases.push(case(
            &format!("zoo {name}"),
            name,
            built(&*builder, &s, None, catalog),
        ));
    }
    cases
}

/// Networks for the pictures of Fashion-MNIST.
pub fn for_pictures(catalog: &OpCatalog) -> Vec<Case> {
    let network = |name: &str| {
        let mut s = settings(5, 2, 4, 8);
        (s.dataset.size, s.dataset.channels) = ([28, 28], 1);
        let builder = zoo::builder(name).expect("a name of the zoo");
        case("pictures", name, built(&*builder, &s, None, catalog))
    };
    ["darts_v2", "resnet20"].map(network).into()
}

/// Random images, each number normal.
pub fn images(n: usize, shape: Shape, seed: u64) -> Maps {
    let shape = [n, shape.channels, shape.height, shape.width];
    let mut rng = Key::new(seed).with("images").rng();
    // Numbers that 32 bits hold.
    let values = (0..shape.iter().product()).map(|_| f64::from(rng.normal() as f32));
    Maps::new(shape, values.collect()).expect("as many numbers as the shape says")
}

/// Numbers such as a trained network has: weights that keep the size of activations, norms whose running statistics are those
/// of random images, scales and shifts off their start. All are numbers that 32 bits hold.
pub fn trained(graph: &Graph, seed: u64) -> Vec<NamedTensor> {
    let mut state = Vec::new();
    for param in graph.layers.iter().flat_map(|l| &l.params) {
        let mut rng = Key::new(seed).with(&param.name).rng();
        let n: usize = param.shape.iter().product();
        let fan_in: usize = param.shape[1..].iter().product();
        let mut draw = || match param.kind {
            ParamKind::Weight => rng.normal() * (2.0 / fan_in as f64).sqrt(),
            ParamKind::Scale => 1.0 + 0.2 * rng.normal(),
            ParamKind::Bias | ParamKind::Shift => 0.2 * rng.normal(),
            ParamKind::RunningMean => 0.0,
            ParamKind::RunningVar => 1.0,
        };
        state.push(NamedTensor {
            name: param.name.clone(),
            shape: param.shape.clone(),
            values: (0..n).map(|_| f64::from(draw() as f32)).collect(),
        });
    }
    let images = images(4, graph.values[0].shape, seed + 1);
    let reference = Reference::new(graph, &state).expect("the state is the graph's");
    let values = reference.with_batch_statistics().values(&images);
    let values = values.unwrap_or_else(|e| panic!("{e}"));
    for layer in graph
        .layers
        .iter()
        .filter(|l| matches!(l.layer, Layer::Norm { .. }))
    {
        let maps = &values[layer.inputs[0]];
        let [n, channels, h, w] = maps.shape;
        let of_channel = |c: usize| {
            let numbers = || (0..n).flat_map(|i| maps.plane(i, c));
            let mean = numbers().sum::<f64>() / (n * h * w) as f64;
            let var = numbers().map(|v| (v - mean).powi(2)).sum::<f64>() / (n * h * w) as f64;
            // A trained network has seen more than four images.
            (mean, var + 0.05)
        };
        let statistics: Vec<(f64, f64)> = (0..channels).map(of_channel).collect();
        for param in layer.params.iter().filter(|p| !p.kind.is_learnt()) {
            let tensor = state.iter_mut().find(|t| t.name == param.name);
            let tensor = tensor.expect("the state is the graph's");
            for (v, (mean, var)) in tensor.values.iter_mut().zip(&statistics) {
                let number = if param.kind == ParamKind::RunningMean {
                    mean
                } else {
                    var
                };
                *v = f64::from(*number as f32);
            }
        }
    }
    // Sums grow from block to block: logits above the size of 1 are brought there by the classifier.
    let reference = Reference::new(graph, &state).expect("the state is the graph's");
    let logits = reference.logits(&images).unwrap_or_else(|e| panic!("{e}"));
    let size = logits.values.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let last = graph.layers.iter().find(|l| l.output == graph.logits);
    let params = last.filter(|_| size > 1.0).into_iter();
    for param in params.flat_map(|l| &l.params) {
        let tensor = state.iter_mut().find(|t| t.name == param.name);
        let tensor = tensor.expect("the state is the graph's");
        let scaled = |v: &f64| f64::from((v / size) as f32);
        tensor.values = tensor.values.iter().map(scaled).collect();
    }
    state
}
