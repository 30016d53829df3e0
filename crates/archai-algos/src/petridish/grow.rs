//! Growing a network by a node in every cell, without changing what it computes.

use std::collections::HashMap;

use archai_engine::{
    EngineError, Model, NamedTensor,
    finalize::{DefaultFinalizers, Finalizers},
};
use archai_spec::desc::{CellType, EdgeDesc, ModelDesc, NodeDesc};
use archai_spec::ops::MULTI_OP;

use super::op::petridish_op;

/// The post op that grows: it takes any number of states and gives the cell's channels.
const POST_OP: &str = "proj_channels";

/// The parent with one more node at the end of every cell: a single petridish op of the candidates on both inputs and all older
/// nodes.
///
/// At the end, because there the new node can read every state, no older node gets a new input, and all older parts keep
/// their names, by which their weights are inherited. It feeds the cell's post op, and the nodes that later growths add.
///
/// # Errors
/// A cell's output is not joined by `proj_channels`: it would change its channels, and with them all later cells.
pub fn grown(
    parent: &ModelDesc,
    candidates: &[String],
    keep: usize,
) -> Result<ModelDesc, EngineError> {
    let mut desc = parent.clone();
    for (c, cell) in desc.cells.iter_mut().enumerate() {
        if cell.post_op.name != POST_OP {
            return Err(EngineError::setting(
                "model_desc.cell.cell_post_op",
                format!(
                    "petridish grows cells whose nodes are joined by `{POST_OP}`, but cell {c} has `{}`; set it to \
                     {POST_OP} in nas.search and nas.eval",
                    cell.post_op.name
                ),
            ));
        }
        let n_inputs = cell.stems.len();
        let new = n_inputs + cell.nodes.len();
        let inputs: Vec<usize> = (0..new).collect();
        let stride = |input: &usize| match cell.cell_type {
            CellType::Reduction if *input < n_inputs => 2,
            _ => 1,
        };
        let strides: Vec<usize> = inputs.iter().map(stride).collect();
        let channels = cell
            .stems
            .first()
            .map_or(cell.post_op.ch_out, |stem| stem.ch_out);
        let op = petridish_op(candidates, channels, &strides, keep);
        cell.nodes.push(NodeDesc::new([EdgeDesc { inputs, op }]));
        cell.concat.push(new);
    }
    Ok(desc)
}

/// What remains of a grown and trained network: each petridish op becomes a `multi_op` that reads the states it needs.
///
/// # Errors
/// As [`Finalizers::finalize_model`].
pub fn settled(model: &Model) -> Result<ModelDesc, EngineError> {
    let mut desc = DefaultFinalizers.finalize_model(model)?;
    let edges = desc
        .cells
        .iter_mut()
        .flat_map(|cell| &mut cell.nodes)
        .flat_map(|node| &mut node.edges);
    for edge in edges.filter(|edge| edge.op.name == MULTI_OP) {
        let children = &mut edge.op.children;
        let used = |i: usize| children.iter().any(|child| child.input == i);
        let kept: Vec<usize> = (0..edge.inputs.len()).filter(|&i| used(i)).collect();
        for child in children {
            child.input = kept.iter().position(|&i| i == child.input).unwrap_or(0);
        }
        edge.inputs = kept.into_iter().map(|i| edge.inputs[i]).collect();
    }
    Ok(desc)
}

/// Gives `model` all weights and running statistics of its parent that it has a place for, by name. Where it has more
/// input channels than the parent (a post op that joins one more node), the parent's come first and the others keep their
/// starting values.
///
/// # Errors
/// A tensor has another shape for another reason: the state is no parent's.
pub fn inherit(model: &mut Model, parent: &[NamedTensor]) -> Result<(), EngineError> {
    let parent: HashMap<&str, &NamedTensor> = parent.iter().map(|t| (t.name.as_str(), t)).collect();
    let mut state = model.named_state();
    for tensor in &mut state {
        let Some(old) = parent.get(tensor.name.as_str()) else {
            continue;
        };
        if !widen(old, tensor) {
            return Err(EngineError::Shape(format!(
                "`{}` has shape {:?}, its parent's {:?}: only input channels may be added",
                tensor.name, tensor.shape, old.shape
            )));
        }
    }
    model.set_named_state(&state)
}

/// Copies `old` into `new`, which may have more input channels (axis 1). Whether it fits.
fn widen(old: &NamedTensor, new: &mut NamedTensor) -> bool {
    if old.shape == new.shape {
        new.values.clone_from(&old.values);
        return true;
    }
    let ([rows, from, rest @ ..], [new_rows, to, new_rest @ ..]) =
        (old.shape.as_slice(), new.shape.as_slice())
    else {
        return false;
    };
    if rows != new_rows || from > to || rest != new_rest {
        return false;
    }
    let size: usize = rest.iter().product();
    let (from, to) = (from * size, to * size);
    if from == 0 {
        return true;
    }
    let pairs = old
        .values
        .chunks_exact(from)
        .zip(new.values.chunks_exact_mut(to));
    for (old, new) in pairs {
        new[..from].copy_from_slice(old);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_input_channels_are_added() {
        let tensor = |shape: &[usize], first: f64| NamedTensor {
            name: "w".to_string(),
            shape: shape.to_vec(),
            values: (0..shape.iter().product())
                .map(|i: usize| first + i as f64)
                .collect(),
        };
        let check = |old: &[usize], new: &[usize], expect: Option<&[f64]>| {
            let mut into = tensor(new, 100.0);
            let fits = widen(&tensor(old, 0.0), &mut into);
            assert_eq!(
                fits.then_some(into.values.as_slice()),
                expect,
                "{old:?} → {new:?}"
            );
        };
        check(&[2], &[2], Some(&[0.0, 1.0]));
        check(
            &[2, 1, 1, 1],
            &[2, 2, 1, 1],
            Some(&[0.0, 101.0, 1.0, 103.0]),
        );
        check(
            &[1, 1, 1, 2],
            &[1, 2, 1, 2],
            Some(&[0.0, 1.0, 102.0, 103.0]),
        );
        check(&[2, 1, 1, 1], &[3, 1, 1, 1], None);
        check(&[1, 2, 1, 1], &[1, 1, 1, 1], None);
        check(&[2], &[3], None);
    }
}
