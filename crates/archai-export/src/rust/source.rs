//! The source of a network as Rust: one line per layer or block, functions where blocks and cells repeat, loops where cells
//! follow each other. Everything is found in the graph: blocks are layers whose names begin alike, and blocks are the same
//! when their layers and connections are, whatever they are called.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::io;

use archai_spec::graph::{Graph, GraphLayer};
use archai_spec::ops::{Activation, Layer, PoolShape};

use crate::invalid;

/// The functions that build the network, the last of which is `network`.
///
/// # Errors
/// A layer that has no meaning in a trained network, by name.
pub fn source(graph: &Graph) -> io::Result<String> {
    let layers = needed(graph);
    let mut writer = Writer {
        graph,
        users: users(graph, &layers),
        functions: Vec::new(),
        by_shape: HashMap::new(),
    };
    let top = writer.body(&layers, 0)?;
    Ok(writer.text(&top))
}

/// The layers on which the logits depend, in order.
fn needed(graph: &Graph) -> Vec<&GraphLayer> {
    let mut wanted = HashSet::from([graph.logits]);
    let mut layers: Vec<&GraphLayer> = Vec::new();
    for layer in graph.layers.iter().rev() {
        if wanted.contains(&layer.output) {
            wanted.extend(&layer.inputs);
            layers.push(layer);
        }
    }
    layers.reverse();
    layers
}

/// For each value the values that are made of it.
fn users(graph: &Graph, layers: &[&GraphLayer]) -> HashMap<usize, Vec<usize>> {
    let mut users: HashMap<usize, Vec<usize>> = HashMap::new();
    for layer in layers {
        for &input in &layer.inputs {
            users.entry(input).or_default().push(layer.output);
        }
    }
    // The program uses the logits.
    users.entry(graph.logits).or_default().push(usize::MAX);
    users
}

/// Where a line's input comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Source {
    /// An argument of the function.
    Argument(usize),
    /// An earlier line.
    Line(usize),
}

/// What a line does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum What {
    Conv {
        square: [bool; 2],
    },
    Plain {
        method: &'static str,
        has_name: bool,
    },
    Join {
        method: &'static str,
    },
    /// Of two values.
    Pair {
        method: &'static str,
    },
    Call {
        function: usize,
    },
}

/// A line of a function: a layer, or a call of another function.
#[derive(Clone, Debug)]
struct Line {
    what: What,
    /// Its name below that of the function's block.
    name: String,
    inputs: Vec<Source>,
    /// Its numbers. In a function they are looked at over all of its uses.
    numbers: Vec<usize>,
}

/// The lines of a block, in one of its uses.
#[derive(Clone, Debug)]
struct Body {
    lines: Vec<Line>,
    /// The graph's values that are its arguments.
    arguments: Vec<usize>,
    output: Source,
}

/// A block that is used once or more.
#[derive(Debug)]
struct Function {
    /// What the block is called in each use.
    names: Vec<String>,
    lines: Vec<Line>,
    n_arguments: usize,
    output: Source,
    /// All numbers of its lines, in order, of each use.
    uses: Vec<Vec<usize>>,
}

/// A number in a line of a function.
enum Number {
    /// The same in all uses.
    Fixed(usize),
    /// One of the function's parameters.
    Parameter(usize),
}

struct Writer<'a> {
    graph: &'a Graph,
    users: HashMap<usize, Vec<usize>>,
    functions: Vec<Function>,
    by_shape: HashMap<String, usize>,
}

impl Writer<'_> {
    /// The lines of consecutive layers, whose names have the same first `depth` parts.
    fn body(&mut self, layers: &[&GraphLayer], depth: usize) -> io::Result<Body> {
        let mut body = Body {
            lines: Vec::new(),
            arguments: Vec::new(),
            output: Source::Argument(0),
        };
        let mut places = HashMap::new();
        self.append(layers, depth, depth, &mut body, &mut places)?;
        let inside: HashSet<usize> = layers.iter().map(|l| l.output).collect();
        let is_used = |value: &&usize| self.users[*value].iter().any(|user| !inside.contains(user));
        let outputs: Vec<&usize> = inside.iter().filter(is_used).collect();
        if let [output] = outputs[..]
            && let Some(place) = places.get(output)
        {
            body.output = *place;
        }
        Ok(body)
    }

    /// Appends the lines of layers to a body whose names begin at part `root`.
    fn append(
        &mut self,
        layers: &[&GraphLayer],
        root: usize,
        depth: usize,
        body: &mut Body,
        places: &mut HashMap<usize, Source>,
    ) -> io::Result<()> {
        let mut rest = layers;
        while let Some(first) = rest.first() {
            let part = part(self.name(first), depth);
            let n = rest
                .iter()
                .take_while(|l| self.name(l).split('.').nth(depth) == Some(part))
                .count();
            let is_leaf = part.len() == self.name(first).len()
                || self.name(first).split('.').count() == depth + 1;
            let (group, after) = rest.split_at(if is_leaf { 1 } else { n });
            rest = after;
            if is_leaf {
                self.layer(first, root, body, places)?;
            } else if !self.call(group, root, depth, body, places)? {
                self.append(group, root, depth + 1, body, places)?;
            }
        }
        Ok(())
    }

    fn name(&self, layer: &GraphLayer) -> &str {
        &self.graph.values[layer.output].name
    }

    /// Appends one layer.
    fn layer(
        &self,
        layer: &GraphLayer,
        root: usize,
        body: &mut Body,
        places: &mut HashMap<usize, Source>,
    ) -> io::Result<()> {
        let name = self.name(layer);
        let (what, numbers) = what(layer, name)?;
        if let Some(param) = layer.params.first() {
            let expected = format!("{name}.{}", param.kind.name());
            if param.name != expected {
                return Err(invalid(format!(
                    "parameter `{}` should be called `{expected}`",
                    param.name
                )));
            }
        }
        let inputs = layer
            .inputs
            .iter()
            .map(|&input| source_of(input, body, places))
            .collect();
        places.insert(layer.output, Source::Line(body.lines.len()));
        body.lines.push(Line {
            what,
            name: below(name, root),
            inputs,
            numbers,
        });
        Ok(())
    }

    /// Appends a call of a function that consists of these layers, if they make one: a block of layers, or a part of the network
    /// like a cell, that gives a single value.
    fn call(
        &mut self,
        group: &[&GraphLayer],
        root: usize,
        depth: usize,
        body: &mut Body,
        places: &mut HashMap<usize, Source>,
    ) -> io::Result<bool> {
        let inside: HashSet<usize> = group.iter().map(|l| l.output).collect();
        let outputs = inside
            .iter()
            .filter(|v| self.users[v].iter().any(|user| !inside.contains(user)));
        let outputs: Vec<usize> = outputs.copied().collect();
        let [output] = outputs[..] else {
            return Ok(false);
        };
        let known = (self.functions.len(), self.by_shape.clone());
        let uses: Vec<usize> = self.functions.iter().map(|f| f.uses.len()).collect();
        let inner = self.body(group, depth + 1)?;
        let has_calls = inner
            .lines
            .iter()
            .any(|line| matches!(line.what, What::Call { .. }));
        let has_params = group.iter().any(|layer| !layer.params.is_empty());
        if group.len() < 2 || (depth > 0 && (has_calls || !has_params)) {
            // It is written out where it stands; what it would have called is found again there.
            self.functions.truncate(known.0);
            for (function, n) in self.functions.iter_mut().zip(uses) {
                function.uses.truncate(n);
                function.names.truncate(n);
            }
            self.by_shape = known.1;
            return Ok(false);
        }
        let name = part(self.name(group[0]), depth).to_string();
        let function = self.function(&name, &inner);
        let numbers = self.functions[function]
            .uses
            .last()
            .cloned()
            .unwrap_or_default();
        let arguments = inner.arguments.iter();
        let inputs = arguments
            .map(|&value| source_of(value, body, places))
            .collect();
        places.insert(output, Source::Line(body.lines.len()));
        let full = self.name(group[0]);
        let prefix: Vec<&str> = full.split('.').take(depth + 1).collect();
        body.lines.push(Line {
            what: What::Call { function },
            name: below(&prefix.join("."), root),
            inputs,
            numbers,
        });
        Ok(true)
    }

    /// The function of a block, a new one if there is none of its shape.
    fn function(&mut self, name: &str, body: &Body) -> usize {
        let numbers: Vec<usize> = body
            .lines
            .iter()
            .flat_map(|line| line.numbers.clone())
            .collect();
        let shape = shape_of(&body.lines, body.output, false);
        if let Some(&known) = self.by_shape.get(&shape) {
            self.functions[known].used(name, numbers);
            return known;
        }
        // The same lines, but of one of them all read a single value, as the first cell does behind a single stem: it is called
        // with that value twice.
        let n_arguments = body.arguments.len();
        let merged = shape_of(&body.lines, body.output, true);
        let kin = self.functions.iter().position(|f| {
            (f.n_arguments == 1) != (n_arguments == 1)
                && f.n_arguments > 0
                && n_arguments > 0
                && shape_of(&f.lines, f.output, true) == merged
        });
        if let Some(known) = kin {
            let function = &mut self.functions[known];
            function.used(name, numbers);
            if function.n_arguments == 1 {
                function.lines = body.lines.clone();
                function.n_arguments = n_arguments;
                self.by_shape.insert(shape, known);
            }
            return known;
        }
        self.by_shape.insert(shape, self.functions.len());
        self.functions.push(Function {
            names: vec![name.to_string()],
            lines: body.lines.clone(),
            n_arguments: body.arguments.len(),
            output: body.output,
            uses: vec![numbers],
        });
        self.functions.len() - 1
    }
}

/// Names that functions cannot have.
const RESERVED: [&str; 8] = [
    "network", "conv", "last", "self", "crate", "super", "move", "ref",
];

/// A word that Rust takes as a name.
fn identifier(text: &str, whole: &str) -> String {
    let text = if text.is_empty() { whole } else { text };
    let clean = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '_'
        }
    };
    let name: String = text.trim_end_matches('_').chars().map(clean).collect();
    match name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        true => name,
        false => format!("op_{name}"),
    }
}

/// The part of a name at a depth.
fn part(name: &str, depth: usize) -> &str {
    name.split('.').nth(depth).unwrap_or(name)
}

/// A name without its first parts.
fn below(name: &str, root: usize) -> String {
    name.split('.').skip(root).collect::<Vec<_>>().join(".")
}

/// Where a value comes from within a body, which gets an argument for one from outside.
fn source_of(value: usize, body: &mut Body, places: &mut HashMap<usize, Source>) -> Source {
    *places.entry(value).or_insert_with(|| {
        body.arguments.push(value);
        Source::Argument(body.arguments.len() - 1)
    })
}

/// What two blocks must have in common to be one function; with `merged` as if all arguments were one.
fn shape_of(lines: &[Line], output: Source, merged: bool) -> String {
    let of = |source: &Source| match source {
        Source::Argument(_) if merged => "a0".to_string(),
        Source::Argument(i) => format!("a{i}"),
        Source::Line(i) => format!("l{i}"),
    };
    let mut text = of(&output);
    for line in lines {
        let inputs: Vec<String> = line.inputs.iter().map(of).collect();
        let _ = write!(text, "\n{:?} {} {}", line.what, line.name, inputs.join(","));
    }
    text
}

/// A layer as a line, and its numbers.
fn what(layer: &GraphLayer, name: &str) -> io::Result<(What, Vec<usize>)> {
    let plain = |method, has_name, numbers: &[usize]| {
        Ok((What::Plain { method, has_name }, numbers.to_vec()))
    };
    let pool = |method, p: &PoolShape| plain(method, false, &[p.kernel, p.stride, p.padding]);
    match &layer.layer {
        Layer::Conv(c) => {
            let square = [c.kernel, c.padding].map(|[a, b]| a == b);
            let numbers = vec![
                c.c_out,
                c.kernel[0],
                c.kernel[1],
                c.stride[0],
                c.stride[1],
                c.padding[0],
                c.padding[1],
                c.dilation,
                c.groups,
            ];
            Ok((What::Conv { square }, numbers))
        }
        Layer::Linear { n_out, .. } => plain("linear", true, &[*n_out]),
        Layer::Norm { .. } => plain("norm", true, &[]),
        Layer::Relu => plain("relu", false, &[]),
        Layer::Relu6 => plain("relu6", false, &[]),
        Layer::Activation { function } => {
            let method = match function {
                Activation::HardSwish => "hard_swish",
                Activation::HardSigmoid => "hard_sigmoid",
                Activation::Sigmoid => "sigmoid",
                Activation::Gelu => "gelu",
                Activation::Silu => "silu",
            };
            plain(method, false, &[])
        }
        Layer::MaxPool(p) => pool("max_pool", p),
        Layer::AvgPool {
            window,
            count_include_pad: true,
        } => pool("padded_avg_pool", window),
        Layer::AvgPool { window, .. } => pool("avg_pool", window),
        Layer::GlobalMean => plain("global_mean", false, &[]),
        Layer::Flatten => plain("flatten", false, &[]),
        Layer::Subsample { stride } => plain("subsample", false, &[*stride]),
        Layer::Zero { stride } => plain("zeros", false, &[*stride]),
        Layer::Crop { top, left } => plain("crop", false, &[*top, *left]),
        Layer::TakeChannels { channels } => plain("take_channels", false, &[*channels]),
        Layer::PadChannels { before, after } => plain("pad_channels", false, &[*before, *after]),
        Layer::Concat => Ok((What::Join { method: "concat" }, Vec::new())),
        Layer::Add => Ok((What::Join { method: "add" }, Vec::new())),
        Layer::Scale => Ok((What::Pair { method: "scale" }, Vec::new())),
        Layer::Shift => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            crate::unspelt_name(name),
        )),
        Layer::Mix { .. } | Layer::DropPath | Layer::Dropout { .. } => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!(
                "`{name}` ({}) exists in a search or in training only; a network that was found and scaled has none",
                layer.layer
            ),
        )),
    }
}

/// The names of the numbers of a line.
fn labels(line: &Line, functions: &[Function]) -> Vec<&'static str> {
    match &line.what {
        What::Conv { .. } => vec![
            "channels", "kernel", "kernel", "stride", "stride", "padding", "padding", "dilation",
            "groups",
        ],
        What::Plain { method, .. } => match *method {
            "linear" => vec!["outputs"],
            "subsample" | "zeros" => vec!["stride"],
            "crop" => vec!["rows", "columns"],
            "take_channels" => vec!["channels"],
            "pad_channels" => vec!["before", "after"],
            "max_pool" | "avg_pool" | "padded_avg_pool" => vec!["kernel", "stride", "padding"],
            _ => Vec::new(),
        },
        What::Join { .. } | What::Pair { .. } => Vec::new(),
        What::Call { function } => {
            let lines = functions[*function].lines.iter();
            lines.flat_map(|line| labels(line, functions)).collect()
        }
    }
}

impl Function {
    fn used(&mut self, name: &str, numbers: Vec<usize>) {
        self.names.push(name.to_string());
        self.uses.push(numbers);
    }

    /// What it would be called if it were alone: as the block is, without a number that differs between uses.
    fn usual_name(&self) -> String {
        let first = &self.names[0];
        match self.names.iter().all(|name| name == first) {
            true => identifier(first, "block"),
            false => identifier(
                first.trim_end_matches(|c: char| c.is_ascii_digit()),
                "block",
            ),
        }
    }

    /// What becomes of each number, and the names of the parameters.
    fn numbers(&self, functions: &[Function]) -> (Vec<Number>, Vec<String>) {
        let labels: Vec<&str> = self
            .lines
            .iter()
            .flat_map(|line| labels(line, functions))
            .collect();
        let mut parameters: Vec<(Vec<usize>, String)> = Vec::new();
        let mut numbers = Vec::new();
        for (i, label) in labels.iter().enumerate() {
            let column: Vec<usize> = self.uses.iter().map(|numbers| numbers[i]).collect();
            if column.iter().all(|n| *n == column[0]) {
                numbers.push(Number::Fixed(column[0]));
                continue;
            }
            let known = parameters.iter().position(|(other, _)| *other == column);
            let place = known.unwrap_or_else(|| {
                let same = parameters.iter().filter(|(_, name)| {
                    name.trim_end_matches(|c: char| c.is_ascii_digit()) == *label
                });
                let name = match same.count() {
                    0 => (*label).to_string(),
                    n => format!("{label}{}", n + 1),
                };
                parameters.push((column, name));
                parameters.len() - 1
            });
            numbers.push(Number::Parameter(place));
        }
        (
            numbers,
            parameters.into_iter().map(|(_, name)| name).collect(),
        )
    }

    /// Where in the numbers of a use each of the parameters stands first.
    fn representatives(&self, functions: &[Function]) -> Vec<usize> {
        let (numbers, names) = self.numbers(functions);
        let first = |parameter| {
            numbers
                .iter()
                .position(|n| matches!(n, Number::Parameter(p) if *p == parameter))
        };
        (0..names.len()).filter_map(first).collect()
    }
}

/// The text of a line's right-hand side. `number` gives the text of one of its numbers.
fn line_text(
    line: &Line,
    functions: &[Function],
    name: &str,
    inputs: &[String],
    number: &dyn Fn(usize) -> String,
) -> String {
    match &line.what {
        What::Conv { .. } => {
            let pair = |i: usize| match number(i) == number(i + 1) {
                true => number(i),
                false => format!("[{}, {}]", number(i), number(i + 1)),
            };
            let mut text = format!("conv({}, {})", number(0), pair(1));
            for (label, value, usual) in [
                ("stride", pair(3), "1"),
                ("padding", pair(5), "0"),
                ("dilation", number(7), "1"),
                ("groups", number(8), "1"),
            ] {
                if value != usual {
                    let _ = write!(text, ".{label}({value})");
                }
            }
            format!("b.conv({name}, {}, {text})?", inputs[0])
        }
        What::Plain { method, has_name } => {
            let mut arguments: Vec<String> =
                has_name.then(|| name.to_string()).into_iter().collect();
            arguments.push(inputs[0].clone());
            arguments.extend((0..line.numbers.len()).map(number));
            format!("b.{method}({})?", arguments.join(", "))
        }
        What::Join { method } => format!("b.{method}(&[{}])?", inputs.join(", ")),
        What::Pair { method } => format!("b.{method}({})?", inputs.join(", ")),
        What::Call { function: index } => {
            let function = &functions[*index];
            let mut arguments = vec!["b".to_string(), name.to_string()];
            let given = |i: usize| inputs.get(i).unwrap_or(&inputs[0]).clone();
            arguments.extend((0..function.n_arguments).map(given));
            arguments.extend(function.representatives(functions).into_iter().map(number));
            format!(
                "{}({})?",
                function_name(functions, *index),
                arguments.join(", ")
            )
        }
    }
}

/// The name of a function: the usual one, with a number if an earlier function has it.
fn function_name(functions: &[Function], index: usize) -> String {
    let base = functions[index].usual_name();
    let same = functions[..index]
        .iter()
        .filter(|f| f.usual_name() == base)
        .count();
    match (same, RESERVED.contains(&base.as_str())) {
        (0, false) => base,
        (n, _) => format!("{base}_{}", n + 1),
    }
}

/// Names of the lines' values: `x` all along where each reads the one before, otherwise what the line is called.
fn variables(lines: &[Line], taken: &[String]) -> Vec<String> {
    let is_chain = lines.iter().enumerate().all(|(i, line)| {
        line.inputs.iter().all(|input| match input {
            Source::Argument(0) => i == 0,
            Source::Argument(_) => false,
            Source::Line(j) => j + 1 == i,
        })
    });
    if is_chain {
        return vec!["x".to_string(); lines.len()];
    }
    let mut names: Vec<String> = taken.to_vec();
    for line in lines {
        let parts: Vec<&str> = line.name.split('.').collect();
        let full = identifier(&parts.join("_"), "value");
        let short = identifier(&parts[..parts.len().max(2) - 1].join("_"), "value");
        let mut name = if names.contains(&short) { full } else { short };
        while names.contains(&name) {
            name.push('_');
        }
        names.push(name);
    }
    names.split_off(taken.len())
}

impl Writer<'_> {
    fn text(&self, top: &Body) -> String {
        let mut out = String::new();
        for index in 0..self.functions.len() {
            self.function_text(index, &mut out);
        }
        self.network_text(top, &mut out);
        out
    }

    fn function_text(&self, index: usize, out: &mut String) {
        let function = &self.functions[index];
        let (numbers, parameters) = function.numbers(&self.functions);
        let arguments: Vec<String> = match function.n_arguments {
            0 | 1 => vec!["x".to_string()],
            n => (0..n).map(|i| format!("s{i}")).collect(),
        };
        // A part without numbers has no use for a name.
        let has_name = function.lines.iter().any(|line| {
            matches!(
                line.what,
                What::Conv { .. } | What::Call { .. } | What::Plain { has_name: true, .. }
            )
        });
        let name = if has_name {
            "name: &str"
        } else {
            "_name: &str"
        };
        let mut signature: Vec<String> = vec!["b: &mut Builder".to_string(), name.to_string()];
        signature.extend(arguments.iter().map(|name| format!("{name}: Value")));
        signature.extend(parameters.iter().map(|name| format!("{name}: usize")));
        let own = function_name(&self.functions, index);
        let _ = writeln!(
            out,
            "fn {own}({}) -> Result<Value, Error> {{",
            signature.join(", ")
        );
        let mut taken = arguments.clone();
        taken.extend(parameters.iter().cloned());
        taken.extend(["b", "name"].map(String::from));
        let names = variables(&function.lines, &taken);
        let text_of = |source: &Source| match source {
            Source::Argument(i) => arguments[(*i).min(arguments.len() - 1)].clone(),
            Source::Line(i) => names[*i].clone(),
        };
        let mut first = 0;
        for (i, line) in function.lines.iter().enumerate() {
            let number = |k: usize| match numbers[first + k] {
                Number::Fixed(n) => n.to_string(),
                Number::Parameter(p) => parameters[p].clone(),
            };
            let inputs: Vec<String> = line.inputs.iter().map(text_of).collect();
            let name = format!("&format!(\"{{name}}.{}\")", line.name);
            let text = line_text(line, &self.functions, &name, &inputs, &number);
            let is_last = i + 1 == function.lines.len() && function.output == Source::Line(i);
            let _ = match (is_last, text.strip_suffix('?')) {
                (true, Some(result)) => writeln!(out, "    {result}"),
                _ => writeln!(out, "    let {} = {text};", names[i]),
            };
            first += line.numbers.len();
        }
        if function.output != Source::Line(function.lines.len().wrapping_sub(1)) {
            let _ = writeln!(out, "    Ok({})", text_of(&function.output));
        }
        out.push_str("}\n\n");
    }

    /// The function `network`: its parts one after the other. Equal parts that read those before them in the same way are a
    /// loop.
    fn network_text(&self, top: &Body, out: &mut String) {
        let shape = self.graph.values[0].shape;
        let _ = writeln!(
            out,
            "/// The network with these weights.\n\
             pub fn network(weights: &Weights) -> Result<Net, Error> {{\n    \
                 let (mut builder, image) = Builder::new([{}, {}, {}], weights)?;\n    \
                 let b = &mut builder;\n    \
                 // The image, and what each part of the network gives.\n    \
                 let mut v = vec![image];",
            shape.channels, shape.height, shape.width
        );
        // The image is the only argument, so line i gives value i + 1.
        let value = |source: &Source| match source {
            Source::Argument(_) => 0,
            Source::Line(i) => i + 1,
        };
        let mut i = 0;
        while i < top.lines.len() {
            let line = &top.lines[i];
            let run = self.run(&top.lines[i..], i, &value);
            let number = |k: usize| line.numbers[k].to_string();
            let back = |input: &Source| i + 1 - value(input);
            let inputs: Vec<String> = line
                .inputs
                .iter()
                .map(|input| match (run > 1, back(input)) {
                    (true, n) => format!("last(&v, {n})"),
                    (false, n @ 1..=2) => format!("last(&v, {n})"),
                    (false, _) => format!("v[{}]", value(input)),
                })
                .collect();
            if run > 1 {
                let stem = line.name.trim_end_matches(|c: char| c.is_ascii_digit());
                let first: usize = line.name[stem.len()..].parse().unwrap_or(0);
                let name = format!("&format!(\"{stem}{{i}}\")");
                let text = line_text(line, &self.functions, &name, &inputs, &number);
                let _ = writeln!(
                    out,
                    "    for i in {first}..{} {{\n        v.push({text});\n    }}",
                    first + run
                );
            } else {
                let name = format!("\"{}\"", line.name);
                let text = line_text(line, &self.functions, &name, &inputs, &number);
                let _ = writeln!(out, "    v.push({text});");
            }
            i += run;
        }
        let output = match value(&top.output) {
            n if n == top.lines.len() => "last(&v, 1)".to_string(),
            n => format!("v[{n}]"),
        };
        let _ = writeln!(
            out,
            "    let output = {output};\n    builder.finish(output)\n}}\n"
        );
        out.push_str(LAST);
    }

    /// How many lines from the first on are one loop.
    fn run(&self, lines: &[Line], at: usize, value: &dyn Fn(&Source) -> usize) -> usize {
        let first = &lines[0];
        let split = |name: &str| -> Option<(String, usize)> {
            let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
            Some((stem.to_string(), name[stem.len()..].parse().ok()?))
        };
        let (Some((stem, number)), What::Call { .. }) = (split(&first.name), &first.what) else {
            return 1;
        };
        let distances = |line: &Line, i: usize| -> Vec<usize> {
            line.inputs
                .iter()
                .map(|input| at + i + 1 - value(input))
                .collect()
        };
        let fits = |(i, line): &(usize, &Line)| {
            line.what == first.what
                && line.numbers == first.numbers
                && split(&line.name) == Some((stem.clone(), number + i))
                && distances(line, *i) == distances(first, 0)
        };
        lines.iter().enumerate().take_while(fits).count()
    }
}

const LAST: &str = "\
/// The value that was made so many parts ago.
fn last(values: &[Value], back: usize) -> Value {
    values[values.len() - back]
}
";
