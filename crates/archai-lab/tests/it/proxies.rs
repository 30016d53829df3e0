//! Zero-cost proxies as quantities of a discrete search, on noise and on data.

use std::sync::Arc;

use archai_engine::{Compute, OpRegistry, proxies};
use archai_lab::Lab;
use archai_lab::proxies::{Images, ProxyEvaluator, Scorer, batches, named};
use archai_search::journal::MemoryStore;
use archai_search::space::{SearchSpace, Space};
use archai_search::{CostClass, Evaluator, Run, Settings, Setup, Stop, Study, optimisers};
use archai_spec::rng::Key;
use archai_spec::settings::Dataset;

const SPACE: &str = "\
space: small
version: 1
input: {channels: 2, size: [6, 6]}
classes: 3
network:
  - conv_bn: {out: {one_of: [2, 3, 4, 5]}, kernel: {one_of: [1, 3]}, act: relu}
  - conv_bn: {out: {one_of: [2, 3, 4, 5]}, kernel: {one_of: [1, 3]}, act: relu}
  - pool: {kind: mean}
  - linear: {out: $classes}
";

fn space() -> Space {
    Space::parse("small.yaml", SPACE).unwrap_or_else(|e| panic!("{e}"))
}

fn scorer(names: &[&str], images: Images, threads: usize) -> Scorer {
    let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
    let chosen = named(&proxies::builtin(), &names).unwrap();
    Scorer::new(
        chosen,
        OpRegistry::builtin(),
        images,
        Compute::cpu(),
        3,
        threads,
    )
    .unwrap()
}

#[test]
fn a_search_by_proxies_finds_the_best_network_that_a_limit_leaves() {
    let evaluator = ProxyEvaluator::new(scorer(&["flops", "synflow"], Images::Noise(4), 1));
    let classes: Vec<CostClass> = evaluator.quantities().iter().map(|q| q.class).collect();
    assert_eq!(classes, [CostClass::Static, CostClass::Cheap]);
    let space: Arc<dyn SearchSpace> = Arc::new(space());
    let run = |workers: usize| -> Vec<(String, f64)> {
        let evaluator =
            ProxyEvaluator::new(scorer(&["flops", "synflow"], Images::Noise(4), workers));
        let mut study = Study::open(Setup {
            space: space.clone(),
            evaluators: vec![Arc::new(evaluator)],
            settings: Settings::new(["proxy.synflow"])
                .limits([
                    "params<=150".parse().unwrap(),
                    "proxy.flops<=0.004".parse().unwrap(),
                ])
                .order(archai_search::Order::Strict { lag: 2 }),
            optimisers: &optimisers::all(),
            store: Box::new(MemoryStore::default()),
            folder: None,
        })
        .unwrap_or_else(|e| panic!("{e}"));
        let (stop, clock) = (Stop::new(), || 0.0);
        let run = Run {
            workers,
            budget: Some(20),
            stop: &stop,
            clock: &clock,
        };
        study.run(run).unwrap_or_else(|e| panic!("{e}"));
        let results = study.results();
        let trials = study.view_of(&results);
        let of = |trial: &archai_search::Trial| {
            Some((trial.id.clone(), *trial.values.get("proxy.synflow")?))
        };
        trials.trials().iter().filter_map(of).collect()
    };
    let found = run(1);
    assert!(found.len() >= 10, "{found:?}");
    assert_eq!(found, run(2), "neither workers nor threads change a score");
    for (id, score) in &found {
        let member = space.parse_id(id).unwrap();
        assert!(space.costs(&member).unwrap().params <= 150, "{id}");
        let desc = space.describe(&member).unwrap();
        let scores = scorer(&["synflow", "flops"], Images::Noise(9), 1)
            .score(&desc)
            .unwrap();
        let [synflow, flops] = scores
            .try_into()
            .map(|s: [Result<f64, _>; 2]| s.map(|s| s.unwrap()))
            .unwrap();
        assert_eq!(synflow, *score, "{id}");
        assert!(flops <= 0.004, "{id}");
    }
}

#[test]
fn batches_are_training_images_as_a_seed_draws_them() {
    let lab = Lab::builtin();
    let section = Dataset::shipped("fashion_mnist_mini").unwrap();
    let of = |seed: u64| batches(&lab, &section, 8, seed).unwrap();
    let first = of(1);
    let [h, w] = section.size;
    assert!(first.len() == 2 && first.iter().all(|b| b.shape == [8, section.channels, h, w]));
    assert_ne!(first[0].images, first[1].images);
    assert_eq!(first[0].images, of(1)[0].images);
    assert_ne!(first[0].images, of(2)[0].images);
    let error = batches(&lab, &section, 1_000_000, 1)
        .unwrap_err()
        .to_string();
    assert!(error.contains("choose a smaller batch"), "{error}");
}

#[test]
fn names_that_are_none_are_refused() {
    let error = named(&proxies::builtin(), &["sinflow".into()])
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("no proxy `sinflow`; did you mean `synflow`?"),
        "{error}"
    );
    let other = space().sample(Key::new(1)).unwrap();
    let desc = space().describe(&other).unwrap();
    let section = Dataset::shipped("fashion_mnist_mini").unwrap();
    let images = Images::Batches(batches(&Lab::builtin(), &section, 4, 1).unwrap());
    let error = scorer(&["nwot"], images, 1)
        .score(&desc)
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("do not fit the network, which takes 2×6×6"),
        "{error}"
    );
}
