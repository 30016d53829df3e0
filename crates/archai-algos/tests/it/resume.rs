//! Searches and evaluations that are interrupted and resumed end in the same bytes as undisturbed ones.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use archai_engine::checkpoint::{CheckpointStore, Policy};
use archai_engine::experiment::Experiment;
use archai_engine::phases::{run_eval, run_search};
use archai_engine::run::{Clock, NoClock, Run, StopFlag};
use archai_engine::{Components, Compute, EngineError};
use archai_spec::event::{Event, EventSink, Progress};
use serde_json::Value;

use crate::search::settings_of;

/// How a run is ended before its time.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// Asked to stop: it keeps its state first.
    Stop,
    /// Asked to stop while something is measured, after so many batches instead of steps.
    StopWhenMeasuring,
    /// As if killed: it can keep nothing.
    Kill,
}

/// Ends the run after so many steps, and keeps what is logged.
struct EndAfter<'a> {
    end: End,
    left: AtomicUsize,
    stop: &'a StopFlag,
    seen: &'a Seen,
}

/// What several runs logged together: steps done, and values by place, of several the last.
#[derive(Default)]
struct Seen {
    steps: AtomicUsize,
    values: Mutex<BTreeMap<String, String>>,
}

impl EventSink for EndAfter<'_> {
    fn emit(&self, event: Event) -> io::Result<()> {
        match event {
            Event::Progress(Progress::Step { .. }) => {
                self.seen.steps.fetch_add(1, Ordering::Relaxed);
                if self.end != End::StopWhenMeasuring
                    && self.left.fetch_sub(1, Ordering::Relaxed) == 1
                {
                    match self.end {
                        End::Kill => return Err(io::Error::other("killed")),
                        _ => self.stop.raise(),
                    }
                }
            }
            Event::Progress(Progress::Validate { .. })
                if self.end == End::StopWhenMeasuring
                    && self.left.fetch_sub(1, Ordering::Relaxed) == 1 =>
            {
                self.stop.raise();
            }
            Event::Values { path, values } if path.0.first().is_none_or(|p| p != "resumed") => {
                let mut seen = self.seen.values.lock().expect("no panic holds the lock");
                seen.extend(
                    values
                        .into_iter()
                        .map(|(n, v)| (format!("{path}/{n}"), v.to_string())),
                );
            }
            _ => {}
        }
        Ok(())
    }
}

/// What a search and an evaluation left.
struct Left {
    files: BTreeMap<String, Vec<u8>>,
    values: BTreeMap<String, String>,
    /// Steps, those that were done again counted again.
    steps: usize,
    /// How often it was ended before its time.
    ends: usize,
}

/// Search and evaluation, ended after every `every` steps and resumed until they end.
fn run(algo: &str, overrides: &str, policy: Policy, end: End, every: usize) -> Left {
    run_by(&NoClock, algo, overrides, policy, end, every)
}

/// The same with a clock.
fn run_by(
    clock: &dyn Clock,
    algo: &str,
    overrides: &str,
    policy: Policy,
    end: End,
    every: usize,
) -> Left {
    // No result holds paths of files, so that two directories can be compared.
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    let seen = Seen::default();
    for ends in 0..200 {
        let (settings, runner) = settings_of(algo, dir, overrides);
        let stop = StopFlag::new();
        let events = EndAfter {
            end,
            left: AtomicUsize::new(every),
            stop: &stop,
            seen: &seen,
        };
        let open = |phase: &str| {
            let at = dir.join(format!("checkpoints_{phase}"));
            let mark = Box::new(|| Ok(Value::Null));
            CheckpointStore::open(&at, policy, clock, mark).expect("a store")
        };
        let (search, found) = open("search");
        assert!(found.damaged.is_empty());
        let (eval, _) = open("eval");
        let run = Run::new(&events, clock, &stop, settings.common.seed);
        let experiment = |run| Experiment {
            settings: &settings,
            components: Components::builtin(),
            compute: Compute::cpu(),
            run,
            dir,
        };
        let outcome = run_search(&experiment(run.with_checkpoints(&search)), runner.as_ref())
            .and_then(|_| run_eval(&experiment(run.with_checkpoints(&eval)), runner.as_ref()));
        match outcome {
            Ok(_) => {
                return Left {
                    files: files(dir),
                    values: seen.values.into_inner().expect("no panic holds the lock"),
                    steps: seen.steps.into_inner(),
                    ends,
                };
            }
            Err(EngineError::Stopped) if end != End::Kill => {}
            Err(error) if end == End::Kill && error.to_string().contains("killed") => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("{algo} does not come to its end");
}

/// All files below a directory but the checkpoints.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = path
                .strip_prefix(dir)
                .expect("it is below")
                .display()
                .to_string();
            if path.is_dir() && !name.starts_with("checkpoints_") {
                folders.push(path);
            } else if path.is_file() {
                files.insert(name, std::fs::read(&path).expect("a file"));
            }
        }
    }
    files
}

const USUAL: Policy = Policy {
    every_steps: 0,
    every_seconds: 60.0,
    keep: 2,
};

impl Left {
    fn assert_same(&self, expect: &Left, what: &str) {
        let names = |left: &Left| left.files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(self), names(expect), "{what}");
        for (name, bytes) in &expect.files {
            assert!(self.files[name] == *bytes, "{what}: {name} differs");
        }
        for (name, value) in &expect.values {
            assert_eq!(self.values.get(name), Some(value), "{what}: {name}");
        }
        assert_eq!(self.values.len(), expect.values.len(), "{what}");
    }
}

fn check(algo: &str, overrides: &str) {
    let expect = run(algo, overrides, USUAL, End::Stop, usize::MAX);
    assert_eq!(expect.ends, 0);
    let often = Policy {
        every_steps: 2,
        keep: 1,
        ..USUAL
    };
    for (end, every, policy) in [
        (End::Stop, 1, USUAL),
        (End::Stop, 3, often),
        (End::Kill, 4, often),
    ] {
        let left = run(algo, overrides, policy, end, every);
        let what = format!("{algo}, ended {} times after {every} steps", left.ends);
        assert!(left.ends >= 2, "{what}");
        left.assert_same(&expect, &what);
        match end {
            End::Stop | End::StopWhenMeasuring => {
                assert_eq!(left.steps, expect.steps, "{what}: no step is done twice");
            }
            End::Kill => assert!(
                left.steps <= expect.steps + 2 * left.ends,
                "{what}: at most two steps are lost each time, but {} were done in place of {}",
                left.steps,
                expect.steps
            ),
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

/// Another thread, or a user, may ask at any time: between the last step of an epoch and its checkpoint, too.
#[test]
fn p02_a_stop_while_something_is_measured_loses_no_step() {
    let overrides = "nas.search.darts.second_order=false nas.search.loader.test_batch=16 nas.eval.loader.val_ratio=0.5 \
                     nas.eval.loader.test_batch=512 \
                     nas.eval.test_every_epoch=true";
    let expect = run("darts", overrides, USUAL, End::Stop, usize::MAX);
    // Between two checkpoints, one or two batches are measured, so that each attempt gets past one checkpoint.
    let left = run("darts", overrides, USUAL, End::StopWhenMeasuring, 3);
    assert!(left.ends >= 2, "ended {} times", left.ends);
    assert_eq!(left.steps, expect.steps, "no step is done twice");
    left.assert_same(&expect, "stopped while measuring");
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

#[test]
fn p02_searches_of_many_trainings_redo_none_of_them() {
    check(
        "random",
        "nas.search.random.n_archs=3 nas.search.random.train.trainer.epochs=1
         nas.search.random.train.loader.dataset.max_batches=4 nas.search.random.train.loader.train_batch=16
         nas.search.random.train.loader.val_ratio=0.5",
    );
    check("petridish", PETRIDISH);
}

#[test]
fn p02_jobs_side_by_side_are_taken_up_each() {
    let expect = run("petridish", PETRIDISH, USUAL, End::Stop, usize::MAX);
    let two = format!("{PETRIDISH} nas.search.petridish.workers=2");
    let left = run("petridish", &two, USUAL, End::Stop, 3);
    assert!(left.ends >= 2);
    left.assert_same(&expect, "two workers");
    assert_eq!(left.steps, expect.steps, "no step is done twice");
}

/// Two seeds, two growths.
const PETRIDISH: &str = "
    nas.search.model_desc.cell.n_nodes=1
    nas.search.petridish.pareto.max_cells=3 nas.search.petridish.pareto.max_reductions=1
    nas.search.petridish.pareto.max_nodes=2 nas.search.petridish.max_hull_points=3
    nas.search.petridish.parents_per_round=2 nas.search.petridish.seed_train.trainer.epochs=1
    nas.search.petridish.seed_train.loader.dataset.max_batches=4
    nas.search.petridish.seed_train.loader.train_batch=16 nas.search.petridish.seed_train.loader.val_ratio=0.5
    nas.search.post_train.trainer.epochs=1 nas.search.post_train.loader.dataset.max_batches=4
    nas.search.post_train.loader.train_batch=16 nas.search.post_train.loader.val_ratio=0.5
    nas.search.trainer.epochs=1 nas.eval.trainer.epochs=1 nas.eval.loader.val_ratio=0.5";

#[test]
fn p03_threads_prefetching_and_checkpoints_change_no_byte() {
    let with = |workers: usize| {
        format!(
            "nas.search.darts.second_order=false nas.eval.trainer.drop_path_prob=0.3 nas.eval.loader.val_ratio=0.5
             nas.search.loader.train_workers={workers} nas.search.loader.test_workers={workers}
             nas.eval.loader.train_workers={workers} nas.eval.loader.test_workers={workers}"
        )
    };
    let every = |every_steps: usize| Policy {
        every_steps,
        every_seconds: 0.0,
        keep: 2,
    };
    let expect = run("darts", &with(0), every(0), End::Stop, usize::MAX);
    for name in [
        "final_model_desc.yaml",
        "full_model_desc.yaml",
        "eval_train_metrics.yaml",
        "model.pt",
        "model.safetensors",
        "model_best.safetensors",
        "test_predictions.csv",
    ] {
        assert!(expect.files.contains_key(name), "{name} is missing");
    }
    assert!(expect.values.keys().any(|name| name.contains("/alphas/")));
    for (threads, workers, policy) in [
        (1, 4, every(0)),
        (2, 1, every(1)),
        (4, 0, every(3)),
        (8, 4, every(1)),
        (8, 0, every(0)),
    ] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let left = pool
            .expect("threads")
            .install(|| run("darts", &with(workers), policy, End::Stop, usize::MAX));
        let what = format!("{threads} threads, {workers} workers, {policy:?}");
        left.assert_same(&expect, &what);
    }
}

/// Goes a day ahead and a day back, again and again.
#[derive(Default)]
struct Jumping(AtomicUsize);

impl Clock for Jumping {
    fn now(&self) -> f64 {
        let n = self.0.fetch_add(1, Ordering::Relaxed);
        1.8e9 + n as f64 + if n % 5 < 2 { 86_400.0 } else { -86_400.0 }
    }
}

#[test]
fn p28_a_clock_that_jumps_changes_no_result() {
    let overrides = "nas.search.darts.second_order=false nas.eval.loader.val_ratio=0.5";
    let expect = run("darts", overrides, USUAL, End::Stop, usize::MAX);
    for every in [usize::MAX, 3] {
        let clock = Jumping::default();
        let left = run_by(&clock, "darts", overrides, USUAL, End::Stop, every);
        // The metrics hold times as well; their numbers are among the values below.
        for (name, bytes) in expect
            .files
            .iter()
            .filter(|(n, _)| !n.ends_with("_metrics.yaml"))
        {
            assert!(left.files[name] == *bytes, "{name} differs");
        }
        let is_time = |name: &str| {
            let times = ["time", "duration", "images_per_s", "timings/"];
            times.iter().any(|time| name.contains(time))
        };
        let values = expect.values.iter().filter(|(name, _)| !is_time(name));
        assert!(values.clone().count() > 50);
        for (name, value) in values {
            assert_eq!(left.values.get(name), Some(value), "{name}");
        }
    }
}
