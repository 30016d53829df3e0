//! Integration tests: one binary, one module per subject.

mod conformance;
mod golden;
mod golden_darts;
mod gradient;
mod petridish;
mod random;
mod golden_divnas;
mod registry;
mod resume;
mod search;
mod workbench;
mod supernets;
