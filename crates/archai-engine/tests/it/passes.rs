//! What passes promise: the same numbers whatever the chunks or threads, shared architecture parameters, drop-path where it
//! belongs, and nothing changed that should stay.

use archai_data::rng::Key;
use archai_engine::compute::to_host;
use archai_engine::{
    AlphaInit, ArchKey, Compute, EngineError, Grads, Model, ModelOptions, NamedTensor, Objective,
    OpRegistry, ParamRole, ParamVec, Regular, Want,
};
use archai_spec::desc::{ModelDesc, OpDesc, PRIMITIVES};
use archai_spec::settings::{Loss, LossKind};

use crate::golden::double;
use crate::support::{batch, compile, genotype, network, settings, supernet, tiny_supernet};

const BOTH: Want = Want {
    weights: true,
    arch: true,
};

fn regular(drop_path_prob: f64, step: usize) -> Regular {
    Regular {
        drop_path_prob,
        draw: Key::new(1).with("train").with(0usize).with(step),
    }
}

/// A small evaluation network on 32×32 images, with an auxiliary tower.
fn evaluation() -> ModelDesc {
    let mut s = settings(5, 2, 2, 4);
    s.aux_weight = 0.4;
    network(&genotype(), &s)
}

/// Everything that a pass gives, as bits.
fn bits(grads: &Grads, model: &Model) -> Vec<u64> {
    let named = grads
        .weights
        .named()
        .into_iter()
        .chain(grads.arch.named())
        .chain(model.buffers());
    let mut bits: Vec<u64> = named.flat_map(|t| t.values).map(f64::to_bits).collect();
    bits.push(grads.loss.to_bits());
    bits.extend(grads.logits.values.iter().map(|v| u64::from(v.to_bits())));
    bits
}

/// The pass's bits must not depend on the number of threads.
fn check_threads(desc: &ModelDesc, n: usize) {
    let model = compile(desc, &Compute::cpu());
    let batch = batch(n, desc, 3);
    let objective = Objective {
        aux_weight: 0.4,
        ..Objective::default()
    };
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let mut model = model.clone();
            let grads = model
                .train_pass(&batch, &objective, &regular(0.2, 0), BOTH)
                .unwrap();
            bits(&grads, &model)
        })
    };
    let one = run(1);
    assert!(one.len() > 100_000);
    for threads in [2, 3] {
        assert!(run(threads) == one, "{threads} threads");
    }
}

#[test]
fn same_bytes_for_any_number_of_threads() {
    // Large enough for the framework to spread its work: over samples in the supernet, within matrices in the tower.
    check_threads(&supernet(&settings(3, 1, 2, 16)), 16);
    let mut s = settings(5, 2, 2, 24);
    s.aux_weight = 0.4;
    check_threads(&network(&genotype(), &s), 8);
}

#[test]
fn same_seed_same_bytes() {
    let desc = tiny_supernet();
    let state = |seed: u64| {
        let options = ModelOptions {
            seed,
            ..ModelOptions::default()
        };
        let mut model = Model::compile(&desc, &OpRegistry::builtin(), &options).unwrap();
        let grads = model
            .train_pass(
                &batch(4, &desc, 1),
                &Objective::default(),
                &regular(0.3, 0),
                BOTH,
            )
            .unwrap();
        (
            model.named_state(),
            model.arch().named(),
            bits(&grads, &model),
        )
    };
    assert!(state(3) == state(3));
    assert!(state(3).2 != state(4).2);
}

#[test]
fn starting_values() {
    let desc = evaluation();
    let model = compile(&desc, &Compute::cpu());
    let weights = model.weights().named();
    let get = |name: &str| {
        weights
            .iter()
            .find(|w| w.name == name)
            .unwrap_or_else(|| panic!("no {name}"))
    };
    // Uniform in ±1/√fan_in, here of a 3×3 convolution on 3 channels.
    let stem = get("stem0.conv1.weight");
    let bound = 1.0 / 27f64.sqrt();
    assert!(stem.values.iter().all(|v| v.abs() <= bound));
    assert!(
        stem.values.iter().any(|v| *v > 0.8 * bound)
            && stem.values.iter().any(|v| *v < -0.8 * bound)
    );
    let bias = get("classifier.linear1.bias");
    assert!(bias.values.iter().all(|v| v.abs() <= 1.0 / 32f64.sqrt()));
    assert!(get("aux.bn1.weight").values.iter().all(|v| *v == 1.0));
    assert!(get("aux.bn1.bias").values.iter().all(|v| *v == 0.0));
    // A piece depends on its name and the seed alone, not on the network around it.
    let other = compile(
        &network(&genotype(), &settings(5, 2, 2, 4)),
        &Compute::cpu(),
    );
    let same = other
        .weights()
        .named()
        .into_iter()
        .find(|w| w.name == stem.name)
        .unwrap();
    assert_eq!(&same, stem);
    for piece in model.weights().layout().pieces() {
        assert_eq!(piece.role == ParamRole::Norm, piece.name.contains(".bn"));
    }
    let options = |alpha_init| ModelOptions {
        alpha_init,
        ..ModelOptions::default()
    };
    let alphas = |alpha_init| -> Vec<f64> {
        let model = Model::compile(
            &tiny_supernet(),
            &OpRegistry::builtin(),
            &options(alpha_init),
        )
        .unwrap();
        model
            .arch()
            .to_host()
            .into_iter()
            .flat_map(|a| a.1)
            .collect()
    };
    let normal = alphas(AlphaInit::default());
    let n = normal.len() as f64;
    let deviation = (normal.iter().map(|a| a * a).sum::<f64>() / n).sqrt();
    assert!((0.7e-3..1.4e-3).contains(&deviation), "{deviation}");
    assert!(
        alphas(AlphaInit::Uniform {
            low: 0.0,
            high: 1.0
        })
        .iter()
        .all(|a| (0.0..1.0).contains(a))
    );
    assert!(alphas(AlphaInit::Constant(0.25)).iter().all(|a| *a == 0.25));
}

/// Largest difference of two lists of tensors, relative to the largest value.
fn difference(a: &[NamedTensor], b: &[NamedTensor]) -> f64 {
    assert_eq!(a.len(), b.len());
    let (mut error, mut largest) = (0.0f64, 0.0f64);
    for (a, b) in a.iter().zip(b) {
        assert_eq!((&a.name, &a.shape), (&b.name, &b.shape));
        for (a, b) in a.values.iter().zip(&b.values) {
            error = error.max((a - b).abs());
            largest = largest.max(a.abs());
        }
    }
    error / largest
}

#[test]
fn chunks_weigh_by_their_share() {
    // Without norms in training mode a sample does not see the others; the small network below has none.
    let mut desc = tiny_supernet();
    let plain = ["max_pool_3x3", "avg_pool_3x3", "skip_connect"];
    desc.cells.truncate(1);
    for edge in desc.cells[0].nodes.iter_mut().flat_map(|n| &mut n.edges) {
        edge.op = OpDesc::mixed(&plain, edge.op.ch_in, 1);
        edge.op
            .children
            .iter_mut()
            .for_each(|c| c.op.params.clear());
    }
    desc.input.channels = 4;
    for stem in &mut desc.stems {
        stem.op = OpDesc::new("identity", 4, 4);
        stem.out = desc.input;
    }
    desc.cells[0].stems = vec![OpDesc::new("identity", 4, 4); 2];
    for op in [&mut desc.pool, &mut desc.logits] {
        op.ch_in = desc.cells[0].out.channels;
    }
    desc.pool.ch_out = desc.pool.ch_in;
    let model = compile(&desc, &double());
    let batch = batch(7, &desc, 2);
    let loss = Loss {
        kind: LossKind::CrossEntropyLoss,
        smoothing: 0.1,
    };
    let grads = |chunks: usize| {
        let objective = Objective {
            loss: loss.clone(),
            l1_alphas: 0.01,
            chunks,
            ..Objective::default()
        };
        model.grads(&batch, &objective).unwrap()
    };
    let whole = grads(1);
    assert!(whole.arch.norm() > 1e-3 && whole.weights.norm() > 1e-3);
    for chunks in [2, 3, 7, 100] {
        let parts = grads(chunks);
        assert!((parts.loss - whole.loss).abs() < 1e-12, "{chunks} chunks");
        assert!(
            difference(&parts.weights.named(), &whole.weights.named()) < 1e-12,
            "{chunks} chunks"
        );
        assert!(
            difference(&parts.arch.named(), &whole.arch.named()) < 1e-12,
            "{chunks} chunks"
        );
        assert_eq!(parts.logits.n, 7);
        assert_eq!(parts.logits.values, whole.logits.values);
    }
    // Smoothing: mean over samples of −Σ target·log softmax, by hand.
    let objective = Objective {
        loss: loss.clone(),
        ..Objective::default()
    };
    let found = model.grads(&batch, &objective).unwrap().loss;
    let logits = model.forward(
        double().tensor_f32(batch.images.clone(), batch.shape),
        archai_engine::Mode::Training,
    );
    let logits = to_host(&logits.logits);
    let mut by_hand = 0.0;
    for (row, label) in logits.chunks(10).zip(&batch.labels) {
        let lse = row.iter().map(|z| z.exp()).sum::<f64>().ln();
        for (k, z) in row.iter().enumerate() {
            let target = 0.01 + if k as i64 == *label { 0.9 } else { 0.0 };
            by_hand -= target * (z - lse) / 7.0;
        }
    }
    assert!((found - by_hand).abs() < 1e-12);
    let (evaluated, _) = model.evaluate(&batch, &loss).unwrap();
    assert!((evaluated - by_hand).abs() < 1e-12);
}

#[test]
fn the_objective_adds_up() {
    let desc = evaluation();
    let model = compile(&desc, &double());
    let batch = batch(3, &desc, 2);
    let with = |aux_weight| {
        let objective = Objective {
            aux_weight,
            ..Objective::default()
        };
        model.grads(&batch, &objective).unwrap()
    };
    let (none, some, more) = (with(0.0), with(0.4), with(0.8));
    assert_eq!(none.aux_loss, None);
    let aux = some.aux_loss.unwrap();
    assert!((some.loss - some.main_loss - 0.4 * aux).abs() < 1e-12);
    assert!((some.main_loss - none.loss).abs() < 1e-12);
    // Linear in the weight: g(0.8) − g(0.4) = g(0.4) − g(0).
    let twice = none.weights.add_scaled(&more.weights, 1.0).scale(0.5);
    assert!(difference(&twice.named(), &some.weights.named()) < 1e-12);
    // l1: sign(α)·weight on top.
    let desc = tiny_supernet();
    let model = compile(&desc, &double());
    let batch = crate::support::batch(3, &desc, 2);
    let l1 = Objective {
        l1_alphas: 0.5,
        ..Objective::default()
    };
    let (loss, grads) = model.arch_grads(&batch, &l1).unwrap();
    let (plain_loss, plain) = model.arch_grads(&batch, &Objective::default()).unwrap();
    let alphas: Vec<f64> = model
        .arch()
        .to_host()
        .into_iter()
        .flat_map(|a| a.1)
        .collect();
    let extra: Vec<f64> = (grads - plain)
        .to_host()
        .into_iter()
        .flat_map(|a| a.1)
        .collect();
    for (a, e) in alphas.iter().zip(&extra) {
        assert!((e - 0.5 * a.signum()).abs() < 1e-12, "{a} {e}");
    }
    assert!((loss - plain_loss - 0.5 * alphas.iter().map(|a| a.abs()).sum::<f64>()).abs() < 1e-12);
}

#[test]
fn gradients_one_by_one_are_those_together() {
    let desc = tiny_supernet();
    let model = compile(&desc, &double());
    let batch = batch(4, &desc, 2);
    let objective = Objective::default();
    let before = (model.named_state(), model.arch().named());
    let both = model.grads(&batch, &objective).unwrap();
    let (loss, arch) = model.arch_grads(&batch, &objective).unwrap();
    // Not bit for bit: gradients that meet are added in another order.
    assert_eq!(loss, both.loss);
    assert!(difference(&arch.named(), &both.arch.named()) < 1e-12);
    let (loss, weights) = model.weight_grads(&batch, &objective).unwrap();
    assert_eq!(loss, both.loss);
    assert!(difference(&weights.named(), &both.weights.named()) < 1e-12);
    // Nothing of this changed the model, and neither does a look-ahead copy.
    let mut ahead = model.shifted(&both.weights, -0.1);
    ahead
        .train_pass(&batch, &objective, &regular(0.0, 0), BOTH)
        .unwrap();
    assert!(ahead.named_state() != before.0);
    assert!((model.named_state(), model.arch().named()) == before);
    // The weight step's pass moves running statistics, and only those.
    let mut trained = model.clone();
    let want = Want {
        weights: true,
        arch: false,
    };
    let grads = trained
        .train_pass(&batch, &objective, &regular(0.0, 0), want)
        .unwrap();
    assert!(difference(&grads.weights.named(), &both.weights.named()) < 1e-12);
    assert_eq!(grads.arch.norm(), 0.0);
    assert!(trained.buffers() != model.buffers());
    assert!(trained.weights().named() == model.weights().named());
}

#[test]
fn cells_of_a_kind_share_alphas() {
    let desc = tiny_supernet();
    let model = compile(&desc, &double());
    let owners: Vec<usize> = desc.cells.iter().map(|c| c.alphas_from).collect();
    assert_eq!(owners, [0, 1, 0]);
    let keys: Vec<(usize, usize, usize)> = model
        .arch()
        .keys()
        .iter()
        .map(|k| (k.cell, k.node, k.edge))
        .collect();
    let wanted: Vec<_> = desc
        .arch_keys()
        .iter()
        .map(|k| (k.cell, k.node, k.edge))
        .collect();
    assert_eq!(keys, wanted);
    assert_eq!(model.arch().named()[0].name, "cell0.node0.edge0.alpha");
    // The gradient of an owner's vector is the sum over its cells: each cell with alphas of its own gives its share.
    let batch = batch(4, &desc, 2);
    let shared = model.arch_grads(&batch, &Objective::default()).unwrap().1;
    let mut apart = desc.clone();
    apart.cells[2].alphas_from = 2;
    let mut single = compile(&apart, &double());
    let of = |key: &ArchKey| {
        let owner = ArchKey {
            cell: desc.cells[key.cell].alphas_from,
            ..*key
        };
        to_host(model.arch().get(&owner).unwrap())
    };
    let values = single.arch().keys().iter().map(of).collect();
    single.set_arch(single.arch().with_values(values, single.compute()));
    let own = single.arch_grads(&batch, &Objective::default()).unwrap().1;
    for (key, together) in shared.to_host() {
        let mut sum = vec![0.0; together.len()];
        for (k, part) in own.to_host() {
            if (k.node, k.edge) == (key.node, key.edge)
                && desc.cells[k.cell].alphas_from == key.cell
            {
                sum.iter_mut().zip(part).for_each(|(s, p)| *s += p);
            }
        }
        for (a, b) in sum.iter().zip(&together) {
            assert!((a - b).abs() < 1e-12, "{key}");
        }
    }
    // Weights are not shared: sharing is of the choice alone.
    assert_eq!(model.weights().n_numbers(), single.weights().n_numbers());
}

#[test]
fn drop_path_drops_whole_samples_of_ops() {
    let desc = evaluation();
    let model = compile(&desc, &double());
    let n = 6;
    let batch = batch(n, &desc, 2);
    let logits = |prob, step, chunks| {
        let objective = Objective {
            chunks,
            ..Objective::default()
        };
        model
            .clone()
            .train_pass(&batch, &objective, &regular(prob, step), BOTH)
            .unwrap()
            .logits
            .values
    };
    // Probability 0 changes nothing, another step draws anew, the same step repeats.
    assert_eq!(logits(0.0, 0, 1), logits(0.0, 1, 1));
    assert_eq!(logits(0.5, 0, 1), logits(0.5, 0, 1));
    assert_ne!(logits(0.5, 0, 1), logits(0.5, 1, 1));
    assert_ne!(logits(0.5, 0, 1), logits(0.0, 0, 1));

    // One cell, one node, of ops that tell what was dropped: the identity is exempt, the pool is dropped per sample.
    let mut small = tiny_supernet();
    small.cells.truncate(1);
    small.input.channels = 4;
    for stem in &mut small.stems {
        stem.op = OpDesc::new("identity", 4, 4);
        stem.out = small.input;
    }
    let cell = &mut small.cells[0];
    cell.stems = vec![OpDesc::new("identity", 4, 4); 2];
    cell.nodes.truncate(1);
    cell.concat = vec![2];
    cell.post_op = OpDesc::new("concate_channels", 4, 4);
    cell.out.channels = 4;
    small.n_classes = 4;
    small.pool = OpDesc::new("pool_adaptive_avg2d", 4, 4);
    small.logits = OpDesc::new("linear", 4, 4);
    let n = 2000;
    let p = 0.3;
    let run = |ops: [&str; 2], prob: f64, chunks: usize| -> Vec<f64> {
        let mut desc = small.clone();
        for (edge, op) in desc.cells[0].nodes[0].edges.iter_mut().zip(ops) {
            edge.op = OpDesc::new(op, 4, 4);
        }
        let mut model = compile(&desc, &double());
        // The classifier passes the mean of channel k through as logit k.
        let mut weights = model.weights().named();
        for w in &mut weights {
            let unit = |i: usize| {
                if w.shape.len() == 2 && i.is_multiple_of(5) {
                    1.0
                } else {
                    0.0
                }
            };
            w.values = (0..w.values.len()).map(unit).collect();
        }
        model.set_weights(
            ParamVec::from_named(model.weights().layout(), &weights, model.compute()).unwrap(),
        );
        let mut batch = crate::support::batch(n, &desc, 2);
        batch.images.fill(1.0);
        let objective = Objective {
            chunks,
            ..Objective::default()
        };
        let grads = model
            .train_pass(&batch, &objective, &regular(prob, 0), BOTH)
            .unwrap();
        grads
            .logits
            .values
            .chunks(4)
            .map(|row| {
                assert!(
                    row.iter().all(|v| *v == row[0]),
                    "a whole sample is dropped or kept"
                );
                f64::from(row[0])
            })
            .collect()
    };
    assert!(
        run(["skip_connect", "identity"], p, 1)
            .iter()
            .all(|v| *v == 2.0)
    );
    let pool = run(["skip_connect", "max_pool_3x3"], p, 1);
    let kept = 1.0 + 1.0 / (1.0 - p);
    let (mut ones, mut others) = (0, 0);
    for v in &pool {
        if (v - kept).abs() < 1e-6 {
            others += 1
        } else {
            assert_eq!(*v, 1.0);
            ones += 1
        }
    }
    assert_eq!(ones + others, n);
    // 600 ± 20 expected.
    assert!((500..700).contains(&ones), "{ones}");
    // The mask belongs to the sample's place in the batch, not to the chunk.
    assert_eq!(run(["skip_connect", "max_pool_3x3"], p, 7), pool);
    // Two edges of a node are dropped independently.
    let two = run(["max_pool_3x3", "avg_pool_3x3"], p, 1);
    let none = two.iter().filter(|v| **v == 0.0).count();
    assert!((110..260).contains(&none), "{none}");
    // In evaluation mode nothing is dropped; a reducing skip can be.
    let registry = OpRegistry::builtin();
    let can_drop = |desc: OpDesc| registry.catalog().can_drop_path(&desc).unwrap();
    assert!(!can_drop(OpDesc::new("skip_connect", 4, 4)));
    assert!(can_drop(OpDesc::new("skip_connect", 4, 4).with_stride(2)));
    assert!(can_drop(OpDesc::new("sep_conv_3x3", 4, 4)));
}

#[test]
fn finalized_edges() {
    let desc = tiny_supernet();
    let mut model = compile(&desc, &double());
    let k = PRIMITIVES.len();
    let none = PRIMITIVES.iter().position(|p| *p == "none").unwrap();
    let mut rows = vec![vec![0.0; k]; model.arch().len()];
    // `none` is strongest, then dil_conv_5x5.
    rows[0][none] = 5.0;
    rows[0][6] = 2.0;
    // A tie: the first wins, here the max pool, which loses its norm.
    rows[1] = vec![1.0; k];
    model.set_arch(model.arch().with_values(rows, model.compute()));
    let first = model.finalize_edge(0, 0, 0).unwrap();
    assert_eq!(first.desc.name, "dil_conv_5x5");
    let sum = 5f64.exp() + 2f64.exp() + 6.0;
    assert!((first.rank.unwrap() - 2f64.exp() / sum).abs() < 1e-12);
    let tie = model.finalize_edge(0, 0, 1).unwrap();
    assert_eq!(tie.desc, OpDesc::new("max_pool_3x3", 4, 4));
    assert!((tie.rank.unwrap() - 1.0 / k as f64).abs() < 1e-12);
    // The third cell shares the first one's choice but has its own channels.
    let later = model.finalize_edge(2, 0, 0).unwrap();
    assert_eq!(
        (later.desc.name.as_str(), later.desc.ch_out),
        ("dil_conv_5x5", desc.cells[2].stems[0].ch_out)
    );
    let missing = model.finalize_edge(9, 0, 0).unwrap_err().to_string();
    assert!(missing.contains("no node 0 in a cell 9"), "{missing}");
    for (_, w) in model.edge_weights() {
        assert!((w.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }
    let plain = compile(&evaluation(), &Compute::cpu())
        .finalize_edge(0, 0, 0)
        .unwrap();
    assert_eq!(
        (plain.desc.name.as_str(), plain.rank),
        ("sep_conv_3x3", None)
    );
}

#[test]
fn named_tensors_return() {
    let desc = evaluation();
    let model = compile(&desc, &Compute::cpu());
    let layout = model.weights().layout();
    let named = model.weights().named();
    let names: Vec<&str> = named.iter().map(|t| t.name.as_str()).collect();
    for name in [
        "stem0.conv1.weight",
        "cell0.pre0.conv1.weight",
        "cell0.node0.edge0.sep_conv_3x3.conv2.weight",
        "cell1.node0.edge0.skip_connect.bn1.bias",
        "aux.conv2.weight",
        "classifier.linear1.weight",
    ] {
        assert!(names.contains(&name), "no {name} in {names:?}");
    }
    let back = ParamVec::from_named(layout, &named, model.compute()).unwrap();
    assert_eq!(back.named(), named);
    let error = |change: &dyn Fn(&mut Vec<NamedTensor>)| {
        let mut tensors = named.clone();
        change(&mut tensors);
        ParamVec::from_named(layout, &tensors, model.compute())
            .unwrap_err()
            .to_string()
    };
    let missing = error(&|t| drop(t.remove(0)));
    assert!(
        missing.contains(&names[0].to_string()) && missing.contains("missing"),
        "{missing}"
    );
    let extra = error(&|t| {
        t.push(NamedTensor {
            name: "more".into(),
            ..t[0].clone()
        })
    });
    assert!(extra.contains("`more` is not part of the model"), "{extra}");
    let shape = error(&|t| t[0].shape = vec![1]);
    assert!(
        shape.contains("has shape [1] instead of [12, 3, 3, 3]"),
        "{shape}"
    );
    let twice = error(&|t| t.push(t[0].clone()));
    assert!(twice.contains("given twice"), "{twice}");
    let mut copy = model.clone();
    let mut buffers = model.buffers();
    buffers[0].values.fill(0.5);
    copy.set_buffers(&buffers).unwrap();
    assert_eq!(copy.buffers(), buffers);
    assert!(matches!(
        copy.set_buffers(&buffers[1..]),
        Err(EngineError::Shape(_))
    ));
    assert_eq!(model.named_state().len(), named.len() + buffers.len());
}

#[test]
fn batches_that_do_not_fit_are_errors() {
    let desc = tiny_supernet();
    let model = compile(&desc, &Compute::cpu());
    let good = batch(2, &desc, 1);
    let objective = Objective::default();
    let message = |b: &archai_data::Batch| model.grads(b, &objective).unwrap_err().to_string();
    let mut b = good.clone();
    b.labels[1] = 10;
    assert!(message(&b).contains("label 10 does not fit the model's 10 classes"));
    b.labels[1] = -1;
    assert!(message(&b).contains("label -1"));
    b.labels.pop();
    assert!(message(&b).contains("2 images has 1 labels"));
    let mut b = good.clone();
    b.shape = [2, 3, 4, 16];
    assert!(message(&b).contains("[2, 3, 4, 16]"));
    b.shape = [0, 3, 8, 8];
    assert!(model.evaluate(&b, &objective.loss).is_err());
    assert!(model.predict(vec![0.0; 3 * 64], [1, 3, 8, 8]).is_ok());
    assert!(model.predict(vec![0.0; 3 * 63], [1, 3, 8, 8]).is_err());
    let (_, logits) = model.evaluate(&good, &objective.loss).unwrap();
    assert_eq!(
        model.predict(good.images.clone(), good.shape).unwrap(),
        logits
    );
    // A description that does not hold together is refused before anything is built.
    let mut broken = desc.clone();
    broken.cells[0].nodes[0].edges[0].op.children[3].op.name = "sep_conv_3x4".into();
    let error =
        Model::compile(&broken, &OpRegistry::builtin(), &ModelOptions::default()).unwrap_err();
    assert!(error.to_string().contains("sep_conv_3x3"), "{error}");
}
