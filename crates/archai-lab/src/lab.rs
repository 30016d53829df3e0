//! The one value in which experiments are run.

use std::sync::Arc;

use archai_algos::{Algorithm, Algorithms};
use archai_data::{DataFormat, Transform};
use archai_engine::Components;
use archai_engine::device::DeviceKind;
use archai_engine::export::Exporter;
use archai_engine::finalize::NamedFinalizer;
use archai_engine::op::OpFactory;
use archai_spec::desc::OpInfo;
use archai_spec::settings::OWN_SPACE;
use archai_spec::spaces::Space;

use crate::error::LabError;
use crate::host::Host;

/// What experiments may be made of: algorithms, and the open lists of their parts, and the surroundings in which they run.
/// See the [front page](crate) for an example.
#[derive(Clone)]
pub struct Lab {
    algorithms: Algorithms,
    components: Components,
    host: Host,
}

impl Default for Lab {
    fn default() -> Self {
        Lab::builtin()
    }
}

impl Lab {
    /// With everything that comes with archai, on the default [`Host`].
    pub fn builtin() -> Self {
        Lab {
            algorithms: archai_algos::all(),
            components: Components::builtin(),
            host: Host::default(),
        }
    }

    /// The same with one more algorithm. One of the same name is replaced.
    #[must_use]
    pub fn with_algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithms = self.algorithms.with(algorithm.into());
        self
    }

    /// The same with one more op that has arithmetic of its own: what it means for shapes and costs, and how it is made.
    ///
    /// # Errors
    /// An op of this name is there already.
    pub fn with_op(
        mut self,
        info: impl OpInfo + 'static,
        make: OpFactory,
    ) -> Result<Self, LabError> {
        self.components.ops.register(info, make)?;
        Ok(self)
    }

    /// The same with one more op that consists of layers ([`OpInfo::lower`]): the engine, costs and exports follow from its
    /// list.
    ///
    /// ```
    /// use archai_lab::Lab;
    /// use archai_spec::desc::{DescError, OpDesc, OpInfo};
    /// use archai_spec::ops::{ConvShape, LayerBuilder, Value};
    ///
    /// struct Grouped;
    /// impl OpInfo for Grouped {
    ///     fn name(&self) -> &str { "grouped_conv_3x3" }
    ///     fn summary(&self) -> &str { "3×3 convolution in two groups, norm" }
    ///     fn lower(&self, op: &OpDesc, inputs: &[Value], b: &mut LayerBuilder<'_>) -> Result<Value, DescError> {
    ///         let shape = ConvShape::new(op.ch_in, op.ch_out, 3).with_stride(op.stride);
    ///         let x = b.conv(inputs[0], ConvShape { groups: 2, ..shape });
    ///         Ok(b.norm(x, op.ch_out))
    ///     }
    /// }
    ///
    /// let lab = Lab::builtin().with_layers(Grouped)?;
    /// assert!(lab.components().ops.names().contains(&"grouped_conv_3x3"));
    /// assert!(lab.with_layers(Grouped).is_err(), "names are unique");
    /// # Ok::<(), archai_lab::LabError>(())
    /// ```
    ///
    /// # Errors
    /// An op of this name is there already.
    pub fn with_layers(mut self, info: impl OpInfo + 'static) -> Result<Self, LabError> {
        self.components.ops.register_layers(info)?;
        Ok(self)
    }

    /// The same with one more format of data sets, which `dataset.format` may name. One of the same name is replaced.
    #[must_use]
    pub fn with_format(mut self, format: impl DataFormat + 'static) -> Self {
        self.components.formats = self.components.formats.with(Arc::new(format));
        self
    }

    /// The same with one more transform of images, which `dataset.transforms` may name. One of the same name is replaced.
    #[must_use]
    pub fn with_transform(mut self, transform: impl Transform + 'static) -> Self {
        self.components.transforms = self.components.transforms.with(Arc::new(transform));
        self
    }

    /// The same with one more space, for `--space` and `nas.search.space` to name. Its name stands in the names of run
    /// directories and in reports, so that it must mean one space.
    ///
    /// # Errors
    /// A space of this name is there already, or the name is the one of the algorithms' own spaces.
    pub fn with_space(mut self, space: impl Space + 'static) -> Result<Self, LabError> {
        if space.name() == OWN_SPACE {
            return Err(LabError::request(format!(
                "a space cannot be named `{OWN_SPACE}`, which means the algorithm's own space; choose another name"
            )));
        }
        let added = self.components.spaces.register(Arc::new(space));
        added.map_err(|e| LabError::request(e.to_string()))?;
        Ok(self)
    }

    /// The same with one more finalizer, for `nas.search.finalizer` to name. One of the same name is replaced.
    #[must_use]
    pub fn with_finalizer(mut self, finalizer: NamedFinalizer) -> Self {
        self.components.finalizers = self.components.finalizers.with(Arc::new(finalizer));
        self
    }

    /// The same with one more format in which an evaluation can leave its model. One of the same name is replaced.
    #[must_use]
    pub fn with_exporter(mut self, exporter: impl Exporter + 'static) -> Self {
        self.components.exporters = self.components.exporters.with(Arc::new(exporter));
        self
    }

    /// The same with one more kind of device to compute on. One of the same name is replaced.
    #[must_use]
    pub fn with_device(mut self, device: impl DeviceKind + 'static) -> Self {
        self.components.devices = self.components.devices.with(Arc::new(device));
        self
    }

    /// The same in other surroundings.
    #[must_use]
    pub fn on(self, host: Host) -> Self {
        Lab { host, ..self }
    }

    /// The algorithms.
    pub fn algorithms(&self) -> &Algorithms {
        &self.algorithms
    }

    /// The parts that all algorithms may use. The ops that an algorithm brings come on top in its runs.
    pub fn components(&self) -> &Components {
        &self.components
    }

    /// The surroundings.
    pub fn host(&self) -> &Host {
        &self.host
    }
}
