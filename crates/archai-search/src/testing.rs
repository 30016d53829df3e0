//! What every optimiser has to pass, for those that come along and for your own.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use archai_spec::registry::Registry;
use archai_spec::rng::Key;

use crate::cells::Cells201;
use crate::evaluator::{EvalError, Evaluator, Job, Reports, Stop};
use crate::journal::{Event, MemoryStore};
use crate::optimisers::{OptimiserKind, RandomSearch};
use crate::problem::Catalogue;
use crate::quantity::{Direction, Quantity, Values};
use crate::settings::{OptimiserChoice, Order, Settings};
use crate::space::{Member, SearchSpace, SpaceError};
use crate::study::{Outcome, Run, Study};

/// An evaluator that knows a truth which nobody told the optimiser: every sequence of layers on a way through the network is worth
/// something. Some networks may fail, and short trainings are noisy.
#[derive(Clone, Debug)]
pub struct Planted {
    seed: u64,
    failing: u32,
    quantities: [Quantity; 1],
}

/// The quantity of [`Planted`].
pub const WORTH: &str = "worth";

impl Planted {
    /// A truth, another one for each seed.
    pub fn new(seed: u64) -> Self {
        Planted {
            seed,
            failing: 0,
            quantities: [Quantity::new(WORTH, Direction::Maximise).noise(0.1)],
        }
    }

    /// About one of so many networks fails.
    #[must_use]
    pub fn failing(mut self, one_of: u32) -> Self {
        self.failing = one_of;
        self
    }

    /// The truth about a network.
    ///
    /// # Errors
    /// It is no member of the space.
    pub fn worth(&self, space: &dyn SearchSpace, member: &Member) -> Result<f64, SpaceError> {
        let key = Key::new(self.seed).with("worth");
        let features = space.features(member)?;
        let of = |(path, n): (&String, &u32)| {
            let weight = key.with(path).rng().uniform_f64() - 0.4;
            weight * f64::from((*n).min(2))
        };
        Ok(features.paths.iter().map(of).sum())
    }
}

impl Evaluator for Planted {
    fn quantities(&self) -> &[Quantity] {
        &self.quantities
    }

    fn evaluate(&self, job: &Job<'_>, reports: &mut dyn Reports) -> Result<Values, EvalError> {
        let mut rng = Key::new(self.seed).with("luck").with(job.id).rng();
        if self.failing > 0 && rng.uniform_u32_below(self.failing) == 0 {
            return Err(EvalError::network("it was planned to fail"));
        }
        let worth = self.worth(job.space, job.member)?;
        let noise = rng.normal();
        let mut values = Values::new();
        for epochs in job.range() {
            let epochs = epochs + 1;
            let so_far = worth + 0.3 * noise / f64::from(epochs);
            let last = epochs == job.epochs.1;
            values = Values::from([(
                WORTH.to_string(),
                if last && epochs > 1 { worth } else { so_far },
            )]);
            if !last && reports.report(epochs, &values) != crate::evaluator::Verdict::Go {
                break;
            }
        }
        Ok(values)
    }
}

/// Epochs that each optimiser may spend in the comparison with random search.
const EPOCHS: u32 = 120;
/// Searches in the comparison.
const SEEDS: u64 = 20;

struct Case<'a> {
    kind: &'a Arc<dyn OptimiserKind>,
    catalogue: Arc<Catalogue>,
    truth: Planted,
}

impl Case<'_> {
    fn settings(&self, objectives: &[&str]) -> Settings {
        Settings {
            optimiser: OptimiserChoice {
                name: self.kind.name().to_string(),
                ..OptimiserChoice::default()
            },
            ..Settings::new(objectives.iter().copied())
        }
        .rungs([1, 3])
    }

    fn run(
        &self,
        settings: Settings,
        budget: Option<usize>,
        workers: usize,
    ) -> Result<(Study, Outcome), String> {
        let optimisers = Registry::new("optimiser").with(self.kind.clone());
        let mut study = Study::open_with(
            self.catalogue.clone(),
            vec![Arc::new(self.truth.clone())],
            settings,
            &optimisers,
            Box::new(MemoryStore::default()),
            None,
        )
        .map_err(|e| format!("a search cannot begin: {e}"))?;
        let (stop, clock) = (Stop::new(), || 0.0);
        let run = Run {
            workers,
            budget,
            stop: &stop,
            clock: &clock,
        };
        let outcome = study
            .run(run)
            .map_err(|e| format!("a search does not come to its end: {e}"))?;
        Ok((study, outcome))
    }

    /// How long each job trained that came to an end, after how many epochs that was, and its worth.
    fn trained(study: &Study) -> Vec<(u32, u32, f64)> {
        let mut begun = Vec::new();
        let mut trained = Vec::new();
        for event in study.events() {
            match event {
                Event::Proposed { epochs, .. } => begun.push(epochs.0),
                Event::Skipped { .. } => begun.push(0),
                Event::Finished {
                    job,
                    epochs,
                    values,
                    ..
                } => {
                    let worth = values.get(WORTH).copied().unwrap_or(f64::NEG_INFINITY);
                    trained.push((epochs - begun[*job], *epochs, worth));
                }
                _ => {}
            }
        }
        trained
    }

    fn spent(study: &Study) -> u32 {
        Self::trained(study).iter().map(|(epochs, ..)| epochs).sum()
    }

    /// The best worth of a whole training within so many epochs.
    fn best(study: &Study) -> f64 {
        let (mut spent, mut best) = (0, f64::NEG_INFINITY);
        for (epochs, after, worth) in Self::trained(study) {
            spent += epochs;
            if spent <= EPOCHS && after == 3 {
                best = best.max(worth);
            }
        }
        best
    }
}

fn ids(study: &Study) -> Vec<String> {
    let trials = study.view().trials().iter();
    trials.map(|trial| trial.id.clone()).collect()
}

/// Checks an optimiser as it usually works: the same seed gives the same trials, with any number of workers; no network is
/// proposed twice; static limits hold; a search ends when the space is exhausted, and not before; networks that fail do not stop
/// it; several objectives do not either; a journal verifies; and a planted truth is found better than at random.
///
/// ```
/// use archai_search::{optimisers, testing::check_optimiser};
/// check_optimiser(optimisers::all().get("random")?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// What it does not pass.
pub fn check_optimiser(kind: &Arc<dyn OptimiserKind>) -> Result<(), String> {
    let ensure = |holds: bool, otherwise: String| if holds { Ok(()) } else { Err(otherwise) };
    let none: [Arc<dyn Evaluator>; 0] = [];
    let whole = Arc::new(Catalogue::new(
        Arc::new(Cells201::new()),
        none.clone(),
        false,
    ));
    let case = Case {
        kind,
        catalogue: whole.clone(),
        truth: Planted::new(1),
    };

    let strict = |seed| {
        case.settings(&[WORTH])
            .seed(seed)
            .order(Order::Strict { lag: 3 })
    };
    let (one, outcome) = case.run(strict(7), Some(40), 1)?;
    ensure(
        one.view().trials().len() == 40 && outcome == Outcome::Budget,
        format!(
            "of 40 networks it proposes {}: {outcome:?}",
            one.view().trials().len()
        ),
    )?;
    let hashes: HashSet<&str> = one
        .view()
        .trials()
        .iter()
        .map(|t| t.hash.as_str())
        .collect();
    ensure(hashes.len() == 40, "a network is proposed twice".into())?;
    for workers in [1, 4] {
        let (again, _) = case.run(strict(7), Some(40), workers)?;
        ensure(
            ids(&one) == ids(&again),
            format!("the same seed gives other trials with {workers} workers"),
        )?;
    }
    let (other, _) = case.run(strict(8), Some(40), 1)?;
    ensure(
        ids(&one) != ids(&other),
        "another seed gives the same trials".into(),
    )?;
    let differences = one.verify().map_err(|e| e.to_string())?;
    ensure(
        differences.is_empty(),
        format!("a proposal comes out differently when it is computed again: {differences:?}"),
    )?;

    let limits = ["params<=300k".parse()?, "macs<=60M".parse()?];
    for objectives in [&[WORTH][..], &[WORTH, "params"]] {
        let settings = case.settings(objectives).limits(limits.clone());
        let (limited, _) = case.run(settings, Some(30), 1)?;
        let trials = limited.view().trials();
        ensure(
            trials.len() == 30,
            format!("within limits it proposes {} of 30", trials.len()),
        )?;
        let within = trials
            .iter()
            .all(|t| t.values["params"] <= 3e5 && t.values["macs"] <= 6e7);
        ensure(within, "a proposal is beyond a static limit".into())?;
    }

    let small = Arc::new(Cells201::with_free_edges(2));
    let networks: BTreeSet<[u8; 32]> = small
        .enumerate()
        .into_iter()
        .flatten()
        .filter_map(|member| small.network_hash(&member).ok())
        .collect();
    let few = Case {
        kind,
        catalogue: Arc::new(Catalogue::new(small, none, false)),
        truth: Planted::new(2).failing(4),
    };
    let (all, outcome) = few.run(few.settings(&[WORTH]), None, 2)?;
    let n = all.view().trials().len();
    ensure(
        n == networks.len() && matches!(outcome, Outcome::Exhausted(_)),
        format!(
            "of a space of {} networks it proposes {n}: {outcome:?}",
            networks.len()
        ),
    )?;
    let failed = all
        .view()
        .trials()
        .iter()
        .filter(|t| t.state.name() == "failed")
        .count();
    ensure(
        failed > 0 && failed < n,
        format!("{failed} of {n} networks failed"),
    )?;

    let random: Arc<dyn OptimiserKind> = crate::optimisers::kind::<RandomSearch>("random", "");
    let mean = |kind: &Arc<dyn OptimiserKind>| -> Result<f64, String> {
        let mut sum = 0.0;
        for seed in 0..SEEDS {
            let case = Case {
                kind,
                catalogue: whole.clone(),
                truth: Planted::new(100 + seed),
            };
            // Whoever ends trainings early may begin more of them.
            let settings = case.settings(&[WORTH]).seed(seed);
            let (mut study, _) = case.run(settings.clone(), Some(EPOCHS as usize / 3), 1)?;
            if Case::spent(&study) < EPOCHS {
                study = case.run(settings, Some(EPOCHS as usize), 1)?.0;
            }
            sum += Case::best(&study);
        }
        Ok(sum / SEEDS as f64)
    };
    let (own, at_random) = (mean(kind)?, mean(&random)?);
    ensure(
        own > at_random || kind.name() == "random",
        format!(
            "within {EPOCHS} epochs it finds a worth of {own:.3}, and random search {at_random:.3}"
        ),
    )
}
