//! Successive halving: synchronous, and asynchronous as ASHA (Li, Jamieson, Rostamizadeh, Gonina, Ben-tzur, Hardt, Recht and
//! Talwalkar, "A system for massively parallel hyperparameter tuning", 2020), with one objective or several.

use archai_spec::rng::Key;
use serde::{Deserialize, Serialize};

use super::guided::Guided;
use crate::evaluator::Verdict;
use crate::front;
use crate::optimiser::{Exhausted, Optimiser, Proposal, View, Work};
use crate::quantity::{CostClass, Values};
use crate::state::{Trial, TrialState};

/// Every network is trained to the first rung; the best part of those at a rung is trained on to the next one. Of several
/// objectives, the fronts count first and crowding second.
///
/// A training is given up for good only if another network is better at the same rung in *every* objective that is known there,
/// by twice the noise that the quantity states. Otherwise it waits, with its checkpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Halving {
    /// One of so many goes on from a rung.
    pub eta: usize,
    /// Networks that begin together, rung by rung; 0 = each goes on as soon as it is among the best so far.
    pub bracket: usize,
    /// New networks are proposed as by `guided`; else at random.
    pub guided: bool,
}

impl Default for Halving {
    fn default() -> Self {
        Halving {
            eta: 3,
            bracket: 0,
            guided: true,
        }
    }
}

/// Trials from the best to the worst.
fn sorted(mut found: Vec<(&Trial, Vec<f64>)>) -> Vec<&Trial> {
    found.sort_by_key(|(trial, _)| trial.number);
    let points: Vec<&[f64]> = found.iter().map(|(_, scores)| scores.as_slice()).collect();
    let ranks = front::ranks(&points);
    let mut crowding = vec![0.0; found.len()];
    for rank in 0..=ranks.iter().copied().max().unwrap_or(0) {
        let on: Vec<usize> = (0..found.len()).filter(|i| ranks[*i] == rank).collect();
        let front: Vec<&[f64]> = on.iter().map(|i| points[*i]).collect();
        for (i, distance) in on.iter().zip(front::crowding(&front)) {
            crowding[*i] = distance;
        }
    }
    let mut order: Vec<usize> = (0..found.len()).collect();
    order.sort_by(|a, b| {
        let by_crowding = crowding[*b].total_cmp(&crowding[*a]);
        ranks[*a].cmp(&ranks[*b]).then(by_crowding)
    });
    order.into_iter().map(|i| found[i].0).collect()
}

impl Halving {
    fn begin(&self, view: &View<'_>, key: Key, rungs: &[u32]) -> Result<Proposal, Exhausted> {
        if !view.may_start() {
            return Err(Exhausted::UntilResults);
        }
        let proposal = match self.guided {
            true => Guided::default().ask(view, key)?,
            false => Proposal::new(view.draw(key)?.member, "random"),
        };
        Ok(Proposal {
            until: rungs.first().copied(),
            ..proposal
        })
    }

    fn go_on(trial: &Trial, rungs: &[u32], rung: usize) -> Proposal {
        Proposal {
            work: Work::Continue(trial.number),
            until: rungs.get(rung + 1).copied(),
            origin: format!("among the best after {} epochs", rungs[rung]),
        }
    }

    /// Each goes on as soon as it is among the best at its rung.
    fn asynchronous(
        &self,
        view: &View<'_>,
        key: Key,
        rungs: &[u32],
    ) -> Result<Proposal, Exhausted> {
        for rung in (0..rungs.len().saturating_sub(1)).rev() {
            let there = view.trials().iter();
            let there = there.filter_map(|trial| Some((trial, view.measured(trial, rungs[rung])?)));
            let order = sorted(there.collect());
            let mut best = order.iter().take(order.len() / self.eta.max(2));
            let waits =
                |trial: &&&Trial| trial.state == TrialState::Paused && trial.epochs == rungs[rung];
            if let Some(trial) = best.find(waits) {
                return Ok(Self::go_on(trial, rungs, rung));
            }
        }
        self.begin(view, key, rungs)
    }

    /// All of a bracket reach a rung before the best of them go on.
    fn synchronous(&self, view: &View<'_>, key: Key, rungs: &[u32]) -> Result<Proposal, Exhausted> {
        let n = view.trials().len();
        if n == 0 {
            return self.begin(view, key, rungs);
        }
        let first = (n - 1) / self.bracket * self.bracket;
        let bracket = &view.trials()[first..];
        if bracket.len() < self.bracket && view.may_start() {
            match self.begin(view, key, rungs) {
                // Of what is left of the space, the best go on as usual.
                Err(Exhausted::Space(_)) => {}
                other => return other,
            }
        }
        let mut quota = bracket.len();
        for rung in 0..rungs.len().saturating_sub(1) {
            let under_way =
                |trial: &&Trial| trial.state == TrialState::Running && trial.epochs < rungs[rung];
            if bracket.iter().any(|trial| under_way(&trial)) {
                return Err(Exhausted::UntilResults);
            }
            quota = (quota / self.eta.max(2)).max(1);
            let there = bracket.iter();
            let there = there.filter_map(|trial| Some((trial, view.measured(trial, rungs[rung])?)));
            for trial in sorted(there.collect()).into_iter().take(quota) {
                if trial.state == TrialState::Paused && trial.epochs == rungs[rung] {
                    return Ok(Self::go_on(trial, rungs, rung));
                }
            }
        }
        if bracket
            .iter()
            .any(|trial| trial.state == TrialState::Running)
        {
            return Err(Exhausted::UntilResults);
        }
        self.begin(view, key, rungs)
    }
}

impl Optimiser for Halving {
    fn ask(&self, view: &View<'_>, key: Key) -> Result<Proposal, Exhausted> {
        let rungs = view.problem().settings.rungs.as_slice();
        match self.bracket {
            0 => self.asynchronous(view, key, rungs),
            _ => self.synchronous(view, key, rungs),
        }
    }

    fn has_rungs(&self) -> bool {
        true
    }

    fn verdict(&self, view: &View<'_>, trial: &Trial, epochs: u32, values: &Values) -> Verdict {
        let is_rung = view.problem().settings.rungs.contains(&epochs);
        if !is_rung || epochs >= view.problem().last_rung() {
            return Verdict::Go;
        }
        let mut all = trial.values.clone();
        all.extend(values.clone());
        let Some(own) = view.scores_of(&all) else {
            return Verdict::Pause;
        };
        let beats = |other: &[f64]| {
            let pairs = view.objectives().iter().zip(other.iter().zip(&own));
            let mut better = pairs.map(|(quantity, (theirs, ours))| {
                let margin = match quantity.class {
                    CostClass::Static => 0.0,
                    CostClass::Cheap | CostClass::Expensive => 2.0 * quantity.noise.unwrap_or(0.0),
                };
                theirs + margin < *ours
            });
            better.all(|better| better)
        };
        let mut others = view
            .trials()
            .iter()
            .filter(|other| other.number != trial.number);
        let beaten = others.any(|other| view.measured(other, epochs).is_some_and(|s| beats(&s)));
        // With one objective every network but the best is beaten, so there only waiting tells who goes on.
        match beaten && view.objectives().len() > 1 {
            true => Verdict::Stop,
            false => Verdict::Pause,
        }
    }
}
