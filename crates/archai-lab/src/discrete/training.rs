//! The evaluation of a member by training it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use archai_algos::Algorithm;
use archai_data::{DataError, Loaders};
use archai_engine::checkpoint::{CheckpointStore, Checkpoints, Snapshot};
use archai_engine::experiment::{Experiment, ExperimentRunner};
use archai_engine::metrics::Metrics;
use archai_engine::model::{Model, ModelOptions};
use archai_engine::parts::Parts;
use archai_engine::run::{Run, StopFlag};
use archai_engine::trainer::ArchTrainer;
use archai_engine::{Components, Compute, EngineError};
use archai_search::space::{RecipeValue, SearchSpace, Space};
use archai_search::{
    CostClass, Direction, EvalError, Evaluator, Job as SearchJob, Quantity, Reports, Stop, Values,
    Verdict,
};
use archai_spec::config::ConfigTree;
use archai_spec::desc::{ModelDesc, OpDesc, Shape};
use archai_spec::event::{Event, EventSink, LogPath};
use archai_spec::rng::Key;
use archai_spec::settings::{self, Sampler, Settings, TemplateUse};
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde_json::Value;

use super::dir::FittedTo;
use crate::data::Data;
use crate::error::LabError;
use crate::lab::Lab;
use crate::phase::Phase;
use crate::plan::Job;
use crate::request::{Request, RunMode};

/// The quantity: share of the validation images that are classified rightly after the last epoch, from 0 to 1.
pub const ACCURACY: &str = "accuracy";
/// The quantity: mean loss on the validation images after the last epoch, in nats for cross-entropy.
pub const LOSS: &str = "loss";
/// The quantity: seconds of the steps of the training, measuring left out.
pub const TRAIN_TIME: &str = "train_time";

/// The settings of trainings in a search, below those of the user.
const TRIALS_CONFIG: &str = "archai:trials.yaml";
/// The same in toy mode.
const TRIALS_TOY_CONFIG: &str = "archai:trials_toy.yaml";

/// Name of the training in checkpoints.
const SCOPE: &str = "trial";
/// Folder of a trial's checkpoints.
const CHECKPOINTS: &str = "checkpoints";
/// A trial's description.
const MODEL_FILE: &str = "model.yaml";
/// Random members by which it is seen whether a space can be trained.
const SAMPLES: u64 = 64;

/// Finds out by training what a member reaches: with the settings of an evaluation, on a part of the training data, measured on
/// the validation share of them that is the same for all members. Test data are never read.
///
/// A trial is trained in its own folder. It keeps a checkpoint at the end of each epoch, so that a training that waits at a rung,
/// was stopped or was killed goes on to the same bits. Once it is trained to its last epoch the checkpoints go: the numbers of
/// the network are not kept, and `archai train` trains what was found on all of the data.
///
/// Each call computes in a pool of threads of its own, so that several workers share the processor's cores.
pub struct Training {
    lab: Lab,
    request: Request,
    algorithm: Arc<Algorithm>,
    tree: ConfigTree,
    settings: Settings,
    compute: Compute,
    components: Components,
    loaders: Loaders,
    quantities: Vec<Quantity>,
    identity: BTreeMap<String, Value>,
    data: Data,
    warnings: Vec<String>,
    logdir: PathBuf,
    threads: usize,
    pools: Mutex<Vec<ThreadPool>>,
}

impl Training {
    /// The training that a request describes. Of its algorithm only the settings of the evaluation count; what it says of
    /// descriptions, searches and weights does not. `threads` is how many threads compute one training. All data that will be
    /// used are read and checked.
    ///
    /// # Errors
    /// Settings that cannot be used, data that are not there, a validation share that is empty.
    pub fn new(lab: &Lab, request: &Request, threads: usize) -> Result<Training, LabError> {
        let mut request = request.clone();
        request.search = false;
        request.eval = true;
        let mut config = vec![TRIALS_CONFIG.to_string()];
        if request.mode == RunMode::Toy {
            config.push(TRIALS_TOY_CONFIG.to_string());
        }
        // The user's come last and so count.
        config.extend(request.config.take());
        request.config = Some(config.join(";"));
        let plan = lab.plan(&request)?;
        let job = match plan.jobs.as_slice() {
            [job] => job,
            jobs => {
                return Err(LabError::request(format!(
                    "a search trains with the settings of one algorithm on one data set, not with {}; name one of each",
                    jobs.len()
                )));
            }
        };
        check(&job.eval.nas.eval)?;
        let data = plan.data(job, Phase::Eval)?;
        let (mut components, runner) = (lab.components().clone(), job.runner()?);
        runner.register_ops(&mut components.ops)?;
        let settings = job.eval.clone();
        let eval = &settings.nas.eval;
        let loaders = Loaders::new(
            &eval.loader,
            &components.formats,
            &components.transforms,
            settings.common.seed,
            SCOPE,
        )?;
        let measured = loaders.valid.as_ref().map_or(0, |valid| valid.n_images());
        let training = Training {
            algorithm: lab
                .algorithms()
                .get(job.algo.name())
                .map_err(|e| LabError::request(e.to_string()))?
                .clone(),
            tree: job.own.clone(),
            compute: job.compute.clone(),
            quantities: quantities(measured),
            identity: identity(job)?,
            warnings: job.without_effect.clone(),
            logdir: job.logdir().to_path_buf(),
            lab: lab.clone(),
            components,
            loaders,
            settings: settings.clone(),
            data,
            threads: threads.max(1),
            pools: Mutex::default(),
            request,
        };
        Ok(training)
    }

    /// The data set that is trained on.
    pub fn dataset(&self) -> &settings::Dataset {
        &self.settings.nas.eval.loader.dataset
    }

    /// The images and classes of the data set, for a space that is to be fitted to them.
    pub fn fits(&self) -> FittedTo {
        FittedTo {
            input: image(self.dataset()),
            classes: self.dataset().n_classes,
        }
    }

    /// Images that networks learn from, and images on which their accuracy is measured.
    pub fn images(&self) -> [usize; 2] {
        let valid = self.loaders.valid.as_ref();
        [
            self.loaders.train.n_images(),
            valid.map_or(0, |valid| valid.n_images()),
        ]
    }

    /// The epochs of a whole training.
    pub fn epochs(&self) -> u32 {
        u32::try_from(self.settings.nas.eval.trainer.epochs).unwrap_or(u32::MAX)
    }

    /// The seed of the configuration.
    pub fn seed(&self) -> u64 {
        self.settings.common.seed
    }

    /// The folder of run directories, as the configuration says.
    pub fn logdir(&self) -> &Path {
        &self.logdir
    }

    /// The settings that change results, by dotted names.
    pub fn identity(&self) -> &BTreeMap<String, Value> {
        &self.identity
    }

    /// What the data hold.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Sentences about settings that were given and that nothing reads.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Checks that the members of a space can be trained here: that they take the images and classes of the data set, that every
    /// op that occurs in a few hundred of them (its extreme members, their neighbours, random ones) has arithmetic, and that the
    /// settings which members choose are settings.
    ///
    /// # Errors
    /// What does not fit, with the id of a member that shows it.
    pub fn check_space(&self, space: &Space) -> Result<(), LabError> {
        let (dataset, desc) = (self.dataset(), space.desc());
        let image = image(dataset);
        let same =
            |a: Shape, b: Shape| (a.channels, a.height, a.width) == (b.channels, b.height, b.width);
        if !same(image, desc.input) || dataset.n_classes != desc.classes {
            let Shape {
                channels,
                height,
                width,
                ..
            } = image;
            let classes = dataset.n_classes;
            return Err(LabError::request(format!(
                "the networks of `{}` take {} and tell {} classes, but the images of {} are {image} of {classes} classes; write \
                 `input: {{channels: {channels}, size: [{height}, {width}]}}` and `classes: {classes}` into the space, or name \
                 other data (--datasets, --data)",
                desc.name, desc.input, desc.classes, dataset.name
            )));
        }
        let report = space.report();
        let mut members = vec![
            report.smallest.clone(),
            report.largest.clone(),
            report.cheapest.clone(),
            report.dearest.clone(),
        ];
        members.extend(space.neighbours(&report.smallest));
        members.extend(space.neighbours(&report.largest));
        let key = Key::new(0).with("can it be trained");
        members.extend((0..SAMPLES).filter_map(|i| space.sample(key.with(i)).ok()));
        let (mut seen, mut settings) = (HashSet::new(), HashSet::new());
        for member in &members {
            let told = |e: &dyn std::fmt::Display| {
                LabError::request(format!(
                    "`{}` has networks that cannot be trained here: {e}; one of them is {}",
                    desc.name,
                    space.id(member)
                ))
            };
            let network = space.describe(member).map_err(|e| told(&e))?;
            let kinds = op_kinds(&network);
            if !kinds.is_subset(&seen) {
                seen.extend(kinds);
                self.compile(&network).map_err(|e| told(&e))?;
            }
            let recipe = space.recipe(member).map_err(|e| told(&e))?;
            if settings.insert(format!("{recipe:?}")) && settings.len() <= SAMPLES as usize {
                self.settings_of(&recipe).map_err(|e| told(&e))?;
            }
        }
        Ok(())
    }

    /// Compiles a network and drops it.
    fn compile(&self, desc: &ModelDesc) -> Result<(), EngineError> {
        let runner = self.algorithm.runner(&self.tree);
        let runner = runner.map_err(|e| EngineError::setting("configuration", e.to_string()))?;
        let options = ModelOptions {
            compute: self.compute.clone(),
            seed: 0,
            relaxation: runner.relaxation(),
            alpha_init: runner.alpha_init(),
        };
        Model::compile(desc, &self.components.ops, &options).map(drop)
    }

    /// The settings with those that a member chooses.
    fn settings_of(
        &self,
        recipe: &BTreeMap<String, RecipeValue>,
    ) -> Result<Cow<'_, Settings>, LabError> {
        if recipe.is_empty() {
            return Ok(Cow::Borrowed(&self.settings));
        }
        let mut request = self.request.clone();
        let chosen = recipe
            .iter()
            .map(|(key, value)| Ok(format!("nas.eval.{key}={}", serde_json::to_string(value)?)));
        let chosen: Result<Vec<String>, serde_json::Error> = chosen.collect();
        request.overrides.extend(chosen.map_err(LabError::caused)?);
        let plan = self.lab.plan(&request)?;
        let job = plan
            .jobs
            .first()
            .ok_or_else(|| LabError::failure("there are no settings of the training"))?;
        check(&job.eval.nas.eval)?;
        if job.eval.nas.eval.trainer.epochs != self.settings.nas.eval.trainer.epochs {
            return Err(LabError::request(
                "the recipe chooses `trainer.epochs`, by which trainings are compared; leave it out, and give --epochs",
            ));
        }
        Ok(Cow::Owned(job.eval.clone()))
    }

    /// Refuses a network that the machine has no memory for: running out of it would end the program, and the search with it. What
    /// a training takes at least are its numbers with their gradients and momenta, and the activations of one batch; where the
    /// host does not say what it has, nothing is refused.
    fn check_memory(&self, desc: &ModelDesc, eval: &settings::Eval) -> Result<(), EvalError> {
        let Some(available) = self.lab.host().resources.available_memory() else {
            return Ok(());
        };
        let broken = |e: String| EvalError::network(e);
        let catalog = self.components.ops.catalog();
        let graph = desc.lower(catalog).map_err(|e| broken(e.to_string()))?;
        let cost = desc.cost(catalog).map_err(|e| broken(e.to_string()))?;
        let chunk = eval
            .loader
            .train_batch
            .div_ceil(eval.trainer.batch_chunks.max(1));
        let of_batch = graph.memory(4).peak.saturating_mul(chunk as u64);
        let needed = of_batch.saturating_add(cost.total(false).params.saturating_mul(12));
        match needed <= available {
            true => Ok(()),
            false => Err(EvalError::network(format!(
                "its training takes at least {needed} bytes of memory, and {available} are available; a smaller train_batch, or a \
                 limit on activation_memory, keeps such networks out"
            ))),
        }
    }

    fn pools(&self) -> MutexGuard<'_, Vec<ThreadPool>> {
        // A pool is in the list or it is not.
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Threads of one training.
    fn pool(&self) -> Result<ThreadPool, EvalError> {
        let kept = self.pools().pop();
        match kept {
            Some(pool) => Ok(pool),
            None => ThreadPoolBuilder::new()
                .num_threads(self.threads)
                .build()
                .map_err(|e| EvalError::machine(format!("cannot start the threads: {e}"))),
        }
    }

    /// The batches of a trial. The validation share depends on the seed of the search alone; the order of the batches and what
    /// happens to images is the trial's own.
    fn loaders(&self, eval: &settings::Eval, seed: u64) -> Result<Loaders, DataError> {
        let base = &self.settings.nas.eval.loader;
        let mut loaders = match eval.loader == *base {
            // Files are read once for all trials.
            true => self.loaders.clone(),
            false => Loaders::new(
                &eval.loader,
                &self.components.formats,
                &self.components.transforms,
                self.settings.common.seed,
                SCOPE,
            )?,
        };
        let key = Key::new(seed).with("train");
        let train = match eval.loader.sampler {
            Sampler::Shuffled => loaders.train.shuffled(key),
            Sampler::Balanced => loaders.train.balanced(key),
        };
        let most = |workers: usize| workers.min(self.threads);
        loaders.train = train.with_workers(most(eval.loader.train_workers));
        loaders.valid = loaders
            .valid
            .map(|valid| valid.with_workers(most(eval.loader.test_workers)));
        Ok(loaders)
    }

    fn train(&self, job: &SearchJob<'_>, reports: &mut dyn Reports) -> Result<Values, EvalError> {
        let Some(folder) = job.folder else {
            return Err(EvalError::setup(
                "a training needs a folder for its checkpoints, and the search has none",
            ));
        };
        let (desc, recipe) = (job.describe()?, job.recipe()?);
        let settings = self
            .settings_of(&recipe)
            .map_err(|e| match recipe.is_empty() {
                true => EvalError::setup(e.to_string()),
                false => EvalError::network(e.to_string()),
            })?;
        let failed = |error: EngineError| failure(&error, !recipe.is_empty());
        let runner = self.algorithm.runner(&self.tree);
        let runner = runner.map_err(|e| EvalError::setup(e.to_string()))?;
        self.check_memory(&desc, &settings.nas.eval)?;
        let (flag, clock) = (StopFlag::new(), self.lab.host().clock.as_ref());
        let listener = Listener {
            stop: job.stop,
            flag: flag.clone(),
        };
        // 53 bits, as other evaluators get.
        let seed = job.key.rng().next_u64() >> 11;
        let mark = Box::new(|| Ok(Value::Null));
        let policy = settings.common.checkpoint;
        let place = folder.join(CHECKPOINTS);
        let opened = CheckpointStore::open(&place, policy, clock, mark);
        let (store, _) = opened.map_err(failed)?;
        let watched = Watched {
            store,
            job,
            reports: Mutex::new(reports),
            ended: Mutex::new(None),
        };
        let run = Run::new(&listener, clock, &flag, seed).with_checkpoints(&watched);
        let experiment = Experiment {
            settings: &settings,
            components: self.components.clone(),
            compute: self.compute.clone(),
            run,
            dir: folder,
        };
        let outcome = self.fit(&experiment, runner.as_ref(), &desc, seed);
        let ended = watched.ended.lock();
        let ended = ended.unwrap_or_else(PoisonError::into_inner).take();
        match (outcome, ended) {
            (_, Some(values)) => {
                if job.epochs.1 >= self.epochs() {
                    // It has come to its end: nothing will go on from here. What stays only takes room.
                    let _ = std::fs::remove_dir_all(&place);
                }
                Ok(values)
            }
            (Err(EngineError::Stopped), None) => {
                Err(EvalError::machine("the search was asked to end"))
            }
            (Err(error), None) => Err(failed(error)),
            (Ok(()), None) => Err(EvalError::setup(format!(
                "the training ended before epoch {} was measured",
                job.epochs.1
            ))),
        }
    }

    fn fit(
        &self,
        experiment: &Experiment<'_>,
        runner: &dyn ExperimentRunner,
        desc: &ModelDesc,
        seed: u64,
    ) -> Result<(), EngineError> {
        let eval = &experiment.settings.nas.eval;
        let space = experiment.space(runner)?;
        let desc = experiment.evaluated(space.builder(), eval, desc)?;
        let text = desc
            .to_yaml()
            .map_err(|e| EngineError::Shape(e.to_string()))?;
        let path = experiment.dir.join(MODEL_FILE);
        experiment
            .run
            .write(&path, |out| std::io::Write::write_all(out, text.as_bytes()))?;
        let mut model = experiment.compile(&desc, runner)?;
        let parts = Parts::new(eval)?;
        model.freeze(&parts)?;
        let loaders = self.loaders(eval, seed)?;
        let parent = LogPath::new(SCOPE);
        let mut trainer = ArchTrainer::new(&eval.trainer, experiment.run, &parent, &mut [])
            .with_parts(&parts, &model);
        let mut state = trainer.start()?;
        trainer.fit_from(&mut state, &mut model, &loaders)
    }
}

impl Evaluator for Training {
    fn quantities(&self) -> &[Quantity] {
        &self.quantities
    }

    fn evaluate(
        &self,
        job: &SearchJob<'_>,
        reports: &mut dyn Reports,
    ) -> Result<Values, EvalError> {
        let pool = self.pool()?;
        let found = pool.install(|| self.train(job, reports));
        self.pools().push(pool);
        found
    }
}

/// What a training finds out. Two measurements of accuracy on n images differ by chance: by at most 0.5/√n standard deviations
/// (a share of one half).
fn quantities(measured: usize) -> Vec<Quantity> {
    let noise = 0.5 / (measured.max(1) as f64).sqrt();
    vec![
        Quantity::new(ACCURACY, Direction::Maximise).noise(noise),
        Quantity::new(LOSS, Direction::Minimise),
        Quantity::new(TRAIN_TIME, Direction::Minimise)
            .unit("s")
            .class(CostClass::Expensive),
    ]
}

/// The seed and the folder of run directories that a request's configuration says, for searches that train nothing.
///
/// # Errors
/// Settings that cannot be used.
pub fn surroundings(lab: &Lab, request: &Request) -> Result<(u64, PathBuf), LabError> {
    let request = Request {
        search: false,
        eval: true,
        ..request.clone()
    };
    let plan = lab.plan(&request)?;
    let job = plan.jobs.first();
    let job = job.ok_or_else(|| LabError::failure("the request has no run"))?;
    Ok((job.eval.common.seed, job.logdir().to_path_buf()))
}

/// What of the settings makes trainings comparable and their results those of validation data.
fn check(eval: &settings::Eval) -> Result<(), LabError> {
    let wrong = |text: &str| Err(LabError::request(text));
    if eval.template != TemplateUse::AsIs {
        return wrong(
            "nas.eval.template: a search trains its networks as they are (as_is); leave the setting out",
        );
    }
    if eval.init_weights.is_some() {
        return wrong(
            "nas.eval.init_weights: each network of a search is trained from scratch; leave the setting out",
        );
    }
    if eval.loader.load_test || eval.test_every_epoch {
        return wrong(
            "nas.eval.loader.load_test and nas.eval.test_every_epoch: a search never sees test data; leave the settings out",
        );
    }
    if eval.loader.val_ratio <= 0.0 {
        return wrong(
            "nas.eval.loader.val_ratio: the accuracy is measured on a share of the training data, which must be above 0; 0.2 is \
             usual",
        );
    }
    if eval.trainer.epochs == 0 {
        return wrong("nas.eval.trainer.epochs: a training needs at least one epoch");
    }
    if eval.trainer.validation.freq != 1 {
        return wrong(
            "nas.eval.trainer.validation.freq: a search measures each network after every epoch; leave the setting out",
        );
    }
    Ok(())
}

/// What tells trainings apart.
fn identity(job: &Job<'_>) -> Result<BTreeMap<String, Value>, LabError> {
    let mut all = job.digested()?;
    all.retain(|key, _| key.starts_with("nas.eval.") || key == "common.seed");
    all.insert("engine".into(), job.engine.to_string().into());
    all.insert("device".into(), job.device.clone().into());
    Ok(all)
}

fn image(dataset: &settings::Dataset) -> Shape {
    let [height, width] = dataset.size;
    Shape::new(dataset.channels, height, width)
}

/// The kinds of ops in a network: names and parameters, channels and strides left out.
fn op_kinds(desc: &ModelDesc) -> HashSet<String> {
    let cells = desc.cells.iter().flat_map(|cell| {
        let edges = cell.nodes.iter().flat_map(|node| &node.edges);
        let ops = edges.map(|edge| &edge.op);
        ops.chain(&cell.stems).chain([&cell.post_op])
    });
    let stems = desc.stems.iter().map(|stem| &stem.op);
    let all = cells.chain(stems).chain([&desc.pool, &desc.logits]);
    let kind = |op: &OpDesc| {
        let params: BTreeSet<String> = op
            .params
            .iter()
            .map(|(name, value)| format!("{name}={value:?}"))
            .collect();
        format!("{} {params:?}", op.name)
    };
    all.map(kind).collect()
}

/// Whose fault an error is. `chosen`: the member chooses settings, so that wrong ones are its own.
fn failure(error: &EngineError, chosen: bool) -> EvalError {
    let text = error.to_string();
    match error {
        EngineError::NonFinite { .. }
        | EngineError::Desc(_)
        | EngineError::Shape(_)
        | EngineError::Batch(_)
        | EngineError::Internal(_) => EvalError::network(text),
        EngineError::Setting { .. } if chosen => EvalError::network(text),
        EngineError::Setting { .. }
        | EngineError::DuplicateOp(_)
        | EngineError::Data(
            DataError::Absent { .. } | DataError::Malformed { .. } | DataError::Setting { .. },
        ) => EvalError::setup(text),
        // The disk, the data's files, the log, checkpoints; and what later versions of the engine report besides.
        _ => EvalError::machine(text),
    }
}

/// Hears what happens in a training: nothing is kept, but each step asks whether the search is to end.
struct Listener<'a> {
    stop: &'a Stop,
    flag: StopFlag,
}

impl EventSink for Listener<'_> {
    fn emit(&self, _event: Event) -> std::io::Result<()> {
        if self.stop.is_requested() {
            self.flag.raise();
        }
        Ok(())
    }
}

/// The checkpoints of a trial. At the end of each epoch, once the state is safe, the values are reported; at the end of the job,
/// or where the search says so, the training ends.
struct Watched<'a, 'b> {
    store: CheckpointStore<'a>,
    job: &'a SearchJob<'a>,
    reports: Mutex<&'b mut dyn Reports>,
    /// The values with which the job ended.
    ended: Mutex<Option<Values>>,
}

impl Watched<'_, '_> {
    fn end(&self, values: Values) -> EngineError {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(values);
        EngineError::Stopped
    }

    /// What becomes of the training after so many epochs, of which the state says what was measured.
    fn after(&self, epochs: u32, state: &Snapshot) -> Result<(), EngineError> {
        let (from, to) = self.job.epochs;
        if epochs <= from {
            return Ok(());
        }
        let metrics: Metrics = state.get("metrics")?;
        let measured = values(&metrics, epochs.min(to))?;
        if epochs >= to {
            return Err(self.end(measured));
        }
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        match reports.report(epochs, &measured) {
            Verdict::Go => Ok(()),
            Verdict::Pause | Verdict::Stop => Err(self.end(measured)),
        }
    }
}

impl Checkpoints for Watched<'_, '_> {
    fn latest(&self, scope: &str) -> Result<Option<(Snapshot, bool)>, EngineError> {
        let found = self.store.latest(scope)?;
        if let Some((state, _)) = &found {
            // What was interrupted between a checkpoint and its report reports again, and hears the same answer.
            self.after(state.get("epoch")?, state)?;
        }
        Ok(found)
    }

    fn is_due(&self, steps: usize) -> bool {
        self.store.is_due(steps)
    }

    fn keep(&self, scope: &str, state: &Snapshot, finished: bool) -> Result<(), EngineError> {
        self.store.keep(scope, state, finished)?;
        match state.get::<usize>("step")? {
            0 => self.after(state.get("epoch")?, state),
            _ => Ok(()),
        }
    }
}

/// What was measured after so many epochs.
fn values(metrics: &Metrics, epochs: u32) -> Result<Values, EngineError> {
    let done = epochs as usize;
    let all = &metrics.run_metrics.epochs_metrics;
    let missing = || EngineError::Internal(format!("nothing was measured after epoch {epochs}"));
    let last = done.checked_sub(1).and_then(|i| all.get(i));
    let valid = last.and_then(|epoch| epoch.val_metrics.as_ref());
    let measured = valid.and_then(|valid| valid.last()).ok_or_else(missing)?;
    let time: f64 = all.iter().take(done).map(|epoch| epoch.step_time.sum).sum();
    let found = [
        (ACCURACY, measured.top1.avg.ok_or_else(missing)?),
        (LOSS, measured.loss.avg.ok_or_else(missing)?),
        (TRAIN_TIME, time),
    ];
    Ok(found
        .into_iter()
        .map(|(name, value)| (name.to_string(), value))
        .collect())
}
