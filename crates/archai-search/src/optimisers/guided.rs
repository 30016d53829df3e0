//! The usual optimiser: extremely randomised trees on what is seen of networks, and Thompson sampling.

use archai_spec::rng::Key;
use serde::{Deserialize, Serialize};

use super::bananas::Bananas;
use super::nsga2;
use crate::forest::{Forest, Growth, Table, rank_gauss};
use crate::front;
use crate::optimiser::{Exhausted, Optimiser, Proposal, View};
use crate::problem::{MACS, PARAMS};
use crate::quantity::CostClass;
use crate::state::{Trial, TrialState};
use crate::surrogate::{self, Examples, Pool};

/// A few trees are grown at random for each proposal from all that is known; their mean is what this proposal believes, and the
/// candidate that it holds for the best is proposed. Workers that ask at once believe different trees, so that they need not
/// know of one another.
///
/// With several objectives of which some are known beforehand, each proposal draws a direction and looks for the network that
/// is farthest in it (Golovin and Zhang, "Random hypervolume scalarizations for provable multi-objective black box optimization",
/// 2020), by ranks. Where all objectives have to be measured, mutations of the front are ranked instead, see [`Bananas`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guided {
    /// Trials before the trees have a say.
    pub initial: usize,
    /// Trees that a proposal believes.
    pub trees: usize,
    /// How often only neighbours of the best five are candidates.
    pub local: f64,
}

impl Default for Guided {
    fn default() -> Self {
        Guided {
            initial: 10,
            trees: 10,
            local: 0.0,
        }
    }
}

/// Of so many random networks the one is taken that the prior promises most of.
const SAMPLE: usize = 100;

impl Optimiser for Guided {
    fn ask(&self, view: &View<'_>, key: Key) -> Result<Proposal, Exhausted> {
        let n = view.trials().len();
        if n < self.initial {
            return match n % 2 {
                0 => promising(view, key),
                _ => Ok(Proposal::new(view.draw(key)?.member, "random")),
            };
        }
        let known: Vec<(&Trial, Vec<f64>)> = view
            .completed()
            .filter_map(|trial| Some((trial, view.signal(trial)?)))
            .collect();
        if known.len() < 3 {
            return Ok(Proposal::new(view.draw(key)?.member, "random"));
        }
        let objectives = view.objectives();
        let all_measured = objectives.iter().all(|q| q.class != CostClass::Static);
        if objectives.len() > 1 && all_measured {
            let loop_ = Bananas {
                trees: self.trees,
                ..Bananas::default()
            };
            return loop_.ask(view, key);
        }
        let best: Vec<&Trial> = match objectives.len() {
            1 => {
                let mut order: Vec<&(&Trial, Vec<f64>)> = known.iter().collect();
                order.sort_by(|a, b| a.1[0].total_cmp(&b.1[0]));
                order.into_iter().take(5).map(|(trial, _)| *trial).collect()
            }
            _ => nsga2::best(view, 5)
                .into_iter()
                .map(|found| found.0)
                .collect(),
        };
        let mut candidates: Pool = surrogate::neighbours(view, &best);
        let local = key.with("local").rng().uniform_f64() < self.local;
        if !local || candidates.is_empty() {
            let pool = surrogate::pool(view);
            let fresh = pool
                .iter()
                .filter(|(candidate, _)| view.trial_of(&candidate.known).is_none());
            candidates.extend(fresh.cloned());
        }
        let trials: Vec<&Trial> = known.iter().map(|(trial, _)| *trial).collect();
        let Some(examples) = Examples::new(view, &trials) else {
            return Ok(Proposal::new(view.draw(key)?.member, "random"));
        };
        // What each objective is believed to be: larger is better.
        let mut beliefs: Vec<Vec<f64>> = Vec::new();
        for (o, objective) in objectives.iter().enumerate() {
            if objective.class == CostClass::Static {
                let exact = candidates.iter().map(|(candidate, _)| {
                    let value = candidate.known.statics.get(&objective.name);
                    value.map_or(f64::NEG_INFINITY, |v| -objective.direction.minimised(*v))
                });
                beliefs.push(exact.collect());
                continue;
            }
            let values: Vec<f64> = known.iter().map(|(_, scores)| -scores[o]).collect();
            let forest = Forest::grow(
                &examples.table,
                &rank_gauss(&values),
                Growth::default(),
                key.with("trees").with(objective.name.as_str()),
                0..self.trees.max(1),
            );
            beliefs.push(predicted(&examples, &forest, &candidates));
        }
        let mut value = match beliefs.len() {
            1 => beliefs.swap_remove(0),
            n => scalarised(&beliefs, key.with("direction"), n),
        };
        discount(view, &candidates, key, &mut value);
        let Some(best) = argmax(&value, key.with("ties")) else {
            return Ok(Proposal::new(view.draw(key)?.member, "random"));
        };
        let origin = if local {
            "guided, near the best"
        } else {
            "guided"
        };
        Ok(Proposal::new(candidates[best].0.member.clone(), origin))
    }
}

/// What trees predict of candidates.
pub(super) fn predicted(examples: &Examples, forest: &Forest, candidates: &Pool) -> Vec<f64> {
    let mut row = Vec::new();
    let of = candidates.iter().map(|(candidate, sight)| {
        row.clear();
        examples
            .layout
            .write(sight, &candidate.known.statics, &mut row);
        forest.predict(&row)
    });
    of.collect()
}

/// A random hypervolume scalarisation: the smallest of the ranks, each divided by a part of a random direction.
fn scalarised(beliefs: &[Vec<f64>], key: Key, n: usize) -> Vec<f64> {
    let mut rng = key.rng();
    let direction: Vec<f64> = (0..n).map(|_| rng.normal().abs().max(1e-9)).collect();
    let ranks: Vec<Vec<f64>> = beliefs.iter().map(|values| ranks(values)).collect();
    (0..beliefs[0].len())
        .map(|i| {
            let parts = ranks
                .iter()
                .zip(&direction)
                .map(|(rank, part)| rank[i] / part);
            parts.fold(f64::INFINITY, f64::min)
        })
        .collect()
}

/// The part of the values that are smaller, and half of those that are equal: 0 to 1.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let of = |value: &f64| {
        let below = sorted.partition_point(|other| other < value);
        let most = sorted.partition_point(|other| other <= value);
        (below + most) as f64 / (2 * sorted.len()) as f64
    };
    values.iter().map(of).collect()
}

/// Lowers the value of candidates that are likely to fail or to be beyond a limit that is known only afterwards.
pub(super) fn discount(view: &View<'_>, candidates: &Pool, key: Key, value: &mut [f64]) {
    let is_bad = |trial: &Trial| {
        let bad = matches!(
            trial.state,
            TrialState::Failed { .. } | TrialState::Infeasible { .. }
        );
        if bad { 1.0 } else { 0.0 }
    };
    let trials: Vec<&Trial> = view.completed().collect();
    let bad: Vec<f64> = trials.iter().map(|trial| is_bad(trial)).collect();
    let n_bad: f64 = bad.iter().sum();
    if n_bad == 0.0 || n_bad == bad.len() as f64 {
        return;
    }
    let Some(examples) = Examples::new(view, &trials) else {
        return;
    };
    let forest = Forest::grow(
        &examples.table,
        &bad,
        Growth::default(),
        key.with("failures"),
        0..30,
    );
    let risk = predicted(&examples, &forest, candidates);
    // The ranks are positive, so that a probability can scale them; what will rather fail than not comes last.
    let order = ranks(value);
    for ((value, rank), risk) in value.iter_mut().zip(order).zip(&risk) {
        *value = match *risk < 0.5 {
            true => rank * (1.0 - risk),
            false => -risk,
        };
    }
}

/// The largest value; of several, one at random.
pub(super) fn argmax(values: &[f64], key: Key) -> Option<usize> {
    let most = values.iter().copied().max_by(f64::total_cmp)?;
    let equal: Vec<usize> = (0..values.len()).filter(|i| values[*i] == most).collect();
    let drawn = key.rng().uniform_u32_below(equal.len() as u32);
    equal.get(drawn as usize).copied()
}

/// A network of which static quantities promise much.
fn promising(view: &View<'_>, key: Key) -> Result<Proposal, Exhausted> {
    let mut sample = vec![view.draw(key.with(0u64))?];
    for i in 1..SAMPLE {
        let member = view.space().sample(key.with("sample").with(i));
        sample.extend(member.ok().and_then(|member| view.fresh(member)));
    }
    let usual = [PARAMS.to_string(), MACS.to_string()];
    let prior = match view.problem().settings.prior.as_slice() {
        [] => &usual[..],
        named => named,
    };
    let mut sums = vec![0.0; sample.len()];
    for name in prior {
        let value = |candidate: &crate::optimiser::Candidate| {
            let value = candidate.known.statics.get(name);
            value.copied().unwrap_or(f64::NEG_INFINITY)
        };
        let values: Vec<f64> = sample.iter().map(value).collect();
        for (sum, rank) in sums.iter_mut().zip(ranks(&values)) {
            *sum += rank;
        }
    }
    let best = argmax(&sums, key.with("ties")).unwrap_or(0);
    Ok(Proposal::new(sample.swap_remove(best).member, "promising"))
}

/// What a hundred trees say of each trial that have not seen it.
fn cross_predicted(
    view: &View<'_>,
    trials: &[&Trial],
    signal: &[f64],
    key: Key,
) -> Option<Vec<f64>> {
    const FOLDS: usize = 5;
    if trials.len() < 2 * FOLDS {
        return None;
    }
    let examples = Examples::new(view, trials)?;
    let mut order: Vec<usize> = (0..trials.len()).collect();
    key.with("folds").rng().shuffle(&mut order);
    let mut model = vec![0.0; trials.len()];
    for fold in 0..FOLDS {
        let (mut rows, mut targets) = (Vec::new(), Vec::new());
        for (place, i) in order.iter().enumerate() {
            if place % FOLDS != fold {
                rows.extend_from_slice(examples.table.row(*i));
                targets.push(signal[*i]);
            }
        }
        let table = Table::new(examples.table.width(), rows);
        let forest = Forest::grow(&table, &targets, Growth::default(), key.with(fold), 0..100);
        for i in order.iter().skip(fold).step_by(FOLDS) {
            model[*i] = forest.predict(examples.table.row(*i));
        }
    }
    Some(model)
}

/// Which trial is the answer of a search with one objective.
///
/// The signal's best, or, where the signal is a short training, the best of 0.7 signal and 0.3 of what a hundred trees say that
/// have not seen it, both by rank: one lucky short training then counts for less. Ties are broken by the trees. `None` where nothing is done. Of several objectives the first counts
/// among what is on the front.
pub fn answer<'a>(view: &View<'a>, short_signal: bool) -> Option<&'a Trial> {
    let done: Vec<(&Trial, Vec<f64>)> = view
        .completed()
        .filter_map(|trial| Some((trial, view.scores(trial)?)))
        .collect();
    let values: Vec<f64> = done.iter().map(|(_, scores)| -scores[0]).collect();
    let trials: Vec<&Trial> = done.iter().map(|(trial, _)| *trial).collect();
    let points: Vec<&[f64]> = done.iter().map(|(_, scores)| scores.as_slice()).collect();
    let signal = rank_gauss(&values);
    let key = Key::new(view.problem().settings.seed).with("answer");
    let model = cross_predicted(view, &trials, &signal, key).unwrap_or_else(|| signal.clone());
    let better = |a: &usize, b: &usize| {
        let blended = |i: usize| 0.7 * signal[i] + 0.3 * model[i];
        let by_signal = match short_signal {
            true => blended(*a).total_cmp(&blended(*b)),
            false => signal[*a].total_cmp(&signal[*b]),
        };
        by_signal
            .then(model[*a].total_cmp(&model[*b]))
            .then(b.cmp(a))
    };
    let best = front::non_dominated(&points).into_iter();
    let best = match view.objectives().len() {
        1 => (0..trials.len()).max_by(better),
        _ => best.max_by(better),
    };
    best.map(|i| trials[i])
}
