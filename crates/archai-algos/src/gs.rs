//! Gumbel softmax: a node draws which (edge, op) pairs it uses, and the draw is differentiable.
//!
//! The relaxation is that of Jang, Gu, Poole ("Categorical Reparameterization with Gumbel-Softmax", 2017,
//! arXiv:1611.01144, eq. 2) and Maddison, Mnih, Teh ("The Concrete Distribution", 2017, arXiv:1611.00712); SNAS (Xie et al.
//! 2019, arXiv:1812.09926) and GDAS (Dong, Yang 2019, arXiv:1910.04465) search architectures by it, and DATA (Chang et al.
//! 2019) by an ensemble of several draws. Here, per node:
//!
//! 1. the α of all incoming edges are concatenated to one vector of logits;
//! 2. `num_sample` times: y = softmax((α + g)/τ), gᵢ = −ln(−ln uᵢ), u uniform in (0, 1). Straight-through, y is the one-hot of
//!    its largest entry in the forward pass and itself in the backward pass;
//! 3. the samples are summed and normalised to 1, and every edge takes its slice y_e: its output is Σₖ y_ek·opₖ(x).
//!
//! Weights and α step on the same training loss. Without noise (measuring) the weights are the plain softmax over the node.

use archai_data::rng::Key;
use archai_engine::{
    ArchKey, EngineError, Model, Relaxation,
    compute::to_host,
    experiment::ExperimentRunner,
    finalize::{Choice, DefaultFinalizers, Finalizers, NamedFinalizer, NodeRule, select_edges},
    tensor::{Tensor, TensorData, activation::softmax},
    trainer::{Fit, Step, TrainerHooks},
};
use archai_spec::desc::{DartsModelDescBuilder, EdgeDesc, ModelDescBuilder, NodeDesc, OpDesc};
use archai_spec::ops::MULTI_OP;
use archai_spec::{settings, values};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use crate::Algorithm;
use crate::didarts::SingleLevel;

/// The algorithm `gs` for the list of all: name, paper and default settings.
pub fn algorithm() -> Algorithm {
    Algorithm::new(
        "gs",
        "each node samples its edges and ops by Gumbel softmax",
        Gs::new,
    )
    .paper(
        "Dong, Yang: Searching for a Robust Neural Architecture in Four GPU Hours (GDAS), 2019, \
         arXiv:1910.04465; Xie et al.: SNAS, 2019, arXiv:1812.09926; Jang, Gu, Poole: \
         Categorical Reparameterization with Gumbel-Softmax, 2017, arXiv:1611.01144",
    )
    .yaml(include_str!("gs.yaml"))
    .toy(include_str!("gs_toy.yaml"))
}

/// The section `nas.search.gs`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GsSettings {
    /// Samples that a node draws in each pass, and again when it is finalised by draws.
    #[schemars(range(min = 1, max = 1000))]
    pub num_sample: usize,
    /// Hard samples in the forward pass with the gradient of the soft ones, as in GDAS; false: soft in both.
    pub straight_through: bool,
    /// How τ goes over the epochs.
    pub temperature: Temperature,
    /// What a node keeps when it is finalised.
    pub finalize: Pairs,
}

impl Default for GsSettings {
    /// Those of `gs.yaml`.
    fn default() -> Self {
        algorithm().shipped_section()
    }
}

/// The temperature τ of each epoch: large is smooth, small is close to a hard choice.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Temperature {
    /// How it goes from `start` to `end`.
    #[serde(rename = "type")]
    pub kind: TemperatureKind,
    /// τ of the first epoch.
    #[schemars(range(min = 1e-3, max = 1e3))]
    pub start: f64,
    /// τ of the last epoch; null for `constant`.
    #[schemars(range(min = 1e-3, max = 1e3))]
    pub end: Option<f64>,
}

/// How a temperature goes over the epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TemperatureKind {
    /// It stays.
    Constant,
    /// By equal differences.
    Linear,
    /// By equal factors.
    Exponential,
}

impl Temperature {
    /// τ of an epoch (from 0) of a training of `epochs`. With one epoch it is `start`.
    pub fn at(&self, epoch: usize, epochs: usize) -> f64 {
        let done = epoch as f64 / epochs.saturating_sub(1).max(1) as f64;
        let end = self.end.unwrap_or(self.start);
        match self.kind {
            TemperatureKind::Constant => self.start,
            TemperatureKind::Linear => self.start + (end - self.start) * done,
            TemperatureKind::Exponential => self.start * (end / self.start).powf(done),
        }
    }

    /// # Errors
    /// `end` is missing, or given although the temperature stays.
    fn check(&self) -> Result<(), EngineError> {
        let message = match (self.kind, self.end) {
            (TemperatureKind::Constant, Some(_)) => "type `constant` has no `end`; set it to null",
            (TemperatureKind::Linear | TemperatureKind::Exponential, None) => {
                "types `linear` and `exponential` need `end`, the temperature of the last epoch"
            }
            _ => return Ok(()),
        };
        Err(EngineError::setting("nas.search.gs.temperature", message))
    }
}

/// Which (edge, op) pairs a finalised node is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Pairs {
    /// As SNAS and GDAS: of each edge the most probable op, of these the `max_final_edges` most probable.
    Strongest,
    /// `num_sample` hard samples by their probabilities: the same pair may come several times.
    Sample,
    /// The `num_sample` most probable ones.
    Largest,
}

/// Search by Gumbel softmax.
#[derive(Clone, Debug, Default)]
pub struct Gs {
    settings: GsSettings,
}

impl Gs {
    /// From its section of the configuration.
    pub fn new(settings: GsSettings) -> Self {
        Gs { settings }
    }

    fn relaxation_at(&self, temperature: f64) -> GumbelSoftmax {
        GumbelSoftmax {
            num_sample: self.settings.num_sample,
            temperature,
            straight_through: self.settings.straight_through,
        }
    }
}

impl ExperimentRunner for Gs {
    fn model_desc_builder(&self) -> Box<dyn ModelDescBuilder> {
        Box::new(DartsModelDescBuilder)
    }

    fn trainer_hooks(
        &self,
        search: &settings::Search,
    ) -> Result<Vec<Box<dyn TrainerHooks>>, EngineError> {
        self.settings.temperature.check()?;
        Ok(vec![
            Box::new(Cooling(self.clone())),
            Box::new(SingleLevel::new("gs", &search.trainer)?),
        ])
    }

    /// `default` is what `nas.search.gs.finalize` names.
    fn finalizers(&self) -> Vec<NamedFinalizer> {
        let settings = self.settings.clone();
        vec![NamedFinalizer::new(
            "default",
            "gs: what nas.search.gs.finalize names",
            move |at| {
                let draws = match settings.finalize {
                    // The weights that it ranks by are the probabilities of the node's pairs.
                    Pairs::Strongest => return Ok(Box::new(DefaultFinalizers)),
                    Pairs::Sample => Draws::ByProbability,
                    Pairs::Largest => Draws::Largest,
                };
                Ok(Box::new(GumbelFinalizers {
                    num_sample: settings.num_sample,
                    draws,
                    rule: at.rule,
                    key: at.key.with("finalize"),
                }))
            },
        )]
    }

    fn relaxation(&self) -> Arc<dyn Relaxation> {
        Arc::new(self.relaxation_at(self.settings.temperature.start))
    }
}

/// Sets the temperature.
#[derive(Clone, Debug)]
struct Cooling(Gs);

impl Cooling {
    fn temperature(&self, epoch: usize, epochs: usize) -> f64 {
        self.0.settings.temperature.at(epoch, epochs)
    }
}

impl TrainerHooks for Cooling {
    fn pre_epoch(&mut self, fit: &mut Fit<'_>) -> Result<(), EngineError> {
        let temperature = self.temperature(fit.epoch, fit.settings.epochs);
        fit.log
            .emit(values!(fit.log.path().clone(), "temperature" => temperature))
    }

    // Before each step and not before each epoch: a training that is resumed within an epoch has the right one, too.
    fn pre_step(&mut self, step: &mut Step<'_>) -> Result<(), EngineError> {
        let temperature = self.temperature(step.epoch, step.settings.epochs);
        step.model
            .set_relaxation(Arc::new(self.0.relaxation_at(temperature)));
        Ok(())
    }
}

/// Standard Gumbel noise from a number in [0, 1): −ln(−ln u). Zero, whose noise would be −∞, counts as 2⁻⁵⁴.
pub fn gumbel(uniform: f64) -> f64 {
    -(-uniform.max(0.5f64.powi(54)).ln()).ln()
}

/// Draws per node over all of its (edge, op) pairs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GumbelSoftmax {
    /// Samples per node and pass.
    pub num_sample: usize,
    /// τ, above 0.
    pub temperature: f64,
    /// Hard forward, soft backward.
    pub straight_through: bool,
}

impl GumbelSoftmax {
    /// One sample of logits with given noise: softmax((α + g)/τ), straight-through if asked for. Both have one length.
    pub fn sample(&self, logits: &Tensor<1>, noise: &[f64]) -> Tensor<1> {
        let constant = |values: Vec<f64>| -> Tensor<1> {
            let n = values.len();
            Tensor::from_data(
                TensorData::new(values, [n]).convert_dtype(logits.dtype()),
                (&logits.device(), logits.dtype()),
            )
        };
        let noisy = (logits.clone() + constant(noise.to_vec())) * (1.0 / self.temperature);
        let soft = softmax(noisy, 0);
        if !self.straight_through {
            return soft;
        }
        let values = to_host(&soft);
        let mut hard = vec![0.0; values.len()];
        hard[argmax(&values)] = 1.0;
        // In this order the places that are not chosen are zero to the last bit.
        (constant(hard) - soft.clone().detach()) + soft
    }

    /// The sum of one sample per row of noise, normalised to 1. Every sample sums to 1, so this is their mean.
    pub fn ensemble(&self, logits: &Tensor<1>, noise: &[Vec<f64>]) -> Tensor<1> {
        let samples = noise.iter().map(|g| self.sample(logits, g));
        match samples.reduce(|a, b| a + b) {
            Some(sum) => sum * (1.0 / noise.len() as f64),
            None => softmax(logits.clone(), 0),
        }
    }
}

impl Relaxation for GumbelSoftmax {
    fn weights(
        &self,
        keys: &[ArchKey],
        alphas: &[Tensor<1>],
        draw: Option<&Key>,
    ) -> Vec<Tensor<1>> {
        let mut weights = Vec::with_capacity(alphas.len());
        for edges in keys.chunk_by(|a, b| (a.cell, a.node) == (b.cell, b.node)) {
            let own = &alphas[weights.len()..][..edges.len()];
            let logits = Tensor::cat(own.to_vec(), 0);
            let n = logits.dims()[0];
            let noise = |key: &Key| -> Vec<Vec<f64>> {
                let node = key.with("gumbel").with(edges[0].cell).with(edges[0].node);
                let row = |sample| {
                    let mut rng = node.with(sample).rng();
                    (0..n).map(|_| gumbel(rng.uniform_f64())).collect()
                };
                (0..self.num_sample).map(row).collect()
            };
            let node = match draw {
                Some(key) => self.ensemble(&logits, &noise(key)),
                None => softmax(logits, 0),
            };
            let mut start = 0;
            for alpha in own {
                let len = alpha.dims()[0];
                weights.push(node.clone().narrow(0, start, len));
                start += len;
            }
        }
        weights
    }
}

/// The first of the largest. The list must not be empty.
fn argmax(values: &[f64]) -> usize {
    (1..values.len()).fold(0, |best, i| if values[i] > values[best] { i } else { best })
}

/// Which pairs [`GumbelFinalizers`] take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draws {
    /// Hard samples by their probabilities: the same pair may come several times.
    ByProbability,
    /// The most probable ones.
    Largest,
}

/// Per node: `num_sample` (edge, op) pairs with `none` left out. The ops of an edge that was hit become one `multi_op`, or
/// remain as they are where there is one; of the edges that were hit the `max_final_edges` with the most hits remain, of
/// equals the more probable. Edges that are no choice between ops remain. Cells that share their architecture get the
/// same draw.
#[derive(Clone, Copy, Debug)]
pub struct GumbelFinalizers {
    /// How many pairs.
    pub num_sample: usize,
    /// Which.
    pub draws: Draws,
    /// Where an edge keeps one op, it is the one with the most hits, of equals the more probable.
    pub rule: NodeRule,
    /// Names the draws.
    pub key: Key,
}

/// A pair that a node may choose.
struct Pair {
    edge: usize,
    child: usize,
    logit: f64,
}

impl GumbelFinalizers {
    /// The chosen pairs, each as often as it was hit.
    fn hits(&self, pairs: &[Pair], key: &Key) -> Vec<usize> {
        if pairs.is_empty() {
            return Vec::new();
        }
        match self.draws {
            // The largest of α + g is a draw by softmax(α) (Maddison et al. 2017, section 3.1), whatever τ is.
            Draws::ByProbability => (0..self.num_sample)
                .map(|sample| {
                    let mut rng = key.with(sample).rng();
                    let noisy: Vec<f64> = (pairs.iter())
                        .map(|pair| pair.logit + gumbel(rng.uniform_f64()))
                        .collect();
                    argmax(&noisy)
                })
                .collect(),
            Draws::Largest => {
                let mut order: Vec<usize> = (0..pairs.len()).collect();
                order.sort_by(|&a, &b| pairs[b].logit.total_cmp(&pairs[a].logit));
                order.truncate(self.num_sample);
                order
            }
        }
    }
}

impl Finalizers for GumbelFinalizers {
    fn finalize_node(
        &self,
        model: &Model,
        cell: usize,
        node: usize,
    ) -> Result<NodeDesc, EngineError> {
        let supernet = model.supernet();
        let cell_desc = &model.desc().cells[cell];
        let desc = &cell_desc.nodes[node];
        let no_edge = |edge: usize| {
            EngineError::Internal(format!(
                "cell {cell}, node {node}, edge {edge} has no architecture parameters to choose an op by"
            ))
        };
        let mut kept: Vec<(EdgeDesc, Option<f64>)> = Vec::new();
        let mut pairs = Vec::new();
        for (e, edge) in desc.edges.iter().enumerate() {
            if !edge.op.is_mixed() {
                let (inputs, op) = (
                    edge.inputs.clone(),
                    self.finalize_edge(model, cell, node, e)?,
                );
                kept.push((
                    EdgeDesc {
                        inputs,
                        op: op.desc,
                    },
                    None,
                ));
                continue;
            }
            let key = ArchKey {
                cell: cell_desc.alphas_from,
                node,
                edge: e,
            };
            let alphas = to_host(model.arch().get(&key).ok_or_else(|| no_edge(e))?);
            let ops = (edge.op.children.iter().zip(alphas).enumerate())
                .filter(|(_, (child, _))| !supernet.catalog.is_zero(&child.op.name));
            pairs.extend(ops.map(|(child, (_, logit))| Pair {
                edge: e,
                child,
                logit,
            }));
        }
        let key = self.key.with(cell_desc.alphas_from).with(node);
        let hits = self.hits(&pairs, &key);
        let largest = pairs.iter().fold(f64::NEG_INFINITY, |m, p| m.max(p.logit));
        let total: f64 = pairs.iter().map(|p| (p.logit - largest).exp()).sum();
        for (e, edge) in desc.edges.iter().enumerate() {
            let own: Vec<usize> = (hits.iter().copied())
                .filter(|&hit| pairs[hit].edge == e)
                .collect();
            let mut distinct = own.clone();
            distinct.sort_unstable();
            distinct.dedup();
            if let Some(most) = self.rule.most_per_edge() {
                let strength = |&hit: &usize| {
                    let times = own.iter().filter(|&&other| other == hit).count();
                    (times, pairs[hit].logit)
                };
                distinct.sort_by(|a, b| {
                    let ((n, p), (m, q)) = (strength(a), strength(b));
                    m.cmp(&n).then(q.total_cmp(&p))
                });
                distinct.truncate(most);
            }
            let mut ops = Vec::new();
            let mut probability = 0.0;
            for &hit in &distinct {
                let child = pairs[hit].child;
                let kept = supernet.edge_of_choice(cell, node, Choice { edge: e, child })?;
                ops.push(kept.op);
                probability += (pairs[hit].logit - largest).exp() / total;
            }
            let op = match ops.len() {
                0 => continue,
                1 => ops.swap_remove(0),
                _ => OpDesc::new(MULTI_OP, edge.op.ch_in, edge.op.ch_out).with_children(ops),
            };
            let inputs = edge.inputs.clone();
            // The probability is at most 1: it decides between equal numbers of hits.
            kept.push((
                EdgeDesc { inputs, op },
                Some(own.len() as f64 + probability),
            ));
        }
        Ok(select_edges(kept, model.desc().max_final_edges))
    }
}
