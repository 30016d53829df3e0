//! What a plan will do, found out before it does it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use archai_lab::{Host, Lab, NoObserver, Phase, Request, Resources, RunMode};

use crate::support::tiny;

/// A machine with so much space and memory.
struct Machine {
    disk: u64,
    memory: u64,
}

impl Resources for Machine {
    fn free_disk(&self, _: &Path) -> Option<u64> {
        Some(self.disk)
    }
    fn available_memory(&self) -> Option<u64> {
        Some(self.memory)
    }
    fn resident(&self) -> Option<u64> {
        Some(1 << 20)
    }
    fn peak_memory(&self) -> Option<u64> {
        Some(3 << 20)
    }
}

fn lab(disk: u64, memory: u64) -> Lab {
    Lab::builtin().on(Host {
        resources: Arc::new(Machine { disk, memory }),
        ..Host::default()
    })
}

#[test]
fn a_forecast_knows_both_phases_and_writes_nothing() {
    let logdir = tempfile::tempdir().unwrap();
    let lab = lab(1 << 40, 2 << 20);
    let request = tiny(&["darts", "random"], logdir.path());
    let forecasts = lab.plan(&request).unwrap().forecast().unwrap();
    assert_eq!(fs::read_dir(logdir.path()).unwrap().count(), 0);

    let [darts, random] = &forecasts[..] else {
        panic!("{forecasts:?}");
    };
    let [search, eval] = &darts.phases[..] else {
        panic!("{darts:?}");
    };
    assert_eq!((search.phase, eval.phase), (Phase::Search, Phase::Eval));
    // A search sets images apart and does not see test data.
    assert!(search.data.train > 0 && search.data.valid > 0 && search.data.test == 0);
    assert!(eval.data.train > 0 && eval.data.valid == 0 && eval.data.test > 0);
    assert_eq!(search.data.classes, 10);
    // The supernet is larger than what may be found in it.
    let [least, most] = search.networks.unwrap();
    let supernet = &search.trainings[0];
    assert_eq!((supernet.what.as_str(), supernet.epochs), ("supernet", 2));
    assert!(least.cost.params < most.cost.params);
    assert!(most.cost.params < supernet.size.cost.params);
    assert_eq!(supernet.steps, search.data.train.div_ceil(4));
    assert_eq!(supernet.measured, 4);
    // Twice the images of a step, and the process's own memory.
    assert_eq!(supernet.memory, Some(3 << 20));
    assert!(
        darts.warnings[0].contains("about 3.0 MiB of memory, and 2.0 MiB is available"),
        "{:?}",
        darts.warnings
    );
    let model = eval.files.iter().find(|file| file.name == "model.pt");
    let [_, largest] = eval.networks.unwrap();
    assert!(model.unwrap().bytes.unwrap() > 4 * largest.cost.params);
    assert!(darts.disk > model.unwrap().bytes.unwrap());

    // Random search trains what it draws.
    assert!(random.phases[0].trainings[0].times > 1);
}

#[test]
fn a_network_that_is_given_is_known_exactly() {
    let logdir = tempfile::tempdir().unwrap();
    let request = Request {
        logdir: Some(logdir.path().display().to_string()),
        threads: Some(1),
        mode: RunMode::Smoke,
        ..Request::new("manual")
    };
    let lab = Lab::builtin();
    let forecast = lab.plan(&request).unwrap().forecast().unwrap().remove(0);
    let [search, eval] = &forecast.phases[..] else {
        panic!("{forecast:?}");
    };
    assert!(search.trainings.is_empty() && search.beyond.is_none());
    let [least, most] = eval.networks.unwrap();
    assert_eq!(least, most);
    assert_eq!(eval.trainings[0].size, most);
}

#[test]
fn what_was_forecast_is_what_a_run_gives() {
    let logdir = tempfile::tempdir().unwrap();
    let lab = Lab::builtin();
    let request = tiny(&["darts"], logdir.path());
    let forecast = lab.plan(&request).unwrap().forecast().unwrap().remove(0);
    let outcome = lab.run(&request, &NoObserver).unwrap().remove(0);
    let (search, eval) = (outcome.search.unwrap(), outcome.eval.unwrap());
    let supernet = forecast.phases[0].trainings[0].size;
    assert_eq!(supernet.cost.params, search.supernet_parameters);
    let [least, most] = forecast.phases[1].networks.unwrap();
    let range = least.cost.params..=most.cost.params;
    assert!(range.contains(&eval.parameters), "{range:?}: {eval:?}");
    for (phase, dir) in [outcome.search_dir, outcome.eval_dir]
        .into_iter()
        .enumerate()
    {
        let dir = dir.unwrap();
        for file in &forecast.phases[phase].files {
            assert!(dir.join(&file.name).exists(), "{} is missing", file.name);
        }
    }
    let model = forecast.phases[1]
        .files
        .iter()
        .find(|f| f.name == "model.safetensors");
    let written = fs::metadata(
        eval.files
            .iter()
            .find(|f| f.path.ends_with("model.safetensors"))
            .unwrap()
            .path
            .as_path(),
    );
    let (expected, written) = (model.unwrap().bytes.unwrap(), written.unwrap().len());
    assert!(
        written < 2 * expected + (64 << 10),
        "{written} instead of {expected}"
    );
}

#[test]
fn a_run_whose_files_have_no_room_is_refused() {
    let logdir = tempfile::tempdir().unwrap();
    let request = Request {
        eval: false,
        ..tiny(&["darts"], logdir.path())
    };
    let error = lab(5 << 10, 1 << 40)
        .run(&request, &NoObserver)
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("cannot keep the files of darts on fashion_mnist_mini: they take")
            && text.contains("but only 5 KiB is free"),
        "{text}"
    );
    assert_eq!(fs::read_dir(logdir.path()).unwrap().count(), 0);
}
