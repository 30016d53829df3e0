//! Weights that a training starts from: those of the same network, whose stems, classifier and towers may be others.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;

use archai_spec::desc::{ModelDesc, OpCatalog};
use archai_spec::graph::{Graph, names};

use super::{Layout, Own, Weights, listed};
use crate::{NamedTensor, invalid};

/// The text of a model file's header that holds its description.
const DESC_TEXT: &str = "model_desc";

/// What of a file of weights a network starts from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Start {
    /// Tensors under the network's names, to be put in the place of drawn ones.
    pub taken: Vec<NamedTensor>,
    /// Sentences on what starts anew, and on what of the file was left, each tensor by name.
    pub notes: Vec<String>,
}

/// Finds for each parameter of a network the tensor of its name. A stem, the classifier and auxiliary towers are taken as a
/// whole or, where one of their tensors differs in its shape or is missing, start anew as a whole.
///
/// # Errors
/// An op that is not made of layers. Another network: the file has a description with other layers between stem and
/// classifier, or tensors there are missing, unknown or of other shapes; all are named.
pub fn start(weights: &Weights, desc: &ModelDesc, catalog: &OpCatalog) -> io::Result<Start> {
    let unsupported = |e| io::Error::new(io::ErrorKind::Unsupported, e);
    let graph = desc.lower(catalog).map_err(unsupported)?;
    if let Some(text) = weights.texts.get(DESC_TEXT) {
        let theirs = ModelDesc::from_yaml(text, "the description in the file", catalog);
        let theirs = theirs
            .and_then(|desc| desc.lower(catalog))
            .map_err(unsupported)?;
        check_same_layers(&theirs.inference(), &graph.inference())?;
    }
    let mut given: HashMap<&str, &NamedTensor> = HashMap::new();
    for tensor in &weights.tensors {
        if !Own.is_idle(&tensor.name) {
            given.insert(&tensor.name, tensor);
        }
    }
    let params = || graph.layers.iter().flat_map(|layer| &layer.params);
    let fits = |name: &str, shape: &[usize]| {
        let found = given.get(name);
        found.is_some_and(|t| t.shape == shape && !weights.whole.contains(name))
    };
    // What is not as the network has it, part by part.
    let anew: BTreeSet<&str> = params()
        .filter(|param| !fits(&param.name, &param.shape))
        .filter_map(|param| replaceable(&param.name))
        .collect();
    let (mut taken, mut fresh, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    let mut known: HashSet<&str> = HashSet::new();
    for param in params() {
        let (name, shape) = (param.name.as_str(), &param.shape);
        known.insert(name);
        let what = match given.get(name) {
            None => format!("`{name}` (shape {shape:?}) is missing"),
            Some(t) if t.shape != *shape => {
                format!(
                    "`{name}` has shape {:?} in the file and {shape:?} here",
                    t.shape
                )
            }
            Some(_) if weights.whole.contains(name) => format!("`{name}` holds whole numbers"),
            Some(t) => match replaceable(name) {
                Some(part) if anew.contains(part) => format!("`{name}`"),
                _ => {
                    taken.push(NamedTensor::clone(t));
                    continue;
                }
            },
        };
        match replaceable(name) {
            Some(_) => fresh.push(what),
            None => wrong.push(what),
        }
    }
    let mut left: Vec<&str> = given
        .keys()
        .copied()
        .filter(|name| !known.contains(name))
        .collect();
    left.sort_unstable();
    wrong.extend(
        (left.iter().filter(|name| replaceable(name).is_none()))
            .map(|name| format!("`{name}` has no place in the network")),
    );
    if !wrong.is_empty() || taken.is_empty() {
        let what = match wrong.is_empty() {
            true => "none of its tensors has a place in the network".to_string(),
            false => listed(wrong),
        };
        return Err(invalid(format!(
            "a training cannot start from these weights, because they are of another network: {what}; expected weights of the same \
             description, of which only stems, classifier and auxiliary tower may differ"
        )));
    }
    let mut notes = Vec::new();
    if !fresh.is_empty() {
        let parts: Vec<&str> = anew.into_iter().collect();
        notes.push(format!(
            "{} start(s) anew, because the file has not the tensors of the network: {}",
            parts.join(", "),
            fresh.join("; ")
        ));
    }
    if !left.is_empty() {
        let names: Vec<String> = left.iter().map(|name| format!("`{name}`")).collect();
        notes.push(format!("left in the file of weights: {}", names.join(", ")));
    }
    Ok(Start { taken, notes })
}

/// The part of a network to which a name belongs, if it is one that a training may replace: a stem, the classifier, an
/// auxiliary tower.
fn replaceable(name: &str) -> Option<&str> {
    let mut dots = name.match_indices('.').map(|(at, _)| at);
    let first = &name[..dots.next().unwrap_or(name.len())];
    let second = &name[..dots.next().unwrap_or(name.len())];
    let is_stem = first
        .strip_prefix("stem")
        .is_some_and(|n| n.chars().all(|c| c.is_ascii_digit()));
    if first == names::CLASSIFIER || is_stem || first == "aux" {
        return Some(first);
    }
    second.ends_with(".aux").then_some(second)
}

/// Checks that between stems and classifier two networks have the same layers, on whatever images.
fn check_same_layers(theirs: &Graph, ours: &Graph) -> io::Result<()> {
    let mut pairs = [theirs, ours].map(|graph| {
        let name = |value: usize| -> &str {
            let name = graph.values[value].name.as_str();
            // A stem is one whatever is in it.
            match replaceable(name) {
                Some(_) => "stem",
                None => name,
            }
        };
        let layers = graph
            .layers
            .iter()
            .filter(move |layer| name(layer.output) != "stem");
        layers.map(move |layer| {
            let read: Vec<&str> = layer.inputs.iter().map(|&i| name(i)).collect();
            (name(layer.output), &layer.layer, read)
        })
    });
    let [theirs, ours] = &mut pairs;
    loop {
        let (a, b) = match (theirs.next(), ours.next()) {
            (None, None) => return Ok(()),
            (a, b) if a == b => continue,
            pair => pair,
        };
        let say = |layer: Option<(&str, &archai_spec::ops::Layer, Vec<&str>)>| match layer {
            Some((name, layer, read)) => format!("`{name}` = {layer}({})", read.join(", ")),
            None => "nothing more".to_string(),
        };
        return Err(invalid(format!(
            "a training cannot start from these weights, because the file's description is of another network: it has {} where \
             this one has {}",
            say(a),
            say(b)
        )));
    }
}
