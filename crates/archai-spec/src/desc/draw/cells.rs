//! From cells to drawings.

use std::collections::BTreeMap;

use super::colours::OpColours;
use super::layout::{self, GATE, HEAD, LABEL, LABEL_HEIGHT, Layout, Topology, Way};
use super::picture::{Ink, Line, Mark, Part, Picture, Shape};
use super::text;
use crate::desc::{
    CellDesc, CellGroup, CellType, DescError, EdgeDesc, ModelDesc, OpCatalog, OpDesc,
};
use crate::finalize::{EdgeWeights, Supernet};

const MARGIN: f64 = 22.0;
/// Size of the letters of labels, headings and states.
const LABEL_SIZE: f64 = 12.5;
const SMALLEST: f64 = 10.0;
const HEADING_SIZE: f64 = 15.0;
const STATE_SIZE: f64 = 15.0;
/// Thickness of the strongest op's line, and what a line has at least.
const THICKEST: f64 = 11.0;
const THINNEST: f64 = 0.8;
/// How far from the middle of a state lines end, thin ones and those that are as thick as weights.
const PORTS: [f64; 2] = [16.0, 9.0];
/// How much of the ground lines of edges cover that would not be kept.
const FAINT: f64 = 0.4;
/// Narrowest drawing.
const NARROWEST: f64 = 460.0;

/// How weights are shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Strengths<'a> {
    /// The weights of the mixed edges.
    pub weights: &'a EdgeWeights,
    /// The weight whose line is the thickest. It is the same in all drawings that are compared.
    pub most: f64,
}

impl Strengths<'_> {
    /// The thickness of the line of an op: in proportion to its weight, up to that of the largest.
    ///
    /// ```
    /// use archai_spec::desc::draw::Strengths;
    /// let strengths = Strengths { weights: &Default::default(), most: 0.5 };
    /// assert!(strengths.thickness(0.1) < strengths.thickness(0.2));
    /// assert_eq!(strengths.thickness(0.5), strengths.thickness(0.9));
    /// ```
    pub fn thickness(&self, weight: f64) -> f64 {
        let share = weight / self.most;
        match share.is_finite() {
            true => THINNEST + (THICKEST - THINNEST) * share.clamp(0.0, 1.0),
            false => THINNEST,
        }
    }
}

/// The largest weight of an op that could be kept: the [`Strengths::most`] of drawings of these weights that are compared. 1
/// where there is none above zero.
pub fn largest<'w>(supernet: Supernet<'_>, all: impl IntoIterator<Item = &'w EdgeWeights>) -> f64 {
    let mut most = 0.0_f64;
    for (&(cell, node, edge), weights) in all.into_iter().flatten() {
        let nodes = supernet.desc.cells.get(cell).map(|cell| &cell.nodes);
        let edges = nodes
            .and_then(|nodes| nodes.get(node))
            .map(|node| &node.edges);
        let Some(edge) = edges.and_then(|edges| edges.get(edge)) else {
            continue;
        };
        let children = edge.op.children.iter().zip(weights);
        let kept = children.filter(|(child, weight)| {
            !supernet.catalog.is_zero(&child.op.name) && weight.is_finite()
        });
        most = kept.fold(most, |most, (_, weight)| most.max(*weight));
    }
    if most > 0.0 { most } else { 1.0 }
}

/// What an op is called on an edge.
pub(super) fn named(op: &OpDesc) -> String {
    if op.is_mixed() {
        format!("{}({})", op.name.trim_end_matches("_op"), op.children.len())
    } else if op.stride > 1 {
        format!("{} /{}", op.name, op.stride)
    } else {
        op.name.clone()
    }
}

/// A line of an edge: an op, and its weight where it has one.
struct Strand {
    op: String,
    width: f64,
}

/// An edge between two states.
struct Drawn {
    from: usize,
    to: usize,
    says: String,
    label: Option<String>,
    /// The strongest first.
    strands: Vec<Strand>,
    /// Without an op: a node that repeats the state before it.
    is_copy: bool,
    is_faint: bool,
    has_head: bool,
}

/// A cell with its heading.
struct Panel {
    heading: String,
    layout: Layout,
    names: BTreeMap<usize, String>,
    edges: Vec<Drawn>,
    output: String,
}

/// The drawing of all cells that differ, each once, with a legend of their ops.
pub fn cells(desc: &ModelDesc, catalog: &OpCatalog) -> Picture {
    let groups = desc.distinct_cells();
    let panels: Vec<Panel> = (groups.iter())
        .filter_map(|group| {
            let cell = desc.cells.get(group.first())?;
            Some(panel(cell, group.to_string(), found_edges(cell), false))
        })
        .collect();
    let reductions = (desc.cells.iter())
        .filter(|c| c.cell_type == CellType::Reduction)
        .count();
    let title = format!(
        "{} cells, {reductions} of them reductions · {}×{}×{} → {} classes",
        desc.cells.len(),
        desc.input.channels,
        desc.input.height,
        desc.input.width,
        desc.n_classes
    );
    let told = groups
        .iter()
        .filter_map(|group| Some((group.to_string(), desc.cells.get(group.first())?)));
    let words = in_words(told);
    let mut ops: Vec<String> = Vec::new();
    let strands = panels
        .iter()
        .flat_map(|p| &p.edges)
        .flat_map(|edge| &edge.strands);
    strands.for_each(|strand| add(&mut ops, &strand.op));
    picture([title, words], &panels, &ops, None, catalog)
}

/// The drawing of a supernet's cells while it is searched: each edge with its two strongest ops, as thick as their weights.
/// Edges that would be kept now, by the rule of DARTS, are labelled, others are faint.
///
/// # Errors
/// Those of [`Supernet::finalize`].
pub fn search(supernet: Supernet<'_>, strengths: Strengths<'_>) -> Result<Picture, DescError> {
    let found = supernet.finalize(strengths.weights)?;
    let mut panels = Vec::new();
    let mut told = Vec::new();
    for cell_type in [CellType::Regular, CellType::Reduction] {
        // Cells that share their architecture parameters are drawn once.
        let owners = (supernet.desc.cells.iter().enumerate())
            .filter(|(i, cell)| cell.cell_type == cell_type && cell.alphas_from == *i);
        for (owner, cell) in owners {
            let cells = supernet.desc.cells.iter().enumerate();
            let group = CellGroup {
                cell_type,
                cells: (cells
                    .filter(|(_, cell)| cell.alphas_from == owner)
                    .map(|(i, _)| i))
                .collect(),
            };
            let edges = search_edges(supernet, owner, &found.cells[owner], strengths)?;
            panels.push(panel(cell, group.to_string(), edges, true));
            told.push((group.to_string(), &found.cells[owner]));
        }
    }
    let title = "Cells of a supernet, lines as thick as the weights of their ops".to_string();
    let words = in_words(told.into_iter());
    // All candidates are in the legend, whichever are strong now: it does not change from drawing to drawing.
    let mut ops: Vec<String> = Vec::new();
    for edge in (supernet.desc.cells.iter())
        .flat_map(|cell| &cell.nodes)
        .flat_map(|node| &node.edges)
    {
        match edge.op.is_mixed() {
            true => (edge.op.children.iter()).for_each(|child| add(&mut ops, &child.op.name)),
            false => (edge.parts().iter()).for_each(|(_, op)| add(&mut ops, &op.name)),
        }
    }
    ops.retain(|name| !supernet.catalog.is_zero(name));
    Ok(picture(
        [title, words],
        &panels,
        &ops,
        Some(strengths),
        supernet.catalog,
    ))
}

fn add(ops: &mut Vec<String>, name: &str) {
    if !ops.iter().any(|known| known == name) {
        ops.push(name.to_string());
    }
}

/// What cells consist of, in words.
fn in_words<'a>(cells: impl Iterator<Item = (String, &'a CellDesc)>) -> String {
    let told = cells.map(|(heading, cell)| {
        let nodes = cell.nodes.iter().enumerate().map(|(n, node)| {
            let part = |(from, op)| format!("{} from {}", named(op), place(cell, from));
            let edges: Vec<String> = (node.edges.iter().flat_map(EdgeDesc::parts))
                .map(part)
                .collect();
            let name = place(cell, n + cell.stems.len());
            match edges.is_empty() {
                true => format!("{name}: what is before it"),
                false => format!("{name}: {}", edges.join(" + ")),
            }
        });
        let nodes: Vec<String> = nodes.collect();
        let joined = cell.concat.iter().map(|&state| place(cell, state));
        let joined = joined.collect::<Vec<_>>().join(", ");
        format!("{heading}: {}; output: {joined}", nodes.join("; "))
    });
    told.collect::<Vec<_>>().join(". ")
}

/// The edges of a cell as it is.
fn found_edges(cell: &CellDesc) -> Vec<Drawn> {
    let inputs = cell.stems.len();
    let mut edges = Vec::new();
    for (n, node) in cell.nodes.iter().enumerate() {
        let to = n + inputs;
        edges.extend(copy(cell, n));
        for (from, op) in node.edges.iter().flat_map(EdgeDesc::parts) {
            edges.push(Drawn {
                from,
                to,
                says: format!(
                    "{} from {} to {}",
                    named(op),
                    place(cell, from),
                    place(cell, to)
                ),
                label: Some(named(op)),
                strands: vec![Strand {
                    op: op.name.clone(),
                    width: 2.0,
                }],
                is_copy: false,
                is_faint: false,
                has_head: true,
            });
        }
    }
    edges
}

/// The edge of a node that has none: it repeats the state before it.
fn copy(cell: &CellDesc, node: usize) -> Option<Drawn> {
    let to = node + cell.stems.len();
    let is_empty = cell.nodes.get(node)?.edges.is_empty();
    let from = to.checked_sub(1).filter(|_| is_empty)?;
    Some(Drawn {
        from,
        to,
        says: format!("{} repeats {}", place(cell, to), place(cell, from)),
        label: None,
        strands: Vec::new(),
        is_copy: true,
        is_faint: false,
        has_head: true,
    })
}

fn place(cell: &CellDesc, state: usize) -> String {
    let name = cell.state_name(state);
    match state < cell.stems.len() {
        true => name.replace(['{', '}', '_'], ""),
        false => format!("node {name}"),
    }
}

fn percent(weight: f64) -> String {
    format!("{:.0}%", 100.0 * weight)
}

/// The edges of a supernet's cell with their weights.
fn search_edges(
    supernet: Supernet<'_>,
    owner: usize,
    found: &CellDesc,
    strengths: Strengths<'_>,
) -> Result<Vec<Drawn>, DescError> {
    let cell = &supernet.desc.cells[owner];
    let inputs = cell.stems.len();
    let mut edges = Vec::new();
    for (n, node) in cell.nodes.iter().enumerate() {
        let to = n + inputs;
        edges.extend(copy(cell, n));
        for (e, edge) in node.edges.iter().enumerate() {
            let none = Vec::new();
            let weights = strengths.weights.get(&(owner, n, e)).unwrap_or(&none);
            let kept = supernet.finalize_edge(owner, n, e, weights)?;
            let kept = EdgeDesc {
                inputs: edge.inputs.clone(),
                op: kept.desc,
            };
            let is_kept = found
                .nodes
                .get(n)
                .is_some_and(|node| node.edges.contains(&kept));
            for (from, op) in kept.parts() {
                let ways = |from| format!("from {} to {}", place(cell, from), place(cell, to));
                if !edge.op.is_mixed() {
                    edges.push(Drawn {
                        from,
                        to,
                        says: format!("{} {}", named(op), ways(from)),
                        label: Some(named(op)),
                        strands: vec![Strand {
                            op: op.name.clone(),
                            width: 2.0,
                        }],
                        is_copy: false,
                        is_faint: false,
                        has_head: false,
                    });
                    continue;
                }
                // The op that would be kept, then the strongest of the others that are no zeros.
                let mut ranked: Vec<(&str, f64)> = (edge.op.children.iter())
                    .zip(weights)
                    .map(|(child, weight)| (child.op.name.as_str(), *weight))
                    .filter(|(name, weight)| !supernet.catalog.is_zero(name) && weight.is_finite())
                    .collect();
                ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
                let first = ranked.first().copied().unwrap_or((op.name.as_str(), 0.0));
                // Of an edge that would not be kept the strongest op is enough.
                let shown = if is_kept { 2 } else { 1 };
                let strands = ranked.iter().take(shown).map(|(name, weight)| Strand {
                    op: (*name).to_string(),
                    width: strengths.thickness(*weight),
                });
                let told: Vec<String> = (ranked.iter().take(2))
                    .map(|(name, weight)| format!("{name} {}", percent(*weight)))
                    .collect();
                edges.push(Drawn {
                    from,
                    to,
                    says: format!("{}: {}", ways(from), told.join(", ")),
                    label: is_kept.then(|| format!("{} {}", first.0, percent(first.1))),
                    strands: strands.collect(),
                    is_copy: false,
                    is_faint: !is_kept,
                    has_head: false,
                });
            }
        }
    }
    Ok(edges)
}

/// A cell in its places.
fn panel(cell: &CellDesc, heading: String, edges: Vec<Drawn>, is_search: bool) -> Panel {
    let inputs = cell.stems.len();
    let mut pairs = BTreeMap::new();
    // Edges from states that are not there before their node are left out.
    let edges: Vec<Drawn> = edges
        .into_iter()
        .filter(|edge| edge.from < edge.to)
        .collect();
    for edge in &edges {
        *pairs.entry((edge.from, edge.to)).or_insert(0) += 1;
    }
    let topology = Topology {
        inputs: (0..inputs).map(|state| cell.reads(state)).collect(),
        nodes: cell.nodes.len(),
        pairs,
        joined: {
            let mut joined = cell.concat.clone();
            joined.sort_unstable();
            joined.dedup();
            joined.retain(|&state| state >= inputs || cell.reads(state));
            joined
        },
        ports: PORTS[usize::from(is_search)],
    };
    let layout = topology.layout();
    let names = layout
        .states
        .keys()
        .map(|&state| (state, cell.state_name(state)))
        .collect();
    Panel {
        heading,
        layout,
        names,
        edges,
        output: cell.output_text(),
    }
}

/// Panels below each other, and the legend.
fn picture(
    [title, words]: [String; 2],
    panels: &[Panel],
    ops: &[String],
    strengths: Option<Strengths<'_>>,
    catalog: &OpCatalog,
) -> Picture {
    let mut colours = OpColours::new(catalog);
    for op in ops {
        colours.get(op);
    }
    let widest = panels
        .iter()
        .map(|panel| panel.layout.width)
        .fold(0.0, f64::max);
    let width = (widest + 2.0 * MARGIN).max(NARROWEST);
    let mut marks = Vec::new();
    let mut y = MARGIN + 6.0;
    marks.push(Mark {
        part: Part::Heading,
        says: String::new(),
        shapes: vec![Shape::written(
            &text::fitted(&title, 13.0, width - 2.0 * MARGIN),
            [MARGIN, y],
            13.0,
            Ink::Soft,
        )],
    });
    y += 8.0;
    for panel in panels {
        y += 28.0;
        let heading = text::fitted(&panel.heading, HEADING_SIZE * 1.05, width - 2.0 * MARGIN);
        marks.push(Mark {
            part: Part::Heading,
            says: String::new(),
            shapes: vec![Shape::written(&heading, [MARGIN, y], HEADING_SIZE, Ink::Text).bold()],
        });
        y += 14.0;
        draw(&mut marks, panel, [MARGIN, y], &mut colours);
        y += panel.layout.height + 8.0;
    }
    y += 26.0;
    let mut x = MARGIN;
    let mut entry = |x: &mut f64, y: &mut f64, name: &str, swatch: &dyn Fn(f64, f64) -> Shape| {
        let name = text::fitted(name, LABEL_SIZE, width - 2.0 * MARGIN - 26.0);
        let needs = 26.0 + text::width(&name, LABEL_SIZE);
        if *x + needs > width - MARGIN && *x > MARGIN {
            *x = MARGIN;
            *y += 22.0;
        }
        marks.push(Mark {
            part: Part::Legend,
            says: String::new(),
            shapes: vec![
                swatch(*x, *y),
                Shape::written(
                    &name,
                    [*x + 26.0, *y + 0.36 * LABEL_SIZE],
                    LABEL_SIZE,
                    Ink::Text,
                ),
            ],
        });
        *x += needs + 16.0;
    };
    for op in ops {
        let ink = Ink::Op(colours.get(op));
        entry(&mut x, &mut y, op, &|x, y| Shape::Box {
            at: [x, y - 6.0, 18.0, 12.0],
            radius: 4.0,
            fill: ink,
            border: None,
        });
    }
    if let Some(strengths) = strengths {
        for share in [0.25, 0.5, 1.0] {
            let weight = share * strengths.most;
            entry(
                &mut x,
                &mut y,
                &format!("weight {}", percent(weight)),
                &|x, y| {
                    Shape::Line(Line {
                        width: strengths.thickness(weight),
                        ..Line::new([x, y], vec![super::Step::To([x + 18.0, y])], Ink::Soft)
                    })
                },
            );
        }
    }
    Picture {
        width,
        height: y + MARGIN,
        title,
        words,
        marks,
    }
}

/// A cell at a place: lines into the output, edges, states, and labels over all.
fn draw(marks: &mut Vec<Mark>, panel: &Panel, by: [f64; 2], colours: &mut OpColours<'_>) {
    let layout = &panel.layout;
    let mut mark = |part, says: String, shapes: Vec<Shape>| {
        let shapes = shapes.into_iter().map(|shape| moved(shape, by)).collect();
        marks.push(Mark { part, says, shapes });
    };
    for (state, from, steps, is_below) in &layout.joins {
        let end = steps.last().map_or(*from, super::Step::end);
        let (tip, up) = match is_below {
            true => ([end[0], end[1] - HEAD], true),
            false => ([end[0] + HEAD, end[1]], false),
        };
        let is_node = layout
            .states
            .get(state)
            .is_some_and(|spot| spot.size != GATE);
        let name = panel.names.get(state).map_or("", String::as_str);
        mark(
            Part::Join,
            match is_node {
                true => format!("node {name} goes into the output"),
                false => "an input goes into the output".to_string(),
            },
            vec![
                Shape::Line(Line::new(*from, steps.clone(), Ink::Plain)),
                Shape::Head {
                    tip,
                    size: [HEAD + 1.0, 4.0],
                    up,
                    fill: Ink::Plain,
                },
            ],
        );
    }
    let mut taken: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    let mut labels = Vec::new();
    // Faint lines are the lowest, but the order of marks is that of edges in all drawings of a search.
    for edge in &panel.edges {
        let nth = taken.entry((edge.from, edge.to)).or_insert(0);
        let way = layout
            .ways
            .get(&(edge.from, edge.to))
            .and_then(|ways| ways.get(*nth));
        *nth += 1;
        let Some(way) = way else {
            continue;
        };
        mark(Part::Edge, edge.says.clone(), lines(edge, way, colours));
        if let (Some(name), Some(strand)) = (&edge.label, edge.strands.first()) {
            let own = colours.get(&strand.op);
            // Longer names are written smaller, the longest are cut.
            let room = LABEL - 14.0;
            let size =
                (LABEL_SIZE * room / text::width(name, LABEL_SIZE)).clamp(SMALLEST, LABEL_SIZE);
            let name = text::fitted(name, size, room);
            let width = text::width(&name, size) + 14.0;
            let [x, y] = way.label;
            let says = if name.ends_with('…') {
                edge.says.clone()
            } else {
                String::new()
            };
            labels.push((
                says,
                vec![
                    Shape::Box {
                        at: [x - width / 2.0, y - LABEL_HEIGHT / 2.0, width, LABEL_HEIGHT],
                        radius: LABEL_HEIGHT / 2.0,
                        fill: Ink::Op(own),
                        border: None,
                    },
                    Shape::centred(name, way.label, size, Ink::OnOp(own)),
                ],
            ));
        }
    }
    for (says, shapes) in labels {
        mark(Part::Label, says, shapes);
    }
    let boxed = |spot: &layout::Spot, name: &str, [fill, ink]: [Ink; 2], border| {
        let [x, y] = spot.at;
        let [w, h] = spot.size;
        let (name, sub) = match name.split_once("_{") {
            Some((name, sub)) => (
                name.to_string(),
                sub.trim_end_matches('}').replace('-', "−"),
            ),
            None => (name.to_string(), String::new()),
        };
        let mut label = Shape::centred(name, spot.at, STATE_SIZE, ink).bold();
        if let Shape::Text { sub: below, .. } = &mut label {
            *below = sub;
        }
        vec![
            Shape::Box {
                at: [x - w / 2.0, y - h / 2.0, w, h],
                radius: if spot.size == GATE { h / 2.0 } else { 9.0 },
                fill,
                border,
            },
            label,
        ]
    };
    for (state, spot) in &layout.states {
        let name = panel.names.get(state).map_or("", String::as_str);
        let (inks, border, says) = match spot.size == GATE {
            true => (
                [Ink::Gate, Ink::OnGate],
                None,
                "an input of the cell".to_string(),
            ),
            false => (
                [Ink::Node, Ink::Border],
                Some(Ink::Border),
                format!("node {name}"),
            ),
        };
        mark(Part::State, says, boxed(spot, name, inks, border));
    }
    let says = format!("the output: {}", panel.output);
    mark(
        Part::State,
        says,
        boxed(&layout.output, "c_{k}", [Ink::Gate, Ink::OnGate], None),
    );
}

/// The lines of an edge, the strongest op's in its lane and the other one's below, and the head.
fn lines(edge: &Drawn, way: &Way, colours: &mut OpColours<'_>) -> Vec<Shape> {
    if edge.is_copy {
        let line = Line {
            dashed: true,
            ..Line::new(way.from, way.steps.clone(), Ink::Plain)
        };
        let head = Shape::Head {
            tip: way.tip,
            size: [HEAD + 1.0, way.head],
            up: false,
            fill: Ink::Plain,
        };
        return vec![Shape::Line(line), head];
    }
    let mut shapes = Vec::new();
    let mut below = 0.0;
    let mut last = 0.0;
    for (i, strand) in edge.strands.iter().enumerate() {
        if i > 0 {
            below += (last + strand.width) / 2.0 + 0.8;
        }
        last = strand.width;
        let ink = Ink::Op(colours.get(&strand.op));
        let mut line = Line {
            width: strand.width,
            opacity: if edge.is_faint { FAINT } else { 1.0 },
            ..Line::new(way.from, way.steps.clone(), ink)
        };
        if !edge.has_head {
            line.steps.push(super::Step::To(way.tip));
        }
        shapes.push(moved(Shape::Line(line), [0.0, below]));
        if edge.has_head {
            shapes.push(Shape::Head {
                tip: way.tip,
                size: [HEAD + 1.0, way.head],
                up: false,
                fill: ink,
            });
        }
    }
    shapes
}

fn moved(mut shape: Shape, [dx, dy]: [f64; 2]) -> Shape {
    let point = |p: &mut [f64; 2]| *p = [p[0] + dx, p[1] + dy];
    match &mut shape {
        Shape::Line(line) => {
            point(&mut line.from);
            for step in &mut line.steps {
                match step {
                    super::Step::To(end) => point(end),
                    super::Step::Curve(a, b, c) => [a, b, c].into_iter().for_each(point),
                }
            }
        }
        Shape::Box { at, .. } => (at[0], at[1]) = (at[0] + dx, at[1] + dy),
        Shape::Head { tip: at, .. } | Shape::Text { at, .. } => point(at),
    }
    shape
}
