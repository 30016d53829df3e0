//! Integration tests: one binary, one module per subject.

mod golden;
mod golden_darts;
mod gradient;
mod registry;
mod search;
