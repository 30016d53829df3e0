//! Norms taken into the layers before them: what inference does without, and what quantisation needs.

use std::collections::{HashMap, HashSet};
use std::io;

use archai_spec::graph::{Graph, GraphLayer, GraphParam};
use archai_spec::ops::{Layer, ParamKind};

use crate::{NamedTensor, Weights, invalid};

/// The same network with fewer norms. A trained norm is a factor and a summand for each channel, so where its input is what a
/// convolution or a linear layer gives, directly or through a concatenation, and is read by nothing else, the factor goes into
/// that layer's weight and the summand into its bias, which is new where it had none (`conv2.bias` beside `conv2.weight`).
/// Other norms, such as those before a ReLU of a dense block, stay as they are.
///
/// Values and parameters keep their names and their order; what the norm gave is what the layer before it gives. Tensors that
/// the graph does not name are left alone.
///
/// ```
/// use archai_export::{NamedTensor, fold_norms};
/// use archai_spec::graph::Graph;
/// # fn f(graph: &Graph, state: &[NamedTensor]) -> std::io::Result<()> {
/// let (folded, weights) = fold_norms(graph, state)?;
/// assert!(folded.layers.len() <= graph.layers.len());
/// # Ok(()) }
/// ```
///
/// # Errors
/// As [`Weights::new`].
pub fn fold_norms(graph: &Graph, state: &[NamedTensor]) -> io::Result<(Graph, Vec<NamedTensor>)> {
    let weights = Weights::new(graph, state)?;
    let mut folding = Folding::new(graph);
    let mut changed: HashMap<&str, Vec<f64>> = HashMap::new();
    let mut biases: HashMap<&str, NamedTensor> = HashMap::new();
    let mut gone: HashSet<&str> = HashSet::new();
    for norm in &graph.layers {
        let Some(affine) = weights.scale_and_shift(norm) else {
            continue;
        };
        let Some(sources) = folding.sources(norm.inputs[0]) else {
            continue;
        };
        folding.remove(norm);
        gone.extend(norm.params.iter().map(|p| p.name.as_str()));
        let mut affine = affine.into_iter();
        for source in sources {
            let layer = &graph.layers[source];
            let of = |kind| layer.params.iter().find(|p| p.kind == kind);
            let weight =
                of(ParamKind::Weight).expect("convolutions and linear layers have a weight");
            let rows = weight.shape[0];
            let affine: Vec<(f64, f64)> = affine.by_ref().take(rows).collect();
            let scaled = (changed.entry(&weight.name))
                .or_insert_with(|| weights.by_name(&weight.name).unwrap_or_default().to_vec());
            let per_row = scaled.len() / rows;
            for (row, (factor, _)) in scaled.chunks_exact_mut(per_row).zip(&affine) {
                row.iter_mut().for_each(|w| *w *= factor);
            }
            let bias = biases
                .entry(&weight.name)
                .or_insert_with(|| match of(ParamKind::Bias) {
                    Some(bias) => NamedTensor {
                        name: bias.name.clone(),
                        shape: bias.shape.clone(),
                        values: weights.by_name(&bias.name).unwrap_or_default().to_vec(),
                    },
                    None => NamedTensor {
                        name: bias_name(&weight.name),
                        shape: vec![rows],
                        values: vec![0.0; rows],
                    },
                });
            for (b, (factor, summand)) in bias.values.iter_mut().zip(&affine) {
                *b = *b * factor + summand;
            }
        }
    }
    let mut new_state = Vec::with_capacity(state.len());
    let old_biases: HashSet<String> = biases.values().map(|b| b.name.clone()).collect();
    for tensor in state {
        let name = tensor.name.as_str();
        if gone.contains(name) || old_biases.contains(name) {
            continue;
        }
        new_state.push(match changed.remove(name) {
            Some(values) => NamedTensor {
                values,
                ..tensor.clone()
            },
            None => tensor.clone(),
        });
        new_state.extend(biases.remove(name));
    }
    Ok((folding.finish(&old_biases)?, new_state))
}

/// Where the bias of a layer with this weight is found.
fn bias_name(weight: &str) -> String {
    let place = weight.strip_suffix(ParamKind::Weight.name());
    format!("{}{}", place.unwrap_or(weight), ParamKind::Bias.name())
}

struct Folding<'a> {
    graph: &'a Graph,
    /// Which value each value is now: that of a norm that is gone is the one that the norm read.
    is_now: Vec<usize>,
    /// How often each value is read, as a result of the network too.
    readers: Vec<usize>,
    /// The layer that gives each value; the image has none.
    giver: Vec<Option<usize>>,
}

impl<'a> Folding<'a> {
    fn new(graph: &'a Graph) -> Self {
        let mut readers = vec![0; graph.values.len()];
        let mut giver = vec![None; graph.values.len()];
        for (i, layer) in graph.layers.iter().enumerate() {
            layer.inputs.iter().for_each(|&v| readers[v] += 1);
            giver[layer.output] = Some(i);
        }
        let results = graph.aux.iter().chain([&graph.logits]);
        results.for_each(|&v| readers[v] += 1);
        Folding {
            graph,
            is_now: (0..graph.values.len()).collect(),
            readers,
            giver,
        }
    }

    /// The layers that give a value's channels, in their order, if each can take a norm in.
    fn sources(&self, value: usize) -> Option<Vec<usize>> {
        let value = self.is_now[value];
        if self.readers[value] != 1 {
            return None;
        }
        let i = self.giver[value]?;
        let layer = &self.graph.layers[i];
        match layer.layer {
            Layer::Conv(_) | Layer::Linear { .. } => Some(vec![i]),
            Layer::Concat => {
                let parts = layer.inputs.iter().map(|&v| self.sources(v));
                Some(parts.collect::<Option<Vec<_>>>()?.concat())
            }
            _ => None,
        }
    }

    fn remove(&mut self, norm: &GraphLayer) {
        let value = self.is_now[norm.inputs[0]];
        self.is_now[norm.output] = value;
        self.readers[value] = self.readers[norm.output];
    }

    /// The graph without the norms that are gone; layers whose bias is among these have one.
    fn finish(&self, biases: &HashSet<String>) -> io::Result<Graph> {
        let mut places: Vec<usize> = vec![0; self.graph.values.len()];
        let mut values = vec![self.graph.values[0].clone()];
        let mut layers = Vec::new();
        for layer in &self.graph.layers {
            let now = self.is_now[layer.output];
            if now != layer.output {
                places[layer.output] = places[now];
                continue;
            }
            let mut layer = layer.clone();
            let weight = layer.params.iter().find(|p| p.kind == ParamKind::Weight);
            if let Some(weight) = weight {
                let (name, rows) = (bias_name(&weight.name), weight.shape[0]);
                let bias = match &mut layer.layer {
                    Layer::Conv(conv) => Some(&mut conv.bias),
                    Layer::Linear { bias, .. } => Some(bias),
                    _ => None,
                };
                if let Some(bias) = bias.filter(|bias| !**bias && biases.contains(&name)) {
                    *bias = true;
                    layer.params.push(GraphParam {
                        name,
                        kind: ParamKind::Bias,
                        shape: vec![rows],
                    });
                }
            }
            layer.inputs.iter_mut().for_each(|v| *v = places[*v]);
            let shapes: Vec<_> = layer.inputs.iter().map(|&v| values[v].shape).collect();
            let measured = layer.layer.measure(&shapes);
            layer.cost = measured.map_err(|e| invalid(e.to_string()))?.1;
            places[layer.output] = values.len();
            values.push(self.graph.values[layer.output].clone());
            layer.output = places[layer.output];
            layers.push(layer);
        }
        Ok(Graph {
            values,
            layers,
            logits: places[self.graph.logits],
            aux: self.graph.aux.iter().map(|&v| places[v]).collect(),
        })
    }
}
