//! `--track` and `archai track`: what they say, and that a run is the same run with and without.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::run::TINY;
use crate::support::{Done, World};

const NAME: &str = "darts_fashion_mnist_mini_throwaway_search";

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

fn file(world: &World, name: &str) -> PathBuf {
    world.path("logdir").join(NAME).join(name)
}

fn json(world: &World, name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(file(world, name)).unwrap()).unwrap()
}

#[test]
fn trackers_that_are_none_are_refused() {
    let world = World::new();
    for (track, says) in [
        (
            "tensorbord",
            "`tensorbord` is no tracker; expected tensorboard or mlflow=URL",
        ),
        ("mlflow", "write mlflow=URL"),
        ("mlflow=127.0.0.1:5000", "expected http://HOST:PORT"),
        ("tensorboard,tensorboard", "is named twice"),
        ("none,tensorboard", "`none` is no tracker"),
        ("mlflow=http://me:s3cret@host", "MLFLOW_TRACKING_PASSWORD"),
    ] {
        let done = search(&world, &["--track", track]);
        assert!(!done.err.contains("s3cret"), "{}", done.err);
        done.fails(2, &["--track", says]);
    }
    search(&world, &["common.track.experiment=mine"])
        .fails(2, &["common.track.experiment", "mlflow=URL"]);
    let nothing = ["common.log_prefix=''", "--track", "tensorboard"];
    search(&world, &nothing).fails(2, &["common.log_prefix is empty"]);
    world
        .run(&["track", "nowhere", "--to", "tensorboard"])
        .fails(2, &["nowhere"]);
    let here = world.path("").display().to_string();
    world
        .run(&["track", &here, "--to", "tensorboard"])
        .fails(2, &["is no run directory"]);
}

#[test]
fn a_run_is_the_same_run_with_other_trackers() {
    let world = World::new();
    // The port on which nobody listens: the run goes on, and its end says what is to be done.
    let done = search(
        &world,
        &[
            "--track",
            "tensorboard,mlflow=http://127.0.0.1:9",
            "common.track.wait_seconds=0.1",
        ],
    );
    let said = done.err.split_whitespace().collect::<Vec<_>>().join(" ");
    done.ok();
    for text in [
        "TensorBoard: `tensorboard --logdir",
        "mlflow=http://127.0.0.1:9 gets nothing at the moment",
        &format!("{NAME} --to mlflow=http://127.0.0.1:9"),
    ] {
        assert!(said.contains(text), "{text:?} is missing in: {said}");
    }
    let arguments = json(&world, "run.json")["arguments"].to_string();
    assert!(!arguments.contains("--track"), "{arguments}");
    assert!(file(&world, "tensorboard").is_dir());

    // It is interrupted, as it were, and resumed: with the trackers that it had, or with others.
    let config = |world: &World| fs::read_to_string(file(world, "config_used.yaml")).unwrap();
    assert!(config(&world).contains("tensorboard"));
    let dir = file(&world, "").display().to_string();
    for (more, has) in [(&[][..], true), (&["--track", "none"], false)] {
        fs::remove_file(file(&world, "result.json")).unwrap();
        fs::remove_dir_all(file(&world, "tensorboard")).unwrap();
        let mut resume = vec!["resume", &dir];
        resume.extend(more);
        world.run(&resume).ok();
        assert_eq!(file(&world, "tensorboard").exists(), has, "{more:?}");
        assert_eq!(config(&world).contains("tensorboard"), has, "{more:?}");
    }
    world.run(&["verify", &dir]).ok();

    let given = world.run(&["track", &dir, "--to", "tensorboard"]).ok();
    assert!(given.starts_with(&format!("{NAME}: /")), "{given}");
    assert_eq!(world.names(&format!("logdir/{NAME}/tensorboard")).len(), 1);
}
