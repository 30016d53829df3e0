//! DiDARTS, "direct" DARTS: the supernet and the finalizer of DARTS (Liu, Simonyan, Yang: "DARTS: Differentiable
//! Architecture Search", 2019, arXiv:1806.09055), trained on one level. The paper compares its bilevel search with this
//! alternative, simultaneous gradient steps of both sides on all data, and finds it worse.
//!
//! At every step one pass on one training batch gives both gradients, and both sides step by an optimizer of their own:
//!
//! w ← w − ξ·∇w L_train(w, α),  α ← α − ξ_α·∇α L_train(w, α), the gradients taken at the same (w, α).
//!
//! So a step costs one pass, and all data may train; a validation share only reports.

use archai_engine::{
    EngineError,
    experiment::ExperimentRunner,
    trainer::{ArchStep, Fit, Outcome, Step, TrainerHooks},
};
use archai_spec::desc::{DartsModelDescBuilder, ModelDescBuilder};
use archai_spec::{settings, values};

use crate::{Algorithm, NoSettings, choices};

/// The algorithm `didarts` for the list of all: name, paper and default settings.
pub fn algorithm() -> Algorithm {
    Algorithm::new(
        "didarts",
        "DARTS on one level: weights and architecture step on the same training loss",
        |_: NoSettings| Didarts,
    )
    .paper(
        "Liu, Simonyan, Yang: DARTS: Differentiable Architecture Search, 2019, arXiv:1806.09055 \
         (its single-level alternative)",
    )
    .yaml(include_str!("didarts.yaml"))
    .toy(include_str!("didarts_toy.yaml"))
}

/// DiDARTS: DARTS's space and a trainer's hook. It has no settings of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Didarts;

impl ExperimentRunner for Didarts {
    fn model_desc_builder(&self) -> Box<dyn ModelDescBuilder> {
        Box::new(DartsModelDescBuilder)
    }

    fn trainer_hooks(
        &self,
        search: &settings::Search,
    ) -> Result<Vec<Box<dyn TrainerHooks>>, EngineError> {
        Ok(vec![Box::new(SingleLevel::new(
            "didarts",
            &search.trainer,
        )?)])
    }
}

/// Moves the architecture by the gradient of the very pass that the weights step by.
#[derive(Clone, Debug)]
pub struct SingleLevel {
    who: &'static str,
}

impl SingleLevel {
    /// For a training with these settings, whose `alpha_optimizer` moves the architecture. `who` trains so: for messages.
    ///
    /// # Errors
    /// There is no `alpha_optimizer`, or its keys contradict each other.
    pub fn new(who: &'static str, trainer: &settings::Trainer) -> Result<Self, EngineError> {
        let advice = "type: sgd, lr: 0.025, decay: 3e-4, momentum: 0.9 by default";
        ArchStep::check(who, advice, trainer)?;
        Ok(SingleLevel { who })
    }
}

impl TrainerHooks for SingleLevel {
    fn pre_fit(&mut self, fit: &mut Fit<'_>) -> Result<(), EngineError> {
        choices::check(self.who, fit.model)
    }

    fn wants_arch_grads(&self) -> bool {
        true
    }

    fn post_step(&mut self, step: &mut Step<'_>, outcome: &Outcome) -> Result<(), EngineError> {
        let grads = outcome.arch_grads.as_ref().ok_or_else(|| {
            EngineError::Internal(format!(
                "{} steps by the architecture's gradient of the training pass, but the pass gave none",
                self.who
            ))
        })?;
        if step.is_logged {
            step.log
                .emit(values!(step.log.path().clone(), "alpha_grad_norm" => grads.norm()))?;
        }
        step.move_arch(grads)
    }
}
