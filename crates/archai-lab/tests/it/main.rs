//! Experiments as a library: no command line, no terminal, no process of their own.

mod components;
mod data;
mod discrete;
mod export;
mod forecast;
mod observer;
mod parallel;
mod plan;
mod proxies;
mod requests;
mod retry;
mod rundir;
mod sizes;
mod spaces;
mod support;
mod timing;
