//! What the tests of training share: tiny settings and tiny data.

use std::sync::Arc;

use archai_data::{InMemory, Loader, Loaders, Pipeline, rng::Key, transforms};
pub use archai_engine::testing::Recorded;
use archai_engine::{
    Compute, ParamVec,
    params::{Init, NamedTensor, ParamLayout, ParamRole, ParamSpec, Piece},
    run::{NoClock, Run, StopFlag},
};
use archai_spec::event::NoEvents;
use archai_spec::settings::{self, ModelDescSettings};
use serde_json::{Value, json};

pub fn dataset() -> Value {
    json!({
        "name": "quadrants", "format": "embedded", "path": "quadrants", "n_classes": 4, "channels": 1, "size": [8, 8],
        "mean": [0.3], "std": [0.3], "crop_padding": 0, "flip": false,
    })
}

/// A supernet or network of 3 cells with one reduction, or with two of 5.
pub fn model_settings(n_nodes: usize, channels: usize) -> ModelDescSettings {
    serde_json::from_value(json!({
        "dataset": dataset(), "n_cells": 3, "n_reductions": 1, "max_final_edges": 2,
        "model_post_op": "pool_adaptive_avg2d", "aux_weight": 0.0, "aux_tower_stride": 3, "aux_tower_second_norm": true,
        "model_stems": {
            "ops": ["stem_conv3x3", "stem_conv3x3"], "wiring": "independent", "affine": null, "stem_multiplier": 1,
            "init_node_ch": channels,
        },
        "cell": { "n_nodes": n_nodes, "cell_post_op": "concate_channels" },
    }))
    .expect("settings")
}

pub fn trainer_settings(epochs: usize) -> settings::Trainer {
    let loss = json!({ "type": "CrossEntropyLoss" });
    serde_json::from_value(json!({
        "title": "arch_train", "epochs": epochs, "batch_chunks": 1, "logger_freq": 1, "aux_weight": 0.0,
        "drop_path_prob": 0.0, "grad_clip": 5.0, "l1_alphas": 0.0, "lossfn": loss,
        "optimizer": { "type": "sgd", "lr": 0.1, "decay": 3e-4, "momentum": 0.9 },
        "lr_schedule": { "type": "cosine", "min_lr": 0.001 },
        "alpha_optimizer": { "type": "adam", "lr": 0.003, "decay": 1e-3, "betas": [0.5, 0.999] },
        "validation": { "title": "search_val", "logger_freq": 1, "batch_chunks": 1, "freq": 1, "lossfn": loss },
    }))
    .expect("settings")
}

/// Grey 8×8 images of 4 classes: the bright quadrant tells the class, the rest is keyed noise.
pub fn quadrants(n: usize) -> InMemory {
    let mut rng = Key::new(7).with("quadrants").rng();
    let labels: Vec<u32> = (0..n as u32).map(|i| i % 4).collect();
    let mut pixels = Vec::with_capacity(n * 64);
    for &label in &labels {
        for y in 0..8u32 {
            for x in 0..8u32 {
                let bright = (y / 4) * 2 + x / 4 == label;
                pixels.push((rng.uniform_f64() * 80.0) as u8 + if bright { 150 } else { 0 });
            }
        }
    }
    InMemory::new("quadrants", 4, [1, 8, 8], pixels, labels).expect("data")
}

/// Half of `n` images train, half validate; the test data are the same images.
pub fn loaders(n: usize, batch: usize) -> Loaders {
    let dataset: settings::Dataset = serde_json::from_value(dataset()).expect("settings");
    let data = Arc::new(quadrants(n));
    let plain = Pipeline::test(&dataset, &transforms::builtin()).expect("transform");
    let part = |from: usize, to: usize| {
        Loader::new(data.clone(), plain.clone(), batch).with_items((from..to).collect())
    };
    let key = Key::new(3);
    Loaders {
        train: part(0, n / 2).shuffled(key.with("train")),
        valid: Some(part(n / 2, n)),
        valid_arch: Some(part(n / 2, n).shuffled(key.with("valid"))),
        test: Some(part(0, n)),
    }
}

pub fn quiet(stop: &StopFlag) -> Run<'_> {
    Run::new(&NoEvents, &NoClock, stop, 2)
}

/// One parameter that holds `values`.
pub fn flat_params(values: Vec<f64>, compute: &Compute) -> ParamVec {
    let piece = Piece {
        name: "w".into(),
        shape: vec![values.len()],
        init: Init::Constant(0.0),
        role: ParamRole::Weight,
    };
    let layout = ParamLayout {
        params: vec![ParamSpec {
            pieces: vec![piece],
            packing: None,
        }],
    };
    let named = NamedTensor {
        name: "w".into(),
        shape: vec![values.len()],
        values,
    };
    ParamVec::from_named(&Arc::new(layout), &[named], compute).expect("parameters")
}

pub fn values_of(params: &ParamVec) -> Vec<f64> {
    params.named().into_iter().flat_map(|t| t.values).collect()
}
