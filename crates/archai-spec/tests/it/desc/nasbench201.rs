//! NAS-Bench-201: texts, equal cells, networks and their costs against reference data over the whole space.

use std::collections::{BTreeMap, HashSet};

use archai_spec::desc::nasbench201::{Cell201, N_CELLS, NasBench201Builder, Op201};
use archai_spec::desc::{
    CellType, DartsModelDescBuilder, DescErrorKind, EdgeDesc, ModelDesc, OpCatalog, OpDesc, build,
};
use archai_spec::settings::{ModelDescSettings, StemWiring};
use serde_json::Value;

use super::cifar;
use super::golden::read;

/// The benchmark's macro structure with `n` cells per stage.
fn macro_settings(n: usize, channels: usize) -> ModelDescSettings {
    let mut s = cifar(3 * n + 2, 2, 3, channels);
    s.max_final_edges = 3;
    s.model_post_op = "bnrelu_pool_avg2d".into();
    s.model_stems.stem_multiplier = 1;
    s.model_stems.wiring = StemWiring::Shared;
    s.cell.cell_post_op = "identity".into();
    s
}

fn archs(golden: &Value) -> Vec<(Cell201, &Value)> {
    let read = |v| (text(v, "arch").parse().unwrap(), v);
    golden["archs"]
        .as_array()
        .unwrap()
        .iter()
        .map(read)
        .collect()
}

fn text<'a>(v: &'a Value, key: &str) -> &'a str {
    v[key].as_str().unwrap()
}

#[test]
fn texts_round_trip() {
    let golden = read("nb201.json");
    for (cell, v) in archs(&golden) {
        assert_eq!(cell.to_string(), text(v, "arch"));
    }
    let mut seen = HashSet::new();
    for (code, cell) in Cell201::all().enumerate() {
        assert_eq!(cell.code(), code);
        assert_eq!(cell.digits().parse::<Cell201>().unwrap(), cell);
        assert_eq!(cell.to_string().parse::<Cell201>().unwrap(), cell);
        assert!(seen.insert(cell));
    }
    assert_eq!((seen.len(), Cell201::from_code(N_CELLS)), (N_CELLS, None));
    // Row 0 of the published table.
    let text = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|";
    let cell: Cell201 = text.parse().unwrap();
    assert_eq!(cell.digits(), "433000");
    assert_eq!(cell.edge(0, 2), Some(Op201::Conv1x1));
    assert_eq!((cell.edge(2, 2), cell.edge(3, 1)), (None, None));
}

#[test]
fn wrong_texts_are_refused() {
    for (text, says) in [
        ("", "six digits"),
        ("43300", "six digits"),
        ("433005", "six digits"),
        ("4330000", "six digits"),
        ("43300é", "six digits"),
        ("|none~0|", "1 nodes"),
        (
            "|none~0|+|none~0|none~1|+|none~0|none~1|",
            "node 3 has 2 edges",
        ),
        (
            "|none~0|+|none~0|none~0|+|none~0|none~1|none~2|",
            "edge 1 of node 2 reads node `0`",
        ),
        (
            "|none|+|none~0|none~1|+|none~0|none~1|none~2|",
            "without `~`",
        ),
        (
            "|nope~0|+|none~0|none~1|+|none~0|none~1|none~2|",
            "`nope` is no op",
        ),
        (
            "|none~0+|none~0|none~1|+|none~0|none~1|none~2|",
            "between bars",
        ),
    ] {
        let e = text.parse::<Cell201>().unwrap_err();
        assert_eq!(e.kind, DescErrorKind::Cell);
        assert!(e.message.contains(says), "{text}: {e}");
    }
}

#[test]
fn neighbours_differ_in_one_edge() {
    let cell: Cell201 = "433012".parse().unwrap();
    let all: HashSet<Cell201> = cell.neighbours().into_iter().collect();
    assert_eq!(all.len(), 24);
    for other in all {
        let differ = cell
            .edges
            .iter()
            .zip(other.edges)
            .filter(|(a, b)| **a != *b);
        assert_eq!(differ.count(), 1);
        assert!(other.neighbours().contains(&cell));
    }
}

/// Positions of equal texts, with more than one member, as the reference lists them.
fn groups(texts: impl Iterator<Item = String>) -> Vec<Vec<u64>> {
    let mut by_text: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (i, text) in texts.enumerate() {
        by_text.entry(text).or_default().push(i as u64);
    }
    let mut groups: Vec<_> = by_text.into_values().filter(|g| g.len() > 1).collect();
    groups.sort();
    groups
}

#[test]
fn equal_cells_are_the_references() {
    let golden = read("nb201.json");
    let archs = archs(&golden);
    assert_eq!(archs.len(), 500);
    for (cell, v) in &archs {
        assert_eq!(cell.unique_string(), text(v, "unique_string"), "{cell}");
        assert_eq!(cell.skip_string(), text(v, "skip_string"), "{cell}");
    }
    let listed = |key: &str| -> Vec<Vec<u64>> {
        let mut all: Vec<Vec<u64>> = serde_json::from_value(golden[key].clone()).unwrap();
        all.sort();
        all
    };
    let cells = || archs.iter().map(|(cell, _)| cell);
    for (key, found) in [
        (
            "groups_by_unique_string",
            groups(cells().map(Cell201::unique_string)),
        ),
        (
            "groups_by_skip_string",
            groups(cells().map(Cell201::skip_string)),
        ),
        (
            "groups_by_fully_functional_multiset",
            groups(cells().map(Cell201::functional_string)),
        ),
    ] {
        assert_eq!(found, listed(key), "{key}");
    }
}

#[test]
fn the_whole_space_has_the_published_number_of_networks() {
    let golden = read("nb201.json");
    let counts = &golden["class_counts_over_all_15625"];
    let count = |text: fn(&Cell201) -> String| {
        let set: HashSet<String> = Cell201::all().map(|c| text(&c)).collect();
        set.len() as u64
    };
    for (key, text, published) in [
        (
            "unique_string",
            Cell201::unique_string as fn(&Cell201) -> String,
            6466,
        ),
        ("skip_rule", Cell201::skip_string, 12751),
        (
            "fully_functional_multiset",
            Cell201::functional_string,
            4930,
        ),
    ] {
        assert_eq!(
            (count(text), counts[key].as_u64()),
            (published, Some(published)),
            "{key}"
        );
    }
    let dead = Cell201::all().filter(|c| c.functional_string() == "#");
    assert_eq!(dead.count(), 341);
    let mut sizes: BTreeMap<String, u64> = BTreeMap::new();
    for cell in Cell201::all() {
        *sizes.entry(cell.unique_string()).or_default() += 1;
    }
    let mut largest: Vec<u64> = sizes.values().copied().collect();
    largest.sort_by_key(|n| std::cmp::Reverse(*n));
    let wanted: Vec<u64> = serde_json::from_value(golden["largest_class_sizes"].clone()).unwrap();
    assert_eq!(largest[..wanted.len()], wanted);
    for (cell, v) in archs(&golden) {
        assert_eq!(
            sizes[&cell.unique_string()],
            v["n_in_full_space"].as_u64().unwrap()
        );
    }
}

#[test]
fn networks_cost_what_the_reference_says() {
    let golden = read("nb201.json");
    let catalog = OpCatalog::builtin();
    let settings = macro_settings(5, 16);
    let mut n = 0;
    for (cell, v) in archs(&golden) {
        let Some(params) = v["params"].as_u64() else {
            continue;
        };
        let built = cell.to_desc(&settings, &catalog).unwrap();
        assert_eq!(built.notes, Vec::<String>::new());
        let cost = built.desc.cost(&catalog).unwrap().total(false);
        assert_eq!(
            (cost.params, cost.macs),
            (params, v["macs"].as_u64().unwrap()),
            "{cell}"
        );
        assert_eq!(Cell201::from_desc(&built.desc).unwrap(), cell);
        n += 1;
    }
    assert_eq!(n, 200);
}

/// The supernet with each mixed edge replaced by the op of a cell.
fn found(cell: &Cell201, n: usize) -> ModelDesc {
    let catalog = OpCatalog::builtin();
    let mut desc = build(
        &NasBench201Builder,
        &macro_settings(n, 4),
        None,
        false,
        &catalog,
    )
    .unwrap()
    .desc;
    for c in desc
        .cells
        .iter_mut()
        .filter(|c| c.cell_type == CellType::Regular)
    {
        for (to, node) in c.nodes.iter_mut().enumerate() {
            for (from, edge) in node.edges.iter_mut().enumerate() {
                assert_eq!(edge.inputs, [from + 1]);
                let op = cell.edge(from, to + 1).unwrap();
                edge.op = OpDesc::new(op.name(), edge.op.ch_in, edge.op.ch_out);
            }
        }
    }
    desc.check(&catalog).unwrap();
    desc
}

#[test]
fn a_supernet_becomes_a_network_of_the_space() {
    let catalog = OpCatalog::builtin();
    let supernet = build(
        &NasBench201Builder,
        &macro_settings(1, 8),
        None,
        false,
        &catalog,
    )
    .unwrap();
    assert_eq!(supernet.notes, Vec::<String>::new());
    let supernet = supernet.desc;
    let kinds: Vec<CellType> = supernet.cells.iter().map(|c| c.cell_type).collect();
    use CellType::{Reduction, Regular};
    assert_eq!(kinds, [Regular, Reduction, Regular, Reduction, Regular]);
    // Six edges of five ops, owned by the first cell alone.
    let keys = supernet.arch_keys();
    assert_eq!(keys.len(), 6);
    assert!(keys.iter().all(|k| k.cell == 0 && k.n_alphas == 5));
    let outs: Vec<_> = supernet
        .cells
        .iter()
        .map(|c| (c.out.channels, c.out.height))
        .collect();
    assert_eq!(outs, [(8, 32), (16, 16), (16, 16), (32, 8), (32, 8)]);
    let again = ModelDesc::from_yaml(&supernet.to_yaml().unwrap(), "s.yaml", &catalog).unwrap();
    assert_eq!(again, supernet);

    // The space has three nodes, whatever a toy run asks for.
    let mut toy = macro_settings(1, 8);
    (toy.cell.n_nodes, toy.n_cells, toy.n_reductions) = (2, 3, 1);
    let built = build(&NasBench201Builder, &toy, None, false, &catalog).unwrap();
    assert_eq!((built.desc.arch_keys().len(), built.notes.len()), (6, 1));

    // A found cell, scaled from its description, is the cell's network.
    let settings = macro_settings(5, 16);
    for text in ["220223", "000000", "111111", "433012"] {
        let cell: Cell201 = text.parse().unwrap();
        let mut template = found(&cell, 1);
        let full = build(
            &NasBench201Builder,
            &settings,
            Some(&template),
            true,
            &catalog,
        )
        .unwrap();
        assert_eq!(
            full.desc,
            cell.to_desc(&settings, &catalog).unwrap().desc,
            "{text}"
        );
        // The finaliser may sort edges by strength.
        for c in &mut template.cells {
            c.nodes.iter_mut().for_each(|n| n.edges.reverse());
        }
        assert_eq!(Cell201::from_desc(&template).unwrap(), cell);
    }
}

#[test]
fn cells_of_other_spaces_are_refused() {
    let cell: Cell201 = "220223".parse().unwrap();
    let with = |change: fn(&mut ModelDesc)| {
        let mut desc = found(&cell, 1);
        change(&mut desc);
        Cell201::from_desc(&desc)
    };
    for (change, says) in [
        (
            (|d| d.cells[0].concat = vec![3]) as fn(&mut ModelDesc),
            "gives [3]",
        ),
        (
            |d| d.cells[0].nodes[1].edges[1].inputs = vec![0],
            "reads state 0",
        ),
        (
            |d| d.cells[0].nodes[1].edges[1].inputs = vec![1],
            "a second time",
        ),
        (
            |d| d.cells[0].nodes[2].edges[1].op.name = "sep_conv_3x3".into(),
            "node 2, edge 1",
        ),
        (
            |d| d.cells[0].nodes[2].edges[0].op.affine = Some(true),
            "without parameters",
        ),
        (
            |d| d.cells.retain(|c| c.cell_type == CellType::Reduction),
            "no regular cell",
        ),
    ] {
        let e = with(change).unwrap_err();
        assert_eq!(e.kind, DescErrorKind::Cell);
        assert!(e.to_string().contains(says), "{says}: {e}");
    }
    // Dropped edges are zeros, a node without any repeats the one before it.
    let fewer = with(|d| {
        let cells = d.cells.iter_mut();
        for cell in cells.filter(|c| c.cell_type == CellType::Regular) {
            cell.nodes[2].edges.truncate(1);
            cell.nodes[1].edges.clear();
        }
    });
    assert_eq!(fewer.unwrap().digits(), "210011");
    // A change of one cell alone is not passed over.
    let unlike = with(|d| {
        let last = d.cells.len() - 1;
        d.cells[last].nodes[1].edges.clear();
    });
    let message = unlike.unwrap_err().to_string();
    assert!(message.contains("all must be the same"), "{message}");
    let catalog = OpCatalog::builtin();
    let supernet = build(
        &NasBench201Builder,
        &macro_settings(1, 4),
        None,
        false,
        &catalog,
    )
    .unwrap();
    let e = Cell201::from_desc(&supernet.desc).unwrap_err();
    assert!(e.to_string().contains("still a choice"), "{e}");
    let darts = build(
        &DartsModelDescBuilder,
        &cifar(5, 2, 4, 4),
        None,
        false,
        &catalog,
    )
    .unwrap();
    let e = build(
        &NasBench201Builder,
        &macro_settings(1, 4),
        Some(&darts.desc),
        true,
        &catalog,
    )
    .unwrap_err();
    assert!(
        e.to_string()
            .contains("template: a NAS-Bench-201 cell has 3 nodes"),
        "{e}"
    );
    // An edge more than once, by hand.
    let mut desc = found(&cell, 1);
    let edge = desc.cells[0].nodes[0].edges[0].clone();
    desc.cells[0].nodes[0].edges.push(EdgeDesc { ..edge });
    assert!(Cell201::from_desc(&desc).is_err());
}

/// The overlays of `confs/spaces` over an algorithm's file give the benchmarks' networks.
#[test]
fn overlays_give_the_macro_structures() {
    use crate::config::{DARTS, shape};
    use archai_spec::config::{AddedFiles, ConfigLoader, Files};
    use archai_spec::desc::nasbench101::{Cell101, NasBench101Builder};
    use archai_spec::settings::Settings;

    let catalog = OpCatalog::builtin();
    let load = |space: &str| -> Settings {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../confs/spaces");
        let files = AddedFiles::new([(DARTS.0.to_owned(), DARTS.1)], &Files);
        ConfigLoader::new(&files)
            .files("archai:algos/darts.yaml")
            .dataset("archai:datasets/cifar10.yaml")
            .files(&format!("{folder}/{space}.yaml"))
            .load(&shape())
            .unwrap_or_else(|e| panic!("{space}: {e}"))
            .settings()
            .unwrap_or_else(|e| panic!("{space}: {e}"))
    };
    let nas = load("nasbench201").nas;
    let supernet = build(
        &NasBench201Builder,
        &nas.search.model_desc,
        None,
        false,
        &catalog,
    );
    assert_eq!(supernet.unwrap().desc.arch_keys().len(), 6);
    let reductions: Vec<usize> = {
        let cell: Cell201 = "222222".parse().unwrap();
        let desc = cell.to_desc(&nas.eval.model_desc, &catalog).unwrap().desc;
        // Six 3×3 ops beside the constant part.
        let cost = desc.cost(&catalog).unwrap().total(false);
        assert_eq!(cost.params, 6 * 243_040 + 73_306);
        let cells = desc.cells.iter().enumerate();
        cells
            .filter(|(_, c)| c.cell_type == CellType::Reduction)
            .map(|(i, _)| i)
            .collect()
    };
    assert_eq!(reductions, [5, 11]);
    let nas = load("nasbench101").nas;
    let rows = [vec![0, 1, 0], vec![0, 0, 1], vec![0, 0, 0]];
    let cell = Cell101::new(&rows, &["input", "conv3x3-bn-relu", "output"]).unwrap();
    let builder = NasBench101Builder { cell: Some(cell) };
    let desc = build(&builder, &nas.eval.model_desc, None, true, &catalog)
        .unwrap()
        .desc;
    assert_eq!((desc.cells.len(), desc.pool.ch_in), (9, 512));
}
