//! The compiled description: a network that computes, with its numbers beside it.
//!
//! Structure is shared and never changes; weights, architecture parameters and running statistics are values. So a clone
//! is cheap, a look-ahead copy is [`Model::shifted`], and nothing that a pass on a copy does reaches the original.

mod network;
mod objective;

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use archai_data::{Batch, Mixed, rng::Key};
use archai_spec::desc::{ModelDesc, OpCatalog};
use archai_spec::finalize::{Finalized, Supernet};
use archai_spec::settings::Loss;
use burn::tensor::Tensor;

pub use crate::op::Candidate;
pub use objective::{Objective, Regular, Targets, cross_entropy};

use crate::arch::{AlphaInit, ArchGrads, ArchKey, ArchParams, Relaxation, Softmax};
use crate::compute::{Compute, to_host, track};
use crate::error::EngineError;
use crate::features::Features;
use crate::op::{Declared, DropPath, Mode, NormTable, OpRegistry, Pass};
use crate::params::{NamedTensor, ParamLayout, ParamVec};
use crate::parts::{Frozen, Parts, Rate};
use network::{Network, build, unique_names};

/// How a description is compiled.
#[derive(Clone, Debug)]
pub struct ModelOptions {
    /// Where numbers live and how precise they are.
    pub compute: Compute,
    /// Seed of the starting values.
    pub seed: u64,
    /// From architecture parameters to the weights of primitives.
    pub relaxation: Arc<dyn Relaxation>,
    /// How architecture parameters start.
    pub alpha_init: AlphaInit,
}

impl Default for ModelOptions {
    /// The CPU in 32 bits, seed 0, softmax, normal with deviation 1e-3.
    fn default() -> Self {
        ModelOptions {
            compute: Compute::cpu(),
            seed: 0,
            relaxation: Arc::new(Softmax),
            alpha_init: AlphaInit::default(),
        }
    }
}

/// Which gradients a pass computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// Those of the weights.
    pub weights: bool,
    /// Those of the architecture parameters.
    pub arch: bool,
}

impl Want {
    /// Both.
    pub const BOTH: Want = Want {
        weights: true,
        arch: true,
    };
    /// Those of the weights alone.
    pub const WEIGHTS: Want = Want {
        weights: true,
        arch: false,
    };
    /// Those of the architecture parameters alone.
    pub const ARCH: Want = Want {
        weights: false,
        arch: true,
    };
}

/// What a training pass gives. Gradients that were not wanted are zero.
#[derive(Clone, Debug)]
pub struct Grads {
    /// The objective.
    pub loss: f64,
    /// Its part from the logits alone.
    pub main_loss: f64,
    /// The auxiliary tower's loss, not weighted, if there is a tower.
    pub aux_loss: Option<f64>,
    /// Gradient of the weights.
    pub weights: ParamVec,
    /// Gradient of the architecture parameters.
    pub arch: ArchGrads,
    /// The logits, for metrics.
    pub logits: Logits,
}

/// Logits on the host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Logits {
    /// `n`·`classes` numbers, a row per sample.
    pub values: Vec<f32>,
    /// Samples.
    pub n: usize,
    /// Classes.
    pub classes: usize,
}

/// What a forward pass gives.
#[derive(Clone, Debug)]
pub struct Outputs {
    /// `[n, classes]`.
    pub logits: Tensor<2>,
    /// The auxiliary towers' logits, in training only.
    pub aux: Vec<Tensor<2>>,
}

/// A compiled description with its numbers. Cheap to clone: structure is shared, numbers are values (running statistics
/// too).
#[derive(Clone, Debug)]
pub struct Model {
    net: Arc<Network>,
    weights: ParamVec,
    arch: ArchParams,
    norms: NormTable,
    relaxation: Arc<dyn Relaxation>,
    /// What training passes leave as it is.
    frozen: Option<Arc<Frozen>>,
}

impl Model {
    /// Builds the network of a description and draws its starting values.
    ///
    /// # Errors
    /// [`EngineError::Desc`] if the description does not pass its check or an op cannot be made.
    pub fn compile(
        desc: &ModelDesc,
        registry: &OpRegistry,
        options: &ModelOptions,
    ) -> Result<Model, EngineError> {
        desc.check(registry.catalog())?;
        let mut declared = Declared::new(&options.compute);
        let mut arch: Vec<(ArchKey, usize)> = Vec::new();
        let net = build(desc, registry, options, &mut declared, &mut arch)?;
        unique_names(&declared)?;
        let layout = Arc::new(ParamLayout {
            params: declared.params,
        });
        let key = Key::new(options.seed);
        let compute = &options.compute;
        let alpha_key = key.with("init alphas");
        let values = arch
            .iter()
            .map(|(k, n)| {
                compute.tensor(
                    options
                        .alpha_init
                        .draw(&alpha_key.with(&format!("{k}.alpha")), *n),
                    [*n],
                )
            })
            .collect();
        let keys = arch.into_iter().map(|(k, _)| k).collect();
        Ok(Model {
            net: Arc::new(net),
            weights: ParamVec::init(&layout, &key.with("init weights"), compute),
            arch: ArchParams { keys, values },
            norms: NormTable::new(declared.norms, compute),
            relaxation: options.relaxation.clone(),
            frozen: None,
        })
    }

    /// Freezes some parts: training passes give no gradient of their weights, compute with the running statistics of their
    /// norms, leave those as they are, and drop none of their paths.
    ///
    /// # Errors
    /// As [`Parts::check`]; a network that still has choices, whose weights are a search's.
    pub fn freeze(&mut self, parts: &Parts) -> Result<(), EngineError> {
        let pieces: Vec<&str> = (self.weights.layout().pieces())
            .map(|piece| piece.name.as_str())
            .collect();
        let mut all = pieces.clone();
        all.extend(self.norms.names());
        parts.check(&pieces, &all)?;
        if !parts.is_usual() && self.net.desc.has_alphas() {
            return Err(EngineError::setting(
                "nas.eval.freeze",
                "the network has choices that a search weighs; parts of networks that are finalised can be frozen",
            ));
        }
        let (layout, compute) = (self.weights.layout(), &self.net.compute);
        let frozen = parts.frozen(layout, self.norms.names(), &self.net.desc, compute);
        self.frozen = frozen.map(Arc::new);
        Ok(())
    }

    /// The description that this model was compiled from.
    pub fn desc(&self) -> &ModelDesc {
        &self.net.desc
    }

    /// What the names of ops in the description mean.
    pub fn catalog(&self) -> &OpCatalog {
        &self.net.catalog
    }

    /// Where numbers live.
    pub fn compute(&self) -> &Compute {
        &self.net.compute
    }

    /// The weights.
    pub fn weights(&self) -> &ParamVec {
        &self.weights
    }

    /// Replaces the weights by others of the same layout.
    pub fn set_weights(&mut self, weights: ParamVec) {
        assert!(
            Arc::ptr_eq(weights.layout(), self.weights.layout())
                || weights.layout() == self.weights.layout(),
            "weights of another model"
        );
        self.weights = weights;
    }

    /// The architecture parameters.
    pub fn arch(&self) -> &ArchParams {
        &self.arch
    }

    /// Replaces the architecture parameters by others of the same edges.
    pub fn set_arch(&mut self, arch: ArchParams) {
        assert_eq!(
            arch.keys, self.arch.keys,
            "architecture parameters of another model"
        );
        self.arch = arch;
    }

    /// From architecture parameters to the weights of primitives.
    pub fn relaxation(&self) -> &Arc<dyn Relaxation> {
        &self.relaxation
    }

    /// Replaces the relaxation, for schedules of a temperature for example.
    pub fn set_relaxation(&mut self, relaxation: Arc<dyn Relaxation>) {
        self.relaxation = relaxation;
    }

    /// The norms' running statistics: `….running_mean` and `….running_var`.
    pub fn buffers(&self) -> Vec<NamedTensor> {
        self.norms.named()
    }

    /// Replaces the norms' running statistics.
    ///
    /// # Errors
    /// [`EngineError::Shape`] names every tensor that is missing, unknown, doubled or of another shape.
    pub fn set_buffers(&mut self, buffers: &[NamedTensor]) -> Result<(), EngineError> {
        self.norms = self.norms.with_named(buffers, &self.net.compute)?;
        Ok(())
    }

    /// Weights and running statistics by name: what an export holds.
    pub fn named_state(&self) -> Vec<NamedTensor> {
        let mut state = self.weights.named();
        state.extend(self.buffers());
        state
    }

    /// Sets what [`Model::named_state`] gave, from a file for example.
    ///
    /// # Errors
    /// [`EngineError::Shape`] names every tensor that is missing, unknown, doubled or of another shape.
    pub fn set_named_state(&mut self, state: &[NamedTensor]) -> Result<(), EngineError> {
        let known: HashSet<String> = self.buffers().into_iter().map(|b| b.name).collect();
        let (buffers, weights): (Vec<_>, Vec<_>) =
            state.iter().cloned().partition(|t| known.contains(&t.name));
        let weights = ParamVec::from_named(self.weights.layout(), &weights, &self.net.compute)?;
        self.set_buffers(&buffers)?;
        self.set_weights(weights);
        Ok(())
    }

    /// A copy at w + `by`·`direction`.
    pub fn shifted(&self, direction: &ParamVec, by: f64) -> Model {
        Model {
            weights: self.weights.add_scaled(direction, by),
            ..self.clone()
        }
    }

    /// Gradients of weights and architecture parameters in training mode, with the mixtures' weights free of noise. Leaves
    /// this model and its running statistics alone.
    ///
    /// # Errors
    /// [`EngineError::Batch`] if the batch does not fit the model.
    pub fn grads(&self, batch: &Batch, objective: &Objective) -> Result<Grads, EngineError> {
        Ok(self.pass(batch, objective, None, None, Want::BOTH)?.0)
    }

    /// [`Model::grads`] with the noise of a [`Relaxation`] that samples, drawn by `draw`.
    ///
    /// # Errors
    /// As [`Model::grads`].
    pub fn grads_sampled(
        &self,
        batch: &Batch,
        objective: &Objective,
        draw: &Key,
    ) -> Result<Grads, EngineError> {
        Ok(self.pass(batch, objective, Some(draw), None, Want::BOTH)?.0)
    }

    /// Loss and gradient of the architecture parameters alone. As [`Model::grads`].
    ///
    /// # Errors
    /// As [`Model::grads`].
    pub fn arch_grads(
        &self,
        batch: &Batch,
        objective: &Objective,
    ) -> Result<(f64, ArchGrads), EngineError> {
        let (grads, _) = self.pass(batch, objective, None, None, Want::ARCH)?;
        Ok((grads.loss, grads.arch))
    }

    /// Loss and gradient of the architecture parameters alone. As [`Model::grads_sampled`].
    ///
    /// # Errors
    /// As [`Model::grads`].
    pub fn arch_grads_sampled(
        &self,
        batch: &Batch,
        objective: &Objective,
        draw: &Key,
    ) -> Result<(f64, ArchGrads), EngineError> {
        let (grads, _) = self.pass(batch, objective, Some(draw), None, Want::ARCH)?;
        Ok((grads.loss, grads.arch))
    }

    /// Loss and gradient of the weights alone. As [`Model::grads`].
    ///
    /// # Errors
    /// As [`Model::grads`].
    pub fn weight_grads(
        &self,
        batch: &Batch,
        objective: &Objective,
    ) -> Result<(f64, ParamVec), EngineError> {
        let (grads, _) = self.pass(batch, objective, None, None, Want::WEIGHTS)?;
        Ok((grads.loss, grads.weights))
    }

    /// Loss and gradient of the weights alone. As [`Model::grads_sampled`].
    ///
    /// # Errors
    /// As [`Model::grads`].
    pub fn weight_grads_sampled(
        &self,
        batch: &Batch,
        objective: &Objective,
        draw: &Key,
    ) -> Result<(f64, ParamVec), EngineError> {
        let (grads, _) = self.pass(batch, objective, Some(draw), None, Want::WEIGHTS)?;
        Ok((grads.loss, grads.weights))
    }

    /// The weight step's pass: in training mode with drop-path; updates the running statistics.
    ///
    /// # Errors
    /// [`EngineError::Batch`] if the batch does not fit the model.
    pub fn train_pass(
        &mut self,
        batch: &Batch,
        objective: &Objective,
        regular: &Regular,
        want: Want,
    ) -> Result<Grads, EngineError> {
        let (grads, norms) =
            self.pass(batch, objective, Some(&regular.draw), Some(regular), want)?;
        self.norms = norms;
        Ok(grads)
    }

    /// Mean loss and logits in evaluation mode, without gradients.
    ///
    /// # Errors
    /// [`EngineError::Batch`] if the batch does not fit the model.
    pub fn evaluate(&self, batch: &Batch, loss: &Loss) -> Result<(f64, Logits), EngineError> {
        self.evaluate_part(batch, 0..batch.labels.len(), loss)
    }

    /// [`Model::evaluate`] on some samples of a batch, which must have them: for batches that are too large for one pass.
    ///
    /// # Errors
    /// [`EngineError::Batch`] if the batch does not fit the model.
    pub fn evaluate_part(
        &self,
        batch: &Batch,
        samples: Range<usize>,
        loss: &Loss,
    ) -> Result<(f64, Logits), EngineError> {
        self.check_batch(batch)?;
        let images = self.images(batch, samples.clone());
        let outputs = self.forward(images, Mode::Evaluation);
        let targets = self.targets(batch, samples, loss);
        let value = cross_entropy(outputs.logits.clone(), &targets, &self.net.compute);
        Ok((to_host(&value)[0], logits(&[outputs.logits])))
    }

    /// Logits of images `[n, c, h, w]` in evaluation mode.
    ///
    /// # Errors
    /// [`EngineError::Batch`] if the images do not fit the model.
    pub fn predict(&self, images: Vec<f32>, shape: [usize; 4]) -> Result<Logits, EngineError> {
        self.check_images(images.len(), shape)?;
        let outputs = self.forward(self.net.compute.tensor_f32(images, shape), Mode::Evaluation);
        Ok(logits(&[outputs.logits]))
    }

    /// The bare forward pass on a tensor `[n, c, h, w]`, without gradients, drop-path or change of the running statistics.
    pub fn forward(&self, images: Tensor<4>, mode: Mode) -> Outputs {
        let weights = self.relaxed();
        let mut pass = Pass::new(
            self.weights.layout(),
            self.weights.tensors(),
            &self.norms,
            &self.net.compute,
            mode,
            None,
        );
        self.net.forward(&mut pass, images, &weights, true)
    }

    /// One forward pass in evaluation mode that shows what every primitive of every mixed edge gives, node by node in order:
    /// `visit(cell, node, candidates)`. Zeros (`none`) are left out. Each primitive runs once.
    ///
    /// # Errors
    /// [`EngineError::Batch`] if the batch does not fit the model.
    pub fn visit_candidates(
        &self,
        batch: &Batch,
        visit: &mut dyn FnMut(usize, usize, Vec<Candidate>),
    ) -> Result<(), EngineError> {
        self.check_batch(batch)?;
        let weights = self.relaxed();
        let mut pass = Pass::new(
            self.weights.layout(),
            self.weights.tensors(),
            &self.norms,
            &self.net.compute,
            Mode::Evaluation,
            None,
        );
        pass.show_candidates();
        let images = Features::from_nchw(self.images(batch, 0..batch.labels.len()));
        let stems = self.net.stems(&mut pass, &images);
        let mut outputs = self.net.first_inputs(stems);
        for (i, cell) in self.net.cells.iter().enumerate() {
            outputs.push(cell.forward(&mut pass, i, &outputs, &weights));
            outputs.remove(0);
            for (node, candidates) in pass.take_nodes() {
                visit(i, node, candidates);
            }
        }
        Ok(())
    }

    /// The weights of each owned edge's primitives, relaxed without noise.
    pub fn edge_weights(&self) -> Vec<(ArchKey, Vec<f64>)> {
        let keys = self.arch.keys.iter().copied();
        keys.zip(self.relaxed().iter().map(to_host)).collect()
    }

    fn relaxed(&self) -> Vec<Tensor<1>> {
        self.relaxation
            .weights(&self.arch.keys, &self.arch.values, None)
    }

    /// The description with what its ops mean, for finalising.
    pub fn supernet(&self) -> Supernet<'_> {
        Supernet::new(&self.net.desc, &self.net.catalog)
    }

    /// What remains of an edge in a found network, by the edge's relaxed weights.
    ///
    /// # Errors
    /// [`EngineError::Desc`]: there is no such edge.
    pub fn finalize_edge(
        &self,
        cell: usize,
        node: usize,
        edge: usize,
    ) -> Result<Finalized, EngineError> {
        let cells = self.net.cells.get(cell).map(|cell| &cell.nodes);
        let edges = cells.and_then(|nodes| nodes.get(node));
        let weights = match edges.and_then(|edges| edges.get(edge)?.alphas) {
            // Only this edge's weights leave the device.
            Some(i) => to_host(&self.relaxed().swap_remove(i)),
            None => Vec::new(),
        };
        Ok(self.supernet().finalize_edge(cell, node, edge, &weights)?)
    }

    /// The network that the relaxed weights give by the rule of DARTS; see [`Supernet::finalize`].
    ///
    /// # Errors
    /// [`EngineError::Desc`] if an op is a choice, but takes no weights.
    pub fn finalize(&self) -> Result<ModelDesc, EngineError> {
        let weights = self.edge_weights().into_iter();
        let weights = weights.map(|(key, w)| ((key.cell, key.node, key.edge), w));
        Ok(self.supernet().finalize(&weights.collect())?)
    }

    fn check_images(&self, n_numbers: usize, shape: [usize; 4]) -> Result<(), EngineError> {
        let input = self.net.desc.input;
        let wanted = [input.channels, input.height, input.width];
        if shape[1..] != wanted || shape[0] == 0 || n_numbers != shape.iter().product::<usize>() {
            let [c, h, w] = wanted;
            return Err(EngineError::Batch(format!(
                "images of shape {shape:?} ({n_numbers} numbers) do not fit the model, which wants [n, {c}, {h}, {w}] \
                 with n at least 1"
            )));
        }
        Ok(())
    }

    fn check_batch(&self, batch: &Batch) -> Result<(), EngineError> {
        self.check_images(batch.images.len(), batch.shape)?;
        if batch.labels.len() != batch.shape[0] {
            let (images, labels) = (batch.shape[0], batch.labels.len());
            return Err(EngineError::Batch(format!(
                "a batch of {images} images has {labels} labels"
            )));
        }
        let classes = self.net.desc.n_classes;
        if let Some(Mixed { others, shares }) = &batch.mixed
            && (others.len(), shares.len()) != (batch.labels.len(), batch.labels.len())
        {
            return Err(EngineError::Batch(format!(
                "a batch of {} mixed images has {} other labels with {} shares",
                batch.labels.len(),
                others.len(),
                shares.len()
            )));
        }
        if let Some(weights) = &batch.class_weights
            && weights.len() != classes
        {
            return Err(EngineError::Batch(format!(
                "{} weights of classes do not fit the model's {classes} classes",
                weights.len()
            )));
        }
        let others = batch.mixed.iter().flat_map(|mixed| &mixed.others);
        match (batch.labels.iter().chain(others))
            .find(|&&l| usize::try_from(l).map_or(true, |l| l >= classes))
        {
            Some(l) => Err(EngineError::Batch(format!(
                "label {l} does not fit the model's {classes} classes; check n_classes of the data set"
            ))),
            None => Ok(()),
        }
    }

    fn targets(&self, batch: &Batch, samples: Range<usize>, loss: &Loss) -> Targets {
        Targets::new(batch, samples, self.net.desc.n_classes, loss)
    }

    fn images(&self, batch: &Batch, samples: Range<usize>) -> Tensor<4> {
        let [_, c, h, w] = batch.shape;
        let (n, size) = (samples.len(), c * h * w);
        let values = batch.images[samples.start * size..samples.end * size].to_vec();
        self.net.compute.tensor_f32(values, [n, c, h, w])
    }

    /// Whether all numbers of a flat tensor are frozen.
    fn is_frozen(&self, i: usize) -> bool {
        let frozen = self.frozen.as_deref();
        frozen.is_some_and(|frozen| matches!(frozen.tensors[i], Rate::All(0.0)))
    }

    /// Gradients that are zero where tensors are frozen in part.
    fn thawed(&self, grads: Vec<Tensor<1>>) -> Vec<Tensor<1>> {
        let Some(frozen) = &self.frozen else {
            return grads;
        };
        let masked = grads.into_iter().zip(&frozen.tensors);
        masked
            .map(|(grad, mask)| match mask {
                Rate::All(_) => grad,
                Rate::Each(mask) => grad * *mask.clone(),
            })
            .collect()
    }

    /// Forward and backward in training mode, chunk by chunk; the second result is the running statistics afterwards.
    fn pass(
        &self,
        batch: &Batch,
        objective: &Objective,
        draw: Option<&Key>,
        regular: Option<&Regular>,
        want: Want,
    ) -> Result<(Grads, NormTable), EngineError> {
        self.check_batch(batch)?;
        let compute = &self.net.compute;
        let leaf = |wanted| if wanted { track::<1> } else { Tensor::clone };
        let n = batch.labels.len();
        let chunks = objective.chunks.clamp(1, n);
        let mut norms = self.norms.clone();
        let mut sums: Option<[LeafGrads; 2]> = None;
        let (mut total, mut main, mut aux) = (0.0, 0.0, None);
        let mut all_logits = Vec::with_capacity(chunks);
        for chunk in 0..chunks {
            let (start, end) = (chunk * n / chunks, (chunk + 1) * n / chunks);
            let targets = self.targets(batch, start..end, &objective.loss);
            let share = batch.weight(start..end) / batch.weight(0..n);
            let tensors = self.weights.tensors().iter().enumerate();
            let weights: Vec<Tensor<1>> = tensors
                .map(|(i, tensor)| leaf(want.weights && !self.is_frozen(i))(tensor))
                .collect();
            let alphas: Vec<Tensor<1>> = self.arch.values.iter().map(leaf(want.arch)).collect();
            let edge_weights = self.relaxation.weights(&self.arch.keys, &alphas, draw);
            let drop_path = regular.map(|r| DropPath {
                prob: r.drop_path_prob,
                draw: r.draw,
                first_sample: start,
            });
            let mut pass = Pass::new(
                self.weights.layout(),
                &weights,
                &norms,
                compute,
                Mode::Training,
                drop_path,
            );
            pass.hold(self.frozen.as_deref());
            let images = self.images(batch, start..end);
            let outputs = self.net.forward(
                &mut pass,
                images,
                &edge_weights,
                objective.aux_weight != 0.0,
            );
            let updates = pass.into_updates();
            let mut loss = cross_entropy(outputs.logits.clone(), &targets, compute);
            main += share * to_host(&loss)[0];
            for logits in outputs.aux {
                let l = cross_entropy(logits, &targets, compute);
                *aux.get_or_insert(0.0) += share * to_host(&l)[0];
                loss = loss + l * objective.aux_weight;
            }
            if objective.l1_alphas != 0.0 {
                for a in &alphas {
                    loss = loss + a.clone().abs().sum() * objective.l1_alphas;
                }
            }
            total += share * to_host(&loss)[0];
            all_logits.push(outputs.logits.inner());
            if loss.is_tracked() {
                let mut grads = (loss * share).backward();
                // Leaves that are not tracked have none.
                let mut take = |leaves: &[Tensor<1>]| -> LeafGrads {
                    leaves.iter().map(|t| t.grad_remove(&mut grads)).collect()
                };
                let new = [take(&weights), take(&alphas)];
                sums = Some(match sums {
                    None => new,
                    Some([w, a]) => {
                        let [new_w, new_a] = new;
                        [add(w, new_w), add(a, new_a)]
                    }
                });
            }
            norms.apply(updates);
        }
        let [weight_sums, arch_sums] = sums.unwrap_or_default();
        let grads = Grads {
            loss: total,
            main_loss: main,
            aux_loss: aux,
            weights: ParamVec {
                layout: self.weights.layout().clone(),
                tensors: self.thawed(fill(weight_sums, self.weights.tensors())),
            },
            arch: ArchParams {
                keys: self.arch.keys.clone(),
                values: fill(arch_sums, &self.arch.values),
            },
            logits: logits(&all_logits),
        };
        Ok((grads, norms))
    }
}

/// One gradient per leaf; `None` for a leaf that the loss does not depend on.
type LeafGrads = Vec<Option<Tensor<1>>>;

/// Gradients of two chunks together. A leaf that no chunk reached has none.
fn add(a: LeafGrads, b: LeafGrads) -> LeafGrads {
    a.into_iter()
        .zip(b)
        .map(|pair| match pair {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        })
        .collect()
}

/// Zeros where nothing was computed.
fn fill(sums: LeafGrads, like: &[Tensor<1>]) -> Vec<Tensor<1>> {
    let mut sums = sums.into_iter();
    like.iter()
        .map(|t| sums.next().flatten().unwrap_or_else(|| t.zeros_like()))
        .collect()
}

fn logits(parts: &[Tensor<2>]) -> Logits {
    let classes = parts[0].dims()[1];
    let values: Vec<f32> = parts
        .iter()
        .flat_map(|t| t.to_data().iter::<f32>().collect::<Vec<_>>())
        .collect();
    Logits {
        n: values.len() / classes,
        classes,
        values,
    }
}
