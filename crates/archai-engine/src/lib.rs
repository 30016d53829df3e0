//! Tensors
