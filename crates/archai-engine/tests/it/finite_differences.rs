//! Gradients of every registered op against central differences in 64 bits.

use archai_data::rng::Key;
use archai_engine::compute::to_host;
use archai_engine::ops::SingleOp;
use archai_engine::tensor::Tensor;
use archai_engine::{Compute, Mode, OpRegistry, Precision};
use archai_spec::desc::{Arity, ChildDesc, OpDesc, PRIMITIVES, ParamValue, Shape};
use archai_spec::ops::MIXED_OP;

/// Descriptions to try of an op on `n_inputs` maps of 4 channels, and the size of the maps: whatever the catalogue allows
/// of a few.
fn variants(registry: &OpRegistry, name: &str, n_inputs: usize) -> (Vec<OpDesc>, usize) {
    let catalog = registry.catalog();
    let info = catalog.get(name).unwrap();
    // The window of one pool is larger than most maps.
    for size in [6, 7] {
        let map = Shape::new(4, size, size);
        let joined = if info.joins_channels() { n_inputs } else { 1 };
        let c_in = joined * info.in_features(map);
        let plain = |c_out| OpDesc::new(name, c_in, c_out);
        let mut all = match name {
            MIXED_OP => [1, 2].map(|s| OpDesc::mixed(&PRIMITIVES, 4, s)).to_vec(),
            _ if info.has_children() => {
                let child = |input, name| ChildDesc {
                    input,
                    op: OpDesc::new(name, 4, 4),
                };
                vec![OpDesc {
                    children: vec![child(1, "sep_conv_3x3"), child(0, "dil_conv_3x3")],
                    ..plain(6)
                }]
            }
            _ => vec![
                plain(4),
                plain(6),
                plain(4).with_stride(2),
                plain(6).with_stride(2),
                plain(4).with_param("norm", ParamValue::Bool(true)),
                plain(6).with_param("bias", ParamValue::Bool(true)),
                plain(4).with_param("act", ParamValue::Text("hswish".into())),
                plain(4).with_param("act", ParamValue::Text("gelu".into())),
                plain(6).with_param("act", ParamValue::Text("silu".into())),
                plain(6).with_param("dropout", ParamValue::Float(0.3)),
                plain(4).with_param("gate", ParamValue::Text("sigmoid".into())),
                plain(7).with_param("offset", ParamValue::Int(2)),
                plain(2),
                plain(8),
            ],
        };
        let inputs = vec![map; n_inputs];
        all.retain(|d| catalog.check(d).is_ok() && catalog.out_shape(d, &inputs).is_ok());
        if !all.is_empty() {
            return (all, size);
        }
    }
    panic!("no variant of {name}")
}

fn random(key: &Key, n: usize) -> Vec<f64> {
    let mut rng = key.rng();
    (0..n).map(|_| rng.normal()).collect()
}

/// The three entries of a vector to vary.
fn places(key: &Key, n: usize) -> Vec<usize> {
    let mut rng = key.rng();
    (0..3)
        .map(|_| rng.uniform_u32_below(n as u32) as usize)
        .collect()
}

struct Case<'a> {
    op: SingleOp,
    inputs: Vec<Tensor<4>>,
    arch: Option<Tensor<1>>,
    cotangent: Tensor<4>,
    compute: &'a Compute,
}

impl Case<'_> {
    /// Σ output·cotangent.
    fn value(&self, op: &SingleOp, inputs: &[Tensor<4>], arch: Option<&Tensor<1>>) -> f64 {
        let y = op.clone().forward(inputs, arch, Mode::Training);
        to_host(&(y * self.cotangent.clone())).iter().sum()
    }

    /// Compares a gradient with central differences; `at` is the value with one entry moved.
    fn check(&self, what: &str, key: &Key, gradient: &[f64], at: impl Fn(usize, f64) -> f64) {
        const STEP: f64 = 1e-6;
        for i in places(key, gradient.len()) {
            let difference = (at(i, STEP) - at(i, -STEP)) / (2.0 * STEP);
            let scale = gradient.iter().fold(1e-2, |m: f64, g| m.max(g.abs()));
            assert!(
                (difference - gradient[i]).abs() <= 1e-5 * scale,
                "{:?}: {what}[{i}]: gradient {}, difference {difference}",
                self.op.op().desc(),
                gradient[i]
            );
        }
    }
}

fn moved<const D: usize>(t: &Tensor<D>, i: usize, by: f64, compute: &Compute) -> Tensor<D> {
    let mut values = to_host(t);
    values[i] += by;
    compute.tensor(values, t.dims())
}

#[test]
fn gradients_of_every_op() {
    let registry = OpRegistry::builtin();
    let compute = Compute::cpu().with_precision(Precision::F64);
    for name in registry.names() {
        let n_inputs = match registry.catalog().get(name).unwrap().arity() {
            Arity::Fixed(n) => n,
            Arity::Any => 2,
        };
        let (descs, size) = variants(&registry, name, n_inputs);
        for desc in descs {
            let key = Key::new(5).with(name).with(desc.stride);
            let shape = [2, 4, size, size];
            let n: usize = shape.iter().product();
            let input = |i: usize| compute.tensor(random(&key.with("x").with(i), n), shape);
            let mut op = SingleOp::new(&desc, n_inputs, true, &registry, &compute, 1).unwrap();
            let inputs: Vec<_> = (0..n_inputs).map(input).collect();
            let k = op.op().n_alphas();
            let arch = (k > 0).then(|| compute.tensor(random(&key.with("arch"), k), [k]));
            let out = op
                .clone()
                .forward(&inputs, arch.as_ref(), Mode::Training)
                .dims();
            let cotangent = compute.tensor(random(&key.with("g"), out.iter().product()), out);
            // Move scales and shifts off their neutral start.
            let mut weights = op.weights().named();
            for w in weights.iter_mut().filter(|w| w.name.contains("bn")) {
                let noise = random(&key.with(&w.name), w.values.len());
                w.values
                    .iter_mut()
                    .zip(noise)
                    .for_each(|(w, n)| *w += 0.3 * n);
            }
            op.set_weights(&weights).unwrap();
            let case = Case {
                op,
                inputs,
                arch,
                cotangent,
                compute: &compute,
            };
            let grads = case
                .op
                .clone()
                .grads(&case.inputs, case.arch.as_ref(), &case.cotangent);
            case.check_all(&key, &grads);
        }
    }
}

impl Case<'_> {
    fn check_all(&self, key: &Key, grads: &archai_engine::ops::OpGrads) {
        let arch = self.arch.as_ref();
        for (i, dx) in grads.inputs.iter().enumerate() {
            self.check(
                &format!("x{i}"),
                &key.with("dx").with(i),
                &to_host(dx),
                |at, by| {
                    let mut inputs = self.inputs.clone();
                    inputs[i] = moved(&inputs[i], at, by, self.compute);
                    self.value(&self.op, &inputs, arch)
                },
            );
        }
        let named = self.op.weights().named();
        for (p, dw) in grads.weights.named().iter().enumerate() {
            self.check(
                &dw.name,
                &key.with("dw").with(&dw.name),
                &dw.values,
                |at, by| {
                    let mut weights = named.clone();
                    weights[p].values[at] += by;
                    let mut op = self.op.clone();
                    op.set_weights(&weights).unwrap();
                    self.value(&op, &self.inputs, arch)
                },
            );
        }
        if let (Some(arch), Some(da)) = (arch, &grads.arch) {
            self.check("arch", &key.with("da"), &to_host(da), |at, by| {
                self.value(
                    &self.op,
                    &self.inputs,
                    Some(&moved(arch, at, by, self.compute)),
                )
            });
        }
    }
}
