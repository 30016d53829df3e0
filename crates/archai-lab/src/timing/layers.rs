//! The layers of a network as what takes time: each with the sizes that decide how long, and by itself as a network that can be
//! timed.

use std::collections::BTreeMap;

use archai_engine::NamedTensor;
use archai_spec::desc::{Cost, Shape};
use archai_spec::graph::{Graph, GraphLayer, GraphValue};
use archai_spec::ops::{Layer, ParamKind};
use serde::{Deserialize, Serialize};

/// Layers that a runtime computes in the same manner, so that one factor serves them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Convolutions over several pixels and all channels.
    Conv,
    /// 1×1 convolutions.
    Pointwise,
    /// Convolutions in groups of channels.
    Grouped,
    /// Linear layers.
    Linear,
    /// Batch norms; runtimes make them a part of the convolution before them.
    Norm,
    /// ReLU and other functions of single numbers.
    Activation,
    /// Pools, and means over whole maps.
    Pool,
    /// Sums, concatenations, products with a number for each channel.
    Join,
    /// Whatever moves numbers only.
    Copy,
}

impl Kind {
    /// The kind of a layer; none of what costs nothing.
    pub fn of(layer: &Layer) -> Option<Kind> {
        Some(match layer {
            Layer::Conv(c) if c.groups > 1 => Kind::Grouped,
            Layer::Conv(c) if c.is_pointwise() => Kind::Pointwise,
            Layer::Conv(_) => Kind::Conv,
            Layer::Linear { .. } => Kind::Linear,
            Layer::Norm { .. } => Kind::Norm,
            Layer::Relu | Layer::Relu6 | Layer::Activation { .. } => Kind::Activation,
            Layer::MaxPool(_) | Layer::AvgPool { .. } | Layer::GlobalMean => Kind::Pool,
            Layer::Add | Layer::Concat | Layer::Scale | Layer::Mix { .. } => Kind::Join,
            Layer::Zero { .. }
            | Layer::Subsample { .. }
            | Layer::Crop { .. }
            | Layer::Shift
            | Layer::TakeChannels { .. }
            | Layer::PadChannels { .. } => Kind::Copy,
            Layer::Flatten | Layer::DropPath | Layer::Dropout { .. } => return None,
        })
    }
}

/// A layer with the sizes that decide how long it takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Signature {
    /// In words, which name it in tables: `conv 3×3 16→32 padding 1 on 16×32×32`.
    pub text: String,
    /// Its kind.
    pub kind: Kind,
    layer: GraphLayer,
    inputs: Vec<Shape>,
    output: Shape,
}

/// What is timed of a network: each of its layers at inference, and how often it stands there, by the text of its signature.
pub fn signatures(graph: &Graph) -> BTreeMap<String, (Signature, usize)> {
    let graph = graph.inference();
    let mut all: BTreeMap<String, (Signature, usize)> = BTreeMap::new();
    for layer in &graph.layers {
        let Some(kind) = Kind::of(&layer.layer) else {
            continue;
        };
        let shape = |value: usize| graph.values[value].shape;
        let inputs: Vec<Shape> = layer.inputs.iter().map(|&i| shape(i)).collect();
        let size = |s: &Shape| format!("{}×{}×{}", s.channels, s.height, s.width);
        let on = match inputs.as_slice() {
            [only] => size(only),
            [first, ..] => format!("{} of {}", inputs.len(), size(first)),
            [] => continue,
        };
        let output = shape(layer.output);
        let mut text = format!("{} on {on}", layer.layer);
        if layer.layer == Layer::Concat {
            text = format!("{text} to {}", output.channels);
        }
        let signature = || Signature {
            text: text.clone(),
            kind,
            layer: layer.clone(),
            inputs: inputs.clone(),
            output,
        };
        all.entry(text.clone())
            .or_insert_with(|| (signature(), 0))
            .1 += 1;
    }
    all
}

impl Signature {
    /// The layer as a network, followed by a mean over its map; and the mean alone, whose time is to be taken off: with it goes
    /// what any run of a network takes. Numbers are no trained ones.
    pub(super) fn alone(&self) -> (Alone, Alone) {
        let image = match self.layer.layer {
            // So many channels that all inputs together have those of the result.
            Layer::Concat => Shape {
                channels: self.output.channels.div_ceil(self.inputs.len()),
                ..self.inputs[0]
            },
            _ => self.inputs[0],
        };
        let mut net = Alone::new(image);
        let read: Vec<usize> = match self.layer.layer {
            Layer::Scale => {
                let factors = net.mean(0);
                vec![0, factors]
            }
            _ => vec![0; self.inputs.len()],
        };
        let output = match self.layer.layer {
            Layer::Concat => Shape {
                channels: image.channels * self.inputs.len(),
                ..self.output
            },
            _ => self.output,
        };
        let logits = net.push(
            GraphLayer {
                inputs: read,
                ..self.layer.clone()
            },
            output,
        );
        net.mean(logits);
        let mut mean = Alone::new(output);
        mean.mean(0);
        if self.layer.layer == Layer::Scale {
            mean.mean(0);
        }
        (net, mean)
    }
}

/// A network of few layers.
pub(super) struct Alone {
    pub graph: Graph,
    pub state: Vec<NamedTensor>,
}

impl Alone {
    fn new(image: Shape) -> Self {
        let image = GraphValue {
            name: "image".into(),
            shape: image,
        };
        Alone {
            graph: Graph {
                values: vec![image],
                layers: Vec::new(),
                logits: 0,
                aux: Vec::new(),
            },
            state: Vec::new(),
        }
    }

    fn push(&mut self, layer: GraphLayer, shape: Shape) -> usize {
        let output = self.graph.values.len();
        self.graph.values.push(GraphValue {
            name: format!("layer{output}"),
            shape,
        });
        for param in &layer.params {
            let n: usize = param.shape.iter().product();
            let value = |i: usize| match param.kind {
                ParamKind::RunningVar | ParamKind::Scale => 1.0,
                // Neither zero, which a kernel might leave out, nor so small that products become denormal.
                _ => 0.1 * ((i % 7) as f64 - 3.0),
            };
            self.state.push(NamedTensor {
                name: param.name.clone(),
                shape: param.shape.clone(),
                values: (0..n).map(value).collect(),
            });
        }
        self.graph.layers.push(GraphLayer { output, ..layer });
        self.graph.logits = output;
        output
    }

    fn mean(&mut self, of: usize) -> usize {
        let shape = self.graph.values[of].shape;
        let layer = GraphLayer {
            layer: Layer::GlobalMean,
            inputs: vec![of],
            output: 0,
            params: Vec::new(),
            cost: Cost::default(),
            arch: None,
            only_training: false,
        };
        let one = Shape {
            height: 1,
            width: 1,
            ..shape
        };
        self.push(layer, one)
    }
}
