//! The norms of a model: their names, and running statistics as values.

use std::collections::HashMap;
use std::sync::Arc;

use archai_kernels::ChannelStats;
use burn::tensor::Tensor;

use crate::compute::{Compute, to_host};
use crate::error::EngineError;
use crate::params::{NamedTensor, match_names};

/// Added to the variance before its root is taken.
pub(super) const NORM_EPSILON: f64 = 1e-5;
/// Share of a batch's statistics in the running statistics.
pub(super) const NORM_MOMENTUM: f64 = 0.1;

/// Handle of a norm's running statistics in one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NormId(pub(crate) usize);

/// Name and channels of a norm.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NormSpec {
    pub name: String,
    pub channels: usize,
}

/// Running mean and variance of a norm: as tensors for the framework's operations, or on the host for kernels.
#[derive(Clone, Debug)]
pub(crate) enum NormStats {
    Device(Box<[Tensor<1>; 2]>),
    Host(Arc<ChannelStats>),
}

impl NormStats {
    /// Mean and variance, for the framework.
    pub(super) fn tensors(&self, compute: &Compute) -> (Tensor<1>, Tensor<1>) {
        match self {
            NormStats::Device(stats) => (stats[0].clone(), stats[1].clone()),
            NormStats::Host(stats) => {
                let tensor = |v: &[f32]| compute.tensor_f32(v.to_vec(), [v.len()]);
                (tensor(&stats.mean), tensor(&stats.var))
            }
        }
    }

    /// Mean and variance, for kernels.
    pub(super) fn host(&self) -> Arc<ChannelStats> {
        match self {
            NormStats::Device(stats) => {
                let single = |t| to_host(t).into_iter().map(|v| v as f32).collect();
                Arc::new(ChannelStats {
                    mean: single(&stats[0]),
                    var: single(&stats[1]),
                })
            }
            NormStats::Host(stats) => stats.clone(),
        }
    }

    fn numbers(&self) -> [Vec<f64>; 2] {
        match self {
            NormStats::Device(stats) => [to_host(&stats[0]), to_host(&stats[1])],
            NormStats::Host(stats) => {
                let wide = |v: &[f32]| v.iter().map(|&v| v.into()).collect();
                [wide(&stats.mean), wide(&stats.var)]
            }
        }
    }

    fn new([mean, var]: [Vec<f64>; 2], compute: &Compute) -> Self {
        if compute.exec().is_some() {
            let single = |v: Vec<f64>| v.into_iter().map(|v| v as f32).collect();
            return NormStats::Host(Arc::new(ChannelStats {
                mean: single(mean),
                var: single(var),
            }));
        }
        let n = mean.len();
        NormStats::Device(Box::new([
            compute.tensor(mean, [n]),
            compute.tensor(var, [n]),
        ]))
    }
}

/// All norms of a model with their running statistics. Names are shared, numbers are values.
#[derive(Clone, Debug)]
pub(crate) struct NormTable {
    specs: Arc<[NormSpec]>,
    pub(super) stats: Vec<NormStats>,
}

impl NormTable {
    /// Mean zero and variance one.
    pub fn new(specs: Vec<NormSpec>, compute: &Compute) -> Self {
        let stats = specs
            .iter()
            .map(|n| NormStats::new([0.0, 1.0].map(|v| vec![v; n.channels]), compute))
            .collect();
        NormTable {
            specs: specs.into(),
            stats,
        }
    }

    /// Names of the norms, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.specs.iter().map(|spec| spec.name.as_str())
    }

    /// Takes over what a pass changed.
    pub fn apply(&mut self, updates: HashMap<usize, NormStats>) {
        for (i, stats) in updates {
            self.stats[i] = stats;
        }
    }

    /// `….running_mean` and `….running_var` of every norm.
    pub fn named(&self) -> Vec<NamedTensor> {
        let named = |name: &str, what, values: Vec<f64>| NamedTensor {
            name: format!("{name}.{what}"),
            shape: vec![values.len()],
            values,
        };
        self.specs
            .iter()
            .zip(&self.stats)
            .flat_map(|(n, s)| {
                let [mean, var] = s.numbers();
                [
                    named(&n.name, "running_mean", mean),
                    named(&n.name, "running_var", var),
                ]
            })
            .collect()
    }

    /// The same norms with other statistics.
    ///
    /// # Errors
    /// [`EngineError::Shape`] names every tensor that is missing, unknown, doubled or of another shape.
    pub fn with_named(
        &self,
        buffers: &[NamedTensor],
        compute: &Compute,
    ) -> Result<Self, EngineError> {
        let wanted: Vec<(String, [usize; 1])> = self
            .specs
            .iter()
            .flat_map(|n| {
                ["running_mean", "running_var"]
                    .map(|what| (format!("{}.{what}", n.name), [n.channels]))
            })
            .collect();
        let names = wanted
            .iter()
            .map(|(name, shape)| (name.as_str(), shape.as_slice()));
        let found = match_names(names, buffers)?;
        let values = |at: &(String, [usize; 1])| found[at.0.as_str()].values.clone();
        let stats = wanted
            .chunks_exact(2)
            .map(|pair| NormStats::new([values(&pair[0]), values(&pair[1])], compute))
            .collect();
        Ok(NormTable {
            specs: self.specs.clone(),
            stats,
        })
    }
}
