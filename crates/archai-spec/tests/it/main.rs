//! Tests of archai-spec as its users see it.
//! Integration tests of the data crate, in one binary.

mod config;
mod config_copy;
mod config_errors;
mod config_hostile;
mod config_shipped;
mod desc;
