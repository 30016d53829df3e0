//! The programs that a reader starts from: the template of an own algorithm with its tests, and the example of own ops.

use std::path::Path;

use archai::{NoObserver, Request, RunDir, RunMode};

use crate::support::World;

#[path = "../../../../templates/own_algorithm/src/my_algorithm.rs"]
mod my_algorithm;

#[expect(dead_code, reason = "the example's main program")]
#[path = "../../examples/own_op.rs"]
mod own_op;

#[test]
fn the_template_depends_on_what_the_workspace_does() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let (template, workspace) = (
        read("templates/own_algorithm/Cargo.toml"),
        read("Cargo.toml"),
    );
    let mut section = "";
    let mut compared = 0;
    for line in template.lines() {
        if line.starts_with('[') {
            section = line;
        }
        let depends = section == "[dependencies]" || section == "[dev-dependencies]";
        if !depends || !line.contains('=') || line.starts_with("archai =") {
            continue;
        }
        assert!(
            workspace.lines().any(|own| own == line),
            "`{line}` of the template is not what Cargo.toml has"
        );
        compared += 1;
    }
    assert_eq!(compared, 3);
    assert!(
        template.contains("archai = { path = \"../../crates/archai\" }"),
        "{template}"
    );
}

#[test]
fn a_search_among_own_ops_finds_and_trains_them() {
    let world = World::new();
    let lab = own_op::lab().unwrap();
    let overrides = "\
        nas.search.loader.dataset.max_batches=4 nas.search.loader.train_batch=4 nas.search.model_desc.cell.n_nodes=1 \
        nas.search.model_desc.model_stems.init_node_ch=4 nas.eval.loader.dataset.max_batches=2 \
        nas.eval.loader.train_batch=4 nas.eval.loader.test_batch=4 nas.eval.model_desc.aux_weight=0 \
        nas.eval.model_desc.n_cells=3 nas.eval.model_desc.n_reductions=1 nas.eval.model_desc.model_stems.init_node_ch=4";
    let request = Request {
        logdir: Some(world.path("logdir").display().to_string()),
        threads: Some(1),
        overrides: overrides.split_whitespace().map(String::from).collect(),
        mode: RunMode::Smoke,
        ..Request::new("own_ops")
    };
    let outcome = lab.run(&request, &NoObserver).unwrap().remove(0);
    let dir = RunDir::new(outcome.eval_dir.unwrap());
    let trained = dir.scaled_desc(lab.components().ops.catalog()).unwrap();
    let ops = trained
        .unwrap()
        .cells
        .into_iter()
        .flat_map(|cell| cell.nodes);
    let ops: Vec<String> = ops
        .flat_map(|node| node.edges)
        .map(|edge| edge.op.name)
        .collect();
    let known = ["swish", "ghost_conv_3x3", "skip_connect"];
    assert!(!ops.is_empty(), "{ops:?}");
    assert!(ops.iter().all(|op| known.contains(&op.as_str())), "{ops:?}");
    assert!(
        outcome.eval.unwrap().test_top1.is_some(),
        "the network is tested"
    );
}
