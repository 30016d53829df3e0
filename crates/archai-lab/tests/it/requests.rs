//! Requests that cannot be fulfilled are refused before there is a directory.

use std::fs;
use std::path::Path;

use archai_algos::{Algorithm, NoSettings};
use archai_engine::experiment::ExperimentRunner;
use archai_lab::{Lab, NoObserver, Request, RunDir, RunMode};
use archai_spec::desc::{CellPlan, DescError, ModelDescBuilder, NodeDesc, OpDesc, OpInfo};
use archai_spec::ops::{ConvShape, LayerBuilder, Value};

use crate::support::tiny;

/// Refused with this text, and nothing is left in the log folder.
#[track_caller]
fn refused(lab: &Lab, logdir: &Path, request: &Request, expect: &str) {
    let error = lab.run(request, &NoObserver).map(drop).unwrap_err();
    assert!(error.to_string().contains(expect), "{error}");
    assert_eq!(fs::read_dir(logdir).unwrap().count(), 0, "{expect}");
}

/// The request with one more override.
fn with(change: &str, mut request: Request) -> Request {
    request.overrides.push(change.to_string());
    request
}

#[test]
fn fields_that_have_no_meaning_together() {
    let (lab, logdir) = (Lab::builtin(), tempfile::tempdir().unwrap());
    let whole = || Request {
        config_only: Some("whole.yaml".to_string()),
        mode: RunMode::default(),
        ..tiny(&["darts"], logdir.path())
    };
    let name = || Some("cifar10".to_string());
    for (request, expect) in [
        (
            Request {
                datasets: Some(vec!["cifar10".to_string()]),
                mode: RunMode::Full,
                ..whole()
            },
            "has no meaning: a data set, the published settings; leave it out",
        ),
        (
            Request {
                eval_dataset: name(),
                ..whole()
            },
            "a data set of the evaluation",
        ),
        (
            Request {
                space: Some("own".to_string()),
                ..whole()
            },
            "a space",
        ),
        (
            Request {
                config: name(),
                ..whole()
            },
            "files over the defaults",
        ),
        (
            Request {
                fresh: true,
                allow_changed: true,
                ..tiny(&["darts"], logdir.path())
            },
            "take one away",
        ),
    ] {
        refused(&lab, logdir.path(), &request, expect);
    }
}

/// A space with a candidate that does not exist.
struct Misspelt;

impl ModelDescBuilder for Misspelt {
    fn nodes(&self, cell: &CellPlan<'_>) -> Result<Vec<NodeDesc>, DescError> {
        let node = |_| NodeDesc::new([cell.edge("sep_conv_3x4", 0)]);
        Ok((0..cell.n_nodes).map(node).collect())
    }
}

impl ExperimentRunner for Misspelt {
    fn model_desc_builder(&self) -> Box<dyn ModelDescBuilder> {
        Box::new(Misspelt)
    }
}

#[test]
fn ops_that_do_not_exist_and_networks_that_cannot_be_built() {
    let logdir = tempfile::tempdir().unwrap();
    let misspelt = Algorithm::new("misspelt", "no such op", |_: NoSettings| Misspelt);
    let lab = Lab::builtin().with_algorithm(misspelt);
    let tiny = |name| tiny(&[name], logdir.path());
    for (request, expect) in [
        (tiny("misspelt"), "sep_conv_3x4"),
        (
            with("nas.search.model_desc.n_reductions=2", tiny("darts")),
            "3 cells cannot hold 2 reductions",
        ),
        (
            with(
                "nas.eval.model_desc.model_post_op=pol_avg2d7x7",
                tiny("darts"),
            ),
            "nas.eval.model_desc.model_post_op: ",
        ),
    ] {
        refused(&lab, logdir.path(), &request, expect);
    }
}

/// What the search finds is trained for hours after it: that this can be done is known before.
#[test]
fn evaluations_that_cannot_follow_the_search() {
    let (lab, logdir) = (Lab::builtin(), tempfile::tempdir().unwrap());
    let tiny = |name| tiny(&[name], logdir.path());
    let tower = "nas.eval.model_desc.aux_weight=0.4";
    for (request, expect) in [
        (
            with("nas.search.model_desc.n_reductions=0", tiny("darts")),
            "what darts finds could not be evaluated, because its network cannot be built from nas.eval.model_desc: cell 1: the \
             template has no reduction cell",
        ),
        (
            with("nas.search.model_desc.n_reductions=0", tiny("random")),
            "the template has no reduction cell",
        ),
        (
            with(
                "dataset.size=[2, 2]",
                with(
                    "nas.eval.loader.cutout=0",
                    with("dataset.crop_padding=0", with(tower, tiny("darts"))),
                ),
            ),
            "an auxiliary tower needs maps of at least 2×2 pixels",
        ),
        (
            with(tower, tiny("manual")),
            "`aux_weight` is 0.4, but this network gets no auxiliary tower",
        ),
        (
            with("nas.eval.template=as_is", with(tower, tiny("darts"))),
            "the description has no auxiliary tower",
        ),
        (
            with(
                "nas.eval.trainer.lr_schedule.warmup={epochs: 2, multiplier: 1}",
                tiny("darts"),
            ),
            "a warm-up of 2 epochs does not end in a training of 1",
        ),
        (
            with(
                "nas.search.random.train.trainer.lr_schedule.warmup={epochs: 900, multiplier: 1}",
                tiny("random"),
            ),
            "nas.search.random.train: below `trainer`: ",
        ),
    ] {
        refused(&lab, logdir.path(), &request, expect);
    }
    // The search alone does without an evaluation.
    let alone = Request {
        eval: false,
        ..with("nas.search.model_desc.n_reductions=0", tiny("darts"))
    };
    lab.plan(&alone).unwrap();
    // Sizes for which the papers' tower has no place.
    for size in ["[28, 28]", "[48, 48]", "[64, 64]", "[96, 96]", "[224, 224]"] {
        let sized = with(&format!("dataset.size={size}"), with(tower, tiny("darts")));
        lab.plan(&sized).unwrap_or_else(|e| panic!("{size}: {e}"));
    }
}

/// An op of a program's own.
struct Grouped;

impl OpInfo for Grouped {
    fn name(&self) -> &str {
        "grouped_conv_3x3"
    }
    fn summary(&self) -> &str {
        "3×3 convolution in two groups, norm"
    }
    fn lower(
        &self,
        op: &OpDesc,
        inputs: &[Value],
        b: &mut LayerBuilder<'_>,
    ) -> Result<Value, DescError> {
        let shape = ConvShape::new(op.ch_in, op.ch_out, 3).with_stride(op.stride);
        let x = b.conv(inputs[0], ConvShape { groups: 2, ..shape });
        Ok(b.norm(x, op.ch_out))
    }
}

#[test]
fn a_search_chooses_among_the_ops_that_the_settings_name() {
    let logdir = tempfile::tempdir().unwrap();
    let lab = Lab::builtin().with_layers(Grouped).unwrap();
    let named = |names: &str, algorithm: &str| {
        let setting = format!("nas.search.model_desc.primitives=[{names}]");
        with(&setting, tiny(&[algorithm], logdir.path()))
    };
    for (algorithm, names, expect) in [
        (
            "darts",
            "skip_conect",
            "`nas.search.model_desc.primitives=[skip_conect]`: nas.search.model_desc.primitives.0: unknown op `skip_conect`; did \
             you mean `skip_connect`?",
        ),
        (
            "random",
            "none",
            "nas.search.model_desc.primitives: nothing of [\"none\"] can remain",
        ),
        (
            "nasbench101",
            "skip_connect",
            "nas.search.model_desc.primitives: this space has ops of its own, which a setting cannot change; leave it out (space \
             of nasbench101)",
        ),
    ] {
        refused(&lab, logdir.path(), &named(names, algorithm), expect);
    }
    let in_201 = Request {
        space: Some("nasbench201".to_string()),
        ..named("skip_connect", "darts")
    };
    refused(&lab, logdir.path(), &in_201, "(space of nasbench201)");
    let in_eval = with(
        "nas.eval.model_desc.primitives=[none]",
        tiny(&["darts"], logdir.path()),
    );
    refused(
        &lab,
        logdir.path(),
        &in_eval,
        "set nas.search.model_desc.primitives",
    );

    let of_random = "nas.search.random={n_archs: 1, train: {loader: {dataset: {max_batches: 4}, train_batch: 4}}}";
    for algorithm in ["darts", "xnas", "random"] {
        let mut request = named("none, skip_connect, grouped_conv_3x3", algorithm);
        request.eval = false;
        if algorithm == "random" {
            request = with(of_random, request);
        }
        let outcome = lab.run(&request, &NoObserver).unwrap().remove(0);
        let dir = RunDir::new(outcome.search_dir.unwrap());
        let catalog = lab.components().ops.catalog();
        let found = dir.found_desc(catalog).unwrap().unwrap();
        let nodes = found.cells.iter().flat_map(|cell| &cell.nodes);
        let ops: Vec<&str> = nodes
            .flat_map(|node| &node.edges)
            .map(|edge| edge.op.name.as_str())
            .collect();
        assert!(!ops.is_empty(), "{algorithm}");
        for op in ops {
            assert!(
                ["skip_connect", "grouped_conv_3x3"].contains(&op),
                "{algorithm}: {op}"
            );
        }
    }
}

#[test]
fn logs_belong_into_the_run_directory() {
    let (lab, logdir) = (Lab::builtin(), tempfile::tempdir().unwrap());
    let tiny = || tiny(&["didarts"], logdir.path());
    for (prefix, expect) in [
        ("../log", "`../log` is no name for files of a run directory"),
        (".log", "does not start with a dot"),
        ("config_used", "the name of another file of the run"),
        ("eval_train_metrics", "the name of another file of the run"),
    ] {
        let request = with(&format!("common.log_prefix={prefix}"), tiny());
        refused(&lab, logdir.path(), &request, expect);
    }

    // Another name is found again, whatever else lies there.
    let request = Request {
        eval: false,
        ..with("common.log_prefix=$diary", tiny())
    };
    let outcome = lab.run(&request, &NoObserver).unwrap().remove(0);
    let dir = RunDir::new(outcome.search_dir.clone().unwrap());
    fs::write(dir.file("a.jsonl"), "of somebody else\n").unwrap();
    let log = dir.machine_log().unwrap().unwrap();
    assert_eq!(log, dir.file("$diary.jsonl"));
    assert!(!dir.log().unwrap().is_empty());
    let digests = archai_lab::digests::of_run(dir.path()).unwrap();
    assert!(digests.contains_key("$diary.jsonl") && digests.contains_key("a.jsonl"));
    assert!(!digests.contains_key("$diary.log") && !digests.contains_key("$diary.yaml"));
    let files = outcome.places().remove(0).1;
    assert!(
        files
            .iter()
            .any(|(name, _)| name == "$diary.log, $diary.yaml, $diary.jsonl"),
        "{files:?}"
    );
}
