//! NSGA-II (Deb, Pratap, Agarwal and Meyarivan, "A fast and elitist multiobjective genetic algorithm: NSGA-II", 2002), one child
//! at a time: a generation would make all workers wait for the slowest.

use archai_spec::rng::{Key, Rng};
use serde::{Deserialize, Serialize};

use crate::front;
use crate::optimiser::{Exhausted, Optimiser, Proposal, View};
use crate::state::Trial;

/// Crossover and mutation of two parents, each the better of two random networks of the population: first by its front, then by
/// how far it is from others. The population are the best of all that were evaluated.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nsga2 {
    /// How many may be parents.
    pub population: usize,
    /// How often a child is made of two parents rather than of one.
    pub crossover: f64,
}

impl Default for Nsga2 {
    fn default() -> Self {
        Nsga2 {
            population: 20,
            crossover: 0.9,
        }
    }
}

/// The best trials by front and crowding, best first, with what they are compared by.
pub(super) fn best<'a>(view: &View<'a>, most: usize) -> Vec<(&'a Trial, Vec<f64>, usize, f64)> {
    let done: Vec<(&Trial, Vec<f64>)> = view
        .completed()
        .filter_map(|trial| Some((trial, view.scores(trial)?)))
        .collect();
    let points: Vec<&[f64]> = done.iter().map(|(_, scores)| scores.as_slice()).collect();
    let ranks = front::ranks(&points);
    let mut crowding = vec![0.0; done.len()];
    for rank in 0..=ranks.iter().copied().max().unwrap_or(0) {
        let on: Vec<usize> = (0..done.len()).filter(|i| ranks[*i] == rank).collect();
        let front: Vec<&[f64]> = on.iter().map(|i| points[*i]).collect();
        for (i, distance) in on.iter().zip(front::crowding(&front)) {
            crowding[*i] = distance;
        }
    }
    let mut order: Vec<usize> = (0..done.len()).collect();
    order.sort_by(|a, b| {
        let by_crowding = crowding[*b].total_cmp(&crowding[*a]);
        ranks[*a].cmp(&ranks[*b]).then(by_crowding)
    });
    order.truncate(most);
    order
        .into_iter()
        .map(|i| (done[i].0, done[i].1.clone(), ranks[i], crowding[i]))
        .collect()
}

impl Optimiser for Nsga2 {
    fn ask(&self, view: &View<'_>, key: Key) -> Result<Proposal, Exhausted> {
        let random = || Ok(Proposal::new(view.draw(key)?.member, "random"));
        let population = best(view, self.population.max(2));
        if population.len() < 2 || view.trials().len() < self.population {
            return random();
        }
        let n = population.len() as u32;
        // The population is sorted, so the smaller of two numbers is the better network.
        let pick = |rng: &mut Rng| rng.uniform_u32_below(n).min(rng.uniform_u32_below(n)) as usize;
        for attempt in 0..20u64 {
            let key = key.with("child").with(attempt);
            let mut rng = key.rng();
            let (a, b) = (pick(&mut rng), pick(&mut rng));
            let (a, b) = (population[a].0, population[b].0);
            let mut child = a.member.clone();
            let mut origin = format!("mutation of trial {}", a.number);
            if a.number != b.number && rng.uniform_f64() < self.crossover {
                child = view
                    .space()
                    .crossover(&a.member, &b.member, key.with("mix"));
                origin = format!("crossover of trials {} and {}", a.number, b.number);
            }
            if let Some(candidate) = view.draw_near(&child, key.with("mutation")) {
                return Ok(Proposal::new(candidate.member, origin));
            }
        }
        random()
    }
}
