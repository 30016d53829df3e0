//! A whole network as one graph of layers: what a description comes to once every op is spelt out.
//!
//! A [`Graph`] names every value and every parameter as the state dict does and holds all facts of execution, so that a
//! network can be written for another program, executed, or measured from it alone.
//!
//! ```
//! use archai_spec::desc::{ModelDesc, OpCatalog};
//! # fn f(desc: ModelDesc) -> Result<(), archai_spec::desc::DescErrors> {
//! let graph = desc.lower(&OpCatalog::builtin())?;
//! for layer in &graph.layers {
//!     println!("{} = {:?}", graph.values[layer.output].name, layer.layer);
//! }
//! # Ok(()) }
//! ```

use serde::{Deserialize, Serialize};

use crate::desc::{
    ArchKey, CellDesc, Cost, DescError, DescErrorKind, DescErrors, ModelDesc, OpCatalog, OpDesc,
    Shape, StemInput,
};
use crate::ops::{ConvShape, Layer, LayerBuilder, LayerList, ParamKind, Value, lower_tower};

/// A network: values, and the layers between them in an order of execution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Graph {
    /// All values. The first one is the image.
    pub values: Vec<GraphValue>,
    /// The layers; each comes after what it reads.
    pub layers: Vec<GraphLayer>,
    /// Index of the value that the classifier gives, maps of one pixel with a channel per class.
    pub logits: usize,
    /// Indices of the values that the auxiliary towers give. They exist in training only.
    pub aux: Vec<usize>,
}

/// A value of a graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GraphValue {
    /// Its name: `cell0.node1.edge0.sep_conv_3x3.conv2`.
    pub name: String,
    /// Its shape for one image.
    pub shape: Shape,
}

/// A layer of a graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GraphLayer {
    /// The layer.
    #[serde(flatten)]
    pub layer: Layer,
    /// Indices of the values that it reads.
    pub inputs: Vec<usize>,
    /// Index of the value that it gives.
    pub output: usize,
    /// Its parameters: learnt ones, then running statistics.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<GraphParam>,
    /// Learnt numbers and multiply-adds for one image.
    pub cost: Cost,
    /// Whose architecture parameters a [`Layer::Mix`] weights its inputs with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<ArchKey>,
    /// Whether it matters in training only: a layer of an auxiliary tower, or drop-path and dropout, which give back their
    /// input otherwise. [`Graph::inference`] leaves them out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_training: bool,
}

/// A parameter of a graph.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GraphParam {
    /// Its name in the state dict: `stem.conv1.weight`.
    pub name: String,
    /// What it is.
    pub kind: ParamKind,
    /// Its shape.
    pub shape: Vec<usize>,
}

/// Memory that the activations of one image take, in bytes. Values that share their numbers with another one (a flattened
/// map) count once; auxiliary towers do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActivationMemory {
    /// All values of a forward pass together, as training keeps them for the backward pass.
    pub forward: u64,
    /// The most at one time if each value is freed after its last use, as at inference. One that no layer reads is freed as
    /// soon as it is computed.
    pub peak: u64,
}

impl Graph {
    /// Learnt numbers and multiply-adds of one image, without or with auxiliary towers.
    pub fn cost(&self, with_aux: bool) -> Cost {
        let counted = self.layers.iter().filter(|l| with_aux || !l.only_training);
        counted.map(|l| l.cost).sum()
    }

    /// The network as it is used once it is trained: without auxiliary towers, drop-path and dropout.
    ///
    /// # Panics
    /// If indices lead nowhere, as [`ModelDesc::lower`] makes none.
    pub fn inference(&self) -> Graph {
        let mut values = vec![self.values[0].clone()];
        let mut layers: Vec<GraphLayer> = Vec::new();
        // The new index of each value; those of towers have none.
        let mut places: Vec<Option<usize>> = vec![None; self.values.len()];
        places[0] = Some(0);
        for layer in &self.layers {
            if layer.layer.is_only_training() {
                places[layer.output] = places[layer.inputs[0]];
                continue;
            }
            let inputs: Option<Vec<usize>> = layer.inputs.iter().map(|&i| places[i]).collect();
            let Some(inputs) = inputs.filter(|_| !layer.only_training) else {
                continue;
            };
            places[layer.output] = Some(values.len());
            layers.push(GraphLayer {
                inputs,
                output: values.len(),
                ..layer.clone()
            });
            values.push(self.values[layer.output].clone());
        }
        Graph {
            values,
            layers,
            logits: places[self.logits].expect("the logits exist at inference"),
            aux: Vec::new(),
        }
    }

    /// Memory of activations, each number taking `bytes` bytes (4 in 32 bits).
    pub fn memory(&self, bytes: usize) -> ActivationMemory {
        let inference = || self.layers.iter().filter(|l| !l.only_training);
        // A view keeps alive what it is a view of.
        let mut root: Vec<usize> = (0..self.values.len()).collect();
        for layer in &self.layers {
            if layer.layer.is_view() {
                root[layer.output] = root[layer.inputs[0]];
            }
        }
        let size = |value: usize| {
            let Shape {
                channels,
                height,
                width,
                ..
            } = self.values[value].shape;
            Cost::product(&[channels, height, width, bytes])
        };
        let mut last_use = vec![0; self.values.len()];
        for (i, layer) in inference().enumerate() {
            // A value that no layer reads is of no use once it is there.
            for &value in layer.inputs.iter().chain([&layer.output]) {
                last_use[root[value]] = i;
            }
        }
        last_use[root[self.logits]] = usize::MAX;
        let mut live = size(0);
        let mut memory = ActivationMemory {
            forward: live,
            peak: live,
        };
        for (i, layer) in inference().enumerate() {
            if !layer.layer.is_view() {
                let new = size(layer.output);
                memory.forward = memory.forward.saturating_add(new);
                live = live.saturating_add(new);
                memory.peak = memory.peak.max(live);
            }
            let touched = layer.inputs.iter().chain([&layer.output]);
            let mut touched: Vec<usize> = touched.map(|&value| root[value]).collect();
            touched.sort_unstable();
            touched.dedup();
            for value in touched.into_iter().filter(|&value| last_use[value] == i) {
                live = live.saturating_sub(size(value));
            }
        }
        memory
    }
}

/// Names of the parts of a network, below which their parameters stand in state dicts.
pub mod names {
    use crate::desc::OpDesc;
    use crate::ops::MIXED_OP;

    /// The pool.
    pub const POOL: &str = "pool";
    /// The classifier.
    pub const CLASSIFIER: &str = "classifier";

    /// A stem of a model that has `n` of them.
    pub fn stem(stem: usize, n: usize) -> String {
        match n {
            1 => "stem".to_string(),
            _ => format!("stem{stem}"),
        }
    }
    /// A cell.
    pub fn cell(cell: usize) -> String {
        format!("cell{cell}")
    }
    /// What brings an input to a cell's channels and size.
    pub fn cell_stem(cell: usize, input: usize) -> String {
        format!("cell{cell}.pre{input}")
    }
    /// A node.
    pub fn node(cell: usize, node: usize) -> String {
        format!("cell{cell}.node{node}")
    }
    /// An edge.
    pub fn edge(cell: usize, node: usize, edge: usize) -> String {
        format!("cell{cell}.node{node}.edge{edge}")
    }
    /// The op of an edge. The children of a mixed op stand directly below the edge, under their own names.
    pub fn edge_op(cell: usize, node: usize, edge: usize, op: &OpDesc) -> String {
        let place = self::edge(cell, node, edge);
        match op.name == MIXED_OP {
            true => place,
            false => format!("{place}.{}", op.name),
        }
    }
    /// What joins a cell's nodes.
    pub fn post_op(cell: usize) -> String {
        format!("cell{cell}.post")
    }
    /// An auxiliary tower of a model that has `n` of them.
    pub fn aux_tower(cell: usize, n: usize) -> String {
        match n {
            1 => "aux".to_string(),
            _ => format!("cell{cell}.aux"),
        }
    }
}

/// A layer list of a whole model in the making, and what a list does not say.
struct Lowering<'a> {
    desc: &'a ModelDesc,
    catalog: &'a OpCatalog,
    b: LayerBuilder<'a>,
    /// Layers from here to there belong to an auxiliary tower.
    towers: Vec<std::ops::Range<usize>>,
    aux: Vec<Value>,
    /// Owners of architecture parameters, by the index of the mixed layer.
    arch: Vec<(usize, ArchKey)>,
}

impl ModelDesc {
    /// The network as a graph of layers.
    ///
    /// # Errors
    /// Those of [`ModelDesc::check`]; an op that is not made of layers, by name and place.
    pub fn lower(&self, catalog: &OpCatalog) -> Result<Graph, DescErrors> {
        self.check(catalog)?;
        let (b, image) = LayerBuilder::new(catalog, 1, self.affine);
        let lowering = Lowering {
            desc: self,
            catalog,
            b,
            towers: Vec::new(),
            aux: Vec::new(),
            arch: Vec::new(),
        };
        (lowering.model(image[0])).map_err(|e| DescErrors(vec![e]))
    }
}

impl Lowering<'_> {
    fn model(mut self, image: Value) -> Result<Graph, DescError> {
        let desc = self.desc;
        let mut stems: Vec<Value> = Vec::new();
        for (i, stem) in desc.stems.iter().enumerate() {
            let input = match stem.input {
                StemInput::Image => image,
                StemInput::Stem(from) => stems[from],
            };
            let name = names::stem(i, desc.stems.len());
            stems.push(self.op(&format!("stem {i}"), &name, &stem.op, &[input])?);
        }
        let mut outputs: Vec<Value> = desc.stem_outputs.iter().map(|&i| stems[i]).collect();
        for (c, cell) in desc.cells.iter().enumerate() {
            // A cell reads as many of the last outputs as it has stems.
            let inputs = &outputs[outputs.len() - cell.stems.len()..];
            let out = self.cell(c, cell, inputs)?;
            outputs.push(out);
            outputs.remove(0);
        }
        let features = &outputs[outputs.len() - 1..];
        let pooled = self.op("pool", names::POOL, &desc.pool, features)?;
        let logits = self.op("logits", names::CLASSIFIER, &desc.logits, &[pooled])?;
        self.finish(logits)
    }

    fn op(
        &mut self,
        place: &str,
        name: &str,
        op: &OpDesc,
        inputs: &[Value],
    ) -> Result<Value, DescError> {
        let lowered = self.b.child_named(name, op, inputs);
        lowered.map_err(|e| e.at(place))
    }

    fn cell(&mut self, c: usize, cell: &CellDesc, inputs: &[Value]) -> Result<Value, DescError> {
        let mut states = Vec::new();
        for (s, (stem, input)) in cell.stems.iter().zip(inputs).enumerate() {
            let place = format!("cell {c}, stem {s}");
            states.push(self.op(&place, &names::cell_stem(c, s), stem, &[*input])?);
        }
        for n in 0..cell.nodes.len() {
            let state = self.node(c, n, cell, &states)?;
            states.push(state);
        }
        let joined: Vec<Value> = cell.concat.iter().map(|&state| states[state]).collect();
        let place = format!("cell {c}, post op");
        let out = self.op(&place, &names::post_op(c), &cell.post_op, &joined)?;
        if let Some(tower) = &cell.aux_tower {
            let towers = self.desc.cells.iter().filter(|c| c.aux_tower.is_some());
            let name = names::aux_tower(c, towers.count());
            let first = self.b.len();
            // The towers are not part of a search: their norms always learn.
            let list = |b: &mut LayerBuilder<'_>| lower_tower(tower, out, cell.out, b);
            let logits = self.b.below_with(&name, true, list);
            self.aux
                .push(logits.map_err(|e| e.at(format!("cell {c}, auxiliary tower")))?);
            self.towers.push(first..self.b.len());
        }
        Ok(out)
    }

    fn node(
        &mut self,
        c: usize,
        n: usize,
        cell: &CellDesc,
        states: &[Value],
    ) -> Result<Value, DescError> {
        let mut parts = Vec::new();
        for (e, edge) in cell.nodes[n].edges.iter().enumerate() {
            let read: Vec<Value> = edge.inputs.iter().map(|&state| states[state]).collect();
            let place = format!("cell {c}, node {n}, edge {e}");
            let name = names::edge_op(c, n, e, &edge.op);
            let mut part = self.op(&place, &name, &edge.op, &read)?;
            if edge.op.is_mixed() {
                let key = ArchKey {
                    cell: cell.alphas_from,
                    node: n,
                    edge: e,
                    n_alphas: edge.op.children.len(),
                };
                self.arch.push((part.index(), key));
            }
            if self.catalog.can_drop_path(&edge.op)? {
                let mark = |b: &mut LayerBuilder<'_>| b.layer(Layer::DropPath, &[part]);
                part = self.b.below(&names::edge(c, n, e), mark);
            }
            parts.push(part);
        }
        Ok(match parts.as_slice() {
            // A node without edges repeats the last state before it.
            [] => states[states.len() - 1],
            [only] => *only,
            _ => self.b.below(&names::node(c, n), |b| b.add(&parts)),
        })
    }

    fn finish(self, logits: Value) -> Result<Graph, DescError> {
        let LayerList { steps, output, .. } = self.b.finish(logits);
        let image = GraphValue {
            name: "image".to_string(),
            shape: self.desc.input,
        };
        let (mut values, mut layers) = (vec![image], Vec::with_capacity(steps.len()));
        for (i, step) in steps.into_iter().enumerate() {
            let read: Vec<Shape> = step.inputs.iter().map(|&v| values[v].shape).collect();
            let (shape, cost) = (step.layer.measure(&read)).map_err(|e| e.at(&step.name))?;
            let params = step.layer.params().into_iter().map(|p| GraphParam {
                name: format!("{}.{}", step.name, p.kind.name()),
                kind: p.kind,
                shape: p.shape,
            });
            let in_tower = self.towers.iter().any(|tower| tower.contains(&i));
            // An edge whose candidates are all zero has parameters, but nothing to weight.
            let mixes = matches!(step.layer, Layer::Mix { .. });
            let arch = self.arch.iter().find(|(v, _)| mixes && *v == i + 1);
            layers.push(GraphLayer {
                params: params.collect(),
                cost,
                arch: arch.map(|(_, key)| *key),
                only_training: in_tower || step.layer.is_only_training(),
                inputs: step.inputs,
                output: i + 1,
                layer: step.layer,
            });
            values.push(GraphValue {
                name: step.name,
                shape,
            });
        }
        spell_out_shifts(&mut values, &mut layers)?;
        Ok(Graph {
            values,
            layers,
            logits: output,
            aux: self.aux.into_iter().map(Value::index).collect(),
        })
    }
}

/// Says [`Layer::Shift`] in layers that every program has. On a map of even sides it is a crop. On others its convolution
/// comes first, over the map with a border of zeros, and the crop after it: output i of that convolution sees pixel 2i − 1,
/// so without the first row and column output i sees pixel 2i + 1, which is a zero after the last odd side.
fn spell_out_shifts(values: &mut [GraphValue], layers: &mut [GraphLayer]) -> Result<(), DescError> {
    let shifts = (0..layers.len()).filter(|&i| layers[i].layer == Layer::Shift);
    for at in shifts.collect::<Vec<usize>>() {
        let (from, to) = (layers[at].inputs[0], layers[at].output);
        let crop = Layer::Crop { top: 1, left: 1 };
        let Shape { height, width, .. } = values[from].shape;
        if height.is_multiple_of(2) && width.is_multiple_of(2) {
            layers[at].layer = crop;
            continue;
        }
        let readers = (0..layers.len()).filter(|&i| layers[i].inputs.contains(&to));
        let readers: Vec<usize> = readers.collect();
        let conv = readers
            .first()
            .and_then(|&reader| match layers[reader].layer {
                Layer::Conv(conv) => Some((reader, conv)),
                _ => None,
            });
        let (Some((reader, conv)), 1) = (conv, readers.len()) else {
            return Err(unspelt(&values[to]));
        };
        if (conv.kernel, conv.stride, conv.padding) != ([1, 1], [2, 2], [0, 0]) {
            return Err(unspelt(&values[to]));
        }
        let padded = Layer::Conv(ConvShape {
            padding: [1, 1],
            ..conv
        });
        let (shape, _) = padded.measure(&[values[from].shape])?;
        let end = layers[reader].output;
        let convolved = std::mem::take(&mut values[end].name);
        values[end].name = std::mem::replace(&mut values[to].name, convolved);
        values[to].shape = shape;
        layers[at].layer = padded;
        // What the border adds is thrown away again, and no part of the cost.
        layers[at].cost = std::mem::take(&mut layers[reader].cost);
        layers[at].params = std::mem::take(&mut layers[reader].params);
        layers[reader].layer = crop;
    }
    Ok(())
}

fn unspelt(value: &GraphValue) -> DescError {
    DescError::new(
        DescErrorKind::Structure,
        format!(
            "`{}` is a shifted map of an odd side, {}, which only one unpadded 1×1 convolution of stride 2 may read",
            value.name, value.shape
        ),
    )
}
