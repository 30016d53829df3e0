//! The training loop. [`ArchTrainer::fit`] reads top to bottom; an algorithm joins in through [`TrainerHooks`]. Everything
//! that a training is at between two steps stands in [`FitState`] and the model; random draws are keyed by (seed, purpose,
//! epoch, step) and need no memory.

mod hooks;
mod measure;
mod state;
mod step;

use archai_data::{Batch, Loader, Loaders};
use archai_spec::event::{LogPath, Progress};
use archai_spec::{settings, values};

pub(crate) use measure::evaluate;
pub use {
    hooks::{Fit, TrainerHooks},
    measure::measure,
    state::{BestModel, FitState},
    step::{Outcome, Step},
};

use crate::{
    checkpoint::Snapshot,
    error::EngineError,
    metrics::{EpochMetrics, Meter, Metrics},
    model::{Model, Objective},
    optim::Optimizer,
    params::ParamVec,
    run::{Log, Run},
    schedule::{Schedule, drop_path_prob},
};
use measure::has_finite_loss;
use step::ValidCycle;

/// So many steps in a row may be skipped under [`settings::OnNan::Skip`]; the next one ends the training.
pub const MOST_SKIPPED: usize = 10;

/// What undoes a step.
struct Undo {
    model: Model,
    optimizer: Optimizer<ParamVec>,
    hooks: Vec<Snapshot>,
}

/// Trains a model as the settings say.
pub struct ArchTrainer<'a> {
    settings: &'a settings::Trainer,
    run: Run<'a>,
    path: LogPath,
    hooks: &'a mut [Box<dyn TrainerHooks>],
    test_every_epoch: bool,
}

impl<'a> ArchTrainer<'a> {
    /// A trainer whose log stands below `parent` under the title of the settings.
    pub fn new(
        settings: &'a settings::Trainer,
        run: Run<'a>,
        parent: &LogPath,
        hooks: &'a mut [Box<dyn TrainerHooks>],
    ) -> Self {
        let path = parent.join(&settings.title);
        ArchTrainer {
            settings,
            run,
            path,
            hooks,
            test_every_epoch: false,
        }
    }

    /// Also tests after every epoch, for curves. Nothing is chosen by it.
    pub fn with_test_every_epoch(mut self, yes: bool) -> Self {
        self.test_every_epoch = yes;
        self
    }

    /// The state before the first step.
    pub fn start(&self) -> Result<FitState, EngineError> {
        let now = self.run.clock.now();
        Ok(FitState {
            epoch: 0,
            step: 0,
            optimizer: Optimizer::new(&self.settings.optimizer)?,
            valid_taken: 0,
            metrics: Metrics::new(&self.settings.title, self.settings.logger_freq, now),
            current: EpochMetrics::default(),
            skipped_in_row: 0,
            best: None,
            finished_early: None,
        })
    }

    /// Trains `model` from the first epoch to the last and tests it.
    ///
    /// # Errors
    /// Settings that contradict each other, data that cannot be read, a loss that is not finite (with epoch and step), a
    /// request to stop, and whatever a hook reports.
    pub fn fit(&mut self, model: &mut Model, loaders: &Loaders) -> Result<FitState, EngineError> {
        let mut state = self.start()?;
        self.fit_from(&mut state, model, loaders)?;
        Ok(state)
    }

    /// Takes over what the run kept of this training: `Some(true)` if it had ended.
    fn take_up(
        &mut self,
        state: &mut FitState,
        model: &mut Model,
    ) -> Result<Option<bool>, EngineError> {
        let scope = self.path.to_string();
        let Some((snapshot, finished)) = self.run.checkpoints.latest(&scope)? else {
            return Ok(None);
        };
        state.restore(&snapshot, model)?;
        for (i, hook) in self.hooks.iter_mut().enumerate() {
            // A training that ended has no use for its hooks' memory.
            if !finished {
                hook.restore(&snapshot.part(&format!("hook{i}")), model)?;
            }
        }
        Ok(Some(finished))
    }

    /// Keeps the state of this training.
    fn keep(&self, state: &FitState, model: &Model, finished: bool) -> Result<(), EngineError> {
        self.check_weights(state, model)?;
        let mut snapshot = state.snapshot(model)?;
        for (i, hook) in self.hooks.iter().enumerate() {
            snapshot.put(&format!("hook{i}"), hook.state()?);
        }
        self.run
            .checkpoints
            .keep(&self.path.to_string(), &snapshot, finished)
    }

    /// Weights that are not finite are neither measured nor kept: the checkpoint before them stays the last.
    fn check_weights(&self, state: &FitState, model: &Model) -> Result<(), EngineError> {
        match model.weights().is_finite() {
            true => Ok(()),
            false => Err(self.non_finite("a weight", state)),
        }
    }

    /// The error of a number that is not finite after the last step that was done.
    fn non_finite(&self, what: &str, state: &FitState) -> EngineError {
        let (epoch, steps) = match (state.step, state.metrics.last()) {
            (0, Some(last)) => (last.index, last.step + last.skipped),
            (steps, _) => (state.epoch, steps),
        };
        EngineError::NonFinite {
            what: what.to_string(),
            phase: self.path.to_string(),
            epoch,
            step: steps.saturating_sub(1),
        }
    }

    /// What undoes the coming step, where the settings ask for it.
    fn undo(&self, state: &FitState, model: &Model) -> Result<Option<Undo>, EngineError> {
        if self.settings.on_nan == settings::OnNan::Stop {
            return Ok(None);
        }
        let hooks = self.hooks.iter().map(|hook| hook.state());
        Ok(Some(Undo {
            model: model.clone(),
            optimizer: state.optimizer.clone(),
            hooks: hooks.collect::<Result<_, _>>()?,
        }))
    }

    /// Trains on from `state`, which is up to date whenever this function returns, with an error too. Where the run kept a
    /// checkpoint of this training, that comes first.
    pub fn fit_from(
        &mut self,
        state: &mut FitState,
        model: &mut Model,
        loaders: &Loaders,
    ) -> Result<(), EngineError> {
        let (epochs, steps) = (self.settings.epochs, loaders.train.n_batches());
        let log = self.run.log(self.path.clone());
        if steps == 0 && epochs > 0 {
            return Err(EngineError::Config(format!(
                "{} has no training batch; load_train, max_batches and val_ratio decide how many there are",
                self.settings.title
            )));
        }
        let schedule = Schedule::new(
            &self.settings.lr_schedule,
            self.settings.optimizer.lr,
            epochs,
        )?;
        self.log_start(model, loaders)?;
        log.progress(Progress::Begin {
            title: self.settings.title.clone(),
            epochs: epochs as u64,
            steps: steps as u64,
        })?;
        self.each(state, model, loaders, &log, |hook, fit| hook.pre_fit(fit))?;
        if let Some(finished) = self.take_up(state, model)? {
            if finished {
                return log.progress(Progress::End);
            }
            let at = self.run.log(LogPath::new("resumed"));
            at.emit(values!(at.path().join(&self.settings.title).join(state.epoch).join(state.step),
                "phase" => self.settings.title.clone(), "epoch" => state.epoch, "step" => state.step))?;
        }
        let mut taken_up = state.step > 0;

        while state.epoch < epochs && state.finished_early.is_none() {
            let (epoch, lr) = (state.epoch, schedule.lr(state.epoch));
            let epoch_log = log.at("epochs").at(epoch);
            if state.step == 0 || taken_up {
                taken_up = false;
                self.each(state, model, loaders, &epoch_log, |hook, fit| {
                    hook.pre_epoch(fit)
                })?;
            }
            self.train(state, model, loaders, lr, &epoch_log)?;
            self.check_weights(state, model)?;
            let mut done = state.current.clone();
            if self.is_validated(epoch)
                && let Some(valid) = &loaders.valid
            {
                let val = self.measure(
                    state,
                    model,
                    valid,
                    &self.settings.validation.title,
                    &epoch_log.at("val"),
                )?;
                // A model whose loss is no number is never the best.
                if let Some(top1) = val.top1()
                    && has_finite_loss(&val)
                    && state.best.as_ref().is_none_or(|best| top1 > best.top1)
                {
                    state.best = Some(BestModel {
                        epoch,
                        top1,
                        model: model.clone(),
                    });
                }
                done.val_metrics = Some(Box::new(val));
            }
            state.current = EpochMetrics::default();
            state.metrics.run_metrics.epochs_metrics.push(done);
            state.metrics.run_metrics.epoch = epoch + 1;
            state.metrics.run_metrics.end_time = self.run.clock.now();
            if self.test_every_epoch
                && epoch + 1 < epochs
                && let Some(test) = &loaders.test
            {
                self.measure(state, model, test, "test", &epoch_log.at("test"))?;
            }
            self.each(state, model, loaders, &epoch_log, |hook, fit| {
                hook.post_epoch(fit)
            })?;
            state.epoch += 1;
            state.step = 0;
            if let Some(reason) = &state.finished_early {
                epoch_log.warn(format!("finished early after epoch {epoch}: {reason}"))?;
            }
            self.keep(state, model, false)?;
        }

        if epochs > 0
            && let Some(test) = &loaders.test
        {
            let test = self.measure(state, model, test, "test", &log.at("test"))?;
            state.metrics.run_metrics.test_metrics = Some(Box::new(test));
        }
        state.metrics.run_metrics.end_time = self.run.clock.now();
        self.each(state, model, loaders, &log, |hook, fit| hook.post_fit(fit))?;
        self.log_end(state)?;
        self.keep(state, model, true)?;
        log.progress(Progress::End)
    }

    /// The steps of one epoch that are still to be done.
    fn train(
        &mut self,
        state: &mut FitState,
        model: &mut Model,
        loaders: &Loaders,
        lr: f64,
        log: &Log<'a>,
    ) -> Result<(), EngineError> {
        let (settings, run, epoch) = (self.settings, self.run, state.epoch);
        let drop_path = drop_path_prob(settings.drop_path_prob, epoch, settings.epochs);
        let objective = Objective {
            loss: settings.lossfn.clone(),
            aux_weight: settings.aux_weight,
            l1_alphas: settings.l1_alphas,
            chunks: settings.batch_chunks,
        };
        let mut valid = ValidCycle {
            loader: loaders.valid_arch.clone(),
            taken: state.valid_taken,
            batches: None,
        };
        if state.step == 0 {
            let now = run.clock.now();
            state.current = EpochMetrics {
                index: epoch,
                start_time: now,
                start_lr: lr,
                end_lr: lr,
                ..EpochMetrics::default()
            };
        }
        let mut before = run.clock.now();
        let mut since_kept = 0;
        let wants_arch = self.hooks.iter().any(|hook| hook.wants_arch_grads());
        let place = self.path.clone();

        for batch in loaders.train.epoch_from(epoch, state.step) {
            let batch = batch?;
            let is_logged =
                settings.logger_freq > 0 && state.step.is_multiple_of(settings.logger_freq);
            let step_log = log.at("steps").at(state.step);
            let undo = self.undo(state, model)?;
            let mut step = Step {
                model,
                batch: &batch,
                settings,
                lr,
                epoch,
                step: state.step,
                is_logged,
                log: step_log.clone(),
                optimizer: &mut state.optimizer,
                valid: &mut valid,
                place: &place,
                key: run
                    .key("train")
                    .with(&settings.title)
                    .with(epoch)
                    .with(state.step),
            };
            let moved = self.step(&mut step, &objective, drop_path, wants_arch);
            state.valid_taken = valid.taken;
            match (moved, undo) {
                (Ok(outcome), _) => {
                    state.skipped_in_row = 0;
                    self.note(state, &batch, &outcome, is_logged, before, log)?;
                }
                (
                    Err(EngineError::NonFinite {
                        what,
                        phase,
                        epoch,
                        step,
                    }),
                    Some(undo),
                ) => {
                    if state.skipped_in_row == MOST_SKIPPED {
                        let what = format!("{what}, after {MOST_SKIPPED} skipped steps in a row,");
                        return Err(EngineError::NonFinite {
                            what,
                            phase,
                            epoch,
                            step,
                        });
                    }
                    state.skipped_in_row += 1;
                    state.current.skipped += 1;
                    *model = undo.model;
                    state.optimizer = undo.optimizer;
                    for (hook, memory) in self.hooks.iter_mut().zip(&undo.hooks) {
                        hook.restore(memory, model)?;
                    }
                    step_log.emit(values!(step_log.path().clone(), "skipped" => what))?;
                }
                (Err(error), _) => return Err(error),
            }
            state.step += 1;
            since_kept += 1;
            let stops = run.stop.is_raised();
            if stops || run.checkpoints.is_due(since_kept) {
                self.keep(state, model, false)?;
                since_kept = 0;
            }
            if stops {
                self.log_train(&state.current, log)?;
                return Err(EngineError::Stopped);
            }
            before = run.clock.now();
        }
        self.log_train(&state.current, log)
    }

    /// Measures `model` on `loader` without changing it, logs the result at `log` and gives it back. A loss that is not
    /// finite ends the training, if the settings say so.
    fn measure(
        &self,
        state: &FitState,
        model: &Model,
        loader: &Loader,
        title: &str,
        log: &Log<'_>,
    ) -> Result<Metrics, EngineError> {
        let metrics = measure(
            model,
            loader,
            &self.settings.validation,
            title,
            self.run,
            log,
        )?;
        if let Some(result) = metrics.last() {
            log.emit(values!(log.path().clone(),
                "top1" => result.top1.avg, "top5" => result.top5.avg, "loss" => result.loss.avg,
                "duration" => result.duration()))?;
        }
        if !has_finite_loss(&metrics) {
            let what = format!("the loss of `{title}`");
            match self.settings.on_nan {
                settings::OnNan::Stop => return Err(self.non_finite(&what, state)),
                settings::OnNan::Skip => log.warn(format!("{what} is not finite"))?,
            }
        }
        Ok(metrics)
    }

    /// One step with its hooks. Where it can be undone, its outcome is looked at, too.
    fn step(
        &mut self,
        step: &mut Step<'_>,
        objective: &Objective,
        drop_path: f64,
        wants_arch: bool,
    ) -> Result<Outcome, EngineError> {
        for hook in self.hooks.iter_mut() {
            hook.pre_step(step)?;
        }
        let outcome = step.move_weights(objective, drop_path, wants_arch)?;
        if self.settings.on_nan == settings::OnNan::Skip && !step.model.weights().is_finite() {
            return Err(step.non_finite("a weight"));
        }
        for hook in self.hooks.iter_mut() {
            hook.post_step(step, &outcome)?;
        }
        Ok(outcome)
    }

    /// Counts and logs a step that was done; `log` is the epoch's.
    fn note(
        &self,
        state: &mut FitState,
        batch: &Batch,
        outcome: &Outcome,
        is_logged: bool,
        before: f64,
        log: &Log<'a>,
    ) -> Result<(), EngineError> {
        let now = self.run.clock.now();
        let current = &mut state.current;
        current.update(&outcome.logits, &batch.labels, outcome.loss, now - before);
        current.end_time = now;
        state.metrics.global_step += 1;
        if is_logged {
            let log = log.at("steps").at(state.step);
            let (top1, top5, loss) = (current.top1.last, current.top5.last, current.loss.last);
            log.emit(values!(log.path().clone(),
                "top1" => top1, "top5" => top5, "loss" => loss, "step_time" => now - before))?;
        }
        log.progress(Progress::Step {
            epoch: state.epoch as u64,
            step: state.step as u64,
            loss: current.loss.avg,
            top1: current.top1.avg,
            images_per_s: per_second(batch.labels.len() as u64, now - before),
        })
    }

    /// Whether the model is measured on validation data after `epoch`.
    fn is_validated(&self, epoch: usize) -> bool {
        let freq = self.settings.validation.freq;
        freq > 0 && ((epoch + 1).is_multiple_of(freq) || epoch + 1 == self.settings.epochs)
    }

    /// Lets every hook see the training between epochs.
    fn each(
        &mut self,
        state: &mut FitState,
        model: &mut Model,
        loaders: &Loaders,
        log: &Log<'a>,
        mut call: impl FnMut(&mut dyn TrainerHooks, &mut Fit<'_>) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let mut fit = Fit {
            model,
            loaders,
            settings: self.settings,
            epoch: state.epoch,
            metrics: &state.metrics,
            log: log.clone(),
            run: self.run,
            finish: &mut state.finished_early,
        };
        self.hooks
            .iter_mut()
            .try_for_each(|hook| call(hook.as_mut(), &mut fit))
    }

    fn log_start(&self, model: &Model, loaders: &Loaders) -> Result<(), EngineError> {
        let s = self.settings;
        let batches = |loader: &Option<Loader>| loader.as_ref().map_or(0, Loader::n_batches);
        let mut path = self.path.clone();
        if let Some(last) = path.0.last_mut() {
            last.push_str("__init__");
        }
        let log = self.run.log(path);
        log.emit(values!(log.path().clone(),
            "epochs" => s.epochs,
            "train_batches" => loaders.train.n_batches(),
            "val_batches" => batches(&loaders.valid),
            "test_batches" => batches(&loaders.test),
            "parameters" => model.weights().n_numbers(),
            "alphas" => model.arch().n_numbers(),
            "optimizer" => format!("{:?}", s.optimizer.kind).to_lowercase(),
            "lr" => s.optimizer.lr,
            "decay" => s.optimizer.decay,
            "momentum" => s.optimizer.momentum,
            "grad_clip" => s.grad_clip,
            "drop_path_prob" => s.drop_path_prob,
            "aux_weight" => s.aux_weight))
    }

    fn log_train(&self, epoch: &EpochMetrics, log: &Log<'_>) -> Result<(), EngineError> {
        let log = log.at("train");
        if epoch.skipped > 0 {
            log.emit(values!(log.path().clone(), "skipped" => epoch.skipped))?;
            log.warn(format!(
                "{} of {} steps of {}, epoch {}, were skipped, because a number was not finite",
                epoch.skipped,
                epoch.skipped + epoch.step,
                self.settings.title,
                epoch.index
            ))?;
        }
        log.emit(values!(log.path().clone(),
            "top1" => epoch.top1.avg,
            "top5" => epoch.top5.avg,
            "loss" => epoch.loss.avg,
            "duration" => epoch.duration(),
            "step_time" => epoch.step_time.avg,
            "start_lr" => epoch.start_lr,
            "end_lr" => epoch.end_lr,
            "images_per_s" => per_second(epoch.top1.cnt, epoch.duration())))
    }

    fn log_end(&self, state: &FitState) -> Result<(), EngineError> {
        let log = self.run.log(self.path.clone());
        let run = &state.metrics.run_metrics;
        let (mut epochs, mut steps) = (Meter::default(), Meter::default());
        for epoch in &run.epochs_metrics {
            epochs.update(epoch.duration(), 1);
            steps.update(epoch.step_time.avg, epoch.step_time.cnt);
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

fn per_second(images: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        images as f64 / seconds
    } else {
        0.0
    }
}
