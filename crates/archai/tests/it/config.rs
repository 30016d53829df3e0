//! `archai config`.

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
        world.run(&["run", "--config", &file]).fails(2, &expect);
    }
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
