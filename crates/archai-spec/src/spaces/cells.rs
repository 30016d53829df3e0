//! Spaces whose choices are the mixed edges of a supernet: what [`super::Space`] does unless a space knows better.

use std::collections::BTreeMap;

use crate::desc::{CellDesc, DescError, DescErrorKind, EdgeDesc, ModelDesc};
use crate::finalize::{Choice, NodeRule, Supernet};
use crate::rng::Key;

use super::Count;

/// What each node of an owning cell keeps, sorted, by (cell, node). Nodes without mixed edges are missing.
pub type Choices = BTreeMap<(usize, usize), Vec<Choice>>;

/// Most nodes of a cell whose orders are all tried for the canonical form: 7! = 5,040.
const MAX_ORDERED: usize = 7;

/// A description that is none of a space.
pub fn outside(message: impl Into<String>) -> DescError {
    DescError::new(DescErrorKind::Structure, message)
}

/// The nodes that own a choice, each with all that it may choose from.
fn owned(supernet: Supernet<'_>) -> Result<Choices, DescError> {
    let mut all = Choices::new();
    for (c, cell) in supernet.desc.cells.iter().enumerate() {
        for n in (0..cell.nodes.len()).filter(|_| cell.alphas_from == c) {
            let choices = supernet.choices(c, n)?;
            if !choices.is_empty() {
                all.insert((c, n), choices);
            }
        }
    }
    match all.is_empty() {
        true => Err(outside(
            "the search space has no mixed edge, so there is nothing to draw; choose a space with ops to choose from",
        )),
        false => Ok(all),
    }
}

/// Every node keeps as many choices as it may, drawn as [`Supernet::random_node`] says.
///
/// # Errors
/// The supernet has no choices.
pub fn draw(supernet: Supernet<'_>, rule: NodeRule, key: &Key) -> Result<ModelDesc, DescError> {
    owned(supernet)?;
    supernet.random(rule, key)
}

/// The network in which nodes keep these choices.
///
/// # Errors
/// A choice that the supernet does not have.
pub fn with_choices(supernet: Supernet<'_>, choices: &Choices) -> Result<ModelDesc, DescError> {
    supernet.each_node(|cell, node| {
        let owner = supernet.desc.cells[cell].alphas_from;
        let kept = choices.get(&(owner, node)).map_or(&[][..], Vec::as_slice);
        supernet.node_of_choices(cell, node, kept)
    })
}

/// The choices by which a description came from a supernet.
///
/// # Errors
/// It did not: an edge that is no choice, choices that the rule does not allow together, more than `max_final_edges`, cells
/// of one kind that differ, another macro structure.
pub fn choices_of(
    supernet: Supernet<'_>,
    rule: NodeRule,
    desc: &ModelDesc,
) -> Result<Choices, DescError> {
    let mut all = owned(supernet)?;
    for (&(c, n), choices) in &mut all {
        let at = |e: DescError| e.at(format!("cell {c}, node {n}"));
        let node = desc.cells.get(c).and_then(|cell| cell.nodes.get(n));
        let node =
            node.ok_or_else(|| at(outside("the supernet has this node, the network not")))?;
        let mut fixed = supernet.node_of_choices(c, n, &[])?.edges;
        let mut kept: Vec<Choice> = Vec::new();
        for (e, edge) in node.edges.iter().enumerate() {
            if let Some(i) = fixed.iter().position(|f| f == edge) {
                fixed.swap_remove(i);
                continue;
            }
            let mut found = None;
            for choice in choices.iter().filter(|choice| !kept.contains(choice)) {
                let more = [&kept[..], &[*choice]].concat();
                if supernet.edge_of_choice(c, n, *choice)? == *edge && rule.allows(&more) {
                    found = Some(*choice);
                    break;
                }
            }
            kept.push(found.ok_or_else(|| {
                at(outside(format!(
                    "edge {e} (`{}` of {:?}) is no choice of the space beside the other edges",
                    edge.op.name, edge.inputs
                )))
            })?);
        }
        if kept.len() > supernet.desc.max_final_edges {
            return Err(at(outside(format!(
                "keeps {} edges; the space allows {} (`max_final_edges`)",
                kept.len(),
                supernet.desc.max_final_edges
            ))));
        }
        kept.sort_unstable();
        *choices = kept;
    }
    let mut expected = with_choices(supernet, &all)?;
    // The order of a node's edges is free.
    for (expected, given) in expected.cells.iter_mut().zip(&desc.cells) {
        for (expected, given) in expected.nodes.iter_mut().zip(&given.nodes) {
            if same_edges(&expected.edges, &given.edges) {
                expected.edges.clone_from(&given.edges);
            }
        }
    }
    same_frame(&expected, desc)?;
    Ok(all)
}

fn same_edges(a: &[EdgeDesc], b: &[EdgeDesc]) -> bool {
    let mut rest: Vec<&EdgeDesc> = b.iter().collect();
    a.len() == b.len()
        && a.iter().all(|edge| {
            let place = rest.iter().position(|other| *other == edge);
            place.map(|i| rest.swap_remove(i)).is_some()
        })
}

/// Whether a description is the expected one; the error names the first cell that differs.
///
/// # Errors
/// It is not.
pub fn same_frame(expected: &ModelDesc, given: &ModelDesc) -> Result<(), DescError> {
    if expected == given {
        return Ok(());
    }
    let cells = expected.cells.iter().zip(&given.cells);
    let differs = cells.enumerate().find(|(_, (a, b))| a != b);
    Err(match differs {
        Some((i, (a, b))) => {
            let nodes = a.nodes.iter().zip(&b.nodes).position(|(a, b)| a != b);
            let what = match nodes {
                Some(n) => {
                    format!("node {n} has other edges than the choices of its kind of cell give")
                }
                None => "its stems, nodes, post op or output are not the supernet's".to_string(),
            };
            outside(what).at(format!("cell {i}"))
        }
        None => outside(
            "image, stems, number of cells, pool or classifier are not the supernet's; compare networks at the search's size",
        ),
    })
}

/// A network with one choice of one node replaced, each replacement as likely.
///
/// # Errors
/// The network is none of the space, or nothing can be replaced.
pub fn mutate(
    supernet: Supernet<'_>,
    rule: NodeRule,
    desc: &ModelDesc,
    key: &Key,
) -> Result<ModelDesc, DescError> {
    let mut kept = choices_of(supernet, rule, desc)?;
    let mut changes = Vec::new();
    for (&place, all) in &owned(supernet)? {
        let old = &kept[&place];
        for (i, new) in (0..old.len()).flat_map(|i| all.iter().map(move |new| (i, *new))) {
            let mut changed = old.clone();
            changed[i] = new;
            if !old.contains(&new) && rule.allows(&changed) {
                changed.sort_unstable();
                changes.push((place, changed));
            }
        }
    }
    let n = u32::try_from(changes.len()).unwrap_or(u32::MAX);
    let drawn = key.rng().uniform_u32_below(n) as usize;
    let Some((place, changed)) = changes.into_iter().nth(drawn) else {
        return Err(outside(
            "the network has no neighbour: no node has another choice",
        ));
    };
    kept.insert(place, changed);
    with_choices(supernet, &kept)
}

/// The number of ways in which all nodes keep as many choices as they may.
///
/// # Errors
/// The supernet has no choices.
pub fn count(supernet: Supernet<'_>, rule: NodeRule) -> Result<Count, DescError> {
    let nodes = owned(supernet)?.into_values().map(|choices| {
        let groups = match rule {
            NodeRule::AnyOps => vec![1; choices.len()],
            NodeRule::OneOpPerEdge => {
                let mut of_edge: BTreeMap<usize, u32> = BTreeMap::new();
                for choice in &choices {
                    *of_edge.entry(choice.edge).or_default() += 1;
                }
                of_edge.into_values().collect()
            }
        };
        ways(&groups, supernet.desc.max_final_edges)
    });
    Ok(nodes.fold(Count::of(1), Count::times))
}

/// In how many ways `k` groups can be chosen and one member of each, or of all groups where there are fewer: the elementary
/// symmetric polynomial of the groups' sizes.
fn ways(groups: &[u32], k: usize) -> Count {
    let k = k.min(groups.len());
    let mut exact = vec![Some(0u128); k + 1];
    let mut rough = vec![0.0f64; k + 1];
    (exact[0], rough[0]) = (Some(1), 1.0);
    for &size in groups {
        for j in (1..=k).rev() {
            let more = exact[j - 1].and_then(|n| n.checked_mul(size.into()));
            exact[j] = exact[j].zip(more).and_then(|(a, b)| a.checked_add(b));
            rough[j] += rough[j - 1] * f64::from(size);
        }
    }
    Count {
        exact: exact[k],
        log10: rough[k].log10(),
    }
}

/// The cells of an architecture as a text that does not depend on the order of edges, nor, in cells of at most seven nodes, on
/// that of nodes: all orders are tried, and the first text by the alphabet counts.
pub fn canonical(desc: &ModelDesc) -> String {
    let owners = desc.cells.iter().enumerate();
    let owners = owners.filter(|(c, cell)| cell.alphas_from == *c);
    let texts = owners.map(|(_, cell)| format!("{}: {}", cell.cell_type, canonical_cell(cell)));
    texts.collect::<Vec<_>>().join("; ")
}

fn canonical_cell(cell: &CellDesc) -> String {
    // A node without edges repeats the state before it, so its place counts.
    let fixed = cell.nodes.len() > MAX_ORDERED || cell.nodes.iter().any(|n| n.edges.is_empty());
    if fixed {
        return written(cell, &(0..cell.nodes.len()).collect::<Vec<_>>());
    }
    let mut best = None;
    each_order(cell, &mut Vec::new(), &mut |order| {
        let text = written(cell, order);
        if best.as_ref().is_none_or(|best| text < *best) {
            best = Some(text);
        }
    });
    best.unwrap_or_default()
}

/// Every order of the nodes in which each reads earlier states alone.
fn each_order(cell: &CellDesc, order: &mut Vec<usize>, visit: &mut dyn FnMut(&[usize])) {
    let (inputs, n) = (cell.stems.len(), cell.nodes.len());
    if order.len() == n {
        return visit(order);
    }
    for node in 0..n {
        let mut reads = cell.nodes[node].edges.iter().flat_map(|e| &e.inputs);
        let ready = reads.all(|&s| s < inputs || order.contains(&(s - inputs)));
        if !order.contains(&node) && ready {
            order.push(node);
            each_order(cell, order, visit);
            order.pop();
        }
    }
}

/// A cell whose nodes come in this order.
fn written(cell: &CellDesc, order: &[usize]) -> String {
    let inputs = cell.stems.len();
    let state = |s: usize| match s.checked_sub(inputs) {
        Some(node) => inputs + order.iter().position(|&o| o == node).unwrap_or(node),
        None => s,
    };
    let nodes = order.iter().map(|&n| {
        let edges = cell.nodes[n].edges.iter();
        let mut terms: Vec<String> = edges
            .map(|e| {
                let from: Vec<usize> = e.inputs.iter().map(|&s| state(s)).collect();
                format!("{}{from:?}", serde_json::json!(e.op))
            })
            .collect();
        terms.sort();
        terms.join(" + ")
    });
    let nodes = nodes.collect::<Vec<_>>().join(" | ");
    let mut concat: Vec<usize> = cell.concat.iter().map(|&s| state(s)).collect();
    concat.sort_unstable();
    format!("{nodes} -> {concat:?}")
}
