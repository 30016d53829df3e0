//! Architecture parameters: the logits ("alphas") that a supernet's edges choose their primitives by. They live once, in
//! a value of their own beside the weights, keyed by the edge of the cell that owns them; cells of a kind share them.

use std::fmt::{self, Debug};
use std::ops::{Add, Mul, Sub};

use burn::tensor::{Tensor, activation::softmax};

use crate::compute::{Compute, to_host};
use crate::params::{NamedTensor, sum_of_squares};
use archai_data::rng::Key;

/// An edge that owns architecture parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArchKey {
    /// Index of the owning cell.
    pub cell: usize,
    /// Node within the cell.
    pub node: usize,
    /// Position of the edge within the node.
    pub edge: usize,
}

impl fmt::Display for ArchKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cell{}.node{}.edge{}", self.cell, self.node, self.edge)
    }
}

/// The architecture parameters of a model, or their gradients: one vector per owned edge.
#[derive(Clone, Debug)]
pub struct ArchParams {
    pub(crate) keys: Vec<ArchKey>,
    pub(crate) values: Vec<Tensor<1>>,
}

/// Gradients of the architecture parameters.
pub type ArchGrads = ArchParams;

impl ArchParams {
    /// Owned edges, in the model's order.
    pub fn keys(&self) -> &[ArchKey] {
        &self.keys
    }

    /// One vector per owned edge.
    pub fn values(&self) -> &[Tensor<1>] {
        &self.values
    }

    /// Number of owned edges.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether the model has no architecture parameters.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The vector of an edge.
    pub fn get(&self, key: &ArchKey) -> Option<&Tensor<1>> {
        self.keys
            .iter()
            .position(|k| k == key)
            .map(|i| &self.values[i])
    }

    /// All numbers.
    pub fn to_host(&self) -> Vec<(ArchKey, Vec<f64>)> {
        self.keys
            .iter()
            .copied()
            .zip(self.values.iter().map(to_host))
            .collect()
    }

    /// How many numbers there are.
    pub fn n_numbers(&self) -> usize {
        self.values.iter().map(|v| v.dims()[0]).sum()
    }

    /// The same edges with other numbers. There must be one vector of the right length per edge.
    pub fn with_values(&self, values: Vec<Vec<f64>>, compute: &Compute) -> ArchParams {
        let lengths = |v: &Tensor<1>| v.dims()[0];
        assert!(
            self.values
                .iter()
                .map(lengths)
                .eq(values.iter().map(Vec::len)),
            "one vector of the right length per edge is needed"
        );
        let values = values
            .into_iter()
            .map(|v| {
                let n = v.len();
                compute.tensor(v, [n])
            })
            .collect();
        ArchParams {
            keys: self.keys.clone(),
            values,
        }
    }

    /// Zeros of the same shapes.
    pub fn zeros_like(&self) -> ArchParams {
        self.map(|t| t.zeros_like())
    }

    /// Applies `f` to each vector.
    pub fn map(&self, f: impl FnMut(&Tensor<1>) -> Tensor<1>) -> ArchParams {
        ArchParams {
            keys: self.keys.clone(),
            values: self.values.iter().map(f).collect(),
        }
    }

    /// Applies `f` to each pair of vectors. Both must belong to the same model.
    pub fn zip_map(
        &self,
        other: &ArchParams,
        mut f: impl FnMut(&Tensor<1>, &Tensor<1>) -> Tensor<1>,
    ) -> ArchParams {
        assert_eq!(
            self.keys, other.keys,
            "architecture parameters of two different models"
        );
        let values = self
            .values
            .iter()
            .zip(&other.values)
            .map(|(a, b)| f(a, b))
            .collect();
        ArchParams {
            keys: self.keys.clone(),
            values,
        }
    }

    /// self + by·other
    pub fn add_scaled(&self, other: &ArchParams, by: f64) -> ArchParams {
        self.zip_map(other, |a, b| a.clone() + b.clone() * by)
    }

    /// by·self
    pub fn scale(&self, by: f64) -> ArchParams {
        self.map(|t| t.clone() * by)
    }

    /// Euclidean norm over all numbers.
    pub fn norm(&self) -> f64 {
        sum_of_squares(&self.values).sqrt()
    }

    /// Whether all numbers are finite.
    pub fn is_finite(&self) -> bool {
        sum_of_squares(&self.values).is_finite()
    }

    /// All vectors by name, for example `cell0.node0.edge0.alpha`.
    pub fn named(&self) -> Vec<NamedTensor> {
        self.to_host()
            .into_iter()
            .map(|(key, values)| NamedTensor {
                name: format!("{key}.alpha"),
                shape: vec![values.len()],
                values,
            })
            .collect()
    }
}

impl Add for ArchParams {
    type Output = ArchParams;
    fn add(self, other: ArchParams) -> ArchParams {
        self.add_scaled(&other, 1.0)
    }
}

impl Sub for ArchParams {
    type Output = ArchParams;
    fn sub(self, other: ArchParams) -> ArchParams {
        self.add_scaled(&other, -1.0)
    }
}

impl Mul<f64> for ArchParams {
    type Output = ArchParams;
    fn mul(self, by: f64) -> ArchParams {
        self.scale(by)
    }
}

/// Turns architecture parameters into the weights of primitives, differentiably. Sees all owned edges at once, since a
/// sampler may draw per node.
pub trait Relaxation: Debug + Send + Sync {
    /// The weights, one vector per edge. `draw` is the pass's key for relaxations that sample; `None` asks for the
    /// weights without noise, as they are shown and finalised.
    fn weights(&self, keys: &[ArchKey], alphas: &[Tensor<1>], draw: Option<&Key>)
    -> Vec<Tensor<1>>;
}

/// The softmax of each edge's logits (DARTS, Liu et al. 2019, eq. 2).
#[derive(Clone, Copy, Debug, Default)]
pub struct Softmax;

impl Relaxation for Softmax {
    fn weights(
        &self,
        _keys: &[ArchKey],
        alphas: &[Tensor<1>],
        _draw: Option<&Key>,
    ) -> Vec<Tensor<1>> {
        alphas.iter().map(|a| softmax(a.clone(), 0)).collect()
    }
}

/// The architecture parameters are the weights themselves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw;

impl Relaxation for Raw {
    fn weights(
        &self,
        _keys: &[ArchKey],
        alphas: &[Tensor<1>],
        _draw: Option<&Key>,
    ) -> Vec<Tensor<1>> {
        alphas.to_vec()
    }
}

/// How architecture parameters start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AlphaInit {
    /// Normal with this standard deviation; 1e-3 in DARTS.
    Normal {
        /// Standard deviation.
        std: f64,
    },
    /// Uniform in [`low`, `high`).
    Uniform {
        /// Least value.
        low: f64,
        /// Upper limit.
        high: f64,
    },
    /// A constant.
    Constant(f64),
}

impl Default for AlphaInit {
    fn default() -> Self {
        AlphaInit::Normal { std: 1e-3 }
    }
}

impl AlphaInit {
    /// `n` starting values.
    pub(crate) fn draw(&self, key: &Key, n: usize) -> Vec<f64> {
        let mut rng = key.rng();
        let mut draw = || match *self {
            AlphaInit::Normal { std } => std * rng.normal(),
            AlphaInit::Uniform { low, high } => low + (high - low) * rng.uniform_f64(),
            AlphaInit::Constant(c) => c,
        };
        (0..n).map(|_| draw()).collect()
    }
}
