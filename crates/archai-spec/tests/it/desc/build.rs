//! Building, scaling and checking.

use archai_spec::desc::{
    AuxTowerDesc, CellPlan, CellType, ChildDesc, Cost, DartsModelDescBuilder,
    DefaultModelDescBuilder, DescError, DescErrorKind, DescErrors, EdgeDesc, Genotype, ModelDesc,
    ModelDescBuilder, NodeDesc, OpCatalog, OpDesc, OpInfo, PRIMITIVES, ParamValue, Shape,
    StemInput, build,
};
use archai_spec::settings::{ModelDescSettings, StemWiring};

use super::{cifar, imagenet, network, supernet};

fn small() -> ModelDesc {
    network(&super::DARTS_V2.parse().unwrap(), &cifar(5, 2, 4, 8))
}

#[test]
fn supernet_edges() {
    for n_nodes in 1..6 {
        let desc = supernet(&cifar(3, 1, n_nodes, 4));
        for cell in &desc.cells {
            let edges: usize = cell.nodes.iter().map(|n| n.edges.len()).sum();
            assert_eq!(edges, n_nodes * (n_nodes + 3) / 2);
            for (i, node) in cell.nodes.iter().enumerate() {
                let inputs: Vec<usize> = node.edges.iter().map(|e| e.inputs[0]).collect();
                assert_eq!(inputs, (0..i + 2).collect::<Vec<_>>());
                for edge in &node.edges {
                    let names: Vec<&str> = edge
                        .op
                        .children
                        .iter()
                        .map(|c| c.op.name.as_str())
                        .collect();
                    assert_eq!(names, PRIMITIVES);
                    let reduces = cell.cell_type == CellType::Reduction && edge.inputs[0] < 2;
                    assert_eq!(edge.op.stride, if reduces { 2 } else { 1 });
                }
            }
        }
        assert!(desc.has_alphas());
        let keys = desc.arch_keys();
        assert_eq!(
            keys.len(),
            n_nodes * (n_nodes + 3),
            "owned by the first regular and the first reduction cell"
        );
        assert!(keys.iter().all(|k| k.cell < 2 && k.n_alphas == 8) && keys.is_sorted());
    }
}

#[test]
fn the_ops_that_edges_choose_among_are_a_setting() {
    let mut settings = cifar(3, 1, 2, 4);
    let mut with = |names: &[&str]| {
        settings.primitives = Some(names.iter().map(|name| (*name).to_string()).collect());
        settings.clone()
    };
    assert_eq!(
        supernet(&with(&PRIMITIVES)),
        supernet(&cifar(3, 1, 2, 4)),
        "the space's own ops, named one by one"
    );
    let few = supernet(&with(&["avg_pool_3x3", "sep_conv_3x3"]));
    for edge in few
        .cells
        .iter()
        .flat_map(|cell| &cell.nodes)
        .flat_map(|node| &node.edges)
    {
        let children: Vec<&str> = edge
            .op
            .children
            .iter()
            .map(|c| c.op.name.as_str())
            .collect();
        assert_eq!(children, ["avg_pool_3x3", "sep_conv_3x3"]);
        assert!(edge.op.children[0].op.flag("norm"), "pools have their norm");
    }
    assert!(few.arch_keys().iter().all(|key| key.n_alphas == 2));

    let catalog = OpCatalog::builtin();
    let mut check = |builder: &dyn ModelDescBuilder, names: &[&str], expect: &str| {
        let error = build(builder, &with(names), None, false, &catalog).unwrap_err();
        assert!(error.to_string().contains(expect), "{names:?}: {error}");
    };
    let darts = &DartsModelDescBuilder;
    check(
        darts,
        &["none", "sep_conv_3x4"],
        "primitives.1: unknown op `sep_conv_3x4`",
    );
    check(darts, &["sep_conv_3x4"], "did you mean `sep_conv_3x3`");
    check(
        darts,
        &["skip_connect", "skip_connect"],
        "primitives.1: `skip_connect` stands twice",
    );
    check(
        darts,
        &["none"],
        "primitives: nothing of [\"none\"] can remain",
    );
    // A space that has ops of its own does not ignore the setting.
    check(
        &DefaultModelDescBuilder,
        &["skip_connect"],
        "primitives: this space has ops of its own",
    );
    // A found network has its ops already.
    let scaled = build(darts, &with(&["none"]), Some(&small()), true, &catalog);
    assert!(scaled.is_ok());
}

#[test]
fn evaluation_shapes() {
    let desc = network(&super::DARTS_V2.parse().unwrap(), &cifar(20, 2, 4, 36));
    let shapes = desc.shapes(&OpCatalog::builtin()).unwrap();
    let size = |s: Shape| (s.channels, s.height, s.width, s.scale);
    assert_eq!(size(shapes.stems[0]), (108, 32, 32, 1));
    assert_eq!(size(shapes.cells[6].out), (288, 16, 16, 2));
    assert_eq!(size(shapes.cells[13].out), (576, 8, 8, 4));
    assert_eq!(size(shapes.pooled), (576, 1, 1, 32));
    assert_eq!(desc.cells[7].stems[0].name, "prepr_reduce");
    assert!(!desc.has_alphas() && desc.arch_keys().is_empty());

    let desc = network(&super::DARTS_V1.parse().unwrap(), &imagenet(14, 48));
    assert_eq!(desc.stems[1].input, StemInput::Stem(0));
    assert_eq!(
        desc.stems
            .iter()
            .map(|s| (s.out.height, s.out.scale))
            .collect::<Vec<_>>(),
        [(56, 4), (28, 8)]
    );
    assert_eq!(
        desc.cells[0]
            .stems
            .iter()
            .map(|s| s.name.as_str())
            .collect::<Vec<_>>(),
        ["prepr_reduce", "prepr_normal"]
    );
    assert_eq!(size(desc.cells[13].out), (768, 7, 7, 32));
}

#[test]
fn reduction_indices() {
    for (cells, reductions, expect) in [
        (8, 2, vec![2, 5]),
        (20, 2, vec![6, 13]),
        (14, 2, vec![4, 9]),
        (3, 1, vec![1]),
        (5, 2, vec![1, 3]),
        (6, 0, vec![]),
    ] {
        let settings = cifar(cells, reductions, 2, 4);
        assert_eq!(
            DefaultModelDescBuilder
                .reduction_indices(&settings)
                .unwrap(),
            expect
        );
    }
    let error = DefaultModelDescBuilder
        .reduction_indices(&cifar(4, 2, 2, 4))
        .unwrap_err();
    assert!(error.to_string().contains("at least 5 cells"), "{error}");
}

#[test]
fn scaling_keeps_the_genotype() {
    let catalog = OpCatalog::builtin();
    let genotype: Genotype = super::AMOEBANET.parse().unwrap();
    let template = network(&genotype, &cifar(8, 2, 5, 16));
    let mut larger = cifar(20, 2, 4, 36);
    larger.aux_weight = 0.4;
    let once = build(
        &DefaultModelDescBuilder,
        &larger,
        Some(&template),
        true,
        &catalog,
    )
    .unwrap();
    assert_eq!(
        once.desc.genotype().unwrap(),
        genotype,
        "nodes, ops and concatenated states are the template's"
    );
    assert_eq!(once.notes.len(), 1);
    assert!(
        once.notes[0].contains("5 nodes") && once.notes[0].contains("`cell.n_nodes: 4`"),
        "{:?}",
        once.notes
    );
    larger.cell.n_nodes = 5;
    let twice = build(
        &DefaultModelDescBuilder,
        &larger,
        Some(&once.desc),
        true,
        &catalog,
    )
    .unwrap();
    assert_eq!((twice.desc, twice.notes), (once.desc.clone(), vec![]));
    // The way through a template and the way from the genotype end in the same description.
    assert_eq!(once.desc, network(&genotype, &larger));
}

#[test]
fn children_of_a_template_are_scaled() {
    let catalog = OpCatalog::builtin();
    let mut template = small();
    for cell in &mut template.cells {
        if cell.cell_type == CellType::Regular {
            let c = cell.stems[0].ch_out;
            cell.nodes[0].edges = vec![super::multi_edge(c)];
        }
    }
    template.check(&catalog).unwrap();
    let built = build(
        &DefaultModelDescBuilder,
        &cifar(5, 2, 4, 20),
        Some(&template),
        true,
        &catalog,
    )
    .unwrap();
    let op = &built.desc.cells[0].nodes[0].edges[0].op;
    assert!(
        op.children
            .iter()
            .all(|c| (c.op.ch_in, c.op.ch_out) == (20, 20))
    );
    let error = built.desc.genotype().unwrap_err();
    assert!(
        error
            .to_string()
            .contains("cell 0, node 0: a genotype has two edges per node"),
        "{error}"
    );
}

#[test]
fn builds_that_cannot_be() {
    let catalog = OpCatalog::builtin();
    let genotype: Genotype = super::DARTS_V2.parse().unwrap();
    let regular = network(&genotype, &cifar(3, 0, 4, 8).clone());
    let sup = supernet(&cifar(3, 1, 2, 4));
    let with = |change: &dyn Fn(&mut ModelDescSettings)| {
        let mut settings = cifar(5, 2, 4, 8);
        change(&mut settings);
        settings
    };
    use DescErrorKind::{Shape, Structure, Template, UnknownOp};
    let v2 = small();
    type Case<'a> = (
        &'a dyn Fn(&mut ModelDescSettings),
        &'a ModelDesc,
        DescErrorKind,
        &'a [&'a str],
    );
    let cases: [Case<'_>; 8] = [
        (
            &|_| {},
            &regular,
            Template,
            &["no reduction cell", "n_reductions"],
        ),
        (
            &|_| {},
            &sup,
            Template,
            &["not finalised", "final_model_desc.yaml", "node 0, edge 0"],
        ),
        (&|s| s.n_cells = 4, &v2, Structure, &["at least 5"]),
        (
            &|s| s.model_stems.ops[1] = "stem_conv3".into(),
            &v2,
            UnknownOp,
            &["stem 1", "stem_conv3x3"],
        ),
        (
            &|s| {
                s.model_stems.wiring = StemWiring::Shared;
                s.model_stems.ops[1] = "stem_conv3x3Relu".into();
            },
            &v2,
            Structure,
            &["wiring: shared", "stem_conv3x3Relu"],
        ),
        (
            &|s| {
                s.model_post_op = "pool_avg2d7x7".into();
                s.dataset.size = [64, 64];
            },
            &v2,
            Shape,
            &["`linear` expects 128 channels", "2×2"],
        ),
        (
            &|s| (s.aux_weight, s.dataset.size) = (0.4, [4, 4]),
            &v2,
            Shape,
            &["cell 3", "at least 2×2 pixels", "`aux_weight` to 0"],
        ),
        (
            &|s| s.cell.cell_post_op = "concat".into(),
            &v2,
            UnknownOp,
            &["concat"],
        ),
    ];
    for (change, template, kind, says) in cases {
        let settings = with(change);
        let errors = build(
            &DefaultModelDescBuilder,
            &settings,
            Some(template),
            true,
            &catalog,
        )
        .unwrap_err();
        assert_eq!(errors.0[0].kind, kind, "{errors}");
        for word in says {
            assert!(
                errors.to_string().contains(word),
                "`{word}` is missing in: {errors}"
            );
        }
    }
}

/// Changes a sound description and expects these words in the errors.
fn broken(change: impl Fn(&mut ModelDesc), kind: DescErrorKind, says: &[&str]) {
    let mut settings = cifar(5, 2, 4, 8);
    settings.aux_weight = 0.4;
    let mut desc = network(&super::DARTS_V2.parse().unwrap(), &settings);
    change(&mut desc);
    let errors: DescErrors = desc.check(&OpCatalog::builtin()).unwrap_err();
    assert!(errors.0.iter().any(|e| e.kind == kind), "{errors}");
    for word in says {
        assert!(
            errors.to_string().contains(word),
            "`{word}` is missing in: {errors}"
        );
    }
}

#[test]
fn broken_descriptions() {
    use DescErrorKind::{Param, Reference, Shape, Structure, UnknownOp, Version};
    fn edge(desc: &mut ModelDesc, cell: usize) -> &mut EdgeDesc {
        &mut desc.cells[cell].nodes[1].edges[0]
    }
    broken(|d| d.version = 9, Version, &["newer program", "up to 1"]);
    broken(
        |d| edge(d, 2).op.name = "sep_conv_3x4".into(),
        UnknownOp,
        &["cell 2, node 1, edge 0", "sep_conv_3x3"],
    );
    broken(
        |d| edge(d, 2).inputs = vec![3],
        Reference,
        &["cell 2, node 1, edge 0", "state 3", "0 to 2"],
    );
    broken(
        |d| edge(d, 2).inputs = vec![0, 1],
        Reference,
        &["reads 1 input(s)", "given 2"],
    );
    broken(
        |d| edge(d, 2).op.ch_in = 9,
        Shape,
        &["cell 2, node 1, edge 0", "9 channels", "16×16×16 (scale 2)"],
    );
    broken(
        |d| edge(d, 2).op.stride = 2,
        Shape,
        &["16×8×8 (scale 4)", "16×16×16 (scale 2)", "must agree"],
    );
    broken(
        |d| edge(d, 2).op.stride = 3,
        Param,
        &["stride: 3", "1 or 2"],
    );
    broken(|d| edge(d, 2).op.ch_out = 0, Param, &["ch_out: 0", "1 to"]);
    broken(
        |d| edge(d, 2).op.params = [("norms".into(), ParamValue::Bool(true))].into(),
        Param,
        &["no parameters", "norms"],
    );
    broken(
        |d| {
            *edge(d, 2) = EdgeDesc::new(
                0,
                OpDesc::new("max_pool_3x3", 16, 16).with_param("nrom", ParamValue::Bool(true)),
            )
        },
        Param,
        &["nrom", "did you mean `norm`?"],
    );
    broken(
        |d| {
            *edge(d, 2) = EdgeDesc::new(
                0,
                OpDesc::new("max_pool_3x3", 16, 16).with_param("norm", ParamValue::Int(1)),
            )
        },
        Param,
        &["norm: 1", "true or false"],
    );
    broken(
        |d| {
            edge(d, 2).op.children = vec![ChildDesc {
                input: 0,
                op: OpDesc::new("none", 8, 8),
            }]
        },
        Param,
        &["children"],
    );
    broken(
        |d| d.cells[1].stems[0].name = "prepr_reduce".into(),
        Shape,
        &["cell 1"],
    );
    broken(
        |d| d.cells[2].out.height = 7,
        Shape,
        &["cell 2", "64×7×16", "64×16×16"],
    );
    broken(
        |d| d.cells[2].concat = vec![2, 6],
        Reference,
        &["cell 2, post op", "state 6", "0 to 5"],
    );
    broken(
        |d| d.cells[2].concat = vec![],
        Reference,
        &["cell 2, post op", "one or more"],
    );
    broken(
        |d| d.cells[2].alphas_from = 4,
        Reference,
        &["alphas_from: 4"],
    );
    broken(|d| d.cells[2].alphas_from = 1, Structure, &["another kind"]);
    broken(
        |d| d.stem_outputs = vec![0, 2],
        Reference,
        &["stem 2", "2 stem(s)"],
    );
    broken(
        |d| d.stems[0].input = StemInput::Stem(1),
        Reference,
        &["stem 0", "earlier stem"],
    );
    broken(
        |d| {
            d.cells
                .iter_mut()
                .filter_map(|c| c.aux_tower.as_mut())
                .for_each(|t| t.ch_in = 3)
        },
        Shape,
        &["tower", "3"],
    );
    broken(
        |d| {
            d.cells
                .iter_mut()
                .filter_map(|c| c.aux_tower.as_mut())
                .for_each(|t| t.stride = 4)
        },
        Shape,
        &["5×5 pool of stride 4", "into 1×1", "at least 2×2"],
    );
    broken(
        |d| {
            d.cells
                .iter_mut()
                .filter_map(|c| c.aux_tower.as_mut())
                .for_each(|t| t.window = 9)
        },
        Shape,
        &["9×9 pool", "into 0×0"],
    );
    broken(
        |d| {
            d.cells
                .iter_mut()
                .filter_map(|c| c.aux_tower.as_mut())
                .for_each(|t| t.stride = 0)
        },
        Shape,
        &["stride"],
    );
    broken(
        |d| {
            d.cells
                .iter_mut()
                .filter_map(|c| c.aux_tower.as_mut())
                .for_each(|t| t.n_classes = 3)
        },
        Structure,
        &["3"],
    );
    broken(|d| d.n_classes = 100, Structure, &["logits", "100"]);
    broken(|d| d.logits.ch_in = 1, Shape, &["logits", "128×1×1"]);
    broken(|d| d.cells.clear(), Structure, &["cells"]);
    broken(|d| d.stems.clear(), Structure, &["stems"]);
    broken(
        |d| d.cells[1].out.height = usize::MAX,
        Structure,
        &["cell 1", "`out` says"],
    );
    broken(|d| d.input.height = 0, Structure, &["input.height"]);
    broken(|d| d.input.width = 1 << 40, Structure, &["input.width"]);
}

#[test]
fn absurd_numbers_are_errors() {
    for (name, n) in [
        ("cells", 1 << 40),
        ("cells", 0),
        ("nodes", 1 << 40),
        ("channels", 1 << 40),
        ("channels", usize::MAX),
        ("size", 1 << 40),
    ] {
        let mut s = cifar(5, 2, 4, 8);
        match name {
            "cells" => s.n_cells = n,
            "nodes" => s.cell.n_nodes = n,
            "channels" => s.model_stems.init_node_ch = n,
            _ => s.dataset.size = [n, 32],
        }
        let errors = build(
            &DartsModelDescBuilder,
            &s,
            None,
            false,
            &OpCatalog::builtin(),
        )
        .unwrap_err();
        assert!(errors.to_string().contains("expected 1 to"), "{errors}");
    }
}

#[test]
fn several_errors_are_shown_at_once() {
    let mut desc = small();
    desc.cells[0].nodes[0].edges[0].op.name = "sepconv".into();
    desc.cells[3].nodes[2].edges[1].inputs = vec![9];
    desc.logits.ch_out = 11;
    let errors = desc.check(&OpCatalog::builtin()).unwrap_err();
    assert_eq!(
        errors.0.len(),
        3,
        "one each, and none that only follow: {errors}"
    );
}

#[test]
fn unlike_mixed_edges_cannot_share() {
    let mut desc = supernet(&cifar(3, 1, 2, 4));
    desc.cells[2].nodes[1].edges[0].op.children.pop();
    let errors = desc.check(&OpCatalog::builtin()).unwrap_err();
    assert!(
        errors
            .to_string()
            .contains("cell 2: uses the architecture parameters of cell 0"),
        "{errors}"
    );
}

#[test]
fn all_that_halves_rounds_up() {
    let catalog = OpCatalog::builtin();
    for op in [
        OpDesc::new("skip_connect", 8, 8).with_stride(2),
        OpDesc::new("prepr_reduce", 8, 8),
        OpDesc::new("max_pool_3x3", 8, 8).with_stride(2),
        OpDesc::new("sep_conv_5x5", 8, 8).with_stride(2),
        OpDesc::new("conv_7x1_1x7", 8, 8).with_stride(2),
        OpDesc::new("none", 8, 8).with_stride(2),
    ] {
        for (h, w) in [(7_usize, 7_usize), (8, 7), (7, 8), (8, 8), (1, 1), (1, 2)] {
            let expect = Shape {
                channels: 8,
                height: h.div_ceil(2),
                width: w.div_ceil(2),
                scale: 2,
            };
            let found = catalog.out_shape(&op, &[Shape::new(8, h, w)]);
            assert_eq!(found.unwrap(), expect, "{} on {h}×{w}", op.name);
        }
    }
    let halves = OpDesc::new("skip_connect", 8, 7).with_stride(2);
    let error = catalog.check(&halves).and_then(|()| {
        let input = [Shape::new(8, 8, 8)];
        catalog.out_shape(&halves, &input)
    });
    assert!(error.is_err(), "seven channels have no halves");
}

#[test]
fn drop_path() {
    let catalog = OpCatalog::builtin();
    for (op, droppable) in [
        (OpDesc::new("skip_connect", 8, 8), false),
        (OpDesc::new("skip_connect", 8, 8).with_stride(2), true),
        (OpDesc::new("sep_conv_3x3", 8, 8), true),
        (OpDesc::new("max_pool_3x3", 8, 8), true),
        (OpDesc::new("multi_op", 8, 8), true),
        (OpDesc::new("identity", 8, 8), false),
        (OpDesc::new("stem_conv3x3", 3, 8), false),
        (OpDesc::new("concate_channels", 8, 32), false),
    ] {
        assert_eq!(
            catalog.can_drop_path(&op).unwrap(),
            droppable,
            "{}",
            op.name
        );
    }
}

/// A user's op: a grouped convolution with a typed parameter.
struct Grouped;
impl OpInfo for Grouped {
    fn name(&self) -> &str {
        "grouped_1x1"
    }
    fn summary(&self) -> &str {
        "1×1 convolution in groups"
    }
    fn is_primitive(&self) -> bool {
        true
    }
    fn measure(
        &self,
        op: &OpDesc,
        inputs: &[Shape],
        _: bool,
        _: &OpCatalog,
    ) -> Result<(Shape, Cost), DescError> {
        let out = Shape {
            channels: op.ch_out,
            ..inputs[0]
        };
        let params = Cost::product(&[op.ch_in, op.ch_out / 2]);
        let macs = params * Cost::product(&[out.height, out.width]);
        Ok((out, Cost { params, macs }))
    }
}

/// A user's builder: a chain of the user's op inside a mixed op.
struct Chain;
impl ModelDescBuilder for Chain {
    fn nodes(&self, cell: &CellPlan<'_>) -> Result<Vec<NodeDesc>, DescError> {
        let edge = |n| {
            EdgeDesc::new(
                n + 1,
                OpDesc::mixed(&["grouped_1x1", "skip_connect"], cell.channels, 1),
            )
        };
        Ok((0..cell.n_nodes)
            .map(|n| NodeDesc::new([edge(n)]))
            .collect())
    }
}

/// Whose name sounds like a pool's is no matter: an op without the parameter could not have it.
#[test]
fn candidates_have_a_norm_where_the_built_in_op_says_so() {
    let names = [
        "max_pool_3x3",
        "avg_pool_3x3",
        "max_pool_2x2",
        "my_pool_3x3",
        "skip_connect",
    ];
    let op = OpDesc::mixed(&names, 4, 1);
    let normed: Vec<bool> = op.children.iter().map(|c| c.op.flag("norm")).collect();
    assert_eq!(normed, [true, true, false, false, false]);
}

#[test]
fn users_register_ops_and_builders() {
    let mut catalog = OpCatalog::builtin();
    assert!(
        build(&Chain, &cifar(3, 0, 2, 8), None, false, &catalog).is_err(),
        "the op is not known yet"
    );
    catalog.register(Grouped).unwrap();
    let error = catalog.register(Grouped).unwrap_err();
    assert_eq!(error.kind, DescErrorKind::DuplicateOp);
    assert!(error.to_string().contains("grouped_1x1"));
    let desc = build(&Chain, &cifar(3, 0, 2, 8), None, false, &catalog)
        .unwrap()
        .desc;
    let cost = desc.cost(&catalog).unwrap();
    assert_eq!(
        cost.cells[0].nodes[0][0],
        Cost {
            params: 32,
            macs: 32 * 32 * 32
        }
    );
    assert_eq!(cost.alphas, 4);
    assert_eq!(
        ModelDesc::from_yaml(&desc.to_yaml().unwrap(), "x", &catalog).unwrap(),
        desc
    );
}

#[test]
fn nodes_without_edges_are_sound() {
    let built = build(
        &DefaultModelDescBuilder,
        &cifar(5, 2, 4, 8),
        None,
        false,
        &OpCatalog::builtin(),
    )
    .unwrap();
    assert!(
        built.desc.cells.iter().all(|c| c.out.scale == 1),
        "nothing reduces yet"
    );
    let dyn_builder: &dyn ModelDescBuilder = &DartsModelDescBuilder;
    let built = build(
        dyn_builder,
        &cifar(5, 2, 4, 8),
        None,
        false,
        &OpCatalog::builtin(),
    )
    .unwrap();
    assert_eq!(built.desc.cells[4].out.scale, 4);
}

#[test]
fn tables() {
    let catalog = OpCatalog::builtin();
    let mut settings = cifar(8, 2, 4, 16);
    settings.aux_weight = 0.4;
    let desc = network(&super::DARTS_V2.parse().unwrap(), &settings);
    let table = desc.table(&catalog).unwrap();
    let parts: Vec<&str> = table.rows.iter().map(|r| r.part.as_str()).collect();
    assert_eq!(parts[..3], ["stem 0", "stem 1", "cell 0"]);
    assert_eq!(
        parts[7..],
        ["cell 5", "aux 5", "cell 6", "cell 7", "pool", "logits"]
    );
    let sum: Cost = table.rows.iter().map(|r| r.cost).sum();
    assert_eq!(sum, table.total_with_aux);
    assert_eq!(table.total, desc.cost(&catalog).unwrap().total(false));
    let json: serde_json::Value = serde_json::to_value(&table).unwrap();
    assert_eq!(json["rows"][2]["cell_type"], "regular");
    assert!(json["rows"][2]["params"].as_u64().unwrap() > 0);
}

/// The pool of the tower of a network for images of some size, as (window, stride), if one can be built.
fn tower_pool(size: [usize; 2], n_reductions: usize, stride: usize) -> Option<(usize, usize)> {
    let mut settings = cifar(5, n_reductions, 4, 4);
    settings.dataset.size = size;
    (settings.aux_weight, settings.aux_tower_stride) = (0.4, stride);
    let genotype: Genotype = super::DARTS_V2.parse().unwrap();
    let catalog = OpCatalog::builtin();
    let desc = archai_spec::desc::from_genotype(&genotype, &settings, true, &catalog).ok()?;
    let desc = desc.desc;
    let mut towers = desc.cells.iter().filter_map(|c| c.aux_tower.as_ref());
    let (tower, more) = (towers.next().expect("a tower"), towers.next());
    assert_eq!(more, None);
    // The classifier is of one size, whatever the maps.
    let at = desc.cells.iter().find(|c| c.aux_tower.is_some()).unwrap();
    let linear = tower.lower(at.out, true).unwrap();
    let linear = linear.steps.last().unwrap().layer.params()[0].shape.clone();
    assert_eq!(linear, [10, 768], "{size:?}");
    desc.lower(&catalog).unwrap();
    Some((tower.window, tower.stride))
}

#[test]
fn auxiliary_towers_fit_images_of_any_size() {
    for (size, n_reductions, stride, expect) in [
        // The papers' towers: 8×8 maps of CIFAR; 7×7 maps, as ImageNet has them.
        (32, 2, 3, (5, 3)),
        (28, 2, 2, (5, 2)),
        // Larger maps leave more than one pixel behind the second convolution.
        (48, 2, 3, (5, 3)),
        (64, 2, 3, (5, 3)),
        (96, 2, 3, (5, 3)),
        (224, 2, 3, (5, 3)),
        // Smaller ones than the stride is for.
        (28, 2, 3, (5, 2)),
        (24, 2, 3, (5, 1)),
        (20, 2, 3, (4, 1)),
        (16, 2, 3, (3, 1)),
        (8, 2, 3, (1, 1)),
        // A tower that is asked for is built whatever the number of reductions.
        (32, 1, 3, (5, 3)),
        (32, 0, 3, (5, 3)),
    ] {
        let pool = tower_pool([size, size], n_reductions, stride);
        assert_eq!(pool, Some(expect), "{size} {n_reductions} {stride}");
    }
    assert_eq!(tower_pool([32, 64], 2, 3), Some((5, 3)));
    assert_eq!(tower_pool([64, 16], 2, 3), Some((3, 1)));
    assert_eq!(tower_pool([4, 4], 2, 3), None);
}

#[test]
fn a_tower_that_is_not_as_the_settings_say_is_noted() {
    let catalog = OpCatalog::builtin();
    let mut settings = cifar(5, 2, 4, 4);
    settings.aux_weight = 0.4;
    let template = network(&super::DARTS_V2.parse().unwrap(), &settings);
    for (size, expect) in [(32, 0), (64, 0), (28, 1)] {
        settings.dataset.size = [size, size];
        let builder = DefaultModelDescBuilder;
        let built = build(&builder, &settings, Some(&template), true, &catalog).unwrap();
        assert_eq!(built.notes.len(), expect, "{size}: {:?}", built.notes);
        if let [note] = built.notes.as_slice() {
            assert!(
                note.contains("maps of 7×7 by 5×5 windows at stride 2")
                    && note.contains("`aux_tower_stride: 3`"),
                "{note}"
            );
        }
    }
}

#[test]
fn papers_towers_are_written_as_ever() {
    let mut settings = cifar(5, 2, 4, 4);
    settings.aux_weight = 0.4;
    let desc = network(&super::DARTS_V2.parse().unwrap(), &settings);
    let tower = desc.cells[3].aux_tower.clone().unwrap();
    let expect = AuxTowerDesc {
        ch_in: 64,
        n_classes: 10,
        stride: 3,
        window: 5,
        second_norm: true,
    };
    assert_eq!(tower, expect);
    assert!(!desc.to_yaml().unwrap().contains("window"));
    let tower = tower.lower(desc.cells[3].out, true).unwrap();
    let layers: Vec<&str> = tower.steps.iter().map(|s| s.layer.name()).collect();
    let expect = [
        "relu", "avg_pool", "conv", "bn", "relu", "conv", "bn", "relu", "flatten", "linear",
    ];
    assert_eq!(layers, expect);
}

#[test]
fn a_tower_that_no_builder_makes_is_an_error() {
    let mut settings = cifar(20, 2, 4, 4);
    settings.aux_weight = 0.4;
    let builder = archai_spec::desc::zoo::builder("resnet20").unwrap();
    let errors = build(&*builder, &settings, None, true, &OpCatalog::builtin()).unwrap_err();
    let text = errors.to_string();
    assert!(
        text.contains("`aux_weight` is 0.4") && text.contains("no auxiliary tower"),
        "{text}"
    );
}
