//! Integration tests of the data crate, in one binary.

mod desc;
