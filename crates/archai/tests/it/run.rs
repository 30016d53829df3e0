//! `archai run` on a network so small that a run takes seconds: what it leaves, what it keeps, how it stops.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{Done, World};

/// Three narrow cells and a few images per phase.
pub const TINY: &str = "\
nas:
  search:
    loader: {dataset: {max_batches: 4}, train_batch: 4, test_batch: 4, train_workers: 0}
    model_desc: {n_cells: 3, n_reductions: 1, cell: {n_nodes: 1}, model_stems: {init_node_ch: 2}}
    darts: {second_order: false}
  eval:
    loader: {dataset: {max_batches: 2}, train_batch: 4, test_batch: 4, train_workers: 0}
    model_desc: {n_cells: 3, n_reductions: 1, aux_weight: 0.0, model_stems: {init_node_ch: 2}}
";

fn tiny(world: &World, more: &[&str]) -> Done {
    let config = world.write("tiny.yaml", TINY);
    let mut args = vec!["run", "--smoke", "--config", &config, "--threads", "2"];
    args.extend(more);
    world.run(&args)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What a run does without is said where people look, not in its log alone.
#[test]
fn pictures_that_are_skipped_are_named_on_the_screen() {
    let world = World::new();
    for (part, n) in [("train", 12), ("test", 4)] {
        for class in ["a", "b"] {
            let folder = world.path(&format!("pics/{part}/{class}"));
            std::fs::create_dir_all(&folder).unwrap();
            for i in 0..n {
                let picture = image::GrayImage::from_pixel(40, 30, image::Luma([20 * i]));
                picture.save(folder.join(format!("{i}.png"))).unwrap();
            }
        }
    }
    world.write("pics/train/a/no_picture.png", "this is none");
    let set = "dataset: {format: image_folder, path: pics, n_classes: 2, channels: 1, size: [32, 32], mean: [0.5], \
               std: [0.25], on_damaged: skip}";
    let set = world.write("set.yaml", set);
    let done = tiny(&world, &["--datasets", &set, "--no-eval"]);
    let screen = format!("{}{}", done.out, done.err);
    done.ok();
    assert!(
        screen.contains("no_picture.png") && screen.contains("1 of 25"),
        "{screen}"
    );
}

#[test]
fn a_run_leaves_what_it_promises() {
    let world = World::new();
    let done = tiny(&world, &["--exp-prefix", "one"]);
    assert!(
        done.err.contains("arch_train epoch 1/1 train  loss "),
        "plain lines: {}",
        done.err
    );
    assert!(
        !done.err.contains('\x1b'),
        "no escapes without a terminal: {}",
        done.err
    );
    let table = done.ok();
    for expect in [
        "darts on fashion_mnist_mini",
        "test accuracy",
        "model.pt",
        "smoke mode",
        "_one_eval/",
    ] {
        assert!(table.contains(expect), "{expect:?} is missing in:\n{table}");
    }

    let logdir = world.path("logdir");
    assert_eq!(
        world.names("logdir"),
        [
            "darts_fashion_mnist_mini_one_eval",
            "darts_fashion_mnist_mini_one_search"
        ]
    );
    let (search, eval) = (
        logdir.join("darts_fashion_mnist_mini_one_search"),
        logdir.join("darts_fashion_mnist_mini_one_eval"),
    );
    let common = [
        "config_used.yaml",
        "log.log",
        "log.yaml",
        "log.jsonl",
        "final_model_desc.yaml",
        "report.html",
    ];
    for dir in [&search, &eval] {
        for name in common {
            assert!(dir.join(name).is_file(), "{name} in {}", dir.display());
        }
    }
    // What was not measured is no value: nothing was trained after this search.
    let log = read(&search.join("log.jsonl"));
    assert!(log.contains("search_top1_val") && !log.contains("train_top1_val"));
    for name in [
        "full_model_desc.yaml",
        "eval_train_metrics.yaml",
        "model.safetensors",
        "model.pt",
        "summary.md",
    ] {
        assert!(eval.join(name).is_file(), "{name}");
    }
    assert_eq!(
        read(&search.join("final_model_desc.yaml")),
        read(&eval.join("final_model_desc.yaml"))
    );
    let drawn = |dir: &Path| {
        std::fs::read_dir(dir)
            .unwrap()
            .any(|e| e.unwrap().path().extension().is_some_and(|x| x == "svg"))
    };
    assert!(drawn(&search) && drawn(&eval));
    let summary = read(&eval.join("summary.md"));
    assert!(
        summary.contains("test accuracy") && summary.contains("model.pt"),
        "{summary}"
    );

    // The logs parse, and say the same.
    let tree: serde_json::Value = serde_saphyr::from_str(&read(&search.join("log.yaml"))).unwrap();
    let train = &tree["arch_search"]["arch_train"]["epochs"]["0"]["train"];
    assert!(train["loss"].as_f64().unwrap() > 0.0, "{tree}");
    let lines: Vec<serde_json::Value> = read(&search.join("log.jsonl"))
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["values"]["command_line"][1], "run");
    assert_eq!(lines[0]["values"]["threads"], 2);
    let logged = lines
        .iter()
        .find(|l| l["path"] == "arch_search/arch_train/epochs/0/train")
        .unwrap();
    assert_eq!(&logged["values"]["loss"], &train["loss"]);
    assert!(
        lines
            .iter()
            .any(|l| l["path"] == "arch_search/arch_train/epochs/0/alphas"),
        "alphas of each epoch"
    );
    for line in read(&search.join("log.log")).lines() {
        assert!(line.starts_with("[20") && line.contains("]["), "{line}");
    }

    // The configuration used gives the same run again, and the saved weights are the description's.
    let used = eval.join("config_used.yaml");
    let digest = |text: &str| {
        text.lines()
            .find(|l| l.contains("Digest"))
            .unwrap()
            .to_string()
    };
    let again = world.run(&[
        "run",
        "--config-only",
        used.to_str().unwrap(),
        "--exp-prefix",
        "two",
        "--no-eval",
    ]);
    again.ok();
    let used_again = read(&logdir.join("darts_fashion_mnist_mini_two_search/config_used.yaml"));
    assert_eq!(digest(&used_again), digest(&read(&used)));
    assert_eq!(
        read(&logdir.join("darts_fashion_mnist_mini_two_search/final_model_desc.yaml")),
        read(&search.join("final_model_desc.yaml")),
        "the same configuration finds the same network"
    );
}

#[test]
fn a_dry_run_says_what_it_would_take_and_writes_nothing() {
    let world = World::new();
    let done = tiny(&world, &["--dry-run"]);
    assert!(done.err.is_empty(), "{}", done.err);
    let text = done.ok();
    for expect in [
        "darts on fashion_mnist_mini\n",
        "\nsearch in ",
        "\nevaluation in ",
        "fashion_mnist_mini: 1x32x32, 10 classes\n",
        "  images: ",
        " to test on\n",
        "  trains    supernet\n",
        " multiply-adds per image\n",
        "measured with 4 images",
        "  finds     ",
        "model.pt, about ",
        "\ndisk    about ",
        "nothing was trained and nothing written",
    ] {
        assert!(text.contains(expect), "{expect:?} is missing in:\n{text}");
    }
    let paths = |line: &str| line.contains('/');
    for line in text.lines().filter(|line| !paths(line)) {
        assert!(line.chars().count() <= 80, "{line:?} is too long");
    }
    assert!(!world.path("logdir").exists());
    // What cannot work is an error, as in a real run.
    tiny(
        &world,
        &["--dry-run", "nas.eval.model_filename=$expdir/a/b.pt"],
    )
    .fails(2, &["nas.eval.model_filename: there is no folder"]);
}

#[test]
fn older_runs_are_kept_in_pairs() {
    let world = World::new();
    tiny(&world, &[]).ok();
    let pair = |n: &str| {
        ["eval", "search"]
            .map(|phase| format!("darts_fashion_mnist_mini_throwaway_{phase}{n}"))
            .to_vec()
    };
    assert_eq!(world.names("logdir"), pair(""));
    let done = tiny(&world, &["--no-eval"]);
    assert!(
        done.err.contains("an earlier run is kept as"),
        "{}",
        done.err
    );
    done.ok();
    let mut expect = [vec![pair("")[1].clone()], pair(".1")].concat();
    expect.sort();
    assert_eq!(
        world.names("logdir"),
        expect,
        "an old evaluation does not stand beside a new search"
    );

    // What the search left is evaluated; only an older evaluation is set aside.
    tiny(&world, &["--no-search"]).ok();
    tiny(&world, &["--no-search"]).ok();
    let mut expect = [pair(""), pair(".1"), vec![format!("{}.2", pair("")[0])]].concat();
    expect.sort();
    assert_eq!(world.names("logdir"), expect);

    // A description of the user's own.
    let own = world
        .path("logdir")
        .join(&pair("")[1])
        .join("final_model_desc.yaml");
    let own = world.write("own.yaml", &read(&own));
    tiny(
        &world,
        &[
            "--no-search",
            "--nas.eval.final_desc_filename",
            &own,
            "--exp-prefix",
            "own",
        ],
    )
    .ok();
    assert!(
        world
            .path("logdir/darts_fashion_mnist_mini_own_eval/model.pt")
            .is_file()
    );
    tiny(&world, &["--nas.eval.final_desc_filename", &own]).fails(2, &["add --no-search"]);
    tiny(
        &world,
        &[
            "--no-search",
            "--nas.eval.final_desc_filename",
            "nowhere.yaml",
        ],
    )
    .fails(
        2,
        &["nowhere.yaml` is not there", "nas.eval.final_desc_filename"],
    );
    tiny(&world, &["--no-search", "--exp-prefix", "never"])
        .fails(2, &["no found network", "search first"]);
    let broken = world.write("broken.yaml", "version: 1\n");
    tiny(
        &world,
        &["--no-search", "--nas.eval.final_desc_filename", &broken],
    )
    .fails(2, &["broken.yaml"]);
    assert_eq!(
        world
            .names("logdir")
            .iter()
            .filter(|n| n.contains("throwaway"))
            .count(),
        expect.len()
    );
}

#[test]
fn what_is_missing_is_named_before_anything_is_moved() {
    let world = World::new();
    tiny(&world, &["--no-eval"]).ok();
    let before = world.names("logdir");
    tiny(&world, &["--datasets", "cifar10"])
        .fails(2, &["cifar10", "was not found", "archai data get cifar10"]);
    assert_eq!(world.names("logdir"), before);

    let data = world.write("mine.yaml", "dataset:\n  format: image_folder\n  path: $nowhere/x\n  n_classes: 2\n  channels: 3\n  size: [24, 24]\n  mean: [0, 0, 0]\n  std: [1, 1, 1]\n");
    tiny(&world, &["--datasets", &data]).fails(2, &["nowhere", "mine.yaml"]);

    // The evaluation's test data, too, which nothing reads before the search is over.
    for class in ["a", "b"] {
        let folder = world.path("pictures/train").join(class);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("x.png"), "").unwrap();
    }
    let text = format!(
        "dataset:\n  format: image_folder\n  path: {}\n  n_classes: 2\n  channels: 3\n  size: [24, 24]\n  mean: [0, 0, \
         0]\n  std: [1, 1, 1]\n",
        world.path("pictures").display()
    );
    let data = world.write("pictures.yaml", &text);
    tiny(&world, &["--datasets", &data]).fails(2, &["(test data) was not found", "test/ or val/"]);
    assert_eq!(world.names("logdir"), before);

    std::fs::write(world.path("file"), "").unwrap();
    tiny(&world, &["--logdir", "file"]).fails(1, &["file", "cannot"]);
}

/// A data set of the user's: the embedded images, in another size and number of channels.
fn other_dataset(world: &World, name: &str, channels: usize) -> String {
    let each = |v: f64| format!("[{}]", vec![v.to_string(); channels].join(", "));
    let text = format!(
        "dataset:\n  format: embedded\n  path: fashion_mnist_mini\n  n_classes: 10\n  channels: {channels}\n  size: \
         [24, 24]\n  mean: {}\n  std: {}\n",
        each(0.28604),
        each(0.35302)
    );
    world.write(&format!("{name}.yaml"), &text)
}

#[test]
fn several_data_sets_run_one_after_the_other() {
    let world = World::new();
    let other = other_dataset(&world, "other", 3);
    let table = tiny(
        &world,
        &[
            "--datasets",
            &format!(" fashion_mnist_mini , {other}"),
            "--no-eval",
        ],
    )
    .ok();
    for expect in [
        "darts on fashion_mnist_mini",
        "darts on other",
        "_other_throwaway_search/",
    ] {
        assert!(table.contains(expect), "{expect:?} is missing in:\n{table}");
    }
    assert_eq!(
        world.names("logdir"),
        [
            "darts_fashion_mnist_mini_throwaway_search",
            "darts_other_throwaway_search"
        ]
    );
    tiny(
        &world,
        &["--datasets", &format!("{other},./{}", "other.yaml")],
    )
    .fails(2, &["would share", "dataset.name"]);
}

#[test]
fn an_evaluation_on_another_data_set_is_built_for_its_images() {
    let world = World::new();
    let other = other_dataset(&world, "other", 3);
    let table = tiny(&world, &["--eval-dataset", &other]).ok();
    assert!(table.contains("evaluated on other"), "{table}");
    let shown: serde_json::Value = serde_json::from_str(
        &world
            .run(&[
                "desc",
                "show",
                "--json",
                "logdir/darts_fashion_mnist_mini_throwaway_eval/full_model_desc.yaml",
            ])
            .ok(),
    )
    .unwrap();
    assert_eq!(shown["input"]["channels"], 3);
    assert_eq!(shown["input"]["height"], 24);
}

#[cfg(target_os = "linux")]
#[test]
fn a_log_folder_that_cannot_be_written() {
    let world = World::new();
    // /proc takes no folders, whoever asks; permissions would not stop the superuser.
    tiny(&world, &["--logdir", "/proc/archai"]).fails(1, &["/proc/archai", "cannot create"]);
}

#[test]
fn settings_of_the_log_are_obeyed() {
    let world = World::new();
    let done = tiny(
        &world,
        &[
            "--no-eval",
            "common.log_prefix=diary",
            "common.log_level=30",
            "common.yaml_log=false",
        ],
    );
    assert!(!done.err.contains("top1="), "{}", done.err);
    done.ok();
    let names = world.names("logdir/darts_fashion_mnist_mini_throwaway_search");
    assert!(
        names.contains(&"diary.jsonl".to_string()) && names.contains(&"diary.log".to_string()),
        "{names:?}"
    );
    assert!(!names.contains(&"diary.yaml".to_string()), "{names:?}");
}

/// Waits until a file holds a text while the program runs.
#[cfg(unix)]
#[track_caller]
fn wait_for(file: &Path, text: &str, child: &mut std::process::Child) {
    let start = Instant::now();
    while !std::fs::read_to_string(file).is_ok_and(|all| all.contains(text)) {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "{text} does not come"
        );
        assert!(child.try_wait().unwrap().is_none(), "the run ended early");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(unix)]
fn interrupt(child: &std::process::Child) {
    std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
}

#[cfg(unix)]
#[test]
fn one_interrupt_stops_after_the_step() {
    let world = World::new();
    let config = world.write("tiny.yaml", TINY);
    // Long enough to be interrupted for sure.
    let args = [
        "run",
        "--smoke",
        "--config",
        &config,
        "--nas.search.trainer.epochs",
        "100000",
        "nas.search.trainer.logger_freq=1",
    ];
    let mut child = world
        .command(&args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let dir = world.path("logdir/darts_fashion_mnist_mini_throwaway_search");
    wait_for(&dir.join("log.jsonl"), "epochs/0/steps", &mut child);
    interrupt(&child);
    let Done { code, err, .. } = Done::new(child.wait_with_output().unwrap());
    assert_eq!(code, Some(130), "{err}");
    for expect in [
        "stopping after this step",
        "stopped: the search of darts on fashion_mnist_mini is not complete",
        "to go on",
    ] {
        assert!(err.contains(expect), "{expect:?} is missing in:\n{err}");
    }
    let tree: serde_json::Value = serde_saphyr::from_str(&read(&dir.join("log.yaml"))).unwrap();
    assert!(
        tree["arch_search"]["arch_train"]["epochs"]["0"]["steps"]["0"]["loss"].is_number(),
        "{tree}"
    );
    assert!(
        tree["_warnings"]
            .as_object()
            .unwrap()
            .values()
            .any(|w| w == "the search was interrupted"),
        "{tree}"
    );
}

#[cfg(unix)]
#[test]
fn a_second_interrupt_stops_at_once() {
    let world = World::new();
    // One step over many images takes a while.
    let args = [
        "run",
        "--smoke",
        "--nas.search.loader.train_batch=900",
        "--nas.search.loader.dataset.max_batches=2",
    ];
    let mut child = world
        .command(&args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let dir = world.path("logdir/darts_fashion_mnist_mini_throwaway_search");
    wait_for(&dir.join("log.jsonl"), "arch_train__init__", &mut child);
    interrupt(&child);
    // Two signals at the same moment count as one.
    std::thread::sleep(Duration::from_millis(100));
    interrupt(&child);
    let Done { code, err, .. } = Done::new(child.wait_with_output().unwrap());
    assert_eq!(code, Some(130), "{err}");
    assert!(err.contains("stopped at once"), "{err}");
}
