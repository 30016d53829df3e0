//! Every kernel against plain loops in double precision (`reference`), on both instruction sets.

mod alloc;
mod cell;
mod conv;
mod determinism;
mod elementwise;
mod infer;
mod norm_pool_mix;
mod packing;
mod reference;
mod unsafe_code;
