//! A graph as integer arithmetic likes it: the same numbers from fewer kinds of layers.
//!
//! - Norms fold into the convolutions before them; one that folds into nothing becomes a convolution of one tap per channel,
//!   which has integer kernels where a scale and a shift have none.
//! - A sum has two terms, because `QLinearAdd` has: longer sums become chains, whose partial sums get ranges of their own.
//!   Zeros are left out of sums.
//! - ReLUs of one value are one: DARTS reads each state through several.

use std::collections::{HashMap, HashSet};
use std::io;

use archai_spec::desc::Shape;
use archai_spec::graph::{Graph, GraphLayer, GraphParam, GraphValue};
use archai_spec::ops::{ConvShape, Layer, ParamKind};

use crate::{NamedTensor, Weights, fold_norms};

/// A graph and its numbers.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The graph, without norms.
    pub graph: Graph,
    /// Its parameters.
    pub state: Vec<NamedTensor>,
}

/// The network as it is quantised. It computes the same as the given one, up to rounding.
///
/// # Errors
/// As [`Weights::new`].
pub fn prepare(graph: &Graph, state: &[NamedTensor]) -> io::Result<Prepared> {
    let (graph, state) = fold_norms(&graph.inference(), state)?;
    rewrite(&graph, &state)
}

/// How often each value is read; the logits are read once more, by the user.
pub(super) fn readers(graph: &Graph) -> Vec<usize> {
    let mut readers = vec![0; graph.values.len()];
    let read = graph.layers.iter().flat_map(|l| &l.inputs);
    read.chain([&graph.logits]).for_each(|&v| readers[v] += 1);
    readers
}

/// A graph in the making, and the new place of each old value.
struct Rewriter<'g> {
    old: &'g Graph,
    graph: Graph,
    places: Vec<usize>,
}

impl<'g> Rewriter<'g> {
    fn new(old: &'g Graph) -> Self {
        let graph = Graph {
            values: vec![old.values[0].clone()],
            layers: Vec::new(),
            logits: 0,
            aux: Vec::new(),
        };
        Rewriter {
            old,
            graph,
            places: vec![0; old.values.len()],
        }
    }

    /// A layer with the inputs in the new graph; gives the place of its output.
    fn push(&mut self, name: String, shape: Shape, layer: GraphLayer) -> usize {
        let output = self.graph.values.len();
        self.graph.values.push(GraphValue { name, shape });
        self.graph.layers.push(GraphLayer { output, ..layer });
        output
    }

    /// A layer as it was.
    fn keep(&mut self, layer: &GraphLayer) -> usize {
        let GraphValue { name, shape } = self.old.values[layer.output].clone();
        let inputs = self.inputs(layer);
        self.push(
            name,
            shape,
            GraphLayer {
                inputs,
                ..layer.clone()
            },
        )
    }

    fn inputs(&self, layer: &GraphLayer) -> Vec<usize> {
        layer.inputs.iter().map(|&v| self.places[v]).collect()
    }

    fn finish(mut self) -> Graph {
        self.graph.logits = self.places[self.old.logits];
        self.graph
    }
}

/// The graph without what its logits do not depend on.
fn needed(graph: &Graph) -> Graph {
    let mut needed = vec![false; graph.values.len()];
    (needed[0], needed[graph.logits]) = (true, true);
    for layer in graph.layers.iter().rev() {
        if needed[layer.output] {
            layer.inputs.iter().for_each(|&v| needed[v] = true);
        }
    }
    let mut new = Rewriter::new(graph);
    for layer in graph.layers.iter().filter(|l| needed[l.output]) {
        new.places[layer.output] = new.keep(layer);
    }
    new.finish()
}

/// All changes but the first, on a graph whose norms are folded where they can be.
fn rewrite(graph: &Graph, state: &[NamedTensor]) -> io::Result<Prepared> {
    let weights = Weights::new(graph, state)?;
    let mut state = state.to_vec();
    let mut new = Rewriter::new(graph);
    let mut rectified: HashMap<(usize, bool), usize> = HashMap::new();
    let mut zeros = vec![false; graph.values.len()];
    for layer in &graph.layers {
        let GraphValue { name, shape } = &graph.values[layer.output];
        let place = match &layer.layer {
            Layer::Zero { .. } => {
                zeros[layer.output] = true;
                new.keep(layer)
            }
            Layer::Relu | Layer::Relu6 => {
                let key = (layer.inputs[0], layer.layer == Layer::Relu);
                match rectified.get(&key) {
                    Some(&place) => place,
                    None => {
                        let place = new.keep(layer);
                        rectified.insert(key, place);
                        place
                    }
                }
            }
            Layer::Add => {
                let terms: Vec<usize> = (layer.inputs.iter())
                    .filter(|&&v| !zeros[v])
                    .map(|&v| new.places[v])
                    .collect();
                match terms.split_first() {
                    None => {
                        zeros[layer.output] = true;
                        new.places[layer.inputs[0]]
                    }
                    Some((&first, others)) => {
                        let mut sum = first;
                        for (k, &term) in others.iter().enumerate() {
                            let name = match k + 1 == others.len() {
                                true => name.clone(),
                                false => format!("{name}.sum{k}"),
                            };
                            let inputs = vec![sum, term];
                            sum = new.push(
                                name,
                                *shape,
                                GraphLayer {
                                    inputs,
                                    ..layer.clone()
                                },
                            );
                        }
                        sum
                    }
                }
            }
            Layer::Norm { channels, .. } => {
                let each = weights.scale_and_shift(layer).unwrap_or_default();
                let conv = ConvShape::depthwise(*channels, 1).with_bias(true);
                let conv = Layer::Conv(conv);
                let mut params = Vec::new();
                for param in conv.params() {
                    let values = match param.kind {
                        ParamKind::Weight => each.iter().map(|(factor, _)| *factor).collect(),
                        _ => each.iter().map(|(_, summand)| *summand).collect(),
                    };
                    let tensor = NamedTensor {
                        name: format!("{name}.{}", param.kind.name()),
                        shape: param.shape.clone(),
                        values,
                    };
                    state.retain(|t| t.name != tensor.name);
                    params.push(GraphParam {
                        name: tensor.name.clone(),
                        kind: param.kind,
                        shape: param.shape,
                    });
                    state.push(tensor);
                }
                let inputs = new.inputs(layer);
                let layer = GraphLayer {
                    layer: conv,
                    inputs,
                    params,
                    ..layer.clone()
                };
                new.push(name.clone(), *shape, layer)
            }
            _ => new.keep(layer),
        };
        new.places[layer.output] = place;
    }
    let graph = needed(&new.finish());
    // What no layer reads any more: parameters of norms.
    let params = graph.layers.iter().flat_map(|l| &l.params);
    let named: HashSet<&str> = params.map(|p| p.name.as_str()).collect();
    state.retain(|t| named.contains(t.name.as_str()));
    Ok(Prepared { graph, state })
}
