//! Weights in half precision: each is stored in 16 bits and cast to 32 where it is read. Programs that fold constants do so once,
//! when they load the file; all kernels compute in 32 bits.

use std::collections::HashMap;

use ::half::f16;

use super::proto::{DataType, Graph, Node, Tensor};
use crate::NamedTensor;
use crate::width::Width;

/// Stores the parameters of width 16 so.
pub(super) fn halve(graph: &mut Graph, state: &[NamedTensor], widths: &[Width]) {
    let in_half = state.iter().zip(widths).filter(|(_, w)| **w == Width::F16);
    let in_half: HashMap<&str, &NamedTensor> = in_half.map(|(t, _)| (t.name.as_str(), t)).collect();
    let mut casts = Vec::new();
    for constant in &mut graph.initializer {
        let Some(tensor) = in_half.get(constant.name.as_str()) else {
            continue;
        };
        let name = format!("{}.half", tensor.name);
        let numbers = tensor.values.iter();
        let bytes = numbers.flat_map(|&v| f16::from_f64(v).to_le_bytes());
        let whole = Tensor::raw(&name, &tensor.shape, DataType::Float16, bytes.collect());
        *constant = whole;
        let float = DataType::Float as usize;
        casts.push(Node::new("Cast", &[&name], &tensor.name).with_int("to", float));
    }
    graph.node.splice(..0, casts);
}
