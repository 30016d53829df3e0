//! Archai's evolution of the Pareto front, one child at a time.

use archai_spec::rng::Key;
use serde::{Deserialize, Serialize};

use crate::optimiser::{Exhausted, Optimiser, Proposal, View};

/// Mutations of the front of all that was evaluated, crossovers of pairs of it, and random networks, in the proportions in which
/// Archai's iterations have them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvolutionPareto {
    /// Random networks before the first mutation.
    pub init_num_models: usize,
    /// Mutations of each network of the front in one iteration.
    pub mutations_per_parent: usize,
    /// Crossovers in one iteration.
    pub num_crossovers: usize,
    /// Random networks in one iteration.
    pub num_random_mix: usize,
}

impl Default for EvolutionPareto {
    fn default() -> Self {
        EvolutionPareto {
            init_num_models: 10,
            mutations_per_parent: 1,
            num_crossovers: 5,
            num_random_mix: 5,
        }
    }
}

impl Optimiser for EvolutionPareto {
    fn ask(&self, view: &View<'_>, key: Key) -> Result<Proposal, Exhausted> {
        let random = || Ok(Proposal::new(view.draw(key)?.member, "random"));
        let front = view.front();
        if front.is_empty() || view.trials().len() < self.init_num_models {
            return random();
        }
        let mutations = front.len() * self.mutations_per_parent;
        // Of a single network no crossover can be made.
        let crossovers = if front.len() > 1 {
            self.num_crossovers
        } else {
            0
        };
        let all = (mutations + crossovers + self.num_random_mix) as u32;
        for attempt in 0..20u64 {
            let key = key.with("child").with(attempt);
            let mut rng = key.rng();
            let kind = rng.uniform_u32_below(all) as usize;
            let (first, _) = &front[rng.uniform_u32_below(front.len() as u32) as usize];
            if kind < mutations {
                if let Some(child) = view.draw_near(&first.member, key.with("mutation")) {
                    let origin = format!("mutation of trial {}", first.number);
                    return Ok(Proposal::new(child.member, origin));
                }
            } else if kind < mutations + crossovers {
                let others: Vec<_> = front
                    .iter()
                    .filter(|(trial, _)| trial.number != first.number)
                    .collect();
                let (second, _) = others[rng.uniform_u32_below(others.len() as u32) as usize];
                let child = view
                    .space()
                    .crossover(&first.member, &second.member, key.with("mix"));
                if let Some(child) = view.fresh(child) {
                    let origin =
                        format!("crossover of trials {} and {}", first.number, second.number);
                    return Ok(Proposal::new(child.member, origin));
                }
            } else {
                break;
            }
        }
        random()
    }
}
