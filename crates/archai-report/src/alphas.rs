//! Architecture parameters as they move: one small chart for each edge, in the colours of the drawings.

use std::collections::BTreeMap;

use archai_spec::desc::draw::{Ink, OpColours};
use archai_spec::desc::{CellType, ModelDesc, OpCatalog};
use maud::{Markup, html};

use crate::chart::{Chart, Line, bars, legend};
use crate::log::Training;
use crate::ticks::Unit;

/// How weights come from architecture parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relaxed {
    /// By the softmax of an edge's parameters.
    Softmax,
    /// They are the parameters themselves.
    Raw,
}

type Edges = BTreeMap<(usize, usize, usize), Vec<f64>>;

impl Relaxed {
    /// The weights of an edge.
    pub fn weights(self, alphas: &[f64]) -> Vec<f64> {
        match self {
            Relaxed::Raw => alphas.to_vec(),
            Relaxed::Softmax => {
                let most = alphas.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let powers: Vec<f64> = alphas.iter().map(|a| (a - most).exp()).collect();
                let sum: f64 = powers.iter().sum();
                powers.into_iter().map(|p| p / sum).collect()
            }
        }
    }

    /// Which of the two a training used: the one that gives the mean entropy that its guard logged. Without a guard the
    /// softmax, unless the parameters are weights already (none is negative, those of an edge are together 1).
    pub fn of(training: &Training) -> Relaxed {
        let last = training
            .epochs
            .values()
            .rev()
            .find(|epoch| !epoch.alphas.is_empty());
        let Some(last) = last else {
            return Relaxed::Softmax;
        };
        if let Some(logged) = last.guard.get("entropy") {
            let fits = |relaxed: Relaxed| (relaxed.entropy(&last.alphas) - logged).abs() < 1e-3;
            return match fits(Relaxed::Raw) && !fits(Relaxed::Softmax) {
                true => Relaxed::Raw,
                false => Relaxed::Softmax,
            };
        }
        let are_weights = last.alphas.values().all(|alphas| {
            alphas.iter().all(|a| *a >= 0.0) && (alphas.iter().sum::<f64>() - 1.0).abs() < 1e-4
        });
        match are_weights {
            true => Relaxed::Raw,
            false => Relaxed::Softmax,
        }
    }

    /// Mean over the edges of the entropy of their weights, 0 (one op has all) to 1 (all are equal).
    pub fn entropy(self, edges: &Edges) -> f64 {
        let of = |alphas: &Vec<f64>| {
            let weights = self.weights(alphas);
            let total: f64 = weights.iter().map(|w| w.abs()).sum();
            if weights.len() < 2 || total == 0.0 {
                return 0.0;
            }
            let parts = weights.iter().map(|w| w.abs() / total).filter(|p| *p > 0.0);
            -parts.map(|p| p * p.ln()).sum::<f64>() / (weights.len() as f64).ln()
        };
        edges.values().map(of).sum::<f64>() / edges.len().max(1) as f64
    }
}

/// The names of an edge's ops; numbers where the supernet is not known.
fn names(
    supernet: Option<&ModelDesc>,
    (cell, node, edge): (usize, usize, usize),
    n: usize,
) -> Vec<String> {
    let known = supernet.and_then(|desc| desc.cells.get(cell)?.nodes.get(node)?.edges.get(edge));
    let known = known
        .map(|edge| edge.op.child_names())
        .filter(|names| names.len() == n);
    known.unwrap_or_else(|| (1..=n).map(|i| format!("op {i}")).collect())
}

/// `from c_{k-2}`, without the marks of subscripts.
fn source(supernet: Option<&ModelDesc>, (cell, node, edge): (usize, usize, usize)) -> String {
    let cell = supernet.and_then(|desc| desc.cells.get(cell));
    let found = cell.and_then(|cell| {
        let inputs = &cell.nodes.get(node)?.edges.get(edge)?.inputs;
        let names: Vec<String> = inputs
            .iter()
            .map(|state| place(&cell.state_name(*state)))
            .collect();
        Some(format!("from {}", names.join(", ")))
    });
    found.unwrap_or_else(|| format!("edge {edge}"))
}

/// `c_{k-2}` as `input k−2`, a node by its number.
fn place(state: &str) -> String {
    let input = state
        .strip_prefix("c_{")
        .and_then(|rest| rest.strip_suffix('}'));
    match input {
        Some(input) => format!("input {}", input.replace('-', "−")),
        None => format!("node {state}"),
    }
}

/// The charts of a training's architecture parameters; none if it logged none.
pub fn section(
    training: &Training,
    supernet: Option<&ModelDesc>,
    catalog: &OpCatalog,
) -> Option<Markup> {
    let relaxed = Relaxed::of(training);
    let last = training
        .epochs
        .values()
        .rev()
        .find(|epoch| !epoch.alphas.is_empty())?;
    let epochs = training
        .epochs
        .values()
        .filter(|epoch| !epoch.alphas.is_empty())
        .count();
    let mut nodes: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
    for (cell, node, edge) in last.alphas.keys() {
        nodes.entry((*cell, *node)).or_default().push(*edge);
    }
    let mut colours = OpColours::new(catalog);
    let mut ops: Vec<(String, String)> = Vec::new();
    for (key, alphas) in &last.alphas {
        for name in names(supernet, *key, alphas.len()) {
            if !ops.iter().any(|(known, _)| *known == name) {
                let colour = Ink::Op(colours.get(&name)).light().to_string();
                ops.push((name, colour));
            }
        }
    }
    let span = span(training, relaxed);
    Some(html! {
        p {
            "Each small chart is an edge of the supernet, each line or bar the weight of one op on it, "
            @match relaxed {
                Relaxed::Softmax => "the softmax of the edge's architecture parameters",
                Relaxed::Raw => "the architecture parameter itself",
            }
            ". The search has decided where one of them is far above the others; where they are alike, it has not."
            @if supernet.is_none() { " The configuration of the run does not give its supernet any more: ops have numbers instead of names." }
        }
        @if let Some(chart) = entropy(training, relaxed) { div.charts { (chart) } }
        (legend(ops.iter().map(|(name, colour)| (name.as_str(), colour.as_str()))))
        @for ((cell, node), edges) in &nodes {
            h3 { (heading(supernet, *cell, *node)) }
            div.multiples {
                @for edge in edges {
                    @let key = (*cell, *node, *edge);
                    @let title = source(supernet, key);
                    @if epochs < 2 && span[0] == 0.0 {
                        (bars(&title, "weight, %", &entries(relaxed, &last.alphas[&key], &names(supernet, key, last.alphas[&key].len()), &ops)))
                    } @else {
                        (moving(&title, training, relaxed, key, &names(supernet, key, last.alphas[&key].len()), &ops, span))
                    }
                }
            }
        }
    })
}

/// The entropy of the weights over epochs, where no guard logged it.
fn entropy(training: &Training, relaxed: Relaxed) -> Option<Markup> {
    if training
        .epochs
        .values()
        .any(|epoch| epoch.guard.contains_key("entropy"))
    {
        return None;
    }
    let points = training.curve(|epoch| {
        let edges = Some(&epoch.alphas).filter(|edges| !edges.is_empty());
        edges
            .map(|edges| relaxed.entropy(edges))
            .filter(|v| v.is_finite())
    });
    let chart = Chart {
        title: "Entropy of the ops' weights",
        x: "epoch",
        y: "0: decided, 1: all equal",
        span: Some([0.0, 1.05]),
        ..Chart::default()
    };
    (points.len() > 1).then(|| chart.draw(&[Line::new("mean over the edges", 3, points)]))
}

fn heading(supernet: Option<&ModelDesc>, cell: usize, node: usize) -> String {
    let Some(desc) = supernet.and_then(|desc| desc.cells.get(cell)) else {
        return format!("Cell {cell}, node {node}");
    };
    let kind = match desc.cell_type {
        CellType::Regular => "Regular cell",
        CellType::Reduction => "Reduction cell",
    };
    format!(
        "{kind} (cell {cell}), node {}",
        desc.state_name(desc.stems.len() + node)
    )
}

/// From the least weight of all (at most 0) to the largest, so that all charts have one scale.
fn span(training: &Training, relaxed: Relaxed) -> [f64; 2] {
    let all = training
        .epochs
        .values()
        .flat_map(|epoch| epoch.alphas.values());
    let all = all.flat_map(|alphas| relaxed.weights(alphas));
    let [low, high] = all
        .filter(|w| w.is_finite())
        .fold([0.0, 0.05], |[low, high]: [f64; 2], w| {
            [low.min(w), high.max(w)]
        });
    [low * 1.04, high * 1.04]
}

fn entries(
    relaxed: Relaxed,
    alphas: &[f64],
    names: &[String],
    ops: &[(String, String)],
) -> Vec<(String, String, f64)> {
    let weights = relaxed.weights(alphas);
    let entries = names
        .iter()
        .zip(weights)
        .map(|(name, w)| (name.clone(), colour_of(ops, name), w));
    entries.collect()
}

fn colour_of(ops: &[(String, String)], name: &str) -> String {
    let found = ops.iter().find(|(known, _)| known == name);
    found.map(|(_, colour)| colour.clone()).unwrap_or_default()
}

fn moving(
    title: &str,
    training: &Training,
    relaxed: Relaxed,
    key: (usize, usize, usize),
    names: &[String],
    ops: &[(String, String)],
    span: [f64; 2],
) -> Markup {
    let lines: Vec<Line> = (names.iter().enumerate())
        .map(|(nth, name)| Line {
            name: name.clone(),
            colour: colour_of(ops, name),
            points: training.curve(|epoch| {
                let weights = relaxed.weights(epoch.alphas.get(&key)?);
                weights.get(nth).copied().filter(|w| w.is_finite())
            }),
            faint: false,
        })
        .collect();
    let chart = Chart {
        title,
        x: "epoch",
        y: "",
        unit: Unit::Percent,
        span: Some(span),
        size: [250.0, 150.0],
        legend: false,
    };
    chart.draw(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Epoch;

    #[test]
    fn the_entropy_that_was_logged_says_what_parameters_are() {
        let training = |alphas: &[f64], entropy: Option<f64>| {
            let mut epoch = Epoch::default();
            epoch.alphas.insert((0, 0, 0), alphas.to_vec());
            epoch
                .guard
                .extend(entropy.map(|v| ("entropy".to_string(), v)));
            let mut training = Training::default();
            training.epochs.insert(0, epoch);
            training
        };
        // Of two logits 0 and ln 3 the weights are 1/4 and 3/4, whose entropy is 2 − 3/4·log2(3) bits.
        let logits = [0.0, 3f64.ln()];
        let entropy = 2.0 - 0.75 * 3f64.log2();
        let weights = Relaxed::Softmax.weights(&logits);
        assert!((weights[0] - 0.25).abs() < 1e-12 && (weights[1] - 0.75).abs() < 1e-12);
        for (alphas, entropy, expect) in [
            (&logits[..], Some(entropy), Relaxed::Softmax),
            (&[0.25, 0.75], Some(entropy), Relaxed::Raw),
            (&[0.25, 0.75], None, Relaxed::Raw),
            (&logits, None, Relaxed::Softmax),
            (&[-1.0, 2.0], Some(0.5), Relaxed::Softmax),
        ] {
            assert_eq!(
                Relaxed::of(&training(alphas, entropy)),
                expect,
                "{alphas:?} {entropy:?}"
            );
        }
    }
}
