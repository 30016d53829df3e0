//! `archai config`.

use serde_json::{Value, json};

use crate::support::World;

#[test]
fn values_come_from_where_they_say() {
    let world = World::new();
    let mine = world.write(
        "mine.yaml",
        "nas:\n  eval:\n    trainer:\n      grad_clip: 3.5\n",
    );
    let text = world
        .run(&[
            "config",
            "show",
            "darts",
            "--origins",
            "--config",
            &mine,
            "nas.eval.trainer.epochs=7",
            "--full",
            "--datasets",
            "cifar100",
            "--common.seed",
            "5",
        ])
        .ok();
    for expect in [
        "epochs: 7  # `nas.eval.trainer.epochs=7`",
        "seed: 5  # `--common.seed 5`",
        "mine.yaml:4",
        "archai:datasets/cifar100.yaml",
        "archai:algos/",
    ] {
        assert!(text.contains(expect), "{expect:?} is missing in:\n{text}");
    }
    assert!(
        !text.contains("archai:toy.yaml"),
        "--full leaves the toy overlay out"
    );
    assert!(
        world
            .run(&["config", "show", "darts", "--origins"])
            .ok()
            .contains("archai:toy.yaml")
    );
}

#[test]
fn what_is_shown_can_be_used() {
    let world = World::new();
    let shown = world
        .run(&["config", "show", "darts", "--nas.eval.trainer.epochs", "7"])
        .ok();
    let file = world.write("shown.yaml", &shown);
    assert_eq!(
        world
            .run(&["config", "show", "darts", "--config-only", &file])
            .ok(),
        shown
    );
}

#[test]
fn broken_files_are_shown_with_their_lines() {
    let world = World::new();
    for (text, expect) in [
        (
            "nas:\n  eval:\n    trainr:\n      epochs: 3\n",
            vec!["broken.yaml:3", "trainr", "trainer"],
        ),
        ("nas:\n  eval: [\n", vec!["broken.yaml:"]),
        (
            "nas:\n  eval:\n    trainer:\n      epochs: -1\n",
            vec!["broken.yaml:4", "epochs"],
        ),
        (
            "common:\n  seed: 1\n  seed: 2\n",
            vec!["broken.yaml:3", "seed"],
        ),
        (
            "common:\n  seed: one\n  sed: 2\n",
            vec!["2 problems", "broken.yaml:2", "broken.yaml:3"],
        ),
    ] {
        let file = world.write("broken.yaml", text);
        world
            .run(&["config", "show", "darts", "--config", &file])
            .fails(2, &expect);
        world
            .run(&["run", "--smoke", "--config", &file])
            .fails(2, &expect);
    }
}

#[test]
fn archais_files_are_translated_and_can_be_used() {
    let world = World::new();
    world.write(
        "confs/datasets/cifar10.yaml",
        "dataset: {name: cifar10, n_classes: 10, channels: 3, max_batches: -1, dataroot: $default_dataroot}\n",
    );
    world.write(
        "confs/algos/darts.yaml",
        "__include__: '../datasets/cifar10.yaml'\ncommon: {seed: 2.0, tb_enable: False}\nnas:\n  search:\n    trainer: {epochs: 40}\n  \
         eval:\n    loader: {apex: {_copy: '../../trainer/apex'}, cutout: 12}\n",
    );
    world.write(
        "confs/algos/xnas.yaml",
        "__include__: darts.yaml\nnas:\n  search:\n    xnas: {to_evict: False}\n    trainer:\n      grad_clip: 2.0\n      \
         alpha_optimizer: {type: adam, lr: 3.0e-4}\n    divnas: {sigma: 3}\n",
    );
    let done = world.run(&["config", "import", "confs/algos/xnas.yaml"]);
    for expect in [
        "confs/algos/darts.yaml:2:21: common.tb_enable: left out: `--track tensorboard` writes",
        "nas.search.trainer.alpha_optimizer: left out: xnas has no rate",
        "nas.search.divnas: left out: it belongs to `divnas`",
        "dataset.dataroot: left out",
        "nas.eval.loader.apex: left out",
    ] {
        assert!(
            done.err.contains(expect),
            "{expect:?} is missing in:\n{}",
            done.err
        );
    }
    let text = done.ok();
    assert!(
        text.contains("#   archai run --algos xnas --full --datasets cifar10 --config THIS_FILE\n"),
        "{text}"
    );
    let ours = world.write("ours.yaml", &text);
    let shown = world
        .run(&[
            "config",
            "show",
            "xnas",
            "--full",
            "--config",
            &ours,
            "--origins",
        ])
        .ok();
    for expect in [
        "to_evict: false",
        "epochs: 40",
        "grad_clip: 2.0",
        "cutout: 12",
        "seed: 2  #",
    ] {
        assert!(shown.contains(expect), "{expect:?} is missing in:\n{shown}");
    }
    // For another algorithm, other sections are left out.
    let done = world.run(&[
        "config",
        "import",
        "confs/algos/xnas.yaml",
        "--algo",
        "darts",
        "-o",
        "darts.yaml",
    ]);
    assert!(
        done.err
            .contains("nas.search.xnas: left out: it belongs to `xnas`"),
        "{}",
        done.err
    );
    assert_eq!(done.ok(), "");
    world
        .run(&["config", "show", "darts", "--config", "darts.yaml"])
        .ok();
    world
        .run(&["config", "import", "absent.yaml"])
        .fails(2, &["absent.yaml"]);
    world
        .run(&["config", "import", "darts.yaml", "--algo", "drats"])
        .fails(2, &["darts"]);
}

#[test]
fn the_schema_is_json_and_knows_the_algorithm() {
    let world = World::new();
    for args in [vec!["config", "schema"], vec!["config", "schema", "darts"]] {
        let text = world.run(&args).ok();
        let schema: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(
            schema.is_object() && text.contains("second_order") && text.contains("drop_path_prob")
        );
    }
}

/// What is wrong with a value by a JSON schema, in the words that our schemas have; another word is a failure of the test.
fn problems(value: &Value, schema: &Value, path: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut must = |holds: bool, word: &str| {
        if !holds {
            all.push(format!("{path}: {word}"));
        }
    };
    let within =
        |part: &Value, schema: &Value, key: &str| problems(part, schema, &format!("{path}/{key}"));
    let is_a = |name: &Value| match name.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("{path}: type {other}"),
    };
    let mut inner = Vec::new();
    let schema = match schema {
        Value::Bool(accepted) => {
            must(*accepted, "nothing is accepted");
            return all;
        }
        schema => schema.as_object().unwrap(),
    };
    for (word, said) in schema {
        match word.as_str() {
            "type" => match said.as_array() {
                Some(types) => must(types.iter().any(is_a), "type"),
                None => must(is_a(said), "type"),
            },
            "const" => must(value == said, "const"),
            "minimum" => must(
                value.as_f64().is_none_or(|v| v >= said.as_f64().unwrap()),
                word,
            ),
            "maximum" => must(
                value.as_f64().is_none_or(|v| v <= said.as_f64().unwrap()),
                word,
            ),
            "minItems" => must(
                value
                    .as_array()
                    .is_none_or(|v| v.len() as u64 >= said.as_u64().unwrap()),
                word,
            ),
            "maxItems" => must(
                value
                    .as_array()
                    .is_none_or(|v| v.len() as u64 <= said.as_u64().unwrap()),
                word,
            ),
            "anyOf" | "oneOf" => {
                let choices = said.as_array().unwrap().iter();
                let tried: Vec<Vec<String>> = choices
                    .map(|choice| problems(value, choice, path))
                    .collect();
                if tried.iter().all(|found| !found.is_empty()) {
                    inner.extend(
                        tried
                            .into_iter()
                            .max_by_key(|found| found.join("").len())
                            .unwrap(),
                    );
                }
            }
            "properties" => {
                for (key, part) in value.as_object().into_iter().flatten() {
                    if let Some(schema) = said.get(key) {
                        inner.extend(within(part, schema, key));
                    }
                }
            }
            "additionalProperties" => {
                for (key, part) in value.as_object().into_iter().flatten() {
                    if schema
                        .get("properties")
                        .is_none_or(|known| known.get(key).is_none())
                    {
                        inner.extend(within(part, said, key));
                    }
                }
            }
            "items" => {
                for (i, part) in value.as_array().into_iter().flatten().enumerate() {
                    inner.extend(within(part, said, &i.to_string()));
                }
            }
            "pattern" => {
                let start = said.as_str().unwrap().strip_prefix('^').unwrap();
                must(value.as_str().is_none_or(|v| v.starts_with(start)), word);
            }
            "enum" => must(said.as_array().unwrap().contains(value), word),
            "required" => {
                let mut names = said.as_array().unwrap().iter();
                must(
                    names.all(|name| value.get(name.as_str().unwrap()).is_some()),
                    word,
                );
            }
            "description" | "title" | "default" | "format" | "$schema" => {}
            word if word.starts_with("x-") => {}
            word => panic!("{path}: the word `{word}` of the schema is not known here"),
        }
    }
    all.extend(inner);
    all
}

#[test]
fn every_shipped_file_fits_the_schema_and_no_misspelt_one_does() {
    let world = World::new();
    let schema: Value = serde_json::from_str(&world.run(&["config", "schema"]).ok()).unwrap();
    let names = world.run(&["config", "defaults"]).ok();
    let (mut n_files, mut algorithms) = (0, Vec::new());
    for name in names.lines() {
        let text = world.run(&["config", "defaults", name]).ok();
        let file: Value = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(problems(&file, &schema, name), Vec::<String>::new());
        n_files += 1;
        algorithms.extend(name.strip_prefix("archai:algos/").map(str::to_string));
    }
    assert!(n_files > 20, "{names}");
    for algorithm in [
        "darts.yaml",
        "petridish.yaml",
        "random_toy.yaml",
        "xnas.yaml",
    ] {
        assert!(algorithms.iter().any(|name| name == algorithm), "{names}");
    }
    for (wrong, place) in [
        (
            json!({"nas": {"search": {"gs": {"num_samples": 3}}}}),
            "/nas/search/gs/num_samples",
        ),
        (
            json!({"nas": {"search": {"petridish": {"workers": "two"}}}}),
            "/nas/search/petridish/workers",
        ),
        (
            json!({"nas": {"eval": {"trainer": {"optimizer": {"lr": 25}}}}}),
            "/nas/eval/trainer/optimizer/lr",
        ),
        (json!({"dataset": {"format": "idy"}}), "/dataset/format"),
    ] {
        let found = problems(&wrong, &schema, "").join("\n");
        assert!(found.contains(place), "{wrong}: {found}");
    }
}

#[test]
fn shipped_files_are_printed_by_any_name_that_an_error_gives() {
    let world = World::new();
    let whole = world
        .run(&["config", "defaults", "archai:algos/common.yaml"])
        .ok();
    assert!(whole.contains("\n  checkpoint:"), "{whole}");
    for name in [
        "archai:algos/common.yaml:24:7",
        "algos/common.yaml",
        "common.yaml",
        "common",
    ] {
        assert_eq!(
            world.run(&["config", "defaults", name]).ok(),
            whole,
            "{name}"
        );
    }
    world
        .run(&["config", "defaults", "comon"])
        .fails(2, &["there is no shipped file `comon`"]);
    world.run(&["config", "defaults", "nasbench101"]).fails(
        2,
        &["could be archai:algos/nasbench101.yaml or archai:spaces/nasbench101.yaml; give the whole name"],
    );
}

#[test]
fn several_files_are_given_one_by_one_or_with_commas() {
    let world = World::new();
    let a = world.write(
        "a.yaml",
        "nas: {eval: {trainer: {epochs: 7, grad_clip: 1.5}}}",
    );
    let b = world.write("b.yaml", "nas: {eval: {trainer: {epochs: 8}}}");
    let show = |more: &[&str]| {
        let mut args = vec!["config", "show", "darts"];
        args.extend(more);
        let text = world.run(&args).ok();
        let eval = text.split("\n  eval:").nth(1).unwrap();
        assert!(eval.contains("grad_clip: 1.5"), "{more:?}: {eval}");
        let line = eval.lines().find(|line| line.trim().starts_with("epochs:"));
        line.unwrap().trim().to_string()
    };
    assert_eq!(show(&["--config", &a]), "epochs: 7");
    assert_eq!(show(&["--config", &a, "--config", &b]), "epochs: 8");
    assert_eq!(show(&["--config", &b, "--config", &a]), "epochs: 7");
    assert_eq!(show(&["--config", &format!("{a},{b}")]), "epochs: 8");
    assert_eq!(show(&["--config", &format!("{a};{b}")]), "epochs: 8");
    // A file for several algorithms is shown for each of them.
    let both = world.write(
        "both.yaml",
        "nas: {search: {gs: {num_sample: 2}, random: {n_archs: 7}}}",
    );
    let shown = world
        .run(&["config", "show", "gs,random", "--config", &both])
        .ok();
    assert!(
        shown.contains("num_sample: 2") && !shown.contains("n_archs"),
        "{shown}"
    );
    world
        .run(&["config", "show", "gs", "--config", &both])
        .fails(
            2,
            &["nas.search.random is the section of the algorithm random"],
        );
    // A name with a comma that is there is one file.
    let odd = world.write(
        "odd,name.yaml",
        "nas: {eval: {trainer: {epochs: 9, grad_clip: 1.5}}}",
    );
    assert_eq!(show(&["--config", &odd]), "epochs: 9");
    world
        .run(&[
            "config",
            "show",
            "darts",
            "--config",
            &format!("{a},none.yaml"),
        ])
        .fails(2, &["cannot read the configuration file none.yaml"]);
}
