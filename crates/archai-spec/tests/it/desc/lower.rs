//! Ops as lists of layers, and descriptions as graphs of them.

use archai_spec::desc::{Arity, Cost, DescErrorKind, OpCatalog, OpDesc, ParamValue, Shape};
use archai_spec::graph::{Graph, GraphLayer, GraphValue};
use archai_spec::ops::{ConvShape, Layer, LayerBuilder, LayerList, LayerStep, NOISE, PoolShape};

use super::{cifar, network, supernet};

fn names(op: &OpDesc, n_inputs: usize, affine: bool) -> Vec<String> {
    let list = OpCatalog::builtin().lower(op, n_inputs, affine).unwrap();
    list.steps.into_iter().map(|s| s.name).collect()
}

#[test]
fn every_op_without_children_lowers_to_what_it_says_of_itself() {
    let catalog = OpCatalog::builtin();
    let mut checked = 0;
    let has_layers = |name: &str| name != NOISE;
    let ops = catalog.iter();
    for info in ops.filter(|info| !info.has_children() && has_layers(info.name())) {
        let n = match info.arity() {
            Arity::Fixed(n) => n,
            Arity::Any => 3,
        };
        let inputs = vec![Shape::new(8, 28, 28); n];
        let joined = if info.joins_channels() { n } else { 1 };
        let c_in = joined * info.in_features(inputs[0]);
        for (c_out, stride, affine) in [
            (8, 1, true),
            (8, 2, false),
            (16, 1, false),
            (16, 2, true),
            (24, 1, true),
        ] {
            let op = OpDesc::new(info.name(), c_in, c_out).with_stride(stride);
            let Some(out) = catalog
                .check(&op)
                .and_then(|()| catalog.out_shape(&op, &inputs))
                .ok()
            else {
                continue;
            };
            checked += 1;
            let list = catalog.lower(&op, n, affine).unwrap();
            let cost = catalog.cost(&op, &inputs, affine).unwrap();
            assert_eq!(list.measure(&inputs).unwrap(), (out, cost), "{op:?}");
            assert_eq!(list.is_zero(), catalog.is_zero(info.name()), "{op:?}");
            let json = serde_json::to_string(&list).unwrap();
            assert_eq!(list, serde_json::from_str(&json).unwrap(), "{json}");
        }
    }
    assert!(checked > 90, "{checked}");
}

#[test]
fn layers_are_numbered_in_order_of_use() {
    for (op, n, expected) in [
        (
            OpDesc::new("sep_conv_3x3", 4, 4),
            1,
            "relu1 conv1 conv2 bn1 relu2 conv3 conv4 bn2",
        ),
        (
            OpDesc::new("prepr_reduce", 4, 8),
            1,
            "relu1 conv1 crop1 conv2 concat1 bn1",
        ),
        (OpDesc::new("skip_connect", 4, 4), 1, ""),
        (OpDesc::new("proj_channels", 4, 8), 3, "concat1 conv1 bn1"),
        (
            OpDesc::new("mixed_op", 4, 4).with_children([
                OpDesc::new("convbn_1x1", 4, 4),
                OpDesc::new("none", 4, 4),
                OpDesc::new("convbn_1x1", 4, 4),
            ]),
            1,
            "convbn_1x1.conv1 convbn_1x1.bn1 convbn_1x1_2.conv1 convbn_1x1_2.bn1 mix1",
        ),
    ] {
        assert_eq!(names(&op, n, true).join(" "), expected, "{op:?}");
    }
    // The children of a `multi_op` and what follows them share one numbering.
    let mut multi = OpDesc::new("multi_op", 4, 4).with_children([
        OpDesc::new("convbn_1x1", 4, 4),
        OpDesc::new("convbn_3x3", 4, 4),
    ]);
    multi.children[1].input = 1;
    assert_eq!(
        names(&multi, 2, true).join(" "),
        "conv1 bn1 conv2 bn2 concat1 conv3 bn3"
    );
}

#[test]
fn facts_of_execution_are_in_the_list() {
    let catalog = OpCatalog::builtin();
    let layers = |op: &OpDesc, affine| -> Vec<Layer> {
        let list = catalog.lower(op, 1, affine).unwrap();
        list.steps.into_iter().map(|s| s.layer).collect()
    };
    let pool = layers(&OpDesc::new("avg_pool_3x3", 4, 4).with_stride(2), false);
    let average = Layer::AvgPool {
        window: PoolShape {
            kernel: 3,
            stride: 2,
            padding: 1,
        },
        count_include_pad: false,
    };
    assert_eq!(pool, [average]);
    let dilated = layers(&OpDesc::new("dil_conv_5x5", 4, 4).with_stride(2), false);
    let Layer::Conv(depthwise) = dilated[1] else {
        panic!("{dilated:?}")
    };
    let expected = ConvShape {
        c_in: 4,
        c_out: 4,
        kernel: [5, 5],
        stride: [2, 2],
        padding: [4, 4],
        dilation: 2,
        groups: 4,
        bias: false,
    };
    assert_eq!(depthwise, expected);
    // A bias where norms learn, as the original has it.
    for affine in [false, true] {
        let inverted = layers(&OpDesc::new("mbconv_r2", 4, 4), affine);
        let biases = inverted.iter().filter_map(|l| match l {
            Layer::Conv(conv) => Some(conv.bias),
            _ => None,
        });
        assert_eq!(Vec::from_iter(biases), [affine; 3]);
        assert!(inverted.contains(&Layer::Norm {
            channels: 4,
            affine
        }));
    }
    // The op's own choice comes before the model's.
    let own = layers(&OpDesc::new("convbn_1x1", 4, 4).with_affine(false), true);
    assert!(matches!(own[1], Layer::Norm { affine: false, .. }));
}

#[test]
fn children_of_a_mixed_op_agree_outside_and_differ_inside() {
    let catalog = OpCatalog::builtin();
    let input = [Shape::new(8, 16, 16)];
    let mixed = |stride, children: &[(&str, usize)]| {
        let children = children
            .iter()
            .map(|(name, stride)| OpDesc::new(*name, 8, 8).with_stride(*stride));
        OpDesc::new("mixed_op", 8, 8)
            .with_stride(stride)
            .with_children(children)
    };
    let measured = |op: &OpDesc| {
        catalog.check(op)?;
        catalog.out_shape(op, &input)
    };
    // Expansion and kernel differ; one halves its input by a stride of its own name.
    let expansions = [("mbconv_r1", 2), ("mbconv_r3", 2), ("max_pool_2x2", 1)];
    let op = mixed(2, &expansions);
    assert_eq!(measured(&op).unwrap().height, 8);
    let lowered = catalog.lower(&op, 1, true).unwrap();
    assert_eq!(
        lowered.measure(&input).unwrap().1,
        catalog.cost(&op, &input, true).unwrap()
    );
    for (op, parts) in [
        (
            mixed(1, &[("mbconv_r1", 1), ("mbconv_r3", 2)]),
            ["child 1 (`mbconv_r3`)", "must agree"],
        ),
        (
            mixed(1, &[("mbconv_r1", 2), ("mbconv_r3", 2)]),
            ["`stride: 1`", "make them agree"],
        ),
    ] {
        let error = measured(&op).unwrap_err();
        assert_eq!(error.kind, DescErrorKind::Shape);
        for part in parts {
            assert!(error.to_string().contains(part), "{error}");
        }
    }
    let mut wider = mixed(1, &[("mbconv_r1", 1), ("conv_1x1", 1)]);
    wider.children[1].op.ch_out = 9;
    let error = measured(&wider).unwrap_err();
    assert!(error.to_string().contains("make them equal"), "{error}");
}

/// An op that measured its children twice would double the work at every level.
#[test]
fn nested_ops_are_measured_once_each() {
    let mut op = OpDesc::new("skip_connect", 4, 4);
    for _ in 0..200 {
        op = OpDesc::new("multi_op", 4, 4).with_children([op]);
    }
    let catalog = OpCatalog::builtin();
    let input = [Shape::new(4, 8, 8)];
    catalog.check(&op).unwrap();
    // Each level is a pointwise convolution from 4 to 4 channels and its norm.
    let expected = Cost {
        params: 200 * (16 + 8),
        macs: 200 * 16 * 64,
    };
    assert_eq!(
        catalog.measure(&op, &input, true).unwrap(),
        (input[0], expected)
    );
    let list = catalog.lower(&op, 1, true).unwrap();
    assert_eq!(list.measure(&input).unwrap(), (input[0], expected));
}

#[test]
fn strides_are_ordinals() {
    let says = |stride| Layer::Subsample { stride }.to_string();
    for (stride, ordinal) in [
        (1, "1st"),
        (2, "2nd"),
        (3, "3rd"),
        (4, "4th"),
        (12, "12th"),
        (22, "22nd"),
    ] {
        assert_eq!(says(stride), format!("every {ordinal} row and column"));
    }
}

#[test]
fn numbers_that_a_layer_cannot_have_are_errors() {
    let (wide, small) = (Shape::new(6, 8, 8), Shape::new(6, 4, 4));
    let conv = ConvShape::new(6, 4, 3);
    let grouped = |groups| Layer::Conv(ConvShape { groups, ..conv });
    let mix = |places: &[usize]| Layer::Mix {
        places: places.to_vec(),
        of: 2,
    };
    for (layer, inputs, says) in [
        (
            grouped(3),
            vec![wide],
            "has 3 groups, which must divide its 6 input channels and its 4 output channels",
        ),
        (grouped(0), vec![wide], "has 0 groups"),
        (
            Layer::Conv(conv.with_stride(0)),
            vec![wide],
            "has stride 0×0",
        ),
        (
            Layer::Conv(conv.with_dilation(0)),
            vec![wide],
            "dilation 0; expected at least 1",
        ),
        (
            Layer::Subsample { stride: 0 },
            vec![wide],
            "`subsample` has stride 0",
        ),
        (
            Layer::MaxPool(PoolShape::unpadded(2, 0)),
            vec![wide],
            "`max_pool` has stride 0",
        ),
        (
            mix(&[0, 1]),
            vec![wide, small],
            "adds inputs of one shape, but input 0 is 6×8×8 and input 1 is 6×4×4",
        ),
        (
            mix(&[0, 2]),
            vec![wide, wide],
            "takes weight 2 of an input, but there are 2 weights",
        ),
        (
            mix(&[0]),
            vec![wide, wide],
            "names the weights of 1 input(s), but reads 2",
        ),
        (
            Layer::Scale,
            vec![wide, small],
            "the channels of 6×8×8 are scaled by 6×4×4; expected one number for each of the 6 channels",
        ),
        (Layer::Scale, vec![wide], "has 1 input(s)"),
    ] {
        let error = layer.measure(&inputs).unwrap_err().to_string();
        assert!(error.contains(says), "`{says}` is missing in: {error}");
    }
}

#[test]
fn indices_that_lead_nowhere_are_errors() {
    let list = |n_inputs, reads, output| LayerList {
        n_inputs,
        steps: vec![LayerStep {
            name: "relu1".into(),
            layer: Layer::Relu,
            inputs: vec![reads],
        }],
        output,
    };
    let input = [Shape::new(4, 8, 8)];
    assert_eq!(list(1, 0, 1).measure(&input).unwrap().0, input[0]);
    for (list, says) in [
        (
            list(1, 1, 1),
            "`relu1` reads value 1, but only 1 value(s) come before it",
        ),
        (list(1, 0, 7), "the result is value 7, but there are 2"),
        (
            list(2, 0, 2),
            "the list of layers reads 2 input(s), but is given 1",
        ),
    ] {
        let error = list.measure(&input).unwrap_err();
        assert_eq!(error.kind, DescErrorKind::Reference);
        assert_eq!(error.to_string(), says);
        assert!(!list.is_zero());
    }
    let catalog = OpCatalog::builtin();
    let (mut b, inputs) = LayerBuilder::new(&catalog, 2, true);
    for given in [&inputs[..], &[]] {
        let op = OpDesc::new("sep_conv_3x3", 4, 4);
        let error = b.child(&op, given).unwrap_err().to_string();
        let n = given.len();
        assert_eq!(
            error,
            format!("`sep_conv_3x3` reads 1 input(s), but is given {n}")
        );
    }
    assert!(b.is_empty());
}

#[test]
fn a_graph_is_whole_and_survives_json() {
    let catalog = OpCatalog::builtin();
    let mut settings = cifar(5, 2, 4, 8);
    settings.aux_weight = 0.4;
    for desc in [
        network(&super::DARTS_V2.parse().unwrap(), &settings),
        supernet(&cifar(3, 1, 2, 4)),
    ] {
        let graph = desc.lower(&catalog).unwrap();
        assert_eq!(graph.values.len(), graph.layers.len() + 1);
        for (i, layer) in graph.layers.iter().enumerate() {
            assert_eq!(layer.output, i + 1);
            assert!(layer.inputs.iter().all(|&input| input <= i));
        }
        let towers = desc.cells.iter().filter(|c| c.aux_tower.is_some()).count();
        assert_eq!(graph.aux.len(), towers);
        assert_eq!(graph.values[graph.logits].shape.channels, desc.n_classes);
        let mixed: Vec<_> = graph.layers.iter().filter_map(|l| l.arch).collect();
        let mut owned: Vec<_> = mixed.clone();
        owned.sort();
        owned.dedup();
        assert_eq!(owned, desc.arch_keys());
        for with_aux in [false, true] {
            let cost = desc.cost(&catalog).unwrap().total(with_aux);
            assert_eq!(graph.cost(with_aux), cost);
        }
        let json = serde_json::to_string(&graph).unwrap();
        assert_eq!(serde_json::from_str::<Graph>(&json).unwrap(), graph);
    }
}

#[test]
fn drop_path_is_marked_where_it_may_drop() {
    let catalog = OpCatalog::builtin();
    let desc = network(&super::DARTS_V2.parse().unwrap(), &cifar(5, 2, 4, 8));
    let graph = desc.lower(&catalog).unwrap();
    let marks = graph.layers.iter().filter(|l| l.layer == Layer::DropPath);
    let edges = desc
        .cells
        .iter()
        .flat_map(|c| &c.nodes)
        .flat_map(|n| &n.edges);
    let droppable = edges.filter(|e| catalog.can_drop_path(&e.op).unwrap());
    assert_eq!(marks.clone().count(), droppable.count());
    assert!(marks.into_iter().all(|mark| mark.only_training));
}

#[test]
fn dropout_is_of_training_only_and_costs_nothing() {
    let catalog = OpCatalog::builtin();
    let dense = |dropout| {
        OpDesc::new("dense", 12, 8)
            .with_param("act", ParamValue::Text("gelu".into()))
            .with_param("dropout", ParamValue::Float(dropout))
    };
    let list = catalog.lower(&dense(0.25), 1, true).unwrap();
    let names: Vec<&str> = list.steps.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["flatten1", "linear1", "gelu1", "dropout1"]);
    let last = &list.steps[3].layer;
    assert!(last.is_only_training() && last.is_view());
    assert_eq!(last.to_string(), "dropout of 0.25");
    assert_eq!(catalog.lower(&dense(0.0), 1, true).unwrap().steps.len(), 3);
    let input = [Shape::new(12, 1, 1)];
    let cost = |op: &OpDesc| catalog.cost(op, &input, true).unwrap();
    assert_eq!(cost(&dense(0.25)), cost(&OpDesc::new("dense", 12, 8)));
    // A share that is none does not come out of a file.
    let json = serde_json::to_string(last).unwrap();
    assert_eq!(serde_json::from_str::<Layer>(&json).unwrap(), *last);
    let error = serde_json::from_str::<Layer>(&json.replace("0.25", "1.5")).unwrap_err();
    assert!(error.to_string().contains("1.5 is no share"), "{error}");
}

#[test]
fn inference_leaves_out_what_matters_in_training_only() {
    let catalog = OpCatalog::builtin();
    let mut settings = cifar(5, 2, 4, 8);
    settings.aux_weight = 0.4;
    let desc = network(&super::DARTS_V2.parse().unwrap(), &settings);
    let whole = desc.lower(&catalog).unwrap();
    let graph = whole.inference();
    let trained_only = whole.layers.iter().filter(|l| l.only_training).count();
    assert!(trained_only > 20 && !whole.aux.is_empty() && graph.aux.is_empty());
    assert_eq!(graph.layers.len(), whole.layers.len() - trained_only);
    assert!(graph.layers.iter().all(|l| !l.only_training));
    assert_eq!(graph.values[graph.logits], whole.values[whole.logits]);
    assert_eq!(graph.cost(true), whole.cost(false));
    assert_eq!(graph.memory(4), whole.memory(4));
    for (i, layer) in graph.layers.iter().enumerate() {
        assert_eq!(layer.output, i + 1);
        let read: Vec<_> = layer
            .inputs
            .iter()
            .map(|&i| graph.values[i].shape)
            .collect();
        let (out, _) = layer.layer.measure(&read).unwrap();
        assert_eq!(out, graph.values[layer.output].shape);
    }
}

#[test]
fn memory_by_hand() {
    let value = |name: &str, channels| GraphValue {
        name: name.to_string(),
        shape: Shape::new(channels, 1, 1),
    };
    let layer = |layer, inputs: &[usize], output| GraphLayer {
        layer,
        inputs: inputs.to_vec(),
        output,
        params: Vec::new(),
        cost: Cost::default(),
        arch: None,
        only_training: false,
    };
    // image (2) → relu (2) → concat with the image (4) → flatten (a view) → relu (4).
    let graph = Graph {
        values: ["image", "a", "b", "c", "d"]
            .into_iter()
            .zip([2, 2, 4, 4, 4])
            .map(|(name, channels)| value(name, channels))
            .collect(),
        layers: vec![
            layer(Layer::Relu, &[0], 1),
            layer(Layer::Concat, &[0, 1], 2),
            layer(Layer::Flatten, &[2], 3),
            layer(Layer::Relu, &[3], 4),
        ],
        logits: 4,
        aux: Vec::new(),
    };
    let memory = graph.memory(4);
    // All but the view; at most image, a and b at once, or b and d.
    assert_eq!((memory.forward, memory.peak), (4 * 12, 4 * 8));
    // image (2) → a (2) and b (2), which nothing reads; a → c (4).
    let graph = Graph {
        values: ["image", "a", "b", "c"]
            .into_iter()
            .zip([2, 2, 2, 4])
            .map(|(name, channels)| value(name, channels))
            .collect(),
        layers: vec![
            layer(Layer::Relu, &[0], 1),
            layer(Layer::Relu, &[0], 2),
            layer(Layer::Concat, &[1, 1], 3),
        ],
        logits: 3,
        aux: Vec::new(),
    };
    let memory = graph.memory(4);
    // At most image, a and b at once, or a and c: b is gone by then.
    assert_eq!((memory.forward, memory.peak), (4 * 10, 4 * 6));
    // Towers do not count.
    let catalog = OpCatalog::builtin();
    let mut settings = cifar(5, 2, 4, 8);
    settings.aux_weight = 0.4;
    let mut desc = network(&super::DARTS_V2.parse().unwrap(), &settings);
    let with = desc.lower(&catalog).unwrap();
    desc.cells.iter_mut().for_each(|c| c.aux_tower = None);
    let without = desc.lower(&catalog).unwrap();
    assert!(with.layers.len() > without.layers.len());
    assert_eq!(with.memory(4), without.memory(4));
}
