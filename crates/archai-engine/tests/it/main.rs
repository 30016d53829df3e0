//! The tests of this crate's public interface, in one binary.

mod export;
