//! Trackers against run directories and servers of our own.

mod fixtures;
mod mlflow;
mod observer;
mod server;
mod tensorboard;
