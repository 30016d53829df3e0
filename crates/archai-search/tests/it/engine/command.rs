use std::sync::Arc;
use std::time::Duration;

use archai_search::cells::Cells201;
use archai_search::command::CommandEvaluator;
use archai_search::journal::MemoryStore;
use archai_search::{
    Direction, Outcome, Quantity, Run, Settings, Setup, Stop, Study, StudyError, TrialState,
    optimisers,
};

fn search(script: &str, rungs: &[u32]) -> (Study, Result<Outcome, StudyError>) {
    let accuracy = Quantity::new("accuracy", Direction::Maximise);
    let program = CommandEvaluator::new(["sh", "-c", script], [accuracy])
        .time_limit(Duration::from_millis(1_500));
    run(program, rungs)
}

fn run(program: CommandEvaluator, rungs: &[u32]) -> (Study, Result<Outcome, StudyError>) {
    let mut study = Study::open(Setup {
        space: Arc::new(Cells201::new()),
        evaluators: vec![Arc::new(program)],
        settings: Settings::new(["accuracy"])
            .optimiser("random")
            .rungs(rungs.iter().copied()),
        optimisers: &optimisers::all(),
        store: Box::new(MemoryStore::default()),
        folder: None,
    })
    .unwrap();
    let (stop, clock) = (Stop::new(), || 0.0);
    let outcome = study.run(Run {
        workers: 1,
        budget: Some(2),
        stop: &stop,
        clock: &clock,
    });
    (study, outcome)
}

fn failure(script: &str) -> String {
    let (study, outcome) = search(script, &[]);
    assert_eq!(outcome.unwrap(), Outcome::Budget);
    match &study.view().trials()[0].state {
        TrialState::Failed { message, .. } => message.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_program_gets_a_network_and_gives_numbers() {
    let script = r#"read line; n=${#line}; echo training; echo '{"epochs": 1, "values": {"accuracy": 0.5}}'
        case "$line" in *'"choices":['*) echo "{\"accuracy\": 0.75, \"length\": $n}";; esac"#;
    let (study, outcome) = search(script, &[3]);
    outcome.unwrap();
    let trial = &study.view().trials()[0];
    assert_eq!(trial.state, TrialState::Done, "{trial:?}");
    assert_eq!(trial.values["accuracy"], 0.75);
    assert!(trial.values["length"] > 50.0);
    assert_eq!(trial.measured.len(), 2);
}

#[test]
fn failures_say_what_happened() {
    let crash = failure("echo 'CUDA out of memory' >&2; exit 3");
    assert!(
        crash.contains("exit status: 3") && crash.contains("CUDA out of memory"),
        "{crash}"
    );
    let silent = failure("echo done");
    assert!(
        silent.contains("wrote no result") && silent.contains("{\"accuracy\": 0.93}"),
        "{silent}"
    );
    let garbled = failure("echo '{\"accuracy\": \"good\"}'");
    assert!(
        garbled.contains("line 1") && garbled.contains("no result"),
        "{garbled}"
    );
    let missing = failure("echo '{\"loss\": 1}'");
    assert!(missing.contains("no value for `accuracy`"), "{missing}");
    let killed = failure("kill -9 $$");
    assert!(killed.contains("signal: 9"), "{killed}");
}

#[test]
fn a_program_that_takes_too_long_ends_with_all_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("mark");
    // It talks all the time, and a program that it started would leave a mark.
    let script = format!(
        "(sleep 4; touch {}) & while true; do echo busy; done",
        mark.display()
    );
    let slow = failure(&script);
    assert!(slow.contains("longer than 1.5 s"), "{slow}");
    std::thread::sleep(Duration::from_secs(4));
    assert!(!mark.exists());
}

#[test]
fn a_program_that_is_not_there_ends_the_search() {
    let accuracy = Quantity::new("accuracy", Direction::Maximise);
    let (_, outcome) = run(CommandEvaluator::new(["pyhton-of-nobody"], [accuracy]), &[]);
    let error = outcome.unwrap_err().to_string();
    assert!(
        error.contains("pyhton-of-nobody") && error.contains("check its name"),
        "{error}"
    );
}
