//! A model at work, from files to figures.

mod classify;
mod evaluate;
mod pictures;
