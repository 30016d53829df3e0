//! What a lab is asked to do.

use std::path::PathBuf;

use archai_engine::Engine;
use archai_engine::device::USUAL_DEVICE;

/// How much a run does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunMode {
    /// Small networks on the embedded images, long enough to see that they learn: under half a minute for `darts`.
    #[default]
    Toy,
    /// A handful of steps per phase, to see that everything works: what tests take.
    Smoke,
    /// The published settings.
    Full,
}

impl RunMode {
    /// The data set of this mode, where none is named.
    pub fn dataset(self) -> &'static str {
        match self {
            RunMode::Toy | RunMode::Smoke => "fashion_mnist_mini",
            RunMode::Full => "cifar10",
        }
    }

    /// The file that is laid over the published settings.
    pub fn overlay(self) -> Option<&'static str> {
        match self {
            RunMode::Toy => Some("archai:toy.yaml"),
            RunMode::Smoke => Some("archai:smoke.yaml"),
            RunMode::Full => None,
        }
    }
}

/// What to run: for each data set and each algorithm a search and an evaluation.
///
/// ```
/// use archai_lab::{RunMode, Request};
/// let request = Request {
///     seed: Some(3),
///     mode: RunMode::Full,
///     ..Request::new("darts")
/// };
/// assert_eq!(request.arguments()[..2], ["run", "--algos=darts"]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Names of algorithms.
    pub algorithms: Vec<String>,
    /// Data sets: shipped names, or paths of YAML files. None takes the one of the mode.
    pub datasets: Option<Vec<String>>,
    /// Evaluates on another data set than the search.
    pub eval_dataset: Option<String>,
    /// How much is done: by default as much as shows within half a minute that networks learn.
    pub mode: RunMode,
    /// A space other than the algorithm's own, by name.
    pub space: Option<String>,
    /// Accuracies of all NAS-Bench-201 cells (CSV, plain or gzip), in which the found cell is looked up.
    pub table: Option<PathBuf>,
    /// Whether to search. Otherwise what an earlier search found, or what `nas.eval.final_desc_filename` names, is evaluated.
    pub search: bool,
    /// Whether to evaluate.
    pub eval: bool,
    /// Last part of the name of the run directories.
    pub exp_prefix: String,
    /// Folder of the run directories; none takes `common.logdir`.
    pub logdir: Option<String>,
    /// Configuration files to lay over the defaults, separated by semicolons.
    pub config: Option<String>,
    /// Configuration files to use instead of all defaults, separated by semicolons.
    pub config_only: Option<String>,
    /// Single settings, as `nas.eval.trainer.epochs=200`, or key and value as two texts.
    pub overrides: Vec<String>,
    /// Where to compute: a device of `archai devices`.
    pub device: String,
    /// What computes.
    pub engine: Engine,
    /// Threads to compute with, on which no result depends; none takes all processors.
    pub threads: Option<usize>,
    /// Seed of all random draws; none takes `common.seed`.
    pub seed: Option<u64>,
    /// One run for each of these seeds, whose names end with `_s1`, `_s2`, … Empty for one run with the one seed.
    pub seeds: Vec<u64>,
    /// Starts over instead of resuming what was interrupted; older runs are kept under a number.
    pub fresh: bool,
    /// Resumes a run although settings have changed, where the change cannot matter for what is done so far.
    pub allow_changed: bool,
    /// Where figures go besides the log, as `common.track.to` has it: `tensorboard`, `mlflow=URL`. None leaves it to the
    /// configuration. It is no part of what a run is, so that a run may be resumed with other trackers.
    pub track: Option<Vec<String>>,
    /// Arguments of the command that makes this request, without the program's name; none takes [`Request::arguments`].
    /// `run.json` keeps them, so that the run can be resumed from its directory alone.
    pub made_by: Option<Vec<String>>,
}

impl Request {
    /// One algorithm in toy mode, with everything as the command line has it by default.
    pub fn new(algorithm: impl Into<String>) -> Self {
        Request {
            algorithms: vec![algorithm.into()],
            datasets: None,
            eval_dataset: None,
            mode: RunMode::default(),
            space: None,
            table: None,
            search: true,
            eval: true,
            exp_prefix: "throwaway".to_string(),
            logdir: None,
            config: None,
            config_only: None,
            overrides: Vec::new(),
            device: USUAL_DEVICE.to_string(),
            engine: Engine::default(),
            threads: None,
            seed: None,
            seeds: Vec::new(),
            fresh: false,
            allow_changed: false,
            track: None,
            made_by: None,
        }
    }

    /// The command line that makes this request, without the program's name and without what only says how to treat older
    /// runs ([`Request::fresh`], [`Request::allow_changed`]) or where figures go besides the log ([`Request::track`]).
    pub fn arguments(&self) -> Vec<String> {
        if let Some(arguments) = &self.made_by {
            return arguments.clone();
        }
        let mut all = vec!["run".to_string()];
        let mut flag = |name: &str, value: Option<String>| {
            all.extend(value.map(|value| format!("--{name}={value}")));
        };
        let on = |on: bool| on.then(|| "true".to_string());
        flag("algos", Some(self.algorithms.join(",")));
        flag("datasets", self.datasets.as_ref().map(|d| d.join(",")));
        flag("eval-dataset", self.eval_dataset.clone());
        flag("full", on(self.mode == RunMode::Full));
        flag("smoke", on(self.mode == RunMode::Smoke));
        flag("space", self.space.clone());
        flag(
            "table",
            self.table.as_ref().map(|t| t.display().to_string()),
        );
        flag("no-search", on(!self.search));
        flag("no-eval", on(!self.eval));
        flag("exp-prefix", Some(self.exp_prefix.clone()));
        flag("logdir", self.logdir.clone());
        flag("config", self.config.clone());
        flag("config-only", self.config_only.clone());
        let other_device = self.device != USUAL_DEVICE;
        flag("device", other_device.then(|| self.device.clone()));
        flag("engine", Some(self.engine.to_string()));
        flag("threads", self.threads.map(|n| n.to_string()));
        flag("seed", self.seed.map(|n| n.to_string()));
        let seeds: Vec<String> = self.seeds.iter().map(u64::to_string).collect();
        flag("seeds", (!seeds.is_empty()).then(|| seeds.join(",")));
        all.extend(self.overrides.iter().cloned());
        all
    }
}
