//! Tests of archai-search as its users see it.

mod builder;
mod errors;
mod random;
mod spaces;
