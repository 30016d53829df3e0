//! DARTS (Liu, Simonyan, Yang: "DARTS: Differentiable Architecture Search", 2019): relax the choice of an edge's op to a
//! softmax, and train weights and architecture by turns.
//!
//! Before each step of the weights w, the architecture α takes a step on a validation batch. In second order (the
//! default) it looks one step of the weights ahead, equations 6 to 8 of the paper:
//!
//! ∇α L_val(w′, α) − ξ·(∇α L_train(w⁺, α) − ∇α L_train(w⁻, α)) / 2ε, with w′ = w − ξ·(μ·m + ∇w L_train + λ·w),
//! w± = w ± ε·∇w′ L_val(w′, α) and ε = 0.01/‖∇w′ L_val‖. In first order ξ = 0: ∇α L_val(w, α).
//!
//! w holds weights alone and never α; models at w′ and w± are values of their own, so nothing must be restored and the
//! running statistics of the norms know nothing of the detour.

use archai_data::{Batch, rng::Key};
use archai_engine::{
    EngineError, Model, Objective, ParamVec,
    arch::ArchGrads,
    experiment::ExperimentRunner,
    trainer::{ArchStep, Fit, Step, TrainerHooks},
};
use archai_spec::desc::{DartsModelDescBuilder, ModelDescBuilder};
use archai_spec::{settings, values};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Algorithm;
use crate::choices;

/// The algorithm `darts` for the list of all: name, paper and default settings.
pub fn algorithm() -> Algorithm {
    Algorithm::new(
        "darts",
        "a softmax over the ops of each edge, trained by gradient",
        Darts::new,
    )
    .paper("Liu, Simonyan, Yang: DARTS: Differentiable Architecture Search, 2019, arXiv:1806.09055")
    .yaml(include_str!("darts.yaml"))
}

/// The section `nas.search.darts`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DartsSettings {
    /// Look one step of the weights ahead (four passes more per step), as the paper's results do; false is the paper's
    /// first-order approximation.
    pub second_order: bool,
    /// Size of the finite difference: ε = `epsilon` / ‖∇w′ L_val‖.
    #[schemars(range(min = 1e-12, max = 1.0))]
    pub epsilon: f64,
}

impl Default for DartsSettings {
    /// Those of `darts.yaml`.
    fn default() -> Self {
        algorithm().shipped_section()
    }
}

/// DARTS: its description builder and its trainer's hook; all else is the default.
#[derive(Clone, Debug, Default)]
pub struct Darts {
    settings: DartsSettings,
}

impl Darts {
    /// From its section of the configuration.
    pub fn new(settings: DartsSettings) -> Self {
        Darts { settings }
    }
}

impl ExperimentRunner for Darts {
    fn model_desc_builder(&self) -> Box<dyn ModelDescBuilder> {
        Box::new(DartsModelDescBuilder)
    }

    fn trainer_hooks(
        &self,
        search: &settings::Search,
    ) -> Result<Vec<Box<dyn TrainerHooks>>, EngineError> {
        let settings = self.settings.clone();
        let hook = Bilevel::new("DARTS", settings, &search.trainer)?;
        Ok(vec![Box::new(hook)])
    }
}

/// Moves the architecture on a validation batch before each step of the weights.
#[derive(Clone, Debug)]
pub struct Bilevel {
    who: &'static str,
    settings: DartsSettings,
}

impl Bilevel {
    /// For a training with these settings, whose `alpha_optimizer` moves the architecture. `who` trains so: for messages.
    ///
    /// # Errors
    /// There is no `alpha_optimizer`, or its keys contradict each other.
    pub fn new(
        who: &'static str,
        settings: DartsSettings,
        trainer: &settings::Trainer,
    ) -> Result<Self, EngineError> {
        let advice = "type: adam, lr: 3e-4, decay: 1e-3, betas: [0.5, 0.999] in the paper of DARTS";
        ArchStep::check(who, advice, trainer)?;
        Ok(Bilevel { who, settings })
    }
}

impl TrainerHooks for Bilevel {
    fn pre_fit(&mut self, fit: &mut Fit<'_>) -> Result<(), EngineError> {
        choices::check(self.who, fit.model)
    }

    fn pre_step(&mut self, step: &mut Step<'_>) -> Result<(), EngineError> {
        let valid = step.next_valid()?;
        let (objective, draw) = (step.objective(), step.draw("architecture"));
        let (loss, grads) = if self.settings.second_order {
            let ahead = LookAhead {
                update: &step.weight_update()?,
                xi: step.lr,
                epsilon: self.settings.epsilon,
            };
            ahead.arch_grads(step.model, step.batch, &valid, &objective, &draw)?
        } else {
            step.model.arch_grads_sampled(&valid, &objective, &draw)?
        };
        if !loss.is_finite() {
            return Err(step.non_finite("the loss on the validation batch"));
        }
        if step.is_logged {
            step.log.emit(values!(step.log.path().clone(),
                "valid_loss" => loss, "alpha_grad_norm" => grads.norm()))?;
        }
        step.move_arch(&grads)
    }
}

/// The second-order gradient: where the weights are about to go.
#[derive(Clone, Copy, Debug)]
pub struct LookAhead<'a> {
    /// μ·m + ∇w L_train + λ·w, see [`Step::weight_update`].
    pub update: &'a ParamVec,
    /// ξ, the learning rate of the weights.
    pub xi: f64,
    /// ε is this over ‖∇w′ L_val‖.
    pub epsilon: f64,
}

impl LookAhead<'_> {
    /// L_val(w′, α) and its gradient with respect to α through w′ (equations 7 and 8 of the paper).
    ///
    /// # Errors
    /// A batch that does not fit the model.
    pub fn arch_grads(
        &self,
        model: &Model,
        train: &Batch,
        valid: &Batch,
        objective: &Objective,
        draw: &Key,
    ) -> Result<(f64, ArchGrads), EngineError> {
        let ahead = model.shifted(self.update, -self.xi);
        let at_ahead = ahead.grads_sampled(valid, objective, draw)?;
        let norm = at_ahead.weights.norm();
        if norm == 0.0 {
            // A validation loss that no weight moves has no second-order term either.
            return Ok((at_ahead.loss, at_ahead.arch));
        }
        let epsilon = self.epsilon / norm;
        let side = |by: f64| -> Result<ArchGrads, EngineError> {
            let (_, grads) = model
                .shifted(&at_ahead.weights, by)
                .arch_grads_sampled(train, objective, draw)?;
            Ok(grads)
        };
        let change = side(epsilon)? - side(-epsilon)?;
        Ok((
            at_ahead.loss,
            at_ahead.arch - change * (self.xi / (2.0 * epsilon)),
        ))
    }
}
