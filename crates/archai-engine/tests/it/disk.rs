//! Checkpoints on a disk that fails: exactly the old or the new one is there.

use std::path::Path;

use archai_engine::EngineError;
use archai_engine::checkpoint::{CheckpointStore, Checkpoints, Opened, Policy, Snapshot};
use archai_engine::params::NamedTensor;
use archai_engine::run::NoClock;
use archai_engine::testing::{Fault, FaultyDisk, OperationKind, Survives};
use serde_json::Value;

fn open(disk: &FaultyDisk, keep: usize) -> Result<(CheckpointStore<'_>, Opened), EngineError> {
    let policy = Policy {
        every_steps: 1,
        every_seconds: 0.0,
        keep,
    };
    let mark = Box::new(|| Ok(Value::Null));
    CheckpointStore::open_on(disk, Path::new("/run/checkpoints"), policy, &NoClock, mark)
}

/// Large enough for several blocks of the disk and for writes past the buffer.
fn snapshot(n: usize) -> Snapshot {
    let mut snapshot = Snapshot::default();
    snapshot.set("n", &n).expect("a value");
    let values: Vec<f64> = (0..20_000).map(|i| f64::from((i * n) as u16)).collect();
    let tensor = NamedTensor {
        name: "t".to_string(),
        shape: vec![values.len()],
        values,
    };
    snapshot.put_tensors("model", vec![tensor]);
    snapshot
}

/// A disk with checkpoint 1 of training `a`, or without any.
fn prepared(has_old: bool) -> FaultyDisk {
    let disk = FaultyDisk::new();
    if has_old {
        let (store, _) = open(&disk, 1).expect("a store");
        store.keep("a", &snapshot(1), false).expect("a checkpoint");
    }
    disk
}

/// Keeps checkpoint 2 with a fault at operation `k`; gives whether the fault came before the end.
fn check(k: usize, has_old: bool, fault: Fault, survives: Survives) -> bool {
    let what = format!("{fault:?} at {k}, old: {has_old}, {survives:?}");
    let disk = prepared(has_old);
    let before = disk.operations().len();
    disk.fail_at(k, fault);
    let kept = open(&disk, 1).and_then(|(store, _)| store.keep("a", &snapshot(2), false));
    let struck = disk.operations().len() > before + k;
    disk.restart(survives);
    let (store, found) = open(&disk, 1).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert!(found.damaged.is_empty(), "{what}: {:?}", found.damaged);
    let latest = store.latest("a").unwrap_or_else(|e| panic!("{what}: {e}"));
    let n = latest.map(|(state, finished)| {
        assert!(!finished);
        let n: usize = state.get("n").expect("a number");
        assert!(
            state == snapshot(n),
            "{what}: neither the old nor the new one"
        );
        n
    });
    match (kept.is_ok(), n) {
        (_, Some(2)) => {}
        (false, Some(1)) if has_old => {}
        (false, None) if !has_old => {}
        other => panic!("{what}: {other:?}"),
    }
    // Nothing is left of it, and it can be kept now.
    let is_unfinished = |path: &Path| path.to_string_lossy().contains(".writing-");
    assert!(!disk.files().keys().any(|p| is_unfinished(p)), "{what}");
    store
        .keep("a", &snapshot(3), true)
        .unwrap_or_else(|e| panic!("{what}: {e}"));
    struck
}

#[test]
fn p04_after_a_power_cut_exactly_the_old_or_the_new_checkpoint_loads() {
    for has_old in [true, false] {
        let survivals = (0..12).map(Survives::Some);
        for survives in survivals.chain([Survives::Flushed, Survives::All]) {
            let struck = (0..).take_while(|&k| check(k, has_old, Fault::PowerCut, survives));
            let struck = struck.count();
            assert!(struck >= 7, "{struck} operations");
        }
    }
}

#[test]
fn p07_after_any_fault_exactly_the_old_or_the_new_checkpoint_loads() {
    for fault in [
        Fault::Io,
        Fault::Full,
        Fault::Interrupted,
        Fault::ShortWrite,
    ] {
        for has_old in [true, false] {
            // A process that ends, and a machine whose power goes before the disk has caught up.
            for survives in [Survives::All, Survives::Flushed] {
                while_struck(|k| check(k, has_old, fault, survives));
            }
        }
    }
}

fn while_struck(mut check: impl FnMut(usize) -> bool) {
    for k in 0.. {
        if !check(k) {
            assert!(k >= 7, "{k} operations");
            break;
        }
    }
}

#[test]
fn p07_a_failed_sync_is_fatal_and_not_tried_again() {
    let disk = prepared(true);
    let (store, _) = open(&disk, 1).expect("a store");
    let before = disk.operations().len();
    store.keep("a", &snapshot(2), false).expect("a checkpoint");
    let done = disk.operations().split_off(before);
    for (k, operation) in done.iter().enumerate() {
        use OperationKind::{RemoveFile, Sync, SyncDir};
        if !matches!(operation.kind, Sync | SyncDir) {
            continue;
        }
        let disk = prepared(true);
        let (store, _) = open(&disk, 1).expect("a store");
        let before = disk.operations().len();
        disk.fail_at(k, Fault::Io);
        let error = store
            .keep("a", &snapshot(2), false)
            .expect_err("an error")
            .to_string();
        assert!(error.contains("000002.checkpoint"), "{error}");
        let after = disk.operations().split_off(before + k + 1);
        assert!(after.iter().all(|o| o.kind == RemoveFile), "{after:?}");
    }
}

#[test]
fn two_trainings_of_one_name_are_an_error() {
    let disk = FaultyDisk::new();
    let (store, _) = open(&disk, 1).expect("a store");
    store.keep("a", &snapshot(1), true).expect("a checkpoint");
    let error = store.latest("a").expect_err("an error").to_string();
    assert!(
        error.contains("two trainings") && error.contains("`a`"),
        "{error}"
    );
    // Another run takes the outcome, once.
    let (store, _) = open(&disk, 1).expect("a store");
    assert!(matches!(store.latest("a"), Ok(Some((_, true)))));
    assert!(store.latest("a").is_err());
}
