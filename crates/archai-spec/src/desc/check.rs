//! Shapes of every state of a model, and everything that can contradict them. All errors are collected in one walk.

use std::fmt;

use super::{
    CellDesc, DescError, DescErrorKind, DescErrors, FORMAT_VERSION, MAX_CHANNELS, ModelDesc,
    OpCatalog, OpDesc, Shape, StemInput,
};

/// Largest height or width of an image that a description may ask for.
pub const MAX_SIZE: usize = 1 << 16;

impl Shape {
    /// A shape at scale 1.
    pub fn new(channels: usize, height: usize, width: usize) -> Self {
        Shape {
            channels,
            height,
            width,
            scale: 1,
        }
    }
    /// How many numbers it is when flattened: channels times height times width, at most the largest `usize`.
    pub fn flattened(self) -> usize {
        (self.channels)
            .saturating_mul(self.height)
            .saturating_mul(self.width)
    }
    /// Whether height, width and scale agree.
    pub fn same_size(self, other: Shape) -> bool {
        (self.height, self.width, self.scale) == (other.height, other.width, other.scale)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}×{}×{}", self.channels, self.height, self.width)?;
        if self.scale != 1 {
            write!(f, " (scale {})", self.scale)
        } else {
            Ok(())
        }
    }
}

/// Most inputs that a cell may have.
pub const MAX_CELL_INPUTS: usize = 8;

/// Shapes inside a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellShapes {
    /// What enters each of the cell's stems.
    pub inputs: Vec<Shape>,
    /// States: the stemmed inputs, then the nodes.
    pub states: Vec<Shape>,
    /// The output.
    pub out: Shape,
}

impl CellShapes {
    /// The shapes of some states.
    pub(super) fn pick(&self, states: &[usize]) -> Vec<Shape> {
        states.iter().map(|&i| self.states[i]).collect()
    }
}

/// Shapes of every state of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelShapes {
    /// What enters each model stem.
    pub stem_inputs: Vec<Shape>,
    /// What comes out of each model stem.
    pub stems: Vec<Shape>,
    /// Cells.
    pub cells: Vec<CellShapes>,
    /// What enters the pool: the output of the last cell.
    pub features: Shape,
    /// What enters the classifier.
    pub pooled: Shape,
}

/// Collects errors; an op whose inputs are unknown because of an earlier error adds none.
struct Walk<'a> {
    catalog: &'a OpCatalog,
    errors: Vec<DescError>,
}

impl Walk<'_> {
    fn fail(&mut self, kind: DescErrorKind, place: impl fmt::Display, message: impl Into<String>) {
        self.errors.push(DescError::new(kind, message).at(place));
    }
    fn keep<T>(&mut self, place: impl fmt::Display, result: Result<T, DescError>) -> Option<T> {
        result.map_err(|e| self.errors.push(e.at(place))).ok()
    }
    /// The place is written out for an error alone: a network has many ops.
    fn op(
        &mut self,
        place: fmt::Arguments<'_>,
        op: &OpDesc,
        inputs: Option<Vec<Shape>>,
    ) -> Option<Shape> {
        self.keep(place, self.catalog.check(op))?;
        self.keep(place, self.catalog.out_shape(op, &inputs?))
    }
    /// Compares a computed shape with the recorded one; the recorded one carries on after an error.
    fn recorded(
        &mut self,
        place: fmt::Arguments<'_>,
        computed: Option<Shape>,
        recorded: Shape,
    ) -> Shape {
        if let Some(shape) = computed.filter(|shape| *shape != recorded) {
            self.fail(
                DescErrorKind::Shape,
                place,
                format!(
                    "`out` says {recorded}, but the ops give {shape}; correct whichever is wrong"
                ),
            );
        }
        recorded
    }
}

impl ModelDesc {
    /// Checks everything and reports all errors: unknown ops, references that lead nowhere, shapes that do not fit,
    /// recorded shapes that differ from computed ones, shared architecture parameters of unlike cells.
    ///
    /// # Errors
    /// Each error names its place (stem, or cell, node and edge) and, where shapes matter, both shapes.
    pub fn check(&self, catalog: &OpCatalog) -> Result<(), DescErrors> {
        self.shapes(catalog).map(|_| ())
    }

    /// The shape of every state.
    ///
    /// # Errors
    /// Those of [`ModelDesc::check`].
    pub fn shapes(&self, catalog: &OpCatalog) -> Result<ModelShapes, DescErrors> {
        let mut walk = Walk {
            catalog,
            errors: Vec::new(),
        };
        self.check_head(&mut walk);
        if !walk.errors.is_empty() {
            return Err(DescErrors(walk.errors));
        }
        let shapes = self.walk(&mut walk);
        match shapes {
            Some(shapes) if walk.errors.is_empty() => Ok(shapes),
            _ => Err(DescErrors(walk.errors)),
        }
    }

    fn check_head(&self, walk: &mut Walk<'_>) {
        use DescErrorKind::{Structure, Version};
        if self.version != FORMAT_VERSION {
            walk.fail(Version, "version", version_message(self.version));
        }
        for (name, n, max) in [
            ("input.channels", self.input.channels, MAX_CHANNELS),
            ("input.height", self.input.height, MAX_SIZE),
            ("input.width", self.input.width, MAX_SIZE),
            ("input.scale", self.input.scale, 1),
            ("n_classes", self.n_classes, MAX_CHANNELS),
            ("max_final_edges", self.max_final_edges, MAX_CHANNELS),
        ] {
            if n == 0 || n > max {
                walk.fail(
                    Structure,
                    name,
                    format!(
                        "is {n}; expected {}",
                        if max == 1 {
                            "1".into()
                        } else {
                            format!("1 to {max}")
                        }
                    ),
                );
            }
        }
        // Recorded shapes carry the walk on after an error, so they have to be sane themselves.
        let stems = self
            .stems
            .iter()
            .enumerate()
            .map(|(i, s)| (format!("stem {i}"), s.out));
        let cells = self
            .cells
            .iter()
            .enumerate()
            .map(|(i, c)| (format!("cell {i}"), c.out));
        for (place, out) in stems.chain(cells) {
            let sane = |n: usize, max: usize| (1..=max).contains(&n);
            let sizes = [out.height, out.width, out.scale];
            if !sane(out.channels, MAX_CHANNELS) || !sizes.iter().all(|&n| sane(n, MAX_SIZE)) {
                let limits = format!(
                    "1 to {MAX_CHANNELS} channels, height, width and scale from 1 to {MAX_SIZE}"
                );
                walk.fail(
                    Structure,
                    place,
                    format!("`out` says {out}; expected {limits}"),
                );
            }
        }
        if self.stems.is_empty() {
            walk.fail(
                Structure,
                "stems",
                "is empty; a model needs at least one stem",
            );
        }
        if self.cells.is_empty() {
            walk.fail(
                Structure,
                "cells",
                "is empty; a model needs at least one cell",
            );
        }
        let window = self.stem_outputs.len();
        if !(1..=MAX_CELL_INPUTS).contains(&window) {
            walk.fail(
                Structure,
                "stem_outputs",
                format!("names {window} inputs of the first cell; expected 1 to {MAX_CELL_INPUTS}"),
            );
        }
        for (i, cell) in self.cells.iter().enumerate() {
            if !(1..=window).contains(&cell.stems.len()) {
                walk.fail(
                    Structure,
                    format!("cell {i}"),
                    format!(
                        "has {} stem(s); expected 1 to {window}, as many as there are inputs in `stem_outputs`",
                        cell.stems.len()
                    ),
                );
            }
        }
        for (i, &stem) in self.stem_outputs.iter().enumerate() {
            if stem >= self.stems.len() && !self.stems.is_empty() {
                walk.fail(
                    DescErrorKind::Reference,
                    "stem_outputs",
                    format!("input {i} of the first cell comes from stem {stem}, but there are {} stem(s)", self.stems.len()),
                );
            }
        }
    }

    fn walk(&self, walk: &mut Walk<'_>) -> Option<ModelShapes> {
        let (mut stem_inputs, mut stems) = (Vec::new(), Vec::new());
        for (i, stem) in self.stems.iter().enumerate() {
            let input = match stem.input {
                StemInput::Image => Some(self.input),
                StemInput::Stem(from) if from < i => stems.get(from).copied(),
                StemInput::Stem(from) => {
                    walk.fail(
                        DescErrorKind::Reference,
                        format_args!("stem {i}"),
                        format!("reads stem {from}; it can only read the image or an earlier stem"),
                    );
                    None
                }
            };
            let out = walk.op(format_args!("stem {i}"), &stem.op, input.map(|s| vec![s]));
            stem_inputs.push(input);
            stems.push(walk.recorded(format_args!("stem {i}"), out, stem.out));
        }
        let mut previous: Vec<Shape> = self.stem_outputs.iter().map(|&i| stems[i]).collect();
        let mut cells = Vec::new();
        for (i, cell) in self.cells.iter().enumerate() {
            self.check_owner(walk, i, cell);
            let inputs = last(&previous, cell.stems.len());
            let (states, out) = walk_cell(walk, i, cell, inputs);
            let out = walk.recorded(format_args!("cell {i}"), out, cell.out);
            cells.push(states.map(|states| CellShapes {
                inputs: inputs.to_vec(),
                states,
                out,
            }));
            if let Some(tower) = &cell.aux_tower {
                let place = format!("cell {i}, auxiliary tower");
                walk.keep(&place, tower.cost(cell.out));
                if tower.n_classes != self.n_classes {
                    walk.fail(
                        DescErrorKind::Structure,
                        &place,
                        format!(
                            "has `n_classes: {}`, but the model has {}",
                            tower.n_classes, self.n_classes
                        ),
                    );
                }
            }
            push(&mut previous, cell.out);
        }
        // There is at least one cell.
        let features = previous[previous.len() - 1];
        let pooled = walk.op(format_args!("pool"), &self.pool, Some(vec![features]));
        walk.op(
            format_args!("logits"),
            &self.logits,
            pooled.map(|s| vec![s]),
        );
        if self.logits.ch_out != self.n_classes {
            walk.fail(
                DescErrorKind::Structure,
                "logits",
                format!(
                    "`{}` gives {} outputs, but `n_classes` is {}",
                    self.logits.name, self.logits.ch_out, self.n_classes
                ),
            );
        }
        Some(ModelShapes {
            stem_inputs: stem_inputs.into_iter().collect::<Option<_>>()?,
            stems,
            cells: cells.into_iter().collect::<Option<_>>()?,
            features,
            pooled: pooled?,
        })
    }

    /// Architecture parameters are shared between cells of one kind with the same mixed edges.
    fn check_owner(&self, walk: &mut Walk<'_>, i: usize, cell: &CellDesc) {
        let place = format!("cell {i}");
        let from = cell.alphas_from;
        if from == i {
            return;
        }
        let Some(owner) = self.cells[..i].get(from) else {
            walk.fail(
                DescErrorKind::Reference,
                place,
                format!(
                    "`alphas_from: {from}` must name an earlier cell, or the cell itself ({i})"
                ),
            );
            return;
        };
        let problem = if owner.alphas_from != from {
            format!(
                "which has none of its own but uses those of cell {}; name that one",
                owner.alphas_from
            )
        } else if owner.cell_type != cell.cell_type {
            "which is of another kind".to_string()
        } else if mixed_edges(owner) != mixed_edges(cell) {
            "whose mixed edges differ in place, inputs or number of children".to_string()
        } else {
            return;
        };
        walk.fail(
            DescErrorKind::Structure,
            place,
            format!("uses the architecture parameters of cell {from}, {problem}"),
        );
    }
}

/// Place (node, edge), inputs and children of the mixed edges.
fn mixed_edges(cell: &CellDesc) -> Vec<(usize, usize, &[usize], Vec<&str>)> {
    let mut found = Vec::new();
    for (n, node) in cell.nodes.iter().enumerate() {
        for (e, edge) in node
            .edges
            .iter()
            .enumerate()
            .filter(|(_, edge)| edge.op.is_mixed())
        {
            let children = edge
                .op
                .children
                .iter()
                .map(|c| c.op.name.as_str())
                .collect();
            found.push((n, e, edge.inputs.as_slice(), children));
        }
    }
    found
}

/// The states that may be named, as text.
fn state_list(n: usize, inputs: usize) -> String {
    let names: Vec<String> = (0..inputs).map(|i| i.to_string()).collect();
    format!(
        "states 0 to {} ({}: the cell's inputs; {inputs}+k: node k)",
        n.saturating_sub(1),
        names.join(", ")
    )
}

/// The last `n` outputs, those that a cell of `n` stems reads.
pub(super) fn last(outputs: &[Shape], n: usize) -> &[Shape] {
    &outputs[outputs.len().saturating_sub(n)..]
}

/// One more output; the oldest one is out of reach now.
pub(super) fn push(outputs: &mut [Shape], out: Shape) {
    outputs.rotate_left(1);
    if let Some(place) = outputs.last_mut() {
        *place = out;
    }
}

/// Output of a cell whose `out` is not known yet.
pub(super) fn cell_out(
    catalog: &OpCatalog,
    i: usize,
    cell: &CellDesc,
    inputs: &[Shape],
) -> Result<Shape, DescErrors> {
    let mut walk = Walk {
        catalog,
        errors: Vec::new(),
    };
    match walk_cell(&mut walk, i, cell, inputs).1 {
        Some(out) if walk.errors.is_empty() => Ok(out),
        _ => Err(DescErrors(walk.errors)),
    }
}

/// States and output of a cell, as far as they can be known.
fn walk_cell(
    walk: &mut Walk<'_>,
    i: usize,
    cell: &CellDesc,
    inputs: &[Shape],
) -> (Option<Vec<Shape>>, Option<Shape>) {
    let mut states: Vec<Option<Shape>> = Vec::new();
    for (s, (stem, input)) in cell.stems.iter().zip(inputs).enumerate() {
        states.push(walk.op(format_args!("cell {i}, stem {s}"), stem, Some(vec![*input])));
    }
    for (n, node) in cell.nodes.iter().enumerate() {
        let mut sum: Option<(usize, Shape)> = None;
        let mut complete = true;
        for (e, edge) in node.edges.iter().enumerate() {
            let known = edge.inputs.iter().all(|&input| input < states.len());
            if let Some(bad) = edge.inputs.iter().find(|&&input| input >= states.len()) {
                walk.fail(
                    DescErrorKind::Reference,
                    format_args!("cell {i}, node {n}, edge {e}"),
                    format!(
                        "reads state {bad}, but node {n} can read {}",
                        state_list(states.len(), cell.stems.len())
                    ),
                );
            }
            let read = if known {
                edge.inputs.iter().map(|&input| states[input]).collect()
            } else {
                None
            };
            let place = format_args!("cell {i}, node {n}, edge {e}");
            let Some(shape) = walk.op(place, &edge.op, read) else {
                complete = false;
                continue;
            };
            match sum {
                Some((first, expected)) if expected != shape => {
                    complete = false;
                    walk.fail(
                        DescErrorKind::Shape,
                        format_args!("cell {i}, node {n}, edge {e}"),
                        format!(
                            "`{}` gives {shape}, but edge {first} of the node gives {expected}; a node adds its edges, so they must agree",
                            edge.op.name
                        ),
                    );
                }
                Some(_) => {}
                None => sum = Some((e, shape)),
            }
        }
        // A node without edges repeats the last state before it.
        let repeated = if node.edges.is_empty() {
            states.last().copied().flatten()
        } else {
            None
        };
        states.push(if complete {
            sum.map(|(_, shape)| shape).or(repeated)
        } else {
            None
        });
    }
    let mut joined = Some(Vec::new());
    for &state in &cell.concat {
        match states.get(state) {
            Some(Some(shape)) => {
                if let Some(j) = joined.as_mut() {
                    j.push(*shape);
                }
            }
            Some(None) => joined = None,
            None => {
                joined = None;
                walk.fail(
                    DescErrorKind::Reference,
                    format_args!("cell {i}, post op"),
                    format!(
                        "`concat` names state {state}, but the cell has {}",
                        state_list(states.len(), cell.stems.len())
                    ),
                );
            }
        }
    }
    let out = walk.op(format_args!("cell {i}, post op"), &cell.post_op, joined);
    (states.into_iter().collect(), out)
}

/// What to say of a layout that this program does not read.
pub(super) fn version_message(version: u32) -> String {
    if version > FORMAT_VERSION {
        format!(
            "the description has layout version {version}, written by a newer program; this one reads up to {FORMAT_VERSION}. \
             Update the program, or export the description again"
        )
    } else {
        format!("there is no layout version {version}; this program writes {FORMAT_VERSION}")
    }
}
