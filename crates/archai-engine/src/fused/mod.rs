//! Fused kernels inside the framework's automatic differentiation: the only place that knows how a custom op is made.
//!
//! A [`Kernel`] computes on slices and knows its gradient; [`call`] runs it as one op of the framework, so that networks
//! mix kernels and plain tensor operations freely. The framework wants a fixed number of parents per op, hence the small
//! family of methods below; what they compute comes with the [`Call`], as a value. Gradients that nobody asked for are
//! not computed, and only what a kernel's backward pass reads is kept for it.

pub(crate) mod kernels;

use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex, PoisonError};

use archai_kernels::{CellSave, ChannelStats, ConvSave, PoolSave};
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, DispatchTensor, Flex, backend_extension};
use burn::tensor::{Tensor, TensorData};

/// The most tensors that one op reads.
pub(crate) const MAX_INPUTS: usize = 9;

/// An op on slices with a gradient of its own.
pub(crate) trait Kernel: Debug + Send + Sync {
    /// Computes the output. Each input is contiguous.
    fn forward(&self, inputs: &[&[f32]]) -> Forward;

    /// The gradients of the inputs that are wanted; the others are `None`.
    fn backward(&self, at: Point<'_>, grad: Gradient) -> Vec<Option<Part>>;

    /// Whether the backward pass reads inputs and output; what it does not read is not kept and arrives empty.
    fn reads(&self) -> Reads;

    /// Whether the backward pass answers with [`Part::Same`].
    fn passes_gradient_on(&self) -> bool {
        false
    }
}

/// What a kernel's backward pass reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reads {
    pub inputs: bool,
    pub output: bool,
}

/// What a kernel computed.
pub(crate) struct Forward {
    pub values: Vec<f32>,
    pub shape: Vec<usize>,
    pub save: Save,
    /// Statistics of the batch, one per norm inside the kernel.
    pub stats: Vec<ChannelStats>,
}

/// What a kernel keeps for its backward pass besides inputs and output.
pub(crate) enum Save {
    Nothing,
    Conv(ConvSave),
    Pool(PoolSave),
    Cell(CellSave),
}

/// Where a gradient is taken.
pub(crate) struct Point<'a> {
    pub inputs: &'a [&'a [f32]],
    pub output: &'a [f32],
    pub save: &'a Save,
    pub want: &'a [bool],
}

/// The gradient of one input.
pub(crate) enum Part {
    New(Vec<f32>),
    /// The output's gradient itself.
    Same,
}

/// The gradient of a kernel's output.
pub(crate) struct Gradient(FlexTensor);

impl Gradient {
    pub fn as_slice(&self) -> &[f32] {
        slice(&self.0)
    }

    /// Its numbers to write on; copied only if somebody else reads them too.
    pub fn into_vec(self) -> Vec<f32> {
        let data = self.0.into_data();
        data.try_into_vec::<f32>().expect(FLOATS)
    }
}

const FLOATS: &str = "kernels are called on 32-bit tensors only";

/// One use of a kernel, and the place where it leaves the statistics of its norms.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    kernel: Arc<dyn Kernel>,
    stats: Arc<Mutex<Vec<ChannelStats>>>,
}

/// Runs a kernel on tensors, at most [`MAX_INPUTS`] of them. The second result is the statistics of its norms.
pub(crate) fn call<const D: usize>(
    kernel: impl Kernel + 'static,
    inputs: Vec<DispatchTensor>,
) -> (Tensor<D>, Vec<ChannelStats>) {
    let stats: Arc<Mutex<Vec<ChannelStats>>> = Arc::default();
    let call = Call {
        kernel: Arc::new(kernel),
        stats: stats.clone(),
    };
    let output = Tensor::from_dispatch(dispatch(call, inputs));
    let stats = std::mem::take(&mut *stats.lock().unwrap_or_else(PoisonError::into_inner));
    (output, stats)
}

fn slice(t: &FlexTensor) -> &[f32] {
    t.as_slice().expect(FLOATS)
}

fn contiguous(t: FlexTensor) -> FlexTensor {
    match t.is_contiguous() {
        true => t,
        false => t.to_contiguous(),
    }
}

fn dims(t: &FlexTensor) -> Vec<usize> {
    t.layout().shape().to_vec()
}

fn run(call: &Call, inputs: &[FlexTensor]) -> (FlexTensor, Save) {
    let slices: Vec<&[f32]> = inputs.iter().map(slice).collect();
    let Forward {
        values,
        shape,
        save,
        stats,
    } = call.kernel.forward(&slices);
    *call.stats.lock().unwrap_or_else(PoisonError::into_inner) = stats;
    let output = FlexTensor::from_data(TensorData::new(values, shape));
    (output, save)
}

/// What the framework keeps until the backward pass.
#[derive(Clone)]
struct Kept {
    kernel: Arc<dyn Kernel>,
    inputs: Vec<FlexTensor>,
    shapes: Vec<Vec<usize>>,
    output: Option<FlexTensor>,
    save: Arc<Save>,
}

impl Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept")
            .field("kernel", &self.kernel)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Step<const N: usize>;

impl<const N: usize> Backward<Flex, N> for Step<N> {
    type State = Kept;

    fn backward(self, ops: Ops<Kept, N>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let grad = contiguous(grads.consume::<Flex>(&ops.node));
        let kept = ops.state;
        let want = ops.parents.each_ref().map(Option::is_some);
        let inputs: Vec<&[f32]> = match kept.inputs.is_empty() {
            true => vec![&[]; N],
            false => kept.inputs.iter().map(slice).collect(),
        };
        let at = Point {
            inputs: &inputs,
            output: kept.output.as_ref().map_or(&[], slice),
            save: &kept.save,
            want: &want,
        };
        // A kernel may write on the gradient that it is given: nobody but those who pass it on may hold it then.
        let (parts, same) = match kept.kernel.passes_gradient_on() {
            true => {
                let same = grad.clone();
                (kept.kernel.backward(at, Gradient(grad)), Some(same))
            }
            false => (kept.kernel.backward(at, Gradient(grad)), None),
        };
        for ((parent, part), shape) in ops.parents.into_iter().zip(parts).zip(kept.shapes) {
            let (Some(parent), Some(part)) = (parent, part) else {
                continue;
            };
            let grad = match part {
                Part::New(values) => FlexTensor::from_data(TensorData::new(values, shape)),
                Part::Same => same
                    .clone()
                    .expect("a kernel that passes its gradient on says so"),
            };
            grads.register::<Flex>(parent.id, grad);
        }
    }
}

fn tracked<const N: usize, C: CheckpointStrategy>(
    call: Call,
    inputs: [FloatTensor<Autodiff<Flex, C>>; N],
) -> FloatTensor<Autodiff<Flex, C>> {
    let tensors: Vec<FlexTensor> = inputs
        .iter()
        .map(|t| contiguous(t.primitive().clone()))
        .collect();
    let nodes = inputs.each_ref().map(|t| t.node());
    match Step::<N>.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let (output, save) = run(&call, &tensors);
            let reads = call.kernel.reads();
            let kept = Kept {
                shapes: tensors.iter().map(dims).collect(),
                inputs: if reads.inputs { tensors } else { Vec::new() },
                output: reads.output.then(|| output.clone()),
                save: Arc::new(save),
                kernel: call.kernel,
            };
            prep.finish(kept, output)
        }
        OpsKind::UnTracked(prep) => prep.finish(run(&call, &tensors).0),
    }
}

/// One method per number of inputs: the framework has no ops of variable width.
macro_rules! family {
    ($($name:ident $n:literal: $($arg:ident)+;)+) => {
        #[backend_extension(Autodiff, Flex)]
        #[allow(clippy::too_many_arguments)]
        pub(crate) trait FusedOps: Backend {
            $(fn $name(call: Call, $($arg: FloatTensor<Self>),+) -> FloatTensor<Self>;)+
        }

        impl FusedOps for Flex {
            $(fn $name(call: Call, $($arg: FlexTensor),+) -> FlexTensor {
                run(&call, &[$(contiguous($arg)),+]).0
            })+
        }

        impl<C: CheckpointStrategy> FusedOps for Autodiff<Flex, C> {
            $(fn $name(call: Call, $($arg: FloatTensor<Self>),+) -> FloatTensor<Self> {
                tracked::<$n, C>(call, [$($arg),+])
            })+
        }

        fn dispatch(call: Call, inputs: Vec<DispatchTensor>) -> DispatchTensor {
            let n = inputs.len();
            let mut inputs = inputs.into_iter();
            let mut next = || inputs.next().expect("counted");
            match n {
                $($n => {
                    $(let $arg = next();)+
                    <Dispatch as FusedOps>::$name(call, $($arg),+)
                })+
                _ => panic!("a kernel reads 1 to {MAX_INPUTS} tensors, not {n}"),
            }
        }
    };
}

family! {
    op1 1: a;
    op2 2: a b;
    op3 3: a b c;
    op4 4: a b c d;
    op5 5: a b c d e;
    op6 6: a b c d e f;
    op7 7: a b c d e f g;
    op8 8: a b c d e f g h;
    op9 9: a b c d e f g h i;
}
