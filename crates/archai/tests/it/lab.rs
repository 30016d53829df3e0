//! What a program of one's own begins through the library, the command line goes on with.

use archai::engine::run::StopFlag;
use archai::lab::{Lab, LabError, LabEvent, Observer, Request, RunMode, digests};
use archai::spec::event::{Event, Progress};

use crate::run::TINY;
use crate::support::World;

/// Stops a run at its first step.
#[derive(Default)]
struct FirstStep(StopFlag);

impl Observer for FirstStep {
    fn observe(&self, event: &LabEvent<'_>) {
        let LabEvent::Emitted { event, .. } = event else {
            return;
        };
        if let Event::Progress(Progress::Step { .. }) = event {
            self.0.raise();
        }
    }

    fn stop_flag(&self) -> StopFlag {
        self.0.clone()
    }
}

#[test]
fn the_command_line_resumes_what_a_library_began() {
    let world = World::new();
    let config = world.write("tiny.yaml", TINY);
    let request = |logdir: &str| Request {
        config: Some(config.clone()),
        threads: Some(1),
        exp_prefix: "of_a_library".to_string(),
        logdir: Some(world.path(logdir).display().to_string()),
        mode: RunMode::Smoke,
        ..Request::new("darts")
    };
    let lab = Lab::builtin().on(archai::cli::host());
    let stopped = lab.run(&request("stopped"), &FirstStep::default());
    let Err(LabError::Interrupted { dir, .. }) = stopped else {
        panic!("{stopped:?}");
    };
    let done = world.run(&["resume", dir.to_str().unwrap()]);
    assert!(done.err.contains("search goes on in"), "{}", done.err);
    assert!(done.ok().contains("test accuracy"));

    // A program that does not say in which folder it works is resumed by itself alone.
    let nowhere = Lab::builtin().run(&request("nowhere"), &FirstStep::default());
    let Err(LabError::Interrupted { dir, .. }) = nowhere else {
        panic!("{nowhere:?}");
    };
    let done = world.run(&["resume", dir.to_str().unwrap()]);
    done.fails(1, &["run.json", "`Host::folder` was empty"]);

    let whole = lab
        .run(&request("whole"), &archai::lab::NoObserver)
        .unwrap();
    for (expect, phase) in [
        (&whole[0].search_dir, "search"),
        (&whole[0].eval_dir, "eval"),
    ] {
        let found = format!("stopped/darts_fashion_mnist_mini_of_a_library_{phase}");
        assert_eq!(
            digests::of_run(&world.path(&found)).unwrap(),
            digests::of_run(expect.as_ref().unwrap()).unwrap(),
            "{phase}"
        );
    }
}
