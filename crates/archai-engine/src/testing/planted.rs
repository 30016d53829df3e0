//! A search space in which one primitive is right and all others are wrong: [`plant`] makes a registry in which the planted
//! one passes its input through and every other one puts noise in its place.

use std::sync::Arc;

use archai_data::rng::Key;
use archai_spec::desc::{ModelDesc, OpCatalog, OpDesc};
use burn::tensor::{Tensor, s};

use crate::{
    error::EngineError,
    features::Features,
    op::{Op, OpRegistry, Pass},
};

/// The primitives of a supernet, zeros left out, in order of their first appearance.
pub(super) fn primitives(desc: &ModelDesc, catalog: &OpCatalog) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let edges = (desc.cells.iter())
        .flat_map(|c| &c.nodes)
        .flat_map(|n| &n.edges);
    for child in edges
        .filter(|e| e.op.is_mixed())
        .flat_map(|e| &e.op.children)
    {
        if !catalog.is_zero(&child.op.name) && !names.contains(&child.op.name) {
            names.push(child.op.name.clone());
        }
    }
    names
}

/// The registry with `planted` as the only one of the `primitives` that carries the signal.
///
/// # Errors
/// A primitive that the registry does not know.
pub(super) fn plant(
    registry: &OpRegistry,
    primitives: &[String],
    planted: &str,
) -> Result<OpRegistry, EngineError> {
    let mut registry = registry.clone();
    for name in primitives {
        let is_planted = name == planted;
        registry.replace(
            name,
            Arc::new(move |desc, builder| {
                Ok(Box::new(Planted {
                    desc: desc.clone(),
                    noise: (!is_planted).then(|| Key::new(0).with(builder.name())),
                }))
            }),
        )?;
    }
    Ok(registry)
}

/// Share of the planted op among the primitives that were found, those that share an edge as a `multi_op` included; 0 if
/// there is none.
pub(super) fn share(found: &ModelDesc, primitives: &[String], planted: &str) -> f64 {
    let edges = (found.cells.iter())
        .flat_map(|c| &c.nodes)
        .flat_map(|n| &n.edges);
    let ops = edges.flat_map(|e| match e.op.children.as_slice() {
        [] => vec![&e.op],
        children => children.iter().map(|child| &child.op).collect(),
    });
    let names: Vec<&str> = ops
        .map(|op| op.name.as_str())
        .filter(|name| primitives.iter().any(|p| p == name))
        .collect();
    match names.len() {
        0 => 0.0,
        n => names.iter().filter(|name| **name == planted).count() as f64 / n as f64,
    }
}

/// The signal, or noise in its place. Both have about unit variance and neither has weights, so that nothing but the signal
/// tells them apart.
///
/// The noise is one number per place in the batch and channel: no pool averages it away, no gradient passes it, and as
/// training batches are shuffled it says nothing of a class. It does not depend on the weights, so a finite difference in
/// them stays one. Every op of a network has its own, so none cancels another.
#[derive(Debug)]
struct Planted {
    desc: OpDesc,
    noise: Option<Key>,
}

impl Op for Planted {
    fn forward(&self, pass: &mut Pass<'_>, inputs: &[Features], _: Option<&Tensor<1>>) -> Features {
        let stride = self.desc.stride;
        let [n, c, h, w] = inputs[0].shape();
        match &self.noise {
            None if stride == 1 => inputs[0].clone(),
            None => {
                let by = stride as isize;
                Features::from_nchw(inputs[0].nchw().slice(s![.., .., ..;by, ..;by]))
            }
            Some(key) => {
                let mut rng = key.rng();
                let noise = (0..n * c).map(|_| rng.normal()).collect();
                let size = [n, c, h.div_ceil(stride), w.div_ceil(stride)];
                let noise = pass.compute().tensor(noise, [n, c, 1, 1]);
                Features::from_nchw(noise.expand(size))
            }
        }
    }

    fn desc(&self) -> &OpDesc {
        &self.desc
    }
}
