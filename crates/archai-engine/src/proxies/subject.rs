//! A network that is scored, and what several scores share.

use std::cell::OnceCell;

use archai_data::{Batch, rng::Key};
use archai_spec::desc::{ModelDesc, Shape};
use archai_spec::graph::{Graph, GraphLayer, GraphParam};
use archai_spec::ops::{Layer, ParamKind};
use burn::tensor::Tensor;

use super::walk::{Norms, Walk};
use super::{ProxyError, undefined};
use crate::compute::{Compute, to_host, track};
use crate::error::EngineError;
use crate::model::{Model, ModelOptions, Objective};
use crate::op::OpRegistry;
use crate::params::{NamedTensor, ParamVec};

/// The weight of a convolution or linear layer, and the loss's gradient of it.
#[derive(Clone, Debug)]
pub struct WeightGrad {
    /// The weight's numbers.
    pub weight: Vec<f64>,
    /// The gradient's.
    pub grad: Vec<f64>,
}

/// A network with its starting weights.
struct Built {
    model: Model,
    state: Vec<NamedTensor>,
}

/// An untrained network and the batches that it is scored on. Passes that several scores need are done once.
pub struct Subject<'a> {
    desc: &'a ModelDesc,
    ops: &'a OpRegistry,
    options: &'a ModelOptions,
    graph: Graph,
    batches: &'a [Batch],
    /// What draws that belong to a score alone begin with.
    key: Key,
    plain: Compute,
    built: OnceCell<Built>,
    grads: Vec<OnceCell<Vec<WeightGrad>>>,
    image_grads: OnceCell<Vec<Vec<f64>>>,
}

impl<'a> Subject<'a> {
    /// The network of a description, with the starting weights of the options' seed. There may be no batches; scores that need
    /// some then have no value. Weights are drawn when a score first needs them.
    ///
    /// # Errors
    /// A description that is wrong, has choices, or whose ops are not made of layers; a batch of other images than the
    /// network's.
    pub fn new(
        desc: &'a ModelDesc,
        ops: &'a OpRegistry,
        batches: &'a [Batch],
        options: &'a ModelOptions,
    ) -> Result<Self, EngineError> {
        let graph = desc.lower(ops.catalog())?.inference();
        if let Some(mix) =
            (graph.layers.iter()).find(|layer| matches!(layer.layer, Layer::Mix { .. }))
        {
            return Err(EngineError::structure(format!(
                "`{}` is a choice between operations, and a network with choices has no score; score a network that was found, \
                 or a member of a space",
                graph.values[mix.output].name
            )));
        }
        let Shape {
            channels,
            height,
            width,
            ..
        } = desc.input;
        for batch in batches {
            let [n, c, h, w] = batch.shape;
            if [c, h, w] != [channels, height, width] || n == 0 {
                return Err(EngineError::Batch(format!(
                    "images of {c}×{h}×{w} (channels, rows, columns) do not fit the network, which takes \
                     {channels}×{height}×{width}; take data of that size"
                )));
            }
        }
        Ok(Subject {
            desc,
            ops,
            options,
            graph,
            plain: options.compute.clone().with_plain_ops(),
            built: OnceCell::new(),
            batches,
            key: Key::new(options.seed).with("proxies"),
            grads: batches.iter().map(|_| OnceCell::new()).collect(),
            image_grads: OnceCell::new(),
        })
    }

    /// The network as layers, without what matters in training only.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The description.
    pub fn desc(&self) -> &ModelDesc {
        self.desc
    }

    /// The network with its starting weights.
    ///
    /// # Errors
    /// An op cannot be made.
    pub fn model(&self) -> Result<&Model, EngineError> {
        Ok(&self.built()?.model)
    }

    fn built(&self) -> Result<&Built, EngineError> {
        if let Some(built) = self.built.get() {
            return Ok(built);
        }
        let model = Model::compile(self.desc, self.ops, self.options)?;
        let state = model.weights().named();
        Ok(self.built.get_or_init(|| Built { model, state }))
    }

    /// The batches.
    pub fn batches(&self) -> &[Batch] {
        self.batches
    }

    /// The key of draws that belong to one score alone.
    pub fn key(&self) -> Key {
        self.key
    }

    /// The first batch.
    ///
    /// # Errors
    /// There is none.
    pub fn batch(&self) -> Result<&Batch, ProxyError> {
        let first = self.batches.first();
        first.ok_or_else(|| undefined("", "it needs a batch of images, and there is none"))
    }

    /// Convolutions and linear layers, each with its weight.
    pub fn weights(&self) -> impl Iterator<Item = (&GraphLayer, &GraphParam)> {
        let weighted =
            |layer: &&GraphLayer| matches!(layer.layer, Layer::Conv(_) | Layer::Linear { .. });
        self.graph
            .layers
            .iter()
            .filter(weighted)
            .filter_map(|layer| {
                let weight = layer
                    .params
                    .iter()
                    .find(|param| param.kind == ParamKind::Weight)?;
                Some((layer, weight))
            })
    }

    /// The starting numbers of a parameter.
    ///
    /// # Errors
    /// The model has none of this name: an op whose layers are not those that it lowers to.
    pub fn numbers(&self, param: &GraphParam) -> Result<&[f64], ProxyError> {
        find(&self.built()?.state, &param.name)
    }

    /// Weights and their gradients in a batch, by layer: those of the mean cross entropy.
    ///
    /// # Errors
    /// There is no such batch, or it does not fit the network.
    pub fn weight_grads(&self, batch: usize) -> Result<&[WeightGrad], ProxyError> {
        let (Some(cell), Some(images)) = (self.grads.get(batch), self.batches.get(batch)) else {
            let (wanted, n) = (batch + 1, self.batches.len());
            return Err(undefined(
                "",
                format!("it needs batches of images, at least {wanted}, and there are {n}"),
            ));
        };
        if let Some(known) = cell.get() {
            return Ok(known);
        }
        let (_, grads) = self.model()?.weight_grads(images, &Objective::default())?;
        let grads = self.by_layer(&grads)?;
        Ok(cell.get_or_init(|| grads))
    }

    fn by_layer(&self, grads: &ParamVec) -> Result<Vec<WeightGrad>, ProxyError> {
        let named = grads.named();
        let both = self.weights().map(|(_, param)| {
            Ok(WeightGrad {
                weight: self.numbers(param)?.to_vec(),
                grad: find(&named, &param.name)?.to_vec(),
            })
        });
        both.collect()
    }

    /// The gradients at other weights, by layer: each weight moved by `by` times the direction's number, in the first batch.
    /// Only weights of convolutions and linear layers move.
    ///
    /// # Errors
    /// As [`Subject::weight_grads`].
    pub(super) fn moved_grads(
        &self,
        direction: &[Vec<f64>],
        by: f64,
    ) -> Result<Vec<WeightGrad>, ProxyError> {
        let Built { model, state } = self.built()?;
        let mut zeros = state.clone();
        for tensor in &mut zeros {
            tensor.values.fill(0.0);
        }
        for ((_, param), numbers) in self.weights().zip(direction) {
            if let Some(tensor) = zeros.iter_mut().find(|tensor| tensor.name == param.name) {
                tensor.values.clone_from(numbers);
            }
        }
        let layout = model.weights().layout();
        let direction = ParamVec::from_named(layout, &zeros, model.compute())?;
        let moved = model.shifted(&direction, by);
        let (_, grads) = moved.weight_grads(self.batch()?, &Objective::default())?;
        self.by_layer(&grads)
    }

    /// For each image of the first batch, the gradient of the sum of all outputs by its pixels.
    ///
    /// # Errors
    /// There is no batch; no output depends on the images.
    pub fn image_grads(&self) -> Result<&[Vec<f64>], ProxyError> {
        if let Some(known) = self.image_grads.get() {
            return Ok(known);
        }
        let images = track(&self.images(self.batch()?));
        let walk = self.walk(&self.plain, Norms::Batch)?;
        let outputs = walk.run(images.clone(), self.graph.logits, &mut |seen| seen.output)?;
        let unreached = || undefined("", "no output depends on the images");
        if !outputs.is_tracked() {
            return Err(unreached());
        }
        let grads = outputs.sum().backward();
        let grads = to_host(&images.grad(&grads).ok_or_else(unreached)?);
        let each = grads.len() / images.dims()[0];
        let rows = grads.chunks_exact(each).map(<[f64]>::to_vec).collect();
        Ok(self.image_grads.get_or_init(|| rows))
    }

    /// The images of a batch as a tensor.
    pub(super) fn images(&self, batch: &Batch) -> Tensor<4> {
        self.plain.tensor_f32(batch.images.clone(), batch.shape)
    }

    /// Where the scores' own passes compute: the model's device and precision, the framework's operations.
    pub(super) fn plain(&self) -> &Compute {
        &self.plain
    }

    /// The network with its starting weights, layer by layer.
    pub(super) fn walk<'s>(
        &'s self,
        compute: &'s Compute,
        norms: Norms,
    ) -> Result<Walk<'s>, EngineError> {
        self.walk_with(compute, norms, |tensor| tensor.values.clone())
    }

    /// The same with other weights: what `map` makes of each.
    pub(super) fn walk_with<'s>(
        &'s self,
        compute: &'s Compute,
        norms: Norms,
        map: impl Fn(&NamedTensor) -> Vec<f64>,
    ) -> Result<Walk<'s>, EngineError> {
        let state = &self.built()?.state;
        Ok(Walk::new(&self.graph, state, compute, norms, map))
    }
}

fn find<'s>(state: &'s [NamedTensor], name: &str) -> Result<&'s [f64], ProxyError> {
    let tensor = state.iter().find(|tensor| tensor.name == name);
    let missing = || {
        EngineError::Shape(format!(
            "the model has no parameter `{name}`, which its layers name"
        ))
    };
    Ok(&tensor.ok_or_else(missing)?.values)
}
