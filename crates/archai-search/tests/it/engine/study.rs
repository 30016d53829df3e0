use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use archai_search::cells::Cells201;
use archai_search::journal::{Event, FileStore, MemoryStore, Store, read};
use archai_search::testing::{Planted, WORTH};
use archai_search::{
    CostClass, Direction, EvalError, Evaluator, Job, Order, Outcome, Quantity, Reports, Run,
    Settings, Setup, Stop, Study, StudyError, TrialState, Values, Verdict, from_fn, optimisers,
};
use archai_spec::rng::Key;

fn open(
    settings: Settings,
    evaluators: Vec<Arc<dyn Evaluator>>,
    store: Box<dyn Store>,
) -> Result<Study, StudyError> {
    Study::open(Setup {
        space: Arc::new(Cells201::new()),
        evaluators,
        settings,
        optimisers: &optimisers::all(),
        store,
        folder: None,
    })
}

fn memory(settings: Settings, evaluators: Vec<Arc<dyn Evaluator>>) -> Study {
    open(settings, evaluators, Box::new(MemoryStore::default())).unwrap()
}

fn go(study: &mut Study, workers: usize, budget: usize) -> Result<Outcome, StudyError> {
    let (stop, clock) = (Stop::new(), || 0.0);
    study.run(Run {
        workers,
        budget: Some(budget),
        stop: &stop,
        clock: &clock,
    })
}

fn ids(study: &Study) -> Vec<String> {
    study
        .view()
        .trials()
        .iter()
        .map(|trial| trial.id.clone())
        .collect()
}

fn worth() -> Quantity {
    Quantity::new(WORTH, Direction::Maximise)
}

/// As planted, but each network takes another while.
struct Slow(Planted);

impl Evaluator for Slow {
    fn quantities(&self) -> &[Quantity] {
        self.0.quantities()
    }
    fn evaluate(&self, job: &Job<'_>, reports: &mut dyn Reports) -> Result<Values, EvalError> {
        let mut rng = Key::new(job.trial as u64).with(job.id).rng();
        std::thread::sleep(Duration::from_micros(rng.uniform_u32_below(3_000).into()));
        self.0.evaluate(job, reports)
    }
}

#[test]
fn strict_order_gives_the_same_trials_whoever_is_quicker() {
    let settings = || {
        Settings::new([WORTH])
            .order(Order::Strict { lag: 4 })
            .seed(3)
    };
    let planted: Arc<dyn Evaluator> = Arc::new(Planted::new(1));
    let mut alone = memory(settings(), vec![planted]);
    go(&mut alone, 1, 50).unwrap();
    for workers in [2, 4, 7] {
        let slow: Arc<dyn Evaluator> = Arc::new(Slow(Planted::new(1)));
        let mut many = memory(settings(), vec![slow]);
        go(&mut many, workers, 50).unwrap();
        assert_eq!(ids(&many), ids(&alone), "{workers} workers");
        assert_eq!(many.verify().unwrap(), []);
    }
}

#[test]
fn order_of_arrival_replays_from_its_journal() {
    let slow: Arc<dyn Evaluator> = Arc::new(Slow(Planted::new(1).failing(5)));
    let mut study = memory(Settings::new([WORTH, "params"]), vec![slow]);
    go(&mut study, 3, 40).unwrap();
    assert_eq!(study.verify().unwrap(), []);
}

fn on_disk(path: &Path, settings: Settings) -> Result<Study, StudyError> {
    let store = FileStore::open(path)?;
    Study::open(Setup {
        space: Arc::new(Cells201::with_free_edges(4)),
        evaluators: vec![Arc::new(Planted::new(1).failing(6))],
        settings,
        optimisers: &optimisers::all(),
        store: Box::new(store),
        folder: None,
    })
}

/// What is left of a search that was killed goes on as if nothing had happened, wherever its journal ends.
#[test]
fn a_search_that_was_killed_goes_on_undisturbed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    for order in [Order::Arrival, Order::Strict { lag: 2 }] {
        for (name, budget) in [("guided", 13), ("halving", 9)] {
            let mut settings = Settings::new([WORTH]).order(order).optimiser(name);
            if name == "halving" {
                settings = settings.rungs([1, 2, 4]);
            }
            let _ = std::fs::remove_file(&path);
            let mut straight = on_disk(&path, settings.clone()).unwrap();
            go(&mut straight, 1, budget).unwrap();
            let (expected, states) = (ids(&straight), states(&straight));
            drop(straight);
            let whole = std::fs::read(&path).unwrap();
            let ends = (0..whole.len())
                .filter(|i| whole[*i] == b'\n')
                .map(|i| i + 1);
            let mut rng = Key::new(9).rng();
            let somewhere: Vec<usize> = (0..15)
                .map(|_| rng.uniform_u32_below(whole.len() as u32) as usize)
                .collect();
            for length in ends.chain(somewhere) {
                std::fs::write(&path, &whole[..length]).unwrap();
                let mut resumed = on_disk(&path, settings.clone()).unwrap();
                go(&mut resumed, 1, budget).unwrap();
                assert_eq!(ids(&resumed), expected, "{order:?} {name} {length}");
                assert_eq!(self::states(&resumed), states, "{order:?} {name} {length}");
                assert_eq!(resumed.verify().unwrap(), [], "{order:?} {name} {length}");
            }
        }
    }
}

fn states(study: &Study) -> Vec<(TrialState, Values)> {
    let results = study.results();
    let of = |trial: &archai_search::Trial| (trial.state.clone(), trial.values.clone());
    results.trials().iter().map(of).collect()
}

#[test]
fn a_budget_can_be_raised() {
    let planted: Arc<dyn Evaluator> = Arc::new(Planted::new(1));
    let settings = || Settings::new([WORTH]).order(Order::Strict { lag: 2 });
    let mut twice = memory(settings(), vec![planted.clone()]);
    assert_eq!(go(&mut twice, 1, 15).unwrap(), Outcome::Budget);
    assert_eq!(ids(&twice).len(), 15);
    go(&mut twice, 2, 30).unwrap();
    let mut once = memory(settings(), vec![planted]);
    go(&mut once, 1, 30).unwrap();
    assert_eq!(ids(&twice), ids(&once));
}

#[test]
fn another_search_is_not_taken_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    drop(on_disk(&path, Settings::new([WORTH])).unwrap());
    let error = on_disk(&path, Settings::new([WORTH]).seed(5))
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("`seed` is 0 there and 5 here"), "{error}");
}

#[test]
fn poison_does_not_stop_a_search_and_is_no_result() {
    let poison = from_fn([worth()], |job, reports| {
        let value = match job.trial % 6 {
            0 => return Err(EvalError::network("out of memory")),
            1 => panic!("a bug"),
            2 => f64::NAN,
            3 => {
                reports.report(1, &Values::from([("loss".to_string(), f64::INFINITY)]));
                1e9
            }
            4 => return Ok(Values::new()),
            _ => job.trial as f64,
        };
        Ok(Values::from([(WORTH.to_string(), value)]))
    });
    let mut study = memory(Settings::new([WORTH]), vec![Arc::new(poison)]);
    assert_eq!(go(&mut study, 2, 48).unwrap(), Outcome::Budget);
    let results = study.results();
    let view = study.view_of(&results);
    for trial in results.trials() {
        assert_eq!(
            trial.state == TrialState::Done,
            trial.number % 6 == 5,
            "{trial:?}"
        );
    }
    let message = |n: usize| match &results.trials()[n].state {
        TrialState::Failed { message, .. } => message.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(message(0), "out of memory");
    assert!(message(1).contains("a bug"), "{}", message(1));
    assert!(message(2).contains("NaN"), "{}", message(2));
    assert!(
        message(3).contains("`loss` is inf after 1 epochs"),
        "{}",
        message(3)
    );
    assert!(
        message(4).contains("no value for `worth`"),
        "{}",
        message(4)
    );
    let front: Vec<usize> = view.front().iter().map(|(trial, _)| trial.number).collect();
    assert_eq!(front, [47]);
    assert_eq!(optimisers::answer(&view, false).unwrap().number, 47);
}

#[test]
fn failures_of_the_machine_are_tried_again_once() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let flaky = from_fn([worth()], move |job, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        match (job.trial % 3, job.attempt) {
            (0, 0) | (1, _) => Err(EvalError::machine("the connection was lost")),
            _ => Ok(Values::from([(WORTH.to_string(), 1.0)])),
        }
    });
    let mut study = memory(Settings::new([WORTH]), vec![Arc::new(flaky)]);
    go(&mut study, 1, 9).unwrap();
    let done = study
        .view()
        .trials()
        .iter()
        .filter(|t| t.state == TrialState::Done)
        .count();
    assert_eq!((done, calls.load(Ordering::Relaxed)), (6, 15));
}

#[test]
fn an_evaluation_that_works_for_no_network_ends_the_search() {
    let wrong = from_fn([worth()], |_, _| {
        Err(EvalError::setup("there is no program `pyhton`"))
    });
    let mut study = memory(Settings::new([WORTH]), vec![Arc::new(wrong)]);
    let error = go(&mut study, 1, 9).unwrap_err().to_string();
    assert!(error.contains("pyhton"), "{error}");
    let broken = from_fn([worth()], |_, _| {
        Err(EvalError::network("no module named torch"))
    });
    let mut study = memory(Settings::new([WORTH]), vec![Arc::new(broken)]);
    let error = go(&mut study, 1, 90).unwrap_err().to_string();
    assert!(
        error.contains("all of the 20") && error.contains("torch"),
        "{error}"
    );
}

#[test]
fn impossible_limits_are_refused_with_the_nearest_network() {
    let planted: Arc<dyn Evaluator> = Arc::new(Planted::new(1));
    let error = |limit: &str| {
        let settings = Settings::new([WORTH]).limits([limit.parse().unwrap()]);
        let store = Box::new(MemoryStore::default());
        open(settings, vec![planted.clone()], store)
            .err()
            .unwrap()
            .to_string()
    };
    let small = error("params<=70k");
    assert!(
        small.contains("the smallest `params` is 73306, of nb201-"),
        "{small}"
    );
    assert!(small.contains("raise the limit"), "{small}");
    let large = error("macs>=1G");
    assert!(
        large.contains("the largest `macs` is 220119680, of nb201-222222"),
        "{large}"
    );
    let unknown = error("parms<=70k");
    assert!(unknown.contains("did you mean `params`"), "{unknown}");
}

#[test]
fn cheap_limits_are_looked_at_before_a_training() {
    let latency = Quantity::new("latency", Direction::Minimise).class(CostClass::Cheap);
    let cheap = from_fn([latency], |job, _| {
        let convolutions = job.id.matches('2').count();
        Ok(Values::from([("latency".to_string(), convolutions as f64)]))
    });
    let trained = Arc::new(AtomicUsize::new(0));
    let counted = trained.clone();
    let training = from_fn([worth()], move |job, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(Values::from([(
            WORTH.to_string(),
            job.id.matches('3').count() as f64,
        )]))
    });
    let settings = Settings::new([WORTH]).limits(["latency<=1".parse().unwrap()]);
    let mut study = memory(settings, vec![Arc::new(training), Arc::new(cheap)]);
    go(&mut study, 1, 60).unwrap();
    let trials = study.view().trials();
    let infeasible = trials
        .iter()
        .filter(|t| matches!(t.state, TrialState::Infeasible { .. }));
    let infeasible: Vec<_> = infeasible.collect();
    assert!(
        infeasible
            .iter()
            .all(|t| t.values["latency"] > 1.0 && !t.values.contains_key(WORTH))
    );
    assert_eq!(trained.load(Ordering::Relaxed), 60 - infeasible.len());
    // It learns what is beyond the limit: half of all networks are.
    let late = infeasible.iter().filter(|t| t.number >= 30).count();
    assert!(late < 8, "{late} of the last 30");
}

#[test]
fn limits_on_what_is_trained_make_no_result() {
    let planted: Arc<dyn Evaluator> = Arc::new(Planted::new(1));
    let settings = Settings::new(["params"]).limits(["worth>=1".parse().unwrap()]);
    let mut study = memory(settings, vec![planted]);
    go(&mut study, 1, 40).unwrap();
    let results = study.results();
    let (mut within, mut beyond) = (0, 0);
    for trial in results.trials() {
        match trial.state {
            TrialState::Done => within += usize::from(trial.values[WORTH] >= 1.0),
            TrialState::Infeasible { .. } => beyond += usize::from(trial.values[WORTH] < 1.0),
            ref other => panic!("{other:?}"),
        }
    }
    assert!(
        within > 0 && beyond > 0 && within + beyond == 40,
        "{within} {beyond}"
    );
}

#[test]
fn halving_trains_few_to_the_end() {
    for bracket in [0, 9] {
        let planted: Arc<dyn Evaluator> = Arc::new(Planted::new(1));
        let mut settings = Settings::new([WORTH])
            .optimiser("halving")
            .order(Order::Strict { lag: 2 })
            .rungs([1, 3, 9]);
        settings
            .optimiser
            .settings
            .insert("bracket".into(), bracket.into());
        let mut study = memory(settings, vec![planted]);
        go(&mut study, 3, 27).unwrap();
        let results = study.results();
        let after = |epochs: u32| {
            results
                .trials()
                .iter()
                .filter(|t| t.epochs >= epochs)
                .count()
        };
        assert_eq!(after(1), 27, "{bracket}");
        match bracket {
            // Proposals get better, so that later ones are often among the best so far.
            0 => assert!(after(3) >= 9 && after(3) < 27 && after(9) >= 3 && after(9) < after(3)),
            _ => assert_eq!((after(3), after(9)), (9, 3)),
        }
        assert_eq!(study.verify().unwrap(), []);
    }
}

#[test]
fn only_what_is_beaten_in_every_objective_is_given_up() {
    let evaluator = from_fn(
        [worth(), Quantity::new("size", Direction::Minimise)],
        |job, _| {
            let (a, b) = (
                job.id.matches('2').count() as f64,
                job.id.matches('3').count() as f64,
            );
            Ok(Values::from([
                (WORTH.to_string(), a),
                ("size".to_string(), b),
            ]))
        },
    );
    let settings = Settings::new([WORTH, "size"])
        .optimiser("halving")
        .rungs([1, 3]);
    let mut study = memory(settings, vec![Arc::new(evaluator)]);
    go(&mut study, 1, 60).unwrap();
    let trials = study.view().trials();
    let beats = |a: &Values, b: &Values| a[WORTH] > b[WORTH] && a["size"] < b["size"];
    let mut stopped = 0;
    for trial in trials {
        let beaten = trials[..trial.number]
            .iter()
            .any(|other| beats(&other.values, &trial.values));
        assert_eq!(trial.state == TrialState::Stopped, beaten, "{trial:?}");
        stopped += usize::from(beaten);
    }
    assert!(stopped > 5, "{stopped}");
}

#[test]
fn reports_are_kept_and_a_stopped_training_is_taken_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal");
    let stop = Arc::new(Stop::new());
    let seen = stop.clone();
    let evaluator = move |limit: usize| {
        let stop = seen.clone();
        from_fn([worth()], move |job, reports| {
            let mut values = Values::new();
            for epoch in job.range() {
                values = Values::from([(WORTH.to_string(), f64::from(epoch))]);
                if job.trial == limit && epoch == 2 {
                    stop.request();
                }
                if reports.report(epoch + 1, &values) != Verdict::Go {
                    break;
                }
            }
            Ok(values)
        })
    };
    let study = |limit: usize| {
        let settings = Settings::new([WORTH])
            .rungs([5])
            .order(Order::Strict { lag: 1 });
        open(
            settings,
            vec![Arc::new(evaluator(limit))],
            Box::new(FileStore::open(&path).unwrap()),
        )
        .unwrap()
    };
    let run = |study: &mut Study, stop: &Stop| {
        let clock = || 0.0;
        study
            .run(Run {
                workers: 1,
                budget: Some(6),
                stop,
                clock: &clock,
            })
            .unwrap()
    };
    assert_eq!(run(&mut study(3), &stop), Outcome::Stopped);
    let events = read(&path).unwrap();
    assert!(
        matches!(
            events.last(),
            Some(Event::Reported {
                job: 3,
                epochs: 2,
                ..
            })
        ),
        "{events:?}"
    );
    assert_eq!(run(&mut study(99), &Stop::new()), Outcome::Budget);
    let events = read(&path).unwrap();
    let reports = |job: usize| {
        let of = |event: &&Event| matches!(event, Event::Reported { job: j, .. } if *j == job);
        events.iter().filter(of).count()
    };
    assert!((0..6).all(|job| reports(job) == 5));
}

#[test]
fn foreign_trials_are_taken_in() {
    let planted: Arc<dyn Evaluator> = Arc::new(Planted::new(1));
    let mut study = memory(Settings::new([WORTH]), vec![planted]);
    let space = Cells201::new();
    use archai_search::space::SearchSpace;
    let member = space.parse_id("nb201-220223").unwrap();
    let values = Values::from([(WORTH.to_string(), 1e6)]);
    assert_eq!(
        study
            .add(member.clone(), values.clone(), "a table")
            .unwrap(),
        0
    );
    let twice = study
        .add(member, values, "a table")
        .unwrap_err()
        .to_string();
    assert!(twice.contains("is trial 0"), "{twice}");
    let member = space.parse_id("nb201-220222").unwrap();
    let error = study
        .add(member, Values::new(), "a table")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("no number for the objective `worth`"),
        "{error}"
    );
    go(&mut study, 1, 20).unwrap();
    assert_eq!(study.view().trials().len(), 20);
    let results = study.results();
    assert_eq!(
        optimisers::answer(&study.view_of(&results), false)
            .unwrap()
            .number,
        0
    );
    assert_eq!(study.verify().unwrap(), []);
}

#[test]
fn a_wish_comes_first_and_counts_like_any_other() {
    let planted: Arc<dyn Evaluator> = Arc::new(Planted::new(1));
    let settings = Settings::new([WORTH]).limits(["params<=900k".parse().unwrap()]);
    let mut study = memory(settings, vec![planted]);
    go(&mut study, 1, 3).unwrap();
    let member = |study: &Study, id: &str| study.problem().space().parse_id(id).unwrap();
    let tried = ids(&study);
    let wanted = ["nb201-000002", "nb201-000020"];
    assert!(wanted.iter().all(|id| !tried.contains(&(*id).to_string())));
    for id in wanted {
        let member = member(&study, id);
        study.enqueue(member, "me").unwrap();
    }
    assert_eq!(study.queued(), wanted);
    let first = member(&study, wanted[0]);
    let refused = |study: &mut Study, id: &str| {
        let member = member(study, id);
        study.enqueue(member, "me").unwrap_err().to_string()
    };
    assert!(refused(&mut study, wanted[0]).contains("waits to be tried already"));
    assert!(refused(&mut study, &tried[0]).contains("is trial 0 of the search already"));
    assert!(refused(&mut study, "nb201-222222").contains("is beyond the limit params<=900000"));
    // What is known already must be within the limits as well.
    let large = member(&study, "nb201-222222");
    let known = Values::from([(WORTH.to_string(), 9.0)]);
    let error = study.add(large, known.clone(), "elsewhere").unwrap_err();
    assert!(error.to_string().contains("is beyond the limit"), "{error}");
    // A budget that is used up leaves wishes where they are.
    go(&mut study, 1, 3).unwrap();
    assert_eq!(study.queued().len(), 2);
    go(&mut study, 2, 6).unwrap();
    assert_eq!(ids(&study)[3..5], wanted);
    assert!(study.queued().is_empty() && ids(&study).len() == 6);
    assert_eq!(study.results().trials()[3].origin, "asked for: me");
    assert_eq!(study.results().trials()[3].member, first);
    assert!(study.verify().unwrap().is_empty());
}
