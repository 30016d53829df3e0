//! A space that is no cell of DARTS: a chain of blocks with one input each, in stages of different widths, whose edges choose
//! between kernels and expansions. From its description to an evaluated network.

use archai_engine::finalize::{DefaultFinalizers, Finalizers};
use archai_engine::{Compute, Model, ModelOptions, Objective, OpRegistry, Regular, Want};
use archai_spec::desc::{
    Built, CellPlan, DescError, EdgeDesc, ModelDesc, ModelDescBuilder, ModelPlan, NodeDesc, OpDesc,
    Shape, StemDesc, StemInput, StemsDesc, build, draw_svg,
};
use archai_spec::finalize::{NodeRule, Supernet};
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
        let op = OpDesc::mixed(&CHOICES, cell.channels, cell.stride(0));
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
    let registry = OpRegistry::builtin();
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
    // Both kinds of blocks have one choice of five.
    assert_eq!(Chain.count(supernet).unwrap().exact, Some(25));
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
        assert_eq!(model.arch().n_numbers(), 10);
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
        let names = |desc: &ModelDesc| -> Vec<String> {
            let firsts = [0, desc.cells.len() - 1].map(|c| &desc.cells[c].nodes[0].edges[0].op);
            firsts.map(|op| op.name.clone()).to_vec()
        };
        let reduction = |desc: &ModelDesc| {
            let kind = archai_spec::desc::CellType::Reduction;
            desc.first_cell(kind)
                .map(|cell| cell.nodes[0].edges[0].op.name.clone())
        };
        assert_eq!(names(&full), names(&found));
        assert_eq!(reduction(&full), reduction(&found));
        let evaluated = Model::compile(&full, &registry, &options).unwrap();
        let weights = full.cost(catalog).unwrap().total(false).params;
        assert_eq!(evaluated.weights().n_numbers() as u64, weights);
        let batch = super::support::batch(2, &full, 3);
        let grads = evaluated.grads(&batch, &Objective::default()).unwrap();
        assert!(grads.loss.is_finite() && grads.weights.norm() > 0.0);
    }
}
