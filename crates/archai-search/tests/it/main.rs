//! Tests of archai-search as its users see it.

mod builder;
mod engine;
mod errors;
mod random;
mod spaces;
