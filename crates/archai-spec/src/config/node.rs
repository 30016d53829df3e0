//! The tree that YAML becomes. Every node remembers where it was written, and scalars stay text until the schema says
//! what they are, so that `123` on the command line can be a name and `1e-3` in a file is a number.

use super::source::SHIPPED;
use indexmap::IndexMap;
use std::fmt;
use std::sync::Arc;

/// Key of a section whose missing keys come from the section that it names.
pub(crate) const COPY: &str = "_copy";

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// In a file. For an entry of a section, the position is the key's.
    File {
        /// File name as it was given; shipped files are called `archai:…`.
        file: Arc<str>,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        col: usize,
    },
    /// On the command line, as typed.
    Flag(Arc<str>),
    /// By the program, which says why.
    Program(Arc<str>),
}

impl Origin {
    /// Whether it is a file that comes with the program, and not a choice of the user's.
    pub fn is_shipped(&self) -> bool {
        matches!(self, Origin::File { file, .. } if file.starts_with(SHIPPED))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { file, line, col } => write!(f, "{file}:{line}:{col}"),
            Origin::Flag(flag) => write!(f, "`{flag}`"),
            Origin::Program(why) => write!(f, "{why}"),
        }
    }
}

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it was written.
    pub origin: Origin,
}

/// A YAML value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text, number, truth value or null: the schema decides.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the file.
    Section(IndexMap<String, Node>),
}

/// A scalar as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    /// Text, without quotes.
    pub text: String,
    /// How it was written, which decides how freely it may be read.
    pub style: Style,
}

/// How a scalar was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Bare in a file: read by YAML 1.2's core schema.
    Plain,
    /// In quotes or as a block: always text.
    Quoted,
    /// Bare on the command line: read as whatever the key wants.
    Flag,
}

/// What YAML 1.2's core schema makes of a bare scalar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// A number.
    Float(f64),
    /// Anything else.
    Text,
}

impl Scalar {
    /// The text for a message, which has one line: of several the first.
    pub(super) fn shown(&self) -> String {
        match self.text.split_once('\n') {
            Some((first, _)) => format!("{first} …"),
            None => self.text.clone(),
        }
    }

    /// What a file's reader would take it for.
    pub fn kind(&self) -> Kind {
        if self.style == Style::Quoted {
            Kind::Text
        } else {
            kind(&self.text)
        }
    }

    /// The path of a value copy, `'_copy: /a/b'`.
    pub(crate) fn copied(&self) -> Option<&str> {
        self.text.strip_prefix("_copy:").map(str::trim)
    }
}

fn kind(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
        "true" | "True" | "TRUE" => return Kind::Bool(true),
        "false" | "False" | "FALSE" => return Kind::Bool(false),
        ".inf" | "+.inf" | ".Inf" | ".INF" => return Kind::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Kind::Float(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => return Kind::Float(f64::NAN),
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if let Some(hex) = text.strip_prefix("0x") {
        return i128::from_str_radix(hex, 16).map_or(Kind::Text, Kind::Int);
    }
    if let Some(octal) = text.strip_prefix("0o") {
        return i128::from_str_radix(octal, 8).map_or(Kind::Text, Kind::Int);
    }
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().map_or(Kind::Text, Kind::Int);
    }
    let numeric = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits
            .bytes()
            .all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    if numeric {
        text.parse().map_or(Kind::Text, Kind::Float)
    } else {
        Kind::Text
    }
}

impl Node {
    /// An empty section.
    pub(crate) fn section(origin: Origin) -> Self {
        Node {
            value: Value::Section(IndexMap::new()),
            origin,
        }
    }

    /// A scalar.
    pub(crate) fn scalar(text: impl Into<String>, style: Style, origin: Origin) -> Self {
        Node {
            value: Value::Scalar(Scalar {
                text: text.into(),
                style,
            }),
            origin,
        }
    }

    /// The node at a dotted path below this one; list elements are named by their index.
    pub fn at(&self, path: &str) -> Option<&Node> {
        path.split('.')
            .filter(|part| !part.is_empty())
            .try_fold(self, |node, part| node.child(part))
    }

    pub(crate) fn child(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Section(map) => map.get(key),
            Value::List(items) => items.get(key.parse::<usize>().ok()?),
            Value::Scalar(_) => None,
        }
    }

    /// What stands at a dotted path below this one.
    pub(super) fn at_mut(&mut self, path: &str) -> Option<&mut Node> {
        let mut parts = path.split('.').filter(|part| !part.is_empty());
        parts.try_fold(self, |node, part| match &mut node.value {
            Value::Section(map) => map.get_mut(part),
            Value::List(items) => items.get_mut(part.parse::<usize>().ok()?),
            Value::Scalar(_) => None,
        })
    }

    /// Takes away what stands at a path below this one, if anything does.
    pub(super) fn remove(&mut self, path: &[String]) {
        let Some((last, above)) = path.split_last() else {
            return;
        };
        let holder = above
            .iter()
            .try_fold(self, |node, key| match &mut node.value {
                Value::Section(map) => map.get_mut(key),
                _ => None,
            });
        if let Some(Node {
            value: Value::Section(map),
            ..
        }) = holder
        {
            map.shift_remove(last);
        }
    }

    /// The entries of a section.
    pub fn entries(&self) -> Option<&IndexMap<String, Node>> {
        match &self.value {
            Value::Section(map) => Some(map),
            _ => None,
        }
    }

    /// Number of nodes, this one included.
    pub(super) fn count(&self) -> usize {
        1 + match &self.value {
            Value::Scalar(_) => 0,
            Value::List(items) => items.iter().map(Node::count).sum(),
            Value::Section(map) => map.values().map(Node::count).sum::<usize>(),
        }
    }

    /// Lays a stronger tree over this one. A section merges into a section, key by key; anything else, lists included,
    /// replaces. A section laid over a value copy becomes a node copy of the same path, so that a layer may adjust a
    /// part of what a weaker one copies.
    pub fn merge(&mut self, over: Node) {
        if let (Value::Scalar(scalar), Value::Section(_)) = (&self.value, &over.value)
            && let Some(path) = scalar.copied()
        {
            let mut copying = Node::section(self.origin.clone());
            let path = Node::scalar(path, Style::Quoted, self.origin.clone());
            if let Value::Section(map) = &mut copying.value {
                map.insert(COPY.to_owned(), path);
            }
            *self = copying;
        }
        match (&mut self.value, over.value) {
            (Value::Section(base), Value::Section(over)) => {
                for (key, node) in over {
                    match base.get_mut(&key) {
                        Some(below) => below.merge(node),
                        None => {
                            base.insert(key, node);
                        }
                    }
                }
            }
            (base, value) => {
                *base = value;
                self.origin = over.origin;
            }
        }
    }

    /// What a person would call it in an error message.
    pub fn found(&self) -> String {
        match &self.value {
            Value::List(items) => format!("a list of {}", items.len()),
            Value::Section(_) => "a section".to_owned(),
            Value::Scalar(scalar) => match scalar.kind() {
                _ if scalar.style == Style::Flag => format!("`{}`", scalar.text),
                Kind::Null => "nothing (null)".to_owned(),
                Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) => format!("`{}`", scalar.text),
                Kind::Text => format!("the text `{}`", scalar.shown()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_scalars_follow_the_core_schema() {
        let table = [
            ("", Kind::Null),
            ("~", Kind::Null),
            ("True", Kind::Bool(true)),
            ("yes", Kind::Text),
            ("12", Kind::Int(12)),
            ("-3", Kind::Int(-3)),
            ("0x1F", Kind::Int(31)),
            ("0o17", Kind::Int(15)),
            ("1e-3", Kind::Float(1e-3)),
            (".5", Kind::Float(0.5)),
            ("3e-4", Kind::Float(3e-4)),
            ("1.2.3", Kind::Text),
            ("infinity", Kind::Text),
            (".inf", Kind::Float(f64::INFINITY)),
            ("-", Kind::Text),
            (".", Kind::Text),
            ("e5", Kind::Text),
            ("99999999999999999999999999999999999999999", Kind::Text),
        ];
        for (text, expect) in table {
            assert_eq!(kind(text), expect, "{text:?}");
        }
    }
}
