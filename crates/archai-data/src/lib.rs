//! Data sets in, batches out: readers, transforms, splits and the prefetching loader.
//!
//! [`open`] turns a data-set section of the configuration into a [`Dataset`]; [`Loaders::new`] turns a loader section
//! into everything that a training needs. Batches are plain buffers: nothing here knows of tensors.
//!
//! Nothing is random except through [`rng`]: every draw is keyed by (seed, purpose, epoch, index), so neither the
//! number of threads nor the order in which they run can change a batch, and a training resumes from its step counter
//! alone. The only threads are the [`Loader`]'s, the only network access is [`download::get`].
//!
//! ```
//! use archai_data::{Loader, Transform, rng::Key};
//! # fn main() -> Result<(), archai_data::DataError> {
//! let settings = archai_data::embedded::settings("fashion_mnist_mini")?;
//! let data = archai_data::open(&settings, archai_data::Split::Train)?;
//! let loader = Loader::new(data, Transform::train(&settings, 0)?, 32)
//!     .shuffled(Key::new(2).with("train"))
//!     .with_workers(2);
//! for batch in loader.epoch(0).take(3) {
//!     let batch = batch?;
//!     assert_eq!(batch.shape, [32, 1, 32, 32]);
//! }
//! # Ok(())
//! # }
//! ```

mod bounded;
mod cifar;
mod dataset;
pub mod download;
pub mod embedded;
mod error;
mod files;
mod idx;
mod image_folder;
mod loader;
mod loaders;
pub mod nasbench201;
mod parquet_guard;
mod parquet_images;
mod picture;
pub mod rng;
pub mod split;
mod transform;

pub use dataset::{Dataset, Image, InMemory, Split, open};
pub use error::DataError;
pub use loader::{Batch, Batches, Loader};
pub use loaders::Loaders;
pub use transform::{Augment, Square, Transform, cutout_square};
