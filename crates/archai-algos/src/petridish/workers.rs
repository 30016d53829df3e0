//! Who does the trainings. A [`Job`] and its [`JobResult`] are plain data, so that workers may as well be other machines;
//! [`LocalWorkers`] are threads of this one.

use std::sync::Mutex;

use archai_data::rng::Key;
use archai_engine::{
    AlphaInit, EngineError, Model, ModelOptions, NamedTensor, Raw,
    experiment::Experiment,
    metrics::Metrics,
    trainer::{ArchTrainer, TrainerHooks},
};
use archai_spec::desc::ModelDesc;
use archai_spec::event::LogPath;
use archai_spec::settings;
use serde::{Deserialize, Serialize};

use crate::didarts::SingleLevel;

use super::WHO;
use super::grow::{grown, inherit, settled};
use super::op::candidates;

/// Something to train, by itself: nothing else is needed but the data set.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Number of the point that the job gives.
    pub id: usize,
    /// The network to train, or to grow.
    pub desc: ModelDesc,
    /// Its weights and running statistics; empty to start afresh.
    pub weights: Vec<NamedTensor>,
    /// What to do.
    pub work: Work,
}

/// What a job does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Trains the network.
    Train(Box<settings::Training>),
    /// Grows it by a node in every cell, trains that (`search`) to choose the node's ops, and trains what comes out (`post`).
    Grow {
        /// Training with the candidates.
        search: Box<settings::Training>,
        /// Training of what was chosen.
        post: Box<settings::Training>,
        /// How many ops a new node keeps.
        keep: usize,
    },
}

/// What a job gives.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobResult {
    /// Number of the point.
    pub id: usize,
    /// The trained network.
    pub desc: ModelDesc,
    /// Its weights and running statistics.
    pub weights: Vec<NamedTensor>,
    /// What its last training measured.
    pub metrics: Metrics,
    /// Seconds of its trainings' steps.
    pub seconds: f64,
}

/// Runs jobs that do not depend on each other.
pub trait Workers {
    /// Does all jobs and gives their results in the order of the jobs, however they were shared out.
    ///
    /// # Errors
    /// The error of the first job, in that order, that failed.
    fn run(
        &self,
        jobs: Vec<Job>,
        experiment: &Experiment<'_>,
    ) -> Result<Vec<JobResult>, EngineError>;
}

/// Threads of this process. One is the usual choice, since a training alone keeps all cores busy.
#[derive(Clone, Copy, Debug)]
pub struct LocalWorkers {
    /// How many jobs run at once; at least 1.
    pub threads: usize,
}

impl Workers for LocalWorkers {
    fn run(
        &self,
        jobs: Vec<Job>,
        experiment: &Experiment<'_>,
    ) -> Result<Vec<JobResult>, EngineError> {
        if self.threads <= 1 || jobs.len() <= 1 {
            return jobs
                .into_iter()
                .map(|job| run_job(job, experiment))
                .collect();
        }
        let n = jobs.len();
        let workers = self.threads.min(n);
        // Together the workers use the threads that the caller computes on, and no others.
        let share = (rayon::current_num_threads() / workers).max(1);
        let pools: Vec<rayon::ThreadPool> = (0..workers)
            .map(|_| rayon::ThreadPoolBuilder::new().num_threads(share).build())
            .collect::<Result<_, _>>()
            .map_err(|e| {
                EngineError::Internal(format!("cannot start the threads of the workers: {e}"))
            })?;
        let queue = Mutex::new(jobs.into_iter().enumerate());
        let results: Mutex<Vec<Option<Result<JobResult, EngineError>>>> =
            Mutex::new((0..n).map(|_| None).collect());
        std::thread::scope(|scope| {
            for pool in &pools {
                let work = || {
                    // A poisoned lock only means that another worker panicked, which the scope passes on.
                    let next = || match queue.lock() {
                        Ok(mut queue) => queue.next(),
                        Err(poisoned) => poisoned.into_inner().next(),
                    };
                    while let Some((place, job)) = next() {
                        let result = Some(run_job(job, experiment));
                        if matches!(result, Some(Err(_))) {
                            // Nobody needs what is still waiting.
                            while next().is_some() {}
                        }
                        match results.lock() {
                            Ok(mut results) => results[place] = result,
                            Err(poisoned) => poisoned.into_inner()[place] = result,
                        }
                    }
                };
                scope.spawn(move || pool.install(work));
            }
        });
        let results = match results.into_inner() {
            Ok(results) => results,
            Err(poisoned) => poisoned.into_inner(),
        };
        results.into_iter().flatten().collect()
    }
}

/// Does one job. Its draws depend on the run's seed and the job's number alone.
///
/// # Errors
/// As [`ArchTrainer::fit`], and as compiling a description.
pub fn run_job(job: Job, experiment: &Experiment<'_>) -> Result<JobResult, EngineError> {
    experiment.run.check_stop()?;
    let Job {
        id,
        desc,
        weights,
        work,
    } = job;
    let bench = Bench { experiment, id };
    let mut seconds = 0.0;
    let (training, desc, weights) = match work {
        Work::Train(training) => (training, desc, weights),
        Work::Grow { search, post, keep } => {
            let search_desc = &experiment.settings.nas.search.model_desc;
            let candidates = candidates(search_desc, experiment.components.ops.catalog());
            let mut model = bench.compile(&grown(&desc, &candidates, keep)?)?;
            inherit(&mut model, &weights)?;
            let mut hooks: Vec<Box<dyn TrainerHooks>> =
                vec![Box::new(SingleLevel::new(WHO, &search.trainer)?)];
            seconds += time(&bench.train(&mut model, &search, "grow", &mut hooks)?);
            (post, settled(&model)?, model.named_state())
        }
    };
    let mut model = bench.compile(&desc)?;
    inherit(&mut model, &weights)?;
    let metrics = bench.train(&mut model, &training, "train", &mut [])?;
    seconds += time(&metrics);
    Ok(JobResult {
        id,
        desc,
        weights: model.named_state(),
        metrics,
        seconds,
    })
}

/// Seconds of all steps of a training and of its validation. A break between two of them does not count.
fn time(metrics: &Metrics) -> f64 {
    let epochs = metrics.run_metrics.epochs_metrics.iter();
    epochs
        .map(|e| e.step_time.sum + e.val_metrics.as_deref().map_or(0.0, time))
        .sum()
}

/// Where a job is done.
struct Bench<'a> {
    experiment: &'a Experiment<'a>,
    id: usize,
}

impl Bench<'_> {
    fn compile(&self, desc: &ModelDesc) -> Result<Model, EngineError> {
        let key = Key::new(self.experiment.run.seed).with("petridish weights");
        let options = ModelOptions {
            compute: self.experiment.compute.clone(),
            seed: key.with(self.id).rng().next_u64(),
            relaxation: std::sync::Arc::new(Raw),
            alpha_init: ALPHA_INIT,
        };
        Model::compile(desc, &self.experiment.components.ops, &options)
    }

    fn train(
        &self,
        model: &mut Model,
        training: &settings::Training,
        phase: &str,
        hooks: &mut [Box<dyn TrainerHooks>],
    ) -> Result<Metrics, EngineError> {
        // A place of its own for each, whatever the titles in the settings are.
        let path = LogPath::new("petridish").join(self.id).join(phase);
        let phase = format!("petridish {} {phase}", self.id);
        let loaders = self.experiment.loaders(&training.loader, &phase)?;
        let fitted = ArchTrainer::new(&training.trainer, self.experiment.run, &path, hooks)
            .fit(model, &loaders)?;
        Ok(fitted.metrics)
    }
}

/// α ~ U(−0.1, 0.1).
pub(super) const ALPHA_INIT: AlphaInit = AlphaInit::Uniform {
    low: -0.1,
    high: 0.1,
};
