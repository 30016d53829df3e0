//! How programs call the tensors of a network: [`Layout`]s, an open list.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use archai_spec::desc::{ModelDesc, StemInput};
use archai_spec::graph::{Graph, GraphLayer, names};
use archai_spec::ops::Layer;
use archai_spec::registry::{Named, Registry};

use crate::invalid;

/// A parameter of a network, and what a layout may call it.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    /// Its name here.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Names in the layout; the first that a file has counts.
    pub theirs: Vec<String>,
}

/// A way to call the tensors of a network.
pub trait Layout: Named + Send + Sync {
    /// What the parameters and running statistics of a network are called. `graph` is the description's, auxiliary towers
    /// included.
    ///
    /// # Errors
    /// The layout has no names for a part of the network.
    fn place(&self, desc: &ModelDesc, graph: &Graph) -> io::Result<Vec<Placed>>;

    /// Whether a file's tensor holds nothing that a network computes with, such as a count of batches. By default none.
    fn is_idle(&self, name: &str) -> bool {
        let _ = name;
        false
    }
}

/// Layouts by name.
pub type Layouts = Registry<dyn Layout>;

/// The layouts that come with the program.
pub fn layouts() -> Layouts {
    Layouts::new("layout")
        .with(Arc::new(Own))
        .with(Arc::new(Darts))
}

/// This program's names.
#[derive(Clone, Copy, Debug)]
pub struct Own;

impl Named for Own {
    fn name(&self) -> &str {
        "archai"
    }
    fn about(&self) -> &str {
        "the names of this program: `cell0.node1.edge0.sep_conv_3x3.conv1.weight`"
    }
}

impl Layout for Own {
    fn place(&self, _desc: &ModelDesc, graph: &Graph) -> io::Result<Vec<Placed>> {
        let params = graph.layers.iter().flat_map(|layer| &layer.params);
        let own = params.map(|param| Placed {
            name: param.name.clone(),
            shape: param.shape.clone(),
            theirs: vec![param.name.clone()],
        });
        Ok(own.collect())
    }
    /// PyTorch counts the batches that a norm has seen, and files that were trained on there have the count.
    fn is_idle(&self, name: &str) -> bool {
        name.ends_with(".num_batches_tracked")
    }
}

/// The names of the original DARTS code (quark0/darts, `cnn/model.py` at f276dd346a09ae3160f8e3aca5c7b193fda1da37) and of the
/// programs that came from it.
///
/// There, an op is a `Sequential`, whose parts are called by their place among the layers, with `op.` before it or without;
/// a factorised reduce is a class of its own. So the names follow from the list of an op's layers, whatever the op.
#[derive(Clone, Copy, Debug)]
pub struct Darts;

impl Named for Darts {
    fn name(&self) -> &str {
        "darts"
    }
    fn about(&self) -> &str {
        "the names of the original DARTS code: `cells.0._ops.2.op.1.weight`"
    }
}

impl Layout for Darts {
    fn place(&self, desc: &ModelDesc, graph: &Graph) -> io::Result<Vec<Placed>> {
        let refused = |what: String| {
            Err(invalid(format!(
                "{what}, which the networks of the original DARTS code have not; expected what its genotypes describe: one stem, \
                 or for ImageNet two of which the second reads the first, cells of two inputs, and one auxiliary tower at most"
            )))
        };
        let towers = desc.cells.iter().filter(|cell| cell.aux_tower.is_some());
        let towers = towers.count();
        let mut parts: Vec<Part> = Vec::new();
        match desc.stems.len() {
            1 => parts.push(Part::new(names::stem(0, 1), "stem")),
            2 if desc.stem_outputs == [0, 1] && desc.stems[1].input == StemInput::Stem(0) => {
                let stem = |i| Part::new(names::stem(i, 2), format!("stem{i}"));
                parts.extend([stem(0), stem(1)]);
            }
            n => return refused(format!("the network has {n} stems")),
        }
        for (c, cell) in desc.cells.iter().enumerate() {
            for s in 0..cell.stems.len() {
                parts.push(Part::new(
                    names::cell_stem(c, s),
                    format!("cells.{c}.preprocess{s}"),
                ));
            }
            let mut op = 0;
            for (n, node) in cell.nodes.iter().enumerate() {
                for (e, edge) in node.edges.iter().enumerate() {
                    let ours = names::edge_op(c, n, e, &edge.op);
                    parts.push(Part::new(ours, format!("cells.{c}._ops.{op}")));
                    op += 1;
                }
            }
            if cell.aux_tower.is_some() {
                parts.push(Part::new(names::aux_tower(c, towers), "auxiliary_head"));
            }
        }
        parts.push(Part::new(names::CLASSIFIER, ""));
        if towers > 1 {
            return refused(format!("the network has {towers} auxiliary towers"));
        }

        // A layer belongs to the part whose name is the front of its own.
        let mut layers: HashMap<&str, Vec<&GraphLayer>> = HashMap::new();
        let ours: HashMap<&str, &Part> = parts.iter().map(|p| (p.ours.as_str(), p)).collect();
        for layer in &graph.layers {
            let name = &graph.values[layer.output].name;
            let cuts = name.match_indices('.').map(|(at, _)| &name[..at]);
            match cuts.rev().find(|front| ours.contains_key(front)) {
                Some(part) => layers.entry(part).or_default().push(layer),
                None if layer.params.is_empty() => {}
                None => return refused(format!("`{name}` learns something")),
            }
        }
        let mut placed = Vec::new();
        for part in &parts {
            let layers = layers.get(part.ours.as_str());
            part.place(layers.map_or(&[], Vec::as_slice), &mut placed);
        }
        Ok(placed)
    }

    fn is_idle(&self, name: &str) -> bool {
        name.ends_with(".num_batches_tracked")
    }
}

/// A part of a network, and what it is called there.
struct Part {
    ours: String,
    theirs: String,
}

impl Part {
    fn new(ours: impl Into<String>, theirs: impl Into<String>) -> Self {
        Part {
            ours: ours.into(),
            theirs: theirs.into(),
        }
    }

    /// The names of its parameters, which follow from its layers.
    fn place(&self, layers: &[&GraphLayer], placed: &mut Vec<Placed>) {
        let halves = layers.iter().any(|l| matches!(l.layer, Layer::Crop { .. }));
        let mut convs = 0;
        for (i, layer) in layers.iter().enumerate() {
            let modules: Vec<String> = match &layer.layer {
                Layer::Linear { .. } => vec!["classifier".into()],
                Layer::Conv(_) if halves => {
                    convs += 1;
                    vec![format!("conv_{convs}")]
                }
                Layer::Norm { .. } if halves => vec!["bn".into()],
                _ => vec![format!("op.{i}"), format!("features.{i}"), i.to_string()],
            };
            for param in &layer.params {
                let kind = param.kind.name();
                let theirs = modules.iter().map(|module| match self.theirs.as_str() {
                    "" => format!("{module}.{kind}"),
                    part => format!("{part}.{module}.{kind}"),
                });
                placed.push(Placed {
                    name: param.name.clone(),
                    shape: param.shape.clone(),
                    theirs: theirs.collect(),
                });
            }
        }
    }
}
