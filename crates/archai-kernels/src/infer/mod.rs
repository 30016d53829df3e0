//! Inference of a whole network: layers in, logits out, nothing of training in between.
//!
//! A [`NetBuilder`] takes the layers; [`NetBuilder::finish`] makes a [`Net`] of them, which runs on images in NCHW and may be
//! shared between threads. It computes on the rayon pool of its caller.

mod build;
mod fuse;
mod net;
mod plan;
mod program;
mod step;

pub use build::{ConvSizes, Function, NetBuilder, PoolMode, PoolSizes, Value};
pub use net::Net;
