//! Tests of archai-search as its users see it.

mod builder;
mod errors;
mod spaces;
