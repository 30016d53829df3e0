//! `ConvNorm` of every kind, over shapes with and without tails.

use crate::reference::{self as r, ConvShape, Grads, Rng, T};
use archai_kernels::{ChannelStats, ConvKind, ConvNorm, ConvWant, Exec, NormKind};

/// The op's weights by name, in double precision.
pub fn random_params(op: &archai_kernels::Packing, rng: &mut Rng) -> (Vec<f32>, Grads) {
    let mut named = Grads::new();
    let flat = op.pack(|tensor| {
        // Pools of inputs of similar size keep the results of norms well conditioned.
        let fan: usize = tensor.shape[1..].iter().product();
        let scale = if tensor.shape.len() == 1 {
            1.0
        } else {
            2.0 / (fan as f64).sqrt()
        };
        let values: Vec<f32> = rng
            .vec(tensor.len())
            .iter()
            .map(|v| (v * scale) as f32)
            .collect();
        named.insert(
            tensor.name.clone(),
            values.iter().map(|&v| f64::from(v)).collect(),
        );
        values
    });
    (flat, named)
}

fn linear(x: &T, co: usize, kind: ConvKind, w: &Grads) -> (T, r::Back) {
    let (w1, w2) = (&w["conv1.weight"], w.get("conv2.weight"));
    match kind {
        ConvKind::Separable {
            kernel: k,
            dilation: d,
            stride: s,
        } => {
            let p = k / 2 * d;
            let depthwise = ConvShape {
                co: x.c,
                k: (k, k),
                s: (s, s),
                p: (p, p),
                d,
                groups: x.c,
            };
            let pointwise = ConvShape {
                co,
                k: (1, 1),
                s: (1, 1),
                p: (0, 0),
                d: 1,
                groups: 1,
            };
            r::chain(r::conv("conv1.weight", x, w1, depthwise), |y| {
                r::conv("conv2.weight", y, w2.unwrap(), pointwise)
            })
        }
        ConvKind::Pointwise => r::conv(
            "conv1.weight",
            x,
            w1,
            ConvShape {
                co,
                k: (1, 1),
                s: (1, 1),
                p: (0, 0),
                d: 1,
                groups: 1,
            },
        ),
        ConvKind::Dense {
            kernel: k,
            stride: s,
            padding: p,
        } => r::conv(
            "conv1.weight",
            x,
            w1,
            ConvShape {
                co,
                k,
                s,
                p,
                d: 1,
                groups: 1,
            },
        ),
        ConvKind::FactorizedReduce => {
            r::reduce(x, co, ("conv1.weight", w1), ("conv2.weight", w2.unwrap()))
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Case {
    n: usize,
    c: usize,
    h: usize,
    w: usize,
    co: usize,
    kind: ConvKind,
    relu: bool,
    norm: NormKind,
}

fn check(exec: &Exec, case: Case, seed: u64) {
    let what = format!("{case:?} on {}", exec.simd().name());
    let rng = &mut Rng(seed);
    let x = T::random(rng, case.n, case.c, case.h, case.w);
    let op = ConvNorm::new(x.map(), case.co, case.kind, case.relu, case.norm).unwrap();
    let (params, named) = random_params(op.params(), rng);
    let first = if case.relu {
        r::relu(&x)
    } else {
        r::crop(&x, 0)
    };
    let before = r::chain(first, |x| linear(x, case.co, case.kind, &named));
    let mut stats = None;
    let affine = |named: &Grads| {
        named
            .get("bn1.weight")
            .map(|g| (g.clone(), named["bn1.bias"].clone()))
    };
    let affine = affine(&named);
    let affine = affine.as_ref().map(|(g, b)| (&g[..], &b[..]));
    let z = before.0.clone();
    let (y, back) = if case.norm == NormKind::None {
        before
    } else {
        r::chain(before, |z| {
            let (y, back, mean, var) = r::batch_norm("bn1", z, affine);
            stats = Some((mean, var));
            (y, back)
        })
    };
    let g = T::random(rng, y.n, y.c, y.h, y.w);
    let (dx, grads) = back(&g);
    // A norm over few values can divide by next to nothing, which magnifies rounding.
    let smallest = stats
        .as_ref()
        .map_or(1.0, |s| s.1.iter().fold(1.0f64, |m, v| m.min(v.sqrt())));
    let tolerance = 2e-5 / smallest.max(1e-2);

    let xb = x.blocked();
    let (got, save) = op.forward(exec, &xb, &params);
    r::check_map(&format!("{what}: y"), &got, &y, tolerance);
    if let (Some((mean, var)), Some(got)) = (&stats, save.stats()) {
        r::check(&format!("{what}: mean"), &got.mean, mean, 1e-5);
        r::check(&format!("{what}: var"), &got.var, var, 1e-4);
    }
    let all = op.backward(exec, &xb, &params, &got, &save, &g.blocked(), ConvWant::ALL);
    r::check_map(
        &format!("{what}: dx"),
        all.input.as_ref().unwrap(),
        &dx,
        tolerance,
    );
    for (tensor, values) in op.params().unpack(all.params.as_ref().unwrap()) {
        r::check(
            &format!("{what}: d{}", tensor.name),
            &values,
            &grads[&tensor.name],
            tolerance,
        );
    }
    let dp = all.params.as_ref().unwrap();
    let mut rest = op.params().unpack(dp).into_iter();
    assert_eq!(
        &op.params().pack(|_| rest.next().unwrap().1),
        dp,
        "{what}: padding of the gradient is not zero"
    );
    // Asking for less gives the same bits.
    for want in [
        ConvWant {
            input: true,
            params: false,
        },
        ConvWant {
            input: false,
            params: true,
        },
    ] {
        let part = op.backward(exec, &xb, &params, &got, &save, &g.blocked(), want);
        assert_eq!(
            part.input,
            all.input.clone().filter(|_| want.input),
            "{what}"
        );
        assert_eq!(
            part.params,
            all.params.clone().filter(|_| want.params),
            "{what}"
        );
    }
    // Evaluation with statistics of its own.
    let given = (case.norm != NormKind::None).then(|| ChannelStats {
        mean: rng.vec(case.co).iter().map(|&v| v as f32).collect(),
        var: rng.vec(case.co).iter().map(|&v| (v + 1.5) as f32).collect(),
    });
    let mut truth = z;
    if let Some(s) = &given {
        let plane = truth.h * truth.w;
        for (i, v) in truth.d.iter_mut().enumerate() {
            let c = i / plane % case.co;
            *v = (*v - f64::from(s.mean[c])) / (f64::from(s.var[c]) + 1e-5).sqrt();
            if let Some((gamma, beta)) = affine {
                *v = *v * gamma[c] + beta[c];
            }
        }
    }
    r::check_map(
        &format!("{what}: evaluation"),
        &op.infer(exec, &xb, &params, given.as_ref()),
        &truth,
        2e-5,
    );
}

const SHAPES: [(usize, usize, usize, usize); 8] = [
    (2, 8, 8, 8),
    (3, 12, 7, 7),
    (1, 36, 14, 14),
    (2, 3, 9, 6),
    (2, 16, 16, 16),
    (2, 20, 5, 11),
    (1, 40, 4, 28),
    (5, 24, 2, 3),
];

fn check_kinds(kinds: &[ConvKind]) {
    let mut seed = 1;
    for &kind in kinds {
        for (n, c, h, w) in SHAPES {
            let fits = match kind {
                ConvKind::Dense {
                    kernel, padding, ..
                } => h + 2 * padding.0 >= kernel.0 && w + 2 * padding.1 >= kernel.1,
                _ => true,
            };
            if !fits {
                continue;
            }
            seed += 1;
            let co = [c, c + 4, 5, 18][seed as usize % 4];
            let relu = seed % 3 != 0;
            let norm = [NormKind::Plain, NormKind::Affine, NormKind::None][seed as usize / 2 % 3];
            for exec in Exec::all() {
                check(
                    &exec,
                    Case {
                        n,
                        c,
                        h,
                        w,
                        co,
                        kind,
                        relu,
                        norm,
                    },
                    seed,
                );
            }
        }
    }
}

#[test]
fn separable() {
    let mut kinds = vec![];
    for (kernel, dilation) in [(3, 1), (5, 1), (7, 1), (3, 2), (5, 2)] {
        for stride in [1, 2] {
            kinds.push(ConvKind::Separable {
                kernel,
                dilation,
                stride,
            });
        }
    }
    check_kinds(&kinds);
}

#[test]
fn pointwise_and_factorized_reduce() {
    check_kinds(&[
        ConvKind::Pointwise,
        ConvKind::FactorizedReduce,
        ConvKind::Pointwise,
        ConvKind::FactorizedReduce,
    ]);
}

/// More channels and pixels than one pass over them covers: every place at which a kernel starts again.
#[test]
fn many_channels_and_pixels() {
    let pointwise = [
        (200, 28, 9, 9),
        (385, 12, 3, 5),
        (36, 20, 12, 12),
        (9, 8, 10, 13),
    ];
    for (seed, (c, co, h, w)) in pointwise.into_iter().enumerate() {
        for exec in Exec::all() {
            for relu in [false, true] {
                let (n, kind, norm) = (2, ConvKind::Pointwise, NormKind::Affine);
                let case = Case {
                    n,
                    c,
                    h,
                    w,
                    co,
                    kind,
                    relu,
                    norm,
                };
                check(&exec, case, 500 + seed as u64);
            }
        }
    }
    for (c, co, kind) in [
        (210, 9, ConvKind::FactorizedReduce),
        (
            17,
            200,
            ConvKind::Separable {
                kernel: 3,
                dilation: 1,
                stride: 1,
            },
        ),
    ] {
        let (n, h, w, norm) = (2, 10, 8, NormKind::Plain);
        let case = Case {
            n,
            c,
            h,
            w,
            co,
            kind,
            relu: true,
            norm,
        };
        check(&Exec::new(), case, 510);
    }
}

#[test]
fn dense() {
    let dense = |kernel, stride, padding| ConvKind::Dense {
        kernel,
        stride,
        padding,
    };
    check_kinds(&[
        ConvKind::dense(3, 1),
        ConvKind::dense(3, 2),
        ConvKind::dense(1, 2),
        ConvKind::dense(7, 2),
        dense((1, 7), (1, 2), (0, 3)),
        dense((7, 1), (2, 1), (3, 0)),
        dense((2, 2), (1, 1), (0, 0)),
        dense((5, 3), (3, 4), (0, 1)),
    ]);
}

#[test]
fn random_shapes() {
    let rng = &mut Rng(77);
    for seed in 0..60 {
        let (n, c, h, w) = (
            1 + rng.below(4),
            1 + rng.below(40),
            1 + rng.below(20),
            1 + rng.below(20),
        );
        let stride = 1 + rng.below(2);
        let kind = match rng.below(4) {
            0 => {
                let (kernel, dilation) = rng.pick(&[(3, 1), (5, 1), (7, 1), (3, 2), (5, 2)]);
                ConvKind::Separable {
                    kernel,
                    dilation,
                    stride,
                }
            }
            1 => ConvKind::Pointwise,
            2 => ConvKind::dense(rng.pick(&[1, 3, 5, 7]), stride),
            _ => ConvKind::FactorizedReduce,
        };
        let norm = if n * h * w < 32 {
            NormKind::None
        } else {
            rng.pick(&[NormKind::None, NormKind::Plain, NormKind::Affine])
        };
        let case = Case {
            n,
            c,
            h,
            w,
            co: 2 + rng.below(40),
            kind,
            relu: rng.below(2) == 0,
            norm,
        };
        check(&Exec::new(), case, 1000 + seed);
    }
}

#[test]
fn what_has_no_kernel_is_refused() {
    let map = archai_kernels::FeatureMap::new(8, 7, 7);
    let check_to = |channels, kind, part: &str| {
        let error = ConvNorm::new(map, channels, kind, true, NormKind::None)
            .unwrap_err()
            .to_string();
        assert!(error.contains(part), "{error}");
    };
    let check = |kind, part: &str| check_to(8, kind, part);
    check(
        ConvKind::Separable {
            kernel: 4,
            dilation: 1,
            stride: 1,
        },
        "kernels for 3, 5, 7",
    );
    check(
        ConvKind::Separable {
            kernel: 3,
            dilation: 1,
            stride: 3,
        },
        "at strides 1 and 2",
    );
    check_to(1, ConvKind::FactorizedReduce, "two at least");
    check(ConvKind::dense(9, 1), "at most 7");
}

#[test]
#[should_panic(expected = "does not hold whole samples")]
fn wrong_lengths_are_refused() {
    let op = ConvNorm::new(
        archai_kernels::FeatureMap::new(8, 4, 4),
        8,
        ConvKind::Pointwise,
        true,
        NormKind::None,
    )
    .unwrap();
    op.forward(&Exec::new(), &[0.0; 100], &[0.0; 64]);
}
