//! One forward pass: what an op is given to compute with.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use archai_data::rng::Key;
use archai_kernels::{ChannelStats, Exec};
use burn::tensor::Tensor;

use super::layers::{Norm, Packed};
use super::norms::{NORM_EPSILON, NORM_MOMENTUM, NormStats, NormTable};
use crate::compute::Compute;
use crate::features::Features;
use crate::fused::{self, kernels};
use crate::params::{ParamId, ParamLayout, Piece};
use crate::parts::Frozen;

/// What a primitive of a mixed edge gave, see [`Model::visit_candidates`](crate::Model::visit_candidates).
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Edge within the node.
    pub edge: usize,
    /// Place among the edge's primitives.
    pub child: usize,
    /// Its output `[n, c, h, w]`, not weighted.
    pub output: Tensor<4>,
}

/// What a pass is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Norms use the batch's statistics; drop-path and the auxiliary tower are active.
    Training,
    /// Norms use the running statistics.
    Evaluation,
}

/// Drop-path of one pass.
#[derive(Clone, Debug)]
pub(crate) struct DropPath {
    pub prob: f64,
    /// Key of the whole batch's masks.
    pub draw: Key,
    /// Samples of the batch before this pass's chunk.
    pub first_sample: usize,
}

/// One forward pass: parameters, running statistics, mode.
pub struct Pass<'a> {
    layout: &'a ParamLayout,
    weights: &'a [Tensor<1>],
    norms: &'a NormTable,
    compute: &'a Compute,
    mode: Mode,
    drop_path: Option<DropPath>,
    /// Statistics after this pass, where they changed.
    updates: HashMap<usize, NormStats>,
    /// Outputs of primitives, where somebody wants to see them.
    shown: Option<Shown>,
    /// What is not trained.
    frozen: Option<&'a Frozen>,
}

/// Outputs of primitives: of the edge that is being computed, and of nodes that are done.
#[derive(Default)]
struct Shown {
    edge: Vec<(usize, Features)>,
    nodes: BTreeMap<usize, Vec<Candidate>>,
}

impl<'a> Pass<'a> {
    pub(crate) fn new(
        layout: &'a ParamLayout,
        weights: &'a [Tensor<1>],
        norms: &'a NormTable,
        compute: &'a Compute,
        mode: Mode,
        drop_path: Option<DropPath>,
    ) -> Self {
        Pass {
            layout,
            weights,
            norms,
            compute,
            mode,
            drop_path,
            updates: HashMap::new(),
            shown: None,
            frozen: None,
        }
    }

    /// Holds still what is not trained.
    pub(crate) fn hold(&mut self, frozen: Option<&'a Frozen>) {
        self.frozen = frozen;
    }

    /// Whether a norm computes with the batch's statistics, and its running ones move: in training, unless it is frozen.
    pub(crate) fn uses_batch(&self, norm: &Norm) -> bool {
        let is_frozen = |frozen: &Frozen| frozen.norms.contains(&norm.id.0);
        self.is_training() && !self.frozen.is_some_and(is_frozen)
    }

    /// Whether a layer of this name is not trained.
    pub(crate) fn is_frozen(&self, layer: &str) -> bool {
        self.frozen.is_some_and(|frozen| frozen.covers(layer))
    }

    /// Keeps the outputs of the primitives of mixed ops.
    pub(crate) fn show_candidates(&mut self) {
        self.shown = Some(Shown::default());
    }

    pub(crate) fn shows_candidates(&self) -> bool {
        self.shown.is_some()
    }

    /// Called by an op that mixes candidates: what each of them gave, by its place among the op's children.
    pub fn show(&mut self, candidates: &[(usize, Features)]) {
        if let Some(shown) = &mut self.shown {
            shown.edge.extend_from_slice(candidates);
        }
    }

    /// What was shown since the last call belongs to this edge.
    pub(crate) fn candidates_are_of(&mut self, node: usize, edge: usize) {
        if let Some(shown) = &mut self.shown {
            let candidates = shown.edge.drain(..).map(|(child, output)| Candidate {
                edge,
                child,
                output: output.nchw(),
            });
            shown.nodes.entry(node).or_default().extend(candidates);
        }
    }

    /// Takes what was shown, by node.
    pub(crate) fn take_nodes(&mut self) -> BTreeMap<usize, Vec<Candidate>> {
        let shown = self.shown.as_mut();
        let mut nodes = shown
            .map(|s| std::mem::take(&mut s.nodes))
            .unwrap_or_default();
        nodes.retain(|_, candidates| !candidates.is_empty());
        nodes
    }

    /// Whether the pass is one of training. Norms that are not frozen use the batch's statistics then.
    pub fn is_training(&self) -> bool {
        self.mode == Mode::Training
    }

    /// Where numbers live.
    pub fn compute(&self) -> &Compute {
        self.compute
    }

    /// Piece `piece` of a parameter, in its shape.
    ///
    /// # Panics
    /// If `D` is not the rank with which the piece was declared, or there is no such piece.
    pub fn param<const D: usize>(&self, id: ParamId, piece: usize) -> Tensor<D> {
        let spec = &self.layout.params[id.0];
        let flat = self.weights[id.0].clone();
        if let Some(layout) = &spec.packing {
            let layout = layout.clone();
            return fused::call(
                kernels::Unpack { layout, piece },
                vec![flat.into_dispatch()],
            )
            .0;
        }
        let shape: [usize; D] = spec.pieces[piece]
            .shape
            .as_slice()
            .try_into()
            .expect("the rank of the declared shape");
        if spec.pieces.len() == 1 {
            return flat.reshape(shape);
        }
        let start: usize = spec.pieces[..piece].iter().map(Piece::n_numbers).sum();
        flat.narrow(0, start, spec.pieces[piece].n_numbers())
            .reshape(shape)
    }

    /// How kernels run, where the model was built for them.
    pub(crate) fn exec(&self) -> Option<Exec> {
        self.compute.exec()
    }

    /// Packed parameters as a kernel reads them.
    pub(crate) fn packed(&self, param: &Packed) -> Tensor<1> {
        let flat = self.weights[param.id.0].clone();
        match &param.part {
            None => flat,
            Some(part) => flat.narrow(0, part.start, part.len()),
        }
    }

    /// Running statistics of a norm, for kernels.
    pub(crate) fn running(&self, norm: &Norm) -> Arc<ChannelStats> {
        self.stats(norm).host()
    }

    fn stats(&self, norm: &Norm) -> &NormStats {
        let i = norm.id.0;
        self.updates.get(&i).unwrap_or(&self.norms.stats[i])
    }

    /// Moves the running statistics by a tenth towards a batch's: `count` values per channel went into them.
    pub(crate) fn record(&mut self, norm: &Norm, batch: &ChannelStats, count: usize) {
        let old = self.running(norm);
        let towards = |old: &[f32], new: &[f32], factor: f64| -> Vec<f32> {
            let mixed = |(&o, &n): (&f32, &f32)| {
                (f64::from(o) * (1.0 - NORM_MOMENTUM) + f64::from(n) * factor) as f32
            };
            old.iter().zip(new).map(mixed).collect()
        };
        let new = ChannelStats {
            mean: towards(&old.mean, &batch.mean, NORM_MOMENTUM),
            var: towards(&old.var, &batch.var, NORM_MOMENTUM * unbiased(count)),
        };
        self.updates
            .insert(norm.id.0, NormStats::Host(Arc::new(new)));
    }

    /// Batch normalisation (Ioffe and Szegedy, 2015): (x − mean)/√(var + 1e-5), times scale plus shift where they are
    /// learnt. In training by the batch's statistics, biased variance; the running statistics move by a tenth towards
    /// the batch's, with the unbiased variance.
    pub fn batch_norm(&mut self, norm: &Norm, x: Tensor<4>) -> Tensor<4> {
        let [n, c, h, w] = x.dims();
        let per_channel = [1, c, 1, 1];
        let affine = norm
            .affine
            .map(|(id, piece)| (self.param::<1>(id, piece), self.param::<1>(id, piece + 1)));
        let (old_mean, old_var) = self.stats(norm).tensors(self.compute);
        if !self.uses_batch(norm) {
            let mut scale = (old_var + NORM_EPSILON).sqrt().recip();
            if let Some((gamma, _)) = &affine {
                scale = scale * gamma.clone();
            }
            let mut shift = -old_mean * scale.clone();
            if let Some((_, beta)) = affine {
                shift = shift + beta;
            }
            return x * scale.reshape(per_channel) + shift.reshape(per_channel);
        }
        let TrainingNorm { output, mean, var } = training_norm(x, affine);
        let count = n * h * w;
        let moved = |old: Tensor<1>, new: Tensor<4>, factor: f64| {
            old * (1.0 - NORM_MOMENTUM) + new.inner().reshape([c]) * (NORM_MOMENTUM * factor)
        };
        let new = NormStats::Device(Box::new([
            moved(old_mean, mean, 1.0),
            moved(old_var, var, unbiased(count)),
        ]));
        self.updates.insert(norm.id.0, new);
        output
    }

    /// Whether drop-path may drop something in this pass.
    pub(crate) fn drops_paths(&self) -> bool {
        let drop = self.drop_path.as_ref();
        drop.is_some_and(|d| d.prob > 0.0) && self.mode == Mode::Training
    }

    /// Drop-path (Larsson et al. 2017, as DARTS uses it): drops an op's whole output per sample with the pass's
    /// probability p and divides what remains by 1 − p. `place` names the op (cell, node, edge): the factors of the `n`
    /// samples depend on the place, the pass's key and the sample alone. `None` where nothing is dropped.
    pub(crate) fn drop_path(&self, place: [usize; 3], n: usize) -> Option<Vec<f64>> {
        let drop = self.drop_path.as_ref().filter(|_| self.drops_paths())?;
        if self
            .frozen
            .is_some_and(|frozen| frozen.edges.contains(&place))
        {
            return None;
        }
        let key = place
            .iter()
            .fold(drop.draw.with("drop_path"), |key, &i| key.with(i));
        let keep = 1.0 - drop.prob;
        let factor = |sample| match key.with(sample).rng().uniform_f64() < keep {
            true => 1.0 / keep,
            false => 0.0,
        };
        let samples = drop.first_sample..drop.first_sample + n;
        Some(samples.map(factor).collect())
    }

    /// A key below `own`, or one of this step's draws, for each of `n` samples of a training pass; none at evaluation, where
    /// nothing may depend on a sample's place.
    pub(crate) fn sample_keys(&self, own: Key, n: usize) -> Option<Vec<Key>> {
        if self.mode != Mode::Training {
            return None;
        }
        let (key, first) = match &self.drop_path {
            Some(drop) => (own.under(drop.draw), drop.first_sample),
            None => (own, 0),
        };
        Some((first..first + n).map(|sample| key.with(sample)).collect())
    }

    /// Running statistics after the pass.
    pub(crate) fn into_updates(self) -> HashMap<usize, NormStats> {
        self.updates
    }
}

/// What a batch norm gives in training, and the batch's statistics `[1, C, 1, 1]`.
pub(crate) struct TrainingNorm {
    pub output: Tensor<4>,
    pub mean: Tensor<4>,
    pub var: Tensor<4>,
}

/// A batch norm by the statistics of `x` `[N, C, H, W]`, with scale and shift if there are any.
pub(crate) fn training_norm(x: Tensor<4>, affine: Option<(Tensor<1>, Tensor<1>)>) -> TrainingNorm {
    let [n, c, h, w] = x.dims();
    let per_channel = [1, c, 1, 1];
    let count = n * h * w;
    // The framework's own training norm copies its input channel by channel; these sums take half of its time.
    let mean_of = |t: Tensor<4>| {
        let sum = t.reshape([n, c, h * w]).sum_dim(2).sum_dim(0);
        sum.reshape(per_channel) * (1.0 / count as f64)
    };
    let mean = mean_of(x.clone());
    let centred = x - mean.clone();
    let var = mean_of(centred.clone() * centred.clone());
    let mut scale = (var.clone() + NORM_EPSILON).sqrt().recip();
    if let Some((gamma, _)) = &affine {
        scale = scale * gamma.clone().reshape(per_channel);
    }
    let mut output = centred * scale;
    if let Some((_, beta)) = affine {
        output = output + beta.reshape(per_channel);
    }
    TrainingNorm { output, mean, var }
}

/// From a batch's biased variance of `count` values to the unbiased one. A single number has no unbiased variance; its
/// spread is zero either way.
fn unbiased(count: usize) -> f64 {
    match count {
        0 | 1 => 1.0,
        n => n as f64 / (n as f64 - 1.0),
    }
}
