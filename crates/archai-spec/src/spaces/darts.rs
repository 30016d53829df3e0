//! The space of DARTS: cells in which every node reads two earlier states through one of eight primitives each.

use crate::desc::{DartsModelDescBuilder, ModelDescBuilder};
use crate::registry::Named;

use super::Space;

/// The cells of DARTS (Liu, Simonyan, Yang 2019): regular and reduction cells whose nodes keep `max_final_edges` ops of all
/// earlier states. Two ops of one edge may both remain.
#[derive(Clone, Copy, Debug, Default)]
pub struct DartsSpace;

impl Named for DartsSpace {
    fn name(&self) -> &str {
        "darts"
    }
    fn about(&self) -> &str {
        "cells of DARTS: each node keeps the best of eight primitives on all earlier states"
    }
}

impl Space for DartsSpace {
    fn builder(&self) -> &dyn ModelDescBuilder {
        &DartsModelDescBuilder
    }
}
