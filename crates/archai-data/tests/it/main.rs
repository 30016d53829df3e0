//! The crate's tests through its public interface.

mod contents;
mod download;
mod fixtures;
mod folders;
mod geometry;
mod golden;
mod hostile;
mod lists;
mod loader;
mod loaders;
mod mix;
mod nasbench201;
mod pictures;
mod readers;
mod sets;
mod transform;
