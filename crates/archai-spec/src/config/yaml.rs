//! YAML text to a [`Node`] tree: the only module that knows the YAML crate. It builds on the crate's event stream,
//! because only that keeps the position and the notation of every scalar.
//!
//! Accepted is what a configuration needs: one document, text keys, no tags (they would ask for types; ours come from
//! the schema), no duplicate keys, anchors and aliases within bounds.

use super::error::ConfigError;
use super::node::{Node, Origin, Scalar, Style, Value};
use indexmap::IndexMap;
use serde_saphyr::granit_parser::{self, Event, Parser, ScalarStyle, Span};
use std::collections::HashMap;
use std::sync::Arc;

/// A configuration has a few hundred nodes; this bounds what aliases can multiply.
pub(super) const MAX_NODES: usize = 100_000;
/// Deepest nesting, far above any configuration and far below the end of the stack.
pub(super) const MAX_DEPTH: usize = 64;

/// Reads a file's text; an empty file is an empty section.
pub(super) fn parse_file(name: &Arc<str>, text: &str) -> Result<Node, ConfigError> {
    let at = |line, col| Origin::File {
        file: name.clone(),
        line,
        col,
    };
    let node = Reader::new(text, &at, Style::Plain).document()?;
    match node.value {
        Value::Section(_) => Ok(node),
        Value::Scalar(Scalar {
            ref text,
            style: Style::Plain,
        }) if text.is_empty() => Ok(Node::section(node.origin)),
        _ => Err(ConfigError::at(
            &node.origin,
            "",
            format!(
                "expected a section (`key: value` lines) at the top of the file, found {}",
                node.found()
            ),
        )),
    }
}

/// Reads a value from the command line: text that opens as a list, a section or a quoted string is YAML, all else is
/// one scalar as it stands.
pub(super) fn parse_flag(flag: &Arc<str>, text: &str) -> Result<Node, ConfigError> {
    let origin = Origin::Flag(flag.clone());
    if text.starts_with(['[', '{', '"', '\'']) {
        let at = |_, _| origin.clone();
        Reader::new(text, &at, Style::Flag).document()
    } else {
        Ok(Node::scalar(text, Style::Flag, origin))
    }
}

struct Reader<'a> {
    events: Parser<'a, granit_parser::StrInput<'a>>,
    at: &'a dyn Fn(usize, usize) -> Origin,
    bare: Style,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, at: &'a dyn Fn(usize, usize) -> Origin, bare: Style) -> Self {
        let options = granit_parser::options! {
            emit_comments: false,
            flow_nesting_limit: MAX_DEPTH / 2,
            block_nesting_limit: MAX_DEPTH / 2,
        };
        let events = Parser::new_from_str_with_options(text, options);
        Self {
            events,
            at,
            bare,
            anchors: HashMap::new(),
            nodes: 0,
        }
    }

    fn origin(&self, span: &Span) -> Origin {
        (self.at)(span.start.line(), span.start.col() + 1)
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), ConfigError> {
        match self.events.next() {
            Some(Ok(next)) => Ok(next),
            Some(Err(e)) => {
                let origin = (self.at)(e.marker().line(), e.marker().col() + 1);
                Err(ConfigError::at(
                    &origin,
                    "",
                    format!("not valid YAML: {}", e.info()),
                ))
            }
            None => Err(ConfigError::at(
                &(self.at)(1, 1),
                "",
                "not valid YAML: the text ends too early",
            )),
        }
    }

    fn document(mut self) -> Result<Node, ConfigError> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(..) if root.is_some() => {
                    return Err(ConfigError::at(
                        &self.origin(&span),
                        "",
                        "a second document starts here (`---`); expected one document per file",
                    ));
                }
                Event::DocumentStart(..) => {}
                event => root = Some(self.node(event, &span)?),
            }
        }
        Ok(root.unwrap_or_else(|| Node::scalar("", Style::Plain, (self.at)(1, 1))))
    }

    fn node(&mut self, event: Event<'a>, span: &Span) -> Result<Node, ConfigError> {
        let origin = self.origin(span);
        if let Some(tag) = event.tag() {
            let start = span.tag_start().unwrap_or(span.start);
            let message = format!(
                "the YAML tag `{}{}` is not accepted: types come from the key; remove the tag",
                tag.original_handle(),
                tag.suffix()
            );
            return Err(ConfigError::at(
                &(self.at)(start.line(), start.col() + 1),
                "",
                message,
            ));
        }
        self.nodes += 1;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, _) => {
                let style = if style == ScalarStyle::Plain {
                    self.bare
                } else {
                    Style::Quoted
                };
                (
                    Value::Scalar(Scalar {
                        text: text.into_owned(),
                        style,
                    }),
                    anchor,
                )
            }
            Event::SequenceStart(_, anchor, _) => (self.list()?, anchor),
            Event::MappingStart(_, anchor, _) => (self.section()?, anchor),
            Event::Alias(id) => {
                let Some(target) = self.anchors.get(&id) else {
                    return Err(ConfigError::at(
                        &origin,
                        "",
                        "this alias names a section that contains it",
                    ));
                };
                self.nodes += target.count();
                (target.value.clone(), 0)
            }
            other => {
                return Err(ConfigError::at(
                    &origin,
                    "",
                    format!("not valid YAML: unexpected {other:?}"),
                ));
            }
        };
        if self.nodes > MAX_NODES {
            let message =
                format!("more than {MAX_NODES} values in one file; aliases multiply them");
            return Err(ConfigError::at(&origin, "", message));
        }
        let node = Node { value, origin };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self) -> Result<Value, ConfigError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                (event, span) => items.push(self.node(event, &span)?),
            }
        }
    }

    fn section(&mut self) -> Result<Value, ConfigError> {
        let mut map: IndexMap<String, Node> = IndexMap::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Value::Section(map));
            }
            let key = self.node(event, &span)?;
            let Value::Scalar(Scalar { text: name, .. }) = key.value else {
                return Err(ConfigError::at(
                    &key.origin,
                    "",
                    format!("expected a key, found {}", key.found()),
                ));
            };
            if let Some(first) = map.get(&name) {
                let message = format!(
                    "the key `{name}` stands twice in this section; the first is at {}",
                    first.origin
                );
                return Err(ConfigError::at(&key.origin, name, message));
            }
            let (event, span) = self.next()?;
            let value = self.node(event, &span)?.value;
            map.insert(
                name,
                Node {
                    value,
                    origin: key.origin,
                },
            );
        }
    }
}
