//! Where numbers live, how precise they are, and how they are computed: a value that is passed around, never a global.
//! What kinds of devices there are is an open list: see [`crate::device`].

use archai_kernels::Exec;
use burn::tensor::{DType, Device, Tensor, TensorCreationOptions, TensorData};

/// Width of the floating-point numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits: training.
    #[default]
    F32,
    /// 64 bits: checking. Slower; every operation of this crate supports it on the CPU.
    F64,
}

/// What computes the built-in ops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// Fused kernels wherever there is one: the CPU in 32 bits. Elsewhere the same as [`Engine::Plain`].
    #[default]
    Fused,
    /// The framework's own operations, layer by layer: slower, on every device, in every precision.
    Plain,
}

impl std::fmt::Display for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Engine::Fused => "fused",
            Engine::Plain => "plain",
        })
    }
}

/// A device, a precision and an engine.
///
/// ```
/// use archai_engine::Compute;
/// let compute = Compute::cpu();
/// let t = compute.tensor::<2>(vec![1.0, 2.0, 3.0, 4.0], [2, 2]);
/// assert_eq!(t.dims(), [2, 2]);
/// ```
#[derive(Clone, Debug)]
pub struct Compute {
    device: Device,
    /// Whether the kernels of `archai_kernels` can read and write what lies there.
    has_kernels: bool,
    precision: Precision,
    engine: Engine,
}

impl Compute {
    /// The CPU in 32 bits, on fused kernels.
    pub fn cpu() -> Self {
        Compute::on(Device::flex())
    }

    /// A device of the framework in 32 bits: on fused kernels where there are kernels for it, which today is the CPU, and
    /// otherwise on the framework's own operations.
    pub fn on(device: Device) -> Self {
        Compute {
            has_kernels: device == Device::flex(),
            device,
            precision: Precision::F32,
            engine: Engine::Fused,
        }
    }

    /// The same with another engine.
    pub fn with_engine(mut self, engine: Engine) -> Self {
        self.engine = engine;
        self
    }

    /// The same on the framework's own operations, to compare with.
    pub fn with_plain_ops(self) -> Self {
        self.with_engine(Engine::Plain)
    }

    /// What computes the built-in ops: [`Engine::Fused`] only where there are kernels.
    pub fn engine(&self) -> Engine {
        match self.precision {
            Precision::F32 if self.has_kernels => self.engine,
            _ => Engine::Plain,
        }
    }

    /// How kernels run, if there are any for this device and precision.
    pub(crate) fn exec(&self) -> Option<Exec> {
        (self.engine() == Engine::Fused).then(Exec::new)
    }

    /// The same device in another precision.
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// The precision.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The framework's type of number.
    pub fn dtype(&self) -> DType {
        match self.precision {
            Precision::F32 => DType::F32,
            Precision::F64 => DType::F64,
        }
    }

    /// The framework's device, without automatic differentiation.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// How tensors of this device and precision are made.
    pub fn options(&self) -> TensorCreationOptions {
        TensorCreationOptions::new(self.device.clone()).with_dtype(self.dtype())
    }

    /// A tensor from numbers in row-major order.
    pub fn tensor<const D: usize>(&self, values: Vec<f64>, shape: [usize; D]) -> Tensor<D> {
        match self.precision {
            Precision::F64 => Tensor::from_data(TensorData::new(values, shape), self.options()),
            Precision::F32 => {
                self.tensor_f32(values.into_iter().map(|v| v as f32).collect(), shape)
            }
        }
    }

    /// A tensor from 32-bit numbers in row-major order.
    pub fn tensor_f32<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
        match self.precision {
            Precision::F32 => Tensor::from_data(TensorData::new(values, shape), self.options()),
            Precision::F64 => self.tensor(values.into_iter().map(f64::from).collect(), shape),
        }
    }
}

/// The numbers of a tensor in row-major order, in 64 bits.
pub fn to_host<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    tensor.to_data().iter::<f64>().collect()
}

/// A copy whose gradient a backward pass computes.
pub(crate) fn track<const D: usize>(tensor: &Tensor<D>) -> Tensor<D> {
    tensor.clone().autodiff().require_grad()
}
