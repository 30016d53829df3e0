//! Tensors: from a model description to a trained model, and back from a trained supernet to a description.
//!
//! The only crate that names the deep-learning framework (Burn). The tour, in reading order:
//! [`compute`] where numbers live and [`device`] what they can live on, [`params`] the parameters as one value, [`features`]
//! activations whose layout nobody outside may assume, [`op`] the interface of operations and the registry, [`ops`] the
//! built-in operations, [`arch`] the architecture parameters, [`model`] the compiled description; then [`optim`], [`schedule`], [`metrics`], [`trainer`],
//! [`finalize`] and [`perturbation`], [`finalizers`] by name, [`guard`], [`experiment`] with the interfaces of an algorithm,
//! of which [`searcher`] and [`evaluater`] are the usual implementations, and [`phases`], which runs them; [`ahead`] what an
//! algorithm says before it runs, [`preview`] what can be checked and measured by then, and [`proxies`] what an untrained
//! network tells; [`run`] is what they
//! are given from outside, [`checkpoint`] what a run is resumed from, [`components`] what they know by name, [`files`] how files
//! are written, [`export`] what others read, [`error`] what can go wrong; [`testing`] checks algorithms, yours too.
//!
//! On the CPU in 32 bits the built-in ops run on the fused kernels of `archai_kernels` ([`Engine::Fused`]): convolutions
//! with their ReLU and norm, pools, mixtures, and whole cells of mixed ops. Everywhere else, and on request, they are
//! composed of the framework's operations ([`Engine::Plain`]). Names, files and interfaces are the same for both; numbers
//! agree to rounding. `fused` puts kernels into the framework's automatic differentiation.

pub mod ahead;
pub mod arch;
pub mod checkpoint;
mod clock;
pub mod components;
pub mod compute;
pub mod device;
pub mod error;
pub mod evaluater;
pub mod experiment;
pub mod export;
pub mod features;
pub mod files;
pub mod finalize;
pub mod finalizers;
mod fused;
pub mod guard;
pub mod metrics;
pub mod model;
pub mod op;
pub mod ops;
pub mod optim;
pub mod params;
pub mod parts;
pub mod perturbation;
pub mod phases;
pub mod predictions;
pub mod preview;
pub mod proxies;
pub mod run;
pub mod schedule;
pub mod searcher;
pub mod testing;
pub mod trainer;

pub use archai_spec::finalize::Finalized;

pub use arch::{AlphaInit, ArchGrads, ArchKey, ArchParams, Raw, Relaxation, Softmax};
pub use components::Components;
pub use compute::{Compute, Engine, Precision};
pub use error::EngineError;
pub use features::Features;
pub use model::{Candidate, Grads, Logits, Model, ModelOptions, Objective, Outputs, Regular, Want};
pub use op::{Conv, ConvShape, Linear, Mode, Norm, Op, OpBuilder, OpFactory, OpRegistry, Pass};
pub use params::{
    Init, NamedTensor, ParamId, ParamLayout, ParamRole, ParamSpec, ParamVec, Piece, Roles,
};

/// The framework's tensors, for operations of your own: see [`Op`].
pub mod tensor {
    pub use burn::tensor::{DType, Device, Int, Tensor, TensorData, activation, module, ops};
}
