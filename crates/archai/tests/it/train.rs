//! `archai train`: a description is trained as it is written.

use crate::support::World;

/// Two kinds of cells in which every op is another one.
const GENOTYPE: &str = "Genotype(normal=[('sep_conv_3x3', 0), ('skip_connect', 1)], normal_concat=range(2, 3), \
    reduce=[('max_pool_3x3', 0), ('avg_pool_3x3', 1)], reduce_concat=range(2, 3))";

/// A network of three cells for the embedded data.
fn network(world: &World, name: &str, more: &[&str]) -> String {
    let genotype = world.write("genotype.txt", GENOTYPE);
    let mut args = vec!["desc", "from-genotype", &genotype, "-o", name];
    args.extend("--cells 3 --reductions 1 --channels 2 --dataset fashion_mnist_mini".split(' '));
    args.extend(more);
    world.run(&args).ok();
    std::fs::read_to_string(world.path(name)).unwrap()
}

const FEW: [&str; 6] = [
    "--threads",
    "1",
    "nas.eval.loader.train_batch=4",
    "nas.eval.loader.test_batch=4",
    "nas.eval.loader.dataset.max_batches=2",
    "nas.eval.loader.train_workers=0",
];

#[test]
fn an_edit_is_trained_and_never_passed_over() {
    let world = World::new();
    let plain = network(&world, "plain.yaml", &[]);
    // The last cell is not the first one of its kind.
    let at = plain.rfind("sep_conv_3x3").unwrap();
    let edited = format!("{}sep_conv_5x5{}", &plain[..at], &plain[at + 12..]);
    world.write("edited.yaml", &edited);

    let shown = world.run(&["desc", "show", "edited.yaml"]).ok();
    for expect in [
        "regular cell (cell 0)\n  node 0    sep_conv_3x3←c_{k-2}  skip_connect←c_{k-1}",
        "regular cell (cell 2)\n  node 0    sep_conv_5x5←c_{k-2}  skip_connect←c_{k-1}",
    ] {
        assert!(shown.contains(expect), "{expect:?} is missing in:\n{shown}");
    }
    let scaled = world.run(&["desc", "scale", "edited.yaml"]);
    scaled.fails(2, &["its regular cells differ", "archai train"]);
    let mut args = vec!["run", "--smoke", "--no-search"];
    args.extend(["--nas.eval.final_desc_filename", "edited.yaml"]);
    args.extend(FEW);
    let expect = [
        "edited.yaml` cannot be evaluated",
        "cell 2 has sep_conv_5x5",
    ];
    world.run(&args).fails(2, &expect);
    assert_eq!(world.names("logdir").len(), 0);

    let mut args = vec!["train", "edited.yaml"];
    args.extend(FEW);
    let summary = world.run(&args).ok();
    assert!(summary.contains("trained description"), "{summary}");
    let dir = "logdir/manual_fashion_mnist_mini_edited_eval";
    let read = |name: &str| std::fs::read(world.path(dir).join(name)).unwrap();
    assert_eq!(read("full_model_desc.yaml"), edited.as_bytes());
    let weights = String::from_utf8_lossy(&read("model.safetensors")).into_owned();
    for (name, is_there) in [
        ("cell0.node0.edge0.sep_conv_3x3.", true),
        ("cell2.node0.edge0.sep_conv_5x5.", true),
        ("cell2.node0.edge0.sep_conv_3x3.", false),
    ] {
        assert_eq!(weights.contains(name), is_there, "{name}");
    }
    // The same command resumes, and so does the run's directory.
    let done = world.run(&["resume", dir]);
    assert!(done.err.contains("is complete"), "{}", done.err);
}

#[test]
fn a_network_is_trained_with_its_own_tower() {
    let world = World::new();
    network(&world, "net.yaml", &["--aux"]);
    let mut args = vec!["train", "net.yaml", "--exp-prefix", "tower"];
    args.extend(FEW);
    world.run(&args).ok();
    let summary = "logdir/manual_fashion_mnist_mini_tower_eval/summary.md";
    let summary = std::fs::read_to_string(world.path(summary)).unwrap();
    assert!(
        summary.contains("parameters with auxiliary tower"),
        "{summary}"
    );
    args.extend(["nas.eval.model_desc.aux_weight=0", "--fresh"]);
    world.run(&args).fails(
        2,
        &["cell 2 has an auxiliary tower, which nothing would train"],
    );
    let nothing = ["train", "nowhere.yaml"];
    world
        .run(&nothing)
        .fails(2, &["nowhere.yaml", "check the path"]);
}

#[test]
fn a_setting_that_counts_for_scaled_networks_alone_is_named() {
    let world = World::new();
    network(&world, "net.yaml", &[]);
    let mut args = vec!["train", "net.yaml", "nas.eval.model_desc.n_cells=5"];
    args.extend(FEW);
    let done = world.run(&args);
    let expect = "nas.eval.model_desc.n_cells has no effect";
    assert!(done.err.contains(expect), "{}", done.err);
    done.ok();
}

/// The tensors of a model file.
fn tensors(path: &std::path::Path) -> std::collections::BTreeMap<String, Vec<f64>> {
    let (tensors, _) = archai::engine::export::load_safetensors(path).unwrap();
    tensors.into_iter().map(|t| (t.name, t.values)).collect()
}

#[test]
fn a_training_goes_on_from_a_model_with_parts_held_still() {
    let world = World::new();
    network(&world, "net.yaml", &[]);
    let mut args = vec!["train", "net.yaml", "--exp-prefix", "first"];
    args.extend(FEW);
    world.run(&args).ok();
    let first = "logdir/manual_fashion_mnist_mini_first_eval";

    // Images of another size, which the convolutions take as well.
    let mut args = vec![
        "train",
        "--model",
        first,
        "--exp-prefix",
        "second",
        "dataset.size=[24, 24]",
    ];
    args.extend(["--nas.eval.freeze", "[stem*, cell*]"]);
    args.extend(FEW);
    world.run(&args).ok();
    let second = "logdir/manual_fashion_mnist_mini_second_eval";
    let summary = std::fs::read_to_string(world.path(second).join("summary.md")).unwrap();
    for expect in [
        "description fitted to the data",
        "starts from given weights",
    ] {
        assert!(
            summary.contains(expect),
            "{expect:?} is missing in {summary}"
        );
    }
    assert!(!summary.contains("anew"), "{summary}");
    let [before, after] =
        [first, second].map(|dir| tensors(&world.path(dir).join("model.safetensors")));
    assert_eq!(before.len(), after.len());
    for (name, values) in &before {
        let stays = !name.starts_with("classifier.");
        assert_eq!(values == &after[name], stays, "{name}");
    }
    // The run is a run like any other: it can be done again from its directory.
    world.run(&["verify", "--threads", "1", second]).ok();

    for (more, expect) in [
        (
            vec!["--nas.eval.freeze", "[cell7]"],
            "the network has no part `cell7`",
        ),
        (
            vec!["--nas.eval.freeze", "['*']"],
            "nothing is left to train",
        ),
        (
            vec!["--nas.eval.lr_factors", "{classifier: 0}"],
            "0 is no factor of a learning rate",
        ),
        (vec!["--nas.eval.lr_factors", "{cell0: fast}"], "lr_factors"),
    ] {
        let mut args = vec!["train", "--model", first, "--exp-prefix", "third"];
        args.extend(FEW);
        args.extend(more);
        world.run(&args).fails(2, &[expect]);
    }
    let names = world.names("logdir");
    assert!(
        names.iter().all(|name| !name.contains("third")),
        "{names:?}"
    );
}

#[test]
fn weights_of_another_network_are_refused_before_anything_is_written() {
    let world = World::new();
    let plain = network(&world, "net.yaml", &[]);
    let mut args = vec!["train", "net.yaml", "--exp-prefix", "first"];
    args.extend(FEW);
    world.run(&args).ok();
    let model = "logdir/manual_fashion_mnist_mini_first_eval/model.safetensors";
    let at = plain.rfind("sep_conv_3x3").unwrap();
    world.write(
        "other.yaml",
        &format!("{}dil_conv_3x3{}", &plain[..at], &plain[at + 12..]),
    );
    let weights = format!("nas.eval.init_weights={model}");
    for (command, expect) in [
        (vec!["train", "other.yaml", &weights], "of another network"),
        (
            vec!["run", "--smoke", &weights],
            "this run searches for a network",
        ),
        (
            vec!["train", "net.yaml", "nas.eval.init_weights=net.yaml"],
            "safetensors",
        ),
        (
            vec!["train", "net.yaml", "nas.eval.init_weights=nowhere.pt"],
            "nowhere.pt",
        ),
    ] {
        let mut args = command;
        args.extend(["--exp-prefix", "second"]);
        args.extend(FEW);
        world.run(&args).fails(2, &[expect]);
    }
    let names = world.names("logdir");
    assert!(
        names.iter().all(|name| !name.contains("second")),
        "{names:?}"
    );
    world
        .run(&["train", "--model", "nowhere"])
        .fails(2, &["nowhere"]);
    world.run(&["train"]).fails(2, &["--model"]);
}
