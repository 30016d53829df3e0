//! A network layer by layer, with the framework's operations: what a score must see inside, or compute otherwise than
//! training does.

use std::collections::HashMap;

use archai_spec::graph::{Graph, GraphLayer};
use archai_spec::ops::{Layer, ParamKind};
use burn::tensor::Tensor;

use crate::compute::Compute;
use crate::error::EngineError;
use crate::op::{conv2d, training_norm};
use crate::ops::{activation, layer_without_parameters};
use crate::params::NamedTensor;

/// What norms do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norms {
    /// They normalise by the batch, as in training.
    Batch,
    /// They give back their input.
    Identity,
}

/// The graph of a network with its numbers.
pub struct Walk<'a> {
    pub graph: &'a Graph,
    pub compute: &'a Compute,
    pub norms: Norms,
    /// Learnt tensors by name, each of one axis.
    pub params: HashMap<&'a str, Tensor<1>>,
}

/// What a layer did.
pub struct Seen<'s> {
    pub layer: &'s GraphLayer,
    /// What it read first.
    pub input: &'s Tensor<4>,
    /// What it gave.
    pub output: Tensor<4>,
}

impl<'a> Walk<'a> {
    /// A graph with the numbers of a state dict, all of which lie on `compute` afterwards.
    pub fn new(
        graph: &'a Graph,
        state: &'a [NamedTensor],
        compute: &'a Compute,
        norms: Norms,
        map: impl Fn(&NamedTensor) -> Vec<f64>,
    ) -> Self {
        let params = state.iter().map(|tensor| {
            let values = map(tensor);
            let n = values.len();
            (tensor.name.as_str(), compute.tensor(values, [n]))
        });
        Walk {
            graph,
            compute,
            norms,
            params: params.collect(),
        }
    }

    /// The value `until` for images. `see` is shown each layer after it was computed; what it gives takes the place of the
    /// output.
    ///
    /// # Errors
    /// A layer that has no meaning in a finished network; a tensor that is missing.
    pub fn run(
        &self,
        images: Tensor<4>,
        until: usize,
        see: &mut dyn FnMut(Seen<'_>) -> Tensor<4>,
    ) -> Result<Tensor<4>, EngineError> {
        let layers = &self.graph.layers;
        let mut last_use = vec![0; self.graph.values.len()];
        for (i, layer) in layers.iter().enumerate() {
            for &value in &layer.inputs {
                last_use[value] = i;
            }
        }
        last_use[until] = usize::MAX;
        let mut values: Vec<Option<Tensor<4>>> = vec![None; self.graph.values.len()];
        values[0] = Some(images);
        for (index, layer) in layers.iter().enumerate() {
            if values[until].is_some() {
                break;
            }
            let inputs: Option<Vec<Tensor<4>>> =
                layer.inputs.iter().map(|&i| values[i].clone()).collect();
            let Some(inputs) = inputs.filter(|inputs| !inputs.is_empty()) else {
                return Err(self.broken(layer, "it reads a value that no layer before it gives"));
            };
            let output = self.layer(layer, &inputs)?;
            let output = see(Seen {
                layer,
                input: &inputs[0],
                output,
            });
            values[layer.output] = Some(output);
            for &value in &layer.inputs {
                if last_use[value] == index {
                    values[value] = None;
                }
            }
        }
        values[until].take().ok_or_else(|| {
            EngineError::structure("no layer of the graph gives the value that is wanted")
        })
    }

    fn broken(&self, layer: &GraphLayer, problem: &str) -> EngineError {
        let name = &self.graph.values[layer.output].name;
        EngineError::structure(format!("the layer `{name}`: {problem}"))
    }

    fn param<const D: usize>(
        &self,
        layer: &GraphLayer,
        kind: ParamKind,
    ) -> Result<Option<Tensor<D>>, EngineError> {
        let Some(param) = layer.params.iter().find(|param| param.kind == kind) else {
            return Ok(None);
        };
        let Some(tensor) = self.params.get(param.name.as_str()) else {
            return Err(EngineError::Shape(format!("`{}` is missing", param.name)));
        };
        let shape: [usize; D] = (param.shape.as_slice().try_into()).map_err(|_| {
            EngineError::Shape(format!(
                "`{}` has {} axes, expected {D}",
                param.name,
                param.shape.len()
            ))
        })?;
        Ok(Some(tensor.clone().reshape(shape)))
    }

    fn weight<const D: usize>(&self, layer: &GraphLayer) -> Result<Tensor<D>, EngineError> {
        let weight = self.param(layer, ParamKind::Weight)?;
        weight.ok_or_else(|| self.broken(layer, "it has no weight"))
    }

    fn layer(&self, layer: &GraphLayer, inputs: &[Tensor<4>]) -> Result<Tensor<4>, EngineError> {
        let x = inputs[0].clone();
        Ok(match &layer.layer {
            Layer::Conv(shape) => {
                let bias = self.param::<1>(layer, ParamKind::Bias)?;
                conv2d(x, self.weight(layer)?, bias, shape)
            }
            Layer::Linear { n_in, n_out, .. } => {
                let n = x.dims()[0];
                let y = x
                    .reshape([n, *n_in])
                    .matmul(self.weight::<2>(layer)?.transpose());
                let y = match self.param::<1>(layer, ParamKind::Bias)? {
                    Some(bias) => y + bias.unsqueeze(),
                    None => y,
                };
                y.reshape([n, *n_out, 1, 1])
            }
            Layer::Norm { .. } => match self.norms {
                Norms::Identity => x,
                Norms::Batch => {
                    let scale = self.param::<1>(layer, ParamKind::Scale)?;
                    let shift = self.param::<1>(layer, ParamKind::Shift)?;
                    training_norm(x, scale.zip(shift)).output
                }
            },
            Layer::Add => {
                let rest = inputs[1..].iter().cloned();
                rest.fold(x, |sum, part| sum + part)
            }
            Layer::Concat => Tensor::cat(inputs.to_vec(), 1),
            Layer::Scale => match inputs {
                [x, factors] => x.clone() * factors.clone(),
                _ => {
                    return Err(self.broken(
                        layer,
                        "it reads maps and their factors, which are two values",
                    ));
                }
            },
            Layer::Activation { function } => activation(*function, x),
            Layer::DropPath | Layer::Dropout { .. } => x,
            Layer::Mix { .. } | Layer::Shift => {
                return Err(self.broken(
                    layer,
                    "a network with choices has no score; finalise it, or take a member of a space",
                ));
            }
            other => layer_without_parameters(self.compute, other, x),
        })
    }
}
