//! What archai talks about, as plain data:
//!
//! - [`config`] and [`settings`]: files and flags to a checked tree, and the tree to typed settings and their digest;
//! - [`desc`]: model descriptions, their builders, checks, costs and drawings, genotype strings, the cells of NAS-Bench-101
//!   and 201, the model zoo;
//! - [`ops`] and [`graph`]: ops as lists of layers, and a network as one graph of them;
//! - [`spaces`] and [`finalize`]: what a search chooses from, and what it keeps;
//! - [`event`]: what happens during a run; [`rng`]: keyed random numbers; [`registry`] and [`names`]: open lists, and the
//!   nearest names in errors; [`numbers`]: numbers as people read them; [`parts`]: parts of a network by name.
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
pub mod parts;
pub mod registry;
pub mod rng;
pub mod settings;
pub mod spaces;
