//! The built-in operations; their structure is that of the original DARTS code. Each can be computed layer by layer with
//! the framework's operations, on every device and in every precision, and, where there is one, by a fused kernel.

mod aux_tower;
mod blocks;
mod conv;
mod fused_conv;
mod join;
mod mixed;
mod mixed_cell;
mod pool;
mod single;

use std::collections::HashMap;
use std::sync::Arc;

pub use aux_tower::AuxTower;
pub use mixed::{MIXED_OP, MixedOp, weighted_sum};
pub(crate) use mixed_cell::{Draft as MixedCellDraft, MixedCell};
pub use single::{OpGrads, SingleOp};

use archai_spec::desc::OpCatalog;

use crate::op::{OpFactory, OpRegistry};

impl OpRegistry {
    /// All ops that come with the program.
    pub fn builtin() -> Self {
        OpRegistry::new(OpCatalog::builtin(), factories())
    }
}

impl Default for OpRegistry {
    fn default() -> Self {
        OpRegistry::builtin()
    }
}

/// Makers of the built-in ops by name.
fn factories() -> HashMap<String, OpFactory> {
    let mut all: Vec<(&str, OpFactory)> = vec![
        ("none", Arc::new(|d, _| Ok(Box::new(pool::Zero(d.clone()))))),
        (
            "identity",
            Arc::new(|d, _| Ok(Box::new(pool::Identity(d.clone())))),
        ),
        (
            "max_pool_3x3",
            Arc::new(|d, b| Ok(Box::new(pool::Pool::max(d, b)))),
        ),
        (
            "avg_pool_3x3",
            Arc::new(|d, b| Ok(Box::new(pool::Pool::average(d, b)))),
        ),
        (
            "skip_connect",
            Arc::new(|d, b| match d.stride {
                1 => Ok(Box::new(pool::Identity(d.clone()))),
                _ => Ok(Box::new(conv::FactorizedReduce::new(d, b))),
            }),
        ),
        (
            "pool_adaptive_avg2d",
            Arc::new(|d, _| Ok(Box::new(pool::GlobalMean(d.clone())))),
        ),
        (
            "pool_mean_tensor",
            Arc::new(|d, _| Ok(Box::new(pool::GlobalMean(d.clone())))),
        ),
        (
            "pool_avg2d7x7",
            Arc::new(|d, _| Ok(Box::new(pool::Average7(d.clone())))),
        ),
        (
            "linear",
            Arc::new(|d, b| Ok(Box::new(join::Classifier::new(d, false, b)))),
        ),
        (
            "concate_channels",
            Arc::new(|d, _| Ok(Box::new(join::Concat(d.clone())))),
        ),
        (
            "proj_channels",
            Arc::new(|d, b| Ok(Box::new(join::Project::new(d, b)))),
        ),
        (
            "multi_op",
            Arc::new(|d, b| Ok(Box::new(join::Multi::new(d, b)?))),
        ),
        (MIXED_OP, Arc::new(|d, b| Ok(Box::new(MixedOp::new(d, b)?)))),
    ];
    all.extend(conv::factories());
    all.extend(blocks::factories());
    all.into_iter()
        .map(|(name, make)| (name.to_string(), make))
        .collect()
}
