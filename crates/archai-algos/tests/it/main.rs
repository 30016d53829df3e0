//! Integration tests: one binary, one module per subject.

mod golden;
mod golden_darts;
mod petridish;
mod random;
mod registry;
mod search;
mod workbench;
