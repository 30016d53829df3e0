//! Integration tests: one binary, one module per subject.

mod golden;
mod golden_darts;
mod registry;
mod resume;
mod search;
