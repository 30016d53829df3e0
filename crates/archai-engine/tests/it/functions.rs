//! Activations, squeeze-and-excite and dropout on every engine: values and gradients against closed forms in 64 bits, and which
//! numbers a dropout sets to zero.

use std::f64::consts::{PI, SQRT_2};

use archai_data::rng::Key;
use archai_engine::compute::to_host;
use archai_engine::ops::SingleOp;
use archai_engine::parts::Parts;
use archai_engine::{
    Compute, Engine, Grads, Mode, Model, NamedTensor, Objective, OpRegistry, Precision, Regular,
    Want,
};
use archai_search::space::{SearchSpace, Space};
use archai_spec::desc::{DescError, ModelDesc, OpDesc, OpInfo, ParamValue};
use archai_spec::ops::{Activation, LayerBuilder, Value};
use archai_spec::settings::Settings;

use crate::support::{batch, compile};

/// The engines, and how exact each is.
fn computes() -> [(Compute, f64); 3] {
    [
        (Compute::cpu(), 2e-6),
        (Compute::cpu().with_engine(Engine::Plain), 2e-6),
        (Compute::cpu().with_precision(Precision::F64), 1e-12),
    ]
}

/// A function as an op of a user's.
struct OfFunction(Activation);

impl OpInfo for OfFunction {
    fn name(&self) -> &str {
        self.0.name()
    }
    fn summary(&self) -> &str {
        "a function of each number"
    }
    fn lower(
        &self,
        _: &OpDesc,
        inputs: &[Value],
        b: &mut LayerBuilder<'_>,
    ) -> Result<Value, DescError> {
        Ok(b.activation(inputs[0], self.0))
    }
}

/// The distribution function of the normal distribution, by Simpson's rule from 0 on.
fn normal(x: f64) -> f64 {
    let density = |t: f64| (-0.5 * t * t).exp() / (2.0 * PI).sqrt();
    let (n, step) = (2000, x / 2000.0);
    let weight = |i: i32| match i {
        0 => 1.0,
        i if i == n => 1.0,
        i => f64::from(2 + 2 * (i % 2)),
    };
    let sum: f64 = (0..=n)
        .map(|i| weight(i) * density(f64::from(i) * step))
        .sum();
    0.5 + sum * step / 3.0
}

/// Value and derivative at x.
fn closed_form(function: Activation, x: f64) -> (f64, f64) {
    let inside = x.abs() < 3.0;
    let s = 1.0 / (1.0 + (-x).exp());
    match function {
        Activation::HardSwish if inside => (x * (x + 3.0) / 6.0, x / 3.0 + 0.5),
        Activation::HardSwish if x > 0.0 => (x, 1.0),
        Activation::HardSwish => (0.0, 0.0),
        Activation::HardSigmoid if inside => ((x + 3.0) / 6.0, 1.0 / 6.0),
        Activation::HardSigmoid => (if x > 0.0 { 1.0 } else { 0.0 }, 0.0),
        Activation::Sigmoid => (s, s * (1.0 - s)),
        Activation::Gelu => {
            let density = (-0.5 * x * x).exp() / (PI.sqrt() * SQRT_2);
            (x * normal(x), normal(x) + x * density)
        }
        Activation::Silu => (x * s, s * (1.0 + x * (1.0 - s))),
    }
}

fn close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        let size = b.abs().max(1.0);
        assert!((a - b).abs() <= tolerance * size, "{what}[{i}]: {a} {b}");
    }
}

#[test]
fn functions_and_their_gradients_are_the_closed_forms() {
    let mut registry = OpRegistry::builtin();
    for function in Activation::ALL {
        registry.register_layers(OfFunction(function)).unwrap();
    }
    // From −7.9 to 7.9, none of them where a derivative jumps.
    let x: Vec<f64> = (0..80).map(|i| f64::from(i) * 0.2 - 7.9).collect();
    let cotangent: Vec<f64> = (0..80).map(|i| f64::from(i % 7) - 3.0).collect();
    let shape = [2, 5, 2, 4];
    for (compute, tolerance) in computes() {
        for function in Activation::ALL {
            let what = format!("{function:?} {compute:?}");
            let op = OpDesc::new(function.name(), 5, 5);
            let mut op = SingleOp::new(&op, 1, true, &registry, &compute, 0).unwrap();
            let input = compute.tensor(x.clone(), shape);
            let grads = op.grads(&[input], None, &compute.tensor(cotangent.clone(), shape));
            let (values, slopes): (Vec<f64>, Vec<f64>) =
                x.iter().map(|&x| closed_form(function, x)).unzip();
            let slopes: Vec<f64> = slopes.iter().zip(&cotangent).map(|(s, c)| s * c).collect();
            close(&what, &to_host(&grads.output), &values, tolerance);
            close(
                &format!("{what}, gradient"),
                &to_host(&grads.inputs[0]),
                &slopes,
                tolerance,
            );
        }
    }
}

/// A squeeze-and-excite of 6 channels and its gradient with respect to its input, by loops.
fn excited(
    x: &[f64],
    weights: &[NamedTensor],
    g: &[f64],
    gate: Activation,
) -> (Vec<f64>, Vec<f64>) {
    let (channels, inner, pixels) = (6, 2, x.len() / 6);
    let of = |name: &str| &weights.iter().find(|t| t.name == name).unwrap().values;
    let (w1, b1, w2, b2) = (
        of("conv1.weight"),
        of("conv1.bias"),
        of("conv2.weight"),
        of("conv2.bias"),
    );
    let mean = |v: &[f64], c: usize| v[c * pixels..][..pixels].iter().sum::<f64>() / pixels as f64;
    let means: Vec<f64> = (0..channels).map(|c| mean(x, c)).collect();
    let linear = |w: &[f64], b: &[f64], v: &[f64], i: usize| {
        let row = &w[i * v.len()..][..v.len()];
        b[i] + row.iter().zip(v).map(|(w, v)| w * v).sum::<f64>()
    };
    let hidden: Vec<f64> = (0..inner).map(|i| linear(w1, b1, &means, i)).collect();
    let active: Vec<f64> = hidden.iter().map(|h| h.max(0.0)).collect();
    let factors: Vec<(f64, f64)> = (0..channels)
        .map(|c| closed_form(gate, linear(w2, b2, &active, c)))
        .collect();
    let y: Vec<f64> = (0..x.len()).map(|i| x[i] * factors[i / pixels].0).collect();
    // Back: through the product, the gate and the two layers to the means.
    let to_numbers: Vec<f64> = (0..channels)
        .map(|c| {
            let products = (c * pixels..(c + 1) * pixels).map(|i| g[i] * x[i]);
            products.sum::<f64>() * factors[c].1
        })
        .collect();
    let to_hidden: Vec<f64> = (0..inner)
        .map(|i| match hidden[i] > 0.0 {
            true => (0..channels)
                .map(|c| to_numbers[c] * w2[c * inner + i])
                .sum(),
            false => 0.0,
        })
        .collect();
    let to_means: Vec<f64> = (0..channels)
        .map(|c| {
            (0..inner)
                .map(|i| to_hidden[i] * w1[i * channels + c])
                .sum()
        })
        .collect();
    let dx = (0..x.len()).map(|i| {
        let c = i / pixels;
        g[i] * factors[c].0 + to_means[c] / pixels as f64
    });
    (y, dx.collect())
}

#[test]
fn a_squeeze_and_excite_and_its_gradient_are_those_of_plain_loops() {
    let registry = OpRegistry::builtin();
    let numbers = |name: &str, n: usize| -> Vec<f64> {
        let mut rng = Key::new(4).with(name).rng();
        (0..n).map(|_| f64::from(rng.normal() as f32)).collect()
    };
    let (n, shape) = (3, [3, 6, 3, 5]);
    let each = 6 * 15;
    let (x, g) = (numbers("x", n * each), numbers("g", n * each));
    for (compute, tolerance) in computes() {
        for gate in [Activation::HardSigmoid, Activation::Sigmoid] {
            let desc = OpDesc::new("squeeze_excite", 6, 6)
                .with_param("ratio", ParamValue::Int(3))
                .with_param("gate", ParamValue::Text(gate.name().into()));
            let mut op = SingleOp::new(&desc, 1, true, &registry, &compute, 1).unwrap();
            let mut weights = op.weights().named();
            for t in &mut weights {
                t.values = numbers(&t.name, t.values.len());
            }
            op.set_weights(&weights).unwrap();
            let input = compute.tensor(x.clone(), shape);
            let grads = op.grads(&[input], None, &compute.tensor(g.clone(), shape));
            let images = x.chunks(each).zip(g.chunks(each));
            let expected = images.map(|(x, g)| excited(x, &weights, g, gate));
            let (y, dx): (Vec<Vec<f64>>, Vec<Vec<f64>>) = expected.unzip();
            let what = format!("{gate:?} {compute:?}");
            close(&what, &to_host(&grads.output), &y.concat(), 4.0 * tolerance);
            let what = format!("{what}, gradient");
            close(
                &what,
                &to_host(&grads.inputs[0]),
                &dx.concat(),
                4.0 * tolerance,
            );
        }
    }
}

/// Two layers with dropout, and no norm that would see other samples.
fn with_dropout() -> ModelDesc {
    let text = "space: dropped\nversion: 1\ninput: {features: 40}\nclasses: 5\nnetwork:\n  - dense: {out: 300, act: gelu, \
                dropout: 0.3}\n  - dense: {out: 200, act: silu, dropout: 0.5}\n  - linear: {out: $classes}\n";
    let space = Space::parse("dropped.yaml", text).unwrap();
    let only = space.sample(Key::new(0)).unwrap();
    space.describe(&only).unwrap()
}

#[test]
fn a_dropout_keeps_its_share_in_training_and_all_else_otherwise() {
    let registry = OpRegistry::builtin();
    let shape = [40, 100, 1, 1];
    for (compute, _) in computes() {
        let desc = OpDesc::new("dense", 100, 100).with_param("dropout", ParamValue::Float(0.25));
        let plain = OpDesc::new("dense", 100, 100);
        let make = |desc: &OpDesc| SingleOp::new(desc, 1, true, &registry, &compute, 1).unwrap();
        let (mut op, mut plain) = (make(&desc), make(&plain));
        let x = compute.tensor((0..4000).map(|i| f64::from(i % 17) - 8.2).collect(), shape);
        let expected = to_host(&plain.forward(std::slice::from_ref(&x), None, Mode::Evaluation));
        let evaluated = to_host(&op.forward(std::slice::from_ref(&x), None, Mode::Evaluation));
        assert_eq!(evaluated, expected);
        let trained = to_host(&op.forward(&[x], None, Mode::Training));
        let kept = trained.iter().filter(|v| **v != 0.0).count();
        // 3000 are expected, with a deviation of 27.
        assert!((2900..3100).contains(&kept), "{kept} of 4000");
        for (found, whole) in trained.iter().zip(&expected).filter(|(v, _)| **v != 0.0) {
            let scaled = whole / 0.75;
            assert!(
                (found - scaled).abs() <= 1e-6 * scaled.abs(),
                "{found} {scaled}"
            );
        }
    }
}

/// A training pass whose step draws from this key.
fn pass(model: &mut Model, draw: u64, chunks: usize, threads: usize) -> Grads {
    let all = batch(6, &with_dropout(), 1);
    let regular = Regular {
        drop_path_prob: 0.0,
        draw: Key::new(draw),
    };
    let objective = Objective {
        chunks,
        ..Objective::default()
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap();
    let grads = pool.install(|| model.train_pass(&all, &objective, &regular, Want::WEIGHTS));
    grads.unwrap()
}

#[test]
fn a_dropout_draws_by_the_steps_key_whatever_the_chunks_and_threads() {
    let desc = with_dropout();
    let all = batch(6, &desc, 1);
    for (compute, _) in computes() {
        let mut model = compile(&desc, &compute);
        let first = pass(&mut model, 1, 1, 1);
        for threads in [2, 3] {
            let again = pass(&mut model, 1, 1, threads);
            assert_eq!(again.logits.values, first.logits.values);
            assert!(
                again.weights.named() == first.weights.named(),
                "{threads} threads"
            );
        }
        let other = pass(&mut model, 2, 1, 1);
        assert_ne!(other.logits.values, first.logits.values);
        // A sample of a chunk draws what it draws in the whole batch.
        let doubles = |values: &[f32]| values.iter().map(|&v| v.into()).collect::<Vec<f64>>();
        for chunks in [2, 3, 6] {
            let parts = doubles(&pass(&mut model, 1, chunks, 1).logits.values);
            close("logits", &parts, &doubles(&first.logits.values), 1e-5);
        }
        // Passes without a key see the same zeros: the two sides of a finite difference are of one function.
        let keyless = || model.grads(&all, &Objective::default()).unwrap().loss;
        assert_eq!(keyless(), keyless());
    }
    // All engines drop the same numbers, so that they differ by rounding alone.
    let losses = computes().map(|(compute, _)| pass(&mut compile(&desc, &compute), 1, 1, 1).loss);
    close("losses", &losses[..2], &[losses[2]; 2], 1e-5);
}

#[test]
fn what_is_frozen_drops_nothing() {
    let mut eval = Settings::shipped("cifar10").unwrap().nas.eval;
    let mut model = compile(&with_dropout(), &Compute::cpu());
    let logits = |model: &mut Model, draw| pass(model, draw, 1, 1).logits.values;
    eval.freeze = vec!["stem".to_string()];
    model.freeze(&Parts::new(&eval).unwrap()).unwrap();
    assert_ne!(logits(&mut model, 1), logits(&mut model, 2));
    eval.freeze = vec!["stem".to_string(), "cell*".to_string()];
    model.freeze(&Parts::new(&eval).unwrap()).unwrap();
    assert_eq!(logits(&mut model, 1), logits(&mut model, 2));
}
