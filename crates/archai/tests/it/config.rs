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
        "confs/algos/darts.yaml:2:21: common.tb_enable: left out: there are no TensorBoard logs",
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
