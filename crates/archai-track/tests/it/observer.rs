//! Trackers beside runs: live, down, behind, and without a trace in what is computed.

use std::fs;
use std::sync::mpsc::channel;
use std::time::Duration;

use archai_lab::{Ended, Lab, LabEvent, NoObserver, Observer, Phase, Request, RunDir, digests};
use archai_spec::settings::{Track, TrackTarget};
use archai_track::{Haste, Notice, Tracked, track};

use crate::fixtures::{
    Heard, QUICK, append, asked, eventually, facts, finish, lab, run_dir, search_log,
};
use crate::server::{Habit, Server};

fn begin(watcher: &Tracked<'_>, dir: &RunDir) {
    watcher.observe(&LabEvent::PhaseBegins {
        phase: Phase::Search,
        dir: dir.path(),
        resumed: false,
    });
}

fn end(watcher: &Tracked<'_>, dir: &RunDir, ended: Ended) {
    watcher.observe(&LabEvent::PhaseEnds {
        phase: Phase::Search,
        dir: dir.path(),
        ended,
    });
}

fn waiting(url: &str, wait_seconds: f64) -> Track {
    Track {
        wait_seconds,
        ..asked(&["tensorboard", &format!("mlflow={url}")])
    }
}

#[test]
fn a_server_that_was_down_catches_up() {
    for habit in [
        Habit::Page(500),
        Habit::Garbage,
        Habit::HangsUp,
        Habit::BreaksOff,
        Habit::Forgets,
    ] {
        let root = tempfile::tempdir().unwrap();
        let (server, heard, lab) = (Server::start(Habit::Good), Heard::default(), lab(&[]));
        let dir = run_dir(
            root.path(),
            &search_log(0..1, 0),
            &waiting(&server.url, 20.0),
        );
        let watcher = Tracked::new(&NoObserver, &lab, heard.notices()).with_pace(QUICK);
        begin(&watcher, &dir);
        eventually("the first epoch is there", || {
            let state = server.state();
            state
                .runs
                .first()
                .is_some_and(|run| !run.metric("search/train/loss").is_empty())
        });
        server.set(habit);
        append(&dir, &search_log(1..2, 100));
        eventually("it is said to be down", || heard.count("Down") == 1);
        let asked = server.state().requests;
        eventually("it is tried again", || server.state().requests > asked + 3);
        append(&dir, &search_log(2..3, 200));
        server.set(Habit::Good);
        eventually("it is back", || heard.count("Back") == 1);
        finish(&dir);
        end(&watcher, &dir, Ended::Complete);
        watcher.finish();
        let run = server.run();
        assert_eq!(run.status, "FINISHED", "{habit:?}");
        // A row that the server wrote without saying so is written again, the same, which MLflow's database knows for one.
        let mut rows = run.metric("search/train_steps/loss");
        rows.dedup();
        assert_eq!(rows.len(), 9, "{habit:?}: {rows:?}");
        assert_eq!(
            (heard.count("Down"), heard.count("Back")),
            (1, 1),
            "{:?}",
            heard.all()
        );
        assert_eq!(heard.count("Shown"), 2);
        assert_eq!(heard.count("Behind"), 0);
    }
}

#[test]
fn the_end_waits_no_longer_than_it_may() {
    let root = tempfile::tempdir().unwrap();
    let (server, heard, lab) = (Server::start(Habit::Silent), Heard::default(), lab(&[]));
    let dir = run_dir(
        root.path(),
        &search_log(0..2, 0),
        &waiting(&server.url, 0.2),
    );
    finish(&dir);
    let (done, is_done) = channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let watcher = Tracked::new(&NoObserver, &lab, heard.notices()).with_pace(QUICK);
            begin(&watcher, &dir);
            end(&watcher, &dir, Ended::Complete);
            watcher.finish();
            done.send(()).unwrap();
        });
        // Far less than a server is given to answer.
        is_done
            .recv_timeout(Duration::from_secs(8))
            .expect("the end waits for a silent server");
    });
    let target = TrackTarget::MlFlow(server.url.clone());
    let behind = Notice::Behind {
        target: target.clone(),
        dir: dir.path().to_path_buf(),
    };
    assert!(heard.all().contains(&behind), "{:?}", heard.all());
    // Later it is given all of it.
    server.set(Habit::Good);
    track(&facts(&dir), &target, &asked(&[]), &lab, &heard.notices()).unwrap();
    assert_eq!(server.run().metric("search/train/loss").len(), 2);
}

#[test]
fn who_is_in_haste_leaves_no_run_open() {
    for (ended, expect) in [(Ended::Complete, "FINISHED"), (Ended::Stopped, "KILLED")] {
        let root = tempfile::tempdir().unwrap();
        let (server, heard, lab) = (Server::start(Habit::Good), Heard::default(), lab(&[]));
        let (log, settings) = (search_log(0..1, 0), waiting(&server.url, 60.0));
        let (dir, haste) = (run_dir(root.path(), &log, &settings), Haste::default());
        let watcher = Tracked::new(&NoObserver, &lab, heard.notices()).with_pace(QUICK);
        let watcher = watcher.with_haste(haste.clone());
        begin(&watcher, &dir);
        eventually("it is there", || !server.state().runs.is_empty());
        assert!(!haste.ask(), "nobody waits yet");
        server.set(Habit::Busy);
        append(&dir, &search_log(1..2, 100));
        finish(&dir);
        end(&watcher, &dir, ended);
        let (done, is_done) = channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                watcher.finish();
                done.send(()).unwrap();
            });
            eventually("it waits", || haste.ask());
            assert!(!haste.ask(), "it was asked before");
            is_done
                .recv_timeout(Duration::from_secs(8))
                .expect("the end comes soon");
        });
        assert_eq!(server.run().status, expect);
        assert_eq!(heard.count("Behind"), 1, "{:?}", heard.all());
        // The rest is given later, and the run is the same.
        server.set(Habit::Good);
        let target = TrackTarget::MlFlow(server.url.clone());
        track(&facts(&dir), &target, &asked(&[]), &lab, &heard.notices()).unwrap();
        assert_eq!(server.run().metric("search/train/loss").len(), 2);
    }
}

#[test]
fn how_a_phase_ends_is_shown() {
    for (ended, expect) in [(Ended::Stopped, "KILLED"), (Ended::Failed, "FAILED")] {
        let root = tempfile::tempdir().unwrap();
        let (server, heard, lab) = (Server::start(Habit::Good), Heard::default(), lab(&[]));
        let dir = run_dir(
            root.path(),
            &search_log(0..1, 0),
            &waiting(&server.url, 20.0),
        );
        let watcher = Tracked::new(&NoObserver, &lab, heard.notices()).with_pace(QUICK);
        begin(&watcher, &dir);
        end(&watcher, &dir, ended);
        watcher.finish();
        assert_eq!(server.run().status, expect);
        // It goes on as the same run.
        begin(&watcher, &dir);
        append(&dir, &search_log(1..2, 100));
        finish(&dir);
        end(&watcher, &dir, Ended::Complete);
        watcher.finish();
        let run = server.run();
        assert_eq!(run.status, "FINISHED");
        assert_eq!(run.metric("search/train/loss").len(), 2);
    }
}

/// A search that takes a moment, and where it lies.
fn search(root: &std::path::Path, watcher: &dyn Observer, track: Option<Vec<String>>) -> RunDir {
    let request = Request {
        logdir: Some(root.display().to_string()),
        threads: Some(1),
        overrides: [
            "nas.search.loader.dataset.max_batches=4",
            "nas.search.loader.train_batch=4",
            "nas.search.model_desc.n_cells=3",
            "nas.search.model_desc.n_reductions=1",
            "nas.search.model_desc.cell.n_nodes=1",
            "nas.search.model_desc.model_stems.init_node_ch=2",
        ]
        .map(String::from)
        .to_vec(),
        eval: false,
        track,
        ..Request::new("didarts")
    };
    let outcomes = Lab::builtin().run(&request, watcher).unwrap();
    RunDir::new(outcomes[0].search_dir.clone().unwrap())
}

#[test]
fn no_bit_of_a_result_depends_on_trackers() {
    let root = tempfile::tempdir().unwrap();
    let (server, heard, lab) = (Server::start(Habit::Good), Heard::default(), Lab::builtin());
    let watcher = Tracked::new(&NoObserver, &lab, heard.notices()).with_pace(QUICK);
    let to = vec!["tensorboard".to_string(), format!("mlflow={}", server.url)];
    let tracked = search(&root.path().join("a"), &watcher, Some(to));
    watcher.finish();
    let plain = search(&root.path().join("b"), &NoObserver, None);
    assert_eq!(
        digests::of_run(tracked.path()).unwrap(),
        digests::of_run(plain.path()).unwrap()
    );
    let digest = |dir: &RunDir| dir.started().unwrap().unwrap().digest;
    assert_eq!(digest(&tracked), digest(&plain));
    assert!(
        !fs::read_to_string(plain.file("config_used.yaml"))
            .unwrap()
            .contains("track")
    );
    assert_eq!(
        (heard.count("Shown"), heard.all().len()),
        (2, 2),
        "{:?}",
        heard.all()
    );
    let run = server.run();
    assert_eq!(run.status, "FINISHED");
    assert!(!run.metric("search/train/loss").is_empty());
    assert!(run.files.contains_key("final_model_desc.yaml"));
    assert!(tracked.file("tensorboard").is_dir() && !plain.file("tensorboard").exists());
}
