//! The search algorithms, one file or folder each, written against the public interface of [`archai_engine`] alone: whatever a
//! built-in algorithm does, your own can do.
//!
//! [`all`] gives the built-in algorithms as a value, to which [`Registry::with`] adds yours.
//!
//! An algorithm is a file with a runner (an `ExperimentRunner` that names the parts which differ from the defaults), a YAML
//! file with its default settings beside it, and a function `algorithm()` that puts both together as an [`Algorithm`].
//! `darts.rs` with `darts.yaml` is the one to read first. The documentation of the crate `archai` begins with an algorithm
//! of a program's own; the same text is `crates/archai/examples/my_darts.rs`.

mod choices;
mod compared;
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
pub use registry::{Algorithm, Algorithms, BASE_ALGORITHM, NoSettings, files};
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
