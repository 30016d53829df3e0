//! The shipped files: all of them load, and their values are the documented defaults.

use crate::config::{DARTS, darts, files, shape};
use archai_spec::config::{
    AddedFiles, ConfigLoader, FileSource, Files, Schema, Shipped, shipped_datasets,
};
use archai_spec::settings::{Dataset, Loader, Settings};
use archai_spec::spaces;
use serde_json::{Value, json};

#[test]
fn every_data_set_and_mode_loads() {
    let algo = "archai:algos/darts.yaml";
    for dataset in shipped_datasets() {
        let source = files(&[]);
        for other in [None, Some("imagenet"), Some("mnist")] {
            for toy in ["", "archai:toy.yaml", "archai:smoke.yaml"] {
                let mut loader = ConfigLoader::new(&source)
                    .files(algo)
                    .dataset(&format!("archai:datasets/{dataset}.yaml"));
                if let Some(other) = other {
                    loader = loader.eval_dataset(&format!("archai:datasets/{other}.yaml"));
                }
                let what = format!("{dataset} {other:?} {toy}");
                let tree = loader
                    .files(toy)
                    .load(&shape())
                    .unwrap_or_else(|e| panic!("{what}: {e}"));
                let settings: Settings = tree.settings().unwrap_or_else(|e| panic!("{what}: {e}"));
                assert_eq!(settings.dataset.name, dataset);
                assert_eq!(
                    settings.nas.eval.loader.dataset.name,
                    other.unwrap_or(dataset)
                );
                assert_eq!(settings.nas.search.post_train.loader.dataset.name, dataset);
            }
        }
    }
}

#[test]
fn the_shipped_files_are_those_of_the_folder() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../confs");
    let mut found = Vec::new();
    for sub in ["", "algos/", "datasets/", "spaces/"] {
        for entry in std::fs::read_dir(format!("{folder}/{sub}")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".yaml") {
                found.push(format!("archai:{sub}{name}"));
            }
        }
    }
    let spaces = spaces::builtin();
    let mut shipped: Vec<String> = spaces::files(&spaces, &Shipped).shipped();
    // A space without settings has no file in the folder.
    shipped.retain(|name| *name != spaces::file(&spaces::DartsSpace));
    found.sort();
    shipped.sort();
    assert_eq!(found, shipped);
    let path = format!("{folder}/algos/common.yaml");
    assert_eq!(
        Files.read(&path).unwrap(),
        Files.read("archai:algos/common.yaml").unwrap()
    );
    let source = AddedFiles::new([(DARTS.0.to_owned(), DARTS.1)], &Files);
    let tree = ConfigLoader::new(&source)
        .files(DARTS.0)
        .dataset(&format!("{folder}/datasets/cifar10.yaml"))
        .load(&shape());
    assert_eq!(
        tree.unwrap().to_yaml(),
        darts(&[], "", &[]).unwrap().to_yaml()
    );
}

/// The shipped file explains every key of data sets and loaders, also those that are off, and what it shows in comments can be
/// written as it stands.
#[test]
fn keys_that_may_be_left_out_are_shown() {
    let text = Files.read("archai:algos/common.yaml").unwrap();
    // `# key: …` at any depth; other comments have more than a word before their colon.
    let shown = |line: &str| {
        let (indent, comment) = line.split_once("# ")?;
        let key = comment.trim_start().split_once(':')?.0;
        let is_key = !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        (is_key && indent.trim().is_empty()).then(|| format!("{indent}{comment}"))
    };
    let written: Vec<String> = text
        .lines()
        .map(|line| shown(line).unwrap_or_else(|| line.to_owned()))
        .collect();
    let written = written.join("\n");
    assert!(text.lines().filter_map(shown).count() > 25, "{written}");
    let keys = |schema: schemars::Schema| -> Vec<String> {
        let keys = schema.as_value()["properties"].as_object().unwrap();
        keys.keys().cloned().collect()
    };
    let of_data = keys(schemars::schema_for!(Dataset));
    let all = [of_data, keys(schemars::schema_for!(Loader))].concat();
    assert!(all.len() > 35, "{all:?}");
    for key in all {
        // A data set's own file has the rest.
        if [
            "name",
            "format",
            "path",
            "n_classes",
            "channels",
            "size",
            "mean",
            "std",
        ]
        .contains(&&*key)
        {
            continue;
        }
        let has = |line: &str| {
            line.trim_start()
                .strip_prefix(&key)
                .is_some_and(|r| r.starts_with(':'))
        };
        assert!(written.lines().any(has), "{key} is not shown");
    }
    let source = files(&[("all.yaml", &written)]);
    let tree = ConfigLoader::new(&source)
        .files("all.yaml")
        .dataset("archai:datasets/cifar10.yaml")
        .load(&Schema::settings());
    tree.unwrap_or_else(|e| panic!("{e}\n{written}"));
}

#[test]
fn darts_on_cifar10_has_the_documented_defaults() {
    let full = darts(&[], "", &[]).unwrap();
    let toy = darts(&[], "archai:smoke.yaml", &[]).unwrap();
    full.settings().unwrap();
    toy.settings().unwrap();
    // (key, full, toy where it differs)
    let same = Value::String("same".into());
    let optimizer = json!({"type": "sgd", "lr": 0.025, "decay": 0.0003, "decay_bn": null, "momentum": 0.9, "nesterov": false});
    let stems = |channels: u32| {
        json!({
            "ops": ["stem_conv3x3", "stem_conv3x3"], "wiring": "independent", "affine": null,
            "stem_multiplier": 3, "init_node_ch": channels,
        })
    };
    let table = [
        ("common.logdir", json!("~/logdir"), &same),
        ("common.log_prefix", json!("log"), &same),
        ("common.log_level", json!(20), &same),
        ("common.yaml_log", json!(true), &same),
        ("common.seed", json!(2), &same),
        (
            "common.checkpoint",
            json!({"every_steps": 0, "every_seconds": 60, "keep": 2}),
            &same,
        ),
        ("dataset.name", json!("cifar10"), &same),
        ("dataset.n_classes", json!(10), &same),
        ("dataset.channels", json!(3), &same),
        ("dataset.max_batches", json!(-1), &same),
        ("nas.search.finalizer", json!("default"), &same),
        (
            "nas.search.final_desc_filename",
            json!("$expdir/final_model_desc.yaml"),
            &same,
        ),
        (
            "nas.search.darts",
            json!({"second_order": true, "epsilon": 0.01}),
            &same,
        ),
        ("nas.search.model_desc.n_reductions", json!(2), &json!(1)),
        ("nas.search.model_desc.n_cells", json!(8), &json!(3)),
        ("nas.search.model_desc.max_final_edges", json!(2), &same),
        (
            "nas.search.model_desc.model_post_op",
            json!("pool_adaptive_avg2d"),
            &same,
        ),
        ("nas.search.model_desc.aux_weight", json!(0.0), &same),
        ("nas.search.model_desc.aux_tower_stride", json!(3), &same),
        ("nas.search.model_desc.model_stems", stems(16), &same),
        (
            "nas.search.model_desc.cell",
            json!({"n_nodes": 4, "cell_post_op": "concate_channels"}),
            &json!({"n_nodes": 2, "cell_post_op": "concate_channels"}),
        ),
        (
            "nas.search.model_desc.dataset.name",
            json!("cifar10"),
            &same,
        ),
        ("nas.search.loader.cutout", json!(0), &same),
        ("nas.search.loader.load_train", json!(true), &same),
        ("nas.search.loader.load_test", json!(false), &same),
        ("nas.search.loader.train_batch", json!(64), &json!(32)),
        ("nas.search.loader.test_batch", json!(1024), &json!(32)),
        ("nas.search.loader.train_workers", json!(4), &same),
        ("nas.search.loader.test_workers", json!(4), &same),
        ("nas.search.loader.val_ratio", json!(0.5), &same),
        ("nas.search.loader.val_augment", json!(true), &same),
        (
            "nas.search.loader.dataset.max_batches",
            json!(-1),
            &json!(12),
        ),
        ("nas.search.trainer.title", json!("arch_train"), &same),
        ("nas.search.trainer.epochs", json!(50), &json!(1)),
        ("nas.search.trainer.batch_chunks", json!(1), &same),
        ("nas.search.trainer.logger_freq", json!(1000), &json!(1)),
        ("nas.search.trainer.aux_weight", json!(0.0), &same),
        ("nas.search.trainer.drop_path_prob", json!(0.0), &same),
        ("nas.search.trainer.grad_clip", json!(5.0), &same),
        ("nas.search.trainer.l1_alphas", json!(0.0), &same),
        (
            "nas.search.trainer.lossfn",
            json!({"type": "CrossEntropyLoss", "smoothing": 0.0}),
            &same,
        ),
        ("nas.search.trainer.optimizer", optimizer.clone(), &same),
        (
            "nas.search.trainer.lr_schedule",
            json!({"type": "cosine", "min_lr": 0.001, "warmup": null}),
            &same,
        ),
        (
            "nas.search.trainer.alpha_optimizer",
            json!({"type": "adam", "lr": 0.0003, "decay": 0.001, "decay_bn": null, "betas": [0.5, 0.999]}),
            &same,
        ),
        ("nas.search.trainer.alpha_lr_schedule", Value::Null, &same),
        (
            "nas.search.trainer.validation.title",
            json!("search_val"),
            &same,
        ),
        (
            "nas.search.trainer.validation.logger_freq",
            json!(0),
            &json!(1),
        ),
        (
            "nas.search.trainer.validation.batch_chunks",
            json!(1),
            &same,
        ),
        ("nas.search.trainer.validation.freq", json!(1), &same),
        (
            "nas.search.post_train.trainer.title",
            json!("post_train"),
            &same,
        ),
        ("nas.search.post_train.trainer.epochs", json!(0), &same),
        (
            "nas.search.post_train.trainer.aux_weight",
            json!(0.0),
            &same,
        ),
        (
            "nas.search.post_train.trainer.drop_path_prob",
            json!(0.0),
            &same,
        ),
        (
            "nas.search.post_train.trainer.optimizer",
            optimizer.clone(),
            &same,
        ),
        (
            "nas.search.post_train.loader.train_batch",
            json!(128),
            &json!(32),
        ),
        (
            "nas.search.post_train.loader.test_batch",
            json!(1024),
            &json!(32),
        ),
        (
            "nas.search.post_train.loader.val_ratio",
            json!(0.1),
            &json!(0.5),
        ),
        ("nas.search.post_train.loader.cutout", json!(16), &same),
        (
            "nas.search.post_train.loader.dataset.max_batches",
            json!(-1),
            &json!(8),
        ),
        (
            "nas.eval.full_desc_filename",
            json!("$expdir/full_model_desc.yaml"),
            &same,
        ),
        (
            "nas.eval.final_desc_filename",
            json!("$expdir/final_model_desc.yaml"),
            &same,
        ),
        (
            "nas.eval.metric_filename",
            json!("$expdir/eval_train_metrics.yaml"),
            &same,
        ),
        ("nas.eval.model_filename", json!("$expdir/model.pt"), &same),
        ("nas.eval.test_every_epoch", json!(false), &same),
        ("nas.eval.model_desc.n_reductions", json!(2), &same),
        ("nas.eval.model_desc.n_cells", json!(20), &json!(5)),
        ("nas.eval.model_desc.max_final_edges", json!(2), &same),
        (
            "nas.eval.model_desc.model_post_op",
            json!("pool_adaptive_avg2d"),
            &same,
        ),
        ("nas.eval.model_desc.aux_weight", json!(0.4), &same),
        ("nas.eval.model_desc.aux_tower_stride", json!(3), &same),
        ("nas.eval.model_desc.model_stems", stems(36), &same),
        (
            "nas.eval.model_desc.cell",
            json!({"n_nodes": 4, "cell_post_op": "concate_channels"}),
            &same,
        ),
        ("nas.eval.loader.cutout", json!(16), &same),
        ("nas.eval.loader.load_train", json!(true), &same),
        ("nas.eval.loader.load_test", json!(true), &same),
        ("nas.eval.loader.train_batch", json!(96), &json!(32)),
        ("nas.eval.loader.test_batch", json!(1024), &json!(32)),
        ("nas.eval.loader.train_workers", json!(4), &same),
        ("nas.eval.loader.test_workers", json!(4), &same),
        ("nas.eval.loader.val_ratio", json!(0.0), &same),
        ("nas.eval.loader.dataset.max_batches", json!(-1), &json!(8)),
        ("nas.eval.trainer.title", json!("eval_train"), &same),
        ("nas.eval.trainer.epochs", json!(600), &json!(1)),
        ("nas.eval.trainer.batch_chunks", json!(1), &same),
        ("nas.eval.trainer.logger_freq", json!(1000), &json!(1)),
        ("nas.eval.trainer.aux_weight", json!(0.4), &same),
        ("nas.eval.trainer.drop_path_prob", json!(0.2), &same),
        ("nas.eval.trainer.grad_clip", json!(5.0), &same),
        ("nas.eval.trainer.l1_alphas", json!(0.0), &same),
        (
            "nas.eval.trainer.lossfn",
            json!({"type": "CrossEntropyLoss", "smoothing": 0.0}),
            &same,
        ),
        ("nas.eval.trainer.optimizer", optimizer, &same),
        (
            "nas.eval.trainer.lr_schedule",
            json!({"type": "cosine", "min_lr": 0.0, "warmup": {"epochs": 0, "multiplier": 1}}),
            &json!({"type": "cosine", "min_lr": 0.0, "warmup": null}),
        ),
        ("nas.eval.trainer.alpha_optimizer", Value::Null, &same),
        ("nas.eval.trainer.alpha_lr_schedule", Value::Null, &same),
        (
            "nas.eval.trainer.validation.title",
            json!("eval_test"),
            &same,
        ),
        (
            "nas.eval.trainer.validation.logger_freq",
            json!(0),
            &json!(1),
        ),
        ("nas.eval.trainer.validation.batch_chunks", json!(1), &same),
        ("nas.eval.trainer.validation.freq", json!(1), &same),
    ];
    for (key, expect, in_toy) in &table {
        assert_eq!(full.value(key), Some(expect), "{key}");
        let in_toy = if *in_toy == &same { expect } else { in_toy };
        assert_eq!(toy.value(key), Some(in_toy), "toy: {key}");
    }
}

#[test]
fn data_sets_have_their_published_statistics() {
    let table = [
        (
            "cifar10",
            10,
            3,
            [32, 32],
            vec![0.49139968, 0.48215827, 0.44653124],
            vec![0.24703233, 0.24348505, 0.26158768],
            true,
        ),
        (
            "cifar100",
            100,
            3,
            [32, 32],
            vec![0.507, 0.487, 0.441],
            vec![0.267, 0.256, 0.276],
            true,
        ),
        (
            "mnist",
            10,
            1,
            [32, 32],
            vec![0.13066],
            vec![0.30811],
            false,
        ),
        (
            "fashion_mnist",
            10,
            1,
            [32, 32],
            vec![0.28604],
            vec![0.35302],
            true,
        ),
        (
            "fashion_mnist_mini",
            10,
            1,
            [32, 32],
            vec![0.28604],
            vec![0.35302],
            true,
        ),
        (
            "imagenet",
            1000,
            3,
            [224, 224],
            vec![0.485, 0.456, 0.406],
            vec![0.229, 0.224, 0.225],
            true,
        ),
        (
            "svhn",
            10,
            3,
            [32, 32],
            vec![0.4914, 0.4822, 0.4465],
            vec![0.2023, 0.1994, 0.2010],
            true,
        ),
        (
            "food101",
            101,
            3,
            [224, 224],
            vec![0.5451, 0.4435, 0.3436],
            vec![0.2171, 0.2251, 0.2260],
            true,
        ),
        (
            "flower102",
            102,
            3,
            [224, 224],
            vec![0.5190, 0.4101, 0.3274],
            vec![0.2972, 0.2488, 0.2847],
            true,
        ),
        (
            "mit67",
            67,
            3,
            [224, 224],
            vec![0.4893, 0.4270, 0.3625],
            vec![0.2631, 0.2565, 0.2582],
            true,
        ),
        (
            "sport8",
            8,
            3,
            [224, 224],
            vec![0.4734, 0.4856, 0.4526],
            vec![0.2478, 0.2444, 0.2667],
            true,
        ),
        (
            "aircraft",
            100,
            3,
            [224, 224],
            vec![0.4893, 0.4270, 0.3625],
            vec![0.2631, 0.2565, 0.2582],
            true,
        ),
        (
            "stanfordcars",
            196,
            3,
            [224, 224],
            vec![0.4893, 0.4270, 0.3625],
            vec![0.2631, 0.2565, 0.2582],
            true,
        ),
    ];
    assert_eq!(table.len(), shipped_datasets().count());
    for (name, n_classes, channels, size, mean, std, flip) in table {
        let file = format!("archai:datasets/{name}.yaml");
        let source = files(&[]);
        let tree = ConfigLoader::new(&source)
            .files("archai:algos/darts.yaml")
            .dataset(&file)
            .load(&shape())
            .unwrap();
        let data = tree.settings().unwrap().nas.eval.loader.dataset;
        assert_eq!(
            (data.n_classes, data.channels, data.size, data.flip),
            (n_classes, channels, size, flip),
            "{name}"
        );
        assert_eq!((data.mean, data.std), (mean, std), "{name}");
    }
}
