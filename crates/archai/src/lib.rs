//! Neural architecture search from the first search to the trained network: one crate to depend on.
//!
//! The work is done by the crates that this one re-exports: [`spec`] holds configurations and model descriptions, [`data`]
//! reads images, [`engine`] builds, trains and saves models, [`algos`] are the search algorithms, and [`lab`] runs
//! experiments and reads what they leave. What this crate adds is the command line, [`cli::run`], which any program may
//! call with algorithms and ops of its own. Such a program does well to install [`PoolAllocator`]: training asks for the
//! same large blocks step after step.

pub use archai_algos as algos;
pub use archai_data as data;
pub use archai_engine as engine;
pub use archai_kernels::PoolAllocator;
pub use archai_lab as lab;
pub use archai_spec as spec;

mod bench;
pub mod cli;
