//! Local search with restarts (White, Nolen and Savani, "Exploring the loss landscape in neural architecture search", 2021): first
//! improvement.

use std::collections::HashSet;

use archai_spec::rng::Key;
use serde::{Deserialize, Serialize};

use crate::optimiser::{Exhausted, Optimiser, Proposal, View};
use crate::state::Trial;

/// With one objective, it looks at the neighbours of a network in random order, goes to the first that is better, and begins
/// anew at random where none is. With several, it looks at the neighbours of the front (as Archai's local search).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalSearch {}

const RESTART: &str = "restart";

impl Optimiser for LocalSearch {
    fn ask(&self, view: &View<'_>, key: Key) -> Result<Proposal, Exhausted> {
        let restart = || Ok(Proposal::new(view.draw(key)?.member, RESTART));
        if view.objectives().len() > 1 {
            let mut front = view.front();
            key.with("front").rng().shuffle(&mut front);
            for (trial, _) in front {
                if let Some(near) = view.draw_near(&trial.member, key.with("near")) {
                    let origin = format!("neighbour of trial {}", trial.number);
                    return Ok(Proposal::new(near.member, origin));
                }
            }
            return restart();
        }
        // Where a walk is follows from what is known, so it is walked again from its beginning.
        let value = |trial: &Trial| view.scores(trial).map(|scores| scores[0]);
        // Beginnings that failed, or of which nothing is known yet, are passed over.
        let mut begun = view
            .trials()
            .iter()
            .rev()
            .filter(|trial| trial.origin == RESTART);
        let Some((mut at, mut best)) = begun.find_map(|trial| Some((trial, value(trial)?))) else {
            return restart();
        };
        // Neighbours are taken in the same order whenever a walk comes by.
        let walk = Key::new(view.problem().settings.seed)
            .with("local")
            .with(at.number);
        let mut seen = HashSet::new();
        'walk: loop {
            let mut around = view.space().neighbours(&at.member);
            walk.with(at.id.as_str()).rng().shuffle(&mut around);
            seen.insert(at.number);
            for member in around {
                let Some(known) = view.known(&member) else {
                    continue;
                };
                match view.trial_of(&known) {
                    Some(other) => {
                        if let Some(v) = value(other)
                            && v < best
                            && !seen.contains(&other.number)
                        {
                            (at, best) = (other, v);
                            continue 'walk;
                        }
                    }
                    None => {
                        if let Some(candidate) = view.fresh(member) {
                            let origin = format!("neighbour of trial {}", at.number);
                            return Ok(Proposal::new(candidate.member, origin));
                        }
                    }
                }
            }
            return restart();
        }
    }
}
