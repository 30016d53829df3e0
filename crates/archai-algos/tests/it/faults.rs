//! A search and an evaluation on a disk that fails at every operation in turn.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use archai_data::rng::Key;
use archai_engine::checkpoint::{CheckpointStore, Policy};
use archai_engine::experiment::{Experiment, ExperimentRunner};
use archai_engine::files::{make_folder, remove_unfinished};
use archai_engine::phases::{run_eval, run_search};
use archai_engine::run::{NoClock, Run, StopFlag};
use archai_engine::testing::{Fault, FaultyDisk, Operation, OperationKind, Survives};
use archai_engine::{Components, Compute, EngineError};
use archai_spec::event::NoEvents;
use archai_spec::settings::Settings;
use serde_json::Value;

use crate::search::settings_of;

const DIR: &str = "/run";

/// A search of two steps and an evaluation of two, with a checkpoint after each.
const TINIEST: &str = "nas.search.darts.second_order=false nas.search.guard.hessian=false
    nas.search.model_desc.cell.n_nodes=1 nas.search.trainer.epochs=1 nas.search.loader.dataset.max_batches=2
    nas.search.loader.train_batch=8 nas.search.loader.train_workers=0 nas.search.loader.test_workers=0
    nas.eval.model_desc.n_cells=3 nas.eval.trainer.epochs=1 nas.eval.loader.dataset.max_batches=2
    nas.eval.loader.train_batch=8 nas.eval.loader.test_workers=0 nas.eval.loader.val_ratio=0.5
    nas.eval.loader.load_test=false";

/// The task, and what an undisturbed run of it leaves and asks of the disk.
struct Task {
    _data: tempfile::TempDir,
    settings: Settings,
    runner: Box<dyn ExperimentRunner>,
    files: BTreeMap<PathBuf, Vec<u8>>,
    operations: Vec<Operation>,
}

impl Task {
    fn new() -> Task {
        let data = tempfile::tempdir().expect("a directory");
        write_pictures(data.path());
        let overrides = format!(
            "{TINIEST} dataset.format=idx dataset.path={}",
            data.path().display()
        );
        let (settings, runner) = settings_of("darts", Path::new(DIR), &overrides);
        let mut task = Task {
            _data: data,
            settings,
            runner,
            files: BTreeMap::new(),
            operations: Vec::new(),
        };
        let disk = FaultyDisk::new();
        task.run(&disk).expect("an undisturbed run");
        task.files = results(&disk);
        task.operations = disk.operations();
        assert!(task.files.len() >= 7, "{:?}", task.files.keys());
        task
    }

    /// Search and evaluation, resumed where the disk holds checkpoints.
    fn run(&self, disk: &FaultyDisk) -> Result<(), EngineError> {
        let dir = Path::new(DIR);
        make_folder(disk, dir)?;
        remove_unfinished(disk, dir)?;
        let policy = Policy {
            every_steps: 1,
            every_seconds: 0.0,
            keep: 2,
        };
        let stop = StopFlag::new();
        let run = Run::new(&NoEvents, &NoClock, &stop, self.settings.common.seed).with_disk(disk);
        for phase in ["search", "eval"] {
            let at = dir.join("checkpoints").join(phase);
            let mark = Box::new(|| Ok(Value::Null));
            let (store, found) = CheckpointStore::open_on(disk, &at, policy, &NoClock, mark)?;
            assert!(found.damaged.is_empty(), "{:?}", found.damaged);
            let experiment = Experiment {
                settings: &self.settings,
                components: Components::builtin(),
                compute: Compute::cpu(),
                run: run.with_checkpoints(&store),
                dir,
            };
            match phase {
                "search" => drop(run_search(&experiment, self.runner.as_ref())?),
                _ => drop(run_eval(&experiment, self.runner.as_ref())?),
            }
        }
        Ok(())
    }

    /// One fault at operation `k`; then the disk is as `survives` says, and the run is resumed.
    fn check(&self, k: usize, fault: Fault, survives: Survives) {
        let what = format!("{fault:?} at {k}, {:?}, {survives:?}", self.operations[k]);
        let disk = FaultyDisk::new();
        disk.fail_at(k, fault);
        let outcome = self.run(&disk);
        let after = disk.operations().split_off(k + 1);
        disk.restart(survives);
        let left = results(&disk);
        for (name, bytes) in &left {
            assert!(
                self.files.get(name) == Some(bytes),
                "{what}: {} is a bad file",
                name.display()
            );
        }
        match &outcome {
            Ok(()) => assert_eq!(left.len(), self.files.len(), "{what}"),
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains("`/run"), "{what}: no file is named in {text}");
                if fault == Fault::Full {
                    assert!(text.contains("free some space"), "{what}: {text}");
                }
            }
        }
        if fault == Fault::Io {
            assert!(outcome.is_err(), "{what}: an error was ignored");
            let is_sync =
                |o: &Operation| matches!(o.kind, OperationKind::Sync | OperationKind::SyncDir);
            assert!(
                !after.iter().any(is_sync),
                "{what}: the run went on and flushed again: {after:?}"
            );
        }
        if let Err(error) = self.run(&disk) {
            panic!("{what}: it cannot be resumed: {error}");
        }
        assert!(results(&disk) == self.files, "{what}: other bytes");
    }
}

/// 64 pictures of 8×8: many runs open them.
fn write_pictures(dir: &Path) {
    let mut rng = Key::new(4).with("pictures").rng();
    let mut bytes = |n: usize, below: u32| -> Vec<u8> {
        (0..n).map(|_| rng.uniform_u32_below(below) as u8).collect()
    };
    let files = [
        ("images-idx3", vec![64, 8, 8], bytes(64 * 64, 256)),
        ("labels-idx1", vec![64], bytes(64, 10)),
    ];
    for (name, dims, content) in files {
        let mut file = vec![0, 0, 8, dims.len() as u8];
        file.extend(dims.iter().flat_map(|d: &u32| d.to_be_bytes()));
        file.extend(content);
        std::fs::write(dir.join(format!("train-{name}-ubyte")), file).expect("a file");
    }
}

/// All files but the checkpoints, and but those of writers that did not come to their end.
fn results(disk: &FaultyDisk) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = disk.files();
    files.retain(|path, _| {
        let text = path.display().to_string();
        !text.contains("/checkpoints/") && !text.contains("/.writing-")
    });
    files
}

#[test]
fn p07_no_fault_at_any_operation_leaves_a_bad_file() {
    let task = Task::new();
    for (k, operation) in task.operations.iter().enumerate() {
        task.check(k, Fault::Io, Survives::All);
        task.check(k, Fault::Interrupted, Survives::All);
        if operation.kind == OperationKind::Write {
            task.check(k, Fault::ShortWrite, Survives::All);
        }
    }
}

#[test]
fn p06_a_full_disk_is_named_and_the_last_checkpoint_serves() {
    let task = Task::new();
    for (k, operation) in task.operations.iter().enumerate() {
        use OperationKind::{CreateDir, CreateNew, Write};
        if matches!(operation.kind, CreateDir | CreateNew | Write) {
            task.check(k, Fault::Full, Survives::All);
        }
    }
}

#[test]
fn p04_a_power_cut_at_any_operation_is_made_good() {
    let task = Task::new();
    for k in 0..task.operations.len() {
        task.check(k, Fault::PowerCut, Survives::Flushed);
        task.check(k, Fault::PowerCut, Survives::Some(k as u64));
    }
}
