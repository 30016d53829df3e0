//! Numbers that are not finite: they stop a training or skip a step, and nothing of them stays.

use std::sync::atomic::{AtomicU64, Ordering};

use archai_engine::checkpoint::{CheckpointStore, Checkpoints, Policy};
use archai_engine::metrics::Metrics;
use archai_engine::optim::Optimizer;
use archai_engine::run::{Clock, NoClock, Run, StopFlag};
use archai_engine::testing::FaultyDisk;
use archai_engine::trainer::{
    ArchTrainer, FitState, MOST_SKIPPED, Memory, Outcome, Step, TrainerHooks,
};
use archai_engine::{ArchParams, Compute, EngineError, Model, ModelOptions, OpRegistry, Precision};
use archai_spec::desc::{DartsModelDescBuilder, build};
use archai_spec::event::{Event, LogPath};
use archai_spec::settings::{self, OnNan};
use serde_json::{Value, json};

use crate::train_support::{Recorded, loaders, model_settings, quiet, trainer_settings};

fn supernet() -> Model {
    let registry = OpRegistry::builtin();
    let settings = model_settings(1, 2);
    let built = build(
        &DartsModelDescBuilder,
        &settings,
        None,
        false,
        registry.catalog(),
    );
    let options = ModelOptions {
        compute: Compute::cpu().with_precision(Precision::F32),
        seed: 2,
        ..ModelOptions::default()
    };
    Model::compile(&built.expect("description").desc, &registry, &options).expect("model")
}

/// What happens before a step.
enum Plant {
    /// The weights become NaN.
    NanWeights,
    /// Nothing but the error.
    Refuse,
}

/// Does something at steps that a test chooses.
struct At<F>(F, Plant);

impl<F: Fn(usize, usize) -> bool> TrainerHooks for At<F> {
    fn pre_step(&mut self, step: &mut Step<'_>) -> Result<(), EngineError> {
        if !(self.0)(step.epoch, step.step) {
            return Ok(());
        }
        match self.1 {
            Plant::NanWeights => {
                step.model.set_weights(step.model.weights().scale(f64::NAN));
                Ok(())
            }
            Plant::Refuse => Err(step.non_finite("planted")),
        }
    }
}

/// Moves the architecture on the training batch by the trainer's Adam.
struct MovesArch;

impl TrainerHooks for MovesArch {
    fn pre_step(&mut self, step: &mut Step<'_>) -> Result<(), EngineError> {
        let (_, grads) = step.model.arch_grads(step.batch, &step.objective())?;
        step.move_arch(&grads)
    }
}

/// Moves the architecture on the training batch by an Adam of its own, whose moments it remembers.
struct Alphas(Optimizer<ArchParams>);

impl Alphas {
    fn new() -> Alphas {
        let settings = trainer_settings(1).alpha_optimizer.expect("settings");
        Alphas(Optimizer::new(&settings).expect("an optimizer"))
    }
}

impl TrainerHooks for Alphas {
    fn memory(&mut self) -> Memory<'_> {
        Memory::none().with("adam", &mut self.0)
    }
    fn pre_step(&mut self, step: &mut Step<'_>) -> Result<(), EngineError> {
        let (_, grads) = step.model.arch_grads(step.batch, &step.objective())?;
        let arch = self.0.step(step.model.arch(), &grads, 0.1);
        step.set_arch(arch)
    }
}

fn parent() -> LogPath {
    LogPath::new("arch_search")
}

fn with(on_nan: OnNan, epochs: usize) -> settings::Trainer {
    settings::Trainer {
        on_nan,
        ..trainer_settings(epochs)
    }
}

/// Four steps an epoch.
fn train(
    settings: &settings::Trainer,
    mut hooks: Vec<Box<dyn TrainerHooks>>,
    run: Run<'_>,
) -> (FitState, Model, Result<(), EngineError>) {
    let mut model = supernet();
    let mut trainer = ArchTrainer::new(settings, run, &parent(), &mut hooks);
    let mut state = trainer.start().expect("a state");
    let result = trainer.fit_from(&mut state, &mut model, &loaders(32, 4));
    (state, model, result)
}

fn assert_non_finite(result: Result<(), EngineError>, what: &str, place: (usize, usize)) {
    match result {
        Err(EngineError::NonFinite {
            what: w,
            phase,
            epoch,
            step,
        }) => {
            assert!(w.starts_with(what), "{w}, expected {what}");
            assert_eq!(
                (phase.as_str(), epoch, step),
                ("arch_search/arch_train", place.0, place.1)
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn p10_a_planted_nan_stops_with_its_place() {
    let stop = StopFlag::new();
    let plant = |epoch, step| (epoch, step) == (1, 2);
    let hooks: Vec<Box<dyn TrainerHooks>> = vec![Box::new(At(plant, Plant::NanWeights))];
    let (state, _, result) = train(&with(OnNan::Stop, 2), hooks, quiet(&stop));
    let text = result.as_ref().expect_err("an error").to_string();
    assert_eq!(
        text,
        "loss is not finite in arch_search/arch_train, epoch 2, step 3: training cannot go on; a smaller learning rate or a tighter \
         grad_clip helps most often"
    );
    assert_non_finite(result, "loss", (1, 2));
    let best = state.best.expect("the best of epoch 0");
    assert_eq!(best.epoch, 0);
    assert!(best.model.weights().is_finite());
}

#[test]
fn p10_a_skipped_step_leaves_nothing_behind() {
    let stop = StopFlag::new();
    let at = |epoch, step| (epoch, step) == (0, 1) || (epoch, step) == (1, 3);
    let both: [fn() -> Box<dyn TrainerHooks>; 2] =
        [|| Box::new(Alphas::new()), || Box::new(MovesArch)];
    for alphas in both {
        skip_leaves_nothing(at, &stop, alphas);
    }
}

fn skip_leaves_nothing(
    at: fn(usize, usize) -> bool,
    stop: &StopFlag,
    alphas: fn() -> Box<dyn TrainerHooks>,
) {
    let trained = |plant: Plant| {
        let events = Recorded::default();
        let run = Run::new(&events, &NoClock, stop, 2);
        let hooks: Vec<Box<dyn TrainerHooks>> = vec![Box::new(At(at, plant)), alphas()];
        let (state, model, result) = train(&with(OnNan::Skip, 2), hooks, run);
        result.expect("a training");
        (state, model, events)
    };
    // NaN weights spoil the moments of the architecture's optimiser, too, before anybody notices.
    let (state, model, events) = trained(Plant::NanWeights);
    let (clean_state, clean, _) = trained(Plant::Refuse);
    assert!(model.weights().is_finite() && model.arch().is_finite());
    let numbers = |m: &Model| (m.named_state(), m.arch().to_host());
    assert_eq!(numbers(&model), numbers(&clean));
    assert_eq!(state.metrics, clean_state.metrics);

    let epochs = &state.metrics.run_metrics.epochs_metrics;
    let counts: Vec<_> = epochs.iter().map(|e| (e.step, e.skipped)).collect();
    assert_eq!(counts, [(3, 1), (3, 1)]);
    assert_eq!((state.metrics.global_step, state.metrics.skipped()), (6, 2));
    assert_eq!(epochs[0].loss.cnt, 12, "the skipped batch is not counted");
    let warning = state.metrics.skip_warning().expect("a warning");
    assert!(
        warning.starts_with("2 of the 8 steps of arch_train were skipped"),
        "{warning}"
    );
    let at = "arch_search/arch_train/epochs/0";
    assert_eq!(
        events.at(&format!("{at}/steps/1")),
        Some(vec![(
            "skipped".to_string(),
            Value::from("architecture parameters")
        )])
    );
    let said = events.events();
    let warns = |e: &&Event| matches!(e, Event::Message { text, .. } if text.contains("skipped"));
    assert_eq!(said.iter().filter(warns).count(), 2, "once an epoch");
}

/// A clock that moves on with every look.
struct Ticks(AtomicU64);

impl Clock for Ticks {
    fn now(&self) -> f64 {
        self.0.fetch_add(1, Ordering::Relaxed) as f64
    }
}

#[test]
fn an_epoch_whose_steps_were_all_skipped_measured_nothing() {
    let (stop, events, clock) = (
        StopFlag::new(),
        Recorded::default(),
        Ticks(AtomicU64::new(1_000)),
    );
    let run = Run::new(&events, &clock, &stop, 2);
    let hooks: Vec<Box<dyn TrainerHooks>> = vec![Box::new(At(|e, _| e == 1, Plant::NanWeights))];
    let (state, _, result) = train(&with(OnNan::Skip, 2), hooks, run);
    result.expect("a training");

    let last = state.metrics.last().expect("two epochs");
    assert_eq!((last.step, last.skipped, last.loss.cnt), (0, 4, 0));
    assert!(last.duration() > 0.0, "{}", last.duration());
    assert_eq!(
        (last.top1.avg, last.loss.avg, last.loss.last),
        (None, None, None)
    );
    let best = state
        .metrics
        .best()
        .train
        .expect("the first epoch measured something");
    assert_eq!(best.0, 0);

    let values = events.at("arch_search/arch_train/epochs/1/train");
    let values = values.expect("the epoch is in the log");
    let value = |key: &str| values.iter().find(|(name, _)| name == key).map(|(_, v)| v);
    for key in ["top1", "loss", "step_time", "images_per_s"] {
        assert_eq!(value(key), Some(&Value::Null), "{key}");
    }
    assert!(
        value("duration")
            .and_then(Value::as_f64)
            .is_some_and(|d| d > 0.0)
    );

    // Files say null, and are read back.
    let text = serde_saphyr::to_string(&state.metrics).expect("YAML");
    assert!(text.contains("avg: null"), "{text}");
    let read: Metrics = serde_saphyr::from_str(&text).expect("the same metrics");
    assert_eq!(read, state.metrics);
}

#[test]
fn p10_too_many_skipped_steps_in_a_row_stop() {
    let stop = StopFlag::new();
    // Nine in a row, one good step, and then no good one any more.
    let plant = |epoch, step| 4 * epoch + step != 9;
    let hooks: Vec<Box<dyn TrainerHooks>> = vec![Box::new(At(plant, Plant::NanWeights))];
    let (_, _, result) = train(&with(OnNan::Skip, 20), hooks, quiet(&stop));
    let last = 10 + MOST_SKIPPED;
    assert_non_finite(
        result,
        "loss, after 10 skipped steps in a row",
        (last / 4, last % 4),
    );
}

#[test]
fn p10_a_huge_learning_rate_never_reaches_a_checkpoint_or_the_best() {
    // 1e39 is infinite in 32 bits; 1e30 gives huge weights, whose loss is no number.
    for lr in [1e39, 1e30] {
        for on_nan in [OnNan::Stop, OnNan::Skip] {
            let (stop, disk) = (StopFlag::new(), FaultyDisk::new());
            let policy = Policy {
                every_steps: 1,
                every_seconds: 0.0,
                keep: 100,
            };
            let open = || {
                let mark = Box::new(|| Ok(Value::Null));
                CheckpointStore::open_on(&disk, "/run".as_ref(), policy, &NoClock, mark)
            };
            let (store, _) = open().expect("a store");
            let mut settings = with(on_nan, 20);
            settings.optimizer = serde_json::from_value(json!({
                "type": "sgd", "lr": lr, "decay": 0.0, "momentum": 0.0,
            }))
            .expect("settings");
            let run = quiet(&stop).with_checkpoints(&store);
            let (state, _, result) = train(&settings, Vec::new(), run);
            assert!(
                matches!(result, Err(EngineError::NonFinite { .. })),
                "{lr} {on_nan:?}"
            );
            assert!(
                state
                    .best
                    .is_none_or(|best| best.model.weights().is_finite())
            );
            let (store, found) = open().expect("a store");
            assert!(found.damaged.is_empty());
            let kept = store
                .latest("arch_search/arch_train")
                .expect("a store that can be read");
            for tensor in kept.iter().flat_map(|(state, _)| state.tensors("model")) {
                assert!(
                    tensor.values.iter().all(|v| v.is_finite()),
                    "{}",
                    tensor.name
                );
            }
        }
    }
}

/// Spoils the running statistics after the last step of an epoch: the weights are good, the model is not.
struct SpoilStatistics(usize);

impl TrainerHooks for SpoilStatistics {
    fn post_step(&mut self, step: &mut Step<'_>, _: &Outcome) -> Result<(), EngineError> {
        if (step.epoch, step.step) == (self.0, 3) {
            let mut state = step.model.named_state();
            for tensor in state.iter_mut().filter(|t| t.name.ends_with("running_var")) {
                tensor.values.fill(f64::NAN);
            }
            step.model.set_named_state(&state)?;
        }
        Ok(())
    }
}

#[test]
fn p10_a_model_that_measures_nan_is_never_the_best() {
    let stop = StopFlag::new();
    for (at, best) in [(0, None), (1, Some(0))] {
        let hooks = || -> Vec<Box<dyn TrainerHooks>> { vec![Box::new(SpoilStatistics(at))] };
        let (state, _, result) = train(&with(OnNan::Stop, 2), hooks(), quiet(&stop));
        assert_non_finite(result, "the loss of `search_val`", (at, 3));
        assert_eq!(state.best.map(|best| best.epoch), best);

        let (state, _, result) = train(&with(OnNan::Skip, at + 1), hooks(), quiet(&stop));
        result.expect("it goes on");
        assert_eq!(state.best.map(|best| best.epoch), best);
    }
}
