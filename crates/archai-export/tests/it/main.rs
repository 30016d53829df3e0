//! Trained networks as files.

mod files;
mod model_file;
mod reference;
mod import;
