//! Drawings for Graphviz.

use std::fmt::Write as _;

use super::cells::named;
use super::colours::OpColours;
use crate::desc::{EdgeDesc, ModelDesc, OpCatalog};

/// The same cells in the language of Graphviz.
pub fn draw_dot(desc: &ModelDesc) -> String {
    let catalog = OpCatalog::builtin();
    let mut colours = OpColours::new(&catalog);
    let quote = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut dot = String::from(
        "digraph model {\n  rankdir=LR;\n  node [shape=box, style=\"rounded,filled\"];\n",
    );
    let groups = desc.distinct_cells();
    for group in &groups {
        let cell = &desc.cells[group.first()];
        let is_first = groups.iter().find(|g| g.cell_type == group.cell_type) == Some(group);
        let part = match is_first {
            true => group.cell_type.to_string(),
            false => format!("{}_cell{}", group.cell_type, group.first()),
        };
        let _ = writeln!(
            dot,
            "  subgraph cluster_{part} {{\n    label={};",
            quote(&group.to_string())
        );
        let id = |state: usize| format!("{part}_{state}");
        let inputs = cell.stems.len();
        let states = 0..cell.nodes.len() + inputs;
        for state in states.filter(|&state| state >= inputs || cell.reads(state)) {
            let fill = if state < inputs {
                "darkseagreen2"
            } else {
                "lightblue"
            };
            let _ = writeln!(
                dot,
                "    {} [label={}, fillcolor={fill}];",
                id(state),
                quote(&cell.state_name(state))
            );
        }
        let _ = writeln!(
            dot,
            "    {part}_out [label=\"c_{{k}}\", fillcolor=palegoldenrod];"
        );
        for (n, node) in cell.nodes.iter().enumerate() {
            if node.edges.is_empty() {
                let (from, to) = (id(n + inputs - 1), id(n + inputs));
                let _ = writeln!(dot, "    {from} -> {to} [style=dashed];");
            }
            for (from, op) in node.edges.iter().flat_map(EdgeDesc::parts) {
                let (label, colour) =
                    (quote(&named(op)), quote(&colours.get(&op.name).to_string()));
                let _ = writeln!(
                    dot,
                    "    {} -> {} [label={label}, color={colour}];",
                    id(from),
                    id(n + inputs)
                );
            }
        }
        for &state in &cell.concat {
            let _ = writeln!(dot, "    {} -> {part}_out [style=dashed];", id(state));
        }
        dot.push_str("  }\n");
    }
    dot.push_str("}\n");
    dot
}
