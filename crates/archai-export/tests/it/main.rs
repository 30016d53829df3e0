//! Trained networks as files.

mod files;
mod reference;
