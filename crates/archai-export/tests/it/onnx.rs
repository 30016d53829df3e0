//! What ONNX files hold. That other programs compute the same from them is the business of `interop/onnx_check.py`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;

use archai_export::onnx::proto::{DataType, Graph, Model, Node, Tensor, ValueInfo};
use archai_export::onnx::{OnnxExporter, network};
use archai_export::reference::Reference;
use archai_export::{ExportInput, Exported, Exporter, ModelInfo, NamedTensor, Options, fold_norms};
use archai_spec::desc::{ModelDesc, OpDesc};
use archai_spec::ops::{Activation, ConvShape, Layer};
use prost::Message;

use crate::cases::{catalog, drawn, for_pictures, images, of_zoo, ops, trained};
use crate::reference::graph;

fn info(n_classes: usize, channels: usize, size: [usize; 2]) -> ModelInfo {
    ModelInfo {
        class_names: (0..n_classes).map(|i| format!("class {i}")).collect(),
        n_classes,
        channels,
        size,
        mean: vec![0.5; channels],
        std: vec![0.25; channels],
        transforms: Vec::new(),
        pictures: Default::default(),
        provenance: Default::default(),
    }
}

fn bytes(desc: &ModelDesc, state: &[NamedTensor], options: &Options) -> Vec<u8> {
    let (catalog, mut bytes) = (catalog(), Vec::new());
    let model = Exported {
        desc,
        catalog: &catalog,
        state,
        info: &info(
            desc.n_classes,
            desc.input.channels,
            [desc.input.height, desc.input.width],
        ),
        options,
    };
    OnnxExporter.export(&model, &mut bytes).unwrap();
    bytes
}

fn find<'a>(graph: &'a Graph, name: &str) -> &'a Node {
    let node = graph.node.iter().find(|n| n.name == name);
    node.unwrap_or_else(|| panic!("no node {name}"))
}

fn shape(value: &ValueInfo) -> String {
    let tensor = value.r#type.as_ref().unwrap().tensor_type.as_ref().unwrap();
    let dims = tensor.shape.as_ref().unwrap().dim.iter();
    let dims = dims.map(|d| format!("{:?}", d.value.as_ref().unwrap()));
    format!(
        "{:?} {}",
        tensor.elem_type(),
        dims.collect::<Vec<_>>().join(" ")
    )
}

#[test]
fn a_file_says_what_it_takes_and_gives_and_calls_things_by_their_names() {
    let catalog = catalog();
    let case = of_zoo(&catalog).swap_remove(0);
    let lowered = case.desc.lower(&catalog).unwrap().inference();
    let state = trained(&lowered, 3);
    let first = bytes(&case.desc, &state, &Options::default());
    assert_eq!(
        first,
        bytes(&case.desc, &state, &Options::default()),
        "the same bytes each time"
    );
    let model = Model::decode(first.as_slice()).unwrap();
    assert_eq!((model.ir_version, model.opset_import[0].version), (8, 18));
    let texts: BTreeMap<&str, &str> = (model.metadata_props.iter())
        .map(|t| (t.key.as_str(), t.value.as_str()))
        .collect();
    assert_eq!(texts["input_size"], "[3,16,16]");
    assert_eq!(texts["mean"], "[0.5,0.5,0.5]");
    assert_eq!(texts["input"], "normalised");
    assert!(texts["class_names"].starts_with("[\"class 0\",\"class 1\""));
    assert_eq!(
        ModelDesc::from_yaml(texts["model_desc"], "model_desc", &catalog).unwrap(),
        case.desc
    );
    let written = model.graph.unwrap();
    assert_eq!(written.input[0].name, "image");
    assert_eq!(
        shape(&written.input[0]),
        "Float Param(\"batch\") Value(3) Value(16) Value(16)"
    );
    assert_eq!(written.output[0].name, "logits");
    assert_eq!(
        shape(&written.output[0]),
        "Float Param(\"batch\") Value(10)"
    );
    // Parameters and nodes have the graph's names; all parameters are there, and their numbers are the nearest.
    let tensors: BTreeMap<&str, &Tensor> = (written.initializer.iter())
        .map(|t| (t.name.as_str(), t))
        .collect();
    assert_eq!(tensors.len(), written.initializer.len(), "two of one name");
    for tensor in &state {
        let given = tensors[tensor.name.as_str()];
        let shape: Vec<i64> = tensor.shape.iter().map(|&n| n as i64).collect();
        assert_eq!((&given.dims, given.data_type()), (&shape, DataType::Float));
        let numbers = given.raw_data.as_chunks::<4>().0.iter();
        let numbers: Vec<f64> = numbers.map(|b| f32::from_le_bytes(*b).into()).collect();
        assert_eq!(numbers, tensor.values, "{}", tensor.name);
    }
    let nodes: BTreeSet<&str> = written.node.iter().map(|n| n.name.as_str()).collect();
    for value in &lowered.values[1..] {
        assert!(nodes.contains(value.name.as_str()), "{}", value.name);
    }
    // A node reads what is there before it.
    let mut known: BTreeSet<&str> = tensors.keys().copied().chain(["image"]).collect();
    for node in &written.node {
        let unknown = node
            .input
            .iter()
            .find(|name| !known.contains(name.as_str()));
        assert_eq!(unknown, None, "{} reads what is not there", node.name);
        assert!(
            node.output.iter().all(|name| known.insert(name)),
            "{}",
            node.name
        );
    }
}

#[test]
fn the_normalisation_and_the_softmax_may_be_part_of_the_network() {
    let catalog = catalog();
    let case = for_pictures(&catalog).swap_remove(0);
    let state = trained(&case.desc.lower(&catalog).unwrap().inference(), 3);
    let options = Options {
        input: ExportInput::Bytes,
        softmax: true,
        ..Options::default()
    };
    let model = Model::decode(bytes(&case.desc, &state, &options).as_slice()).unwrap();
    let written = model.graph.unwrap();
    assert_eq!(
        shape(&written.input[0]),
        "Uint8 Param(\"batch\") Value(1) Value(28) Value(28)"
    );
    let ops: Vec<&str> = written.node[..5]
        .iter()
        .map(|n| n.op_type.as_str())
        .collect();
    assert_eq!(ops, ["Cast", "Div", "Sub", "Div", "Conv"]);
    assert_eq!(written.output[0].name, "probabilities");
    let last = written.node.last().unwrap();
    assert_eq!(
        (last.op_type.as_str(), last.input[0].as_str()),
        ("Softmax", "logits")
    );

    let lowered = case.desc.lower(&catalog).unwrap().inference();
    let other = info(10, 3, [28, 28]);
    let text = network(&lowered, &state, &other, &options)
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("mean") && text.contains("1 channels"),
        "{text}"
    );
}

#[test]
fn zeros_are_zeros_whatever_the_input() {
    let lowered = graph([2, 4, 4], |b, x| b.layer(Layer::Zero { stride: 2 }, &[x]));
    let model = network(&lowered, &[], &info(8, 2, [4, 4]), &Options::default()).unwrap();
    let written = model.graph.unwrap();
    let zero = find(&written, "zero1");
    assert_eq!(zero.op_type, "ConstantOfShape");
    // The input gives the size of the batch alone.
    let reads_image = |n: &&Node| n.input.contains(&"image".to_string());
    let readers: Vec<&str> = written
        .node
        .iter()
        .filter(reads_image)
        .map(|n| n.op_type.as_str())
        .collect();
    assert_eq!(readers, ["Shape"]);
}

#[test]
fn functions_are_operators_of_the_set_that_the_file_names() {
    let types = |function| {
        let lowered = graph([2, 1, 1], |b, x| b.activation(x, function));
        let model = network(&lowered, &[], &info(2, 2, [1, 1]), &Options::default()).unwrap();
        let nodes = model.graph.unwrap().node.into_iter();
        nodes.map(|n| n.op_type).collect::<Vec<String>>()
    };
    for (function, expected) in [
        (Activation::HardSwish, &["HardSwish", "Flatten"][..]),
        (Activation::HardSigmoid, &["HardSigmoid", "Flatten"]),
        (Activation::Sigmoid, &["Sigmoid", "Flatten"]),
        (Activation::Silu, &["Sigmoid", "Mul", "Flatten"]),
        (
            Activation::Gelu,
            &["Div", "Erf", "Add", "Mul", "Mul", "Flatten"],
        ),
    ] {
        assert_eq!(types(function), expected, "{function:?}");
    }
}

#[test]
fn what_the_output_does_not_depend_on_is_left_out() {
    let lowered = graph([1, 2, 2], |b, x| {
        let dead = b.conv(x, ConvShape::new(1, 1, 1));
        b.relu(dead);
        b.relu6(x)
    });
    let state = trained(&lowered, 1);
    let model = network(&lowered, &state, &info(4, 1, [2, 2]), &Options::default()).unwrap();
    let names: Vec<String> = model
        .graph
        .unwrap()
        .node
        .into_iter()
        .map(|n| n.name)
        .collect();
    assert_eq!(names, ["relu6_1", "relu6_1.flat"]);
}

#[test]
fn a_supernet_is_refused_by_name() {
    let catalog = catalog();
    let mut desc = drawn(1, &catalog).swap_remove(0).desc;
    for (i, cell) in desc.cells.iter_mut().enumerate() {
        cell.alphas_from = i;
    }
    let op = &mut desc.cells[0].nodes[1].edges[0].op;
    *op = OpDesc::mixed(&["sep_conv_3x3", "none"], op.ch_in, op.stride);
    let error = OnnxExporter
        .check(&desc, &catalog, &Options::default())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(
        error.to_string().contains("`cell0.node1.edge0.mix1`"),
        "{error}"
    );
}

#[test]
fn weights_of_another_network_are_refused() {
    let lowered = graph([3, 4, 4], |b, x| b.conv(x, ConvShape::new(3, 2, 1)));
    let error = network(&lowered, &[], &info(32, 3, [4, 4]), &Options::default()).unwrap_err();
    assert!(error.to_string().contains("conv1.weight"), "{error}");
}

#[test]
fn folded_norms_change_no_logits() {
    let catalog = catalog();
    let ops = ops(&catalog)
        .into_iter()
        .filter(|case| case.name.starts_with("8x8"));
    let (mut before, mut after) = (0, 0);
    for case in drawn(2, &catalog).into_iter().chain(ops) {
        let lowered = case.desc.lower(&catalog).unwrap().inference();
        let state = trained(&lowered, 5);
        let (folded, new_state) = fold_norms(&lowered, &state).unwrap();
        let images = images(2, case.desc.input, 9);
        let expected = Reference::new(&lowered, &state)
            .unwrap()
            .logits(&images)
            .unwrap();
        let given = Reference::new(&folded, &new_state)
            .unwrap()
            .logits(&images)
            .unwrap();
        for (a, b) in given.values.iter().zip(&expected.values) {
            assert!(
                (a - b).abs() < 1e-9,
                "{} {}: {a} {b}",
                case.group,
                case.name
            );
        }
        // No norm is left behind a convolution that nothing else reads; nothing is left of those that are gone.
        let is_norm = |l: &&archai_spec::graph::GraphLayer| matches!(l.layer, Layer::Norm { .. });
        for norm in folded.layers.iter().filter(is_norm) {
            let input = norm.inputs[0];
            let readers = folded
                .layers
                .iter()
                .flat_map(|l| &l.inputs)
                .filter(|v| **v == input);
            let giver = folded
                .layers
                .iter()
                .find(|l| l.output == input)
                .map(|l| &l.layer);
            let is_conv = matches!(giver, Some(Layer::Conv(_) | Layer::Linear { .. }));
            assert!(
                !is_conv || readers.count() > 1,
                "{} {}",
                case.group,
                case.name
            );
        }
        let named: usize = folded.layers.iter().map(|l| l.params.len()).sum();
        assert_eq!(named, new_state.len(), "{} {}", case.group, case.name);
        before += lowered.layers.iter().filter(is_norm).count();
        after += folded.layers.iter().filter(is_norm).count();
    }
    assert!(after * 2 < before, "{after} of {before} norms are left");
}
