//! An observer sees what happens and can stop a run, which then goes on to the same bytes.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use archai_engine::run::StopFlag;
use archai_lab::{Ended, Lab, LabError, LabEvent, NoObserver, Observer, Phase};
use archai_spec::event::{Event, Progress};

use crate::support::{all_digests, tiny};

/// Notes what happens, and stops at a step.
#[derive(Default)]
struct Notes {
    stop: StopFlag,
    stop_at: Option<usize>,
    steps: AtomicUsize,
    notes: Mutex<Vec<String>>,
}

impl Observer for Notes {
    fn observe(&self, event: &LabEvent<'_>) {
        let note = match event {
            LabEvent::JobBegins { title } => format!("begin {title}"),
            LabEvent::PhaseBegins { phase, resumed, .. } => format!("{phase} resumed={resumed}"),
            LabEvent::AlreadyComplete { phase, .. } => format!("{phase} was complete"),
            LabEvent::PhaseEnds { phase, ended, .. } => format!("{phase} {ended:?}"),
            LabEvent::JobEnds { outcome } => format!("end {}", outcome.title),
            LabEvent::Emitted {
                event: Event::Progress(Progress::Step { .. }),
                shown,
                ..
            } => {
                assert!(shown);
                let steps = self.steps.fetch_add(1, Ordering::Relaxed) + 1;
                if Some(steps) == self.stop_at {
                    self.stop.raise();
                }
                return;
            }
            LabEvent::Emitted {
                phase,
                event: Event::Values { path, .. },
                shown: false,
                ..
            } => format!("{phase} notes {path}"),
            _ => return,
        };
        self.notes.lock().unwrap().push(note);
    }

    fn stop_flag(&self) -> StopFlag {
        self.stop.clone()
    }
}

#[test]
fn an_observer_sees_a_run_and_stops_it_and_it_resumes_to_the_same_bytes() {
    let lab = Lab::builtin();
    let (whole, stopped) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let notes = Notes::default();
    lab.run(&tiny(&["didarts"], whole.path()), &notes).unwrap();
    let title = "didarts on fashion_mnist_mini";
    let expect = [
        &format!("begin {title}"),
        "search resumed=false",
        "search notes run",
        "search notes dataset",
        "search Complete",
        "evaluation resumed=false",
        "evaluation notes run",
        "evaluation notes dataset",
        "evaluation Complete",
        &format!("end {title}"),
    ];
    assert_eq!(notes.notes.into_inner().unwrap(), expect);
    let steps = notes.steps.into_inner();
    assert!(steps > 3, "{steps}");

    // In the search, and at the last step, which is one of the evaluation.
    for (stop_at, phase) in [(2, Phase::Search), (steps, Phase::Eval)] {
        let request = tiny(&["didarts"], stopped.path());
        let notes = Notes {
            stop_at: Some(stop_at),
            ..Notes::default()
        };
        match lab.run(&request, &notes) {
            Err(LabError::Interrupted { phase: at, dir, .. }) => {
                assert_eq!(at, phase);
                assert!(dir.is_dir());
            }
            other => panic!("{other:?}"),
        }
        let last = notes.notes.into_inner().unwrap().pop();
        assert_eq!(last, Some(format!("{phase} {:?}", Ended::Stopped)));

        let notes = Notes::default();
        lab.run(&request, &notes).unwrap();
        let notes = notes.notes.into_inner().unwrap();
        assert!(
            notes.contains(&format!("{phase} resumed=true")),
            "{notes:?}"
        );
        assert_eq!(all_digests(stopped.path()), all_digests(whole.path()));
        std::fs::remove_dir_all(stopped.path()).unwrap();
    }
}

#[test]
fn a_flag_that_is_raised_before_the_run_begins_nothing() {
    let logdir = tempfile::tempdir().unwrap();
    let notes = Notes::default();
    notes.stop.raise();
    let result = Lab::builtin().run(&tiny(&["didarts"], logdir.path()), &notes);
    let expect = "stopped before the search of didarts on fashion_mnist_mini began";
    assert_eq!(result.unwrap_err().to_string(), expect);
    // The directory is free for the next run.
    let request = tiny(&["didarts"], logdir.path());
    Lab::builtin().run(&request, &NoObserver).unwrap();
}
