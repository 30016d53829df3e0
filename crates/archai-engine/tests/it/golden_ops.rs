//! Every op and the mixed op, by themselves.

use std::sync::Arc;

use archai_engine::compute::to_host;
use archai_engine::ops::{AuxTower, SingleOp};
use archai_engine::tensor::Tensor;
use archai_engine::{
    Compute, EngineError, Features, Mode, NamedTensor, Op, OpBuilder, OpRegistry, Pass, Relaxation,
    Softmax,
};
use archai_spec::desc::{
    AuxTowerDesc, ChildDesc, Cost, DescError, OpCatalog, OpDesc, OpInfo, ParamInfo, ParamType,
    ParamValue, Shape,
};

use crate::golden::{Comparison, Golden, double, shape, single, size, sizes, texts};

/// The auxiliary tower as an op, so that it can be tested like one.
#[derive(Debug)]
struct Tower {
    desc: OpDesc,
    tower: AuxTower,
}

impl Op for Tower {
    fn forward(&self, pass: &mut Pass<'_>, inputs: &[Features], _: Option<&Tensor<1>>) -> Features {
        let logits = self.tower.forward(pass, &inputs[0]);
        let [n, k] = logits.dims();
        Features::from_nchw(logits.reshape([n, k, 1, 1]))
    }
    fn desc(&self) -> &OpDesc {
        &self.desc
    }
}

struct TowerInfo;

impl OpInfo for TowerInfo {
    fn name(&self) -> &str {
        "aux_tower"
    }
    fn summary(&self) -> &str {
        "the auxiliary classifier"
    }
    fn params(&self) -> &[ParamInfo] {
        &[
            ParamInfo {
                name: "size",
                ty: ParamType::Ints,
                summary: "height and width",
            },
            ParamInfo {
                name: "second_norm",
                ty: ParamType::Bool,
                summary: "with its second norm",
            },
        ]
    }
    fn measure(
        &self,
        op: &OpDesc,
        _: &[Shape],
        _: bool,
        _: &OpCatalog,
    ) -> Result<(Shape, Cost), DescError> {
        Ok((Shape::new(op.ch_out, 1, 1), Cost::default()))
    }
}

fn make_tower(desc: &OpDesc, b: &mut OpBuilder<'_>) -> Result<Box<dyn Op>, EngineError> {
    let Some(ParamValue::Ints(size)) = desc.params.get("size") else {
        panic!("no size")
    };
    let tower = AuxTowerDesc {
        ch_in: desc.ch_in,
        n_classes: desc.ch_out,
        stride: desc.stride,
        window: 5,
        second_norm: desc.flag("second_norm"),
    };
    let input = Shape::new(desc.ch_in, size[0] as usize, size[1] as usize);
    Ok(Box::new(Tower {
        desc: desc.clone(),
        tower: AuxTower::new(&tower, input, b)?,
    }))
}

fn registry() -> OpRegistry {
    let mut registry = OpRegistry::builtin();
    registry.register(TowerInfo, Arc::new(make_tower)).unwrap();
    registry
}

/// What a case of `ops.json` is about: the op and which of the given states it reads.
fn describe(case: &serde_json::Value, weights: &[NamedTensor]) -> (OpDesc, Vec<usize>) {
    let name = case["name"].as_str().unwrap();
    let structure = case["structure"].as_str().unwrap();
    let inputs: Vec<Vec<usize>> = case["in_shapes"]
        .as_array()
        .unwrap()
        .iter()
        .map(sizes)
        .collect();
    let ch_in = inputs[0][1];
    let ch_out = sizes(&case["out_shape"])[1];
    let parts: Vec<&str> = name.split('.').collect();
    let stride = parts
        .iter()
        .find_map(|p| p.strip_prefix('s')?.parse().ok())
        .unwrap_or(1);
    let op = parts[0];
    let all: Vec<usize> = (0..inputs.len()).collect();
    let last = |n: usize| all[all.len() - n..].to_vec();
    let tower = |stride: usize, second_norm: bool| {
        let size = inputs[0][2..].iter().map(|&s| s as i64).collect();
        OpDesc::new("aux_tower", ch_in, ch_out)
            .with_stride(stride)
            .with_param("size", ParamValue::Ints(size))
            .with_param("second_norm", ParamValue::Bool(second_norm))
    };
    match op {
        "aux_tower" => (tower(stride, true), all),
        "aux_head_imagenet_original" => (tower(2, false), all),
        "concate_channels" => (OpDesc::new(op, ch_in, ch_out), last(ch_out / ch_in)),
        "proj_channels" => {
            let joined = weights
                .iter()
                .find(|w| w.name == "conv1.weight")
                .unwrap()
                .shape[1];
            (OpDesc::new(op, ch_in, ch_out), last(joined / ch_in))
        }
        "multi_op" => {
            let children = structure
                .split([':', ';'])
                .nth(1)
                .unwrap()
                .split(',')
                .map(|child| {
                    let (op, input) = child.trim().split_once(" on x").unwrap();
                    ChildDesc {
                        input: input.parse().unwrap(),
                        op: OpDesc::new(op, ch_in, ch_in),
                    }
                });
            (
                OpDesc {
                    children: children.collect(),
                    ..OpDesc::new(op, ch_in, ch_out)
                },
                all,
            )
        }
        "linear" => (
            OpDesc::new(op, inputs[0][1..].iter().product(), ch_out),
            all,
        ),
        _ => match op.strip_suffix("+bn") {
            Some(pool) => {
                let op = OpDesc::new(pool, ch_in, ch_out).with_stride(stride);
                (op.with_param("norm", ParamValue::Bool(true)), all)
            }
            None => (OpDesc::new(op, ch_in, ch_out).with_stride(stride), all),
        },
    }
}

/// A reference tensor as feature maps; missing axes have size 1.
fn maps(t: &NamedTensor, compute: &Compute) -> Tensor<4> {
    let mut shape = [1; 4];
    shape[..t.shape.len()].copy_from_slice(&t.shape);
    compute.tensor(t.values.clone(), shape)
}

fn check_ops(compute: &Compute, outliers: f64) {
    let golden = Golden::open("ops");
    let registry = registry();
    let mut compare = Comparison::new(&golden, compute);
    let cases = golden.json["cases"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let at = |what: &str| format!("{name}/{what}");
        let mut weights = golden.below(&at("w."));
        let (desc, reads) = describe(case, &weights);
        if desc.name == "aux_tower" {
            weights.push(NamedTensor {
                name: "conv2.weight".into(),
                ..golden.hashed("aux_conv2_weight")
            });
        }
        let affine = weights.iter().any(|w| w.name.starts_with("bn"));
        let mut op = SingleOp::new(&desc, reads.len(), affine, &registry, compute, 0).unwrap();
        op.set_weights(&weights)
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        op.set_buffers(&golden.below(&at("in.")))
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        let list = golden.find(&at("x")).is_none();
        let suffix = |i: usize| if list { i.to_string() } else { String::new() };
        let all: Vec<Tensor<4>> = (0..case["in_shapes"].as_array().unwrap().len())
            .map(|i| maps(golden.get(&at(&format!("x{}", suffix(i)))), compute))
            .collect();
        let inputs: Vec<Tensor<4>> = reads.iter().map(|&i| all[i].clone()).collect();
        let grads = op.grads(&inputs, None, &maps(golden.get(&at("g")), compute));
        compare.check(&at("y"), &to_host(&grads.output));
        for (i, x) in all.iter().enumerate() {
            let dx = match reads.iter().position(|&r| r == i) {
                Some(place) => to_host(&grads.inputs[place]),
                None => to_host(&x.zeros_like()),
            };
            compare.check_gradient(&at(&format!("dx{}", suffix(i))), &dx);
        }
        for dw in grads.weights.named() {
            check_weight(&mut compare, &golden, &at("dw."), &dw);
        }
        for buffer in op.buffers() {
            compare.check(&at(&format!("after.{}", buffer.name)), &buffer.values);
        }
        let y = op.forward(&inputs, None, Mode::Evaluation);
        if golden.find(&at("y_eval")).is_some() {
            compare.check(&at("y_eval"), &to_host(&y));
        }
    }
    compare.finish(2 * cases.len(), outliers);
}

/// Compares a gradient; a large one is given by some output channels and by the norms of all.
pub fn check_weight(compare: &mut Comparison<'_>, golden: &Golden, prefix: &str, dw: &NamedTensor) {
    let name = format!("{prefix}{}", dw.name);
    if golden.find(&name).is_some() {
        return compare.check_gradient(&name, &dw.values);
    }
    let per_out = dw.values.len() / dw.shape[0];
    let rows: Vec<&[f64]> = dw.values.chunks(per_out).collect();
    let some: Vec<f64> = rows
        .iter()
        .step_by(64)
        .flat_map(|r| r.iter().copied())
        .collect();
    compare.check_gradient(&format!("{name}.every64"), &some);
    let norms: Vec<f64> = rows
        .iter()
        .map(|r| r.iter().map(|v| v * v).sum::<f64>().sqrt())
        .collect();
    compare.check_gradient(&format!("{name}.norm_per_out"), &norms);
}

#[test]
fn golden_ops_f64() {
    check_ops(&double(), 0.0);
}

#[test]
fn golden_ops_f32() {
    for compute in single() {
        check_ops(&compute, 0.01);
    }
}

fn check_mixed(compute: &Compute, outliers: f64) {
    let golden = Golden::open("mixed_op");
    let mut compare = Comparison::new(&golden, compute);
    let cases = golden.json["cases"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let at = |what: &str| format!("{name}/{what}");
        let x = golden.get(&at("x"));
        let (stride, norm) = (
            size(&case["stride"]),
            case["pool_followed_by_batchnorm"] == true,
        );
        let mut desc = OpDesc::mixed(&texts(&case["primitive_order"]), x.shape[1], stride);
        for child in &mut desc.children {
            if !norm {
                child.op.params.clear();
            }
        }
        let mut op = SingleOp::new(&desc, 1, false, &OpRegistry::builtin(), compute, 0).unwrap();
        op.set_weights(&golden.below(&at("w."))).unwrap();
        let alpha = golden.get(&at("alpha"));
        let alpha = compute.tensor(alpha.values.clone(), shape::<1>(alpha));
        let w = Softmax.weights(&[], &[alpha], None).remove(0);
        let grads = op.grads(
            &[maps(x, compute)],
            Some(&w),
            &maps(golden.get(&at("g")), compute),
        );
        // Through the softmax: dα = w·(dw − Σ w·dw).
        let (w, dw) = (to_host(&w), to_host(&grads.arch.unwrap()));
        let mean: f64 = w.iter().zip(&dw).map(|(w, d)| w * d).sum();
        let dalpha: Vec<f64> = w.iter().zip(&dw).map(|(w, d)| w * (d - mean)).collect();
        compare.check(&at("y"), &to_host(&grads.output));
        compare.check_gradient(&at("dx"), &to_host(&grads.inputs[0]));
        compare.check_gradient(&at("dalpha"), &dalpha);
        for dw in grads.weights.named() {
            compare.check_gradient(&at(&format!("dw.{}", dw.name)), &dw.values);
        }
    }
    compare.finish(10 * cases.len(), outliers);
}

#[test]
fn golden_mixed_op_f64() {
    check_mixed(&double(), 0.0);
}

#[test]
fn golden_mixed_op_f32() {
    for compute in single() {
        check_mixed(&compute, 0.01);
    }
}
