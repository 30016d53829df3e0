//! One binary with all integration tests.

mod gate;
mod limits;
mod live;
mod pages;
mod support;
