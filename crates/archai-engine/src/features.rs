//! Activations between ops. How they lie in memory is this type's secret: a fast engine keeps them channel-blocked, and
//! only an op that asks for [`Features::nchw`] sees the framework's plain layout.

use std::sync::{Arc, Mutex};

use burn::tensor::{Tensor, activation::relu};

/// A batch of feature maps: N samples of C channels of H×W pixels. Cheap to clone; what is derived from it (its ReLU, its
/// pools) is computed once and shared by all ops that read it, gradients included.
#[derive(Clone, Debug)]
pub struct Features {
    shape: [usize; 4],
    nchw: Tensor<4>,
    derived: Arc<Mutex<Vec<(Derived, Tensor<4>)>>>,
}

/// What can be derived from feature maps and shared between their readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Derived {
    Relu,
    MaxPool {
        stride: usize,
    },
    AvgPool {
        stride: usize,
    },
    /// The ReLU without its first row and column, for the second half of a factorised reduce.
    ReluShifted,
}

impl Features {
    /// From a plain tensor `[N, C, H, W]`.
    pub fn from_nchw(tensor: Tensor<4>) -> Self {
        Features {
            shape: tensor.dims(),
            nchw: tensor,
            derived: Arc::default(),
        }
    }

    /// As a plain tensor `[N, C, H, W]`.
    pub fn nchw(&self) -> Tensor<4> {
        self.nchw.clone()
    }

    /// `[N, C, H, W]`.
    pub fn shape(&self) -> [usize; 4] {
        self.shape
    }

    /// The ReLU as a plain tensor.
    pub fn relu_nchw(&self) -> Tensor<4> {
        self.derive(Derived::Relu, |_| relu(self.nchw()))
    }

    /// Looks `what` up or computes it. A poisoned lock only means that another reader panicked: its list is whole.
    pub(crate) fn derive(
        &self,
        what: Derived,
        compute: impl FnOnce(&Features) -> Tensor<4>,
    ) -> Tensor<4> {
        let found = |list: &[(Derived, Tensor<4>)]| {
            list.iter()
                .find(|(d, _)| *d == what)
                .map(|(_, t)| t.clone())
        };
        if let Some(t) = found(&self.derived.lock().unwrap_or_else(|e| e.into_inner())) {
            return t;
        }
        // Not under the lock: what is computed may itself be derived from something shared.
        let t = compute(self);
        self.derived
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .push((what, t.clone()));
        t
    }

    /// Element-wise sum. All must have one shape; there must be at least one.
    pub fn sum(mut parts: Vec<Features>) -> Features {
        if parts.len() == 1 {
            return parts.remove(0);
        }
        let sum = parts.into_iter().map(|p| p.nchw).reduce(|a, b| a + b);
        Features::from_nchw(sum.expect("a sum has at least one part"))
    }
}
