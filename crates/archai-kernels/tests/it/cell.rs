//! The fused cell against its primitives one by one, and its gradients against finite differences.

use crate::reference::{self as r, ConvShape, Grads, Rng, T};
use archai_kernels::{CellEdge, CellWant, ChannelStats, Exec, FeatureMap, FusedCell, Primitive};
use std::collections::BTreeMap;

type Stats = BTreeMap<String, (Vec<f64>, Vec<f64>)>;

/// With scale and shift if there are such parameters.
fn norm(name: String, x: (T, r::Back), w: &Grads, stats: &mut Stats) -> (T, r::Back) {
    r::chain(x, |x| {
        let part = |what: &str| w.get(&format!("{name}.{what}")).map(|v| &v[..]);
        let affine = part("weight").zip(part("bias"));
        let (y, back, mean, var) = r::batch_norm(&name, x, affine);
        stats.insert(name, (mean, var));
        (y, back)
    })
}

fn half(
    x: (T, r::Back),
    prefix: &str,
    number: usize,
    k: usize,
    d: usize,
    s: usize,
    w: &Grads,
) -> (T, r::Back) {
    let (n1, n2) = (
        format!("{prefix}conv{number}.weight"),
        format!("{prefix}conv{}.weight", number + 1),
    );
    let c = x.0.c;
    let (p, w1, w2) = (k / 2 * d, &w[&n1], &w[&n2]);
    let x = r::chain(x, r::relu);
    let x = r::chain(x, |x| {
        r::conv(
            &n1,
            x,
            w1,
            ConvShape {
                co: c,
                k: (k, k),
                s: (s, s),
                p: (p, p),
                d,
                groups: c,
            },
        )
    });
    r::chain(x, |x| {
        r::conv(
            &n2,
            x,
            w2,
            ConvShape {
                co: c,
                k: (1, 1),
                s: (1, 1),
                p: (0, 0),
                d: 1,
                groups: 1,
            },
        )
    })
}

/// None: zero.
fn primitive(
    p: Primitive,
    x: &T,
    s: usize,
    prefix: &str,
    w: &Grads,
    stats: &mut Stats,
) -> Option<(T, r::Back)> {
    let start = r::crop(x, 0);
    let bn = |number: usize| format!("{prefix}bn{number}");
    Some(match p {
        Primitive::None => return None,
        Primitive::MaxPool { norm: with } | Primitive::AvgPool { norm: with } => {
            let y = r::chain(start, |x| {
                r::pool(x, matches!(p, Primitive::MaxPool { .. }), 3, s, 1)
            });
            if with { norm(bn(1), y, w, stats) } else { y }
        }
        Primitive::Skip if s == 1 => start,
        Primitive::Skip => {
            let (n1, n2) = (
                format!("{prefix}conv1.weight"),
                format!("{prefix}conv2.weight"),
            );
            let y = r::chain(r::chain(start, r::relu), |x| {
                r::reduce(x, x.c, (&n1, &w[&n1]), (&n2, &w[&n2]))
            });
            norm(bn(1), y, w, stats)
        }
        Primitive::Dil { kernel } => norm(bn(1), half(start, prefix, 1, kernel, 2, s, w), w, stats),
        Primitive::Sep { kernel } => {
            let y = norm(bn(1), half(start, prefix, 1, kernel, 1, s, w), w, stats);
            norm(bn(2), half(y, prefix, 3, kernel, 1, 1, w), w, stats)
        }
    })
}

struct Truth {
    out: T,
    inputs: [T; 2],
    mixing: Vec<f64>,
    params: Grads,
    stats: Stats,
}

#[allow(clippy::too_many_arguments)]
fn reference(
    cell: &FusedCell,
    nodes: usize,
    s: [&T; 2],
    mixing: &[f64],
    w: &Grads,
    g: &T,
    reduction: bool,
    factors: &[Option<Vec<f32>>],
) -> Truth {
    // A tensor times the factors of an edge's samples.
    let dropped = |x: &T, edge: usize| {
        let mut y = x.clone();
        if let Some(factors) = factors.get(edge).and_then(Option::as_ref) {
            let len = y.d.len() / y.n;
            for (sample, f) in y.d.chunks_exact_mut(len).zip(factors) {
                sample.iter_mut().for_each(|v| *v *= f64::from(*f));
            }
        }
        y
    };
    let mut states = vec![s[0].clone(), s[1].clone()];
    let mut stats = Stats::new();
    let mut results = vec![];
    let row = |edge: usize| {
        cell.edges()[..edge]
            .iter()
            .map(|e| e.primitives.len())
            .sum::<usize>()
    };
    for node in 0..nodes {
        let mut sum = T::zeros(s[0].n, s[0].c, cell.output().height, cell.output().width);
        for (i, edge) in cell
            .edges()
            .iter()
            .enumerate()
            .filter(|(_, e)| e.node == node)
        {
            let stride = if reduction && edge.from < 2 { 2 } else { 1 };
            for (k, p) in edge.primitives.iter().enumerate() {
                let prefix = format!("node{node}.edge{}.{}.", edge.from, p.name());
                if let Some((y, back)) =
                    primitive(*p, &states[edge.from], stride, &prefix, w, &mut stats)
                {
                    sum.add(mixing[row(i) + k], &dropped(&y, i));
                    results.push((edge.from, node, row(i) + k, i, y, back));
                }
            }
        }
        states.push(sum);
    }
    let out = r::concat(&states[2..].iter().collect::<Vec<_>>());
    let mut grads: Vec<T> = vec![s[0].like(), s[1].like()];
    grads.extend(r::split(g, &vec![s[0].c; nodes]));
    let (mut dmix, mut params) = (vec![0.0; mixing.len()], Grads::new());
    for node in (0..nodes).rev() {
        for (from, _, weight, edge, y, back) in results.iter().filter(|r| r.1 == node) {
            let g = dropped(&grads[2 + node], *edge);
            dmix[*weight] += g.d.iter().zip(&y.d).map(|(a, b)| a * b).sum::<f64>();
            let mut scaled = g.like();
            scaled.add(mixing[*weight], &g);
            let (dx, more) = back(&scaled);
            params.extend(more);
            grads[*from].add(1.0, &dx);
        }
    }
    let mut inputs = grads.into_iter();
    Truth {
        out,
        inputs: [inputs.next().unwrap(), inputs.next().unwrap()],
        mixing: dmix,
        params,
        stats,
    }
}

pub fn darts(norm: bool) -> Vec<Primitive> {
    vec![
        Primitive::None,
        Primitive::MaxPool { norm },
        Primitive::AvgPool { norm },
        Primitive::Skip,
        Primitive::Sep { kernel: 3 },
        Primitive::Sep { kernel: 5 },
        Primitive::Dil { kernel: 3 },
        Primitive::Dil { kernel: 5 },
    ]
}

/// Every node listens to every earlier state.
pub fn full(nodes: usize, primitives: &[Primitive]) -> Vec<CellEdge> {
    (0..nodes)
        .flat_map(|node| (0..node + 2).map(move |from| (from, node)))
        .map(|(from, node)| CellEdge {
            from,
            node,
            primitives: primitives.to_vec(),
        })
        .collect()
}

fn check(
    n: usize,
    map: FeatureMap,
    nodes: usize,
    reduction: bool,
    edges: Vec<CellEdge>,
    seed: u64,
) {
    let cell = FusedCell::new(map, nodes, reduction, edges).unwrap();
    check_cell(n, cell, nodes, reduction, false, seed);
}

/// `dropping`: with factors on every second edge.
fn check_cell(n: usize, cell: FusedCell, nodes: usize, reduction: bool, dropping: bool, seed: u64) {
    let rng = &mut Rng(seed);
    let map = cell.input();
    let factors: Vec<Option<Vec<f32>>> = (0..cell.edges().len())
        .map(|edge| {
            let factor = |i| [0.0, 1.25, 1.0, 2.0][(edge + i) % 4];
            (dropping && edge % 2 == 0).then(|| (0..n).map(factor).collect())
        })
        .collect();
    let s = [(); 2].map(|()| T::random(rng, n, map.channels, map.height, map.width));
    let (params, named) = crate::conv::random_params(cell.params(), rng);
    let mixing: Vec<f32> = (0..cell.mixing_len()).map(|_| rng.unit() as f32).collect();
    let mixing64: Vec<f64> = mixing.iter().map(|&v| f64::from(v)).collect();
    let out_map = cell.output();
    let g = T::random(rng, n, out_map.channels, out_map.height, out_map.width);
    let truth = reference(
        &cell,
        nodes,
        [&s[0], &s[1]],
        &mixing64,
        &named,
        &g,
        reduction,
        &factors,
    );
    let (s0, s1) = (s[0].blocked(), s[1].blocked());
    let inputs = [&s0[..], &s1[..]];
    for exec in Exec::all() {
        let what = format!(
            "{n}x{map}, {nodes} nodes, reduction {reduction}, {}",
            exec.simd().name()
        );
        let (out, save) = match dropping {
            false => cell.forward(&exec, inputs, &mixing, &params),
            true => cell.forward_dropping(&exec, inputs, &mixing, &params, factors.clone()),
        };
        r::check_map(&format!("{what}: output"), &out, &truth.out, 1e-4);
        let stats = save.stats();
        assert_eq!(stats.len(), truth.stats.len());
        for (norm, got) in cell.norms().iter().zip(&stats) {
            let (mean, var) = &truth.stats[&norm.name];
            r::check(
                &format!("{what}: {} mean", norm.name),
                &got.mean,
                mean,
                2e-4,
            );
            r::check(&format!("{what}: {} var", norm.name), &got.var, var, 2e-4);
        }
        let back = |want| {
            cell.backward(
                &exec,
                inputs,
                &mixing,
                &params,
                &out,
                &save,
                g.blocked(),
                want,
            )
        };
        let all = back(CellWant::ALL);
        let dp = all.params.as_ref().unwrap();
        let mut pieces = 0;
        for (tensor, values) in cell.params().unpack(dp) {
            r::check(
                &format!("{what}: d{}", tensor.name),
                &values,
                &truth.params[&tensor.name],
                5e-4,
            );
            pieces += 1;
        }
        assert_eq!(pieces, truth.params.len());
        let mut rest = cell.params().unpack(dp).into_iter();
        assert_eq!(
            &cell.params().pack(|_| rest.next().unwrap().1),
            dp,
            "{what}: padding of the gradient is not zero"
        );
        r::check(
            &format!("{what}: dmixing"),
            all.mixing.as_ref().unwrap(),
            &truth.mixing,
            2e-4,
        );
        for (got, truth) in all.inputs.as_ref().unwrap().iter().zip(&truth.inputs) {
            r::check_map(&format!("{what}: dinput"), got, truth, 5e-4);
        }
        // Asking for less gives the same bits.
        for bits in 0..7 {
            let want = CellWant {
                inputs: bits & 1 > 0,
                mixing: bits & 2 > 0,
                params: bits & 4 > 0,
            };
            let part = back(want);
            assert_eq!(
                part.inputs,
                all.inputs.clone().filter(|_| want.inputs),
                "{what} {want:?}"
            );
            assert_eq!(
                part.mixing,
                all.mixing.clone().filter(|_| want.mixing),
                "{what} {want:?}"
            );
            assert_eq!(
                part.params,
                all.params.clone().filter(|_| want.params),
                "{what} {want:?}"
            );
        }
        if dropping {
            continue;
        }
        // Evaluation with the batch's own statistics is the training pass.
        let again = cell.infer(&exec, inputs, &mixing, &params, &stats);
        let out64: Vec<f64> = out.iter().map(|&v| f64::from(v)).collect();
        r::check(&format!("{what}: evaluation"), &again, &out64, 1e-6);
    }
}

#[test]
fn all_primitives() {
    // Samples, input, nodes, whether the cell is a reduction, and whether its pools have norms.
    let cases = [
        (4, FeatureMap::new(8, 8, 8), 2, false, true),
        (4, FeatureMap::new(16, 8, 8), 2, true, true),
        (4, FeatureMap::new(4, 8, 8), 3, false, false),
        (3, FeatureMap::new(12, 10, 6), 2, true, false),
        (2, FeatureMap::new(20, 12, 14), 1, true, true),
    ];
    for (seed, (n, map, nodes, reduction, norms)) in (1..).zip(cases) {
        check(n, map, nodes, reduction, full(nodes, &darts(norms)), seed);
    }
}

/// Cells of found networks: learnt norms, one primitive per edge or several, drop-path.
#[test]
fn affine_norms_and_dropped_paths() {
    let edge = |from, node, primitive| CellEdge {
        from,
        node,
        primitives: vec![primitive],
    };
    use Primitive::*;
    let found = vec![
        edge(0, 0, Sep { kernel: 3 }),
        edge(1, 0, Skip),
        edge(0, 1, MaxPool { norm: false }),
        edge(2, 1, Dil { kernel: 3 }),
        edge(1, 2, Sep { kernel: 5 }),
        edge(3, 2, Skip),
    ];
    for (dropping, seed) in [(false, 21), (true, 22)] {
        for (n, map, reduction) in [
            (5, FeatureMap::new(12, 8, 6), false),
            (5, FeatureMap::new(16, 8, 6), true),
            (4, FeatureMap::new(36, 4, 4), true),
        ] {
            let cell = FusedCell::with_affine_norms(map, 3, reduction, found.clone()).unwrap();
            check_cell(n, cell, 3, reduction, dropping, seed);
            let edges = full(2, &darts(true));
            let cell = FusedCell::with_affine_norms(map, 2, reduction, edges).unwrap();
            check_cell(n, cell, 2, reduction, dropping, seed);
        }
        let map = FeatureMap::new(8, 6, 6);
        let cell = FusedCell::new(map, 2, false, full(2, &darts(true))).unwrap();
        check_cell(4, cell, 2, false, dropping, seed);
    }
}

#[test]
fn odd_sizes() {
    for (h, w) in [(7, 9), (7, 6), (4, 5)] {
        check(
            3,
            FeatureMap::new(8, h, w),
            2,
            true,
            full(2, &darts(true)),
            6,
        );
    }
    check(
        3,
        FeatureMap::new(10, 7, 5),
        2,
        false,
        full(2, &darts(true)),
        7,
    );
    check(
        1,
        FeatureMap::new(6, 14, 14),
        2,
        false,
        full(2, &darts(true)),
        8,
    );
}

#[test]
fn any_subset_of_edges_and_primitives() {
    let edge = |from, node, primitives: &[Primitive]| CellEdge {
        from,
        node,
        primitives: primitives.to_vec(),
    };
    use Primitive::*;
    let edges = vec![
        edge(
            1,
            1,
            &[
                Sep { kernel: 7 },
                MaxPool { norm: false },
                MaxPool { norm: true },
            ],
        ),
        edge(0, 0, &[Skip, None]),
        edge(2, 1, &[AvgPool { norm: true }]),
        edge(1, 2, &[]),
        edge(3, 2, &[Dil { kernel: 3 }, Skip, Skip]),
        edge(1, 2, &[MaxPool { norm: true }]),
    ];
    check(4, FeatureMap::new(8, 6, 8), 4, false, edges.clone(), 9);
    check(4, FeatureMap::new(12, 6, 8), 4, true, edges, 10);
}

/// A node by the single ops, whose norms are applied rather than folded.
#[test]
fn agrees_with_the_single_ops() {
    use archai_kernels::{ConvKind, ConvNorm, MixTerm, NormKind, Pool, PoolKind, WeightedSum};
    let rng = &mut Rng(13);
    for (map, stride) in [
        (FeatureMap::new(16, 8, 8), 1),
        (FeatureMap::new(12, 8, 8), 2),
    ] {
        let cell = FusedCell::new(map, 1, stride == 2, full(1, &darts(true))).unwrap();
        let s = [(); 2].map(|()| T::random(rng, 4, map.channels, 8, 8).blocked());
        let (params, _) = crate::conv::random_params(cell.params(), rng);
        let mixing: Vec<f32> = (0..cell.mixing_len()).map(|_| rng.unit() as f32).collect();
        let weights: BTreeMap<String, Vec<f32>> = cell
            .params()
            .unpack(&params)
            .into_iter()
            .map(|(p, w)| (p.name.clone(), w))
            .collect();
        let node = cell.output();
        for exec in Exec::all() {
            let (mut values, mut scales) = (vec![], vec![]);
            for (from, x) in s.iter().enumerate() {
                for (k, p) in darts(true).into_iter().enumerate() {
                    let conv = |x: &[f32], map, kind, number: usize| {
                        let op =
                            ConvNorm::new(map, map.channels, kind, true, NormKind::Plain).unwrap();
                        let flat = op.params().pack(|tensor| {
                            let own: usize = tensor.name["conv".len()..][..1].parse().unwrap();
                            weights[&format!(
                                "node0.edge{from}.{}.conv{}.weight",
                                p.name(),
                                own + number - 1
                            )]
                                .clone()
                        });
                        op.forward(&exec, x, &flat).0
                    };
                    let pool = |kind| {
                        Pool::new(map, kind, 3, stride, 1, true)
                            .unwrap()
                            .forward(&exec, x)
                            .0
                    };
                    let half = |kernel, dilation, stride| ConvKind::Separable {
                        kernel,
                        dilation,
                        stride,
                    };
                    values.push(match p {
                        Primitive::None => continue,
                        Primitive::MaxPool { .. } => pool(PoolKind::Max),
                        Primitive::AvgPool { .. } => pool(PoolKind::Average),
                        Primitive::Skip if stride == 1 => x.clone(),
                        Primitive::Skip => conv(x, map, ConvKind::FactorizedReduce, 1),
                        Primitive::Dil { kernel } => conv(x, map, half(kernel, 2, stride), 1),
                        Primitive::Sep { kernel } => conv(
                            &conv(x, map, half(kernel, 1, stride), 1),
                            node,
                            half(kernel, 1, 1),
                            3,
                        ),
                    });
                    scales.push(mixing[from * 8 + k]);
                }
            }
            let terms: Vec<MixTerm<'_>> = values
                .iter()
                .map(|values| MixTerm {
                    values,
                    stats: None,
                })
                .collect();
            let single = WeightedSum::new(node).forward(&exec, &terms, &scales);
            let (out, _) = cell.forward(&exec, [&s[0], &s[1]], &mixing, &params);
            let truth: Vec<f64> = single.iter().map(|&v| f64::from(v)).collect();
            r::check("node", &out, &truth, 2e-6);
        }
    }
}

#[test]
fn a_state_that_feeds_nothing_has_zero_gradient() {
    let edges = vec![CellEdge {
        from: 1,
        node: 0,
        primitives: vec![Primitive::Skip],
    }];
    check(2, FeatureMap::new(8, 4, 4), 1, false, edges, 11);
}

#[test]
fn impossible_cells_are_refused() {
    let edge = |from, node| {
        vec![CellEdge {
            from,
            node,
            primitives: darts(true),
        }]
    };
    let map = FeatureMap::new(8, 7, 7);
    assert!(
        FusedCell::new(map, 2, false, edge(2, 0))
            .unwrap_err()
            .to_string()
            .contains("state 2 to node 0")
    );
    assert!(
        FusedCell::new(FeatureMap::new(1, 7, 7), 2, true, edge(0, 0))
            .unwrap_err()
            .to_string()
            .contains("two at least")
    );
    let twice = vec![CellEdge {
        from: 0,
        node: 0,
        primitives: vec![Primitive::Sep { kernel: 3 }; 2],
    }];
    let error = FusedCell::new(map, 1, false, twice)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("are named node0.edge0.sep_conv_3x3"),
        "{error}"
    );
}

/// The gradient of the mixing weights without any formula of ours: differences of the loss `Σ out · g`.
#[test]
fn mixing_gradient_by_differences() {
    let rng = &mut Rng(12);
    let map = FeatureMap::new(8, 6, 6);
    let cell = FusedCell::new(map, 2, false, full(2, &darts(true))).unwrap();
    let s = [(); 2].map(|()| T::random(rng, 3, 8, 6, 6).blocked());
    let inputs = [&s[0][..], &s[1][..]];
    let (params, _) = crate::conv::random_params(cell.params(), rng);
    let mixing: Vec<f32> = (0..cell.mixing_len())
        .map(|_| 0.1 + rng.unit() as f32 * 0.05)
        .collect();
    let exec = Exec::new();
    let (out, save) = cell.forward(&exec, inputs, &mixing, &params);
    let g: Vec<f32> = rng.vec(out.len()).iter().map(|&v| v as f32).collect();
    let want = CellWant {
        inputs: false,
        mixing: true,
        params: false,
    };
    let got = cell
        .backward(
            &exec,
            inputs,
            &mixing,
            &params,
            &out,
            &save,
            g.clone(),
            want,
        )
        .mixing
        .unwrap();
    // With fixed statistics of the norms the output is smooth in the last node's weights; the others reach it through
    // ReLUs, so only the last node's rows are linear and can be differenced exactly in single precision.
    let first = cell
        .edges()
        .iter()
        .filter(|e| e.node < 1)
        .map(|e| e.primitives.len())
        .sum::<usize>();
    let loss = |mixing: &[f32]| -> f64 {
        let (out, _) = cell.forward(&exec, inputs, mixing, &params);
        out.iter()
            .zip(&g)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum()
    };
    for i in first..mixing.len() {
        let shifted = |by: f32| {
            let mut m = mixing.clone();
            m[i] += by;
            loss(&m)
        };
        let difference = (shifted(0.5) - shifted(-0.5)) / 1.0;
        assert!(
            (difference - f64::from(got[i])).abs() < 2e-3,
            "weight {i}: {} instead of {difference}",
            got[i]
        );
    }
}

#[test]
fn running_statistics_have_names_and_counts() {
    let cell = FusedCell::new(FeatureMap::new(8, 8, 8), 1, true, full(1, &darts(true))).unwrap();
    assert!(
        cell.norms()
            .iter()
            .all(|n| n.channels == 8 && n.pixels == 16)
    );
    let s = vec![1.0; cell.input().sample_len()];
    let params = vec![0.0; cell.params().len()];
    let mixing = vec![0.0; cell.mixing_len()];
    let stats: Vec<ChannelStats> = cell
        .forward(&Exec::new(), [&s, &s], &mixing, &params)
        .1
        .stats();
    assert!(
        stats
            .iter()
            .zip(cell.norms())
            .all(|(s, n)| s.mean.len() == n.channels)
    );
}
