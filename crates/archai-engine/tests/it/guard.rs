//! What is watched while a supernet trains, and when it ends the training.

use archai_data::rng::Key;
use archai_engine::{
    ArchParams, Compute, EngineError, Model, Objective, OpRegistry, Precision,
    finalize::{DefaultFinalizers, Finalizers},
    guard::{Guard, hessian_eigenvalue, skip_warning},
    model::ModelOptions,
    run::{NoClock, Run, StopFlag},
    trainer::{ArchTrainer, Fit, TrainerHooks},
};
use archai_spec::desc::{DartsModelDescBuilder, ModelDesc, PRIMITIVES, build};
use archai_spec::event::LogPath;
use archai_spec::settings;
use serde_json::json;

use crate::support::{batch, compile, tiny_supernet};
use crate::train_support::{Recorded, loaders, model_settings, trainer_settings};

fn guard_settings(stop: serde_json::Value) -> settings::Guard {
    serde_json::from_value(json!({
        "hessian": true, "iterations": 2, "epsilon": 0.01, "stop": stop,
    }))
    .expect("settings")
}

/// All of a matrix, by central differences.
fn dense_hessian(model: &Model, batch: &archai_data::Batch, epsilon: f64) -> Vec<Vec<f64>> {
    let arch = model.arch();
    let flat =
        |a: &ArchParams| -> Vec<f64> { a.to_host().into_iter().flat_map(|(_, v)| v).collect() };
    let at = |row: usize, by: f64| -> Vec<f64> {
        let mut moved: Vec<Vec<f64>> = arch.to_host().into_iter().map(|(_, v)| v).collect();
        let n = moved[0].len();
        moved[row / n][row % n] += by;
        let mut copy = model.clone();
        copy.set_arch(arch.with_values(moved, model.compute()));
        let (_, grads) = copy
            .arch_grads(batch, &Objective::default())
            .expect("gradients");
        flat(&grads)
    };
    let row = |i: usize| {
        let (plus, minus) = (at(i, epsilon), at(i, -epsilon));
        plus.iter()
            .zip(minus)
            .map(|(p, m)| (p - m) / (2.0 * epsilon))
            .collect()
    };
    (0..arch.n_numbers()).map(row).collect()
}

/// Eigenvalues of a symmetric matrix, by Jacobi's rotations.
fn eigenvalues(mut a: Vec<Vec<f64>>) -> Vec<f64> {
    let n = a.len();
    for _ in 0..30 {
        for p in 0..n {
            for q in p + 1..n {
                if a[p][q].abs() < 1e-15 {
                    continue;
                }
                let theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
                let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let c = 1.0 / (t * t + 1.0).sqrt();
                let s = t * c;
                for row in a.iter_mut() {
                    let (x, y) = (row[p], row[q]);
                    (row[p], row[q]) = (c * x - s * y, s * x + c * y);
                }
                let (upper, lower) = a.split_at_mut(q);
                for (x, y) in upper[p].iter_mut().zip(&mut lower[0]) {
                    (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
                }
            }
        }
    }
    (0..n).map(|i| a[i][i]).collect()
}

#[test]
fn the_eigenvalue_is_that_of_the_dense_hessian() {
    let desc = tiny_supernet();
    let model = compile(&desc, &Compute::cpu().with_precision(Precision::F64));
    let data = batch(4, &desc, 11);
    let epsilon = 1e-4;
    let dense = dense_hessian(&model, &data, epsilon);
    for (i, row) in dense.iter().enumerate() {
        for (j, h) in row.iter().enumerate() {
            assert!((h - dense[j][i]).abs() < 1e-4, "not symmetric at {i}, {j}");
        }
    }
    let all = eigenvalues(dense);
    let expect = all
        .iter()
        .copied()
        .fold(0.0, |m: f64, v| if v.abs() > m.abs() { v } else { m });
    let settings = settings::Guard {
        iterations: 60,
        epsilon,
        ..guard_settings(json!({ "window": 5 }))
    };
    let before = model.arch().to_host();
    let key = Key::new(4);
    let found = hessian_eigenvalue(&model, &data, &Objective::default(), &settings, &key);
    let found = found.expect("an eigenvalue");
    assert!(
        (found - expect).abs() < 2e-2 * expect.abs(),
        "{found} is not {expect}"
    );
    assert_eq!(model.arch().to_host(), before);
    // A wider difference, as the settings take it, also sees the kinks of ReLUs and pools; the fused kernels in 32 bits see the
    // same as 64 bits do.
    let settings = settings::Guard {
        epsilon: 0.01,
        iterations: 4,
        ..settings
    };
    let at = |compute: Compute| {
        let model = compile(&desc, &compute);
        hessian_eigenvalue(&model, &data, &Objective::default(), &settings, &key)
            .expect("an eigenvalue")
    };
    let (double, single) = (
        at(Compute::cpu().with_precision(Precision::F64)),
        at(Compute::cpu()),
    );
    assert!(
        (single - double).abs() < 0.05 * double.abs(),
        "{single} is not {double}"
    );
}

/// Lets one op win on some of the edges from an epoch on.
struct Prefer {
    op: &'static str,
    edges: usize,
    from: usize,
}

fn prefer(model: &mut Model, op: &str, edges: usize) {
    let k = PRIMITIVES
        .iter()
        .position(|p| *p == op)
        .expect("a primitive");
    let mut values: Vec<Vec<f64>> = (model.arch().to_host().iter())
        .map(|(_, v)| {
            let mut flat = vec![0.0; v.len()];
            flat[PRIMITIVES.len() - 1] = 0.5;
            flat
        })
        .collect();
    for alpha in values.iter_mut().take(edges) {
        alpha[k] = 2.0;
    }
    let arch = model.arch().with_values(values, model.compute());
    model.set_arch(arch);
}

impl TrainerHooks for Prefer {
    fn post_epoch(&mut self, fit: &mut Fit<'_>) -> Result<(), EngineError> {
        if fit.epoch >= self.from {
            prefer(fit.model, self.op, self.edges);
        }
        Ok(())
    }
}

fn supernet() -> Model {
    let registry = OpRegistry::builtin();
    let settings = model_settings(2, 2);
    let built = build(
        &DartsModelDescBuilder,
        &settings,
        None,
        false,
        registry.catalog(),
    );
    let options = ModelOptions::default();
    Model::compile(&built.expect("description").desc, &registry, &options).expect("model")
}

/// Trains 4 epochs under a guard; gives the epochs done, the reason of an early end, the model and the log.
fn guarded(stop: serde_json::Value, from: usize) -> (usize, Option<String>, Model, Recorded) {
    let (events, stop_flag) = (Recorded::default(), StopFlag::new());
    let run = Run::new(&events, &NoClock, &stop_flag, 2);
    let prefer = Prefer {
        op: "skip_connect",
        edges: 5,
        from,
    };
    let mut hooks: Vec<Box<dyn TrainerHooks>> =
        vec![Box::new(prefer), Box::new(Guard::new(guard_settings(stop)))];
    let mut model = supernet();
    let fitted = ArchTrainer::new(&trainer_settings(4), run, &LogPath::new("s"), &mut hooks)
        .fit(&mut model, &loaders(32, 8))
        .expect("training");
    let epochs = fitted.metrics.run_metrics.epoch;
    (epochs, fitted.finished_early, model, events)
}

#[test]
fn skips_end_the_training_where_the_settings_say_so() {
    let (epochs, reason, _, events) = guarded(json!({ "window": 5 }), 1);
    assert_eq!((epochs, reason), (4, None), "by default it only watches");
    let share = |events: &Recorded, epoch: usize| {
        let values = events
            .at(&format!("s/arch_train/epochs/{epoch}/guard"))
            .expect("logged");
        values
            .iter()
            .find(|(name, _)| name == "skip_share")
            .and_then(|(_, v)| v.as_f64())
    };
    // The regular cell's four edges are skips, the reduction's are not.
    assert_eq!(share(&events, 1), Some(0.5));
    let (epochs, reason, _, _) = guarded(json!({ "window": 5, "skips": 4 }), 1);
    assert_eq!(epochs, 2);
    assert!(reason.is_some_and(|r| r.contains("4 skip connections")));
    let (epochs, reason, _, _) = guarded(json!({ "window": 5, "skips": 5 }), 1);
    assert_eq!((epochs, reason), (4, None));
}

#[test]
fn a_sharp_minimum_takes_the_architecture_back() {
    // Nothing moves the architecture but the preference after the second epoch, which the stop undoes: every ratio is below
    // this one as soon as two windows of one epoch are there.
    let start = supernet().arch().to_host();
    let (epochs, reason, model, _) = guarded(json!({ "window": 1, "eigenvalue_ratio": 1e9 }), 1);
    let reason = reason.unwrap_or_default();
    assert!(reason.contains("taken back"), "{reason}");
    assert_eq!(epochs, 2);
    assert_eq!(model.arch().to_host(), start);
}

fn found(op: &'static str, edges: usize) -> ModelDesc {
    let mut model = supernet();
    prefer(&mut model, op, edges);
    DefaultFinalizers.finalize_model(&model).expect("a network")
}

#[test]
fn a_network_of_skips_comes_with_a_warning() {
    // The regular cell owns the first five edges; it keeps four.
    for (op, edges, skips) in [
        ("skip_connect", 5, Some("4 of the 4 edges")),
        ("skip_connect", 3, Some("3 of the 4 edges")),
        ("skip_connect", 2, None),
        ("max_pool_3x3", 5, None),
    ] {
        let warning = skip_warning(&found(op, edges));
        match (&warning, skips) {
            (Some(text), Some(expect)) => assert!(text.contains(expect), "{op} {edges}: {text}"),
            (None, None) => {}
            _ => panic!("{op} on {edges} edges: {warning:?}"),
        }
    }
}
