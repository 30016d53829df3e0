//! Algorithms as a value.

use std::sync::Arc;

use archai_algos::{
    Algorithm, Algorithms, Darts, DartsSettings, DivnasSettings, GsSettings, ManualSettings,
    NoSettings, XnasSettings, all,
};
use archai_spec::config::{ConfigLoader, FileSource, Files, Shipped, shipped_datasets};

#[test]
fn own_algorithms_join_and_replace() {
    let mine = |about: &str| {
        Arc::new(Algorithm::new("mine", about, |_: NoSettings| {
            Darts::default()
        }))
    };
    let algorithms = all().with(mine("one line"));
    let built_in = all().iter().count();
    let names: Vec<&str> = algorithms.iter().map(|a| a.name()).collect();
    assert_eq!((names[0], names[built_in]), ("darts", "mine"));
    assert_eq!((names[0], names.last()), ("darts", Some(&"mine")));
    assert_eq!(
        algorithms.get("mine").map(|a| a.about().to_string()),
        Ok("one line".to_string())
    );
    let again = algorithms.with(mine("another line"));
    assert_eq!(again.iter().count(), built_in + 1);
    assert_eq!(again.iter().count(), all().iter().count() + 1);
    assert_eq!(
        again.get("mine").map(|a| a.about().to_string()),
        Ok("another line".to_string())
    );
}

#[test]
fn unknown_names_are_answered_with_the_nearest() {
    let check = |name: &str, expect: &str| {
        let message = all()
            .get(name)
            .err()
            .map(|e| e.to_string())
            .unwrap_or_default();
        assert!(message.contains(expect), "{name}: {message}");
    };
    check("drats", "did you mean `darts`?");
    check("something_else", "known are darts");
}

#[test]
fn darts_names_its_shipped_configuration() {
    let algorithms = all();
    let darts = algorithms.get("darts").expect("darts");
    assert_eq!(darts.defaults(), "archai:algos/darts.yaml");
    assert!(
        darts
            .paper_title()
            .is_some_and(|p| p.contains("1806.09055"))
    );
}

#[test]
fn every_shipped_configuration_loads_on_every_data_set() {
    let algorithms = all();
    let files = archai_algos::files(&algorithms, &Shipped);
    for algo in algorithms.iter() {
        let toy = ["archai:toy.yaml".to_string()]
            .into_iter()
            .chain(algo.toy_overlay());
        let toy = toy.collect::<Vec<_>>().join(";");
        let own_space = algo.space_file().unwrap_or_default();
        for dataset in shipped_datasets() {
            for overlay in ["", &toy] {
                let what = format!("{} on {dataset} with `{overlay}`", algo.name());
                let tree = ConfigLoader::new(&files)
                    .files(&algo.defaults())
                    .dataset(&format!("archai:datasets/{dataset}.yaml"))
                    .files(own_space)
                    .files(overlay)
                    .load(&algo.schema())
                    .unwrap_or_else(|e| panic!("{what}: {e}"));
                tree.settings().unwrap_or_else(|e| panic!("{what}: {e}"));
                let runner = algo.runner(&tree);
                assert!(runner.is_ok(), "{what}: {:?}", runner.err());
            }
        }
    }
}

/// `Default` of settings reads the YAML beside the algorithm; numbers stand there alone.
#[test]
fn the_defaults_of_settings_are_those_of_the_shipped_files() {
    let algorithms = all();
    let files = archai_algos::files(&algorithms, &Shipped);
    let check = |name: &str, defaults: serde_json::Value| {
        let algo = algorithms.get(name).expect(name);
        let tree = ConfigLoader::new(&files)
            .files(&algo.defaults())
            .dataset("archai:datasets/mnist.yaml")
            .load(&algo.schema())
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        let section: serde_json::Value = tree.section(&format!("nas.search.{name}")).expect(name);
        let section = section.as_object().expect("a section");
        assert_eq!(
            section.len(),
            defaults.as_object().map_or(0, |d| d.len()),
            "{name}"
        );
        for (key, value) in section {
            let same = match (value.as_f64(), defaults[key].as_f64()) {
                (Some(a), Some(b)) => a == b,
                _ => *value == defaults[key],
            };
            assert!(same, "{name}.{key}: {value} and {}", defaults[key]);
        }
    };
    check("darts", serde_json::json!(DartsSettings::default()));
    check("xnas", serde_json::json!(XnasSettings::default()));
    check("gs", serde_json::json!(GsSettings::default()));
    check("divnas", serde_json::json!(DivnasSettings::default()));
    check("manual", serde_json::json!(ManualSettings::default()));
}

#[test]
fn the_files_of_an_algorithm_join_the_shipped_ones() {
    let mine = Algorithm::new("mine", "one line", |_: NoSettings| Darts::default())
        .yaml("__include__: archai:algos/darts.yaml\nnas: {search: {mine: {}}}")
        .toy("common: {seed: 7}");
    let algorithms = all().with(mine.into());
    let algo = algorithms.get("mine").expect("mine");
    let files = archai_algos::files(&algorithms, &Files);
    let tree = ConfigLoader::new(&files)
        .files(&algo.defaults())
        .dataset("archai:datasets/mnist.yaml")
        .files(&algo.toy_overlay().expect("a toy overlay"))
        .load(&algo.schema())
        .unwrap_or_else(|e| panic!("{e}"));
    let origin = |key: &str| tree.origin(key).map(|o| o.to_string()).unwrap_or_default();
    assert!(origin("nas.search.mine").starts_with("archai:algos/mine.yaml:2:"));
    assert!(origin("common.seed").starts_with("archai:algos/mine_toy.yaml:1:"));
    assert!(origin("nas.search.darts.epsilon").starts_with("archai:algos/darts.yaml:"));
    assert!(algo.runner(&tree).is_ok());
}

#[test]
fn an_algorithm_without_yaml_starts_from_the_defaults_of_darts() {
    let mine = Algorithm::new("mine", "one line", |_: NoSettings| Darts::default());
    let algorithms = all().with(mine.into());
    let algo = algorithms.get("mine").expect("mine");
    assert_eq!(algo.defaults(), "archai:algos/darts.yaml");
    assert_eq!(algo.toy_overlay(), None);
    let files = archai_algos::files(&algorithms, &Shipped);
    let tree = ConfigLoader::new(&files)
        .files(&algo.defaults())
        .dataset("archai:datasets/mnist.yaml")
        .load(&algo.schema());
    assert!(tree.is_ok(), "{:?}", tree.err());
}

#[test]
fn files_that_cannot_be_read_are_answered_with_the_nearest() {
    let check = |algorithms: &Algorithms, name: &str, expect: &str| {
        let files = archai_algos::files(algorithms, &Files);
        let error = ConfigLoader::new(&files)
            .files(name)
            .load(&archai_spec::config::Schema::settings());
        assert_eq!(
            error.map(drop).map_err(|e| e.to_string()),
            Err(expect.to_string())
        );
    };
    check(
        &all(),
        "archai:algos/drats.yaml",
        "cannot read the configuration file archai:algos/drats.yaml: no shipped file has this name; did you mean \
         `archai:algos/darts.yaml`?",
    );
    // An algorithm must not take the place of a file that others include.
    let common =
        Algorithm::new("common", "", |_: NoSettings| Darts::default()).yaml("common: {seed: 7}");
    check(
        &all().with(common.into()),
        "archai:algos/common.yaml",
        "cannot read the configuration file archai:algos/common.yaml: two files have this name; rename what the program \
         adds",
    );
}

/// Whoever works on the files themselves gives them by their paths.
#[test]
fn the_files_beside_the_sources_are_the_shipped_ones() {
    let src = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let algorithms = all();
    let files = archai_algos::files(&algorithms, &Files);
    let mut found = Vec::new();
    let mut folders = vec![std::path::PathBuf::from(src)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "yaml") {
                let name = path
                    .file_name()
                    .and_then(|name| name.to_str())
                    .expect("a name");
                let shipped = files
                    .read(&format!("archai:algos/{name}"))
                    .expect("shipped");
                assert_eq!(
                    std::fs::read_to_string(&path).expect("a file"),
                    shipped,
                    "{name}"
                );
                found.push(format!("archai:algos/{name}"));
            }
        }
    }
    let mut added: Vec<String> = files.shipped();
    added.retain(|name| !Shipped.shipped().contains(name));
    found.sort();
    added.sort();
    assert_eq!(found, added);
}

/// Run directories carry the digest of their configuration and resume only with an equal one, so it must outlast changes of
/// where settings lie and how they are read.
#[test]
fn the_digests_of_smoke_mode_are_those_of_runs_on_disk() {
    let algorithms = all();
    let files = archai_algos::files(&algorithms, &Shipped);
    for (name, digest) in [
        (
            "darts",
            "076365ca6a72f2ed815a14cbd8fa6d5d86d36bbc6810c54d49c73cffde183448",
        ),
        (
            "didarts",
            "8ebe5eab07ce1a3a6cef950952d3f4c5d01e4cd0192590fdef534c999f7d09c3",
        ),
        (
            "xnas",
            "de6f5029c3e4f2f0b34ca5c476ba816ea469ec87795f13856915363ab0ed88fd",
        ),
        (
            "gs",
            "4f5d0b65e78925e1728a6027e5ce96b6827f4b68fc2d9f6a51858054ef9b654d",
        ),
        (
            "petridish",
            "1531114effeaa17ad9f413569f522024f6a59c3dce3da155448f2cec696b445b",
        ),
        (
            "random",
            "bf3fafe5c2bb4ac9631cd1051f5f52440e04efa3acb0758ec72ee5f7c33545ce",
        ),
        (
            "divnas",
            "c9ed15fb445c3f895ebdd32bd40d693474a95f058560efe91c43b4eea99c10c5",
        ),
        (
            "manual",
            "1094069af833c4d0ef05ba869f68e88bded1c4a846b1974d5aba0c41e8e4f3b1",
        ),
        (
            "nasbench101",
            "3029919d9bca182ca7b56d7269ab9ded0e21621005178df55c912f0a77a6554d",
        ),
    ] {
        let algo = algorithms.get(name).expect(name);
        let tree = ConfigLoader::new(&files)
            .files(&algo.defaults())
            .dataset("archai:datasets/fashion_mnist_mini.yaml")
            .files(algo.space_file().unwrap_or_default())
            .files("archai:smoke.yaml")
            .files(&algo.toy_overlay().unwrap_or_default())
            .load(&algo.schema())
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        let found = tree.digest().unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(found, digest, "{name}");
    }
}
