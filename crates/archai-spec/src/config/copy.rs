//! Resolving `_copy`. A section that holds `_copy: PATH` gets every key that it lacks from the section at PATH, at any
//! depth; a value `'_copy: PATH'` is replaced by the value at PATH. Paths have `/` between keys; a leading `/` starts
//! at the top of the tree, otherwise the path starts at the copying section or value itself, so `../x` is a sibling.
//!
//! The order in which sections stand in the files does not matter, because nothing is copied in place: the value at a
//! path is looked up in a *view*, the list of written sections that contribute to it, strongest first. A view is built
//! from the view of the parent, and a view that needs itself is a circle.

use super::error::{ConfigError, did_you_mean};
use super::node::{COPY, Kind, Node, Scalar, Style, Value};
use super::yaml::{MAX_DEPTH, MAX_NODES};
use crate::names::similar;
use indexmap::IndexMap;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// Longest chain of copies of copies, far above any configuration and far below the end of the stack.
const MAX_CHAIN: usize = 256;

/// Resolves all copies of a tree.
pub(crate) fn resolve(mut root: Node) -> Result<Node, ConfigError> {
    make_absolute(&mut root, &mut Vec::new())?;
    let mut resolver = Resolver {
        root: &root,
        views: HashMap::new(),
        active: Vec::new(),
        chain: Vec::new(),
        nodes: 0,
    };
    resolver.node(&mut Vec::new())
}

/// The sections that copy others, with the sections that they copy, by dotted paths. What is wrong with a copy is left to
/// [`resolve`].
pub(super) fn section_copies(root: &Node) -> Vec<(String, String)> {
    fn walk(node: &Node, path: &mut Vec<String>, all: &mut Vec<(String, String)>) {
        for (key, child) in node.entries().into_iter().flatten() {
            match &child.value {
                Value::Scalar(scalar) if key == COPY => {
                    let target = scalar.copied().unwrap_or(&scalar.text);
                    if let Ok(target) = absolute(target, path) {
                        all.push((path.join("."), split(&target).join(".")));
                    }
                }
                _ => {
                    path.push(key.clone());
                    walk(child, path, all);
                    path.pop();
                }
            }
        }
    }
    let mut all = Vec::new();
    walk(root, &mut Vec::new(), &mut all);
    all
}

/// Rewrites relative copy paths, which mean the place where they were written, as absolute ones.
fn make_absolute(node: &mut Node, path: &mut Vec<String>) -> Result<(), ConfigError> {
    let origin = node.origin.clone();
    match &mut node.value {
        Value::Scalar(scalar) => {
            if let Some(target) = scalar.copied() {
                let target = absolute(target, path)
                    .map_err(|m| ConfigError::at(&origin, path.join("."), m))?;
                scalar.text = format!("_copy: {target}");
            }
        }
        Value::List(items) => {
            for (i, item) in items.iter_mut().enumerate() {
                path.push(i.to_string());
                make_absolute(item, path)?;
                path.pop();
            }
        }
        Value::Section(map) => {
            // `_copy: null` takes away the copy that a weaker layer asked for.
            if matches!(map.get(COPY), Some(Node { value: Value::Scalar(s), .. }) if is_null(s)) {
                map.shift_remove(COPY);
            }
            for (key, child) in map.iter_mut() {
                if key != COPY {
                    path.push(key.clone());
                    make_absolute(child, path)?;
                    path.pop();
                    continue;
                }
                let key = path.join(".");
                let Value::Scalar(scalar) = &mut child.value else {
                    let message = format!(
                        "`_copy` expects a path such as `/dataset`, found {}",
                        child.found()
                    );
                    return Err(ConfigError::at(&child.origin, key, message));
                };
                let target = scalar.copied().unwrap_or(&scalar.text).to_owned();
                scalar.text =
                    absolute(&target, path).map_err(|m| ConfigError::at(&child.origin, key, m))?;
                scalar.style = Style::Quoted;
            }
        }
    }
    Ok(())
}

fn is_null(scalar: &Scalar) -> bool {
    scalar.kind() == Kind::Null
}

fn absolute(target: &str, from: &[String]) -> Result<String, String> {
    let mut parts = if target.starts_with('/') {
        Vec::new()
    } else {
        from.to_vec()
    };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                if parts.pop().is_none() {
                    let start = show(from);
                    return Err(format!(
                        "`_copy: {target}` climbs above the top of the tree; it starts at {start}"
                    ));
                }
            }
            part => parts.push(part.to_owned()),
        }
    }
    if from.starts_with(&parts) {
        return Err(format!(
            "copying runs in a circle: {} → {}, which contains it (`_copy: {target}`)",
            show(from),
            show(&parts)
        ));
    }
    Ok(show(&parts))
}

fn show(path: &[String]) -> String {
    format!("/{}", path.join("/"))
}

fn split(path: &str) -> Vec<String> {
    path.split('/')
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Why a view cannot be had.
enum Fault {
    /// The path leads nowhere; the copy that asked for it is to blame.
    Missing(String),
    /// An error that is complete.
    Error(ConfigError),
}

type View<'a> = Rc<Vec<&'a Node>>;

struct Resolver<'a> {
    root: &'a Node,
    views: HashMap<Vec<String>, View<'a>>,
    active: Vec<Vec<String>>,
    chain: Vec<String>,
    nodes: usize,
}

impl<'a> Resolver<'a> {
    /// The resolved value at a path that exists.
    fn node(&mut self, path: &mut Vec<String>) -> Result<Node, ConfigError> {
        self.chain = vec![show(path)];
        let view = self.view(path).map_err(|fault| match fault {
            Fault::Missing(message) => ConfigError::at(&self.root.origin, path.join("."), message),
            Fault::Error(error) => error,
        })?;
        let first = view[0];
        self.nodes += 1;
        if path.len() > MAX_DEPTH || self.nodes > MAX_NODES {
            return Err(self.endless(path, first));
        }
        let value = match &first.value {
            Value::Scalar(scalar) => Value::Scalar(scalar.clone()),
            Value::List(items) => {
                let mut resolved = Vec::with_capacity(items.len());
                for i in 0..items.len() {
                    path.push(i.to_string());
                    resolved.push(self.node(path)?);
                    path.pop();
                }
                Value::List(resolved)
            }
            Value::Section(_) => {
                let mut resolved = IndexMap::new();
                for key in view
                    .iter()
                    .filter_map(|node| node.entries())
                    .flat_map(IndexMap::keys)
                {
                    if key != COPY && !resolved.contains_key(key) {
                        path.push(key.clone());
                        resolved.insert(key.clone(), self.node(path)?);
                        path.pop();
                    }
                }
                Value::Section(resolved)
            }
        };
        Ok(Node {
            value,
            origin: first.origin.clone(),
        })
    }

    /// Copies that contain one another make a tree without end: names the copies on the way to a path that is too deep.
    fn endless(&self, path: &[String], node: &Node) -> ConfigError {
        let mut copies: Vec<String> = Vec::new();
        let above = (0..=path.len()).filter_map(|end| self.views.get(&path[..end]));
        for holder in above
            .flat_map(|view| view.iter())
            .filter_map(|node| node.child(COPY))
        {
            if let Value::Scalar(target) = &holder.value {
                let copy = format!("`_copy: {}` at {}", target.text, holder.origin);
                if !copies.contains(&copy) {
                    copies.push(copy);
                }
            }
        }
        let message = format!(
            "copying never ends, because these contain one another: {}",
            copies.join(", ")
        );
        ConfigError::at(&node.origin, path[..path.len().min(8)].join("."), message)
    }

    /// What was written for a path, strongest first: one value that is not a section, or sections.
    fn view(&mut self, path: &[String]) -> Result<View<'a>, Fault> {
        if let Some(view) = self.views.get(path) {
            return Ok(view.clone());
        }
        if self.active.iter().any(|active| active == path) {
            let origin = self
                .root
                .at(&path.join("."))
                .unwrap_or(self.root)
                .origin
                .clone();
            let mut chain = self.chain.clone();
            chain.push(show(path));
            chain.dedup();
            let message = format!("copying runs in a circle: {}", chain.join(" → "));
            return Err(Fault::Error(ConfigError::at(
                &origin,
                path.join("."),
                message,
            )));
        }
        if self.active.len() >= MAX_CHAIN {
            let origin = self
                .root
                .at(&path.join("."))
                .unwrap_or(self.root)
                .origin
                .clone();
            let start: Vec<&str> = self.chain.iter().take(4).map(String::as_str).collect();
            let message = format!(
                "more than {MAX_CHAIN} copies of copies: {} → …; copy from nearer the source",
                start.join(" → ")
            );
            return Err(Fault::Error(ConfigError::at(
                &origin,
                path.join("."),
                message,
            )));
        }
        self.active.push(path.to_vec());
        let written = match path.split_last() {
            None => vec![self.root],
            Some((key, parent)) => {
                let parents = self.view(parent)?;
                let found: Vec<&Node> = parents.iter().filter_map(|node| node.child(key)).collect();
                if found.is_empty() {
                    return Err(Fault::Missing(nothing_at(key, parent, &parents)));
                }
                found
            }
        };
        let (mut view, mut seen): (Vec<&Node>, _) = (Vec::new(), HashSet::new());
        for node in written {
            self.expand(node, path, &mut view, &mut seen)?;
        }
        let sections = view
            .iter()
            .take_while(|node| node.entries().is_some())
            .count();
        view.truncate(sections.max(1));
        self.active.pop();
        let view = Rc::new(view);
        self.views.insert(path.to_vec(), view.clone());
        Ok(view)
    }

    /// Appends a written node and what it copies. A node that came before is stronger there and adds nothing: without
    /// this, copies of copies would double the view at every step.
    fn expand(
        &mut self,
        node: &'a Node,
        path: &[String],
        view: &mut Vec<&'a Node>,
        seen: &mut HashSet<*const Node>,
    ) -> Result<(), Fault> {
        if !seen.insert(node) {
            return Ok(());
        }
        let (target, holder, whole) = match &node.value {
            Value::Scalar(scalar) => match scalar.copied() {
                Some(target) => (target, node, false),
                None => {
                    view.push(node);
                    return Ok(());
                }
            },
            Value::List(_) => {
                view.push(node);
                return Ok(());
            }
            Value::Section(map) => {
                view.push(node);
                match map.get(COPY) {
                    Some(
                        holder @ Node {
                            value: Value::Scalar(scalar),
                            ..
                        },
                    ) => (scalar.text.as_str(), holder, true),
                    _ => return Ok(()),
                }
            }
        };
        let fail = |message| Fault::Error(ConfigError::at(&holder.origin, path.join("."), message));
        self.chain.push(target.to_owned());
        let copied = match self.view(&split(target)) {
            Ok(copied) => copied,
            Err(Fault::Missing(message)) => {
                return Err(fail(format!("`_copy: {target}`: {message}")));
            }
            Err(error) => return Err(error),
        };
        self.chain.pop();
        if whole && copied[0].entries().is_none() {
            let found = copied[0].found();
            return Err(fail(format!(
                "`_copy: {target}` in a section expects a section there, found {found}"
            )));
        }
        view.extend(copied.iter().filter(|node| seen.insert(**node)));
        Ok(())
    }
}

fn nothing_at(key: &str, parent: &[String], parents: &[&Node]) -> String {
    let mut names: Vec<&str> = parents
        .iter()
        .filter_map(|node| node.entries())
        .flat_map(|map| map.keys().map(String::as_str))
        .collect();
    names.retain(|name| *name != COPY);
    if names.is_empty() {
        return format!(
            "{} is {}, it has no `{key}`",
            show(parent),
            parents[0].found()
        );
    }
    let guess = did_you_mean(&similar(key, names.iter().copied()));
    format!(
        "{} has no `{key}`{guess} (there: {})",
        show(parent),
        names.join(", ")
    )
}
