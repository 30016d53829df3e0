//! What a training writes into the log at its beginning, after each epoch and at its end.

use archai_data::{Loader, Loaders};
use archai_spec::event::json;
use archai_spec::values;
use serde_json::Value;

use super::{ArchTrainer, FitState};
use crate::{
    error::EngineError,
    metrics::{EpochMetrics, Meter, has_top5},
    model::Model,
    run::Log,
};

impl ArchTrainer<'_> {
    /// The model, the data and the settings.
    pub(super) fn log_start(&self, model: &Model, loaders: &Loaders) -> Result<(), EngineError> {
        let s = self.settings;
        let batches = |loader: &Option<Loader>| loader.as_ref().map_or(0, Loader::n_batches);
        let mut path = self.path.clone();
        if let Some(last) = path.0.last_mut() {
            last.push_str("__init__");
        }
        let log = self.run.log(path);
        // The auxiliary tower is no part of the network that comes out of a training.
        let cost = model.desc().cost(model.catalog())?;
        let all = model.weights().n_numbers() as u64;
        let tower = cost.total(true).params - cost.total(false).params;
        log.emit(values!(log.path().clone(),
            "epochs" => s.epochs,
            "train_batches" => loaders.train.n_batches(),
            "val_batches" => batches(&loaders.valid),
            "test_batches" => batches(&loaders.test),
            "parameters" => all - tower,
            "parameters_with_aux" => all,
            "alphas" => model.arch().n_numbers(),
            "optimizer" => format!("{:?}", s.optimizer.kind).to_lowercase(),
            "lr" => s.optimizer.lr,
            "decay" => s.optimizer.decay,
            "momentum" => s.optimizer.momentum,
            "grad_clip" => s.grad_clip,
            "drop_path_prob" => s.drop_path_prob,
            "aux_weight" => s.aux_weight))
    }

    /// What an epoch of training measured.
    pub(super) fn log_train(
        &self,
        epoch: &EpochMetrics,
        model: &Model,
        log: &Log<'_>,
    ) -> Result<(), EngineError> {
        let log = log.at("train");
        if epoch.skipped > 0 {
            log.emit(values!(log.path().clone(), "skipped" => epoch.skipped))?;
            log.warn(format!(
                "{} of {} steps of {}, epoch {}, were skipped, because a number was not finite",
                epoch.skipped,
                epoch.skipped + epoch.step,
                self.settings.title,
                epoch.index + 1
            ))?;
        }
        let images = epoch.top1.cnt;
        let speed = (images > 0).then(|| per_second(images, epoch.duration()));
        log.values(results(
            model.desc().n_classes,
            [epoch.top1.avg, epoch.top5.avg, epoch.loss.avg],
            vec![
                ("duration", json(epoch.duration())),
                ("step_time", json(epoch.step_time.avg)),
                ("data_time", json(epoch.data_time.avg)),
                ("start_lr", json(epoch.start_lr)),
                ("end_lr", json(epoch.end_lr)),
                ("images_per_s", json(speed)),
            ],
        ))
    }

    /// Mean times and the best epochs.
    pub(super) fn log_end(&self, state: &FitState) -> Result<(), EngineError> {
        let log = self.run.log(self.path.clone());
        let run = &state.metrics.run_metrics;
        let (mut epochs, mut steps) = (Meter::default(), Meter::default());
        for epoch in &run.epochs_metrics {
            epochs.update(epoch.duration(), 1);
            if let Some(mean) = epoch.step_time.avg {
                steps.update(mean, epoch.step_time.cnt);
            }
        }
        let timings = log.at("timings");
        timings.emit(values!(timings.path().clone(),
            "epoch" => epochs.avg, "step" => steps.avg, "run" => run.end_time - run.start_time))?;
        let best = state.metrics.best();
        let last = run.epoch.saturating_sub(1);
        let test = best.test.map(|top1| (last, top1));
        for (name, best) in [
            ("best_train", best.train),
            ("best_val", best.val),
            ("best_test", test),
        ] {
            if let Some((epoch, top1)) = best {
                let log = log.at(name);
                log.emit(values!(log.path().clone(), "epoch" => epoch, "top1" => top1))?;
            }
        }
        Ok(())
    }
}

/// Accuracies and loss, and what else there is, for the log. Of five classes or fewer the right one is always among the first
/// five, which says nothing.
pub(super) fn results(
    classes: usize,
    [top1, top5, loss]: [Option<f64>; 3],
    more: Vec<(&str, Value)>,
) -> Vec<(String, Value)> {
    let top5 = has_top5(classes).then(|| ("top5", json(top5)));
    let all = [("top1", json(top1))].into_iter().chain(top5);
    let all = all.chain([("loss", json(loss))]).chain(more);
    all.map(|(name, value)| (name.to_string(), value)).collect()
}

/// Images in a second; 0 if no time passed.
pub(super) fn per_second(images: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        images as f64 / seconds
    } else {
        0.0
    }
}
