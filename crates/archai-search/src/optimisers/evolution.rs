//! Regularised evolution (Real, Aggarwal, Huang and Le, "Regularized evolution for image classifier architecture search", 2019).

use archai_spec::rng::Key;
use serde::{Deserialize, Serialize};

use crate::front;
use crate::optimiser::{Exhausted, Optimiser, Proposal, View};
use crate::state::Trial;

/// A mutation of the best of a few random networks of the population, which are the youngest that have values: the oldest goes,
/// however good it is. With several objectives, one of the few that no other of them dominates.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegularisedEvolution {
    /// How many are alive.
    pub population: usize,
    /// How many compete to be a parent.
    pub tournament: usize,
}

impl Default for RegularisedEvolution {
    fn default() -> Self {
        RegularisedEvolution {
            population: 10,
            tournament: 3,
        }
    }
}

impl Optimiser for RegularisedEvolution {
    fn ask(&self, view: &View<'_>, key: Key) -> Result<Proposal, Exhausted> {
        let random = || Ok(Proposal::new(view.draw(key)?.member, "random"));
        let alive: Vec<(&Trial, Vec<f64>)> = view
            .completed()
            .rev()
            .filter_map(|trial| Some((trial, view.scores(trial)?)))
            .take(self.population.max(1))
            .collect();
        if alive.is_empty() || view.trials().len() < self.population {
            return random();
        }
        // A parent whose neighbours are all known gives way to another one.
        for attempt in 0..20u64 {
            let mut sample = alive.clone();
            key.with("tournament")
                .with(attempt)
                .rng()
                .shuffle(&mut sample);
            sample.truncate(self.tournament.max(1));
            let points: Vec<&[f64]> = sample.iter().map(|(_, scores)| scores.as_slice()).collect();
            let best = front::non_dominated(&points);
            // The sample is in random order.
            let (parent, _) = &sample[best[0]];
            if let Some(child) = view.draw_near(&parent.member, key.with("child").with(attempt)) {
                let origin = format!("mutation of trial {}", parent.number);
                return Ok(Proposal::new(child.member, origin));
            }
        }
        random()
    }
}
