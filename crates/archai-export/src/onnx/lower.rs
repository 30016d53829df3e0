//! From layers to ONNX nodes. A value has the name that the graph gives it, and so has the node that gives the value;
//! parameters are called as in the state dict.
//!
//! Maps are `[N, C, H, W]` in ONNX, too. Layers on maps of one pixel may be on `[N, C]` there: behind a flattened value all
//! goes on with two axes for as long as it can, as a person would write it.

use std::f64::consts::SQRT_2;
use std::io;

use archai_spec::desc::Shape;
use archai_spec::graph::{Graph, GraphLayer};
use archai_spec::ops::{Activation, Layer, ParamKind, PoolShape};

use super::proto::{self, DataType, Node, Tensor, ValueInfo, int};
use crate::weights::NORM_EPSILON;
use crate::{ExportInput, ModelInfo, Options, Weights, invalid, unsupported};

/// Name of the network's output.
pub const LOGITS: &str = "logits";
/// Name of the output if it is the softmax of the logits.
pub const PROBABILITIES: &str = "probabilities";

/// A network as nodes.
///
/// # Errors
/// As [`Weights::new`] and [`check`]; normalisation of another number of channels than the images have.
pub fn lower(
    graph: &Graph,
    weights: &Weights<'_>,
    info: &ModelInfo,
    options: &Options,
) -> io::Result<proto::Graph> {
    check(graph)?;
    let mut writer = Writer {
        graph,
        weights,
        out: proto::Graph::default(),
        names: graph.values.iter().map(|v| v.name.clone()).collect(),
        axes: vec![Axes::Maps; graph.values.len()],
    };
    writer.input(info, options.input)?;
    let needed = needed(graph);
    for layer in graph.layers.iter().filter(|l| needed[l.output]) {
        writer.layer(layer);
    }
    writer.output(options.softmax);
    Ok(writer.out)
}

/// Whether all layers can be expressed.
///
/// # Errors
/// Of kind `Unsupported` for a supernet; names the mixture.
pub fn check(graph: &Graph) -> io::Result<()> {
    let mix = |l: &&GraphLayer| matches!(l.layer, Layer::Mix { .. });
    if let Some(shift) = graph.layers.iter().find(|l| l.layer == Layer::Shift) {
        return Err(unsupported(crate::unspelt(graph, shift.output)));
    }
    match graph.layers.iter().find(mix) {
        Some(mix) => Err(unsupported(format!(
            "`{}` is a weighted sum of candidates: the network is one that is still searched; export what was found (`archai \
             export` on an evaluated run)",
            graph.values[mix.output].name
        ))),
        None => Ok(()),
    }
}

/// Which values the logits depend on.
fn needed(graph: &Graph) -> Vec<bool> {
    let mut needed = vec![false; graph.values.len()];
    needed[graph.logits] = true;
    for layer in graph.layers.iter().rev() {
        if needed[layer.output] {
            layer.inputs.iter().for_each(|&v| needed[v] = true);
        }
    }
    needed
}

/// The axes that a value has in ONNX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Axes {
    /// `[N, C, H, W]`.
    Maps,
    /// `[N, C·H·W]`.
    Features,
}

struct Writer<'a> {
    graph: &'a Graph,
    weights: &'a Weights<'a>,
    out: proto::Graph,
    /// The ONNX name of each value.
    names: Vec<String>,
    axes: Vec<Axes>,
}

impl Writer<'_> {
    /// The image, and what brings it to the numbers that the first layer takes.
    fn input(&mut self, info: &ModelInfo, input: ExportInput) -> io::Result<()> {
        let image = self.graph.values[0].shape;
        let name = self.names[0].clone();
        let data_type = match input {
            ExportInput::Normalised | ExportInput::Unit => DataType::Float,
            ExportInput::Bytes => DataType::Uint8,
        };
        let mut value = ValueInfo::batched(&name, data_type, &sizes(image));
        value.doc_string = about(input).to_string();
        self.out.input.push(value);
        if input == ExportInput::Normalised {
            return Ok(());
        }
        for (what, list) in [("mean", &info.mean), ("std", &info.std)] {
            if list.len() != image.channels {
                return Err(invalid(format!(
                    "the {what} of the normalisation has {} numbers, but images have {} channels",
                    list.len(),
                    image.channels
                )));
            }
        }
        let mut x = name.clone();
        if input == ExportInput::Bytes {
            let float = DataType::Float as usize;
            let cast = format!("{name}.float");
            self.node(Node::new("Cast", &[&x], &cast).with_int("to", float));
            let all = Tensor::floats(&format!("{name}.max"), &[], &[255.0]);
            x = self.arithmetic("Div", &cast, all, &format!("{name}.unit"));
        }
        let per_channel = |what: &str, numbers: &[f32]| {
            let numbers: Vec<f64> = numbers.iter().map(|&v| v.into()).collect();
            Tensor::floats(
                &format!("{name}.{what}"),
                &[1, numbers.len(), 1, 1],
                &numbers,
            )
        };
        let (mean, std) = (
            per_channel("mean", &info.mean),
            per_channel("std", &info.std),
        );
        x = self.arithmetic("Sub", &x, mean, &format!("{name}.centred"));
        x = self.arithmetic("Div", &x, std, &format!("{name}.normalised"));
        self.names[0] = x;
        Ok(())
    }

    fn output(&mut self, softmax: bool) {
        let name = self.features(self.graph.logits);
        // The last node keeps its name; what it gives is called for what it is.
        for node in &mut self.out.node {
            let names = node.input.iter_mut().chain(&mut node.output);
            names
                .filter(|n| **n == name)
                .for_each(|n| *n = LOGITS.to_string());
        }
        let mut output = LOGITS;
        if softmax {
            self.node(Node::new("Softmax", &[LOGITS], PROBABILITIES).with_int("axis", 1));
            output = PROBABILITIES;
        }
        let n = sizes(self.graph.values[self.graph.logits].shape)
            .iter()
            .product();
        self.out
            .output
            .push(ValueInfo::batched(output, DataType::Float, &[n]));
        self.out.value_info.retain(|v| v.name != name);
    }

    fn node(&mut self, node: Node) {
        self.out.node.push(node);
    }

    /// `x` and a constant, put together.
    fn arithmetic(&mut self, op: &str, x: &str, constant: Tensor, output: &str) -> String {
        let constant = self.constant(constant);
        self.node(Node::new(op, &[x, &constant], output));
        output.to_string()
    }

    fn constant(&mut self, tensor: Tensor) -> String {
        let name = tensor.name.clone();
        self.out.initializer.push(tensor);
        name
    }

    /// A list of whole numbers that belongs to a value.
    fn ints(&mut self, value: &str, what: &str, numbers: &[usize]) -> String {
        let numbers: Vec<i64> = numbers.iter().map(|&n| int(n)).collect();
        self.constant(Tensor::ints(&format!("{value}.{what}"), &numbers))
    }

    /// A value with four axes.
    fn maps(&mut self, value: usize) -> String {
        if self.axes[value] == Axes::Features {
            // A flattened map is one pixel with as many channels as it has numbers.
            let (name, maps) = (
                self.names[value].clone(),
                format!("{}.maps", self.names[value]),
            );
            let axes = self.ints(&maps, "axes", &[2, 3]);
            self.node(Node::new("Unsqueeze", &[&name, &axes], &maps));
            (self.names[value], self.axes[value]) = (maps, Axes::Maps);
        }
        self.names[value].clone()
    }

    /// A value with two axes.
    fn features(&mut self, value: usize) -> String {
        if self.axes[value] == Axes::Maps {
            let (name, flat) = (
                self.names[value].clone(),
                format!("{}.flat", self.names[value]),
            );
            self.node(Node::new("Flatten", &[&name], &flat).with_int("axis", 1));
            (self.names[value], self.axes[value]) = (flat, Axes::Features);
        }
        self.names[value].clone()
    }

    /// Values that are put together, all with the same axes.
    fn alike(&mut self, values: &[usize]) -> (Vec<String>, Axes) {
        let flat = values.iter().all(|&v| self.axes[v] == Axes::Features);
        let axes = if flat { Axes::Features } else { Axes::Maps };
        let names = values.iter().map(|&v| match axes {
            Axes::Maps => self.maps(v),
            Axes::Features => self.features(v),
        });
        (names.collect(), axes)
    }

    /// Names of the parameters, in the order that the operator takes them.
    fn params(&mut self, layer: &GraphLayer) -> Vec<String> {
        let mut names = Vec::new();
        for param in &layer.params {
            let values = self.weights.by_name(&param.name).unwrap_or_default();
            names.push(self.constant(Tensor::floats(&param.name, &param.shape, values)));
        }
        names
    }

    fn layer(&mut self, layer: &GraphLayer) {
        let out = self.graph.values[layer.output].name.clone();
        let first = layer.inputs[0];
        let shape = sizes(self.graph.values[layer.output].shape);
        let mut axes = Axes::Maps;
        let node = |op: &str, inputs: &[&str]| Node::new(op, inputs, &out);
        let node = match &layer.layer {
            Layer::Zero { .. } => {
                // Not zero times the input, which is no number where the input is none or infinite.
                let (x, batch) = (self.maps(first), format!("{out}.batch"));
                let size = Node::new("Shape", &[&x], &batch).with_int("start", 0);
                self.node(size.with_int("end", 1));
                let (sizes, all) = (self.ints(&out, "sizes", &shape), format!("{out}.shape"));
                self.node(Node::new("Concat", &[&batch, &sizes], &all).with_int("axis", 0));
                // Zeros of 32 bits are what the standard says of a node without a value; tract takes 64 bits.
                let zero = Tensor::floats("", &[1], &[0.0]);
                node("ConstantOfShape", &[&all]).with_tensor("value", zero)
            }
            Layer::Relu => {
                axes = self.axes[first];
                node("Relu", &[&self.names[first]])
            }
            Layer::Relu6 => {
                axes = self.axes[first];
                let bounds = [("min", 0.0), ("max", 6.0)];
                let [min, max] = bounds.map(|(what, bound)| {
                    self.constant(Tensor::floats(&format!("{out}.{what}"), &[], &[bound]))
                });
                node("Clip", &[&self.names[first], &min, &max])
            }
            Layer::Activation { function } => {
                axes = self.axes[first];
                self.activation(*function, first, &out)
            }
            Layer::Conv(conv) => {
                let mut inputs = vec![self.maps(first)];
                inputs.extend(self.params(layer));
                let [h, w] = conv.padding;
                node("Conv", &texts(&inputs))
                    .with_ints("kernel_shape", &conv.kernel)
                    .with_ints("strides", &conv.stride)
                    .with_ints("pads", &[h, w, h, w])
                    .with_ints("dilations", &[conv.dilation; 2])
                    .with_int("group", conv.groups)
            }
            Layer::Norm { channels, affine } => {
                let mut inputs = vec![self.maps(first)];
                if !affine {
                    // The operator has no version without them.
                    for (kind, number) in [(ParamKind::Scale, 1.0), (ParamKind::Shift, 0.0)] {
                        let name = format!("{out}.{}", kind.name());
                        let tensor = Tensor::floats(&name, &[*channels], &vec![number; *channels]);
                        inputs.push(self.constant(tensor));
                    }
                }
                inputs.extend(self.params(layer));
                node("BatchNormalization", &texts(&inputs))
                    .with_float("epsilon", NORM_EPSILON as f32)
            }
            Layer::MaxPool(window) => pool(node("MaxPool", &[&self.maps(first)]), window),
            Layer::AvgPool {
                window,
                count_include_pad,
            } => pool(node("AveragePool", &[&self.maps(first)]), window)
                .with_int("count_include_pad", usize::from(*count_include_pad)),
            Layer::GlobalMean => node("GlobalAveragePool", &[&self.maps(first)]),
            Layer::Flatten => {
                axes = Axes::Features;
                node("Flatten", &[&self.names[first]]).with_int("axis", 1)
            }
            Layer::Linear { .. } => {
                axes = Axes::Features;
                let mut inputs = vec![self.features(first)];
                inputs.extend(self.params(layer));
                node("Gemm", &texts(&inputs)).with_int("transB", 1)
            }
            Layer::Subsample { stride } => {
                let from = sizes(self.graph.values[first].shape);
                self.slice(layer, &[0, 0], &from[1..], &[2, 3], &[*stride; 2])
            }
            Layer::Crop { top, left } => {
                let from = sizes(self.graph.values[first].shape);
                self.slice(layer, &[*top, *left], &from[1..], &[2, 3], &[1, 1])
            }
            Layer::TakeChannels { channels } => self.slice(layer, &[0], &[*channels], &[1], &[1]),
            Layer::PadChannels { before, after } => {
                let x = self.maps(first);
                let pads = self.ints(&out, "pads", &[0, *before, 0, 0, 0, *after, 0, 0]);
                node("Pad", &[&x, &pads])
            }
            Layer::Concat => {
                let (inputs, alike) = self.alike(&layer.inputs);
                axes = alike;
                node("Concat", &texts(&inputs)).with_int("axis", 1)
            }
            Layer::Add => {
                let (inputs, alike) = self.alike(&layer.inputs);
                axes = alike;
                // The operator for any number of inputs is less often fused with others.
                let op = if inputs.len() == 2 { "Add" } else { "Sum" };
                node(op, &texts(&inputs))
            }
            Layer::Scale => {
                let (inputs, alike) = self.alike(&layer.inputs);
                axes = alike;
                node("Mul", &texts(&inputs))
            }
            Layer::DropPath | Layer::Dropout { .. } => {
                axes = self.axes[first];
                node("Identity", &[&self.names[first]])
            }
            Layer::Mix { .. } | Layer::Shift => unreachable!("`check` refuses these"),
        };
        self.node(node);
        self.axes[layer.output] = axes;
        let shape = match axes {
            Axes::Maps => shape.to_vec(),
            Axes::Features => vec![shape.iter().product()],
        };
        let value = ValueInfo::batched(&out, DataType::Float, &shape);
        self.out.value_info.push(value);
    }

    /// The last of the nodes that compute a function. `Gelu` is younger than these operators, and there is none for SiLU.
    fn activation(&mut self, function: Activation, value: usize, out: &str) -> Node {
        let x = self.names[value].clone();
        match function {
            Activation::HardSwish => Node::new("HardSwish", &[&x], out),
            Activation::HardSigmoid => {
                let node = Node::new("HardSigmoid", &[&x], out);
                // What the operator takes without them is a fifth.
                node.with_float("alpha", 1.0 / 6.0).with_float("beta", 0.5)
            }
            Activation::Sigmoid => Node::new("Sigmoid", &[&x], out),
            Activation::Silu => {
                let sigmoid = format!("{out}.sigmoid");
                self.node(Node::new("Sigmoid", &[&x], &sigmoid));
                Node::new("Mul", &[&x, &sigmoid], out)
            }
            Activation::Gelu => {
                // x / √2, its error function, plus one, times x, halved: the order in which other programs know it again.
                let of = |what: &str| format!("{out}.{what}");
                let number = |name: &str, n: f64| Tensor::floats(&of(name), &[], &[n]);
                let root = self.arithmetic("Div", &x, number("root", SQRT_2), &of("scaled"));
                self.node(Node::new("Erf", &[&root], &of("erf")));
                let plus = self.arithmetic("Add", &of("erf"), number("one", 1.0), &of("plus"));
                self.node(Node::new("Mul", &[&x, &plus], &of("twice")));
                let half = self.constant(number("half", 0.5));
                Node::new("Mul", &[&of("twice"), &half], out)
            }
        }
    }

    /// Every `steps`-th place from `starts` to `ends` on some axes.
    fn slice(
        &mut self,
        layer: &GraphLayer,
        starts: &[usize],
        ends: &[usize],
        axes: &[usize],
        steps: &[usize],
    ) -> Node {
        let out = self.graph.values[layer.output].name.clone();
        let mut inputs = vec![self.maps(layer.inputs[0])];
        for (what, list) in [
            ("starts", starts),
            ("ends", ends),
            ("axes", axes),
            ("steps", steps),
        ] {
            inputs.push(self.ints(&out, what, list));
        }
        Node::new("Slice", &texts(&inputs), &out)
    }
}

/// What an image is made of, for people who look at the file.
fn about(input: ExportInput) -> &'static str {
    match input {
        ExportInput::Normalised => {
            "pixels from 0 to 1, less the mean of their channel, divided by its standard deviation (see the metadata)"
        }
        ExportInput::Unit => "pixels from 0 to 1",
        ExportInput::Bytes => "pixels from 0 to 255",
    }
}

fn pool(node: Node, window: &PoolShape) -> Node {
    node.with_ints("kernel_shape", &[window.kernel; 2])
        .with_ints("strides", &[window.stride; 2])
        .with_ints("pads", &[window.padding; 4])
}

/// Channels, height, width.
fn sizes(shape: Shape) -> [usize; 3] {
    [shape.channels, shape.height, shape.width]
}

fn texts(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}
