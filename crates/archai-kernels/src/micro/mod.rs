//! The inner loops. Each kernel is a struct of its arguments; it checks its bounds once at its beginning and then runs
//! without checks. All of them work on one sample.

pub(crate) mod conv;
pub(crate) mod depthwise;
pub(crate) mod norm;
pub(crate) mod pad;
pub(crate) mod pointwise;
pub(crate) mod pool;
