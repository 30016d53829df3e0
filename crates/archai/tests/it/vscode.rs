//! The editor's files are never opened by the compiler, so they are read here: every algorithm can be debugged, and every
//! command that a configuration or a task starts is one that the program takes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use archai::lab::Lab;
use serde_json::Value;

use crate::support::World;

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A file of `.vscode`, which is JSON with comments on lines of their own.
fn read(name: &str) -> Value {
    let path = root().join(".vscode").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    let is_comment = |line: &&str| line.trim_start().starts_with("//");
    let json: Vec<&str> = text.lines().filter(|line| !is_comment(line)).collect();
    serde_json::from_str(&json.join("\n")).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn words(value: &Value) -> Vec<&str> {
    let list = value.as_array().unwrap();
    list.iter().map(|word| word.as_str().unwrap()).collect()
}

/// The configurations that start the program or an example.
fn launched(launch: &Value) -> Vec<&Value> {
    let all = launch["configurations"].as_array().unwrap();
    all.iter().filter(|c| c["request"] == "launch").collect()
}

/// Whether the program takes these words. A run is given a file as its folder of run directories, so it ends where it
/// would begin, with everything checked before.
#[track_caller]
fn is_taken(world: &World, name: &str, args: &[String]) {
    let file = world.write("a_file", "");
    let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
    let runs = args[0] == "run";
    if runs {
        args.extend(["--logdir", &file]);
    }
    let done = world.run(&args);
    let ends = if runs {
        // The real data sets are not there.
        (done.code == Some(1) && done.err.contains(&file))
            || (done.code == Some(2) && done.err.contains("was not found"))
    } else {
        // What the parser refuses points to the help; that a folder is not there, does not.
        !done.err.contains("--help")
    };
    assert!(ends, "{name}: {args:?}: {:?}\n{}", done.code, done.err);
}

/// The arguments of a configuration, with the values that the editor would put in.
fn arguments(world: &World, configuration: &Value) -> Vec<String> {
    let mine = "dataset: {format: embedded, path: fashion_mnist_mini, n_classes: 10, channels: 1, size: [32, 32], \
                mean: [0.28604], std: [0.35302]}\n";
    let mine = world.write("mine.yaml", mine);
    let workspace = root().canonicalize().unwrap();
    let put_in = |word: &str| {
        let word = word.replace("${workspaceFolder}", workspace.to_str().unwrap());
        let word = word.replace("${input:dataset}", &mine);
        word.replace("${input:run}", "not_there")
    };
    let args = words(&configuration["args"]);
    args.into_iter().map(put_in).collect()
}

#[test]
fn every_algorithm_can_be_debugged() {
    let launch = read("launch.json");
    let lab = Lab::builtin();
    let algorithms: BTreeSet<&str> = lab.algorithms().iter().map(|a| a.name()).collect();
    let debugged: Vec<BTreeSet<&str>> = launched(&launch)
        .into_iter()
        .map(|configuration| words(&configuration["args"]))
        .filter(|args| args.len() == 4 && args[..3] == ["run", "--smoke", "--algos"])
        .map(|args| args[3].split(',').collect())
        .collect();
    for name in &algorithms {
        assert!(
            debugged.contains(&BTreeSet::from([*name])),
            ".vscode/launch.json has no smoke configuration of {name}"
        );
    }
    assert!(
        debugged.contains(&algorithms),
        "All-Toy in .vscode/launch.json does not run exactly {algorithms:?}"
    );
}

#[test]
fn configurations_start_what_is_there() {
    let world = World::new();
    let launch = read("launch.json");
    for configuration in launched(&launch) {
        let name = configuration["name"].as_str().unwrap();
        let target = &configuration["cargo"]["filter"];
        let built = words(&configuration["cargo"]["args"]).join(" ");
        let (kind, target) = (target["kind"].as_str(), target["name"].as_str().unwrap());
        let kind = kind.unwrap();
        assert_eq!(
            built,
            format!("build --{kind} {target} --package archai"),
            "{name}"
        );
        if kind == "example" {
            let source = root().join(format!("crates/archai/examples/{target}.rs"));
            assert!(source.is_file(), "{name}: {} is missing", source.display());
            continue;
        }
        assert_eq!((kind, target), ("bin", "archai"), "{name}");
        is_taken(&world, name, &arguments(&world, configuration));
    }
}

#[test]
fn tasks_run_commands_that_are_taken() {
    let world = World::new();
    let tasks = read("tasks.json");
    let tasks = tasks["tasks"].as_array().unwrap();
    let labels: Vec<&str> = tasks.iter().map(|t| t["label"].as_str().unwrap()).collect();
    for needed in ["Build (debug)", "Tests", "Documentation"] {
        assert!(
            labels.contains(&needed),
            "the task {needed:?} is missing in {labels:?}"
        );
    }
    let mut runs = 0;
    for (task, label) in tasks.iter().zip(labels) {
        let command = task["command"].as_str().unwrap();
        let Some((_, words)) = command
            .strip_prefix("cargo run ")
            .and_then(|rest| rest.split_once(" -- "))
        else {
            continue;
        };
        let words = words.split('>').next().unwrap().split_whitespace();
        let words: Vec<String> = words.map(str::to_string).collect();
        is_taken(&world, label, &words);
        runs += 1;
    }
    assert!(runs >= 3, "{runs} tasks run the program");
}
