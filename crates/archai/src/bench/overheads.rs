//! What of a training's step is not the network: data, metrics, log and optimiser.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use archai_data::rng::Key;
use archai_data::{InMemory, Loader, Loaders, Pipeline, transforms};
use archai_engine::optim::{Optimizer, clip_factor};
use archai_engine::run::{Clock, Run, StopFlag};
use archai_engine::trainer::{ArchTrainer, Outcome, Step, TrainerHooks};
use archai_engine::{EngineError, Model};
use archai_spec::event::{Event, EventSink, LogPath};
use archai_spec::settings::Settings;

use super::{Measured, Overheads, Size, timed};
use crate::cli::args::{BenchArgs, Workload};
use crate::cli::error::CliError;

/// Seconds since the watch was made.
#[derive(Clone, Copy)]
struct Watch(Instant);

impl Clock for Watch {
    fn now(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

/// Notes when the passes of a training begin and end.
struct Passes {
    watch: Watch,
    times: Arc<Mutex<Vec<[f64; 2]>>>,
}

impl TrainerHooks for Passes {
    fn pre_step(&mut self, _: &mut Step<'_>) -> Result<(), EngineError> {
        let now = self.watch.now();
        self.times().push([now; 2]);
        Ok(())
    }
    fn post_step(&mut self, _: &mut Step<'_>, _: &Outcome) -> Result<(), EngineError> {
        let now = self.watch.now();
        if let Some([_, end]) = self.times().last_mut() {
            *end = now;
        }
        Ok(())
    }
}

impl Passes {
    fn times(&self) -> std::sync::MutexGuard<'_, Vec<[f64; 2]>> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes events as a run's log has them, to nowhere.
struct ToNowhere;

impl EventSink for ToNowhere {
    fn emit(&self, event: Event) -> io::Result<()> {
        serde_json::to_writer(io::sink(), &event).map_err(io::Error::other)
    }
}

/// A training of the search network on images of CIFAR's size, prepared in the training's own thread so that all of it
/// counts, and logged at every step.
pub(super) fn overheads(
    mut model: Model,
    settings: &Settings,
    args: &BenchArgs,
    size: Size,
) -> Result<Measured, CliError> {
    let search = &settings.nas.search;
    let images = size.batch * (args.steps + 2);
    let mut rng = Key::new(6).with("bench images").rng();
    let input = model.desc().input;
    let shape = [input.channels, input.height, input.width];
    let pixels = images * shape.iter().product::<usize>();
    let pixels = (0..pixels).map(|_| rng.uniform_u32_below(256) as u8);
    let labels = (0..images as u32).map(|i| i % 10).collect();
    let data = InMemory::new("noise", 10, shape, pixels.collect(), labels);
    let data = Arc::new(data.map_err(CliError::caused)?);
    let transform = Pipeline::of_loader(&search.loader, &transforms::builtin());
    let transform = transform.map_err(CliError::caused)?;
    let loaders = Loaders {
        train: Loader::new(data, transform, size.batch).shuffled(Key::new(7)),
        valid: None,
        valid_arch: None,
        test: None,
    };
    let mut trainer = search.trainer.clone();
    (trainer.epochs, trainer.logger_freq) = (1, 1);
    let watch = Watch(Instant::now());
    let times: Arc<Mutex<Vec<[f64; 2]>>> = Arc::default();
    let passes = Passes {
        watch,
        times: times.clone(),
    };
    let mut hooks: [Box<dyn TrainerHooks>; 1] = [Box::new(passes)];
    let stop = StopFlag::new();
    let run = Run::new(&ToNowhere, &watch, &stop, 0);
    ArchTrainer::new(&trainer, run, &LogPath::new("bench"), &mut hooks)
        .fit(&mut model, &loaders)
        .map_err(CliError::engine)?;
    let times = std::mem::take(&mut *times.lock().unwrap_or_else(PoisonError::into_inner));

    // The optimiser alone, on some gradient.
    let mut optimizer = Optimizer::new(&trainer.optimizer).map_err(CliError::engine)?;
    let grads = model.weights().clone();
    let mut optimizer_ms = Vec::new();
    for _ in 0..11 {
        let start = Instant::now();
        let clipped = grads.scale(clip_factor(grads.norm(), trainer.grad_clip));
        model.set_weights(optimizer.step(model.weights(), &clipped, trainer.optimizer.lr));
        optimizer_ms.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let median = |mut ms: Vec<f64>| {
        ms.sort_by(f64::total_cmp);
        ms[ms.len() / 2]
    };
    // From one pass's beginning to the next one's; the first step does not count.
    let starts = times.windows(2).skip(1);
    let mut steps: Vec<f64> = starts.clone().map(|w| (w[1][0] - w[0][0]) * 1e3).collect();
    let between_ms = median(starts.map(|w| (w[1][0] - w[0][1]) * 1e3).collect());
    let mut measured = timed(Workload::Overheads, args.engine.into(), 1, size, || Ok(()))?;
    steps.sort_by(f64::total_cmp);
    measured.ms = steps[steps.len() / 2];
    (measured.min_ms, measured.max_ms) = (steps[0], steps[steps.len() - 1]);
    measured.steps = steps.len();
    measured.overheads = Some(Overheads {
        between_ms,
        optimizer_ms: median(optimizer_ms),
    });
    Ok(measured)
}
