//! Schedules, optimisers, clipping, drop-path and finalizers against reference numbers.

use archai_data::{Batch, Mixed};
use archai_engine::{
    Compute, Model, OpRegistry, Precision,
    finalize::{DefaultFinalizers, Finalizers},
    model::{ModelOptions, Targets, cross_entropy},
    optim::{Optimizer, clip_factor},
    schedule::{Schedule, drop_path_prob},
};
use archai_spec::desc::{CellType, DartsModelDescBuilder, ModelDesc, build};
use archai_spec::settings::{self, LrSchedule, OptimizerKind, ScheduleKind, Warmup};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use crate::golden::{directory, json};
use crate::train_support::{flat_params, model_settings, values_of};

fn golden(name: &str) -> (Vec<u8>, Value) {
    let path = directory().join(format!("{name}.safetensors"));
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    (bytes, json(&format!("{name}.json")))
}

fn tensor(bytes: &[u8], name: &str) -> (Vec<usize>, Vec<f64>) {
    let file = SafeTensors::deserialize(bytes).expect("safetensors");
    let tensor = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
    let data = tensor.data();
    let values = match tensor.dtype() {
        Dtype::F64 => data
            .chunks_exact(8)
            .map(|b| f64::from_le_bytes(b.try_into().unwrap()))
            .collect(),
        Dtype::F32 => data
            .chunks_exact(4)
            .map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())))
            .collect(),
        other => panic!("{name}: {other:?} is not read here"),
    };
    (tensor.shape().to_vec(), values)
}

fn close(a: &[f64], b: &[f64], tolerance: f64, what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert!(
            (a - b).abs() <= tolerance,
            "{what}[{i}]: {a} instead of {b}"
        );
    }
}

#[test]
fn golden_learning_rates() {
    let (bytes, json) = golden("rules");
    for (name, case) in json["lr"].as_object().expect("cases") {
        let number = |key: &str| case[key].as_f64().expect(key);
        let (epochs, warmup) = (number("epochs") as usize, number("warmup") as usize);
        let settings = LrSchedule {
            kind: ScheduleKind::Cosine,
            min_lr: Some(number("min")),
            milestones: None,
            decay_period: None,
            gamma: None,
            warmup: (warmup > 0).then_some(Warmup {
                epochs: warmup,
                multiplier: 1.0,
            }),
        };
        let schedule = Schedule::new(&settings, number("base"), epochs).expect("schedule");
        let ours: Vec<f64> = (0..epochs).map(|e| schedule.lr(e)).collect();
        close(
            &ours,
            &tensor(&bytes, &format!("lr/{name}.recommended")).1,
            1e-14,
            name,
        );
    }
}

#[test]
fn golden_drop_path_probabilities() {
    let (bytes, json) = golden("rules");
    for (name, case) in json["drop_path"].as_object().expect("cases") {
        let epochs = case["epochs"].as_u64().expect("epochs") as usize;
        let last = case["final"].as_f64().expect("final");
        let ours: Vec<f64> = (0..epochs)
            .map(|e| drop_path_prob(last, e, epochs))
            .collect();
        close(
            &ours,
            &tensor(&bytes, &format!("drop_path/{name}.prob")).1,
            1e-15,
            name,
        );
    }
}

#[test]
fn golden_optimizers() {
    let (bytes, json) = golden("rules");
    let compute = Compute::cpu().with_precision(Precision::F64);
    let (shape, grads) = tensor(&bytes, "optim/grads");
    let [steps, n] = shape[..] else {
        panic!("{shape:?}")
    };
    let (sgd, adam) = (&json["optim"]["sgd"], &json["optim"]["adam"]);
    let number = |v: &Value| v.as_f64().expect("a number");
    let cases = [
        (
            "optim/sgd_momentum.w",
            settings::Optimizer {
                kind: OptimizerKind::Sgd,
                lr: number(&sgd["lr"]),
                decay: number(&sgd["weight_decay"]),
                decay_bn: None,
                momentum: Some(number(&sgd["momentum"])),
                nesterov: sgd["nesterov"].as_bool(),
                betas: None,
                eps: None,
                alpha: None,
                centered: None,
            },
        ),
        (
            "optim/adam_l2.w",
            settings::Optimizer {
                kind: OptimizerKind::Adam,
                lr: number(&adam["lr"]),
                decay: number(&adam["weight_decay_added_to_gradient"]),
                decay_bn: None,
                momentum: None,
                nesterov: None,
                betas: Some([number(&adam["betas"][0]), number(&adam["betas"][1])]),
                eps: Some(number(&adam["eps"])),
                alpha: None,
                centered: None,
            },
        ),
    ];
    for (name, settings) in cases {
        let mut optimizer = Optimizer::new(&settings).expect(name);
        let mut w = flat_params(tensor(&bytes, "optim/w0").1, &compute);
        let truth = tensor(&bytes, name).1;
        for step in 0..steps {
            let g = flat_params(grads[step * n..(step + 1) * n].to_vec(), &compute);
            // The direction tells beforehand what the step does.
            let ahead = w.add_scaled(&optimizer.direction(&w, &g), -settings.lr);
            w = optimizer.step(&w, &g, settings.lr);
            assert_eq!(values_of(&ahead), values_of(&w));
            close(
                &values_of(&w),
                &truth[step * n..(step + 1) * n],
                1e-12,
                name,
            );
            // What it remembers survives a round trip by name.
            let mut copy = Optimizer::new(&settings).expect(name);
            copy.set_state(&optimizer.state(), &w, &compute)
                .expect("state");
            optimizer = copy;
        }
    }
}

#[test]
fn golden_clipping() {
    let (bytes, _) = golden("rules");
    let compute = Compute::cpu().with_precision(Precision::F64);
    let g = flat_params(tensor(&bytes, "optim/clip.grad").1, &compute);
    close(
        &[g.norm()],
        &tensor(&bytes, "optim/clip.norm").1,
        1e-9,
        "norm",
    );
    for limit in [1.0, 5.0, 100.0] {
        let clipped = g.scale(clip_factor(g.norm(), limit));
        let name = format!("optim/clip.max{limit}");
        close(&values_of(&clipped), &tensor(&bytes, &name).1, 1e-9, &name);
    }
    assert_eq!(clip_factor(1e9, 0.0), 1.0);
}

/// The supernet of a golden finalize case: only its alphas matter.
fn supernet(n_nodes: usize) -> (ModelDesc, Model) {
    let registry = OpRegistry::builtin();
    let desc = build(
        &DartsModelDescBuilder,
        &model_settings(n_nodes, 2),
        None,
        false,
        registry.catalog(),
    )
    .expect("description")
    .desc;
    let options = ModelOptions {
        compute: Compute::cpu().with_precision(Precision::F64),
        ..Default::default()
    };
    let model = Model::compile(&desc, &registry, &options).expect("model");
    (desc, model)
}

#[test]
fn golden_finalize() {
    let (bytes, json) = golden("finalize");
    let texts = |v: &Value| -> Vec<String> {
        v.as_array()
            .expect("a list")
            .iter()
            .map(|v| v.as_str().expect("a text").to_string())
            .collect()
    };
    let columns = texts(&json["primitive_order_of_columns"]);
    let mut supernets = std::collections::BTreeMap::new();
    let cases = json["cases"].as_array().expect("cases");
    assert!(!cases.is_empty());
    for case in cases {
        let (name, n_nodes) = (
            case["name"].as_str().unwrap(),
            case["n_nodes"].as_u64().unwrap() as usize,
        );
        let (desc, model) = supernets
            .entry(n_nodes)
            .or_insert_with(|| supernet(n_nodes));
        let values = model
            .arch()
            .keys()
            .iter()
            .map(|key| {
                let cell = &desc.cells[key.cell];
                let table = if cell.cell_type == CellType::Regular {
                    "alpha_normal"
                } else {
                    "alpha_reduce"
                };
                let table = tensor(&bytes, &format!("{name}/{table}")).1;
                let row: usize = (0..key.node).map(|n| n + 2).sum::<usize>() + key.edge;
                let ops = &cell.nodes[key.node].edges[key.edge].op.children;
                let column = |op: &str| columns.iter().position(|c| c == op).expect(op);
                ops.iter()
                    .map(|c| table[row * columns.len() + column(&c.op.name)])
                    .collect()
            })
            .collect();
        model.set_arch(model.arch().with_values(values, model.compute()));
        let found = DefaultFinalizers.finalize_model(model).expect(name);
        for (kind, which) in [
            (CellType::Regular, "normal"),
            (CellType::Reduction, "reduce"),
        ] {
            let expected: Vec<(String, usize)> = case["original_softmax_rule"][which]
                .as_array()
                .unwrap()
                .iter()
                .map(|e| {
                    (
                        e[0].as_str().unwrap().to_string(),
                        e[1].as_u64().unwrap() as usize,
                    )
                })
                .collect();
            for cell in found.cells.iter().filter(|c| c.cell_type == kind) {
                let ours: Vec<(String, usize)> = cell
                    .nodes
                    .iter()
                    .flat_map(|n| n.edges.iter().map(|e| (e.op.name.clone(), e.inputs[0])))
                    .collect();
                assert_eq!(ours, expected, "{name}, {which}");
            }
        }
    }
}

#[test]
fn golden_label_smoothing() {
    let (bytes, _) = golden("rules");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    let compute = Compute::cpu().with_precision(Precision::F64);
    let (shape, logits) = tensor(&bytes, "label_smooth/logits");
    let labels: Vec<i64> = file
        .tensor("label_smooth/target")
        .expect("targets")
        .data()
        .chunks_exact(8)
        .map(|b| i64::from_le_bytes(b.try_into().unwrap()))
        .collect();
    let prefix = "label_smooth/uniform_over_all.eps";
    let names = file.names();
    let cases: Vec<&str> = names
        .iter()
        .filter_map(|n| n.strip_prefix(prefix)?.strip_suffix(".loss"))
        .collect();
    assert!(!cases.is_empty());
    for smoothing in cases {
        let loss = settings::Loss {
            kind: settings::LossKind::CrossEntropyLoss,
            smoothing: smoothing.parse().expect("a number"),
        };
        let x = compute
            .tensor::<2>(logits.clone(), [shape[0], shape[1]])
            .autodiff()
            .require_grad();
        let n = labels.len();
        let batch = Batch::new(Vec::new(), labels.clone(), [n, 0, 0, 0]);
        let targets = Targets::new(&batch, 0..n, shape[1], &loss);
        let value = cross_entropy(x.clone(), &targets, &compute);
        let number: Vec<f64> = value.clone().inner().to_data().iter::<f64>().collect();
        close(
            &number,
            &tensor(&bytes, &format!("{prefix}{smoothing}.loss")).1,
            1e-12,
            smoothing,
        );
        let mut grads = value.backward();
        let grad = x.grad_remove(&mut grads).expect("a gradient");
        let grad: Vec<f64> = grad.to_data().iter::<f64>().collect();
        close(
            &grad,
            &tensor(&bytes, &format!("{prefix}{smoothing}.dlogits")).1,
            1e-12,
            smoothing,
        );
    }
}

/// Figures of PyTorch 1.13 in f64: `F.cross_entropy` with `weight`, and of a mixture 0.7 : 0.3 of two targets.
#[test]
fn weighted_classes_and_mixtures_as_in_pytorch() {
    let compute = Compute::cpu().with_precision(Precision::F64);
    let logits = vec![
        0.5, -1.0, 2.0, 1.5, 0.25, -0.75, 0.0, 3.0, 1.0, -2.0, 0.5, 0.125,
    ];
    let loss_of = |batch: &Batch, smoothing| {
        let loss = settings::Loss {
            kind: settings::LossKind::CrossEntropyLoss,
            smoothing,
        };
        let targets = Targets::new(batch, 0..4, 3, &loss);
        let value = cross_entropy(
            compute.tensor::<2>(logits.clone(), [4, 3]),
            &targets,
            &compute,
        );
        value.to_data().iter::<f64>().next().expect("a number")
    };
    let close = |found: f64, expected: f64| {
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    };
    let plain = Batch::new(Vec::new(), vec![2, 0, 1, 1], [4, 0, 0, 0]);
    let weighted = Batch {
        class_weights: Some(vec![2.0, 0.5, 1.25].into()),
        ..plain.clone()
    };
    close(loss_of(&weighted, 0.0), 0.3136989020385445);
    close(loss_of(&weighted, 0.1), 0.4927443812695985);
    let mixed = Batch {
        mixed: Some(Mixed {
            others: vec![1, 1, 0, 2],
            shares: vec![0.7; 4],
        }),
        ..plain
    };
    close(loss_of(&mixed, 0.1), 0.975093140196722);
}
