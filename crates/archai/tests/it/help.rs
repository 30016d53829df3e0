//! Help, lists, completions, manual pages, and mistakes on the command line.

use crate::support::World;

/// The commands that a help text lists.
fn listed(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.take_while(|line| !line.is_empty());
    // Descriptions that are continued are further to the right.
    let commands = lines.filter_map(|line| line.strip_prefix("  "));
    let names = commands.filter_map(|line| line.split(' ').next());
    let names = names.filter(|name| !name.is_empty());
    names.map(str::to_string).collect()
}

#[test]
fn every_command_has_help_with_examples() {
    let world = World::new();
    let (mut commands, mut n_leaves) = (vec![String::new()], 0);
    while let Some(command) = commands.pop() {
        let mut args: Vec<&str> = command.split_whitespace().collect();
        args.push("--help");
        let text = world.run(&args).ok();
        assert!(
            text.contains("Usage: archai") && text.contains(&format!("archai {command}")),
            "{command}: {text}"
        );
        let below = listed(&text);
        n_leaves += usize::from(below.is_empty());
        assert!(
            !below.is_empty() || text.contains("Example"),
            "{command}: {text}"
        );
        let below = below.iter().map(|name| format!("{command} {name}"));
        commands.extend(below.map(|command| command.trim().to_string()));
        let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(
            widest <= 120,
            "{command}: a line of {widest} characters:\n{text}"
        );
    }
    assert!(n_leaves > 25, "only {n_leaves} commands were found");
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
        ("exporters", vec!["safetensors", "pytorch"]),
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
fn finalizers_of_algorithms_are_told_from_those_of_every_supernet() {
    let text = World::new().run(&["finalizers"]).ok();
    let names: Vec<&str> = (text.lines())
        .filter_map(|line| line.split("  ").next())
        .collect();
    let different: std::collections::BTreeSet<&&str> = names.iter().collect();
    assert_eq!(different.len(), names.len(), "{text}");
    assert!(
        names.contains(&"default") && names.contains(&"mi (divnas)"),
        "{text}"
    );
}

#[test]
fn completions_and_manual_pages() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = world.run(&["completions", shell]).ok();
        for word in ["exp-prefix", "didarts", "fashion_mnist_mini", "nasbench201"] {
            assert!(script.contains(word), "{word} in {shell}");
        }
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
            "run --nas.eval.export [safetensors,onyx]",
            vec![
                "nas.eval.export.1: unknown value `onyx`",
                "(valid: safetensors, ",
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
            "config show darts --config nowhere.yaml",
            vec!["cannot read the configuration file nowhere.yaml"],
        ),
        (
            "run --datasets nowhere.yaml",
            vec![
                "cannot read the data-set file nowhere.yaml",
                "`archai datasets` lists",
                "a YAML file with a section `dataset:`",
            ],
        ),
        (
            "run --epochs 3",
            vec![
                "there is no option `--epochs`; a setting is given by its whole name: `--nas.eval.trainer.epochs 3` or \
                 `--nas.search.trainer.epochs 3`",
            ],
        ),
        (
            "run --full --epoch=3",
            vec![
                "there is no option `--epoch`",
                "`--nas.eval.trainer.epochs 3`",
            ],
        ),
        ("config show darts --size 64", vec!["`--dataset.size 64`"]),
        (
            "train net.yaml --n-classes 3",
            vec!["`--dataset.n_classes 3`"],
        ),
        (
            "run --frobnicate 3",
            vec!["unexpected argument '--frobnicate'"],
        ),
        ("run pics.yaml", vec!["`--datasets pics.yaml` (a data set)"]),
        (
            "run darts,random --full",
            vec!["write `--algos darts,random`"],
        ),
        ("run cifar10", vec!["write `--datasets cifar10`"]),
        ("run nasbench201", vec!["write `--space nasbench201`"]),
        (
            "run --seeds 1,a",
            vec!["invalid value 'a' for '--seeds <SEEDS>'", "as 1,2,3"],
        ),
        (
            "run --seed -1",
            vec![
                "invalid value '-1' for '--seed <N>'",
                "a whole number from 0",
            ],
        ),
        ("run --algo dats", vec!["did you mean `darts`?"]),
        ("run --dataset cifar11", vec!["did you mean `cifar10`?"]),
        ("run --dataset.size 64", vec!["write `[64, 64]`"]),
        ("desc show .", vec!["`.` is a folder, and no run directory"]),
        ("train .", vec!["`.` is a folder and no model description"]),
        ("runs --logdir nowhere", vec!["nowhere"]),
        (
            "run --no-search --nas.eval.final_desc_filename nowhere.yaml",
            vec!["nowhere.yaml` is not there"],
        ),
        ("run --table nowhere.csv", vec!["nowhere.csv"]),
        ("resume nowhere", vec!["nowhere"]),
        ("verify nowhere", vec!["nowhere", "no run directory"]),
        (
            "table nowhere.csv 433000",
            vec!["there is no table `nowhere.csv`"],
        ),
        ("report collate nowhere", vec!["`nowhere` is no folder"]),
        (
            "data get cifar10 --from nowhere.tar.gz",
            vec!["there is no file `nowhere.tar.gz`"],
        ),
        (
            "desc show nowhere.yaml",
            vec!["nowhere.yaml", "check the path"],
        ),
        (
            "desc from-genotype nowhere.txt",
            vec!["nowhere.txt", "check the path"],
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
            "config show darts --nas.search.finalizer defualt",
            vec![
                "`--nas.search.finalizer defualt`: nas.search.finalizer: ",
                "there is no finalizer `defualt`; did you mean `default`?",
            ],
        ),
        (
            "config show darts nas.search.space=nasbench202",
            vec!["there is no space `nasbench202`; did you mean `nasbench201`?"],
        ),
        (
            "run --no-search nas.search.finalizer=defualt",
            vec!["did you mean `default`?"],
        ),
        (
            "data get cifar11",
            vec!["`cifar11` cannot be fetched", "cifar10 and cifar100"],
        ),
        ("algo", vec!["unrecognized subcommand 'algo'", "'algos'"]),
        (
            "--algos darts --no-eval",
            vec![
                "`--algos` belongs to the command `run`; write: archai run --algos darts --no-eval",
            ],
        ),
        (
            "nas.eval.trainer.epochs=3",
            vec!["write: archai run nas.eval.trainer.epochs=3"],
        ),
        ("--algso darts", vec!["unexpected argument '--algso'"]),
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
