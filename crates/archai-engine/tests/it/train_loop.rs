//! The training loop: what it does in which order, what it logs, how it ends.

use std::sync::{Arc, Mutex};

use archai_data::{Batch, rng::Key};
use archai_engine::{
    Compute, EngineError, Model, Objective, OpRegistry, Precision,
    finalize::{Finalizers, RandomFinalizers},
    model::ModelOptions,
    run::{NoClock, Run, StopFlag},
    trainer::{ArchTrainer, Fit, Outcome, Step, TrainerHooks},
};
use archai_spec::desc::{DartsModelDescBuilder, build};
use archai_spec::event::{Event, LogPath, Progress};
use archai_spec::settings;

use crate::train_support::{Recorded, loaders, model_settings, quiet, trainer_settings};

fn supernet(precision: Precision) -> Model {
    let registry = OpRegistry::builtin();
    let desc = build(
        &DartsModelDescBuilder,
        &model_settings(2, 2),
        None,
        false,
        registry.catalog(),
    )
    .expect("description")
    .desc;
    let options = ModelOptions {
        compute: Compute::cpu().with_precision(precision),
        seed: 2,
        ..Default::default()
    };
    Model::compile(&desc, &registry, &options).expect("model")
}

fn parent() -> LogPath {
    LogPath::new("arch_search")
}

#[test]
fn it_learns_validates_tests_and_logs() {
    let (events, stop) = (Recorded::default(), StopFlag::new());
    let run = Run::new(&events, &NoClock, &stop, 2);
    let settings = trainer_settings(6);
    let mut model = supernet(Precision::F32);
    let fitted = ArchTrainer::new(&settings, run, &parent(), &mut [])
        .fit(&mut model, &loaders(64, 4))
        .expect("training");

    let epochs = &fitted.metrics.run_metrics.epochs_metrics;
    assert_eq!(epochs.len(), 6);
    let [first, last] = [0, 5].map(|i| epochs[i].loss.avg.expect("steps were done"));
    assert!(last < 0.7 * first, "{first} → {last}");
    assert_eq!(
        (
            epochs[0].top1.cnt,
            epochs[0].step,
            fitted.metrics.global_step
        ),
        (32, 8, 48)
    );
    let best = fitted.metrics.best();
    assert!(
        best.val.is_some() && best.test.is_some_and(|t| t > 0.4),
        "{best:?}"
    );
    assert_eq!(fitted.best.as_ref().map(|b| (b.epoch, b.top1)), best.val);

    for (path, keys) in [
        (
            "arch_search/arch_train__init__",
            vec![
                "epochs",
                "train_batches",
                "parameters",
                "parameters_with_aux",
                "alphas",
            ],
        ),
        (
            "arch_search/arch_train/epochs/0/steps/3",
            vec!["top1", "loss", "step_time"],
        ),
        (
            "arch_search/arch_train/epochs/2/train",
            vec![
                "top1",
                "loss",
                "duration",
                "step_time",
                "data_time",
                "start_lr",
                "end_lr",
                "images_per_s",
            ],
        ),
        (
            "arch_search/arch_train/epochs/2/val",
            vec!["top1", "loss", "duration"],
        ),
        (
            "arch_search/arch_train/test",
            vec!["top1", "loss", "duration"],
        ),
        (
            "arch_search/arch_train/timings",
            vec!["epoch", "step", "run"],
        ),
        ("arch_search/arch_train/best_train", vec!["epoch", "top1"]),
        ("arch_search/arch_train/best_val", vec!["epoch", "top1"]),
        ("arch_search/arch_train/best_test", vec!["epoch", "top1"]),
    ] {
        let values = events
            .at(path)
            .unwrap_or_else(|| panic!("nothing was logged at {path}"));
        for key in keys {
            assert!(
                values.iter().any(|(name, _)| name == key),
                "{path} has no {key}: {values:?}"
            );
            assert!(
                values.iter().all(|(name, _)| name != "top5"),
                "of four classes the right one is always among five"
            );
        }
    }
    let steps = events
        .events()
        .iter()
        .filter(|e| matches!(e, Event::Progress(Progress::Step { .. })))
        .count();
    assert_eq!(steps, 48);
}

#[test]
fn the_metrics_have_the_published_layout() {
    let stop = StopFlag::new();
    let settings = trainer_settings(1);
    let mut model = supernet(Precision::F32);
    let fitted = ArchTrainer::new(&settings, quiet(&stop), &parent(), &mut [])
        .fit(&mut model, &loaders(16, 8))
        .expect("training");
    let json = serde_json::to_value(&fitted.metrics).expect("JSON");
    let keys = |v: &serde_json::Value| -> Vec<String> {
        v.as_object().expect("a section").keys().cloned().collect()
    };
    assert_eq!(
        keys(&json),
        ["title", "logger_freq", "global_step", "run_metrics"]
    );
    let run = &json["run_metrics"];
    assert_eq!(
        keys(run),
        [
            "start_time",
            "end_time",
            "epoch",
            "epochs_metrics",
            "test_metrics"
        ]
    );
    let epoch = &run["epochs_metrics"][0];
    let expected = [
        "index",
        "top1",
        "top5",
        "loss",
        "step_time",
        "data_time",
        "start_time",
        "end_time",
        "step",
        "start_lr",
        "end_lr",
        "val_metrics",
    ];
    assert_eq!(keys(epoch), expected);
    assert_eq!(keys(&epoch["top1"]), ["avg", "sum", "cnt", "last"]);
    assert_eq!(keys(&epoch["val_metrics"]), keys(&json));
    assert_eq!(keys(&run["test_metrics"]), keys(&json));
}

fn state(model: &Model) -> Vec<(String, Vec<u64>)> {
    let arch = model.arch().named();
    model
        .named_state()
        .into_iter()
        .chain(arch)
        .map(|t| (t.name, t.values.iter().map(|v| v.to_bits()).collect()))
        .collect()
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let once = || {
        let stop = StopFlag::new();
        let mut settings = trainer_settings(2);
        settings.drop_path_prob = 0.3;
        let mut model = supernet(Precision::F32);
        let fitted = ArchTrainer::new(&settings, quiet(&stop), &parent(), &mut [])
            .fit(&mut model, &loaders(32, 8))
            .expect("training");
        (
            state(&model),
            serde_json::to_string(&fitted.metrics).expect("JSON"),
        )
    };
    assert!(once() == once());
}

/// Writes down what it is called for.
struct Calls(&'static str, Arc<Mutex<Vec<String>>>);

impl Calls {
    fn note(&self, what: &str) -> Result<(), EngineError> {
        self.1
            .lock()
            .expect("no panic holds the lock")
            .push(format!("{}.{what}", self.0));
        Ok(())
    }
}

impl TrainerHooks for Calls {
    fn pre_fit(&mut self, _: &mut Fit<'_>) -> Result<(), EngineError> {
        self.note("pre_fit")
    }
    fn post_fit(&mut self, _: &mut Fit<'_>) -> Result<(), EngineError> {
        self.note("post_fit")
    }
    fn pre_epoch(&mut self, _: &mut Fit<'_>) -> Result<(), EngineError> {
        self.note("pre_epoch")
    }
    fn post_epoch(&mut self, _: &mut Fit<'_>) -> Result<(), EngineError> {
        self.note("post_epoch")
    }
    fn pre_step(&mut self, _: &mut Step<'_>) -> Result<(), EngineError> {
        self.note("pre_step")
    }
    fn post_step(&mut self, _: &mut Step<'_>, _: &Outcome) -> Result<(), EngineError> {
        self.note("post_step")
    }
}

#[test]
fn hooks_run_in_the_order_of_their_list() {
    let (calls, stop) = (Arc::default(), StopFlag::new());
    let mut hooks: Vec<Box<dyn TrainerHooks>> = vec![
        Box::new(Calls("a", Arc::clone(&calls))),
        Box::new(Calls("b", Arc::clone(&calls))),
    ];
    let settings = trainer_settings(1);
    ArchTrainer::new(&settings, quiet(&stop), &parent(), &mut hooks)
        .fit(&mut supernet(Precision::F32), &loaders(16, 4))
        .expect("training");
    let once = [
        "pre_fit",
        "pre_epoch",
        "pre_step",
        "post_step",
        "pre_step",
        "post_step",
        "post_epoch",
        "post_fit",
    ];
    let expected: Vec<String> = once
        .iter()
        .flat_map(|what| [format!("a.{what}"), format!("b.{what}")])
        .collect();
    assert_eq!(*calls.lock().unwrap(), expected);
}

/// Spoils the weights before one step.
struct Spoil {
    epoch: usize,
    step: usize,
}

impl TrainerHooks for Spoil {
    fn pre_step(&mut self, step: &mut Step<'_>) -> Result<(), EngineError> {
        if (step.epoch, step.step) == (self.epoch, self.step) {
            step.model.set_weights(step.model.weights().scale(f64::NAN));
        }
        Ok(())
    }
}

#[test]
fn a_loss_that_is_no_number_ends_the_training_with_its_place() {
    let stop = StopFlag::new();
    let settings = trainer_settings(2);
    let mut hooks: Vec<Box<dyn TrainerHooks>> = vec![Box::new(Spoil { epoch: 1, step: 1 })];
    let error = ArchTrainer::new(&settings, quiet(&stop), &parent(), &mut hooks)
        .fit(&mut supernet(Precision::F32), &loaders(16, 4))
        .expect_err("an error");
    assert!(
        matches!(&error, EngineError::NonFinite { phase, epoch: 1, step: 1, .. } if phase == "arch_search/arch_train"),
        "{error}"
    );
}

/// Asks to stop after one step.
struct StopAt(StopFlag, usize);

impl TrainerHooks for StopAt {
    fn post_step(&mut self, step: &mut Step<'_>, _: &Outcome) -> Result<(), EngineError> {
        if step.step == self.1 {
            self.0.raise();
        }
        Ok(())
    }
}

#[test]
fn a_stopped_training_goes_on_from_its_state_as_if_nothing_had_happened() {
    let mut settings = trainer_settings(2);
    settings.drop_path_prob = 0.3;
    let data = loaders(48, 8);
    let mut straight = supernet(Precision::F32);
    let never = StopFlag::new();
    ArchTrainer::new(&settings, quiet(&never), &parent(), &mut [])
        .fit(&mut straight, &data)
        .expect("training");

    let stop = StopFlag::new();
    let mut model = supernet(Precision::F32);
    let mut hooks: Vec<Box<dyn TrainerHooks>> = vec![Box::new(StopAt(stop.clone(), 1))];
    let mut trainer = ArchTrainer::new(&settings, quiet(&stop), &parent(), &mut hooks);
    let mut fit = trainer.start().expect("state");
    let stopped = trainer.fit_from(&mut fit, &mut model, &data);
    assert!(matches!(stopped, Err(EngineError::Stopped)));
    assert_eq!((fit.epoch, fit.step, fit.current.step), (0, 2, 2));

    ArchTrainer::new(&settings, quiet(&never), &parent(), &mut [])
        .fit_from(&mut fit, &mut model, &data)
        .expect("the rest");
    assert_eq!(fit.metrics.global_step, 6);
    assert!(state(&model) == state(&straight));
}

/// Asks for validation batches.
struct Wants(Arc<Mutex<Vec<Batch>>>);

impl TrainerHooks for Wants {
    fn pre_step(&mut self, step: &mut Step<'_>) -> Result<(), EngineError> {
        let batch = step.next_valid()?;
        self.0.lock().expect("no panic holds the lock").push(batch);
        Ok(())
    }
}

#[test]
fn validation_batches_go_round_and_an_empty_split_says_what_to_set() {
    let (seen, stop) = (Arc::default(), StopFlag::new());
    let settings = trainer_settings(2);
    let mut hooks: Vec<Box<dyn TrainerHooks>> = vec![Box::new(Wants(Arc::clone(&seen)))];
    let mut data = loaders(24, 4);
    // Three training batches an epoch, but two validation batches a pass.
    data.valid_arch = data.valid_arch.map(|l| l.with_items((12..20).collect()));
    ArchTrainer::new(&settings, quiet(&stop), &parent(), &mut hooks)
        .fit(&mut supernet(Precision::F32), &data)
        .expect("training");
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    assert_eq!(seen.len(), 6);
    let sum = |batches: &[Batch]| -> f64 {
        batches
            .iter()
            .flat_map(|b| &b.images)
            .map(|&v| f64::from(v))
            .sum()
    };
    // Each pass shows all images once.
    assert!((sum(&seen[0..2]) - sum(&seen[2..4])).abs() < 1e-3);
    assert!((sum(&seen[0..2]) - sum(&seen[4..6])).abs() < 1e-3);

    data.valid_arch = None;
    let mut hooks: Vec<Box<dyn TrainerHooks>> = vec![Box::new(Wants(Arc::default()))];
    let error = ArchTrainer::new(&settings, quiet(&stop), &parent(), &mut hooks)
        .fit(&mut supernet(Precision::F32), &data)
        .expect_err("an error");
    assert!(
        error.to_string().contains("nas.search.loader.val_ratio"),
        "{error}"
    );
}

#[test]
fn chunks_add_up_to_the_gradient_of_the_batch() {
    // Both halves of the batch are the same images, so that the norms see the same statistics in each chunk.
    let half = loaders(16, 8).train.batch_at(0, 0).expect("a batch");
    let [n, c, h, w] = half.shape;
    let images = [half.images.clone(), half.images.clone()].concat();
    let labels = [half.labels.clone(), half.labels.clone()].concat();
    let both = Batch::new(images, labels, [2 * n, c, h, w]);
    let model = supernet(Precision::F64);
    let grads = |chunks: usize| {
        let objective = Objective {
            chunks,
            l1_alphas: 0.01,
            ..Objective::default()
        };
        model.grads(&both, &objective).expect("gradients")
    };
    let (one, two) = (grads(1), grads(2));
    assert!((one.loss - two.loss).abs() < 1e-12);
    assert!(one.weights.add_scaled(&two.weights, -1.0).norm() < 1e-10 * one.weights.norm());
    assert!(one.arch.add_scaled(&two.arch, -1.0).norm() < 1e-10 * one.arch.norm());
}

#[test]
fn random_finalizers_draw_distinct_ops_that_exist() {
    let model = supernet(Precision::F32);
    let found = |seed: u64| {
        RandomFinalizers::new(Key::new(seed))
            .finalize_model(&model)
            .expect("a description")
    };
    assert_eq!(found(1), found(1));
    assert!(
        (2..12).any(|seed| found(seed) != found(1)),
        "every seed draws the same"
    );
    for seed in 0..20 {
        let found = found(seed);
        assert!(!found.has_alphas());
        for (c, cell) in found.cells.iter().enumerate() {
            assert_eq!(
                cell.nodes,
                found.cells[cell.alphas_from]
                    .nodes
                    .clone()
                    .into_iter()
                    .zip(&cell.nodes)
                    .map(|(mut own, node)| {
                        // Cells that share an architecture differ in channels alone.
                        for (a, b) in own.edges.iter_mut().zip(&node.edges) {
                            (a.op.ch_in, a.op.ch_out) = (b.op.ch_in, b.op.ch_out);
                        }
                        own
                    })
                    .collect::<Vec<_>>(),
                "cell {c}"
            );
            for node in &cell.nodes {
                assert_eq!(node.edges.len(), 2);
                assert!(node.edges.iter().all(|e| e.op.name != "none"));
                assert_ne!(node.edges[0], node.edges[1]);
            }
        }
    }
}

#[test]
fn optimizers_and_schedules_refuse_what_contradicts_itself() {
    let check = |change: fn(&mut settings::Trainer), expect: &str| {
        let stop = StopFlag::new();
        let mut settings = trainer_settings(1);
        change(&mut settings);
        let error = ArchTrainer::new(&settings, quiet(&stop), &parent(), &mut [])
            .fit(&mut supernet(Precision::F32), &loaders(8, 4))
            .err()
            .map(|e| e.to_string())
            .unwrap_or_default();
        assert!(error.contains(expect), "{error}");
    };
    check(
        |s| s.optimizer.betas = Some([0.5, 0.9]),
        "`betas` does not belong to type `sgd`",
    );
    check(
        |s| (s.optimizer.momentum, s.optimizer.nesterov) = (Some(0.0), Some(true)),
        "needs a `momentum`",
    );
    check(
        |s| s.lr_schedule.gamma = Some(0.1),
        "`gamma` does not belong to type `cosine`",
    );
    check(
        |s| {
            s.lr_schedule = settings::LrSchedule {
                kind: settings::ScheduleKind::MultiStep,
                min_lr: None,
                ..s.lr_schedule.clone()
            }
        },
        "needs `milestones`",
    );
}
