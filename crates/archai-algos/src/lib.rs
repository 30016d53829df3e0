//! The search algorithms, one file or folder each, written against the public interface of [`archai_engine`] alone: whatever a
//! built-in algorithm does, your own can do.
//!
//! [`all`] gives the built-in algorithms as a value, to which [`Registry::with`] adds yours.
//!
//! # Implementing DARTS
//! An algorithm is four small pieces: a search space, what happens before the training, what happens before each step, and
//! a runner that names them. This is DARTS in first order; `archai::cli::run(algorithms)` as the body of `main` gives it the
//! whole command line.
//!
//! ```
//! use archai_algos::{Algorithm, NoSettings};
//! use archai_engine::experiment::ExperimentRunner;
//! use archai_engine::trainer::{Step, TrainerHooks};
//! use archai_engine::EngineError;
//! use archai_spec::desc::{CellPlan, DescError, EdgeDesc, ModelDescBuilder, NodeDesc, OpDesc, PRIMITIVES};
//! use archai_spec::settings::Search;
//!
//! /// Every node reads every earlier state of its cell through a mixed op.
//! struct MyBuilder;
//! impl ModelDescBuilder for MyBuilder {
//!     fn nodes(&self, cell: &CellPlan<'_>) -> Result<Vec<NodeDesc>, DescError> {
//!         let edge = |from| EdgeDesc::new(from, OpDesc::mixed(&PRIMITIVES, cell.channels, cell.stride(from)));
//!         Ok((0..cell.n_nodes).map(|node| NodeDesc::new((0..node + 2).map(edge))).collect())
//!     }
//! }
//!
//! /// The architecture steps on a validation batch before the weights step on a training batch. The trainer remembers the
//! /// moments of its optimizer, so that an interrupted search ends in the same bytes.
//! struct Bilevel;
//! impl TrainerHooks for Bilevel {
//!     fn pre_step(&mut self, step: &mut Step<'_>) -> Result<(), EngineError> {
//!         let valid = step.next_valid()?;
//!         let (_loss, grads) = step.model.arch_grads(&valid, &step.objective())?;
//!         step.move_arch(&grads)
//!     }
//! }
//!
//! struct MyDarts;
//! impl ExperimentRunner for MyDarts {
//!     fn model_desc_builder(&self) -> Box<dyn ModelDescBuilder> {
//!         Box::new(MyBuilder)
//!     }
//!     fn trainer_hooks(&self, _: &Search) -> Result<Vec<Box<dyn TrainerHooks>>, EngineError> {
//!         Ok(vec![Box::new(Bilevel)])
//!     }
//! }
//!
//! let mine = Algorithm::new("my_darts", "the tutorial's DARTS", |_: NoSettings| MyDarts);
//! let algorithms = archai_algos::all().with(mine.into());
//! assert!(algorithms.get("my_darts").is_ok());
//! ```

mod alpha_step;
pub mod darts;
pub mod didarts;
pub mod divnas;
mod given;
pub mod gs;
pub mod manual;
pub mod nasbench101;
pub mod petridish;
pub mod random;
mod registry;
pub mod xnas;

pub use darts::{Darts, DartsSettings};
pub use didarts::Didarts;
pub use divnas::{Divnas, DivnasSettings};
pub use gs::{Gs, GsSettings};
pub use manual::{Manual, ManualSettings, ZooModel};
pub use nasbench101::{NasBench101, NasBench101Settings};
pub use petridish::{Petridish, PetridishSettings};
pub use random::{Random, RandomSettings};
pub use registry::{Algorithm, Algorithms, NoSettings, files};
pub use xnas::{Xnas, XnasSettings};

use std::sync::Arc;

use archai_spec::registry::Registry;

/// All algorithms that come with the program, a line each.
///
/// ```
/// let algorithms = archai_algos::all();
/// assert!(algorithms.get("darts").is_ok());
/// let error = algorithms.get("drats").err().map(|e| e.to_string());
/// assert!(error.is_some_and(|e| e.contains("darts")));
/// ```
pub fn all() -> Algorithms {
    [
        darts::algorithm(),
        didarts::algorithm(),
        xnas::algorithm(),
        gs::algorithm(),
        petridish::algorithm(),
        random::algorithm(),
        divnas::algorithm(),
        manual::algorithm(),
        nasbench101::algorithm(),
    ]
    .into_iter()
    .map(Arc::new)
    .fold(Registry::new("algorithm"), Registry::with)
}
