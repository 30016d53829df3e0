//! What can be known of a search, and of the evaluation that follows it, before either runs: whether their settings go together,
//! which network would be evaluated, and how long a step takes, for which [`time_step`] does a few.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use archai_data::{InMemory, Loader, Loaders, Pipeline, rng::Key};
use archai_spec::desc::{self, Built, DescErrors, ModelDesc};
use archai_spec::event::{Event, EventSink, LogPath, Progress};
use archai_spec::settings::{self, Settings};

use crate::{
    ahead::{Ahead, PlannedTraining},
    components::Components,
    compute::Compute,
    error::EngineError,
    evaluater::DefaultEvaluater,
    experiment::{Evaluater, Experiment, ExperimentRunner, space_of},
    export::info_path,
    run::{Clock, Run, StopFlag},
    trainer::ArchTrainer,
};

/// Most images of a batch with which a step is measured: enough to keep the kernels busy, and little memory.
const MEASURED_IMAGES: usize = 16;

/// Steps that are done for a measurement. The first one allocates and does not count.
const MEASURED_STEPS: usize = 3;

/// The network that the evaluation trains if the search finds `found`, and what its builder notes.
///
/// # Errors
/// It cannot be built from the settings.
pub fn evaluated(
    ahead: &Ahead<'_>,
    runner: &dyn ExperimentRunner,
    found: &ModelDesc,
) -> Result<Built, DescErrors> {
    let default: Box<dyn Evaluater> = Box::new(DefaultEvaluater);
    let evaluater = runner.evaluater().unwrap_or(default);
    let mut eval = ahead.settings.nas.eval.clone();
    eval.model_desc = evaluater.shape(&eval, found);
    desc::evaluated(ahead.space.builder(), &eval, found, ahead.catalog)
}

/// Checks whatever a search needs of its settings and can be known without data.
///
/// # Errors
/// Settings that do not fit each other.
pub fn check_search(
    components: &Components,
    runner: &dyn ExperimentRunner,
    settings: &Settings,
) -> Result<(), EngineError> {
    let search = &settings.nas.search;
    space_of(components, runner, search)?;
    same_data("nas.search", &search.model_desc, &search.loader)?;
    runner.check(search)?;
    let found = (
        "nas.search.final_desc_filename",
        &search.final_desc_filename,
    );
    check_files(&[found])
}

/// Checks whatever an evaluation needs of its settings and can be known without data and without the network.
///
/// # Errors
/// Settings that do not fit each other, files that would take each other's places.
pub fn check_eval(settings: &Settings) -> Result<(), EngineError> {
    let eval = &settings.nas.eval;
    same_data("nas.eval", &eval.model_desc, &eval.loader)?;
    let info = info_path(Path::new(&eval.model_filename));
    let info = info.to_string_lossy().into_owned();
    check_files(&[
        ("nas.eval.full_desc_filename", &eval.full_desc_filename),
        ("nas.eval.metric_filename", &eval.metric_filename),
        ("nas.eval.model_filename", &eval.model_filename),
        ("nas.eval.model_filename (its .yaml)", &info),
    ])
}

/// Files that a phase writes must not take each other's places.
fn check_files(files: &[(&str, &String)]) -> Result<(), EngineError> {
    for (i, (key, path)) in files.iter().enumerate() {
        if Path::new(path).file_name().is_none() {
            return Err(EngineError::setting(
                *key,
                format!("`{path}` is no name of a file; give one, such as $expdir/model.pt"),
            ));
        }
        if let Some((other, _)) = files[..i].iter().find(|(_, earlier)| earlier == path) {
            return Err(EngineError::setting(
                *key,
                format!("`{path}` is the file of {other}, too; give each a name of its own"),
            ));
        }
    }
    Ok(())
}

/// The network of a phase must be built for the data that it is trained on.
fn same_data(
    section: &str,
    model: &settings::ModelDescSettings,
    loader: &settings::Loader,
) -> Result<(), EngineError> {
    let (m, l) = (&model.dataset, &loader.dataset);
    let shape = |d: &settings::Dataset| (d.channels, d.size, d.n_classes);
    if shape(m) == shape(l) {
        return Ok(());
    }
    let say = |d: &settings::Dataset| {
        let [h, w] = d.size;
        format!(
            "`{}` ({} channels of {h}x{w}, {} classes)",
            d.name, d.channels, d.n_classes
        )
    };
    Err(EngineError::setting(
        format!("{section}.model_desc.dataset"),
        format!(
            "it is {}, but {section}.loader.dataset is {}; the network must be built for the data that it is trained on: \
             let both copy one section",
            say(m),
            say(l)
        ),
    ))
}

/// How long a step of a training took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepTime {
    /// Seconds of a step at the batch size of the settings, in proportion to the images of the measured one.
    pub seconds: f64,
    /// Images of the step that was measured.
    pub images: usize,
}

/// Does a few steps of a training on images of noise, with the algorithm's hooks where they join in, and times the last one.
/// A step has at most 16 images; a whole batch is taken to last in proportion.
///
/// # Errors
/// The network cannot be compiled, and what a step may report.
pub fn time_step(
    components: &Components,
    compute: &Compute,
    clock: &dyn Clock,
    runner: &dyn ExperimentRunner,
    settings: &Settings,
    planned: &PlannedTraining,
) -> Result<StepTime, EngineError> {
    let (loader, mut trainer) = (&planned.training.loader, planned.training.trainer.clone());
    // Norms need two.
    let images = loader.train_batch.clamp(2, MEASURED_IMAGES);
    trainer.batch_chunks = 1;
    // One that is not finite on noise says nothing about the data.
    trainer.on_nan = settings::OnNan::Stop;
    let stop = StopFlag::new();
    let events = Stopwatch {
        clock,
        stop: &stop,
        ends: Mutex::default(),
    };
    let experiment = Experiment {
        settings,
        components: components.clone(),
        compute: compute.clone(),
        run: Run::new(&events, clock, &stop, settings.common.seed),
        dir: Path::new(""),
    };
    let mut model = experiment.compile(&planned.desc, runner)?;
    let mut hooks = match planned.has_hooks {
        true => runner.trainer_hooks(&settings.nas.search)?,
        false => Vec::new(),
    };
    let loaders = noise(components, loader, images)?;
    let trained = ArchTrainer::new(&trainer, experiment.run, &LogPath::root(), &mut hooks)
        .fit(&mut model, &loaders);
    match trained {
        Ok(_) | Err(EngineError::Stopped) => {}
        Err(error) => return Err(error),
    }
    let ends = events.ends.into_inner();
    let ends = ends.unwrap_or_else(PoisonError::into_inner);
    let last = ends.windows(2).last().map(|pair| pair[1] - pair[0]);
    let seconds = last.ok_or_else(|| {
        EngineError::Internal("no step of the training was seen, so that none is timed".into())
    })?;
    Ok(StepTime {
        seconds: seconds.max(0.0) * loader.train_batch as f64 / images as f64,
        images,
    })
}

/// Loaders of noise in the place of those that the settings describe.
fn noise(
    components: &Components,
    settings: &settings::Loader,
    images: usize,
) -> Result<Loaders, EngineError> {
    let dataset = &settings.dataset;
    let shape = [dataset.channels, dataset.size[0], dataset.size[1]];
    let n = images * (MEASURED_STEPS + 1);
    let mut rng = Key::new(0).with("images of noise").rng();
    let size: usize = n * shape.iter().product::<usize>();
    let pixels = (0..size).map(|_| rng.uniform_u32_below(256) as u8);
    let labels = (0..n).map(|i| (i % dataset.n_classes) as u32);
    let data = InMemory::new(
        &dataset.name,
        dataset.n_classes,
        shape,
        pixels.collect(),
        labels.collect(),
    )?;
    let pipeline = Pipeline::of_loader(settings, &components.transforms)?;
    let loader = Loader::new(Arc::new(data), pipeline, images);
    Ok(Loaders {
        train: loader.clone(),
        valid: None,
        valid_arch: Some(loader),
        test: None,
    })
}

/// Notes when steps ended, and stops the training after enough of them.
struct Stopwatch<'a> {
    clock: &'a dyn Clock,
    stop: &'a StopFlag,
    ends: Mutex<Vec<f64>>,
}

impl EventSink for Stopwatch<'_> {
    fn emit(&self, event: Event) -> std::io::Result<()> {
        if let Event::Progress(Progress::Step { .. }) = event {
            let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
            ends.push(self.clock.now());
            if ends.len() >= MEASURED_STEPS {
                self.stop.raise();
            }
        }
        Ok(())
    }
}
