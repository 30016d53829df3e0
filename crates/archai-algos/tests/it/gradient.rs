//! didarts, gs and xnas: their rules against reference vectors, that gradients reach every alpha, that they search, and
//! that what is good comes up.

use std::sync::Arc;

use archai_algos::gs::{
    Draws, GumbelFinalizers, GumbelSoftmax, Temperature, TemperatureKind, gumbel,
};
use archai_algos::xnas::{DEAD, Rule, is_dead, mixture_grads};
use archai_data::{Batch, rng::Key};
use archai_engine::{
    AlphaInit, Compute, Model, Objective, OpRegistry, Precision, Relaxation, Softmax,
    compute::to_host,
    experiment::ExperimentRunner,
    finalize::{Finalizers, NodeRule},
    model::ModelOptions,
    tensor::Tensor,
};
use archai_spec::desc::{
    CellPlan, DescError, EdgeDesc, ModelDesc, ModelDescBuilder, NodeDesc, OpDesc, build,
};

use crate::golden::{Golden, distance, max_abs};
use crate::search::{load, logged, search_with, settings_of};

const ALGORITHMS: [&str; 3] = ["didarts", "gs", "xnas"];

fn double() -> Compute {
    Compute::cpu().with_precision(Precision::F64)
}

fn close(ours: &[f64], truth: &[f64], what: &str) {
    let allowed = 1e-9 * max_abs(truth).max(1e-3);
    let off = distance(ours, truth);
    assert!(off <= allowed, "{what}: off by {off}");
}

fn rows(values: &[f64], n: usize) -> Vec<Vec<f64>> {
    values.chunks_exact(n).map(<[f64]>::to_vec).collect()
}

/// What `weights` of logits gives, and the gradient of its product with `cotangent`.
fn with_gradient(
    logits: &[f64],
    cotangent: &[f64],
    weights: impl Fn(&Tensor<1>) -> Tensor<1>,
) -> (Vec<f64>, Vec<f64>) {
    let n = logits.len();
    let leaf = double()
        .tensor::<1>(logits.to_vec(), [n])
        .autodiff()
        .require_grad();
    let y = weights(&leaf);
    let cotangent = double().tensor::<1>(cotangent.to_vec(), [n]);
    let mut grads = (y.clone() * cotangent).sum().backward();
    let gradient = leaf
        .grad_remove(&mut grads)
        .expect("the draw lets gradients through");
    (to_host(&y.inner()), to_host(&gradient))
}

#[test]
fn golden_gumbel_samples() {
    let golden = Golden::read("rules");
    let get = |name: &str| golden.get(&format!("gumbel/{name}"));
    let alpha = get("alpha");
    let n = alpha.len();
    let noise: Vec<f64> = get("uniform").iter().map(|&u| gumbel(u)).collect();
    close(&noise, &get("gumbel_noise"), "noise");
    let noise = rows(&noise, n);
    let cotangent = rows(&get("cotangent"), n);
    let onehot = rows(&get("hard_onehot"), n);
    let names = golden.names();
    let temperatures: Vec<&str> = names
        .iter()
        .filter_map(|name| name.strip_prefix("gumbel/tau")?.strip_suffix(".soft"))
        .collect();
    assert!(!temperatures.is_empty());
    for tau in temperatures {
        let soft = rows(&get(&format!("tau{tau}.soft")), n);
        let dalpha = rows(&get(&format!("tau{tau}.dalpha_per_sample")), n);
        for (i, g) in noise.iter().enumerate() {
            let check = |straight_through: bool, expect: &[f64]| {
                let sampler = GumbelSoftmax {
                    num_sample: 1,
                    temperature: tau.parse().expect("a number"),
                    straight_through,
                };
                let what = format!("tau {tau}, sample {i}, straight-through {straight_through}");
                let (y, grad) = with_gradient(&alpha, &cotangent[i], |a| sampler.sample(a, g));
                close(&y, expect, &what);
                close(&grad, &dalpha[i], &what);
            };
            check(false, &soft[i]);
            check(true, &onehot[i]);
        }
    }
    let soft = GumbelSoftmax {
        num_sample: 4,
        temperature: 1.0,
        straight_through: false,
    };
    let (y, grad) = with_gradient(&alpha, &cotangent[0], |a| soft.ensemble(a, &noise[..4]));
    close(&y, &get("ensemble4.weights"), "ensemble");
    close(&grad, &get("ensemble4.dalpha"), "gradient of the ensemble");

    let logits = get("node.alpha");
    let uniform = get("node.uniform");
    let noise: Vec<f64> = uniform.iter().map(|&u| gumbel(u)).collect();
    let noise = rows(&noise, logits.len());
    let cotangent = get("node.cotangent");
    let (y, grad) = with_gradient(&logits, &cotangent, |a| soft.ensemble(a, &noise));
    close(&y, &get("node.weights"), "node");
    close(&grad, &get("node.dalpha"), "gradient of the node");
    let hard = GumbelSoftmax {
        straight_through: true,
        ..soft
    };
    let (y, grad) = with_gradient(&logits, &cotangent, |a| hard.ensemble(a, &noise));
    let mut expect = vec![0.0; logits.len()];
    for index in get("node.hard_index") {
        expect[index as usize] += 1.0 / noise.len() as f64;
    }
    close(&y, &expect, "hard node");
    close(&grad, &get("node.dalpha"), "gradient of the hard node");
}

#[test]
fn golden_xnas_updates() {
    let golden = Golden::read("rules");
    let get = |name: &str| golden.get(&format!("xnas/{name}"));
    for (name, case) in golden.json["xnas"].as_object().expect("cases") {
        let number = |key: &str| case[key].as_f64().expect(key);
        let (eta, bound, updates) = (number("eta"), number("L"), number("T") as usize);
        let rule = Rule {
            eta,
            bound,
            updates,
        };
        let get = |what: &str| get(&format!("{name}.{what}"));
        // Where the rewards are given, so are the shares and the thresholds; else they follow from expert outputs.
        let vector = !golden.names().contains(&format!("xnas/{name}.rewards"));
        let n = golden.shape(&format!("xnas/{name}.v"))[1];
        let (v, alive) = (rows(&get("v"), n), rows(&get("alive"), n));
        if !vector {
            let published = Rule::published(n, bound, updates);
            // The reference's rate is a number of 32 bits.
            let expect = eta / number("eta_formula_times");
            assert!((published.eta / expect - 1.0).abs() < 1e-7, "{name}");
        }
        let mut ours = vec![0.0; n];
        for t in 1..=updates {
            let at = format!("{name}, update {t}");
            let share = |log_weights: &[f64]| {
                let v: Vec<f64> = log_weights.iter().map(|v| v.exp()).collect();
                let sum: f64 = v.iter().sum();
                v.iter().map(|v| v / sum).collect::<Vec<f64>>()
            };
            let rewards: Vec<f64> = if vector {
                let dim = golden.shape("xnas/vector.targets")[1];
                let outputs = rows(&get("expert_outputs"), dim);
                let outputs = &outputs[(t - 1) * n..t * n];
                let p = share(&ours);
                let mixed: Vec<f64> = (0..dim)
                    .map(|d| p.iter().zip(outputs).map(|(p, f)| p * f[d]).sum())
                    .collect();
                let target = &rows(&get("targets"), dim)[t - 1];
                let gradient: Vec<f64> = mixed.iter().zip(target).map(|(a, b)| a - b).collect();
                close(&mixed, &rows(&get("mixture"), dim)[t - 1], &at);
                close(&gradient, &rows(&get("loss_gradient"), dim)[t - 1], &at);
                let rewards: Vec<f64> = outputs
                    .iter()
                    .map(|f| rule.reward(f.iter().zip(&gradient).map(|(f, g)| f * g).sum()))
                    .collect();
                let expect = &rows(&get("rewards_clipped"), n)[t - 1];
                // The dead earn nothing in the reference.
                let living = |r: &[f64]| -> Vec<f64> {
                    let pairs = r.iter().zip(&ours);
                    pairs
                        .filter(|(_, v)| !is_dead(**v))
                        .map(|(r, _)| *r)
                        .collect()
                };
                close(&living(&rewards), &living(expect), &at);
                rewards
            } else {
                rows(&get("rewards"), n)[t - 1].clone()
            };
            ours = rule.advise(&ours, &rewards);
            rule.evict(&mut ours, &vec![false; n], t);
            let truth = &v[t - 1];
            let largest = max_abs(truth);
            let relative: Vec<f64> = truth.iter().map(|v| v / largest).collect();
            let exp: Vec<f64> = ours.iter().map(|v| v.exp()).collect();
            close(&exp, &relative, &at);
            let dead: Vec<f64> = ours.iter().map(|v| f64::from(!is_dead(*v))).collect();
            assert_eq!(dead, alive[t - 1], "{at}");
            if !vector {
                close(&share(&ours), &rows(&get("p"), n)[t - 1], &at);
                let threshold = largest * rule.log_threshold(t).exp();
                close(
                    &[threshold / largest],
                    &[get("threshold")[t - 1] / largest],
                    &at,
                );
            }
        }
    }
}

#[test]
fn xnas_lets_the_best_win_and_keeps_one_that_is_no_none() {
    // Reward +r for one, −r for the others: v_a/v_b = exp(2ηrt), until b is below the threshold.
    let rule = Rule::published(4, 1.0, 100);
    let (mut v, none) = (vec![0.0; 4], [false, false, false, true]);
    for t in 1..=100 {
        v = rule.advise(&v, &[-0.25, 0.25, -0.25, -0.25]);
        let gap = 2.0 * rule.eta * 0.25 * t as f64;
        let expect = if gap > -rule.log_threshold(t) {
            DEAD
        } else {
            -gap
        };
        rule.evict(&mut v, &none, t);
        if t < 100 {
            assert!((v[0] - expect).abs() < 1e-9 && v[1] == 0.0, "{t}: {v:?}");
        }
    }
    assert_eq!(v, [DEAD, 0.0, DEAD, DEAD]);
    // `none` leads to the end: it stays, and so does the best of the others.
    let mut v = vec![0.0; 4];
    for t in 1..=100 {
        v = rule.advise(&v, &[-0.5, 0.125, -0.5, 1.0]);
        rule.evict(&mut v, &none, t);
    }
    assert_eq!(
        v.iter().map(|v| is_dead(*v)).collect::<Vec<_>>(),
        [true, false, true, false]
    );
    assert_eq!((rule.reward(3.0), rule.reward(-0.5)), (-1.0, 0.5));
}

#[test]
fn temperatures() {
    let check = |kind, end, expect: [f64; 3]| {
        let temperature = Temperature {
            kind,
            start: 4.0,
            end,
        };
        let ours = [0, 1, 2].map(|epoch| temperature.at(epoch, 3));
        assert_eq!(ours, expect, "{kind:?}");
        assert_eq!(temperature.at(0, 1), 4.0);
    };
    check(TemperatureKind::Constant, None, [4.0, 4.0, 4.0]);
    check(TemperatureKind::Linear, Some(1.0), [4.0, 2.5, 1.0]);
    check(TemperatureKind::Exponential, Some(1.0), [4.0, 2.0, 1.0]);
    let dir = tempfile::tempdir().expect("a directory");
    for (overrides, expect) in [
        ("nas.search.gs.temperature.end=null", "need `end`"),
        ("nas.search.gs.temperature.type=constant", "has no `end`"),
    ] {
        let (settings, runner) = settings_of("gs", dir.path(), overrides);
        let error = runner.trainer_hooks(&settings.nas.search).err();
        let message = error.map(|e| e.to_string()).unwrap_or_default();
        assert!(message.contains(expect), "{overrides}: {message}");
    }
}

/// A supernet on 8×8 images, with nodes over these primitives.
struct Space(&'static [&'static str]);

impl ModelDescBuilder for Space {
    fn nodes(&self, cell: &CellPlan<'_>) -> Result<Vec<NodeDesc>, DescError> {
        let edge = |from| {
            EdgeDesc::new(
                from,
                OpDesc::mixed(self.0, cell.channels, cell.stride(from)),
            )
        };
        let nodes = 0..cell.n_nodes;
        Ok(nodes
            .map(|node| NodeDesc::new((0..node + 2).map(edge)))
            .collect())
    }
}

fn description(builder: &dyn ModelDescBuilder) -> ModelDesc {
    let dir = tempfile::tempdir().expect("a directory");
    let (settings, _) = settings_of("gs", dir.path(), "");
    let registry = OpRegistry::builtin();
    let search = &settings.nas.search.model_desc;
    build(builder, search, None, false, registry.catalog())
        .expect("a description")
        .desc
}

fn supernet(relaxation: Arc<dyn Relaxation>, alpha_init: AlphaInit) -> Model {
    let options = ModelOptions {
        relaxation,
        alpha_init,
        ..ModelOptions::default()
    };
    let desc = description(&archai_spec::desc::DartsModelDescBuilder);
    Model::compile(&desc, &OpRegistry::builtin(), &options).expect("a model")
}

fn noise_batch(model: &Model) -> Batch {
    let input = model.desc().input;
    let shape = [16, input.channels, input.height, input.width];
    let mut rng = Key::new(7).rng();
    let images = (0..shape.iter().product::<usize>()).map(|_| rng.normal() as f32);
    Batch::new(images.collect(), (0..16).map(|i| i % 10).collect(), shape)
}

#[test]
fn the_gradient_of_a_draw_reaches_every_alpha() {
    for straight_through in [false, true] {
        let sampler = GumbelSoftmax {
            num_sample: 2,
            temperature: 1.0,
            straight_through,
        };
        let model = supernet(Arc::new(sampler), AlphaInit::default());
        let draw = Key::new(3);
        let (_, grads) = model
            .arch_grads_sampled(&noise_batch(&model), &Objective::default(), &draw)
            .expect("gradients");
        for (key, grad) in grads.to_host() {
            assert!(grad.iter().all(|g| *g != 0.0), "{key}: {grad:?}");
        }
        let (keys, alphas) = (model.arch().keys(), model.arch().values());
        let nodes = |draw: Option<&Key>| -> Vec<f64> {
            let weights = sampler.weights(keys, alphas, draw);
            let host: Vec<Vec<f64>> = weights.iter().map(to_host).collect();
            // Two owned cells, whose nodes have two edges and three.
            [0..2, 2..5, 5..7, 7..10]
                .map(|node| host[node].iter().flatten().sum())
                .to_vec()
        };
        for sums in [nodes(None), nodes(Some(&draw))] {
            assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-6), "{sums:?}");
        }
        let drawn = |draw: &Key| -> Vec<Vec<f64>> {
            sampler
                .weights(keys, alphas, Some(draw))
                .iter()
                .map(to_host)
                .collect()
        };
        assert_eq!(drawn(&draw), drawn(&draw));
        assert_ne!(drawn(&draw), drawn(&Key::new(4)));
        let halves = drawn(&draw)
            .concat()
            .iter()
            .all(|w| [0.0, 0.5, 1.0].contains(w));
        assert_eq!(halves, straight_through);
    }
}

#[test]
fn rewards_are_the_gradient_of_the_mixing_weights() {
    let model = supernet(Arc::new(Softmax), AlphaInit::Normal { std: 0.5 });
    let (batch, objective) = (noise_batch(&model), Objective::default());
    let (loss, rewards) = mixture_grads(&model, &batch, &objective).expect("gradients");
    let (expected_loss, logits) = model.arch_grads(&batch, &objective).expect("gradients");
    assert!((loss - expected_loss).abs() < 1e-5);
    // By the chain rule ∂L/∂α_k = p_k·(∂L/∂p_k − Σ p·∂L/∂p).
    let parts = rewards.to_host().into_iter().zip(model.edge_weights());
    for (((key, d), (_, p)), (_, expect)) in parts.zip(logits.to_host()) {
        let mean: f64 = d.iter().zip(&p).map(|(d, p)| d * p).sum();
        let ours: Vec<f64> = d.iter().zip(&p).map(|(d, p)| p * (d - mean)).collect();
        assert!(
            distance(&ours, &expect) < 1e-5,
            "{key}: {ours:?} {expect:?}"
        );
        let edge = &model.desc().cells[key.cell].nodes[key.node].edges[key.edge];
        for (child, d) in edge.op.children.iter().zip(&d) {
            assert_eq!(
                child.op.name == "none",
                *d == 0.0,
                "{key} {}",
                child.op.name
            );
        }
    }
}

#[test]
fn a_search_moves_every_alpha_finds_no_none_and_repeats_itself() {
    for algo in ALGORITHMS {
        let run = || {
            let dir = tempfile::tempdir().expect("a directory");
            let (settings, runner) = settings_of(algo, dir.path(), "nas.search.trainer.epochs=2");
            let (result, events) = search_with(&settings, runner.as_ref(), dir.path());
            let found = result.unwrap_or_else(|e| panic!("{algo}: {e}"));
            let bytes = std::fs::read(&found.final_desc).expect("a file");
            let alphas = [0, 1].map(|e| {
                logged(
                    &events,
                    &format!("arch_search/arch_train/epochs/{e}/alphas"),
                )
            });
            (bytes, alphas, load(&found.final_desc))
        };
        let (bytes, alphas, desc) = run();
        assert!(!desc.has_alphas());
        for node in desc.cells.iter().flat_map(|c| &c.nodes) {
            assert!((1..=2).contains(&node.edges.len()), "{algo}");
            for op in node.edges.iter().map(|e| &e.op) {
                let mut ops = op.children.iter().map(|c| &c.op).chain([op]);
                assert!(ops.all(|op| op.name != "none"), "{algo}");
            }
        }
        for (first, second) in alphas[0].iter().zip(&alphas[1]) {
            assert_ne!(first.1, second.1, "{algo}: {} did not move", first.0);
        }
        let again = run();
        assert_eq!((bytes, alphas), (again.0, again.1), "{algo}");
    }
}

/// An algorithm in another space.
struct In<'a>(&'a dyn ExperimentRunner, &'static [&'static str]);

impl ExperimentRunner for In<'_> {
    fn model_desc_builder(&self) -> Box<dyn ModelDescBuilder> {
        Box::new(Space(self.1))
    }
    fn base(&self) -> Option<&dyn ExperimentRunner> {
        Some(self.0)
    }
}

#[test]
fn an_op_that_carries_the_signal_rises() {
    // Beside `none` only the skip lets anything through.
    const OPS: &[&str] = &["none", "skip_connect"];
    for algo in ALGORITHMS {
        let dir = tempfile::tempdir().expect("a directory");
        let overrides = "nas.search.trainer.epochs=6 nas.search.loader.dataset.max_batches=12 \
                         nas.search.trainer.optimizer.lr=0.1";
        let (settings, runner) = settings_of(algo, dir.path(), overrides);
        let (result, events) = search_with(&settings, &In(runner.as_ref(), OPS), dir.path());
        result.unwrap_or_else(|e| panic!("{algo}: {e}"));
        let alphas = logged(&events, "arch_search/arch_train/epochs/5/alphas");
        let gaps: Vec<f64> = alphas
            .iter()
            .map(|(_, v)| v[1].as_f64().expect("skip") - v[0].as_f64().expect("none"))
            .collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        assert!(mean > 0.0, "{algo}: {gaps:?}");
    }
}

#[test]
fn what_cannot_work_says_what_to_change() {
    for (algo, overrides, expect) in [
        (
            "didarts",
            "nas.search.trainer.alpha_lr_schedule=null nas.search.trainer.alpha_optimizer=null",
            "nas.search.trainer.alpha_optimizer",
        ),
        (
            "gs",
            "nas.search.trainer.alpha_lr_schedule=null nas.search.trainer.alpha_optimizer=null",
            "nas.search.trainer.alpha_optimizer",
        ),
        ("gs", "nas.search.finalizer=strongest", "known are default"),
        (
            "xnas",
            "nas.search.trainer.l1_alphas=0.1",
            "nas.search.trainer.l1_alphas: it must be 0",
        ),
        (
            "xnas",
            r#"nas.search.trainer.alpha_optimizer={"type":"sgd","lr":0.1,"decay":0.0}"#,
            "must be null",
        ),
        (
            "xnas",
            "nas.search.loader.val_ratio=0",
            "nas.search.loader.val_ratio",
        ),
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let (settings, runner) = settings_of(algo, dir.path(), overrides);
        let error = search_with(&settings, runner.as_ref(), dir.path()).0.err();
        let message = error.map(|e| e.to_string()).unwrap_or_default();
        assert!(message.contains(expect), "{algo} {overrides}: {message}");
    }
}

#[test]
fn a_node_keeps_what_it_draws() {
    let mut model = supernet(Arc::new(Softmax), AlphaInit::default());
    let ops: Vec<String> = {
        let children = &model.desc().cells[0].nodes[0].edges[0].op.children;
        children.iter().map(|c| c.op.name.clone()).collect()
    };
    let place = |name: &str| ops.iter().position(|op| op == name).expect("a primitive");
    // `none` leads everywhere; after it, two ops of edge 1, one of edge 2, and on edge 0 an improbable one.
    let values = (model.arch().keys().iter())
        .map(|key| {
            let mut alpha = vec![-50.0; ops.len()];
            alpha[place("none")] = 50.0;
            for (edge, op, value) in [
                (0, "max_pool_3x3", -40.0),
                (1, "sep_conv_3x3", 20.0),
                (1, "skip_connect", 20.0),
                (2, "dil_conv_3x3", 19.0),
            ] {
                if key.edge == edge {
                    alpha[place(op)] = value;
                }
            }
            alpha
        })
        .collect();
    model.set_arch(model.arch().with_values(values, model.compute()));
    let finalized = |choice, num_sample, seed| {
        let finalizers = GumbelFinalizers {
            num_sample,
            draws: choice,
            rule: NodeRule::AnyOps,
            key: Key::new(seed),
        };
        let desc = finalizers.finalize_model(&model).expect("a description");
        desc.check(OpRegistry::builtin().catalog())
            .expect("a sound description");
        let cells = desc.cells.iter().map(|cell| {
            let edges = cell.nodes[1].edges.iter().map(|edge| {
                let inner = edge.op.children.iter().map(|c| c.op.name.clone());
                (
                    edge.inputs[0],
                    edge.op.name.clone(),
                    inner.collect::<Vec<_>>(),
                )
            });
            edges.collect::<Vec<_>>()
        });
        cells.collect::<Vec<_>>()
    };
    // Two nodes in three cells; the first two are regular and share their draw, the reduction is between or after them.
    let pair = ["skip_connect", "sep_conv_3x3"].map(str::to_string);
    let multi = (1, "multi_op".to_string(), pair.to_vec());
    let single = (2, "dil_conv_3x3".to_string(), Vec::new());
    for cell in finalized(Draws::Largest, 3, 0) {
        assert_eq!(cell, [multi.clone(), single.clone()]);
    }
    for cell in finalized(Draws::Largest, 2, 0) {
        assert_eq!(cell, std::slice::from_ref(&multi));
    }
    // At most `max_final_edges`, which is 2: the fourth pair would bring in edge 0.
    for cell in finalized(Draws::Largest, 4, 0) {
        assert_eq!(cell, [multi.clone(), single.clone()]);
    }
    let mut seen = std::collections::HashSet::new();
    for seed in 0..8 {
        let cells = finalized(Draws::ByProbability, 3, seed);
        assert_eq!(cells, finalized(Draws::ByProbability, 3, seed));
        for edges in cells {
            assert!(!edges.is_empty() && edges.len() <= 2);
            for (from, op, inner) in &edges {
                let ops = if inner.is_empty() {
                    std::slice::from_ref(op)
                } else {
                    inner
                };
                assert!(*from > 0 && ops.iter().all(|op| op != "none"));
            }
            seen.insert(format!("{edges:?}"));
        }
    }
    assert!(seen.len() > 1, "eight seeds draw the same");
    let kinds: Vec<_> = model.desc().cells.iter().map(|c| c.alphas_from).collect();
    let cells = finalized(Draws::ByProbability, 3, 1);
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        assert!(kinds[a] != kinds[b] || cells[a] == cells[b]);
    }
}
