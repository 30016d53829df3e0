//! The fused engine against the framework's own operations: same names, same numbers, same statistics; and what it promises
//! by itself: equal bits for any number of threads, zeros in the padding, and a way out for ops that know nothing of it.

use std::sync::Arc;

use archai_data::rng::Key;
use archai_engine::compute::to_host;
use archai_engine::ops::{OpGrads, SingleOp};
use archai_engine::tensor::{Tensor, activation};
use archai_engine::{
    Compute, EngineError, Features, Mode, Model, NamedTensor, Objective, Op, OpBuilder, OpRegistry,
    ParamVec, Pass, Precision, Regular, Want,
};
use archai_spec::desc::{
    CellType, ChildDesc, Cost, DescError, ModelDesc, OpCatalog, OpDesc, OpInfo, ParamInfo,
    ParamValue, Shape,
};

use crate::support::{batch, compile, genotype, network, settings, tiny_supernet};

fn random(n: usize, name: &str) -> Vec<f64> {
    let mut rng = Key::new(11).with(name).rng();
    // 32-bit numbers, so that both precisions start from the same.
    (0..n)
        .map(|_| f64::from(2.0 * rng.uniform_f64() as f32 - 1.0))
        .collect()
}

fn sorted(mut tensors: Vec<NamedTensor>) -> Vec<NamedTensor> {
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    tensors
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// The L2 distance is at most `limit` of the size, of `least` where that is larger.
fn close_to(what: &str, got: &[f64], want: &[f64], limit: f64, least: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    let difference: Vec<f64> = got.iter().zip(want).map(|(g, w)| g - w).collect();
    let d = norm(&difference) / norm(want).max(least);
    assert!(
        d <= limit,
        "{what}: relative distance {d:.2e} above {limit:.0e}"
    );
}

fn close(what: &str, got: &[f64], want: &[f64], limit: f64) {
    close_to(what, got, want, limit, 1e-6);
}

fn all_close(what: &str, got: Vec<NamedTensor>, want: Vec<NamedTensor>, limit: f64) {
    let (got, want) = (sorted(got), sorted(want));
    assert_eq!(got.len(), want.len(), "{what}");
    // A bias before a norm has no gradient: what is left of it is small against the others only.
    let least = 1e-2 * want.iter().map(|t| norm(&t.values)).fold(1e-4, f64::max);
    for (g, w) in got.iter().zip(&want) {
        assert_eq!((&g.name, &g.shape), (&w.name, &w.shape), "{what}");
        close_to(
            &format!("{what}, {}", g.name),
            &g.values,
            &w.values,
            limit,
            least,
        );
    }
}

fn double() -> Compute {
    Compute::cpu().with_precision(Precision::F64)
}

/// Output, gradients, statistics and evaluation output of an op, in 64 bits layer by layer and on kernels.
fn check_op(desc: &OpDesc, n_inputs: usize, affine: bool, input: [usize; 4]) {
    let what = format!(
        "{} stride {} affine {affine} on {input:?}",
        desc.name, desc.stride
    );
    let n = input.iter().product();
    let mut weights = Vec::new();
    let mut run = |compute: &Compute| {
        let registry = OpRegistry::builtin();
        let mut op = SingleOp::new(desc, n_inputs, affine, &registry, compute, 3).unwrap();
        if weights.is_empty() {
            weights = op.weights().named();
            for w in &mut weights {
                let spread = random(w.values.len(), &w.name);
                for (v, s) in w.values.iter_mut().zip(spread) {
                    *v = f64::from((*v + 0.25 * s) as f32);
                }
            }
        }
        op.set_weights(&weights).unwrap();
        let inputs: Vec<Tensor<4>> = (0..n_inputs)
            .map(|i| compute.tensor(random(n, &format!("x{i}")), input))
            .collect();
        let arch = (!desc.children.is_empty() && desc.name == "mixed_op").then(|| {
            let k = desc.children.len();
            compute.tensor::<1>(random(k, "weights"), [k])
        });
        let y = op.forward(&inputs, arch.as_ref(), Mode::Training);
        let g = compute.tensor(random(y.dims().iter().product(), "g"), y.dims());
        let grads = op.grads(&inputs, arch.as_ref(), &g);
        let eval = op.forward(&inputs, arch.as_ref(), Mode::Evaluation);
        (grads, op.buffers(), to_host(&eval))
    };
    let ((want, want_buffers, want_eval), (got, buffers, eval)) =
        (run(&double()), run(&Compute::cpu()));
    close(
        &format!("{what}: output"),
        &to_host(&got.output),
        &to_host(&want.output),
        1e-5,
    );
    close(&format!("{what}: evaluation"), &eval, &want_eval, 1e-5);
    for (got, want) in got.inputs.iter().zip(&want.inputs) {
        close(
            &format!("{what}: input"),
            &to_host(got),
            &to_host(want),
            1e-4,
        );
    }
    all_close(&what, got.weights.named(), want.weights.named(), 1e-4);
    all_close(&what, buffers, want_buffers, 1e-5);
    if let (
        OpGrads {
            arch: Some(got), ..
        },
        OpGrads {
            arch: Some(want), ..
        },
    ) = (&got, &want)
    {
        close(
            &format!("{what}: mixing"),
            &to_host(got),
            &to_host(want),
            1e-4,
        );
    }
}

/// Batch 1, odd and oblong maps, channels that fill no block.
const SHAPES: [[usize; 4]; 4] = [[1, 12, 7, 7], [3, 36, 6, 10], [2, 16, 8, 8], [2, 5, 9, 4]];

#[test]
fn fused_ops_are_the_plain_ones() {
    for input in SHAPES {
        let c = input[1];
        for affine in [false, true] {
            for stride in [1, 2] {
                let names = [
                    "sep_conv_3x3",
                    "sep_conv_5x5",
                    "sep_conv_7x7",
                    "dil_conv_3x3",
                    "dil_conv_5x5",
                    "conv_7x1_1x7",
                    "max_pool_3x3",
                    "avg_pool_3x3",
                    "mbconv_r2",
                    "nor_conv_3x3",
                    "nor_conv_1x1",
                    "convbn_1x1",
                    "convbnrelu6_3x3",
                    "bnreluconv_3x3",
                    "bnreluconv_1x1",
                    "conv_1x1",
                    "dwconvbnrelu6_3x3",
                    "fit_channels",
                ];
                for name in names {
                    let op = OpDesc::new(name, c, c).with_stride(stride);
                    check_op(&op, 1, affine, input);
                }
                for name in ["max_pool_3x3", "avg_pool_3x3"] {
                    let op = OpDesc::new(name, c, c).with_stride(stride);
                    check_op(
                        &op.with_param("norm", ParamValue::Bool(true)),
                        1,
                        affine,
                        input,
                    );
                }
                // A strided one makes its channels in two halves.
                if stride == 1 || c.is_multiple_of(2) {
                    let op = OpDesc::new("skip_connect", c, c).with_stride(stride);
                    check_op(&op, 1, affine, input);
                }
            }
            for name in [
                "prepr_normal",
                "convbnrelu_3x3",
                "convbnrelu_1x1",
                "convbn_3x3",
                "convbnrelu6_1x1",
                "conv_3x3",
                "stem_conv7x7_s2_pool",
                "fit_channels",
                "stem_conv3x3",
                "stem_conv3x3Relu",
                "stem_conv3x3_s2",
                "stem_relu_conv3x3_s2",
                "stem_conv3x3_s4",
            ] {
                check_op(&OpDesc::new(name, c, 14), 1, affine, input);
            }
            check_op(&OpDesc::new("prepr_reduce", c, 14), 1, affine, input);
            // What has no kernel goes the way of plain ops, beside what has one.
            for act in ["hswish", "gelu", "silu"] {
                let act = ParamValue::Text(act.into());
                for name in ["activation", "conv", "dwconv"] {
                    let op = OpDesc::new(name, c, c).with_param("act", act.clone());
                    check_op(&op, 1, affine, input);
                }
            }
            check_op(&OpDesc::new("squeeze_excite", c, c), 1, affine, input);
            for name in [
                "relu",
                "bnrelu",
                "bnrelu_pool_avg2d",
                "max_pool_2x2",
                "avg_pool_2x2",
            ] {
                check_op(&OpDesc::new(name, c, c), 1, affine, input);
            }
            let biased =
                OpDesc::new("convbnrelu_3x3", c, 14).with_param("bias", ParamValue::Bool(true));
            check_op(&biased, 1, affine, input);
            let n = c * input[2] * input[3];
            check_op(&OpDesc::new("linear_relu", n, 6), 1, affine, input);
            check_op(
                &OpDesc::new("concat_states", 2 * c, 2 * c),
                2,
                affine,
                input,
            );
            check_op(&OpDesc::new("proj_channels", c, c), 3, affine, input);
        }
        check_op(
            &OpDesc::new("concate_channels", c, 11 * c),
            11,
            false,
            input,
        );
        check_op(&OpDesc::new("pool_adaptive_avg2d", c, c), 1, false, input);
    }
}

/// Every width up to 40 channels, with maps of 1 to 40 rows and columns, in steps and without.
#[test]
fn fused_ops_are_the_plain_ones_at_any_width_and_size() {
    let children = [
        "max_pool_3x3",
        "avg_pool_3x3",
        "sep_conv_3x3",
        "sep_conv_5x5",
        "dil_conv_3x3",
        "dil_conv_5x5",
        "nor_conv_3x3",
        "none",
    ];
    for c in 1..=40 {
        let [height, width] = [7, 11].map(|prime| c * prime % 40 + 1);
        // Norms over a handful of numbers lose digits in the gradient: small maps come in larger batches.
        let n = 1 + 48 / (height * width);
        for stride in [1, 2] {
            let child = |name| OpDesc::new(name, c, c).with_stride(stride);
            let mut children: Vec<OpDesc> = children.map(child).into();
            // Where it strides, it makes its channels in two halves.
            if stride == 1 || c.is_multiple_of(2) {
                children.push(child("skip_connect"));
            }
            let op = OpDesc::new("mixed_op", c, c).with_stride(stride);
            check_op(&op.with_children(children), 1, false, [n, c, height, width]);
        }
    }
}

#[test]
fn a_mixture_of_any_ops_is_fused_child_by_child() {
    let children = [
        "convbnrelu_3x3",
        "sep_conv_3x3",
        "none",
        "identity",
        "mbconv_r1",
        "conv_7x1_1x7",
        "dil_conv_5x5",
        "avg_pool_3x3",
        "max_pool_3x3",
        "prepr_normal",
        "sep_conv_5x5",
    ];
    for input in SHAPES {
        let c = input[1];
        let children = children.map(|name| OpDesc::new(name, c, c));
        let op = OpDesc::new("mixed_op", c, c).with_children(children);
        check_op(&op, 1, false, input);
    }
}

fn evaluation_network() -> ModelDesc {
    let mut s = settings(5, 1, 2, 12);
    s.aux_weight = 0.4;
    s.aux_tower_stride = 2;
    network(&genotype(), &s)
}

fn supernet_of(channels: usize) -> ModelDesc {
    let mut s = settings(3, 1, 2, channels);
    s.dataset.size = [8, 8];
    crate::support::supernet(&s)
}

fn objective(desc: &ModelDesc) -> Objective {
    let has_aux = desc.cells.iter().any(|c| c.aux_tower.is_some());
    Objective {
        aux_weight: if has_aux { 0.4 } else { 0.0 },
        ..Objective::default()
    }
}

fn step(drop_path_prob: f64) -> Regular {
    Regular {
        drop_path_prob,
        draw: Key::new(5),
    }
}

const BOTH: Want = Want {
    weights: true,
    arch: true,
};

/// One training pass on the framework's operations in 64 bits and on kernels.
pub(crate) fn check_network(desc: &ModelDesc, registry: &OpRegistry, n: usize, drop_path: f64) {
    let run = |compute: Compute| {
        let options = archai_engine::ModelOptions {
            compute,
            seed: 7,
            ..archai_engine::ModelOptions::default()
        };
        let mut model = Model::compile(desc, registry, &options).unwrap();
        let (batch, objective) = (batch(n, desc, 3), objective(desc));
        let grads = model
            .train_pass(&batch, &objective, &step(drop_path), BOTH)
            .unwrap();
        let (_, logits) = model.evaluate(&batch, &objective.loss).unwrap();
        (grads, model.buffers(), logits)
    };
    let ((want, want_buffers, want_logits), (got, buffers, logits)) =
        (run(double()), run(Compute::cpu()));
    close("loss", &[got.loss], &[want.loss], 1e-5);
    all_close("statistics", buffers, want_buffers, 1e-4);
    // Far from the output, gradients of a handful of samples through a dozen norms lose digits.
    let flat = |w: &ParamVec| -> Vec<f64> {
        let named = sorted(w.named());
        named.into_iter().flat_map(|t| t.values).collect()
    };
    close("gradient", &flat(&got.weights), &flat(&want.weights), 1e-2);
    let alphas = |a: &archai_engine::ArchParams| -> Vec<f64> {
        a.to_host().into_iter().flat_map(|v| v.1).collect()
    };
    if !want.arch.is_empty() {
        close("alphas", &alphas(&got.arch), &alphas(&want.arch), 1e-2);
    }
    let wide = |v: Vec<f32>| -> Vec<f64> { v.into_iter().map(f64::from).collect() };
    close(
        "evaluation",
        &wide(logits.values),
        &wide(want_logits.values),
        1e-3,
    );
}

#[test]
fn fused_networks_are_the_plain_ones() {
    let registry = OpRegistry::builtin();
    for channels in [1, 2, 4, 8, 12] {
        check_network(&supernet_of(channels), &registry, 6, 0.0);
    }
    check_network(&evaluation_network(), &registry, 5, 0.0);
    // Cells whose nodes are projected behind the fused cell.
    let mut s = settings(3, 1, 2, 8);
    s.dataset.size = [8, 8];
    s.cell.cell_post_op = "proj_channels".into();
    check_network(&crate::support::supernet(&s), &registry, 6, 0.0);
}

#[test]
fn auxiliary_towers_of_any_size_are_the_plain_ones() {
    let registry = OpRegistry::builtin();
    for (size, pool) in [(20, (4, 1)), (48, (5, 3))] {
        let mut s = settings(5, 2, 2, 4);
        (s.aux_weight, s.dataset.size) = (0.4, [size, size]);
        let desc = network(&genotype(), &s);
        let towers = desc.cells.iter().filter_map(|c| c.aux_tower.as_ref());
        let pools: Vec<_> = towers.map(|t| (t.window, t.stride)).collect();
        assert_eq!(pools, [pool]);
        check_network(&desc, &registry, 16, 0.0);
    }
}

#[test]
fn a_fused_supernet_has_three_parameters_per_cell() {
    let model = compile(&tiny_supernet(), &Compute::cpu());
    // Two stems; per cell two that prepare its inputs and one of all its edges; the classifier.
    assert_eq!(model.weights().len(), 2 + 3 * 3 + 1);
}

#[test]
fn drop_path_takes_the_same_paths_on_both_engines() {
    let registry = OpRegistry::builtin();
    check_network(&tiny_supernet(), &registry, 6, 0.4);
    check_network(&evaluation_network(), &registry, 5, 0.4);
}

#[test]
fn files_are_interchangeable() {
    for desc in [tiny_supernet(), evaluation_network()] {
        let fused = compile(&desc, &Compute::cpu());
        let plain = compile(&desc, &Compute::cpu().with_plain_ops());
        assert!(fused.weights().len() < plain.weights().len());
        assert_eq!(fused.weights().n_numbers(), plain.weights().n_numbers());
        // The start depends on names alone.
        assert_eq!(sorted(fused.named_state()), sorted(plain.named_state()));
        let mut state = fused.named_state();
        for t in &mut state {
            let noise = random(t.values.len(), &t.name);
            for (v, noise) in t.values.iter_mut().zip(noise) {
                *v = f64::from((*v + 0.1 * noise.abs()) as f32);
            }
        }
        for mut model in [fused, plain] {
            model.set_named_state(&state).unwrap();
            assert_eq!(sorted(model.named_state()), sorted(state.clone()));
        }
    }
}

#[test]
fn padding_stays_zero() {
    let desc = supernet_of(12);
    let mut model = compile(&desc, &Compute::cpu());
    for round in 0..3 {
        let grads = model
            .train_pass(
                &batch(4, &desc, round),
                &Objective::default(),
                &step(0.0),
                BOTH,
            )
            .unwrap();
        let squares = |w: &ParamVec| -> f64 {
            let named = w.named();
            named.iter().flat_map(|t| &t.values).map(|v| v * v).sum()
        };
        let norm = grads.weights.norm();
        assert!((norm.powi(2) / squares(&grads.weights) - 1.0).abs() < 1e-12);
        let stepped = model
            .weights()
            .add_scaled(&grads.weights, -0.1)
            .add_scaled(model.weights(), -3e-4);
        assert!((stepped.norm().powi(2) / squares(&stepped) - 1.0).abs() < 1e-12);
        model.set_weights(stepped);
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    for desc in [tiny_supernet(), evaluation_network()] {
        // Large enough that kernels go parallel.
        let batch = batch(24, &desc, 9);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build().unwrap().install(|| {
                let mut model = compile(&desc, &Compute::cpu());
                let grads = model
                    .train_pass(&batch, &objective(&desc), &step(0.2), BOTH)
                    .unwrap();
                let loss = grads.loss.to_bits();
                (
                    loss,
                    grads.weights.named(),
                    grads.arch.named(),
                    model.buffers(),
                )
            })
        };
        let one = run(1);
        for threads in [1, 2, 3, 4, 8] {
            assert!(
                run(threads) == one,
                "{threads} threads give other bits than one"
            );
        }
    }
}

#[test]
fn only_wanted_gradients_are_computed() {
    let desc = tiny_supernet();
    let model = compile(&desc, &Compute::cpu());
    let (batch, objective) = (batch(4, &desc, 1), Objective::default());
    let both = model.grads(&batch, &objective).unwrap();
    let arch = model.arch_grads(&batch, &objective).unwrap().1;
    let weights = model.weight_grads(&batch, &objective).unwrap().1;
    all_close("alphas", arch.named(), both.arch.named(), 1e-5);
    all_close("weights", weights.named(), both.weights.named(), 1e-5);
}

#[test]
fn gradients_exist_in_evaluation_mode_too() {
    for desc in [tiny_supernet(), evaluation_network()] {
        let shape = [2, desc.input.channels, desc.input.height, desc.input.width];
        let run = |compute: &Compute| {
            let model = compile(&desc, compute);
            let n = shape.iter().product();
            let images: Tensor<4> = compute.tensor(random(n, "images"), shape);
            let images = images.autodiff().require_grad();
            let logits = model.forward(images.clone(), Mode::Evaluation).logits;
            let grads = (logits.clone() * logits).sum().backward();
            to_host(&images.grad(&grads).expect("images are tracked"))
        };
        close("saliency", &run(&Compute::cpu()), &run(&double()), 1e-3);
    }
}

/// An op of a user: tanh(a·x), a learnt per channel.
#[derive(Debug)]
struct Squash {
    desc: OpDesc,
    scale: archai_engine::ParamId,
}

impl Op for Squash {
    fn forward(&self, pass: &mut Pass<'_>, inputs: &[Features], _: Option<&Tensor<1>>) -> Features {
        let scale: Tensor<4> = pass.param(self.scale, 0);
        Features::from_nchw(activation::tanh(inputs[0].nchw() * scale))
    }
    fn desc(&self) -> &OpDesc {
        &self.desc
    }
}

struct SquashInfo;

impl OpInfo for SquashInfo {
    fn name(&self) -> &str {
        "squash"
    }
    fn summary(&self) -> &str {
        "tanh of a scaled map"
    }
    fn params(&self) -> &[ParamInfo] {
        &[]
    }
    fn measure(
        &self,
        _: &OpDesc,
        ins: &[Shape],
        _: bool,
        _: &OpCatalog,
    ) -> Result<(Shape, Cost), DescError> {
        Ok((ins[0], Cost::default()))
    }
}

fn make_squash(desc: &OpDesc, b: &mut OpBuilder<'_>) -> Result<Box<dyn Op>, EngineError> {
    let (init, role) = (
        archai_engine::Init::Constant(0.5),
        archai_engine::ParamRole::Weight,
    );
    Ok(Box::new(Squash {
        desc: desc.clone(),
        scale: b.param("scale", vec![1, desc.ch_in, 1, 1], init, role),
    }))
}

#[test]
fn an_op_of_a_user_works_inside_a_fused_network() {
    let mut registry = OpRegistry::builtin();
    registry
        .register(SquashInfo, Arc::new(make_squash))
        .unwrap();
    let mut desc = tiny_supernet();
    let cells = desc.cells.iter_mut();
    let regular = cells.filter(|c| c.cell_type == CellType::Regular);
    for edge in regular
        .flat_map(|c| &mut c.nodes)
        .flat_map(|n| &mut n.edges)
    {
        let c = edge.op.ch_in;
        edge.op.children.push(ChildDesc {
            input: 0,
            op: OpDesc::new("squash", c, c),
        });
    }
    check_network(&desc, &registry, 6, 0.0);
    let mut desc = evaluation_network();
    let edge = &mut desc.cells[1].nodes[0].edges[0];
    edge.op = OpDesc::new("squash", edge.op.ch_in, edge.op.ch_in);
    check_network(&desc, &registry, 5, 0.0);
}
