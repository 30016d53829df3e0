//! Selection by perturbation against the same selection done by hand: with the architecture parameters as the weights
//! themselves, an op is taken away by writing 0.

use archai_engine::{
    Compute, EngineError, Model, OpRegistry, Raw, Softmax,
    arch::ArchKey,
    finalize::{FinalizeData, Finalizers},
    metrics::accuracies,
    model::ModelOptions,
    perturbation::PerturbationFinalizers,
    run::{NoClock, Run, StopFlag},
};
use archai_spec::desc::{DartsModelDescBuilder, PRIMITIVES, build};
use archai_spec::event::LogPath;
use archai_spec::settings;
use serde_json::json;

use crate::train_support::{Recorded, dataset, loaders, model_settings, trainer_settings};

/// The shipped search settings do not matter here, but for the trainer's.
fn search_settings(tune_steps: usize) -> settings::Search {
    let loader = json!({
        "dataset": dataset(), "cutout": 0, "load_train": true, "load_test": false, "train_batch": 8, "test_batch": 8,
        "train_workers": 0, "test_workers": 0, "val_ratio": 0.5, "val_augment": false,
    });
    serde_json::from_value(json!({
        "finalizer": "darts_pt", "final_desc_filename": "", "model_desc": model_settings(2, 2), "loader": loader,
        "trainer": trainer_settings(1), "post_train": { "loader": loader, "trainer": trainer_settings(0) },
        "guard": { "hessian": false, "iterations": 1, "epsilon": 0.01, "stop": { "window": 1 } },
        "darts_pt": { "tune_steps": tune_steps, "tune_lr": 0.01, "measure_batches": -1 },
    }))
    .expect("settings")
}

fn supernet() -> Model {
    let registry = OpRegistry::builtin();
    let built = build(
        &DartsModelDescBuilder,
        &model_settings(2, 2),
        None,
        false,
        registry.catalog(),
    );
    let options = ModelOptions {
        compute: Compute::cpu(),
        alpha_init: archai_engine::AlphaInit::Normal { std: 1.0 },
        ..ModelOptions::default()
    };
    Model::compile(&built.expect("description").desc, &registry, &options).expect("model")
}

fn prepare(
    model: &Model,
    tune_steps: usize,
) -> Result<(PerturbationFinalizers, Recorded), EngineError> {
    let (events, stop) = (Recorded::default(), StopFlag::new());
    let settings = search_settings(tune_steps);
    let run = Run::new(&events, &NoClock, &stop, 5);
    let mut finalizers = PerturbationFinalizers::new(settings.darts_pt.clone());
    assert!(finalizers.needs_data());
    let data = FinalizeData {
        loaders: &loaders(48, 8),
        settings: &settings,
        run,
        log: run.log(LogPath::new("finalize")),
    };
    finalizers.prepare(&mut model.clone(), &data)?;
    Ok((finalizers, events))
}

/// Accuracy and loss on all validation data with these weights of the primitives.
fn score(model: &Model, weights: &[(ArchKey, Vec<f64>)]) -> (f64, f64) {
    let mut model = model.clone();
    model.set_relaxation(std::sync::Arc::new(Raw));
    let values = weights.iter().map(|(_, w)| w.clone()).collect();
    model.set_arch(model.arch().with_values(values, model.compute()));
    let loader = loaders(48, 8).valid.expect("validation data");
    let loss = &trainer_settings(1).lossfn;
    let (mut top1, mut mean, mut n) = (0.0, 0.0, 0.0);
    for batch in loader.epoch(0) {
        let batch = batch.expect("a batch");
        let size = batch.labels.len() as f64;
        let (loss, logits) = model.evaluate(&batch, loss).expect("a loss");
        top1 += accuracies(&logits, &batch.labels, [1])[0] * size;
        mean += loss * size;
        n += size;
    }
    (top1 / n, mean / n)
}

/// Whether one perturbation harms strictly more than another.
fn is_worse(a: (f64, f64), b: (f64, f64)) -> bool {
    a.0 < b.0 || (a.0 == b.0 && a.1 > b.1)
}

#[test]
fn what_hurts_most_when_taken_away_remains() {
    let model = supernet();
    assert!(format!("{:?}", model.relaxation()) == format!("{Softmax:?}"));
    let (finalizers, events) = prepare(&model, 0).expect("a selection");
    let mut weights = model.edge_weights();
    let mut seen = Vec::new();
    for decision in 0..weights.len() {
        let values = events.at(&format!("finalize/{decision}")).expect("logged");
        let (edge, op) = (
            values[0].1.as_str().expect("edge"),
            values[1].1.as_str().expect("op"),
        );
        let place = (weights.iter())
            .position(|(key, _)| key.to_string() == edge)
            .expect("an edge");
        seen.push(place);
        let mut best: Option<(usize, (f64, f64))> = None;
        for k in (0..PRIMITIVES.len()).filter(|&k| PRIMITIVES[k] != "none") {
            let mut without = weights.clone();
            without[place].1[k] = 0.0;
            let harm = score(&model, &without);
            if best.is_none_or(|(_, most)| is_worse(harm, most)) {
                best = Some((k, harm));
            }
        }
        let (k, harm) = best.expect("an op");
        assert_eq!(op, PRIMITIVES[k], "{edge}");
        assert_eq!(values[2].1, json!(harm.0), "{edge}");
        weights[place].1 = (0..PRIMITIVES.len())
            .map(|i| f64::from(u8::from(i == k)))
            .collect();
    }
    let mut sorted = seen.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..weights.len()).collect::<Vec<_>>());
    assert_ne!(seen, sorted, "edges come in a random order");

    // Node 1 has three edges: the one that hurts least goes. Of both owning cells, in the order of the log.
    let found = finalizers.finalize_model(&model).expect("a network");
    let mut order: Vec<Vec<String>> = Vec::new();
    for decision in weights.len()..weights.len() + 4 {
        let Some(values) = events.at(&format!("finalize/{decision}")) else {
            continue;
        };
        let kept = values[0].1.as_array().expect("edges").iter();
        order.push(
            kept.map(|e| e.as_str().expect("an edge").to_string())
                .collect(),
        );
    }
    assert_eq!(order.len(), 2);
    for kept in order {
        let node: Vec<usize> = (0..weights.len())
            .filter(|&i| kept[0].starts_with(&weights[i].0.to_string()[..11]))
            .collect();
        assert_eq!(node.len(), 3);
        let harm = |i: usize| {
            let mut without = weights.clone();
            without[i].1.fill(0.0);
            score(&model, &without)
        };
        let mut by_harm: Vec<(usize, (f64, f64))> = node.iter().map(|&i| (i, harm(i))).collect();
        by_harm.sort_by(|(_, a), (_, b)| a.0.total_cmp(&b.0).then(b.1.total_cmp(&a.1)));
        let expect: Vec<String> = by_harm[..2]
            .iter()
            .map(|(i, _)| weights[*i].0.to_string())
            .collect();
        assert_eq!(kept, expect);
        weights[by_harm[2].0].1.fill(0.0);
        let key = weights[node[0]].0;
        let edges = &found.cells[key.cell].nodes[key.node].edges;
        let inputs: Vec<usize> = edges.iter().map(|e| e.inputs[0]).collect();
        let expect: Vec<usize> = by_harm[..2]
            .iter()
            .map(|(i, _)| weights[*i].0.edge)
            .collect();
        assert_eq!(inputs, expect);
    }
}

#[test]
fn it_repeats_tunes_and_leaves_the_model_alone() {
    let model = supernet();
    let before = model.named_state();
    let find = |tune_steps: usize| {
        let (finalizers, events) = prepare(&model, tune_steps).expect("a selection");
        let last = events.at("finalize/9").expect("logged");
        (finalizers.finalize_model(&model).expect("a network"), last)
    };
    assert_eq!(find(2), find(2));
    assert_ne!(find(2).1, find(0).1, "tuning changes what is measured");
    assert_eq!(model.named_state(), before);
    let finalizers = PerturbationFinalizers::new(search_settings(0).darts_pt);
    let message = finalizers
        .finalize_model(&model)
        .err()
        .map(|e| e.to_string());
    assert!(message.is_some_and(|m| m.contains("prepare")));
}
