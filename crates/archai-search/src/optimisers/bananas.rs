//! The loop of BANANAS (White, Neiswanger and Savani, 2021) with several objectives, as Archai has it: mutations of the front,
//! ranked by a predictor.

use archai_spec::rng::Key;
use serde::{Deserialize, Serialize};

use super::guided::{discount, predicted};
use super::nsga2;
use crate::forest::{Forest, Growth, rank_gauss};
use crate::front;
use crate::optimiser::{Candidate, Exhausted, Optimiser, Proposal, View};
use crate::quantity::CostClass;
use crate::state::Trial;
use crate::surrogate::{self, Examples, Pool};

/// Mutations of the best networks; of those that a few random trees per objective, or the exact value of one that is known
/// beforehand, put on the front, a random one is proposed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bananas {
    /// Random networks before the first prediction.
    pub init_num_models: usize,
    /// How many networks are mutated.
    pub num_parents: usize,
    /// How often each.
    pub mutations_per_parent: usize,
    /// Trees that a proposal believes.
    pub trees: usize,
}

impl Default for Bananas {
    fn default() -> Self {
        Bananas {
            init_num_models: 10,
            num_parents: 10,
            mutations_per_parent: 5,
            trees: 10,
        }
    }
}

impl Optimiser for Bananas {
    fn ask(&self, view: &View<'_>, key: Key) -> Result<Proposal, Exhausted> {
        let random = || Ok(Proposal::new(view.draw(key)?.member, "random"));
        let known: Vec<(&Trial, Vec<f64>)> = view
            .completed()
            .filter_map(|trial| Some((trial, view.signal(trial)?)))
            .collect();
        if view.trials().len() < self.init_num_models || known.len() < 3 {
            return random();
        }
        let mut candidates = Pool::new();
        let mut add = |candidate: Candidate| {
            let twice = candidates
                .iter()
                .any(|(other, _)| other.known.hash == candidate.known.hash);
            if let Some(sight) = surrogate::sight(view, &candidate).filter(|_| !twice) {
                candidates.push((candidate, sight));
            }
        };
        for (parent, ..) in nsga2::best(view, self.num_parents) {
            let around = key.with("mutations").with(parent.number);
            for i in 0..self.mutations_per_parent {
                if let Some(candidate) = view.draw_near(&parent.member, around.with(i)) {
                    add(candidate);
                }
            }
        }
        let trials: Vec<&Trial> = known.iter().map(|(trial, _)| *trial).collect();
        let Some(examples) = Examples::new(view, &trials).filter(|_| !candidates.is_empty()) else {
            return random();
        };
        let mut points = vec![Vec::new(); candidates.len()];
        for (o, objective) in view.objectives().iter().enumerate() {
            if objective.class == CostClass::Static {
                for (point, (candidate, _)) in points.iter_mut().zip(&candidates) {
                    let value = candidate.known.statics.get(&objective.name);
                    point.push(value.map_or(f64::INFINITY, |v| objective.direction.minimised(*v)));
                }
                continue;
            }
            let values: Vec<f64> = known.iter().map(|(_, scores)| scores[o]).collect();
            let forest = Forest::grow(
                &examples.table,
                &rank_gauss(&values),
                Growth::default(),
                key.with("trees").with(objective.name.as_str()),
                0..self.trees.max(1),
            );
            for (point, value) in points
                .iter_mut()
                .zip(predicted(&examples, &forest, &candidates))
            {
                point.push(value);
            }
        }
        let ranks = front::ranks(&points);
        let mut value: Vec<f64> = ranks.into_iter().map(|rank| -(rank as f64)).collect();
        discount(view, &candidates, key, &mut value);
        let Some(best) = super::guided::argmax(&value, key.with("ties")) else {
            return random();
        };
        Ok(Proposal::new(
            candidates[best].0.member.clone(),
            "mutation that promises much",
        ))
    }
}
