//! Help, lists, completions, manual pages, and mistakes on the command line.

use crate::support::World;

#[test]
fn every_command_has_help_with_examples() {
    let world = World::new();
    for command in [
        "",
        "run",
        "algos",
        "ops",
        "exporters",
        "devices",
        "datasets",
        "formats",
        "transforms",
        "config show",
        "config schema",
        "desc show",
        "desc lower",
        "desc check",
        "desc draw",
        "desc scale",
        "desc import",
        "desc genotype",
        "desc from-genotype",
        "data get",
        "report collate",
        "completions",
        "man",
    ] {
        let mut args: Vec<&str> = command.split_whitespace().collect();
        args.push("--help");
        let text = world.run(&args).ok();
        assert!(
            text.contains("Usage: archai") && text.contains(&format!("archai {command}")),
            "{command}: {text}"
        );
        assert!(
            command.is_empty() || text.contains("Example"),
            "{command}: {text}"
        );
        let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(
            widest <= 120,
            "{command}: a line of {widest} characters:\n{text}"
        );
    }
    assert!(world.run(&["--help"]).ok().contains("Exit status"));
    assert!(world.run(&["--version"]).ok().starts_with("archai "));
    world.run(&[]).fails(2, &["Usage: archai"]);
}

#[test]
fn lists_have_a_line_each() {
    let world = World::new();
    for (list, expect) in [
        ("algos", vec!["darts"]),
        (
            "ops",
            vec!["sep_conv_3x3", "skip_connect", "none", "max_pool_3x3"],
        ),
        ("exporters", vec!["safetensors", "pt"]),
        ("devices", vec!["cpu"]),
        (
            "datasets",
            vec!["fashion_mnist_mini", "cifar10", "imagenet"],
        ),
        (
            "formats",
            vec!["embedded", "cifar10_binary", "image_folder"],
        ),
        ("transforms", vec!["crop", "normalise", "cutout"]),
    ] {
        let text = world.run(&[list]).ok();
        let json: serde_json::Value =
            serde_json::from_str(&world.run(&[list, "--json"]).ok()).unwrap();
        assert_eq!(text.lines().count(), json.as_array().unwrap().len());
        for name in expect {
            let line = text
                .lines()
                .find(|line| line.split_whitespace().next() == Some(name));
            assert!(
                line.is_some_and(|line| line.len() > name.len() + 5),
                "{name} in {text}"
            );
            assert!(
                json.as_array()
                    .unwrap()
                    .iter()
                    .any(|entry| entry["name"] == name),
                "{name}"
            );
        }
    }
}

#[test]
fn completions_and_manual_pages() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            world
                .run(&["completions", shell])
                .ok()
                .contains("exp-prefix"),
            "{shell}"
        );
    }
    assert!(world.run(&["man"]).ok().contains(".TH archai"));
    world.run(&["man", "pages"]).ok();
    let pages = world.names("pages");
    for page in ["archai.1", "archai-run.1", "archai-desc-scale.1"] {
        assert!(pages.iter().any(|name| name == page), "{page} in {pages:?}");
    }
}

#[test]
fn mistakes_say_what_was_meant() {
    let world = World::new();
    for (line, expect) in [
        (
            "run --algos dart",
            vec![
                "there is no algorithm `dart`",
                "did you mean `darts`?",
                "known are",
            ],
        ),
        (
            "run --datasets cifar-10",
            vec![
                "there is no data set `cifar-10`",
                "did you mean `cifar10`?",
                "imagenet",
            ],
        ),
        ("run --eval-dataset cifr10", vec!["did you mean `cifar10`?"]),
        ("run --algos ,", vec!["--algos is empty"]),
        ("run --algos darts,darts", vec!["names `darts` twice"]),
        ("run --ful", vec!["unexpected argument '--ful'", "--full"]),
        ("run --exp-prefix a/b", vec!["--exp-prefix", "'/'"]),
        ("run --no-search --no-eval", vec!["nothing to do"]),
        ("run --threads 0", vec!["--threads"]),
        (
            "run --device tpu",
            vec!["--device: there is no device `tpu`", "cpu"],
        ),
        (
            "run --nas.eval.exports [pt,onnx]",
            vec![
                "nas.eval.exports.1: unknown value `onnx`",
                "(valid: safetensors, pt)",
            ],
        ),
        ("run --engine steam", vec!["steam", "fused", "plain"]),
        (
            "run --config a.yaml --config-only b.yaml",
            vec!["cannot be used with"],
        ),
        (
            "run --config nowhere.yaml",
            vec!["cannot read the configuration file nowhere.yaml"],
        ),
        (
            "run --nas.evl.trainer.epochs 3",
            vec![
                "--nas.evl.trainer.epochs 3",
                "did you mean `nas.eval.trainer.epochs`?",
            ],
        ),
        (
            "run --nas.eval.trainer.epochs three",
            vec!["--nas.eval.trainer.epochs three", "expected a whole number"],
        ),
        ("run --nas.eval.trainer.epochs", vec!["a value is missing"]),
        ("run nas.eval.trainer.epochs 3", vec!["unexpected argument"]),
        ("config show dats", vec!["did you mean `darts`?"]),
        (
            "data get cifar11",
            vec!["`cifar11` cannot be fetched", "cifar10 and cifar100"],
        ),
        ("algo", vec!["unrecognized subcommand 'algo'", "'algos'"]),
    ] {
        let args: Vec<&str> = line.split_whitespace().collect();
        world.run(&args).fails(2, &expect);
    }
    assert!(
        world.names("logdir").is_empty(),
        "a mistake leaves no run directory"
    );
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    use std::process::Stdio;
    let world = World::new();
    let mut child = world
        .command(&["config", "schema"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let done = child.wait_with_output().unwrap();
    assert!(
        done.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    assert!(done.status.success());
}
