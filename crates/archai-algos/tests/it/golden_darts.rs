//! The bilevel step and twelve alternating steps against the original DARTS code. Tensors that depend on that code's habit
//! of letting the bilevel passes change running statistics (`*_stem_bn_running_mean_after_step1`, `bn_norm`,
//! `final_logits_eval`) are exempt.

use archai_algos::darts::LookAhead;
use archai_data::{Batch, rng::Key};
use archai_engine::{
    ArchParams, Compute, Model, Objective, OpRegistry, ParamVec, Precision,
    arch::{AlphaInit, ArchGrads},
    model::{ModelOptions, Regular, Want},
    optim::{Optimizer, Vector, clip_factor},
    params::NamedTensor,
};
use archai_spec::desc::{
    CellPlan, CellType, DartsModelDescBuilder, DescError, ModelDescBuilder, NodeDesc, build,
};
use archai_spec::settings::{self, ModelDescSettings};

use crate::golden::{Golden, distance, max_abs};

/// DARTS with the reference's places of the reduction cells, L/3 and 2L/3, which a tiny network allows too.
struct Original;

impl ModelDescBuilder for Original {
    fn reduction_indices(&self, settings: &ModelDescSettings) -> Result<Vec<usize>, DescError> {
        Ok(vec![settings.n_cells / 3, 2 * settings.n_cells / 3])
    }
    fn nodes(&self, cell: &CellPlan<'_>) -> Result<Vec<NodeDesc>, DescError> {
        DartsModelDescBuilder.nodes(cell)
    }
}

struct Reference {
    supernet: Golden,
    precision: Precision,
    model: Model,
    /// For each of [`Reference::model`]'s edges: which table, and which row of it.
    rows: Vec<(&'static str, usize)>,
    /// For each of our primitives, its column.
    columns: Vec<usize>,
}

impl Reference {
    fn new(precision: Precision) -> Reference {
        let supernet = Golden::read("supernet");
        let json = &supernet.json;
        let number = |key: &str| json["config"][key].as_u64().expect(key) as usize;
        let settings: ModelDescSettings = serde_json::from_value(serde_json::json!({
            "dataset": {
                "name": "golden", "format": "embedded", "path": "golden", "n_classes": number("classes"), "channels": 3,
                "size": [number("height"), number("width")], "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0],
            },
            "n_cells": number("cells"), "n_reductions": 2, "max_final_edges": 2,
            "model_post_op": "pool_adaptive_avg2d", "aux_weight": 0.0, "aux_tower_stride": 3,
            "aux_tower_second_norm": true,
            "model_stems": {
                "ops": ["stem_conv3x3", "stem_conv3x3"], "wiring": "shared", "affine": true,
                "stem_multiplier": number("stem_multiplier"), "init_node_ch": number("C"),
            },
            "cell": { "n_nodes": number("nodes"), "cell_post_op": "concate_channels" },
        }))
        .expect("settings");
        let registry = OpRegistry::builtin();
        let desc = build(&Original, &settings, None, false, registry.catalog())
            .expect("description")
            .desc;
        let compute = Compute::cpu().with_precision(precision);
        let options = ModelOptions {
            compute: compute.clone(),
            alpha_init: AlphaInit::default(),
            ..Default::default()
        };
        let mut model = Model::compile(&desc, &registry, &options).expect("model");
        assert_eq!(
            Some(model.weights().n_numbers() as u64),
            json["n_weights"].as_u64()
        );

        let order: Vec<&str> = json["primitive_order"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_str().unwrap())
            .collect();
        let children = &desc.cells[0].nodes[0].edges[0].op.children;
        let columns: Vec<usize> = children
            .iter()
            .map(|c| {
                order
                    .iter()
                    .position(|name| *name == c.op.name)
                    .expect("a primitive of the reference")
            })
            .collect();
        let row_of = |node: usize, input: usize| {
            let rows = json["alpha_rows"].as_array().unwrap();
            let found = rows.iter().find(|r| {
                r["node"].as_u64() == Some(node as u64)
                    && r["input_state"].as_u64() == Some(input as u64)
            });
            found.unwrap()["row"].as_u64().unwrap() as usize
        };
        let rows: Vec<(&str, usize)> = model
            .arch()
            .keys()
            .iter()
            .map(|key| {
                let cell = &desc.cells[key.cell];
                let table = if cell.cell_type == CellType::Regular {
                    "normal"
                } else {
                    "reduce"
                };
                (
                    table,
                    row_of(key.node, cell.nodes[key.node].edges[key.edge].inputs[0]),
                )
            })
            .collect();

        let weights = named(&supernet, "w.", model.weights());
        model.set_weights(
            model
                .weights()
                .with_named(&weights, &compute)
                .expect("weights"),
        );
        let tables = |t: &str| supernet.get(&format!("alpha_{t}"));
        let arch = from_tables(model.arch(), &rows, &columns, &compute, tables);
        model.set_arch(arch);
        Reference {
            supernet,
            precision,
            model,
            rows,
            columns,
        }
    }

    /// Batch `i` of `train` or `valid`.
    fn batch(&self, which: &str, i: usize) -> Batch {
        let shape = self.supernet.shape(&format!("x_{which}"));
        let shape: [usize; 4] = shape[1..].try_into().unwrap();
        let (size, n) = (shape.iter().product::<usize>(), shape[0]);
        let x = self.supernet.get(&format!("x_{which}"));
        let y = self.supernet.get(&format!("y_{which}"));
        let images = x[i * size..(i + 1) * size].iter().map(|&v| v as f32);
        let labels = y[i * n..(i + 1) * n].iter().map(|&v| v as i64);
        Batch::new(images.collect(), labels.collect(), shape)
    }

    /// Values per edge as the reference's table `normal` or `reduce`.
    fn table(&self, arch: &ArchParams, which: &str) -> Vec<f64> {
        let n = self.columns.len();
        let count = self.rows.iter().filter(|(t, _)| *t == which).count();
        let mut table = vec![f64::NAN; count * n];
        for ((_, values), (t, row)) in arch.to_host().iter().zip(&self.rows) {
            if *t == which {
                for (value, column) in values.iter().zip(&self.columns) {
                    table[row * n + column] = *value;
                }
            }
        }
        table
    }

    /// How far `values` are from the reference's, in units of the README's tolerance. `second_order` quantities have a
    /// wider one in 64 bits.
    fn distance(&self, golden: &Golden, values: &[f64], name: &str, second_order: bool) -> f64 {
        let truth = golden.get(name);
        let tolerance = match self.precision {
            Precision::F64 => (if second_order { 1e-6 } else { 1e-9 }) * max_abs(&truth),
            Precision::F32 => golden.f32_tolerance(name),
        };
        distance(values, &truth) / tolerance.max(f64::MIN_POSITIVE)
    }

    fn check(&self, golden: &Golden, values: &[f64], name: &str, second_order: bool) {
        let off = self.distance(golden, values, name, second_order);
        assert!(
            off <= 1.0,
            "{name} in {:?}: {off} times the tolerance",
            self.precision
        );
    }

    fn check_arch(
        &self,
        golden: &Golden,
        arch: &ArchParams,
        name: impl Fn(&str) -> String,
        second_order: bool,
    ) {
        for which in ["normal", "reduce"] {
            self.check(golden, &self.table(arch, which), &name(which), second_order);
        }
    }
}

/// The tensors whose names start with `prefix` and end as the model's parameters do.
fn named(golden: &Golden, prefix: &str, like: &ParamVec) -> Vec<NamedTensor> {
    let wanted = like.named();
    let all = golden.names();
    wanted
        .into_iter()
        .map(|t| {
            let name = format!("{prefix}{}", t.name);
            assert!(all.contains(&name), "{name} is not in the file");
            NamedTensor {
                values: golden.get(&name),
                ..t
            }
        })
        .collect()
}

fn from_tables(
    like: &ArchParams,
    rows: &[(&str, usize)],
    columns: &[usize],
    compute: &Compute,
    table: impl Fn(&str) -> Vec<f64>,
) -> ArchParams {
    let n = columns.len();
    let values = rows
        .iter()
        .map(|(t, row)| {
            let table = table(t);
            columns.iter().map(|c| table[row * n + c]).collect()
        })
        .collect();
    like.with_values(values, compute)
}

fn sgd(momentum: f64, decay: f64) -> Optimizer<ParamVec> {
    Optimizer::new(&settings::Optimizer {
        kind: settings::OptimizerKind::Sgd,
        lr: 0.025,
        decay,
        decay_bn: None,
        momentum: Some(momentum),
        nesterov: None,
        betas: None,
        eps: None,
        alpha: None,
        centered: None,
    })
    .expect("sgd")
}

fn adam(betas: [f64; 2], eps: f64, decay: f64) -> Optimizer<ArchParams> {
    Optimizer::new(&settings::Optimizer {
        kind: settings::OptimizerKind::Adam,
        lr: 3e-4,
        decay,
        decay_bn: None,
        momentum: None,
        nesterov: None,
        betas: Some(betas),
        eps: Some(eps),
        alpha: None,
        centered: None,
    })
    .expect("adam")
}

fn bytes(model: &Model) -> Vec<(String, Vec<u64>)> {
    model
        .named_state()
        .into_iter()
        .map(|t| (t.name, t.values.iter().map(|v| v.to_bits()).collect()))
        .collect()
}

fn architect(precision: Precision) {
    let reference = Reference::new(precision);
    let golden = Golden::read("architect");
    let hyper = &golden.json["hyperparameters"];
    let number = |key: &str| hyper[key].as_f64().expect(key);
    let betas = [
        hyper["adam_betas"][0].as_f64().unwrap(),
        hyper["adam_betas"][1].as_f64().unwrap(),
    ];
    let index = |key: &str| golden.json[key].as_u64().expect(key) as usize;
    let train = reference.batch("train", index("train_batch"));
    let valid = reference.batch("valid", index("valid_batch"));
    let (objective, draw) = (Objective::default(), Key::new(0));

    let mut outliers = Vec::new();
    for case in ["first", "unrolled_nomom", "unrolled_mom"] {
        let mut model = reference.model.clone();
        let before = bytes(&model);
        let mut weights_sgd = sgd(number("momentum"), number("weight_decay"));
        if case == "unrolled_mom" {
            let mut state = vec![NamedTensor {
                name: "steps".into(),
                shape: vec![1],
                values: vec![1.0],
            }];
            state.extend(
                named(&golden, "momentum.", model.weights())
                    .into_iter()
                    .map(|t| NamedTensor {
                        name: format!("momentum/{}", t.name),
                        ..t
                    }),
            );
            weights_sgd
                .set_state(&state, model.weights(), model.compute())
                .expect("momentum");
        }
        let mut alpha_adam = adam(betas, number("adam_eps"), number("arch_weight_decay"));
        for step in 1..=3 {
            let second_order = case != "first";
            let grads = if second_order {
                let (_, g) = model
                    .weight_grads_sampled(&train, &objective, &draw)
                    .expect("training gradient");
                let update = weights_sgd.direction(model.weights(), &g);
                let ahead = LookAhead {
                    update: &update,
                    xi: number("eta"),
                    epsilon: number("fd_numerator"),
                };
                if step == 1 {
                    inside(&reference, &golden, case, &ahead, &model, [&train, &valid]);
                }
                ahead
                    .arch_grads(&model, &train, &valid, &objective, &draw)
                    .expect("second order")
                    .1
            } else {
                model
                    .arch_grads_sampled(&valid, &objective, &draw)
                    .expect("first order")
                    .1
            };
            let arch = alpha_adam.step(model.arch(), &grads, number("arch_learning_rate"));
            for (what, values) in [("grad", &grads), ("alpha_after", &arch)] {
                for which in ["normal", "reduce"] {
                    let name = format!("{case}/step{step}.{what}_{which}");
                    let table = reference.table(values, which);
                    if reference.precision == Precision::F32 && second_order {
                        if reference.distance(&golden, &table, &name, true) > 1.0 {
                            outliers.push(name);
                        }
                    } else {
                        reference.check(&golden, &table, &name, second_order);
                    }
                }
            }
            model.set_arch(arch);
        }
        assert!(
            before == bytes(&model),
            "the architecture's steps changed weights or running statistics"
        );
    }
    // Rounding w' (by 1e-8) can push an activation across a ReLU or max-pool kink; then the finite difference of this and
    // all later steps is another one. It may happen in one of the two cases (12 tensors each); the parts, each from
    // the reference's own numbers, have no such excuse.
    assert!(outliers.len() <= 12, "beyond the tolerance: {outliers:?}");
}

/// The parts of the second-order gradient, one by one. In 32 bits each part starts from the reference's numbers, so that a
/// ReLU or max-pool kink that rounding crosses in one part does not spoil the next.
fn inside(
    reference: &Reference,
    golden: &Golden,
    case: &str,
    ahead: &LookAhead<'_>,
    model: &Model,
    [train, valid]: [&Batch; 2],
) {
    let objective = Objective::default();
    let theirs = |which: &str| -> ParamVec {
        let tensors = named(golden, &format!("{case}/{which}."), model.weights());
        model
            .weights()
            .with_named(&tensors, model.compute())
            .expect("parameters")
    };
    let compare = |ours: &ParamVec, which: &str| {
        for tensor in ours.named() {
            let name = format!("{case}/{which}.{}", tensor.name);
            reference.check(golden, &tensor.values, &name, true);
        }
    };
    let mut at_ahead = model.shifted(ahead.update, -ahead.xi);
    compare(at_ahead.weights(), "wprime");
    if reference.precision == Precision::F32 {
        at_ahead.set_weights(theirs("wprime"));
    }
    let at_ahead = at_ahead.grads(valid, &objective).expect("look-ahead");
    reference.check_arch(
        golden,
        &at_ahead.arch,
        |t| format!("{case}/dalpha_direct_{t}"),
        true,
    );
    compare(&at_ahead.weights, "dwprime");
    let v = match reference.precision {
        Precision::F32 => theirs("dwprime"),
        Precision::F64 => at_ahead.weights,
    };
    let epsilon = ahead.epsilon / v.norm();
    reference.check(golden, &[epsilon], &format!("{case}/epsilon"), true);
    let side = |by: f64| -> ArchGrads {
        model
            .shifted(&v, by)
            .arch_grads(train, &objective)
            .expect("side")
            .1
    };
    let (plus, minus) = (side(epsilon), side(-epsilon));
    reference.check_arch(golden, &plus, |t| format!("{case}/plus_{t}"), true);
    reference.check_arch(golden, &minus, |t| format!("{case}/minus_{t}"), true);
    let product = (plus - minus) * (0.5 / epsilon);
    reference.check_arch(golden, &product, |t| format!("{case}/hvp_{t}"), true);
    // The exact product of second derivatives, which a small difference in 64 bits approaches.
    if reference.precision == Precision::F64 {
        let epsilon = 1e-6 / v.norm();
        let exact = (side(epsilon) - side(-epsilon)) * (0.5 / epsilon);
        reference.check_arch(golden, &exact, |t| format!("{case}/exact_hvp_{t}"), true);
    }
}

#[test]
fn golden_architect_f64() {
    architect(Precision::F64);
}

#[test]
fn golden_architect_f32() {
    architect(Precision::F32);
}

fn trajectory(precision: Precision) {
    let reference = Reference::new(precision);
    let golden = Golden::read("trajectory");
    let json = &golden.json;
    let number = |v: &serde_json::Value| v.as_f64().expect("a number");
    let steps = json["steps"].as_u64().unwrap() as usize;
    let order: Vec<&str> = json["parameter_order"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_str().unwrap())
        .collect();
    let batches = reference.supernet.shape("x_train")[0];
    let schedule = archai_engine::schedule::Schedule::new(
        &settings::LrSchedule {
            kind: settings::ScheduleKind::Cosine,
            min_lr: Some(number(&json["lr_min"])),
            milestones: None,
            decay_period: None,
            gamma: None,
            warmup: None,
        },
        number(&json["lr_max"]),
        steps,
    )
    .expect("schedule");
    let (objective, draw) = (Objective::default(), Key::new(0));
    let alpha = &json["alpha"];

    for (mode, how) in json["modes"].as_object().expect("modes") {
        let unrolled = how["unrolled"].as_bool().unwrap();
        let clip = number(&how["clip"]);
        let mut model = reference.model.clone();
        let mut weights_sgd = sgd(number(&json["momentum"]), number(&json["weight_decay"]));
        let betas = [number(&alpha["betas"][0]), number(&alpha["betas"][1])];
        let mut alpha_adam = adam(betas, number(&alpha["eps"]), number(&alpha["weight_decay"]));
        let mut seen: [Vec<f64>; 6] = Default::default();
        for t in 0..steps {
            let lr = schedule.lr(t);
            assert!((lr - number(&json["lr"][t])).abs() < 1e-15);
            let (train, valid) = (
                reference.batch("train", t % batches),
                reference.batch("valid", t % batches),
            );
            let (valid_loss, grads) = if unrolled {
                let (_, g) = model
                    .weight_grads_sampled(&train, &objective, &draw)
                    .expect("training gradient");
                let update = weights_sgd.direction(model.weights(), &g);
                let ahead = LookAhead {
                    update: &update,
                    xi: lr,
                    epsilon: 0.01,
                };
                ahead
                    .arch_grads(&model, &train, &valid, &objective, &draw)
                    .expect("second order")
            } else {
                model
                    .arch_grads_sampled(&valid, &objective, &draw)
                    .expect("first order")
            };
            let arch = alpha_adam.step(model.arch(), &grads, number(&alpha["lr"]));
            model.set_arch(arch);

            let regular = Regular {
                drop_path_prob: 0.0,
                draw,
            };
            let want = Want {
                weights: true,
                arch: false,
            };
            let grads = model
                .train_pass(&train, &objective, &regular, want)
                .expect("weight step");
            let norm = grads.weights.norm();
            let clipped = grads.weights.scale(clip_factor(norm, clip));
            let weights = weights_sgd.step(model.weights(), &clipped, lr);
            model.set_weights(weights);

            let named = model.weights().named();
            let norms = order.iter().map(|name| {
                let tensor = named
                    .iter()
                    .find(|t| t.name == *name)
                    .expect("a parameter of the reference");
                tensor.values.iter().map(|v| v * v).sum::<f64>().sqrt()
            });
            for (list, new) in seen.iter_mut().zip([
                vec![grads.loss],
                vec![valid_loss],
                vec![norm],
                reference.table(model.arch(), "normal"),
                reference.table(model.arch(), "reduce"),
                norms.collect(),
            ]) {
                list.extend(new);
            }
        }
        // In 32 bits the second-order trajectory crosses kinks (see above), after which two correct programs drift apart.
        let slack = if unrolled && precision == Precision::F32 {
            20.0
        } else {
            1.0
        };
        let follows = |name: &str, values: &[f64]| {
            let off = reference.distance(&golden, values, name, unrolled);
            assert!(
                off <= slack,
                "{name} in {precision:?}: {off} times the tolerance"
            );
        };
        let names = [
            "train_loss",
            "valid_loss",
            "grad_norm",
            "alpha_normal",
            "alpha_reduce",
            "param_norms",
        ];
        for (name, values) in names.iter().zip(&seen) {
            follows(&format!("{mode}/{name}"), values);
        }
        let named = model.weights().named();
        for (tensor, name) in [
            ("stem.conv1.weight", "final_stem_conv"),
            ("classifier.linear1.weight", "final_classifier"),
        ] {
            let found = named.iter().find(|t| t.name == tensor).expect(tensor);
            follows(&format!("{mode}/{name}"), &found.values);
        }
    }
}

#[test]
fn golden_trajectory_f64() {
    trajectory(Precision::F64);
}

#[test]
fn golden_trajectory_f32() {
    trajectory(Precision::F32);
}
