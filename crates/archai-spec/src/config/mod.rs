//! Configuration files: YAML with includes, copies, layers and overrides, each value knowing where it came from.
