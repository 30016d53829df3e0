//! YAML to a [`SpaceDesc`]. Every problem names its place, what was expected and the nearest known name.

use archai_spec::config::nodes::{Kind, Node, Scalar, Style, Value as Yaml, parse};
use archai_spec::desc::Shape;
use archai_spec::names::{did_you_mean, similar};
use indexmap::IndexMap;

use super::SpaceError;
use super::desc::{
    Args, Binding, Cells, Condition, Dag, DagEdges, DagOutput, Layer, LayerKind, Let, Lit, Pos,
    Recipe, RecipeChoice, RecipeOption, SpaceDesc, Stage, Value, ValueKind,
};
use super::expr::Expr;
use super::ops;

type Section = IndexMap<String, Node>;

/// Version of the language.
const VERSION: i128 = 1;

/// Most nodes and inputs of a graph.
const MAX_DAG: usize = 16;

/// Constructs of the language; all other keys of a layer are ops.
const CONSTRUCTS: [&str; 7] = [
    "one_of", "repeat", "stage", "residual", "branches", "dag", "cells",
];

fn pos(node: &Node) -> Pos {
    Pos::at(&node.origin)
}

fn at(node: &Node, message: impl Into<String>) -> SpaceError {
    SpaceError::at(&pos(node), message)
}

fn expected(node: &Node, what: &str) -> SpaceError {
    at(node, format!("expected {what}, found {}", node.found()))
}

/// ``; did you mean `a`?``, or what is known.
pub(crate) fn suggest<'a>(name: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    did_you_mean(&similar(name, known.clone())).unwrap_or_else(|| {
        let known: Vec<&str> = known.into_iter().collect();
        match known.is_empty() {
            true => "none is known".to_owned(),
            false => format!("known are {}", known.join(", ")),
        }
    })
}

fn section<'a>(node: &'a Node, what: &str) -> Result<&'a Section, SpaceError> {
    node.entries()
        .ok_or_else(|| expected(node, &format!("{what}, a section")))
}

fn list<'a>(node: &'a Node, what: &str) -> Result<&'a [Node], SpaceError> {
    match &node.value {
        Yaml::List(items) => Ok(items),
        _ => Err(expected(node, &format!("{what}, a list"))),
    }
}

fn known_keys(section: &Section, of: &str, known: &[&str]) -> Result<(), SpaceError> {
    match section
        .iter()
        .find(|(key, _)| !known.contains(&key.as_str()))
    {
        None => Ok(()),
        Some((key, node)) => Err(at(
            node,
            format!(
                "unknown key `{key}` of {of}; {}",
                suggest(key, known.iter().copied())
            ),
        )),
    }
}

fn needed<'a>(node: &Node, section: &'a Section, key: &str) -> Result<&'a Node, SpaceError> {
    section
        .get(key)
        .ok_or_else(|| at(node, format!("the key `{key}` is missing here")))
}

fn text(node: &Node, what: &str) -> Result<String, SpaceError> {
    match &node.value {
        Yaml::Scalar(scalar) if !matches!(scalar.kind(), Kind::Null) => Ok(scalar.text.clone()),
        _ => Err(expected(node, what)),
    }
}

fn whole(node: &Node, what: &str, lo: usize, hi: usize) -> Result<usize, SpaceError> {
    let wanted = format!("{what}, a whole number from {lo} to {hi}");
    match &node.value {
        Yaml::Scalar(scalar) => match scalar.kind() {
            Kind::Int(n) => (usize::try_from(n).ok())
                .filter(|n| (lo..=hi).contains(n))
                .ok_or_else(|| expected(node, &wanted)),
            _ => Err(expected(node, &wanted)),
        },
        _ => Err(expected(node, &wanted)),
    }
}

/// Names of spaces, stages and values.
pub(crate) fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic())
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn name(node: &Node, what: &str) -> Result<String, SpaceError> {
    let text = text(node, what)?;
    match is_name(&text) {
        true => Ok(text),
        false => Err(at(
            node,
            format!(
                "`{text}` is no {what}: it has letters, digits and `_`, and begins with a letter"
            ),
        )),
    }
}

fn lit(node: &Node) -> Result<Lit, SpaceError> {
    Ok(match &node.value {
        Yaml::Scalar(scalar) => match scalar.kind() {
            Kind::Bool(value) => Lit::Bool(value),
            Kind::Int(value) => Lit::Int(
                i64::try_from(value).map_err(|_| at(node, format!("{value} is too large")))?,
            ),
            Kind::Float(value) if value.is_finite() => Lit::Float(value),
            Kind::Float(_) => return Err(expected(node, "a finite number")),
            Kind::Null => return Err(expected(node, "a value")),
            Kind::Text => Lit::Text(scalar.text.clone()),
        },
        Yaml::List(items) => Lit::List(items.iter().map(lit).collect::<Result<_, _>>()?),
        Yaml::Section(_) => return Err(expected(node, "a fixed value")),
    })
}

fn is_plain_name(text: &str) -> Option<&str> {
    let name = text.strip_prefix('$')?;
    let dotted = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    (!name.is_empty() && name.chars().all(dotted)).then_some(name)
}

fn scalar_value(node: &Node, scalar: &Scalar) -> Result<ValueKind, SpaceError> {
    let text = scalar.text.trim();
    if let Some(source) = text.strip_prefix('=') {
        return Expr::parse(source.trim())
            .map(ValueKind::Expr)
            .map_err(|e| at(node, e));
    }
    if text.starts_with('$') {
        return match is_plain_name(text) {
            Some(name) => Ok(ValueKind::Name(name.to_owned())),
            None => Err(at(
                node,
                format!("`{text}` is no name; what is computed begins with `=`: \"= {text}\""),
            )),
        };
    }
    Ok(ValueKind::Lit(lit(node)?))
}

fn value(node: &Node) -> Result<Value, SpaceError> {
    let kind = match &node.value {
        Yaml::Scalar(scalar) => scalar_value(node, scalar)?,
        Yaml::List(_) => ValueKind::Lit(lit(node)?),
        Yaml::Section(section) => match section.first() {
            Some((key, options)) if section.len() == 1 && key == "one_of" => {
                ValueKind::OneOf(value_options(options)?)
            }
            Some((key, subset)) if section.len() == 1 && key == "subset" => {
                let inner = self::section(subset, "`{of, size}`")?;
                known_keys(inner, "`subset`", &["of", "size"])?;
                let of = list(needed(subset, inner, "of")?, "the values to choose from")?;
                let of: Vec<Lit> = of.iter().map(lit).collect::<Result<_, _>>()?;
                let size = whole(needed(subset, inner, "size")?, "how many", 1, of.len())?;
                ValueKind::Subset(of, size)
            }
            _ => {
                return Err(expected(
                    node,
                    "a value, `one_of: [value, …]`, `subset: {of, size}` or an expression \"= …\"",
                ));
            }
        },
    };
    Ok(Value {
        pos: pos(node),
        kind,
    })
}

fn value_options(node: &Node) -> Result<Vec<(Option<String>, Value)>, SpaceError> {
    let options: Vec<(Option<String>, Value)> = match &node.value {
        Yaml::List(items) => items
            .iter()
            .map(|item| Ok((None, value(item)?)))
            .collect::<Result<_, SpaceError>>()?,
        Yaml::Section(section) => section
            .iter()
            .map(|(label, item)| Ok((Some(label.clone()), value(item)?)))
            .collect::<Result<_, SpaceError>>()?,
        Yaml::Scalar(_) => return Err(expected(node, "options, a list or a section")),
    };
    some_options(node, options.len())?;
    Ok(options)
}

fn some_options(node: &Node, n: usize) -> Result<(), SpaceError> {
    match n {
        0 => Err(at(node, "a choice without options; give at least one")),
        n if n > usize::from(u16::MAX) => Err(at(node, "a choice of more than 65,535 options")),
        _ => Ok(()),
    }
}

fn args(node: &Node, of: &str) -> Result<Args, SpaceError> {
    match &node.value {
        Yaml::Scalar(scalar) if scalar.style == Style::Plain && scalar.kind() == Kind::Null => {
            Ok(Vec::new())
        }
        Yaml::Section(section) => section
            .iter()
            .map(|(name, node)| Ok((name.clone(), value(node)?)))
            .collect(),
        _ => Err(expected(
            node,
            &format!("the arguments of `{of}`, a section"),
        )),
    }
}

/// Arguments in the order in which the op lists them, without those that say what holds anyway, words for norms being truth
/// values.
pub(crate) fn ordered(op: &str, mut args: Args) -> Args {
    args.retain(|(name, value)| match (name.as_str(), &value.kind) {
        ("stride", ValueKind::Lit(value)) => *value != Lit::Int(1),
        ("se", ValueKind::Lit(value)) => *value != Lit::Bool(false),
        _ => true,
    });
    for (name, value) in &mut args {
        let norm = match (&value.kind, name == "norm") {
            (ValueKind::Lit(Lit::Text(text)), true) => text,
            _ => continue,
        };
        match norm.as_str() {
            "batch" => value.kind = ValueKind::Lit(Lit::Bool(true)),
            "none" => value.kind = ValueKind::Lit(Lit::Bool(false)),
            _ => {}
        }
    }
    let order = ops::find(op).map_or(&[][..], |op| op.args);
    let place = |name: &str| {
        let found = order.iter().position(|(known, _)| *known == name);
        found.unwrap_or(order.len())
    };
    args.sort_by_key(|(name, _)| place(name));
    args
}

/// One layer or a list of them.
fn layers(node: &Node) -> Result<Vec<Layer>, SpaceError> {
    match &node.value {
        Yaml::List(items) => SpaceError::all(items.iter().map(layer)),
        _ => Ok(vec![layer(node)?]),
    }
}

fn layer(node: &Node) -> Result<Layer, SpaceError> {
    let kind = match &node.value {
        Yaml::Scalar(scalar) => {
            let text = text(node, "a layer")?;
            match is_plain_name(&text) {
                Some(name) => LayerKind::Name(name.to_owned()),
                None if matches!(scalar.kind(), Kind::Text) => LayerKind::Op(text, Vec::new()),
                None => return Err(expected(node, "a layer")),
            }
        }
        Yaml::Section(section) => match section.first() {
            Some((key, inner)) if section.len() == 1 => {
                return Ok(Layer {
                    pos: pos(inner),
                    kind: construct(key, inner)?,
                });
            }
            _ => {
                return Err(expected(
                    node,
                    "one layer, `op: {argument: value}`; several stand in a list, each after a `-`",
                ));
            }
        },
        Yaml::List(_) => return Err(expected(node, "a layer")),
    };
    Ok(Layer {
        pos: pos(node),
        kind,
    })
}

fn construct(key: &str, node: &Node) -> Result<LayerKind, SpaceError> {
    Ok(match key {
        "one_of" => {
            let options = self::section(node, "labelled layers")?;
            some_options(node, options.len())?;
            let options =
                (options.iter()).map(|(label, inner)| Ok((label.clone(), layers(inner)?)));
            LayerKind::OneOf(SpaceError::all(options)?)
        }
        "repeat" => {
            let inner = section(node, "`{times, body}`")?;
            known_keys(inner, "`repeat`", &["times", "body"])?;
            LayerKind::Repeat {
                times: value(needed(node, inner, "times")?)?,
                body: layers(needed(node, inner, "body")?)?,
            }
        }
        "stage" => {
            let inner = section(node, "`{id, let, times, first, body}`")?;
            known_keys(inner, "`stage`", &["id", "let", "times", "first", "body"])?;
            LayerKind::Stage(Stage {
                id: name(needed(node, inner, "id")?, "name of a stage")?,
                lets: inner.get("let").map_or(Ok(Vec::new()), lets)?,
                times: match inner.get("times") {
                    Some(times) => value(times)?,
                    None => Value::lit(1),
                },
                first: inner
                    .get("first")
                    .map_or(Ok(Vec::new()), |n| args(n, "first"))?,
                body: layers(needed(node, inner, "body")?)?,
            })
        }
        "residual" => LayerKind::Residual(layers(node)?),
        "branches" => {
            let inner = section(node, "`{join, of}`")?;
            known_keys(inner, "`branches`", &["join", "of"])?;
            let join = needed(node, inner, "join")?;
            let add = match text(join, "`add` or `concat`")?.as_str() {
                "add" => true,
                "concat" => false,
                _ => return Err(expected(join, "`add` or `concat`")),
            };
            let of = needed(node, inner, "of")?;
            let of: Vec<Vec<Layer>> =
                SpaceError::all(list(of, "the branches")?.iter().map(layers))?;
            if of.is_empty() {
                return Err(at(node, "`branches` without branches; give at least one"));
            }
            LayerKind::Branches { add, of }
        }
        "dag" => LayerKind::Dag(dag(node)?),
        "cells" => {
            let inner = section(node, "`{channels, sequence, kinds}`")?;
            known_keys(inner, "`cells`", &["channels", "sequence", "kinds"])?;
            let kinds = section(needed(node, inner, "kinds")?, "a graph for each kind")?;
            let kinds: Vec<(String, Dag)> = SpaceError::all(kinds.iter().map(|(kind, node)| {
                let inner = section(node, "`dag: {…}`")?;
                known_keys(inner, "a kind of cells", &["dag"])?;
                let dag = dag(needed(node, inner, "dag")?)?;
                match dag.inputs {
                    2 => Ok((kind.clone(), dag)),
                    _ => Err(at(node, "the graph of a cell has `inputs: 2`")),
                }
            }))?;
            let sequence = needed(node, inner, "sequence")?;
            let sequence: Vec<String> =
                SpaceError::all(list(sequence, "the kind of each cell")?.iter().map(|node| {
                    let kind = text(node, "a kind")?;
                    let known = kinds.iter().map(|(known, _)| known.as_str());
                    match known.clone().any(|known| known == kind) {
                        true => Ok(kind),
                        false => {
                            let hint = suggest(&kind, known);
                            Err(at(node, format!("there is no kind `{kind}`; {hint}")))
                        }
                    }
                }))?;
            if sequence.is_empty() {
                return Err(at(node, "`sequence` is empty; give at least one kind"));
            }
            LayerKind::Cells(Cells {
                channels: value(needed(node, inner, "channels")?)?,
                sequence,
                kinds,
            })
        }
        op => LayerKind::Op(op.to_owned(), ordered(op, args(node, op)?)),
    })
}

fn dag(node: &Node) -> Result<Dag, SpaceError> {
    let inner = section(node, "`{inputs, nodes, edges, op, on, output}`")?;
    known_keys(
        inner,
        "`dag`",
        &["inputs", "nodes", "edges", "op", "on", "output"],
    )?;
    let inputs = match inner.get("inputs") {
        Some(node) => whole(node, "the inputs", 1, 2)?,
        None => 1,
    };
    let nodes = whole(needed(node, inner, "nodes")?, "the nodes", 1, MAX_DAG)?;
    let edges_node = needed(node, inner, "edges")?;
    let edges = match &edges_node.value {
        Yaml::Section(section) => {
            known_keys(section, "`edges`", &["pick"])?;
            let k = needed(edges_node, section, "pick")?;
            DagEdges::Pick(whole(k, "how many edges a node has", 1, inputs)?)
        }
        _ => match text(edges_node, "`every` or `{pick: k}`")?.as_str() {
            "every" => DagEdges::Every,
            _ => return Err(expected(edges_node, "`every` or `{pick: k}`")),
        },
    };
    let word = |key: &str, default: &str, known: &[&str]| -> Result<String, SpaceError> {
        let Some(node) = inner.get(key) else {
            return Ok(default.to_owned());
        };
        let found = text(node, "a word")?;
        match known.contains(&found.as_str()) {
            true => Ok(found),
            false => Err(expected(node, &format!("one of {}", known.join(", ")))),
        }
    };
    let output = match word("output", "last", &["last", "concat", "unused"])?.as_str() {
        "last" => DagOutput::Last,
        "concat" => DagOutput::Concat,
        _ => DagOutput::Unused,
    };
    Ok(Dag {
        inputs,
        nodes,
        edges,
        ops: dag_ops(needed(node, inner, "op")?)?,
        on_nodes: word("on", "edge", &["edge", "node"])? == "node",
        output,
    })
}

/// What an edge computes: `one_of` a list of layers or labelled layers, or one layer.
fn dag_ops(node: &Node) -> Result<Vec<(String, Vec<Layer>)>, SpaceError> {
    let choice = node.entries().filter(|section| section.len() == 1);
    let Some(options) = choice.and_then(|section| section.get("one_of")) else {
        return Ok(vec![("op".to_owned(), layers(node)?)]);
    };
    let Yaml::List(items) = &options.value else {
        let LayerKind::OneOf(options) = construct("one_of", options)? else {
            return Err(expected(node, "a choice of layers"));
        };
        return Ok(options);
    };
    some_options(options, items.len())?;
    SpaceError::all(items.iter().map(|item| {
        let layers = layers(item)?;
        let label = match layers.first().map(|layer| &layer.kind) {
            Some(LayerKind::Op(name, _)) => name.clone(),
            _ => "op".to_owned(),
        };
        Ok((label, layers))
    }))
}

/// Whether what a `let` binds is layers, not a value.
fn is_layers(node: &Node) -> bool {
    match &node.value {
        Yaml::List(items) => items.iter().any(is_layers),
        Yaml::Scalar(_) => false,
        Yaml::Section(section) => match section.first() {
            Some((key, inner)) if key == "one_of" => match &inner.value {
                Yaml::Section(options) => options.values().any(|option| match &option.value {
                    Yaml::Scalar(scalar) => ops::find(&scalar.text).is_some(),
                    _ => is_layers(option),
                }),
                _ => false,
            },
            Some((key, _)) => key != "subset",
            None => false,
        },
    }
}

fn lets(node: &Node) -> Result<Vec<Let>, SpaceError> {
    let section = section(node, "names and what they stand for")?;
    SpaceError::all(section.iter().map(|(key, node)| {
        if !is_name(key) || key == "classes" {
            return Err(at(
                node,
                format!(
                    "`{key}` cannot be a name: names have letters, digits and `_`, begin with a letter and are not `classes`"
                ),
            ));
        }
        Ok(Let {
            name: key.clone(),
            pos: pos(node),
            binding: match is_layers(node) {
                true => Binding::Layers(layers(node)?),
                false => Binding::Value(value(node)?),
            },
        })
    }))
}

fn recipe(node: &Node) -> Result<Recipe, SpaceError> {
    let single = node.entries().and_then(|section| section.first());
    let choice = match single {
        Some((key, inner)) if key == "int" || key == "float" => {
            let section = section(node, "a range")?;
            let known: &[&str] = if key == "int" {
                &["int", "step", "scale"]
            } else {
                &["float", "scale"]
            };
            known_keys(section, "a range", known)?;
            let ends = list(inner, "the smallest and the largest value")?;
            let [lo, hi] = ends else {
                return Err(expected(inner, "`[smallest, largest]`"));
            };
            range(key == "int", inner, lo, hi, section)?
        }
        Some((key, inner)) if key == "one_of" => match &inner.value {
            Yaml::Section(options) => {
                some_options(inner, options.len())?;
                let options = options.iter().map(|(label, node)| {
                    let option = match &node.value {
                        Yaml::Section(below) => RecipeOption::Section(SpaceError::all(
                            (below.iter()).map(|(key, node)| Ok((key.clone(), recipe(node)?))),
                        )?),
                        _ => RecipeOption::Lit(lit(node)?),
                    };
                    Ok((label.clone(), option))
                });
                RecipeChoice::OneOf(SpaceError::all(options)?)
            }
            _ => RecipeChoice::Value(value(node)?),
        },
        _ => RecipeChoice::Value(value(node)?),
    };
    Ok(Recipe {
        pos: pos(node),
        choice,
    })
}

fn range(
    int: bool,
    node: &Node,
    lo: &Node,
    hi: &Node,
    section: &Section,
) -> Result<RecipeChoice, SpaceError> {
    let log = match section.get("scale") {
        None => false,
        Some(scale) => match text(scale, "`linear` or `log`")?.as_str() {
            "linear" => false,
            "log" => true,
            _ => return Err(expected(scale, "`linear` or `log`")),
        },
    };
    let order = || {
        at(
            node,
            "the smallest value comes first, and is smaller than the largest",
        )
    };
    if int {
        if log {
            return Err(at(
                node,
                "whole numbers have no `scale: log`; list them in `one_of`",
            ));
        }
        let step = match section.get("step") {
            Some(step) => whole(step, "the step", 1, 1_000_000)? as i64,
            None => 1,
        };
        return match (lit(lo)?, lit(hi)?) {
            (Lit::Int(lo), Lit::Int(hi)) if lo < hi => {
                match hi.checked_sub(lo).map(|span| span / step) {
                    Some(n) if n < i64::from(u16::MAX) => Ok(RecipeChoice::Int { lo, hi, step }),
                    _ => Err(at(
                        node,
                        "a range of more than 65,535 values; give a larger `step`",
                    )),
                }
            }
            (Lit::Int(_), Lit::Int(_)) => Err(order()),
            _ => Err(expected(node, "two whole numbers")),
        };
    }
    let number = |node: &Node| match lit(node)? {
        Lit::Int(value) => Ok(value as f64),
        Lit::Float(value) => Ok(value),
        _ => Err(expected(node, "a number")),
    };
    let (lo, hi) = (number(lo)?, number(hi)?);
    if lo >= hi {
        return Err(order());
    }
    if log && lo <= 0.0 {
        return Err(at(node, "a range with `scale: log` begins above 0"));
    }
    Ok(RecipeChoice::Float { lo, hi, log })
}

/// Reads a space. `file` is its name in messages.
///
/// # Errors
/// Everything that is wrong, each problem with its place.
pub(crate) fn read(file: &str, source: &str) -> Result<SpaceDesc, SpaceError> {
    let root = parse(file, source).map_err(|e| SpaceError::new(e.to_string()))?;
    let top = section(&root, "a space")?;
    known_keys(
        top,
        "a space",
        &[
            "space", "version", "input", "classes", "let", "network", "where", "recipe",
        ],
    )?;
    let version = needed(&root, top, "version")?;
    match &version.value {
        Yaml::Scalar(scalar) if scalar.kind() == Kind::Int(VERSION) => {}
        _ => {
            return Err(at(
                version,
                format!(
                    "expected `version: {VERSION}`, the version of the language that this program reads, found {}",
                    version.found()
                ),
            ));
        }
    }
    let input_node = needed(&root, top, "input")?;
    let input = section(input_node, "`{channels, size}` or `{features}`")?;
    known_keys(input, "`input`", &["channels", "size", "features"])?;
    let side = 1 << 16;
    let input = match input.get("features") {
        Some(features) if input.len() == 1 => {
            Shape::new(whole(features, "the features", 1, 1 << 20)?, 1, 1)
        }
        Some(_) => {
            return Err(at(
                input_node,
                "`features` stands alone: it is for tables, `channels` and `size` for images",
            ));
        }
        None => {
            let channels = whole(
                needed(input_node, input, "channels")?,
                "the channels",
                1,
                1 << 20,
            )?;
            let size = needed(input_node, input, "size")?;
            match list(size, "height and width")? {
                [h, w] => Shape::new(
                    channels,
                    whole(h, "the height", 1, side)?,
                    whole(w, "the width", 1, side)?,
                ),
                _ => return Err(expected(size, "`[height, width]`")),
            }
        }
    };
    let conditions = match top.get("where") {
        None => Vec::new(),
        Some(node) => SpaceError::all(list(node, "conditions")?.iter().map(|node| {
            let text = text(node, "a condition")?;
            Ok(Condition {
                pos: pos(node),
                expr: Expr::parse(&text).map_err(|e| at(node, e))?,
                text,
            })
        }))?,
    };
    let recipe = match top.get("recipe") {
        None => Vec::new(),
        Some(node) => SpaceError::all(
            (section(node, "settings by their keys")?.iter())
                .map(|(key, node)| Ok((key.clone(), recipe(node)?))),
        )?,
    };
    let network_node = needed(&root, top, "network")?;
    let network = layers(network_node)?;
    if network.is_empty() {
        return Err(at(network_node, "the network has no layers"));
    }
    Ok(SpaceDesc {
        name: name(needed(&root, top, "space")?, "name of a space")?,
        input,
        classes: whole(needed(&root, top, "classes")?, "the classes", 1, 1 << 20)?,
        lets: top.get("let").map_or(Ok(Vec::new()), lets)?,
        network,
        conditions,
        recipe,
    })
}

/// Whether a word is part of the language.
pub(crate) fn constructs() -> &'static [&'static str] {
    &CONSTRUCTS
}
