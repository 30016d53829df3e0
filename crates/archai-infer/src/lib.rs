//! A trained network that runs: a [`Graph`] of layers and its numbers in, logits out. No training machinery is built or
//! linked: batch norms become part of the convolutions before them, memory is planned once, and one [`Network`] serves
//! any number of threads.
//!
//! ```
//! use archai_export::testing::brightness;
//! use archai_infer::Network;
//! use archai_spec::desc::OpCatalog;
//!
//! // As read from a file.
//! let model = brightness(&["dark", "bright"], [3, 8, 8]);
//! let network = Network::new(&model.graph(&OpCatalog::builtin())?, &model.state)?;
//! // Two images, normalised as the model says.
//! let logits = network.logits(&vec![1.5; 2 * 3 * 8 * 8])?;
//! assert_eq!((network.n_classes(), logits.len()), (2, 4));
//! assert!(logits[1] > logits[0]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use archai_export::{NamedTensor, Weights};
use archai_kernels::infer::{ConvSizes, Function, Net, NetBuilder, PoolMode, PoolSizes, Value};
use archai_kernels::{Exec, FeatureMap, Unsupported};
use archai_spec::desc::Shape;
use archai_spec::graph::{Graph, GraphLayer};
use archai_spec::ops::{Activation, Layer, ParamKind, PoolShape};

/// Why a network cannot run, or cannot run on what it was given.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InferError {
    /// A layer that has no meaning at inference.
    #[error(
        "the layer `{layer}` ({what}) cannot be run: {reason}; a network that was found and scaled for evaluation has none"
    )]
    Layer {
        /// The name of the value that the layer gives.
        layer: String,
        /// The layer in a few words.
        what: String,
        /// What it lacks.
        reason: String,
    },
    /// Numbers that are missing or of another shape; the text names the tensor.
    #[error("{0}")]
    Weights(String),
    /// A graph whose layers do not fit each other.
    #[error("the layer `{layer}`: {problem}")]
    Graph {
        /// The name of the value that the layer gives.
        layer: String,
        /// What does not fit.
        problem: String,
    },
    /// Numbers that are no whole images.
    #[error(
        "{numbers} numbers are no whole images: one of {channels}×{height}×{width} (channels, rows, columns) has {each}"
    )]
    Images {
        /// How many were given.
        numbers: usize,
        /// Channels of an image.
        channels: usize,
        /// Its height.
        height: usize,
        /// Its width.
        width: usize,
        /// Numbers of an image.
        each: usize,
    },
}

/// A trained network, ready to run. It may be shared between threads; it computes on the rayon pool of its caller, and
/// gives the same numbers for any number of threads and of images at a time.
#[derive(Debug)]
pub struct Network {
    net: Net,
    exec: Exec,
    input: Shape,
}

impl Network {
    /// The network that `graph` spells out, with the numbers of `state`, of which it takes those that the graph names. Layers
    /// that matter in training only are left out.
    ///
    /// # Errors
    /// A weighted sum of candidates, by name; a tensor that is missing or of another shape; a graph whose layers do not fit
    /// each other.
    pub fn new(graph: &Graph, state: &[NamedTensor]) -> Result<Self, InferError> {
        let graph = &graph.inference();
        let weights = Weights::new(graph, state).map_err(|e| InferError::Weights(e.to_string()))?;
        let input = graph.values[0].shape;
        let name = |value: usize| graph.values[value].name.clone();
        let unfit = |value: usize, problem: String| InferError::Graph {
            layer: name(value),
            problem,
        };
        let (mut net, image) = NetBuilder::new(map(input)).map_err(|e| unfit(0, e.to_string()))?;
        let mut values: Vec<Option<Value>> = vec![None; graph.values.len()];
        values[0] = Some(image);
        for layer in &graph.layers {
            let inputs: Option<Vec<Value>> = layer.inputs.iter().map(|&i| values[i]).collect();
            let Some(inputs) = inputs.filter(|inputs| !inputs.is_empty()) else {
                let problem = "it reads a value that no layer before it gives";
                return Err(unfit(layer.output, problem.to_string()));
            };
            if layer.layer == Layer::Shift {
                let problem = "a graph says it in other layers, as `ModelDesc::lower` does";
                return Err(unfit(layer.output, problem.to_string()));
            }
            if let Layer::Mix { .. } = layer.layer {
                return Err(InferError::Layer {
                    layer: name(layer.output),
                    what: layer.layer.to_string(),
                    reason: "its weights are architecture parameters of a search".to_string(),
                });
            }
            if layer.layer == Layer::Scale && inputs.len() != 2 {
                let problem = "it reads maps and their factors, which are two values";
                return Err(unfit(layer.output, problem.to_string()));
            }
            let value = push(&mut net, layer, &inputs, &weights);
            values[layer.output] = Some(value.map_err(|e| unfit(layer.output, e.to_string()))?);
        }
        let Some(logits) = values[graph.logits] else {
            let problem = "no layer gives the logits".to_string();
            return Err(unfit(graph.logits, problem));
        };
        if net.map(logits).pixels() != 1 {
            let problem = format!(
                "the logits are maps of {}, expected one pixel",
                net.map(logits)
            );
            return Err(unfit(graph.logits, problem));
        }
        let net = net
            .finish(logits)
            .map_err(|e| unfit(graph.logits, e.to_string()))?;
        let exec = Exec::new();
        Ok(Network { net, exec, input })
    }

    /// The size of an image.
    pub fn input(&self) -> Shape {
        self.input
    }

    /// Logits per image.
    pub fn n_classes(&self) -> usize {
        self.net.output().channels
    }

    /// The logits of any number of images, `[N, C, H, W]` and normalised as in training: `[N, classes]`.
    ///
    /// # Errors
    /// If there are no whole images.
    pub fn logits(&self, images: &[f32]) -> Result<Vec<f32>, InferError> {
        let Shape {
            channels,
            height,
            width,
            ..
        } = self.input;
        let each = channels * height * width;
        if !images.len().is_multiple_of(each) {
            return Err(InferError::Images {
                numbers: images.len(),
                channels,
                height,
                width,
                each,
            });
        }
        Ok(self.net.run(&self.exec, images))
    }
}

fn map(shape: Shape) -> FeatureMap {
    FeatureMap::new(shape.channels, shape.height, shape.width)
}

/// Appends a layer. That its parameters fit it is checked by the builder.
fn push(
    net: &mut NetBuilder,
    layer: &GraphLayer,
    inputs: &[Value],
    weights: &Weights<'_>,
) -> Result<Value, Unsupported> {
    let x = inputs[0];
    let get = |kind: ParamKind| -> Option<Vec<f32>> {
        let numbers = weights.get(layer, kind)?;
        Some(numbers.iter().map(|&v| v as f32).collect())
    };
    let weight = || get(ParamKind::Weight).unwrap_or_default();
    let pool = |p: &PoolShape| PoolSizes {
        kernel: p.kernel,
        stride: p.stride,
        padding: p.padding,
    };
    match &layer.layer {
        Layer::Zero { stride } => {
            let picked = net.subsample(x, *stride)?;
            net.zeros(net.map(picked))
        }
        Layer::Relu => net.relu(x),
        Layer::Relu6 => net.relu6(x),
        Layer::Activation { function } => {
            let function = match function {
                Activation::HardSwish => Function::HardSwish,
                Activation::HardSigmoid => Function::HardSigmoid,
                Activation::Sigmoid => Function::Sigmoid,
                Activation::Gelu => Function::Gelu,
                Activation::Silu => Function::Silu,
            };
            net.function(x, function)
        }
        Layer::Conv(c) => {
            let sizes = ConvSizes {
                channels: c.c_out,
                kernel: (c.kernel[0], c.kernel[1]),
                stride: (c.stride[0], c.stride[1]),
                padding: (c.padding[0], c.padding[1]),
                dilation: c.dilation,
                groups: c.groups,
            };
            net.conv(x, sizes, weight(), get(ParamKind::Bias))
        }
        Layer::Norm { .. } => {
            let both = weights.scale_and_shift(layer).unwrap_or_default();
            let (scale, shift) = both.iter().map(|&(a, b)| (a as f32, b as f32)).unzip();
            net.scale_shift(x, scale, shift)
        }
        Layer::MaxPool(p) => net.pool(x, PoolMode::Max, pool(p)),
        Layer::AvgPool {
            window,
            count_include_pad,
        } => {
            let padding_counts = *count_include_pad;
            net.pool(x, PoolMode::Average { padding_counts }, pool(window))
        }
        Layer::GlobalMean => net.global_mean(x),
        Layer::Flatten => net.flatten(x),
        Layer::Linear { n_out, .. } => net.linear(x, *n_out, weight(), get(ParamKind::Bias)),
        Layer::Subsample { stride } => net.subsample(x, *stride),
        Layer::Crop { top, left } => net.crop(x, *top, *left),
        Layer::TakeChannels { channels } => net.take_channels(x, *channels),
        Layer::PadChannels { before, after } => net.pad_channels(x, *before, *after),
        Layer::Concat => net.concat(inputs),
        Layer::Add => net.add(inputs),
        Layer::Scale => match inputs {
            [x, factors] => net.scale(*x, *factors),
            // Refused before.
            _ => Ok(x),
        },
        // Graphs at inference have none of the first two, and the others were refused before.
        Layer::DropPath | Layer::Dropout { .. } | Layer::Mix { .. } | Layer::Shift => Ok(x),
    }
}
