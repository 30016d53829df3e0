//! Trained networks at work: [`load`] takes a model file, [`Classifier::predict`] says what a picture shows, and
//! [`Classifier::evaluate`] how often that is right. No tensor library is needed, and nothing of the training.
//!
//! ```
//! # let folder = tempfile::tempdir()?;
//! # let (model, picture) = (folder.path().join("model.safetensors"), folder.path().join("picture.png"));
//! # archai_export::testing::write_brightness(&model, &["night", "day"], [3, 32, 32])?;
//! # image::RgbImage::from_pixel(32, 48, image::Rgb([240; 3])).save(&picture)?;
//! let model = archai_predict::load(&model)?;
//! let image = archai_predict::read_picture(&picture)?;
//! let prediction = model.predict(&image)?;
//! for guess in prediction.top(2) {
//!     println!("{} {:.1} %", guess.name, 100.0 * guess.probability);
//! }
//! # assert_eq!(prediction.best().name, "day");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod classifier;
mod error;
mod evaluate;
mod pictures;
mod prediction;
mod quantise;

pub use archai_data::picture::read as read_picture;
pub use archai_export::{ModelFile, ModelFileError, ModelFileErrorKind, ModelInfo, Provenance};
pub use classifier::{Classifier, load};
pub use error::PredictError;
pub use evaluate::Evaluation;
pub use pictures::Pictures;
pub use prediction::{Guess, Prediction};
pub use quantise::Comparison;
