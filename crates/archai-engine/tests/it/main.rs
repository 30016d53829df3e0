//! The engine against reference vectors, finite differences and its own promises.

mod finite_differences;
mod golden;
mod golden_architect;
mod golden_networks;
mod golden_ops;
mod passes;
mod support;
mod user_op;
