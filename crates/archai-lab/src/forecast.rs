//! What a plan will do, found out before it does it: data, networks, memory, time, files and disk. Nothing is written.

use std::path::{Path, PathBuf};

use archai_data::Loaders;
use archai_engine::ahead::{Ahead, PlannedTraining, PlannedTrainings};
use archai_engine::evaluater::best_path;
use archai_engine::experiment::{ExperimentRunner, space_of};
use archai_engine::files::FOUND_DRAWING;
use archai_engine::preview::{self, time_step};
use archai_engine::{Components, EngineError, export};
use archai_spec::desc::{Cost, ModelDesc, OpCatalog};
use archai_spec::settings::{self, OptimizerKind, Settings, Trainer};
use archai_spec::spaces::Space;

use crate::error::LabError;
use crate::phase::Phase;
use crate::plan::{Job, Plan};
use crate::rundir::{
    CHECKPOINTS, CONFIG_FILE, FOUND_DESC, RECORD_FILE, RunDir, STARTED_FILE, SUMMARY_FILE,
};

/// Bytes of a number in a file.
const NUMBER: u64 = 4;
/// What logs, descriptions, drawings and records take in a run of moderate length.
const SMALL_FILES: u64 = 2 << 20;
/// A pass that only measures takes about this share of the time of a training step on as many images.
const MEASURING: f64 = 1.0 / 3.0;

/// What one algorithm on one data set will do.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// Algorithm and data sets, in words.
    pub title: String,
    /// The phases, in order.
    pub phases: Vec<PhaseForecast>,
    /// Bytes that the files of all phases take at most, about.
    pub disk: u64,
    /// Bytes that are free where they are written, if the host knows.
    pub free_disk: Option<u64>,
    /// Bytes of memory that are available, if the host knows.
    pub memory: Option<u64>,
    /// What the user should know before starting it.
    pub warnings: Vec<String>,
}

/// What a phase will do.
#[derive(Clone, Debug, PartialEq)]
pub struct PhaseForecast {
    /// The phase.
    pub phase: Phase,
    /// Its run directory.
    pub dir: PathBuf,
    /// Its data.
    pub data: DataForecast,
    /// The least and the largest network that the phase may give: what a search may find, what an evaluation trains. None if
    /// nothing is known of it.
    pub networks: Option<[NetworkSize; 2]>,
    /// What is trained.
    pub trainings: Vec<TrainingForecast>,
    /// A sentence on trainings that are not known before.
    pub beyond: Option<String>,
    /// Files that will be written, with their sizes where they are large.
    pub files: Vec<FileForecast>,
}

/// The images of a phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataForecast {
    /// Name of the data set.
    pub name: String,
    /// Channels, height and width that the network sees.
    pub shape: [usize; 3],
    /// Classes.
    pub classes: usize,
    /// Images that weights learn from.
    pub train: usize,
    /// Images that are set apart.
    pub valid: usize,
    /// Images that are tested on.
    pub test: usize,
}

/// How large a network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkSize {
    /// Weights and multiply-adds without auxiliary towers.
    pub cost: Cost,
    /// Weights with them.
    pub params_with_aux: u64,
}

/// A training, or several of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingForecast {
    /// What is trained.
    pub what: String,
    /// How many of the kind.
    pub times: usize,
    /// The largest network.
    pub size: NetworkSize,
    /// Epochs.
    pub epochs: usize,
    /// Steps of an epoch.
    pub steps: usize,
    /// Images of a batch.
    pub batch: usize,
    /// Images of the step that was measured; 0 if there is nothing to measure.
    pub measured: usize,
    /// Seconds of a step, in proportion to the measured one.
    pub step_seconds: f64,
    /// Seconds of everything.
    pub seconds: f64,
    /// Bytes of memory that the process takes, in proportion to the measured step, if the host knows.
    pub memory: Option<u64>,
}

/// A file that will be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileForecast {
    /// Its name in the run directory, or its path.
    pub name: String,
    /// About how many bytes it takes; none for those that are small.
    pub bytes: Option<u64>,
}

impl Plan<'_> {
    /// Finds out what the plan will do: opens the data, builds the networks and measures a few steps of each training on images
    /// of noise. Nothing is written.
    ///
    /// # Errors
    /// Whatever [`Plan::execute`] would report before its first step.
    pub fn forecast(&self) -> Result<Vec<Forecast>, LabError> {
        self.in_threads(|| {
            self.check_before()?;
            self.jobs.iter().map(|job| self.forecast_of(job)).collect()
        })?
    }

    fn forecast_of(&self, job: &Job<'_>) -> Result<Forecast, LabError> {
        let host = self.lab.host();
        let needs = Needs::new(self, job)?;
        let start = host.resources.resident();
        let mut phases = Vec::new();
        for phase in Phase::ALL.into_iter().filter(|phase| self.wants(*phase)) {
            phases.push(needs.phase(phase, start)?);
        }
        let (disk, memory) = (needs.disk()?, host.resources.available_memory());
        let mut warnings = job.without_effect.clone();
        for phase in &phases {
            for training in &phase.trainings {
                if let (Some(needed), Some(available)) = (training.memory, memory)
                    && needed > available
                {
                    warnings.push(format!(
                        "the training of the {} takes about {} of memory, and {} is available; a smaller train_batch, or \
                         batch_chunks above 1, takes less",
                        training.what,
                        bytes(needed),
                        bytes(available)
                    ));
                }
            }
        }
        Ok(Forecast {
            title: job.title(),
            phases,
            disk,
            free_disk: host.resources.free_disk(job.logdir()),
            memory,
            warnings,
        })
    }

    /// Checks that there is room for the files of a job.
    ///
    /// # Errors
    /// There is less than they take.
    pub(crate) fn check_disk(&self, job: &Job<'_>) -> Result<(), LabError> {
        let folder = job.logdir();
        let Some(free) = self.lab.host().resources.free_disk(folder) else {
            return Ok(());
        };
        // Of small files only a bound is known, which is no reason to refuse what may fit.
        let needed = Needs::new(self, job)?.large_files()?;
        if needed <= free {
            return Ok(());
        }
        Err(LabError::failure(format!(
            "cannot keep the files of {}: they take {} and more, but only {} is free in `{}`; free some space, choose another folder with \
             common.logdir, or set common.checkpoint.keep to 1",
            job.title(),
            bytes(needed),
            bytes(free),
            folder.display()
        )))
    }
}

/// What the networks of a job are, and what they need.
struct Needs<'a> {
    plan: &'a Plan<'a>,
    job: &'a Job<'a>,
    runner: Box<dyn ExperimentRunner>,
    space: std::sync::Arc<dyn Space>,
    components: Components,
    /// Networks that the search may find, or the description that is given.
    found: Vec<ModelDesc>,
    /// The same as the evaluation trains them, from the smallest to the largest.
    evaluated: Vec<ModelDesc>,
}

impl<'a> Needs<'a> {
    fn new(plan: &'a Plan<'a>, job: &'a Job<'a>) -> Result<Self, LabError> {
        let runner = job.runner()?;
        let mut components = plan.lab.components().clone();
        runner.register_ops(&mut components.ops)?;
        let space = space_of(&components, runner.as_ref(), &job.search.nas.search)?;
        let mut needs = Needs {
            plan,
            job,
            runner,
            space,
            components,
            found: Vec::new(),
            evaluated: Vec::new(),
        };
        needs.found = match plan.search {
            true => needs.runner.preview(&needs.ahead(&job.search))?,
            false => vec![job.given(plan.lab.components())?.1],
        };
        if plan.eval {
            let ahead = needs.ahead(&job.eval);
            let runner = needs.runner.as_ref();
            // One that cannot be scaled is not the one to count.
            let scaled = (needs.found.iter())
                .filter_map(|found| preview::evaluated(&ahead, runner, found).ok());
            let mut scaled: Vec<ModelDesc> = scaled.map(|built| built.desc).collect();
            let catalog = needs.catalog();
            scaled.sort_by_key(|desc| size(desc, catalog).map_or(0, |size| size.cost.params));
            needs.evaluated = scaled;
        }
        Ok(needs)
    }

    fn ahead<'s>(&'s self, settings: &'s Settings) -> Ahead<'s> {
        Ahead {
            settings,
            space: self.space.as_ref(),
            catalog: self.catalog(),
        }
    }

    fn catalog(&self) -> &OpCatalog {
        self.components.ops.catalog()
    }

    fn settings(&self, phase: Phase) -> &'a Settings {
        match phase {
            Phase::Search => &self.job.search,
            Phase::Eval => &self.job.eval,
        }
    }

    /// What a phase trains.
    fn trainings(&self, phase: Phase) -> Result<PlannedTrainings, LabError> {
        let settings = self.settings(phase);
        if phase == Phase::Search {
            return Ok(self.runner.trainings(&self.ahead(settings))?);
        }
        let eval = &settings.nas.eval;
        let known = self.evaluated.last().map(|desc| PlannedTraining {
            what: match self.evaluated.len() {
                1 => "network".to_string(),
                _ => "network, at most so large".to_string(),
            },
            times: 1,
            desc: desc.clone(),
            training: settings::Training {
                loader: eval.loader.clone(),
                trainer: eval.trainer.clone(),
            },
            has_hooks: false,
        });
        let beyond = known.is_none();
        Ok(PlannedTrainings {
            known: known.into_iter().collect(),
            beyond: beyond.then(|| "what is evaluated is not known before the search".to_string()),
        })
    }

    fn phases(&self) -> impl Iterator<Item = Phase> {
        let plan = self.plan;
        Phase::ALL.into_iter().filter(|phase| plan.wants(*phase))
    }

    /// Bytes that the files of all phases take.
    fn disk(&self) -> Result<u64, LabError> {
        Ok(self.large_files()? + SMALL_FILES * self.phases().count() as u64)
    }

    /// Bytes that checkpoints and models of all phases take.
    fn large_files(&self) -> Result<u64, LabError> {
        let mut bytes = 0;
        for phase in self.phases() {
            let files = self.files(phase)?;
            bytes += files.iter().filter_map(|file| file.bytes).sum::<u64>();
        }
        Ok(bytes)
    }

    /// The files that a phase writes.
    fn files(&self, phase: Phase) -> Result<Vec<FileForecast>, LabError> {
        let (job, settings) = (self.job, self.settings(phase));
        let dir = job.dirs.of(phase);
        let small = |name: String| FileForecast { name, bytes: None };
        let mut names: Vec<String> = [STARTED_FILE, CONFIG_FILE].map(String::from).to_vec();
        names.extend(job.log_names());
        let mut files: Vec<FileForecast> = names.into_iter().map(small).collect();
        let mut checkpoint = 0;
        for planned in self.trainings(phase)?.known {
            let numbers = numbers(&planned.desc, self.catalog()) * NUMBER;
            checkpoint = checkpoint.max(numbers * copies(&planned.training));
        }
        // One more is written before the oldest goes.
        let keep = settings.common.checkpoint.keep as u64 + 1;
        files.push(FileForecast {
            name: format!("{CHECKPOINTS}/"),
            bytes: Some(checkpoint.saturating_mul(keep)),
        });
        let search = &settings.nas.search;
        match phase {
            Phase::Search => {
                files.push(small(shown(dir, Path::new(&search.final_desc_filename))));
                files.push(small(FOUND_DRAWING.to_string()));
            }
            Phase::Eval => {
                let eval = &settings.nas.eval;
                files.extend([FOUND_DESC, FOUND_DRAWING].map(|name| small(name.to_string())));
                for name in [&eval.full_desc_filename, &eval.metric_filename] {
                    files.push(small(shown(dir, Path::new(name))));
                }
                files.extend(self.models(dir, eval)?);
                let info = export::info_path(Path::new(&eval.model_filename));
                files.push(small(shown(dir, &info)));
            }
        }
        if phase == Phase::Eval || !self.plan.eval {
            files.push(small(SUMMARY_FILE.to_string()));
        }
        files.push(small(RECORD_FILE.to_string()));
        Ok(files)
    }

    /// The trained model in all formats, and the best one if one is chosen.
    fn models(&self, dir: &RunDir, eval: &settings::Eval) -> Result<Vec<FileForecast>, LabError> {
        let formats = export::chosen(&self.components.exporters, eval)?;
        let model = PathBuf::from(&eval.model_filename);
        let mut places = vec![model.clone()];
        if has_best(&eval.loader, &eval.trainer) {
            places.push(best_path(&model));
        }
        let largest = self.evaluated.last();
        let numbers = largest.map_or(0, |desc| numbers(&desc.without_towers(), self.catalog()));
        let files = places.iter().flat_map(|path| formats.products(path));
        let files = files.map(|product| FileForecast {
            name: shown(dir, product.path()),
            bytes: product.is_large().then_some(numbers * NUMBER),
        });
        Ok(files.collect())
    }

    /// What a phase will do. `start` is the memory that the process took before anything was measured.
    fn phase(&self, phase: Phase, start: Option<u64>) -> Result<PhaseForecast, LabError> {
        let settings = self.settings(phase);
        let loader = match phase {
            Phase::Search => &settings.nas.search.loader,
            Phase::Eval => &settings.nas.eval.loader,
        };
        let PlannedTrainings { mut known, beyond } = self.trainings(phase)?;
        if phase == Phase::Search {
            known.extend(self.post_training(&settings.nas.search)?);
        }
        let networks = match phase {
            Phase::Search => &self.found,
            Phase::Eval => &self.evaluated,
        };
        let sizes: Vec<NetworkSize> = (networks.iter())
            .map(|desc| size(desc, self.catalog()))
            .collect::<Result<_, _>>()?;
        let by_params = |size: &&NetworkSize| size.cost.params;
        let range = sizes
            .iter()
            .min_by_key(by_params)
            .zip(sizes.iter().max_by_key(by_params));
        let data = self.loaders(loader, settings)?;
        let mut trainings = Vec::new();
        for planned in known {
            let data = match planned.training.loader == *loader {
                true => data.clone(),
                false => self.loaders(&planned.training.loader, settings)?,
            };
            trainings.push(self.training(&planned, &data, settings, start)?);
        }
        let images = |loader: &Option<archai_data::Loader>| {
            loader.as_ref().map_or(0, archai_data::Loader::n_images)
        };
        let [height, width] = loader.dataset.size;
        Ok(PhaseForecast {
            phase,
            dir: self.job.dirs.of(phase).path().to_path_buf(),
            data: DataForecast {
                name: loader.dataset.name.clone(),
                shape: [loader.dataset.channels, height, width],
                classes: loader.dataset.n_classes,
                train: data.train.n_images(),
                valid: images(&data.valid),
                test: images(&data.test),
            },
            networks: range.map(|(least, most)| [*least, *most]),
            trainings,
            beyond,
            files: self.files(phase)?,
        })
    }

    /// The training of the found network at the search's size, if there is one behind a supernet's.
    fn post_training(
        &self,
        search: &settings::Search,
    ) -> Result<Option<PlannedTraining>, LabError> {
        if search.post_train.trainer.epochs == 0 || self.runner.searcher().is_some() {
            return Ok(None);
        }
        let catalog = self.catalog();
        let params = |desc: &&ModelDesc| size(desc, catalog).map_or(0, |size| size.cost.params);
        let largest = self.found.iter().max_by_key(params);
        Ok(largest.map(|desc| PlannedTraining {
            what: "found network at the search's size".to_string(),
            times: 1,
            desc: desc.clone(),
            training: search.post_train.clone(),
            has_hooks: false,
        }))
    }

    fn loaders(&self, loader: &settings::Loader, settings: &Settings) -> Result<Loaders, LabError> {
        let Components {
            formats,
            transforms,
            ..
        } = &self.components;
        // Which images go where depends on the seed alone.
        Loaders::new(
            loader,
            formats,
            transforms,
            settings.common.seed,
            "forecast",
        )
        .map_err(LabError::from)
    }

    fn training(
        &self,
        planned: &PlannedTraining,
        data: &Loaders,
        settings: &Settings,
        start: Option<u64>,
    ) -> Result<TrainingForecast, LabError> {
        let Trainer {
            epochs,
            batch_chunks,
            validation,
            ..
        } = &planned.training.trainer;
        let batch = planned.training.loader.train_batch;
        let mut forecast = TrainingForecast {
            what: planned.what.clone(),
            times: planned.times,
            size: size(&planned.desc, self.catalog())?,
            epochs: *epochs,
            steps: data.train.n_batches(),
            batch,
            measured: 0,
            step_seconds: 0.0,
            seconds: 0.0,
            memory: None,
        };
        if *epochs == 0 || planned.times == 0 {
            return Ok(forecast);
        }
        let host = self.plan.lab.host();
        let step = time_step(
            &self.components,
            &self.job.compute,
            host.clock.as_ref(),
            self.runner.as_ref(),
            settings,
            planned,
        )
        .map_err(|e: EngineError| {
            LabError::failure(format!(
                "a step of the {} cannot be done: {e}",
                planned.what
            ))
        })?;
        let per_image = step.seconds / batch as f64;
        let valid = match (validation.freq, &data.valid) {
            (0, _) | (_, None) => 0,
            (freq, Some(valid)) => valid.n_images() * epochs.div_ceil(freq),
        };
        let test = data.test.as_ref().map_or(0, archai_data::Loader::n_images);
        let trained = (data.train.n_images() * epochs) as f64;
        let measured = (valid + test) as f64 * MEASURING;
        forecast.measured = step.images;
        forecast.step_seconds = step.seconds;
        forecast.seconds = per_image * (trained + measured) * planned.times as f64;
        forecast.memory = host
            .resources
            .peak_memory()
            .zip(start)
            .map(|(peak, start)| {
                let at_once = batch.div_ceil(*batch_chunks) as f64 / step.images as f64;
                start + (peak.saturating_sub(start) as f64 * at_once) as u64
            });
        Ok(forecast)
    }
}

/// Whether a training chooses a best model.
fn has_best(loader: &settings::Loader, trainer: &Trainer) -> bool {
    loader.val_ratio > 0.0 && trainer.validation.freq > 0 && trainer.epochs > 0
}

/// How often a checkpoint holds all numbers of a model: weights, what the optimizer remembers, the best so far.
fn copies(training: &settings::Training) -> u64 {
    let remembered = match training.trainer.optimizer.kind {
        OptimizerKind::Sgd => 1,
        OptimizerKind::Adam | OptimizerKind::AdamW | OptimizerKind::RmsProp => 2,
    };
    1 + remembered + u64::from(has_best(&training.loader, &training.trainer))
}

/// The numbers of a network: weights, with auxiliary towers, and running statistics where the ops' layers tell.
fn numbers(desc: &ModelDesc, catalog: &OpCatalog) -> u64 {
    if let Ok(graph) = desc.lower(catalog) {
        let params = graph.layers.iter().flat_map(|layer| &layer.params);
        return params.map(|param| Cost::product(&param.shape)).sum();
    }
    size(desc, catalog).map_or(0, |size| size.params_with_aux)
}

fn size(desc: &ModelDesc, catalog: &OpCatalog) -> Result<NetworkSize, LabError> {
    let cost = desc.cost(catalog).map_err(LabError::caused)?;
    Ok(NetworkSize {
        cost: cost.total(false),
        params_with_aux: cost.total(true).params,
    })
}

/// A path as it is shown: below the run directory by its name there.
fn shown(dir: &RunDir, path: &Path) -> String {
    let below = path.strip_prefix(dir.path()).unwrap_or(path);
    below.display().to_string()
}

/// `1.4 GiB`, `23.0 MiB`, `812 KiB`.
pub fn bytes(n: u64) -> String {
    let n = n as f64;
    let units = [("GiB", 1u64 << 30), ("MiB", 1 << 20)];
    let unit = units.into_iter().find(|(_, size)| n >= *size as f64);
    match unit {
        Some((name, size)) => format!("{:.1} {name}", n / size as f64),
        None => format!("{:.0} KiB", (n / 1024.0).ceil()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_readable() {
        for (n, expect) in [
            (0, "0 KiB"),
            (1, "1 KiB"),
            (3 << 20, "3.0 MiB"),
            (3 << 29, "1.5 GiB"),
        ] {
            assert_eq!(bytes(n), expect);
        }
    }
}
