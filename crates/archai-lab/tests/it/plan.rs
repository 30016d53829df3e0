//! What a plan finds out before anything runs.

use std::fs;
use std::sync::Mutex;

use archai_algos::{Algorithm, NoSettings};
use archai_engine::EngineError;
use archai_engine::experiment::{Experiment, ExperimentRunner, Found, Searcher};
use archai_lab::config::ConfigRequest;
use archai_lab::{Lab, LabEvent, Observer, Request, RunMode};
use archai_spec::config::parse_overrides;
use archai_spec::desc::{ModelDescBuilder, nasbench101::NasBench101Builder};

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
            "random",
            "nas.search.random.train.trainer.optimizer.betas=[0.9, 0.99]",
            "`betas` does not belong to type `sgd`",
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

/// One command line and one file for several algorithms: each reads its own section, whatever the others have.
#[test]
fn algorithms_of_a_request_share_settings_with_a_section_of_each() {
    let dir = tempfile::tempdir().unwrap();
    let lab = Lab::builtin();
    let shared = dir.path().join("shared.yaml");
    let text = "nas:\n  search:\n    gs: {num_sample: 2}\n    random: {n_archs: 1}\n";
    fs::write(&shared, text).unwrap();
    let request = |algorithms: &[&str], settings: &[&str]| {
        let mut request = tiny(algorithms, &dir.path().join("logs"));
        request.config = Some(shared.display().to_string());
        request
            .overrides
            .extend(settings.iter().map(|s| (*s).to_string()));
        request
    };
    let error = |algorithms: &[&str], settings: &[&str]| {
        let plan = lab.plan(&request(algorithms, settings));
        plan.map(drop).unwrap_err().to_string()
    };
    let first_order = "nas.search.darts.second_order=false";
    let all = request(&["darts", "gs", "random"], &[first_order]);
    let plan = lab.plan(&all).unwrap();
    assert_eq!(plan.dirs().len(), 3);
    // Nobody's settings are without effect, and nobody reads another's.
    let alone = Request {
        algorithms: vec!["random".to_string()],
        config: None,
        ..request(&[], &["nas.search.random.n_archs=1"])
    };
    assert_eq!(digests(&lab, &all)[2], digests(&lab, &alone)[0]);

    // A section of an algorithm that does not run is an error that says so.
    let found = error(&["gs"], &[]);
    let expect = "shared.yaml:4:5: nas.search.random is the section of the algorithm random, which does not run here (gs does); \
                  take it out, or run random, too";
    assert!(found.ends_with(expect), "{found}");
    let found = error(&["gs", "random"], &[first_order]);
    let expect =
        "nas.search.darts is the section of the algorithm darts, which does not run here (gs does)";
    assert!(
        found.starts_with("algorithm gs: ") && found.contains(expect),
        "{found}"
    );
    // Each checks its own section, and the error says who.
    let found = error(&["gs", "random"], &["nas.search.random.n_arch=3"]);
    assert!(
        found.starts_with("algorithm random: ")
            && found.contains("did you mean `nas.search.random.n_archs`?"),
        "{found}"
    );
    let found = error(&["random", "gs"], &["nas.search.gs.num_sample=0"]);
    assert!(
        found.starts_with("algorithm gs: ") && found.contains("out of range"),
        "{found}"
    );
}

/// What the results of each of a request's runs depend on.
fn digests(lab: &Lab, request: &Request) -> Vec<String> {
    let show = |name: &String| {
        let algorithm = lab.algorithms().get(name).unwrap();
        let named = request.algorithms.iter();
        let others = named.map(|other| lab.algorithms().get(other).unwrap().as_ref());
        let config = ConfigRequest {
            algos: lab.algorithms(),
            components: lab.components(),
            algo: algorithm,
            others: others.collect(),
            dataset: None,
            eval_dataset: None,
            space: None,
            mode: RunMode::Smoke,
            config: request.config.as_deref(),
            config_only: None,
            overrides: parse_overrides(&request.overrides).unwrap(),
            folder: &lab.host().folder,
        };
        config.load().unwrap().digest().unwrap()
    };
    request.algorithms.iter().map(show).collect()
}

/// Each of these failed after the whole search, or after the evaluation's training.
#[test]
fn an_evaluation_that_cannot_work_is_refused_before_the_search() {
    let logdir = tempfile::tempdir().unwrap();
    let lab = Lab::builtin();
    for (algorithm, settings, expect) in [
        (
            "darts",
            &[
                "nas.search.model_desc.n_cells=1",
                "nas.search.model_desc.n_reductions=0",
            ][..],
            "what darts finds could not be evaluated, because its network cannot be built",
        ),
        (
            "darts",
            &["nas.eval.metric_filename=$expdir/model.pt"],
            "nas.eval.model_filename: `$expdir/model.pt` is the file of nas.eval.metric_filename, too",
        ),
        (
            "darts",
            &["nas.eval.model_filename=$expdir/models/mine.pt"],
            "nas.eval.model_filename: there is no folder `",
        ),
        (
            "petridish",
            &["nas.eval.loader.val_ratio=0"],
            "nas.eval.loader.val_ratio: the best of several networks is chosen on validation data",
        ),
    ] {
        let mut request = tiny(&[algorithm], logdir.path());
        request
            .overrides
            .extend(settings.iter().map(|s| s.to_string()));
        let error = lab.plan(&request).map(drop).unwrap_err().to_string();
        assert!(error.contains(expect), "{algorithm} {settings:?}: {error}");
        // The search alone is fine.
        request.eval = false;
        assert!(lab.plan(&request).is_ok(), "{algorithm} {settings:?}");
    }
    assert_eq!(fs::read_dir(logdir.path()).unwrap().count(), 0);
}

/// An algorithm whose builder needs a template, because its searcher makes the networks.
struct OnlyScales;

impl ExperimentRunner for OnlyScales {
    fn model_desc_builder(&self) -> Box<dyn ModelDescBuilder> {
        Box::new(NasBench101Builder { cell: None })
    }
    fn searcher(&self) -> Option<Box<dyn Searcher>> {
        Some(Box::new(OnlyScales))
    }
}

impl Searcher for OnlyScales {
    fn search(
        &mut self,
        _: &Experiment<'_>,
        _: &dyn ExperimentRunner,
    ) -> Result<Found, EngineError> {
        Err(EngineError::Internal("it is not called".to_string()))
    }
}

#[test]
fn what_cannot_be_known_before_a_search_is_not_refused() {
    let logdir = tempfile::tempdir().unwrap();
    let algorithm = Algorithm::new("scales", "makes networks itself", |_: NoSettings| {
        OnlyScales
    });
    let lab = Lab::builtin().with_algorithm(algorithm);
    let plan = lab.plan(&tiny(&["scales"], logdir.path())).unwrap();
    let forecast = plan.forecast().unwrap().remove(0);
    for phase in &forecast.phases {
        assert!(phase.networks.is_none() && phase.trainings.is_empty());
        let beyond = phase.beyond.as_ref().unwrap();
        assert!(beyond.contains("not known before"), "{beyond}");
    }
}

/// The last of several jobs does not fail for what could be seen before the first.
#[test]
fn descriptions_of_all_jobs_are_read_before_the_first_is_evaluated() {
    let logdir = tempfile::tempdir().unwrap();
    let lab = Lab::builtin();
    let search = Request {
        eval: false,
        ..tiny(&["darts"], logdir.path())
    };
    lab.run(&search, &archai_lab::NoObserver).unwrap();
    // DARTS has found something, DiDARTS has not.
    let eval = Request {
        search: false,
        ..tiny(&["darts", "didarts"], logdir.path())
    };
    let error = lab.run(&eval, &archai_lab::NoObserver).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("there is no found network to evaluate"),
        "{error}"
    );
    let mut begun = fs::read_dir(logdir.path()).unwrap();
    let is_eval = |name: &str| name.ends_with("_eval");
    assert!(!begun.any(|entry| is_eval(&entry.unwrap().file_name().to_string_lossy())));

    // A network without a reduction cell cannot be scaled to one that has some.
    let flat = |request: Request| Request {
        exp_prefix: "flat".to_string(),
        ..request
    };
    let mut search = flat(search);
    search.overrides.extend(
        [
            "nas.search.model_desc.n_cells=1",
            "nas.search.model_desc.n_reductions=0",
        ]
        .map(String::from),
    );
    lab.run(&search, &archai_lab::NoObserver).unwrap();
    let eval = flat(Request {
        search: false,
        ..tiny(&["darts"], logdir.path())
    });
    let error = lab.run(&eval, &archai_lab::NoObserver).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("final_model_desc.yaml` cannot be evaluated: "),
        "{error}"
    );
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
        mode: RunMode::Smoke,
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
