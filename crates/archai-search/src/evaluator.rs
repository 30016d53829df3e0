//! What finds out the quantities of a network: a training, a table, a program of the user's, a closure.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use archai_spec::desc::ModelDesc;
use archai_spec::rng::Key;
use serde::{Deserialize, Serialize};

use crate::quantity::{Quantity, Values};
use crate::space::{Member, RecipeValue, SearchSpace, SpaceError};

/// A request to end as soon as possible.
#[derive(Debug, Default)]
pub struct Stop(AtomicBool);

impl Stop {
    /// Nobody has asked yet.
    pub fn new() -> Self {
        Stop::default()
    }

    /// Asks.
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A piece of work: one network, from one epoch to another.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// The number of the network in the search, from 0.
    pub trial: usize,
    /// 0 at first, one more each time that it was tried again.
    pub attempt: u32,
    /// Its choices.
    pub member: &'a Member,
    /// Its readable id.
    pub id: &'a str,
    /// The space that it belongs to.
    pub space: &'a dyn SearchSpace,
    /// The epochs to train. What is not trained by epochs may ignore it.
    pub epochs: (u32, u32),
    /// The trial's own folder, in which a checkpoint lies between two jobs, if the search has a place on disk.
    pub folder: Option<&'a Path>,
    /// The key of all that is random here; the same for every attempt.
    pub key: Key,
    /// Whether the search is to end.
    pub stop: &'a Stop,
}

impl fmt::Debug for Job<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("trial", &self.trial)
            .field("attempt", &self.attempt)
            .field("id", &self.id)
            .field("epochs", &self.epochs)
            .finish_non_exhaustive()
    }
}

impl Job<'_> {
    /// The network.
    ///
    /// # Errors
    /// The space cannot describe its member.
    pub fn describe(&self) -> Result<ModelDesc, SpaceError> {
        self.space.describe(self.member)
    }

    /// The settings that the member chooses.
    ///
    /// # Errors
    /// The space cannot say.
    pub fn recipe(&self) -> Result<BTreeMap<String, RecipeValue>, SpaceError> {
        self.space.recipe(self.member)
    }

    /// The epochs to train, as a range.
    pub fn range(&self) -> Range<u32> {
        self.epochs.0..self.epochs.1
    }
}

/// What is to become of a training after a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It goes on.
    #[default]
    Go,
    /// It keeps a checkpoint and waits.
    Pause,
    /// It ends: it cannot win any more.
    Stop,
}

/// Where a training says how far it is. It may say so from another thread than the one that was asked to evaluate.
pub trait Reports: Send {
    /// Reports the values after so many epochs. What it answers is to be obeyed: after [`Verdict::Pause`] or
    /// [`Verdict::Stop`] the evaluation returns these values.
    fn report(&mut self, epochs: u32, values: &Values) -> Verdict;
}

/// Why an evaluation gave no values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The machine's fault, so it may work when tried again: a lost connection, a killed process, a time limit.
    Machine,
    /// The network's fault, so it fails again: memory, a loss that is no number.
    Network,
    /// Neither: the evaluation itself is set up wrongly, so every network would fail. It ends the search.
    Setup,
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FailureKind::Machine => "failure of the machine",
            FailureKind::Network => "failure of the network",
            FailureKind::Setup => "evaluation that is set up wrongly",
        })
    }
}

/// An evaluation without values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EvalError {
    /// Whose fault it is.
    pub kind: FailureKind,
    /// What happened.
    pub message: String,
}

impl EvalError {
    /// The machine's fault.
    pub fn machine(message: impl Into<String>) -> Self {
        EvalError {
            kind: FailureKind::Machine,
            message: message.into(),
        }
    }

    /// The network's fault.
    pub fn network(message: impl Into<String>) -> Self {
        EvalError {
            kind: FailureKind::Network,
            message: message.into(),
        }
    }

    /// The fault of whoever set the evaluation up.
    pub fn setup(message: impl Into<String>) -> Self {
        EvalError {
            kind: FailureKind::Setup,
            message: message.into(),
        }
    }
}

impl From<SpaceError> for EvalError {
    fn from(error: SpaceError) -> Self {
        EvalError::network(error.to_string())
    }
}

/// Finds out quantities of networks.
///
/// ```
/// use archai_search::{EvalError, Evaluator, Job, Quantity, Reports, Values, Direction};
///
/// struct Depth([Quantity; 1]);
/// impl Evaluator for Depth {
///     fn quantities(&self) -> &[Quantity] { &self.0 }
///     fn evaluate(&self, job: &Job<'_>, _: &mut dyn Reports) -> Result<Values, EvalError> {
///         let cells = job.describe()?.cells.len();
///         Ok([("cells".to_string(), cells as f64)].into())
///     }
/// }
/// let depth = Depth([Quantity::new("cells", Direction::Minimise)]);
/// assert_eq!(depth.quantities()[0].name, "cells");
/// ```
pub trait Evaluator: Send + Sync {
    /// What it finds out. All of one evaluator are of one class of cost, except that static ones may stand beside others.
    fn quantities(&self) -> &[Quantity];

    /// Finds out everything that is not static. The values are those after the last epoch of the job.
    ///
    /// # Errors
    /// There are no values, and why.
    fn evaluate(&self, job: &Job<'_>, reports: &mut dyn Reports) -> Result<Values, EvalError>;

    /// Its static quantities of a member, if it has any: they are asked for very often. One that is missing is unknown, and
    /// no limit on it is met.
    ///
    /// # Errors
    /// There are none, and why.
    fn statics(&self, space: &dyn SearchSpace, member: &Member) -> Result<Values, EvalError> {
        let _ = (space, member);
        Ok(Values::new())
    }
}

/// An evaluator made of a closure.
pub struct FromFn<F> {
    quantities: Vec<Quantity>,
    evaluate: F,
}

/// An evaluator that calls a closure.
///
/// ```
/// use archai_search::{from_fn, Direction, EvalError, Evaluator, Quantity, Values};
/// let evaluator = from_fn([Quantity::new("length", Direction::Minimise)], |job, _| {
///     Ok(Values::from([("length".into(), job.id.len() as f64)]))
/// });
/// assert_eq!(evaluator.quantities().len(), 1);
/// ```
pub fn from_fn<F>(quantities: impl IntoIterator<Item = Quantity>, evaluate: F) -> FromFn<F>
where
    F: Fn(&Job<'_>, &mut dyn Reports) -> Result<Values, EvalError> + Send + Sync,
{
    FromFn {
        quantities: quantities.into_iter().collect(),
        evaluate,
    }
}

impl<F> Evaluator for FromFn<F>
where
    F: Fn(&Job<'_>, &mut dyn Reports) -> Result<Values, EvalError> + Send + Sync,
{
    fn quantities(&self) -> &[Quantity] {
        &self.quantities
    }

    fn evaluate(&self, job: &Job<'_>, reports: &mut dyn Reports) -> Result<Values, EvalError> {
        (self.evaluate)(job, reports)
    }
}
