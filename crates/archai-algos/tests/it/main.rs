//! Integration tests: one binary, one module per subject.

mod golden;
mod golden_darts;
mod golden_divnas;
mod registry;
mod search;
mod supernets;
