//! What an MLflow server gets, whatever it does.

use std::fs;

use archai_lab::RunDir;
use archai_spec::settings::TrackTarget;
use archai_track::{Notice, TrackError, track};
use serde_json::json;
use tempfile::TempDir;

use crate::fixtures::{Heard, asked, facts, finish, lab, line, run_dir, search_log};
use crate::server::{Habit, Server};

/// Gives the run to the server, with these variables.
fn give(
    dir: &RunDir,
    server: &Server,
    heard: &Heard,
    vars: &[(&str, &str)],
) -> Result<Option<String>, TrackError> {
    let target = TrackTarget::MlFlow(server.url.clone());
    track(
        &facts(dir),
        &target,
        &asked(&[]),
        &lab(vars),
        &heard.notices(),
    )
}

fn finished_run() -> (TempDir, RunDir) {
    let root = tempfile::tempdir().unwrap();
    let dir = run_dir(root.path(), &search_log(0..3, 0), &asked(&[]));
    finish(&dir);
    (root, dir)
}

#[test]
fn a_run_is_shown_whole_and_once() {
    let (_root, dir) = finished_run();
    let (server, heard) = (Server::start(Habit::Good), Heard::default());
    for _ in 0..2 {
        let place = give(&dir, &server, &heard, &[]).unwrap();
        assert_eq!(
            place,
            Some(format!("{}/#/experiments/0/runs/r0", server.url))
        );
        let run = server.run();
        assert_eq!(run.name, "darts_toy_search");
        assert_eq!(run.status, "FINISHED");
        assert_eq!(
            run.metric("search/train/loss"),
            [(0, 2.0), (1, 1.9), (2, 1.8)]
        );
        let steps = run.metric("search/train_steps/loss");
        let expect: Vec<(u64, f64)> = (0..9).map(|i| (i, 2.0 - i as f64 / 100.0)).collect();
        assert_eq!(steps, expect);
        assert_eq!(run.metric("speed/search/train/duration").len(), 3);
        assert_eq!(run.metric("supernet_val_top1"), [(0, 0.75)]);
        // 3 × (3 steps of 3 values, 4 of an epoch), and a figure.
        assert_eq!(run.metrics.len(), 3 * (9 + 4) + 1);
        assert_eq!(run.params["common.seed"], "2");
        assert_eq!(run.params["nas.search.trainer.optimizer.nesterov"], "false");
        assert_eq!(run.params["algorithm"], "darts");
        assert!(
            !run.params.contains_key("nas.eval.trainer.epochs"),
            "of the other phase"
        );
        assert!(!run.params.contains_key("dataset.train"), "it has no value");
        assert_eq!(run.params["nas.search.model_desc.primitives"].len(), 500);
        assert_eq!(run.tags["archai.phase"], "search");
        assert_eq!(run.tags["archai.version"], "0.1.0");
        assert!(run.tags["mlflow.note.content"].starts_with("# What came out"));
        let files: Vec<&str> = run.files.keys().map(String::as_str).collect();
        assert_eq!(
            files,
            [
                "config_used.yaml",
                "final_model_desc.yaml",
                "log.jsonl",
                "model_desc_gallery/model%20desc%201.yaml",
                "result.json",
                "run.json",
                "summary.md"
            ]
        );
        assert_eq!(run.files["final_model_desc.yaml"], b"cells: []\n");
    }
    assert_eq!(server.state().experiments, ["archai"]);
    assert_eq!(heard.all(), []);
}

#[test]
fn batches_and_names_keep_to_the_limits() {
    let root = tempfile::tempdir().unwrap();
    let mut log = String::new();
    for second in 0..700 {
        let path = format!("own/{}/{second}", "é(x)".repeat(100));
        log += &line(
            second,
            &path,
            &json!({ "a": 1, "b:c": 2, "nan": "NaN", "inf": "-inf" }),
        );
    }
    let dir = run_dir(root.path(), &log, &asked(&[]));
    let (server, heard) = (Server::start(Habit::Good), Heard::default());
    give(&dir, &server, &heard, &[]).unwrap();
    let run = server.run();
    assert_eq!(run.status, "KILLED", "it is not finished");
    assert!(server.state().batches.iter().all(|n| *n <= 1000));
    // Names that are cut differ still.
    assert_eq!(run.metrics.len(), 4 * 700);
    assert_eq!(heard.all(), []);
    let short = line(
        0,
        "own/3",
        &json!({ "nan": "NaN", "inf": "-inf", "b:c": 1 }),
    );
    let root = tempfile::tempdir().unwrap();
    let dir = run_dir(root.path(), &short, &asked(&[]));
    let server = Server::start(Habit::Good);
    give(&dir, &server, &heard, &[]).unwrap();
    let rows: Vec<(String, u64, String)> = server
        .run()
        .metrics
        .into_iter()
        .map(|row| (row.0, row.1, row.3))
        .collect();
    let row = |name: &str, value: &str| (name.to_string(), 3, value.to_string());
    assert_eq!(
        rows,
        [
            row("own/nan", "NaN"),
            row("own/inf", "-Infinity"),
            row("own/b_c", "1.0")
        ]
    );
}

#[test]
fn what_a_bad_server_does_is_said() {
    let (_root, dir) = finished_run();
    for (habit, says) in [
        (
            Habit::Page(500),
            "has a problem (status 500): <html><body>Not what you want",
        ),
        (Habit::Page(404), "as no MLflow server does"),
        (Habit::Page(401), "MLFLOW_TRACKING_TOKEN"),
        (Habit::Page(429), "is busy (status 429)"),
        (Habit::Garbage, "as no MLflow server does"),
        (Habit::HangsUp, "does not answer"),
        (Habit::BreaksOff, "breaks off its answer"),
        (Habit::Redirects, "sends on to https://elsewhere.example/"),
    ] {
        let server = Server::start(habit);
        let vars = [
            ("MLFLOW_TRACKING_USERNAME", "me"),
            ("MLFLOW_TRACKING_PASSWORD", "s3cret"),
        ];
        let error = give(&dir, &server, &Heard::default(), &vars)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(says) && error.contains(&server.url),
            "{habit:?}: {error}"
        );
        assert!(
            !error.contains("s3cret") && !error.contains("bWU6"),
            "{error}"
        );
        let kept = fs::read_to_string(dir.file("tracking.json")).unwrap_or_default();
        assert!(!kept.contains("s3cret"), "{kept}");
    }
    let nobody = TrackTarget::MlFlow("http://127.0.0.1:9".into());
    let heard = Heard::default();
    let error = track(
        &facts(&dir),
        &nobody,
        &asked(&[]),
        &lab(&[]),
        &heard.notices(),
    );
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("http://127.0.0.1:9 does not answer")
    );
}

#[test]
fn credentials_go_to_the_server() {
    let (_root, dir) = finished_run();
    for (vars, expect) in [
        (
            &[("MLFLOW_TRACKING_TOKEN", "t0ken")][..],
            Some("Bearer t0ken"),
        ),
        (
            &[
                ("MLFLOW_TRACKING_USERNAME", "Aladdin"),
                ("MLFLOW_TRACKING_PASSWORD", "open sesame"),
            ],
            Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        ),
        (&[], None),
    ] {
        let server = Server::start(Habit::Good);
        give(&dir, &server, &Heard::default(), vars).unwrap();
        let state = server.state();
        let expect = expect.map(str::to_string);
        assert!(state.authorizations.len() > 5);
        assert!(state.authorizations.iter().all(|sent| *sent == expect));
    }
}

#[test]
fn what_is_refused_is_left_out_and_said_once() {
    let (_root, dir) = finished_run();
    let (server, heard) = (Server::start(Habit::Good), Heard::default());
    server.state().disliked = Some("search/train/top1".into());
    give(&dir, &server, &heard, &[]).unwrap();
    let run = server.run();
    assert_eq!(run.status, "FINISHED");
    assert_eq!(run.metric("search/train/top1"), []);
    assert_eq!(
        run.metrics.len(),
        3 * (9 + 4) + 1 - 3,
        "all others are there"
    );
    let target = TrackTarget::MlFlow(server.url.clone());
    let what = "search/train/top1: not this one".to_string();
    assert_eq!(heard.all(), [Notice::Refused { target, what }]);
}

#[test]
fn a_run_whose_number_was_lost_is_found() {
    let (_root, dir) = finished_run();
    let server = Server::start(Habit::Good);
    let heard = Heard::default();
    server.state().experiments.push("archai".into());
    // The server makes the run, and the answer is lost.
    server.set(Habit::Forgets);
    for _ in 0..2 {
        give(&dir, &server, &heard, &[]).unwrap_err();
    }
    server.set(Habit::Good);
    give(&dir, &server, &heard, &[]).unwrap();
    server.set(Habit::Forgets);
    give(&dir, &server, &heard, &[]).unwrap_err();
    server.set(Habit::Good);
    give(&dir, &server, &heard, &[]).unwrap();
    assert_eq!(server.run().metric("search/train/loss").len(), 3);
    // What is kept is damaged: the log says which run it is.
    fs::write(dir.file("tracking.json"), "{\"version\": 1, \"mlf").unwrap();
    give(&dir, &server, &heard, &[]).unwrap();
    assert_eq!(server.run().metric("search/train/loss").len(), 3);
    // A run that somebody deleted there is given anew.
    for n in 1..3 {
        server.state().runs[n - 1].is_deleted = true;
        give(&dir, &server, &heard, &[]).unwrap();
        assert_eq!(server.state().runs.len(), n + 1);
        assert_eq!(server.state().runs[n].status, "FINISHED");
    }
}

#[test]
fn a_server_that_takes_no_files_gets_the_rest() {
    let (_root, dir) = finished_run();
    let (server, heard) = (Server::start(Habit::Good), Heard::default());
    server.state().artifacts = Some("s3://bucket/0/r0/artifacts".into());
    give(&dir, &server, &heard, &[]).unwrap();
    assert_eq!(server.run().status, "FINISHED");
    assert!(server.run().files.is_empty());
    assert_eq!(heard.count("Refused"), 1);
    assert!(format!("{:?}", heard.all()).contains("s3://bucket"));
}

#[test]
fn a_run_that_was_resumed_has_each_step_once() {
    let root = tempfile::tempdir().unwrap();
    let (server, heard) = (Server::start(Habit::Good), Heard::default());
    let dir = run_dir(root.path(), &search_log(0..2, 0), &asked(&[]));
    give(&dir, &server, &heard, &[]).unwrap();
    assert_eq!(server.run().status, "KILLED");
    // Resumed at its checkpoint after epoch 0, it computes epoch 1 again, later.
    let log = search_log(0..1, 0) + &search_log(1..3, 1000);
    fs::write(dir.file("log.jsonl"), log).unwrap();
    finish(&dir);
    give(&dir, &server, &heard, &[]).unwrap();
    let run = server.run();
    assert_eq!(run.status, "FINISHED");
    assert_eq!(
        run.metric("search/train/loss"),
        [(0, 2.0), (1, 1.9), (2, 1.8)]
    );
    assert_eq!(run.metric("search/train_steps/loss").len(), 9);
}

#[test]
fn a_folder_that_is_no_run_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let error = archai_track::RunFacts::read(root.path())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("is no run directory") && error.contains("NAME_search"),
        "{error}"
    );
}
