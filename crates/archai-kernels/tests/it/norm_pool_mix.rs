//! Batch norm alone, pools, weighted sums.

use crate::reference::{self as r, Rng, T};
use archai_kernels::{BatchNorm, ChannelStats, Exec, MixTerm, Pool, PoolKind, WeightedSum};

fn all() -> Vec<Exec> {
    Exec::all()
}

#[test]
fn batch_norm() {
    let rng = &mut Rng(5);
    for (n, c, h, w) in [(4, 8, 8, 8), (3, 13, 7, 5), (2, 36, 1, 9), (40, 3, 16, 17)] {
        for affine in [false, true] {
            let mut x = T::random(rng, n, c, h, w);
            // Off centre, as after a ReLU.
            x.d.iter_mut()
                .for_each(|v| *v = f64::from((*v + 2.0) as f32));
            let bn = BatchNorm::new(x.map(), affine);
            let (params, named) = crate::conv::random_params(bn.params(), rng);
            let pair = affine.then(|| (&named["bn1.weight"][..], &named["bn1.bias"][..]));
            let (y, back, mean, var) = r::batch_norm("bn1", &x, pair);
            let g = T::random(rng, n, c, h, w);
            let (dx, grads) = back(&g);
            for exec in all() {
                let (got, save) = bn.forward(&exec, &x.blocked(), &params);
                r::check_map("y", &got, &y, 2e-5);
                r::check("mean", &save.stats().mean, &mean, 1e-5);
                r::check("var", &save.stats().var, &var, 1e-4);
                let (got, dp) = bn.backward(&exec, &x.blocked(), &params, &save, &g.blocked());
                r::check_map("dx", &got, &dx, 5e-5);
                for (tensor, values) in bn.params().unpack(&dp) {
                    r::check(&tensor.name, &values, &grads[&tensor.name], 5e-5);
                }
                let stats = ChannelStats {
                    mean: vec![0.5; c],
                    var: vec![2.0; c],
                };
                let mut truth = x.clone();
                for (i, v) in truth.d.iter_mut().enumerate() {
                    let ch = i / (h * w) % c;
                    *v = (*v - 0.5) / (2.0f64 + 1e-5).sqrt();
                    *v = pair.map_or(*v, |(gamma, beta)| *v * gamma[ch] + beta[ch]);
                }
                r::check_map(
                    "evaluation",
                    &bn.infer(&exec, &x.blocked(), &params, &stats),
                    &truth,
                    1e-5,
                );
            }
        }
    }
}

#[test]
fn pools() {
    let rng = &mut Rng(6);
    let windows = [
        (3, 1, 1),
        (3, 2, 1),
        (5, 3, 0),
        (5, 2, 0),
        (5, 2, 2),
        (2, 2, 0),
        (3, 3, 1),
        (1, 2, 0),
    ];
    for (n, c, h, w) in [
        (2, 8, 8, 8),
        (3, 12, 7, 7),
        (1, 20, 14, 9),
        (2, 4, 1, 1),
        (2, 5, 2, 5),
        (3, 16, 28, 28),
    ] {
        for (k, s, p) in windows {
            if h + 2 * p < k || w + 2 * p < k {
                continue;
            }
            for (kind, max) in [(PoolKind::Max, true), (PoolKind::Average, false)] {
                for norm in [false, true] {
                    let what = format!(
                        "{kind:?} {k}x{k} stride {s} padding {p} on {n}x{c}x{h}x{w}, norm {norm}"
                    );
                    let x = T::random(rng, n, c, h, w);
                    let plain = r::pool(&x, max, k, s, p);
                    if norm && n * plain.0.h * plain.0.w < 16 {
                        continue;
                    }
                    let raw = plain.0.clone();
                    let mut stats = None;
                    let (y, back) = if norm {
                        r::chain(plain, |z| {
                            let (y, back, mean, var) = r::batch_norm("", z, None);
                            stats = Some((mean, var));
                            (y, back)
                        })
                    } else {
                        plain
                    };
                    let g = T::random(rng, y.n, y.c, y.h, y.w);
                    let (dx, _) = back(&g);
                    for exec in all() {
                        let pool = Pool::new(x.map(), kind, k, s, p, norm).unwrap();
                        assert_eq!(pool.output(), y.map());
                        let (got, save) = pool.forward(&exec, &x.blocked());
                        r::check_map(&format!("{what}: y"), &got, &y, 5e-5);
                        let dgot = pool.backward(&exec, &got, &save, &g.blocked());
                        r::check_map(&format!("{what}: dx"), &dgot, &dx, 1e-4);
                        if let (Some(s), Some((mean, var))) = (save.stats(), &stats) {
                            r::check("mean", &s.mean, mean, 1e-5);
                            r::check("var", &s.var, var, 1e-4);
                        }
                        let given = norm.then(|| ChannelStats {
                            mean: vec![0.0; c],
                            var: vec![1.0 - 1e-5; c],
                        });
                        r::check_map(
                            &format!("{what}: evaluation"),
                            &pool.infer(&exec, &x.blocked(), given.as_ref()),
                            &raw,
                            1e-5,
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_pool_shows_not_a_number() {
    let map = archai_kernels::FeatureMap::new(8, 3, 3);
    let mut x = vec![1.0f32; 72];
    x[8] = f32::NAN;
    for exec in all() {
        let (y, _) = Pool::new(map, PoolKind::Max, 3, 1, 1, false)
            .unwrap()
            .forward(&exec, &x);
        assert!(y[0].is_nan() && y[8 * 4].is_nan(), "{y:?}");
        assert_eq!(y[8 * 8], 1.0);
        assert!(archai_kernels::relu(&exec, &x)[8].is_nan());
    }
}

#[test]
fn weighted_sums() {
    let rng = &mut Rng(7);
    for (n, c, h, w, k) in [(4, 8, 8, 8, 7), (2, 20, 7, 3, 3), (1, 5, 5, 5, 1)] {
        let zs: Vec<T> = (0..k).map(|_| T::random(rng, n, c, h, w)).collect();
        let weights: Vec<f64> = rng.vec(k);
        let g = T::random(rng, n, c, h, w);
        // Every second term has a norm, which is folded into the sum.
        let mut y = g.like();
        let (mut dw, mut stats) = (vec![], vec![]);
        for (i, z) in zs.iter().enumerate() {
            let (hat, _, mean, var) = r::batch_norm("", z, None);
            let to32 = |v: Vec<f64>| v.into_iter().map(|v| v as f32).collect();
            stats.push((i % 2 == 1).then(|| ChannelStats {
                mean: to32(mean),
                var: to32(var),
            }));
            let term = if i % 2 == 1 { &hat } else { z };
            y.add(weights[i], term);
            dw.push(g.d.iter().zip(&term.d).map(|(a, b)| a * b).sum::<f64>());
        }
        let blocked: Vec<Vec<f32>> = zs.iter().map(T::blocked).collect();
        let terms: Vec<MixTerm<'_>> = blocked
            .iter()
            .zip(&stats)
            .map(|(values, stats)| MixTerm {
                values,
                stats: stats.as_ref(),
            })
            .collect();
        let w32: Vec<f32> = weights.iter().map(|&w| w as f32).collect();
        for exec in all() {
            let sum = WeightedSum::new(g.map());
            r::check_map("y", &sum.forward(&exec, &terms, &w32), &y, 1e-5);
            let (got, dys) = sum.backward(&exec, &terms, &w32, &g.blocked(), true);
            r::check("dw", &got, &dw, 1e-5);
            for (dy, w) in dys.iter().zip(&weights) {
                let mut truth = g.like();
                truth.add(*w, &g);
                r::check_map("dy", dy, &truth, 1e-6);
            }
            assert!(
                sum.backward(&exec, &terms, &w32, &g.blocked(), false)
                    .1
                    .is_empty()
            );
        }
    }
}
