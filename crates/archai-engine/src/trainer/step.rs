//! One step of the weights, and the training as a hook sees it around a step.

use std::collections::{BTreeMap, btree_map::Entry};

use archai_data::rng::Key;
use archai_data::{Batch, Batches, Loader, Loaders};
use archai_spec::{event::LogPath, settings};

use super::ArchStep;
use crate::{
    arch::{ArchGrads, ArchParams},
    error::EngineError,
    model::{Grads, Logits, Model, Objective, Regular, Want},
    optim::{Optimizer, clip_factor},
    params::ParamVec,
    run::Log,
};

/// The training as a hook sees it around a step.
pub struct Step<'a> {
    /// The model.
    pub model: &'a mut Model,
    /// The training batch of this step.
    pub batch: &'a Batch,
    /// The training's settings.
    pub settings: &'a settings::Trainer,
    /// Learning rate of the weights.
    pub lr: f64,
    /// Epoch, from 0.
    pub epoch: usize,
    /// Step within the epoch, from 0.
    pub step: usize,
    /// The log at `…/epochs/<epoch>/steps/<step>`.
    pub log: Log<'a>,
    /// Whether this step is one that the settings ask to log.
    pub is_logged: bool,
    pub(super) optimizer: &'a mut Optimizer<ParamVec>,
    pub(super) valid: &'a mut ValidCycle,
    pub(super) key: Key,
    pub(super) place: &'a LogPath,
    /// Optimizers of the architecture, by hook.
    pub(super) arch_steps: &'a mut BTreeMap<usize, ArchStep>,
    /// The hook that sees the step.
    pub(super) hook: usize,
}

impl Step<'_> {
    /// The training loss without the auxiliary tower's: what the steps of an architecture look at.
    pub fn objective(&self) -> Objective {
        Objective {
            aux_weight: 0.0,
            ..Objective::of(self.settings)
        }
    }

    /// The next validation batch; after the last comes the first again, in another order. An empty split is an error that
    /// says how to mend it.
    pub fn next_valid(&mut self) -> Result<Batch, EngineError> {
        self.valid.next()
    }

    /// Where the next step of the weights would go on this batch, per unit of learning rate: for SGD with momentum
    /// μ·m + ∇w L_train + λ·w. The model stays as it is.
    pub fn weight_update(&self) -> Result<ParamVec, EngineError> {
        let (_, grads) = self.model.weight_grads_sampled(
            self.batch,
            &self.objective(),
            &self.draw("look_ahead"),
        )?;
        Ok(self.optimizer.direction(self.model.weights(), &grads))
    }

    /// A key for this step's random draws of one purpose.
    pub fn draw(&self, purpose: &str) -> Key {
        self.key.with(purpose)
    }

    /// Moves the architecture parameters one step against `grads`, by the settings' `alpha_optimizer` at the rate of their
    /// `alpha_lr_schedule`. Each hook has an optimizer of its own, which the training remembers for it.
    ///
    /// # Errors
    /// There is no `alpha_optimizer`, or its keys contradict each other; numbers that are not finite.
    pub fn move_arch(&mut self, grads: &ArchGrads) -> Result<(), EngineError> {
        let optimizer = match self.arch_steps.entry(self.hook) {
            Entry::Occupied(present) => present.into_mut(),
            Entry::Vacant(place) => place.insert(ArchStep::new(self.settings)?),
        };
        let arch = optimizer.step(self.model.arch(), grads, self.epoch);
        self.set_arch(arch)
    }

    /// Replaces the architecture parameters by `arch`; numbers that are not finite end the training with this step's name.
    pub fn set_arch(&mut self, arch: ArchParams) -> Result<(), EngineError> {
        if !arch.is_finite() {
            return Err(self.non_finite("architecture parameters"));
        }
        self.model.set_arch(arch);
        Ok(())
    }

    /// One step of the weights on the training batch.
    pub(super) fn move_weights(
        &mut self,
        objective: &Objective,
        drop_path_prob: f64,
        wants_arch: bool,
    ) -> Result<Outcome, EngineError> {
        let regular = Regular {
            drop_path_prob,
            draw: self.draw("pass"),
        };
        let want = Want {
            weights: true,
            arch: wants_arch,
        };
        let Grads {
            loss,
            weights: grads,
            arch,
            logits,
            ..
        } = self
            .model
            .train_pass(self.batch, objective, &regular, want)?;
        let grad_norm = grads.norm();
        for (what, number) in [("loss", loss), ("gradient", grad_norm)] {
            if !number.is_finite() {
                return Err(self.non_finite(what));
            }
        }
        let factor = clip_factor(grad_norm, self.settings.grad_clip);
        let clipped = if factor < 1.0 {
            grads.scale(factor)
        } else {
            grads
        };
        let weights = self.optimizer.step(self.model.weights(), &clipped, self.lr);
        self.model.set_weights(weights);
        Ok(Outcome {
            loss,
            logits,
            grad_norm,
            arch_grads: wants_arch.then_some(arch),
        })
    }

    /// The error of a number that is not finite, which names this step.
    pub fn non_finite(&self, what: &str) -> EngineError {
        EngineError::NonFinite {
            what: what.to_string(),
            phase: self.place.to_string(),
            epoch: self.epoch,
            step: self.step,
        }
    }
}

/// What a step of the weights gave.
pub struct Outcome {
    /// Mean loss over the batch, before the step.
    pub loss: f64,
    /// Logits of the batch.
    pub logits: Logits,
    /// Global L2 norm of the weights' gradient, before clipping.
    pub grad_norm: f64,
    /// Gradient of the architecture parameters at the weights before the step, where a hook wants it
    /// ([`TrainerHooks::wants_arch_grads`](super::TrainerHooks::wants_arch_grads)).
    pub arch_grads: Option<ArchGrads>,
}

/// Validation batches in an endless row: pass after pass, each in its own order.
pub(super) struct ValidCycle {
    loader: Option<Loader>,
    pub(super) taken: u64,
    batches: Option<Batches>,
}

impl ValidCycle {
    /// Goes on behind the batches that were taken.
    pub(super) fn from(loaders: &Loaders, taken: u64) -> Self {
        ValidCycle {
            loader: loaders.valid_arch.clone(),
            taken,
            batches: None,
        }
    }

    fn next(&mut self) -> Result<Batch, EngineError> {
        let loader = self.loader.as_ref().filter(|loader| loader.n_batches() > 0).ok_or_else(|| {
            EngineError::setting(
                "nas.search.loader.val_ratio",
                "the architecture is trained on validation data, but there are none; set it above 0 (0.5 in the paper)",
            )
        })?;
        let batches = self
            .batches
            .get_or_insert_with(|| loader.cycle_from(self.taken));
        let batch = batches.next().ok_or_else(|| {
            EngineError::Internal(
                "the validation batches ended, although they should go on for ever".to_string(),
            )
        })?;
        self.taken += 1;
        Ok(batch?)
    }
}
