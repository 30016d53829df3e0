//! A network on a page: its parts in order, its cells drawn, and what they cost. It needs no run.

use archai_spec::desc::{
    CellType, DescErrors, ModelDesc, ModelTable, OpCatalog, PartRow, Shape, StemInput,
};
use archai_spec::numbers::{millions, percent, thousands};
use maud::{Markup, html};
use serde_json::json;

use crate::cells;
use crate::page::{Card, Section, Tone, page};
use crate::words::plural;

/// The page of a network, under the name by which it is known.
///
/// # Errors
/// Those of [`ModelDesc::check`].
pub fn desc_page(desc: &ModelDesc, name: &str, catalog: &OpCatalog) -> Result<String, DescErrors> {
    let table = desc.table(catalog)?;
    let size = |shape: Shape| format!("{}×{}×{}", shape.channels, shape.height, shape.width);
    let distinct = desc.distinct_cells();
    let reductions = distinct
        .iter()
        .filter(|group| group.cell_type == CellType::Reduction);
    let reductions: usize = reductions.map(|group| group.cells.len()).sum();
    let mut reasons =
        vec![html! { (thousands(table.total.macs)) " multiply-adds for one picture." }];
    if table.total_with_aux != table.total {
        let more = table.total_with_aux.params - table.total.params;
        reasons.push(
            html! { "In training an auxiliary tower has " (thousands(more)) " parameters more." },
        );
    }
    if table.alphas > 0 {
        reasons.push(html! { (thousands(table.alphas)) " architecture parameters: this is a supernet, whose edges are not chosen yet." });
    }
    let cards = [
        Card {
            question: "What it is",
            answer: format!("A network of {}", plural(desc.cells.len(), "cell")),
            tone: Tone::Plain,
            reasons: vec![
                html! { (plural(reductions, "reduction")) " among them, which halve the picture; " (distinct.len()) " different architectures of cells." },
                html! { "From pictures of " (size(desc.input)) " to " (desc.n_classes) " classes." },
            ],
        },
        Card {
            question: "How large it is",
            answer: format!("{} parameters", thousands(table.total.params)),
            tone: Tone::Plain,
            reasons,
        },
    ];
    let mut sections = vec![
        Section {
            id: "flow",
            title: "From the picture to the classes",
            body: flow(desc, &table),
        },
        Section {
            id: "cells",
            title: "The cells",
            body: html! {
                p { "Each cell that differs, once. " (reads(desc)) }
                (cells::found(desc, catalog))
            },
        },
        Section {
            id: "parts",
            title: "What its parts cost",
            body: parts(&table),
        },
    ];
    if let Ok(genotype) = desc.genotype() {
        sections.push(Section {
            id: "genotype",
            title: "As a genotype",
            body: html! { pre { (genotype) } },
        });
    }
    let data =
        json!({ "name": name, "input": desc.input, "n_classes": desc.n_classes, "table": table });
    let below = html! { p.soft { "A network's description" } };
    let intro = html! { div.cards { @for card in &cards { (card.draw()) } } };
    Ok(page(name, below, intro, sections, &data))
}

/// What cells read.
fn reads(desc: &ModelDesc) -> Markup {
    let inputs = desc.cells.iter().map(|cell| {
        let inputs = cell.stems.len();
        (0..inputs)
            .filter(|&state| cell.reads(state))
            .map(|state| inputs - state)
            .max()
            .unwrap_or(0)
    });
    match inputs.max() {
        Some(1) => html! { "A cell reads the output of the one before it." },
        Some(n) if n > 1 => {
            html! { "A cell reads the outputs of the last " (n) " before it: c" sub { "k−1" } " is the last one." }
        }
        _ => html! {},
    }
}

/// The parts in order.
fn flow(desc: &ModelDesc, table: &ModelTable) -> Markup {
    // Nothing reads a tower, and a stem that reads the picture does not read the stem before it.
    let n_stems = desc.stems.len();
    let leads = |i: usize| match desc.stems.get(i + 1) {
        Some(next) => next.input != StemInput::Image,
        None => true,
    };
    let class = |i: usize, row: &PartRow| match row.cell_type {
        Some(kind) => kind.to_string(),
        None if row.part.starts_with("aux ") => "aux apart".to_string(),
        None if i < n_stems && !leads(i) => "apart".to_string(),
        None => String::new(),
    };
    html! {
        ol.flow {
            li {
                strong { "picture" }
                span { (desc.input.channels) "×" (desc.input.height) "×" (desc.input.width) }
            }
            @for (i, row) in table.rows.iter().enumerate() {
                li class=(class(i, row)) {
                    strong {
                        (row.part)
                        @if let Some(kind) = row.cell_type { " · " (kind) }
                    }
                    @if row.cell_type.is_none() { span { (row.what) } }
                    span { (row.out.channels) "×" (row.out.height) "×" (row.out.width) }
                    @if row.cost.params > 0 { span { (thousands(row.cost.params)) " parameters" } }
                    @if row.cost.macs > 0 { span { (millions(row.cost.macs)) " multiply-adds" } }
                }
            }
        }
        @if table.total_with_aux != table.total {
            p.soft { "An auxiliary tower reads its cell's output in training alone; nothing after it reads the tower." }
        }
    }
}

fn parts(table: &ModelTable) -> Markup {
    let share = |part: u64, all: u64| percent(part as f64 / all.max(1) as f64);
    // Auxiliary towers are no part of the sums.
    let total = table.total;
    let counts = |row: &PartRow| !row.part.starts_with("aux ");
    html! {
        div.table { table {
            thead { tr {
                th { "part" } th { "kind" } th { "what" } th.n { "output" }
                th.n { "parameters" } th.n { "share" } th.n { "multiply-adds" } th.n { "share" }
            } }
            tbody {
                @for row in &table.rows {
                    tr {
                        th scope="row" { (row.part) }
                        td { @if let Some(kind) = row.cell_type { (kind) } }
                        td { (row.what) }
                        td.n { (row.out.channels) "×" (row.out.height) "×" (row.out.width) }
                        td.n { (thousands(row.cost.params)) }
                        td.n { @if counts(row) { (share(row.cost.params, total.params)) } }
                        td.n { (millions(row.cost.macs)) }
                        td.n { @if counts(row) { (share(row.cost.macs, total.macs)) } }
                    }
                }
                tr {
                    th scope="row" { "all" @if table.total_with_aux != total { ", without auxiliary towers" } }
                    td {} td {} td.n {}
                    td.n { strong { (thousands(total.params)) } } td.n {}
                    td.n { strong { (millions(total.macs)) } } td.n {}
                }
            }
        } }
        p.soft { "Multiply-adds are those of one picture. Outputs are channels × height × width." }
    }
}
