//! The search algorithms, one file each.
