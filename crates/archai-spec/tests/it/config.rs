//! Layers, includes, overrides, path variables. Also the small helpers that the other configuration tests use.

use archai_spec::config::{
    ConfigLoader, ConfigTree, FileSource, Schema, Shipped, Vars, expand, parse_overrides,
};
use archai_spec::registry::{Named, Registry};
use archai_spec::settings::{
    Aug, AugName, AugOp, AugStep, AugWith, Checkpoint, Dataset, RandAugment, Resize, Settings,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// DARTS's own section, as the algorithm will type it.
#[derive(Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Darts {
    pub second_order: bool,
    #[schemars(range(min = 0.0))]
    pub epsilon: f64,
}

/// Things that a configuration may name.
pub struct Thing(&'static str);

impl Named for Thing {
    fn name(&self) -> &str {
        self.0
    }
    fn about(&self) -> &str {
        "a thing"
    }
}

pub fn shape() -> Schema {
    let list = |kind, names: &[&'static str]| {
        let things = names.iter().map(|name| Arc::new(Thing(name)));
        things.fold(Registry::<Thing>::new(kind), Registry::with)
    };
    let formats = [
        "embedded",
        "cifar10_binary",
        "cifar100_binary",
        "idx",
        "parquet",
        "image_folder",
        "csv",
        "mat",
        "food101",
        "mit67",
        "fgvc_aircraft",
        "flowers102",
    ];
    Schema::settings()
        .section::<Darts>("nas.search.darts")
        .naming(&list("data format", &formats))
        .naming(&list("transform", &["crop", "flip"]))
}

pub fn open() -> Schema {
    Schema::of::<Value>()
}

/// The defaults of an algorithm.
pub const DARTS: (&str, &str) = (
    "archai:algos/darts.yaml",
    "__include__: common.yaml\nnas: {search: {darts: {second_order: true, epsilon: 0.01}}}",
);

/// Files by name, with [`DARTS`] among them.
pub fn files(files: &[(&str, &str)]) -> BTreeMap<String, String> {
    files
        .iter()
        .chain([&DARTS])
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect()
}

pub fn args(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}

/// Loads files (`;` between them) with overrides; an error is what the user would read.
pub fn load(
    texts: &[(&str, &str)],
    names: &str,
    given: &[&str],
    shape: &Schema,
) -> Result<ConfigTree, String> {
    let source = files(texts);
    let overrides = parse_overrides(&args(given)).map_err(|e| e.to_string())?;
    ConfigLoader::new(&source)
        .files(names)
        .overrides(overrides)
        .load(shape)
        .map_err(|e| e.to_string())
}

/// darts on cifar10, under more files and overrides.
pub fn darts(texts: &[(&str, &str)], names: &str, given: &[&str]) -> Result<ConfigTree, String> {
    let source = files(texts);
    let overrides = parse_overrides(&args(given)).map_err(|e| e.to_string())?;
    ConfigLoader::new(&source)
        .files("archai:algos/darts.yaml")
        .dataset("archai:datasets/cifar10.yaml")
        .files(names)
        .overrides(overrides)
        .load(&shape())
        .map_err(|e| e.to_string())
}

/// `file:line:col` of the first line of a shipped file that starts with a key, below the first that starts with another.
pub fn place(file: &str, above: &str, key: &str) -> String {
    let text = Shipped.read(file).unwrap();
    let starts = |line: &str, key: &str| line.trim_start().starts_with(key);
    let lines = text
        .lines()
        .enumerate()
        .skip_while(|(_, line)| !starts(line, above));
    let (i, line) = lines.skip(1).find(|(_, line)| starts(line, key)).unwrap();
    format!(
        "{file}:{}:{}",
        i + 1,
        line.len() - line.trim_start().len() + 1
    )
}

fn root(tree: &ConfigTree) -> &Value {
    tree.value("").unwrap()
}

#[test]
fn later_files_win_key_by_key() {
    let table = [
        (
            "a: {x: 1, y: 2}",
            "a: {y: 3}",
            json!({"a": {"x": 1, "y": 3}}),
        ),
        ("a: [1, 2]", "a: [3]", json!({"a": [3]})),
        ("a: null", "a: {x: 1}", json!({"a": {"x": 1}})),
        ("a: 5", "a: {x: 1}", json!({"a": {"x": 1}})),
        ("a: {x: 1}", "a: null", json!({"a": null})),
        ("a: {x: 1}", "b: 2", json!({"a": {"x": 1}, "b": 2})),
        ("a: {x: 1}", "", json!({"a": {"x": 1}})),
        (
            "a: {x: 1}",
            "# nothing but a comment",
            json!({"a": {"x": 1}}),
        ),
        (
            "s: {x: 1, y: 2}\na: '_copy: /s'",
            "a: {y: 3}",
            json!({"s": {"x": 1, "y": 2}, "a": {"y": 3, "x": 1}}),
        ),
        (
            "s: {x: 1}\na: {_copy: /s}",
            "a: {_copy: null, y: 3}",
            json!({"s": {"x": 1}, "a": {"y": 3}}),
        ),
        (
            "a: {x: &v {p: 1}, y: *v}",
            "a: {y: {q: 2}}",
            json!({"a": {"x": {"p": 1}, "y": {"p": 1, "q": 2}}}),
        ),
    ];
    for (first, second, expect) in table {
        let tree = load(&[("f", first), ("g", second)], "f; g", &[], &open()).unwrap();
        assert_eq!(root(&tree), &expect, "{first} ; {second}");
    }
}

#[test]
fn includes_come_first() {
    let texts = [
        (
            "main.yaml",
            "__include__: [sub/a.yaml, sub/b.yaml]\nmine: 1\nboth: main",
        ),
        (
            "sub/a.yaml",
            "__include__: ../deep.yaml\na: 1\nboth: a\nab: a",
        ),
        ("sub/b.yaml", "b: 1\nboth: b\nab: b"),
        ("deep.yaml", "deep: 1\nboth: deep\na: deep"),
    ];
    let tree = load(&texts, "main.yaml", &[], &open()).unwrap();
    let expect = json!({"deep": 1, "both": "main", "a": 1, "ab": "b", "b": 1, "mine": 1});
    assert_eq!(root(&tree), &expect);
    assert_eq!(tree.origin("ab").unwrap().to_string(), "sub/b.yaml:3:1");

    // The same file twice is no circle.
    let texts = [
        ("m", "__include__: [a, b]"),
        ("a", "__include__: c"),
        ("b", "__include__: c\nx: b"),
        ("c", "x: c"),
    ];
    assert_eq!(
        root(&load(&texts, "m", &[], &open()).unwrap()),
        &json!({"x": "b"})
    );

    // A user's file includes a shipped one.
    let own =
        "__include__: [archai:algos/darts.yaml, archai:datasets/mnist.yaml]\ncommon: {seed: 7}";
    let settings = load(&[("own.yaml", own)], "own.yaml", &[], &shape())
        .unwrap()
        .settings()
        .unwrap();
    assert_eq!(
        (
            settings.common.seed,
            settings.nas.eval.loader.dataset.channels
        ),
        (7, 1)
    );
}

#[test]
fn overrides_of_every_form() {
    let trainer = "nas.search.trainer";
    let table: &[(&[&str], &str, Value)] = &[
        (
            &["--nas.eval.trainer.epochs", "200"],
            "nas.eval.trainer.epochs",
            json!(200),
        ),
        (
            &["--nas.eval.trainer.epochs=200"],
            "nas.eval.trainer.epochs",
            json!(200),
        ),
        (
            &["nas.eval.trainer.epochs=200"],
            "nas.eval.trainer.epochs",
            json!(200),
        ),
        (&["common.seed=1", "common.seed=3"], "common.seed", json!(3)),
        // The schema decides what a value is.
        (&["--dataset.name", "123"], "dataset.name", json!("123")),
        (&["--dataset.name", "true"], "dataset.name", json!("true")),
        (&["--dataset.name="], "dataset.name", json!("")),
        (
            &["--common.logdir", "~/runs=1"],
            "common.logdir",
            json!("~/runs=1"),
        ),
        (
            &["--nas.search.trainer.grad_clip", "2"],
            "nas.search.trainer.grad_clip",
            json!(2),
        ),
        (
            &["--nas.search.trainer.optimizer.lr", "1e-2"],
            "nas.search.trainer.optimizer.lr",
            json!(0.01),
        ),
        (
            &["--nas.search.trainer.optimizer.nesterov", "yes"],
            "nas.search.trainer.optimizer.nesterov",
            json!(true),
        ),
        (
            &["--nas.search.loader.load_test", "ON"],
            "nas.search.loader.load_test",
            json!(true),
        ),
        (
            &["--nas.search.loader.load_test", "1"],
            "nas.search.loader.load_test",
            json!(true),
        ),
        (
            &["--nas.search.darts.second_order", "f"],
            "nas.search.darts.second_order",
            json!(false),
        ),
        (
            &["--dataset.max_batches", "-1"],
            "dataset.max_batches",
            json!(-1),
        ),
        (
            &["--nas.search.trainer.optimizer.decay_bn", "null"],
            "nas.search.trainer.optimizer.decay_bn",
            Value::Null,
        ),
        (
            &["--nas.search.trainer.optimizer.decay_bn", "0"],
            "nas.search.trainer.optimizer.decay_bn",
            json!(0),
        ),
        (
            &["--nas.search.trainer.alpha_optimizer", "null"],
            "nas.search.trainer.alpha_optimizer",
            Value::Null,
        ),
        (
            &["--nas.search.trainer.alpha_optimizer="],
            "nas.search.trainer.alpha_optimizer",
            Value::Null,
        ),
        // Lists and sections.
        (
            &["--nas.search.trainer.alpha_optimizer.betas", "[0.9, 0.99]"],
            "nas.search.trainer.alpha_optimizer.betas",
            json!([0.9, 0.99]),
        ),
        (&["dataset.size=[64,64]"], "dataset.size", json!([64, 64])),
        (
            &["--nas.eval.model_desc.model_stems.ops", "[stem_a, '123']"],
            "nas.eval.model_desc.model_stems.ops",
            json!(["stem_a", "123"]),
        ),
        (
            &[
                "--nas.search.trainer.lr_schedule",
                "{type: step, min_lr: null, decay_period: 2, gamma: .9}",
            ],
            "nas.search.trainer.lr_schedule",
            json!({"type": "step", "min_lr": null, "warmup": null, "decay_period": 2, "gamma": 0.9}),
        ),
        // A section where there was null.
        (
            &[
                "--nas.search.trainer.lr_schedule.warmup.epochs=5",
                "nas.search.trainer.lr_schedule.warmup.multiplier=1",
            ],
            "nas.search.trainer.lr_schedule.warmup",
            json!({"epochs": 5, "multiplier": 1}),
        ),
        // Copies: an override of a source reaches what copies it, one of a copy stays there.
        (
            &["--dataset.max_batches", "3"],
            "nas.search.post_train.loader.dataset.max_batches",
            json!(3),
        ),
        (
            &["--dataset.max_batches", "3"],
            "nas.eval.loader.dataset.max_batches",
            json!(3),
        ),
        (
            &["--nas.eval.loader.dataset.max_batches", "3"],
            "nas.eval.loader.dataset.max_batches",
            json!(3),
        ),
        (
            &["--nas.eval.loader.dataset.max_batches", "3"],
            "dataset.max_batches",
            json!(-1),
        ),
        (
            &["--nas.eval.model_desc.aux_weight", "0.2"],
            "nas.eval.trainer.aux_weight",
            json!(0.2),
        ),
        (
            &["--nas.eval.trainer.optimizer.lr", "0.1"],
            "nas.search.post_train.trainer.optimizer.lr",
            json!(0.1),
        ),
        (
            &["--nas.search.post_train.trainer.optimizer.lr", "0.1"],
            "nas.eval.trainer.optimizer.lr",
            json!(0.025),
        ),
        (
            &["--nas.search.post_train.trainer.optimizer.lr", "0.1"],
            "nas.search.post_train.trainer.optimizer.momentum",
            json!(0.9),
        ),
        (
            &["--nas.eval.trainer.batch_chunks", "4"],
            "nas.search.post_train.trainer.validation.batch_chunks",
            json!(4),
        ),
        (
            &["--nas.search.loader.train_workers", "0"],
            "nas.search.loader.test_workers",
            json!(0),
        ),
        (
            &["--nas.search.loader._copy", "/nas/eval/loader"],
            "nas.search.loader.val_ratio",
            json!(0.5),
        ),
        (
            &[
                "--nas.eval.trainer.aux_weight",
                "_copy: /nas/search/trainer/drop_path_prob",
            ],
            "nas.eval.trainer.aux_weight",
            json!(0.0),
        ),
    ];
    for (given, key, expect) in table {
        let tree = darts(&[], "", given).unwrap_or_else(|e| panic!("{given:?}: {e}"));
        assert_eq!(tree.value(key), Some(expect), "{given:?}");
    }
    let tree = darts(&[], "", &["--nas.search.trainer.epochs", "3"]).unwrap();
    assert_eq!(
        tree.origin(&format!("{trainer}.epochs"))
            .unwrap()
            .to_string(),
        "`--nas.search.trainer.epochs 3`"
    );
}

#[test]
fn command_lines_that_are_no_overrides() {
    let table = [
        (
            vec!["--nas.eval.trainer.epochs"],
            "`--nas.eval.trainer.epochs`: a value is missing; write `--nas.eval.trainer.epochs VALUE` or `--nas.eval.trainer.epochs=VALUE`",
        ),
        (
            vec!["--common.seed", "--common.log_level", "3"],
            "`--common.seed`: a value is missing; write `--common.seed VALUE` or `--common.seed=VALUE`",
        ),
        (
            vec!["epochs", "3"],
            "`epochs`: not understood; expected `--a.b.c VALUE`, `--a.b.c=VALUE` or `a.b.c=VALUE`\n`3`: not understood; expected `--a.b.c VALUE`, `--a.b.c=VALUE` or `a.b.c=VALUE`",
        ),
        (
            vec!["--.x=1"],
            "`--.x=1`: not understood; expected `--a.b.c VALUE`, `--a.b.c=VALUE` or `a.b.c=VALUE`",
        ),
        (
            vec!["-x=1"],
            "`-x=1`: not understood; expected `--a.b.c VALUE`, `--a.b.c=VALUE` or `a.b.c=VALUE`",
        ),
        (
            vec![""],
            "``: not understood; expected `--a.b.c VALUE`, `--a.b.c=VALUE` or `a.b.c=VALUE`",
        ),
    ];
    for (given, expect) in table {
        assert_eq!(
            parse_overrides(&args(&given)).unwrap_err().to_string(),
            expect
        );
    }
}

/// Not even fields that have no default.
#[test]
fn a_data_set_leaves_nothing_to_the_next_one() {
    let set = |name: &str, more: &str| {
        format!(
            "dataset: {{name: {name}, format: parquet, path: x, n_classes: 5, channels: 1, size: [32, 32], mean: [0.5], \
             std: [0.2]{more}}}"
        )
    };
    let flipped = set("flipped", ", transforms: [flip, crop]");
    let source = files(&[
        ("flipped.yaml", flipped.as_str()),
        ("plain.yaml", &set("plain", "")),
    ]);
    let load = |loader: ConfigLoader| loader.load(&shape()).unwrap();
    let base = || ConfigLoader::new(&source).files("archai:algos/darts.yaml");
    let given = Some(vec!["flip".to_owned(), "crop".to_owned()]);

    let one = load(base().dataset("flipped.yaml").eval_dataset("plain.yaml"));
    let one = one.settings().unwrap();
    assert_eq!(one.dataset.transforms, given);
    assert_eq!(one.nas.eval.loader.dataset.transforms, None);

    let two = load(base().dataset("flipped.yaml").dataset("plain.yaml"));
    let two = two.settings().unwrap();
    assert_eq!(two.dataset.transforms, None);
    assert_eq!(two.nas.eval.loader.dataset.transforms, None);

    let three = base().dataset("plain.yaml").eval_dataset("flipped.yaml");
    let three = load(three.eval_dataset("plain.yaml")).settings().unwrap();
    assert_eq!(three.nas.eval.loader.dataset.transforms, None);
    assert_eq!(three.nas.eval.model_desc.dataset.transforms, None);

    // Where nothing would show through, nothing is added.
    let plain = load(base().dataset("plain.yaml")).to_yaml();
    assert!(!plain.contains("transforms"), "{plain}");
}

#[test]
fn the_evaluation_may_have_its_own_data() {
    let own = "dataset: {format: parquet, path: $dataroot/mine, n_classes: 5, channels: 1, size: [32, 32], mean: [0.5], std: [0.2]}\nnas: {eval: {trainer: {epochs: 9}}, search: {trainer: {epochs: 8}}}";
    let source = files(&[("sets/mine.yaml", own)]);
    let load = |loader: ConfigLoader| loader.load(&shape()).unwrap().settings().unwrap();
    let base = || {
        ConfigLoader::new(&source)
            .files("archai:algos/darts.yaml")
            .dataset("archai:datasets/imagenet.yaml")
    };

    let settings = load(
        base()
            .eval_dataset("sets/mine.yaml")
            .files("archai:smoke.yaml"),
    );
    assert_eq!(settings.dataset.name, "imagenet");
    assert_eq!(
        settings.nas.search.post_train.loader.dataset.name,
        "imagenet"
    );
    let eval = &settings.nas.eval;
    for dataset in [&eval.loader.dataset, &eval.model_desc.dataset] {
        assert_eq!(
            (dataset.name.as_str(), dataset.n_classes, dataset.channels),
            ("mine", 5, 1)
        );
        // Defaults of the data set, not imagenet's values.
        assert_eq!((dataset.test.as_deref(), dataset.crop_padding), (None, 4));
    }
    assert_eq!(
        (
            eval.loader.dataset.max_batches,
            eval.trainer.epochs,
            settings.nas.search.trainer.epochs
        ),
        (8, 1, 1)
    );

    let settings = load(base().eval_dataset("sets/mine.yaml"));
    assert_eq!(
        (
            settings.nas.eval.trainer.epochs,
            settings.nas.search.trainer.epochs
        ),
        (9, 50)
    );

    // A part of the file that the evaluation does not use is checked for its names all the same.
    let bad = files(&[(
        "bad.yaml",
        "dataset: {channels: 1}\nnas: {search: {trainr: {epochs: 1}}}",
    )]);
    let error = ConfigLoader::new(&bad)
        .files("archai:algos/darts.yaml")
        .eval_dataset("bad.yaml")
        .load(&shape())
        .unwrap_err();
    assert!(
        error.to_string().starts_with(
            "bad.yaml:2:16: unknown key `trainr` in nas.search; did you mean `nas.search.trainer`?"
        ),
        "{error}"
    );

    // As the data set of all phases.
    let settings = load(
        ConfigLoader::new(&source)
            .files("archai:algos/darts.yaml")
            .dataset("sets/mine.yaml"),
    );
    assert_eq!(
        (
            settings.nas.search.loader.dataset.name.as_str(),
            settings.nas.search.trainer.epochs
        ),
        ("mine", 8)
    );
}

#[test]
fn shown_trees_load_again() {
    let tree = darts(
        &[],
        "archai:smoke.yaml",
        &["--dataset.name", "on", "--common.logdir", "a: b # c"],
    )
    .unwrap();
    let shown = tree.to_yaml();
    assert!(
        shown.contains("name: \"on\"") && shown.contains("ops: [stem_conv3x3, stem_conv3x3]"),
        "{shown}"
    );
    let again = load(&[("shown", &shown)], "shown", &[], &shape()).unwrap();
    assert_eq!(again.settings().unwrap(), tree.settings().unwrap());
    assert_eq!(again.to_yaml(), shown);

    let origins = tree.to_yaml_with_origins();
    for line in [
        "name: \"on\"  # `--dataset.name on`".to_owned(),
        format!(
            "epochs: 1  # {}",
            place("archai:smoke.yaml", "trainer:", "epochs:")
        ),
        format!(
            "max_batches: 12  # {}",
            place("archai:smoke.yaml", "search:", "max_batches:")
        ),
    ] {
        assert!(
            origins.lines().any(|shown| shown.trim_start() == line),
            "{line}\n{origins}"
        );
    }
    assert!(
        shown.starts_with("common:\n") && shown.contains("\ndataset:\n  name:"),
        "{shown}"
    );
    assert_eq!(origins.lines().count(), shown.lines().count());
    assert!(load(&[("shown", &origins)], "shown", &[], &shape()).is_ok());
}

#[test]
fn path_variables() {
    let vars = Vars::from(
        [
            ("HOME", "/home/ada"),
            ("expdir", "/runs/x"),
            ("dataroot", "/data"),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned())),
    );
    let table = [
        ("~/logdir", Ok("/home/ada/logdir")),
        ("~", Ok("/home/ada")),
        ("a/~/b", Ok("a/~/b")),
        ("$expdir/model.pt", Ok("/runs/x/model.pt")),
        ("${expdir}_2/$dataroot", Ok("/runs/x_2//data")),
        ("100$", Ok("100$")),
        ("a$$b", Ok("a$b")),
        (
            "$expdirs/x",
            Err(
                "`$expdirs/x`: the variable `expdirs` is not set; set it, or write `$$` for a dollar sign",
            ),
        ),
        (
            "${expdir",
            Err("`${expdir`: expected a name and a closing brace after `${`"),
        ),
        (
            "${}",
            Err("`${}`: expected a name and a closing brace after `${`"),
        ),
    ];
    for (text, expect) in table {
        let expect = expect.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(
            expand(text, &vars).map_err(|e| e.to_string()),
            expect,
            "{text}"
        );
    }

    let tree = darts(&[], "", &[]).unwrap();
    let settings = tree.expanded(&vars).unwrap().settings().unwrap();
    assert_eq!(settings.common.logdir, "/home/ada/logdir");
    assert_eq!(settings.nas.eval.model_filename, "/runs/x/model.pt");
    assert_eq!(
        settings.nas.search.post_train.loader.dataset.path,
        "/data/cifar-10-batches-bin"
    );

    // Every text that is a path by its key, wherever it stands.
    let mut paths = Vec::new();
    collect_paths(&json!(settings), "", &mut paths);
    paths.sort();
    let expect = [
        "common.logdir",
        "dataset.path",
        "nas.eval.final_desc_filename",
        "nas.eval.full_desc_filename",
        "nas.eval.loader.dataset.path",
        "nas.eval.metric_filename",
        "nas.eval.model_desc.dataset.path",
        "nas.eval.model_filename",
        "nas.search.final_desc_filename",
        "nas.search.loader.dataset.path",
        "nas.search.model_desc.dataset.path",
        "nas.search.post_train.loader.dataset.path",
    ];
    assert_eq!(paths, expect);

    // A section by itself; the tree that is written down keeps the variables.
    let own = tree
        .with_expanded_section("nas.search.post_train", &vars)
        .unwrap();
    let path = "nas.search.post_train.loader.dataset.path";
    assert_eq!(own.value(path).unwrap(), "/data/cifar-10-batches-bin");
    assert_eq!(tree.value(path).unwrap(), "$dataroot/cifar-10-batches-bin");
    let error = tree
        .with_expanded_section("nas.search.post_train", &Default::default())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(path) && error.contains("`dataroot`"),
        "{error}"
    );

    let tree = darts(&[], "", &["--nas.eval.model_filename", "$exdir/m.pt"]).unwrap();
    let error = tree.expanded(&vars).unwrap_err().to_string();
    assert_eq!(
        error,
        "`--nas.eval.model_filename $exdir/m.pt`: nas.eval.model_filename: `$exdir/m.pt`: the variable `exdir` is not set; set it, or write `$$` for a dollar sign"
    );
}

/// The keys whose values lie where the variables of the test lead.
fn collect_paths(value: &Value, key: &str, paths: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let key = if key.is_empty() {
                    name.clone()
                } else {
                    format!("{key}.{name}")
                };
                collect_paths(value, &key, paths);
            }
        }
        Value::String(text) if text.starts_with('/') => paths.push(key.to_owned()),
        _ => {}
    }
}

#[test]
fn the_shipped_settings_are_those_of_the_files() {
    let shipped = Settings::shipped("cifar10").unwrap();
    // DARTS adds nothing but its own section.
    let loaded = darts(&[], "", &[]).unwrap().settings().unwrap();
    assert_eq!(loaded, shipped);
    assert_eq!(Dataset::shipped("cifar10").unwrap(), shipped.dataset);
    assert_eq!(Checkpoint::shipped(), shipped.common.checkpoint);
    let error = Settings::shipped("cifar11").unwrap_err().to_string();
    assert!(
        error.contains("did you mean `archai:datasets/cifar10.yaml`"),
        "{error}"
    );

    // A configuration that says nothing of checkpoints has the shipped ones.
    let tree = darts(&[], "", &[]).unwrap();
    let mut common = tree.value("common").unwrap().clone();
    common.as_object_mut().unwrap().remove("checkpoint");
    let read: archai_spec::settings::Common = serde_json::from_value(common).unwrap();
    assert_eq!(read.checkpoint, Checkpoint::shipped());
}

#[test]
fn transforms_are_named_or_left_out() {
    let plain = darts(&[], "", &[]).unwrap();
    assert!(plain.value("dataset.transforms").is_none());
    assert!(!plain.to_yaml().contains("transforms"));
    let names = plain.settings().unwrap();
    assert_eq!(
        names.dataset.transforms(),
        ["crop", "flip", "normalise", "cutout"]
    );
    let given = darts(&[], "", &["dataset.transforms=[flip, crop]"]).unwrap();
    assert_eq!(
        given
            .settings()
            .unwrap()
            .nas
            .eval
            .loader
            .dataset
            .transforms(),
        ["flip", "crop"]
    );
    assert_ne!(given.digest().unwrap(), plain.digest().unwrap());
    let error = darts(&[], "", &["dataset.transforms=[flp]"]).unwrap_err();
    assert!(
        error.contains(
            "dataset.transforms.0: unknown value `flp`; did you mean `flip`? (valid: crop, flip)"
        ),
        "{error}"
    );
}

#[test]
fn sizes_and_augmentation_are_left_out_or_given() {
    let plain = darts(&[], "", &[]).unwrap();
    let text = plain.to_yaml();
    for key in [
        "resize",
        "crop_ratio",
        "interpolation",
        "random_resized_crop",
        "orientation",
        "background",
        "color_jitter",
        "random_affine",
        "aug:",
        "random_erasing",
    ] {
        assert!(!text.contains(key), "{key}");
    }
    let given = |given: &[&str]| {
        let config = darts(&[], "", given)?;
        let settings = config.settings().map_err(|e| e.to_string())?;
        Ok::<_, String>((settings, config.digest().unwrap()))
    };
    let (settings, digest) = given(&[
        "dataset.resize=crop",
        "dataset.crop_ratio=0.875",
        "dataset.interpolation=bicubic",
        "dataset.crop_padding=0",
        "dataset.random_resized_crop={scale: [0.2, 1.0]}",
        "dataset.orientation=exif",
        "dataset.background=[255, 128, 0]",
        "dataset.color_jitter={brightness: 0.4, hue: 0.1}",
        "dataset.random_affine={degrees: 15}",
    ])
    .unwrap();
    assert_ne!(digest, plain.digest().unwrap());
    let data = &settings.nas.eval.loader.dataset;
    assert_eq!((data.resize, data.crop_ratio), (Resize::Crop, 0.875));
    assert_eq!(data.background, Some([255, 128, 0]));
    let random = data.random_resized_crop.unwrap();
    assert_eq!(
        (random.scale, random.ratio),
        ([0.2, 1.0], [3.0 / 4.0, 4.0 / 3.0])
    );
    assert_eq!(data.color_jitter.unwrap().hue, 0.1);
    assert_eq!(data.random_affine.unwrap().scale, [1.0, 1.0]);

    let aug = |text: &str| {
        let text = format!("nas.eval.loader.aug={text}");
        given(&[&text]).map(|(settings, _)| settings.nas.eval.loader.aug)
    };
    assert_eq!(aug("null"), Ok(None));
    assert_eq!(
        aug("fa_reduced_cifar10"),
        Ok(Some(Aug::Named(AugName::FaReducedCifar10)))
    );
    let random = RandAugment {
        n: 3,
        ..RandAugment::default()
    };
    assert_eq!(
        aug("{randaugment: {n: 3}}"),
        Ok(Some(Aug::With(AugWith::Randaugment(random))))
    );
    let own = vec![vec![
        AugStep(AugOp::Rotate, 0.5, 0.8),
        AugStep(AugOp::Color, 0.3, 0.7),
    ]];
    assert_eq!(
        aug("[[[Rotate, 0.5, 0.8], [Color, 0.3, 0.7]]]"),
        Ok(Some(Aug::List(own)))
    );
    for (text, parts) in [
        ("randaugmnt", &["nas.eval.loader.aug", "randaugmnt"][..]),
        ("{randaugment: {k: 3}}", &["nas.eval.loader.aug"]),
        (
            "{randaugment: {m: 31}}",
            &["nas.eval.loader.aug: m is 31; expected 0 to bins - 1, which is 30"],
        ),
        ("[[[Rotate, 0.5, 8]]]", &["step [Rotate, 0.5, 8]"]),
        ("[[[Rotat, 0.5, 0.8]]]", &["nas.eval.loader.aug"]),
        ("[]", &["at least one sub-policy"]),
    ] {
        let error = aug(text).unwrap_err();
        for part in parts {
            assert!(error.contains(part), "{text}: {error}");
        }
    }
    let error = given(&["nas.eval.loader.random_erasing={p: 0.5, scale: [0.5, 0.1]}"]).unwrap_err();
    assert!(
        error.contains("random_erasing") && error.contains("[0.5, 0.1]"),
        "{error}"
    );
    let error = given(&[
        "dataset.channels=1",
        "dataset.mean=[0.5]",
        "dataset.std=[0.5]",
        "dataset.color_jitter={hue: 0.1}",
    ]);
    assert!(
        error
            .unwrap_err()
            .contains("grey images have neither saturation nor hue")
    );
}

#[test]
fn the_digest_covers_results_only() {
    let digest = |given: &[&str]| darts(&[], "", given).unwrap().digest().unwrap();
    let plain = digest(&[]);
    assert_eq!(plain.len(), 64);
    for same in [
        "common.logdir=/elsewhere",
        "common.log_prefix=x",
        "common.log_level=10",
        "common.yaml_log=no",
        "common.checkpoint.every_steps=7",
        "common.checkpoint.keep=9",
        "common.track.to=[tensorboard, mlflow=http://127.0.0.1:5000]",
        "common.track.wait_seconds=3",
        "dataset.path=/data",
        "nas.eval.model_filename=m.pt",
        "nas.search.loader.train_workers=0",
        "nas.eval.trainer.logger_freq=1",
        "nas.eval.trainer.title=x",
        "nas.search.trainer.grad_clip=5",
    ] {
        assert_eq!(digest(&[same]), plain, "{same}");
    }
    for other in [
        "common.seed=3",
        "nas.search.trainer.epochs=49",
        "nas.search.darts.epsilon=0.02",
        "nas.search.trainer.optimizer.decay_bn=0",
        "nas.eval.model_desc.n_cells=19",
        "dataset.max_batches=10",
        "dataset.train=data_batch_1.bin",
        "nas.search.loader.val_augment=no",
    ] {
        assert_ne!(digest(&[other]), plain, "{other}");
    }
}

#[test]
fn the_editor_schema_fits_partial_files() {
    let schema = shape().editor_schema();
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    assert!(!schema.to_string().contains("\"required\""));
    let include = &schema["properties"]["__include__"];
    assert_eq!(include["anyOf"][0]["type"], "string");
    let search = &schema["properties"]["nas"]["anyOf"][0]["properties"]["search"];
    let darts = &search["anyOf"][0]["properties"]["darts"]["anyOf"][0];
    assert_eq!(
        darts["properties"]["second_order"]["anyOf"][0]["type"],
        "boolean"
    );
    assert_eq!(
        darts["properties"]["second_order"]["anyOf"][1]["pattern"],
        "^_copy: "
    );
    assert!(darts["properties"]["_copy"].is_object());
    assert_eq!(
        search["description"],
        "The search phase: from a search space to a found description."
    );
}

/// The other type's keys are defaults that nobody asked for: they go with their type.
#[test]
fn another_type_leaves_the_defaults_of_the_old_one_behind() {
    let check = |given: &[&str], path: &str, expect: Value| {
        let tree = darts(&[], "", given).unwrap_or_else(|e| panic!("{given:?}: {e}"));
        let settings = tree.settings().unwrap_or_else(|e| panic!("{given:?}: {e}"));
        assert_eq!(tree.value(path), Some(&expect), "{given:?}");
        // What a run keeps as its configuration gives the same settings again.
        let kept = load(
            &[("kept.yaml", &tree.to_yaml())],
            "kept.yaml",
            &[],
            &shape(),
        )
        .unwrap();
        assert_eq!(kept.settings().unwrap(), settings, "{given:?}");
    };
    let optimizer =
        |kind: &str| json!({"type": kind, "lr": 0.025, "decay": 0.0003, "decay_bn": null});
    for kind in ["adam", "adamw"] {
        let given = format!("nas.eval.trainer.optimizer.type={kind}");
        check(&[&given], "nas.eval.trainer.optimizer", optimizer(kind));
        // A copy of the section follows.
        check(
            &[&given],
            "nas.search.post_train.trainer.optimizer",
            optimizer(kind),
        );
    }
    check(
        &[
            "nas.eval.trainer.optimizer.type=rmsprop",
            "nas.eval.trainer.optimizer.alpha=0.9",
        ],
        "nas.eval.trainer.optimizer",
        // Momentum is a key of both.
        json!({"type": "rmsprop", "lr": 0.025, "decay": 0.0003, "decay_bn": null, "momentum": 0.9, "alpha": 0.9}),
    );
    check(
        &["nas.search.trainer.alpha_optimizer.type=sgd"],
        "nas.search.trainer.alpha_optimizer",
        json!({"type": "sgd", "lr": 0.0003, "decay": 0.001, "decay_bn": null}),
    );
    check(
        &["nas.search.trainer.lr_schedule.type=constant"],
        "nas.search.trainer.lr_schedule",
        json!({"type": "constant", "warmup": null}),
    );
    check(
        &[
            "nas.search.trainer.lr_schedule.type=step",
            "nas.search.trainer.lr_schedule.gamma=0.1",
            "nas.search.trainer.lr_schedule.decay_period=10",
        ],
        "nas.search.trainer.lr_schedule",
        json!({"type": "step", "warmup": null, "decay_period": 10, "gamma": 0.1}),
    );

    // What the user wrote is an error, in a file as on the command line.
    let text = "nas: {eval: {trainer: {optimizer: {momentum: 0.8}}}}";
    let given = ["nas.eval.trainer.optimizer.type=adam"];
    let tree = darts(&[("mine.yaml", text)], "mine.yaml", &given).unwrap();
    let error = tree.settings().unwrap_err().to_string();
    assert_eq!(
        error,
        "mine.yaml:1:36: nas.eval.trainer.optimizer.momentum: belongs to `type: sgd` or `rmsprop`, and the type is adam; \
         remove it or give null"
    );
    // Without a change of the type nothing is dropped, so that the digests of older runs stay.
    let settings = darts(&[], "", &[]).unwrap().settings().unwrap();
    let digested = settings.digested(&[]);
    assert!(digested.contains_key("nas.eval.trainer.optimizer.momentum"));
    assert!(digested.contains_key("nas.eval.trainer.optimizer.betas"));
    assert!(!digested.contains_key("nas.eval.trainer.optimizer.alpha"));
}
