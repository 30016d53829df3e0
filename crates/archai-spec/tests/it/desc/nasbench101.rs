//! NAS-Bench-101: cells, pruning, the isomorphism hash, channels, and parameter counts.

use std::collections::{HashMap, HashSet};

use archai_spec::desc::nasbench101::{Cell101, NasBench101Builder};
use archai_spec::desc::{DescErrorKind, ModelDesc, OpCatalog, build};
use archai_spec::settings::{ModelDescSettings, StemWiring};

use super::cifar;

const I: &str = "input";
const O: &str = "output";
const C1: &str = "conv1x1-bn-relu";
const C3: &str = "conv3x3-bn-relu";
const MP: &str = "maxpool3x3";

/// The benchmark's macro structure.
fn macro_settings() -> ModelDescSettings {
    let mut s = cifar(9, 2, 5, 128);
    s.model_stems.ops = ["stem_conv3x3Relu".into(), "stem_conv3x3Relu".into()];
    s.model_stems.stem_multiplier = 1;
    s.model_stems.wiring = StemWiring::Shared;
    s.model_post_op = "pool_mean_tensor".into();
    s.cell.cell_post_op = "identity".into();
    s
}

/// A cell from rows such as `"011"`.
fn cell(rows: &[&str], ops: &[&str]) -> Cell101 {
    Cell101::new(&matrix(rows), ops).unwrap()
}

fn matrix(rows: &[&str]) -> Vec<Vec<u8>> {
    rows.iter()
        .map(|r| r.bytes().map(|b| b - b'0').collect())
        .collect()
}

/// The example of the benchmark's documentation, like an Inception cell.
fn inception() -> Cell101 {
    cell(
        &[
            "0111010", "0000001", "0000001", "0000100", "0000001", "0000001", "0000000",
        ],
        &[I, C1, C3, C3, C3, MP, O],
    )
}

fn network(cell: &Cell101) -> ModelDesc {
    let builder = NasBench101Builder {
        cell: Some(cell.clone()),
    };
    build(
        &builder,
        &macro_settings(),
        None,
        true,
        &OpCatalog::builtin(),
    )
    .unwrap()
    .desc
}

/// Trainable parameters from the paper's description alone, without descriptions.
fn formula(cell: &Cell101, classes: u64) -> u64 {
    let conv = |from: u64, to: u64, k: u64| from * to * k * k + 2 * to;
    let n = cell.n_vertices();
    let mut total = conv(3, 128, 3);
    let mut input = 128;
    for stack in 0..3 {
        let output = 128 << stack;
        for _ in 0..3 {
            let channels = cell.vertex_channels(input, output);
            for (v, &c) in channels.iter().enumerate().skip(1) {
                let c = c as u64;
                if cell.has_edge(0, v) {
                    total += conv(input as u64, c, 1);
                }
                if v < n - 1 {
                    total += match cell.op_names()[v] {
                        C1 => conv(c, c, 1),
                        C3 => conv(c, c, 3),
                        _ => 0,
                    };
                }
            }
            input = output;
        }
    }
    total + input as u64 * classes + classes
}

#[test]
fn the_documented_cell_has_the_published_parameters() {
    // "trainable_parameters": 2694282 of the benchmark's example query.
    let desc = network(&inception());
    let cost = desc.cost(&OpCatalog::builtin()).unwrap().total(false);
    assert_eq!(cost.params, 2_694_282);
    let outs: Vec<_> = desc
        .cells
        .iter()
        .map(|c| (c.out.channels, c.out.height))
        .collect();
    assert_eq!(outs[..4], [(128, 32), (128, 32), (128, 32), (256, 16)]);
    assert_eq!(outs[8], (512, 8));
}

/// A small linear congruential generator: the source of randomness is the caller's.
fn source(mut state: u64) -> impl FnMut(u32) -> u32 {
    move |n| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % u64::from(n)) as u32
    }
}

#[test]
fn random_cells_become_networks() {
    let catalog = OpCatalog::builtin();
    let mut below = source(1);
    let mut seen = HashSet::new();
    let mut uneven = 0;
    for _ in 0..200 {
        let cell = Cell101::random(&mut below).unwrap();
        assert!(cell.n_vertices() <= 7 && cell.n_edges() <= 9);
        assert_eq!(
            Cell101::new(&cell.matrix(), &cell.op_names()).unwrap(),
            cell
        );
        seen.insert(cell.fingerprint());
        let desc = network(&cell);
        desc.check(&catalog).unwrap();
        assert_eq!(
            desc.cost(&catalog).unwrap().total(false).params,
            formula(&cell, 10)
        );
        assert_eq!(Cell101::from_desc(&desc).unwrap(), cell);
        let channels = cell.vertex_channels(128, 128);
        uneven += usize::from(channels[1..].iter().any(|&c| 128 % c != 0));
    }
    assert!(seen.len() > 100 && uneven > 5, "{} {uneven}", seen.len());
    assert_eq!(
        Cell101::random(source(7)).unwrap(),
        Cell101::random(source(7)).unwrap()
    );
    let e = Cell101::random(|_| 0).unwrap_err();
    assert!(e.message.contains("not uniform"), "{e}");
}

#[test]
fn a_description_gives_its_cell_to_other_sizes() {
    let catalog = OpCatalog::builtin();
    let template = network(&inception());
    let again = ModelDesc::from_yaml(&template.to_yaml().unwrap(), "t.yaml", &catalog).unwrap();
    let mut settings = macro_settings();
    settings.model_stems.init_node_ch = 30;
    settings.n_cells = 5;
    let other = NasBench101Builder {
        cell: Some(cell(&["01", "00"], &[I, O])),
    };
    let built = build(&other, &settings, Some(&again), true, &catalog).unwrap();
    assert_eq!(Cell101::from_desc(&built.desc).unwrap(), inception());
    assert_eq!(built.notes.len(), 1);
    let none = NasBench101Builder { cell: None };
    let built = build(&none, &settings, Some(&again), true, &catalog).unwrap();
    assert_eq!(Cell101::from_desc(&built.desc).unwrap(), inception());
    let e = build(&none, &settings, None, true, &catalog).unwrap_err();
    assert!(e.to_string().contains("no cell is named"), "{e}");
    let mut broken = template.clone();
    broken.cells[0].nodes[1].edges.reverse();
    broken.cells[0].nodes.swap(0, 1);
    let e = Cell101::from_desc(&broken).unwrap_err();
    assert_eq!(e.kind, DescErrorKind::Cell);
    // One cell of another network.
    let mut mixed = template.clone();
    mixed.cells[4] = network(&cell(&["01", "00"], &[I, O])).cells[4].clone();
    mixed.check(&catalog).unwrap();
    let e = Cell101::from_desc(&mixed).unwrap_err();
    assert!(e.to_string().starts_with("cell 4: is another cell"), "{e}");
    let few = cell(
        &["01110", "00001", "00001", "00001", "00000"],
        &[I, C1, C1, C1, O],
    );
    let e = few.nodes(2, 2).unwrap_err();
    assert!(e.message.contains("use more channels"), "{e}");
}

#[test]
fn channels_follow_the_rule() {
    // Three vertices share 128: the first two take the remainder. Vertex 1 feeds vertices 2 and 3.
    let c = cell(
        &["01001", "00110", "00001", "00001", "00000"],
        &[I, C1, C3, C3, O],
    );
    assert_eq!(c.vertex_channels(64, 129), [64, 65, 65, 64, 129]);
    assert_eq!(
        cell(
            &["01110", "00001", "00001", "00001", "00000"],
            &[I, C1, C1, MP, O]
        )
        .vertex_channels(128, 128),
        [128, 43, 43, 42, 128]
    );
    assert_eq!(
        cell(&["01", "00"], &[I, O]).vertex_channels(128, 256),
        [128, 256]
    );
}

#[test]
fn superfluous_vertices_are_left_out() {
    let c = cell(
        &["01010", "00001", "00001", "00000", "00000"],
        &[I, C1, C3, MP, O],
    );
    // Vertex 2 has no input, vertex 3 no output.
    assert_eq!(c, cell(&["010", "001", "000"], &[I, C1, O]));
}

#[test]
fn wrong_cells_are_refused() {
    let many: Vec<String> = (0..8)
        .map(|i| (0..8).map(|j| if j == i + 1 { '1' } else { '0' }).collect())
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (rows, ops, says) in [
        (vec!["0"], vec![I], "1 rows"),
        (vec!["01", "00"], vec![I], "1 ops"),
        (vec!["01", "0"], vec![I, O], "row 1"),
        (vec!["01", "10"], vec![I, O], "row 1, column 0"),
        (vec!["02", "00"], vec![I, O], "entry 2"),
        (vec!["01", "00"], vec![O, I], "op 0 is `output`"),
        (vec!["010", "001", "000"], vec![I, "conv5x5", O], "conv5x5"),
        (vec!["010", "001", "000"], vec![I, I, O], "op 1 is `input`"),
        (vec!["010", "000", "000"], vec![I, C1, O], "no path"),
        (many, vec![I, C1, C1, C1, C1, C1, C1, O], "8 vertices"),
        (
            vec!["011111", "001111", "000111", "000011", "000001", "000000"],
            vec![I, C1, C1, C1, C1, O],
            "15 edges",
        ),
    ] {
        let e = Cell101::new(&matrix(&rows), &ops).unwrap_err();
        assert!(e.message.contains(says), "{says}: {e}");
    }
}

/// All cells of exactly `n` vertices, none superfluous.
fn all_cells(n: usize) -> Vec<Cell101> {
    let pairs: Vec<(usize, usize)> = (0..n)
        .flat_map(|i| (i + 1..n).map(move |j| (i, j)))
        .collect();
    let mut cells = Vec::new();
    for bits in 0..1u32 << pairs.len() {
        let mut m = vec![vec![0; n]; n];
        for (k, &(i, j)) in pairs.iter().enumerate() {
            m[i][j] = (bits >> k & 1) as u8;
        }
        for code in 0..3usize.pow(n as u32 - 2) {
            let mut ops = vec![I];
            ops.extend((0..n as u32 - 2).map(|v| [C1, C3, MP][code / 3usize.pow(v) % 3]));
            ops.push(O);
            match Cell101::new(&m, &ops) {
                Ok(cell) if cell.n_vertices() == n => cells.push(cell),
                _ => break,
            }
        }
    }
    cells
}

/// The least (matrix, ops) over all orders of the inner vertices, whether triangular or not.
fn canonical(cell: &Cell101) -> (Vec<bool>, Vec<&'static str>) {
    fn orders(rest: Vec<usize>, so_far: Vec<usize>, all: &mut Vec<Vec<usize>>) {
        if rest.is_empty() {
            all.push(so_far);
            return;
        }
        for &v in &rest {
            let left = rest.iter().copied().filter(|&u| u != v).collect();
            let mut next = so_far.clone();
            next.push(v);
            orders(left, next, all);
        }
    }
    let n = cell.n_vertices();
    let mut all = Vec::new();
    orders((1..n - 1).collect(), vec![0], &mut all);
    let names = cell.op_names();
    all.into_iter()
        .map(|mut order| {
            order.push(n - 1);
            let m = order
                .iter()
                .flat_map(|&i| order.iter().map(move |&j| (i, j)))
                .map(|(i, j)| cell.has_edge(i, j))
                .collect();
            (m, order.iter().map(|&v| names[v]).collect())
        })
        .min()
        .unwrap()
}

#[test]
fn the_hash_is_equal_exactly_for_isomorphic_cells() {
    let mut total = 0;
    for n in 2..=5 {
        let mut by_form = HashMap::new();
        let mut by_hash = HashMap::new();
        for cell in all_cells(n) {
            let (form, hash) = (canonical(&cell), cell.fingerprint());
            assert_eq!(
                *by_form.entry(form.clone()).or_insert_with(|| hash.clone()),
                hash
            );
            assert_eq!(*by_hash.entry(hash).or_insert_with(|| form.clone()), form);
        }
        total += by_form.len();
    }
    // 1 + 6 + 84 + 2,441 networks of 2 to 5 vertices; with those of 6 and 7 they are the published 423,624.
    assert_eq!(total, 2532);
}

/// The published number of networks. A network of some graph is one of the labellings of any graph that is isomorphic to it,
/// so one graph of each kind is labelled.
#[test]
#[ignore = "takes about a quarter of a minute"]
fn the_whole_space_has_the_published_number_of_networks() {
    let mut counts = Vec::new();
    for n in 2..=7 {
        let pairs: Vec<(usize, usize)> = (0..n)
            .flat_map(|i| (i + 1..n).map(move |j| (i, j)))
            .collect();
        let mut graphs = HashMap::new();
        for bits in (0..1u32 << pairs.len()).filter(|bits| bits.count_ones() <= 9) {
            let mut m = vec![vec![0; n]; n];
            for (k, &(i, j)) in pairs.iter().enumerate() {
                m[i][j] = (bits >> k & 1) as u8;
            }
            let mut ops = vec![C1; n];
            (ops[0], ops[n - 1]) = (I, O);
            match Cell101::new(&m, &ops) {
                Ok(cell) if cell.n_vertices() == n => {
                    graphs.entry(cell.fingerprint()).or_insert(m);
                }
                _ => {}
            }
        }
        let mut networks = HashSet::new();
        for m in graphs.values() {
            for code in 0..3usize.pow(n as u32 - 2) {
                let mut ops = vec![I];
                ops.extend((0..n as u32 - 2).map(|v| [C1, C3, MP][code / 3usize.pow(v) % 3]));
                ops.push(O);
                networks.insert(Cell101::new(m, &ops).unwrap().fingerprint());
            }
        }
        counts.push(networks.len());
    }
    assert_eq!(counts, [1, 6, 84, 2_441, 62_010, 359_082]);
    assert_eq!(counts.iter().sum::<usize>(), 423_624);
}
