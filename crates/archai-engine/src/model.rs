//! The compiled description: a network that computes, with its numbers beside it.
//!
//! Structure is shared and never changes; weights, architecture parameters and running statistics are values. So a clone
//! is cheap, a look-ahead copy is [`Model::shifted`], and nothing that a pass on a copy does reaches the original.

use std::collections::HashSet;
use std::sync::Arc;

use archai_spec::desc::{ModelDesc, OpDesc, StemInput};
use archai_spec::settings::{Loss, LossKind};
use burn::tensor::{Tensor, activation::log_softmax};

use crate::arch::{AlphaInit, ArchGrads, ArchKey, ArchParams, Relaxation, Softmax};
use crate::compute::{Compute, to_host, track};
use crate::error::EngineError;
use crate::features::Features;
use crate::op::{Declared, DropPath, Finalized, Mode, NormTable, Op, OpBuilder, OpRegistry, Pass};
use crate::ops::{AuxTower, MIXED_OP, MixedCell, MixedCellDraft};
use crate::params::{NamedTensor, ParamLayout, ParamVec};
use archai_data::{Batch, rng::Key};

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

/// What a training pass minimises: CE(logits) + `aux_weight`·CE(auxiliary logits) + `l1_alphas`·Σ|α|.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// The loss of the logits.
    pub loss: Loss,
    /// Weight of the auxiliary tower's loss; 0 leaves the tower out.
    pub aux_weight: f64,
    /// Weight of the sum of the absolute values of the architecture parameters.
    pub l1_alphas: f64,
    /// The batch is cut into so many chunks of (nearly) equal size, each weighted by its share: less memory, the same
    /// gradient but for the norms' statistics, which are those of a chunk.
    pub chunks: usize,
}

impl Default for Objective {
    /// Plain cross entropy of the whole batch.
    fn default() -> Self {
        let loss = Loss {
            kind: LossKind::CrossEntropyLoss,
            smoothing: 0.0,
        };
        Objective {
            loss,
            aux_weight: 0.0,
            l1_alphas: 0.0,
            chunks: 1,
        }
    }
}

/// What regularises a weight step.
#[derive(Clone, Debug)]
pub struct Regular {
    /// Probability of dropping an op's output.
    pub drop_path_prob: f64,
    /// Key of this step's draws: (seed, purpose, epoch, step).
    pub draw: Key,
}

/// Which gradients a pass computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// Those of the weights.
    pub weights: bool,
    /// Those of the architecture parameters.
    pub arch: bool,
}

/// What a training pass gives. Gradients that were not wanted are zero.
#[derive(Clone, Debug)]
pub struct Grads {
    /// The objective.
    pub loss: f64,
    /// Its part from the logits alone.
    pub main_loss: f64,
    /// The auxiliary tower's loss, not weighted, where there is a tower.
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

#[derive(Debug)]
struct Edge {
    inputs: Vec<usize>,
    op: Box<dyn Op>,
    /// Index into the architecture parameters.
    alphas: Option<usize>,
}

#[derive(Debug)]
struct Cell {
    stems: [Box<dyn Op>; 2],
    nodes: Vec<Vec<Edge>>,
    /// All nodes at once, where there is a kernel for the whole cell.
    fused: Option<MixedCell>,
    post_op: Box<dyn Op>,
    concat: Vec<usize>,
    aux: Option<AuxTower>,
}

/// The structure: shared by all clones of a model.
#[derive(Debug)]
struct Network {
    desc: ModelDesc,
    stems: Vec<(StemInput, Box<dyn Op>)>,
    cells: Vec<Cell>,
    pool: Box<dyn Op>,
    logits: Box<dyn Op>,
    compute: Compute,
}

/// What a primitive of a mixed edge gave, see [`Model::visit_candidates`].
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Edge within the node.
    pub edge: usize,
    /// Place among the edge's primitives.
    pub child: usize,
    /// Its output `[n, c, h, w]`, not weighted.
    pub output: Tensor<4>,
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
        })
    }

    /// The description that this model was compiled from.
    pub fn desc(&self) -> &ModelDesc {
        &self.net.desc
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

    /// Takes back what [`Model::named_state`] gave, from a file for example.
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

    /// Gradients of weights and architecture parameters in training mode. Leaves this model and its running statistics
    /// alone.
    ///
    /// # Errors
    /// [`EngineError::Batch`] if the batch does not fit the model.
    pub fn grads(
        &self,
        batch: &Batch,
        objective: &Objective,
        draw: Option<&Key>,
    ) -> Result<Grads, EngineError> {
        Ok(self
            .pass(
                batch,
                objective,
                draw,
                None,
                Want {
                    weights: true,
                    arch: true,
                },
            )?
            .0)
    }

    /// Loss and gradient of the architecture parameters alone. As [`Model::grads`].
    ///
    /// # Errors
    /// As [`Model::grads`].
    pub fn arch_grads(
        &self,
        batch: &Batch,
        objective: &Objective,
        draw: Option<&Key>,
    ) -> Result<(f64, ArchGrads), EngineError> {
        let (grads, _) = self.pass(
            batch,
            objective,
            draw,
            None,
            Want {
                weights: false,
                arch: true,
            },
        )?;
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
        draw: Option<&Key>,
    ) -> Result<(f64, ParamVec), EngineError> {
        let (grads, _) = self.pass(
            batch,
            objective,
            draw,
            None,
            Want {
                weights: true,
                arch: false,
            },
        )?;
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
        self.check_batch(batch)?;
        let outputs = self.forward(self.images(batch, 0, batch.labels.len()), Mode::Evaluation);
        let value = cross_entropy(
            outputs.logits.clone(),
            &batch.labels,
            loss,
            &self.net.compute,
        );
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
        let weights = self
            .relaxation
            .weights(&self.arch.keys, &self.arch.values, None);
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
        let weights = self
            .relaxation
            .weights(&self.arch.keys, &self.arch.values, None);
        let mut pass = Pass::new(
            self.weights.layout(),
            self.weights.tensors(),
            &self.norms,
            &self.net.compute,
            Mode::Evaluation,
            None,
        );
        pass.show_candidates();
        let images = Features::from_nchw(self.images(batch, 0, batch.labels.len()));
        let stems = self.net.stems(&mut pass, &images);
        let [first, second] = self.net.desc.stem_outputs;
        let (mut s0, mut s1) = (stems[first].clone(), stems[second].clone());
        for (i, cell) in self.net.cells.iter().enumerate() {
            let out = cell.forward(&mut pass, i, &s0, &s1, &weights);
            (s0, s1) = (s1, out);
            for (node, candidates) in pass.take_nodes() {
                visit(i, node, candidates);
            }
        }
        Ok(())
    }

    /// The weights of each owned edge's primitives, relaxed without noise.
    pub fn edge_weights(&self) -> Vec<(ArchKey, Vec<f64>)> {
        let weights = self
            .relaxation
            .weights(&self.arch.keys, &self.arch.values, None);
        self.arch
            .keys
            .iter()
            .copied()
            .zip(weights.iter().map(to_host))
            .collect()
    }

    /// What remains of an edge in a found network: [`Op::finalize`] with the edge's relaxed weights. `None` if there is no
    /// such edge.
    pub fn finalize_edge(&self, cell: usize, node: usize, edge: usize) -> Option<Finalized> {
        let edge = self.net.cells.get(cell)?.nodes.get(node)?.get(edge)?;
        let weights = match edge.alphas {
            Some(i) => self.edge_weights().swap_remove(i).1,
            None => Vec::new(),
        };
        Some(edge.op.finalize(&weights))
    }

    /// What remains of an edge if its primitives had these weights. `None` if there is no such edge or another number of
    /// weights.
    pub fn finalize_edge_with(
        &self,
        cell: usize,
        node: usize,
        edge: usize,
        weights: &[f64],
    ) -> Option<Finalized> {
        let edge = self.net.cells.get(cell)?.nodes.get(node)?.get(edge)?;
        (weights.len() == edge.op.n_alphas()).then(|| edge.op.finalize(weights))
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
        match batch
            .labels
            .iter()
            .find(|&&l| usize::try_from(l).map_or(true, |l| l >= classes))
        {
            Some(l) => Err(EngineError::Batch(format!(
                "label {l} does not fit the model's {classes} classes; check n_classes of the data set"
            ))),
            None => Ok(()),
        }
    }

    fn images(&self, batch: &Batch, start: usize, end: usize) -> Tensor<4> {
        let [_, c, h, w] = batch.shape;
        let values = batch.images[start * c * h * w..end * c * h * w].to_vec();
        self.net.compute.tensor_f32(values, [end - start, c, h, w])
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
            let labels = &batch.labels[start..end];
            let share = (end - start) as f64 / n as f64;
            let weights: Vec<Tensor<1>> = self
                .weights
                .tensors()
                .iter()
                .map(leaf(want.weights))
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
            let images = self.images(batch, start, end);
            let outputs = self.net.forward(
                &mut pass,
                images,
                &edge_weights,
                objective.aux_weight != 0.0,
            );
            let updates = pass.into_updates();
            let mut loss = cross_entropy(outputs.logits.clone(), labels, &objective.loss, compute);
            main += share * to_host(&loss)[0];
            for logits in outputs.aux {
                let l = cross_entropy(logits, labels, &objective.loss, compute);
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
                tensors: fill(weight_sums, self.weights.tensors()),
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

/// Mean cross entropy of `logits` `[n, K]` against targets (1 − ε)·one-hot + ε/K: one number. Labels must be below K.
pub fn cross_entropy(
    logits: Tensor<2>,
    labels: &[i64],
    loss: &Loss,
    compute: &Compute,
) -> Tensor<1> {
    let LossKind::CrossEntropyLoss = loss.kind;
    let [n, k] = logits.dims();
    let mut targets = vec![loss.smoothing / k as f64; n * k];
    for (row, &label) in labels.iter().enumerate() {
        targets[row * k + label as usize] += 1.0 - loss.smoothing;
    }
    let targets = compute.tensor(targets, [n, k]);
    (log_softmax(logits, 1) * targets).sum() * (-1.0 / n as f64)
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

impl Network {
    /// What each stem gives.
    fn stems(&self, pass: &mut Pass<'_>, image: &Features) -> Vec<Features> {
        let mut stems: Vec<Features> = Vec::with_capacity(self.stems.len());
        for (input, op) in &self.stems {
            let input = match input {
                StemInput::Image => image.clone(),
                StemInput::Stem(i) => stems[*i].clone(),
            };
            let out = op.forward(pass, &[input], None);
            stems.push(out);
        }
        stems
    }

    fn forward(
        &self,
        pass: &mut Pass<'_>,
        images: Tensor<4>,
        weights: &[Tensor<1>],
        aux: bool,
    ) -> Outputs {
        let stems = self.stems(pass, &Features::from_nchw(images));
        let [first, second] = self.desc.stem_outputs;
        let (mut s0, mut s1) = (stems[first].clone(), stems[second].clone());
        drop(stems);
        let mut aux_logits = Vec::new();
        for (i, cell) in self.cells.iter().enumerate() {
            let out = cell.forward(pass, i, &s0, &s1, weights);
            (s0, s1) = (s1, out);
            if let Some(tower) = cell.aux.as_ref().filter(|_| aux && pass.is_training()) {
                aux_logits.push(tower.forward(pass, &s1));
            }
        }
        let pooled = self.pool.forward(pass, &[s1], None);
        let logits = self.logits.forward(pass, &[pooled], None);
        let [n, classes, _, _] = logits.shape();
        Outputs {
            logits: logits.nchw().reshape([n, classes]),
            aux: aux_logits,
        }
    }
}

impl Cell {
    fn forward(
        &self,
        pass: &mut Pass<'_>,
        cell: usize,
        s0: &Features,
        s1: &Features,
        weights: &[Tensor<1>],
    ) -> Features {
        let mut states = vec![
            self.stems[0].forward(pass, std::slice::from_ref(s0), None),
            self.stems[1].forward(pass, std::slice::from_ref(s1), None),
        ];
        // A whole cell at once does not show its parts.
        if let Some(fused) = self.fused.as_ref().filter(|_| !pass.shows_candidates()) {
            let samples = s0.shape()[0];
            let (mut mixing, mut factors) = (Vec::new(), Vec::new());
            for (n, node) in self.nodes.iter().enumerate() {
                for (e, edge) in node.iter().enumerate() {
                    mixing.extend(edge.alphas.map(|i| weights[i].clone()));
                    factors.push(match edge.op.can_drop_path() {
                        true => pass.drop_path([cell, n, e], samples),
                        false => None,
                    });
                }
            }
            let states = [&states[0], &states[1]];
            if let Some(out) = fused.forward(pass, states, mixing, factors) {
                // It is joined already: what is left of the post-op is what it does to joined states.
                return self.post_op.forward(pass, &[out], None);
            }
        }
        for (n, node) in self.nodes.iter().enumerate() {
            let mut parts = Vec::with_capacity(node.len());
            for (e, edge) in node.iter().enumerate() {
                let inputs: Vec<Features> =
                    edge.inputs.iter().map(|&i| states[i].clone()).collect();
                let out = edge
                    .op
                    .forward(pass, &inputs, edge.alphas.map(|i| &weights[i]));
                pass.candidates_are_of(n, e);
                let factors = match edge.op.can_drop_path() {
                    true => pass.drop_path([cell, n, e], out.shape()[0]),
                    false => None,
                };
                parts.push((out, factors));
            }
            let state = if parts.is_empty() {
                states[states.len() - 1].clone()
            } else {
                Features::sum_scaled(parts)
            };
            states.push(state);
        }
        let inputs: Vec<Features> = self.concat.iter().map(|&i| states[i].clone()).collect();
        self.post_op.forward(pass, &inputs, None)
    }
}

/// Builds the structure.
fn build(
    desc: &ModelDesc,
    registry: &OpRegistry,
    options: &ModelOptions,
    declared: &mut Declared,
    arch: &mut Vec<(ArchKey, usize)>,
) -> Result<Network, EngineError> {
    let make = |declared: &mut Declared, op: &OpDesc, prefix: String, n_inputs: usize| {
        let affine = op.affine.unwrap_or(desc.affine);
        registry.make(
            op,
            &mut OpBuilder::new(registry, declared, prefix, affine, n_inputs),
        )
    };
    let mut stems = Vec::new();
    for (i, stem) in desc.stems.iter().enumerate() {
        let name = if desc.stems.len() == 1 {
            "stem".to_string()
        } else {
            format!("stem{i}")
        };
        stems.push((stem.input, make(declared, &stem.op, name, 1)?));
    }
    let n_towers = desc.cells.iter().filter(|c| c.aux_tower.is_some()).count();
    let mut cells = Vec::new();
    for (c, cell) in desc.cells.iter().enumerate() {
        let pre0 = make(declared, &cell.stems[0], format!("cell{c}.pre0"), 1)?;
        let pre1 = make(declared, &cell.stems[1], format!("cell{c}.pre1"), 1)?;
        let draft =
            MixedCellDraft::declare(cell, &format!("cell{c}"), desc.affine, registry, declared);
        let mut nodes = Vec::new();
        for (n, node) in cell.nodes.iter().enumerate() {
            let mut edges = Vec::new();
            for (e, edge) in node.edges.iter().enumerate() {
                let place = format!("cell{c}.node{n}.edge{e}");
                // The parts of a mixed op carry their own names.
                let prefix = if edge.op.name == MIXED_OP {
                    place.clone()
                } else {
                    format!("{place}.{}", edge.op.name)
                };
                let op = make(declared, &edge.op, prefix, edge.inputs.len())?;
                let alphas = match op.n_alphas() {
                    0 => None,
                    k => Some(alphas_of(
                        arch,
                        ArchKey {
                            cell: cell.alphas_from,
                            node: n,
                            edge: e,
                        },
                        c,
                        k,
                    )?),
                };
                edges.push(Edge {
                    inputs: edge.inputs.clone(),
                    op,
                    alphas,
                });
            }
            nodes.push(edges);
        }
        let fused = draft.map(|draft| draft.finish(declared));
        let post_op = make(
            declared,
            &cell.post_op,
            format!("cell{c}.post"),
            cell.concat.len(),
        )?;
        let aux = match &cell.aux_tower {
            Some(tower) => {
                let name = if n_towers == 1 {
                    "aux".to_string()
                } else {
                    format!("cell{c}.aux")
                };
                // The towers are not part of a search: their norms always learn.
                let mut builder = OpBuilder::new(registry, declared, name, true, 1);
                Some(AuxTower::new(tower, cell.out, &mut builder)?)
            }
            None => None,
        };
        cells.push(Cell {
            stems: [pre0, pre1],
            nodes,
            fused,
            post_op,
            concat: cell.concat.clone(),
            aux,
        });
    }
    Ok(Network {
        desc: desc.clone(),
        stems,
        cells,
        pool: make(declared, &desc.pool, "pool".into(), 1)?,
        logits: make(declared, &desc.logits, "classifier".into(), 1)?,
        compute: options.compute.clone(),
    })
}

/// Index of the architecture parameters of an edge, which `cell` owns if the key names it.
fn alphas_of(
    arch: &mut Vec<(ArchKey, usize)>,
    key: ArchKey,
    cell: usize,
    n: usize,
) -> Result<usize, EngineError> {
    if key.cell == cell {
        arch.push((key, n));
        return Ok(arch.len() - 1);
    }
    match arch.iter().position(|(k, _)| *k == key) {
        Some(i) if arch[i].1 == n => Ok(i),
        found => Err(EngineError::structure(format!(
            "cell {cell} shares the architecture parameters of {key}, which {}; cells that share must have the same edges",
            match found {
                Some(i) => format!("has {} of them where {n} are needed", arch[i].1),
                None => "owns none".to_string(),
            }
        ))),
    }
}

/// Names reach files and tests: two parts of one name would overwrite each other there.
fn unique_names(declared: &Declared) -> Result<(), EngineError> {
    let mut seen = std::collections::HashSet::new();
    let pieces = declared
        .params
        .iter()
        .flat_map(|p| &p.pieces)
        .map(|p| &p.name);
    match pieces
        .chain(declared.norms.iter().map(|n| &n.name))
        .find(|name| !seen.insert(name.as_str()))
    {
        Some(name) => Err(EngineError::structure(format!(
            "two parameters are named `{name}`; ops must name theirs apart"
        ))),
        None => Ok(()),
    }
}
