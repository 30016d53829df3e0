//! What archai talks about, as plain data: configuration trees and typed settings, model descriptions and
//! the builder that makes them, search spaces, the rules of finalising, genotype strings, the cost model, keyed random
//! numbers, and the records that a run leaves behind.
//!
//! Nothing here knows of tensors, threads, clocks, environment variables or networks. Files come in through
//! [`config::FileSource`], so every function can be tested on strings.

pub mod config;
pub mod desc;
pub mod event;
pub mod finalize;
pub mod graph;
pub mod names;
pub mod numbers;
pub mod ops;
pub mod registry;
pub mod rng;
pub mod settings;
pub mod spaces;
