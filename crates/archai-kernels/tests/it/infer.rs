//! Networks for inference: every layer, alone and fused with its neighbours, against the plain loops.

use crate::reference::{ConvShape, Rng, T, conv, relu};
use archai_kernels::infer::{ConvSizes, Function, Net, NetBuilder, PoolMode, PoolSizes, Value};
use archai_kernels::{Exec, FeatureMap};
use std::ops::Range;

/// A network that is built and computed by plain loops at the same time.
struct Both {
    rng: Rng,
    net: NetBuilder,
    values: Vec<(Value, T)>,
}

impl Both {
    fn new(seed: u64, n: usize, [c, h, w]: [usize; 3]) -> Self {
        let mut rng = Rng(seed);
        let image = T::random(&mut rng, n, c, h, w);
        let (net, value) = NetBuilder::new(FeatureMap::new(c, h, w)).unwrap();
        let values = vec![(value, image)];
        Both { rng, net, values }
    }

    fn push(&mut self, value: Value, expected: T) -> usize {
        let map = self.net.map(value);
        assert_eq!(
            (map.channels, map.height, map.width),
            (expected.c, expected.h, expected.w)
        );
        self.values.push((value, expected));
        self.values.len() - 1
    }

    fn get(&self, i: usize) -> (Value, T) {
        self.values[i].clone()
    }

    fn numbers(&mut self, n: usize, size: f64) -> Vec<f64> {
        let single = |v: f64| f64::from((v * size) as f32);
        self.rng.vec(n).into_iter().map(single).collect()
    }

    fn conv(&mut self, x: usize, sizes: ConvSizes, with_bias: bool) -> usize {
        let (value, x) = self.get(x);
        let fan_in = x.c / sizes.groups * sizes.kernel.0 * sizes.kernel.1;
        let weights = self.numbers(sizes.channels * fan_in, (1.5 / fan_in as f64).sqrt());
        let bias = self.numbers(sizes.channels, 0.5);
        let shape = ConvShape {
            co: sizes.channels,
            k: sizes.kernel,
            s: sizes.stride,
            p: sizes.padding,
            d: sizes.dilation,
            groups: sizes.groups,
        };
        let mut y = conv("conv", &x, &weights, shape).0;
        if with_bias {
            per_channel(&mut y, |c, v| v + bias[c]);
        }
        let given = with_bias.then(|| singles(&bias));
        let value = self
            .net
            .conv(value, sizes, singles(&weights), given)
            .unwrap();
        self.push(value, y)
    }

    fn relu(&mut self, x: usize) -> usize {
        let (value, x) = self.get(x);
        let value = self.net.relu(value).unwrap();
        self.push(value, relu(&x).0)
    }

    fn relu6(&mut self, x: usize) -> usize {
        let (value, mut x) = self.get(x);
        let value = self.net.relu6(value).unwrap();
        per_channel(&mut x, |_, v| v.clamp(0.0, 6.0));
        self.push(value, x)
    }

    fn function(&mut self, x: usize, function: Function) -> usize {
        let (value, mut x) = self.get(x);
        let value = self.net.function(value, function).unwrap();
        let sigmoid = |v: f64| 1.0 / (1.0 + (-v).exp());
        let hard_sigmoid = |v: f64| (v + 3.0).clamp(0.0, 6.0) / 6.0;
        per_channel(&mut x, |_, v| match function {
            Function::HardSwish => v * hard_sigmoid(v),
            Function::HardSigmoid => hard_sigmoid(v),
            Function::Sigmoid => sigmoid(v),
            Function::Gelu => v * normal_distribution(v),
            Function::Silu => v * sigmoid(v),
        });
        self.push(value, x)
    }

    /// Each channel times its number.
    fn scale(&mut self, x: usize, factors: usize) -> usize {
        let ((value, mut x), (of, factors)) = (self.get(x), self.get(factors));
        let value = self.net.scale(value, of).unwrap();
        let pixels = x.h * x.w;
        for (plane, factor) in x.d.chunks_mut(pixels).zip(&factors.d) {
            plane.iter_mut().for_each(|v| *v *= factor);
        }
        self.push(value, x)
    }

    /// A squeeze-and-excite.
    fn squeezed(&mut self, x: usize, gate: Function) -> usize {
        let channels = self.get(x).1.c;
        let mean = self.mean(x);
        let inner = self.conv(mean, ConvSizes::same(channels.div_ceil(4), 1), true);
        let inner = self.relu(inner);
        let numbers = self.conv(inner, ConvSizes::same(channels, 1), true);
        let factors = self.function(numbers, gate);
        self.scale(x, factors)
    }

    fn norm(&mut self, x: usize) -> usize {
        let (value, mut x) = self.get(x);
        let (scale, shift) = (self.numbers(x.c, 1.5), self.numbers(x.c, 0.5));
        let value = self
            .net
            .scale_shift(value, singles(&scale), singles(&shift))
            .unwrap();
        per_channel(&mut x, |c, v| v * scale[c] + shift[c]);
        self.push(value, x)
    }

    fn pool(&mut self, x: usize, mode: PoolMode, sizes: PoolSizes) -> usize {
        let (value, x) = self.get(x);
        let value = self.net.pool(value, mode, sizes).unwrap();
        let map = self.net.map(value);
        let mut y = T::zeros(x.n, x.c, map.height, map.width);
        each(&y.clone(), |n, c, row, col| {
            let span = |at: usize, size: usize| {
                let first = at * sizes.stride;
                (first..first + sizes.kernel)
                    .filter_map(move |i| i.checked_sub(sizes.padding))
                    .filter(move |&i| i < size)
            };
            let values: Vec<f64> = span(row, x.h)
                .flat_map(|i| span(col, x.w).map(move |j| (i, j)))
                .map(|(i, j)| x.d[x.at(n, c, i, j)])
                .collect();
            let all = (sizes.kernel * sizes.kernel) as f64;
            let at = y.at(n, c, row, col);
            y.d[at] = match mode {
                PoolMode::Max => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                PoolMode::Average {
                    padding_counts: true,
                } => values.iter().sum::<f64>() / all,
                PoolMode::Average { .. } => values.iter().sum::<f64>() / values.len() as f64,
            };
        });
        self.push(value, y)
    }

    fn pick(&mut self, x: usize, stride: usize, top: usize, left: usize) -> usize {
        let (value, x) = self.get(x);
        let value = match stride {
            1 => self.net.crop(value, top, left).unwrap(),
            _ => self.net.subsample(value, stride).unwrap(),
        };
        let map = self.net.map(value);
        let mut y = T::zeros(x.n, x.c, map.height, map.width);
        each(&y.clone(), |n, c, row, col| {
            let at = y.at(n, c, row, col);
            y.d[at] = x.d[x.at(n, c, row * stride + top, col * stride + left)];
        });
        self.push(value, y)
    }

    /// The first channels, or zeros around them.
    fn channels(&mut self, x: usize, take: usize, before: usize, after: usize) -> usize {
        let (value, x) = self.get(x);
        let value = match take {
            0 => self.net.pad_channels(value, before, after).unwrap(),
            _ => self.net.take_channels(value, take).unwrap(),
        };
        let map = self.net.map(value);
        let mut y = T::zeros(x.n, map.channels, x.h, x.w);
        each(&y.clone(), |n, c, row, col| {
            let at = y.at(n, c, row, col);
            if let Some(c) = c.checked_sub(before).filter(|&c| c < x.c) {
                y.d[at] = x.d[x.at(n, c, row, col)];
            }
        });
        self.push(value, y)
    }

    fn concat(&mut self, parts: &[usize]) -> usize {
        let (values, parts): (Vec<Value>, Vec<T>) = parts.iter().map(|&i| self.get(i)).unzip();
        let value = self.net.concat(&values).unwrap();
        let first = &parts[0];
        let mut y = T::zeros(first.n, parts.iter().map(|p| p.c).sum(), first.h, first.w);
        let mut start = 0;
        for part in &parts {
            each(part, |n, c, row, col| {
                let at = y.at(n, start + c, row, col);
                y.d[at] = part.d[part.at(n, c, row, col)];
            });
            start += part.c;
        }
        self.push(value, y)
    }

    fn add(&mut self, terms: &[usize]) -> usize {
        let (values, terms): (Vec<Value>, Vec<T>) = terms.iter().map(|&i| self.get(i)).unzip();
        let value = self.net.add(&values).unwrap();
        let mut y = terms[0].like();
        terms.iter().for_each(|t| y.add(1.0, t));
        self.push(value, y)
    }

    fn mean(&mut self, x: usize) -> usize {
        let (value, x) = self.get(x);
        let value = self.net.global_mean(value).unwrap();
        let mut y = T::zeros(x.n, x.c, 1, 1);
        let pixels = x.h * x.w;
        let means =
            x.d.chunks(pixels)
                .map(|c| c.iter().sum::<f64>() / pixels as f64);
        y.d = means.collect();
        self.push(value, y)
    }

    fn flatten(&mut self, x: usize) -> usize {
        let (value, x) = self.get(x);
        let value = self.net.flatten(value).unwrap();
        let mut y = T::zeros(x.n, x.c * x.h * x.w, 1, 1);
        y.d = x.d.clone();
        self.push(value, y)
    }

    fn linear(&mut self, x: usize, outputs: usize) -> usize {
        self.conv(x, ConvSizes::same(outputs, 1), true)
    }

    fn zeros(&mut self, like: usize) -> usize {
        let (_, x) = self.get(like);
        let value = self.net.zeros(x.map()).unwrap();
        self.push(value, x.like())
    }

    /// Compares value `i` on every instruction set, alone and in a batch, with one and with several threads.
    fn check(&self, what: &str, i: usize) {
        let (value, expected) = &self.values[i];
        let net = self.net.clone().finish(*value).unwrap();
        let image = &self.values[0].1;
        let images = singles(&image.d);
        let scale = expected.d.iter().fold(1e-3f64, |a, v| a.max(v.abs()));
        let execs = Exec::all();
        let mut vectors: Option<Vec<f32>> = None;
        for exec in &execs {
            let name = exec.simd().name();
            let found = net.run(exec, &images);
            assert_eq!(found.len(), expected.d.len(), "{what} on {name}");
            for (found, expected) in found.iter().zip(&expected.d) {
                let error = (f64::from(*found) - expected).abs() / scale;
                assert!(
                    error < 1e-5,
                    "{what} on {name}: {found} instead of {expected}"
                );
            }
            let len = images.len() / image.n;
            let one: Vec<f32> = images.chunks(len).flat_map(|x| net.run(exec, x)).collect();
            assert_eq!(
                bits(&one),
                bits(&found),
                "{what} on {name}: one image at a time"
            );
            if name != "portable" {
                let first = vectors.get_or_insert_with(|| found.clone());
                assert_eq!(bits(first), bits(&found), "{what} on {name}");
            }
        }
    }
}

const FUNCTIONS: [Function; 5] = [
    Function::HardSwish,
    Function::HardSigmoid,
    Function::Sigmoid,
    Function::Gelu,
    Function::Silu,
];

/// By Simpson's rule from 0 on, which for so smooth a function is exact to 10 places and more.
fn normal_distribution(x: f64) -> f64 {
    let density = |t: f64| (-0.5 * t * t).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let (n, end) = (400, x.clamp(-9.0, 9.0));
    let step = end / f64::from(n);
    let term = |i: i32| match i {
        0 => 1.0,
        i if i == n => 1.0,
        i if i % 2 == 1 => 4.0,
        _ => 2.0,
    };
    let sum: f64 = (0..=n)
        .map(|i| term(i) * density(f64::from(i) * step))
        .sum();
    0.5 + sum * step / 3.0
}

fn bits(v: &[f32]) -> Vec<u32> {
    v.iter().map(|v| v.to_bits()).collect()
}

fn singles(v: &[f64]) -> Vec<f32> {
    v.iter().map(|&v| v as f32).collect()
}

fn each(t: &T, mut f: impl FnMut(usize, usize, usize, usize)) {
    for n in 0..t.n {
        for c in 0..t.c {
            for y in 0..t.h {
                (0..t.w).for_each(|x| f(n, c, y, x));
            }
        }
    }
}

fn per_channel(t: &mut T, f: impl Fn(usize, f64) -> f64) {
    let (c, pixels) = (t.c, t.h * t.w);
    for (i, plane) in t.d.chunks_mut(pixels).enumerate() {
        plane.iter_mut().for_each(|v| *v = f(i % c, *v));
    }
}

/// A convolution of random sizes that fits a map.
fn any_conv(rng: &mut Rng, x: FeatureMap) -> ConvSizes {
    let depthwise = rng.below(3) == 0;
    let divisors: Vec<usize> = (1..=x.channels)
        .filter(|g| x.channels.is_multiple_of(*g))
        .collect();
    let groups = if depthwise {
        x.channels
    } else if rng.below(4) == 0 {
        rng.pick(&divisors)
    } else {
        1
    };
    let per_group = match (depthwise, groups) {
        (true, _) => 1,
        (_, 1) => 1 + rng.below(40),
        _ => rng.pick(&[1, 3, 8, 16]),
    };
    let dilation = 1 + rng.below(3);
    let mut side = |n: usize| {
        let k = rng.pick(&[1, 2, 3, 5, 7]);
        let k = if (k - 1) * dilation < n { k } else { 1 };
        (k, 1 + rng.below(3), rng.below((k - 1) * dilation + 2))
    };
    let (rows, mut cols) = (side(x.height), side(x.width));
    // The usual windows are square.
    if rows.0 <= x.width && rows.1 < 3 && (rows.0 - 1) * dilation < x.width {
        cols = rows;
    }
    ConvSizes {
        channels: per_group * groups,
        kernel: (rows.0, cols.0),
        stride: (rows.1, cols.1),
        padding: (rows.2, cols.2),
        dilation,
        groups,
    }
}

/// The first ones also run under valgrind, which is slow.
const FEW: u64 = 10;

#[test]
fn infer_few_convolutions() {
    convolutions(0..FEW);
}

#[test]
fn infer_any_convolution() {
    convolutions(FEW..160);
}

fn convolutions(seeds: Range<u64>) {
    for seed in seeds {
        let mut rng = Rng(seed);
        let size = [1 + rng.below(40), 1 + rng.below(24), 1 + rng.below(40)];
        let mut net = Both::new(seed, 2, size);
        let sizes = any_conv(&mut rng, FeatureMap::new(size[0], size[1], size[2]));
        let mut x = 0;
        if rng.below(2) == 0 {
            x = net.relu(x);
        }
        let with_bias = rng.below(2) == 0;
        x = net.conv(x, sizes, with_bias);
        if rng.below(2) == 0 {
            x = net.norm(x);
        }
        match rng.below(5) {
            0 => x = net.relu(x),
            1 => x = net.relu6(x),
            2 => x = net.function(x, Function::HardSwish),
            3 => x = net.function(x, Function::Gelu),
            _ => {}
        }
        net.check(&format!("{seed}: {sizes:?} of {size:?}"), x);
    }
}

#[test]
fn infer_separable_convolutions() {
    for seed in 0..60 {
        let mut rng = Rng(1000 + seed);
        let size = [1 + rng.below(40), 3 + rng.below(30), 3 + rng.below(38)];
        let mut net = Both::new(seed, 2, size);
        let (k, dilation) = rng.pick(&[(3, 1), (5, 1), (7, 1), (3, 2), (5, 2), (3, 3)]);
        let mut x = 0;
        let channels = 1 + rng.below(40);
        for (stride, channels) in [(1 + rng.below(2), size[0]), (1, channels)] {
            x = net.relu(x);
            let sizes = ConvSizes {
                channels: net.get(x).1.c,
                kernel: (k, k),
                stride: (stride, stride),
                padding: (k / 2 * dilation, k / 2 * dilation),
                dilation,
                groups: net.get(x).1.c,
            };
            x = net.conv(x, sizes, false);
            // As in MobileNet.
            if rng.below(3) == 0 {
                x = net.norm(x);
                x = net.relu6(x);
            }
            x = net.conv(x, ConvSizes::same(channels, 1), false);
            x = net.norm(x);
        }
        net.check(
            &format!("{seed}: {k}×{k}, dilation {dilation}, {size:?}"),
            x,
        );
    }
}

#[test]
fn infer_pools_and_moves() {
    for seed in 0..60 {
        let mut rng = Rng(2000 + seed);
        let size = [1 + rng.below(40), 1 + rng.below(20), 1 + rng.below(30)];
        let mut net = Both::new(seed, 2, size);
        let kernel = 1 + rng.below(size[1].min(size[2]).min(5));
        let sizes = PoolSizes {
            kernel,
            stride: 1 + rng.below(3),
            padding: rng.below(kernel / 2 + 1),
        };
        let modes = [
            PoolMode::Max,
            PoolMode::Average {
                padding_counts: true,
            },
            PoolMode::Average {
                padding_counts: false,
            },
        ];
        let what = format!("{seed}: {sizes:?} of {size:?}");
        for mode in modes {
            let x = net.pool(0, mode, sizes);
            net.check(&what, x);
            let x = net.norm(x);
            net.check(&what, x);
        }
        let x = net.pick(0, 1 + rng.below(3), 0, 0);
        net.check(&what, x);
        let x = net.pick(x, 1, rng.below(net.get(x).1.h), rng.below(net.get(x).1.w));
        net.check(&what, x);
        let x = net.channels(0, 1 + rng.below(size[0]), 0, 0);
        net.check(&what, x);
        let x = net.channels(0, 0, rng.below(9), rng.below(9));
        net.check(&what, x);
        let mean = net.mean(x);
        net.check(&what, mean);
        let flat = net.flatten(x);
        net.check(&what, flat);
        let x = net.linear(flat, 1 + rng.below(12));
        net.check(&what, x);
        let act = net.relu6(0);
        net.check(&what, act);
        net.check(&what, 0);
    }
}

/// Functions alone, before and behind convolutions, of sums, and as gates.
#[test]
fn infer_functions_and_products() {
    for seed in 0..30 {
        let mut rng = Rng(4000 + seed);
        let size = [1 + rng.below(20), 3 + rng.below(8), 3 + rng.below(8)];
        let function = FUNCTIONS[seed as usize % FUNCTIONS.len()];
        let what = format!("{seed}: {function:?} of {size:?}");
        let mut net = Both::new(seed, 2, size);
        let alone = net.function(0, function);
        net.check(&what, alone);
        let same = ConvSizes::same(size[0], 3);
        let depthwise = ConvSizes {
            groups: size[0],
            ..same
        };
        // A border is zero whatever the function makes of zero.
        let x = net.conv(alone, same, false);
        let x = net.norm(x);
        let x = net.function(x, function);
        net.check(&what, x);
        let y = net.conv(x, depthwise, false);
        let y = net.norm(y);
        let y = net.function(y, function);
        let excited = net.squeezed(y, FUNCTIONS[1 + seed as usize % 2]);
        net.check(&what, excited);
        let z = net.conv(excited, ConvSizes::same(size[0], 1), false);
        let z = net.norm(z);
        let sum = net.add(&[z, x]);
        net.check(&what, sum);
        let sum = net.function(sum, function);
        net.check(&what, sum);
        let joined = net.concat(&[sum, excited]);
        let joined = net.function(joined, function);
        let excited = net.squeezed(joined, Function::Sigmoid);
        let mean = net.mean(excited);
        let logits = net.linear(mean, 5);
        net.check(&what, logits);
    }
}

/// Layers in any order: what each reads, and how often it is read, is drawn.
fn networks(seeds: Range<u64>) {
    for seed in seeds {
        let mut rng = Rng(3000 + seed);
        let size = [1 + rng.below(20), 4 + rng.below(12), 4 + rng.below(12)];
        let mut net = Both::new(seed, 2, size);
        let mut all = vec![0];
        for _ in 0..4 + rng.below(14) {
            let x = rng.pick(&all[all.len().saturating_sub(5)..]);
            let map = net.get(x).1.map();
            // Others of the same size, as a sum or a concatenation needs them.
            let fits = |i: &usize| {
                let other = net.get(*i).1.map();
                (other.height, other.width) == (map.height, map.width)
            };
            let alike: Vec<usize> = all.iter().copied().filter(fits).collect();
            let same: Vec<usize> = alike
                .iter()
                .copied()
                .filter(|&i| net.get(i).1.c == map.channels)
                .collect();
            let k = rng.pick(&[1, 3, 3, 5]);
            let keep = ConvSizes {
                groups: map.channels,
                ..ConvSizes::same(map.channels, k)
            };
            let y = match rng.below(16) {
                0 => net.relu(x),
                1 => net.norm(x),
                2 | 3 => net.conv(x, ConvSizes::same(map.channels, k), rng.below(2) == 0),
                4 => net.conv(x, ConvSizes::same(1 + rng.below(20), 1), true),
                5 => net.conv(x, keep, false),
                6 => {
                    let x = net.relu(x);
                    let x = net.conv(x, keep, false);
                    let x = net.conv(x, ConvSizes::same(map.channels, 1), false);
                    net.norm(x)
                }
                7..=9 => {
                    let mut terms: Vec<usize> =
                        (0..2 + rng.below(3)).map(|_| rng.pick(&same)).collect();
                    let fresh = net.conv(x, ConvSizes::same(map.channels, 1), true);
                    terms.extend((rng.below(2) == 0).then_some(fresh));
                    net.add(&terms)
                }
                10 => {
                    let parts: Vec<usize> =
                        (0..2 + rng.below(3)).map(|_| rng.pick(&alike)).collect();
                    let total: usize = parts.iter().map(|&p| net.get(p).1.c).sum();
                    if total > 60 {
                        net.zeros(x)
                    } else {
                        net.concat(&parts)
                    }
                }
                11 if map.height > 3 && map.width > 3 => {
                    // A factorised reduction.
                    let x = net.relu(x);
                    let shifted = net.pick(x, 1, 1, 1);
                    let half = ConvSizes {
                        stride: (2, 2),
                        ..ConvSizes::same(1 + rng.below(6), 1)
                    };
                    let (a, b) = (net.conv(x, half, false), net.conv(shifted, half, false));
                    match net.get(a).1.map() == net.get(b).1.map() {
                        true => {
                            let both = net.concat(&[a, b]);
                            net.norm(both)
                        }
                        false => b,
                    }
                }
                12 => net.pool(
                    x,
                    PoolMode::Max,
                    PoolSizes {
                        kernel: 3,
                        stride: 1,
                        padding: 1,
                    },
                ),
                13 => net.function(x, FUNCTIONS[rng.below(FUNCTIONS.len())]),
                14 => net.squeezed(x, Function::HardSigmoid),
                _ => net.pick(x, 2, 0, 0),
            };
            all.push(y);
        }
        let last = all[all.len() - 1];
        net.check(&format!("network {seed}"), last);
    }
}

#[test]
fn infer_few_networks() {
    networks(0..FEW);
}

#[test]
fn infer_any_network() {
    networks(FEW..150);
}

fn deep() -> (Net, Vec<f32>) {
    let mut net = Both::new(5, 7, [3, 32, 32]);
    let mut x = net.conv(0, ConvSizes::same(36, 3), false);
    for _ in 0..3 {
        let (y, z) = (net.relu(x), net.conv(x, ConvSizes::same(36, 1), false));
        let y = net.conv(
            y,
            ConvSizes {
                groups: 36,
                ..ConvSizes::same(36, 3)
            },
            false,
        );
        let y = net.conv(y, ConvSizes::same(36, 1), false);
        let y = net.norm(y);
        x = net.add(&[y, z, x]);
    }
    let joined = net.concat(&[x, x]);
    let mean = net.mean(joined);
    let logits = net.linear(mean, 10);
    net.check("a deep network", logits);
    let images = singles(&net.values[0].1.d);
    (net.net.clone().finish(net.get(logits).0).unwrap(), images)
}

#[test]
fn infer_gives_the_same_for_any_number_of_threads_and_images() {
    let (net, images) = deep();
    let len = net.input().plain_len();
    for exec in Exec::all() {
        let expected = bits(&net.run(&exec, &images));
        for threads in [1, 2, 3, 5, 16] {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            for at_once in [1, 2, 3, 7] {
                let found = pool.install(|| {
                    let runs = images.chunks(at_once * len).map(|x| net.run(&exec, x));
                    runs.collect::<Vec<_>>().concat()
                });
                assert_eq!(
                    bits(&found),
                    expected,
                    "{threads} threads, {at_once} images at once"
                );
            }
        }
    }
}

#[test]
fn infer_is_shared_by_threads_of_any_kind() {
    let (net, images) = deep();
    let exec = Exec::new();
    let expected = bits(&net.run(&exec, &images));
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(3)
        .build()
        .unwrap();
    // Calls from several threads at once, and from within the pool that they compute on.
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..3 {
                    let found = pool.install(|| {
                        let (a, b) =
                            rayon::join(|| net.run(&exec, &images), || net.run(&exec, &images));
                        assert_eq!(a, b);
                        a
                    });
                    assert_eq!(bits(&found), expected);
                }
            });
        }
    });
}

#[test]
fn infer_keeps_what_is_not_a_number() {
    for relu6 in [false, true] {
        let mut net = Both::new(1, 1, [9, 5, 6]);
        let x = if relu6 { net.relu6(0) } else { net.relu(0) };
        let x = net.pool(
            x,
            PoolMode::Max,
            PoolSizes {
                kernel: 3,
                stride: 1,
                padding: 1,
            },
        );
        let x = net.conv(x, ConvSizes::same(4, 1), false);
        let x = if relu6 { net.relu6(x) } else { net.relu(x) };
        let net = net.net.clone().finish(net.get(x).0).unwrap();
        for exec in Exec::all() {
            let found = net.run(&exec, &[f32::NAN; 9 * 5 * 6]);
            assert!(found.iter().all(|v| v.is_nan()), "{}", exec.simd().name());
        }
    }
}

#[test]
fn infer_functions_keep_what_is_not_a_number() {
    for function in FUNCTIONS {
        let mut net = Both::new(1, 1, [9, 5, 6]);
        let x = net.function(0, function);
        let net = net.net.clone().finish(net.get(x).0).unwrap();
        for exec in Exec::all() {
            let found = net.run(&exec, &[f32::NAN; 9 * 5 * 6]);
            let name = exec.simd().name();
            assert!(found.iter().all(|v| v.is_nan()), "{function:?} on {name}");
        }
    }
}

#[test]
fn infer_says_what_does_not_fit() {
    let (mut net, x) = NetBuilder::new(FeatureMap::new(4, 5, 6)).unwrap();
    let pool = |kernel, stride, padding| PoolSizes {
        kernel,
        stride,
        padding,
    };
    let errors = [
        NetBuilder::new(FeatureMap::new(0, 5, 6)).map(|(_, x)| x),
        net.conv(x, ConvSizes::same(2, 3), vec![0.0; 5], None),
        net.conv(x, ConvSizes::same(2, 1), vec![0.0; 8], Some(vec![0.0])),
        net.conv(
            x,
            ConvSizes {
                groups: 3,
                ..ConvSizes::same(3, 1)
            },
            vec![0.0; 4],
            None,
        ),
        net.conv(
            x,
            ConvSizes {
                stride: (0, 1),
                ..ConvSizes::same(2, 1)
            },
            vec![0.0; 8],
            None,
        ),
        net.conv(
            x,
            ConvSizes {
                dilation: 9,
                padding: (0, 0),
                ..ConvSizes::same(1, 3)
            },
            vec![0.0; 36],
            None,
        ),
        net.pool(x, PoolMode::Max, pool(3, 0, 1)),
        net.pool(x, PoolMode::Max, pool(3, 1, 2)),
        net.pool(x, PoolMode::Max, pool(9, 1, 0)),
        net.linear(x, 2, vec![0.0; 8], None),
        net.crop(x, 5, 0),
        net.take_channels(x, 5),
        net.scale_shift(x, vec![1.0; 3], vec![0.0; 4]),
        net.subsample(x, 0),
        net.concat(&[]),
        net.add(&[]),
        net.scale(x, x),
    ];
    for (i, error) in errors.into_iter().enumerate() {
        let error = error.expect_err(&format!("case {i}"));
        assert!(error.to_string().len() > 15, "{error}");
    }
}
