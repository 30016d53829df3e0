//! Integration tests: one binary, one module per subject.

mod conformance;
mod golden;
mod golden_darts;
mod gradient;
mod registry;
mod resume;
mod search;
