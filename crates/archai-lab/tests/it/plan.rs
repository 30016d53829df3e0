//! What a plan finds out before anything runs.

use std::fs;
use std::sync::Mutex;

use archai_lab::{Lab, LabEvent, Observer, Request};

use crate::support::tiny;

#[test]
fn settings_that_an_algorithm_cannot_work_with_are_refused() {
    let logdir = tempfile::tempdir().unwrap();
    let lab = Lab::builtin();
    for (algorithm, setting, expect) in [
        (
            "darts",
            "nas.search.trainer.alpha_optimizer=null",
            "nas.search.trainer.alpha_optimizer: DARTS moves the architecture by an optimizer",
        ),
        (
            "gs",
            "nas.search.gs.temperature.end=null",
            "nas.search.gs.temperature: types `linear` and `exponential` need `end`",
        ),
        (
            "gs",
            "nas.search.finalizer=darts_pt",
            "nas.search.loader.val_ratio: the finalizer darts_pt measures on validation data",
        ),
        (
            "random",
            "nas.search.random.train.loader.val_ratio=0",
            "nas.search.random.train: random search compares networks on validation data",
        ),
        (
            "petridish",
            "nas.search.post_train.trainer.epochs=0",
            "nas.search.post_train: petridish compares networks on validation data",
        ),
    ] {
        let mut request = tiny(&[algorithm], logdir.path());
        request.overrides.push(setting.to_string());
        let error = lab.plan(&request).map(drop).unwrap_err().to_string();
        assert!(error.contains(expect), "{algorithm} {setting}: {error}");
    }
    assert_eq!(fs::read_dir(logdir.path()).unwrap().count(), 0);
}

/// Settings without effect.
#[derive(Default)]
struct Unread(Mutex<Vec<String>>);

impl Observer for Unread {
    fn observe(&self, event: &LabEvent<'_>) {
        if let LabEvent::NoEffect { text } = event {
            self.0.lock().unwrap().push((*text).to_string());
        }
    }
}

#[test]
fn settings_without_effect_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("mine.yaml");
    fs::write(
        &config,
        "nas:\n  search:\n    post_train:\n      trainer:\n        epochs: 2\n",
    )
    .unwrap();
    let config = config.display().to_string();
    let request = Request {
        logdir: Some(dir.path().join("logs").display().to_string()),
        config: Some(config.clone()),
        threads: Some(1),
        eval: false,
        overrides: [
            "nas.search.trainer.epochs=3",
            // It is copied to sections that are not read, but counts for the network.
            "dataset.flip=false",
            "nas.search.darts.second_order=false",
            "nas.search.darts.epsilon=0.01",
            "nas.search.manual.model=resnet20",
        ]
        .map(String::from)
        .to_vec(),
        ..Request::new("manual")
    };
    let seen = Unread::default();
    Lab::builtin().run(&request, &seen).unwrap();
    let mut seen = seen.0.into_inner().unwrap();
    seen.sort();
    let of_flag = |key: &str, value: &str, section: &str| {
        format!(
            "`{key}={value}`: {key} has no effect, because manual does not read {section} under these settings"
        )
    };
    let epochs = seen.iter().position(|text| text.starts_with(&config));
    let epochs = seen.remove(epochs.expect("the file's setting"));
    assert!(
        epochs.ends_with(
            ": nas.search.post_train.trainer.epochs has no effect, because manual does not read \
             nas.search.post_train under these settings"
        ),
        "{epochs}"
    );
    assert_eq!(
        seen,
        [
            of_flag("nas.search.darts.epsilon", "0.01", "nas.search.darts"),
            of_flag("nas.search.darts.second_order", "false", "nas.search.darts"),
            of_flag("nas.search.trainer.epochs", "3", "nas.search.trainer"),
        ]
    );
}
