//! All that experiments are put together from and that a program may add to: one value, handed in from the top, so that
//! two experiments in one process can know different things and nothing is global.

use archai_data::{Formats, Transforms, formats, transforms};
use archai_spec::config::Schema;
use archai_spec::spaces::{self, Spaces};

use crate::device::{self, Devices};
use crate::export::{self, Exporters};
use crate::finalize::FinalizerRegistry;
use crate::finalizers;
use crate::op::OpRegistry;
use crate::proxies::{self, Proxies};

/// The open lists of an experiment's parts.
#[derive(Clone, Debug)]
pub struct Components {
    /// Operations of networks by name. An algorithm's own ones come on top when it runs.
    pub ops: OpRegistry,
    /// Search spaces besides the algorithms' own.
    pub spaces: Spaces,
    /// Finalizers for every supernet. An algorithm's own ones come on top.
    pub finalizers: FinalizerRegistry,
    /// Formats in which an evaluation leaves its model.
    pub exporters: Exporters,
    /// Kinds of devices to compute on.
    pub devices: Devices,
    /// Formats of data sets: what `dataset.format` names.
    pub formats: Formats,
    /// Transforms of images: what `dataset.transforms` names.
    pub transforms: Transforms,
    /// Zero-cost proxies.
    pub proxies: Proxies,
}

impl Components {
    /// What comes with the program.
    pub fn builtin() -> Self {
        Components {
            ops: OpRegistry::builtin(),
            spaces: spaces::builtin(),
            finalizers: finalizers::builtin(),
            exporters: export::builtin(),
            devices: device::builtin(),
            formats: formats::builtin(),
            transforms: transforms::builtin(),
            proxies: proxies::builtin(),
        }
    }

    /// The schema of configurations in which names of these lists, and no others, are valid.
    #[must_use]
    pub fn naming(&self, schema: Schema) -> Schema {
        schema
            .naming(&self.exporters)
            .naming(&self.formats)
            .naming(&self.transforms)
    }
}

impl Default for Components {
    fn default() -> Self {
        Components::builtin()
    }
}
