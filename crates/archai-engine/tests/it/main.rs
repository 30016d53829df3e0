//! The tests of this crate's public interface, in one binary.

mod export;
mod train_golden;
mod train_loop;
mod train_support;
