//! Algorithms as a value.

use archai_algos::{AlgorithmConfig, Darts, NoSettings, all};
use archai_spec::config::{ConfigLoader, Shipped, shipped_datasets, shipped_files};

#[test]
fn own_algorithms_join_and_replace() {
    let algorithms = all().with("mine", "one line", |_: NoSettings| Darts::default());
    let built_in = all().iter().count();
    let names: Vec<&str> = algorithms.iter().map(|a| a.name()).collect();
    assert_eq!((names[0], names[built_in]), ("darts", "mine"));
    assert_eq!((names[0], names.last()), ("darts", Some(&"mine")));
    assert_eq!(
        algorithms.get("mine").map(|a| a.about().to_string()),
        Ok("one line".to_string())
    );
    let again = algorithms.with("mine", "another line", |_: NoSettings| Darts::default());
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
    assert_eq!(
        *darts.default_config(),
        AlgorithmConfig::File("archai:algos/darts.yaml".to_string())
    );
    assert!(
        darts
            .paper_title()
            .is_some_and(|p| p.contains("1806.09055"))
    );
}

#[test]
fn every_shipped_configuration_loads_on_every_data_set() {
    for algo in all().iter() {
        let AlgorithmConfig::File(file) = algo.default_config() else {
            panic!("{} has no shipped file", algo.name());
        };
        let own_toy = file.replace(".yaml", "_toy.yaml");
        let own_toy = shipped_files().find(|name| *name == own_toy);
        let toy = ["archai:toy.yaml".to_string()].into_iter().chain(own_toy);
        let toy = toy.collect::<Vec<_>>().join(";");
        let own_space = file.replace("/algos/", "/spaces/");
        let own_space = shipped_files().find(|name| *name == own_space);
        let own_space = own_space.unwrap_or_default();
        for dataset in shipped_datasets() {
            for overlay in ["", &toy] {
                let what = format!("{} on {dataset} with `{overlay}`", algo.name());
                let tree = ConfigLoader::new(&Shipped)
                    .files(file)
                    .dataset(&format!("archai:datasets/{dataset}.yaml"))
                    .files(&own_space)
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
