//! Networks of all kinds against plain loops in double precision.

mod errors;
mod networks;
mod support;
