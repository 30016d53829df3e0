//! The canonical form of a network: equal for members that are the same network written differently.
//!
//! What no input reaches or what reaches no output is dropped, identities are contracted, sums and concatenations have no
//! order, and what is used twice stays one op: two convolutions of one input are not one convolution used twice. The ops
//! of a cell are ordered by the smallest adjacency among the orders that refined colours allow.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use archai_spec::desc::{CellDesc, ModelDesc, OpCatalog, OpDesc, StemInput};

/// A vertex: an input of the cell, an op, a sum that one of several operands is, or the output.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Vertex {
    label: String,
    /// The terms of what it reads: vertex and how often.
    reads: BTreeMap<usize, u32>,
}

/// Most vertices of a cell whose orders are searched.
const MAX_SEARCHED: usize = 500;
/// Most orders of one cell that are compared.
const MAX_LEAVES: usize = 2000;

/// A sum of vertices, each so often; the empty sum is zero.
type Sum = BTreeMap<usize, u32>;

/// An op as text, without what changes training alone.
fn label(op: &OpDesc) -> String {
    use std::fmt::Write;
    let mut text = format!("{} {} {} {}", op.name, op.ch_in, op.ch_out, op.stride);
    let mut params: Vec<_> = op
        .params
        .iter()
        .filter(|(name, _)| *name != "keep")
        .collect();
    params.sort_by_key(|(name, _)| *name);
    for (name, value) in params {
        let _ = write!(text, " {name}={value}");
    }
    if let Some(affine) = op.affine {
        let _ = write!(text, " affine={affine}");
    }
    for child in &op.children {
        let _ = write!(text, " ({}: {})", child.input, label(&child.op));
    }
    text
}

fn is_identity(op: &OpDesc) -> bool {
    op.ch_in == op.ch_out
        && match op.name.as_str() {
            "identity" => true,
            "skip_connect" => op.stride == 1,
            "activation" => op
                .params
                .get("act")
                .is_none_or(|act| act.to_string() == "none"),
            _ => false,
        }
}

/// Whether it has no parameters, so that its output follows from its input.
fn is_fixed(op: &OpDesc, catalog: &OpCatalog) -> bool {
    let layers = catalog.lower(op, 1, true);
    layers.is_ok_and(|list| list.steps.iter().all(|step| step.layer.params().is_empty()))
}

fn add(into: &mut Sum, from: &Sum) {
    for (&vertex, n) in from {
        *into.entry(vertex).or_insert(0) += n;
    }
}

/// The ops of a cell that matter, from inputs to output.
#[derive(Debug)]
struct Live {
    vertices: Vec<Vertex>,
    inputs: usize,
    output: Sum,
}

impl Live {
    fn of(cell: &CellDesc, catalog: &OpCatalog) -> Live {
        let inputs = cell.stems.len();
        let mut live = Live {
            vertices: Vec::new(),
            inputs,
            output: Sum::new(),
        };
        for i in 0..inputs {
            live.vertices.push(Vertex {
                label: format!("input {i}"),
                reads: Sum::new(),
            });
        }
        let mut states: Vec<Sum> = Vec::new();
        for (i, stem) in cell.stems.iter().enumerate() {
            let sum = live.apply(stem, &[Sum::from([(i, 1)])], catalog);
            states.push(sum);
        }
        for node in &cell.nodes {
            let mut sum = Sum::new();
            for edge in &node.edges {
                let read: Vec<Sum> = edge.inputs.iter().map(|&s| states[s].clone()).collect();
                add(&mut sum, &live.apply(&edge.op, &read, catalog));
            }
            if node.edges.is_empty() {
                sum = states.last().cloned().unwrap_or_default();
            }
            states.push(sum);
        }
        let joined: Vec<Sum> = cell.concat.iter().map(|&s| states[s].clone()).collect();
        live.output = live.apply(&cell.post_op, &joined, catalog);
        live.prune();
        live
    }

    fn apply(&mut self, op: &OpDesc, read: &[Sum], catalog: &OpCatalog) -> Sum {
        if catalog.is_zero(&op.name) || read.iter().all(Sum::is_empty) {
            return Sum::new();
        }
        if let [only] = read {
            if is_identity(op) || op.name.starts_with("concat") {
                return only.clone();
            }
            let label = label(op);
            // Without parameters, the same of the same is one value, however often it is written.
            let twin = |vertex: &Vertex| vertex.label == label && vertex.reads == *only;
            if let Some(known) = self.vertices.iter().position(twin)
                && is_fixed(op, catalog)
            {
                return Sum::from([(known, 1)]);
            }
            return self.vertex(label, only.clone());
        }
        // Several operands: each is a vertex of its own, so that it is known what is joined and what is added.
        let mut reads = Sum::new();
        for sum in read {
            let part = self.vertex("part".to_owned(), sum.clone());
            add(&mut reads, &part);
        }
        self.vertex(label(op), reads)
    }

    fn vertex(&mut self, label: String, reads: Sum) -> Sum {
        self.vertices.push(Vertex { label, reads });
        Sum::from([(self.vertices.len() - 1, 1)])
    }

    /// Drops what does not reach the output.
    fn prune(&mut self) {
        let mut wanted = BTreeSet::new();
        let mut open: Vec<usize> = self.output.keys().copied().collect();
        while let Some(vertex) = open.pop() {
            if wanted.insert(vertex) {
                open.extend(self.vertices[vertex].reads.keys());
            }
        }
        let kept: Vec<usize> = (0..self.vertices.len())
            .filter(|v| *v < self.inputs || wanted.contains(v))
            .collect();
        let place: HashMap<usize, usize> = kept.iter().enumerate().map(|(i, &v)| (v, i)).collect();
        let moved = |sum: &Sum| -> Sum {
            sum.iter()
                .filter_map(|(v, n)| Some((*place.get(v)?, *n)))
                .collect()
        };
        self.output = moved(&self.output);
        self.vertices = kept
            .iter()
            .map(|&v| Vertex {
                label: self.vertices[v].label.clone(),
                reads: moved(&self.vertices[v].reads),
            })
            .collect();
    }

    /// Whether it gives back its last input and does nothing else.
    fn is_identity(&self) -> bool {
        self.output.len() == 1 && self.output.get(&(self.inputs - 1)) == Some(&1)
    }

    /// The smallest text among all orders of the vertices that look alike.
    fn canonical(&self) -> String {
        let n = self.vertices.len();
        let mut readers: Vec<Vec<(usize, u32)>> = vec![Vec::new(); n];
        for (v, vertex) in self.vertices.iter().enumerate() {
            for (&from, &times) in &vertex.reads {
                readers[from].push((v, times));
            }
        }
        let colours: Vec<u64> = (0..n)
            .map(|v| {
                let out = self.output.get(&v).copied().unwrap_or(0);
                short(&format!("{} out {out}", self.vertices[v].label))
            })
            .collect();
        let mut best = None;
        self.search(colours, &readers, &mut best, &mut 0);
        best.unwrap_or_default()
    }

    fn refine(&self, colours: &mut Vec<u64>, readers: &[Vec<(usize, u32)>]) {
        let distinct = |colours: &[u64]| colours.iter().collect::<BTreeSet<_>>().len();
        let mut classes = distinct(colours);
        loop {
            let next: Vec<u64> = (0..colours.len())
                .map(|v| {
                    let mut ins: Vec<(u64, u32)> = (self.vertices[v].reads.iter())
                        .map(|(from, n)| (colours[*from], *n))
                        .collect();
                    let mut outs: Vec<(u64, u32)> = readers[v]
                        .iter()
                        .map(|(to, n)| (colours[*to], *n))
                        .collect();
                    ins.sort_unstable();
                    outs.sort_unstable();
                    short(&format!("{} {ins:?} {outs:?}", colours[v]))
                })
                .collect();
            let now = distinct(&next);
            *colours = next;
            if now == classes {
                return;
            }
            classes = now;
        }
    }

    fn search(
        &self,
        mut colours: Vec<u64>,
        readers: &[Vec<(usize, u32)>],
        best: &mut Option<String>,
        leaves: &mut usize,
    ) {
        self.refine(&mut colours, readers);
        let mut classes: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (v, colour) in colours.iter().enumerate() {
            classes.entry(*colour).or_default().push(v);
        }
        let alike =
            (classes.values()).find(|class| class.len() > 1 && colours.len() <= MAX_SEARCHED);
        let Some(alike) = alike else {
            *leaves += 1;
            let order: Vec<usize> = classes.into_values().flatten().collect();
            let text = self.text(&order);
            if best.as_ref().is_none_or(|known| text < *known) {
                *best = Some(text);
            }
            return;
        };
        let mut tried: Vec<usize> = Vec::new();
        for &v in alike {
            // Twins read the same and are read by the same: exchanging them changes nothing.
            let is_twin = |&other: &usize| {
                self.vertices[other].reads == self.vertices[v].reads && readers[other] == readers[v]
            };
            // Parts that look alike in so many ways are copies of each other: any order gives the same text.
            if tried.iter().any(is_twin) || *leaves >= MAX_LEAVES {
                continue;
            }
            tried.push(v);
            let mut chosen = colours.clone();
            chosen[v] = short(&format!("chosen {}", colours[v]));
            self.search(chosen, readers, best, leaves);
        }
    }

    fn text(&self, order: &[usize]) -> String {
        use std::fmt::Write;
        let mut place = vec![0; order.len()];
        for (i, &v) in order.iter().enumerate() {
            place[v] = i;
        }
        let mut text = String::new();
        let sum = |sum: &Sum| {
            let mut terms: Vec<(usize, u32)> = sum.iter().map(|(v, n)| (place[*v], *n)).collect();
            terms.sort_unstable();
            terms
        };
        for &v in order {
            let vertex = &self.vertices[v];
            let _ = write!(text, "{} {:?};", vertex.label, sum(&vertex.reads));
        }
        let _ = write!(text, "{:?}", sum(&self.output));
        text
    }
}

fn short(text: &str) -> u64 {
    let hash = blake3::hash(text.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_be_bytes(first)
}

/// A hash of the canonical form.
pub(crate) fn network_hash(desc: &ModelDesc, catalog: &OpCatalog) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("archai: canonical network, version 1");
    let mut line = |text: &str| {
        hasher.update(text.as_bytes()).update(b"\n");
    };
    let (input, classes) = (desc.input, desc.n_classes);
    line(&format!("{input} {classes} {}", desc.affine));
    for stem in &desc.stems {
        let from = match stem.input {
            StemInput::Image => "image".to_owned(),
            StemInput::Stem(i) => i.to_string(),
        };
        line(&format!("stem {from} {}", label(&stem.op)));
    }
    line(&format!("{:?}", desc.stem_outputs));
    // Most networks repeat few cells.
    let mut known: Vec<(&CellDesc, String)> = Vec::new();
    for cell in &desc.cells {
        let same = |other: &CellDesc| {
            (&other.stems, &other.nodes, &other.post_op, &other.concat)
                == (&cell.stems, &cell.nodes, &cell.post_op, &cell.concat)
        };
        if let Some((_, text)) = known.iter().find(|(other, _)| same(other)) {
            line(text);
            continue;
        }
        let live = Live::of(cell, catalog);
        // Later cells of a chain read what comes before an identity.
        let text = match live.is_identity() && desc.stem_outputs.len() == 1 {
            true => String::new(),
            false => live.canonical(),
        };
        if !text.is_empty() {
            line(&text);
        }
        known.push((cell, text));
    }
    line(&format!("pool {}", label(&desc.pool)));
    line(&format!("logits {}", label(&desc.logits)));
    *hasher.finalize().as_bytes()
}

/// An op for a surrogate: what it is, without channels.
fn kind(op: &OpDesc) -> String {
    use std::fmt::Write;
    let mut text = op.name.clone();
    for (name, value) in op.params.iter().filter(|(name, _)| *name != "keep") {
        let _ = write!(text, ",{name}={value}");
    }
    text
}

/// How often each sequence of up to three live ops lies on a way through the network.
pub(crate) fn paths(desc: &ModelDesc, catalog: &OpCatalog) -> BTreeMap<String, u32> {
    let mut all = BTreeMap::new();
    let mut count = |text: String, n: u32| {
        let known = all.entry(text).or_insert(0u32);
        *known = known.saturating_add(n);
    };
    // The ends of ways so far: the last op, and the last two, each so often.
    type Ends = BTreeMap<(Option<String>, String), u32>;
    let stem = desc
        .stems
        .first()
        .map(|stem| kind(&stem.op))
        .unwrap_or_default();
    let mut outputs: Vec<Ends> = desc
        .stem_outputs
        .iter()
        .map(|_| Ends::from([((None, stem.clone()), 1)]))
        .collect();
    for cell in &desc.cells {
        let live = Live::of(cell, catalog);
        let first = outputs.len().saturating_sub(live.inputs);
        let mut ends: Vec<Ends> = Vec::new();
        let mut names = kinds(&live);
        for (v, vertex) in live.vertices.iter().enumerate() {
            if v < live.inputs {
                ends.push(outputs.get(first + v).cloned().unwrap_or_default());
                continue;
            }
            let name = std::mem::take(&mut names[v]);
            let mut before = Ends::new();
            for (from, n) in &vertex.reads {
                for (end, times) in &ends[*from] {
                    let sum = before.entry(end.clone()).or_insert(0);
                    *sum = sum.saturating_add(times.saturating_mul(*n)).min(1 << 20);
                }
            }
            if name == "part" {
                ends.push(before);
                continue;
            }
            count(name.clone(), 1);
            let mut after = Ends::new();
            for ((earlier, last), n) in before {
                count(format!("{last}>{name}"), 1);
                if let Some(earlier) = earlier {
                    count(format!("{earlier}>{last}>{name}"), 1);
                }
                let sum = after.entry((Some(last), name.clone())).or_insert(0);
                *sum = sum.saturating_add(n).min(1 << 20);
            }
            ends.push(after);
        }
        let mut out = Ends::new();
        for v in live.output.keys() {
            for (end, n) in &ends[*v] {
                let sum = out.entry(end.clone()).or_insert(0);
                *sum = sum.saturating_add(*n).min(1 << 20);
            }
        }
        outputs.push(out);
        outputs.remove(0);
    }
    all
}

/// The labels of live vertices without channels: what stands before the first number, and the parameters.
fn kinds(live: &Live) -> Vec<String> {
    let short = |vertex: &Vertex| {
        let mut words = vertex.label.split(' ');
        let name = words.next().unwrap_or_default().to_owned();
        words
            .filter(|word| word.contains('='))
            .fold(name, |text, word| format!("{text},{word}"))
    };
    live.vertices.iter().map(short).collect()
}
