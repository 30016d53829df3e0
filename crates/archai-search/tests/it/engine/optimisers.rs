use archai_search::optimisers;
use archai_search::testing::check_optimiser;
use serde_json::{Map, json};

fn check(name: &str) {
    check_optimiser(optimisers::all().get(name).unwrap()).unwrap();
}

#[test]
fn guided() {
    check("guided");
}

#[test]
fn random() {
    check("random");
}

#[test]
fn local() {
    check("local");
}

#[test]
fn regularised_evolution() {
    check("regularised_evolution");
}

#[test]
fn nsga2() {
    check("nsga2");
}

#[test]
fn evolution_pareto() {
    check("evolution_pareto");
}

#[test]
fn bananas() {
    check("bananas");
}

#[test]
fn halving() {
    check("halving");
}

#[test]
fn settings_are_checked() {
    let all = optimisers::all();
    let make = |value: serde_json::Value| {
        let settings: Map<_, _> = value.as_object().unwrap().clone();
        all.get("guided").unwrap().make(&settings).map(drop)
    };
    assert_eq!(make(json!({"local": 0.25})), Ok(()));
    let error = make(json!({"locl": 0.25})).unwrap_err();
    assert!(error.contains("did you mean `local`"), "{error}");
    let error = make(json!({"trees": "many"})).unwrap_err();
    assert!(
        error.contains("guided") && error.contains("many"),
        "{error}"
    );
    let error = all.get("guidd").err().unwrap().to_string();
    assert!(error.contains("did you mean `guided`"), "{error}");
}
