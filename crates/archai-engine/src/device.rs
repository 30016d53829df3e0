//! Devices to compute on: an open list, of which a run opens one by name. The CPU comes with the program; a crate that
//! knows another device brings a [`DeviceKind`] of its own.

use std::fmt;
use std::sync::Arc;

use archai_spec::registry::{Named, Registry};

use crate::{
    compute::{Compute, Engine},
    error::EngineError,
};

/// A kind of device: `cpu`, or another that a program adds.
///
/// ```
/// use archai_engine::device::{self, DeviceKind};
/// use archai_engine::{Compute, Engine, EngineError};
/// use archai_spec::registry::Named;
/// use std::sync::Arc;
///
/// /// The CPU without fused kernels.
/// struct SlowCpu;
/// impl Named for SlowCpu {
///     fn name(&self) -> &str { "slow" }
///     fn about(&self) -> &str { "the processor, on the framework's operations" }
/// }
/// impl DeviceKind for SlowCpu {
///     fn open(&self, index: Option<usize>, _: Engine) -> Result<Compute, EngineError> {
///         device::only_one(self.name(), index)?;
///         Ok(Compute::cpu().with_plain_ops())
///     }
/// }
///
/// let devices = device::builtin().with(Arc::new(SlowCpu));
/// let compute = device::open(&devices, "slow", Engine::Fused)?;
/// assert_eq!(compute.engine(), Engine::Plain);
/// # Ok::<(), EngineError>(())
/// ```
pub trait DeviceKind: Named + Send + Sync {
    /// Opens a device of this kind: `index` is the number behind the colon of `kind:number`, and none means the first.
    ///
    /// # Errors
    /// There is no such device here, or it cannot compute as `engine` says.
    fn open(&self, index: Option<usize>, engine: Engine) -> Result<Compute, EngineError>;

    /// What [`open`] can be asked for here and now, with a few words on each. By default the kind's name alone.
    fn available(&self) -> Vec<DeviceInfo> {
        vec![DeviceInfo {
            name: self.name().to_string(),
            about: self.about().to_string(),
        }]
    }
}

impl fmt::Debug for dyn DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DeviceKind").field(&self.name()).finish()
    }
}

/// A device that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// What to open: `cpu`, or a kind and a number such as `gpu:1`.
    pub name: String,
    /// What it is, in one line.
    pub about: String,
}

/// The device on which runs compute unless they name another one. Files of runs mention a device only where it is not this one.
pub const USUAL_DEVICE: &str = "cpu";

/// Kinds of devices by name.
pub type Devices = Registry<dyn DeviceKind>;

/// The kinds of devices that come with the program.
pub fn builtin() -> Devices {
    Devices::new("device").with(Arc::new(Cpu))
}

/// Opens a device by its name, `kind` or `kind:number`.
///
/// # Errors
/// There is no such kind (the message lists those that are known) or no such device, or the name is not of this form.
pub fn open(devices: &Devices, name: &str, engine: Engine) -> Result<Compute, EngineError> {
    let (kind, index) = match name.split_once(':') {
        None => (name, None),
        Some((kind, number)) => {
            let index = number.parse().map_err(|_| {
                EngineError::setting(
                    "device",
                    format!(
                        "`{name}` has no number behind the colon; expected `{kind}` or `{kind}:0`"
                    ),
                )
            })?;
            (kind, Some(index))
        }
    };
    let kind = devices
        .get(kind)
        .map_err(|unknown| EngineError::setting("device", unknown.to_string()))?;
    kind.open(index, engine)
}

/// For kinds of which a machine has one: number 0, or no number.
///
/// # Errors
/// Another number.
pub fn only_one(kind: &str, index: Option<usize>) -> Result<(), EngineError> {
    match index {
        None | Some(0) => Ok(()),
        Some(n) => Err(EngineError::setting(
            "device",
            format!("there is no `{kind}:{n}`; there is one, which is called `{kind}`"),
        )),
    }
}

/// The processor.
struct Cpu;

impl Named for Cpu {
    fn name(&self) -> &str {
        USUAL_DEVICE
    }
    fn about(&self) -> &str {
        "the processor, in 32 bits on fused kernels"
    }
}

impl DeviceKind for Cpu {
    fn open(&self, index: Option<usize>, engine: Engine) -> Result<Compute, EngineError> {
        only_one(self.name(), index)?;
        Ok(Compute::cpu().with_engine(engine))
    }
}
