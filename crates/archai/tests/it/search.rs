//! `archai search`: discrete searches with real trainings on the embedded images.

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Done, World};

/// 24 small networks for the embedded images.
const TINY: &str = "\
space: tiny
version: 1
input: {channels: 1, size: [32, 32]}
classes: 10
network:
  - conv_bn: {out: {one_of: [4, 8, 16]}, kernel: {one_of: [3, 5]}, stride: 2, act: relu}
  - repeat: {times: {one_of: [1, 2]}, body: {conv_bn: {out: {one_of: [4, 8]}, kernel: 3, stride: 2, act: relu}}}
  - pool: {kind: mean}
  - linear: {out: $classes}
";

/// A search in the folder `s` of a world that has the space.
fn args<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec![
        "search",
        "run",
        "tiny.yaml",
        "--smoke",
        "--threads",
        "1",
        "nas.eval.loader.train_workers=0",
    ];
    if !more.contains(&"--dir") {
        all.extend(["--dir", "s"]);
    }
    all.extend(more);
    all
}

fn world() -> World {
    let world = World::new();
    world.write("tiny.yaml", TINY);
    world
}

fn search(world: &World, more: &[&str]) -> Done {
    world.run(&args(more))
}

/// The events of a journal.
fn events(world: &World, dir: &str) -> Vec<Value> {
    let text = fs::read_to_string(world.path(dir).join("journal.log")).unwrap();
    // A line that is being written has no end yet.
    let whole = text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    whole
        .map(|line| serde_json::from_str(&line[17..]).unwrap())
        .collect()
}

/// The events without times, and without those that say who worked when.
fn timeless(world: &World, dir: &str) -> Vec<Value> {
    let mut all = events(world, dir);
    all.retain(|event| event["event"] != "session" && event["event"] != "started");
    for event in &mut all {
        let event = event.as_object_mut().unwrap();
        // It counts the events that were left out here.
        event.remove("seen");
        event.remove("seconds");
        if let Some(values) = event.get_mut("values").and_then(Value::as_object_mut) {
            values.remove("train_time");
        }
    }
    all
}

/// The same of a search with several workers, whose events of different jobs come in any order.
fn by_job(world: &World, dir: &str) -> Vec<Value> {
    let mut all = timeless(world, dir);
    let key = |event: &Value| {
        (
            event["job"].as_u64(),
            event["event"] != "proposed",
            event["epochs"].to_string(),
        )
    };
    all.sort_by_key(key);
    all
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn networks_are_trained_within_the_limits_and_the_best_goes_on() {
    let world = world();
    let limits = ["--limit", "params<=1.2k", "--limit", "macs<=60k"];
    let mut more = limits.to_vec();
    more.extend(["--budget", "6", "--json"]);
    let found = json(&search(&world, &more).ok());
    assert_eq!(found["states"], serde_json::json!({"done": 6}));
    assert!(!found["front"].as_array().unwrap().is_empty());
    for event in events(&world, "s") {
        if event["event"] == "proposed" {
            let statics = &event["network"]["statics"];
            assert!(statics["params"].as_f64().unwrap() <= 1200.0, "{event}");
            assert!(statics["macs"].as_f64().unwrap() <= 60_000.0, "{event}");
        }
    }
    let expect = [
        "best.yaml",
        "front.csv",
        "front.svg",
        "journal.log",
        "search.json",
        "search_state.csv",
        "space.yaml",
        "trials",
    ];
    assert_eq!(world.names("s"), expect);
    // A network that was trained to its end keeps its description and no checkpoints.
    assert_eq!(world.names("s/trials/0"), ["model.yaml"]);

    let status = world.run(&["search", "status", "s"]).ok();
    for text in [
        "6 of 6: 6 done",
        "params<=1200",
        "accuracy, params",
        "training on fashion_mnist_mini, epochs: 1",
    ] {
        assert!(status.contains(text), "{text:?} is missing in:\n{status}");
    }
    let status = json(&world.run(&["search", "status", "s", "--json"]).ok());
    assert_eq!(
        (&status["trials"], &status["is_at_work"]),
        (&6.into(), &false.into())
    );

    let table = world.run(&["search", "front", "s"]).ok();
    let csv = world.run(&["search", "front", "s", "--format", "csv"]).ok();
    assert!(csv.starts_with("trial,id,params,macs,model_size,accuracy,loss,train_time,knee\n"));
    for line in csv.lines().skip(1) {
        let id = line.split(',').nth(1).unwrap();
        assert!(table.contains(id), "{id} is missing in:\n{table}");
    }
    world.run(&["search", "front", "s", "-o", "drawn.svg"]).ok();
    let drawn = fs::read_to_string(world.path("drawn.svg")).unwrap();
    assert!(
        drawn.starts_with("<svg") && drawn.contains("limit 1200"),
        "{drawn}"
    );

    // The best network is a description like any other.
    let best = json(&world.run(&["search", "best", "s", "--json"]).ok());
    world.run(&["search", "best", "s", "-o", "best.yaml"]).ok();
    world.run(&["desc", "check", "best.yaml"]).ok();
    let shown = json(&world.run(&["desc", "show", "best.yaml", "--json"]).ok());
    assert_eq!(
        shown["total"]["params"].as_f64(),
        best["values"]["params"].as_f64()
    );
    let fewest = json(
        &world
            .run(&["search", "best", "s", "--by", "params", "--json"])
            .ok(),
    );
    assert!(fewest["values"]["params"].as_f64() <= best["values"]["params"].as_f64());
    let train = [
        "train",
        "best.yaml",
        "--smoke",
        "--threads",
        "1",
        "nas.eval.loader.train_workers=0",
    ];
    world.run(&train).ok();
    let dir = "logdir/manual_fashion_mnist_mini_best_eval";
    assert!(world.names(dir).contains(&"model.onnx".to_string()));

    let state = world
        .run(&["search", "export", "s", "--to", "search_state"])
        .ok();
    assert!(
        state.starts_with("archid,params,macs,") && state.lines().count() == 7,
        "{state}"
    );
    let optuna = world.run(&["search", "export", "s", "--to", "optuna"]).ok();
    let created = optuna
        .lines()
        .filter(|line| json(line)["op_code"] == 4)
        .count();
    assert_eq!(created, 6);
    world.run(&["verify", "s"]).ok();
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_written() {
    let world = world();
    let refused = |more: &[&str], texts: &[&str]| {
        search(&world, more).fails(2, texts);
        assert_eq!(world.names("s").len(), 0, "{more:?}");
    };
    refused(
        &["--limit", "params<=100"],
        &[
            "no member of `tiny` has at most 100 parameters; the smallest has 2",
            "tiny-o4k3d1o4",
            "raise the limit",
        ],
    );
    refused(
        &["--limit", "params<=1k", "--limit", "params>=2k"],
        &["no network of `tiny` within the limits"],
    );
    refused(
        &["--limit", "params=1k"],
        &["`params=1k` is no limit", "params<=200k"],
    );
    refused(
        &["--objectives", "acuracy"],
        &["no quantity `acuracy`", "did you mean `accuracy`?"],
    );
    refused(
        &["--objectives", "min:accuracy"],
        &["of `accuracy` more is better"],
    );
    let by_command =
        |command: &str| world.run(&["search", "run", "tiny.yaml", "--command", command]);
    by_command("sh 'eval.sh").fails(2, &["--command sh 'eval.sh: a quote is not closed"]);
    by_command(" ").fails(2, &["--command is empty"]);
    refused(&["--rungs", "1,2"], &["--rungs has no meaning", "`guided`"]);
    refused(
        &["--optimiser", "guide"],
        &["no optimiser `guide`", "did you mean `guided`?"],
    );
    refused(
        &["--optimiser", "halving", "--set", "etta=2"],
        &["did you mean `eta`?"],
    );
    refused(
        &["--rungs", "1,2"],
        &["--rungs has no meaning for the optimiser `guided`"],
    );
    refused(
        &["nas.eval.loader.load_test=true"],
        &["a search never sees test data"],
    );
    refused(
        &["nas.eval.loader.val_ratio=0"],
        &["val_ratio", "must be above 0"],
    );
    refused(&["nas.evl.x=1"], &["unknown key `evl`"]);
    let coloured = TINY.replace("channels: 1", "channels: 3");
    world.write("tiny.yaml", &coloured);
    refused(
        &[],
        &[
            "take 3×32×32",
            "write `input: {channels: 1, size: [32, 32]}`",
        ],
    );
    world.write("tiny.yaml", &TINY.replace("kernel: 3,", "kernels: 3,"));
    refused(&[], &["tiny.yaml:7:", "did you mean `kernel`?"]);
    // A folder of other things stays as it is.
    world.write("tiny.yaml", TINY);
    world.write("other/thesis.txt", "");
    search(&world, &["--dir", "other"]).fails(2, &["not empty", "thesis.txt", "--dir"]);
    assert_eq!(world.names("other"), ["thesis.txt"]);
    for command in ["status", "front", "best"] {
        world
            .run(&["search", command, "other"])
            .fails(2, &["no folder of a search"]);
    }
}

#[test]
fn strict_order_gives_the_same_trials_for_any_number_of_workers() {
    let world = world();
    for (dir, workers) in [("one", "1"), ("two", "2")] {
        let more = [
            "--dir",
            dir,
            "--strict",
            "1",
            "--workers",
            workers,
            "--budget",
            "8",
        ];
        search(&world, &more).ok();
    }
    let one = by_job(&world, "one");
    assert_eq!(one, by_job(&world, "two"));
    assert!(one.len() > 16);
    for dir in ["one", "two"] {
        world.run(&["verify", dir]).ok();
    }
}

/// Trainings of several epochs, long enough to be met in the middle.
const LONG: [&str; 5] = [
    "--budget",
    "4",
    "--epochs",
    "6",
    "nas.eval.loader.dataset.max_batches=24",
];

/// Starts a search and waits until its journal has so many lines.
fn begin(world: &World, more: &[&str], lines: usize) -> Child {
    let mut command = world.command(&args(more));
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let since = Instant::now();
    loop {
        let text = fs::read_to_string(world.path("s/journal.log")).unwrap_or_default();
        if text.lines().count() >= lines {
            return child;
        }
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended before {lines} lines were there"
        );
        assert!(
            since.elapsed() < Duration::from_secs(120),
            "{lines} lines never came"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_search_that_was_killed_goes_on_as_if_nothing_had_happened() {
    let world = world();
    let mut undisturbed = LONG.to_vec();
    undisturbed.extend(["--dir", "undisturbed"]);
    search(&world, &undisturbed).ok();
    // In the first training, and in a later one.
    for lines in [5, 14] {
        let mut child = begin(&world, &LONG, lines);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let resumed = world.run(&["resume", "s"]).ok();
    assert!(resumed.contains("4 trials: 4 done"), "{resumed}");
    assert_eq!(timeless(&world, "s"), timeless(&world, "undisturbed"));
    world.run(&["verify", "s"]).ok();
    // Giving it again changes nothing but who looked.
    search(&world, &LONG).ok();
    assert_eq!(timeless(&world, "s"), timeless(&world, "undisturbed"));
}

#[cfg(unix)]
#[test]
fn an_interrupt_stops_a_search_and_the_same_command_goes_on() {
    let world = world();
    let mut undisturbed = LONG.to_vec();
    undisturbed.extend(["--dir", "undisturbed"]);
    search(&world, &undisturbed).ok();
    let mut command = world.command(&args(&LONG));
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let since = Instant::now();
    while fs::read_to_string(world.path("s/journal.log"))
        .unwrap_or_default()
        .lines()
        .count()
        < 6
    {
        assert!(since.elapsed() < Duration::from_secs(120));
        std::thread::sleep(Duration::from_millis(1));
    }
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let done = Done::new(child.wait_with_output().unwrap());
    done.fails(
        130,
        &[
            "stopping after this step",
            "give the same command again, or: archai resume",
        ],
    );
    search(&world, &LONG).ok();
    assert_eq!(timeless(&world, "s"), timeless(&world, "undisturbed"));
}

#[test]
fn a_training_that_waits_at_rungs_ends_in_the_numbers_of_one_that_does_not() {
    let world = world();
    let epochs = "nas.eval.loader.dataset.max_batches=12";
    let halving = [
        "--dir",
        "rungs",
        "--optimiser",
        "halving",
        "--rungs",
        "1,2,4",
        "--set",
        "eta=2",
        "--budget",
        "9",
        epochs,
    ];
    let found = json(&search(&world, &[&halving[..], &["--json"]].concat()).ok());
    let state = world
        .run(&["search", "export", "rungs", "--to", "search_state"])
        .ok();
    assert!(
        state.contains(",paused,") || state.contains(",stopped,"),
        "{state}"
    );
    let through = found["front"]
        .as_array()
        .unwrap()
        .first()
        .expect("one went through all rungs")
        .clone();
    assert_eq!(through["epochs"], 4);
    let jobs = events(&world, "rungs");
    let proposed = jobs
        .iter()
        .filter(|e| e["event"] == "proposed" && e["trial"] == through["trial"]);
    assert!(proposed.count() > 1, "it waited at a rung");
    // One that waits keeps its checkpoint, the others do not.
    assert!(
        !world
            .names(&format!("rungs/trials/{}", through["trial"]))
            .contains(&"checkpoints".to_string())
    );

    let at_once = ["--dir", "at_once", "--epochs", "4", epochs];
    search(&world, &[&at_once[..], &["--budget", "1"]].concat()).ok();
    let id = through["id"].as_str().unwrap();
    world.run(&["search", "add", "at_once", id]).ok();
    search(&world, &[&at_once[..], &["--budget", "2"]].concat()).ok();
    let state = world
        .run(&["search", "export", "at_once", "--to", "search_state"])
        .ok();
    let row = state.lines().find(|line| line.starts_with(id)).unwrap();
    let fields: Vec<&str> = row.split(',').collect();
    for (field, name) in [(4, "accuracy"), (5, "loss")] {
        let at_once: f64 = fields[field].parse().unwrap();
        assert_eq!(
            Some(at_once),
            through["values"][name].as_f64(),
            "{name}: {row}"
        );
    }
    for dir in ["rungs", "at_once"] {
        world.run(&["verify", dir]).ok();
    }
}

#[test]
fn other_settings_are_refused_and_named() {
    let world = world();
    let begun = ["--budget", "2", "--limit", "params<=2k"];
    search(&world, &begun).ok();
    let before = events(&world, "s").len();
    for (more, text) in [
        (
            vec!["--budget", "2", "--limit", "params<=3k"],
            "`limits` is",
        ),
        (
            vec!["--budget", "2"],
            "`limits` is [\"params<=2000\"] there and [] here",
        ),
        (
            vec!["--budget", "2", "--limit", "params<=2k", "--epochs", "2"],
            "nas.eval.trainer.epochs is 1 there and 2 here",
        ),
        (
            vec![
                "--budget",
                "2",
                "--limit",
                "params<=2k",
                "nas.eval.trainer.optimizer.lr=0.3",
            ],
            "nas.eval.trainer.optimizer.lr is",
        ),
        (
            vec!["--budget", "2", "--limit", "params<=2k", "--seed", "9"],
            "common.seed is 2 there and 9 here",
        ),
    ] {
        search(&world, &more).fails(2, &[text, "use the same settings"]);
    }
    world.write("tiny.yaml", &TINY.replace("[4, 8, 16]", "[4, 8]"));
    search(&world, &begun).fails(2, &["the space `tiny` is another one, or was changed"]);
    world.write("tiny.yaml", TINY);
    assert_eq!(events(&world, "s").len(), before);
    // More networks, more workers are no other search.
    let more = ["--budget", "3", "--limit", "params<=2k", "--workers", "2"];
    assert!(search(&world, &more).ok().contains("3 trials: 3 done"));
}

#[test]
fn a_journal_that_was_changed_is_noticed() {
    let world = world();
    search(&world, &["--budget", "3"]).ok();
    let path = world.path("s/journal.log");
    let text = fs::read_to_string(&path).unwrap();
    let at = text.find("\"accuracy\":0.").expect("a value") + "\"accuracy\":0.".len();
    let mut bytes = text.clone().into_bytes();
    bytes[at] = if bytes[at] == b'9' { b'8' } else { b'9' };
    fs::write(&path, bytes).unwrap();
    for command in [
        &["verify", "s"][..],
        &["search", "status", "s"],
        &["search", "best", "s"],
    ] {
        world
            .run(command)
            .fails(2, &["line 5 of the journal", "is damaged"]);
    }
    search(&world, &["--budget", "3"]).fails(2, &["line 5 of the journal", "is damaged"]);
    // What a power cut leaves of the last line is no damage.
    fs::write(&path, &text[..text.len() - 20]).unwrap();
    assert!(
        search(&world, &["--budget", "3"])
            .ok()
            .contains("3 trials: 3 done")
    );
}

#[test]
fn results_from_elsewhere_and_wishes_are_taken() {
    let world = world();
    search(&world, &["--budget", "2", "--limit", "params<=2k"]).ok();
    let tried: Vec<String> = events(&world, "s")
        .iter()
        .filter_map(|e| Some(e["network"]["id"].as_str()?.to_string()))
        .collect();
    let ids = [
        "tiny-o4k3d1o4",
        "tiny-o4k5d1o8",
        "tiny-o8k3d1o4",
        "tiny-o8k3d1o8",
    ];
    let mut fresh = ids
        .iter()
        .filter(|id| !tried.iter().any(|tried| tried == *id));
    let (known, wanted) = (*fresh.next().unwrap(), *fresh.next().unwrap());
    let add = |more: &[&str]| world.run(&[&["search", "add", "s"][..], more].concat());
    assert!(
        add(&[known, "--values", "accuracy=0.99", "--source", "a paper"])
            .ok()
            .contains("is trial 2")
    );
    assert!(add(&[wanted]).ok().contains("before all others"));
    add(&[wanted]).fails(2, &["waits to be tried already"]);
    add(&[known]).fails(2, &["is trial 2 of the search already"]);
    add(&["tiny-o9k3d1o4"]).fails(2, &["is no id of `tiny`"]);
    add(&["tiny-o16k5d2o8/o8"]).fails(2, &["is beyond the limit params<="]);
    add(&[
        fresh.next().unwrap_or(&"tiny-o4k3d2o4/o4"),
        "--values",
        "acc=1",
    ])
    .fails(2, &["no quantity `acc`"]);
    let best = json(&world.run(&["search", "best", "s", "--json"]).ok());
    assert_eq!(
        (&best["id"], &best["origin"]),
        (&known.into(), &"a paper".into())
    );
    let status = world.run(&["search", "status", "s"]).ok();
    assert!(
        status.contains("to be tried") && status.contains(wanted),
        "{status}"
    );
    search(&world, &["--budget", "4", "--limit", "params<=2k"]).ok();
    let last = events(&world, "s")
        .into_iter()
        .rfind(|e| e["event"] == "proposed")
        .unwrap();
    assert_eq!(last["network"]["id"], wanted);
    assert_eq!(last["origin"], "asked for: added by hand");
    world.run(&["verify", "s"]).ok();
}

#[test]
fn a_network_that_fails_is_no_result_and_does_not_stop_the_search() {
    let world = world();
    // A program that gives up, one whose result is no number, and one that works.
    let program = "read job\ncase \"$job\" in\n*tiny-o4*) echo 'out of memory' >&2; exit 3 ;;\n\
        *tiny-o8*) echo '{\"accuracy\": 1e999}' ;;\n*) echo '{\"accuracy\": 0.5}' ;;\nesac\n";
    world.write("eval.sh", program);
    let run = [
        "search",
        "run",
        "tiny.yaml",
        "--dir",
        "s",
        "--command",
        "sh eval.sh",
        "--optimiser",
        "random",
        "--budget",
        "12",
    ];
    let done = world.run(&run);
    assert!(
        done.err.contains("failure of the network: "),
        "{}",
        done.err
    );
    done.ok();
    let status = json(&world.run(&["search", "status", "s", "--json"]).ok());
    let (failed, done) = (&status["states"]["failed"], &status["states"]["done"]);
    assert!(
        failed.as_u64() > Some(0) && done.as_u64() > Some(0),
        "{status}"
    );
    for trial in status["front"].as_array().unwrap() {
        assert!(
            trial["id"].as_str().unwrap().starts_with("tiny-o16"),
            "{trial}"
        );
    }
    let status = world.run(&["search", "status", "s"]).ok();
    assert!(status.contains("last failure"), "{status}");
    world.run(&["verify", "s"]).ok();
}

#[test]
fn settings_of_the_training_may_be_chosen_too() {
    let world = world();
    let recipe = "recipe:\n  trainer.optimizer.lr: {one_of: [0.01, 0.1]}\n";
    world.write("tiny.yaml", &format!("{TINY}{recipe}"));
    search(&world, &["--budget", "3"]).ok();
    let wrong = "recipe:\n  trainer.optimizr.lr: {one_of: [0.01, 0.1]}\n";
    world.write("tiny.yaml", &format!("{TINY}{wrong}"));
    search(&world, &["--dir", "t"]).fails(2, &["optimizr"]);
}

#[test]
fn tables_and_programs_evaluate_too() {
    let world = world();
    let sampled = json(
        &world
            .run(&["space", "sample", "tiny.yaml", "--n", "200", "--json"])
            .ok(),
    );
    let mut table = String::from("archid,val,energy\n");
    let mut seen = std::collections::BTreeSet::new();
    for member in sampled.as_array().unwrap() {
        let (id, params) = (
            member["id"].as_str().unwrap(),
            member["params"].as_f64().unwrap(),
        );
        if seen.insert(id.to_string()) {
            table += &format!("{id},{},{}\n", params / 1e4, 2.0 * params);
        }
    }
    world.write("table.csv", &table);
    let run = ["search", "run", "tiny.yaml", "--budget", "12", "--dir"];
    let by_table = [
        "t",
        "--table",
        "table.csv",
        "--objectives",
        "accuracy,energy",
        "--column",
        "accuracy=val",
        "--known",
        "energy",
        "--limit",
        "energy<=4k",
        "--json",
    ];
    let found = json(&world.run(&[&run[..], &by_table].concat()).ok());
    for trial in found["front"].as_array().unwrap() {
        assert!(
            trial["values"]["energy"].as_f64().unwrap() <= 4000.0,
            "{trial}"
        );
    }
    assert!(found["hypervolume"].as_f64().unwrap() > 0.0);
    world.run(&["verify", "t"]).ok();
    let random = [&run[..], &["r", "--optimiser", "random"], &by_table[1..]].concat();
    world.run(&random).ok();
    let drawn = world
        .run(&["search", "front", "t", "--beside", "r", "-o", "both.svg"])
        .ok();
    assert_eq!(drawn, "both.svg\nboth_progress.svg\n");
    let both = fs::read_to_string(world.path("both_progress.svg")).unwrap();
    assert!(
        both.contains("r (random)") && both.contains("guided"),
        "{both}"
    );
    let unknown = ["u", "--table", "table.csv", "--objectives", "val"];
    world
        .run(&[&run[..], &unknown].concat())
        .fails(2, &["write max:val or min:val"]);
    let missing = ["u", "--table", "table.csv", "--objectives", "max:vall"];
    world
        .run(&[&run[..], &missing].concat())
        .fails(2, &["did you mean `val`?"]);

    world.write("eval.sh", "read job\ncase \"$job\" in *o16*) a=0.5 ;; *) a=0.4 ;; esac\necho \"{\\\"accuracy\\\": $a}\"\n");
    let command = ["c", "--command", "sh eval.sh", "--budget", "5"];
    let run = ["search", "run", "tiny.yaml", "--dir"];
    let out = world.run(&[&run[..], &command].concat()).ok();
    assert!(out.contains("5 trials: 5 done"), "{out}");
    let other = ["c", "--command", "sh other.sh", "--budget", "5"];
    world.run(&[&run[..], &other].concat()).fails(
        2,
        &["the command is `sh eval.sh` there and `sh other.sh` here"],
    );
    let useless = ["c", "--command", "sh eval.sh", "nas.eval.loader.cutout=4"];
    world
        .run(&[&run[..], &useless].concat())
        .fails(2, &["does not use"]);
}

/// What costs no training is found out before it, keeps networks from it, and is known to whoever looks later.
#[test]
fn proxies_and_latency_are_objectives_and_limits() {
    let world = world();
    let objectives = ["--objectives", "accuracy,proxy.nwot,latency"];
    let more = ["--limit", "proxy.synflow>=-1e9", "--limit", "latency<=1e6"];
    let run = [&objectives[..], &more, &["--budget", "2", "--json"]].concat();
    let found = json(&search(&world, &run).ok());
    let text = found.to_string();
    for name in ["proxy.nwot", "latency", "accuracy"] {
        assert!(
            text.contains(&format!("\"{name}\"")),
            "{name} is missing in {text}"
        );
    }
    // What was measured is replayed, not measured again.
    world.run(&["verify", "s"]).ok();
    let status = world.run(&["search", "status", "s"]).ok();
    assert!(status.contains("proxy.nwot"), "{status}");
    // A network that keeps no limit that is known beforehand is never trained.
    let none = ["--dir", "none", "--limit", "latency<=1e-9", "--budget", "2"];
    search(&world, &none);
    let ends = events(&world, "none");
    let kinds: Vec<&str> = (ends.iter())
        .filter_map(|event| event["event"].as_str())
        .collect();
    assert!(!kinds.is_empty(), "{ends:?}");
    assert!(
        kinds.contains(&"infeasible") && !kinds.contains(&"finished"),
        "{kinds:?}"
    );
    let wrong = |more: &[&str]| search(&world, &[&["--dir", "wrong"][..], more].concat());
    wrong(&["--objectives", "accuracy,proxy.nwt"]).fails(2, &["did you mean `nwot`"]);
    wrong(&["--objectives", "accuracy,proxy.flops"]).fails(2, &["knows it as `params` or `macs`"]);
}
