//! The interface of operations, and the registry that names them.
//!
//! An op is structure: it is built once from its description by an [`OpBuilder`], which hands out handles of parameters
//! and norms, and it computes with the numbers that each [`Pass`] brings along. So one op serves a model, its look-ahead
//! copies and its clones alike.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::{self, Debug};
use std::sync::Arc;

use archai_kernels::{ChannelStats, Exec};
use archai_spec::desc::{OpCatalog, OpDesc, OpInfo};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Tensor, module, s};

use crate::compute::{Compute, to_host};
use crate::error::EngineError;
use crate::features::Features;
use crate::fused::{self, kernels};
use crate::model::Candidate;
use crate::params::{
    Init, NamedTensor, ParamId, ParamLayout, ParamRole, ParamSpec, Piece, match_names,
};
use archai_data::rng::Key;

/// Added to the variance before its root is taken.
pub(crate) const NORM_EPSILON: f64 = 1e-5;
/// Share of a batch's statistics in the running statistics.
pub(crate) const NORM_MOMENTUM: f64 = 0.1;

/// An operation of a network. It holds structure and handles of parameters, never numbers: those come with the [`Pass`].
pub trait Op: Debug + Send + Sync {
    /// Computes the output. `arch` holds the weights of this edge's primitives for ops that have architecture
    /// parameters (shape `[k]`, already relaxed: softmaxed, sampled, …), none for all others.
    fn forward(
        &self,
        pass: &mut Pass<'_>,
        inputs: &[Features],
        arch: Option<&Tensor<1>>,
    ) -> Features;

    /// What this op is.
    fn desc(&self) -> &OpDesc;

    /// How many architecture parameters it wants.
    fn n_alphas(&self) -> usize {
        0
    }

    /// What remains of the op in a found network, and how strongly it is wanted there. `weights` are the relaxed
    /// architecture parameters of this edge (empty for ops without). Ordinary ops remain as they are, without a rank.
    fn finalize(&self, weights: &[f64]) -> Finalized {
        let _ = weights;
        Finalized {
            desc: self.desc().clone(),
            rank: None,
        }
    }

    /// Whether drop-path may drop this op's output.
    fn can_drop_path(&self) -> bool {
        true
    }

    /// Whether the output is zero whatever the input: a mixed op then need not compute it.
    fn is_zero(&self) -> bool {
        false
    }
}

/// The outcome of [`Op::finalize`].
#[derive(Clone, Debug, PartialEq)]
pub struct Finalized {
    /// What remains.
    pub desc: OpDesc,
    /// Strength; edges without one are always kept.
    pub rank: Option<f64>,
}

/// Handle of a norm's running statistics in one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NormId(pub(crate) usize);

/// Name and channels of a norm.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NormSpec {
    pub name: String,
    pub channels: usize,
}

/// Running mean and variance of a norm: as tensors for the framework's operations, or on the host for kernels.
#[derive(Clone, Debug)]
pub(crate) enum NormStats {
    Device(Box<[Tensor<1>; 2]>),
    Host(Arc<ChannelStats>),
}

impl NormStats {
    /// Mean and variance, for the framework.
    fn tensors(&self, compute: &Compute) -> (Tensor<1>, Tensor<1>) {
        match self {
            NormStats::Device(stats) => (stats[0].clone(), stats[1].clone()),
            NormStats::Host(stats) => {
                let tensor = |v: &[f32]| compute.tensor_f32(v.to_vec(), [v.len()]);
                (tensor(&stats.mean), tensor(&stats.var))
            }
        }
    }

    /// Mean and variance, for kernels.
    fn host(&self) -> Arc<ChannelStats> {
        match self {
            NormStats::Device(stats) => {
                let single = |t| to_host(t).into_iter().map(|v| v as f32).collect();
                Arc::new(ChannelStats {
                    mean: single(&stats[0]),
                    var: single(&stats[1]),
                })
            }
            NormStats::Host(stats) => stats.clone(),
        }
    }

    fn numbers(&self) -> [Vec<f64>; 2] {
        match self {
            NormStats::Device(stats) => [to_host(&stats[0]), to_host(&stats[1])],
            NormStats::Host(stats) => {
                let wide = |v: &[f32]| v.iter().map(|&v| v.into()).collect();
                [wide(&stats.mean), wide(&stats.var)]
            }
        }
    }

    fn new([mean, var]: [Vec<f64>; 2], compute: &Compute) -> Self {
        if compute.exec().is_some() {
            let single = |v: Vec<f64>| v.into_iter().map(|v| v as f32).collect();
            return NormStats::Host(Arc::new(ChannelStats {
                mean: single(mean),
                var: single(var),
            }));
        }
        let n = mean.len();
        NormStats::Device(Box::new([
            compute.tensor(mean, [n]),
            compute.tensor(var, [n]),
        ]))
    }
}

/// All norms of a model with their running statistics. Names are shared, numbers are values.
#[derive(Clone, Debug)]
pub(crate) struct NormTable {
    specs: Arc<[NormSpec]>,
    stats: Vec<NormStats>,
}

impl NormTable {
    /// Mean zero and variance one.
    pub fn new(specs: Vec<NormSpec>, compute: &Compute) -> Self {
        let stats = specs
            .iter()
            .map(|n| NormStats::new([0.0, 1.0].map(|v| vec![v; n.channels]), compute))
            .collect();
        NormTable {
            specs: specs.into(),
            stats,
        }
    }

    /// Takes over what a pass changed.
    pub fn apply(&mut self, updates: HashMap<usize, NormStats>) {
        for (i, stats) in updates {
            self.stats[i] = stats;
        }
    }

    /// `….running_mean` and `….running_var` of every norm.
    pub fn named(&self) -> Vec<NamedTensor> {
        let named = |name: &str, what, values: Vec<f64>| NamedTensor {
            name: format!("{name}.{what}"),
            shape: vec![values.len()],
            values,
        };
        self.specs
            .iter()
            .zip(&self.stats)
            .flat_map(|(n, s)| {
                let [mean, var] = s.numbers();
                [
                    named(&n.name, "running_mean", mean),
                    named(&n.name, "running_var", var),
                ]
            })
            .collect()
    }

    /// The same norms with other statistics.
    ///
    /// # Errors
    /// [`EngineError::Shape`] names every tensor that is missing, unknown, doubled or of another shape.
    pub fn with_named(
        &self,
        buffers: &[NamedTensor],
        compute: &Compute,
    ) -> Result<Self, EngineError> {
        let wanted: Vec<(String, [usize; 1])> = self
            .specs
            .iter()
            .flat_map(|n| {
                ["running_mean", "running_var"]
                    .map(|what| (format!("{}.{what}", n.name), [n.channels]))
            })
            .collect();
        let names = wanted
            .iter()
            .map(|(name, shape)| (name.as_str(), shape.as_slice()));
        let found = match_names(names, buffers)?;
        let values = |at: &(String, [usize; 1])| found[at.0.as_str()].values.clone();
        let stats = wanted
            .chunks_exact(2)
            .map(|pair| NormStats::new([values(&pair[0]), values(&pair[1])], compute))
            .collect();
        Ok(NormTable {
            specs: self.specs.clone(),
            stats,
        })
    }
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
        }
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

    /// Whether norms use the batch's statistics.
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
        if self.mode == Mode::Evaluation {
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
        // The framework's own training norm copies its input channel by channel; these sums take half of its time.
        let count = n * h * w;
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
        let mut y = centred * scale;
        if let Some((_, beta)) = affine {
            y = y + beta.reshape(per_channel);
        }
        let moved = |old: Tensor<1>, new: Tensor<4>, factor: f64| {
            old * (1.0 - NORM_MOMENTUM) + new.inner().reshape([c]) * (NORM_MOMENTUM * factor)
        };
        let new = NormStats::Device(Box::new([
            moved(old_mean, mean, 1.0),
            moved(old_var, var, unbiased(count)),
        ]));
        self.updates.insert(norm.id.0, new);
        y
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

    /// Running statistics after the pass.
    pub(crate) fn into_updates(self) -> HashMap<usize, NormStats> {
        self.updates
    }
}

/// From a batch's biased variance of `count` values to the unbiased one. A single number has no unbiased variance; its
/// spread is zero either way.
fn unbiased(count: usize) -> f64 {
    match count {
        0 | 1 => 1.0,
        n => n as f64 / (n as f64 - 1.0),
    }
}

/// The parameters of a fused op: a whole packed parameter, or a run of it where several ops share one.
#[derive(Clone, Debug)]
pub(crate) struct Packed {
    pub id: ParamId,
    pub part: Option<std::ops::Range<usize>>,
}

/// Sizes of a 2-D convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvShape {
    /// Input channels.
    pub c_in: usize,
    /// Output channels.
    pub c_out: usize,
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Steps in height and width.
    pub stride: [usize; 2],
    /// Zeros on both sides in height and width.
    pub padding: [usize; 2],
    /// Distance of the kernel's taps.
    pub dilation: usize,
    /// Groups of channels that do not see each other.
    pub groups: usize,
    /// Whether it has a bias.
    pub bias: bool,
}

impl ConvShape {
    /// A square convolution of odd size `k` that keeps height and width.
    pub fn new(c_in: usize, c_out: usize, k: usize) -> Self {
        ConvShape {
            c_in,
            c_out,
            kernel: [k, k],
            stride: [1, 1],
            padding: [k / 2, k / 2],
            dilation: 1,
            groups: 1,
            bias: false,
        }
    }
    /// One filter per channel.
    pub fn depthwise(c: usize, k: usize) -> Self {
        ConvShape {
            groups: c,
            ..ConvShape::new(c, c, k)
        }
    }
    /// The same with a stride.
    pub fn with_stride(self, stride: usize) -> Self {
        ConvShape {
            stride: [stride, stride],
            ..self
        }
    }
    /// The same with dilation; padding grows so that the size is kept.
    pub fn with_dilation(self, dilation: usize) -> Self {
        let padding = self.kernel.map(|k| dilation * (k / 2));
        ConvShape {
            dilation,
            padding,
            ..self
        }
    }
    /// The same without zeros around.
    pub fn without_padding(self) -> Self {
        ConvShape {
            padding: [0, 0],
            ..self
        }
    }
    /// Whether each output pixel sees one input pixel alone.
    fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.padding == [0, 0] && self.groups == 1
    }
    /// The same with or without bias.
    pub fn with_bias(self, bias: bool) -> Self {
        ConvShape { bias, ..self }
    }
}

/// A 2-D convolution: its handle and sizes.
#[derive(Clone, Debug)]
pub struct Conv {
    pub(crate) param: ParamId,
    /// Place of the weight among the parameter's pieces; a bias follows it.
    pub(crate) piece: usize,
    pub(crate) shape: ConvShape,
}

impl Conv {
    /// Cross-correlation of `x` `[N, c_in, H, W]` with the weight.
    pub fn forward(&self, pass: &Pass<'_>, x: Tensor<4>) -> Tensor<4> {
        let s = &self.shape;
        if s.is_pointwise() {
            return self.pointwise(pass, x);
        }
        let bias = s.bias.then(|| pass.param(self.param, self.piece + 1));
        let options = ConvOptions::new(s.stride, s.padding, [s.dilation; 2], s.groups);
        module::conv2d(x, pass.param(self.param, self.piece), bias, options)
    }

    /// A pointwise convolution as a matrix product per sample: the framework's gradient of the weight as a convolution
    /// takes about ten times as long.
    fn pointwise(&self, pass: &Pass<'_>, x: Tensor<4>) -> Tensor<4> {
        let s = &self.shape;
        let x = match s.stride {
            [1, 1] => x,
            [v, h] => x.slice(s![.., .., ..;v, ..;h]),
        };
        let [n, _, h, w] = x.dims();
        let weight: Tensor<4> = pass.param(self.param, self.piece);
        let weight = weight.reshape([1, s.c_out, s.c_in]);
        let y = weight
            .matmul(x.reshape([n, s.c_in, h * w]))
            .reshape([n, s.c_out, h, w]);
        match s.bias {
            true => {
                y + pass
                    .param::<1>(self.param, self.piece + 1)
                    .reshape([1, s.c_out, 1, 1])
            }
            false => y,
        }
    }

    /// Its sizes.
    pub fn shape(&self) -> &ConvShape {
        &self.shape
    }
}

/// A batch norm: its handles.
#[derive(Clone, Debug)]
pub struct Norm {
    pub(crate) id: NormId,
    /// The parameter, and the place of the scale among its pieces; the shift follows it.
    pub(crate) affine: Option<(ParamId, usize)>,
}

/// A linear layer: its handle.
#[derive(Clone, Debug)]
pub struct Linear {
    param: ParamId,
}

impl Linear {
    /// x·Wᵀ + b for `x` `[N, features]`.
    pub fn forward(&self, pass: &Pass<'_>, x: Tensor<2>) -> Tensor<2> {
        let bias: Tensor<1> = pass.param(self.param, 1);
        x.matmul(pass.param::<2>(self.param, 0).transpose()) + bias.unsqueeze()
    }
}

/// Parameters and norms of a model under construction.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    pub params: Vec<ParamSpec>,
    pub norms: Vec<NormSpec>,
    /// Whether ops may pack their parameters for kernels.
    pub fused: bool,
    /// A packed parameter that is there already, into which fused ops find their pieces by name.
    pub shared: Option<ParamId>,
}

impl Declared {
    /// Nothing yet.
    pub fn new(compute: &Compute) -> Self {
        Declared {
            fused: compute.exec().is_some(),
            ..Declared::default()
        }
    }

    /// Declares packed parameters. `names` are the full names of the layout's pieces.
    pub fn push_packed(
        &mut self,
        layout: &archai_kernels::ParamLayout,
        names: Vec<String>,
    ) -> ParamId {
        let pieces = layout.pieces().iter().zip(names).map(|(piece, name)| {
            use archai_kernels::PieceKind::*;
            let (init, role) = match piece.kind {
                Depthwise | Dense { .. } => {
                    let fan_in = piece.shape[1..].iter().product();
                    (Init::FanIn(fan_in), ParamRole::Weight)
                }
                NormWeight => (Init::Constant(1.0), ParamRole::Norm),
                NormBias => (Init::Constant(0.0), ParamRole::Norm),
            };
            Piece {
                name,
                shape: piece.shape.clone(),
                init,
                role,
            }
        });
        self.params.push(ParamSpec {
            pieces: pieces.collect(),
            packing: Some(Arc::new(layout.clone())),
        });
        ParamId(self.params.len() - 1)
    }
}

/// Declares the parameters of an op while a model is compiled. Layers are numbered in order of use within the op:
/// `conv1`, `conv2`, …, `bn1`, …, `linear1`, ….
pub struct OpBuilder<'a> {
    registry: &'a OpRegistry,
    declared: &'a mut Declared,
    prefix: String,
    affine: bool,
    n_inputs: usize,
    counts: HashMap<&'static str, usize>,
}

impl<'a> OpBuilder<'a> {
    pub(crate) fn new(
        registry: &'a OpRegistry,
        declared: &'a mut Declared,
        prefix: String,
        affine: bool,
        n_inputs: usize,
    ) -> Self {
        OpBuilder {
            registry,
            declared,
            prefix,
            affine,
            n_inputs,
            counts: HashMap::new(),
        }
    }

    /// Whether norms have learnt scales and shifts.
    pub fn affine(&self) -> bool {
        self.affine
    }

    /// How many states the op will read.
    pub fn n_inputs(&self) -> usize {
        self.n_inputs
    }

    /// A convolution without or with bias, started as PyTorch does.
    pub fn conv(&mut self, shape: ConvShape) -> Conv {
        let name = self.number("conv");
        let fan_in = shape.c_in / shape.groups * shape.kernel[0] * shape.kernel[1];
        let weight = vec![
            shape.c_out,
            shape.c_in / shape.groups,
            shape.kernel[0],
            shape.kernel[1],
        ];
        let role = ParamRole::Weight;
        let mut pieces = vec![self.piece(&name, "weight", weight, Init::FanIn(fan_in), role)];
        if shape.bias {
            pieces.push(self.piece(&name, "bias", vec![shape.c_out], Init::FanIn(fan_in), role));
        }
        Conv {
            param: self.push(pieces),
            piece: 0,
            shape,
        }
    }

    /// Whether ops may pack their parameters for kernels.
    pub(crate) fn fused(&self) -> bool {
        self.declared.fused
    }

    /// Convolutions and a norm whose parameters lie in a kernel's layout, in this order.
    pub(crate) fn packed(
        &mut self,
        layout: &archai_kernels::ParamLayout,
        convs: &[ConvShape],
        norm: Option<usize>,
    ) -> (Packed, Vec<Conv>, Option<Norm>) {
        let conv_names: Vec<String> = convs.iter().map(|_| self.number("conv")).collect();
        let norm_name = norm.map(|_| self.number("bn"));
        let mut names: Vec<String> = conv_names
            .iter()
            .map(|name| self.path(&format!("{name}.weight")))
            .collect();
        let is_affine = layout.pieces().len() > convs.len();
        if let Some(name) = norm_name.as_ref().filter(|_| is_affine) {
            names.extend(["weight", "bias"].map(|what| self.path(&format!("{name}.{what}"))));
        }
        assert_eq!(names.len(), layout.pieces().len(), "pieces of a fused op");
        let (packed, first) = match self.declared.shared {
            None => {
                let id = self.declared.push_packed(layout, names);
                (Packed { id, part: None }, 0)
            }
            Some(id) => {
                let shared = &self.declared.params[id.0];
                let first = shared.pieces.iter().position(|p| p.name == names[0]);
                let first = first.expect("a shared parameter holds all pieces of its ops");
                let packing = shared
                    .packing
                    .as_ref()
                    .expect("shared parameters are packed");
                let start = packing.pieces()[first].offset;
                // Offsets apart, the run is the op's own layout.
                for (i, own) in layout.pieces().iter().enumerate() {
                    let (piece, place) = (&shared.pieces[first + i], &packing.pieces()[first + i]);
                    assert!(
                        piece.name == names[i]
                            && place.offset == start + own.offset
                            && place.kind == own.kind
                            && place.shape == own.shape,
                        "`{}` lies differently in the shared parameter",
                        names[i]
                    );
                }
                let part = Some(start..start + layout.len());
                (Packed { id, part }, first)
            }
        };
        let handles = convs.iter().enumerate().map(|(i, &shape)| Conv {
            param: packed.id,
            piece: first + i,
            shape,
        });
        let handles = handles.collect();
        let norm = norm_name.zip(norm).map(|(name, channels)| Norm {
            id: self.declare_norm(&name, channels),
            affine: is_affine.then_some((packed.id, first + convs.len())),
        });
        (packed, handles, norm)
    }

    fn declare_norm(&mut self, name: &str, channels: usize) -> NormId {
        let name = self.path(name);
        self.declared.norms.push(NormSpec { name, channels });
        NormId(self.declared.norms.len() - 1)
    }

    /// A batch norm, with learnt scale and shift if [`OpBuilder::affine`].
    pub fn norm(&mut self, channels: usize) -> Norm {
        self.norm_with(channels, self.affine)
    }

    /// A batch norm with or without learnt scale and shift, whatever the model's choice.
    pub fn norm_with(&mut self, channels: usize, affine: bool) -> Norm {
        let name = self.number("bn");
        let affine = affine.then(|| {
            let role = ParamRole::Norm;
            let pieces = vec![
                self.piece(&name, "weight", vec![channels], Init::Constant(1.0), role),
                self.piece(&name, "bias", vec![channels], Init::Constant(0.0), role),
            ];
            (self.push(pieces), 0)
        });
        Norm {
            id: self.declare_norm(&name, channels),
            affine,
        }
    }

    /// A linear layer with bias.
    pub fn linear(&mut self, n_in: usize, n_out: usize) -> Linear {
        let name = self.number("linear");
        let (role, init) = (ParamRole::Weight, Init::FanIn(n_in));
        let pieces = vec![
            self.piece(&name, "weight", vec![n_out, n_in], init, role),
            self.piece(&name, "bias", vec![n_out], init, role),
        ];
        Linear {
            param: self.push(pieces),
        }
    }

    /// Any other parameter.
    pub fn param(&mut self, name: &str, shape: Vec<usize>, init: Init, role: ParamRole) -> ParamId {
        let piece = Piece {
            name: self.path(name),
            shape,
            init,
            role,
        };
        self.push(vec![piece])
    }

    /// An op inside this one that continues its numbering.
    ///
    /// # Errors
    /// As the child's factory.
    pub fn child(&mut self, desc: &OpDesc) -> Result<Box<dyn Op>, EngineError> {
        let outer = (self.affine, self.n_inputs);
        self.affine = desc.affine.unwrap_or(self.affine);
        self.n_inputs = 1;
        let op = self.registry.make(desc, self);
        (self.affine, self.n_inputs) = outer;
        op
    }

    /// An op inside this one whose parameters stand below a name of its own.
    ///
    /// # Errors
    /// As the child's factory.
    pub fn child_named(&mut self, name: &str, desc: &OpDesc) -> Result<Box<dyn Op>, EngineError> {
        let prefix = self.path(name);
        let affine = desc.affine.unwrap_or(self.affine);
        let mut inner = OpBuilder::new(self.registry, self.declared, prefix, affine, 1);
        inner.registry.make(desc, &mut inner)
    }

    /// The op's own full name.
    pub(crate) fn name(&self) -> &str {
        &self.prefix
    }

    /// A name below this op's own.
    fn path(&self, name: &str) -> String {
        match self.prefix.as_str() {
            "" => name.to_string(),
            prefix => format!("{prefix}.{name}"),
        }
    }

    fn number(&mut self, kind: &'static str) -> String {
        let n = self.counts.entry(kind).or_insert(0);
        *n += 1;
        format!("{kind}{n}")
    }

    fn piece(
        &self,
        layer: &str,
        what: &str,
        shape: Vec<usize>,
        init: Init,
        role: ParamRole,
    ) -> Piece {
        Piece {
            name: self.path(&format!("{layer}.{what}")),
            shape,
            init,
            role,
        }
    }

    fn push(&mut self, pieces: Vec<Piece>) -> ParamId {
        let packing = None;
        self.declared.params.push(ParamSpec { pieces, packing });
        ParamId(self.declared.params.len() - 1)
    }
}

/// Makes an op from its description, declaring its parameters.
pub type OpFactory =
    Arc<dyn Fn(&OpDesc, &mut OpBuilder<'_>) -> Result<Box<dyn Op>, EngineError> + Send + Sync>;

/// Names and makers of ops: a value; a second op of one name is an error.
#[derive(Clone)]
pub struct OpRegistry {
    catalog: OpCatalog,
    factories: HashMap<String, OpFactory>,
    /// Names whose ops no longer are what kernels for whole cells take them for.
    replaced: HashSet<String>,
}

impl Debug for OpRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpRegistry")
            .field("names", &self.names())
            .finish()
    }
}

impl Default for OpRegistry {
    fn default() -> Self {
        OpRegistry::builtin()
    }
}

impl OpRegistry {
    /// All ops that come with the program.
    pub fn builtin() -> Self {
        OpRegistry {
            catalog: OpCatalog::builtin(),
            factories: crate::ops::factories(),
            replaced: HashSet::new(),
        }
    }

    /// Adds an op: what it means for shapes and costs, and how it is made.
    ///
    /// # Errors
    /// [`EngineError::DuplicateOp`] if the name is taken.
    pub fn register(
        &mut self,
        info: impl OpInfo + 'static,
        make: OpFactory,
    ) -> Result<(), EngineError> {
        let name = info.name().to_string();
        if self.factories.contains_key(&name) {
            return Err(EngineError::DuplicateOp(name));
        }
        self.catalog.register(info)?;
        self.factories.insert(name, make);
        Ok(())
    }

    /// Makes the ops of a known name in another way; shapes and costs stay those of the name. For tests and experiments:
    /// [`crate::testing`] plants ops so. Kernels for whole cells leave cells with replaced ops alone.
    ///
    /// # Errors
    /// The name is unknown: a new op is [`OpRegistry::register`]ed.
    pub fn replace(&mut self, name: &str, make: OpFactory) -> Result<(), EngineError> {
        // The catalogue's error lists the nearest names.
        self.catalog.get(name)?;
        self.factories.insert(name.to_string(), make);
        self.replaced.insert(name.to_string());
        Ok(())
    }

    /// Whether an op of this name, or one inside it, was replaced.
    pub(crate) fn is_replaced(&self, op: &OpDesc) -> bool {
        self.replaced.contains(&op.name) || op.children.iter().any(|c| self.is_replaced(&c.op))
    }

    /// What the names mean, for checking and counting descriptions.
    pub fn catalog(&self) -> &OpCatalog {
        &self.catalog
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.factories.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    pub(crate) fn make(
        &self,
        desc: &OpDesc,
        builder: &mut OpBuilder<'_>,
    ) -> Result<Box<dyn Op>, EngineError> {
        // The catalogue's error lists the nearest names.
        self.catalog.get(&desc.name)?;
        let make = self.factories.get(&desc.name).ok_or_else(|| {
            EngineError::Config(format!(
                "the op `{}` is in the catalogue but nothing makes it",
                desc.name
            ))
        })?;
        make(desc, builder)
    }
}
