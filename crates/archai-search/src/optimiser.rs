//! What proposes: the trait, and what an optimiser sees.

use std::sync::Arc;

use archai_spec::rng::Key;

use crate::evaluator::Verdict;
use crate::front;
use crate::problem::{Known, Problem};
use crate::quantity::{CostClass, Quantity, Values};
use crate::space::{Member, SearchSpace};
use crate::state::{Measured, State, Trial, TrialState};

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// A new network, or one that waits.
    pub work: Work,
    /// After how many epochs to pause; the whole training if none is named.
    pub until: Option<u32>,
    /// Why this one, for people and for the optimiser itself: it stands in [`Trial::origin`].
    pub origin: String,
}

/// On which network.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// One that was not tried yet.
    New(Member),
    /// The waiting trial of this number.
    Continue(usize),
}

impl Proposal {
    /// A new network for a whole training.
    pub fn new(member: Member, origin: impl Into<String>) -> Self {
        Proposal {
            work: Work::New(member),
            until: None,
            origin: origin.into(),
        }
    }
}

/// Why there is no proposal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exhausted {
    /// There is no network left that was not tried and is within the static limits.
    #[error("no network is left: {0}")]
    Space(String),
    /// Nothing can be said until a result arrives. If none is under way, the search is at its end.
    #[error("nothing is to be done until results arrive")]
    UntilResults,
}

/// Proposes networks. It has settings and no state: what it knows is in the view, so that a search can be read back, replayed
/// and resumed.
///
/// ```
/// use archai_search::{Exhausted, Optimiser, Proposal, View};
/// use archai_spec::rng::Key;
///
/// /// Whatever has the fewest parameters of ten random networks.
/// struct Small;
/// impl Optimiser for Small {
///     fn ask(&self, view: &View<'_>, key: Key) -> Result<Proposal, Exhausted> {
///         let mut best = view.draw(key)?;
///         for i in 0..9u64 {
///             let other = view.draw(key.with(i))?;
///             if other.known.statics["params"] < best.known.statics["params"] {
///                 best = other;
///             }
///         }
///         Ok(Proposal::new(best.member, "small"))
///     }
/// }
/// ```
pub trait Optimiser: Send + Sync {
    /// The next proposal: a function of the view and the key alone. A new network must be fresh, see [`View::fresh`].
    ///
    /// # Errors
    /// There is none.
    fn ask(&self, view: &View<'_>, key: Key) -> Result<Proposal, Exhausted>;

    /// Whether it compares trainings on their way, so that a search by it needs rungs.
    fn has_rungs(&self) -> bool {
        false
    }

    /// What becomes of a training that has reported values: a function of its arguments alone.
    fn verdict(&self, view: &View<'_>, trial: &Trial, epochs: u32, values: &Values) -> Verdict {
        let _ = (view, trial, epochs, values);
        Verdict::Go
    }
}

/// A network that was not tried yet and is within the static limits.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its choices.
    pub member: Member,
    /// What follows from its description.
    pub known: Arc<Known>,
}

/// What an optimiser sees.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub(crate) problem: &'a Problem,
    pub(crate) state: &'a State,
    /// For verdicts: measurements of this job and later ones are not seen.
    pub(crate) horizon: Option<usize>,
}

/// How often a random member is drawn before other ways are tried.
const DRAWS: usize = 64;
/// How often it is drawn when there is no other way.
const MANY_DRAWS: u64 = 10_000;
/// Most members of a space that is searched through for those that are left.
const MAX_SEARCHED: u64 = 100_000;

impl<'a> View<'a> {
    pub(crate) fn new(problem: &'a Problem, state: &'a State) -> Self {
        View {
            problem,
            state,
            horizon: None,
        }
    }

    /// The space.
    pub fn space(&self) -> &'a dyn SearchSpace {
        self.problem.space()
    }

    /// The search as it was set up.
    pub fn problem(&self) -> &'a Problem {
        self.problem
    }

    /// All networks that were proposed, by number. Those under way have no values yet.
    pub fn trials(&self) -> &'a [Trial] {
        &self.state.trials
    }

    /// The trials that came to an end or to a rung, in the order of their results.
    pub fn completed(&self) -> impl DoubleEndedIterator<Item = &'a Trial> + 'a {
        let state = self.state;
        state.completed.iter().map(|number| &state.trials[*number])
    }

    /// The quantities to make as good as possible.
    pub fn objectives(&self) -> &'a [Quantity] {
        &self.problem.objectives
    }

    /// Whether one more new network may be tried.
    pub fn may_start(&self) -> bool {
        let n = self.state.trials.len();
        self.state.budget.is_none_or(|budget| n < budget)
    }

    /// The objectives of a trial that is done and within all limits, each such that less is better.
    pub fn scores(&self, trial: &Trial) -> Option<Vec<f64>> {
        match trial.state {
            TrialState::Done => self.scores_of(&trial.values),
            _ => None,
        }
    }

    /// The objectives among values, each such that less is better, if all are there.
    pub fn scores_of(&self, values: &Values) -> Option<Vec<f64>> {
        let score = |quantity: &Quantity| {
            let value = values.get(&quantity.name)?;
            Some(quantity.direction.minimised(*value))
        };
        self.objectives().iter().map(score).collect()
    }

    /// What is comparable among all trials: the objectives at the first rung, or at the end where there are no rungs, of every
    /// trial that has them, beyond limits or not.
    pub fn signal(&self, trial: &Trial) -> Option<Vec<f64>> {
        match self.problem.settings.rungs.as_slice() {
            [first, _, ..] => self.measured(trial, *first),
            _ if trial.measured.is_empty() => match trial.state {
                TrialState::Infeasible { .. } => self.scores_of(&trial.values),
                _ => None,
            },
            _ => self.scores_of(&trial.values),
        }
    }

    /// The objectives of a trial after so many epochs.
    pub fn measured(&self, trial: &Trial, epochs: u32) -> Option<Vec<f64>> {
        let visible = |m: &&Measured| {
            let hidden = self
                .horizon
                .is_some_and(|h| m.job.is_some_and(|job| job >= h));
            m.epochs == epochs && !hidden
        };
        let found = trial.measured.iter().find(visible)?;
        let score = |quantity: &Quantity| {
            let all = [&found.values, &trial.values];
            let classes = [true, quantity.class == CostClass::Static];
            let mut values = all.iter().zip(classes).filter(|(_, usable)| *usable);
            let value = values.find_map(|(values, _)| values.get(&quantity.name))?;
            Some(quantity.direction.minimised(*value))
        };
        self.objectives().iter().map(score).collect()
    }

    /// The trials that are done, within all limits and dominated by no other one, and their objectives.
    pub fn front(&self) -> Vec<(&'a Trial, Vec<f64>)> {
        let done: Vec<(&Trial, Vec<f64>)> = self
            .completed()
            .filter_map(|trial| Some((trial, self.scores(trial)?)))
            .collect();
        let points: Vec<&[f64]> = done.iter().map(|(_, scores)| scores.as_slice()).collect();
        let kept = front::non_dominated(&points);
        kept.into_iter().map(|i| done[i].clone()).collect()
    }

    /// What follows from a member's description, if it has one.
    pub fn known(&self, member: &Member) -> Option<Arc<Known>> {
        self.problem.catalogue.know(member).ok()
    }

    /// The trial of a network, if it was proposed.
    pub fn trial_of(&self, known: &Known) -> Option<&'a Trial> {
        let number = self.state.by_hash.get(&known.hash)?;
        Some(&self.state.trials[*number])
    }

    /// The member as a candidate: its network was not proposed before and is within the static limits.
    pub fn fresh(&self, member: Member) -> Option<Candidate> {
        let known = self.known(&member)?;
        let is_fresh =
            !self.state.by_hash.contains_key(&known.hash) && self.problem.admits(&known.statics);
        is_fresh.then_some(Candidate { member, known })
    }

    /// A random fresh network. Where few are within the static limits, it begins at random ones and goes from neighbour to
    /// neighbour towards the limits; where few are left, it looks at all.
    ///
    /// # Errors
    /// There is none, as far as can be seen.
    pub fn draw(&self, key: Key) -> Result<Candidate, Exhausted> {
        let failed = |e: crate::space::SpaceError| Exhausted::Space(e.to_string());
        let limited = !self.problem.static_limits.is_empty();
        for i in 0..DRAWS {
            let member = self
                .space()
                .sample(key.with("draw").with(i))
                .map_err(failed)?;
            if let Some(candidate) = self.fresh(member) {
                return Ok(candidate);
            }
        }
        if limited {
            for i in 0..16u64 {
                if let Some(candidate) = self.descend(key.with("descent").with(i)) {
                    return Ok(candidate);
                }
            }
        }
        let size = self
            .space()
            .size()
            .and_then(|size| u64::try_from(size).ok());
        if size.is_some_and(|size| size <= MAX_SEARCHED)
            && let Some(all) = self.space().enumerate()
        {
            let mut left: Vec<Candidate> = all.filter_map(|member| self.fresh(member)).collect();
            // Members that are one network count once, so that each network is as likely as the next.
            left.sort_by(|a, b| a.known.hash.cmp(&b.known.hash));
            left.dedup_by(|a, b| a.known.hash == b.known.hash);
            let Some(n) = u32::try_from(left.len()).ok().filter(|n| *n > 0) else {
                return Err(Exhausted::Space(format!(
                    "all {} networks of `{}` that are within the static limits were tried",
                    self.trials().len(),
                    self.space().name()
                )));
            };
            let drawn = key.with("left").rng().uniform_u32_below(n);
            return Ok(left.swap_remove(drawn as usize));
        }
        for i in 0..MANY_DRAWS {
            let member = self
                .space()
                .sample(key.with("many").with(i))
                .map_err(failed)?;
            if let Some(candidate) = self.fresh(member) {
                return Ok(candidate);
            }
        }
        Err(Exhausted::Space(format!(
            "of {MANY_DRAWS} random members of `{}` none is new and within the static limits",
            self.space().name()
        )))
    }

    /// From a random member to one within the static limits.
    fn descend(&self, key: Key) -> Option<Candidate> {
        let mut member = self.space().sample(key).ok()?;
        let mut excess = self.problem.excess(&self.known(&member)?.statics);
        for step in 0..200u64 {
            if let Some(candidate) = self.fresh(member.clone()) {
                return Some(candidate);
            }
            let mut around = self.space().neighbours(&member);
            key.with(step).rng().shuffle(&mut around);
            let mut next = None;
            for other in around {
                let Some(known) = self.known(&other) else {
                    continue;
                };
                let beyond = self.problem.excess(&known.statics);
                // Within the limits it wanders until it meets a network that is new.
                if beyond < excess || (beyond == 0.0 && excess == 0.0) {
                    next = Some((other, beyond));
                    break;
                }
            }
            (member, excess) = next?;
        }
        None
    }

    /// A fresh neighbour of a member, each as likely as the next.
    pub fn draw_near(&self, member: &Member, key: Key) -> Option<Candidate> {
        let mut around = self.space().neighbours(member);
        key.rng().shuffle(&mut around);
        around.into_iter().find_map(|other| self.fresh(other))
    }
}
