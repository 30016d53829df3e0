//! Tests of archai-spec as its users see it.

mod config;
mod config_archai;
mod config_copy;
mod config_errors;
mod config_hostile;
mod config_includes;
mod config_shipped;
mod desc;
mod image_size;
mod names;
mod registry;
