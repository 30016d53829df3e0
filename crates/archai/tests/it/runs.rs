//! `archai runs`, several seeds in one command, and what `archai run` shows.

use std::fs;

use serde_json::Value;

use crate::run::TINY;
use crate::support::{Done, World};

/// A search on the tiny network, and what else the command says.
fn search(world: &World, more: &[&str]) -> Done {
    let config = world.write("tiny.yaml", TINY);
    let mut args = vec![
        "run",
        "--smoke",
        "--config",
        &config,
        "--threads",
        "2",
        "--no-eval",
    ];
    args.extend(more);
    world.run(&args)
}

/// The runs in the log folder, as `archai runs --json` lists them.
fn listed(world: &World, more: &[&str]) -> Vec<Value> {
    let mut args = vec!["runs", "--json"];
    args.extend(more);
    serde_json::from_str(&world.run(&args).ok()).unwrap()
}

fn names(runs: &[Value]) -> Vec<&str> {
    let mut names: Vec<&str> = runs
        .iter()
        .map(|run| run["name"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn runs_are_listed_by_their_states_and_removed() {
    let world = World::new();
    world.run(&["runs"]).fails(2, &["there are no runs yet"]);
    for prefix in ["done", "cut", "bad"] {
        search(&world, &["--exp-prefix", prefix]).ok();
    }
    let name = |prefix: &str| format!("darts_fashion_mnist_mini_{prefix}");
    let dir = |prefix: &str| world.path("logdir").join(name(prefix) + "_search");
    // One was killed, one failed.
    for prefix in ["cut", "bad"] {
        fs::remove_file(dir(prefix).join("result.json")).unwrap();
    }
    let log = dir("bad").join("log.jsonl");
    let error = "{\"level\":\"error\",\"message\":\"a weight is not finite\\nand more\"}\n";
    fs::write(&log, fs::read_to_string(&log).unwrap() + error).unwrap();
    // Not one of ours, and nothing at all.
    world.write("logdir/other/notes.txt", "mine");

    let text = world.run(&["runs"]).ok();
    for expect in [
        "search complete",
        "search interrupted",
        "search failed: a weight is not finite",
        "fashion_mnist_mini",
        "test accuracy",
    ] {
        assert!(text.contains(expect), "{expect:?} is missing in:\n{text}");
    }
    assert!(
        !text.contains("notes") && !text.contains("and more"),
        "{text}"
    );

    let status = world.run(&["status"]).ok();
    for expect in [
        "complete",
        "interrupted",
        "failed",
        "search",
        "epoch 1/1, 100 %",
    ] {
        assert!(
            status.contains(expect),
            "{expect:?} is missing in:\n{status}"
        );
    }

    let all = listed(&world, &[]);
    assert_eq!(names(&all), [name("bad"), name("cut"), name("done")]);
    for run in &all {
        assert!(
            run["size"].as_u64().unwrap() > 1000 && run["changed"].is_string(),
            "{run}"
        );
        assert_eq!(
            (&run["algorithm"], &run["seed"]),
            (&"darts".into(), &2.into())
        );
    }
    for (state, prefix) in [
        ("complete", "done"),
        ("interrupted", "cut"),
        ("failed", "bad"),
    ] {
        assert_eq!(
            names(&listed(&world, &["--state", state])),
            [name(prefix)],
            "{state}"
        );
    }
    assert_eq!(names(&listed(&world, &["--filter", "_cut"])), [name("cut")]);
    assert!(listed(&world, &["--filter", "cifar10"]).is_empty());
    let empty = world.run(&["runs", "logdir/other"]).ok();
    assert!(empty.contains("no runs in logdir/other"), "{empty}");

    let done = name("done");
    world
        .run(&["runs", "rm", "darts_fashion_mnist_mini_dnoe"])
        .fails(2, &["there is no run", &format!("did you mean `{done}`?")]);
    world
        .run(&["runs", "rm", "logdir/other"])
        .fails(2, &["is no run directory"]);
    world.run(&["runs", "rm"]).fails(2, &["NAME"]);
    let said = world
        .run(&["runs", "rm", "--state", "failed", "--dry-run"])
        .ok();
    assert!(
        said.contains("would remove") && dir("bad").is_dir(),
        "{said}"
    );
    world.run(&["runs", "rm", "--state", "failed"]).ok();
    world.run(&["runs", "rm", &done]).ok();
    let by_path = dir("cut").display().to_string();
    world.run(&["runs", "rm", &by_path]).ok();
    assert_eq!(world.names("logdir"), ["other"], "the rest is the user's");
}

#[cfg(unix)]
#[test]
fn a_run_that_works_is_listed_and_stays() {
    let world = World::new();
    let config = world.write("tiny.yaml", TINY);
    let epochs = "nas.search.trainer.epochs=100000";
    let mut child = world
        .command(&[
            "run",
            "--smoke",
            "--config",
            &config,
            "--threads",
            "1",
            epochs,
        ])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let log = world.path("logdir/darts_fashion_mnist_mini_throwaway_search/log.jsonl");
    while !fs::read_to_string(&log).is_ok_and(|text| text.contains("epochs/0/steps")) {
        assert!(child.try_wait().unwrap().is_none(), "it ended early");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let running = listed(&world, &["--state", "running"]);
    let process = format!("process {}", child.id());
    let phase = &running[0]["phases"][0];
    assert!(
        phase["detail"].as_str().unwrap().starts_with(&process),
        "{phase}"
    );
    // Looking does not disturb, and there is no evaluation yet that could be.
    assert_eq!(running[0]["phases"].as_array().unwrap().len(), 1);
    world
        .run(&["runs", "rm", "darts_fashion_mnist_mini_throwaway"])
        .fails(1, &[&process]);
    assert!(log.exists() && child.try_wait().unwrap().is_none());
    // How far it is comes from its log while it works, and from its last checkpoint when it was killed.
    while !fs::read_to_string(&log).is_ok_and(|text| text.contains("epochs/2/steps")) {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let status = |more: &[&str]| -> Vec<Value> {
        let args = [&["status", "--json"], more].concat();
        serde_json::from_str(&world.run(&args).ok()).unwrap()
    };
    let works = status(&[]).remove(0);
    let progress = &works["progress"];
    assert_eq!(
        (&works["state"], &works["phase"]),
        (&"running".into(), &"search".into())
    );
    assert_eq!(progress["training"], "arch_search/arch_train");
    let epoch = progress["epoch"].as_u64().unwrap();
    assert!(epoch >= 3 && progress["epochs"] == 100_000, "{works}");
    let fraction = progress["fraction"].as_f64().unwrap();
    assert!(fraction > 2e-5 && fraction < 1.0, "{works}");
    assert!(
        progress["top1"].is_f64() && works["seconds_left"].as_f64().unwrap() > 0.0,
        "{works}"
    );
    let table = world.run(&["status", "--state", "running"]).ok();
    assert!(
        table.contains("epoch ") && table.contains("/100000, 0 %") && table.contains(':'),
        "{table}"
    );
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(listed(&world, &["--state", "interrupted"]).len(), 1);
    let killed = status(&["--filter", "darts"]).remove(0);
    let reached = &killed["progress"];
    assert_eq!(
        (&killed["state"], &killed["seconds_left"]),
        (&"interrupted".into(), &Value::Null)
    );
    assert!(reached["epoch"].as_u64().unwrap() >= epoch - 1, "{killed}");
    assert_eq!(world.run(&["status", "elsewhere"]).code, Some(2));
    assert!(status(&["--state", "complete"]).is_empty());
}

/// Whoever holds a directory without having computed anything waits.
#[cfg(unix)]
#[test]
fn a_run_that_has_computed_nothing_waits() {
    let world = World::new();
    search(&world, &[]).ok();
    let dir = world.path("logdir/darts_fashion_mnist_mini_throwaway_search");
    fs::remove_file(dir.join("result.json")).unwrap();
    let log = dir.join("log.jsonl");
    let text = fs::read_to_string(&log).unwrap();
    let begin: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("\"path\":\"run\""))
        .collect();
    fs::write(&log, begin.join("\n") + "\n").unwrap();
    let lock = fs::File::open(dir.join(".lock")).unwrap();
    lock.lock().unwrap();
    let run = listed(&world, &[]).remove(0);
    assert_eq!(run["state"], "waiting", "{run}");
    assert!(world.run(&["status"]).ok().contains("waiting"));
    fs::write(&log, &text).unwrap();
    assert_eq!(listed(&world, &[]).remove(0)["state"], "running");
    drop(lock);
    assert_eq!(listed(&world, &[]).remove(0)["state"], "interrupted");
}

#[test]
fn several_seeds_are_one_command() {
    let world = World::new();
    let table = search(&world, &["--seeds", "1,2"]).ok();
    for expect in [
        "darts on fashion_mnist_mini, seed 1",
        "darts on fashion_mnist_mini, seed 2",
        "at search size",
    ] {
        assert!(table.contains(expect), "{expect:?} is missing in:\n{table}");
    }
    let name = |seed: u64| format!("darts_fashion_mnist_mini_throwaway_s{seed}_search");
    assert_eq!(world.names("logdir"), [name(1), name(2)]);
    for seed in [1, 2] {
        let path = world.path("logdir").join(name(seed)).join("result.json");
        let record: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(record["seed"], seed);
    }
    // They are the seeds of one group.
    let report = world
        .run(&["report", "collate", "logdir", "--format", "json"])
        .ok();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["groups"][0]["seeds"], serde_json::json!([1, 2]));

    search(&world, &["--seeds", "1", "--seed", "2"]).fails(2, &["--seed"]);
    search(&world, &["--seeds", "1,1"]).fails(2, &["--seeds names 1 twice"]);
    search(&world, &["--seeds", "1,2", "common.seed=7"]).fails(
        2,
        &["--seeds asks for a run with seed 1, but common.seed is set to 7"],
    );
}

#[track_caller]
fn says_warnings_alone(done: &Done) {
    let mut lines = done.err.lines();
    assert!(lines.all(|line| line.contains("warning: ")), "{}", done.err);
}

#[test]
fn results_are_json_where_asked_and_the_screen_is_as_loud_as_wanted() {
    let world = World::new();
    let done = search(&world, &["--json", "--quiet", "--exp-prefix", "json"]);
    says_warnings_alone(&done);
    let results: Value = serde_json::from_str(&done.ok()).unwrap();
    assert_eq!(
        (&results["version"], &results["error"]),
        (&1.into(), &Value::Null)
    );
    let run = &results["runs"][0];
    assert_eq!(run["title"], "darts on fashion_mnist_mini");
    assert!(run["search"]["result"]["genotype"].is_string(), "{run}");
    assert_eq!(run["evaluation"], Value::Null);
    // What is shown is not part of what a run is: the same run without these flags was made by the same command.
    let started = world.path("logdir/darts_fashion_mnist_mini_json_search/run.json");
    let started: Value = serde_json::from_str(&fs::read_to_string(started).unwrap()).unwrap();
    let arguments = started["arguments"].to_string();
    assert!(
        !arguments.contains("--json") && !arguments.contains("--quiet"),
        "{arguments}"
    );

    let quiet = search(&world, &["-q", "--exp-prefix", "quiet"]);
    says_warnings_alone(&quiet);
    let table = quiet.ok();
    assert!(
        table.contains("darts on") && !table.contains("config_used.yaml"),
        "{table}"
    );
    let loud = search(&world, &["-v", "--exp-prefix", "loud"]);
    let usual = search(&world, &["--exp-prefix", "usual"]);
    for text in ["config_digest=", "timings", "epochs/0/alphas"] {
        assert!(
            loud.err.contains(text),
            "{text:?} is missing in:\n{}",
            loud.err
        );
        assert!(!usual.err.contains(text), "{text:?} is in:\n{}", usual.err);
    }
    assert!(
        usual.err.contains("arch_train epoch 1/1 step 2/") && usual.err.contains(" left"),
        "where it is and how long it takes: {}",
        usual.err
    );
    search(&world, &["-q", "-v"]).fails(2, &["cannot be used with"]);
}
