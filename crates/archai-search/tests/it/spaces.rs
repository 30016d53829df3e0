//! Spaces: the figures of the shipped ones, and what holds for every member of every space.

use std::collections::BTreeSet;

use archai_search::space::{Member, SearchSpace, Space, shipped, shipped_names};
use archai_spec::desc::OpCatalog;
use archai_spec::rng::Key;

#[test]
fn figures_of_shipped_spaces_are_the_published_ones() {
    for (name, members, params, macs) in [
        (
            "nb201",
            "15625",
            [73_306, 1_531_546],
            [7_783_040, 220_119_680],
        ),
        (
            "mobile",
            "2386273352286532760303616",
            [1_584_664, 8_286_128],
            [119_454_544, 795_019_120],
        ),
        (
            "ofa_mobilenet_v3",
            "21758655492572485851",
            [1_584_664, 3_602_856],
            [119_454_544, 562_117_408],
        ),
        ("mlp", "278460", [1_991, 240_775], [1_952, 238_080]),
    ] {
        let space = shipped(name).unwrap_or_else(|e| panic!("{e}"));
        let report = space.report();
        assert_eq!(report.members.to_string(), members, "{name}");
        assert_eq!(report.params, params, "{name}");
        assert_eq!(report.macs, macs, "{name}");
    }
    for (name, _) in shipped_names() {
        let space = shipped(name).unwrap();
        assert_eq!(space.report().warnings, Vec::<String>::new(), "{name}");
    }
}

#[test]
fn bounds_are_those_of_members() {
    for (name, _) in shipped_names() {
        let space = shipped(name).unwrap_or_else(|e| panic!("{e}"));
        let report = space.report();
        let params = |m: &Member| space.costs(m).unwrap().params;
        let macs = |m: &Member| space.costs(m).unwrap().macs;
        assert_eq!(
            report.params,
            [params(&report.smallest), params(&report.largest)],
            "{name}"
        );
        assert_eq!(
            report.macs,
            [macs(&report.cheapest), macs(&report.dearest)],
            "{name}"
        );
    }
}

#[test]
fn random_members_are_described_counted_and_named() {
    let catalog = OpCatalog::builtin();
    for (name, _) in shipped_names() {
        let space = shipped(name).unwrap();
        let report = space.report();
        for i in 0..40u64 {
            let key = Key::new(i).with(name);
            let member = space.sample(key).unwrap();
            let desc = space.describe(&member).unwrap();
            desc.check(&catalog)
                .unwrap_or_else(|e| panic!("{name}: {e}"));
            let cost = space.costs(&member).unwrap();
            assert_eq!(desc.cost(&catalog).unwrap().total(false), cost, "{name}");
            assert!(
                (report.params[0]..=report.params[1]).contains(&cost.params),
                "{name}"
            );
            assert!(
                (report.macs[0]..=report.macs[1]).contains(&cost.macs),
                "{name}"
            );
            let id = space.id(&member);
            assert_eq!(space.parse_id(&id).as_ref(), Ok(&member), "{id}");
            let json = serde_json::to_string(&member).unwrap();
            assert_eq!(serde_json::from_str::<Member>(&json).unwrap(), member);
            let other = space.sample(key.with("other")).unwrap();
            let child = space.crossover(&member, &other, key);
            space.describe(&child).unwrap();
            let changed = space.mutate(&member, key).unwrap();
            assert_ne!(changed, member);
            let neighbours = space.neighbours(&member);
            assert!(neighbours.contains(&changed), "{name}");
            assert_eq!(
                space.id(&space.parse_id(&space.id(&changed)).unwrap()),
                space.id(&changed)
            );
            let features = space.features(&member).unwrap();
            assert_eq!(
                features.choices.len(),
                space.features(&changed).unwrap().choices.len()
            );
            assert!(!features.paths.is_empty(), "{name}");
        }
    }
}

#[test]
fn nb201_has_the_tables_ids_and_5260_networks() {
    use archai_spec::desc::nasbench201::Cell201;
    let space = shipped("nb201").unwrap();
    let mut seen = BTreeSet::new();
    let mut members = 0;
    for member in space.enumerate().unwrap() {
        members += 1;
        seen.insert(space.network_hash(&member).unwrap());
        if members % 97 == 0 {
            let id = space.id(&member);
            let cell: Cell201 = id.strip_prefix("nb201-").unwrap().parse().unwrap();
            let desc = space.describe(&member).unwrap();
            let nodes = cell.nodes(16);
            // Cells of the table read two outputs, those of a chain one.
            for (node, own) in nodes.iter().zip(&desc.cells[0].nodes) {
                for (edge, own) in node.edges.iter().zip(&own.edges) {
                    assert_eq!(
                        (edge.inputs[0] - 1, &edge.op),
                        (own.inputs[0], &own.op),
                        "{id}"
                    );
                }
            }
        }
    }
    assert_eq!((members, seen.len()), (15_625, 5_260));
}

#[test]
fn every_member_of_small_spaces_is_counted_once() {
    let text = "
space: small
version: 1
input: {channels: 3, size: [8, 8]}
classes: 4
let: {act: {one_of: [relu, relu6]}, body: {one_of: {a: {conv_bn: {kernel: {one_of: [1, 3]}, act: $act}}, b: identity}}}
network:
  - stage: {id: s1, let: {w: {one_of: [4, 8]}}, times: {one_of: [1, 2]}, body: {conv_bn: {out: \"= $w * 2\", groups: {one_of: [1, 2]}}}, first: {groups: 1}}
  - $body
  - branches: {join: concat, of: [[{conv_bn: {out: {one_of: [2, 4]}}}], [identity]]}
  - $body
  - residual: [{dag: {nodes: 2, edges: {pick: 1}, op: {one_of: [skip_connect, {conv_bn: {kernel: 3}}]}, output: last}}]
  - pool
  - linear: {out: $classes}
where: [\"$s1.w < 8 or $s1.times == 1\"]
";
    let space = Space::parse("small.yaml", text).unwrap_or_else(|e| panic!("{e}"));
    let report = space.report();
    let all: Vec<Member> = space.enumerate().unwrap().collect();
    let distinct: BTreeSet<&Member> = all.iter().collect();
    assert_eq!(distinct.len(), all.len());
    assert_eq!(report.members.to_string(), all.len().to_string());
    assert!(report.without_conditions > report.members);
    let costs: Vec<_> = all.iter().map(|m| space.costs(m).unwrap()).collect();
    let params = costs.iter().map(|c| c.params);
    let macs = costs.iter().map(|c| c.macs);
    assert_eq!(
        report.params,
        [params.clone().min().unwrap(), params.max().unwrap()]
    );
    assert_eq!(
        report.macs,
        [macs.clone().min().unwrap(), macs.max().unwrap()]
    );
    let ids: BTreeSet<String> = all.iter().map(|m| space.id(m)).collect();
    assert_eq!(ids.len(), all.len());
    for member in &all {
        assert_eq!(space.parse_id(&space.id(member)).as_ref(), Ok(member));
    }
}
