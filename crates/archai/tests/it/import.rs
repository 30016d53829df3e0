//! `archai import`: weights of the original DARTS code become a model file.

use std::path::PathBuf;

use crate::support::World;

fn fixture(name: &str) -> String {
    let folder =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../archai-export/tests/fixtures/darts");
    folder.join(name).to_string_lossy().into_owned()
}

#[test]
fn weights_of_the_original_code_become_a_model() {
    let world = World::new();
    let genotypes = fixture("genotypes.py");
    for (file, name, expect, note) in [
        (
            "cifar.pt",
            "CIFAR",
            "5 cells, 3 classes",
            "normalised as those of cifar10",
        ),
        (
            "cifar_checkpoint_old.pt",
            "CIFAR",
            "5 cells, 3 classes",
            "left there: epoch, best_acc_top1",
        ),
        (
            "imagenet.pt",
            "IMAGENET",
            "5 cells, 5 classes",
            "normalised as those of imagenet",
        ),
    ] {
        let weights = fixture(file);
        let out = format!("{file}.safetensors");
        let done = world.run(&[
            "import",
            &weights,
            "--genotype",
            &genotypes,
            "--name",
            name,
            "--out",
            &out,
        ]);
        assert!(done.err.contains(note), "{}", done.err);
        assert!(done.err.contains("that count batches"), "{}", done.err);
        let said = done.ok();
        assert!(said.contains(expect), "{said}");
        // It is a whole model: what it came from can be left behind.
        world
            .run(&["import", &out, "--out", "again.safetensors"])
            .ok();
        let [one, two] = [out.as_str(), "again.safetensors"].map(|name| {
            let (tensors, texts) =
                archai::engine::export::load_safetensors(&world.path(name)).unwrap();
            (tensors, texts.get("model_desc").cloned())
        });
        assert!(one == two && one.1.is_some(), "{file}");
    }
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_written() {
    let world = World::new();
    let (weights, genotypes) = (fixture("cifar.pt"), fixture("genotypes.py"));
    world.write("attack.pt", "\u{2}");
    std::fs::write(
        world.path("attack.pt"),
        b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00id\x85R.",
    )
    .unwrap();
    let cifar = ["--genotype", &genotypes, "--name", "CIFAR"];
    for (weights, more, code, expect) in [
        (
            weights.as_str(),
            vec!["--layers", "20"],
            2,
            "the weights in",
        ),
        (
            &weights,
            vec!["--channels", "36"],
            2,
            "are of a network with 2",
        ),
        (
            &weights,
            vec!["--classes", "10"],
            2,
            "are of a network with 3",
        ),
        (&weights, vec!["--layout", "keras"], 2, "keras"),
        (
            &weights,
            vec!["--layout", "archai"],
            2,
            "`stem.conv1.weight` (shape [6, 3, 3, 3]) is missing",
        ),
        ("nowhere.pt", vec![], 2, "nowhere.pt"),
        ("attack.pt", vec![], 2, "no file of PyTorch"),
    ] {
        let mut args = vec!["import", weights, "--out", "out.safetensors"];
        args.extend(cifar);
        args.extend(more);
        world.run(&args).fails(code, &[expect]);
    }
    let other = [
        "import",
        &weights,
        "--genotype",
        &genotypes,
        "--name",
        "IMAGENET",
        "--out",
        "out.safetensors",
    ];
    world.run(&other).fails(
        2,
        &["the weights are not those of this network", "is missing"],
    );
    let alone = ["import", &weights, "--out", "out.safetensors"];
    world
        .run(&alone)
        .fails(2, &["no description of their network", "--genotype"]);
    assert!(!world.path("out.safetensors").exists());
}
