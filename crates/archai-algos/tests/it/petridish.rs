//! Petridish: the rules, growth that changes nothing, and whole searches.

use archai_algos::petridish::{
    CostError, Job, LocalWorkers, PETRIDISH_OP, Work, Workers, candidates, eps_hull, grown,
    inherit, lower_hull, parent_probabilities, petridish_op, run_job, settled,
};
use archai_data::Batch;
use archai_engine::{
    AlphaInit, Compute, Model, ModelOptions, Objective, OpRegistry, Precision, Raw,
    experiment::Experiment,
};
use archai_spec::desc::{ModelDesc, OpCatalog, OpDesc, PRIMITIVES};
use archai_spec::settings::{Settings, Training};

use crate::golden::{Golden, distance};
use crate::workbench::{Workbench, load, rows};

/// The ops of DARTS that can grow.
fn darts_ops() -> Vec<String> {
    let ops = PRIMITIVES.iter().filter(|name| **name != "none");
    ops.map(|name| (*name).to_string()).collect()
}

/// Two seeds, two growths.
const SMALL: &str = "
    nas.search.petridish.pareto.max_cells=3 nas.search.petridish.pareto.max_reductions=1
    nas.search.petridish.pareto.max_nodes=2 nas.search.petridish.max_hull_points=3
    nas.search.petridish.parents_per_round=2 nas.search.petridish.seed_train.trainer.epochs=1
    nas.search.petridish.seed_train.loader.dataset.max_batches=4
    nas.search.petridish.seed_train.loader.train_batch=16 nas.search.petridish.seed_train.loader.val_ratio=0.5
    nas.search.post_train.trainer.epochs=1 nas.search.post_train.loader.dataset.max_batches=4
    nas.search.post_train.loader.train_batch=16 nas.search.post_train.loader.val_ratio=0.5
    nas.eval.loader.val_ratio=0.5";

#[test]
fn hulls_are_those_of_the_reference() {
    let golden = Golden::read("rules");
    let cases = golden.json["petridish_hull"].as_array().expect("cases");
    assert_eq!(cases.len(), 30);
    for (n, case) in cases.iter().enumerate() {
        let numbers = |name: &str| -> Vec<f64> {
            let list = case[name].as_array().expect(name);
            list.iter().map(|v| v.as_f64().expect(name)).collect()
        };
        let points: Vec<CostError> = numbers("x")
            .into_iter()
            .zip(numbers("y"))
            .map(|(cost, error)| CostError { cost, error })
            .collect();
        // Of exact duplicates any may be the vertex.
        let at = |list: Vec<usize>| list.into_iter().map(|i| points[i]).collect::<Vec<_>>();
        let expect = |name: &str| at(numbers(name).into_iter().map(|i| i as usize).collect());
        assert_eq!(at(lower_hull(&points)), expect("hull"), "case {n}");
        let eps = case["eps"].as_f64().expect("eps");
        assert_eq!(at(eps_hull(&points, eps)), expect("eps_hull"), "case {n}");
    }
}

#[test]
fn parents_are_drawn_as_in_the_reference() {
    let golden = Golden::read("rules");
    let of = |name: &str| golden.get(&format!("petridish/sampling.{name}"));
    let got = parent_probabilities(&of("count"), &of("madds"));
    let error = distance(&got, &of("prob"));
    assert!(error < 1e-12, "{error}");
}

/// A seed of a tiny search, with its settings.
fn seed(bench: &Workbench<'_>) -> ModelDesc {
    bench.with(|experiment| {
        let experiment = with_ops(bench, experiment);
        let shape = &bench.settings.nas.search.model_desc;
        let runner = bench.runner.as_ref();
        let builder = runner.model_desc_builder();
        let supernet = experiment
            .build(builder.as_ref(), shape, None, false)
            .and_then(|desc| experiment.compile(&desc, runner))
            .expect("a supernet");
        let key = archai_data::rng::Key::new(5);
        use archai_engine::finalize::{Finalizers, RandomFinalizers};
        let drawn = RandomFinalizers::new(key).finalize_model(&supernet);
        experiment
            .build(builder.as_ref(), shape, Some(&drawn.expect("cells")), true)
            .expect("a description")
    })
}

fn with_ops<'a>(bench: &Workbench<'_>, experiment: &Experiment<'a>) -> Experiment<'a> {
    let mut own = experiment.clone();
    bench
        .runner
        .register_ops(&mut own.components.ops)
        .expect("ops");
    own
}

fn registry(bench: &Workbench<'_>) -> OpRegistry {
    let mut registry = OpRegistry::builtin();
    bench.runner.register_ops(&mut registry).expect("ops");
    registry
}

fn compile(desc: &ModelDesc, registry: &OpRegistry, compute: Compute, seed: u64) -> Model {
    let options = ModelOptions {
        compute,
        seed,
        relaxation: std::sync::Arc::new(Raw),
        alpha_init: AlphaInit::Uniform {
            low: -0.1,
            high: 0.1,
        },
    };
    Model::compile(desc, registry, &options).expect("a model")
}

fn batch(n: usize) -> Batch {
    let mut rng = archai_data::rng::Key::new(9).rng();
    let images = (0..n * 64).map(|_| rng.normal() as f32).collect();
    let labels = (0..n as i64).map(|i| i % 10).collect();
    Batch::new(images, labels, [n, 1, 8, 8])
}

#[test]
fn growing_changes_nothing_at_first_and_shows_every_candidate() {
    let dir = tempfile::tempdir().expect("a directory");
    let bench = Workbench::new("petridish", dir.path(), SMALL);
    let registry = registry(&bench);
    let desc = seed(&bench);
    let objective = Objective::default();
    for compute in [
        Compute::cpu().with_precision(Precision::F64),
        Compute::cpu(),
        Compute::cpu().with_plain_ops(),
    ] {
        let near: f64 = match compute.precision() {
            Precision::F64 => 1e-12,
            Precision::F32 => 1e-5,
        };
        let mut parent = compile(&desc, &registry, compute.clone(), 1);
        // Running statistics that are not the starting ones.
        let regular = archai_engine::Regular {
            drop_path_prob: 0.0,
            draw: archai_data::rng::Key::new(0),
        };
        let want = archai_engine::Want {
            weights: true,
            arch: false,
        };
        parent
            .train_pass(&batch(8), &objective, &regular, want)
            .expect("a pass");
        let mut child = compile(
            &grown(&desc, &darts_ops(), 3).expect("a grown network"),
            &registry,
            compute.clone(),
            2,
        );
        inherit(&mut child, &parent.named_state()).expect("weights");

        let (loss, logits) = parent.evaluate(&batch(6), &objective.loss).expect("a pass");
        let (same_loss, same) = child.evaluate(&batch(6), &objective.loss).expect("a pass");
        let wide = |v: &[f32]| v.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
        let error = distance(&wide(&logits.values), &wide(&same.values));
        assert!(
            error < near.max(1e-6),
            "{compute:?}: logits differ by {error}"
        );
        assert!((loss - same_loss).abs() < near);
        let before = parent.grads(&batch(6), &objective).expect("a pass");
        let after = child.grads(&batch(6), &objective).expect("a pass");
        assert!(
            (before.loss - after.loss).abs() < near,
            "{compute:?}: {} and {}",
            before.loss,
            after.loss
        );
        // What the parent learns from the batch is not changed either.
        let theirs = before.weights.named();
        let mine = after.weights.named();
        let mut compared = 0;
        for grad in &theirs {
            let same = mine
                .iter()
                .find(|g| g.name == grad.name)
                .expect("inherited");
            if same.shape == grad.shape {
                let error = distance(&grad.values, &same.values);
                assert!(
                    error < 10.0 * near,
                    "{compute:?}: {} differs by {error}",
                    grad.name
                );
                compared += 1;
            }
        }
        assert!(
            compared + 3 >= theirs.len(),
            "all but the post ops of three cells"
        );

        // Two owned cells; 7 primitives on 2 inputs and a node.
        let alphas = after.arch.to_host();
        assert_eq!(alphas.len(), 2);
        for (key, grads) in alphas {
            assert_eq!(grads.len(), 21);
            assert!(
                grads.iter().all(|g| *g != 0.0),
                "{compute:?}, {key}: {grads:?}"
            );
        }
        // The candidates learn too.
        let learns = mine
            .iter()
            .any(|g| g.name.contains("petridish_op") && g.values.iter().any(|v| *v != 0.0));
        assert!(learns);
    }
}

#[test]
fn the_penalty_reaches_every_alpha() {
    let dir = tempfile::tempdir().expect("a directory");
    let bench = Workbench::new("petridish", dir.path(), SMALL);
    let desc = grown(&seed(&bench), &darts_ops(), 3).expect("a grown network");
    let compute = Compute::cpu().with_precision(Precision::F64);
    let model = compile(&desc, &registry(&bench), compute, 3);
    let with = |l1_alphas: f64| {
        let objective = Objective {
            l1_alphas,
            ..Objective::default()
        };
        model.grads(&batch(6), &objective).expect("a pass")
    };
    let (plain, penalised) = (with(0.0), with(0.01));
    let alphas = model.arch().to_host();
    let sum: f64 = alphas.iter().flat_map(|(_, a)| a).map(|a| a.abs()).sum();
    assert!((penalised.loss - plain.loss - 0.01 * sum).abs() < 1e-12);
    let change = (penalised.arch - plain.arch).to_host();
    for ((_, alpha), (_, change)) in alphas.iter().zip(&change) {
        let expect: Vec<f64> = alpha.iter().map(|a| 0.01 * a.signum()).collect();
        assert!(distance(change, &expect) < 1e-12, "{change:?}");
    }
}

#[test]
fn the_strongest_candidates_remain_and_never_zeros() {
    let dir = tempfile::tempdir().expect("a directory");
    let bench = Workbench::new("petridish", dir.path(), SMALL);
    let registry = registry(&bench);
    let check = |keep: usize, set: &[(usize, f64)], with_none: bool, expect: &[(usize, &str)]| {
        let mut desc = grown(&seed(&bench), &darts_ops(), keep).expect("a grown network");
        if with_none {
            for cell in &mut desc.cells {
                let node = cell.nodes.last_mut().expect("the new node");
                let last = node.edges[0].op.children.last_mut().expect("a candidate");
                last.op = OpDesc {
                    name: "none".to_string(),
                    ..last.op.clone()
                };
            }
        }
        let mut model = compile(&desc, &registry, Compute::cpu(), 1);
        let n = 21;
        let mut alphas = vec![0.01; n];
        for &(k, alpha) in set {
            alphas[k] = alpha;
        }
        let arch = model.arch().with_values(vec![alphas; 2], model.compute());
        model.set_arch(arch);
        let found = settled(&model).expect("a description");
        found
            .check(registry.catalog())
            .expect("a sound description");
        for cell in &found.cells {
            let [edge] = cell.nodes.last().expect("a node").edges.as_slice() else {
                panic!("one edge");
            };
            assert_eq!(edge.op.name, "multi_op");
            let got: Vec<(usize, &str)> = edge
                .op
                .children
                .iter()
                .map(|c| (edge.inputs[c.input], c.op.name.as_str()))
                .collect();
            assert_eq!(got, expect);
            assert!(edge.op.children.iter().all(|c| !c.op.flag("norm")));
        }
    };
    // 7 candidates on each of the states 0, 1, 2; sign does not matter.
    check(
        3,
        &[(0, -0.5), (10, 0.2), (20, -0.3)],
        false,
        &[
            (0, "max_pool_3x3"),
            (1, "sep_conv_3x3"),
            (2, "dil_conv_5x5"),
        ],
    );
    check(
        2,
        &[(1, 0.1), (3, 0.2), (20, 0.3)],
        false,
        &[(0, "sep_conv_3x3"), (2, "dil_conv_5x5")],
    );
    // Two ops on one state; the inputs that nobody reads are left out. Zeros are never kept.
    check(
        2,
        &[(14, 0.1), (15, 0.2), (20, 9.0)],
        true,
        &[(2, "max_pool_3x3"), (2, "avg_pool_3x3")],
    );
}

#[test]
fn cells_that_cannot_grow_say_what_to_set() {
    let dir = tempfile::tempdir().expect("a directory");
    let overrides = format!("{SMALL} nas.search.model_desc.cell.cell_post_op=concate_channels");
    let bench = Workbench::new("petridish", dir.path(), &overrides);
    let message = grown(&seed(&bench), &darts_ops(), 3)
        .err()
        .map(|e| e.to_string());
    assert!(message.is_some_and(|m| m.contains("cell_post_op") && m.contains("proj_channels")));
    let op = petridish_op(&darts_ops(), 4, &[1, 1], 3);
    assert_eq!(op.children.len(), 2 * (PRIMITIVES.len() - 1));
}

#[test]
fn zeros_are_no_candidates_and_the_settings_name_the_others() {
    let catalog = OpCatalog::builtin();
    let mut search = Settings::shipped("fashion_mnist_mini")
        .expect("settings")
        .nas
        .search
        .model_desc;
    assert_eq!(candidates(&search, &catalog), darts_ops());
    let names = ["none", "skip_connect", "sep_conv_5x5"].map(String::from);
    search.primitives = Some(names.to_vec());
    assert_eq!(candidates(&search, &catalog), names[1..]);
}

#[test]
fn a_search_grows_and_its_gallery_is_evaluated() {
    let dir = tempfile::tempdir().expect("a directory");
    let bench = Workbench::new("petridish", dir.path(), SMALL);
    // What an earlier search left, and what the user keeps there.
    let gallery = dir.path().join("model_desc_gallery");
    std::fs::create_dir(&gallery).expect("a folder");
    let earlier = ["model_desc_99.yaml", "hull_99.yaml"];
    let users = ["notes_1.yaml", "model_desc_mine_2.yaml", "hull_1.txt"];
    for name in earlier.iter().chain(&users) {
        std::fs::write(gallery.join(name), "mine").expect("a file");
    }
    let found = bench.search().expect("a search");
    for name in earlier {
        assert!(!gallery.join(name).exists(), "{name}");
    }
    for name in users {
        let text = std::fs::read_to_string(gallery.join(name));
        assert_eq!(text.expect("the user's"), "mine", "{name}");
    }
    let pool = rows(&dir.path().join("full_pool.tsv"));
    assert_eq!(pool.len(), 4, "two seeds, two growths");
    let mut drawn = 0;
    for (id, row) in pool.iter().enumerate() {
        assert_eq!(row["id"], id.to_string());
        let number = |row: &std::collections::HashMap<String, String>, name: &str| -> usize {
            row[name].parse().expect(name)
        };
        match row["job_stage"].as_str() {
            "seed" => assert_eq!(row["parent_id"], "-"),
            "grown" => {
                let parent = &pool[number(row, "parent_id")];
                assert!(number(parent, "sampling_count") > 0);
                assert_eq!(number(row, "nodes"), number(parent, "nodes") + 1);
                assert_eq!(row["cells"], parent["cells"]);
                drawn += 1;
            }
            other => panic!("{other}"),
        }
    }
    let counts = pool
        .iter()
        .map(|row| row["sampling_count"].parse::<usize>());
    assert_eq!(counts.map(|c| c.expect("a count")).sum::<usize>(), drawn);

    let near = rows(&dir.path().join("pareto_eps_summary.tsv"));
    let hull = rows(&dir.path().join("pareto_front_summary.tsv"));
    assert!(!hull.is_empty() && hull.len() <= near.len());
    for row in &near {
        let id = &row["id"];
        let desc = load(&gallery.join(format!("model_desc_{id}.yaml")));
        assert!(!desc.has_alphas());
        let text = std::fs::read_to_string(gallery.join(format!("hull_{id}.yaml")));
        let point: archai_algos::petridish::Point =
            serde_saphyr::from_str(&text.expect("a file")).expect("a point");
        assert_eq!(point.madd.to_string(), row["madd"]);
    }
    // The best of all is what the search gives.
    let top1 = |row: &std::collections::HashMap<String, String>| -> f64 {
        row["val_top1"].parse().expect("a number")
    };
    let best = pool.iter().map(top1).fold(0.0, f64::max);
    assert_eq!(found.val_top1, Some(best));
    assert!(found.notes[0].contains("2 seeds and 2 grown networks"));

    let result = bench.eval().expect("an evaluation");
    let mut accuracies = Vec::new();
    for row in &near {
        let id = &row["id"];
        for file in ["full.yaml", "metrics.yaml", "model.pt", "model.safetensors"] {
            let path = dir.path().join(format!("model_desc_{id}_{file}"));
            assert!(path.is_file(), "{} is missing", path.display());
        }
        let text =
            std::fs::read_to_string(dir.path().join(format!("model_desc_{id}_metrics.yaml")));
        let metrics: archai_engine::metrics::Metrics =
            serde_saphyr::from_str(&text.expect("a file")).expect("metrics");
        let val = metrics.last().and_then(|e| e.val_metrics.as_ref()?.top1());
        accuracies.push(val.expect("a measurement"));
    }
    let best = accuracies.iter().copied().fold(0.0, f64::max);
    assert_eq!(result.val_top1, Some(best));
    let place = accuracies
        .iter()
        .position(|&a| a == best)
        .expect("the best");
    // Files are in order of their numbers, the table in order of cost: the best is one of the equals.
    let equals: Vec<Vec<u8>> = near
        .iter()
        .zip(&accuracies)
        .filter(|(_, a)| **a == accuracies[place])
        .map(|(row, _)| {
            std::fs::read(
                dir.path()
                    .join(format!("model_desc_{}_model.pt", row["id"])),
            )
            .expect("weights")
        })
        .collect();
    let common = std::fs::read(dir.path().join("model.pt")).expect("weights");
    assert!(equals.contains(&common));
    for file in found.files.iter().chain(&result.files) {
        assert!(file.path.exists(), "{} is missing", file.path.display());
    }
    for name in [
        "model.safetensors",
        "full_model_desc.yaml",
        "final_model_desc.yaml",
        "eval_train_metrics.yaml",
        "test_predictions.csv",
    ] {
        assert!(
            result.files.iter().any(|f| f.path == dir.path().join(name)),
            "{name}"
        );
    }

    // A description by itself is evaluated alone.
    let alone = tempfile::tempdir().expect("a directory");
    let bench = Workbench::new("petridish", alone.path(), SMALL);
    let id = &near[0]["id"];
    std::fs::copy(
        gallery.join(format!("model_desc_{id}.yaml")),
        alone.path().join("final_model_desc.yaml"),
    )
    .expect("a copy");
    bench.eval().expect("an evaluation");
    assert!(alone.path().join("model.pt").is_file());
    assert!(
        !alone
            .path()
            .join(format!("model_desc_{id}_model.pt"))
            .exists()
    );
}

#[test]
fn the_same_seed_gives_the_same_bytes_for_any_number_of_workers() {
    let run = |overrides: &str| {
        let dir = tempfile::tempdir().expect("a directory");
        let overrides = format!("{SMALL} {overrides}");
        Workbench::new("petridish", dir.path(), &overrides)
            .search()
            .expect("a search");
        let read = |name: &str| std::fs::read(dir.path().join(name)).expect(name);
        (read("full_pool.tsv"), read("final_model_desc.yaml"))
    };
    let one = run("nas.search.petridish.workers=1");
    assert_eq!(one, run("nas.search.petridish.workers=3"));
    assert_ne!(one, run("common.seed=77"));
}

#[test]
fn jobs_are_plain_data() {
    let dir = tempfile::tempdir().expect("a directory");
    let bench = Workbench::new("petridish", dir.path(), SMALL);
    let training = Training {
        loader: bench.settings.nas.search.loader.clone(),
        trainer: bench.settings.nas.search.trainer.clone(),
    };
    let job = |id: usize, desc: &ModelDesc| Job {
        id,
        desc: desc.clone(),
        weights: Vec::new(),
        work: Work::Grow {
            search: Box::new(training.clone()),
            post: Box::new(training.clone()),
            keep: 1,
        },
    };
    let desc = seed(&bench);
    bench.with(|experiment| {
        let experiment = with_ops(&bench, experiment);
        // As it would travel to another machine.
        let text = serde_json::to_string(&job(7, &desc)).expect("JSON");
        let there: Job = serde_json::from_str(&text).expect("a job");
        let far = run_job(there, &experiment).expect("a result");
        let near = LocalWorkers { threads: 2 }
            .run(vec![job(3, &desc), job(7, &desc)], &experiment)
            .expect("results");
        assert_eq!((near[0].id, near[1].id), (3, 7));
        assert_eq!(far.weights, near[1].weights);
        assert_ne!(near[0].weights, near[1].weights);
        let back = serde_json::to_string(&far).expect("JSON");
        assert!(back.contains("multi_op") && !back.contains(PETRIDISH_OP));
    });
}

#[test]
fn a_search_ends_by_each_of_its_limits() {
    let check = |overrides: &str, points: usize, why: &str| {
        let dir = tempfile::tempdir().expect("a directory");
        let overrides = format!("{SMALL} {overrides}");
        let found = Workbench::new("petridish", dir.path(), &overrides)
            .search()
            .expect("a search");
        assert_eq!(
            rows(&dir.path().join("full_pool.tsv")).len(),
            points,
            "{overrides}"
        );
        assert!(found.notes[0].contains(why), "{:?}", found.notes);
        found
    };
    check("nas.search.petridish.max_madd=1", 2, "max_madd");
    check("nas.search.petridish.max_jobs=3", 3, "max_jobs");
    let found = check("nas.search.petridish.max_jobs=1", 1, "max_jobs");
    assert!(found.warnings[0].contains("leaves out 1 of 2 seeds"));
}

#[test]
fn settings_that_cannot_work_say_what_to_change() {
    let check = |overrides: &str, expect: &str| {
        let dir = tempfile::tempdir().expect("a directory");
        let overrides = format!("{SMALL} {overrides}");
        let error = Workbench::new("petridish", dir.path(), &overrides).search();
        let message = error.err().map(|e| e.to_string()).unwrap_or_default();
        assert!(message.contains(expect), "{overrides}: {message}");
    };
    check(
        "nas.search.petridish.pareto.max_cells=2",
        "these limits (max_reductions 1, max_cells 2, max_nodes 2); raise them",
    );
    check(
        "nas.search.trainer.alpha_optimizer=null nas.search.trainer.alpha_lr_schedule=null",
        "nas.search.trainer.alpha_optimizer",
    );
    check(
        "nas.search.petridish.seed_train.loader.val_ratio=0",
        "loader.val_ratio",
    );
}
