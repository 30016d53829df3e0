//! Discrete search: a space of networks is data, every member of it is checked before anything is trained, and what
//! proposes the next member sees plain choices, never tensors.
//!
//! A search is a [`Study`]: it asks an [`Optimiser`] for networks of a [space], lets [`Evaluator`]s find out their
//! [quantities](Quantity), and writes a [journal] from which everything else follows.
//!
//! ```
//! use archai_search::cells::Cells201;
//! use archai_search::journal::MemoryStore;
//! use archai_search::{Direction, Quantity, Run, Settings, Setup, Stop, Study, Values, from_fn, optimisers};
//! use std::sync::Arc;
//!
//! // What is wanted: many 3×3 convolutions, at most 900,000 parameters.
//! let convolutions = from_fn([Quantity::new("convolutions", Direction::Maximise)], |job, _| {
//!     let n = job.id.matches('2').count();
//!     Ok(Values::from([("convolutions".into(), n as f64)]))
//! });
//! let mut study = Study::open(Setup {
//!     space: Arc::new(Cells201::new()),
//!     evaluators: vec![Arc::new(convolutions)],
//!     settings: Settings::new(["convolutions"]).limits(["params<=900k".parse()?]),
//!     optimisers: &optimisers::all(),
//!     store: Box::new(MemoryStore::default()),
//!     folder: None,
//! })?;
//! let (stop, clock) = (Stop::new(), || 0.0);
//! study.run(Run { workers: 2, budget: Some(60), stop: &stop, clock: &clock })?;
//! let results = study.results();
//! let best = optimisers::answer(&study.view_of(&results), false).unwrap();
//! assert!(best.values["params"] <= 900e3 && best.values["convolutions"] >= 3.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod cells;
pub mod command;
mod evaluator;
pub mod export;
pub mod forest;
pub mod front;
pub mod journal;
mod optimiser;
pub mod optimisers;
mod problem;
mod quantity;
mod settings;
pub mod space;
mod state;
mod study;
mod surrogate;
pub mod table;
pub mod testing;

pub use evaluator::{
    EvalError, Evaluator, FailureKind, FromFn, Job, Reports, Stop, Verdict, from_fn,
};
pub use optimiser::{Candidate, Exhausted, Optimiser, Proposal, View, Work};
pub use problem::{
    ACTIVATION_MEMORY, Catalogue, Known, MACS, MODEL_SIZE, PARAMS, Problem, own_quantities,
};
pub use quantity::{Bound, CostClass, Direction, Limit, Quantity, Values};
pub use settings::{OptimiserChoice, Order, Settings};
pub use state::{Measured, State, Trial, TrialState};
pub use study::{Difference, Outcome, Run, Setup, Study, StudyError};
