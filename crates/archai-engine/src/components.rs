//! All that experiments are put together from and that a program may add to: one value, handed in from the top, so that
//! two experiments in one process can know different things and nothing is global.

use crate::op::OpRegistry;

/// The open lists of an experiment's parts.
#[derive(Clone, Debug)]
pub struct Components {
    /// Operations of networks by name. An algorithm's own ones come on top when it runs.
    pub ops: OpRegistry,
}

impl Components {
    /// What comes with the program.
    pub fn builtin() -> Self {
        Components {
            ops: OpRegistry::builtin(),
        }
    }
}

impl Default for Components {
    fn default() -> Self {
        Components::builtin()
    }
}
