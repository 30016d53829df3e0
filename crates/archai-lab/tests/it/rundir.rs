//! What a run leaves is read back with its types, its log also while it is written.

use std::sync::Mutex;

use archai_lab::log::{Follower, LogEntry};
use archai_lab::report::{collate, find};
use archai_lab::rundir::RunDir;
use archai_lab::verify::{Repetition, Verdict};
use archai_lab::{DirState, Lab, LabEvent, NoObserver, Observer, Phase};
use archai_spec::event::Event;

use crate::support::tiny;

/// Follows the log of each phase, and looks whenever something happens there.
#[derive(Default)]
struct Follow {
    follower: Mutex<Option<Follower>>,
    followed: Mutex<Vec<(Phase, LogEntry)>>,
    emitted: Mutex<Vec<(Phase, Event)>>,
}

impl Observer for Follow {
    fn observe(&self, event: &LabEvent<'_>) {
        let mut follower = self.follower.lock().unwrap();
        match event {
            LabEvent::PhaseBegins { dir, .. } => {
                *follower = Some(RunDir::new(*dir).follow().unwrap())
            }
            LabEvent::Emitted { phase, event, .. } => {
                let news = follower.as_mut().unwrap().look().unwrap();
                assert!(!news.from_start);
                let entries = news.entries.into_iter().map(|entry| (*phase, entry));
                self.followed.lock().unwrap().extend(entries);
                if !matches!(event, Event::Progress(_)) {
                    let event = (*event).clone();
                    self.emitted.lock().unwrap().push((*phase, event));
                }
            }
            _ => {}
        }
    }
}

#[test]
fn a_run_directory_is_read_with_its_types() {
    let logdir = tempfile::tempdir().unwrap();
    let lab = Lab::builtin();
    let request = tiny(&["darts"], logdir.path());
    let observer = Follow::default();
    let outcome = lab.run(&request, &observer).unwrap().remove(0);
    let catalog = lab.components().ops.catalog();
    let search = RunDir::new(outcome.search_dir.unwrap());
    let eval = RunDir::new(outcome.eval_dir.unwrap());

    // Every event was in the log when the observer saw it, once and in order.
    let (followed, emitted) = (
        observer.followed.into_inner(),
        observer.emitted.into_inner(),
    );
    let (followed, emitted) = (followed.unwrap(), emitted.unwrap());
    assert_eq!(followed.len(), emitted.len());
    for ((phase, entry), (at, event)) in followed.iter().zip(&emitted) {
        assert_eq!(phase, at);
        match (&entry.event, event) {
            (Event::Values { path: a, .. }, Event::Values { path: b, .. }) => assert_eq!(a, b),
            (read, sent) => assert_eq!(read, sent),
        }
    }
    for (phase, dir) in [(Phase::Search, &search), (Phase::Eval, &eval)] {
        let of_phase = followed.iter().filter(|(at, _)| *at == phase);
        let of_phase: Vec<LogEntry> = of_phase.map(|(_, entry)| entry.clone()).collect();
        assert_eq!(dir.log().unwrap(), of_phase);

        let DirState::Finished(started, record) = dir.state().unwrap() else {
            panic!("{phase} is not finished");
        };
        assert_eq!((started.phase, record.phase), (phase, phase));
        assert_eq!(started.arguments, request.arguments());
        assert!(dir.found_desc(catalog).unwrap().is_some());
        let reached = dir.checkpoints().unwrap();
        let last = reached.last().unwrap();
        assert!(last.finished && last.epoch.is_some(), "{reached:?}");
    }
    let result = outcome.eval.unwrap();
    let metrics = eval.metrics().unwrap().unwrap();
    let last = metrics.last().unwrap();
    assert_eq!(last.top1.avg, result.train_top1);
    let scaled = eval.scaled_desc(catalog).unwrap().unwrap();
    let cost = scaled.cost(catalog).unwrap().total(false);
    assert_eq!(cost.params, result.parameters);
    assert_eq!(
        search.metrics().unwrap(),
        None,
        "a search leaves no metrics"
    );

    // Reports find the pair; a repetition gives the same.
    let (runs, left_out) = find(&[logdir.path().to_path_buf()]).unwrap();
    assert!(left_out.is_empty() && runs.len() == 1);
    assert_eq!(
        collate(runs, left_out).groups[0].phases,
        "search and evaluation"
    );
    for dir in [&search, &eval] {
        let scratch = tempfile::tempdir().unwrap();
        let again = Repetition::new(&lab, dir.path(), scratch.path(), &[], Some(1)).unwrap();
        let files = again.run(&lab, &NoObserver).unwrap();
        assert!(files.len() > 3);
        assert!(
            files.iter().all(|f| f.verdict == Verdict::Same),
            "{files:?}"
        );
    }
}
