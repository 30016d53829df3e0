//! Layout, ReLU, sums, concatenation, global pooling.

use crate::reference::{self as r, Rng, T};
use archai_kernels::{
    Exec, FeatureMap, add, concat_channels, from_nchw, global_avg_pool, global_avg_pool_backward,
    relu,
};
use archai_kernels::{relu_backward, scale_samples, split_channels, to_nchw};

#[test]
fn layout_round_trip() {
    let rng = &mut Rng(1);
    for (n, c, h, w) in [(1, 1, 1, 1), (2, 3, 5, 7), (3, 8, 4, 4), (2, 36, 14, 3)] {
        let x: Vec<f32> = rng.vec(n * c * h * w).iter().map(|&v| v as f32).collect();
        let map = FeatureMap::new(c, h, w);
        let blocked = from_nchw(&Exec::new(), map, &x);
        assert_eq!(blocked.len(), n * map.sample_len());
        let (i, ch, p) = (n - 1, c - 1, h * w - 1);
        assert_eq!(
            blocked[((i * map.blocks() + ch / 8) * h * w + p) * 8 + ch % 8],
            x[(i * c + ch) * h * w + p]
        );
        assert_eq!(to_nchw(&Exec::new(), map, &blocked), x);
    }
}

#[test]
fn relu_and_sums() {
    let rng = &mut Rng(2);
    for (n, c, h, w) in [(1, 3, 3, 3), (64, 16, 16, 16)] {
        let (x, g) = (T::random(rng, n, c, h, w), T::random(rng, n, c, h, w));
        let (y, back) = r::relu(&x);
        for exec in Exec::all() {
            let got = relu(&exec, &x.blocked());
            r::check_map("relu", &got, &y, 0.0);
            r::check_map(
                "its gradient",
                &relu_backward(&exec, &x.blocked(), &g.blocked()),
                &back(&g).0,
                0.0,
            );
            let mut sum = x.blocked();
            add(&exec, &mut sum, &g.blocked());
            let mut truth = x.clone();
            truth.add(1.0, &g);
            r::check_map("sum", &sum, &truth, 1e-6);
        }
    }
}

#[test]
fn samples_times_their_factors() {
    let rng = &mut Rng(4);
    for n in [1, 64] {
        let x = T::random(rng, n, 12, 9, 9);
        let (map, blocked) = (x.map(), x.blocked());
        let factors: Vec<f32> = (0..n).map(|i| i as f32 * 0.5).collect();
        let got = scale_samples(&Exec::new(), map, &blocked, &factors);
        let len = map.sample_len();
        for (i, (got, x)) in got.chunks(len).zip(blocked.chunks(len)).enumerate() {
            let want: Vec<f32> = x.iter().map(|v| v * factors[i]).collect();
            assert_eq!(got, want);
        }
    }
}

#[test]
fn concatenation() {
    let rng = &mut Rng(3);
    for channels in [
        vec![8, 16],
        vec![3, 5, 12],
        vec![16, 4, 8],
        vec![36, 36, 36, 36],
    ] {
        let parts: Vec<T> = channels
            .iter()
            .map(|&c| T::random(rng, 3, c, 5, 4))
            .collect();
        let blocked: Vec<Vec<f32>> = parts.iter().map(T::blocked).collect();
        let maps: Vec<FeatureMap> = parts.iter().map(T::map).collect();
        let pairs: Vec<(FeatureMap, &[f32])> = maps
            .iter()
            .copied()
            .zip(blocked.iter().map(|b| &b[..]))
            .collect();
        let (map, whole) = concat_channels(&Exec::new(), &pairs);
        assert_eq!(map.channels, channels.iter().sum::<usize>());
        r::check_map(
            "concatenation",
            &whole,
            &r::concat(&parts.iter().collect::<Vec<_>>()),
            0.0,
        );
        assert_eq!(split_channels(&Exec::new(), &maps, &whole), blocked);
    }
}

#[test]
fn global_pool() {
    let rng = &mut Rng(4);
    let x = T::random(rng, 3, 20, 7, 5);
    let mean: Vec<f64> =
        x.d.chunks(35)
            .map(|p| p.iter().sum::<f64>() / 35.0)
            .collect();
    r::check(
        "mean",
        &global_avg_pool(&Exec::new(), x.map(), &x.blocked()),
        &mean,
        1e-6,
    );
    let g: Vec<f64> = rng.vec(60);
    let g32: Vec<f32> = g.iter().map(|&v| v as f32).collect();
    let mut dx = x.like();
    dx.d.iter_mut()
        .enumerate()
        .for_each(|(i, v)| *v = g[i / 35] / 35.0);
    r::check_map(
        "its gradient",
        &global_avg_pool_backward(&Exec::new(), x.map(), &g32),
        &dx,
        1e-6,
    );
}
