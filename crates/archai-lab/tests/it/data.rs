//! Images are a part of what a run is.

use std::fs;
use std::path::{Path, PathBuf};

use archai_engine::run::StopFlag;
use archai_lab::{Lab, LabError, LabEvent, NoObserver, Observer, Phase, Request};
use archai_spec::event::{Event, Progress};
use tempfile::TempDir;

use crate::support::tiny;

const SIDE: u32 = 16;
const CLASSES: u32 = 4;

/// A folder with IDX files of this many images, and a request for a run on them whose logs lie beside them.
struct World {
    folder: TempDir,
}

impl World {
    fn new() -> World {
        let world = World {
            folder: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(world.at("data")).unwrap();
        fs::create_dir(world.at("logdir")).unwrap();
        world.write("train", 32, 0);
        world.write("t10k", 8, 0);
        let path = world.at("data");
        let text = format!(
            "dataset: {{name: pets, format: idx, path: {}, n_classes: {CLASSES}, channels: 1, size: [{SIDE}, {SIDE}], mean: \
             [0.5], std: [0.25]}}\n",
            path.display()
        );
        fs::write(world.at("pets.yaml"), text).unwrap();
        world
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The images of a part, which all begin with this pixel.
    fn write(&self, part: &str, n: u32, first: u8) {
        let header = |dims: &[u32]| {
            let mut bytes = vec![0, 0, 8, dims.len() as u8];
            dims.iter().for_each(|dim| bytes.extend(dim.to_be_bytes()));
            bytes
        };
        let (mut images, mut labels) = (header(&[n, SIDE, SIDE]), header(&[n]));
        for i in 0..n {
            labels.push((i % CLASSES) as u8);
            images.push(first);
            images.extend((1..SIDE * SIDE).map(|pixel| (pixel * (i % CLASSES + 1)) as u8));
        }
        for (what, bytes) in [("images-idx3", images), ("labels-idx1", labels)] {
            fs::write(self.at(&format!("data/{part}-{what}-ubyte")), bytes).unwrap();
        }
    }

    fn request(&self) -> Request {
        Request {
            datasets: Some(vec![self.at("pets.yaml").display().to_string()]),
            ..tiny(&["darts"], &self.at("logdir"))
        }
    }

    fn run(&self, observer: &dyn Observer) -> Result<(), LabError> {
        Lab::builtin().run(&self.request(), observer).map(drop)
    }

    #[track_caller]
    fn fails(&self, parts: &[&str]) {
        let error = self.run(&NoObserver).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{part:?} is missing in {error}");
        }
    }
}

/// Stops a phase at its first step.
struct StopIn {
    phase: Phase,
    stop: StopFlag,
}

impl StopIn {
    fn new(phase: Phase) -> StopIn {
        StopIn {
            phase,
            stop: StopFlag::default(),
        }
    }
}

impl Observer for StopIn {
    fn observe(&self, event: &LabEvent<'_>) {
        if let LabEvent::Emitted {
            phase,
            event: Event::Progress(Progress::Step { .. }),
            ..
        } = event
            && *phase == self.phase
        {
            self.stop.raise();
        }
    }

    fn stop_flag(&self) -> StopFlag {
        self.stop.clone()
    }
}

fn names(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn a_run_goes_on_with_its_own_data_alone() {
    let world = World::new();
    let interrupted = |phase| {
        let result = world.run(&StopIn::new(phase));
        assert!(matches!(result, Err(LabError::Interrupted { phase: at, .. }) if at == phase));
    };
    interrupted(Phase::Search);
    world.write("train", 28, 0);
    world.fails(&[
        "the data (train): 32 images, 8 of class 0, 8 of class 1, 8 of class 2, … (digest ",
        "-> 28 images, 7 of class 0, ",
        "`fresh`",
    ]);
    world.write("train", 32, 1);
    world.fails(&[
        "the data (train): 32 images (digest ",
        "-> 32 images (digest ",
    ]);
    world.write("train", 32, 0);
    interrupted(Phase::Eval);

    world.write("t10k", 8, 1);
    world.fails(&["the data (test): 8 images"]);
    world.write("t10k", 8, 0);
    world.write("train", 32, 1);
    world.fails(&["the data (train): 32 images"]);
    world.write("train", 32, 0);
    world.run(&NoObserver).unwrap();

    let lab = Lab::builtin();
    let dirs = lab.plan(&world.request()).unwrap().dirs()[0].clone();
    let found = |dir: &archai_lab::RunDir| -> Vec<(String, usize)> {
        let data = dir.record().unwrap().unwrap().data;
        assert_eq!(data, dir.started().unwrap().unwrap().data);
        data.into_iter()
            .map(|(name, part)| (name, part.images))
            .collect()
    };
    assert_eq!(found(&dirs.search), [("train".to_owned(), 32)]);
    let both = [("test".to_owned(), 8), ("train".to_owned(), 32)];
    assert_eq!(found(&dirs.eval), both);
}

#[test]
fn damaged_test_data_are_found_before_the_search() {
    let world = World::new();
    let labels = world.at("data/t10k-labels-idx1-ubyte");
    let mut bytes = fs::read(&labels).unwrap();
    *bytes.last_mut().unwrap() = CLASSES as u8;
    fs::write(&labels, bytes).unwrap();
    world.fails(&["t10k-labels-idx1-ubyte", "a label in 0..4, found 4"]);
    assert_eq!(names(&world.at("logdir")), 0);
}

#[test]
fn what_the_data_lack_is_in_the_log_once() {
    let world = World::new();
    let mut request = world.request();
    request.overrides.push("dataset.n_classes=5".into());
    let lab = Lab::builtin();
    lab.run(&request, &NoObserver).unwrap();
    let dirs = lab.plan(&request).unwrap().dirs()[0].clone();
    for dir in [&dirs.search, &dirs.eval] {
        let log = dir.machine_log().unwrap().unwrap();
        let log = fs::read_to_string(log).unwrap();
        let note =
            "1 of 5 classes have no image in the training data: 4; is dataset.n_classes right?";
        assert_eq!(log.matches(note).count(), 1, "{log}");
    }
}
