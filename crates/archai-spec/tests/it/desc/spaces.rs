//! Search spaces without tensors: drawing, varying, telling equal architectures, counting, and the rules of finalising.

use std::collections::BTreeSet;
use std::sync::Arc;

use archai_spec::desc::nasbench201::{Cell201, Op201};
use archai_spec::desc::{
    CellType, DartsModelDescBuilder, EdgeDesc, ModelDesc, ModelDescBuilder, OpCatalog, OpDesc,
};
use archai_spec::finalize::{Choice, EdgeWeights, NodeRule, Supernet, select_edges};
use archai_spec::registry::Named;
use archai_spec::rng::Key;
use archai_spec::settings::{ModelDescSettings, StemWiring};
use archai_spec::spaces::cells::{Choices, with_choices};
use archai_spec::spaces::{self, Count, DartsSpace, NasBench201Space, Space};

use super::cifar;

fn supernet(space: &dyn Space, settings: &ModelDescSettings, catalog: &OpCatalog) -> ModelDesc {
    space.supernet(settings, catalog).unwrap().desc
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

/// The cells of DARTS in which two states are joined by one op.
struct OneOp;
impl Named for OneOp {
    fn name(&self) -> &str {
        "one_op"
    }
    fn about(&self) -> &str {
        "cells of DARTS without parallel edges"
    }
}
impl Space for OneOp {
    fn builder(&self) -> &dyn ModelDescBuilder {
        &DartsModelDescBuilder
    }
    fn rule(&self) -> NodeRule {
        NodeRule::OneOpPerEdge
    }
}

#[test]
fn draws_and_mutations_stay_in_the_space() {
    let catalog = OpCatalog::builtin();
    let darts = cifar(4, 1, 3, 4);
    let cases: [(&dyn Space, ModelDescSettings); 3] = [
        (&DartsSpace, darts.clone()),
        (&OneOp, darts),
        (&NasBench201Space, nasbench201()),
    ];
    for (space, settings) in cases {
        let name = space.name();
        let desc = supernet(space, &settings, &catalog);
        let supernet = Supernet::new(&desc, &catalog);
        let key = Key::new(7).with("draw");
        let mut seen = BTreeSet::new();
        for i in 0..20u64 {
            let found = space.draw(supernet, &key.with(i)).unwrap();
            assert_eq!(found, space.draw(supernet, &key.with(i)).unwrap(), "{name}");
            found.check(&catalog).unwrap();
            space.contains(supernet, &found).unwrap();
            let text = space.canonical(supernet, &found).unwrap();
            seen.insert(text.clone());
            let next = space.mutate(supernet, &found, &key.with(i)).unwrap();
            next.check(&catalog).unwrap();
            space.contains(supernet, &next).unwrap();
            assert_ne!(next, found, "{name}: a mutation changes something");
            // One node differs, in all cells of its kind.
            let changed: BTreeSet<(CellType, usize)> = (found.cells.iter().zip(&next.cells))
                .flat_map(|(a, b)| {
                    let nodes = a.nodes.iter().zip(&b.nodes).enumerate();
                    let kind = a.cell_type;
                    nodes
                        .filter(|(_, (a, b))| a != b)
                        .map(move |(n, _)| (kind, n))
                })
                .collect();
            assert_eq!(changed.len(), 1, "{name}: {changed:?}");
        }
        assert!(seen.len() > 15, "{name}: {} different draws", seen.len());
    }
}

#[test]
fn counts() {
    let catalog = OpCatalog::builtin();
    let check = |space: &dyn Space, settings: &ModelDescSettings, expect: &str| {
        let desc = supernet(space, settings, &catalog);
        let count = space.count(Supernet::new(&desc, &catalog)).unwrap();
        assert_eq!(count.to_string(), expect, "{}", space.name());
        if let Some(exact) = count.exact {
            assert!((count.log10 - (exact as f64).log10()).abs() < 1e-9);
        }
    };
    // Two of 14, 21, 28 and 35 ops; both kinds of cells.
    let cell: u128 = 91 * 210 * 378 * 595;
    check(&DartsSpace, &cifar(8, 2, 4, 4), &(cell * cell).to_string());
    check(&DartsSpace, &cifar(1, 0, 1, 4), "91");
    // Two of 2, 3 edges, 7 ops each: 49 and 3·49 ways.
    check(&OneOp, &cifar(1, 0, 2, 4), &(49 * 147).to_string());
    check(&NasBench201Space, &nasbench201(), "15625");
    let mut large = cifar(8, 2, 20, 4);
    large.max_final_edges = 8;
    let desc = supernet(&DartsSpace, &large, &catalog);
    let count = DartsSpace.count(Supernet::new(&desc, &catalog)).unwrap();
    assert!(count.exact.is_none() && count.log10 > 38.0, "{count:?}");
    let product = Count::of(6).times(Count::of(7));
    assert_eq!(product.exact, Some(42));
    assert!((product.log10 - 42f64.log10()).abs() < 1e-12);
}

/// A walk of mutations meets every architecture of a small space, each with a canonical form of its own.
#[test]
fn a_walk_meets_all() {
    let catalog = OpCatalog::builtin();
    let desc = supernet(&DartsSpace, &cifar(1, 0, 1, 4), &catalog);
    let supernet = Supernet::new(&desc, &catalog);
    let key = Key::new(1);
    let mut at = DartsSpace.draw(supernet, &key).unwrap();
    let mut seen = BTreeSet::new();
    for step in 0..3000u64 {
        seen.insert(DartsSpace.canonical(supernet, &at).unwrap());
        at = DartsSpace.mutate(supernet, &at, &key.with(step)).unwrap();
    }
    assert_eq!(seen.len(), 91);
}

#[test]
fn equal_networks_have_one_canonical_form() {
    let catalog = OpCatalog::builtin();
    let desc = supernet(&DartsSpace, &cifar(1, 0, 2, 4), &catalog);
    let supernet = Supernet::new(&desc, &catalog);
    let choice = |edge, child| Choice { edge, child };
    let network = |first: [Choice; 2], second: [Choice; 2]| {
        let nodes = [((0, 0), first.to_vec()), ((0, 1), second.to_vec())];
        with_choices(supernet, &Choices::from(nodes)).unwrap()
    };
    let text = |desc: &ModelDesc| DartsSpace.canonical(supernet, desc).unwrap();
    // Both nodes read the inputs alone, so their order is free.
    let (a, b) = ([choice(0, 3), choice(1, 0)], [choice(0, 2), choice(1, 4)]);
    let network_ab = network(a, b);
    assert_eq!(text(&network_ab), text(&network(b, a)));
    // So is the order of edges.
    let mut turned = network_ab.clone();
    turned.cells[0].nodes[1].edges.reverse();
    assert_ne!(turned, network_ab);
    assert_eq!(text(&turned), text(&network_ab));
    // Another op, or a node that reads the other, is another network.
    let other = [choice(0, 2), choice(1, 5)];
    assert_ne!(text(&network(a, other)), text(&network_ab));
    let chained = [choice(0, 2), choice(2, 4)];
    assert_ne!(text(&network(a, chained)), text(&network_ab));
}

#[test]
fn what_is_outside_says_why() {
    let catalog = OpCatalog::builtin();
    let desc = supernet(&DartsSpace, &cifar(4, 1, 2, 4), &catalog);
    let supernet = Supernet::new(&desc, &catalog);
    let found = DartsSpace.draw(supernet, &Key::new(3)).unwrap();
    let check = |space: &dyn Space, change: &dyn Fn(&mut ModelDesc), expect: &str| {
        let mut desc = found.clone();
        change(&mut desc);
        let message = space.contains(supernet, &desc).unwrap_err().to_string();
        assert!(message.contains(expect), "{message}");
    };
    check(
        &DartsSpace,
        &|desc| desc.cells[0].nodes[0].edges[0].op = OpDesc::new("sep_conv_7x7", 4, 4),
        "cell 0, node 0: edge 0 (`sep_conv_7x7` of [",
    );
    check(
        &DartsSpace,
        &|desc| {
            let more = ["sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3"];
            let edges = more.map(|op| EdgeDesc::new(0, OpDesc::new(op, 4, 4)));
            desc.cells[0].nodes[0].edges = edges.to_vec();
        },
        "keeps 3 edges; the space allows 2",
    );
    check(
        &DartsSpace,
        &|desc| {
            desc.cells[1].nodes[1].edges.pop();
        },
        "cell 1: node 1 has other edges than the choices of its kind",
    );
    check(
        &DartsSpace,
        &|desc| desc.n_classes = 3,
        "not the supernet's",
    );
    check(
        &OneOp,
        &|desc| {
            let more = ["sep_conv_3x3", "sep_conv_5x5"];
            let edges = more.map(|op| EdgeDesc::new(0, OpDesc::new(op, 4, 4)));
            desc.cells[0].nodes[0].edges = edges.to_vec();
        },
        "edge 1 (`sep_conv_5x5` of [0]) is no choice of the space",
    );
    let message = DartsSpace.draw(Supernet::new(&found, &catalog), &Key::new(1));
    let message = message.unwrap_err().to_string();
    assert!(message.contains("no mixed edge"), "{message}");
}

#[test]
fn cells_of_nasbench201() {
    let catalog = OpCatalog::builtin();
    let settings = nasbench201();
    let desc = supernet(&NasBench201Space, &settings, &catalog);
    let supernet = Supernet::new(&desc, &catalog);
    // Written with and without `none`.
    for text in ["433000", "111111", "123401"] {
        let cell: Cell201 = text.parse().unwrap();
        let mut desc = cell.to_desc(&settings, &catalog).unwrap().desc;
        // At the search's size norms have no learnt scales.
        desc.affine = false;
        NasBench201Space.contains(supernet, &desc).unwrap();
        let canonical = NasBench201Space.canonical(supernet, &desc).unwrap();
        assert_eq!(canonical, cell.unique_string());
        let near: BTreeSet<Cell201> = (0..400u64)
            .map(|i| {
                let near = NasBench201Space.mutate(supernet, &desc, &Key::new(i));
                Cell201::from_desc(&near.unwrap()).unwrap()
            })
            .collect();
        let neighbours: BTreeSet<Cell201> = cell.neighbours().into_iter().collect();
        assert_eq!(near, neighbours, "{text}");
    }
    for i in 0..10u64 {
        let drawn = NasBench201Space.draw(supernet, &Key::new(i)).unwrap();
        let cell = Cell201::from_desc(&drawn).unwrap();
        assert!(!cell.edges.contains(&Op201::None), "{cell}");
    }
    let mut unlike = NasBench201Space.draw(supernet, &Key::new(1)).unwrap();
    let last = unlike.cells.len() - 1;
    unlike.cells[last].nodes[0].edges[0].op = OpDesc::new("none", 16, 16);
    let message = NasBench201Space.contains(supernet, &unlike).unwrap_err();
    assert!(
        message.to_string().contains("all must be the same"),
        "{message}"
    );
}

#[test]
fn weights_decide() {
    let catalog = OpCatalog::builtin();
    let desc = supernet(&DartsSpace, &cifar(1, 0, 2, 4), &catalog);
    let supernet = Supernet::new(&desc, &catalog);
    // Of edge e the child e has the weight 0.5 + e/10, and `none` more than that.
    let weights: EdgeWeights = [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]
        .map(|(node, edge)| {
            let mut weights = vec![0.0; 8];
            (weights[edge], weights[7]) = (0.5 + edge as f64 / 10.0, 9.0);
            ((0, node, edge), weights)
        })
        .into();
    let found = supernet.finalize(&weights).unwrap();
    let nodes: Vec<Vec<(&str, usize)>> = (found.cells[0].nodes.iter())
        .map(|n| {
            n.edges
                .iter()
                .map(|e| (e.op.name.as_str(), e.inputs[0]))
                .collect()
        })
        .collect();
    // The strongest edge comes first.
    assert_eq!(nodes[0], [("avg_pool_3x3", 1), ("max_pool_3x3", 0)]);
    assert_eq!(nodes[1], [("skip_connect", 2), ("avg_pool_3x3", 1)]);
    assert!(
        found.cells[0].nodes[0].edges[0].op.params.is_empty(),
        "found networks have bare pools"
    );
    let mut missing = weights;
    missing.remove(&(0, 1, 2));
    let message = supernet.finalize(&missing).unwrap_err().to_string();
    assert!(
        message.contains(
            "cell 0, node 1, edge 2: `mixed_op` wants 8 weight(s) to finalise, but is given 0"
        ),
        "{message}"
    );
}

#[test]
fn weights_that_are_no_numbers_never_win() {
    let catalog = OpCatalog::builtin();
    let kept = |ops: &[&str], weights: &[f64]| {
        let found = catalog
            .finalize(&OpDesc::mixed(ops, 4, 1), weights)
            .unwrap();
        (found.desc.name, found.rank)
    };
    let ops = ["none", "avg_pool_3x3", "sep_conv_3x3"];
    let (nan, least) = (f64::NAN, f64::NEG_INFINITY);
    for (weights, name, rank) in [
        ([9.0, nan, 0.1], "sep_conv_3x3", 0.1),
        ([9.0, 0.2, nan], "avg_pool_3x3", 0.2),
        // Without any number the first child remains that does not give zeros.
        ([nan, nan, nan], "avg_pool_3x3", 0.0),
        ([0.5, least, least], "avg_pool_3x3", 0.0),
    ] {
        assert_eq!(kept(&ops, &weights), (name.to_string(), Some(rank)));
    }
    let zeros = kept(&["none", "none"], &[0.3, 0.7]);
    assert_eq!(zeros, ("none".to_string(), Some(0.0)));

    let edge = |from| EdgeDesc::new(from, OpDesc::new("skip_connect", 4, 4));
    let strongest = |ranks: &[f64], most| -> Vec<usize> {
        let edges = ranks.iter().enumerate().map(|(i, r)| (edge(i), Some(*r)));
        let node = select_edges(edges.collect(), most);
        node.edges.iter().map(|e| e.inputs[0]).collect()
    };
    // Enough of them that a sort notices an order that is none.
    let ranks: Vec<f64> = (0..60u8)
        .map(|i| if i % 3 == 0 { nan } else { f64::from(i) })
        .collect();
    assert_eq!(strongest(&ranks, 3), [59, 58, 56]);
    assert_eq!(strongest(&[nan; 4], 2), [0, 1]);
    assert_eq!(strongest(&[nan, -5.0], 1), [1]);
    assert_eq!(strongest(&[-0.0, 0.0], 1), [0]);
}

#[test]
fn a_choice_that_gives_zeros_cannot_be_kept() {
    let catalog = OpCatalog::builtin();
    let desc = supernet(&DartsSpace, &cifar(1, 0, 2, 4), &catalog);
    let none = Choice { edge: 1, child: 7 };
    let error = Supernet::new(&desc, &catalog).edge_of_choice(0, 0, none);
    assert_eq!(
        error.unwrap_err().to_string(),
        "cell 0, node 0, edge 1 cannot keep child 7: `none` gives zeros; choose another child"
    );
}

#[test]
fn a_space_of_a_users_own_is_listed() {
    let spaces = spaces::builtin().with(Arc::new(OneOp));
    assert_eq!(spaces.get("one_op").unwrap().rule(), NodeRule::OneOpPerEdge);
    let message = spaces.get("one-op").err().unwrap().to_string();
    assert_eq!(
        message,
        "there is no space `one-op`; did you mean `one_op`? known are darts, nasbench201, one_op"
    );
}
