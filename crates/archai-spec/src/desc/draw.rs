//! Drawings of all cells that differ: SVG with an own layered layout, and DOT for other programs.
//!
//! The layout treats the label of an edge as a vertex of its own between two columns of states, so that labels never overlap;
//! long edges get bend points in the columns that they cross. Columns are ordered by barycentres (Sugiyama, Tagawa, Toda
//! 1981), and heights are fitted by isotonic regression.

use std::fmt::Write as _;

use super::{CellDesc, CellGroup, CellType, ModelDesc, OpCatalog, OpDesc};

/// Colours of ops that have none of their own, in order of appearance.
const MORE_COLOURS: [&str; 6] = [
    "#b0307a", "#0f7f8c", "#7a5546", "#8b9420", "#5b3fb5", "#b23b3b",
];
/// Colour of the lines from nodes to the output, which carry no op.
const PLAIN: &str = "#c3c8ce";

/// Space between two columns, and above and below a vertex, in pixels.
const COLUMN_GAP: f64 = 34.0;
const ROW_GAP: f64 = 12.0;
const MARGIN: f64 = 24.0;

/// Which colour stands for which op.
struct Palette(Vec<(String, String)>);

impl Palette {
    fn of(desc: &ModelDesc) -> Palette {
        let catalog = OpCatalog::builtin();
        let mut used: Vec<(String, String)> = Vec::new();
        let mut more = 0;
        for group in desc.distinct_cells() {
            let nodes = &desc.cells[group.first()].nodes;
            let edges = nodes.iter().flat_map(|node| &node.edges);
            for (_, op) in edges.flat_map(super::EdgeDesc::parts) {
                if used.iter().any(|(name, _)| *name == op.name) {
                    continue;
                }
                let own = catalog.get(&op.name).ok().and_then(|op| op.colour());
                let colour = own.unwrap_or_else(|| {
                    more += 1;
                    MORE_COLOURS[(more - 1) % MORE_COLOURS.len()]
                });
                used.push((op.name.clone(), colour.to_string()));
            }
        }
        Palette(used)
    }
    fn get(&self, name: &str) -> &str {
        self.0
            .iter()
            .find(|(n, _)| n == name)
            .map_or(PLAIN, |(_, colour)| colour)
    }
}

fn label(op: &OpDesc) -> String {
    if op.is_mixed() {
        format!("{}({})", op.name.trim_end_matches("_op"), op.children.len())
    } else if op.stride > 1 {
        format!("{} /{}", op.name, op.stride)
    } else {
        op.name.clone()
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// What is drawn at a vertex.
#[derive(Clone, PartialEq)]
enum Mark {
    State {
        name: String,
        fill: &'static str,
        text: &'static str,
    },
    Label {
        text: String,
        colour: String,
    },
    Bend,
}

struct Vertex {
    mark: Mark,
    column: usize,
    x: f64,
    y: f64,
    /// Half of the width that lines keep level: a bend keeps level across its whole column, clear of labels.
    half: f64,
}

impl Vertex {
    fn size(&self) -> (f64, f64) {
        let width = |text: &str, per_char: f64| text.chars().count() as f64 * per_char;
        match &self.mark {
            Mark::State { name, .. } => (width(&visible(name), 9.0).max(16.0) + 24.0, 34.0),
            Mark::Label { text, .. } => (width(text, 7.0) + 16.0, 22.0),
            Mark::Bend => (0.0, 4.0),
        }
    }
}

/// `c_{k-2}` without its markup, for measuring.
fn visible(name: &str) -> String {
    name.replace(['_', '{', '}'], "")
}

/// A line through vertices.
struct Path {
    through: Vec<usize>,
    colour: String,
    dashed: bool,
}

struct Layout {
    vertices: Vec<Vertex>,
    paths: Vec<Path>,
    width: f64,
    height: f64,
}

/// Builds the layered graph of a cell and places it.
fn layout(cell: &CellDesc, palette: &Palette) -> Layout {
    let inputs = cell.stems.len();
    let n_states = cell.nodes.len() + inputs;
    let mut columns = vec![0; n_states];
    for (n, node) in cell.nodes.iter().enumerate() {
        let sources = node.edges.iter().flat_map(|e| &e.inputs).copied();
        // A node without edges repeats the state before it.
        let sources: Vec<usize> = if node.edges.is_empty() {
            vec![n + inputs - 1]
        } else {
            sources.collect()
        };
        columns[n + inputs] = sources
            .iter()
            .filter(|&&s| s < n + inputs)
            .map(|&s| columns[s] + 2)
            .max()
            .unwrap_or(2);
    }
    let last = columns.iter().max().copied().unwrap_or(0) + 2;
    let mut vertices: Vec<Vertex> = Vec::new();
    // The vertices of the states; an input that nothing reads has none.
    let mut place_of: Vec<Option<usize>> = Vec::new();
    let mut add = |mark, column| {
        vertices.push(Vertex {
            mark,
            column,
            x: 0.0,
            y: 0.0,
            half: 0.0,
        });
        vertices.len() - 1
    };
    for (state, &column) in columns.iter().enumerate() {
        if state < inputs && !cell.reads(state) {
            place_of.push(None);
            continue;
        }
        let (fill, text) = if state < inputs {
            ("#2e7d4f", "#ffffff")
        } else {
            ("#cfe5f8", "#14324d")
        };
        let mark = Mark::State {
            name: cell.state_name(state),
            fill,
            text,
        };
        place_of.push(Some(add(mark, column)));
    }
    let output = add(
        Mark::State {
            name: "c_{k}".into(),
            fill: "#fbf0bd",
            text: "#4d4310",
        },
        last,
    );
    let mut paths = Vec::new();
    let mut connect = |from: usize, to: usize, to_column: usize, op: Option<(String, String)>| {
        let Some(start) = place_of[from] else {
            return;
        };
        let mut through = vec![start];
        for column in columns[from] + 1..to_column {
            let mark = match &op {
                Some((text, colour)) if column + 1 == to_column => Mark::Label {
                    text: text.clone(),
                    colour: colour.clone(),
                },
                _ => Mark::Bend,
            };
            through.push(add(mark, column));
        }
        through.push(to);
        let dashed = op.is_none();
        paths.push(Path {
            through,
            colour: op.map_or_else(|| PLAIN.to_string(), |(_, colour)| colour),
            dashed,
        });
    };
    for (n, node) in cell.nodes.iter().enumerate() {
        let state = n + inputs;
        let Some(to) = place_of[state] else {
            continue;
        };
        if node.edges.is_empty() {
            connect(state - 1, to, columns[state], None);
        }
        for (from, op) in node.edges.iter().flat_map(super::EdgeDesc::parts) {
            if from < state {
                let labelled = (label(op), palette.get(&op.name).to_string());
                connect(from, to, columns[state], Some(labelled));
            }
        }
    }
    for &state in cell.concat.iter().filter(|&&s| s < n_states) {
        connect(state, output, last, None);
    }
    place(vertices, paths, last + 1)
}

/// Orders the columns and gives every vertex a place.
fn place(mut vertices: Vec<Vertex>, paths: Vec<Path>, n_columns: usize) -> Layout {
    let mut neighbours: Vec<[Vec<usize>; 2]> = vertices.iter().map(|_| [vec![], vec![]]).collect();
    for path in &paths {
        for pair in path.through.windows(2) {
            neighbours[pair[0]][1].push(pair[1]);
            neighbours[pair[1]][0].push(pair[0]);
        }
    }
    let mut columns: Vec<Vec<usize>> = vec![vec![]; n_columns];
    for (i, vertex) in vertices.iter().enumerate() {
        columns[vertex.column].push(i);
    }
    let mean = |ys: &[f64]| ys.iter().sum::<f64>() / ys.len() as f64;
    for (c, column) in columns.iter().enumerate() {
        for (row, &v) in column.iter().enumerate() {
            vertices[v].y = (row as f64 - column.len() as f64 / 2.0) * 40.0 + c as f64 * 0.01;
        }
    }
    for sweep in 0..24 {
        let side = sweep % 2;
        let order: Vec<usize> = if side == 0 {
            (0..n_columns).collect()
        } else {
            (0..n_columns).rev().collect()
        };
        // The last sweeps keep the order and look to both sides, which straightens the lines.
        let settle = sweep >= 16;
        for c in order {
            let wish = |v: usize| {
                let sides = if settle {
                    [0, 1].as_slice()
                } else {
                    std::slice::from_ref(&side)
                };
                let ys: Vec<f64> = sides
                    .iter()
                    .flat_map(|&s| &neighbours[v][s])
                    .map(|&other| vertices[other].y)
                    .collect();
                if ys.is_empty() {
                    vertices[v].y
                } else {
                    mean(&ys)
                }
            };
            let mut wishes: Vec<(f64, usize)> = columns[c].iter().map(|&v| (wish(v), v)).collect();
            if !settle {
                wishes.sort_by(|a, b| a.0.total_cmp(&b.0));
            }
            columns[c] = wishes.iter().map(|w| w.1).collect();
            let heights: Vec<f64> = columns[c]
                .iter()
                .map(|&v| vertices[v].size().1 + ROW_GAP)
                .collect();
            let wishes: Vec<f64> = wishes.iter().map(|w| w.0).collect();
            for (&v, y) in columns[c].iter().zip(spread(&wishes, &heights)) {
                vertices[v].y = y;
            }
        }
    }
    let mut x = MARGIN;
    for column in &columns {
        let width = column
            .iter()
            .map(|&v| vertices[v].size().0)
            .fold(0.0, f64::max);
        for &v in column {
            vertices[v].x = x + width / 2.0;
            vertices[v].half = if vertices[v].mark == Mark::Bend {
                width
            } else {
                vertices[v].size().0
            } / 2.0;
        }
        x += width + COLUMN_GAP;
    }
    let top = vertices
        .iter()
        .map(|v| v.y - v.size().1 / 2.0)
        .fold(f64::INFINITY, f64::min);
    let bottom = vertices
        .iter()
        .map(|v| v.y + v.size().1 / 2.0)
        .fold(f64::NEG_INFINITY, f64::max);
    for vertex in &mut vertices {
        vertex.y -= top;
    }
    Layout {
        vertices,
        paths,
        width: x - COLUMN_GAP + MARGIN,
        height: bottom - top,
    }
}

/// Positions nearest to `wishes` (least squares) in which neighbours of these heights do not overlap: isotonic regression by
/// pooling adjacent violators.
fn spread(wishes: &[f64], heights: &[f64]) -> Vec<f64> {
    let mut offsets = Vec::with_capacity(wishes.len());
    let mut offset = 0.0;
    for (i, height) in heights.iter().enumerate() {
        if i > 0 {
            offset += (heights[i - 1] + height) / 2.0;
        }
        offsets.push(offset);
    }
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for (wish, offset) in wishes.iter().zip(&offsets) {
        pools.push((wish - offset, 1));
        while let [.., (a, n), (b, m)] = pools[..] {
            if a <= b {
                break;
            }
            let total = n + m;
            pools.truncate(pools.len() - 2);
            pools.push(((a * n as f64 + b * m as f64) / total as f64, total));
        }
    }
    let fitted = pools
        .into_iter()
        .flat_map(|(value, n)| std::iter::repeat_n(value, n));
    fitted
        .zip(offsets)
        .map(|(value, offset)| value + offset)
        .collect()
}

/// `c_{k-2}` with a subscript.
fn svg_name(name: &str) -> String {
    match name.split_once("_{") {
        Some((base, sub)) => format!(
            "{}<tspan dy=\"4\" font-size=\"10\">{}</tspan>",
            escape(base),
            escape(sub.trim_end_matches('}')).replace('-', "−")
        ),
        None => escape(name),
    }
}

fn draw_layout(svg: &mut String, layout: &Layout, top: f64) {
    for path in &layout.paths {
        let at = |i: usize| {
            (
                layout.vertices[i].x,
                layout.vertices[i].y + top,
                layout.vertices[i].half,
            )
        };
        let (x, y, half) = at(path.through[0]);
        let mut d = format!("M{:.1} {y:.1}", x + half);
        let mut pen = (x + half, y);
        for (k, &v) in path.through.iter().enumerate().skip(1) {
            let (x, y, half) = at(v);
            let end = if k + 1 == path.through.len() {
                x - half - 7.0
            } else {
                x - half
            };
            let bend = (end - pen.0) / 2.0;
            let _ = write!(
                d,
                " C{:.1} {:.1} {:.1} {y:.1} {end:.1} {y:.1}",
                pen.0 + bend,
                pen.1,
                end - bend
            );
            if k + 1 < path.through.len() {
                let _ = write!(d, " H{:.1}", x + half);
            }
            pen = (x + half, y);
        }
        let dash = if path.dashed {
            " stroke-dasharray=\"5 4\""
        } else {
            ""
        };
        let _ = writeln!(
            svg,
            "<path d=\"{d}\" fill=\"none\" stroke=\"{0}\" stroke-width=\"2\"{dash} marker-end=\"url(#a{1})\"/>",
            path.colour,
            path.colour.trim_start_matches('#')
        );
    }
    for vertex in &layout.vertices {
        let (width, height) = vertex.size();
        let (x, y) = (vertex.x - width / 2.0, vertex.y + top - height / 2.0);
        let mut chip = |radius: f64,
                        fill: &str,
                        stroke: &str,
                        size: u32,
                        weight: u32,
                        ink: &str,
                        text: &str| {
            let _ = writeln!(
                svg,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"{radius}\" fill=\"{fill}\" \
                 stroke=\"{stroke}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"{size}\" \
                 font-weight=\"{weight}\" fill=\"{ink}\">{text}</text>",
                vertex.x,
                vertex.y + top + f64::from(size) * 0.36,
            );
        };
        match &vertex.mark {
            Mark::State { name, fill, text } => {
                chip(8.0, fill, "#5b6875", 15, 600, text, &svg_name(name))
            }
            Mark::Label { text, colour } => {
                chip(11.0, "#ffffff", colour, 12, 400, colour, &escape(text))
            }
            Mark::Bend => {}
        }
    }
}

/// Draws all cells that differ, each once, with a legend of the ops that occur.
pub fn draw_svg(desc: &ModelDesc) -> String {
    let palette = Palette::of(desc);
    let groups = desc.distinct_cells().into_iter();
    let layouts: Vec<(CellGroup, Layout)> = groups
        .map(|group| {
            let layout = layout(&desc.cells[group.first()], &palette);
            (group, layout)
        })
        .collect();
    let legend_width: f64 = palette
        .0
        .iter()
        .map(|(name, _)| name.chars().count() as f64 * 7.0 + 44.0)
        .sum();
    let widest = layouts.iter().map(|(_, l)| l.width).fold(0.0, f64::max);
    let width = widest
        .max(legend_width.min(760.0) + 2.0 * MARGIN)
        .max(480.0);
    let mut body = String::new();
    let mut y = MARGIN + 8.0;
    let n_reductions = desc
        .cells
        .iter()
        .filter(|c| c.cell_type == CellType::Reduction)
        .count();
    let title = format!(
        "{} cells, {n_reductions} of them reductions · {}×{}×{} → {} classes",
        desc.cells.len(),
        desc.input.channels,
        desc.input.height,
        desc.input.width,
        desc.n_classes
    );
    let _ = writeln!(
        body,
        "<text x=\"{MARGIN}\" y=\"{y:.1}\" font-size=\"13\" fill=\"#5b6875\">{title}</text>"
    );
    y += 14.0;
    for (group, layout) in &layouts {
        y += 22.0;
        let _ = writeln!(
            body,
            "<text x=\"{MARGIN}\" y=\"{y:.1}\" font-size=\"16\" font-weight=\"600\" fill=\"#1d2733\">{}</text>",
            escape(&group.to_string())
        );
        y += 18.0;
        draw_layout(&mut body, layout, y);
        y += layout.height + 22.0;
    }
    y += 8.0;
    let mut x = MARGIN;
    for (name, colour) in &palette.0 {
        let item = name.chars().count() as f64 * 7.0 + 44.0;
        if x + item > width - MARGIN / 2.0 && x > MARGIN {
            x = MARGIN;
            y += 22.0;
        }
        let _ = writeln!(
            body,
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"18\" height=\"12\" rx=\"3\" fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{y:.1}\" \
             font-size=\"12\" fill=\"#1d2733\">{}</text>",
            y - 10.0,
            x + 24.0,
            escape(name)
        );
        x += item;
    }
    let height = y + MARGIN;
    let mut colours: Vec<&str> = palette
        .0
        .iter()
        .map(|(_, colour)| colour.as_str())
        .chain([PLAIN])
        .collect();
    colours.sort_unstable();
    colours.dedup();
    let mut markers = String::new();
    for colour in colours {
        let _ = writeln!(
            markers,
            "<marker id=\"a{}\" viewBox=\"0 0 8 8\" refX=\"1\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" \
             markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"{colour}\"/></marker>",
            colour.trim_start_matches('#')
        );
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"Helvetica, Arial, 'DejaVu Sans', sans-serif\">\n<defs>\n{markers}</defs>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{body}</svg>\n"
    )
}

/// The same cells in the language of Graphviz.
pub fn draw_dot(desc: &ModelDesc) -> String {
    let palette = Palette::of(desc);
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
            for (from, op) in node.edges.iter().flat_map(super::EdgeDesc::parts) {
                let (label, colour) = (quote(&label(op)), quote(palette.get(&op.name)));
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
