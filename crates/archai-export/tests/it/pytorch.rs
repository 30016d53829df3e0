//! The source of networks in PyTorch. That it computes what it should, `interop/pytorch_check.py` tries.

use std::io::ErrorKind;
use std::path::Path;

use archai_export::pytorch::{PytorchExporter, source};
use archai_export::{Exported, Exporter, ModelInfo, NamedTensor, Options, Provenance};
use archai_spec::desc::{
    AuxTowerDesc, ModelDesc, OpCatalog, OpDesc, ParamValue, Shape, build, zoo,
};
use archai_spec::graph::{Graph, GraphLayer, GraphParam, GraphValue};
use archai_spec::ops::{Activation, ConvShape, Layer, LayerBuilder, PoolShape, Share, Value};
use archai_spec::settings::Settings;

fn info(names: &[&str]) -> ModelInfo {
    ModelInfo {
        class_names: names.iter().map(|n| n.to_string()).collect(),
        n_classes: 10,
        channels: 3,
        size: [32, 32],
        mean: vec![0.4914, 0.4822, 0.4465],
        std: vec![0.247, 0.2435, 0.2616],
        transforms: vec!["normalise".to_string()],
        pictures: Default::default(),
        provenance: Provenance::default(),
    }
}

/// A network of the zoo, small.
fn network(name: &str, n_cells: usize, aux_weight: f64) -> ModelDesc {
    let shipped = Settings::shipped("cifar10").unwrap();
    let mut settings = shipped.nas.eval.model_desc;
    (settings.n_cells, settings.n_reductions) = (n_cells, 2);
    settings.model_stems.init_node_ch = 8;
    settings.dataset.size = [32, 32];
    settings.aux_weight = aux_weight;
    let builder = zoo::builder(name).unwrap();
    build(&*builder, &settings, None, true, &OpCatalog::builtin())
        .unwrap()
        .desc
}

fn written(desc: &ModelDesc, training: bool, info: &ModelInfo) -> String {
    let catalog = OpCatalog::builtin();
    let options = Options {
        training,
        ..Options::default()
    };
    PytorchExporter.check(desc, &catalog, &options).unwrap();
    let model = Exported {
        desc,
        catalog: &catalog,
        state: &[],
        info,
        options: &options,
    };
    let mut bytes = Vec::new();
    let names = PytorchExporter.companions("model");
    assert_eq!(names, ["model.py"]);
    PytorchExporter
        .export_companion(&names[0], &model, &mut bytes)
        .unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Compares with a file under `snapshots`, or writes it if `UPDATE_SNAPSHOTS` is set.
fn check_snapshot(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/snapshots")
        .join(name);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expect = std::fs::read_to_string(&path).unwrap();
    let differs = text.lines().zip(expect.lines()).find(|(a, b)| a != b);
    assert!(
        text == expect,
        "{name} differs, first in {differs:?}; if that is meant, run the tests once with UPDATE_SNAPSHOTS=1"
    );
}

#[test]
fn sources_look_as_a_person_would_write_them() {
    let names = [
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ];
    let mut cifar = info(&names);
    cifar.provenance = Provenance {
        algorithm: "darts".to_string(),
        dataset: "cifar10".to_string(),
        epochs: Some(600),
        accuracy: [("test_top1".to_string(), 0.9731)].into(),
        ..Provenance::default()
    };
    let darts = network("darts_v2", 8, 0.4);
    check_snapshot("darts.py", &written(&darts.without_towers(), false, &cifar));
    check_snapshot("darts_training.py", &written(&darts, true, &cifar));
    check_snapshot(
        "resnet20.py",
        &written(&network("resnet20", 8, 0.0), false, &cifar),
    );
}

#[test]
fn all_of_the_zoo_is_short_and_tidy() {
    for name in zoo::names() {
        let text = written(&network(name, 20, 0.0), false, &info(&[]));
        let n = text.lines().count();
        assert!(n < 320, "{name} has {n} lines");
        for line in text.lines() {
            assert!(
                line.chars().count() <= 88 && line == line.trim_end(),
                "{name}: {line}"
            );
        }
        // Cells stand in loops, or in a few lines.
        let cells = text.matches("        self.cell").count();
        assert!(cells <= 16, "{name} spells out {cells} cells");
        assert!(text.contains("for i in range("), "{name}");
    }
}

/// A graph of one chain of layers, which are named as in `op`.
fn chain(layers: &[Layer], input: Shape) -> Graph {
    let catalog = OpCatalog::empty();
    let (mut b, inputs) = LayerBuilder::new(&catalog, 1, true);
    let mut x = inputs[0];
    b.below("op", |b| {
        for layer in layers {
            // What joins reads the value twice.
            let reads: &[Value] = match layer {
                Layer::Concat | Layer::Add | Layer::Mix { .. } => &[x, x],
                _ => &[x],
            };
            x = b.layer(layer.clone(), reads);
        }
    });
    let list = b.finish(x);
    let (shapes, costs) = list.trace(&[input]).unwrap();
    let mut graph = Graph {
        values: vec![GraphValue {
            name: "image".to_string(),
            shape: input,
        }],
        layers: Vec::new(),
        logits: list.output,
        aux: Vec::new(),
    };
    for (i, (step, cost)) in list.steps.iter().zip(costs).enumerate() {
        graph.values.push(GraphValue {
            name: step.name.clone(),
            shape: shapes[i + 1],
        });
        let params = step.layer.params().into_iter().map(|p| GraphParam {
            name: format!("{}.{}", step.name, p.kind.name()),
            kind: p.kind,
            shape: p.shape,
        });
        graph.layers.push(GraphLayer {
            layer: step.layer.clone(),
            inputs: step.inputs.clone(),
            output: i + 1,
            params: params.collect(),
            cost,
            arch: None,
            only_training: false,
        });
    }
    graph
}

#[test]
fn every_layer_is_one_expression() {
    let pool = PoolShape {
        kernel: 3,
        stride: 2,
        padding: 1,
    };
    let average = |window, count_include_pad| Layer::AvgPool {
        window,
        count_include_pad,
    };
    let conv = ConvShape::new(4, 8, 3);
    let check = |layer: Layer, made: &str, used: &str| {
        let rest = [Layer::GlobalMean, Layer::Flatten];
        let layers = [&[Layer::Conv(ConvShape::new(3, 4, 1)), layer][..], &rest].concat();
        let text = source(&chain(&layers, Shape::new(3, 8, 8)), &info(&[])).unwrap();
        for part in [made, used] {
            assert!(text.contains(part), "no {part} in\n{text}");
        }
    };
    check(Layer::Zero { stride: 1 }, "", "torch.zeros_like(");
    check(Layer::Zero { stride: 2 }, "", "[:, :, ::2, ::2])");
    check(Layer::Relu, "", "F.relu(");
    check(Layer::Relu6, "", "F.relu6(");
    for (function, used) in [
        (Activation::HardSwish, "F.hardswish("),
        (Activation::HardSigmoid, "F.hardsigmoid("),
        (Activation::Sigmoid, "torch.sigmoid("),
        (Activation::Gelu, "F.gelu("),
        (Activation::Silu, "F.silu("),
    ] {
        check(Layer::Activation { function }, "", used);
    }
    let share = Share::new(0.25).unwrap();
    check(Layer::Dropout { share }, "", ", 0.25, self.training)");
    check(
        Layer::Conv(conv.with_bias(true)),
        "nn.Conv2d(4, 8, 3, padding=1)",
        "self.conv2(",
    );
    check(
        Layer::Conv(ConvShape::depthwise(4, 5).with_stride(2).with_dilation(2)),
        "        4, 4, 5, stride=2, padding=4, dilation=2, groups=4, bias=False",
        "",
    );
    check(
        Layer::Conv(ConvShape {
            kernel: [1, 7],
            padding: [0, 3],
            stride: [1, 2],
            ..conv
        }),
        "nn.Conv2d(4, 8, (1, 7), stride=(1, 2), padding=(0, 3), bias=False)",
        "",
    );
    check(
        Layer::Conv(ConvShape {
            padding: [0, 0],
            groups: 2,
            ..conv
        }),
        "nn.Conv2d(4, 8, 3, groups=2, bias=False)",
        "",
    );
    let norm = |affine| Layer::Norm {
        channels: 4,
        affine,
    };
    check(norm(true), "nn.BatchNorm2d(4)", "self.bn1(");
    check(norm(false), "nn.BatchNorm2d(4, affine=False)", "");
    check(
        Layer::MaxPool(pool),
        "",
        "F.max_pool2d(self.op.conv1(images), 3, 2, 1)",
    );
    check(
        average(pool, false),
        "",
        ", 3, 2, 1, count_include_pad=False)",
    );
    check(
        average(pool, true),
        "",
        "F.avg_pool2d(self.op.conv1(images), 3, 2, 1)",
    );
    check(
        average(PoolShape::unpadded(2, 2), false),
        "",
        "F.avg_pool2d(self.op.conv1(images), 2, 2)",
    );
    check(Layer::GlobalMean, "", ".mean((2, 3))");
    check(
        Layer::Flatten,
        "",
        ".flatten(1)[:, :, None, None].mean((2, 3))",
    );
    check(Layer::Subsample { stride: 2 }, "", "[:, :, ::2, ::2]");
    check(Layer::Crop { top: 1, left: 0 }, "", "[:, :, 1:, :]");
    check(Layer::TakeChannels { channels: 3 }, "", "[:, :3]");
    check(
        Layer::PadChannels {
            before: 1,
            after: 2,
        },
        "",
        "(0, 0, 0, 0, 1, 2))",
    );
    check(Layer::Concat, "", "torch.cat([");
    check(Layer::Add, "", " + ");
    check(
        Layer::DropPath,
        "self.drop_path = DropPath()",
        "self.drop_path(",
    );
    let linear = |bias| Layer::Linear {
        n_in: 4,
        n_out: 7,
        bias,
    };
    let linear = |bias| {
        let layers = [
            Layer::Conv(ConvShape::new(3, 4, 1)),
            Layer::GlobalMean,
            linear(bias),
        ];
        source(&chain(&layers, Shape::new(3, 8, 8)), &info(&[])).unwrap()
    };
    assert!(linear(true).contains("nn.Linear(4, N_CLASSES)"));
    assert!(linear(false).contains("nn.Linear(4, N_CLASSES, bias=False)"));
}

#[test]
fn a_squeeze_and_excite_and_a_dropout_are_as_a_person_would_write_them() {
    let text = |value: &str| ParamValue::Text(value.to_string());
    let op = OpDesc::new("squeeze_excite", 8, 8);
    let dense = OpDesc::new("dense", 8, 5)
        .with_param("act", text("silu"))
        .with_param("dropout", ParamValue::Float(0.1));
    let lowered = crate::reference::graph([8, 4, 4], |b, x| {
        let x = b.child_named("excite", &op, &[x]).unwrap();
        let x = b.below("pool", |b| b.layer(Layer::GlobalMean, &[x]));
        b.child_named("dense", &dense, &[x]).unwrap()
    });
    let written = source(&lowered, &info(&[])).unwrap();
    for line in [
        "        relu1 = F.relu(self.conv1(x.mean((2, 3))[:, :, None, None]))\n",
        "        hsigmoid1 = F.hardsigmoid(self.conv2(relu1))\n        return x * hsigmoid1\n",
        "        dense = F.silu(self.dense.linear1(self.excite(images).mean((2, 3))))\n",
        "        return F.dropout(dense, 0.1, self.training)\n",
    ] {
        assert!(written.contains(line), "no {line} in\n{written}");
    }
    let silent = source(&lowered.inference(), &info(&[])).unwrap();
    assert!(!silent.contains("dropout"), "{silent}");
    assert_eq!(lowered.cost(false), lowered.inference().cost(true));
}

#[test]
fn what_pytorch_cannot_express_is_refused_by_name() {
    let refused = |layer: Layer| {
        let layers = [
            Layer::Conv(ConvShape::new(3, 4, 1)),
            layer,
            Layer::GlobalMean,
        ];
        let error = source(&chain(&layers, Shape::new(3, 8, 8)), &info(&[])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        error.to_string()
    };
    let places = vec![0, 1];
    let error = refused(Layer::Mix { places, of: 3 });
    assert!(
        error.contains("`op.mix1` is still a choice among 3 candidates"),
        "{error}"
    );
    let window = PoolShape {
        kernel: 3,
        stride: 1,
        padding: 2,
    };
    let error = refused(Layer::MaxPool(window));
    assert!(
        error.contains("`op.max_pool1` has padding 2 around windows of 3"),
        "{error}"
    );
    let mut graph = chain(
        &[Layer::Conv(ConvShape::new(3, 4, 1)), Layer::GlobalMean],
        Shape::new(3, 8, 8),
    );
    graph.values[1].name = "cell0.node0.edge0.half.conv1".to_string();
    let error = source(&graph, &info(&[])).unwrap_err().to_string();
    assert!(error.contains("called `half`"), "{error}");

    // A supernet is refused before anything is written.
    let mut desc = network("darts_v2", 5, 0.0);
    // Cells that share architecture parameters are alike.
    for cell in desc.cells.iter_mut().filter(|cell| cell.alphas_from == 0) {
        let op = &mut cell.nodes[0].edges[0].op;
        *op = OpDesc::mixed(&["sep_conv_3x3", "skip_connect"], op.ch_in, 1);
    }
    let error = PytorchExporter.check(&desc, &OpCatalog::builtin(), &Options::default());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("cell0.node0.edge0"), "{error}");
}

#[test]
fn towers_and_drop_path_are_there_on_request() {
    let mut desc = network("darts_v2", 8, 0.4);
    let used = written(&desc.without_towers(), false, &info(&[]));
    assert!(!used.contains("DropPath") && !used.contains("self.training"));
    let text = written(&desc, true, &info(&[]));
    for part in [
        "self.aux = AuxiliaryTower()",
        "if self.training:\n            aux = self.aux(s1)",
        "return (logits, aux) if self.training else logits",
        "self.drop_path(self.node0.edge0.sep_conv_3x3(pre0))",
        "def set_drop_path(self, p):",
    ] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
    // Several towers stand below their cells.
    let cell = &desc.cells[2];
    let tower = AuxTowerDesc {
        ch_in: cell.out.channels,
        ..desc.cells.iter().find_map(|c| c.aux_tower.clone()).unwrap()
    };
    desc.cells[2].aux_tower = Some(tower);
    let text = written(&desc, true, &info(&[]));
    for part in ["self.cell2.aux = AuxiliaryTower(", "= self.cell2.aux(s1)"] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
}

#[test]
fn names_of_classes_are_python() {
    let check = |names: &[&str], expect: &str| {
        let text = written(&network("resnet20", 8, 0.0), false, &info(names));
        assert!(text.contains(expect), "no {expect} in\n{text}");
    };
    check(&[], "CLASSES = [str(i) for i in range(10)]");
    check(
        &["a", "it's", "\"b\""],
        "CLASSES = [\"a\", \"it's\", '\"b\"']",
    );
    let many: Vec<String> = (0..100).map(|i| format!("kind {i}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    check(&many, "kind 99\"\n).split(\", \")");
    check(&many[..8], "kind 7\".split(\", \")");
    let with_commas: Vec<String> = (0..20).map(|i| format!("kind, {i}; x")).collect();
    let with_commas: Vec<&str> = with_commas.iter().map(String::as_str).collect();
    check(&with_commas, ").split(\" | \")");
}

#[test]
fn the_state_dict_is_the_main_file() {
    let catalog = OpCatalog::builtin();
    let state = [NamedTensor {
        name: "stem.conv1.weight".to_string(),
        shape: vec![1],
        values: vec![0.5],
    }];
    let model = Exported {
        desc: &network("resnet20", 8, 0.0),
        catalog: &catalog,
        state: &state,
        info: &info(&[]),
        options: &Options::default(),
    };
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    PytorchExporter.export(&model, &mut ours).unwrap();
    archai_export::write_pt(&mut plain, &state).unwrap();
    assert_eq!(ours, plain);
    assert_eq!(
        PytorchExporter.usage("model.py").unwrap(),
        "from model import load; network = load()"
    );
    assert_eq!(PytorchExporter.usage("model.pt"), None);
}
