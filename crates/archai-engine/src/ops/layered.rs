//! Ops that are lists of layers: every op of the catalogue that lowers is executed here, a user's own too. Runs of layers
//! for which there is a kernel are computed as one; all others with the framework's operations, on every device and in
//! every precision.

use std::f64::consts::FRAC_1_SQRT_2;
use std::ops::Range;
use std::sync::Arc;

use archai_data::rng::Key;
use archai_kernels::{Exec, PoolKind};
use archai_spec::desc::{OpDesc, OpInfo};
use archai_spec::ops::{Activation, Layer, LayerList, PoolShape, Share};
use burn::tensor::activation::sigmoid;
use burn::tensor::ops::{AvgPoolOptions, ConvOptions, MaxPoolOptions};
use burn::tensor::{Tensor, module, s};

use super::fused_conv::{ConvRun, FusedConv};
use super::fused_pool::FusedPool;
use crate::compute::Compute;
use crate::error::EngineError;
use crate::features::{Derived, Features};
use crate::fused::{self, kernels};
use crate::op::{Conv, Linear, Norm, Op, OpBuilder, OpFactory, OpRegistry, Pass};

impl OpRegistry {
    /// Adds an op that consists of layers (it implements [`OpInfo::lower`]): nothing else is needed to train it, and where
    /// its layers are those of a kernel, the kernel computes it.
    ///
    /// ```
    /// use archai_engine::{Compute, OpRegistry, ops::SingleOp};
    /// use archai_spec::desc::{DescError, OpDesc, OpInfo};
    /// use archai_spec::ops::{LayerBuilder, Value};
    /// struct Twice;
    /// impl OpInfo for Twice {
    ///     fn name(&self) -> &str { "relu_twice" }
    ///     fn summary(&self) -> &str { "ReLU, added to itself" }
    ///     fn lower(&self, _: &OpDesc, inputs: &[Value], b: &mut LayerBuilder<'_>) -> Result<Value, DescError> {
    ///         let x = b.relu(inputs[0]);
    ///         Ok(b.add(&[x, x]))
    ///     }
    /// }
    /// # fn main() -> Result<(), archai_engine::EngineError> {
    /// let mut registry = OpRegistry::builtin();
    /// registry.register_layers(Twice)?;
    /// let compute = Compute::cpu();
    /// let mut op = SingleOp::new(&OpDesc::new("relu_twice", 1, 1), 1, false, &registry, &compute, 0)?;
    /// let x = compute.tensor(vec![-1.0, 2.0], [1, 1, 1, 2]);
    /// let y = op.forward(&[x], None, archai_engine::Mode::Training);
    /// assert_eq!(archai_engine::compute::to_host(&y), [0.0, 4.0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`EngineError::DuplicateOp`] if the name is in use.
    pub fn register_layers(&mut self, info: impl OpInfo + 'static) -> Result<(), EngineError> {
        self.register_with(info, layered(), true)
    }
}

/// Makes any op that lowers.
pub(super) fn layered() -> OpFactory {
    Arc::new(|desc, b| Ok(Box::new(LayeredOp::new(desc, b)?)))
}

/// An op that is a list of layers.
#[derive(Debug)]
struct LayeredOp {
    desc: OpDesc,
    layers: Layered,
}

impl LayeredOp {
    fn new(desc: &OpDesc, b: &mut OpBuilder<'_>) -> Result<Self, EngineError> {
        let list = b.catalog().lower(desc, b.n_inputs(), b.affine())?;
        Ok(LayeredOp {
            desc: desc.clone(),
            layers: Layered::declare(list, b)?,
        })
    }
}

impl Op for LayeredOp {
    fn forward(
        &self,
        pass: &mut Pass<'_>,
        inputs: &[Features],
        _arch: Option<&Tensor<1>>,
    ) -> Features {
        match inputs {
            [joined] if self.layers.list.n_inputs > 1 => self.layers.forward_joined(pass, joined),
            _ => self.layers.forward(pass, inputs),
        }
    }

    fn desc(&self) -> &OpDesc {
        &self.desc
    }

    fn is_zero(&self) -> bool {
        self.layers.list.is_zero()
    }
}

/// What a step computes with.
#[derive(Debug)]
enum Handle {
    None,
    Conv(Conv),
    Norm(Norm),
    Linear(Linear),
    Dropout(Dropout),
}

/// A dropout: which numbers it sets to zero follows from its name, the step's key, and a number's place in its sample.
#[derive(Debug)]
struct Dropout {
    name: String,
    key: Key,
    share: Share,
}

impl Dropout {
    fn new(name: String, share: Share) -> Self {
        let key = Key::new(0).with("dropout").with(name.as_str());
        Dropout { name, key, share }
    }

    /// In a training step each sample draws from the step's key, wherever it stands in a chunk of the batch. Passes without a key, as
    /// those of a finite difference, see the same zeros. What is not trained drops nothing.
    fn forward(&self, pass: &Pass<'_>, x: Features) -> Features {
        let shape = x.shape();
        let keys = pass.sample_keys(self.key, shape[0]);
        let Some(keys) = keys.filter(|_| !pass.is_frozen(&self.name)) else {
            return x;
        };
        let keep = 1.0 - self.share.get();
        let each = shape[1..].iter().product();
        let mut factors = Vec::with_capacity(shape[0] * each);
        for key in keys {
            let mut rng = key.rng();
            factors.extend((0..each).map(|_| match rng.uniform_f64() < keep {
                true => 1.0 / keep,
                false => 0.0,
            }));
        }
        Features::from_nchw(x.nchw() * pass.compute().tensor::<4>(factors, shape))
    }
}

/// Steps that one kernel can compute together, or one step.
#[derive(Debug)]
struct Stretch {
    steps: Range<usize>,
    kernel: Option<StretchKernel>,
}

#[derive(Debug)]
enum StretchKernel {
    Conv(FusedConv),
    Pool(FusedPool),
}

/// Layers with their parameters declared.
#[derive(Debug)]
pub(super) struct Layered {
    list: LayerList,
    handles: Vec<Handle>,
    stretches: Vec<Stretch>,
    /// For each value, the step after which nobody needs it.
    last_use: Vec<usize>,
}

impl Layered {
    /// Declares the parameters of all layers, in order.
    ///
    /// # Errors
    /// [`EngineError::Desc`] for layers that stand between ops and not inside one (mixtures and drop-path).
    pub fn declare(list: LayerList, b: &mut OpBuilder<'_>) -> Result<Self, EngineError> {
        let (mut handles, mut stretches) = (Vec::new(), Vec::new());
        while handles.len() < list.steps.len() {
            let start = handles.len();
            let kernel = declare_fused(&list, b, &mut handles);
            if kernel.is_none() {
                handles.push(declare_step(&list.steps[start].layer, b)?);
            }
            stretches.push(Stretch {
                steps: start..handles.len(),
                kernel,
            });
        }
        let mut last_use = vec![usize::MAX; list.n_inputs + list.steps.len()];
        for (i, step) in list.steps.iter().enumerate() {
            for &input in &step.inputs {
                last_use[input] = i;
            }
        }
        last_use[list.output] = usize::MAX;
        Ok(Layered {
            list,
            handles,
            stretches,
            last_use,
        })
    }

    /// The result.
    pub fn forward(&self, pass: &mut Pass<'_>, inputs: &[Features]) -> Features {
        let mut values = self.no_values();
        for (value, input) in values.iter_mut().zip(inputs) {
            *value = Some(input.clone());
        }
        self.run(pass, values, 0)
    }

    /// The result where the first layer joins all inputs and they come joined already, as one.
    fn forward_joined(&self, pass: &mut Pass<'_>, joined: &Features) -> Features {
        assert!(
            super::joins_all_inputs(&self.list),
            "only states that an op joins first can come joined"
        );
        let mut values = self.no_values();
        values[self.list.n_inputs] = Some(joined.clone());
        self.run(pass, values, 1)
    }

    fn no_values(&self) -> Vec<Option<Features>> {
        vec![None; self.last_use.len()]
    }

    /// Executes all stretches from step `first`.
    fn run(
        &self,
        pass: &mut Pass<'_>,
        mut values: Vec<Option<Features>>,
        first: usize,
    ) -> Features {
        let steps = &self.list.steps;
        for stretch in self.stretches.iter().filter(|s| s.steps.start >= first) {
            let input = value(&values, steps[stretch.steps.start].inputs[0]);
            let fused = match &stretch.kernel {
                Some(StretchKernel::Conv(kernel)) => kernel.forward(pass, input),
                Some(StretchKernel::Pool(kernel)) => kernel.forward(pass, input),
                None => None,
            };
            if let Some(y) = fused {
                for i in stretch.steps.clone() {
                    self.free(&mut values, i);
                }
                values[self.list.n_inputs + stretch.steps.end - 1] = Some(y);
                continue;
            }
            for i in stretch.steps.clone() {
                let read = steps[i].inputs.iter().map(|&v| value(&values, v).clone());
                let read: Vec<Features> = read.collect();
                self.free(&mut values, i);
                let y = self.step(pass, i, read);
                values[self.list.n_inputs + i] = Some(y);
            }
        }
        value(&values, self.list.output).clone()
    }

    /// Forgets the values that step `i` is the last to read.
    fn free(&self, values: &mut [Option<Features>], i: usize) {
        for &input in &self.list.steps[i].inputs {
            if self.last_use[input] == i {
                values[input] = None;
            }
        }
    }

    /// One layer, with the framework's operations.
    fn step(&self, pass: &mut Pass<'_>, i: usize, mut inputs: Vec<Features>) -> Features {
        let plain = Features::from_nchw;
        let layer = &self.list.steps[i].layer;
        match (layer, &self.handles[i]) {
            (Layer::Concat, _) => return Features::concat(inputs, pass.exec()),
            (Layer::Add, _) => return Features::sum(inputs),
            (Layer::Scale, _) => return plain(inputs[0].nchw() * inputs[1].nchw()),
            _ => {}
        }
        let x = inputs.swap_remove(0);
        match (layer, &self.handles[i]) {
            (Layer::Conv(_), Handle::Conv(conv)) => plain(conv.forward(pass, x.nchw())),
            (Layer::Norm { .. }, Handle::Norm(norm)) => plain(pass.batch_norm(norm, x.nchw())),
            (Layer::Linear { n_in, n_out, .. }, Handle::Linear(linear)) => {
                let n = x.shape()[0];
                let y = linear.forward(pass, x.nchw().reshape([n, *n_in]));
                plain(y.reshape([n, *n_out, 1, 1]))
            }
            (Layer::Dropout { .. }, Handle::Dropout(dropout)) => dropout.forward(pass, x),
            _ => without_parameters(pass.compute(), pass.exec(), layer, &x),
        }
    }
}

fn value(values: &[Option<Features>], i: usize) -> &Features {
    values[i]
        .as_ref()
        .expect("a list's layers come after what they read")
}

fn declare_step(layer: &Layer, b: &mut OpBuilder<'_>) -> Result<Handle, EngineError> {
    Ok(match layer {
        Layer::Conv(shape) => Handle::Conv(b.conv(*shape)),
        Layer::Norm { channels, affine } => Handle::Norm(b.norm_with(*channels, *affine)),
        Layer::Linear { n_in, n_out, bias } => Handle::Linear(b.linear_with(*n_in, *n_out, *bias)),
        Layer::Dropout { share } => {
            Handle::Dropout(Dropout::new(b.layer_name(layer.name()), *share))
        }
        Layer::Mix { .. } | Layer::DropPath => {
            return Err(EngineError::structure(format!(
                "`{}` has a layer `{}` inside, which only stands between the ops of a network",
                b.name(),
                layer.name()
            )));
        }
        _ => Handle::None,
    })
}

/// Declares the longest run of steps, from the first that is not declared yet, for which there is a kernel.
fn declare_fused(
    list: &LayerList,
    b: &mut OpBuilder<'_>,
    handles: &mut Vec<Handle>,
) -> Option<StretchKernel> {
    let start = handles.len();
    if let Some((pool, norm)) = FusedPool::find(list, start) {
        handles.push(Handle::None);
        let norm = norm.map(|(channels, affine)| b.norm_with(channels, affine));
        handles.extend(norm.clone().map(Handle::Norm));
        return Some(StretchKernel::Pool(pool.with_norm(norm)));
    }
    let run = ConvRun::find(list, start)?;
    let (kernel, convs, norm) = FusedConv::declare(b, &run)?;
    let mut convs = convs.into_iter();
    for step in &list.steps[start..start + run.n_steps] {
        handles.push(match &step.layer {
            Layer::Conv(_) => convs.next().map_or(Handle::None, Handle::Conv),
            Layer::Norm { .. } => norm.clone().map_or(Handle::None, Handle::Norm),
            _ => Handle::None,
        });
    }
    Some(StretchKernel::Conv(kernel))
}

/// A layer that has no parameters and reads one value, on the framework's operations.
///
/// # Panics
/// For any other layer.
pub(crate) fn layer_without_parameters(
    compute: &Compute,
    layer: &Layer,
    x: Tensor<4>,
) -> Tensor<4> {
    without_parameters(compute, None, layer, &Features::from_nchw(x)).nchw()
}

/// A layer that has no parameters.
fn without_parameters(
    compute: &Compute,
    exec: Option<Exec>,
    layer: &Layer,
    x: &Features,
) -> Features {
    let plain = Features::from_nchw;
    let zeros = |shape: [usize; 4]| Tensor::zeros(shape, compute.options());
    let [n, c, h, w] = x.shape();
    match *layer {
        Layer::Zero { stride } => plain(zeros([n, c, h.div_ceil(stride), w.div_ceil(stride)])),
        // The ReLU of a state is shared by all ops that read it, and so are its pools.
        Layer::Relu => x.relu(),
        Layer::Relu6 => plain(x.nchw().clamp(0.0, 6.0)),
        Layer::Activation { function } => plain(activation(function, x.nchw())),
        Layer::MaxPool(window) => x.derive(Derived::MaxPool(window), |x| max_pool(x, window)),
        Layer::AvgPool {
            window,
            count_include_pad,
        } => x.derive(Derived::AvgPool(window, count_include_pad), |x| {
            avg_pool(x, window, count_include_pad, compute, exec)
        }),
        Layer::GlobalMean => match exec {
            Some(exec) => global_mean(exec, x),
            None => {
                let mean = x.nchw().reshape([n, c, h * w]).mean_dim(2);
                plain(mean.reshape([n, c, 1, 1]))
            }
        },
        Layer::Flatten => plain(x.nchw().reshape([n, c * h * w, 1, 1])),
        Layer::Subsample { stride } => {
            let step = stride as isize;
            plain(x.nchw().slice(s![.., .., ..;step, ..;step]))
        }
        Layer::Crop { top, left } => x.derive(Derived::Crop { top, left }, |x| {
            let rows = x.nchw().narrow(2, top, h - top);
            plain(rows.narrow(3, left, w - left))
        }),
        Layer::Shift => x.derive(Derived::Shift, |x| plain(shifted(x.nchw(), zeros))),
        Layer::TakeChannels { channels } => plain(x.nchw().narrow(1, 0, channels)),
        Layer::PadChannels { before, after } => {
            let around = |c: usize| (c > 0).then(|| zeros([n, c, h, w]));
            let parts = [around(before), Some(x.nchw()), around(after)];
            plain(Tensor::cat(parts.into_iter().flatten().collect(), 1))
        }
        Layer::Conv(_)
        | Layer::Norm { .. }
        | Layer::Linear { .. }
        | Layer::Concat
        | Layer::Add
        | Layer::Scale
        | Layer::Mix { .. }
        | Layer::Dropout { .. }
        | Layer::DropPath => unreachable!("`{}` was computed or refused before", layer.name()),
    }
}

/// There is no kernel for these: both engines compute them with the framework's operations. GELU is written out, because the
/// framework's own takes the gradient of another form on some devices.
pub(crate) fn activation(function: Activation, x: Tensor<4>) -> Tensor<4> {
    let hard_sigmoid = |x: Tensor<4>| (x + 3.0).clamp(0.0, 6.0) * (1.0 / 6.0);
    match function {
        Activation::HardSwish => x.clone() * hard_sigmoid(x),
        Activation::HardSigmoid => hard_sigmoid(x),
        Activation::Sigmoid => sigmoid(x),
        Activation::Gelu => x.clone() * ((x * FRAC_1_SQRT_2).erf() + 1.0) * 0.5,
        Activation::Silu => x.clone() * sigmoid(x),
    }
}

/// The map without its first row and column, and with zeros after its last ones where a side is odd.
fn shifted(x: Tensor<4>, zeros: impl Fn([usize; 4]) -> Tensor<4>) -> Tensor<4> {
    [2, 3].into_iter().fold(x, |x, side| {
        let mut last = x.dims();
        let n = std::mem::replace(&mut last[side], 1);
        match (n, n % 2) {
            (1, _) => zeros(last),
            (_, 0) => x.narrow(side, 1, n - 1),
            _ => Tensor::cat(vec![x.narrow(side, 1, n - 1), zeros(last)], side),
        }
    })
}

fn max_pool(x: &Features, window: PoolShape) -> Features {
    let options = MaxPoolOptions::new([window.kernel; 2])
        .with_stride([window.stride; 2])
        .with_padding([window.padding; 2]);
    Features::from_nchw(module::max_pool2d(x.nchw(), options))
}

fn avg_pool(
    x: &Features,
    window: PoolShape,
    counts_padding: bool,
    compute: &Compute,
    exec: Option<Exec>,
) -> Features {
    let [_, _, h, w] = x.shape();
    if let Some(exec) = exec
        && (h, w, window.padding) == (window.kernel, window.kernel, 0)
    {
        // One window over the whole map.
        return global_mean(exec, x);
    }
    if window.padding > 0 && !counts_padding {
        return Features::from_nchw(average_of_real(x.nchw(), window, compute));
    }
    let options = AvgPoolOptions::new([window.kernel; 2])
        .with_stride([window.stride; 2])
        .with_padding([window.padding; 2]);
    Features::from_nchw(module::avg_pool2d(x.nchw(), options))
}

/// Average over padded windows; padding does not count. As a convolution with ones, divided by the number of real pixels:
/// several times as fast as the framework's pool, forward and backward.
fn average_of_real(x: Tensor<4>, window: PoolShape, compute: &Compute) -> Tensor<4> {
    let [_, c, h, w] = x.dims();
    let PoolShape {
        kernel: k,
        stride,
        padding,
    } = window;
    let ones = |shape: [usize; 4]| Tensor::<4>::ones(shape, compute.options());
    let options = |groups| ConvOptions::new([stride; 2], [padding; 2], [1, 1], groups);
    let count = module::conv2d(ones([1, 1, h, w]), ones([1, 1, k, k]), None, options(1));
    module::conv2d(x, ones([c, 1, k, k]), None, options(c)) * count.recip()
}

fn global_mean(exec: Exec, x: &Features) -> Features {
    let map = x.map();
    let mean = fused::call(kernels::GlobalMean { exec, map }, vec![x.input(exec)]).0;
    Features::from_nchw(mean)
}

/// For pools: which kernel computes a layer, if any.
pub(super) fn pool_of(layer: &Layer) -> Option<(PoolKind, PoolShape, Derived)> {
    match *layer {
        Layer::MaxPool(window) => Some((PoolKind::Max, window, Derived::MaxPool(window))),
        Layer::AvgPool {
            window,
            count_include_pad,
        } if !count_include_pad || window.padding == 0 => {
            let derived = Derived::AvgPool(window, count_include_pad);
            Some((PoolKind::Average, window, derived))
        }
        _ => None,
    }
}
