//! Data sets in, batches out: formats, transforms, splits and the prefetching loader.
//!
//! [`open`] turns a data-set section of the configuration into a [`Dataset`]; [`Loaders::new`] turns a loader section
//! into everything that a training needs. Batches are plain buffers: nothing here knows of tensors.
//!
//! What a section may name are open lists: [`formats`] of data sets ([`DataFormat`]) and [`transforms`] of images
//! ([`Transform`]). A program starts with the built-in ones and may add its own.
//!
//! Nothing is random except through [`rng`]: every draw is keyed by (seed, purpose, epoch, index), so neither the
//! number of threads nor the order in which they run can change a batch, and a training resumes from its step counter
//! alone. The only threads are the [`Loader`]'s, the only network access is [`download::get`].
//!
//! ```
//! use archai_data::{Loader, Pipeline, Split, formats, open, rng::Key, transforms};
//! use archai_spec::settings::Dataset;
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let settings = Dataset::shipped("fashion_mnist_mini")?;
//! let data = open(&formats::builtin(), &settings, Split::Train)?;
//! let pipeline = Pipeline::train(&settings, 0, &transforms::builtin())?;
//! let loader = Loader::new(data, pipeline, 32)
//!     .shuffled(Key::new(2).with("train"))
//!     .with_workers(2);
//! for batch in loader.epoch(0).take(3) {
//!     let batch = batch?;
//!     assert_eq!(batch.shape, [32, 1, 32, 32]);
//! }
//! # Ok(())
//! # }
//! ```

mod batch;
mod bounded;
mod cache;
mod dataset;
pub mod download;
mod error;
pub mod files;
mod format;
pub mod formats;
mod gather;
mod geometry;
mod held_out;
mod in_order;
mod jpeg;
mod jpeg_scans;
mod loader;
mod loaders;
mod mix;
pub mod nasbench201;
pub mod picture;
mod png;
pub mod sheet;
pub mod split;
pub mod survey;
mod transform;
pub mod transforms;

pub use archai_spec::rng;
pub use batch::{Batch, Mixed};
pub use cache::{Cache, Difference};
pub use dataset::{Dataset, Encoded, Image, InMemory, Listed, Split};
pub use error::DataError;
pub use format::{Contents, DataFormat, Formats, check_place, inspect, open};
pub use gather::Gather;
pub use loader::{Batches, Loader};
pub use loaders::Loaders;
pub use transform::{Pipeline, Pixels, Scope, Step, Transform, Transforms};
pub use transforms::{Square, cutout_square};
