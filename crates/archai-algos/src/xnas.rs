//! XNAS (Nayman et al.: "XNAS: Neural Architecture Search with Expert Advice", 2019, arXiv:1906.08031): the ops of an edge
//! are experts, and the mixture learns from their advice by exponentiated gradient; experts that can no longer win are
//! wiped out.
//!
//! An edge has weights v_k > 0 that start at 1 and mixes by p_k = v_k/Σv: its output is Σ p_k·f_k. Before each step of the
//! weights w, on a validation batch:
//!
//! 1. R_k = −⟨∂L_val/∂p, f_k⟩ with ∂L_val/∂p the gradient of the mixture: that is −∂L_val/∂p_k; clipped to [−L, L];
//! 2. v_k ← v_k·exp(η·R_k), with η = √(2·ln N/(T·L²)) for N ops and T updates in the whole run;
//! 3. θ_t = max(v)·exp(−2·η·L·(T − t)): an op with v_k < θ_t cannot catch up in the T − t updates that remain, and is dead.
//!
//! The architecture parameters are ln v, less the largest of the edge, since only ratios count. So they are shared by the
//! cells of a kind and saved as those of every algorithm, and p is their softmax.

use archai_data::Batch;
use archai_engine::{
    AlphaInit, EngineError, Model, Objective, Raw,
    arch::ArchGrads,
    experiment::ExperimentRunner,
    trainer::{Fit, Step, TrainerHooks},
};
use archai_spec::desc::{DartsModelDescBuilder, ModelDescBuilder};
use archai_spec::{settings, values};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use std::sync::Arc;

use crate::{Algorithm, choices};

/// The algorithm `xnas` for the list of all: name, paper and default settings.
pub fn algorithm() -> Algorithm {
    Algorithm::new(
        "xnas",
        "ops as experts: exponentiated gradient, and the hopeless are wiped out",
        Xnas::new,
    )
    .paper(
        "Nayman et al.: XNAS: Neural Architecture Search with Expert Advice, 2019, \
         arXiv:1906.08031",
    )
    .yaml(include_str!("xnas.yaml"))
    .toy(include_str!("xnas_toy.yaml"))
}

/// The section `nas.search.xnas`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct XnasSettings {
    /// Wipe out experts that can no longer win.
    pub to_evict: bool,
    /// L: rewards are clipped to [−L, L].
    #[schemars(range(min = 1e-12, max = 1e12))]
    pub grad_clip: f64,
}

impl Default for XnasSettings {
    /// Those of `xnas.yaml`.
    fn default() -> Self {
        algorithm().shipped_section()
    }
}

/// XNAS: DARTS's space, weights that start equal, and a trainer's hook.
#[derive(Clone, Debug, Default)]
pub struct Xnas {
    settings: XnasSettings,
}

impl Xnas {
    /// From its section of the configuration.
    pub fn new(settings: XnasSettings) -> Self {
        Xnas { settings }
    }
}

impl ExperimentRunner for Xnas {
    fn model_desc_builder(&self) -> Box<dyn ModelDescBuilder> {
        Box::new(DartsModelDescBuilder)
    }

    fn trainer_hooks(
        &self,
        search: &settings::Search,
    ) -> Result<Vec<Box<dyn TrainerHooks>>, EngineError> {
        let trainer = &search.trainer;
        let (key, problem) = if trainer.alpha_optimizer.is_some() {
            (
                "alpha_optimizer",
                "it must be null: XNAS moves the architecture by exponentiated gradient, whose rate follows from the \
                 number of updates",
            )
        } else if trainer.l1_alphas != 0.0 {
            (
                "l1_alphas",
                "it must be 0: the architecture parameters of XNAS are logarithms of weights, whose size means nothing",
            )
        } else {
            return Ok(vec![Box::new(Advice {
                settings: self.settings.clone(),
                steps: 0,
                updates: 0,
            })]);
        };
        Err(EngineError::setting(
            format!("nas.search.trainer.{key}"),
            problem,
        ))
    }

    /// All v = 1.
    fn alpha_init(&self) -> AlphaInit {
        AlphaInit::Constant(0.0)
    }
}

/// ln v of a dead expert: its share e^−10⁹ is zero in every precision, and the number can be stored.
pub const DEAD: f64 = -1e9;

/// Whether ln v is that of a dead expert. Of the living, none comes near: an update moves ln v by at most η·L ≤ √(2·ln N).
pub fn is_dead(log_weight: f64) -> bool {
    log_weight <= DEAD / 2.0
}

/// The update of one edge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// η.
    pub eta: f64,
    /// L, the bound of rewards.
    pub bound: f64,
    /// T, all updates of the run.
    pub updates: usize,
}

impl Rule {
    /// With the paper's rate for `n_experts` ops, for which the regret is at most √(2·T·L²·ln N).
    pub fn published(n_experts: usize, bound: f64, updates: usize) -> Self {
        let eta = (2.0 * (n_experts as f64).ln() / (updates as f64 * bound * bound)).sqrt();
        Rule {
            eta,
            bound,
            updates,
        }
    }

    /// R from ∂L/∂p_k.
    pub fn reward(&self, gradient: f64) -> f64 {
        (-gradient).clamp(-self.bound, self.bound)
    }

    /// ln(θ_t/max v) after `t` updates.
    pub fn log_threshold(&self, t: usize) -> f64 {
        -2.0 * self.eta * self.bound * self.updates.saturating_sub(t) as f64
    }

    /// ln v after these rewards, the largest at 0. The dead stay dead.
    pub fn advise(&self, log_weights: &[f64], rewards: &[f64]) -> Vec<f64> {
        let mut new: Vec<f64> = (log_weights.iter().zip(rewards))
            .map(|(&v, r)| if is_dead(v) { DEAD } else { v + self.eta * r })
            .collect();
        let largest = new.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        for v in new.iter_mut().filter(|v| !is_dead(**v)) {
            *v -= largest;
        }
        new
    }

    /// Wipes out who is below θ_t, but never the strongest expert that can be chosen in the end: not `none`, whose places
    /// `is_none` marks.
    pub fn evict(&self, log_weights: &mut [f64], is_none: &[bool], t: usize) {
        let strongest = (0..log_weights.len())
            .filter(|&k| !is_none[k])
            .reduce(|a, b| {
                if log_weights[b] > log_weights[a] {
                    b
                } else {
                    a
                }
            });
        let threshold = self.log_threshold(t);
        for (k, v) in log_weights.iter_mut().enumerate() {
            if *v < threshold && Some(k) != strongest {
                *v = DEAD;
            }
        }
    }
}

/// The loss on a batch and ∂L/∂p_k of every op: the model's present mixing weights, themselves taken as the parameters.
///
/// # Errors
/// A batch that does not fit the model.
pub fn mixture_grads(
    model: &Model,
    batch: &Batch,
    objective: &Objective,
) -> Result<(f64, ArchGrads), EngineError> {
    let p = model.edge_weights().into_iter().map(|(_, p)| p).collect();
    let mut mixed = model.clone();
    mixed.set_arch(model.arch().with_values(p, model.compute()));
    mixed.set_relaxation(Arc::new(Raw));
    mixed.arch_grads(batch, objective)
}

/// Rewards the experts on a validation batch before each step of the weights.
#[derive(Clone, Debug)]
struct Advice {
    settings: XnasSettings,
    /// Steps of an epoch.
    steps: usize,
    /// T.
    updates: usize,
}

impl TrainerHooks for Advice {
    fn pre_fit(&mut self, fit: &mut Fit<'_>) -> Result<(), EngineError> {
        choices::check("XNAS", fit.model)?;
        self.steps = fit.loaders.train.n_batches();
        self.updates = self.steps * fit.settings.epochs;
        Ok(())
    }

    fn pre_step(&mut self, step: &mut Step<'_>) -> Result<(), EngineError> {
        let valid = step.next_valid()?;
        let (loss, grads) = mixture_grads(step.model, &valid, &step.objective())?;
        if !loss.is_finite() {
            return Err(step.non_finite("the loss on the validation batch"));
        }
        let t = step.epoch * self.steps + step.step + 1;
        let (mut alive, mut clipped, mut of_all) = (0, 0, 0);
        let mut log_weights = Vec::with_capacity(grads.len());
        for ((key, old), grad) in step.model.arch().to_host().into_iter().zip(grads.to_host()) {
            let rule = Rule::published(old.len(), self.settings.grad_clip, self.updates);
            let rewards: Vec<f64> = grad.1.iter().map(|&g| rule.reward(g)).collect();
            clipped += grad.1.iter().filter(|g| g.abs() > rule.bound).count();
            of_all += rewards.len();
            let mut new = rule.advise(&old, &rewards);
            if self.settings.to_evict {
                let edge = &step.model.desc().cells[key.cell].nodes[key.node].edges[key.edge];
                let primitives = edge.op.children.iter();
                let catalog = step.model.catalog();
                let is_none: Vec<bool> = primitives
                    .map(|child| catalog.is_zero(&child.op.name))
                    .collect();
                rule.evict(&mut new, &is_none, t);
            }
            alive += new.iter().filter(|v| !is_dead(**v)).count();
            log_weights.push(new);
        }
        if step.is_logged {
            step.log.emit(values!(step.log.path().clone(),
                "valid_loss" => loss, "reward_norm" => grads.norm(),
                "rewards_clipped" => clipped as f64 / of_all as f64, "experts_alive" => alive))?;
        }
        let arch = step
            .model
            .arch()
            .with_values(log_weights, step.model.compute());
        step.set_arch(arch)
    }
}
