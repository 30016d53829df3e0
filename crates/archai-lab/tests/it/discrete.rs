//! Discrete searches that train, as a library: no clock, so that whole journals are compared.

use std::path::Path;
use std::sync::Arc;

use archai_lab::discrete::{ACCURACY, Training, space_from};
use archai_lab::{Host, Lab, Request, Resources, RunMode};
use archai_search::journal::{Event, MemoryStore};
use archai_search::{
    FailureKind, Outcome, Run, Settings, Setup, Stop, Study, TrialState, optimisers,
};

const TINY: &str = "\
space: tiny
version: 1
input: {channels: 1, size: [32, 32]}
classes: 10
network:
  - conv_bn: {out: {one_of: [2, 4]}, kernel: {one_of: [3, 5]}, stride: 2, act: relu}
  - pool: {kind: mean}
  - linear: {out: $classes}
";

fn request(more: &[&str]) -> Request {
    let mut overrides = vec![
        "nas.eval.loader.dataset.max_batches=2",
        "nas.eval.loader.train_batch=16",
        "nas.eval.loader.train_workers=0",
        "nas.eval.trainer.epochs=2",
    ];
    overrides.extend(more);
    Request {
        mode: RunMode::Smoke,
        logdir: Some("unused".into()),
        overrides: overrides.into_iter().map(String::from).collect(),
        ..Request::new("manual")
    }
}

fn study(lab: &Lab, request: &Request, folder: &Path) -> Study {
    let space = space_from(lab, "tiny.yaml", TINY, None).unwrap();
    let training = Training::new(lab, request, 1).unwrap();
    training.check_space(&space).unwrap();
    Study::open(Setup {
        space: Arc::new(space),
        settings: Settings::new([ACCURACY, "params"]).rungs([training.epochs()]),
        evaluators: vec![Arc::new(training)],
        optimisers: &optimisers::all(),
        store: Box::new(MemoryStore::default()),
        folder: Some(folder.to_path_buf()),
    })
    .unwrap()
}

fn searched(lab: &Lab, request: &Request) -> (Vec<Event>, Study) {
    let folder = tempfile::tempdir().unwrap();
    let mut study = study(lab, request, folder.path());
    let (stop, clock) = (Stop::new(), || 0.0);
    let run = Run {
        workers: 1,
        budget: Some(10),
        stop: &stop,
        clock: &clock,
    };
    // The space has four networks.
    assert!(matches!(study.run(run).unwrap(), Outcome::Exhausted(_)));
    (study.events().to_vec(), study)
}

#[test]
fn the_same_search_is_the_same_to_the_last_bit() {
    let lab = Lab::builtin();
    let (first, study) = searched(&lab, &request(&[]));
    assert_eq!(first, searched(&lab, &request(&[])).0);
    let results = study.results();
    assert_eq!(results.trials().len(), 4);
    for trial in results.trials() {
        assert_eq!((&trial.state, trial.epochs), (&TrialState::Done, 2));
        // One report before the end, and the end.
        assert_eq!(trial.measured.len(), 2);
        assert!((0.0..=1.0).contains(&trial.values[ACCURACY]), "{trial:?}");
    }
    // Another seed divides the images otherwise and draws other weights.
    let other = Request {
        seed: Some(5),
        ..request(&[])
    };
    assert_ne!(first, searched(&lab, &other).0);
}

/// A machine with next to no memory.
struct Small;

impl Resources for Small {
    fn free_disk(&self, _: &Path) -> Option<u64> {
        None
    }
    fn available_memory(&self) -> Option<u64> {
        Some(50_000)
    }
}

#[test]
fn a_network_that_needs_more_memory_than_there_is_fails_by_its_own_fault() {
    let host = Host {
        resources: Arc::new(Small),
        ..Host::default()
    };
    let (_, study) = searched(&Lab::builtin().on(host), &request(&[]));
    for trial in study.results().trials() {
        let TrialState::Failed { kind, message } = &trial.state else {
            panic!("{trial:?}");
        };
        assert_eq!(*kind, FailureKind::Network);
        assert!(message.contains("50000 are available"), "{message}");
    }
}

#[test]
fn what_would_not_be_comparable_is_refused() {
    let lab = Lab::builtin();
    for (setting, text) in [
        ("nas.eval.loader.load_test=true", "never sees test data"),
        ("nas.eval.loader.val_ratio=0", "must be above 0"),
        ("nas.eval.trainer.epochs=0", "at least one epoch"),
        ("nas.eval.template=scale", "as they are"),
    ] {
        let error = Training::new(&lab, &request(&[setting]), 1).err().unwrap();
        assert!(error.to_string().contains(text), "{setting}: {error}");
    }
    let training = Training::new(&lab, &request(&[]), 1).unwrap();
    let coloured = TINY.replace("channels: 1", "channels: 3");
    let space = space_from(&lab, "tiny.yaml", &coloured, None).unwrap();
    let error = training.check_space(&space).unwrap_err().to_string();
    assert!(
        error.contains("write `input: {channels: 1, size: [32, 32]}`"),
        "{error}"
    );
    let fitted = space_from(&lab, "tiny.yaml", &coloured, Some(training.fits())).unwrap();
    training.check_space(&fitted).unwrap();
}
