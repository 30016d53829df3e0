//! Searches and evaluations that are interrupted and taken up end in the same bytes as undisturbed ones.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use archai_engine::checkpoint::{CheckpointStore, Policy};
use archai_engine::experiment::{Experiment, run_eval, run_search};
use archai_engine::run::{NoClock, Run, StopFlag};
use archai_engine::{Compute, EngineError, OpRegistry};
use archai_spec::event::{Event, EventSink, Progress};
use serde_json::Value;

use crate::search::settings_of;

/// Raises the flag after so many steps.
struct StopAfter<'a> {
    left: AtomicUsize,
    stop: &'a StopFlag,
}

impl EventSink for StopAfter<'_> {
    fn emit(&self, event: Event) -> io::Result<()> {
        if matches!(event, Event::Progress(Progress::Step { .. }))
            && self.left.fetch_sub(1, Ordering::Relaxed) == 1
        {
            self.stop.raise();
        }
        Ok(())
    }
}

/// Search and evaluation, stopped after every `every` steps and taken up again until they end. Gives how often that was.
fn run(algo: &str, dir: &Path, overrides: &str, policy: Policy, every: usize) -> usize {
    let mut stops = 0;
    loop {
        let (settings, runner) = settings_of(algo, dir, overrides);
        let stop = StopFlag::new();
        let events = StopAfter {
            left: AtomicUsize::new(every),
            stop: &stop,
        };
        let open = |phase: &str| {
            let at = dir.join(format!("checkpoints_{phase}"));
            let mark = Box::new(|| Ok(Value::Null));
            CheckpointStore::open(&at, policy, &NoClock, mark).expect("a store")
        };
        let (search, found) = open("search");
        assert!(found.damaged.is_empty());
        let (eval, _) = open("eval");
        let run = Run::new(&events, &NoClock, &stop, settings.common.seed);
        let experiment = |run| Experiment {
            settings: &settings,
            registry: OpRegistry::builtin(),
            compute: Compute::cpu(),
            run,
            dir,
        };
        let outcome = run_search(&experiment(run.with_checkpoints(&search)), runner.as_ref())
            .and_then(|_| run_eval(&experiment(run.with_checkpoints(&eval)), runner.as_ref()));
        match outcome {
            Ok(_) => return stops,
            Err(EngineError::Stopped) => stops += 1,
            Err(error) => panic!("{error}"),
        }
    }
}

/// All files but the checkpoints.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).expect("a directory");
    entries
        .map(|e| e.expect("an entry").path())
        .filter(|p| p.is_file())
        .map(|p| {
            let name = p.file_name().unwrap_or_default().to_string_lossy();
            (name.into_owned(), std::fs::read(&p).expect("a file"))
        })
        .collect()
}

fn check(algo: &str, overrides: &str) {
    // Paths of files stand in no result, so that two directories can be compared.
    let straight = tempfile::tempdir().expect("a directory");
    let usual = Policy::default();
    assert_eq!(run(algo, straight.path(), overrides, usual, usize::MAX), 0);
    let expect = files(straight.path());
    let rare = Policy {
        every_steps: 2,
        keep: 1,
        ..usual
    };
    for (every, policy) in [(1, usual), (3, rare)] {
        let dir = tempfile::tempdir().expect("a directory");
        let stops = run(algo, dir.path(), overrides, policy, every);
        assert!(stops >= 2, "it was stopped {stops} times");
        let found = files(dir.path());
        assert_eq!(
            found.keys().collect::<Vec<_>>(),
            expect.keys().collect::<Vec<_>>()
        );
        for (name, bytes) in &expect {
            assert!(
                found[name] == *bytes,
                "{algo}: {name} differs after {stops} stops"
            );
        }
    }
}

#[test]
fn p02_a_taken_up_run_is_the_same_to_the_byte() {
    check(
        "darts",
        "nas.eval.loader.val_ratio=0.5 nas.eval.trainer.drop_path_prob=0.3",
    );
}

#[test]
fn p02_first_order_and_adam_with_a_post_training() {
    check(
        "darts",
        "nas.search.darts.second_order=false nas.search.post_train.trainer.epochs=1 nas.search.post_train.loader.train_batch=16 \
         nas.search.post_train.loader.dataset.max_batches=4 nas.search.post_train.loader.val_ratio=0.5",
    );
}

#[test]
fn p02_every_supernet_algorithm() {
    for algo in ["didarts", "xnas", "gs", "divnas"] {
        check(algo, "");
    }
}

#[test]
fn p02_the_guard_remembers_what_it_saw() {
    let stop =
        "nas.search.guard.iterations=2 nas.search.guard.stop.window=1 nas.search.trainer.epochs=4";
    check(
        "darts",
        &format!(
            "{stop} nas.search.darts.second_order=false nas.search.guard.stop.eigenvalue_ratio=0.999"
        ),
    );
}
