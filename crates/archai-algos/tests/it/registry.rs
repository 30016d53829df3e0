//! Algorithms as a value.

use archai_algos::{AlgorithmConfig, Darts, NoSettings, all};

#[test]
fn own_algorithms_join_and_replace() {
    let algorithms = all().with("mine", "one line", |_: NoSettings| Darts::default());
    let names: Vec<&str> = algorithms.iter().map(|a| a.name()).collect();
    assert_eq!((names[0], names.last()), ("darts", Some(&"mine")));
    assert_eq!(
        algorithms.get("mine").map(|a| a.about().to_string()),
        Ok("one line".to_string())
    );
    let again = algorithms.with("mine", "another line", |_: NoSettings| Darts::default());
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
