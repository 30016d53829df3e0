//! Genotypes as text, in the forms in which programs print them or keep them in files:
//!
//! - node after node, two edges each: `normal=[('sep_conv_3x3', 0), ('skip_connect', 1), …]` (quark0/darts and its many copies);
//! - by node: `normal=[[('sep_conv_3x3', 0), …], …]` (pt.darts) or with tuples, and with the weight of the edge as a third
//!   number (AutoDL-Projects);
//! - edge by edge: `normal=[('sep_conv_3x3', 2, 0), …]`, which is (op, node, input), the node by its state (FairDARTS);
//! - `Genotype(…)` under any module's name, or a dictionary `{'normal': …, …}`;
//! - within other text: log lines, modules of Python with several genotypes.

use std::str::FromStr;

use super::genotype::{MAX_STATE, error, in_pairs};
use super::literal::{Entry, Fault, Literal, Reader, Value, is_word, last, line_and_column};
use super::{DescError, DescErrorKind, Genotype, GenotypeEdge};
use crate::names::nearest;

const FORM: &str = "a genotype reads Genotype(normal=[('sep_conv_3x3', 0), …], normal_concat=range(2, 6), reduce=[…], reduce_concat=range(2, 6))";
const PARTS: [&str; 4] = ["normal", "normal_concat", "reduce", "reduce_concat"];
/// Most genotypes that the error about several of them lists.
const LISTED: usize = 20;

/// Which of the architectures in a text is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Which {
    /// There is but one.
    #[default]
    Only,
    /// By its place, from 1; counted from the end below zero: −1 is the last one.
    Nth(i64),
    /// By the name to which it is assigned: `DARTS_V2 = Genotype(…)`.
    Named(String),
}

/// A genotype that was found in a text.
struct Found<'a> {
    at: usize,
    /// The name before it, or nothing.
    name: &'a str,
    read: Result<Genotype, Fault>,
}

impl Genotype {
    /// The genotype within a text: a log, a module of Python, or the genotype alone. Lines that start with `#` are passed over.
    ///
    /// ```
    /// use archai_spec::desc::{Genotype, Which};
    /// let cell = "[[('sep_conv_3x3', 0), ('skip_connect', 1)]]";
    /// let genotype = format!("gt.Genotype(normal={cell}, normal_concat=[2], reduce={cell}, reduce_concat=[2])");
    /// let log = format!("01/01 epoch 1 genotype = {genotype}\n01/01 epoch 2 genotype = {}\n", genotype.replace("_3x3", "_5x5"));
    /// let last = Genotype::find(&log, &Which::Nth(-1)).unwrap();
    /// assert_eq!(last.normal[0][0], ("sep_conv_5x5".to_string(), 0));
    /// let error = Genotype::find(&log, &Which::Only).unwrap_err().to_string();
    /// assert!(error.contains("2 genotypes") && error.contains("line 2"));
    /// ```
    ///
    /// # Errors
    /// None, several where one is meant (the error lists them by line), none of the name or place, and what is wrong with the
    /// one that is meant, by line and column.
    pub fn find(text: &str, which: &Which) -> Result<Genotype, DescError> {
        let mut all = find_all(text);
        if all.is_empty() {
            return Err(error(format!("there is no genotype in the text; {FORM}")));
        }
        let index = choose(
            which,
            all.len(),
            "genotype",
            |i| all[i].name,
            |i| {
                let found = &all[i];
                let line = line_and_column(text, found.at).0;
                let name = match found.name {
                    "" => String::new(),
                    name => format!(" {}", name.chars().take(60).collect::<String>()),
                };
                let what = match &found.read {
                    Ok(_) => "",
                    Err(_) => " (cannot be read)",
                };
                format!("line {line}:{name}{what}")
            },
        )
        .map_err(error)?;
        let genotype = all
            .swap_remove(index)
            .read
            .map_err(|fault| shown(fault, text))?;
        genotype.check()?;
        Ok(genotype)
    }

    /// Whether a text holds something that starts like a genotype.
    pub(super) fn is_in(text: &str) -> bool {
        !find_all(text).is_empty()
    }
}

/// The index of the one that is meant among `n` things, of which there are some. `name` gives the name of one, `line` how a list shows it.
///
/// # Errors
/// The message for a user.
pub(super) fn choose<'a>(
    which: &Which,
    n: usize,
    thing: &str,
    name: impl Fn(usize) -> &'a str,
    line: impl Fn(usize) -> String,
) -> Result<usize, String> {
    let list = || {
        let mut lines: Vec<String> = (0..n.min(LISTED))
            .map(|i| format!("\n  {:>2}  {}", i + 1, line(i)))
            .collect();
        if n > LISTED {
            lines.push(format!("\n  … and {} more", n - LISTED));
        }
        lines.concat()
    };
    match which {
        Which::Only if n == 1 => Ok(0),
        Which::Only => Err(format!(
            "there are {n} {thing}s in the text; choose one by its place (--nth N, -1 is the last) or by its name (--name NAME):{}",
            list()
        )),
        Which::Nth(place) => {
            let count = i64::try_from(n).unwrap_or(i64::MAX);
            let index = match *place {
                place if place > 0 => place - 1,
                place => count.saturating_add(place),
            };
            match usize::try_from(index) {
                Ok(index) if index < n && *place != 0 => Ok(index),
                _ => Err(format!(
                    "there is no {thing} {place}; expected 1 to {n}, or -1 for the last one"
                )),
            }
        }
        Which::Named(wanted) => {
            let mut same = (0..n).filter(|&i| name(i) == wanted.as_str());
            match (same.next(), same.next()) {
                (Some(index), None) => Ok(index),
                (Some(_), Some(_)) => Err(format!(
                    "several {thing}s have the name `{wanted}`; choose by place (--nth N):{}",
                    list()
                )),
                (None, _) => {
                    // A name of a text may be as long as the text; only plausible ones are compared.
                    let known = (0..n).map(&name).filter(|name| name.len() < 100).take(1000);
                    let near = nearest(wanted, known)
                        .map_or_else(String::new, |near| format!(" (did you mean `{near}`?)"));
                    Err(format!(
                        "no {thing} has the name `{wanted}`{near}; there are:{}",
                        list()
                    ))
                }
            }
        }
    }
}

fn shown(fault: Fault, text: &str) -> DescError {
    let fault = Fault {
        message: format!("{}; {FORM}", fault.message),
        ..fault
    };
    fault.of(text, DescErrorKind::Genotype)
}

/// All places that start like a genotype, each read as far as it goes. No part of the text is read more than twice.
fn find_all(text: &str) -> Vec<Found<'_>> {
    let mut all: Vec<Found<'_>> = Vec::new();
    let (mut pos, mut before) = (0, 0);
    let mut line = Line::default();
    while let Some(at) = text[pos..].find(['G', '{']).map(|i| pos + i) {
        pos = at + 1;
        line.advance(text, at);
        if line.is_comment || !starts(&text[at..]) || text[..at].ends_with(is_inner) {
            continue;
        }
        let mut reader = Reader::new(text, at);
        let read = genotype(&mut reader);
        pos = reader.pos.max(pos);
        let name = name_before(&text[before..at]);
        before = pos;
        all.push(Found { at, name, read });
    }
    all
}

/// A word that goes on to the left is another word; a dot is the end of a module's name.
fn is_inner(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// `Genotype(`, or a dictionary whose first key is a part of a genotype.
fn starts(text: &str) -> bool {
    if let Some(rest) = text.strip_prefix("Genotype") {
        return rest.trim_start_matches([' ', '\t']).starts_with('(');
    }
    let Some(rest) = text.strip_prefix('{') else {
        return false;
    };
    let rest = rest.trim_start();
    PARTS.iter().any(|part| {
        ['\'', '"'].iter().any(|quote| {
            let inner = rest.strip_prefix(*quote);
            let inner = inner.and_then(|inner| inner.strip_prefix(part));
            inner.is_some_and(|inner| inner.starts_with(*quote))
        })
    })
}

/// The name in `NAME = module.` or `"NAME": ` at the end of a text.
fn name_before(text: &str) -> &str {
    let text = text.trim_end_matches(|c| is_inner(c) || c == '.');
    let text = text.trim_end_matches(|c: char| c.is_whitespace() || c == '\\');
    let Some(text) = text.strip_suffix(['=', ':']) else {
        return "";
    };
    let text = text.trim_end().trim_end_matches(['\'', '"']);
    let start = text.trim_end_matches(is_inner).len();
    &text[start..]
}

/// Whether the line at a place is a comment; places come in order.
#[derive(Default)]
struct Line {
    upto: usize,
    is_known: bool,
    is_comment: bool,
}

impl Line {
    fn advance(&mut self, text: &str, to: usize) {
        let start = match text[self.upto..to].rfind('\n') {
            Some(end) => self.upto + end + 1,
            None if self.is_known => {
                self.upto = to;
                return;
            }
            None => 0,
        };
        self.is_known = true;
        self.is_comment = text[start..to].trim_start().starts_with('#');
        self.upto = to;
    }
}

impl FromStr for Genotype {
    type Err = DescError;

    /// Reads the text of one genotype in any of the forms; `NAME = ` may stand before it, and its four parts may come in any
    /// order. For one within other text there is [`Genotype::find`].
    fn from_str(text: &str) -> Result<Self, DescError> {
        let fail = |fault: Fault| shown(fault, text);
        let mut reader = Reader::new(text, 0);
        reader.skip();
        let mut ahead = reader.clone();
        let name = ahead.word();
        if last(name) != "Genotype" && !name.is_empty() && ahead.eat('=') {
            reader.pos = ahead.pos;
            reader.skip();
        }
        let genotype = genotype(&mut reader).map_err(fail)?;
        reader.skip();
        if !reader.rest().is_empty() {
            return Err(fail(reader.fault("nothing after the genotype")));
        }
        genotype.check()?;
        Ok(genotype)
    }
}

/// The genotype at the reader's place, not checked yet.
fn genotype(reader: &mut Reader<'_>) -> Result<Genotype, Fault> {
    reader.skip();
    let start = reader.pos;
    let is_dict = reader.rest().starts_with('{');
    if !is_dict && last(reader.clone().word()) != "Genotype" {
        return Err(reader.fault("`Genotype(`"));
    }
    let literal = reader.value()?;
    let entries = match &literal.value {
        Value::Dict(entries) | Value::Call(_, entries) => entries,
        _ => return Err(reader.fault("`(`")),
    };
    let mut parts: [Option<&Literal<'_>>; 4] = [None; 4];
    for (i, entry) in entries.iter().enumerate() {
        let place = match entry.key {
            Some(key) => PARTS.iter().position(|part| *part == key),
            // Python takes arguments without a name by their place.
            None => Some(i).filter(|i| *i < PARTS.len()),
        };
        let Some(place) = place else {
            let expected = "`normal`, `normal_concat`, `reduce` or `reduce_concat`";
            return Err(reader.fault_at(entry.at, expected));
        };
        if parts[place].replace(&entry.value).is_some() {
            let expected = format!("each part once, but `{}` came before", PARTS[place]);
            return Err(reader.fault_at(entry.at, &expected));
        }
    }
    let part = |i: usize| {
        parts[i].ok_or_else(|| Fault::new(start, format!("the part `{}=` is missing", PARTS[i])))
    };
    let (normal_concat, reduce_concat) = (states(reader, part(1)?)?, states(reader, part(3)?)?);
    Ok(Genotype {
        normal: nodes(reader, "normal", part(0)?, &normal_concat)?,
        normal_concat,
        reduce: nodes(reader, "reduce", part(2)?, &reduce_concat)?,
        reduce_concat,
    })
}

/// How the list of a cell is written, as its first entry shows.
enum Edge {
    /// (op, input), whatever its weight.
    Pair(GenotypeEdge),
    /// (op, node, input), the node by its state.
    Triple(usize, GenotypeEdge),
}

fn nodes(
    reader: &Reader<'_>,
    name: &str,
    list: &Literal<'_>,
    concat: &[usize],
) -> Result<Vec<Vec<GenotypeEdge>>, Fault> {
    let Some(items) = list.items() else {
        return Err(reader.fault_at(list.at, "`[`"));
    };
    let is_edge = |item: &Literal<'_>| match item.items() {
        Some([first, ..]) => first.items().is_none(),
        Some([]) => false,
        None => true,
    };
    // By node: every entry is a list of edges.
    if !items.is_empty() && !items.iter().any(is_edge) {
        let node = |item: &Literal<'_>| {
            let edges = item.items().unwrap_or_default().iter();
            edges
                .map(|item| match edge(reader, item)? {
                    Edge::Pair(edge) => Ok(edge),
                    Edge::Triple(..) => Err(reader.fault_at(
                        item.at,
                        "(op, input) within the list of a node, or the edge's weight with a decimal point as a third entry",
                    )),
                })
                .collect()
        };
        return items.iter().map(node).collect();
    }
    let (mut pairs, mut triples) = (Vec::new(), Vec::new());
    for item in items {
        match edge(reader, item)? {
            Edge::Pair(edge) if triples.is_empty() => pairs.push(edge),
            Edge::Triple(node, edge) if pairs.is_empty() => triples.push((node, edge)),
            Edge::Pair(_) => {
                return Err(reader.fault_at(item.at, "(op, node, input), as the entries before it"));
            }
            Edge::Triple(..) => {
                return Err(reader.fault_at(item.at, "(op, input), as the entries before it"));
            }
        }
    }
    if triples.is_empty() {
        return in_pairs(pairs).map_err(|e| Fault::new(list.at, format!("{name}: {}", e.message)));
    }
    // Nodes that only the output names have no edges; the check says what that means.
    let named = triples
        .iter()
        .map(|(node, _)| *node)
        .chain(concat.iter().copied());
    let last = named.max().unwrap_or(0).max(2);
    let mut nodes = vec![Vec::new(); last - 1];
    for (node, edge) in triples {
        nodes[node - 2].push(edge);
    }
    Ok(nodes)
}

fn edge(reader: &Reader<'_>, item: &Literal<'_>) -> Result<Edge, Fault> {
    let (op, rest) = match item.items() {
        Some([op, rest @ ..]) if !rest.is_empty() => (op, rest),
        _ => return Err(reader.fault_at(item.at, "an edge ('op', input)")),
    };
    let name = match op.value {
        Value::Text(name) if !name.is_empty() && name.chars().all(is_word) => name.to_string(),
        Value::Text(_) => return Err(reader.fault_at(op.at, "the name of an op")),
        _ => return Err(reader.fault_at(op.at, "the name of an op in quotes")),
    };
    let state = |item: &Literal<'_>| number(reader, item);
    match rest {
        [input] => Ok(Edge::Pair((name, state(input)?))),
        [input, weight] if is_weight(weight) => Ok(Edge::Pair((name, state(input)?))),
        [node, input] => {
            let at = node.at;
            match (state(node)?, state(input)?) {
                (node, _) if node < 2 => {
                    Err(reader.fault_at(at, "the state of a node, which is 2 or more"))
                }
                (node, input) => Ok(Edge::Triple(node, (name, input))),
            }
        }
        _ => Err(reader.fault_at(item.at, "an edge ('op', input) or ('op', node, input)")),
    }
}

/// A number that is written as no whole number: the strength of an edge, which a found network has no use for.
fn is_weight(item: &Literal<'_>) -> bool {
    let Value::Word(word) = item.value else {
        return false;
    };
    word.contains(['.', 'e']) && word.parse::<f64>().is_ok()
}

fn number(reader: &Reader<'_>, item: &Literal<'_>) -> Result<usize, Fault> {
    match item.number() {
        Some(n) if n <= MAX_STATE => Ok(n),
        _ => Err(reader.fault_at(item.at, "the number of a state")),
    }
}

/// `range(…)`, or a list of states.
fn states(reader: &Reader<'_>, item: &Literal<'_>) -> Result<Vec<usize>, Fault> {
    let number = |item: &Literal<'_>| number(reader, item);
    if let Value::Call(name, arguments) = &item.value {
        let values: Vec<&Literal<'_>> = arguments
            .iter()
            .filter(|entry| entry.key.is_none())
            .map(|Entry { value, .. }| value)
            .collect();
        if last(name) == "range" && values.len() == arguments.len() {
            return match values.as_slice() {
                [to] => Ok((0..number(to)?).collect()),
                [from, to] => Ok((number(from)?..number(to)?).collect()),
                _ => Err(reader.fault_at(item.at, "range(FIRST, END)")),
            };
        }
        // list(range(2, 6))
        if let ("list" | "tuple", [inner]) = (*name, values.as_slice())
            && let Value::Call(inner_name, _) = &inner.value
            && last(inner_name) == "range"
        {
            return states(reader, inner);
        }
    }
    match item.items() {
        Some(items) => items.iter().map(number).collect(),
        None => Err(reader.fault_at(item.at, "`[` or `range(`")),
    }
}
