//! The search algorithms, one file each, written against the public interface of [`archai_engine`] alone: whatever a
//! built-in algorithm does, your own can do.
//!
//! [`all`] gives the built-in algorithms as a value; [`Algorithms::with`] adds yours.

pub mod darts;
mod registry;

pub use darts::{Darts, DartsSettings};
pub use registry::{Algorithm, AlgorithmConfig, Algorithms, NoSettings};

/// All algorithms that come with the program.
///
/// ```
/// let algorithms = archai_algos::all();
/// assert!(algorithms.get("darts").is_ok());
/// let error = algorithms.get("drats").err().map(|e| e.to_string());
/// assert!(error.is_some_and(|e| e.contains("darts")));
/// ```
pub fn all() -> Algorithms {
    Algorithms::new().with_algorithm(
        Algorithm::new("darts", "a softmax over the ops of each edge, trained by gradient", Darts::new)
            .paper("Liu, Simonyan, Yang: DARTS: Differentiable Architecture Search, 2019, arXiv:1806.09055")
            .config(AlgorithmConfig::File("archai:algos/darts.yaml".to_string())),
    )
}
