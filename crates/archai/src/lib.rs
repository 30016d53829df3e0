//! Neural architecture search from the first search to the shipped model.
