//! The inner loops. Each kernel is a struct of its arguments; it checks its bounds once at its beginning and then runs
//! without checks. All of them work on one sample.

// The indices are those of the formulas; iterators over parts of register tiles would hide them.
#![allow(clippy::needless_range_loop)]

pub(crate) mod conv;
pub(crate) mod depthwise;
pub(crate) mod function;
pub(crate) mod norm;
pub(crate) mod pad;
pub(crate) mod place;
pub(crate) mod pointwise;
pub(crate) mod pool;
pub(crate) mod product;
pub(crate) mod tile;
pub(crate) mod window;
