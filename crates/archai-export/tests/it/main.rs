//! Trained networks as files.

mod files;
