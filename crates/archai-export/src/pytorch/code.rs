//! The source of one class: how its modules are made, and what it computes of its inputs.

use std::collections::{HashMap, HashSet};

use archai_spec::ops::Layer;

use super::classes::{Class, Piece, Source};
use super::expr::{Expr, WIDTH, is_name, text};
use super::layers::Facts;
use super::scope::{Item, Scope, What};

/// Most calls inside each other on one line.
const DEPTH: usize = 5;
/// Fewest modules that are worth a loop.
const LOOP: usize = 3;
/// Columns before the statements of a method.
const INDENT: usize = 8;

/// A line of a method: what stands before an expression, and the expression.
struct Line(usize, String, Expr);

/// Writes a class.
pub fn class(out: &mut String, facts: &Facts<'_>, scopes: &[Scope], class: &Class) {
    let scope = &scopes[class.scope];
    out.push_str(&format!("\n\nclass {}(nn.Module):\n", class.name));
    docstring(out, 4, &class.doc);
    let params = class.params.iter().map(|p| match &p.default {
        Some(default) => format!("{}={default}", p.name),
        None => p.name.clone(),
    });
    let params: Vec<String> = ["self".to_string()].into_iter().chain(params).collect();
    definition(out, "__init__", &params);
    if has_marks(facts, scope) {
        out.push_str("        self.drop_path = DropPath()\n");
    }
    for param in kept(facts, scope, class) {
        out.push_str(&format!("        self.{param} = {param}\n"));
    }
    let made = setup(facts, scope, class);
    made.iter().for_each(|line| write(out, line));
    let ports = port_names(class.n_ports, scope.height > 0);
    let parameters: Vec<String> = ["self".to_string()]
        .into_iter()
        .chain(ports.clone())
        .collect();
    definition(out, "forward", &parameters);
    let flow = Flow::new(facts, scope, class);
    flow.statements(ports)
        .iter()
        .for_each(|line| write(out, line));
}

/// Whether it is a function of each number.
fn is_activation(layer: &Layer) -> bool {
    matches!(layer, Layer::Relu | Layer::Relu6 | Layer::Activation { .. })
}

/// The arguments that `forward` needs too: numbers of layers without parameters.
fn kept<'a>(facts: &Facts<'_>, scope: &Scope, class: &'a Class) -> Vec<&'a str> {
    let items = scope.items.iter().zip(&class.pieces);
    let numbers = items.filter_map(|(item, piece)| match (item.what, piece) {
        (What::Layer(layer), Piece::Layer(numbers)) => {
            let is_module = facts.construct(layer, numbers).is_some();
            (!is_module).then_some(numbers)
        }
        _ => None,
    });
    let words: HashSet<&str> = numbers.flatten().flat_map(|n| n.split(' ')).collect();
    let params = class.params.iter().map(|p| p.name.as_str());
    params.filter(|name| words.contains(name)).collect()
}

/// A number as `forward` writes it: arguments of the class are kept in the module.
fn in_forward(number: &str, class: &Class) -> String {
    let word = |word: &str| match class.params.iter().any(|p| p.name == word) {
        true => format!("self.{word}"),
        false => word.to_string(),
    };
    let words: Vec<String> = number.split(' ').map(word).collect();
    words.join(" ")
}

/// Whether drop-path may drop something in a scope.
fn has_marks(facts: &Facts<'_>, scope: &Scope) -> bool {
    let is_mark = |item: &Item| match item.what {
        What::Layer(layer) => facts.graph.layers[layer].layer == Layer::DropPath,
        What::Call(_) => false,
    };
    scope.items.iter().any(is_mark)
}

/// The `__init__` of the network, behind its first line.
pub fn network_setup(out: &mut String, facts: &Facts<'_>, scopes: &[Scope], network: &Class) {
    if has_marks(facts, &scopes[0]) {
        out.push_str("        self.drop_path = DropPath()\n");
    }
    let lines = setup(facts, &scopes[0], network);
    let mut i = 0;
    while i < lines.len() {
        let (n, loop_lines) = row(&lines[i..]);
        match loop_lines {
            Some(loop_lines) => loop_lines.iter().for_each(|line| write(out, line)),
            None => write(out, &lines[i]),
        }
        i += n;
    }
}

/// The `forward` of the network, behind its first line. With `aux`, the logits of auxiliary towers are given too in training.
pub fn network_forward(out: &mut String, facts: &Facts<'_>, scopes: &[Scope], network: &Class) {
    let flow = Flow::new(facts, &scopes[0], network);
    flow.network().iter().for_each(|line| write(out, line));
}

fn write(out: &mut String, Line(indent, before, expr): &Line) {
    expr.write(out, *indent, before, "");
}

fn definition(out: &mut String, name: &str, params: &[String]) {
    let args = params.iter().map(|p| (None, Expr::atom(p))).collect();
    let call = Expr::Call(name.to_string(), args);
    let blank = if name == "__init__" { "\n" } else { "" };
    let mut text = String::new();
    call.write(&mut text, 4, "def ", ":");
    out.push_str(&format!("\n{text}"));
    if !blank.is_empty() {
        out.push_str("        super().__init__()\n");
    }
}

/// A docstring, broken into lines between words.
pub fn docstring(out: &mut String, indent: usize, doc: &str) {
    let margin = " ".repeat(indent);
    let line = format!("{margin}\"\"\"{doc}\"\"\"");
    if line.chars().count() <= WIDTH {
        out.push_str(&format!("{line}\n"));
        return;
    }
    out.push_str(&format!("{}\n{margin}\"\"\"\n", wrapped(indent, doc)));
}

/// The beginning of a file's docstring.
pub fn docstring_open(out: &mut String, doc: &str) {
    out.push_str(&format!("{}\n", wrapped(0, doc)));
}

/// A docstring without its end, broken into lines between words.
fn wrapped(indent: usize, doc: &str) -> String {
    let margin = " ".repeat(indent);
    let mut lines = vec![format!("{margin}\"\"\"")];
    for (i, word) in doc.split(' ').enumerate() {
        let last = lines.len() - 1;
        // No line that only the quotes would make too long.
        if lines[last].chars().count() + 1 + word.chars().count() + 3 > WIDTH {
            lines.push(format!("{margin}{word}"));
        } else {
            if i > 0 {
                lines[last].push(' ');
            }
            lines[last].push_str(word);
        }
    }
    lines.join("\n")
}

fn port_names(n: usize, is_cell: bool) -> Vec<String> {
    match (n, is_cell) {
        (1, _) => vec!["x".to_string()],
        (_, true) => (0..n).map(|i| format!("s{i}")).collect(),
        (_, false) => (0..n).map(|i| format!("x{i}")).collect(),
    }
}

/// `owner.a.b`.
fn access(owner: &str, path: &str) -> String {
    path.split('.')
        .fold(owner.to_string(), |owner, name| match is_name(name) {
            true => format!("{owner}.{name}"),
            false => format!("getattr({owner}, {})", text(name)),
        })
}

/// Modules by place: those without a class of their own hold others under their names.
#[derive(Default)]
struct Tree {
    module: Option<Expr>,
    inside: Vec<(String, Tree)>,
}

impl Tree {
    fn insert(&mut self, path: &str, module: Expr) {
        let mut tree = self;
        for name in path.split('.') {
            let at = match tree.inside.iter().position(|(own, _)| own == name) {
                Some(at) => at,
                None => {
                    tree.inside.push((name.to_string(), Tree::default()));
                    tree.inside.len() - 1
                }
            };
            tree = &mut tree.inside[at].1;
        }
        tree.module = Some(module);
    }

    /// How it is made. What is put into a module from outside is left for `later`.
    fn make(&self, path: &str, later: &mut Vec<Line>) -> Expr {
        match &self.module {
            Some(module) => {
                for (name, tree) in &self.inside {
                    let path = format!("{path}.{name}");
                    let module = tree.make(&path, later);
                    later.insert(0, assign(&path, module));
                }
                module.clone()
            }
            None => {
                let mut names = Expr::call("Names", []);
                for (name, tree) in &self.inside {
                    let module = tree.make(&format!("{path}.{name}"), later);
                    names = match (is_name(name), &mut names) {
                        (false, Expr::Call(_, args)) => {
                            let pair = format!("**{{{}: {}}}", text(name), module.line());
                            args.push((None, Expr::Atom(pair)));
                            names
                        }
                        _ => names.with(name, module),
                    };
                }
                names
            }
        }
    }
}

/// `self.path = module`.
fn assign(path: &str, module: Expr) -> Line {
    let (owner, name) = path.rsplit_once('.').unwrap_or(("", path));
    let owner = match owner {
        "" => "self".to_string(),
        owner => access("self", owner),
    };
    match is_name(name) {
        true => Line(INDENT, format!("{owner}.{name} = "), module),
        false => {
            let add = Expr::call(
                format!("{owner}.add_module"),
                [Expr::Atom(text(name)), module],
            );
            Line(INDENT, String::new(), add)
        }
    }
}

/// How the modules of a scope are made.
fn setup(facts: &Facts<'_>, scope: &Scope, class: &Class) -> Vec<Line> {
    let mut tree = Tree::default();
    for (item, piece) in scope.items.iter().zip(&class.pieces) {
        let module = match (item.what, piece) {
            (_, Piece::Module(module)) => Some(module.clone()),
            (What::Layer(layer), Piece::Layer(numbers)) => facts.construct(layer, numbers),
            (What::Call(_), Piece::Layer(_)) => None,
        };
        if let Some(module) = module {
            tree.insert(&item.path, module);
        }
    }
    let mut lines = Vec::new();
    for (name, tree) in &tree.inside {
        let mut later = Vec::new();
        let module = tree.make(name, &mut later);
        lines.push(assign(name, module));
        lines.append(&mut later);
    }
    lines
}

/// How many of the first lines are one line or one loop, and the loop's lines.
fn row(lines: &[Line]) -> (usize, Option<Vec<Line>>) {
    let numbered = |Line(_, before, module): &Line| {
        let name = before.strip_prefix("self.")?.strip_suffix(" = ")?;
        let digits = name.chars().rev().take_while(char::is_ascii_digit).count();
        let (stem, number) = name.split_at(name.len() - digits);
        let Expr::Call(f, args) = module else {
            return None;
        };
        Some((
            stem.to_string(),
            number.parse::<i64>().ok()?,
            f.clone(),
            args.clone(),
        ))
    };
    let Some((stem, first, f, args)) = numbered(&lines[0]) else {
        return (1, None);
    };
    let same: Vec<_> = (lines.iter().map(numbered))
        .zip(0..)
        .map_while(|(line, i)| line.filter(|(s, n, g, _)| (s, n, g) == (&stem, &(first + i), &f)))
        .map(|(.., args)| args)
        .collect();
    // Numbers that grow by the same step from each module to the next.
    let number = |arg: &Expr| match arg {
        Expr::Atom(text) => text.parse::<i64>().ok(),
        _ => None,
    };
    let step = |a: &Expr, b: &Expr| Some(number(b)? - number(a)?);
    let mut steps: Option<Vec<i64>> = None;
    let mut n = 1;
    while n < same.len() && same[n].len() == args.len() {
        let pairs = || same[n - 1].iter().zip(&same[n]);
        if pairs().any(|((a, _), (b, _))| a != b) {
            break;
        }
        let here = pairs().map(|((_, a), (_, b))| match a == b {
            true => Some(0),
            false => step(a, b),
        });
        match here.collect::<Option<Vec<i64>>>() {
            Some(here) if steps.as_ref().is_none_or(|steps| *steps == here) => steps = Some(here),
            _ => break,
        }
        n += 1;
    }
    if n < LOOP {
        return (1, None);
    }
    let steps = steps.unwrap_or_default();
    let args = args.into_iter().zip(steps).map(|((key, arg), step)| {
        let text = match number(&arg) {
            Some(start) if step != 0 => {
                let times = match step {
                    1 => "i".to_string(),
                    step => format!("{step} * i"),
                };
                match start - step * first {
                    0 => times,
                    base if base > 0 => format!("{base} + {times}"),
                    base => format!("{times} - {}", -base),
                }
            }
            _ => return (key, arg),
        };
        (key, Expr::Atom(text))
    });
    let module = Expr::Call(f, args.collect());
    let name = Expr::Atom(format!("f\"{stem}{{i}}\""));
    let add = Expr::call("self.add_module", [name, module]);
    let range = match first {
        0 => format!("range({n}):"),
        _ => format!("range({first}, {}):", first + n as i64),
    };
    let lines = vec![
        Line(INDENT, "for i in ".to_string(), Expr::Atom(range)),
        Line(INDENT + 4, String::new(), add),
    ];
    (n, Some(lines))
}

/// The items of a scope that lead to what it gives, and where each value is used.
struct Flow<'a> {
    facts: &'a Facts<'a>,
    scope: &'a Scope,
    class: &'a Class,
    /// Items that something needs, in order.
    live: Vec<usize>,
    /// Which item gives a value.
    producer: HashMap<usize, usize>,
    /// How often each source is read by live items, or given back.
    uses: HashMap<Source2, usize>,
    /// Values that are not written inside the expressions that use them.
    breaks: HashSet<usize>,
}

/// A [`Source`] as a key.
type Source2 = (bool, usize);

fn key(source: Source) -> Source2 {
    match source {
        Source::Port(port) => (true, port),
        Source::Local(value) => (false, value),
    }
}

/// Names of values while statements are written.
struct Naming {
    names: HashMap<Source2, String>,
    /// How often each source will be read.
    left: HashMap<Source2, usize>,
}

impl<'a> Flow<'a> {
    fn new(facts: &'a Facts<'a>, scope: &'a Scope, class: &'a Class) -> Flow<'a> {
        let producer: HashMap<usize, usize> = scope
            .items
            .iter()
            .enumerate()
            .map(|(i, item)| (item.output, i))
            .collect();
        let mut needed: HashSet<usize> = HashSet::from([scope.output]);
        if scope.path.is_empty() {
            needed.extend(&facts.graph.aux);
        }
        let mut uses: HashMap<Source2, usize> = HashMap::new();
        for &value in &needed {
            uses.insert((false, value), 1);
        }
        let mut live = Vec::new();
        for (i, item) in scope.items.iter().enumerate().rev() {
            if !needed.contains(&item.output) {
                continue;
            }
            live.push(i);
            for &source in &class.reads[i] {
                *uses.entry(key(source)).or_default() += 1;
                if let Source::Local(value) = source {
                    needed.insert(value);
                }
            }
        }
        live.reverse();
        let mut flow = Flow {
            facts,
            scope,
            class,
            live,
            producer,
            uses,
            breaks: HashSet::new(),
        };
        flow.breaks = flow.breaks();
        flow
    }

    fn layer(&self, item: usize) -> Option<&'a Layer> {
        match self.scope.items[item].what {
            What::Layer(layer) => Some(&self.facts.graph.layers[layer].layer),
            What::Call(_) => None,
        }
    }

    /// Where a line ends although the value is used but once: between the convolutions of a chain, and between modules.
    fn breaks(&self) -> HashSet<usize> {
        let mut breaks = HashSet::new();
        let first = self.live.first().and_then(|&i| self.layer(i));
        let (starts_with_relu, starts_with_norm) = match first {
            Some(layer) if is_activation(layer) => (true, false),
            Some(Layer::Norm { .. }) => (false, true),
            _ => (false, false),
        };
        let is_relu = |layer: Option<&Layer>| layer.is_some_and(is_activation);
        let is_norm = |layer: Option<&Layer>| matches!(layer, Some(Layer::Norm { .. }));
        for &item in &self.live {
            for &source in &self.class.reads[item] {
                let Source::Local(value) = source else {
                    continue;
                };
                let (from, to) = (self.layer(self.producer[&value]), self.layer(item));
                let ends = if self.scope.height > 0 {
                    from.is_none() && to.is_none()
                } else if starts_with_relu {
                    is_relu(to)
                } else if starts_with_norm {
                    is_norm(to)
                } else {
                    is_norm(from) && !is_relu(to) || is_relu(from)
                };
                if ends {
                    breaks.insert(value);
                }
            }
        }
        breaks
    }

    /// The expression of an item, and how deep it is.
    fn expr(&self, item: usize, naming: &Naming) -> (Expr, usize) {
        let mut depth = 0;
        let mut inputs = Vec::new();
        for &source in &self.class.reads[item] {
            let expr = match (naming.names.get(&key(source)), source) {
                (Some(name), _) => Expr::atom(name),
                (None, Source::Local(value)) => {
                    let (expr, inner) = self.expr(self.producer[&value], naming);
                    depth = depth.max(inner);
                    expr
                }
                // All arguments have names.
                (None, Source::Port(port)) => Expr::Atom(format!("x{port}")),
            };
            inputs.push(expr);
        }
        let path = access("self", &self.scope.items[item].path);
        let expr = match (&self.scope.items[item].what, &self.class.pieces[item]) {
            (What::Layer(layer), Piece::Layer(numbers)) => {
                let own = numbers.iter().map(|n| in_forward(n, self.class));
                let own: Vec<String> = own.collect();
                self.facts.apply(*layer, &own, &path, inputs)
            }
            _ => Expr::call(path, inputs),
        };
        (expr, depth + 1)
    }

    /// Whether a value has a line of its own.
    fn has_line(&self, value: usize, own_lines: &HashSet<usize>) -> bool {
        value == self.scope.output
            || self.uses.get(&(false, value)) != Some(&1)
            || self.breaks.contains(&value)
            || own_lines.contains(&value)
    }

    /// The values inside an item's expression that could have a line of their own.
    fn nested(&self, item: usize, naming: &Naming) -> Vec<usize> {
        let mut found = Vec::new();
        for &source in &self.class.reads[item] {
            if let Source::Local(value) = source
                && !naming.names.contains_key(&key(source))
            {
                found.push(value);
                found.extend(self.nested(self.producer[&value], naming));
            }
        }
        found
    }

    /// The lines of `forward`.
    fn statements(&self, ports: Vec<String>) -> Vec<Line> {
        let mut own_lines = HashSet::new();
        loop {
            match self.attempt(&ports, &own_lines) {
                Ok(lines) => return lines,
                Err(value) => own_lines.insert(value),
            };
        }
    }

    /// The lines, or a value that must have a line of its own so that they are short enough.
    fn attempt(&self, ports: &[String], own_lines: &HashSet<usize>) -> Result<Vec<Line>, usize> {
        let names = ports.iter().enumerate();
        let mut naming = Naming {
            names: names.map(|(i, name)| ((true, i), name.clone())).collect(),
            left: self.uses.clone(),
        };
        let mut lines = Vec::new();
        for &item in &self.live {
            let value = self.scope.items[item].output;
            if self.has_line(value, own_lines) {
                self.statement(item, &mut naming, &mut lines)?;
            }
        }
        Ok(lines)
    }

    fn statement(
        &self,
        item: usize,
        naming: &mut Naming,
        lines: &mut Vec<Line>,
    ) -> Result<(), usize> {
        let value = self.scope.items[item].output;
        let (expr, depth) = self.expr(item, naming);
        let nested = self.nested(item, naming);
        if depth > DEPTH
            && let Some(&inner) = nested.first()
        {
            return Err(inner);
        }
        let is_result = value == self.scope.output && self.uses[&(false, value)] == 1;
        // What is added up in several lines must not take the name of what these read.
        let own_name = self.name(item, naming);
        self.used(item, naming);
        let room = own_name.len() + " = ".len();
        let is_long = INDENT + room.max("return ".len()) + expr.line().chars().count() > WIDTH;
        let before = match is_result {
            true => "return ".to_string(),
            false => {
                let name = match is_long {
                    true => own_name.clone(),
                    false => self.name(item, naming),
                };
                naming.names.insert((false, value), name.clone());
                format!("{name} = ")
            }
        };
        let fits = |expr: &Expr| INDENT + before.len() + expr.line().chars().count() <= WIDTH;
        match expr {
            Expr::Sum(terms) if !fits(&Expr::Sum(terms.clone())) => {
                let name = match is_result {
                    true => own_name,
                    false => naming.names[&(false, value)].clone(),
                };
                let mut terms = terms.into_iter();
                let mut sum: Vec<Expr> = terms.next().into_iter().collect();
                let line = |sum: Vec<Expr>| Line(INDENT, format!("{name} = "), Expr::Sum(sum));
                for term in terms {
                    let longer = [sum.clone(), vec![term.clone()]].concat();
                    if INDENT + name.len() + 3 + Expr::Sum(longer.clone()).line().len() <= WIDTH {
                        sum = longer;
                    } else {
                        lines.push(line(sum));
                        sum = vec![Expr::atom(&name), term];
                    }
                }
                lines.push(Line(INDENT, before, Expr::Sum(sum)));
                let is_wide = |Line(indent, before, expr): &Line| {
                    indent + before.len() + expr.line().chars().count() > WIDTH
                };
                if lines.iter().any(is_wide)
                    && let Some(inner) = self.longest(&nested, naming)
                {
                    return Err(inner);
                }
            }
            expr if !fits(&expr) && !nested.is_empty() => {
                if let Some(inner) = self.longest(&nested, naming) {
                    return Err(inner);
                }
            }
            expr => lines.push(Line(INDENT, before, expr)),
        }
        if !is_result && value == self.scope.output {
            let name = naming.names[&(false, value)].clone();
            lines.push(Line(INDENT, "return ".to_string(), Expr::Atom(name)));
        }
        Ok(())
    }

    /// The longest of the expressions inside an item's.
    fn longest(&self, nested: &[usize], naming: &Naming) -> Option<usize> {
        let length = |v: &&usize| self.expr(self.producer[v], naming).0.line().len();
        nested.iter().max_by_key(length).copied()
    }

    /// Notes what an item reads, and those that are written inside its expression.
    fn used(&self, item: usize, naming: &mut Naming) {
        for &source in &self.class.reads[item] {
            let key = key(source);
            if let Some(left) = naming.left.get_mut(&key) {
                *left = left.saturating_sub(1);
            }
            if let (Source::Local(value), false) = (source, naming.names.contains_key(&key)) {
                self.used(self.producer[&value], naming);
            }
        }
    }

    /// A name for what an item gives: one that nothing needs any more, or a new one.
    fn name(&self, item: usize, naming: &Naming) -> String {
        let own = (false, self.scope.items[item].output);
        if let Some(name) = naming.names.get(&own) {
            return name.clone();
        }
        let path = &self.scope.items[item].path;
        let mut parts = path.split('.');
        let first = parts.next().unwrap_or_default().to_string();
        let second = parts.next().unwrap_or_default();
        let is_chain = self.scope.height == 0 && self.class.n_ports == 1;
        let mut wishes = Vec::new();
        if is_chain {
            wishes.push("x".to_string());
        }
        wishes.push(first.clone());
        if !second.is_empty() {
            wishes.push(format!("{first}_{second}"));
        }
        wishes.extend(
            (2..)
                .take(self.scope.items.len() + 2)
                .map(|n| format!("{first}_{n}")),
        );
        let in_use = |name: &String| {
            let holds = |(key, own): (&Source2, &String)| {
                own == name && naming.left.get(key).copied().unwrap_or(0) > 0
            };
            let means_else = ["self", "torch", "nn", "F", "i", "getattr", "range", "super"];
            !is_name(name) || means_else.contains(&name.as_str()) || naming.names.iter().any(holds)
        };
        let free = wishes.iter().find(|wish| !in_use(wish));
        free.cloned().unwrap_or_else(|| format!("value{}", own.1))
    }

    /// A run of modules of which each reads the last values, its own among them: how many, and how many values.
    fn run(&self, at: usize) -> Option<(usize, usize)> {
        let numbered = |k: usize| {
            let item = &self.scope.items[*self.live.get(k)?];
            let digits = item
                .path
                .chars()
                .rev()
                .take_while(char::is_ascii_digit)
                .count();
            let (stem, number) = item.path.split_at(item.path.len() - digits);
            let is_module = matches!(item.what, What::Call(_));
            let is_plain = is_module && is_name(&item.path);
            Some((stem, number.parse::<usize>().ok().filter(|_| is_plain)?))
        };
        let (stem, first) = numbered(at)?;
        let reads = |k: usize| &self.class.reads[self.live[k]];
        let window = reads(at).len();
        let mut n = 1;
        while numbered(at + n) == Some((stem, first + n)) {
            let (last, next) = (reads(at + n - 1), reads(at + n));
            let given = Source::Local(self.scope.items[self.live[at + n - 1]].output);
            let slides = next.len() == window && last[1..] == next[..window - 1];
            if !slides || next[window - 1] != given {
                break;
            }
            // What leaves the window must have been used up.
            if n > window {
                let gone = self.scope.items[self.live[at + n - 1 - window]].output;
                let inside = (at..=at + n).flat_map(reads);
                let inside = inside.filter(|s| **s == Source::Local(gone)).count();
                if self.uses[&(false, gone)] > inside {
                    break;
                }
            }
            n += 1;
        }
        // Nor may anything be wanted later that the last step has pushed out.
        if n > window {
            let gone = self.scope.items[self.live[at + n - 1 - window]].output;
            let inside = (at..at + n).flat_map(reads);
            let inside = inside.filter(|s| **s == Source::Local(gone)).count();
            if self.uses[&(false, gone)] > inside {
                n -= 1;
            }
        }
        (n >= LOOP && window > 0).then_some((n, window))
    }

    /// The lines of the network's `forward`: cells in loops, towers in training only.
    fn network(&self) -> Vec<Line> {
        let mut own_lines = HashSet::new();
        // Names that loops want for the values that they begin with.
        let mut wishes: HashMap<Source2, Vec<String>> = HashMap::new();
        let mut at = 0;
        while at < self.live.len() {
            let Some((n, window)) = self.run(at) else {
                at += 1;
                continue;
            };
            let reads = &self.class.reads[self.live[at]];
            let states = states(window);
            for (k, &source) in reads.iter().enumerate() {
                // A value that is also used elsewhere keeps its own name.
                let run = (at..at + n).flat_map(|k| &self.class.reads[self.live[k]]);
                let inside = run.filter(|s| **s == source).count();
                let given = match source {
                    Source::Local(value) => {
                        own_lines.insert(value);
                        true
                    }
                    Source::Port(_) => false,
                };
                if given && self.uses[&key(source)] == inside {
                    wishes
                        .entry(key(source))
                        .or_default()
                        .push(states[k].clone());
                }
            }
            for k in at..at + n {
                own_lines.insert(self.scope.items[self.live[k]].output);
            }
            at += n;
        }
        loop {
            match self.network_attempt(&own_lines, &wishes) {
                Ok(lines) => return lines,
                Err(value) => own_lines.insert(value),
            };
        }
    }

    fn network_attempt(
        &self,
        own_lines: &HashSet<usize>,
        wishes: &HashMap<Source2, Vec<String>>,
    ) -> Result<Vec<Line>, usize> {
        let graph = self.facts.graph;
        let mut naming = Naming {
            names: HashMap::from([((true, 0), "images".to_string())]),
            left: self.uses.clone(),
        };
        let mut lines: Vec<Line> = Vec::new();
        let mut result = None;
        let mut at = 0;
        while at < self.live.len() {
            if let Some((n, window)) = self.run(at) {
                self.loop_lines(at, n, window, &mut naming, &mut lines);
                at += n;
                continue;
            }
            let item = self.live[at];
            let value = self.scope.items[item].output;
            at += 1;
            let is_aux = graph.aux.contains(&value);
            if !is_aux && !self.has_line(value, own_lines) {
                continue;
            }
            let before = lines.len();
            let wish = wishes.get(&(false, value));
            let taken = |name: &String| {
                let holds = |(key, own): (&Source2, &String)| own == name && naming.left[key] > 0;
                naming.names.iter().any(holds)
            };
            match wish.filter(|wish| !wish.iter().any(taken)) {
                Some(wish) => {
                    let (expr, _) = self.expr(item, &naming);
                    self.used(item, &mut naming);
                    lines.push(Line(INDENT, format!("{} = ", wish.join(" = ")), expr));
                    naming.names.insert((false, value), wish[0].clone());
                }
                None => self.statement(item, &mut naming, &mut lines)?,
            }
            if is_aux {
                // A tower is there in training only.
                for line in &mut lines[before..] {
                    line.0 += 4;
                }
                let training = Expr::atom("if self.training:");
                lines.insert(before, Line(INDENT, String::new(), training));
            }
            if value == self.scope.output {
                result = lines.pop();
            }
        }
        let Some(Line(_, _, logits)) = result else {
            return Ok(lines);
        };
        let logits = match self.facts.flat[self.scope.output] {
            true => logits,
            false => logits.then(".flatten(1)"),
        };
        if graph.aux.is_empty() {
            lines.push(Line(INDENT, "return ".to_string(), logits));
            return Ok(lines);
        }
        let aux = graph.aux.iter().map(|&value| {
            let name = naming
                .names
                .get(&(false, value))
                .cloned()
                .unwrap_or_default();
            match self.facts.flat[value] {
                true => name,
                false => format!("{name}.flatten(1)"),
            }
        });
        let all: Vec<String> = ["logits".to_string()].into_iter().chain(aux).collect();
        lines.push(Line(INDENT, "logits = ".to_string(), logits));
        let choice = format!("({}) if self.training else logits", all.join(", "));
        lines.push(Line(INDENT, "return ".to_string(), Expr::Atom(choice)));
        Ok(lines)
    }

    fn loop_lines(
        &self,
        at: usize,
        n: usize,
        window: usize,
        naming: &mut Naming,
        lines: &mut Vec<Line>,
    ) {
        let states = states(window);
        let first = self.live[at];
        let begin = &self.class.reads[first];
        let name = |source: &Source| naming.names.get(&key(*source)).cloned().unwrap_or_default();
        let names: Vec<String> = begin.iter().map(name).collect();
        // Twice the same value has been given both names.
        let is_ready = names
            .iter()
            .zip(&states)
            .enumerate()
            .all(|(k, (name, state))| {
                name == state
                    || names[..k].contains(name) && name == &states[0] && begin[k] == begin[0]
            });
        if !is_ready {
            let (to, from) = (states.join(", "), names.join(", "));
            lines.push(Line(INDENT, format!("{to} = "), Expr::Atom(from)));
        }
        let path = &self.scope.items[first].path;
        let stem = path.trim_end_matches(|c: char| c.is_ascii_digit());
        let number: usize = path[stem.len()..].parse().unwrap_or(0);
        let range = match number {
            0 => format!("range({n}):"),
            _ => format!("range({number}, {}):", number + n),
        };
        lines.push(Line(INDENT, "for i in ".to_string(), Expr::Atom(range)));
        let call = format!("getattr(self, f\"{stem}{{i}}\")({})", states.join(", "));
        let next = [states[1..].to_vec(), vec![call]].concat();
        let to = format!("{} = ", states.join(", "));
        lines.push(Line(INDENT + 4, to, Expr::Atom(next.join(", "))));
        for k in at..at + n {
            self.used(self.live[k], naming);
        }
        let outputs = (at..at + n).map(|k| self.scope.items[self.live[k]].output);
        let last: Vec<usize> = outputs.rev().take(window).collect();
        for (value, state) in last
            .iter()
            .rev()
            .zip(states.iter().skip(window - last.len()))
        {
            naming.names.insert((false, *value), state.clone());
        }
    }
}

/// Names of what a loop carries from one cell to the next.
fn states(window: usize) -> Vec<String> {
    match window {
        1 => vec!["x".to_string()],
        _ => (0..window).map(|i| format!("s{i}")).collect(),
    }
}
