//! Discrete search at work: [`Training`] finds out by training what members of a space reach, and [`SearchDir`] is the folder in
//! which a search keeps everything that it needs to go on.
//!
//! The search itself is the crate `archai-search`, which knows no tensors. What is here joins it with the evaluation that
//! `archai train` makes of a description.

mod dir;
mod training;

pub use dir::{
    BEST_FILE, Evaluation, FRONT_FILE, FittedTo, JOURNAL_FILE, PLOT_FILE, PROGRESS_FILE, Recorded,
    SEARCH_FILE, SPACE_FILE, STATE_FILE, SearchDir, SearchStart, TRIALS, TableColumn, space_from,
};
pub use training::{ACCURACY, LOSS, TRAIN_TIME, Training, surroundings};
