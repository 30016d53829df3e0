//! A graph cut into modules: which layers stand in one Python class, and which values it reads and gives.

use std::collections::{BTreeMap, HashMap, HashSet};

use archai_spec::graph::Graph;

/// Layers that become one module, and modules inside it.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Its place in the network: `cell0.node1.edge0.sep_conv_3x3`; empty for the network itself.
    pub path: String,
    /// What it executes, in order.
    pub items: Vec<Item>,
    /// The graph's value that it gives.
    pub output: usize,
    /// 0 if there is no module inside, else one more than the highest of them.
    pub height: usize,
}

/// A layer or a module in a scope.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its place in the scope: `node1.edge0.sep_conv_3x3`.
    pub path: String,
    /// What it is.
    pub what: What,
    /// The graph's value that it gives.
    pub output: usize,
}

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The graph's layer of this index.
    Layer(usize),
    /// The scope of this index.
    Call(usize),
}

/// What is known of the layers below a name.
#[derive(Default)]
struct Below {
    layers: Vec<usize>,
    has_params: bool,
    /// Layers with parameters that stand directly below it.
    direct_params: bool,
}

/// The part of a name before its last dot.
fn parent(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(module, _)| module)
}

/// All names that a module lies in, outermost first, itself last.
fn ancestors(module: &str) -> impl Iterator<Item = &str> {
    let dots = module.match_indices('.').map(|(at, _)| at);
    let ends = dots.chain((!module.is_empty()).then_some(module.len()));
    ends.map(|end| &module[..end])
}

/// `path` as it is called inside `scope`.
fn relative<'a>(path: &'a str, scope: &str) -> &'a str {
    match scope {
        "" => path,
        _ => path
            .strip_prefix(scope)
            .map_or(path, |p| p.trim_start_matches('.')),
    }
}

/// Cuts a graph into scopes, the first of which is the network. A name becomes a scope of its own if it has parameters
/// directly below it and more than one layer, or stands at the top and has some anywhere; if its layers follow each other; and if they give one
/// value. Layers of other names stand in the scope around them. An auxiliary tower is called by the network wherever it
/// stands, because a cell gives but one value.
pub fn cut(graph: &Graph) -> Vec<Scope> {
    let name = |layer: usize| graph.values[graph.layers[layer].output].name.as_str();
    let in_tower = |layer: usize| {
        let layer = &graph.layers[layer];
        layer.only_training && !layer.layer.is_only_training()
    };
    let mut below: BTreeMap<&str, Below> = BTreeMap::new();
    for (i, layer) in graph.layers.iter().enumerate() {
        let module = parent(name(i));
        for ancestor in ancestors(module) {
            let entry = below.entry(ancestor).or_default();
            entry.layers.push(i);
            entry.has_params |= !layer.params.is_empty();
            entry.direct_params |= ancestor == module && !layer.params.is_empty();
        }
    }
    // What reads each value.
    let mut readers: HashMap<usize, Vec<usize>> = HashMap::new();
    for (i, layer) in graph.layers.iter().enumerate() {
        for &value in &layer.inputs {
            readers.entry(value).or_default().push(i);
        }
    }
    let results: HashSet<usize> = graph.aux.iter().copied().chain([graph.logits]).collect();
    // The value that the layers below a name give, if the name can be a scope.
    let mut given: HashMap<&str, usize> = HashMap::new();
    for (&path, entry) in &below {
        let is_tower = entry.layers.iter().all(|&i| in_tower(i));
        let own: Vec<usize> = (entry.layers.iter().copied())
            .filter(|&i| is_tower || !in_tower(i))
            .collect();
        let n_modules = own
            .iter()
            .filter(|&&i| !graph.layers[i].params.is_empty())
            .count();
        let worth = match path.contains('.') {
            false => entry.has_params && (n_modules > 1 || !entry.direct_params),
            true => entry.direct_params && own.len() > 1,
        };
        let (Some(&first), Some(&last)) = (own.first(), own.last()) else {
            continue;
        };
        let together = (first..=last).all(|i| in_tower(i) != is_tower || own.contains(&i));
        let leaves = |&&i: &&usize| {
            let value = graph.layers[i].output;
            let outside = |reader: &usize| !own.contains(reader);
            results.contains(&value) || readers.get(&value).is_some_and(|r| r.iter().any(outside))
        };
        let outputs: Vec<usize> = own.iter().filter(leaves).copied().collect();
        let output = match outputs.as_slice() {
            [] => last,
            [only] => *only,
            _ => continue,
        };
        if worth && together {
            given.insert(path, graph.layers[output].output);
        }
    }
    let mut scopes = vec![Scope {
        path: String::new(),
        items: Vec::new(),
        output: graph.logits,
        height: 0,
    }];
    let mut indices: HashMap<&str, usize> = HashMap::new();
    for (i, layer) in graph.layers.iter().enumerate() {
        let own_tower = in_tower(i);
        let mut scope = 0;
        for path in ancestors(parent(name(i))) {
            let Some(&output) = given.get(path) else {
                continue;
            };
            if own_tower && !below[path].layers.iter().all(|&i| in_tower(i)) {
                continue;
            }
            scope = *indices.entry(path).or_insert_with(|| {
                let new = scopes.len();
                let outer = scopes[scope].path.clone();
                scopes[scope].items.push(Item {
                    path: relative(path, &outer).to_string(),
                    what: What::Call(new),
                    output,
                });
                scopes.push(Scope {
                    path: path.to_string(),
                    items: Vec::new(),
                    output,
                    height: 0,
                });
                new
            });
        }
        let outer = scopes[scope].path.clone();
        scopes[scope].items.push(Item {
            path: relative(name(i), &outer).to_string(),
            what: What::Layer(i),
            output: layer.output,
        });
    }
    // A scope comes before those inside it.
    for i in (0..scopes.len()).rev() {
        let inside = scopes[i].items.iter().filter_map(|item| match item.what {
            What::Call(child) => Some(scopes[child].height + 1),
            What::Layer(_) => None,
        });
        scopes[i].height = inside.max().unwrap_or(0);
    }
    scopes
}
