//! What can go wrong between a model file and what it says of a picture.

use archai_data::DataError;
use archai_export::ModelFileError;
use archai_infer::InferError;

/// An error of this crate. Messages say what happened, what was expected and how to mend it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PredictError {
    /// The file cannot be used as a model.
    #[error(transparent)]
    Model(#[from] ModelFileError),
    /// The network cannot be executed.
    #[error(transparent)]
    Network(#[from] InferError),
    /// Pictures or a data set cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The data are of another kind than the model was trained for.
    #[error("{0}")]
    Mismatch(String),
    /// The network cannot be quantised.
    #[error("the network cannot be quantised: {0}")]
    Quantise(#[from] std::io::Error),
    /// The network gives numbers that are none.
    #[error(
        "the network gives numbers that are infinite or not a number: its weights are damaged, or its training went wrong; \
         take another model"
    )]
    NotFinite,
}
