//! The built-in operations; their structure is that of the original DARTS code. What an op consists of is said once, in
//! [`archai_spec::ops`]: almost every op is executed from its list of layers (`layered.rs`), and kernels are chosen by what
//! stands in it. Only ops of other ops and `noise` have code of their own.

mod aux_tower;
mod fused_conv;
mod fused_pool;
mod layered;
mod mixed;
mod mixed_cell;
mod multi;
mod noise;
mod single;

use std::collections::HashMap;
use std::sync::Arc;

use archai_spec::desc::OpCatalog;
use archai_spec::ops::{Layer, LayerList, NOISE};

pub use archai_spec::ops::MIXED_OP;
pub use aux_tower::AuxTower;
pub(crate) use layered::{activation, layer_without_parameters};
pub use mixed::{MixedOp, weighted_sum};
pub(crate) use mixed_cell::{Draft as MixedCellDraft, MixedCell};
pub use single::{OpGrads, SingleOp};

use crate::op::{OpFactory, OpRegistry};

impl OpRegistry {
    /// All ops that come with the program.
    pub fn builtin() -> Self {
        let catalog = OpCatalog::builtin();
        let factory = |name: &str| -> OpFactory {
            match name {
                MIXED_OP => Arc::new(|d, b| Ok(Box::new(MixedOp::new(d, b)?))),
                multi::MULTI_OP => Arc::new(|d, b| Ok(Box::new(multi::Multi::new(d, b)?))),
                NOISE => Arc::new(|d, b| Ok(Box::new(noise::Noise::new(d, b)))),
                _ => layered::layered(),
            }
        };
        let names = catalog.iter().map(|op| op.name());
        let factories: HashMap<String, OpFactory> = names
            .map(|name| (name.to_string(), factory(name)))
            .collect();
        OpRegistry::new(catalog, factories)
    }
}

impl Default for OpRegistry {
    fn default() -> Self {
        OpRegistry::builtin()
    }
}

/// Whether the first layer joins all inputs and no other layer reads them.
fn joins_all_inputs(list: &LayerList) -> bool {
    let Some((first, rest)) = list.steps.split_first() else {
        return false;
    };
    let all = first.inputs.iter().copied().eq(0..list.n_inputs);
    let mut others = rest.iter().flat_map(|s| &s.inputs);
    first.layer == Layer::Concat && all && others.all(|&input| input >= list.n_inputs)
}
