//! Drawings are well-formed, name everything, overlap nowhere, and stand still while a search goes on.

use archai_spec::desc::draw::{self, Ink, Mark, Part, Picture, Place, Shape, Step, Strengths};
use archai_spec::desc::nasbench101::{Cell101, NasBench101Builder};
use archai_spec::desc::{CellDesc, CellType, ModelDesc, OpCatalog, build, draw_dot, draw_svg, zoo};
use archai_spec::finalize::{EdgeWeights, Supernet};
use archai_spec::rng::Key;
use archai_spec::settings::{ModelDescSettings, StemWiring};
use archai_spec::spaces::{DartsSpace, NasBench201Space, Space};

use super::{cifar, multi_edge, network, supernet};

/// Left, top, width and height.
type Rect = [f64; 4];

fn rect(mark: &Mark) -> Rect {
    let found = mark.shapes.iter().find_map(|shape| match shape {
        Shape::Box { at, .. } => Some(*at),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("{mark:?} has no box"))
}

fn rects(picture: &Picture, part: Part) -> Vec<Rect> {
    let marks = picture.marks.iter().filter(|mark| mark.part == part);
    marks.map(rect).collect()
}

fn overlap(a: &Rect, b: &Rect) -> bool {
    a[0] < b[0] + b[2] && b[0] < a[0] + a[2] && a[1] < b[1] + b[3] && b[1] < a[1] + a[3]
}

/// Points on the lines of a mark, at most 3 pixels from each other.
fn points(mark: &Mark) -> Vec<[f64; 2]> {
    let mut points = Vec::new();
    for shape in &mark.shapes {
        let Shape::Line(line) = shape else {
            continue;
        };
        let mut pen = line.from;
        for step in &line.steps {
            let end = step.end();
            let [dx, dy] = [end[0] - pen[0], end[1] - pen[1]];
            let n = ((dx.abs() + dy.abs()) / 2.0).ceil().max(1.0) as usize;
            for i in 0..=n {
                let t = i as f64 / n as f64;
                let s = 1.0 - t;
                points.push([0, 1].map(|k| match step {
                    Step::To(_) => pen[k] * s + end[k] * t,
                    Step::Curve(a, b, _) => {
                        pen[k] * s * s * s
                            + 3.0 * a[k] * s * s * t
                            + 3.0 * b[k] * s * t * t
                            + end[k] * t * t * t
                    }
                }));
            }
            pen = end;
        }
    }
    points
}

fn is_in([x, y]: [f64; 2], [left, top, width, height]: Rect) -> bool {
    left < x && x < left + width && top < y && y < top + height
}

/// No label meets another one, a state or the line of another edge; no line runs through a state.
fn nothing_overlaps(picture: &Picture, name: &str) {
    let labels = rects(picture, Part::Label);
    let states = rects(picture, Part::State);
    let boxes: Vec<&Rect> = labels.iter().chain(&states).collect();
    for (i, a) in boxes.iter().enumerate() {
        let [left, top, width, height] = **a;
        let inside = left >= 0.0 && top >= 0.0;
        let inside = inside && left + width <= picture.width && top + height <= picture.height;
        assert!(inside, "{name}: {a:?} is not in the picture");
        for b in &boxes[..i] {
            assert!(!overlap(a, b), "{name}: {a:?} overlaps {b:?}");
        }
    }
    let lines = picture.marks.iter();
    let lines = lines.filter(|mark| matches!(mark.part, Part::Edge | Part::Join));
    let lines: Vec<(&Mark, Vec<[f64; 2]>)> = lines.map(|mark| (mark, points(mark))).collect();
    for label in &labels {
        let crossing = lines
            .iter()
            .filter(|(_, line)| line.iter().any(|p| is_in(*p, *label)));
        let crossing: Vec<&str> = crossing.map(|(mark, _)| mark.says.as_str()).collect();
        assert_eq!(crossing.len(), 1, "{name}: {label:?} meets {crossing:?}");
    }
    for [left, top, width, height] in states {
        // Inputs are round at their ends, and lines begin there.
        let round = if width > height { height / 2.0 } else { 1.0 };
        let core = [left + round, top + 1.0, width - 2.0 * round, height - 2.0];
        for (mark, line) in &lines {
            let crosses = line.iter().any(|p| is_in(*p, core));
            assert!(!crosses, "{name}: `{}` runs through {core:?}", mark.says);
        }
    }
}

/// Every element that begins ends, in order, and no text has a stray mark.
fn is_well_formed(svg: &str) {
    let mut open: Vec<&str> = Vec::new();
    for part in svg.split('<').skip(1) {
        let (tag, text) = part.split_once('>').unwrap();
        assert!(
            !text.contains('>') && tag.matches('"').count() % 2 == 0,
            "{part}"
        );
        for entity in text.split('&').skip(1) {
            let name = entity.split(';').next().unwrap();
            assert!(["amp", "lt", "gt", "quot"].contains(&name), "{entity}");
        }
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "{tag}"),
            None if tag.ends_with('/') => {}
            None => open.push(tag.split([' ', '\n']).next().unwrap()),
        }
    }
    assert_eq!(open, Vec::<&str>::new());
    assert!(svg.chars().all(|c| !c.is_control() || c == '\n'));
}

fn check(desc: &ModelDesc, name: &str, words: &[&str]) {
    let svg = draw_svg(desc);
    // For looking at the drawings: a directory named here keeps them.
    if let Some(dir) = std::env::var_os("ARCHAI_DRAWINGS") {
        std::fs::write(std::path::Path::new(&dir).join(format!("{name}.svg")), &svg).unwrap();
    }
    for word in words {
        assert!(svg.contains(word), "{name}: {word} is missing");
    }
    assert_eq!(svg, draw_svg(desc), "{name}: a drawing is always the same");
    is_well_formed(&svg);
    let picture = draw::cells(desc, &OpCatalog::builtin());
    nothing_overlaps(&picture, name);
    let groups = desc.distinct_cells();
    let cells = groups.iter().map(|group| &desc.cells[group.first()]);
    let edges = cells.map(|cell| cell.nodes.iter().flat_map(|node| &node.edges));
    let parts: usize = edges.flatten().map(|edge| edge.parts().len()).sum();
    assert_eq!(
        rects(&picture, Part::Label).len(),
        parts,
        "{name}: one label per op"
    );
    let dot = draw_dot(desc);
    assert_eq!(dot.matches('{').count(), dot.matches('}').count());
    for word in words.iter().filter(|w| w.contains("conv")) {
        assert!(dot.contains(word), "{name}: {word} is missing in DOT");
    }
}

#[test]
fn drawings() {
    let v2 = network(&super::DARTS_V2.parse().unwrap(), &cifar(20, 2, 4, 36));
    let words = [
        "dil_conv_3x3",
        "sep_conv_3x3",
        "max_pool_3x3 /2",
        "regular cell (cells 0–5, 7–12, 14–19)",
        "reduction cell (cells 6, 13)",
        "role=\"img\"",
        "<title>20 cells, 2 of them reductions",
        "prefers-color-scheme:dark",
    ];
    check(&v2, "darts_v2", &words);
    check(
        &supernet(&cifar(3, 1, 2, 16)),
        "toy_supernet",
        &["mixed(8)", "reduction cell (cell 1)"],
    );
    check(&supernet(&cifar(8, 2, 4, 16)), "supernet", &["mixed(8)"]);
    let amoeba = network(&super::AMOEBANET.parse().unwrap(), &cifar(20, 2, 5, 36));
    check(&amoeba, "amoebanet", &["conv_7x1_1x7", "sep_conv_7x7"]);
    let mut parts = network(&super::DARTS_V2.parse().unwrap(), &cifar(3, 0, 4, 8));
    for cell in &mut parts.cells {
        cell.nodes[0].edges = vec![multi_edge(8)];
        cell.nodes[2].edges.clear();
    }
    check(&parts, "parts", &["node 2 repeats node 1"]);
}

#[test]
fn the_whole_zoo() {
    for name in zoo::names() {
        let mut settings = cifar(8, 2, 4, 16);
        settings.max_final_edges = 2;
        if zoo::genotype(name).is_none() {
            settings.aux_weight = 0.0;
        }
        let builder = zoo::builder(name).unwrap();
        let built = build(&*builder, &settings, None, true, &OpCatalog::builtin());
        check(
            &built.unwrap_or_else(|e| panic!("{name}: {e}")).desc,
            name,
            &[],
        );
    }
}

fn nasbench201() -> ModelDescSettings {
    let mut s = cifar(5, 2, 3, 4);
    s.max_final_edges = 3;
    s.model_post_op = "bnrelu_pool_avg2d".into();
    s.model_stems.stem_multiplier = 1;
    s.model_stems.wiring = StemWiring::Shared;
    s.cell.cell_post_op = "identity".into();
    s
}

/// Supernets of the spaces, the last one with the most nodes whose pairs all have lanes.
fn supernets() -> Vec<(&'static str, &'static dyn Space, ModelDesc)> {
    let catalog = OpCatalog::builtin();
    let cases: [(&str, &'static dyn Space, ModelDescSettings); 3] = [
        ("darts", &DartsSpace, cifar(5, 2, 4, 8)),
        ("nasbench201", &NasBench201Space, nasbench201()),
        ("darts_7", &DartsSpace, cifar(5, 2, 7, 8)),
    ];
    let built =
        cases.map(|(name, space, s)| (name, space, space.supernet(&s, &catalog).unwrap().desc));
    built.into()
}

/// The places of the states, by what they are called.
fn places(picture: &Picture) -> Vec<(String, Rect)> {
    let states = picture.marks.iter().filter(|mark| mark.part == Part::State);
    states
        .map(|mark| (mark.says.split(':').next().unwrap().to_string(), rect(mark)))
        .collect()
}

#[test]
fn drawn_architectures_of_all_spaces_in_one_layout() {
    let catalog = OpCatalog::builtin();
    for (name, space, desc) in supernets() {
        let supernet = Supernet::new(&desc, &catalog);
        let mut first = None;
        for i in 0..200u32 {
            let found = space.draw(supernet, &Key::new(17).with(i)).unwrap();
            let picture = draw::cells(&found, &catalog);
            nothing_overlaps(&picture, &format!("{name} {i}"));
            // A node may keep two ops of one edge, which need a lane more, and may leave an input unread.
            let of = |desc: &ModelDesc| -> Vec<CellDesc> {
                let groups = desc.distinct_cells().into_iter();
                groups
                    .map(|group| desc.cells[group.first()].clone())
                    .collect()
            };
            let (cells, whole) = (of(&found), of(&desc));
            let simple = cells.iter().zip(&whole).all(|(cell, whole)| {
                let pairs = cell.nodes.iter().enumerate().flat_map(|(n, node)| {
                    let parts = node.edges.iter().flat_map(|edge| edge.parts());
                    parts.map(move |(from, _)| (from, n))
                });
                let mut pairs: Vec<(usize, usize)> = pairs.collect();
                let n = pairs.len();
                pairs.sort_unstable();
                pairs.dedup();
                let reads = |cell: &CellDesc| -> Vec<bool> {
                    (0..cell.stems.len())
                        .map(|input| cell.reads(input))
                        .collect()
                };
                n == pairs.len() && reads(cell) == reads(whole)
            });
            if simple && cells.len() == whole.len() {
                let places = places(&picture);
                let first = first.get_or_insert_with(|| places.clone());
                assert_eq!(&places, first, "{name} {i}");
            }
        }
        // A supernet's edges run between the same places.
        let Some(first) = first else {
            panic!("{name}: no architecture was comparable");
        };
        assert_eq!(places(&draw::cells(&desc, &catalog)), first, "{name}");
    }
}

#[test]
fn cells_of_nasbench101() {
    let catalog = OpCatalog::builtin();
    let mut rng = Key::new(5).rng();
    for i in 0..200u32 {
        let cell = Cell101::random(|n| rng.uniform_u32_below(n)).unwrap();
        let builder = NasBench101Builder { cell: Some(cell) };
        let mut settings = cifar(3, 0, 4, 8);
        settings.aux_weight = 0.0;
        settings.model_stems.wiring = StemWiring::Shared;
        let desc = build(&builder, &settings, None, true, &catalog)
            .unwrap()
            .desc;
        nothing_overlaps(&draw::cells(&desc, &catalog), &i.to_string());
    }
}

/// Weights that differ from edge to edge and from op to op, more so with `t`.
fn weights(desc: &ModelDesc, t: f64) -> EdgeWeights {
    let mut rng = Key::new(3).rng();
    let keys = desc.arch_keys().into_iter().map(|key| {
        let mut power = || (t * f64::from(rng.uniform_u32_below(1000)) / 1000.0).exp();
        let powers: Vec<f64> = (0..key.n_alphas).map(|_| power()).collect();
        let sum: f64 = powers.iter().sum();
        let weights = powers.iter().map(|p| p / sum).collect();
        ((key.cell, key.node, key.edge), weights)
    });
    keys.collect()
}

#[test]
fn a_search_stands_still_while_its_lines_change() {
    let catalog = OpCatalog::builtin();
    for (name, _, desc) in supernets() {
        let supernet = Supernet::new(&desc, &catalog);
        let pictures = [0.0, 1.0, 4.0].map(|t| {
            let weights = weights(&desc, t);
            let strengths = Strengths {
                weights: &weights,
                most: 0.7,
            };
            draw::search(supernet, strengths).unwrap()
        });
        for picture in &pictures {
            nothing_overlaps(picture, name);
            assert_eq!(places(picture), places(&pictures[0]), "{name}");
            assert_eq!(picture.frame("a"), pictures[0].frame("a"), "{name}");
            is_well_formed(&picture.svg(Place::File));
            is_well_formed(&picture.in_frame("a"));
            is_well_formed(&picture.frame("a"));
            // As many edges in each, so that they can be changed one by one.
            let count = |p: &Picture| p.marks.iter().filter(|m| m.part == Part::Edge).count();
            assert_eq!(count(picture), count(&pictures[0]));
        }
        assert_ne!(
            pictures[1].in_frame("a"),
            pictures[2].in_frame("a"),
            "{name}"
        );
    }
}

#[test]
fn lines_are_as_thick_as_weights() {
    let catalog = OpCatalog::builtin();
    let desc = supernet(&cifar(3, 1, 2, 16));
    let key = desc.arch_keys()[0];
    let sep = desc.cells[key.cell].nodes[key.node].edges[key.edge]
        .op
        .child_names();
    let nth = sep.iter().position(|name| name == "sep_conv_5x5").unwrap();
    let colour = draw::OpColours::new(&catalog).get("sep_conv_5x5");
    let mut last = 0.0;
    for weight in [0.2, 0.3, 0.45, 0.6] {
        let mut weights = weights(&desc, 0.0);
        let own = weights.get_mut(&(key.cell, key.node, key.edge)).unwrap();
        let others = (own.len() - 1) as f64;
        own.fill((1.0 - weight) / others);
        own[nth] = weight;
        let strengths = Strengths {
            weights: &weights,
            most: 0.6,
        };
        let picture = draw::search(Supernet::new(&desc, &catalog), strengths).unwrap();
        let edge = picture
            .marks
            .iter()
            .find(|mark| mark.part == Part::Edge)
            .unwrap();
        let [Shape::Line(first), Shape::Line(second)] = &edge.shapes[..] else {
            panic!("two lines, {edge:?}");
        };
        assert_eq!(first.ink, Ink::Op(colour));
        assert!(
            first.width > last && first.width > second.width,
            "{weight}: {edge:?}"
        );
        assert!(
            edge.says
                .contains(&format!("sep_conv_5x5 {:.0}%", 100.0 * weight)),
            "{}",
            edge.says
        );
        last = first.width;
    }
    // Weights of algorithms that do not normalise them may be anything.
    for weight in [-3.0, f64::NAN, f64::INFINITY, 1e300] {
        let mut weights = weights(&desc, 0.0);
        weights.get_mut(&(key.cell, key.node, key.edge)).unwrap()[nth] = weight;
        for most in [0.6, 0.0, f64::NAN] {
            let strengths = Strengths {
                weights: &weights,
                most,
            };
            let svg = draw::search(Supernet::new(&desc, &catalog), strengths)
                .unwrap()
                .svg(Place::Page);
            assert!(
                !svg.contains("\"NaN") && !svg.contains("\"inf"),
                "{weight} {most}"
            );
        }
    }
    let none = EdgeWeights::new();
    let strengths = Strengths {
        weights: &none,
        most: 1.0,
    };
    assert!(draw::search(Supernet::new(&desc, &catalog), strengths).is_err());
}

#[test]
fn a_cell_is_drawn_as_it_was() {
    let desc = network(&super::DARTS_V2.parse().unwrap(), &cifar(3, 1, 4, 8));
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/darts_v2.svg");
    if std::env::var_os("ARCHAI_BLESS").is_some() {
        std::fs::write(&path, draw_svg(&desc)).unwrap();
    }
    let expect = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        draw_svg(&desc),
        expect,
        "if the change is wanted, run this with ARCHAI_BLESS=1 and look at the file"
    );
}

#[test]
fn hostile_names_and_edges() {
    let mut desc = network(&super::DARTS_V2.parse().unwrap(), &cifar(5, 2, 4, 8));
    desc.cells[0].nodes[0].edges[0].op.name = "<b>\"&".into();
    let svg = draw_svg(&desc);
    assert!(svg.contains("&lt;b&gt;&quot;&amp;") && !svg.contains("<b>"));
    let name = format!(
        "</svg><script>alert(1)</script>\u{0}\u{1b}[31m\u{85}{}",
        "w".repeat(5000)
    );
    desc.cells[0].nodes[0].edges[0].op.name = name;
    let cell = &mut desc.cells[0];
    cell.nodes[1].edges[0].inputs = vec![999];
    cell.nodes[2].edges[0].inputs = vec![4, 5];
    cell.concat = vec![0, 1, 2, 2, 77, 5];
    let picture = draw::cells(&desc, &OpCatalog::builtin());
    assert!(picture.width < 3000.0);
    nothing_overlaps(&picture, "hostile");
    is_well_formed(&picture.svg(Place::File));
    assert!(!picture.svg(Place::File).contains("<script"));
    desc.cells[0].nodes.clear();
    desc.cells[0].concat = vec![0];
    nothing_overlaps(&draw::cells(&desc, &OpCatalog::builtin()), "no nodes");
    desc.cells.clear();
    is_well_formed(&draw_svg(&desc));
}

#[test]
fn large_cells_have_lanes_for_their_own_edges() {
    let mut desc = network(&super::DARTS_V2.parse().unwrap(), &cifar(3, 0, 4, 8));
    desc.cells.truncate(1);
    let cell = &mut desc.cells[0];
    assert_eq!(cell.cell_type, CellType::Regular);
    let node = cell.nodes[0].clone();
    for n in cell.nodes.len()..60 {
        let mut node = node.clone();
        node.edges[0].inputs = vec![n / 2];
        node.edges[1].inputs = vec![n + 1];
        cell.nodes.push(node);
    }
    nothing_overlaps(&draw::cells(&desc, &OpCatalog::builtin()), "60 nodes");
}

#[test]
fn colours_can_be_seen_and_read() {
    let catalog = OpCatalog::builtin();
    let mut colours = draw::OpColours::new(&catalog);
    let names = catalog.iter().map(|op| op.name().to_string());
    for name in names.chain((0..20).map(|i| format!("own_{i}"))) {
        let own = colours.get(&name);
        let (op, on) = (Ink::Op(own), Ink::OnOp(own));
        let ground = Ink::Ground;
        assert!(op.light().contrast(ground.light()) >= 3.0, "{name}");
        assert!(op.dark().contrast(ground.dark()) >= 3.0, "{name}");
        assert!(on.light().contrast(op.light()) >= 4.5, "{name}");
        assert!(on.dark().contrast(op.dark()) >= 4.5, "{name}");
    }
    for ink in [Ink::Text, Ink::Soft] {
        assert!(ink.light().contrast(Ink::Ground.light()) >= 4.5);
        assert!(ink.dark().contrast(Ink::Ground.dark()) >= 4.5);
    }
}
