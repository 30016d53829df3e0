//! Networks as rows of numbers for the trees, and the candidates that they choose from.

use std::sync::Arc;

use archai_spec::rng::Key;

use crate::forest::Table;
use crate::optimiser::{Candidate, View};
use crate::problem::{MODEL_SIZE, Sight, lock};
use crate::quantity::{CostClass, Values};
use crate::state::Trial;

/// Candidates with what the surrogate sees of them.
pub(crate) type Pool = Vec<(Candidate, Arc<Sight>)>;

/// So many random members are candidates, or all of a space that has no more.
const POOL: usize = 5_000;
/// After so many proposals other random members become candidates.
const RENEWED: usize = 100;

/// The random candidates of a search, or all members of a small space: within the static limits, tried or not, each network
/// once. They change from time to time, so that what follows from their descriptions is found out once for many proposals.
pub(crate) fn pool(view: &View<'_>) -> Arc<Pool> {
    let problem = view.problem();
    let size = view
        .space()
        .size()
        .and_then(|size| u64::try_from(size).ok());
    let small = size.is_some_and(|size| size <= POOL as u64);
    let number = if small {
        0
    } else {
        view.trials().len() / RENEWED
    };
    if let Some((_, pool)) = lock(&problem.pools).iter().find(|(n, _)| *n == number) {
        return pool.clone();
    }
    let key = Key::new(problem.settings.seed).with("pool").with(number);
    let mut members = Vec::new();
    match view.space().enumerate().filter(|_| small) {
        Some(all) => members.extend(all),
        None => {
            let drawn = (0..POOL).filter_map(|i| view.space().sample(key.with(i)).ok());
            members.extend(drawn);
        }
    }
    let mut seen = std::collections::HashSet::new();
    let mut pool = Pool::new();
    let mut add = |candidate: Candidate| {
        let usable =
            problem.admits(&candidate.known.statics) && !seen.contains(&candidate.known.hash);
        if let Some(sight) = sight(view, &candidate).filter(|_| usable) {
            seen.insert(candidate.known.hash.clone());
            pool.push((candidate, sight));
        }
    };
    for member in members {
        if let Some(known) = view.known(&member) {
            add(Candidate { member, known });
        }
    }
    if !small && !problem.static_limits.is_empty() {
        // Where limits leave few random members, others are looked for at the limits.
        for i in 0..200u64 {
            if let Ok(candidate) = view.draw(key.with("limits").with(i)) {
                add(candidate);
            }
        }
    }
    let pool = Arc::new(pool);
    let mut pools = lock(&problem.pools);
    // A replay that goes backwards is rare: the newest few are enough.
    if pools.len() >= 4 {
        pools.remove(0);
    }
    pools.push((number, pool.clone()));
    pool
}

pub(crate) fn sight(view: &View<'_>, candidate: &Candidate) -> Option<Arc<Sight>> {
    let catalogue = &view.problem().catalogue;
    catalogue.sight(&candidate.member, &candidate.known).ok()
}

/// The fresh neighbours of trials.
pub(crate) fn neighbours(view: &View<'_>, trials: &[&Trial]) -> Pool {
    let members = trials
        .iter()
        .flat_map(|trial| view.space().neighbours(&trial.member));
    let fresh = members.filter_map(|member| view.fresh(member));
    fresh
        .filter_map(|candidate| {
            let sight = sight(view, &candidate)?;
            Some((candidate, sight))
        })
        .collect()
}

/// What the columns of a row mean.
pub(crate) struct Layout {
    choices: usize,
    /// The column of a path, by the path's number; none where no example has it.
    paths: Vec<Option<u32>>,
    n_paths: usize,
    /// Static quantities, and the examples' values in order: what counts is a value's rank among them.
    statics: Vec<(String, Vec<f64>)>,
}

/// Trials as rows.
pub(crate) struct Examples {
    pub layout: Layout,
    pub table: Table,
}

impl Examples {
    /// The rows of trials, in their order. None if what they are cannot be seen.
    pub fn new(view: &View<'_>, trials: &[&Trial]) -> Option<Self> {
        let mut sights = Vec::with_capacity(trials.len());
        for trial in trials {
            let known = view.known(&trial.member)?;
            let member = trial.member.clone();
            sights.push(sight(view, &Candidate { member, known })?);
        }
        let mut numbers: Vec<u32> = sights
            .iter()
            .flat_map(|sight| sight.paths.iter().map(|(number, _)| *number))
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        view.problem().catalogue.sort_paths(&mut numbers);
        let most = numbers.iter().max().map_or(0, |most| *most as usize + 1);
        let mut paths = vec![None; most];
        for (column, number) in numbers.iter().enumerate() {
            paths[*number as usize] = Some(column as u32);
        }
        let quantities = view.problem().settings.quantities.iter();
        let statics = quantities.filter(|q| q.class == CostClass::Static && q.name != MODEL_SIZE);
        let statics = statics.map(|quantity| {
            let known = trials
                .iter()
                .filter_map(|trial| trial.values.get(&quantity.name));
            let mut values: Vec<f64> = known.copied().collect();
            values.sort_by(f64::total_cmp);
            (quantity.name.clone(), values)
        });
        let layout = Layout {
            choices: sights.first().map_or(0, |sight| sight.choices.len()),
            paths,
            n_paths: numbers.len(),
            statics: statics.filter(|(_, values)| !values.is_empty()).collect(),
        };
        let mut values = Vec::with_capacity(trials.len() * layout.width());
        for (trial, sight) in trials.iter().zip(&sights) {
            layout.write(sight, &trial.values, &mut values);
        }
        Some(Examples {
            table: Table::new(layout.width(), values),
            layout,
        })
    }
}

impl Layout {
    fn width(&self) -> usize {
        self.choices + self.n_paths + self.statics.len()
    }

    /// Adds a row.
    pub fn write(&self, sight: &Sight, statics: &Values, row: &mut Vec<f32>) {
        let start = row.len();
        row.extend_from_slice(&sight.choices);
        row.resize(start + self.choices + self.n_paths, 0.0);
        for (number, n) in &sight.paths {
            if let Some(Some(column)) = self.paths.get(*number as usize) {
                row[start + self.choices + *column as usize] = *n as f32;
            }
        }
        for (name, values) in &self.statics {
            row.push(match statics.get(name) {
                Some(value) => {
                    let below = values.partition_point(|other| other < value);
                    below as f32 / values.len() as f32
                }
                None => -1.0,
            });
        }
    }
}
