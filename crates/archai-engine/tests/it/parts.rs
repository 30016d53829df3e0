//! Parts of a network that are frozen, or that learn at rates of their own.

use std::collections::BTreeMap;

use archai_data::Batch;
use archai_engine::model::{Objective, Regular, Want};
use archai_engine::optim::Optimizer;
use archai_engine::params::NamedTensor;
use archai_engine::parts::Parts;
use archai_engine::run::StopFlag;
use archai_engine::trainer::ArchTrainer;
use archai_engine::{Compute, Engine, EngineError, Model};
use archai_spec::desc::ModelDesc;
use archai_spec::event::LogPath;
use archai_spec::settings::{self, Settings};

use crate::support::{batch, compile, genotype, network, settings as sizes};
use crate::train_support::{loaders, quiet, trainer_settings};

/// Both engines.
fn computes() -> [Compute; 2] {
    [Compute::cpu(), Compute::cpu().with_engine(Engine::Plain)]
}

/// Five cells with two reductions on images of 8×8 pixels.
fn desc() -> ModelDesc {
    let mut s = sizes(5, 2, 2, 4);
    s.dataset.size = [8, 8];
    s.aux_weight = 0.0;
    network(&genotype(), &s)
}

fn parts(freeze: &[&str], factors: &[(&str, f64)]) -> Parts {
    let mut eval = Settings::shipped("cifar10").unwrap().nas.eval;
    eval.freeze = freeze.iter().map(|text| text.to_string()).collect();
    eval.lr_factors = factors
        .iter()
        .map(|&(text, f)| (text.to_string(), f))
        .collect();
    Parts::new(&eval).unwrap()
}

fn state(model: &Model) -> BTreeMap<String, Vec<f64>> {
    let named = model.named_state().into_iter();
    named
        .map(|NamedTensor { name, values, .. }| (name, values))
        .collect()
}

/// A few steps, with decay, momentum and drop-path.
fn train(model: &mut Model, batch: &Batch, steps: usize) {
    let optimizer: settings::Optimizer = trainer_settings(1).optimizer;
    let mut optimizer = Optimizer::new(&optimizer).unwrap();
    for step in 0..steps {
        let draw = archai_data::rng::Key::new(step as u64);
        let regular = Regular {
            drop_path_prob: 0.3,
            draw,
        };
        let grads = model.train_pass(batch, &Objective::default(), &regular, Want::WEIGHTS);
        let weights = optimizer.step(model.weights(), &grads.unwrap().weights, 0.1);
        model.set_weights(weights);
    }
}

#[test]
fn gradients_of_frozen_parts_are_zero_and_their_statistics_stay() {
    let desc = desc();
    let batch = batch(4, &desc, 1);
    for compute in computes() {
        // Whole parts, and parts of what a kernel has as one parameter.
        for freeze in [
            &["stem*", "cell*"][..],
            &["cell0"],
            &["cell1.node0", "cell2.node1.edge0"],
            &["cell*.pre*", "cell0.node0.edge0.sep_conv_3x3.bn1"],
        ] {
            let mut model = compile(&desc, &compute);
            let parts = parts(freeze, &[]);
            model.freeze(&parts).unwrap();
            let before = state(&model);
            let draw = archai_data::rng::Key::new(5);
            let regular = Regular {
                drop_path_prob: 0.0,
                draw,
            };
            let objective = Objective::default();
            let grads = model
                .train_pass(&batch, &objective, &regular, Want::WEIGHTS)
                .unwrap();
            let covered = |name: &str| {
                let all = freeze
                    .iter()
                    .map(|text| text.parse::<archai_spec::parts::Part>());
                all.into_iter().any(|part| part.unwrap().covers(name))
            };
            let (mut held, mut moved) = (0, 0);
            for tensor in grads.weights.named() {
                let is_zero = tensor.values.iter().all(|&g| g == 0.0);
                match covered(&tensor.name) {
                    true => assert!(is_zero, "{freeze:?}: {}", tensor.name),
                    false => assert!(!is_zero, "{freeze:?}: {}", tensor.name),
                }
            }
            for (name, values) in state(&model)
                .iter()
                .filter(|(n, _)| n.contains(".running_"))
            {
                match covered(name) {
                    true => {
                        assert_eq!(values, &before[name], "{freeze:?}: {name}");
                        held += 1;
                    }
                    false => {
                        assert_ne!(values, &before[name], "{freeze:?}: {name}");
                        moved += 1;
                    }
                }
            }
            assert!(held > 0, "{freeze:?}");
            // The classifier has no norm.
            assert!(
                moved > 0 || freeze.len() == 2 && freeze[0] == "stem*",
                "{freeze:?}"
            );
        }
    }
}

#[test]
fn frozen_parts_keep_their_bits_through_a_training() {
    let desc = desc();
    let batch = batch(4, &desc, 2);
    for compute in computes() {
        let mut model = compile(&desc, &compute);
        // Statistics that are no longer the first ones.
        train(&mut model, &batch, 1);
        let parts = parts(&["stem*", "cell0", "cell1.node0"], &[]);
        model.freeze(&parts).unwrap();
        let before = state(&model);
        let optimizer = trainer_settings(1).optimizer;
        let settings = settings::Trainer {
            optimizer,
            ..trainer_settings(2)
        };
        let stop = StopFlag::new();
        let trainer = ArchTrainer::new(&settings, quiet(&stop), &LogPath::new("x"), &mut [])
            .with_parts(&parts, &model);
        let mut optimizer = trainer.start().unwrap().optimizer;
        for step in 0..3 {
            let draw = archai_data::rng::Key::new(step);
            let regular = Regular {
                drop_path_prob: 0.3,
                draw,
            };
            let objective = Objective::default();
            let grads = model
                .train_pass(&batch, &objective, &regular, Want::WEIGHTS)
                .unwrap();
            let weights = optimizer.step(model.weights(), &grads.weights, 0.1);
            model.set_weights(weights);
        }
        for (name, values) in state(&model) {
            let is_frozen = ["stem", "cell0.", "cell1.node0."]
                .iter()
                .any(|p| name.starts_with(p));
            match is_frozen {
                true => assert_eq!(values, before[&name], "{name}"),
                false => assert_ne!(values, before[&name], "{name}"),
            }
        }
    }
}

#[test]
fn a_frozen_network_is_the_same_function_in_training() {
    let desc = desc();
    let batch = batch(4, &desc, 3);
    for compute in computes() {
        let mut model = compile(&desc, &compute);
        train(&mut model, &batch, 2);
        model.freeze(&parts(&["stem*", "cell*"], &[])).unwrap();
        let after = model
            .predict(batch.images.clone(), batch.shape)
            .unwrap()
            .values;
        let draw = archai_data::rng::Key::new(4);
        let regular = Regular {
            drop_path_prob: 0.5,
            draw,
        };
        let grads = model.train_pass(&batch, &Objective::default(), &regular, Want::WEIGHTS);
        let during = grads.unwrap().logits.values;
        for (a, b) in during.iter().zip(&after) {
            assert!(
                (a - b).abs() < 1e-4 * (1.0 + b.abs()),
                "{during:?} and {after:?}"
            );
        }
    }
}

#[test]
fn rates_of_parts_are_factors() {
    let desc = desc();
    let batch = batch(4, &desc, 6);
    let plain = settings::Optimizer {
        momentum: None,
        decay: 0.0,
        ..trainer_settings(1).optimizer
    };
    let settings = settings::Trainer {
        optimizer: plain,
        ..trainer_settings(1)
    };
    for compute in computes() {
        let mut moved = Vec::new();
        for parts in [
            Parts::default(),
            parts(
                &[],
                &[("*", 0.5), ("classifier", 4.0), ("cell1.node0", 2.0)],
            ),
        ] {
            let mut model = compile(&desc, &compute);
            let before = state(&model);
            let stop = StopFlag::new();
            let trainer = ArchTrainer::new(&settings, quiet(&stop), &LogPath::new("x"), &mut [])
                .with_parts(&parts, &model);
            let mut optimizer = trainer.start().unwrap().optimizer;
            let (_, grads) = model.weight_grads(&batch, &Objective::default()).unwrap();
            let weights = optimizer.step(model.weights(), &grads, 0.1);
            model.set_weights(weights);
            let difference = |(name, after): (String, Vec<f64>)| {
                let by: f64 = after
                    .iter()
                    .zip(&before[&name])
                    .map(|(a, b)| (a - b).abs())
                    .sum();
                (name, by)
            };
            moved.push(
                state(&model)
                    .into_iter()
                    .map(difference)
                    .collect::<BTreeMap<_, _>>(),
            );
        }
        for (name, by) in &moved[0] {
            let factor = match name {
                name if name.contains(".running_") => continue,
                name if name.starts_with("classifier.") => 4.0,
                name if name.starts_with("cell1.node0.") => 2.0,
                _ => 0.5,
            };
            let scaled = moved[1][name];
            assert!(
                (scaled - factor * by).abs() <= 1e-2 * factor * by + 1e-5,
                "{name}: {by} and {scaled}"
            );
        }
    }
}

#[test]
fn a_training_with_frozen_parts_that_is_cut_goes_on_as_if_nothing_had_happened() {
    use archai_engine::trainer::{Outcome, Step, TrainerHooks};
    struct StopAt(StopFlag);
    impl TrainerHooks for StopAt {
        fn post_step(&mut self, step: &mut Step<'_>, _: &Outcome) -> Result<(), EngineError> {
            if step.step == 1 {
                self.0.raise();
            }
            Ok(())
        }
    }
    let mut s = sizes(5, 2, 2, 4);
    s.dataset = Settings::shipped("fashion_mnist_mini").unwrap().dataset;
    s.dataset.size = [8, 8];
    s.dataset.channels = 1;
    s.dataset.n_classes = 4;
    s.dataset.mean.truncate(1);
    s.dataset.std.truncate(1);
    let desc = network(&genotype(), &s);
    let parts = parts(&["stem*", "cell0"], &[("classifier", 3.0)]);
    let settings = settings::Trainer {
        alpha_optimizer: None,
        ..trainer_settings(2)
    };
    let (data, parent) = (loaders(48, 8), LogPath::new("x"));
    let start = || {
        let mut model = compile(&desc, &Compute::cpu());
        model.freeze(&parts).unwrap();
        model
    };
    let never = StopFlag::new();
    let mut straight = start();
    ArchTrainer::new(&settings, quiet(&never), &parent, &mut [])
        .with_parts(&parts, &straight)
        .fit(&mut straight, &data)
        .unwrap();

    let (stop, mut model) = (StopFlag::new(), start());
    let mut hooks: Vec<Box<dyn TrainerHooks>> = vec![Box::new(StopAt(stop.clone()))];
    let mut trainer =
        ArchTrainer::new(&settings, quiet(&stop), &parent, &mut hooks).with_parts(&parts, &model);
    let mut fit = trainer.start().unwrap();
    let stopped = trainer.fit_from(&mut fit, &mut model, &data);
    assert!(matches!(stopped, Err(EngineError::Stopped)));
    ArchTrainer::new(&settings, quiet(&never), &parent, &mut [])
        .with_parts(&parts, &model)
        .fit_from(&mut fit, &mut model, &data)
        .unwrap();
    assert!(state(&model) == state(&straight));
}

#[test]
fn parts_that_are_none_are_refused() {
    let desc = desc();
    let mut model = compile(&desc, &Compute::cpu());
    for (freeze, factors, expect) in [
        (
            &["cell5"][..],
            &[][..],
            "the network has no part `cell5`; its parts are stem0, stem1, cell0",
        ),
        (
            &[],
            &[("cell0.bn1", 2.0)],
            "the network has no part `cell0.bn1`",
        ),
        (&["*"], &[], "nothing is left to train"),
    ] {
        let error = model
            .freeze(&parts(freeze, factors))
            .unwrap_err()
            .to_string();
        assert!(error.contains(expect), "{expect:?} is missing in {error}");
    }
    let mut eval = Settings::shipped("cifar10").unwrap().nas.eval;
    eval.lr_factors.insert("classifier".into(), 0.0);
    assert!(
        Parts::new(&eval)
            .unwrap_err()
            .to_string()
            .contains("above 0")
    );
}
