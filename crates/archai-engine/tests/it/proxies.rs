//! Zero-cost proxies: closed forms, and all others against an independent network in 64 bits whose gradients are finite
//! differences.

use archai_data::Batch;
use archai_data::rng::Key;
use archai_engine::proxies::{self, Needs, ProxyError, Subject};
use archai_engine::{Compute, ModelOptions, OpRegistry, Precision};
use archai_search::space::{SearchSpace, Space, shipped, shipped_text};
use archai_spec::desc::ModelDesc;

use crate::support::{batch, tiny_supernet};

fn only_member(text: &str) -> ModelDesc {
    let space = Space::parse("tiny.yaml", text).unwrap_or_else(|e| panic!("{e}"));
    let member = space.sample(Key::new(0)).unwrap();
    space.describe(&member).unwrap()
}

/// Two convolutions with norms, a mean, a classifier.
fn tiny(act: &str) -> ModelDesc {
    only_member(&format!(
        "space: tiny\nversion: 1\ninput: {{channels: 2, size: [4, 4]}}\nclasses: 3\nnetwork:\n  \
         - conv_bn: {{out: 3, kernel: 3, act: {act}}}\n  - conv_bn: {{out: 4, kernel: 3, act: {act}}}\n  \
         - pool: {{kind: mean}}\n  - linear: {{out: $classes}}\n"
    ))
}

fn cell201(id: &str) -> ModelDesc {
    let space = shipped("nb201").unwrap();
    let member = space.parse_id(&format!("nb201-{id}")).unwrap();
    space.describe(&member).unwrap()
}

fn options(precision: Precision) -> ModelOptions {
    ModelOptions {
        compute: Compute::cpu().with_precision(precision),
        seed: 5,
        ..ModelOptions::default()
    }
}

fn score_of(name: &str, subject: &Subject<'_>) -> Result<f64, ProxyError> {
    let known = proxies::builtin();
    proxies::score(known.get(name).unwrap().as_ref(), subject)
}

fn score(name: &str, subject: &Subject<'_>) -> f64 {
    score_of(name, subject).unwrap_or_else(|e| panic!("{e}"))
}

fn scores(desc: &ModelDesc, batches: &[Batch], options: &ModelOptions, names: &[&str]) -> Vec<f64> {
    let ops = OpRegistry::builtin();
    let subject = Subject::new(desc, &ops, batches, options).unwrap();
    names.iter().map(|name| score(name, &subject)).collect()
}

/// The network of [`tiny`], written down once more: loops over numbers, nothing of the engine.
#[derive(Clone)]
struct Tiny {
    /// Two convolutions, the classifier.
    weights: [Vec<f64>; 3],
    bias: Vec<f64>,
    act: fn(f64) -> f64,
    /// Whether norms normalise.
    norms: bool,
}

const SIDE: usize = 4;
const PIXELS: usize = SIDE * SIDE;

/// What a pass leaves.
struct Passed {
    /// Outputs of the convolutions and the classifier.
    outputs: [Vec<f64>; 3],
    /// What the activations read.
    switched: [Vec<f64>; 2],
    /// Variance of each channel in front of each norm.
    variances: [Vec<f64>; 2],
    /// What the pool reads.
    features: Vec<f64>,
}

impl Tiny {
    fn of(subject: &Subject<'_>, act: fn(f64) -> f64) -> Self {
        let named = subject.model().unwrap().weights().named();
        let find = |name: &str| {
            let tensor = named.iter().find(|tensor| tensor.name == name).unwrap();
            tensor.values.clone()
        };
        let names: Vec<String> = subject
            .weights()
            .map(|(_, param)| param.name.clone())
            .collect();
        let [first, second, last] = names.as_slice() else {
            panic!("{names:?}")
        };
        Tiny {
            weights: [find(first), find(second), find(last)],
            bias: find(&last.replace("weight", "bias")),
            act,
            norms: true,
        }
    }

    fn conv(x: &[f64], w: &[f64], n: usize, c_in: usize, c_out: usize) -> Vec<f64> {
        let mut y = vec![0.0; n * c_out * PIXELS];
        let side = SIDE as i64;
        for (at, y) in y.iter_mut().enumerate() {
            let (image, o) = (at / (c_out * PIXELS), at / PIXELS % c_out);
            let (row, column) = ((at % PIXELS / SIDE) as i64, (at % SIDE) as i64);
            for i in 0..c_in {
                for tap in 0..9i64 {
                    let (r, c) = (row + tap / 3 - 1, column + tap % 3 - 1);
                    if (0..side).contains(&r) && (0..side).contains(&c) {
                        let pixel = (image * c_in + i) * PIXELS + (r * side + c) as usize;
                        *y += x[pixel] * w[(o * c_in + i) * 9 + tap as usize];
                    }
                }
            }
        }
        y
    }

    fn norm(&self, x: &[f64], n: usize, c: usize) -> (Vec<f64>, Vec<f64>) {
        let mut y = x.to_vec();
        let mut variances = Vec::new();
        for channel in 0..c {
            let places: Vec<usize> = (0..n * PIXELS)
                .map(|i| (i / PIXELS * c + channel) * PIXELS + i % PIXELS)
                .collect();
            let mean = places.iter().map(|&i| x[i]).sum::<f64>() / places.len() as f64;
            let var =
                places.iter().map(|&i| (x[i] - mean).powi(2)).sum::<f64>() / places.len() as f64;
            variances.push(var);
            if self.norms {
                for i in places {
                    y[i] = (x[i] - mean) / (var + 1e-5).sqrt();
                }
            }
        }
        (y, variances)
    }

    /// `added` is added to the outputs of the layers.
    fn pass(&self, images: &[f64], n: usize, added: Option<&[Vec<f64>; 3]>) -> Passed {
        let add = |layer: usize, mut y: Vec<f64>| {
            if let Some(added) = added {
                y.iter_mut().zip(&added[layer]).for_each(|(y, a)| *y += a);
            }
            y
        };
        let act = |x: &[f64]| -> Vec<f64> { x.iter().map(|&v| (self.act)(v)).collect() };
        let first = add(0, Self::conv(images, &self.weights[0], n, 2, 3));
        let (a, va) = self.norm(&first, n, 3);
        let second = add(1, Self::conv(&act(&a), &self.weights[1], n, 3, 4));
        let (b, vb) = self.norm(&second, n, 4);
        let features = act(&b);
        let pooled: Vec<f64> = features
            .chunks(PIXELS)
            .map(|map| map.iter().sum::<f64>() / PIXELS as f64)
            .collect();
        let logits = (0..n * 3).map(|at| {
            let (image, class) = (at / 3, at % 3);
            let products = (0..4).map(|c| pooled[image * 4 + c] * self.weights[2][class * 4 + c]);
            products.sum::<f64>() + self.bias[class]
        });
        let logits = add(2, logits.collect());
        Passed {
            outputs: [first, second, logits],
            switched: [a, b],
            variances: [va, vb],
            features,
        }
    }

    fn loss(&self, batch: &Batch, added: Option<&[Vec<f64>; 3]>) -> f64 {
        let logits = &self.pass(&pixels(batch), batch.shape[0], added).outputs[2];
        let rows = logits.chunks(3).zip(&batch.labels);
        let each = rows.map(|(row, label)| {
            row.iter().map(|v| v.exp()).sum::<f64>().ln() - row[*label as usize]
        });
        each.sum::<f64>() / batch.labels.len() as f64
    }

    /// The gradient of the loss by the weights.
    fn grads(&self, batch: &Batch) -> [Vec<f64>; 3] {
        const STEP: f64 = 1e-5;
        [0, 1, 2].map(|layer| {
            let moved = |i: usize, by: f64| {
                let mut other = self.clone();
                other.weights[layer][i] += by;
                other.loss(batch, None)
            };
            let n = self.weights[layer].len();
            (0..n)
                .map(|i| (moved(i, STEP) - moved(i, -STEP)) / (2.0 * STEP))
                .collect()
        })
    }

    /// The gradient of the sum of outputs by the pixels, a row for each image.
    fn image_grads(&self, batch: &Batch) -> Vec<Vec<f64>> {
        const STEP: f64 = 1e-5;
        let n = batch.shape[0];
        let sum = |images: &[f64]| -> f64 { self.pass(images, n, None).outputs[2].iter().sum() };
        let mut images = pixels(batch);
        let grads: Vec<f64> = (0..images.len())
            .map(|i| {
                let value = images[i];
                images[i] = value + STEP;
                let ahead = sum(&images);
                images[i] = value - STEP;
                let behind = sum(&images);
                images[i] = value;
                (ahead - behind) / (2.0 * STEP)
            })
            .collect();
        grads.chunks(grads.len() / n).map(<[f64]>::to_vec).collect()
    }
}

fn pixels(batch: &Batch) -> Vec<f64> {
    batch.images.iter().map(|&v| f64::from(v)).collect()
}

fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

fn relu(x: f64) -> f64 {
    x.max(0.0)
}

fn close(what: &str, got: f64, expect: f64, tolerance: f64) {
    assert!(
        (got - expect).abs() <= tolerance * expect.abs().max(1e-3),
        "{what}: {got}, expected {expect}"
    );
}

fn pairs<'a>(a: &'a [Vec<f64>; 3], b: &'a [Vec<f64>; 3]) -> impl Iterator<Item = (f64, f64)> + 'a {
    a.iter().flatten().copied().zip(b.iter().flatten().copied())
}

fn length(v: &[f64]) -> f64 {
    v.iter().map(|x| x * x).sum::<f64>().sqrt()
}

#[test]
fn scores_of_gradients_are_those_of_an_independent_network() {
    let ops = OpRegistry::builtin();
    let desc = tiny("silu");
    let batches = [batch(5, &desc, 1), batch(5, &desc, 2), batch(5, &desc, 3)];
    for (precision, tolerance) in [(Precision::F64, 1e-5), (Precision::F32, 2e-3)] {
        let options = options(precision);
        let subject = Subject::new(&desc, &ops, &batches, &options).unwrap();
        let net = Tiny::of(&subject, silu);
        let g = net.grads(&batches[0]);
        let check = |name: &str, expect: f64| close(name, score(name, &subject), expect, tolerance);
        check("grad_norm", g.iter().map(|g| length(g)).sum());
        check(
            "snip",
            pairs(&net.weights, &g).map(|(w, g)| (w * g).abs()).sum(),
        );
        check("plain", pairs(&net.weights, &g).map(|(w, g)| w * g).sum());
        check("l2_norm", net.weights.iter().map(|w| length(w)).sum());
        // The definition: H g by a small step along g, with a network that has no kinks.
        const SMALL: f64 = 1e-3;
        let size = g.iter().map(|g| length(g).powi(2)).sum::<f64>().sqrt();
        let moved = |by: f64| {
            let mut other = net.clone();
            for (w, g) in other.weights.iter_mut().zip(&g) {
                w.iter_mut().zip(g).for_each(|(w, g)| *w += by * g / size);
            }
            other.grads(&batches[0])
        };
        let (ahead, behind) = (moved(SMALL), moved(-SMALL));
        let grasp: f64 = (0..3)
            .flat_map(|i| (0..net.weights[i].len()).map(move |j| (i, j)))
            .map(|(i, j)| -net.weights[i][j] * (ahead[i][j] - behind[i][j]))
            .sum();
        let grasp = grasp * size / (2.0 * SMALL);
        close("grasp", score("grasp", &subject), grasp, 0.005);
        let each: Vec<[Vec<f64>; 3]> = batches.iter().map(|batch| net.grads(batch)).collect();
        let zico: f64 = (0..3)
            .map(|layer| {
                let ratio = |i: usize| {
                    let of: Vec<f64> = each.iter().map(|g| g[layer][i]).collect();
                    let mean = of.iter().sum::<f64>() / 3.0;
                    let var = of.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / 3.0;
                    of.iter().map(|g| g.abs()).sum::<f64>() / 3.0 / var.sqrt()
                };
                (0..net.weights[layer].len()).map(ratio).sum::<f64>().ln()
            })
            .sum();
        close("zico", score("zico", &subject), zico, tolerance);
    }
}

#[test]
fn fisher_is_that_of_an_independent_network() {
    let ops = OpRegistry::builtin();
    let desc = tiny("silu");
    let batches = [batch(5, &desc, 1)];
    let options = options(Precision::F64);
    let subject = Subject::new(&desc, &ops, &batches, &options).unwrap();
    let net = Tiny::of(&subject, silu);
    let outputs = net.pass(&pixels(&batches[0]), 5, None).outputs;
    let weights_per_channel = [2.0 * 9.0, 3.0 * 9.0, 4.0];
    let mut expect = 0.0;
    for (layer, weights) in weights_per_channel.into_iter().enumerate() {
        let grad = |i: usize| {
            let by = |step: f64| {
                let mut added = [0, 1, 2].map(|l| vec![0.0; outputs[l].len()]);
                added[layer][i] = step;
                net.loss(&batches[0], Some(&added))
            };
            (by(1e-5) - by(-1e-5)) / 2e-5
        };
        let products: Vec<f64> = (0..outputs[layer].len())
            .map(|i| outputs[layer][i] * grad(i))
            .collect();
        let map = if layer < 2 { PIXELS } else { 1 };
        let squares = products
            .chunks(map)
            .map(|map| map.iter().sum::<f64>().powi(2));
        expect += weights * 0.5 * squares.sum::<f64>() / 5.0;
    }
    close("fisher", score("fisher", &subject), expect, 1e-5);
}

#[test]
fn scores_of_images_are_those_of_an_independent_network() {
    let ops = OpRegistry::builtin();
    let desc = tiny("silu");
    let batches = [batch(6, &desc, 1)];
    let options = options(Precision::F64);
    let subject = Subject::new(&desc, &ops, &batches, &options).unwrap();
    let net = Tiny::of(&subject, silu);
    let rows = net.image_grads(&batches[0]);
    let r = |a: &[f64], b: &[f64]| {
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        let (ma, mb) = (mean(a), mean(b));
        let product: f64 = a.iter().zip(b).map(|(x, y)| (x - ma) * (y - mb)).sum();
        let size = |v: &[f64], m: f64| v.iter().map(|x| (x - m).powi(2)).sum::<f64>().sqrt();
        product / size(a, ma) / size(b, mb)
    };
    let mut per_class = [0.0; 3];
    for (i, a) in rows.iter().enumerate() {
        for (j, b) in rows.iter().enumerate() {
            let (x, y) = (batches[0].labels[i], batches[0].labels[j]);
            if x == y {
                per_class[x as usize] += (r(a, b).abs() + 1e-5).ln();
            }
        }
    }
    let epe_nas: f64 = per_class.iter().map(|s| s.abs()).sum();
    close("epe_nas", score("epe_nas", &subject), epe_nas, 1e-5);
    // Two images leave two eigenvalues that are known: 1 + r and 1 − r.
    let two = [batch(2, &desc, 4)];
    let subject = Subject::new(&desc, &ops, &two, &options).unwrap();
    let rows = net.image_grads(&two[0]);
    let r = r(&rows[0], &rows[1]);
    let term = |v: f64| (v + 1e-5).ln() + 1.0 / (v + 1e-5);
    close(
        "jacov",
        score("jacov", &subject),
        -term(1.0 + r) - term(1.0 - r),
        1e-5,
    );
}

#[test]
fn switched_relus_are_counted_as_an_independent_network_does() {
    let ops = OpRegistry::builtin();
    let desc = tiny("relu");
    let batches = [batch(3, &desc, 1)];
    let options = options(Precision::F64);
    let subject = Subject::new(&desc, &ops, &batches, &options).unwrap();
    let net = Tiny::of(&subject, relu);
    let switched = net.pass(&pixels(&batches[0]), 3, None).switched;
    let alike = |i: usize, j: usize| -> f64 {
        let of = |layer: &Vec<f64>| {
            let each = layer.len() / 3;
            let same = |p: &usize| (layer[i * each + p] > 0.0) == (layer[j * each + p] > 0.0);
            (0..each).filter(same).count() as f64
        };
        switched.iter().map(of).sum()
    };
    let k = [0, 1, 2].map(|i| [0, 1, 2].map(|j| alike(i, j)));
    let minor = |a: usize, b: usize| k[1][a] * k[2][b] - k[1][b] * k[2][a];
    let det: f64 = k[0][0] * minor(1, 2) - k[0][1] * minor(0, 2) + k[0][2] * minor(0, 1);
    close("nwot", score("nwot", &subject), det.abs().ln(), 1e-9);
}

#[test]
fn synaptic_flow_is_exact() {
    let ops = OpRegistry::builtin();
    let desc = tiny("relu");
    let options = options(Precision::F32);
    let subject = Subject::new(&desc, &ops, &[], &options).unwrap();
    let mut net = Tiny::of(&subject, relu);
    net.norms = false;
    let absolute = |v: &mut Vec<f64>| v.iter_mut().for_each(|v| *v = v.abs());
    net.weights.iter_mut().for_each(absolute);
    absolute(&mut net.bias);
    // R is linear in each single weight, so w · ∂R/∂w is what R loses without the weight.
    let flow = |net: &Tiny| {
        net.pass(&vec![1.0; 2 * PIXELS], 1, None).outputs[2]
            .iter()
            .sum::<f64>()
    };
    let whole = flow(&net);
    let mut sum = 0.0;
    for layer in 0..3 {
        for i in 0..net.weights[layer].len() {
            let mut without = net.clone();
            without.weights[layer][i] = 0.0;
            sum += whole - flow(&without);
        }
    }
    close("synflow", score("synflow", &subject), sum.ln(), 1e-9);
}

#[test]
fn zen_depends_on_noise_alone_and_is_the_published_formula() {
    let ops = OpRegistry::builtin();
    let desc = tiny("relu");
    let options = options(Precision::F64);
    let (a, b) = ([batch(4, &desc, 1)], [batch(4, &desc, 2)]);
    let of = |batches: &[Batch]| scores(&desc, batches, &options, &["zen"])[0];
    let found = of(&a);
    assert_eq!(found, of(&b), "images of the batch do not matter");
    assert_ne!(found, of(&[batch(5, &desc, 1)]), "their number does");
    // The same draws, and an independent network.
    let subject = Subject::new(&desc, &ops, &a, &options).unwrap();
    let key = subject.key().with("zen");
    let normals = |purpose: &str, n: usize| -> Vec<f64> {
        let mut rng = key.with(purpose).rng();
        (0..n).map(|_| rng.normal()).collect()
    };
    let mut net = Tiny::of(&subject, relu);
    for ((_, param), weight) in subject.weights().zip(&mut net.weights) {
        *weight = normals(&param.name, weight.len());
    }
    let x = normals("images", 4 * 2 * PIXELS);
    let z = normals("difference", 4 * 2 * PIXELS);
    let near: Vec<f64> = x.iter().zip(&z).map(|(x, z)| x + 0.01 * z).collect();
    let (at, beside) = (net.pass(&x, 4, None), net.pass(&near, 4, None));
    let difference: f64 = at
        .features
        .iter()
        .zip(&beside.features)
        .map(|(a, b)| (a - b).abs())
        .sum();
    let spread: f64 = at
        .variances
        .iter()
        .map(|v| (v.iter().sum::<f64>() / v.len() as f64).sqrt().ln())
        .sum();
    close("zen", found, (difference / 4.0).ln() + spread, 1e-9);
}

#[test]
fn closed_forms_hold_for_cells_of_nasbench201() {
    let ops = OpRegistry::builtin();
    for (id, conv_edges, pool_edges) in [
        ("222222", 6.0, 0.0),
        ("321321", 4.0, 0.0),
        ("441142", 1.0, 3.0),
    ] {
        let desc = cell201(id);
        let options = options(Precision::F32);
        let subject = Subject::new(&desc, &ops, &[], &options).unwrap();
        let graph = subject.graph();
        let cost = graph.cost(false);
        close(
            "params",
            score("params", &subject),
            cost.params as f64 / 1e6,
            1e-12,
        );
        let (convs, pools) = (
            id.matches(['2', '3']).count() as f64,
            id.matches('4').count() as f64,
        );
        assert_eq!((convs, pools), (conv_edges, pool_edges), "{id}");
        // Multiply-adds and 0.16 M of stems and reductions, 0.43008 M for each convolution, 1.29024 M for each pool.
        let expect = cost.macs as f64 / 1e6 + 0.1609 + 0.43008 * convs + 1.29024 * pools;
        assert!(
            (score("flops", &subject) - expect).abs() < 3e-3,
            "{id}: {} {expect}",
            score("flops", &subject)
        );
        // E w² = 1/(3 fan_in).
        let norms = subject
            .weights()
            .map(|(_, param)| (param.shape[0] as f64 / 3.0).sqrt());
        close("l2_norm", score("l2_norm", &subject), norms.sum(), 0.01);
    }
}

#[test]
fn a_chain_s_synaptic_flow_follows_from_its_widths() {
    // A 1×1 convolution multiplies a map of equal numbers by c · E|w| = √c/2 on average; wide layers are near their average.
    let widths = [64usize, 256, 256, 128];
    let layers = widths[1..]
        .iter()
        .map(|out| format!("  - conv_bn: {{out: {out}, kernel: 1, act: relu}}\n"));
    let desc = only_member(&format!(
        "space: wide\nversion: 1\ninput: {{channels: 64, size: [2, 2]}}\nclasses: 100\nnetwork:\n{}  - pool: {{kind: mean}}\n  \
         - linear: {{out: $classes}}\n",
        layers.collect::<String>()
    ));
    let gains: f64 = widths.iter().map(|&c| (c as f64).sqrt() / 2.0).product();
    // Four layers, each of which the whole flow goes through; the classifier's bias adds little.
    let expect = (4.0 * 100.0 * gains).ln();
    let found = scores(&desc, &[], &options(Precision::F32), &["synflow"])[0];
    assert!((found - expect).abs() < 0.02, "{found} {expect}");
}

#[test]
fn the_same_numbers_for_any_number_of_threads() {
    let text = shipped_text("nb201").unwrap();
    let text = text
        .replace("size: [32, 32]", "size: [8, 8]")
        .replace("times: 5", "times: 1");
    let space = Space::parse("nb201", &text).unwrap();
    let small = space
        .describe(&space.parse_id("nb201-213042").unwrap())
        .unwrap();
    let batches = proxies::noise(&small, 8, 2, Key::new(1));
    let known = proxies::builtin();
    let names: Vec<&str> = known.names().collect();
    let in_threads = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| scores(&small, &batches, &options(Precision::F32), &names))
    };
    let one = in_threads(1);
    assert!(one.iter().all(|v| v.is_finite()));
    assert_eq!(one, in_threads(3));
    let other = ModelOptions {
        seed: 6,
        ..options(Precision::F32)
    };
    let other = scores(&small, &batches, &other, &names);
    for ((name, a), b) in names.iter().zip(&one).zip(&other) {
        let of_description = known.get(name).unwrap().needs() == Needs::Description;
        assert_eq!(a == b, of_description, "{name}: {a} {b}");
    }
}

#[test]
fn scores_know_what_does_not_matter() {
    let desc = tiny("relu");
    let batches = [batch(6, &desc, 1)];
    // The order of the images: a sum over images knows none.
    let mut turned = batches[0].clone();
    let each = turned.images.len() / 6;
    turned.images.rotate_left(2 * each);
    turned.labels.rotate_left(2);
    let names = [
        "nwot",
        "jacov",
        "epe_nas",
        "grad_norm",
        "snip",
        "plain",
        "fisher",
    ];
    let options = options(Precision::F64);
    let (a, b) = (
        scores(&desc, &batches, &options, &names),
        scores(&desc, &[turned], &options, &names),
    );
    for ((name, a), b) in names.iter().zip(a).zip(b) {
        close(name, b, a, 1e-7);
    }
    // Labels matter to the loss, not to what the outputs are.
    let mut renamed = batches[0].clone();
    renamed
        .labels
        .iter_mut()
        .for_each(|label| *label = (*label + 1) % 3);
    let (a, b) = (
        scores(
            &desc,
            &batches,
            &options,
            &["nwot", "jacov", "epe_nas", "snip"],
        ),
        scores(
            &desc,
            &[renamed],
            &options,
            &["nwot", "jacov", "epe_nas", "snip"],
        ),
    );
    assert_eq!(a[..2], b[..2]);
    close("epe_nas", b[2], a[2], 1e-9);
    assert!((a[3] - b[3]).abs() > 1e-6);
}

#[test]
fn what_has_no_score_says_why() {
    let ops = OpRegistry::builtin();
    let desc = tiny("silu");
    let options = options(Precision::F32);
    let without = Subject::new(&desc, &ops, &[], &options).unwrap();
    let linear = only_member(
        "space: linear\nversion: 1\ninput: {channels: 2, size: [4, 4]}\nclasses: 3\nnetwork:\n  \
         - pool: {kind: mean}\n  - linear: {out: $classes}\n",
    );
    let batches = [batch(3, &linear, 1)];
    let no_relu = Subject::new(&linear, &ops, &batches, &options).unwrap();
    let mut twice = batch(2, &desc, 1);
    let each = twice.images.len() / 2;
    twice.images.copy_within(..each, each);
    let twice = [twice];
    let same = Subject::new(&desc, &ops, &twice, &options).unwrap();
    for (subject, name, says) in [
        (
            &without,
            "grad_norm",
            "needs batches of images, at least 1, and there are 0",
        ),
        (&without, "zico", "at least two batches, and there are 0"),
        (&without, "jacov", "there is none"),
        (&no_relu, "nwot", "has no ReLU"),
        (&same, "nwot", "switch all ReLUs alike"),
    ] {
        let error = score_of(name, subject).unwrap_err().to_string();
        assert!(
            error.contains(says) && error.contains(&format!("`{name}`")),
            "{error}"
        );
    }
    let error = Subject::new(&tiny_supernet(), &ops, &[], &options)
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("a network with choices has no score"),
        "{error}"
    );
    let other = [batch(2, &cell201("222222"), 1)];
    let error = Subject::new(&desc, &ops, &other, &options)
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("3×32×32") && error.contains("2×4×4"),
        "{error}"
    );
}
