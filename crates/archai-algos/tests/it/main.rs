//! Integration tests: one binary, one module per subject.

mod conformance;
mod exports;
mod faults;
mod golden;
mod golden_darts;
mod golden_divnas;
mod gradient;
mod nan;
mod petridish;
mod random;
mod registry;
mod resume;
mod search;
mod supernets;
mod workbench;
