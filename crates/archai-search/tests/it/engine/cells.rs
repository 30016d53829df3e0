use std::collections::HashSet;

use archai_search::cells::Cells201;
use archai_search::space::SearchSpace;
use archai_spec::desc::nasbench201::Cell201;

#[test]
fn cells_are_5260_networks() {
    let space = Cells201::new();
    let all = space.enumerate().unwrap();
    let networks: HashSet<_> = all.map(|m| space.network_hash(&m).unwrap()).collect();
    assert_eq!(networks.len(), 5_260);
}

#[test]
fn one_convolution_used_twice_is_not_two() {
    let space = Cells201::new();
    let hash = |id: &str| space.network_hash(&space.parse_id(id).unwrap()).unwrap();
    assert_ne!(hash("nb201-301000"), hash("nb201-001330"));
    // A skip from node 1 to node 2 alone makes node 2 another name of node 1.
    assert_eq!(hash("nb201-311011"), hash("nb201-131111"));
}

#[test]
fn ids_come_back_and_costs_are_the_published_ones() {
    let space = Cells201::new();
    for member in space.enumerate().unwrap().step_by(97) {
        assert_eq!(space.parse_id(&space.id(&member)).unwrap(), member);
    }
    let cost = |digits: &str| {
        let cell: Cell201 = digits.parse().unwrap();
        space.costs(&space.member(&cell).unwrap()).unwrap()
    };
    assert_eq!(cost("000000").params, 73_306);
    assert_eq!(cost("222222").params, 1_531_546);
    assert_eq!(cost("222222").macs, 220_119_680);
    let error = space.parse_id("nb201-22022").unwrap_err().to_string();
    assert!(error.contains("nb201-220223"), "{error}");
}
