//! The crate's tests through its public interface.

mod augment;
mod cache;
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
mod memory;
mod mix;
mod nasbench201;
mod pictures;
mod readers;
mod sets;
mod survey;
mod transform;

/// What the tests of memory ask; it counts in all of them.
#[global_allocator]
static PEAK: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;
