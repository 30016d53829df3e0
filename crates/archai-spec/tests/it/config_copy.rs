//! `_copy`: nodes and values, paths, order, chains, circles.

use crate::config::{load, open};
use archai_spec::config::Schema;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

#[test]
fn a_document_with_every_kind_of_copy() {
    let text = "
# Copies stand before what they copy.
search:
  loader:
    _copy: ../../shared/loader        # relative: starts at this section
    batch: 64
    dataset:
      classes: 4                      # kept
  test_workers: '_copy: ../loader/workers'   # value, relative
  whole: '_copy: /shared/loader/dataset'     # value copy of a section
eval:
  loader:
    _copy: /search/loader             # chained
    dataset:
      extra: {deep: 1}                # nested merge
shared:
  loader:
    workers: 8
    batch: 96
    dataset:
      _copy: /data
      flip: true
    same: '_copy: ./../batch'
data:
  name: cifar10
  classes: 10
  extra: {wide: 2}
list: [{_copy: /data/extra, deep: 3}, '_copy: /data/name', '_copy: /list/0/deep']
second: '_copy: /list/1'
";
    let tree = load(&[("t", text)], "t", &[], &open()).unwrap();
    let dataset = json!({"classes": 4, "flip": true, "name": "cifar10", "extra": {"wide": 2}});
    let expect = json!({
        "search": {
            "loader": {"batch": 64, "dataset": dataset, "workers": 8, "same": 96},
            "test_workers": 8,
            "whole": {"flip": true, "name": "cifar10", "classes": 10, "extra": {"wide": 2}},
        },
        "eval": {
            "loader": {
                "dataset": {"extra": {"deep": 1, "wide": 2}, "classes": 4, "flip": true, "name": "cifar10"},
                "batch": 64, "workers": 8, "same": 96,
            },
        },
        "shared": {
            "loader": {
                "workers": 8, "batch": 96, "same": 96,
                "dataset": {"flip": true, "name": "cifar10", "classes": 10, "extra": {"wide": 2}},
            },
        },
        "data": {"name": "cifar10", "classes": 10, "extra": {"wide": 2}},
        "list": [{"deep": 3, "wide": 2}, "cifar10", 3],
        "second": "cifar10",
    });
    assert_eq!(tree.value("").unwrap(), &expect);
}

#[test]
fn small_copies() {
    let table = [
        ("a: {x: 1}\nb: '_copy: /a/x'", "b", json!(1)),
        (
            "a: {x: 1, y: '_copy: ../x'}\nb: {_copy: /a, x: 2}",
            "b",
            json!({"x": 2, "y": 1}),
        ),
        (
            "a: {_copy: /b, x: 1}\nb: {y: '_copy: /a/x'}",
            "a",
            json!({"x": 1, "y": 1}),
        ),
        (
            "a: {_copy: /b}\nb: {_copy: /c}\nc: {_copy: /d}\nd: {x: 1}",
            "a",
            json!({"x": 1}),
        ),
        ("a: '_copy: /b'\nb: '_copy: /c'\nc: null", "a", json!(null)),
        (
            "a: {_copy: /b, v: {p: 1}}\nb: {v: 5}",
            "a",
            json!({"v": {"p": 1}}),
        ),
        ("a: {_copy: /b, v: 5}\nb: {v: {p: 1}}", "a", json!({"v": 5})),
        (
            "a: {_copy: /b/c}\nb: {_copy: /d}\nd: {c: {x: 1}}",
            "a",
            json!({"x": 1}),
        ),
        (
            "a: {b: '_copy: ../../c//./d'}\nc: {d: 7}",
            "a",
            json!({"b": 7}),
        ),
        ("a: {_copy: '_copy: /b'}\nb: {x: 1}", "a", json!({"x": 1})),
        // Through a copied section to a key that only the copy has.
        (
            "a: {_copy: /b, only: 1}\nb: {x: 2}\nc: '_copy: /a/x'\nd: '_copy: /a/only'",
            "c",
            json!(2),
        ),
    ];
    for (text, key, expect) in table {
        let tree =
            load(&[("t", text)], "t", &[], &open()).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(tree.value(key), Some(&expect), "{text}");
    }
}

#[test]
fn copies_that_fail() {
    let table = [
        (
            "a: {_copy: /b}\nb: {_copy: /a}",
            "t:1:1: copying runs in a circle: /a → /b → /a",
        ),
        (
            "a: '_copy: /b'\nb: '_copy: /c'\nc: '_copy: /a'",
            "t:1:1: copying runs in a circle: /a → /b → /c → /a",
        ),
        (
            "a: '_copy: /a'",
            "t:1:1: copying runs in a circle: /a → /a, which contains it (`_copy: /a`)",
        ),
        (
            "a: {b: {_copy: ..}}",
            "t:1:9: copying runs in a circle: /a/b → /a, which contains it (`_copy: ..`)",
        ),
        (
            "a: {_copy: /a/b, b: {x: 1}}",
            "t:1:1: copying runs in a circle: /a → /a/b → /a",
        ),
        (
            "a: {b: {_copy: /c}}\nc: {d: {_copy: /a}}",
            "t:2:5: copying never ends, because these contain one another: `_copy: /c` at t:1:9, `_copy: /a` at t:2:9",
        ),
        (
            "a:\n  b: '_copy: ../../../x'",
            "t:2:3: `_copy: ../../../x` climbs above the top of the tree; it starts at /a/b",
        ),
        (
            "trainer: {x: 1}\na: {_copy: /trianer}",
            "t:2:5: `_copy: /trianer`: / has no `trianer`; did you mean `trainer`? (there: trainer, a)",
        ),
        (
            "a: {x: 1}\nb: '_copy: /a/x/y'",
            "t:2:1: `_copy: /a/x/y`: /a/x is `1`, it has no `y`",
        ),
        (
            "a: 5\nb: {_copy: /a}",
            "t:2:5: `_copy: /a` in a section expects a section there, found `5`",
        ),
        (
            "b: {_copy: [1]}",
            "t:1:5: `_copy` expects a path such as `/dataset`, found a list of 1",
        ),
    ];
    for (text, expect) in table {
        assert_eq!(
            load(&[("t", text)], "t", &[], &open()).unwrap_err(),
            expect,
            "{text}"
        );
    }
}

#[test]
fn copies_cannot_multiply_without_end() {
    let mut text = "a0: {x: 1}\n".to_owned();
    for i in 1..40 {
        let below = i - 1;
        text.push_str(&format!(
            "a{i}: {{x: {{_copy: /a{below}}}, y: {{_copy: /a{below}}}}}\n"
        ));
    }
    let error = load(&[("t", &text)], "t", &[], &open()).unwrap_err();
    assert!(error.contains("copying never ends"), "{error}");
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Apex {
    enabled: bool,
    distributed_enabled: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Part {
    apex: Apex,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Phase {
    trainer: Part,
    loader: Part,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Tree {
    apex: Apex,
    eval: Phase,
}

#[test]
fn overriding_a_copied_section_reaches_its_copies() {
    let text = "
apex: {enabled: false, distributed_enabled: true}
eval:
  loader: {apex: {_copy: ../../trainer/apex}}
  trainer: {apex: {_copy: /apex}}
";
    let table = [
        ("eval.trainer.apex.enabled=true", [false, true, true]),
        ("apex.enabled=true", [true, true, true]),
        ("eval.loader.apex.enabled=true", [false, false, true]),
    ];
    for (given, expect) in table {
        let tree = load(&[("t", text)], "t", &[given], &Schema::of::<Tree>()).unwrap();
        let found = ["apex", "eval.trainer.apex", "eval.loader.apex"]
            .map(|at| tree.section::<Apex>(at).unwrap().enabled);
        assert_eq!(found, expect, "{given}");
    }
    let tree = load(
        &[("t", text)],
        "t",
        &["eval.trainer.apex.distributed_enabled=no"],
        &Schema::of::<Tree>(),
    )
    .unwrap();
    assert!(
        !tree
            .section::<Apex>("eval.loader.apex")
            .unwrap()
            .distributed_enabled
    );
    // What is written out reads as the same tree.
    let again = load(&[("t", &tree.to_yaml())], "t", &[], &Schema::of::<Tree>()).unwrap();
    assert_eq!(again.value(""), tree.value(""));
}
