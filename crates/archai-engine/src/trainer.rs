//! The training loop. [`ArchTrainer::fit`] reads top to bottom; an algorithm joins in through [`TrainerHooks`]. Everything
//! that a training is at between two steps stands in [`FitState`] and the model; random draws are keyed by (seed, purpose,
//! epoch, step) and need no memory.

use archai_data::rng::Key;
use archai_data::{Batch, Batches, Loader, Loaders};
use archai_spec::event::{LogPath, Progress};
use archai_spec::{settings, values};

use crate::{
    arch::{ArchGrads, ArchParams},
    checkpoint::Snapshot,
    error::EngineError,
    metrics::{EpochMetrics, Meter, Metrics, accuracies},
    model::{Grads, Logits, Model, Objective, Regular, Want},
    optim::{Optimizer, Vector, clip_factor},
    params::ParamVec,
    run::{Log, Run},
    schedule::{Schedule, drop_path_prob},
};

/// What an algorithm does around the steps of a training. All methods do nothing by default; several hooks run in the
/// order of their list.
///
/// A training that is taken up in the middle calls `pre_fit` again, gives the hook back what it kept
/// ([`TrainerHooks::restore`]), and calls `pre_epoch` again for the epoch that it goes on with. **A hook that remembers
/// anything between steps (an optimiser's moments, a counter, a mean) must give it in [`TrainerHooks::state`] and take it
/// back in [`TrainerHooks::restore`]**; otherwise a training that was interrupted ends in other numbers, and nobody notices.
/// [`check_algorithm`](crate::testing::check_algorithm) does notice. Random draws need no memory: take them from
/// [`Step::draw`], whose keys hold epoch and step. A hook that is a plain value can keep all of itself:
///
/// ```
/// use archai_engine::checkpoint::Snapshot;
/// use archai_engine::trainer::{Outcome, Step, TrainerHooks};
/// use archai_engine::{EngineError, Model};
///
/// /// Ends a training whose loss stays far above its mean.
/// #[derive(Default)]
/// struct Patience { mean: f64, bad: usize }
///
/// impl TrainerHooks for Patience {
///     fn state(&self) -> Result<Snapshot, EngineError> {
///         let mut state = Snapshot::default();
///         state.set("all", &(self.mean, self.bad))?;
///         Ok(state)
///     }
///     fn restore(&mut self, state: &Snapshot, _: &Model) -> Result<(), EngineError> {
///         (self.mean, self.bad) = state.get("all")?;
///         Ok(())
///     }
///     fn post_step(&mut self, step: &mut Step<'_>, outcome: &Outcome) -> Result<(), EngineError> {
///         self.bad = if outcome.loss > 2.0 * self.mean { self.bad + 1 } else { 0 };
///         self.mean = 0.9 * self.mean + 0.1 * outcome.loss;
///         if self.bad > 20 { Err(step.non_finite("the mean of the loss")) } else { Ok(()) }
///     }
/// }
/// ```
pub trait TrainerHooks {
    /// What the hook remembers between steps; empty for hooks that remember nothing.
    fn state(&self) -> Result<Snapshot, EngineError> {
        Ok(Snapshot::default())
    }
    /// Takes back what [`TrainerHooks::state`] gave. State that nothing takes back is an error.
    fn restore(&mut self, state: &Snapshot, model: &Model) -> Result<(), EngineError> {
        let _ = model;
        match state.is_empty() {
            true => Ok(()),
            false => Err(EngineError::Config(
                "the checkpoint holds state of an algorithm's hook that this program does not take back".into(),
            )),
        }
    }

    /// Before the first epoch.
    fn pre_fit(&mut self, fit: &mut Fit<'_>) -> Result<(), EngineError> {
        let _ = fit;
        Ok(())
    }
    /// After the last epoch and the test.
    fn post_fit(&mut self, fit: &mut Fit<'_>) -> Result<(), EngineError> {
        let _ = fit;
        Ok(())
    }
    /// Before each epoch.
    fn pre_epoch(&mut self, fit: &mut Fit<'_>) -> Result<(), EngineError> {
        let _ = fit;
        Ok(())
    }
    /// After each epoch and its validation.
    fn post_epoch(&mut self, fit: &mut Fit<'_>) -> Result<(), EngineError> {
        let _ = fit;
        Ok(())
    }
    /// Whether the pass of the weights' step shall also give the gradient of the architecture parameters: for algorithms
    /// that train both on the same batch. It then stands in [`Outcome::arch_grads`].
    fn wants_arch_grads(&self) -> bool {
        false
    }
    /// Before each step of the weights: where DARTS moves the architecture.
    fn pre_step(&mut self, step: &mut Step<'_>) -> Result<(), EngineError> {
        let _ = step;
        Ok(())
    }
    /// After each step of the weights.
    fn post_step(&mut self, step: &mut Step<'_>, outcome: &Outcome) -> Result<(), EngineError> {
        let _ = (step, outcome);
        Ok(())
    }
}

/// The training as a hook sees it between epochs.
pub struct Fit<'a> {
    /// The model.
    pub model: &'a mut Model,
    /// The data.
    pub loaders: &'a Loaders,
    /// The training's settings.
    pub settings: &'a settings::Trainer,
    /// Epochs done before the present one.
    pub epoch: usize,
    /// What was measured so far.
    pub metrics: &'a Metrics,
    /// The log at `…/epochs/<epoch>` (before the first and after the last epoch: of the training).
    pub log: Log<'a>,
    /// What the run gives: clock, stop flag, seed.
    pub run: Run<'a>,
    finish: &'a mut Option<String>,
}

impl Fit<'_> {
    /// Ends the training after this epoch, with its test and all else that follows. `reason` is logged as a warning.
    pub fn finish_early(&mut self, reason: impl Into<String>) {
        *self.finish = Some(reason.into());
    }
}

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
    optimizer: &'a mut Optimizer<ParamVec>,
    valid: &'a mut ValidCycle,
    key: Key,
    place: &'a LogPath,
}

impl Step<'_> {
    /// The training loss without the auxiliary tower's: what the steps of an architecture look at.
    pub fn objective(&self) -> Objective {
        Objective {
            loss: self.settings.lossfn.clone(),
            aux_weight: 0.0,
            l1_alphas: self.settings.l1_alphas,
            chunks: self.settings.batch_chunks,
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
        let (_, grads) = self.model.weight_grads(
            self.batch,
            &self.objective(),
            Some(&self.draw("look_ahead")),
        )?;
        Ok(self.optimizer.direction(self.model.weights(), &grads))
    }

    /// A key for this step's random draws of one purpose.
    pub fn draw(&self, purpose: &str) -> Key {
        self.key.with(purpose)
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
    fn move_weights(
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
    /// ([`TrainerHooks::wants_arch_grads`]).
    pub arch_grads: Option<ArchGrads>,
}

/// The model that did best on validation data.
#[derive(Clone, Debug)]
pub struct BestModel {
    /// Epoch after which it was measured.
    pub epoch: usize,
    /// Its top-1 validation accuracy.
    pub top1: f64,
    /// The model.
    pub model: Model,
}

/// So many steps in a row may be skipped under [`settings::OnNan::Skip`]; the next one ends the training.
pub const MOST_SKIPPED: usize = 10;

/// What undoes a step.
struct Undo {
    model: Model,
    optimizer: Optimizer<ParamVec>,
    hooks: Vec<Snapshot>,
}

/// Everything that a training is at between two steps, apart from the model's own numbers.
#[derive(Clone, Debug)]
pub struct FitState {
    /// The present epoch.
    pub epoch: usize,
    /// Steps of the present epoch that are done.
    pub step: usize,
    /// The weights' optimiser.
    pub optimizer: Optimizer<ParamVec>,
    /// Validation batches that hooks have taken.
    pub valid_taken: u64,
    /// Finished epochs.
    pub metrics: Metrics,
    /// The present epoch so far.
    pub current: EpochMetrics,
    /// Steps in a row that were skipped up to here.
    pub skipped_in_row: usize,
    /// The best model on validation data, where there are any. Never chosen by test data.
    pub best: Option<BestModel>,
    /// Why a hook ended the training before its last epoch, where one did.
    pub finished_early: Option<String>,
}

impl FitState {
    /// The state and the model's numbers as plain data.
    fn snapshot(&self, model: &Model) -> Result<Snapshot, EngineError> {
        let FitState {
            epoch,
            step,
            optimizer,
            valid_taken,
            metrics,
            current,
            skipped_in_row,
            best,
            finished_early,
        } = self;
        let mut snapshot = Snapshot::default();
        snapshot.set("epoch", epoch)?;
        snapshot.set("step", step)?;
        snapshot.set("valid_taken", valid_taken)?;
        snapshot.set("metrics", metrics)?;
        snapshot.set("current", current)?;
        snapshot.set("skipped_in_row", skipped_in_row)?;
        snapshot.set("finished_early", finished_early)?;
        snapshot.set("best", &best.as_ref().map(|b| (b.epoch, b.top1)))?;
        snapshot.put_tensors("optimizer", optimizer.state());
        snapshot.put_tensors("model", model.named_state());
        snapshot.put_tensors("arch", model.arch().named());
        if let Some(best) = best {
            snapshot.put_tensors("best_model", best.model.named_state());
            snapshot.put_tensors("best_arch", best.model.arch().named());
        }
        Ok(snapshot)
    }

    /// Takes back what [`FitState::snapshot`] gave.
    fn restore(&mut self, snapshot: &Snapshot, model: &mut Model) -> Result<(), EngineError> {
        fn numbers(
            model: &mut Model,
            snapshot: &Snapshot,
            [state, arch]: [&str; 2],
        ) -> Result<(), EngineError> {
            model.set_named_state(&snapshot.tensors(state))?;
            let arch = model
                .arch()
                .with_named(&snapshot.tensors(arch), model.compute())?;
            model.set_arch(arch);
            Ok(())
        }
        numbers(model, snapshot, ["model", "arch"])?;
        self.epoch = snapshot.get("epoch")?;
        self.step = snapshot.get("step")?;
        self.valid_taken = snapshot.get("valid_taken")?;
        self.metrics = snapshot.get("metrics")?;
        self.current = snapshot.get("current")?;
        self.skipped_in_row = snapshot.get("skipped_in_row")?;
        self.finished_early = snapshot.get("finished_early")?;
        self.optimizer.set_state(
            &snapshot.tensors("optimizer"),
            model.weights(),
            model.compute(),
        )?;
        self.best = match snapshot.get::<Option<(usize, f64)>>("best")? {
            None => None,
            Some((epoch, top1)) => {
                let mut best = model.clone();
                numbers(&mut best, snapshot, ["best_model", "best_arch"])?;
                Some(BestModel {
                    epoch,
                    top1,
                    model: best,
                })
            }
        };
        Ok(())
    }
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

/// Measures a model in evaluation mode: one pass over `loader`, in the order of the data.
///
/// # Errors
/// Data that cannot be read, a request to stop, a sink that cannot keep an event.
pub fn measure(
    model: &Model,
    loader: &Loader,
    settings: &settings::Validation,
    title: &str,
    run: Run<'_>,
    log: &Log<'_>,
) -> Result<Metrics, EngineError> {
    let start = run.clock.now();
    let mut metrics = Metrics::new(title, settings.logger_freq, start);
    let mut pass = EpochMetrics {
        start_time: start,
        end_time: start,
        ..EpochMetrics::default()
    };
    let mut before = start;
    for batch in loader.epoch(0) {
        let batch = batch?;
        let (loss, logits) = evaluate(model, &batch, settings)?;
        let now = run.clock.now();
        if settings.logger_freq > 0 && pass.step.is_multiple_of(settings.logger_freq) {
            let [top1, top5] = accuracies(&logits, &batch.labels, [1, 5]);
            let log = log.at("steps").at(pass.step);
            log.emit(values!(log.path().clone(), "top1" => top1, "top5" => top5, "loss" => loss))?;
        }
        pass.update(&logits, &batch.labels, loss, now - before);
        before = now;
        log.progress(Progress::Validate {
            title: title.to_string(),
            done: pass.step as u64,
            total: loader.n_batches() as u64,
        })?;
        run.check_stop()?;
    }
    pass.end_time = run.clock.now();
    metrics.global_step = pass.step;
    metrics.run_metrics.end_time = pass.end_time;
    metrics.run_metrics.epoch = 1;
    metrics.run_metrics.epochs_metrics.push(pass);
    Ok(metrics)
}

/// Mean loss and logits of a batch, chunk by chunk.
pub(crate) fn evaluate(
    model: &Model,
    batch: &Batch,
    settings: &settings::Validation,
) -> Result<(f64, Logits), EngineError> {
    let [n, c, h, w] = batch.shape;
    let chunks = settings.batch_chunks.clamp(1, n.max(1));
    let (mut loss, mut all) = (0.0, Logits::default());
    for chunk in 0..chunks {
        let (start, end) = (chunk * n / chunks, (chunk + 1) * n / chunks);
        let part = Batch {
            images: batch.images[start * c * h * w..end * c * h * w].to_vec(),
            labels: batch.labels[start..end].to_vec(),
            shape: [end - start, c, h, w],
        };
        let (mean, logits) = model.evaluate(&part, &settings.lossfn)?;
        loss += mean * (end - start) as f64 / n as f64;
        all.classes = logits.classes;
        all.n += logits.n;
        all.values.extend(logits.values);
    }
    Ok((loss, all))
}

/// Validation batches in an endless row: pass after pass, each in its own order.
struct ValidCycle {
    loader: Option<Loader>,
    taken: u64,
    batches: Option<Batches>,
}

impl ValidCycle {
    fn next(&mut self) -> Result<Batch, EngineError> {
        let loader = self.loader.as_ref().filter(|loader| loader.n_batches() > 0).ok_or_else(|| {
            EngineError::Config(
                "the architecture is trained on validation data, but there are none; set nas.search.loader.val_ratio \
                 above 0 (0.5 in the paper)"
                    .to_string(),
            )
        })?;
        let batches = self
            .batches
            .get_or_insert_with(|| loader.cycle_from(self.taken));
        let batch = batches.next().ok_or_else(|| {
            EngineError::Config(
                "the validation batches ended, although they should go on for ever".to_string(),
            )
        })?;
        self.taken += 1;
        Ok(batch?)
    }
}

fn has_finite_loss(metrics: &Metrics) -> bool {
    metrics.last().is_none_or(|pass| pass.loss.avg.is_finite())
}

fn per_second(images: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        images as f64 / seconds
    } else {
        0.0
    }
}
