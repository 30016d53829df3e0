//! The layers of the network: each takes its numbers from the weights, by the name under which they are stored.

use archai_kernels::FeatureMap;
use archai_kernels::infer::{ConvSizes, Function, Net, NetBuilder, PoolMode, PoolSizes};

pub use archai_kernels::infer::Value;

use crate::Error;
use crate::weights::Weights;

/// A network in the making.
pub struct Builder<'a> {
    net: NetBuilder,
    weights: &'a Weights,
}

/// Rows and columns; one number stands for both.
#[derive(Clone, Copy)]
pub struct Pair(usize, usize);

impl From<usize> for Pair {
    fn from(n: usize) -> Self {
        Pair(n, n)
    }
}

impl From<[usize; 2]> for Pair {
    fn from([rows, columns]: [usize; 2]) -> Self {
        Pair(rows, columns)
    }
}

/// The sizes of a convolution.
#[derive(Clone, Copy)]
pub struct Conv(ConvSizes);

/// A convolution to so many channels with a window of this size; of stride 1, without padding.
pub fn conv(channels: usize, kernel: impl Into<Pair>) -> Conv {
    let Pair(rows, columns) = kernel.into();
    Conv(ConvSizes {
        channels,
        kernel: (rows, columns),
        stride: (1, 1),
        padding: (0, 0),
        dilation: 1,
        groups: 1,
    })
}

#[allow(dead_code, reason = "what a network uses depends on the network")]
impl Conv {
    pub fn stride(mut self, stride: impl Into<Pair>) -> Self {
        let Pair(rows, columns) = stride.into();
        self.0.stride = (rows, columns);
        self
    }

    pub fn padding(mut self, padding: impl Into<Pair>) -> Self {
        let Pair(rows, columns) = padding.into();
        self.0.padding = (rows, columns);
        self
    }

    pub fn dilation(mut self, dilation: usize) -> Self {
        self.0.dilation = dilation;
        self
    }

    pub fn groups(mut self, groups: usize) -> Self {
        self.0.groups = groups;
        self
    }
}

/// What a batch norm adds to a variance before its root is taken.
const EPSILON: f64 = 1e-5;

#[allow(dead_code, reason = "what a network uses depends on the network")]
impl<'a> Builder<'a> {
    /// A network of images of this size, and its input.
    pub fn new([channels, height, width]: [usize; 3], weights: &'a Weights) -> Result<(Self, Value), Error> {
        let (net, image) = NetBuilder::new(FeatureMap::new(channels, height, width))?;
        Ok((Builder { net, weights }, image))
    }

    /// The network that gives this value.
    pub fn finish(self, output: Value) -> Result<Net, Error> {
        Ok(self.net.finish(output)?)
    }

    fn bias(&self, name: &str) -> Result<Option<Vec<f32>>, Error> {
        let name = format!("{name}.bias");
        self.weights.has(&name).then(|| self.weights.get(&name)).transpose()
    }

    pub fn conv(&mut self, name: &str, x: Value, sizes: Conv) -> Result<Value, Error> {
        let weight = self.weights.get(&format!("{name}.weight"))?;
        let bias = self.bias(name)?;
        Ok(self.net.conv(x, sizes.0, weight, bias)?)
    }

    pub fn linear(&mut self, name: &str, x: Value, outputs: usize) -> Result<Value, Error> {
        let weight = self.weights.get(&format!("{name}.weight"))?;
        let bias = self.bias(name)?;
        Ok(self.net.linear(x, outputs, weight, bias)?)
    }

    /// A batch norm with its running statistics.
    pub fn norm(&mut self, name: &str, x: Value) -> Result<Value, Error> {
        let mean = self.weights.get(&format!("{name}.running_mean"))?;
        let variance = self.weights.get(&format!("{name}.running_var"))?;
        let learnt = |kind: &str, usual: f32| match self.weights.has(&format!("{name}.{kind}")) {
            true => self.weights.get(&format!("{name}.{kind}")),
            false => Ok(vec![usual; mean.len()]),
        };
        let (weight, bias) = (learnt("weight", 1.0)?, learnt("bias", 0.0)?);
        let scale = weight.iter().zip(&variance);
        let scale: Vec<f64> = scale.map(|(&w, &v)| f64::from(w) / (f64::from(v) + EPSILON).sqrt()).collect();
        let shift = bias.iter().zip(&mean).zip(&scale);
        let shift = shift.map(|((&b, &m), s)| (f64::from(b) - f64::from(m) * s) as f32).collect();
        let scale = scale.iter().map(|&s| s as f32).collect();
        Ok(self.net.scale_shift(x, scale, shift)?)
    }

    pub fn relu(&mut self, x: Value) -> Result<Value, Error> {
        Ok(self.net.relu(x)?)
    }

    pub fn relu6(&mut self, x: Value) -> Result<Value, Error> {
        Ok(self.net.relu6(x)?)
    }

    pub fn hard_swish(&mut self, x: Value) -> Result<Value, Error> {
        Ok(self.net.function(x, Function::HardSwish)?)
    }

    pub fn hard_sigmoid(&mut self, x: Value) -> Result<Value, Error> {
        Ok(self.net.function(x, Function::HardSigmoid)?)
    }

    pub fn sigmoid(&mut self, x: Value) -> Result<Value, Error> {
        Ok(self.net.function(x, Function::Sigmoid)?)
    }

    pub fn gelu(&mut self, x: Value) -> Result<Value, Error> {
        Ok(self.net.function(x, Function::Gelu)?)
    }

    pub fn silu(&mut self, x: Value) -> Result<Value, Error> {
        Ok(self.net.function(x, Function::Silu)?)
    }

    /// Each channel times its number among the factors.
    pub fn scale(&mut self, x: Value, factors: Value) -> Result<Value, Error> {
        Ok(self.net.scale(x, factors)?)
    }

    pub fn max_pool(&mut self, x: Value, kernel: usize, stride: usize, padding: usize) -> Result<Value, Error> {
        Ok(self.net.pool(x, PoolMode::Max, PoolSizes { kernel, stride, padding })?)
    }

    /// A mean over windows, in which padding counts as zeros.
    pub fn padded_avg_pool(&mut self, x: Value, kernel: usize, stride: usize, padding: usize) -> Result<Value, Error> {
        let mode = PoolMode::Average { padding_counts: true };
        Ok(self.net.pool(x, mode, PoolSizes { kernel, stride, padding })?)
    }

    /// A mean over windows, in which padding does not count.
    pub fn avg_pool(&mut self, x: Value, kernel: usize, stride: usize, padding: usize) -> Result<Value, Error> {
        let mode = PoolMode::Average { padding_counts: false };
        Ok(self.net.pool(x, mode, PoolSizes { kernel, stride, padding })?)
    }

    pub fn global_mean(&mut self, x: Value) -> Result<Value, Error> {
        Ok(self.net.global_mean(x)?)
    }

    pub fn flatten(&mut self, x: Value) -> Result<Value, Error> {
        Ok(self.net.flatten(x)?)
    }

    /// Every so manieth row and column.
    pub fn subsample(&mut self, x: Value, stride: usize) -> Result<Value, Error> {
        Ok(self.net.subsample(x, stride)?)
    }

    /// Zeros in the place of every so manieth row and column.
    pub fn zeros(&mut self, x: Value, stride: usize) -> Result<Value, Error> {
        let picked = self.net.subsample(x, stride)?;
        Ok(self.net.zeros(self.net.map(picked))?)
    }

    /// Without the first rows and columns.
    pub fn crop(&mut self, x: Value, rows: usize, columns: usize) -> Result<Value, Error> {
        Ok(self.net.crop(x, rows, columns)?)
    }

    pub fn take_channels(&mut self, x: Value, channels: usize) -> Result<Value, Error> {
        Ok(self.net.take_channels(x, channels)?)
    }

    /// Channels of zeros before and after.
    pub fn pad_channels(&mut self, x: Value, before: usize, after: usize) -> Result<Value, Error> {
        Ok(self.net.pad_channels(x, before, after)?)
    }

    pub fn concat(&mut self, parts: &[Value]) -> Result<Value, Error> {
        Ok(self.net.concat(parts)?)
    }

    pub fn add(&mut self, terms: &[Value]) -> Result<Value, Error> {
        Ok(self.net.add(terms)?)
    }
}
