//! Pages of runs: what stands on them, and what they do with damage.

mod hostile;
mod mistakes;
mod pages;
mod support;
