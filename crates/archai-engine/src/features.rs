//! Activations between ops. How they lie in memory is this type's secret: kernels keep them channel-blocked, and only an
//! op that asks for [`Features::nchw`] sees the framework's plain layout. The way in and out is differentiable and taken
//! once, however many ops ask.

use std::sync::{Arc, Mutex, PoisonError};

use archai_kernels::{Exec, FeatureMap};
use archai_spec::ops::PoolShape;
use burn::backend::DispatchTensor;
use burn::tensor::{Tensor, TensorCreationOptions, TensorData, activation::relu};

use crate::fused::{self, MAX_INPUTS, kernels};

/// A batch of feature maps: N samples of C channels of H×W pixels. Cheap to clone; what is derived from it (its ReLU, its
/// pools) is computed once and shared by all ops that read it, gradients included.
#[derive(Clone, Debug)]
pub struct Features {
    shape: [usize; 4],
    values: Values,
    derived: Arc<Mutex<Vec<(Derived, Features)>>>,
}

/// The numbers, one way or the other.
#[derive(Clone, Debug)]
enum Values {
    /// `[N, C, H, W]`
    Plain(Tensor<4>),
    /// `[N, ⌈C/8⌉, H·W, 8]`
    Blocked(Tensor<4>),
}

/// What can be derived from feature maps and shared between their readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Derived {
    /// The same in the other layout.
    OtherLayout,
    Relu,
    MaxPool(PoolShape),
    /// The mean of each window, and whether padding counts.
    AvgPool(PoolShape, bool),
    /// Without its first rows and columns.
    Crop {
        top: usize,
        left: usize,
    },
    /// Moved by a pixel, for the second half of a factorised reduce.
    Shift,
}

impl Features {
    /// From a plain tensor `[N, C, H, W]`.
    pub fn from_nchw(tensor: Tensor<4>) -> Self {
        Features {
            shape: tensor.dims(),
            values: Values::Plain(tensor),
            derived: Arc::default(),
        }
    }

    /// From a blocked tensor of maps of this size.
    pub(crate) fn from_blocked(tensor: Tensor<4>, map: FeatureMap) -> Self {
        Features {
            shape: [tensor.dims()[0], map.channels, map.height, map.width],
            values: Values::Blocked(tensor),
            derived: Arc::default(),
        }
    }

    /// As a plain tensor `[N, C, H, W]`.
    pub fn nchw(&self) -> Tensor<4> {
        let plain = match &self.values {
            Values::Plain(t) => return t.clone(),
            Values::Blocked(t) => self.derive(Derived::OtherLayout, |_| {
                let (exec, map) = (Exec::new(), self.map());
                let input = vec![t.clone().into_dispatch()];
                Features::from_nchw(fused::call(kernels::Unblock { exec, map }, input).0)
            }),
        };
        match plain.values {
            Values::Plain(t) | Values::Blocked(t) => t,
        }
    }

    /// In the blocked layout, as kernels read it. 32 bits only.
    pub(crate) fn blocked(&self, exec: Exec) -> Tensor<4> {
        let blocked = match &self.values {
            Values::Blocked(t) => return t.clone(),
            Values::Plain(t) => self.derive(Derived::OtherLayout, |_| {
                let map = self.map();
                let input = vec![t.clone().into_dispatch()];
                Features::from_blocked(fused::call(kernels::Block { exec, map }, input).0, map)
            }),
        };
        match blocked.values {
            Values::Plain(t) | Values::Blocked(t) => t,
        }
    }

    /// The blocked layout, as an op's input.
    pub(crate) fn input(&self, exec: Exec) -> DispatchTensor {
        self.blocked(exec).into_dispatch()
    }

    /// `[N, C, H, W]`.
    pub fn shape(&self) -> [usize; 4] {
        self.shape
    }

    /// C, H and W, as kernels want them.
    pub(crate) fn map(&self) -> FeatureMap {
        let [_, c, h, w] = self.shape;
        FeatureMap::new(c, h, w)
    }

    /// Whether a backward pass will come through here.
    pub(crate) fn is_tracked(&self) -> bool {
        match &self.values {
            Values::Plain(t) | Values::Blocked(t) => t.is_tracked(),
        }
    }

    /// The same numbers, through which no gradient flows back.
    pub fn detached(&self) -> Features {
        self.with_values(|t| t.detach())
    }

    /// Zeros through which the gradient flows back as through the features themselves: x − stop_gradient(x).
    pub fn forward_stopped(&self) -> Features {
        self.with_values(|t| t.clone() - t.detach())
    }

    fn with_values(&self, f: impl FnOnce(Tensor<4>) -> Tensor<4>) -> Features {
        let values = match &self.values {
            Values::Plain(t) => Values::Plain(f(t.clone())),
            Values::Blocked(t) => Values::Blocked(f(t.clone())),
        };
        Features {
            shape: self.shape,
            values,
            derived: Arc::default(),
        }
    }

    /// The ReLU.
    pub fn relu(&self) -> Features {
        self.derive(Derived::Relu, |x| match &x.values {
            Values::Plain(t) => Features::from_nchw(relu(t.clone())),
            Values::Blocked(t) => {
                let (exec, map) = (Exec::new(), x.map());
                let input = vec![t.clone().into_dispatch()];
                Features::from_blocked(fused::call(kernels::Relu { exec, map }, input).0, map)
            }
        })
    }

    /// Looks `what` up or computes it. A poisoned lock only means that another reader panicked: its list is whole.
    pub(crate) fn derive(
        &self,
        what: Derived,
        compute: impl FnOnce(&Features) -> Features,
    ) -> Features {
        let found = |list: &[(Derived, Features)]| {
            list.iter()
                .find(|(d, _)| *d == what)
                .map(|(_, t)| t.clone())
        };
        if let Some(t) = found(&self.derived.lock().unwrap_or_else(PoisonError::into_inner)) {
            return t;
        }
        // Not under the lock: what is computed may itself be derived from something shared.
        let t = compute(self);
        self.derived
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((what, t.clone()));
        t
    }

    /// Element-wise sum. All must have one shape; there must be at least one.
    pub fn sum(parts: Vec<Features>) -> Features {
        Features::sum_scaled(parts.into_iter().map(|p| (p, None)).collect())
    }

    /// As [`Features::sum`], some parts with a factor for each sample.
    pub(crate) fn sum_scaled(mut parts: Vec<(Features, Option<Vec<f64>>)>) -> Features {
        while parts.len() > 1 || parts.iter().any(|(_, factors)| factors.is_some()) {
            let rest = parts.split_off(parts.len().min(MAX_INPUTS));
            let sum = Features::sum_some(parts);
            parts = vec![(sum, None)];
            parts.extend(rest);
        }
        parts.pop().expect("a sum has at least one part").0
    }

    fn sum_some(parts: Vec<(Features, Option<Vec<f64>>)>) -> Features {
        let first = &parts[0].0;
        let (shape, map) = (first.shape, first.map());
        if parts
            .iter()
            .any(|(p, _)| matches!(p.values, Values::Blocked(_)))
        {
            assert!(
                parts.iter().all(|(p, _)| p.shape == shape),
                "maps of different shapes cannot be added"
            );
            let exec = Exec::new();
            let inputs = parts.iter().map(|(p, _)| p.input(exec)).collect();
            let single = |f: Vec<f64>| f.into_iter().map(|f| f as f32).collect();
            let factors = parts.into_iter().map(|(_, f)| f.map(single)).collect();
            let kernel = kernels::Sum { exec, map, factors };
            return Features::from_blocked(fused::call(kernel, inputs).0, map);
        }
        let term = |(part, factors): (Features, Option<Vec<f64>>)| {
            let x = part.nchw();
            let Some(factors) = factors else { return x };
            let data = TensorData::new(factors, [shape[0], 1, 1, 1]);
            let options = TensorCreationOptions::new(x.device()).with_dtype(x.dtype());
            x * Tensor::from_data(data, options)
        };
        let sum = parts.into_iter().map(term).reduce(|a, b| a + b);
        Features::from_nchw(sum.expect("not empty"))
    }

    /// All channels, one after the other. There must be at least one part.
    pub(crate) fn concat(mut parts: Vec<Features>, exec: Option<Exec>) -> Features {
        if parts.len() == 1 {
            return parts.remove(0);
        }
        let Some(exec) = exec else {
            return Features::from_nchw(Tensor::cat(parts.iter().map(Features::nchw).collect(), 1));
        };
        while parts.len() > 1 {
            let some: Vec<Features> = parts.drain(..parts.len().min(MAX_INPUTS)).collect();
            let maps: Vec<FeatureMap> = some.iter().map(Features::map).collect();
            let map = FeatureMap {
                channels: maps.iter().map(|m| m.channels).sum(),
                ..maps[0]
            };
            let inputs = some.iter().map(|p| p.input(exec)).collect();
            let (y, _) = fused::call(kernels::Concat { exec, maps }, inputs);
            parts.insert(0, Features::from_blocked(y, map));
        }
        parts.pop().expect("a concatenation has at least one part")
    }
}
