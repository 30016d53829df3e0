//! Configurations of Microsoft Archai.

use std::collections::BTreeMap;

use archai_spec::config::{ConfigErrors, ConfigLoader, ConfigTree, Schema};
use archai_spec::settings::{
    Aug, AugName, ImportTarget, ImportedConfig, LossKind, OptimizerKind, ScheduleKind,
    import_archai_config,
};
use serde::Deserialize;

const DEFAULTS: &str = "archai:algos/common.yaml";
const CIFAR10: &str = "archai:datasets/cifar10.yaml";

/// The section of `gs` as far as it matters here.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only the schema is used")]
struct Gs {
    #[serde(default)]
    num_sample: usize,
}

fn schema(algo: &str) -> Schema {
    match algo {
        "gs" => Schema::settings().section::<Gs>("nas.search.gs"),
        _ => Schema::settings(),
    }
}

fn translate(algo: &str, texts: &[(&str, &str)]) -> Result<ImportedConfig, ConfigErrors> {
    let files: BTreeMap<String, String> = texts
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect();
    let defaults = ConfigLoader::new(&files).files(DEFAULTS).dataset(CIFAR10);
    let target = ImportTarget {
        algo,
        defaults: &defaults,
        schema: &schema(algo),
        networks: &["resnet18"],
    };
    import_archai_config(&files, texts[0].0, target)
}

/// The translation over the defaults, as a run would load it.
fn loaded(algo: &str, imported: &ImportedConfig) -> ConfigTree {
    let files = BTreeMap::from([("ours.yaml".to_owned(), imported.yaml.clone())]);
    ConfigLoader::new(&files)
        .files(DEFAULTS)
        .dataset(CIFAR10)
        .files("ours.yaml")
        .load(&schema(algo))
        .unwrap_or_else(|errors| panic!("{errors}\n{}", imported.yaml))
}

/// The note on a key.
#[track_caller]
fn note<'a>(imported: &'a ImportedConfig, key: &str) -> &'a str {
    let found = imported.notes.iter().find(|note| note.key == key);
    match found {
        Some(note) => &note.message,
        None => panic!("no note on {key} among {:?}", imported.notes),
    }
}

/// The shape of Archai's `darts.yaml` and its data-set file, each key once or in its variants.
const DARTS: &str = "__include__: '../datasets/cifar10.yaml'
common:
  experiment_name: throwaway
  logdir: '~/elsewhere'
  log_prefix: log
  log_level: 20
  seed: 3.0
  tb_enable: False
  checkpoint: {filename: $expdir/checkpoint.pth, freq: 10}
  apex: {enabled: False, seed: '_copy: /common/seed'}
  resume: True
nas:
  search:
    finalizer: random
    checkpoint:
      _copy: '/common/checkpoint'
    resume: '_copy: /common/resume'
    pareto: {max_cells: 8, enabled: False}
    model_desc:
      n_reductions: 1
      n_cells: 6
      dataset:
        _copy: '/dataset'
      params: {}
      model_stems:
        ops: ['stem_conv3x3', 'stem_conv3x3']
        init_node_ch: 12
      cell:
        n_nodes: 3
        gs: {num_sample: 1}
    loader:
      apex:
        _copy: '../../trainer/apex'
      aug: ''
      train_batch: 48
      train_workers: null
      test_workers: '_copy: ../train_workers'
      val_fold: 0
      dataset:
        _copy: '/dataset'
        max_batches: 7
    trainer:
      apex:
        _copy: '/common/apex'
      aux_weight: '_copy: /nas/search/model_desc/aux_weight'
      epochs: 40
      plotsdir: ''
      optimizer:
        type: 'sgd'
        lr: 0.03
        decay: 3.0e-4
        momentum: 0.9
        nesterov: False
        decay_bn: .NaN
      alpha_optimizer:
        type: 'sgd'
        lr: 0.02
        decay: 1.0e-3
        momentum: 0.8
      alpha_lr_schedule: {type: ''}
      lr_schedule:
        type: cosine
        min_lr: 0.002
        warmup: null
    seed_train: {trainer: {_copy: /nas/eval/trainer}}
    post_train:
      trainer:
        _copy: '/nas/eval/trainer'
        apex: {enabled: False}
        epochs: 2
  eval:
    model_factory_spec: ''
    model_desc:
      n_cells: 10
      aux_weight: 0.3
    loader:
      aug: autoaug_cifar10
      batch: 128
      cutout: 8
    trainer:
      lossfn:
        type: CrossEntropyLabelSmooth
        smoothing: 0.1
      lr_schedule:
        type: step
        decay_period: 2
        gamma: 0.97
        min_lr: 0.001
autoaug: {num_op: 2}
";
const CIFAR: &str = "dataset: {name: cifar10, n_classes: 10, channels: 3, max_batches: -1, storage_name: cifar-10-batches-py, dataroot: $default_dataroot}\n";

#[test]
fn a_whole_file_means_the_same_here() {
    let files = [
        ("algos/darts.yaml", DARTS),
        ("datasets/cifar10.yaml", CIFAR),
    ];
    let imported = translate("darts", &files).unwrap();
    let settings = loaded("darts", &imported).settings().unwrap();
    assert_eq!(settings.common.seed, 3);
    assert_eq!(settings.common.logdir, "~/elsewhere");
    let search = &settings.nas.search;
    assert_eq!(search.finalizer, "random");
    let model = &search.model_desc;
    assert_eq!(
        (model.n_reductions, model.n_cells, model.cell.n_nodes),
        (1, 6, 3)
    );
    assert_eq!(model.model_stems.init_node_ch, 12);
    let loader = &search.loader;
    assert_eq!(
        (
            loader.train_batch,
            loader.train_workers,
            loader.test_workers
        ),
        (48, 4, 4)
    );
    assert_eq!((loader.dataset.max_batches, &loader.aug), (7, &None));
    let trainer = &search.trainer;
    assert_eq!((trainer.epochs, trainer.optimizer.lr), (40, 0.03));
    assert_eq!(trainer.optimizer.decay_bn, None);
    let alphas = trainer.alpha_optimizer.as_ref().unwrap();
    assert_eq!(alphas.kind, OptimizerKind::Sgd);
    assert_eq!((alphas.momentum, alphas.betas), (Some(0.8), None));
    assert_eq!(trainer.alpha_lr_schedule, None);
    assert_eq!(trainer.lr_schedule.min_lr, Some(0.002));
    assert_eq!(search.post_train.trainer.epochs, 2);
    let eval = &settings.nas.eval;
    assert_eq!(
        (eval.model_desc.n_cells, eval.model_desc.aux_weight),
        (10, 0.3)
    );
    assert_eq!(eval.trainer.aux_weight, 0.3);
    assert_eq!(eval.loader.cutout, 8);
    assert_eq!(eval.trainer.lossfn.kind, LossKind::CrossEntropyLoss);
    assert_eq!(eval.trainer.lossfn.smoothing, 0.1);
    let schedule = &eval.trainer.lr_schedule;
    assert_eq!(schedule.kind, ScheduleKind::Step);
    assert_eq!(
        (schedule.decay_period, schedule.gamma, schedule.min_lr),
        (Some(2), Some(0.97), None)
    );
    assert_eq!(imported.dataset.as_deref(), Some("cifar10"));
    assert_eq!(imported.eval_dataset, None);

    for (key, says) in [
        ("common.experiment_name", "--exp-prefix"),
        ("common.tb_enable", "--track tensorboard"),
        ("common.checkpoint", "go on when the command is given again"),
        ("common.apex", "no settings here"),
        ("common.resume", "left out"),
        ("dataset.name", "--datasets"),
        ("dataset.dataroot", "the data set's own file"),
        ("nas.search.checkpoint", "left out"),
        ("nas.search.pareto", "petridish alone"),
        (
            "nas.search.model_desc.cell.gs.num_sample",
            "it belongs to `gs`",
        ),
        ("nas.search.loader.apex", "left out"),
        ("nas.eval.loader.aug", "AutoAugment"),
        ("nas.search.loader.train_workers", "four"),
        ("nas.search.loader.val_fold", "no folds"),
        ("nas.search.trainer.plotsdir", "archai desc draw"),
        ("nas.search.seed_train", "petridish alone"),
        ("nas.search.post_train.trainer.apex", "left out"),
        ("nas.eval.model_factory_spec", "it is empty"),
        ("nas.eval.loader.batch", "never this key"),
        ("nas.eval.trainer.lossfn.type", "became CrossEntropyLoss"),
        (
            "nas.eval.trainer.lr_schedule.min_lr",
            "no part in `type: step`",
        ),
        ("autoaug", "not searched for"),
    ] {
        let found = note(&imported, key);
        assert!(
            found.contains(says),
            "{key}: `{says}` is missing in: {found}"
        );
    }
    let first = imported
        .notes
        .iter()
        .find(|n| n.key == "common.tb_enable")
        .unwrap();
    assert!(
        first.to_string().starts_with("algos/darts.yaml:8:"),
        "{first}"
    );
}

#[test]
fn every_key_is_carried_over_or_said() {
    let text = "common: {sed: 3, seed: 2.5, log_prefix: ''}
nas:
  search:
    trainer: {epoks: 3, epochs: many, grad_clip: -1.0, alpha_optimizer: {betas: [0.5, x]}}
    loader: {val_ratio: 0.25, aug: 7}
    finalizer: best
    model_desc: {n_cells: 6, model_stem0_op: stem_conv3x3}
    trainer2: 1
  eval:
    trainer: {optimizer: {type: cocob}, lr_schedule: {type: pyramid}}
    model_factory_spec: archai.models.resnet18
    loader: 3
more: {x: 1}
";
    let imported = translate("darts", &[("x.yaml", text)]).unwrap();
    assert_eq!(
        imported.yaml,
        "common:\n  seed: 2\nnas:\n  search:\n    trainer:\n      alpha_optimizer: {}\n    loader:\n      val_ratio: 0.25\n    \
         model_desc:\n      n_cells: 6\n"
    );
    for (key, says) in [
        ("common.sed", "did you mean `seed`?"),
        ("common.seed", "2.5 became 2"),
        ("common.log_prefix", "need a name"),
        ("nas.search.trainer.epoks", "did you mean `epochs`?"),
        ("nas.search.trainer.epochs", "found the text `many`"),
        ("nas.search.trainer.grad_clip", "out of range"),
        (
            "nas.search.trainer.alpha_optimizer.betas",
            "found the text `x`",
        ),
        ("nas.search.loader.aug", "left out"),
        ("nas.search.finalizer", "the text `best` is no finalizer"),
        ("nas.search.model_desc.model_stem0_op", "names both stems"),
        ("nas.search.trainer2", "did you mean `trainer`?"),
        (
            "nas.eval.trainer.optimizer",
            "its type `cocob` is not among sgd, adam",
        ),
        (
            "nas.eval.trainer.lr_schedule",
            "its type `pyramid` is not among",
        ),
        (
            "nas.eval.model_factory_spec",
            "nas.search.manual.model=resnet18",
        ),
        ("nas.eval.loader", "a section was expected"),
        ("more", "no key of Archai's"),
    ] {
        let found = note(&imported, key);
        assert!(
            found.contains(says),
            "{key}: `{says}` is missing in: {found}"
        );
    }
    loaded("darts", &imported);
}

#[test]
fn early_versions_and_other_algorithms() {
    let text = "nas:
  eval:
    checkpoint: {_copy: 'common/checkpoint'}
    model_desc: {n_nodes: 5, cell_post_op: proj_channels, stem_multiplier: 1, init_node_ch: 20,
      model_stem0_op: stem_conv3x3_s4, model_stem1_op: stem_conv3x3_s4s2, dataset: {_copy: '/imagenet_dataset'}}
    loader: {dataset: {_copy: '/imagenet_dataset'}}
    trainer: {aux_weight: '_copy: nas/eval/model_desc/aux_weight'}
  search:
    model_desc: {params: {gs_num_sample: 4}}
    trainer: {optimizer: {type: adam, lr: 0.001, momentum: 0.9}}
imagenet_dataset: {name: imagenet, n_classes: 1000}
dataset: {name: cifar10}
";
    let imported = translate("gs", &[("x.yaml", text)]).unwrap();
    let tree = loaded("gs", &imported);
    let settings = tree.settings().unwrap();
    let model = &settings.nas.eval.model_desc;
    assert_eq!(
        (model.cell.n_nodes, model.cell.cell_post_op.as_str()),
        (5, "proj_channels")
    );
    assert_eq!(
        model.model_stems.ops,
        ["stem_conv3x3_s4", "stem_conv3x3_s4s2"]
    );
    assert_eq!(
        (
            model.model_stems.stem_multiplier,
            model.model_stems.init_node_ch
        ),
        (1, 20)
    );
    assert_eq!(tree.value("nas.search.gs.num_sample"), Some(&4.into()));
    let optimizer = &settings.nas.search.trainer.optimizer;
    assert_eq!(
        (optimizer.kind, optimizer.momentum),
        (OptimizerKind::Adam, None)
    );
    assert_eq!(imported.dataset.as_deref(), Some("cifar10"));
    assert_eq!(imported.eval_dataset.as_deref(), Some("imagenet"));
    assert!(note(&imported, "nas.search.trainer.optimizer.momentum").contains("`type: adam`"));
    assert!(note(&imported, "nas.eval.loader.dataset._copy").contains("--eval-dataset"));
    assert!(note(&imported, "imagenet_dataset").contains("--eval-dataset"));
    // A copy of what is not carried over, and one that leads nowhere.
    let text = "nas: {eval: {trainer: {epochs: '_copy: /common/seed', title: '_copy: ../nothing', grad_clip: '_copy: ../drop_path_prob'}}}";
    let imported = translate("darts", &[("x.yaml", text)]).unwrap();
    assert!(
        note(&imported, "nas.eval.trainer.epochs").contains("(/common/seed) is not carried over")
    );
    assert!(note(&imported, "nas.eval.trainer.title").contains("nothing"));
    assert_eq!(
        loaded("darts", &imported)
            .settings()
            .unwrap()
            .nas
            .eval
            .trainer
            .grad_clip,
        0.2
    );
    // A copy of what has another type.
    let text = "nas: {search: {trainer: {epochs: '_copy: ../title', title: x}}}";
    let imported = translate("darts", &[("x.yaml", text)]).unwrap();
    assert!(note(&imported, "nas.search.trainer.epochs").contains("found the text"));
    assert!(imported.yaml.ends_with("title: x\n"), "{}", imported.yaml);
    let text = "nas: {search: {trainer: {epochs: '_copy: ../grad_clip'}}}";
    let imported = translate("darts", &[("x.yaml", text)]).unwrap();
    assert!(note(&imported, "nas.search.trainer.epochs").contains("left out"));
    // What cannot go together is not taken out, but said.
    let text = "nas: {search: {model_desc: {n_cells: 3, n_reductions: 2}}}";
    let imported = translate("darts", &[("x.yaml", text)]).unwrap();
    assert!(note(&imported, "nas.search.model_desc.n_cells").contains("to be mended before a run"));
}

#[test]
fn broken_files_are_errors_with_their_place() {
    for (text, says) in [
        ("nas: [\n", "x.yaml:"),
        ("a: 1\na: 2\n", "x.yaml:2"),
        ("a: !!python/object:os.system x\n", "tag"),
        (
            "__include__: nowhere.yaml\n",
            "cannot read the configuration file nowhere.yaml",
        ),
        ("__include__: x.yaml\n", "circle"),
        ("- 1\n", "expected a section"),
    ] {
        let error = translate("darts", &[("x.yaml", text)])
            .unwrap_err()
            .to_string();
        assert!(error.contains(says), "`{says}` is missing in: {error}");
    }
    assert_eq!(translate("darts", &[("x.yaml", "")]).unwrap().yaml, "{}\n");
}

#[test]
fn policies_that_are_the_same_are_kept() {
    let same = [
        ("fa_reduced_cifar10", AugName::FaReducedCifar10),
        ("fa_reduced_imagenet", AugName::FaReducedImagenet),
        ("fa_reduced_svhn", AugName::FaReducedSvhn),
        ("arsaug", AugName::Arsaug),
        ("autoaug_extend", AugName::AutoaugExtend),
    ];
    for (name, expect) in same {
        let text = format!(
            "nas: {{search: {{loader: {{aug: {name}}}}}, \
             eval: {{loader: {{aug: '_copy: /nas/search/loader/aug'}}}}}}\n"
        );
        let imported = translate("darts", &[("x.yaml", &text)]).unwrap();
        assert!(imported.notes.is_empty(), "{:?}", imported.notes);
        let settings = loaded("darts", &imported).settings().unwrap();
        let found = [&settings.nas.search.loader, &settings.nas.eval.loader];
        for loader in found {
            assert_eq!(loader.aug, Some(Aug::Named(expect)), "{name}");
        }
    }
    for other in ["autoaug_cifar10", "default", "[[[ShearX, 0.9, 4]]]"] {
        let text = format!("nas: {{search: {{loader: {{aug: {other}}}}}}}\n");
        let imported = translate("darts", &[("x.yaml", &text)]).unwrap();
        let why = note(&imported, "nas.search.loader.aug");
        assert!(
            why.contains("left out") && why.contains("docs/data.md"),
            "{why}"
        );
        loaded("darts", &imported).settings().unwrap();
    }
}
