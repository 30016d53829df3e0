//! Steps of trainings, taken one by one.

use std::hint::black_box;

use archai_algos::darts::LookAhead;
use archai_data::Batch;
use archai_data::rng::Key;
use archai_engine::optim::{Optimizer, clip_factor};
use archai_engine::{ArchParams, Model, Objective, ParamVec, Regular, Want};
use archai_spec::settings::Settings;

use crate::cli::error::CliError;

/// A model with what its steps need.
pub(super) struct Step {
    model: Model,
    objective: Objective,
    weights: Optimizer<ParamVec>,
    alphas: Option<Optimizer<ArchParams>>,
    lr: f64,
    alpha_lr: f64,
    clip: f64,
    train: Batch,
    valid: Batch,
}

impl Step {
    pub fn new(
        model: Model,
        settings: &Settings,
        search: bool,
        n: usize,
    ) -> Result<Self, CliError> {
        let trainer = match search {
            true => &settings.nas.search.trainer,
            false => &settings.nas.eval.trainer,
        };
        let alpha = trainer.alpha_optimizer.as_ref().filter(|_| search);
        Ok(Step {
            objective: Objective {
                aux_weight: trainer.aux_weight,
                ..Objective::default()
            },
            weights: Optimizer::new(&trainer.optimizer).map_err(CliError::engine)?,
            alphas: alpha
                .map(Optimizer::new)
                .transpose()
                .map_err(CliError::engine)?,
            lr: trainer.optimizer.lr,
            alpha_lr: alpha.map_or(0.0, |a| a.lr),
            clip: trainer.grad_clip,
            train: noise(n, 1, &model),
            valid: noise(n, 2, &model),
            model,
        })
    }

    /// Forward and backward with running statistics, clipping and SGD.
    pub fn train(&mut self, want: Want) -> Result<(), CliError> {
        let regular = Regular {
            drop_path_prob: 0.0,
            draw: Key::new(3),
        };
        let grads = self
            .model
            .train_pass(&self.train, &self.objective, &regular, want)
            .map_err(CliError::engine)?;
        let factor = clip_factor(grads.weights.norm(), self.clip);
        let clipped = grads.weights.scale(factor);
        let weights = self.weights.step(self.model.weights(), &clipped, self.lr);
        self.model.set_weights(weights);
        Ok(())
    }

    /// The whole second-order step: architecture, then weights.
    pub fn bilevel(&mut self) -> Result<(), CliError> {
        let draw = Key::new(4);
        let (_, grads) = self
            .model
            .weight_grads_sampled(&self.train, &self.objective, &draw)
            .map_err(CliError::engine)?;
        let update = self.weights.direction(self.model.weights(), &grads);
        let ahead = LookAhead {
            update: &update,
            xi: self.lr,
            epsilon: 0.01,
        };
        let (_, grads) = ahead
            .arch_grads(
                &self.model,
                &self.train,
                &self.valid,
                &self.objective,
                &draw,
            )
            .map_err(CliError::engine)?;
        if let Some(optimizer) = &mut self.alphas {
            let arch = optimizer.step(self.model.arch(), &grads, self.alpha_lr);
            self.model.set_arch(arch);
        }
        self.train(Want {
            weights: true,
            arch: false,
        })
    }

    pub fn infer(&mut self) -> Result<(), CliError> {
        let logits = self
            .model
            .predict(self.train.images.clone(), self.train.shape);
        black_box(logits.map_err(CliError::engine)?);
        Ok(())
    }
}

/// A batch of noise.
fn noise(n: usize, seed: u64, model: &Model) -> Batch {
    let input = model.desc().input;
    let shape = [n, input.channels, input.height, input.width];
    let mut rng = Key::new(seed).with("bench").rng();
    let classes = model.desc().n_classes;
    let images = (0..shape.iter().product()).map(|_| rng.normal() as f32);
    let labels = (0..n).map(|i| (i % classes) as i64);
    Batch::new(images.collect(), labels.collect(), shape)
}
