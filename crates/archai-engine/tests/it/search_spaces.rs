//! The shipped spaces of discrete search: their members train, with the same numbers on all engines, and are exported.

use archai_data::rng::Key;
use archai_engine::export::{Exported, Formats, ModelInfo, Options, builtin};
use archai_engine::optim::Optimizer;
use archai_engine::{
    Compute, Engine, Model, ModelOptions, Objective, OpRegistry, Precision, Regular, Want,
};
use archai_search::space::{SearchSpace, Space, shipped, shipped_names, shipped_text};
use archai_spec::desc::{ModelDesc, OpCatalog};

use crate::support::{batch, compile};
use crate::train_support::trainer_settings;

/// A shipped space with small images and few classes: the same choices, and networks that a test can train.
fn small(name: &str) -> Space {
    let text = shipped_text(name).unwrap_or_else(|e| panic!("{e}"));
    let text = text
        .replace("size: [32, 32]", "size: [8, 8]")
        .replace("size: [224, 224]", "size: [32, 32]")
        .replace("classes: 1000", "classes: 10");
    Space::parse(name, &text).unwrap_or_else(|e| panic!("{e}"))
}

fn member(space: &Space, i: u64) -> (ModelDesc, u64) {
    let member = space.sample(Key::new(i).with(space.name())).unwrap();
    let desc = space.describe(&member).unwrap_or_else(|e| panic!("{e}"));
    (desc, space.costs(&member).unwrap().params)
}

fn learnt(model: &Model) -> usize {
    model.weights().named().iter().map(|t| t.values.len()).sum()
}

/// Losses of two steps of training, the second with what the first has learnt.
fn losses(desc: &ModelDesc, compute: &Compute) -> [f64; 2] {
    let mut model = compile(desc, compute);
    let all = batch(6, desc, 3);
    let mut optimizer = Optimizer::new(&trainer_settings(1).optimizer).unwrap();
    [0, 1].map(|step: u64| {
        let regular = Regular {
            drop_path_prob: 0.2,
            draw: Key::new(9).with(step),
        };
        let grads = model.train_pass(&all, &Objective::default(), &regular, Want::WEIGHTS);
        let grads = grads.unwrap_or_else(|e| panic!("{e}"));
        let weights = optimizer.step(model.weights(), &grads.weights, 0.02);
        model.set_weights(weights);
        grads.loss
    })
}

#[test]
fn members_of_every_shipped_space_train_alike_on_all_engines() {
    for (name, _) in shipped_names() {
        let space = small(name);
        let (desc, params) = member(&space, 1);
        let exact = losses(&desc, &Compute::cpu().with_precision(Precision::F64));
        assert!(
            exact.iter().all(|loss| loss.is_finite()),
            "{name}: {exact:?}"
        );
        assert_ne!(exact[0], exact[1], "{name}: nothing was learnt");
        for engine in [Engine::Fused, Engine::Plain] {
            let found = losses(&desc, &Compute::cpu().with_engine(engine));
            // The second loss has gone through a step whose gradients differ by rounding.
            for (found, exact, tolerance) in
                [(found[0], exact[0], 1e-4), (found[1], exact[1], 1e-2)]
            {
                assert!(
                    (found - exact).abs() <= tolerance * exact,
                    "{name} {engine:?}: {found} {exact}"
                );
            }
        }
        let model = compile(&desc, &Compute::cpu());
        assert_eq!(learnt(&model) as u64, params, "{name}");
    }
}

#[test]
fn members_have_the_parameters_that_their_space_counts() {
    let registry = OpRegistry::builtin();
    for (name, _) in shipped_names() {
        let space = shipped(name).unwrap_or_else(|e| panic!("{e}"));
        for i in 0..4 {
            let (desc, params) = member(&space, i);
            let options = ModelOptions::default();
            let model = Model::compile(&desc, &registry, &options);
            let model = model.unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(learnt(&model) as u64, params, "{name}");
        }
    }
}

#[test]
fn members_are_written_in_every_format() {
    let catalog = OpCatalog::builtin();
    for (name, _) in shipped_names() {
        let space = small(name);
        let (desc, _) = member(&space, 1);
        let model = compile(&desc, &Compute::cpu());
        let image = desc.input;
        let info = ModelInfo {
            class_names: (0..desc.n_classes).map(|i| format!("class {i}")).collect(),
            n_classes: desc.n_classes,
            channels: image.channels,
            size: [image.height, image.width],
            mean: vec![0.5; image.channels],
            std: vec![0.25; image.channels],
            transforms: Vec::new(),
            pictures: Default::default(),
            provenance: Default::default(),
        };
        let state = model.named_state();
        for format in builtin().iter() {
            let options = Options::default();
            format
                .check(&desc, &catalog, &options)
                .unwrap_or_else(|e| panic!("{name}, {}: {e}", format.name()));
            let exported = Exported {
                desc: &desc,
                catalog: &catalog,
                state: &state,
                info: &info,
                options: &options,
            };
            let formats = Formats::new(&builtin(), &[format.name()], &options).unwrap();
            for product in formats.products_beside(std::path::Path::new("model")) {
                let mut bytes = Vec::new();
                let written = product.write(&exported, &mut bytes);
                written.unwrap_or_else(|e| panic!("{name}, {}: {e}", format.name()));
                assert!(!bytes.is_empty(), "{name}, {}", format.name());
            }
        }
    }
}
