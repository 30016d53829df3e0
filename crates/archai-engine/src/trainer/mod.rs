//! The training loop. [`ArchTrainer::fit`] reads top to bottom; an algorithm joins in through [`TrainerHooks`]. The state of
//! a training between two steps is in [`FitState`] and the model; random draws are keyed by (seed, purpose, epoch, step) and
//! need no memory.

mod arch_step;
mod hooks;
mod log;
mod measure;
mod memory;
mod state;
mod step;

use std::collections::BTreeMap;
use std::path::Path;

use archai_data::{Batch, Loader, Loaders};
use archai_spec::event::{LogPath, Progress, json};
use archai_spec::{settings, values};

pub(crate) use measure::evaluate;
pub use {
    arch_step::ArchStep,
    hooks::{Fit, TrainerHooks},
    measure::measure,
    memory::{Memory, Remember},
    state::{BestModel, FitState},
    step::{Outcome, Step},
};

use crate::{
    checkpoint::Snapshot,
    error::EngineError,
    metrics::{EpochMetrics, Metrics},
    model::{Logits, Model, Objective},
    optim::Optimizer,
    params::ParamVec,
    parts::{Parts, Rate},
    predictions::Predictions,
    run::{Log, Run},
    schedule::{Schedule, drop_path_prob},
};
use arch_step::OPTIMIZER;
use log::{per_second, results};
use measure::{has_finite_loss, measure_and_see};
use step::ValidCycle;

/// The most steps in a row that may be skipped under [`settings::OnNan::Skip`]; the next one ends the training.
pub const MOST_SKIPPED: usize = 10;

/// What undoes a step.
struct Undo {
    model: Model,
    optimizer: Optimizer<ParamVec>,
    arch_steps: BTreeMap<usize, ArchStep>,
    hooks: Vec<Snapshot>,
}

/// Trains a model as the settings say.
pub struct ArchTrainer<'a> {
    settings: &'a settings::Trainer,
    run: Run<'a>,
    path: LogPath,
    hooks: &'a mut [Box<dyn TrainerHooks>],
    test_every_epoch: bool,
    predictions: Option<&'a Path>,
    rates: Option<Vec<Rate>>,
}

impl<'a> ArchTrainer<'a> {
    /// A trainer that logs below `parent` under the title of the settings.
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
            predictions: None,
            rates: None,
        }
    }

    /// With learning rates of their own for some parts of `model`; those that it [froze](Model::freeze) do not move.
    pub fn with_parts(mut self, parts: &Parts, model: &Model) -> Self {
        self.rates = parts.rates(model.weights().layout(), model.compute());
        self
    }

    /// Also tests after every epoch, for curves. Nothing is chosen by it.
    pub fn with_test_every_epoch(mut self, yes: bool) -> Self {
        self.test_every_epoch = yes;
        self
    }

    /// Writes what the model says in the test at the end, picture by picture, into a file; see [`crate::predictions`].
    pub fn with_predictions(mut self, path: &'a Path) -> Self {
        self.predictions = Some(path);
        self
    }

    /// The state before the first step.
    pub fn start(&self) -> Result<FitState, EngineError> {
        let now = self.run.clock.now();
        Ok(FitState {
            epoch: 0,
            step: 0,
            optimizer: Optimizer::new(&self.settings.optimizer)?.with_rates(self.rates.clone()),
            valid_taken: 0,
            metrics: Metrics::new(&self.settings.title, self.settings.logger_freq, now),
            current: EpochMetrics::default(),
            skipped_in_row: 0,
            best: None,
            finished_early: None,
            arch_steps: BTreeMap::new(),
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

    /// Restores what the run kept of this training, and logs where it goes on: `Some(true)` if it had ended.
    fn resume(
        &mut self,
        state: &mut FitState,
        model: &mut Model,
    ) -> Result<Option<bool>, EngineError> {
        let scope = self.path.to_string();
        let Some((snapshot, finished)) = self.run.checkpoints.latest(&scope)? else {
            return Ok(None);
        };
        state.restore(&snapshot, model)?;
        // A training that ended has no use for its hooks' memory.
        if !finished {
            for i in 0..self.hooks.len() {
                self.restore_hook(i, snapshot.part(&format!("hook{i}")), state, model)?;
            }
            let title = &self.settings.title;
            let log = self.run.log(LogPath::new("resumed"));
            log.emit(
                values!(log.path().join(title).join(state.epoch).join(state.step),
                "phase" => title.clone(), "epoch" => state.epoch, "step" => state.step),
            )?;
        }
        Ok(Some(finished))
    }

    /// Restores what the training remembered of a hook.
    fn restore_hook(
        &mut self,
        i: usize,
        mut memory: Snapshot,
        state: &mut FitState,
        model: &Model,
    ) -> Result<(), EngineError> {
        let hook = &mut self.hooks[i];
        state.arch_steps.remove(&i);
        // A hook may keep an optimizer of its own under that name.
        if self.settings.alpha_optimizer.is_some()
            && memory.names().contains(OPTIMIZER)
            && !hook.state()?.names().contains(OPTIMIZER)
        {
            let mut arch_step = ArchStep::new(self.settings)?;
            arch_step.load(&memory, model)?;
            state.arch_steps.insert(i, arch_step);
            memory.remove(OPTIMIZER);
        }
        hook.restore(&memory, model)
    }

    /// What the training remembers of a hook.
    fn hook_memory(&mut self, i: usize, state: &FitState) -> Result<Snapshot, EngineError> {
        let mut memory = self.hooks[i].state()?;
        if let Some(arch_step) = state.arch_steps.get(&i) {
            if memory.names().contains(OPTIMIZER) {
                return Err(EngineError::Internal(format!(
                    "a hook calls Step::move_arch and names a value of its own `{OPTIMIZER}` in TrainerHooks::memory; give \
                     the value another name"
                )));
            }
            arch_step.save(&mut memory);
        }
        Ok(memory)
    }

    /// Keeps the state of this training.
    fn keep(&mut self, state: &FitState, model: &Model, finished: bool) -> Result<(), EngineError> {
        self.check_weights(state, model)?;
        let mut snapshot = state.snapshot(model)?;
        for i in 0..self.hooks.len() {
            snapshot.put(&format!("hook{i}"), self.hook_memory(i, state)?);
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
    fn undo(&mut self, state: &FitState, model: &Model) -> Result<Option<Undo>, EngineError> {
        if self.settings.on_nan == settings::OnNan::Stop {
            return Ok(None);
        }
        let hooks = self.hooks.iter_mut().map(|hook| hook.state());
        Ok(Some(Undo {
            model: model.clone(),
            optimizer: state.optimizer.clone(),
            arch_steps: state.arch_steps.clone(),
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
        let epochs = self.settings.epochs;
        let log = self.run.log(self.path.clone());
        let schedule = self.schedule(loaders)?;
        let mut hooks = self.hooks.iter_mut();
        hooks.try_for_each(|hook| hook.memory().check())?;
        self.begin(model, loaders, &log)?;
        self.each(state, model, loaders, &log, |hook, fit| hook.pre_fit(fit))?;
        if self.resume(state, model)? == Some(true) {
            return log.progress(Progress::End);
        }
        let mut resumed = state.step > 0;

        while state.epoch < epochs && state.finished_early.is_none() {
            let (epoch, lr) = (state.epoch, schedule.lr(state.epoch));
            let log = log.at("epochs").at(epoch);
            if state.step == 0 || resumed {
                resumed = false;
                self.each(state, model, loaders, &log, |hook, fit| hook.pre_epoch(fit))?;
            }
            self.train(state, model, loaders, lr, &log)?;
            self.check_weights(state, model)?;
            let ended = self.end_epoch(state, model, loaders, &log);
            if matches!(ended, Err(EngineError::Stopped)) {
                // The epoch's steps are done: only its validation is to be done again.
                self.keep(state, model, false)?;
            }
            ended?;
            self.each(state, model, loaders, &log, |hook, fit| {
                hook.post_epoch(fit)
            })?;
            state.epoch += 1;
            state.step = 0;
            if let Some(reason) = &state.finished_early {
                let done = epoch + 1;
                log.warn(format!("finished early after epoch {done}: {reason}"))?;
            }
            self.keep(state, model, false)?;
        }

        if epochs > 0
            && let Some(test) = &loaders.test
        {
            let measured = self.final_test(state, model, test, &log.at("test"))?;
            state.metrics.run_metrics.test_metrics = Some(Box::new(measured));
        }
        state.metrics.run_metrics.end_time = self.run.clock.now();
        self.each(state, model, loaders, &log, |hook, fit| hook.post_fit(fit))?;
        self.log_end(state)?;
        self.keep(state, model, true)?;
        log.progress(Progress::End)
    }

    /// The learning rates of a training that has something to train on.
    fn schedule(&self, loaders: &Loaders) -> Result<Schedule, EngineError> {
        let settings = self.settings;
        if loaders.train.n_batches() == 0 && settings.epochs > 0 {
            return Err(EngineError::setting(
                "loader",
                format!(
                    "{} has no training batch; load_train, max_batches and val_ratio decide how many there are",
                    settings.title
                ),
            ));
        }
        Schedule::new(
            &settings.lr_schedule,
            settings.optimizer.lr,
            settings.epochs,
        )
    }

    /// Logs what is trained, and how.
    fn begin(&self, model: &Model, loaders: &Loaders, log: &Log<'_>) -> Result<(), EngineError> {
        self.log_start(model, loaders)?;
        log.progress(Progress::Begin {
            title: self.settings.title.clone(),
            epochs: self.settings.epochs as u64,
            steps: loaders.train.n_batches() as u64,
        })
    }

    /// Validates the model after an epoch's steps, remembers it if it is the best so far, and adds the epoch to the
    /// metrics.
    fn end_epoch(
        &self,
        state: &mut FitState,
        model: &Model,
        loaders: &Loaders,
        log: &Log<'_>,
    ) -> Result<(), EngineError> {
        let epoch = state.epoch;
        let mut done = state.current.clone();
        if self.is_validated(epoch)
            && let Some(valid) = &loaders.valid
        {
            let title = &self.settings.validation.title;
            let val = self.measure(state, model, valid, title, &log.at("val"))?;
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
        if self.test_every_epoch
            && epoch + 1 < self.settings.epochs
            && let Some(test) = &loaders.test
        {
            self.measure(state, model, test, "test", &log.at("test"))?;
        }
        // Not before: whoever stops while something is measured measures again.
        state.current = EpochMetrics::default();
        state.metrics.run_metrics.epochs_metrics.push(done);
        state.metrics.run_metrics.epoch = epoch + 1;
        state.metrics.run_metrics.end_time = self.run.clock.now();
        Ok(())
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
        let objective = Objective::of(settings);
        let mut valid = ValidCycle::from(loaders, state.valid_taken);
        if state.step == 0 {
            let now = run.clock.now();
            state.current = EpochMetrics {
                index: epoch,
                start_time: now,
                end_time: now,
                start_lr: lr,
                end_lr: lr,
                ..EpochMetrics::default()
            };
        }
        let mut before = run.clock.now();
        let mut since_kept = 0;
        let wants_arch = self.hooks.iter().any(|hook| hook.wants_arch_grads());
        let place = self.path.clone();
        let key = run.key("train").with(&settings.title).with(epoch);

        for batch in loaders.train.epoch_from(epoch, state.step) {
            let batch = batch?;
            let waited = run.clock.now() - before;
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
                arch_steps: &mut state.arch_steps,
                hook: 0,
                key: key.with(state.step),
            };
            let moved = self.step(&mut step, &objective, drop_path, wants_arch);
            state.valid_taken = valid.taken;
            match (moved, undo) {
                (Ok(outcome), _) => {
                    state.skipped_in_row = 0;
                    state.current.data_time.update(waited, 1);
                    self.note(state, &batch, &outcome, is_logged, before, log)?;
                }
                (Err(error), Some(undo)) => {
                    self.skip(state, model, error, undo, &step_log)?;
                    state.current.end_time = run.clock.now();
                }
                (Err(error), None) => return Err(error),
            }
            state.step += 1;
            since_kept += 1;
            let stops = run.stop.is_raised();
            if stops || run.checkpoints.is_due(since_kept) {
                self.keep(state, model, false)?;
                since_kept = 0;
            }
            if stops {
                self.log_train(&state.current, model, log)?;
                return Err(EngineError::Stopped);
            }
            before = run.clock.now();
        }
        self.log_train(&state.current, model, log)
    }

    /// Undoes a step that met a number that is not finite, unless too many in a row were undone already. Other errors stay
    /// errors.
    fn skip(
        &mut self,
        state: &mut FitState,
        model: &mut Model,
        error: EngineError,
        undo: Undo,
        log: &Log<'_>,
    ) -> Result<(), EngineError> {
        let EngineError::NonFinite {
            what,
            phase,
            epoch,
            step,
        } = error
        else {
            return Err(error);
        };
        if state.skipped_in_row == MOST_SKIPPED {
            return Err(EngineError::NonFinite {
                what: format!("{what}, after {MOST_SKIPPED} skipped steps in a row,"),
                phase,
                epoch,
                step,
            });
        }
        state.skipped_in_row += 1;
        state.current.skipped += 1;
        *model = undo.model;
        state.optimizer = undo.optimizer;
        state.arch_steps = undo.arch_steps;
        for (hook, memory) in self.hooks.iter_mut().zip(&undo.hooks) {
            hook.restore(memory, model)?;
        }
        log.emit(values!(log.path().clone(), "skipped" => what))
    }

    /// The test at the end, and what the model said in it where somebody wants to know. The file is there before the
    /// checkpoint after which the test is not repeated.
    fn final_test(
        &self,
        state: &FitState,
        model: &Model,
        loader: &Loader,
        log: &Log<'_>,
    ) -> Result<Metrics, EngineError> {
        let Some(path) = self.predictions else {
            return self.measure(state, model, loader, "test", log);
        };
        let mut said = Predictions::of(loader);
        let mut see = |logits: &Logits, labels: &[i64]| said.take(logits, labels);
        let metrics = self.measure_and_see(state, model, loader, "test", log, &mut see)?;
        said.write(self.run, path)?;
        Ok(metrics)
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
        self.measure_and_see(state, model, loader, title, log, &mut |_, _| {})
    }

    /// The same; `see` gets the logits and the labels of each batch.
    fn measure_and_see(
        &self,
        state: &FitState,
        model: &Model,
        loader: &Loader,
        title: &str,
        log: &Log<'_>,
        see: &mut dyn FnMut(&Logits, &[i64]),
    ) -> Result<Metrics, EngineError> {
        let (validation, run) = (&self.settings.validation, self.run);
        let metrics = measure_and_see(model, loader, validation, title, run, log, see)?;
        if let Some(result) = metrics.last() {
            log.values(results(
                model.desc().n_classes,
                [result.top1.avg, result.top5.avg, result.loss.avg],
                vec![("duration", json(result.duration()))],
            ))?;
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
        for (i, hook) in self.hooks.iter_mut().enumerate() {
            step.hook = i;
            hook.pre_step(step)?;
        }
        let outcome = step.move_weights(objective, drop_path, wants_arch)?;
        if self.settings.on_nan == settings::OnNan::Skip && !step.model.weights().is_finite() {
            return Err(step.non_finite("a weight"));
        }
        for (i, hook) in self.hooks.iter_mut().enumerate() {
            step.hook = i;
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
            log.values(results(
                outcome.logits.classes,
                [current.top1.last, current.top5.last, current.loss.last],
                vec![
                    ("grad_norm", json(outcome.grad_norm)),
                    ("step_time", json(now - before)),
                ],
            ))?;
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
}
