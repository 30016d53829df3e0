//! Discrete search: a space of networks is data, every member of it is checked before anything is trained, and what
//! proposes the next member sees plain choices, never tensors.

pub mod space;
