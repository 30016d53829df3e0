//! Random search: draw architectures of the space, train each a little, keep the one that does best on validation data.
//!
//! The baseline that every search has to beat (Li and Talwalkar: "Random Search and Reproducibility for Neural
//! Architecture Search", 2019), as the DARTS paper reports it in Table 1: the best of 24 samples by their validation error
//! after 100 epochs. Nothing is learnt about the space, so there is no supernet to train.

use std::fmt::Write as _;
use std::io::Write as _;

use archai_engine::{
    EngineError,
    ahead::{Ahead, PlannedTraining, PlannedTrainings},
    experiment::{Experiment, ExperimentRunner, Found, RunFile, Searcher, Trial},
    finalize::Supernet,
    searcher::{describe, train_found},
};
use archai_spec::desc::{DartsModelDescBuilder, DescError, ModelDesc, ModelDescBuilder, build};
use archai_spec::event::LogPath;
use archai_spec::{settings, values};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Algorithm, compared, given};

/// What messages call it.
const WHO: &str = "random search";
/// The settings of its trainings.
const TRAIN: &str = "nas.search.random.train";

/// Draws of one architecture before the space counts as exhausted.
const MAX_DRAWS: usize = 100;

/// The table of all architectures, in the run directory.
const TABLE: &str = "random_archs.tsv";

/// The algorithm `random` for the list of all: name, paper and default settings.
pub fn algorithm() -> Algorithm {
    Algorithm::new(
        "random",
        "the best of some random architectures: the baseline",
        Random::new,
    )
    .paper(
        "Li, Talwalkar: Random Search and Reproducibility for Neural Architecture Search, 2019, \
         arXiv:1902.07638",
    )
    .yaml(include_str!("random.yaml"))
    .toy(include_str!("random_toy.yaml"))
}

/// The section `nas.search.random`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RandomSettings {
    /// How many different architectures are drawn and trained.
    #[schemars(range(min = 1))]
    pub n_archs: usize,
    /// The training of each of them, at the search's size. Its loader must keep a validation share: that decides.
    pub train: settings::Training,
}

/// Random search: its settings and its searcher; the evaluation is the default.
#[derive(Clone, Debug)]
pub struct Random {
    settings: RandomSettings,
}

impl Random {
    /// From its section of the configuration.
    pub fn new(settings: RandomSettings) -> Self {
        Random { settings }
    }
}

impl ExperimentRunner for Random {
    fn model_desc_builder(&self) -> Box<dyn ModelDescBuilder> {
        Box::new(DartsModelDescBuilder)
    }

    fn check(&self, _: &settings::Search) -> Result<(), EngineError> {
        compared::check(WHO, TRAIN, &self.settings.train)
    }

    fn unread(&self, _: &settings::Search) -> Vec<&'static str> {
        given::OF_SUPERNETS.to_vec()
    }

    fn trainings(&self, ahead: &Ahead<'_>) -> Result<PlannedTrainings, EngineError> {
        let shape = &ahead.settings.nas.search.model_desc;
        let mut largest: Option<(u64, ModelDesc)> = None;
        for found in self.preview(ahead)? {
            let builder = ahead.space.builder();
            let desc = build(builder, shape, Some(&found), true, ahead.catalog)?.desc;
            let macs = desc.cost(ahead.catalog)?.total(false).macs;
            if largest.as_ref().is_none_or(|(most, _)| macs > *most) {
                largest = Some((macs, desc));
            }
        }
        let known = largest.map(|(_, desc)| PlannedTraining {
            what: "random architectures, each at most so large".to_string(),
            times: self.settings.n_archs,
            desc,
            training: self.settings.train.clone(),
            has_hooks: false,
        });
        Ok(PlannedTrainings {
            known: known.into_iter().collect(),
            beyond: None,
        })
    }

    fn searcher(&self) -> Option<Box<dyn Searcher>> {
        Some(Box::new(RandomSearcher {
            settings: self.settings.clone(),
        }))
    }
}

/// Draws, trains, keeps the best.
#[derive(Clone, Debug)]
pub struct RandomSearcher {
    settings: RandomSettings,
}

impl Searcher for RandomSearcher {
    fn search(
        &mut self,
        experiment: &Experiment<'_>,
        runner: &dyn ExperimentRunner,
    ) -> Result<Found, EngineError> {
        let (settings, run) = (&experiment.settings.nas.search, experiment.run);
        let log = run.log(LogPath::new("random"));
        let mut warnings = Vec::new();

        let drawn = draw(experiment, runner, self.settings.n_archs)?;
        if drawn.len() < self.settings.n_archs {
            warnings.push(format!(
                "only {} different architectures were found in {MAX_DRAWS} draws each; nas.search.random.n_archs asks for {}",
                drawn.len(),
                self.settings.n_archs
            ));
        }
        let mut trained = Vec::new();
        for (i, desc) in drawn.into_iter().enumerate() {
            // One phase name for all: they see the same batches, so that the architectures alone make the difference.
            let (_, fitted) = train_found(
                experiment,
                runner,
                &self.settings.train,
                &settings.model_desc,
                &desc,
                "random",
                &log.at(i).path().clone(),
            )?;
            warnings.extend(fitted.metrics.skip_warning());
            let measured = compared::measured(WHO, TRAIN, &fitted.metrics)?;
            log.at(i).emit(values!(log.at(i).path().clone(), "val_top1" => measured.val, "architecture" => describe(&desc)))?;
            trained.push(Trial::new(experiment, i, desc, measured)?);
        }

        let table = experiment.dir.join(TABLE);
        let text = as_table(&trained);
        run.write(&table, |out| out.write_all(text.as_bytes()))?;
        let spread = Spread::of(trained.iter().map(|t| t.val_top1));
        log.emit(values!(log.path().clone(), "n_archs" => trained.len(), "mean" => spread.mean, "std" => spread.std,
            "min" => spread.min, "max" => spread.max))?;
        // The earlier one of equals.
        let best = trained
            .iter()
            .reduce(|best, t| if t.val_top1 > best.val_top1 { t } else { best });
        let best = best.ok_or_else(|| {
            EngineError::setting("nas.search.random.n_archs", "it must be at least 1")
        })?;
        let (desc, train_top1, val_top1) = (best.desc.clone(), best.train_top1, best.val_top1);
        Ok(Found {
            train_top1: Some(train_top1),
            val_top1: Some(val_top1),
            notes: vec![spread.to_string()],
            warnings,
            files: vec![RunFile::new(
                "all architectures with their accuracies",
                table,
            )],
            trials: trained,
            ..Found::new(desc)
        })
    }
}

/// Up to `n` different architectures of the space, at the search's size, each drawn under a key of its own.
fn draw(
    experiment: &Experiment<'_>,
    runner: &dyn ExperimentRunner,
    n: usize,
) -> Result<Vec<ModelDesc>, EngineError> {
    let shape = &experiment.settings.nas.search.model_desc;
    let space = experiment.space(runner)?;
    let supernet = experiment.build(space.builder(), shape, None, false)?;
    let supernet = Supernet::new(&supernet, experiment.components.ops.catalog());
    let mut drawn: Vec<ModelDesc> = Vec::new();
    for i in 0..n {
        let key = experiment.run.key("random architecture").with(i);
        let mut draws = (0..MAX_DRAWS).map(|attempt| space.draw(supernet, &key.with(attempt)));
        let new = draws.find(|found| !matches!(found, Ok(found) if drawn.contains(found)));
        match new {
            Some(found) => {
                let wrong = |e: DescError| EngineError::setting("nas.search.space", e.to_string());
                drawn.push(found.map_err(wrong)?);
            }
            None => break,
        }
    }
    Ok(drawn)
}

fn as_table(trained: &[Trial]) -> String {
    let mut text = String::from("id\tval_top1\ttrain_top1\tparameters\tmadd\tarchitecture\n");
    for (i, t) in trained.iter().enumerate() {
        let _ = writeln!(
            text,
            "{i}\t{}\t{}\t{}\t{}\t{}",
            t.val_top1,
            t.train_top1,
            t.parameters,
            t.macs,
            describe(&t.desc)
        );
    }
    text
}

/// The distribution of accuracies (fractions).
struct Spread {
    n: usize,
    mean: f64,
    /// Of the sample (n − 1); 0 for a single one.
    std: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64> + Clone) -> Spread {
        let n = values.clone().count();
        let mean = values.clone().sum::<f64>() / n.max(1) as f64;
        let squares: f64 = values.clone().map(|v| (v - mean) * (v - mean)).sum();
        Spread {
            n,
            mean,
            std: (squares / (n.max(2) - 1) as f64).sqrt(),
            min: values.clone().fold(f64::INFINITY, f64::min),
            max: values.fold(f64::NEG_INFINITY, f64::max),
        }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "validation accuracy of {} random architectures: {:.2} ± {:.2} % (mean and standard deviation), from {:.2} to \
             {:.2} %; {TABLE} lists them",
            self.n,
            100.0 * self.mean,
            100.0 * self.std,
            100.0 * self.min,
            100.0 * self.max
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads() {
        let check = |values: &[f64], expect: [f64; 4]| {
            let s = Spread::of(values.iter().copied());
            let got = [s.mean, s.std, s.min, s.max];
            let near = got.iter().zip(expect).all(|(a, b)| (a - b).abs() < 1e-12);
            assert!(near, "{values:?}: {got:?}");
        };
        check(&[0.5], [0.5, 0.0, 0.5, 0.5]);
        check(&[0.2, 0.4], [0.3, 0.02_f64.sqrt(), 0.2, 0.4]);
        check(&[0.1, 0.2, 0.3], [0.2, 0.1, 0.1, 0.3]);
    }
}
