//! The parameters of a graph, found by name.

use std::collections::HashMap;
use std::io;

use archai_spec::graph::{Graph, GraphLayer};
use archai_spec::ops::ParamKind;

use crate::{NamedTensor, check, invalid};

/// A network's numbers, found by layer. All that the graph names is there in the shape that it says.
///
/// ```
/// use archai_export::{NamedTensor, Weights};
/// use archai_spec::graph::Graph;
/// # fn f(graph: &Graph, state: &[NamedTensor]) -> std::io::Result<()> {
/// use archai_spec::ops::ParamKind;
/// let weights = Weights::new(graph, state)?;
/// for layer in &graph.layers {
///     let shift = weights.get(layer, ParamKind::Shift);
///     assert_eq!(shift.is_some(), layer.params.iter().any(|p| p.kind == ParamKind::Shift));
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Weights<'a> {
    by_name: HashMap<&'a str, &'a NamedTensor>,
}

impl<'a> Weights<'a> {
    /// Finds every parameter of `graph` in `state`. Tensors that the graph does not name are left alone.
    ///
    /// # Errors
    /// Of kind `InvalidData` for two tensors of one name, numbers that do not fill their shape, and a parameter that is not
    /// there or has another shape; the message names it.
    pub fn new(graph: &Graph, state: &'a [NamedTensor]) -> io::Result<Self> {
        check(state)?;
        let by_name: HashMap<&str, &NamedTensor> =
            state.iter().map(|t| (t.name.as_str(), t)).collect();
        for param in graph.layers.iter().flat_map(|l| &l.params) {
            match by_name.get(param.name.as_str()) {
                Some(tensor) if tensor.shape == param.shape => {}
                Some(tensor) => {
                    return Err(invalid(format!(
                        "tensor `{}` has the shape {:?}; the network's is {:?}: these weights belong to another network",
                        param.name, tensor.shape, param.shape
                    )));
                }
                None => {
                    return Err(invalid(format!(
                        "the network has a parameter `{}` of shape {:?}, but the weights hold none of that name: they are of \
                         another network",
                        param.name, param.shape
                    )));
                }
            }
        }
        Ok(Weights { by_name })
    }

    /// The numbers of a layer's parameter, in row-major order; none if the layer has no such parameter.
    pub fn get(&self, layer: &GraphLayer, kind: ParamKind) -> Option<&'a [f64]> {
        let param = layer.params.iter().find(|p| p.kind == kind)?;
        self.by_name(&param.name)
    }

    /// The numbers of a tensor.
    pub fn by_name(&self, name: &str) -> Option<&'a [f64]> {
        Some(&self.by_name.get(name)?.values)
    }

    /// What a norm does once it is trained, as a factor and a summand for each channel: scale/√(variance + 1e-5) and
    /// shift − mean·factor. None if the layer is no norm.
    pub fn scale_and_shift(&self, layer: &GraphLayer) -> Option<Vec<(f64, f64)>> {
        let mean = self.get(layer, ParamKind::RunningMean)?;
        let var = self.get(layer, ParamKind::RunningVar)?;
        let scale = self.get(layer, ParamKind::Scale);
        let shift = self.get(layer, ParamKind::Shift);
        let of_channel = |c: usize| {
            let factor = scale.map_or(1.0, |s| s[c]) / (var[c] + NORM_EPSILON).sqrt();
            (factor, shift.map_or(0.0, |s| s[c]) - mean[c] * factor)
        };
        Some((0..mean.len()).map(of_channel).collect())
    }
}

/// What a norm adds to the variance.
pub const NORM_EPSILON: f64 = 1e-5;
