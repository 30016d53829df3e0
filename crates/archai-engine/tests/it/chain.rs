//! A space that is no cell of DARTS: a chain of blocks with one input each, in stages of different widths, whose edges choose
//! between kernels, expansions and widths. From its description to an evaluated network.

use archai_engine::finalize::{DefaultFinalizers, Finalizers};
use archai_engine::{Compute, Model, ModelOptions, Objective, OpRegistry, Regular, Want};
use archai_spec::desc::{
    Built, CellPlan, CellType, DescError, EdgeDesc, ModelDesc, ModelDescBuilder, ModelPlan,
    NodeDesc, OpDesc, OpInfo, ParamInfo, ParamType, ParamValue, Shape, StemDesc, StemInput,
    StemsDesc, build, draw_svg,
};
use archai_spec::finalize::{Choice, NodeRule, Supernet};
use archai_spec::ops::{ConvShape, Layer, LayerBuilder, MIXED_OP, Value};
use archai_spec::registry::Named;
use archai_spec::rng::Key;
use archai_spec::settings::ModelDescSettings;
use archai_spec::spaces::Space;

use super::support::{batch, settings};

/// Expansions of inverted residual blocks, and kernels of separable convolutions.
const CHOICES: [&str; 5] = [
    "mbconv_r1",
    "mbconv_r2",
    "mbconv_r3",
    "sep_conv_3x3",
    "sep_conv_5x5",
];

/// Widths to choose from, in quarters of the stage's. As the candidates of a mixed op give one shape, channels of zeros take
/// the place of those that a narrow candidate lacks.
const WIDTHS: [i64; 2] = [1, 2];

/// ReLU, 3×3 convolution to a share of the channels, norm, zeros. Its layers are all that is known of it.
struct NarrowConv;

impl NarrowConv {
    const NAME: &str = "narrow_conv_3x3";
    const QUARTERS: &str = "quarters";

    fn width(op: &OpDesc) -> usize {
        let quarters = op.int(Self::QUARTERS).and_then(|q| usize::try_from(q).ok());
        op.ch_out * quarters.unwrap_or(4) / 4
    }
}

impl OpInfo for NarrowConv {
    fn name(&self) -> &str {
        Self::NAME
    }
    fn summary(&self) -> &str {
        "3×3 convolution to a share of the channels"
    }
    fn params(&self) -> &[ParamInfo] {
        &[ParamInfo {
            name: Self::QUARTERS,
            ty: ParamType::Int,
            summary: "quarters of the channels",
        }]
    }
    fn lower(
        &self,
        op: &OpDesc,
        inputs: &[Value],
        b: &mut LayerBuilder<'_>,
    ) -> Result<Value, DescError> {
        let width = Self::width(op);
        let x = b.relu(inputs[0]);
        let x = b.conv(x, ConvShape::new(op.ch_in, width, 3).with_stride(op.stride));
        let x = b.norm(x, width);
        let after = op.ch_out - width;
        Ok(b.layer(Layer::PadChannels { before: 0, after }, &[x]))
    }
}

struct Chain;

impl ModelDescBuilder for Chain {
    /// One stem, which is the only input of the first block.
    fn model_stems(&self, model: &ModelPlan<'_>) -> Result<StemsDesc, DescError> {
        let op = OpDesc::new(
            "stem_conv3x3",
            model.input.channels,
            model.settings.model_stems.init_node_ch,
        );
        let out = model.catalog.out_shape(&op, &[model.input])?;
        let input = StemInput::Image;
        Ok(StemsDesc {
            stems: vec![StemDesc { input, op, out }],
            outputs: vec![0],
        })
    }
    /// A block that begins a stage brings its input to the stage's width.
    fn cell_stems(
        &self,
        model: &ModelPlan<'_>,
        index: usize,
        inputs: &[Shape],
    ) -> Result<Vec<OpDesc>, DescError> {
        let width = model.node_channels[index];
        let name = |input: &Shape| match input.channels == width {
            true => "identity",
            false => "prepr_normal",
        };
        let stem = |input: &Shape| OpDesc::new(name(input), input.channels, width);
        Ok(inputs.iter().map(stem).collect())
    }
    fn nodes(&self, cell: &CellPlan<'_>) -> Result<Vec<NodeDesc>, DescError> {
        let (channels, stride) = (cell.channels, cell.stride(0));
        let op = |name: &str| OpDesc::new(name, channels, channels).with_stride(stride);
        let blocks = CHOICES.map(op).into_iter();
        let narrow = WIDTHS.map(|quarters| {
            op(NarrowConv::NAME).with_param(NarrowConv::QUARTERS, ParamValue::Int(quarters))
        });
        let op = op(MIXED_OP).with_children(blocks.chain(narrow));
        Ok(vec![NodeDesc::new([EdgeDesc::new(0, op)])])
    }
}

impl Named for Chain {
    fn name(&self) -> &str {
        "chain"
    }
    fn about(&self) -> &str {
        "a chain of blocks"
    }
}

impl Space for Chain {
    fn builder(&self) -> &dyn ModelDescBuilder {
        self
    }
    fn rule(&self) -> NodeRule {
        NodeRule::OneOpPerEdge
    }
}

fn sizes(n_cells: usize, channels: usize) -> ModelDescSettings {
    let mut settings = settings(n_cells, 1, 1, channels);
    settings.dataset.size = [8, 8];
    settings.max_final_edges = 1;
    settings.aux_weight = 0.0;
    settings
}

#[test]
fn a_chain_is_a_space() {
    let mut registry = OpRegistry::builtin();
    registry.register_layers(NarrowConv).unwrap();
    let catalog = registry.catalog();
    let Built { desc, .. } = Chain.supernet(&sizes(4, 8), catalog).unwrap();
    assert_eq!(desc.stem_outputs, [0]);
    let widths: Vec<usize> = desc.cells.iter().map(|cell| cell.out.channels).collect();
    assert_eq!(widths, [8, 8, 16, 16]);
    assert!(desc.cells.iter().all(|cell| cell.stems.len() == 1));

    // The description survives YAML, can be counted and drawn, and is drawn from.
    let text = desc.to_yaml().unwrap();
    assert_eq!(ModelDesc::from_yaml(&text, "chain", catalog).unwrap(), desc);
    assert!(text.starts_with("# archai model description.") && text.contains("n stems"));
    let message = desc.genotype().unwrap_err().to_string();
    assert!(message.contains("two inputs"), "{message}");
    let cost = desc.cost(catalog).unwrap().total(false);
    assert!(draw_svg(&desc).contains("<svg"));
    let supernet = Supernet::new(&desc, catalog);
    // Both kinds of blocks have one choice of seven.
    assert_eq!(Chain.count(supernet).unwrap().exact, Some(49));
    let drawn = Chain.draw(supernet, &Key::new(1)).unwrap();
    let next = Chain.mutate(supernet, &drawn, &Key::new(2)).unwrap();
    Chain.contains(supernet, &next).unwrap();
    let canonical = |desc| Chain.canonical(supernet, desc).unwrap();
    assert_ne!(canonical(&next), canonical(&drawn));

    // It trains, the architecture as well, on both engines.
    let computes = [Compute::cpu(), Compute::cpu().with_plain_ops()];
    for compute in computes {
        let options = ModelOptions {
            compute,
            ..ModelOptions::default()
        };
        let mut model = Model::compile(&desc, &registry, &options).unwrap();
        // The architecture's numbers are counted apart from the weights.
        assert_eq!(model.weights().n_numbers() as u64, cost.params);
        assert_eq!(model.arch().n_numbers(), 14);
        let batch = batch(4, &desc, 1);
        let want = Want {
            weights: true,
            arch: true,
        };
        let mut losses = Vec::new();
        for step in 0..8u64 {
            let regular = Regular {
                drop_path_prob: 0.0,
                draw: Key::new(step),
            };
            let grads = model
                .train_pass(&batch, &Objective::default(), &regular, want)
                .unwrap();
            assert!(
                grads
                    .arch
                    .to_host()
                    .iter()
                    .all(|(_, g)| g.iter().any(|g| *g != 0.0)),
                "the gradient reaches every choice"
            );
            losses.push(grads.loss);
            let weights = model.weights().add_scaled(&grads.weights, -0.02);
            model.set_weights(weights);
        }
        assert!(losses[7] < losses[0], "{losses:?}");

        // What is found is one of the space, and its evaluation is built from the description alone.
        let found = DefaultFinalizers.finalize_model(&model).unwrap();
        found.check(catalog).unwrap();
        Chain.contains(supernet, &found).unwrap();
        let full = build(&Chain, &sizes(7, 12), Some(&found), true, catalog);
        let full = full.unwrap().desc;
        assert_eq!(full.cells.len(), 7);
        assert!(!full.has_alphas());
        let chosen = |desc: &ModelDesc| {
            [CellType::Regular, CellType::Reduction].map(|kind| {
                let op = &desc.first_cell(kind).unwrap().nodes[0].edges[0].op;
                (op.name.clone(), op.params.clone())
            })
        };
        assert_eq!(chosen(&full), chosen(&found));
        let evaluated = Model::compile(&full, &registry, &options).unwrap();
        let weights = full.cost(catalog).unwrap().total(false).params;
        assert_eq!(evaluated.weights().n_numbers() as u64, weights);
        let batch = super::support::batch(2, &full, 3);
        let grads = evaluated.grads(&batch, &Objective::default()).unwrap();
        assert!(grads.loss.is_finite() && grads.weights.norm() > 0.0);
    }
}

/// A width that was chosen scales with its stage: the share stays, the channels grow.
#[test]
fn a_chosen_width_is_scaled() {
    let mut registry = OpRegistry::builtin();
    registry.register_layers(NarrowConv).unwrap();
    let catalog = registry.catalog();
    let desc = Chain.supernet(&sizes(4, 8), catalog).unwrap().desc;
    let supernet = Supernet::new(&desc, catalog);
    // The candidate of a quarter of the width, in every cell.
    let narrowest = Choice {
        edge: 0,
        child: CHOICES.len(),
    };
    let found = supernet
        .each_node(|cell, node| supernet.node_of_choices(cell, node, &[narrowest]))
        .unwrap();
    Chain.contains(supernet, &found).unwrap();
    for (desc, width) in [
        (&found, 8),
        (
            &build(&Chain, &sizes(4, 12), Some(&found), true, catalog)
                .unwrap()
                .desc,
            12,
        ),
    ] {
        let model = Model::compile(desc, &registry, &ModelOptions::default()).unwrap();
        let state = model.named_state();
        let name = format!("cell0.node0.edge0.{}.conv1.weight", NarrowConv::NAME);
        let weight = state.iter().find(|t| t.name == name).unwrap();
        assert_eq!(weight.shape, [width / 4, width, 3, 3]);
    }
}
