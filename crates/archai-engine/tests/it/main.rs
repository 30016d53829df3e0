//! The engine against reference vectors, finite differences and its own promises, in one binary.

mod chain;
mod device;
mod disk;
mod finite_differences;
mod fused;
mod golden;
mod golden_architect;
mod golden_networks;
mod golden_ops;
mod guard;
mod hook_memory;
mod lowered;
mod nan;
mod noise;
mod parts;
mod passes;
mod perturbation;
mod spaces;
mod support;
mod train_golden;
mod train_loop;
mod train_rules;
mod train_support;
mod user_data;
mod user_op;
