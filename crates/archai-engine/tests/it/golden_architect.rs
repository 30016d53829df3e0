//! The bilevel step of DARTS as arithmetic on models: first order and second order, with and without momentum.

use archai_engine::{ArchGrads, ArchParams, Compute, Objective, ParamVec};
use serde_json::Value;

use crate::golden::{Comparison, Golden, double, single, size};
use crate::golden_networks::Original;

/// Adam with coupled decay, on host vectors.
#[derive(Default)]
struct Adam {
    moments: Vec<(Vec<f64>, Vec<f64>)>,
    steps: i32,
}

impl Adam {
    fn step(&mut self, h: &Value, alphas: &ArchParams, grads: &ArchGrads) -> Vec<Vec<f64>> {
        let number = |key: &str| h[key].as_f64().unwrap();
        let (lr, decay, eps) = (
            number("arch_learning_rate"),
            number("arch_weight_decay"),
            number("adam_eps"),
        );
        let [b1, b2] = [0, 1].map(|i| h["adam_betas"][i].as_f64().unwrap());
        self.steps += 1;
        let (c1, c2) = (1.0 - b1.powi(self.steps), 1.0 - b2.powi(self.steps));
        let (alphas, grads) = (alphas.to_host(), grads.to_host());
        self.moments.resize(alphas.len(), Default::default());
        let mut after = Vec::new();
        for (((_, a), (_, g)), (m, v)) in alphas.iter().zip(&grads).zip(&mut self.moments) {
            m.resize(a.len(), 0.0);
            v.resize(a.len(), 0.0);
            let step = |i: usize| {
                let g = g[i] + decay * a[i];
                m[i] = b1 * m[i] + (1.0 - b1) * g;
                v[i] = b2 * v[i] + (1.0 - b2) * g * g;
                a[i] - lr * (m[i] / c1) / ((v[i] / c2).sqrt() + eps)
            };
            after.push((0..a.len()).map(step).collect());
        }
        after
    }
}

fn check(compute: &Compute, outliers: f64) {
    let mut original = Original::open(compute);
    let golden = Golden::open("architect");
    let h = &golden.json["hyperparameters"];
    let number = |key: &str| h[key].as_f64().unwrap();
    let (eta, momentum, decay) = (number("eta"), number("momentum"), number("weight_decay"));
    let train = original.batch("train", size(&golden.json["train_batch"]));
    let valid = original.batch("valid", size(&golden.json["valid_batch"]));
    let objective = Objective::default();
    let start = original.model.clone();
    let buffers = start.buffers();
    let mut compare = Comparison::new(&golden, compute);
    for case in ["first", "unrolled_nomom", "unrolled_mom"] {
        let second_order = case != "first";
        compare.tolerance = if second_order { 1e-6 } else { 1e-9 };
        let mut model = start.clone();
        let mut adam = Adam::default();
        let layout = model.weights().layout();
        let buffer = match case {
            "unrolled_mom" => {
                ParamVec::from_named(layout, &golden.below("momentum."), model.compute()).unwrap()
            }
            _ => model.weights().zeros_like(),
        };
        for step in 1..=3 {
            // The difference quotient divides by 2ε what one crossed kink changes: in 32 bits its direction may be lost.
            compare.kink = if second_order { 1.0 } else { 0.05 };
            let grads = if case == "first" {
                model.arch_grads(&valid, &objective).unwrap().1
            } else {
                let g = model.weight_grads(&train, &objective).unwrap().1;
                let direction = g
                    .add_scaled(&buffer, momentum)
                    .add_scaled(model.weights(), decay);
                let ahead = model.shifted(&direction, -eta);
                let g = ahead.grads(&valid, &objective).unwrap();
                let epsilon = number("fd_numerator") / g.weights.norm();
                let plus = model
                    .shifted(&g.weights, epsilon)
                    .arch_grads(&train, &objective)
                    .unwrap()
                    .1;
                let minus = model
                    .shifted(&g.weights, -epsilon)
                    .arch_grads(&train, &objective)
                    .unwrap()
                    .1;
                let product = (plus.clone() - minus.clone()) * (1.0 / (2.0 * epsilon));
                if step == 1 {
                    for (prefix, all) in [("wprime", ahead.weights()), ("dwprime", &g.weights)] {
                        for t in all.named() {
                            compare
                                .check_gradient(&format!("{case}/{prefix}.{}", t.name), &t.values);
                        }
                    }
                    compare.check_gradient(&format!("{case}/dwprime_norm"), &[g.weights.norm()]);
                    compare.check_gradient(&format!("{case}/epsilon"), &[epsilon]);
                    for (name, arch) in [
                        ("dalpha_direct", &g.arch),
                        ("plus", &plus),
                        ("minus", &minus),
                        ("hvp", &product),
                    ] {
                        for (table, values) in original.tables(&format!("{case}/{name}"), arch) {
                            compare.check_gradient(&table, &values);
                        }
                    }
                }
                g.arch - product * eta
            };
            for (table, values) in original.tables(&format!("{case}/step{step}.grad"), &grads) {
                compare.check_gradient(&table, &values);
            }
            let after = adam.step(h, model.arch(), &grads);
            model.set_arch(model.arch().with_values(after, model.compute()));
            for (table, values) in
                original.tables(&format!("{case}/step{step}.alpha_after"), model.arch())
            {
                compare.check_gradient(&table, &values);
            }
        }
        // The extra passes leave running statistics and weights alone.
        assert_eq!(model.buffers(), buffers);
        assert_eq!(model.weights().named(), start.weights().named());
        original.model = start.clone();
    }
    compare.finish(4 * start.weights().named().len(), outliers);
}

#[test]
fn golden_architect_f64() {
    check(&double(), 0.0);
}

#[test]
fn golden_architect_f32() {
    for compute in single() {
        check(&compute, 0.3);
    }
}
