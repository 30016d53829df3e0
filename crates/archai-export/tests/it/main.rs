//! Trained networks as files.

mod files;
mod import;
mod model_file;
mod reference;
