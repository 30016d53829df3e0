//! The crate's tests through its public interface.

mod download;
mod fixtures;
mod golden;
mod hostile;
mod loader;
mod loaders;
mod nasbench201;
mod readers;
mod transform;
