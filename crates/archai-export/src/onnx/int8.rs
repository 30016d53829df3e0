//! A network of bytes in ONNX: each value that is quantised goes through a `QuantizeLinear` and a `DequantizeLinear`, and each
//! weight and bias comes out of a `DequantizeLinear`. A program that knows integer kernels puts them in the place of an operator
//! between such nodes (onnxruntime: `QLinearConv`, `QLinearAdd`, `QGemm`, …); one that does not computes the same in 32 bits.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};

use archai_spec::registry::Named;
use archai_spec::settings::ExportInput;
use prost::Message;

use super::proto::{DataType, Graph, Node, Tensor};
use crate::quant::{Affine, Quantised, QuantisedParam};
use crate::{Exported, Exporter, Options};

/// Writes a quantised network. It is no exporter of the usual list, because it holds the network: it belongs to the weights
/// that were quantised.
#[derive(Clone, Debug)]
pub struct Int8Exporter {
    quantised: Quantised,
}

impl Int8Exporter {
    /// Of this network.
    pub fn new(quantised: Quantised) -> Self {
        Int8Exporter { quantised }
    }
}

impl Named for Int8Exporter {
    fn name(&self) -> &str {
        "onnx_int8"
    }
    fn about(&self) -> &str {
        "ONNX with weights and values of 8 bits"
    }
}

impl Exporter for Int8Exporter {
    fn extension(&self) -> &str {
        "int8.onnx"
    }
    fn options(&self) -> &[&str] {
        &["input", "softmax"]
    }
    fn export(&self, model: &Exported<'_>, out: &mut dyn Write) -> io::Result<()> {
        let prepared = &self.quantised.prepared;
        let options = Options {
            half: false,
            ..model.options.clone()
        };
        let mut file = super::network(&prepared.graph, &prepared.state, model.info, &options)?;
        if let Some(graph) = &mut file.graph {
            quantise(graph, &self.quantised, options.input);
        }
        let desc = model.desc.to_yaml().map_err(io::Error::other)?;
        file.metadata_props.push(super::text("model_desc", &desc));
        let how = serde_json::json!({
            "weights": "int8 per output channel",
            "values": "uint8 per tensor",
            "method": self.quantised.method.name(),
            "calibration_images": self.quantised.n_images,
        });
        let how = super::text("quantization", &how.to_string());
        file.metadata_props.push(how);
        out.write_all(&file.encode_to_vec())
    }
    fn usage(&self, file: &str) -> Option<String> {
        Some(format!("onnxruntime.InferenceSession(\"{file}\")"))
    }
}

/// Operators whose results are some of their input's numbers.
const MOVES: [&str; 5] = ["Flatten", "Unsqueeze", "Slice", "MaxPool", "Pad"];

/// Puts the nodes into a graph that `quantised.prepared` lowered to.
fn quantise(graph: &mut Graph, quantised: &Quantised, input: ExportInput) {
    let mut affine: HashMap<String, Affine> = HashMap::new();
    for (value, found) in quantised
        .prepared
        .graph
        .values
        .iter()
        .zip(&quantised.values)
    {
        if let Some(found) = found {
            affine.insert(value.name.clone(), *found);
        }
    }
    // What the first layer reads may be called otherwise, if the file holds the normalisation.
    if let Some(found) = quantised.values[0] {
        let name = &quantised.prepared.graph.values[0].name;
        affine.remove(name);
        let read = match input {
            ExportInput::Normalised => name.clone(),
            ExportInput::Unit | ExportInput::Bytes => format!("{name}.normalised"),
        };
        affine.insert(read, found);
    }
    let mut bytes = ByteGraph {
        affine,
        constants: Vec::new(),
        nodes: Vec::new(),
        reads: HashMap::new(),
    };
    for constant in std::mem::take(&mut graph.initializer) {
        bytes.constant(constant, &quantised.params);
    }
    for input in &graph.input {
        bytes.round(&input.name);
    }
    for node in std::mem::take(&mut graph.node) {
        bytes.node(node);
    }
    bytes.drop_unread();
    let made = |name: &str| {
        bytes
            .nodes
            .iter()
            .any(|n| n.output.iter().any(|o| o == name))
    };
    graph.value_info.retain(|v| made(&v.name));
    graph.initializer = bytes.constants;
    graph.node = bytes.nodes;
}

/// A graph in the making.
struct ByteGraph {
    affine: HashMap<String, Affine>,
    constants: Vec<Tensor>,
    nodes: Vec<Node>,
    /// What is read in the place of a value that is quantised.
    reads: HashMap<String, String>,
}

impl ByteGraph {
    /// A parameter, as bytes and a node that gives the numbers under the old name, or as it was.
    fn constant(&mut self, constant: Tensor, params: &HashMap<String, QuantisedParam>) {
        let name = &constant.name;
        let (data_type, bytes, scales) = match params.get(name) {
            None => return self.constants.push(constant),
            Some(QuantisedParam::Weight(weight)) => {
                let bytes = weight.values.iter().map(|&b| b as u8).collect();
                (DataType::Int8, bytes, &weight.scales)
            }
            Some(QuantisedParam::Bias { values, scales }) => {
                let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                (DataType::Int32, bytes, scales)
            }
        };
        let part = |what: &str| format!("{name}.{what}");
        let (whole, scale, zero) = (part("quantised"), part("scale"), part("zero_point"));
        let shape: Vec<usize> = constant.dims.iter().map(|&n| n.max(0) as usize).collect();
        let zeros = vec![0; bytes_of(data_type) * scales.len()];
        let scales: Vec<f64> = scales.iter().map(|&s| s.into()).collect();
        self.constants.extend([
            Tensor::raw(&whole, &shape, data_type, bytes),
            Tensor::floats(&scale, &[scales.len()], &scales),
            Tensor::raw(&zero, &[scales.len()], data_type, zeros),
        ]);
        let node = Node::new("DequantizeLinear", &[&whole, &scale, &zero], name);
        self.nodes.push(node.with_int("axis", 0));
    }

    /// An operator on rounded numbers, and the rounding of what it gives.
    fn node(&mut self, mut node: Node) {
        let output = node.output[0].clone();
        if MOVES.contains(&node.op_type.as_str())
            && let Some(&affine) = self.affine.get(&node.input[0])
        {
            self.affine.insert(output.clone(), affine);
        }
        if node.op_type == "Pad" && self.reads.contains_key(&node.input[0]) {
            return self.pad(node, &output);
        }
        // A ReLU behind a convolution becomes part of it. Any other one has an integer kernel only under this name.
        if node.op_type == "Relu" && self.reads.contains_key(&node.input[0]) {
            let name = std::mem::take(&mut node.name);
            node = Node {
                name,
                ..Node::new("LeakyRelu", &[&node.input[0]], &output).with_float("alpha", 0.0)
            };
        }
        for input in &mut node.input {
            if let Some(read) = self.reads.get(input) {
                input.clone_from(read);
            }
        }
        self.nodes.push(node);
        self.round(&output);
    }

    /// Numbers of bytes that nothing reads: behind what only [`ByteGraph::pad`] reads.
    fn drop_unread(&mut self) {
        let read: HashSet<String> = self.nodes.iter().flat_map(|n| &n.input).cloned().collect();
        let rounded: HashSet<&String> = self.reads.values().collect();
        self.nodes.retain(|node| {
            let output = &node.output[0];
            read.contains(output) || !rounded.contains(output)
        });
    }

    /// Channels of zeros are added to the bytes: there is no integer kernel for it between the two nodes.
    fn pad(&mut self, node: Node, output: &str) {
        let [x, pads] = [0, 1].map(|i| node.input[i].clone());
        let (bytes, zero) = (format!("{output}.bytes"), format!("{x}.zero_point"));
        let inputs = [&format!("{x}.bytes"), &pads, &zero];
        self.nodes
            .push(Node::new("Pad", &inputs.map(String::as_str), &bytes));
        let affine = self.affine[output];
        self.affine_constants(output, affine);
        self.dequantise(output);
    }

    /// The two nodes behind a value.
    fn round(&mut self, value: &str) {
        let Some(&affine) = self.affine.get(value) else {
            return;
        };
        self.affine_constants(value, affine);
        let inputs = [
            value,
            &format!("{value}.scale"),
            &format!("{value}.zero_point"),
        ];
        self.nodes.push(Node::new(
            "QuantizeLinear",
            &inputs,
            &format!("{value}.bytes"),
        ));
        self.dequantise(value);
    }

    fn affine_constants(&mut self, value: &str, affine: Affine) {
        self.constants.extend([
            Tensor::floats(&format!("{value}.scale"), &[], &[affine.scale.into()]),
            Tensor::raw(
                &format!("{value}.zero_point"),
                &[],
                DataType::Uint8,
                vec![affine.zero_point],
            ),
        ]);
    }

    fn dequantise(&mut self, value: &str) {
        let [bytes, scale, zero] =
            ["bytes", "scale", "zero_point"].map(|part| format!("{value}.{part}"));
        let rounded = format!("{value}.rounded");
        self.nodes.push(Node::new(
            "DequantizeLinear",
            &[&bytes, &scale, &zero],
            &rounded,
        ));
        self.reads.insert(value.to_string(), rounded);
    }
}

fn bytes_of(data_type: DataType) -> usize {
    match data_type {
        DataType::Int32 => 4,
        _ => 1,
    }
}
