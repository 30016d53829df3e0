//! What is written is what is shown, drawn, counted and trained: also where cells of one kind differ.

use archai_spec::desc::{
    CellType, DefaultModelDescBuilder, DescErrorKind, EdgeDesc, ModelDesc, OpCatalog, OpDesc,
    Shape, adapted, build, draw_dot, draw_svg, evaluated, import_archai, zoo,
};
use archai_spec::settings::{Eval, Settings, TemplateUse};

use super::{cifar, multi_edge, network, supernet};

/// Five cells, of which the third is edited by hand.
fn edited() -> ModelDesc {
    let mut desc = network(&super::DARTS_V2.parse().unwrap(), &cifar(5, 2, 4, 8));
    desc.cells[2].nodes[1].edges[0].op.name = "sep_conv_5x5".into();
    desc.check(&OpCatalog::builtin()).unwrap();
    desc
}

fn groups(desc: &ModelDesc) -> Vec<String> {
    let groups = desc.distinct_cells();
    groups.iter().map(ToString::to_string).collect()
}

#[test]
fn cells_that_differ_are_apart() {
    let v2 = super::DARTS_V2.parse().unwrap();
    // Channels, strides of reductions and stems do not make another cell.
    assert_eq!(
        groups(&network(&v2, &cifar(8, 2, 4, 8))),
        [
            "regular cell (cells 0–1, 3–4, 6–7)",
            "reduction cell (cells 2, 5)"
        ]
    );
    assert_eq!(groups(&supernet(&cifar(3, 1, 2, 4))).len(), 2);
    assert_eq!(
        groups(&edited()),
        [
            "regular cell (cells 0, 4)",
            "regular cell (cell 2)",
            "reduction cell (cells 1, 3)"
        ]
    );
    // Whatever makes an op another one makes a cell another one.
    let changes: [fn(&mut ModelDesc); 5] = [
        |d| d.cells[4].nodes[0].edges.swap(0, 1),
        |d| d.cells[4].concat = vec![2, 3, 4, 4],
        |d| d.cells[4].nodes[3].edges[1].inputs = vec![3],
        |d| d.cells[4].nodes[0].edges[0].op.affine = Some(false),
        |d| d.cells[4].nodes[2].edges.clear(),
    ];
    for (i, change) in changes.into_iter().enumerate() {
        let mut desc = network(&v2, &cifar(5, 2, 4, 8));
        assert!(desc.common_cell(CellType::Regular).unwrap().is_some());
        change(&mut desc);
        desc.check(&OpCatalog::builtin()).unwrap();
        assert_eq!(groups(&desc)[1], "regular cell (cell 4)", "change {i}");
        assert!(desc.common_cell(CellType::Regular).is_err(), "change {i}");
        assert!(desc.common_cell(CellType::Reduction).is_ok(), "change {i}");
    }
}

#[test]
fn a_description_whose_cells_differ_is_not_scaled() {
    let settings = cifar(8, 2, 4, 16);
    let catalog = OpCatalog::builtin();
    let errors = build(
        &DefaultModelDescBuilder,
        &settings,
        Some(&edited()),
        true,
        &catalog,
    )
    .unwrap_err();
    assert_eq!(errors.0[0].kind, DescErrorKind::Template);
    for word in [
        "its regular cells differ",
        "cell 2 has sep_conv_5x5←c_{k-2} for node 1, edge 0, cell 0 sep_conv_3x3←c_{k-2}",
        "alike are cells 0, 4; cells 2",
        "archai train",
        "nas.eval.template: as_is",
    ] {
        let text = errors.to_string();
        assert!(text.contains(word), "`{word}` is missing in: {text}");
    }
}

/// What scaling does not keep is refused, or said.
#[test]
fn scaling_does_not_pass_over_channels_and_post_ops() {
    let catalog = OpCatalog::builtin();
    let v2 = super::DARTS_V2.parse().unwrap();
    let mut narrow = network(&v2, &cifar(3, 0, 4, 8));
    for cell in &mut narrow.cells {
        // A node that nothing reads; the output is that of the other three.
        let op = OpDesc::new("convbn_1x1", 8, 4);
        cell.nodes[3].edges = vec![EdgeDesc::new(0, op)];
        cell.concat = vec![2, 3, 4];
        (cell.post_op.ch_out, cell.out.channels) = (24, 24);
        cell.stems.iter_mut().for_each(|stem| stem.ch_in = 24);
    }
    (narrow.pool.ch_in, narrow.pool.ch_out) = (24, 24);
    narrow.logits.ch_in = 24;
    narrow.check(&catalog).unwrap();
    let scale = |settings: &_, template| {
        build(
            &DefaultModelDescBuilder,
            settings,
            Some(template),
            true,
            &catalog,
        )
    };
    let text = scale(&cifar(3, 0, 4, 16), &narrow).unwrap_err().to_string();
    for word in [
        "node 3, edge 0",
        "`convbn_1x1` has 8 channels in and 4 out",
        "others have 8",
    ] {
        assert!(text.contains(word), "`{word}` is missing in: {text}");
    }

    let mut projected = cifar(5, 2, 4, 16);
    projected.cell.cell_post_op = "proj_channels".into();
    let built = scale(&projected, &network(&v2, &cifar(5, 2, 4, 8))).unwrap();
    assert_eq!(built.notes.len(), 2);
    let note = "regular cells are joined by `proj_channels`, as the settings say (`cell.cell_post_op`), and not by the template's \
                `concate_channels`";
    assert_eq!(built.notes[0], note);
}

#[test]
fn all_cells_that_differ_are_drawn() {
    let desc = edited();
    for group in groups(&desc) {
        assert!(draw_svg(&desc).contains(&group), "{group}");
        assert!(draw_dot(&desc).contains(&group), "{group}");
    }
    assert!(draw_svg(&desc).contains("sep_conv_5x5"));
    let dot = draw_dot(&desc);
    // No two vertices share a name.
    for (line, n) in [
        ("    regular_0 [", 1),
        ("    regular_cell2_0 [", 1),
        ("    regular_0 -> regular_3 [label=\"sep_conv_3x3\"", 1),
        (
            "    regular_cell2_0 -> regular_cell2_3 [label=\"sep_conv_5x5\"",
            1,
        ),
    ] {
        assert_eq!(dot.matches(line).count(), n, "{line}:\n{dot}");
    }
}

#[test]
fn an_op_of_parts_is_drawn_by_its_parts() {
    let mut desc = network(&super::DARTS_V2.parse().unwrap(), &cifar(3, 0, 4, 8));
    for cell in &mut desc.cells {
        cell.nodes[0].edges = vec![multi_edge(8)];
    }
    desc.check(&OpCatalog::builtin()).unwrap();
    let cell = &desc.cells[0];
    assert_eq!(
        cell.edge_text(&cell.nodes[0].edges[0]),
        "multi_op(sep_conv_3x3←c_{k-1} + skip_connect←c_{k-2})"
    );
    let (svg, dot) = (draw_svg(&desc), draw_dot(&desc));
    assert!(!svg.contains("multi_op") && !dot.contains("multi_op"));
    for line in [
        "regular_1 -> regular_2 [label=\"sep_conv_3x3\"",
        "regular_0 -> regular_2 [label=\"skip_connect\"",
    ] {
        assert!(dot.contains(line), "{line}:\n{dot}");
    }
}

#[test]
fn what_a_cell_does_not_read_is_not_drawn() {
    // The blocks of a ResNet read the block before them alone.
    let settings = cifar(20, 2, 4, 16);
    let catalog = OpCatalog::builtin();
    let builder = zoo::builder("resnet20").unwrap();
    let chain = build(&*builder, &settings, None, true, &catalog)
        .unwrap()
        .desc;
    assert!(!draw_dot(&chain).contains("c_{k-2}") && draw_dot(&chain).contains("c_{k-1}"));
    let v2 = network(&super::DARTS_V2.parse().unwrap(), &settings);
    assert!(draw_dot(&v2).contains("c_{k-2}"));
    // So are cells that have one input.
    let mut desc = network(&super::DARTS_V2.parse().unwrap(), &cifar(3, 0, 1, 8));
    desc.stem_outputs = vec![0];
    for (i, cell) in desc.cells.iter_mut().enumerate() {
        cell.stems.truncate(1);
        cell.stems[0].ch_in = if i == 0 { 24 } else { 8 };
        cell.nodes.truncate(1);
        cell.nodes[0].edges = vec![EdgeDesc::new(0, OpDesc::new("sep_conv_3x3", 8, 8))];
        cell.concat = vec![1];
        (cell.post_op.ch_out, cell.out.channels) = (8, 8);
    }
    (desc.pool.ch_in, desc.pool.ch_out, desc.logits.ch_in) = (8, 8, 8);
    desc.check(&catalog).unwrap();
    let cell = &desc.cells[1];
    assert_eq!(
        cell.edge_text(&cell.nodes[0].edges[0]),
        "sep_conv_3x3←c_{k-1}"
    );
    assert_eq!(cell.output_text(), "concate_channels←0");
    let dot = draw_dot(&desc);
    assert!(
        dot.contains("regular_0 -> regular_1 [label=\"sep_conv_3x3\""),
        "{dot}"
    );
    assert_eq!(groups(&desc), ["regular cell (cells 0–2)"]);
}

/// The evaluation's settings for 5 cells of 8 channels on CIFAR-10.
fn eval(template: TemplateUse) -> Eval {
    let mut eval = Settings::shipped("cifar10").unwrap().nas.eval;
    eval.template = template;
    eval.model_desc.aux_weight = 0.0;
    eval.trainer.aux_weight = 0.0;
    eval
}

#[test]
fn a_description_is_trained_as_it_is() {
    let catalog = OpCatalog::builtin();
    let desc = edited();
    let evaluated = |eval: &Eval, desc: &ModelDesc| {
        evaluated(&DefaultModelDescBuilder, eval, desc, &catalog).map(|built| built.desc)
    };
    assert_eq!(evaluated(&eval(TemplateUse::AsIs), &desc).unwrap(), desc);
    assert!(evaluated(&eval(TemplateUse::Scale), &desc).is_err());

    let mut other_data = eval(TemplateUse::AsIs);
    other_data.model_desc.dataset.size = [28, 28];
    let mut more_classes = eval(TemplateUse::AsIs);
    more_classes.model_desc.dataset.n_classes = 100;
    let mut with_weight = eval(TemplateUse::AsIs);
    with_weight.trainer.aux_weight = 0.4;
    let mut with_tower = cifar(5, 2, 4, 8);
    with_tower.aux_weight = 0.4;
    let with_tower = network(&super::DARTS_V2.parse().unwrap(), &with_tower);
    assert_eq!(evaluated(&with_weight, &with_tower).unwrap(), with_tower);
    let choices = supernet(&cifar(3, 1, 2, 4));
    for (eval, desc, expect) in [
        (&other_data, &desc, "images of 3×28×28"),
        (&more_classes, &desc, "100 classes"),
        (
            &with_weight,
            &desc,
            "the description has no auxiliary tower",
        ),
        (
            &eval(TemplateUse::AsIs),
            &with_tower,
            "cell 3 has an auxiliary tower, which nothing would train",
        ),
        (&eval(TemplateUse::AsIs), &choices, "not finalised"),
    ] {
        let text = evaluated(eval, desc).unwrap_err().to_string();
        assert!(text.contains(expect), "`{expect}` is missing in: {text}");
    }
}

#[test]
fn an_import_does_not_pass_over_an_edit() {
    let edge = |op: &str| {
        format!("{{edges: [{{input_ids: [0], op_desc: {{name: {op}, params: {{stride: 1}}}}}}]}}")
    };
    let cell = |op: &str| format!("{{cell_type: regular, _nodes: [{}]}}", edge(op));
    let file = |ops: [&str; 3]| format!("_cell_descs: [{}]\n", ops.map(cell).join(", "));
    let catalog = OpCatalog::builtin();
    let import = |ops| import_archai(&file(ops), "found.yaml", None, true, &catalog);
    import(["sep_conv_3x3", "sep_conv_3x3", "sep_conv_3x3"]).unwrap();
    let errors = import(["sep_conv_3x3", "sep_conv_3x3", "sep_conv_5x5"]).unwrap_err();
    let text = errors.to_string();
    assert!(
        text.contains("found.yaml: cell 2") && text.contains("differs from the first regular cell"),
        "{text}"
    );
}

#[test]
fn a_description_is_fitted_to_other_data() {
    let catalog = OpCatalog::builtin();
    let mut settings = cifar(5, 2, 4, 8);
    settings.aux_weight = 0.4;
    let desc = network(&super::DARTS_V2.parse().unwrap(), &settings);
    let same = adapted(&desc, desc.input, desc.n_classes, &catalog).unwrap();
    assert_eq!((&same.desc, same.notes.len()), (&desc, 0));

    let other = adapted(&desc, Shape::new(1, 28, 28), 7, &catalog).unwrap();
    let notes = other.notes.join("\n");
    for expect in [
        "stem 0 reads images of 1 channel(s) in place of 3",
        "to 7 classes",
        "images of 1×28×28",
    ] {
        assert!(notes.contains(expect), "{expect:?} is missing in {notes}");
    }
    let new = other.desc;
    assert_eq!((new.input, new.n_classes), (Shape::new(1, 28, 28), 7));
    assert_eq!(new.cells[4].out.height, 7);
    let tower = new.cells[3].aux_tower.as_ref().unwrap();
    assert_eq!((tower.n_classes, tower.window, tower.stride), (7, 5, 2));
    // The cells are the same ones.
    for (a, b) in new.cells.iter().zip(&desc.cells) {
        assert_eq!(
            (&a.nodes, &a.stems, &a.post_op),
            (&b.nodes, &b.stems, &b.post_op)
        );
    }
    let back = adapted(&new, desc.input, desc.n_classes, &catalog)
        .unwrap()
        .desc;
    assert_eq!(back.without_towers(), desc.without_towers());

    let odd = adapted(&desc, Shape::new(3, 30, 42), 10, &catalog).unwrap();
    let sides: Vec<[usize; 2]> = odd
        .desc
        .cells
        .iter()
        .map(|c| [c.out.height, c.out.width])
        .collect();
    assert_eq!(sides, [[30, 42], [15, 21], [15, 21], [8, 11], [8, 11]]);
    let mut fitted = eval(TemplateUse::Adapt);
    fitted.model_desc.dataset.n_classes = 100;
    let plain = edited();
    let built = evaluated(&DefaultModelDescBuilder, &fitted, &plain, &catalog).unwrap();
    assert_eq!(built.desc.n_classes, 100);
    assert_eq!(built.desc.logits.ch_out, 100);
}
