//! Mistake, mend, again: an attempt that failed early is replaced, a failed evaluation is done again without its search, and
//! every way out that an error names is one.

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use archai_algos::{Algorithm, NoSettings};
use archai_engine::EngineError;
use archai_engine::evaluater::DefaultEvaluater;
use archai_engine::experiment::{
    EvalResult, Evaluater, Experiment, ExperimentRunner, Found, Searcher,
};
use archai_engine::run::StopFlag;
use archai_engine::searcher::OneShotSearcher;
use archai_lab::report::{collate, find};
use archai_lab::{Lab, LabError, LabEvent, Observer, Phase, Request, RunDir};
use archai_spec::desc::{DartsModelDescBuilder, ModelDescBuilder};
use archai_spec::event::{Event, Progress};

use crate::support::tiny;

/// Searches and evaluates as DARTS does, but fails for some numbers of epochs: 7 before its first checkpoint, 3 after its last.
struct Fails;

/// The mistake in the settings.
fn mistake(key: &str) -> EngineError {
    EngineError::setting(key, "a mistake of the user's")
}

impl ExperimentRunner for Fails {
    fn model_desc_builder(&self) -> Box<dyn ModelDescBuilder> {
        Box::new(DartsModelDescBuilder)
    }
    fn searcher(&self) -> Option<Box<dyn Searcher>> {
        Some(Box::new(Fails))
    }
    fn evaluater(&self) -> Option<Box<dyn Evaluater>> {
        Some(Box::new(Fails))
    }
}

impl Searcher for Fails {
    fn search(
        &mut self,
        experiment: &Experiment<'_>,
        runner: &dyn ExperimentRunner,
    ) -> Result<Found, EngineError> {
        match experiment.settings.nas.search.trainer.epochs {
            7 => Err(mistake("nas.search.trainer.epochs")),
            _ => OneShotSearcher.search(experiment, runner),
        }
    }
}

impl Evaluater for Fails {
    fn evaluate(
        &mut self,
        experiment: &Experiment<'_>,
        runner: &dyn ExperimentRunner,
    ) -> Result<EvalResult, EngineError> {
        let epochs = experiment.settings.nas.eval.trainer.epochs;
        if epochs == 7 {
            return Err(mistake("nas.eval.trainer.epochs"));
        }
        let result = DefaultEvaluater.evaluate(experiment, runner)?;
        match epochs {
            3 => Err(mistake("nas.eval.trainer.epochs")),
            _ => Ok(result),
        }
    }
}

fn lab() -> Lab {
    Lab::builtin().with_algorithm(Algorithm::new("fails", "fails", |_: NoSettings| Fails))
}

/// With so many epochs of search and evaluation.
fn epochs(logdir: &Path, search: usize, eval: usize) -> Request {
    let mut request = tiny(&["fails"], logdir);
    for (phase, epochs) in [("search", search), ("eval", eval)] {
        let key = format!("nas.{phase}.trainer.epochs={epochs}");
        request.overrides.push(key);
    }
    request
}

/// Names in the log folder, sorted, without hidden ones.
fn names(logdir: &Path) -> Vec<String> {
    let entries = fs::read_dir(logdir).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    names
}

/// What becomes of the directories.
#[derive(Default)]
struct Notes(Mutex<Vec<&'static str>>);

impl Observer for Notes {
    fn observe(&self, event: &LabEvent<'_>) {
        let note = match event {
            LabEvent::Replaced { .. } => "replaced",
            LabEvent::SetAside { .. } => "set aside",
            LabEvent::AlreadyComplete { .. } => "kept",
            LabEvent::PhaseBegins {
                phase: Phase::Search,
                resumed: false,
                ..
            } => "search",
            LabEvent::PhaseBegins {
                phase: Phase::Eval,
                resumed: false,
                ..
            } => "evaluation",
            LabEvent::PhaseBegins { .. } => "resumed",
            _ => return,
        };
        self.0.lock().unwrap().push(note);
    }
}

/// Runs a request: what became of the directories, and the error if it failed.
fn attempt(request: &Request) -> (Vec<&'static str>, String) {
    let notes = Notes::default();
    let result = lab().run(request, &notes);
    let error = result.err().map(|e| e.to_string()).unwrap_or_default();
    (notes.0.into_inner().unwrap(), error)
}

const SEARCH: &str = "fails_fashion_mnist_mini_throwaway_search";
const EVAL: &str = "fails_fashion_mnist_mini_throwaway_eval";

#[test]
fn mistakes_are_mended_one_after_the_other() {
    let logdir = tempfile::tempdir().unwrap();
    let logdir = logdir.path();
    let failed = "a mistake of the user's";

    let (notes, error) = attempt(&epochs(logdir, 7, 7));
    assert!(
        notes == ["search"] && error.contains(failed),
        "{notes:?} {error}"
    );
    assert_eq!(
        names(logdir),
        [SEARCH],
        "an evaluation that never began leaves nothing"
    );

    // The search is mended: the attempt holds nothing worth a number.
    let (notes, error) = attempt(&epochs(logdir, 2, 7));
    let expect = ["replaced", "search", "evaluation"];
    assert!(
        notes == expect && error.contains(failed),
        "{notes:?} {error}"
    );
    assert_eq!(names(logdir), [EVAL, SEARCH]);
    let written = |name: &str| fs::read(logdir.join(name).join("result.json")).unwrap();
    let searched = written(SEARCH);

    // The evaluation is mended, twice: the search stays.
    let (notes, error) = attempt(&epochs(logdir, 2, 3));
    let expect = ["replaced", "kept", "evaluation"];
    assert!(
        notes == expect && error.contains(failed),
        "{notes:?} {error}"
    );

    // What it left by then is not thrown away, and both ways out lead somewhere.
    let (_, error) = attempt(&epochs(logdir, 2, 2));
    for text in [
        "nas.eval.trainer.epochs: 3 -> 2",
        &format!("the request that made `{}`", logdir.join(EVAL).display()),
        "`search: false` with `fresh`",
    ] {
        assert!(error.contains(text), "{text:?} is missing in {error}");
    }
    let (notes, error) = attempt(&epochs(logdir, 2, 3));
    assert!(
        notes == ["kept", "resumed"] && error.contains(failed),
        "{notes:?} {error}"
    );
    let again = Request {
        search: false,
        fresh: true,
        ..epochs(logdir, 2, 2)
    };
    let (notes, error) = attempt(&again);
    assert_eq!(
        (notes, error),
        (vec!["set aside", "evaluation"], String::new())
    );
    assert_eq!(
        names(logdir),
        [EVAL.to_string(), format!("{EVAL}.1"), SEARCH.to_string()]
    );
    assert_eq!(written(SEARCH), searched, "it was not done again");

    // The two belong together, though the search was started with other settings of the evaluation.
    let (runs, left_out) = find(&[logdir.to_path_buf()]).unwrap();
    let collation = collate(runs, left_out);
    let phases: Vec<&str> = collation.groups.iter().map(|g| g.phases.as_str()).collect();
    assert_eq!(phases, ["search and evaluation"]);
    assert_eq!(collation.left_out.len(), 1, "{:?}", collation.left_out);
}

#[test]
fn a_mended_evaluation_goes_on_after_an_interrupt() {
    /// Stops at the first step of an evaluation.
    #[derive(Default)]
    struct Stop(StopFlag);
    impl Observer for Stop {
        fn observe(&self, event: &LabEvent<'_>) {
            let at_step = |event: &Event| matches!(event, Event::Progress(Progress::Step { .. }));
            if let LabEvent::Emitted {
                phase: Phase::Eval,
                event,
                ..
            } = event
                && at_step(event)
            {
                self.0.raise();
            }
        }
        fn stop_flag(&self) -> StopFlag {
            self.0.clone()
        }
    }
    let logdir = tempfile::tempdir().unwrap();
    let logdir = logdir.path();
    attempt(&epochs(logdir, 2, 7));
    let stopped = lab().run(&epochs(logdir, 2, 2), &Stop::default());
    assert!(
        matches!(stopped, Err(LabError::Interrupted { .. })),
        "{stopped:?}"
    );
    let (notes, error) = attempt(&epochs(logdir, 2, 2));
    assert_eq!((notes, error), (vec!["kept", "resumed"], String::new()));
}

#[test]
fn a_change_that_is_allowed_leads_to_the_end() {
    /// Stops at the first step.
    #[derive(Default)]
    struct Stop(StopFlag);
    impl Observer for Stop {
        fn observe(&self, event: &LabEvent<'_>) {
            if let LabEvent::Emitted {
                event: Event::Progress(Progress::Step { .. }),
                ..
            } = event
            {
                self.0.raise();
            }
        }
        fn stop_flag(&self) -> StopFlag {
            self.0.clone()
        }
    }
    let logdir = tempfile::tempdir().unwrap();
    let logdir = logdir.path();
    let stopped = lab().run(&epochs(logdir, 2, 2), &Stop::default());
    assert!(
        matches!(stopped, Err(LabError::Interrupted { .. })),
        "{stopped:?}"
    );
    let (_, error) = attempt(&epochs(logdir, 2, 7));
    assert!(error.contains("`allow_changed` goes on"), "{error}");
    let allowed = |eval| Request {
        allow_changed: true,
        ..epochs(logdir, 2, eval)
    };
    let (notes, _) = attempt(&allowed(7));
    assert_eq!(notes, ["resumed", "evaluation"]);
    // Now the evaluation fails, and is mended with the flag and without.
    let (notes, error) = attempt(&allowed(7));
    assert!(
        notes == ["kept", "resumed"] && error.contains("a mistake"),
        "{notes:?} {error}"
    );
    let (notes, error) = attempt(&allowed(2));
    assert_eq!(
        (notes, error),
        (vec!["replaced", "kept", "evaluation"], String::new())
    );
}

#[test]
fn files_of_the_user_are_not_removed_with_an_attempt() {
    let logdir = tempfile::tempdir().unwrap();
    let logdir = logdir.path();
    attempt(&epochs(logdir, 7, 2));
    fs::write(RunDir::new(logdir.join(SEARCH)).file("notes.txt"), "mine").unwrap();
    let (notes, error) = attempt(&epochs(logdir, 2, 2));
    let expect = vec!["set aside", "search", "evaluation"];
    assert_eq!((notes, error), (expect, String::new()));
    let kept = logdir.join(format!("{SEARCH}.1")).join("notes.txt");
    assert_eq!(fs::read_to_string(kept).unwrap(), "mine");
}
