//! DARTS from settings to files, on a data set of a few tiny images.

use std::path::Path;

use archai_algos::all;
use archai_engine::{
    Components, Compute, EngineError, Model, OpRegistry,
    evaluater::EvalResult,
    experiment::{Experiment, ExperimentRunner},
    export::{ModelInfo, load_safetensors},
    metrics::Metrics,
    model::ModelOptions,
    phases::{run_eval, run_search},
    run::{NoClock, Run, StopFlag},
    searcher::SearchResult,
    testing::Recorded,
};
use archai_spec::config::{ConfigLoader, Shipped, parse_overrides};
use archai_spec::desc::ModelDesc;
use archai_spec::settings::Settings;
use serde_json::Value;

/// The values at a path, which must be there.
pub fn logged(events: &Recorded, path: &str) -> Vec<(String, Value)> {
    let values = events.at(path);
    values.unwrap_or_else(|| panic!("nothing was logged at {path}"))
}

/// The shipped settings of DARTS, shrunk to 8×8 images and a few small cells.
const TINY: &str = "
    dataset.size=[8,8] dataset.crop_padding=1
    nas.search.model_desc.n_cells=3 nas.search.model_desc.n_reductions=1 nas.search.model_desc.cell.n_nodes=2
    nas.search.model_desc.model_stems.init_node_ch=2 nas.search.model_desc.model_stems.stem_multiplier=1
    nas.search.loader.dataset.max_batches=4 nas.search.loader.train_batch=16 nas.search.loader.train_workers=1
    nas.search.trainer.epochs=2 nas.search.trainer.logger_freq=1
    nas.eval.model_desc.n_cells=5 nas.eval.model_desc.n_reductions=1 nas.eval.model_desc.model_stems.init_node_ch=2
    nas.eval.model_desc.model_stems.stem_multiplier=1 nas.eval.model_desc.aux_weight=0
    nas.eval.loader.dataset.max_batches=2 nas.eval.loader.train_batch=16 nas.eval.loader.test_batch=64
    nas.eval.loader.cutout=2 nas.eval.loader.train_workers=0 nas.eval.trainer.epochs=2
";

pub fn settings(dir: &Path, overrides: &str) -> (Settings, Box<dyn ExperimentRunner>) {
    settings_of("darts", dir, overrides)
}

/// The shipped settings of an algorithm, shrunk.
pub fn settings_of(
    algo: &str,
    dir: &Path,
    overrides: &str,
) -> (Settings, Box<dyn ExperimentRunner>) {
    let args: Vec<String> = TINY
        .split_whitespace()
        .chain(overrides.split_whitespace())
        .map(str::to_owned)
        .collect();
    let algorithms = all();
    let algo = algorithms.get(algo).expect("an algorithm");
    let files = archai_algos::files(&algorithms, &Shipped);
    let tree = ConfigLoader::new(&files)
        .files(&algo.defaults())
        .dataset("archai:datasets/fashion_mnist_mini.yaml")
        .overrides(parse_overrides(&args).expect("overrides"))
        .load(&algo.schema())
        .expect("configuration");
    let mut settings = tree.settings().expect("settings");
    let file = |name: &str| dir.join(name).display().to_string();
    settings.nas.search.final_desc_filename = file("final_model_desc.yaml");
    settings.nas.eval.final_desc_filename = file("final_model_desc.yaml");
    settings.nas.eval.full_desc_filename = file("full_model_desc.yaml");
    settings.nas.eval.metric_filename = file("eval_train_metrics.yaml");
    settings.nas.eval.model_filename = file("model.pt");
    (settings, algo.runner(&tree).expect("runner"))
}

fn search(dir: &Path, overrides: &str) -> (Result<SearchResult, EngineError>, Recorded) {
    let (settings, runner) = settings(dir, overrides);
    search_with(&settings, runner.as_ref(), dir)
}

/// A search by `runner`, and what it logged.
pub fn search_with(
    settings: &Settings,
    runner: &dyn ExperimentRunner,
    dir: &Path,
) -> (Result<SearchResult, EngineError>, Recorded) {
    let (events, stop) = (Recorded::default(), StopFlag::new());
    let run = Run::new(&events, &NoClock, &stop, settings.common.seed);
    let experiment = Experiment {
        settings,
        components: Components::builtin(),
        compute: Compute::cpu(),
        run,
        dir,
    };
    let result = run_search(&experiment, runner);
    (result, events)
}

fn eval(dir: &Path, overrides: &str) -> Result<EvalResult, EngineError> {
    let (settings, runner) = settings(dir, overrides);
    let (events, stop) = (Recorded::default(), StopFlag::new());
    let run = Run::new(&events, &NoClock, &stop, settings.common.seed);
    let experiment = Experiment {
        settings: &settings,
        components: Components::builtin(),
        compute: Compute::cpu(),
        run,
        dir,
    };
    run_eval(&experiment, runner.as_ref())
}

pub fn load(path: &Path) -> ModelDesc {
    let text = std::fs::read_to_string(path).expect("a file");
    ModelDesc::from_yaml(&text, "found", Components::builtin().ops.catalog())
        .expect("a description")
}

#[test]
fn a_search_moves_the_alphas_and_its_file_is_all_that_an_evaluation_needs() {
    let dir = tempfile::tempdir().expect("a directory");
    let (result, events) = search(dir.path(), "");
    let found = result.expect("a search");
    let (first, second) = (
        logged(&events, "arch_search/arch_train/epochs/0/alphas"),
        logged(&events, "arch_search/arch_train/epochs/1/alphas"),
    );
    // Two owned cells of 5 edges.
    assert_eq!(first.len(), 10);
    assert_eq!(first[0].0, "cell0.node0.edge0");
    for (a, b) in first.iter().zip(&second) {
        assert_ne!(a.1, b.1, "{} did not move", a.0);
    }
    let step = logged(&events, "arch_search/arch_train/epochs/0/steps/0");
    assert!(
        step.iter().any(|(name, _)| name == "valid_loss"),
        "{step:?}"
    );
    let genotypes = events.genotypes();
    assert_eq!(genotypes.len(), 3);
    assert_eq!(genotypes.last(), found.genotype.as_ref());

    let desc = load(&found.final_desc);
    assert!(!desc.has_alphas());
    for node in desc.cells.iter().flat_map(|c| &c.nodes) {
        assert_eq!(node.edges.len(), 2);
        assert!(node.edges.iter().all(|e| e.op.name != "none"));
        assert_ne!(node.edges[0].inputs, node.edges[1].inputs);
    }
    assert_eq!(found.alphas, 80);

    let result = eval(dir.path(), "").expect("an evaluation");
    assert!(result.test_top1.is_some() && result.best_val.is_none() && result.epochs == 2);
    for file in found.files.iter().chain(&result.files) {
        assert!(file.path.is_file(), "{} is missing", file.path.display());
    }
    let names = [
        "full_model_desc.yaml",
        "eval_train_metrics.yaml",
        "model.pt",
        "model.safetensors",
        "test_predictions.csv",
    ];
    for name in names {
        assert!(
            result.files.iter().any(|f| f.path == dir.path().join(name)),
            "{name} is not listed"
        );
    }
    // As many of the predictions are right as the test said.
    let said = std::fs::read(dir.path().join("test_predictions.csv")).expect("predictions");
    let said = archai_engine::predictions::read(&said).expect("predictions");
    let right = said.iter().filter(|one| one.predicted == Some(one.label));
    let share = right.count() as f64 / said.len() as f64;
    assert!(
        (share - result.test_top1.unwrap_or(-1.0)).abs() < 1e-12,
        "{share}"
    );
    assert!(
        said.iter()
            .all(|one| one.probability >= one.label_probability)
    );
    assert!(
        !dir.path().join("model_best.pt").exists(),
        "nothing but a validation share may choose a model"
    );
    let full = load(&dir.path().join("full_model_desc.yaml"));
    assert_eq!((full.cells.len(), full.affine), (5, true));
    let text =
        std::fs::read_to_string(dir.path().join("eval_train_metrics.yaml")).expect("metrics");
    let metrics: Metrics = serde_saphyr::from_str(&text).expect("metrics");
    assert_eq!(
        (
            metrics.title.as_str(),
            metrics.run_metrics.epochs_metrics.len()
        ),
        ("eval_train", 2)
    );
    assert!(metrics.run_metrics.test_metrics.is_some());
    let (tensors, metadata) =
        archai_engine::export::load_safetensors(&dir.path().join("model.safetensors"))
            .expect("weights");
    let weights: usize = tensors
        .iter()
        .filter(|t| !t.name.contains("running_"))
        .map(|t| t.values.len())
        .sum();
    assert_eq!(weights as u64, result.parameters);
    assert!(metadata.contains_key("model_desc"));
}

#[test]
fn a_trained_model_says_what_it_takes_and_has_no_tower() {
    let dir = tempfile::tempdir().expect("a directory");
    search(
        dir.path(),
        "nas.search.trainer.epochs=1 nas.search.darts.second_order=false",
    )
    .0
    .expect("a search");
    let result = eval(dir.path(), "nas.eval.model_desc.aux_weight=0.4").expect("an evaluation");
    assert!(
        result.parameters_with_aux > 10 * result.parameters,
        "a tower was trained: {result:?}"
    );
    let (tensors, metadata) =
        load_safetensors(&dir.path().join("model.safetensors")).expect("weights");
    let learnt = tensors.iter().filter(|t| !t.name.contains("running_"));
    let weights: usize = learnt.map(|t| t.values.len()).sum();
    assert_eq!(weights as u64, result.parameters);
    let pt = std::fs::metadata(dir.path().join("model.pt")).expect("a file");
    assert!(pt.len() < 4 * result.parameters_with_aux);

    // It loads into the network without the tower, which the file describes.
    let registry = OpRegistry::builtin();
    let desc = load(&dir.path().join("full_model_desc.yaml"));
    assert!(desc.cells.iter().any(|cell| cell.aux_tower.is_some()));
    let desc = desc.without_towers();
    assert_eq!(metadata["model_desc"], desc.to_yaml().expect("a text"));
    let mut model = Model::compile(&desc, &registry, &ModelOptions::default()).expect("a model");
    model
        .set_named_state(&tensors)
        .expect("the same names and shapes");

    let text = std::fs::read_to_string(dir.path().join("model.yaml")).expect("a file");
    let info: ModelInfo = serde_saphyr::from_str(&text).expect("what it takes");
    assert_eq!(
        (info.n_classes, info.class_names.len(), info.size),
        (10, 10, [8, 8])
    );
    assert!(text.contains("class_names") && info.std.len() == info.channels);
    for (name, expect) in info.metadata() {
        assert_eq!(metadata[&name], expect, "{name}");
    }
    assert!(result.files.iter().any(|f| f.path.ends_with("model.yaml")));
}

#[test]
fn a_search_without_a_gallery_leaves_files_that_are_there_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let gallery = dir.path().join("model_desc_gallery");
    std::fs::create_dir(&gallery).expect("a folder");
    let names = ["model_desc_3.yaml", "hull_3.yaml", "results_2024.yaml"];
    for name in names {
        std::fs::write(gallery.join(name), "the user's").expect("a file");
    }
    let overrides = "nas.search.trainer.epochs=1 nas.search.darts.second_order=false";
    search(dir.path(), overrides).0.expect("a search");
    for name in names {
        let text = std::fs::read_to_string(gallery.join(name));
        assert_eq!(text.expect("it stays"), "the user's", "{name}");
    }
}

#[test]
fn a_validation_share_chooses_the_best_model() {
    let dir = tempfile::tempdir().expect("a directory");
    search(
        dir.path(),
        "nas.search.trainer.epochs=1 nas.search.darts.second_order=false",
    )
    .0
    .expect("a search");
    let result = eval(dir.path(), "nas.eval.loader.val_ratio=0.5").expect("an evaluation");
    assert!(result.best_val.is_some());
    let tested = result
        .best_test_top1
        .expect("the best model is tested, too");
    assert!((0.0..=1.0).contains(&tested));
    if result.best_val.map(|(epoch, _)| epoch + 1) == Some(result.epochs) {
        assert_eq!(result.best_test_top1, result.test_top1);
    }
    assert!(
        dir.path().join("model_best.pt").is_file()
            && dir.path().join("model_best.safetensors").is_file()
    );
}

#[test]
fn the_same_seed_finds_the_same_bytes_for_any_number_of_workers() {
    let run = |workers: usize| {
        let dir = tempfile::tempdir().expect("a directory");
        let result = search(
            dir.path(),
            &format!("nas.search.loader.train_workers={workers}"),
        )
        .0
        .expect("a search");
        (
            std::fs::read(result.final_desc).expect("a file"),
            result.train_top1,
        )
    };
    assert_eq!(run(0), run(2));
}

#[test]
fn orders_differ_and_both_learn() {
    let loss = |second_order: bool| {
        let dir = tempfile::tempdir().expect("a directory");
        let overrides = format!(
            "nas.search.darts.second_order={second_order} nas.search.trainer.epochs=4 nas.search.trainer.optimizer.lr=0.1"
        );
        let (result, events) = search(dir.path(), &overrides);
        result.expect("a search");
        let at = |epoch: usize| {
            let values = logged(
                &events,
                &format!("arch_search/arch_train/epochs/{epoch}/train"),
            );
            values
                .iter()
                .find(|(name, _)| name == "loss")
                .and_then(|(_, v)| v.as_f64())
                .expect("a loss")
        };
        let alphas = logged(&events, "arch_search/arch_train/epochs/3/alphas");
        (at(0), at(3), alphas)
    };
    let (first, second) = (loss(false), loss(true));
    assert!(
        first.1 < first.0 && second.1 < second.0,
        "{} → {}, {} → {}",
        first.0,
        first.1,
        second.0,
        second.1
    );
    assert_ne!(first.2, second.2);
}

#[test]
fn a_random_finalizer_and_a_post_training_are_settings() {
    let dir = tempfile::tempdir().expect("a directory");
    let overrides = "nas.search.finalizer=random nas.search.trainer.epochs=1 nas.search.darts.second_order=false \
                     nas.search.post_train.trainer.epochs=1 nas.search.post_train.loader.dataset.max_batches=2 \
                     nas.search.post_train.loader.train_batch=16";
    let (result, events) = search(dir.path(), overrides);
    let result = result.expect("a search");
    assert!(result.post_train_test_top1.is_some());
    logged(&events, "post_train/epochs/0/train");
    let desc = load(&result.final_desc);
    assert!(
        desc.cells
            .iter()
            .flat_map(|c| &c.nodes)
            .all(|n| n.edges.len() == 2)
    );
}

#[test]
fn what_cannot_work_says_what_to_change() {
    let check = |overrides: &str, expect: &str| {
        let dir = tempfile::tempdir().expect("a directory");
        let message = search(dir.path(), overrides)
            .0
            .err()
            .map(|e| e.to_string())
            .unwrap_or_default();
        assert!(message.contains(expect), "{overrides}: {message}");
    };
    check(
        "nas.search.loader.val_ratio=0",
        "nas.search.loader.val_ratio",
    );
    check(
        "nas.search.trainer.alpha_optimizer=null",
        "nas.search.trainer.alpha_optimizer",
    );
    check(
        "nas.search.finalizer=strongest",
        "known are default, random, darts_pt",
    );
    for (name, who) in [("darts", "DARTS"), ("divnas", "DivNAS"), ("gs", "gs")] {
        let dir = tempfile::tempdir().expect("a directory");
        let overrides =
            "nas.search.trainer.alpha_optimizer=null nas.search.trainer.alpha_lr_schedule=null";
        let (settings, runner) = settings_of(name, dir.path(), overrides);
        let error = search_with(&settings, runner.as_ref(), dir.path()).0;
        let text = error.map(drop).expect_err("no optimizer").to_string();
        let expect = format!(
            "nas.search.trainer.alpha_optimizer: {who} moves the architecture by an optimizer of its own"
        );
        assert!(text.starts_with(&expect), "{text}");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let (mut other, runner) = settings(dir.path(), "");
    other.nas.search.model_desc.dataset.size = [16, 16];
    let (events, stop) = (Recorded::default(), StopFlag::new());
    let run = Run::new(&events, &NoClock, &stop, 0);
    let experiment = Experiment {
        settings: &other,
        components: Components::builtin(),
        compute: Compute::cpu(),
        run,
        dir: dir.path(),
    };
    let message = run_search(&experiment, runner.as_ref())
        .err()
        .map(|e| e.to_string());
    assert!(message.is_some_and(|m| m.contains("nas.search.model_desc.dataset")));
    let message = eval(dir.path(), "")
        .err()
        .map(|e| e.to_string())
        .unwrap_or_default();
    assert!(message.contains("final_model_desc.yaml"), "{message}");
}

#[test]
fn a_stopped_evaluation_leaves_what_there_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let overrides = "nas.search.trainer.epochs=1 nas.search.darts.second_order=false";
    search(dir.path(), overrides).0.expect("a search");
    let (settings, runner) = settings(dir.path(), "");
    let (events, stop) = (Recorded::default(), StopFlag::new());
    stop.raise();
    let run = Run::new(&events, &NoClock, &stop, settings.common.seed);
    let experiment = Experiment {
        settings: &settings,
        components: Components::builtin(),
        compute: Compute::cpu(),
        run,
        dir: dir.path(),
    };
    let stopped = run_eval(&experiment, runner.as_ref());
    assert!(matches!(stopped, Err(EngineError::Stopped)));
    let text =
        std::fs::read_to_string(dir.path().join("eval_train_metrics.yaml")).expect("metrics");
    let metrics: Metrics = serde_saphyr::from_str(&text).expect("metrics");
    assert_eq!(metrics.run_metrics.epochs_metrics.len(), 1);
    assert_eq!(metrics.run_metrics.epochs_metrics[0].step, 1);
    assert!(dir.path().join("model.pt").is_file());
    logged(&events, "eval_arch/eval_train/epochs/0/train");
}
